/* SPDX-License-Identifier: MIT
 * Plans of meshes: what is counted follows closed formulas, times those of a clock kept by hand, and the report's own
 * runs are possible. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "dist/mesh.h"
#include "io/json.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/glu/glu.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/norm.h"
#include "kernels/posterior/posterior.h"
#include "kernels/resize/resize.h"
#include "kernels/traffic.h"
#include "tensor/device.h"
#include "train/plan_text.h"

#include <math.h>
#include <string.h>

static mgen_context *small_context(void)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    params.threads = 1;
    params.host_memory_max = 1 << 28; /* nothing of the model's size may be allocated */
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    return ctx;
}

/* 256 or 768 pixels square, `frames` latent ones, of the 30B model on H100s; the modes are chosen. */
static mgi_mesh_request request(mgen_context *ctx, int side, int frames, mgi_mesh_shape mesh)
{
    mgi_mesh_request r = {.step = {.batch = 1,
                                   .latent_frames = frames,
                                   .latent_height = side / 8,
                                   .latent_width = side / 8,
                                   .text_tokens = 1024,
                                   .dtype = MGK_BF16},
                          .gpus = mesh.dp * mesh.cp * mesh.tp,
                          .mesh = mesh,
                          .any_recompute = true,
                          .any_cp = true};
    assert_int_equal(mgi_vt_preset(ctx, "30b", &r.step.config), MGEN_OK);
    assert_int_equal(mgi_gpu_parse(ctx, "h100-80gb", &r.gpu), MGEN_OK);
    return r;
}

