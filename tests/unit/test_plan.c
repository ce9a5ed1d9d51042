/* SPDX-License-Identifier: MIT
 * The meta device: the 30B transformer's training step, walked through on shapes. */
#include "model/model_file.h"
#include "tensor/device.h"
#include "train/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mgen_context *make_context(void)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    params.threads = 1;
    params.host_memory_max = 1 << 28; /* nothing of the model's size may be allocated */
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    return ctx;
}

/* 768 x 768 pixels, 256 frames: 32 x 96 x 96 latents, 73,728 tokens. */
static mgi_plan_request request_30b(mgen_context *ctx, int recompute)
{
    mgi_plan_request r = {.batch = 1,
                          .latent_frames = 32,
                          .latent_height = 96,
                          .latent_width = 96,
                          .text_tokens = 1024,
                          .recompute = recompute,
                          .dtype = MGK_BF16};
    assert_int_equal(mgi_vt_preset(ctx, "30b", &r.config), MGEN_OK);
    return r;
}

static double gigabytes(uint64_t bytes)
{
    return (double)bytes * 1e-9;
}

static bool within(double value, double expected, double share)
{
    return value >= expected * (1.0 - share) && value <= expected * (1.0 + share);
}

static void test_30b(void **state)
{
    (void)state;
    /* What the tape holds when the backward pass is at its worst. A hidden state is 0.906 GB, and a block
     * keeps 22 times that for its gradient (21 for the composite node, which keeps no input apart from
     * input plus positions): x 48; or its input and attention output x 48 and one block; or its input. */
    static const struct {
        const char *name;
        double activations;
    } expected[] = {[MGI_RECOMPUTE_NONE] = {"no", 957},
                    [MGI_RECOMPUTE_SELECTIVE] = {"selective", 107},
                    [MGI_RECOMPUTE_FULL] = {"full", 63}};
    mgen_context *ctx = make_context();
    for (int mode = MGI_RECOMPUTE_NONE; mode <= MGI_RECOMPUTE_FULL; mode++) {
        mgi_plan_request r = request_30b(ctx, mode);
        mgi_plan p;
        assert_int_equal(mgi_plan_step(ctx, &r, &p), MGEN_OK);
        assert_int_equal(p.tokens, 73728);
        assert_true(p.parameters > 29000000000 && p.parameters < 30500000000);
        /* paper: a layer 2.12e14, of which attention 1.34e14; three times that with the gradients */
        double step = 3.0 * p.forward_flops;
        if (mode == MGI_RECOMPUTE_SELECTIVE) /* all again but self-attention: 2 S^2 D twice */
            step += p.forward_flops - 48 * 4.0 * 73728.0 * 73728.0 * 6144.0;
        if (mode == MGI_RECOMPUTE_FULL)
            step += p.forward_flops;
        assert_true(within(p.forward_flops, 1.02e16, 0.01));
        assert_true(within(p.step_flops, step, 0.002));
        double activations = gigabytes(p.end.peak[MGI_MEM_ACTIVATION]);
        print_message(
            "%9s recompute: activations %.0f GB, at the peak of %.0f GB; forward %.3g, step "
            "%.4g FLOPs in %llu launches\n",
            expected[mode].name, activations, gigabytes(p.end.total_peak), p.forward_flops,
            p.step_flops, (unsigned long long)p.launches);
        assert_true(within(activations, expected[mode].activations, 0.06));
        /* f32 masters, gradients, two moments and the average; bf16 operands */
        uint64_t each = (uint64_t)p.parameters * 4;
        assert_int_equal(p.start.now[MGI_MEM_PARAMETER], each);
        assert_int_equal(p.start.now[MGI_MEM_GRADIENT], each);
        assert_int_equal(p.start.now[MGI_MEM_OPTIMIZER], 3 * each);
        assert_true(within((double)p.start.now[MGI_MEM_COMPUTE], (double)each / 2, 0.01));
    }
    mgen_context_destroy(ctx);
}

/* Of a transformer as the report describes it, with shared modulation: what is left open there is as in
 * video_transformer.c (a norm before the head, which is modulated too; biases in the time network only). DiT's blocks have
 * two matrices for three, and biases for the weights of norms; features are seen through two matrices. */
