/* SPDX-License-Identifier: MIT
 * Fronts and gradient rules of embeddings, layout, the flow and random numbers. */
#include "tensor/ops.h"

#include "kernels/embedding/embedding.h"
#include "kernels/flow/flow.h"
#include "kernels/layout/layout.h"
#include "kernels/layout/permute.h"
#include "kernels/position/position.h"
#include "kernels/random/random.h"

#include <string.h>

static T *result(mgi_run *run, T *y)
{
    return run->status == MGEN_OK ? y : NULL;
}

/* -- embeddings ------------------------------------------------------------------------------- */

static void embedding_backward(mgi_run *run, mgi_node *node)
{
    mgk_embedding_args a = *(const mgk_embedding_args *)(const void *)node->args.bytes;
    a.y = mgi_grad_in(node);
    a.table = mgi_grad_add(run, node, 0);
    if (a.table.p)
        mgi_run_launch(run, MGK_OP_embedding_grad, &a);
}

T *mgi_embedding(mgi_run *run, T *ids, T *table)
{
    int64_t dims[MGI_RANK_MAX];
    if (run->status != MGEN_OK ||
        !mgi_require(run, ids && table, "embedding: an input is missing") ||
        !mgi_require(run, ids->dtype == MGK_I32 && table->rank == 2 && ids->rank < MGI_RANK_MAX,
                     "embedding: ids are not i32 or the table is not (V,D)"))
        return NULL;
    memcpy(dims, ids->dims, sizeof dims);
    dims[ids->rank] = table->dims[1];
    T *y = mgi_new(run, table->dtype, ids->rank + 1, dims);
    if (!y)
        return NULL;
    mgk_embedding_args a = {.ids = mgi_buf(ids),
                            .table = mgi_buf(table),
                            .y = mgi_buf(y),
                            .rows = ids->count,
                            .dim = table->dims[1],
                            .vocab = table->dims[0]};
    mgi_run_launch(run, MGK_OP_embedding, &a);
    mgi_record(run, embedding_backward, y, &table, 1, &ids, 1, &a, sizeof a);
    return result(run, y);
}

T *mgi_timestep_embed(mgi_run *run, T *t, int64_t dim)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, t != NULL, "timestep_embed: the input is missing"))
        return NULL;
    T *y = mgi_new(run, MGK_F32, MGI_DIMS(t->count, dim));
    if (!y)
        return NULL;
    mgk_embedding_args a = {.time = mgi_buf(t), .y = mgi_buf(y), .rows = t->count, .dim = dim};
    mgi_run_launch(run, MGK_OP_timestep_embed, &a);
    return result(run, y);
}

static void relative_bias_backward(mgi_run *run, mgi_node *node)
{
    mgk_embedding_args a = *(const mgk_embedding_args *)(const void *)node->args.bytes;
    a.y = mgi_grad_in(node);
    a.table = mgi_grad_add(run, node, 0);
    if (a.table.p)
        mgi_run_launch(run, MGK_OP_relative_bias_grad, &a);
}

T *mgi_relative_bias(mgi_run *run, T *table, int64_t tokens, int64_t max_distance)
{
    if (run->status != MGEN_OK || !mgi_require(run, table && table->rank == 2 && tokens > 0,
                                               "relative_bias: the table is not (buckets,H)"))
        return NULL;
    T *y = mgi_new(run, MGK_F32, MGI_DIMS(table->dims[1], 2 * tokens - 1));
    if (!y)
        return NULL;
    mgk_embedding_args a = {.table = mgi_buf(table),
                            .y = mgi_buf(y),
                            .vocab = table->dims[0],
                            .heads = table->dims[1],
                            .sq = tokens,
                            .sk = tokens,
                            .max_distance = max_distance};
    mgi_run_launch(run, MGK_OP_relative_bias, &a);
    mgi_record(run, relative_bias_backward, y, &table, 1, NULL, 0, &a, sizeof a);
    return result(run, y);
}

/* in: 0 = x, 1..3 = tables */
static void position_backward(mgi_run *run, mgi_node *node)
{
    mgk_position_args a = *(const mgk_position_args *)(const void *)node->args.bytes;
    a.dy = mgi_grad_in(node);
    a.d_frame = mgi_grad_add(run, node, 1);
    a.d_row = mgi_grad_add(run, node, 2);
    a.d_column = mgi_grad_add(run, node, 3);
    mgi_run_launch(run, MGK_OP_position_add_grad, &a);
    if (node->in[0])
        mgi_grad_give(run, node, 0, mgi_grad_take(run, node));
}

