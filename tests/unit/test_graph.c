/* SPDX-License-Identifier: MIT
 * Work that is captured once and replayed: to the bits of plain launches, with other shapes, and when it cannot be
 * captured. Needs a GPU, or one that the host plays, whose faults can be planned. */
#include "reported.h"
#include "tensor/graph.h"

#include "kernels/loss/loss.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/random/random.h"
#include "task/generate.h"
#include "tensor/ops.h"
#include "tiny_stages.h"
#include "train/stage.h"

#ifdef MGK_CUDA_EMULATED
#include "kernels/emulated/cuda_runtime_emulated.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static int warnings;
static char warning[300];

static void on_log(void *user, int32_t level, const char *text)
{
    (void)user;
    if (level == MGEN_LOG_WARN) {
        warnings++;
        snprintf(warning, sizeof warning, "%s", text);
    }
}

static mgen_context *open_on(const char *device)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    params.device = device;
    params.threads = 2;
    params.log = on_log;
    warnings = 0;
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    return ctx;
}

/* NULL: there is no GPU, and the test is skipped. */
static mgen_context *open_gpu(void)
{
    if (mgi_cuda_count(NULL, 0) == 0)
        skip();
    return open_on("cuda:0");
}

/* -- a small loop ----------------------------------------------------------------------------- */

enum { WIDTH = 8 };

typedef struct loop {
    mgen_context *ctx;
    mgi_graph g;
    T *w, *sum; /* what stays */
    T *x;       /* of the step */
    void (*trouble)(struct loop *l, mgi_run *run);
    int bodies;
} loop;

static void loop_make(loop *l, mgen_context *ctx)
{
    float w[WIDTH * WIDTH];
    memset(l, 0, sizeof *l);
    l->ctx = ctx;
    for (int i = 0; i < WIDTH * WIDTH; i++)
        w[i] = 0.01f * (float)(i % 13) - 0.05f;
    assert_int_equal(mgi_tensor_create(ctx->device, MGK_F32, MGI_DIMS(WIDTH, WIDTH), &l->w),
                     MGEN_OK);
    assert_int_equal(mgi_tensor_create(ctx->device, MGK_F32, MGI_DIMS(1), &l->sum), MGEN_OK);
    mgi_tensor_write(l->w, 0, w, WIDTH * WIDTH);
    mgi_tensor_write(l->sum, 0, (const float[]){0.0f}, 1);
    assert_int_equal(mgi_var_create(ctx->device, MGK_F32, WIDTH * WIDTH, true, &l->w->var),
                     MGEN_OK);
    assert_int_equal(
        mgi_tensor_create(ctx->device, MGK_F32, MGI_DIMS(WIDTH * WIDTH), &l->w->var->grad),
        MGEN_OK);
    mgi_graph_init(&l->g, ctx->device);
}

static void loop_free(loop *l)
{
    mgi_graph_finish(&l->g);
    mgi_tensor_release(l->w);
    mgi_tensor_release(l->sum);
    mgen_context_destroy(l->ctx);
}

/* Loss, gradient, and a step of descent. */
static void body(mgi_run *run, void *user)
{
    loop *l = user;
    l->bodies++;
    mgi_fill(run, l->w->var->grad, 0.0f);
    T *h = mgi_unary(run, mgi_linear(run, l->x, l->w, NULL), MGK_UNARY_SILU);
    if (l->trouble)
        l->trouble(l, run);
    T *loss = mgi_loss(run, MGK_LOSS_MSE, 1.0f, mgi_add(run, h, l->x), l->x);
    mgi_backward(run, loss);
    mgi_stage_sum(run, &loss, 1, l->sum, 0);
    mgk_pointwise_args a = {.x = mgi_buf(l->w->var->grad),
                            .y = mgi_buf(l->w),
                            .count = l->w->count,
                            .alpha = -0.5f,
                            .beta = 1.0f};
    mgi_run_launch(run, MGK_OP_axpby, &a);
}

