/* SPDX-License-Identifier: MIT
 * The panel engine's code, included once per instruction set (panel_packed.c, panel_avx2.c, ...).
 *
 * Before including: PANEL_NAME (suffix), PANEL_VL (floats a vector), PANEL_MR1 and PANEL_MR2 (rows
 * of the tallest tile one and two vectors wide; a tile's accumulators, its B vectors and one
 * broadcast must fit the register file), PANEL_HEIGHTS1(X) and PANEL_HEIGHTS2(X) (lists of the
 * heights that exist, 1..MR).
 *
 * A tile is a function per (height, width, way of reading A), made from one always-inlined body
 * with constant arguments. Rows are written out by macro so that each accumulator is a variable of
 * its own: no compiler has to take an array apart to keep it in registers. Rows of A that are
 * a_row apart are addressed from every third row (pointer, pointer + a_row, pointer + 2 * a_row), the
 * form the x86 address modes take without further instructions.
 */
#include "kernels/common/panel.h"
#include "kernels/matmul/matmul.h" /* MGK_ACT_* */

#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#define PANEL_INLINE     static inline __attribute__((always_inline))
#define PANEL_CAT_(a, b) a##b
#define PANEL_CAT(a, b)  PANEL_CAT_(a, b)

typedef float vf __attribute__((vector_size(PANEL_VL * 4)));
typedef int32_t vi __attribute__((vector_size(PANEL_VL * 4)));
typedef float vfu __attribute__((vector_size(PANEL_VL * 4), aligned(4), may_alias));
typedef float v4 __attribute__((vector_size(16)));
typedef float v4u __attribute__((vector_size(16), aligned(4), may_alias));

PANEL_INLINE vf splat(float x)
{
#if PANEL_VL == 16
    return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif PANEL_VL == 8
    return (vf){x, x, x, x, x, x, x, x};
#else
    return (vf){x, x, x, x};
#endif
}
PANEL_INLINE vf load(const float *p)
{
    return *(const vfu *)p;
}
PANEL_INLINE void store(float *p, vf v)
{
    *(vfu *)p = v;
}
/* The first n (1 or more) of a vector's floats, the others 0. */
PANEL_INLINE vf load_n(const float *p, int64_t n)
{
#ifdef __AVX512F__
    return (vf)_mm512_maskz_loadu_ps(n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1), p);
#else
    float t[PANEL_VL] = {0};
    if (n >= PANEL_VL)
        return load(p);
    for (int64_t j = 0; j < n; j++)
        t[j] = p[j];
    return load(t);
#endif
}
PANEL_INLINE void store_n(float *p, vf v, int64_t n)
{
#ifdef __AVX512F__
    _mm512_mask_storeu_ps(p, n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1), (__m512)v);
#else
    float t[PANEL_VL];
    if (n >= PANEL_VL) {
        store(p, v);
        return;
    }
    store(t, v);
    for (int64_t j = 0; j < n; j++)
        p[j] = t[j];
#endif
}

/* --- activations ------------------------------------------------------------------------------ */

/* NaN stays NaN. */
PANEL_INLINE vf at_least(vf x, float low)
{
#if defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)splat(low), (__m512)x);
#elif defined(__AVX2__)
    return (vf)_mm256_max_ps((__m256)splat(low), (__m256)x);
#else
    const vi below = x < splat(low);
    return (vf)((below & (vi)splat(low)) | (~below & (vi)x));
#endif
}

/* x / (1 + exp(-z)); exp as 2^i * 2^f with a polynomial of degree 6 on |f ln 2| <= 0.35. */
PANEL_INLINE vf times_sigmoid(vf x, vf z)
{
    const vf magic = splat(12582912.0f); /* adding it rounds to an integer, in the low bits */
    z = at_least(-at_least(z, -88.0f), -87.0f);
    const vf t = z * splat(1.44269504f) + magic, i = t - magic;
    const vf f = (z - i * splat(0.693359375f)) + i * splat(2.12194440e-4f);
    vf e = splat(1.0f / 720);
    e = e * f + splat(1.0f / 120);
    e = e * f + splat(1.0f / 24);
    e = e * f + splat(1.0f / 6);
    e = e * f + splat(0.5f);
    e = e * f + splat(1.0f);
    e = e * f + splat(1.0f);
    e = (vf)((vi)e + ((vi)t << 23));
    return x / (splat(1.0f) + e);
}
PANEL_INLINE vf activate(vf x, int32_t act)
{
    if (act == MGK_ACT_SILU)
        return times_sigmoid(x, x);
    if (act == MGK_ACT_GELU_TANH) /* 0.5 (1 + tanh u) = sigmoid(2 u) */
        return times_sigmoid(x, x * (x * x * splat(0.0713548162726f) + splat(1.59576912161f)));
    return act == MGK_ACT_RELU ? at_least(x, 0.0f) : x;
}
/* --- the tile --------------------------------------------------------------------------------- */

