/* SPDX-License-Identifier: MIT */
#include "train/latents.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"
#include "core/pool.h"
#include "data/folder_scores.h"
#include "model/tae_tiles.h"
#include "task/ranks.h"
#include "tensor/device.h"
#include "train/back.h"
#include "train/kept.h"
#include "train/prefetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ENCODE_FRAMES = 64, ENCODE_FRAMES_GPU = 2048 }; /* at a time */
enum { SHARED = 256 };                                 /* clips that are sent at a time */
#define SCRATCH_FROM ((uint64_t)256 << 20)             /* bytes */

typedef struct work {
    mgen_context *ctx;
    mgen_context *cache;   /* where failures are told that do not matter; NULL = no cache */
    mgen_context *scratch; /* likewise, of scratch files */
    const mgi_latents_request *q;
    mgi_latents *l;
    mgi_prefetch *drawn; /* clips that are drawn, on all threads */
    int64_t tile;        /* frames of the TAE's tiles, if clips are longer; else 0 */
    int64_t count;       /* values of all clips */
    int rank, ranks;
    int64_t done, own; /* clips of this rank: encoded, and all */
    char path[MGI_PATH_MAX + 1];
} work;

static void drop_values(mgen_context *ctx, mgi_latents *l)
{
    if (l->file.file)
        mgi_st_close(ctx, &l->file);
    else if (l->scratch.data)
        mgi_scratch_close(&l->scratch);
    else
        mgi_free(ctx, l->values);
    l->values = NULL;
}

void mgi_latents_free(mgen_context *ctx, mgi_latents *l)
{
    for (int64_t i = 0; l->captions && i < l->clips + l->held; i++)
        mgi_free(ctx, l->captions[i]);
    mgi_free(ctx, l->captions);
    mgi_free(ctx, l->tasks);
    mgi_free(ctx, l->scores);
    mgi_free(ctx, l->black);
    drop_values(ctx, l);
    memset(l, 0, sizeof *l);
}

mgen_status mgi_latents_read(mgen_context *ctx, const mgi_latents *l, int64_t i, int64_t at,
                             float *out, int64_t n)
{
    if (!l->values) {
        const bool held = i >= l->clips;
        return mgi_st_read_part(ctx, l->kept[held], (held ? i - l->clips : i) * l->step + at, out,
                                n);
    }
    memcpy(out, l->values + i * l->step + at, (size_t)n * sizeof *out);
    return MGEN_OK;
}

/* For values that are to be written. */
static mgen_status make_room(const work *w)
{
    const uint64_t bytes = (uint64_t)w->count * sizeof(float),
                   from = w->q->scratch_from ? w->q->scratch_from : SCRATCH_FROM;
    mgi_latents *l = w->l;
    drop_values(w->ctx, l);
    if (w->scratch && bytes >= from && bytes <= SIZE_MAX / 2) {
        mgen_status status = mgi_dir_make(w->scratch, w->q->cache_dir);
        if (status == MGEN_OK)
            status = mgi_scratch_open(w->scratch, w->q->cache_dir, (size_t)bytes, &l->scratch);
        l->values = l->scratch.data;
        if (status == MGEN_OK)
            return MGEN_OK;
        mgi_log(w->ctx, MGEN_LOG_WARN, "%s; clips are encoded into memory", w->scratch->error_text);
    }
    return mgi_alloc_zero(w->ctx, (size_t)w->count, sizeof(float), &l->values);
}

/* ---- encoding ------------------------------------------------------------------------------------- */

/* Clips of a pair and films of an edit. */
static int64_t films_of(const mgi_latents_request *q)
{
    return q->pairs || q->edits ? 2 : 1;
}

/* The sample of training clip i. */
static uint64_t element_of(const work *w, int64_t i)
{
    return mgi_dataset_element(w->q->dataset, w->q->seed, w->q->first + (uint64_t)i);
}

static mgen_status read_clip(const work *w, int64_t i, uint8_t *pixels)
{
    mgi_dataset *ds = w->q->dataset;
    int64_t frames = w->q->frames;
    char caption[MGI_CAPTION_SIZE];
    if (i < w->l->clips)
        MGI_TRY(mgi_dataset_piece(w->ctx, ds, element_of(w, i), 0, frames, pixels, caption));
    else
        MGI_TRY(mgi_dataset_held(w->ctx, ds, i - w->l->clips, frames, pixels, caption));
    return w->l->captions ? mgi_strdup(w->ctx, caption, &w->l->captions[i]) : MGEN_OK;
}

