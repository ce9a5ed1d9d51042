/* SPDX-License-Identifier: MIT */
#include "task/codec.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "media/pixels.h"
#include "model/tae_spatial.h"
#include "model/tae_tiles.h"

#include <string.h>

/* -- tiles ------------------------------------------------------------------------------------ */

/* Latents along a tile's side; 0: frames are whole. */
static int64_t tile_side(const mgi_tae *tae, int64_t height, int64_t width, int64_t tile)
{
    tile = tile ? tile : tae->config.space_tile;
    return tile && (height > tile || width > tile) ? tile / mgi_tae_factor(&tae->config) : 0;
}

/* Whether films are handled in tiles of time, each by itself. */
static bool in_time(const mgi_tae_config *c)
{
    return c->tile_frames || c->attention;
}

bool mgi_decodes_parts(const mgi_tae *tae, int64_t height, int64_t width, int64_t tile)
{
    return tile_side(tae, height, width, tile) && !in_time(&tae->config);
}

static void start_stream(mgi_tae_stream *s, mgi_run *run, const mgi_tae *tae, int direction,
                         int64_t side, int64_t piece, mgi_tae_sink *sink, void *user)
{
    mgi_tae_stream_init(s, run, tae, direction, sink, user);
    s->space_tile = side;
    if (side && !s->tile) /* attention, frame by frame */
        mgi_tae_stream_tile(s, piece, 0);
}

/* -- frames to latents ------------------------------------------------------------------------ */

mgen_status mgi_latent_dims(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                            int64_t dims[4])
{
    int64_t f = mgi_tae_factor(&tae->config), count;
    if (film[0] < 1 || film[1] < 1 || film[2] < 1 || film[1] % f || film[2] % f ||
        !mgi_dims_count((int64_t[]){film[0], film[1], film[2], 3 * sizeof(float)}, 4, &count))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "%lld frames of %lld x %lld cannot be encoded: width and height must be "
                        "multiples of %lld, and there must be a frame",
                        (long long)film[0], (long long)film[2], (long long)film[1], (long long)f);
    dims[0] = mgi_tae_latent_frames(&tae->config, film[0]);
    dims[1] = film[1] / f;
    dims[2] = film[2] / f;
    dims[3] = tae->config.latent_channels;
    return MGEN_OK;
}

typedef struct encoding {
    const mgi_tae *tae;
    const int64_t *film;      /* frames, height, width */
    const mgi_tae_rows *rows; /* of it that are encoded; NULL: all */
    mgi_frames_source *source;
    void *user;
    float *rgb;      /* room for a piece of it */
    int64_t dims[4]; /* of the latents: */
    float *latents;
    int64_t next; /* values written so far, where they come in order */
} encoding;

/* The posterior's mean, normalised. */
static mgen_status put_latents(const encoding *e, mgi_run *run, T *h, float *out)
{
    T *z = mgi_posterior(run, h, NULL, 0.0f, NULL);
    if (!z)
        return run->status;
    return run->dev->meta ? MGEN_OK : mgi_tae_normalised(e->tae, z, out);
}

static mgen_status take_latents(void *user, mgi_run *run, T *h)
{
    encoding *e = user;
    float *out = run->dev->meta ? NULL : e->latents + e->next;
    e->next += h->count / 2;
    return put_latents(e, run, h, out);
}

/* Those of a tile, row by row. */
static mgen_status take_part(void *user, mgi_run *run, const mgi_tae_box *box)
{
    const encoding *e = user;
    const int64_t *d = e->dims;
    int64_t rows = box->y->dims[2], size = box->y->dims[3] * d[3];
    float *part;
    MGI_TRY(mgi_alloc(run->ctx, (size_t)box->y->count / 2 * sizeof *part, &part));
    mgen_status status = put_latents(e, run, box->y, part);
    for (int64_t i = 0; i < box->y->dims[1] * rows && status == MGEN_OK && !run->dev->meta; i++) {
        int64_t frame = box->first + i / rows, row = box->top + i % rows;
        memcpy(e->latents + ((frame * d[1] + row) * d[2] + box->left) * d[3], part + i * size,
               (size_t)size * sizeof(float));
    }
    mgi_free(run->ctx, part);
    return status;
}

