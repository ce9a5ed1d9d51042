/* SPDX-License-Identifier: MIT */
#include "train/prefer.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "core/philox.h"
#include "eval/world_check.h"
#include "eval/world_tally.h"
#include "task/codec.h"
#include "task/generate.h"
#include "task/ranks.h"
#include "tensor/device.h"
#include "train/kept.h"
#include "train/row_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TOGETHER = 8 /* films of a request */ };

/* Of the films so far: what was asked for and seen. */
typedef struct work {
    mgen_context *ctx;
    const mgi_prefer_request *q;
    mgi_preferred *out;
    uint8_t *pixels;
    float *prompts; /* the numbers of those whose films are learnt from */
    double seen;
    int64_t made;
    int rank, ranks;
    bool
        together; /* ranks share the work of each film, whose frames the first one gets; else they share prompts */
    mgen_context *
        cache; /* of the first rank, where failures are told that do not matter; NULL: there is none */
    char path[MGI_PATH_MAX + 1], rows_path[MGI_PATH_MAX + 1];
    mgi_row_file
        rows; /* the first rank's: of each prompt so far scores and latents, if its reader is there */
    int64_t before; /* prompts whose films were made by a process that was ended */
    float *row;
} work;

void mgi_prefer_free(mgen_context *ctx, mgi_preferred *p)
{
    mgi_free(ctx, p->latents);
    mgi_free(ctx, p->preference);
    mgi_free(ctx, p->captions);
    memset(p, 0, sizeof *p);
}

bool mgi_prefer_weigh(const double *scores, int64_t count, float *out)
{
    double mean = 0.0, squares = 0.0;
    for (int64_t i = 0; i < count; i++)
        mean += scores[i] / (double)count;
    for (int64_t i = 0; i < count; i++)
        squares += (scores[i] - mean) * (scores[i] - mean);
    const double deviation = sqrt(squares / (double)count);
    for (int64_t i = 0; i < count; i++)
        out[i] = deviation > 1e-9
                     ? (float)fmax(-1.0, fmin((scores[i] - mean) / (2.0 * deviation), 1.0))
                     : 0.0f;
    return deviation > 1e-9;
}

/* The share of what is asked for that is seen. */
static double score(const mgi_world_said *asked, const mgi_world_said *seen)
{
    mgi_world_tally t = {0};
    double of = 0.0, right = 0.0;
    mgi_world_tally_add(&t, asked, seen);
    for (int i = 0; i < MGI_TALLY_ALL_ONE; i++) {
        const double weight = i == MGI_TALLY_MOTION ? 2.0 : 1.0;
        of += weight * (double)t.asked[i];
        right += weight * (double)t.right[i];
    }
    return of > 0.0 ? right / of : 0.0;
}

/* Films first .. first + rows - 1 of a prompt: their latents, and their scores. */
static mgen_status make_some(work *w, int64_t prompt, const char *caption, int64_t first,
                             int64_t rows, float *latents, double *scores)
{
    const mgi_prefer_request *q = w->q;
    const mgi_clip_shape *c = &q->networks->clip;
    const uint64_t numbers[] = {q->seed, (uint64_t)prompt};
    const char *prompts[TOGETHER];
    uint64_t seeds[TOGETHER];
    mgi_world_said asked, seen[TOGETHER];
    mgi_film_bytes film = {.out = w->pixels, .height = c->height, .width = c->width};
    for (int64_t i = 0; i < rows; i++) {
        prompts[i] = caption;
        seeds[i] = mgi_hash64(numbers, sizeof numbers, (uint64_t)(first + i));
    }
    const mgi_generate_request request = {.prompts = prompts,
                                          .count = rows,
                                          .seeds = seeds,
                                          .steps = (int)q->recipe->steps,
                                          .guidance_to = (float)q->recipe->guidance_to,
                                          .latents = latents,
                                          .sink = mgi_film_take,
                                          .user = &film};
    MGI_TRY(mgi_generate(w->ctx, q->networks, &request));
    mgi_world_parse(caption, &asked);
    if (c->frames == 1)
        mgi_world_tally_picture(&asked);
    if (w->together && w->rank)
        return MGEN_OK;
    MGI_TRY(mgi_world_check_films(w->ctx, w->pixels, rows, (int)c->width, (int)c->height,
                                  (int)c->frames, seen));
    for (int64_t i = 0; i < rows; i++)
        scores[i] = score(&asked, &seen[i]);
    return MGEN_OK;
}

