/* SPDX-License-Identifier: MIT
 * Results so large that they are written past the caches: the same bits as those of a few rows at a time, of every
 * variant for CPUs. */
#include "kernels/common/parallel.h"
#include "kernels/glu/glu.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"

#include "core/cpu.h"
#include "core/philox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DIM = 1056, ROWS = MGK_STREAM_BYTES / (2 * DIM) + 3, PATTERN = 4099, PART_ROWS = 509 };

typedef struct streams {
    int32_t dtype;
    void *x, *dy, *whole, *parts; /* two values of x, whole and parts an element; one of dy */
    float *weight, *rstd;         /* DIM; ROWS */
} streams;

static size_t size_of(int32_t dtype)
{
    return dtype == MGK_BF16 ? 2 : 4;
}

/* `at` values further on. */
static mgk_buf from(const streams *s, void *p, int64_t at)
{
    return (mgk_buf){(char *)p + (size_t)at * size_of(s->dtype), s->dtype};
}

static void *buffer(int32_t dtype, int64_t count)
{
    void *p = aligned_alloc(64, ((size_t)count * size_of(dtype) + 63) / 64 * 64);
    assert_non_null(p);
    return p;
}

static void *values(int32_t dtype, int64_t count, uint64_t stream)
{
    void *p = buffer(dtype, count);
    for (int64_t i = 0; i < count; i++) {
        float v = i < PATTERN ? mgi_random_normal(5, stream, (uint64_t)i) : 0;
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        if (i >= PATTERN)
            memcpy((char *)p + (size_t)i * size_of(dtype),
                   (char *)p + (size_t)(i - PATTERN) * size_of(dtype), size_of(dtype));
        else if (dtype == MGK_BF16)
            ((uint16_t *)p)[i] = (uint16_t)(bits >> 16);
        else
            ((float *)p)[i] = v;
    }
    return p;
}

/* Rows first.. of an op, to `out`. */
typedef void rows_fn(const mgk_variant_info *v, const streams *s, int64_t first, int64_t rows,
                     void *out);

static void glu_rows(const mgk_variant_info *v, const streams *s, int64_t first, int64_t rows,
                     void *out)
{
    mgk_glu_args a = {.x = from(s, s->x, 2 * first * DIM),
                      .dy = from(s, s->dy, first * DIM),
                      .dx = from(s, out, 2 * first * DIM),
                      .rows = rows,
                      .dim = DIM};
    mgk_exec x = {0};
    v->launch(&a, &x);
}

static void norm_rows(const mgk_variant_info *v, const streams *s, int64_t first, int64_t rows,
                      void *out)
{
    mgk_norm_args a = {.x = from(s, s->x, first * DIM),
                       .dy = from(s, s->dy, first * DIM),
                       .dx = from(s, out, first * DIM),
                       .weight = {s->weight, MGK_F32},
                       .rstd = {s->rstd + first, MGK_F32},
                       .rows = rows,
                       .dim = DIM,
                       .kind = MGK_NORM_RMS};
    size_t bytes = mgk_ops[v->op].workspace(&a, 1);
    mgk_exec x = {.workspace = buffer(MGK_F32, (int64_t)(bytes / 4 + 1)), .workspace_bytes = bytes};
    v->launch(&a, &x);
    free(x.workspace);
}

static void gate_rows(const mgk_variant_info *v, const streams *s, int64_t first, int64_t rows,
                      void *out)
{
    mgk_pointwise_args a = {.h = from(s, s->x, first * DIM),
                            .dy = from(s, s->dy, first * DIM),
                            .dh = from(s, out, first * DIM),
                            .gate = {s->weight, MGK_F32},
                            .rows = rows,
                            .dim = DIM,
                            .rows_per_sample = ROWS};
    mgk_exec x = {0};
    v->launch(&a, &x);
}

static void compare(int op, rows_fn *fn, int halves)
{
    for (int32_t dtype = MGK_F32; dtype <= MGK_BF16; dtype++) {
        const int64_t n = (int64_t)ROWS * DIM;
        streams s = {.dtype = dtype,
                     .x = values(dtype, 2 * n, 1),
                     .dy = values(dtype, n, 2),
                     .whole = buffer(dtype, halves * n),
                     .parts = buffer(dtype, halves * n),
                     .weight = values(MGK_F32, DIM, 3),
                     .rstd = values(MGK_F32, ROWS, 4)};
        for (int i = 0; i < mgk_variant_count; i++) {
            const mgk_variant_info *v = &mgk_variants[i];
            if (v->op != op || !v->launch || !strcmp(v->name, "ref") ||
                (v->needs & ~mgi_cpu_features()))
                continue;
            memset(s.whole, 0xff, (size_t)(halves * n) * size_of(dtype));
            memset(s.parts, 0, (size_t)(halves * n) * size_of(dtype));
            fn(v, &s, 0, ROWS, s.whole);
            for (int64_t r = 0; r < ROWS; r += PART_ROWS)
                fn(v, &s, r, mgk_min(PART_ROWS, ROWS - r), s.parts);
            if (memcmp(s.whole, s.parts, (size_t)(halves * n) * size_of(dtype)) != 0)
                fail_msg("%s %s differs", mgk_ops[op].name, v->name);
        }
        free(s.x);
        free(s.dy);
        free(s.whole);
        free(s.parts);
        free(s.weight);
        free(s.rstd);
    }
}

static void test_glu_grad(void **state)
{
    (void)state;
    compare(MGK_OP_glu_grad, glu_rows, 2);
}

static void test_norm_grad(void **state)
{
    (void)state;
    compare(MGK_OP_norm_grad, norm_rows, 1);
}

static void test_gated_residual_grad(void **state)
{
    (void)state;
    compare(MGK_OP_gated_residual_grad, gate_rows, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_glu_grad),
        cmocka_unit_test(test_norm_grad),
        cmocka_unit_test(test_gated_residual_grad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
