/* SPDX-License-Identifier: MIT */
#include "train/prompt_pairs.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "core/philox.h"
#include "data/dataset.h"
#include "data/world_options.h"
#include "data/world_prompt.h"
#include "io/json.h"
#include "io/path.h"

#include <stdio.h>
#include <string.h>

enum { LINE_MAX_BYTES = 1 << 16, PAIRS_MAX = 1 << 22, HELD_MOST = 64, HELD_SHARE = 20 };

/* -- a file ------------------------------------------------------------------------------------- */

static mgen_status take_text(mgen_context *ctx, const mgi_json *o, const char *key, char **out)
{
    const char *text = NULL;
    MGI_TRY(mgi_json_get_string(ctx, o, key, true, &text));
    const size_t size = strlen(text);
    if (size < 1 || size > MGI_PAIR_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" has %zu bytes; it must have 1 to %d", key,
                        size, MGI_PAIR_MAX);
    return mgi_strdup(ctx, text, out);
}

static mgen_status take_pair(mgen_context *ctx, const mgi_json *o, char **prompt, char **caption)
{
    static const char *const keys[] = {"prompt", "caption", NULL};
    if (o->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "a line must be an object");
    MGI_TRY(mgi_json_only_keys(ctx, o, keys));
    MGI_TRY(take_text(ctx, o, "prompt", prompt));
    return take_text(ctx, o, "caption", caption);
}

static mgen_status add(mgen_context *ctx, mgi_prompt_pairs *p, int64_t *room, const char *line,
                       size_t size)
{
    mgi_json *root;
    if (size > LINE_MAX_BYTES)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "it is longer than %d bytes", LINE_MAX_BYTES);
    if (p->count == PAIRS_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "there are more than %d pairs", PAIRS_MAX);
    if (p->count == *room) {
        const int64_t more = *room ? 2 * *room : 64;
        MGI_TRY(mgi_realloc(ctx, &p->text, (size_t)(2 * more), sizeof *p->text));
        *room = more;
    }
    char **pair = p->text + 2 * p->count;
    pair[0] = pair[1] = NULL;
    p->count++;
    MGI_TRY(mgi_json_parse(ctx, "its JSON", line, size, &root));
    mgen_status status = take_pair(ctx, root, &pair[0], &pair[1]);
    mgi_json_free(ctx, root);
    return status;
}

static bool is_blank(const char *text, size_t size)
{
    while (size && (*text == ' ' || *text == '\t' || *text == '\r')) {
        text++;
        size--;
    }
    return size == 0;
}

static mgen_status add_lines(mgen_context *ctx, mgi_prompt_pairs *p, const char *path,
                             const char *text, size_t size)
{
    int64_t number = 1, room = 0;
    for (size_t at = 0; at < size; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        const size_t length = end ? (size_t)(end - text) - at : size - at;
        mgen_status status =
            is_blank(text + at, length) ? MGEN_OK : add(ctx, p, &room, text + at, length);
        if (status != MGEN_OK)
            return mgi_fail_context(ctx, status, "'%s', line %lld", path, (long long)number);
        at += length + 1;
    }
    return p->count ? MGEN_OK : mgi_fail(ctx, MGEN_E_CORRUPT, "'%s' has no pairs", path);
}

static mgen_status read_file(mgen_context *ctx, const mgi_stage *stage, mgi_prompt_pairs *p)
{
    char path[MGI_PATH_MAX + 1];
    mgi_file file;
    MGI_TRY(mgi_path_join(ctx, stage->folder[0] ? stage->folder : ".", stage->pairs, path,
                          sizeof path));
    MGI_TRY(mgi_file_open_large(ctx, path, &file));
    p->hash = mgi_hash64(file.data, file.size, 0);
    mgen_status status = add_lines(ctx, p, path, (const char *)file.data, file.size);
    mgi_file_close(ctx, &file);
    p->held = p->count / HELD_SHARE < HELD_MOST ? p->count / HELD_SHARE : HELD_MOST;
    return status;
}

/* -- both --------------------------------------------------------------------------------------- */

mgen_status mgi_prompt_pairs_open(mgen_context *ctx, const mgi_stage *stage, uint64_t seed,
                                  mgi_prompt_pairs *out)
{
    *out = (mgi_prompt_pairs){.seed = seed, .world = stage->world, .captions = stage->captions};
    mgen_status status =
        stage->pairs[0] ? read_file(ctx, stage, out) : mgi_world_options_complete(ctx, &out->world);
    if (status != MGEN_OK)
        mgi_prompt_pairs_close(ctx, out);
    return status;
}

void mgi_prompt_pairs_close(mgen_context *ctx, mgi_prompt_pairs *p)
{
    for (int64_t i = 0; p->text && i < 2 * p->count; i++)
        mgi_free(ctx, p->text[i]);
    mgi_free(ctx, (void *)p->text);
    memset(p, 0, sizeof *p);
}

/* The rate stands before prompts when they are used. */
static const char *without_rate(const char *caption)
{
    const char *space = !strncmp(caption, "FPS-", 4) ? strchr(caption, ' ') : NULL;
    return space ? space + 1 : caption;
}

static void draw(const mgi_prompt_pairs *p, uint64_t seed, uint64_t i, mgi_prompt_pair *out)
{
    mgi_world_scene scene;
    char text[MGI_WORLD_CAPTION_MAX];
    mgi_world_scene_random(&scene, seed, i, &p->world);
    mgi_world_told(&scene, text);
    snprintf(out->caption, sizeof out->caption, "%s", text);
    if (mgi_random_unit(seed, MGI_STREAM_SAMPLE, i) < (float)p->captions) {
        mgi_world_caption(&scene, scene.wording, text);
        snprintf(out->prompt, sizeof out->prompt, "%s", without_rate(text));
    } else {
        mgi_world_prompt(&scene, seed, i, text);
        snprintf(out->prompt, sizeof out->prompt, "%s", text);
    }
}

static void copy(const mgi_prompt_pairs *p, int64_t i, mgi_prompt_pair *out)
{
    snprintf(out->prompt, sizeof out->prompt, "%s", p->text[2 * i]);
    snprintf(out->caption, sizeof out->caption, "%s", p->text[2 * i + 1]);
}

void mgi_prompt_pairs_take(const mgi_prompt_pairs *p, uint64_t i, mgi_prompt_pair *out)
{
    const uint64_t trained = (uint64_t)(p->count - p->held);
    if (!p->text)
        draw(p, p->seed, i, out);
    else
        copy(p,
             (int64_t)(((uint64_t)mgi_random_u32(p->seed, MGI_STREAM_SAMPLE, i) * trained) >> 32),
             out);
}

void mgi_prompt_pairs_hold(const mgi_prompt_pairs *p, int64_t i, mgi_prompt_pair *out)
{
    mgi_prompt_pairs held = *p;
    held.world.split = MGI_WORLD_HELD_OUT;
    held.captions = 0.0;
    if (!p->text)
        draw(&held, MGI_VALIDATION_SEED, (uint64_t)i, out);
    else
        copy(p, (p->held ? p->count - p->held : 0) + i, out);
}

int64_t mgi_prompt_pairs_held(const mgi_prompt_pairs *p, int64_t most)
{
    const int64_t have = !p->text ? most : p->held ? p->held : p->count;
    return have < most ? have : most;
}
