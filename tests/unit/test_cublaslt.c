/* SPDX-License-Identifier: MIT
 * FP8 products by cuBLASLt: what is asked of it, with one that is played here, and what is done where it cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels/fp8/e4m3.h"
#ifdef MGI_HAVE_CUDA
#include "kernels/fp8/matmul_fp8.h"
#include "kernels/matmul/cublaslt_api.h"
void mgk_matmul_fp8_cublaslt(const void *args, mgk_exec *x);
size_t mgk_matmul_fp8_cublaslt_workspace(const void *args, int threads);
#else
#include "kernels/fp8/matmul_fp8_cublaslt.c"
#endif

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#define SAME(mine, theirs) _Static_assert((int)(mine) == (int)(theirs), "")
SAME(MGK_CUBLASLT_F32, CUDA_R_32F);
SAME(MGK_CUBLASLT_BF16, CUDA_R_16BF);
SAME(MGK_CUBLASLT_E4M3, CUDA_R_8F_E4M3);
SAME(MGK_CUBLASLT_COMPUTE_F32, CUBLAS_COMPUTE_32F);
SAME(MGK_CUBLASLT_TRANSPOSE, CUBLAS_OP_T);
SAME(MGK_CUBLASLT_TRANS_A, CUBLASLT_MATMUL_DESC_TRANSA);
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
SAME(offsetof(mgk_cublaslt_found, state), offsetof(cublasLtMatmulHeuristicResult_t, state));
#if CUBLAS_VERSION >= 130000
SAME(sizeof(mgk_cublaslt_product), sizeof(cublasLtMatmulDescOpaque_t));
SAME(MGK_CUBLASLT_SCALE_OUTER, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
SAME(MGK_CUBLASLT_A_SCALE_MODE, CUBLASLT_MATMUL_DESC_A_SCALE_MODE);
SAME(MGK_CUBLASLT_B_SCALE_MODE, CUBLASLT_MATMUL_DESC_B_SCALE_MODE);
#endif
#endif

/* ---- cuBLASLt as it is played ---- */

typedef struct matrix {
    int64_t type, rows, columns, ld;
} matrix;

typedef struct product {
    const float *a_scale, *b_scale;
    int32_t trans_a, a_mode, b_mode;
} product;

static struct {
    size_t version;
    bool nothing, fails; /* the heuristic finds nothing; the product is refused */
    int asked, products;
    uint32_t aligned[4];
    size_t room;
    void *stream;
} played;
static int handle, fallbacks;

static size_t version(void)
{
    return played.version;
}

static int product_init(void *p, size_t bytes, int compute, int scale)
{
    assert_true(bytes >= sizeof(product) && compute == MGK_CUBLASLT_COMPUTE_F32 &&
                scale == MGK_CUBLASLT_F32);
    memset(p, 0, bytes);
    return 0;
}

static int product_set(void *p, int attribute, const void *value, size_t bytes)
{
    product *to = p;
    void *places[] = {&to->trans_a, &to->a_scale, &to->b_scale, &to->a_mode, &to->b_mode};
    static const int names[] = {MGK_CUBLASLT_TRANS_A, MGK_CUBLASLT_A_SCALE, MGK_CUBLASLT_B_SCALE,
                                MGK_CUBLASLT_A_SCALE_MODE, MGK_CUBLASLT_B_SCALE_MODE};
    for (int i = 0; i < 5; i++)
        if (names[i] == attribute) {
            assert_int_equal(bytes, i == 1 || i == 2 ? sizeof(void *) : sizeof(int32_t));
            memcpy(places[i], value, bytes);
            return 0;
        }
    return 7;
}

static int layout_init(void *p, size_t bytes, int type, uint64_t rows, uint64_t columns, int64_t ld)
{
    const matrix m = {type, (int64_t)rows, (int64_t)columns, ld};
    assert_true(bytes >= sizeof m && ld >= m.rows);
    memcpy(p, &m, sizeof m);
    return 0;
}

static int wish_init(void *p, size_t bytes)
{
    memset(p, 0, bytes);
    return 0;
}

static int wish_set(void *p, int attribute, const void *value, size_t bytes)
{
    (void)p;
    if (attribute == MGK_CUBLASLT_WORKSPACE)
        memcpy(&played.room, value, bytes);
    else
        memcpy(&played.aligned[attribute - MGK_CUBLASLT_ALIGNMENT_A], value, bytes);
    return 0;
}

/* What NVIDIA says of products of FP8: transposed times plain, scales as vectors, 16 bytes everywhere. */
static void check_problem(const product *p, const matrix *a, const matrix *b, const matrix *c)
{
    assert_true(p->trans_a == MGK_CUBLASLT_TRANSPOSE && p->a_mode == MGK_CUBLASLT_SCALE_OUTER &&
                p->b_mode == MGK_CUBLASLT_SCALE_OUTER && p->a_scale && p->b_scale);
    assert_true(a->type == MGK_CUBLASLT_E4M3 && b->type == MGK_CUBLASLT_E4M3);
    assert_true(a->rows == b->rows && a->columns == c->rows && b->columns == c->columns);
    assert_true(a->rows % 16 == 0 && a->ld % 16 == 0 && b->ld % 16 == 0);
    assert_true(c->rows % 16 == 0 && c->ld % 16 == 0);
}

