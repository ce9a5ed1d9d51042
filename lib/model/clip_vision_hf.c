/* SPDX-License-Identifier: MIT */
#include "model/clip_vision_hf.h"

#include "kernels/pointwise/pointwise.h"
#include "model/hf_weights.h"
#include "model/model_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char config_name[] = "config.json", frames_name[] = "preprocessor_config.json",
                  projection_name[] = "visual_projection.weight";

/* -- configuration ---------------------------------------------------------------------------- */

static mgen_status read_tower(mgen_context *ctx, const mgi_json *o, mgi_clip_vision_config *c)
{
    static const char *const names[] = {"image_size", "patch_size", "hidden_size",
                                        "num_attention_heads"};
    const char *act = "quick_gelu";
    double eps = 1e-5;
    int64_t channels = 3;
    *c = (mgi_clip_vision_config){
        .image = 224, .patch = 32, .dim = 768, .layers = 12, .heads = 12, .ff_dim = 3072};
    c->projection = 512;
    mgi_clip_vision_usual(c);
    MGI_TRY(mgi_json_get_int(ctx, o, names[0], false, 1, MGI_CLIP_VISION_IMAGE_MAX, &c->image));
    MGI_TRY(mgi_json_get_int(ctx, o, names[1], false, 1, MGI_CLIP_VISION_IMAGE_MAX, &c->patch));
    MGI_TRY(mgi_json_get_int(ctx, o, names[2], false, 1, 65536, &c->dim));
    MGI_TRY(mgi_json_get_int(ctx, o, names[3], false, 1, 1024, &c->heads));
    MGI_TRY(mgi_json_get_int(ctx, o, "num_hidden_layers", false, 1, MGI_CLIP_VISION_LAYERS_MAX,
                             &c->layers));
    MGI_TRY(mgi_json_get_int(ctx, o, "intermediate_size", false, 1, 1 << 20, &c->ff_dim));
    MGI_TRY(mgi_json_get_int(ctx, o, "projection_dim", false, 1, 65536, &c->projection));
    MGI_TRY(mgi_json_get_int(ctx, o, "num_channels", false, 1, 65536, &channels));
    MGI_TRY(mgi_json_get_real(ctx, o, "layer_norm_eps", false, 1e-12, 1.0, &eps));
    MGI_TRY(mgi_json_get_string(ctx, o, "hidden_act", false, &act));
    bool quick = !strcmp(act, "quick_gelu");
    if (channels != 3 || (!quick && strcmp(act, "gelu")))
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "\"num_channels\" is %lld and \"hidden_act\" \"%.40s\"; 3 with "
                        "\"quick_gelu\" or \"gelu\" is known",
                        (long long)channels, act);
    c->activation = quick ? MGK_UNARY_QUICK_GELU : MGK_UNARY_GELU_ERF;
    c->eps = (float)eps;
    return mgi_clip_vision_config_check(ctx, c, names);
}

mgen_status mgi_hf_clip_vision_config_read(mgen_context *ctx, const mgi_json *root,
                                           mgi_clip_vision_config *out)
{
    const char *type = "";
    int64_t projection = 512;
    if (root->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "is not a JSON object");
    MGI_TRY(mgi_json_get_string(ctx, root, "model_type", true, &type));
    if (!strcmp(type, "clip_vision_model"))
        return read_tower(ctx, root, out);
    if (strcmp(type, "clip"))
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "\"model_type\" is \"%.40s\"; image encoders of the types \"clip\" and "
                        "\"clip_vision_model\" are read",
                        type);
    const mgi_json *tower = mgi_json_find(root, "vision_config");
    if (!tower || tower->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"vision_config\" must be an object");
    MGI_TRY(mgi_json_get_int(ctx, root, "projection_dim", false, 1, 65536, &projection));
    mgen_status status = read_tower(ctx, tower, out);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"vision_config\"");
    out->projection = projection; /* that of both towers; the one inside is not used */
    return MGEN_OK;
}

