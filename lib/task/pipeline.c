/* SPDX-License-Identifier: MIT */
#include "task/pipeline.h"

#include "core/hash.h"
#include "core/quiet.h"
#include "model/tae_diffusers.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* -- pipeline.json ---------------------------------------------------------------------------- */

/* Where a pipeline has its models' names. */
static const size_t model_at[MGI_ADAPTED_KINDS] = {
    [MGI_ADAPTED_VIDEO] = offsetof(mgi_pipeline_file, video),
    [MGI_ADAPTED_UPSAMPLER] = offsetof(mgi_pipeline_file, upsampler),
    [MGI_ADAPTED_EDITOR] = offsetof(mgi_pipeline_file, editor),
    [MGI_ADAPTED_AUDIO] = offsetof(mgi_pipeline_file, audio),
    [MGI_ADAPTED_PERSONALIZER] = offsetof(mgi_pipeline_file, personalizer),
};

char *mgi_pipeline_model(mgi_pipeline_file *file, int adapted)
{
    return (char *)file + model_at[adapted];
}

void mgi_pipeline_put(mgi_pipeline_file *file, int adapted, const char *name, const char *adapter)
{
    mgi_adapters *a = &file->adapters[adapted];
    strcpy(mgi_pipeline_model(file, adapted), name);
    memset(a, 0, sizeof *a);
    if (!adapter)
        return;
    a->count = 1;
    a->list[0].scale = 1.0;
    strcpy(a->list[0].name, adapter);
}

static mgen_status read_name(mgen_context *ctx, const mgi_json *object, const char *key,
                             char out[MGI_NAME_MAX + 1])
{
    const char *text = "";
    MGI_TRY(mgi_json_get_string(ctx, object, key, false, &text));
    if (strlen(text) > MGI_NAME_MAX - 16)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" names a model of more than %d bytes", key,
                        MGI_NAME_MAX - 16);
    strcpy(out, text);
    return MGEN_OK;
}

/* "video_adapters" and the like: a list that may be absent. */
static mgen_status read_adapters(mgen_context *ctx, const mgi_json *root, const char *key,
                                 mgi_adapters *out)
{
    static const char *const keys[] = {"name", "scale", NULL};
    const mgi_json *list = mgi_json_find(root, key);
    if (!list)
        return MGEN_OK;
    if (list->kind != MGI_JSON_ARRAY)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" must be a list of objects", key);
    for (const mgi_json *e = list->child; e; e = e->next) {
        if (e->kind != MGI_JSON_OBJECT)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" has an entry that is not an object", key);
        if (out->count == MGI_ADAPTERS_MAX)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" has more than %d entries", key,
                            MGI_ADAPTERS_MAX);
        const int64_t i = out->count++;
        out->list[i].scale = 1.0;
        MGI_TRY(mgi_json_only_keys(ctx, e, keys));
        MGI_TRY(read_name(ctx, e, "name", out->list[i].name));
        if (!out->list[i].name[0])
            return mgi_fail(ctx, MGEN_E_CORRUPT, "entry %lld of \"%s\" has no \"name\"",
                            (long long)i + 1, key);
        MGI_TRY(mgi_json_get_real(ctx, e, "scale", false, -100.0, 100.0, &out->list[i].scale));
    }
    return MGEN_OK;
}

