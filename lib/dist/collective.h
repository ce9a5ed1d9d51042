/* SPDX-License-Identifier: MIT
 * Collectives of tensors, with their gradients. Tier 3.
 *
 * They work along axis 1, the tokens of x (B,S,...); all ranks of the group have tensors of one shape, and rows
 * are in rank order. A group that is NULL or of one rank leaves everything as it is. A communicator for the host's
 * memory serves a GPU too, by way of the host.
 */
#ifndef MGI_DIST_COLLECTIVE_H
#define MGI_DIST_COLLECTIVE_H

#include "dist/comm.h"
#include "tensor/ops.h"

/* (B,S,...) of each rank -> (B,nS,...) on all. The gradient of a rank's rows is the sum of all ranks' gradients. */
T *mgi_gather_rows(mgi_run *run, mgi_comm *group, T *x);
/* The same where all ranks go on alike, to one loss: the gradient is that of the rank's own rows. */
T *mgi_gather_rows_alike(mgi_run *run, mgi_comm *group, T *x);
/* (B,nS,...) -> (B,S,...): the rank's own rows of the sum over the ranks. The gradient is gathered. */
T *mgi_scatter_rows(mgi_run *run, mgi_comm *group, T *x);

/* A row of x is `parts` equal parts, of each of which a rank gets its share. (B,S,R) -> (B,nS,R/n): the rows of all
 * ranks, of each the rank's share; and back. Each is the gradient of the other. INVALID where the ranks do not divide
 * the parts. */
T *mgi_rows_to_shares(mgi_run *run, mgi_comm *group, T *x, int64_t parts);
T *mgi_shares_to_rows(mgi_run *run, mgi_comm *group, T *x, int64_t parts);

/* For composite nodes, not recorded: the same begun, to be ended later. Between, x stays as it is and is not dropped.
 * What has begun is ended, whatever has failed. The result belongs to the scope in which it began; it is x itself
 * where there is one rank. */
typedef struct mgi_rows_work {
    mgi_comm *group;
    mgi_comm_work *work;
    T *x, *sent, *got; /* sent: what goes out, x or x in another order */
    void *from, *to;
    bool sums;
} mgi_rows_work;
void mgi_gather_begin(mgi_run *run, mgi_comm *group, T *x, mgi_rows_work *w);
void mgi_scatter_begin(mgi_run *run, mgi_comm *group, T *x, mgi_rows_work *w);
T *mgi_rows_end(mgi_run *run, mgi_rows_work *w);

/* Flat tensors, not recorded, begun and ended in the same way; between, both stay as they are, and `to` is undefined:
 *   gather   to = every rank's `from`, in rank order
 *   scatter  to = this rank's part of the sum of all ranks' `from`; it may be that part of `from` itself
 *   sum      t = the sum over the ranks */
typedef struct mgi_flat_work {
    mgi_comm_work *work;
    T *from, *to;
    void *sent, *got;
} mgi_flat_work;
void mgi_flat_gather_begin(mgi_run *run, mgi_comm *group, T *from, T *to, mgi_flat_work *w);
void mgi_flat_scatter_begin(mgi_run *run, mgi_comm *group, T *from, T *to, mgi_flat_work *w);
void mgi_flat_sum_begin(mgi_run *run, mgi_comm *group, T *t, mgi_flat_work *w);
void mgi_flat_end(mgi_run *run, mgi_flat_work *w);

/* x (2,n), for the rank before and for the one behind; not recorded. -> what those two have for this rank, in the same
 * order; nothing at the group's two ends. */
T *mgi_swap_neighbours(mgi_run *run, mgi_comm *group, T *x);

/* t = the sum over the ranks, in place; not recorded. */
void mgi_sum_ranks(mgi_run *run, mgi_comm *group, T *t);

#endif
