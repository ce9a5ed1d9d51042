/* SPDX-License-Identifier: MIT
 * Panel engine: the register-tile products under matrix products and convolutions.
 *
 * One call multiplies a strip of m rows with one panel of up to `nr` columns:
 *   P(i, j) = alpha * sum_s sum_k A_s(i, k) B_s(k, j) + sums(i, j) + bias(j)
 *   C(i, j) = act(P)   or   C + P with `load`   or   residual + gate * act(P)
 * The sum runs over `segs` segments of `len` values each. A is read in place, by broadcast: a
 * segment is a pointer and two strides, so a convolution needs no im2col (a segment is one row of
 * the kernel: kw * cin neighbouring values, and the next output pixel lies stride_w * cin further).
 * B is read by vector loads of a panel, packed or in place.
 *
 * An engine multiplies units of 4 bytes: floats, or (engines with `pairs`) two bf16 values that follow
 * each other along k, the lower half first, whose two products one instruction adds to an f32 sum. An
 * odd k ends in half a unit, the upper half 0; a row of A in place is not read past its end. Engines
 * of floats multiply bf16 as well, which is widened when it is packed or copied. Sums are f32 in all.
 *
 * The engine is written once (panel_template.h) and compiled per instruction set. Drivers
 * (matmul_packed.c, conv2d_packed.c) are plain C and take the engine as an argument.
 */
#ifndef MGK_PANEL_H
#define MGK_PANEL_H

#include "kernels/mgk.h"

enum {
    MGK_PANEL_NR_MAX = 32, /* widest panel of any engine: packed buffers are padded to it */
    MGK_PANEL_SLACK = 64   /* units readable past the end of what B in place points to */
};

typedef struct mgk_panel_job {
    const void *const *a;  /* per segment: row 0, k 0; NULL = a segment of zeros */
    const float *const *b; /* per segment (B in place), or NULL: b0 + s * b_step; units */
    const float *b0;
    int64_t a_off, b_off; /* added to every pointer of a, b */
    int64_t b_step;
    int64_t segs, len; /* len: values, not units */
    /* By rows: A_s(i, k) is value a_off + i * a_row + k of a[s]; values are bf16 with `pairs`.
     * By columns: unit a_off + i + k * a_col, or (a_tile not 0) A as pack_a leaves it, tiles
     * a_tile units apart. */
    bool a_by_columns;
    int64_t a_row, a_col, a_tile;
    /* By rows: of each segment row 0 lacks its first `lead` values, row m - 1 its last `tail`: they count as 0 and are not
     * read. Whole units, together at most len. */
    int64_t lead, tail;
    /* By rows: a segment is three taps of a_row values, so that row i's second tap is row i + 1's first; lead and tail are 0
     * or one tap. Tiles of one vector then read each value once for all three; k runs over the taps of a value first. */
    bool taps;
    /* A as it lies, if the job itself is to bring it to a[0], which it reads then; or NULL. In one segment, for more than
     * vl columns. By rows a_from_step values apart, `len` whole vectors of units; or, with a_tile, by columns, in each of
     * which `ma` values can be read from the first row of every tile on. */
    const void *a_from;
    int64_t a_from_step;
    int64_t ldb; /* between units k and k + 1; reads whole vectors, also past column n */
    void *c;
    int64_t ldc, m, n; /* n <= nr */
    int32_t c_dtype;   /* MGK_F32 or MGK_BF16 */
    int32_t load;      /* add to C */
    bool
        stream; /* C is written past the caches (rows begin on lines, panels are whole lines) ... */
    bool stream_end;   /* ... and all of it is to be seen by others when this job is done */
    const float *sums; /* sums of earlier blocks of k, lds apart, or NULL */
    int64_t lds;
    const float *bias; /* n values or NULL */
    float alpha;
    int32_t act;          /* MGK_ACT_* of matmul.h */
    const void *residual; /* dtype and ldc of C; or NULL */
    void *before;         /* takes act(P), dtype and ldc of C; or NULL */
    const float *gate;    /* row i reads gate[(gate_row + i) / gate_rows * gate_stride]; or NULL */
    int64_t gate_row, gate_rows, gate_stride;
    /* What is read after this job and asked for meanwhile: pairs of lines, and `next_bytes` from `next` on, or NULL */
    const void *const *ahead;
    int64_t ahead_count;
    const void *next;
    int64_t next_bytes;
} mgk_panel_job;

