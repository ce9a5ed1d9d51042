/* SPDX-License-Identifier: MIT
 * The definition of snake and snake_grad. */
#include "kernels/snake/snake.h"
#include "kernels/common/check.h"
#include "kernels/common/real.h"
#include "kernels/snake/snake_blocks.h"

#include <math.h>

static bool common_check(const mgk_snake_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim, SNAKE_TOGETHER), "rows, dim out of range");
    MGK_RULE(mgk_is_real_of(a->x, a->rows * a->dim), "x: f32 or bf16");
    MGK_RULE(mgk_is_f32_of(a->alpha, a->rows * a->dim), "alpha: f32");
    return true;
}

static bool as_x(const mgk_snake_args *a, mgk_buf b)
{
    return mgk_is_real_of(b, a->rows * a->dim) && b.dtype == a->x.dtype;
}

bool mgk_snake_check(const void *args, const char **why)
{
    const mgk_snake_args *a = args;
    if (!common_check(a, why))
        return false;
    MGK_RULE(as_x(a, a->y), "y: as x");
    return true;
}

bool mgk_snake_grad_check(const void *args, const char **why)
{
    const mgk_snake_args *a = args;
    if (!common_check(a, why))
        return false;
    MGK_RULE(as_x(a, a->dy) && as_x(a, a->dx), "dy, dx: as x");
    MGK_RULE(mgk_is_f32_or_null(a->d_alpha), "d_alpha: f32");
    return true;
}

size_t mgk_snake_workspace(const void *args, int threads)
{
    (void)threads;
    return SNAKE_COLUMNS * sizeof(float) * (size_t)mgk_plan_snake(args).pitch;
}

size_t mgk_snake_grad_workspace(const void *args, int threads)
{
    const mgk_snake_args *a = args;
    mgk_snake_plan p = mgk_plan_snake(a);
    (void)threads;
    return sizeof(float) * (size_t)(p.pitch * (SNAKE_COLUMNS + (a->d_alpha.p ? 2 * p.blocks : 0)));
}

void mgk_snake_ref(const void *args, mgk_exec *x)
{
    const mgk_snake_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->rows * a->dim; i++) {
        double alpha = MGK_F(a->alpha)[i % a->dim], v = mgk_real_at(a->x, i), s = sin(alpha * v);
        mgk_real_set(a->y, i, v + s * s / (alpha + (double)MGK_SNAKE_EPS));
    }
}

void mgk_snake_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_snake_args *a = args;
    (void)x;
    for (int64_t c = 0; c < a->dim && a->rows > 0; c++) {
        double alpha = MGK_F(a->alpha)[c], times = 1 / (alpha + (double)MGK_SNAKE_EPS), sum = 0;
        for (int64_t r = 0; r < a->rows; r++) {
            int64_t i = r * a->dim + c;
            double v = mgk_real_at(a->x, i), dy = mgk_real_at(a->dy, i);
            double s = sin(alpha * v), two = sin(2 * alpha * v);
            double dx = (1 + alpha * times * two) * dy;
            sum += (v * two - s * s * times) * times * dy;
            mgk_real_set(a->dx, i, a->accumulate ? mgk_real_at(a->dx, i) + dx : dx);
        }
        if (a->d_alpha.p)
            MGK_F(a->d_alpha)[c] += (float)sum;
    }
}
