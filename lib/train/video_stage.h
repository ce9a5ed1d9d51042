/* SPDX-License-Identifier: MIT
 * A stage that trains a video transformer, from text, as an upsampler, as an editor or as a personalizer, under way:
 * text_to_video.c, which steps, photos.c, which shows a personalizer whom its films are of, and video_models.c, which opens,
 * checks and saves its models. Only these look inside. Tier 7. */
#ifndef MGI_TRAIN_VIDEO_STAGE_H
#define MGI_TRAIN_VIDEO_STAGE_H

#include "flow/diffusion.h"
#include "task/codec.h"
#include "tensor/graph.h"
#include "train/adapting.h"
#include "train/back.h"
#include "train/buckets.h"
#include "train/prefer.h"
#include "train/stage.h"

/* The batch whose text and latents the host holds; rows 0: none. */
typedef struct taken_batch {
    const mgi_bucket_data *bucket;
    uint64_t first; /* element */
    int64_t rows;
    float *latents;
    size_t room; /* values */
    mgi_text_rows text;
} taken_batch;

struct mgi_stage_run {
    mgen_context *ctx;
    mgi_stage stage;
    char dir[MGI_PATH_MAX + 1];
    uint64_t seed;
    mgi_tae tae;
    uint64_t tae_hash; /* of its weights */
    mgi_tae artifacts; /* of an upsampler's stage, if that has them */
    mgi_pairs pairs;
    mgi_edits edits; /* of an editor's stage */
    mgi_back back;   /* that makes some of their films, while clips are encoded; or nothing */
    uint64_t start;  /* of those that start_from names */
    uint64_t parent; /* of them, of frozen text encoders and of tokenizers */
    mgi_text_encoder text[MGI_ROLES];
    mgi_clip_vision vision; /* of a personalizer's stage */
    mgi_vt video;
    mgi_vt before; /* where a model learns preferences: what the stage starts from, as it was */
    mgi_adapter adapter;                 /* that learns in the video model's place, or nothing */
    mgi_adapter_config base;             /* of it: what it starts from */
    mgi_module *trained[MGI_DP_MODULES]; /* of text, vision and video */
    int trained_count;
    float levels[MGI_DIFFUSION_LEVELS + 1]; /* flow/diffusion.h; where v is predicted */
    mgi_optimizer optimizer;
    mgi_data_parallel parallel;
    mgi_fsdp *fsdp;       /* of the sharded ones among all modules, or NULL */
    const mgi_mesh *mesh; /* NULL: each rank has whole samples */
    double flops;         /* of the last step */
    int64_t updated;      /* steps whose update is in the weights */
    T *loss;              /* of the last of them: one value */
    mgi_dataset *dataset;
    mgi_buckets buckets;
    const mgi_bucket_data *taken;       /* by the last step */
    char (*captions)[MGI_CAPTION_SIZE]; /* of one batch, of what is drawn */
    const char **prompts;
    int64_t *tokens;     /* of each role and row */
    float *times;        /* of each row, where they are levels */
    int32_t *tasks;      /* of each row, where it is told one */
    uint8_t *photos;     /* of each row, as large as a personalizer's image encoder has them */
    int64_t *references; /* tokens of them; 0: it has none */
    _Atomic mgen_status failed; /* a row of the batch that is taken, and could not be */
    mgi_preferred preferred;    /* films of that model, in the place of the dataset's; or none */
    float *preferences;         /* of each row */
    taken_batch now;
    mgi_graph graph; /* of a pass */
};

static inline bool mgi_trains_upsampler(const struct mgi_stage_run *r)
{
    return r->stage.kind == MGI_STAGE_UPSAMPLER;
}

static inline bool mgi_trains_editor(const struct mgi_stage_run *r)
{
    return r->stage.kind == MGI_STAGE_EDITOR;
}

static inline bool mgi_trains_personalizer(const struct mgi_stage_run *r)
{
    return r->stage.kind == MGI_STAGE_PERSONALIZER;
}

/* Its model is one more of the folder's pipeline, which is there. */
static inline bool mgi_trains_more(const struct mgi_stage_run *r)
{
    return mgi_trains_upsampler(r) || mgi_trains_editor(r) || mgi_trains_personalizer(r);
}

static inline bool mgi_trains_adapter(const struct mgi_stage_run *r)
{
    return mgi_adapts(&r->stage);
}

/* What an adapter's stage takes of its model, and the autoencoders; then, when the buckets are known, all others: new ones, or those that the stage starts from, checked
 * against each other, with their optimizer. */
mgen_status mgi_video_open_taes(struct mgi_stage_run *r);
mgen_status mgi_video_open_models(struct mgi_stage_run *r, const mgi_stage_params *params);
mgi_networks mgi_video_networks(const struct mgi_stage_run *r);
/* photos.c: INVALID unless the dataset has photos; room for those of `rows` rows; row i's of a clip, of what `pick` says of
 * it, and of a clip that is held out; all rows', as the image encoder takes them. Who has none stays without. */
mgen_status mgi_photos_check(const struct mgi_stage_run *r);
mgen_status mgi_photos_alloc(struct mgi_stage_run *r, size_t rows);
void mgi_photos_take(struct mgi_stage_run *r, const mgi_bucket_data *b, int64_t clip, int64_t i,
                     const uint32_t pick[2]);
void mgi_photos_hold(struct mgi_stage_run *r, const mgi_bucket_data *b, int64_t held, int64_t i);
T *mgi_photos_write(mgi_run *run, struct mgi_stage_run *r, int64_t rows);

mgen_status mgi_video_save(struct mgi_stage_run *r);
void mgi_video_state(struct mgi_stage_run *r, mgi_stage_state *out);

#endif