T *mgi_position_add(mgi_run *run, T *x, T *frame, T *row, T *column, const int64_t grid[3],
                    int64_t first)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && frame && row && column, "position_add: an input is missing") ||
        !mgi_require(
            run, x->rank == 3 && first >= 0 && first + x->dims[1] <= grid[0] * grid[1] * grid[2],
            "position_add: x is not (B,S,D) with tokens of the grid") ||
        !mgi_require(
            run, frame->dims[0] >= grid[0] && row->dims[0] >= grid[1] && column->dims[0] >= grid[2],
            "position_add: the grid is larger than the tables"))
        return NULL;
    T *y = mgi_new(run, x->dtype, x->rank, x->dims);
    if (!y)
        return NULL;
    mgk_position_args a = {.x = mgi_buf(x),
                           .y = mgi_buf(y),
                           .frame = mgi_buf(frame),
                           .row = mgi_buf(row),
                           .column = mgi_buf(column),
                           .batch = x->dims[0],
                           .tokens = x->dims[1],
                           .dim = x->dims[2],
                           .grid_t = grid[0],
                           .grid_h = grid[1],
                           .grid_w = grid[2],
                           .token_offset = first};
    mgi_run_launch(run, MGK_OP_position_add, &a);
    mgi_record(run, position_backward, y, (T *[]){x, frame, row, column}, 4, NULL, 0, &a, sizeof a);
    return result(run, y);
}

/* -- axes ------------------------------------------------------------------------------------- */

static void permute_backward(mgi_run *run, mgi_node *node)
{
    const mgk_permute_args *f = (const void *)node->args.bytes;
    mgk_permute_args a = {.x = mgi_grad_in(node), .rank = f->rank};
    a.y = mgi_grad_out(run, node, 0, &a.accumulate);
    for (int k = 0; k < f->rank; k++) {
        a.extent[k] = f->extent[f->axis[k]];
        a.axis[f->axis[k]] = k;
    }
    if (a.y.p)
        mgi_run_launch(run, MGK_OP_permute, &a);
}

T *mgi_permute(mgi_run *run, T *x, const int32_t *axis)
{
    int64_t dims[MGI_RANK_MAX];
    if (run->status != MGEN_OK || !mgi_require(run, x != NULL, "permute: the input is missing"))
        return NULL;
    mgk_permute_args a = {.x = mgi_buf(x), .rank = x->rank};
    for (int k = 0; k < x->rank; k++) {
        if (!mgi_require(run, axis[k] >= 0 && axis[k] < x->rank, "permute: no such axis"))
            return NULL;
        dims[k] = x->dims[axis[k]];
        a.extent[k] = x->dims[k];
        a.axis[k] = axis[k];
    }
    T *y = mgi_new(run, x->dtype, x->rank, dims);
    if (!y)
        return NULL;
    a.y = mgi_buf(y);
    mgi_run_launch(run, MGK_OP_permute, &a);
    mgi_record(run, permute_backward, y, &x, 1, NULL, 0, &a, sizeof a);
    return result(run, y);
}

/* -- patches ---------------------------------------------------------------------------------- */

/* The gradient of a move is the move back, into x (patchify) or y (unpatchify). */
static void patchify_backward(mgi_run *run, mgi_node *node)
{
    mgk_layout_args a = *(const mgk_layout_args *)(const void *)node->args.bytes;
    if (a.inverse) {
        a.x = mgi_grad_in(node);
        a.y = mgi_grad_out(run, node, 0, &a.accumulate);
    } else {
        a.y = mgi_grad_in(node);
        a.x = mgi_grad_out(run, node, 0, &a.accumulate);
    }
    a.inverse = !a.inverse;
    if (a.x.p && a.y.p)
        mgi_run_launch(run, MGK_OP_patchify, &a);
}

T *mgi_patchify(mgi_run *run, T *x, int64_t pt, int64_t ph, int64_t pw)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->rank == 5, "patchify: x is not (B,T,H,W,C)") ||
        !mgi_require(run, x->dims[1] % pt == 0 && x->dims[2] % ph == 0 && x->dims[3] % pw == 0,
                     "patchify: the patch does not divide the video"))
        return NULL;
    const int64_t *d = x->dims;
    T *y = mgi_new(run, x->dtype,
                   MGI_DIMS(d[0], d[1] / pt * (d[2] / ph) * (d[3] / pw), pt * ph * pw * d[4]));
    if (!y)
        return NULL;
    mgk_layout_args a = {.x = mgi_buf(x),
                         .y = mgi_buf(y),
                         .b = d[0],
                         .t = d[1],
                         .h = d[2],
                         .w = d[3],
                         .c = d[4],
                         .pt = pt,
                         .ph = ph,
                         .pw = pw};
    mgi_run_launch(run, MGK_OP_patchify, &a);
    mgi_record(run, patchify_backward, y, &x, 1, NULL, 0, &a, sizeof a);
    return result(run, y);
}

