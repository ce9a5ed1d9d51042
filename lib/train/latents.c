/* SPDX-License-Identifier: MIT */
#include "train/latents.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"
#include "model/tae_tiles.h"
#include "task/ranks.h"
#include "tensor/device.h"
#include "train/back.h"
#include "train/kept.h"
#include "train/latents_work.h"

#include <string.h>

enum { ENCODE_FRAMES = 64, ENCODE_FRAMES_GPU = 2048 }; /* at a time */
enum { SHARED = 256 };                                 /* clips that are sent at a time, at most, */
#define SHARED_BYTES ((int64_t)64 << 20)               /* of so many, unless one is larger */
#define SCRATCH_FROM ((uint64_t)256 << 20)             /* bytes */

typedef mgi_latents_work work;
typedef mgi_latents_some some;

static void drop_values(mgen_context *ctx, mgi_latents *l)
{
    if (l->file.file)
        mgi_st_close(ctx, &l->file);
    mgi_rows_free(ctx, &l->rows);
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
    if (l->file.file) {
        const bool held = i >= l->clips;
        return mgi_st_read_part(ctx, l->kept[held], (held ? i - l->clips : i) * l->step + at, out,
                                n);
    }
    return mgi_rows_read(ctx, &l->rows, i, at, out, n);
}

/* ---- where it lies ------------------------------------------------------------------------------- */

static int64_t all_of(const work *w)
{
    return w->l->clips + w->l->held;
}

static uint64_t scratch_from(const work *w)
{
    return w->q->scratch_from ? w->q->scratch_from : SCRATCH_FROM;
}

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

/* Of this rank, in which clips are as they are encoded; NULL: there is none. */
static mgi_row_file *row_file(work *w)
{
    mgi_row_file *f = w->ranks > 1 ? &w->encoded : &w->l->rows.file;
    return f->open ? f : NULL;
}

static const char what[] = "clips are encoded";

/* For clips that are to be encoded by this rank, or come from others. */
static mgen_status make_room(work *w, bool encodes)
{
    mgi_latents *l = w->l;
    drop_values(w->ctx, l);
    if (w->cache && encodes) {
        mgi_row_file *f = w->ranks > 1 ? &w->encoded : &l->rows.file;
        MGI_TRY(mgi_row_file_open(w->ctx, w->cache, w->q->cache_dir, w->rows_path, key_of(w),
                                  l->step, w->own, what, f));
        l->rows.size = l->step;
        if (l->rows.file.open)
            return MGEN_OK;
    }
    return mgi_rows_make(w->ctx, w->q->cache_dir, scratch_from(w), all_of(w), l->step, &l->rows);
}

/* What the file of a rank that is alone has goes on in memory: it cannot be added to. */
static mgen_status leave_file(work *w)
{
    mgi_rows *rows = &w->l->rows, memory;
    mgi_row_file *f = &rows->file;
    mgi_row_file_warn(w->ctx, w->cache, what);
    MGI_TRY(mgi_rows_make(w->ctx, NULL, 0, all_of(w), rows->size, &memory));
    mgen_status status = MGEN_OK;
    for (int64_t i = 0; i < f->rows && status == MGEN_OK; i++)
        status = mgi_row_file_read(w->ctx, f, i, 0, memory.values + i * rows->size, rows->size);
    mgi_rows_free(w->ctx, rows);
    *rows = memory;
    return status;
}

/* n clips from clip i on, which w->values are. */
static mgen_status put(work *w, int64_t i, int64_t n)
{
    mgi_row_file *f = row_file(w);
    mgen_status status = f ? mgi_row_file_add(w->cache, f, w->values, n) : MGEN_OK;
    if (w->ranks == 1 && status != MGEN_OK) {
        if ((uint64_t)(all_of(w) * w->l->step) * sizeof(float) >= scratch_from(w))
            return mgi_fail_from(w->ctx, status, w->cache);
        MGI_TRY(leave_file(w));
    } else if (status != MGEN_OK) {
        mgi_row_file_warn(w->ctx, w->cache, what);
        mgi_row_file_close(f, false);
    }
    return w->l->rows.file.open ? MGEN_OK : mgi_rows_put(w->ctx, &w->l->rows, i, w->values, n);
}

/* ---- encoding ------------------------------------------------------------------------------------- */