static mgen_status loop_step(loop *l, int step, int64_t rows)
{
    mgi_run run;
    mgi_run_init(&run, l->ctx, true);
    mgi_graph_enter(&l->g);
    l->x = mgi_random(&run, MGK_RANDOM_NORMAL, 3, 1, (uint64_t)step * 1000, 1.0f, 0.0f,
                      MGI_DIMS(rows, WIDTH));
    mgi_graph_run(&l->g, &run, mgi_graph_key(0, l->x), body, l);
    mgi_graph_leave(&l->g);
    assert_ptr_equal(l->ctx->device->home, &l->ctx->device->own);
    assert_int_equal(run.node_count, 0);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

static void loop_read(const loop *l, float out[WIDTH * WIDTH + 1])
{
    mgi_tensor_read(l->w, 0, out, WIDTH * WIDTH);
    mgi_tensor_read(l->sum, 0, out + WIDTH * WIDTH, 1);
    assert_int_equal(mgi_device_wait(l->ctx->device), MGEN_OK);
}

/* The same steps launched piece by piece. */
static void plain_result(const int64_t *rows, int steps, float out[WIDTH * WIDTH + 1],
                         mgi_device_counts *counts)
{
    loop l;
    loop_make(&l, open_gpu());
    l.ctx->device->graphs_off = true;
    for (int i = 0; i < steps; i++)
        assert_int_equal(loop_step(&l, i, rows[i]), MGEN_OK);
    assert_int_equal(l.bodies, steps);
    loop_read(&l, out);
    *counts = l.ctx->device->counts;
    loop_free(&l);
}

static void assert_same(const loop *l, const int64_t *rows, int steps)
{
    float plain[WIDTH * WIDTH + 1], own[WIDTH * WIDTH + 1];
    mgi_device_counts counts;
    loop_read(l, own);
    plain_result(rows, steps, plain, &counts);
    assert_memory_equal(own, plain, sizeof own);
    assert_true(own[WIDTH * WIDTH] > 0.0f);
    if (!l->trouble) { /* what is replayed counts too */
        assert_int_equal(l->ctx->device->counts.launches, counts.launches);
        assert_true(l->ctx->device->counts.flops == counts.flops);
    }
}

static void test_replay(void **state)
{
    static const int64_t rows[] = {5, 5, 5, 5, 5, 5};
    (void)state;
    loop l;
    loop_make(&l, open_gpu());
    for (int i = 0; i < 6; i++)
        assert_int_equal(loop_step(&l, i, rows[i]), MGEN_OK);
    assert_int_equal(l.bodies, 2); /* plainly, and captured */
    assert_int_equal(l.g.captures, 1);
    assert_int_equal(l.g.replays, 5);
    assert_int_equal(warnings, 0);
    assert_same(&l, rows, 6);
    loop_free(&l);
}

/* Each shape has a graph of its own, until there are too many. */
static void test_shapes(void **state)
{
    enum { STEPS = 24 };
    int64_t rows[STEPS];
    (void)state;
    loop l;
    loop_make(&l, open_gpu());
    for (int i = 0; i < STEPS; i++) {
        rows[i] = 3 + 4 * (i % 2);
        assert_int_equal(loop_step(&l, i, rows[i]), MGEN_OK);
    }
    assert_int_equal(l.g.captures, 2);
    assert_int_equal(l.g.replays, STEPS - 2);
    assert_same(&l, rows, STEPS);
    /* more than are kept, in turn: each is gone when it comes again, and all runs plainly */
    for (int i = 0; i < 2 * (MGI_GRAPH_ENTRIES + 1); i++)
        assert_int_equal(loop_step(&l, i, 20 + i % (MGI_GRAPH_ENTRIES + 1)), MGEN_OK);
    assert_int_equal(l.g.captures, 2);
    loop_free(&l);
}

static void test_elsewhere(void **state)
{
    (void)state;
    loop l;
    loop_make(&l, open_on("cpu"));
    for (int i = 0; i < 3; i++)
        assert_int_equal(loop_step(&l, i, 4), MGEN_OK);
    assert_int_equal(l.bodies, 3);
    assert_int_equal(l.g.captures, 0);
    loop_free(&l);
}

/* Memory that the device needs elsewhere is given back, and what was captured is captured again. */
static void test_memory_given_back(void **state)
{
    static const int64_t rows[] = {5, 5, 5, 5, 5, 5, 5};
    (void)state;
    loop l;
    loop_make(&l, open_gpu());
    for (int i = 0; i < 7; i++) {
        if (i == 3)
            mgi_device_trim(l.ctx->device);
        assert_int_equal(loop_step(&l, i, rows[i]), MGEN_OK);
        if (i == 2)
            assert_int_equal(l.g.captures, 1);
    }
    assert_int_equal(l.g.captures, 2);
    assert_same(&l, rows, 7);
    mgi_device_trim(l.ctx->device);
    assert_int_equal(l.g.blocks.out, 0);
    for (int i = 0; i < MGI_DEVICE_CLASSES; i++)
        assert_null(l.g.blocks.cached[i]);
    loop_free(&l);
}

/* A graph holds the address of the workspace: when another op has needed a larger one, it is captured again. */
static void test_workspace_moved(void **state)
{
    static const int64_t rows[] = {5, 5, 5, 5, 5};
    (void)state;
    loop l;
    loop_make(&l, open_gpu());
    for (int i = 0; i < 5; i++) {
        uint64_t launches = l.ctx->device->counts.launches;
        double flops = l.ctx->device->counts.flops;
        if (i == 3) {
            mgi_run run;
            mgi_run_init(&run, l.ctx, false);
            T *x = mgi_new(&run, MGK_F32, MGI_DIMS(1 << 22));
            mgi_fill(&run, x, 1.0f);
            mgi_loss(&run, MGK_LOSS_MSE, 1.0f, x, x);
            /* by cuBLASLt, which has a room of its own there, with sums behind it: more than a plain product of f32 */
            T *a = mgi_new(&run, MGK_BF16, MGI_DIMS(64, 64)),
              *b = mgi_new(&run, MGK_F32, MGI_DIMS(64));
            mgi_fill(&run, a, 1.0f);
            mgi_fill(&run, b, 1.0f);
            mgi_linear(&run, a, a, b);
            assert_int_equal(run.status, MGEN_OK);
            mgi_run_finish(&run);
            l.ctx->device->counts.launches = launches;
            l.ctx->device->counts.flops = flops;
        }
        assert_int_equal(loop_step(&l, i, rows[i]), MGEN_OK);
    }
    assert_int_equal(l.g.captures, 2);
    assert_same(&l, rows, 5);
    loop_free(&l);
}

/* Attention of bf16, whose variant for H100 gets descriptors of tensors as arguments. */
enum { TOKENS = 70, HEADS = 2, HEAD = 64 };

typedef struct attending {
    T *qkv, *y;
} attending;

static void attend(mgi_run *run, void *user)
{
    attending *a = user;
    T *x = mgi_cast(run, a->qkv, MGK_BF16);
    T *y = mgi_cast(run, mgi_self_attention(run, x, NULL, NULL, 0.125f), MGK_F32);
    if (y)
        mgi_copy(run, a->y, 0, y, 0, y->count);
}

static void test_attention(void **state)
{
    enum { COUNT = TOKENS * HEADS * HEAD };
    static float values[3][COUNT];
    (void)state;
    mgen_context *ctx = open_gpu();
    mgi_graph g;
    mgi_run run;
    mgi_graph_init(&g, ctx->device);
    mgi_run_init(&run, ctx, false);
    attending a = {.qkv = mgi_new(&run, MGK_F32, MGI_DIMS(1, TOKENS, 3, HEADS, HEAD)),
                   .y = mgi_new(&run, MGK_F32, MGI_DIMS(COUNT))};
    for (int i = 0; i < 3; i++) {
        mgi_graph_enter(&g);
        T *x = mgi_random(&run, MGK_RANDOM_NORMAL, 9, (uint64_t)(i < 2), 0, 1.0f, 0.0f,
                          MGI_DIMS(3 * COUNT));
        mgi_copy(&run, a.qkv, 0, x, 0, 3 * COUNT);
        mgi_graph_run(&g, &run, mgi_graph_key(0, a.qkv), attend, &a);
        mgi_graph_leave(&g);
        mgi_tensor_read(a.y, 0, values[i], COUNT);
    }
    assert_int_equal(run.status, MGEN_OK);
    assert_int_equal(g.replays, 2);
    assert_memory_equal(values[0], values[1], sizeof values[0]); /* launched; replayed */
    assert_true(memcmp(values[1], values[2], sizeof values[0]) != 0);
    mgi_run_finish(&run);
    mgi_graph_finish(&g);
    mgen_context_destroy(ctx);
}

/* -- what cannot be captured ------------------------------------------------------------------ */

static void write_something(loop *l, mgi_run *run)
{
    if (run->status == MGEN_OK)
        mgi_tensor_write(l->w->var->grad, 0, (const float[]){0.0f}, 1);
}

static void read_something(loop *l, mgi_run *run)
{
    float value;
    if (run->status == MGEN_OK)
        mgi_tensor_read(l->sum, 0, &value, 1);
}

static void wait_for_it(loop *l, mgi_run *run)
{
    mgi_ok(run, mgi_device_wait(l->ctx->device));
}

static void take_more_memory(loop *l, mgi_run *run)
{
    mgi_new(run, MGK_F32, MGI_DIMS(1000 << l->bodies)); /* each time another size */
}

static void give_memory_back(loop *l, mgi_run *run)
{
    bool capturing = l->bodies % 2 == 0; /* else all would begin anew each time */
    if (run->status == MGEN_OK && capturing && l->bodies < 8)
        mgi_device_trim(l->ctx->device);
}

static mgi_run *kept_run;
static void leave_something(loop *l, mgi_run *run)
{
    T *t = mgi_new(kept_run, MGK_F32, MGI_DIMS(3));
    (void)l;
    (void)run;
    assert_non_null(t);
}

static void test_refused(void **state)
{
    static const struct {
        void (*trouble)(loop *, mgi_run *);
        const char *word;
    } cases[] = {
        {write_something, "copying from the host"}, {read_something, "copying to the host"},
        {wait_for_it, "waiting for the GPU"},       {take_more_memory, "taking memory"},
        {give_memory_back, "giving memory back"},   {leave_something, "leaving a tensor"}};
    static const int64_t rows[] = {5, 5, 5, 5, 5, 5};
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        loop l;
        mgi_run outer;
        loop_make(&l, open_gpu());
        mgi_run_init(&outer, l.ctx, false);
        kept_run = &outer;
        l.trouble = cases[k].trouble;
        for (int i = 0; i < 6; i++) {
            assert_int_equal(loop_step(&l, i, rows[i]), MGEN_OK);
            mgi_run_rewind(&outer, 0, 0);
        }
        assert_int_equal(l.g.captures, 0);
        if (l.bodies != 9)
            fail_msg("%s: the body ran %d times", cases[k].word,
                     l.bodies); /* three attempts, then it is left alone */
        assert_int_equal(warnings, 1);
        if (!strstr(warning, cases[k].word) || !strstr(warning, "CUDA graph"))
            fail_msg("\"%s\" does not say \"%s\"", warning, cases[k].word);
        assert_same(&l, rows, 6);
        mgi_run_finish(&outer);
        loop_free(&l);
    }
}

