/* SPDX-License-Identifier: MIT */
#include "train/edits.h"

#include "core/hash.h"
#include "core/philox.h"
#include "data/animate.h"

#include <stdio.h>
#include <string.h>

enum { TRIES = 8 };
#define ELEMENTS (UINT64_C(1) << 40) /* more than any training takes */

const char *const mgi_edits_kind_name[MGI_EDITS_KINDS] = {"pairs", "animated", "segmentation",
                                                          "text", "backtranslated"};

static const int drawn[] = {MGI_EDITS_SEGMENTATION, MGI_EDITS_BACK}; /* of the toybox alone */
enum { DRAWN = sizeof drawn / sizeof drawn[0] };

static void leave_out(mgen_context *ctx, mgi_edits *e, int kind)
{
    if (e->share[kind] > 0.0 && e->unsaid[kind]) {
        e->share[kind] = 0.0;
        mgi_log(ctx, MGEN_LOG_INFO,
                "the dataset has nothing for \"%s\" of \"edits\": its share is 0",
                mgi_edits_kind_name[kind]);
    }
}

/* Of a dataset that has edits. */
static mgen_status leave_to_data(mgen_context *ctx, mgi_edits *e, mgi_dataset *ds)
{
    bool told = true;
    double all = 0.0;
    for (int i = 0; i < DRAWN; i++)
        leave_out(ctx, e, drawn[i]);
    if (e->share[MGI_EDITS_TEXT] > 0.0 && e->unsaid[MGI_EDITS_TEXT])
        MGI_TRY(mgi_dataset_edits_told(ctx, ds, &told));
    if (!told)
        leave_out(ctx, e, MGI_EDITS_TEXT);
    for (int i = 0; i < MGI_EDITS_KINDS; i++)
        all += e->share[i];
    return all > 0.0 ? MGEN_OK
                     : mgi_fail(ctx, MGEN_E_INVALID,
                                "\"edits\" ask for nothing that the dataset has; give \"pairs\" or "
                                "\"animated\" a share");
}

mgen_status mgi_edits_fit(mgen_context *ctx, mgi_edits *e, mgi_dataset *ds, bool measured)
{
    if (mgi_dataset_drawn(ds))
        return MGEN_OK;
    if (!mgi_dataset_has_edits(ds))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "an editor learns from edits, and the dataset has none: folders have, with "
                        "films and instructions beside films (clip.edited.mp4, clip.edit.txt), and "
                        "hosts whose samples are edits; on those of the toybox's films it is "
                        "trained without a dataset, on the recipe's \"world\"");
    MGI_TRY(leave_to_data(ctx, e, ds));
    for (int i = 0; i < DRAWN; i++)
        if (e->share[drawn[i]] > 0.0)
            return mgi_fail(ctx, MGEN_E_INVALID,
                            "\"edits\" ask for \"%s\", which are made of the toybox's films "
                            "alone; of a dataset's edits, give it the share 0",
                            mgi_edits_kind_name[drawn[i]]);
    const bool captions = e->share[MGI_EDITS_TEXT] > 0.0;
    return measured ? mgi_dataset_check_edits_there(ctx, ds, captions)
                    : mgi_dataset_check_edits(ctx, ds, captions);
}

/* A kind by its share. */
static int choose(const mgi_edits *e, uint32_t lot)
{
    double all = 0.0;
    int kind = 0, last = 0;
    for (int i = 0; i < MGI_EDITS_KINDS; i++) {
        all += e->share[i];
        last = e->share[i] > 0.0 ? i : last;
    }
    double left = (double)mgi_u32_to_unit(lot) * all;
    while (kind < last && left >= e->share[kind])
        left -= e->share[kind++];
    return kind;
}

/* Behind "FPS-16 " of a text that begins so; else the text. */
static const char *after_rate(const char *text)
{
    const char *end = !strncmp(text, "FPS-", 4) ? strchr(text, ' ') : NULL;
    return end ? end + 1 : text;
}

/* As mgi_prompt_at_rate() has it; captions say their rate already. */
static void tell(const mgi_edits *e, const mgi_world_scene *scene, const char *make,
                 const char *what, char out[MGI_EDITS_TEXT_SIZE])
{
    char rate[32] = "";
    if (e->fps_prefix && scene->frames > 1)
        snprintf(rate, sizeof rate, "FPS-%d ", scene->fps);
    snprintf(out, MGI_EDITS_TEXT_SIZE, "%s%s%s", rate, make, after_rate(what));
}

/* What the lots of an element say. */
static void draw_lots(const mgi_edits *e, uint64_t seed, uint64_t element, int64_t frames,
                      mgi_edits_sample *out)
{
    uint32_t lot[4];
    mgi_philox(seed, MGI_STREAM_EDITS, element, lot);
    memset(out, 0, sizeof *out);
    out->kind = choose(e, lot[0]);
    out->seed = seed;
    out->element = element;
    out->moment = (int)((uint64_t)lot[1] * (uint64_t)frames >> 32);
}

/* The first of several edits that words can undo; a local one if none of them can be. */
static void undo(mgi_edits_sample *s, const mgi_world_options *options)
{
    for (uint64_t k = 0;; k++) {
        mgi_world_edit_random(&s->forth, s->seed, s->element + k * ELEMENTS,
                              k < TRIES ? -1 : MGI_EDIT_LOCAL, options);
        if (mgi_world_edit_reverse(&s->forth, &s->edit))
            return;
    }
}

