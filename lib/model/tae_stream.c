/* SPDX-License-Identifier: MIT
 * Inside, frames are (T,H,W,C), NULL where a piece gave none (yet).
 *
 * A level runs as a whole on what it is given. Between levels the decoder cuts into pieces before it
 * doubles them, and runs each through all finer levels before the next: the most frames that any level
 * ever holds is a piece and the few that are late. */
#include "model/tae_tiles.h"

#include "kernels/conv2d/conv2d.h"
#include "kernels/pointwise/pointwise.h"

#include <string.h>

enum { PIECE_PIXELS = 1 << 16, PIECE_MAX = 4 };

int64_t mgi_tae_piece(int64_t height, int64_t width)
{
    int64_t rows = height > 0 ? PIECE_PIXELS / height : 0;
    int64_t frames = width > 0 ? rows / width : 0;
    return frames < 1 ? 1 : frames > PIECE_MAX ? PIECE_MAX : frames;
}

/* -- frames ----------------------------------------------------------------------------------- */

static int64_t frame_size(const T *x)
{
    return x->dims[1] * x->dims[2] * x->dims[3];
}

T *mgi_tae_joined(mgi_run *run, T *a, T *b)
{
    if (!a || !b)
        return a ? a : b;
    T *y = mgi_new(run, b->dtype,
                   MGI_DIMS(a->dims[0] + b->dims[0], b->dims[1], b->dims[2], b->dims[3]));
    mgi_copy(run, y, 0, a, 0, a->count);
    mgi_copy(run, y, a->count, b, 0, b->count);
    mgi_drop(run, a);
    mgi_drop(run, b);
    return y;
}

T *mgi_tae_frames(mgi_run *run, T *x, int64_t first, int64_t frames)
{
    T *y = NULL;
    if (!x || frames < 1 || !mgi_ok(run, mgi_tensor_rows(x, first, frames, &y)))
        return NULL;
    return mgi_scope_add(run, y);
}

T *mgi_tae_recall(mgi_run *run, T **kept)
{
    T *x = *kept;
    *kept = NULL;
    return x ? mgi_scope_add(run, x) : NULL;
}

void mgi_tae_keep(mgi_run *run, T **kept, T *x, int64_t first)
{
    if (!x || first >= x->dims[0])
        return;
    T *y = mgi_new(run, x->dtype, MGI_DIMS(x->dims[0] - first, x->dims[1], x->dims[2], x->dims[3]));
    if (!y)
        return;
    mgi_copy(run, y, 0, x, first * frame_size(x), y->count);
    *kept = mgi_tensor_retain(y);
    mgi_drop(run, y);
}

T *mgi_tae_crop(mgi_run *run, T *x, const mgi_tae_place *from, const mgi_tae_place *to)
{
    T *y = x;
    for (int i = 0; i < 2 && y; i++) {
        int64_t first = to->side[i].first - from->side[i].first, count = to->side[i].count;
        T *all = y;
        if (count == from->side[i].count)
            continue;
        y = mgi_slice(run, all, 1 + i, first, count);
        if (all != x)
            mgi_drop(run, all);
    }
    return y;
}

/* -- parts of frames -------------------------------------------------------------------------- */

/* The wanted part where the frame has the size that it has at `place`. */
static mgi_tae_place core_at(const mgi_tae_part *part, const mgi_tae_place *place)
{
    mgi_tae_place core = part->core;
    for (int i = 0; i < 2; i++) {
        int64_t scale = place->side[i].all / core.side[i].all;
        core.side[i].first *= scale;
        core.side[i].count *= scale;
        core.side[i].all *= scale;
    }
    return core;
}

static bool collects(const mgi_tae_stream *s, const mgi_tae_norm *n)
{
    const mgi_tae_part *p = s->part;
    return p && p->collect < p->norms && p->norm[p->collect] == n;
}

