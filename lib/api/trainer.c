/* SPDX-License-Identifier: MIT
 * A trainer: one stage of a recipe, step by step. */
#include "api/args.h"

#include "core/alloc.h"
#include "kernels/mgk.h"
#include "train/checkpoint_head.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct mgen_trainer {
    mgen_context *ctx;
    mgen_mesh *mesh; /* NULL: one rank */
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

/* -- what ranks agree on ----------------------------------------------------------------------------- */

/* The same stage of the same recipe, and the same data, before anything begins. */
static mgen_status agree_on_stage(mgen_trainer *t, const mgi_stage *stage,
                                  const mgen_trainer_params *p)
{
    const mgi_dataset *d = p->dataset;
    char hash[MGI_HEAD_TEXT], text[256];
    if (!t->mesh)
        return MGEN_OK;
    mgi_comm *world = t->mesh->world;
    MGI_TRY(mgi_mesh_together(t->mesh, mgi_stage_hash(t->ctx, stage, hash)));
    MGI_TRY(mgi_comm_agree(world, "stage", stage->name));
    MGI_TRY(mgi_comm_agree(world, "recipe (its hash)", hash));
    snprintf(text, sizeof text, "%" PRIu64, p->seed);
    MGI_TRY(mgi_comm_agree(world, "seed", text));
    snprintf(text, sizeof text, "toybox");
    if (d)
        snprintf(text, sizeof text,
                 "%" PRId64 " x %" PRId64 ", %" PRId64 " frames, %" PRId64 " a second, %" PRId64
                 " of sound, %" PRIu64 " samples, %016" PRIx64,
                 d->width, d->height, d->frames, d->fps, d->sound_samples, d->count, d->identity);
    MGI_TRY(mgi_comm_agree(world, "dataset", text));
    return mgi_comm_agree(world, "beginning", p->resume ? "a checkpoint" : "new weights");
}

/* The same earlier models, and the same checkpoint, when they have been read. */
static mgen_status agree_on_state(mgen_trainer *t)
{
    mgi_stage_state state;
    char text[64];
    if (!t->mesh)
        return MGEN_OK;
    t->kind->state(t->run, &state);
    snprintf(text, sizeof text, "%016" PRIx64, state.parent);
    MGI_TRY(mgi_comm_agree(t->mesh->world, "weights of earlier stages (their hash)", text));
    snprintf(text, sizeof text, "%" PRId64, *state.position);
    return mgi_comm_agree(t->mesh->world, "step", text);
}

typedef struct note {
    double flops;
    uint64_t stop;
} note;

/* The floating point operations of all ranks, and whether one of them wants to stop. */
static mgen_status compare_notes(mgen_trainer *t, const char *what, const note *mine, note *all)
{
    int size = mgi_comm_size(t->mesh->world);
    note *notes;
    *all = (note){0.0, 0};
    mgen_status status = mgi_alloc_zero(t->ctx, (size_t)size, sizeof *notes, &notes);
    if (status != MGEN_OK)
        return mgi_mesh_end(t->mesh, status);
    mgi_comm_note(t->mesh->world, what, (int64_t)atomic_load(&t->next));
    status = mgi_comm_all_gather(t->mesh->world, MGK_U8, mine, notes, sizeof *mine, NULL);
    for (int r = 0; r < size && status == MGEN_OK; r++) {
        all->flops += notes[r].flops;
        all->stop |= notes[r].stop;
    }
    mgi_free(t->ctx, notes);
    return status;
}

/* The stage under way, at its beginning or where the checkpoint left it. */
static mgen_status begin(mgen_trainer *t, const mgi_stage *stage, const mgen_trainer_params *p)
{
    const mgi_mesh *mesh = t->mesh ? &t->mesh->mesh : NULL;
    mgi_stage_state state;
    mgi_stage_params sp = {.stage = stage,
                           .dir = p->dir,
                           .seed = p->seed,
                           .dataset = p->dataset,
                           .cache_dir = t->ctx->cache_dir};
    if (mesh && (t->kind == &mgi_stage_text_to_video || t->kind == &mgi_stage_audio))
        sp.mesh = mesh;
    if (mesh) /* autoencoders and codecs are whole on every rank */
        sp.comm = mesh->group[sp.mesh ? MGI_AXIS_DP : MGI_AXIS_WORLD];
    mgi_device_thrifty(t->ctx->device); /* steps have clips and texts of many sizes */
    mgen_status status = t->kind->create(t->ctx, &sp, &t->run);
    if (status != MGEN_OK)
        return mgi_mesh_end(t->mesh, status);
    status = mgi_mesh_together(t->mesh, status);
    if (status == MGEN_OK && p->resume)
        status = mgi_checkpoint_load(t->ctx, t->kind, t->run, p->resume);
    if (status == MGEN_OK)
        status = agree_on_state(t);
    if (status != MGEN_OK) {
        t->kind->destroy(t->run);
        return status;
    }
    t->kind->state(t->run, &state);
    atomic_init(&t->next, (uint64_t)*state.position);
    return MGEN_OK;
}

