/* SPDX-License-Identifier: MIT */
#include "train/kept.h"

#include "core/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

mgen_status mgi_kept_write(mgen_context *ctx, const char *dir, const char *path, const char *format,
                           const mgi_st_source *parts, int count)
{
    uint64_t hash = 0;
    char check[32];
    const char *const metadata[] = {"format", format, "check", check};
    for (int i = 0; i < count; i++)
        hash = mgi_hash64(parts[i].data,
                          (size_t)(parts[i].dims[0] * parts[i].dims[1]) * sizeof(float), hash);
    put_check(hash, check);
    MGI_TRY(mgi_dir_make(ctx, dir));
    return mgi_st_write(ctx, path, parts, count, metadata, 2);
}

bool mgi_kept_there(mgen_context *ctx, const mgen_context *cache, mgen_status status)
{
    if (status != MGEN_OK && status != MGEN_E_NOT_FOUND)
        mgi_log(ctx, MGEN_LOG_WARN, "%s; they are made again", cache->error_text);
    return status == MGEN_OK;
}
