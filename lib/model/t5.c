/* SPDX-License-Identifier: MIT
 *
 *   x = embedding[ids]
 *   layer: x += Out(Attention(QKV(RMSNorm(x)), relative bias, mask))   (scores are not scaled)
 *          x += Wo(act(Wi0 n) * Wi1 n), or Wo ReLU(Wi n); n = RMSNorm(x)
 *   RMSNorm(x)
 */
#include "model/t5.h"

#include "core/alloc.h"
#include "kernels/glu/glu.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"

#include <math.h>
#include <string.h>

static const double usual_eps = 1e-6;

const char *const mgi_t5_ffn[MGI_T5_FFNS] = {
    [MGI_T5_GATED_GELU] = "gated-gelu", [MGI_T5_GATED_SILU] = "gated-silu", [MGI_T5_RELU] = "relu"};

static mgi_param *weight(mgi_module *m, int64_t out, int64_t in, float scale, int tp, int64_t layer,
                         const char *name)
{
    return mgi_param_add(
        m,
        (mgi_param_spec){
            .init = MGI_INIT_NORMAL, .scale = scale, .decay = 1.0f, .tp = tp, .operand = true},
        MGI_DIMS(out, in), "layer%lld.%s", (long long)layer, name);
}

static mgi_param *norm_weight(mgi_module *m, int64_t dim, int64_t layer, const char *name)
{
    return mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ONE}, 1, &dim, "layer%lld.%s",
                         (long long)layer, name);
}

mgen_status mgi_t5_init(mgi_t5 *t5, mgen_context *ctx, const mgi_t5_config *config,
                        const mgi_mesh *mesh)
{
    memset(t5, 0, sizeof *t5);
    mgi_module *m = &t5->module;
    mgi_module_init(m, ctx);
    m->partial = MGI_PARTIAL_SP | MGI_PARTIAL_CP; /* the tokens and heads that attend to the text */
    if (mesh) {
        m->shard_rank = mesh->at.shard;
        m->shard_size = mesh->shape.shard;
    }
    t5->config = *config;
    int64_t d = config->dim, inner = config->heads * config->head_dim, f = config->ff_dim;
    m->status = mgi_alloc_zero(ctx, (size_t)config->layers, sizeof *t5->layer, &t5->layer);
    t5->embedding =
        mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_NORMAL, .scale = 1.0f, .table = true},
                      MGI_DIMS(config->vocab, d), "embedding.weight");
    t5->relative = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_NORMAL, .scale = 0.1f},
                                 MGI_DIMS(config->buckets, config->heads), "relative_bias.weight");
    for (int64_t i = 0; i < config->layers && m->status == MGEN_OK; i++) {
        mgi_t5_layer *l = &t5->layer[i];
        mgi_module_unit(m);
        l->norm1 = norm_weight(m, d, i, "norm1.weight");
        /* T5 folds the usual 1/sqrt(head_dim) of the scores into the initial query weights; with one
         * fused matrix it is split over queries and keys. */
        l->qkv = weight(m, 3 * inner, d, powf((float)config->head_dim, -0.25f) / sqrtf((float)d),
                        MGI_TP_COLUMN, i, "qkv.weight");
        l->out = weight(m, d, inner, 1.0f / sqrtf((float)inner), MGI_TP_ROW, i, "out.weight");
        l->norm2 = norm_weight(m, d, i, "norm2.weight");
        l->wi = weight(m, config->ffn == MGI_T5_RELU ? f : 2 * f, d, 1.0f / sqrtf((float)d),
                       MGI_TP_COLUMN, i, "wi.weight");
        l->wo = weight(m, d, f, 1.0f / sqrtf((float)f), MGI_TP_ROW, i, "wo.weight");
    }
    mgi_module_unit(m);
    t5->norm = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ONE}, 1, &d, "norm.weight");
    mgen_status status = mgi_module_divide(m);
    if (status != MGEN_OK)
        mgi_t5_finish(t5);
    return status;
}

void mgi_t5_finish(mgi_t5 *t5)
{
    if (t5->module.ctx)
        mgi_free(t5->module.ctx, t5->layer);
    t5->layer = NULL;
    mgi_module_finish(&t5->module);
}

static T *rms(mgi_run *run, const mgi_t5 *t5, T *x, const mgi_param *w)
{
    return mgi_norm(
        run, x,
        (mgi_norm_options){.kind = MGK_NORM_RMS, .eps = t5->config.eps, .weight = mgi_value(w)});
}

T *mgi_t5_activate(mgi_run *run, const mgi_t5_config *c, T *h)
{
    return c->ffn == MGI_T5_RELU
               ? mgi_unary(run, h, MGK_UNARY_RELU)
               : mgi_glu(run, h, c->ffn == MGI_T5_GATED_SILU ? MGK_GLU_SILU : MGK_GLU_GELU_TANH);
}

