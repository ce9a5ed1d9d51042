/* SPDX-License-Identifier: MIT */
#include "data/curate_watch.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "data/curate_joins.h"
#include "data/curate_wipes.h"

#include <math.h>
#include <string.h>

enum {
    BEFORE = 4, /* frames with which one is compared that may be a cut */
    GLANCES =
        32, /* descriptions of frames that are held of a clip; when they are full, every second one goes */
    PAST_MIN = 16, /* frames of the past, at least and at most */
    PAST_MAX = 512
};
/* Seconds from one look for text and borders to the next, and from one description. */
static const double looks_apart = 0.5, glances_apart = 0.25;
/* Seconds that the beginning of a join may lie back. */
static const double past_seconds = 4.0;

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
    mgi_curate_joins *joins;
    mgi_curate_wipes *wipes;
    progress *past; /* as it was before each of the last frames, a ring */
    int64_t past_room;
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
    mgi_free(ctx, film->joins);
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
    MGI_TRY(mgi_alloc_zero(w->ctx, GLANCES, sizeof *w->glance, &w->glance));
    MGI_TRY(mgi_alloc_zero(w->ctx, (size_t)w->past_room, sizeof *w->past, &w->past));
    MGI_TRY(
        mgi_curate_joins_begin(w->ctx, &w->rules, w->width, w->height, w->film->fps, &w->joins));
    return mgi_curate_wipes_begin(w->ctx, &w->rules, w->width, w->height, w->film->fps, &w->wipes);
}

