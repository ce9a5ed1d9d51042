/* SPDX-License-Identifier: MIT
 * Test cases of the pointwise ops. */
#include "kernels/common/case_tools.h"
#include "kernels/pointwise/pointwise.h"

static const int64_t counts[] = {0, 1, 3, 16, 17, 63, 1000, 16384, 40001};
enum { COUNTS = sizeof counts / sizeof counts[0] };

static const struct {
    int64_t rows, dim, sample;
} shapes[] = {{0, 8, 1},     {4, 0, 2},      {1, 1, 1},     {5, 7, 2},     {3, 64, 1},
              {130, 48, 64}, {67, 100, 3},   {600, 96, 50}, {2100, 3, 7},  {9000, 1, 9000},
              {1300, 16, 1}, {40, 1500, 15}, {90, 33, 600}, {700, 64, 350}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void elementwise(mgk_case *c, mgk_pointwise_args *a, int index)
{
    a->count = counts[mgk_case_take(&index, COUNTS)];
    long n = (long)a->count;
    int op = mgk_case_take(&index, 6);
    int choice = mgk_case_take(&index, 3);
    a->kind = choice;
    a->accumulate = choice == 1;
    a->alpha = 0.75f;
    a->beta = choice == 0 ? 0 : -1.5f;
    switch (op) {
    case 0:
        MGK_CASE_BEGIN(c, MGK_OP_unary, "count %ld kind %d", n, choice);
        mgk_case_in(c, &a->x, a->count, 4);
        mgk_case_out(c, &a->y, a->count);
        break;
    case 1:
        MGK_CASE_BEGIN(c, MGK_OP_unary_grad, "count %ld kind %d", n, choice);
        mgk_case_in(c, &a->x, a->count, 4);
        mgk_case_in(c, &a->dy, a->count, 1);
        mgk_case_out_or_both(c, &a->dx, a->count, a->accumulate);
        break;
    case 2:
        MGK_CASE_BEGIN(c, MGK_OP_axpby, "count %ld beta %g", n, (double)a->beta);
        mgk_case_in(c, &a->x, a->count, 1);
        mgk_case_out_or_both(c, &a->y, a->count, a->beta != 0);
        break;
    case 3:
        MGK_CASE_BEGIN(c, MGK_OP_add, "count %ld", n);
        mgk_case_in(c, &a->x, a->count, 1);
        mgk_case_in(c, &a->h, a->count, 1);
        mgk_case_out(c, &a->y, a->count);
        break;
    case 4:
        MGK_CASE_BEGIN(c, MGK_OP_fill, "count %ld", n);
        mgk_case_out(c, &a->y, a->count);
        break;
    default:
        MGK_CASE_BEGIN(c, MGK_OP_unary, "count %ld large values, kind %d", n, choice);
        mgk_case_in(c, &a->x, a->count, 100);
        mgk_case_out(c, &a->y, a->count);
    }
}

static void rows(mgk_case *c, mgk_pointwise_args *a, int index)
{
    int shape = mgk_case_take(&index, SHAPES), op = mgk_case_take(&index, 5);
    bool more = mgk_case_take(&index, 2);
    a->rows = shapes[shape].rows;
    a->dim = shapes[shape].dim;
    a->rows_per_sample = a->period = shapes[shape].sample;
    a->gate_stride = a->d_gate_stride = a->dim + (more ? 5 : 0);
    int64_t n = a->rows * a->dim, samples = a->rows / a->rows_per_sample + 1;
    int64_t gates = samples * a->gate_stride;
    static const int ops[] = {MGK_OP_gated_residual, MGK_OP_gated_residual_grad,
                              MGK_OP_channel_affine, MGK_OP_add_rows, MGK_OP_reduce_rows};
    if (op >= 3 && more)
        a->period = 1;
    MGK_CASE_BEGIN(c, ops[op], "rows %ld dim %ld sample %ld%s", (long)a->rows, (long)a->dim,
                   (long)shapes[shape].sample, more ? " second form" : "");
    if (op == 1) {
        mgk_case_in(c, &a->dy, n, 1);
        mgk_case_in(c, &a->h, n, 1);
        mgk_case_in(c, &a->gate, gates, 1);
        mgk_case_out(c, &a->dh, n);
        mgk_case_both(c, &a->d_gate, gates);
        return;
    }
    mgk_case_in(c, &a->x, n, 1);
    if (op == 4) {
        mgk_case_both(c, &a->table, a->period * a->dim);
        return;
    }
    mgk_case_out(c, &a->y, n);
    if (op == 0) {
        mgk_case_in(c, &a->h, n, 1);
        mgk_case_in(c, &a->gate, gates, 1);
    } else if (op == 2) {
        mgk_case_in(c, &a->scale, a->dim, 1);
        mgk_case_in(c, &a->shift, a->dim, 1);
    } else {
        mgk_case_in(c, &a->table, a->period * a->dim, 1);
    }
}

static void convert(mgk_case *c, mgk_pointwise_args *a, int index)
{
    static const int32_t from[] = {MGK_U8, MGK_F32, MGK_BF16, MGK_F32};
    static const int32_t to[] = {MGK_F32, MGK_U8, MGK_F32, MGK_BF16};
    a->count = counts[mgk_case_take(&index, COUNTS)];
    int pair = mgk_case_take(&index, 4);
    a->alpha = pair == 0 ? 1 / 127.5f : pair == 1 ? 127.5f : 1;
    a->beta = pair == 0 ? -1 : pair == 1 ? 127.5f : 0;
    a->x.dtype = from[pair];
    a->y.dtype = to[pair];
    MGK_CASE_BEGIN(c, MGK_OP_convert, "count %ld pair %d", (long)a->count, pair);
    mgk_case_add(c, &a->x, MGK_CASE_IN, pair == 0 ? MGK_FILL_IDS : MGK_FILL_NORMAL, from[pair],
                 a->count, 256, 0.7f);
    mgk_case_add(c, &a->y, MGK_CASE_OUT, MGK_FILL_ZERO, to[pair], a->count, 0, 1);
    if (pair == 1)
        c->tolerance = 1.0f / 250; /* a tie may fall either way */
    if (pair == 3)
        c->tolerance = 1.0f / 128;
}

static bool illegal(mgk_case *c, mgk_pointwise_args *a, int index)
{
    static const int ops[] = {MGK_OP_unary,   MGK_OP_unary,          MGK_OP_add,
                              MGK_OP_convert, MGK_OP_gated_residual, MGK_OP_reduce_rows,
                              MGK_OP_fill,    MGK_OP_add_rows};
    if (index >= (int)(sizeof ops / sizeof ops[0]))
        return false;
    MGK_CASE_BEGIN(c, ops[index], "illegal %d", index);
    c->illegal = true;
    a->count = index == 0 ? -1 : 8;
    a->kind = index == 1 ? 99 : 0;
    a->rows = 4;
    a->dim = index == 7 ? INT64_MAX / 4 : 4;
    a->rows_per_sample = index == 4 ? 0 : 2;
    a->period = index == 5 ? 0 : 2;
    a->gate_stride = 4;
    mgk_case_in(c, &a->x, 16, 1);
    if (index != 2) /* add: one operand is missing */
        mgk_case_in(c, &a->h, 16, 1);
    mgk_case_in(c, &a->gate, 8, 1);
    mgk_case_both(c, &a->table, 8);
    if (index != 6) /* fill: no output */
        mgk_case_out(c, &a->y, 16);
    return true;
}

MGK_CASES(pointwise)
{
    mgk_pointwise_args *a = (void *)&c->args;
    (void)seed;
    enum { ELEMENTWISE = COUNTS * 6 * 3, ROWS = SHAPES * 5 * 2, CONVERT = COUNTS * 4 };
    if (index < ELEMENTWISE)
        elementwise(c, a, index);
    else if ((index -= ELEMENTWISE) < ROWS)
        rows(c, a, index);
    else if ((index -= ROWS) < CONVERT)
        convert(c, a, index);
    else
        return illegal(c, a, index - CONVERT);
    return true;
}
