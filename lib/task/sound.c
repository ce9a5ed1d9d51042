/* SPDX-License-Identifier: MIT */
#include "task/sound.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "core/philox.h"
#include "flow/windows.h"
#include "kernels/loss/loss.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/random/random.h"
#include "task/film_features.h"
#include "task/flow_ranks.h"
#include "tensor/weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_SECONDS = 1 << 16, SCORES = 4 };

typedef struct sampler {
    mgi_run *run;
    const mgi_audio *a;
    const mgi_sound_request *r;
    mgi_flow_ranks ranks;
    int64_t before, latents; /* latents that are heard before, and with those that are made */
    int64_t channels;
    int rows; /* 2 with guidance: of all that is known, and of nothing */
    mgi_windows windows;
    int64_t padded; /* latents of a window and, behind them, of nothing, which ranks can divide */
    float *times;
    float scale;
    T *all;       /* (1,T,1,1,C): what is made; */
    T *x, *total; /* what is solved at once: that, and where windows are blended, its velocity; */
    int64_t first,
        shared;      /* or a window from here on, of which so many are of the one before, too: */
    T *path, *taken; /* (steps,L,C) after each step: of that one; of the one under way; else NULL */
    T *features, *condition; /* of all T, for the first row; NULL: the model sees none */
    T *in, *t, *seen_features, *seen_condition; /* of a window; */
    T *counts;                                  /* which of its latents are true; NULL: all */
    T *guidance;
    mgi_vt_text text;
    mgi_vt_seen seen;
    int64_t tokens[MGI_ROLES * 2];
    int done;
} sampler;

static int64_t heard_before(const mgi_audio *a, const mgi_sound_request *r)
{
    const int64_t there = r->before ? r->before_count / mgi_audio_codec_hop(&a->codec.config) : 0;
    return there < a->config.overlap ? there : a->config.overlap;
}

static mgi_windows windows_of(const mgi_audio *a, const mgi_sound_request *r)
{
    const int64_t hop = mgi_audio_codec_hop(&a->codec.config);
    return mgi_windows_make(heard_before(a, r) + (r->samples + hop - 1) / hop, a->config.window,
                            a->config.overlap);
}

static bool one_after_the_other(const mgi_audio *a, const mgi_sound_request *r)
{
    return r->extension == MGI_SOUND_ONE_BY_ONE && windows_of(a, r).count > 1;
}

/* -- what is known ------------------------------------------------------------------------------ */

static mgen_status check(mgen_context *ctx, const mgi_audio *a, const mgi_sound_request *r)
{
    const int64_t rate = a->codec.config.rate;
    if (r->samples < 1 || r->samples / rate >= MOST_SECONDS)
        return mgi_fail(ctx, MGEN_E_INVALID, "a sound has 1 to %lld samples, not %lld",
                        (long long)(MOST_SECONDS * rate), (long long)r->samples);
    if (r->steps < 1 || r->candidates < 0 || r->candidates > MGI_SOUND_CANDIDATES)
        return mgi_fail(ctx, MGEN_E_INVALID, "%d steps, %d candidates: 1 step or more, at most %d",
                        r->steps, r->candidates, MGI_SOUND_CANDIDATES);
    if (r->extension < MGI_SOUND_BLENDED || r->extension > MGI_SOUND_ONE_BY_ONE ||
        (one_after_the_other(a, r) && r->solver == MGI_SOLVER_DOPRI5))
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "extension %d with solver %d: windows one by one need steps of one length for "
            "all, Euler's or the midpoint's",
            r->extension, r->solver);
    if (r->source && !a->config.vision[0])
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "this audio model sees no films: its file names no \"vision\"");
    if (r->source && (r->film[0] < 1 || !(r->fps > 0.0)))
        return mgi_fail(ctx, MGEN_E_INVALID, "a film of %lld frames at %g a second",
                        (long long)r->film[0], r->fps);
    const int64_t length = windows_of(a, r).length, padded = mgi_vt_padded(&a->transformer, length);
    return mgi_vt_check_tokens(ctx, &a->transformer,
                               padded <= a->config.transformer.frames_max ? padded : length);
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return mgi_hash64(text ? text : "", text ? strlen(text) + 1 : 0, hash);
}

