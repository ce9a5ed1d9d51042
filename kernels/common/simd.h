/* SPDX-License-Identifier: MIT
 * Vectors of MGK_WIDTH floats (4, 8 or 16), in the compilers' generic vector extension.
 *
 * The file that includes it defines MGK_WIDTH, and MGK_SUFFIX, the name of its variant. Templates
 * name their launchers MGK_LAUNCH(op).
 */
#ifndef MGK_COMMON_SIMD_H
#define MGK_COMMON_SIMD_H

#include "kernels/common/parallel.h"
#include "kernels/mgk.h"

#include <math.h>
#include <string.h>
#if MGK_WIDTH > 4 && defined(__x86_64__)
#include <immintrin.h>
#endif

#define MGK_PASTE_(a, b, c) a##b##_##c
#define MGK_PASTE(a, b, c)  MGK_PASTE_(a, b, c)
/* Declares and begins the launcher of an op in this variant. */
#define MGK_LAUNCH(op)                                                                             \
    void MGK_PASTE(mgk_, op, MGK_SUFFIX)(const void *args, mgk_exec *x);                           \
    void MGK_PASTE(mgk_, op, MGK_SUFFIX)(const void *args, mgk_exec *x)

#if defined(__clang__)
#define MGK_UNROLL _Pragma("unroll")
#else
#define MGK_UNROLL _Pragma("GCC unroll 16")
#endif
#define MGK_INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(4 * MGK_WIDTH)));
typedef int32_t vi __attribute__((vector_size(4 * MGK_WIDTH)));
typedef uint32_t vu __attribute__((vector_size(4 * MGK_WIDTH)));
typedef float vf_any __attribute__((vector_size(4 * MGK_WIDTH), aligned(4), may_alias));

MGK_INLINE vf v_load(const float *p)
{
    return *(const vf_any *)p;
}

MGK_INLINE void v_store(float *p, vf v)
{
    *(vf_any *)p = v;
}

/* The first n lanes, n < MGK_WIDTH; the others read 0 and are not written. */
#if MGK_WIDTH == 16 && defined(__AVX512F__)
MGK_INLINE vf v_load_part(const float *p, int64_t n)
{
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

MGK_INLINE void v_store_part(float *p, int64_t n, vf v)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
#elif MGK_WIDTH == 8 && defined(__AVX2__)
MGK_INLINE __m256i v_part(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

MGK_INLINE vf v_load_part(const float *p, int64_t n)
{
    return (vf)_mm256_maskload_ps(p, v_part(n));
}

MGK_INLINE void v_store_part(float *p, int64_t n, vf v)
{
    _mm256_maskstore_ps(p, v_part(n), (__m256)v);
}
#elif MGK_WIDTH == 4
MGK_INLINE vf v_load_part(const float *p, int64_t n)
{
    return (vf){n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, 0};
}

MGK_INLINE void v_store_part(float *p, int64_t n, vf v)
{
    if (n > 0)
        p[0] = v[0];
    if (n > 1)
        p[1] = v[1];
    if (n > 2)
        p[2] = v[2];
}
#else
static inline vf v_load_part(const float *p, int64_t n)
{
    float t[MGK_WIDTH] = {0};
    for (int64_t i = 0; i < n && i < MGK_WIDTH; i++)
        t[i] = p[i];
    return v_load(t);
}

static inline void v_store_part(float *p, int64_t n, vf v)
{
    float t[MGK_WIDTH];
    v_store(t, v);
    for (int64_t i = 0; i < n && i < MGK_WIDTH; i++)
        p[i] = t[i];
}
#endif

MGK_INLINE vf v_set(float f)
{
#if MGK_WIDTH == 16
    return (vf){f, f, f, f, f, f, f, f, f, f, f, f, f, f, f, f};
#elif MGK_WIDTH == 8
    return (vf){f, f, f, f, f, f, f, f};
#else
    return (vf){f, f, f, f};
#endif
}

/* a * b + c, with one rounding where the processor has such an instruction: results that come by two
 * ways use it, because what the compiler makes of a product and a sum differs from place to place. */
MGK_INLINE vf v_fma(vf a, vf b, vf c)
{
#if MGK_WIDTH == 16 && defined(__AVX512F__)
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif MGK_WIDTH == 8 && defined(__FMA__)
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__FP_FAST_FMAF)
    for (int i = 0; i < MGK_WIDTH; i++)
        c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#else
    return a * b + c;
#endif
}

/* Maximum and minimum return the second argument if one is NaN. The compilers do not find these
 * instructions by themselves. */
#if MGK_WIDTH == 16 && defined(__AVX512DQ__)
MGK_INLINE vf v_select(vi mask, vf yes, vf no)
{
    return (vf)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)mask), (__m512)no, (__m512)yes);
}

