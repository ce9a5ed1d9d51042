/* SPDX-License-Identifier: MIT */
#include "model/rewriter_hf.h"

#include "model/hf_weights.h"
#include "model/text_encoder_hf.h"

#include <string.h>

/* T5 has no limit; these are the lengths that the first T5 and ByT5 were trained with. */
enum { T5_TOKENS_MAX = 512, BYT5_TOKENS_MAX = 1024 };

/* -- configuration ---------------------------------------------------------------------------- */

static mgen_status check_token(mgen_context *ctx, const mgi_json *root, const char *key,
                               int64_t usual, int32_t want, const char *what)
{
    int64_t id = usual;
    MGI_TRY(mgi_json_get_int(ctx, root, key, false, 0, 1 << 20, &id));
    return id == want ? MGEN_OK
                      : mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                                 "\"%s\" is %lld; %s is token %ld of the tokenizer", key,
                                 (long long)id, what, (long)want);
}

/* What config.json says of the decoder; what it leaves out is as transformers has it. */
static mgen_status read_decoder(mgen_context *ctx, const mgi_json *root, mgi_rewriter *r)
{
    mgi_t5_decoder_config *c = &r->config.decoder;
    const mgi_json *type = mgi_json_find(root, "model_type");
    int32_t begin = mgi_rewriter_begin(r);
    *c = (mgi_t5_decoder_config){
        .t5 = r->config.text.t5, .told_dim = r->config.text.t5.dim, .tied = true};
    MGI_TRY(mgi_json_get_int(ctx, root, "num_decoder_layers", false, 1, MGI_T5_LAYERS_MAX,
                             &c->t5.layers));
    MGI_TRY(mgi_json_get_bool(ctx, root, "tie_word_embeddings", false, &c->tied));
    /* newer files say it by itself; mT5 has no such thing */
    MGI_TRY(mgi_json_get_bool(ctx, root, "scale_decoder_outputs", false, &c->tied));
    if (type && type->kind == MGI_JSON_STRING && !strcmp(type->s, "mt5"))
        c->tied = false;
    MGI_TRY(check_token(ctx, root, "decoder_start_token_id", begin, begin, "the filling"));
    MGI_TRY(check_token(ctx, root, "eos_token_id", 1, mgi_rewriter_end(r), "the end of a text"));
    return mgi_rewriter_config_check(ctx, &r->config);
}

static mgen_status read_config(mgen_context *ctx, const char *folder, mgi_rewriter *r)
{
    static const char name[] = "config.json";
    mgi_json *root;
    uint64_t unused = 0;
    mgi_t5_config *text = &r->text.config.t5;
    text->tokens_max = r->text.t5.config.tokens_max =
        r->text.config.kind == MGI_TEXT_T5_BYTES ? BYT5_TOKENS_MAX : T5_TOKENS_MAX;
    r->config.text = r->text.config;
    MGI_TRY(mgi_model_json(ctx, folder, name, &root, &unused));
    mgen_status status = read_decoder(ctx, root, r);
    mgi_json_free(ctx, root);
    return status == MGEN_OK ? MGEN_OK : mgi_fail_context(ctx, status, "%s", name);
}

/* -- weights ---------------------------------------------------------------------------------- */

static void take_attention(mgi_hf_weights *r, mgi_param *p, const char *letters, long long layer,
                           const char *name)
{
    int parts = (int)strlen(letters);
    for (int k = 0; k < parts; k++)
        mgi_hf_take(r, p, k, parts, "decoder.block.%lld.layer.%s.%c.weight", layer, name,
                    letters[k]);
}

static void take_layer(mgi_hf_weights *r, const mgi_t5_decoder_layer *l, long long i, bool gated)
{
    static const char self[] = "0.SelfAttention", cross[] = "1.EncDecAttention";
    mgi_param *const norms[] = {l->norm1, l->norm2, l->norm3};
    for (int k = 0; k < 3; k++)
        mgi_hf_take(r, norms[k], 0, 1, "decoder.block.%lld.layer.%d.layer_norm.weight", i, k);
    take_attention(r, l->qkv, "qkv", i, self);
    take_attention(r, l->out, "o", i, self);
    take_attention(r, l->q, "q", i, cross);
    take_attention(r, l->kv, "kv", i, cross);
    take_attention(r, l->cross_out, "o", i, cross);
    if (!gated)
        mgi_hf_take(r, l->wi, 0, 1, "decoder.block.%lld.layer.2.DenseReluDense.wi.weight", i);
    for (int k = 0; k < 2 && gated; k++)
        mgi_hf_take(r, l->wi, k, 2, "decoder.block.%lld.layer.2.DenseReluDense.wi_%d.weight", i, k);
    mgi_hf_take(r, l->wo, 0, 1, "decoder.block.%lld.layer.2.DenseReluDense.wo.weight", i);
}

enum { COMPARED = 1 << 14 }; /* bytes at a time */

