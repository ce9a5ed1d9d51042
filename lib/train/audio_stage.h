/* SPDX-License-Identifier: MIT
 * A stage that trains an audio model, under way: audio_stage.c, which steps, and audio_models.c, which opens, checks and saves its
 * models. Only these two look inside. Tier 7. */
#ifndef MGI_TRAIN_AUDIO_STAGE_H
#define MGI_TRAIN_AUDIO_STAGE_H

#include "task/sound.h"
#include "train/adapting.h"
#include "train/audio_clips.h"
#include "train/stage.h"

/* What the host holds of a batch. */
typedef struct mgi_audio_rows {
    float *latents, *condition, *features;
    uint8_t *pixels; /* rows x frames x height x width x 3 */
    int32_t *
        pictures; /* rows x latents: which of the batch's frames a latent sees; past the last: none */
    char (*captions)[MGI_CAPTION_SIZE];
    const char **prompts;
    int64_t *tokens; /* of each role and row */
} mgi_audio_rows;

struct mgi_stage_run {
    mgen_context *ctx;
    mgi_stage stage;
    char dir[MGI_PATH_MAX + 1];
    uint64_t seed, codec_hash, vision_hash;
    uint64_t start, parent;  /* of weights to begin with; of what comes from outside */
    mgi_audio models;        /* with the stage's configuration */
    mgi_adapter adapter;     /* that learns in the transformer's place, or nothing */
    mgi_adapter_config base; /* of it: what it starts from */
    mgi_module *trained[MGI_DP_MODULES];
    int trained_count;
    mgi_optimizer optimizer;
    mgi_data_parallel parallel;
    mgi_fsdp *fsdp;
    const mgi_mesh *mesh;
    mgi_dataset *dataset;
    int64_t lengths;
    mgi_audio_clips length[MGI_AUDIO_LENGTHS_MAX];
    mgi_audio_rows rows;
    int64_t updated;
    double flops;
    T *loss;
};

/* Whether it sees films; whether by an image encoder that learns. */
static inline bool mgi_audio_sees(const struct mgi_stage_run *r)
{
    return r->stage.audio.transformer.features > 0;
}

static inline bool mgi_audio_looks(const struct mgi_stage_run *r)
{
    return mgi_audio_sees(r) && !r->stage.vision.frozen;
}

/* What an adapter's stage takes of its model, and the codec; then, when the lengths are known, all others, with their optimizer. */
mgen_status mgi_audio_open_codec(struct mgi_stage_run *r);
mgen_status mgi_audio_open_models(struct mgi_stage_run *r, const mgi_stage_params *params);
mgen_status mgi_audio_stage_save(struct mgi_stage_run *r);
void mgi_audio_stage_state(struct mgi_stage_run *r, mgi_stage_state *out);

#endif
