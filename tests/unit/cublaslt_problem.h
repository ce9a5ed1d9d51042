/* SPDX-License-Identifier: MIT
 * Products by the cuBLASLt that the host plays, and a clock for them. */
#ifndef CUBLASLT_PROBLEM_H
#define CUBLASLT_PROBLEM_H

#include "find_cublaslt.h"
#include "kernels/common/bf16.h"
#include "kernels/fp8/e4m3.h"
#include "kernels/fp8/matmul_fp8.h"
#include "kernels/matmul/matmul_cublaslt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mgk_matmul_fp8_cublaslt(const void *args, mgk_exec *x);
size_t mgk_matmul_fp8_cublaslt_workspace(const void *args, int threads);

/* In a build with CUDA what stands behind these are kernels of a GPU: nothing that falls back is tested there. */
static int fallbacks, finished;
#ifndef MGI_HAVE_CUDA
void mgk_matmul_cublaslt(const void *args, mgk_exec *x);
size_t mgk_matmul_cublaslt_workspace(const void *args, int threads);
void mgk_matmul_ref(const void *args, mgk_exec *x);

enum { BEHIND = 100 };
void mgk_matmul_fp8_sm90(const void *args, mgk_exec *x)
{
    (void)args;
    (void)x;
    fallbacks++;
}
size_t mgk_matmul_fp8_sm90_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return BEHIND;
}
void mgk_matmul_sm90(const void *args, mgk_exec *x)
{
    (void)args;
    (void)x;
    fallbacks++;
}
size_t mgk_matmul_sm90_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return BEHIND;
}
bool mgk_matmul_by_warpgroups(const mgk_matmul_args *g, mgk_exec *x)
{
    (void)g;
    (void)x;
    return false;
}
/* As the kernel does, of what these tests ask: a bias. */
void mgk_matmul_finish(const mgk_matmul_args *g, const float *sums, int64_t ld, int64_t stride,
                       mgk_exec *x)
{
    (void)x;
    finished++;
    for (int64_t t = 0; t < g->batch; t++)
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t j = 0; j < g->n; j++) {
                const float v = sums[t * stride + i * ld + j] + ((const float *)g->bias.p)[j];
                const int64_t at = t * g->stride_c + i * g->ldc + j;
                if (g->c.dtype == MGK_BF16)
                    ((uint16_t *)g->c.p)[at] = mgk_to_bf16(v);
                else
                    ((float *)g->c.p)[at] = v;
            }
}
#endif

/* ---- the library, and a clock ---- */

static void *library;
static mgk_cublaslt_api *api; /* at its beginning */

static struct {
    double now, begun;
    double noise[64]; /* added to what is measured, in turn */
    int starts, taken, given;
    bool captures, lost; /* the stream; the GPU */
    bool poor;           /* in memory */
    size_t bytes;        /* taken last */
} clock_of;

static void spend(double ms)
{
    clock_of.now += ms;
}
static bool ready(void *user)
{
    assert_ptr_equal(user, &clock_of);
    return !clock_of.captures;
}
static void start(void *user)
{
    (void)user;
    assert_false(clock_of.captures);
    clock_of.begun = clock_of.now;
}
static bool stop(void *user, bool good, float *milliseconds)
{
    (void)user;
    const double noise = clock_of.noise[clock_of.starts++ % 64];
    *milliseconds = (float)(clock_of.now - clock_of.begun + noise);
    return good && !clock_of.lost;
}
static void *take(void *user, size_t bytes)
{
    (void)user;
    clock_of.bytes = bytes;
    clock_of.taken += !clock_of.poor;
    return clock_of.poor ? NULL : malloc(bytes);
}
static void give(void *user, void *memory)
{
    (void)user;
    clock_of.given++;
    free(memory);
}
static const mgk_cublaslt_timer timer = {&clock_of, ready, start, stop, take, give};

enum { M = 5, N = 32, K = 48, LDA = 64, LDB = 80, LDC = 48 };

static struct problem {
    _Alignas(16) uint8_t a[M * LDA];
    _Alignas(16) uint8_t b[N * LDB];
    _Alignas(16) float c[M * LDC];
    float a_scale[M], b_scale[N];
    mgk_matmul_fp8_args g;
} problem;
static void *workspace;

