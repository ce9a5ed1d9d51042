/* SPDX-License-Identifier: MIT
 * The networks of a model folder, one run at a time, for torch_compare.py to compare with: each line on stdin, "WHAT
 * DTYPE" or "WHAT DTYPE FILE", is one run, answered with its seconds of the processor, its operations and, for
 * training, its loss. FILE receives the result.
 *
 *   bench_networks MODEL INPUTS         MOVIEGEN_KERNELS: the variants that may be used
 *
 * WHAT: velocity (of a batch), train (one step of the video transformer on it), or the file of a film's latents to
 * decode. INPUTS: the folder of x, t, text, target and latents, each f32 of the shapes below. One thread. */
#include "kernels/loss/loss.h"
#include "task/codec.h"
#include "task/pipeline.h"
#include "tensor/device.h"
#include "train/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 48, FRAMES = 4, SIDE = 8, TOKENS = 32, DTYPES = 2, STEPS = 1 << 20 };

typedef struct bench {
    mgen_context *ctx;
    const char *model, *inputs;
    mgi_vt trained[DTYPES], video[DTYPES];
    mgi_tae tae[DTYPES];
    mgi_optimizer optimizer[DTYPES];
    int64_t steps[DTYPES];
} bench;

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool read_floats(const bench *b, const char *name, float *values, int64_t count)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", b->inputs, name);
    FILE *f = fopen(path, "rb");
    bool good = f && fread(values, sizeof *values, (size_t)count, f) == (size_t)count;
    if (f)
        fclose(f);
    return good;
}

static bool write_floats(const char *path, const float *values, int64_t count)
{
    FILE *f = fopen(path, "wb");
    bool good = f && fwrite(values, sizeof *values, (size_t)count, f) == (size_t)count;
    return f && !fclose(f) && good;
}

static T *input(const bench *b, mgi_run *run, const char *name, int rank, const int64_t *dims)
{
    T *x = mgi_new(run, MGK_F32, rank, dims);
    mgi_require(run, x && read_floats(b, name, mgi_f32(x), x->count), "an input cannot be read");
    return x;
}

static const mgi_optimizer_recipe recipe = {.lr = 1e-4,
                                            .lr_final = 1.0,
                                            .schedule = MGI_LR_CONSTANT,
                                            .beta1 = 0.9,
                                            .beta2 = 0.95,
                                            .eps = 1e-8,
                                            .weight_decay = 0.01,
                                            .clip = 0.5,
                                            .ema = 0.999};

static mgen_status open_all(bench *b, int32_t dtype)
{
    mgi_module *trained = &b->trained[dtype].module;
    uint64_t hash;
    MGI_TRY(mgi_vt_open(b->ctx, b->model, "video_model", &b->video[dtype], &hash));
    MGI_TRY(mgi_module_compute(&b->video[dtype].module, dtype));
    MGI_TRY(mgi_tae_open(b->ctx, b->model, "tae", &b->tae[dtype], &hash));
    MGI_TRY(mgi_module_compute(&b->tae[dtype].module, dtype));
    MGI_TRY(mgi_vt_open(b->ctx, b->model, "video_model", &b->trained[dtype], &hash));
    MGI_TRY(mgi_module_train(trained));
    MGI_TRY(mgi_module_compute(trained, dtype));
    return mgi_optimizer_init(&b->optimizer[dtype], b->ctx, &recipe, STEPS, &trained, 1);
}

static void close_all(bench *b)
{
    for (int i = 0; i < DTYPES; i++) {
        mgi_optimizer_finish(&b->optimizer[i]);
        mgi_vt_finish(&b->trained[i]);
        mgi_vt_finish(&b->video[i]);
        mgi_tae_finish(&b->tae[i]);
    }
    mgen_context_destroy(b->ctx);
}