/* What is encoded, as it lies in memory: (films, frames, height, width, 3). */
static void film_dims(const work *w, int64_t clips, int64_t dims[5])
{
    const mgi_dataset *ds = w->q->dataset;
    const bool pairs = w->q->pairs != NULL;
    dims[0] = mgi_latents_films(w->q) * (pairs ? clips * w->q->frames : clips);
    dims[1] = pairs ? 1 : w->q->frames;
    dims[2] = ds->height;
    dims[3] = ds->width;
    dims[4] = 3;
}

static void encode_some(mgi_run *run, work *w, const some *s)
{
    int64_t dims[5], count = 0;
    uint8_t *room = NULL, *both = NULL;
    const uint8_t *pixels = NULL;
    T *z = NULL;
    film_dims(w, s->n, dims);
    if (!mgi_dims_count(dims, 5, &count))
        mgi_ok(run, mgi_fail(w->ctx, MGEN_E_INVALID, "clips of this size are too large"));
    if (run->status == MGEN_OK && !mgi_latents_drawn(w, s)) /* of pairs, more than is needed */
        mgi_ok(run, mgi_alloc(w->ctx, (size_t)count, &room));
    if (run->status == MGEN_OK)
        mgi_ok(run, mgi_latents_clips(w, s, room, &pixels));
    if (run->status == MGEN_OK && w->q->pairs &&
        mgi_ok(run, mgi_alloc(w->ctx, (size_t)count, &both))) {
        mgi_ok(run, mgi_latents_pairs(w, s, pixels, both));
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
        mgi_ok(run, mgi_tae_normalised(w->q->tae, z, w->values));
    if (run->status == MGEN_OK)
        mgi_ok(run, put(w, s->first, s->n));
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
    MGI_TRY(mgi_alloc_zero(w->ctx, (size_t)(mgi_latents_films(w->q) * w->q->frames),
                           (size_t)p.frame, &room));
    for (int64_t i = first; i < first + count && status == MGEN_OK; i++) {
        status = mgi_latents_clips(w, &(some){i, 1, first + count - i - 1}, room, &p.data);
        for (int64_t at = 0; at < w->l->step && status == MGEN_OK; at += w->l->size) {
            status = mgi_encode_film(w->ctx, w->q->tae, film, 0, read_values, &p, w->values + at);
            p.data += film[0] * p.frame;
        }
        if (status == MGEN_OK)
            status = put(w, i, 1);
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
    int64_t frames = mgi_latents_films(w->q) * w->q->frames;
    return !w->tile && frames < most ? most / frames : 1;
}

static mgen_status encode_whole(work *w, int64_t first, int64_t count)
{
    int64_t batch = batch_of(w);
    mgi_run run;
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

/* Clips first .. first + count - 1 of all. */
static mgen_status encode(work *w, int64_t first, int64_t count)
{
    mgen_status status = mgi_alloc_zero(w->ctx, (size_t)batch_of(w),
                                        (size_t)w->l->step * sizeof *w->values, &w->values);
    if (status == MGEN_OK)
        status = w->tile ? encode_tiled(w, first, count) : encode_whole(w, first, count);
    mgi_free(w->ctx, w->values);
    return status;
}

/* ---- the cache ------------------------------------------------------------------------------------ */

/* Clips to train on, or those held out: a part of the file. */
typedef struct half {
    const work *w;
    int64_t first;
} half;

static void parts_of(const work *w, half halves[2], mgi_st_source parts[2])
{
    const mgi_latents *l = w->l;
    halves[0] = (half){w, 0};
    halves[1] = (half){w, l->clips};
    parts[0] = (mgi_st_source){"train", MGI_ST_F32, 2, {l->clips, l->step}, &halves[0]};
    parts[1] = (mgi_st_source){"held", MGI_ST_F32, 2, {l->held, l->step}, &halves[1]};
}

static mgen_status read_half(const void *data, int64_t first, float *out, int64_t n)
{
    const half *h = data;
    const mgi_latents *l = h->w->l;
    int64_t part;
    for (int64_t done = 0; done < n; done += part) {
        const int64_t i = (first + done) / l->step, at = (first + done) % l->step;
        part = l->step - at < n - done ? l->step - at : n - done;
        MGI_TRY(mgi_latents_read(h->w->cache, l, h->first + i, at, out + done, part));
    }
    return MGEN_OK;
}

/* The file is this clips' from now on. */
static mgen_status load(const work *w)
{
    mgi_latents *l = w->l;
    mgi_st_source parts[2];
    mgi_st_file st;
    const mgi_st_entry *found[MGI_KEPT_PARTS_MAX];
    half halves[2];
    parts_of(w, halves, parts);
    MGI_TRY(mgi_kept_open(w->cache, w->path, "encoded clips", parts, 2, &st, found));
    drop_values(w->ctx, l);
    l->file = st;
    memcpy(l->kept, found, sizeof l->kept);
    return MGEN_OK;
}

static mgen_status store(const work *w)
{
    mgi_st_source parts[2];
    half halves[2];
    parts_of(w, halves, parts);
    return mgi_kept_write(w->cache, w->q->cache_dir, w->path, "moviegen-latents", parts, 2,
                          read_half);
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

/* Of the clips that this rank is to encode, in their order, the first `rows` are there: those of a share that lie in whole batches,
 * as bits may depend on these. */
static int64_t whole_batches(const work *w, const some *share, int64_t rows)
{
    return rows < share->n ? rows - rows % batch_of(w) : share->n;
}

/* Clips that were encoded before this process: n of the file, from its row `row` on, are those from `first` on. */
static mgen_status take_rows(work *w, int64_t row, int64_t first, int64_t n)
{
    mgi_row_file *f = row_file(w);
    mgen_status status = MGEN_OK;
    float *values = NULL;
    if (w->ranks > 1)
        status = mgi_alloc_zero(w->ctx, (size_t)w->l->step, sizeof *values, &values);
    for (int64_t i = 0; w->ranks > 1 && i < n && status == MGEN_OK; i++) {
        status = mgi_row_file_read(w->ctx, f, row + i, 0, values, w->l->step);
        if (status == MGEN_OK)
            status = mgi_rows_put(w->ctx, &w->l->rows, first + i, values, 1);
    }
    mgi_free(w->ctx, values);
    MGI_TRY(status);
    if (!w->q->edits)
        return mgi_latents_take_captions(w, first, n);
    return mgi_dataset_drawn(w->q->dataset) ? MGEN_OK : mgi_latents_take_edits(w, first, n);
}

/* This rank's clips: those that its file has, and then the others. */
static mgen_status encode_own(work *w, const some *train, const some *held)
{
    mgi_row_file *f = row_file(w);
    const int64_t rows = f ? f->rows : 0, trained = whole_batches(w, train, rows);
    const int64_t rest = trained == train->n ? whole_batches(w, held, rows - trained) : 0;
    w->done = trained + rest;
    if (w->done) {
        mgi_log(w->ctx, MGEN_LOG_INFO, "%lld of %lld clips have been encoded before",
                (long long)w->done, (long long)w->own);
        MGI_TRY(mgi_row_file_cut(w->ctx, f, w->done));
        MGI_TRY(take_rows(w, 0, train->first, trained));
        MGI_TRY(take_rows(w, trained, held->first, rest));
    } else if (rows) {
        MGI_TRY(mgi_row_file_cut(w->ctx, f, 0));
    }
    MGI_TRY(encode(w, train->first + trained, train->n - trained));
    return encode(w, held->first + rest, held->n - rest);
}

/* Clips that are sent at a time, on all ranks alike. */
static int64_t sent_at_once(const work *w)
{
    const int64_t clips = SHARED_BYTES / (w->l->step * (int64_t)sizeof(float));
    return clips < 1 ? 1 : clips < SHARED ? clips : SHARED;
}

/* What clips are sent by, on this rank. */
typedef struct letters {
    char *captions; /* of what is read */
    float *values;  /* of what does not lie in memory */
    mgen_status status;
} letters;

static mgen_status make_letters(const work *w, letters *out)
{
    *out = (letters){NULL, NULL, MGEN_OK};
    if (w->ranks > 1 && !mgi_dataset_drawn(w->q->dataset))
        MGI_TRY(mgi_alloc_zero(w->ctx, SHARED, MGI_EDITS_TEXT_SIZE, &out->captions));
    return w->ranks > 1 && !w->l->rows.values
               ? mgi_alloc_zero(w->ctx, (size_t)sent_at_once(w),
                                (size_t)w->l->step * sizeof *out->values, &out->values)
               : MGEN_OK;
}

static void free_letters(const work *w, letters *m)
{
    mgi_free(w->ctx, m->captions);
    mgi_free(w->ctx, m->values);
}

/* Values of clips of rank `root`, to all. What one of them cannot read or keep it tells at the end, in m->status: the others wait for it. */
static mgen_status send_values(const work *w, const some *s, int root, letters *m)
{
    mgi_latents *l = w->l;
    float *values = m->values ? m->values : l->rows.values + s->first * l->step;
    for (int64_t k = 0; m->values && w->rank == root && k < s->n && m->status == MGEN_OK; k++)
        m->status = mgi_latents_read(w->ctx, l, s->first + k, 0, values + k * l->step, l->step);
    MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_F32, values, s->n * l->step, root));
    if (m->values && w->rank != root && m->status == MGEN_OK)
        m->status = mgi_rows_put(w->ctx, &l->rows, s->first, values, s->n);
    return MGEN_OK;
}

/* Likewise. */
static mgen_status send_captions(const work *w, const some *s, int root, letters *m)
{
    char **captions = w->l->captions + s->first, *room = m->captions;
    for (int64_t k = 0; k < s->n && w->rank == root; k++)
        strcpy(room + k * MGI_EDITS_TEXT_SIZE, captions[k]);
    MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_U8, room, s->n * MGI_EDITS_TEXT_SIZE, root));
    for (int64_t k = 0; k < s->n && w->rank != root; k++) {
        room[(k + 1) * MGI_EDITS_TEXT_SIZE - 1] = '\0'; /* whatever the other rank says */
        if (m->status == MGEN_OK)
            m->status = mgi_strdup(w->ctx, room + k * MGI_EDITS_TEXT_SIZE, &captions[k]);
    }
    return w->l->tasks
               ? mgi_ranks_share(w->ctx, w->q->ranks, MGK_I32, w->l->tasks + s->first, s->n, root)
               : MGEN_OK;
}

