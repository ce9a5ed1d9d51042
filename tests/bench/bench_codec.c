/* SPDX-License-Identifier: MIT
 * An audio codec from a folder of Hugging Face (DacModel), one run at a time, for dac_compare.py to compare with: each
 * line on stdin, "encode DTYPE", "decode DTYPE" or "train DTYPE", is one run, answered with its seconds of the processor
 * and its operations.
 *
 *   bench_codec DIR NAME SECONDS         MOVIEGEN_KERNELS: the variants that may be used
 *
 * A sound of so many seconds is encoded, and decoded, as the library does it; a step of training is forward and backward
 * of the mean squared error of 4 sounds of a fourth of that. One thread. */
#include "kernels/loss/loss.h"
#include "model/audio_codec_dac.h"
#include "task/audio_codec_run.h"
#include "tensor/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LATENT_CHANNELS = 64, BATCH = 4 };

typedef struct bench {
    mgen_context *ctx;
    mgi_audio_codec codec[2], trained[2]; /* f32, bf16 */
    int64_t samples, frames;
    float *sound, *latents;
} bench;

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static mgen_status open_one(bench *b, const mgi_audio_codec_dac *dac, int32_t dtype, bool train,
                            mgi_audio_codec *codec)
{
    mgi_audio_codec_config config = dac->config;
    config.latent_channels = LATENT_CHANNELS;
    mgen_status status = mgi_audio_codec_init(codec, b->ctx, &config);
    if (status == MGEN_OK)
        status = mgi_audio_codec_random(codec, 1);
    if (status == MGEN_OK)
        status = mgi_audio_codec_dac_load(codec, dac);
    if (status == MGEN_OK && train)
        status = mgi_module_train(&codec->module);
    return status == MGEN_OK ? mgi_module_compute(&codec->module, dtype) : status;
}

static mgen_status open_all(bench *b, const char *dir, const char *name, double seconds)
{
    static const int32_t dtypes[2] = {MGK_F32, MGK_BF16};
    mgi_audio_codec_dac dac;
    mgen_status status = mgi_audio_codec_dac_open(b->ctx, dir, name, &dac);
    if (status != MGEN_OK)
        return status;
    for (int i = 0; i < 2 && status == MGEN_OK; i++) {
        status = open_one(b, &dac, dtypes[i], false, &b->codec[i]);
        if (status == MGEN_OK)
            status = open_one(b, &dac, dtypes[i], true, &b->trained[i]);
    }
    mgi_audio_codec_dac_close(b->ctx, &dac);
    if (status != MGEN_OK)
        return status;
    const mgi_audio_codec_config *c = &b->codec[0].config;
    const int64_t hop = mgi_audio_codec_hop(c), step = BATCH * hop;
    b->samples = (int64_t)(seconds * (double)c->rate) / step * step;
    b->frames = b->samples / hop;
    b->sound = malloc((size_t)b->samples * sizeof *b->sound);
    b->latents = malloc((size_t)(b->frames * LATENT_CHANNELS) * sizeof *b->latents);
    if (!b->sound || !b->latents)
        return MGEN_E_NO_MEMORY;
    srand(1);
    for (int64_t i = 0; i < b->samples; i++)
        b->sound[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return MGEN_OK;
}

static void close_all(bench *b)
{
    for (int i = 0; i < 2; i++) {
        mgi_audio_codec_finish(&b->codec[i]);
        mgi_audio_codec_finish(&b->trained[i]);
    }
    free(b->sound);
    free(b->latents);
    mgen_context_destroy(b->ctx);
}

static mgen_status give(void *user, int64_t first, int64_t count, float *samples)
{
    memcpy(samples, ((bench *)user)->sound + first, (size_t)count * sizeof *samples);
    return MGEN_OK;
}

static mgen_status take(void *user, int64_t first, int64_t count, const float *samples)
{
    return user && first >= 0 && count > 0 && samples ? MGEN_OK : MGEN_E_INTERNAL;
}

static mgen_status train(bench *b, mgi_audio_codec *codec)
{
    mgi_run run;
    mgi_run_init(&run, b->ctx, true);
    mgi_module_zero_grad(&codec->module, &run);
    T *x = mgi_new(&run, MGK_F32, MGI_DIMS(BATCH, b->samples / BATCH, 1));
    if (x)
        memcpy(mgi_f32(x), b->sound, (size_t)b->samples * sizeof *b->sound);
    T *z = mgi_posterior(&run, mgi_audio_codec_encode(&run, codec, x), NULL, 0.0f, NULL);
    T *y = mgi_audio_codec_decode(&run, codec, z);
    mgi_backward(&run, mgi_loss(&run, MGK_LOSS_MSE, 1.0f, y, x));
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

static bool answer(bench *b, const char *line)
{
    char what[32], dtype[8];
    if (sscanf(line, "%31s %7s", what, dtype) != 2)
        return false;
    const int i = !strcmp(dtype, "bf16");
    mgi_audio_codec *codec = &b->codec[i];
    double flops = -b->ctx->device->counts.flops, seconds = -now_seconds();
    mgen_status status;
    if (!strcmp(what, "encode"))
        status = mgi_audio_encode_sound(b->ctx, codec, b->samples, give, b, b->latents);
    else if (!strcmp(what, "decode"))
        status = mgi_audio_decode_sound(b->ctx, codec, b->latents, b->frames, take, b);
    else
        status = train(b, &b->trained[i]);
    seconds += now_seconds();
    flops += b->ctx->device->counts.flops;
    printf("%.9f %.0f\n", seconds, flops);
    return status == MGEN_OK && !fflush(stdout);
}

int main(int argc, char **argv)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    char line[64];
    bench b = {0};
    if (argc != 4)
        return 2;
    params.threads = 1;
    params.kernels = getenv("MOVIEGEN_KERNELS");
    if (mgen_context_create(&params, &b.ctx) != MGEN_OK)
        return 1;
    bool good = open_all(&b, argv[1], argv[2], atof(argv[3])) == MGEN_OK;
    if (good)
        printf("%lld\n", (long long)b.samples);
    good = good && !fflush(stdout);
    while (good && fgets(line, sizeof line, stdin))
        good = answer(&b, line);
    if (!good)
        fprintf(stderr, "bench_codec: %s\n", mgen_last_error(b.ctx));
    close_all(&b);
    return !good;
}
