/* SPDX-License-Identifier: MIT */
#include "io/safetensors_set.h"

#include "io/safetensors_f8.h"

#include "core/alloc.h"
#include "core/quiet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUOTE_MAX = 100, /* bytes of a name that a message shows */
    STEM_MAX = 64,
    ENDING_MAX = 32
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const mgi_st_entry *)a)->name, ((const mgi_st_entry *)b)->name);
}

/* Where a file's name stands in `names`; `count`: nowhere. */
static int64_t place_of(const char *const *names, int64_t count, const char *name)
{
    int64_t i = 0;
    while (i < count && strcmp(names[i], name))
        i++;
    return i;
}

static mgen_status count_files(mgen_context *ctx, const mgi_json *map,
                               const char *names[MGI_ST_FILES_MAX], int64_t *count)
{
    for (const mgi_json *e = map->child; e; e = e->next) {
        if (e->kind != MGI_JSON_STRING)
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "\"weight_map\": the file of \"%.*s\" is not a string", QUOTE_MAX,
                            e->key);
        /* an index goes through its files one after the other */
        if (*count && !strcmp(names[*count - 1], e->s))
            continue;
        if (place_of(names, *count, e->s) < *count)
            continue;
        if (*count == MGI_ST_FILES_MAX)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"weight_map\" names more than %d files",
                            MGI_ST_FILES_MAX);
        names[(*count)++] = e->s;
    }
    return MGEN_OK;
}

/* Each tensor is where the index says. Their numbers being the same, there is no other, and none twice. */
static mgen_status check_map(mgen_context *ctx, const mgi_json *map, const char *const *names,
                             const mgi_st_set *set)
{
    int64_t all = 0;
    for (int64_t i = 0; i < set->file_count; i++)
        all += set->files[i].count;
    for (const mgi_json *e = map->child; e; e = e->next)
        if (!mgi_st_find(&set->files[place_of(names, set->file_count, e->s)], e->key))
            return mgi_fail(ctx, MGEN_E_CORRUPT, "tensor \"%.*s\" is not in the file \"%.*s\"",
                            QUOTE_MAX, e->key, QUOTE_MAX, e->s);
    return all == map->i ? MGEN_OK
                         : mgi_fail(ctx, MGEN_E_CORRUPT,
                                    "\"weight_map\" names %lld tensors, its files hold %lld",
                                    (long long)map->i, (long long)all);
}

static mgen_status open_indexed(mgen_context *ctx, const char *dir, const mgi_json *root,
                                const char *names[MGI_ST_FILES_MAX], mgi_st_set *set)
{
    const mgi_json *map = root->kind == MGI_JSON_OBJECT ? mgi_json_find(root, "weight_map") : NULL;
    int64_t count = 0;
    if (!map || map->kind != MGI_JSON_OBJECT || !map->child)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"weight_map\" must be an object of tensors and their files");
    MGI_TRY(count_files(ctx, map, names, &count));
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof *set->files, &set->files));
    for (; set->file_count < count; set->file_count++) {
        mgi_st_file *file = &set->files[set->file_count];
        MGI_TRY(mgi_st_open_single(ctx, dir, names[set->file_count], file));
        if (set->file_count >= MGI_READERS_OPEN)
            mgi_reader_rest(file->file);
    }
    return check_map(ctx, map, names, set);
}

static mgen_status open_index(mgen_context *ctx, const char *dir, const char *stem, mgi_st_set *set)
{
    char index_name[STEM_MAX + ENDING_MAX];
    mgi_file text;
    mgi_json *root = NULL;
    const char **names = NULL;
    snprintf(index_name, sizeof index_name, "%.*s.safetensors.index.json", STEM_MAX, stem);
    mgen_status status = mgi_file_open_in(ctx, dir, index_name, &text);
    if (status == MGEN_E_NOT_FOUND)
        return mgi_fail(ctx, status,
                        "'%s' has neither %s.safetensors nor %s; weights in other formats are not "
                        "read",
                        dir, stem, index_name);
    MGI_TRY(status);
    status = mgi_json_parse(ctx, index_name, (const char *)text.data, text.size, &root);
    mgi_file_close(ctx, &text);
    if (status != MGEN_OK)
        return status;
    status = mgi_alloc_zero(ctx, MGI_ST_FILES_MAX, sizeof *names, (void *)&names);
    if (status == MGEN_OK)
        status = open_indexed(ctx, dir, root, names, set);
    mgi_free(ctx, (void *)names);
    mgi_json_free(ctx, root);
    return status == MGEN_OK ? MGEN_OK : mgi_fail_context(ctx, status, "%s", index_name);
}

static mgen_status open_files(mgen_context *ctx, const char *dir, const char *stem, mgi_st_set *set)
{
    char single[STEM_MAX + ENDING_MAX];
    snprintf(single, sizeof single, "%.*s.safetensors", STEM_MAX, stem);
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *set->files, &set->files));
    mgi_message before;
    mgi_quiet_begin(ctx, &before);
    mgen_status status = mgi_st_open_single(ctx, dir, single, set->files);
    const bool one = status != MGEN_E_NOT_FOUND;
    mgi_quiet_end(ctx, &before, status == MGEN_OK || !one);
    if (status == MGEN_OK) {
        set->file_count = 1;
        return MGEN_OK;
    }
    mgi_free(ctx, set->files);
    set->files = NULL;
    return one ? status : open_index(ctx, dir, stem, set);
}

static mgen_status collect(mgen_context *ctx, mgi_st_set *set)
{
    int64_t all = 0;
    for (int64_t i = 0; i < set->file_count; i++)
        all += set->files[i].count;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)all, sizeof *set->entries, &set->entries));
    for (int64_t i = 0; i < set->file_count; i++)
        for (int64_t k = 0; k < set->files[i].count; k++)
            set->entries[set->count++] = set->files[i].entries[k];
    if (all)
        qsort(set->entries, (size_t)all, sizeof *set->entries, compare_names);
    mgi_st_pair(set->entries, &set->count, false); /* scales may be in another file */
    return MGEN_OK;
}

mgen_status mgi_st_set_open(mgen_context *ctx, const char *dir, const char *stem, mgi_st_set *out)
{
    memset(out, 0, sizeof *out);
    mgen_status status = open_files(ctx, dir, stem, out);
    if (status == MGEN_OK)
        status = collect(ctx, out);
    if (status != MGEN_OK)
        mgi_st_set_close(ctx, out);
    return status;
}

void mgi_st_set_close(mgen_context *ctx, mgi_st_set *set)
{
    for (int64_t i = 0; i < set->file_count; i++)
        mgi_st_close(ctx, &set->files[i]);
    mgi_free(ctx, set->files);
    mgi_free(ctx, set->entries);
    memset(set, 0, sizeof *set);
}

const mgi_st_entry *mgi_st_set_find(const mgi_st_set *set, const char *name)
{
    const mgi_st_entry key = {.name = name};
    if (set->count == 0)
        return NULL;
    return bsearch(&key, set->entries, (size_t)set->count, sizeof key, compare_names);
}