/* The best plan; the list is freed. */
static mgi_mesh_plan plan_of(mgen_context *ctx, const mgi_mesh_request *r)
{
    mgi_mesh_plans plans;
    if (mgi_mesh_plan_make(ctx, r, &plans) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    mgi_mesh_plan best = plans.list[0];
    mgi_mesh_plans_free(ctx, &plans);
    best.events = NULL;
    assert_int_equal(best.unknown, 0);
    return best;
}

static void assert_near(double value, double expected, double share)
{
    if (!(fabs(value - expected) <= share * fabs(expected)))
        fail_msg("%.10g for %.10g", value, expected);
}

/* ---- bytes ---- */

static int64_t padded(int64_t count, int64_t to)
{
    return (count + to - 1) / to * to;
}

/* Elements of the ranges of a unit (nn/module.h): operands and others, those whose gradients are partial over TP, and what
 * lasts. `block` or the unit before or behind the blocks. Of DiT's blocks the biases of what is split are split, too. */
typedef struct unit_sizes {
    int64_t split, operand, split_other, other, lasting; /* operands; vectors; tables */
} unit_sizes;

static int64_t patch_of(const mgi_vt_config *c)
{
    return c->patch_t * c->patch_h * c->patch_w;
}

static unit_sizes block_unit(const mgi_vt_config *c, int64_t tp)
{
    int64_t d = c->dim, f = c->ff_dim;
    if (c->block == MGI_VT_DIT)
        return (unit_sizes){.split = (8 * d * d + 2 * d * f) / tp,
                            .split_other = (6 * d + f) / tp,
                            .other = 6 * d + 3 * d};
    return (unit_sizes){.split = (8 * d * d + 3 * d * f) / tp, .other = 8 * d};
}

static unit_sizes first_unit(const mgi_vt_config *c)
{
    int64_t d = c->dim, text = 0, seen = patch_of(c) * (c->channels + c->condition);
    unit_sizes u = {.other = d + d + 6 * d + (c->block == MGI_VT_DIT ? d : 0),
                    .lasting = (c->frames_max + c->rows_max + c->columns_max) * d};
    for (int i = 0; i < MGI_ROLES; i++) {
        text += c->text[i] * d;
        u.other += c->text[i] ? 2 * d : 0;
    }
    u.operand = seen * d + 2 * c->features * d + text + 256 * d + d * d + 6 * d * d;
    return u;
}

static unit_sizes last_unit(const mgi_vt_config *c)
{
    int64_t d = c->dim, token = patch_of(c) * c->channels;
    return (unit_sizes){.operand = 2 * d * d + token * d,
                        .other = (c->block == MGI_VT_DIT ? token : d) + 2 * d};
}

/* Elements of a range, padded to n shares of multiples of 32. */
static int64_t range(int64_t size, int64_t n)
{
    return padded(size, 32 * n);
}

/* Bytes that gathering a unit makes a rank of n send, and scattering its gradients. */
static double gathered(unit_sizes u, int64_t n)
{
    double all = 2.0 * (double)(range(u.split, n) + range(u.operand, n)) +
                 4.0 * (double)(range(u.split_other, n) + range(u.other, n));
    return all * (double)(n - 1) / (double)n;
}

static double scattered(unit_sizes u, int64_t n)
{
    double all = 4.0 * (double)(range(u.split, n) + range(u.operand, n) + range(u.split_other, n) +
                                range(u.other, n) + range(u.lasting, n));
    return all * (double)(n - 1) / (double)n;
}

static double lasting(unit_sizes u, int64_t n)
{
    return 4.0 * (double)range(u.lasting, n) * (double)(n - 1) / (double)n;
}

/* A window of the upsampler: 1920 x 1088 pixels, 14 frames, each a latent one. */
static mgi_mesh_request upsampler_request(mgen_context *ctx, mgi_mesh_shape mesh)
{
    mgi_mesh_request r = request(ctx, 768, 14, mesh);
    r.step.latent_height = 136;
    r.step.latent_width = 240;
    assert_int_equal(mgi_vt_preset(ctx, "7b", &r.step.config), MGEN_OK);
    return r;
}

/* Two of the audio model's samples: 30 seconds of sound are 750 latents. */
static mgi_mesh_request audio_request(mgen_context *ctx, mgi_mesh_shape mesh)
{
    mgi_mesh_request r = request(ctx, 8, 750, mesh);
    r.step.batch = 2;
    r.step.text_tokens = 512;
    assert_int_equal(mgi_vt_preset(ctx, "13b", &r.step.config), MGEN_OK);
    return r;
}

/* What a rank sends in a step of `layers` blocks without recomputation, gathering keys and values. The chain of single ops,
 * which DiT's blocks are, keeps what it has gathered; the composite node gathers it again for the gradient. */
static void count_request(mgen_context *ctx, mgi_mesh_request r, int64_t tokens, int64_t layers)
{
    mgi_mesh_shape s = r.mesh;
    r.any_recompute = r.any_cp = false;
    r.step.recompute = MGI_RECOMPUTE_NONE;
    r.step.cp = MGI_CP_GATHER;
    r.step.config.layers = layers;
    mgi_mesh_plan p = plan_of(ctx, &r);
    const mgi_vt_config *c = &r.step.config;
    int64_t n = (int64_t)s.dp * s.cp;
    assert_int_equal(tokens % (s.cp * s.tp), 0);
    int often = c->block == MGI_VT_DIT ? 6 : 9, keys_often = c->block == MGI_VT_DIT ? 1 : 2;
    double all = (double)(tokens * r.step.batch);
    double own = all / s.cp / s.tp * (double)c->dim * 2;
    double keys = all / s.cp * 2 * (double)c->dim / s.tp * 2;
    double head = all / s.cp / s.tp * (double)(patch_of(c) * c->channels) * 4;
    unit_sizes first = first_unit(c), block = block_unit(c, s.tp), last = last_unit(c);
    double blocks = (double)layers;
    double gather = blocks * (often * own * (s.tp - 1) + keys_often * keys * (s.cp - 1)) +
                    head * (s.cp * s.tp - 1);
    double scatter = blocks * (6 * own * (s.tp - 1) + keys * (s.cp - 1));
    /* forward and backward; the last unit and the one before it are still there */
    double again = s.dp * s.cp > 1 ? 2 * blocks - 1 : 0;
    if (n > 1) {
        gather += again * gathered(block, n) + 2 * gathered(first, n) + gathered(last, n) +
                  lasting(first, n);
        scatter += blocks * scattered(block, n) + scattered(first, n) + scattered(last, n);
    }
    double sent_gather = p.bytes[MGI_COMM_ALL_GATHER][0] + p.bytes[MGI_COMM_ALL_GATHER][1];
    double sent_scatter = p.bytes[MGI_COMM_REDUCE_SCATTER][0] + p.bytes[MGI_COMM_REDUCE_SCATTER][1];
    if (fabs(sent_gather - gather) > 1.0 || fabs(sent_scatter - scatter) > 1.0)
        fail_msg("dp=%d,cp=%d,tp=%d: gathers %.0f for %.0f, scatters %.0f for %.0f", s.dp, s.cp,
                 s.tp, sent_gather, gather, sent_scatter, scatter);
}

static void count_mesh(mgen_context *ctx, mgi_mesh_shape s, int64_t layers)
{
    count_request(ctx, request(ctx, 768, 32, s), 73728, layers);
}

static void test_bytes(void **state)
{
    mgen_context *ctx = small_context();
    (void)state;
    for (int dp = 1; dp <= 128; dp *= 4)
        for (int cp = 1; cp <= 8 && dp * cp <= 128; cp *= 2)
            for (int tp = 1; tp <= 16 && dp * cp * tp <= 128; tp *= 2)
                if (dp * cp * tp > 1)
                    count_mesh(ctx, (mgi_mesh_shape){dp, cp, tp, dp * cp}, 2);
    count_mesh(ctx, (mgi_mesh_shape){4, 2, 4, 8}, 5);
    count_mesh(ctx, (mgi_mesh_shape){3, 1, 2, 3}, 3); /* shares that are padded */
    for (int dp = 1; dp <= 16; dp *= 4)
        for (int cp = 1; cp <= 8; cp *= 2)
            for (int tp = 1; tp <= 8; tp *= 2)
                if (dp * cp * tp > 1)
                    count_request(ctx,
                                  upsampler_request(ctx, (mgi_mesh_shape){dp, cp, tp, dp * cp}),
                                  114240, 2);
    for (int dp = 1; dp <= 16;
         dp *= 4) /* of sound's tokens and heads 2 x 3 x 5 and 2 x 2 x 3 x 3 can be split */
        for (int cp = 1; cp <= 5; cp += 2)
            for (int tp = 1; tp <= 6; tp++)
                if (dp * cp * tp > 1 && 750 % (cp * tp) == 0 && 36 % tp == 0)
                    count_request(ctx, audio_request(ctx, (mgi_mesh_shape){dp, cp, tp, dp * cp}),
                                  750, 2);
    mgen_context_destroy(ctx);
}

/* Each block adds the same: a step of 48 is what two smaller ones say. */
static void test_blocks(void **state)
{
    static const int64_t layers[] = {2, 4, 48};
    mgi_mesh_plan p[3];
    mgen_context *ctx = small_context();
    (void)state;
    for (int i = 0; i < 3; i++) {
        mgi_mesh_request r = request(ctx, 768, 32, (mgi_mesh_shape){4, 2, 4, 0});
        r.step.config.layers = layers[i];
        r.any_recompute = false;
        r.step.recompute = MGI_RECOMPUTE_SELECTIVE;
        p[i] = plan_of(ctx, &r);
    }
    assert_near(p[2].seconds, p[0].seconds + 23 * (p[1].seconds - p[0].seconds), 1e-3);
    assert_near(p[2].rank_flops, p[0].rank_flops + 23 * (p[1].rank_flops - p[0].rank_flops), 1e-9);
    for (int i = 0; i < MGI_LINKS; i++) {
        double less = p[0].bytes[MGI_COMM_REDUCE_SCATTER][i];
        double more = p[1].bytes[MGI_COMM_REDUCE_SCATTER][i];
        assert_near(p[2].bytes[MGI_COMM_REDUCE_SCATTER][i], less + 23 * (more - less), 1e-9);
    }
    mgen_context_destroy(ctx);
}

/* ---- time ---- */

static void test_gpu(void **state)
{
    static const struct {
        const char *text, *said;
    } bad[] = {{"h90", "known are a100-40gb"},
               {"h100-80gb,", "what follows a comma"},
               {"h100-80gb,speed=3", "what follows a comma"},
               {"h100-80gb,products=1.5", "products must be a number from 0.001 to 1"},
               {"h100-80gb,node=2.5", "whole number"},
               {"h100-80gb,gb=\"80\"", "gb must be a number"}};
    mgen_context *ctx = small_context();
    mgi_gpu g;
    double bytes[MGI_LINKS];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(mgi_gpu_parse(ctx, bad[i].text, &g), MGEN_E_INVALID);
        assert_non_null(strstr(mgen_last_error(ctx), bad[i].said));
    }
    const char *simple =
        "h100-80gb,tflops=100,products=0.5,gbs=1000,memory=0.5,nvlink=100,network=10,"
        "links=0.5,nvlink_us=1,network_us=10";
    assert_int_equal(mgi_gpu_parse(ctx, simple, &g), MGEN_OK);
    assert_string_equal(g.name, "h100-80gb");
    assert_near(mgi_gpu_product(&g, MGK_BF16, 5e13, g.products), 1.0, 1e-12);
    assert_near(mgi_gpu_traffic(&g, 5e11), 1.0, 1e-12);
    /* in a node: 50 GB/s, seven hops */
    assert_near(mgi_gpu_collective(&g, MGI_COMM_ALL_GATHER, 8, 8, 5e10, bytes), 1.0 + 7e-6, 1e-9);
    assert_true(bytes[MGI_LINK_NVLINK] == 5e10 && bytes[MGI_LINK_NETWORK] == 0.0);
    /* four nodes with two each: half of what is sent leaves the node, at 5 GB/s; half of seven hops do */
    assert_near(mgi_gpu_collective(&g, MGI_COMM_ALL_GATHER, 8, 2, 1e10, bytes),
                1.0 + 3.5e-5 + 3.5e-6, 1e-9);
    assert_true(bytes[MGI_LINK_NVLINK] == 5e9 && bytes[MGI_LINK_NETWORK] == 5e9);
    /* all to all: six of the seven others are in other nodes */
    mgi_gpu_collective(&g, MGI_COMM_ALL_TO_ALL, 8, 2, 7e9, bytes);
    assert_near(bytes[MGI_LINK_NETWORK], 6e9, 1e-12);
    assert_true(mgi_gpu_collective(&g, MGI_COMM_ALL_REDUCE, 1, 1, 0.0, bytes) == 0.0);
    mgen_context_destroy(ctx);
}

