/* SPDX-License-Identifier: MIT
 * A context on a GPU: names, copies, limits, failures, and that a network gives there what it gives on the CPU.
 * Where the GPU is emulated its faults can be planned; where there is none, only the refusals are seen. */
#include "tensor/ops.h"

#include "kernels/loss/loss.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/random/random.h"

#ifdef MGK_CUDA_EMULATED
#include "find_cudnn.h"
#include "model/text_encoder.h"
#include "task/codec.h"
#include "tiny_networks.h"
#include "kernels/emulated/cuda_runtime_emulated.h"
#endif

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool there(void)
{
    return mgi_cuda_count(NULL, 0) > 0;
}

static mgen_context *open_on(const char *device, uint64_t device_memory_max)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    char why[256];
    params.device = device;
    params.device_memory_max = device_memory_max;
    params.threads = 2;
    params.error_text = why;
    params.error_size = sizeof why;
    if (mgen_context_create(&params, &ctx) != MGEN_OK)
        fail_msg("%s: %s", device, why);
    return ctx;
}

static void refused(const char *device, const char *text)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    char why[256] = "";
    params.device = device;
    params.error_text = why;
    params.error_size = sizeof why;
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_E_UNSUPPORTED);
    assert_null(ctx);
    if (!strstr(why, text))
        fail_msg("%s: \"%s\" does not say \"%s\"", device, why, text);
}

static void test_names(void **state)
{
    (void)state;
    refused("abacus", "\"cuda:0\"");
    refused("cuda:", "there is no device");
    refused("cuda:1x", "there is no device");
    refused("cuda:100", "there is no device");
    refused("cuda:99", there() ? "does not exist" : "\"cpu\" always works");
    if (!there())
        refused("cuda", "\"cpu\" always works");
    else
        mgen_context_destroy(open_on("cuda", 0));
}

/* More than fits into what copies are staged in, at odd offsets. */
static void test_copies(void **state)
{
    enum { COUNT = (20 << 20) + 3, FIRST = 1021 };
    (void)state;
    if (!there())
        skip();
    mgen_context *ctx = open_on("cuda:0", 0);
    mgi_tensor *t;
    uint8_t *values = malloc(COUNT), *back = calloc(1, COUNT);
    assert_true(values && back);
    for (int i = 0; i < COUNT; i++)
        values[i] = (uint8_t)(i * 2654435761u >> 24);
    assert_int_equal(mgi_tensor_create(ctx->device, MGK_U8, MGI_DIMS(COUNT + FIRST), &t), MGEN_OK);
    mgi_tensor_write(t, FIRST, values, COUNT);
    memset(values + 5, 0, 100); /* the copy is done with them */
    mgi_tensor_read(t, FIRST, back, COUNT);
    for (int i = 0; i < COUNT; i++)
        if (back[i] != (uint8_t)(i * 2654435761u >> 24))
            fail_msg("byte %d", i);
    assert_int_equal(mgi_device_wait(ctx->device), MGEN_OK);
    mgi_tensor_release(t);
    free(values);
    free(back);
    mgen_context_destroy(ctx);
}

static void test_memory_limit(void **state)
{
    (void)state;
    if (!there())
        skip();
    mgen_context *ctx = open_on("cuda:0", 64 << 20);
    mgi_tensor *t[3];
    for (int i = 0; i < 2; i++)
        assert_int_equal(mgi_tensor_create(ctx->device, MGK_U8, MGI_DIMS(20 << 20), &t[i]),
                         MGEN_OK);
    assert_int_equal(mgi_tensor_create(ctx->device, MGK_U8, MGI_DIMS(30 << 20), &t[2]),
                     MGEN_E_LIMIT);
    assert_non_null(strstr(mgen_last_error(ctx), "device_memory_max"));
    /* what is kept for later makes room */
    mgi_tensor_release(t[0]);
    assert_int_equal(mgi_tensor_create(ctx->device, MGK_U8, MGI_DIMS(30 << 20), &t[2]), MGEN_OK);
    mgi_tensor_release(t[1]);
    mgi_tensor_release(t[2]);
    mgen_context_destroy(ctx);
}

/* A small network: norm, linear with SiLU, attention, a loss; its loss and gradients. */
enum { B = 3, S = 10, D = 32, INPUTS = 4 };

