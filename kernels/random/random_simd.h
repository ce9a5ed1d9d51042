/* SPDX-License-Identifier: MIT
 * Random numbers on vectors; included once a variant. A step makes the four numbers of MGK_WIDTH
 * counters: Philox in 32-bit lanes, Box-Muller in double, as the definition has it. */
#include "kernels/common/real_simd.h"
#include "kernels/random/random.h"

enum { HALF = MGK_WIDTH / 2, STEP = 4 * MGK_WIDTH };

typedef double vd __attribute__((vector_size(8 * HALF)));
typedef int64_t vl __attribute__((vector_size(8 * HALF)));
typedef int32_t half_i __attribute__((vector_size(4 * HALF)));
typedef float half_f __attribute__((vector_size(4 * HALF)));

/* Lanes of the lower and upper half, and of two vectors in turn. */
#if MGK_WIDTH == 16
#define LOWER(v) __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
#define UPPER(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)
#define JOIN(a, b)                                                                                 \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define TURN_LOWER(a, b)                                                                           \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define TURN_UPPER(a, b)                                                                           \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define PAIRS_LOWER(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define PAIRS_UPPER(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif MGK_WIDTH == 8
#define LOWER(v)          __builtin_shufflevector(v, v, 0, 1, 2, 3)
#define UPPER(v)          __builtin_shufflevector(v, v, 4, 5, 6, 7)
#define JOIN(a, b)        __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7)
#define TURN_LOWER(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define TURN_UPPER(a, b)  __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define PAIRS_LOWER(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define PAIRS_UPPER(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define LOWER(v)          __builtin_shufflevector(v, v, 0, 1)
#define UPPER(v)          __builtin_shufflevector(v, v, 2, 3)
#define JOIN(a, b)        __builtin_shufflevector(a, b, 0, 1, 2, 3)
#define TURN_LOWER(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define TURN_UPPER(a, b)  __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define PAIRS_LOWER(a, b) __builtin_shufflevector(a, b, 0, 2)
#define PAIRS_UPPER(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif

/* --- Philox4x32-10 --- */

/* The two words of a product of 32-bit lanes. */
MGK_INLINE vu multiply(vu a, uint32_t b, vu *high)
{
#if MGK_WIDTH == 16 && defined(__AVX512F__)
    __m512i k = _mm512_set1_epi32((int)b), v = (__m512i)a;
    __m512i even = _mm512_mul_epu32(v, k), odd = _mm512_mul_epu32(_mm512_srli_epi64(v, 32), k);
    *high = (vu)_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
    return (vu)_mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
#elif MGK_WIDTH == 8 && defined(__AVX2__)
    __m256i k = _mm256_set1_epi32((int)b), v = (__m256i)a;
    __m256i even = _mm256_mul_epu32(v, k), odd = _mm256_mul_epu32(_mm256_srli_epi64(v, 32), k);
    *high = (vu)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    return (vu)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
#else
    vu low;
    for (int i = 0; i < MGK_WIDTH; i++) {
        uint64_t p = (uint64_t)a[i] * b;
        low[i] = (uint32_t)p;
        (*high)[i] = (uint32_t)(p >> 32);
    }
    return low;
#endif
}