MGK_INLINE vf v_max(vf a, vf b)
{
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}

MGK_INLINE vf v_min(vf a, vf b)
{
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}
#elif MGK_WIDTH == 8 && defined(__AVX2__)
MGK_INLINE vf v_select(vi mask, vf yes, vf no)
{
    return (vf)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)mask);
}

MGK_INLINE vf v_max(vf a, vf b)
{
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}

MGK_INLINE vf v_min(vf a, vf b)
{
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}
#else
MGK_INLINE vf v_select(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

MGK_INLINE vf v_max(vf a, vf b)
{
    return v_select(a > b, a, b);
}

MGK_INLINE vf v_min(vf a, vf b)
{
    return v_select(a < b, a, b);
}
#endif

MGK_INLINE vf v_abs(vf a)
{
    return (vf)((vi)a & INT32_MAX);
}

/* Lanes below n. */
MGK_INLINE vi v_lanes_below(int64_t n)
{
    vi lane;
    for (int i = 0; i < MGK_WIDTH; i++)
        lane[i] = i;
    return lane < (int32_t)n;
}

/* Each n lanes exchanged with the n lanes beside them. */
#if MGK_WIDTH == 16
#define V_SWAP8(v)                                                                                 \
    __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define V_SWAP4(v)                                                                                 \
    __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
#define V_SWAP2(v)                                                                                 \
    __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define V_SWAP1(v)                                                                                 \
    __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#elif MGK_WIDTH == 8
#define V_SWAP4(v) __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3)
#define V_SWAP2(v) __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5)
#define V_SWAP1(v) __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6)
#else
#define V_SWAP2(v) __builtin_shufflevector(v, v, 2, 3, 0, 1)
#define V_SWAP1(v) __builtin_shufflevector(v, v, 1, 0, 3, 2)
#endif

/* Lanes are added pairwise, in a fixed order. */
MGK_INLINE float v_sum(vf v)
{
#if MGK_WIDTH == 16
    v += V_SWAP8(v);
#endif
#if MGK_WIDTH >= 8
    v += V_SWAP4(v);
#endif
    v += V_SWAP2(v);
    v += V_SWAP1(v);
    return v[0];
}

MGK_INLINE float v_highest(vf v)
{
#if MGK_WIDTH == 16
    v = v_max(v, V_SWAP8(v));
#endif
#if MGK_WIDTH >= 8
    v = v_max(v, V_SWAP4(v));
#endif
    v = v_max(v, V_SWAP2(v));
    v = v_max(v, V_SWAP1(v));
    return v[0];
}

MGK_INLINE vf v_load_lanes(const float *p, int64_t lanes)
{
    return lanes == MGK_WIDTH ? v_load(p) : v_load_part(p, lanes);
}

MGK_INLINE void v_store_lanes(float *p, int64_t lanes, vf v)
{
    if (lanes == MGK_WIDTH)
        v_store(p, v);
    else
        v_store_part(p, lanes, v);
}

/* One loop body for whole vectors and for the part that remains, i rising by MGK_WIDTH. The body
 * reads arrays with v_in(p + i) and writes them with v_out(p + i, v). */
#define MGK_EACH_VECTOR(i, n, ...) MGK_EACH_VECTOR_FROM(0, i, n, __VA_ARGS__)
#define MGK_EACH_VECTOR_FROM(first, i, n, ...)                                                     \
    do {                                                                                           \
        int64_t i = first;                                                                         \
        for (; i + MGK_WIDTH <= (n); i += MGK_WIDTH) {                                             \
            const int64_t v_lanes = MGK_WIDTH;                                                     \
            __VA_ARGS__                                                                            \
        }                                                                                          \
        if (i < (n)) {                                                                             \
            const int64_t v_lanes = (n)-i;                                                         \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    } while (0)
#define v_in(p)     v_load_lanes(p, v_lanes)
#define v_out(p, v) v_store_lanes(p, v_lanes, v)

/* The same for buffers of either real dtype: v_get(b, at) and v_put(b, at, v) inside MGK_EACH_VECTOR, b
 * a v_real whose dtype is a constant after inlining (instantiate the loop for MGK_F32 and MGK_BF16).
 * stream: whole vectors are written past the caches; see mgk_streams in parallel.h. */
typedef struct v_real {
    void *p;
    int32_t dtype, stream;
} v_real;

/* bf16 and back. Rounding adds half of the last bit that stays, less 1 if that bit is 0 (to even);
 * a NaN keeps its upper half and becomes quiet. v_bf16_bits leaves the result in the upper halves. */
#if MGK_WIDTH == 16 && defined(__AVX512BW__)
MGK_INLINE vf v_from_bf16(const uint16_t *p, int64_t lanes)
{
    __m256i h = lanes == 16 ? _mm256_loadu_si256((const __m256i *)(const void *)p)
                            : _mm256_maskz_loadu_epi16((__mmask16)((1u << lanes) - 1), p);
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16);
}

MGK_INLINE __m512i v_bf16_bits(vf v)
{
    __m512i u = (__m512i)v, r = _mm512_add_epi32(u, _mm512_set1_epi32(0x7fff));
    __mmask16 odd = _mm512_test_epi32_mask(u, _mm512_set1_epi32(0x10000));
    __mmask16 nan = _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q);
    r = _mm512_mask_sub_epi32(r, odd, r, _mm512_set1_epi32(-1));
    return _mm512_mask_or_epi32(r, nan, u, _mm512_set1_epi32(0x400000));
}

