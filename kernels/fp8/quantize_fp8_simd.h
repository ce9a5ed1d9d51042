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

/* As mgk_to_e4m3 has it. */
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

MGK_INLINE void quantize_rows(const mgk_quantize_fp8_args *a, int64_t first, int64_t end,
                              int32_t type)
{
    for (int64_t r = first; r < end; r++) {
        const v_real x = v_from(a->x, r * a->ldx, type);
        uint8_t *codes = MGK_B(a->codes) + r * a->ldc;
        vf largest = v_set(0.0f);
        MGK_EACH_VECTOR(i, a->cols, {
            const vf size = v_abs(v_get(x, i));
            largest = v_max(v_select(size < v_set(INFINITY), size, v_set(0.0f)), largest);
        });
        const int e = mgk_e4m3_exponent(v_highest(largest));
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
