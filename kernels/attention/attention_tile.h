/* SPDX-License-Identifier: MIT
 * What the tiles of attention are made of: packed factors, their products, and powers of two. A template:
 * included through attention_simd.h, once a variant.
 *
 * The products of a tile are small matrix products of one form: a value of the left factor is broadcast and
 * multiplied by vectors of a row of the right factor. The summed dimension is counted in units of 4
 * bytes: a float, or, with MGK_PAIRS, two neighbouring bf16 of that dimension, which one instruction
 * multiplies by two others and sums in f32.
 */
#ifndef MGK_ATTENTION_TILE_H
#define MGK_ATTENTION_TILE_H

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_blocks.h"
#include "kernels/common/simd.h"

#if MGK_PAIRS
typedef uint32_t unit __attribute__((may_alias));
enum { UNIT_VALUES = 2 };
#else
typedef float unit;
enum { UNIT_VALUES = 1 };
#endif

enum { KEYS = MGK_ATT_KEYS };

/* Units of n values. */
MGK_INLINE int64_t units(int64_t n)
{
    return (n + UNIT_VALUES - 1) / UNIT_VALUES;
}

/* A left factor: value (row, depth) stands at p[row * row + depth * column]. */
typedef struct left_factor {
    const unit *p;
    int64_t row, column;
} left_factor;

/* A right factor or a result: rows of vectors. */
typedef struct unit_rows {
    const unit *p;
    int64_t row;
} unit_rows;

typedef struct float_rows {
    float *p;
    int64_t row;
} float_rows;

MGK_INLINE vf broadcast(const unit *p)
{
#if MGK_PAIRS
    return (vf)_mm512_set1_epi32((int)*p);
#else
    return v_set(*p);
#endif
}

MGK_INLINE vf multiply_add(vf sum, vf left, vf right)
{
#if MGK_PAIRS
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)left, (__m512bh)right);
#else
    return sum + left * right;
#endif
}

MGK_INLINE vf load_units(const unit *p)
{
    return v_load((const float *)(const void *)p);
}

/* Rows of a register block of one, two or four vectors: as many as the registers hold, and at least as many
 * sums as instructions are under way at a time. */
enum {
#if MGK_WIDTH == 16
    WIDEST = 4,
    ROWS_OF_1 = 16,
    ROWS_OF_2 = 8,
    ROWS_OF_4 = 6,
#else
    WIDEST = 2,
    ROWS_OF_1 = 8,
    ROWS_OF_2 = MGK_WIDTH == 8 ? 6 : 4,
    ROWS_OF_4 = 1,
#endif
    ROWS_MOST = 16
};

/* rows x (vectors * MGK_WIDTH) of c (+)= a b, with c in registers. */
MGK_INLINE void register_block(int rows, int vectors, int64_t depth, left_factor a, unit_rows b,
                               float_rows c, bool add)
{
    vf sum[ROWS_MOST][WIDEST];
    MGK_UNROLL
    for (int r = 0; r < rows; r++)
        MGK_UNROLL
    for (int v = 0; v < vectors; v++)
        sum[r][v] = add ? v_load(c.p + r * c.row + v * MGK_WIDTH) : v_set(0);
    for (int64_t k = 0; k < depth; k++) {
        vf right[WIDEST];
        MGK_UNROLL
        for (int v = 0; v < vectors; v++)
            right[v] = load_units(b.p + k * b.row + v * MGK_WIDTH);
        MGK_UNROLL
        for (int r = 0; r < rows; r++) {
            vf left = broadcast(a.p + r * a.row + k * a.column);
            MGK_UNROLL
            for (int v = 0; v < vectors; v++)
                sum[r][v] = multiply_add(sum[r][v], left, right[v]);
        }
    }
    MGK_UNROLL
    for (int r = 0; r < rows; r++)
        MGK_UNROLL
    for (int v = 0; v < vectors; v++)
        v_store(c.p + r * c.row + v * MGK_WIDTH, sum[r][v]);
}

