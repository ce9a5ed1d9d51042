/* SPDX-License-Identifier: MIT
 * Parts of models as large as the report's on one device, a run at a time, for tests/gpu/bench_model.py to compare with.
 * Each line on stdin is a command, answered with one line: seconds, operations, a loss (0: none), and the most bytes of
 * the device that were taken since the last model.
 *
 *   bench_models DEVICE FOLDER          MOVIEGEN_KERNELS: the variants that may be used
 *
 *   video LAYERS DIM HEADS FF_DIM T H W TOKENS  a video transformer of bf16 with random weights, for latents of
 *                                       T x H x W; the weights go to FOLDER (names, weights), from where
 *                                       inputs come (x, t, text, target: f32) and where results go to (result)
 *   deep LAYERS DIM HEADS FF_DIM T H W TOKENS   the same, of which only the bf16 weights are kept, and not in a file
 *   forward | backward | step           a velocity; it and the gradients; and the optimizer
 *   tae C0 C1 C2 C3 T H W               a decoder of bf16, for latents of T x H x W (file: latents)
 *   decode
 *   attention TOKENS HEADS WIDTH        bf16; self-attention of random values (file: qkv, result),
 *   attention-grad TOKENS HEADS WIDTH   and both directions
 *   product ROWS COLUMNS DEPTH          of bf16 (files: x, w)
 *   norm | gate | glu ROWS DIM          norm and modulation; gated residual; SwiGLU: of random bf16
 *   close                               gives memory back
 *
 * What passes through files is short, as these sizes would take longer to write and read than to compute: a file that is
 * shorter than its tensor is repeated in it, on the device; of a result the first values are written; and of a
 * weight of more than PATTERN values the first ones, which are repeated in it.
 */
#include "core/alloc.h"
#include "core/philox.h"
#include "kernels/glu/glu.h"
#include "kernels/loss/loss.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/random/random.h"
#include "model/model_file.h"
#include "task/codec.h"
#include "train/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NUMBERS = 8, PIECE = 1 << 20, STEPS = 1 << 20, RESULT_MOST = 32 << 20, LAYERS_MOST = 64 };
/* A prime, so that no two rows of a weight are alike. */
enum { PATTERN = 1048573 };

typedef struct bench {
    mgen_context *ctx;
    const char *folder;
    mgi_vt video;
    mgi_vt layer[LAYERS_MOST]; /* deep: video's blocks are theirs */
    mgi_tae tae;
    mgi_optimizer optimizer;
    int64_t steps;
    int64_t grid[3], tokens;
    double seconds;
    float value;
} bench;

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* -- files ------------------------------------------------------------------------------------ */

static FILE *open_file(const bench *b, const char *name, const char *mode)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", b->folder, name);
    return fopen(path, mode);
}

/* Its first `have` values again and again: twice, four times as many, ... */
static mgen_status repeat(T *t, int64_t have)
{
    for (int64_t n; have < t->count; have += n) {
        n = have < t->count - have ? have : t->count - have;
        mgk_pointwise_args copy = {
            .x = mgi_buf(t), .y = mgi_buf_from(mgi_buf(t), have), .count = n, .alpha = 1.0f};
        MGI_TRY(mgi_launch(t->storage->dev, MGK_OP_axpby, &copy));
    }
    return MGEN_OK;
}

/* The first `count` values of a tensor f32 from a file or to one; how many there were. */
static int64_t move(T *t, FILE *f, int64_t count, float *piece, bool in)
{
    int64_t at = 0, moved = 1;
    for (; at < count && moved > 0; at += moved) {
        size_t n = (size_t)(count - at < PIECE ? count - at : PIECE);
        if (!in)
            mgi_tensor_read(t, at, piece, (int64_t)n);
        moved =
            (int64_t)(in ? fread(piece, sizeof *piece, n, f) : fwrite(piece, sizeof *piece, n, f));
        if (in && moved > 0)
            mgi_tensor_write(t, at, piece, moved);
    }
    return at;
}

