/* SPDX-License-Identifier: MIT
 * matmul by cuBLASLt, and what its epilogues cannot do by a kernel behind it.
 *
 * Where matmul_sm90.h says so, and the GPU has warpgroups, these do it instead.
 *
 * cuBLASLt counts columns first: C = A B of ours is C^T = B^T A^T of its. The algorithm of a shape is the first
 * that its heuristic offers, and is kept. None of these adds in an order that depends on timing.
 */
#include "kernels/matmul/cublaslt_api.h"
#include "kernels/matmul/matmul_cublaslt.h"
#include "kernels/matmul/matmul_cuda.h"
#include "kernels/matmul/matmul_sm90.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>

extern "C" void mgk_matmul_cuda(const void *args, mgk_exec *x);
extern "C" size_t mgk_matmul_cuda_workspace(const void *args, int threads);
extern "C" bool mgk_matmul_by_warpgroups(const mgk_matmul_args *g, mgk_exec *x);

namespace
{

enum { SHAPES = 4096, OWN_WORKSPACE = 32 << 20 };

/* What the choice depends on. */
struct shape {
    int64_t m, n, k, batch, lda, ldb, ldc, stride_a, stride_b, stride_c;
    int32_t trans_a, trans_b, in, out;
    uint32_t align_a, align_b, align_c;
    int32_t used;
};

struct choice {
    shape of;
    cublasLtMatmulAlgo_t algo;
};

struct library {
    mgk_cublaslt_api api; /* for products of codes: of them, what follows is known by other types */
    void *file;
    cublasLtHandle_t handle;
    decltype(&cublasLtCreate) create;
    decltype(&cublasLtDestroy) destroy;
    decltype(&cublasLtMatmul) matmul;
    decltype(&cublasLtMatmulDescInit_internal) desc_init;
    decltype(&cublasLtMatmulDescSetAttribute) desc_set;
    decltype(&cublasLtMatrixLayoutInit_internal) layout_init;
    decltype(&cublasLtMatrixLayoutSetAttribute) layout_set;
    decltype(&cublasLtMatmulPreferenceInit_internal) preference_init;
    decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
    decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
    choice kept[SHAPES];
};

static_assert(offsetof(library, api) == 0, "products of codes find it there");

template <typename F> bool find(void *file, const char *name, F *out)
{
    void *p = dlsym(file, name);
    memcpy(out, &p, sizeof p);
    return p != NULL;
}

bool find_all(library *l)
{
    return find(l->file, "cublasLtCreate", &l->create) &&
           find(l->file, "cublasLtDestroy", &l->destroy) &&
           find(l->file, "cublasLtMatmul", &l->matmul) &&
           find(l->file, "cublasLtMatmulDescInit_internal", &l->desc_init) &&
           find(l->file, "cublasLtMatmulDescSetAttribute", &l->desc_set) &&
           find(l->file, "cublasLtMatrixLayoutInit_internal", &l->layout_init) &&
           find(l->file, "cublasLtMatrixLayoutSetAttribute", &l->layout_set) &&
           find(l->file, "cublasLtMatmulPreferenceInit_internal", &l->preference_init) &&
           find(l->file, "cublasLtMatmulPreferenceSetAttribute", &l->preference_set) &&
           find(l->file, "cublasLtMatmulAlgoGetHeuristic", &l->heuristic);
}

void find_api(library *l)
{
    mgk_cublaslt_api *a = &l->api;
    a->handle = l->handle;
    find(l->file, "cublasLtGetVersion", &a->version);
    find(l->file, "cublasLtMatmulDescInit_internal", &a->product_init);
    find(l->file, "cublasLtMatmulDescSetAttribute", &a->product_set);
    find(l->file, "cublasLtMatrixLayoutInit_internal", &a->layout_init);
    find(l->file, "cublasLtMatmulPreferenceInit_internal", &a->wish_init);
    find(l->file, "cublasLtMatmulPreferenceSetAttribute", &a->wish_set);
    find(l->file, "cublasLtMatmulAlgoGetHeuristic", &a->heuristic);
    find(l->file, "cublasLtMatmul", &a->matmul);
}

/* The power of two, at most 256, that divides an address. */
uint32_t alignment(const void *p)
{
    uint32_t a = (uint32_t)((uintptr_t)p & 255);
    return a ? a & (0u - a) : 256;
}

struct product {
    cublasLtMatmulDescOpaque_t desc;
    cublasLtMatrixLayoutOpaque_t a, b, c;
};

bool layout(library *l, cublasLtMatrixLayoutOpaque_t *out, int32_t dtype, int64_t rows,
            int64_t columns, int64_t ld, int64_t batch, int64_t stride)
{
    int32_t count = (int32_t)batch;
    return !l->layout_init(out, sizeof *out, dtype == MGK_BF16 ? CUDA_R_16BF : CUDA_R_32F,
                           (uint64_t)rows, (uint64_t)columns, ld) &&
           !l->layout_set(out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count) &&
           !l->layout_set(out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride);
}

bool describe(library *l, product *p, const shape *s)
{
    cublasOperation_t first = s->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                      second = s->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    return !l->desc_init(&p->desc, sizeof p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) &&
           !l->desc_set(&p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first) &&
           !l->desc_set(&p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second) &&
           layout(l, &p->a, s->in, s->trans_b ? s->k : s->n, s->trans_b ? s->n : s->k, s->ldb,
                  s->batch, s->stride_b) &&
           layout(l, &p->b, s->in, s->trans_a ? s->m : s->k, s->trans_a ? s->k : s->m, s->lda,
                  s->batch, s->stride_a) &&
           layout(l, &p->c, s->out, s->n, s->m, s->ldc, s->batch, s->stride_c);
}

bool ask(library *l, product *p, const shape *s, cublasLtMatmulAlgo_t *out)
{
    cublasLtMatmulPreferenceOpaque_t want;
    cublasLtMatmulHeuristicResult_t found;
    size_t room = OWN_WORKSPACE;
    int count = 0;
    if (l->preference_init(&want, sizeof want) ||
        l->preference_set(&want, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room) ||
        l->preference_set(&want, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &s->align_b,
                          sizeof s->align_b) ||
        l->preference_set(&want, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &s->align_a,
                          sizeof s->align_a) ||
        l->preference_set(&want, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &s->align_c,
                          sizeof s->align_c) ||
        l->preference_set(&want, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &s->align_c,
                          sizeof s->align_c) ||
        l->heuristic(l->handle, &p->desc, &p->a, &p->b, &p->c, &p->c, &want, 1, &found, &count) ||
        count < 1)
        return false;
    *out = found.algo;
    return true;
}

/* The kept choice for a shape; asked for when it is new. NULL: cuBLASLt has none. */
const cublasLtMatmulAlgo_t *choose(library *l, product *p, const shape *s)
{
    choice *c = &l->kept[mgk_cublaslt_place(s, sizeof *s, SHAPES)];
    if (memcmp(&c->of, s, sizeof *s) == 0)
        return &c->algo;
    memset(c, 0, sizeof *c);
    if (!ask(l, p, s, &c->algo))
        return NULL;
    c->of = *s;
    return &c->algo;
}

/* All of matmul.h behind the product itself: sums (batch, m, n) of rows `ld` and items `stride` apart. */
__global__ void finish_kernel(const mgk_matmul_args g, const float *sums, int64_t ld,
                              int64_t stride)
{
    int64_t j = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= g.n)
        return;
    for (int64_t row = blockIdx.y; row < g.m * g.batch; row += gridDim.y) {
        int64_t item = row / g.m, i = row % g.m;
        float v = sums[item * stride + i * ld + j];
        finish<1>(g, &v, item, i, j);
    }
}