/* Clips of rank `root`, and of what is read captions and tasks, to all. */
static mgen_status send(const work *w, const some *all, int root, letters *m)
{
    const int64_t most = sent_at_once(w);
    for (int64_t i = 0; i < all->n; i += most) {
        const some s = {all->first + i, all->n - i < most ? all->n - i : most, 0};
        MGI_TRY(send_values(w, &s, root, m));
        if (m->captions)
            MGI_TRY(send_captions(w, &s, root, m));
    }
    return MGEN_OK;
}

static mgen_status encode_all(work *w, const some *train, const some *held)
{
    letters m;
    mgen_status status = make_letters(w, &m);
    if (status == MGEN_OK)
        status = encode_own(w, train, held);
    status = mgi_comm_together_in(w->ctx, w->q->ranks, status, NULL);
    for (int k = 0; k < 2 * w->ranks && w->ranks > 1 && status == MGEN_OK; k++) {
        const some s = share_of(w, k % 2, k / 2);
        status = send(w, &s, k / 2, &m);
    }
    free_letters(w, &m);
    return w->ranks > 1 && status == MGEN_OK
               ? mgi_comm_together_in(w->ctx, w->q->ranks, m.status, NULL)
               : status;
}

/* Those of the cache of rank `root` to all. */
static mgen_status send_kept(const work *w, int root)
{
    letters m;
    mgen_status status = mgi_comm_together_in(w->ctx, w->q->ranks, make_letters(w, &m), NULL);
    mgi_free(w->ctx, m.captions);
    m.captions = NULL;
    if (status == MGEN_OK)
        status = send(w, &(some){0, all_of(w), 0}, root, &m);
    free_letters(w, &m);
    return mgi_comm_together_in(w->ctx, w->q->ranks, status == MGEN_OK ? m.status : status, NULL);
}

