/* SPDX-License-Identifier: MIT */
#include "train/data_parallel.h"

#include <string.h>

static void sum_end(mgi_data_parallel *dp, mgi_run *run)
{
    mgi_flat_end(run, &dp->sums[dp->sum_first]);
    dp->sum_first = (dp->sum_first + 1) % MGI_DP_SUMS;
    dp->sum_count--;
}

static void sum_begin(mgi_data_parallel *dp, mgi_run *run, mgi_tensor *grad)
{
    if (mgi_comm_size(dp->comm) == 1)
        return;
    if (dp->sum_count == MGI_DP_SUMS)
        sum_end(dp, run);
    mgi_flat_sum_begin(run, dp->comm, grad,
                       &dp->sums[(dp->sum_first + dp->sum_count++) % MGI_DP_SUMS]);
}

/* Add the gradients of units down to number `unit`. The order is that of the backward pass, the same on
 * every rank. */
static void add_down_to(mgi_data_parallel *dp, mgi_run *run, int i, int64_t unit)
{
    mgi_module *m = dp->module[i];
    while (run->status == MGEN_OK && m->units - dp->done[i] > unit) {
        mgi_tensor *grad = m->unit_grad[m->units - ++dp->done[i]];
        if (grad)
            sum_begin(dp, run, grad);
    }
}

static void on_unit(mgi_run *run, void *user, void *module, int64_t unit, int moment)
{
    mgi_data_parallel *dp = user;
    if (dp->fsdp)
        mgi_fsdp_unit(dp->fsdp, run, module, unit, moment);
    for (int i = 0; dp->adds && moment == MGI_EXIT_BACKWARD && i < dp->count; i++)
        if (dp->module[i] == module)
            add_down_to(dp, run, i, unit);
}

void mgi_dp_init(mgi_data_parallel *dp, mgi_comm *comm, mgi_module *const *modules, int count)
{
    memset(dp, 0, sizeof *dp);
    dp->comm = comm;
    for (int i = 0; i < count; i++)
        if (modules[i]->shard_size < 2)
            dp->module[dp->count++] = modules[i];
    dp->hook = (mgi_unit_hook){on_unit, dp};
}

mgen_status mgi_dp_share(const mgi_data_parallel *dp, mgen_context *ctx, int64_t batch,
                         int64_t *first, int64_t *rows)
{
    int64_t ranks = dp->comm ? mgi_comm_size(dp->comm) : 1;
    if (batch % ranks)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "a batch of %lld cannot be shared by %lld ranks; make it a multiple",
                        (long long)batch, (long long)ranks);
    *rows = batch / ranks;
    *first = *rows * (dp->comm ? mgi_comm_rank(dp->comm) : 0);
    return MGEN_OK;
}

float mgi_dp_weight(const mgi_data_parallel *dp)
{
    return dp->comm ? 1.0f / (float)mgi_comm_size(dp->comm) : 1.0f;
}

void mgi_dp_begin(mgi_data_parallel *dp, mgi_run *run, bool last)
{
    memset(dp->done, 0, sizeof dp->done);
    dp->adds = dp->comm && last;
    if (dp->fsdp)
        mgi_fsdp_begin(dp->fsdp, run, last);
    if (dp->fsdp || dp->adds)
        run->hook = &dp->hook;
}

void mgi_dp_end(mgi_data_parallel *dp, mgi_run *run, mgi_tensor *sums)
{
    if (dp->fsdp)
        mgi_fsdp_end(dp->fsdp, run);
    for (int i = 0; dp->adds && i < dp->count; i++)
        add_down_to(dp, run, i, 0);
    while (dp->sum_count)
        sum_end(dp, run);
    if (dp->comm && sums)
        mgi_sum_ranks(run, dp->comm, sums);
}
