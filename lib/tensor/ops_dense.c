/* SPDX-License-Identifier: MIT
 * Fronts and gradient rules of products, convolutions and attention. */
#include "tensor/ops.h"

#include "core/checked.h"
#include "kernels/attention/attention.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/fp8/matmul_fp8.h"
#include "kernels/fp8/quantize_fp8.h"
#include "kernels/matmul/matmul.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/resize/resize.h"
#include "tensor/weights.h"

#include <string.h>

static const mgk_buf no_buf;

static mgk_buf at(mgk_buf b, int64_t elements)
{
    return b.p ? (mgk_buf){(char *)b.p + elements * (int64_t)mgi_dtype_size(b.dtype), b.dtype} : b;
}

static mgk_buf narrowed(mgi_run *run, mgk_buf x, int64_t count, int32_t dtype)
{
    T *y = mgi_new(run, dtype, 1, &count);
    mgk_pointwise_args a = {.x = x, .y = mgi_buf(y), .count = count, .alpha = 1.0f};
    if (y)
        mgi_run_launch(run, MGK_OP_convert, &a);
    return mgi_buf(y);
}

/* C = A W^T + b.  dA = dC W;  dW += dC^T A;  db += column sums of dC. */
static void linear_backward(mgi_run *run, mgi_node *node)
{
    const mgk_matmul_args *f = (const void *)node->args.bytes;
    mgk_buf dy = mgi_grad_in(node);
    int32_t accumulate;
    if (dy.dtype != f->b.dtype) /* an f32 result of bf16 operands */
        dy = narrowed(run, dy, f->m * f->n, f->b.dtype);
    mgk_matmul_args a = {.a = dy,
                         .b = f->b,
                         .m = f->m,
                         .n = f->k,
                         .k = f->n,
                         .batch = 1,
                         .lda = f->n,
                         .ldb = f->k,
                         .ldc = f->k,
                         .alpha = 1.0f};
    a.c = mgi_grad_out(run, node, 0, &accumulate);
    a.accumulate = accumulate;
    if (a.c.p)
        mgi_run_launch(run, MGK_OP_matmul, &a);
    mgk_matmul_args w = {.a = dy,
                         .b = f->a,
                         .m = f->n,
                         .n = f->k,
                         .k = f->m,
                         .batch = 1,
                         .lda = f->n,
                         .ldb = f->k,
                         .ldc = f->k,
                         .trans_a = 1,
                         .alpha = 1.0f};
    w.c = mgi_grad_out(run, node, 1, &accumulate);
    w.accumulate = accumulate;
    if (w.c.p)
        mgi_run_launch(run, MGK_OP_matmul, &w);
    mgk_pointwise_args b = {.x = dy, .rows = f->m, .dim = f->n, .period = 1};
    b.table = mgi_grad_add(run, node, 2);
    if (b.table.p)
        mgi_run_launch(run, MGK_OP_reduce_rows, &b);
}

/* y (rows, N) = x (rows, K) W^T */
static mgk_matmul_args linear_args(const T *x, const T *w, const T *y, int64_t rows)
{
    int64_t k = w->dims[1], n = w->dims[0];
    return (mgk_matmul_args){.a = mgi_buf(x),
                             .b = mgi_buf(w),
                             .c = mgi_buf(y),
                             .m = rows,
                             .n = n,
                             .k = k,
                             .batch = 1,
                             .lda = k,
                             .ldb = k,
                             .ldc = n,
                             .trans_b = 1,
                             .alpha = 1.0f};
}

/* Whether rows of x can be multiplied by w. */
static bool goes_with(const T *x, const T *w)
{
    return w->scale ? w->dtype == MGK_U8 && w->scale->count == w->dims[0] : x->dtype == w->dtype;
}

/* The same product of codes: those of w, and of x, whose rows are quantised for it. */
static void launch_codes(mgi_run *run, T *x, T *w, const mgk_matmul_args *a)
{
    T *codes = mgi_new(run, MGK_U8, MGI_DIMS(a->m, a->k)), *scale = mgi_new(run, MGK_F32, 1, &a->m);
    if (run->status == MGEN_OK) {
        const mgk_quantize_fp8_args q = {.x = mgi_buf(x),
                                         .codes = mgi_buf(codes),
                                         .scale = mgi_buf(scale),
                                         .rows = a->m,
                                         .cols = a->k,
                                         .ldx = a->k,
                                         .ldc = a->k};
        const mgk_matmul_fp8_args p = {.a = q.codes,
                                       .a_scale = q.scale,
                                       .b = a->b,
                                       .b_scale = mgi_buf(w->scale),
                                       .c = a->c,
                                       .bias = a->bias,
                                       .m = a->m,
                                       .n = a->n,
                                       .k = a->k,
                                       .lda = a->k,
                                       .ldb = a->ldb,
                                       .ldc = a->ldc,
                                       .residual = a->residual,
                                       .gate = a->gate,
                                       .before = a->before,
                                       .rows_per_sample = a->rows_per_sample,
                                       .gate_stride = a->gate_stride};
        mgi_run_launch(run, MGK_OP_quantize_fp8, &q);
        mgi_run_launch(run, MGK_OP_matmul_fp8, &p);
    }
    mgi_drop(run, codes);
    mgi_drop(run, scale);
}

