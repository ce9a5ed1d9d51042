/* SPDX-License-Identifier: MIT
 * Attention by cuDNN: what is asked of it, with one that the host plays; what is done where it cannot; and, where the
 * real one is installed, as far as it goes without a GPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#ifdef MGI_HAVE_CUDA
#include "kernels/attention/attention_cudnn.h"
#include "kernels/attention/cudnn_api.h"
#else
#include "kernels/attention/attention_cudnn.c"
#endif
#include "find_cudnn.h"
#include "kernels/common/bf16.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<cudnn.h>)
#include <cudnn.h>
#define SAME(mine, theirs) _Static_assert((int)(mine) == (int)(theirs), "")
SAME(MGK_CUDNN_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
SAME(MGK_CUDNN_ENGINE_CONFIG, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
SAME(MGK_CUDNN_HEURISTICS, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
SAME(MGK_CUDNN_PLAN, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
SAME(MGK_CUDNN_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
SAME(MGK_CUDNN_PACK, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
SAME(MGK_CUDNN_TENSOR, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
SAME(MGK_CUDNN_DEVICE, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
SAME(MGK_CUDNN_ATTENTION, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
SAME(MGK_CUDNN_HEURISTICS_MODE, CUDNN_ATTR_ENGINEHEUR_MODE);
SAME(MGK_CUDNN_HEURISTICS_GRAPH, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
SAME(MGK_CUDNN_HEURISTICS_RESULTS, CUDNN_ATTR_ENGINEHEUR_RESULTS);
SAME(MGK_CUDNN_HEURISTICS_DEVICE, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP);
SAME(MGK_CUDNN_CONFIG_ENGINE, CUDNN_ATTR_ENGINECFG_ENGINE);
SAME(MGK_CUDNN_PLAN_CONFIG, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
SAME(MGK_CUDNN_PLAN_WORKSPACE, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
SAME(MGK_CUDNN_PLAN_DEVICE, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
SAME(MGK_CUDNN_GRAPH_OPS, CUDNN_ATTR_OPERATIONGRAPH_OPS);
SAME(MGK_CUDNN_TENSOR_ALIGNMENT, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
SAME(MGK_CUDNN_TENSOR_DTYPE, CUDNN_ATTR_TENSOR_DATA_TYPE);
SAME(MGK_CUDNN_TENSOR_DIMS, CUDNN_ATTR_TENSOR_DIMENSIONS);
SAME(MGK_CUDNN_TENSOR_STRIDES, CUDNN_ATTR_TENSOR_STRIDES);
SAME(MGK_CUDNN_TENSOR_ID, CUDNN_ATTR_TENSOR_UNIQUE_ID);
SAME(MGK_CUDNN_TENSOR_BY_VALUE, CUDNN_ATTR_TENSOR_IS_BY_VALUE);
SAME(MGK_CUDNN_PACK_IDS, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
SAME(MGK_CUDNN_PACK_POINTERS, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
SAME(MGK_CUDNN_PACK_WORKSPACE, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
SAME(MGK_CUDNN_ENGINE_NOTES, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
SAME(MGK_CUDNN_DEVICE_JSON, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION);
SAME(MGK_CUDNN_ATTENTION_Q, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC);
SAME(MGK_CUDNN_ATTENTION_K, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC);
SAME(MGK_CUDNN_ATTENTION_V, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC);
SAME(MGK_CUDNN_ATTENTION_O, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC);
SAME(MGK_CUDNN_ATTENTION_STATS, CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC);
SAME(MGK_CUDNN_ATTENTION_SCALE, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC);
SAME(MGK_CUDNN_TYPE_HANDLE, CUDNN_TYPE_HANDLE);
SAME(MGK_CUDNN_TYPE_DTYPE, CUDNN_TYPE_DATA_TYPE);
SAME(MGK_CUDNN_TYPE_BOOL, CUDNN_TYPE_BOOLEAN);
SAME(MGK_CUDNN_TYPE_INT64, CUDNN_TYPE_INT64);
SAME(MGK_CUDNN_TYPE_POINTER, CUDNN_TYPE_VOID_PTR);
SAME(MGK_CUDNN_TYPE_MODE, CUDNN_TYPE_HEUR_MODE);
SAME(MGK_CUDNN_TYPE_NOTE, CUDNN_TYPE_NUMERICAL_NOTE);
SAME(MGK_CUDNN_TYPE_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR);
SAME(MGK_CUDNN_TYPE_CHAR, CUDNN_TYPE_CHAR);
SAME(MGK_CUDNN_F32, CUDNN_DATA_FLOAT);
SAME(MGK_CUDNN_BF16, CUDNN_DATA_BFLOAT16);
SAME(MGK_CUDNN_MODE_A, CUDNN_HEUR_MODE_A);
SAME(MGK_CUDNN_NONDETERMINISTIC, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
SAME(0, CUDNN_STATUS_SUCCESS);
#endif

void mgk_attention_cudnn(const void *args, mgk_exec *x);
void mgk_attention_ref(const void *args, mgk_exec *x);

/* In a build with CUDA what it falls back to are kernels of a GPU: nothing of the kind is tested there. */
static int fallbacks;
#ifndef MGI_HAVE_CUDA
void mgk_attention_sm80(const void *args, mgk_exec *x)
{
    (void)args;
    (void)x;
    fallbacks++;
}
#endif

