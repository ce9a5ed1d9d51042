/* SPDX-License-Identifier: MIT
 * group_norm: group norm in two passes, so that the tiles of a large image can share statistics.
 *
 *   x, y (n, rows, c); channel j belongs to group j / (c / groups); mean, var (n, groups)
 *   group_norm_stats  mean and variance (biased) of each sample's groups. If count > 0, mean and
 *                     var hold those of `count` values a group already, which are merged in.
 *   group_norm_apply  h = (x - mean) * rstd,  rstd = 1 / sqrt(var + eps)
 *                     y = act(h * weight + bias),  act = SiLU if `silu`, else nothing;
 *                     weight, bias (c) or NULL
 *   group_norm_grad_stats  with p = dy * act', the gradient before the activation: writes
 *                     sums (n, groups, 2) = sum(p * weight), sum(p * weight * h) (adds to them if
 *                     accumulate); adds to d_weight, d_bias (c), each of which may be NULL
 *   group_norm_grad_apply  dx = rstd * (p * weight - sums[0] / count - h * sums[1] / count) (adds
 *                     to it if accumulate); count = values a group in all tiles
 * Tiles are calls with different rows of the same samples. x, y, dy, dx are all f32 or all bf16, the
 * others are f32.
 */
#ifndef MGK_GROUP_NORM_H
#define MGK_GROUP_NORM_H

#include "kernels/mgk.h"

typedef struct mgk_group_norm_args {
    mgk_buf x, y, mean, var, weight, bias;
    mgk_buf dy, dx, sums, d_weight, d_bias; /* gradients only */
    int64_t n, rows, c, groups, count;
    int32_t silu, accumulate;
    float eps;
} mgk_group_norm_args;

MGK_DECLARE(group_norm_stats);
MGK_DECLARE(group_norm_apply);
MGK_DECLARE(group_norm_grad_stats);
MGK_DECLARE(group_norm_grad_apply);

enum { MGK_GROUP_NORM_COLUMNS = 7 }; /* of the workspace, a sample */

#endif