static void launch_linear(mgi_run *run, T *x, T *w, mgk_matmul_args *a)
{
    if (w->scale) {
        launch_codes(run, x, w, a);
        return;
    }
    a->kept = mgi_weights_kept(run, w, a);
    mgi_run_launch(run, MGK_OP_matmul, a);
}

T *mgi_linear(mgi_run *run, T *x, T *w, T *b)
{
    return mgi_linear_as(run, x, w, b, x ? x->dtype : MGK_F32);
}

T *mgi_linear_as(mgi_run *run, T *x, T *w, T *b, int32_t dtype)
{
    int64_t dims[MGI_RANK_MAX];
    if (run->status != MGEN_OK || !mgi_require(run, x && w, "linear: an input is missing") ||
        !mgi_require(run, w->rank == 2 && x->dims[x->rank - 1] == w->dims[1],
                     "linear: the last dimension of x is not the weight's second") ||
        !mgi_require(run, goes_with(x, w), "linear: x and the weight differ in dtype") ||
        !mgi_require(run, !b || b->count == w->dims[0], "linear: the bias has another length"))
        return NULL;
    memcpy(dims, x->dims, sizeof dims);
    dims[x->rank - 1] = w->dims[0];
    T *y = mgi_new(run, dtype, x->rank, dims);
    if (!y)
        return NULL;
    mgk_matmul_args a = linear_args(x, w, y, w->dims[0] ? y->count / w->dims[0] : 0);
    a.bias = mgi_buf(b);
    launch_linear(run, x, w, &a);
    if (!w->scale)
        mgi_record(run, linear_backward, y, (T *[]){x, w, b}, 3, (T *[]){x, w}, 2, &a, sizeof a);
    return run->status == MGEN_OK ? y : NULL;
}

T *mgi_linear_gated(mgi_run *run, T *x, T *w, T *residual, T *mod, int64_t gate, T **h)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && w && residual, "linear_gated: an input is missing"))
        return NULL;
    int64_t n = w->dims[0], k = w->dims[1], m = k ? x->count / k : 0, samples = residual->dims[0];
    if (!mgi_require(run, goes_with(x, w) && x->dims[x->rank - 1] == k,
                     "linear_gated: x and the weight differ in dtype or length") ||
        !mgi_require(run, residual->count == m * n && residual->dtype == x->dtype,
                     "linear_gated: the residual has another size or dtype") ||
        !mgi_require(run,
                     !mod || (mod->rank == 3 && mod->dims[0] == samples && mod->dims[2] == n &&
                              gate < mod->dims[1]),
                     "linear_gated: the modulation is not (B,n,N)"))
        return NULL;
    T *y = mgi_new(run, residual->dtype, residual->rank, residual->dims);
    if (h)
        *h = mgi_new(run, residual->dtype, residual->rank, residual->dims);
    if (run->status != MGEN_OK)
        return NULL;
    mgk_matmul_args a = linear_args(x, w, y, m);
    a.before = mgi_buf(h ? *h : NULL);
    a.residual = mgi_buf(residual);
    a.gate = mod ? at(mgi_buf(mod), gate * n) : no_buf;
    a.rows_per_sample = samples ? m / samples : m;
    a.gate_stride = mod ? mod->dims[1] * n : 0;
    launch_linear(run, x, w, &a);
    return run->status == MGEN_OK ? y : NULL;
}

static void conv2d_backward(mgi_run *run, mgi_node *node)
{
    mgk_conv2d_args a = *(const mgk_conv2d_args *)(const void *)node->args.bytes;
    mgk_buf x = a.x;
    int32_t accumulate;
    a.y = mgi_grad_in(node);
    a.bias = no_buf;
    a.x = mgi_grad_out(run, node, 0, &accumulate);
    a.accumulate = accumulate;
    if (a.x.p)
        mgi_run_launch(run, MGK_OP_conv2d_grad_input, &a);
    a.x = x;
    a.weight = mgi_grad_add(run, node, 1);
    a.bias = mgi_grad_add(run, node, 2);
    a.accumulate = 1;
    if (a.weight.p)
        mgi_run_launch(run, MGK_OP_conv2d_grad_weight, &a);
}

