/* SPDX-License-Identifier: MIT
 * Test cases of the pointwise ops. */
#include "kernels/common/case_tools.h"
#include "kernels/pointwise/pointwise.h"

#include <math.h>

static const int64_t counts[] = {0, 1, 3, 16, 17, 63, 1000, 16384, 40001};
enum { COUNTS = sizeof counts / sizeof counts[0], KINDS = MGK_UNARY_TANH + 1 };

static const struct {
    int64_t rows, dim, sample;
} shapes[] = {{0, 8, 1},     {4, 0, 2},      {1, 1, 1},     {5, 7, 2},     {3, 64, 1},
              {130, 48, 64}, {67, 100, 3},   {600, 96, 50}, {2100, 3, 7},  {9000, 1, 9000},
              {1300, 16, 1}, {40, 1500, 15}, {90, 33, 600}, {700, 64, 350}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static const char *dtype_name(int32_t dtype)
{
    return dtype == MGK_BF16 ? "bf16" : dtype == MGK_U8 ? "u8" : "f32";
}

/* Activations: scale 100 reaches the ends of exp. */
static void activation(mgk_case *c, mgk_pointwise_args *a, int index)
{
    a->count = counts[mgk_case_take(&index, COUNTS)];
    a->kind = mgk_case_take(&index, KINDS);
    c->real = mgk_case_take(&index, 2);
    bool grad = index > 0, add = index > 1;
    float scale = index == 3 ? 100 : 4;
    a->accumulate = add;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_unary_grad : MGK_OP_unary, "count %ld kind %d %s x %g%s",
                   (long)a->count, a->kind, dtype_name(c->real), (double)scale, add ? " add" : "");
    mgk_case_in(c, &a->x, a->count, index == 0 && a->kind % 2 ? 100 : scale);
    const bool coarse = a->kind == MGK_UNARY_SILU || a->kind == MGK_UNARY_QUICK_GELU;
    const bool pieces = coarse || a->kind == MGK_UNARY_GELU_TANH || a->kind == MGK_UNARY_GELU_ERF;
    const float off = pieces ? mgk_case_activation_off(coarse, grad, c->real) : 0;
    if (!grad) {
        mgk_case_out(c, &a->y, a->count);
        mgk_case_besides(c, off, 0);
        return;
    }
    mgk_case_in(c, &a->dy, a->count, 1);
    mgk_case_out_or_both(c, &a->dx, a->count, add);
    mgk_case_besides(c, off, 1 << 1); /* dy */
}

/* axpby with x and y of either dtype, add, fill. */
static void sums(mgk_case *c, mgk_pointwise_args *a, int index)
{
    a->count = counts[mgk_case_take(&index, COUNTS)];
    long n = (long)a->count;
    c->real = mgk_case_take(&index, 2);
    a->alpha = 0.75f;
    if (index < 4) {
        int32_t from = index & 1 ? MGK_BF16 : MGK_F32, to = c->real;
        a->beta = index & 2 ? -1.5f : 0;
        MGK_CASE_BEGIN(c, MGK_OP_axpby, "count %ld beta %g %s to %s", n, (double)a->beta,
                       dtype_name(from), dtype_name(to));
        c->real = from;
        mgk_case_in(c, &a->x, a->count, 1);
        c->real = to;
        mgk_case_out_or_both(c, &a->y, a->count, a->beta != 0);
    } else if (index == 4) {
        MGK_CASE_BEGIN(c, MGK_OP_add, "count %ld %s", n, dtype_name(c->real));
        mgk_case_in(c, &a->x, a->count, 1);
        mgk_case_in(c, &a->h, a->count, 1);
        mgk_case_out(c, &a->y, a->count);
    } else {
        MGK_CASE_BEGIN(c, MGK_OP_fill, "count %ld %s", n, dtype_name(c->real));
        mgk_case_out(c, &a->y, a->count);
    }
}

enum { ROW_OPS = 5, ROW_FORMS = 3 };