/* A size in pixels, of whole pictures: a number, or an object of one (the shorter side) or two. */
static mgen_status check_size(mgen_context *ctx, const mgi_json *root, const char *key,
                              const char *const sides[2], int64_t want)
{
    const mgi_json *size = mgi_json_find(root, key);
    int64_t value[2];
    if (!size)
        return MGEN_OK;
    for (int i = 0; i < 2; i++) {
        const mgi_json *e = size->kind == MGI_JSON_OBJECT ? mgi_json_find(size, sides[i]) : size;
        value[i] = e && e->kind == MGI_JSON_INT ? e->i : -1;
    }
    if (value[0] == want && value[1] == want)
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                    "\"%s\" is not %lld, the network's \"image_size\", as a number or by \"%s\"; "
                    "other preparations of pictures are not known",
                    key, (long long)want, sides[0]);
}

mgen_status mgi_hf_clip_vision_frames_read(mgen_context *ctx, const mgi_json *root,
                                           mgi_clip_vision_config *config)
{
    static const char *const steps[] = {"do_resize", "do_center_crop", "do_rescale",
                                        "do_normalize"};
    static const char *const shorter[] = {"shortest_edge", "shortest_edge"}, *const both[] = {
                                                                                 "height", "width"};
    mgi_clip_vision_config c = *config;
    int64_t resample = 3; /* Pillow's number of bicubic */
    double scale = 1.0 / 255.0;
    if (root->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "is not a JSON object");
    for (int i = 0; i < 4; i++) {
        bool done = true;
        MGI_TRY(mgi_json_get_bool(ctx, root, steps[i], false, &done));
        if (!done)
            return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                            "\"%s\" is false; pictures are always prepared by all four steps",
                            steps[i]);
    }
    MGI_TRY(mgi_json_get_int(ctx, root, "resample", false, 0, 100, &resample));
    MGI_TRY(mgi_json_get_real(ctx, root, "rescale_factor", false, 1e-6, 1e6, &scale));
    if (resample != 3 || fabs(scale * 255.0 - 1.0) > 1e-6)
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "\"resample\" is %lld and \"rescale_factor\" %g; only 3 (bicubic) and "
                        "1/255 are known",
                        (long long)resample, scale);
    MGI_TRY(check_size(ctx, root, "size", shorter, c.image));
    MGI_TRY(check_size(ctx, root, "crop_size", both, c.image));
    MGI_TRY(mgi_clip_vision_channels(ctx, root, "image_mean", -1e3, c.mean));
    MGI_TRY(mgi_clip_vision_channels(ctx, root, "image_std", 1e-3, c.deviation));
    *config = c;
    return MGEN_OK;
}

/* -- weights ---------------------------------------------------------------------------------- */

static void take_pair(mgi_hf_weights *r, mgi_param *weight, mgi_param *bias, const char *name)
{
    mgi_hf_take(r, weight, 0, 1, "%s.weight", name);
    mgi_hf_take(r, bias, 0, 1, "%s.bias", name);
}

static void take_layer(mgi_hf_weights *r, const mgi_clip_vision_layer *l, long long i)
{
    static const char *const qkv[] = {"q", "k", "v"};
    const struct {
        mgi_param *weight, *bias;
        const char *name;
    } pairs[] = {{l->norm1, l->norm1_bias, "layer_norm1"},
                 {l->out, l->out_bias, "self_attn.out_proj"},
                 {l->norm2, l->norm2_bias, "layer_norm2"},
                 {l->up, l->up_bias, "mlp.fc1"},
                 {l->down, l->down_bias, "mlp.fc2"}};
    for (size_t k = 0; k < sizeof pairs / sizeof pairs[0]; k++) {
        char name[64];
        snprintf(name, sizeof name, "encoder.layers.%lld.%s", i, pairs[k].name);
        take_pair(r, pairs[k].weight, pairs[k].bias, name);
    }
    for (int k = 0; k < 3; k++) {
        mgi_hf_take(r, l->qkv, k, 3, "encoder.layers.%lld.self_attn.%s_proj.weight", i, qkv[k]);
        mgi_hf_take(r, l->qkv_bias, k, 3, "encoder.layers.%lld.self_attn.%s_proj.bias", i, qkv[k]);
    }
}

