/* SPDX-License-Identifier: MIT
 * posterior: the Gaussian latent of a variational autoencoder.
 *
 *   h (rows, 2*dim) = [mean | logvar], logvar clamped to [-30, 20]
 *   posterior       z = mean + exp(logvar/2) * noise   (noise NULL: z = mean);
 *                   kl[0] += weight * mean over rows*dim of
 *                   (mean^2 + exp(logvar) - 1 - logvar) / 2, if kl is given
 *   posterior_grad  dh from dz (rows, dim; NULL = 0) and kl_upstream[0] (NULL = no KL term); no
 *                   gradient through a clamped logvar
 * Dtypes: h, z, dz, dh are T; noise f32 or bf16; kl, kl_upstream f32.
 */
#ifndef MGK_POSTERIOR_H
#define MGK_POSTERIOR_H

#include "kernels/mgk.h"

/* Bounds of logvar. */
#define MGK_LOGVAR_LOWEST  (-30)
#define MGK_LOGVAR_HIGHEST 20

typedef struct mgk_posterior_args {
    mgk_buf h, noise, z, kl, dz, dh, kl_upstream;
    int64_t rows, dim;
    float weight;
} mgk_posterior_args;

MGK_DECLARE(posterior);
MGK_DECLARE(posterior_grad);

#endif