void mgi_edits_sample_of(const mgi_edits *edits, const mgi_dataset *ds, uint64_t seed,
                         uint64_t element, int64_t frames, mgi_edits_sample *out)
{
    char text[MGI_WORLD_CAPTION_MAX];
    draw_lots(edits, seed, element, frames, out);
    if (out->kind == MGI_EDITS_TEXT) {
        mgi_world_scene *scene = &out->edit.before;
        out->task = MGI_EDIT_TEXT_TO_VIDEO;
        mgi_world_scene_random(scene, seed, element, &ds->world);
        mgi_world_caption(scene, scene->wording, text);
        tell(edits, scene, "make ", text, out->text);
        return;
    }
    if (out->kind == MGI_EDITS_BACK)
        undo(out, &ds->world);
    else
        mgi_world_edit_random(&out->edit, seed, element,
                              out->kind == MGI_EDITS_SEGMENTATION ? MGI_EDIT_SEGMENTATION : -1,
                              &ds->world);
    out->task = out->edit.task;
    mgi_world_edit_text(&out->edit, text);
    tell(edits, &out->edit.before, "", text, out->text);
}

/* One of the two films of an edit, in the room of `frames` frames. */
static void draw_film(const mgi_edits_sample *s, bool after, int width, int height, int frames,
                      uint8_t *out)
{
    if (s->kind != MGI_EDITS_ANIMATED || frames == 1) {
        mgi_world_edit_draw(&s->edit, after, width, height, 0, frames, out);
        return;
    }
    mgi_world_edit_draw(&s->edit, after, width, height, s->moment, 1, out);
    mgi_animate(out, width, height, frames, s->seed, s->element, out);
}

void mgi_edits_draw(const mgi_edits_sample *s, const mgi_dataset *ds, int64_t frames, uint8_t *out)
{
    const int width = (int)ds->width, height = (int)ds->height;
    const int64_t size = frames * ds->height * ds->width * 3;
    if (s->kind == MGI_EDITS_TEXT) {
        mgi_world_draw(&s->edit.before, width, height, 0, (int)frames, out);
        memset(out + size, 0, (size_t)size);
        return;
    }
    draw_film(s, true, width, height, (int)frames, out);
    draw_film(s, false, width, height, (int)frames, out + size);
}

/* ---- of a dataset --------------------------------------------------------------------------------- */

void mgi_edits_own_of(const mgi_edits *edits, const mgi_dataset *ds, uint64_t seed,
                      uint64_t element, bool held, int64_t frames, mgi_edits_sample *out)
{
    draw_lots(edits, held ? MGI_VALIDATION_SEED : seed, element, frames, out);
    out->index =
        held ? mgi_dataset_held_first(ds) + element : mgi_dataset_element(ds, seed, element);
    out->first = held ? 0 : mgi_dataset_begin(ds, seed, element, frames);
}

/* The rate of a caption that begins with one stays in front. */
static mgen_status take_words(mgen_context *ctx, const mgi_edit_words *words, mgi_edits_sample *s)
{
    const char *made = after_rate(words->caption);
    if (s->kind != MGI_EDITS_TEXT) {
        s->task = words->task;
        strcpy(s->text, words->instruction);
        return MGEN_OK;
    }
    s->task = MGI_EDIT_TEXT_TO_VIDEO;
    snprintf(s->text, sizeof s->text, "%.*smake %s", (int)(made - words->caption), words->caption,
             made);
    return *made ? MGEN_OK
                 : mgi_fail(ctx, MGEN_E_INVALID,
                            "sample %llu has no caption, which \"text\" of \"edits\" is made of",
                            (unsigned long long)s->index);
}

mgen_status mgi_edits_read(mgen_context *ctx, mgi_dataset *ds, int64_t frames, mgi_edits_sample *s,
                           uint8_t *out)
{
    const int width = (int)ds->width, height = (int)ds->height;
    const int64_t size = frames * ds->height * ds->width * 3;
    const bool text = s->kind == MGI_EDITS_TEXT;
    const bool moved = s->kind == MGI_EDITS_ANIMATED && frames > 1;
    uint8_t *after = text ? NULL : out, *before = text ? out : out + size;
    mgi_edit_words words;
    MGI_TRY(mgi_dataset_edit(ctx, ds, s->index, s->first + (moved ? s->moment : 0),
                             moved ? 1 : frames, before, after, &words));
    if (text)
        memset(out + size, 0, (size_t)size);
    if (moved) {
        mgi_animate(after, width, height, (int)frames, s->seed, s->element, after);
        mgi_animate(before, width, height, (int)frames, s->seed, s->element, before);
    }
    return take_words(ctx, &words, s);
}

mgen_status mgi_edits_tell(mgen_context *ctx, const mgi_dataset *ds, mgi_edits_sample *s)
{
    mgi_edit_words words;
    MGI_TRY(mgi_dataset_edit_words(ctx, ds, s->index, &words));
    return take_words(ctx, &words, s);
}

uint64_t mgi_edits_hash(const mgi_edits *e, uint64_t seed)
{
    seed = mgi_hash64(e->share, MGI_EDITS_BACK * sizeof e->share[0], seed);
    return e->share[MGI_EDITS_BACK] > 0.0
               ? mgi_hash64(&e->share[MGI_EDITS_BACK], sizeof e->share[0], seed)
               : seed; /* as before there was this kind */
}
