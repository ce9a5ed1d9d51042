/* SPDX-License-Identifier: MIT */
#include "data/curate_joins.h"

#include "core/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEPS = 16,     /* of a second, at least, if the film has as many frames */
    STEPS_MAX = 32, /* below twice as many */
    STRIDE = 2, /* seconds of a slow join's way, looked at in as many steps as one of a second */
    RING = STRIDE * STEPS_MAX + 1,
    STEPS_FEW = 4,    /* that are enough at the beginning of a film or behind a cut */
    CONTRAST_MIN = 6, /* grey levels of deviation below which a frame is of one colour */
    EIGHTH = 8,
    CHANGED = 4 /* grey levels by which a block differs, at least, from what it becomes */
};
/* Of the way from the first frame to the last: that a frame may lie behind the one before it, or ahead; where a join is seen to
 * begin and to end. */
static const double back_max = 0.1, step_max = 0.5, begun = 0.1, ended = 0.9;
/* How far off the way frames may be, of its length, in half a second or in a whole one alone; and of the rule's share of blocks that are new, how much is enough where they
 * are not. */
static const double off_max = 0.4, off_alone = 0.2, share_min = 2.0 / 3.0;
/* Of blocks of a slow join: how far off the way one may be that keeps to it, and how many of those that change must do so. */
static const double block_off_max = 0.25, blocks_min = 0.5, off_slow = 0.3;
/* Cosine from which on the last frame is the first one under other light. */
static const double light = 0.9;

struct mgi_curate_joins {
    mgen_context *ctx;
    double difference, share, ratio; /* of the rules */
    int64_t width, height, pixels;
    int64_t every, steps; /* frames from one that is held to the next; of these, in a second */
    int64_t taken;        /* so far */
    int64_t cut;          /* number of the one that followed the last cut */
    int64_t since;  /* first frame of a change of light that has not ended; -1: there is none */
    int64_t end;    /* of the last join */
    bool slow;      /* it is one that was seen in two seconds */
    uint8_t *ring;  /* RING frames */
    uint8_t *moved; /* room for one */
    double place[RING][2], x, y; /* of the view at each, and now: sums of its motion, pixels */
};

mgen_status mgi_curate_joins_begin(mgen_context *ctx, const mgi_curate_rules *rules, int64_t width,
                                   int64_t height, double fps, mgi_curate_joins **out)
{
    mgi_curate_joins *j;
    *out = NULL;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *j, &j));
    j->ctx = ctx;
    j->difference = rules->cut_difference;
    j->share = rules->cut_share;
    j->ratio = rules->join_ratio;
    j->width = width;
    j->height = height;
    j->pixels = width * height;
    j->every = fps >= 2.0 * STEPS ? (int64_t)(fps / STEPS) : 1;
    const int64_t steps = llround(fps / (double)j->every);
    j->steps = steps < STEPS_FEW ? STEPS_FEW : steps > STEPS_MAX ? STEPS_MAX : steps;
    j->since = -1;
    mgen_status status = mgi_alloc_zero(ctx, RING, (size_t)j->pixels, &j->ring);
    if (status == MGEN_OK)
        status = mgi_alloc(ctx, (size_t)j->pixels, &j->moved);
    if (status != MGEN_OK)
        mgi_curate_joins_free(j);
    else
        *out = j;
    return status;
}

void mgi_curate_joins_free(mgi_curate_joins *j)
{
    if (!j)
        return;
    mgi_free(j->ctx, j->ring);
    mgi_free(j->ctx, j->moved);
    mgi_free(j->ctx, j);
}

/* ---- a way from one frame to another ------------------------------------------------------------ */

/* The k-th frame that was held. */
static const uint8_t *held(const mgi_curate_joins *j, int64_t k)
{
    return j->ring + k % RING * j->pixels;
}

/* How far along the way from p to q frame f is, and how far off it, as a share of the way's length. `squares`: of p and q. */
static double along(const uint8_t *p, const uint8_t *q, const uint8_t *f, int64_t pixels,
                    double squares, double length, double *off)
{
    int64_t dot = 0;
    double sum = 0.0;
    for (int64_t i = 0; i < pixels; i++)
        dot += ((int)f[i] - (int)p[i]) * ((int)q[i] - (int)p[i]);
    const float at = (float)((double)dot / squares);
    for (int64_t i = 0; i < pixels; i++)
        sum += (double)fabsf((float)(f[i] - p[i]) - at * (float)(q[i] - p[i]));
    *off = sum / ((double)pixels * length);
    return (double)at;
}

