/* SPDX-License-Identifier: MIT
 *
 *   x = embedding[ids] + position
 *   layer: x += Out(Attention(QKV(LayerNorm(x)), mask, no key ahead of its query))
 *          x += Down(act(Up(LayerNorm(x))))
 *   LayerNorm(x)
 */
#include "model/clip_text.h"

#include "core/alloc.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "model/stretch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double usual_eps = 1e-5;
static const float never = -1e30f; /* added to scores: their exponentials are 0 */

static void linear(mgi_module *m, int64_t out, int64_t in, float scale, int tp, int64_t layer,
                   const char *name, mgi_param **weight, mgi_param **bias)
{
    *weight = mgi_param_add(
        m,
        (mgi_param_spec){
            .init = MGI_INIT_NORMAL, .scale = scale, .decay = 1.0f, .tp = tp, .operand = true},
        MGI_DIMS(out, in), "layer%lld.%s.weight", (long long)layer, name);
    *bias = mgi_param_add(
        m,
        (mgi_param_spec){.init = MGI_INIT_ZERO, .tp = tp == MGI_TP_COLUMN ? tp : MGI_TP_REPLICATED},
        1, &out, "layer%lld.%s.bias", (long long)layer, name);
}

static void norm(mgi_module *m, int64_t dim, const char *name, mgi_param **weight, mgi_param **bias)
{
    *weight = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ONE}, 1, &dim, "%s.weight", name);
    *bias = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO}, 1, &dim, "%s.bias", name);
}

static void add_layer(mgi_module *m, const mgi_clip_text_config *c, int64_t i,
                      mgi_clip_text_layer *l)
{
    float in = 1.0f / sqrtf((float)c->dim), deep = in / sqrtf(2.0f * (float)c->layers);
    char name[64];
    snprintf(name, sizeof name, "layer%lld.norm1", (long long)i);
    norm(m, c->dim, name, &l->norm1, &l->norm1_bias);
    linear(m, 3 * c->dim, c->dim, in, MGI_TP_COLUMN, i, "qkv", &l->qkv, &l->qkv_bias);
    linear(m, c->dim, c->dim, deep, MGI_TP_ROW, i, "out", &l->out, &l->out_bias);
    snprintf(name, sizeof name, "layer%lld.norm2", (long long)i);
    norm(m, c->dim, name, &l->norm2, &l->norm2_bias);
    linear(m, c->ff_dim, c->dim, in / sqrtf(2.0f), MGI_TP_COLUMN, i, "up", &l->up, &l->up_bias);
    linear(m, c->dim, c->ff_dim, deep, MGI_TP_ROW, i, "down", &l->down, &l->down_bias);
}

mgen_status mgi_clip_text_init(mgi_clip_text *clip, mgen_context *ctx,
                               const mgi_clip_text_config *config, const mgi_mesh *mesh)
{
    memset(clip, 0, sizeof *clip);
    mgi_module *m = &clip->module;
    mgi_module_init(m, ctx);
    m->partial = MGI_PARTIAL_SP | MGI_PARTIAL_CP; /* the tokens and heads that attend to the text */
    if (mesh) {
        m->shard_rank = mesh->at.shard;
        m->shard_size = mesh->shape.shard;
    }
    clip->config = *config;
    int64_t d = config->dim;
    m->status = mgi_alloc_zero(ctx, (size_t)config->layers, sizeof *clip->layer, &clip->layer);
    clip->embedding =
        mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_NORMAL, .scale = 0.02f, .table = true},
                      MGI_DIMS(config->vocab, d), "embedding.weight");
    clip->position = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_NORMAL, .scale = 0.01f},
                                   MGI_DIMS(config->tokens_max, d), "position.weight");
    for (int64_t i = 0; i < config->layers && m->status == MGEN_OK; i++) {
        mgi_module_unit(m);
        add_layer(m, config, i, &clip->layer[i]);
    }
    mgi_module_unit(m);
    norm(m, d, "norm", &clip->norm, &clip->norm_bias);
    if (config->projection) {
        mgi_module_unit(m);
        clip->projection = mgi_param_add(m,
                                         (mgi_param_spec){.init = MGI_INIT_NORMAL,
                                                          .scale = 1.0f / sqrtf((float)d),
                                                          .decay = 1.0f,
                                                          .operand = true},
                                         MGI_DIMS(config->projection, d), "projection.weight");
    }
    mgen_status status = mgi_module_divide(m);
    if (status != MGEN_OK)
        mgi_clip_text_finish(clip);
    return status;
}

void mgi_clip_text_finish(mgi_clip_text *clip)
{
    if (clip->module.ctx)
        mgi_free(clip->module.ctx, clip->layer);
    clip->layer = NULL;
    mgi_module_finish(&clip->module);
}

static mgen_status stretch_table(mgen_context *ctx, const mgi_param *from, const mgi_param *to)
{
    const int64_t n = from->dims[0], m = to->dims[0], d = to->dims[1];
    float *x;
    MGI_TRY(mgi_alloc(ctx, (size_t)((n + m) * d) * sizeof *x, &x));
    mgi_tensor_read(from->value, 0, x, n * d);
    mgi_stretch_rows(x, n, x + n * d, m, d);
    mgi_tensor_write(to->value, 0, x + n * d, m * d);
    mgi_free(ctx, x);
    return MGEN_OK;
}

