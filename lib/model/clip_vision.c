/* SPDX-License-Identifier: MIT
 *
 *   x = LayerNorm([first, Patch(pixels)] + position)
 *   layer: x += Out(Attention(QKV(LayerNorm(x))))
 *          x += Down(act(Up(LayerNorm(x))))
 *   Projection(LayerNorm(x[0]))
 */
#include "model/clip_vision.h"

#include "core/alloc.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "model/clip_vision_hf.h"
#include "model/model_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char kind[] = "clip-vision";
static const float usual_mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
static const float usual_deviation[3] = {0.26862954f, 0.26130258f, 0.27577711f};
static const double usual_eps = 1e-5;

/* -- life ----------------------------------------------------------------------------------------- */

static mgi_param *matrix(mgi_module *m, int64_t out, int64_t in, float scale, const char *name)
{
    return mgi_param_add(
        m,
        (mgi_param_spec){.init = MGI_INIT_NORMAL, .scale = scale, .decay = 1.0f, .operand = true},
        MGI_DIMS(out, in), "%s.weight", name);
}

static void linear(mgi_module *m, int64_t out, int64_t in, float scale, int64_t layer,
                   const char *part, mgi_param **weight, mgi_param **bias)
{
    char name[64];
    snprintf(name, sizeof name, "layer%lld.%s", (long long)layer, part);
    *weight = matrix(m, out, in, scale, name);
    *bias = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO}, 1, &out, "%s.bias", name);
}

static void norm(mgi_module *m, int64_t dim, const char *name, mgi_param **weight, mgi_param **bias)
{
    *weight = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ONE}, 1, &dim, "%s.weight", name);
    *bias = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO}, 1, &dim, "%s.bias", name);
}

static void add_layer(mgi_module *m, const mgi_clip_vision_config *c, int64_t i,
                      mgi_clip_vision_layer *l)
{
    float in = 1.0f / sqrtf((float)c->dim), deep = in / sqrtf(2.0f * (float)c->layers);
    char name[64];
    snprintf(name, sizeof name, "layer%lld.norm1", (long long)i);
    norm(m, c->dim, name, &l->norm1, &l->norm1_bias);
    linear(m, 3 * c->dim, c->dim, in, i, "qkv", &l->qkv, &l->qkv_bias);
    linear(m, c->dim, c->dim, deep, i, "out", &l->out, &l->out_bias);
    snprintf(name, sizeof name, "layer%lld.norm2", (long long)i);
    norm(m, c->dim, name, &l->norm2, &l->norm2_bias);
    linear(m, c->ff_dim, c->dim, in / sqrtf(2.0f), i, "up", &l->up, &l->up_bias);
    linear(m, c->dim, c->ff_dim, deep, i, "down", &l->down, &l->down_bias);
}

mgen_status mgi_clip_vision_init(mgi_clip_vision *clip, mgen_context *ctx,
                                 const mgi_clip_vision_config *c)
{
    memset(clip, 0, sizeof *clip);
    mgi_module *m = &clip->module;
    mgi_module_init(m, ctx);
    clip->config = *c;
    int64_t d = c->dim, pixels = c->patch * c->patch * 3;
    float small = 1.0f / sqrtf((float)d);
    m->status = mgi_alloc_zero(ctx, (size_t)c->layers, sizeof *clip->layer, &clip->layer);
    clip->patch = matrix(m, d, pixels, 1.0f / sqrtf((float)pixels), "patch");
    clip->first =
        mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_NORMAL, .scale = small}, 1, &d, "first");
    clip->position = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_NORMAL, .scale = small},
                                   MGI_DIMS(mgi_clip_vision_token_count(c), d), "position.weight");
    norm(m, d, "pre", &clip->pre, &clip->pre_bias);
    for (int64_t i = 0; i < c->layers && m->status == MGEN_OK; i++) {
        mgi_module_unit(m);
        add_layer(m, c, i, &clip->layer[i]);
    }
    mgi_module_unit(m);
    norm(m, d, "norm", &clip->norm, &clip->norm_bias);
    if (c->projection)
        clip->projection = matrix(m, c->projection, d, small, "projection");
    mgen_status status = mgi_module_divide(m);
    if (status != MGEN_OK)
        mgi_clip_vision_finish(clip);
    return status;
}

void mgi_clip_vision_finish(mgi_clip_vision *clip)
{
    if (clip->module.ctx)
        mgi_free(clip->module.ctx, clip->layer);
    clip->layer = NULL;
    mgi_module_finish(&clip->module);
}

/* -- files ---------------------------------------------------------------------------------------- */

static void write_config(mgi_json_writer *w, const void *config)
{
    mgi_clip_vision_config_write(w, config);
}

