/* SPDX-License-Identifier: MIT
 * A protocol of mgen_evaluate() on the folder's pipeline, from outside: measured, refused, stopped, short of memory. */
#ifndef TESTS_API_EVAL_CALLS_H
#define TESTS_API_EVAL_CALLS_H

#include "tiny.h"

/* Of clips of so many frames. */
SHARED mgen_pipeline open_short(mgen_context *ctx, uint32_t frames)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    if (mgen_pipeline_open(ctx, dir, &pipe) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    pipe.frames = frames;
    return pipe;
}

SHARED void refused(mgen_context *ctx, const mgen_pipeline *pipe, const mgen_eval_params *p,
                    mgen_status want, const char *said)
{
    mgen_report *report = NULL;
    mgen_status got = mgen_evaluate(ctx, pipe, p, &report);
    if (got != want || !strstr(mgen_last_error(ctx), said))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(ctx), said);
    assert_null(report);
}

SHARED mgen_report *measured(mgen_context *ctx, const mgen_pipeline *pipe,
                             const mgen_eval_params *p)
{
    mgen_report *report;
    if (mgen_evaluate(ctx, pipe, p, &report) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    return report;
}

SHARED int32_t stop_now(void *user, uint32_t done, uint32_t total)
{
    (void)user, (void)done, (void)total;
    return 1;
}

/* Memory that ends in the middle is told, and given back. */
SHARED void run_out_of_memory(const mgen_eval_params *p, uint32_t frames)
{
    counter c = {0};
    mgen_context *ctx = counted_context(&c);
    mgen_pipeline pipe = open_short(ctx, frames);
    mgen_report_destroy(measured(ctx, &pipe, p));
    for (int64_t k = 1; k < 4000; k = k * 3 / 2 + 1) {
        mgen_report *report = NULL;
        mgen_context_trim(ctx);
        int64_t before = atomic_load(&c.blocks);
        set_failure(&c, k, true);
        mgen_status status = mgen_evaluate(ctx, &pipe, p, &report);
        set_failure(&c, 0, false);
        if (status == MGEN_OK) { /* it needs fewer */
            assert_true(k > 20);
            mgen_report_destroy(report);
            break;
        }
        assert_int_equal(status, MGEN_E_NO_MEMORY);
        assert_null(report);
        mgen_context_trim(ctx);
        assert_int_equal(atomic_load(&c.blocks), before);
    }
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
    assert_int_equal(atomic_load(&c.blocks), 0);
}

#endif
