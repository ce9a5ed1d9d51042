/* SPDX-License-Identifier: MIT
 * Training the audio model (report, "Movie Gen Audio") by flow matching; along with it, text and image encoders that are not
 * frozen; or an adapter of its transformer alone, as in text_to_video.c.
 *
 *   the sound of clips is encoded once by the trained codec (train/audio_clips.h), those of a step of one length;
 *   loss = mean (u(X_t, sound that is there, film, caption, t) - V)^2, X_t and V as in text_to_video.c.
 *
 * Of a share of the samples all three are left out, of others the film or the caption. Of the sound that is there a sample sees
 * nothing with probability `nothing_heard`; else all but one span of three quarters to all of it, which is to be filled in.
 */
#include "train/audio_stage.h"

#include "core/alloc.h"
#include "core/philox.h"
#include "data/dataset_sound.h"
#include "dist/collective.h"
#include "flow/schedule.h"
#include "kernels/loss/loss.h"
#include "kernels/random/random.h"
#include "nn/partial.h"

#include <math.h>
#include <string.h>

enum { VALIDATION_BATCH = 16, TIMES = 10, LOTS = 8 };
#define FILLED_LEAST 0.75f /* share of a sample that is to be filled in */

/* Times of validation, as in text_to_video.c. */
static const double quantiles[TIMES / 2] = {-1.6448536270, -1.0364333895, -0.6744897502,
                                            -0.3853204664, -0.1256613469};

static int64_t rate_of(const struct mgi_stage_run *r, int64_t *hop)
{
    const mgi_audio_codec_config *c = &r->models.codec.config;
    *hop = mgi_audio_codec_hop(c);
    return c->rate;
}

static void destroy(struct mgi_stage_run *r)
{
    mgen_context *ctx = r->ctx;
    mgi_audio_rows *rows = &r->rows;
    mgi_fsdp_destroy(r->fsdp);
    mgi_optimizer_finish(&r->optimizer);
    mgi_adapter_finish(&r->adapter);
    mgi_audio_finish(&r->models);
    for (int64_t i = 0; i < r->lengths; i++)
        mgi_audio_clips_free(ctx, &r->length[i]);
    mgi_dataset_release(r->dataset);
    mgi_free(ctx, rows->latents);
    mgi_free(ctx, rows->condition);
    mgi_free(ctx, rows->features);
    mgi_free(ctx, rows->pixels);
    mgi_free(ctx, rows->pictures);
    mgi_free(ctx, rows->captions);
    mgi_free(ctx, (void *)rows->prompts);
    mgi_free(ctx, rows->tokens);
    mgi_tensor_release(r->loss);
    mgi_free(ctx, r);
}

/* -- lengths ------------------------------------------------------------------------------------ */

static mgen_status open_length(struct mgi_stage_run *r, int64_t i, double weights)
{
    const mgi_stage *s = &r->stage;
    const mgi_audio_length *l = &s->length[i];
    mgi_audio_clips *c = &r->length[i];
    int64_t hop, rate = rate_of(r, &hop);
    const double seconds = l->seconds, share = l->weight / weights;
    const bool endless = r->dataset->count == UINT64_MAX;
    *c = (mgi_audio_clips){.fps = (double)l->fps, .share = share};
    c->latents = (int64_t)floor(seconds * (double)rate / (double)hop + 0.5);
    c->samples = c->latents * hop;
    c->frames = (int64_t)floor(seconds * (double)l->fps + 0.5);
    c->channels = s->audio.transformer.channels;
    c->width = s->audio.transformer.features;
    if (c->latents < 1 || c->frames < 1 || c->latents > s->audio.transformer.frames_max)
        return mgi_fail(r->ctx, MGEN_E_INVALID,
                        "\"lengths\": %g seconds are %lld latents and %lld frames; the transformer "
                        "takes 1 to %lld latents (\"frames_max\")",
                        seconds, (long long)c->latents, (long long)c->frames,
                        (long long)s->audio.transformer.frames_max);
    MGI_TRY(mgi_dataset_sound_sized(r->ctx, r->dataset, c->frames, l->fps, &c->dataset));
    const uint64_t all = mgi_dataset_train_count(c->dataset);
    c->clips = endless ? (int64_t)ceil((double)s->clips * share) : s->clips;
    c->clips = all < (uint64_t)c->clips ? (int64_t)all : c->clips;
    c->held = mgi_dataset_held_count(c->dataset, (mgi_stage_held(s) + s->lengths - 1) / s->lengths);
    c->first = i && endless ? r->length[i - 1].first + (uint64_t)r->length[i - 1].clips : 0;
    if (mgi_audio_sees(r))
        return mgi_dataset_check_watched(r->ctx, c->dataset, c->fps, c->frames);
    c->frames = 0;
    return MGEN_OK;
}