static T *read_film(void *user, mgi_run *run, int64_t first, int64_t count)
{
    const encoding *e = user;
    T *x = mgi_new(run, MGK_F32, MGI_DIMS(1, count, e->film[1], e->film[2], 3));
    if (!x || run->dev->meta)
        return x;
    if (!mgi_ok(run, e->source(e->user, first, count, e->rgb)))
        return NULL;
    mgi_tensor_write(x, 0, e->rgb, x->count);
    return x;
}

/* The rows of it that are encoded. */
static T *read_rows(encoding *e, mgi_run *run, int64_t first, int64_t count)
{
    T *all = read_film(e, run, first, count), *x = all;
    if (all && e->rows) {
        int64_t f = mgi_tae_factor(&e->tae->config);
        x = mgi_slice(run, all, 2, e->rows->own.first * f, e->rows->own.count * f);
        mgi_drop(run, all);
    }
    return x;
}

static void encode_pieces(mgi_tae_stream *s, encoding *e, int64_t piece)
{
    mgi_run *run = s->run;
    int64_t frames = e->film[0];
    for (int64_t at = 0; at < frames && run->status == MGEN_OK; at += piece) {
        int64_t mark = mgi_scope_push(run), n = frames - at < piece ? frames - at : piece;
        T *x = read_rows(e, run, at, n);
        if (x)
            mgi_tae_stream_push(s, x, at + n == frames);
        mgi_scope_pop(run, mark, NULL);
    }
}

static void encode(mgi_run *run, encoding *e, int64_t side, int64_t piece)
{
    mgi_tae_stream s;
    if (side && !in_time(&e->tae->config)) {
        const mgi_tae_film film = {e->film[0], e->film[1], e->film[2], read_film, e};
        mgi_tae_spatial(run, e->tae, MGI_TAE_ENCODES, &film, side, take_part, e);
        return;
    }
    start_stream(&s, run, e->tae, MGI_TAE_ENCODES, side, piece, take_latents, e);
    s.rows = e->rows;
    encode_pieces(&s, e, piece);
    mgi_tae_stream_finish(&s);
}

static mgen_status run_encoding(mgen_context *ctx, encoding *e, int64_t tile)
{
    const int64_t *film = e->film;
    int64_t piece = mgi_tae_piece(film[1], film[2]);
    int64_t side = e->rows ? 0 : tile_side(e->tae, film[1], film[2], tile);
    mgi_run run;
    MGI_TRY(mgi_latent_dims(ctx, e->tae, film, e->dims));
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)(piece * film[1] * film[2]), 3 * sizeof *e->rgb, &e->rgb));
    mgi_run_init(&run, ctx, false);
    encode(&run, e, side, piece);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    mgi_free(ctx, e->rgb);
    return status;
}

mgen_status mgi_encode_film(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                            int64_t tile, mgi_frames_source *source, void *user, float *latents)
{
    encoding e = {.tae = tae, .film = film, .source = source, .user = user, .latents = latents};
    return run_encoding(ctx, &e, tile);
}

mgen_status mgi_encode_rows(mgen_context *ctx, const mgi_tae *tae, const mgi_tae_rows *rows,
                            const int64_t film[3], mgi_frames_source *source, void *user,
                            float *latents)
{
    encoding e = {
        .tae = tae, .film = film, .rows = rows, .source = source, .user = user, .latents = latents};
    return run_encoding(ctx, &e, 0);
}

/* -- latents to frames ------------------------------------------------------------------------ */

