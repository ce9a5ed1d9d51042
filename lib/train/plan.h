/* SPDX-License-Identifier: MIT
 * What a training step of a video transformer needs: the step itself, walked through on the meta device.
 * Tier 7. */
#ifndef MGI_TRAIN_PLAN_H
#define MGI_TRAIN_PLAN_H

#include "model/video_transformer.h"

typedef struct mgi_plan_request {
    mgi_vt_config config;
    int64_t batch, latent_frames, latent_height, latent_width;
    int64_t text_tokens; /* of all encoders together, 1 or more */
    int recompute;       /* MGI_RECOMPUTE_* */
    int32_t dtype;       /* of products and activations */
} mgi_plan_request;

typedef struct mgi_plan {
    int64_t parameters, tokens; /* tokens of one sample */
    double forward_flops, step_flops;
    uint64_t launches;
    mgi_device_counts start, forward, end; /* before the step, between its directions, after it */
} mgi_plan;

/* INVALID if the configuration cannot take the video. Nothing of the model's size is allocated. */
mgen_status mgi_plan_step(mgen_context *ctx, const mgi_plan_request *request, mgi_plan *out);

#endif