static mgen_status open_lengths(struct mgi_stage_run *r)
{
    double weights = 0.0;
    if (!mgi_dataset_sounds(r->dataset))
        return mgi_fail(r->ctx, MGEN_E_INVALID,
                        "stage \"%s\" needs a dataset with sound, and this one has none; the "
                        "toybox's world has, folders of films with sound, and samples of the host "
                        "for which sound_samples is set",
                        r->stage.name);
    for (int64_t i = 0; i < r->stage.lengths; i++)
        weights += r->stage.length[i].weight;
    for (int64_t i = 0; i < r->stage.lengths; i++) {
        r->lengths = i + 1;
        MGI_TRY(open_length(r, i, weights));
    }
    return MGEN_OK;
}

/* Whether the ranks of a sample can divide each of them. */
static mgen_status check_lengths(struct mgi_stage_run *r)
{
    for (int64_t i = 0; i < r->lengths; i++) {
        mgen_status status =
            mgi_vt_check_tokens(r->ctx, &r->models.transformer, r->length[i].latents);
        if (status != MGEN_OK)
            return mgi_fail_context(r->ctx, status, "\"lengths\": %g seconds",
                                    r->stage.length[i].seconds);
    }
    return MGEN_OK;
}

static mgen_status encode_all(struct mgi_stage_run *r, const mgi_stage_params *params)
{
    mgi_stage_state ranks;
    mgi_stage_ranks(&ranks, params->mesh, params->comm);
    const bool kept = mgi_audio_sees(r) && !mgi_audio_looks(r);
    const mgi_audio_clips_request q = {.codec = &r->models.codec,
                                       .vision = kept ? &r->models.vision : NULL,
                                       .codec_hash = r->codec_hash,
                                       .vision_hash = kept ? r->vision_hash : 0,
                                       .seed = r->seed,
                                       .cache_dir = params->cache_dir,
                                       .ranks = ranks.world};
    for (int64_t i = 0; i < r->lengths; i++)
        MGI_TRY(mgi_audio_clips_make(r->ctx, &q, &r->length[i]));
    return MGEN_OK;
}

static mgen_status make_rows(struct mgi_stage_run *r)
{
    const int64_t batch = r->stage.batch > VALIDATION_BATCH ? r->stage.batch : VALIDATION_BATCH;
    int64_t latents = 0, frames = 0, bytes = 0;
    mgi_audio_rows *rows = &r->rows;
    for (int64_t i = 0; i < r->lengths; i++) {
        const mgi_audio_clips *c = &r->length[i];
        latents = c->latents > latents ? c->latents : latents;
        frames = c->frames > frames ? c->frames : frames;
        bytes = c->dataset->height * c->dataset->width * 3;
    }
    const size_t n = (size_t)batch, values = n * (size_t)latents;
    const size_t channels = (size_t)r->stage.audio.transformer.channels;
    const size_t width = (size_t)r->stage.audio.transformer.features;
    MGI_TRY(mgi_alloc_zero(r->ctx, values * channels, sizeof(float), &rows->latents));
    MGI_TRY(mgi_alloc_zero(r->ctx, values * channels, sizeof(float), &rows->condition));
    if (mgi_audio_looks(r)) {
        MGI_TRY(mgi_alloc_zero(r->ctx, n * (size_t)frames, (size_t)bytes, &rows->pixels));
        MGI_TRY(mgi_alloc_zero(r->ctx, values, sizeof *rows->pictures, &rows->pictures));
    } else if (width) {
        MGI_TRY(mgi_alloc_zero(r->ctx, values * width, sizeof(float), &rows->features));
    }
    MGI_TRY(mgi_alloc_zero(r->ctx, n, sizeof *rows->captions, &rows->captions));
    MGI_TRY(mgi_alloc_zero(r->ctx, n, sizeof *rows->prompts, &rows->prompts));
    MGI_TRY(mgi_alloc_zero(r->ctx, n, MGI_ROLES * sizeof *rows->tokens, &rows->tokens));
    return mgi_tensor_create(r->ctx->device, MGK_F32, MGI_DIMS(1), &r->loss);
}

