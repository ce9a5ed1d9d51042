/* SPDX-License-Identifier: MIT */
#include "data/loader.h"

#include "core/philox.h"
#include "core/pool.h"

typedef struct job {
    uint64_t seed, first;
    int frames;
    uint8_t *pixels;
} job;

static void draw_one(void *arg, int64_t block, int thread)
{
    const job *j = arg;
    mgi_toybox_scene scene;
    uint64_t index = j->first + (uint64_t)block;
    int free_frames = MGI_TOYBOX_FRAMES - j->frames;
    int start =
        (int)(mgi_random_unit(j->seed, MGI_STREAM_SAMPLE, index) * (float)(free_frames + 1));
    size_t clip = (size_t)j->frames * MGI_TOYBOX_HEIGHT * MGI_TOYBOX_WIDTH * 3;
    (void)thread;
    start = start > free_frames ? free_frames : start;
    mgi_toybox_scene_random(&scene, j->seed, index);
    mgi_toybox_draw(&scene, start, j->frames, j->pixels + (size_t)block * clip);
}

void mgi_loader_clips(mgen_context *ctx, uint64_t seed, uint64_t first, int64_t count, int frames,
                      uint8_t *pixels)
{
    job j = {seed, first, frames, pixels};
    mgi_pool_run(ctx->pool, count, draw_one, &j);
}
