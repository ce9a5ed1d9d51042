/* SPDX-License-Identifier: MIT
 * The cuBLASLt of a context on a GPU and, where the host asked for it (autotune), how products are timed and where what was
 * chosen is kept. Tier 2. Only in builds with CUDA. */
#ifndef MGI_TENSOR_DEVICE_BLAS_H
#define MGI_TENSOR_DEVICE_BLAS_H

#include "tensor/device_cuda.h"

typedef struct mgi_blas mgi_blas;

/* NULL: there is none, which the log says; products are slower then. `cuda` has its stream. */
mgen_status mgi_blas_open(mgen_context *ctx, mgi_cuda *cuda, mgi_blas **out);
void mgi_blas_close(mgi_blas *blas); /* keeps what was chosen; NULL is fine */
void *mgi_blas_library(mgi_blas *blas);
/* To the cache folder, if there is one, with what was chosen since the last time. What hinders that is logged, once. */
void mgi_blas_keep(mgi_blas *blas);
/* From now on, and for what was chosen before, cuBLASLt's own choice. */
void mgi_blas_settle(mgi_blas *blas);

#endif
