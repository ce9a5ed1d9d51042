/* SPDX-License-Identifier: MIT */
#include "model/text_encoder.h"

#include "core/alloc.h"
#include "model/model_file.h"
#include "model/text_encoder_hf.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    bool clip;
    int tokenizer;
} kinds[MGI_TEXT_KINDS] = {
    [MGI_TEXT_T5_BYTES] = {"t5-bytes", false, MGI_TOKENIZER_BYTES},
    [MGI_TEXT_T5_SENTENCEPIECE] = {"t5-sentencepiece", false, MGI_TOKENIZER_SENTENCEPIECE},
    [MGI_TEXT_CLIP_BPE] = {"clip-bpe", true, MGI_TOKENIZER_BPE},
};

/* -- configuration ---------------------------------------------------------------------------- */

/* Keys of the files' names under "tokenizer", which is a string where there is one file. */
static const char *const bpe_keys[] = {"vocab", "merges", NULL};

static mgen_status read_file_name(mgen_context *ctx, const mgi_json *object, const char *key,
                                  char out[MGI_NAME_MAX + 1])
{
    const char *text = "";
    MGI_TRY(mgi_json_get_string(ctx, object, key, true, &text));
    if (strlen(text) > MGI_NAME_MAX || !mgi_name_ok(text))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" is \"%.40s\", which is no file's name", key,
                        text);
    strcpy(out, text);
    return MGEN_OK;
}

static mgen_status read_files(mgen_context *ctx, const mgi_json *config, int tokenizer,
                              mgi_tokenizer_files *out)
{
    const mgi_json *files = mgi_json_find(config, "tokenizer");
    if (tokenizer == MGI_TOKENIZER_BYTES)
        return files ? mgi_fail(ctx, MGEN_E_CORRUPT, "\"tokenizer\" is not for bytes") : MGEN_OK;
    if (tokenizer == MGI_TOKENIZER_SENTENCEPIECE)
        return read_file_name(ctx, config, "tokenizer", out->name[0]);
    if (!files || files->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"tokenizer\" must be an object of file names, \"vocab\" and \"merges\"");
    MGI_TRY(mgi_json_only_keys(ctx, files, bpe_keys));
    for (int i = 0; i < 2; i++)
        MGI_TRY(read_file_name(ctx, files, bpe_keys[i], out->name[i]));
    return MGEN_OK;
}

mgen_status mgi_text_config_read(mgen_context *ctx, const mgi_json *object, mgi_text_config *out)
{
    mgi_text_config c = {.kind = -1};
    const char *kind = "";
    const mgi_json *config = mgi_json_find(object, "config");
    MGI_TRY(mgi_json_get_string(ctx, object, "kind", true, &kind));
    for (int i = 0; i < MGI_TEXT_KINDS; i++)
        if (!strcmp(kind, kinds[i].name))
            c.kind = i;
    if (c.kind < 0)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"kind\" is \"%.40s\"; text encoders are \"t5-bytes\", "
                        "\"t5-sentencepiece\" and \"clip-bpe\"",
                        kind);
    if (!config || config->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"config\" must be an object");
    MGI_TRY(kinds[c.kind].clip ? mgi_clip_text_config_read(ctx, config, &c.clip)
                               : mgi_t5_config_read(ctx, config, &c.t5));
    MGI_TRY(read_files(ctx, config, kinds[c.kind].tokenizer, &c.files));
    *out = c;
    return MGEN_OK;
}

void mgi_text_config_write(mgi_json_writer *w, const mgi_text_config *c)
{
    if (kinds[c->kind].clip)
        mgi_clip_text_config_write(w, &c->clip);
    else
        mgi_t5_config_write(w, &c->t5);
    if (kinds[c->kind].tokenizer == MGI_TOKENIZER_SENTENCEPIECE)
        mgi_json_put_string(w, "tokenizer", c->files.name[0]);
    if (kinds[c->kind].tokenizer != MGI_TOKENIZER_BPE)
        return;
    mgi_json_open(w, "tokenizer", '{');
    for (int i = 0; i < 2; i++)
        mgi_json_put_string(w, bpe_keys[i], c->files.name[i]);
    mgi_json_close(w, '}');
}

