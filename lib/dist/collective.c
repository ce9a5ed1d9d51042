/* SPDX-License-Identifier: MIT */
#include "dist/collective.h"

#include "core/alloc.h"

static bool alone(const mgi_comm *group)
{
    return !group || mgi_comm_size(group) == 1;
}

/* ---- where the buffers of a call are ---- */

/* A tensor's values where the communicator takes them from; on a GPU that it cannot reach, a copy. */
static void *borrow(mgi_run *run, const mgi_comm *group, T *t, bool read)
{
    void *copy;
    if (!run->dev->cuda || mgi_comm_on_gpu(group))
        return mgi_data(t);
    if (!mgi_ok(run, mgi_alloc(run->ctx, (size_t)t->count * mgi_dtype_size(t->dtype), &copy)))
        return NULL;
    if (read) {
        mgi_tensor_read(t, 0, copy, t->count);
        mgi_ok(run, mgi_device_wait(run->dev));
    }
    return copy;
}

static void give_back(mgi_run *run, T *t, void *values, bool written)
{
    if (!values || values == mgi_data(t))
        return;
    if (written && run->status == MGEN_OK)
        mgi_tensor_write(t, 0, values, t->count);
    mgi_free(run->ctx, values);
}

typedef mgen_status call_fn(mgi_comm *comm, int32_t dtype, const void *send, void *recv,
                            int64_t count, mgi_comm_work **work);

/* y = what the collective makes of x, of which `count` elements are the rank's share. */
static void call(mgi_run *run, mgi_comm *group, call_fn *fn, T *x, T *y, int64_t count)
{
    if (run->status != MGEN_OK)
        return;
    void *from = borrow(run, group, x, true), *to = y == x ? from : borrow(run, group, y, false);
    if (run->status == MGEN_OK)
        mgi_ok(run, fn(group, x->dtype, from, to, count, NULL));
    give_back(run, y, to, true);
    if (y != x)
        give_back(run, x, from, false);
}

void mgi_sum_ranks(mgi_run *run, mgi_comm *group, T *t)
{
    if (!alone(group))
        call(run, group, mgi_comm_all_reduce, t, t, t->count);
}

/* ---- rows, not recorded ---- */

/* x (first,second,rest) -> (second,first,rest). */
static T *exchange(mgi_run *run, T *x, int64_t first, int64_t second)
{
    static const int32_t axes[3] = {1, 0, 2};
    T *seen = mgi_reshape(run, x, MGI_DIMS(first, second, x->count / (first * second)));
    T *y = mgi_permute(run, seen, axes);
    mgi_drop(run, seen);
    return y;
}

/* x (batch,rows,...) in the dimensions of `like`, but for its rows. */
static T *shaped(mgi_run *run, T *x, const T *like, int64_t rows)
{
    int64_t dims[MGI_RANK_MAX];
    for (int k = 0; x && k < like->rank; k++)
        dims[k] = k == 1 ? rows : like->dims[k];
    T *y = x ? mgi_reshape(run, x, like->rank, dims) : NULL;
    mgi_drop(run, x);
    return y;
}

static T *gather(mgi_run *run, mgi_comm *group, T *x)
{
    int64_t n = mgi_comm_size(group), batch = x->dims[0];
    T *all = mgi_new(run, x->dtype, MGI_DIMS(n * x->count)), *y = all;
    if (!all)
        return NULL;
    call(run, group, mgi_comm_all_gather, x, all, x->count);
    if (batch > 1) {
        y = exchange(run, all, n, batch);
        mgi_drop(run, all);
    }
    return shaped(run, y, x, n * x->dims[1]);
}

static T *scatter(mgi_run *run, mgi_comm *group, T *x)
{
    int64_t n = mgi_comm_size(group), batch = x->dims[0], rows = x->dims[1] / n;
    T *sorted = batch > 1 ? exchange(run, x, batch, n) : x;
    T *y = sorted ? mgi_new(run, x->dtype, MGI_DIMS(x->count / n)) : NULL;
    if (!y)
        return NULL;
    call(run, group, mgi_comm_reduce_scatter, sorted, y, y->count);
    if (sorted != x)
        mgi_drop(run, sorted);
    return shaped(run, y, x, rows);
}

/* ---- recorded ---- */

typedef struct rows_args {
    mgi_comm *group;
    int64_t dims[3]; /* of the result: batch, rows, what is in one */
} rows_args;

static T *unrecorded(mgi_run *run, mgi_comm *group, T *(*fn)(mgi_run *, mgi_comm *, T *), T *x)
{
    bool record = run->record;
    run->record = false;
    T *y = fn(run, group, x);
    run->record = record;
    return y;
}

static void rows_backward(mgi_run *run, mgi_node *node, T *(*fn)(mgi_run *, mgi_comm *, T *))
{
    const rows_args *a = (const void *)node->args.bytes;
    T *grad = mgi_grad_take(run, node);
    T *seen = grad ? mgi_reshape(run, grad, 3, a->dims) : NULL, *own = NULL;
    if (seen)
        own = unrecorded(run, a->group, fn, seen);
    if (own)
        mgi_grad_give(run, node, 0, mgi_reshape(run, own, MGI_DIMS(own->count)));
}

static T *take_own(mgi_run *run, mgi_comm *group, T *x)
{
    int64_t rows = x->dims[1] / mgi_comm_size(group);
    return mgi_slice(run, x, 1, mgi_comm_rank(group) * rows, rows);
}

static void gather_backward(mgi_run *run, mgi_node *node)
{
    rows_backward(run, node, scatter);
}

static void gather_alike_backward(mgi_run *run, mgi_node *node)
{
    rows_backward(run, node, take_own);
}

static void scatter_backward(mgi_run *run, mgi_node *node)
{
    rows_backward(run, node, gather);
}

static T *record(mgi_run *run, mgi_comm *group, mgi_backward_fn *rule, T *x, T *y)
{
    if (!y)
        return NULL;
    rows_args a = {group, {y->dims[0], y->dims[1], y->count / (y->dims[0] * y->dims[1])}};
    mgi_record(run, rule, y, &x, 1, NULL, 0, &a, sizeof a);
    return run->status == MGEN_OK ? y : NULL;
}

static bool fits(mgi_run *run, const T *x)
{
    return run->status == MGEN_OK &&
           mgi_require(run, x && x->rank >= 2 && x->count > 0, "collective: x is not (B,S,...)");
}

T *mgi_gather_rows(mgi_run *run, mgi_comm *group, T *x)
{
    if (alone(group))
        return x;
    return fits(run, x) ? record(run, group, gather_backward, x, unrecorded(run, group, gather, x))
                        : NULL;
}

T *mgi_gather_rows_alike(mgi_run *run, mgi_comm *group, T *x)
{
    if (alone(group))
        return x;
    return fits(run, x)
               ? record(run, group, gather_alike_backward, x, unrecorded(run, group, gather, x))
               : NULL;
}

T *mgi_scatter_rows(mgi_run *run, mgi_comm *group, T *x)
{
    if (alone(group))
        return x;
    if (!fits(run, x) || !mgi_require(run, x->dims[1] % mgi_comm_size(group) == 0,
                                      "scatter: the ranks do not divide the rows"))
        return NULL;
    return record(run, group, scatter_backward, x, unrecorded(run, group, scatter, x));
}
