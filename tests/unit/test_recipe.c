/* SPDX-License-Identifier: MIT
 * Recipes: what is read of them, what is refused, and the learning rates that they ask for. */
#include "tensor/device.h"
#include "train/optimizer.h"
#include "train/stage.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char file[] = "/tmp/mgi-recipe-XXXXXX";
static mgen_context *ctx;

/* As far as the members of stage "one". */
static FILE *open_recipe(void)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fputs("{\"format\":\"moviegen-recipe\",\"version\":1,\"stages\":[{\"name\":\"one\",", f);
    return f;
}

/* Stage "one" with members `stage` and an optimizer with members `optimizer`, read back. */
static mgen_status read_stage(const char *stage, const char *optimizer, mgi_stage *out)
{
    FILE *f = open_recipe();
    fprintf(f,
            "\"kind\":\"autoencoder\",\"steps\":100,\"batch\":2,\"tae\":{\"channels\":[4,4,4,4],"
            "\"latent_channels\":4,\"blocks\":1,\"temporal\":false}%s%s,"
            "\"optimizer\":{\"lr\":0.5%s%s}}]}",
            *stage ? "," : "", stage, *optimizer ? "," : "", optimizer);
    fclose(f);
    return mgi_recipe_stage(ctx, file, "one", out);
}

static void assert_refused(const char *stage, const char *optimizer, const char *said)
{
    mgi_stage s;
    assert_int_equal(read_stage(stage, optimizer, &s), MGEN_E_CORRUPT);
    if (!strstr(mgen_last_error(ctx), said))
        fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), said);
}

static void test_defaults(void **state)
{
    mgi_stage s;
    (void)state;
    assert_int_equal(read_stage("", "", &s), MGEN_OK);
    assert_int_equal(s.accumulate, 1);
    assert_int_equal(s.world.objects_max, 0); /* the default */
    assert_int_equal(read_stage("\"world\":{\"objects_max\":2}", "", &s), MGEN_OK);
    assert_int_equal(s.world.objects_max, 2);
    assert_int_equal(s.optimizer.schedule, MGI_LR_COSINE);
}

static void test_losses(void **state)
{
    mgi_stage s;
    (void)state;
    assert_int_equal(read_stage("", "", &s), MGEN_OK);
    assert_true(s.opl == 0.0 && s.perceptual == 0.0 && s.gan == 0.0);
    assert_int_equal(
        read_stage("\"opl\":{\"weight\":2},\"perceptual\":{\"weight\":3,\"weights\":\"vgg\"},"
                   "\"discriminator\":{\"weight\":0.5,\"start\":7,\"optimizer\":{\"lr\":0.25}}",
                   "", &s),
        MGEN_OK);
    assert_true(s.opl == 2.0 && s.opl_r == 3.0 && s.perceptual == 3.0 && s.gan == 0.5);
    assert_true(s.gan_start == 7 && s.gan_channels == 64 && s.gan_optimizer.lr == 0.25);
    assert_string_equal(s.perceptual_file, "vgg");
}

static void test_refused(void **state)
{
    (void)state;
    assert_refused("\"accumulate\":0", "", "\"accumulate\"");
    assert_refused("\"store\":\"fp8\"", "", "\"store\""); /* transformers only */
    assert_refused("\"validate_clips\":0", "", "\"validate_clips\"");
    assert_refused("\"validate_clips\":65", "", "\"validate_clips\"");
    assert_refused("\"freeze_encoder\":true", "", "needs \"start_from\"");
    assert_refused("\"buckets\":[{\"width\":64,\"height\":64,\"frames\":9}],\"image_every\":2", "",
                   "\"image_every\" stands beside \"buckets\"");
    assert_refused("\"images\":0.5", "", "of both kinds");
    assert_refused("\"world\":3", "", "\"world\" must be an object");
    assert_refused("\"world\":{\"shapes\":3}", "", "\"shapes\"");
    assert_refused("", "\"schedule\":\"steps\"",
                   "\"cosine\", \"constant\", \"plateau\" and \"linear\"");
    assert_refused("", "\"schedule\":\"plateau\"", "needs \"validate_every\"");
    assert_refused("\"opl\":1", "", "\"opl\" must be an object");
    assert_refused("\"opl\":{\"r\":3}", "", "\"weight\"");
    assert_refused("\"perceptual\":{\"weight\":1,\"weights\":\"a/b\"}", "",
                   "\"weights\" is \"a/b\"");
    assert_refused("\"discriminator\":{\"weight\":1,\"start\":0}", "", "\"optimizer\"");
    assert_refused("\"discriminator\":{\"weight\":1,\"start\":0,\"channels\":6,"
                   "\"optimizer\":{\"lr\":0.1}}",
                   "", "is 6, no multiple of 4");
    assert_refused("\"discriminator\":{\"weight\":1,\"start\":0,\"optimizer\":{\"lr\":0.1,"
                   "\"schedule\":\"plateau\"}}",
                   "", "has no validation");
    assert_refused("\"validate_every\":5", "\"schedule\":\"plateau\",\"patience\":0",
                   "\"patience\"");
}