const char *mgi_text_kind(const mgi_text_config *config)
{
    return kinds[config->kind].name;
}

/* -- life ------------------------------------------------------------------------------------- */

static bool is_clip(const mgi_text_encoder *e)
{
    return kinds[e->config.kind].clip;
}

static mgen_status network_init(mgi_text_encoder *e, mgen_context *ctx, const mgi_mesh *mesh)
{
    return is_clip(e) ? mgi_clip_text_init(&e->clip, ctx, &e->config.clip, mesh)
                      : mgi_t5_init(&e->t5, ctx, &e->config.t5, mesh);
}

static mgen_status tokenizer_init(mgi_text_encoder *e, mgen_context *ctx, const char *dir)
{
    const mgi_text_config *c = &e->config;
    int64_t vocab = is_clip(e) ? c->clip.vocab : c->t5.vocab;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *e->own, &e->own));
    e->tokenizer = e->own;
    MGI_TRY(mgi_tokenizer_open(ctx, kinds[c->kind].tokenizer, dir, &c->files, e->own));
    return vocab < e->own->vocab
               ? mgi_fail(ctx, MGEN_E_CORRUPT, "\"vocab\" is %lld; the tokenizer needs %lld",
                          (long long)vocab, (long long)e->own->vocab)
               : MGEN_OK;
}

static void tokenizer_finish(mgi_text_encoder *e, mgen_context *ctx)
{
    if (e->own)
        mgi_tokenizer_finish(ctx, e->own);
    mgi_free(ctx, e->own);
    e->own = NULL;
}

mgen_status mgi_text_encoder_network(mgi_text_encoder *e, mgen_context *ctx,
                                     const mgi_text_config *config, const mgi_mesh *mesh)
{
    memset(e, 0, sizeof *e);
    e->config = *config;
    return network_init(e, ctx, mesh);
}

static mgen_status fits(mgen_context *shapes, const void *config, const void *model)
{
    const mgi_model_file *file = model;
    mgi_text_encoder e = {.config = *(const mgi_text_config *)config};
    MGI_TRY(network_init(&e, shapes, NULL));
    mgen_status status = mgi_module_fits(mgi_text_module(&e), &file->weights, file->weights_name);
    mgi_text_encoder_finish(&e);
    return status;
}

/* `file`: the weights that the network must fit; NULL: it is a new one. */
static mgen_status make(mgi_text_encoder *e, mgen_context *ctx, const char *dir,
                        const mgi_text_config *config, const mgi_mesh *mesh,
                        const mgi_model_file *file)
{
    memset(e, 0, sizeof *e);
    e->config = *config;
    mgen_status status = tokenizer_init(e, ctx, dir);
    if (status == MGEN_OK && file)
        status = mgi_model_file_fits(ctx, fits, config, file);
    if (status == MGEN_OK)
        status = network_init(e, ctx, mesh);
    if (status != MGEN_OK)
        tokenizer_finish(e, ctx);
    return status;
}

mgen_status mgi_text_encoder_init(mgi_text_encoder *e, mgen_context *ctx, const char *dir,
                                  const mgi_text_config *config, const mgi_mesh *mesh)
{
    return make(e, ctx, dir, config, mesh, NULL);
}

mgen_status mgi_text_encoder_shadow(mgi_text_encoder *e, mgen_context *ctx,
                                    const mgi_text_encoder *of)
{
    memset(e, 0, sizeof *e);
    e->config = of->config;
    e->tokenizer = of->tokenizer;
    const mgi_module *as = is_clip(of) ? &of->clip.module : &of->t5.module, *m = mgi_text_module(e);
    ctx->device->hold = as->hold;
    MGI_TRY(network_init(e, ctx, NULL));
    return m->dtype == as->dtype ? MGEN_OK : mgi_module_compute(mgi_text_module(e), as->dtype);
}

static mgen_status read_root(mgen_context *ctx, const mgi_json *root, void *out)
{
    return mgi_text_config_read(ctx, root, out);
}

mgen_status mgi_text_encoder_config(mgen_context *ctx, const char *dir, const char *name,
                                    mgi_text_config *out)
{
    return mgi_model_is_folder(ctx, dir, name) ? mgi_hf_text_encoder_config(ctx, dir, name, out)
                                               : mgi_model_told(ctx, dir, name, read_root, out);
}