/* All of a prompt's, behind those that are there. */
static mgen_status make_prompt(work *w, int64_t prompt, const char *caption, double *scores)
{
    const int64_t films = w->q->recipe->films;
    float *latents = w->out->latents + w->out->count * w->out->size;
    for (int64_t i = 0; i < films; i += TOGETHER) {
        const int64_t rows = films - i < TOGETHER ? films - i : TOGETHER;
        MGI_TRY(make_some(w, prompt, caption, i, rows, latents + i * w->out->size, scores + i));
    }
    return MGEN_OK;
}

static void tell(const work *w, int64_t prompt, char caption[MGI_CAPTION_SIZE])
{
    uint32_t pick[4];
    mgi_philox(w->q->seed, MGI_STREAM_SAMPLE, (UINT64_C(1) << 41) + (uint64_t)prompt, pick);
    mgi_dataset_told(w->q->captions, w->q->first + (uint64_t)prompt, pick[0], caption);
}

/* The films of a prompt, behind those that are there, are learnt from. */
static void add_prompt(work *w, int64_t prompt, const char *caption)
{
    const int64_t films = w->q->recipe->films;
    mgi_preferred *p = w->out;
    for (int64_t i = 0; i < films; i++)
        strcpy(p->captions[p->count + i], caption);
    w->prompts[p->count / films] = (float)prompt; /* less than 2^24 */
    p->count += films;
}

static uint64_t key_of(const work *w)
{
    const mgi_prefer_request *q = w->q;
    const mgi_prefer_recipe *r = q->recipe;
    const mgi_clip_shape *c = &q->networks->clip;
    const mgi_vt *video = q->networks->video;
    const mgi_mesh_shape m = w->together ? video->mesh->shape : (mgi_mesh_shape){0};
    const uint64_t numbers[] = {q->made_by,
                                q->captions->identity,
                                q->first,
                                q->seed,
                                (uint64_t)r->prompts,
                                (uint64_t)r->films,
                                (uint64_t)r->steps,
                                (uint64_t)c->width,
                                (uint64_t)c->height,
                                (uint64_t)c->frames,
                                (uint64_t)c->fps,
                                (uint64_t)w->out->size,
                                (uint64_t)m.dp,
                                (uint64_t)m.cp,
                                (uint64_t)m.tp,
                                (uint64_t)video->module.dtype};
    const char *kernels = w->ctx->device->kernels_text;
    uint64_t hash = mgi_hash64(numbers, sizeof numbers, 3);
    hash = mgi_hash64(&r->guidance_to, sizeof r->guidance_to, hash);
    return kernels ? mgi_hash64(kernels, strlen(kernels), hash) : hash;
}

static mgen_status open_cache(work *w)
{
    if (!w->q->cache_dir || w->rank)
        return MGEN_OK;
    MGI_TRY(mgi_context_private(w->ctx, &w->cache));
    return mgi_kept_paths(w->ctx, w->q->cache_dir, "preferred", key_of(w), 0, 1, w->path,
                          w->rows_path);
}

/* ---- what is made so far ---------------------------------------------------------------------------- */

static const char what[] = "films are made";

/* Floats of a prompt's scores, which are doubles, and of its films. */
static int64_t scores_of(const work *w)
{
    return w->q->recipe->films * (int64_t)(sizeof(double) / sizeof(float));
}

static int64_t row_of(const work *w)
{
    return scores_of(w) + w->q->recipe->films * w->out->size;
}

