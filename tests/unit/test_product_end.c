/* SPDX-License-Identifier: MIT
 * What follows a product by cuBLASLt (kernels/matmul/matmul_cublaslt.cu): bias, activation, gate, residual. Eight columns
 * a thread give the bits of one a thread, and both what matmul.h says, on an emulated GPU. */
#include "kernels/common/bf16.h"
#include "kernels/matmul/matmul.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef MGK_CUDA_EMULATED

void mgk_matmul_finish(const mgk_matmul_args *g, const float *sums, int64_t ld, int64_t stride,
                       mgk_exec *x);

enum { M = 37, N = 48, LDC = 56, BATCH = 3, PER_SAMPLE = 10, SAMPLES = 4, COUNT = BATCH * M * LDC };

static float random_value(void)
{
    return (float)rand() / (float)RAND_MAX * 4.0f - 2.0f;
}

/* A buffer of so many values, from a multiple of 16 bytes on or one value further. */
static mgk_buf buffer(int32_t dtype, int64_t count, bool aligned)
{
    const size_t size = dtype == MGK_BF16 ? 2 : 4;
    uint8_t *p = aligned_alloc(64, ((size_t)count * size + 127) / 64 * 64);
    assert_non_null(p);
    p += aligned ? 0 : size;
    srand(7);
    for (int64_t i = 0; i < count; i++)
        if (dtype == MGK_BF16)
            ((uint16_t *)(void *)p)[i] = mgk_to_bf16(random_value());
        else
            ((float *)(void *)p)[i] = random_value();
    return (mgk_buf){p, dtype};
}

static void give(mgk_buf b, bool aligned)
{
    if (b.p)
        free((uint8_t *)b.p - (aligned ? 0 : b.dtype == MGK_BF16 ? 2 : 4));
}

static float value(mgk_buf b, int64_t at)
{
    return b.dtype == MGK_BF16 ? mgk_from_bf16(((uint16_t *)b.p)[at]) : ((float *)b.p)[at];
}

static mgk_matmul_args product(int32_t dtype, int32_t act, bool gated, bool aligned)
{
    mgk_matmul_args g = {.m = M,
                         .n = N,
                         .k = 1,
                         .batch = BATCH,
                         .ldc = LDC,
                         .stride_c = M * LDC,
                         .alpha = 3,
                         .act = act};
    g.c = buffer(dtype, COUNT, aligned);
    g.bias = buffer(MGK_F32, N, true);
    if (gated) {
        g.residual = buffer(dtype, COUNT, aligned);
        g.before = buffer(dtype, COUNT, aligned);
        g.gate = buffer(MGK_F32, SAMPLES * N, true);
        g.gate_stride = N;
        g.rows_per_sample = PER_SAMPLE;
    }
    return g;
}

static void product_free(mgk_matmul_args *g, bool aligned)
{
    give(g->c, aligned);
    give(g->bias, true);
    give(g->residual, aligned);
    give(g->before, aligned);
    give(g->gate, true);
}

/* What matmul.h says, without activation. */
static void assert_as_said(const mgk_matmul_args *g, const float *sums, int64_t t, int64_t i,
                           int64_t j)
{
    const int64_t at = t * g->stride_c + i * LDC + j;
    const double slack = g->c.dtype == MGK_BF16 ? 0x1p-8 : 0x1p-22;
    double v = (double)sums[(t * M + i) * N + j] + value(g->bias, j);
    if (g->before.p)
        assert_true(fabs(value(g->before, at) - v) <= slack * (fabs(v) + 1));
    if (g->residual.p)
        v = value(g->residual, at) + value(g->gate, i / PER_SAMPLE * N + j) * v;
    assert_true(fabs(value(g->c, at) - v) <= slack * (fabs(v) + 4));
}

static void test_end(void **state)
{
    (void)state;
    const int32_t dtypes[] = {MGK_F32, MGK_BF16},
                  acts[] = {MGK_ACT_NONE, MGK_ACT_SILU, MGK_ACT_GELU_TANH};
    mgk_buf sums = buffer(MGK_F32, BATCH * M * N, true);
    mgk_exec x = {0};
    for (int d = 0; d < 2; d++)
        for (int a = 0; a < 3; a++)
            for (int gated = 0; gated < 2; gated++) {
                mgk_matmul_args eights = product(dtypes[d], acts[a], gated, true);
                mgk_matmul_args ones = product(dtypes[d], acts[a], gated, false);
                const size_t bytes = COUNT * (dtypes[d] == MGK_BF16 ? 2u : 4u);
                mgk_matmul_finish(&eights, sums.p, N, M * N, &x);
                mgk_matmul_finish(&ones, sums.p, N, M * N, &x);
                assert_memory_equal(eights.c.p, ones.c.p, bytes); /* what lies between rows, too */
                if (gated)
                    assert_memory_equal(eights.before.p, ones.before.p, bytes);
                for (int64_t t = 0; t < BATCH && a == 0; t++)
                    for (int64_t i = 0; i < M; i++)
                        for (int64_t j = 0; j < N; j++)
                            assert_as_said(&eights, sums.p, t, i, j);
                product_free(&eights, true);
                product_free(&ones, false);
            }
    give(sums, true);
}

#else

static void test_end(void **state)
{
    (void)state;
    skip();
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