/* A mesh makes one sound. */
static mgen_status same_request(sampler *s)
{
    const mgi_sound_request *r = s->r;
    uint64_t film = r->film_hash, hash;
    char text[200];
    MGI_TRY(mgi_flow_same(s->run, &s->ranks, MGK_U64, &film, 1));
    hash = hash_text(hash_text(0, r->caption), r->negative);
    hash = mgi_hash64(r->film_hash ? &r->film_hash : &film, sizeof film, hash);
    hash = mgi_hash64(&r->seed, sizeof r->seed, hash);
    hash = mgi_hash64(&r->before_hash, sizeof r->before_hash, hash);
    snprintf(
        text, sizeof text,
        "%lld samples, %d steps, noise %g, guidance %g, schedule %d, solver %d, extension %d, %d "
        "candidates, film %lldx%lldx%lld at %g, texts, seed and what is given %llx",
        (long long)r->samples, r->steps, (double)r->noise_scale, (double)r->guidance, r->schedule,
        r->solver, r->extension, r->candidates, (long long)r->film[0], (long long)r->film[1],
        (long long)r->film[2], r->source ? r->fps : 0.0, (unsigned long long)hash);
    return mgi_flow_agree(s->run, &s->ranks, text);
}

void mgi_sound_nearest(const float *of_frames, int64_t frames, double fps, int64_t width,
                       int64_t latents, double latents_rate, float *out)
{
    for (int64_t i = 0; i < latents; i++) {
        int64_t at = (int64_t)floor(((double)i + 0.5) / latents_rate * fps);
        at = at < frames ? at : frames - 1;
        memcpy(out + i * width, of_frames + at * width, (size_t)width * sizeof *out);
    }
}

/* Vectors of all frames, on all ranks: the first one looks. */
static mgen_status look(sampler *s, float *of_frames)
{
    mgi_run *run = s->run;
    const mgi_sound_request *r = s->r;
    mgen_status status = MGEN_OK;
    if (mgi_flow_first(&s->ranks))
        status = mgi_film_features(run->ctx, &s->a->vision, r->film, r->source, r->user, of_frames);
    MGI_TRY(mgi_flow_together(run, &s->ranks, status));
    return mgi_flow_same(run, &s->ranks, MGK_F32, of_frames,
                         r->film[0] * s->a->config.transformer.features);
}

/* Zeros but where the film is. */
static void see_film(sampler *s)
{
    mgi_run *run = s->run;
    const mgi_sound_request *r = s->r;
    const mgi_audio_codec_config *c = &s->a->codec.config;
    const int64_t width = s->a->config.transformer.features, own = s->latents - s->before;
    float *of_frames = NULL, *values = NULL;
    if (!width)
        return;
    s->features = mgi_new(run, MGK_F32, MGI_DIMS(s->latents, width));
    mgi_fill(run, s->features, 0.0f);
    if (!r->source || run->status != MGEN_OK)
        return;
    if (mgi_ok(run,
               mgi_alloc(run->ctx, (size_t)(r->film[0] * width) * sizeof *of_frames, &of_frames)) &&
        mgi_ok(run, look(s, of_frames)) &&
        mgi_ok(run, mgi_alloc(run->ctx, (size_t)(own * width) * sizeof *values, &values)) &&
        !run->dev->meta) {
        mgi_sound_nearest(of_frames, r->film[0], r->fps, width, own,
                          (double)c->rate / (double)mgi_audio_codec_hop(c), values);
        mgi_tensor_write(s->features, s->before * width, values, own * width);
    }
    mgi_free(run->ctx, values);
    mgi_free(run->ctx, of_frames);
}

/* The samples that are heard before, from the first one that is listened to. */
typedef struct heard {
    const float *samples;
} heard;

static mgen_status give_heard(void *user, int64_t first, int64_t count, float *out)
{
    const heard *h = user;
    memcpy(out, h->samples + first, (size_t)count * sizeof *out);
    return MGEN_OK;
}

