/* SPDX-License-Identifier: MIT
 * What makes a film of a clip, from outside: the clip, and a pipeline of the tiny models. */
#ifndef TESTS_API_CLIP_BENCH_H
#define TESTS_API_CLIP_BENCH_H

#include "tiny.h"

#include <pthread.h>

SHARED mgen_clip *source(mgen_context *ctx, uint32_t width, uint32_t height, uint32_t frames)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *clip;
    info.width = width;
    info.height = height;
    info.frames = frames;
    info.fps_num = 25;
    info.fps_den = 2;
    if (mgen_clip_create(ctx, &info, &clip) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    uint8_t *pixels = mgen_clip_pixels(clip);
    for (uint32_t i = 0; i < frames * height * width * 3; i++)
        pixels[i] = (uint8_t)(i * 7 % 200);
    return clip;
}

/* The calls that make the films, such as mgen_edit_start() and mgen_edit_estimate(). */
typedef struct maker {
    mgen_status (*start)(mgen_context *ctx, const mgen_pipeline *pipe, const mgen_clip *clip,
                         const mgen_generate_params *params, mgen_job **out);
    mgen_status (*estimate)(mgen_context *ctx, const mgen_pipeline *pipe, const mgen_clip *clip,
                            const mgen_generate_params *params, mgen_estimate *out);
} maker;

typedef struct bench {
    mgen_context *ctx;
    mgen_pipeline pipe;
    mgen_clip *clip;
    maker by;
} bench;

SHARED bench bench_of(mgen_context *ctx, maker by, uint32_t width, uint32_t height, uint32_t frames)
{
    bench b = {.ctx = ctx, .pipe = MGEN_PIPELINE_INIT, .by = by};
    if (mgen_pipeline_open(ctx, dir, &b.pipe) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    b.clip = source(ctx, width, height, frames);
    return b;
}

SHARED void bench_close(bench *b)
{
    mgen_clip_destroy(b->clip);
    mgen_pipeline_close(&b->pipe);
    mgen_context_destroy(b->ctx);
}

/* To the job's end; *clip: NULL where it has none. */
SHARED mgen_status make(bench *b, const mgen_generate_params *p, mgen_clip **clip)
{
    mgen_job *job = NULL;
    *clip = NULL;
    mgen_status status = b->by.start(b->ctx, &b->pipe, b->clip, p, &job);
    assert_true((status == MGEN_OK) == (job != NULL));
    if (status == MGEN_OK)
        status = mgen_job_wait(job, -1);
    if (status == MGEN_OK && !p->on_frames && !p->into)
        assert_int_equal(mgen_job_take_clip(job, clip), MGEN_OK);
    mgen_job_destroy(job);
    return status;
}

SHARED mgen_clip *film(bench *b, const mgen_generate_params *p)
{
    mgen_clip *clip;
    if (make(b, p, &clip) != MGEN_OK)
        fail_msg("%s", mgen_last_error(b->ctx));
    return clip;
}

/* Whether the request gives these bytes. */
SHARED bool gives(bench *b, const mgen_generate_params *p, const mgen_clip *wanted)
{
    mgen_clip *clip = film(b, p);
    mgen_clip_info info = MGEN_CLIP_INFO_INIT, other = MGEN_CLIP_INFO_INIT;
    assert_int_equal(mgen_clip_get_info(clip, &info), MGEN_OK);
    assert_int_equal(mgen_clip_get_info(wanted, &other), MGEN_OK);
    assert_memory_equal(&info, &other, sizeof info);
    bool same = !memcmp(mgen_clip_pixels(clip), mgen_clip_pixels((mgen_clip *)wanted),
                        (size_t)info.frames * info.height * info.width * 3);
    mgen_clip_destroy(clip);
    return same;
}

/* A film of source(). */
SHARED void assert_shape(const mgen_clip *clip, uint32_t width, uint32_t height, uint32_t frames)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    assert_int_equal(mgen_clip_get_info(clip, &info), MGEN_OK);
    assert_int_equal(info.width, width);
    assert_int_equal(info.height, height);
    assert_int_equal(info.frames, frames);
    assert_true(info.fps_num == 25 && info.fps_den == 2);
}

/* By both calls. */
SHARED void refused(bench *b, const mgen_generate_params *p, mgen_status want, const char *said)
{
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    for (int start = 0; start < 2; start++) {
        mgen_job *job = (mgen_job *)&e;
        mgen_status got = start ? b->by.start(b->ctx, &b->pipe, b->clip, p, &job)
                                : b->by.estimate(b->ctx, &b->pipe, b->clip, p, &e);
        if (got != want || !strstr(mgen_last_error(b->ctx), said))
            fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(b->ctx),
                     said);
        assert_true(!start || !job);
    }
}

/* Of three steps. */
SHARED int32_t stop_at_two(void *user, uint32_t done, uint32_t total)
{
    (void)user;
    assert_true(done <= total && total == 3);
    return done == 2;
}

/* A job that takes long: nothing else meanwhile, and it ends when it is told to, or destroyed. */
SHARED void assert_stops(bench *b, mgen_generate_params p)
{
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_job *job, *second;
    p.steps = 1000;
    assert_int_equal(b->by.start(b->ctx, &b->pipe, b->clip, &p, &job), MGEN_OK);
    assert_int_equal(mgen_job_wait(job, 0), MGEN_E_TIMEOUT);
    assert_int_equal(b->by.estimate(b->ctx, &b->pipe, b->clip, &p, &e), MGEN_E_STATE);
    assert_int_equal(b->by.start(b->ctx, &b->pipe, b->clip, &p, &second), MGEN_E_STATE);
    mgen_job_cancel(job);
    assert_int_equal(mgen_job_wait(job, -1), MGEN_E_CANCELLED);
    mgen_job_destroy(job);
    assert_int_equal(b->by.start(b->ctx, &b->pipe, b->clip, &p, &job), MGEN_OK);
    mgen_job_destroy(job); /* while it runs */
}

/* Every allocation of a request fails, with all after it (`lasting`) or alone: it ends with NO_MEMORY, or has done without it and has the
 * bytes of `plain`. Nothing stays allocated. */
SHARED void fail_each_allocation(bench *b, counter *c, const mgen_generate_params *p,
                                 mgen_clip *plain, bool lasting)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    assert_int_equal(mgen_clip_get_info(plain, &info), MGEN_OK);
    mgen_context_trim(b->ctx);
    int64_t blocks = atomic_load(&c->blocks);
    int failures = 0;
    bool over = false;
    for (int64_t k = 1; !over; k++) {
        mgen_clip *clip;
        set_failure(c, k, lasting);
        mgen_status status = make(b, p, &clip);
        over = atomic_load(&c->made) < k;
        set_failure(c, 0, false);
        if (status != MGEN_OK && status != MGEN_E_NO_MEMORY)
            fail_msg("allocation %d: %s", (int)k, mgen_last_error(b->ctx));
        assert_true((status == MGEN_OK) == (clip != NULL));
        assert_true(status == MGEN_OK || strlen(mgen_last_error(b->ctx)) > 10);
        if (clip)
            assert_memory_equal(mgen_clip_pixels(clip), mgen_clip_pixels(plain),
                                (size_t)info.frames * info.height * info.width * 3);
        failures += !clip;
        mgen_clip_destroy(clip);
        mgen_context_trim(b->ctx);
        assert_int_equal(atomic_load(&c->blocks), blocks);
    }
    assert_true(failures > 20);
}

#endif