typedef struct decoding {
    const mgi_tae *tae;
    T *z, *inverse;           /* latents; what undoes their scale */
    const mgi_tae_rows *rows; /* that z has; NULL: all */
    int64_t first, frames;    /* the film's first frame has this number; how many are wanted */
    int64_t height, width;    /* of frames, or so many of their rows */
    int64_t next;             /* frames so far, where they come in order */
    mgi_frames_sink *sink;
    void *user;
} decoding;

/* Those of the box's frames that are wanted. */
static mgen_status take_box(void *user, mgi_run *run, const mgi_tae_box *box)
{
    decoding *d = user;
    T *y = box->y;
    float *rgb;
    int64_t size = y->count / y->dims[1], n = y->dims[1];
    n = d->frames - box->first < n ? d->frames - box->first : n;
    if (n < 1)
        return MGEN_OK;
    MGI_TRY(mgi_alloc(run->ctx, (size_t)(n * size) * sizeof *rgb, &rgb)); /* no more than y has */
    mgi_tensor_read(y, 0, rgb, n * size);
    mgen_status status = mgi_device_wait(run->dev);
    const mgi_frames_box out = {.first = d->first + box->first,
                                .count = n,
                                .top = box->top,
                                .left = box->left,
                                .height = y->dims[2],
                                .width = y->dims[3],
                                .last = box->top + y->dims[2] == d->height &&
                                        box->left + y->dims[3] == d->width};
    if (status == MGEN_OK && d->sink && !run->dev->meta)
        status = d->sink(d->user, &out, rgb);
    mgi_free(run->ctx, rgb);
    return status;
}

static mgen_status take_frames(void *user, mgi_run *run, T *y)
{
    decoding *d = user;
    const mgi_tae_box box = {.first = d->next, .y = y};
    d->next += y->dims[1];
    return take_box(d, run, &box);
}

static T *inverse_scale(mgi_run *run, const mgi_tae *tae)
{
    int64_t c = tae->config.latent_channels;
    float *scale;
    T *inverse = mgi_new(run, MGK_F32, 1, &c);
    if (!inverse || !mgi_ok(run, mgi_alloc(run->ctx, (size_t)c * sizeof *scale, &scale)))
        return NULL;
    mgi_tensor_read(tae->latent_scale->value, 0, scale, c);
    for (int64_t i = 0; i < c; i++)
        scale[i] = 1.0f / scale[i];
    mgi_tensor_write(inverse, 0, scale, c);
    mgi_free(run->ctx, scale);
    return inverse;
}

/* Back from zero mean and unit deviation: z / scale + shift. */
static T *read_latents(void *user, mgi_run *run, int64_t first, int64_t count)
{
    const decoding *d = user;
    return mgi_channel_affine(run, mgi_slice(run, d->z, 1, first, count), d->inverse,
                              d->tae->latent_shift->value);
}

/* Latents at once: as few as the decoder handles at once anyway. */
static void decode_pieces(mgi_tae_stream *s, decoding *d, int64_t latents, int64_t piece)
{
    mgi_run *run = s->run;
    for (int64_t at = 0; at < latents && run->status == MGEN_OK; at += piece) {
        int64_t mark = mgi_scope_push(run), n = latents - at < piece ? latents - at : piece;
        mgi_tae_stream_push(s, read_latents(d, run, at, n), at + n == latents);
        mgi_scope_pop(run, mark, NULL);
    }
}

static void decode(mgi_run *run, decoding *d, int64_t latents, int64_t tile)
{
    mgi_tae_stream s;
    int64_t side = d->rows ? 0 : tile_side(d->tae, d->height, d->width, tile);
    int64_t rows = d->rows ? d->rows->own.all * mgi_tae_factor(&d->tae->config) : d->height;
    int64_t piece = mgi_tae_piece(rows, d->width);
    if (side && !in_time(&d->tae->config)) {
        const mgi_tae_film film = {latents, d->z->dims[2], d->z->dims[3], read_latents, d};
        mgi_tae_spatial(run, d->tae, MGI_TAE_DECODES, &film, side, take_box, d);
        return;
    }
    start_stream(&s, run, d->tae, MGI_TAE_DECODES, side, piece, take_frames, d);
    s.rows = d->rows;
    decode_pieces(&s, d, latents, piece);
    mgi_tae_stream_finish(&s);
}