static void *library_memory;

static int open_fake(void **state)
{
    (void)state;
    library_memory = calloc(1, mgk_cudnn_bytes());
    return find_cudnn() && library_memory ? 0 : -1;
}

static int close_fake(void **state)
{
    (void)state;
    free(library_memory);
    return 0;
}

static void reset(void)
{
    reset_cudnn();
    fallbacks = 0;
}

static void open_library(void)
{
    char why[256];
    const mgk_cudnn_options options = {.file = fake_file};
    if (!mgk_cudnn_open(library_memory, &options, why, sizeof why))
        fail_msg("%s", why);
}

static void close_library(void)
{
    mgk_cudnn_close(library_memory);
    assert_int_equal(fake->made, 0);
    assert_int_equal(fake->handles, 0);
    if (fake->wrong)
        fail_msg("cuDNN would not take %s", fake->wrong);
}

/* Queries, keys and values side by side in rows, as the library has them. */
typedef struct problem {
    mgk_attention_args a;
    uint16_t *qkv, *o;
    float *lse;
} problem;

static void make_problem(problem *p, int64_t batch, int64_t heads, int64_t kv_heads, int64_t dim,
                         int64_t sq, int64_t sk)
{
    int64_t row = (heads + 2 * kv_heads) * dim, rows = sq > sk ? sq : sk;
    size_t count = (size_t)(batch * rows * row), out = (size_t)(batch * sq * heads * dim);
    p->qkv = aligned_alloc(64, (count * sizeof *p->qkv + 63) / 64 * 64);
    p->o = aligned_alloc(64, (out * sizeof *p->o + 63) / 64 * 64);
    p->lse = calloc((size_t)(batch * heads * sq), sizeof *p->lse);
    assert_true(p->qkv && p->o && p->lse);
    for (size_t i = 0; i < count; i++)
        p->qkv[i] = mgk_to_bf16((float)((i * 2654435761u >> 8) % 401) * 0.01f - 2.0f);
    p->a = (mgk_attention_args){.q = {p->qkv, MGK_BF16},
                                .k = {p->qkv + heads * dim, MGK_BF16},
                                .v = {p->qkv + (heads + kv_heads) * dim, MGK_BF16},
                                .o = {p->o, MGK_BF16},
                                .lse = {p->lse, MGK_F32},
                                .batch = batch,
                                .heads = heads,
                                .kv_heads = kv_heads,
                                .head_dim = dim,
                                .sq = sq,
                                .sk = sk,
                                .q_row = row,
                                .q_batch = rows * row,
                                .k_row = row,
                                .k_batch = rows * row,
                                .v_row = row,
                                .v_batch = rows * row,
                                .o_row = heads * dim,
                                .o_batch = sq * heads * dim,
                                .scale = 0.09f};
}

