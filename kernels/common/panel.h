/* SPDX-License-Identifier: MIT
 * Panel engine: the register-tile products under matrix products and convolutions, f32.
 *
 * One call multiplies a strip of m rows with one panel of up to `nr` columns:
 *   C(i, j) = act(alpha * sum_s sum_k A_s(i, k) B_s(k, j) + bias(j))  (+ C(i, j) with `load`)
 * The sum runs over `segs` segments of `len` values each. A is read in place, by broadcast: a
 * segment is a pointer and two strides, so a convolution needs no im2col (a segment is one row of
 * the kernel: kw * cin neighbouring values, and the next output pixel lies stride_w * cin further).
 * B is read by vector loads of a panel, packed or in place.
 *
 * The engine is written once (panel_template.h) and compiled per instruction set. Drivers
 * (matmul_packed.c, conv2d_packed.c) are plain C and take the engine as an argument.
 */
#ifndef MGK_PANEL_H
#define MGK_PANEL_H

#include "kernels/mgk.h"

enum {
    MGK_PANEL_NR_MAX = 32, /* widest panel of any engine: packed buffers are padded to it */
    MGK_PANEL_SLACK = 64   /* floats readable past the end of what B in place points to */
};

typedef struct mgk_panel_job {
    const float *const *a; /* per segment: row 0, k 0; NULL = a segment of zeros */
    const float *const *b; /* per segment (B in place), or NULL: b0 + s * b_step */
    const float *b0;
    int64_t a_off, b_off; /* added to every pointer of a, b */
    int64_t b_step;
    int64_t segs, len;
    int64_t a_row, a_col; /* A_s(i, k) = a[s][a_off + i * a_row + k * a_col]; one of them is 1 */
    int64_t a_tile;       /* not 0: A as pack_a leaves it, tiles this far apart */
    int64_t ldb;          /* between k and k + 1; reads whole vectors, also past column n */
    float *c;
    int64_t ldc, m, n; /* n <= nr */
    const float *bias; /* n values or NULL */
    float alpha;
    int32_t load; /* add to C */
    int32_t act;  /* MGK_ACT_* of matmul.h */
} mgk_panel_job;

typedef struct mgk_panel {
    int vl; /* floats a vector */
    int nr; /* columns a full panel: two vectors */
    int mr; /* rows of the tallest tile of a full panel */
    void (*run)(const mgk_panel_job *job);
    /* dst[k * width + j] = src(k, j) for j < n, 0 for n <= j < width; src(k, j) is
     * src[k * ld + j], or with trans src[j * ld + k]. */
    void (*pack)(float *dst, const float *src, int64_t ld, bool trans, int64_t k, int64_t n,
                 int64_t width);
    /* A that is stored by columns, row i of column k at src[k * ld + i], as tiles of mr rows:
     * dst[t * mgk_panel_tile(k) + k * mr + i]. `readable` >= m values of a column exist. */
    void (*pack_a)(float *dst, const float *src, int64_t ld, int64_t k, int64_t m,
                   int64_t readable);
} mgk_panel;

extern const mgk_panel mgk_panel_packed;
extern const mgk_panel mgk_panel_avx2;
extern const mgk_panel mgk_panel_avx512;

static inline int64_t mgk_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}
static inline int64_t mgk_round_up(int64_t a, int64_t b)
{
    return mgk_ceil_div(a, b) * b;
}
static inline int64_t mgk_min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t mgk_max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Width that a panel of n columns is packed to. */
static inline int64_t mgk_panel_width(const mgk_panel *p, int64_t n)
{
    return n <= p->vl ? p->vl : p->nr;
}

/* Distance of packed tiles of A: whole vectors are written, also past the last row. */
static inline int64_t mgk_panel_tile(const mgk_panel *p, int64_t k)
{
    return mgk_round_up(k * p->mr + 16, 16);
}
/* Most floats that m rows take, for any engine. */
static inline int64_t mgk_panel_tiles_max(int64_t m, int64_t k)
{
    return (m + 16) * k + (m / 4 + 1) * 32;
}

#endif
