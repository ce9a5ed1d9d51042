/* SPDX-License-Identifier: MIT
 *
 *   x = embedding[ids]
 *   layer: x += Out(Attention(QKV(RMSNorm(x)), relative bias, no key ahead of its query))
 *          x += CrossOut(Attention(Q(RMSNorm(x)), KV(told), mask))    (scores are not scaled, here without a bias)
 *          x += Wo(act(Wi0 n) * Wi1 n), or Wo ReLU(Wi n); n = RMSNorm(x)
 *   Head(RMSNorm(x)), or tied: (RMSNorm(x) / sqrt(dim)) embedding^T
 */
#include "model/t5_decoder.h"

#include "core/alloc.h"
#include "kernels/norm/norm.h"

#include <math.h>
#include <string.h>

static const float never = -1e30f; /* added to scores: their exponentials are 0 */
enum { FIRST_ROOM = 16 };          /* tokens */

/* -- life ------------------------------------------------------------------------------------- */

static mgi_param *weight(mgi_module *m, int64_t out, int64_t in, float scale, int tp, int64_t layer,
                         const char *name)
{
    return mgi_param_add(
        m,
        (mgi_param_spec){
            .init = MGI_INIT_NORMAL, .scale = scale, .decay = 1.0f, .tp = tp, .operand = true},
        MGI_DIMS(out, in), "decoder.layer%lld.%s", (long long)layer, name);
}

static mgi_param *norm_weight(mgi_module *m, int64_t dim, int64_t layer, const char *name)
{
    return mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ONE}, 1, &dim, "decoder.layer%lld.%s",
                         (long long)layer, name);
}

static void add_layer(mgi_module *m, const mgi_t5_decoder_config *config, int64_t i,
                      mgi_t5_decoder_layer *l)
{
    const mgi_t5_config *c = &config->t5;
    int64_t d = c->dim, inner = c->heads * c->head_dim, f = c->ff_dim, told = config->told_dim;
    /* of queries and of keys each the root of the 1/sqrt(head_dim) that scores lack, as in the encoder */
    float half = powf((float)c->head_dim, -0.25f), in = 1.0f / sqrtf((float)d);
    l->norm1 = norm_weight(m, d, i, "norm1.weight");
    l->qkv = weight(m, 3 * inner, d, half * in, MGI_TP_COLUMN, i, "qkv.weight");
    l->out = weight(m, d, inner, 1.0f / sqrtf((float)inner), MGI_TP_ROW, i, "out.weight");
    l->norm2 = norm_weight(m, d, i, "norm2.weight");
    l->q = weight(m, inner, d, half * in, MGI_TP_COLUMN, i, "q.weight");
    l->kv = weight(m, 2 * inner, told, half / sqrtf((float)told), MGI_TP_COLUMN, i, "kv.weight");
    l->cross_out =
        weight(m, d, inner, 1.0f / sqrtf((float)inner), MGI_TP_ROW, i, "cross_out.weight");
    l->norm3 = norm_weight(m, d, i, "norm3.weight");
    l->wi = weight(m, c->ffn == MGI_T5_RELU ? f : 2 * f, d, in, MGI_TP_COLUMN, i, "wi.weight");
    l->wo = weight(m, d, f, 1.0f / sqrtf((float)f), MGI_TP_ROW, i, "wo.weight");
}

mgen_status mgi_t5_decoder_init(mgi_t5_decoder *d, mgen_context *ctx,
                                const mgi_t5_decoder_config *config)
{
    const mgi_t5_config *c = &config->t5;
    memset(d, 0, sizeof *d);
    mgi_module *m = &d->module;
    mgi_module_init(m, ctx);
    d->config = *config;
    m->status = mgi_alloc_zero(ctx, (size_t)c->layers, sizeof *d->layer, &d->layer);
    /* read by the last unit too, as an operand, if it is the head */
    d->embedding = mgi_param_add(m,
                                 (mgi_param_spec){.init = MGI_INIT_NORMAL,
                                                  .scale = 1.0f,
                                                  .table = true,
                                                  .operand = config->tied,
                                                  .lasting = config->tied},
                                 MGI_DIMS(c->vocab, c->dim), "decoder.embedding.weight");
    d->relative = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_NORMAL, .scale = 0.1f},
                                MGI_DIMS(c->buckets, c->heads), "decoder.relative_bias.weight");
    for (int64_t i = 0; i < c->layers && m->status == MGEN_OK; i++) {
        mgi_module_unit(m);
        add_layer(m, config, i, &d->layer[i]);
    }
    mgi_module_unit(m);
    d->norm =
        mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ONE}, 1, &c->dim, "decoder.norm.weight");
    if (!config->tied)
        d->head = mgi_param_add(m,
                                (mgi_param_spec){.init = MGI_INIT_NORMAL,
                                                 .scale = 1.0f / sqrtf((float)c->dim),
                                                 .decay = 1.0f,
                                                 .operand = true},
                                MGI_DIMS(c->vocab, c->dim), "decoder.head.weight");
    mgen_status status = mgi_module_divide(m);
    if (status != MGEN_OK)
        mgi_t5_decoder_finish(d);
    return status;
}

