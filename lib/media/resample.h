/* SPDX-License-Identifier: MIT
 * Sound at another rate. Tier 6. */
#ifndef MGI_MEDIA_RESAMPLE_H
#define MGI_MEDIA_RESAMPLE_H

#include "core/context.h"

/* Samples at the other rate: as many as last as long, rounded up. */
int64_t mgi_resample_count(int64_t count, uint32_t from, uint32_t to);
/* count x channels samples at `from` become mgi_resample_count() at `to`, each of the samples around it weighted by a sinc
 * under a Kaiser window. Frequencies up to 0.45 of the lower rate pass to within 0.001 dB, and those beyond 0.55 are 100 dB
 * lower. Outside of the sound there is silence. */
mgen_status mgi_resample(mgen_context *ctx, const float *in, int64_t count, uint32_t channels,
                         uint32_t from, uint32_t to, float *out);

#endif