enum { FRAMES_MORE = 8 };

/* On the meta device some pieces stand for all: more than the decoder's convolutions are late, and as many
 * left over at the end. */
static int64_t decode_walked(const mgi_run *run, const mgi_tae_config *c, int64_t frames)
{
    int64_t some = 16 + 8 * mgi_tae_blocks(c, false);
    return run->dev->meta && frames > some + FRAMES_MORE ? some + frames % FRAMES_MORE : frames;
}

/* The operations of frames that were not walked through; those that were took `more`. */
static double rest_of(mgi_run *run, decoding *d, int64_t walked, int64_t frames, int64_t tile,
                      double more)
{
    double *flops = &run->dev->counts.flops, before = *flops;
    decode(run, d, walked - FRAMES_MORE, tile);
    double fewer = *flops - before;
    *flops = before;
    return (more - fewer) * (double)(frames - walked) / FRAMES_MORE;
}

static mgen_status run_decoding(mgi_run *run, const mgi_tae *tae, T *z, const mgi_tae_rows *rows,
                                int64_t frames, int64_t first, int64_t tile, mgi_frames_sink *sink,
                                void *user)
{
    int64_t mark = mgi_scope_push(run), f = mgi_tae_factor(&tae->config);
    if (run->status != MGEN_OK || !mgi_require(run,
                                               z && z->rank == 5 && z->dims[0] == 1 &&
                                                   z->dims[4] == tae->config.latent_channels,
                                               "decode: z is not (1,T,H,W,C)"))
        return run->status;
    if (rows)
        z = mgi_slice(run, z, 2, rows->own.first, rows->own.count);
    if (!z)
        return run->status;
    decoding d = {.tae = tae,
                  .z = z,
                  .rows = rows,
                  .inverse = inverse_scale(run, tae),
                  .first = first,
                  .frames = frames,
                  .height = z->dims[2] * f,
                  .width = z->dims[3] * f,
                  .sink = sink,
                  .user = user};
    int64_t walked = decode_walked(run, &tae->config, z->dims[1]);
    double *flops = &run->dev->counts.flops, before = *flops;
    decode(run, &d, walked, tile);
    if (walked < z->dims[1])
        *flops += rest_of(run, &d, walked, z->dims[1], tile, *flops - before);
    mgi_scope_pop(run, mark, NULL);
    return run->status;
}

mgen_status mgi_decode_run(mgi_run *run, const mgi_tae *tae, T *z, int64_t frames, int64_t first,
                           int64_t tile, mgi_frames_sink *sink, void *user)
{
    return run_decoding(run, tae, z, NULL, frames, first, tile, sink, user);
}

mgen_status mgi_decode_rows(mgi_run *run, const mgi_tae *tae, T *z, const mgi_tae_rows *rows,
                            int64_t frames, int64_t first, mgi_frames_sink *sink, void *user)
{
    return run_decoding(run, tae, z, rows, frames, first, 0, sink, user);
}

static mgen_status check_dims(mgen_context *ctx, const int64_t dims[4], int64_t channels)
{
    int64_t count;
    if (dims[0] < 1 || dims[1] < 1 || dims[2] < 1 || dims[3] != channels ||
        !mgi_dims_count(dims, 4, &count) || count > INT64_MAX / 64)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "latents of %lld x %lld x %lld x %lld (frames, rows, columns, channels) are "
            "not possible: sizes are 1 or more, channels %lld",
            (long long)dims[0], (long long)dims[1], (long long)dims[2], (long long)dims[3],
            (long long)channels);
    return MGEN_OK;
}