static void hear_before(sampler *s)
{
    mgi_run *run = s->run;
    const mgi_sound_request *r = s->r;
    const int64_t count = s->before * mgi_audio_codec_hop(&s->a->codec.config);
    const int64_t values = s->before * s->channels;
    float *latents = NULL;
    s->condition = mgi_new(run, MGK_F32, MGI_DIMS(s->latents, s->channels));
    mgi_fill(run, s->condition, 0.0f);
    if (!s->before || run->status != MGEN_OK)
        return;
    heard h = {r->before + r->before_count - count};
    if (mgi_ok(run, mgi_alloc(run->ctx, (size_t)values * sizeof *latents, &latents)) &&
        mgi_ok(run,
               mgi_audio_encode_sound(run->ctx, &s->a->codec, count, give_heard, &h, latents)) &&
        !run->dev->meta)
        mgi_tensor_write(s->condition, 0, latents, values);
    mgi_free(run->ctx, latents);
}

static void read_captions(sampler *s)
{
    const mgi_text_encoder *const text[MGI_ROLES] = {&s->a->text};
    const char *captions[] = {s->r->caption, s->r->negative ? s->r->negative : ""};
    mgi_text_streams(s->run, text, 0, captions, s->rows, s->tokens, &s->text);
}

static void count_latents(sampler *s)
{
    static const uint8_t is[] = {0, 1};
    if (s->padded == s->windows.length)
        return;
    mgi_fill(s->run, s->in, 0.0f);
    s->counts = mgi_new(s->run, MGK_U8, MGI_DIMS(s->rows, s->padded));
    for (int64_t i = 0; s->counts && i < s->counts->count; i++)
        mgi_tensor_write(s->counts, i, &is[i % s->padded < s->windows.length], 1);
}

static void make_buffers(sampler *s)
{
    mgi_run *run = s->run;
    const int64_t length = s->windows.length, width = s->a->config.transformer.features;
    s->in = mgi_new(run, MGK_F32, MGI_DIMS(s->rows, s->padded, 1, 1, s->channels));
    s->seen_condition = mgi_new(run, MGK_F32, MGI_DIMS(s->rows, s->padded, 1, 1, s->channels));
    mgi_fill(run, s->seen_condition, 0.0f);
    count_latents(s);
    if (s->features) {
        s->seen_features = mgi_new(run, MGK_F32, MGI_DIMS(s->rows, s->padded, width));
        mgi_fill(run, s->seen_features, 0.0f);
    }
    s->t = mgi_new(run, MGK_F32, MGI_DIMS(s->rows));
    s->guidance = mgi_new(run, MGK_F32, MGI_DIMS(1));
    s->all = mgi_new(run, MGK_F32, MGI_DIMS(1, s->latents, 1, 1, s->channels));
    s->x = s->all;
    if (one_after_the_other(s->a, s->r)) {
        s->x = mgi_new(run, MGK_F32, MGI_DIMS(1, length, 1, 1, s->channels));
        s->path = mgi_new(run, MGK_F32, MGI_DIMS(s->r->steps, length, s->channels));
        s->taken = mgi_new(run, MGK_F32, MGI_DIMS(s->r->steps, length, s->channels));
    } else if (s->windows.count > 1) {
        s->total = mgi_new(run, MGK_F32, MGI_DIMS(1, s->latents, 1, 1, s->channels));
    }
    const bool host = !(run->dev->kernel[MGK_OP_matmul]->needs & MGK_NEEDS_CUDA);
    if (run->status == MGEN_OK && host && !s->a->transformer.mesh)
        mgi_vt_see(run, &s->a->transformer, &s->text, s->rows, &s->seen);
}

/* -- the flow ----------------------------------------------------------------------------------- */

/* A point of the flow: latents from `first` on of all that there are. */
typedef struct point {
    T *x;
    int64_t first;
} point;

typedef struct evaluation {
    sampler *s;
    point at;
} evaluation;

/* Of a window, or of the one that is made. */
static int64_t first_of(const sampler *s, int64_t window)
{
    return s->total ? mgi_window_first(&s->windows, window) : s->first;
}

