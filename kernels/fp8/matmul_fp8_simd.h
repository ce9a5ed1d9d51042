/* SPDX-License-Identifier: MIT
 * matmul_fp8: A and B decoded on vectors, then the bf16 product of the same processors; included once a variant. */
#include "kernels/common/bf16.h"
#include "kernels/common/real_simd.h"
#include "kernels/fp8/decoded.h"
#include "kernels/fp8/e4m3.h"

#define PRODUCT MGK_PASTE(mgk_, matmul, MGK_SUFFIX)
void PRODUCT(const void *args, mgk_exec *x);

typedef struct side {
    mgk_buf codes, scale, to;
    int64_t rows, ld, blocks;
} side;

typedef struct operands {
    side a, b;
    int64_t k, block_rows;
} operands;

MGK_INLINE vu take_codes(const uint8_t *p, int64_t lanes)
{
#if MGK_WIDTH == 16 && defined(__AVX512BW__)
    const __mmask16 mask = (__mmask16)((1u << lanes) - 1);
    return (vu)_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, p));
#else
#if MGK_WIDTH == 8 && defined(__AVX2__)
    if (lanes == 8)
        return (vu)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
#endif
    vu codes = {0};
    for (int64_t i = 0; i < lanes; i++)
        codes[i] = p[i];
    return codes;
#endif
}

/* As mgk_from_e4m3 has it, times a scale. */
MGK_INLINE vf values_of(vu codes, vf scale)
{
    const vu rest = codes & 0x7f;
    const vf steps = (vf)(rest | MGK_E4M3_STEPS_BITS) - v_set(16384.0f);
    const vf normal = (vf)((rest << 20) + ((uint32_t)MGK_E4M3_REBIAS << 23));
    const vf size = v_select(rest < MGK_E4M3_NORMAL, steps, normal) * scale;
    const vf value = (vf)((vu)size | (codes & 0x80) << 24);
    return v_select(rest == MGK_E4M3_NAN, v_set(NAN), value);
}

static void decode_block(void *arg, int64_t block, int thread)
{
    const operands *o = arg;
    const side *s = block < o->a.blocks ? &o->a : &o->b;
    const int64_t first = (block - (s == &o->a ? 0 : o->a.blocks)) * o->block_rows;
    (void)thread;
    for (int64_t r = first; r < mgk_min(s->rows, first + o->block_rows); r++) {
        const uint8_t *codes = MGK_B(s->codes) + r * s->ld;
        uint16_t *to = MGK_H(s->to) + r * mgk_fp8_stride(o->k);
        const vf scale = v_set(MGK_F(s->scale)[r]);
        MGK_EACH_VECTOR(i, o->k, {
            v_to_bf16(to + i, v_lanes, values_of(take_codes(codes + i, v_lanes), scale));
        });
        memset(to + o->k, 0, (size_t)(mgk_fp8_padded(o->k) - o->k) * sizeof *to);
    }
}

MGK_LAUNCH(matmul_fp8)
{
    const mgk_matmul_fp8_args *g = args;
    const mgk_matmul_args product = mgk_fp8_product(g, x->workspace);
    mgk_exec behind = *x;
    operands o = {.a = {g->a, g->a_scale, product.a, g->m, g->lda},
                  .b = {g->b, g->b_scale, product.b, g->n, g->ldb},
                  .k = g->k,
                  .block_rows = mgk_rows_a_block(g->k)};
    o.a.blocks = mgk_div_up(g->m, o.block_rows);
    o.b.blocks = mgk_div_up(g->n, o.block_rows);
    if (g->k > 0)
        mgk_for(x, o.a.blocks + o.b.blocks, (g->m + g->n) * g->k, decode_block, &o);
    behind.workspace = (char *)x->workspace + mgk_fp8_decoded_bytes(g);
    behind.workspace_bytes -= mgk_fp8_decoded_bytes(g);
    PRODUCT(&product, &behind);
}