T *mgi_unpatchify(mgi_run *run, T *x, const int64_t d[5], int64_t pt, int64_t ph, int64_t pw)
{
    if (run->status != MGEN_OK || !mgi_require(run, x != NULL, "unpatchify: the input is missing"))
        return NULL;
    T *y = mgi_new(run, x->dtype, 5, d);
    if (!y || !mgi_require(run, x->count == y->count, "unpatchify: the sizes differ"))
        return NULL;
    mgk_layout_args a = {.x = mgi_buf(y),
                         .y = mgi_buf(x),
                         .b = d[0],
                         .t = d[1],
                         .h = d[2],
                         .w = d[3],
                         .c = d[4],
                         .pt = pt,
                         .ph = ph,
                         .pw = pw,
                         .inverse = 1};
    mgi_run_launch(run, MGK_OP_patchify, &a);
    mgi_record(run, patchify_backward, y, &x, 1, NULL, 0, &a, sizeof a);
    return result(run, y);
}

/* -- the flow and random numbers -------------------------------------------------------------- */

T *mgi_random(mgi_run *run, int32_t kind, uint64_t seed, uint64_t stream, uint64_t base,
              float alpha, float beta, int rank, const int64_t *dims)
{
    T *y = mgi_new(run, MGK_F32, rank, dims);
    if (!y)
        return NULL;
    mgk_random_args a = {.y = mgi_buf(y),
                         .count = y->count,
                         .seed = seed,
                         .stream = stream,
                         .base = base,
                         .kind = kind,
                         .alpha = alpha,
                         .beta = beta};
    mgi_run_launch(run, MGK_OP_random, &a);
    return result(run, y);
}

void mgi_flow_path(mgi_run *run, T *x1, T *x0, T *t, float sigma, T **xt, T **v)
{
    *xt = *v = NULL;
    if (run->status != MGEN_OK ||
        !mgi_require(run, x1 && x0 && t, "flow_path: an input is missing") ||
        !mgi_require(run, x1->count == x0->count && t->count == x1->dims[0],
                     "flow_path: the shapes differ"))
        return;
    T *a = mgi_new(run, x1->dtype, x1->rank, x1->dims),
      *b = mgi_new(run, x1->dtype, x1->rank, x1->dims);
    if (run->status != MGEN_OK)
        return;
    mgk_flow_args f = {.x0 = mgi_buf(x0),
                       .x1 = mgi_buf(x1),
                       .xt = mgi_buf(a),
                       .v = mgi_buf(b),
                       .time = mgi_buf(t),
                       .batch = t->count,
                       .dim = t->count ? x1->count / t->count : 0,
                       .sigma = sigma};
    mgi_run_launch(run, MGK_OP_flow_path, &f);
    *xt = result(run, a);
    *v = result(run, b);
}

T *mgi_cfg_combine(mgi_run *run, T *cond, T *uncond, T *guidance)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, cond && uncond && guidance && cond->count == uncond->count,
                     "cfg_combine: the shapes differ"))
        return NULL;
    T *y = mgi_new(run, cond->dtype, cond->rank, cond->dims);
    if (!y)
        return NULL;
    mgk_flow_args f = {.cond = mgi_buf(cond),
                       .uncond = mgi_buf(uncond),
                       .guidance = mgi_buf(guidance),
                       .v = mgi_buf(y),
                       .batch = 1,
                       .dim = cond->count};
    mgi_run_launch(run, MGK_OP_cfg_combine, &f);
    return result(run, y);
}

void mgi_euler_step(mgi_run *run, T *x, T *u, T *dt)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && u && dt && x->count == u->count, "euler_step: the shapes differ"))
        return;
    mgk_flow_args f = {
        .xt = mgi_buf(x), .v = mgi_buf(u), .dt = mgi_buf(dt), .batch = 1, .dim = x->count};
    mgi_run_launch(run, MGK_OP_euler_step, &f);
}