/* What the network answers for some rows of a window that is in the point. */
static T *evaluate(void *user, int64_t window, int64_t row, int64_t rows)
{
    const evaluation *e = user;
    sampler *s = e->s;
    mgi_run *run = s->run;
    const int64_t length = s->windows.length, c = s->channels, first = first_of(s, window);
    const int64_t width = s->a->config.transformer.features;
    mgi_vt_text text = s->text;
    for (int64_t i = 0; i < rows; i++)
        mgi_copy(run, s->in, i * s->padded * c, e->at.x, (first - e->at.first) * c, length * c);
    mgi_copy(run, s->seen_condition, 0, s->condition, first * c, length * c);
    if (s->features)
        mgi_copy(run, s->seen_features, 0, s->features, first * width, length * width);
    for (int i = 0; i < MGI_ROLES; i++) {
        text.x[i] = mgi_flow_rows(run, text.x[i], row, rows);
        text.tokens[i] = text.tokens[i] ? text.tokens[i] + row : NULL;
    }
    text.condition = mgi_flow_rows(run, s->seen_condition, row, rows);
    text.features = mgi_flow_rows(run, s->seen_features, row, rows);
    text.seen = s->seen.p ? &s->seen : NULL;
    text.counts = mgi_flow_rows(run, s->counts, row, rows);
    T *in = mgi_flow_rows(run, s->in, 0, rows), *t = mgi_flow_rows(run, s->t, 0, rows);
    T *u = run->status == MGEN_OK ? mgi_vt_velocity(run, &s->a->transformer, in, t, &text) : NULL;
    return u && s->counts ? mgi_slice(run, u, 1, 0, length) : u;
}

/* The velocities of all rows of some windows. */
static T *velocities(sampler *s, point at, int64_t window, int64_t windows)
{
    evaluation e = {s, at};
    const mgi_flow_batch batch = {.rows = s->rows,
                                  .dims = {s->windows.length, 1, 1, s->channels},
                                  .evaluate = evaluate,
                                  .user = &e};
    return mgi_flow_velocities(s->run, &s->ranks, &batch, window, windows);
}

/* Of the window whose rows are `first` and following of u. */
static T *guided(sampler *s, T *u, int64_t first)
{
    if (!u || (s->rows == 1 && u->dims[0] == 1))
        return u;
    T *known = mgi_slice(s->run, u, 0, first, 1);
    return s->rows == 1
               ? known
               : mgi_cfg_combine(s->run, known, mgi_slice(s->run, u, 0, first + 1, 1), s->guidance);
}

/* y = share x + rest y, of one latent. */
static void mix(sampler *s, float *x, float share, float *y, float rest)
{
    mgk_pointwise_args a = {.count = s->channels, .alpha = share, .beta = rest};
    a.x = (mgk_buf){x, MGK_F32};
    a.y = (mgk_buf){y, MGK_F32};
    mgi_run_launch(s->run, MGK_OP_axpby, &a);
}

/* total += the window's share of its velocity u, latent by latent. */
static void blend(sampler *s, int64_t window, const T *u)
{
    const int64_t first = mgi_window_first(&s->windows, window), c = s->channels;
    for (int64_t i = 0; u && i < s->windows.length; i++)
        mix(s, mgi_f32(u) + i * c, mgi_window_share(&s->windows, window, first + i),
            mgi_f32(s->total) + (first + i) * c, 1.0f);
}

/* Sounds in several windows: guidance that grows with the time, the report's "dynamic guidance", of the same mean. */
static float guidance_at(const sampler *s, float time)
{
    return s->windows.count > 1 ? 2.0f * s->scale * time : s->scale;
}

static T *blended(sampler *s, point at)
{
    mgi_run *run = s->run;
    const int64_t count = s->windows.count, once = mgi_flow_windows(&s->ranks, count, s->rows);
    mgi_fill(run, s->total, 0.0f);
    for (int64_t w = 0; w < count && run->status == MGEN_OK; w += once) {
        const int64_t mark = mgi_scope_push(run), n = count - w < once ? count - w : once;
        T *u = velocities(s, at, w, n);
        for (int64_t k = 0; k < n; k++)
            blend(s, w + k, guided(s, u, k * s->rows));
        mgi_scope_pop(run, mark, NULL);
    }
    return run->status == MGEN_OK ? s->total : NULL;
}

