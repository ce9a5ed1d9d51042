/* SPDX-License-Identifier: MIT
 * cuBLASLt as far as products use it, played by the host: a library that tests open in its place. It checks what it is
 * asked by NVIDIA's rules, has some algorithms for each shape, and multiplies by definition. */
#include "fake_cublaslt.h"

#include "kernels/common/bf16.h"
#include "kernels/fp8/e4m3.h"
#include "kernels/matmul/cublaslt_api.h"

#include <string.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT fake_cublaslt fake_cublaslt_state;
#define state fake_cublaslt_state

enum { REFUSED = 7, FAILED = 14 };

typedef struct matrix {
    int64_t type, rows, columns, ld, stride;
    int32_t batch, reserved;
} matrix;

typedef struct product {
    const float *a_scale, *b_scale;
    int32_t trans_a, trans_b, a_mode, b_mode;
} product;

_Static_assert(sizeof(matrix) <= sizeof(mgk_cublaslt_words), "");
_Static_assert(sizeof(product) <= sizeof(mgk_cublaslt_product), "");

static int refuse(const char *what)
{
    state.refused = state.refused ? state.refused : what;
    return REFUSED;
}

EXPORT size_t cublasLtGetVersion(void)
{
    return state.version;
}

EXPORT int cublasLtCreate(void **handle)
{
    if (state.no_start)
        return 1;
    state.handles++;
    *handle = &state;
    return 0;
}

EXPORT int cublasLtDestroy(void *handle)
{
    state.handles--;
    return handle == &state ? 0 : refuse("a handle");
}

EXPORT int cublasLtMatmulDescInit_internal(void *p, size_t bytes, int compute, int scale)
{
    if (bytes < sizeof(product) || compute != MGK_CUBLASLT_COMPUTE_F32 || scale != MGK_CUBLASLT_F32)
        return refuse("a product");
    memset(p, 0, bytes);
    return 0;
}

EXPORT int cublasLtMatmulDescSetAttribute(void *p, int attribute, const void *value, size_t bytes)
{
    product *to = p;
    void *const places[] = {&to->trans_a, &to->trans_b, &to->a_mode,
                            &to->b_mode,  &to->a_scale, &to->b_scale};
    static const int names[] = {MGK_CUBLASLT_TRANS_A,      MGK_CUBLASLT_TRANS_B,
                                MGK_CUBLASLT_A_SCALE_MODE, MGK_CUBLASLT_B_SCALE_MODE,
                                MGK_CUBLASLT_A_SCALE,      MGK_CUBLASLT_B_SCALE};
    for (int i = 0; i < 6; i++)
        if (names[i] == attribute && bytes == (i < 4 ? sizeof(int32_t) : sizeof(void *))) {
            memcpy(places[i], value, bytes);
            return 0;
        }
    return refuse("an attribute of a product");
}

EXPORT int cublasLtMatrixLayoutInit_internal(void *p, size_t bytes, int type, uint64_t rows,
                                             uint64_t columns, int64_t ld)
{
    const matrix m = {type, (int64_t)rows, (int64_t)columns, ld, 0, 1, 0};
    if (bytes < sizeof m || ld < m.rows)
        return refuse("a layout");
    memcpy(p, &m, sizeof m);
    return 0;
}

EXPORT int cublasLtMatrixLayoutSetAttribute(void *p, int attribute, const void *value, size_t bytes)
{
    matrix *m = p;
    if (attribute == MGK_CUBLASLT_BATCH && bytes == sizeof m->batch)
        memcpy(&m->batch, value, bytes);
    else if (attribute == MGK_CUBLASLT_STRIDE && bytes == sizeof m->stride)
        memcpy(&m->stride, value, bytes);
    else
        return refuse("an attribute of a layout");
    return 0;
}

EXPORT int cublasLtMatmulPreferenceInit_internal(void *p, size_t bytes)
{
    state.reductions = MGK_CUBLASLT_REDUCE_ANY;
    memset(p, 0, bytes);
    return 0;
}

EXPORT int cublasLtMatmulPreferenceSetAttribute(void *p, int attribute, const void *value,
                                                size_t bytes)
{
    const int of = attribute - MGK_CUBLASLT_ALIGNMENT_A;
    (void)p;
    if (attribute == MGK_CUBLASLT_WORKSPACE && bytes == sizeof state.room)
        memcpy(&state.room, value, bytes);
    else if (attribute == MGK_CUBLASLT_REDUCTIONS && bytes == sizeof state.reductions)
        memcpy(&state.reductions, value, bytes);
    else if (of >= 0 && of < 4 && bytes == sizeof state.aligned[0])
        memcpy(&state.aligned[of], value, bytes);
    else
        return refuse("an attribute of what is wanted");
    return 0;
}

/* Products of FP8: transposed times plain, scales as vectors, 16 bytes everywhere. */
static bool codes_fit(const product *p, const matrix *a, const matrix *b, const matrix *c)
{
    return p->trans_a && !p->trans_b && p->a_mode == MGK_CUBLASLT_SCALE_OUTER &&
           p->b_mode == MGK_CUBLASLT_SCALE_OUTER && p->a_scale && p->b_scale && a->rows % 16 == 0 &&
           a->ld % 16 == 0 && b->ld % 16 == 0 && c->rows % 16 == 0 && c->ld % 16 == 0 &&
           a->batch == 1;
}

static bool fits(const product *p, const matrix *a, const matrix *b, const matrix *c)
{
    const int64_t m = p->trans_a ? a->columns : a->rows, k = p->trans_a ? a->rows : a->columns;
    const int64_t n = p->trans_b ? b->rows : b->columns, kb = p->trans_b ? b->columns : b->rows;
    return m == c->rows && n == c->columns && k == kb && a->type == b->type &&
           a->batch == c->batch && b->batch == c->batch &&
           (c->type == MGK_CUBLASLT_F32 || a->type != MGK_CUBLASLT_F32) &&
           (a->type != MGK_CUBLASLT_E4M3 || codes_fit(p, a, b, c));
}

