/* SPDX-License-Identifier: MIT
 * The block as one node of the tape, its gradient written by hand.
 *
 * Names of tensors, in the order in which they arise (B samples of S tokens, D wide, F in the FFN):
 *   x0 = x + positions                        n1 = norm1(x0), modulated          qkv = n1 Wqkv
 *   a  = attention(qkv)                       h1 = a Wout                        x1 = x0 + gate1 h1
 *   q  = x1 Wq,  kv = text Wkv                c  = attention(q, kv)              x2 = x1 + c Wco
 *   n2 = norm2(x2), modulated                 u  = n2 Wgate_up,  f = swiglu(u)   h2 = f Wdown
 *   y  = x2 + gate2 h2
 * Backward one buffer of D a token carries the gradient of the residual stream all the way: the gradients
 * of the norms and of q are added to it where it stands, nothing is copied, and what the tape kept is let go
 * as soon as it has been used.
 *
 * On a CPU and one rank both directions run on parts of whole samples, so that what arises stays in the caches and
 * weights are packed once for all parts. A part is of the same size on any number of threads: gradients of weights are
 * summed over the parts in their order.
 *
 * Over a mesh each rank has S of the tokens (SP in its TP group, whose ranks together have G; CP) and a share of the
 * heads and of F. What is kept is kept so: x0, n1, h1, x1, x2, n2, h2, y of S tokens; qkv, a, q, c, u, f of G tokens, for
 * the rank's share. Collectives, and what runs meanwhile:
 *   forward    gather n1                       qkv = ...            gather k, v (CP)     kv of the text
 *              a Wout: summed and scattered    gather x1            c Wco: scattered
 *              gather n2                       f Wdown: scattered
 *   backward   gather dh2, then n2             df, dWdown, du       scatter dn2          dWgate_up
 *              gather dx, then x1              dc, dWco, dq, dkv    scatter dq Wq        dWq, dWkv, dtext
 *              gather dh1, then n1; k, v (CP)  da, dWout            scatter dk, dv (CP)
 *                                              dqkv                 scatter dn1          dWqkv
 * Where tokens are exchanged for heads (MGI_CP_EXCHANGE), qkv and a are kept of all tokens, for a share of the heads:
 * qkv, da go there and a, dqkv back, and k, v stay.
 */
#include "model/video_transformer_block.h"

#include "core/alloc.h"
#include "dist/collective.h"

#include "kernels/glu/glu.h"
#include "kernels/layout/layout.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/position/position.h"
#include "tensor/weights.h"

#include <math.h>

/* Inputs of the node beyond MGI_VT_IN_*: the parameters. */
enum {
    IN_MOD = MGI_VT_INS,
    IN_NORM1,
    IN_QKV,
    IN_OUT,
    IN_CROSS_Q,
    IN_CROSS_KV,
    IN_CROSS_OUT,
    IN_NORM2,
    IN_GATE_UP,
    IN_DOWN,
    IN_POS_T,
    IN_POS_H,
    IN_POS_W,
    INS
};

/* What the node keeps. */
enum {
    X0,
    RSTD1,
    N1,
    QKV,
    A,
    LSE,
    H1,
    X1,
    Q,
    KV,
    C,
    CROSS_LSE,
    X2,
    RSTD2,
    N2,
    U,
    F,
    H2,
    MOD,
    TEXT,
    MASK,
    KEPT
};
_Static_assert(INS <= MGI_NODE_INPUTS, "a node holds a block");

enum { PART_TOKENS = 1024 };

/* -- arguments that both directions share ------------------------------------------------------ */

static mgk_buf vector_of(mgk_buf mod, int64_t index, int64_t dim)
{
    return mod.p ? (mgk_buf){MGK_F(mod) + index * dim, mod.dtype} : mod;
}

static mgk_norm_args norm_args(T *x, T *rstd, const mgi_param *w, T *mod, int64_t scale,
                               int64_t shift)
{
    int64_t dim = x->dims[2];
    return (mgk_norm_args){.x = mgi_buf(x),
                           .rstd = mgi_buf(rstd),
                           .weight = mgi_buf(mgi_value(w)),
                           .scale = vector_of(mgi_buf(mod), scale, dim),
                           .shift = vector_of(mgi_buf(mod), shift, dim),
                           .rows = x->dims[0] * x->dims[1],
                           .dim = dim,
                           .rows_per_sample = x->dims[1],
                           .mod_stride = MGI_VT_MODS * dim,
                           .kind = MGK_NORM_RMS,
                           .eps = MGI_VT_EPS};
}

