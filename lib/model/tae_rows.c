/* SPDX-License-Identifier: MIT */
#include "model/tae_rows.h"

#include "core/alloc.h"
#include "dist/collective.h"

/* -- who has which rows ----------------------------------------------------------------------- */

bool mgi_tae_rows_fit(const mgi_tae *tae, const mgi_comm *ranks, int64_t rows)
{
    return !tae->config.attention && !tae->config.tile_frames && rows >= mgi_comm_size(ranks);
}

struct mgi_tae_span mgi_tae_rows_at(const mgi_tae_rows *rows, int rank)
{
    int64_t all = rows->own.all, ranks = mgi_comm_size(rows->ranks);
    int64_t first = all * rank / ranks;
    return (struct mgi_tae_span){first, all * (rank + 1) / ranks - first, all};
}

mgi_tae_rows mgi_tae_rows_of(mgi_comm *ranks, int64_t rows)
{
    mgi_tae_rows r = {.ranks = ranks, .own = {.all = rows}};
    r.own = mgi_tae_rows_at(&r, mgi_comm_rank(ranks));
    return r;
}

/* -- a row of either neighbour ---------------------------------------------------------------- */

/* (2, T x W x C): the first row of all frames, and the last. */
static T *edges(mgi_run *run, T *x)
{
    int64_t frames = x->dims[0], rows = x->dims[1], row = x->dims[2] * x->dims[3];
    T *y = mgi_new(run, x->dtype, MGI_DIMS(2, frames * row));
    for (int64_t i = 0; i < frames; i++) {
        mgi_copy(run, y, i * row, x, i * rows * row, row);
        mgi_copy(run, y, (frames + i) * row, x, ((i + 1) * rows - 1) * row, row);
    }
    return y;
}

struct mgi_tae_span mgi_tae_rows_after(const mgi_tae_conv *c, struct mgi_tae_span own)
{
    int64_t up = c->up ? 2 : 1;
    return (struct mgi_tae_span){own.first * up / c->stride, own.count * up / c->stride,
                                 own.all * up / c->stride};
}

T *mgi_tae_rows_widen(mgi_run *run, const mgi_tae_rows *rows, const mgi_tae_conv *c, T *x,
                      mgi_tae_place *place)
{
    const struct mgi_tae_span own = place->side[0];
    mgi_tae_place wanted = *place;
    wanted.side[0] = mgi_tae_rows_after(c, own);
    place->side[0] = mgi_tae_before(c, wanted).side[0];
    int64_t above = own.first - place->side[0].first,
            below = place->side[0].count - own.count - above;
    if (!x || run->status != MGEN_OK ||
        !mgi_require(run, above >= 0 && above <= 1 && below >= 0 && below <= 1,
                     "tae rows: a convolution needs more than a row of its neighbours"))
        return NULL;
    int64_t mark = mgi_scope_push(run), frames = x->dims[0], row = x->dims[2] * x->dims[3];
    int64_t count = place->side[0].count;
    T *others = mgi_swap_neighbours(run, rows->ranks, edges(run, x));
    T *y = mgi_new(run, x->dtype, MGI_DIMS(frames, count, x->dims[2], x->dims[3]));
    for (int64_t i = 0; i < frames && others && y; i++) {
        int64_t to = i * count * row;
        if (above)
            mgi_copy(run, y, to, others, i * row, row);
        mgi_copy(run, y, to + above * row, x, i * own.count * row, own.count * row);
        if (below)
            mgi_copy(run, y, to + (count - 1) * row, others, (frames + i) * row, row);
    }
    return mgi_scope_pop(run, mark, y);
}

/* -- statistics of whole frames --------------------------------------------------------------- */

/* values: mean and var, `each` of them, of all ranks -> of whole frames, into those of the first. */
static void merge(const mgi_tae_rows *rows, float *values, int64_t each)
{
    int size = mgi_comm_size(rows->ranks);
    for (int64_t i = 0; i < each; i++) {
        double mean = 0.0, var = 0.0;
        for (int r = 0; r < size; r++)
            mean += (double)mgi_tae_rows_at(rows, r).count * (double)values[2 * r * each + i];
        mean /= (double)rows->own.all;
        for (int r = 0; r < size; r++) {
            double apart = (double)values[2 * r * each + i] - mean;
            var += (double)mgi_tae_rows_at(rows, r).count *
                   ((double)values[(2 * r + 1) * each + i] + apart * apart);
        }
        values[i] = (float)mean;
        values[each + i] = (float)(var / (double)rows->own.all);
    }
}

T *mgi_tae_rows_activate(mgi_run *run, const mgi_tae_rows *rows, const mgi_tae_norm *n, T *x)
{
    if (!n->w || run->status != MGEN_OK)
        return mgi_tae_activate(run, n, x);
    int64_t mark = mgi_scope_push(run), frames = x->dims[0], each = frames * n->groups;
    float *values;
    T *own = mgi_new(run, MGK_F32, MGI_DIMS(1, 2, each)), *y = NULL;
    const mgi_norm_table table = {mgi_new(run, MGK_F32, MGI_DIMS(frames, n->groups)),
                                  mgi_new(run, MGK_F32, MGI_DIMS(frames, n->groups))};
    mgi_group_norm_collect(run, x, &table, 0, 0);
    mgi_copy(run, own, 0, table.mean, 0, each);
    mgi_copy(run, own, each, table.var, 0, each);
    T *all = mgi_gather_rows(run, rows->ranks, own);
    if (!all || !mgi_ok(run, mgi_alloc(run->ctx, (size_t)all->count * sizeof *values, &values)))
        return mgi_scope_pop(run, mark, NULL);
    mgi_tensor_read(all, 0, values, all->count);
    if (mgi_ok(run, mgi_device_wait(run->dev))) {
        merge(rows, values, each);
        mgi_tensor_write(table.mean, 0, values, each);
        mgi_tensor_write(table.var, 0, values + each, each);
        mgi_ok(run, mgi_device_wait(run->dev));
        y = mgi_tae_activate_part(run, n, x, &table, 0);
    }
    mgi_free(run->ctx, values);
    return mgi_scope_pop(run, mark, y);
}
