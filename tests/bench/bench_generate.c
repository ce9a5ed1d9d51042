/* SPDX-License-Identifier: MIT
 * A generation timed from C, for bench_python.py to compare with: each line "clip" or "frames" on stdin
 * is one generation, answered with its seconds by the clock and of all processors.
 *
 *     bench_generate MODEL STEPS THREADS */
#include <moviegen.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What the Python side does with frames: keep a copy until the next. */
static int32_t take(void *user, uint64_t first, const mgen_frames *frames)
{
    size_t size = (size_t)frames->count * frames->height * frames->width * 3;
    void **copy = user;
    (void)first;
    free(*copy);
    *copy = malloc(size);
    if (!*copy)
        return 1;
    memcpy(*copy, frames->plane[0], size);
    return 0;
}

static mgen_status generate(mgen_context *ctx, const mgen_pipeline *pipe, uint32_t steps,
                            bool frames)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_job *job = NULL;
    mgen_clip *clip = NULL;
    void *copy = NULL;
    params.prompt = "a red ball rolls left on grass";
    params.steps = steps;
    params.on_frames = frames ? take : NULL;
    params.user = &copy;
    mgen_status status = mgen_generate_start(ctx, pipe, &params, &job);
    if (status == MGEN_OK)
        status = mgen_job_wait(job, -1);
    if (status == MGEN_OK && !frames)
        status = mgen_job_take_clip(job, &clip);
    mgen_clip_destroy(clip);
    mgen_job_destroy(job);
    free(copy);
    return status;
}

int main(int argc, char **argv)
{
    mgen_context_params settings = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context *ctx = NULL;
    char line[16];
    if (argc != 4)
        return 2;
    settings.threads = (uint32_t)atoi(argv[3]);
    if (mgen_context_create(&settings, &ctx) || mgen_pipeline_open(ctx, argv[1], &pipe)) {
        fprintf(stderr, "%s\n", mgen_last_error(ctx));
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        double begun = now(CLOCK_MONOTONIC), used = now(CLOCK_PROCESS_CPUTIME_ID);
        if (generate(ctx, &pipe, (uint32_t)atoi(argv[2]), !strncmp(line, "frames", 6))) {
            fprintf(stderr, "%s\n", mgen_last_error(ctx));
            return 1;
        }
        printf("%.6f %.6f\n", now(CLOCK_MONOTONIC) - begun, now(CLOCK_PROCESS_CPUTIME_ID) - used);
        fflush(stdout);
    }
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
    return 0;
}