/* The statistics of what is at `place`, which they are collected of, into the frames' own. */
static void collect(mgi_tae_stream *s, T *x, const mgi_tae_place *place, int64_t first)
{
    const mgi_tae_part *p = s->part;
    const mgi_norm_table *table = &p->table[p->collect];
    mgi_tae_place core = core_at(p, place);
    int64_t scale = 1, mark = mgi_scope_push(s->run);
    for (int i = 0; i < 2; i++)
        scale *= core.side[i].all / p->core.side[i].all;
    x = mgi_tae_crop(s->run, x, place, &core);
    if (x)
        mgi_group_norm_collect(s->run, x, table, first,
                               p->merged * scale * (x->dims[3] / table->mean->dims[1]));
    mgi_scope_pop(s->run, mark, NULL);
}

/* The activation; NULL where the stream halts. */
static T *activate(mgi_tae_stream *s, const mgi_tae_norm *n, T *x, const mgi_tae_place *place)
{
    const mgi_tae_part *p = s->part;
    int i = 0;
    if (s->rows)
        return mgi_tae_rows_activate(s->run, s->rows, n, x);
    if (!p || !p->norms || !n->w)
        return mgi_tae_activate(s->run, n, x);
    while (i < p->norms && p->norm[i] != n)
        i++;
    if (!mgi_require(s->run, i < p->norms, "tae stream: a norm is not in the list"))
        return NULL;
    int64_t first = p->frames[i];
    p->frames[i] += x->dims[0];
    if (i != p->collect)
        return mgi_tae_activate_part(s->run, n, x, &p->table[i], first);
    collect(s, x, place, first);
    return NULL;
}

/* -- convolutions ----------------------------------------------------------------------------- */

/* The convolution in time of all that is there: as far as the frame ahead is known, or to the end. */
static T *convolve_time(mgi_run *run, const mgi_tae_conv *c, mgi_tae_memory *m, T *x, bool last)
{
    int64_t t = x->dims[0], h = x->dims[1], w = x->dims[2], ch = x->dims[3];
    int64_t before = m->begun ? 0 : 1, after = last ? 1 : 0;
    int64_t span = before + t + after - (c->time_up ? 2 : 3), used = 0;
    T *y = NULL;
    if (span >= 0) {
        y = mgi_tae_time(run, c, mgi_reshape(run, x, MGI_DIMS(1, t, h * w, ch)), before, after);
        y = y ? mgi_reshape(run, y, MGI_DIMS(y->dims[1], h, w, y->dims[3])) : NULL;
        used = (span / c->time_stride + 1) * c->time_stride - before;
    }
    if (y && c->time_up)
        y = mgi_tae_frames(run, y, before, y->dims[0] - before - after);
    m->begun = m->begun || span >= 0;
    if (last)
        *m = (mgi_tae_memory){NULL, false};
    else
        mgi_tae_keep(run, &m->kept, x, used);
    return y;
}

/* The half in space of x, which may be NULL, into `to` or what is made for it; takes its place to that of the result. */
static T *in_space(mgi_tae_stream *s, const mgi_tae_conv *c, T *to, T *x, mgi_tae_place *place)
{
    mgi_run *run = s->run;
    int64_t mark = mgi_scope_push(run);
    mgi_tae_place wide = *place, after;
    if (s->rows)
        x = mgi_tae_rows_widen(run, s->rows, c, x, &wide);
    T *y = x ? mgi_tae_space(run, c, s->rows ? NULL : to, x, &wide) : NULL;
    after = mgi_tae_after(c, wide);
    if (s->rows) {
        wide = after;
        after.side[0] = mgi_tae_rows_after(c, place->side[0]);
        y = mgi_tae_crop(run, y, &wide, &after);
    }
    *place = after;
    if (to && y && y != to) {
        mgi_copy(run, to, 0, y, 0, to->count);
        y = to;
    }
    return mgi_scope_pop(run, mark, y);
}

/* The same, behind the frames that were kept for the half in time. */
static T *convolve_space(mgi_tae_stream *s, const mgi_tae_conv *c, mgi_tae_memory *m, T *x,
                         mgi_tae_place *place)
{
    mgi_run *run = s->run;
    T *kept = mgi_tae_recall(run, &m->kept);
    if (!kept || !x) {
        T *y = in_space(s, c, NULL, x, place);
        return kept ? kept : y;
    }
    int64_t late = kept->dims[0], frames = x->dims[0];
    T *all = mgi_new(run, x->dtype,
                     MGI_DIMS(late + frames, kept->dims[1], kept->dims[2], kept->dims[3]));
    if (!all)
        return NULL;
    mgi_copy(run, all, 0, kept, 0, kept->count);
    mgi_drop(run, kept);
    T *rest = mgi_tae_frames(run, all, late, frames);
    if (!rest || !in_space(s, c, rest, x, place))
        return NULL;
    mgi_drop(run, rest);
    return all;
}