mgen_status mgi_clip_text_stretch(mgi_clip_text *clip, int64_t tokens_max)
{
    mgen_context *ctx = clip->module.ctx;
    mgi_clip_text_config config = clip->config;
    mgi_clip_text longer;
    if (tokens_max == config.tokens_max)
        return MGEN_OK;
    if (clip->module.unit_grad || clip->module.shard_size > 1)
        return mgi_fail(ctx, MGEN_E_INTERNAL,
                        "clip_text: positions are stretched before a model is trained or divided");
    config.tokens_max = tokens_max;
    MGI_TRY(mgi_clip_text_init(&longer, ctx, &config, NULL));
    mgen_status status = MGEN_OK;
    for (int64_t k = 0; k < clip->module.count && status == MGEN_OK; k++) {
        const mgi_param *from = clip->module.params[k], *to = longer.module.params[k];
        status = from == clip->position ? stretch_table(ctx, from, to)
                                        : mgi_tensor_copy(to->value, from->value);
    }
    if (status == MGEN_OK && longer.module.dtype != clip->module.dtype)
        status = mgi_module_compute(&longer.module, clip->module.dtype);
    if (status != MGEN_OK) {
        mgi_clip_text_finish(&longer);
        return status;
    }
    mgi_clip_text_finish(clip);
    *clip = longer;
    return MGEN_OK;
}

/* -- forward --------------------------------------------------------------------------------------- */

static T *layer_norm(mgi_run *run, const mgi_clip_text *clip, T *x, const mgi_param *w,
                     const mgi_param *b)
{
    return mgi_norm(run, x,
                    (mgi_norm_options){.kind = MGK_NORM_LAYER,
                                       .eps = clip->config.eps,
                                       .weight = mgi_value(w),
                                       .bias = mgi_value(b)});
}

/* (H, 2S-1), 0 for keys up to the query and `never` for those ahead. Of the 4 buckets of relative positions two are
 * for keys ahead, whatever their distance. */
static T *no_key_ahead(mgi_run *run, int64_t heads, int64_t tokens)
{
    T *table = mgi_new(run, MGK_F32, MGI_DIMS(4, heads)),
      *ahead = mgi_new(run, MGK_F32, MGI_DIMS(2, heads));
    if (!table || !ahead)
        return NULL;
    mgi_fill(run, table, 0.0f);
    mgi_fill(run, ahead, never);
    mgi_copy(run, table, 2 * heads, ahead, 0, 2 * heads);
    return mgi_relative_bias(run, table, tokens, 2);
}

static T *run_layer(mgi_run *run, const mgi_clip_text *clip, int64_t i, T *x, T *mask, T *bias)
{
    const mgi_clip_text_config *c = &clip->config;
    const mgi_clip_text_layer *l = &clip->layer[i];
    int64_t head_dim = c->dim / c->heads;
    T *h = mgi_linear(run, layer_norm(run, clip, x, l->norm1, l->norm1_bias), mgi_value(l->qkv),
                      mgi_value(l->qkv_bias));
    h = mgi_reshape(run, h, MGI_DIMS(x->dims[0], x->dims[1], 3, c->heads, head_dim));
    h = mgi_self_attention(run, h, mask, bias, 1.0f / sqrtf((float)head_dim));
    T *y = mgi_add(run, x, mgi_linear(run, h, mgi_value(l->out), mgi_value(l->out_bias)));
    h = mgi_linear(run, layer_norm(run, clip, y, l->norm2, l->norm2_bias), mgi_value(l->up),
                   mgi_value(l->up_bias));
    h = mgi_unary(run, h, c->quick_gelu ? MGK_UNARY_QUICK_GELU : MGK_UNARY_GELU_ERF);
    return mgi_add(run, y, mgi_linear(run, h, mgi_value(l->down), mgi_value(l->down_bias)));
}

T *mgi_clip_text_encode(mgi_run *run, const mgi_clip_text *clip, T *ids, T *mask)
{
    const mgi_clip_text_config *c = &clip->config;
    if (run->status != MGEN_OK ||
        !mgi_require(run, ids && ids->rank == 2, "clip_text: ids are not (B,S)") ||
        !mgi_require(run, ids->dims[1] > 0 && ids->dims[1] <= c->tokens_max,
                     "clip_text: there are more tokens than positions"))
        return NULL;
    int64_t s = ids->dims[1], mark = mgi_scope_push(run);
    mgi_module *module = (mgi_module *)&clip->module;
    mgi_unit_enter(run, module, 0);
    T *x = mgi_embedding(run, ids, mgi_value(clip->embedding));
    x = mgi_add_rows(run, x, mgi_slice(run, mgi_value(clip->position), 0, 0, s));
    x = mgi_cast(run, x, module->dtype);
    T *bias = no_key_ahead(run, c->heads, s);
    mgi_unit_exit(run, module, 0);
    for (int64_t i = 0; i < c->layers && run->status == MGEN_OK; i++) {
        int64_t inside = mgi_scope_push(run);
        mgi_unit_enter(run, module, i + 1);
        T *y = run_layer(run, clip, i, x, mask, bias);
        mgi_unit_exit(run, module, i + 1);
        mgi_scope_pop(run, inside, y);
        mgi_drop(run, x);
        x = y;
    }
    mgi_unit_enter(run, module, c->layers + 1);
    x = layer_norm(run, clip, x, clip->norm, clip->norm_bias);
    mgi_unit_exit(run, module, c->layers + 1);
    return mgi_scope_pop(run, mark, x);
}

