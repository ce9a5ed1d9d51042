/* SPDX-License-Identifier: MIT
 * Fronts and gradient rules of norms, activations, residuals and element-by-element work. */
#include "tensor/ops.h"

#include "kernels/glu/glu.h"
#include "kernels/layout/layout.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/reduce/reduce.h"
#include "kernels/snake/snake.h"

#include <string.h>

/* A new tensor of x's shape and dtype. */
static T *like(mgi_run *run, T *x)
{
    return mgi_new(run, x->dtype, x->rank, x->dims);
}

static T *result(mgi_run *run, T *y)
{
    return run->status == MGEN_OK ? y : NULL;
}

static mgk_buf vector_of(mgk_buf mod, int64_t index, int64_t dim)
{
    return mod.p ? (mgk_buf){(float *)mod.p + index * dim, mod.dtype} : mod;
}

/* -- norm ------------------------------------------------------------------------------------- */

typedef struct norm_node {
    mgk_norm_args a;
    int64_t scale, shift;
} norm_node;

/* in: 0 = x, 1 = weight, 2 = bias, 3 = mod */
static void norm_backward(mgi_run *run, mgi_node *node)
{
    norm_node n = *(const norm_node *)(const void *)node->args.bytes;
    n.a.dy = mgi_grad_in(node);
    n.a.dx = mgi_grad_out(run, node, 0, &n.a.accumulate_dx);
    n.a.d_weight = mgi_grad_add(run, node, 1);
    n.a.d_bias = mgi_grad_add(run, node, 2);
    mgk_buf mod = mgi_grad_add(run, node, 3);
    n.a.d_scale = vector_of(mod, n.scale, n.a.dim);
    n.a.d_shift = vector_of(mod, n.shift, n.a.dim);
    n.a.d_mod_stride = n.a.mod_stride;
    if (!n.a.dx.p && run->status == MGEN_OK) /* x is data: the kernel needs room all the same */
        n.a.dx = mgi_buf(mgi_new(run, n.a.x.dtype, MGI_DIMS(n.a.rows * n.a.dim)));
    mgi_run_launch(run, MGK_OP_norm_grad, &n.a);
}

T *mgi_norm(mgi_run *run, T *x, mgi_norm_options o)
{
    if (run->status != MGEN_OK || !mgi_require(run, x != NULL, "norm: the input is missing"))
        return NULL;
    int64_t dim = x->dims[x->rank - 1], rows = dim ? x->count / dim : 0, samples = x->dims[0];
    if (!mgi_require(run, !o.weight || o.weight->count == dim,
                     "norm: the weight has another length") ||
        !mgi_require(run, !o.bias || o.bias->count == dim, "norm: the bias has another length") ||
        !mgi_require(run,
                     !o.mod ||
                         (o.mod->rank == 3 && o.mod->dims[0] == samples && o.mod->dims[2] == dim &&
                          o.scale < o.mod->dims[1] && o.shift < o.mod->dims[1]),
                     "norm: the modulation is not (B,n,D)"))
        return NULL;
    T *y = like(run, x), *rstd = mgi_new(run, MGK_F32, MGI_DIMS(rows)), *mean = NULL;
    if (o.kind == MGK_NORM_LAYER)
        mean = mgi_new(run, MGK_F32, MGI_DIMS(rows));
    norm_node n = {.scale = o.scale, .shift = o.shift};
    if (run->status != MGEN_OK)
        return NULL;
    n.a = (mgk_norm_args){.x = mgi_buf(x),
                          .y = mgi_buf(y),
                          .weight = mgi_buf(o.weight),
                          .bias = mgi_buf(o.bias),
                          .rstd = mgi_buf(rstd),
                          .mean = mgi_buf(mean),
                          .scale = vector_of(mgi_buf(o.mod), o.scale, dim),
                          .shift = vector_of(mgi_buf(o.mod), o.shift, dim),
                          .rows = rows,
                          .dim = dim,
                          .rows_per_sample = samples ? rows / samples : rows,
                          .mod_stride = o.mod ? o.mod->dims[1] * dim : 0,
                          .kind = o.kind,
                          .eps = o.eps};
    mgi_run_launch(run, MGK_OP_norm, &n.a);
    mgi_record(run, norm_backward, y, (T *[]){x, o.weight, o.bias, o.mod}, 4,
               (T *[]){x, o.weight, o.bias, o.mod, rstd, mean}, 6, &n, sizeof n);
    return result(run, y);
}