bool more_than_product(const mgk_matmul_args *g)
{
    return g->bias.p || g->act != MGK_ACT_NONE || g->residual.p;
}

/* Whether the sums go through memory of their own, so that what is bf16 is rounded once. */
bool apart(const mgk_matmul_args *g)
{
    return more_than_product(g) && g->c.dtype == MGK_BF16;
}

} // namespace

extern "C" size_t mgk_cublaslt_bytes(void)
{
    return sizeof(library);
}

extern "C" int mgk_cublaslt_open(void *memory, char *why, size_t size)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
    library *l = (library *)memory;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !l->file; i++)
        l->file = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!l->file)
        snprintf(why, size, "cuBLASLt was not found: %.200s", dlerror());
    else if (!find_all(l) || l->create(&l->handle) != CUBLAS_STATUS_SUCCESS)
        snprintf(why, size, "cuBLASLt was found but does not start");
    else {
        find_api(l);
        return 1;
    }
    l->handle = NULL;
    mgk_cublaslt_close(memory);
    return 0;
}

extern "C" void mgk_cublaslt_close(void *memory)
{
    library *l = (library *)memory;
    if (l->handle)
        l->destroy(l->handle);
    if (l->file)
        dlclose(l->file);
    l->handle = NULL;
    l->file = NULL;
}

