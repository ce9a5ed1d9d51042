/* SPDX-License-Identifier: MIT */
#include "model/rewriter.h"

#include "core/alloc.h"
#include "model/rewriter_hf.h"

#include <string.h>

/* -- configuration ---------------------------------------------------------------------------- */

static mgen_status read_text(mgen_context *ctx, const mgi_json *text, mgi_text_config *out)
{
    static const char *const keys[] = {"kind", "config", NULL};
    MGI_TRY(mgi_json_only_keys(ctx, text, keys));
    return mgi_text_config_read(ctx, text, out);
}

static mgen_status object_of(mgen_context *ctx, const mgi_json *json, const char *key,
                             const mgi_json **out)
{
    *out = mgi_json_find(json, key);
    return !*out || (*out)->kind != MGI_JSON_OBJECT
               ? mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" must be an object", key)
               : MGEN_OK;
}

mgen_status mgi_rewriter_config_read(mgen_context *ctx, const mgi_json *json,
                                     mgi_rewriter_config *out)
{
    static const char *const keys[] = {"text", "decoder", "instruction", NULL};
    mgi_rewriter_config c = {.instruction = ""};
    const mgi_json *text, *decoder;
    const char *instruction = "";
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    MGI_TRY(object_of(ctx, json, "text", &text));
    MGI_TRY(object_of(ctx, json, "decoder", &decoder));
    MGI_TRY(mgi_json_get_string(ctx, json, "instruction", false, &instruction));
    if (strlen(instruction) > MGI_REWRITER_INSTRUCTION_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"instruction\" is longer than %d bytes",
                        MGI_REWRITER_INSTRUCTION_MAX);
    strcpy(c.instruction, instruction);
    mgen_status status = read_text(ctx, text, &c.text);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"text\"");
    c.decoder.t5.vocab = c.text.t5.vocab;
    c.decoder.told_dim = c.text.t5.dim;
    status = mgi_t5_decoder_config_read(ctx, decoder, &c.decoder);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"decoder\"");
    MGI_TRY(mgi_rewriter_config_check(ctx, &c));
    *out = c;
    return MGEN_OK;
}

void mgi_rewriter_config_write(mgi_json_writer *w, const mgi_rewriter_config *c)
{
    mgi_json_open(w, "text", '{');
    mgi_json_put_string(w, "kind", mgi_text_kind(&c->text));
    mgi_json_open(w, "config", '{');
    mgi_text_config_write(w, &c->text);
    mgi_json_close(w, '}');
    mgi_json_close(w, '}');
    mgi_json_open(w, "decoder", '{');
    mgi_t5_decoder_config_write(w, &c->decoder);
    mgi_json_close(w, '}');
    mgi_json_put_string(w, "instruction", c->instruction);
}

mgen_status mgi_rewriter_config_check(mgen_context *ctx, const mgi_rewriter_config *c)
{
    if (c->text.kind == MGI_TEXT_CLIP_BPE)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"text\": a rewriter's encoder is a T5, \"t5-bytes\" or "
                        "\"t5-sentencepiece\", not \"%s\"",
                        mgi_text_kind(&c->text));
    mgen_status status = mgi_t5_check_buckets(ctx, &c->decoder.t5, 2);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "\"decoder\"");
}

/* -- life ------------------------------------------------------------------------------------- */

mgen_status mgi_rewriter_init(mgi_rewriter *r, mgen_context *ctx, const char *dir,
                              const mgi_rewriter_config *config)
{
    memset(r, 0, sizeof *r);
    MGI_TRY(mgi_rewriter_config_check(ctx, config));
    MGI_TRY(mgi_text_encoder_init(&r->text, ctx, dir, &config->text, NULL));
    mgen_status status = mgi_t5_decoder_init(&r->decoder, ctx, &config->decoder);
    if (status != MGEN_OK)
        mgi_rewriter_finish(r);
    else
        r->config = *config;
    return status;
}

void mgi_rewriter_finish(mgi_rewriter *r)
{
    mgi_t5_decoder_finish(&r->decoder);
    mgi_text_encoder_finish(&r->text);
    memset(r, 0, sizeof *r);
}

/* -- files ------------------------------------------------------------------------------------ */

/* Both networks' parameters, as one file has them. Only the list is its own. */
static mgen_status together(const mgi_module *a, const mgi_module *b, mgi_module *out)
{
    *out = (mgi_module){.ctx = a->ctx,
                        .dev = a->dev,
                        .dtype = a->dtype,
                        .hold = a->hold,
                        .count = a->count + b->count};
    MGI_TRY(mgi_alloc_zero(a->ctx, (size_t)out->count, sizeof *out->params, &out->params));
    memcpy(out->params, a->params, (size_t)a->count * sizeof *a->params);
    memcpy(out->params + a->count, b->params, (size_t)b->count * sizeof *b->params);
    return MGEN_OK;
}

