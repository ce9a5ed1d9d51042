/* SPDX-License-Identifier: MIT
 * How a discriminator is trained beside what it judges, in the stages of autoencoders and audio codecs. Tier 7. */
#ifndef MGI_TRAIN_ADVERSARY_H
#define MGI_TRAIN_ADVERSARY_H

#include "train/stage.h"

typedef struct mgi_adversary {
    const mgi_stage *stage;
    mgi_module *module; /* the discriminator's, or NULL */
    mgi_optimizer optimizer;
    mgi_data_parallel parallel;
} mgi_adversary;

/* Of a new discriminator, which gets random weights. All 0 is one without: it takes no part. `stage` and the module must
 * outlive it. */
mgen_status mgi_adversary_init(mgi_adversary *a, mgen_context *ctx, const mgi_stage_params *params,
                               const mgi_stage *stage, mgi_module *module);
void mgi_adversary_finish(mgi_adversary *a);

/* Whether it takes part in step `index`. Where it does, of that step: what the host does for it; its gradients are cleared,
 * and added over the ranks; and it steps, once what it judges has stepped. */
bool mgi_adversary_acts(const mgi_adversary *a, int64_t index);
void mgi_adversary_begin(mgi_adversary *a, mgi_run *run, int64_t index);
void mgi_adversary_clear(mgi_adversary *a, mgi_run *run, int64_t index);
void mgi_adversary_end(mgi_adversary *a, mgi_run *run, int64_t index);
void mgi_adversary_apply(mgi_adversary *a, mgi_run *run, int64_t index);

#endif
