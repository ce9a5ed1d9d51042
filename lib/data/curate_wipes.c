/* SPDX-License-Identifier: MIT */
#include "data/curate_wipes.h"

#include "core/alloc.h"

#include <math.h>
#include <string.h>

enum {
    STEPS = 16,     /* of a second, at least, if the film has as many frames */
    STEPS_MAX = 32, /* below twice as many */
    BACK_MAX = 8,   /* steps that a frame is compared with one before it */
    PAST = 128,     /* steps that are remembered */
    BLOCKS = MGI_LOOK_BLOCKS,
    WAYS = 8, /* of a border, eighths of a turn */
    WIDE = 0, /* the way along the width, and that along the height */
    HIGH = 2,
    TIMES_MAX = 512, /* at which blocks became new, of those that are remembered */
    PARTS = 4        /* of the way, and of either side, each of which must show the border */
};
/* Seconds that a border takes over the picture, at least and at most, and the factor from one speed to the next that is tried. */
static const double seconds_min = 0.35, seconds_max = 2.5, next_speed = 1.1;
/* Of all blocks: those that become new when the border comes by, less twice those that do so at other times; and of each part of the way. */
static const double enough = 0.36, part_min = 0.25;
/* And of each part of the picture's sides: what moves through the picture seldom takes all of its height. */
static const double side_min = 0.1;
/* What the border takes by the blocks alone, of what it should. */
static const double took_min = 0.6, took_max = 1.5;
/* Blocks that become new at once are a cut: more than this share of all, and so many times more than a border passes. */
static const double burst_min = 0.2, burst_ratio = 1.8;

/* A block became new. */
typedef struct event {
    int64_t step;
    int block;
} event;

struct mgi_curate_wipes {
    mgen_context *ctx;
    bool wanted;
    int64_t width, height, pixels, columns, rows, blocks;
    int64_t every, steps,
        back; /* frames from one that is held to the next; of these, in a second, and from one to that it is compared with */
    int64_t taken;                       /* so far */
    uint8_t *ring;                       /* back + 1 frames */
    double place[BACK_MAX + 1][2], x, y; /* of the view at each, and now */
    uint8_t new_now[BLOCKS], new_before[BLOCKS];
    float way
        [WAYS]
        [BLOCKS]; /* the share of the way that the border has gone when it is in the block's middle */
    event event[TIMES_MAX];
    int64_t events;
};

/* The ways, from edge to edge or from corner to corner. */
static void lay_out(mgi_curate_wipes *w)
{
    static const double to[WAYS][2] = {{1.0, 0.0},  {0.5, 0.5},   {0.0, 1.0},  {-0.5, 0.5},
                                       {-1.0, 0.0}, {-0.5, -0.5}, {0.0, -1.0}, {0.5, -0.5}};
    for (int d = 0; d < WAYS; d++)
        for (int64_t b = 0; b < w->blocks; b++) {
            const double x = ((double)(b % w->columns) + 0.5) / (double)w->columns;
            const double y = ((double)(b / w->columns) + 0.5) / (double)w->rows;
            w->way[d][b] = (float)(fabs(to[d][0]) * (to[d][0] < 0.0 ? 1.0 - x : x) +
                                   fabs(to[d][1]) * (to[d][1] < 0.0 ? 1.0 - y : y));
        }
}

mgen_status mgi_curate_wipes_begin(mgen_context *ctx, const mgi_curate_rules *rules, int64_t width,
                                   int64_t height, double fps, mgi_curate_wipes **out)
{
    mgi_curate_wipes *w;
    *out = NULL;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *w, &w));
    w->ctx = ctx;
    w->wanted = rules->join_ratio > 0.0;
    w->width = width;
    w->height = height;
    w->pixels = width * height;
    w->columns = width / MGI_LOOK_BLOCK;
    w->rows = height / MGI_LOOK_BLOCK;
    w->blocks = w->columns * w->rows;
    w->every = fps >= 2.0 * STEPS ? (int64_t)(fps / STEPS) : 1;
    const int64_t steps = llround(fps / (double)w->every);
    w->steps = steps < 4 ? 4 : steps > STEPS_MAX ? STEPS_MAX : steps;
    w->back = w->steps / 4;
    lay_out(w);
    mgen_status status = mgi_alloc_zero(ctx, BACK_MAX + 1, (size_t)w->pixels, &w->ring);
    if (status != MGEN_OK)
        mgi_curate_wipes_free(w);
    else
        *out = w;
    return status;
}

void mgi_curate_wipes_free(mgi_curate_wipes *w)
{
    if (!w)
        return;
    mgi_free(w->ctx, w->ring);
    mgi_free(w->ctx, w);
}

/* ---- a border ----------------------------------------------------------------------------------- */

/* One that has arrived by step `until`, over the picture in `length` steps. */
typedef struct border {
    int way;
    double length, until;
    double slack; /* steps that blocks may be early or late */
} border;

/* What speaks for it: blocks that became new when it came by, and the share that they are of all, with that of those that did at another
 * time; how long the former took, by themselves, for all of the way; the most that became new in one step. */
typedef struct evidence {
    bool comes[BLOCKS];
    double by, other, took, burst;
} evidence;

/* Sums for a straight line through the times of blocks, by where they lie on the way. */
typedef struct line {
    double n, s, t, ss, st;
} line;

static void add_point(line *l, double s, double t)
{
    l->n += 1.0;
    l->s += s;
    l->t += t;
    l->ss += s * s;
    l->st += s * t;
}

static double slope_of(const line *l)
{
    const double d = l->n * l->ss - l->s * l->s;
    return d > 0.0 ? (l->n * l->st - l->s * l->t) / d : 0.0;
}