static mgk_pointwise_args gate_args(T *h, T *mod, int64_t gate)
{
    int64_t dim = mod->dims[2];
    return (mgk_pointwise_args){.h = mgi_buf(h),
                                .gate = vector_of(mgi_buf(mod), gate, dim),
                                .rows = h->count / dim,
                                .dim = dim,
                                .rows_per_sample = h->dims[1],
                                .gate_stride = MGI_VT_MODS * dim};
}

static mgk_position_args position_args(const mgi_vt_block_of *of, int64_t batch, int64_t tokens)
{
    return (mgk_position_args){.batch = batch,
                               .tokens = tokens,
                               .dim = of->vt->config.dim,
                               .grid_t = of->grid[0],
                               .grid_h = of->grid[1],
                               .grid_w = of->grid[2],
                               .token_offset = of->before + mgi_vt_first_token(of->vt, tokens)};
}

static float attention_scale(const mgi_vt *vt)
{
    return 1.0f / sqrtf((float)(vt->config.dim / vt->config.heads));
}

/* A copy of the keys and values of qkv (B,S,3,H,Dh), for the ranks with other tokens; NULL where there are none. */
static T *keys_values(mgi_run *run, const mgi_vt *vt, T *qkv)
{
    mgi_comm *cp = mgi_vt_group(vt, MGI_AXIS_CP);
    bool gathers = cp && mgi_comm_size(cp) > 1 && !mgi_vt_exchanges(vt);
    return qkv && gathers ? mgi_slice(run, qkv, 2, 1, 2) : NULL;
}

/* qkv of a share of the heads, and of all tokens of the CP group; qkv goes. */
static T *exchange_tokens(mgi_run *run, const mgi_vt *vt, T *qkv)
{
    if (!qkv || !mgi_vt_exchanges(vt))
        return qkv;
    int64_t ranks = vt->mesh->shape.cp, dh = qkv->dims[4];
    T *all = mgi_rows_to_shares(run, vt->mesh->group[MGI_AXIS_CP], qkv, 3), *seen = NULL;
    if (all)
        seen = mgi_reshape(run, all,
                           MGI_DIMS(all->dims[0], all->dims[1], 3, qkv->dims[3] / ranks, dh));
    mgi_drop(run, all);
    mgi_drop(run, qkv);
    return seen;
}

/* What attention made of it, of all heads again. */
static T *exchange_heads(mgi_run *run, const mgi_vt *vt, T *a)
{
    return mgi_vt_exchanges(vt) ? mgi_shares_to_rows(run, vt->mesh->group[MGI_AXIS_CP], a, 1) : a;
}

/* Self-attention: the keys and values are those of qkv, or those of all tokens. */
static mgk_attention_args self_args(const mgi_vt *vt, T *qkv, T *all)
{
    mgk_attention_args a = mgi_self_attention_args(qkv, attention_scale(vt));
    if (!all)
        return a;
    int64_t row = 2 * a.heads * a.head_dim;
    mgk_buf kv = mgi_buf(all);
    a.k = kv;
    a.v = (mgk_buf){(char *)kv.p + (size_t)(row / 2) * mgi_dtype_size(kv.dtype), kv.dtype};
    a.sk = all->dims[1];
    a.k_row = a.v_row = row;
    a.k_batch = a.v_batch = row * a.sk;
    return a;
}

/* Drop what was made of `own`, if it was made. */
static void drop_made(mgi_run *run, T *made, const T *own)
{
    if (made != own)
        mgi_drop(run, made);
}

/* -- forward ---------------------------------------------------------------------------------- */

/* x W^T, (B, S, rows of W). */
static T *product(mgi_run *run, T *x, const mgi_param *w)
{
    return mgi_linear(run, x, mgi_value(w), NULL);
}

static T *norm(mgi_run *run, T *x, const mgi_param *w, T *mod, int64_t scale, int64_t shift,
               T **rstd)
{
    T *y = mgi_new(run, x ? x->dtype : MGK_F32, 3, x ? x->dims : (int64_t[3]){0});
    *rstd = x ? mgi_new(run, MGK_F32, MGI_DIMS(x->dims[0], x->dims[1])) : NULL;
    if (run->status != MGEN_OK)
        return NULL;
    mgk_norm_args a = norm_args(x, *rstd, w, mod, scale, shift);
    a.y = mgi_buf(y);
    mgi_run_launch(run, MGK_OP_norm, &a);
    return y;
}

