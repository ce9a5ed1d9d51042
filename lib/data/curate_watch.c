/* SPDX-License-Identifier: MIT */
#include "data/curate_watch.h"

#include "core/alloc.h"
#include "core/checked.h"

#include <math.h>
#include <string.h>

enum {
    BEFORE = 4, /* frames with which one is compared that may be a cut */
    GLANCES =
        32 /* descriptions of frames that are held of a clip; when they are full, every second one goes */
};
/* Seconds from one look for text and borders to the next, and from one description. */
static const double looks_apart = 0.5, glances_apart = 0.25;

typedef struct glance {
    float like[MGI_LIKE_SIZE / MGI_LIKE_FRAMES], theme[MGI_THEME_SIZE];
} glance;

/* What is known so far of the clip that is being watched. */
typedef struct progress {
    bool begun;
    int64_t first, frames, pairs;
    double difference, vector, shake;
    int64_t same, run, longest; /* frames that are the one before: all, now, at a stretch */
    double text[2], bars[4];    /* the most text and the next; the narrowest border of each side */
    int64_t looks;
    int64_t glances, every, next_glance;
    double last_x, last_y; /* of the whole frame */
} progress;

struct mgi_curate_watch {
    mgen_context *ctx;
    mgi_curate_rules rules;
    mgi_curate_film *film;
    int64_t small_factor, fine_factor;
    int64_t width, height;           /* of small frames */
    int64_t fine_width, fine_height; /* of those for text and borders */
    uint8_t *small, *grey, *before, *fine, *fine_grey, *plane;
    float *rows, *blurred, *blurred_before;
    glance *glance;
    int64_t at, shot; /* the next frame; the first one of the shot */
    bool taken;       /* the shot has given its clip */
    int64_t cut_room;
    double unknown[BEFORE]; /* of the frames before, a ring; of the shot alone */
    int64_t unknowns;
    progress now;
};

const char *mgi_curate_step_name(int step)
{
    static const char *const names[MGI_CURATE_STEPS] = {
        "read",      "duration", "resolution", "aspect", "scene",     "text",    "border",
        "aesthetic", "still",    "motion",     "jitter", "duplicate", "resample"};
    return names[step];
}

void mgi_curate_film_free(mgen_context *ctx, mgi_curate_film *film)
{
    for (int64_t i = 0; i < film->count; i++)
        mgi_free(ctx, film->clips[i].view);
    mgi_free(ctx, film->clips);
    mgi_free(ctx, film->cuts);
    mgi_free(ctx, film->name);
    mgi_free(ctx, film->caption);
    *film = (mgi_curate_film){0};
}

/* ---- making ------------------------------------------------------------------------------------- */

static mgen_status make_room(mgi_curate_watch *w)
{
    const int64_t small[] = {w->width, w->height, 3}, fine[] = {w->fine_width, w->fine_height, 3};
    int64_t n, rgb, fine_n, fine_rgb;
    if (!mgi_dims_count(small, 2, &n) || !mgi_dims_count(small, 3, &rgb) ||
        !mgi_dims_count(fine, 2, &fine_n) || !mgi_dims_count(fine, 3, &fine_rgb))
        return mgi_fail(w->ctx, MGEN_E_INTERNAL, "a frame's size was not checked");
    MGI_TRY(mgi_alloc(w->ctx, (size_t)rgb, &w->small));
    MGI_TRY(mgi_alloc(w->ctx, (size_t)n, &w->grey));
    MGI_TRY(mgi_alloc(w->ctx, (size_t)n, &w->before));
    MGI_TRY(mgi_alloc(w->ctx, (size_t)fine_rgb, &w->fine));
    MGI_TRY(mgi_alloc(w->ctx, (size_t)fine_n, &w->fine_grey));
    MGI_TRY(mgi_alloc(w->ctx, (size_t)fine_n, &w->plane));
    MGI_TRY(mgi_alloc_zero(w->ctx, (size_t)n, sizeof *w->rows, &w->rows));
    MGI_TRY(mgi_alloc_zero(w->ctx, (size_t)n, sizeof *w->rows, &w->blurred));
    MGI_TRY(mgi_alloc_zero(w->ctx, (size_t)n, sizeof *w->rows, &w->blurred_before));
    return mgi_alloc_zero(w->ctx, GLANCES, sizeof *w->glance, &w->glance);
}