static mgen_status read_stage(mgen_context *ctx, const mgen_trainer_params *p, mgi_stage *stage,
                              mgen_trainer **out)
{
    MGI_TRY(check_params(ctx, p));
    MGI_TRY(mgi_recipe_stage(ctx, p->recipe, p->stage, stage));
    MGI_TRY(mgi_dir_make(ctx, p->dir));
    return mgi_alloc_zero(ctx, 1, sizeof **out, out);
}

mgen_status mgen_trainer_create(mgen_context *ctx, const mgen_trainer_params *params,
                                mgen_trainer **out)
{
    mgen_trainer_params p;
    mgi_stage stage;
    mgen_trainer *t = NULL;
    mgi_message before;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_struct_in(ctx, &p, sizeof p, sizeof p, params, "trainer params"));
    MGI_TRY(mgi_mesh_in(ctx, p.mesh));
    p.mesh = mgen_mesh_size(p.mesh) > 1 ? p.mesh : NULL;
    mgi_quiet_begin(ctx, &before);
    mgen_status status = mgi_mesh_together(p.mesh, read_stage(ctx, &p, &stage, &t));
    if (status != MGEN_OK) {
        mgi_free(ctx, t);
        return mgi_quiet_told(ctx, &before, status);
    }
    t->ctx = ctx;
    t->mesh = p.mesh;
    t->kind = mgi_stage_kind_of(&stage);
    t->steps = (uint64_t)stage.steps;
    t->on_step = p.on_step;
    t->user = p.user;
    status = agree_on_stage(t, &stage, &p);
    if (status == MGEN_OK)
        status = begin(t, &stage, &p);
    if (status != MGEN_OK)
        mgi_free(ctx, t);
    else
        *out = t;
    return mgi_quiet_told(ctx, &before, status);
}

uint64_t mgen_trainer_steps(const mgen_trainer *trainer)
{
    return trainer ? trainer->steps : 0;
}

uint64_t mgen_trainer_position(const mgen_trainer *trainer)
{
    return trainer ? atomic_load(&trainer->next) : 0;
}

/* A report says what all ranks have done together. */
static mgen_status sum_flops(mgen_trainer *t, mgen_report *report)
{
    note all, mine = {0.0, 0};
    double *flops = NULL;
    for (uint32_t i = 0; i < report->count; i++)
        if (!strcmp(report->entry[i].name, "flops"))
            flops = &report->entry[i].value;
    mine.flops = flops ? *flops : 0.0;
    MGI_TRY(compare_notes(t, "operations of step", &mine, &all));
    if (flops)
        *flops = all.flops;
    return MGEN_OK;
}

/* What is not finite is so on all ranks. */
static mgen_status take_step(mgen_trainer *t, int64_t step, mgen_report *report)
{
    mgen_status status = t->kind->step(t->run, step, report);
    if (!t->mesh || status == MGEN_E_NUMERIC)
        return status;
    return status == MGEN_OK ? sum_flops(t, report) : mgi_mesh_end(t->mesh, status);
}

mgen_status mgen_trainer_step(mgen_trainer *trainer, mgen_report **report)
{
    mgen_report *r = NULL;
    mgi_message before;
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
    mgen_status status = report || trainer->mesh ? mgi_report_create(ctx, &r) : MGEN_OK;
    if (status != MGEN_OK)
        return mgi_mesh_end(trainer->mesh, status);
    mgi_quiet_begin(ctx, &before);
    status = mgi_quiet_told(ctx, &before, take_step(trainer, (int64_t)next, r));
    if (status == MGEN_OK)
        atomic_store(&trainer->next, next + 1);
    if (status == MGEN_OK && report)
        *report = r;
    else
        mgen_report_destroy(r);
    return status;
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
    if (!t->mesh)
        return MGEN_OK;
    note all, mine = {0.0, *stop};
    MGI_TRY(compare_notes(t, "stop after step", &mine, &all));
    *stop = all.stop != 0;
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
    mgi_message before;
    if (!trainer)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(trainer->ctx));
    mgen_status status = mgi_check_text(trainer->ctx, path, "the checkpoint's path", MGI_PATH_MAX);
    MGI_TRY(mgi_mesh_together(trainer->mesh, status));
    mgi_quiet_begin(trainer->ctx, &before);
    status = mgi_checkpoint_save(trainer->ctx, trainer->kind, trainer->run, path);
    return mgi_quiet_told(trainer->ctx, &before, status);
}

mgen_status mgen_trainer_save(mgen_trainer *trainer)
{
    mgi_message before;
    if (!trainer)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(trainer->ctx));
    mgi_stage_state state;
    trainer->kind->state(trainer->run, &state);
    bool writes = state.world || mgen_mesh_rank(trainer->mesh) == 0; /* of averages, one does */
    mgi_quiet_begin(trainer->ctx, &before);
    mgen_status status = writes ? trainer->kind->save(trainer->run) : MGEN_OK;
    return mgi_quiet_told(trainer->ctx, &before, mgi_mesh_together(trainer->mesh, status));
}

void mgen_trainer_destroy(mgen_trainer *trainer)
{
    if (!trainer)
        return;
    trainer->kind->destroy(trainer->run);
    mgi_free(trainer->ctx, trainer);
}