/* -- residuals -------------------------------------------------------------------------------- */

/* Add src, of either real dtype, to the gradient of input i, or become it. */
static void pass_gradient(mgi_run *run, mgi_node *node, int i, mgk_buf src, int64_t count)
{
    int32_t accumulate;
    mgk_pointwise_args a = {.x = src, .count = count, .alpha = 1.0f};
    a.y = mgi_grad_out(run, node, i, &accumulate);
    a.beta = accumulate ? 1.0f : 0.0f;
    if (a.y.p)
        mgi_run_launch(run, MGK_OP_axpby, &a);
}

typedef struct residual_node {
    mgk_pointwise_args a;
    int64_t gate;
} residual_node;

/* in: 0 = x, 1 = h, 2 = mod */
static void gated_residual_backward(mgi_run *run, mgi_node *node)
{
    residual_node n = *(const residual_node *)(const void *)node->args.bytes;
    int32_t accumulate;
    T *temp = NULL;
    n.a.dy = mgi_grad_in(node);
    n.a.dh = mgi_grad_out(run, node, 1, &accumulate);
    if (run->status == MGEN_OK && (!n.a.dh.p || accumulate)) {
        temp = mgi_new(run, n.a.h.dtype, MGI_DIMS(n.a.rows * n.a.dim));
        n.a.dh = mgi_buf(temp);
    }
    n.a.d_gate = vector_of(mgi_grad_add(run, node, 2), n.gate, n.a.dim);
    n.a.d_gate_stride = n.a.gate_stride;
    mgi_run_launch(run, MGK_OP_gated_residual_grad, &n.a);
    if (temp && node->in[1])
        pass_gradient(run, node, 1, mgi_buf(temp), temp->count);
    mgi_grad_give(run, node, 0, mgi_grad_take(run, node));
}

T *mgi_gated_residual(mgi_run *run, T *x, T *h, T *mod, int64_t gate)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && h && mod, "gated_residual: an input is missing"))
        return NULL;
    int64_t dim = x->dims[x->rank - 1], rows = dim ? x->count / dim : 0, samples = x->dims[0];
    if (!mgi_require(run, x->count == h->count, "gated_residual: x and h differ in size") ||
        !mgi_require(run,
                     mod->rank == 3 && mod->dims[0] == samples && mod->dims[2] == dim &&
                         gate < mod->dims[1],
                     "gated_residual: the modulation is not (B,n,D)"))
        return NULL;
    T *y = like(run, x);
    if (!y)
        return NULL;
    residual_node n = {.gate = gate};
    n.a = (mgk_pointwise_args){.x = mgi_buf(x),
                               .h = mgi_buf(h),
                               .y = mgi_buf(y),
                               .rows = rows,
                               .dim = dim,
                               .gate = vector_of(mgi_buf(mod), gate, dim),
                               .rows_per_sample = samples ? rows / samples : rows,
                               .gate_stride = mod->dims[1] * dim};
    mgi_run_launch(run, MGK_OP_gated_residual, &n.a);
    mgi_record(run, gated_residual_backward, y, (T *[]){x, h, mod}, 3, (T *[]){h, mod}, 2, &n,
               sizeof n);
    return result(run, y);
}

static void add_backward(mgi_run *run, mgi_node *node)
{
    const mgk_pointwise_args *a = (const void *)node->args.bytes;
    if (node->in[0] && node->in[1])
        pass_gradient(run, node, 1, mgi_grad_in(node), a->count);
    mgi_grad_give(run, node, node->in[0] ? 0 : 1, mgi_grad_take(run, node));
}