mgen_status mgi_text_encoder_open(mgen_context *ctx, const char *dir, const char *name,
                                  mgi_text_encoder *out, uint64_t *hash)
{
    return mgi_text_encoder_open_mesh(ctx, dir, name, NULL, out, hash);
}

mgen_status mgi_text_encoder_open_mesh(mgen_context *ctx, const char *dir, const char *name,
                                       const mgi_mesh *mesh, mgi_text_encoder *out, uint64_t *hash)
{
    if (mgi_model_is_folder(ctx, dir, name))
        return mgi_hf_text_encoder_open(ctx, dir, name, mesh, false, out, hash);
    mgi_model_file f;
    mgi_text_config config;
    memset(out, 0, sizeof *out);
    MGI_TRY(mgi_model_file_open(ctx, dir, name, NULL, &f));
    mgen_status status = mgi_text_config_read(ctx, f.root, &config);
    if (status == MGEN_OK)
        status = make(out, ctx, dir, &config, mesh, &f);
    if (status != MGEN_OK)
        status = mgi_fail_context(ctx, status, "%s/%s", dir, f.json_name);
    else
        status = mgi_module_load(mgi_text_module(out), &f.weights, f.weights_name, false);
    if (status == MGEN_OK)
        *hash = f.hash ^ mgi_tokenizer_hash(out->tokenizer);
    else
        mgi_text_encoder_finish(out);
    mgi_model_file_close(ctx, &f);
    return status;
}

mgen_status mgi_text_encoder_open_pooled(mgen_context *ctx, const char *dir, const char *name,
                                         mgi_text_encoder *out, uint64_t *hash)
{
    MGI_TRY(mgi_model_is_folder(ctx, dir, name)
                ? mgi_hf_text_encoder_open(ctx, dir, name, NULL, true, out, hash)
                : mgi_text_encoder_open(ctx, dir, name, out, hash));
    if (is_clip(out))
        return MGEN_OK;
    mgen_status status =
        mgi_fail(ctx, MGEN_E_INVALID,
                 "text encoder \"%s\" is of the kind \"%s\", which has no vector of a whole text; "
                 "\"clip-bpe\" has",
                 name, mgi_text_kind(&out->config));
    mgi_text_encoder_finish(out);
    return status;
}

static void write_config(mgi_json_writer *w, const void *config)
{
    mgi_text_config_write(w, config);
}

mgen_status mgi_text_encoder_save(mgi_text_encoder *e, const char *dir, const char *name,
                                  mgi_st_dtype store)
{
    mgi_module *m = mgi_text_module(e);
    MGI_TRY(mgi_dir_make(m->ctx, dir));
    MGI_TRY(mgi_tokenizer_save(m->ctx, e->tokenizer, dir));
    return mgi_model_file_save(m->ctx, dir, name, mgi_text_kind(&e->config), write_config,
                               &e->config, m, store);
}

void mgi_text_encoder_finish(mgi_text_encoder *e)
{
    mgen_context *ctx = mgi_text_module(e)->ctx;
    if (ctx)
        tokenizer_finish(e, ctx);
    mgi_t5_finish(&e->t5);
    mgi_clip_text_finish(&e->clip);
    e->tokenizer = NULL;
}

/* -- use -------------------------------------------------------------------------------------- */

mgi_module *mgi_text_module(mgi_text_encoder *e)
{
    return is_clip(e) ? &e->clip.module : &e->t5.module;
}

int64_t mgi_text_width(const mgi_text_encoder *e)
{
    return is_clip(e) ? e->config.clip.dim : e->config.t5.dim;
}

int64_t mgi_text_tokens_max(const mgi_text_encoder *e)
{
    return is_clip(e) ? e->config.clip.tokens_max : e->config.t5.tokens_max;
}

T *mgi_text_encoder_forward(mgi_run *run, const mgi_text_encoder *e, T *ids, T *mask)
{
    return is_clip(e) ? mgi_clip_text_encode(run, &e->clip, ids, mask)
                      : mgi_t5_encode(run, &e->t5, ids, mask);
}
