/* SPDX-License-Identifier: MIT */
#include "eval/curate_eval.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/in_order.h"
#include "data/curate.h"
#include "data/world_raw.h"

#include <math.h>

/* World of this protocol; no training or validation seed. */
static const uint64_t eval_world = UINT64_C(0x637572617465);

/* Of what was found, and of what there was to be found. */
typedef struct rates {
    int64_t found, right, there, met; /* found and right; there and found */
} rates;

/* Clips of films with joins; those without a frame of one. */
typedef struct parts {
    int64_t clips, whole;
} parts;

typedef struct measurement {
    mgen_context *ctx;
    mgi_curator curator;
    mgi_world_raw *raw; /* of each film, with what is known of it */
    int64_t films;
    uint64_t world;
    struct watched *watched; /* films that wait for those before them */
    const mgi_eval_request *request;
    mgen_status status;
    rates scenes, joins, duplicates, kept, filters[MGI_CURATE_STEPS];
    rates wipes, slows;
    parts join_parts, wipe_parts, slow_parts;
} measurement;

_Static_assert((MGI_RAW_WIPES - MGI_RAW_KINDS) <= MGI_RAW_KINDS,
               "joined films of one of the others");

#define KIND(kind) (UINT32_C(1) << MGI_RAW_##kind)

static const uint32_t no_defect = KIND(CLEAN) | KIND(PORTRAIT) | KIND(DUPLICATE);

/* The filters that are measured, the kinds of films whose clips they should fail, and those of which it may be. */
static const struct {
    int step;
    uint32_t must, may;
} filters[] = {
    {MGI_CURATE_TEXT, KIND(TEXT), 0},
    {MGI_CURATE_BORDER, KIND(LETTERBOX) | KIND(PILLARBOX), 0},
    {MGI_CURATE_STILL, KIND(STILL) | KIND(SLIDES) | KIND(FROZEN), KIND(SLOW)},
    {MGI_CURATE_MOTION, KIND(SLOW) | KIND(FAST),
     KIND(STILL) | KIND(SLIDES) | KIND(FROZEN) | KIND(SHAKE)},
    {MGI_CURATE_JITTER, KIND(SHAKE), KIND(CUTS)},
};
enum { FILTERS = sizeof filters / sizeof filters[0] };

/* ---- films -------------------------------------------------------------------------------------- */

typedef struct watched {
    mgi_curate_film film, joined, slow; /* those that go with it, or of no frame */
    mgi_world_raw joined_raw, slow_raw;
    mgen_status status;
} watched;

static mgen_status watch_frames(const measurement *m, const mgi_world_raw *raw,
                                mgi_curate_film *film)
{
    const int64_t dims[] = {raw->width, raw->height, 3};
    mgi_curate_watch *watch = NULL;
    uint8_t *room = NULL, *rgb = NULL;
    int64_t size;
    bool enough;
    mgen_status status;
    if (!mgi_dims_count(dims, 3, &size))
        return mgi_fail(m->ctx, MGEN_E_INTERNAL, "a raw film's size");
    MGI_TRY_GOTO(status, mgi_alloc(m->ctx, mgi_world_raw_room(raw), &room), end);
    MGI_TRY_GOTO(status, mgi_alloc(m->ctx, (size_t)size, &rgb), end);
    MGI_TRY_GOTO(status, mgi_curate_watch_begin(m->ctx, &m->curator.rules, film, &watch), end);
    for (int i = 0; i < raw->frames; i++) {
        mgi_world_raw_frame(raw, i, room, rgb);
        MGI_TRY_GOTO(status, mgi_curate_watch_frame(watch, rgb, &enough), end);
    }
    status = mgi_curate_watch_end(watch);
end:
    mgi_curate_watch_free(watch);
    mgi_free(m->ctx, rgb);
    mgi_free(m->ctx, room);
    return status;
}

/* Cuts, to the frame; both lists rise. */
static void score_scenes(measurement *m, const mgi_world_raw *raw, const mgi_curate_film *film)
{
    rates *r = &m->scenes;
    for (int64_t k = 0, t = 1; k < film->cut_count; k++) {
        while (t < raw->scenes && raw->first[t] < film->cuts[k])
            t++;
        const bool right = t < raw->scenes && raw->first[t] == film->cuts[k];
        r->found++;
        r->right += right;
        r->met += right;
    }
    r->there += raw->scenes - 1;
}

