/* SPDX-License-Identifier: MIT
 * Mean and deviation of each channel of an autoencoder's latents, by which they are normalised. Tier 7. */
#ifndef MGI_TRAIN_MOMENTS_H
#define MGI_TRAIN_MOMENTS_H

#include "core/quiet.h"
#include "dist/comm.h"
#include "tensor/ops.h"

typedef struct mgi_moments {
    int64_t channels, count; /* of a channel's values so far */
    double *sum;             /* of the channels' values, then of their squares */
    int64_t read, unread;    /* samples of the data, and those that are passed over */
    char why[512];           /* of the first of them */
} mgi_moments;

mgen_status mgi_moments_init(mgen_context *ctx, int64_t channels, mgi_moments *out);
void mgi_moments_free(mgen_context *ctx, mgi_moments *m);
/* Latents z (...,channels); NULL after a failure of the run. */
void mgi_moments_add(mgi_run *run, mgi_moments *m, const T *z);
/* Whether a sample was read. One that cannot be is passed over, for what was learned must not be lost with it; the run fails only if there is no
 * memory for it, or whoever reads it wants to stop. `before`: of mgi_quiet_begin(), before it was read. */
bool mgi_moments_read(mgi_run *run, mgi_moments *m, const mgi_message *before, mgen_status status);
/* Collective, after all ranks have measured: they have what rank 0 has, and tell what was passed over there. What only some of
 * them can read does not make them differ. comm NULL: one rank. */
mgen_status mgi_moments_share(mgi_comm *comm, mgi_moments *m);
/* normalised = (z - shift) * scale. What was passed over is told as a warning; if that is all, both stay as they are. */
mgen_status mgi_moments_write(mgen_context *ctx, const mgi_moments *m, T *shift, T *scale);

#endif
