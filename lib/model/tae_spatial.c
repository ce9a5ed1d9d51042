/* SPDX-License-Identifier: MIT */
#include "model/tae_spatial.h"

#include <string.h>

enum {
    CONVS_MAX = 2 * MGI_TAE_LEVELS_MAX * MGI_TAE_BLOCKS_MAX + MGI_TAE_LEVELS_MAX + 2,
    NORMS_MAX = 2 * MGI_TAE_LEVELS_MAX * MGI_TAE_BLOCKS_MAX + 1
};

/* What a side does to tiles, in order. */
typedef struct chain {
    const mgi_tae_conv *conv[CONVS_MAX];
    int convs;
    const mgi_tae_norm *norm[NORMS_MAX];
    int64_t frames[NORMS_MAX]; /* that the norm sees */
    int norms;
} chain;

typedef struct spatial {
    mgi_run *run;
    const mgi_tae *tae;
    int direction;
    mgi_tae_film film;   /* what the tiles read */
    mgi_tae_place frame; /* of latents */
    int64_t side;
    mgi_tae_box_sink *sink;
    void *user;
    chain chain;
    mgi_norm_table table[NORMS_MAX];
    int64_t passed[NORMS_MAX];
    mgi_tae_part part;
    int64_t next; /* frame that comes out */
} spatial;

/* -- the chain -------------------------------------------------------------------------------- */

static void add_norm(chain *c, const mgi_tae_norm *n, int64_t frames)
{
    if (!n->w)
        return;
    c->norm[c->norms] = n;
    c->frames[c->norms++] = frames;
}

static void add_level(chain *c, const mgi_tae_side *side, int blocks, int level, int64_t frames)
{
    for (int i = 0; i < blocks; i++) {
        const mgi_tae_block *b = &side->block[level][i];
        for (int k = 0; k < 2; k++) {
            add_norm(c, &b->norm[k], frames);
            c->conv[c->convs++] = k ? &b->second : &b->first;
        }
    }
}

static int64_t frames_after(const mgi_tae_conv *c, int64_t frames)
{
    return c->time_up ? 2 * frames : (frames + c->time_stride - 1) / c->time_stride;
}

static void make_chain(spatial *s)
{
    const mgi_tae_config *config = &s->tae->config;
    bool encodes = s->direction == MGI_TAE_ENCODES;
    const mgi_tae_side *side = encodes ? &s->tae->encoder : &s->tae->decoder;
    chain *c = &s->chain;
    int end = config->levels - 1;
    int64_t frames = s->film.frames;
    if (encodes || !s->part.bare)
        c->conv[c->convs++] = &side->in;
    for (int k = 0; k <= end; k++) {
        int level = encodes ? k : end - k;
        add_level(c, side, mgi_tae_blocks(config, encodes), level, frames);
        if (k == end)
            break;
        c->conv[c->convs++] = &side->change[level];
        frames = frames_after(&side->change[level], frames);
    }
    if (encodes && s->part.bare)
        return;
    add_norm(c, &side->norm_out, frames);
    c->conv[c->convs++] = &side->out;
}

/* -- tiles ------------------------------------------------------------------------------------ */

static mgen_status take(void *user, mgi_run *run, T *y)
{
    spatial *s = user;
    int64_t scale = s->direction == MGI_TAE_ENCODES ? 1 : mgi_tae_factor(&s->tae->config);
    const mgi_tae_box box = {.first = s->next,
                             .top = s->part.core.side[0].first * scale,
                             .left = s->part.core.side[1].first * scale,
                             .y = y};
    s->next += y->dims[1];
    return s->sink(s->user, run, &box);
}

/* What of the input the tile depends on. */
static mgi_tae_place needed(const spatial *s)
{
    mgi_tae_place place = s->part.core;
    int64_t scale = s->direction == MGI_TAE_ENCODES ? 1 : mgi_tae_factor(&s->tae->config);
    for (int i = 0; i < 2; i++) {
        place.side[i].first *= scale;
        place.side[i].count *= scale;
        place.side[i].all *= scale;
    }
    for (int i = s->chain.convs - 1; i >= 0; i--)
        place = mgi_tae_before(s->chain.conv[i], place);
    return place;
}