static mgen_status create(mgen_context *ctx, const mgi_stage_params *params,
                          struct mgi_stage_run **out)
{
    struct mgi_stage_run *r;
    mgen_status status;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *r, &r));
    r->ctx = ctx;
    r->stage = *params->stage;
    r->seed = params->seed;
    r->mesh = params->mesh;
    strcpy(r->dir, params->dir);
    MGI_TRY_GOTO(status, mgi_audio_open_codec(r), failed);
    MGI_TRY_GOTO(status, mgi_stage_dataset(ctx, params, 1, 1, &r->dataset), failed);
    MGI_TRY_GOTO(status, open_lengths(r), failed);
    MGI_TRY_GOTO(status, mgi_audio_open_models(r, params), failed);
    MGI_TRY_GOTO(status, check_lengths(r), failed);
    MGI_TRY_GOTO(status, make_rows(r), failed);
    MGI_TRY_GOTO(status, encode_all(r, params), failed);
    mgi_dp_init(&r->parallel, params->comm, r->trained, r->trained_count);
    r->parallel.fsdp = r->fsdp;
    *out = r;
    return MGEN_OK;
failed:
    destroy(r);
    return status;
}

/* -- a batch ------------------------------------------------------------------------------------ */

/* What of a sample is left out, and which of its latents are to be filled in. */
typedef struct kept {
    bool film, text;
    int64_t from, to;
} kept;

static kept keep_all(const mgi_audio_clips *c)
{
    return (kept){true, true, 0, c->latents};
}

static kept keep_some(const struct mgi_stage_run *r, const mgi_audio_clips *c, uint64_t element)
{
    const mgi_stage *s = &r->stage;
    float lot[LOTS];
    kept k = keep_all(c);
    for (int i = 0; i < LOTS; i++)
        lot[i] = mgi_random_unit(r->seed, MGI_STREAM_DROP, element * LOTS + (uint64_t)i);
    if (lot[0] < (float)s->drop)
        return (kept){false, false, 0, c->latents};
    k.film = lot[1] >= (float)s->drop_film;
    k.text = lot[2] >= (float)s->drop_text;
    if (lot[3] < (float)s->nothing_heard)
        return k;
    const float share = FILLED_LEAST + (1.0f - FILLED_LEAST) * lot[4];
    const int64_t span = (int64_t)ceilf(share * (float)c->latents);
    k.from = (int64_t)(lot[5] * (float)(c->latents - span + 1));
    k.to = k.from + span;
    return k;
}

/* Clip `i` into row `row`. */
static mgen_status take_clip(struct mgi_stage_run *r, const mgi_audio_clips *c, int64_t i,
                             int64_t row, uint32_t pick, const kept *k)
{
    mgi_audio_rows *rows = &r->rows;
    const int64_t size = c->latents * c->channels, frame = c->dataset->height * c->dataset->width;
    const float *values = c->values + i * size;
    float *heard = rows->condition + row * size;
    memcpy(rows->latents + row * size, values, (size_t)size * sizeof *values);
    memcpy(heard, values, (size_t)size * sizeof *values);
    memset(heard + k->from * c->channels, 0,
           (size_t)((k->to - k->from) * c->channels) * sizeof *heard);
    mgi_audio_clip_caption(c, r->seed, i, pick, rows->captions[row]);
    rows->prompts[row] = k->text ? rows->captions[row] : "";
    if (rows->features && k->film)
        mgi_sound_nearest(c->features + i * c->frames * c->width, c->frames, c->fps, c->width,
                          c->latents, (double)c->latents * c->fps / (double)c->frames,
                          rows->features + row * c->latents * c->width);
    else if (rows->features)
        memset(rows->features + row * c->latents * c->width, 0,
               (size_t)(c->latents * c->width) * sizeof(float));
    if (!rows->pixels)
        return MGEN_OK;
    return mgi_audio_clip_frames(r->ctx, c, r->seed, i, rows->pixels + row * c->frames * frame * 3);
}

