/* SPDX-License-Identifier: MIT
 * matmul: the shape rules and the definition. */
#include "kernels/common/activation.h"
#include "kernels/common/bf16.h"
#include "kernels/matmul/matmul.h"

static bool extent_fits(int64_t rows, int64_t ld, int64_t batch, int64_t stride)
{
    int64_t one, all;
    return !__builtin_mul_overflow(rows, ld, &one) &&
           !__builtin_mul_overflow(batch, stride, &all) && one < INT64_C(1) << 58 &&
           all < INT64_C(1) << 58;
}

bool mgk_matmul_check(const void *args, const char **why)
{
    const mgk_matmul_args *g = args;
    MGK_RULE(g->m >= 0 && g->n >= 0 && g->k >= 0 && g->batch >= 0, "a size is negative");
    MGK_RULE((g->trans_a | 1) == 1 && (g->trans_b | 1) == 1, "trans_a and trans_b must be 0 or 1");
    MGK_RULE((g->accumulate | 1) == 1, "accumulate must be 0 or 1");
    MGK_RULE(g->act >= MGK_ACT_NONE && g->act <= MGK_ACT_QUICK_GELU, "unknown activation");
    MGK_RULE(!g->accumulate || (!g->bias.p && g->act == MGK_ACT_NONE),
             "accumulate allows neither bias nor activation");
    MGK_RULE(!g->accumulate || !g->residual.p, "accumulate allows no residual");
    MGK_RULE(!g->before.p || g->residual.p, "before needs residual");
    MGK_RULE(!g->gate.p || (g->residual.p && g->rows_per_sample > 0 && g->gate_stride >= 0),
             "a gate needs residual, rows_per_sample and gate_stride");
    MGK_RULE(!g->gate.p || extent_fits(g->m / g->rows_per_sample + 1, g->gate_stride, 1, g->n),
             "a size overflows");
    MGK_RULE(!g->kept || (g->kept->space && g->batch == 1), "kept needs space, and one item");
    MGK_RULE(g->lda >= (g->trans_a ? g->m : g->k), "lda is smaller than a row of A");
    MGK_RULE(g->ldb >= (g->trans_b ? g->k : g->n), "ldb is smaller than a row of B");
    MGK_RULE(g->ldc >= g->n, "ldc is smaller than a row of C");
    MGK_RULE(g->stride_a >= 0 && g->stride_b >= 0 && g->stride_c >= 0, "a stride is negative");
    MGK_RULE(extent_fits(g->trans_a ? g->k : g->m, g->lda, g->batch, g->stride_a) &&
                 extent_fits(g->trans_b ? g->n : g->k, g->ldb, g->batch, g->stride_b) &&
                 extent_fits(g->m, g->ldc, g->batch, g->stride_c),
             "a size overflows");
    MGK_RULE(mgk_is_f32_or_null(g->bias) && mgk_is_f32_or_null(g->gate),
             "bias and gate must be f32");
    if (g->m == 0 || g->n == 0 || g->batch == 0)
        return true;
    /* items of C follow each other, or stand side by side in wider rows (heads) */
    MGK_RULE(g->batch == 1 || g->stride_c >= (g->m - 1) * g->ldc + g->n ||
                 (g->stride_c >= g->n && g->ldc >= (g->batch - 1) * g->stride_c + g->n),
             "batch items of C overlap");
    MGK_RULE(mgk_is_real(g->c), "C must be f32 or bf16");
    MGK_RULE(!g->residual.p || g->residual.dtype == g->c.dtype, "residual must be as C is");
    MGK_RULE(!g->before.p || g->before.dtype == g->c.dtype, "before must be as C is");
    MGK_RULE(g->k == 0 || (mgk_is_real(g->a) && mgk_is_real(g->b) && g->a.dtype == g->b.dtype),
             "A and B must be both f32 or both bf16");
    MGK_RULE(g->k == 0 || g->c.dtype == MGK_F32 || g->a.dtype == MGK_BF16,
             "a bf16 C needs bf16 A and B");
    return true;
}

static double activation(double x, int32_t act)
{
    switch (act) {
    case MGK_ACT_SILU:
        return mgk_silu(x);
    case MGK_ACT_GELU_TANH:
        return mgk_gelu(x);
    case MGK_ACT_RELU:
        return x < 0 ? 0 : x;
    case MGK_ACT_GELU_ERF:
        return mgk_gelu_erf(x);
    case MGK_ACT_QUICK_GELU:
        return mgk_quick_gelu(x);
    default:
        return x;
    }
}

static double value_at(mgk_buf b, int64_t at)
{
    return (double)(b.dtype == MGK_BF16 ? mgk_from_bf16(MGK_H(b)[at]) : MGK_F(b)[at]);
}

static void put_value(mgk_buf b, int64_t at, double v)
{
    if (b.dtype == MGK_BF16)
        MGK_H(b)[at] = mgk_to_bf16((float)v);
    else
        MGK_F(b)[at] = (float)v;
}

/* What is written for a sum at (row i, column j), `at` in C. */
static double finished(const mgk_matmul_args *g, double sum, int64_t i, int64_t j, int64_t at)
{
    sum *= (double)g->alpha;
    if (g->accumulate)
        return value_at(g->c, at) + sum;
    sum = activation(sum + (g->bias.p ? (double)MGK_F(g->bias)[j] : 0), g->act);
    if (g->before.p)
        put_value(g->before, at, sum);
    if (g->gate.p)
        sum *= (double)MGK_F(g->gate)[i / g->rows_per_sample * g->gate_stride + j];
    return g->residual.p ? value_at(g->residual, at) + sum : sum;
}

void mgk_matmul_ref(const void *args, mgk_exec *x)
{
    const mgk_matmul_args *g = args;
    (void)x;
    const int64_t a_row = g->trans_a ? 1 : g->lda, a_col = g->trans_a ? g->lda : 1;
    const int64_t b_row = g->trans_b ? 1 : g->ldb, b_col = g->trans_b ? g->ldb : 1;
    for (int64_t t = 0; t < g->batch; t++)
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t j = 0; j < g->n; j++) {
                double sum = 0;
                for (int64_t k = 0; k < g->k; k++)
                    sum += value_at(g->a, t * g->stride_a + i * a_row + k * a_col) *
                           value_at(g->b, t * g->stride_b + k * b_row + j * b_col);
                const int64_t at = t * g->stride_c + i * g->ldc + j;
                put_value(g->c, at, finished(g, sum, i, j, at));
            }
}