static T *variable(mgi_run *run, int rank, const int64_t *dims, uint64_t stream, float scale)
{
    T *t = mgi_random(run, MGK_RANDOM_NORMAL, 7, stream, 0, scale, 0.0f, rank, dims);
    assert_non_null(t);
    assert_int_equal(mgi_var_create(run->dev, MGK_F32, t->count, true, &t->var), MGEN_OK);
    return t;
}

static void walk_network(mgen_context *ctx, float *loss, float *grads)
{
    mgi_run run;
    mgi_run_init(&run, ctx, true);
    T *in[INPUTS] = {variable(&run, MGI_DIMS(B, S, D), 1, 1.0f),
                     variable(&run, MGI_DIMS(3 * D, D), 2, 0.2f),
                     variable(&run, MGI_DIMS(D), 3, 1.0f), variable(&run, MGI_DIMS(D, D), 4, 0.2f)};
    mgi_norm_options norm = {.kind = MGK_NORM_RMS, .eps = 1e-5f, .weight = in[2]};
    T *qkv = mgi_linear(&run, mgi_norm(&run, in[0], norm), in[1], NULL);
    qkv = mgi_reshape(&run, qkv, MGI_DIMS(B, S, 3, 2, D / 2));
    T *h = mgi_self_attention(&run, qkv, NULL, NULL, 0.25f);
    h = mgi_unary(&run, mgi_linear(&run, h, in[3], NULL), MGK_UNARY_SILU);
    T *y = mgi_loss(&run, MGK_LOSS_MSE, 1.0f, h, in[0]);
    assert_int_equal(mgi_backward(&run, y), MGEN_OK);
    mgi_tensor_read(y, 0, loss, 1);
    for (int i = 0; i < INPUTS; i++) {
        mgi_tensor_read(in[i]->var->grad, 0, grads, in[i]->count);
        grads += in[i]->count;
    }
    mgi_run_finish(&run);
}

static void test_network(void **state)
{
    enum { GRADS = B * S * D + 3 * D * D + D + D * D };
    static float grads[2][GRADS];
    float loss[2];
    (void)state;
    if (!there())
        skip();
    for (int i = 0; i < 2; i++) {
        mgen_context *ctx = open_on(i ? "cuda:0" : "cpu", 0);
        walk_network(ctx, &loss[i], grads[i]);
        mgen_context_destroy(ctx);
    }
    assert_true(loss[0] > 0.1f && fabsf(loss[0] - loss[1]) < 1e-5f * loss[0]);
    for (int i = 0; i < GRADS; i++)
        if (!(fabsf(grads[0][i] - grads[1][i]) < 1e-6f))
            fail_msg("gradient %d is %g on the CPU and %g on the GPU", i, (double)grads[0][i],
                     (double)grads[1][i]);
}

/* Tensors count against the device, and what the job cannot have is refused before it starts. */
static void test_estimate(void **state)
{
    (void)state;
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_estimate cpu = MGEN_ESTIMATE_INIT, gpu = MGEN_ESTIMATE_INIT;
    mgen_job *job = NULL;
    char dir[4096];
    if (!there())
        skip();
    snprintf(dir, sizeof dir, "%s/examples/models/toybox", getenv("MOVIEGEN_SOURCE"));
    p.prompt = "a red ball rolls left";
    /* on the CPU; on a GPU; and with less than any tiling takes there */
    for (int i = 0; i < 3; i++) {
        mgen_context *ctx = open_on(i ? "cuda:0" : "cpu", 0);
        assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
        if (i == 2) /* models have memory of their own */
            ctx->device->memory_max = 64 << 10;
        assert_int_equal(mgen_generate_estimate(ctx, &pipe, &p, i ? &gpu : &cpu), MGEN_OK);
        if (i == 2) {
            assert_int_equal(mgen_generate_start(ctx, &pipe, &p, &job), MGEN_E_LIMIT);
            assert_non_null(strstr(mgen_last_error(ctx), "device_memory_max"));
        }
        mgen_pipeline_close(&pipe);
        mgen_context_destroy(ctx);
    }
    if (cpu.device_bytes || gpu.device_bytes < 1 << 20 || gpu.host_bytes >= cpu.host_bytes / 2)
        fail_msg("host %llu and %llu, device %llu", (unsigned long long)cpu.host_bytes,
                 (unsigned long long)gpu.host_bytes, (unsigned long long)gpu.device_bytes);
}

#ifdef MGK_CUDA_EMULATED

