/* SPDX-License-Identifier: MIT */
#include "api/args.h"

#include "core/alloc.h"
#include "train/stage.h"

struct mgen_trainer {
    mgen_context *ctx;
    const struct mgi_stage_kind *kind;
    struct mgi_stage_run *run;
    int64_t steps, next;
};

mgen_status mgen_trainer_create(mgen_context *ctx, const mgen_trainer_params *params,
                                mgen_trainer **out)
{
    mgen_trainer_params p;
    mgi_stage stage;
    mgen_trainer *t;
    if (!ctx || !out)
        return MGEN_E_INVALID;
    *out = NULL;
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_struct_in(ctx, &p, sizeof p, sizeof p, params, "trainer params"));
    if (p.reserved0)
        return mgi_fail(ctx, MGEN_E_INVALID, "trainer params: reserved0 must be 0");
    MGI_TRY(mgi_check_text(ctx, p.recipe, "the recipe's path", MGI_PATH_MAX));
    MGI_TRY(mgi_check_text(ctx, p.stage, "the stage's name", 63));
    MGI_TRY(mgi_check_text(ctx, p.dir, "the model folder", MGI_PATH_MAX - MGI_NAME_MAX - 1));
    MGI_TRY(mgi_recipe_stage(ctx, p.recipe, p.stage, &stage));
    MGI_TRY(mgi_dir_make(ctx, p.dir));
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *t, &t));
    t->ctx = ctx;
    t->kind =
        stage.kind == MGI_STAGE_AUTOENCODER ? &mgi_stage_autoencoder : &mgi_stage_text_to_video;
    t->steps = stage.steps;
    mgen_status status = t->kind->create(
        ctx, &(mgi_stage_params){.stage = &stage, .dir = p.dir, .seed = p.seed}, &t->run);
    if (status == MGEN_E_NOT_FOUND)
        status = mgi_fail_context(ctx, MGEN_E_STATE,
                                  "stage \"%s\" needs the model of an earlier stage", stage.name);
    if (status != MGEN_OK)
        mgi_free(ctx, t);
    else
        *out = t;
    return status;
}

uint64_t mgen_trainer_steps(const mgen_trainer *trainer)
{
    return trainer ? (uint64_t)trainer->steps : 0;
}

mgen_status mgen_trainer_step(mgen_trainer *trainer, mgen_report **report)
{
    mgen_report *r = NULL;
    if (report)
        *report = NULL;
    if (!trainer)
        return MGEN_E_INVALID;
    mgen_context *ctx = trainer->ctx;
    MGI_TRY(mgi_context_idle(ctx));
    if (trainer->next >= trainer->steps)
        return mgi_fail(ctx, MGEN_E_STATE, "the stage is over: all %lld steps are done",
                        (long long)trainer->steps);
    if (report)
        MGI_TRY(mgi_report_create(ctx, &r));
    mgen_status status = trainer->kind->step(trainer->run, trainer->next, r);
    if (status != MGEN_OK) {
        mgen_report_destroy(r);
        return status;
    }
    trainer->next++;
    if (report)
        *report = r;
    return MGEN_OK;
}

mgen_status mgen_trainer_save(mgen_trainer *trainer)
{
    if (!trainer)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(trainer->ctx));
    return trainer->kind->save(trainer->run);
}

void mgen_trainer_destroy(mgen_trainer *trainer)
{
    if (!trainer)
        return;
    trainer->kind->destroy(trainer->run);
    mgi_free(trainer->ctx, trainer);
}