/* What follows the half in space; takes x, its result. */
static T *timed(mgi_run *run, const mgi_tae_conv *c, mgi_tae_memory *m, T *x, bool last)
{
    if (!c->tw || run->status != MGEN_OK || !x)
        return x;
    T *y = convolve_time(run, c, m, x, last);
    mgi_drop(run, x);
    return y;
}

/* Takes the place of x to that of the result. */
static T *convolve(mgi_tae_stream *s, const mgi_tae_conv *c, mgi_tae_memory *m, T *x,
                   mgi_tae_place *place, bool last)
{
    int64_t mark = mgi_scope_push(s->run);
    T *y = convolve_space(s, c, m, x, place);
    return mgi_scope_pop(s->run, mark, timed(s->run, c, m, y, last));
}

/* The activation, then the convolution; halts where statistics are collected. */
static T *activated(mgi_tae_stream *s, const mgi_tae_norm *n, const mgi_tae_conv *c,
                    mgi_tae_memory *m, T *x, mgi_tae_place *place, bool last)
{
    mgi_run *run = s->run;
    int64_t mark = mgi_scope_push(run);
    T *h = x ? activate(s, n, x, place) : NULL;
    s->halted = collects(s, n);
    if (s->halted)
        return mgi_scope_pop(run, mark, NULL);
    T *y = convolve_space(s, c, m, h, place);
    mgi_drop(run, h);
    return mgi_scope_pop(run, mark, timed(run, c, m, y, last));
}

static void add_frames(mgi_run *run, T *y, int64_t first, T *x, int64_t frames)
{
    if (run->status != MGEN_OK || frames < 1)
        return;
    const mgk_pointwise_args a = {.x = mgi_buf(x),
                                  .y = mgi_buf_from(mgi_buf(y), first * frame_size(y)),
                                  .count = frames * frame_size(y),
                                  .alpha = 1.0f,
                                  .beta = 1.0f};
    mgi_run_launch(run, MGK_OP_axpby, &a);
}

/* y, to which are added `first`, if it is there, and as many frames of `rest` as there are more. */
static T *added(mgi_run *run, T *y, T *first, T *rest)
{
    int64_t frames = first ? first->dims[0] : 0;
    add_frames(run, y, 0, first, frames);
    add_frames(run, y, frames, rest, y->dims[0] - frames);
    return run->status == MGEN_OK ? y : NULL;
}

/* x + conv(act(conv(act(x)))); takes x, part of which waits for its residual. */
static T *block(mgi_tae_stream *s, const mgi_tae_block *b, mgi_tae_block_memory *m, T *x,
                mgi_tae_place *place, bool last)
{
    mgi_run *run = s->run;
    mgi_tae_place whole = *place;
    int64_t mark = mgi_scope_push(run);
    T *h = activated(s, &b->norm[0], &b->first, &m->first, x, place, last);
    T *residual =
        s->halted ? NULL : activated(s, &b->norm[1], &b->second, &m->second, h, place, last);
    if (s->halted)
        return mgi_scope_pop(run, mark, NULL);
    mgi_drop(run, h);
    h = mgi_tae_crop(run, x, &whole, place);
    if (h != x)
        mgi_drop(run, x);
    if (b->around_w && h) {
        x = h;
        h = mgi_tae_around(run, b, x);
        mgi_drop(run, x);
    }
    T *waited = mgi_tae_recall(run, &m->waiting);
    int64_t late = waited ? waited->dims[0] : 0, ready = residual ? residual->dims[0] : 0;
    if (late > ready) { /* none of h is asked for */
        h = mgi_tae_joined(run, waited, h);
        waited = NULL;
        late = 0;
    }
    if (!last)
        mgi_tae_keep(run, &m->waiting, h, ready - late);
    if (residual)
        residual = added(run, residual, waited, h);
    mgi_drop(run, waited);
    mgi_drop(run, h);
    return mgi_scope_pop(run, mark, residual);
}