mgen_status mgi_curate_watch_begin(mgen_context *ctx, const mgi_curate_rules *rules,
                                   mgi_curate_film *film, mgi_curate_watch **out)
{
    const mgi_film_info *info = &film->info;
    mgi_curate_watch *w;
    *out = NULL;
    film->fps = mgi_film_rate(info);
    film->shots = 1;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *w, &w));
    w->ctx = ctx;
    w->rules = *rules;
    w->film = film;
    w->small_factor = mgi_look_factor(info->width, info->height, MGI_LOOK_SMALL);
    w->fine_factor = mgi_look_factor(info->width, info->height, MGI_LOOK_FINE);
    w->width = info->width / w->small_factor;
    w->height = info->height / w->small_factor;
    w->fine_width = info->width / w->fine_factor;
    w->fine_height = info->height / w->fine_factor;
    mgen_status status = w->width && w->height
                             ? make_room(w)
                             : mgi_fail(ctx, MGEN_E_CORRUPT,
                                        "frames of %lld x %lld pixels are too narrow to look at",
                                        (long long)info->width, (long long)info->height);
    if (status != MGEN_OK)
        mgi_curate_watch_free(w);
    else
        *out = w;
    return status;
}

void mgi_curate_watch_free(mgi_curate_watch *w)
{
    if (!w)
        return;
    void *const all[] = {w->small, w->grey, w->before,  w->fine,           w->fine_grey,
                         w->plane, w->rows, w->blurred, w->blurred_before, w->glance};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        mgi_free(w->ctx, all[i]);
    mgi_free(w->ctx, w);
}

/* ---- a clip ------------------------------------------------------------------------------------- */

static int64_t frames_in(const mgi_curate_watch *w, double seconds)
{
    return (int64_t)llround(seconds * w->film->fps);
}