/* A gather of a second beside a product of 0.4 and one of 0.2 s, waited for between them; then one that nothing hides. */
static void test_clock(void **state)
{
    mgen_context *ctx = small_context();
    mgi_comm *all;
    mgi_mesh mesh;
    mgi_clock clock;
    mgi_gpu g;
    mgi_comm_work *work;
    (void)state;
    mgi_device_make_meta(ctx->device);
    assert_int_equal(mgi_gpu_parse(ctx,
                                   "h100-80gb,tflops=1,products=1,nvlink=1,links=1,nvlink_us=0,"
                                   "launch_us=0,gbs=1000000",
                                   &g),
                     MGEN_OK);
    assert_int_equal(mgi_comm_counting_create(ctx, 0, 4, &all), MGEN_OK);
    assert_int_equal(mgi_mesh_create(all, (mgi_mesh_shape){1, 2, 2, 0}, &mesh), MGEN_OK);
    mgi_clock_init(&clock, ctx, &g, &mesh, 0);
    clock.unit = 0;
    mgk_buf b = {(void *)4096, MGK_BF16};
    mgk_matmul_args product = {.a = b,
                               .b = b,
                               .c = b,
                               .m = 1000,
                               .n = 1000,
                               .k = 200000,
                               .batch = 1,
                               .lda = 200000,
                               .ldb = 1000,
                               .ldc = 1000,
                               .alpha = 1.0f};
    mgi_comm *tp = mesh.group[MGI_AXIS_TP], *cp = mesh.group[MGI_AXIS_CP];
    assert_int_equal(mgi_comm_all_gather(tp, MGK_U8, NULL, NULL, 1000000000, &work), MGEN_OK);
    assert_int_equal(mgi_launch(ctx->device, MGK_OP_matmul, &product), MGEN_OK); /* 0.4 s */
    assert_int_equal(mgi_comm_wait(&work), MGEN_OK);
    assert_near(clock.now, 1.0, 1e-9);
    assert_near(clock.exposed[MGI_AXIS_TP], 0.6, 1e-9);
    product.k = 100000;
    product.lda = 100000;
    assert_int_equal(mgi_launch(ctx->device, MGK_OP_matmul, &product), MGEN_OK); /* 0.2 s */
    /* two over one link: one behind the other */
    assert_int_equal(mgi_comm_all_gather(tp, MGK_U8, NULL, NULL, 500000000, &work), MGEN_OK);
    assert_int_equal(mgi_comm_all_gather(cp, MGK_U8, NULL, NULL, 500000000, NULL), MGEN_OK);
    assert_int_equal(mgi_comm_wait(&work), MGEN_OK);
    assert_near(clock.now, 2.2, 1e-9);
    assert_near(clock.exposed[MGI_AXIS_CP], 1.0, 1e-9);
    assert_near(clock.exposed[MGI_AXIS_TP], 0.6, 1e-9);
    assert_near(clock.busy[MGI_CLOCK_PRODUCTS], 0.6, 1e-9);
    assert_near(clock.bytes[MGI_COMM_ALL_GATHER][MGI_LINK_NVLINK], 2e9, 1e-12);
    assert_int_equal(clock.count, 7); /* two products, three gathers, two waits that took time */
    assert_int_equal(clock.unknown, 0);
    mgi_clock_finish(&clock);
    mgi_mesh_destroy(&mesh);
    mgen_context_destroy(ctx);
}