/* A text-to-video stage with these members more. */
static mgen_status read_video(const char *members, mgi_stage *out)
{
    FILE *f = open_recipe();
    fprintf(f,
            "\"kind\":\"text_to_video\",\"steps\":100,\"batch\":2,\"tae\":\"tae\",\"clips\":4,"
            "\"text_encoder\":{\"vocab\":259,\"dim\":16,\"layers\":1,\"heads\":2,\"head_dim\":8,"
            "\"ff_dim\":16,\"buckets\":8,\"max_distance\":16,\"tokens_max\":96},"
            "\"video_model\":{\"layers\":1,\"dim\":16,\"heads\":2,\"ff_dim\":32,\"channels\":4,"
            "\"patch\":[1,2,2],\"frames_max\":8,\"rows_max\":8,\"columns_max\":8,\"text_dim\":16,"
            "\"time_dim\":16},\"optimizer\":{\"lr\":0.5}%s%s}]}",
            *members ? "," : "", members);
    fclose(f);
    return mgi_recipe_stage(ctx, file, "one", out);
}

static void test_buckets(void **state)
{
    static const struct {
        const char *members, *said;
    } bad[] = {
        {"\"buckets\":[]", "must be a list of objects"},
        {"\"buckets\":{\"width\":64}", "must be a list of objects"},
        {"\"buckets\":[3]", "an entry that is not an object"},
        {"\"buckets\":[{\"width\":64,\"height\":64}]", "\"frames\""},
        {"\"buckets\":[{\"width\":64,\"height\":64,\"frames\":0}]", "\"frames\""},
        {"\"buckets\":[{\"width\":64,\"height\":64,\"frames\":9,\"weight\":0}]", "\"weight\""},
        {"\"buckets\":[{\"width\":64,\"height\":64,\"frames\":9,\"size\":1}]", "\"size\""},
        {"\"buckets\":[{\"width\":64,\"height\":64,\"frames\":9}],\"images\":0.5", "of both kinds"},
        {"\"images\":0.5", "of both kinds"},
        {"\"save_as\":\"../up\"", "\"../up\"; letters, digits"},
        {"\"start_from\":\".hidden\"", "letters, digits"},
    };
    mgi_stage s;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_video(bad[i].members, &s), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), bad[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), bad[i].said);
    }
    assert_int_equal(read_video("", &s), MGEN_OK);
    assert_int_equal(s.bucket_count, 0);
    assert_int_equal(
        read_video("\"buckets\":[{\"width\":96,\"height\":64,\"frames\":48,\"fps\":24},"
                   "{\"width\":64,\"height\":96,\"frames\":1,\"batch\":8,\"weight\":2}],"
                   "\"images\":0.25,\"start_from\":\"a\",\"save_as\":\"b\"",
                   &s),
        MGEN_OK);
    assert_int_equal(s.bucket_count, 2);
    assert_int_equal(s.bucket[0].fps, 24);
    assert_int_equal(s.bucket[0].batch, 0);
    assert_int_equal(s.bucket[1].batch, 8);
    assert_true(s.bucket[1].weight == 2.0 && s.images == 0.25);
    assert_string_equal(s.save_as, "b");
}

/* The GPUs that a stage is meant for, heeded by nobody but the planner; samples are divided by transformers only. */
static void test_plan(void **state)
{
    static const struct {
        const char *members, *said;
    } bad[] = {
        {"\"plan\":3", "\"plan\" must be an object"},
        {"\"plan\":{}", "\"gpus\""},
        {"\"plan\":{\"gpus\":0}", "\"gpus\" is 0"},
        {"\"plan\":{\"gpus\":8,\"dp\":8}", "\"dp\""},
        {"\"plan\":{\"gpus\":8,\"cp\":2,\"tp\":3}",
         "8 \"gpus\" are no multiple of \"cp\" x \"tp\" (2 x 3)"},
    };
    mgi_stage s;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_video(bad[i].members, &s), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), bad[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), bad[i].said);
    }
    assert_refused("\"plan\":{\"gpus\":8,\"tp\":2}", "", "share batches and nothing else");
    assert_int_equal(read_stage("\"plan\":{\"gpus\":8}", "", &s), MGEN_OK);
    assert_int_equal(s.plan.gpus, 8);
    assert_int_equal(read_video("", &s), MGEN_OK);
    assert_int_equal(s.plan.gpus, 0);
    assert_int_equal(read_video("\"plan\":{\"gpus\":64,\"tp\":4}", &s), MGEN_OK);
    assert_true(s.plan.gpus == 64 && s.plan.cp == 1 && s.plan.tp == 4);
}

static mgen_status read_average(const char *members, mgi_stage *out)
{
    FILE *f = open_recipe();
    fprintf(f, "\"kind\":\"average\",%s}]}", members);
    fclose(f);
    return mgi_recipe_stage(ctx, file, "one", out);
}

static void test_average(void **state)
{
    static const struct {
        const char *members, *said;
    } bad[] = {
        {"\"steps\":3", "\"steps\""},
        {"\"models\":[]", "must be a list of objects"},
        {"\"models\":[\"a\"]", "not an object"},
        {"\"models\":[{\"start_from\":\"\"}]", "is empty"},
        {"\"models\":[{\"start_from\":\"a\",\"weight\":-1}]", "\"weight\""},
    };
    mgi_stage s;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_average(bad[i].members, &s), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), bad[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), bad[i].said);
    }
    assert_int_equal(
        read_average("\"models\":[{\"start_from\":\"a\"},{\"start_from\":\"b\",\"weight\":3}]", &s),
        MGEN_OK);
    assert_int_equal(s.kind, MGI_STAGE_AVERAGE);
    assert_int_equal(s.steps, 1);
    assert_int_equal(s.average_count, 2);
    assert_string_equal(s.average[1], "b");
    assert_true(s.average_weight[0] == 1.0 && s.average_weight[1] == 3.0);
}

