/* SPDX-License-Identifier: MIT
 * A generate job: one thread that runs task/generate.c. */
#include "api/args.h"

#include "core/alloc.h"
#include "media/pixels.h"
#include "task/generate.h"
#include "text/byte_tokenizer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum { PROMPT_MAX = 4096, STEPS_DEFAULT = 50, STEPS_MAX = 1000 };
static const float guidance_default = 7.5f, guidance_max = 100.0f;

struct mgen_job {
    mgen_context *ctx;
    mgen_pipeline pipeline; /* retained */
    mgi_networks networks;
    mgen_generate_params params;
    char *prompt;
    mgen_clip *clip;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool over;   /* under lock: the thread has finished */
    bool joined; /* the caller's side */
    mgen_status status;
    _Atomic int cancel;
    _Atomic uint32_t done;
};

static bool after_step(void *user, int done, int total)
{
    mgen_job *job = user;
    atomic_store(&job->done, (uint32_t)done);
    bool stop = false;
    if (job->params.progress)
        stop =
            job->params.progress(job->params.progress_user, (uint32_t)done, (uint32_t)total) != 0;
    return stop || atomic_load(&job->cancel);
}

static mgen_status take_frames(void *user, int64_t first, int64_t count, const float *rgb)
{
    const mgen_job *job = user;
    int64_t size = (int64_t)job->clip->info.width * job->clip->info.height * 3;
    mgi_bytes_from_floats(job->clip->pixels + first * size, rgb, count * size);
    return MGEN_OK;
}

static void *work(void *arg)
{
    mgen_job *job = arg;
    mgi_generate_request r = {.prompts = (const char *const[]){job->prompt},
                              .count = 1,
                              .seeds = &job->params.seed,
                              .steps = (int)job->params.steps,
                              .guidance = job->params.guidance,
                              .progress = after_step,
                              .sink = take_frames,
                              .user = job};
    mgen_status status = mgi_generate(job->ctx, &job->networks, &r);
    pthread_mutex_lock(&job->lock);
    job->status = status;
    job->over = true;
    pthread_cond_broadcast(&job->ended);
    pthread_mutex_unlock(&job->lock);
    return NULL;
}

static mgen_status check_params(mgen_context *ctx, mgen_generate_params *p,
                                const mgi_clip_shape *clip)
{
    size_t bad;
    MGI_TRY(mgi_check_text(ctx, p->prompt, "the prompt", PROMPT_MAX));
    if (!mgi_utf8_valid(p->prompt, strlen(p->prompt), &bad))
        return mgi_fail(ctx, MGEN_E_INVALID, "the prompt is not UTF-8: byte %zu is malformed", bad);
    p->steps = p->steps ? p->steps : STEPS_DEFAULT;
    if (p->steps > STEPS_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "steps is %u; it must be 1..%d", p->steps, STEPS_MAX);
    p->guidance = p->guidance == 0.0f ? guidance_default : p->guidance;
    if (!(p->guidance > 0.0f && p->guidance <= guidance_max))
        return mgi_fail(ctx, MGEN_E_INVALID, "guidance is %g; it must be above 0 and at most %g",
                        (double)p->guidance, (double)guidance_max);
    if ((p->width && p->width != clip->width) || (p->height && p->height != clip->height) ||
        (p->frames && p->frames != clip->frames))
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "this model makes clips of %lld x %lld x %lld frames, not %u x %u x %u",
                        (long long)clip->width, (long long)clip->height, (long long)clip->frames,
                        p->width, p->height, p->frames);
    return MGEN_OK;
}

static void job_free(mgen_job *job)
{
    mgen_context *ctx = job->ctx;
    mgen_pipeline_close(&job->pipeline);
    mgen_clip_destroy(job->clip);
    mgi_free(ctx, job->prompt);
    pthread_mutex_destroy(&job->lock);
    pthread_cond_destroy(&job->ended);
    mgi_free(ctx, job);
}

/* The library installs no signal handlers; its thread takes none of the host's signals either. */
static mgen_status start_thread(mgen_job *job)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&job->thread, NULL, work, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc)
        return mgi_fail(job->ctx, MGEN_E_NO_MEMORY,
                        "no thread could be started for the job: error %d", rc);
    return MGEN_OK;
}

