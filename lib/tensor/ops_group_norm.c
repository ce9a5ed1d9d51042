/* SPDX-License-Identifier: MIT
 * Front and gradient rule of group norm. */
#include "tensor/ops.h"

#include "kernels/group_norm/group_norm.h"

/* in: 0 = x, 1 = weight, 2 = bias */
static void group_norm_backward(mgi_run *run, mgi_node *node)
{
    mgk_group_norm_args a = *(const mgk_group_norm_args *)(const void *)node->args.bytes;
    T *sums = mgi_new(run, MGK_F32, MGI_DIMS(a.n, a.groups, 2));
    if (!sums)
        return;
    a.sums = mgi_buf(sums);
    a.dy = mgi_grad_in(node);
    a.d_weight = mgi_grad_add(run, node, 1);
    a.d_bias = mgi_grad_add(run, node, 2);
    mgi_run_launch(run, MGK_OP_group_norm_grad_stats, &a);
    a.dx = mgi_grad_out(run, node, 0, &a.accumulate);
    a.count = a.rows * (a.c / a.groups);
    if (a.dx.p && a.count > 0)
        mgi_run_launch(run, MGK_OP_group_norm_grad_apply, &a);
}

T *mgi_group_norm(mgi_run *run, T *x, int64_t groups, float eps, T *weight, T *bias, bool silu)
{
    if (run->status != MGEN_OK || !mgi_require(run, x != NULL, "group_norm: the input is missing"))
        return NULL;
    int64_t n = x->dims[0], c = x->dims[x->rank - 1], rows = 1;
    for (int i = 1; i < x->rank - 1; i++)
        rows *= x->dims[i];
    if (!mgi_require(run, x->rank >= 2, "group_norm: the input is not (N,...,C)") ||
        !mgi_require(run, groups > 0 && c % groups == 0,
                     "group_norm: the groups do not divide the channels") ||
        !mgi_require(run, !weight || weight->count == c,
                     "group_norm: the weight has another length") ||
        !mgi_require(run, !bias || bias->count == c, "group_norm: the bias has another length"))
        return NULL;
    T *y = mgi_new(run, x->dtype, x->rank, x->dims);
    T *mean = mgi_new(run, MGK_F32, MGI_DIMS(n, groups));
    T *var = mgi_new(run, MGK_F32, MGI_DIMS(n, groups));
    if (run->status != MGEN_OK)
        return NULL;
    mgk_group_norm_args a = {.x = mgi_buf(x),
                             .y = mgi_buf(y),
                             .mean = mgi_buf(mean),
                             .var = mgi_buf(var),
                             .weight = mgi_buf(weight),
                             .bias = mgi_buf(bias),
                             .n = n,
                             .rows = rows,
                             .c = c,
                             .groups = groups,
                             .silu = silu,
                             .eps = eps};
    mgi_run_launch(run, MGK_OP_group_norm_stats, &a);
    mgi_run_launch(run, MGK_OP_group_norm_apply, &a);
    mgi_record(run, group_norm_backward, y, (T *[]){x, weight, bias}, 3,
               (T *[]){x, weight, bias, mean, var}, 5, &a, sizeof a);
    return run->status == MGEN_OK ? y : NULL;
}
