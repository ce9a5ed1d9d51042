/* SPDX-License-Identifier: MIT */
#include "data/curate.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "core/philox.h"
#include "data/curate_groups.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t film_steps = UINT32_C(1) << MGI_CURATE_READ |
                                   UINT32_C(1) << MGI_CURATE_DURATION |
                                   UINT32_C(1) << MGI_CURATE_RESOLUTION;

void mgi_curator_init(mgi_curator *c, mgen_context *ctx, const mgi_curate_rules *rules)
{
    *c = (mgi_curator){.ctx = ctx, .rules = *rules};
}

void mgi_curator_finish(mgi_curator *c)
{
    for (int64_t i = 0; i < c->count; i++)
        mgi_curate_film_free(c->ctx, &c->films[i]);
    mgi_free(c->ctx, c->films);
    *c = (mgi_curator){.ctx = c->ctx};
}

mgen_status mgi_curator_take(mgi_curator *c, mgi_curate_film *film)
{
    if (c->count == c->room) {
        const int64_t room = c->room ? 2 * c->room : 16;
        mgen_status status = mgi_realloc(c->ctx, &c->films, (size_t)room, sizeof *c->films);
        if (status != MGEN_OK) {
            mgi_curate_film_free(c->ctx, film);
            return status;
        }
        c->room = room;
    }
    c->films[c->count++] = *film;
    *film = (mgi_curate_film){0};
    return MGEN_OK;
}

bool mgi_curator_wants(const mgi_curator *c, mgi_curate_film *film)
{
    const mgi_curate_rules *r = &c->rules;
    if ((double)film->info.width < r->width_min || (double)film->info.height < r->height_min)
        film->fails |= UINT32_C(1) << MGI_CURATE_RESOLUTION;
    if (r->portrait_max == 0.0 && film->info.height > film->info.width)
        film->fails |= UINT32_C(1) << MGI_CURATE_ASPECT;
    if (film->fails && film->info.frames > 0) { /* what watching it would have told */
        film->seconds = (double)film->info.frames / film->fps;
        if (film->seconds < r->duration_min || film->seconds > r->duration_max)
            film->fails |= UINT32_C(1) << MGI_CURATE_DURATION;
    }
    return !film->fails;
}

int mgi_curate_dropped(const mgi_curate_film *film, const mgi_curate_clip *clip)
{
    const uint32_t fails = film->fails | (clip ? clip->fails : 0);
    int step = 0;
    while (step < MGI_CURATE_STEPS && !(fails >> step & 1))
        step++;
    return step;
}

/* ---- films of both aspects ---------------------------------------------------------------------- */

typedef struct lot {
    uint64_t number;
    int64_t film;
} lot;

static int by_number(const void *a, const void *b)
{
    const lot *x = a, *y = b;
    return x->number != y->number ? (x->number > y->number) - (x->number < y->number)
                                  : (x->film > y->film) - (x->film < y->film);
}

/* Films that are higher than wide, as far as there are too many of them, go by lot. */
static mgen_status mix_aspects(mgi_curator *c)
{
    const double share = c->rules.portrait_max;
    int64_t wide = 0, high = 0;
    lot *lots;
    if (share >= 1.0)
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(c->ctx, (size_t)c->count, sizeof *lots, &lots));
    for (int64_t i = 0; i < c->count; i++) {
        const mgi_curate_film *f = &c->films[i];
        if (f->fails & film_steps)
            continue;
        wide += f->info.height <= f->info.width;
        if (f->info.height > f->info.width)
            lots[high++] = (lot){mgi_hash64(f->name ? f->name : "", f->name ? strlen(f->name) : 0,
                                            (uint64_t)c->rules.seed),
                                 i};
    }
    qsort(lots, (size_t)high, sizeof *lots, by_number);
    for (int64_t i = (int64_t)((double)wide * share / (1.0 - share)); i < high; i++)
        c->films[lots[i].film].fails |= UINT32_C(1) << MGI_CURATE_ASPECT;
    mgi_free(c->ctx, lots);
    return MGEN_OK;
}

/* ---- clips together ----------------------------------------------------------------------------- */

/* The clips that no step has dropped, those of more pixels first: of duplicates they stay. */
static int by_pixels(const void *a, const void *b)
{
    const mgi_curate_member *x = a, *y = b;
    const int64_t p = x->film->info.width * x->film->info.height;
    const int64_t q = y->film->info.width * y->film->info.height;
    return p != q ? (p < q) - (p > q) : (x->order > y->order) - (x->order < y->order);
}

static mgen_status survivors(mgi_curator *c, mgi_curate_member **out, int64_t *count)
{
    int64_t all = 0, n = 0;
    for (int64_t i = 0; i < c->count; i++)
        all += c->films[i].count;
    MGI_TRY(mgi_alloc_zero(c->ctx, (size_t)all, sizeof **out, out));
    for (int64_t i = 0; i < c->count; i++)
        for (int64_t k = 0; k < c->films[i].count; k++) {
            mgi_curate_film *f = &c->films[i];
            if (mgi_curate_dropped(f, &f->clips[k]) != MGI_CURATE_STEPS)
                continue;
            (*out)[n] = (mgi_curate_member){f, &f->clips[k], n};
            n++;
        }
    qsort(*out, (size_t)n, sizeof **out, by_pixels);
    *count = n;
    return MGEN_OK;
}

static void rate(mgi_curator *c)
{
    for (int64_t i = 0; i < c->count; i++)
        if (c->films[i].aesthetic < c->rules.aesthetic_min) /* false of a film without a rating */
            c->films[i].fails |= UINT32_C(1) << MGI_CURATE_AESTHETIC;
}

static void count_left(const mgi_curator *c, mgi_curate_funnel *out)
{
    out->all_films = c->count;
    for (int64_t i = 0; i < c->count; i++) {
        const mgi_curate_film *f = &c->films[i];
        int lasts = mgi_curate_dropped(f, NULL);
        if (f->count)
            lasts = 0;
        out->all_clips += f->count;
        for (int64_t k = 0; k < f->count; k++) {
            const int step = mgi_curate_dropped(f, &f->clips[k]);
            lasts = step > lasts ? step : lasts;
            for (int s = 0; s < step; s++)
                out->clips[s]++;
            if (step == MGI_CURATE_STEPS)
                out->seconds += (double)f->clips[k].frames / f->fps;
        }
        for (int s = 0; s < lasts; s++)
            out->films[s]++;
    }
}

mgen_status mgi_curator_decide(mgi_curator *c, mgi_curate_funnel *funnel)
{
    mgi_curate_member *members;
    int64_t count;
    *funnel = (mgi_curate_funnel){.all_films = 0};
    MGI_TRY(mix_aspects(c));
    rate(c);
    MGI_TRY(survivors(c, &members, &count));
    mgen_status status = mgi_curate_find_duplicates(c->ctx, &c->rules, members, &count);
    if (status == MGEN_OK)
        status = mgi_curate_resample(c->ctx, &c->rules, members, count, &funnel->clusters);
    mgi_free(c->ctx, members);
    if (status == MGEN_OK)
        count_left(c, funnel);
    for (int64_t i = 0; i < c->count; i++)
        funnel->uneven += c->films[i].uneven;
    return status;
}