/* Clips of the kind, all to train on or all held out: `n` from `first` on, and `after` more that follow. */
typedef struct some {
    int64_t first, n, after;
} some;

/* Clip i as an edit. */
static void edit_of(const work *w, int64_t i, mgi_edits_sample *out)
{
    const int64_t held = i - w->l->clips;
    const mgi_dataset *ds = w->q->dataset;
    if (mgi_dataset_drawn(ds))
        mgi_edits_sample_of(w->q->edits, ds, held < 0 ? ds->seed : MGI_VALIDATION_SEED,
                            held < 0 ? element_of(w, i) : (uint64_t)held, w->q->frames, out);
    else
        mgi_edits_own_of(w->q->edits, ds, w->q->seed,
                         held < 0 ? w->q->first + (uint64_t)i : (uint64_t)held, held >= 0,
                         w->q->frames, out);
}

/* Its instruction and its task. */
static mgen_status keep_words(const work *w, int64_t i, const mgi_edits_sample *s)
{
    w->l->tasks[i] = s->task;
    return mgi_strdup(w->ctx, s->text, &w->l->captions[i]);
}

typedef struct drawing {
    const work *w;
    int64_t first;
    uint8_t *out;
} drawing;

static void draw_edit(void *arg, int64_t k, int thread)
{
    const drawing *d = arg;
    const mgi_dataset *ds = d->w->q->dataset;
    mgi_edits_sample s;
    (void)thread;
    edit_of(d->w, d->first + k, &s);
    mgi_edits_draw(&s, ds, d->w->q->frames,
                   d->out + k * 2 * d->w->q->frames * ds->height * ds->width * 3);
}

/* Both films of each; on all threads, and then, one by one, those that an editor makes. */
static mgen_status draw_edits(const work *w, const some *s, uint8_t *room)
{
    const mgi_dataset *ds = w->q->dataset;
    mgi_edits_sample one;
    mgi_pool_run(w->ctx->pool, s->n, draw_edit, &(drawing){w, s->first, room});
    for (int64_t k = 0; w->q->edits->back && k < s->n; k++) {
        edit_of(w, s->first + k, &one);
        if (one.kind == MGI_EDITS_BACK)
            MGI_TRY(mgi_back_make(w->ctx, w->q->edits->back, &one, ds, w->q->frames,
                                  room + k * 2 * w->q->frames * ds->height * ds->width * 3));
    }
    return MGEN_OK;
}

/* Both films of each of the dataset's edits, and what is said of them. */
static mgen_status read_edits(const work *w, const some *s, uint8_t *room)
{
    mgi_dataset *ds = w->q->dataset;
    const int64_t size = 2 * w->q->frames * ds->height * ds->width * 3;
    mgi_edits_sample one;
    for (int64_t k = 0; k < s->n; k++) {
        edit_of(w, s->first + k, &one);
        MGI_TRY(mgi_edits_read(w->ctx, ds, w->q->frames, &one, room + k * size));
        MGI_TRY(keep_words(w, s->first + k, &one));
    }
    return MGEN_OK;
}

static bool is_drawn(const work *w, const some *s)
{
    return !w->l->captions && s->first < w->l->clips;
}

/* What is drawn comes in memory of w->drawn; the rest is read into `room`, of edits both films of each. */
static mgen_status read_clips(const work *w, const some *s, uint8_t *room, const uint8_t **out)
{
    const mgi_dataset *ds = w->q->dataset;
    mgi_prefetch_clips now = {w->q->dataset, w->q->first + (uint64_t)s->first, s->n, w->q->frames};
    mgi_prefetch_clips next = now;
    next.first += (uint64_t)s->n;
    next.count = s->after < s->n ? s->after : s->n;
    *out = room;
    if (w->q->edits)
        return mgi_dataset_drawn(ds) ? draw_edits(w, s, room) : read_edits(w, s, room);
    if (is_drawn(w, s))
        return mgi_prefetch_take(w->drawn, now, next, out);
    for (int64_t k = 0; k < s->n; k++)
        MGI_TRY(read_clip(w, s->first + k, room + k * w->q->frames * ds->height * ds->width * 3));
    return MGEN_OK;
}

