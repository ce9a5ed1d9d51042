/* SPDX-License-Identifier: MIT */
#include "train/checkpoint_shards.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "dist/comm_engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MORE = 3 /* members beside the head's */ };

const char *const mgi_shard_field[MGI_SHARD_FIELDS] = {"format", "version", "save",
                                                       "rank",   "layout",  "check"};

void mgi_shard_name(const char *save, int64_t rank, char out[MGI_SHARD_NAME])
{
    snprintf(out, MGI_SHARD_NAME, "%s-%" PRId64 ".safetensors", save, rank);
}

uint64_t mgi_shard_hash(const char *const text[MGI_SHARD_FIELDS])
{
    uint64_t hash = 0;
    for (int i = 0; i < MGI_SHARD_CHECK; i++)
        hash = mgi_hash64(text[i], strlen(text[i]) + 1, hash);
    return hash;
}

static uint64_t check_of(const mgi_manifest *m)
{
    uint64_t hash = mgi_head_hash(&m->head);
    hash = mgi_hash64(m->mesh, strlen(m->mesh) + 1, hash);
    hash = mgi_hash64(m->save, strlen(m->save) + 1, hash);
    for (int64_t i = 0; i < m->shards; i++) {
        const mgi_shard *s = &m->shard[i];
        const int64_t numbers[2] = {s->rank, s->bytes};
        hash = mgi_hash64(numbers, sizeof numbers, hash);
        hash = mgi_hash64(s->check, strlen(s->check) + 1, hash);
    }
    return hash;
}

/* ---- writing ------------------------------------------------------------------------------------- */

void mgi_manifest_write(mgi_json_writer *w, mgi_manifest *m)
{
    snprintf(m->head.text[MGI_HEAD_CHECK], MGI_HEAD_TEXT, "%016" PRIx64, check_of(m));
    mgi_json_open(w, NULL, '{');
    for (int i = 0; i < MGI_HEAD_FIELDS; i++)
        mgi_json_put_string(w, mgi_head_field[i], m->head.text[i]);
    mgi_json_put_string(w, "mesh", m->mesh);
    mgi_json_put_string(w, "save", m->save);
    mgi_json_open(w, "shards", '[');
    for (int64_t i = 0; i < m->shards; i++) {
        mgi_json_open(w, NULL, '{');
        mgi_json_put_int(w, "rank", m->shard[i].rank);
        mgi_json_put_int(w, "bytes", m->shard[i].bytes);
        mgi_json_put_string(w, "check", m->shard[i].check);
        mgi_json_close(w, '}');
    }
    mgi_json_close(w, ']');
    mgi_json_close(w, '}');
}

void mgi_manifest_free(mgen_context *ctx, mgi_manifest *m)
{
    mgi_free(ctx, m->shard);
    m->shard = NULL;
    m->shards = 0;
}

/* ---- reading ------------------------------------------------------------------------------------- */

static bool is_hex(const char *text)
{
    return strlen(text) == MGI_SAVE_ID - 1 && !text[strspn(text, "0123456789abcdef")];
}

static mgen_status read_number(mgen_context *ctx, const mgi_json *object, const char *key,
                               char out[MGI_SAVE_ID])
{
    const char *text = "";
    MGI_TRY(mgi_json_get_string(ctx, object, key, true, &text));
    if (!is_hex(text))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" is \"%.40s\", not 16 hexadecimal digits", key,
                        text);
    memcpy(out, text, MGI_SAVE_ID);
    return MGEN_OK;
}

/* How many ranks the mesh has. */
static mgen_status read_mesh(mgen_context *ctx, const mgi_json *root, mgi_manifest *m,
                             int64_t *ranks)
{
    const char *text = "";
    mgi_mesh_shape shape;
    MGI_TRY(mgi_json_get_string(ctx, root, "mesh", true, &text));
    if (strlen(text) >= sizeof m->mesh)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"mesh\" is longer than %d bytes", MGI_MESH_TEXT - 1);
    strcpy(m->mesh, text);
    if (mgi_mesh_parse(ctx, text, &shape) != MGEN_OK)
        return mgi_fail_context(ctx, MGEN_E_CORRUPT, "\"mesh\"");
    *ranks = (int64_t)shape.dp * shape.cp * shape.tp; /* each at most 65536 */
    return *ranks <= MGI_COMM_RANKS_MAX
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT, "\"mesh\" is \"%s\", of more than %d ranks", text,
                          MGI_COMM_RANKS_MAX);
}

static mgen_status read_shard(mgen_context *ctx, const mgi_json *object, int64_t first,
                              int64_t ranks, mgi_shard *out)
{
    static const char *const keys[] = {"rank", "bytes", "check", NULL};
    if (object->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"shards\" has what is no object");
    MGI_TRY(mgi_json_only_keys(ctx, object, keys));
    MGI_TRY(mgi_json_get_int(ctx, object, "rank", true, first, ranks - 1, &out->rank));
    MGI_TRY(mgi_json_get_int(ctx, object, "bytes", true, 1, (int64_t)MGI_FILE_MAX, &out->bytes));
    return read_number(ctx, object, "check", out->check);
}

static mgen_status read_shards(mgen_context *ctx, const mgi_json *root, int64_t ranks,
                               mgi_manifest *m)
{
    const mgi_json *list = mgi_json_find(root, "shards");
    if (!list || list->kind != MGI_JSON_ARRAY || list->i < 1 || list->i > ranks)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"shards\" must be a list of 1 to %" PRId64 " shards: the mesh is \"%s\"",
                        ranks, m->mesh);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)list->i, sizeof *m->shard, &m->shard));
    int64_t next = 0;
    for (const mgi_json *s = list->child; s; s = s->next) {
        mgi_shard *out = &m->shard[m->shards++];
        MGI_TRY(read_shard(ctx, s, next, ranks, out));
        next = out->rank + 1;
    }
    return MGEN_OK;
}

static mgen_status read_root(mgen_context *ctx, const mgi_json *root, mgi_manifest *m)
{
    char check[MGI_SAVE_ID];
    int64_t ranks = 0;
    if (root->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "is no JSON object");
    MGI_TRY(mgi_head_read(ctx, root, MORE, &m->head));
    MGI_TRY(read_mesh(ctx, root, m, &ranks));
    MGI_TRY(read_number(ctx, root, "save", m->save));
    MGI_TRY(read_shards(ctx, root, ranks, m));
    snprintf(check, sizeof check, "%016" PRIx64, check_of(m));
    if (strcmp(check, m->head.text[MGI_HEAD_CHECK]))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "is damaged: what it says has the hash %s, not %s, which it gives; go on "
                        "from an older one",
                        check, m->head.text[MGI_HEAD_CHECK]);
    return MGEN_OK;
}

mgen_status mgi_manifest_parse(mgen_context *ctx, const char *text, size_t size, mgi_manifest *out)
{
    mgi_json *root = NULL;
    memset(out, 0, sizeof *out);
    mgen_status status = mgi_json_parse(ctx, MGI_MANIFEST, text, size, &root);
    if (status == MGEN_OK)
        status = read_root(ctx, root, out);
    mgi_json_free(ctx, root);
    if (status != MGEN_OK)
        mgi_manifest_free(ctx, out);
    return status;
}

mgen_status mgi_manifest_read(mgen_context *ctx, const char *path, mgi_manifest *out)
{
    mgi_file text;
    MGI_TRY(mgi_file_open_in(ctx, path, MGI_MANIFEST, &text));
    mgen_status status = mgi_manifest_parse(ctx, (const char *)text.data, text.size, out);
    mgi_file_close(ctx, &text);
    return status;
}