mgen_status mgi_decode_film(mgen_context *ctx, const mgi_tae *tae, const float *latents,
                            const int64_t dims[4], int64_t frames, int64_t tile,
                            mgi_frames_sink *sink, void *user)
{
    mgi_run run;
    int64_t all = 0, factor = mgi_tae_time_factor(&tae->config);
    MGI_TRY(check_dims(ctx, dims, tae->config.latent_channels));
    if (!mgi_i64_mul(dims[0], factor, &all) || frames < 0 || frames > all)
        return mgi_fail(ctx, MGEN_E_INVALID, "%lld latent frames hold %lld frames, not %lld",
                        (long long)dims[0], (long long)all, (long long)frames);
    mgi_run_init(&run, ctx, false);
    T *z = mgi_new(&run, MGK_F32, MGI_DIMS(1, dims[0], dims[1], dims[2], dims[3]));
    if (z) {
        mgi_tensor_write(z, 0, latents, z->count);
        mgi_decode_run(&run, tae, z, frames ? frames : all, 0, tile, sink, user);
    }
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

mgen_status mgi_film_later(void *user, int64_t first, int64_t count, float *rgb)
{
    const mgi_film_shifted *s = user;
    return s->source(s->user, s->by + first, count, rgb);
}

mgen_status mgi_encode_each(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                            int64_t tile, mgi_frames_source *source, void *user, int64_t first,
                            int64_t end, float *latents)
{
    const int64_t one[3] = {1, film[1], film[2]};
    double *flops = &ctx->device->counts.flops, before = *flops;
    int64_t dims[4], last = ctx->device->meta && first < end ? first + 1 : end;
    MGI_TRY(mgi_latent_dims(ctx, tae, one, dims));
    for (int64_t i = first; i < last; i++) {
        mgi_film_shifted from = {source, user, i};
        MGI_TRY(mgi_encode_film(ctx, tae, one, tile, mgi_film_later, &from,
                                latents + i * dims[1] * dims[2] * dims[3]));
    }
    *flops += (*flops - before) * (double)(end - last);
    return MGEN_OK;
}

mgen_status mgi_decode_each(mgi_run *run, const mgi_tae *tae, T *z, int64_t first, int64_t end,
                            int64_t tile, mgi_frames_sink *sink, void *user)
{
    double *flops = &run->dev->counts.flops, before = *flops;
    int64_t last = run->dev->meta && first < end ? first + 1 : end;
    for (int64_t i = first; i < last && run->status == MGEN_OK; i++) {
        int64_t mark = mgi_scope_push(run);
        mgi_decode_run(run, tae, mgi_slice(run, z, 1, i, 1), 1, i, tile, sink, user);
        mgi_scope_pop(run, mark, NULL);
    }
    *flops += (*flops - before) * (double)(end - last);
    return run->status;
}

mgen_status mgi_film_give(void *user, int64_t first, int64_t count, float *rgb)
{
    const mgi_film_bytes *f = user;
    int64_t frame = f->height * f->width * 3;
    mgi_floats_from_bytes(rgb, f->in + first * frame, count * frame);
    return MGEN_OK;
}

mgen_status mgi_film_take(void *user, const mgi_frames_box *box, float *rgb)
{
    const mgi_film_bytes *f = user;
    int64_t row = box->width * 3;
    for (int64_t i = 0; i < box->count * box->height; i++) {
        int64_t y = (box->first + i / box->height) * f->height + box->top + i % box->height;
        mgi_bytes_from_floats(f->out + (y * f->width + box->left) * 3, rgb + i * row, row);
    }
    return MGEN_OK;
}

mgen_status mgi_film_black(void *user, int64_t first, int64_t count, float *rgb)
{
    const mgi_film_bytes *f = user;
    (void)first;
    for (int64_t i = 0; i < count * f->height * f->width * 3; i++)
        rgb[i] = -1.0f;
    return MGEN_OK;
}

mgen_status mgi_recode_film(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                            const uint8_t *in, uint8_t *out)
{
    mgi_film_bytes f = {in, out, film[1], film[2]};
    int64_t dims[4], count;
    float *latents;
    MGI_TRY(mgi_latent_dims(ctx, tae, film, dims));
    if (!mgi_dims_count(dims, 4, &count))
        return mgi_fail(ctx, MGEN_E_INVALID, "films of %lld frames are too long",
                        (long long)film[0]);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof *latents, &latents));
    mgen_status status = mgi_encode_film(ctx, tae, film, 0, mgi_film_give, &f, latents);
    if (status == MGEN_OK)
        status = mgi_decode_film(ctx, tae, latents, dims, film[0], 0, mgi_film_take, &f);
    mgi_free(ctx, latents);
    return status;
}