/* The films of a prompt, behind those that are learnt from. */
static mgen_status read_row(const work *w, int64_t prompt, double *scores)
{
    const mgi_preferred *p = w->out;
    MGI_TRY(mgi_row_file_read(w->ctx, &w->rows, prompt, 0, w->row, scores_of(w)));
    memcpy(scores, w->row, (size_t)w->q->recipe->films * sizeof *scores);
    return mgi_row_file_read(w->ctx, &w->rows, prompt, scores_of(w),
                             p->latents + p->count * p->size, w->q->recipe->films * p->size);
}

static void add_row(work *w, const double *scores)
{
    const mgi_preferred *p = w->out;
    const int64_t films = w->q->recipe->films;
    if (!w->rows.open)
        return;
    memcpy(w->row, scores, (size_t)films * sizeof *scores);
    memcpy(w->row + scores_of(w), p->latents + p->count * p->size,
           (size_t)(films * p->size) * sizeof *w->row);
    if (mgi_row_file_add(w->cache, &w->rows, w->row, 1) == MGEN_OK)
        return;
    mgi_row_file_warn(w->ctx, w->cache, what);
    mgi_row_file_close(&w->rows, false);
}

/* Collective: those that the first rank has. */
static mgen_status open_rows(work *w)
{
    mgen_status status = MGEN_OK;
    if (w->cache)
        status = mgi_row_file_open(w->ctx, w->cache, w->q->cache_dir, w->rows_path, key_of(w),
                                   row_of(w), w->q->recipe->prompts, what, &w->rows);
    if (status == MGEN_OK && w->rows.open)
        status = mgi_alloc_zero(w->ctx, (size_t)row_of(w), sizeof *w->row, &w->row);
    MGI_TRY(mgi_comm_together_in(w->ctx, w->q->ranks, status, NULL));
    w->before = w->rows.open ? w->rows.rows : 0;
    if (w->before)
        mgi_log(w->ctx, MGEN_LOG_INFO, "films of %lld of %lld prompts have been made before",
                (long long)w->before, (long long)w->q->recipe->prompts);
    return w->ranks > 1
               ? mgi_ranks_share(w->ctx, w->q->ranks, MGK_U8, &w->before, sizeof w->before, 0)
               : MGEN_OK;
}

/* ---- prompt by prompt ----------------------------------------------------------------------------- */

/* Collective. */
static mgen_status take_prompt(work *w, int64_t prompt)
{
    const mgi_prefer_recipe *recipe = w->q->recipe;
    mgi_preferred *p = w->out;
    const bool made = prompt < w->before;
    const int root = made || w->together ? 0 : (int)(prompt % w->ranks);
    double scores[MGI_PREFER_FILMS_MAX];
    char caption[MGI_CAPTION_SIZE];
    mgen_status status = MGEN_OK;
    tell(w, prompt, caption);
    if (made && w->rank == 0)
        status = read_row(w, prompt, scores);
    else if (!made && (w->together || w->rank == root))
        status = make_prompt(w, prompt, caption, scores);
    MGI_TRY(mgi_comm_together_in(w->ctx, w->q->ranks, status, NULL));
    if (w->ranks > 1)
        MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_U8, scores,
                                recipe->films * (int64_t)sizeof *scores, root));
    if (w->ranks > 1 && (made || !w->together))
        MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_F32, p->latents + p->count * p->size,
                                recipe->films * p->size, root));
    if (!made)
        add_row(w, scores);
    for (int64_t i = 0; i < recipe->films; i++)
        w->seen += scores[i];
    w->made += recipe->films;
    if (mgi_prefer_weigh(scores, recipe->films, p->preference + p->count))
        add_prompt(w, prompt, caption);
    return MGEN_OK;
}

/* ---- the cache ------------------------------------------------------------------------------------ */

enum { LATENTS, PREFERENCES, PROMPTS, PARTS };
_Static_assert((int)PARTS <= (int)MGI_KEPT_PARTS_MAX, "they can be kept");

