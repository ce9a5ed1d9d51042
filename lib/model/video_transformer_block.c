/* SPDX-License-Identifier: MIT
 * The block as a chain of single ops: the definition that the composite node is held to. */
#include "model/video_transformer_block.h"

#include "dist/collective.h"

#include "kernels/glu/glu.h"
#include "kernels/pointwise/pointwise.h"

#include <math.h>
#include <string.h>

static T *linear(mgi_run *run, T *x, const mgi_param *w, const mgi_param *b)
{
    return mgi_linear(run, x, mgi_value(w), mgi_value(b));
}

static T *norm_modulate(mgi_run *run, const mgi_vt *vt, T *x, const mgi_param *w, T *mod,
                        int64_t scale, int64_t shift)
{
    return mgi_norm(run, x,
                    (mgi_norm_options){.kind = mgi_vt_norm_kind(&vt->config),
                                       .eps = mgi_vt_norm_eps(&vt->config),
                                       .weight = mgi_value(w),
                                       .mod = mod,
                                       .scale = scale,
                                       .shift = shift});
}

static T *activation(mgi_run *run, const mgi_vt_config *c, T *x)
{
    if (c->block != MGI_VT_DIT)
        return mgi_glu(run, x, MGK_GLU_SILU);
    return mgi_unary(run, x, c->activation == MGI_VT_SILU ? MGK_UNARY_SILU : MGK_UNARY_GELU_TANH);
}

/* With tensor parallelism: of the tokens of the group's ranks, the rank's share of the outputs. */
static T *column_linear(mgi_run *run, const mgi_vt *vt, T *x, const mgi_param *w,
                        const mgi_param *b)
{
    return linear(run, mgi_gather_rows(run, mgi_vt_group(vt, MGI_AXIS_TP), x), w, b);
}

/* Back: what the ranks' shares of the inputs add up to, of the rank's own tokens. */
static T *row_linear(mgi_run *run, const mgi_vt *vt, T *x, const mgi_param *w, const mgi_param *b)
{
    mgi_comm *tp = mgi_vt_group(vt, MGI_AXIS_TP);
    if (!tp || mgi_comm_size(tp) == 1)
        return linear(run, x, w, b);
    x = mgi_scatter_rows(run, tp, linear(run, x, w, NULL));
    if (!b)
        return x;
    return mgi_add_rows(run, x, mgi_reshape(run, mgi_value(b), MGI_DIMS(1, b->dims[0])));
}

/* qkv (B,S,3,H,Dh) -> (B,S,H*Dh). Tokens are split over CP: the keys and values of all of them are gathered, or tokens
 * are exchanged for heads. */
static T *attend(mgi_run *run, const mgi_vt *vt, T *qkv, T *counts, float scale)
{
    mgi_comm *cp = mgi_vt_group(vt, MGI_AXIS_CP);
    if (!qkv || !cp || mgi_comm_size(cp) == 1)
        return mgi_self_attention(run, qkv, counts, NULL, scale);
    int64_t n = qkv->dims[0], s = qkv->dims[1], heads = qkv->dims[3], dh = qkv->dims[4];
    if (mgi_vt_exchanges(vt)) {
        int64_t ranks = mgi_comm_size(cp);
        T *all = mgi_rows_to_shares(run, cp, qkv, 3);
        all = mgi_reshape(run, all, MGI_DIMS(n, s * ranks, 3, heads / ranks, dh));
        return mgi_shares_to_rows(run, cp, mgi_self_attention(run, all, counts, NULL, scale), 1);
    }
    T *q = mgi_reshape(run, mgi_slice(run, qkv, 2, 0, 1), MGI_DIMS(n, s, heads, dh));
    T *kv = mgi_gather_rows(run, cp, mgi_slice(run, qkv, 2, 1, 2));
    return mgi_cross_attention(run, q, kv, counts, scale);
}

