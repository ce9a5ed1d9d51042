/* SPDX-License-Identifier: MIT
 * Mean and deviation of each channel of an autoencoder's latents, by which they are normalised. Tier 7. */
#ifndef MGI_TRAIN_MOMENTS_H
#define MGI_TRAIN_MOMENTS_H

#include "tensor/ops.h"

typedef struct mgi_moments {
    int64_t channels, count; /* of a channel's values so far */
    double *sum;             /* of the channels' values, then of their squares */
} mgi_moments;

mgen_status mgi_moments_init(mgen_context *ctx, int64_t channels, mgi_moments *out);
void mgi_moments_free(mgen_context *ctx, mgi_moments *m);
/* Latents z (...,channels); NULL after a failure of the run. */
void mgi_moments_add(mgi_run *run, mgi_moments *m, const T *z);
/* normalised = (z - shift) * scale. */
mgen_status mgi_moments_write(mgen_context *ctx, const mgi_moments *m, T *shift, T *scale);

#endif