/* -- text ------------------------------------------------------------------------------------- */

/* The tokens of prompts, by row. */
static void free_rows(mgen_context *ctx, mgi_tokens *rows, int64_t count)
{
    for (int64_t i = 0; rows && i < count; i++)
        mgi_tokens_free(ctx, &rows[i]);
    mgi_free(ctx, rows);
}

static void write_rows(mgi_run *run, const mgi_text_encoder *e, const mgi_tokens *rows,
                       int64_t *tokens, T *ids, T *mask)
{
    int64_t size = ids->dims[1];
    int32_t *id;
    if (!mgi_ok(run, mgi_alloc_zero(run->ctx, (size_t)ids->count, sizeof *id + 1, &id)))
        return;
    uint8_t *is = (uint8_t *)(id + ids->count);
    for (int64_t i = 0; i < ids->dims[0]; i++)
        tokens[i] =
            mgi_tokens_row(&rows[i], e->tokenizer->frame, size, id + i * size, is + i * size);
    mgi_tensor_write(ids, 0, id, ids->count);
    mgi_tensor_write(mask, 0, is, mask->count);
    mgi_free(run->ctx, id);
}

enum { SPLIT_ROWS = 8 }; /* by one thread */

typedef struct split_work {
    mgen_context *ctx;
    const mgi_text_encoder *e;
    const char *const *prompts;
    int64_t count;
    mgi_tokens *rows;
    _Atomic mgen_status status;
} split_work;

static void split_rows(void *arg, int64_t block, int thread)
{
    split_work *w = arg;
    int64_t end = (block + 1) * SPLIT_ROWS < w->count ? (block + 1) * SPLIT_ROWS : w->count;
    (void)thread;
    for (int64_t i = block * SPLIT_ROWS; i < end; i++) {
        mgen_status status =
            mgi_tokenizer_encode(w->ctx, w->e->tokenizer, w->prompts[i], &w->rows[i]);
        if (status != MGEN_OK)
            w->status = status;
    }
}

/* The tokens of `count` prompts for one encoder. */
static mgen_status split(mgen_context *ctx, const mgi_text_encoder *e, const char *const *prompts,
                         int64_t count, mgi_tokens **out)
{
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof **out, out));
    split_work work = {ctx, e, prompts, count, *out, MGEN_OK};
    mgi_pool_run(ctx->pool, (count + SPLIT_ROWS - 1) / SPLIT_ROWS, split_rows, &work);
    return work.status;
}

static void make_ids(mgi_run *run, const mgi_text_encoder *e, const mgi_tokens *rows, int64_t count,
                     int64_t multiple, int64_t *tokens, T **ids, T **mask)
{
    int64_t size = 1, most = mgi_text_tokens_max(e);
    *ids = *mask = NULL;
    for (int64_t i = 0; i < count; i++) {
        int64_t own = mgi_tokenizer_length(e->tokenizer, &rows[i], most);
        size = own > size ? own : size;
    }
    size = mgi_text_padded(size, multiple, most);
    *ids = mgi_new(run, MGK_I32, MGI_DIMS(count, size));
    *mask = mgi_new(run, MGK_U8, MGI_DIMS(count, size));
    if (run->status == MGEN_OK)
        write_rows(run, e, rows, tokens, *ids, *mask);
}