#define TEXTS "\"text_encoders\":{\"ul2\":{\"from\":\"ul2\",\"frozen\":true}}"
#define UPSAMPLER(condition, members)                                                              \
    "\"upsampler\":{\"transformer\":{\"layers\":1,\"dim\":16,\"heads\":2,\"ff_dim\":32,"           \
    "\"channels\":4,\"condition_channels\":" condition ",\"patch\":[1,2,2],\"frames_max\":14,"     \
    "\"rows_max\":8,\"columns_max\":8,\"text\":{\"ul2\":16},\"time_dim\":16}" members "}"

#define DEGRADE(text) TEXTS "," UPSAMPLER("4", "") ",\"degrade\":" text

static void test_store(void **state)
{
    mgi_stage s;
    (void)state;
    assert_int_equal(read_video("", &s), MGEN_OK);
    assert_int_equal(mgi_stage_store(&s), MGI_ST_BF16);
    assert_int_equal(read_video("\"store\":\"bf16\"", &s), MGEN_OK);
    assert_int_equal(mgi_stage_store(&s), MGI_ST_BF16);
    assert_int_equal(read_video("\"store\":\"fp8\"", &s), MGEN_OK);
    assert_int_equal(mgi_stage_store(&s), MGI_ST_F8);
    assert_int_equal(read_video("\"store\":\"f32\"", &s), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "\"bf16\" and \"fp8\""));
}

/* Of n times: how many lie below `time`. */
static double share_below(const mgi_stage *s, double time)
{
    enum { N = 4096 };
    static float t[N];
    int below = 0;
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    mgi_tensor *times = mgi_stage_times(&run, s, 1, 0, N);
    assert_int_equal(run.status, MGEN_OK);
    mgi_tensor_read(times, 0, t, N);
    mgi_run_finish(&run);
    for (int i = 0; i < N; i++)
        below += t[i] < time;
    return (double)below / N;
}

/* sigmoid(normal(mean, deviation)): the shares below a time are the normal's. */
static void test_times(void **state)
{
    static const char *const bad[][2] = {
        {"\"times\":1", "\"times\" must be an object"},
        {"\"times\":{\"shift\":1}", "\"shift\""},
        {"\"times\":{\"deviation\":0}", "\"deviation\""},
        {"\"times\":{\"mean\":-9}", "\"mean\""},
    };
    mgi_stage s;
    (void)state;
    assert_int_equal(read_video("", &s), MGEN_OK);
    assert_true(fabs(share_below(&s, 0.5) - 0.5) < 0.03);
    assert_true(fabs(share_below(&s, 1 / (1 + exp(1.0))) - 0.1587) < 0.03);
    assert_int_equal(read_video("\"times\":{\"mean\":-1}", &s), MGEN_OK);
    assert_true(fabs(share_below(&s, 0.5) - 0.8413) < 0.03);
    assert_int_equal(read_video("\"times\":{\"mean\":-1,\"deviation\":0.5}", &s), MGEN_OK);
    assert_true(fabs(share_below(&s, 0.5) - 0.9772) < 0.03);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_video(bad[i][0], &s), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), bad[i][1]))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), bad[i][1]);
    }
}

static mgen_status read_upsampler(const char *members, mgi_stage *out)
{
    FILE *f = open_recipe();
    fprintf(f,
            "\"kind\":\"upsampler\",\"steps\":100,\"batch\":2,\"tae\":\"tae\",\"clips\":4,"
            "\"optimizer\":{\"lr\":0.5},%s}]}",
            members);
    fclose(f);
    return mgi_recipe_stage(ctx, file, "one", out);
}