/* Of `prompts` of them, or as many as there are. */
static void parts_of(const work *w, int64_t prompts, mgi_st_source parts[PARTS])
{
    const mgi_preferred *p = w->out;
    const int64_t films = w->q->recipe->films;
    parts[LATENTS] =
        (mgi_st_source){"latents", MGI_ST_F32, 2, {prompts, films * p->size}, p->latents};
    parts[PREFERENCES] =
        (mgi_st_source){"preferences", MGI_ST_F32, 2, {prompts, films}, p->preference};
    parts[PROMPTS] = (mgi_st_source){"prompts", MGI_ST_F32, 2, {prompts, 1}, w->prompts};
}

/* How many prompts there are is how many rows they have. */
static mgen_status load(work *w, int64_t *count)
{
    mgi_st_source parts[PARTS];
    mgi_st_file file;
    const mgi_st_entry *found[MGI_KEPT_PARTS_MAX];
    parts_of(w, -1, parts);
    MGI_TRY(mgi_kept_open(w->cache, w->path, "films that were made", parts, PARTS, &file, found));
    const int64_t rows = parts[PROMPTS].dims[0];
    mgen_status status = MGEN_OK;
    if (rows >= 1 && rows <= w->q->recipe->prompts && parts[LATENTS].dims[0] == rows &&
        parts[PREFERENCES].dims[0] == rows) {
        float *const to[PARTS] = {w->out->latents, w->out->preference, w->prompts};
        for (int i = 0; i < PARTS && status == MGEN_OK; i++)
            status = mgi_st_read_bytes(w->cache, found[i], 0, to[i], found[i]->bytes);
        *count = status == MGEN_OK ? rows : 0;
    }
    mgi_st_close(w->cache, &file);
    return status;
}

/* Collective: what the first rank has in its cache, if that has it. */
static mgen_status take_kept(work *w)
{
    const int64_t films = w->q->recipe->films;
    mgi_preferred *p = w->out;
    char caption[MGI_CAPTION_SIZE];
    int64_t prompts = 0;
    mgi_kept_there(w->ctx, w->cache, w->cache ? load(w, &prompts) : MGEN_E_NOT_FOUND);
    if (w->ranks > 1)
        MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_U8, &prompts, sizeof prompts, 0));
    if (prompts < 0 || prompts > w->q->recipe->prompts) /* whatever the other rank says */
        return mgi_fail(w->ctx, MGEN_E_DESYNC, "rank 0 has films of %lld prompts, of %lld",
                        (long long)prompts, (long long)w->q->recipe->prompts);
    if (prompts && w->ranks > 1) {
        MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_F32, p->latents, prompts * films * p->size,
                                0));
        MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_F32, p->preference, prompts * films, 0));
        MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_F32, w->prompts, prompts, 0));
    }
    for (int64_t i = 0; i < prompts; i++) {
        const float number = w->prompts[i];
        const int64_t prompt = number >= 0.0f && number < 16777216.0f ? (int64_t)number : 0;
        tell(w, prompt, caption);
        add_prompt(w, prompt, caption);
    }
    if (prompts)
        mgi_log(w->ctx, MGEN_LOG_INFO, "%lld films, made and judged before, are learnt from",
                (long long)p->count);
    if (prompts && w->cache)
        mgi_kept_discard_rows(w->cache, w->q->cache_dir, w->rows_path);
    return MGEN_OK;
}