/* X(row, group of three, place in the group) */
#define PANEL_ROWS_6(X) X(0, 0, 0) X(1, 0, 1) X(2, 0, 2) X(3, 1, 0) X(4, 1, 1) X(5, 1, 2)
#define PANEL_ROWS_12(X)                                                                           \
    PANEL_ROWS_6(X) X(6, 2, 0) X(7, 2, 1) X(8, 2, 2) X(9, 3, 0) X(10, 3, 1) X(11, 3, 2)
#define PANEL_ROWS_14(X) PANEL_ROWS_12(X) X(12, 4, 0) X(13, 4, 1)
#if PANEL_MR1 > PANEL_MR2
#define PANEL_MR_MAX PANEL_MR1
#else
#define PANEL_MR_MAX PANEL_MR2
#endif
#define PANEL_ROWS(X) PANEL_CAT(PANEL_ROWS_, PANEL_MR_MAX)(X)

/* Keeps the compiler from re-deriving a pointer from another one. */
#define PANEL_OPAQUE(p) __asm__("" : "+r"(p))

#define PANEL_ZERO(i, g, o) vf c##i##_0 = splat(0.0f), c##i##_1 = splat(0.0f);
#define PANEL_MUL(i, g, o)                                                                         \
    if (i < mr) {                                                                                  \
        const vf x = splat(rows ? p##g[o * a_row] : a[i]);                                         \
        c##i##_0 += x * b0;                                                                        \
        if (nv > 1)                                                                                \
            c##i##_1 += x * b1;                                                                    \
    }
#define PANEL_STEP()                                                                               \
    do {                                                                                           \
        const vf b0 = load(b), b1 = nv > 1 ? load(b + PANEL_VL) : b0;                              \
        PANEL_ROWS(PANEL_MUL)                                                                      \
        b += ldb;                                                                                  \
        if (rows) {                                                                                \
            p0++;                                                                                  \
            p1++;                                                                                  \
            p2++;                                                                                  \
            p3++;                                                                                  \
            p4++;                                                                                  \
        } else {                                                                                   \
            a += a_col;                                                                            \
        }                                                                                          \
    } while (0)
#define PANEL_OUT(i, g, o)                                                                         \
    if (i < mr) {                                                                                  \
        vf v0 = c##i##_0 * alpha + bias0, v1 = c##i##_1 * alpha + bias1;                           \
        if (job->load) {                                                                           \
            v0 += load(c);                                                                         \
            if (nv > 1)                                                                            \
                v1 += load(c + PANEL_VL);                                                          \
        }                                                                                          \
        store(c, v0);                                                                              \
        if (nv > 1)                                                                                \
            store(c + PANEL_VL, v1);                                                               \
        c += ldc;                                                                                  \
    }
#define PANEL_SPILL(i, g, o)                                                                       \
    if (i < mr) {                                                                                  \
        store(t + i * nv * PANEL_VL, c##i##_0);                                                    \
        if (nv > 1)                                                                                \
            store(t + i * nv * PANEL_VL + PANEL_VL, c##i##_1);                                     \
    }

/* A tile whose last vector is not full, or with an activation: its sums come in t, `width` a row.
 * (Activating in C itself would wait for its cache lines to be fetched.) */
PANEL_INLINE void finish_rows(const mgk_panel_job *job, int64_t row, int64_t m, const float *t,
                              int64_t width, const int32_t act)
{
    for (int64_t i = 0; i < m; i++, t += width) {
        float *c = job->c + (row + i) * job->ldc;
        for (int64_t j = 0; j < job->n; j += PANEL_VL) {
            const int64_t n = job->n - j;
            vf v = load(t + j) * splat(job->alpha);
            if (job->bias)
                v += load_n(job->bias + j, n);
            if (job->load)
                v += load_n(c + j, n);
            store_n(c + j, activate(v, act), n);
        }
    }
}
static __attribute__((noinline)) void finish_tile(const mgk_panel_job *job, int64_t row, int64_t m,
                                                  const float *t, int64_t width)
{
    switch (job->act) {
    case MGK_ACT_NONE:
        finish_rows(job, row, m, t, width, MGK_ACT_NONE);
        break;
    case MGK_ACT_SILU:
        finish_rows(job, row, m, t, width, MGK_ACT_SILU);
        break;
    case MGK_ACT_GELU_TANH:
        finish_rows(job, row, m, t, width, MGK_ACT_GELU_TANH);
        break;
    default:
        finish_rows(job, row, m, t, width, MGK_ACT_RELU);
    }
}

/* C is wanted when the sums are done: ask for its lines at the start. */
#define PANEL_FETCH(i, g, o)                                                                       \
    if (i < mr) {                                                                                  \
        __builtin_prefetch(ahead, 1);                                                              \
        if (nv > 1 && PANEL_VL == 16)                                                              \
            __builtin_prefetch(ahead + PANEL_VL, 1);                                               \
        ahead += job->ldc;                                                                         \
    }

PANEL_INLINE void tile(const mgk_panel_job *job, int64_t row, const int mr, const int nv,
                       const bool rows)
{
    PANEL_ROWS(PANEL_ZERO)
    const float *ahead = job->c + row * job->ldc;
    PANEL_ROWS(PANEL_FETCH)
    const int64_t len = job->len, ldb = job->ldb, a_row = job->a_row, a_col = job->a_col;
    for (int64_t s = 0; s < job->segs; s++) {
        const float *a = job->a[s], *b = job->b ? job->b[s] : job->b0 + s * job->b_step;
        if (!a || !b)
            continue;
        a += job->a_off + (!rows && job->a_tile ? row / PANEL_MR2 * job->a_tile : row * a_row);
        b += job->b_off;
        if (rows) {
            /* groups past the last row repeat an earlier pointer and are never read */
            const float *p0 = a, *p1 = mr > 3 ? a + 3 * a_row : a, *p2 = mr > 6 ? a + 6 * a_row : a;
            const float *p3 = mr > 9 ? a + 9 * a_row : a, *p4 = mr > 12 ? a + 12 * a_row : a;
            if (mr > 3)
                PANEL_OPAQUE(p1);
            if (mr > 6)
                PANEL_OPAQUE(p2);
            if (mr > 9)
                PANEL_OPAQUE(p3);
            if (mr > 12)
                PANEL_OPAQUE(p4);
            int64_t k = 0;
            for (; k + 4 <= len; k += 4) {
                PANEL_STEP();
                PANEL_STEP();
                PANEL_STEP();
                PANEL_STEP();
            }
            for (; k < len; k++)
                PANEL_STEP();
        } else {
            const float *p0 = a, *p1 = a, *p2 = a, *p3 = a, *p4 = a;
            int64_t k = 0;
            for (; k + 2 <= len; k += 2) {
                PANEL_STEP();
                PANEL_STEP();
            }
            for (; k < len; k++)
                PANEL_STEP();
        }
    }
    const vf alpha = splat(job->alpha);
    const int64_t n = job->n, ldc = job->ldc;
    float *c = job->c + row * ldc;
    if (n == nv * PANEL_VL && job->act == MGK_ACT_NONE) {
        vf bias0 = splat(0.0f), bias1 = bias0;
        if (job->bias) {
            bias0 = load(job->bias);
            if (nv > 1)
                bias1 = load(job->bias + PANEL_VL);
        }
        PANEL_ROWS(PANEL_OUT)
    } else {
        float t[2 * PANEL_VL * PANEL_MR_MAX];
        PANEL_ROWS(PANEL_SPILL)
        finish_tile(job, row, mr, t, nv * PANEL_VL);
    }
}

typedef void tile_fn(const mgk_panel_job *job, int64_t row);

#define PANEL_TILE1(h)                                                                             \
    static __attribute__((noinline)) void tile_rows_##h##_1(const mgk_panel_job *job, int64_t row) \
    {                                                                                              \
        tile(job, row, h, 1, true);                                                                \
    }                                                                                              \
    static __attribute__((noinline)) void tile_cols_##h##_1(const mgk_panel_job *job, int64_t row) \
    {                                                                                              \
        tile(job, row, h, 1, false);                                                               \
    }
#define PANEL_TILE2(h)                                                                             \
    static __attribute__((noinline)) void tile_rows_##h##_2(const mgk_panel_job *job, int64_t row) \
    {                                                                                              \
        tile(job, row, h, 2, true);                                                                \
    }                                                                                              \
    static __attribute__((noinline)) void tile_cols_##h##_2(const mgk_panel_job *job, int64_t row) \
    {                                                                                              \
        tile(job, row, h, 2, false);                                                               \
    }
PANEL_HEIGHTS1(PANEL_TILE1)
PANEL_HEIGHTS2(PANEL_TILE2)

#define PANEL_ROWS1(h) tile_rows_##h##_1,
#define PANEL_ROWS2(h) tile_rows_##h##_2,
#define PANEL_COLS1(h) tile_cols_##h##_1,
#define PANEL_COLS2(h) tile_cols_##h##_2,
/* [A by columns][height - 1] */
static tile_fn *const tiles1[2][PANEL_MR_MAX] = {{PANEL_HEIGHTS1(PANEL_ROWS1)},
                                                 {PANEL_HEIGHTS1(PANEL_COLS1)}};
static tile_fn *const tiles2[2][PANEL_MR_MAX] = {{PANEL_HEIGHTS2(PANEL_ROWS2)},
                                                 {PANEL_HEIGHTS2(PANEL_COLS2)}};

/* The strip in tiles of nearly equal height; packed tiles have the height mr. */
static void run(const mgk_panel_job *job)
{
    const bool wide = job->n > PANEL_VL, cols = job->a_row == 1 && job->a_col != 1;
    const int64_t most = wide || job->a_tile ? PANEL_MR2 : PANEL_MR1;
    const int64_t count = mgk_ceil_div(job->m, most);
    for (int64_t t = 0; t < count; t++) {
        const int64_t row = job->a_tile ? t * most : job->m * t / count;
        const int64_t end = job->a_tile ? mgk_min64(row + most, job->m) : job->m * (t + 1) / count;
        (wide ? tiles2 : tiles1)[cols][end - row - 1](job, row);
    }
}

/* --- packing ---------------------------------------------------------------------------------- */

/* dst[k * width + j] = src[j * ld + k] for a 4 x 4 block */
PANEL_INLINE void transpose4(float *dst, int64_t width, const float *src, int64_t ld)
{
    const v4 r0 = *(const v4u *)src, r1 = *(const v4u *)(src + ld);
    const v4 r2 = *(const v4u *)(src + 2 * ld), r3 = *(const v4u *)(src + 3 * ld);
    const v4 a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
    const v4 b = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    const v4 c = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    const v4 d = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    *(v4u *)dst = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    *(v4u *)(dst + width) = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    *(v4u *)(dst + 2 * width) = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    *(v4u *)(dst + 3 * width) = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

static void pack(float *dst, const float *src, int64_t ld, bool trans, int64_t k, int64_t n,
                 int64_t width)
{
    if (!trans) {
        if (n == width) {
            for (int64_t r = 0; r < k; r++)
                for (int64_t j = 0; j < width; j += PANEL_VL)
                    store(dst + r * width + j, load(src + r * ld + j));
            return;
        }
        for (int64_t r = 0; r < k; r++) {
            memcpy(dst + r * width, src + r * ld, (size_t)n * sizeof(float));
            memset(dst + r * width + n, 0, (size_t)(width - n) * sizeof(float));
        }
        return;
    }
    const int64_t n4 = n & ~(int64_t)3, k4 = k & ~(int64_t)3;
    for (int64_t r = 0; r < k4; r += 4)
        for (int64_t j = 0; j < n4; j += 4)
            transpose4(dst + r * width + j, width, src + j * ld + r, ld);
    for (int64_t r = 0; r < k; r++)
        for (int64_t j = r < k4 ? n4 : 0; j < width; j++)
            dst[r * width + j] = j < n ? src[j * ld + r] : 0.0f;
}

static void pack_a(float *dst, const float *src, int64_t ld, int64_t k, int64_t m, int64_t readable)
{
    const mgk_panel sizes = {.mr = PANEL_MR2};
    const int64_t tile_floats = mgk_panel_tile(&sizes, k);
    enum { VECTORS = (PANEL_MR2 + PANEL_VL - 1) / PANEL_VL };
    for (int64_t c = 0; c < k; c++) {
        float *d = dst + c * PANEL_MR2;
        const float *s = src + c * ld;
        int64_t i = 0;
        for (; i < m && i + VECTORS * PANEL_VL <= readable; i += PANEL_MR2, d += tile_floats)
            for (int v = 0; v < VECTORS; v++)
                store(d + v * PANEL_VL, load(s + i + v * PANEL_VL));
        for (; i < m; i += PANEL_MR2, d += tile_floats)
            for (int64_t r = 0; r < mgk_min64(m - i, PANEL_MR2); r++)
                d[r] = s[i + r];
    }
}

const mgk_panel PANEL_CAT(mgk_panel_, PANEL_NAME) = {.vl = PANEL_VL,
                                                     .nr = 2 * PANEL_VL,
                                                     .mr = PANEL_MR2,
                                                     .run = run,
                                                     .pack = pack,
                                                     .pack_a = pack_a};