static void test_upsampler(void **state)
{
    static const struct {
        const char *members, *said;
    } bad[] = {
        {TEXTS, "\"upsampler\" must be an object"},
        {UPSAMPLER("4", ""), "\"text_encoders\" is missing"},
        {TEXTS "," UPSAMPLER("4", ",\"tae\":\"tae\""), "\"tae\""},
        {TEXTS "," UPSAMPLER("4", "") ",\"video_model\":{}", "\"video_model\""},
        {TEXTS "," UPSAMPLER("0", ""), "\"condition_channels\" is 0 and \"channels\" 4"},
        {TEXTS "," UPSAMPLER("4", ",\"overlap\":8"), "more than half of a window"},
        {TEXTS "," UPSAMPLER("4", ",\"frames\":16"), "do not fit a transformer of 14"},
        {TEXTS "," UPSAMPLER("4", "") ",\"artifacts\":\"tae\"", "\"artifacts\" must be an object"},
        {TEXTS "," UPSAMPLER("4", "") ",\"artifacts\":{\"share\":1}", "\"tae\""},
        {TEXTS "," UPSAMPLER("4", "") ",\"artifacts\":{\"tae\":\"\"}", "is empty"},
        {TEXTS "," UPSAMPLER("4", "") ",\"artifacts\":{\"tae\":\"a\",\"share\":1.5}", "\"share\""},
        {DEGRADE("3"), "\"degrade\" must be an object"},
        {DEGRADE("{\"blur\":1}"), "\"blur\""},
        {DEGRADE("{\"clean\":-1}"), "\"clean\" is -1"},
        {DEGRADE("{\"clean\":1.5}"), "\"clean\" is 1.5"},
        {DEGRADE("{\"first\":[1]}"), "\"first\" must be an object"},
        {DEGRADE("{\"second\":{\"clean\":1}}"), "\"clean\""},
        {DEGRADE("{\"second\":{\"sigma\":1}}"), "\"second\": \"sigma\" must be a list of two"},
        {DEGRADE("{\"second\":{\"sigma\":[1,2,3]}}"), "\"sigma\" must be a list of two"},
        {DEGRADE("{\"first\":{\"sigma\":[1,\"2\"]}}"), "\"sigma\" must be a list of two"},
        {DEGRADE("{\"first\":{\"deviation\":[0,0]}}"), "\"deviation\" must be a list of two"},
        {DEGRADE("{\"first\":{\"sigma\":[1,0.5]}}"), "'sigma' is 1 to 0.5"},
        {DEGRADE("{\"cutoff\":[0.5,1.5]}"), "'cutoff' is 0.5 to 1.5"},
        {"\"text_encoders\":{\"ul2\":{\"from\":\"ul2\"}}," UPSAMPLER("4", ""),
         "\"ul2\": an upsampler takes text encoders of the folder as they are"},
    };
    mgi_stage s;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_upsampler(bad[i].members, &s), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), bad[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), bad[i].said);
    }
    assert_int_equal(read_upsampler(TEXTS "," UPSAMPLER("4", ""), &s), MGEN_OK);
    assert_int_equal(s.kind, MGI_STAGE_UPSAMPLER);
    assert_string_equal(s.tae_name, "tae");
    assert_true(s.upsampler.factor == 2 && s.upsampler.frames == 14 && s.upsampler.overlap == 4);
    assert_int_equal(s.upsampler.steps, 20);
    assert_int_equal(s.video.condition, 4);
    assert_true(s.text[MGI_ROLE_UL2].frozen && !s.artifacts[0]);
    assert_int_equal(read_upsampler(TEXTS "," UPSAMPLER(
                                        "4", ",\"factor\":3") ",\"artifacts\":{\"tae\":\"t\"},"
                                                              "\"save_as\":\"x\",\"store\":\"fp8\"",
                                    &s),
                     MGEN_OK);
    assert_int_equal(s.upsampler.factor, 3);
    assert_int_equal(mgi_stage_store(&s), MGI_ST_F8);
    assert_string_equal(s.artifacts, "t");
    assert_true(s.artifacts_share == 0.5);
    assert_true(s.degrade.clean == 0.0f && s.degrade.pass[1].sigma.high == 0.0f);
    assert_int_equal(
        read_upsampler(DEGRADE("{\"clean\":0,\"cutoff\":[0.5,0.75],\"first\":{\"blur\":1},"
                               "\"second\":{\"quality\":[40,80],\"jpeg\":0}}"),
                       &s),
        MGEN_OK);
    assert_true(s.degrade.clean < 0.0f && s.degrade.ringing == 0.0f); /* never; the default */
    assert_true(s.degrade.cutoff.low == 0.5f && s.degrade.cutoff.high == 0.75f);
    assert_true(s.degrade.pass[0].blur == 1.0f && s.degrade.pass[1].blur == 0.0f);
    assert_true(s.degrade.pass[1].quality.low == 40.0f && s.degrade.pass[1].quality.high == 80.0f);
    assert_true(s.degrade.pass[1].jpeg < 0.0f && s.degrade.pass[0].jpeg == 0.0f);
}

#define EDITOR(tasks)                                                                              \
    "\"editor\":{\"transformer\":{\"layers\":1,\"dim\":16,\"heads\":2,\"ff_dim\":32,"              \
    "\"channels\":4,\"condition_channels\":4,\"tasks\":" tasks ",\"patch\":[1,2,2],"               \
    "\"frames_max\":14,\"rows_max\":8,\"columns_max\":8,\"text\":{\"ul2\":16},\"time_dim\":16}}"
#define EDITED TEXTS "," EDITOR("8")

static mgen_status read_editor(const char *members, mgi_stage *out)
{
    FILE *f = open_recipe();
    fprintf(f,
            "\"kind\":\"editor\",\"steps\":100,\"batch\":2,\"tae\":\"tae\",\"clips\":4,"
            "\"optimizer\":{\"lr\":0.5},%s}]}",
            members);
    fclose(f);
    return mgi_recipe_stage(ctx, file, "one", out);
}

#define EDIT_BUCKET(kind)                                                                          \
    "\"buckets\":[{\"width\":64,\"height\":64,\"frames\":1,\"edits\":" kind "}]"

