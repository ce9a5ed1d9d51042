/* SPDX-License-Identifier: MIT
 * Data-parallel training: ranks with the same weights take a share of each batch and add their gradients.
 * Tier 7.
 *
 * Samples, noise and times are functions of their place in the whole batch, and each rank's loss is its
 * part of the mean, so that any number of ranks trains as one does, up to the order of additions.
 * Gradients are added unit by unit as the backward pass leaves them.
 */
#ifndef MGI_TRAIN_DATA_PARALLEL_H
#define MGI_TRAIN_DATA_PARALLEL_H

#include "dist/comm.h"
#include "nn/module.h"

enum { MGI_DP_MODULES = 4 };

typedef struct mgi_data_parallel {
    mgi_comm *comm; /* NULL: one rank, nothing to add */
    mgi_module *module[MGI_DP_MODULES];
    int64_t done[MGI_DP_MODULES]; /* units of each, from the last on, whose gradients are added */
    int count;
    mgi_unit_hook hook;
} mgi_data_parallel;

void mgi_dp_init(mgi_data_parallel *dp, mgi_comm *comm, mgi_module *const *modules, int count);

/* This rank's rows of a batch. INVALID if the ranks do not divide it. */
mgen_status mgi_dp_share(const mgi_data_parallel *dp, mgen_context *ctx, int64_t batch,
                         int64_t *first, int64_t *rows);
/* 1 / ranks: the weight of this rank's mean in the mean of all. */
float mgi_dp_weight(const mgi_data_parallel *dp);

/* Around a recorded run, or the last of several whose gradients make one update: the hook goes into it before
 * the forward pass; after the backward pass the rest is added, and the values of `sums` over the ranks too. */
void mgi_dp_begin(mgi_data_parallel *dp, mgi_run *run);
void mgi_dp_end(mgi_data_parallel *dp, mgi_run *run, mgi_tensor *sums);

#endif