T *mgi_clip_text_pool(mgi_run *run, const mgi_clip_text *clip, T *x, T *last)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->rank == 3 && last && last->count == x->dims[0],
                     "clip_text: x is not (B,S,D) with (B) end tokens"))
        return NULL;
    int64_t mark = mgi_scope_push(run);
    mgi_module *module = (mgi_module *)&clip->module;
    /* f32: the gradient of a table is */
    T *rows = mgi_cast(run, x, MGK_F32);
    rows = mgi_reshape(run, rows, MGI_DIMS(x->dims[0] * x->dims[1], x->dims[2]));
    T *y = mgi_cast(run, mgi_embedding(run, last, rows), module->dtype);
    if (clip->projection) { /* a unit of its own: each is entered once */
        mgi_unit_enter(run, module, clip->config.layers + 2);
        y = mgi_linear(run, y, mgi_value(clip->projection), NULL);
        mgi_unit_exit(run, module, clip->config.layers + 2);
    }
    return mgi_scope_pop(run, mark, y);
}

/* -- configuration --------------------------------------------------------------------------------- */

mgen_status mgi_clip_text_config_read(mgen_context *ctx, const mgi_json *json,
                                      mgi_clip_text_config *out)
{
    static const char *const keys[] = {"vocab",     "dim",        "layers",     "heads",
                                       "ff_dim",    "tokens_max", "projection", "activation",
                                       "tokenizer", "norm_eps",   "scale",      NULL};
    mgi_clip_text_config c = {0};
    double eps = usual_eps;
    const char *activation = "gelu";
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    MGI_TRY(mgi_json_get_int(ctx, json, "vocab", true, 4, 1 << 20, &c.vocab));
    MGI_TRY(mgi_json_get_int(ctx, json, "dim", true, 1, 65536, &c.dim));
    MGI_TRY(mgi_json_get_int(ctx, json, "layers", true, 1, MGI_CLIP_TEXT_LAYERS_MAX, &c.layers));
    MGI_TRY(mgi_json_get_int(ctx, json, "heads", true, 1, 1024, &c.heads));
    MGI_TRY(mgi_json_get_int(ctx, json, "ff_dim", true, 1, 1 << 20, &c.ff_dim));
    MGI_TRY(mgi_json_get_int(ctx, json, "tokens_max", true, 1, 8192, &c.tokens_max));
    MGI_TRY(mgi_json_get_int(ctx, json, "projection", false, 0, 65536, &c.projection));
    MGI_TRY(mgi_json_get_string(ctx, json, "activation", false, &activation));
    if (strcmp(activation, "gelu") && strcmp(activation, "quick_gelu"))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"activation\" is \"%.40s\", not \"gelu\" or \"quick_gelu\"", activation);
    if (c.dim % c.heads || c.dim / c.heads > 256)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"heads\" (%lld) does not divide \"dim\" (%lld) into at most 256 each",
                        (long long)c.heads, (long long)c.dim);
    MGI_TRY(mgi_json_get_real(ctx, json, "norm_eps", false, 1e-12, 1.0, &eps));
    MGI_TRY(mgi_json_get_real(ctx, json, "scale", false, MGI_CLIP_SCALE_MIN, MGI_CLIP_SCALE_MAX,
                              &c.scale));
    c.quick_gelu = !strcmp(activation, "quick_gelu");
    c.eps = (float)eps;
    *out = c;
    return MGEN_OK;
}

void mgi_clip_text_config_write(mgi_json_writer *w, const mgi_clip_text_config *c)
{
    mgi_json_put_int(w, "vocab", c->vocab);
    mgi_json_put_int(w, "dim", c->dim);
    mgi_json_put_int(w, "layers", c->layers);
    mgi_json_put_int(w, "heads", c->heads);
    mgi_json_put_int(w, "ff_dim", c->ff_dim);
    mgi_json_put_int(w, "tokens_max", c->tokens_max);
    mgi_json_put_int(w, "projection", c->projection);
    mgi_json_put_string(w, "activation", c->quick_gelu ? "quick_gelu" : "gelu");
    if (c->eps != (float)usual_eps) /* else as it was before there was a choice */
        mgi_json_put_real(w, "norm_eps", (double)c->eps);
    if (c->scale > 0.0)
        mgi_json_put_real(w, "scale", c->scale);
}
