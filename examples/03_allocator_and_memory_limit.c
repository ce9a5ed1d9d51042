/* SPDX-License-Identifier: MIT
 * The host's own allocator, a limit of memory, and a film of any length within it.
 *
 *     ./03_allocator_and_memory_limit MODEL [FRAMES]       600 frames if not said
 *
 * 1. A request that needs more than the limit is refused by its estimate: the allocator is hardly asked.
 * 2. A long film streams its frames: memory does not grow with it, but for its latents. (The last
 *    piece has another length than the others, and buffers of that length.) */
#include <moviegen.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { LIMIT_MIB = 256, EVERY = 60 };

/* Any thread of the library may come here. */
typedef struct counter {
    _Atomic long long now, peak; /* bytes */
} counter;

static void *count_alloc(void *user, size_t size)
{
    counter *c = user;
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!memory)
        return NULL; /* the call then returns MGEN_E_NO_MEMORY */
    long long now = atomic_fetch_add(&c->now, (long long)size) + (long long)size;
    long long peak = atomic_load(&c->peak);
    while (now > peak && !atomic_compare_exchange_weak(&c->peak, &peak, now))
        ;
    return memory;
}

static void count_free(void *user, void *memory, size_t size)
{
    counter *c = user;
    if (memory)
        atomic_fetch_sub(&c->now, (long long)size);
    free(memory);
}

static int32_t on_frames(void *user, uint64_t first, const mgen_frames *f)
{
    const mgen_context *ctx = user;
    for (uint64_t i = first + 1; i <= first + f->count; i++)
        if (i % EVERY == 0) {
            uint64_t now, peak;
            mgen_context_memory(ctx, &now, &peak); /* one of the calls for any thread */
            printf("frame %llu: now %llu KiB, peak %llu KiB\n", (unsigned long long)i,
                   (unsigned long long)now / 1024, (unsigned long long)peak / 1024);
        }
    return 0;
}

static mgen_status run(mgen_context *ctx, const mgen_pipeline *pipe,
                       const mgen_generate_params *params)
{
    mgen_job *job;
    mgen_status status = mgen_generate_start(ctx, pipe, params, &job);
    if (status == MGEN_OK)
        status = mgen_job_wait(job, -1);
    mgen_job_destroy(job);
    return status;
}

static mgen_status try_too_much(mgen_context *ctx, const mgen_pipeline *pipe, counter *c)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_estimate estimate = MGEN_ESTIMATE_INIT;
    params.prompt = "a red ball rolls left on grass";
    params.frames = 65536; /* kept as a clip, as there is no on_frames */
    mgen_status status = mgen_generate_estimate(ctx, pipe, &params, &estimate);
    if (status != MGEN_OK)
        return status;
    long long before = atomic_load(&c->now);
    atomic_store(&c->peak, before);
    status = run(ctx, pipe, &params);
    printf("%u frames as a clip need %llu MiB: %s: %s\n", params.frames,
           (unsigned long long)estimate.host_bytes >> 20, mgen_status_name(status),
           mgen_last_error(ctx));
    printf("allocated on the way: %lld KiB\n", (atomic_load(&c->peak) - before) / 1024);
    return status == MGEN_E_LIMIT ? MGEN_OK : MGEN_E_INTERNAL;
}

int main(int argc, char **argv)
{
    counter c = {0, 0};
    mgen_context *ctx;
    mgen_context_params settings = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL [FRAMES]\n", argv[0]);
        return 2;
    }
    settings.allocator = (mgen_allocator){count_alloc, count_free, &c};
    settings.host_memory_max = (uint64_t)LIMIT_MIB << 20;
    if (mgen_context_create(&settings, &ctx) != MGEN_OK)
        return 1;
    params.prompt = "a red ball rolls left on grass";
    params.frames = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 600;
    params.steps = 4;
    params.on_frames = on_frames;
    params.user = ctx;
    mgen_status status = mgen_pipeline_open(ctx, argv[1], &pipe);
    if (status == MGEN_OK)
        status = try_too_much(ctx, &pipe, &c);
    if (status == MGEN_OK)
        status = run(ctx, &pipe, &params);
    if (status != MGEN_OK)
        fprintf(stderr, "%s\n", mgen_last_error(ctx));
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
    printf("left in the allocator: %lld bytes\n", atomic_load(&c.now));
    return status != MGEN_OK;
}
