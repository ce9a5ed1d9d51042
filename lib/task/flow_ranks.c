/* SPDX-License-Identifier: MIT */
#include "task/flow_ranks.h"

#include "dist/collective.h"
#include "task/ranks.h"

mgi_flow_ranks mgi_flow_ranks_of(const mgi_mesh *mesh)
{
    return (mgi_flow_ranks){.all = mgi_ranks_of(mesh),
                            .dp = mesh && mesh->shape.dp > 1 ? mesh->group[MGI_AXIS_DP] : NULL};
}

bool mgi_flow_first(const mgi_flow_ranks *ranks)
{
    return !ranks->all || mgi_comm_rank(ranks->all) == 0;
}

/* -- rows --------------------------------------------------------------------------------------- */

int64_t mgi_flow_windows(const mgi_flow_ranks *ranks, int64_t count, int64_t rows)
{
    int64_t size = ranks->dp ? mgi_comm_size(ranks->dp) : 1, n = 1;
    while (n < count && n * rows % size)
        n++;
    return n;
}

T *mgi_flow_rows(mgi_run *run, T *t, int64_t first, int64_t rows)
{
    T *view;
    if (!t || run->status != MGEN_OK || rows == t->dims[0])
        return t;
    return mgi_ok(run, mgi_tensor_rows(t, first, rows, &view)) ? mgi_scope_add(run, view) : NULL;
}

/* This rank's share of the rows of `windows` windows from `window` on, and those of the others. */
static T *shared(mgi_run *run, mgi_comm *dp, const mgi_flow_batch *b, int64_t window,
                 int64_t windows)
{
    const int64_t *d = b->dims, each = d[0] * d[1] * d[2] * d[3];
    int64_t ranks = mgi_comm_size(dp), all = windows * b->rows, share = (all + ranks - 1) / ranks;
    int64_t at = share * mgi_comm_rank(dp), end = at + share < all ? at + share : all;
    int64_t mark = mgi_scope_push(run);
    T *own = mgi_new(run, MGK_F32, MGI_DIMS(1, share, each));
    if (own && end < at + share) /* what nobody looks at is the same in every run */
        mgi_fill(run, own, 0.0f);
    for (int64_t i = at, n; i < end && own; i += n) {
        int64_t row = i % b->rows, inner = mgi_scope_push(run);
        n = b->rows - row < end - i ? b->rows - row : end - i;
        T *u = b->evaluate(b->user, window + i / b->rows, row, n);
        mgi_copy(run, own, (i - at) * each, u, 0, n * each);
        mgi_scope_pop(run, inner, NULL);
    }
    T *u = mgi_gather_rows(run, dp, own);
    if (u)
        u = mgi_reshape(run, u, MGI_DIMS(share * ranks, d[0], d[1], d[2], d[3]));
    return mgi_scope_pop(run, mark, u);
}

T *mgi_flow_velocities(mgi_run *run, const mgi_flow_ranks *ranks, const mgi_flow_batch *batch,
                       int64_t window, int64_t windows)
{
    return ranks->dp && windows * batch->rows > 1
               ? shared(run, ranks->dp, batch, window, windows)
               : batch->evaluate(batch->user, window, 0, batch->rows);
}

/* -- ends --------------------------------------------------------------------------------------- */

mgen_status mgi_flow_together(mgi_run *run, mgi_flow_ranks *ranks, mgen_status status)
{
    bool agreed;
    if (ranks->ended)
        return status;
    status = mgi_comm_together_in(run->ctx, ranks->all, status, &agreed);
    ranks->ended = agreed && status != MGEN_OK;
    return status;
}

mgen_status mgi_flow_agree(mgi_run *run, const mgi_flow_ranks *ranks, const char *request)
{
    return ranks->all && !run->dev->meta ? mgi_comm_agree(ranks->all, "request", request) : MGEN_OK;
}

mgen_status mgi_flow_same(mgi_run *run, const mgi_flow_ranks *ranks, int32_t dtype, void *values,
                          int64_t count)
{
    return ranks->all && !run->dev->meta
               ? mgi_ranks_share(run->ctx, ranks->all, dtype, values, count, 0)
               : MGEN_OK;
}

void mgi_flow_evaluated(const mgi_run *run, const mgi_flow_ranks *ranks)
{
    if (ranks->all && run->status != MGEN_OK)
        mgi_comm_abort(ranks->all);
}

mgen_status mgi_flow_end(mgi_run *run, mgi_flow_ranks *ranks, mgen_status status)
{
    if (!ranks->all || ranks->ended)
        return status;
    if (run->status == MGEN_OK)
        return mgi_flow_together(run, ranks, status);
    mgi_comm_abort(ranks->all);
    return status;
}

mgen_status mgi_flow_said(mgen_context *ctx, const mgi_flow_ranks *ranks, mgen_status status)
{
    if (ranks->all && mgi_comm_context(ranks->all) != ctx &&
        (status == MGEN_E_PEER_LOST || status == MGEN_E_TIMEOUT || status == MGEN_E_DESYNC))
        return mgi_fail_from(ctx, status, mgi_comm_context(ranks->all));
    return status;
}
