/* SPDX-License-Identifier: MIT
 * The Frechet distance of two sets of vectors, each taken for samples of a Gaussian:
 *
 *   |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2)
 *
 * with means m and covariances C (of count - 1). In double precision throughout. Tier 7. */
#ifndef MGI_EVAL_FRECHET_H
#define MGI_EVAL_FRECHET_H

#include "core/context.h"

/* What is kept of a set, whatever its size: one pass, by Welford's sums. */
typedef struct mgi_gaussian {
    int64_t dims, count;
    double *mean;
    double *products; /* dims x dims, of deviations from the mean, summed; the lower half */
    double *off;      /* room: a sample's deviation */
} mgi_gaussian;

mgen_status mgi_gaussian_init(mgen_context *ctx, int64_t dims, mgi_gaussian *out);
void mgi_gaussian_add(mgi_gaussian *g, const double *sample);
void mgi_gaussian_finish(mgen_context *ctx, mgi_gaussian *g);

/* Sets of the same dims. INVALID with fewer than 2 samples in one of them, NUMERIC where a sample was not finite. Time
 * grows with the third power of the dims: 1024 take seconds. */
mgen_status mgi_frechet(mgen_context *ctx, const mgi_gaussian *a, const mgi_gaussian *b,
                        double *out);

/* Eigenvalues, in no order, of the symmetric matrix in `a` (n x n, both halves), which is overwritten. NUMERIC if there is no
 * end to it. */
mgen_status mgi_eigenvalues(mgen_context *ctx, double *a, int64_t n, double *values);

#endif