static void test_editor(void **state)
{
    static const struct {
        const char *members, *said;
    } bad[] = {
        {TEXTS, "\"editor\" must be an object"},
        {EDITOR("8"), "\"text_encoders\" is missing"},
        {TEXTS "," EDITOR("3"), "\"editor\": an editor has 8 \"tasks\", not 3"},
        {EDITED ",\"video_model\":{}", "\"video_model\""},
        {EDITED ",\"artifacts\":{}", "\"artifacts\""},
        {EDITED ",\"edits\":3", "\"edits\" must be an object"},
        {EDITED ",\"edits\":{\"styles\":1}", "\"styles\""},
        {EDITED ",\"edits\":{\"pairs\":-1}", "\"pairs\" is -1"},
        {EDITED ",\"edits\":{\"pairs\":0,\"segmentation\":0,\"text\":0}", "are all 0"},
        {EDITED ",\"edits\":{\"backtranslated\":1}", "names an editor, and only there"},
        {EDITED ",\"edits\":{\"back_from\":\"e\"}", "names an editor, and only there"},
        {EDITED ",\"edits\":{\"back_from\":\"../e\"}", "\"back_from\" is \"../e\""},
        {EDITED ",\"edits\":{\"back_steps\":0}", "\"back_steps\" is 0"},
        {EDITED "," EDIT_BUCKET("\"styles\""), "\"styles\""},
        {EDITED "," EDIT_BUCKET("\"animated\""),
         "bucket 1 is of \"animated\", to which \"edits\" give no share"},
        {EDITED ",\"drop\":0.5,\"drop_source\":0.5", "cannot be more than 1 together"},
        {EDITED ",\"drop_both\":1.5", "\"drop_both\" is 1.5"},
        {EDITED ",\"drop_source\":-0.5", "\"drop_source\" is -0.5"},
        {"\"text_encoders\":{\"ul2\":{\"from\":\"ul2\"}}," EDITOR("8"),
         "\"ul2\": an editor takes text encoders of the folder as they are"},
    };
    mgi_stage s;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_editor(bad[i].members, &s), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), bad[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), bad[i].said);
    }
    assert_int_equal(read_editor(EDITED, &s), MGEN_OK);
    assert_int_equal(s.kind, MGI_STAGE_EDITOR);
    assert_int_equal(s.video.tasks, MGI_EDIT_TASKS);
    assert_true(s.video.task_dim == 1024 && s.video.guidance == 5.0f);
    assert_true(s.editor.steps == 50 && s.editor.source_guidance == 1.5f);
    assert_true(s.drop == 0.05 && s.drop_source == 0.05 && s.drop_both == 0.05);
    assert_true(s.edits[MGI_EDITS_PAIRS] == 3.0 && s.edits[MGI_EDITS_ANIMATED] == 0.0);
    assert_true(s.edits[MGI_EDITS_SEGMENTATION] == 1.0 && s.edits[MGI_EDITS_TEXT] == 1.0);
    for (int i = 0; i < MGI_EDITS_KINDS; i++)
        assert_true(s.edits_unsaid[i]);
    assert_int_equal(read_editor(EDITED ",\"edits\":{\"pairs\":0,\"animated\":5,\"text\":2},"
                                        "\"drop\":0.25,\"drop_source\":0.5,\"drop_both\":0",
                                 &s),
                     MGEN_OK);
    assert_true(s.drop == 0.25 && s.drop_source == 0.5 && s.drop_both == 0.0);
    assert_true(s.edits[MGI_EDITS_PAIRS] == 0.0 && s.edits[MGI_EDITS_ANIMATED] == 5.0);
    assert_true(s.edits[MGI_EDITS_SEGMENTATION] == 1.0 && s.edits[MGI_EDITS_TEXT] == 2.0);
    assert_true(!s.edits_unsaid[MGI_EDITS_PAIRS] && !s.edits_unsaid[MGI_EDITS_TEXT]);
    assert_true(s.edits_unsaid[MGI_EDITS_SEGMENTATION] && s.edits_unsaid[MGI_EDITS_BACK]);
    assert_true(s.edits[MGI_EDITS_BACK] == 0.0 && !s.back_from[0]);
    assert_int_equal(
        read_editor(EDITED ",\"edits\":{\"backtranslated\":2,\"back_from\":\"ed\"}", &s), MGEN_OK);
    assert_true(s.edits[MGI_EDITS_BACK] == 2.0 && s.back_steps == 20);
    assert_int_equal(read_editor(EDITED "," EDIT_BUCKET("\"text\""), &s), MGEN_OK);
    assert_int_equal(s.bucket[0].edits, 1 + MGI_EDITS_TEXT);
    assert_int_equal(read_video(EDIT_BUCKET("\"text\""), &s), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "which are an editor's"));
    assert_int_equal(
        read_editor(EDITED ",\"edits\":{\"backtranslated\":2,\"back_from\":\"ed\"}", &s), MGEN_OK);
    assert_string_equal(s.back_from, "ed");
    assert_int_equal(read_editor(EDITED ",\"edits\":{\"backtranslated\":2,\"back_from\":\"ed\","
                                        "\"back_steps\":7}",
                                 &s),
                     MGEN_OK);
    assert_int_equal(s.back_steps, 7);
}

#define PERSONALIZER(width)                                                                        \
    "\"personalizer\":{\"transformer\":{\"layers\":1,\"dim\":16,\"heads\":2,\"ff_dim\":32,"        \
    "\"channels\":4" width ",\"patch\":[1,2,2],\"frames_max\":14,\"rows_max\":8,"                  \
    "\"columns_max\":8,\"text\":{\"ul2\":16},\"time_dim\":16}}"
#define VISION                                                                                     \
    "\"vision\":{\"config\":{\"image\":16,\"patch\":8,\"dim\":12,\"layers\":2,\"heads\":2,"        \
    "\"ff_dim\":16}}"
#define SEEN         TEXTS "," PERSONALIZER(",\"reference_width\":12")
#define PERSONALIZED SEEN "," VISION

