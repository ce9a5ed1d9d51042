/* SPDX-License-Identifier: MIT
 * Jobs that make sound: what runs task/sound.c. */
#include "api/job.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "flow/schedule.h"
#include "kernels/mgk.h"
#include "task/ranks.h"
#include "task/sound.h"
#include "text/audio_caption.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { STEPS_MAX = 1000, SECONDS_MAX = 65536 };
enum {
    ROOM = 2 * 4096 + 512 /* bytes of a caption: two descriptions and what stands around them */
};
/* What is said of the sound where the request does not: the report's numbers. */
static const float quality_plain = 7.0f, quality_music = 8.0f, music_some = 0.9f,
                   music_none = 0.01f;
static const float guidance_max = 100.0f;

typedef struct sound_job {
    mgen_job job; /* first */
    mgen_sound_params params;
    mgi_sound_request request;
    const mgen_clip *clip; /* the caller's; NULL: none, or on a mesh that of rank 0, whose */
    mgen_clip_info info;   /* is this, of no frames where there is none */
    mgi_film_bytes film;
    char *caption, *negative;
    mgi_track before;     /* of the model's rate, */
    uint64_t before_hash; /* and what it was made of */
    bool alone;           /* an estimate */
} sound_job;

/* -- callbacks of the work -------------------------------------------------------------------------- */

static bool on_progress(void *user, int done, int total)
{
    sound_job *s = user;
    const mgen_sound_params *p = &s->params;
    atomic_store(&s->job.total, (uint32_t)total);
    atomic_store(&s->job.done, (uint32_t)done);
    bool stop = p->on_progress && p->on_progress(p->user, (uint32_t)done, (uint32_t)total) != 0;
    return stop || atomic_load(&s->job.cancel);
}

static mgen_status on_film(void *user, int64_t first, int64_t count, float *rgb)
{
    sound_job *s = user;
    if (atomic_load(&s->job.cancel))
        return mgi_fail(s->job.ctx, MGEN_E_CANCELLED, "cancelled at frame %lld of the clip",
                        (long long)first);
    return mgi_film_give(&s->film, first, count, rgb);
}

static bool on_stop(void *user)
{
    return atomic_load(&((sound_job *)user)->job.cancel);
}

static mgen_status on_samples(void *user, int64_t first, int64_t count, const float *samples)
{
    sound_job *s = user;
    memcpy(s->job.sound->track.samples + first, samples, (size_t)count * sizeof *samples);
    if (atomic_load(&s->job.cancel))
        return mgi_fail(s->job.ctx, MGEN_E_CANCELLED, "cancelled after sample %lld",
                        (long long)(first + count));
    return MGEN_OK;
}

/* Whether this rank gets the samples. */
static bool takes_samples(const sound_job *s)
{
    return mgen_mesh_rank(s->job.pipeline.mesh) == 0;
}

static mgen_status work(mgen_job *job)
{
    sound_job *s = (sound_job *)job;
    return mgi_sound_make(job->ctx, &job->pipeline.audio->net, &s->request);
}

/* -- checking a request ----------------------------------------------------------------------------- */

static mgen_status check_numbers(mgen_context *ctx, const mgen_sound_params *p, bool clip)
{
    if (p->steps > STEPS_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "steps is %u; it must be 0 (the model's) to %d",
                        p->steps, STEPS_MAX);
    if (!(p->guidance >= 0.0f && p->guidance <= guidance_max))
        return mgi_fail(ctx, MGEN_E_INVALID, "guidance is %g; it must be 0 (the model's) to %g",
                        (double)p->guidance, (double)guidance_max);
    if (p->quality != 0.0f && !(p->quality >= 1.0f && p->quality <= 10.0f))
        return mgi_fail(ctx, MGEN_E_INVALID, "quality is %g; it must be 1..10, or 0",
                        (double)p->quality);
    if (!(p->seconds >= 0.0 && p->seconds <= SECONDS_MAX) || (p->seconds == 0.0 && !clip))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "seconds is %g; it must be above 0, at most %d, or 0 with a clip",
                        p->seconds, SECONDS_MAX);
    if (p->candidates > MGI_SOUND_CANDIDATES)
        return mgi_fail(ctx, MGEN_E_INVALID, "candidates is %u; it must be at most %d",
                        p->candidates, MGI_SOUND_CANDIDATES);
    if (p->extension > MGEN_SOUND_ONE_BY_ONE)
        return mgi_fail(ctx, MGEN_E_INVALID, "extension is %u; it must be a MGEN_SOUND_*",
                        p->extension);
    return mgi_check_noise_scale(ctx, p->noise_scale);
}

