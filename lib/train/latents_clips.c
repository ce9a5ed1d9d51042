/* SPDX-License-Identifier: MIT */
#include "train/latents_work.h"

#include "core/alloc.h"
#include "core/pool.h"
#include "data/folder_scores.h"
#include "train/back.h"

#include <string.h>

typedef mgi_latents_work work;
typedef mgi_latents_some some;

int64_t mgi_latents_films(const mgi_latents_request *q)
{
    return q->pairs || q->edits ? 2 : 1;
}

/* The sample of training clip i. */
static uint64_t element_of(const work *w, int64_t i)
{
    return mgi_dataset_element(w->q->dataset, w->q->seed, w->q->first + (uint64_t)i);
}

static mgen_status read_clip(const work *w, int64_t i, uint8_t *pixels)
{
    mgi_dataset *ds = w->q->dataset;
    int64_t frames = w->q->frames;
    char caption[MGI_CAPTION_SIZE];
    if (i < w->l->clips)
        MGI_TRY(mgi_dataset_piece(w->ctx, ds, element_of(w, i), 0, frames, pixels, caption));
    else
        MGI_TRY(mgi_dataset_held(w->ctx, ds, i - w->l->clips, frames, pixels, caption));
    return w->l->captions ? mgi_strdup(w->ctx, caption, &w->l->captions[i]) : MGEN_OK;
}

/* Clip i as an edit. */
static void edit_of(const work *w, int64_t i, mgi_edits_sample *out)
{
    const int64_t held = i - w->l->clips;
    const mgi_dataset *ds = w->q->dataset;
    if (mgi_dataset_drawn(ds))
        mgi_edits_sample_of(w->q->edits, ds, held < 0 ? ds->seed : MGI_VALIDATION_SEED,
                            held < 0 ? element_of(w, i) : (uint64_t)held, w->q->frames, out);
    else
        mgi_edits_own_of(w->q->edits, ds, w->q->seed,
                         held < 0 ? w->q->first + (uint64_t)i : (uint64_t)held, held >= 0,
                         w->q->frames, out);
}

/* Its instruction and its task. */
static mgen_status keep_words(const work *w, int64_t i, const mgi_edits_sample *s)
{
    w->l->tasks[i] = s->task;
    return mgi_strdup(w->ctx, s->text, &w->l->captions[i]);
}

mgen_status mgi_latents_take_edits(const work *w, int64_t first, int64_t n)
{
    mgi_edits_sample s;
    for (int64_t i = first; i < first + n; i++) {
        edit_of(w, i, &s);
        if (!mgi_dataset_drawn(w->q->dataset))
            MGI_TRY(mgi_edits_tell(w->ctx, w->q->dataset, &s));
        MGI_TRY(keep_words(w, i, &s));
    }
    return MGEN_OK;
}

mgen_status mgi_latents_take_captions(const work *w, int64_t first, int64_t n)
{
    const mgi_dataset *ds = w->q->dataset;
    mgi_latents *l = w->l;
    char caption[MGI_CAPTION_SIZE];
    for (int64_t i = first; l->captions && i < first + n; i++) {
        if (i < l->clips)
            mgi_dataset_caption(ds, element_of(w, i), caption);
        else
            mgi_dataset_held_caption(ds, i - l->clips, caption);
        MGI_TRY(mgi_strdup(w->ctx, caption, &l->captions[i]));
    }
    return MGEN_OK;
}

typedef struct drawing {
    const work *w;
    int64_t first;
    uint8_t *out;
} drawing;

static void draw_edit(void *arg, int64_t k, int thread)
{
    const drawing *d = arg;
    const mgi_dataset *ds = d->w->q->dataset;
    mgi_edits_sample s;
    (void)thread;
    edit_of(d->w, d->first + k, &s);
    mgi_edits_draw(&s, ds, d->w->q->frames,
                   d->out + k * 2 * d->w->q->frames * ds->height * ds->width * 3);
}

/* Both films of each; on all threads, and then, one by one, those that an editor makes. */
static mgen_status draw_edits(const work *w, const some *s, uint8_t *room)
{
    const mgi_dataset *ds = w->q->dataset;
    mgi_edits_sample one;
    mgi_pool_run(w->ctx->pool, s->n, draw_edit, &(drawing){w, s->first, room});
    for (int64_t k = 0; w->q->edits->back && k < s->n; k++) {
        edit_of(w, s->first + k, &one);
        if (one.kind == MGI_EDITS_BACK)
            MGI_TRY(mgi_back_make(w->ctx, w->q->edits->back, &one, ds, w->q->frames,
                                  room + k * 2 * w->q->frames * ds->height * ds->width * 3));
    }
    return MGEN_OK;
}

/* Both films of each of the dataset's edits, and what is said of them. */
static mgen_status read_edits(const work *w, const some *s, uint8_t *room)
{
    mgi_dataset *ds = w->q->dataset;
    const int64_t size = 2 * w->q->frames * ds->height * ds->width * 3;
    mgi_edits_sample one;
    for (int64_t k = 0; k < s->n; k++) {
        edit_of(w, s->first + k, &one);
        MGI_TRY(mgi_edits_read(w->ctx, ds, w->q->frames, &one, room + k * size));
        MGI_TRY(keep_words(w, s->first + k, &one));
    }
    return MGEN_OK;
}

bool mgi_latents_drawn(const work *w, const some *s)
{
    return !w->l->captions && s->first < w->l->clips;
}

mgen_status mgi_latents_clips(const work *w, const some *s, uint8_t *room, const uint8_t **out)
{
    const mgi_dataset *ds = w->q->dataset;
    mgi_prefetch_clips now = {w->q->dataset, w->q->first + (uint64_t)s->first, s->n, w->q->frames};
    mgi_prefetch_clips next = now;
    next.first += (uint64_t)s->n;
    next.count = s->after < s->n ? s->after : s->n;
    *out = room;
    if (w->q->edits)
        return mgi_dataset_drawn(ds) ? draw_edits(w, s, room) : read_edits(w, s, room);
    if (mgi_latents_drawn(w, s))
        return mgi_prefetch_take(w->drawn, now, next, out);
    for (int64_t k = 0; k < s->n; k++)
        MGI_TRY(read_clip(w, s->first + k, room + k * w->q->frames * ds->height * ds->width * 3));
    return MGEN_OK;
}

mgen_status mgi_latents_pairs(const work *w, const some *s, const uint8_t *clips, uint8_t *both)
{
    const mgi_dataset *ds = w->q->dataset;
    int64_t size = w->q->frames * ds->height * ds->width * 3;
    for (int64_t k = 0; k < s->n; k++) {
        const int64_t i = s->first + k, held = i - w->l->clips;
        uint64_t seed = held < 0 ? w->q->seed : MGI_VALIDATION_SEED;
        uint64_t element = held < 0 ? w->q->first + (uint64_t)i : (uint64_t)held;
        uint8_t *pair = both + 2 * k * size;
        memcpy(pair, clips + k * size, (size_t)size);
        MGI_TRY(mgi_pairs_make(w->ctx, w->q->pairs, seed, element, pair, w->q->frames, ds->width,
                               ds->height, pair + size));
    }
    return MGEN_OK;
}

void mgi_latents_take_scores(const work *w)
{
    for (int64_t i = 0; w->l->scores && i < w->l->clips; i++)
        w->l->scores[i] = mgi_dataset_score(w->q->dataset, element_of(w, i));
}