/* Joins that meet what was found; of those films all scenes are joined. */
static void score_joins(rates *r, const mgi_world_raw *raw, const mgi_curate_film *film)
{
    bool met[MGI_RAW_SCENES] = {false};
    for (int64_t k = 0; k < film->joined; k++) {
        bool right = false;
        for (int t = 1; t < raw->scenes; t++)
            if (film->joins[k].first < raw->joined[t] && film->joins[k].end > raw->join[t])
                right = met[t] = true;
        r->found++;
        r->right += right;
    }
    for (int t = 1; t < raw->scenes; t++) {
        r->there += raw->joined[t] > 0;
        r->met += met[t];
    }
}

static void score_filters(measurement *m, const mgi_world_raw *raw, const mgi_curate_film *film)
{
    for (int i = 0; i < FILTERS; i++) {
        const bool must = filters[i].must >> raw->kind & 1, may = filters[i].may >> raw->kind & 1;
        rates *r = &m->filters[filters[i].step];
        for (int64_t k = 0; k < film->count && !may; k++) {
            const bool fails = film->clips[k].fails >> filters[i].step & 1;
            r->found += fails;
            r->right += fails && must;
            r->there += must;
            r->met += fails && must;
        }
    }
}

/* Frames of no join. */
static bool is_whole(const mgi_world_raw *raw, const mgi_curate_clip *clip)
{
    bool whole = true;
    for (int t = 1; t < raw->scenes; t++)
        whole =
            whole && (clip->first >= raw->joined[t] || clip->first + clip->frames <= raw->join[t]);
    return whole;
}

/* To so many films of the rounds there are so many whose scenes are joined: of each kind as many as of each of theirs. */
static int64_t joined_of(int64_t films)
{
    return films * (MGI_RAW_WIPES - MGI_RAW_KINDS) / MGI_RAW_KINDS;
}

static mgen_status watch_one(const measurement *m, const mgi_world_raw *raw, mgi_curate_film *film)
{
    film->info = (mgi_film_info){raw->width, raw->height, raw->frames, MGI_RAW_FPS, 1};
    film->fps = MGI_RAW_FPS;
    return mgi_curator_wants(&m->curator, film) ? watch_frames(m, raw, film) : MGEN_OK;
}

static mgen_status watch(const measurement *m, int64_t i, watched *w)
{
    const int64_t joined = joined_of(i);
    mgi_world_raw_random(&m->raw[i], m->world, (uint64_t)i);
    MGI_TRY(watch_one(m, &m->raw[i], &w->film));
    if (joined == joined_of(i + 1))
        return MGEN_OK;
    mgi_world_raw_joined(&w->joined_raw, m->world, (uint64_t)joined);
    mgi_world_raw_slow(&w->slow_raw, m->world, (uint64_t)joined);
    MGI_TRY(watch_one(m, &w->joined_raw, &w->joined));
    return watch_one(m, &w->slow_raw, &w->slow);
}

static void work(void *user, mgi_in_order *run, int64_t item, int64_t place)
{
    const measurement *m = user;
    watched *w = &m->watched[place];
    w->film = w->joined = w->slow = (mgi_curate_film){.aesthetic = NAN};
    w->status = watch(m, item, w);
    mgi_in_order_goes_on(run);
}

static void count_whole(parts *p, const mgi_world_raw *raw, const mgi_curate_film *film)
{
    for (int64_t k = 0; k < film->count; k++) {
        p->clips++;
        p->whole += is_whole(raw, &film->clips[k]);
    }
}

/* Films whose scenes are joined: beside the others, which they take no part with. What seems to be a cut is wrong. */
static void score_joined(measurement *m, const watched *w)
{
    const bool wipes = w->slow_raw.kind == MGI_RAW_WIPES;
    rates *r = wipes ? &m->wipes : &m->slows;
    score_joins(&m->joins, &w->joined_raw, &w->joined);
    m->scenes.found += w->joined.cut_count;
    count_whole(&m->join_parts, &w->joined_raw, &w->joined);
    score_joins(r, &w->slow_raw, &w->slow);
    r->found += w->slow.cut_count;
    count_whole(wipes ? &m->wipe_parts : &m->slow_parts, &w->slow_raw, &w->slow);
}