static mgen_status read_personalizer(const char *members, mgi_stage *out)
{
    FILE *f = open_recipe();
    fprintf(f,
            "\"kind\":\"personalizer\",\"steps\":100,\"batch\":2,\"tae\":\"tae\",\"clips\":4,"
            "\"optimizer\":{\"lr\":0.5},%s}]}",
            members);
    fclose(f);
    return mgi_recipe_stage(ctx, file, "one", out);
}

static void test_personalizer(void **state)
{
    static const struct {
        const char *members, *said;
    } bad[] = {
        {TEXTS "," VISION, "\"personalizer\" must be an object"},
        {SEEN, "\"vision\" must be an object"},
        {PERSONALIZER("") "," VISION, "\"text_encoders\" is missing"},
        {TEXTS "," PERSONALIZER("") "," VISION, "\"reference_width\" must be the width"},
        {PERSONALIZED ",\"edits\":{}", "\"edits\""},
        {PERSONALIZED ",\"photos\":3", "\"photos\" must be an object"},
        {PERSONALIZED ",\"photos\":{\"crossed\":1}", "\"crossed\""},
        {PERSONALIZED ",\"photos\":{\"paired\":0}", "are all 0"},
        {PERSONALIZED ",\"photos\":{\"cross\":-1}", "\"cross\" is -1"},
        {PERSONALIZED ",\"drop\":0.5,\"drop_source\":0.5", "cannot be more than 1 together"},
        {SEEN ",\"vision\":{\"config\":3}", "\"config\" must be an object"},
        {SEEN ",\"vision\":{\"from\":\"\"}", "\"from\" is empty"},
        {SEEN ",\"vision\":{\"from\":\"c\",\"frozen\":true,\"lr_scale\":0.1}", "has no rate"},
        {SEEN ",\"vision\":{\"from\":\"c\",\"lr_scale\":0}", "\"lr_scale\" is 0"},
        {SEEN ",\"vision\":{\"from\":\"c\",\"config\":{}}", "\"config\""},
        {"\"text_encoders\":{\"ul2\":{\"from\":\"ul2\"}}," PERSONALIZER("") "," VISION,
         "\"ul2\": a personalizer takes text encoders of the folder as they are"},
    };
    mgi_stage s;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_personalizer(bad[i].members, &s), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), bad[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), bad[i].said);
    }
    assert_int_equal(read_personalizer(PERSONALIZED ",\"save_as\":\"a\"", &s), MGEN_OK);
    assert_int_equal(s.kind, MGI_STAGE_PERSONALIZER);
    assert_true(s.video.reference == 12 && s.personalizer.steps == 50);
    assert_true(s.drop == 0.05 && s.drop_source == 0.05 && s.drop_both == 0.05);
    assert_true(s.photos[0] == 1.0 && s.photos[1] == 1.0);
    assert_true(!s.vision.frozen && s.vision.lr_scale == 1.0 && s.vision.config.image == 16);
    assert_string_equal(s.personalizer.vision, "a_personalizer_vision");
    assert_int_equal(read_personalizer(SEEN ",\"photos\":{\"cross\":2},\"vision\":{\"from\":"
                                            "\"clip\",\"lr_scale\":0.005}",
                                       &s),
                     MGEN_OK);
    assert_true(s.photos[0] == 0.0 && s.photos[1] == 2.0 && s.vision.lr_scale == 0.005);
    assert_string_equal(s.vision.from, "clip");
    assert_string_equal(s.personalizer.vision, "personalizer_vision");
    assert_int_equal(read_personalizer(SEEN ",\"vision\":{\"from\":\"clip\",\"frozen\":true}", &s),
                     MGEN_OK);
    assert_true(s.vision.frozen);
    assert_string_equal(s.personalizer.vision, "clip");
}

/* Each name is that of its member. */
static void test_degrade_names(void **state)
{
    static const char *const chances[] = {"blur", "anisotropic", "resize", "area",  "noise",
                                          "shot", "grey",        "jpeg",   "halved"};
    static const char *const ranges[] = {"sigma", "factor", "deviation", "photons", "quality"};
    mgi_stage s;
    char text[2048];
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        const char *name = pass ? "second" : "first";
        const mgi_degrade_pass *p = &s.degrade.pass[pass];
        for (int i = 0; i < 9; i++) {
            snprintf(text, sizeof text, DEGRADE("{\"%s\":{\"%s\":0.25}}"), name, chances[i]);
            assert_int_equal(read_upsampler(text, &s), MGEN_OK);
            const float *all[] = {&p->blur, &p->anisotropic, &p->resize, &p->area,  &p->noise,
                                  &p->shot, &p->grey,        &p->jpeg,   &p->halved};
            for (int k = 0; k < 9; k++)
                assert_true(*all[k] == (k == i ? 0.25f : 0.0f));
        }
        for (int i = 0; i < 5; i++) {
            snprintf(text, sizeof text, DEGRADE("{\"%s\":{\"%s\":[1,2]}}"), name, ranges[i]);
            assert_int_equal(read_upsampler(text, &s), MGEN_OK);
            const mgi_degrade_range *all[] = {&p->sigma, &p->factor, &p->deviation, &p->photons,
                                              &p->quality};
            for (int k = 0; k < 5; k++)
                assert_true(all[k]->low == (k == i) && all[k]->high == 2 * (k == i));
        }
    }
}