/* All but y; false after a failure. */
static bool conv2d_args(mgi_run *run, T *x, T *w, T *b, mgi_conv_options o, mgk_conv2d_args *a)
{
    if (run->status != MGEN_OK || !mgi_require(run, x && w, "conv2d: an input is missing") ||
        !mgi_require(run, x->rank == 4 && w->rank == 4 && x->dims[3] == w->dims[3],
                     "conv2d: x is not (N,H,W,Cin) or the weight not (Cout,kh,kw,Cin)"))
        return false;
    *a = (mgk_conv2d_args){.x = mgi_buf(x),
                           .weight = mgi_buf(w),
                           .bias = mgi_buf(b),
                           .n = x->dims[0],
                           .h = x->dims[1],
                           .w = x->dims[2],
                           .cin = x->dims[3],
                           .cout = w->dims[0],
                           .kh = w->dims[1],
                           .kw = w->dims[2],
                           .stride_h = o.stride_h,
                           .stride_w = o.stride_w,
                           .pad_top = o.pad_top,
                           .pad_bottom = o.pad_bottom,
                           .pad_left = o.pad_left,
                           .pad_right = o.pad_right,
                           .pad_mode = o.pad_mode};
    int64_t over_h = a->h + a->pad_top + a->pad_bottom - a->kh,
            over_w = a->w + a->pad_left + a->pad_right - a->kw;
    if (!mgi_require(run, over_h >= 0 && over_w >= 0 && o.stride_h > 0 && o.stride_w > 0,
                     "conv2d: the picture is smaller than the kernel"))
        return false;
    a->ho = over_h / o.stride_h + 1;
    a->wo = over_w / o.stride_w + 1;
    return true;
}

T *mgi_conv2d(mgi_run *run, T *x, T *w, T *b, mgi_conv_options o)
{
    mgk_conv2d_args a;
    if (!conv2d_args(run, x, w, b, o, &a))
        return NULL;
    T *y = mgi_new(run, x->dtype, MGI_DIMS(a.n, a.ho, a.wo, a.cout));
    if (!y)
        return NULL;
    a.y = mgi_buf(y);
    mgi_run_launch(run, MGK_OP_conv2d, &a);
    mgi_record(run, conv2d_backward, y, (T *[]){x, w, b}, 3, (T *[]){x, w}, 2, &a, sizeof a);
    return run->status == MGEN_OK ? y : NULL;
}

T *mgi_conv2d_to(mgi_run *run, T *to, T *x, T *w, T *b, mgi_conv_options o)
{
    mgk_conv2d_args a;
    if (!conv2d_args(run, x, w, b, o, &a) ||
        !mgi_require(run, to && to->dtype == x->dtype && to->count == a.n * a.ho * a.wo * a.cout,
                     "conv2d: the result has another size or dtype"))
        return NULL;
    a.y = mgi_buf(to);
    mgi_run_launch(run, MGK_OP_conv2d, &a);
    return run->status == MGEN_OK ? to : NULL;
}

static void resize_backward(mgi_run *run, mgi_node *node)
{
    mgk_resize_args a = *(const mgk_resize_args *)(const void *)node->args.bytes;
    a.y = mgi_grad_in(node);
    a.x = mgi_grad_out(run, node, 0, &a.accumulate);
    if (a.x.p)
        mgi_run_launch(run, a.oh ? MGK_OP_resize_bilinear_grad : MGK_OP_resize_nearest_grad, &a);
}

/* To h x w; fh and fw are 0 for bilinear interpolation. */
static T *resize(mgi_run *run, T *x, int64_t fh, int64_t fw, int64_t h, int64_t w)
{
    mgk_resize_args a = {.x = mgi_buf(x),
                         .n = x->dims[0],
                         .h = x->dims[1],
                         .w = x->dims[2],
                         .c = x->dims[3],
                         .fh = fh,
                         .fw = fw,
                         .oh = fh ? 0 : h,
                         .ow = fh ? 0 : w};
    T *y = mgi_new(run, x->dtype, MGI_DIMS(a.n, h, w, a.c));
    if (!y)
        return NULL;
    a.y = mgi_buf(y);
    mgi_run_launch(run, fh ? MGK_OP_resize_nearest : MGK_OP_resize_bilinear, &a);
    mgi_record(run, resize_backward, y, &x, 1, NULL, 0, &a, sizeof a);
    return run->status == MGEN_OK ? y : NULL;
}

