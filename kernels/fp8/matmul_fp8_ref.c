/* SPDX-License-Identifier: MIT
 * matmul_fp8: the shape rules, and the definition: codes times scales, which bf16 holds exactly, and matmul's. */
#include "kernels/common/bf16.h"
#include "kernels/common/check.h"
#include "kernels/fp8/decoded.h"
#include "kernels/fp8/e4m3.h"

void mgk_matmul_ref(const void *args, mgk_exec *x);

static bool codes_good(mgk_buf codes, mgk_buf scale, int64_t rows, int64_t k)
{
    return codes.dtype == MGK_U8 && (codes.p || rows == 0 || k == 0) && mgk_is_f32_of(scale, rows);
}

bool mgk_matmul_fp8_check(const void *args, const char **why)
{
    const mgk_matmul_fp8_args *g = args;
    MGK_RULE(g->m >= 0 && g->n >= 0 && g->k >= 0, "a size is negative");
    MGK_RULE(g->lda >= g->k, "lda is smaller than a row of A");
    MGK_RULE(g->ldb >= g->k, "ldb is smaller than a row of B");
    MGK_RULE(MGK_EXTENTS_OK(g->m, g->lda, 2) && MGK_EXTENTS_OK(g->n, g->ldb, 2),
             "a size overflows");
    MGK_RULE(codes_good(g->a, g->a_scale, g->m, g->k), "A: u8, a_scale: f32");
    MGK_RULE(codes_good(g->b, g->b_scale, g->n, g->k), "B: u8, b_scale: f32");
    const mgk_matmul_args product = mgk_fp8_product(g, g->c.p);
    return mgk_matmul_check(&product, why);
}

size_t mgk_matmul_fp8_workspace(const void *args, int threads)
{
    const mgk_matmul_args product = mgk_fp8_product(args, NULL);
    return mgk_fp8_workspace(args, mgk_matmul_workspace(&product, threads));
}

static void decode(mgk_buf to, mgk_buf codes, mgk_buf scale, int64_t rows, int64_t k, int64_t ld)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < mgk_fp8_padded(k); j++) {
            const float v = j < k ? mgk_from_e4m3(MGK_B(codes)[i * ld + j]) * MGK_F(scale)[i] : 0;
            MGK_H(to)[i * mgk_fp8_stride(k) + j] = mgk_to_bf16(v);
        }
}

void mgk_matmul_fp8_ref(const void *args, mgk_exec *x)
{
    const mgk_matmul_fp8_args *g = args;
    const mgk_matmul_args product = mgk_fp8_product(g, x->workspace);
    decode(product.a, g->a, g->a_scale, g->m, g->k, g->lda);
    decode(product.b, g->b, g->b_scale, g->n, g->k, g->ldb);
    mgk_matmul_ref(&product, x);
}
