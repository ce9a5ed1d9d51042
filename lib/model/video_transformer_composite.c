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
 */
#include "model/video_transformer_block.h"

#include "kernels/glu/glu.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/position/position.h"

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
_Static_assert(INS <= MGI_NODE_INPUTS && KEPT <= MGI_NODE_SAVED, "a node holds a block");

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
                               .grid_w = of->grid[2]};
}

static float attention_scale(const mgi_vt *vt)
{
    return 1.0f / sqrtf((float)(vt->config.dim / vt->config.heads));
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
    T *x = in[MGI_VT_IN_X], *text = k[TEXT] = in[MGI_VT_IN_TEXT];
    int64_t heads = vt->config.heads, dim = vt->config.dim;
    float scale = attention_scale(vt);
    mgk_attention_args a;
    k[MASK] = in[MGI_VT_IN_MASK];
    k[MOD] = mgi_reshape(run, mgi_add_rows(run, in[MGI_VT_IN_SHARED], mgi_value(b->mod)),
                         MGI_DIMS(x->dims[0], MGI_VT_MODS, dim));
    k[X0] = mgi_position_add(run, x, mgi_value(vt->pos_t), mgi_value(vt->pos_h),
                             mgi_value(vt->pos_w), of->grid, 0);
    k[N1] = norm(run, k[X0], b->norm1, k[MOD], MGI_VT_SCALE1, MGI_VT_SHIFT1, &k[RSTD1]);
    k[QKV] = product_heads(run, k[N1], b->qkv, 3, heads);
    used(run, record, &k[N1]);
    if (!k[QKV])
        return;
    a = mgi_self_attention_args(k[QKV], scale);
    k[A] = mgi_attention(run, MGI_SAVE_ATTENTION, &a, &k[LSE]);
    used(run, record, &k[QKV]);
    k[X1] = mgi_linear_gated(run, k[A], mgi_value(b->out), k[X0], k[MOD], MGI_VT_GATE1,
                             record ? &k[H1] : NULL);
    used(run, record, &k[A]);
    used(run, record, &k[X0]);

    k[Q] = product_heads(run, k[X1], b->cross_q, 1, heads);
    k[KV] = product_heads(run, text, b->cross_kv, 2, heads);
    if (!k[Q] || !k[KV])
        return;
    a = mgi_cross_attention_args(k[Q], k[KV], k[MASK], scale);
    k[C] = mgi_attention(run, MGI_SAVE_CROSS_ATTENTION, &a, &k[CROSS_LSE]);
    used(run, record, &k[Q]);
    used(run, record, &k[KV]);
    k[X2] = mgi_linear_gated(run, k[C], mgi_value(b->cross_out), k[X1], NULL, 0, NULL);
    used(run, record, &k[C]);
    used(run, record, &k[X1]);

    k[N2] = norm(run, k[X2], b->norm2, k[MOD], MGI_VT_SCALE2, MGI_VT_SHIFT2, &k[RSTD2]);
    k[U] = product(run, k[N2], b->up);
    used(run, record, &k[N2]);
    k[F] = mgi_glu(run, k[U], MGK_GLU_SILU);
    used(run, record, &k[U]);
    *y = mgi_linear_gated(run, k[F], mgi_value(b->down), k[X2], k[MOD], MGI_VT_GATE2,
                          record ? &k[H2] : NULL);
}

/* -- backward --------------------------------------------------------------------------------- */