/* The first rank that found the clips in its cache, or -1. *all: all did. */
static mgen_status find_source(const work *w, bool there, int *source, bool *all)
{
    int32_t own = there;
    *source = there ? 0 : -1;
    *all = there;
    if (w->ranks == 1)
        return MGEN_OK;
    MGI_TRY(mgi_comm_all_gather(mgi_comm_host(w->q->ranks), MGK_I32, &own, w->found, 1, NULL));
    *source = -1;
    for (int r = w->ranks - 1; r >= 0; r--) {
        *all = *all && w->found[r];
        *source = w->found[r] ? r : *source;
    }
    return MGEN_OK;
}

/* ---- all ------------------------------------------------------------------------------------------ */

/* Then rows that a process has left are good for nothing. */
static bool load_cached(const work *w)
{
    const bool there = mgi_kept_there(w->ctx, w->cache, w->cache ? load(w) : MGEN_E_NOT_FOUND);
    if (there)
        mgi_kept_discard_rows(w->cache, w->q->cache_dir, w->rows_path);
    return there;
}

/* What edits have beside their latents: each rank by itself, but the black film's, whose bits are the first one's. `read`: the
 * dataset's have been, and told. */
static mgen_status finish_edits(const work *w, bool read)
{
    const mgi_dataset *ds = w->q->dataset;
    const int64_t film[3] = {w->q->frames, ds->height, ds->width};
    mgi_film_bytes size = {.height = ds->height, .width = ds->width};
    mgen_status status = read ? MGEN_OK : mgi_latents_take_edits(w, 0, all_of(w));
    if (status == MGEN_OK)
        status = mgi_encode_film(w->ctx, w->q->tae, film, 0, mgi_film_black, &size, w->l->black);
    status = mgi_comm_together_in(w->ctx, w->q->ranks, status, NULL);
    return status == MGEN_OK && w->ranks > 1
               ? mgi_ranks_share(w->ctx, w->q->ranks, MGK_F32, w->l->black, w->l->size, 0)
               : status;
}