#ifdef MGK_CUDA_EMULATED

/* A capture that fails leaves nothing, and the next step tries again. */
static void test_capture_fails(void **state)
{
    static const int64_t rows[] = {5, 5, 5, 5};
    (void)state;
    loop l;
    loop_make(&l, open_gpu());
    for (int i = 0; i < 4; i++) {
        if (i == 1)
            mgk_emulated_fail_graph(cudaErrorMemoryAllocation);
        assert_int_equal(loop_step(&l, i, rows[i]), MGEN_OK);
        assert_int_equal(l.g.captures, i >= 2);
        assert_int_equal(mgk_emulated_graphs(), i >= 2);
    }
    assert_int_equal(warnings, 0);
    assert_same(&l, rows, 4);
    loop_free(&l);
    assert_int_equal(mgk_emulated_graphs(), 0);
    assert_int_equal(mgk_emulated_used(), 0);
}

static void fail_once(loop *l, mgi_run *run)
{
    (void)run;
    if (l->bodies == 2)
        mgk_emulated_fail(cudaErrorLaunchOutOfResources);
}

static void fail_for_good(loop *l, mgi_run *run)
{
    (void)run;
    if (l->bodies == 2)
        mgk_emulated_fail(cudaErrorIllegalAddress);
}

/* While capturing, and of a graph that is launched. */
static void test_errors(void **state)
{
    static const int64_t rows[] = {5, 5, 5, 5};
    (void)state;
    loop l;
    loop_make(&l, open_gpu());
    l.trouble = fail_once;
    for (int i = 0; i < 4; i++)
        assert_int_equal(loop_step(&l, i, rows[i]), MGEN_OK);
    assert_int_equal(l.g.captures, 1);
    assert_same(&l, rows, 4);
    loop_free(&l);

    loop_make(&l, open_gpu());
    l.trouble = fail_for_good;
    assert_int_equal(loop_step(&l, 0, 5), MGEN_OK);
    for (int i = 1; i < 4; i++)
        assert_int_equal(loop_step(&l, i, 5), MGEN_E_DEVICE_LOST);
    assert_non_null(strstr(mgen_last_error(l.ctx), "cuda:0"));
    loop_free(&l);

    loop_make(&l, open_gpu());
    for (int i = 0; i < 3; i++)
        assert_int_equal(loop_step(&l, i, 5), MGEN_OK);
    mgi_run run;
    mgi_run_init(&run, l.ctx, true);
    mgi_graph_enter(&l.g);
    l.x = mgi_random(&run, MGK_RANDOM_NORMAL, 3, 1, 0, 1.0f, 0.0f, MGI_DIMS(5, WIDTH));
    mgk_emulated_fail(cudaErrorLaunchOutOfResources);
    mgi_graph_run(&l.g, &run, mgi_graph_key(0, l.x), body, &l);
    mgi_graph_leave(&l.g);
    assert_int_equal(run.status, MGEN_E_DEVICE);
    mgi_run_finish(&run);
    assert_int_equal(loop_step(&l, 3, 5), MGEN_OK);
    assert_int_equal(l.g.replays, 3);
    loop_free(&l);
    assert_int_equal(mgk_emulated_graphs(), 0);
    assert_int_equal(mgk_emulated_used(), 0);
}