/* A model that is given nothing to see beside its latents cannot be trained to see it. */
static void test_condition(void **state)
{
    mgi_stage s;
    char text[2048];
    (void)state;
    assert_int_equal(read_video("", &s), MGEN_OK);
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    char *at = strstr(text, "\"channels\"");
    assert_non_null(at);
    f = fopen(file, "w");
    fprintf(f, "%.*s\"condition_channels\":4,%s", (int)(at - text), text, at);
    fclose(f);
    assert_int_equal(mgi_recipe_stage(ctx, file, "one", &s), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "kind \"upsampler\""));
}

/* What a file is before its stage "one" is looked at, and numbers that no stage may have. */
static void test_root(void **state)
{
#define ROOT(more) "{\"format\":\"moviegen-recipe\",\"version\":1" more "}"
    static const struct {
        const char *text;
        mgen_status status;
        const char *said;
    } bad[] = {
        {"", MGEN_E_CORRUPT, "line 1, column 1"},
        {"[]", MGEN_E_CORRUPT, "is not a JSON object"},
        {"{\"stages\":[]}", MGEN_E_CORRUPT, "\"format\" is missing"},
        {"{\"format\":\"moviegen-recipe\",\"version\":2}", MGEN_E_CORRUPT, "\"version\" is 2"},
        {"{\"format\":\"recipe\",\"version\":1,\"stages\":[]}", MGEN_E_CORRUPT, "is not a recipe"},
        {ROOT(""), MGEN_E_CORRUPT, "\"stages\" a list"},
        {ROOT(",\"stages\":{}"), MGEN_E_CORRUPT, "\"stages\" a list"},
        {ROOT(",\"stages\":[],\"more\":1"), MGEN_E_CORRUPT, "unknown key \"more\""},
        {ROOT(",\"stages\":[1]"), MGEN_E_CORRUPT, "an entry that is not an object"},
        {ROOT(",\"stages\":[{}]"), MGEN_E_CORRUPT, "\"name\" is missing"},
        {ROOT(",\"stages\":[]"), MGEN_E_INVALID, "has no stage \"one\"; it has none"},
        {ROOT(",\"stages\":[{\"name\":\"two\"},{\"name\":\"ten\"}]"), MGEN_E_INVALID,
         "it has \"two\", \"ten\""},
        {ROOT(",\"stages\":[{\"name\":\"one\"},{\"name\":\"one\"}]"), MGEN_E_CORRUPT,
         "two stages are named \"one\""},
        {ROOT(",\"stages\":[{\"name\":\"one\"}]"), MGEN_E_CORRUPT, "\"kind\" is missing"},
        {ROOT(",\"stages\":[{\"name\":\"one\",\"kind\":\"gan\"}]"), MGEN_E_CORRUPT,
         "\"kind\" is \"gan\"; known are \"autoencoder\""},
        {ROOT(",\"stages\":[{\"name\":\"one\",\"kind\":\"autoencoder\",\"steps\":0}]"),
         MGEN_E_CORRUPT, "\"steps\" is 0"},
        {ROOT(",\"stages\":[{\"name\":\"one\",\"kind\":\"autoencoder\",\"steps\":1e2}]"),
         MGEN_E_CORRUPT, "\"steps\" is 100"},
        {ROOT(",\"stages\":[{\"name\":\"one\",\"kind\":\"autoencoder\",\"steps\":NaN}]"),
         MGEN_E_CORRUPT, "expected a value"},
    };
    mgi_stage s;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        FILE *f = fopen(file, "w");
        assert_non_null(f);
        fputs(bad[i].text, f);
        fclose(f);
        mgen_status got = mgi_recipe_stage(ctx, file, "one", &s);
        if (got != bad[i].status || !strstr(mgen_last_error(ctx), bad[i].said))
            fail_msg("%zu: %s: '%s' does not say '%s'", i, mgen_status_name(got),
                     mgen_last_error(ctx), bad[i].said);
        assert_non_null(strstr(mgen_last_error(ctx), file));
    }
    assert_refused("", "\"clip\":1e999", "too large for a double");
    assert_refused("", "\"eps\":0", "\"eps\" is 0");
    assert_refused("", "\"beta2\":1", "\"beta2\" is 1");
    assert_refused("\"start_from\":"
                   "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
                   "", "\"start_from\" is longer than 63 bytes");
}

/* Lists longer than there is room for. */
static void test_long_lists(void **state)
{
    char text[4096] = "\"models\":[";
    mgi_stage s;
    (void)state;
    for (int i = 0; i <= MGI_AVERAGE_MAX; i++)
        strcat(text, i ? ",{\"start_from\":\"a\"}" : "{\"start_from\":\"a\"}");
    strcat(text, "]");
    assert_int_equal(read_average(text, &s), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "\"models\" has more than 16 entries"));
    strcpy(text, "\"buckets\":[");
    for (int i = 0; i <= MGI_BUCKETS_MAX; i++)
        strcat(text, i ? ",{\"width\":64,\"height\":64,\"frames\":1}"
                       : "{\"width\":64,\"height\":64,\"frames\":1}");
    strcat(text, "]");
    assert_int_equal(read_video(text, &s), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "\"buckets\" has more than 32 entries"));
}

static mgi_optimizer optimizer_of(const char *stage, const char *optimizer)
{
    mgi_stage s;
    mgi_optimizer o;
    assert_int_equal(read_stage(stage, optimizer, &s), MGEN_OK);
    assert_int_equal(mgi_optimizer_init(&o, ctx, &s.optimizer, s.steps, NULL, 0), MGEN_OK);
    return o;
}