static int64_t past_frames(double fps)
{
    const int64_t frames = (int64_t)fmin(past_seconds * fps, (double)PAST_MAX);
    return frames > PAST_MIN ? frames : PAST_MIN;
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
    w->past_room = past_frames(film->fps);
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
    void *const all[] = {w->small, w->grey,    w->before,         w->fine,   w->fine_grey, w->plane,
                         w->rows,  w->blurred, w->blurred_before, w->glance, w->past};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        mgi_free(w->ctx, all[i]);
    mgi_curate_joins_free(w->joins);
    mgi_curate_wipes_free(w->wipes);
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

/* Of the first `n` descriptions. */
static void see(const mgi_curate_watch *w, int64_t n, mgi_curate_view *view)
{
    const int64_t each = MGI_LIKE_SIZE / MGI_LIKE_FRAMES;
    memset(view, 0, sizeof *view);
    for (int64_t i = 0; i < MGI_LIKE_FRAMES; i++) {
        const glance *g = &w->glance[(2 * i + 1) * n / (2 * MGI_LIKE_FRAMES)];
        memcpy(view->like + i * each, g->like, sizeof g->like);
        for (int64_t k = 0; k < MGI_THEME_SIZE; k++)
            view->theme[k] += g->theme[k] / (float)MGI_LIKE_FRAMES;
    }
}

static uint32_t failed(int step, bool fails)
{
    return fails ? UINT32_C(1) << step : 0;
}

/* What is known of a clip, and what it fails. */
static void measure(const mgi_curate_watch *w, const progress *p, mgi_curate_clip *c)
{
    const mgi_curate_rules *r = &w->rules;
    const double pairs = (double)(p->pairs ? p->pairs : 1);
    c->first = p->first;
    c->frames = p->frames;
    c->text = p->text[p->looks > 2]; /* what passes for text seldom does so twice */
    c->border = larger(p->bars[0] + p->bars[1], p->bars[2] + p->bars[3]);
    c->still = (double)p->same / pairs;
    c->still_seconds = (double)p->longest / w->film->fps;
    c->motion = p->difference / pairs;
    c->vector = p->vector / pairs;
    c->shake = p->shake / pairs;
    c->fails = failed(MGI_CURATE_TEXT, c->text > r->text_max) |
               failed(MGI_CURATE_BORDER, c->border > r->border_max) |
               failed(MGI_CURATE_STILL,
                      c->still > r->still_max || c->still_seconds > r->still_seconds_max) |
               failed(MGI_CURATE_MOTION, c->motion < r->motion_min || c->vector < r->vector_min ||
                                             c->vector > r->vector_max) |
               failed(MGI_CURATE_JITTER, c->shake > r->shake_max);
}

/* The clip is over: kept if it is long enough. */
static mgen_status close_clip(mgi_curate_watch *w)
{
    const progress *p = &w->now;
    mgi_curate_film *film = w->film;
    if (!p->begun || p->frames < at_least_one(frames_in(w, w->rules.clip_min))) {
        w->now.begun = false;
        return MGEN_OK;
    }
    if (film->count == film->room) {
        film->room = film->room ? 2 * film->room : 4;
        MGI_TRY(mgi_realloc(w->ctx, &film->clips, (size_t)film->room, sizeof *film->clips));
    }
    mgi_curate_clip *c = &film->clips[film->count];
    *c = (mgi_curate_clip){.same = -1, .cluster = -1};
    measure(w, p, c);
    MGI_TRY(mgi_alloc(w->ctx, sizeof *c->view, &c->view));
    see(w, p->glances, c->view);
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
    if (film->cut_count == film->cut_room) {
        film->cut_room = film->cut_room ? 2 * film->cut_room : 16;
        MGI_TRY(mgi_realloc(w->ctx, &film->cuts, (size_t)film->cut_room, sizeof *film->cuts));
    }
    film->cuts[film->cut_count++] = w->at;
    film->shots++;
    w->shot = w->at;
    w->taken = false;
    w->unknowns = 0;
    return MGEN_OK;
}

/* ---- scenes that pass into each other ----------------------------------------------------------- */

/* What was known of the clip that begins with frame `clip`, before frame `at`, or as long ago as is remembered; false: nothing. */
static bool remember(const mgi_curate_watch *w, int64_t clip, int64_t at, progress *out)
{
    const int64_t oldest = w->at - w->past_room;
    const progress *past = &w->past[(at > oldest ? at : oldest + 1) % w->past_room];
    if (at >= w->at || w->at < 1 || !past->begun || past->first != clip)
        return false;
    *out = *past;
    out->frames = at - clip;
    return true;
}

/* How many of the descriptions that there are now are of what was known then: every second one may be gone since. */
static int64_t seen_then(const mgi_curate_watch *w, const progress *then)
{
    int64_t glances = then->glances;
    for (int64_t every = then->every; every < w->now.every; every *= 2)
        glances = (glances + 1) / 2;
    return glances;
}

/* The clip that is being watched ends before frame `at`. */
static mgen_status close_before(mgi_curate_watch *w, int64_t at)
{
    progress past;
    if (remember(w, w->now.first, at, &past)) {
        past.glances = seen_then(w, &past);
        past.every = w->now.every;
        w->now = past;
    }
    return close_clip(w);
}

/* A closed clip ends before frame `at`. What it looks like is known as long as no other is watched. */
static void end_before(mgi_curate_watch *w, mgi_curate_clip *c, int64_t at)
{
    progress past;
    if (remember(w, c->first, at, &past)) {
        measure(w, &past, c);
        if (w->now.first == c->first)
            see(w, seen_then(w, &past), c->view);
    }
    c->frames = at - c->first;
}

/* Clips that are closed already end where the join begins, if that leaves enough of them. */
static void shorten_clips(mgi_curate_watch *w, const mgi_curate_join *around)
{
    mgi_curate_film *film = w->film;
    const int64_t least = at_least_one(frames_in(w, w->rules.clip_min));
    for (int64_t i = film->count - 1; i >= 0; i--) {
        mgi_curate_clip *c = &film->clips[i];
        if (c->first >= around->end)
            continue;
        if (c->first + c->frames <= around->first)
            return;
        end_before(w, c, around->first);
        if (c->frames >= least)
            continue;
        mgi_free(w->ctx, c->view);
        film->count--;
        memmove(c, c + 1, (size_t)(film->count - i) * sizeof *c);
    }
}

/* What a fade looked like before it was known to be one: a cut each frame. */
static void forget_cuts(mgi_curate_film *film, int64_t first, int64_t end)
{
    while (film->cut_count && film->cuts[film->cut_count - 1] >= first &&
           film->cuts[film->cut_count - 1] <= end) {
        film->cut_count--;
        film->shots--;
    }
}

/* Frames first .. end - 1 are in no scene. Told of a join that is known already, it may be longer than it seemed. */
static mgen_status join(mgi_curate_watch *w, int64_t first, int64_t end)
{
    mgi_curate_film *film = w->film;
    mgi_curate_join *last = film->joined ? &film->joins[film->joined - 1] : NULL;
    const bool known = last && first <= last->end;
    if (!known) {
        if (film->joined == film->join_room) {
            film->join_room = film->join_room ? 2 * film->join_room : 4;
            MGI_TRY(
                mgi_realloc(w->ctx, &film->joins, (size_t)film->join_room, sizeof *film->joins));
        }
        last = &film->joins[film->joined++];
        *last = (mgi_curate_join){first, first};
        film->shots++;
    }
    last->first = first < last->first ? first : last->first;
    if (w->now.begun && w->now.first < last->first)
        MGI_TRY(close_before(w, last->first));
    const bool longer = end > last->end;
    last->end = longer ? end : last->end;
    shorten_clips(w, last);
    if (!longer)
        return MGEN_OK;
    forget_cuts(film, last->first, end);
    w->now.begun = w->taken = false;
    w->shot = end;
    w->unknowns = 0;
    return MGEN_OK;
}

mgen_status mgi_curate_watch_frame(mgi_curate_watch *w, const uint8_t *rgb, bool *enough)
{
    const mgi_film_info *info = &w->film->info;
    mgi_look_motion m = {0};
    double difference = 0.0;
    int64_t first, end;
    bool cuts = false;
    mgi_look_reduce(rgb, info->width, info->height, w->small_factor, w->small);
    mgi_look_grey(w->small, w->width * w->height, w->grey);
    mgi_look_blur(w->grey, w->width, w->height, w->rows, w->blurred);
    if (w->at) {
        difference = mgi_look_difference(w->before, w->grey, w->width * w->height);
        mgi_look_motion_of(w->before, w->grey, w->width, w->height, &m);
        cuts = difference >= w->rules.cut_difference && is_cut(w, m.unknown);
        if (cuts)
            MGI_TRY(cut(w));
        else
            w->unknown[w->unknowns++ % BEFORE] = m.unknown;
    }
    if (mgi_curate_joins_frame(w->joins, w->at, w->blurred, &m, cuts, &first, &end))
        MGI_TRY(join(w, first, end));
    if (mgi_curate_wipes_frame(w->wipes, w->at, w->grey, &m, &first, &end))
        MGI_TRY(join(w, first, end));
    w->past[w->at % w->past_room] = w->now;
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
    for (int64_t i = 0; i < film->count; i++) {
        mgi_curate_clip *c = &film->clips[i];
        c->fails |= failed(MGI_CURATE_JITTER, jitters);
        if (!(film->fails | c->fails))
            continue;
        mgi_free(w->ctx, c->view);
        c->view = NULL;
    }
    return MGEN_OK;
}