/* Frames of each clip and behind them those of its condition. */
static mgen_status make_pairs(const work *w, const some *s, const uint8_t *clips, uint8_t *both)
{
    const mgi_dataset *ds = w->q->dataset;
    int64_t size = w->q->frames * ds->height * ds->width * 3;
    for (int64_t k = 0; k < s->n; k++) {
        const int64_t i = s->first + k, held = i - w->l->clips;
        uint64_t seed = held < 0 ? w->q->seed : MGI_VALIDATION_SEED;
        uint64_t element = held < 0 ? w->q->first + (uint64_t)i : (uint64_t)held;
        uint8_t *pair = both + 2 * k * size;
        memcpy(pair, clips + k * size, (size_t)size);
        MGI_TRY(mgi_pairs_make(w->ctx, w->q->pairs, seed, element, pair, w->q->frames, ds->width,
                               ds->height, pair + size));
    }
    return MGEN_OK;
}

/* What is encoded, as it lies in memory: (films, frames, height, width, 3). */
static void film_dims(const work *w, int64_t clips, int64_t dims[5])
{
    const mgi_dataset *ds = w->q->dataset;
    const bool pairs = w->q->pairs != NULL;
    dims[0] = films_of(w->q) * (pairs ? clips * w->q->frames : clips);
    dims[1] = pairs ? 1 : w->q->frames;
    dims[2] = ds->height;
    dims[3] = ds->width;
    dims[4] = 3;
}

static void encode_some(mgi_run *run, const work *w, const some *s)
{
    int64_t dims[5], count = 0;
    uint8_t *room = NULL, *both = NULL;
    const uint8_t *pixels = NULL;
    T *z = NULL;
    film_dims(w, s->n, dims);
    if (!mgi_dims_count(dims, 5, &count))
        mgi_ok(run, mgi_fail(w->ctx, MGEN_E_INVALID, "clips of this size are too large"));
    if (run->status == MGEN_OK && !is_drawn(w, s)) /* of pairs, more than is needed */
        mgi_ok(run, mgi_alloc(w->ctx, (size_t)count, &room));
    if (run->status == MGEN_OK)
        mgi_ok(run, read_clips(w, s, room, &pixels));
    if (run->status == MGEN_OK && w->q->pairs &&
        mgi_ok(run, mgi_alloc(w->ctx, (size_t)count, &both))) {
        mgi_ok(run, make_pairs(w, s, pixels, both));
        pixels = both;
    }
    T *u8 = run->status == MGEN_OK ? mgi_new(run, MGK_U8, 5, dims) : NULL;
    if (u8) {
        mgi_tensor_write(u8, 0, pixels, u8->count);
        T *x = mgi_convert(run, u8, MGK_F32, 1.0f / 127.5f, -1.0f);
        z = mgi_posterior(run, mgi_tae_encode(run, w->q->tae, x), NULL, 0.0f, NULL);
    }
    mgi_free(w->ctx, room);
    mgi_free(w->ctx, both);
    if (z)
        mgi_ok(run, mgi_tae_normalised(w->q->tae, z, w->l->values + s->first * w->l->step));
}

static mgen_status encoded(work *w, int64_t clips)
{
    w->done += clips;
    return mgi_progress(w->ctx, "encoding clips", (uint64_t)w->done, (uint64_t)w->own);
}

/* Pixels of one clip, read as mgi_encode_film wants them. */
typedef struct pixels {
    const uint8_t *data;
    int64_t frame; /* values of one */
} pixels;

static mgen_status read_values(void *user, int64_t first, int64_t count, float *rgb)
{
    const pixels *p = user;
    const uint8_t *from = p->data + first * p->frame;
    for (int64_t i = 0; i < count * p->frame; i++)
        rgb[i] = (float)from[i] * (1.0f / 127.5f) - 1.0f;
    return MGEN_OK;
}