static mgen_status move_file(const bench *b, const char *name, T *t, bool in)
{
    float *piece;
    FILE *f = open_file(b, name, in ? "rb" : "wb");
    if (!f)
        return mgi_fail(b->ctx, MGEN_E_IO, "%s cannot be opened", name);
    mgen_status status = mgi_alloc(b->ctx, PIECE * sizeof *piece, &piece);
    int64_t count = in || t->count < RESULT_MOST ? t->count : RESULT_MOST;
    int64_t moved = status == MGEN_OK ? move(t, f, count, piece, in) : 0;
    mgi_free(b->ctx, piece);
    if (status == MGEN_OK && (in ? moved == 0 : moved < count))
        status = mgi_fail(b->ctx, MGEN_E_IO, "%s is empty, or the disk is full", name);
    if (fclose(f) && status == MGEN_OK)
        status = mgi_fail(b->ctx, MGEN_E_IO, "%s cannot be written", name);
    if (status == MGEN_OK && in)
        status = repeat(t, moved);
    return status == MGEN_OK ? mgi_device_wait(b->ctx->device) : status;
}

static T *input(const bench *b, mgi_run *run, const char *name, int rank, const int64_t *dims)
{
    T *x = mgi_new(run, MGK_F32, rank, dims);
    return x && mgi_ok(run, move_file(b, name, x, true)) ? x : NULL;
}

static void result(const bench *b, mgi_run *run, T *y)
{
    T *values = mgi_cast(run, y, MGK_F32);
    if (values)
        mgi_ok(run, move_file(b, "result", values, false));
}

/* -- timing ----------------------------------------------------------------------------------- */

static void begin(bench *b, mgi_run *run)
{
    mgi_ok(run, mgi_device_wait(run->dev));
    b->seconds = -now_seconds();
}

static void end(bench *b, mgi_run *run)
{
    mgi_ok(run, mgi_device_wait(run->dev));
    b->seconds += now_seconds();
}

/* -- models ----------------------------------------------------------------------------------- */

static void close_models(bench *b)
{
    mgi_optimizer_finish(&b->optimizer);
    mgi_vt_finish(&b->video);
    for (int i = 0; i < LAYERS_MOST; i++)
        if (b->layer[i].block)
            mgi_vt_finish(&b->layer[i]);
    memset(b->layer, 0, sizeof b->layer);
    mgi_tae_finish(&b->tae);
    memset(&b->video, 0, sizeof b->video);
    memset(&b->tae, 0, sizeof b->tae);
    mgi_device_trim(b->ctx->device);
    b->ctx->device->counts.held_peak = b->ctx->device->counts.held;
}

static void write_tae(mgi_json_writer *w, const void *config)
{
    mgi_tae_config_write(w, config);
}

static const mgi_optimizer_recipe recipe = {.lr = 1e-4,
                                            .lr_final = 1.0,
                                            .schedule = MGI_LR_CONSTANT,
                                            .beta1 = 0.9,
                                            .beta2 = 0.95,
                                            .eps = 1e-8,
                                            .weight_decay = 0.01,
                                            .clip = 0.5};

/* Random weights leave it 0, and all that is asked for would be. */
static mgen_status open_head(bench *b)
{
    T *head = b->video.head->value;
    float *values;
    MGI_TRY(mgi_alloc(b->ctx, (size_t)head->count * sizeof *values, &values));
    for (int64_t i = 0; i < head->count; i++)
        values[i] = 0.02f * mgi_random_normal(1, 1, (uint64_t)i);
    mgi_tensor_write(head, 0, values, head->count);
    mgi_free(b->ctx, values);
    return mgi_device_wait(b->ctx->device);
}

static mgi_vt_config begin_video(bench *b, const int64_t n[NUMBERS], int64_t layers)
{
    close_models(b);
    memcpy(b->grid, n + 4, sizeof b->grid);
    b->tokens = n[7];
    return (mgi_vt_config){.layers = layers,
                           .dim = n[1],
                           .heads = n[2],
                           .ff_dim = n[3],
                           .channels = 16,
                           .patch_t = 1,
                           .patch_h = 2,
                           .patch_w = 2,
                           .frames_max = n[4],
                           .rows_max = n[5] / 2,
                           .columns_max = n[6] / 2,
                           .text = {64},
                           .time_dim = 256};
}

/* Of a model whose products read bf16 copies: the masters, and all that is in its block, or all that is not. */
static void keep_copies(mgi_vt *vt, bool of_block)
{
    for (int64_t i = 0; i < vt->module.count; i++) {
        mgi_param *p = vt->module.params[i];
        if (!strncmp(p->name, "block", 5) != of_block) {
            mgi_tensor_release(p->value);
            mgi_tensor_release(p->compute);
            p->value = p->compute = NULL;
        } else if (p->compute) {
            mgi_tensor_release(p->value);
            p->value = p->compute;
            p->compute = NULL;
        }
    }
}

