/* SPDX-License-Identifier: MIT
 * matmul_fp8 by cuBLASLt, which multiplies codes with a vector of scales each (compute capability 9.0, cuBLASLt 12.9 or
 * later). It gets products that have nothing behind them: bias, activation and residuals are done in one kernel by "sm90",
 * which also does what cuBLASLt has no algorithm for.
 *
 * cuBLASLt counts columns first: its A is our B, transposed, and its product C' = B A'. */
#include "kernels/fp8/matmul_fp8.h"
#include "kernels/matmul/cublaslt_api.h"

#include <string.h>

enum { ROOM = 32 << 20 /* of the workspace */, ALIGNMENT = 16 };

void mgk_matmul_fp8_cublaslt(const void *args, mgk_exec *x);
size_t mgk_matmul_fp8_cublaslt_workspace(const void *args, int threads);
void mgk_matmul_fp8_sm90(const void *args, mgk_exec *x);
size_t mgk_matmul_fp8_sm90_workspace(const void *args, int threads);

typedef struct described {
    mgk_cublaslt_product product;
    mgk_cublaslt_words a, b, c;
} described;

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

static bool set_product(const mgk_cublaslt_api *l, described *d, int attribute, int32_t value)
{
    return !l->product_set(&d->product, attribute, &value, sizeof value);
}

static bool set_scale(const mgk_cublaslt_api *l, described *d, int attribute, const void *scale)
{
    return !l->product_set(&d->product, attribute, &scale, sizeof scale);
}

static bool describe(const mgk_cublaslt_api *l, described *d, const mgk_matmul_fp8_args *g)
{
    const int out = g->c.dtype == MGK_BF16 ? MGK_CUBLASLT_BF16 : MGK_CUBLASLT_F32;
    return !l->product_init(&d->product, sizeof d->product, MGK_CUBLASLT_COMPUTE_F32,
                            MGK_CUBLASLT_F32) &&
           set_product(l, d, MGK_CUBLASLT_TRANS_A, MGK_CUBLASLT_TRANSPOSE) &&
           set_product(l, d, MGK_CUBLASLT_A_SCALE_MODE, MGK_CUBLASLT_SCALE_OUTER) &&
           set_product(l, d, MGK_CUBLASLT_B_SCALE_MODE, MGK_CUBLASLT_SCALE_OUTER) &&
           set_scale(l, d, MGK_CUBLASLT_A_SCALE, g->b_scale.p) &&
           set_scale(l, d, MGK_CUBLASLT_B_SCALE, g->a_scale.p) &&
           !l->layout_init(&d->a, sizeof d->a, MGK_CUBLASLT_E4M3, (uint64_t)g->k, (uint64_t)g->n,
                           g->ldb) &&
           !l->layout_init(&d->b, sizeof d->b, MGK_CUBLASLT_E4M3, (uint64_t)g->k, (uint64_t)g->m,
                           g->lda) &&
           !l->layout_init(&d->c, sizeof d->c, out, (uint64_t)g->n, (uint64_t)g->m, g->ldc);
}

static bool ask(const mgk_cublaslt_api *l, described *d, mgk_cublaslt_words *algorithm)
{
    mgk_cublaslt_words wish;
    mgk_cublaslt_found found;
    const size_t room = ROOM;
    const uint32_t aligned = ALIGNMENT;
    int count = 0;
    if (l->wish_init(&wish, sizeof wish) ||
        l->wish_set(&wish, MGK_CUBLASLT_WORKSPACE, &room, sizeof room))
        return false;
    for (int matrix = 0; matrix < 4; matrix++)
        if (l->wish_set(&wish, MGK_CUBLASLT_ALIGNMENT_A + matrix, &aligned, sizeof aligned))
            return false;
    if (l->heuristic(l->handle, &d->product, &d->a, &d->b, &d->c, &d->c, &wish, 1, &found,
                     &count) ||
        count < 1 || found.state)
        return false;
    *algorithm = found.algorithm;
    return true;
}

/* The kept algorithm of a shape; asked for when it is new. NULL: cuBLASLt has none. */
static const mgk_cublaslt_words *choose(mgk_cublaslt_api *l, described *d,
                                        const mgk_matmul_fp8_args *g)
{
    const mgk_cublaslt_codes shape = {g->m, g->n, g->k, g->lda, g->ldb, g->ldc, g->c.dtype, 1};
    mgk_cublaslt_kept *kept = &l->kept[mgk_cublaslt_place(&shape, sizeof shape, MGK_CUBLASLT_KEPT)];
    if (memcmp(&kept->of, &shape, sizeof shape)) {
        kept->of = shape;
        kept->good = ask(l, d, &kept->algorithm);
    }
    return kept->good ? &kept->algorithm : NULL;
}

static bool multiply(const mgk_matmul_fp8_args *g, mgk_exec *x)
{
    mgk_cublaslt_api *l = x->blas;
    const float one = 1, zero = 0;
    described d;
    if (!takes(g) || !l || !l->version || l->version() < MGK_CUBLASLT_OUTER_SCALES ||
        !describe(l, &d, g))
        return false;
    const mgk_cublaslt_words *algorithm = choose(l, &d, g);
    return algorithm &&
           !l->matmul(l->handle, &d.product, &one, g->b.p, &d.a, g->a.p, &d.b, &zero, g->c.p, &d.c,
                      g->c.p, &d.c, algorithm, x->workspace, ROOM, x->stream);
}

size_t mgk_matmul_fp8_cublaslt_workspace(const void *args, int threads)
{
    const size_t behind = mgk_matmul_fp8_sm90_workspace(args, threads);
    return takes(args) && behind < ROOM ? ROOM : behind;
}

void mgk_matmul_fp8_cublaslt(const void *args, mgk_exec *x)
{
    if (!multiply(args, x))
        mgk_matmul_fp8_sm90(args, x);
}
