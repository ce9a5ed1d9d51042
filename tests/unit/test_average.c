/* SPDX-License-Identifier: MIT
 * Averages of models: of single networks, and as a stage of a recipe. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/report.h"
#include "model/model_file.h"
#include "stage_runs.h"
#include "task/pipeline.h"
#include "train/average.h"
#include "train/checkpoint.h"

static const char *const folders[] = {folder, folder, folder};

static void assert_said(const char *text)
{
    if (!strstr(mgen_last_error(ctx), text))
        fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), text);
}

/* Initial models of a seed, saved as `set`. */
static void make_set(const char *set, uint64_t seed, int64_t layers)
{
    mgi_stage stage = tiny_text_to_video(1, 1);
    strcpy(stage.save_as, set);
    stage.video.layers = layers;
    stage.bucket[stage.bucket_count++] = /* quickly encoded */
        (mgi_bucket){.width = 64, .height = 64, .frames = 1, .weight = 1.0};
    struct mgi_stage_run *run = begin_seeded(&stage, seed);
    OK(mgi_stage_text_to_video.save(run));
    mgi_stage_text_to_video.destroy(run);
}

static int64_t load(const char *name, const char *tensor, float *out, int64_t most)
{
    mgi_model_file f;
    OK(mgi_model_file_open(ctx, folder, name, NULL, &f));
    const mgi_st_entry *e = mgi_st_find(&f.weights, tensor);
    assert_non_null(e);
    assert_int_equal(e->dtype, MGI_ST_BF16);
    int64_t count = (int64_t)(e->bytes / 2);
    assert_true(count <= most);
    OK(mgi_st_read_f32(ctx, e, out, count));
    mgi_model_file_close(ctx, &f);
    return count;
}

static void assert_average(const char *out, const char *tensor, const double shares[3])
{
    static const char *const part[] = {"a_", "b_", "c_"};
    static float in[3][4096], got[4096];
    char name[128];
    int64_t count = load(out, tensor, got, 4096);
    const char *rest = strstr(out, "video_model") ? "video_model" : "text_encoder";
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", part[i], rest);
        assert_int_equal(load(name, tensor, in[i], 4096), count);
    }
    for (int64_t k = 0; k < count; k++) {
        double mean = 0.0;
        for (int i = 0; i < 3; i++)
            mean += shares[i] * (double)in[i][k];
        if (fabs((double)got[k] - mean) > fabs(mean) / 256.0)
            fail_msg("%s %s[%d] is %g, not %g", out, tensor, (int)k, (double)got[k], mean);
    }
}

/* Three of equal shapes, with weights; one alone is itself, and so are equal ones. */
static void test_models(void **state)
{
    static const char *const names[] = {"a_video_model", "b_video_model", "c_video_model"};
    static const double weights[] = {1.0, 2.0, 5.0}, shares[] = {0.125, 0.25, 0.625};
    static float got[4096], same[4096];
    mgi_average_request q = {folders, names, weights, 3};
    (void)state;
    OK(mgi_average_check(ctx, &q));
    OK(mgi_average_models(ctx, &q, folder, "mean_video_model"));
    assert_average("mean_video_model", "block0.attn.qkv.weight", shares);
    assert_average("mean_video_model", "pos.row", shares);

    q.count = 1;
    OK(mgi_average_models(ctx, &q, folder, "mean_video_model"));
    int64_t count = load("a_video_model", "block1.attn.out.weight", got, 4096);
    assert_int_equal(load("mean_video_model", "block1.attn.out.weight", same, 4096), count);
    assert_memory_equal(got, same, (size_t)count * sizeof *got);
    q.names = (const char *const[]){"a_video_model", "mean_video_model", "a_video_model"};
    q.count = 3;
    OK(mgi_average_models(ctx, &q, folder, "mean_video_model"));
    load("mean_video_model", "block1.attn.out.weight", same, 4096);
    assert_memory_equal(got, same, (size_t)count * sizeof *got);
}