/* One model of one layer for each layer, whose masters go as soon as there are copies of bf16. */
static mgen_status open_layer(bench *b, const mgi_vt_config *config, mgi_vt *vt, uint64_t seed)
{
    MGI_TRY(mgi_vt_init(vt, b->ctx, config));
    MGI_TRY(mgi_vt_random(vt, seed));
    MGI_TRY(mgi_module_compute(&vt->module, MGK_BF16));
    keep_copies(vt, true);
    return MGEN_OK;
}

/* They have one after the other; what comes before and behind them is the first one's. */
static mgen_status open_deep(bench *b, const int64_t n[NUMBERS])
{
    const mgi_vt_config config = begin_video(b, n, 1);
    if (n[0] < 1 || n[0] > LAYERS_MOST)
        return mgi_fail(b->ctx, MGEN_E_INVALID, "at most %d layers", LAYERS_MOST);
    MGI_TRY(mgi_vt_init(&b->video, b->ctx, &config));
    MGI_TRY(mgi_vt_random(&b->video, 1));
    MGI_TRY(open_head(b));
    MGI_TRY(mgi_module_compute(&b->video.module, MGK_BF16));
    keep_copies(&b->video, false);
    mgi_free(b->ctx, b->video.block);
    b->video.block = NULL;
    MGI_TRY(mgi_alloc_zero(b->ctx, (size_t)n[0], sizeof *b->video.block, &b->video.block));
    b->video.config.layers = n[0];
    for (int64_t i = 0; i < n[0]; i++) {
        MGI_TRY(open_layer(b, &config, &b->layer[i], (uint64_t)i + 2));
        b->video.block[i] = b->layer[i].block[0];
    }
    /* What the masters took is not counted: a model that is loaded for requests has none. */
    mgi_device_trim(b->ctx->device);
    b->ctx->device->counts.held_peak = b->ctx->device->counts.held;
    return mgi_device_wait(b->ctx->device);
}

/* Names and shapes, and in `weights` the first values of each. */
static mgen_status give_weights(bench *b, mgi_module *m, const char *list)
{
    FILE *names = open_file(b, list, "w"), *values = open_file(b, "weights", "wb");
    float *piece;
    mgen_status status = mgi_alloc(b->ctx, PIECE * sizeof *piece, &piece);
    if (status == MGEN_OK && (!names || !values))
        status = mgi_fail(b->ctx, MGEN_E_IO, "the weights' files cannot be opened");
    for (int64_t i = 0; i < m->count && status == MGEN_OK; i++) {
        const mgi_param *p = m->params[i];
        int64_t count = p->value->count < PATTERN ? p->value->count : PATTERN;
        status = repeat(p->value, count);
        if (status == MGEN_OK && move(p->value, values, count, piece, false) < count)
            status = mgi_fail(b->ctx, MGEN_E_IO, "the disk is full");
        fprintf(names, "%s %lld", p->name, (long long)count);
        for (int k = 0; k < p->rank; k++)
            fprintf(names, " %lld", (long long)p->dims[k]);
        fprintf(names, "\n");
    }
    mgi_free(b->ctx, piece);
    if (names)
        fclose(names);
    if (values && fclose(values) && status == MGEN_OK)
        status = mgi_fail(b->ctx, MGEN_E_IO, "the weights cannot be written");
    return status;
}

static mgen_status open_video(bench *b, const int64_t n[NUMBERS])
{
    const mgi_vt_config config = begin_video(b, n, n[0]);
    mgi_module *m = &b->video.module;
    MGI_TRY(mgi_vt_init(&b->video, b->ctx, &config));
    MGI_TRY(mgi_vt_random(&b->video, 1));
    MGI_TRY(open_head(b));
    MGI_TRY(give_weights(b, m, "names"));
    MGI_TRY(mgi_module_train(m));
    MGI_TRY(mgi_module_compute(m, MGK_BF16));
    return mgi_optimizer_init(&b->optimizer, b->ctx, &recipe, STEPS, &m, 1);
}