/* form 0: plain; 1: other strides, a period of 1; 2: the rows are a slice of a longer sequence */
static void rows(mgk_case *c, mgk_pointwise_args *a, int index)
{
    static const int ops[ROW_OPS] = {MGK_OP_gated_residual, MGK_OP_gated_residual_grad,
                                     MGK_OP_channel_affine, MGK_OP_add_rows, MGK_OP_reduce_rows};
    int shape = mgk_case_take(&index, SHAPES), op = mgk_case_take(&index, ROW_OPS);
    int form = mgk_case_take(&index, ROW_FORMS);
    c->real = mgk_case_take(&index, 2);
    int64_t dim = shapes[shape].dim, sample = shapes[shape].sample;
    a->rows = shapes[shape].rows;
    a->dim = dim;
    a->rows_per_sample = a->period = sample;
    a->gate_stride = a->d_gate_stride = dim + (form ? 5 : 0);
    a->row_offset = form == 2 ? sample + sample / 2 : 0;
    if (op >= 3 && form == 1)
        a->period = 1;
    if (op == 4)
        a->kind = (shape + form + c->real) % 3;
    int64_t n = a->rows * dim, samples = (a->rows + a->row_offset) / sample + 1;
    int64_t gates = samples * a->gate_stride;
    MGK_CASE_BEGIN(c, ops[op], "rows %ld dim %ld sample %ld form %d kind %d %s", (long)a->rows,
                   (long)dim, (long)sample, form, a->kind, dtype_name(c->real));
    if (op == 1) {
        mgk_case_in(c, &a->dy, n, 1);
        mgk_case_in(c, &a->h, n, 1);
        mgk_case_in_f32(c, &a->gate, gates, 1);
        mgk_case_out(c, &a->dh, n);
        mgk_case_both_f32(c, &a->d_gate, gates);
        return;
    }
    mgk_case_in(c, &a->x, n, 1);
    if (op == 4) {
        mgk_case_both_f32(c, &a->table, a->period * dim);
        return;
    }
    mgk_case_out(c, &a->y, n);
    if (op == 0) {
        mgk_case_in(c, &a->h, n, 1);
        mgk_case_in_f32(c, &a->gate, gates, 1);
    } else if (op == 2) {
        mgk_case_in_f32(c, &a->scale, dim, 1);
        mgk_case_in_f32(c, &a->shift, dim, 1);
    } else {
        mgk_case_in_f32(c, &a->table, a->period * dim, 1);
    }
}

/* Outputs so large that they are written past the caches. */
static void large(mgk_case *c, mgk_pointwise_args *a, int index)
{
    enum { DIM = 1024, BYTES = 16 << 20 };
    if (index == 0) {
        c->real = MGK_BF16;
        a->alpha = 0.7f;
        a->count = BYTES / 2 + 3005;
        MGK_CASE_BEGIN(c, MGK_OP_fill, "large bf16");
        mgk_case_out(c, &a->y, a->count);
        return;
    }
    a->dim = DIM;
    a->rows = BYTES / (4 * DIM) + 3;
    a->period = 3;
    MGK_CASE_BEGIN(c, MGK_OP_add_rows, "large f32");
    mgk_case_in(c, &a->x, a->rows * a->dim, 1);
    mgk_case_out(c, &a->y, a->rows * a->dim);
    mgk_case_in_f32(c, &a->table, a->period * a->dim, 1);
}

/* The smallest and the largest values of both signs that the logarithm and the tangent meet. */
static void ends(mgk_case *c, mgk_pointwise_args *a, int index)
{
    static const float values[] = {0,        -0.0f,        1e-45f,  1e-40f, 1e-30f,   1e-8f,  6e-8f,
                                   1e-4f,    0.41f,        0.42f,   1,      1e7f,     1.7e7f, 1e30f,
                                   1.7e38f,  3.40282e+38f, -1e-45f, -1e-8f, -1,       -1e30f, -10,
                                   -1.0001f, -0.41f,       88,      -88,    3.40e+38f};
    a->count = sizeof values / sizeof values[0];
    a->kind = index % 2 ? MGK_UNARY_TANH : MGK_UNARY_LOG1P;
    MGK_CASE_BEGIN(c, index < 2 ? MGK_OP_unary : MGK_OP_unary_grad, "ends, kind %d", a->kind);
    a->x.dtype = MGK_F32;
    mgk_case_given(c, &a->x, MGK_F32, a->count, values);
    if (index >= 2)
        mgk_case_in(c, &a->dy, a->count, 1);
    mgk_case_out(c, index < 2 ? &a->y : &a->dx, a->count);
}