/* Of the shape, so that it is noticed if it is used for another. */
static uint64_t mark(const matrix *a, const matrix *b, const matrix *c)
{
    return (uint64_t)(c->rows * 7919 + c->columns * 104729 + a->rows + b->rows * 31 + c->ld);
}

EXPORT int cublasLtMatmulAlgoGetHeuristic(void *handle, void *p, void *a, void *b, void *c, void *d,
                                          void *wish, int most, mgk_cublaslt_found *found,
                                          int *count)
{
    (void)wish;
    if (handle != &state || c != d || most < 1 || !fits(p, a, b, c))
        return refuse("a shape");
    state.asked++;
    state.most = most;
    *count = state.algorithms < most ? state.algorithms : most;
    memset(found, 0, (size_t)most * sizeof *found);
    for (int i = 0; i < *count; i++) {
        found[i].algorithm.data[0] = (uint64_t)i;
        found[i].algorithm.data[3] = mark(a, b, c);
        found[i].workspace = state.workspace[i];
    }
    return 0;
}

EXPORT int cublasLtMatmulAlgoCheck(void *handle, void *p, void *a, void *b, void *c, void *d,
                                   const mgk_cublaslt_words *algorithm, mgk_cublaslt_found *found)
{
    if (handle != &state || c != d || !fits(p, a, b, c))
        return refuse("a shape that is checked");
    state.checked++;
    const uint64_t i = algorithm->data[0];
    if (algorithm->data[3] != mark(a, b, c) || i >= FAKE_ALGORITHMS || (state.unfit & 1u << i))
        return FAILED;
    memset(found, 0, sizeof *found);
    found->algorithm = *algorithm;
    found->workspace = state.workspace[i];
    return 0;
}

static float value(const void *p, int64_t type, int64_t at)
{
    return type == MGK_CUBLASLT_F32    ? ((const float *)p)[at]
           : type == MGK_CUBLASLT_BF16 ? mgk_from_bf16(((const uint16_t *)p)[at])
                                       : mgk_from_e4m3(((const uint8_t *)p)[at]);
}

typedef struct call {
    product p;
    matrix a, b, c;
    const void *a_at, *b_at, *c_at;
    void *d_at;
    float alpha, beta;
} call;

static void one(const call *w, int64_t item, int64_t i, int64_t j)
{
    const int64_t depth = w->p.trans_a ? w->a.rows : w->a.columns;
    const int64_t at = item * w->c.stride + j * w->c.ld + i;
    float sum = 0;
    for (int64_t k = 0; k < depth; k++)
        sum += value(w->a_at, w->a.type,
                     item * w->a.stride + (w->p.trans_a ? i * w->a.ld + k : k * w->a.ld + i)) *
               value(w->b_at, w->b.type,
                     item * w->b.stride + (w->p.trans_b ? k * w->b.ld + j : j * w->b.ld + k));
    sum *= w->alpha;
    if (w->p.a_scale)
        sum *= w->p.a_scale[i] * w->p.b_scale[j];
    if (w->beta != 0)
        sum += w->beta * value(w->c_at, w->c.type, at);
    if (w->c.type == MGK_CUBLASLT_F32)
        ((float *)w->d_at)[at] = sum;
    else
        ((uint16_t *)w->d_at)[at] = mgk_to_bf16(sum);
}

static bool run(void *what)
{
    const call *w = what;
    if (state.open)
        state.open();
    for (int64_t item = 0; item < w->c.batch; item++)
        for (int64_t j = 0; j < w->c.columns; j++)
            for (int64_t i = 0; i < w->c.rows; i++)
                one(w, item, i, j);
    if (state.close)
        state.close();
    return true;
}

EXPORT int cublasLtMatmul(void *handle, void *p, const void *alpha, const void *a, void *a_layout,
                          const void *b, void *b_layout, const void *beta, const void *c,
                          void *c_layout, void *d, void *d_layout,
                          const mgk_cublaslt_words *algorithm, void *workspace,
                          size_t workspace_bytes, void *stream)
{
    const uint64_t i = algorithm->data[0];
    call w = {.a_at = a, .b_at = b, .c_at = c, .d_at = d};
    memcpy(&w.p, p, sizeof w.p);
    memcpy(&w.a, a_layout, sizeof w.a);
    memcpy(&w.b, b_layout, sizeof w.b);
    memcpy(&w.c, c_layout, sizeof w.c);
    memcpy(&w.alpha, alpha, sizeof w.alpha);
    memcpy(&w.beta, beta, sizeof w.beta);
    if (handle != &state || c_layout != d_layout || !workspace || workspace_bytes != state.room ||
        !fits(&w.p, &w.a, &w.b, &w.c))
        return refuse("a product that is run");
    if (i >= FAKE_ALGORITHMS || algorithm->data[3] != mark(&w.a, &w.b, &w.c))
        return refuse("an algorithm of another shape");
    if (w.p.a_scale && w.alpha != 1)
        return refuse("an alpha beside scales");
    state.stream = stream;
    state.products++;
    state.by[i]++;
    const bool broken = state.broken & 1u << i;
    if (state.spend && (!broken || state.spends_first))
        state.spend(state.ms[i]);
    if (broken)
        return FAILED;
    if (!state.put)
        return run(&w) ? 0 : FAILED;
    void *kept = state.keep(run, sizeof w);
    memcpy(kept, &w, sizeof w);
    state.put(stream, kept);
    return 0;
}
