/* SPDX-License-Identifier: MIT
 * A film decoded, or encoded, by many ranks.
 *
 * Where every rank can have some rows of latents, each decodes its rows of all frames (tae_rows.h), and rank 0 puts
 * them together, piece by piece. Models with attention, frames in tiles and frames of fewer rows are cut in time into
 * parts, as many rounds of them as there are ranks. In a round each rank decodes a part, with what it depends on
 * of the latents before and after (mgi_tae_reach_of): nothing is exchanged until the frames are there. Rank 0 gives
 * its own on at once. The others keep theirs; when all are done, and none has failed or wants to stop, rank 0 takes
 * them in order, and the others go on with the next round.
 *
 * Frames that are coded one by one are divided in the same way, without surroundings.
 *
 * The surroundings are computed for each part again. Parts are no longer than REACHES times these, which bounds the
 * frames kept and still leaves little of the work done twice.
 */
#include "task/ranks.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "model/tae_stream.h"

#include <string.h>

enum { REACHES = 2, PIECE = 8 };

typedef struct parts {
    mgi_run *run;
    mgi_comm *host; /* of all ranks, for the host's memory */
    const mgi_tae *tae;
    T *z;
    int64_t frames, first, tile, factor; /* factor: frames a latent */
    bool each;                           /* a frame, which is decoded by itself */
    mgi_frames_sink *sink;
    bool (*stop)(void *user);
    void *user;
    int64_t from, end;   /* frames of this rank's part */
    float *kept;         /* they, box by box: */
    int64_t used, room;  /* values */
    mgi_frames_box *box; /* the boxes */
    int64_t boxes, boxes_room;
    float *taken; /* rank 0: a box of another rank's */
    int64_t taken_room;
} parts;

static int64_t box_values(const mgi_frames_box *box)
{
    return box->count * box->height * box->width * 3;
}

/* Where part k of `all` begins, in latents. */
static int64_t cut(const mgi_tae_reach *reach, int64_t latents, int64_t k, int64_t all)
{
    int64_t units = (latents + reach->unit - 1) / reach->unit, at = units * k / all * reach->unit;
    return at < latents ? at : latents;
}

/* -- one part --------------------------------------------------------------------------------- */

static mgen_status more_boxes(parts *p)
{
    int64_t room = 2 * p->boxes_room + 16;
    mgi_frames_box *box;
    if (p->boxes < p->boxes_room)
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(p->run->ctx, (size_t)room, sizeof *box, &box));
    if (p->boxes)
        memcpy(box, p->box, (size_t)p->boxes * sizeof *box);
    mgi_free(p->run->ctx, p->box);
    p->box = box;
    p->boxes_room = room;
    return MGEN_OK;
}

static mgen_status keep(parts *p, const mgi_frames_box *box, const float *rgb)
{
    int64_t values = box_values(box);
    MGI_TRY(more_boxes(p));
    if (values > p->room - p->used)
        return mgi_fail(p->run->ctx, MGEN_E_INTERNAL, "decode: a part gives too many frames");
    if (!p->run->dev->meta)
        memcpy(p->kept + p->used, rgb, (size_t)values * sizeof *rgb);
    p->used += values;
    p->box[p->boxes++] = *box;
    return MGEN_OK;
}

/* Of what comes out, the frames of the part. */
static mgen_status take_part(void *user, const mgi_frames_box *box, float *rgb)
{
    parts *p = user;
    mgi_frames_box own = *box;
    int64_t end = box->first + box->count;
    own.first = box->first < p->from ? p->from : box->first;
    own.count = (end < p->end ? end : p->end) - own.first;
    if (p->stop && p->stop(p->user))
        return mgi_fail(p->run->ctx, MGEN_E_CANCELLED, "cancelled before frame %lld",
                        (long long)box->first);
    if (own.count < 1)
        return MGEN_OK;
    rgb += (own.first - box->first) * box->height * box->width * 3;
    if (mgi_comm_rank(p->host))
        return keep(p, &own, rgb);
    return p->sink ? p->sink(p->user, &own, rgb) : MGEN_OK;
}