static void test_traffic(void **state)
{
    (void)state;
    mgk_buf h = {(void *)64, MGK_BF16}, f = {(void *)64, MGK_F32}, none = {NULL, 0};
    mgk_matmul_args m = {.a = h, .b = h, .c = f, .m = 3, .n = 5, .k = 7, .batch = 1};
    assert_true(mgk_traffic(MGK_OP_matmul, &m) == 2 * 21 + 2 * 35 + 4 * 15);
    m.accumulate = 1;
    assert_true(mgk_traffic(MGK_OP_matmul, &m) == 2 * 21 + 2 * 35 + 8 * 15);
    mgk_glu_args g = {.x = h, .y = none, .dy = h, .dx = h, .rows = 3, .dim = 5};
    assert_true(mgk_traffic(MGK_OP_glu_grad, &g) == 2 * (30 + 15 + 30));
    mgk_norm_args n = {.x = h, .y = h, .rstd = f, .rows = 3, .dim = 5};
    assert_true(mgk_traffic(MGK_OP_norm, &n) == 2 * 30 + 12);
    mgk_conv2d_args v = {.x = h,
                         .weight = h,
                         .bias = f,
                         .y = h,
                         .n = 2,
                         .h = 4,
                         .w = 5,
                         .cin = 3,
                         .ho = 2,
                         .wo = 3,
                         .cout = 7,
                         .kh = 3,
                         .kw = 1};
    assert_true(mgk_traffic(MGK_OP_conv2d, &v) == 2 * 120 + 2 * 63 + 4 * 7 + 2 * 84);
    v.bias = none;
    v.accumulate = 1;
    assert_true(mgk_traffic(MGK_OP_conv2d_grad_input, &v) == 4 * 120 + 2 * 63 + 2 * 84);
    v.weight = f;
    assert_true(mgk_traffic(MGK_OP_conv2d_grad_weight, &v) == 2 * 120 + 8 * 63 + 2 * 84);
    mgk_resize_args z = {.x = f, .y = f, .n = 1, .h = 2, .w = 3, .c = 5, .fh = 2, .fw = 2};
    assert_true(mgk_traffic(MGK_OP_resize_nearest, &z) == 4 * 30 + 4 * 120);
    mgk_posterior_args p = {.h = h, .noise = f, .z = h, .rows = 3, .dim = 4};
    assert_true(mgk_traffic(MGK_OP_posterior, &p) == 2 * 24 + 4 * 12 + 2 * 12);
    mgk_group_norm_args w = {.x = h, .dy = h, .dx = h, .n = 2, .rows = 3, .c = 4, .accumulate = 1};
    assert_true(mgk_traffic(MGK_OP_group_norm_grad_apply, &w) == 2 * 24 * 4);
    assert_true(mgk_traffic(MGK_OP_cfg_combine, NULL) == -1.0);
}