/* All rows of a panel. */
MGK_INLINE void panel(int most, int vectors, int64_t m, int64_t depth, left_factor a, unit_rows b,
                      float_rows c, bool add)
{
    int64_t i = 0;
#define BLOCKS(rows)                                                                               \
    for (; (rows) <= most && i + (rows) <= m; i += (rows))                                         \
    register_block(rows, vectors, depth, (left_factor){a.p + i * a.row, a.row, a.column}, b,       \
                   (float_rows){c.p + i * c.row, c.row}, add)
    for (; i + most <= m; i += most)
        register_block(most, vectors, depth, (left_factor){a.p + i * a.row, a.row, a.column}, b,
                       (float_rows){c.p + i * c.row, c.row}, add);
    BLOCKS(4);
    BLOCKS(2);
    BLOCKS(1);
#undef BLOCKS
}

/* c (m x n) (+)= a (m x depth) b (depth x n); n is a multiple of MGK_WIDTH, depth counts units. */
static void product(int64_t m, int64_t n, int64_t depth, left_factor a, unit_rows b, float_rows c,
                    bool add)
{
    int64_t j = 0;
#if MGK_WIDTH == 16
    for (; j + 4 * MGK_WIDTH <= n; j += 4 * MGK_WIDTH)
        panel(ROWS_OF_4, 4, m, depth, a, (unit_rows){b.p + j, b.row}, (float_rows){c.p + j, c.row},
              add);
#endif
    for (; j + 2 * MGK_WIDTH <= n; j += 2 * MGK_WIDTH)
        panel(ROWS_OF_2, 2, m, depth, a, (unit_rows){b.p + j, b.row}, (float_rows){c.p + j, c.row},
              add);
    for (; j < n; j += MGK_WIDTH)
        panel(ROWS_OF_1, 1, m, depth, a, (unit_rows){b.p + j, b.row}, (float_rows){c.p + j, c.row},
              add);
}

/* -- reading and writing ---------------------------------------------------------------------- */

/* Rows of a buffer of the call: the first one's place and the step between them, in values. */
typedef struct real_rows {
    mgk_buf b;
    int64_t at, row;
} real_rows;

MGK_INLINE v_real reals(mgk_buf b, int32_t dtype)
{
    return (v_real){b.p, dtype};
}

/* Asks for n rows: small tiles come from memory, and their walks are too short for the processor to foresee. */
static void prefetch_rows(real_rows from, int64_t n, int64_t dim)
{
    int64_t size = from.b.dtype == MGK_BF16 ? 2 : 4;
    const uint8_t *p = (const uint8_t *)from.b.p + from.at * size;
    for (int64_t i = 0; i < n; i++, p += from.row * size)
        for (int64_t d = 0; d < dim * size; d += 64)
            __builtin_prefetch(p + d);
}

/* The same of what the next task of short sequences reads, a little at a time while this one computes: it comes from
 * memory, and a task is too short to wait for it. */
enum { AHEAD = 3 };

typedef struct rows_ahead {
    real_rows rows[AHEAD];
    int64_t n[AHEAD];
    int64_t dim; /* 0: nothing */
} rows_ahead;

/* The share of row i of KEYS. */
static __attribute__((noinline)) void fetch_ahead(const rows_ahead *a, int64_t i)
{
    for (int b = 0; b < AHEAD; b++) {
        int64_t size = a->rows[b].b.dtype == MGK_BF16 ? 2 : 4;
        const uint8_t *p = (const uint8_t *)a->rows[b].b.p + a->rows[b].at * size;
        for (int64_t r = i; r < a->n[b]; r += KEYS)
            for (int64_t d = 0; d < a->dim * size; d += 64)
                __builtin_prefetch(p + r * a->rows[b].row * size + d, 0, 2);
    }
}

/* n rows of `dim` floats, padded with zeros to `wide`, from either dtype; rows that the mask leaves out become
 * 0, whatever they held. */
MGK_INLINE void widen_rows_of(float *to, real_rows from, int32_t dtype, int64_t n, int64_t dim,
                              int64_t wide, const uint8_t *mask)
{
    v_real b = reals(from.b, dtype);
    for (int64_t i = 0; i < n; i++, to += wide) {
        int64_t at = from.at + i * from.row;
        if (mask && !mask[i]) {
            memset(to, 0, sizeof(float) * (size_t)wide);
            continue;
        }
        MGK_EACH_VECTOR(d, dim, { v_store(to + d, v_get(b, at + d)); });
        for (int64_t d = mgk_div_up(dim, MGK_WIDTH) * MGK_WIDTH; d < wide; d++)
            to[d] = 0;
    }
}