/* The pictures that the latents of row `row` of `count` see. */
static void point_at_pictures(const mgi_audio_clips *c, int64_t row, int64_t count, bool film,
                              int32_t *out)
{
    for (int64_t i = 0; i < c->latents; i++) {
        int64_t at = (2 * i + 1) * c->frames / (2 * c->latents);
        out[row * c->latents + i] = (int32_t)(film ? row * c->frames + at : count * c->frames);
    }
}

/* What a loss is taken of. */
typedef struct inputs {
    T *x1, *x0, *t, *condition;
    T *features;          /* of a frozen image encoder; */
    T *pixels, *pictures; /* of one that learns */
    mgi_text_ids ids;
    mgi_text_rows text;
    float weight;
} inputs;

static void write_rows(mgi_run *run, struct mgi_stage_run *r, const mgi_audio_clips *c,
                       int64_t rows, inputs *b)
{
    const int64_t dims[] = {rows, c->latents, 1, 1, c->channels};
    const mgi_dataset *ds = c->dataset;
    const mgi_text_encoder *const text[MGI_ROLES] = {&r->models.text};
    b->x1 = mgi_new(run, MGK_F32, 5, dims);
    b->condition = mgi_new(run, MGK_F32, 5, dims);
    if (b->x1 && b->condition) {
        mgi_tensor_write(b->x1, 0, r->rows.latents, b->x1->count);
        mgi_tensor_write(b->condition, 0, r->rows.condition, b->x1->count);
    }
    if (r->rows.features)
        b->features = mgi_new(run, MGK_F32, MGI_DIMS(rows, c->latents, c->width));
    if (b->features)
        mgi_tensor_write(b->features, 0, r->rows.features, b->features->count);
    if (r->rows.pixels) {
        b->pixels = mgi_new(run, MGK_U8, MGI_DIMS(rows * c->frames, ds->height, ds->width, 3));
        b->pictures = mgi_new(run, MGK_I32, MGI_DIMS(rows, c->latents));
    }
    if (b->pixels && b->pictures) {
        mgi_tensor_write(b->pixels, 0, r->rows.pixels, b->pixels->count);
        mgi_tensor_write(b->pictures, 0, r->rows.pictures, b->pictures->count);
    }
    if (run->status == MGEN_OK)
        mgi_ok(run, mgi_text_rows_make(r->ctx, text, 0, r->rows.prompts, rows, &b->text));
    if (run->status == MGEN_OK)
        mgi_text_ids_make(run, text, &b->text, 1, r->rows.tokens, &b->ids);
}

/* Features (rows, latents, width) of the pictures: each is looked at once; who sees none gets zeros. */
static T *look(mgi_run *run, struct mgi_stage_run *r, const inputs *b)
{
    const mgi_clip_vision *v = &r->models.vision;
    T *seen = mgi_clip_vision_forward(run, v, mgi_clip_vision_frames(run, v, b->pixels));
    T *none = mgi_new(run, MGK_F32, MGI_DIMS(1, r->stage.audio.transformer.features));
    mgi_fill(run, none, 0.0f);
    T *const parts[] = {mgi_cast(run, seen, MGK_F32), none};
    return mgi_embedding(run, b->pictures, mgi_concat(run, parts, 2));
}

static T *batch_loss(mgi_run *run, struct mgi_stage_run *r, const inputs *b)
{
    const mgi_text_encoder *const encoders[MGI_ROLES] = {&r->models.text};
    T *xt, *v;
    mgi_vt_text text = {{NULL}};
    if (run->status != MGEN_OK)
        return NULL;
    mgi_text_ids_encode(run, encoders, &b->ids, &text);
    text.condition = b->condition;
    text.features = b->pixels ? look(run, r, b) : b->features;
    mgi_flow_path(run, b->x1, b->x0, b->t, MGI_FLOW_SIGMA_MIN, &xt, &v);
    if (run->status != MGEN_OK)
        return NULL;
    return mgi_loss(run, MGK_LOSS_MSE, b->weight,
                    mgi_vt_velocity(run, &r->models.transformer, xt, b->t, &text), v);
}

/* -- validation --------------------------------------------------------------------------------- */