/* Clips longer than a tile, one by one: in the tiles in which films are encoded. */
static mgen_status encode_tiled(work *w, int64_t first, int64_t count)
{
    const mgi_dataset *ds = w->q->dataset;
    const int64_t film[3] = {w->q->frames, ds->height, ds->width};
    pixels p = {.frame = ds->height * ds->width * 3};
    mgen_status status = MGEN_OK;
    uint8_t *room;
    MGI_TRY(
        mgi_alloc_zero(w->ctx, (size_t)(films_of(w->q) * w->q->frames), (size_t)p.frame, &room));
    for (int64_t i = first; i < first + count && status == MGEN_OK; i++) {
        status = read_clips(w, &(some){i, 1, first + count - i - 1}, room, &p.data);
        for (int64_t at = 0; at < w->l->step && status == MGEN_OK; at += w->l->size) {
            status = mgi_encode_film(w->ctx, w->q->tae, film, 0, read_values, &p,
                                     w->l->values + i * w->l->step + at);
            p.data += film[0] * p.frame;
        }
        if (status == MGEN_OK)
            status = encoded(w, 1);
    }
    mgi_prefetch_rest(w->drawn);
    mgi_free(w->ctx, room);
    return status;
}

/* The tiles in which the TAE encodes films, if clips do not fit into one. */
static int64_t find_tile(mgen_context *ctx, const mgi_latents_request *q)
{
    mgi_run run;
    mgi_tae_stream s;
    mgi_run_init(&run, ctx, false);
    mgi_tae_stream_init(&s, &run, q->tae, MGI_TAE_ENCODES, NULL, NULL);
    int64_t tile = s.tile;
    mgi_tae_stream_finish(&s);
    mgi_run_finish(&run);
    return tile < q->frames && !q->pairs ? tile : 0;
}

/* Clips that are encoded at once. */
static int64_t batch_of(const work *w)
{
    int64_t most = w->ctx->device->cuda ? ENCODE_FRAMES_GPU : ENCODE_FRAMES;
    int64_t frames = films_of(w->q) * w->q->frames;
    return !w->tile && frames < most ? most / frames : 1;
}