MGK_INLINE __m256i v_narrow(vf v)
{
#if defined(__AVX512BF16__)
    return (__m256i)_mm512_cvtneps_pbh((__m512)v);
#else
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(v_bf16_bits(v), 16));
#endif
}

MGK_INLINE void v_to_bf16(uint16_t *p, int64_t lanes, vf v)
{
    if (lanes == 16)
        _mm256_storeu_si256((__m256i *)(void *)p, v_narrow(v));
    else
        _mm256_mask_storeu_epi16(p, (__mmask16)((1u << lanes) - 1), v_narrow(v));
}

MGK_INLINE void v_stream_bf16(uint16_t *p, vf v)
{
    _mm256_stream_si256((__m256i *)(void *)p, v_narrow(v));
}

MGK_INLINE vf v_round_bf16(vf v)
{
    return (vf)_mm512_and_si512(v_bf16_bits(v), _mm512_set1_epi32(-65536));
}
#else
/* The first n lanes, n < MGK_WIDTH. Three are written out; more are a loop, in a function of its own:
 * inlined at each end of a row it was slower, and took the compiler longer than all else. */
#if MGK_WIDTH == 4
MGK_INLINE vf v_from_bf16_part(const uint16_t *p, int64_t n)
{
    vu u = {n > 0 ? p[0] : 0u, n > 1 ? p[1] : 0u, n > 2 ? p[2] : 0u, 0};
    return (vf)(u << 16);
}
#else
static __attribute__((noinline, unused)) vf v_from_bf16_part(const uint16_t *p, int64_t n)
{
    uint32_t t[MGK_WIDTH] = {0};
    for (int64_t i = 0; i < n && i < MGK_WIDTH; i++)
        t[i] = (uint32_t)p[i] << 16;
    vf v;
    memcpy(&v, t, sizeof v);
    return v;
}
#endif

MGK_INLINE vf v_from_bf16(const uint16_t *p, int64_t lanes)
{
    if (lanes != MGK_WIDTH)
        return v_from_bf16_part(p, lanes);
#if MGK_WIDTH == 8 && defined(__AVX2__)
    __m128i h = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16);
#else
    vu u = {0};
    for (int i = 0; i < MGK_WIDTH; i++)
        u[i] = p[i];
    return (vf)(u << 16);
#endif
}

MGK_INLINE vu v_bf16_bits(vf v)
{
    vu u = (vu)v, r = u + 0x7fff + (u >> 16 & 1);
    return (vu)v_select(v == v, (vf)r, (vf)(u | 0x400000));
}

#if MGK_WIDTH == 8 && defined(__AVX2__)
MGK_INLINE __m128i v_narrow(vf v)
{
    __m256i r = (__m256i)(v_bf16_bits(v) >> 16);
    r = _mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 8); /* quarters 0 and 2 */
    return _mm256_castsi256_si128(r);
}