void mgi_t5_decoder_finish(mgi_t5_decoder *d)
{
    if (d->module.ctx)
        mgi_free(d->module.ctx, d->layer);
    d->layer = NULL;
    mgi_module_finish(&d->module);
}

/* -- forward ---------------------------------------------------------------------------------- */

static T *rms(mgi_run *run, const mgi_t5_decoder *d, T *x, const mgi_param *w)
{
    return mgi_norm(
        run, x,
        (mgi_norm_options){.kind = MGK_NORM_RMS, .eps = d->config.t5.eps, .weight = mgi_value(w)});
}

/* (H, 2S-1). Two-sided buckets, of which half are for keys ahead, twice as many as there are: those of keys behind are then
 * the one-sided ones of T5's decoder, and those ahead get a table of `never`. */
static T *bias_of(mgi_run *run, const mgi_t5_decoder *d, int64_t tokens)
{
    const mgi_t5_config *c = &d->config.t5;
    T *ahead = mgi_new(run, MGK_F32, MGI_DIMS(c->buckets, c->heads));
    if (!ahead)
        return NULL;
    mgi_fill(run, ahead, never);
    T *table = mgi_concat(run, (T *[]){mgi_value(d->relative), ahead}, 2);
    return mgi_relative_bias(run, table, tokens, c->max_distance);
}

static T *embed(mgi_run *run, const mgi_t5_decoder *d, T *ids)
{
    return mgi_cast(run, mgi_embedding(run, ids, mgi_value(d->embedding)), d->module.dtype);
}

/* x and what follows attention to the tokens before, h. */
static T *join(mgi_run *run, const mgi_t5_decoder_layer *l, T *x, T *h)
{
    return mgi_add(run, x, mgi_linear(run, h, mgi_value(l->out), NULL));
}

/* told (B,Se,told_dim) -> keys and values (B,Se,2,H,Dh). */
static T *told_kv(mgi_run *run, const mgi_t5_decoder *d, const mgi_t5_decoder_layer *l, T *told)
{
    const mgi_t5_config *c = &d->config.t5;
    T *kv = mgi_linear(run, told, mgi_value(l->kv), NULL);
    return mgi_reshape(run, kv, MGI_DIMS(told->dims[0], told->dims[1], 2, c->heads, c->head_dim));
}

/* The rest of a layer. */
static T *listen(mgi_run *run, const mgi_t5_decoder *d, const mgi_t5_decoder_layer *l, T *x, T *kv,
                 T *mask)
{
    const mgi_t5_config *c = &d->config.t5;
    if (run->status != MGEN_OK)
        return NULL;
    T *h = mgi_linear(run, rms(run, d, x, l->norm2), mgi_value(l->q), NULL);
    h = mgi_reshape(run, h, MGI_DIMS(x->dims[0], x->dims[1], c->heads, c->head_dim));
    h = mgi_cross_attention(run, h, kv, mask, 1.0f);
    T *y = mgi_add(run, x, mgi_linear(run, h, mgi_value(l->cross_out), NULL));
    h = mgi_linear(run, rms(run, d, y, l->norm3), mgi_value(l->wi), NULL);
    h = mgi_t5_activate(run, c, h);
    return mgi_add(run, y, mgi_linear(run, h, mgi_value(l->wo), NULL));
}

static T *logits_of(mgi_run *run, const mgi_t5_decoder *d, T *x)
{
    int64_t dim = d->config.t5.dim;
    x = rms(run, d, x, d->norm);
    if (!d->config.tied)
        return mgi_linear_as(run, x, mgi_value(d->head), NULL, MGK_F32);
    T *scale = mgi_new(run, MGK_F32, 1, &dim), *shift = mgi_new(run, MGK_F32, 1, &dim);
    if (!scale || !shift)
        return NULL;
    mgi_fill(run, scale, 1.0f / sqrtf((float)dim));
    mgi_fill(run, shift, 0.0f);
    x = mgi_channel_affine(run, x, scale, shift);
    return mgi_linear_as(run, x, mgi_value(d->embedding), NULL, MGK_F32);
}