static mgen_status read_root(mgen_context *ctx, const mgi_json *root, mgi_pipeline_file *out)
{
    enum { OWN = 9 };
    const char *keys[OWN + 2 * MGI_ADAPTED_KINDS + 1] = {
        "format", "version", "tae", "text", "width", "height", "frames", "fps", "rewriter"};
    static const char *const text_keys[] = {"ul2", "byt5", "metaclip", NULL};
    const char *format = NULL;
    int64_t version = 0;
    if (root->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "is not a JSON object");
    for (int i = 0; i < MGI_ADAPTED_KINDS; i++) {
        keys[OWN + 2 * i] = mgi_adapted[i].key;
        keys[OWN + 2 * i + 1] = mgi_adapted[i].list;
    }
    MGI_TRY(mgi_json_only_keys(ctx, root, keys));
    MGI_TRY(mgi_json_get_string(ctx, root, "format", true, &format));
    if (strcmp(format, "moviegen-pipeline"))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"format\" is \"%.40s\", not \"moviegen-pipeline\"",
                        format);
    MGI_TRY(mgi_json_get_int(ctx, root, "version", true, 1, INT32_MAX, &version));
    if (version > 1)
        return mgi_fail(ctx, MGEN_E_VERSION, "\"version\" is %lld; this library reads 1; update it",
                        (long long)version);
    MGI_TRY(read_name(ctx, root, "tae", out->tae));
    MGI_TRY(read_name(ctx, root, "rewriter", out->rewriter));
    for (int i = 0; i < MGI_ADAPTED_KINDS; i++) {
        MGI_TRY(read_name(ctx, root, mgi_adapted[i].key, mgi_pipeline_model(out, i)));
        MGI_TRY(read_adapters(ctx, root, mgi_adapted[i].list, &out->adapters[i]));
    }
    const mgi_json *text = mgi_json_find(root, "text");
    if (text && text->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"text\" must be an object of roles");
    if (text)
        MGI_TRY(mgi_json_only_keys(ctx, text, text_keys));
    for (int i = 0; text && i < MGI_ROLES; i++)
        MGI_TRY(read_name(ctx, text, mgi_role_key[i], out->text[i]));
    MGI_TRY(mgi_json_get_int(ctx, root, "width", true, 8, 16384, &out->clip.width));
    MGI_TRY(mgi_json_get_int(ctx, root, "height", true, 8, 16384, &out->clip.height));
    MGI_TRY(mgi_json_get_int(ctx, root, "frames", true, 1, 65536, &out->clip.frames));
    return mgi_json_get_int(ctx, root, "fps", true, 1, 240, &out->clip.fps);
}

mgen_status mgi_pipeline_file_read(mgen_context *ctx, const char *dir, const char *name,
                                   mgi_pipeline_file *out)
{
    char file[MGI_NAME_MAX + 1];
    mgi_file text;
    mgi_json *root = NULL;
    memset(out, 0, sizeof *out);
    snprintf(file, sizeof file, "%.200s.json", name);
    mgen_status status = mgi_file_open_in(ctx, dir, file, &text);
    if (status == MGEN_E_NOT_FOUND && access(dir, F_OK) == 0)
        return mgi_fail_context(
            ctx, status, "'%s' is no model folder, or no video model was trained in it yet", dir);
    MGI_TRY(status);
    status = mgi_json_parse(ctx, file, (const char *)text.data, text.size, &root);
    mgi_file_close(ctx, &text);
    if (status == MGEN_OK)
        status = read_root(ctx, root, out);
    mgi_json_free(ctx, root);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s/%s", dir, file);
}

/* With the files of a model; "": there is none. */
static uint64_t stamp_with(uint64_t hash, const char *dir, const char *model)
{
    char json[MGI_NAME_MAX + 16], weights[MGI_NAME_MAX + 16];
    const char *const names[] = {json, weights};
    if (!*model)
        return hash;
    snprintf(json, sizeof json, "%s.json", model);
    snprintf(weights, sizeof weights, "%s.safetensors", model);
    const uint64_t stamp = mgi_files_stamp(dir, names, 2);
    return mgi_hash64(&stamp, sizeof stamp, hash);
}

uint64_t mgi_pipeline_stamp(const char *dir, const char *name, const mgi_pipeline_file *file)
{
    char own[MGI_NAME_MAX + 16];
    const char *const names[] = {own};
    snprintf(own, sizeof own, "%.200s.json", name);
    uint64_t hash = mgi_files_stamp(dir, names, 1);
    hash = stamp_with(hash, dir, file->tae);
    hash = stamp_with(hash, dir, file->rewriter);
    for (int i = 0; i < MGI_ROLES; i++)
        hash = stamp_with(hash, dir, file->text[i]);
    for (int i = 0; i < MGI_ADAPTED_KINDS; i++) {
        const mgi_adapters *a = &file->adapters[i];
        hash = stamp_with(hash, dir, (const char *)file + model_at[i]);
        for (int64_t k = 0; k < a->count; k++)
            hash = stamp_with(hash, dir, a->list[k].name);
    }
    return hash;
}

