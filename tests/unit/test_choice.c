/* SPDX-License-Identifier: MIT
 * Which variant of each op a processor gets. (What a GPU gets: test_cuda.c.) */
#include "core/cpu.h"
#include "tensor/device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum {
    HASWELL = MGI_CPU_AVX2,
    SKYLAKE = HASWELL | MGI_CPU_AVX512,
    EMERALD_RAPIDS = SKYLAKE | MGI_CPU_AVX512BF16, /* whose dot products do not pay */
    ZEN4 = EMERALD_RAPIDS | MGI_CPU_BF16_DOTS
};

/* Kernels for one processor are left out of some builds. */
static bool is_built(const char *variant)
{
    for (int i = 0; i < mgk_variant_count; i++)
        if (!strcmp(mgk_variants[i].name, variant) && mgk_variants[i].launch)
            return true;
    return false;
}

typedef struct {
    uint32_t features;
    const char *kernels;
    const char *product, *attention, *stream, *layout;
} expected;

static bool is_product(const char *op)
{
    return !strncmp(op, "matmul", 6) || !strncmp(op, "conv2d", 6);
}

static const char *expected_of(const expected *e, const char *op)
{
    static const char *const streams[] = {"norm", "glu_grad", "convert", "softmax",
                                          "group_norm_apply"};
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++)
        if (!strcmp(op, streams[i]))
            return e->stream;
    return is_product(op)                 ? e->product
           : !strncmp(op, "attention", 9) ? e->attention
           : !strcmp(op, "permute")       ? e->layout
           : !strcmp(op, "quantize_fp8")  ? e->layout
                                          : NULL;
}

static void test_choice(void **state)
{
    static const expected all[] = {
        {0, NULL, "packed", "portable", "portable", "portable"},
        {HASWELL, NULL, "avx2", "avx2", "avx2", "avx2"},
        {SKYLAKE, NULL, "avx512", "avx512", "avx512", "avx512"},
        {EMERALD_RAPIDS, NULL, "avx512", "avx512", "avx512bf16", "avx512"},
        {ZEN4, NULL, "avx512bf16", "avx512bf16", "avx512bf16", "avx512"},
        {EMERALD_RAPIDS, "avx512,avx512bf16", "avx512bf16", "avx512bf16", "avx512bf16", "avx512"},
        {EMERALD_RAPIDS, "avx512bf16", "avx512bf16", "avx512bf16", "avx512bf16", "ref"},
        {EMERALD_RAPIDS, "avx2,avx512", "avx512", "avx512", "avx512", "avx512"},
        {ZEN4, "avx2,avx512", "avx512", "avx512", "avx512", "avx512"},
        {SKYLAKE, "avx512,avx512bf16", "avx512", "avx512", "avx512", "avx512"},
        {ZEN4, "ref", "ref", "ref", "ref", "ref"}};
    (void)state;
    if (!is_built("avx512bf16"))
        skip();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const mgk_variant_info *kernel[MGK_OP_COUNT];
        int known = 0;
        mgi_kernels_pick(kernel, all[i].kernels, all[i].features);
        for (int op = 0; op < MGK_OP_COUNT; op++) {
            const char *name = expected_of(&all[i], mgk_ops[op].name);
            assert_non_null(kernel[op]);
            if (name && strcmp(kernel[op]->name, name) != 0)
                fail_msg("%d: %s is %s, not %s", (int)i, mgk_ops[op].name, kernel[op]->name, name);
            known += name != NULL;
        }
        assert_int_equal(known, 5 + 2 + 5 + 2);
    }
}

/* The processor that this runs on is one of those. */
static void test_here(void **state)
{
    uint32_t features = mgi_cpu_features();
    (void)state;
    assert_true(features == 0 || features == HASWELL || features == SKYLAKE ||
                features == EMERALD_RAPIDS || features == ZEN4);
}

static void test_dots_pay(void **state)
{
    (void)state;
    assert_true(mgi_cpu_dots_pay("AuthenticAMD"));
    assert_true(mgi_cpu_dots_pay("HygonGenuine"));
    assert_false(mgi_cpu_dots_pay("GenuineIntel"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_choice), cmocka_unit_test(test_here),
                                       cmocka_unit_test(test_dots_pay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
