/* SPDX-License-Identifier: MIT
 * What a step of an autoencoder's, a codec's or a CLIP's stage needs on GPUs that share each batch: the stage itself, made and
 * stepped on the meta device. Tier 7. */
#ifndef MGI_TRAIN_PLAN_STAGE_H
#define MGI_TRAIN_PLAN_STAGE_H

#include "train/plan_mesh.h"
#include "train/recipe.h"

/* A kind of samples that a step may have. */
typedef struct mgi_stage_samples {
    int64_t width, height, frames; /* of a clip in pixels; of sounds frames are latents */
    int64_t batch, passes;         /* samples of all ranks in a pass, and its passes */
    bool adversarial;              /* a discriminator takes part */
} mgi_stage_samples;

typedef struct mgi_stage_need {
    mgi_mesh_plan plan;     /* without events */
    int64_t parameters;     /* of the models that the stage is for */
    mgi_device_counts step; /* of a step that has one pass or two, on the rank */
} mgi_stage_need;

/* Whether it is of a kind that is planned so. */
bool mgi_stage_is_walked(int32_t kind);
/* What is made of a recipe's stage: from nothing, as weights are not known. INVALID, STATE, NOT_FOUND, ...: as training would
 * answer. */
mgen_status mgi_stage_need_make(mgen_context *ctx, const mgi_stage *stage,
                                const mgi_stage_samples *samples, const mgi_gpu *gpu, int gpus,
                                mgi_stage_need *out);

#endif
