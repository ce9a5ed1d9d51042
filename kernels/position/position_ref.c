/* SPDX-License-Identifier: MIT */
#include "kernels/common/check.h"
#include "kernels/common/real.h"
#include "kernels/position/position.h"

static bool shape_ok(const mgk_position_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->batch, a->tokens, a->dim), "batch, tokens, dim out of range");
    MGK_RULE(MGK_EXTENTS_OK(a->grid_t, a->grid_h, a->grid_w, a->dim), "grid out of range");
    MGK_RULE(a->token_offset >= 0 &&
                 a->tokens <= a->grid_t * a->grid_h * a->grid_w - a->token_offset,
             "the tokens lie outside the grid");
    return true;
}

bool mgk_position_add_check(const void *args, const char **why)
{
    const mgk_position_args *a = args;
    if (!shape_ok(a, why))
        return false;
    bool empty = a->batch * a->tokens * a->dim == 0;
    MGK_RULE(empty || (mgk_is_real(a->x) && a->y.p && a->y.dtype == a->x.dtype),
             "x, y: f32 or bf16, both the same");
    MGK_RULE(empty || (mgk_is_f32(a->frame) && mgk_is_f32(a->row) && mgk_is_f32(a->column)),
             "tables: f32");
    return true;
}

bool mgk_position_add_grad_check(const void *args, const char **why)
{
    const mgk_position_args *a = args;
    if (!shape_ok(a, why))
        return false;
    MGK_RULE(a->batch * a->tokens * a->dim == 0 || mgk_is_real(a->dy), "dy: f32 or bf16");
    MGK_RULE(mgk_is_f32_or_null(a->d_frame) && mgk_is_f32_or_null(a->d_row) &&
                 mgk_is_f32_or_null(a->d_column),
             "gradients of tables: f32");
    return true;
}

size_t mgk_position_add_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

size_t mgk_position_add_grad_workspace(const void *args, int threads)
{
    (void)args;
    (void)threads;
    return 0;
}

void mgk_position_add_ref(const void *args, mgk_exec *x)
{
    const mgk_position_args *a = args;
    (void)x;
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t s = 0; s < a->tokens; s++) {
            int64_t at = a->token_offset + s, k = at % a->grid_w, j = at / a->grid_w % a->grid_h,
                    i = at / a->grid_w / a->grid_h;
            for (int64_t c = 0; c < a->dim; c++) {
                int64_t e = (b * a->tokens + s) * a->dim + c;
                mgk_real_set(a->y, e,
                             mgk_real_at(a->x, e) + mgk_real_at(a->frame, i * a->dim + c) +
                                 mgk_real_at(a->row, j * a->dim + c) +
                                 mgk_real_at(a->column, k * a->dim + c));
            }
        }
}

/* Table row `index` along one axis: the sum over all tokens there. */
static void sum_axis(const mgk_position_args *a, mgk_buf table, int64_t size, int64_t below)
{
    if (!table.p)
        return;
    for (int64_t index = 0; index < size; index++)
        for (int64_t c = 0; c < a->dim; c++) {
            double sum = 0;
            for (int64_t b = 0; b < a->batch; b++)
                for (int64_t s = 0; s < a->tokens; s++)
                    if ((a->token_offset + s) / below % size == index)
                        sum += mgk_real_at(a->dy, (b * a->tokens + s) * a->dim + c);
            mgk_real_set(table, index * a->dim + c, mgk_real_at(table, index * a->dim + c) + sum);
        }
}

void mgk_position_add_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_position_args *a = args;
    (void)x;
    sum_axis(a, a->d_frame, a->grid_t, a->grid_h * a->grid_w);
    sum_axis(a, a->d_row, a->grid_h, a->grid_w);
    sum_axis(a, a->d_column, a->grid_w, 1);
}