/* Frames of the past: the newest one, and n before it, each `stride` held ones apart. */
typedef struct past {
    int64_t n, stride;
} past;

/* The k-th of them, 0 .. n. */
static const uint8_t *frame_of(const mgi_curate_joins *j, const past *w, int64_t k)
{
    return held(j, j->taken - 1 - (w->n - k) * w->stride);
}

static bool steady(const double *at, int64_t k)
{
    return at[k] >= at[k - 1] - back_max && at[k] <= at[k - 1] + step_max;
}

/* Those in the middle tell most of whether a way is straight. */
static double weight_of(double at)
{
    return at > 0.0 && at < 1.0 ? at * (1.0 - at) : 0.0;
}

/* Whether frames keep to the way from the first to the last, one after the other, and where on it they are. */
static bool keeps_to_way(const mgi_curate_joins *j, const past *w, double at[STEPS_MAX + 1],
                         double *off)
{
    const int64_t n = w->n;
    const uint8_t *p = frame_of(j, w, 0), *q = frame_of(j, w, n);
    const double length = mgi_look_difference(p, q, j->pixels);
    double sum = 0.0, weights = 0.0, squares = 0.0;
    if (length < j->difference)
        return false;
    for (int64_t i = 0; i < j->pixels; i++)
        squares += (double)((q[i] - p[i]) * (q[i] - p[i]));
    at[0] = 0.0;
    at[n] = 1.0;
    for (int64_t k = 1; k < n; k++) {
        double one;
        at[k] = along(p, q, frame_of(j, w, k), j->pixels, squares, length, &one);
        if (!steady(at, k))
            return false;
        sum += weight_of(at[k]) * one;
        weights += weight_of(at[k]);
    }
    *off = weights > 0.0 ? sum / weights : 1.0;
    return steady(at, n);
}

/* Whether q is p under other light: neither is of one colour. */
static bool is_light(const uint8_t *p, const uint8_t *q, int64_t pixels)
{
    int64_t sum[2] = {0, 0}, squares[2] = {0, 0}, dot = 0;
    for (int64_t i = 0; i < pixels; i++) {
        sum[0] += p[i];
        sum[1] += q[i];
        squares[0] += p[i] * p[i];
        squares[1] += q[i] * q[i];
        dot += p[i] * q[i];
    }
    const double n = (double)pixels;
    const double pp = (double)squares[0] - (double)sum[0] * (double)sum[0] / n;
    const double qq = (double)squares[1] - (double)sum[1] * (double)sum[1] / n;
    const double pq = (double)dot - (double)sum[0] * (double)sum[1] / n;
    const double least = n * CONTRAST_MIN * CONTRAST_MIN;
    return pp >= least && qq >= least && pq >= light * sqrt(pp * qq);
}

/* ---- a film ------------------------------------------------------------------------------------- */

/* The frames of the way that are neither its first nor its last, and as much more as there must be of a straight ramp between
 * the shares at which it is seen to begin and to end. */
static void find_ends(const mgi_curate_joins *j, int64_t at, const past *w,
                      const double way[STEPS_MAX + 1], int64_t *first, int64_t *end)
{
    const int64_t n = w->n, every = j->every * w->stride;
    int64_t from = 0, to = n;
    while (from < n && way[from + 1] <= begun)
        from++;
    while (to > from && way[to - 1] >= ended)
        to--;
    const int64_t more = ((to - from) * every + EIGHTH - 1) / EIGHTH;
    *first = at - (n - from) * every + 1 - more;
    *end = at - (n - to) * every + more;
    const int64_t oldest = at - n * every;
    *first = *first < oldest ? oldest : *first;
    *end = *end >= at ? at + 1 : *end; /* that of a slow one is seen a frame too early */
}

static int64_t within(int64_t i, int64_t size)
{
    return i < 0 ? 0 : i >= size ? size - 1 : i;
}

/* How far the view has moved since the k-th frame that was held, pixels. */
static void moved_since(const mgi_curate_joins *j, int64_t k, int64_t *dx, int64_t *dy)
{
    *dx = llround(j->x - j->place[k % RING][0]);
    *dy = llround(j->y - j->place[k % RING][1]);
}

