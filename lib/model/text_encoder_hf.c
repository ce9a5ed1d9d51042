/* SPDX-License-Identifier: MIT */
#include "model/text_encoder_hf.h"

#include "core/checked.h"
#include "model/hf_weights.h"
#include "model/model_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Neither network's config says how long texts may be: T5 has no limit. The report does not either; these are usual. */
enum { T5_TOKENS_MAX = 512, BYT5_TOKENS_MAX = 256 };

static const char config_name[] = "config.json", tokenizer_name[] = "tokenizer_config.json",
                  pieces_name[] = "spiece.model", vocab_name[] = "vocab.json",
                  merges_name[] = "merges.txt", byte_class[] = "ByT5Tokenizer",
                  projection_name[] = "text_projection.weight", scale_name[] = "logit_scale";

/* -- configuration ---------------------------------------------------------------------------- */

static mgen_status read_t5(mgen_context *ctx, const mgi_json *o, bool bytes, mgi_text_config *out)
{
    mgi_t5_config *c = &out->t5;
    const char *ffn = mgi_t5_ffn[MGI_T5_RELU];
    double eps = 1e-6;
    c->buckets = 32;
    c->max_distance = 128;
    c->tokens_max = bytes ? BYT5_TOKENS_MAX : T5_TOKENS_MAX;
    MGI_TRY(mgi_json_get_int(ctx, o, "vocab_size", true, 4, 1 << 20, &c->vocab));
    MGI_TRY(mgi_json_get_int(ctx, o, "d_model", true, 1, 65536, &c->dim));
    MGI_TRY(mgi_json_get_int(ctx, o, "d_kv", true, 1, 256, &c->head_dim));
    MGI_TRY(mgi_json_get_int(ctx, o, "d_ff", true, 1, 1 << 20, &c->ff_dim));
    MGI_TRY(mgi_json_get_int(ctx, o, "num_layers", true, 1, MGI_T5_LAYERS_MAX, &c->layers));
    MGI_TRY(mgi_json_get_int(ctx, o, "num_heads", true, 1, 1024, &c->heads));
    MGI_TRY(
        mgi_json_get_int(ctx, o, "relative_attention_num_buckets", false, 4, 4096, &c->buckets));
    MGI_TRY(mgi_json_get_int(ctx, o, "relative_attention_max_distance", false, 4, 1 << 20,
                             &c->max_distance));
    MGI_TRY(mgi_json_get_real(ctx, o, "layer_norm_epsilon", false, 1e-12, 1.0, &eps));
    MGI_TRY(mgi_json_get_string(ctx, o, "feed_forward_proj", false, &ffn));
    c->eps = (float)eps;
    for (c->ffn = 0; c->ffn < MGI_T5_FFNS && strcmp(ffn, mgi_t5_ffn[c->ffn]);)
        c->ffn++;
    if (c->ffn == MGI_T5_FFNS)
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "\"feed_forward_proj\" is \"%.40s\"; \"gated-gelu\", \"gated-silu\" and "
                        "\"relu\" are known",
                        ffn);
    mgen_status status = mgi_t5_check_buckets(ctx, c, 4);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status,
                                "\"relative_attention_num_buckets\" and "
                                "\"relative_attention_max_distance\"");
    out->kind = bytes ? MGI_TEXT_T5_BYTES : MGI_TEXT_T5_SENTENCEPIECE;
    if (!bytes)
        strcpy(out->files.name[0], pieces_name);
    return MGEN_OK;
}

static mgen_status read_clip(mgen_context *ctx, const mgi_json *o, mgi_text_config *out)
{
    mgi_clip_text_config *c = &out->clip;
    const char *act = "quick_gelu";
    double eps = 1e-5;
    *c = (mgi_clip_text_config){
        .vocab = 49408, .dim = 512, .layers = 12, .heads = 8, .ff_dim = 2048, .tokens_max = 77};
    MGI_TRY(mgi_json_get_int(ctx, o, "vocab_size", false, 4, 1 << 20, &c->vocab));
    MGI_TRY(mgi_json_get_int(ctx, o, "hidden_size", false, 1, 65536, &c->dim));
    MGI_TRY(mgi_json_get_int(ctx, o, "num_hidden_layers", false, 1, MGI_CLIP_TEXT_LAYERS_MAX,
                             &c->layers));
    MGI_TRY(mgi_json_get_int(ctx, o, "num_attention_heads", false, 1, 1024, &c->heads));
    MGI_TRY(mgi_json_get_int(ctx, o, "intermediate_size", false, 1, 1 << 20, &c->ff_dim));
    MGI_TRY(mgi_json_get_int(ctx, o, "max_position_embeddings", false, 1, 8192, &c->tokens_max));
    MGI_TRY(mgi_json_get_real(ctx, o, "layer_norm_eps", false, 1e-12, 1.0, &eps));
    MGI_TRY(mgi_json_get_string(ctx, o, "hidden_act", false, &act));
    c->eps = (float)eps;
    c->quick_gelu = !strcmp(act, "quick_gelu");
    if (!c->quick_gelu && strcmp(act, "gelu"))
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "\"hidden_act\" is \"%.40s\"; \"quick_gelu\" and \"gelu\" are known", act);
    if (c->dim % c->heads || c->dim / c->heads > 256)
        return mgi_fail(
            ctx, MGEN_E_CORRUPT,
            "\"num_attention_heads\" (%lld) does not divide \"hidden_size\" (%lld) into "
            "at most 256 each",
            (long long)c->heads, (long long)c->dim);
    out->kind = MGI_TEXT_CLIP_BPE;
    strcpy(out->files.name[0], vocab_name);
    strcpy(out->files.name[1], merges_name);
    return MGEN_OK;
}