static void put_adapters(mgi_json_writer *w, const char *key, const mgi_adapters *a)
{
    if (!a->count)
        return;
    mgi_json_open(w, key, '[');
    for (int64_t i = 0; i < a->count; i++) {
        mgi_json_open(w, NULL, '{');
        mgi_json_put_string(w, "name", a->list[i].name);
        mgi_json_put_real(w, "scale", a->list[i].scale);
        mgi_json_close(w, '}');
    }
    mgi_json_close(w, ']');
}

mgen_status mgi_pipeline_file_write(mgen_context *ctx, const char *dir, const char *name,
                                    const mgi_pipeline_file *p)
{
    char file[MGI_NAME_MAX + 1], path[MGI_PATH_MAX + 1];
    mgi_json_writer w;
    snprintf(file, sizeof file, "%.200s.json", name);
    MGI_TRY(mgi_path_join(ctx, dir, file, path, sizeof path));
    mgi_json_writer_init(&w, ctx, 2);
    mgi_json_open(&w, NULL, '{');
    mgi_json_put_string(&w, "format", "moviegen-pipeline");
    mgi_json_put_int(&w, "version", 1);
    mgi_json_put_string(&w, "tae", p->tae);
    mgi_json_open(&w, "text", '{');
    for (int i = 0; i < MGI_ROLES; i++)
        if (p->text[i][0])
            mgi_json_put_string(&w, mgi_role_key[i], p->text[i]);
    mgi_json_close(&w, '}');
    for (int i = 0; i < MGI_ADAPTED_KINDS; i++) {
        const char *model = (const char *)p + model_at[i];
        if (*model || i == MGI_ADAPTED_VIDEO)
            mgi_json_put_string(&w, mgi_adapted[i].key, model);
        put_adapters(&w, mgi_adapted[i].list, &p->adapters[i]);
    }
    if (p->rewriter[0])
        mgi_json_put_string(&w, "rewriter", p->rewriter);
    mgi_json_put_int(&w, "width", p->clip.width);
    mgi_json_put_int(&w, "height", p->clip.height);
    mgi_json_put_int(&w, "frames", p->clip.frames);
    mgi_json_put_int(&w, "fps", p->clip.fps);
    mgi_json_close(&w, '}');
    return mgi_json_save(&w, path);
}

/* -- networks --------------------------------------------------------------------------------- */

mgen_status mgi_tae_open(mgen_context *ctx, const char *dir, const char *name, mgi_tae *out,
                         uint64_t *hash)
{
    mgi_model_file f;
    mgi_tae_config config;
    if (mgi_model_is_folder(ctx, dir, name))
        return mgi_tae_diffusers_network(ctx, dir, name, out, hash);
    memset(out, 0, sizeof *out);
    MGI_TRY(mgi_model_file_open(ctx, dir, name, "tae", &f));
    mgen_status status = mgi_tae_config_read(ctx, f.config, &config);
    if (status != MGEN_OK)
        status = mgi_fail_context(ctx, status, "%s/%s", dir, f.json_name);
    else if ((status = mgi_model_file_fits(ctx, mgi_tae_fits, &config, &f)) == MGEN_OK &&
             (status = mgi_tae_init(out, ctx, &config)) == MGEN_OK)
        status = mgi_module_load(&out->module, &f.weights, f.weights_name, false);
    *hash = f.hash;
    if (status != MGEN_OK)
        mgi_tae_finish(out);
    mgi_model_file_close(ctx, &f);
    return status;
}

static mgen_status vt_fits(mgen_context *shapes, const void *config, const void *model)
{
    const mgi_model_file *file = model;
    mgi_vt network;
    MGI_TRY(mgi_vt_init(&network, shapes, config));
    mgen_status status = mgi_module_fits(&network.module, &file->weights, file->weights_name);
    mgi_vt_finish(&network);
    return status;
}