T *mgi_add(mgi_run *run, T *a, T *b)
{
    if (run->status != MGEN_OK || !mgi_require(run, a && b, "add: an input is missing") ||
        !mgi_require(run, a->count == b->count, "add: the inputs differ in size"))
        return NULL;
    T *y = like(run, a);
    if (!y)
        return NULL;
    mgk_pointwise_args p = {.x = mgi_buf(a), .h = mgi_buf(b), .y = mgi_buf(y), .count = a->count};
    mgi_run_launch(run, MGK_OP_add, &p);
    mgi_record(run, add_backward, y, (T *[]){a, b}, 2, NULL, 0, &p, sizeof p);
    return result(run, y);
}

/* in: 0 = x, 1 = table */
static void add_rows_backward(mgi_run *run, mgi_node *node)
{
    mgk_pointwise_args a = *(const mgk_pointwise_args *)(const void *)node->args.bytes;
    a.x = mgi_grad_in(node);
    a.table = mgi_grad_add(run, node, 1);
    if (a.table.p)
        mgi_run_launch(run, MGK_OP_reduce_rows, &a);
    if (node->in[0])
        mgi_grad_give(run, node, 0, mgi_grad_take(run, node));
}

T *mgi_add_rows(mgi_run *run, T *x, T *table)
{
    if (run->status != MGEN_OK || !mgi_require(run, x && table, "add_rows: an input is missing"))
        return NULL;
    int64_t dim = table->dims[table->rank - 1], period = dim ? table->count / dim : 0;
    if (!mgi_require(run, dim > 0 && period > 0 && x->count % (dim * period) == 0,
                     "add_rows: the table does not divide x"))
        return NULL;
    T *y = like(run, x);
    if (!y)
        return NULL;
    mgk_pointwise_args a = {.x = mgi_buf(x),
                            .table = mgi_buf(table),
                            .y = mgi_buf(y),
                            .rows = x->count / dim,
                            .dim = dim,
                            .period = period};
    mgi_run_launch(run, MGK_OP_add_rows, &a);
    mgi_record(run, add_rows_backward, y, (T *[]){x, table}, 2, NULL, 0, &a, sizeof a);
    return result(run, y);
}

/* -- activations ------------------------------------------------------------------------------ */

static void glu_backward(mgi_run *run, mgi_node *node)
{
    mgk_glu_args a = *(const mgk_glu_args *)(const void *)node->args.bytes;
    int32_t accumulate;
    a.dy = mgi_grad_in(node);
    a.dx = mgi_grad_out(run, node, 0, &accumulate);
    T *temp = NULL;
    if (accumulate) {
        temp = mgi_new(run, a.x.dtype, 1, &node->in[0]->count);
        a.dx = mgi_buf(temp);
    }
    if (a.dx.p)
        mgi_run_launch(run, MGK_OP_glu_grad, &a);
    if (temp)
        pass_gradient(run, node, 0, a.dx, temp->count);
}

T *mgi_glu(mgi_run *run, T *x, int32_t kind)
{
    int64_t dims[MGI_RANK_MAX];
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->dims[x->rank - 1] % 2 == 0, "glu: the last dimension is odd"))
        return NULL;
    memcpy(dims, x->dims, sizeof dims);
    int64_t dim = dims[x->rank - 1] /= 2;
    T *y = mgi_new(run, x->dtype, x->rank, dims);
    if (!y)
        return NULL;
    mgk_glu_args a = {.x = mgi_buf(x),
                      .y = mgi_buf(y),
                      .rows = dim ? y->count / dim : 0,
                      .dim = dim,
                      .kind = kind};
    mgi_run_launch(run, MGK_OP_glu, &a);
    mgi_record(run, glu_backward, y, &x, 1, &x, 1, &a, sizeof a);
    return result(run, y);
}

static void unary_backward(mgi_run *run, mgi_node *node)
{
    mgk_pointwise_args a = *(const mgk_pointwise_args *)(const void *)node->args.bytes;
    a.dy = mgi_grad_in(node);
    a.dx = mgi_grad_out(run, node, 0, &a.accumulate);
    if (a.dx.p)
        mgi_run_launch(run, MGK_OP_unary_grad, &a);
}