static mgen_status fits(mgen_context *shapes, const void *config, const void *model)
{
    const mgi_model_file *file = model;
    mgi_clip_vision clip;
    MGI_TRY(mgi_clip_vision_init(&clip, shapes, config));
    mgen_status status = mgi_module_fits(&clip.module, &file->weights, file->weights_name);
    mgi_clip_vision_finish(&clip);
    return status;
}

mgen_status mgi_clip_vision_open(mgen_context *ctx, const char *dir, const char *name,
                                 mgi_clip_vision *out, uint64_t *hash)
{
    mgi_clip_vision_config config;
    mgi_model_file f;
    memset(out, 0, sizeof *out);
    if (mgi_model_is_folder(ctx, dir, name))
        return mgi_hf_clip_vision_open(ctx, dir, name, out, hash);
    MGI_TRY(mgi_model_file_open(ctx, dir, name, kind, &f));
    mgen_status status = mgi_clip_vision_config_read(ctx, f.config, &config);
    if (status == MGEN_OK)
        status = mgi_model_file_fits(ctx, fits, &config, &f);
    if (status == MGEN_OK)
        status = mgi_clip_vision_init(out, ctx, &config);
    if (status != MGEN_OK)
        status = mgi_fail_context(ctx, status, "%s/%s", dir, f.json_name);
    else
        status = mgi_module_load(&out->module, &f.weights, f.weights_name, false);
    if (status != MGEN_OK)
        mgi_clip_vision_finish(out);
    *hash = f.hash;
    mgi_model_file_close(ctx, &f);
    return status;
}

static mgen_status read_root(mgen_context *ctx, const mgi_json *root, void *out)
{
    const mgi_json *config = mgi_json_find(root, "config");
    const char *text = NULL;
    MGI_TRY(mgi_json_get_string(ctx, root, "kind", true, &text));
    if (strcmp(text, kind) || !config || config->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "it is no image encoder, of the \"kind\" \"%s\" and with a \"config\"",
                        kind);
    return mgi_clip_vision_config_read(ctx, config, out);
}

mgen_status mgi_clip_vision_config_of(mgen_context *ctx, const char *dir, const char *name,
                                      mgi_clip_vision_config *out)
{
    return mgi_model_is_folder(ctx, dir, name) ? mgi_hf_clip_vision_config_of(ctx, dir, name, out)
                                               : mgi_model_told(ctx, dir, name, read_root, out);
}

mgen_status mgi_clip_vision_save(mgi_clip_vision *clip, const char *dir, const char *name,
                                 mgi_st_dtype store)
{
    return mgi_model_file_save(clip->module.ctx, dir, name, kind, write_config, &clip->config,
                               &clip->module, store);
}

/* -- forward -------------------------------------------------------------------------------------- */

static T *layer_norm(mgi_run *run, const mgi_clip_vision *clip, T *x, const mgi_param *w,
                     const mgi_param *b)
{
    return mgi_norm(run, x,
                    (mgi_norm_options){.kind = MGK_NORM_LAYER,
                                       .eps = clip->config.eps,
                                       .weight = mgi_value(w),
                                       .bias = mgi_value(b)});
}

/* x (N,S,D) behind the first token, which all pictures share -> (N,S+1,D). */
static T *put_first(mgi_run *run, const mgi_clip_vision *clip, T *x)
{
    static const int32_t swapped[] = {1, 0, 2};
    if (!x)
        return NULL;
    T *none = mgi_new(run, MGK_F32, MGI_DIMS(1, x->dims[0], x->dims[2]));
    if (!none)
        return NULL;
    mgi_fill(run, none, 0.0f);
    T *both[] = {mgi_add_rows(run, none, mgi_value(clip->first)), mgi_permute(run, x, swapped)};
    return mgi_permute(run, mgi_concat(run, both, 2), swapped);
}

/* f32 as far as the layers: what all of them add to. */
static T *embed(mgi_run *run, const mgi_clip_vision *clip, T *x)
{
    const mgi_clip_vision_config *c = &clip->config;
    x = mgi_reshape(run, x, MGI_DIMS(x->dims[0], 1, c->image, c->image, 3));
    x = mgi_patchify(run, mgi_cast(run, x, clip->module.dtype), 1, c->patch, c->patch);
    x = mgi_linear_as(run, x, mgi_value(clip->patch), NULL, MGK_F32);
    x = mgi_add_rows(run, put_first(run, clip, x), mgi_value(clip->position));
    return mgi_cast(run, layer_norm(run, clip, x, clip->pre, clip->pre_bias), clip->module.dtype);
}