static mgen_status check_params(mgen_context *ctx, mgen_sound_params *p, bool clip)
{
    MGI_TRY(mgi_take_prompt(ctx, &p->prompt, "the prompt"));
    MGI_TRY(mgi_take_prompt(ctx, &p->music, "what the music is like"));
    MGI_TRY(mgi_take_prompt(ctx, &p->negative, "the negative prompt"));
    MGI_TRY(check_numbers(ctx, p, clip));
    return mgi_check_sampling(ctx, MGEN_SCHEDULE_LINEAR, p->solver, 0.0f, 0.0f, 0);
}

/* The whole caption that a description belongs to. */
static mgen_status make_caption(sound_job *s, const char *description, const char *music,
                                char **out)
{
    const float quality = s->params.quality;
    const mgi_audio_words words = {.quality = quality != 0.0f ? quality
                                              : music         ? quality_music
                                                              : quality_plain,
                                   .description = description,
                                   .music = music ? music_some : music_none,
                                   .music_description = music};
    MGI_TRY(mgi_alloc(s->job.ctx, ROOM, out));
    mgi_audio_caption(&words, *out, ROOM);
    return MGEN_OK;
}

/* What was heard before, as the model hears it. The estimate has all that this holds at one time: samples as they are, of one
 * channel, and at the model's rate, beside a table. */
static mgen_status take_context(sound_job *s, int64_t rate)
{
    enum { TABLE = 300000 };
    mgen_context *ctx = s->job.ctx;
    const mgen_sound *before = s->params.context;
    if (!before)
        return MGEN_OK;
    const mgi_track *t = &before->track;
    MGI_TRY(mgi_track_check(ctx, t));
    s->before_hash =
        mgi_hash64(t->samples, (size_t)(t->count * t->channels) * sizeof *t->samples, t->rate);
    if (s->alone) { /* nobody listens to it: how long it is is enough */
        MGI_TRY(mgi_track_converted(ctx, t, (uint32_t)rate, &s->before.count));
    } else {
        MGI_TRY(mgi_track_make(ctx, t->count, t->rate, t->channels, &s->before));
        memcpy(s->before.samples, t->samples,
               (size_t)(t->count * t->channels) * sizeof *t->samples);
        MGI_TRY(mgi_track_convert(ctx, &s->before, (uint32_t)rate, 1));
    }
    s->job.estimate.host_bytes =
        TABLE + sizeof(float) * (uint64_t)(t->count * (t->channels + 1) + s->before.count);
    return MGEN_OK;
}

static int64_t samples_of(const sound_job *s, int64_t rate)
{
    const mgen_clip_info *i = &s->info;
    double seconds = s->params.seconds;
    if (seconds == 0.0)
        seconds = (double)i->frames * i->fps_den / i->fps_num;
    const double samples = rint(seconds * (double)rate);
    return samples < 1.0 ? 1 : samples < (double)INT32_MAX ? (int64_t)samples : INT32_MAX;
}

static void take_film(sound_job *s)
{
    const mgen_clip_info *i = &s->info;
    mgi_sound_request *r = &s->request;
    if (s->clip)
        s->film = (mgi_film_bytes){s->clip->pixels, NULL, i->height, i->width};
    if (s->clip && mgi_mesh_split(s->job.pipeline.mesh))
        r->film_hash = mgi_hash64(s->clip->pixels, (size_t)i->frames * i->height * i->width * 3, 0);
    r->source = on_film;
    r->film[0] = i->frames;
    r->film[1] = i->height;
    r->film[2] = i->width;
    r->fps = (double)i->fps_num / i->fps_den;
}

