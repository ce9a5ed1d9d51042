/* SPDX-License-Identifier: MIT
 * Stages of training that a test begins, or trains and saves, in the folder of test_folder.h. */
#ifndef STAGE_RUNS_H
#define STAGE_RUNS_H

#include "ok.h"
#include "reported.h"
#include "tensor/device.h"
#include "test_folder.h"
#include "tiny_stages.h"
#include "train/stage.h"

static mgen_context *ctx;

static mgen_status create_on(const mgi_stage *stage, mgi_dataset *data, struct mgi_stage_run **run)
{
    const mgi_stage_params params = {.stage = stage, .dir = folder, .seed = 5, .dataset = data};
    return mgi_stage_kind_of(stage)->create(ctx, &params, run);
}

static struct mgi_stage_run *begin(const mgi_stage *stage)
{
    struct mgi_stage_run *run;
    OK(create_on(stage, NULL, &run));
    return run;
}

static inline struct mgi_stage_run *begin_seeded(const mgi_stage *stage, uint64_t seed)
{
    struct mgi_stage_run *run;
    const mgi_stage_params params = {.stage = stage, .dir = folder, .seed = seed};
    OK(mgi_stage_kind_of(stage)->create(ctx, &params, &run));
    return run;
}

/* All steps; *first and *last: the loss of the first and the last validation. */
static inline void steps_of(const mgi_stage *stage, struct mgi_stage_run *run, double *first,
                            double *last)
{
    *first = *last = 0.0;
    for (int64_t i = 0; i < stage->steps; i++) {
        mgen_report *report;
        OK(mgi_report_create(ctx, &report));
        OK(mgi_stage_kind_of(stage)->step(run, i, report));
        *last = reported_or(report, "val_loss", *last);
        *first = *first == 0.0 ? *last : *first;
        mgen_report_destroy(report);
    }
}

/* Trains and saves; the losses as of steps_of(). */
static inline void train(const mgi_stage *stage, double *first, double *last)
{
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(stage);
    struct mgi_stage_run *run = begin(stage);
    steps_of(stage, run, first, last);
    OK(kind->save(run));
    kind->destroy(run);
}

static inline void save_new(mgi_stage stage)
{
    double first, last;
    stage.steps = 1;
    train(&stage, &first, &last);
}

/* The folder, and a context for it. */
static inline int make_context_and_folder(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    if (make_folder(state) != 0)
        return -1;
    params.threads = 2;
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    return 0;
}

static inline int free_context_and_folder(void **state)
{
    mgi_context_free(ctx);
    return remove_folder(state);
}

#endif
