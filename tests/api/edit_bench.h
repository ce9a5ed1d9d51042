/* SPDX-License-Identifier: MIT
 * A clip, the tiny models with an editor, and the short way to an edited clip. */
#ifndef TESTS_API_EDIT_BENCH_H
#define TESTS_API_EDIT_BENCH_H

#include "tiny_editor.h"

#include "clip_bench.h"

enum { WIDTH = 24, HEIGHT = 16, FRAMES = 9, BYTES = FRAMES * WIDTH * HEIGHT * 3 };

SHARED bench bench_on(mgen_context *ctx)
{
    return bench_of(ctx, WIDTH, HEIGHT, FRAMES);
}

/* By the editor. */
SHARED mgen_generate_params request(void)
{
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    p.prompt = "make the ball blue";
    return p;
}

/* By the video model. */
SHARED mgen_generate_params begun(void)
{
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    p.prompt = "a blue ball";
    p.steps = 5;
    p.strength = 0.6f;
    return p;
}

/* To the job's end; *clip: NULL where it has none. */
SHARED mgen_status edit(bench *b, const mgen_generate_params *p, mgen_clip **clip)
{
    mgen_job *job = NULL;
    *clip = NULL;
    mgen_status status = mgen_edit_start(b->ctx, &b->pipe, b->clip, p, &job);
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
    if (edit(b, p, &clip) != MGEN_OK)
        fail_msg("%s", mgen_last_error(b->ctx));
    return clip;
}

/* Whether the request gives these bytes, of the bench's own clip. */
SHARED bool gives(bench *b, const mgen_generate_params *p, const mgen_clip *wanted)
{
    mgen_clip *clip = film(b, p);
    bool same = !memcmp(mgen_clip_pixels(clip), mgen_clip_pixels((mgen_clip *)wanted), BYTES);
    mgen_clip_destroy(clip);
    return same;
}

SHARED void assert_shape(const mgen_clip *clip, uint32_t width, uint32_t height, uint32_t frames)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    assert_int_equal(mgen_clip_get_info(clip, &info), MGEN_OK);
    assert_int_equal(info.width, width);
    assert_int_equal(info.height, height);
    assert_int_equal(info.frames, frames);
    assert_true(info.fps_num == 25 && info.fps_den == 2);
}

typedef struct taken {
    uint64_t next, stop_at;
    uint8_t bytes[BYTES];
} taken;

SHARED int32_t take(void *user, uint64_t first, const mgen_frames *frames)
{
    taken *t = user;
    const size_t row = WIDTH * 3;
    assert_int_equal(first, t->next);
    assert_true(frames->width == WIDTH && frames->height == HEIGHT);
    for (uint32_t i = 0; i < frames->count; i++, t->next++)
        for (uint32_t y = 0; y < frames->height; y++)
            memcpy(t->bytes + (t->next * frames->height + y) * row,
                   (const uint8_t *)frames->plane[0] + i * frames->frame_stride[0] +
                       y * frames->row_stride[0],
                   row);
    return t->stop_at && t->next >= t->stop_at;
}

#endif
