/* SPDX-License-Identifier: MIT
 * What all jobs share: a thread of their own, how its end is told, and what they made. Tier 8. */
#ifndef MGI_API_JOB_H
#define MGI_API_JOB_H

#include "api/args.h"
#include "core/quiet.h"

#include <pthread.h>

/* The beginning of a job of each kind. */
struct mgen_job {
    mgen_context *ctx;
    mgen_pipeline pipeline; /* retained */
    mgen_estimate estimate;
    mgen_clip *clip;                  /* what it makes; NULL: none, or it was taken */
    mgen_sound *sound;                /* the same */
    const char *clipless, *soundless; /* "gave its frames elsewhere": why it makes none; or NULL */
    mgen_status (*work)(mgen_job *job);
    void (*finish)(mgen_job *job); /* frees what its kind has beside this */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool over;   /* under lock: the thread has finished */
    bool joined; /* the caller's side */
    mgen_status status;
    mgi_message end; /* why it failed */
    _Atomic int cancel;
    _Atomic uint32_t done, total, frames_done;
};

/* A job on the heap, its fields set; from now on mgi_job_free() frees it. */
void mgi_job_init(mgen_job *job);
/* Start its thread. NO_MEMORY: there is none. */
mgen_status mgi_job_begin(mgen_job *job);
/* One whose thread has ended or was not begun. */
void mgi_job_free(mgen_job *job);

#endif