typedef struct mgk_panel {
    int vl; /* floats a vector */
    int nr; /* columns a full panel: two vectors */
    int mr; /* rows of the tallest tile of a full panel */
    int ma; /* mr rounded up to whole vectors: distance of columns in packed tiles of A */
    bool pairs;
    bool brings_rows, brings_columns; /* know a_from, without a_by_columns and with it */
    void (*run)(const mgk_panel_job *job);
    /* dst[k * width + j] = unit src(k, j) for j < n, 0 for n <= j < width; value (k, j) is
     * src[k * ld + j], or with trans src[j * ld + k], k counting values here. src is f32 or bf16. */
    void (*pack)(float *dst, mgk_buf src, int64_t ld, bool trans, int64_t k, int64_t n,
                 int64_t width);
    /* A that is stored by columns, row i of column k at src[k * ld + i], as tiles of mr rows:
     * dst[t * mgk_panel_tile(units) + k * ma + i]. `readable` >= m values of a column exist. */
    void (*pack_a)(float *dst, mgk_buf src, int64_t ld, int64_t k, int64_t m, int64_t readable);
    /* count values that follow each other, as units */
    void (*copy)(float *dst, mgk_buf src, int64_t count);
    /* pairs only: unit dst[u * count + j] = values j of pixels 2 u and 2 u + 1, which are `step` apart; 0
     * past the last pixel */
    void (*zip)(float *dst, const void *src, int64_t step, int64_t pixels, int64_t count);
    /* sum[j] += src[i * count + j] over i < rows */
    void (*add_columns)(float *sum, mgk_buf src, int64_t rows, int64_t count);
    /* Pixels of three channels: y[3 * j + o] = bias[o] + sum over rows s, which may be NULL (zeros), and channels i of
     * rows[s][3 * j + i] * w[9 * s + 3 * i + o]. Rows are as the engine multiplies them; bias may be NULL. */
    void (*three)(mgk_buf y, const void *const *rows, int64_t count, int64_t pixels, const float *w,
                  const float *bias);
    /* dst[j] = src[j], or += with add, in dst's dtype */
    void (*put)(mgk_buf dst, const float *src, int64_t count, bool add);
} mgk_panel;

extern const mgk_panel mgk_panel_packed;
extern const mgk_panel mgk_panel_avx2;
extern const mgk_panel mgk_panel_avx512;
extern const mgk_panel mgk_panel_avx512bf16; /* pairs: for bf16 only */

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

/* A buffer from `at` values further on. */
static inline mgk_buf mgk_buf_at(mgk_buf b, int64_t at)
{
    return (mgk_buf){(char *)b.p + at * (b.dtype == MGK_BF16 ? 2 : 4), b.dtype};
}

/* Units of k values. */
static inline int64_t mgk_panel_units(const mgk_panel *p, int64_t k)
{
    return p->pairs ? (k + 1) / 2 : k;
}

/* Width that a panel of n columns is packed to. */
static inline int64_t mgk_panel_width(const mgk_panel *p, int64_t n)
{
    return n <= p->vl ? p->vl : p->nr;
}

/* Distance of packed tiles of A of `units` columns. */
static inline int64_t mgk_panel_tile(const mgk_panel *p, int64_t units)
{
    return units * p->ma + 48;
}
/* Most units that m rows take, for any engine: 8 a column for 6 rows, or 16 for 14. */
static inline int64_t mgk_panel_tiles_max(int64_t m, int64_t k)
{
    return (m + m / 3 + 16) * k + (m / 6 + 1) * 48;
}

#endif