static mgen_status run_video(bench *b, bool learns, bool steps)
{
    const mgi_vt *vt = &b->video;
    const int64_t dims[5] = {1, b->grid[0], b->grid[1], b->grid[2], vt->config.channels}, one = 1;
    mgi_run run;
    mgi_run_init(&run, b->ctx, learns);
    T *x = input(b, &run, "x", 5, dims), *target = input(b, &run, "target", 5, dims);
    T *t = input(b, &run, "t", 1, &one);
    const mgi_vt_text text = {{input(b, &run, "text", MGI_DIMS(1, b->tokens, vt->config.text[0]))}};
    if (learns && run.status == MGEN_OK)
        mgi_module_zero_grad(&b->video.module, &run);
    begin(b, &run);
    T *y = mgi_vt_forward(&run, vt, x, t, &text), *loss = NULL;
    if (learns) {
        loss = mgi_loss(&run, MGK_LOSS_MSE, 1.0f, y, target);
        mgi_backward(&run, loss);
    }
    if (steps && run.status == MGEN_OK)
        mgi_optimizer_step(&b->optimizer, &run, b->steps++);
    end(b, &run);
    if (loss && run.status == MGEN_OK)
        mgi_tensor_read(loss, 0, &b->value, 1);
    if (!learns)
        result(b, &run, y);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

static mgen_status open_tae(bench *b, const int64_t n[NUMBERS])
{
    const mgi_tae_config config = {.levels = 4,
                                   .channels = {n[0], n[1], n[2], n[3]},
                                   .latent_channels = 16,
                                   .blocks = 1,
                                   .temporal = true};
    close_models(b);
    memcpy(b->grid, n + 4, sizeof b->grid);
    MGI_TRY(mgi_tae_init(&b->tae, b->ctx, &config));
    MGI_TRY(mgi_module_random(&b->tae.module, 1));
    MGI_TRY(mgi_model_file_save(b->ctx, b->folder, "tae", "tae", write_tae, &config, &b->tae.module,
                                MGI_ST_BF16));
    return mgi_module_compute(&b->tae.module, MGK_BF16);
}

/* The first values go into the result: a whole film has gigabytes, and writing them is no part of decoding. */
static mgen_status take_frames(void *user, const mgi_frames_box *box, float *rgb)
{
    size_t n = (size_t)(box->count * box->height * box->width * 3);
    if (ftell(user) >= (long)RESULT_MOST)
        return MGEN_OK;
    return fwrite(rgb, sizeof *rgb, n, user) == n ? MGEN_OK : MGEN_E_IO;
}

static mgen_status decode(bench *b)
{
    const int64_t dims[4] = {b->grid[0], b->grid[1], b->grid[2], 16};
    size_t count = (size_t)(dims[0] * dims[1] * dims[2] * dims[3]);
    float *z;
    FILE *in = open_file(b, "latents", "rb"), *out = open_file(b, "result", "wb");
    mgen_status status = mgi_alloc(b->ctx, count * sizeof *z, &z);
    if (!in || !out || (status == MGEN_OK && fread(z, sizeof *z, count, in) != count))
        status = mgi_fail(b->ctx, MGEN_E_IO, "latents cannot be read or the result not written");
    b->seconds = -now_seconds();
    if (status == MGEN_OK)
        status = mgi_decode_film(b->ctx, &b->tae, z, dims, 0, 0, take_frames, out);
    b->seconds += now_seconds();
    mgi_free(b->ctx, z);
    if (in)
        fclose(in);
    if (out && fclose(out) && status == MGEN_OK)
        status = mgi_fail(b->ctx, MGEN_E_IO, "the result cannot be written");
    return status;
}

/* -- single ops ------------------------------------------------------------------------------- */

static T *variable(mgi_run *run, T *x, bool learns)
{
    x = mgi_cast(run, x, MGK_BF16);
    if (x && learns)
        mgi_ok(run, mgi_var_create(run->dev, MGK_BF16, x->count, false, &x->var));
    return x;
}

static mgen_status attention(bench *b, const int64_t n[NUMBERS], bool learns)
{
    mgi_run run;
    mgi_run_init(&run, b->ctx, learns);
    T *x = variable(&run, input(b, &run, "qkv", MGI_DIMS(1, n[0], 3, n[1], n[2])), learns);
    T *up = learns ? mgi_random(&run, MGK_RANDOM_NORMAL, 2, 1, 0, 1.0f, 0.0f,
                                MGI_DIMS(n[0] * n[1] * n[2]))
                   : NULL;
    up = up ? mgi_cast(&run, up, MGK_BF16) : NULL;
    begin(b, &run);
    T *y = mgi_self_attention(&run, x, NULL, NULL, 1.0f / sqrtf((float)n[2]));
    if (learns && y && up) {
        y->var->grad = mgi_tensor_retain(up);
        T *zero = mgi_new(&run, MGK_F32, MGI_DIMS(1));
        mgi_fill(&run, zero, 0.0f);
        mgi_ok(&run, mgi_var_create(run.dev, MGK_F32, 1, false, &zero->var));
        mgi_backward(&run, zero);
    }
    end(b, &run);
    if (!learns)
        result(b, &run, y);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

static mgen_status product(bench *b, const int64_t n[NUMBERS])
{
    mgi_run run;
    mgi_run_init(&run, b->ctx, false);
    T *x = mgi_cast(&run, input(b, &run, "x", MGI_DIMS(1, n[0], n[2])), MGK_BF16);
    T *w = mgi_cast(&run, input(b, &run, "w", MGI_DIMS(n[1], n[2])), MGK_BF16);
    begin(b, &run);
    T *y = mgi_linear(&run, x, w, NULL);
    end(b, &run);
    result(b, &run, y);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

static T *elementwise(mgi_run *run, const char *what, T *x, T *h, T *mod)
{
    if (!strcmp(what, "glu"))
        return mgi_glu(run, x, MGK_GLU_SILU);
    if (!strcmp(what, "gate"))
        return mgi_gated_residual(run, x, h, mod, 0);
    return mgi_norm(run, x,
                    (mgi_norm_options){.kind = MGK_NORM_RMS, .eps = 1e-5f, .mod = mod, .shift = 1});
}

static mgen_status rows(bench *b, const char *what, const int64_t n[NUMBERS])
{
    mgi_run run;
    mgi_run_init(&run, b->ctx, false);
    T *x = mgi_cast(&run, input(b, &run, "x", MGI_DIMS(1, n[0], n[1])), MGK_BF16);
    T *h = mgi_cast(&run, input(b, &run, "h", MGI_DIMS(1, n[0], n[1])), MGK_BF16);
    T *mod = input(b, &run, "mod", MGI_DIMS(1, 2, n[1]));
    begin(b, &run);
    T *y = elementwise(&run, what, x, h, mod);
    end(b, &run);
    result(b, &run, y);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

/* -- commands --------------------------------------------------------------------------------- */

static mgen_status obey(bench *b, const char *what, const int64_t n[NUMBERS])
{
    if (!strcmp(what, "video"))
        return open_video(b, n);
    if (!strcmp(what, "deep"))
        return open_deep(b, n);
    if (!strcmp(what, "forward") || !strcmp(what, "backward") || !strcmp(what, "step"))
        return run_video(b, what[0] != 'f', what[0] == 's');
    if (!strcmp(what, "tae"))
        return open_tae(b, n);
    if (!strcmp(what, "decode"))
        return decode(b);
    if (!strncmp(what, "attention", 9))
        return attention(b, n, what[9] != '\0');
    if (!strcmp(what, "product"))
        return product(b, n);
    if (!strcmp(what, "norm") || !strcmp(what, "gate") || !strcmp(what, "glu"))
        return rows(b, what, n);
    if (strcmp(what, "close"))
        return mgi_fail(b->ctx, MGEN_E_INVALID, "there is no command %s", what);
    close_models(b);
    return MGEN_OK;
}

static bool answer(bench *b, const char *line)
{
    char what[32];
    int64_t n[NUMBERS] = {0};
    int used = 0;
    double flops = b->ctx->device->counts.flops;
    if (sscanf(line, "%31s%n", what, &used) != 1)
        return false;
    for (int i = 0, more;
         i < NUMBERS && sscanf(line += used, "%lld%n", (long long *)&n[i], &more) == 1; i++)
        used = more;
    b->seconds = 0.0;
    b->value = 0.0f;
    if (obey(b, what, n) != MGEN_OK) {
        printf("failed %s\n", mgen_last_error(b->ctx));
        close_models(b);
    } else {
        printf("%.9f %.0f %.9g %llu\n", b->seconds, b->ctx->device->counts.flops - flops,
               (double)b->value, (unsigned long long)b->ctx->device->counts.held_peak);
    }
    return !fflush(stdout);
}

int main(int argc, char **argv)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    char line[1200], why[300] = "";
    bench b = {0};
    if (argc != 3)
        return 2;
    params.device = argv[1];
    params.kernels = getenv("MOVIEGEN_KERNELS");
    params.autotune = getenv("MOVIEGEN_AUTOTUNE") != NULL;
    params.error_text = why;
    params.error_size = sizeof why;
    b.folder = argv[2];
    if (mgen_context_create(&params, &b.ctx) != MGEN_OK) {
        fprintf(stderr, "bench_models: %s\n", why);
        return 1;
    }
    while (fgets(line, sizeof line, stdin) && answer(&b, line))
        ;
    close_models(&b);
    mgen_context_destroy(b.ctx);
    return 0;
}