/* The same, seen in heads. */
static T *product_heads(mgi_run *run, T *x, const mgi_param *w, int64_t parts, int64_t heads)
{
    T *flat = product(run, x, w), *y = NULL;
    if (!flat)
        return NULL;
    int64_t n = flat->dims[0], s = flat->dims[1], dh = flat->dims[2] / parts / heads;
    if (parts == 1)
        y = mgi_reshape(run, flat, MGI_DIMS(n, s, heads, dh));
    else
        y = mgi_reshape(run, flat, MGI_DIMS(n, s, parts, heads, dh));
    mgi_drop(run, flat);
    return y;
}

/* residual + gate x W^T: in one pass, or with what the ranks' shares of x add up to. h, not NULL: x W^T as well. */
static T *residual_product(mgi_run *run, const mgi_vt *vt, T *x, const mgi_param *w, T *residual,
                           T *mod, int64_t gate, T **h)
{
    mgi_comm *tp = mgi_vt_group(vt, MGI_AXIS_TP);
    if (!tp || mgi_comm_size(tp) == 1)
        return mgi_linear_gated(run, x, mgi_value(w), residual, mod, gate, h);
    T *part = product(run, x, w), *sum = mgi_scatter_rows(run, tp, part), *y;
    mgi_drop(run, part);
    y = mod ? mgi_gated_residual(run, residual, sum, mod, gate) : mgi_add(run, residual, sum);
    if (h)
        *h = sum;
    else
        mgi_drop(run, sum);
    return y;
}

/* Without a tape nothing is kept. */
static void used(mgi_run *run, bool record, T **t)
{
    if (record)
        return;
    mgi_drop(run, *t);
    *t = NULL;
}

static void forward(mgi_run *run, const mgi_vt_block_of *of, T *const *in, bool record, T **k,
                    T **y)
{
    const mgi_vt *vt = of->vt;
    const mgi_vt_block *b = of->b;
    T *x = in[MGI_VT_IN_X], *text = k[TEXT] = in[MGI_VT_IN_TEXT], *all, *kv;
    int64_t dim = vt->config.dim, heads = vt->config.heads / (vt->mesh ? vt->mesh->shape.tp : 1);
    mgi_comm *tp = mgi_vt_group(vt, MGI_AXIS_TP), *cp = mgi_vt_group(vt, MGI_AXIS_CP);
    mgk_attention_args a;
    mgi_rows_work w;
    k[MASK] = in[MGI_VT_IN_MASK];
    k[MOD] = mgi_reshape(run, mgi_add_rows(run, in[MGI_VT_IN_SHARED], mgi_value(b->mod)),
                         MGI_DIMS(x->dims[0], MGI_VT_MODS, dim));
    k[X0] =
        mgi_position_add(run, x, mgi_value(vt->pos_t), mgi_value(vt->pos_h), mgi_value(vt->pos_w),
                         of->grid, of->before + mgi_vt_first_token(vt, x->dims[1]));
    k[N1] = norm(run, k[X0], b->norm1, k[MOD], MGI_VT_SCALE1, MGI_VT_SHIFT1, &k[RSTD1]);
    all = mgi_gather_rows(run, tp, k[N1]);
    k[QKV] = product_heads(run, all, b->qkv, 3, heads);
    drop_made(run, all, k[N1]);
    used(run, record, &k[N1]);
    kv = keys_values(run, vt, k[QKV]);
    k[QKV] = exchange_tokens(run, vt, k[QKV]);
    mgi_gather_begin(run, cp, kv, &w);
    k[KV] = of->kv ? mgi_scope_add(run, mgi_tensor_retain(of->kv))
            : kv   ? mgi_vt_block_kv(run, vt, b, text)
                   : NULL;
    all = mgi_rows_end(run, &w);
    if (!k[QKV])
        return;
    a = self_args(vt, k[QKV], all);
    k[A] = mgi_attention(run, MGI_SAVE_ATTENTION, &a, record ? &k[LSE] : NULL);
    drop_made(run, all, kv);
    mgi_drop(run, kv);
    used(run, record, &k[QKV]);
    all = exchange_heads(run, vt, k[A]);
    k[X1] =
        residual_product(run, vt, all, b->out, k[X0], k[MOD], MGI_VT_GATE1, record ? &k[H1] : NULL);
    drop_made(run, all, k[A]);
    used(run, record, &k[A]);
    used(run, record, &k[X0]);

    all = mgi_gather_rows(run, tp, k[X1]);
    k[Q] = product_heads(run, all, b->cross_q, 1, heads);
    drop_made(run, all, k[X1]);
    if (!k[KV])
        k[KV] = mgi_vt_block_kv(run, vt, b, text);
    if (!k[Q] || !k[KV])
        return;
    a = mgi_cross_attention_args(k[Q], k[KV], k[MASK], attention_scale(vt));
    k[C] = mgi_attention(run, MGI_SAVE_CROSS_ATTENTION, &a, record ? &k[CROSS_LSE] : NULL);
    used(run, record, &k[Q]);
    used(run, record, &k[KV]);
    k[X2] = residual_product(run, vt, k[C], b->cross_out, k[X1], NULL, 0, NULL);
    used(run, record, &k[C]);
    used(run, record, &k[X1]);

    k[N2] = norm(run, k[X2], b->norm2, k[MOD], MGI_VT_SCALE2, MGI_VT_SHIFT2, &k[RSTD2]);
    all = mgi_gather_rows(run, tp, k[N2]);
    k[U] = product(run, all, b->up);
    drop_made(run, all, k[N2]);
    used(run, record, &k[N2]);
    k[F] = mgi_glu(run, k[U], MGK_GLU_SILU);
    used(run, record, &k[U]);
    *y = residual_product(run, vt, k[F], b->down, k[X2], k[MOD], MGI_VT_GATE2,
                          record ? &k[H2] : NULL);
}

