/* SPDX-License-Identifier: MIT
 * The ranks that carry one flow, whatever it makes: which rows of its velocities a rank computes, and how all end alike.
 * Tier 7. */
#ifndef MGI_TASK_FLOW_RANKS_H
#define MGI_TASK_FLOW_RANKS_H

#include "dist/mesh.h"
#include "tensor/ops.h"

typedef struct mgi_flow_ranks {
    mgi_comm *all; /* of a mesh; NULL: one */
    mgi_comm *dp;  /* those that share the velocities of a step; NULL: one */
    bool ended;    /* they have agreed that they fail */
} mgi_flow_ranks;

mgi_flow_ranks mgi_flow_ranks_of(const mgi_mesh *mesh);
/* Whether this is the one that gets what is made. */
bool mgi_flow_first(const mgi_flow_ranks *ranks);

/* -- rows --------------------------------------------------------------------------------------- */

/* What the network answers for rows first .. first + rows - 1 of one window. */
typedef T *mgi_flow_evaluate(void *user, int64_t window, int64_t first, int64_t rows);

/* A batch of `rows` rows for each window, and the dims of one. */
typedef struct mgi_flow_batch {
    int64_t rows, dims[4];
    mgi_flow_evaluate *evaluate;
    void *user;
} mgi_flow_batch;

/* Of `count` windows those whose rows are shared along dp at once: as few as give every rank the same number of rows. */
int64_t mgi_flow_windows(const mgi_flow_ranks *ranks, int64_t count, int64_t rows);
/* (rows,...): the velocities of all rows of some windows from `window` on; of one, unless they are shared. */
T *mgi_flow_velocities(mgi_run *run, const mgi_flow_ranks *ranks, const mgi_flow_batch *batch,
                       int64_t window, int64_t windows);
/* Some rows of a tensor; itself, if those are all or it is NULL. */
T *mgi_flow_rows(mgi_run *run, T *t, int64_t first, int64_t rows);

/* -- ends --------------------------------------------------------------------------------------- */

/* Collective, outside of an evaluation: all ranks end alike, with the first one's failure; that is told once. */
mgen_status mgi_flow_together(mgi_run *run, mgi_flow_ranks *ranks, mgen_status status);
/* Collective: is the request the same on all ranks? DESYNC, with both of what stands for it. */
mgen_status mgi_flow_agree(mgi_run *run, const mgi_flow_ranks *ranks, const char *request);
/* Collective: values on which decisions depend are rank 0's, that ranks whose processors differ in the last bit decide
 * alike. */
mgen_status mgi_flow_same(mgi_run *run, const mgi_flow_ranks *ranks, int32_t dtype, void *values,
                          int64_t count);
/* After an evaluation: others wait for what this rank could not do. */
void mgi_flow_evaluated(const mgi_run *run, const mgi_flow_ranks *ranks);
/* After all steps, which ended with `status`. */
mgen_status mgi_flow_end(mgi_run *run, mgi_flow_ranks *ranks, mgen_status status);
/* What the communicator has said of a status, where `ctx` is not its context. */
mgen_status mgi_flow_said(mgen_context *ctx, const mgi_flow_ranks *ranks, mgen_status status);

#endif
