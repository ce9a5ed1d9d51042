/* SPDX-License-Identifier: MIT
 * The protocol "sound": what it needs, what it refuses, what it reports. */
#include "../unit/reported.h"
#include "tiny_audio.h"
#include "eval_calls.h"

enum { CLIPS = 2 };

/* The tiny audio recipe with windows of 26 latents, 1.04 s: the checker needs a second. */
static void write_long_recipe(void)
{
    static const char *const longer[][2] = {{"\"window\": 12", "\"window\": 26"},
                                            {"\"frames_max\": 12", "\"frames_max\": 26"}};
    static char text[sizeof audio_recipe];
    memcpy(text, audio_recipe, sizeof text);
    for (int i = 0; i < 2; i++)
        for (char *at = text; (at = strstr(at, longer[i][0]));)
            memcpy(at, longer[i][1], strlen(longer[i][1]));
    FILE *f = fopen(recipe, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static mgen_audio_model *seeing, *blind;

/* One that sees films, and one that is told of them alone. */
static int begin(void **state)
{
    static const char *const stages[] = {"codec", "blind", "audio"};
    if (setup(state))
        return 1;
    write_long_recipe();
    mgen_context *ctx = make_context(2);
    train_tiny(ctx, stages, 3);
    if (mgen_audio_model_open(ctx, dir, "audio", &seeing) != MGEN_OK ||
        mgen_audio_model_open(ctx, dir, "blind_audio", &blind) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    mgen_context_destroy(ctx);
    return 0;
}

static int end(void **state)
{
    mgen_audio_model_release(seeing);
    mgen_audio_model_release(blind);
    return teardown(state);
}

static mgen_pipeline pipeline_of(mgen_audio_model *model)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    pipe.audio = model;
    return pipe;
}

static mgen_eval_params sounds(void)
{
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    p.protocol = "sound";
    p.n = CLIPS;
    p.seed = 5;
    return p;
}

static int32_t count_calls(void *user, uint32_t done, uint32_t total)
{
    assert_int_equal(done, ++*(uint32_t *)user);
    assert_int_equal(total, CLIPS);
    return 0;
}

/* Of each way, the rates that are always asked for; what cannot be told without a film is not. */
static void judged(mgen_context *ctx, mgen_audio_model *model, uint32_t steps, double steps_told)
{
    static const char *const ways[] = {"", "ceiling_", "control_", "unseen_"};
    static const char *const rates[] = {"place", "music", "mood"};
    mgen_pipeline pipe = pipeline_of(model);
    mgen_eval_params p = sounds();
    mgen_report *report;
    uint32_t calls = 0;
    p.steps = steps;
    p.on_progress = count_calls;
    p.user = &calls;
    if (mgen_evaluate(ctx, &pipe, &p, &report) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    assert_int_equal(calls, CLIPS);
    assert_string_equal(mgen_report_name(report, 0), "n");
    assert_true(reported(report, "n") == CLIPS && reported(report, "steps") == steps_told);
    assert_true(reported(report, "guidance") == 3.0);
    for (int way = 0; way < 4; way++)
        for (int i = 0; i < 3; i++) {
            char name[64];
            snprintf(name, sizeof name, "%s%s", ways[way], rates[i]);
            double value = reported_or(report, name, -1.0);
            if (way == 3 && model == blind)
                assert_true(value == -1.0);
            else
                assert_true(value >= 0.0 && value <= 1.0);
        }
    assert_true(reported(report, "ceiling_snr") > -60.0 && reported(report, "ceiling_snr") < 60.0);
    mgen_report_destroy(report);
}

static void test_report(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    judged(ctx, seeing, 0, 3.0); /* steps: the model's own */
    judged(ctx, blind, 2, 2.0);
    mgen_context_destroy(ctx);
}

static void test_refused(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_pipeline pipe = pipeline_of(NULL);
    mgen_eval_params p = sounds();
    refused(ctx, &pipe, &p, MGEN_E_STATE, "audio model");
    pipe = pipeline_of(seeing);
    pipe.width = 32;
    pipe.height = 64;
    refused(ctx, &pipe, &p, MGEN_E_STATE, "even sides of 48");
    pipe = pipeline_of(seeing);
    p.protocol = "sounds";
    refused(ctx, &pipe, &p, MGEN_E_INVALID, "\"sound\"");
    p = sounds();
    p.on_progress = stop_now;
    refused(ctx, &pipe, &p, MGEN_E_CANCELLED, "stopped");
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_report),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, begin, end);
}