static int heuristic(void *h, void *p, void *a, void *b, void *c, void *d, void *wish, int most,
                     mgk_cublaslt_found *found, int *count)
{
    (void)wish;
    assert_true(h == &handle && c == d && most == 1);
    check_problem(p, a, b, c);
    played.asked++;
    memset(found, 0, sizeof *found);
    found->algorithm.data[3] = (uint64_t)((matrix *)c)->columns;
    *count = !played.nothing;
    return 0;
}

static int matmul(void *h, void *p, const void *alpha, const void *a, void *a_layout, const void *b,
                  void *b_layout, const void *beta, const void *c, void *c_layout, void *d,
                  void *d_layout, const mgk_cublaslt_words *algorithm, void *workspace,
                  size_t workspace_bytes, void *stream)
{
    const product *of = p;
    const matrix *ma = a_layout, *mb = b_layout, *mc = c_layout;
    assert_true(h == &handle && c == d && c_layout == d_layout && workspace);
    assert_true(*(const float *)alpha == 1 && *(const float *)beta == 0);
    assert_true(workspace_bytes == played.room);
    assert_true(algorithm->data[3] == (uint64_t)mc->columns); /* of this shape */
    check_problem(of, ma, mb, mc);
    played.stream = stream;
    played.products++;
    if (played.fails)
        return 14;
    for (int64_t j = 0; j < mc->columns; j++)
        for (int64_t i = 0; i < mc->rows; i++) {
            float sum = 0;
            for (int64_t k = 0; k < ma->rows; k++)
                sum += mgk_from_e4m3(((const uint8_t *)a)[i * ma->ld + k]) *
                       mgk_from_e4m3(((const uint8_t *)b)[j * mb->ld + k]);
            assert_int_equal(mc->type, MGK_CUBLASLT_F32);
            ((float *)d)[j * mc->ld + i] = sum * of->a_scale[i] * of->b_scale[j];
        }
    return 0;
}

/* ---- tests ---- */

#ifndef MGI_HAVE_CUDA
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
#endif

enum { M = 5, N = 32, K = 48, LDA = 64, LDB = 80, LDC = 48 };

static struct problem {
    _Alignas(16) uint8_t a[M * LDA];
    _Alignas(16) uint8_t b[N * LDB];
    _Alignas(16) float c[M * LDC];
    float a_scale[M], b_scale[N];
    char workspace[64];
    mgk_matmul_fp8_args g;
} problem;
static mgk_cublaslt_api library;

static int reset(void **state)
{
    struct problem *p = &problem;
    (void)state;
    memset(&played, 0, sizeof played);
    played.version = 130000;
    fallbacks = 0;
    library = (mgk_cublaslt_api){&handle,   version,  product_init, product_set, layout_init,
                                 wish_init, wish_set, heuristic,    matmul,      {{{0}}}};
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

static void run(void)
{
    mgk_exec x = {.blas = &library, .workspace = problem.workspace, .stream = &played};
    mgk_matmul_fp8_cublaslt(&problem.g, &x);
}

static void test_product(void **state)
{
    (void)state;
    run();
    assert_int_equal(played.products, 1);
    assert_ptr_equal(played.stream, &played);
    for (int i = 0; i < 4; i++)
        assert_int_equal(played.aligned[i], 16);
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

/* Each shape is asked for once, and what cuBLASLt does not know is not asked for again. */
static void test_kept(void **state)
{
    (void)state;
    for (int times = 0; times < 3; times++)
        for (problem.g.m = 1; problem.g.m <= M; problem.g.m++)
            run();
    assert_int_equal(played.asked, M);
    assert_int_equal(played.products, 3 * M);
}

#ifndef MGI_HAVE_CUDA
static void test_unknown_shape(void **state)
{
    (void)state;
    played.nothing = true;
    run();
    run();
    assert_int_equal(played.asked, 1);
    assert_int_equal(fallbacks, 2);
    assert_int_equal(played.products, 0);
    played.nothing = false;
    played.fails = true;
    problem.g.m = 2;
    run();
    assert_int_equal(played.products, 1);
    assert_int_equal(fallbacks, 3);
}

static void test_old_library(void **state)
{
    (void)state;
    played.version = 120899;
    run();
    library.version = NULL;
    run();
    mgk_exec x = {.workspace = problem.workspace};
    mgk_matmul_fp8_cublaslt(&problem.g, &x);
    assert_int_equal(fallbacks, 3);
    assert_int_equal(played.asked, 0);
}

/* What is left to the library's own kernels, each thing by itself. */
static void test_not_taken(void **state)
{
    const mgk_matmul_fp8_args plain = problem.g;
    mgk_matmul_fp8_args *g = &problem.g;
    int cases = 0;
    (void)state;
    assert_int_equal(mgk_matmul_fp8_cublaslt_workspace(g, 1), ROOM);
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
    assert_int_equal(played.asked + played.products, 0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_product, reset),
        cmocka_unit_test_setup(test_kept, reset),
#ifndef MGI_HAVE_CUDA
        cmocka_unit_test_setup(test_unknown_shape, reset),
        cmocka_unit_test_setup(test_old_library, reset),
        cmocka_unit_test_setup(test_not_taken, reset),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