static void test_out_of_memory(void **state)
{
    (void)state;
    mgi_tensor *t, *u;
    size_t before = mgk_emulated_used();
    mgen_context *ctx = open_on("cuda:0", 0);
    mgk_emulated_memory(mgk_emulated_used() + (50 << 20));
    assert_int_equal(mgi_tensor_create(ctx->device, MGK_U8, MGI_DIMS(40 << 20), &t), MGEN_OK);
    assert_int_equal(mgi_tensor_create(ctx->device, MGK_U8, MGI_DIMS(20 << 20), &u),
                     MGEN_E_NO_MEMORY);
    assert_non_null(strstr(mgen_last_error(ctx), "no memory for"));
    mgi_tensor_release(t);
    assert_int_equal(mgi_tensor_create(ctx->device, MGK_U8, MGI_DIMS(20 << 20), &u), MGEN_OK);
    mgi_tensor_release(u);
    mgk_emulated_memory((size_t)-1);
    mgen_context_destroy(ctx);
    assert_int_equal(mgk_emulated_used(), before);
}

static void test_failed_launch(void **state)
{
    (void)state;
    mgen_context *ctx = open_on("cuda:0", 0);
    for (int lasting = 0; lasting < 2; lasting++) {
        mgi_run run;
        mgi_run_init(&run, ctx, false);
        T *t = mgi_new(&run, MGK_F32, MGI_DIMS(10));
        mgk_emulated_fail(lasting ? cudaErrorIllegalAddress : cudaErrorLaunchOutOfResources);
        mgi_fill(&run, t, 1.0f);
        assert_int_equal(run.status, lasting ? MGEN_E_DEVICE_LOST : MGEN_E_DEVICE);
        assert_non_null(strstr(mgen_last_error(ctx), "cuda:0"));
        mgi_run_finish(&run);
        mgi_run_init(&run, ctx, false);
        t = mgi_new(&run, MGK_F32, MGI_DIMS(10));
        mgi_fill(&run, t, 1.0f);
        assert_int_equal(run.status, lasting ? MGEN_E_DEVICE_LOST : MGEN_OK);
        mgi_run_finish(&run);
    }
    mgen_context_destroy(ctx);
}

/* ---- what a caller gets ---- */

enum { ROOM = 4 * 4 * 4 * 3, TOKENS = 8 };

typedef mgen_status giver(mgen_context *ctx, const void *network, float *out);

static mgen_status give_noise(mgen_context *ctx, const void *network, float *out)
{
    mgen_latents z = MGEN_LATENTS_INIT;
    (void)network;
    z.data = out;
    z.frames = z.height = z.width = 4;
    z.channels = 3;
    return mgen_noise(ctx, 5, &z);
}

static mgen_status give_text(mgen_context *ctx, const void *network, float *out)
{
    return mgi_text_encode(ctx, network, "a ball", TOKENS, out);
}

static mgen_status give_velocity(mgen_context *ctx, const void *network, float *out)
{
    static const float x[ROOM] = {0.5f, -1.0f, 2.0f}, text[TOKENS * 24] = {1.0f, 0.25f};
    const mgi_host_text said[MGI_ROLES] = {{text, TOKENS}};
    return mgi_velocity(ctx, network, x, (const int64_t[]){4, 4, 4, 3}, 0.5f, said, out);
}

/* Each wait for the GPU fails in turn: the caller's memory stays as it was until all goes well. */
static void assert_all_or_nothing(mgen_context *ctx, giver *give, const void *network)
{
    enum { MOST = TOKENS * 24 > ROOM ? TOKENS * 24 : ROOM };
    static float out[MOST], as_before[MOST];
    int failures = 0;
    mgen_status status = MGEN_E_DEVICE;
    for (int i = 0; i < MOST; i++)
        as_before[i] = 77.0f;
    while (status == MGEN_E_DEVICE) {
        memcpy(out, as_before, sizeof out);
        mgk_emulated_fail_wait(cudaErrorLaunchOutOfResources, failures + 1);
        status = give(ctx, network, out);
        mgk_emulated_fail_wait(cudaSuccess, 0);
        if (status == MGEN_E_DEVICE)
            assert_memory_equal(out, as_before, sizeof out);
        failures += status == MGEN_E_DEVICE;
    }
    assert_int_equal(status, MGEN_OK);
    assert_in_range(failures, 1, 20);
    assert_true(out[0] != 77.0f && isfinite(out[0]));
}

