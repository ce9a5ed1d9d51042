/* SPDX-License-Identifier: MIT
 * Test cases of the position ops. */
#include "kernels/common/case_tools.h"
#include "kernels/position/position.h"

/* batch, tokens, dim, grid, offset */
static const int64_t shapes[][7] = {
    {1, 1, 1, 1, 1, 1, 0},     {2, 0, 8, 1, 2, 2, 1},   {3, 24, 16, 2, 3, 4, 0},
    {2, 11, 35, 2, 3, 4, 5},   {1, 1, 70, 2, 3, 4, 23}, {64, 64, 192, 4, 4, 4, 0},
    {5, 90, 100, 3, 6, 5, 0},  {2, 9, 0, 3, 3, 1, 0},   {0, 4, 4, 1, 2, 2, 0},
    {2, 90, 12, 2, 1, 70, 30}, {130, 2, 4, 1, 1, 2, 0},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void legal(mgk_case *c, mgk_position_args *a, int index)
{
    const int64_t *s = shapes[mgk_case_take(&index, SHAPES)];
    c->real = mgk_case_take(&index, 2) ? MGK_BF16 : MGK_F32;
    bool grad = index;
    *a = (mgk_position_args){.batch = s[0],
                             .tokens = s[1],
                             .dim = s[2],
                             .grid_t = s[3],
                             .grid_h = s[4],
                             .grid_w = s[5],
                             .token_offset = s[6]};
    MGK_CASE_BEGIN(c, grad ? MGK_OP_position_add_grad : MGK_OP_position_add,
                   "batch %ld tokens %ld dim %ld grid %ld %ld %ld offset %ld%s", (long)s[0],
                   (long)s[1], (long)s[2], (long)s[3], (long)s[4], (long)s[5], (long)s[6],
                   c->real ? " bf16" : "");
    int64_t n = a->batch * a->tokens * a->dim;
    if (grad) {
        mgk_case_in(c, &a->dy, n, 1);
        mgk_case_both_f32(c, &a->d_frame, a->grid_t * a->dim);
        mgk_case_both_f32(c, &a->d_row, a->grid_h * a->dim);
        mgk_case_both_f32(c, &a->d_column, a->grid_w * a->dim);
        return;
    }
    mgk_case_in(c, &a->x, n, 1);
    mgk_case_in_f32(c, &a->frame, a->grid_t * a->dim, 1);
    mgk_case_in_f32(c, &a->row, a->grid_h * a->dim, 1);
    mgk_case_in_f32(c, &a->column, a->grid_w * a->dim, 1);
    mgk_case_out(c, &a->y, n);
}

static bool illegal(mgk_case *c, mgk_position_args *a, int index)
{
    static const char *const what[] = {"tokens past the grid", "offset before the grid",
                                       "x missing", "mixed dtypes", "huge grid"};
    bool grad = index >= 5;
    int kind = grad ? (index == 7 ? 4 : index - 5) : index;
    if (index >= 8)
        return false;
    legal(c, a, 2 + (grad ? 2 * SHAPES : 0));
    snprintf(c->label, sizeof c->label, "%s", what[kind]);
    c->illegal = true;
    if (kind == 0)
        a->token_offset = 1;
    else if (kind == 1)
        a->token_offset = -1;
    else if (kind == 2)
        a->x = (mgk_buf){0, 0}, c->bufs[0].slot = &a->dy;
    else if (kind == 3)
        a->y.dtype = c->bufs[4].dtype = MGK_BF16;
    else
        a->grid_t = INT64_MAX / 2;
    return true;
}

MGK_CASES(position)
{
    mgk_position_args *a = (void *)c->args.bytes;
    (void)seed;
    if (index < 4 * SHAPES) {
        legal(c, a, index);
        return true;
    }
    return illegal(c, a, index - 4 * SHAPES);
}