T *mgi_unary(mgi_run *run, T *x, int32_t kind)
{
    if (run->status != MGEN_OK || !mgi_require(run, x != NULL, "unary: the input is missing"))
        return NULL;
    T *y = like(run, x);
    if (!y)
        return NULL;
    mgk_pointwise_args a = {.x = mgi_buf(x), .y = mgi_buf(y), .count = x->count, .kind = kind};
    mgi_run_launch(run, MGK_OP_unary, &a);
    mgi_record(run, unary_backward, y, &x, 1, &x, 1, &a, sizeof a);
    return result(run, y);
}

/* in: 0 = x, 1 = alpha */
static void snake_backward(mgi_run *run, mgi_node *node)
{
    mgk_snake_args a = *(const mgk_snake_args *)(const void *)node->args.bytes;
    a.dy = mgi_grad_in(node);
    a.dx = mgi_grad_out(run, node, 0, &a.accumulate);
    a.d_alpha = mgi_grad_add(run, node, 1);
    if (!a.dx.p && run->status == MGEN_OK) /* x is data: the kernel needs room all the same */
        a.dx = mgi_buf(mgi_new(run, a.x.dtype, MGI_DIMS(a.rows * a.dim)));
    mgi_run_launch(run, MGK_OP_snake_grad, &a);
}

T *mgi_snake(mgi_run *run, T *x, T *alpha)
{
    if (run->status != MGEN_OK || !mgi_require(run, x && alpha, "snake: an input is missing"))
        return NULL;
    int64_t dim = x->dims[x->rank - 1];
    if (!mgi_require(run, alpha->count == dim, "snake: alpha has another length"))
        return NULL;
    T *y = like(run, x);
    if (!y)
        return NULL;
    mgk_snake_args a = {.x = mgi_buf(x),
                        .y = mgi_buf(y),
                        .alpha = mgi_buf(alpha),
                        .rows = dim ? x->count / dim : 0,
                        .dim = dim};
    mgi_run_launch(run, MGK_OP_snake, &a);
    mgi_record(run, snake_backward, y, (T *[]){x, alpha}, 2, (T *[]){x, alpha}, 2, &a, sizeof a);
    return result(run, y);
}

static void softmax_backward(mgi_run *run, mgi_node *node)
{
    mgk_reduce_args a = *(const mgk_reduce_args *)(const void *)node->args.bytes;
    a.dy = mgi_grad_in(node);
    a.dx = mgi_grad_out(run, node, 0, &a.accumulate);
    if (a.dx.p)
        mgi_run_launch(run, MGK_OP_softmax_grad, &a);
}

T *mgi_softmax(mgi_run *run, T *x)
{
    if (run->status != MGEN_OK || !mgi_require(run, x != NULL, "softmax: the input is missing"))
        return NULL;
    T *y = like(run, x);
    int64_t dim = x->dims[x->rank - 1];
    if (!y)
        return NULL;
    mgk_reduce_args a = {
        .x = mgi_buf(x), .y = mgi_buf(y), .rows = dim ? x->count / dim : 0, .dim = dim};
    mgi_run_launch(run, MGK_OP_softmax, &a);
    mgi_record(run, softmax_backward, y, &x, 1, &y, 1, &a, sizeof a);
    return result(run, y);
}

/* -- channels --------------------------------------------------------------------------------- */

/* in: 0 = x. dx = dy * scale. */
static void channel_affine_backward(mgi_run *run, mgi_node *node)
{
    mgk_pointwise_args a = *(const mgk_pointwise_args *)(const void *)node->args.bytes;
    T *none = mgi_new(run, MGK_F32, 1, &a.dim);
    T *dx = mgi_new(run, node->in[0]->dtype, 1, &node->in[0]->count);
    if (!none || !dx)
        return;
    mgi_fill(run, none, 0.0f);
    a.x = mgi_grad_in(node);
    a.y = mgi_buf(dx);
    a.shift = mgi_buf(none);
    mgi_run_launch(run, MGK_OP_channel_affine, &a);
    mgi_grad_give(run, node, 0, dx);
}

