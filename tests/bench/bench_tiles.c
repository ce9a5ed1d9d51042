/* SPDX-License-Identifier: MIT
 * What large frames take to decode, whole and in spatial tiles: memory, work and, if wanted, time.
 *
 *   bench_tiles toybox|ldm|ldm-no-norm WIDTH HEIGHT LATENT_FRAMES [run]
 *
 * Without `run` on shapes alone, which counts the same memory. One JSON object a line. */
#include "core/philox.h"
#include "task/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const mgi_tae_config toybox = {.levels = 4,
                                      .channels = {16, 48, 96, 128},
                                      .latent_channels = 16,
                                      .blocks = 1,
                                      .temporal = true};
static const mgi_tae_config ldm = {.levels = 4,
                                   .channels = {128, 256, 512, 512},
                                   .latent_channels = 16,
                                   .blocks = 2,
                                   .temporal = true,
                                   .groups = 32};

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static mgen_status drop(void *user, const mgi_frames_box *box, float *rgb)
{
    (void)user;
    (void)box;
    (void)rgb;
    return MGEN_OK;
}

/* whole: the work of frames that are not cut, for the ratio. */
static mgen_status decode(mgen_context *ctx, const mgi_tae *tae, const float *z,
                          const int64_t dims[4], int64_t tile, double *whole)
{
    mgi_device_counts *c = &ctx->device->counts;
    mgi_device_trim(ctx->device);
    c->held_peak = c->held;
    uint64_t before = c->held;
    double flops = c->flops, start = now_seconds();
    mgen_status status = mgi_decode_film(ctx, tae, z, dims, 0, tile, drop, NULL);
    flops = c->flops - flops;
    *whole = tile ? *whole : flops;
    if (status == MGEN_OK)
        printf(
            "{\"tile\": %lld, \"mib\": %.0f, \"tflop\": %.3f, \"work\": %.2f, \"seconds\": %.2f}\n",
            (long long)tile, (double)(c->held_peak - before) / (1 << 20), flops * 1e-12,
            flops / *whole, now_seconds() - start);
    fflush(stdout);
    return status;
}

int main(int argc, char **argv)
{
    static const int64_t tiles[] = {0, 512, 256, 128};
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    mgi_tae tae;
    bool runs = argc == 6 && !strcmp(argv[5], "run");
    if (argc < 5 || (argc > 5 && !runs)) {
        fprintf(stderr,
                "usage: bench_tiles toybox|ldm|ldm-no-norm WIDTH HEIGHT LATENT_FRAMES [run]\n");
        return 2;
    }
    mgi_tae_config config = strcmp(argv[1], "toybox") ? ldm : toybox;
    if (!strcmp(argv[1], "ldm-no-norm"))
        config.groups = 0;
    const int64_t dims[4] = {atoi(argv[4]), atoi(argv[3]) / 8, atoi(argv[2]) / 8, 16};
    params.device = "cpu";
    params.threads = 1;
    if (mgen_context_create(&params, &ctx) != MGEN_OK)
        return 1;
    if (!runs)
        mgi_device_make_meta(ctx->device);
    size_t count = (size_t)(dims[0] * dims[1] * dims[2] * dims[3]);
    float *z = runs ? malloc(count * sizeof *z) : NULL;
    for (size_t i = 0; z && i < count; i++)
        z[i] = mgi_random_normal(1, 2, i);
    mgen_status status = mgi_tae_init(&tae, ctx, &config);
    if (status == MGEN_OK) {
        double whole = 0;
        for (size_t i = 0; i < sizeof tiles / sizeof tiles[0] && status == MGEN_OK; i++)
            status = decode(ctx, &tae, z, dims, tiles[i], &whole);
        mgi_tae_finish(&tae);
    }
    if (status != MGEN_OK)
        fprintf(stderr, "bench_tiles: %s\n", mgen_last_error(ctx));
    free(z);
    mgen_context_destroy(ctx);
    return status != MGEN_OK;
}