/* The GPU that the host plays refuses what a real one does. */
static void test_emulated_rules(void **state)
{
    cudaStream_t stream;
    cudaGraph_t graph;
    void *p;
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(cudaStreamCreateWithFlags(&stream, 0), cudaSuccess);
        assert_int_equal(cudaMalloc(&p, 64), cudaSuccess);
        assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureUnmatched);
        assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                         cudaSuccess);
        cudaError_t error = cudaSuccess;
        void *q;
        if (i == 0)
            error = cudaMalloc(&q, 64);
        else if (i == 1)
            error = cudaFree(p);
        else if (i == 2)
            error = cudaStreamSynchronize(stream);
        else
            error = cudaStreamQuery(stream);
        assert_int_equal(error, cudaErrorStreamCaptureUnsupported);
        assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
        assert_null(graph);
        assert_int_equal(cudaFree(p), cudaSuccess);
        assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
        cudaGetLastError();
    }
    assert_int_equal(mgk_emulated_graphs(), 0);
}

#endif

/* -- steps of the library --------------------------------------------------------------------- */

static const mgi_tae_config tae_config = {
    .levels = 4, .channels = {4, 6, 8, 8}, .latent_channels = 4, .blocks = 1, .temporal = true};

static mgen_status drop_frames(void *user, const mgi_frames_box *box, float *rgb)
{
    double *sum = user;
    const int64_t values = box->count * box->height * box->width * 3;
    for (int64_t i = 0; i < values; i++)
        sum[i % 7] += rgb[i];
    return MGEN_OK;
}

