/* SPDX-License-Identifier: MIT
 * The protocol that measures curation on the toybox's raw films. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "eval/curate_eval.h"
#include "one_context.h"
#include "reported.h"

#include <stdio.h>
#include <string.h>

static bool stop_at_two(void *user, int done, int total)
{
    *(int *)user = done;
    return done == 2 && total == 15;
}

/* A round of all kinds of films: what filters find in it is what is there. */
static void test_round(void **state)
{
    (void)state;
    static const char *const rates[] = {"text",      "border", "still", "motion", "jitter",
                                        "duplicate", "scene",  "join",  "kept"};
    const mgi_eval_request r = {.n = 15, .seed = 3};
    mgen_report *report;
    char name[64];
    assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
    assert_int_equal(mgi_eval_curate(ctx, &r, report), MGEN_OK);
    assert_true(reported(report, "films") == 15.0);
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        snprintf(name, sizeof name, "%s_precision", rates[i]);
        assert_true(reported(report, name) >= (strcmp(rates[i], "kept") ? 0.9 : 0.5));
        snprintf(name, sizeof name, "%s_recall", rates[i]);
        assert_true(reported(report, name) >= (strcmp(rates[i], "scene") ? 0.99 : 0.8));
    }
    assert_true(reported(report, "join_whole") == 1.0); /* of two films beside the round */
    assert_true(reported(report, "wipe_recall") == 1.0 && reported(report, "wipe_whole") == 1.0);
    assert_true(reported(report, "slow_recall") >= 0.5 && reported(report, "slow_whole") >= 0.5);
    assert_true(reported(report, "wipe_precision") == 1.0);
    assert_true(reported(report, "slow_precision") == 1.0);
    assert_true(reported(report, "kept") >= 1.0 && reported(report, "clips") >= 10.0);
    mgen_report_destroy(report);
}

/* Films without a duplicate or anything to find have no such rates. */
static void test_few(void **state)
{
    (void)state;
    int done = 0;
    mgi_eval_request r = {.n = 1, .seed = 3};
    mgen_report *report;
    assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
    assert_int_equal(mgi_eval_curate(ctx, &r, report), MGEN_OK);
    for (uint32_t i = 0; i < mgen_report_count(report); i++)
        assert_true(!strstr(mgen_report_name(report, i), "text_") &&
                    !strstr(mgen_report_name(report, i), "duplicate_"));
    assert_true(reported(report, "kept_recall") == 1.0);
    r = (mgi_eval_request){.n = 15, .progress = stop_at_two, .user = &done};
    assert_int_equal(mgi_eval_curate(ctx, &r, report), MGEN_E_CANCELLED);
    assert_int_equal(done, 2);
    mgen_report_destroy(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round), cmocka_unit_test(test_few)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