/* -- backward --------------------------------------------------------------------------------- */

typedef struct frame {
    mgi_run *run;
    mgi_node *node;
    const mgi_vt_block_of *of;
    T **k; /* what was kept */
    T *dx; /* (B,S,D): gradient of the residual stream */
    mgi_comm *tp, *cp;
    int64_t rows;    /* tokens of the TP group: B G */
    mgk_buf dm;      /* (B,6,D) f32: gradient of the modulation */
    mgk_buf d_text;  /* gradient of the text, or none */
    int32_t text_is; /* something is there */
} frame;

static T *like(frame *f, int kept)
{
    T *t = f->k[kept];
    return t ? mgi_new(f->run, t->dtype, t->rank, t->dims) : NULL;
}

static void let_go(frame *f, int kept)
{
    mgi_tensor_release(f->k[kept]);
    f->k[kept] = NULL;
}

/* d_in (+)= d_out W. */
static void input_grad(frame *f, const mgi_param *w, mgk_buf d_out, int64_t rows, mgk_buf d_in,
                       bool add)
{
    T *value = mgi_value(w);
    int64_t n = value->dims[0], k = value->dims[1];
    mgk_matmul_args a = {.a = d_out,
                         .b = mgi_buf(value),
                         .c = d_in,
                         .m = rows,
                         .n = k,
                         .k = n,
                         .batch = 1,
                         .lda = n,
                         .ldb = k,
                         .ldc = k,
                         .accumulate = add,
                         .alpha = 1.0f};
    a.kept = mgi_weights_kept(f->run, value, &a);
    if (d_in.p && d_out.p)
        mgi_run_launch(f->run, MGK_OP_matmul, &a);
}

/* dW += d_out^T x. */
static void weight_grad(frame *f, int in, const mgi_param *w, mgk_buf x, mgk_buf d_out,
                        int64_t rows)
{
    const T *value = mgi_value(w);
    int64_t n = value->dims[0], k = value->dims[1];
    int32_t accumulate;
    mgk_matmul_args g = {.a = d_out,
                         .b = x,
                         .m = n,
                         .n = k,
                         .k = rows,
                         .batch = 1,
                         .lda = n,
                         .ldb = k,
                         .ldc = k,
                         .trans_a = 1,
                         .alpha = 1.0f};
    g.c = mgi_grad_out(f->run, f->node, in, &accumulate);
    g.accumulate = accumulate;
    if (g.c.p && x.p && d_out.p)
        mgi_run_launch(f->run, MGK_OP_matmul, &g);
}

/* dx += the gradient through a modulated norm of x. */
static void norm_grad(frame *f, int x, int rstd, int in, const mgi_param *w, T *d_n, int64_t scale,
                      int64_t shift)
{
    if (f->run->status != MGEN_OK)
        return;
    mgk_norm_args a = norm_args(f->k[x], f->k[rstd], w, f->k[MOD], scale, shift);
    a.dy = mgi_buf(d_n);
    a.dx = mgi_buf(f->dx);
    a.accumulate_dx = 1;
    a.d_weight = mgi_grad_add(f->run, f->node, in);
    a.d_scale = vector_of(f->dm, scale, a.dim);
    a.d_shift = vector_of(f->dm, shift, a.dim);
    a.d_mod_stride = a.mod_stride;
    mgi_run_launch(f->run, MGK_OP_norm_grad, &a);
}