/* Takes x. */
static T *middle(mgi_tae_stream *s, const mgi_tae_middle *m, T *x, mgi_tae_place *place, bool last)
{
    mgi_run *run = s->run;
    int64_t mark = mgi_scope_push(run);
    T *h = block(s, &m->first, &s->middle[0], x, place, last);
    T *y = mgi_tae_attend(run, &m->space, h);
    mgi_drop(run, h);
    return mgi_scope_pop(run, mark, block(s, &m->second, &s->middle[1], y, place, last));
}

/* -- levels ----------------------------------------------------------------------------------- */

void mgi_tae_emit(mgi_tae_stream *s, T *x)
{
    mgi_run *run = s->run;
    T *y = mgi_cast(run, x, MGK_F32);
    if (run->status != MGEN_OK || !y)
        return;
    y = mgi_reshape(run, y, MGI_DIMS(1, y->dims[0], y->dims[1], y->dims[2], y->dims[3]));
    if (y)
        mgi_ok(run, s->sink(s->user, run, y));
}

static void run_levels(mgi_tae_stream *s, int k, T *x, mgi_tae_place place, bool last);

/* Through the change of resolution and all that follows. Takes nothing. */
static void run_change(mgi_tae_stream *s, int k, T *x, mgi_tae_place place, bool last)
{
    bool encodes = s->direction == MGI_TAE_ENCODES;
    int level = encodes ? k : s->tae->config.levels - 1 - k;
    const mgi_tae_side *side = encodes ? &s->tae->encoder : &s->tae->decoder;
    int64_t mark = mgi_scope_push(s->run);
    T *y = convolve(s, &side->change[level], &s->change[level], x, &place, last);
    if (y || last)
        run_levels(s, k + 1, y, place, last);
    mgi_scope_pop(s->run, mark, NULL);
}

/* The end: what is left of the network, and out with it. Takes x. */
static void run_out(mgi_tae_stream *s, T *x, mgi_tae_place place, bool last)
{
    const mgi_tae_side *side =
        s->direction == MGI_TAE_ENCODES ? &s->tae->encoder : &s->tae->decoder;
    bool bare = s->part && s->part->bare && s->direction == MGI_TAE_ENCODES;
    T *y = bare ? x : activated(s, &side->norm_out, &side->out, &s->out, x, &place, last);
    if (!bare && s->direction == MGI_TAE_ENCODES)
        y = mgi_tae_mix(s->run, side, y);
    if (!bare)
        mgi_drop(s->run, x);
    if (s->part) {
        mgi_tae_place core = core_at(s->part, &place);
        y = mgi_tae_crop(s->run, y, &place, &core);
    }
    mgi_tae_emit(s, y);
}

/* Of the frames that pieces are made for: all rows, where ranks have some. */
static int64_t height_at(const mgi_tae_stream *s, const mgi_tae_place *place)
{
    return s->rows ? place->side[0].all : place->side[0].count;
}

/* Levels number `k` and following, in the order of the direction. Takes x. */
static void run_levels(mgi_tae_stream *s, int k, T *x, mgi_tae_place place, bool last)
{
    mgi_run *run = s->run;
    bool encodes = s->direction == MGI_TAE_ENCODES;
    int end = s->tae->config.levels - 1, level = encodes ? k : end - k;
    const mgi_tae_side *side = encodes ? &s->tae->encoder : &s->tae->decoder;
    bool attends = s->tae->config.attention && !(s->part && s->part->bare);
    int64_t mark = mgi_scope_push(run);
    s->halted = false;
    if (attends && !encodes && k == 0)
        x = middle(s, &side->middle, x, &place, last);
    for (int i = 0;
         i < mgi_tae_blocks(&s->tae->config, encodes) && run->status == MGEN_OK && !s->halted; i++)
        x = block(s, &side->block[level][i], &s->block[level][i], x, &place, last);
    if (attends && encodes && k == end)
        x = middle(s, &side->middle, x, &place, last);
    if (k == end && !s->halted) {
        run_out(s, x, place, last);
    } else if ((x || last) && !s->halted) {
        int64_t frames = x ? x->dims[0] : 0, at = 0, most = frames;
        if (x && !encodes) /* half a piece of the finest level: it is doubled */
            most = (mgi_tae_piece(height_at(s, &place) << level, x->dims[2] << level) + 1) / 2;
        do {
            int64_t n = frames - at < most ? frames - at : most;
            run_change(s, k, mgi_tae_frames(run, x, at, n), place, last && at + n == frames);
            at += n;
        } while (at < frames && run->status == MGEN_OK);
    }
    mgi_scope_pop(run, mark, NULL);
}

