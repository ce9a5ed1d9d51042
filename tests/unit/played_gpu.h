/* SPDX-License-Identifier: MIT
 * A GPU with streams, which the host plays, and the NCCL that it plays (fake_nccl.c), for tests of the engine of NCCL. */
#ifndef PLAYED_GPU_H
#define PLAYED_GPU_H

#include "dist/comm_nccl.h"
#include "find_nccl.h"

#include <stdlib.h>

/* compute: NULL: the host computes, and waits itself. */
typedef struct played_gpu {
    mgk_queue *compute;
    mgi_cuda_watch *watch;
} played_gpu;

typedef struct played_side {
    played_gpu *gpu;
    mgk_queue *queue;
    mgk_queue_event *ready, *marks[MGI_CUDA_MARKS];
} played_side;

static enum { NOTHING, NO_BEGIN, NO_JOIN } planted; /* what is forgotten */

static void played_put(void *stream, void *kept)
{
    mgk_queue_put(stream, kept);
}

static void played_reset(void)
{
    memset(fake, 0, sizeof *fake);
    fake->keep = mgk_queue_keep;
    fake->put = played_put;
}

/* As a context does; false: the work was given up. */
static bool played_wait(played_gpu *gpu)
{
    bool whole = true, busy = false;
    for (int times = 0; whole && gpu->watch && !mgk_queue_done(gpu->compute); times++)
        whole = gpu->watch->poll(gpu->watch->user, times, &busy);
    mgk_queue_wait(gpu->compute);
    return whole;
}

static mgen_status played_make(void *gpu, void **side)
{
    played_side *s = calloc(1, sizeof *s);
    if (!s)
        return MGEN_E_NO_MEMORY;
    s->gpu = gpu;
    s->queue = mgk_queue_new(0);
    s->ready = mgk_queue_event_new();
    for (int i = 0; i < MGI_CUDA_MARKS; i++)
        s->marks[i] = mgk_queue_event_new();
    *side = s;
    return MGEN_OK;
}

static void played_drop(void *side)
{
    played_side *s = side;
    for (int i = 0; i < MGI_CUDA_MARKS; i++)
        mgk_queue_event_free(s->marks[i]);
    mgk_queue_event_free(s->ready);
    mgk_queue_free(s->queue);
    free(s);
}

static void *played_stream(void *side)
{
    return ((played_side *)side)->queue;
}

static mgen_status played_begin(void *side)
{
    played_side *s = side;
    if (s->gpu->compute && planted != NO_BEGIN) {
        mgk_queue_record(s->gpu->compute, s->ready);
        mgk_queue_follow(s->queue, s->ready);
    }
    return MGEN_OK;
}

static void played_mark(void *side, uint64_t n)
{
    mgk_queue_record(((played_side *)side)->queue,
                     ((played_side *)side)->marks[n % MGI_CUDA_MARKS]);
}

static bool played_passed(void *side, uint64_t n)
{
    return mgk_queue_event_done(((played_side *)side)->marks[n % MGI_CUDA_MARKS]);
}

static void played_join(void *side, uint64_t n)
{
    played_side *s = side;
    bool whole = true, busy = false;
    if (s->gpu->compute && planted != NO_JOIN)
        mgk_queue_follow(s->gpu->compute, s->marks[n % MGI_CUDA_MARKS]);
    for (int times = 0; whole && !s->gpu->compute && !played_passed(side, n); times++)
        whole = s->gpu->watch->poll(s->gpu->watch->user, times, &busy);
}

static void played_watch(void *gpu, mgi_cuda_watch *watch, bool on)
{
    ((played_gpu *)gpu)->watch = on ? watch : NULL;
}

static mgi_nccl_options played_options(played_gpu *gpu)
{
    return (mgi_nccl_options){.file = fake_file,
                              .blocks = 16,
                              .make = played_make,
                              .drop = played_drop,
                              .stream = played_stream,
                              .begin = played_begin,
                              .mark = played_mark,
                              .join = played_join,
                              .passed = played_passed,
                              .watch = played_watch,
                              .gpu = gpu};
}

#endif
