/* SPDX-License-Identifier: MIT */
#include "train/kept.h"

#include "core/hash.h"
#include "io/path.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PIECE = 4096 }; /* values */

/* Of the parts, one behind the other, as hexadecimal digits. */
static void put_check(uint64_t hash, char out[32])
{
    snprintf(out, 32, "%016" PRIx64, hash);
}

static bool fits(const mgi_st_entry *e, mgi_st_source *part)
{
    if (!e || e->dtype != MGI_ST_F32 || e->rank != 2 || e->dims[1] != part->dims[1] ||
        (part->dims[0] >= 0 && e->dims[0] != part->dims[0]))
        return false;
    part->dims[0] = e->dims[0];
    return true;
}

mgen_status mgi_kept_open(mgen_context *ctx, const char *path, const char *what,
                          mgi_st_source *parts, int count, mgi_st_file *file,
                          const mgi_st_entry *found[MGI_KEPT_PARTS_MAX])
{
    uint64_t hash = 0;
    mgen_status status = MGEN_OK;
    char check[32];
    MGI_TRY(mgi_st_open(ctx, NULL, path, file));
    const mgi_json *said = file->metadata ? mgi_json_find(file->metadata, "check") : NULL;
    bool good = said != NULL;
    for (int i = 0; i < count && good; i++) {
        found[i] = mgi_st_find(file, parts[i].name);
        good = fits(found[i], &parts[i]);
        if (!good)
            break;
        hash = mgi_hash64_begin(hash);
        MGI_TRY_GOTO(status, mgi_st_hash_piece(ctx, found[i], &hash), close);
        hash = mgi_hash64_end(hash);
    }
    put_check(hash, check);
    if (good && !strcmp(check, said->s))
        return MGEN_OK;
    status = mgi_fail(ctx, MGEN_E_CORRUPT, "the %s '%s' are damaged", what, path);
close:
    mgi_st_close(ctx, file);
    return status;
}

/* Of one part, some values at a time. */
static mgen_status hash_read(const mgi_st_source *part, mgi_st_reader *read, uint64_t *hash)
{
    const int64_t all = part->dims[0] * part->dims[1];
    float piece[PIECE];
    *hash = mgi_hash64_begin(*hash);
    for (int64_t at = 0; at < all; at += PIECE) {
        const int64_t n = all - at < PIECE ? all - at : PIECE;
        MGI_TRY(read(part->data, at, piece, n));
        *hash = mgi_hash64_piece(*hash, piece, (size_t)n * sizeof *piece);
    }
    *hash = mgi_hash64_end(*hash);
    return MGEN_OK;
}

mgen_status mgi_kept_write(mgen_context *ctx, const char *dir, const char *path, const char *format,
                           const mgi_st_source *parts, int count, mgi_st_reader *read)
{
    uint64_t hash = 0;
    char check[32];
    const char *const metadata[] = {"format", format, "check", check};
    for (int i = 0; i < count; i++)
        if (read)
            MGI_TRY(hash_read(&parts[i], read, &hash));
        else
            hash = mgi_hash64(parts[i].data,
                              (size_t)(parts[i].dims[0] * parts[i].dims[1]) * sizeof(float), hash);
    put_check(hash, check);
    MGI_TRY(mgi_dir_make(ctx, dir));
    return mgi_st_write_read(ctx, path, parts, count, metadata, 2, read);
}

mgen_status mgi_kept_paths(mgen_context *ctx, const char *dir, const char *kind, uint64_t key,
                           int rank, int ranks, char path[MGI_PATH_MAX + 1],
                           char rows[MGI_PATH_MAX + 1])
{
    char name[96];
    snprintf(name, sizeof name, "%s-%016" PRIx64 ".safetensors", kind, key);
    MGI_TRY(mgi_path_join(ctx, dir, name, path, MGI_PATH_MAX + 1));
    snprintf(name, sizeof name, "%s-%016" PRIx64 "-%dof%d.rows", kind, key, rank, ranks);
    return mgi_path_join(ctx, dir, name, rows, MGI_PATH_MAX + 1);
}

void mgi_kept_discard_rows(mgen_context *ctx, const char *dir, const char *rows)
{
    const char *slash = strrchr(rows, '/'), *name = slash ? slash + 1 : rows;
    const size_t same = (size_t)(strrchr(name, '-') + 1 - name); /* "<kind>-<key>-" */
    char path[MGI_PATH_MAX + 1];
    mgi_dir_file *files;
    int64_t count;
    if (mgi_dir_list(ctx, dir, &files, &count) != MGEN_OK)
        return;
    for (int64_t i = 0; i < count; i++) {
        const char *end = strrchr(files[i].name, '.');
        if (!strncmp(files[i].name, name, same) && end && !strcmp(end, ".rows") &&
            mgi_path_join(ctx, dir, files[i].name, path, sizeof path) == MGEN_OK)
            mgi_writer_discard(path);
    }
    mgi_dir_free(ctx, files, count);
}

bool mgi_kept_there(mgen_context *ctx, const mgen_context *cache, mgen_status status)
{
    if (status != MGEN_OK && status != MGEN_E_NOT_FOUND)
        mgi_log(ctx, MGEN_LOG_WARN, "%s; they are made again", cache->error_text);
    return status == MGEN_OK;
}
