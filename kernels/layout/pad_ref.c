/* SPDX-License-Identifier: MIT
 * The definition of pad, pad_grad and permute. */
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/layout/layout_types.h"
#include "kernels/layout/pad.h"
#include "kernels/layout/permute.h"

static bool pad_check(const mgk_pad_args *a, bool add, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->n, a->t, a->h, a->w, a->c, 2), "extents out of range");
    for (int i = 0; i < 3; i++)
        MGK_RULE(MGK_EXTENTS_OK(a->before[i], 1) && MGK_EXTENTS_OK(a->after[i], 1),
                 "before, after out of range");
    int64_t t = a->before[0] + a->t + a->after[0], h = a->before[1] + a->h + a->after[1];
    int64_t w = a->before[2] + a->w + a->after[2];
    MGK_RULE(MGK_EXTENTS_OK(a->n, t, h, w, a->c, 2), "padded extents out of range");
    MGK_RULE(a->mode == MGK_BORDER_ZERO || a->mode == MGK_BORDER_REPLICATE, "unknown mode");
    MGK_RULE(a->mode == MGK_BORDER_ZERO || (a->t > 0 && a->h > 0 && a->w > 0) || t * h * w == 0,
             "nothing to replicate");
    int64_t in = a->n * a->t * a->h * a->w * a->c, out = a->n * t * h * w * a->c;
    MGK_RULE(mgk_movable(a->x, a->x, in, add) && mgk_movable(a->y, a->y, out, add) &&
                 a->x.dtype == a->y.dtype,
             "x, y: one dtype, real for the gradient");
    return true;
}

bool mgk_pad_check(const void *args, const char **why)
{
    return pad_check(args, false, why);
}

bool mgk_pad_grad_check(const void *args, const char **why)
{
    return pad_check(args, true, why);
}

bool mgk_permute_check(const void *args, const char **why)
{
    const mgk_permute_args *a = args;
    int64_t all[MGK_PERMUTE_RANK + 1] = {2}, count = 1;
    int seen = 0;
    MGK_RULE(a->rank >= 1 && a->rank <= MGK_PERMUTE_RANK, "rank must be within 1..6");
    for (int i = 0; i < a->rank; i++) {
        MGK_RULE(a->axis[i] >= 0 && a->axis[i] < a->rank, "axis out of range");
        seen |= 1 << a->axis[i];
        all[i + 1] = a->extent[i];
    }
    MGK_RULE(seen == (1 << a->rank) - 1, "an axis is named twice");
    MGK_RULE(mgk_extents_ok(a->rank + 1, all), "extents out of range");
    for (int i = 0; i < a->rank; i++)
        count *= a->extent[i];
    MGK_RULE(mgk_movable(a->x, a->y, count, a->accumulate), "x, y: one dtype, real if added");
    return true;
}

#define NO_WORKSPACE(op)                                                                           \
    size_t mgk_##op##_workspace(const void *args, int threads)                                     \
    {                                                                                              \
        (void)args;                                                                                \
        (void)threads;                                                                             \
        return 0;                                                                                  \
    }
NO_WORKSPACE(pad)
NO_WORKSPACE(pad_grad)
NO_WORKSPACE(permute)

/* Which index of x stands at index i of y; -1: none. */
static int64_t source(int64_t i, int64_t before, int64_t extent, bool replicate)
{
    i -= before;
    if (replicate)
        return i < 0 ? 0 : i >= extent ? extent - 1 : i;
    return i >= 0 && i < extent ? i : -1;
}

/* The element of x that element `at` of y holds; -1: none. */
static int64_t element(const mgk_pad_args *a, int64_t at)
{
    const int64_t from[3] = {a->t, a->h, a->w};
    int64_t extent[3], place[3];
    for (int i = 0; i < 3; i++)
        extent[i] = a->before[i] + from[i] + a->after[i];
    int64_t c = at % a->c, pixel = at / a->c, item = pixel / (extent[0] * extent[1] * extent[2]);
    int64_t index[3] = {pixel / extent[2] / extent[1] % extent[0], pixel / extent[2] % extent[1],
                        pixel % extent[2]};
    for (int i = 0; i < 3; i++) {
        place[i] = source(index[i], a->before[i], from[i], a->mode == MGK_BORDER_REPLICATE);
        if (place[i] < 0)
            return -1;
    }
    return (((item * a->t + place[0]) * a->h + place[1]) * a->w + place[2]) * a->c + c;
}

static int64_t padded_count(const mgk_pad_args *a)
{
    return a->n * (a->before[0] + a->t + a->after[0]) * (a->before[1] + a->h + a->after[1]) *
           (a->before[2] + a->w + a->after[2]) * a->c;
}

void mgk_pad_ref(const void *args, mgk_exec *x)
{
    const mgk_pad_args *a = args;
    const int64_t size = mgk_move_size(a->y.dtype);
    (void)x;
    for (int64_t at = 0; at < padded_count(a); at++) {
        int64_t from = element(a, at);
        if (from >= 0)
            mgk_move_one(a->y, at, a->x, from, false);
        else
            memset((char *)a->y.p + at * size, 0, (size_t)size);
    }
}

/* A value of x stands in a box of y: along each axis in one place, at an edge of x that is
 * replicated also in the border beyond. */
static double box_sum(const mgk_pad_args *a, int64_t item, const int64_t at[3], int64_t c)
{
    const int64_t from[3] = {a->t, a->h, a->w};
    int64_t extent[3], first[3], end[3];
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        bool replicate = a->mode == MGK_BORDER_REPLICATE;
        extent[i] = a->before[i] + from[i] + a->after[i];
        first[i] = replicate && at[i] == 0 ? 0 : a->before[i] + at[i];
        end[i] = replicate && at[i] == from[i] - 1 ? extent[i] : a->before[i] + at[i] + 1;
    }
    for (int64_t t = first[0]; t < end[0]; t++)
        for (int64_t h = first[1]; h < end[1]; h++)
            for (int64_t w = first[2]; w < end[2]; w++) {
                int64_t pixel = ((item * extent[0] + t) * extent[1] + h) * extent[2] + w;
                sum += mgk_real_at(a->y, pixel * a->c + c);
            }
    return sum;
}

void mgk_pad_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_pad_args *a = args;
    (void)x;
    for (int64_t k = 0; k < a->n * a->t * a->h * a->w * a->c; k++) {
        int64_t pixel = k / a->c;
        int64_t at[3] = {pixel / a->w / a->h % a->t, pixel / a->w % a->h, pixel % a->w};
        double sum = box_sum(a, pixel / a->w / a->h / a->t, at, k % a->c);
        mgk_real_set(a->x, k, a->accumulate ? mgk_real_at(a->x, k) + sum : sum);
    }
}

void mgk_permute_ref(const void *args, mgk_exec *x)
{
    const mgk_permute_args *a = args;
    int64_t stride[MGK_PERMUTE_RANK], count = 1; /* in y, of the axes of x */
    (void)x;
    for (int k = a->rank - 1; k >= 0; k--) {
        stride[a->axis[k]] = count;
        count *= a->extent[a->axis[k]];
    }
    for (int64_t at = 0; at < count; at++) {
        int64_t rest = at, to = 0;
        for (int i = a->rank - 1; i >= 0; i--) {
            to += rest % a->extent[i] * stride[i];
            rest /= a->extent[i];
        }
        mgk_move_one(a->y, to, a->x, at, a->accumulate);
    }
}