/* Clips first .. first + count - 1 of all. */
static mgen_status encode(work *w, int64_t first, int64_t count)
{
    int64_t batch = batch_of(w);
    mgi_run run;
    if (w->tile)
        return encode_tiled(w, first, count);
    mgi_run_init(&run, w->ctx, false);
    for (int64_t i = 0; i < count && run.status == MGEN_OK; i += batch) {
        int64_t mark = mgi_scope_push(&run), n = count - i < batch ? count - i : batch;
        int64_t after = w->q->pairs ? 0 : count - i - n; /* the pool makes pairs meanwhile */
        encode_some(&run, w, &(some){first + i, n, after});
        mgi_scope_pop(&run, mark, NULL);
        if (run.status == MGEN_OK)
            mgi_ok(&run, encoded(w, n));
    }
    mgi_prefetch_rest(w->drawn);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

/* ---- the cache ------------------------------------------------------------------------------------ */

static uint64_t key_of(const work *w)
{
    const mgi_latents *l = w->l;
    const uint64_t numbers[] = {
        w->q->tae_hash,    w->q->dataset->identity, w->q->seed,
        w->q->first,       (uint64_t)w->q->frames,  (uint64_t)l->clips,
        (uint64_t)l->held, (uint64_t)l->size,       (uint64_t)w->q->tae->module.dtype};
    const char *kernels = w->ctx->device->kernels_text;
    uint64_t hash = mgi_hash64(numbers, sizeof numbers, 1);
    if (w->tile)
        hash = mgi_hash64(&w->tile, sizeof w->tile, hash);
    if (w->q->pairs)
        hash = mgi_pairs_hash(w->q->pairs, hash);
    if (w->q->edits)
        hash = mgi_edits_hash(w->q->edits, hash ^ 1);
    if (w->q->edits && w->q->edits->back)
        hash = mgi_hash64(&w->q->edits->back->hash, sizeof w->q->edits->back->hash, hash);
    return kernels ? mgi_hash64(kernels, strlen(kernels), hash) : hash;
}

/* Those to train on, then those held out. */
static void parts_of(const mgi_latents *l, mgi_st_source parts[2])
{
    parts[0] = (mgi_st_source){"train", MGI_ST_F32, 2, {l->clips, l->step}, l->values};
    parts[1] = (mgi_st_source){"held",
                               MGI_ST_F32,
                               2,
                               {l->held, l->step},
                               l->values ? l->values + l->clips * l->step : NULL};
}

/* The file is this clips' from now on. */
static mgen_status load(const work *w)
{
    mgi_latents *l = w->l;
    mgi_st_source parts[2];
    mgi_st_file st;
    const mgi_st_entry *found[MGI_KEPT_PARTS_MAX];
    parts_of(l, parts);
    MGI_TRY(mgi_kept_open(w->cache, w->path, "encoded clips", parts, 2, &st, found));
    drop_values(w->ctx, l);
    l->file = st;
    memcpy(l->kept, found, sizeof l->kept);
    return MGEN_OK;
}

static mgen_status store(const work *w)
{
    mgi_st_source parts[2];
    parts_of(w->l, parts);
    return mgi_kept_write(w->cache, w->q->cache_dir, w->path, "moviegen-latents", parts, 2);
}

/* Instructions and tasks, which cost nothing to draw again, and a folder has read. */
static mgen_status take_edits(const work *w)
{
    const mgi_latents *l = w->l;
    mgi_edits_sample s;
    for (int64_t i = 0; i < l->clips + l->held; i++) {
        edit_of(w, i, &s);
        if (!mgi_dataset_drawn(w->q->dataset))
            MGI_TRY(mgi_edits_tell(w->ctx, w->q->dataset, &s));
        MGI_TRY(keep_words(w, i, &s));
    }
    return MGEN_OK;
}

/* They are not kept: a folder may have others tomorrow. */
static void take_scores(const work *w)
{
    for (int64_t i = 0; w->l->scores && i < w->l->clips; i++)
        w->l->scores[i] = mgi_dataset_score(w->q->dataset, element_of(w, i));
}

static mgen_status take_captions(const work *w)
{
    const mgi_dataset *ds = w->q->dataset;
    mgi_latents *l = w->l;
    char caption[MGI_CAPTION_SIZE];
    for (int64_t i = 0; l->captions && i < l->clips + l->held; i++) {
        if (i < l->clips)
            mgi_dataset_caption(ds, element_of(w, i), caption);
        else
            mgi_dataset_held_caption(ds, i - l->clips, caption);
        MGI_TRY(mgi_strdup(w->ctx, caption, &l->captions[i]));
    }
    return MGEN_OK;
}

/* ---- ranks ---------------------------------------------------------------------------------------- */

/* The clips of rank `rank`, to train on or held out: whole batches. */
static some share_of(const work *w, bool held, int rank)
{
    int64_t all = held ? w->l->held : w->l->clips, batch = batch_of(w);
    int64_t batches = (all + batch - 1) / batch;
    int64_t from = batches * rank / w->ranks * batch, to = batches * (rank + 1) / w->ranks * batch;
    to = to < all ? to : all;
    return (some){(held ? w->l->clips : 0) + from, to - from, 0};
}

/* Each rank's part, and what it is to be sent by. */
static mgen_status encode_share(work *w, char **room)
{
    const some train = share_of(w, false, w->rank), held = share_of(w, true, w->rank);
    w->own = train.n + held.n;
    if (w->ranks > 1 && !mgi_dataset_drawn(w->q->dataset))
        MGI_TRY(mgi_alloc_zero(w->ctx, SHARED, MGI_EDITS_TEXT_SIZE, room));
    MGI_TRY(encode(w, train.first, train.n));
    return encode(w, held.first, held.n);
}

static mgen_status send_captions(const work *w, const some *s, int root, char *room)
{
    char **captions = w->l->captions + s->first;
    for (int64_t k = 0; k < s->n && w->rank == root; k++)
        strcpy(room + k * MGI_EDITS_TEXT_SIZE, captions[k]);
    MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_U8, room, s->n * MGI_EDITS_TEXT_SIZE, root));
    for (int64_t k = 0; k < s->n && w->rank != root; k++) {
        room[(k + 1) * MGI_EDITS_TEXT_SIZE - 1] = '\0'; /* whatever the other rank says */
        MGI_TRY(mgi_strdup(w->ctx, room + k * MGI_EDITS_TEXT_SIZE, &captions[k]));
    }
    return w->l->tasks
               ? mgi_ranks_share(w->ctx, w->q->ranks, MGK_I32, w->l->tasks + s->first, s->n, root)
               : MGEN_OK;
}