extern "C" size_t mgk_matmul_cublaslt_workspace(const void *args, int threads)
{
    const mgk_matmul_args *g = (const mgk_matmul_args *)args;
    size_t own = mgk_matmul_cuda_workspace(args, threads);
    size_t sums = OWN_WORKSPACE + (apart(g) ? (size_t)(g->m * g->n * g->batch) * sizeof(float) : 0);
    return own > sums ? own : sums;
}

extern "C" void mgk_matmul_cublaslt(const void *args, mgk_exec *x)
{
    const mgk_matmul_args *g = (const mgk_matmul_args *)args;
    library *l = (library *)x->blas;
    bool through = apart(g);
    float *sums = (float *)((char *)x->workspace + OWN_WORKSPACE);
    void *c = through ? (void *)sums : g->c.p;
    int64_t ld = through ? g->n : g->ldc, stride = through ? g->m * g->n : g->stride_c;
    float beta = g->accumulate ? 1.0f : 0.0f;
    shape s;
    product p;
    if (mgk_product_by_warpgroups(g) && mgk_matmul_by_warpgroups(g, x))
        return;
    if (!l || g->m == 0 || g->n == 0 || g->k == 0 || g->batch == 0 || g->batch > 0x7fffffff) {
        mgk_matmul_cuda(args, x);
        return;
    }
    memset(&s, 0, sizeof s);
    s.m = g->m;
    s.n = g->n;
    s.k = g->k;
    s.batch = g->batch;
    s.lda = g->lda;
    s.ldb = g->ldb;
    s.ldc = ld;
    s.stride_a = g->stride_a;
    s.stride_b = g->stride_b;
    s.stride_c = stride;
    s.trans_a = g->trans_a;
    s.trans_b = g->trans_b;
    s.in = g->a.dtype;
    s.out = through ? MGK_F32 : g->c.dtype;
    s.align_a = alignment(g->a.p);
    s.align_b = alignment(g->b.p);
    s.align_c = alignment(c);
    s.used = 1;
    const cublasLtMatmulAlgo_t *algo = describe(l, &p, &s) ? choose(l, &p, &s) : NULL;
    if (!algo || l->matmul(l->handle, &p.desc, &g->alpha, g->b.p, &p.a, g->a.p, &p.b, &beta, c,
                           &p.c, c, &p.c, algo, x->workspace, OWN_WORKSPACE,
                           (cudaStream_t)x->stream) != CUBLAS_STATUS_SUCCESS) {
        mgk_matmul_cuda(args, x);
        return;
    }
    if (!more_than_product(g))
        return;
    int64_t rows = g->m * g->batch;
    dim3 grid((unsigned)((g->n + MGK_BLOCK - 1) / MGK_BLOCK),
              (unsigned)(rows < 65535 ? rows : 65535));
    mgk_matmul_args after = *g;
    after.alpha = 1; /* it is in the sums */
    MGK_LAUNCH(x, finish_kernel, grid, MGK_BLOCK, 0, after, (const float *)c, ld, stride);
}