static T *velocity(void *user, T *x, float time)
{
    sampler *s = user;
    const point at = {x, s->first};
    if (s->run->status != MGEN_OK)
        return NULL;
    mgi_fill(s->run, s->t, time);
    mgi_fill(s->run, s->guidance, guidance_at(s, time));
    T *u = s->total ? blended(s, at) : guided(s, velocities(s, at, 0, 1), 0);
    mgi_flow_evaluated(s->run, &s->ranks);
    return u;
}

/* What the window shares with the one before is drawn to where that was after this step, the more the nearer to its
 * beginning; then it is noted for the next one. */
static void hold_to_path(sampler *s, int step)
{
    const int64_t c = s->channels, length = s->windows.length, size = length * c;
    float *before = mgi_f32(s->path) + (step * length + length - s->shared) * c;
    for (int64_t i = 0; i < s->shared; i++) {
        const float own = (float)i / (float)s->shared;
        mix(s, before + i * c, 1.0f - own, mgi_f32(s->x) + i * c, own);
    }
    mgi_copy(s->run, s->taken, step * size, s->x, 0, size);
}

/* What this rank says of a step. */
static mgen_status ask(sampler *s, int done)
{
    const mgi_sound_request *r = s->r;
    const int total = mgi_sound_steps(s->a, r);
    return r->progress && !s->run->dev->meta && r->progress(r->user, done, total)
               ? mgi_fail(s->run->ctx, MGEN_E_CANCELLED, "cancelled after step %d of %d", done,
                          total)
               : MGEN_OK;
}

static mgen_status stepped(void *user, const mgi_solver_step *k)
{
    sampler *s = user;
    if (s->path && s->run->status == MGEN_OK)
        hold_to_path(s, k->done - 1);
    MGI_TRY(s->run->status);
    return mgi_flow_together(s->run, &s->ranks, ask(s, s->done + k->done));
}

/* DOPRI5: ranks take the same steps. */
static mgen_status same_norms(void *user, float *norms, int count)
{
    const sampler *s = user;
    return mgi_flow_same(s->run, &s->ranks, MGK_F32, norms, count);
}

/* -- candidates --------------------------------------------------------------------------------- */

/* Of a window, at one time of the flow: by how much the model's loss is less where it knows caption, film and what was before
 * than where it knows nothing. */
static double gain(sampler *s, point at, T *v, int64_t window)
{
    mgi_run *run = s->run;
    T *want = mgi_slice(run, v, 1, first_of(s, window) - at.first, s->windows.length);
    T *u = velocities(s, at, window, 1);
    double sum = 0.0;
    for (int k = 0; k < 2 && u; k++) {
        T *loss = mgi_loss(run, MGK_LOSS_MSE, 1.0f, mgi_slice(run, u, 0, k, 1), want);
        float value = 0.0f;
        if (loss)
            mgi_tensor_read(loss, 0, &value, 1);
        mgi_ok(run, mgi_device_wait(run->dev));
        sum += k ? (double)value : -(double)value;
    }
    return sum;
}

/* What fits to all that is known is told by the model itself: the gain at the finished latents, at times that lie evenly. */
static double score(sampler *s)
{
    mgi_run *run = s->run;
    double sum = 0.0;
    for (int i = 0; i < SCORES && run->status == MGEN_OK; i++) {
        int64_t mark = mgi_scope_push(run);
        T *x = NULL, *v = NULL, *t = mgi_new(run, MGK_F32, MGI_DIMS(1));
        T *noise = mgi_random(run, MGK_RANDOM_NORMAL, s->r->seed, MGI_STREAM_TIME, 0, 1.0f, 0.0f,
                              s->x->rank, s->x->dims);
        const float time = ((float)i + 0.5f) / SCORES;
        mgi_fill(run, t, time);
        mgi_fill(run, s->t, time);
        if (run->status == MGEN_OK)
            mgi_flow_path(run, s->x, noise, t, MGI_FLOW_SIGMA_MIN, &x, &v);
        const point at = {x, s->first};
        for (int64_t w = 0; w < (s->total ? s->windows.count : 1) && run->status == MGEN_OK; w++)
            sum += gain(s, at, v, w);
        mgi_scope_pop(run, mark, NULL);
    }
    mgi_flow_evaluated(run, &s->ranks);
    if (run->status == MGEN_OK)
        mgi_ok(run, mgi_flow_same(run, &s->ranks, MGK_U64, &sum, 1));
    return sum;
}