static bool check(mgi_run *run, const mgi_t5_decoder *d, const T *ids, const T *told, const T *mask)
{
    return run->status == MGEN_OK &&
           mgi_require(run, ids && ids->rank == 2, "t5_decoder: ids are not (B,S)") &&
           mgi_require(run, ids->dims[1] > 0 && ids->dims[1] <= d->config.t5.tokens_max,
                       "t5_decoder: there are more tokens than may be written") &&
           mgi_require(run,
                       told && told->rank == 3 && told->dims[0] == ids->dims[0] &&
                           told->dims[2] == d->config.told_dim,
                       "t5_decoder: what is told is not (B,Se,told_dim)") &&
           mgi_require(run, mask && mask->count == told->dims[0] * told->dims[1],
                       "t5_decoder: the mask is not (B,Se)");
}

T *mgi_t5_decode(mgi_run *run, const mgi_t5_decoder *d, T *ids, T *told, T *mask)
{
    const mgi_t5_config *c = &d->config.t5;
    if (!check(run, d, ids, told, mask))
        return NULL;
    int64_t b = ids->dims[0], s = ids->dims[1], mark = mgi_scope_push(run);
    mgi_module *module = (mgi_module *)&d->module;
    mgi_unit_enter(run, module, 0);
    T *bias = bias_of(run, d, s), *x = embed(run, d, ids);
    told = mgi_cast(run, told, module->dtype);
    mgi_unit_exit(run, module, 0);
    for (int64_t i = 0; i < c->layers && run->status == MGEN_OK; i++) {
        const mgi_t5_decoder_layer *l = &d->layer[i];
        int64_t inside = mgi_scope_push(run);
        mgi_unit_enter(run, module, i + 1);
        T *h = mgi_linear(run, rms(run, d, x, l->norm1), mgi_value(l->qkv), NULL);
        h = mgi_reshape(run, h, MGI_DIMS(b, s, 3, c->heads, c->head_dim));
        h = mgi_self_attention(run, h, NULL, bias, 1.0f);
        T *y = listen(run, d, l, join(run, l, x, h), told_kv(run, d, l, told), mask);
        mgi_unit_exit(run, module, i + 1);
        mgi_scope_pop(run, inside, y);
        mgi_drop(run, x);
        x = y;
    }
    mgi_unit_enter(run, module, c->layers + 1);
    x = logits_of(run, d, x);
    mgi_unit_exit(run, module, c->layers + 1);
    return mgi_scope_pop(run, mark, x);
}

/* -- token by token --------------------------------------------------------------------------- */

void mgi_t5_write_begin(mgi_run *run, mgi_t5_writing *w, const mgi_t5_decoder *d, T *told, T *mask)
{
    int64_t layers = d->config.t5.layers;
    *w = (mgi_t5_writing){.decoder = d, .ctx = run->ctx};
    if (run->status != MGEN_OK ||
        !mgi_require(run, told && told->rank == 3 && told->dims[0] == 1 && mask && !run->record,
                     "t5_decoder: what is told is not (1,Se,told_dim)") ||
        !mgi_ok(run, mgi_alloc_zero(run->ctx, 2 * (size_t)layers, sizeof(T *), &w->written)))
        return;
    w->told = w->written + layers;
    w->mask = mgi_tensor_retain(mask);
    int64_t mark = mgi_scope_push(run);
    T *bias = bias_of(run, d, d->config.t5.tokens_max);
    w->bias = bias ? mgi_tensor_retain(bias) : NULL;
    told = mgi_cast(run, told, d->module.dtype);
    for (int64_t i = 0; i < layers && run->status == MGEN_OK; i++) {
        T *kv = told_kv(run, d, &d->layer[i], told);
        w->told[i] = kv ? mgi_tensor_retain(kv) : NULL;
    }
    mgi_scope_pop(run, mark, NULL);
}

void mgi_t5_write_end(mgi_t5_writing *w)
{
    for (int64_t i = 0; w->written && i < 2 * w->decoder->config.t5.layers; i++)
        mgi_tensor_release(w->written[i]);
    mgi_tensor_release(w->mask);
    mgi_tensor_release(w->bias);
    if (w->written)
        mgi_free(w->ctx, w->written);
    memset(w, 0, sizeof *w);
}