static int64_t closed_formula(const mgi_vt_config *c)
{
    bool dit = c->block == MGI_VT_DIT;
    int64_t d = c->dim, f = c->ff_dim, patch = c->patch_t * c->patch_h * c->patch_w;
    int64_t token = patch * c->channels, text = 0;
    int64_t block = 4 * d * d + 4 * d * d + (dit ? 2 : 3) * d * f + 6 * d;
    block += dit ? 3 * d + d + d + 2 * d + d + f + d : 2 * d;
    int64_t time = c->time_dim * d + d + d * d + d, modulation = 6 * d * d + 6 * d;
    int64_t tables = (c->frames_max + c->rows_max + c->columns_max) * d;
    int64_t head = (dit ? token : d) + 2 * d * d + 2 * d + token * d;
    int64_t in = token * d + (dit ? d : 0), seen = patch * c->condition * d + 2 * c->features * d;
    for (int i = 0; i < MGI_ROLES; i++)
        text += c->text[i] ? c->text[i] * d + 2 * d : 0;
    return c->layers * block + time + modulation + tables + text + in + seen + head;
}

/* The report's table 1 and what follows from it: 604.0 million weights a layer and 28.99 billion in 48, 226 million of
 * the shared modulation; 4.83 and 0.06 billion of the 5B model; heads of 128 (1B: 96). Of its upsampler the report gives
 * 7B alone; of its audio model (11.2), 13B, layers, width and FFN, of which 12.23 billion weights follow. */
static void test_presets(void **state)
{
    static const struct {
        const char *name;
        int64_t layers, dim, heads, ff_dim;
        double layer, all, modulation; /* as printed: millions, billions, billions */
    } want[] = {{"toybox", 8, 256, 8, 704, 1.065, 0.00852, 0.000393},
                {"1b", 24, 1536, 16, 4096, 37.75, 0.906, 0.01416},
                {"5b", 32, 3072, 24, 8192, 151.0, 4.83, 0.0566},
                {"7b", 26, 4096, 32, 11008, 269.5, 7.007, 0.1007},
                {"13b", 36, 4608, 36, 18432, 339.7, 12.23, 0.1274},
                {"30b", 48, 6144, 48, 16384, 604.0, 28.99, 0.2265}};
    mgen_context *ctx = make_context();
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        mgi_plan_request r = {.batch = 1, .latent_frames = 1, .text_tokens = 4, .dtype = MGK_BF16};
        mgi_plan p;
        assert_int_equal(mgi_vt_preset(ctx, want[i].name, &r.config), MGEN_OK);
        const mgi_vt_config *c = &r.config;
        r.latent_height = c->patch_h;
        r.latent_width = c->patch_w;
        assert_true(c->layers == want[i].layers && c->dim == want[i].dim &&
                    c->heads == want[i].heads && c->ff_dim == want[i].ff_dim);
        double d = (double)c->dim, matrices = c->block == MGI_VT_DIT ? 2 : 3;
        double layer = 8 * d * d + matrices * d * (double)c->ff_dim;
        assert_true(within(layer * 1e-6, want[i].layer, 0.001));
        assert_true(within((double)c->layers * layer * 1e-9, want[i].all, 0.001));
        assert_true(within(6 * d * d * 1e-9, want[i].modulation, 0.001));
        assert_int_equal(mgi_plan_step(ctx, &r, &p), MGEN_OK);
        assert_true(p.parameters == closed_formula(c));
        print_message("%s: %.4f billion parameters\n", want[i].name, (double)p.parameters * 1e-9);
    }
    mgen_context_destroy(ctx);
}

/* The upsampler's window: 14 frames of 1920 x 1088, each latent of itself: 14 x 68 x 120 tokens. */
static mgi_plan_request request_7b(mgen_context *ctx)
{
    mgi_plan_request r = {.batch = 1,
                          .latent_frames = 14,
                          .latent_height = 136,
                          .latent_width = 240,
                          .text_tokens = 1024,
                          .recompute = MGI_RECOMPUTE_NONE,
                          .dtype = MGK_BF16};
    assert_int_equal(mgi_vt_preset(ctx, "7b", &r.config), MGEN_OK);
    return r;
}

/* 30 seconds of sound: 750 latents. */
static mgi_plan_request request_13b(mgen_context *ctx, int recompute)
{
    mgi_plan_request r = {.batch = 1,
                          .latent_frames = 750,
                          .latent_height = 1,
                          .latent_width = 1,
                          .text_tokens = 512,
                          .recompute = recompute,
                          .dtype = MGK_BF16};
    assert_int_equal(mgi_vt_preset(ctx, "13b", &r.config), MGEN_OK);
    return r;
}

/* Operations of the forward pass of one sample of s tokens and p of text, which of three encoders half are UL2's: every
 * product, with 2 for a multiply and add. */