static void free_problem(problem *p)
{
    free(p->qkv);
    free(p->o);
    free(p->lse);
}

static mgk_exec exec_of(void)
{
    static int stream, workspace;
    return (mgk_exec){.stream = &stream, .workspace = &workspace, .dnn = library_memory};
}

/* The results of the definition. */
static void assert_right(problem *p)
{
    const int64_t values = p->a.batch * p->a.o_batch, rows = p->a.batch * p->a.heads * p->a.sq;
    mgk_attention_args a = p->a;
    uint16_t *o = malloc((size_t)values * sizeof *o);
    float *lse = malloc((size_t)rows * sizeof *lse);
    mgk_exec x = {NULL};
    assert_true(o && lse);
    a.o.p = o;
    a.lse.p = lse;
    mgk_attention_ref(&a, &x);
    for (int64_t i = 0; i < values; i++)
        if (!(fabsf(mgk_from_bf16(o[i]) - mgk_from_bf16(p->o[i])) < 0.02f))
            fail_msg("o[%d] is %g, not %g", (int)i, (double)mgk_from_bf16(p->o[i]),
                     (double)mgk_from_bf16(o[i]));
    for (int64_t i = 0; i < rows && p->a.lse.p; i++)
        assert_true(fabsf(lse[i] - p->lse[i]) < 1e-3f);
    free(o);
    free(lse);
}

static void test_results(void **state)
{
    static const int64_t shapes[][6] = {
        {1, 2, 2, 64, 70, 70}, {2, 4, 2, 64, 65, 9}, {2, 1, 1, 128, 3, 130}};
    (void)state;
    reset();
    open_library();
    for (int i = 0; i < 3; i++) {
        const int64_t *s = shapes[i];
        for (int without = 0; without < 2; without++) {
            problem p;
            mgk_exec x = exec_of();
            make_problem(&p, s[0], s[1], s[2], s[3], s[4], s[5]);
            if (without)
                p.a.lse.p = NULL;
            for (int again = 0; again < 2; again++)
                mgk_attention_cudnn(&p.a, &x);
            assert_right(&p);
            assert_ptr_equal(fake->stream, x.stream);
            free_problem(&p);
        }
    }
    assert_int_equal(fake->runs, 12);
    assert_int_equal(fake->plans, 6); /* one a shape */
    assert_int_equal(fallbacks, 0);
    close_library();
}

/* What is of another form, or has no plan, is left to others; a plan is asked for once. */
static void test_left_to_others(void **state)
{
    char why[256];
    uint8_t mask = 1;
    float bias = 0;
    int32_t start = 0;
    mgk_exec x = exec_of();
    (void)state;
    for (int i = 0; i < 12; i++) {
        problem p;
        reset();
        make_problem(&p, 1, 2, 2, i == 0 ? 72 : 64, i == 1 ? 64 : 65, 65);
        const struct {
            bool on;
            mgk_buf *b, with;
        } more[] = {{i == 2, &p.a.mask, {&mask, MGK_U8}},
                    {i == 3, &p.a.bias, {&bias, MGK_F32}},
                    {i == 4, &p.a.block_start, {&start, MGK_I32}},
                    {i == 5, &p.a.k, {p.qkv + 130, MGK_BF16}},
                    {i == 6, &p.a.q, {p.qkv, MGK_F32}}};
        for (size_t k = 0; k < sizeof more / sizeof more[0]; k++)
            if (more[k].on)
                *more[k].b = more[k].with;
        p.a.o_row += i == 7 ? 4 : 0;
        fake->configs = i == 8 ? 0 : 2;
        fake->random = i == 9 ? 2 : 0;
        fake->workspace = i == 10 ? 2 << 20 : 0;
        fake->fails = i == 11;
        open_library();
        if (i < 11) {
            assert_false(mgk_cudnn_plans(library_memory, &p.a, why, sizeof why));
            assert_non_null(strstr(why, i < 8 ? "left to the library's own" : "cuDNN: "));
        }
#ifndef MGI_HAVE_CUDA
        for (int again = 0; again < 2; again++)
            mgk_attention_cudnn(&p.a, &x);
        assert_int_equal(fallbacks, 2);
#endif
        assert_int_equal(fake->runs, 0);
        assert_true(fake->plans == (i == 10 ? 2 : i == 11 && fallbacks ? 1 : 0));
        close_library();
        free_problem(&p);
    }
    (void)x;
}