/* Latents s->first and following into s->x. The noise of a latent depends on its place; that of the first candidate is the
 * seed's own. */
static mgen_status solve(sampler *s, int candidate)
{
    mgi_run *run = s->run;
    const mgi_solver solver = {.kind = s->r->solver,
                               .steps = s->r->steps,
                               .times = s->times,
                               .velocity = velocity,
                               .stepped = stepped,
                               .norms = same_norms,
                               .user = s};
    int64_t mark = mgi_scope_push(run);
    T *noise = mgi_random(run, MGK_RANDOM_NORMAL, s->r->seed + ((uint64_t)candidate << 48),
                          MGI_STREAM_NOISE, (uint64_t)(s->first * s->channels),
                          mgi_vt_noise_scale(&s->a->config.transformer, s->r->noise_scale), 0.0f,
                          s->x->rank, s->x->dims);
    mgi_copy(run, s->x, 0, noise, 0, s->x->count);
    mgi_scope_pop(run, mark, NULL);
    MGI_TRY(run->status);
    mgen_status status = mgi_solve(run, s->x, &solver);
    s->done += s->r->steps;
    return status;
}

static int candidates_of(const mgi_sound_request *r)
{
    return r->candidates > 1 ? r->candidates : 1;
}

/* The best of the candidates into s->x, and the path that it took into s->path. Without guidance all count alike. */
static mgen_status choose(sampler *s)
{
    mgi_run *run = s->run;
    const int count = candidates_of(s->r);
    int64_t mark = mgi_scope_push(run);
    T *best = count > 1 ? mgi_new(run, MGK_F32, s->x->rank, s->x->dims) : NULL;
    T *path = s->path ? mgi_new(run, MGK_F32, s->path->rank, s->path->dims) : NULL;
    double most = 0.0;
    for (int i = 0; i < count; i++) {
        MGI_TRY(solve(s, i));
        const double points = count > 1 && s->rows == 2 ? score(s) : 0.0;
        MGI_TRY(run->status);
        if (i > 0 && !(points > most))
            continue;
        most = points;
        if (best)
            mgi_copy(run, best, 0, s->x, 0, s->x->count);
        if (path)
            mgi_copy(run, path, 0, s->taken, 0, path->count);
    }
    if (best)
        mgi_copy(run, s->x, 0, best, 0, s->x->count);
    if (path)
        mgi_copy(run, s->path, 0, path, 0, path->count);
    mgi_scope_pop(run, mark, NULL);
    return run->status;
}

/* Window by window into s->all: each hears, and holds to, what it shares with the one before. */
static mgen_status one_by_one(sampler *s)
{
    mgi_run *run = s->run;
    const int64_t c = s->channels, length = s->windows.length;
    for (int64_t w = 0; w < s->windows.count; w++) {
        const int64_t first = mgi_window_first(&s->windows, w);
        s->shared = w ? s->first + length - first : 0;
        s->first = first;
        mgi_copy(run, s->condition, first * c, s->all, first * c, s->shared * c);
        MGI_TRY(choose(s));
        mgi_copy(run, s->all, first * c, s->x, 0, length * c);
    }
    return run->status;
}

/* -- the samples -------------------------------------------------------------------------------- */

/* Of what is decoded, the part that was asked for. */
typedef struct part {
    sampler *s;
    int64_t from, to;
} part;

/* The others wait for each piece, and may ask to stop. */
static mgen_status take(void *user, int64_t first, int64_t count, const float *samples)
{
    const part *p = user;
    const mgi_sound_request *r = p->s->r;
    int64_t from = first > p->from ? first : p->from;
    int64_t to = first + count < p->to ? first + count : p->to;
    mgen_status status = MGEN_OK;
    if (from < to && r->sink)
        status = r->sink(r->user, from - p->from, to - from, samples + (from - first));
    return mgi_flow_together(p->s->run, &p->s->ranks, status);
}