static double forward_formula(const mgi_vt_config *c, double s, double p)
{
    double d = (double)c->dim, f = (double)c->ff_dim, time = (double)c->time_dim;
    double patch = (double)(c->patch_t * c->patch_h * c->patch_w);
    double in = patch * (double)(c->channels + c->condition), out = patch * (double)c->channels;
    double self = 2 * s * d * 4 * d + 2 * s * s * d * 2;
    double cross = 2 * s * d * 2 * d + 2 * p * d * 2 * d + 2 * s * p * d * 2;
    double ffn = 2 * s * d * f * (c->block == MGI_VT_DIT ? 2 : 3);
    double text = 2 * d * p * (double)c->text[0];
    if (c->text[1])
        text =
            2 * d *
            (p / 2 * (double)c->text[0] + p / 4 * (double)c->text[1] + p / 4 * (double)c->text[2]);
    double of_time = 2 * d * (time + d + 6 * d + 2 * d);
    return (double)c->layers * (self + cross + ffn) + text + of_time + 2 * s * d * (in + out) +
           2 * s * 2 * d * (double)c->features;
}

/* The report's sizes in whole samples; an upsampler that is blind to its condition has one product less. */
static void test_flops(void **state)
{
    mgen_context *ctx = make_context();
    mgi_plan_request r = request_30b(ctx, MGI_RECOMPUTE_NONE);
    mgi_plan p, blind;
    (void)state;
    assert_int_equal(mgi_plan_step(ctx, &r, &p), MGEN_OK);
    assert_true(within(p.forward_flops, forward_formula(&r.config, 73728, 1024), 1e-9));
    r = request_7b(ctx);
    assert_int_equal(r.config.condition, 16);
    assert_int_equal(mgi_plan_step(ctx, &r, &p), MGEN_OK);
    assert_int_equal(p.tokens, 114240);
    assert_true(within(p.forward_flops, forward_formula(&r.config, 114240, 1024), 1e-9));
    print_message("7b: %.4f billion parameters, %lld tokens, forward %.4g FLOPs\n",
                  (double)p.parameters * 1e-9, (long long)p.tokens, p.forward_flops);
    r.config.condition = 0;
    assert_int_equal(mgi_plan_step(ctx, &r, &blind), MGEN_OK);
    assert_true(p.forward_flops - blind.forward_flops == 2.0 * 114240 * 4096 * 64);
    /* neither latents want a gradient: the weights' alone */
    assert_true(p.step_flops - blind.step_flops == 2 * (2.0 * 114240 * 4096 * 64));
    assert_true(p.parameters - blind.parameters == 4096 * 64);
    r.latent_height = 137;
    assert_int_equal(mgi_plan_step(ctx, &r, &p), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "at most 14 x 136 x 240"));
    mgen_context_destroy(ctx);
}

/* A stage that learns preferences has its model twice, of the other one what products read in bf16, and predicts twice. */
static void test_prefer(void **state)
{
    mgen_context *ctx = make_context();
    mgi_plan_request r = request_30b(ctx, MGI_RECOMPUTE_SELECTIVE);
    mgi_plan p, plain;
    (void)state;
    assert_int_equal(mgi_plan_step(ctx, &r, &plain), MGEN_OK);
    r.prefer = true;
    assert_int_equal(mgi_plan_step(ctx, &r, &p), MGEN_OK);
    assert_true(within(p.forward_flops, plain.forward_flops, 1e-12));
    assert_true(within(p.step_flops, plain.step_flops + plain.forward_flops, 1e-9));
    assert_int_equal(p.parameters, plain.parameters);
    for (int kind = 0; kind < MGI_MEM_KINDS; kind++) {
        const bool twice = kind == MGI_MEM_COMPUTE;
        assert_true(within((double)p.start.now[kind],
                           (double)plain.start.now[kind] * (twice ? 2.0 : 1.0), 0.01));
    }
    assert_true(within((double)p.end.peak[MGI_MEM_ACTIVATION], /* and what was predicted before */
                       (double)plain.end.peak[MGI_MEM_ACTIVATION], 0.001));
    mgen_context_destroy(ctx);
}

/* A stage that trains an adapter has weights as products read them, those of the blocks twice, gradients of one block's matrices and
 * moments of what learns alone; it computes what training computes, and products as narrow as the adapter. */