/* ---- plans ---- */

/* The report's table 3; images of 256 pixels, videos of 256 frames. */
static void test_table_3(void **state)
{
    static const struct {
        int side, frames, tp, cp, batch, gpus, global;
    } rows[] = {{256, 1, 1, 1, 6, 1536, 9216},  {256, 32, 4, 1, 2, 3072, 1536},
                {256, 32, 4, 1, 2, 6144, 3072}, {768, 32, 4, 1, 1, 6144, 1536},
                {768, 32, 4, 1, 1, 6144, 1536}, {768, 32, 4, 2, 1, 6144, 768},
                {768, 32, 4, 2, 1, 4096, 512}};
    mgen_context *ctx = small_context();
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mgi_mesh_request r = request(
            ctx, rows[i].side, rows[i].frames,
            (mgi_mesh_shape){rows[i].gpus / rows[i].tp / rows[i].cp, rows[i].cp, rows[i].tp, 0});
        double times[MGI_PLAN_TIMES], sum = 0.0, memory = 0.0;
        r.step.batch = rows[i].batch;
        mgi_mesh_plan p = plan_of(ctx, &r);
        assert_int_equal(p.global_batch, rows[i].global);
        assert_true(p.fits && p.memory_bytes <= 80e9);
        if (rows[i].side == 768)
            assert_near(p.seconds * p.mfu * 989.4e12 * r.gpus, 3 * 10.235e15 * rows[i].global,
                        0.01);
        mgi_plan_times(&p, &r, times);
        for (int k = 0; k < MGI_PLAN_TIMES; k++) {
            assert_true(times[k] >= 0.0);
            sum += times[k];
        }
        assert_near(sum, p.seconds, 1e-9);
        assert_near(times[MGI_PLAN_PEAK] / p.seconds, p.mfu, 1e-9);
        for (int k = 0; k < MGI_PLAN_MEMORIES; k++)
            memory += p.memory[k];
        assert_near(memory, p.memory_bytes, 1e-12);
        print_message("%d px, tp %d, cp %d, %d GPUs: %.1f GB, %.2f s a step, MFU %.1f %%\n",
                      rows[i].side, rows[i].tp, rows[i].cp, rows[i].gpus, p.memory_bytes * 1e-9,
                      p.seconds, 100 * p.mfu);
    }
    mgen_context_destroy(ctx);
}