static mgen_status decode(sampler *s)
{
    mgi_run *run = s->run;
    mgen_context *ctx = run->ctx;
    const int64_t hop = mgi_audio_codec_hop(&s->a->codec.config), count = s->all->count;
    part p = {s, s->before * hop, s->before * hop + s->r->samples};
    bool finite = true;
    float *latents;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof *latents, &latents));
    mgi_tensor_read(s->all, 0, latents, count);
    mgen_status status = mgi_device_wait(run->dev);
    for (int64_t i = 0; i < count && finite && !run->dev->meta; i++)
        finite = isfinite(latents[i]);
    if (status == MGEN_OK && !finite)
        status =
            mgi_fail(ctx, MGEN_E_NUMERIC,
                     "the latents became infinite or not-a-number; the weights may be damaged");
    if (status == MGEN_OK)
        status = mgi_audio_decode_sound(ctx, &s->a->codec, latents, s->latents, take, &p);
    mgi_free(ctx, latents);
    return status;
}

/* While the first rank decodes. */
static mgen_status wait_for_pieces(sampler *s)
{
    const mgi_sound_request *r = s->r;
    const int64_t pieces = s->run->dev->meta ? 0 : mgi_audio_pieces(&s->a->codec, s->latents);
    for (int64_t i = 0; i < pieces; i++) {
        mgen_status status = r->stop && r->stop(r->user)
                                 ? mgi_fail(s->run->ctx, MGEN_E_CANCELLED,
                                            "cancelled at piece %lld of %lld of the samples",
                                            (long long)i + 1, (long long)pieces)
                                 : MGEN_OK;
        MGI_TRY(mgi_flow_together(s->run, &s->ranks, status));
    }
    return MGEN_OK;
}

/* -- all of it ---------------------------------------------------------------------------------- */

int mgi_sound_steps(const mgi_audio *a, const mgi_sound_request *r)
{
    const int64_t times = one_after_the_other(a, r) ? windows_of(a, r).count : 1;
    return (int)(times * r->steps * candidates_of(r));
}

static mgen_status sample(sampler *s)
{
    mgi_run *run = s->run;
    see_film(s);
    hear_before(s);
    read_captions(s);
    make_buffers(s);
    mgen_status status = mgi_flow_together(run, &s->ranks, run->status);
    if (status == MGEN_OK) {
        mgi_weights_begin(run);
        status = s->path ? one_by_one(s) : choose(s);
        mgi_weights_end(run);
    }
    mgi_vt_seen_drop(run, &s->seen);
    if (status == MGEN_OK)
        status = run->status;
    MGI_TRY(mgi_flow_end(run, &s->ranks, status));
    status = mgi_flow_first(&s->ranks) ? decode(s) : wait_for_pieces(s);
    return mgi_flow_together(run, &s->ranks, status);
}

static mgen_status prepare(sampler *s)
{
    const mgi_audio *a = s->a;
    const mgi_sound_request *r = s->r;
    MGI_TRY(check(s->run->ctx, a, r));
    s->before = heard_before(a, r);
    s->windows = windows_of(a, r);
    s->padded = mgi_vt_padded(&a->transformer, s->windows.length);
    s->latents = s->windows.frames;
    s->scale = mgi_vt_guidance(&a->config.transformer, r->guidance);
    s->rows = s->scale != 1.0f ? 2 : 1;
    MGI_TRY(mgi_alloc_zero(s->run->ctx, (size_t)r->steps + 1, sizeof *s->times, &s->times));
    mgi_schedule(r->schedule, r->steps, s->times);
    return MGEN_OK;
}

mgen_status mgi_sound_make(mgen_context *ctx, const mgi_audio *a, const mgi_sound_request *r)
{
    mgi_run run;
    sampler s = {.run = &run,
                 .a = a,
                 .r = r,
                 .ranks = mgi_flow_ranks_of(a->transformer.mesh),
                 .channels = a->config.transformer.channels};
    mgi_run_init(&run, ctx, false);
    mgen_status status = mgi_flow_together(&run, &s.ranks, prepare(&s));
    if (status == MGEN_OK)
        status = same_request(&s);
    if (status == MGEN_OK)
        status = sample(&s);
    mgi_run_finish(&run);
    mgi_free(ctx, s.times);
    return mgi_flow_said(ctx, &s.ranks, status);
}