static T *held_loss(mgi_run *run, struct mgi_stage_run *r, const mgi_audio_clips *c, int64_t first,
                    int64_t rows, double quantile)
{
    inputs b = {.t = mgi_new(run, MGK_F32, 1, &rows), .weight = 1.0f};
    const kept all = keep_all(c);
    for (int64_t i = 0; i < rows && run->status == MGEN_OK; i++) {
        mgi_ok(run, take_clip(r, c, c->clips + first + i, i, 0, &all));
        if (r->rows.pictures)
            point_at_pictures(c, i, rows, true, r->rows.pictures);
    }
    if (run->status == MGEN_OK)
        write_rows(run, r, c, rows, &b);
    if (run->status == MGEN_OK)
        b.x0 = mgi_random(run, MGK_RANDOM_NORMAL, MGI_VALIDATION_SEED, MGI_STREAM_NOISE,
                          (uint64_t)(first * c->latents * c->channels), 1.0f, 0.0f, 5, b.x1->dims);
    mgi_fill(run, b.t, (float)(1.0 / (1.0 + exp(-quantile))));
    T *loss = batch_loss(run, r, &b);
    mgi_text_rows_free(r->ctx, &b.text);
    return loss;
}

/* Of all that is held out, at all times, by what is averaged: film and caption known, nothing heard. */
static mgen_status validate(struct mgi_stage_run *r, mgen_report *report)
{
    mgi_run run;
    double sum = 0.0;
    mgi_run_init(&run, r->ctx, false);
    for (int i = 0; i < r->trained_count; i++)
        mgi_module_swap_ema(r->trained[i]);
    mgi_adapter_apply(&r->adapter, &run); /* and by the weights again as the next step begins */
    mgi_dp_begin(&r->parallel, &run, false);
    for (int64_t i = 0; i < r->lengths * TIMES; i++) {
        const mgi_audio_clips *c = &r->length[i / TIMES];
        const int64_t k = i % TIMES;
        const double quantile = k < TIMES / 2 ? quantiles[k] : -quantiles[TIMES - 1 - k];
        for (int64_t first = 0; first < c->held; first += VALIDATION_BATCH) {
            int64_t rows = c->held - first < VALIDATION_BATCH ? c->held - first : VALIDATION_BATCH;
            int64_t mark = mgi_scope_push(&run);
            T *loss = held_loss(&run, r, c, first, rows, quantile);
            sum +=
                (double)mgi_stage_value(loss) * c->share * (double)rows / (double)(c->held * TIMES);
            mgi_scope_pop(&run, mark, NULL);
        }
    }
    mgi_dp_end(&r->parallel, &run, NULL);
    for (int i = 0; i < r->trained_count; i++)
        mgi_module_swap_ema(r->trained[i]);
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    mgi_run_finish(&run);
    if (status == MGEN_OK) {
        mgi_report_add(report, "val_loss", sum);
        mgi_optimizer_validated(&r->optimizer, sum);
    }
    return status;
}

/* -- a step ------------------------------------------------------------------------------------- */

static const mgi_audio_clips *draw_length(const struct mgi_stage_run *r, int64_t index)
{
    float lot = mgi_random_unit(r->seed, MGI_STREAM_BUCKET, (uint64_t)index);
    int64_t i = 0;
    while (i + 1 < r->lengths && lot >= (float)r->length[i].share)
        lot -= (float)r->length[i++].share;
    return &r->length[i];
}

/* Elements first .. first + rows - 1. */
static mgen_status take_batch(struct mgi_stage_run *r, const mgi_audio_clips *c, uint64_t first,
                              int64_t rows)
{
    for (int64_t i = 0; i < rows; i++) {
        const uint64_t element = first + (uint64_t)i;
        const kept k = keep_some(r, c, element);
        uint32_t pick[4];
        mgi_philox(r->seed, MGI_STREAM_SAMPLE, (UINT64_C(1) << 41) + element, pick);
        int64_t clip = (int64_t)(((uint64_t)pick[0] * (uint64_t)c->clips) >> 32);
        MGI_TRY(take_clip(r, c, clip, i, pick[1], &k));
        if (r->rows.pictures)
            point_at_pictures(c, i, rows, k.film, r->rows.pictures);
    }
    return MGEN_OK;
}

/* The gradients of elements first .. first + rows - 1 of a step that begins with element `start`, whose loss counts `weight`
 * and is added to r->loss. A step's noise lies side by side, whoever computes which of its elements. */
