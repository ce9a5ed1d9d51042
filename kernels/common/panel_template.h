/* SPDX-License-Identifier: MIT
 * The panel engine's code, included once per instruction set (panel_packed.c, panel_avx2.c, ...).
 *
 * Before including: PANEL_NAME (suffix), MGK_WIDTH (units a vector), PANEL_PAIRS (1: units of two
 * bf16 values, 0: floats), PANEL_MR1 and PANEL_MR2 (rows of the tallest tile one and two vectors
 * wide; a tile's accumulators, its B vectors and one broadcast must fit the register file),
 * PANEL_HEIGHTS1(X) and PANEL_HEIGHTS2(X) (lists of the heights that exist, 1..MR).
 *
 * A tile is a function per (height, width, way of reading A), made from one always-inlined body
 * with constant arguments. Rows are written out by macro so that each accumulator is a variable of
 * its own: no compiler has to take an array apart to keep it in registers. Rows of A that are
 * a_row apart are addressed from every third row (pointer, pointer + a_row, pointer + 2 * a_row), the
 * form the x86 address modes take without further instructions.
 */
#include "kernels/common/bf16.h"
#include "kernels/common/panel.h"
#include "kernels/common/simd_math.h"
#include "kernels/matmul/matmul.h" /* MGK_ACT_* */

#define PANEL_CAT_(a, b) a##b
#define PANEL_CAT(a, b)  PANEL_CAT_(a, b)
#define PANEL_VL         MGK_WIDTH

/* Engines that bring A where it is read from (mgk_panel_job.a_from). */
#define PANEL_BRINGS (PANEL_VL == 16)

typedef float v4 __attribute__((vector_size(16)));
typedef float v4u __attribute__((vector_size(16), aligned(2), may_alias));
typedef uint16_t h4u __attribute__((vector_size(8), aligned(2), may_alias));
typedef int32_t i4 __attribute__((vector_size(16)));
typedef float unit_any
    __attribute__((aligned(2), may_alias)); /* its bits are moved, nothing more */

/* columns of packed tiles of A begin with a vector */
#define PANEL_MA ((PANEL_MR2 + PANEL_VL - 1) / PANEL_VL * PANEL_VL)

#if PANEL_PAIRS
typedef uint16_t value;
typedef int32_t pair_any __attribute__((aligned(2), may_alias));
enum { UNIT = 2 }; /* values a unit */
#else
typedef float value;
enum { UNIT = 1 };
#endif

/* The unit at p in all lanes. Pairs as integers: where each is used once, as in tiles one vector wide, Zen 4
 * takes a third longer for broadcasts of floats. */
MGK_INLINE vf splat(const void *p)
{
#if PANEL_PAIRS
    return (vf)_mm512_set1_epi32(*(const pair_any *)p);
#else
    return v_set(*(const unit_any *)p);
#endif
}

/* half: one value is left. */
MGK_INLINE vf splat_unit(const value *p, const bool half)
{
    return half ? (vf)((vu){0} + (uint32_t)*p) : splat(p);
}

/* With 8 floats a vector by an instruction that gcc does not take apart: of three registers it overwrites another one in each step
 * and moves sums about, or to memory and back, as 16 registers are just enough. */
MGK_INLINE vf multiply_add(vf sum, vf a, vf b)
{
#if PANEL_PAIRS
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#elif PANEL_VL == 8 && defined(__FMA__)
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
    return sum;
#else
    return sum + a * b;
#endif
}

/* --- activations ------------------------------------------------------------------------------ */

/* brief: the result is rounded to bf16. */
MGK_INLINE vf activate(vf x, const int32_t act, const bool brief)
{
    switch (act) {
    case MGK_ACT_SILU:
        return v_silu(x, brief);
    case MGK_ACT_GELU_TANH:
        return v_gelu(x, brief);
    case MGK_ACT_RELU:
        return v_max(v_set(0.0f), x); /* NaN stays NaN */
    case MGK_ACT_GELU_ERF:
        return v_gelu_erf(x, brief);
    case MGK_ACT_QUICK_GELU:
        return v_quick_gelu(x, brief);
    default:
        return x;
    }
}

/* --- the tile --------------------------------------------------------------------------------- */

/* X(row, group of three, place in the group) */
#define PANEL_ROWS_6(X) X(0, 0, 0) X(1, 0, 1) X(2, 0, 2) X(3, 1, 0) X(4, 1, 1) X(5, 1, 2)
#define PANEL_ROWS_12(X)                                                                           \
    PANEL_ROWS_6(X) X(6, 2, 0) X(7, 2, 1) X(8, 2, 2) X(9, 3, 0) X(10, 3, 1) X(11, 3, 2)