static T *run_layer(mgi_run *run, const mgi_clip_vision *clip, const mgi_clip_vision_layer *l, T *x)
{
    const mgi_clip_vision_config *c = &clip->config;
    int64_t head_dim = c->dim / c->heads;
    T *h = mgi_linear(run, layer_norm(run, clip, x, l->norm1, l->norm1_bias), mgi_value(l->qkv),
                      mgi_value(l->qkv_bias));
    h = mgi_reshape(run, h, MGI_DIMS(x->dims[0], x->dims[1], 3, c->heads, head_dim));
    h = mgi_self_attention(run, h, NULL, NULL, 1.0f / sqrtf((float)head_dim));
    T *y = mgi_add(run, x, mgi_linear(run, h, mgi_value(l->out), mgi_value(l->out_bias)));
    h = mgi_linear(run, layer_norm(run, clip, y, l->norm2, l->norm2_bias), mgi_value(l->up),
                   mgi_value(l->up_bias));
    h = mgi_unary(run, h, c->activation);
    return mgi_add(run, y, mgi_linear(run, h, mgi_value(l->down), mgi_value(l->down_bias)));
}

/* x (N,S,D) -> (N,width). */
static T *pool(mgi_run *run, const mgi_clip_vision *clip, T *x)
{
    if (!x)
        return NULL;
    x = mgi_reshape(run, mgi_slice(run, x, 1, 0, 1), MGI_DIMS(x->dims[0], x->dims[2]));
    x = layer_norm(run, clip, x, clip->norm, clip->norm_bias);
    return clip->projection ? mgi_linear(run, x, mgi_value(clip->projection), NULL) : x;
}

static bool fits_tower(mgi_run *run, const mgi_clip_vision_config *c, const T *x)
{
    return run->status == MGEN_OK &&
           mgi_require(run,
                       x && x->rank == 4 && x->dtype == MGK_F32 && x->dims[1] == c->image &&
                           x->dims[2] == c->image && x->dims[3] == 3,
                       "clip_vision: x is not (N,image,image,3) of f32");
}

/* As far as the first `layers` layers. */
static T *climb(mgi_run *run, const mgi_clip_vision *clip, T *x, int64_t layers)
{
    mgi_module *module = (mgi_module *)&clip->module;
    mgi_unit_enter(run, module, 0);
    x = embed(run, clip, x);
    mgi_unit_exit(run, module, 0);
    for (int64_t i = 0; i < layers && run->status == MGEN_OK; i++) {
        int64_t inside = mgi_scope_push(run);
        mgi_unit_enter(run, module, i + 1);
        T *y = run_layer(run, clip, &clip->layer[i], x);
        mgi_unit_exit(run, module, i + 1);
        mgi_scope_pop(run, inside, y);
        mgi_drop(run, x);
        x = y;
    }
    return x;
}

T *mgi_clip_vision_forward(mgi_run *run, const mgi_clip_vision *clip, T *x)
{
    const int64_t layers = clip->config.layers;
    if (!fits_tower(run, &clip->config, x))
        return NULL;
    int64_t mark = mgi_scope_push(run);
    x = climb(run, clip, x, layers);
    mgi_unit_enter(run, (mgi_module *)&clip->module, layers + 1);
    x = pool(run, clip, x);
    mgi_unit_exit(run, (mgi_module *)&clip->module, layers + 1);
    return mgi_scope_pop(run, mark, x);
}

T *mgi_clip_vision_tokens(mgi_run *run, const mgi_clip_vision *clip, T *x)
{
    if (!fits_tower(run, &clip->config, x))
        return NULL;
    int64_t mark = mgi_scope_push(run);
    return mgi_scope_pop(run, mark, climb(run, clip, x, clip->config.layers - 1));
}

void mgi_clip_vision_train_tokens(mgi_clip_vision *clip)
{
    for (int64_t k = 0; k < clip->module.count; k++)
        if (clip->module.params[k]->unit >= clip->config.layers) /* unit i + 1 is layer i */
            clip->module.params[k]->frozen = true;
}

/* -- configuration -------------------------------------------------------------------------------- */

void mgi_clip_vision_usual(mgi_clip_vision_config *config)
{
    memcpy(config->mean, usual_mean, sizeof usual_mean);
    memcpy(config->deviation, usual_deviation, sizeof usual_deviation);
    config->eps = (float)usual_eps;
}

int64_t mgi_clip_vision_width(const mgi_clip_vision_config *config)
{
    return config->projection ? config->projection : config->dim;
}

int64_t mgi_clip_vision_token_count(const mgi_clip_vision_config *config)
{
    int64_t side = config->image / config->patch;
    return side * side + 1;
}