typedef struct frame {
    mgi_run *run;
    mgi_node *node;
    const mgi_vt_block_of *of;
    T **k;      /* what was kept */
    T *dx;      /* (B*S*D): gradient of the residual stream */
    mgk_buf dm; /* (B,6,D) f32: gradient of the modulation */
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

/* d_in (+)= d_out W, and dW += d_out^T x. d_in NULL: not wanted. */
static void product_grad(frame *f, int in, const mgi_param *w, mgk_buf x, mgk_buf d_out,
                         int64_t rows, mgk_buf d_in, bool add)
{
    const T *value = mgi_value(w);
    int64_t n = value->dims[0], k = value->dims[1];
    int32_t accumulate;
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
    if (d_in.p)
        mgi_run_launch(f->run, MGK_OP_matmul, &a);
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
    if (g.c.p)
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

static void ffn_backward(frame *f, int64_t rows)
{
    const mgi_vt_block *b = f->of->b;
    mgi_run *run = f->run;
    int64_t mark = mgi_scope_push(run);
    T *dh = gate_grad(f, H2, MGI_VT_GATE2), *df = like(f, F), *du, *dn;
    if (run->status != MGEN_OK)
        return;
    let_go(f, H2);
    product_grad(f, IN_DOWN, b->down, mgi_buf(f->k[F]), mgi_buf(dh), rows, mgi_buf(df), false);
    let_go(f, F);
    if (!(du = like(f, U)))
        return;
    mgk_glu_args g = {.x = mgi_buf(f->k[U]),
                      .dy = mgi_buf(df),
                      .dx = mgi_buf(du),
                      .rows = rows,
                      .dim = f->of->vt->config.ff_dim,
                      .kind = MGK_GLU_SILU};
    mgi_run_launch(run, MGK_OP_glu_grad, &g);
    let_go(f, U);
    mgi_drop(run, df);
    if (!(dn = like(f, N2)))
        return;
    product_grad(f, IN_GATE_UP, b->up, mgi_buf(f->k[N2]), mgi_buf(du), rows, mgi_buf(dn), false);
    let_go(f, N2);
    norm_grad(f, X2, RSTD2, IN_NORM2, b->norm2, dn, MGI_VT_SCALE2, MGI_VT_SHIFT2);
    let_go(f, X2);
    mgi_scope_pop(run, mark, NULL);
}

static void cross_backward(frame *f, int64_t rows)
{
    const mgi_vt_block *b = f->of->b;
    mgi_run *run = f->run;
    int64_t mark = mgi_scope_push(run);
    T *dc = like(f, C), *dq = like(f, Q), *dkv = like(f, KV);
    if (run->status != MGEN_OK)
        return;
    product_grad(f, IN_CROSS_OUT, b->cross_out, mgi_buf(f->k[C]), mgi_buf(f->dx), rows, mgi_buf(dc),
                 false);
    mgk_attention_args a =
        mgi_cross_attention_args(f->k[Q], f->k[KV], f->k[MASK], attention_scale(f->of->vt));
    a.o = mgi_buf(f->k[C]);
    a.lse = mgi_buf(f->k[CROSS_LSE]);
    a.o_row = a.q_row;
    a.o_batch = a.q_batch;
    a.d_o = mgi_buf(dc);
    mgi_attention_grad_to(&a, mgi_buf(dq), mgi_buf(dkv), false);
    mgi_run_launch(run, MGK_OP_attention_grad, &a);
    let_go(f, C);
    let_go(f, Q);
    product_grad(f, IN_CROSS_Q, b->cross_q, mgi_buf(f->k[X1]), mgi_buf(dq), rows, mgi_buf(f->dx),
                 true);
    let_go(f, X1);
    int32_t accumulate;
    mgk_buf d_text = mgi_grad_out(run, f->node, MGI_VT_IN_TEXT, &accumulate);
    T *text = f->k[TEXT];
    product_grad(f, IN_CROSS_KV, b->cross_kv, mgi_buf(text), mgi_buf(dkv),
                 text->dims[0] * text->dims[1], d_text, accumulate);
    let_go(f, KV);
    mgi_scope_pop(run, mark, NULL);
}

static void self_backward(frame *f, int64_t rows)
{
    const mgi_vt_block *b = f->of->b;
    mgi_run *run = f->run;
    int64_t mark = mgi_scope_push(run);
    T *dh = gate_grad(f, H1, MGI_VT_GATE1), *da = like(f, A), *dqkv = like(f, QKV), *dn;
    if (run->status != MGEN_OK)
        return;
    let_go(f, H1);
    product_grad(f, IN_OUT, b->out, mgi_buf(f->k[A]), mgi_buf(dh), rows, mgi_buf(da), false);
    mgk_attention_args a = mgi_self_attention_args(f->k[QKV], attention_scale(f->of->vt));
    a.o = mgi_buf(f->k[A]);
    a.lse = mgi_buf(f->k[LSE]);
    a.o_row = a.heads * a.head_dim;
    a.o_batch = a.o_row * a.sq;
    a.d_o = mgi_buf(da);
    mgi_attention_grad_to(&a, mgi_buf(dqkv), (mgk_buf){0, 0}, true);
    mgi_run_launch(run, MGK_OP_attention_grad, &a);
    let_go(f, QKV);
    let_go(f, A);
    mgi_drop(run, da);
    if (!(dn = like(f, N1)))
        return;
    product_grad(f, IN_QKV, b->qkv, mgi_buf(f->k[N1]), mgi_buf(dqkv), rows, mgi_buf(dn), false);
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

static void backward(mgi_run *run, mgi_node *node)
{
    frame f = {run,   node, (const void *)node->args.bytes, node->saved, mgi_grad_take(run, node),
               {0, 0}};
    const T *x0 = f.k[X0];
    int64_t n = x0->dims[0], s = x0->dims[1], dim = x0->dims[2];
    T *dm = mgi_new(run, MGK_F32, MGI_DIMS(n, MGI_VT_MODS, dim));
    if (run->status != MGEN_OK)
        return;
    mgi_fill(run, dm, 0.0f);
    f.dm = mgi_buf(dm);
    ffn_backward(&f, n * s);
    if (run->status == MGEN_OK)
        cross_backward(&f, n * s);
    if (run->status == MGEN_OK)
        self_backward(&f, n * s);
    mgk_position_args p = position_args(f.of, n, s);
    p.dy = mgi_buf(f.dx);
    p.d_frame = mgi_grad_add(run, node, IN_POS_T);
    p.d_row = mgi_grad_add(run, node, IN_POS_H);
    p.d_column = mgi_grad_add(run, node, IN_POS_W);
    mgi_run_launch(run, MGK_OP_position_add_grad, &p);
    mod_backward(&f, dm);
    mgi_grad_give(run, node, MGI_VT_IN_X, f.dx);
}

/* -- the node --------------------------------------------------------------------------------- */

T *mgi_vt_block_composite(mgi_run *run, const void *user, T *const *in)
{
    const mgi_vt_block_of *of = user;
    const mgi_vt_block *b = of->b;
    T *kept[KEPT] = {0}, *y = NULL;
    if (run->status != MGEN_OK || !in[MGI_VT_IN_X] || !in[MGI_VT_IN_TEXT])
        return NULL;
    bool record = run->record;
    int64_t mark = mgi_scope_push(run);
    run->record = false;
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
    mgi_record(run, backward, y, inputs, INS, kept, KEPT, of, sizeof *of);
    return mgi_scope_pop(run, mark, run->status == MGEN_OK ? y : NULL);
}