T *mgi_resize_nearest(mgi_run *run, T *x, int64_t fh, int64_t fw)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->rank == 4 && fh > 0 && fw > 0, "resize: x is not (N,H,W,C)"))
        return NULL;
    return resize(run, x, fh, fw, x->dims[1] * fh, x->dims[2] * fw);
}

T *mgi_resize_bilinear(mgi_run *run, T *x, int64_t h, int64_t w)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->rank == 4 && h > 0 && w > 0, "resize: x is not (N,H,W,C)"))
        return NULL;
    return resize(run, x, 0, 0, h, w);
}

/* -- attention -------------------------------------------------------------------------------- */

/* The kernel overwrites its outputs. If a gradient is there already (never in our networks: q, k and v
 * have one use), it goes through a temporary. */
static mgk_buf attention_target(mgi_run *run, mgi_node *node, int i, T **temp)
{
    int32_t accumulate;
    mgk_buf out = mgi_grad_out(run, node, i, &accumulate);
    *temp = NULL;
    if (out.p && accumulate) {
        *temp = mgi_new(run, out.dtype, 1, &node->in[i]->count);
        out = mgi_buf(*temp);
    }
    return out;
}

static void attention_merge(mgi_run *run, mgi_node *node, int i, T *temp)
{
    if (!temp)
        return;
    mgk_pointwise_args a = {.x = mgi_buf(temp),
                            .y = mgi_buf(node->in[i]->grad),
                            .count = temp->count,
                            .alpha = 1.0f,
                            .beta = 1.0f};
    mgi_run_launch(run, MGK_OP_axpby, &a);
}

T *mgi_attention(mgi_run *run, unsigned tag, mgk_attention_args *a, T **lse)
{
    T *o = mgi_kept_result(run, tag), *sums = NULL;
    bool kept = o != NULL;
    if (kept)
        sums = mgi_kept_result(run, tag);
    else if (lse || run->keep)
        sums = mgi_new(run, MGK_F32, MGI_DIMS(a->batch, a->heads, a->sq));
    if (!kept)
        o = mgi_new(run, a->q.dtype, MGI_DIMS(a->batch, a->sq, a->heads * a->head_dim));
    if (run->status != MGEN_OK)
        return NULL;
    a->o = mgi_buf(o);
    a->lse = mgi_buf(sums);
    a->o_row = a->heads * a->head_dim;
    a->o_batch = a->o_row * a->sq;
    if (!kept) {
        mgi_run_launch(run, MGK_OP_attention, a);
        mgi_keep_result(run, tag, o);
        mgi_keep_result(run, tag, sums);
    }
    if (lse)
        *lse = sums;
    return run->status == MGEN_OK ? o : NULL;
}

mgk_attention_args mgi_self_attention_args(T *qkv, float scale)
{
    int64_t b = qkv->dims[0], s = qkv->dims[1], h = qkv->dims[3], dh = qkv->dims[4], d = h * dh;
    mgk_buf base = mgi_buf(qkv);
    return (mgk_attention_args){.q = base,
                                .k = at(base, d),
                                .v = at(base, 2 * d),
                                .batch = b,
                                .heads = h,
                                .head_dim = dh,
                                .sq = s,
                                .sk = s,
                                .q_row = 3 * d,
                                .q_batch = 3 * d * s,
                                .k_row = 3 * d,
                                .k_batch = 3 * d * s,
                                .v_row = 3 * d,
                                .v_batch = 3 * d * s,
                                .scale = scale};
}

mgk_attention_args mgi_cross_attention_args(T *q, T *kv, T *mask, float scale)
{
    int64_t b = q->dims[0], sq = q->dims[1], h = q->dims[2], dh = q->dims[3], sk = kv->dims[1],
            d = h * dh;
    return (mgk_attention_args){.q = mgi_buf(q),
                                .k = mgi_buf(kv),
                                .v = at(mgi_buf(kv), d),
                                .mask = mgi_buf(mask),
                                .batch = b,
                                .heads = h,
                                .head_dim = dh,
                                .sq = sq,
                                .sk = sk,
                                .q_row = d,
                                .q_batch = d * sq,
                                .k_row = 2 * d,
                                .k_batch = 2 * d * sk,
                                .v_row = 2 * d,
                                .v_batch = 2 * d * sk,
                                .scale = scale};
}

void mgi_attention_grad_to(mgk_attention_args *a, mgk_buf d_q, mgk_buf d_kv, bool self)
{
    int64_t d = a->heads * a->head_dim;
    a->dq = d_q;
    a->dk = self ? at(d_q, d) : d_kv;
    a->dv = self ? at(d_q, 2 * d) : at(d_kv, d);
}