static void forget(measurement *m, watched *w)
{
    mgi_curate_film_free(m->ctx, &w->film);
    mgi_curate_film_free(m->ctx, &w->joined);
    mgi_curate_film_free(m->ctx, &w->slow);
}

static mgen_status score(measurement *m, int64_t i, watched *w)
{
    const mgi_eval_request *r = m->request;
    MGI_TRY(w->status);
    if (w->film.shots) { /* it was watched */
        score_scenes(m, &m->raw[i], &w->film);
        score_joins(&m->joins, &m->raw[i], &w->film);
        score_filters(m, &m->raw[i], &w->film);
    }
    if (w->joined.shots)
        score_joined(m, w);
    MGI_TRY(mgi_curator_take(&m->curator, &w->film));
    if (r->progress && r->progress(r->user, (int)i + 1, (int)r->n))
        return mgi_fail(m->ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    return MGEN_OK;
}

static bool deliver(void *user, int64_t item, int64_t place)
{
    measurement *m = user;
    m->status = score(m, item, &m->watched[place]);
    forget(m, &m->watched[place]);
    return m->status == MGEN_OK;
}

static mgen_status watch_all(measurement *m)
{
    const mgi_in_order_calls calls = {work, deliver, m};
    const int64_t places = mgi_in_order_places(m->ctx->pool);
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)places, sizeof *m->watched, &m->watched));
    mgen_status status = mgi_in_order_run(m->ctx, &calls, 0, m->films, false);
    for (int64_t i = 0; i < places; i++)
        forget(m, &m->watched[i]);
    mgi_free(m->ctx, m->watched);
    return status == MGEN_OK ? m->status : status;
}

/* ---- all of them together ----------------------------------------------------------------------- */

/* Whether two films show the same: one is the duplicate of the other. */
static bool same_film(const measurement *m, int64_t a, int64_t b)
{
    const int64_t low = a < b ? a : b, high = a < b ? b : a;
    return m->raw[low].kind == MGI_RAW_CLEAN && high - low == MGI_RAW_DUPLICATE - MGI_RAW_CLEAN &&
           m->raw[high].kind == MGI_RAW_DUPLICATE;
}

static bool compared(const mgi_curate_film *film, const mgi_curate_clip *clip)
{
    return mgi_curate_dropped(film, clip) >= MGI_CURATE_DUPLICATE;
}

static bool lost(const mgi_curate_clip *clip)
{
    return clip->fails >> MGI_CURATE_DUPLICATE & 1;
}

/* The film of each clip that was compared, by the number that duplicates name. */
static mgen_status film_of_each(const measurement *m, int64_t **out)
{
    const mgi_curator *c = &m->curator;
    int64_t all = 0, n = 0;
    for (int64_t i = 0; i < c->count; i++)
        all += c->films[i].count;
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)all, sizeof **out, out));
    for (int64_t i = 0; i < c->count; i++)
        for (int64_t k = 0; k < c->films[i].count; k++)
            if (compared(&c->films[i], &c->films[i].clips[k]))
                (*out)[n++] = i;
    return MGEN_OK;
}

static void score_found(measurement *m, const int64_t *film_of)
{
    const mgi_curator *c = &m->curator;
    for (int64_t i = 0; i < c->count; i++)
        for (int64_t k = 0; k < c->films[i].count; k++) {
            const mgi_curate_clip *clip = &c->films[i].clips[k];
            if (!lost(clip) || !compared(&c->films[i], clip))
                continue;
            m->duplicates.found++;
            m->duplicates.right += same_film(m, i, film_of[clip->same]);
        }
}

/* The clips of a clean film, and those of its duplicate. */
static void score_pairs(measurement *m, int64_t clean, int64_t copy)
{
    const mgi_curate_film *a = &m->curator.films[clean], *b = &m->curator.films[copy];
    for (int64_t i = 0; i < a->count; i++)
        for (int64_t k = 0; k < b->count; k++) {
            const mgi_curate_clip *x = &a->clips[i], *y = &b->clips[k];
            if (x->first != y->first || !compared(a, x) || !compared(b, y))
                continue;
            m->duplicates.there++;
            m->duplicates.met += lost(x) || lost(y);
        }
}