/* The upsampler's step on meshes: its operations are three times those of one device's forward pass; parameters are divided over
 * eight, but for the little that tensor parallelism does not divide; and a window fits where a second GPU shares it. */
static void test_upsampler(void **state)
{
    static const mgi_mesh_shape meshes[] = {{8, 1, 1, 0}, {2, 4, 1, 0}, {4, 1, 2, 0}, {2, 2, 2, 0}};
    mgen_context *ctx = small_context();
    mgi_plan one;
    (void)state;
    mgi_mesh_request r = upsampler_request(ctx, meshes[0]);
    assert_int_equal(mgi_plan_step(ctx, &r.step, &one), MGEN_OK);
    for (size_t i = 0; i < sizeof meshes / sizeof meshes[0]; i++) {
        r = upsampler_request(ctx, meshes[i]);
        mgi_mesh_plan p = plan_of(ctx, &r);
        assert_near(p.model_flops, 3.0 * one.forward_flops * meshes[i].dp, 1e-12);
        assert_near(p.memory[MGI_PLAN_WEIGHTS], 4.0 * (double)one.parameters / 8, 0.03);
        assert_near(p.memory[MGI_PLAN_MOMENTS], 12.0 * (double)one.parameters / 8, 0.03);
        print_message("7b, dp=%d,cp=%d,tp=%d: %.1f GB, %.2f s a step, MFU %.1f %%\n", meshes[i].dp,
                      meshes[i].cp, meshes[i].tp, p.memory_bytes * 1e-9, p.seconds, 100 * p.mfu);
        assert_true(p.fits == (meshes[i].cp * meshes[i].tp > 1) && p.mfu < 0.63);
    }
    r = upsampler_request(ctx, (mgi_mesh_shape){1, 9, 1, 0});
    mgi_mesh_plans plans;
    assert_int_equal(mgi_mesh_plan_make(ctx, &r, &plans), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "114240 tokens cannot be split over cp=9"));
    mgen_context_destroy(ctx);
}

/* The audio model's, on the report's 384 GPUs with its 1,536 samples of 30 seconds a step, which it does in 2.42 s (500,000
 * in 14 days): that is possible; and on small meshes, as above. */
static void test_audio(void **state)
{
    static const mgi_mesh_shape meshes[] = {{8, 1, 1, 0}, {4, 2, 1, 0}, {2, 5, 1, 0}, {4, 1, 2, 0}};
    mgen_context *ctx = small_context();
    mgi_plan one;
    (void)state;
    mgi_mesh_request r = audio_request(ctx, (mgi_mesh_shape){384, 1, 1, 64});
    mgi_plan_request sample = r.step;
    sample.batch = 1;
    assert_int_equal(mgi_plan_step(ctx, &sample, &one), MGEN_OK);
    r.step.batch = 4;
    mgi_mesh_plan p = plan_of(ctx, &r);
    assert_int_equal(p.global_batch, 1536);
    assert_near(p.model_flops, 3.0 * one.forward_flops * 1536, 1e-12);
    assert_true(p.fits && p.recompute == MGI_RECOMPUTE_NONE);
    assert_true(p.seconds < 14 * 86400.0 / 500000 && p.mfu < 0.63);
    print_message("13b, 384 GPUs: %.1f GB, %.3f s a step, MFU %.1f %%\n", p.memory_bytes * 1e-9,
                  p.seconds, 100 * p.mfu);
    for (size_t i = 0; i < sizeof meshes / sizeof meshes[0]; i++) {
        double ranks = meshes[i].dp * meshes[i].cp * meshes[i].tp;
        r = audio_request(ctx, meshes[i]);
        p = plan_of(ctx, &r);
        assert_near(p.model_flops, 3.0 * one.forward_flops * 2 * meshes[i].dp, 1e-12);
        assert_near(p.memory[MGI_PLAN_WEIGHTS], 4.0 * (double)one.parameters / ranks, 0.03);
        assert_near(p.memory[MGI_PLAN_MOMENTS], 12.0 * (double)one.parameters / ranks, 0.03);
        assert_true(p.fits && p.mfu < 0.63);
    }
    r = audio_request(ctx, (mgi_mesh_shape){1, 4, 1, 0});
    mgi_mesh_plans plans;
    assert_int_equal(mgi_mesh_plan_make(ctx, &r, &plans), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "750 tokens cannot be split over cp=4"));
    mgen_context_destroy(ctx);
}

