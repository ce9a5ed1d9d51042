/* SPDX-License-Identifier: MIT
 * Clips that look the same among many, by the index and, if wanted, by all pairs: time, memory, and what the index misses; and what is
 * left, in clusters.
 *
 *   bench_duplicates COUNT THREADS [all]
 *
 * Of the clips, which show coloured blocks that move, a fifth are earlier ones with so much noise that their likeness is between 0.8 and 1.
 * One JSON object a line. */
#include "core/alloc.h"
#include "core/philox.h"
#include "data/curate_groups.h"
#include "data/curate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIDE = 24, BLOCKS = 6, SEED = 5 };

static double draw(uint64_t clip, uint64_t what)
{
    return (double)mgi_random_unit(SEED, 1, clip * 4096 + what);
}

static double now_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Frame `frame` of the scene `scene`, with noise of `clip`'s own. */
static void picture(uint64_t scene, uint64_t clip, int frame, double noise, uint8_t *rgb)
{
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        rgb[i] = (uint8_t)(60.0 + 60.0 * draw(scene, (uint64_t)i % 3));
    for (uint64_t b = 0; b < BLOCKS; b++) {
        const double speed = draw(scene, 10 * b + 10) - 0.5;
        const int x = (int)(draw(scene, 10 * b + 11) * SIDE + speed * frame * 4.0);
        const int y = (int)(draw(scene, 10 * b + 12) * SIDE);
        const int w = 3 + (int)(draw(scene, 10 * b + 13) * 9),
                  h = 3 + (int)(draw(scene, 10 * b + 14) * 9);
        for (int v = y; v < y + h && v < SIDE; v++)
            for (int u = x < 0 ? 0 : x; u < x + w && u < SIDE; u++)
                for (int k = 0; k < 3; k++)
                    rgb[(v * SIDE + u) * 3 + k] =
                        (uint8_t)(240.0 * draw(scene, 10 * b + 15 + (uint64_t)k));
    }
    for (int i = 0; i < SIDE * SIDE * 3 && noise > 0.0; i++) {
        const double v =
            rgb[i] +
            noise * (draw(clip, 64 + (uint64_t)(frame * SIDE * SIDE * 3 + i) % 4000) - 0.5);
        rgb[i] = (uint8_t)(v < 0.0 ? 0.0 : v > 255.0 ? 255.0 : v);
    }
}

static void make_view(uint64_t clip, mgi_curate_view *view)
{
    static uint8_t rgb[SIDE * SIDE * 3];
    const bool copy = clip > 10 && draw(clip, 0) < 0.2;
    uint64_t scene = copy ? (uint64_t)(draw(clip, 1) * (double)clip) : clip;
    for (int k = 0; k < MGI_LIKE_FRAMES; k++) {
        picture(scene, clip, k, copy ? 110.0 * draw(clip, 2) : 0.0, rgb);
        mgi_look_like(rgb, SIDE, SIDE, view->like + k * (MGI_LIKE_SIZE / MGI_LIKE_FRAMES));
    }
    mgi_look_theme(rgb, SIDE, SIDE, view->theme);
}

static int64_t search(mgen_context *ctx, const mgi_curate_rules *rules, mgi_curate_clip *clips,
                      int64_t count, int threads, const char *name)
{
    static mgi_curate_film film;
    mgi_curate_member *members = calloc((size_t)count, sizeof *members);
    int64_t kept = count;
    for (int64_t i = 0; members && i < count; i++) {
        clips[i].same = -1;
        clips[i].fails = 0;
        members[i] = (mgi_curate_member){&film, &clips[i], i};
    }
    ctx->heap->peak = ctx->heap->now;
    const uint64_t before = ctx->heap->now;
    const double wall = now_seconds(CLOCK_MONOTONIC), cpu = now_seconds(CLOCK_PROCESS_CPUTIME_ID);
    if (!members || mgi_curate_find_duplicates(ctx, rules, members, &kept) != MGEN_OK)
        return -1;
    printf("{\"search\": \"%s\", \"clips\": %lld, \"threads\": %d, \"kept\": %lld, \"seconds\": "
           "%.2f, \"cpu_seconds\": %.2f, "
           "\"mib\": %.1f",
           name, (long long)count, threads, (long long)kept, now_seconds(CLOCK_MONOTONIC) - wall,
           now_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu,
           (double)(ctx->heap->peak - before) / (1 << 20));
    free(members);
    return kept;
}

