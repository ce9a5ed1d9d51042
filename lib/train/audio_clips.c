/* SPDX-License-Identifier: MIT */
#include "train/audio_clips.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"
#include "data/dataset_sound.h"
#include "task/film_features.h"
#include "task/ranks.h"
#include "train/kept.h"
#include "train/row_file.h"

#include <string.h>

enum { SENT = 256 }; /* clips at a time */

typedef struct work {
    mgen_context *ctx, *cache; /* cache: for what may fail without harm; NULL: there is none */
    const mgi_audio_clips_request *q;
    mgi_audio_clips *c;
    int rank, ranks;
    int64_t own, done;
    char path[MGI_PATH_MAX + 1], rows_path[MGI_PATH_MAX + 1];
    mgi_row_file
        rows; /* what this rank has encoded, latents and features of a clip, if it is open */
    float *row;
} work;

static int64_t size_of(const mgi_audio_clips *c)
{
    return c->latents * c->channels;
}

static int64_t features_of(const mgi_audio_clips *c)
{
    return c->features ? c->frames * c->width : 0;
}

void mgi_audio_clips_free(mgen_context *ctx, mgi_audio_clips *c)
{
    mgi_free(ctx, c->values);
    mgi_free(ctx, c->features);
    mgi_free(ctx, c->captions);
    mgi_dataset_release(c->dataset);
    *c = (mgi_audio_clips){.values = NULL};
}

/* -- a clip ------------------------------------------------------------------------------------- */

uint64_t mgi_audio_clip_index(const mgi_audio_clips *c, uint64_t seed, int64_t i)
{
    return i < c->clips ? mgi_dataset_element(c->dataset, seed, c->first + (uint64_t)i)
                        : (uint64_t)(i - c->clips);
}

mgen_status mgi_audio_clip_frames(mgen_context *ctx, const mgi_audio_clips *c, uint64_t seed,
                                  int64_t i, uint8_t *pixels)
{
    const uint64_t index = mgi_audio_clip_index(c, seed, i);
    return i < c->clips
               ? mgi_dataset_watch(ctx, c->dataset, index, c->fps, c->frames, pixels)
               : mgi_dataset_held_watch(ctx, c->dataset, (int64_t)index, c->fps, c->frames, pixels);
}

void mgi_audio_clip_caption(const mgi_audio_clips *c, uint64_t seed, int64_t i, uint32_t pick,
                            char caption[MGI_CAPTION_SIZE])
{
    const uint64_t index = mgi_audio_clip_index(c, seed, i);
    if (c->captions)
        memcpy(caption, c->captions[i], MGI_CAPTION_SIZE);
    else if (i < c->clips)
        mgi_dataset_sound_caption(c->dataset, index, pick, caption);
    else
        mgi_dataset_held_sound_caption(c->dataset, (int64_t)index, caption);
}

/* What a clip is encoded from, as codec and image encoder ask for it. */
typedef struct source {
    const work *w;
    uint64_t index;
    bool held;
    const uint8_t *pixels;
} source;

static mgen_status hear(void *user, int64_t first, int64_t count, float *samples)
{
    const source *s = user;
    mgi_dataset *ds = s->w->c->dataset;
    return s->held ? mgi_dataset_held_hear(s->w->ctx, ds, (int64_t)s->index, first, count, samples)
                   : mgi_dataset_hear(s->w->ctx, ds, s->index, first, count, samples);
}

/* Of a sound that was just heard. */
static mgen_status be_told(const source *s, char caption[MGI_CAPTION_SIZE])
{
    mgi_dataset *ds = s->w->c->dataset;
    return s->held ? mgi_dataset_held_sound_told(s->w->ctx, ds, (int64_t)s->index, caption)
                   : mgi_dataset_sound_told(s->w->ctx, ds, s->index, caption);
}

static mgen_status see(const work *w, int64_t i, uint8_t *room)
{
    const mgi_audio_clips *c = w->c;
    mgi_film_bytes film = {.in = room, .height = c->dataset->height, .width = c->dataset->width};
    const int64_t dims[3] = {c->frames, film.height, film.width};
    MGI_TRY(mgi_audio_clip_frames(w->ctx, c, w->q->seed, i, room));
    return mgi_film_features(w->ctx, w->q->vision, dims, mgi_film_give, &film,
                             c->features + i * features_of(c));
}

static const char what[] = "sounds are encoded";

/* Clip i, so that it need not be encoded again if this is ended. Where that fails, it is told once. */
static void add_row(work *w, int64_t i)
{
    const mgi_audio_clips *c = w->c;
    if (!w->rows.open)
        return;
    memcpy(w->row, c->values + i * size_of(c), (size_t)size_of(c) * sizeof *w->row);
    if (c->features)
        memcpy(w->row + size_of(c), c->features + i * features_of(c),
               (size_t)features_of(c) * sizeof *w->row);
    if (mgi_row_file_add(w->cache, &w->rows, w->row, 1) == MGEN_OK)
        return;
    mgi_row_file_warn(w->ctx, w->cache, what);
    mgi_row_file_close(&w->rows, false);
}