static void widen_rows(float *to, real_rows from, int64_t n, int64_t dim, int64_t wide,
                       const uint8_t *mask)
{
    if (from.b.dtype == MGK_BF16)
        widen_rows_of(to, from, MGK_BF16, n, dim, wide, mask);
    else
        widen_rows_of(to, from, MGK_F32, n, dim, wide, mask);
}

MGK_INLINE void put_real(v_real b, int64_t at, int64_t lanes, vf v)
{
#if MGK_PAIRS
    __m256i h = (__m256i)_mm512_cvtneps_pbh((__m512)v);
    _mm256_mask_storeu_epi16((uint16_t *)b.p + at, (__mmask16)((1u << lanes) - 1), h);
#else
    v_write(b, at, lanes, v);
#endif
}

/* The reverse, times `factor` and, if there is one, each row's own. A row whose factor is 0 becomes 0. */
MGK_INLINE void write_rows_of(real_rows to, int32_t dtype, const float *from, int64_t n,
                              int64_t dim, int64_t wide, float factor, const float *each)
{
    v_real b = reals(to.b, dtype);
    for (int64_t i = 0; i < n; i++, from += wide) {
        int64_t at = to.at + i * to.row;
        vf by = v_set(each ? each[i] : factor);
        if (each && each[i] == 0)
            MGK_EACH_VECTOR(d, dim, { v_put(b, at + d, v_set(0)); });
        else
            MGK_EACH_VECTOR(d, dim, { put_real(b, at + d, v_lanes, v_load(from + d) * by); });
    }
}

static void write_rows(real_rows to, const float *from, int64_t n, int64_t dim, int64_t wide,
                       float factor, const float *each)
{
    if (to.b.dtype == MGK_BF16)
        write_rows_of(to, MGK_BF16, from, n, dim, wide, factor, each);
    else
        write_rows_of(to, MGK_F32, from, n, dim, wide, factor, each);
}

/* -- packing ---------------------------------------------------------------------------------- */

/* n rows as a left factor over their values. Rows that serve as they are stay where they are. */
static left_factor pack_left(unit *to, real_rows from, int64_t n, int64_t dim)
{
#if MGK_PAIRS
    const uint16_t *p = MGK_H(from.b) + from.at;
    if (dim % 2 == 0 && from.row % 2 == 0 && (uintptr_t)p % sizeof(unit) == 0)
        return (left_factor){(const unit *)(const void *)p, from.row / 2, 1};
    int64_t row = units(dim);
    for (int64_t i = 0; i < n; i++, p += from.row) {
        to[(i + 1) * row - 1] = 0; /* an odd value's missing neighbour */
        memcpy(to + i * row, p, 2 * (size_t)dim);
    }
    return (left_factor){to, row, 1};
#else
    if (from.b.dtype == MGK_F32)
        return (left_factor){MGK_F(from.b) + from.at, from.row, 1};
    widen_rows(to, from, n, dim, mgk_pad16(dim), NULL);
    return (left_factor){to, mgk_pad16(dim), 1};
#endif
}

/* n rows as a right factor whose summed dimension is the rows: `wide` units a row, or a pair of rows. */
static void pack_right(unit *to, real_rows from, int64_t n, int64_t dim, int64_t wide,
                       const uint8_t *mask)
{
#if MGK_PAIRS
    static const uint16_t none[256];
    for (int64_t i = 0; i < n; i += 2, to += wide) {
        const uint16_t *a = MGK_H(from.b) + from.at + i * from.row, *b = none;
        if (i + 1 < n && !(mask && !mask[i + 1]))
            b = a + from.row;
        a = mask && !mask[i] ? none : a;
        MGK_EACH_VECTOR(d, dim, {
            vu low = (vu)v_from_bf16(a + d, v_lanes) >> 16;
            v_store((float *)(void *)(to + d), (vf)(low | (vu)v_from_bf16(b + d, v_lanes)));
        });
    }
#else
    widen_rows(to, from, n, dim, wide, mask);
#endif
}