/* Tensors that may be there several times under the names of what is tied to them. */
static mgen_status compare_values(mgen_context *ctx, const mgi_st_entry *a, const mgi_st_entry *b,
                                  bool *same)
{
    uint8_t x[COMPARED], y[COMPARED];
    *same = a->dtype == b->dtype && a->bytes == b->bytes;
    for (size_t at = 0; at < a->bytes && *same; at += COMPARED) {
        const size_t n = a->bytes - at < COMPARED ? a->bytes - at : COMPARED;
        MGI_TRY(mgi_st_read_bytes(ctx, a, at, x, n));
        MGI_TRY(mgi_st_read_bytes(ctx, b, at, y, n));
        *same = !memcmp(x, y, n);
    }
    return MGEN_OK;
}

/* Logits by the table of tokens, or by a matrix of their own, which newer files leave out where it is the table again. */
static void take_head(mgi_hf_weights *r, const mgi_t5_decoder *d, const char *table)
{
    static const char name[] = "lm_head.weight";
    const mgi_st_entry *own = mgi_st_set_find(r->set, name), *shared;
    bool same;
    if (d->head) {
        mgi_hf_take(r, d->head, 0, 1, "%s", own ? name : table);
        return;
    }
    shared = mgi_st_set_find(r->set, table);
    if (!mgi_hf_pass(r, name) || !shared)
        return;
    r->status = compare_values(r->ctx, own, shared, &same);
    if (r->status == MGEN_OK && !same)
        r->status = mgi_fail(r->ctx, MGEN_E_UNSUPPORTED,
                             "\"%s\" is not \"%s\", which config.json ties it to; if it is meant, "
                             "\"tie_word_embeddings\" must be false",
                             name, table);
}

/* The table of tokens is one for all the model, under any of three names. Files of the first T5 have a bias for attention to
 * what is told, where there is none. */
static mgen_status read_weights(const mgi_t5_decoder *d, mgen_context *ctx, const mgi_st_set *set,
                                bool check)
{
    static const char *const tables[] = {"shared.weight", "decoder.embed_tokens.weight",
                                         "encoder.embed_tokens.weight"};
    static const char *const passed[] = {
        "encoder.", "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", NULL};
    const char *table = NULL;
    mgi_hf_weights r;
    mgi_hf_weights_init(&r, ctx, &d->module, set, check);
    for (int k = 0; k < 3; k++)
        if (mgi_hf_pass(&r, tables[k]) && !table)
            table = tables[k];
    table = table ? table : tables[0];
    mgi_hf_take(&r, d->embedding, 0, 1, "%s", table);
    mgi_hf_take(&r, d->relative, 0, 1,
                "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
    for (int64_t i = 0; i < d->config.t5.layers; i++)
        take_layer(&r, &d->layer[i], i, d->config.t5.ffn != MGI_T5_RELU);
    mgi_hf_take(&r, d->norm, 0, 1, "decoder.final_layer_norm.weight");
    take_head(&r, d, table);
    return mgi_hf_weights_finish(&r, passed, "rewriter");
}

static mgen_status fits(mgen_context *shapes, const void *config, const void *set)
{
    mgi_t5_decoder d;
    MGI_TRY(mgi_t5_decoder_init(&d, shapes, config));
    mgen_status status = read_weights(&d, shapes, set, true);
    mgi_t5_decoder_finish(&d);
    return status;
}

/* -- the folder ------------------------------------------------------------------------------- */

static mgen_status read_folder(mgen_context *ctx, const char *folder, mgi_rewriter *r)
{
    mgi_st_set set = {0};
    MGI_TRY(read_config(ctx, folder, r));
    MGI_TRY(mgi_st_set_open(ctx, folder, "model", &set));
    mgen_status status = mgi_model_file_fits(ctx, fits, &r->config.decoder, &set);
    if (status == MGEN_OK)
        status = mgi_t5_decoder_init(&r->decoder, ctx, &r->config.decoder);
    if (status == MGEN_OK)
        status = read_weights(&r->decoder, ctx, &set, false);
    mgi_st_set_close(ctx, &set);
    return status;
}

mgen_status mgi_hf_rewriter_open(mgen_context *ctx, const char *dir, const char *name,
                                 mgi_rewriter *out, uint64_t *hash)
{
    char folder[MGI_PATH_MAX + 1];
    memset(out, 0, sizeof *out);
    MGI_TRY(mgi_folder_in(ctx, dir, name, folder, sizeof folder));
    MGI_TRY(mgi_hf_text_encoder_open(ctx, dir, name, NULL, false, &out->text, hash));
    mgen_status status = out->text.config.kind == MGI_TEXT_CLIP_BPE
                             ? mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                                        "a rewriter is a T5ForConditionalGeneration, not CLIP")
                             : read_folder(ctx, folder, out);
    if (status == MGEN_OK)
        return MGEN_OK;
    status = mgi_fail_context(ctx, status, "%s", folder);
    mgi_rewriter_finish(out);
    return status;
}