mgen_status mgi_hf_text_config_read(mgen_context *ctx, const mgi_json *root, bool bytes,
                                    mgi_text_config *out)
{
    const char *type = "";
    memset(out, 0, sizeof *out);
    if (root->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "is not a JSON object");
    MGI_TRY(mgi_json_get_string(ctx, root, "model_type", true, &type));
    if (!strcmp(type, "t5") || !strcmp(type, "mt5"))
        return read_t5(ctx, root, bytes, out);
    if (!strcmp(type, "clip_text_model"))
        return read_clip(ctx, root, out);
    if (strcmp(type, "clip"))
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "\"model_type\" is \"%.40s\"; text encoders of the types \"t5\", \"mt5\", "
                        "\"clip\" and \"clip_text_model\" are read",
                        type);
    const mgi_json *text = mgi_json_find(root, "text_config");
    if (!text || text->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"text_config\" must be an object");
    mgen_status status = read_clip(ctx, text, out);
    return status == MGEN_OK ? MGEN_OK : mgi_fail_context(ctx, status, "\"text_config\"");
}

/* -- weights ---------------------------------------------------------------------------------- */

static void read_t5_weights(mgi_hf_weights *r, const mgi_t5 *t5)
{
    static const char *const qkv[] = {"q", "k", "v"};
    static const char shared[] = "shared.weight", tied[] = "encoder.embed_tokens.weight";
    bool copy = mgi_hf_pass(r, tied); /* the same again, or alone */
    mgi_hf_take(r, t5->embedding, 0, 1, "%s",
                copy && !mgi_st_set_find(r->set, shared) ? tied : shared);
    mgi_hf_take(r, t5->relative, 0, 1,
                "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
    for (long long i = 0; i < t5->config.layers; i++) {
        const mgi_t5_layer *l = &t5->layer[i];
        mgi_hf_take(r, l->norm1, 0, 1, "encoder.block.%lld.layer.0.layer_norm.weight", i);
        for (int k = 0; k < 3; k++)
            mgi_hf_take(r, l->qkv, k, 3, "encoder.block.%lld.layer.0.SelfAttention.%s.weight", i,
                        qkv[k]);
        mgi_hf_take(r, l->out, 0, 1, "encoder.block.%lld.layer.0.SelfAttention.o.weight", i);
        mgi_hf_take(r, l->norm2, 0, 1, "encoder.block.%lld.layer.1.layer_norm.weight", i);
        if (t5->config.ffn == MGI_T5_RELU)
            mgi_hf_take(r, l->wi, 0, 1, "encoder.block.%lld.layer.1.DenseReluDense.wi.weight", i);
        for (int k = 0; k < 2 && t5->config.ffn != MGI_T5_RELU; k++)
            mgi_hf_take(r, l->wi, k, 2, "encoder.block.%lld.layer.1.DenseReluDense.wi_%d.weight", i,
                        k);
        mgi_hf_take(r, l->wo, 0, 1, "encoder.block.%lld.layer.1.DenseReluDense.wo.weight", i);
    }
    mgi_hf_take(r, t5->norm, 0, 1, "encoder.final_layer_norm.weight");
}

static void take_pair(mgi_hf_weights *r, mgi_param *weight, mgi_param *bias, long long layer,
                      const char *name)
{
    mgi_hf_take(r, weight, 0, 1, "encoder.layers.%lld.%s.weight", layer, name);
    mgi_hf_take(r, bias, 0, 1, "encoder.layers.%lld.%s.bias", layer, name);
}

static void read_clip_weights(mgi_hf_weights *r, const mgi_clip_text *clip)
{
    static const char *const qkv[] = {"q", "k", "v"};
    if (mgi_st_set_find(r->set, "text_model.embeddings.token_embedding.weight"))
        r->prefix = "text_model.";
    mgi_hf_take(r, clip->embedding, 0, 1, "embeddings.token_embedding.weight");
    mgi_hf_take(r, clip->position, 0, 1, "embeddings.position_embedding.weight");
    for (long long i = 0; i < clip->config.layers; i++) {
        const mgi_clip_text_layer *l = &clip->layer[i];
        take_pair(r, l->norm1, l->norm1_bias, i, "layer_norm1");
        for (int k = 0; k < 3; k++) {
            mgi_hf_take(r, l->qkv, k, 3, "encoder.layers.%lld.self_attn.%s_proj.weight", i, qkv[k]);
            mgi_hf_take(r, l->qkv_bias, k, 3, "encoder.layers.%lld.self_attn.%s_proj.bias", i,
                        qkv[k]);
        }
        take_pair(r, l->out, l->out_bias, i, "self_attn.out_proj");
        take_pair(r, l->norm2, l->norm2_bias, i, "layer_norm2");
        take_pair(r, l->up, l->up_bias, i, "mlp.fc1");
        take_pair(r, l->down, l->down_bias, i, "mlp.fc2");
    }
    mgi_hf_take(r, clip->norm, 0, 1, "final_layer_norm.weight");
    mgi_hf_take(r, clip->norm_bias, 0, 1, "final_layer_norm.bias");
    r->prefix = "";
    if (clip->projection)
        mgi_hf_take(r, clip->projection, 0, 1, "%s", projection_name);
}

/* What the folders hold beside the encoder: T5's decoder; CLIP's other tower, and what only compares the two; the
 * numbers 0, 1, 2, ... of positions. A name that ends in a dot is a beginning. */
static const char *const passed_over[2][8] = {
    {"decoder.", "lm_head.weight"},
    {"vision_model.", "visual_projection.weight", projection_name, scale_name,
     "embeddings.position_ids", "text_model.embeddings.position_ids"}};

static mgen_status read_weights(mgi_text_encoder *e, mgen_context *ctx, const mgi_st_set *set,
                                bool check)
{
    bool clip = e->config.kind == MGI_TEXT_CLIP_BPE;
    mgi_hf_weights r;
    mgi_hf_weights_init(&r, ctx, mgi_text_module(e), set, check);
    if (clip)
        read_clip_weights(&r, &e->clip);
    else
        read_t5_weights(&r, &e->t5);
    return mgi_hf_weights_finish(&r, passed_over[clip], "text encoder");
}

static mgen_status fits(mgen_context *shapes, const void *config, const void *set)
{
    mgi_text_encoder e = {.config = *(const mgi_text_config *)config};
    MGI_TRY(e.config.kind == MGI_TEXT_CLIP_BPE
                ? mgi_clip_text_init(&e.clip, shapes, &e.config.clip, NULL)
                : mgi_t5_init(&e.t5, shapes, &e.config.t5, NULL));
    mgen_status status = read_weights(&e, shapes, set, true);
    mgi_text_encoder_finish(&e);
    return status;
}

/* -- the folder ------------------------------------------------------------------------------- */

static bool says_bytes(const mgi_json *root)
{
    const mgi_json *class =
        root->kind == MGI_JSON_OBJECT ? mgi_json_find(root, "tokenizer_class") : NULL;
    return class && class->kind == MGI_JSON_STRING && !strcmp(class->s, byte_class);
}

/* Whether the tokenizer is ByT5's, which only its name tells. */
static mgen_status find_bytes(mgen_context *ctx, const char *dir, const mgi_json *config,
                              bool *bytes)
{
    mgi_json *root;
    uint64_t unused = 0;
    *bytes = says_bytes(config);
    if (*bytes)
        return MGEN_OK;
    MGI_TRY(mgi_model_json_if(ctx, dir, tokenizer_name, &root, &unused));
    *bytes = root && says_bytes(root);
    mgi_json_free(ctx, root);
    return MGEN_OK;
}

static mgen_status read_config(mgen_context *ctx, const char *dir, mgi_text_config *out,
                               uint64_t *hash)
{
    mgi_json *root;
    bool bytes;
    MGI_TRY(mgi_model_json(ctx, dir, config_name, &root, hash));
    mgen_status status = find_bytes(ctx, dir, root, &bytes);
    if (status == MGEN_OK) {
        status = mgi_hf_text_config_read(ctx, root, bytes, out);
        if (status != MGEN_OK)
            status = mgi_fail_context(ctx, status, "%s", config_name);
    }
    mgi_json_free(ctx, root);
    return status;
}

mgen_status mgi_hf_text_encoder_config(mgen_context *ctx, const char *dir, const char *name,
                                       mgi_text_config *out)
{
    char folder[MGI_PATH_MAX + 1];
    uint64_t unused = 0;
    MGI_TRY(mgi_folder_in(ctx, dir, name, folder, sizeof folder));
    mgen_status status = read_config(ctx, folder, out, &unused);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s", folder);
}

static mgen_status init(mgen_context *ctx, const char *dir, const mgi_text_config *config,
                        const mgi_mesh *mesh, mgi_text_encoder *out)
{
    mgen_status status = mgi_text_encoder_init(out, ctx, dir, config, mesh);
    if (status != MGEN_E_NOT_FOUND)
        return status;
    return config->kind == MGI_TEXT_CLIP_BPE
               ? mgi_fail_context(ctx, status, "CLIP's tokenizer is %s and %s", vocab_name,
                                  merges_name)
               : mgi_fail_context(ctx, status,
                                  "T5's tokenizer is %s, unless %s or %s has \"tokenizer_class\": "
                                  "\"%s\"",
                                  pieces_name, config_name, tokenizer_name, byte_class);
}

/* Two encoders of one model folder may come from files of the same name. */
static void rename_files(mgi_text_encoder *e, const char *name)
{
    for (int i = 0; i < MGI_TOKENIZER_FILES; i++) {
        char *file = e->config.files.name[i], kept[16];
        if (!*file)
            continue;
        snprintf(kept, sizeof kept, "%.15s", file);
        snprintf(file, MGI_NAME_MAX + 1, "%.239s_%s", name, kept);
    }
    e->own->files = e->config.files;
}

/* Its width is that of the file: config.json says it in several places. */
static void find_projection(const mgi_st_set *set, mgi_clip_text_config *config)
{
    const mgi_st_entry *e = mgi_st_set_find(set, projection_name);
    if (e && e->rank == 2 && e->dims[0] > 0 && e->dims[0] <= 65536)
        config->projection = e->dims[0];
}

/* The file has the logarithm of the scale. A tower alone has none. */
static mgen_status find_scale(mgen_context *ctx, const mgi_st_set *set,
                              mgi_clip_text_config *config)
{
    const mgi_st_entry *e = mgi_st_set_find(set, scale_name);
    float log_scale;
    int64_t count;
    if (!e)
        return MGEN_OK;
    if (!mgi_dims_count(e->dims, e->rank, &count) || count != 1)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "tensor \"%s\" is no single number", scale_name);
    MGI_TRY(mgi_st_read_f32(ctx, e, &log_scale, 1));
    if (!isfinite(log_scale))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "tensor \"%s\" is %g", scale_name, (double)log_scale);
    config->scale = fmax(MGI_CLIP_SCALE_MIN, fmin(exp((double)log_scale), MGI_CLIP_SCALE_MAX));
    return MGEN_OK;
}

