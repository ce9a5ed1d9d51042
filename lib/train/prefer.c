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

#include <math.h>
#include <string.h>

enum { TOGETHER = 8 /* films of a request */ };

/* Of the films so far: what was asked for and seen. */
typedef struct work {
    mgen_context *ctx;
    const mgi_prefer_request *q;
    mgi_preferred *out;
    uint8_t *pixels;
    double asked, seen;
    int64_t made;
    int rank, ranks;
    bool
        together; /* ranks share the work of each film, whose frames the first one gets; else they share prompts */
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

/* Collective. */
static mgen_status take_prompt(work *w, int64_t prompt)
{
    const mgi_prefer_recipe *recipe = w->q->recipe;
    mgi_preferred *p = w->out;
    const int root = w->together ? 0 : (int)(prompt % w->ranks);
    double scores[MGI_PREFER_FILMS_MAX];
    char caption[MGI_CAPTION_SIZE];
    uint32_t pick[4];
    mgi_philox(w->q->seed, MGI_STREAM_SAMPLE, (UINT64_C(1) << 41) + (uint64_t)prompt, pick);
    mgi_dataset_told(w->q->captions, w->q->first + (uint64_t)prompt, pick[0], caption);
    mgen_status status =
        w->together || w->rank == root ? make_prompt(w, prompt, caption, scores) : MGEN_OK;
    MGI_TRY(mgi_comm_together_in(w->ctx, w->q->ranks, status, NULL));
    if (w->ranks > 1)
        MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_U8, scores,
                                recipe->films * (int64_t)sizeof *scores, root));
    if (w->ranks > 1 && !w->together)
        MGI_TRY(mgi_ranks_share(w->ctx, w->q->ranks, MGK_F32, p->latents + p->count * p->size,
                                recipe->films * p->size, root));
    for (int64_t i = 0; i < recipe->films; i++)
        w->seen += scores[i];
    w->made += recipe->films;
    if (!mgi_prefer_weigh(scores, recipe->films, p->preference + p->count))
        return MGEN_OK;
    for (int64_t i = 0; i < recipe->films; i++)
        strcpy(p->captions[p->count + i], caption);
    p->count += recipe->films;
    return MGEN_OK;
}

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
    return mgi_alloc_zero(w->ctx, films, sizeof *p->captions, &p->captions);
}

mgen_status mgi_prefer_make(mgen_context *ctx, const mgi_prefer_request *q, mgi_preferred *out)
{
    work w = {.ctx = ctx, .q = q, .out = out, .ranks = 1};
    memset(out, 0, sizeof *out);
    if (q->ranks) {
        w.rank = mgi_comm_rank(q->ranks);
        w.ranks = mgi_comm_size(q->ranks);
        w.together = q->networks->video->mesh != NULL;
    }
    mgen_status status = mgi_comm_together_in(ctx, q->ranks, make_room(&w), NULL);
    for (int64_t i = 0; i < q->recipe->prompts && status == MGEN_OK; i++) {
        status = take_prompt(&w, i);
        if (status == MGEN_OK)
            status =
                mgi_progress(ctx, "making films", (uint64_t)i + 1, (uint64_t)q->recipe->prompts);
        status = mgi_comm_together_in(ctx, q->ranks, status, NULL);
    }
    mgi_free(ctx, w.pixels);
    if (status == MGEN_OK)
        mgi_log(ctx, MGEN_LOG_INFO,
                "%lld films were made, in which %.1f %% of what their captions ask for can be "
                "seen; %lld of them are of prompts whose films differ in that",
                (long long)w.made, 100.0 * w.seen / (double)w.made, (long long)out->count);
    if (status == MGEN_OK && !out->count)
        status = mgi_fail(ctx, MGEN_E_INVALID,
                          "of each prompt all films are as good: there is nothing to prefer; take "
                          "more \"prompts\" or harder ones (\"world\"), or more \"films\" of each");
    if (status != MGEN_OK)
        mgi_prefer_free(ctx, out);
    return status;
}
