/* SPDX-License-Identifier: MIT
 * A trainer: one stage of a recipe, step by step. */
#include "api/args.h"

#include "core/alloc.h"
#include "train/checkpoint.h"

struct mgen_trainer {
    mgen_context *ctx;
    const struct mgi_stage_kind *kind;
    struct mgi_stage_run *run;
    uint64_t steps;
    _Atomic uint64_t next;
    _Atomic int stop;
    int32_t (*on_step)(void *user, uint64_t step, const mgen_report *report);
    void *user;
};

static mgen_status check_params(mgen_context *ctx, const mgen_trainer_params *p)
{
    if (p->reserved0)
        return mgi_fail(ctx, MGEN_E_INVALID, "trainer params: reserved0 must be 0");
    MGI_TRY(mgi_check_text(ctx, p->recipe, "the recipe's path", MGI_PATH_MAX));
    MGI_TRY(mgi_check_text(ctx, p->stage, "the stage's name", 63));
    MGI_TRY(mgi_check_text(ctx, p->dir, "the model folder", MGI_PATH_MAX - MGI_NAME_MAX - 1));
    return p->resume ? mgi_check_text(ctx, p->resume, "the checkpoint's path", MGI_PATH_MAX)
                     : MGEN_OK;
}

/* The stage under way, at its beginning or where the checkpoint left it. */
static mgen_status begin(mgen_trainer *t, const mgi_stage *stage, const mgen_trainer_params *p)
{
    mgi_stage_state state;
    mgi_stage_params sp = {.stage = stage,
                           .dir = p->dir,
                           .seed = p->seed,
                           .dataset = p->dataset,
                           .cache_dir = t->ctx->cache_dir};
    MGI_TRY(t->kind->create(t->ctx, &sp, &t->run));
    mgen_status status =
        p->resume ? mgi_checkpoint_load(t->ctx, t->kind, t->run, p->resume) : MGEN_OK;
    if (status != MGEN_OK) {
        t->kind->destroy(t->run);
        return status;
    }
    t->kind->state(t->run, &state);
    atomic_init(&t->next, (uint64_t)*state.position);
    return MGEN_OK;
}

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
    MGI_TRY(check_params(ctx, &p));
    MGI_TRY(mgi_recipe_stage(ctx, p.recipe, p.stage, &stage));
    MGI_TRY(mgi_dir_make(ctx, p.dir));
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *t, &t));
    t->ctx = ctx;
    t->kind = mgi_stage_kind_of(&stage);
    t->steps = (uint64_t)stage.steps;
    t->on_step = p.on_step;
    t->user = p.user;
    mgen_status status = begin(t, &stage, &p);
    if (status != MGEN_OK)
        mgi_free(ctx, t);
    else
        *out = t;
    return status;
}

uint64_t mgen_trainer_steps(const mgen_trainer *trainer)
{
    return trainer ? trainer->steps : 0;
}

uint64_t mgen_trainer_position(const mgen_trainer *trainer)
{
    return trainer ? atomic_load(&trainer->next) : 0;
}

mgen_status mgen_trainer_step(mgen_trainer *trainer, mgen_report **report)
{
    mgen_report *r = NULL;
    if (report)
        *report = NULL;
    if (!trainer)
        return MGEN_E_INVALID;
    mgen_context *ctx = trainer->ctx;
    uint64_t next = atomic_load(&trainer->next);
    MGI_TRY(mgi_context_idle(ctx));
    if (next >= trainer->steps)
        return mgi_fail(ctx, MGEN_E_STATE, "the stage is over: all %llu steps are done",
                        (unsigned long long)trainer->steps);
    if (report)
        MGI_TRY(mgi_report_create(ctx, &r));
    mgen_status status = trainer->kind->step(trainer->run, (int64_t)next, r);
    if (status != MGEN_OK) {
        mgen_report_destroy(r);
        return status;
    }
    atomic_store(&trainer->next, next + 1);
    if (report)
        *report = r;
    return MGEN_OK;
}

/* One step of a run; *stop: the host wants no more. */
static mgen_status run_step(mgen_trainer *t, bool *stop)
{
    mgen_report *report = NULL;
    uint64_t step = atomic_load(&t->next);
    MGI_TRY(mgen_trainer_step(t, t->on_step ? &report : NULL));
    *stop = t->on_step && t->on_step(t->user, step, report) != 0;
    mgen_report_destroy(report);
    *stop = atomic_exchange(&t->stop, 0) || *stop;
    return MGEN_OK;
}

mgen_status mgen_trainer_run(mgen_trainer *trainer, uint64_t steps)
{
    if (!trainer)
        return MGEN_E_INVALID;
    uint64_t left = trainer->steps - atomic_load(&trainer->next);
    if (left == 0)
        return mgen_trainer_step(trainer, NULL); /* says that it is over */
    steps = steps && steps < left ? steps : left;
    for (uint64_t i = 0; i < steps; i++) {
        bool stop;
        MGI_TRY(run_step(trainer, &stop));
        if (stop)
            return mgi_fail(trainer->ctx, MGEN_E_CANCELLED, "stopped after step %llu of %llu",
                            (unsigned long long)atomic_load(&trainer->next),
                            (unsigned long long)trainer->steps);
    }
    return MGEN_OK;
}

void mgen_trainer_stop(mgen_trainer *trainer)
{
    if (trainer)
        atomic_store(&trainer->stop, 1);
}

mgen_status mgen_trainer_checkpoint(mgen_trainer *trainer, const char *path)
{
    if (!trainer)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(trainer->ctx));
    MGI_TRY(mgi_check_text(trainer->ctx, path, "the checkpoint's path", MGI_PATH_MAX));
    return mgi_checkpoint_save(trainer->ctx, trainer->kind, trainer->run, path);
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
