/* SPDX-License-Identifier: MIT
 * A clip, the tiny models with an editor, and the short way to an edited clip. */
#ifndef TESTS_API_EDIT_BENCH_H
#define TESTS_API_EDIT_BENCH_H

#include "tiny_editor.h"

#include "clip_bench.h"

enum { WIDTH = 24, HEIGHT = 16, FRAMES = 9, BYTES = FRAMES * WIDTH * HEIGHT * 3 };

SHARED bench bench_on(mgen_context *ctx)
{
    return bench_of(ctx, (maker){mgen_edit_start, mgen_edit_estimate}, WIDTH, HEIGHT, FRAMES);
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