static void push_piece(spatial *s, mgi_tae_stream *stream, int64_t first, int64_t count)
{
    mgi_run *run = s->run;
    int64_t mark = mgi_scope_push(run);
    const mgi_tae_place whole = mgi_tae_whole(s->film.height, s->film.width);
    T *all = s->film.read(s->film.user, run, first, count), *x = all;
    if (x)
        x = mgi_reshape(run, x, MGI_DIMS(count, x->dims[2], x->dims[3], x->dims[4]));
    x = mgi_tae_crop(run, x, &whole, &s->part.in);
    if (x)
        x = mgi_reshape(run, x, MGI_DIMS(1, count, x->dims[1], x->dims[2], x->dims[3]));
    if (s->part.in.side[0].count < whole.side[0].count ||
        s->part.in.side[1].count < whole.side[1].count)
        mgi_drop(run, all);
    mgi_tae_stream_push(stream, x, first + count == s->film.frames);
    mgi_scope_pop(run, mark, NULL);
}

static void run_tile(spatial *s)
{
    mgi_tae_stream stream;
    int64_t frames = s->film.frames, piece = mgi_tae_piece(s->film.height, s->film.width);
    const mgi_tae_place in = needed(s);
    if (in.side[0].count != s->part.in.side[0].count ||
        in.side[1].count != s->part.in.side[1].count)
        mgi_device_trim(s->run->dev); /* blocks of another tile's sizes would only lie about */
    s->part.in = in;
    s->next = 0;
    memset(s->passed, 0, sizeof s->passed);
    mgi_tae_stream_init(&stream, s->run, s->tae, s->direction, take, s);
    stream.tile = 0;
    stream.part = &s->part;
    for (int64_t at = 0; at < frames && s->run->status == MGEN_OK; at += piece)
        push_piece(s, &stream, at, frames - at < piece ? frames - at : piece);
    mgi_tae_stream_finish(&stream);
    s->part.merged += s->part.core.side[0].count * s->part.core.side[1].count;
}

/* Tiles along a side; the part that number i is. */
static int64_t tiles_along(const spatial *s, int i)
{
    return (s->frame.side[i].all + s->side - 1) / s->side;
}

static void place_tile(spatial *s, int i, int64_t number)
{
    struct mgi_tae_span *core = &s->part.core.side[i];
    core->first = number * s->side;
    core->all = s->frame.side[i].all;
    core->count = core->all - core->first < s->side ? core->all - core->first : s->side;
}

/* Tiles first to last need nothing beyond the frame along side i, and are alike. */
typedef struct alike {
    int64_t first, last;
} alike;

/* On the meta device the first of them stands for all. */
static alike find_alike(spatial *s, int i, int64_t count)
{
    alike a = {count, count};
    for (int64_t k = 0; s->run->dev->meta && k < count; k++) {
        place_tile(s, i, k);
        const mgi_tae_place in = needed(s);
        const struct mgi_tae_span *span = &in.side[i];
        if (span->first == 0 || span->first + span->count == span->all)
            continue;
        a.first = a.first == count ? k : a.first;
        a.last = k;
    }
    return a;
}

static int64_t stands_for(const alike *a, int64_t number)
{
    return number == a->first ? a->last - a->first + 1 : 1;
}

/* All tiles, as far as the norm whose statistics are collected, or to the end. */
static void run_pass(spatial *s)
{
    int64_t rows = tiles_along(s, 0), columns = tiles_along(s, 1);
    const alike down = find_alike(s, 0, rows), along = find_alike(s, 1, columns);
    double *flops = &s->run->dev->counts.flops;
    s->part.merged = 0;
    for (int64_t y = 0; y < rows && s->run->status == MGEN_OK; y += stands_for(&down, y)) {
        place_tile(s, 0, y);
        for (int64_t x = 0; x < columns && s->run->status == MGEN_OK; x += stands_for(&along, x)) {
            double before = *flops;
            place_tile(s, 1, x);
            run_tile(s);
            *flops =
                before + (*flops - before) * (double)(stands_for(&down, y) * stands_for(&along, x));
        }
    }
}

/* -- films ------------------------------------------------------------------------------------ */

static void run_passes(spatial *s)
{
    mgi_tae_part *p = &s->part;
    make_chain(s);
    p->norm = s->chain.norm;
    p->table = s->table;
    p->frames = s->passed;
    /* A single tile's frames have their own. */
    p->norms = tiles_along(s, 0) * tiles_along(s, 1) > 1 ? s->chain.norms : 0;
    for (p->collect = 0; p->collect <= p->norms && s->run->status == MGEN_OK; p->collect++) {
        mgi_norm_table *t = &s->table[p->collect];
        int64_t groups = s->tae->config.groups;
        if (p->collect < p->norms) {
            t->mean = mgi_new(s->run, MGK_F32, MGI_DIMS(s->chain.frames[p->collect], groups));
            t->var = mgi_new(s->run, MGK_F32, MGI_DIMS(s->chain.frames[p->collect], groups));
        }
        run_pass(s);
    }
}

