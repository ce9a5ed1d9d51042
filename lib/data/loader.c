/* SPDX-License-Identifier: MIT */
#include "data/loader.h"

#include "core/philox.h"
#include "core/pool.h"

typedef struct job {
    const mgi_world_options *options;
    uint64_t seed, first;
    int width, height, frames;
    uint8_t *pixels;
} job;

static void draw_scene(void *arg, int64_t block, int thread)
{
    const job *j = arg;
    uint64_t index = j->first + (uint64_t)block;
    int spare = j->options->frames - j->frames;
    int start = (int)(mgi_random_unit(j->seed, MGI_STREAM_SAMPLE, index) * (float)(spare + 1));
    mgi_world_scene scene;
    (void)thread;
    mgi_world_scene_random(&scene, j->seed, index, j->options);
    mgi_world_draw(&scene, j->width, j->height, start > spare ? spare : start, j->frames,
                   j->pixels + block * j->frames * j->height * j->width * 3);
}

void mgi_loader_clips(mgen_context *ctx, const mgi_world_options *o, uint64_t seed, uint64_t first,
                      int64_t count, int frames, uint8_t *pixels)
{
    job j = {.options = o,
             .seed = seed,
             .first = first,
             .width = (int)((float)o->width * o->scale + 0.5f),
             .height = (int)((float)o->height * o->scale + 0.5f),
             .frames = frames,
             .pixels = pixels};
    mgi_pool_run(ctx->pool, count, draw_scene, &j);
}
