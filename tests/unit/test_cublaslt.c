/* SPDX-License-Identifier: MIT
 * Products by cuBLASLt: what is asked of it, with one that the host plays, and what is done where it cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cublaslt_problem.h"

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#define SAME(mine, theirs) _Static_assert((int)(mine) == (int)(theirs), "")
SAME(MGK_CUBLASLT_F32, CUDA_R_32F);
SAME(MGK_CUBLASLT_BF16, CUDA_R_16BF);
SAME(MGK_CUBLASLT_E4M3, CUDA_R_8F_E4M3);
SAME(MGK_CUBLASLT_COMPUTE_F32, CUBLAS_COMPUTE_32F);
SAME(MGK_CUBLASLT_TRANSPOSE, CUBLAS_OP_T);
SAME(MGK_CUBLASLT_TRANS_A, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(MGK_CUBLASLT_TRANS_B, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(MGK_CUBLASLT_BATCH, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
SAME(MGK_CUBLASLT_STRIDE, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
SAME(MGK_CUBLASLT_REDUCTIONS, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(MGK_CUBLASLT_REDUCE_F32, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
SAME(MGK_CUBLASLT_REDUCE_ANY, CUBLASLT_REDUCTION_SCHEME_MASK);
SAME(0, CUBLAS_OP_N);
SAME(MGK_CUBLASLT_A_SCALE, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER);
SAME(MGK_CUBLASLT_B_SCALE, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER);
SAME(MGK_CUBLASLT_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(MGK_CUBLASLT_ALIGNMENT_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(MGK_CUBLASLT_ALIGNMENT_A + 1, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(MGK_CUBLASLT_ALIGNMENT_A + 2, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(MGK_CUBLASLT_ALIGNMENT_A + 3, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(0, CUBLAS_STATUS_SUCCESS);
SAME(sizeof(mgk_cublaslt_words), sizeof(cublasLtMatmulAlgo_t));
SAME(sizeof(mgk_cublaslt_words), sizeof(cublasLtMatrixLayoutOpaque_t));
SAME(sizeof(mgk_cublaslt_words), sizeof(cublasLtMatmulPreferenceOpaque_t));
SAME(sizeof(mgk_cublaslt_found), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(mgk_cublaslt_found, workspace),
     offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
SAME(offsetof(mgk_cublaslt_found, state), offsetof(cublasLtMatmulHeuristicResult_t, state));
#if CUBLAS_VERSION >= 130000
SAME(sizeof(mgk_cublaslt_product), sizeof(cublasLtMatmulDescOpaque_t));
SAME(MGK_CUBLASLT_SCALE_OUTER, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
SAME(MGK_CUBLASLT_A_SCALE_MODE, CUBLASLT_MATMUL_DESC_A_SCALE_MODE);
SAME(MGK_CUBLASLT_B_SCALE_MODE, CUBLASLT_MATMUL_DESC_B_SCALE_MODE);
#endif
#endif

/* ---- opening ---- */

static void test_opening(void **state)
{
    char why[256];
    void *memory = calloc(1, mgk_cublaslt_bytes());
    (void)state;
    assert_false(mgk_cublaslt_open(memory, "/nowhere/libcublasLt.so", why, sizeof why));
    assert_non_null(strstr(why, "was not found"));
    fake->no_start = true;
    assert_false(mgk_cublaslt_open(memory, fake_file, why, sizeof why));
    assert_non_null(strstr(why, "does not start"));
    assert_int_equal(fake->handles, 1);
    free(memory);
}

/* ---- products of codes ---- */

static void test_product(void **state)
{
    (void)state;
    run();
    assert_int_equal(fake->products, 1);
    assert_ptr_equal(fake->stream, &problem);
    for (int i = 0; i < 4; i++)
        assert_int_equal(fake->aligned[i], 16);
    check_codes();
}

/* Each shape is asked for once, and what cuBLASLt does not know is not asked for again. */
static void test_kept(void **state)
{
    (void)state;
    for (int times = 0; times < 3; times++)
        for (problem.g.m = 1; problem.g.m <= M; problem.g.m++)
            run();
    assert_int_equal(fake->asked, M);
    assert_int_equal(fake->most, 1);
    assert_int_equal(fake->products, 3 * M);
    assert_int_equal(mgk_cublaslt_chosen(library), 0);
    assert_int_equal(mgk_cublaslt_rows(library, NULL), 0);
}

/* What is rounded to bf16 may not be rounded on the way. */
static void test_reductions(void **state)
{
    _Alignas(16) uint16_t c[M * LDC];
    (void)state;
    run();
    assert_int_equal(fake->reductions, MGK_CUBLASLT_REDUCE_ANY);
    problem.g.c = (mgk_buf){c, MGK_BF16};
    run();
    assert_int_equal(fake->reductions, MGK_CUBLASLT_REDUCE_F32);
}

#ifndef MGI_HAVE_CUDA
static void test_unknown_shape(void **state)
{
    (void)state;
    fake->algorithms = 0;
    run();
    run();
    assert_int_equal(fake->asked, 1);
    assert_int_equal(fallbacks, 2);
    assert_int_equal(fake->products, 0);
    fake->algorithms = 1;
    fake->broken = 1;
    problem.g.m = 2;
    run();
    assert_int_equal(fake->products, 1);
    assert_int_equal(fallbacks, 3);
    problem.g.m = 3; /* what it offers needs more than there is */
    fake->workspace[0] = MGK_CUBLASLT_ROOM + 1;
    run();
    assert_int_equal(fake->products, 1);
    assert_int_equal(fallbacks, 4);
}