typedef float quad __attribute__((vector_size(16)));
typedef float quad_any __attribute__((vector_size(16), aligned(2), may_alias));

/* 4 rows of 4 units to columns. */
MGK_INLINE void transpose_4x4(unit *to, const void *from, int64_t from_bytes)
{
    const uint8_t *p = from;
    quad a = *(const quad_any *)(const void *)p,
         b = *(const quad_any *)(const void *)(p + from_bytes);
    quad c = *(const quad_any *)(const void *)(p + 2 * from_bytes);
    quad d = *(const quad_any *)(const void *)(p + 3 * from_bytes);
    quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    quad cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(quad_any *)(void *)to = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    *(quad_any *)(void *)(to + KEYS) = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    *(quad_any *)(void *)(to + 2 * KEYS) = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    *(quad_any *)(void *)(to + 3 * KEYS) = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

#if MGK_WIDTH == 16
/* Quads of rows 0, 4, 8 and 12. */
MGK_INLINE __m512 quads(const uint8_t *p, int64_t bytes)
{
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps((const float *)(const void *)p));
    v = _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(const void *)(p + 4 * bytes)), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(const void *)(p + 8 * bytes)), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps((const float *)(const void *)(p + 12 * bytes)), 3);
}

/* 16 rows of 4 units to columns. */
MGK_INLINE void transpose_16x4(unit *to, const void *from, int64_t bytes)
{
    const uint8_t *p = from;
    __m512 a = quads(p, bytes), b = quads(p + bytes, bytes), c = quads(p + 2 * bytes, bytes);
    __m512 d = quads(p + 3 * bytes, bytes);
    __m512d ab_low = (__m512d)_mm512_unpacklo_ps(a, b), ab_high = (__m512d)_mm512_unpackhi_ps(a, b);
    __m512d cd_low = (__m512d)_mm512_unpacklo_ps(c, d), cd_high = (__m512d)_mm512_unpackhi_ps(c, d);
    float *out = (float *)(void *)to;
    v_store(out, (vf)_mm512_unpacklo_pd(ab_low, cd_low));
    v_store(out + KEYS, (vf)_mm512_unpackhi_pd(ab_low, cd_low));
    v_store(out + 2 * KEYS, (vf)_mm512_unpacklo_pd(ab_high, cd_high));
    v_store(out + 3 * KEYS, (vf)_mm512_unpackhi_pd(ab_high, cd_high));
}
#endif

/* Unit u of a row of `dim` values; the neighbour that an odd end lacks is 0. */
MGK_INLINE unit unit_of(const void *row, int64_t u, int64_t dim)
{
    unit value = 0;
    int64_t left = dim - u * UNIT_VALUES;
    const uint8_t *p = (const uint8_t *)row + u * 4;
    memcpy(&value, p, left >= UNIT_VALUES ? 4 : 2);
    return value;
}

/* Rows as columns of `to`: units(dim) x KEYS. Columns n .. up to a multiple of 16 become 0. */
static void transpose_rows(unit *to, const void *from, int64_t bytes, int64_t n, int64_t dim,
                           const uint8_t *mask)
{
    const uint8_t *p = from;
    int64_t fours = n / 4 * 4, whole = dim / UNIT_VALUES / 4 * 4, deep = units(dim), i = 0;
#if MGK_WIDTH == 16
    for (; i + 16 <= n; i += 16)
        for (int64_t u = 0; u < whole; u += 4)
            transpose_16x4(to + u * KEYS + i, p + i * bytes + u * 4, bytes);
#endif
    for (; i < fours; i += 4)
        for (int64_t u = 0; u < whole; u += 4)
            transpose_4x4(to + u * KEYS + i, p + i * bytes + u * 4, bytes);
    for (i = 0; i < n; i++)
        for (int64_t u = i < fours ? whole : 0; u < deep; u++)
            to[u * KEYS + i] = unit_of(p + i * bytes, u, dim);
    for (i = 0; i < mgk_pad16(n); i++)
        for (int64_t u = 0; u < deep && (i >= n || (mask && !mask[i])); u++)
            to[u * KEYS + i] = 0;
}