/* -- the stream ------------------------------------------------------------------------------- */

void mgi_tae_stream_init(mgi_tae_stream *s, mgi_run *run, const mgi_tae *tae, int direction,
                         mgi_tae_sink *sink, void *user)
{
    memset(s, 0, sizeof *s);
    s->run = run;
    s->tae = tae;
    s->direction = direction;
    s->sink = sink;
    s->user = user;
    const mgi_tae_config *c = &tae->config;
    int64_t factor = mgi_tae_time_factor(c);
    if (c->tile_frames)
        mgi_tae_stream_tile(s, c->tile_frames, c->tile_overlap);
    else if (c->attention && c->temporal)
        mgi_tae_stream_tile(s, MGI_TAE_TILE_FRAMES, MGI_TAE_TILE_OVERLAP / factor * factor);
}

static void forget(mgi_tae_memory *m)
{
    mgi_tensor_release(m->kept);
    *m = (mgi_tae_memory){NULL, false};
}

static void forget_block(mgi_tae_block_memory *m)
{
    forget(&m->first);
    forget(&m->second);
    mgi_tensor_release(m->waiting);
    m->waiting = NULL;
}

void mgi_tae_stream_finish(mgi_tae_stream *s)
{
    forget(&s->in);
    forget(&s->out);
    for (int i = 0; i < MGI_TAE_LEVELS_MAX; i++) {
        forget(&s->change[i]);
        for (int k = 0; k < MGI_TAE_BLOCKS_MAX; k++)
            forget_block(&s->block[i][k]);
    }
    for (int i = 0; i < 2; i++)
        forget_block(&s->middle[i]);
    mgi_tensor_release(s->kept);
    mgi_tensor_release(s->faded);
    s->kept = s->faded = NULL;
}

static void push_piece(mgi_tae_stream *s, T *x, bool last)
{
    mgi_run *run = s->run;
    const mgi_tae_side *side =
        s->direction == MGI_TAE_ENCODES ? &s->tae->encoder : &s->tae->decoder;
    const mgi_tae_part *part = s->part;
    if (!x)
        return;
    mgi_tae_place place = part ? part->in : mgi_tae_whole(x->dims[1], x->dims[2]);
    if (s->rows) {
        int64_t scale = s->direction == MGI_TAE_ENCODES ? mgi_tae_factor(&s->tae->config) : 1;
        const struct mgi_tae_span *own = &s->rows->own;
        place.side[0] =
            (struct mgi_tae_span){scale * own->first, scale * own->count, scale * own->all};
    }
    int64_t mark = mgi_scope_push(run);
    x = mgi_cast(run, x, s->tae->module.dtype);
    if (s->direction != MGI_TAE_ENCODES && !(part && part->bare))
        x = mgi_tae_mix(run, side, x);
    if (!part || !part->bare || s->direction == MGI_TAE_ENCODES)
        x = convolve(s, &side->in, &s->in, x, &place, last);
    if (run->status == MGEN_OK && (x || last))
        run_levels(s, 0, x, place, last);
    mgi_scope_pop(run, mark, NULL);
}