/* The gradient of h of x + gate h; that of the gate is added to dm. */
static T *gate_grad(frame *f, int h, int64_t gate)
{
    T *dh = like(f, h);
    if (f->run->status != MGEN_OK)
        return NULL;
    mgk_pointwise_args a = gate_args(f->k[h], f->k[MOD], gate);
    a.dy = mgi_buf(f->dx);
    a.dh = mgi_buf(dh);
    a.d_gate = vector_of(f->dm, gate, a.dim);
    a.d_gate_stride = a.gate_stride;
    mgi_run_launch(f->run, MGK_OP_gated_residual_grad, &a);
    return dh;
}

/* A tensor of the inputs' width for each token of the TP group. */
static T *group_like(frame *f, const T *own)
{
    return mgi_new(f->run, own->dtype,
                   MGI_DIMS(own->dims[0], f->rows / own->dims[0], own->dims[2]));
}

/* Through x W^T, with x of this rank's tokens and d_out of the group's, of its outputs: dW, and what x gets from all
 * ranks. x_all: x gathered. */
static T *column_backward(frame *f, int in, const mgi_param *w, const T *x, mgi_rows_work *x_all,
                          T *d_out)
{
    mgi_rows_work sums;
    T *d_all = group_like(f, x), *all = mgi_rows_end(f->run, x_all), *d_own;
    input_grad(f, w, mgi_buf(d_out), f->rows, mgi_buf(d_all), false);
    mgi_scatter_begin(f->run, f->tp, d_all, &sums);
    weight_grad(f, in, w, mgi_buf(all), mgi_buf(d_out), f->rows);
    drop_made(f->run, all, x);
    d_own = mgi_rows_end(f->run, &sums);
    drop_made(f->run, d_all, d_own);
    return d_own;
}

static void ffn_backward(frame *f)
{
    const mgi_vt_block *b = f->of->b;
    mgi_run *run = f->run;
    mgi_rows_work dh_all, n_all;
    int64_t mark = mgi_scope_push(run);
    T *dh = gate_grad(f, H2, MGI_VT_GATE2), *df = like(f, F), *du, *dn, *all;
    mgi_gather_begin(run, f->tp, dh, &dh_all);
    mgi_gather_begin(run, f->tp, f->k[N2], &n_all);
    let_go(f, H2);
    all = mgi_rows_end(run, &dh_all);
    input_grad(f, b->down, mgi_buf(all), f->rows, mgi_buf(df), false);
    weight_grad(f, IN_DOWN, b->down, mgi_buf(f->k[F]), mgi_buf(all), f->rows);
    drop_made(run, all, dh);
    let_go(f, F);
    du = like(f, U);
    if (run->status == MGEN_OK) {
        mgk_glu_args g = {.x = mgi_buf(f->k[U]),
                          .dy = mgi_buf(df),
                          .dx = mgi_buf(du),
                          .rows = f->rows,
                          .dim = f->k[U]->dims[2] / 2,
                          .kind = MGK_GLU_SILU};
        mgi_run_launch(run, MGK_OP_glu_grad, &g);
    }
    let_go(f, U);
    mgi_drop(run, df);
    dn = column_backward(f, IN_GATE_UP, b->up, f->k[N2], &n_all, du);
    let_go(f, N2);
    norm_grad(f, X2, RSTD2, IN_NORM2, b->norm2, dn, MGI_VT_SCALE2, MGI_VT_SHIFT2);
    let_go(f, X2);
    mgi_scope_pop(run, mark, NULL);
}

/* dx += d. */
static void add_to_dx(frame *f, const T *d)
{
    if (f->run->status != MGEN_OK)
        return;
    mgk_pointwise_args a = {
        .x = mgi_buf(d), .y = mgi_buf(f->dx), .count = d->count, .alpha = 1.0f, .beta = 1.0f};
    mgi_run_launch(f->run, MGK_OP_axpby, &a);
}

/* The gradient of q to dx: where it stands, or with the other ranks' shares. */
static void query_backward(frame *f, mgi_rows_work *x_all, T *dq)
{
    const mgi_param *w = f->of->b->cross_q;
    const T *x = f->k[X1];
    if (f->tp && mgi_comm_size(f->tp) > 1) {
        add_to_dx(f, column_backward(f, IN_CROSS_Q, w, x, x_all, dq));
        return;
    }
    mgi_rows_end(f->run, x_all);
    input_grad(f, w, mgi_buf(dq), f->rows, mgi_buf(f->dx), true);
    weight_grad(f, IN_CROSS_Q, w, mgi_buf(x), mgi_buf(dq), f->rows);
}