/* A film in memory. */
static T *read_tensor(void *user, mgi_run *run, int64_t first, int64_t count)
{
    return mgi_slice(run, user, 1, first, count);
}

static mgi_tae_film film_of(T *x)
{
    return (mgi_tae_film){x->dims[1], x->dims[2], x->dims[3], read_tensor, x};
}

/* Into a film in memory, row by row. */
static mgen_status gather(void *user, mgi_run *run, const mgi_tae_box *box)
{
    T *all = user, *y = box->y;
    int64_t columns = y->dims[3], c = y->dims[4], rows = y->dims[2];
    for (int64_t i = 0; i < y->dims[1] * rows; i++) {
        int64_t frame = box->first + i / rows, row = box->top + i % rows;
        mgi_copy(run, all, ((frame * all->dims[2] + row) * all->dims[3] + box->left) * c, y,
                 i * columns * c, columns * c);
    }
    return run->status;
}

/* The decoder behind its whole smallest level. */
static void run_with_head(spatial *s)
{
    T *x = s->film.read(s->film.user, s->run, 0, s->film.frames);
    x = mgi_tae_head(s->run, s->tae, x);
    if (!x)
        return;
    s->film = film_of(x);
    run_passes(s);
}

/* The encoder before it. */
static void run_with_rest(spatial *s)
{
    const mgi_tae_config *c = &s->tae->config;
    mgi_run *run = s->run;
    mgi_tae_box_sink *sink = s->sink;
    void *user = s->user;
    T *x = mgi_new(run, MGK_F32,
                   MGI_DIMS(1, mgi_tae_latent_frames(c, s->film.frames), s->frame.side[0].all,
                            s->frame.side[1].all, mgi_tae_width(c, true, c->levels - 1)));
    if (!x)
        return;
    s->sink = gather;
    s->user = x;
    run_passes(s);
    x = mgi_cast(run, mgi_tae_rest(run, s->tae, mgi_cast(run, x, s->tae->module.dtype)), MGK_F32);
    if (x)
        mgi_ok(run, sink(user, run, &(mgi_tae_box){.y = x}));
}

mgen_status mgi_tae_spatial(mgi_run *run, const mgi_tae *tae, int direction,
                            const mgi_tae_film *film, int64_t side, mgi_tae_box_sink *sink,
                            void *user)
{
    bool encodes = direction == MGI_TAE_ENCODES;
    int64_t f = encodes ? mgi_tae_factor(&tae->config) : 1;
    if (run->status != MGEN_OK ||
        !mgi_require(run, side > 0, "tae: a tile must have a latent or more") ||
        !mgi_require(run, film->frames > 0 && film->height % f == 0 && film->width % f == 0,
                     "tae: height and width must be multiples of the spatial factor") ||
        !mgi_require(run, !run->record, "tae: tiles have no gradient"))
        return run->status;
    spatial s = {.run = run,
                 .tae = tae,
                 .direction = direction,
                 .film = *film,
                 .frame = mgi_tae_whole(film->height / f, film->width / f),
                 .side = side,
                 .sink = sink,
                 .user = user,
                 .part.bare = tae->config.attention};
    int64_t mark = mgi_scope_push(run);
    if (!s.part.bare)
        run_passes(&s);
    else if (encodes)
        run_with_rest(&s);
    else
        run_with_head(&s);
    mgi_scope_pop(run, mark, NULL);
    return run->status;
}

T *mgi_tae_in_space(mgi_run *run, const mgi_tae *tae, int direction, T *x, int64_t side)
{
    const mgi_tae_config *c = &tae->config;
    bool encodes = direction == MGI_TAE_ENCODES;
    int64_t f = mgi_tae_factor(c), t = mgi_tae_time_factor(c);
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->rank == 5 && x->dims[0] == 1, "tae: x is not (1,T,H,W,C)"))
        return NULL;
    int64_t frames = x->dims[1], h = x->dims[2], w = x->dims[3], mark = mgi_scope_push(run);
    T *y = encodes ? mgi_new(run, MGK_F32,
                             MGI_DIMS(1, mgi_tae_latent_frames(c, frames), h / f, w / f,
                                      2 * c->latent_channels))
                   : mgi_new(run, MGK_F32, MGI_DIMS(1, frames * t, h * f, w * f, 3));
    const mgi_tae_film film = film_of(x);
    mgi_tae_spatial(run, tae, direction, &film, side, gather, y);
    return mgi_scope_pop(run, mark, run->status == MGEN_OK ? y : NULL);
}
