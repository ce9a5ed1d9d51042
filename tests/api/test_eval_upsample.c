/* SPDX-License-Identifier: MIT
 * The protocol "upsample": what it needs, what it refuses, what it reports. */
#include "../unit/reported.h"
#include "eval_calls.h"

#include <math.h>

static const char stage_text[] =
    "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": ["
    "{\"name\": \"upsampler\", \"kind\": \"upsampler\", \"steps\": 2, \"batch\": 1, \"clips\": 2,"
    " \"tae\": \"tae\", \"world\": {\"scale\": 2},"
    " \"buckets\": [{\"width\": 128, \"height\": 128, \"frames\": 2}],"
    " \"text_encoders\": {\"ul2\": {\"from\": \"text_encoder\", \"frozen\": true}},"
    " \"upsampler\": {\"factor\": 2, \"frames\": 14, \"overlap\": 4, \"steps\": 3, "
    "\"transformer\": "
    "{\"layers\": 1, \"dim\": 16, \"heads\": 2, \"ff_dim\": 32, \"channels\": 4,"
    " \"condition_channels\": 4, \"patch\": [1, 2, 2], \"frames_max\": 14, \"rows_max\": 8,"
    " \"columns_max\": 8, \"text_dim\": 16, \"guidance\": 1.5}},"
    " \"optimizer\": {\"lr\": 0.01}}]}";

static void train_upsampler(mgen_context *ctx)
{
    static const char *const stage[] = {"upsampler"};
    FILE *f = fopen(recipe, "w");
    assert_non_null(f);
    fputs(stage_text, f);
    assert_int_equal(fclose(f), 0);
    train_tiny(ctx, stage, 1);
}

static mgen_eval_params upsample(uint32_t n, uint32_t steps)
{
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    p.protocol = "upsample";
    p.n = n;
    p.steps = steps;
    p.seed = 5;
    return p;
}

static void test_without(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe, nothing = MGEN_PIPELINE_INIT;
    mgen_eval_params p = upsample(1, 1);
    pipe = open_short(ctx, 5);
    refused(ctx, &pipe, &p, MGEN_E_STATE, "lacks its upsampler");
    refused(ctx, &nothing, &p, MGEN_E_STATE, "lacks its upsampler");
    mgen_pipeline_close(&pipe);
    train_upsampler(ctx);
    mgen_context_destroy(ctx);
}

static int32_t count_calls(void *user, uint32_t done, uint32_t total)
{
    assert_int_equal(done, ++*(uint32_t *)user);
    assert_int_equal(total, 2);
    return 0;
}

static void test_report(void **state)
{
    static const char *const ways[] = {"", "bilinear_", "clean_", "clean_bilinear_", "ceiling_"};
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe;
    mgen_eval_params p = upsample(2, 0);
    uint32_t calls = 0;
    pipe = open_short(ctx, 5);
    pipe.frames = 18; /* two windows */
    p.on_progress = count_calls;
    p.user = &calls;
    mgen_report *report = measured(ctx, &pipe, &p);
    assert_int_equal(calls, 2);
    assert_string_equal(mgen_report_name(report, 0), "n");
    assert_true(reported(report, "n") == 2.0);
    assert_true(reported(report, "steps") == 3.0); /* the upsampler's own */
    assert_true(reported(report, "guidance") == 1.5);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "%spsnr", ways[i]);
        assert_true(reported(report, name) > 1.0 && reported(report, name) < 60.0);
        snprintf(name, sizeof name, "%sssim", ways[i]);
        assert_true(reported(report, name) > -1.0 && reported(report, name) < 1.0);
        snprintf(name, sizeof name, "%ssharpness", ways[i]);
        assert_true(reported(report, name) > 0.0);
        snprintf(name, sizeof name, "%schecker", ways[i]);
        assert_true(reported(report, name) >= 0.0 && reported(report, name) <= 1.0);
    }
    assert_true(reported(report, "checker_truth") > 0.7);
    assert_true(reported(report, "clean_bilinear_psnr") > 20.0);
    mgen_report_destroy(report);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* The request's own numbers change what is made, and only that. */
static void test_honoured(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe;
    mgen_eval_params p[5];
    mgen_report *own;
    pipe = open_short(ctx, 5);
    for (int i = 0; i < 5; i++)
        p[i] = upsample(1, 2);
    own = measured(ctx, &pipe, &p[0]);
    p[1].steps = 4;
    p[2].guidance = 5.0f;
    p[3].schedule = MGEN_SCHEDULE_LINEAR;
    p[4].solver = MGEN_SOLVER_MIDPOINT;
    for (int i = 1; i < 5; i++) {
        mgen_report *other = measured(ctx, &pipe, &p[i]);
        if (fabs(reported(own, "psnr") - reported(other, "psnr")) < 1e-9)
            fail_msg("request %d changes nothing", i);
        assert_true(reported(own, "bilinear_psnr") == reported(other, "bilinear_psnr"));
        assert_true(reported(own, "ceiling_psnr") == reported(other, "ceiling_psnr"));
        mgen_report_destroy(other);
    }
    mgen_report_destroy(own);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

static mgen_status no_sample(void *user, uint64_t index, mgen_sample *sample)
{
    (void)user;
    (void)index;
    (void)sample;
    return MGEN_E_IO;
}

static void test_refused(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe, part;
    mgen_eval_params p = upsample(1, 1);
    pipe = open_short(ctx, 5);
    part = pipe;
    part.tae = NULL;
    refused(ctx, &part, &p, MGEN_E_STATE, "lacks its TAE");
    part = pipe;
    part.text[0] = NULL;
    refused(ctx, &part, &p, MGEN_E_STATE, "lacks its text encoder of role");
    part = pipe;
    part.width = 0; /* of a pipeline filled by hand */
    refused(ctx, &part, &p, MGEN_E_STATE, "its are 0 x 64");
    part = pipe;
    part.video = NULL; /* which upsampling does not need */
    mgen_report_destroy(measured(ctx, &part, &p));
    p.steps = 1001;
    refused(ctx, &pipe, &p, MGEN_E_INVALID, "steps at most 1000");
    p = upsample(1, 1);
    p.solver = 9;
    refused(ctx, &pipe, &p, MGEN_E_INVALID, "solver");
    p = upsample(1, 1);
    p.on_progress = stop_now;
    refused(ctx, &pipe, &p, MGEN_E_CANCELLED, "stopped");
    p = upsample(1, 1);
    mgen_dataset_params dp = MGEN_DATASET_PARAMS_INIT;
    dp.width = dp.height = 64;
    dp.frames = dp.count = 1;
    dp.read = no_sample;
    assert_int_equal(mgen_dataset_create(ctx, &dp, &p.dataset), MGEN_OK);
    refused(ctx, &pipe, &p, MGEN_E_INVALID, "protocol \"tae\"");
    mgen_dataset_release(p.dataset);
    p.dataset = NULL;
    p.protocol = "upsampled";
    refused(ctx, &pipe, &p, MGEN_E_INVALID, "\"personalize\", \"rewrite\" and \"curate\"");
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

static void test_memory(void **state)
{
    const mgen_eval_params p = upsample(1, 1);
    (void)state;
    run_out_of_memory(&p, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without),  cmocka_unit_test(test_report),
        cmocka_unit_test(test_honoured), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, setup_trained, teardown);
}