static void test_given(void **state)
{
    const mgi_vt_config config = {TINY_VT, .frames_max = 4, .rows_max = 4, .columns_max = 4};
    const mgi_text_config text = {.kind = MGI_TEXT_T5_BYTES, .t5 = {TINY_T5, .tokens_max = TOKENS}};
    mgen_context *ctx = open_on("cuda:0", 0);
    mgi_vt vt;
    mgi_text_encoder encoder;
    (void)state;
    assert_int_equal(mgi_vt_init(&vt, ctx, &config), MGEN_OK);
    assert_int_equal(mgi_vt_random(&vt, 3), MGEN_OK);
    assert_int_equal(mgi_text_encoder_init(&encoder, ctx, "", &text, NULL), MGEN_OK);
    assert_int_equal(mgi_module_random(mgi_text_module(&encoder), 3), MGEN_OK);
    assert_all_or_nothing(ctx, give_noise, NULL);
    assert_all_or_nothing(ctx, give_text, &encoder);
    assert_all_or_nothing(ctx, give_velocity, &vt);
    mgi_text_encoder_finish(&encoder);
    mgi_vt_finish(&vt);
    mgen_context_destroy(ctx);
}

/* No driver, a GPU that is too old, and several. */
static void test_machines(void **state)
{
    char why[128];
    (void)state;
    mgk_emulated_machine(0, 9);
    assert_int_equal(mgi_cuda_count(why, sizeof why), 0);
    assert_string_equal(why, "no NVIDIA driver, or one that is too old");
    refused("cuda", "no NVIDIA driver");
    mgen_context_destroy(open_on("cpu", 0));
    mgk_emulated_machine(1, 7);
    refused("cuda:0", "compute capability 7; 8.0 (A100) or later");
    mgk_emulated_machine(2, 9);
    mgen_context_destroy(open_on("cuda:1", 0));
    refused("cuda:2", "this machine has cuda:0 to cuda:1");
    mgk_emulated_machine(1, 9);
    refused("cuda:1", "this machine has cuda:0 to cuda:0");
    assert_int_equal(mgk_emulated_used(), 0);
}

/* Weights that are loaded once are read by contexts with streams, limits and errors of their own. */
static void test_shared_weights(void **state)
{
    enum { WIDTH = 512, READERS = 3 };
    float y[READERS][WIDTH];
    mgi_tensor *w;
    (void)state;
    mgen_context *home = open_on("cuda:0", 0);
    mgi_run run;
    mgi_run_init(&run, home, false);
    w = mgi_random(&run, MGK_RANDOM_NORMAL, 5, 1, 0, 1.0f, 0.0f, MGI_DIMS(WIDTH, WIDTH));
    assert_non_null(w);
    mgi_tensor_retain(w);
    mgi_run_finish(&run);
    assert_int_equal(mgi_device_wait(home->device), MGEN_OK);
    mgen_context *reader[READERS];
    for (int i = 0; i < READERS; i++)
        reader[i] = open_on("cuda:0", i == 2 ? 64 : 0);
    size_t before = mgk_emulated_used();
    for (int i = 0; i < READERS; i++) {
        mgi_run_init(&run, reader[i], false);
        if (i == 1)
            mgk_emulated_fail(cudaErrorLaunchOutOfResources);
        T *x = mgi_random(&run, MGK_RANDOM_NORMAL, 6, 1, 0, 1.0f, 0.0f, MGI_DIMS(1, WIDTH));
        T *out = mgi_linear(&run, x, w, NULL);
        assert_int_equal(run.status, i == 1 ? MGEN_E_DEVICE : i == 2 ? MGEN_E_LIMIT : MGEN_OK);
        if (i == 0)
            mgi_tensor_read(out, 0, y[i], WIDTH);
        mgi_run_finish(&run);
    }
    assert_true(mgk_emulated_used() - before < WIDTH * WIDTH * sizeof(float) / 2);
    mgi_run_init(&run, reader[1], false); /* its error was its own, and is over */
    T *x = mgi_random(&run, MGK_RANDOM_NORMAL, 6, 1, 0, 1.0f, 0.0f, MGI_DIMS(1, WIDTH));
    T *out = mgi_linear(&run, x, w, NULL);
    assert_int_equal(run.status, MGEN_OK);
    mgi_tensor_read(out, 0, y[1], WIDTH);
    mgi_run_finish(&run);
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    for (int i = 0; i < READERS; i++)
        mgen_context_destroy(reader[i]);
    mgi_tensor_release(w);
    mgen_context_destroy(home);
    assert_int_equal(mgk_emulated_used(), 0);
}