T *mgi_vt_block_kv(mgi_run *run, const mgi_vt *vt, const mgi_vt_block *b, T *text)
{
    T *kv = linear(run, text, b->cross_kv, b->cross_kv_b), *seen;
    int64_t heads = vt->config.heads / (vt->mesh ? vt->mesh->shape.tp : 1);
    if (!kv)
        return NULL;
    seen =
        mgi_reshape(run, kv, MGI_DIMS(kv->dims[0], kv->dims[1], 2, heads, kv->dims[2] / 2 / heads));
    mgi_drop(run, kv);
    return seen;
}

/* A mgi_block_fn. */
static T *chained(mgi_run *run, const void *user, T *const *in)
{
    const mgi_vt_block_of *of = user;
    const mgi_vt *vt = of->vt;
    const mgi_vt_block *b = of->b;
    T *x = in[MGI_VT_IN_X], *text = in[MGI_VT_IN_TEXT], *mask = in[MGI_VT_IN_MASK];
    if (!x || !text)
        return NULL;
    int64_t mark = mgi_scope_push(run), dim = vt->config.dim, dh = dim / vt->config.heads;
    int64_t tp = vt->mesh ? vt->mesh->shape.tp : 1, heads = vt->config.heads / tp;
    int64_t n = x->dims[0], own = x->dims[1], s = own * tp; /* tokens: own, and of the group */
    float scale = 1.0f / sqrtf((float)dh);
    T *mod = mgi_add_rows(run, in[MGI_VT_IN_SHARED], mgi_value(b->mod));
    mod = mgi_reshape(run, mod, MGI_DIMS(n, MGI_VT_MODS, dim));
    x = mgi_position_add(run, x, mgi_value(vt->pos_t), mgi_value(vt->pos_h), mgi_value(vt->pos_w),
                         of->grid, of->before + mgi_vt_first_token(vt, own));

    T *h = norm_modulate(run, vt, x, b->norm1, mod, MGI_VT_SCALE1, MGI_VT_SHIFT1);
    h = column_linear(run, vt, h, b->qkv, b->qkv_b);
    h = attend(run, vt, mgi_reshape(run, h, MGI_DIMS(n, s, 3, heads, dh)), of->counts, scale);
    h = row_linear(run, vt, h, b->out, b->out_b);
    x = mgi_gated_residual(run, x, h, mod, MGI_VT_GATE1);

    T *q = column_linear(run, vt, x, b->cross_q, b->cross_q_b);
    q = mgi_reshape(run, q, MGI_DIMS(n, s, heads, dh));
    T *kv = of->kv ? of->kv : mgi_vt_block_kv(run, vt, b, text);
    h = mgi_cross_attention(run, q, kv, mask, scale);
    x = mgi_add(run, x, row_linear(run, vt, h, b->cross_out, b->cross_out_b));

    h = norm_modulate(run, vt, x, b->norm2, mod, MGI_VT_SCALE2, MGI_VT_SHIFT2);
    h = activation(run, &vt->config, column_linear(run, vt, h, b->up, b->up_b));
    h = row_linear(run, vt, h, b->down, b->down_b);
    return mgi_scope_pop(run, mark, mgi_gated_residual(run, x, h, mod, MGI_VT_GATE2));
}

T *mgi_vt_block_forward(mgi_run *run, const mgi_vt_block_of *of, T *const in[MGI_VT_INS])
{
    const mgi_vt *vt = of->vt;
    bool chain = vt->form == MGI_BLOCK_CHAINED || vt->config.block == MGI_VT_DIT || of->counts;
    mgi_block_fn *fn = chain ? chained : mgi_vt_block_composite;
    if (vt->recompute == MGI_RECOMPUTE_NONE)
        return fn(run, of, in);
    return mgi_checkpoint(run, fn, of, sizeof *of, in, MGI_VT_INS,
                          vt->recompute == MGI_RECOMPUTE_SELECTIVE ? MGI_SAVE_ATTENTION : 0);
}