/* Keeps them, and then reads them from there. False: they are not kept. */
static bool keep(const work *w)
{
    if (store(w) == MGEN_OK)
        return load_cached(w);
    mgi_log(w->ctx, MGEN_LOG_WARN, "%s; the encoded clips are not kept", w->cache->error_text);
    return false;
}

static mgen_status make(work *w)
{
    const some train = share_of(w, false, w->rank), held = share_of(w, true, w->rank);
    int source;
    bool all, there = load_cached(w);
    MGI_TRY(find_source(w, there, &source, &all));
    const bool written = source < 0 || (!all && w->rank != source);
    w->own = train.n + held.n;
    MGI_TRY(mgi_comm_together_in(w->ctx, w->q->ranks, written ? make_room(w, source < 0) : MGEN_OK,
                                 NULL));
    if (source >= 0) {
        if (!all)
            MGI_TRY(send_kept(w, source));
        mgen_status status = w->q->edits ? MGEN_OK : mgi_latents_take_captions(w, 0, all_of(w));
        MGI_TRY(mgi_comm_together_in(w->ctx, w->q->ranks, status, NULL));
    } else {
        MGI_TRY(encode_all(w, &train, &held));
    }
    mgi_latents_take_scores(w);
    if (w->q->edits)
        MGI_TRY(finish_edits(w, source < 0 && !mgi_dataset_drawn(w->q->dataset)));
    uint8_t kept = w->cache && w->rank == 0 && (there || keep(w));
    if (w->ranks > 1 && source < 0) /* then nobody needs rows any more */
        MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_U8, &kept, 1, 0));
    mgi_row_file_close(&w->encoded, kept);
    return MGEN_OK;
}

mgen_status mgi_latents_make(mgen_context *ctx, const mgi_latents_request *q, mgi_latents *out)
{
    const mgi_dataset *ds = q->dataset;
    const mgi_tae_config *c = &q->tae->config;
    uint64_t all = mgi_dataset_train_count(ds);
    int64_t f = mgi_tae_factor(c), count;
    *out = (mgi_latents){.rows.file.file.fd = -1,
                         .clips = all < (uint64_t)q->clips ? (int64_t)all : q->clips,
                         .held = mgi_dataset_held_count(ds, q->held),
                         .dims = {q->pairs ? q->frames : mgi_tae_latent_frames(c, q->frames),
                                  ds->height / f, ds->width / f, c->latent_channels}};
    mgen_status status = MGEN_OK;
    if (!mgi_dims_count(out->dims, 4, &out->size) ||
        !mgi_i64_mul(out->size, mgi_latents_films(q), &out->step) ||
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
    work w = {
        .ctx = ctx, .q = q, .l = out, .tile = find_tile(ctx, q), .encoded.file.fd = -1, .ranks = 1};
    if (q->ranks) {
        w.rank = mgi_comm_rank(q->ranks);
        w.ranks = mgi_comm_size(q->ranks);
    }
    if (status == MGEN_OK && w.ranks > 1)
        status = mgi_alloc_zero(ctx, (size_t)w.ranks, sizeof *w.found, &w.found);
    if (status == MGEN_OK && q->cache_dir && ds->identity)
        status = mgi_context_private(ctx, &w.cache);
    if (status == MGEN_OK)
        status = mgi_prefetch_create(ctx, q->seed, ctx->device->cuda != NULL, &w.drawn);
    if (status == MGEN_OK && w.cache)
        status = mgi_kept_paths(ctx, q->cache_dir, "latents", key_of(&w), w.rank, w.ranks, w.path,
                                w.rows_path);
    status = mgi_comm_together_in(ctx, q->ranks, status, NULL);
    if (status == MGEN_OK)
        status = make(&w);
    mgi_prefetch_destroy(w.drawn);
    mgi_row_file_close(&w.encoded, false);
    mgi_context_free(w.cache);
    mgi_free(ctx, w.found);
    if (status != MGEN_OK)
        mgi_latents_free(ctx, out);
    return status;
}