mgen_status mgi_tae_stream_push(mgi_tae_stream *s, T *x, bool last)
{
    mgi_run *run = s->run;
    bool encodes = s->direction == MGI_TAE_ENCODES;
    const mgi_tae_config *c = &s->tae->config;
    int64_t f = mgi_tae_factor(c), unit = encodes ? 0 : 1;
    bool begun = s->part && s->part->bare; /* by mgi_tae_head */
    int64_t channels = encodes ? 3
                       : begun ? mgi_tae_width(c, false, c->levels - 1)
                               : c->latent_channels;
    if (run->status != MGEN_OK ||
        !mgi_require(
            run, x && x->rank == 5 && x->dims[0] == 1 && x->dims[1] > 0 && x->dims[4] == channels,
            "tae stream: x is not (1,T,H,W,C)") ||
        !mgi_require(run, s->part || !encodes || (x->dims[2] % f == 0 && x->dims[3] % f == 0),
                     "tae stream: height and width must be multiples of the spatial factor"))
        return run->status;
    int64_t scale = encodes ? 1 : f, frames = x->dims[1];
    int64_t height = s->rows ? s->rows->own.all * f : x->dims[2] * scale;
    int64_t most = mgi_tae_piece(height, x->dims[3] * scale);
    int64_t mark = mgi_scope_push(run);
    x = mgi_reshape(run, x, MGI_DIMS(frames, x->dims[2], x->dims[3], channels));
    if (s->tile) {
        mgi_tae_tiles_push(s, x, last);
        mgi_scope_pop(run, mark, NULL);
        return run->status;
    }
    mgi_unit_enter(run, (void *)&s->tae->module, unit);
    for (int64_t at = 0; at < frames && run->status == MGEN_OK; at += most) {
        int64_t n = frames - at < most ? frames - at : most;
        push_piece(s, mgi_tae_frames(run, x, at, n), last && at + n == frames);
    }
    mgi_unit_exit(run, (void *)&s->tae->module, unit);
    mgi_scope_pop(run, mark, NULL);
    return run->status;
}

/* -- parts of films --------------------------------------------------------------------------- */

/* Frames first .. end - 1 that come out of a convolution in time -> those that go in. */
static void reach_through(const mgi_tae_conv *c, int64_t span[2])
{
    if (!c->tw)
        return;
    span[0] = span[0] * c->time_stride - 1;
    span[1] = (span[1] - 1) * c->time_stride + 2;
    if (c->time_up) {
        span[0] /= 2;
        span[1] = (span[1] + 1) / 2;
    }
}

/* From the network's end to its beginning. */
static void reach_through_side(const mgi_tae *tae, bool encodes, int64_t span[2])
{
    const mgi_tae_side *side = encodes ? &tae->encoder : &tae->decoder;
    int levels = tae->config.levels;
    reach_through(&side->out, span);
    for (int k = 0; k < levels; k++) {
        int level = encodes ? levels - 1 - k : k;
        for (int i = 0; i < 2 * mgi_tae_blocks(&tae->config, encodes); i++)
            reach_through(&side->block[level][i / 2].first, span);
        if (k + 1 < levels)
            reach_through(&side->change[encodes ? level - 1 : level + 1], span);
    }
    reach_through(&side->in, span);
}

mgi_tae_reach mgi_tae_reach_of(const mgi_tae *tae, int direction)
{
    bool encodes = direction == MGI_TAE_ENCODES;
    const int64_t far = 1 << 20, factor = mgi_tae_time_factor(&tae->config);
    mgi_tae_stream s;
    mgi_tae_stream_init(&s, NULL, tae, direction, NULL, NULL);
    if (s.tile && encodes)
        return (mgi_tae_reach){s.tile / factor, 0, 0};
    if (s.tile) { /* the tiles whose ends are faded into those of the part */
        int64_t over = s.tile - s.tile_step;
        return (mgi_tae_reach){s.tile_step, (over + s.tile_step - 1) / s.tile_step * s.tile_step,
                               over};
    }
    /* what the latent in the middle of a long film stands for */
    int64_t out = encodes ? 1 : factor, in = encodes ? factor : 1;
    int64_t span[2] = {far * out, (far + 1) * out};
    reach_through_side(tae, encodes, span);
    return (mgi_tae_reach){1, (far * in - span[0] + in - 1) / in,
                           (span[1] - (far + 1) * in + in - 1) / in};
}