/* in: 0 = qkv, 1 = bias table values */
static void self_attention_backward(mgi_run *run, mgi_node *node)
{
    mgk_attention_args a = *(const mgk_attention_args *)(const void *)node->args.bytes;
    T *temp;
    a.d_o = mgi_grad_in(node);
    mgi_attention_grad_to(&a, attention_target(run, node, 0, &temp), no_buf, true);
    a.d_bias = mgi_grad_add(run, node, 1);
    if (a.dq.p)
        mgi_run_launch(run, MGK_OP_attention_grad, &a);
    attention_merge(run, node, 0, temp);
}

T *mgi_self_attention(mgi_run *run, T *qkv, T *mask, T *bias, float scale)
{
    if (run->status != MGEN_OK || !mgi_require(run, qkv && qkv->rank == 5 && qkv->dims[2] == 3,
                                               "self_attention: qkv is not (B,S,3,H,Dh)"))
        return NULL;
    int64_t b = qkv->dims[0], s = qkv->dims[1], h = qkv->dims[3];
    if (!mgi_require(run, !mask || (mask->dtype == MGK_U8 && mask->count == b * s),
                     "self_attention: the mask is not (B,S) u8") ||
        !mgi_require(run, !bias || bias->count == h * (2 * s - 1),
                     "self_attention: the bias is not (H,2S-1)"))
        return NULL;
    mgk_attention_args a = mgi_self_attention_args(qkv, scale);
    a.mask = mgi_buf(mask);
    a.bias = mgi_buf(bias);
    T *lse = NULL, *o = mgi_attention(run, MGI_SAVE_ATTENTION, &a, run->record ? &lse : NULL);
    mgi_record(run, self_attention_backward, o, (T *[]){qkv, bias}, 2,
               (T *[]){qkv, o, lse, mask, bias}, 5, &a, sizeof a);
    return run->status == MGEN_OK ? o : NULL;
}

/* in: 0 = q, 1 = kv */
static void cross_attention_backward(mgi_run *run, mgi_node *node)
{
    mgk_attention_args a = *(const mgk_attention_args *)(const void *)node->args.bytes;
    T *temp_q, *temp_kv;
    a.d_o = mgi_grad_in(node);
    mgk_buf dq = attention_target(run, node, 0, &temp_q);
    mgk_buf dkv = attention_target(run, node, 1, &temp_kv);
    /* One of the two may be unwanted (a frozen text encoder): the kernel needs room for it all the same. */
    if (!dq.p && run->status == MGEN_OK)
        dq = mgi_buf(mgi_new(run, a.q.dtype, MGI_DIMS(a.batch * a.q_batch)));
    if (!dkv.p && run->status == MGEN_OK)
        dkv = mgi_buf(mgi_new(run, a.k.dtype, MGI_DIMS(a.batch * a.k_batch)));
    mgi_attention_grad_to(&a, dq, dkv, false);
    if (run->status == MGEN_OK)
        mgi_run_launch(run, MGK_OP_attention_grad, &a);
    attention_merge(run, node, 0, temp_q);
    attention_merge(run, node, 1, temp_kv);
}

T *mgi_cross_attention(mgi_run *run, T *q, T *kv, T *mask, float scale)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, q && kv, "cross_attention: an input is missing") ||
        !mgi_require(run, q->rank == 4 && kv->rank == 5 && kv->dims[2] == 2,
                     "cross_attention: q is not (B,Sq,H,Dh) or kv not (B,Sk,2,H,Dh)") ||
        !mgi_require(run,
                     q->dims[0] == kv->dims[0] && q->dims[2] == kv->dims[3] &&
                         q->dims[3] == kv->dims[4],
                     "cross_attention: q and kv differ in batch, heads or head size") ||
        !mgi_require(run,
                     !mask || (mask->dtype == MGK_U8 && mask->count == kv->dims[0] * kv->dims[1]),
                     "cross_attention: the mask is not (B,Sk) u8"))
        return NULL;
    mgk_attention_args a = mgi_cross_attention_args(q, kv, mask, scale);
    T *lse = NULL, *o = mgi_attention(run, MGI_SAVE_CROSS_ATTENTION, &a, run->record ? &lse : NULL);
    mgi_record(run, cross_attention_backward, o, (T *[]){q, kv}, 2, (T *[]){q, kv, o, lse, mask}, 5,
               &a, sizeof a);
    return run->status == MGEN_OK ? o : NULL;
}