static int reset(void **state)
{
    char why[256] = "";
    struct problem *p = &problem;
    (void)state;
    if (!find_cublaslt())
        return -1;
    reset_cublaslt();
    library = calloc(1, mgk_cublaslt_bytes());
    workspace = malloc((size_t)MGK_CUBLASLT_ROOM + 65536);
    if (!library || !workspace || !mgk_cublaslt_open(library, fake_file, why, sizeof why))
        return -1;
    api = library;
    memset(&clock_of, 0, sizeof clock_of);
    fake->spend = spend;
    for (int i = 0; i < FAKE_ALGORITHMS; i++)
        fake->ms[i] = 1;
    fallbacks = finished = 0;
    for (int i = 0; i < M * LDA; i++)
        p->a[i] = (uint8_t)(i * 37 % 251 % 0x7f);
    for (int i = 0; i < N * LDB; i++)
        p->b[i] = (uint8_t)(0x80 | i * 53 % 241 % 0x7f);
    for (int i = 0; i < M; i++)
        p->a_scale[i] = ldexpf(1, i - 3);
    for (int i = 0; i < N; i++)
        p->b_scale[i] = ldexpf(1, i % 7);
    for (int i = 0; i < M * LDC; i++)
        p->c[i] = -1;
    p->g = (mgk_matmul_fp8_args){.a = {p->a, MGK_U8},
                                 .b = {p->b, MGK_U8},
                                 .a_scale = {p->a_scale, MGK_F32},
                                 .b_scale = {p->b_scale, MGK_F32},
                                 .c = {p->c, MGK_F32},
                                 .m = M,
                                 .n = N,
                                 .k = K,
                                 .lda = LDA,
                                 .ldb = LDB,
                                 .ldc = LDC};
    return 0;
}

static int done(void **state)
{
    (void)state;
    mgk_cublaslt_close(library);
    const bool good = fake->handles == 0 && !fake->refused && clock_of.taken == clock_of.given;
    if (!good)
        printf("# refused: %s; handles %d, blocks %d\n", fake->refused ? fake->refused : "nothing",
               fake->handles, clock_of.taken - clock_of.given);
    free(library);
    free(workspace);
    return good ? 0 : -1;
}

static mgk_exec exec_of(void)
{
    return (mgk_exec){.blas = library, .workspace = workspace, .stream = &problem};
}

static void run(void)
{
    mgk_exec x = exec_of();
    mgk_matmul_fp8_cublaslt(&problem.g, &x);
}

static void check_codes(void)
{
    for (int i = 0; i < M; i++)
        for (int j = 0; j < LDC; j++) {
            float sum = 0;
            for (int k = 0; k < K; k++)
                sum += mgk_from_e4m3(problem.a[i * LDA + k]) *
                       mgk_from_e4m3(problem.b[j % N * LDB + k]);
            const float want = j < N ? sum * problem.a_scale[i] * problem.b_scale[j] : -1;
            assert_true(problem.c[i * LDC + j] == want);
        }
}

#ifndef MGI_HAVE_CUDA
/* ---- products of matrices ---- */

enum { VALUES = 2048 };

static struct {
    _Alignas(256) float a[VALUES], b[VALUES], c[VALUES], want[VALUES];
    uint16_t half[3][VALUES];
    float bias[VALUES];
} matrices;

static void fill(void)
{
    for (int i = 0; i < VALUES; i++) {
        matrices.a[i] = (float)(i * 37 % 61 - 30) / 16;
        matrices.b[i] = (float)(i * 53 % 59 - 29) / 8;
        matrices.c[i] = matrices.want[i] = (float)(i % 17) / 4;
        matrices.bias[i] = (float)(i % 5) - 2;
        for (int m = 0; m < 2; m++)
            matrices.half[m][i] = mgk_to_bf16(m ? matrices.b[i] : matrices.a[i]);
        matrices.half[2][i] = 0;
    }
}

static mgk_matmul_args product_of(bool trans_a, bool trans_b)
{
    return (mgk_matmul_args){.a = {matrices.a, MGK_F32},
                             .b = {matrices.b, MGK_F32},
                             .c = {matrices.c, MGK_F32},
                             .m = 7,
                             .n = 9,
                             .k = 11,
                             .batch = 3,
                             .lda = trans_a ? 8 : 12,
                             .ldb = trans_b ? 13 : 10,
                             .ldc = 16,
                             .stride_a = 160,
                             .stride_b = 150,
                             .stride_c = 130,
                             .trans_a = trans_a,
                             .trans_b = trans_b,
                             .alpha = 0.5f};
}

/* C beside the reference's, with all that lies between its rows. */
static void compare(mgk_matmul_args g)
{
    mgk_exec x = exec_of();
    mgk_matmul_cublaslt(&g, &x);
    g.c.p = matrices.want;
    x.workspace = NULL;
    mgk_matmul_ref(&g, &x);
    for (int i = 0; i < VALUES; i++)
        assert_true(fabsf(matrices.c[i] - matrices.want[i]) <= 1e-4f);
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, reset, done)

#endif
