/* SPDX-License-Identifier: MIT
 * One optimizer step over all parameters of some modules: gradient norm, skip or clip, AdamW, EMA.
 * Tier 7. */
#ifndef MGI_TRAIN_OPTIMIZER_H
#define MGI_TRAIN_OPTIMIZER_H

#include "dist/mesh.h"
#include "kernels/optimizer/optimizer.h"
#include "train/recipe.h"

/* Words of what the plateau schedule remembers: the best validation, how many since then were not better,
 * how often the rate was halved. */
enum { MGI_PLATEAU_BEST, MGI_PLATEAU_SINCE, MGI_PLATEAU_HALVINGS, MGI_PLATEAU_COUNT };

/* Parameters that each rank has whole; that are sharded; sharded and split by TP; split. */
enum { MGI_ITEMS_WHOLE, MGI_ITEMS_SHARDED, MGI_ITEMS_BOTH, MGI_ITEMS_SPLIT };

typedef struct mgi_optimizer {
    mgen_context *ctx;
    mgi_optimizer_recipe recipe;
    int64_t steps;                    /* of the whole stage */
    mgk_optimizer_item *items;        /* in the order of MGI_ITEMS_* */
    int64_t item_count, item_end[4];  /* of each kind, behind the last */
    const mgi_mesh *mesh;             /* NULL: one rank has everything */
    mgi_tensor *control;              /* f32[MGK_CONTROL_COUNT], on the device */
    float plateau[MGI_PLATEAU_COUNT]; /* of that schedule */
} mgi_optimizer;

/* The modules must have been given mgi_module_train() and outlive the optimizer. */
mgen_status mgi_optimizer_init(mgi_optimizer *o, mgen_context *ctx,
                               const mgi_optimizer_recipe *recipe, int64_t steps,
                               mgi_module *const *modules, int module_count);
void mgi_optimizer_finish(mgi_optimizer *o);
/* The modules are split and sharded over the mesh, whose ranks all make the same steps: the norm is that of the whole.
 * NULL: they are not. */
void mgi_optimizer_split(mgi_optimizer *o, const mgi_mesh *mesh);

double mgi_optimizer_lr(const mgi_optimizer *o, int64_t step); /* of step 0, 1, ... */
/* The figure of a validation, the less the better: the plateau schedule follows it. */
void mgi_optimizer_validated(mgi_optimizer *o, double figure);
/* What the host does for a step, and what can fail of it. */
void mgi_optimizer_begin(mgi_optimizer *o, mgi_run *run, int64_t step);
/* Apply the gradients that are there: all of it or, after a failure, nothing. */
void mgi_optimizer_apply(mgi_optimizer *o, mgi_run *run);
/* Both. */
void mgi_optimizer_step(mgi_optimizer *o, mgi_run *run, int64_t step);
#endif