static void init_waiting(mgen_job *job)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&job->ended, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&job->lock, NULL);
}

mgen_status mgen_generate_start(mgen_context *ctx, const mgen_pipeline *pipeline,
                                const mgen_generate_params *params, mgen_job **out)
{
    mgen_job *job;
    mgen_status status;
    if (!ctx || !out)
        return MGEN_E_INVALID;
    *out = NULL;
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *job, &job));
    job->ctx = ctx;
    init_waiting(job);
    MGI_TRY_GOTO(status,
                 mgi_struct_in(ctx, &job->params, sizeof job->params, sizeof job->params, params,
                               "generate params"),
                 failed);
    MGI_TRY_GOTO(status, mgi_pipeline_in(ctx, pipeline, &job->pipeline), failed);
    MGI_TRY_GOTO(status, mgi_pipeline_networks(ctx, &job->pipeline, &job->networks), failed);
    const mgi_clip_shape *c = &job->networks.clip;
    MGI_TRY_GOTO(status, check_params(ctx, &job->params, c), failed);
    MGI_TRY_GOTO(status, mgi_strdup(ctx, job->params.prompt, &job->prompt), failed);
    job->params.prompt = NULL;
    MGI_TRY_GOTO(status, mgi_clip_make(ctx, c->width, c->height, c->frames, c->fps, &job->clip),
                 failed);
    atomic_store(&ctx->busy, 1);
    status = start_thread(job);
    if (status != MGEN_OK) {
        atomic_store(&ctx->busy, 0);
        goto failed;
    }
    *out = job;
    return MGEN_OK;
failed:
    job_free(job);
    return status;
}

static bool wait_end(mgen_job *job, int64_t timeout_ms)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (timeout_ms > 0) {
        int64_t limit = timeout_ms < INT64_C(1) << 40 ? timeout_ms : INT64_C(1) << 40;
        end.tv_sec += (time_t)(limit / 1000);
        end.tv_nsec += (long)(limit % 1000) * 1000000;
        if (end.tv_nsec >= 1000000000) {
            end.tv_sec++;
            end.tv_nsec -= 1000000000;
        }
    }
    pthread_mutex_lock(&job->lock);
    int rc = 0;
    while (!job->over && timeout_ms != 0 && rc != ETIMEDOUT)
        rc = timeout_ms < 0 ? pthread_cond_wait(&job->ended, &job->lock)
                            : pthread_cond_timedwait(&job->ended, &job->lock, &end);
    bool over = job->over;
    pthread_mutex_unlock(&job->lock);
    return over;
}

mgen_status mgen_job_wait(mgen_job *job, int64_t timeout_ms)
{
    if (!job)
        return MGEN_E_INVALID;
    if (job->joined)
        return job->status;
    /* No message for the two answers that are no failure: the job's thread owns the error meanwhile. */
    if (!wait_end(job, timeout_ms))
        return timeout_ms == 0 ? MGEN_E_AGAIN : MGEN_E_TIMEOUT;
    pthread_join(job->thread, NULL);
    job->joined = true;
    atomic_store(&job->ctx->busy, 0);
    return job->status;
}

void mgen_job_cancel(mgen_job *job)
{
    if (job)
        atomic_store(&job->cancel, 1);
}

void mgen_job_progress(const mgen_job *job, uint32_t *done, uint32_t *total)
{
    if (done)
        *done = job ? atomic_load(&job->done) : 0;
    if (total)
        *total = job ? job->params.steps : 0;
}

mgen_status mgen_job_take_clip(mgen_job *job, mgen_clip **out)
{
    if (!job || !out)
        return MGEN_E_INVALID;
    *out = NULL;
    if (!job->joined)
        return MGEN_E_STATE; /* the error text belongs to the job's thread until the wait */
    if (job->status != MGEN_OK || !job->clip)
        return mgi_fail(job->ctx, MGEN_E_STATE, "the job %s",
                        job->status != MGEN_OK ? "failed: it has no clip"
                                               : "gave its clip away already");
    *out = job->clip;
    job->clip = NULL;
    return MGEN_OK;
}

void mgen_job_destroy(mgen_job *job)
{
    if (!job)
        return;
    mgen_job_cancel(job);
    mgen_job_wait(job, -1);
    job_free(job);
}
