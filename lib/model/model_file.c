/* SPDX-License-Identifier: MIT */
#include "model/model_file.h"

#include "core/hash.h"
#include "core/quiet.h"
#include "tensor/device.h"

#include <stdio.h>
#include <string.h>

static mgen_status check_root(mgen_context *ctx, const mgi_json *root, const char *kind)
{
    static const char *const keys[] = {"format", "version", "kind", "config", NULL};
    const char *text = NULL;
    int64_t version = 0;
    if (root->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "is not a JSON object");
    MGI_TRY(mgi_json_only_keys(ctx, root, keys));
    MGI_TRY(mgi_json_get_string(ctx, root, "format", true, &text));
    if (strcmp(text, "moviegen-model"))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"format\" is \"%.40s\", not \"moviegen-model\"",
                        text);
    MGI_TRY(mgi_json_get_int(ctx, root, "version", true, 1, INT32_MAX, &version));
    if (version > 1)
        return mgi_fail(ctx, MGEN_E_VERSION, "\"version\" is %lld; this library reads 1; update it",
                        (long long)version);
    MGI_TRY(mgi_json_get_string(ctx, root, "kind", true, &text));
    if (kind && strcmp(text, kind))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"kind\" is \"%.40s\", not \"%s\"", text, kind);
    return MGEN_OK;
}

static mgen_status open_both(mgen_context *ctx, const char *dir, const char *kind,
                             mgi_model_file *out)
{
    mgi_file text = {0};
    MGI_TRY(mgi_file_open_in(ctx, dir, out->json_name, &text));
    mgen_status status =
        mgi_json_parse(ctx, out->json_name, (const char *)text.data, text.size, &out->root);
    mgi_file_close(ctx, &text);
    if (status != MGEN_OK)
        return status;
    status = check_root(ctx, out->root, kind);
    if (status == MGEN_OK) {
        out->config = mgi_json_find(out->root, "config");
        if (!out->config || out->config->kind != MGI_JSON_OBJECT)
            status = mgi_fail(ctx, MGEN_E_CORRUPT, "\"config\" must be an object");
    }
    return status == MGEN_OK ? mgi_st_open(ctx, dir, out->weights_name, &out->weights)
                             : mgi_fail_context(ctx, status, "%s/%s", dir, out->json_name);
}

static void close_both(mgen_context *ctx, mgi_model_file *file)
{
    mgi_st_close(ctx, &file->weights);
    mgi_json_free(ctx, file->root);
    file->root = NULL;
    memset(&file->weights, 0, sizeof file->weights);
}

mgen_status mgi_model_file_open(mgen_context *ctx, const char *dir, const char *name,
                                const char *kind, mgi_model_file *out)
{
    const char *const names[] = {out->json_name, out->weights_name};
    mgen_status status = MGEN_OK;
    mgi_message before;
    memset(out, 0, sizeof *out);
    if (strlen(name) > MGI_NAME_MAX - 16)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "a model's name is longer than %d bytes",
                        MGI_NAME_MAX - 16);
    snprintf(out->json_name, sizeof out->json_name, "%s.json", name);
    snprintf(out->weights_name, sizeof out->weights_name, "%s.safetensors", name);
    mgi_quiet_begin(ctx, &before);
    bool whole = false; /* both of one save */
    for (int i = 0; i < MGI_READ_TRIES && !whole; i++) {
        close_both(ctx, out);
        uint64_t stamp = mgi_files_stamp(dir, names, 2);
        status = open_both(ctx, dir, kind, out);
        whole = !mgi_may_be_replaced(status) || stamp == mgi_files_stamp(dir, names, 2);
    }
    if (!whole)
        status = mgi_fail(ctx, MGEN_E_IO, "%s/%s: others keep saving it", dir, out->json_name);
    mgi_quiet_end(ctx, &before, status == MGEN_OK);
    if (status == MGEN_OK)
        status = mgi_reader_hash(ctx, out->weights.file, 0, &out->hash);
    if (status != MGEN_OK)
        mgi_model_file_close(ctx, out);
    return status;
}

void mgi_model_file_close(mgen_context *ctx, mgi_model_file *file)
{
    mgi_st_close(ctx, &file->weights);
    mgi_json_free(ctx, file->root);
    memset(file, 0, sizeof *file);
}

bool mgi_model_is_folder(mgen_context *ctx, const char *dir, const char *name)
{
    char file[MGI_NAME_MAX + 1], folder[MGI_PATH_MAX + 1];
    uint64_t size;
    mgi_message before;
    snprintf(file, sizeof file, "%.240s.json", name);
    mgi_quiet_begin(ctx, &before);
    mgen_status status = mgi_file_size(ctx, dir, file, &size);
    const bool is = status == MGEN_E_NOT_FOUND &&
                    mgi_folder_in(ctx, dir, name, folder, sizeof folder) != MGEN_E_NOT_FOUND;
    mgi_quiet_end(ctx, &before, true); /* whoever opens it says what is wrong */
    return is;
}

