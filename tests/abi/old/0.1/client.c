/* SPDX-License-Identifier: MIT
 * A host as it was written for 0.1: client MODEL_FOLDER. It is compiled against the header beside it, and
 * run against the library of today. */
#include "moviegen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 2 };

typedef struct counter {
    size_t bytes;
    uint32_t calls, last;
} counter;

static void *take(void *user, size_t size)
{
    (void)user;
    return aligned_alloc(64, (size + 63) / 64 * 64 + 64);
}

static void give(void *user, void *ptr, size_t size)
{
    (void)user;
    (void)size;
    free(ptr);
}

static int32_t on_progress(void *user, uint32_t done, uint32_t total)
{
    counter *c = user;
    c->calls++;
    c->last = total == STEPS ? done : 0;
    return 0;
}

static int32_t on_frames(void *user, uint64_t first, const mgen_frames *frames)
{
    counter *c = user;
    (void)first;
    if (frames->struct_size < sizeof *frames || !frames->plane[0])
        return 1;
    c->bytes += (size_t)frames->count * frames->height * frames->width * 3;
    return 0;
}

static int failed(mgen_context *ctx, const char *what, mgen_status status)
{
    if (status == MGEN_OK)
        return 0;
    printf("%s: %s: %s\n", what, mgen_status_name(status), mgen_last_error(ctx));
    return 1;
}

static uint64_t hash_of(const uint8_t *bytes, size_t count)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

/* The clip itself: its size, its speed, its pixels. */
static int show_clip(mgen_context *ctx, mgen_job *job)
{
    mgen_clip *clip = NULL;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    if (failed(ctx, "take", mgen_job_take_clip(job, &clip)))
        return 1;
    if (failed(ctx, "info", mgen_clip_get_info(clip, &info)))
        return 1;
    size_t bytes = (size_t)info.frames * info.height * info.width * 3;
    const uint8_t *pixels = mgen_clip_pixels(clip);
    int flat = 1;
    for (size_t i = 1; i < bytes; i++)
        flat &= pixels[i] == pixels[0];
    printf("size %u x %u x %u at %u/%u\n", info.width, info.height, info.frames, info.fps_num,
           info.fps_den);
    printf("pixels %016llx\n", (unsigned long long)hash_of(pixels, bytes));
    mgen_clip_destroy(clip);
    return flat || info.struct_size != sizeof info;
}

/* Twice: the clip as a whole, and its frames as they are decoded. */
static int generate(mgen_context *ctx, const mgen_pipeline *pipe, int streamed)
{
    mgen_job *job = NULL;
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_estimate need = MGEN_ESTIMATE_INIT;
    mgen_job_info info = MGEN_JOB_INFO_INIT;
    counter c = {0, 0, 0};
    int bad = 0;
    params.prompt = "a red ball rolls left on grass";
    params.steps = STEPS;
    params.seed = 5;
    params.on_progress = on_progress;
    params.on_frames = streamed ? on_frames : NULL;
    params.user = &c;
    if (failed(ctx, "estimate", mgen_generate_estimate(ctx, pipe, &params, &need)) ||
        failed(ctx, "start", mgen_generate_start(ctx, pipe, &params, &job)) ||
        failed(ctx, "wait", mgen_job_wait(job, -1)))
        bad = 1;
    if (!bad && failed(ctx, "info", mgen_job_get_info(job, &info)))
        bad = 1;
    if (!bad && (c.calls != STEPS || c.last != STEPS || info.done != STEPS || need.host_bytes == 0))
        bad = 1;
    if (!bad && streamed)
        printf("streamed %lu\n", (unsigned long)c.bytes);
    else if (!bad)
        bad = show_clip(ctx, job);
    mgen_job_destroy(job);
    return bad;
}

/* What it must not be allowed. */
static int refused(mgen_context *ctx, const mgen_pipeline *pipe)
{
    mgen_job *job = NULL;
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    params.prompt = "";
    mgen_status status = mgen_generate_start(ctx, pipe, &params, &job);
    printf("empty prompt %s, told %d\n", mgen_status_name(status), mgen_last_error(ctx)[0] != 0);
    return status != MGEN_E_INVALID || job != NULL || mgen_last_status(ctx) != status;
}

int main(int argc, char **argv)
{
    mgen_context *ctx = NULL;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_model_info model = MGEN_MODEL_INFO_INIT;
    int bad;
    if (argc != 2)
        return 2;
    params.threads = 2;
    params.allocator.alloc = take;
    params.allocator.free = give;
    if (mgen_context_create(&params, &ctx) != MGEN_OK)
        return 1;
    bad = failed(ctx, "open", mgen_pipeline_open(ctx, argv[1], &pipe));
    bad = bad || failed(ctx, "model", mgen_video_model_get_info(pipe.video, &model));
    printf("clip %u x %u x %u, %u channels, weights %016llx\n", pipe.width, pipe.height,
           pipe.frames, model.channels, (unsigned long long)mgen_pipeline_hash(&pipe));
    bad = bad || generate(ctx, &pipe, 0) || generate(ctx, &pipe, 1) || refused(ctx, &pipe);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
    return bad;
}
