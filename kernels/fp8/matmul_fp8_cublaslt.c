/* SPDX-License-Identifier: MIT
 * matmul_fp8 by cuBLASLt, which multiplies codes with a vector of scales each (compute capability 9.0, cuBLASLt 12.9 or
 * later). It gets products that have nothing behind them: bias, activation and residuals are done in one kernel by "sm90",
 * which also does what cuBLASLt has no algorithm for.
 *
 * cuBLASLt counts columns first: its A is our B, transposed, and its product C' = B A'. */
#include "kernels/fp8/matmul_fp8.h"
#include "kernels/matmul/cublaslt_api.h"

enum { ALIGNMENT = 16 };

void mgk_matmul_fp8_cublaslt(const void *args, mgk_exec *x);
size_t mgk_matmul_fp8_cublaslt_workspace(const void *args, int threads);
void mgk_matmul_fp8_sm90(const void *args, mgk_exec *x);
size_t mgk_matmul_fp8_sm90_workspace(const void *args, int threads);

static bool in_sixteens(mgk_buf b)
{
    return (uintptr_t)b.p % ALIGNMENT == 0;
}

static bool takes(const mgk_matmul_fp8_args *g)
{
    const int64_t most = INT32_MAX;
    return !g->bias.p && g->act == MGK_ACT_NONE && !g->residual.p && g->m > 0 && g->n > 0 &&
           g->k > 0 && g->m <= most && g->n <= most && g->k <= most && g->n % ALIGNMENT == 0 &&
           g->k % ALIGNMENT == 0 && g->lda % ALIGNMENT == 0 && g->ldb % ALIGNMENT == 0 &&
           g->ldc % ALIGNMENT == 0 && in_sixteens(g->a) && in_sixteens(g->b) && in_sixteens(g->c);
}

static bool set_product(const mgk_cublaslt_api *l, mgk_cublaslt_call *c, int attribute,
                        int32_t value)
{
    return !l->product_set(&c->product, attribute, &value, sizeof value);
}

static bool set_scale(const mgk_cublaslt_api *l, mgk_cublaslt_call *c, int attribute,
                      const void *scale)
{
    return !l->product_set(&c->product, attribute, &scale, sizeof scale);
}

static bool describe(const mgk_cublaslt_api *l, mgk_cublaslt_call *c, const mgk_matmul_fp8_args *g,
                     int out)
{
    return !l->product_init(&c->product, sizeof c->product, MGK_CUBLASLT_COMPUTE_F32,
                            MGK_CUBLASLT_F32) &&
           set_product(l, c, MGK_CUBLASLT_TRANS_A, MGK_CUBLASLT_TRANSPOSE) &&
           set_product(l, c, MGK_CUBLASLT_A_SCALE_MODE, MGK_CUBLASLT_SCALE_OUTER) &&
           set_product(l, c, MGK_CUBLASLT_B_SCALE_MODE, MGK_CUBLASLT_SCALE_OUTER) &&
           set_scale(l, c, MGK_CUBLASLT_A_SCALE, g->b_scale.p) &&
           set_scale(l, c, MGK_CUBLASLT_B_SCALE, g->a_scale.p) &&
           !l->layout_init(&c->layout_a, sizeof c->layout_a, MGK_CUBLASLT_E4M3, (uint64_t)g->k,
                           (uint64_t)g->n, g->ldb) &&
           !l->layout_init(&c->layout_b, sizeof c->layout_b, MGK_CUBLASLT_E4M3, (uint64_t)g->k,
                           (uint64_t)g->m, g->lda) &&
           !l->layout_init(&c->layout_c, sizeof c->layout_c, out, (uint64_t)g->n, (uint64_t)g->m,
                           g->ldc);
}

static bool multiply(const mgk_matmul_fp8_args *g, mgk_exec *x)
{
    mgk_cublaslt_api *l = x->blas;
    const int out = g->c.dtype == MGK_BF16 ? MGK_CUBLASLT_BF16 : MGK_CUBLASLT_F32;
    const mgk_cublaslt_shape s = {.m = g->m,
                                  .n = g->n,
                                  .k = g->k,
                                  .batch = 1,
                                  .lda = g->lda,
                                  .ldb = g->ldb,
                                  .ldc = g->ldc,
                                  .trans_b = 1,
                                  .in = MGK_CUBLASLT_E4M3,
                                  .out = out,
                                  .align_a = ALIGNMENT,
                                  .align_b = ALIGNMENT,
                                  .align_c = ALIGNMENT,
                                  .used = 1};
    mgk_cublaslt_call call = {.a = g->b.p,
                              .b = g->a.p,
                              .c = g->c.p,
                              .alpha = 1,
                              .workspace = x->workspace,
                              .stream = x->stream};
    return takes(g) && l && l->version && l->version() >= MGK_CUBLASLT_OUTER_SCALES &&
           describe(l, &call, g, out) && mgk_cublaslt_multiply(l, &s, &call);
}

size_t mgk_matmul_fp8_cublaslt_workspace(const void *args, int threads)
{
    const size_t behind = mgk_matmul_fp8_sm90_workspace(args, threads);
    return takes(args) && behind < MGK_CUBLASLT_ROOM ? MGK_CUBLASLT_ROOM : behind;
}

void mgk_matmul_fp8_cublaslt(const void *args, mgk_exec *x)
{
    if (!multiply(args, x))
        mgk_matmul_fp8_sm90(args, x);
}