static void cross_backward(frame *f)
{
    const mgi_vt_block *b = f->of->b;
    mgi_run *run = f->run;
    mgi_rows_work dx_all, x_all;
    int64_t mark = mgi_scope_push(run);
    T *dc = like(f, C), *dq = like(f, Q), *dkv = like(f, KV), *all, *text = f->k[TEXT];
    mgi_gather_begin(run, f->tp, f->dx, &dx_all);
    mgi_gather_begin(run, f->tp, f->k[X1], &x_all);
    all = mgi_rows_end(run, &dx_all);
    input_grad(f, b->cross_out, mgi_buf(all), f->rows, mgi_buf(dc), false);
    weight_grad(f, IN_CROSS_OUT, b->cross_out, mgi_buf(f->k[C]), mgi_buf(all), f->rows);
    drop_made(run, all, f->dx);
    if (run->status == MGEN_OK) {
        mgk_attention_args a =
            mgi_cross_attention_args(f->k[Q], f->k[KV], f->k[MASK], attention_scale(f->of->vt));
        a.o = mgi_buf(f->k[C]);
        a.lse = mgi_buf(f->k[CROSS_LSE]);
        a.o_row = a.q_row;
        a.o_batch = a.q_batch;
        a.d_o = mgi_buf(dc);
        mgi_attention_grad_to(&a, mgi_buf(dq), mgi_buf(dkv), false);
        mgi_run_launch(run, MGK_OP_attention_grad, &a);
    }
    let_go(f, C);
    let_go(f, Q);
    query_backward(f, &x_all, dq);
    let_go(f, X1);
    int64_t tokens = text->dims[0] * text->dims[1];
    input_grad(f, b->cross_kv, mgi_buf(dkv), tokens, f->d_text, f->text_is);
    weight_grad(f, IN_CROSS_KV, b->cross_kv, mgi_buf(text), mgi_buf(dkv), tokens);
    let_go(f, KV);
    mgi_scope_pop(run, mark, NULL);
}

/* The gradients of this rank's keys and values, from the queries of all ranks: into dqkv. */
static void keys_values_backward(frame *f, T *d_all, T *dqkv)
{
    mgi_rows_work sums;
    mgi_scatter_begin(f->run, f->cp, d_all, &sums);
    T *own = mgi_rows_end(f->run, &sums);
    if (f->run->status != MGEN_OK)
        return;
    int64_t dim = own->count / f->rows;
    mgk_buf to = mgi_buf(dqkv);
    to.p = (char *)to.p + (size_t)(dim / 2) * mgi_dtype_size(to.dtype);
    mgk_layout_args a = {.x = mgi_buf(own),
                         .y = to,
                         .rows = f->rows,
                         .dim = dim,
                         .x_stride = dim,
                         .y_stride = dqkv->count / f->rows};
    mgi_run_launch(f->run, MGK_OP_copy_rows, &a);
}