static int warnings;

static void count_warnings(void *user, int32_t level, const char *text)
{
    (void)user;
    warnings += level <= MGEN_LOG_WARN && strstr(text, "attention uses the library's own kernels");
}

typedef struct described {
    int major; /* of the GPU's compute capability */
    enum { MISSING, BROKEN, THERE } cudnn;
    const char *kernels;                                          /* allowed; NULL: all */
    const char *attention, *attention_grad, *matmul, *fp8, *conv; /* what is taken */
    bool asked; /* whether cuDNN is opened, or tried to be */
} described;

static const char *taken(const described *d, int op)
{
    const char *name = mgk_ops[op].name;
    return !strcmp(name, "attention")        ? d->attention
           : !strcmp(name, "attention_grad") ? d->attention_grad
           : !strcmp(name, "matmul")         ? d->matmul
           : !strcmp(name, "matmul_fp8")     ? d->fp8
           : !strncmp(name, "conv2d", 6)     ? d->conv
                                             : "cuda";
}

/* Which variant of each op a GPU gets, as docs/gpu.md has it. (Of cuBLASLt's products only FP8's are in a build that emulates a GPU.) */
static void test_choice(void **state)
{
    static const described all[] = {
        {8, MISSING, NULL, "sm80", "sm80", "sm80", "cublaslt", "sm80", true},
        {8, BROKEN, NULL, "sm80", "sm80", "sm80", "cublaslt", "sm80", true},
        {8, THERE, NULL, "cudnn", "sm80", "sm80", "cublaslt", "sm80", true},
        {8, THERE, "cuda,sm80,sm90", "sm80", "sm80", "sm80", "cuda", "sm80", false},
        {8, THERE, "sm90", "cuda", "cuda", "cuda", "cuda", "cuda", false},
        {9, MISSING, NULL, "sm90", "sm90", "sm90", "cublaslt", "sm90", false},
        {9, THERE, NULL, "sm90", "sm90", "sm90", "cublaslt", "sm90", false},
        {9, THERE, "cuda,sm80,sm90", "sm90", "sm90", "sm90", "sm90", "sm90", false},
        {9, THERE, "cuda,sm80,cublaslt,cudnn", "cudnn", "sm80", "sm80", "cublaslt", "sm80", true},
        {9, MISSING, "cuda,sm80,cublaslt,cudnn", "sm80", "sm80", "sm80", "cublaslt", "sm80", true},
        {9, THERE, "cuda", "cuda", "cuda", "cuda", "cuda", "cuda", false},
        {10, MISSING, NULL, "sm80", "sm80", "sm80", "cublaslt", "sm80", true},
        {10, THERE, NULL, "cudnn", "sm80", "sm80", "cublaslt", "sm80", true}};
    (void)state;
    assert_true(find_cudnn());
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const described *d = &all[i];
        mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
        mgen_context *ctx;
        reset_cudnn();
        fake->no_handle = d->cudnn == BROKEN;
        warnings = 0;
        mgk_emulated_machine(1, d->major);
        mgk_emulated_set_cudnn(d->cudnn == MISSING ? NULL : fake_file);
        params.device = "cuda:0";
        params.threads = 2;
        params.kernels = d->kernels;
        params.log = count_warnings;
        assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
        for (int op = 0; op < MGK_OP_COUNT; op++)
            if (strcmp(ctx->device->kernel[op]->name, taken(d, op)))
                fail_msg("%d: %s is %s, not %s", (int)i, mgk_ops[op].name,
                         ctx->device->kernel[op]->name, taken(d, op));
        assert_int_equal(fake->handles, d->asked && d->cudnn == THERE);
        assert_int_equal(warnings, d->asked && d->cudnn != THERE);
        mgen_context_destroy(ctx);
        assert_int_equal(fake->handles, 0);
    }
    mgk_emulated_machine(1, 9);
    mgk_emulated_set_cudnn(NULL);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),         cmocka_unit_test(test_copies),
        cmocka_unit_test(test_memory_limit),  cmocka_unit_test(test_network),
        cmocka_unit_test(test_estimate),
#ifdef MGK_CUDA_EMULATED
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_failed_launch),
        cmocka_unit_test(test_machines),      cmocka_unit_test(test_shared_weights),
        cmocka_unit_test(test_choice),        cmocka_unit_test(test_given),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