static void test_adapter(void **state)
{
    mgen_context *ctx = make_context();
    mgi_plan_request r = request_30b(ctx, MGI_RECOMPUTE_SELECTIVE);
    mgi_plan p, plain;
    const double d = (double)r.config.dim, f = (double)r.config.ff_dim, rank = 16.0;
    const double blocks =
        (double)r.config.layers * (4.0 + 4.0) * d * d +
        (double)r.config.layers * 3.0 * d * f; /* 3 + 1, 1 + 2 + 1; gate, up, down */
    const double own =
        rank * (double)r.config.layers *
        ((3 * d + d) + (d + d) + (d + d) + (2 * d + d) + (d + d) + (2 * f + d) + (d + f));
    (void)state;
    assert_int_equal(mgi_plan_step(ctx, &r, &plain), MGEN_OK);
    r.adapter = (int64_t)rank;
    assert_int_equal(mgi_plan_step(ctx, &r, &p), MGEN_OK);
    assert_int_equal(p.parameters, plain.parameters);
    assert_true(within((double)p.start.now[MGI_MEM_OPTIMIZER], 12.0 * own, 0.001));
    assert_true(within((double)p.start.now[MGI_MEM_COMPUTE], 2.0 * blocks, 0.001));
    assert_true(within((double)p.start.now[MGI_MEM_PARAMETER],
                       2.0 * (double)p.parameters + 4.0 * own, 0.01));
    assert_true(within((double)p.start.now[MGI_MEM_GRADIENT],
                       4.0 * (blocks / (double)r.config.layers + own), 0.001));
    assert_true(p.step_flops < plain.step_flops && p.step_flops > 0.99 * plain.step_flops);
    const double whole = (double)plain.start.total, less = (double)p.start.total;
    if (!(less < 0.2 * whole))
        fail_msg("%g of %g bytes", less, whole);
    mgen_context_destroy(ctx);
}

/* The audio model: a step of 30 seconds with each recomputation, what its features add, and the tables' end. */
static void test_sound(void **state)
{
    mgen_context *ctx = make_context();
    mgi_plan p, blind, kept = {0};
    (void)state;
    for (int mode = MGI_RECOMPUTE_NONE; mode <= MGI_RECOMPUTE_FULL; mode++) {
        mgi_plan_request r = request_13b(ctx, mode);
        assert_int_equal(mgi_plan_step(ctx, &r, &p), MGEN_OK);
        assert_int_equal(p.tokens, 750);
        assert_true(within(p.forward_flops, forward_formula(&r.config, 750, 512), 1e-9));
        /* three times the forward pass but for what the latents' own gradients would take; and what is done again */
        double step = 3 * p.forward_flops;
        if (mode != MGI_RECOMPUTE_NONE)
            step += p.forward_flops;
        if (mode == MGI_RECOMPUTE_SELECTIVE)
            step -= 36 * 4.0 * 750 * 750 * 4608;
        assert_true(within(p.step_flops, step, 0.005));
        print_message("13b, recompute %d: %.4f billion parameters, forward %.4g, step %.4g FLOPs, "
                      "activations %.2f GB, peak %.1f GB\n",
                      mode, (double)p.parameters * 1e-9, p.forward_flops, p.step_flops,
                      gigabytes(p.end.peak[MGI_MEM_ACTIVATION]), gigabytes(p.end.total_peak));
        if (mode != MGI_RECOMPUTE_NONE)
            assert_true(p.end.peak[MGI_MEM_ACTIVATION] < kept.end.peak[MGI_MEM_ACTIVATION]);
        kept = p;
    }
    mgi_plan_request r = request_13b(ctx, MGI_RECOMPUTE_FULL);
    r.config.features = 0;
    assert_int_equal(mgi_plan_step(ctx, &r, &blind), MGEN_OK);
    assert_true(p.forward_flops - blind.forward_flops == 2.0 * 750 * 9216 * 1024);
    assert_true(p.parameters - blind.parameters == 9216 * 1024);
    r.latent_frames = 1025;
    assert_int_equal(mgi_plan_step(ctx, &r, &p), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "at most 1024 x 1 x 1"));
    mgen_context_destroy(ctx);
}

/* Text of an encoder that is not there is the others'; odd numbers of tokens are all there. */
static void test_text(void **state)
{
    static const struct {
        int64_t width[MGI_ROLES], tokens[MGI_ROLES];
    } cases[] = {{{4096, 1472, 1280}, {7, 3, 3}}, {{4096, 0, 0}, {13, 0, 0}},
                 {{0, 1472, 1280}, {0, 7, 6}},    {{4096, 1472, 0}, {9, 4, 0}},
                 {{4096, 0, 1280}, {9, 0, 4}},    {{0, 0, 1280}, {0, 0, 13}}};
    mgen_context *ctx = make_context();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mgi_plan_request r = request_30b(ctx, MGI_RECOMPUTE_FULL);
        mgi_plan once, twice;
        r.config.layers = 1;
        r.text_tokens = 13;
        double d = (double)r.config.dim, each = 0.0;
        memcpy(r.config.text, cases[i].width, sizeof r.config.text);
        for (int k = 0; k < MGI_ROLES; k++)
            each += 2 * d * (double)(cases[i].tokens[k] * cases[i].width[k]);
        assert_int_equal(mgi_plan_step(ctx, &r, &once), MGEN_OK);
        for (int k = 0; k < MGI_ROLES; k++)
            r.config.text[k] *= 2; /* the projections alone have twice as much to do */
        assert_int_equal(mgi_plan_step(ctx, &r, &twice), MGEN_OK);
        assert_true(twice.forward_flops - once.forward_flops == each);
    }
    mgen_context_destroy(ctx);
}

