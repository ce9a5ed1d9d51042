/* SPDX-License-Identifier: MIT
 * matmul by cuBLASLt, and what its epilogues cannot do by a kernel behind it (matmul_cublaslt.cu).
 *
 * Where matmul_sm90.h says so, and the GPU has warpgroups, these do it instead. What cuBLASLt refuses, and all where it is
 * not there, is left to "sm90", which takes the best of the library's own that the GPU and the dtype allow. None of these
 * adds in an order that depends on timing. */
#include "kernels/matmul/cublaslt_api.h"
#include "kernels/matmul/matmul_sm90.h"

#include <string.h>

void mgk_matmul_cublaslt(const void *args, mgk_exec *x);
size_t mgk_matmul_cublaslt_workspace(const void *args, int threads);
void mgk_matmul_sm90(const void *args, mgk_exec *x);
size_t mgk_matmul_sm90_workspace(const void *args, int threads);
bool mgk_matmul_by_warpgroups(const mgk_matmul_args *g, mgk_exec *x);
void mgk_matmul_finish(const mgk_matmul_args *g, const float *sums, int64_t ld, int64_t stride,
                       mgk_exec *x);

static bool more_than_product(const mgk_matmul_args *g)
{
    return g->bias.p || g->act != MGK_ACT_NONE || g->residual.p;
}

/* Whether the sums go through memory of their own, so that what is bf16 is rounded once. */
static bool apart(const mgk_matmul_args *g)
{
    return more_than_product(g) && g->c.dtype == MGK_BF16;
}

/* The power of two, at most 256, that divides an address. */
static uint32_t alignment(const void *p)
{
    const uint32_t a = (uint32_t)((uintptr_t)p & 255);
    return a ? a & (0u - a) : 256;
}

static int32_t type_of(int32_t dtype)
{
    return dtype == MGK_BF16 ? MGK_CUBLASLT_BF16 : MGK_CUBLASLT_F32;
}

/* Of the sums, wherever they go. */
static mgk_cublaslt_shape shape_of(const mgk_matmul_args *g, const void *c)
{
    const bool through = apart(g);
    return (mgk_cublaslt_shape){.m = g->m,
                                .n = g->n,
                                .k = g->k,
                                .batch = g->batch,
                                .lda = g->lda,
                                .ldb = g->ldb,
                                .ldc = through ? g->n : g->ldc,
                                .stride_a = g->stride_a,
                                .stride_b = g->stride_b,
                                .stride_c = through ? g->m * g->n : g->stride_c,
                                .trans_a = g->trans_a,
                                .trans_b = g->trans_b,
                                .in = type_of(g->a.dtype),
                                .out = type_of(through ? MGK_F32 : g->c.dtype),
                                .align_a = alignment(g->a.p),
                                .align_b = alignment(g->b.p),
                                .align_c = alignment(c),
                                .used = 1};
}

typedef struct stored {
    int32_t type;
    int64_t rows, columns, ld, stride;
} stored;

static bool lay_out(const mgk_cublaslt_api *l, mgk_cublaslt_words *out, const stored *s,
                    int64_t batch)
{
    const int32_t count = (int32_t)batch;
    return !l->layout_init(out, sizeof *out, s->type, (uint64_t)s->rows, (uint64_t)s->columns,
                           s->ld) &&
           !l->layout_set(out, MGK_CUBLASLT_BATCH, &count, sizeof count) &&
           !l->layout_set(out, MGK_CUBLASLT_STRIDE, &s->stride, sizeof s->stride);
}

static bool describe(const mgk_cublaslt_api *l, mgk_cublaslt_call *c, const mgk_cublaslt_shape *s)
{
    const int32_t first = s->trans_b, second = s->trans_a; /* 0: as it is; MGK_CUBLASLT_TRANSPOSE */
    const stored a = {s->in, s->trans_b ? s->k : s->n, s->trans_b ? s->n : s->k, s->ldb,
                      s->stride_b};
    const stored b = {s->in, s->trans_a ? s->m : s->k, s->trans_a ? s->k : s->m, s->lda,
                      s->stride_a};
    const stored result = {s->out, s->n, s->m, s->ldc, s->stride_c};
    return !l->product_init(&c->product, sizeof c->product, MGK_CUBLASLT_COMPUTE_F32,
                            MGK_CUBLASLT_F32) &&
           !l->product_set(&c->product, MGK_CUBLASLT_TRANS_A, &first, sizeof first) &&
           !l->product_set(&c->product, MGK_CUBLASLT_TRANS_B, &second, sizeof second) &&
           lay_out(l, &c->layout_a, &a, s->batch) && lay_out(l, &c->layout_b, &b, s->batch) &&
           lay_out(l, &c->layout_c, &result, s->batch);
}

size_t mgk_matmul_cublaslt_workspace(const void *args, int threads)
{
    const mgk_matmul_args *g = args;
    const size_t own = mgk_matmul_sm90_workspace(args, threads);
    const size_t sums =
        MGK_CUBLASLT_ROOM + (apart(g) ? (size_t)(g->m * g->n * g->batch) * sizeof(float) : 0);
    return own > sums ? own : sums;
}

static bool takes(const mgk_matmul_args *g)
{
    return g->m != 0 && g->n != 0 && g->k != 0 && g->batch != 0 && g->batch <= 0x7fffffff;
}

void mgk_matmul_cublaslt(const void *args, mgk_exec *x)
{
    const mgk_matmul_args *g = args;
    mgk_cublaslt_api *l = x->blas;
    if (mgk_product_by_warpgroups(g) && mgk_matmul_by_warpgroups(g, x))
        return;
    if (!l || !takes(g)) {
        mgk_matmul_sm90(args, x);
        return;
    }
    void *c = apart(g) ? (char *)x->workspace + MGK_CUBLASLT_ROOM : g->c.p;
    const mgk_cublaslt_shape s = shape_of(g, c);
    mgk_cublaslt_call call = {.a = g->b.p,
                              .b = g->a.p,
                              .c = c,
                              .alpha = g->alpha,
                              .beta = g->accumulate ? 1.0f : 0.0f,
                              .workspace = x->workspace,
                              .stream = x->stream};
    if (!describe(l, &call, &s) || !mgk_cublaslt_multiply(l, &s, &call))
        mgk_matmul_sm90(args, x);
    else if (more_than_product(g))
        mgk_matmul_finish(g, c, s.ldc, s.stride_c, x);
}