static void convert(mgk_case *c, mgk_pointwise_args *a, int index)
{
    static const int32_t types[] = {MGK_F32, MGK_BF16, MGK_U8};
    a->count = counts[mgk_case_take(&index, COUNTS)];
    int32_t from = types[mgk_case_take(&index, 3)], to = types[index];
    a->alpha = from == MGK_U8 ? 1 / 127.5f : 1;
    a->beta = from == MGK_U8 ? -1 : 0;
    if (to == MGK_U8) {
        a->alpha *= 127.5f;
        a->beta = a->beta * 127.5f + 127.5f;
    }
    MGK_CASE_BEGIN(c, MGK_OP_convert, "count %ld %s to %s", (long)a->count, dtype_name(from),
                   dtype_name(to));
    a->x.dtype = from;
    a->y.dtype = to;
    mgk_case_add(c, &a->x, MGK_CASE_IN, from == MGK_U8 ? MGK_FILL_IDS : MGK_FILL_NORMAL, from,
                 a->count, 256, 0.7f);
    mgk_case_add(c, &a->y, MGK_CASE_OUT, MGK_FILL_ZERO, to, a->count, 0, 1);
    if (to == MGK_U8)
        c->tolerance = 1.0f / 250; /* a tie may fall either way */
}

/* What rounding to bf16 must not take for a number: NaN whose payload would overflow, or vanish with the lower half; and ties
 * and infinities. Among numbers, in the first vector of a pair and in the second, of any width. */
static void convert_ends(mgk_case *c, mgk_pointwise_args *a)
{
    static float values[96];
    for (int i = 0; i < 96; i++)
        values[i] = (float)(i - 40) / 64 + 1 / 16384.0f;
    values[5] = values[37] = __builtin_nanf("0x3fffff");
    values[47] = values[64] = -__builtin_nanf("0x3fffff");
    values[27] = __builtin_nansf("1");
    values[80] = 1 + 1 / 256.0f;
    values[81] = 1 + 3 / 256.0f;
    values[82] = INFINITY;
    values[83] = -INFINITY;
    a->count = 96;
    a->alpha = 1;
    MGK_CASE_BEGIN(c, MGK_OP_convert, "ends f32 to bf16");
    a->x.dtype = MGK_F32;
    a->y.dtype = MGK_BF16;
    mgk_case_given(c, &a->x, MGK_F32, a->count, values);
    mgk_case_add(c, &a->y, MGK_CASE_OUT, MGK_FILL_ZERO, MGK_BF16, a->count, 0, 1);
}

