/* SPDX-License-Identifier: MIT
 * Steps of the stages that train an autoencoder, of films or of sound, beside a discriminator. Tier 7.
 *
 * A step is `accumulate` passes of a batch each: the gradient is that of all their samples in one batch. Those of one rank are
 * captured, as they are the same launches each time: ranks wait for each other. */
#ifndef MGI_TRAIN_CODEC_STEP_H
#define MGI_TRAIN_CODEC_STEP_H

#include "tensor/graph.h"
#include "train/adversary.h"
#include "train/moments.h"

/* A pass, `weight` of step `index`, of samples x whose latents get this noise; last: of the step. */
typedef struct mgi_codec_pass {
    int64_t index;
    float weight;
    bool last;
    mgi_tensor *x, *noise;
} mgi_codec_pass;

/* What the two stages do each in their own way. */
typedef struct mgi_codec_kind {
    /* This rank's samples of pass `i`; *row: the first one's number in the step. NULL after a failure of the run. */
    mgi_tensor *(*take)(mgi_run *run, struct mgi_stage_run *r, int64_t index, int64_t i,
                        int64_t *row);
    /* Latent values of each sample of x. */
    int64_t (*latents)(const struct mgi_stage_run *r, const mgi_tensor *x);
    /* Leaves the gradients of a pass, and adds its losses to the step's `sums`. */
    void (*learn)(mgi_run *run, struct mgi_stage_run *r, const mgi_codec_pass *p);
} mgi_codec_kind;

/* Of what, which must outlive the steps. */
typedef struct mgi_codec_parts {
    const mgi_codec_kind *kind;
    struct mgi_stage_run *r;
    const mgi_stage *stage;
    mgi_module *module;
    mgi_adversary *adversary;
    int64_t terms; /* losses, of which the first is their sum */
} mgi_codec_parts;

typedef struct mgi_codec_step {
    mgen_context *ctx;
    mgi_codec_parts of;
    uint64_t seed;
    mgi_optimizer optimizer;
    mgi_data_parallel parallel;
    int64_t updated;  /* steps whose update is in the weights */
    mgi_tensor *sums; /* f32, on the device: losses of the last of them */
    double flops;     /* of it */
    mgi_graph graph;  /* of a pass */
} mgi_codec_step;

/* The module, which has its weights, begins to train. One that is all 0 may be finished, too. */
mgen_status mgi_codec_step_init(mgi_codec_step *s, mgen_context *ctx,
                                const mgi_stage_params *params, const mgi_codec_parts *of);
void mgi_codec_step_finish(mgi_codec_step *s);

/* Step `index`, unless its update is in the weights; sums[terms]: its losses. */
mgen_status mgi_codec_step_take(mgi_codec_step *s, int64_t index, float *sums);
/* `data` as in mgi_stage_state. */
void mgi_codec_step_state(mgi_codec_step *s, int data, mgi_stage_state *out);

/* Run by the averaged weights, without a tape. */
typedef void mgi_codec_work(mgi_run *run, struct mgi_stage_run *r, void *user);
mgen_status mgi_codec_averaged(mgi_codec_step *s, mgi_codec_work *work, void *user);

/* Collective: shift and scale of the latents that `add` adds to the mgi_moments that it is given, on each rank the same. All
 * ranks get the same status. */
mgen_status mgi_codec_normalise(mgi_codec_step *s, mgi_codec_work *add, mgi_tensor *shift,
                                mgi_tensor *scale);

#endif