/* Other kinds, configurations and shapes are refused, and nothing is written. */
static void test_refused(void **state)
{
    static const double weights[] = {1.0, 1.0};
    mgi_model_file f;
    mgi_average_request q = {folders, NULL, weights, 2};
    (void)state;
    q.names = (const char *const[]){"a_video_model", "a_text_encoder"};
    assert_int_equal(mgi_average_models(ctx, &q, folder, "wrong"), MGEN_E_INVALID);
    assert_said("another kind or configuration");
    q.names = (const char *const[]){"a_video_model", "deep_video_model"};
    assert_int_equal(mgi_average_models(ctx, &q, folder, "wrong"), MGEN_E_INVALID);
    assert_said("a_video_model.json and ");
    assert_said("deep_video_model.json are of another kind");
    q.names = (const char *const[]){"a_video_model", "none"};
    assert_int_equal(mgi_average_models(ctx, &q, folder, "wrong"), MGEN_E_NOT_FOUND);
    assert_int_equal(mgi_model_file_open(ctx, folder, "wrong", NULL, &f), MGEN_E_NOT_FOUND);
    /* equal configurations, but not the tensors: the file of the deeper model under the name of another */
    char from[256], to[256];
    snprintf(from, sizeof from, "%s/deep_video_model.safetensors", folder);
    snprintf(to, sizeof to, "%s/mean_video_model.safetensors", folder);
    assert_int_equal(rename(from, to), 0);
    q.names = (const char *const[]){"a_video_model", "mean_video_model"};
    assert_int_equal(mgi_average_models(ctx, &q, folder, "wrong"), MGEN_E_INVALID);
    assert_said("do not have the same tensors");
}

static mgi_stage average_stage(void)
{
    mgi_stage s = {.name = "average", .kind = MGI_STAGE_AVERAGE, .steps = 1};
    for (int i = 0; i < 3; i++) {
        s.average[i][0] = (char)('a' + i);
        s.average_weight[i] = 1.0;
    }
    s.average_count = 3;
    return s;
}

/* All networks of the sets, into the names that a pipeline has; again after going on from a checkpoint. */
static void test_stage(void **state)
{
    static const double shares[] = {1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0};
    const struct mgi_stage_kind *kind = &mgi_stage_average;
    mgi_stage stage = average_stage();
    mgi_pipeline_file pipeline;
    mgen_report *report;
    char path[256];
    (void)state;
    struct mgi_stage_run *run = begin_seeded(&stage, 5);
    OK(mgi_report_create(ctx, &report));
    OK(kind->step(run, 0, report));
    assert_string_equal(mgen_report_name(report, 1), "models");
    assert_true(mgen_report_value(report, 1) == 3.0);
    mgen_report_destroy(report);
    OK(kind->save(run));
    snprintf(path, sizeof path, "%s/checkpoint", folder);
    OK(mgi_checkpoint_save(ctx, kind, run, path));
    kind->destroy(run);
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &pipeline));
    assert_string_equal(pipeline.video, "video_model");
    assert_string_equal(pipeline.text[0], "text_encoder");
    assert_string_equal(pipeline.tae, "tae");
    assert_average("video_model", "block0.attn.qkv.weight", shares);
    assert_average("text_encoder", "layer0.wi.weight", shares);

    strcpy(stage.save_as, "mean");
    run = begin_seeded(&stage, 5);
    OK(mgi_checkpoint_load(ctx, kind, run, path));
    OK(kind->save(run));
    kind->destroy(run);
    OK(mgi_pipeline_file_read(ctx, folder, "mean_pipeline", &pipeline));
    assert_string_equal(pipeline.video, "mean_video_model");

    const mgi_stage_params params = {.stage = &stage, .dir = folder, .seed = 5};
    strcpy(stage.average[2], "nowhere");
    assert_int_equal(kind->create(ctx, &params, &run), MGEN_E_STATE);
    assert_said("needs the model of an earlier stage, trained into the same folder");
}

static int open_all(void **state)
{
    if (make_context_and_folder(state) != 0)
        return -1;
    const mgi_stage tae = tiny_autoencoder(1, 1);
    struct mgi_stage_run *run = begin_seeded(&tae, 5);
    mgen_status status = mgi_stage_autoencoder.save(run);
    mgi_stage_autoencoder.destroy(run);
    make_set("a", 5, 2);
    make_set("b", 6, 2);
    make_set("c", 7, 2);
    make_set("deep", 5, 3);
    return status;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models),
                                       cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_stage)};
    return cmocka_run_group_tests_name("average", tests, open_all, free_context_and_folder);
}