T *mgi_channel_affine(mgi_run *run, T *x, T *scale, T *shift)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && scale && shift, "channel_affine: an input is missing"))
        return NULL;
    int64_t dim = x->dims[x->rank - 1];
    if (!mgi_require(run, scale->count == dim && shift->count == dim,
                     "channel_affine: scale or shift has another length"))
        return NULL;
    T *y = like(run, x);
    if (!y)
        return NULL;
    mgk_pointwise_args a = {.x = mgi_buf(x),
                            .y = mgi_buf(y),
                            .scale = mgi_buf(scale),
                            .shift = mgi_buf(shift),
                            .rows = dim ? x->count / dim : 0,
                            .dim = dim};
    mgi_run_launch(run, MGK_OP_channel_affine, &a);
    mgi_record(run, channel_affine_backward, y, &x, 1, &scale, 1, &a, sizeof a);
    return result(run, y);
}

/* -- without gradient ------------------------------------------------------------------------- */

T *mgi_convert(mgi_run *run, T *x, int32_t dtype, float alpha, float beta)
{
    if (run->status != MGEN_OK || !mgi_require(run, x != NULL, "convert: the input is missing"))
        return NULL;
    T *y = mgi_new(run, dtype, x->rank, x->dims);
    if (!y)
        return NULL;
    mgk_pointwise_args a = {
        .x = mgi_buf(x), .y = mgi_buf(y), .count = x->count, .alpha = alpha, .beta = beta};
    mgi_run_launch(run, MGK_OP_convert, &a);
    return result(run, y);
}

static void cast_backward(mgi_run *run, mgi_node *node)
{
    pass_gradient(run, node, 0, mgi_grad_in(node), node->out->count);
}

T *mgi_cast(mgi_run *run, T *x, int32_t dtype)
{
    if (!x || x->dtype == dtype)
        return x;
    T *y = mgi_convert(run, x, dtype, 1.0f, 0.0f);
    mgi_record(run, cast_backward, y, &x, 1, NULL, 0, NULL, 0);
    return y;
}

void mgi_fill(mgi_run *run, T *x, float value)
{
    if (run->status != MGEN_OK || !mgi_require(run, x != NULL, "fill: the tensor is missing"))
        return;
    mgk_pointwise_args a = {.y = mgi_buf(x), .count = x->count, .alpha = value};
    mgi_run_launch(run, MGK_OP_fill, &a);
}

T *mgi_reshape(mgi_run *run, T *x, int rank, const int64_t *dims)
{
    T *y = NULL;
    if (run->status != MGEN_OK || !mgi_require(run, x != NULL, "reshape: the input is missing") ||
        !mgi_ok(run, mgi_tensor_view(x, rank, dims, &y)))
        return NULL;
    return mgi_scope_add(run, y);
}

/* -- slice ------------------------------------------------------------------------------------ */

static void slice_backward(mgi_run *run, mgi_node *node)
{
    mgk_layout_args a = *(const mgk_layout_args *)(const void *)node->args.bytes;
    int64_t offset = a.b; /* elements before the slice in each row of x */
    mgk_buf dx = mgi_grad_add(run, node, 0);
    if (!dx.p)
        return;
    mgk_layout_args g = {.x = mgi_grad_in(node),
                         .y = mgi_buf_from(dx, offset),
                         .rows = a.rows,
                         .dim = a.dim,
                         .x_stride = a.y_stride,
                         .y_stride = a.x_stride,
                         .accumulate = 1};
    mgi_run_launch(run, MGK_OP_copy_rows, &g);
}