mgen_status mgi_clip_vision_channels(mgen_context *ctx, const mgi_json *json, const char *key,
                                     double min, float out[3])
{
    const mgi_json *list = mgi_json_find(json, key);
    if (!list)
        return MGEN_OK;
    bool good = list->kind == MGI_JSON_ARRAY && list->i == 3;
    int i = 0;
    for (const mgi_json *e = good ? list->child : NULL; e; e = e->next) {
        good = good && (e->kind == MGI_JSON_INT || e->kind == MGI_JSON_REAL) && e->d >= min &&
               e->d <= 1e3;
        out[i++] = good ? (float)e->d : 0.0f;
    }
    return good ? MGEN_OK
                : mgi_fail(ctx, MGEN_E_CORRUPT,
                           "\"%s\" must be three numbers from %g to 1000, one a channel", key, min);
}

mgen_status mgi_clip_vision_config_check(mgen_context *ctx, const mgi_clip_vision_config *c,
                                         const char *const names[4])
{
    if (c->image % c->patch)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" (%lld) does not divide \"%s\" (%lld)",
                        names[1], (long long)c->patch, names[0], (long long)c->image);
    if (c->dim % c->heads || c->dim / c->heads > 256)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"%s\" (%lld) does not divide \"%s\" (%lld) into at most 256 each",
                        names[3], (long long)c->heads, names[2], (long long)c->dim);
    return MGEN_OK;
}

mgen_status mgi_clip_vision_config_read(mgen_context *ctx, const mgi_json *json,
                                        mgi_clip_vision_config *out)
{
    static const char *const keys[] = {"image", "patch",     "dim",        "layers",
                                       "heads", "ff_dim",    "projection", "activation",
                                       "mean",  "deviation", "norm_eps",   NULL};
    static const char *const names[] = {"image", "patch", "dim", "heads"}, *const activations[] = {
                                                                               "gelu",
                                                                               "quick_gelu"};
    mgi_clip_vision_config c = {0};
    int32_t activation;
    double eps = usual_eps;
    mgi_clip_vision_usual(&c);
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    MGI_TRY(mgi_json_get_int(ctx, json, "image", true, 1, MGI_CLIP_VISION_IMAGE_MAX, &c.image));
    MGI_TRY(mgi_json_get_int(ctx, json, "patch", true, 1, MGI_CLIP_VISION_IMAGE_MAX, &c.patch));
    MGI_TRY(mgi_json_get_int(ctx, json, "dim", true, 1, 65536, &c.dim));
    MGI_TRY(mgi_json_get_int(ctx, json, "layers", true, 1, MGI_CLIP_VISION_LAYERS_MAX, &c.layers));
    MGI_TRY(mgi_json_get_int(ctx, json, "heads", true, 1, 1024, &c.heads));
    MGI_TRY(mgi_json_get_int(ctx, json, "ff_dim", true, 1, 1 << 20, &c.ff_dim));
    MGI_TRY(mgi_json_get_int(ctx, json, "projection", false, 0, 65536, &c.projection));
    MGI_TRY(mgi_json_get_choice(ctx, json, "activation", activations, 2, &activation));
    MGI_TRY(mgi_clip_vision_channels(ctx, json, "mean", -1e3, c.mean));
    MGI_TRY(mgi_clip_vision_channels(ctx, json, "deviation", 1e-3, c.deviation));
    MGI_TRY(mgi_json_get_real(ctx, json, "norm_eps", false, 1e-12, 1.0, &eps));
    MGI_TRY(mgi_clip_vision_config_check(ctx, &c, names));
    c.activation = activation ? MGK_UNARY_QUICK_GELU : MGK_UNARY_GELU_ERF;
    c.eps = (float)eps;
    *out = c;
    return MGEN_OK;
}

static void put_channels(mgi_json_writer *w, const char *key, const float values[3])
{
    mgi_json_open(w, key, '[');
    for (int i = 0; i < 3; i++)
        mgi_json_put_real(w, NULL, (double)values[i]);
    mgi_json_close(w, ']');
}

void mgi_clip_vision_config_write(mgi_json_writer *w, const mgi_clip_vision_config *c)
{
    mgi_json_put_int(w, "image", c->image);
    mgi_json_put_int(w, "patch", c->patch);
    mgi_json_put_int(w, "dim", c->dim);
    mgi_json_put_int(w, "layers", c->layers);
    mgi_json_put_int(w, "heads", c->heads);
    mgi_json_put_int(w, "ff_dim", c->ff_dim);
    mgi_json_put_int(w, "projection", c->projection);
    mgi_json_put_string(w, "activation",
                        c->activation == MGK_UNARY_QUICK_GELU ? "quick_gelu" : "gelu");
    put_channels(w, "mean", c->mean);
    put_channels(w, "deviation", c->deviation);
    mgi_json_put_real(w, "norm_eps", (double)c->eps);
}