/* n rows as a right factor whose summed dimension is their values. `rows` is room for n widened rows. */
static void pack_columns(unit *to, real_rows from, int64_t n, int64_t dim, const uint8_t *mask,
                         float *rows)
{
    if (UNIT_VALUES == 2) {
        transpose_rows(to, MGK_H(from.b) + from.at, 2 * from.row, n, dim, mask);
    } else if (from.b.dtype == MGK_F32) {
        transpose_rows(to, MGK_F(from.b) + from.at, 4 * from.row, n, dim, mask);
    } else {
        widen_rows(rows, from, n, dim, mgk_pad16(dim), NULL);
        transpose_rows(to, rows, 4 * mgk_pad16(dim), n, dim, mask);
    }
}

/* -- scores ----------------------------------------------------------------------------------- */

#define LOG2_E 1.44269504f
#define LN_2   0.693147181f

/* Vectors whose exponentials are computed side by side. */
enum { AT_ONCE = MGK_WIDTH == 4 ? 8 : 4 };

/* Lanes of two vectors in turn, the lower or higher ones of each four; single ones or pairs. */
#if MGK_WIDTH == 16
#define V_LOW(a, b)        (vf) _mm512_unpacklo_ps((__m512)(a), (__m512)(b))
#define V_HIGH(a, b)       (vf) _mm512_unpackhi_ps((__m512)(a), (__m512)(b))
#define V_LOW_PAIRS(a, b)  (vf) _mm512_unpacklo_pd((__m512d)(a), (__m512d)(b))
#define V_HIGH_PAIRS(a, b) (vf) _mm512_unpackhi_pd((__m512d)(a), (__m512d)(b))
#elif MGK_WIDTH == 8
#define V_LOW(a, b)        (vf) _mm256_unpacklo_ps((__m256)(a), (__m256)(b))
#define V_HIGH(a, b)       (vf) _mm256_unpackhi_ps((__m256)(a), (__m256)(b))
#define V_LOW_PAIRS(a, b)  (vf) _mm256_unpacklo_pd((__m256d)(a), (__m256d)(b))
#define V_HIGH_PAIRS(a, b) (vf) _mm256_unpackhi_pd((__m256d)(a), (__m256d)(b))
#else
#define V_LOW(a, b)        __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define V_HIGH(a, b)       __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define V_LOW_PAIRS(a, b)  __builtin_shufflevector(a, b, 0, 1, 4, 5)
#define V_HIGH_PAIRS(a, b) __builtin_shufflevector(a, b, 2, 3, 6, 7)
#endif

/* 2^x of some vectors at once, so that no instruction waits for the one before it. What would be below
 * 1.2e-38 becomes 0 or as small. The polynomial's relative error is 9e-8, and 2^0 is 1 exactly. */
MGK_INLINE void powers_of_2(vf *x, int vectors)
{
    static const float factors[] = {0.00967151394f, 0.0555073375f, 0.240222421f, 0.693146978f, 1};
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    vf shifted[AT_ONCE], p[AT_ONCE];
    MGK_UNROLL
    for (int v = 0; v < vectors; v++)
        shifted[v] = (x[v] = v_max(v_set(-127.0f), x[v])) + magic;
    MGK_UNROLL
    for (int v = 0; v < vectors; v++) {
        x[v] -= shifted[v] - magic;
        p[v] = v_set(0.00132647288f);
    }
    MGK_UNROLL
    for (int f = 0; f < 5; f++)
        MGK_UNROLL
    for (int v = 0; v < vectors; v++)
        p[v] = p[v] * x[v] + factors[f];
    MGK_UNROLL
    for (int v = 0; v < vectors; v++) /* -127: the bits of 1 less themselves */
        x[v] = (vf)((vu)p[v] + ((vu)shifted[v] << 23));
}

MGK_INLINE vf power_of_2(vf x)
{
    powers_of_2(&x, 1);
    return x;
}