static void pass(mgi_run *run, struct mgi_stage_run *r, const mgi_audio_clips *c, uint64_t start,
                 uint64_t first, int64_t rows, float weight)
{
    inputs b = {.weight = weight};
    const int64_t most = r->stage.audio.transformer.frames_max;
    const uint64_t noise =
        (uint64_t)c->channels * (start * (uint64_t)most + (first - start) * (uint64_t)c->latents);
    if (run->status != MGEN_OK || !mgi_ok(run, take_batch(r, c, first, rows)))
        return;
    write_rows(run, r, c, rows, &b);
    if (run->status == MGEN_OK)
        b.x0 = mgi_random(run, MGK_RANDOM_NORMAL, r->seed, MGI_STREAM_NOISE, noise, 1.0f, 0.0f, 5,
                          b.x1->dims);
    b.t = mgi_stage_times(run, &r->stage, r->seed, first, rows);
    T *loss = batch_loss(run, r, &b);
    mgi_backward(run, loss);
    mgi_stage_sum(run, &loss, 1, r->loss, 0);
    mgi_text_rows_free(r->ctx, &b.text);
}

/* The gradients of one sample's ranks: encoders are whole on each of them, and of what they make a rank has the gradient of its
 * own tokens and heads. */
static void sum_model(mgi_run *run, struct mgi_stage_run *r)
{
    for (int i = 0; r->mesh && i < r->trained_count; i++) {
        mgi_module *m = r->trained[i];
        if (m->shard_size > 1)
            continue;
        if (m == &r->models.transformer.module) {
            mgi_module_sum_partial(run, m, r->mesh);
            continue;
        }
        for (int64_t u = 0; u < m->units; u++)
            if (m->unit_grad[u])
                mgi_sum_ranks(run, r->mesh->group[MGI_AXIS_MODEL], m->unit_grad[u]);
    }
}

static mgen_status update(struct mgi_stage_run *r, int64_t index)
{
    const mgi_stage *s = &r->stage;
    mgi_run run;
    double flops = r->ctx->device->counts.flops;
    int64_t first = 0, rows = 0;
    mgi_run_init(&run, r->ctx, true);
    run.left = mgi_adapts(s) ? &r->adapter.hook : NULL;
    mgi_optimizer_begin(&r->optimizer, &run, index);
    for (int i = 0; i < r->trained_count; i++)
        mgi_module_zero_grad(r->trained[i], &run);
    mgi_adapter_begin(&r->adapter, &run);
    mgi_fill(&run, r->loss, 0.0f);
    const mgi_audio_clips *c = draw_length(r, index);
    const uint64_t start = (uint64_t)(index * s->accumulate * s->batch);
    mgi_ok(&run, mgi_dp_share(&r->parallel, r->ctx, s->batch, &first, &rows));
    for (int64_t i = 0; i < s->accumulate; i++) {
        int64_t mark = mgi_scope_push(&run);
        mgi_dp_begin(&r->parallel, &run, i == s->accumulate - 1);
        pass(&run, r, c, start, start + (uint64_t)(i * s->batch + first), rows,
             mgi_dp_weight(&r->parallel) / (float)s->accumulate);
        mgi_scope_pop(&run, mark, NULL);
    }
    mgi_dp_end(&r->parallel, &run, r->loss);
    sum_model(&run, r);
    mgi_optimizer_apply(&r->optimizer, &run);
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    if (status == MGEN_OK) {
        r->updated = index + 1;
        r->flops = r->ctx->device->counts.flops - flops;
    }
    mgi_run_finish(&run);
    return status;
}

static mgen_status step(struct mgi_stage_run *r, int64_t index, mgen_report *report)
{
    if (r->updated <= index)
        MGI_TRY(update(r, index));
    float loss = mgi_stage_value(r->loss);
    mgi_stage_report(&r->optimizer, index, loss, report);
    mgi_report_add(report, "flops", r->flops);
    MGI_TRY(mgi_stage_check_loss(r->ctx, index, loss));
    return mgi_stage_validates(&r->stage, index) ? validate(r, report) : MGEN_OK;
}

const struct mgi_stage_kind mgi_stage_audio = {create, step, mgi_audio_stage_save,
                                               mgi_audio_stage_state, destroy};