T *mgi_t5_encode(mgi_run *run, const mgi_t5 *t5, T *ids, T *mask)
{
    const mgi_t5_config *c = &t5->config;
    if (run->status != MGEN_OK || !mgi_require(run, ids && ids->rank == 2, "t5: ids are not (B,S)"))
        return NULL;
    int64_t b = ids->dims[0], s = ids->dims[1], mark = mgi_scope_push(run);
    mgi_module *module = (mgi_module *)&t5->module;
    mgi_unit_enter(run, module, 0);
    T *bias = mgi_relative_bias(run, mgi_value(t5->relative), s, c->max_distance);
    T *x = mgi_cast(run, mgi_embedding(run, ids, mgi_value(t5->embedding)), t5->module.dtype);
    mgi_unit_exit(run, module, 0);
    for (int64_t i = 0; i < c->layers; i++) {
        const mgi_t5_layer *l = &t5->layer[i];
        int64_t inside = mgi_scope_push(run);
        mgi_unit_enter(run, module, i + 1);
        T *h = mgi_linear(run, rms(run, t5, x, l->norm1), mgi_value(l->qkv), NULL);
        h = mgi_reshape(run, h, MGI_DIMS(b, s, 3, c->heads, c->head_dim));
        h = mgi_self_attention(run, h, mask, bias, 1.0f);
        T *y = mgi_add(run, x, mgi_linear(run, h, mgi_value(l->out), NULL));
        h = mgi_linear(run, rms(run, t5, y, l->norm2), mgi_value(l->wi), NULL);
        h = mgi_t5_activate(run, c, h);
        y = mgi_add(run, y, mgi_linear(run, h, mgi_value(l->wo), NULL));
        mgi_unit_exit(run, module, i + 1);
        mgi_scope_pop(run, inside, y);
        mgi_drop(run, x);
        x = y;
    }
    mgi_unit_enter(run, module, c->layers + 1);
    x = rms(run, t5, x, t5->norm);
    mgi_unit_exit(run, module, c->layers + 1);
    return mgi_scope_pop(run, mark, x);
}

/* -- configuration ---------------------------------------------------------------------------- */

mgen_status mgi_t5_sizes_read(mgen_context *ctx, const mgi_json *json, mgi_t5_config *out)
{
    mgi_t5_config c = {.vocab = out->vocab, .buckets = 32, .max_distance = 128};
    double eps = usual_eps;
    MGI_TRY(mgi_json_get_int(ctx, json, "dim", true, 1, 65536, &c.dim));
    MGI_TRY(mgi_json_get_int(ctx, json, "layers", true, 1, MGI_T5_LAYERS_MAX, &c.layers));
    MGI_TRY(mgi_json_get_int(ctx, json, "heads", true, 1, 1024, &c.heads));
    MGI_TRY(mgi_json_get_int(ctx, json, "head_dim", true, 1, 256, &c.head_dim));
    MGI_TRY(mgi_json_get_int(ctx, json, "ff_dim", true, 1, 1 << 20, &c.ff_dim));
    MGI_TRY(mgi_json_get_int(ctx, json, "buckets", false, 4, 4096, &c.buckets));
    MGI_TRY(mgi_json_get_int(ctx, json, "max_distance", false, 4, 1 << 20, &c.max_distance));
    MGI_TRY(mgi_json_get_int(ctx, json, "tokens_max", true, 1, 8192, &c.tokens_max));
    MGI_TRY(mgi_json_get_choice(ctx, json, "ffn", mgi_t5_ffn, MGI_T5_FFNS, &c.ffn));
    MGI_TRY(mgi_json_get_real(ctx, json, "norm_eps", false, 1e-12, 1.0, &eps));
    c.eps = (float)eps;
    *out = c;
    return MGEN_OK;
}

mgen_status mgi_t5_config_read(mgen_context *ctx, const mgi_json *json, mgi_t5_config *out)
{
    static const char *const keys[] = {
        "vocab",        "dim",        "layers",    "heads", "head_dim", "ff_dim", "buckets",
        "max_distance", "tokens_max", "tokenizer", "ffn",   "norm_eps", NULL};
    mgi_t5_config c = {.vocab = 0};
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    MGI_TRY(mgi_json_get_int(ctx, json, "vocab", true, 4, 1 << 20, &c.vocab));
    MGI_TRY(mgi_t5_sizes_read(ctx, json, &c));
    *out = c;
    return mgi_t5_check_buckets(ctx, &c, 4);
}

mgen_status mgi_t5_check_buckets(mgen_context *ctx, const mgi_t5_config *c, int64_t share)
{
    if (c->buckets % share || c->max_distance <= c->buckets / share)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"buckets\" (%lld) must be a multiple of %lld, and \"max_distance\" "
                        "(%lld) more than that share of them",
                        (long long)c->buckets, (long long)share, (long long)c->max_distance);
    return MGEN_OK;
}

void mgi_t5_sizes_write(mgi_json_writer *w, const mgi_t5_config *c)
{
    mgi_json_put_int(w, "dim", c->dim);
    mgi_json_put_int(w, "layers", c->layers);
    mgi_json_put_int(w, "heads", c->heads);
    mgi_json_put_int(w, "head_dim", c->head_dim);
    mgi_json_put_int(w, "ff_dim", c->ff_dim);
    mgi_json_put_int(w, "buckets", c->buckets);
    mgi_json_put_int(w, "max_distance", c->max_distance);
    mgi_json_put_int(w, "tokens_max", c->tokens_max);
    if (c->ffn != MGI_T5_GATED_GELU) /* else as it was before there was a choice */
        mgi_json_put_string(w, "ffn", mgi_t5_ffn[c->ffn]);
    if (c->eps != (float)usual_eps)
        mgi_json_put_real(w, "norm_eps", (double)c->eps);
}

void mgi_t5_config_write(mgi_json_writer *w, const mgi_t5_config *c)
{
    mgi_json_put_int(w, "vocab", c->vocab);
    mgi_t5_sizes_write(w, c);
}
