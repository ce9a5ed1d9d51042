/* SPDX-License-Identifier: MIT
 * What a host's log has of calls that fail: one error each, with all that the last error says. */
#include "tiny.h"

#include <stdint.h>
#include <sys/stat.h>

static int errors, warnings;
static char last[1200];

static void on_log(void *user, int32_t level, const char *text)
{
    (void)user;
    warnings += level == MGEN_LOG_WARN;
    if (level != MGEN_LOG_ERROR)
        return;
    errors++;
    snprintf(last, sizeof last, "%s", text);
}

static mgen_context *logging(void)
{
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    p.threads = 1;
    p.log = on_log;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    return ctx;
}

static const char *path_of(const char *name)
{
    static char path[4][300];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%.200s/%s", dir, name);
    return path[next];
}

static void put_file(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Since the one before. `where` and `what`: the place that the error names, and what is wrong there. */
static void assert_one(mgen_context *ctx, mgen_status status, const char *where, const char *what)
{
    assert_int_not_equal(status, MGEN_OK);
    if (errors != 1 || strcmp(last, mgen_last_error(ctx)) || !strstr(last, where) ||
        !strstr(last, what))
        fail_msg("%d errors, the last is '%s', of '%s'", errors, last, mgen_last_error(ctx));
    errors = 0;
    last[0] = '\0';
}

static const char misspelt[] =
    "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [{\"name\": \"own\", \"kind\": "
    "\"autoencoder\", \"stepz\": 3}]}";

static void test_one_line(void **state)
{
    mgen_context *ctx = logging();
    mgen_trainer_params train = MGEN_TRAINER_PARAMS_INIT;
    mgen_dataset_params data = MGEN_DATASET_PARAMS_INIT;
    mgen_plan_params plan = MGEN_PLAN_PARAMS_INIT;
    mgen_curate_params raw = MGEN_CURATE_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_trainer *trainer;
    mgen_dataset *films;
    mgen_report *report;
    mgen_clip *clip;
    mgen_sound *sound;
    (void)state;
    put_file("misspelt.json", misspelt);
    train.recipe = path_of("misspelt.json");
    train.stage = "own";
    train.dir = dir;
    assert_one(ctx, mgen_trainer_create(ctx, &train, &trainer), "stage 1 \"own\"", "\"stepz\"");
    plan.preset = path_of("nowhere.json:");
    plan.gpu = "h100-80gb";
    assert_one(ctx, mgen_plan_training(ctx, &plan, &report), "the recipe", "nowhere.json");
    assert_int_equal(mkdir(path_of("films"), 0700), 0);
    put_file("films/a.y4m", "YUV4MPEG2 W0");
    assert_one(ctx, mgen_clip_read(ctx, path_of("films/a.y4m"), 0, 0, &clip), "films/a.y4m",
               "ends within a line");
    put_file("a.wav", "RIFF");
    assert_one(ctx, mgen_sound_read(ctx, path_of("a.wav"), 0, 0, &sound), "a.wav", "");
    put_file("films/a.txt", "\xff");
    data.width = data.height = 64;
    data.frames = 8;
    assert_one(ctx, mgen_dataset_open(ctx, path_of("films"), &data, &films), "a.txt", "UTF-8");
    assert_one(ctx, mgen_pipeline_open(ctx, path_of("films"), &pipe), "films", "pipeline.json");
    assert_int_equal(unlink(path_of("films/a.txt")), 0);
    warnings = 0;
    raw.dir = path_of("films");
    assert_one(ctx, mgen_curate(ctx, &raw, &report), "no film in", "ends within a line");
    assert_int_equal(warnings, 1); /* of the film */
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_line)};
    return cmocka_run_group_tests_name("log", tests, setup, teardown);
}