static void self_backward(frame *f)
{
    const mgi_vt_block *b = f->of->b;
    mgi_run *run = f->run;
    mgi_rows_work dh_all, n_all, kv_all;
    int64_t mark = mgi_scope_push(run);
    T *dh = gate_grad(f, H1, MGI_VT_GATE1), *own = exchange_heads(run, f->of->vt, f->k[A]);
    T *da = own ? mgi_new(run, own->dtype, own->rank, own->dims) : NULL, *dqkv = like(f, QKV);
    T *dn, *all, *kv = keys_values(run, f->of->vt, f->k[QKV]), *d_kv = NULL;
    mgi_gather_begin(run, f->tp, dh, &dh_all);
    mgi_gather_begin(run, f->tp, f->k[N1], &n_all);
    mgi_gather_begin(run, f->cp, kv, &kv_all);
    let_go(f, H1);
    all = mgi_rows_end(run, &dh_all);
    input_grad(f, b->out, mgi_buf(all), f->rows, mgi_buf(da), false);
    weight_grad(f, IN_OUT, b->out, mgi_buf(own), mgi_buf(all), f->rows);
    drop_made(run, all, dh);
    drop_made(run, own, f->k[A]);
    if (mgi_vt_exchanges(f->of->vt))
        da = mgi_rows_to_shares(run, f->cp, da, 1);
    all = mgi_rows_end(run, &kv_all);
    if (all)
        d_kv = mgi_new(run, all->dtype, all->rank, all->dims);
    if (run->status == MGEN_OK) {
        mgk_attention_args a = self_args(f->of->vt, f->k[QKV], all);
        a.o = mgi_buf(f->k[A]);
        a.lse = mgi_buf(f->k[LSE]);
        a.o_row = a.heads * a.head_dim;
        a.o_batch = a.o_row * a.sq;
        a.d_o = mgi_buf(da);
        mgi_attention_grad_to(&a, mgi_buf(dqkv), (mgk_buf){0, 0}, true);
        if (d_kv) { /* laid out as all is */
            a.dk = mgi_buf(d_kv);
            a.dv = a.dk;
            a.dv.p = (char *)a.dk.p + ((char *)a.v.p - (char *)a.k.p);
        }
        mgi_run_launch(run, MGK_OP_attention_grad, &a);
    }
    let_go(f, QKV);
    let_go(f, A);
    mgi_drop(run, da);
    if (mgi_vt_exchanges(f->of->vt))
        dqkv = mgi_shares_to_rows(run, f->cp, dqkv, 3);
    if (kv)
        keys_values_backward(f, d_kv, dqkv);
    dn = column_backward(f, IN_QKV, b->qkv, f->k[N1], &n_all, dqkv);
    let_go(f, N1);
    norm_grad(f, X0, RSTD1, IN_NORM1, b->norm1, dn, MGI_VT_SCALE1, MGI_VT_SHIFT1);
    mgi_scope_pop(run, mark, NULL);
}

/* dm to the shared modulation, (B,6D), and to the block's own, summed over the batch. */
static void mod_backward(frame *f, T *dm)
{
    mgk_pointwise_args own = {
        .x = mgi_buf(dm), .rows = dm->dims[0], .dim = dm->count / dm->dims[0], .period = 1};
    own.table = mgi_grad_add(f->run, f->node, IN_MOD);
    if (own.table.p)
        mgi_run_launch(f->run, MGK_OP_reduce_rows, &own);
    mgi_grad_give(f->run, f->node, MGI_VT_IN_SHARED, dm);
}

/* The samples from `first` on, whose tensors f->k are; of all samples are dx, dm and the text's gradient. */
static void part_backward(const frame *all, int64_t first, T *dx, T *dm)
{
    frame f = *all;
    int64_t mark = mgi_scope_push(f.run), n = f.k[X0]->dims[0];
    const T *text = f.k[TEXT];
    f.dx = mgi_vt_samples(f.run, dx, first, n);
    dm = mgi_vt_samples(f.run, dm, first, n);
    f.dm = mgi_buf(dm);
    f.rows = n * f.k[X0]->dims[1] * (f.tp ? mgi_comm_size(f.tp) : 1);
    if (f.d_text.p)
        f.d_text.p = (char *)f.d_text.p + first * (text->count / text->dims[0]) *
                                              (int64_t)mgi_dtype_size(f.d_text.dtype);
    if (f.run->status == MGEN_OK)
        ffn_backward(&f);
    if (f.run->status == MGEN_OK)
        cross_backward(&f);
    if (f.run->status == MGEN_OK)
        self_backward(&f);
    mgi_scope_pop(f.run, mark, NULL);
}

static void backward(mgi_run *run, mgi_node *node)
{
    frame f = {.run = run, .node = node, .of = (const void *)node->args.bytes};
    T **kept = node->keep->list, *flat = mgi_grad_take(run, node);
    const T *x0 = kept[X0];
    int64_t s = x0->dims[1], dim = x0->dims[2], n = flat ? flat->count / (s * dim) : 0, first = 0;
    T *dm = mgi_new(run, MGK_F32, MGI_DIMS(n, MGI_VT_MODS, dim));
    T *dx = flat ? mgi_reshape(run, flat, MGI_DIMS(n, s, dim)) : NULL;
    if (run->status != MGEN_OK)
        return;
    mgi_fill(run, dm, 0.0f);
    f.d_text = mgi_grad_out(run, node, MGI_VT_IN_TEXT, &f.text_is);
    f.tp = mgi_vt_group(f.of->vt, MGI_AXIS_TP);
    f.cp = mgi_vt_group(f.of->vt, MGI_AXIS_CP);
    bool record = run->record, parts = node->keep->count > KEPT;
    run->record = false;
    if (parts)
        mgi_weights_begin(run);
    for (int64_t i = 0; i < node->keep->count && run->status == MGEN_OK; i += KEPT) {
        int64_t samples = kept[i + X0]->dims[0];
        f.k = kept + i;
        part_backward(&f, first, dx, dm);
        first += samples;
    }
    if (parts)
        mgi_weights_end(run);
    run->record = record;
    mgk_position_args p = position_args(f.of, n, s);
    p.dy = mgi_buf(dx);
    p.d_frame = mgi_grad_add(run, node, IN_POS_T);
    p.d_row = mgi_grad_add(run, node, IN_POS_H);
    p.d_column = mgi_grad_add(run, node, IN_POS_W);
    mgi_run_launch(run, MGK_OP_position_add_grad, &p);
    mod_backward(&f, dm);
    mgi_grad_give(run, node, MGI_VT_IN_X, flat);
}