/* Of an estimate, which a rank may ask for alone: nobody tells it how long rank 0's clip is. */
static mgen_status check_own(const sound_job *s, const mgen_pipeline *pipeline)
{
    mgen_context *ctx = s->job.ctx;
    if (!s->alone || s->clip || s->params.seconds != 0.0 ||
        !mgen_mesh_rank(mgi_pipeline_mesh(ctx, pipeline)))
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "seconds is 0 and the clip NULL; a request takes the clip of rank 0, but an "
                    "estimate asks no other rank: give the clip, a black one of its size "
                    "(mgen_clip_create), or seconds");
}

/* All that can be refused is refused here. The job may be on the caller's stack; `release` frees what it then has. */
static mgen_status prepare(sound_job *s, const mgen_pipeline *pipeline,
                           const mgen_sound_params *params)
{
    mgen_context *ctx = s->job.ctx;
    mgen_sound_params *p = &s->params;
    mgen_estimate *e = &s->job.estimate;
    mgi_generate_needs needs;
    MGI_TRY(mgi_struct_in(ctx, p, sizeof *p, sizeof *p, params, "sound params"));
    MGI_TRY(check_own(s, pipeline));
    MGI_TRY(check_params(ctx, p, s->info.frames > 0));
    MGI_TRY(mgi_pipeline_in(ctx, pipeline, &s->job.pipeline));
    MGI_TRY(mgi_pipeline_audio(ctx, &s->job.pipeline));
    const mgi_audio *a = &s->job.pipeline.audio->net;
    const int64_t rate = a->codec.config.rate;
    MGI_TRY(make_caption(s, p->prompt, p->music, &s->caption));
    if (p->negative)
        MGI_TRY(make_caption(s, p->negative, NULL, &s->negative));
    MGI_TRY(take_context(s, rate));
    s->request = (mgi_sound_request){.caption = s->caption,
                                     .negative = s->negative,
                                     .seed = p->seed,
                                     .steps = p->steps ? (int)p->steps : (int)a->config.steps,
                                     .schedule = MGI_SCHEDULE_LINEAR,
                                     .solver = (int)p->solver,
                                     .guidance = p->guidance,
                                     .noise_scale = p->noise_scale,
                                     .samples = samples_of(s, rate),
                                     .before = s->alone && p->context ? p->context->track.samples
                                                                      : s->before.samples,
                                     .before_count = s->before.count,
                                     .before_hash = s->before_hash,
                                     .extension = (int)p->extension,
                                     .candidates = (int)p->candidates,
                                     .progress = on_progress,
                                     .stop = on_stop,
                                     .sink = on_samples,
                                     .user = s};
    if (s->info.frames)
        take_film(s);
    MGI_TRY(mgi_sound_estimate(ctx, a, &s->request, &needs));
    e->host_bytes += needs.host_bytes + sizeof(sound_job) + sizeof(mgen_sound) + 2 * ROOM + 16384 +
                     (takes_samples(s) ? (uint64_t)s->request.samples * sizeof(float) : 0);
    e->device_bytes = needs.device_bytes;
    e->flops = needs.flops;
    return MGEN_OK;
}

static void release(mgen_job *job)
{
    sound_job *s = (sound_job *)job;
    mgi_free(job->ctx, s->caption);
    mgi_free(job->ctx, s->negative);
    mgi_free(job->ctx, s->before.samples);
}

static mgen_status check_call(mgen_context *ctx, const mgen_sound_params *params)
{
    MGI_TRY(mgi_context_idle(ctx));
    return params ? MGEN_OK : mgi_fail(ctx, MGEN_E_INVALID, "sound params is NULL");
}

static mgen_status check_limit(const sound_job *s)
{
    mgen_context *ctx = s->job.ctx;
    const mgen_estimate *e = &s->job.estimate;
    if (!mgi_fits_device(ctx, e->device_bytes))
        return mgi_fail(ctx, MGEN_E_LIMIT,
                        "%lld samples need up to %" PRIu64
                        " bytes of the device beside those in use; device_memory_max is %" PRIu64
                        ": raise it or ask for fewer seconds",
                        (long long)s->request.samples, e->device_bytes, ctx->device->memory_max);
    if (!mgi_fits_host(ctx, e->host_bytes))
        return mgi_fail(ctx, MGEN_E_LIMIT,
                        "%lld samples need up to %" PRIu64
                        " bytes beside those in use; host_memory_max is %" PRIu64
                        ": raise it or ask for fewer seconds",
                        (long long)s->request.samples, e->host_bytes, ctx->heap->max);
    return MGEN_OK;
}

