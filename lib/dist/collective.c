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

void mgi_sum_ranks(mgi_run *run, mgi_comm *group, T *t)
{
    if (alone(group) || run->status != MGEN_OK)
        return;
    void *values = borrow(run, group, t, true);
    if (run->status == MGEN_OK)
        mgi_ok(run, mgi_comm_all_reduce(group, t->dtype, values, values, t->count, NULL));
    give_back(run, t, values, true);
}

/* ---- flat ---- */

static bool flat_begin(mgi_run *run, mgi_comm *group, T *from, T *to, mgi_flat_work *w)
{
    *w = (mgi_flat_work){.from = from, .to = to};
    if (run->status != MGEN_OK)
        return false;
    w->sent = borrow(run, group, from, true);
    w->got = from == to ? w->sent : borrow(run, group, to, false);
    return run->status == MGEN_OK;
}

void mgi_flat_gather_begin(mgi_run *run, mgi_comm *group, T *from, T *to, mgi_flat_work *w)
{
    if (flat_begin(run, group, from, to, w))
        mgi_ok(run,
               mgi_comm_all_gather(group, from->dtype, w->sent, w->got, from->count, &w->work));
}

void mgi_flat_scatter_begin(mgi_run *run, mgi_comm *group, T *from, T *to, mgi_flat_work *w)
{
    if (flat_begin(run, group, from, to, w))
        mgi_ok(run,
               mgi_comm_reduce_scatter(group, from->dtype, w->sent, w->got, to->count, &w->work));
}

void mgi_flat_sum_begin(mgi_run *run, mgi_comm *group, T *t, mgi_flat_work *w)
{
    if (flat_begin(run, group, t, t, w))
        mgi_ok(run, mgi_comm_all_reduce(group, t->dtype, w->sent, w->got, t->count, &w->work));
}

void mgi_flat_end(mgi_run *run, mgi_flat_work *w)
{
    mgi_ok(run, mgi_comm_wait(&w->work));
    if (w->sent != w->got)
        give_back(run, w->from, w->sent, false);
    give_back(run, w->to, w->got, true);
    *w = (mgi_flat_work){0};
}

/* ---- neighbours ---- */

/* Of two neighbours the even one sends first: whatever the engine, nobody waits in a circle. */
static mgen_status swap_with(mgi_comm *group, int32_t dtype, int peer, const void *out, void *in,
                             int64_t count)
{
    bool first = mgi_comm_rank(group) % 2 == 0;
    if (peer < 0 || peer >= mgi_comm_size(group))
        return MGEN_OK;
    if (first)
        MGI_TRY(mgi_comm_send(group, dtype, out, count, peer, NULL));
    MGI_TRY(mgi_comm_recv(group, dtype, in, count, peer, NULL));
    return first ? MGEN_OK : mgi_comm_send(group, dtype, out, count, peer, NULL);
}