T *mgi_text_batch(mgi_run *run, const mgi_text_encoder *e, const char *const *prompts,
                  int64_t count, int64_t *tokens)
{
    int64_t mark = mgi_scope_push(run);
    T *ids = NULL, *mask = NULL;
    mgi_tokens *rows = NULL;
    if (mgi_ok(run, split(run->ctx, e, prompts, count, &rows)))
        make_ids(run, e, rows, count, 1, tokens, &ids, &mask);
    free_rows(run->ctx, rows, count);
    return mgi_scope_pop(
        run, mark, run->status == MGEN_OK ? mgi_text_encoder_forward(run, e, ids, mask) : NULL);
}

/* What ByT5 gets of the prompts: what stands in quotation marks. */
static mgen_status split_quoted(mgen_context *ctx, const mgi_text_encoder *e,
                                const char *const *prompts, int64_t count, mgi_tokens **out)
{
    char **parts;
    mgen_status status = MGEN_OK;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof *parts, &parts));
    for (int64_t i = 0; i < count && status == MGEN_OK; i++)
        status = mgi_prompt_quoted(ctx, prompts[i], &parts[i]);
    if (status == MGEN_OK)
        status = split(ctx, e, (const char *const *)parts, count, out);
    for (int64_t i = 0; i < count; i++)
        mgi_free(ctx, parts[i]);
    mgi_free(ctx, parts);
    return status;
}

mgen_status mgi_text_rows_make(mgen_context *ctx, const mgi_text_encoder *const text[MGI_ROLES],
                               uint32_t drop, const char *const *prompts, int64_t count,
                               mgi_text_rows *out)
{
    mgen_status status = MGEN_OK;
    mgi_text_rows_free(ctx, out);
    out->count = count;
    for (int i = 0; i < MGI_ROLES && status == MGEN_OK; i++)
        if (text[i] && !(drop >> i & 1))
            status = (i == MGI_ROLE_BYT5 ? split_quoted : split)(ctx, text[i], prompts, count,
                                                                 &out->rows[i]);
    if (status != MGEN_OK)
        mgi_text_rows_free(ctx, out);
    return status;
}

void mgi_text_rows_free(mgen_context *ctx, mgi_text_rows *rows)
{
    for (int i = 0; i < MGI_ROLES; i++)
        free_rows(ctx, rows->rows[i], rows->count);
    *rows = (mgi_text_rows){0, {NULL}};
}

void mgi_text_ids_make(mgi_run *run, const mgi_text_encoder *const text[MGI_ROLES],
                       const mgi_text_rows *rows, int64_t multiple, int64_t *tokens,
                       mgi_text_ids *out)
{
    *out = (mgi_text_ids){{NULL}, {NULL}, {NULL}};
    for (int i = 0; i < MGI_ROLES && run->status == MGEN_OK; i++) {
        if (!rows->rows[i])
            continue;
        out->tokens[i] = tokens + i * rows->count;
        make_ids(run, text[i], rows->rows[i], rows->count, multiple, tokens + i * rows->count,
                 &out->ids[i], &out->mask[i]);
    }
}

void mgi_text_ids_encode(mgi_run *run, const mgi_text_encoder *const text[MGI_ROLES],
                         const mgi_text_ids *ids, mgi_vt_text *out)
{
    *out = (mgi_vt_text){{NULL}, {NULL}, NULL, NULL};
    for (int i = 0; i < MGI_ROLES && run->status == MGEN_OK; i++) {
        if (!ids->ids[i])
            continue;
        out->x[i] = mgi_text_encoder_forward(run, text[i], ids->ids[i], ids->mask[i]);
        out->tokens[i] = ids->tokens[i];
    }
}