/* The velocity of a batch, or a step of training on it; *value: its loss. */
static mgen_status transformer(bench *b, bool trains, int32_t dtype, const char *file,
                               double *seconds, float *value)
{
    const mgi_vt *vt = trains ? &b->trained[dtype] : &b->video[dtype];
    const int64_t dims[5] = {BATCH, FRAMES, SIDE, SIDE, vt->config.channels}, batch = BATCH;
    mgi_run run;
    mgi_run_init(&run, b->ctx, trains);
    T *x = input(b, &run, "x", 5, dims), *target = input(b, &run, "target", 5, dims);
    T *t = input(b, &run, "t", 1, &batch);
    const mgi_vt_text text = {{input(b, &run, "text", MGI_DIMS(BATCH, TOKENS, vt->config.text[0]))},
                              {NULL}};
    *seconds = -now_seconds();
    if (trains)
        mgi_module_zero_grad(&b->trained[dtype].module, &run);
    T *y = mgi_vt_forward(&run, vt, x, t, &text);
    if (trains) {
        T *loss = mgi_loss(&run, MGK_LOSS_MSE, 1.0f, y, target);
        *value = loss ? mgi_f32(loss)[0] : NAN;
        mgi_backward(&run, loss);
        mgi_optimizer_step(&b->optimizer[dtype], &run, b->steps[dtype]++);
    }
    *seconds += now_seconds();
    if (run.status == MGEN_OK && !trains && *file)
        mgi_require(&run, write_floats(file, mgi_f32(y), y->count), "a result cannot be written");
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

typedef struct film {
    float *rgb;
    int64_t size; /* of a frame */
} film;

static mgen_status take(void *user, const mgi_frames_box *box, float *rgb)
{
    film *f = user;
    memcpy(f->rgb + box->first * f->size, rgb, (size_t)(box->count * f->size) * sizeof *rgb);
    return MGEN_OK;
}

/* Latents of a film of `side` pixels, as the library decodes it. */
static mgen_status decode(bench *b, const char *name, int64_t side, int32_t dtype, const char *file,
                          double *seconds)
{
    const mgi_tae *tae = &b->tae[dtype];
    const int64_t dims[4] = {FRAMES, side / 8, side / 8, tae->config.latent_channels};
    int64_t frames = FRAMES * mgi_tae_time_factor(&tae->config);
    film f = {.size = side * side * 3};
    int64_t latents = dims[0] * dims[1] * dims[2] * dims[3], pixels = frames * f.size;
    float *z = malloc((size_t)(latents + pixels) * sizeof *z);
    if (!z || !read_floats(b, name, z, latents)) {
        free(z);
        return MGEN_E_IO;
    }
    f.rgb = z + latents;
    *seconds = -now_seconds();
    mgen_status status = mgi_decode_film(b->ctx, tae, z, dims, 0, 0, take, &f);
    *seconds += now_seconds();
    if (status == MGEN_OK && *file && !write_floats(file, f.rgb, pixels))
        status = MGEN_E_IO;
    free(z);
    return status;
}

static bool answer(bench *b, const char *line)
{
    char what[32], dtype[8], file[1024] = "";
    double seconds = 0, flops = -b->ctx->device->counts.flops;
    float value = 0;
    if (sscanf(line, "%31s %7s %1023s", what, dtype, file) < 2)
        return false;
    int32_t type = strcmp(dtype, "bf16") ? MGK_F32 : MGK_BF16;
    mgen_status status;
    if (!strcmp(what, "velocity") || !strcmp(what, "train"))
        status = transformer(b, !strcmp(what, "train"), type, file, &seconds, &value);
    else /* its name ends with its side */
        status = decode(b, what, atoi(what + strcspn(what, "0123456789")), type, file, &seconds);
    flops += b->ctx->device->counts.flops;
    printf("%.9f %.0f %.9g\n", seconds, flops, (double)value);
    return status == MGEN_OK && !fflush(stdout);
}

int main(int argc, char **argv)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    char line[1200];
    bench b = {0};
    if (argc != 3)
        return 2;
    b.model = argv[1];
    b.inputs = argv[2];
    params.threads = 1;
    params.kernels = getenv("MOVIEGEN_KERNELS");
    if (mgen_context_create(&params, &b.ctx) != MGEN_OK)
        return 1;
    bool good = open_all(&b, MGK_F32) == MGEN_OK && open_all(&b, MGK_BF16) == MGEN_OK;
    while (good && fgets(line, sizeof line, stdin))
        good = answer(&b, line);
    if (!good)
        fprintf(stderr, "bench_networks: %s\n", mgen_last_error(b.ctx));
    close_all(&b);
    return !good;
}