static sound_job job_of(mgen_context *ctx, const mgen_clip *clip)
{
    sound_job s = {.job = {.ctx = ctx}, .clip = clip};
    if (clip)
        s.info = clip->info;
    return s;
}

/* What ranks without a clip know of rank 0's. */
static mgen_status share_clip(mgen_mesh *mesh, sound_job *s)
{
    mgen_clip_info first = s->info;
    const mgi_mesh *split = mgi_mesh_split(mesh);
    if (!split)
        return MGEN_OK;
    MGI_TRY(mgi_ranks_share(s->job.ctx, mgi_ranks_of(split), MGK_U8, &first, sizeof first, 0));
    if (!s->clip)
        s->info = first;
    return MGEN_OK;
}

/* -- the calls -------------------------------------------------------------------------------------- */

mgen_status mgen_sound_estimate(mgen_context *ctx, const mgen_pipeline *pipeline,
                                const mgen_clip *clip, const mgen_sound_params *params,
                                mgen_estimate *out)
{
    mgen_estimate theirs;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(check_call(ctx, params));
    MGI_TRY(mgi_struct_in(ctx, &theirs, sizeof theirs, sizeof theirs, out, "estimate"));
    sound_job s = job_of(ctx, clip);
    s.alone = true;
    mgen_status status = prepare(&s, pipeline, params);
    if (status == MGEN_E_LIMIT) /* of its own few bytes: an estimate has no limit */
        status = mgi_fail_context(ctx, MGEN_E_NO_MEMORY, "the estimate");
    release(&s.job);
    mgen_pipeline_close(&s.job.pipeline);
    const mgen_estimate *e = &s.job.estimate;
    return status == MGEN_OK ? mgi_struct_out(out, e, sizeof *e, sizeof *e) : status;
}

/* Move a prepared job to the heap. */
static mgen_status make(sound_job *prepared, sound_job **out)
{
    mgen_context *ctx = prepared->job.ctx;
    sound_job *s;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *s, &s));
    memcpy(s, prepared, sizeof *s);
    *prepared = (sound_job){.job = {.ctx = ctx}};
    s->job.work = work;
    s->job.finish = release;
    s->job.clipless = "made no clip";
    s->job.soundless = takes_samples(s) ? NULL : "gave its sound to rank 0";
    s->request.user = s;
    mgi_job_init(&s->job);
    const int64_t rate = s->job.pipeline.audio->net.codec.config.rate;
    mgen_status status = MGEN_OK;
    if (takes_samples(s))
        status = mgi_sound_new(ctx, s->request.samples, (uint32_t)rate, 1, &s->job.sound);
    if (status != MGEN_OK) {
        mgi_job_free(&s->job);
        return status;
    }
    atomic_init(&s->job.total, (uint32_t)mgi_sound_steps(&s->job.pipeline.audio->net, &s->request));
    *out = s;
    return MGEN_OK;
}

mgen_status mgen_sound_start(mgen_context *ctx, const mgen_pipeline *pipeline,
                             const mgen_clip *clip, const mgen_sound_params *params, mgen_job **out)
{
    sound_job *s = NULL, prepared = job_of(ctx, clip);
    MGI_OUT(ctx, out);
    MGI_TRY(check_call(ctx, params));
    mgen_mesh *mesh = mgi_pipeline_mesh(ctx, pipeline);
    MGI_TRY(share_clip(mesh, &prepared));
    mgen_status status = prepare(&prepared, pipeline, params);
    if (status == MGEN_OK)
        status = check_limit(&prepared);
    status = mgi_mesh_together(mesh, status);
    if (status == MGEN_OK) {
        status = make(&prepared, &s);
        if (status == MGEN_OK)
            status = mgi_job_begin(&s->job);
        if (status == MGEN_OK)
            *out = &s->job;
        else
            (void)mgi_mesh_end(mesh, status);
    }
    if (status != MGEN_OK && s)
        mgi_job_free(&s->job);
    release(&prepared.job);
    mgen_pipeline_close(&prepared.job.pipeline);
    return status;
}
