/* SPDX-License-Identifier: MIT
 * What fails on the way to success is neither logged nor the last error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/quiet.h"
#include "io/safetensors_set.h"
#include "stage_runs.h"
#include "task/pipeline.h"

static char logged[2048];

static void keep_log(void *user, int32_t level, const char *text)
{
    const size_t used = strlen(logged);
    (void)user;
    if (level == MGEN_LOG_ERROR)
        snprintf(logged + used, sizeof logged - used, "%s\n", text);
}

static int begin_test(void **state)
{
    (void)state;
    mgi_message none = {0};
    logged[0] = '\0';
    ctx->log = keep_log;
    mgi_message_set(ctx, &none);
    return 0;
}

static int end_test(void **state)
{
    (void)state;
    ctx->log = NULL;
    return atomic_load(&ctx->quiet); /* no begin without its end */
}

static void assert_silent(void)
{
    assert_string_equal(logged, "");
    assert_string_equal(mgen_last_error(ctx), "");
    assert_int_equal(mgen_last_status(ctx), MGEN_OK);
}

static void test_made_good(void **state)
{
    mgi_message before, inner;
    (void)state;
    mgi_quiet_begin(ctx, &before);
    mgi_fail(ctx, MGEN_E_IO, "the first way is closed");
    mgi_quiet_begin(ctx, &inner);
    mgi_fail(ctx, MGEN_E_CORRUPT, "the second, too");
    mgi_quiet_end(ctx, &inner, false);
    assert_string_equal(logged, "");
    assert_string_equal(mgen_last_error(ctx), "the second, too");
    mgi_quiet_end(ctx, &before, true);
    assert_silent();
}

/* What failed in the end is logged, and once. */
static void test_failed(void **state)
{
    mgi_message before;
    (void)state;
    mgi_quiet_begin(ctx, &before);
    mgi_fail(ctx, MGEN_E_IO, "the first way is closed");
    mgi_fail(ctx, MGEN_E_CORRUPT, "the second, too");
    mgi_fail_context(ctx, MGEN_E_CORRUPT, "nowhere");
    mgi_quiet_end(ctx, &before, false);
    assert_string_equal(logged, "nowhere: the second, too\n");
    assert_string_equal(mgen_last_error(ctx), "nowhere: the second, too");
    mgi_fail(ctx, MGEN_E_IO, "and another");
    assert_string_equal(logged, "nowhere: the second, too\nand another\n");
}

static const char *in_folder(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* A model in the form of another library, and files that may be there or not. */
static void test_files(void **state)
{
    mgi_json *root;
    uint64_t hash = 0;
    (void)state;
    assert_int_equal(mkdir(in_folder("foreign"), 0700), 0);
    assert_true(mgi_model_is_folder(ctx, folder, "foreign"));
    assert_false(mgi_model_is_folder(ctx, folder, "nothing"));
    assert_int_equal(mgi_model_json_if(ctx, folder, "nothing.json", &root, &hash), MGEN_OK);
    assert_null(root);
    assert_silent();
    FILE *f = fopen(in_folder("broken.json"), "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(mgi_model_json_if(ctx, folder, "broken.json", &root, &hash), MGEN_E_CORRUPT);
    assert_non_null(strstr(logged, "broken.json"));
    assert_int_equal(rmdir(in_folder("foreign")), 0);
}

/* The first model that is saved in a folder finds no pipeline there. */
static void test_first_model(void **state)
{
    (void)state;
    assert_int_equal(mgi_stage_name_model(ctx, folder, folder,
                                          offsetof(mgi_pipeline_file, upsampler), "upsampler",
                                          NULL),
                     MGEN_OK);
    assert_silent();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)
    const struct CMUnitTest tests[] = {TEST(test_made_good), TEST(test_failed), TEST(test_files),
                                       TEST(test_first_model)};
    return cmocka_run_group_tests_name("quiet", tests, make_context_and_folder,
                                       free_context_and_folder);
}