typedef struct models {
    mgi_tae tae;
    mgi_text_encoder text;
    mgi_vt video;
} models;

static void models_make(models *m, mgen_context *ctx)
{
    const mgi_stage stage = tiny_text_to_video(1, 1);
    float head[64];
    assert_int_equal(mgi_tae_init(&m->tae, ctx, &tae_config), MGEN_OK);
    assert_int_equal(mgi_text_encoder_init(&m->text, ctx, NULL, &stage.text[0].config, NULL),
                     MGEN_OK);
    assert_int_equal(mgi_vt_init(&m->video, ctx, &stage.video), MGEN_OK);
    assert_int_equal(mgi_module_random(&m->tae.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_random(&m->text.t5.module, 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&m->video, 1), MGEN_OK);
    for (int i = 0; i < 64; i++) /* random weights make it 0, and nothing would move */
        head[i] = 0.1f * (float)(i % 5 - 2);
    mgi_tensor_write(m->video.head->value, 0, head, 64);
}

static void models_free(models *m)
{
    mgi_tae_finish(&m->tae);
    mgi_text_encoder_finish(&m->text);
    mgi_vt_finish(&m->video);
}

/* A film of a small random pipeline: sums of its values. */
static mgen_status try_film(mgen_context *ctx, models *m, int solver, int64_t frames, double *sum,
                            bool (*progress)(void *user, int done, int total))
{
    const mgi_networks n = {&m->tae, {&m->text}, &m->video, {32, 16, 32, 16}};
    const mgi_generate_request r = {.prompts = (const char *const[]){"a red ball"},
                                    .seeds = (const uint64_t[]){7},
                                    .count = 1,
                                    .steps = 4,
                                    .frames = frames,
                                    .guidance = 3.0f,
                                    .solver = solver,
                                    .guidance_from = solver == MGI_SOLVER_EULER ? 0.3f : 0.0f,
                                    .progress = progress,
                                    .sink = drop_frames,
                                    .user = sum};
    return mgi_generate(ctx, &n, &r);
}

static void make_film(mgen_context *ctx, models *m, int solver, int64_t frames, double *sum)
{
    if (try_film(ctx, m, solver, frames, sum, NULL) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
}

static void test_sampling(void **state)
{
    static const struct {
        int solver;
        int64_t frames;
        int objective;
    } cases[] = {{MGI_SOLVER_EULER, 16, MGI_VT_FLOW},
                 {MGI_SOLVER_MIDPOINT, 48, MGI_VT_FLOW},
                 {MGI_SOLVER_EULER, 16, MGI_VT_V_PREDICTION}};
    models m;
    (void)state;
    mgen_context *ctx = open_gpu();
    models_make(&m, ctx);
    for (int k = 0; k < 3; k++) {
        double sum[2][7] = {{0.0}};
        uint64_t launches[2];
        m.video.config.objective = cases[k].objective;
        for (int plain = 0; plain < 2; plain++) {
            ctx->device->graphs_off = plain;
            uint64_t before = ctx->device->counts.launches;
            make_film(ctx, &m, cases[k].solver, cases[k].frames, sum[plain]);
            launches[plain] = ctx->device->counts.launches - before;
        }
        assert_memory_equal(sum[0], sum[1], sizeof sum[0]);
        assert_true(sum[0][0] != 0.0);
        assert_in_range(launches[0], launches[1], launches[1] + 8); /* the velocity is moved */
    }
    assert_int_equal(warnings, 0);
    models_free(&m);
    mgen_context_destroy(ctx);
}

#ifdef MGK_CUDA_EMULATED

static bool stop_after_three(void *user, int done, int total)
{
    (void)user;
    (void)total;
    return done == 3; /* a step was captured and replayed */
}

/* A job that is cancelled between replays, and one for which there is no memory: nothing of them stays, and the next one
 * is as if they had not been. */
static void test_broken_off(void **state)
{
    double sum[3][7] = {{0.0}};
    models m;
    (void)state;
    mgen_context *ctx = open_gpu();
    models_make(&m, ctx);
    mgi_device_trim(ctx->device);
    size_t used = mgk_emulated_used();
    assert_int_equal(try_film(ctx, &m, MGI_SOLVER_EULER, 16, sum[0], stop_after_three),
                     MGEN_E_CANCELLED);
    assert_int_equal(mgk_emulated_graphs(), 0);
    mgi_device_drop_workspace(ctx->device);
    mgi_device_trim(ctx->device);
    assert_int_equal(mgk_emulated_used(), used);
    for (size_t more = 16 << 10; more < 256 << 10; more *= 2) {
        mgk_emulated_memory(used + more);
        assert_int_equal(try_film(ctx, &m, MGI_SOLVER_EULER, 16, sum[0], NULL), MGEN_E_NO_MEMORY);
        assert_non_null(strstr(mgen_last_error(ctx), "on cuda:0"));
        assert_int_equal(mgk_emulated_graphs(), 0);
        mgk_emulated_memory((size_t)-1);
        mgi_device_drop_workspace(ctx->device);
        mgi_device_trim(ctx->device);
        assert_int_equal(mgk_emulated_used(), used);
    }
    make_film(ctx, &m, MGI_SOLVER_EULER, 16, sum[1]);
    ctx->device->graphs_off = true;
    make_film(ctx, &m, MGI_SOLVER_EULER, 16, sum[2]);
    assert_memory_equal(sum[1], sum[2], sizeof sum[1]);
    models_free(&m);
    mgen_context_destroy(ctx);
    assert_int_equal(mgk_emulated_used(), 0);
}

#endif

enum { STEPS = 5, VALUES = 8000 };

/* What clips are encoded to stays in the folder. */
static void encode_on_cpu(const mgi_stage *stage, const char *dir)
{
    const mgi_stage_params params = {.stage = stage, .dir = dir, .seed = 3, .cache_dir = dir};
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(stage);
    struct mgi_stage_run *r;
    mgen_context *ctx = open_on("cpu");
    assert_int_equal(kind->create(ctx, &params, &r), MGEN_OK);
    assert_int_equal(kind->save(r), MGEN_OK); /* for stages that come later */
    kind->destroy(r);
    mgen_context_destroy(ctx);
}

/* What a step launched besides the captured pass with which it ends: its inputs. */
static void assert_one_graph(const mgi_graph *g, uint64_t launches)
{
    const mgi_graph_entry *last = &g->entry[0];
    for (int i = 0; i < MGI_GRAPH_ENTRIES; i++)
        last = g->entry[i].used > last->used ? &g->entry[i] : last;
    assert_non_null(last->exec);
    assert_in_range(launches - last->launches, 0, 4);
}

/* Steps of a stage: the losses and the weights. */
static void train(mgen_context *ctx, const mgi_stage *stage, const char *dir, bool plain,
                  float loss[STEPS], float *values)
{
    const mgi_stage_params params = {.stage = stage, .dir = dir, .seed = 3, .cache_dir = dir};
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(stage);
    struct mgi_stage_run *r;
    mgi_stage_state state;
    uint64_t before = 0;
    ctx->device->graphs_off = plain;
    if (kind->create(ctx, &params, &r) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    for (int i = 0; i < STEPS; i++) {
        mgen_report *report;
        assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
        before = ctx->device->counts.launches;
        if (kind->step(r, i, report) != MGEN_OK)
            fail_msg("%s", mgen_last_error(ctx));
        loss[i] = (float)reported(report, "loss");
        mgen_report_destroy(report);
    }
    if (!plain && stage->accumulate == 1)
        assert_one_graph(ctx->device->graphs, ctx->device->counts.launches - before);
    kind->state(r, &state);
    for (int64_t i = 0, at = 0; i < state.modules; i++)
        for (int64_t k = 0; k < state.module[i]->count && at < VALUES; k++) {
            T *value = state.module[i]->params[k]->value;
            int64_t n = value->count < VALUES - at ? value->count : VALUES - at;
            mgi_tensor_read(value, 0, values + at, n);
            at += n;
        }
    assert_int_equal(mgi_device_wait(ctx->device), MGEN_OK);
    if (!plain)
        assert_true(ctx->device->graphs->captures > 0 &&
                    ctx->device->graphs->replays > ctx->device->graphs->captures);
    kind->destroy(r);
}

static void test_training(void **state)
{
    static float values[2][VALUES];
    char dir[] = "/tmp/mgen-graph-XXXXXX";
    mgi_stage tae = tiny_autoencoder(STEPS, 1), video = tiny_text_to_video(STEPS, 2);
    mgi_stage gan, diffusion, upsampler = tiny_upsampler(STEPS, 2),
                              personalizer = tiny_personalizer(STEPS, 2),
                              codec = tiny_audio_codec(STEPS, 1);
    const mgi_stage *stages[] = {&tae, &gan, &video, &diffusion, &upsampler, &personalizer, &codec};
    (void)state;
    mgen_context *ctx = open_gpu();
    assert_non_null(mkdtemp(dir));
    tae.frames = 1; /* every second step has two pictures, the others one */
    tae.image_batch = 2;
    for (int i = 0; i < 4; i++)
        tae.tae.channels[i] = 2;
    video.world.frames = 8;
    video.drop = 0.0; /* prompts of different lengths, which are padded to one */
    gan = tae;        /* with a discriminator from the second step on */
    gan.image_every = 0;
    gan.gan = 0.5;
    gan.gan_start = 1;
    gan.gan_channels = 2;
    gan.gan_optimizer = tiny_optimizer;
    diffusion = video;
    diffusion.video.objective = MGI_VT_V_PREDICTION;
    video.accumulate = 2;
    upsampler.drop = 0.0;
    upsampler.bucket[0] = (mgi_bucket){.width = 48, .height = 48, .frames = 2, .weight = 1.0};
    personalizer.drop = personalizer.drop_both = 0.0;
    personalizer.bucket_count = 1;
    personalizer.bucket[0].frames = 1;
    codec.gan_start = 1;
    for (int k = 0; k < 7; k++) {
        float loss[2][STEPS];
        memset(values, 0, sizeof values);
        encode_on_cpu(stages[k], dir);
        for (int plain = 0; plain < 2; plain++)
            train(ctx, stages[k], dir, plain, loss[plain], values[plain]);
        assert_true(loss[0][0] > 0.0f && loss[0][0] != loss[0][STEPS - 1]);
        assert_memory_equal(loss[0], loss[1], sizeof loss[0]);
        assert_memory_equal(values[0], values[1], sizeof values[0]);
    }
    assert_int_equal(warnings, 0);
    remove_all(dir);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay),          cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_elsewhere),       cmocka_unit_test(test_memory_given_back),
        cmocka_unit_test(test_workspace_moved), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_attention),       cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_training),
#ifdef MGK_CUDA_EMULATED
        cmocka_unit_test(test_capture_fails),   cmocka_unit_test(test_errors),
        cmocka_unit_test(test_emulated_rules),  cmocka_unit_test(test_broken_off),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
