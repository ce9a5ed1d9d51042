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

/* t = the sum over the ranks, in place; not recorded. */
void mgi_sum_ranks(mgi_run *run, mgi_comm *group, T *t);

#endif