/* The highest lane of each of four vectors, in the first four lanes. */
MGK_INLINE vf highest_of_4(const vf *v)
{
    vf a = v_max(V_LOW(v[0], v[1]), V_HIGH(v[0], v[1]));
    vf b = v_max(V_LOW(v[2], v[3]), V_HIGH(v[2], v[3]));
    vf high = v_max(V_LOW_PAIRS(a, b), V_HIGH_PAIRS(a, b));
#if MGK_WIDTH == 16
    high = v_max(high, V_SWAP8(high));
#endif
#if MGK_WIDTH >= 8
    high = v_max(high, V_SWAP4(high));
#endif
    return high;
}

/* Rounded to bf16, kept as float. */
MGK_INLINE vf round_to_bf16(vf v)
{
    vu u = (vu)v;
    return (vf)((u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u);
}

/* How products become scores, as powers of two: s * factor + term[j] + bias[j] * log2(e). term is 0 for a
 * key that counts and -inf for one that does not. */
typedef struct scoring {
    float factor;
    const float *term, *bias; /* NULL: none */
    int64_t n;                /* keys */
} scoring;

/* The score of a product with key j and those after it, less `base`. */
MGK_INLINE vf score_of(const scoring *c, vf product, const float *bias, int64_t j, vf base,
                       bool terms)
{
    vf v = product * c->factor - base;
    if (terms)
        v += v_load(c->term + j);
    if (bias && j < c->n)
        v += v_load_lanes(bias + j, mgk_min(MGK_WIDTH, c->n - j)) * LOG2_E;
    return v;
}

MGK_INLINE vf score(const scoring *c, const float *s, int64_t j, vf base, bool terms, bool biased)
{
    return score_of(c, v_load(s + j), biased ? c->bias : NULL, j, base, terms);
}

/* The keys that the queries of a tile attend to: their part of the block list, of which the walk over rising
 * keys has passed some. */
typedef struct key_list {
    bool all;
    const int32_t *at, *end;
    int64_t block;
} key_list;

static key_list keys_of(const mgk_attention_args *a, int64_t query)
{
    if (!a->block_start.p)
        return (key_list){.all = true};
    const int32_t *start = MGK_I(a->block_start) + query / a->block_q;
    if (start[0] == start[1])
        return (key_list){.all = false};
    const int32_t *index = MGK_I(a->block_index);
    return (key_list){false, index + start[0], index + start[1], a->block_k};
}

enum key_use { KEYS_NONE, KEYS_SOME, KEYS_ALL };

/* The terms of n keys from j0 on. KEYS_ALL: all of them count, they are sixteens, and the terms are not needed. */
static enum key_use key_terms(float *term, const uint8_t *mask, key_list *list, int64_t j0,
                              int64_t n)
{
    while (list->at < list->end && (*list->at + (int64_t)1) * list->block <= j0)
        list->at++;
    if (!list->all && (list->at == list->end || *list->at * list->block >= j0 + n))
        return KEYS_NONE;
    if (list->all && !mask && n % 16 == 0)
        return KEYS_ALL;
    for (int64_t j = 0; j < KEYS; j++)
        term[j] = list->all && j < n ? 0 : -INFINITY;
    for (const int32_t *at = list->at; at < list->end && *at * list->block < j0 + n; at++) {
        int64_t from = mgk_max(0, *at * list->block - j0);
        int64_t to = mgk_min(n, (*at + (int64_t)1) * list->block - j0);
        for (int64_t j = from; j < to; j++)
            term[j] = 0;
    }
    int64_t counted = 0;
    for (int64_t j = 0; j < n; j++) {
        term[j] = mask && !mask[j] ? -INFINITY : term[j];
        counted += term[j] == 0;
    }
    if (counted == n && n % 16 == 0)
        return KEYS_ALL;
    return counted > 0 ? KEYS_SOME : KEYS_NONE;
}

static const uint8_t *mask_at(const mgk_attention_args *a, int64_t b, int64_t key)
{
    return a->mask.p ? MGK_B(a->mask) + b * a->sk + key : NULL;
}

/* The bias of query i and key j; later queries stand before, later keys after. */
static const float *bias_at(const mgk_attention_args *a, int64_t h, int64_t i, int64_t j)
{
    return a->bias.p
               ? MGK_F(a->bias) + h * mgk_attention_span(a) + mgk_attention_bias_zero(a) + j - i
               : NULL;
}

#endif