static void assert_rate(const mgi_optimizer *o, int64_t step, double rate)
{
    double got = mgi_optimizer_lr(o, step);
    if (fabs(got - rate) > 1e-12)
        fail_msg("step %d has the rate %.9g, not %.9g", (int)step, got, rate);
}

static void test_rates(void **state)
{
    (void)state;
    mgi_optimizer o = optimizer_of("", "\"warmup\":4,\"cosine_from\":0.5,\"lr_final\":0.1");
    assert_rate(&o, 0, 0.125);
    assert_rate(&o, 3, 0.5);
    assert_rate(&o, 50, 0.5);
    assert_rate(&o, 75, 0.5 * 0.55);
    assert_rate(&o, 100, 0.05);
    mgi_optimizer_finish(&o);
    o = optimizer_of("", "\"warmup\":4,\"schedule\":\"constant\"");
    assert_rate(&o, 1, 0.25);
    assert_rate(&o, 4, 0.5);
    assert_rate(&o, 99, 0.5);
    mgi_optimizer_validated(&o, 1.0); /* which only the plateau heeds */
    mgi_optimizer_validated(&o, 2.0);
    assert_rate(&o, 99, 0.5);
    mgi_optimizer_finish(&o);
    o = optimizer_of("", "\"warmup\":20,\"schedule\":\"linear\",\"lr_final\":0.2");
    assert_rate(&o, 9, 0.25);
    assert_rate(&o, 20, 0.5);
    assert_rate(&o, 60, 0.5 * 0.6); /* half of the way from 1 to 0.2 */
    assert_rate(&o, 100, 0.1);
    mgi_optimizer_finish(&o);
    o = optimizer_of("", "\"warmup\":100,\"schedule\":\"linear\",\"lr_final\":0.2");
    assert_rate(&o, 99, 0.5);
    assert_rate(&o, 100, 0.1);
    mgi_optimizer_finish(&o);
}

/* Halved after each two validations in a row that are not better than the best, to no less than a share of
 * 0.2. */
static void test_plateau(void **state)
{
    static const struct {
        double figure, rate;
    } seen[] = {{3.0, 0.5},   {2.0, 0.5},  {2.0, 0.5},   {1.5, 0.5},   {1.75, 0.5}, {1.5, 0.25},
                {1.25, 0.25}, {NAN, 0.25}, {1.5, 0.125}, {2.0, 0.125}, {2.0, 0.1},  {1.0, 0.1}};
    (void)state;
    mgi_optimizer o = optimizer_of("\"validate_every\":5", "\"warmup\":4,\"schedule\":\"plateau\","
                                                           "\"patience\":2,\"lr_final\":0.2");
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++) {
        mgi_optimizer_validated(&o, seen[i].figure);
        assert_rate(&o, 10, seen[i].rate);
    }
    assert_rate(&o, 1, 0.25);
    mgi_optimizer_finish(&o);
}

/* Every stage of the recipes that are delivered. */
static void test_delivered(void **state)
{
    static const char *const stages[][11] = {
        {"examples/models/toybox/recipe.json", "image_autoencoder", "tae", "images", "joint",
         "larger", "tune_a", "tune_b", "average", "upsampler", "upsampler_finish"},
        {"examples/models/toybox/recipe_gpu.json", "tae", "images", "joint", "longer", "finer"},
        {"examples/models/toybox/recipe_edit.json", "editor_images", "editor", "editor_finish",
         "editor_last"},
        {"examples/models/toybox/recipe_personalize.json", "personalizer_images", "personalizer",
         "personalizer_finish"},
        {"examples/models/toybox/recipe_sound.json", "sound_codec_samples", "sound_codec_spectra",
         "sound_codec_clicks", "sound_codec_decoder", "sound_codec", "sound_text", "sound_sees",
         "sound_bounces", "sound_films", "sound"},
        {"examples/models/toybox/recipe_rewrite.json", "rewriter"},
        {"examples/05_recipe.json", "tae", "video"},
    };
    const char *source = getenv("MOVIEGEN_SOURCE");
    char path[512];
    mgi_stage s;
    (void)state;
    if (!source)
        skip();
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        snprintf(path, sizeof path, "%.300s/%s", source, stages[i][0]);
        for (int k = 1; k < 11 && stages[i][k]; k++)
            if (mgi_recipe_stage(ctx, path, stages[i][k], &s) != MGEN_OK)
                fail_msg("%s", mgen_last_error(ctx));
    }
}

static int begin(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    (void)state;
    int fd = mkstemp(file);
    return fd < 0 || close(fd) || mgi_context_init(&ctx, &params) != MGEN_OK ||
           mgi_device_create(ctx, NULL) != MGEN_OK;
}

static int end(void **state)
{
    (void)state;
    mgi_context_free(ctx);
    return unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),      cmocka_unit_test(test_losses),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_average),       cmocka_unit_test(test_plan),
        cmocka_unit_test(test_root),          cmocka_unit_test(test_store),
        cmocka_unit_test(test_upsampler),     cmocka_unit_test(test_condition),
        cmocka_unit_test(test_editor),        cmocka_unit_test(test_personalizer),
        cmocka_unit_test(test_degrade_names), cmocka_unit_test(test_long_lists),
        cmocka_unit_test(test_rates),         cmocka_unit_test(test_plateau),
        cmocka_unit_test(test_delivered),     cmocka_unit_test(test_times)};
    return cmocka_run_group_tests_name("recipe", tests, begin, end);
}