mgen_status mgi_vt_open(mgen_context *ctx, const char *dir, const char *name, mgi_vt *out,
                        uint64_t *hash)
{
    return mgi_vt_open_mesh(ctx, dir, name, NULL, NULL, out, hash);
}

/* The network of a configuration, with the weights of its file. */
static mgen_status load_vt(mgen_context *ctx, const mgi_model_file *f, const mgi_vt_config *config,
                           const mgi_mesh *mesh, mgi_vt *out)
{
    MGI_TRY(mgi_model_file_fits(ctx, vt_fits, config, f));
    if (ctx->device->hold == MGI_HOLD_AS_FILE)
        ctx->device->hold = config->precision;
    MGI_TRY(mgi_vt_init_mesh(out, ctx, config, mesh));
    return mgi_module_load(&out->module, &f->weights, f->weights_name, false);
}

/* Whether every rank of a mesh has all that it computes with. */
static mgen_status check_mesh(mgen_context *ctx, const mgi_mesh *mesh)
{
    return !mesh || mesh->shape.shard <= 1
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                          "the mesh divides parameters (shard=%d), which only training gathers "
                          "again; for films and sounds take a mesh without shards",
                          mesh->shape.shard);
}

/* What a transformer is opened with: adapters or NULL, and a mesh or NULL. */
typedef struct opening {
    const mgi_adapters *adapters;
    const mgi_mesh *mesh;
} opening;

/* The transformer of an open file whose configuration was read with `status`. */
static mgen_status load_transformer(mgen_context *ctx, const char *dir, const mgi_model_file *f,
                                    mgen_status status, const mgi_vt_config *config, opening with,
                                    mgi_vt *out, uint64_t *hash)
{
    *hash = f->hash;
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "%s/%s", dir, f->json_name);
    MGI_TRY(check_mesh(ctx, with.mesh));
    MGI_TRY(load_vt(ctx, f, config, with.mesh, out));
    return mgi_adapters_merge(ctx, dir, with.adapters, f, out, hash);
}

/* The same, which closes the file. */
static mgen_status take_transformer(mgen_context *ctx, const char *dir, mgi_model_file *f,
                                    mgen_status status, const mgi_vt_config *config, opening with,
                                    mgi_vt *out, uint64_t *hash)
{
    status = load_transformer(ctx, dir, f, status, config, with, out, hash);
    mgi_model_file_close(ctx, f);
    return status;
}

mgen_status mgi_vt_open_mesh(mgen_context *ctx, const char *dir, const char *name,
                             const mgi_adapters *adapters, const mgi_mesh *mesh, mgi_vt *out,
                             uint64_t *hash)
{
    mgi_model_file f;
    mgi_vt_config config;
    memset(out, 0, sizeof *out);
    MGI_TRY(mgi_model_file_open(ctx, dir, name, mgi_adapted[MGI_ADAPTED_VIDEO].model, &f));
    mgen_status status = mgi_vt_config_read(ctx, f.config, &config);
    status = take_transformer(ctx, dir, &f, status, &config, (opening){adapters, mesh}, out, hash);
    if (status != MGEN_OK)
        mgi_vt_finish(out);
    return status;
}

static mgen_status open_upsampler(mgen_context *ctx, const char *dir, const char *name,
                                  opening with, void *to, uint64_t *hash)
{
    mgi_upsampler *out = to;
    mgi_model_file f;
    uint64_t tae = 0;
    MGI_TRY(mgi_model_file_open(ctx, dir, name, MGI_UPSAMPLER_KIND, &f));
    mgen_status status = mgi_upsampler_config_read(ctx, f.config, &out->config);
    status = take_transformer(ctx, dir, &f, status, &out->config.video, with, &out->video, hash);
    if (status == MGEN_OK)
        status = mgi_tae_open(ctx, dir, out->config.tae, &out->tae, &tae);
    *hash = mgi_hash64(&tae, sizeof tae, *hash);
    if (status == MGEN_OK && out->tae.config.latent_channels != out->config.video.channels)
        status = mgi_fail(ctx, MGEN_E_CORRUPT,
                          "%s/%s.json: the autoencoder \"%s\" has %lld latent channels, but the "
                          "upsampler takes %lld",
                          dir, name, out->config.tae, (long long)out->tae.config.latent_channels,
                          (long long)out->config.video.channels);
    return status;
}