/* Of those that are offered the first that is deterministic. */
static void test_deterministic(void **state)
{
    problem p;
    char why[256];
    (void)state;
    reset();
    fake->configs = 5;
    fake->random = 2;
    open_library();
    make_problem(&p, 1, 1, 1, 64, 65, 65);
    assert_true(mgk_cudnn_plans(library_memory, &p.a, why, sizeof why));
    assert_int_equal(fake->plans, 1);
    close_library();
    free_problem(&p);
}

static void refused(const mgk_cudnn_options *options, const char *text)
{
    char why[256] = "";
    assert_false(mgk_cudnn_open(library_memory, options, why, sizeof why));
    if (!strstr(why, text))
        fail_msg("\"%s\" does not say \"%s\"", why, text);
    assert_int_equal(fake->handles, 0);
    for (size_t i = 0; i < mgk_cudnn_bytes(); i++)
        assert_int_equal(((const unsigned char *)library_memory)[i], 0);
}

static void test_refused(void **state)
{
    const mgk_cudnn_options options = {.file = fake_file};
    (void)state;
    reset();
    refused(&(mgk_cudnn_options){.file = "/nonexistent/libcudnn.so"}, "was not found");
    refused(&(mgk_cudnn_options){.file = "libz.so.1"}, "lacks functions");
    fake->version = 91300;
    refused(&options, "9.13.1 or a later 9 is needed");
    fake->version = 100000;
    refused(&options, "9.13.1 or a later 9 is needed");
    reset();
    fake->no_handle = 1;
    refused(&options, "cuDNN: making a handle: FAILED");
}

/* What an H200 says of itself, without a GPU. */
static const char h200[] = "{\"cudaDeviceId\":0,\"deviceVer\":900,\"driverVer\":13000,"
                           "\"maxGridSize\":[2147483647,65535,65535],"
                           "\"maxBlockSize\":[1024,1024,64],\"regsPerBlock\":65536,"
                           "\"multiProcessorCount\":132,\"warpSize\":32,"
                           "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":"
                           "232448,\"oversizedSharedMemoryPerBlock\":0,"
                           "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,"
                           "\"maxCtasPerSM\":32,\"maxThreadsPerBlock\":1024,"
                           "\"maxThreadsPerSM\":2048,\"pciDeviceId\":0,\"isTccDriver\":0,"
                           "\"supportCoopLaunch\":1,\"smClockRateKHz\":1980000,"
                           "\"memClockRateKHz\":3201000,\"l2CacheSize\":62914560,\"deviceName\":"
                           "\"NVIDIA H200\",\"totalGlobalMem\":150000000000}";

/* The library that $MOVIEGEN_CUDNN names. Its answer where there is no driver: descriptors and heuristics are good, and
 * no engine can be loaded. With a driver there is a plan. */
static void test_real(void **state)
{
    problem p;
    char why[256] = "";
    const mgk_cudnn_options options = {.file = getenv("MOVIEGEN_CUDNN"), .device = h200};
    (void)state;
    if (!options.file)
        skip();
    if (!mgk_cudnn_open(library_memory, &options, why, sizeof why))
        fail_msg("%s", why);
    for (int64_t dim = 64; dim <= 128; dim += 64) {
        make_problem(&p, 2, 4, 4, dim, 1000, 1000);
        if (!mgk_cudnn_plans(library_memory, &p.a, why, sizeof why) && !strstr(why, "no engine"))
            fail_msg("%s", why);
        free_problem(&p);
    }
    mgk_cudnn_close(library_memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_results),
                                       cmocka_unit_test(test_left_to_others),
                                       cmocka_unit_test(test_deterministic),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_real)};
    return cmocka_run_group_tests(tests, open_fake, close_fake);
}