/* Counters from `counter` on, one a lane; they are element numbers / 4 and wrap as these do. */
MGK_INLINE void philox(uint64_t seed, uint64_t stream, uint64_t counter, vu out[4])
{
    vu lane;
    for (int i = 0; i < MGK_WIDTH; i++)
        lane[i] = (uint32_t)i;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    vu c0 = lane + (uint32_t)counter;
    vu c1 = ((uint32_t)(counter >> 32) - (vu)(c0 < lane)) & 0x3fffffff; /* a true lane is -1 */
    vu c2 = (vu){0} + (uint32_t)stream, c3 = (vu){0} + (uint32_t)(stream >> 32);
    for (int round = 0; round < 10; round++) {
        vu high0, high1;
        vu low0 = multiply(c0, 0xD2511F53u, &high0), low1 = multiply(c2, 0xCD9E8D57u, &high1);
        c0 = high1 ^ c1 ^ k0;
        c2 = high0 ^ c3 ^ k1;
        c1 = low1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* --- Box-Muller --- */

MGK_INLINE vd choose(vl mask, vd yes, vd no)
{
    return (vd)((mask & (vl)yes) | (~mask & (vl)no));
}

MGK_INLINE vd root(vd v)
{
#if MGK_WIDTH == 16 && defined(__AVX512F__)
    return (vd)_mm512_sqrt_pd((__m512d)v);
#elif MGK_WIDTH == 8 && defined(__AVX2__)
    return (vd)_mm256_sqrt_pd((__m256d)v);
#else
    for (int i = 0; i < HALF; i++)
        v[i] = sqrt(v[i]);
    return v;
#endif
}

/* mgi_u32_to_unit: exact in either precision. */
MGK_INLINE vd unit(half_i x)
{
    return (__builtin_convertvector(x, vd) + 0.5) * (1.0 / 8388608.0);
}

/* log of u in (0, 1) = e ln 2 + log m, m within 0.707..1.414; log m = 2 artanh((m - 1) / (m + 1))
 * by its series, whose first term left out is below 2^-60 of the whole. */
MGK_INLINE vd logarithm(vd u)
{
    const int64_t below_root_half = 0x3fe6a09e667f3bcd, one = 0x3ff0000000000000;
    vl bits = (vl)u + (one - below_root_half);
    vl exponent = (vl)((bits >> 52) | 0x4330000000000000); /* 2^52 + e + 1023 as a double */
    vd e = (vd)exponent - (4503599627370496.0 + 1023.0);
    vd m = (vd)((bits & 0x000fffffffffffff) + below_root_half);
    vd f = m - 1.0, s = f / (2.0 + f), z = s * s;
    vd p = z * (2.0 / 23) + 2.0 / 21;
    p = p * z + 2.0 / 19;
    p = p * z + 2.0 / 17;
    p = p * z + 2.0 / 15;
    p = p * z + 2.0 / 13;
    p = p * z + 2.0 / 11;
    p = p * z + 2.0 / 9;
    p = p * z + 2.0 / 7;
    p = p * z + 2.0 / 5;
    p = p * z + 2.0 / 3;
    /* ln 2 in two parts, the first of 32 bits: e times it is exact. */
    return e * 0.6931471803691238 + (2.0 * s + (p * z * s + e * 1.9082149292705877e-10));
}

/* The definition rounds the angle before it takes the sine: the compiler must not carry it on
 * unrounded into the next product. */
#if defined(__x86_64__)
#define ROUNDED(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define ROUNDED(v) __asm__("" : "+w"(v))
#else
#define ROUNDED(v) __asm__("" : "+m"(v))
#endif

/* Both for an angle within 0..2 pi. q quarter turns are taken off in two parts, the first of 33
 * bits: what remains, at least 3e-7 by the way units are made, is right to its last bit. Series
 * on +-pi/4. */
MGK_INLINE void cosine_sine(vd angle, vd *cosine, vd *sine)
{
    const double magic = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to a whole number */
    vd shifted = angle * 0.6366197723675814 + magic, q = shifted - magic;
    vl quarter = (vl)shifted;
    vd r = (angle - q * 1.5707963267341256) - q * 6.077100506506192e-11;
    vd z = r * r;
    vd s = z * (1.0 / 355687428096000) - 1.0 / 1307674368000;
    s = s * z + 1.0 / 6227020800;
    s = s * z - 1.0 / 39916800;
    s = s * z + 1.0 / 362880;
    s = s * z - 1.0 / 5040;
    s = s * z + 1.0 / 120;
    s = s * z - 1.0 / 6;
    s = s * (z * r) + r;
    vd c = z * (-1.0 / 6402373705728000) + 1.0 / 20922789888000;
    c = c * z - 1.0 / 87178291200;
    c = c * z + 1.0 / 479001600;
    c = c * z - 1.0 / 3628800;
    c = c * z + 1.0 / 40320;
    c = c * z - 1.0 / 720;
    c = c * z + 1.0 / 24;
    vd half = 0.5 * z, head = 1.0 - half;
    c = head + (((1.0 - head) - half) + c * (z * z));
    vl swap = -(quarter & 1);
    *cosine = (vd)((vl)choose(swap, s, c) ^ ((quarter + 1) & 2) << 62);
    *sine = (vd)((vl)choose(swap, c, s) ^ (quarter & 2) << 62);
}

MGK_INLINE void box_muller(half_i a, half_i b, half_f *even, half_f *odd)
{
    vd radius = root(-2.0 * logarithm(unit(a))), angle = 6.283185307179586476925 * unit(b);
    vd cosine, sine;
    ROUNDED(angle);
    cosine_sine(angle, &cosine, &sine);
    *even = __builtin_convertvector(radius * cosine, half_f);
    *odd = __builtin_convertvector(radius * sine, half_f);
}

/* The two numbers of each counter's words a and b; units need no arithmetic between them. */
MGK_INLINE void two_numbers(vu a, vu b, bool uniform, vf *even, vf *odd)
{
    vi x = (vi)(a >> 9), y = (vi)(b >> 9);
    half_f e[2], o[2];
    if (uniform) {
        *even = (__builtin_convertvector(x, vf) + 0.5f) * (1.0f / 8388608.0f);
        *odd = (__builtin_convertvector(y, vf) + 0.5f) * (1.0f / 8388608.0f);
        return;
    }
    box_muller(LOWER(x), LOWER(y), &e[0], &o[0]);
    box_muller(UPPER(x), UPPER(y), &e[1], &o[1]);
    *even = JOIN(e[0], e[1]);
    *odd = JOIN(o[0], o[1]);
}

/* --- the op --- */

MGK_INLINE vf scaled(vf v, double alpha, double beta)
{
    vd low = alpha * __builtin_convertvector(LOWER(v), vd) + beta;
    vd high = alpha * __builtin_convertvector(UPPER(v), vd) + beta;
    return JOIN(__builtin_convertvector(low, half_f), __builtin_convertvector(high, half_f));
}

/* STEP elements, in order, from element 4 * counter on. */
static void make_step(const mgk_random_args *a, uint64_t counter, float out[STEP])
{
    vu word[4];
    vf n[4];
    philox(a->seed, a->stream, counter, word);
    two_numbers(word[0], word[1], a->kind == MGK_RANDOM_UNIFORM, &n[0], &n[1]);
    two_numbers(word[2], word[3], a->kind == MGK_RANDOM_UNIFORM, &n[2], &n[3]);
    for (int i = 0; i < 4 && a->kind != MGK_RANDOM_LOGIT_NORMAL; i++)
        n[i] = scaled(n[i], a->alpha, a->beta);
    vd ab[2] = {(vd)TURN_LOWER(n[0], n[1]), (vd)TURN_UPPER(n[0], n[1])};
    vd cd[2] = {(vd)TURN_LOWER(n[2], n[3]), (vd)TURN_UPPER(n[2], n[3])};
    for (int i = 0; i < 2; i++) {
        v_store(out + 2 * i * MGK_WIDTH, (vf)PAIRS_LOWER(ab[i], cd[i]));
        v_store(out + (2 * i + 1) * MGK_WIDTH, (vf)PAIRS_UPPER(ab[i], cd[i]));
    }
    if (a->kind == MGK_RANDOM_LOGIT_NORMAL) /* times of the flow: few */
        for (int i = 0; i < STEP; i++)
            out[i] = (float)(1 / (1 + exp(-((double)a->alpha * out[i] + a->beta))));
}

MGK_INLINE void random_range(const mgk_random_args *a, uint64_t first, int64_t at, int64_t end,
                             int32_t dtype)
{
    float step[STEP];
    for (uint64_t index = first; at < end;) {
        int64_t skip = (int64_t)(index & 3), n = mgk_min(STEP - skip, end - at);
        const v_real y = v_from(a->y, at, dtype);
        make_step(a, index >> 2, step);
        MGK_EACH_VECTOR(i, n, { v_put(y, i, v_in(step + skip + i)); });
        index += (uint64_t)n;
        at += n;
    }
}

static void random_block(void *arg, int64_t block, int thread)
{
    const mgk_random_args *a = arg;
    uint64_t offset = 0;
    int64_t at = block * MGK_BLOCK_ELEMENTS, end = mgk_min(a->count, at + MGK_BLOCK_ELEMENTS);
    (void)thread;
    if (a->offset.p)
        memcpy(&offset, a->offset.p, sizeof offset);
    V_BY_DTYPE(a->y.dtype, random_range, a, a->base + offset + (uint64_t)at, at, end);
}

MGK_LAUNCH(random)
{
    const mgk_random_args *a = args;
    mgk_for(x, mgk_div_up(a->count, MGK_BLOCK_ELEMENTS), 16 * a->count, random_block, (void *)args);
}
