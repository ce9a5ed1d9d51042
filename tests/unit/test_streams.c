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
    void *x, *dy, *whole, *parts;   /* two values of x, whole and parts an element; one of dy */
    float *weight, *rstd, *written; /* DIM; ROWS; the same, for what norm tells of it */
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

static void launch(const mgk_variant_info *v, const void *args)
{
    const mgk_op_info *op = &mgk_ops[v->op];
    size_t bytes = op->workspace ? op->workspace(args, 1) : 0;
    mgk_exec x = {.workspace = buffer(MGK_F32, (int64_t)(bytes / 4 + 1)), .workspace_bytes = bytes};
    v->launch(args, &x);
    free(x.workspace);
}

static mgk_glu_args glu_args(const streams *s, int64_t first, int64_t rows)
{
    return (mgk_glu_args){.x = from(s, s->x, 2 * first * DIM), .rows = rows, .dim = DIM};
}

static void glu_rows(const mgk_variant_info *v, const streams *s, int64_t first, int64_t rows,
                     void *out)
{
    mgk_glu_args a = glu_args(s, first, rows);
    a.y = from(s, out, first * DIM);
    launch(v, &a);
}

static void glu_grad_rows(const mgk_variant_info *v, const streams *s, int64_t first, int64_t rows,
                          void *out)
{
    mgk_glu_args a = glu_args(s, first, rows);
    a.dy = from(s, s->dy, first * DIM);
    a.dx = from(s, out, 2 * first * DIM);
    launch(v, &a);
}

static mgk_norm_args norm_args(const streams *s, float *rstd, int64_t first, int64_t rows)
{
    return (mgk_norm_args){.x = from(s, s->x, first * DIM),
                           .weight = {s->weight, MGK_F32},
                           .rstd = {rstd + first, MGK_F32},
                           .rows = rows,
                           .dim = DIM,
                           .kind = MGK_NORM_RMS,
                           .eps = 1e-6f};
}

static void norm_rows(const mgk_variant_info *v, const streams *s, int64_t first, int64_t rows,
                      void *out)
{
    mgk_norm_args a = norm_args(s, s->written, first, rows);
    a.y = from(s, out, first * DIM);
    launch(v, &a);
}

static void norm_grad_rows(const mgk_variant_info *v, const streams *s, int64_t first, int64_t rows,
                           void *out)
{
    mgk_norm_args a = norm_args(s, s->rstd, first, rows);
    a.dy = from(s, s->dy, first * DIM);
    a.dx = from(s, out, first * DIM);
    launch(v, &a);
}

static mgk_pointwise_args gate_args(const streams *s, int64_t first, int64_t rows)
{
    return (mgk_pointwise_args){.h = from(s, s->x, first * DIM),
                                .gate = {s->weight, MGK_F32},
                                .rows = rows,
                                .dim = DIM,
                                .rows_per_sample = ROWS};
}

static void gate_rows(const mgk_variant_info *v, const streams *s, int64_t first, int64_t rows,
                      void *out)
{
    mgk_pointwise_args a = gate_args(s, first, rows);
    a.x = from(s, s->dy, first * DIM);
    a.y = from(s, out, first * DIM);
    launch(v, &a);
}

static void gate_grad_rows(const mgk_variant_info *v, const streams *s, int64_t first, int64_t rows,
                           void *out)
{
    mgk_pointwise_args a = gate_args(s, first, rows);
    a.dy = from(s, s->dy, first * DIM);
    a.dh = from(s, out, first * DIM);
    launch(v, &a);
}

/* unary, or its gradient, or add. */
static void flat_rows(const mgk_variant_info *v, const streams *s, int64_t first, int64_t rows,
                      void *out)
{
    mgk_pointwise_args a = {.x = from(s, s->x, first * DIM),
                            .y = from(s, out, first * DIM),
                            .h = from(s, s->dy, first * DIM),
                            .dy = from(s, s->dy, first * DIM),
                            .dx = from(s, out, first * DIM),
                            .count = rows * DIM,
                            .kind = MGK_UNARY_GELU_TANH};
    launch(v, &a);
}

/* To the other dtype, as often as there is room in two values an element. */
static void convert_rows(const mgk_variant_info *v, const streams *s, int64_t first, int64_t rows,
                         void *out)
{
    const int32_t dtype = s->dtype == MGK_F32 ? MGK_BF16 : MGK_F32;
    const int64_t copies = 2 * (int64_t)size_of(s->dtype) / (int64_t)size_of(dtype);
    for (int64_t i = 0; i < copies; i++) {
        char *y = (char *)out + (size_t)((i * ROWS + first) * DIM) * size_of(dtype);
        mgk_pointwise_args a = {
            .x = from(s, s->x, first * DIM), .y = {y, dtype}, .count = rows * DIM, .alpha = 1.0f};
        launch(v, &a);
    }
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
                     .rstd = values(MGK_F32, ROWS, 4),
                     .written = buffer(MGK_F32, ROWS)};
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
        free(s.written);
    }
}

static void test_glu(void **state)
{
    (void)state;
    compare(MGK_OP_glu, glu_rows, 1);
    compare(MGK_OP_glu_grad, glu_grad_rows, 2);
}

static void test_norm(void **state)
{
    (void)state;
    compare(MGK_OP_norm, norm_rows, 1);
    compare(MGK_OP_norm_grad, norm_grad_rows, 1);
}

static void test_gated_residual(void **state)
{
    (void)state;
    compare(MGK_OP_gated_residual, gate_rows, 1);
    compare(MGK_OP_gated_residual_grad, gate_grad_rows, 1);
}

static void test_flat(void **state)
{
    (void)state;
    compare(MGK_OP_unary, flat_rows, 1);
    compare(MGK_OP_unary_grad, flat_rows, 1);
    compare(MGK_OP_add, flat_rows, 1);
    compare(MGK_OP_convert, convert_rows, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_glu),
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_gated_residual),
        cmocka_unit_test(test_flat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