static mgen_status fits(mgen_context *shapes, const void *config, const void *model)
{
    const mgi_rewriter_config *c = config;
    const mgi_model_file *file = model;
    mgi_t5 encoder;
    mgi_t5_decoder decoder;
    mgi_module all;
    MGI_TRY(mgi_t5_init(&encoder, shapes, &c->text.t5, NULL));
    mgen_status status = mgi_t5_decoder_init(&decoder, shapes, &c->decoder);
    if (status == MGEN_OK)
        status = together(&encoder.module, &decoder.module, &all);
    if (status == MGEN_OK) {
        status = mgi_module_fits(&all, &file->weights, file->weights_name);
        mgi_free(shapes, all.params);
    }
    mgi_t5_decoder_finish(&decoder);
    mgi_t5_finish(&encoder);
    return status;
}

static mgen_status load(mgi_rewriter *r, const mgi_model_file *file)
{
    mgi_module all;
    MGI_TRY(together(&r->text.t5.module, &r->decoder.module, &all));
    mgen_status status = mgi_module_load(&all, &file->weights, file->weights_name, false);
    mgi_free(all.ctx, all.params);
    return status;
}

mgen_status mgi_rewriter_open(mgen_context *ctx, const char *dir, const char *name,
                              mgi_rewriter *out, uint64_t *hash)
{
    if (mgi_model_is_folder(ctx, dir, name))
        return mgi_hf_rewriter_open(ctx, dir, name, out, hash);
    mgi_model_file f;
    mgi_rewriter_config config;
    memset(out, 0, sizeof *out);
    MGI_TRY(mgi_model_file_open(ctx, dir, name, MGI_REWRITER_KIND, &f));
    mgen_status status = mgi_rewriter_config_read(ctx, f.config, &config);
    if (status == MGEN_OK)
        status = mgi_model_file_fits(ctx, fits, &config, &f);
    if (status == MGEN_OK)
        status = mgi_rewriter_init(out, ctx, dir, &config);
    if (status != MGEN_OK)
        status = mgi_fail_context(ctx, status, "%s/%s", dir, f.json_name);
    else
        status = load(out, &f);
    if (status == MGEN_OK)
        *hash = f.hash ^ mgi_tokenizer_hash(out->text.tokenizer);
    else
        mgi_rewriter_finish(out);
    mgi_model_file_close(ctx, &f);
    return status;
}

static void write_config(mgi_json_writer *w, const void *config)
{
    mgi_rewriter_config_write(w, config);
}

mgen_status mgi_rewriter_save(mgi_rewriter *r, const char *dir, const char *name,
                              mgi_st_dtype store)
{
    mgen_context *ctx = r->decoder.module.ctx;
    mgi_module all;
    MGI_TRY(mgi_dir_make(ctx, dir));
    MGI_TRY(mgi_tokenizer_save(ctx, r->text.tokenizer, dir));
    MGI_TRY(together(&r->text.t5.module, &r->decoder.module, &all));
    mgen_status status = mgi_model_file_save(ctx, dir, name, MGI_REWRITER_KIND, write_config,
                                             &r->config, &all, store);
    mgi_free(ctx, all.params);
    return status;
}

/* -- use -------------------------------------------------------------------------------------- */

int32_t mgi_rewriter_begin(const mgi_rewriter *r)
{
    int32_t pad = r->text.tokenizer->frame.pad;
    return pad >= 0 ? pad : 0;
}

int32_t mgi_rewriter_end(const mgi_rewriter *r)
{
    return r->text.tokenizer->frame.end;
}

static mgen_status read_tokens(mgen_context *ctx, const mgi_rewriter *r, const char *prompt,
                               mgi_tokens *out)
{
    size_t before = strlen(r->config.instruction), size = strlen(prompt);
    char *text;
    MGI_TRY(mgi_alloc(ctx, before + size + 1, &text));
    memcpy(text, r->config.instruction, before);
    memcpy(text + before, prompt, size + 1);
    mgen_status status = mgi_tokenizer_encode(ctx, r->text.tokenizer, text, out);
    mgi_free(ctx, text);
    return status == MGEN_OK ? mgi_tokens_push(ctx, out, mgi_rewriter_end(r)) : status;
}

mgen_status mgi_rewriter_read(mgen_context *ctx, const mgi_rewriter *r, const char *prompt,
                              mgi_tokens *out)
{
    int64_t most = mgi_text_tokens_max(&r->text);
    memset(out, 0, sizeof *out);
    mgen_status status = read_tokens(ctx, r, prompt, out);
    if (status == MGEN_OK && (int64_t)out->count > most)
        status = mgi_fail(ctx, MGEN_E_INVALID,
                          "the prompt has %zu tokens with what stands around it; the rewriter "
                          "reads at most %lld: shorten it",
                          out->count, (long long)most);
    if (status != MGEN_OK)
        mgi_tokens_free(ctx, out);
    return status;
}

T *mgi_rewriter_logits(mgi_run *run, const mgi_rewriter *r, T *ids, T *mask, T *told)
{
    int64_t mark = mgi_scope_push(run);
    T *x = mgi_text_encoder_forward(run, &r->text, ids, mask);
    return mgi_scope_pop(run, mark, mgi_t5_decode(run, &r->decoder, told, x, mask));
}