/* Latents first .. end - 1 with what is around them. */
static mgen_status decode_part(parts *p, int64_t first, int64_t end, const mgi_tae_reach *reach)
{
    mgi_run run;
    int64_t from = first > reach->before ? first - reach->before : 0, all = p->z->dims[1];
    int64_t to = all - end > reach->after ? end + reach->after : all;
    mgi_run_init(&run, p->run->ctx, false);
    if (p->each)
        mgi_decode_each(&run, p->tae, p->z, first, end, p->tile, take_part, p);
    else
        mgi_decode_run(&run, p->tae, mgi_slice(&run, p->z, 1, from, to - from),
                       p->end - p->first - from * p->factor, p->first + from * p->factor, p->tile,
                       take_part, p);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

/* Room for the frames of the part; what was there is gone. */
static mgen_status make_room(parts *p)
{
    int64_t f = mgi_tae_factor(&p->tae->config), values;
    p->used = p->boxes = 0;
    if (!mgi_comm_rank(p->host) || p->end <= p->from)
        return MGEN_OK;
    if (!mgi_dims_count((int64_t[]){p->end - p->from, p->z->dims[2] * f, p->z->dims[3] * f, 3}, 4,
                        &values))
        return mgi_fail(p->run->ctx, MGEN_E_NO_MEMORY, "the frames of a rank are too many");
    if (values <= p->room)
        return MGEN_OK;
    mgi_free(p->run->ctx, p->kept);
    p->kept = NULL;
    p->room = 0;
    MGI_TRY(mgi_alloc(p->run->ctx, (size_t)values * sizeof *p->kept, &p->kept));
    p->room = values;
    return MGEN_OK;
}

/* -- to rank 0 -------------------------------------------------------------------------------- */

/* A box as it is sent; one of no frames ends a part. */
enum { HEAD = 7 };

static mgen_status send_part(parts *p)
{
    int64_t at = 0, end[HEAD] = {0};
    for (int64_t i = 0; i < p->boxes; i++) {
        const mgi_frames_box *b = &p->box[i];
        int64_t head[HEAD] = {b->first, b->count, b->top, b->left, b->height, b->width, b->last};
        MGI_TRY(mgi_comm_send(p->host, MGK_U64, head, HEAD, 0, NULL));
        MGI_TRY(mgi_comm_send(p->host, MGK_F32, p->kept + at, box_values(b), 0, NULL));
        at += box_values(b);
    }
    return mgi_comm_send(p->host, MGK_U64, end, HEAD, 0, NULL);
}

static bool is_within(int64_t first, int64_t count, int64_t from, int64_t end)
{
    return count >= 1 && first >= from && first <= end && count <= end - first;
}

/* Frames of the film, and of them what there is: the sink writes where the box says. */
static bool box_ok(const parts *p, const mgi_frames_box *b)
{
    int64_t f = mgi_tae_factor(&p->tae->config);
    return is_within(b->first, b->count, p->first, p->first + p->frames) &&
           is_within(b->top, b->height, 0, p->z->dims[2] * f) &&
           is_within(b->left, b->width, 0, p->z->dims[3] * f);
}

static mgen_status take_room(parts *p, int rank, const mgi_frames_box *box)
{
    int64_t values;
    if (!box_ok(p, box) ||
        !mgi_dims_count((int64_t[]){box->count, box->height, box->width, 3}, 4, &values))
        return mgi_fail(p->run->ctx, MGEN_E_DESYNC,
                        "rank %d sends frames that the film has not: %lld from %lld on, %lld x "
                        "%lld at %lld, %lld",
                        rank, (long long)box->count, (long long)box->first, (long long)box->width,
                        (long long)box->height, (long long)box->left, (long long)box->top);
    if (values <= p->taken_room)
        return MGEN_OK;
    mgi_free(p->run->ctx, p->taken);
    p->taken = NULL;
    p->taken_room = 0;
    MGI_TRY(mgi_alloc(p->run->ctx, (size_t)values * sizeof *p->taken, &p->taken));
    p->taken_room = values;
    return MGEN_OK;
}

/* All boxes of a rank. When the sink has failed, they are taken and dropped: what it says is agreed upon later. */
static mgen_status receive_part(parts *p, int rank, mgen_status *sunk)
{
    for (;;) {
        int64_t head[HEAD];
        MGI_TRY(mgi_comm_recv(p->host, MGK_U64, head, HEAD, rank, NULL));
        const mgi_frames_box box = {head[0], head[1], head[2],     head[3],
                                    head[4], head[5], head[6] != 0};
        if (!box.count)
            return MGEN_OK;
        MGI_TRY(take_room(p, rank, &box));
        MGI_TRY(mgi_comm_recv(p->host, MGK_F32, p->taken, box_values(&box), rank, NULL));
        if (*sunk == MGEN_OK && p->sink)
            *sunk = p->sink(p->user, &box, p->taken);
    }
}

static mgen_status transfer(parts *p, mgen_status *sunk)
{
    mgen_status status = MGEN_OK;
    int size = mgi_comm_size(p->host), rank = mgi_comm_rank(p->host);
    if (p->run->dev->meta)
        return MGEN_OK;
    if (rank)
        status = send_part(p);
    for (int r = 1; !rank && r < size && status == MGEN_OK; r++)
        status = receive_part(p, r, sunk);
    if (status != MGEN_OK) /* the others need not wait until it is noticed */
        mgi_comm_abort(p->host);
    return status;
}

/* -- rounds ----------------------------------------------------------------------------------- */

/* Of frames by themselves: nothing beside them. */
static const mgi_tae_reach no_reach = {.before = 0, .after = 0, .unit = 1};

static mgen_status run_rounds(parts *p)
{
    const mgi_tae_reach reach = p->each ? no_reach : mgi_tae_reach_of(p->tae, MGI_TAE_DECODES);
    int64_t latents = p->z->dims[1], units = (latents + reach.unit - 1) / reach.unit;
    int64_t most = REACHES * (reach.before + reach.after) / reach.unit,
            size = mgi_comm_size(p->host);
    most = most < REACHES ? REACHES : most;
    int64_t rounds = (units - 1) / (most * size) + 1, all = rounds * size;
    mgen_status status = MGEN_OK;
    for (int64_t i = 0; i < rounds; i++) {
        int64_t k = i * size + mgi_comm_rank(p->host);
        int64_t first = cut(&reach, latents, k, all), end = cut(&reach, latents, k + 1, all);
        p->from = p->first + first * p->factor;
        p->end = p->first + (end * p->factor < p->frames ? end * p->factor : p->frames);
        if (status == MGEN_OK)
            status = make_room(p);
        if (status == MGEN_OK && p->from < p->end)
            status = decode_part(p, first, end, &reach);
        MGI_TRY(mgi_comm_together_in(p->run->ctx, p->host, status, NULL));
        MGI_TRY(transfer(p, &status));
    }
    return mgi_comm_together_in(p->run->ctx, p->host, status, NULL);
}

static mgen_status decode_parts(mgi_comm *ranks, parts *p)
{
    mgen_context *ctx = p->run->ctx;
    p->host = mgi_comm_host(ranks);
    mgi_ok(p->run, run_rounds(p));
    mgi_free(ctx, p->kept);
    mgi_free(ctx, p->box);
    mgi_free(ctx, p->taken);
    return p->run->status;
}

/* -- rows of all frames ----------------------------------------------------------------------- */

typedef struct shared {
    mgen_context *ctx;
    mgi_tae_rows rows;
    int64_t factor, width; /* pixels a latent; of a frame */
    mgi_frames_sink *sink;
    mgi_frames_source *source;
    bool (*stop)(void *user);
    void *user;
    mgen_status sunk;  /* rank 0: what the sink has said, for the others to know */
    float *all, *part; /* rank 0: frames, and rows of another rank */
    int64_t room;      /* of each, in values */
    bool ended;        /* the ranks have agreed on that */
} shared;

static mgen_status agree(shared *s, mgen_status status)
{
    bool agreed;
    status = mgi_comm_together_in(s->ctx, s->rows.ranks, status, &agreed);
    s->ended = s->ended || (agreed && status != MGEN_OK);
    return status;
}

static mgen_status room_for(shared *s, int64_t frames)
{
    int64_t values = frames * s->rows.own.all * s->factor * s->width * 3;
    if (mgi_comm_rank(s->rows.ranks) || values <= s->room)
        return MGEN_OK;
    mgi_free(s->ctx, s->all);
    mgi_free(s->ctx, s->part);
    s->all = s->part = NULL;
    s->room = 0;
    MGI_TRY(mgi_alloc(s->ctx, (size_t)values * sizeof *s->all, &s->all));
    MGI_TRY(mgi_alloc(s->ctx, (size_t)values * sizeof *s->part, &s->part));
    s->room = values;
    return MGEN_OK;
}

/* A rank's rows of so many frames to where they belong. */
static void place_rows(shared *s, int rank, int64_t frames, const float *rgb)
{
    const struct mgi_tae_span at = mgi_tae_rows_at(&s->rows, rank);
    int64_t row = s->factor * s->width * 3; /* of latents */
    for (int64_t i = 0; i < frames; i++)
        memcpy(s->all + (i * at.all + at.first) * row, rgb + i * at.count * row,
               (size_t)(at.count * row) * sizeof *rgb);
}

/* Rows of all ranks to rank 0. */
static mgen_status collect_rows(shared *s, int64_t frames, const float *rgb)
{
    mgi_comm *host = mgi_comm_host(s->rows.ranks);
    int64_t row = s->factor * s->width * 3;
    if (mgi_comm_rank(host))
        return mgi_comm_send(host, MGK_F32, rgb, frames * s->rows.own.count * row, 0, NULL);
    place_rows(s, 0, frames, rgb);
    for (int r = 1; r < mgi_comm_size(host); r++) {
        int64_t count = frames * mgi_tae_rows_at(&s->rows, r).count * row;
        MGI_TRY(mgi_comm_recv(host, MGK_F32, s->part, count, r, NULL));
        place_rows(s, r, frames, s->part);
    }
    return MGEN_OK;
}

static mgen_status take_rows(void *user, const mgi_frames_box *box, float *rgb)
{
    shared *s = user;
    mgen_status status = s->sunk;
    if (status == MGEN_OK && s->stop && s->stop(s->user))
        status = mgi_fail(s->ctx, MGEN_E_CANCELLED, "cancelled before frame %lld",
                          (long long)box->first);
    if (status == MGEN_OK)
        status = room_for(s, box->count);
    MGI_TRY(agree(s, status));
    MGI_TRY(collect_rows(s, box->count, rgb));
    const mgi_frames_box whole = {.first = box->first,
                                  .count = box->count,
                                  .height = s->rows.own.all * s->factor,
                                  .width = s->width,
                                  .last = true};
    if (mgi_comm_rank(s->rows.ranks) == 0 && s->sink)
        s->sunk = s->sink(s->user, &whole, s->all);
    return MGEN_OK;
}

static mgen_status decode_shared(mgi_run *run, mgi_comm *ranks, const mgi_tae *tae, T *z,
                                 int64_t frames, int64_t first, mgi_frames_sink *sink,
                                 bool (*stop)(void *user), void *user)
{
    int64_t f = mgi_tae_factor(&tae->config);
    shared s = {.ctx = run->ctx,
                .rows = mgi_tae_rows_of(ranks, z->dims[2]),
                .factor = f,
                .width = z->dims[3] * f,
                .sink = sink,
                .stop = stop,
                .user = user};
    if (run->dev->meta) /* no frames come there: those of a piece, at the most */
        mgi_ok(run, room_for(&s, frames < PIECE ? frames : PIECE));
    mgen_status status = mgi_decode_rows(run, tae, z, &s.rows, frames, first, take_rows, &s);
    if (status == MGEN_OK)
        status = agree(&s, s.sunk);
    else if (!s.ended)
        mgi_comm_abort(ranks);
    mgi_free(run->ctx, s.all);
    mgi_free(run->ctx, s.part);
    mgi_ok(run, status);
    return run->status;
}

/* -- the one or the other --------------------------------------------------------------------- */

mgen_status mgi_decode_ranks(mgi_run *run, mgi_comm *ranks, const mgi_tae *tae, T *z,
                             int64_t frames, int64_t first, int64_t tile, mgi_frames_sink *sink,
                             bool (*stop)(void *user), void *user)
{
    int64_t f = mgi_tae_factor(&tae->config);
    MGI_TRY(run->status);
    bool tiles = mgi_decodes_parts(tae, z->dims[2] * f, z->dims[3] * f, tile);
    if (!tiles && mgi_tae_rows_fit(tae, ranks, z->dims[2]))
        return decode_shared(run, ranks, tae, z, frames, first, sink, stop, user);
    parts p = {.run = run,
               .tae = tae,
               .z = z,
               .frames = frames,
               .first = first,
               .tile = tile,
               .factor = mgi_tae_time_factor(&tae->config),
               .sink = sink,
               .stop = stop,
               .user = user};
    return decode_parts(ranks, &p);
}

mgen_status mgi_decode_each_ranks(mgi_run *run, mgi_comm *ranks, const mgi_tae *tae, T *z,
                                  int64_t tile, mgi_frames_sink *sink, bool (*stop)(void *user),
                                  void *user)
{
    MGI_TRY(run->status);
    parts p = {.run = run,
               .tae = tae,
               .z = z,
               .frames = z->dims[1],
               .tile = tile,
               .factor = 1,
               .each = true,
               .sink = sink,
               .stop = stop,
               .user = user};
    return decode_parts(ranks, &p);
}

/* -- frames to latents ------------------------------------------------------------------------ */

/* Latents first .. end - 1 of all, dims[0]. */
static mgen_status encode_part(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                               const int64_t dims[4], int64_t tile, mgi_film_shifted source,
                               int64_t first, int64_t end, float *latents)
{
    const mgi_tae_reach reach = mgi_tae_reach_of(tae, MGI_TAE_ENCODES);
    int64_t factor = mgi_tae_time_factor(&tae->config), frame = dims[1] * dims[2] * dims[3];
    int64_t from = first > reach.before ? first - reach.before : 0;
    int64_t to = dims[0] - end > reach.after ? end + reach.after : dims[0];
    int64_t last = to * factor < film[0] ? to * factor : film[0];
    const int64_t part[3] = {last - from * factor, film[1], film[2]};
    float *all = NULL;
    source.by = from * factor;
    if (!ctx->device->meta)
        MGI_TRY(mgi_alloc(ctx, (size_t)((to - from) * frame) * sizeof *all, &all));
    mgen_status status = mgi_encode_film(ctx, tae, part, tile, mgi_film_later, &source, all);
    if (status == MGEN_OK && all)
        memcpy(latents + first * frame, all + (first - from) * frame,
               (size_t)((end - first) * frame) * sizeof *all);
    mgi_free(ctx, all);
    return status;
}

/* Parts of all ranks, the own of which was made with `status`, to all. */
static mgen_status spread_parts(mgen_context *ctx, mgi_comm *ranks, const mgi_tae_reach *reach,
                                const int64_t dims[4], mgen_status status, float *latents)
{
    int64_t all = mgi_comm_size(ranks), frame = dims[1] * dims[2] * dims[3];
    status = mgi_comm_together_in(ctx, ranks, status, NULL);
    for (int64_t k = 0; k < all && status == MGEN_OK && !ctx->device->meta; k++) {
        int64_t first = cut(reach, dims[0], k, all), end = cut(reach, dims[0], k + 1, all);
        status = mgi_ranks_share(ctx, ranks, MGK_F32, latents + first * frame,
                                 (end - first) * frame, (int)k);
    }
    return status;
}

static mgen_status encode_parts(mgen_context *ctx, mgi_comm *ranks, const mgi_tae *tae,
                                const int64_t film[3], const int64_t dims[4], int64_t tile,
                                mgi_frames_source *source, void *user, float *latents)
{
    const mgi_tae_reach reach = mgi_tae_reach_of(tae, MGI_TAE_ENCODES);
    int64_t all = mgi_comm_size(ranks), own = mgi_comm_rank(ranks);
    int64_t from = cut(&reach, dims[0], own, all), to = cut(&reach, dims[0], own + 1, all);
    const mgi_film_shifted whole = {source, user, 0};
    mgen_status status = MGEN_OK;
    if (from < to)
        status = encode_part(ctx, tae, film, dims, tile, whole, from, to, latents);
    return spread_parts(ctx, ranks, &reach, dims, status, latents);
}

mgen_status mgi_encode_each_ranks(mgen_context *ctx, mgi_comm *ranks, const mgi_tae *tae,
                                  const int64_t film[3], int64_t tile, mgi_frames_source *source,
                                  void *user, float *latents)
{
    const int64_t one[3] = {1, film[1], film[2]};
    int64_t all = mgi_comm_size(ranks), own = mgi_comm_rank(ranks), dims[4];
    MGI_TRY(mgi_latent_dims(ctx, tae, one, dims));
    dims[0] = film[0];
    mgen_status status =
        mgi_encode_each(ctx, tae, film, tile, source, user, cut(&no_reach, dims[0], own, all),
                        cut(&no_reach, dims[0], own + 1, all), latents);
    return spread_parts(ctx, ranks, &no_reach, dims, status, latents);
}

/* What a rank's source says is told by all: they read the same pieces. */
static mgen_status read_together(void *user, int64_t first, int64_t count, float *rgb)
{
    shared *s = user;
    return agree(s, s->source(s->user, first, count, rgb));
}

/* Rows of latents of all ranks, own of this one, to all. */
static mgen_status spread_rows(shared *s, const int64_t dims[4], const float *own, float *latents)
{
    int64_t row = dims[2] * dims[3], most = dims[1] / mgi_comm_size(s->rows.ranks) + 1;
    float *part;
    mgen_status status = MGEN_OK;
    MGI_TRY(mgi_alloc(s->ctx, (size_t)(dims[0] * most * row) * sizeof *part, &part));
    for (int r = 0; r < mgi_comm_size(s->rows.ranks) && status == MGEN_OK; r++) {
        const struct mgi_tae_span at = mgi_tae_rows_at(&s->rows, r);
        int64_t size = at.count * row;
        if (r == mgi_comm_rank(s->rows.ranks))
            memcpy(part, own, (size_t)(dims[0] * size) * sizeof *part);
        status = mgi_ranks_share(s->ctx, s->rows.ranks, MGK_F32, part, dims[0] * size, r);
        for (int64_t i = 0; i < dims[0] && status == MGEN_OK; i++)
            memcpy(latents + (i * dims[1] + at.first) * row, part + i * size,
                   (size_t)size * sizeof *part);
    }
    mgi_free(s->ctx, part);
    return status;
}

static mgen_status encode_shared(mgen_context *ctx, mgi_comm *ranks, const mgi_tae *tae,
                                 const int64_t film[3], const int64_t dims[4],
                                 mgi_frames_source *source, void *user, float *latents)
{
    shared s = {
        .ctx = ctx, .rows = mgi_tae_rows_of(ranks, dims[1]), .source = source, .user = user};
    float *own;
    mgen_status status = mgi_alloc(
        ctx, (size_t)(dims[0] * s.rows.own.count * dims[2] * dims[3]) * sizeof *own, &own);
    MGI_TRY(mgi_comm_together_in(ctx, ranks, status, NULL));
    status = mgi_encode_rows(ctx, tae, &s.rows, film, read_together, &s, own);
    if (status == MGEN_OK && !ctx->device->meta)
        status = spread_rows(&s, dims, own, latents);
    if (status != MGEN_OK && !s.ended)
        mgi_comm_abort(ranks);
    mgi_free(ctx, own);
    return status;
}

mgen_status mgi_encode_ranks(mgen_context *ctx, mgi_comm *ranks, const mgi_tae *tae,
                             const int64_t film[3], int64_t tile, mgi_frames_source *source,
                             void *user, float *latents)
{
    int64_t dims[4];
    MGI_TRY(mgi_latent_dims(ctx, tae, film, dims));
    if (!mgi_decodes_parts(tae, film[1], film[2], tile) && mgi_tae_rows_fit(tae, ranks, dims[1]))
        return encode_shared(ctx, ranks, tae, film, dims, source, user, latents);
    return encode_parts(ctx, ranks, tae, film, dims, tile, source, user, latents);
}