/* Clips of rank `root`, and where there is room their captions and tasks, to all. */
static mgen_status send(const work *w, const some *all, int root, char *room)
{
    for (int64_t i = 0; i < all->n; i += SHARED) {
        const some s = {all->first + i, all->n - i < SHARED ? all->n - i : SHARED, 0};
        MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_F32, w->l->values + s.first * w->l->step,
                                s.n * w->l->step, root));
        if (room)
            MGI_TRY(send_captions(w, &s, root, room));
    }
    return MGEN_OK;
}

static mgen_status encode_all(work *w)
{
    char *room = NULL;
    mgen_status status = mgi_comm_together_in(w->ctx, w->q->ranks, encode_share(w, &room), NULL);
    for (int k = 0; k < 2 * w->ranks && w->ranks > 1 && status == MGEN_OK; k++) {
        const some s = share_of(w, k % 2, k / 2);
        status = send(w, &s, k / 2, room);
    }
    mgi_free(w->ctx, room);
    return status;
}

/* Those of the cache of rank `root` to all. It sends on when they cannot be read: the others wait for it. */
static mgen_status send_kept(const work *w, int root)
{
    const int64_t all = w->l->clips + w->l->held, step = w->l->step;
    float *room = NULL;
    mgen_status read = MGEN_OK,
                status = w->l->values
                             ? MGEN_OK
                             : mgi_alloc_zero(w->ctx, (size_t)(all < SHARED ? all : SHARED),
                                              (size_t)step * sizeof *room, &room);
    status = mgi_comm_together_in(w->ctx, w->q->ranks, status, NULL);
    for (int64_t i = 0; i < all && status == MGEN_OK; i += SHARED) {
        const int64_t n = all - i < SHARED ? all - i : SHARED;
        for (int64_t k = i; k < i + n && w->rank == root && read == MGEN_OK; k++)
            read = mgi_latents_read(w->ctx, w->l, k, 0, room + (k - i) * step, step);
        status = mgi_ranks_share(w->ctx, w->q->ranks, MGK_F32,
                                 room ? room : w->l->values + i * step, n * step, root);
    }
    mgi_free(w->ctx, room);
    return mgi_comm_together_in(w->ctx, w->q->ranks, status == MGEN_OK ? read : status, NULL);
}

/* The first rank that found the clips in its cache, or -1. *all: all did. */
static mgen_status find_source(const work *w, bool there, int *source, bool *all)
{
    int32_t own = there, *found;
    *source = there ? 0 : -1;
    *all = there;
    if (w->ranks == 1)
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(w->ctx, (size_t)w->ranks, sizeof *found, &found));
    mgen_status status =
        mgi_comm_all_gather(mgi_comm_host(w->q->ranks), MGK_I32, &own, found, 1, NULL);
    *source = -1;
    for (int r = w->ranks - 1; r >= 0 && status == MGEN_OK; r--) {
        *all = *all && found[r];
        *source = found[r] ? r : *source;
    }
    mgi_free(w->ctx, found);
    return status;
}

/* ---- all ------------------------------------------------------------------------------------------ */

static mgen_status find_path(work *w)
{
    char name[64];
    snprintf(name, sizeof name, "latents-%016" PRIx64 ".safetensors", key_of(w));
    return w->cache ? mgi_path_join(w->ctx, w->q->cache_dir, name, w->path, sizeof w->path)
                    : MGEN_OK;
}

static bool load_cached(const work *w)
{
    return mgi_kept_there(w->ctx, w->cache, w->cache ? load(w) : MGEN_E_NOT_FOUND);
}

/* What edits have beside their latents: each rank by itself, but the black film's, whose bits are the first one's. `read`: the
 * dataset's have been, and told. */
static mgen_status finish_edits(const work *w, bool read)
{
    const mgi_dataset *ds = w->q->dataset;
    const int64_t film[3] = {w->q->frames, ds->height, ds->width};
    mgi_film_bytes size = {.height = ds->height, .width = ds->width};
    mgen_status status = read ? MGEN_OK : take_edits(w);
    if (status == MGEN_OK)
        status = mgi_encode_film(w->ctx, w->q->tae, film, 0, mgi_film_black, &size, w->l->black);
    status = mgi_comm_together_in(w->ctx, w->q->ranks, status, NULL);
    return status == MGEN_OK && w->ranks > 1
               ? mgi_ranks_share(w->ctx, w->q->ranks, MGK_F32, w->l->black, w->l->size, 0)
               : status;
}