void mgi_text_streams(mgi_run *run, const mgi_text_encoder *const text[MGI_ROLES], uint32_t drop,
                      const char *const *prompts, int64_t count, int64_t *tokens, mgi_vt_text *out)
{
    mgi_text_ids ids;
    mgi_text_rows rows = {0, {NULL}};
    if (run->status == MGEN_OK) /* else a prompt may be missing */
        mgi_ok(run, mgi_text_rows_make(run->ctx, text, drop, prompts, count, &rows));
    mgi_text_ids_make(run, text, &rows, 1, tokens, &ids);
    mgi_text_rows_free(run->ctx, &rows);
    mgi_text_ids_encode(run, text, &ids, out);
}

mgen_status mgi_text_tokens(mgen_context *ctx, const mgi_text_encoder *e, const char *prompt,
                            int64_t *tokens)
{
    mgi_tokens list = {0};
    mgen_status status = mgi_tokenizer_encode(ctx, e->tokenizer, prompt, &list);
    *tokens = mgi_tokenizer_length(e->tokenizer, &list, mgi_text_tokens_max(e));
    mgi_tokens_free(ctx, &list);
    return status;
}

mgen_status mgi_text_encode(mgen_context *ctx, const mgi_text_encoder *e, const char *prompt,
                            int64_t tokens, float *vectors)
{
    mgi_run run;
    int64_t own;
    mgi_run_init(&run, ctx, false);
    T *text = mgi_cast(&run, mgi_text_batch(&run, e, &prompt, 1, &own), MGK_F32);
    mgi_require(&run, text && own <= tokens, "text: there are more tokens than rows");
    mgi_run_deliver(&run, text, vectors);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

/* -- velocity --------------------------------------------------------------------------------- */

mgen_status mgi_velocity(mgen_context *ctx, const mgi_vt *vt, const float *latents,
                         const int64_t dims[4], float time, const mgi_host_text text[MGI_ROLES],
                         float *out)
{
    const mgi_vt_config *c = &vt->config;
    mgi_run run;
    MGI_TRY(check_dims(ctx, dims, c->channels));
    if (c->condition)
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "the model sees another film beside its latents: it is that of an "
                        "upsampler or an editor");
    if (dims[0] % c->patch_t || dims[1] % c->patch_h || dims[2] % c->patch_w ||
        dims[0] / c->patch_t > c->frames_max || dims[1] / c->patch_h > c->rows_max ||
        dims[2] / c->patch_w > c->columns_max)
        return mgi_fail(
            ctx, MGEN_E_UNSUPPORTED,
            "the model takes latents of at most %lld x %lld x %lld (frames, rows, columns), "
            "in multiples of %lld x %lld x %lld; these are %lld x %lld x %lld",
            (long long)(c->frames_max * c->patch_t), (long long)(c->rows_max * c->patch_h),
            (long long)(c->columns_max * c->patch_w), (long long)c->patch_t, (long long)c->patch_h,
            (long long)c->patch_w, (long long)dims[0], (long long)dims[1], (long long)dims[2]);
    mgi_run_init(&run, ctx, false);
    T *x = mgi_new(&run, MGK_F32, MGI_DIMS(1, dims[0], dims[1], dims[2], dims[3])),
      *t = mgi_new(&run, MGK_F32, MGI_DIMS(1));
    mgi_vt_text p = {{NULL}, {NULL}, NULL, NULL};
    for (int i = 0; i < MGI_ROLES; i++) {
        if (text[i].vectors)
            p.x[i] = mgi_new(&run, MGK_F32, MGI_DIMS(1, text[i].tokens, c->text[i]));
        if (p.x[i])
            mgi_tensor_write(p.x[i], 0, text[i].vectors, p.x[i]->count);
    }
    if (run.status == MGEN_OK) {
        mgi_tensor_write(x, 0, latents, x->count);
        mgi_tensor_write(t, 0, &time, 1);
    }
    T *u = mgi_vt_velocity(&run, vt, x, t, &p);
    mgi_run_deliver(&run, u, out);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}