/* Of parts of a way, the least share of blocks that became new when the border came by. */
static double least_part(const mgi_curate_wipes *w, int way, const bool *by)
{
    int64_t part[PARTS] = {0}, all[PARTS] = {0};
    double least = 1.0;
    for (int64_t b = 0; b < w->blocks; b++) {
        const int i = (int)(w->way[way][b] * PARTS);
        part[i] += by[b];
        all[i]++;
    }
    for (int i = 0; i < PARTS; i++)
        if (all[i])
            least = fmin(least, (double)part[i] / (double)all[i]);
    return least;
}

static void weigh(const mgi_curate_wipes *w, const border *b, evidence *out)
{
    int64_t other = 0, last = -1, run = 0, burst = 0;
    line l = {0.0, 0.0, 0.0, 0.0, 0.0};
    const double begins = b->until - b->length;
    memset(out->comes, 0, sizeof out->comes);
    for (int64_t i = 0; i < w->events; i++) {
        const event *e = &w->event[i];
        const double at = (double)w->way[b->way][e->block];
        const double late = (double)e->step - begins - at * b->length;
        if ((double)e->step < begins - b->slack)
            continue;
        run = e->step == last ? run + 1 : 1;
        last = e->step;
        burst = run > burst ? run : burst;
        if (fabs(late) <= b->slack && !out->comes[e->block]) {
            out->comes[e->block] = true;
            add_point(&l, at, (double)e->step);
        } else if (late < 0.0 || late > b->slack + (double)w->back) {
            other++; /* but for a block that flickers */
        }
    }
    out->by = l.n / (double)w->blocks;
    out->other = (double)other / (double)w->blocks;
    out->took = slope_of(&l);
    out->burst = (double)burst / (double)w->blocks;
}

/* Blocks in a row along a way. */
static double blocks_along(const mgi_curate_wipes *w, int way)
{
    const int64_t blocks = way % 4 == 0   ? w->columns
                           : way % 4 == 2 ? w->rows
                                          : w->columns + w->rows;
    return (double)blocks;
}

/* A border that has arrived now. */
static bool find(const mgi_curate_wipes *w, border *best)
{
    const double now = (double)(w->taken - 1), second = (double)w->steps;
    double most = enough;
    bool found = false;
    if ((double)w->events < enough * (double)w->blocks)
        return false;
    for (double length = seconds_min * second; length <= seconds_max * second; length *= next_speed)
        for (int way = 0; way < WAYS; way++) {
            const double along = blocks_along(w, way);
            const border b = {way, length, now, 1.0 + 0.6 * length / along};
            evidence e;
            weigh(w, &b, &e);
            const double score = e.by - 2.0 * e.other;
            if (score <= most || e.took < took_min * length || e.took > took_max * length ||
                e.burst > fmax(burst_min, burst_ratio * fmax(1.0 / length, 1.0 / along)) ||
                least_part(w, way, e.comes) < part_min || least_part(w, WIDE, e.comes) < side_min ||
                least_part(w, HIGH, e.comes) < side_min)
                continue;
            most = score;
            *best = b;
            found = true;
        }
    return found;
}

/* ---- a film ------------------------------------------------------------------------------------- */

/* Which blocks are new, and that they have become so. */
static void look(mgi_curate_wipes *w)
{
    const int64_t then = w->taken - 1 - w->back;
    int64_t kept = 0;
    for (int64_t i = 0; i < w->events; i++)
        if (w->event[i].step > w->taken - 1 - PAST)
            w->event[kept++] = w->event[i];
    w->events = kept;
    if (then < 0)
        return;
    const uint8_t *p = w->ring + then % (BACK_MAX + 1) * w->pixels;
    const uint8_t *q = w->ring + (w->taken - 1) % (BACK_MAX + 1) * w->pixels;
    const int dx = (int)lround(w->x - w->place[then % (BACK_MAX + 1)][0]);
    const int dy = (int)lround(w->y - w->place[then % (BACK_MAX + 1)][1]);
    memcpy(w->new_before, w->new_now, sizeof w->new_now);
    mgi_look_new_blocks(p, q, w->width, w->height, dx, dy, w->new_now);
    for (int b = 0; b < w->blocks; b++)
        if (w->new_now[b] && !w->new_before[b]) {
            if (w->events == TIMES_MAX) { /* a picture that is never at rest */
                memmove(w->event, w->event + 1, (TIMES_MAX - 1) * sizeof w->event[0]);
                w->events--;
            }
            w->event[w->events++] = (event){w->taken - 1, b};
        }
}

bool mgi_curate_wipes_frame(mgi_curate_wipes *w, int64_t at, const uint8_t *grey,
                            const mgi_look_motion *motion, int64_t *first, int64_t *end)
{
    const double unit =
        (double)(w->width > w->height ? w->width : w->height) / (double)MGI_LOOK_VECTORS;
    border b;
    w->x += unit * motion->x;
    w->y += unit * motion->y;
    if (at % w->every || !w->wanted || !w->blocks)
        return false;
    const int64_t slot = w->taken % (BACK_MAX + 1);
    memcpy(w->ring + slot * w->pixels, grey, (size_t)w->pixels);
    w->place[slot][0] = w->x;
    w->place[slot][1] = w->y;
    w->taken++;
    look(w);
    if (!find(w, &b))
        return false;
    const double begins = b.until - b.length - b.slack, ends = b.until + 1.0;
    *first = begins < 0.0 ? 0 : (int64_t)(begins * (double)w->every);
    *end = (int64_t)(ends * (double)w->every);
    *end = *end > at + 1 ? at + 1 : *end;
    return true;
}