static void test_old_library(void **state)
{
    (void)state;
    fake->version = 120899;
    run();
    api->version = NULL;
    run();
    mgk_exec x = {.workspace = workspace};
    mgk_matmul_fp8_cublaslt(&problem.g, &x);
    assert_int_equal(fallbacks, 3);
    assert_int_equal(fake->asked, 0);
}

/* What is left to the library's own kernels, each thing by itself. */
static void test_not_taken(void **state)
{
    const mgk_matmul_fp8_args plain = problem.g;
    mgk_matmul_fp8_args *g = &problem.g;
    int cases = 0;
    (void)state;
    assert_int_equal(mgk_matmul_fp8_cublaslt_workspace(g, 1), MGK_CUBLASLT_ROOM);
#define LEAVES(...)                                                                                \
    do {                                                                                           \
        __VA_ARGS__;                                                                               \
        assert_int_equal(mgk_matmul_fp8_cublaslt_workspace(g, 1), BEHIND);                         \
        run();                                                                                     \
        assert_int_equal(fallbacks, ++cases);                                                      \
        *g = plain;                                                                                \
    } while (0)
    LEAVES(g->bias = g->b_scale);
    LEAVES(g->act = MGK_ACT_SILU);
    LEAVES(g->residual = g->c);
    LEAVES(g->n = 24);
    LEAVES(g->k = 40);
    LEAVES(g->lda = 56);
    LEAVES(g->ldb = 88);
    LEAVES(g->ldc = 40);
    LEAVES(g->a.p = problem.a + 8);
    LEAVES(g->b.p = problem.b + 1);
    LEAVES(g->c.p = problem.c + 1);
    LEAVES(g->m = 0);
    LEAVES(g->k = 0);
    assert_int_equal(fake->asked + fake->products, 0);
}

/* ---- products of matrices ---- */

static void test_matrices(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        mgk_matmul_args g = product_of(i & 1, i & 2);
        fill();
        g.accumulate = i >= 4;
        compare(g);
    }
    assert_int_equal(fake->products, 8);
    assert_int_equal(fake->asked, 4); /* whether C is added to is not the shape's */
    assert_int_equal(fake->aligned[0], 256);
    mgk_matmul_args g = product_of(false, false);
    g.a.p = matrices.a + 1; /* of ours, which is B of its */
    g.b.p = matrices.b + 4;
    compare(g);
    assert_int_equal(fake->aligned[0], 16);
    assert_int_equal(fake->aligned[1], 4);
    assert_int_equal(fake->aligned[2], 256);
    assert_int_equal(finished + fallbacks, 0);
}

/* Sums of bf16 matrices with a bias go through the workspace, so that they are rounded once. */
static void test_epilogue(void **state)
{
    mgk_matmul_args g = product_of(false, true);
    mgk_exec x = exec_of();
    (void)state;
    fill();
    g.bias = (mgk_buf){matrices.bias, MGK_F32};
    compare(g);
    assert_int_equal(finished, 1);
    assert_int_equal(mgk_matmul_cublaslt_workspace(&g, 1), MGK_CUBLASLT_ROOM);
    g.a = (mgk_buf){matrices.half[0], MGK_BF16};
    g.b = (mgk_buf){matrices.half[1], MGK_BF16};
    g.c = (mgk_buf){matrices.half[2], MGK_BF16};
    assert_int_equal(mgk_matmul_cublaslt_workspace(&g, 1),
                     MGK_CUBLASLT_ROOM + 7 * 9 * 3 * sizeof(float));
    mgk_matmul_cublaslt(&g, &x);
    assert_int_equal(finished, 2);
    assert_int_equal(fake->reductions, MGK_CUBLASLT_REDUCE_ANY); /* they are f32 */
    for (int64_t i = 0; i < 7; i++)
        for (int64_t j = 0; j < 9; j++) {
            float sum = 0;
            for (int64_t k = 0; k < 11; k++)
                sum += matrices.a[i * 12 + k] * matrices.b[j * 13 + k];
            assert_int_equal(matrices.half[2][i * 16 + j],
                             mgk_to_bf16(0.5f * sum + matrices.bias[j]));
        }
}

static void test_nothing_to_multiply(void **state)
{
    mgk_exec x = exec_of();
    (void)state;
    for (int i = 0; i < 4; i++) {
        mgk_matmul_args g = product_of(false, false);
        *(i == 0 ? &g.m : i == 1 ? &g.n : i == 2 ? &g.k : &g.batch) = 0;
        mgk_matmul_cublaslt(&g, &x);
        assert_int_equal(fallbacks, i + 1);
    }
    mgk_matmul_args g = product_of(false, false);
    x.blas = NULL;
    mgk_matmul_cublaslt(&g, &x);
    x = exec_of();
    fake->algorithms = 0;
    mgk_matmul_cublaslt(&g, &x);
    assert_int_equal(fallbacks, 6);
    assert_int_equal(fake->products, 0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_opening),       TEST(test_product),     TEST(test_kept),
        TEST(test_reductions),
#ifndef MGI_HAVE_CUDA
        TEST(test_unknown_shape), TEST(test_old_library), TEST(test_not_taken),
        TEST(test_matrices),      TEST(test_epilogue),    TEST(test_nothing_to_multiply),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