mgen_status mgi_model_json_if(mgen_context *ctx, const char *dir, const char *name, mgi_json **root,
                              uint64_t *hash)
{
    mgi_message before;
    *root = NULL;
    mgi_quiet_begin(ctx, &before);
    mgen_status status = mgi_model_json(ctx, dir, name, root, hash);
    const bool good = status == MGEN_OK || status == MGEN_E_NOT_FOUND;
    mgi_quiet_end(ctx, &before, good);
    return good ? MGEN_OK : status;
}

mgen_status mgi_model_json(mgen_context *ctx, const char *dir, const char *name, mgi_json **root,
                           uint64_t *hash)
{
    mgi_file text;
    MGI_TRY(mgi_file_open_in(ctx, dir, name, &text));
    mgen_status status = mgi_json_parse(ctx, name, (const char *)text.data, text.size, root);
    if (status == MGEN_OK)
        *hash = mgi_hash64(text.data, text.size, *hash);
    mgi_file_close(ctx, &text);
    return status;
}

mgen_status mgi_model_told(mgen_context *ctx, const char *dir, const char *name,
                           mgi_model_reader *read, void *out)
{
    char file[MGI_NAME_MAX + 1];
    mgi_json *root;
    uint64_t unused = 0;
    snprintf(file, sizeof file, "%.240s.json", name);
    MGI_TRY(mgi_model_json(ctx, dir, file, &root, &unused));
    mgen_status status = root->kind == MGI_JSON_OBJECT
                             ? read(ctx, root, out)
                             : mgi_fail(ctx, MGEN_E_CORRUPT, "is not a JSON object");
    mgi_json_free(ctx, root);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s", file);
}

mgen_status mgi_model_file_fits(mgen_context *ctx, mgi_fit_check *check, const void *config,
                                const void *file)
{
    mgen_context *shapes;
    MGI_TRY(mgi_context_private(ctx, &shapes));
    mgen_status status = mgi_device_create_meta(shapes, ctx->device);
    if (status == MGEN_OK)
        status = check(shapes, config, file);
    if (status != MGEN_OK)
        mgi_fail_from(ctx, status, shapes);
    mgi_context_free(shapes);
    return status;
}

/* A configuration as it is read back. */
static mgen_status config_json(mgen_context *ctx, mgi_config_writer *write, const void *config,
                               mgi_json **out)
{
    mgi_json_writer w;
    const char *text;
    size_t size;
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_open(&w, NULL, '{');
    write(&w, config);
    mgi_json_close(&w, '}');
    mgen_status status = mgi_json_text(&w, &text, &size);
    if (status == MGEN_OK)
        status = mgi_json_parse(ctx, "configuration", text, size, out);
    mgi_json_writer_free(&w);
    return status;
}

mgen_status mgi_config_difference(mgen_context *ctx, mgi_config_writer *write, const void *a,
                                  const void *b, char *out, size_t size)
{
    mgi_json *x = NULL, *y = NULL;
    mgen_status status = config_json(ctx, write, a, &x);
    if (status == MGEN_OK)
        status = config_json(ctx, write, b, &y);
    if (status == MGEN_OK)
        mgi_json_difference(x, y, out, size);
    mgi_json_free(ctx, x);
    mgi_json_free(ctx, y);
    return status;
}

static mgen_status write_json(mgen_context *ctx, const char *path, const char *kind,
                              mgi_config_writer *write_config, const void *config)
{
    mgi_json_writer w;
    mgi_json_writer_init(&w, ctx, 2);
    mgi_json_open(&w, NULL, '{');
    mgi_json_put_string(&w, "format", "moviegen-model");
    mgi_json_put_int(&w, "version", 1);
    mgi_json_put_string(&w, "kind", kind);
    mgi_json_open(&w, "config", '{');
    write_config(&w, config);
    mgi_json_close(&w, '}');
    mgi_json_close(&w, '}');
    return mgi_json_save(&w, path);
}

mgen_status mgi_model_file_save(mgen_context *ctx, const char *dir, const char *name,
                                const char *kind, mgi_config_writer *write_config,
                                const void *config, mgi_module *module, mgi_st_dtype store)
{
    char file[MGI_NAME_MAX + 1], path[MGI_PATH_MAX + 1];
    MGI_TRY(mgi_dir_make(ctx, dir));
    snprintf(file, sizeof file, "%s.safetensors", name);
    MGI_TRY(mgi_path_join(ctx, dir, file, path, sizeof path));
    MGI_TRY(mgi_module_save(module, path, true, store));
    snprintf(file, sizeof file, "%s.json", name);
    MGI_TRY(mgi_path_join(ctx, dir, file, path, sizeof path));
    return write_json(ctx, path, kind, write_config, config);
}