/* Keeps them, and then reads them from there. */
static void keep(const work *w)
{
    if (store(w) != MGEN_OK)
        mgi_log(w->ctx, MGEN_LOG_WARN, "%s; the encoded clips are not kept", w->cache->error_text);
    else
        load_cached(w);
}

static mgen_status make(work *w)
{
    int source;
    bool all, there = load_cached(w);
    MGI_TRY(find_source(w, there, &source, &all));
    const bool written = source < 0 || (!all && w->rank != source);
    MGI_TRY(mgi_comm_together_in(w->ctx, w->q->ranks, written ? make_room(w) : MGEN_OK, NULL));
    if (source >= 0) {
        if (!all)
            MGI_TRY(send_kept(w, source));
        MGI_TRY(w->q->edits ? MGEN_OK : take_captions(w));
    } else {
        MGI_TRY(encode_all(w));
    }
    take_scores(w);
    if (w->q->edits)
        MGI_TRY(finish_edits(w, source < 0 && !mgi_dataset_drawn(w->q->dataset)));
    if (w->cache && !there && w->rank == 0)
        keep(w);
    return MGEN_OK;
}

mgen_status mgi_latents_make(mgen_context *ctx, const mgi_latents_request *q, mgi_latents *out)
{
    const mgi_dataset *ds = q->dataset;
    const mgi_tae_config *c = &q->tae->config;
    uint64_t all = mgi_dataset_train_count(ds);
    int64_t f = mgi_tae_factor(c), count;
    *out = (mgi_latents){.clips = all < (uint64_t)q->clips ? (int64_t)all : q->clips,
                         .held = mgi_dataset_held_count(ds, q->held),
                         .dims = {q->pairs ? q->frames : mgi_tae_latent_frames(c, q->frames),
                                  ds->height / f, ds->width / f, c->latent_channels}};
    mgen_status status = MGEN_OK;
    if (!mgi_dims_count(out->dims, 4, &out->size) ||
        !mgi_i64_mul(out->size, films_of(q), &out->step) ||
        !mgi_i64_mul(out->clips + out->held, out->step, &count))
        return mgi_fail(ctx, MGEN_E_INVALID, "%lld clips of this size are too many",
                        (long long)q->clips);
    const size_t clips = (size_t)(out->clips + out->held);
    if (status == MGEN_OK && (q->edits || !mgi_dataset_drawn(ds)))
        status = mgi_alloc_zero(ctx, clips, sizeof *out->captions, &out->captions);
    if (status == MGEN_OK && ds->kind == MGI_DATASET_FOLDER && !q->edits)
        status = mgi_alloc_zero(ctx, clips, sizeof *out->scores, &out->scores);
    if (status == MGEN_OK && q->edits)
        status = mgi_alloc_zero(ctx, clips, sizeof *out->tasks, &out->tasks);
    if (status == MGEN_OK && q->edits)
        status = mgi_alloc_zero(ctx, (size_t)out->size, sizeof *out->black, &out->black);
    work w = {.ctx = ctx, .q = q, .l = out, .tile = find_tile(ctx, q), .count = count, .ranks = 1};
    if (q->ranks) {
        w.rank = mgi_comm_rank(q->ranks);
        w.ranks = mgi_comm_size(q->ranks);
    }
    if (status == MGEN_OK && q->cache_dir && ds->identity)
        status = mgi_context_private(ctx, &w.cache);
    if (status == MGEN_OK && q->cache_dir)
        status = mgi_context_private(ctx, &w.scratch);
    if (status == MGEN_OK)
        status = mgi_prefetch_create(ctx, q->seed, ctx->device->cuda != NULL, &w.drawn);
    if (status == MGEN_OK)
        status = find_path(&w);
    status = mgi_comm_together_in(ctx, q->ranks, status, NULL);
    if (status == MGEN_OK)
        status = make(&w);
    mgi_prefetch_destroy(w.drawn);
    mgi_context_free(w.cache);
    mgi_context_free(w.scratch);
    if (status != MGEN_OK)
        mgi_latents_free(ctx, out);
    return status;
}