/* Those that are left, in clusters. */
static bool resample(mgen_context *ctx, const mgi_curate_rules *rules, mgi_curate_clip *clips,
                     int64_t count, int threads)
{
    static mgi_curate_film film;
    mgi_curate_member *members = calloc((size_t)count, sizeof *members);
    int64_t kept = 0, clusters = 0;
    for (int64_t i = 0; members && i < count; i++)
        if (clips[i].same < 0) {
            clips[i].cluster = -1;
            members[kept++] = (mgi_curate_member){&film, &clips[i], i};
        }
    const double wall = now_seconds(CLOCK_MONOTONIC), cpu = now_seconds(CLOCK_PROCESS_CPUTIME_ID);
    if (!members || mgi_curate_resample(ctx, rules, members, kept, &clusters) != MGEN_OK)
        return false;
    printf("{\"clips\": %lld, \"threads\": %d, \"clusters\": %lld, \"seconds\": %.2f, "
           "\"cpu_seconds\": %.2f}\n",
           (long long)kept, threads, (long long)clusters, now_seconds(CLOCK_MONOTONIC) - wall,
           now_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    fflush(stdout);
    free(members);
    return true;
}

/* Clips that all pairs drop and the index keeps, and the other way around: of a pair that it missed both stay, and others may be like the second. */
static void compare(const mgi_curate_clip *clips, const int64_t *same, int64_t count)
{
    int64_t there = 0, lost = 0, more = 0, other = 0;
    for (int64_t i = 0; i < count; i++) {
        there += clips[i].same >= 0;
        lost += clips[i].same >= 0 && same[i] < 0;
        more += clips[i].same < 0 && same[i] >= 0;
        other += clips[i].same >= 0 && same[i] >= 0 && clips[i].same != same[i];
    }
    printf(", \"duplicates\": %lld, \"missed\": %lld, \"dropped_more\": %lld, \"of_another\": %lld",
           (long long)there, (long long)lost, (long long)more, (long long)other);
}

int main(int argc, char **argv)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    mgi_curate_rules rules;
    const int64_t count = argc > 1 ? atoll(argv[1]) : 0;
    params.threads = argc > 2 ? (uint32_t)atoi(argv[2]) : 0;
    if (count < 1 || !params.threads || mgi_context_init(&ctx, &params) != MGEN_OK) {
        fprintf(stderr, "bench_duplicates COUNT THREADS [all]\n");
        return 2;
    }
    mgi_curate_clip *clips = calloc((size_t)count, sizeof *clips);
    mgi_curate_view *views = calloc((size_t)count, sizeof *views);
    int64_t *same = calloc((size_t)count, sizeof *same);
    for (int64_t i = 0; clips && views && same && i < count; i++) {
        make_view((uint64_t)i, &views[i]);
        clips[i].view = &views[i];
    }
    mgi_curate_rules_report(&rules);
    rules.duplicate_pairs = 0.0;
    int64_t kept = search(ctx, &rules, clips, count, (int)params.threads, "index");
    printf("}\n");
    fflush(stdout);
    if (kept >= 0 && !resample(ctx, &rules, clips, count, (int)params.threads))
        kept = -1;
    for (int64_t i = 0; i < count; i++)
        same[i] = clips[i].same;
    if (argc > 3 && kept >= 0) {
        rules.duplicate_pairs = 1e12;
        kept = search(ctx, &rules, clips, count, (int)params.threads, "all pairs");
        compare(clips, same, count);
        printf("}\n");
    }
    mgi_context_free(ctx);
    free(clips);
    free(views);
    free(same);
    return kept < 0;
}
