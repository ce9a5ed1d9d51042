/* SPDX-License-Identifier: MIT
 * quantize_fp8 on vectors; included once a variant. Twice over a row: for its largest value, and for its codes. */
#include "kernels/common/real_simd.h"
#include "kernels/fp8/e4m3.h"
#include "kernels/fp8/quantize_fp8.h"

/* The lowest bytes of all lanes. */
MGK_INLINE void put_codes(uint8_t *p, int64_t lanes, vu codes)
{
#if MGK_WIDTH == 16 && defined(__AVX512BW__)
    _mm512_mask_cvtepi32_storeu_epi8(p, (__mmask16)((1u << lanes) - 1), (__m512i)codes);
#else
#if MGK_WIDTH == 8 && defined(__AVX2__)
    if (lanes == 8) {
        const __m256i w = (__m256i)codes;
        const __m128i h =
            _mm_packus_epi32(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
        _mm_storel_epi64((__m128i *)(void *)p, _mm_packus_epi16(h, h));
        return;
    }
#endif
    for (int64_t i = 0; i < lanes; i++)
        p[i] = (uint8_t)codes[i];
#endif
}

/* As mgk_to_e4m3 has it, once with the masks that the compilers do not find. */
#if MGK_WIDTH == 16 && defined(__AVX512BW__)
MGK_INLINE vu codes_of(vf v)
{
    const __m512i all = (__m512i)v, size = _mm512_and_si512(all, _mm512_set1_epi32(INT32_MAX));
    const __m512i bits = _mm512_min_epi32(size, _mm512_set1_epi32(MGK_E4M3_MAX_BITS));
    const vu steps = (vu)((vf)bits + v_set(16384.0f)) - MGK_E4M3_STEPS_BITS;
    const __mmask16 odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(1 << 20));
    const __m512i half = _mm512_set1_epi32(0x7ffff - (MGK_E4M3_REBIAS << 23));
    __m512i code = _mm512_add_epi32(bits, half);
    code = _mm512_srli_epi32(_mm512_mask_sub_epi32(code, odd, code, _mm512_set1_epi32(-1)), 20);
    const __m512i first = _mm512_set1_epi32((MGK_E4M3_REBIAS + 1) << 23); /* normal one */
    code = _mm512_mask_mov_epi32(code, _mm512_cmplt_epi32_mask(bits, first), (__m512i)steps);
    code = (__m512i)((vu)code | ((vu)all >> 24 & 0x80));
    return (vu)_mm512_mask_mov_epi32(code,
                                     _mm512_cmpge_epi32_mask(size, _mm512_set1_epi32(0x7f800000)),
                                     _mm512_set1_epi32(MGK_E4M3_NAN));
}

MGK_INLINE vf larger(vf size, vf largest)
{
    return (vf)_mm512_max_epi32((__m512i)size, (__m512i)largest);
}
#else
MGK_INLINE vu codes_of(vf v)
{
    const vf size = v_abs(v), bounded = v_min(size, v_set(448.0f));
    const vu bits = (vu)bounded;
    const vu steps = (vu)(bounded + v_set(16384.0f)) - MGK_E4M3_STEPS_BITS;
    const vu normal = ((bits + 0x7ffff + (bits >> 20 & 1)) >> 20) - (MGK_E4M3_REBIAS << 3);
    const vf code = v_select(bounded < v_set(0x1p-6f), (vf)steps, (vf)normal);
    const vu with_sign = (vu)code | ((vu)v >> 24 & 0x80);
    const vf number = (vf)with_sign, none = (vf)((vu){0} + MGK_E4M3_NAN);
    return (vu)v_select(size < v_set(INFINITY), number, none);
}

MGK_INLINE vf larger(vf size, vf largest)
{
    return v_select((vi)size > (vi)largest, size, largest);
}
#endif

/* The largest size in a row. As integers sizes have the same order, and what is not finite comes last: that is seen
 * behind the loop, and left out in another. */
MGK_INLINE float largest_of(v_real x, int64_t cols)
{
    float lanes[MGK_WIDTH], highest = 0;
    vf largest = v_set(0.0f), finite = largest;
    MGK_EACH_VECTOR(i, cols, { largest = larger(v_abs(v_get(x, i)), largest); });
    v_store(lanes, largest);
    bool all_finite = true;
    for (int i = 0; i < MGK_WIDTH; i++) {
        all_finite = all_finite && lanes[i] < INFINITY;
        highest = lanes[i] > highest ? lanes[i] : highest;
    }
    if (all_finite)
        return highest;
    MGK_EACH_VECTOR(i, cols, {
        const vf size = v_abs(v_get(x, i));
        finite = v_max(v_select(size < v_set(INFINITY), size, v_set(0.0f)), finite);
    });
    return v_highest(finite);
}

MGK_INLINE void quantize_rows(const mgk_quantize_fp8_args *a, int64_t first, int64_t end,
                              int32_t type)
{
    for (int64_t r = first; r < end; r++) {
        const v_real x = v_from(a->x, r * a->ldx, type);
        uint8_t *codes = MGK_B(a->codes) + r * a->ldc;
        const int e = mgk_e4m3_exponent(largest_of(x, a->cols));
        const vf inverse = v_set(mgk_power_of_two(-e));
        MGK_F(a->scale)[r] = mgk_power_of_two(e);
        MGK_EACH_VECTOR(i, a->cols,
                        { put_codes(codes + i, v_lanes, codes_of(v_get(x, i) * inverse)); });
    }
}

static void quantize_block(void *arg, int64_t block, int thread)
{
    const mgk_quantize_fp8_args *a = arg;
    (void)thread;
    const int64_t rows = mgk_rows_a_block(a->cols), end = mgk_min(a->rows, (block + 1) * rows);
    V_BY_DTYPE(a->x.dtype, quantize_rows, a, block * rows, end);
}

MGK_LAUNCH(quantize_fp8)
{
    const mgk_quantize_fp8_args *a = args;
    mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->cols)), a->rows * a->cols, quantize_block,
            (void *)args);
}
