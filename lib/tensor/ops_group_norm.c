/* SPDX-License-Identifier: MIT
 * Fronts of group norm, and its gradient rule. */
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

/* x (N,...,C), and the rules of all of it. */
static bool make_args(mgi_run *run, T *x, int64_t groups, T *weight, T *bias,
                      mgk_group_norm_args *a)
{
    if (run->status != MGEN_OK || !mgi_require(run, x != NULL, "group_norm: the input is missing"))
        return false;
    int64_t n = x->dims[0], c = x->dims[x->rank - 1], rows = 1;
    for (int i = 1; i < x->rank - 1; i++)
        rows *= x->dims[i];
    *a = (mgk_group_norm_args){.x = mgi_buf(x),
                               .weight = mgi_buf(weight),
                               .bias = mgi_buf(bias),
                               .n = n,
                               .rows = rows,
                               .c = c,
                               .groups = groups};
    return mgi_require(run, x->rank >= 2, "group_norm: the input is not (N,...,C)") &&
           mgi_require(run, groups > 0 && c % groups == 0,
                       "group_norm: the groups do not divide the channels") &&
           mgi_require(run, !weight || weight->count == c,
                       "group_norm: the weight has another length") &&
           mgi_require(run, !bias || bias->count == c, "group_norm: the bias has another length");
}

T *mgi_group_norm(mgi_run *run, T *x, int64_t groups, float eps, T *weight, T *bias, bool silu)
{
    mgk_group_norm_args a;
    if (!make_args(run, x, groups, weight, bias, &a))
        return NULL;
    T *y = mgi_new(run, x->dtype, x->rank, x->dims);
    T *mean = mgi_new(run, MGK_F32, MGI_DIMS(a.n, groups));
    T *var = mgi_new(run, MGK_F32, MGI_DIMS(a.n, groups));
    if (run->status != MGEN_OK)
        return NULL;
    a.y = mgi_buf(y);
    a.mean = mgi_buf(mean);
    a.var = mgi_buf(var);
    a.silu = silu;
    a.eps = eps;
    mgi_run_launch(run, MGK_OP_group_norm_stats, &a);
    mgi_run_launch(run, MGK_OP_group_norm_apply, &a);
    mgi_record(run, group_norm_backward, y, (T *[]){x, weight, bias}, 3,
               (T *[]){x, weight, bias, mean, var}, 5, &a, sizeof a);
    return run->status == MGEN_OK ? y : NULL;
}

/* The rows of a table of statistics that belong to the samples of x. */
static bool point_at(mgi_run *run, const mgi_norm_table *table, int64_t first,
                     mgk_group_norm_args *a)
{
    if (!mgi_require(run,
                     table->mean && table->var && first >= 0 &&
                         first + a->n <= table->mean->dims[0] && a->groups == table->mean->dims[1],
                     "group_norm: the table of statistics has another shape"))
        return false;
    a->mean = (mgk_buf){mgi_f32(table->mean) + first * a->groups, MGK_F32};
    a->var = (mgk_buf){mgi_f32(table->var) + first * a->groups, MGK_F32};
    return true;
}

void mgi_group_norm_collect(mgi_run *run, T *x, const mgi_norm_table *table, int64_t first,
                            int64_t count)
{
    mgk_group_norm_args a;
    if (!make_args(run, x, table->mean ? table->mean->dims[1] : 0, NULL, NULL, &a) ||
        !point_at(run, table, first, &a))
        return;
    a.count = count;
    mgi_run_launch(run, MGK_OP_group_norm_stats, &a);
}

T *mgi_group_norm_shared(mgi_run *run, T *x, const mgi_norm_table *table, int64_t first, float eps,
                         T *weight, T *bias, bool silu)
{
    mgk_group_norm_args a;
    if (!make_args(run, x, table->mean ? table->mean->dims[1] : 0, weight, bias, &a) ||
        !mgi_require(run, !run->record, "group_norm: shared statistics have no gradient") ||
        !point_at(run, table, first, &a))
        return NULL;
    T *y = mgi_new(run, x->dtype, x->rank, x->dims);
    a.y = mgi_buf(y);
    a.silu = silu;
    a.eps = eps;
    if (y)
        mgi_run_launch(run, MGK_OP_group_norm_apply, &a);
    return run->status == MGEN_OK ? y : NULL;
}