/* A model of several files as those of one save: opened again when its own were replaced meanwhile. */
typedef struct several {
    mgen_status (*load)(mgen_context *ctx, const char *dir, const char *name, opening with,
                        void *out, uint64_t *hash);
    void (*finish)(void *out);
} several;

static mgen_status open_of_one_save(mgen_context *ctx, const char *dir, const char *name,
                                    opening with, several of, void *out, uint64_t *hash)
{
    char json[MGI_NAME_MAX + 16], weights[MGI_NAME_MAX + 16];
    const char *const names[] = {json, weights};
    const int hold = ctx->device->hold;
    mgen_status status = MGEN_OK;
    mgi_message before;
    snprintf(json, sizeof json, "%.240s.json", name);
    snprintf(weights, sizeof weights, "%.240s.safetensors", name);
    mgi_quiet_begin(ctx, &before);
    bool whole = false;
    for (int i = 0; i < MGI_READ_TRIES && !whole; i++) {
        of.finish(out);
        ctx->device->hold = hold;
        uint64_t stamp = mgi_files_stamp(dir, names, 2);
        status = of.load(ctx, dir, name, with, out, hash);
        whole = !mgi_may_be_replaced(status) || stamp == mgi_files_stamp(dir, names, 2);
    }
    if (!whole)
        status = mgi_fail(ctx, MGEN_E_IO, "%s/%s: others keep saving it", dir, json);
    mgi_quiet_end(ctx, &before, status == MGEN_OK);
    if (status != MGEN_OK)
        of.finish(out);
    return status;
}

static void finish_upsampler(void *upsampler)
{
    mgi_upsampler_finish(upsampler);
}

mgen_status mgi_upsampler_open(mgen_context *ctx, const char *dir, const char *name,
                               mgi_upsampler *out, uint64_t *hash)
{
    return mgi_upsampler_open_mesh(ctx, dir, name, NULL, NULL, out, hash);
}

mgen_status mgi_upsampler_open_mesh(mgen_context *ctx, const char *dir, const char *name,
                                    const mgi_adapters *adapters, const mgi_mesh *mesh,
                                    mgi_upsampler *out, uint64_t *hash)
{
    memset(out, 0, sizeof *out);
    return open_of_one_save(ctx, dir, name, (opening){adapters, mesh},
                            (several){open_upsampler, finish_upsampler}, out, hash);
}

void mgi_upsampler_finish(mgi_upsampler *u)
{
    mgi_vt_finish(&u->video);
    mgi_tae_finish(&u->tae);
}

mgen_status mgi_editor_open(mgen_context *ctx, const char *dir, const char *name, mgi_editor *out,
                            uint64_t *hash)
{
    return mgi_editor_open_mesh(ctx, dir, name, NULL, NULL, out, hash);
}

mgen_status mgi_editor_open_mesh(mgen_context *ctx, const char *dir, const char *name,
                                 const mgi_adapters *adapters, const mgi_mesh *mesh,
                                 mgi_editor *out, uint64_t *hash)
{
    mgi_model_file f;
    memset(out, 0, sizeof *out);
    MGI_TRY(mgi_model_file_open(ctx, dir, name, MGI_EDITOR_KIND, &f));
    mgen_status status = mgi_editor_config_read(ctx, f.config, &out->config);
    status = take_transformer(ctx, dir, &f, status, &out->config.video, (opening){adapters, mesh},
                              &out->video, hash);
    if (status != MGEN_OK)
        mgi_editor_finish(out);
    return status;
}

void mgi_editor_finish(mgi_editor *editor)
{
    mgi_vt_finish(&editor->video);
}

/* -- the personalizer --------------------------------------------------------------------------- */