MGK_INLINE void v_stream_bf16(uint16_t *p, vf v)
{
    _mm_stream_si128((__m128i *)(void *)p, v_narrow(v));
}
#endif

#if MGK_WIDTH == 4
MGK_INLINE void v_to_bf16_part(uint16_t *p, int64_t n, vf v)
{
    const vu r = v_bf16_bits(v) >> 16;
    if (n > 0)
        p[0] = (uint16_t)r[0];
    if (n > 1)
        p[1] = (uint16_t)r[1];
    if (n > 2)
        p[2] = (uint16_t)r[2];
}
#else
static __attribute__((noinline, unused)) void v_to_bf16_part(uint16_t *p, int64_t n, vf v)
{
    const vu r = v_bf16_bits(v) >> 16;
    uint32_t t[MGK_WIDTH];
    memcpy(t, &r, sizeof t);
    for (int64_t i = 0; i < n && i < MGK_WIDTH; i++)
        p[i] = (uint16_t)t[i];
}
#endif

MGK_INLINE void v_to_bf16(uint16_t *p, int64_t lanes, vf v)
{
    if (lanes != MGK_WIDTH) {
        v_to_bf16_part(p, lanes, v);
        return;
    }
#if MGK_WIDTH == 8 && defined(__AVX2__)
    _mm_storeu_si128((__m128i *)(void *)p, v_narrow(v));
#else
    const vu r = v_bf16_bits(v) >> 16;
    for (int i = 0; i < MGK_WIDTH; i++)
        p[i] = (uint16_t)r[i];
#endif
}

MGK_INLINE vf v_round_bf16(vf v)
{
    return (vf)(v_bf16_bits(v) & 0xffff0000u);
}
#endif

/* The value that a buffer of this dtype would hold. */
MGK_INLINE vf v_rounded(vf v, int32_t dtype)
{
    return dtype == MGK_BF16 ? v_round_bf16(v) : v;
}

/* Past the caches, if this variant can: the address is a multiple of the vector's size. */
MGK_INLINE void v_stream(v_real b, int64_t at, vf v)
{
#if MGK_WIDTH == 16 && defined(__AVX512BW__)
    if (b.dtype == MGK_BF16)
        v_stream_bf16((uint16_t *)b.p + at, v);
    else
        _mm512_stream_ps((float *)b.p + at, (__m512)v);
#elif MGK_WIDTH == 8 && defined(__AVX2__)
    if (b.dtype == MGK_BF16)
        v_stream_bf16((uint16_t *)b.p + at, v);
    else
        _mm256_stream_ps((float *)b.p + at, (__m256)v);
#else
    if (b.dtype == MGK_BF16)
        v_to_bf16((uint16_t *)b.p + at, MGK_WIDTH, v);
    else
        v_store((float *)b.p + at, v);
#endif
}

/* At the end of a block that streamed: what it wrote is seen by others before they hear that it is done. */
MGK_INLINE void v_stream_end(int32_t stream)
{
#if MGK_WIDTH > 4 && defined(__x86_64__)
    if (stream)
        _mm_sfence();
#else
    (void)stream;
#endif
}

MGK_INLINE vf v_read(v_real b, int64_t at, int64_t lanes)
{
    return b.dtype == MGK_BF16 ? v_from_bf16((const uint16_t *)b.p + at, lanes)
                               : v_load_lanes((const float *)b.p + at, lanes);
}

MGK_INLINE void v_write(v_real b, int64_t at, int64_t lanes, vf v)
{
    if (b.stream && lanes == MGK_WIDTH)
        v_stream(b, at, v);
    else if (b.dtype == MGK_BF16)
        v_to_bf16((uint16_t *)b.p + at, lanes, v);
    else
        v_store_lanes((float *)b.p + at, lanes, v);
}
#define v_get(b, at)    v_read(b, at, v_lanes)
#define v_put(b, at, v) v_write(b, at, v_lanes, v)

/* Brings the cache line of element `at` closer; past the end of the buffer does no harm. */
MGK_INLINE void v_prefetch(v_real b, int64_t at)
{
    __builtin_prefetch((const char *)b.p + at * (b.dtype == MGK_BF16 ? 2 : 4), 0, 2);
}

