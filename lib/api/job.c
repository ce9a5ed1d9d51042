/* SPDX-License-Identifier: MIT
 * The life of a job, whatever it makes. */
#include "api/job.h"

#include "core/alloc.h"
#include "core/thread.h"

#include <errno.h>
#include <time.h>

static void *run(void *arg)
{
    mgen_job *job = arg;
    mgen_status status = job->work(job);
    if (status != MGEN_OK) /* other calls on the context fail before the host hears of this */
        mgi_message_get(job->ctx, &job->end);
    pthread_mutex_lock(&job->lock);
    job->status = status;
    job->over = true;
    pthread_cond_broadcast(&job->ended);
    pthread_mutex_unlock(&job->lock);
    return NULL;
}

void mgi_job_init(mgen_job *job)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&job->ended, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&job->lock, NULL);
}

void mgi_job_free(mgen_job *job)
{
    mgen_context *ctx = job->ctx;
    job->finish(job);
    mgen_pipeline_close(&job->pipeline);
    mgen_clip_destroy(job->clip);
    mgen_sound_destroy(job->sound);
    pthread_mutex_destroy(&job->lock);
    pthread_cond_destroy(&job->ended);
    mgi_free(ctx, job);
}

mgen_status mgi_job_begin(mgen_job *job)
{
    atomic_store(&job->ctx->busy, 1);
    int rc = mgi_thread_start(&job->thread, run, job);
    if (!rc)
        return MGEN_OK;
    mgen_status status = mgi_fail(job->ctx, MGEN_E_NO_MEMORY,
                                  "no thread could be started for the job: error %d", rc);
    atomic_store(&job->ctx->busy, 0);
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

static mgen_status say_end(mgen_job *job)
{
    if (job->status != MGEN_OK) {
        job->end.code = job->status;
        mgi_message_set(job->ctx, &job->end);
    }
    return job->status;
}

/* The job's end, or `running`; no message for that: the job's thread owns the error meanwhile. */
static mgen_status end_of(mgen_job *job, int64_t timeout_ms, mgen_status running)
{
    if (!job)
        return MGEN_E_INVALID;
    if (job->joined)
        return say_end(job);
    if (!wait_end(job, timeout_ms))
        return running;
    pthread_join(job->thread, NULL);
    job->joined = true;
    atomic_store(&job->ctx->busy, 0);
    return say_end(job);
}

mgen_status mgen_job_wait(mgen_job *job, int64_t timeout_ms)
{
    return end_of(job, timeout_ms, MGEN_E_TIMEOUT);
}

mgen_status mgen_job_poll(mgen_job *job)
{
    return end_of(job, 0, MGEN_E_AGAIN);
}

void mgen_job_cancel(mgen_job *job)
{
    if (job)
        atomic_store(&job->cancel, 1);
}

mgen_status mgen_job_get_info(const mgen_job *job, mgen_job_info *info)
{
    if (!job)
        return MGEN_E_INVALID;
    mgen_job_info ours = {.done = atomic_load(&job->done),
                          .total = atomic_load(&job->total),
                          .width = job->estimate.width,
                          .height = job->estimate.height,
                          .frames = job->estimate.frames,
                          .frames_done = atomic_load(&job->frames_done),
                          .host_bytes = job->estimate.host_bytes};
    return mgi_struct_out(info, &ours, sizeof ours, sizeof ours);
}

mgen_status mgen_job_take_clip(mgen_job *job, mgen_clip **out)
{
    if (out)
        *out = NULL;
    if (!job || !out)
        return MGEN_E_INVALID;
    if (!job->joined)
        return MGEN_E_STATE; /* the error text belongs to the job's thread until the wait */
    if (job->status != MGEN_OK || !job->clip)
        return mgi_fail(job->ctx, MGEN_E_STATE, "the job %s",
                        job->status != MGEN_OK ? "failed: it has no clip"
                        : job->clipless        ? job->clipless
                                               : "gave its clip away already");
    *out = job->clip;
    job->clip = NULL;
    return MGEN_OK;
}

mgen_status mgen_job_take_sound(mgen_job *job, mgen_sound **out)
{
    if (out)
        *out = NULL;
    if (!job || !out)
        return MGEN_E_INVALID;
    if (!job->joined)
        return MGEN_E_STATE;
    if (job->status != MGEN_OK || !job->sound)
        return mgi_fail(job->ctx, MGEN_E_STATE, "the job %s",
                        job->status != MGEN_OK ? "failed: it has no sound"
                        : job->soundless       ? job->soundless
                                               : "gave its sound away already");
    *out = job->sound;
    job->sound = NULL;
    return MGEN_OK;
}

void mgen_job_destroy(mgen_job *job)
{
    if (!job)
        return;
    mgen_job_cancel(job);
    if (!job->joined) { /* nobody hears of its end */
        pthread_join(job->thread, NULL);
        atomic_store(&job->ctx->busy, 0);
    }
    mgi_job_free(job);
}