/* `name`: of the encoder. */
static mgen_status check_vision(mgen_context *ctx, const char *name, const mgi_vt_config *v,
                                const mgi_clip_vision *vision)
{
    return vision->config.dim == v->reference
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT,
                          "the image encoder \"%s\" is %lld wide (\"dim\"), but the transformer "
                          "takes %lld (\"reference_width\")",
                          name, (long long)vision->config.dim, (long long)v->reference);
}

static mgen_status open_personalizer(mgen_context *ctx, const char *dir, const char *name,
                                     opening with, void *to, uint64_t *hash)
{
    mgi_personalizer *out = to;
    mgi_model_file f;
    uint64_t vision = 0;
    MGI_TRY(mgi_model_file_open(ctx, dir, name, MGI_PERSONALIZER_KIND, &f));
    mgen_status status = mgi_personalizer_config_read(ctx, f.config, &out->config);
    status = take_transformer(ctx, dir, &f, status, &out->config.video, with, &out->video, hash);
    if (status == MGEN_OK)
        status = mgi_clip_vision_open(ctx, dir, out->config.vision, &out->vision, &vision);
    *hash = mgi_hash64(&vision, sizeof vision, *hash);
    MGI_TRY(status);
    status = check_vision(ctx, out->config.vision, &out->config.video, &out->vision);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s/%s.json", dir, name);
}

static void finish_personalizer(void *personalizer)
{
    mgi_personalizer_finish(personalizer);
}

mgen_status mgi_personalizer_open(mgen_context *ctx, const char *dir, const char *name,
                                  mgi_personalizer *out, uint64_t *hash)
{
    return mgi_personalizer_open_mesh(ctx, dir, name, NULL, NULL, out, hash);
}

mgen_status mgi_personalizer_open_mesh(mgen_context *ctx, const char *dir, const char *name,
                                       const mgi_adapters *adapters, const mgi_mesh *mesh,
                                       mgi_personalizer *out, uint64_t *hash)
{
    memset(out, 0, sizeof *out);
    return open_of_one_save(ctx, dir, name, (opening){adapters, mesh},
                            (several){open_personalizer, finish_personalizer}, out, hash);
}

void mgi_personalizer_finish(mgi_personalizer *p)
{
    mgi_vt_finish(&p->video);
    mgi_clip_vision_finish(&p->vision);
}

/* -- the audio model ---------------------------------------------------------------------------- */

mgen_status mgi_audio_check(mgen_context *ctx, const mgi_audio *a)
{
    const mgi_vt_config *v = &a->config.transformer;
    const int64_t channels = a->codec.config.latent_channels, text = mgi_text_width(&a->text);
    const int64_t seen = v->features ? mgi_clip_vision_width(&a->vision.config) : 0;
    if (channels != v->channels)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "the codec \"%s\" has %lld latent channels, but the transformer takes %lld",
                        a->config.codec, (long long)channels, (long long)v->channels);
    if (text != v->text[MGI_ROLE_UL2])
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "the text encoder \"%s\" is %lld wide, but the transformer takes %lld",
                        a->config.text, (long long)text, (long long)v->text[MGI_ROLE_UL2]);
    return seen == v->features
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT,
                          "the image encoder \"%s\" is %lld wide, but the transformer takes %lld "
                          "(\"frame_features\")",
                          a->config.vision, (long long)seen, (long long)v->features);
}

static mgen_status open_audio(mgen_context *ctx, const char *dir, const char *name, opening with,
                              void *to, uint64_t *hash)
{
    mgi_audio *out = to;
    mgi_model_file f;
    uint64_t parts[3] = {0};
    MGI_TRY(mgi_model_file_open(ctx, dir, name, MGI_AUDIO_KIND, &f));
    mgen_status status = mgi_audio_config_read(ctx, f.config, &out->config);
    status = take_transformer(ctx, dir, &f, status, &out->config.transformer, with,
                              &out->transformer, hash);
    MGI_TRY(status);
    MGI_TRY(mgi_audio_codec_open(ctx, dir, out->config.codec, &out->codec, &parts[0]));
    MGI_TRY(mgi_text_encoder_open(ctx, dir, out->config.text, &out->text, &parts[1]));
    if (out->config.vision[0])
        MGI_TRY(mgi_clip_vision_open(ctx, dir, out->config.vision, &out->vision, &parts[2]));
    *hash = mgi_hash64(parts, sizeof parts, *hash);
    status = mgi_audio_check(ctx, out);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s/%s.json", dir, name);
}