/* Two vectors at once, for loops that do the same with each element: of bf16 in the order that takes the fewest instructions, with
 * AVX-512 the even elements and the odd ones, with AVX2 fours by turns, else one vector after the other. */
typedef struct v_two {
    vf a, b;
} v_two;

#if MGK_WIDTH == 16 && defined(__AVX512BW__)
MGK_INLINE v_two v_two_from_bf16(__m512i h)
{
    return (v_two){(vf)_mm512_slli_epi32(h, 16),
                   (vf)_mm512_and_si512(h, _mm512_set1_epi32(-65536))};
}

MGK_INLINE __m512i v_two_bf16(v_two v)
{
#if defined(__AVX512BF16__)
    __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                     23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh((__m512)v.b, (__m512)v.a));
#else
    return _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(v_bf16_bits(v.a), 16),
                                   v_bf16_bits(v.b));
#endif
}
#endif

#if MGK_WIDTH == 8 && defined(__AVX2__)
#define V_HALVES_TWO 1 /* bf16 by two: the lower four of each half, then the upper four */
MGK_INLINE v_two v_two_from_bf16(__m256i h)
{
    const __m256i none = _mm256_setzero_si256();
    return (v_two){(vf)_mm256_unpacklo_epi16(none, h), (vf)_mm256_unpackhi_epi16(none, h)};
}

/* Numbers; NaN may become any value. */
MGK_INLINE __m256i v_bf16_number(vf v)
{
    const __m256i upper = _mm256_srli_epi32((__m256i)v, 16), one = _mm256_set1_epi32(1);
    const __m256i more = _mm256_add_epi32((__m256i)v, _mm256_set1_epi32(0x7fff));
    return _mm256_srli_epi32(_mm256_add_epi32(more, _mm256_and_si256(upper, one)), 16);
}

static __attribute__((noinline, unused)) __m256i v_two_bf16_any(v_two v)
{
    return _mm256_packus_epi32((__m256i)(v_bf16_bits(v.a) >> 16),
                               (__m256i)(v_bf16_bits(v.b) >> 16));
}

/* One question for NaN in both, which hardly ever comes, takes less than choosing in each. */
MGK_INLINE __m256i v_two_bf16(v_two v)
{
    if (__builtin_expect(_mm256_movemask_ps(_mm256_cmp_ps((__m256)v.a, (__m256)v.b, _CMP_UNORD_Q)),
                         0))
        return v_two_bf16_any(v);
    return _mm256_packus_epi32(v_bf16_number(v.a), v_bf16_number(v.b));
}
#endif

/* Two f32 vectors that follow each other, as v_read_two has bf16. */
MGK_INLINE v_two v_two_order(v_two v)
{
#if MGK_WIDTH == 16 && defined(__AVX512BW__)
    __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    __m512i odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
    return (v_two){(vf)_mm512_permutex2var_ps((__m512)v.a, even, (__m512)v.b),
                   (vf)_mm512_permutex2var_ps((__m512)v.a, odd, (__m512)v.b)};
#elif defined(V_HALVES_TWO)
    return (v_two){(vf)_mm256_permute2f128_ps((__m256)v.a, (__m256)v.b, 0x20),
                   (vf)_mm256_permute2f128_ps((__m256)v.a, (__m256)v.b, 0x31)};
#else
    return v;
#endif
}

/* Back from the order of v_read_two of bf16. */
MGK_INLINE v_two v_two_plain(v_two v)
{
#if MGK_WIDTH == 16 && defined(__AVX512BW__)
    __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    return (v_two){(vf)_mm512_permutex2var_ps((__m512)v.a, low, (__m512)v.b),
                   (vf)_mm512_permutex2var_ps((__m512)v.a, high, (__m512)v.b)};
#elif defined(V_HALVES_TWO)
    return v_two_order(v);
#else
    return v;
#endif
}

MGK_INLINE v_two v_read_two(v_real b, int64_t at)
{
#if MGK_WIDTH == 16 && defined(__AVX512BW__)
    if (b.dtype == MGK_BF16)
        return v_two_from_bf16(_mm512_loadu_si512((const uint16_t *)b.p + at));
#elif defined(V_HALVES_TWO)
    if (b.dtype == MGK_BF16) {
        const uint16_t *p = (const uint16_t *)b.p + at;
        return v_two_from_bf16(_mm256_loadu_si256((const __m256i *)(const void *)p));
    }
#endif
    return (v_two){v_read(b, at, MGK_WIDTH), v_read(b, at + MGK_WIDTH, MGK_WIDTH)};
}