static void write_video(mgi_json_writer *w, const void *config)
{
    mgi_vt_config_write(w, config);
}

/* A recipe may begin with a preset; what it says beside counts. */
static void test_preset_in_json(void **state)
{
    static const struct {
        const char *text, *said;
    } bad[] = {{"{\"preset\": \"2b\"}", "toybox, 1b, 5b, 7b, 13b and 30b"},
               {"{\"preset\": 1}", "preset"},
               {"{\"preset\": \"1b\", \"heads\": 5}", "\"heads\" (5)"},
               {"{\"preset\": \"1b\", \"patch\": [1]}", "patch"},
               {"{\"layers\": 2}", "dim"}};
    static const char good[] =
        "{\"preset\": \"1b\", \"layers\": 2, \"rows_max\": 16, \"text\": {\"byt5\": 96}}";
    mgen_context *ctx = make_context();
    mgi_vt_config c, preset;
    mgi_json *root;
    char difference[256];
    (void)state;
    assert_int_equal(mgi_vt_preset(ctx, "1b", &preset), MGEN_OK);
    assert_int_equal(mgi_json_parse(ctx, "good", good, strlen(good), &root), MGEN_OK);
    assert_int_equal(mgi_vt_config_read(ctx, root, &c), MGEN_OK);
    mgi_json_free(ctx, root);
    preset.layers = 2;
    preset.rows_max = 16;
    memcpy(preset.text, (const int64_t[]){0, 96, 0}, sizeof preset.text);
    assert_int_equal(
        mgi_config_difference(ctx, write_video, &c, &preset, difference, sizeof difference),
        MGEN_OK);
    assert_string_equal(difference, "");
    /* the audio model's guidance is its preset's, unless the recipe says another */
    for (int said = 0; said < 2; said++) {
        const char *text =
            said ? "{\"preset\": \"13b\", \"guidance\": 5}" : "{\"preset\": \"13b\"}";
        assert_int_equal(mgi_vt_preset(ctx, "13b", &preset), MGEN_OK);
        assert_true(preset.guidance == 3.0f && preset.features == 1024 &&
                    preset.condition == preset.channels && !preset.fps_prefix &&
                    preset.block == MGI_VT_DIT && preset.activation == MGI_VT_GELU);
        assert_int_equal(mgi_json_parse(ctx, "13b", text, strlen(text), &root), MGEN_OK);
        assert_int_equal(mgi_vt_config_read(ctx, root, &c), MGEN_OK);
        mgi_json_free(ctx, root);
        preset.guidance = said ? 5.0f : 3.0f;
        assert_int_equal(
            mgi_config_difference(ctx, write_video, &c, &preset, difference, sizeof difference),
            MGEN_OK);
        assert_string_equal(difference, "");
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(mgi_json_parse(ctx, "bad", bad[i].text, strlen(bad[i].text), &root),
                         MGEN_OK);
        assert_int_equal(mgi_vt_config_read(ctx, root, &c), MGEN_E_CORRUPT);
        assert_non_null(strstr(mgen_last_error(ctx), bad[i].said));
        mgi_json_free(ctx, root);
    }
    mgen_context_destroy(ctx);
}

static void test_refusals(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_plan_request r = request_30b(ctx, MGI_RECOMPUTE_FULL);
    mgi_plan p;
    r.latent_frames = 33;
    assert_int_equal(mgi_plan_step(ctx, &r, &p), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "33 x 96 x 96"));
    assert_int_equal(mgi_vt_preset(ctx, "70b", &r.config), MGEN_E_INVALID);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_30b),     cmocka_unit_test(test_presets),
        cmocka_unit_test(test_flops),   cmocka_unit_test(test_prefer),
        cmocka_unit_test(test_adapter), cmocka_unit_test(test_sound),
        cmocka_unit_test(test_text),    cmocka_unit_test(test_preset_in_json),
        cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