static void keep(work *w)
{
    mgi_st_source parts[PARTS];
    parts_of(w, w->out->count / w->q->recipe->films, parts);
    if (mgi_kept_write(w->cache, w->q->cache_dir, w->path, "moviegen-preferred", parts, PARTS,
                       NULL) != MGEN_OK)
        mgi_log(w->ctx, MGEN_LOG_WARN, "%s; the films that were made are not kept",
                w->cache->error_text);
    else
        mgi_row_file_close(&w->rows, true);
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static mgen_status make_room(work *w)
{
    const mgi_networks *n = w->q->networks;
    const mgi_clip_shape *c = &n->clip;
    const mgi_prefer_recipe *r = w->q->recipe;
    const int64_t film[3] = {c->frames, c->height, c->width};
    int64_t dims[4];
    mgi_preferred *p = w->out;
    if (!mgi_world_checkable(c->width, c->height, c->frames))
        return mgi_fail(
            w->ctx, MGEN_E_INVALID,
            "\"prefer\" has films of the toybox judged, which must have 48 x 48 to 10240 "
            "pixels and at most 64 frames, not %lld x %lld and %lld",
            (long long)c->width, (long long)c->height, (long long)c->frames);
    MGI_TRY(mgi_latent_dims(w->ctx, n->tae, film, dims));
    p->size = dims[0] * dims[1] * dims[2] * dims[3];
    const size_t films = (size_t)(r->prompts * r->films);
    MGI_TRY(mgi_alloc_zero(w->ctx, TOGETHER, (size_t)(c->frames * c->width * c->height * 3),
                           &w->pixels));
    MGI_TRY(mgi_alloc_zero(w->ctx, films, (size_t)p->size * sizeof *p->latents, &p->latents));
    MGI_TRY(mgi_alloc_zero(w->ctx, films, sizeof *p->preference, &p->preference));
    MGI_TRY(mgi_alloc_zero(w->ctx, (size_t)r->prompts, sizeof *w->prompts, &w->prompts));
    return mgi_alloc_zero(w->ctx, films, sizeof *p->captions, &p->captions);
}

/* Collective: films of all prompts. */
static mgen_status make_all(work *w)
{
    const int64_t prompts = w->q->recipe->prompts;
    MGI_TRY(open_rows(w));
    for (int64_t i = 0; i < prompts; i++) {
        mgen_status status = take_prompt(w, i);
        if (status == MGEN_OK)
            status = mgi_progress(w->ctx, "making films", (uint64_t)i + 1, (uint64_t)prompts);
        MGI_TRY(mgi_comm_together_in(w->ctx, w->q->ranks, status, NULL));
    }
    mgi_log(w->ctx, MGEN_LOG_INFO,
            "%lld films were made, in which %.1f %% of what their captions ask for can be "
            "seen; %lld of them are of prompts whose films differ in that",
            (long long)w->made, 100.0 * w->seen / (double)w->made, (long long)w->out->count);
    if (!w->out->count)
        return mgi_fail(w->ctx, MGEN_E_INVALID,
                        "of each prompt all films are as good: there is nothing to prefer; take "
                        "more \"prompts\" or harder ones (\"world\"), or more \"films\" of each");
    if (w->cache)
        keep(w);
    return MGEN_OK;
}

mgen_status mgi_prefer_make(mgen_context *ctx, const mgi_prefer_request *q, mgi_preferred *out)
{
    work w = {.ctx = ctx, .q = q, .out = out, .rows.file.fd = -1, .ranks = 1};
    memset(out, 0, sizeof *out);
    if (q->ranks) {
        w.rank = mgi_comm_rank(q->ranks);
        w.ranks = mgi_comm_size(q->ranks);
        w.together = q->networks->video->mesh != NULL;
    }
    mgen_status status = make_room(&w);
    if (status == MGEN_OK)
        status = open_cache(&w);
    status = mgi_comm_together_in(ctx, q->ranks, status, NULL);
    if (status == MGEN_OK)
        status = take_kept(&w);
    if (status == MGEN_OK && !out->count)
        status = make_all(&w);
    mgi_row_file_close(&w.rows, false);
    mgi_free(ctx, w.row);
    mgi_free(ctx, w.pixels);
    mgi_free(ctx, w.prompts);
    mgi_context_free(w.cache);
    if (status != MGEN_OK)
        mgi_prefer_free(ctx, out);
    return status;
}