static void finish_audio(void *audio)
{
    mgi_audio_finish(audio);
}

mgen_status mgi_audio_open(mgen_context *ctx, const char *dir, const char *name,
                           const mgi_adapters *adapters, const mgi_mesh *mesh, mgi_audio *out,
                           uint64_t *hash)
{
    memset(out, 0, sizeof *out);
    return open_of_one_save(ctx, dir, name, (opening){adapters, mesh},
                            (several){open_audio, finish_audio}, out, hash);
}

void mgi_audio_finish(mgi_audio *a)
{
    mgi_vt_finish(&a->transformer);
    mgi_audio_codec_finish(&a->codec);
    mgi_text_encoder_finish(&a->text);
    mgi_clip_vision_finish(&a->vision);
}

int mgi_text_rank(const mgi_mesh *mesh, int role)
{
    return role % mgi_comm_size(mesh->group[MGI_AXIS_WORLD]);
}

bool mgi_runs_text(const mgi_mesh *mesh, int role)
{
    return !mesh || mgi_comm_rank(mesh->group[MGI_AXIS_WORLD]) == mgi_text_rank(mesh, role);
}

int64_t mgi_networks_latents(const mgi_networks *n, int64_t frames)
{
    return n->upsampler ? frames : mgi_tae_latent_frames(&n->tae->config, frames);
}

int64_t mgi_networks_window(const mgi_networks *n, int64_t *overlap)
{
    int64_t frames = n->upsampler ? n->upsampler->frames : mgi_networks_latents(n, n->clip.frames);
    *overlap = n->upsampler ? n->upsampler->overlap : frames / 2;
    return frames;
}

mgen_status mgi_networks_check(mgen_context *ctx, const mgi_networks *n)
{
    const mgi_tae_config *a = &n->tae->config;
    const mgi_vt_config *v = &n->video->config;
    int64_t f = mgi_tae_factor(a), t = mgi_networks_latents(n, n->clip.frames);
    if (a->latent_channels != v->channels)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "the TAE has %lld latent channels, but the video model takes %lld",
                        (long long)a->latent_channels, (long long)v->channels);
    if (!v->condition != !(n->upsampler || n->editor) || !v->tasks != !n->editor)
        return mgi_fail(
            ctx, MGEN_E_CORRUPT,
            "the video model sees %lld channels of another film and is told %lld tasks: "
            "it is that of an upsampler or an editor",
            (long long)v->condition, (long long)v->tasks);
    if (v->reference && !n->personalizer)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "the video model sees photos, whose tokens are %lld wide: it is that of "
                        "a personalizer",
                        (long long)v->reference);
    if (n->personalizer)
        MGI_TRY(check_vision(ctx, n->personalizer->vision, v, n->vision));
    for (int i = 0; i < MGI_ROLES; i++) {
        if (!n->text[i] && !mgi_runs_text(n->video->mesh, i))
            continue;
        int64_t width = n->text[i] ? mgi_text_width(n->text[i]) : 0;
        if (width != v->text[i])
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "the text encoder of role %s is %lld wide, but the video model takes "
                            "%lld (0: none)",
                            mgi_role_title[i], (long long)width, (long long)v->text[i]);
    }
    if (n->clip.width % (f * v->patch_w) || n->clip.height % (f * v->patch_h) || t % v->patch_t ||
        n->clip.width / (f * v->patch_w) > v->columns_max ||
        n->clip.height / (f * v->patch_h) > v->rows_max || t / v->patch_t > v->frames_max)
        return mgi_fail(
            ctx, MGEN_E_CORRUPT, "clips of %lld x %lld x %lld frames do not fit the video model",
            (long long)n->clip.width, (long long)n->clip.height, (long long)n->clip.frames);
    return MGEN_OK;
}