/* Nothing is wrong with the film, and no cut is within the clip. */
static bool is_good(const mgi_world_raw *raw, const mgi_curate_clip *clip)
{
    bool whole = true;
    for (int k = 1; k < raw->scenes; k++)
        whole =
            whole && (raw->first[k] <= clip->first || raw->first[k] >= clip->first + clip->frames);
    return whole && (no_defect >> raw->kind & 1);
}

static void score_kept(measurement *m)
{
    const mgi_curator *c = &m->curator;
    for (int64_t i = 0; i < c->count; i++) {
        const mgi_curate_film *film = &c->films[i];
        for (int64_t k = 0; k < film->count; k++) {
            const bool good = is_good(&m->raw[i], &film->clips[k]);
            const bool kept = mgi_curate_dropped(film, &film->clips[k]) == MGI_CURATE_STEPS;
            m->kept.found += kept;
            m->kept.right += kept && good;
            /* of a pair, the one that is left stands for both */
            if (!good || lost(&film->clips[k]))
                continue;
            m->kept.there++;
            m->kept.met += kept;
        }
    }
}

static mgen_status judge(measurement *m, mgi_curate_funnel *funnel)
{
    int64_t *film_of;
    MGI_TRY(mgi_curator_decide(&m->curator, funnel));
    MGI_TRY(film_of_each(m, &film_of));
    score_found(m, film_of);
    mgi_free(m->ctx, film_of);
    for (int64_t i = 0; i + MGI_RAW_DUPLICATE < m->films; i++)
        if (m->raw[i].kind == MGI_RAW_CLEAN)
            score_pairs(m, i, i + MGI_RAW_DUPLICATE);
    score_kept(m);
    return MGEN_OK;
}

/* ---- the protocol ------------------------------------------------------------------------------- */

static void report_rates(mgen_report *report, const rates *r, const char *precision,
                         const char *recall)
{
    if (r->found)
        mgi_report_add(report, precision, (double)r->right / (double)r->found);
    if (r->there)
        mgi_report_add(report, recall, (double)r->met / (double)r->there);
}

static void report_whole(mgen_report *report, const parts *p, const char *name)
{
    if (p->clips)
        mgi_report_add(report, name, (double)p->whole / (double)p->clips);
}

static void report_all(const measurement *m, const mgi_curate_funnel *f, mgen_report *report)
{
    const rates *by = m->filters;
    mgi_report_add(report, "films", (double)f->all_films);
    mgi_report_add(report, "clips", (double)f->all_clips);
    mgi_report_add(report, "kept", (double)f->clips[MGI_CURATE_RESAMPLE]);
    report_rates(report, &m->scenes, "scene_precision", "scene_recall");
    report_rates(report, &m->joins, "join_precision", "join_recall");
    report_whole(report, &m->join_parts, "join_whole");
    report_rates(report, &m->wipes, "wipe_precision", "wipe_recall");
    report_whole(report, &m->wipe_parts, "wipe_whole");
    report_rates(report, &m->slows, "slow_precision", "slow_recall");
    report_whole(report, &m->slow_parts, "slow_whole");
    report_rates(report, &by[MGI_CURATE_TEXT], "text_precision", "text_recall");
    report_rates(report, &by[MGI_CURATE_BORDER], "border_precision", "border_recall");
    report_rates(report, &by[MGI_CURATE_STILL], "still_precision", "still_recall");
    report_rates(report, &by[MGI_CURATE_MOTION], "motion_precision", "motion_recall");
    report_rates(report, &by[MGI_CURATE_JITTER], "jitter_precision", "jitter_recall");
    report_rates(report, &m->duplicates, "duplicate_precision", "duplicate_recall");
    report_rates(report, &m->kept, "kept_precision", "kept_recall");
}

mgen_status mgi_eval_curate(mgen_context *ctx, const mgi_eval_request *r, mgen_report *report)
{
    measurement m = {.ctx = ctx, .films = r->n, .world = eval_world + r->seed, .request = r};
    mgi_curate_rules rules;
    mgi_curate_funnel funnel;
    mgi_curate_rules_toybox(&rules);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)r->n, sizeof *m.raw, &m.raw));
    mgi_curator_init(&m.curator, ctx, &rules);
    mgen_status status = watch_all(&m);
    if (status == MGEN_OK)
        status = judge(&m, &funnel);
    if (status == MGEN_OK)
        report_all(&m, &funnel, report);
    mgi_curator_finish(&m.curator);
    mgi_free(ctx, m.raw);
    return status;
}