MGK_INLINE void v_write_two(v_real b, int64_t at, v_two v)
{
#if MGK_WIDTH == 16 && defined(__AVX512BW__)
    if (b.dtype == MGK_BF16) {
        __m512i *to = (void *)((uint16_t *)b.p + at);
        if (b.stream)
            _mm512_stream_si512(to, v_two_bf16(v));
        else
            _mm512_storeu_si512(to, v_two_bf16(v));
        return;
    }
#elif defined(V_HALVES_TWO)
    if (b.dtype == MGK_BF16) {
        __m256i *to = (void *)((uint16_t *)b.p + at);
        if (b.stream)
            _mm256_stream_si256(to, v_two_bf16(v));
        else
            _mm256_storeu_si256(to, v_two_bf16(v));
        return;
    }
#endif
    v_write(b, at, MGK_WIDTH, v.a);
    v_write(b, at + MGK_WIDTH, MGK_WIDTH, v.b);
}

/* Two vectors that follow each other, whatever the dtype. */
MGK_INLINE void v_write_plain(v_real b, int64_t at, v_two v)
{
#if MGK_WIDTH == 16 && defined(__AVX512BW__)
    if (b.dtype == MGK_BF16) {
        __m512i *to = (void *)((uint16_t *)b.p + at);
#if defined(__AVX512BF16__)
        __m512i h = (__m512i)_mm512_cvtne2ps_pbh((__m512)v.b, (__m512)v.a);
#else
        __m512i h = _mm512_castsi256_si512(v_narrow(v.a));
        h = _mm512_inserti64x4(h, v_narrow(v.b), 1);
#endif
        if (b.stream)
            _mm512_stream_si512(to, h);
        else
            _mm512_storeu_si512(to, h);
        return;
    }
#elif defined(V_HALVES_TWO)
    if (b.dtype == MGK_BF16) {
        v_write_two(b, at, v_two_order(v));
        return;
    }
#endif
    v_write(b, at, MGK_WIDTH, v.a);
    v_write(b, at + MGK_WIDTH, MGK_WIDTH, v.b);
}

/* What v_read_two reads there, to the second-level cache, or with near to the first. */
MGK_INLINE void v_prefetch_two(v_real b, int64_t at, bool near)
{
    const int size = b.dtype == MGK_BF16 ? 2 : 4;
    const char *p = (const char *)b.p + at * size;
    for (int i = 0; i < 2 * MGK_WIDTH * size; i += 64) {
        if (near)
            __builtin_prefetch(p + i, 0, 3);
        else
            __builtin_prefetch(p + i, 0, 2);
    }
}

MGK_INLINE bool v_amd(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_is("amd");
#else
    return false;
#endif
}

/* AMD's Zen 5 or a later one, by an instruction that no other of AMD's has. There loops out of cache are fastest, by up to
 * a half, where what they read is fetched into the first-level cache, about 4 KB ahead. */
MGK_INLINE bool v_zen5(void)
{
#if defined(__x86_64__)
    return v_amd() && __builtin_cpu_supports("avx512vp2intersect");
#else
    return false;
#endif
}

/* AMD's Zen 4, or one before it. */
MGK_INLINE bool v_zen4(void)
{
    return v_amd() && !v_zen5();
}

/* How many elements ahead a loop that writes past the caches fetches what it reads, to the second-level cache; 0: the
 * processor sees to that. Intel's does not look past a page of 4096 bytes: on an Emerald Rapids two streams into a
 * third gain 5 to 30 %, most in bf16, about the same with 2 to 16 KB. On AMD's Zen 4 such loops were faster without, or
 * have distances of their own. */
MGK_INLINE int64_t v_far(int32_t stream)
{
#if defined(__x86_64__)
    if (stream && __builtin_cpu_is("intel"))
        return 2048;
#endif
    (void)stream;
    return 0;
}

/* What v_read_two reads `far` elements behind `at`, if that is not 0. */
MGK_INLINE void v_fetch_two(v_real b, int64_t at, int64_t far)
{
    if (far)
        v_prefetch_two(b, at + far, false);
}

#endif