/* Each line: the op and what is wrong with it. */
enum {
    BAD_COUNT,
    BAD_KIND,
    NO_H,
    BAD_DTYPE,
    BAD_SAMPLE,
    BAD_PERIOD,
    NO_Y,
    BAD_DIM,
    BAD_OFFSET,
    MIXED
};
static const struct {
    int op, wrong;
} illegals[] = {{MGK_OP_unary, BAD_COUNT},
                {MGK_OP_unary, BAD_KIND},
                {MGK_OP_unary, MIXED},
                {MGK_OP_unary_grad, MIXED},
                {MGK_OP_unary_grad, BAD_KIND},
                {MGK_OP_axpby, BAD_COUNT},
                {MGK_OP_axpby, NO_Y},
                {MGK_OP_add, NO_H},
                {MGK_OP_add, MIXED},
                {MGK_OP_convert, BAD_COUNT},
                {MGK_OP_convert, BAD_DTYPE},
                {MGK_OP_gated_residual, BAD_SAMPLE},
                {MGK_OP_gated_residual, BAD_OFFSET},
                {MGK_OP_gated_residual, MIXED},
                {MGK_OP_gated_residual_grad, BAD_OFFSET},
                {MGK_OP_gated_residual_grad, BAD_SAMPLE},
                {MGK_OP_gated_residual_grad, BAD_DIM},
                {MGK_OP_channel_affine, BAD_DIM},
                {MGK_OP_channel_affine, MIXED},
                {MGK_OP_reduce_rows, BAD_PERIOD},
                {MGK_OP_reduce_rows, BAD_KIND},
                {MGK_OP_reduce_rows, BAD_OFFSET},
                {MGK_OP_fill, NO_Y},
                {MGK_OP_fill, BAD_DTYPE},
                {MGK_OP_add_rows, BAD_DIM},
                {MGK_OP_add_rows, BAD_PERIOD},
                {MGK_OP_add_rows, BAD_OFFSET}};
enum { ILLEGAL = sizeof illegals / sizeof illegals[0] };

static void illegal(mgk_case *c, mgk_pointwise_args *a, int index)
{
    int wrong = illegals[index].wrong;
    MGK_CASE_BEGIN(c, illegals[index].op, "illegal %d", wrong);
    c->illegal = true;
    a->count = wrong == BAD_COUNT ? -1 : 8;
    a->kind = wrong == BAD_KIND ? 99 : 0;
    a->rows = 4;
    a->dim = wrong == BAD_DIM ? INT64_MAX / 4 : 4;
    a->rows_per_sample = wrong == BAD_SAMPLE ? 0 : 2;
    a->period = wrong == BAD_PERIOD ? 0 : 2;
    a->row_offset = wrong == BAD_OFFSET ? -1 : 0;
    a->gate_stride = a->d_gate_stride = 4;
    if (wrong != BAD_COUNT || c->op != MGK_OP_convert)
        c->real = MGK_BF16;
    mgk_case_in_f32(c, &a->gate, 8, 1);
    mgk_case_in_f32(c, &a->scale, 4, 1);
    mgk_case_in_f32(c, &a->shift, 4, 1);
    mgk_case_both_f32(c, &a->table, 8);
    mgk_case_both_f32(c, &a->d_gate, 8);
    mgk_case_in(c, &a->dy, 16, 1);
    mgk_case_in(c, &a->x, 16, 1);
    if (wrong != NO_H)
        mgk_case_in(c, &a->h, 16, 1);
    c->real = wrong == MIXED ? MGK_F32 : wrong == BAD_DTYPE ? MGK_I32 : MGK_BF16;
    mgk_case_out(c, &a->dh, 16);
    mgk_case_out(c, &a->dx, 16);
    if (wrong != NO_Y)
        mgk_case_out(c, &a->y, 16);
}

MGK_CASES(pointwise)
{
    mgk_pointwise_args *a = (void *)&c->args;
    (void)seed;
    enum { ACTIVATION = COUNTS * KINDS * 2 * 4, SUMS = COUNTS * 2 * 6 };
    enum { ROWS = SHAPES * ROW_OPS * ROW_FORMS * 2, CONVERT = COUNTS * 9, LARGE = 2, ENDS = 5 };
    if (index < ACTIVATION)
        activation(c, a, index);
    else if ((index -= ACTIVATION) < SUMS)
        sums(c, a, index);
    else if ((index -= SUMS) < ROWS)
        rows(c, a, index);
    else if ((index -= ROWS) < CONVERT)
        convert(c, a, index);
    else if ((index -= CONVERT) < LARGE)
        large(c, a, index);
    else if ((index -= LARGE) < ENDS)
        index < 4 ? ends(c, a, index) : convert_ends(c, a);
    else if ((index -= ENDS) < ILLEGAL)
        illegal(c, a, index);
    else
        return false;
    return true;
}