/* More ranks of a kind need less memory of that kind; faster links wait less, and what has none waits not at all. */
static void test_order(void **state)
{
    mgen_context *ctx = small_context();
    mgi_mesh_plan before = {.samples = 0};
    (void)state;
    for (int tp = 1; tp <= 16; tp *= 2) {
        mgi_mesh_request r = request(ctx, 768, 32, (mgi_mesh_shape){4, 1, tp, 0});
        r.any_recompute = false;
        r.step.recompute = MGI_RECOMPUTE_SELECTIVE;
        mgi_mesh_plan p = plan_of(ctx, &r);
        if (tp > 1)
            assert_true(p.memory_bytes < before.memory_bytes &&
                        p.memory[MGI_PLAN_ACTIVATIONS] < before.memory[MGI_PLAN_ACTIVATIONS] &&
                        p.seconds < before.seconds && p.mfu < before.mfu);
        before = p;
    }
    mgi_mesh_request r = request(ctx, 768, 32, (mgi_mesh_shape){8, 2, 4, 0});
    mgi_mesh_plan p = plan_of(ctx, &r), q;
    /* parameters come ahead of their use */
    assert_true(p.exposed[MGI_AXIS_SHARD] < 0.005 * p.seconds);
    r.mesh.shard = 2; /* hybrid: more memory, fewer bytes between nodes but for the sums */
    q = plan_of(ctx, &r);
    assert_true(q.memory[MGI_PLAN_MOMENTS] > 7 * p.memory[MGI_PLAN_MOMENTS]);
    assert_true(q.bytes[MGI_COMM_ALL_REDUCE][MGI_LINK_NETWORK] > 0.0);
    assert_true(q.bytes[MGI_COMM_ALL_GATHER][MGI_LINK_NETWORK] == 0.0);
    r.mesh.shard = 0;
    r.gpu.link[MGI_LINK_NVLINK] = r.gpu.link[MGI_LINK_NETWORK] = 1e9;
    r.gpu.hop_us[MGI_LINK_NVLINK] = r.gpu.hop_us[MGI_LINK_NETWORK] = 0.0;
    q = plan_of(ctx, &r);
    assert_true(q.exposed_seconds < 1e-3 && p.exposed_seconds > 0.1);
    assert_near(p.seconds - p.exposed_seconds, q.seconds - q.exposed_seconds, 1e-6);
    /* memory that is cleared, little else: what makes a model is no part of a step */
    mgi_mesh_request one = request(ctx, 256, 1, (mgi_mesh_shape){1, 1, 1, 0});
    q = plan_of(ctx, &one);
    assert_true(q.busy[MGI_CLOCK_MEMORY] > 0.04 && q.busy[MGI_CLOCK_MEMORY] < 0.1);
    /* twice the passes: twice the samples, and less than twice the time */
    r = request(ctx, 768, 32, (mgi_mesh_shape){8, 2, 4, 0});
    for (int64_t passes = 2; passes <= 4; passes++) {
        r.global_batch = 8 * passes;
        q = plan_of(ctx, &r);
        assert_true(q.passes == passes && q.model_flops == (double)passes * p.model_flops);
        assert_true(q.seconds < (double)passes * p.seconds);
        assert_near(q.seconds, (double)passes * p.seconds, 0.01);
        assert_near(q.rank_flops, (double)passes * p.rank_flops, 1e-9);
    }
    mgen_context_destroy(ctx);
}

static void assert_refused(mgen_context *ctx, const mgi_mesh_request *r, const char *said)
{
    mgi_mesh_plans plans;
    assert_int_equal(mgi_mesh_plan_make(ctx, r, &plans), MGEN_E_INVALID);
    if (!strstr(mgen_last_error(ctx), said))
        fail_msg("%s", mgen_last_error(ctx));
}