mgen_status mgi_hf_text_encoder_open(mgen_context *ctx, const char *dir, const char *name,
                                     const mgi_mesh *mesh, bool pooled, mgi_text_encoder *out,
                                     uint64_t *hash)
{
    char folder[MGI_PATH_MAX + 1];
    mgi_text_config config;
    mgi_st_set set = {0};
    memset(out, 0, sizeof *out);
    *hash = 0;
    MGI_TRY(mgi_folder_in(ctx, dir, name, folder, sizeof folder));
    mgen_status status = read_config(ctx, folder, &config, hash);
    if (status == MGEN_OK)
        status = mgi_st_set_open(ctx, folder, "model", &set);
    if (status == MGEN_OK && pooled && config.kind == MGI_TEXT_CLIP_BPE) {
        find_projection(&set, &config.clip);
        status = find_scale(ctx, &set, &config.clip);
    }
    if (status == MGEN_OK)
        status = mgi_model_file_fits(ctx, fits, &config, &set);
    if (status == MGEN_OK)
        status = init(ctx, folder, &config, mesh, out);
    if (status == MGEN_OK)
        status = read_weights(out, ctx, &set, false);
    if (status == MGEN_OK)
        status = mgi_hf_hash(ctx, &set, hash);
    if (status == MGEN_OK) {
        *hash ^= mgi_tokenizer_hash(out->tokenizer);
        rename_files(out, name);
    } else {
        status = mgi_fail_context(ctx, status, "%s", folder);
        mgi_text_encoder_finish(out);
    }
    mgi_st_set_close(ctx, &set);
    return status;
}
