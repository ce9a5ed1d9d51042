/* SPDX-License-Identifier: MIT
 * One optimizer step over all parameters of some modules: gradient norm, skip or clip, AdamW, EMA.
 * Tier 7. */
#ifndef MGI_TRAIN_OPTIMIZER_H
#define MGI_TRAIN_OPTIMIZER_H

#include "dist/comm.h"
#include "kernels/optimizer/optimizer.h"
#include "train/recipe.h"

/* Words of what the plateau schedule remembers: the best validation, how many since then were not better,
 * how often the rate was halved. */
enum { MGI_PLATEAU_BEST, MGI_PLATEAU_SINCE, MGI_PLATEAU_HALVINGS, MGI_PLATEAU_COUNT };

typedef struct mgi_optimizer {
    mgen_context *ctx;
    mgi_optimizer_recipe recipe;
    int64_t steps; /* of the whole stage */
    mgk_optimizer_item
        *items; /* of parameters that each rank has whole, then of those that are split */
    int64_t item_count, whole_count;
    mgi_comm *tp;                     /* the ranks over which they are split; NULL: none */
    mgi_tensor *control;              /* f32[MGK_CONTROL_COUNT], on the device */
    float plateau[MGI_PLATEAU_COUNT]; /* of that schedule */
} mgi_optimizer;

/* The modules must have been given mgi_module_train() and outlive the optimizer. */
mgen_status mgi_optimizer_init(mgi_optimizer *o, mgen_context *ctx,
                               const mgi_optimizer_recipe *recipe, int64_t steps,
                               mgi_module *const *modules, int module_count);
void mgi_optimizer_finish(mgi_optimizer *o);
/* The modules are split over the ranks of `tp`, which all make the same steps: the norm is that of the whole. */
void mgi_optimizer_split(mgi_optimizer *o, mgi_comm *tp);

double mgi_optimizer_lr(const mgi_optimizer *o, int64_t step); /* of step 0, 1, ... */
/* The figure of a validation, the less the better: the plateau schedule follows it. */
void mgi_optimizer_validated(mgi_optimizer *o, double figure);
/* What can fail of a step, before it. Only for those who take several steps or none of them. */
void mgi_optimizer_prepare(const mgi_optimizer *o, mgi_run *run);
/* Apply the gradients that are there: all of it or, after a failure, nothing. */
void mgi_optimizer_step(mgi_optimizer *o, mgi_run *run, int64_t step);
#endif