static mgen_status encode(work *w, int64_t first, int64_t count)
{
    const mgi_audio_clips *c = w->c;
    const int64_t bytes = c->frames * c->dataset->height * c->dataset->width * 3;
    uint8_t *room = NULL;
    mgen_status status = c->features ? mgi_alloc(w->ctx, (size_t)bytes, &room) : MGEN_OK;
    for (int64_t i = first; i < first + count && status == MGEN_OK; i++) {
        source s = {w, mgi_audio_clip_index(c, w->q->seed, i), i >= c->clips, NULL};
        status = mgi_audio_encode_sound(w->ctx, w->q->codec, c->samples, hear, &s,
                                        c->values + i * size_of(c));
        if (status == MGEN_OK && c->captions)
            status = be_told(&s, c->captions[i]);
        if (status == MGEN_OK && c->features)
            status = see(w, i, room);
        if (status == MGEN_OK)
            add_row(w, i);
        w->done++;
        if (status == MGEN_OK)
            status = mgi_progress(w->ctx, "encoding sounds", (uint64_t)w->done, (uint64_t)w->own);
    }
    mgi_free(w->ctx, room);
    return status;
}

/* -- the cache ---------------------------------------------------------------------------------- */

static uint64_t key_of(const work *w)
{
    const mgi_audio_clips *c = w->c;
    const uint64_t numbers[] = {w->q->codec_hash,
                                w->q->vision_hash,
                                c->dataset->identity,
                                w->q->seed,
                                c->first,
                                (uint64_t)c->samples,
                                (uint64_t)c->frames,
                                (uint64_t)c->clips,
                                (uint64_t)c->held,
                                (uint64_t)features_of(c),
                                (uint64_t)w->q->codec->module.dtype};
    const char *kernels = w->ctx->device->kernels_text;
    uint64_t hash = mgi_hash64(numbers, sizeof numbers, 2);
    if (c->features && w->q->vision->module.hold != MGI_HOLD_F32)
        hash = mgi_hash64(&w->q->vision->module.hold, sizeof w->q->vision->module.hold, hash);
    if (c->dataset->kind == MGI_DATASET_FOLDER) /* whose films are the same at any rate */
        hash = mgi_hash64(&c->fps, sizeof c->fps, hash);
    return kernels ? mgi_hash64(kernels, strlen(kernels), hash) : hash;
}

/* How many there are. */
static int parts_of(const mgi_audio_clips *c, mgi_st_source parts[2])
{
    const int64_t all = c->clips + c->held;
    parts[0] = (mgi_st_source){"latents", MGI_ST_F32, 2, {all, size_of(c)}, c->values};
    parts[1] = (mgi_st_source){"features", MGI_ST_F32, 2, {all, features_of(c)}, c->features};
    return c->features ? 2 : 1;
}

static mgen_status load(const work *w)
{
    const mgi_audio_clips *c = w->c;
    const mgi_st_entry *found[MGI_KEPT_PARTS_MAX];
    mgi_st_source parts[2];
    mgi_st_file st;
    const int count = parts_of(c, parts);
    MGI_TRY(mgi_kept_open(w->cache, w->path, "encoded sounds", parts, count, &st, found));
    mgen_status status = mgi_st_read_bytes(w->cache, found[0], 0, c->values, found[0]->bytes);
    if (status == MGEN_OK && c->features)
        status = mgi_st_read_bytes(w->cache, found[1], 0, c->features, found[1]->bytes);
    mgi_st_close(w->cache, &st);
    return status;
}

static mgen_status store(const work *w)
{
    mgi_st_source parts[2];
    const int count = parts_of(w->c, parts);
    return mgi_kept_write(w->cache, w->q->cache_dir, w->path, "moviegen-audio", parts, count, NULL);
}

static bool keep(const work *w)
{
    if (store(w) == MGEN_OK)
        return true;
    mgi_log(w->ctx, MGEN_LOG_WARN, "%s; the encoded sounds are not kept", w->cache->error_text);
    return false;
}

/* Then rows that a process has left are good for nothing. */
static bool load_cached(const work *w)
{
    const bool there = mgi_kept_there(w->ctx, w->cache, w->cache ? load(w) : MGEN_E_NOT_FOUND);
    if (there)
        mgi_kept_discard_rows(w->cache, w->q->cache_dir, w->rows_path);
    return there;
}

static int64_t share_first(const work *w, int rank)
{
    return (w->c->clips + w->c->held) * rank / w->ranks;
}