static void test_refusals(void **state)
{
    mgen_context *ctx = small_context();
    (void)state;
    mgi_mesh_request r = request(ctx, 768, 32, (mgi_mesh_shape){1, 1, 3, 0});
    assert_refused(ctx, &r, "legal are 1, 2, 4, 8, 16");
    r = request(ctx, 768, 32, (mgi_mesh_shape){1, 5, 1, 0});
    assert_refused(ctx, &r, "73728 tokens cannot be split over cp=5 x tp=1");
    r = request(ctx, 768, 32, (mgi_mesh_shape){4, 1, 1, 3});
    assert_refused(ctx, &r, "shard must divide dp x cp = 4");
    r = request(ctx, 768, 32, (mgi_mesh_shape){4, 1, 1, 0});
    r.global_batch = 6;
    assert_refused(ctx, &r, "a global batch of 6");
    r.gpus = 8;
    assert_refused(ctx, &r, "has 4 places for 8 GPUs");
    r.mesh.dp = 0;
    r.gpus = 7; /* heads, FFN and tokens have no factor 7 */
    r.global_batch = 6;
    assert_refused(ctx, &r, "no mesh of 7 GPUs is legal");
    r = request(ctx, 768, 40, (mgi_mesh_shape){1, 1, 1, 0});
    assert_refused(ctx, &r, "40 x 96 x 96");
    mgen_context_destroy(ctx);
}

/* All meshes: from the best on; the text has the keys that are promised. */
static void test_ranking(void **state)
{
    static const char *const keys[] = {"mesh",
                                       "memory_per_rank_bytes",
                                       "flops_per_step",
                                       "step_seconds",
                                       "mfu",
                                       "exposed_comm_seconds",
                                       "bytes",
                                       "bytes_by_link",
                                       "assumed",
                                       "timeline",
                                       "limit",
                                       "meshes"};
    mgen_context *ctx = small_context();
    mgi_mesh_plans plans;
    mgi_json *root;
    char *text;
    (void)state;
    mgi_mesh_request r = request(ctx, 768, 32, (mgi_mesh_shape){0, 0, 0, 0});
    r.gpus = 32;
    r.timeline = true;
    assert_int_equal(mgi_mesh_plan_make(ctx, &r, &plans), MGEN_OK);
    assert_true(plans.count > 15 && plans.list[0].fits && !plans.list[plans.count - 1].fits);
    for (int64_t i = 0; i < plans.count; i++) {
        const mgi_mesh_plan *p = &plans.list[i];
        assert_int_equal(p->mesh.dp * p->mesh.cp * p->mesh.tp, 32);
        if (i && p->fits)
            assert_true(p[-1].fits && p[-1].mfu >= p->mfu);
        assert_true(p->fits || p->recompute == MGI_RECOMPUTE_FULL);
    }
    assert_int_equal(mgi_plan_json(ctx, "30b", &r, &plans, &text), MGEN_OK);
    assert_null(strchr(text, '\n'));
    assert_int_equal(mgi_json_parse(ctx, "plan", text, strlen(text), &root), MGEN_OK);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!mgi_json_find(root, keys[i]))
            fail_msg("no %s in %s", keys[i], text);
    const mgi_json *mesh = mgi_json_find(root, "mesh");
    assert_int_equal(mgi_json_find(mesh, "dp")->i, plans.list[0].mesh.dp);
    assert_int_equal(mgi_json_find(root, "meshes")->i, plans.count);
    assert_true(mgi_json_find(mgi_json_find(root, "bytes"), "all_gather")->d > 0);
    assert_int_equal(mgi_json_find(root, "timeline")->i, plans.list[0].event_count);
    mgi_json_free(ctx, root);
    mgi_free(ctx, text);
    assert_int_equal(mgi_plan_tables(ctx, "30b", &r, &plans, &text), MGEN_OK);
    assert_non_null(strstr(text, "attention_grad"));
    mgi_free(ctx, text);
    mgi_mesh_plans_free(ctx, &plans);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),   cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_gpu),     cmocka_unit_test(test_clock),
        cmocka_unit_test(test_traffic), cmocka_unit_test(test_table_3),
        cmocka_unit_test(test_order),   cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_ranking), cmocka_unit_test(test_upsampler),
        cmocka_unit_test(test_audio)};
    return cmocka_run_group_tests_name("planner", tests, NULL, NULL);
}