/* Twice the room, as far as there may be tokens. */
static void make_room(mgi_run *run, mgi_t5_writing *w)
{
    const mgi_t5_config *c = &w->decoder->config.t5;
    int64_t room = w->room ? 2 * w->room : FIRST_ROOM;
    room = room < c->tokens_max ? room : c->tokens_max;
    for (int64_t i = 0; i < c->layers && run->status == MGEN_OK; i++) {
        T *kv = NULL, *old = w->written[i];
        if (!mgi_ok(run, mgi_tensor_create(run->dev, w->decoder->module.dtype,
                                           MGI_DIMS(1, room, 2, c->heads, c->head_dim), &kv)))
            return;
        if (old)
            mgi_copy(run, kv, 0, old, 0, old->count);
        mgi_tensor_release(old);
        w->written[i] = kv;
    }
    w->room = room;
}

/* What the new token attends to: itself and all before. qkv (1,1,3,H,Dh), the keys and values join those of layer `i`. */
static T *attend(mgi_run *run, mgi_t5_writing *w, int64_t i, T *qkv)
{
    const mgi_t5_config *c = &w->decoder->config.t5;
    int64_t inner = c->heads * c->head_dim, n = w->count + 1;
    T *kv = w->written[i];
    mgi_copy(run, kv, w->count * 2 * inner, qkv, inner, 2 * inner);
    if (run->status != MGEN_OK)
        return NULL;
    mgk_attention_args a = mgi_self_attention_args(qkv, 1.0f);
    a.k = mgi_buf(kv);
    a.v = mgi_buf_from(a.k, inner);
    a.sk = n;
    a.k_row = a.v_row = 2 * inner;
    a.k_batch = a.v_batch = 2 * inner * n;
    a.bias = mgi_buf(w->bias);
    a.bias_span = 2 * c->tokens_max - 1;
    a.q_offset = w->count;
    return mgi_attention(run, 0, &a, NULL);
}

T *mgi_t5_write(mgi_run *run, mgi_t5_writing *w, T *id)
{
    const mgi_t5_decoder *d = w->decoder;
    const mgi_t5_config *c = &d->config.t5;
    if (run->status != MGEN_OK ||
        !mgi_require(run, id && id->count == 1, "t5_decoder: it is not one token that follows") ||
        !mgi_require(run, w->count < c->tokens_max,
                     "t5_decoder: there are more tokens than may be written"))
        return NULL;
    if (w->count == w->room)
        make_room(run, w);
    int64_t mark = mgi_scope_push(run);
    T *x = embed(run, d, id);
    for (int64_t i = 0; i < c->layers && run->status == MGEN_OK; i++) {
        const mgi_t5_decoder_layer *l = &d->layer[i];
        int64_t inside = mgi_scope_push(run);
        T *h = mgi_linear(run, rms(run, d, x, l->norm1), mgi_value(l->qkv), NULL);
        h = mgi_reshape(run, h, MGI_DIMS(1, 1, 3, c->heads, c->head_dim));
        h = attend(run, w, i, h);
        T *y = listen(run, d, l, join(run, l, x, h), w->told[i], w->mask);
        mgi_scope_pop(run, inside, y);
        mgi_drop(run, x);
        x = y;
    }
    w->count++;
    return mgi_scope_pop(run, mark, logits_of(run, d, x));
}

/* -- configuration ---------------------------------------------------------------------------- */

mgen_status mgi_t5_decoder_config_read(mgen_context *ctx, const mgi_json *json,
                                       mgi_t5_decoder_config *out)
{
    static const char *const keys[] = {"dim",          "layers",     "heads", "head_dim",
                                       "ff_dim",       "buckets",    "ffn",   "norm_eps",
                                       "max_distance", "tokens_max", "tied",  NULL};
    mgi_t5_decoder_config c = *out;
    c.tied = false;
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    MGI_TRY(mgi_t5_sizes_read(ctx, json, &c.t5));
    MGI_TRY(mgi_json_get_bool(ctx, json, "tied", false, &c.tied));
    *out = c;
    return MGEN_OK;
}

void mgi_t5_decoder_config_write(mgi_json_writer *w, const mgi_t5_decoder_config *c)
{
    mgi_t5_sizes_write(w, &c->t5);
    mgi_json_put_bool(w, "tied", c->tied);
}