/* The share of blocks of the newest frame that are nowhere in the one n before it, nor in that moved as the view was. */
static double new_blocks(mgi_curate_joins *j, int64_t n)
{
    const int64_t from = j->taken - 1 - n;
    const uint8_t *p = held(j, from), *q = held(j, j->taken - 1);
    int64_t dx, dy;
    moved_since(j, from, &dx, &dy);
    mgi_look_motion rests, moves;
    mgi_look_motion_of(p, q, j->width, j->height, &rests);
    if (!dx && !dy)
        return rests.unknown;
    for (int64_t y = 0; y < j->height; y++)
        for (int64_t x = 0; x < j->width; x++)
            j->moved[y * j->width + x] =
                p[within(y - dy, j->height) * j->width + within(x - dx, j->width)];
    mgi_look_motion_of(j->moved, q, j->width, j->height, &moves);
    return fmin(rests.unknown, moves.unknown);
}

/* Of the newest frame and the n before it, which may be so far off the way. */
static bool look_back(mgi_curate_joins *j, int64_t at, int64_t n, double most, int64_t *first,
                      int64_t *end, bool *same)
{
    const past w = {n, 1};
    double way[STEPS_MAX + 1], off;
    if (n < STEPS_FEW || !keeps_to_way(j, &w, way, &off) || off > most)
        return false;
    const double unknown = new_blocks(j, n);
    if (unknown < share_min * j->share || unknown < j->ratio * off)
        return false;
    *same = is_light(held(j, j->taken - 1 - n), held(j, j->taken - 1), j->pixels);
    find_ends(j, at, &w, way, first, end);
    return true;
}

/* ---- slow joins --------------------------------------------------------------------------------- */

/* How far off the way a block is, of its own way's length; negative: it does not change. */
static double block_off(const mgi_curate_joins *j, const past *w, const double *at, int64_t block)
{
    enum { SIDE = MGI_LOOK_BLOCK };
    const int64_t columns = j->width / SIDE;
    const int64_t corner = block / columns * SIDE * j->width + block % columns * SIDE;
    const uint8_t *p = frame_of(j, w, 0) + corner, *q = frame_of(j, w, w->n) + corner;
    double sum = 0.0, weights = 0.0;
    int length = 0;
    for (int64_t i = 0; i < SIDE * SIDE; i++) {
        const int64_t x = i / SIDE * j->width + i % SIDE;
        length += abs((int)q[x] - (int)p[x]);
    }
    if (length < CHANGED * SIDE * SIDE)
        return -1.0;
    for (int64_t k = 1; k < w->n; k++) {
        const uint8_t *f = frame_of(j, w, k) + corner;
        const float share = (float)at[k];
        float one = 0.0f;
        for (int64_t i = 0; i < SIDE * SIDE; i++) {
            const int64_t x = i / SIDE * j->width + i % SIDE;
            one += fabsf((float)(f[x] - p[x]) - share * (float)(q[x] - p[x]));
        }
        sum += weight_of(at[k]) * (double)one;
        weights += weight_of(at[k]);
    }
    return weights > 0.0 ? sum / (weights * length) : 1.0;
}

/* Where frames are on the way by some blocks alone. */
static bool place_by(const mgi_curate_joins *j, const past *w, const bool *of, double *at)
{
    const uint8_t *p = frame_of(j, w, 0), *q = frame_of(j, w, w->n);
    const int64_t columns = j->width / MGI_LOOK_BLOCK, rows = j->height / MGI_LOOK_BLOCK;
    for (int64_t k = 1; k < w->n; k++) {
        const uint8_t *f = frame_of(j, w, k);
        int64_t dot = 0, squares = 0;
        for (int64_t y = 0; y < rows * MGI_LOOK_BLOCK; y++)
            for (int64_t x = 0; x < columns * MGI_LOOK_BLOCK; x++) {
                const int64_t i = y * j->width + x;
                if (!of[y / MGI_LOOK_BLOCK * columns + x / MGI_LOOK_BLOCK])
                    continue;
                dot += ((int)f[i] - (int)p[i]) * ((int)q[i] - (int)p[i]);
                squares += ((int)q[i] - (int)p[i]) * ((int)q[i] - (int)p[i]);
            }
        at[k] = squares ? (double)dot / (double)squares : 0.0;
        if (!steady(at, k))
            return false;
    }
    return steady(at, w->n);
}

/* In the time that a slow join takes much moves, which is off the way. So blocks are looked at one by one: in a join most of those that
 * change keep to it, and many of them are nowhere in the first frame. */