/* The first clips of this rank, which were encoded before; *out: how many. */
static mgen_status take_rows(work *w, int64_t *out)
{
    const mgi_audio_clips *c = w->c;
    const int64_t first = share_first(w, w->rank), size = size_of(c) + features_of(c);
    *out = 0;
    if (!w->cache)
        return MGEN_OK;
    MGI_TRY(mgi_row_file_open(w->ctx, w->cache, w->q->cache_dir, w->rows_path, key_of(w), size,
                              w->own, what, &w->rows));
    if (!w->rows.open)
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(w->ctx, (size_t)size, sizeof *w->row, &w->row));
    for (; *out < w->rows.rows; (*out)++) {
        float *values = c->values + (first + *out) * size_of(c);
        MGI_TRY(mgi_row_file_read(w->ctx, &w->rows, *out, 0, values, size_of(c)));
        if (c->features)
            MGI_TRY(mgi_row_file_read(w->ctx, &w->rows, *out, size_of(c),
                                      c->features + (first + *out) * features_of(c),
                                      features_of(c)));
    }
    if (*out)
        mgi_log(w->ctx, MGEN_LOG_INFO, "%lld of %lld sounds have been encoded before",
                (long long)*out, (long long)w->own);
    return MGEN_OK;
}

/* -- ranks -------------------------------------------------------------------------------------- */

static mgen_status send(const work *w, int root)
{
    const mgi_audio_clips *c = w->c;
    const int64_t end = share_first(w, root + 1);
    for (int64_t i = share_first(w, root); i < end; i += SENT) {
        const int64_t n = end - i < SENT ? end - i : SENT;
        MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_F32, c->values + i * size_of(c),
                                n * size_of(c), root));
        if (c->features)
            MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_F32, c->features + i * features_of(c),
                                    n * features_of(c), root));
        if (c->captions)
            MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_U8, c->captions + i,
                                    n * MGI_CAPTION_SIZE, root));
        for (int64_t k = i; c->captions && k < i + n; k++)
            c->captions[k][MGI_CAPTION_SIZE - 1] = '\0'; /* whatever the other rank says */
    }
    return MGEN_OK;
}

/* What a rank found in its cache it does not encode; it is sent like the rest. */
static mgen_status make(work *w)
{
    const bool there = load_cached(w);
    const int64_t first = share_first(w, w->rank);
    mgen_status status = MGEN_OK;
    w->own = share_first(w, w->rank + 1) - first;
    if (!there)
        status = take_rows(w, &w->done);
    if (!there && status == MGEN_OK)
        status = encode(w, first + w->done, w->own - w->done);
    status = mgi_comm_together_in(w->ctx, w->q->ranks, status, NULL);
    for (int root = 0; root < w->ranks && w->ranks > 1 && status == MGEN_OK; root++)
        status = send(w, root);
    uint8_t kept = status == MGEN_OK && w->cache && w->rank == 0 && (there || keep(w));
    if (w->ranks > 1 && status == MGEN_OK) /* then nobody needs rows any more */
        status = mgi_ranks_share(w->ctx, w->q->ranks, MGK_U8, &kept, 1, 0);
    mgi_row_file_close(&w->rows, status == MGEN_OK && kept);
    if (w->cache && status == MGEN_OK && kept)
        mgi_kept_discard_rows(w->cache, w->q->cache_dir, w->rows_path);
    mgi_free(w->ctx, w->row);
    return status;
}

/* -- all of it ---------------------------------------------------------------------------------- */

static mgen_status make_room(work *w)
{
    mgi_audio_clips *c = w->c;
    const bool seen = w->q->vision && c->frames;
    int64_t values, features = 0;
    if (!mgi_i64_mul(size_of(c), c->clips + c->held, &values) ||
        (seen && !mgi_i64_mul(c->frames * c->width, c->clips + c->held, &features)))
        return mgi_fail(w->ctx, MGEN_E_INVALID, "%lld clips of this length are too many",
                        (long long)c->clips);
    if (mgi_dataset_sound_unknown(c->dataset))
        MGI_TRY(mgi_alloc_zero(w->ctx, (size_t)(c->clips + c->held), sizeof *c->captions,
                               &c->captions));
    MGI_TRY(mgi_alloc_zero(w->ctx, (size_t)values, sizeof *c->values, &c->values));
    return seen ? mgi_alloc_zero(w->ctx, (size_t)features, sizeof *c->features, &c->features)
                : MGEN_OK;
}

static mgen_status begin(work *w)
{
    const mgi_audio_clips_request *q = w->q;
    MGI_TRY(make_room(w));
    if (!q->cache_dir || !w->c->dataset->identity)
        return MGEN_OK;
    MGI_TRY(mgi_context_private(w->ctx, &w->cache));
    return mgi_kept_paths(w->ctx, q->cache_dir, "audio", key_of(w), w->rank, w->ranks, w->path,
                          w->rows_path);
}

mgen_status mgi_audio_clips_make(mgen_context *ctx, const mgi_audio_clips_request *q,
                                 mgi_audio_clips *clips)
{
    work w = {.ctx = ctx, .q = q, .c = clips, .rows.file.fd = -1, .ranks = 1};
    if (q->ranks) {
        w.rank = mgi_comm_rank(q->ranks);
        w.ranks = mgi_comm_size(q->ranks);
    }
    mgen_status status = mgi_comm_together_in(ctx, q->ranks, begin(&w), NULL);
    if (status == MGEN_OK)
        status = make(&w);
    mgi_context_free(w.cache);
    return status;
}
