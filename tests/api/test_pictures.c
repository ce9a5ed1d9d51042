/* SPDX-License-Identifier: MIT
 * Pictures, from outside: a video model goes on as one of pictures, whose folder makes them, refuses films and is measured; and
 * recipes, planned. */
#include "../unit/reported.h"
#include "tiny.h"

#include <math.h>

#define PICTURE_MODEL                                                                              \
    " \"text_encoders\": {\"ul2\": {\"from\": \"text_encoder\", \"frozen\": true}},"               \
    " \"video_model\": {\"layers\": 1, \"dim\": 16, \"heads\": 2, \"ff_dim\": 32, \"channels\": "  \
    "6,"                                                                                           \
    " \"patch\": [1, 2, 2], \"frames_max\": 4, \"rows_max\": 6, \"columns_max\": 6, "              \
    "\"text_dim\": "                                                                               \
    "16},"

/* As the report's: an image autoencoder of other latents, larger pictures, a few of them at a constant rate. */
static const char pictures_text[] =
    "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": ["
    "{\"name\": \"picture_tae\", \"kind\": \"autoencoder\", \"steps\": 2, \"batch\": 2, "
    "\"frames\": "
    "1, \"tae\": {\"channels\": [2, 4, 4, 8], \"latent_channels\": 6, \"blocks\": 1, \"temporal\": "
    "false}, \"optimizer\": {\"lr\": 0.001}},"
    "{\"name\": \"pictures\", \"kind\": \"text_to_video\", \"steps\": 3, \"batch\": 2, \"clips\": "
    "4,"
    " \"tae\": \"picture_tae\", \"start_from\": \"video_model\", \"save_as\": \"pictures\","
    " \"buckets\": [{\"width\": 96, \"height\": 64, \"frames\": 1}]," PICTURE_MODEL
    " \"optimizer\": {\"lr\": 0.01}},"
    "{\"name\": \"tuned\", \"kind\": \"text_to_video\", \"steps\": 3, \"batch\": 2, \"clips\": 2,"
    " \"tae\": \"picture_tae\", \"start_from\": \"pictures\","
    " \"plan\": {\"gpus\": 2},"
    " \"buckets\": [{\"width\": 96, \"height\": 64, \"frames\": 1}]," PICTURE_MODEL
    " \"optimizer\": {\"lr\": 0.001, \"schedule\": \"constant\", \"warmup\": 1}}]}";

static int setup_pictures(void **state)
{
    static const char *const stages[] = {"picture_tae", "pictures", "tuned"};
    int failed = setup_trained(state);
    if (failed)
        return failed;
    snprintf(recipe, sizeof recipe, "%s/pictures.json", dir);
    FILE *f = fopen(recipe, "w");
    if (!f)
        return 1;
    fputs(pictures_text, f);
    if (fclose(f))
        return 1;
    mgen_context *ctx = make_context(2);
    train_tiny(ctx, stages, 3);
    mgen_context_destroy(ctx);
    return 0;
}

static void open_folder(mgen_context *ctx, mgen_pipeline *pipe)
{
    *pipe = (mgen_pipeline)MGEN_PIPELINE_INIT;
    if (mgen_pipeline_open(ctx, dir, pipe) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
}

static void test_a_picture(void **state)
{
    char path[300];
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe;
    mgen_clip *clip, *read;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_model_info tae = MGEN_MODEL_INFO_INIT;
    (void)state;
    open_folder(ctx, &pipe);
    assert_true(pipe.width == 96 && pipe.height == 64 && pipe.frames == 1);
    mgen_tae_get_info(pipe.tae, &tae);
    assert_int_equal(tae.temporal_factor, 1);
    mgen_generate_params p = film_request(0);
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_OK);
    mgen_clip_get_info(clip, &info);
    assert_true(info.frames == 1 && info.width == 96 && info.height == 64);
    snprintf(path, sizeof path, "%s/picture.png", dir);
    assert_int_equal(mgen_clip_write(ctx, clip, path), MGEN_OK);
    assert_int_equal(mgen_clip_read(ctx, path, 0, 0, &read), MGEN_OK);
    mgen_clip_get_info(read, &info);
    assert_true(info.frames == 1 && info.width == 96 && info.height == 64);
    mgen_clip_destroy(read);
    mgen_clip_destroy(clip);
    p.frames = 1;
    p.width = p.height = 32;
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_OK);
    mgen_clip_destroy(clip);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* A film is refused before anything is made, by its estimate as well. */
static void test_no_film(void **state)
{
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe;
    mgen_clip *clip;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    (void)state;
    open_folder(ctx, &pipe);
    mgen_generate_params p = film_request(9);
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_E_UNSUPPORTED);
    assert_non_null(strstr(mgen_last_error(ctx), "makes pictures"));
    assert_non_null(strstr(mgen_last_error(ctx), "not 9"));
    assert_int_equal(mgen_generate_estimate(ctx, &pipe, &p, &e), MGEN_E_UNSUPPORTED);
    p.frames = 1;
    assert_int_equal(mgen_generate_estimate(ctx, &pipe, &p, &e), MGEN_OK);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

static bool reports(const mgen_report *report, const char *name)
{
    return !isnan(reported_or(report, name, NAN));
}

static void test_measured(void **state)
{
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe;
    mgen_report *report;
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    (void)state;
    open_folder(ctx, &pipe);
    p.protocol = "alignment";
    p.n = 2;
    p.steps = 2;
    if (mgen_evaluate(ctx, &pipe, &p, &report) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    assert_true(reports(report, "colour") && reports(report, "ceiling_background"));
    assert_false(reports(report, "camera") || reports(report, "motion") || reports(report, "fps"));
    mgen_report_destroy(report);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* ---- plans of recipes ------------------------------------------------------------------------- */

static mgen_status plan(mgen_context *ctx, const char *stage, mgen_plan_params *p,
                        mgen_report **report)
{
    char preset[400];
    snprintf(preset, sizeof preset, "%s:%s", recipe, stage);
    p->preset = preset;
    *report = NULL;
    mgen_status status = mgen_plan_training(ctx, p, report);
    p->preset = NULL;
    return status;
}

static mgen_plan_params on_h100s(uint32_t gpus)
{
    mgen_plan_params p = MGEN_PLAN_PARAMS_INIT;
    p.gpu = "h100-80gb";
    p.gpus = gpus;
    return p;
}

static void test_planned(void **state)
{
    mgen_context *ctx = make_context(1);
    mgen_report *report;
    (void)state;
    mgen_plan_params p = on_h100s(0); /* those of the stage */
    assert_int_equal(plan(ctx, "tuned", &p, &report), MGEN_OK);
    assert_true(reported(report, "tokens") == 6 * 4 && reported(report, "dp") == 2);
    assert_true(reported(report, "global_batch") == 2 && reported(report, "steps") == 3);
    assert_true(reported(report, "samples") == 6 && reported(report, "fits") == 1);
    assert_true(
        fabs(reported(report, "days") * 86400 / (3 * reported(report, "step_seconds")) - 1) < 1e-9);
    assert_null(mgen_report_text(report));
    mgen_report_destroy(report);
    p = on_h100s(1);
    p.text = 2;
    assert_int_equal(plan(ctx, "", &p, &report), MGEN_OK); /* all of them */
    assert_true(reported(report, "steps") == 2 + 6 && reported(report, "dp") == 1);
    assert_true(fabs(reported(report, "gpu_days") - reported(report, "days")) < 1e-12);
    const char *text = mgen_report_text(report);
    assert_true(strstr(text, "picture_tae ") && strstr(text, "pictures ") &&
                strstr(text, "tuned "));
    mgen_report_destroy(report);
    p.text = 1;
    assert_int_equal(plan(ctx, "pictures", &p, &report), MGEN_OK);
    assert_non_null(strstr(mgen_report_text(report), "\"stage\": \"pictures\""));
    mgen_report_destroy(report);
    mgen_context_destroy(ctx);
}

static void refuse(mgen_context *ctx, const char *stage, mgen_plan_params p, const char *said)
{
    mgen_report *report;
    assert_int_equal(plan(ctx, stage, &p, &report), MGEN_E_INVALID);
    assert_null(report);
    if (!strstr(mgen_last_error(ctx), said))
        fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), said);
}

static void test_plans_refused(void **state)
{
    mgen_context *ctx = make_context(1);
    mgen_report *report;
    (void)state;
    refuse(ctx, "nobody", on_h100s(1), "it has \"picture_tae\", \"pictures\", \"tuned\"");
    refuse(ctx, "pictures", on_h100s(0), "no \"plan\"");
    mgen_plan_params p = on_h100s(1);
    p.width = 64;
    refuse(ctx, "tuned", p,
           "width, height, frames, global_batch, precision and timeline must be 0");
    p = on_h100s(1);
    p.recompute = "some";
    refuse(ctx, "tuned", p, "\"some\"");
    p = on_h100s(1);
    p.batch = 65537;
    refuse(ctx, "tuned", p, "65537");
    p = on_h100s(1);
    p.gpu = "h90";
    refuse(ctx, "tuned", p, "\"h90\"");
    p = on_h100s(2);
    p.mesh = "tp=3";
    refuse(ctx, "tuned", p, "3 places for 2 GPUs");
    p = on_h100s(1);
    p.preset = "/no/such/recipe.json:one";
    assert_int_equal(mgen_plan_training(ctx, &p, &report), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "/no/such/recipe.json"));
    p.preset = ":";
    assert_int_equal(mgen_plan_training(ctx, &p, &report), MGEN_E_INVALID);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_picture),     cmocka_unit_test(test_no_film),
        cmocka_unit_test(test_measured),      cmocka_unit_test(test_planned),
        cmocka_unit_test(test_plans_refused),
    };
    return cmocka_run_group_tests_name("pictures", tests, setup_pictures, teardown);
}
