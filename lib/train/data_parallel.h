/* SPDX-License-Identifier: MIT
 * Data-parallel training: ranks with the same weights take a share of each batch and add their gradients.
 * Tier 7.
 *
 * Samples, noise and times are functions of their place in the whole batch, and each rank's loss is its
 * part of the mean, so that any number of ranks trains as one does, up to the order of additions.
 * Gradients are added unit by unit as the backward pass leaves them; of modules that are sharded, by nn/fsdp.h.
 */
#ifndef MGI_TRAIN_DATA_PARALLEL_H
#define MGI_TRAIN_DATA_PARALLEL_H

#include "dist/collective.h"
#include "nn/fsdp.h"

enum { MGI_DP_MODULES = 4, MGI_DP_SUMS = 4 };

typedef struct mgi_data_parallel {
    mgi_comm *comm; /* NULL: one rank, nothing to add */
    mgi_fsdp *fsdp; /* NULL, or of modules that are sharded: its owner sets it */
    bool adds;      /* this pass */
    mgi_module *module[MGI_DP_MODULES];
    int64_t done[MGI_DP_MODULES]; /* units of each, from the last on, whose gradients are added */
    int count;
    mgi_flat_work sums[MGI_DP_SUMS]; /* under way, a ring, while the backward pass goes on */
    int sum_first, sum_count;
    mgi_unit_hook hook;
} mgi_data_parallel;

/* The modules that train; those that are sharded are left to fsdp. */
void mgi_dp_init(mgi_data_parallel *dp, mgi_comm *comm, mgi_module *const *modules, int count);

/* This rank's rows of a batch. INVALID if the ranks do not divide it. */
mgen_status mgi_dp_share(const mgi_data_parallel *dp, mgen_context *ctx, int64_t batch,
                         int64_t *first, int64_t *rows);
/* 1 / ranks: the weight of this rank's mean in the mean of all. */
float mgi_dp_weight(const mgi_data_parallel *dp);

/* Around a recorded run, or each pass of it whose gradients make one update: before the forward pass the hook goes
 * into it, and the `last` one adds; after the last backward pass the rest is added, and the values of `sums` over the
 * ranks too. What is run without a tape needs it where modules are sharded. */
void mgi_dp_begin(mgi_data_parallel *dp, mgi_run *run, bool last);
void mgi_dp_end(mgi_data_parallel *dp, mgi_run *run, mgi_tensor *sums);

#endif
