/* SPDX-License-Identifier: MIT
 * What a training step of a video transformer needs: the step itself, walked through on the meta device.
 * Tier 7. */
#ifndef MGI_TRAIN_PLAN_H
#define MGI_TRAIN_PLAN_H

#include "model/adapter.h"
#include "model/clip_vision.h"
#include "model/text_encoder.h"

typedef struct mgi_plan_request {
    mgi_vt_config config;
    int64_t batch, latent_frames, latent_height, latent_width;
    int64_t text_tokens;                    /* of all encoders together, 1 or more */
    const mgi_text_config *text[MGI_ROLES]; /* of frozen ones that run, too; NULL: text is given */
    int hold[MGI_ROLES];                    /* MGI_HOLD_* of these */
    int64_t reference_tokens;               /* of a photo, where the model sees one */
    /* Of an image encoder that is there, too, and runs where the model sees a photo, of so many tokens; NULL: what it sees is given.
     * MGI_HOLD_* of it, unless it learns along. */
    const mgi_clip_vision_config *vision;
    int vision_hold;
    bool vision_learns;
    int recompute, cp; /* MGI_RECOMPUTE_*, MGI_CP_* */
    int32_t dtype;     /* of products and activations */
    int64_t adapter;   /* rank of an adapter that learns in the model's place; 0: none */
    bool
        prefer; /* it learns preferences: the model as it was predicts beside it, and is there, too, unless an adapter learns */
} mgi_plan_request;

typedef struct mgi_plan {
    int64_t parameters, tokens;       /* of the model; tokens of one sample */
    double forward_flops, step_flops; /* of the model that learns; of all, encoders too */
    double start_forward;             /* FLOPs until it predicts */
    uint64_t launches;
    mgi_device_counts start, forward, end; /* before the step, between its directions, after it */
} mgi_plan;

/* How a step is walked: over a mesh, whose communicators count, or on one rank (NULL); `moment` is called with
 * MGI_PLAN_*. */
enum {
    MGI_PLAN_MADE,      /* what the rank has of the model, and the memory of its training */
    MGI_PLAN_BEGUN,     /* the step begins: the run has its hook */
    MGI_PLAN_FORWARD,   /* the forward pass is done */
    MGI_PLAN_PASS,      /* a pass that is not the last */
    MGI_PLAN_BACKWARD,  /* and the last one, with the sums over ranks */
    MGI_PLAN_OPTIMIZER, /* and the optimizer's step */
};
typedef struct mgi_plan_walk {
    const mgi_mesh *mesh;
    bool passes; /* two of them, whose gradients are added; else one */
    void (*moment)(void *user, mgi_run *run, int moment);
    void *user;
} mgi_plan_walk;

/* On a context whose device is the meta device. */
mgen_status mgi_plan_walk_step(mgen_context *meta, const mgi_plan_request *request,
                               const mgi_plan_walk *walk, mgi_plan *out);
/* INVALID if the model cannot take such a video. */
mgen_status mgi_plan_check(mgen_context *ctx, const mgi_plan_request *request);
/* INVALID if the configuration cannot take the video. Nothing of the model's size is allocated. */
mgen_status mgi_plan_step(mgen_context *ctx, const mgi_plan_request *request, mgi_plan *out);

#endif