T *mgi_swap_neighbours(mgi_run *run, mgi_comm *group, T *x)
{
    T *y = x ? mgi_new(run, x->dtype, x->rank, x->dims) : NULL;
    if (!y || !mgi_require(run, x->dims[0] == 2, "neighbours: x is not (2,n)"))
        return NULL;
    int64_t count = x->count / 2, rank = mgi_comm_rank(group);
    size_t bytes = (size_t)count * mgi_dtype_size(x->dtype);
    char *from = borrow(run, group, x, true), *to = borrow(run, group, y, false);
    for (int turn = 0; turn < 2 && run->status == MGEN_OK; turn++) {
        bool behind = (rank + turn) % 2 == 0; /* 0 and 1, 2 and 3, ...; then 1 and 2, ... */
        mgi_ok(run, swap_with(group, x->dtype, (int)rank + (behind ? 1 : -1), from + behind * bytes,
                              to + behind * bytes, count));
    }
    give_back(run, y, to, true);
    give_back(run, x, from, false);
    return run->status == MGEN_OK ? y : NULL;
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

static void begin(mgi_run *run, mgi_comm *group, T *x, bool sums, mgi_rows_work *w)
{
    *w = (mgi_rows_work){.group = group, .x = x, .sent = x, .got = x, .sums = sums};
    if (alone(group) || run->status != MGEN_OK || !x)
        return;
    int64_t n = mgi_comm_size(group), batch = x->dims[0];
    bool record = run->record;
    run->record = false;
    if (sums && batch > 1)
        w->sent = exchange(run, x, batch, n);
    w->got = mgi_new(run, x->dtype, MGI_DIMS(sums ? x->count / n : x->count * n));
    if (run->status == MGEN_OK) {
        w->from = borrow(run, group, w->sent, true);
        w->to = borrow(run, group, w->got, false);
    }
    if (run->status == MGEN_OK)
        mgi_ok(run, sums
                        ? mgi_comm_reduce_scatter(group, x->dtype, w->from, w->to, w->got->count,
                                                  &w->work)
                        : mgi_comm_all_gather(group, x->dtype, w->from, w->to, x->count, &w->work));
    run->record = record;
}

void mgi_gather_begin(mgi_run *run, mgi_comm *group, T *x, mgi_rows_work *w)
{
    begin(run, group, x, false, w);
}

void mgi_scatter_begin(mgi_run *run, mgi_comm *group, T *x, mgi_rows_work *w)
{
    begin(run, group, x, true, w);
}

T *mgi_rows_end(mgi_run *run, mgi_rows_work *w)
{
    T *x = w->x, *y = w->got;
    if (w->work)
        mgi_ok(run, mgi_comm_wait(&w->work));
    if (w->to)
        give_back(run, y, w->to, true);
    if (w->from)
        give_back(run, w->sent, w->from, false);
    if (run->status != MGEN_OK || y == x)
        return run->status == MGEN_OK ? x : NULL;
    int64_t n = mgi_comm_size(w->group), batch = x->dims[0];
    bool record = run->record;
    run->record = false;
    if (w->sent != x)
        mgi_drop(run, w->sent);
    if (!w->sums && batch > 1) {
        T *all = y;
        y = exchange(run, all, n, batch);
        mgi_drop(run, all);
    }
    y = shaped(run, y, x, w->sums ? x->dims[1] / n : x->dims[1] * n);
    run->record = record;
    return y;
}

static T *gather(mgi_run *run, mgi_comm *group, T *x)
{
    mgi_rows_work w;
    begin(run, group, x, false, &w);
    return mgi_rows_end(run, &w);
}

static T *scatter(mgi_run *run, mgi_comm *group, T *x)
{
    mgi_rows_work w;
    begin(run, group, x, true, &w);
    return mgi_rows_end(run, &w);
}

/* ---- recorded ---- */

typedef struct rows_args {
    mgi_comm *group;
    int64_t dims[3]; /* of the result: batch, rows, what is in one */
    int64_t parts;
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
    rows_args a = {group, {y->dims[0], y->dims[1], y->count / (y->dims[0] * y->dims[1])}, 1};
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

/* ---- rows and shares ---- */

/* All to all, of blocks that lie one behind the other. Drops x, unless it is `kept`. */
static T *swap_blocks(mgi_run *run, mgi_comm *group, T *x, const T *kept)
{
    T *y = x ? mgi_new(run, x->dtype, 1, &x->count) : NULL;
    if (!y)
        return NULL;
    void *from = borrow(run, group, x, true), *to = borrow(run, group, y, false);
    if (run->status == MGEN_OK)
        mgi_ok(run, mgi_comm_all_to_all(group, x->dtype, from, to, x->count / mgi_comm_size(group),
                                        NULL));
    give_back(run, y, to, true);
    give_back(run, x, from, false);
    if (x != kept)
        mgi_drop(run, x);
    return run->status == MGEN_OK ? y : NULL;
}

/* x seen in `rank` dimensions, permuted; `drop`: x goes. */
static T *permuted(mgi_run *run, T *x, int rank, const int64_t *dims, const int32_t *axes,
                   bool drop)
{
    T *seen = x ? mgi_reshape(run, x, rank, dims) : NULL;
    T *y = seen ? mgi_permute(run, seen, axes) : NULL;
    mgi_drop(run, seen);
    if (drop)
        mgi_drop(run, x);
    return y;
}

static T *to_shares(mgi_run *run, mgi_comm *group, T *x, int64_t parts)
{
    int64_t n = mgi_comm_size(group), b = x->dims[0], s = x->dims[1], row = x->count / (b * s);
    T *y = permuted(run, x, 5, (int64_t[]){b, s, parts, n, row / parts / n},
                    (const int32_t[]){3, 0, 1, 2, 4}, false);
    y = swap_blocks(run, group, y, x);
    if (b > 1)
        y = permuted(run, y, 3, (int64_t[]){n, b, s * row / n}, (const int32_t[]){1, 0, 2}, true);
    T *result = y ? mgi_reshape(run, y, MGI_DIMS(b, n * s, row / n)) : NULL;
    mgi_drop(run, y);
    return result;
}

static T *to_rows(mgi_run *run, mgi_comm *group, T *x, int64_t parts)
{
    int64_t n = mgi_comm_size(group), b = x->dims[0], s = x->dims[1] / n;
    int64_t share = x->count / (b * n * s);
    T *y = x;
    if (b > 1)
        y = permuted(run, x, 3, (int64_t[]){b, n, s * share}, (const int32_t[]){1, 0, 2}, false);
    y = swap_blocks(run, group, y, x);
    y = permuted(run, y, 5, (int64_t[]){n, b, s, parts, share / parts},
                 (const int32_t[]){1, 2, 3, 0, 4}, true);
    T *result = y ? mgi_reshape(run, y, MGI_DIMS(b, s, share * n)) : NULL;
    mgi_drop(run, y);
    return result;
}

typedef T *shares_fn(mgi_run *run, mgi_comm *group, T *x, int64_t parts);

static void shares_backward(mgi_run *run, mgi_node *node, shares_fn *back)
{
    const rows_args *a = (const void *)node->args.bytes;
    T *grad = mgi_grad_take(run, node);
    T *seen = grad ? mgi_reshape(run, grad, 3, a->dims) : NULL, *own;
    bool record = run->record;
    run->record = false;
    own = seen ? back(run, a->group, seen, a->parts) : NULL;
    run->record = record;
    if (own)
        mgi_grad_give(run, node, 0, mgi_reshape(run, own, MGI_DIMS(own->count)));
}

static void to_shares_backward(mgi_run *run, mgi_node *node)
{
    shares_backward(run, node, to_rows);
}

static void to_rows_backward(mgi_run *run, mgi_node *node)
{
    shares_backward(run, node, to_shares);
}

static T *shares(mgi_run *run, mgi_comm *group, T *x, int64_t parts, shares_fn *fn,
                 mgi_backward_fn *rule)
{
    bool record = run->record;
    run->record = false;
    T *y = fn(run, group, x, parts);
    run->record = record;
    if (!y)
        return NULL;
    rows_args a = {group, {y->dims[0], y->dims[1], y->dims[2]}, parts};
    mgi_record(run, rule, y, &x, 1, NULL, 0, &a, sizeof a);
    return run->status == MGEN_OK ? y : NULL;
}

T *mgi_rows_to_shares(mgi_run *run, mgi_comm *group, T *x, int64_t parts)
{
    if (alone(group))
        return x;
    if (!fits(run, x))
        return NULL;
    int64_t row = x->count / (x->dims[0] * x->dims[1]);
    if (!mgi_require(run, row % (parts * mgi_comm_size(group)) == 0,
                     "rows to shares: the ranks do not divide the parts of a row"))
        return NULL;
    return shares(run, group, x, parts, to_shares, to_shares_backward);
}

T *mgi_shares_to_rows(mgi_run *run, mgi_comm *group, T *x, int64_t parts)
{
    if (alone(group))
        return x;
    if (!fits(run, x) || !mgi_require(run, x->dims[1] % mgi_comm_size(group) == 0,
                                      "shares to rows: the ranks do not divide the rows"))
        return NULL;
    return shares(run, group, x, parts, to_rows, to_rows_backward);
}