#define PANEL_ROWS_14(X) PANEL_ROWS_12(X) X(12, 4, 0) X(13, 4, 1)
#define PANEL_ROWS_24(X)                                                                           \
    PANEL_ROWS_14(X)                                                                               \
    X(14, 4, 2)                                                                                    \
    X(15, 5, 0)                                                                                    \
    X(16, 5, 1) X(17, 5, 2) X(18, 6, 0) X(19, 6, 1) X(20, 6, 2) X(21, 7, 0) X(22, 7, 1) X(23, 7, 2)
#if PANEL_MR1 > PANEL_MR2
#define PANEL_MR_MAX PANEL_MR1
#else
#define PANEL_MR_MAX PANEL_MR2
#endif
#define PANEL_ROWS(X) PANEL_CAT(PANEL_ROWS_, PANEL_MR_MAX)(X)

MGK_INLINE void put_bf16(uint16_t *to, vf v)
{
    v_to_bf16(to, PANEL_VL, v);
}

MGK_INLINE vf take_bf16(const uint16_t *from)
{
    return v_from_bf16(from, PANEL_VL);
}

/* Past the caches. */
MGK_INLINE void put_past(float *to, vf v)
{
    v_stream((v_real){to, MGK_F32}, 0, v);
}

MGK_INLINE void put_bf16_past(uint16_t *to, vf v)
{
    v_stream((v_real){to, MGK_BF16}, 0, v);
}

/* Keeps the compiler from re-deriving a pointer from another one. */
#define PANEL_OPAQUE(p) __asm__("" : "+r"(p))