static mgen_status read_weights(const mgi_clip_vision *clip, mgen_context *ctx,
                                const mgi_st_set *set, bool check)
{
    static const char *const passed_over[] = {"text_model.",
                                              "text_projection.weight",
                                              "logit_scale",
                                              "embeddings.position_ids",
                                              "vision_model.embeddings.position_ids",
                                              NULL};
    const mgi_clip_vision_config *c = &clip->config;
    const int64_t patch[] = {c->dim, 3, c->patch, c->patch};
    mgi_hf_weights r;
    mgi_hf_weights_init(&r, ctx, &clip->module, set, check);
    if (clip->projection)
        mgi_hf_take(&r, clip->projection, 0, 1, "%s", projection_name);
    if (mgi_st_set_find(set, "vision_model.embeddings.class_embedding"))
        r.prefix = "vision_model.";
    mgi_hf_take(&r, clip->first, 0, 1, "embeddings.class_embedding");
    mgi_hf_take_turned(&r, clip->patch, 4, patch, 3, c->patch * c->patch,
                       "embeddings.patch_embedding.weight");
    mgi_hf_take(&r, clip->position, 0, 1, "embeddings.position_embedding.weight");
    take_pair(&r, clip->pre, clip->pre_bias, "pre_layrnorm");
    for (int64_t i = 0; i < c->layers; i++)
        take_layer(&r, &clip->layer[i], i);
    take_pair(&r, clip->norm, clip->norm_bias, "post_layernorm");
    return mgi_hf_weights_finish(&r, passed_over, "image encoder");
}

static mgen_status fits(mgen_context *shapes, const void *config, const void *set)
{
    mgi_clip_vision clip;
    MGI_TRY(mgi_clip_vision_init(&clip, shapes, config));
    mgen_status status = read_weights(&clip, shapes, set, true);
    mgi_clip_vision_finish(&clip);
    return status;
}

/* -- the folder ------------------------------------------------------------------------------- */

static mgen_status read_file(mgen_context *ctx, const char *folder, const char *name,
                             mgen_status (*read)(mgen_context *, const mgi_json *,
                                                 mgi_clip_vision_config *),
                             mgi_clip_vision_config *config, uint64_t *hash)
{
    mgi_json *root;
    MGI_TRY(mgi_model_json(ctx, folder, name, &root, hash));
    mgen_status status = read(ctx, root, config);
    mgi_json_free(ctx, root);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s", name);
}

static mgen_status read_configs(mgen_context *ctx, const char *folder, mgi_clip_vision_config *out,
                                uint64_t *hash)
{
    MGI_TRY(read_file(ctx, folder, config_name, mgi_hf_clip_vision_config_read, out, hash));
    mgen_status status =
        read_file(ctx, folder, frames_name, mgi_hf_clip_vision_frames_read, out, hash);
    return status == MGEN_E_NOT_FOUND ? MGEN_OK : status;
}

mgen_status mgi_hf_clip_vision_config_of(mgen_context *ctx, const char *dir, const char *name,
                                         mgi_clip_vision_config *out)
{
    char folder[MGI_PATH_MAX + 1];
    uint64_t unused = 0;
    MGI_TRY(mgi_folder_in(ctx, dir, name, folder, sizeof folder));
    mgen_status status = read_configs(ctx, folder, out, &unused);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s", folder);
}

mgen_status mgi_hf_clip_vision_open(mgen_context *ctx, const char *dir, const char *name,
                                    mgi_clip_vision *out, uint64_t *hash)
{
    char folder[MGI_PATH_MAX + 1];
    mgi_clip_vision_config config;
    mgi_st_set set = {0};
    memset(out, 0, sizeof *out);
    *hash = 0;
    MGI_TRY(mgi_folder_in(ctx, dir, name, folder, sizeof folder));
    mgen_status status = read_configs(ctx, folder, &config, hash);
    if (status == MGEN_OK)
        status = mgi_st_set_open(ctx, folder, "model", &set);
    if (status == MGEN_OK && !mgi_st_set_find(&set, projection_name) &&
        !mgi_st_set_find(&set, "text_projection.weight"))
        config.projection = 0; /* a tower alone: its config.json has a width in any case */
    if (status == MGEN_OK)
        status = mgi_model_file_fits(ctx, fits, &config, &set);
    if (status == MGEN_OK)
        status = mgi_clip_vision_init(out, ctx, &config);
    if (status == MGEN_OK)
        status = read_weights(out, ctx, &set, false);
    if (status == MGEN_OK)
        status = mgi_hf_hash(ctx, &set, hash);
    if (status != MGEN_OK) {
        status = mgi_fail_context(ctx, status, "%s", folder);
        mgi_clip_vision_finish(out);
    }
    mgi_st_set_close(ctx, &set);
    return status;
}