static int64_t at_least_one(int64_t frames)
{
    return frames > 1 ? frames : 1;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* Text and borders, in finer frames. */
static void look(mgi_curate_watch *w, const uint8_t *rgb)
{
    const mgi_film_info *info = &w->film->info;
    int64_t bars[4];
    mgi_look_reduce(rgb, info->width, info->height, w->fine_factor, w->fine);
    mgi_look_grey(w->fine, w->fine_width * w->fine_height, w->fine_grey);
    double text = mgi_look_text(w->fine_grey, w->fine_width, w->fine_height);
    for (int k = 0; k < 3; k += 2) { /* yellow letters on sand differ in their blue alone */
        for (int64_t i = 0; i < w->fine_width * w->fine_height; i++)
            w->plane[i] = w->fine[3 * i + k];
        text = larger(text, mgi_look_text(w->plane, w->fine_width, w->fine_height));
    }
    mgi_look_borders(w->fine_grey, w->fine_width, w->fine_height, bars);
    w->now.text[1] = larger(w->now.text[1], text < w->now.text[0] ? text : w->now.text[0]);
    w->now.text[0] = larger(w->now.text[0], text);
    for (int i = 0; i < 4; i++) {
        const double share = (double)bars[i] / (double)(i < 2 ? w->fine_width : w->fine_height);
        w->now.bars[i] = w->now.looks && w->now.bars[i] < share ? w->now.bars[i] : share;
    }
    w->now.looks++;
}

static void describe(mgi_curate_watch *w)
{
    progress *p = &w->now;
    if (p->glances == GLANCES) {
        for (int64_t i = 1; i < GLANCES / 2; i++)
            w->glance[i] = w->glance[2 * i];
        p->glances = GLANCES / 2;
        p->every *= 2;
    }
    glance *g = &w->glance[p->glances++];
    mgi_look_like(w->small, w->width, w->height, g->like);
    mgi_look_theme(w->small, w->width, w->height, g->theme);
    p->next_glance = p->frames + p->every;
}

static mgen_status keep_view(mgi_curate_watch *w, mgi_curate_clip *c)
{
    const int64_t n = w->now.glances, each = MGI_LIKE_SIZE / MGI_LIKE_FRAMES;
    MGI_TRY(mgi_alloc_zero(w->ctx, 1, sizeof *c->view, &c->view));
    for (int64_t i = 0; i < MGI_LIKE_FRAMES; i++) {
        const glance *g = &w->glance[(2 * i + 1) * n / (2 * MGI_LIKE_FRAMES)];
        memcpy(c->view->like + i * each, g->like, sizeof g->like);
        for (int64_t k = 0; k < MGI_THEME_SIZE; k++)
            c->view->theme[k] += g->theme[k] / (float)MGI_LIKE_FRAMES;
    }
    return MGEN_OK;
}

static uint32_t failed(int step, bool fails)
{
    return fails ? UINT32_C(1) << step : 0;
}

/* The clip is over: kept if it is long enough. */
static mgen_status close_clip(mgi_curate_watch *w)
{
    const mgi_curate_rules *r = &w->rules;
    const progress *p = &w->now;
    mgi_curate_film *film = w->film;
    const double pairs = (double)(p->pairs ? p->pairs : 1);
    if (!p->begun || p->frames < at_least_one(frames_in(w, r->clip_min))) {
        w->now.begun = false;
        return MGEN_OK;
    }
    if (film->count == film->room) {
        film->room = film->room ? 2 * film->room : 4;
        MGI_TRY(mgi_realloc(w->ctx, &film->clips, (size_t)film->room, sizeof *film->clips));
    }
    mgi_curate_clip *c = &film->clips[film->count];
    *c = (mgi_curate_clip){
        .first = p->first,
        .frames = p->frames,
        .text = p->text[p->looks > 2], /* what passes for text seldom does so twice */
        .border = larger(p->bars[0] + p->bars[1], p->bars[2] + p->bars[3]),
        .still = (double)p->same / pairs,
        .still_seconds = (double)p->longest / film->fps,
        .motion = p->difference / pairs,
        .vector = p->vector / pairs,
        .shake = p->shake / pairs,
        .same = -1,
        .cluster = -1};
    c->fails = failed(MGI_CURATE_TEXT, c->text > r->text_max) |
               failed(MGI_CURATE_BORDER, c->border > r->border_max) |
               failed(MGI_CURATE_STILL,
                      c->still > r->still_max || c->still_seconds > r->still_seconds_max) |
               failed(MGI_CURATE_MOTION, c->motion < r->motion_min || c->vector < r->vector_min ||
                                             c->vector > r->vector_max) |
               failed(MGI_CURATE_JITTER, c->shake > r->shake_max);
    MGI_TRY(keep_view(w, c));
    film->count++;
    w->now.begun = false;
    return MGEN_OK;
}

/* What this frame and the one before it tell of the clip that both are in. */
static void count_pair(mgi_curate_watch *w, double difference, const mgi_look_motion *m)
{
    progress *p = &w->now;
    const bool same = difference < w->rules.still_difference;
    const double dx = m->x - p->last_x, dy = m->y - p->last_y;
    if (p->pairs)
        p->shake += sqrt(dx * dx + dy * dy);
    p->last_x = m->x;
    p->last_y = m->y;
    p->pairs++;
    p->same += same;
    p->run = same ? p->run + 1 : 0;
    p->longest = p->run > p->longest ? p->run : p->longest;
    p->vector += m->length;
    p->difference +=
        mgi_look_blurred_difference(w->blurred_before, w->blurred, w->width * w->height);
}

static mgen_status follow_clip(mgi_curate_watch *w, const uint8_t *rgb, double difference,
                               const mgi_look_motion *m)
{
    progress *p = &w->now;
    const int64_t skip = w->shot ? 0 : frames_in(w, w->rules.skip);
    if (p->begun) {
        count_pair(w, difference, m);
    } else if (!w->taken && w->at >= w->shot + skip) {
        *p = (progress){
            .begun = true, .first = w->at, .every = at_least_one(frames_in(w, glances_apart))};
        w->taken = true;
    }
    if (!p->begun)
        return MGEN_OK;
    if (p->frames == p->next_glance)
        describe(w);
    if (p->frames % at_least_one(frames_in(w, looks_apart)) == 0)
        look(w, rgb);
    p->frames++;
    return p->frames >= at_least_one(frames_in(w, w->rules.clip_max)) ? close_clip(w) : MGEN_OK;
}

/* ---- a film ------------------------------------------------------------------------------------- */

/* A scene of the same place as the one before shares most of the frame with it: then it is how suddenly the rest is
 * new. */
static bool is_cut(const mgi_curate_watch *w, double unknown)
{
    const mgi_curate_rules *r = &w->rules;
    double mean = 0.0;
    for (int i = 0; i < BEFORE; i++)
        mean += w->unknown[i] / BEFORE;
    return unknown >= r->cut_share || (w->unknowns >= BEFORE && unknown >= 0.5 * r->cut_share &&
                                       unknown >= r->cut_sudden * mean);
}

static mgen_status cut(mgi_curate_watch *w)
{
    mgi_curate_film *film = w->film;
    MGI_TRY(close_clip(w));
    if (film->shots > w->cut_room) {
        w->cut_room = w->cut_room ? 2 * w->cut_room : 16;
        MGI_TRY(mgi_realloc(w->ctx, &film->cuts, (size_t)w->cut_room, sizeof *film->cuts));
    }
    film->cuts[film->shots - 1] = w->at;
    film->shots++;
    w->shot = w->at;
    w->taken = false;
    w->unknowns = 0;
    return MGEN_OK;
}

mgen_status mgi_curate_watch_frame(mgi_curate_watch *w, const uint8_t *rgb, bool *enough)
{
    const mgi_film_info *info = &w->film->info;
    mgi_look_motion m = {0};
    double difference = 0.0;
    mgi_look_reduce(rgb, info->width, info->height, w->small_factor, w->small);
    mgi_look_grey(w->small, w->width * w->height, w->grey);
    mgi_look_blur(w->grey, w->width, w->height, w->rows, w->blurred);
    if (w->at) {
        difference = mgi_look_difference(w->before, w->grey, w->width * w->height);
        mgi_look_motion_of(w->before, w->grey, w->width, w->height, &m);
        if (difference >= w->rules.cut_difference && is_cut(w, m.unknown))
            MGI_TRY(cut(w));
        else
            w->unknown[w->unknowns++ % BEFORE] = m.unknown;
    }
    MGI_TRY(follow_clip(w, rgb, difference, &m));
    uint8_t *grey = w->grey;
    w->grey = w->before;
    w->before = grey;
    float *blurred = w->blurred;
    w->blurred = w->blurred_before;
    w->blurred_before = blurred;
    w->at++;
    *enough = (double)w->at > w->rules.duration_max * w->film->fps;
    return MGEN_OK;
}

mgen_status mgi_curate_watch_end(mgi_curate_watch *w)
{
    const mgi_curate_rules *r = &w->rules;
    mgi_curate_film *film = w->film;
    MGI_TRY(close_clip(w));
    film->info.frames = w->at;
    film->seconds = (double)w->at / film->fps;
    film->fails |= failed(MGI_CURATE_DURATION,
                          film->seconds < r->duration_min || film->seconds > r->duration_max) |
                   failed(MGI_CURATE_SCENE, film->count == 0);
    const bool jitters = film->seconds > 0.0 && (double)film->shots / film->seconds >= r->shots_max;
    for (int64_t i = 0; i < film->count; i++)
        film->clips[i].fails |= failed(MGI_CURATE_JITTER, jitters);
    return MGEN_OK;
}