#define PANEL_ZERO(i, g, o) vf c##i##_0 = v_set(0.0f), c##i##_1 = v_set(0.0f);
#define PANEL_MUL(i, g, o)                                                                         \
    if (i >= top && i < bottom) {                                                                  \
        const vf x = rows ? splat_unit(p##g + o * a_row, half) : splat(a + i);                     \
        c##i##_0 = multiply_add(c##i##_0, x, b0);                                                  \
        if (nv > 1)                                                                                \
            c##i##_1 = multiply_add(c##i##_1, x, b1);                                              \
    }
/* On to the next unit. */
#define PANEL_ON                                                                                   \
    do {                                                                                           \
        b += ldb;                                                                                  \
        if (rows) {                                                                                \
            p0 += UNIT;                                                                            \
            p1 += UNIT;                                                                            \
            p2 += UNIT;                                                                            \
            p3 += UNIT;                                                                            \
            p4 += UNIT;                                                                            \
            p5 += UNIT;                                                                            \
            p6 += UNIT;                                                                            \
            p7 += UNIT;                                                                            \
        } else {                                                                                   \
            a += a_col;                                                                            \
        }                                                                                          \
    } while (0)
/* Keeps a vector in its register: in tiles of few rows each multiplication would read it from memory again. */
#if PANEL_VL == 16
#define PANEL_HOLD(v) __asm__("" : "+v"(v))
#else
#define PANEL_HOLD(v) (void)0
#endif
/* One unit of rows first..end-1 of the tile. */
#define PANEL_STEP_OF(is_half, first, end)                                                         \
    do {                                                                                           \
        const bool half = is_half;                                                                 \
        const int top = first, bottom = end;                                                       \
        vf b0 = v_load(b), b1 = nv > 1 ? v_load(b + PANEL_VL) : b0;                                \
        if (mr <= 4) {                                                                             \
            PANEL_HOLD(b0);                                                                        \
            PANEL_HOLD(b1);                                                                        \
        }                                                                                          \
        PANEL_ROWS(PANEL_MUL)                                                                      \
        (void)half, (void)p4, (void)p5, (void)p6, (void)p7; /* in shorter tiles */                 \
        PANEL_ON;                                                                                  \
    } while (0)
#define PANEL_STEP(is_half) PANEL_STEP_OF(is_half, 0, mr)

#if PANEL_VL == 16
/* Of three taps. X(place of A, the row whose second and the row whose third tap it is, group of three, place in the group) */
enum { PANEL_MR_TAPS = 22 };
#define PANEL_PLACES(X)                                                                            \
    X(0, 0, 0, 0, 0)                                                                               \
    X(1, 0, 0, 0, 1)                                                                               \
    X(2, 1, 0, 0, 2)                                                                               \
    X(3, 2, 1, 1, 0)                                                                               \
    X(4, 3, 2, 1, 1)                                                                               \
    X(5, 4, 3, 1, 2)                                                                               \
    X(6, 5, 4, 2, 0)                                                                               \
    X(7, 6, 5, 2, 1)                                                                               \
    X(8, 7, 6, 2, 2)                                                                               \
    X(9, 8, 7, 3, 0)                                                                               \
    X(10, 9, 8, 3, 1)                                                                              \
    X(11, 10, 9, 3, 2)                                                                             \
    X(12, 11, 10, 4, 0)                                                                            \
    X(13, 12, 11, 4, 1)                                                                            \
    X(14, 13, 12, 4, 2)                                                                            \
    X(15, 14, 13, 5, 0)                                                                            \
    X(16, 15, 14, 5, 1)                                                                            \
    X(17, 16, 15, 5, 2)                                                                            \
    X(18, 17, 16, 6, 0)                                                                            \
    X(19, 18, 17, 6, 1)                                                                            \
    X(20, 19, 18, 6, 2)                                                                            \
    X(21, 20, 19, 7, 0)                                                                            \
    X(22, 21, 20, 7, 1)                                                                            \
    X(23, 22, 21, 7, 2)
#define PANEL_TAP(i, i1, i2, g, o)                                                                 \
    if (i < mr + 2 && (i > 0 || !no_first) && (i <= mr || !no_last)) {                             \
        const vf x = splat(p##g + o * a_row);                                                      \
        if (i < mr)                                                                                \
            c##i##_0 = multiply_add(c##i##_0, x, b0);                                              \
        if (i >= 1 && i <= mr)                                                                     \
            c##i1##_0 = multiply_add(c##i1##_0, x, b1);                                            \
        if (i >= 2)                                                                                \
            c##i2##_0 = multiply_add(c##i2##_0, x, b2);                                            \
    }
#endif
#define PANEL_OUT(i, g, o)           PANEL_OUT_BY(i, v_store)
#define PANEL_OUT_PAST(i, g, o)      PANEL_OUT_BY(i, put_past)
#define PANEL_OUT_BF16(i, g, o)      PANEL_OUT_BY(i, put_bf16)
#define PANEL_OUT_BF16_PAST(i, g, o) PANEL_OUT_BY(i, put_bf16_past)
/* c = sum; the same bits as from finish_rows. */
#define PANEL_OUT_BY(i, store)                                                                     \
    if (i < mr) {                                                                                  \
        store(c, v_fma(c##i##_0, alpha, bias0));                                                   \
        if (nv > 1)                                                                                \
            store(c + PANEL_VL, v_fma(c##i##_1, alpha, bias1));                                    \
        c += ldc;                                                                                  \
    }
/* The sum so far in C's place: what is added to C. */
#define PANEL_TAKE_BY(i, load)                                                                     \
    if (i < mr) {                                                                                  \
        c##i##_0 = v_fma(c##i##_0, alpha, bias0) + load(from);                                     \
        if (nv > 1)                                                                                \
            c##i##_1 = v_fma(c##i##_1, alpha, bias1) + load(from + PANEL_VL);                      \
        from += ldc;                                                                               \
    }
#define PANEL_TAKE(i, g, o)      PANEL_TAKE_BY(i, v_load)
#define PANEL_TAKE_BF16(i, g, o) PANEL_TAKE_BY(i, take_bf16)
#define PANEL_SPILL(i, g, o)                                                                       \
    if (i < mr) {                                                                                  \
        v_store(t + i * nv * PANEL_VL, c##i##_0);                                                  \
        if (nv > 1)                                                                                \
            v_store(t + i * nv * PANEL_VL + PANEL_VL, c##i##_1);                                   \
    }

/* A tile that is not just stored: its sums come in t, `width` a row. (Activating in C itself would wait
 * for its cache lines to be fetched.) */
MGK_INLINE void finish_rows(const mgk_panel_job *job, int64_t row, int64_t m, const float *t,
                            int64_t width, const int32_t act, const int32_t dtype)
{
    const v_real c = {job->c, dtype, job->stream},
                 residual = {(void *)(uintptr_t)job->residual, dtype};
    const v_real before = {job->before, dtype};
    for (int64_t i = row; i < row + m; i++, t += width) {
        const float *gate = NULL;
        if (job->gate)
            gate = job->gate + (job->gate_row + i) / job->gate_rows * job->gate_stride;
        for (int64_t j = 0; j < job->n; j += PANEL_VL) {
            const int64_t v_lanes = job->n - j < PANEL_VL ? job->n - j : PANEL_VL;
            const int64_t at = i * job->ldc + j;
            vf v = v_fma(v_load(t + j), v_set(job->alpha),
                         job->bias ? v_in(job->bias + j) : v_set(0.0f));
            if (job->sums)
                v += v_in(job->sums + i * job->lds + j);
            if (job->load)
                v += v_get(c, at);
            v = activate(v, act, dtype == MGK_BF16);
            if (before.p)
                v_put(before, at, v);
            if (residual.p)
                v = v_fma(v, gate ? v_in(gate + j) : v_set(1.0f), v_get(residual, at));
            v_put(c, at, v);
        }
    }
}

#define PANEL_FINISH(act)                                                                          \
    case act:                                                                                      \
        if (job->c_dtype == MGK_BF16)                                                              \
            finish_rows(job, row, m, t, width, act, MGK_BF16);                                     \
        else                                                                                       \
            finish_rows(job, row, m, t, width, act, MGK_F32);                                      \
        break;

/* The row of a tile at which another gate begins; PANEL_MR_MAX, past all of them, if there is no gate. */
static int64_t gate_turn(const mgk_panel_job *job, int64_t row)
{
    return job->gate ? job->gate_rows - (job->gate_row + row) % job->gate_rows : PANEL_MR_MAX;
}

/* One or two vectors, which are rounded together. */
MGK_INLINE void put_row(v_real to, int64_t at, const vf *v, const int nv)
{
    if (nv > 1)
        v_write_plain(to, at, (v_two){v[0], v[1]});
    else
        v_write(to, at, PANEL_VL, v[0]);
}

/* c = sum, or c + sum with load, or gate * sum + residual, and h = sum if there is an h, of a tile as wide as its vectors: the same
 * bits as from finish_rows. From row `turn` on the tile's second gate counts. */
MGK_INLINE void add_rows(const mgk_panel_job *job, int64_t row, int64_t m, const float *t,
                         int64_t turn, const int nv, const int32_t dtype)
{
    const v_real c = {job->c, dtype, job->stream}, r = {(void *)(uintptr_t)job->residual, dtype};
    const v_real before = {job->before, dtype};
    const vf alpha = v_set(job->alpha);
    const float *gate = NULL;
    vf bias[2] = {v_set(0.0f), v_set(0.0f)}, times[2] = {v_set(1.0f), v_set(1.0f)};
    if (job->gate)
        gate = job->gate + (job->gate_row + row) / job->gate_rows * job->gate_stride;
    for (int j = 0; j < nv; j++) {
        if (job->bias)
            bias[j] = v_load(job->bias + j * PANEL_VL);
        if (gate)
            times[j] = v_load(gate + j * PANEL_VL);
    }
    for (int64_t i = 0; i < m; i++, t += nv * PANEL_VL) {
        const int64_t at = (row + i) * job->ldc;
        vf v[2] = {v_set(0.0f), v_set(0.0f)};
        for (int j = 0; j < nv; j++) {
            v[j] = v_fma(v_load(t + j * PANEL_VL), alpha, bias[j]);
            if (job->load)
                v[j] += v_read(c, at + j * PANEL_VL, PANEL_VL);
            if (i == turn)
                times[j] = v_load(gate + job->gate_stride + j * PANEL_VL);
        }
        if (before.p)
            put_row(before, at, v, nv);
        for (int j = 0; j < nv && r.p; j++)
            v[j] = v_fma(v[j], times[j], v_read(r, at + j * PANEL_VL, PANEL_VL));
        put_row(c, at, v, nv);
    }
}

/* What a tile does with its sums but for storing them. In the code of each tile it took the compiler twice as long as all the rest. */
static __attribute__((noinline)) void finish_tile(const mgk_panel_job *job, int64_t row, int64_t m,
                                                  const float *t, int64_t width)
{
    const int64_t turn = gate_turn(job, row);
    if (job->n == width && job->act == MGK_ACT_NONE && !job->sums &&
        (turn >= m || job->gate_rows >= m)) {
        const bool wide = width > PANEL_VL;
        if (job->c_dtype == MGK_BF16)
            wide ? add_rows(job, row, m, t, turn, 2, MGK_BF16)
                 : add_rows(job, row, m, t, turn, 1, MGK_BF16);
        else
            wide ? add_rows(job, row, m, t, turn, 2, MGK_F32)
                 : add_rows(job, row, m, t, turn, 1, MGK_F32);
        return;
    }
    switch (job->act) {
        PANEL_FINISH(MGK_ACT_NONE)
        PANEL_FINISH(MGK_ACT_SILU)
        PANEL_FINISH(MGK_ACT_GELU_TANH)
        PANEL_FINISH(MGK_ACT_RELU)
        PANEL_FINISH(MGK_ACT_GELU_ERF)
        PANEL_FINISH(MGK_ACT_QUICK_GELU)
    }
}

/* C, and what is added to it, are wanted when the sums are done: ask for the lines at the start. */
#define PANEL_FETCH(i, g, o)                                                                       \
    if (i < mr) {                                                                                  \
        __builtin_prefetch(ahead, 1);                                                              \
        if (nv > 1 && PANEL_VL == 16)                                                              \
            __builtin_prefetch(ahead + fetch, 1);                                                  \
        ahead += fetch_row;                                                                        \
    }

/* Asks for some of what is read after the job, into the second-level cache: a line and a pair of lines every 4 units, or every
 * unit of three taps. All at once would take the places that loads wait in. */
#define PANEL_ASK                                                                                  \
    do {                                                                                           \
        __builtin_prefetch(next, 0, 2);                                                            \
        next += next_step;                                                                         \
        if (pair != pairs_end) {                                                                   \
            __builtin_prefetch(*pair, 0, 2);                                                       \
            __builtin_prefetch((const char *)*pair + 64, 0, 2);                                    \
            pair++;                                                                                \
        }                                                                                          \
    } while (0)

/* Values between what is read and what is brought there meanwhile: a vector of each row, or 16 columns. */
enum { VECTOR = PANEL_VL * UNIT, COLUMNS = 16 * UNIT };

#if PANEL_PAIRS
/* Units of 16 values at lo and those at hi, by one instruction; hi NULL: 0. */
MGK_INLINE vf zip_once(const value *lo, const value *hi)
{
    /* clang-format off */
    const __m512i order = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8,
                                           39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    /* clang-format on */
    const __m512i low = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)lo));
    __m512i high = _mm512_setzero_si512();
    if (hi)
        high = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)hi));
    return (vf)_mm512_permutex2var_epi16(low, order, high);
}
#endif

/* Up to four units of columns of A, of `left` values that there are. The asking is for what did not stay in the
 * second-level cache: columns whose distance is a power of two share few of its sets. */
MGK_INLINE void bring_columns(float *to, const value *from, int64_t step, int64_t left)
{
#pragma GCC unroll 1
    for (int64_t i = 0; i < 4 && left > 0; i++, left -= UNIT) {
        const value *ahead = from + 2 * COLUMNS * step;
        for (int64_t u = 0; u < UNIT; u++, ahead += step) {
            __builtin_prefetch(ahead);
            __builtin_prefetch(ahead + PANEL_MA - 1);
        }
#if PANEL_PAIRS
        v_store(to, zip_once(from, left > 1 ? from + step : NULL));
#else
        for (int64_t j = 0; j < PANEL_MA; j += PANEL_VL)
            v_store(to + j, v_load((const float *)(const void *)(from + j)));
#endif
        from += UNIT * step;
        to += PANEL_MA;
    }
}

/* A vector of the rows whose turn it is: all of them in the time that it takes to read a vector, 4 units at a time. */
MGK_INLINE void bring_rows(value *to, int64_t row, const value *from, int64_t step, int64_t first,
                           const int mr)
{
    for (int64_t i = first; i < mr; i += PANEL_VL / 4)
        v_store((float *)(void *)(to + i * row),
                v_load((const float *)(const void *)(from + i * step)));
}

/* EDGE: of the first or last row values may be lacking. Tiles by rows that know of none are 2 to 4 % faster. BRINGS: A is
 * copied from a_from meanwhile. */
enum { PLAIN, EDGE, TAPS, BRINGS };

MGK_INLINE void tile(const mgk_panel_job *job, int64_t row, const int mr, const int nv,
                     const bool rows, const int kind)
{
    PANEL_ROWS(PANEL_ZERO)
    const int64_t n = job->n, ldc = job->ldc, fetch = job->c_dtype == MGK_BF16 ? 32 : 64;
    const int64_t fetch_row = ldc * fetch / 16;
    const char *ahead = (const char *)job->c + row * fetch_row;
    if (!job->stream) {
        PANEL_ROWS(PANEL_FETCH)
    }
    if (job->residual) {
        ahead = (const char *)job->residual + row * fetch_row;
        PANEL_ROWS(PANEL_FETCH)
    }
    if (job->before) {
        ahead = (const char *)job->before + row * fetch_row;
        PANEL_ROWS(PANEL_FETCH)
    }
    const int64_t len = job->len, ldb = job->ldb, a_row = job->a_row, a_col = job->a_col;
    const bool edges = kind == EDGE || kind == TAPS, brings = kind == BRINGS;
    const int64_t lead = edges && row == 0 ? job->lead : 0;
    int64_t whole = len; /* no row lacks values before */
    if (edges && row + mr == job->m)
        whole -= job->tail;
    const int64_t step = job->a_from_step;
    /* This tile's part of what is read after the job. Where there is nothing, a line that is in the cache anyway. */
    const void *const *pair = NULL, *const *pairs_end = NULL;
    if (job->ahead_count > 0) {
        pair = job->ahead + job->ahead_count * row / job->m;
        pairs_end = job->ahead + job->ahead_count * (row + mr) / job->m;
    }
    const char *next = (const char *)job;
    int64_t next_step = 0;
    if (job->next) {
        next = (const char *)job->next + job->next_bytes * row / job->m;
        next_step =
            job->next_bytes * mr / job->m * ((kind == TAPS ? 3 : 4) * UNIT) / (job->segs * len + 1);
    }
    for (int64_t s = 0; s < job->segs; s++) {
        const float *b = job->b ? job->b[s] : job->b0 + s * job->b_step;
        if (!job->a[s] || !b)
            continue;
        b += job->b_off;
        if (rows) {
            const int places = kind == TAPS ? mr + 2 : mr;
            /* groups past the last row repeat an earlier pointer and are never read */
            const float *a = NULL;
            const value *p0 = (const value *)job->a[s] + job->a_off + row * a_row;
            const value *p1 = places > 3 ? p0 + 3 * a_row : p0;
            const value *p2 = places > 6 ? p0 + 6 * a_row : p0;
            const value *p3 = places > 9 ? p0 + 9 * a_row : p0;
            const value *p4 = places > 12 ? p0 + 12 * a_row : p0;
            const value *p5 = places > 15 ? p0 + 15 * a_row : p0;
            const value *p6 = places > 18 ? p0 + 18 * a_row : p0;
            const value *p7 = places > 21 ? p0 + 21 * a_row : p0;
            if (places > 3)
                PANEL_OPAQUE(p1);
            if (places > 6)
                PANEL_OPAQUE(p2);
            if (places > 9)
                PANEL_OPAQUE(p3);
            if (places > 12)
                PANEL_OPAQUE(p4);
            if (places > 15)
                PANEL_OPAQUE(p5);
            if (places > 18)
                PANEL_OPAQUE(p6);
            if (places > 21)
                PANEL_OPAQUE(p7);
            value *to = (value *)(uintptr_t)p0;
            const value *from = brings ? (const value *)job->a_from + row * step : NULL;
            for (int64_t i = 0; brings && i < PANEL_VL / 4; i++)
                bring_rows(to, a_row, from, step, i, mr);
            int64_t k = 0;
#if PANEL_VL == 16
            if (kind == TAPS) {
                const bool no_first = lead > 0, no_last = whole < len;
                const int64_t tap = a_row / UNIT * ldb;
                for (; k + UNIT <= a_row; k += UNIT) {
                    const vf b0 = v_load(b), b1 = v_load(b + tap), b2 = v_load(b + 2 * tap);
                    PANEL_ASK;
                    PANEL_PLACES(PANEL_TAP)
                    PANEL_ON;
                }
                continue;
            }
#endif
            for (; kind == EDGE && k < lead; k += UNIT)
                PANEL_STEP_OF(false, 1, mr);
            for (; k + 4 * UNIT <= whole; k += 4 * UNIT) {
                PANEL_ASK;
                if (brings && k + VECTOR < len) {
                    const int64_t part = k / (4 * UNIT) % (PANEL_VL / 4);
                    const int64_t at = k - part * 4 * UNIT + VECTOR;
                    bring_rows(to + at, a_row, from + at, step, part, mr);
                }
                PANEL_STEP(false);
                PANEL_STEP(false);
                PANEL_STEP(false);
                PANEL_STEP(false);
            }
            for (; k + UNIT <= whole; k += UNIT)
                PANEL_STEP(false);
            if (k < whole)
                PANEL_STEP(true);
            else
                for (; kind == EDGE && k < len; k += UNIT)
                    PANEL_STEP_OF(false, 0, mr - 1);
        } else {
            const value *p0 = NULL, *p1 = p0, *p2 = p0, *p3 = p0, *p4 = p0;
            const value *p5 = p0, *p6 = p0, *p7 = p0;
            const float *a = (const float *)job->a[s] + job->a_off;
            a += job->a_tile ? row / PANEL_MR2 * job->a_tile : row;
            const value *from = brings ? (const value *)job->a_from + row : NULL;
            for (int64_t i = 0; brings && i < COLUMNS && i < len; i += 4 * UNIT)
                bring_columns((float *)(uintptr_t)a + i / UNIT * PANEL_MA, from + i * step, step,
                              len - i);
            int64_t k = 0;
            for (; k + 4 * UNIT <= len; k += 4 * UNIT) {
                PANEL_ASK;
                if (brings && k + COLUMNS < len) {
                    const value *source = from + (k + COLUMNS) * step;
                    PANEL_OPAQUE(source);
                    bring_columns((float *)(uintptr_t)a + COLUMNS / UNIT * PANEL_MA, source, step,
                                  len - k - COLUMNS);
                }
                PANEL_STEP(false);
                PANEL_STEP(false);
                PANEL_STEP(false);
                PANEL_STEP(false);
            }
            for (; k < len; k += UNIT)
                PANEL_STEP(false);
        }
    }
    vf alpha = v_set(job->alpha);
    const bool narrow = PANEL_VL == 16 && job->c_dtype == MGK_BF16;
    if (n == nv * PANEL_VL && job->act == MGK_ACT_NONE && !job->sums && !job->residual &&
        (narrow || job->c_dtype == MGK_F32)) {
        vf bias0 = v_set(0.0f), bias1 = bias0;
        if (job->bias) {
            bias0 = v_load(job->bias);
            if (nv > 1)
                bias1 = v_load(job->bias + PANEL_VL);
        }
        if (job->load) {
            if (narrow) {
                const uint16_t *from = (const uint16_t *)job->c + row * ldc;
                PANEL_ROWS(PANEL_TAKE_BF16)
            } else {
                const float *from = (const float *)job->c + row * ldc;
                PANEL_ROWS(PANEL_TAKE)
            }
            alpha = v_set(1.0f);
            bias0 = bias1 = v_set(-0.0f); /* v * 1 - 0 is v, a zero's sign included */
        }
        if (narrow) {
            uint16_t *c = (uint16_t *)job->c + row * ldc;
            if (job->stream) {
                PANEL_ROWS(PANEL_OUT_BF16_PAST)
            } else {
                PANEL_ROWS(PANEL_OUT_BF16)
            }
        } else {
            float *c = (float *)job->c + row * ldc;
            if (job->stream) {
                PANEL_ROWS(PANEL_OUT_PAST)
            } else {
                PANEL_ROWS(PANEL_OUT)
            }
        }
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
        tile(job, row, h, 1, true, PLAIN);                                                         \
    }                                                                                              \
    static __attribute__((noinline)) void tile_cols_##h##_1(const mgk_panel_job *job, int64_t row) \
    {                                                                                              \
        tile(job, row, h, 1, false, PLAIN);                                                        \
    }
#define PANEL_TILE2(h)                                                                             \
    static __attribute__((noinline)) void tile_rows_##h##_2(const mgk_panel_job *job, int64_t row) \
    {                                                                                              \
        tile(job, row, h, 2, true, PLAIN);                                                         \
    }                                                                                              \
    static __attribute__((noinline)) void tile_cols_##h##_2(const mgk_panel_job *job, int64_t row) \
    {                                                                                              \
        tile(job, row, h, 2, false, PLAIN);                                                        \
    }
#define PANEL_TILE_EDGE1(h)                                                                        \
    static __attribute__((noinline)) void tile_edge_##h##_1(const mgk_panel_job *job, int64_t row) \
    {                                                                                              \
        tile(job, row, h, 1, true, EDGE);                                                          \
    }
#define PANEL_TILE_EDGE2(h)                                                                        \
    static __attribute__((noinline)) void tile_edge_##h##_2(const mgk_panel_job *job, int64_t row) \
    {                                                                                              \
        tile(job, row, h, 2, true, EDGE);                                                          \
    }
PANEL_HEIGHTS1(PANEL_TILE_EDGE1)
PANEL_HEIGHTS2(PANEL_TILE_EDGE2)
PANEL_HEIGHTS1(PANEL_TILE1)
PANEL_HEIGHTS2(PANEL_TILE2)

#define PANEL_ROWS1(h) tile_rows_##h##_1,
#define PANEL_ROWS2(h) tile_rows_##h##_2,
#define PANEL_EDGE1(h) tile_edge_##h##_1,
#define PANEL_EDGE2(h) tile_edge_##h##_2,
#define PANEL_COLS1(h) tile_cols_##h##_1,
#define PANEL_COLS2(h) tile_cols_##h##_2,
/* [A by rows, by columns, by rows of which some lack values][height - 1] */
static tile_fn *const tiles1[3][PANEL_MR_MAX] = {
    {PANEL_HEIGHTS1(PANEL_ROWS1)}, {PANEL_HEIGHTS1(PANEL_COLS1)}, {PANEL_HEIGHTS1(PANEL_EDGE1)}};
static tile_fn *const tiles2[3][PANEL_MR_MAX] = {
    {PANEL_HEIGHTS2(PANEL_ROWS2)}, {PANEL_HEIGHTS2(PANEL_COLS2)}, {PANEL_HEIGHTS2(PANEL_EDGE2)}};

#if PANEL_VL == 16
#define PANEL_HEIGHTS_TAPS(X) PANEL_HEIGHTS2(X) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22)
#define PANEL_TILE_TAPS(h)                                                                         \
    static __attribute__((noinline)) void tile_taps_##h(const mgk_panel_job *job, int64_t row)     \
    {                                                                                              \
        tile(job, row, h, 1, true, TAPS);                                                          \
    }
PANEL_HEIGHTS_TAPS(PANEL_TILE_TAPS)
#define PANEL_TAPS(h) tile_taps_##h,
static tile_fn *const tiles_taps[PANEL_MR_TAPS] = {PANEL_HEIGHTS_TAPS(PANEL_TAPS)};
#endif

#if PANEL_BRINGS
#define PANEL_TILE_ROWS_B(h)                                                                       \
    static __attribute__((noinline)) void tile_rows_##h##_b(const mgk_panel_job *job, int64_t row) \
    {                                                                                              \
        tile(job, row, h, 2, true, BRINGS);                                                        \
    }
PANEL_HEIGHTS2(PANEL_TILE_ROWS_B)
#define PANEL_ROWS_B(h) tile_rows_##h##_b,
static tile_fn *const rows_b[] = {PANEL_HEIGHTS2(PANEL_ROWS_B)};
#else
#define rows_b tiles2[0] /* never asked for */
#endif
#if PANEL_BRINGS
#define PANEL_TILE_COLS_B(h)                                                                       \
    static __attribute__((noinline)) void tile_cols_##h##_b(const mgk_panel_job *job, int64_t row) \
    {                                                                                              \
        tile(job, row, h, 2, false, BRINGS);                                                       \
    }
PANEL_HEIGHTS2(PANEL_TILE_COLS_B)
#define PANEL_COLS_B(h) tile_cols_##h##_b,
static tile_fn *const cols_b[] = {PANEL_HEIGHTS2(PANEL_COLS_B)};
#else
#define cols_b tiles2[1]
#endif

/* The strip in tiles of nearly equal height; packed tiles have the height mr. */
static void run(const mgk_panel_job *job)
{
    const bool wide = job->n > PANEL_VL;
#if PANEL_VL == 16
    if (job->taps && !wide) {
        const int64_t count = mgk_ceil_div(job->m, PANEL_MR_TAPS);
        for (int64_t t = 0; t < count; t++) {
            const int64_t row = job->m * t / count, end = job->m * (t + 1) / count;
            tiles_taps[end - row - 1](job, row);
        }
        return;
    }
#endif
    const int64_t most = wide || job->a_tile ? PANEL_MR2 : PANEL_MR1;
    const int64_t count = mgk_ceil_div(job->m, most);
    tile_fn *const(*of)[PANEL_MR_MAX] = wide ? tiles2 : tiles1, *const *tiles =
                                                                    of[job->a_by_columns];
    if (job->a_from)
        tiles = job->a_by_columns ? cols_b : rows_b;
    for (int64_t t = 0; t < count; t++) {
        const int64_t row = job->a_tile ? t * most : job->m * t / count;
        const int64_t end = job->a_tile ? mgk_min64(row + most, job->m) : job->m * (t + 1) / count;
        const bool edge = (job->lead > 0 && row == 0) || (job->tail > 0 && end == job->m);
        (edge ? of[2] : tiles)[end - row - 1](job, row);
    }
    v_stream_end(job->stream_end);
}

#include "kernels/common/panel_pack.h"
#include "kernels/common/panel_three.h"

const mgk_panel PANEL_CAT(mgk_panel_, PANEL_NAME) = {.vl = PANEL_VL,
                                                     .nr = 2 * PANEL_VL,
                                                     .mr = PANEL_MR2,
                                                     .ma = PANEL_MA,
                                                     .pairs = PANEL_PAIRS,
                                                     .brings_rows = PANEL_BRINGS,
                                                     .brings_columns = PANEL_BRINGS,
                                                     .run = run,
                                                     .pack = pack,
                                                     .pack_a = pack_a,
#if PANEL_PAIRS
                                                     .zip = zip,
#endif
                                                     .copy = copy,
                                                     .add_columns = add_columns,
                                                     .three = three,
                                                     .put = put};
