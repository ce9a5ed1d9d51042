/* SPDX-License-Identifier: MIT
 * The transformer block written by hand beside the chain of single ops: forward and backward of a training
 * step, alternating, the best of each, in time of the one thread that computes.
 *
 *   taskset -c 1 bench_block [rounds]      one thread; 5 rounds unless told
 */
#include "kernels/loss/loss.h"
#include "model/video_transformer.h"
#include "tensor/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct size {
    const char *name;
    int64_t batch, frames, side, dim, heads, ff_dim, text;
} size;

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool step(mgen_context *ctx, mgi_vt *vt, const size *s, double *seconds)
{
    mgi_run run;
    const int64_t dims[5] = {s->batch, s->frames, s->side, s->side, vt->config.channels};
    mgi_run_init(&run, ctx, true);
    mgi_module_zero_grad(&vt->module, &run);
    T *x = mgi_random(&run, 0, 1, 1, 0, 1.0f, 0.0f, 5, dims);
    T *v = mgi_random(&run, 0, 1, 2, 0, 1.0f, 0.0f, 5, dims);
    T *t = mgi_random(&run, 1, 1, 3, 0, 1.0f, 0.0f, 1, &s->batch);
    const mgi_vt_text text = {
        {mgi_random(&run, 0, 1, 4, 0, 1.0f, 0.0f, MGI_DIMS(s->batch, s->text, vt->config.text[0]))},
        {NULL}};
    double start = now_seconds();
    mgi_backward(&run,
                 mgi_loss(&run, MGK_LOSS_MSE, 1.0f, mgi_vt_forward(&run, vt, x, t, &text), v));
    double took = now_seconds() - start;
    bool good = run.status == MGEN_OK;
    mgi_run_finish(&run);
    if (took < *seconds)
        *seconds = took;
    return good;
}

static bool compare(mgen_context *ctx, const size *s, int32_t dtype, int rounds)
{
    const mgi_vt_config config = {.layers = 2,
                                  .dim = s->dim,
                                  .heads = s->heads,
                                  .ff_dim = s->ff_dim,
                                  .channels = 16,
                                  .patch_t = 1,
                                  .patch_h = 2,
                                  .patch_w = 2,
                                  .frames_max = s->frames,
                                  .rows_max = s->side,
                                  .columns_max = s->side,
                                  .text = {128},
                                  .time_dim = 256};
    mgi_vt vt;
    double best[2] = {1e9, 1e9}, flops = 0;
    if (mgi_vt_init(&vt, ctx, &config) != MGEN_OK)
        return false;
    bool good = mgi_vt_random(&vt, 1) == MGEN_OK && mgi_module_train(&vt.module) == MGEN_OK &&
                mgi_module_compute(&vt.module, dtype) == MGEN_OK;
    for (int i = 0; i < rounds && good; i++) {
        for (int form = MGI_BLOCK_COMPOSITE; form <= MGI_BLOCK_CHAINED && good; form++) {
            flops = -ctx->device->counts.flops;
            vt.form = form;
            good = step(ctx, &vt, s, &best[form]);
            flops += ctx->device->counts.flops;
        }
    }
    if (good)
        printf("%-28s %s: chained %8.2f ms, composite %8.2f ms (%.2f x), %.0f GFLOP/s\n", s->name,
               dtype == MGK_BF16 ? "bf16" : "f32 ", best[MGI_BLOCK_CHAINED] * 1e3,
               best[MGI_BLOCK_COMPOSITE] * 1e3, best[MGI_BLOCK_CHAINED] / best[MGI_BLOCK_COMPOSITE],
               flops / best[MGI_BLOCK_COMPOSITE] * 1e-9);
    mgi_vt_finish(&vt);
    return good;
}

int main(int argc, char **argv)
{
    static const size sizes[] = {
        {"toybox, batch 64", 64, 4, 8, 192, 6, 512, 64},
        {"dim 1024, 2,048 tokens", 1, 8, 32, 1024, 8, 2816, 128},
    };
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    int rounds = argc > 1 ? atoi(argv[1]) : 5;
    params.threads = 1;
    if (mgen_context_create(&params, &ctx) != MGEN_OK)
        return 1;
    bool good = true;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int dtype = MGK_F32; dtype <= MGK_BF16; dtype++)
            good = compare(ctx, &sizes[i], dtype, rounds) && good;
    mgen_context_destroy(ctx);
    return !good;
}
