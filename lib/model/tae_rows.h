/* SPDX-License-Identifier: MIT
 * Frames divided by rows over the ranks of a group: each runs the whole autoencoder on its own rows. Tier 5.
 *
 * A convolution in space takes a row more on either side, which the neighbours give; group norm has the statistics of
 * whole frames, which all ranks add up. Convolutions in time need nothing of others. Nothing is computed twice, and
 * the ranks go through the film together: what comes out has the bits of whole frames, or with group norm is
 * theirs to rounding. Attention, which sees whole frames, cannot be divided so. */
#ifndef MGI_MODEL_TAE_ROWS_H
#define MGI_MODEL_TAE_ROWS_H

#include "dist/comm.h"
#include "model/tae.h"

typedef struct mgi_tae_rows {
    mgi_comm *ranks;
    struct mgi_tae_span own; /* rows of latents: this rank's */
} mgi_tae_rows;

/* Whether there is a row of latents for every rank, of `rows`, and the model can be divided. */
bool mgi_tae_rows_fit(const mgi_tae *tae, const mgi_comm *ranks, int64_t rows);
mgi_tae_rows mgi_tae_rows_of(mgi_comm *ranks, int64_t rows);
/* Those of any rank. */
struct mgi_tae_span mgi_tae_rows_at(const mgi_tae_rows *rows, int rank);

/* Of a rank's rows before a convolution: its rows behind it. */
struct mgi_tae_span mgi_tae_rows_after(const mgi_tae_conv *c, struct mgi_tae_span own);
/* x (T,rows,W,C), the rank's rows at `place`, with those of its neighbours that the convolution needs; *place becomes
 * where they are. x NULL: only that. Collective. */
T *mgi_tae_rows_widen(mgi_run *run, const mgi_tae_rows *rows, const mgi_tae_conv *c, T *x,
                      mgi_tae_place *place);

/* The activation of the rank's rows. Collective where there is a norm. */
T *mgi_tae_rows_activate(mgi_run *run, const mgi_tae_rows *rows, const mgi_tae_norm *n, T *x);

#endif