/* -- the node --------------------------------------------------------------------------------- */

/* Samples of a part; the same for a block that runs again as when it ran first. */
static int64_t part_samples(const mgi_run *run, const mgi_vt *vt, const T *x)
{
    int64_t tokens = vt->part_tokens ? vt->part_tokens : PART_TOKENS;
    bool host = !(run->dev->kernel[MGK_OP_matmul]->needs & MGK_NEEDS_CUDA);
    if ((!run->record && !run->keep) || run->hook || vt->mesh || !host || x->count == 0)
        return x->dims[0];
    return tokens > x->dims[1] ? tokens / x->dims[1] : 1;
}

/* Forward, part by part; kept: KEPT tensors of each. */
static T *forward_parts(mgi_run *run, const mgi_vt_block_of *of, T *const *in, int64_t samples,
                        bool record, T **kept)
{
    T *x = in[MGI_VT_IN_X], *y = mgi_new(run, x->dtype, x->rank, x->dims);
    int64_t all = x->dims[0], each = x->count / all;
    mgi_weights_begin(run);
    for (int64_t first = 0; first < all && run->status == MGEN_OK; first += samples) {
        int64_t n = all - first < samples ? all - first : samples, mark = mgi_scope_push(run);
        T *some[MGI_VT_INS], *z = NULL;
        for (int i = 0; i < MGI_VT_INS; i++)
            some[i] = mgi_vt_samples(run, in[i], first, n);
        if (run->status == MGEN_OK)
            forward(run, of, some, record, kept, &z);
        mgi_copy(run, y, first * each, z, 0, n * each);
        if (record)
            mgi_drop(run, z);
        else
            mgi_scope_pop(run, mark, NULL);
        kept += KEPT;
    }
    mgi_weights_end(run);
    return run->status == MGEN_OK ? y : NULL;
}

T *mgi_vt_block_composite(mgi_run *run, const void *user, T *const *in)
{
    const mgi_vt_block_of *of = user;
    const mgi_vt_block *b = of->b;
    T *x = in[MGI_VT_IN_X], **kept, *y = NULL;
    if (run->status != MGEN_OK || !x || !in[MGI_VT_IN_TEXT])
        return NULL;
    int64_t samples = part_samples(run, of->vt, x), parts = 1;
    if (x->dims[0] > samples)
        parts = (x->dims[0] - 1) / samples + 1;
    if (!mgi_ok(run, mgi_alloc_zero(run->ctx, (size_t)parts * KEPT, sizeof *kept, &kept)))
        return NULL;
    bool record = run->record;
    int64_t mark = mgi_scope_push(run);
    run->record = false;
    if (parts > 1)
        y = forward_parts(run, of, in, samples, record, kept);
    else
        forward(run, of, in, record, kept, &y);
    run->record = record;
    const mgi_param *params[] = {b->mod,        b->norm1,      b->qkv,       b->out, b->cross_q,
                                 b->cross_kv,   b->cross_out,  b->norm2,     b->up,  b->down,
                                 of->vt->pos_t, of->vt->pos_h, of->vt->pos_w};
    T *inputs[INS];
    for (int i = 0; i < MGI_VT_INS; i++)
        inputs[i] = in[i];
    for (int i = IN_MOD; i < INS; i++)
        inputs[i] = mgi_value(params[i - IN_MOD]);
    mgi_node_keep(run, mgi_record(run, backward, y, inputs, INS, NULL, 0, of, sizeof *of), kept,
                  parts * KEPT);
    mgi_free(run->ctx, kept);
    return mgi_scope_pop(run, mark, run->status == MGEN_OK ? y : NULL);
}