static bool look_far_back(mgi_curate_joins *j, int64_t at, const past *w, int64_t *first,
                          int64_t *end, bool *same)
{
    const int64_t from = j->taken - 1 - w->n * w->stride;
    const int64_t blocks = j->width / MGI_LOOK_BLOCK * (j->height / MGI_LOOK_BLOCK);
    const uint8_t *p = frame_of(j, w, 0), *q = frame_of(j, w, w->n);
    double way[STEPS_MAX + 1], off;
    uint8_t is_new[MGI_LOOK_BLOCKS];
    bool keeps[MGI_LOOK_BLOCKS];
    int64_t dx, dy, changed = 0, kept = 0, found = 0;
    if (!keeps_to_way(j, w, way, &off) || off > off_slow)
        return false;
    moved_since(j, from, &dx, &dy);
    mgi_look_new_blocks(p, q, j->width, j->height, (int)dx, (int)dy, is_new);
    for (int64_t b = 0; b < blocks; b++) {
        const double one = block_off(j, w, way, b);
        keeps[b] = one >= 0.0 && one <= block_off_max;
        changed += one >= 0.0;
        kept += keeps[b];
        found += keeps[b] && is_new[b];
    }
    if ((double)found < share_min * j->share * (double)blocks ||
        (double)kept < blocks_min * (double)changed || !place_by(j, w, keeps, way))
        return false;
    *same = is_light(p, q, j->pixels);
    find_ends(j, at, w, way, first, end);
    return true;
}

/* ---- all of them -------------------------------------------------------------------------------- */

/* Half a second back, or to the last cut. In a whole second what moves may seem to keep to a way: it counts if it keeps to it
 * closely, as in slow joins, or to tell where a join that is known begins, and how long it goes on. */
static bool find_quick(mgi_curate_joins *j, int64_t at, int64_t *first, int64_t *end, bool *same)
{
    const int64_t before = j->taken - 1, since_cut = before - j->cut;
    const int64_t all = before < j->steps ? before : j->steps;
    const int64_t half = all < (j->steps + 1) / 2 ? all : (j->steps + 1) / 2;
    int64_t from, to;
    bool light_only;
    const bool found = look_back(j, at, half, off_max, first, end, same) ||
                       (since_cut < half && look_back(j, at, since_cut, off_max, first, end, same));
    const bool known = found || j->end > at - all * j->every;
    if (all == half || !look_back(j, at, all, known ? off_max : off_alone, &from, &to, &light_only))
        return found;
    *first = found && *first < from ? *first : from;
    if (!found) { /* of one that is over, what was told when it ended is better */
        *end = from <= j->end && to <= at && j->end < to ? j->end : to;
        *same = light_only;
    }
    return true;
}

static bool find(mgi_curate_joins *j, int64_t at, int64_t *first, int64_t *end, bool *same)
{
    const past w = {j->steps, STRIDE};
    const int64_t second = j->steps * j->every;
    int64_t from, to;
    bool light_only;
    const bool found = find_quick(j, at, first, end, same);
    if (j->taken - 1 < w.n * w.stride || !look_far_back(j, at, &w, &from, &to, &light_only))
        return found;
    /* what is quick is told by what looks at less, and better */
    const bool overlaps = j->end > at - w.stride * second;
    const bool quick = (found || overlaps) && !(j->slow && overlaps);
    if (quick || 8 * (to - from) < 10 * second)
        return found;
    j->slow = true;
    *first = found && *first < from ? *first : from;
    if (!found) {
        *end = to;
        *same = light_only;
    }
    return true;
}

bool mgi_curate_joins_frame(mgi_curate_joins *j, int64_t at, const float *blurred,
                            const mgi_look_motion *motion, bool cut, int64_t *first, int64_t *end)
{
    const double unit =
        (double)(j->width > j->height ? j->width : j->height) / (double)MGI_LOOK_VECTORS;
    bool same = false;
    j->x += unit * motion->x;
    j->y += unit * motion->y;
    if (cut)
        j->cut = j->taken;
    if (at % j->every || j->ratio <= 0.0)
        return false;
    uint8_t *now = j->ring + j->taken % RING * j->pixels;
    for (int64_t i = 0; i < j->pixels; i++)
        now[i] = (uint8_t)(blurred[i] + 0.5f);
    j->place[j->taken % RING][0] = j->x;
    j->place[j->taken % RING][1] = j->y;
    j->taken++;
    j->slow = j->slow && j->end > at - STRIDE * j->steps * j->every;
    if (!find(j, at, first, end, &same)) {
        j->since = -1;
        return false;
    }
    const bool goes_on = j->end == at - j->every + 1 && *end == at + 1;
    if (j->since >= 0 && j->since < *first)
        *first = j->since;
    if (same && !goes_on) { /* it may yet become black */
        j->since = *first;
        return false;
    }
    j->end = *end;
    return true;
}
