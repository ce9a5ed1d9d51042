/* SPDX-License-Identifier: MIT */
#include "data/clip_list.h"

#include "core/alloc.h"
#include "data/dataset.h"
#include "io/json.h"
#include "io/path.h"
#include "media/film_read.h"

#include <string.h>

enum { WEIGHT_MAX = 1000 };

void mgi_clip_list_free(mgen_context *ctx, mgi_clip_line *lines, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        mgi_free(ctx, lines[i].file);
        mgi_free(ctx, lines[i].caption);
    }
    mgi_free(ctx, lines);
}

/* *kept: the line is of a clip that is wanted, and *out is filled. */
static mgen_status take(mgen_context *ctx, const mgi_json *o, mgi_clip_line *out, bool *kept)
{
    const char *file = NULL, *caption = NULL;
    *kept = true;
    *out = (mgi_clip_line){.weight = 1.0};
    if (o->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "a line must be an object");
    MGI_TRY(mgi_json_get_string(ctx, o, "file", true, &file));
    MGI_TRY(mgi_json_get_bool(ctx, o, "kept", false, kept));
    if (!*kept)
        return MGEN_OK;
    MGI_TRY(mgi_json_get_int(ctx, o, "first", false, 0, INT32_MAX, &out->first));
    MGI_TRY(mgi_json_get_int(ctx, o, "frames", true, 1, INT32_MAX, &out->frames));
    MGI_TRY(mgi_json_get_real(ctx, o, "weight", false, 0.0, WEIGHT_MAX, &out->weight));
    MGI_TRY(mgi_json_get_int(ctx, o, "even", false, 0, INT32_MAX, &out->even));
    MGI_TRY(mgi_json_get_int(ctx, o, "even_from", false, 1 - MGI_FILM_TIME_MAX,
                             MGI_FILM_TIME_MAX - 1, &out->even_from));
    MGI_TRY(mgi_json_get_string(ctx, o, "caption", false, &caption));
    if (!*file || strlen(file) > MGI_NAME_MAX || strchr(file, '/'))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"file\" is \"%.80s\"; it must be the name of a film in the folder", file);
    if (caption && strlen(caption) >= MGI_CAPTION_SIZE)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"caption\" is longer than %d bytes",
                        MGI_CAPTION_SIZE - 1);
    MGI_TRY(mgi_strdup(ctx, file, &out->file));
    return caption ? mgi_strdup(ctx, caption, &out->caption) : MGEN_OK;
}

static mgen_status take_line(mgen_context *ctx, const char *what, int64_t number, const char *text,
                             size_t size, mgi_clip_line *out, bool *kept)
{
    mgi_json *root;
    mgen_status status;
    *kept = false;
    *out = (mgi_clip_line){.file = NULL};
    if (size > MGI_CLIP_LIST_LINE_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "'%s', line %lld: it is longer than %d bytes", what,
                        (long long)number, MGI_CLIP_LIST_LINE_MAX);
    status = mgi_json_parse(ctx, "its JSON", text, size, &root);
    if (status == MGEN_OK) {
        status = take(ctx, root, out, kept);
        mgi_json_free(ctx, root);
    }
    return status == MGEN_OK
               ? status
               : mgi_fail_context(ctx, status, "'%s', line %lld", what, (long long)number);
}

static bool is_blank(const char *text, size_t size)
{
    while (size && (*text == ' ' || *text == '\t' || *text == '\r')) {
        text++;
        size--;
    }
    return size == 0;
}

typedef struct list {
    mgi_clip_line *lines;
    int64_t count, room;
} list;

static mgen_status add(mgen_context *ctx, list *l, const char *what, int64_t number,
                       const char *text, size_t size)
{
    bool kept;
    if (l->count == MGI_CLIP_LIST_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "'%s' has more than %d clips", what,
                        MGI_CLIP_LIST_MAX);
    if (l->count == l->room) {
        const int64_t room = l->room ? 2 * l->room : 64;
        MGI_TRY(mgi_realloc(ctx, &l->lines, (size_t)room, sizeof *l->lines));
        l->room = room;
    }
    mgi_clip_line *line = &l->lines[l->count];
    mgen_status status = take_line(ctx, what, number, text, size, line, &kept);
    if (status != MGEN_OK) {
        mgi_free(ctx, line->file);
        mgi_free(ctx, line->caption);
    }
    l->count += status == MGEN_OK && kept;
    return status;
}

mgen_status mgi_clip_list_read(mgen_context *ctx, const char *what, const char *text, size_t size,
                               mgi_clip_line **out, int64_t *count)
{
    list l = {NULL, 0, 0};
    mgen_status status = MGEN_OK;
    int64_t number = 1;
    for (size_t at = 0; at < size && status == MGEN_OK; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        const size_t length = end ? (size_t)(end - text) - at : size - at;
        if (!is_blank(text + at, length))
            status = add(ctx, &l, what, number, text + at, length);
        at += length + 1;
    }
    if (status != MGEN_OK) {
        mgi_clip_list_free(ctx, l.lines, l.count);
        l = (list){NULL, 0, 0};
    }
    *out = l.lines;
    *count = l.count;
    return status;
}
