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

mgen_status mgi_edits_check(mgen_context *ctx, const mgi_dataset *ds)
{
    return mgi_dataset_drawn(ds)
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_INVALID,
                          "an editor learns from edits of the toybox's films, which are drawn: it "
                          "is trained without a dataset, on the recipe's \"world\"");
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

/* As mgi_prompt_at_rate() has it; captions say their rate already. */
static void tell(const mgi_edits *e, const mgi_world_scene *scene, const char *make,
                 const char *what, char out[MGI_CAPTION_SIZE])
{
    char rate[32] = "";
    const char *end = !strncmp(what, "FPS-", 4) ? strchr(what, ' ') : NULL;
    if (e->fps_prefix && scene->frames > 1)
        snprintf(rate, sizeof rate, "FPS-%d ", scene->fps);
    snprintf(out, MGI_CAPTION_SIZE, "%s%s%s", rate, make, end ? end + 1 : what);
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
    uint32_t lot[4];
    mgi_philox(seed, MGI_STREAM_EDITS, element, lot);
    memset(out, 0, sizeof *out);
    out->kind = choose(edits, lot[0]);
    out->seed = seed;
    out->element = element;
    out->moment = (int)((uint64_t)lot[1] * (uint64_t)frames >> 32);
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

uint64_t mgi_edits_hash(const mgi_edits *e, uint64_t seed)
{
    seed = mgi_hash64(e->share, MGI_EDITS_BACK * sizeof e->share[0], seed);
    return e->share[MGI_EDITS_BACK] > 0.0
               ? mgi_hash64(&e->share[MGI_EDITS_BACK], sizeof e->share[0], seed)
               : seed; /* as before there was this kind */
}