T *mgi_slice(mgi_run *run, T *x, int axis, int64_t first, int64_t size)
{
    int64_t dims[MGI_RANK_MAX], inner = 1, outer = 1;
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && axis >= 0 && axis < x->rank, "slice: no such axis") ||
        !mgi_require(run, first >= 0 && size >= 0 && first <= x->dims[axis] - size,
                     "slice: outside the tensor"))
        return NULL;
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = size;
    for (int i = 0; i < axis; i++)
        outer *= dims[i];
    for (int i = axis + 1; i < x->rank; i++)
        inner *= dims[i];
    T *y = mgi_new(run, x->dtype, x->rank, dims);
    if (!y)
        return NULL;
    mgk_layout_args a = {.x = mgi_buf_from(mgi_buf(x), first * inner),
                         .y = mgi_buf(y),
                         .rows = outer,
                         .dim = size * inner,
                         .x_stride = x->dims[axis] * inner,
                         .y_stride = size * inner};
    mgi_run_launch(run, MGK_OP_copy_rows, &a);
    a.b = first * inner;
    mgi_record(run, slice_backward, y, &x, 1, NULL, 0, &a, sizeof a);
    return result(run, y);
}

/* -- concat ----------------------------------------------------------------------------------- */

/* Elements of each part. */
typedef struct concat_args {
    int64_t count[MGI_NODE_INPUTS];
} concat_args;

static void copy_flat(mgi_run *run, mgk_buf y, mgk_buf x, int64_t count, bool accumulate)
{
    mgk_layout_args a = {.x = x,
                         .y = y,
                         .rows = 1,
                         .dim = count,
                         .x_stride = count,
                         .y_stride = count,
                         .accumulate = accumulate};
    mgi_run_launch(run, MGK_OP_copy_rows, &a);
}

static void concat_backward(mgi_run *run, mgi_node *node)
{
    const concat_args *a = (const void *)node->args.bytes;
    int64_t first = 0;
    for (int i = 0; i < MGI_NODE_INPUTS; first += a->count[i++]) {
        int32_t accumulate = 0;
        mgk_buf dx = node->in[i] ? mgi_grad_out(run, node, i, &accumulate) : (mgk_buf){0};
        if (dx.p)
            copy_flat(run, dx, mgi_buf_from(mgi_grad_in(node), first), a->count[i], accumulate);
    }
}

T *mgi_concat(mgi_run *run, T *const *parts, int count)
{
    concat_args a = {{0}};
    int64_t dims[MGI_RANK_MAX], rows = 0, first = 0;
    bool alike = count > 0 && count <= MGI_NODE_INPUTS;
    for (int i = 0; alike && i < count; i++) {
        alike = parts[i] && parts[i]->rank == parts[0]->rank && parts[i]->rank > 0 &&
                parts[i]->dtype == parts[0]->dtype &&
                !memcmp(parts[i]->dims + 1, parts[0]->dims + 1,
                        (size_t)(parts[0]->rank - 1) * sizeof *dims);
        rows += alike ? parts[i]->dims[0] : 0;
        a.count[i] = alike ? parts[i]->count : 0;
    }
    if (run->status != MGEN_OK || !mgi_require(run, alike, "concat: the parts are not alike"))
        return NULL;
    memcpy(dims, parts[0]->dims, sizeof dims);
    dims[0] = rows;
    T *y = mgi_new(run, parts[0]->dtype, parts[0]->rank, dims);
    for (int i = 0; y && i < count; first += a.count[i++])
        copy_flat(run, mgi_buf_from(mgi_buf(y), first), mgi_buf(parts[i]), a.count[i], false);
    mgi_record(run, concat_backward, y, parts, count, NULL, 0, &a, sizeof a);
    return result(run, y);
}

void mgi_copy(mgi_run *run, T *y, int64_t y_first, T *x, int64_t x_first, int64_t count)
{
    if (run->status != MGEN_OK || !mgi_require(run, x && y, "copy: a tensor is missing") ||
        !mgi_require(run,
                     x_first >= 0 && y_first >= 0 && count >= 0 && x_first <= x->count - count &&
                         y_first <= y->count - count && x->dtype == y->dtype,
                     "copy: outside the tensor, or of another dtype"))
        return;
    copy_flat(run, mgi_buf_from(mgi_buf(y), y_first), mgi_buf_from(mgi_buf(x), x_first), count,
              false);
}
