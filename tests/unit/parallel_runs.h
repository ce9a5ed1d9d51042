/* SPDX-License-Identifier: MIT
 * Stages of training run by several ranks, which are threads, and compared with one rank's. */
#ifndef TESTS_UNIT_PARALLEL_RUNS_H
#define TESTS_UNIT_PARALLEL_RUNS_H

#include "core/alloc.h"
#include "rank_context.h"
#include "reported.h"
#include "run_threads.h"
#include "tensor/device.h"
#include "test_folder.h"
#include "tiny_stages.h"
#include "train/checkpoint.h"
#include "train/stage.h"

#include <math.h>
#include <stdlib.h>

enum { RANKS_MAX = 4, STEPS = 2 };

static const char *folders[RANKS_MAX] = {folder, folder, folder, folder}; /* of each rank */

/* What one rank saw. */
typedef struct rank {
    const mgi_stage *stage;
    mgi_comm_group *group; /* NULL: alone */
    mgi_mesh_shape shape;  /* dp 0: all ranks share batches */
    int index;
    bool save;
    const char *from, *to; /* checkpoints that it begins with, and leaves; NULL: none */
    int64_t first, end;    /* step that it begins with; behind the last one, 0: all of the stage */
    mgen_status status;
    char error[256];
    int64_t size, text_size;    /* of all modules, and of the first one */
    float *gradients, *weights; /* after the first (late: the last) and after the last step */
    bool late;
    double loss, last_loss; /* of the first and the last step */
    double held_loss;       /* of a validation after it, or 0 */
} rank;

static float *gather(struct mgi_stage_run *run, const struct mgi_stage_kind *kind, bool gradients,
                     int64_t *size)
{
    mgi_stage_state state;
    kind->state(run, &state);
    mgi_module **list = state.module;
    int count = state.modules;
    *size = 0;
    for (int i = 0; i < count; i++)
        *size += mgi_module_size(list[i]);
    float *all = calloc((size_t)*size, sizeof *all), *at = all;
    for (int i = 0; i < count && all; i++) {
        for (int64_t k = 0; k < list[i]->count; k++) {
            const mgi_param *p = list[i]->params[k];
            const mgi_tensor *t = !gradients ? p->value : p->frozen ? NULL : p->value->var->grad;
            if (t)
                mgi_tensor_read(t, 0, at, p->value->count);
            at += p->value->count;
        }
    }
    return all;
}

static mgen_status train(rank *r, mgen_context *ctx, mgi_comm *comm, const mgi_mesh *mesh)
{
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(r->stage);
    struct mgi_stage_run *run;
    MGI_TRY(kind->create(ctx,
                         &(mgi_stage_params){.stage = r->stage,
                                             .dir = folders[r->index],
                                             .seed = 5,
                                             .cache_dir = folders[r->index],
                                             .comm = comm,
                                             .mesh = mesh},
                         &run));
    mgen_status status = r->from ? mgi_checkpoint_load(ctx, kind, run, r->from) : MGEN_OK;
    const int64_t steps = r->end ? r->end : r->stage->steps;
    for (int64_t step = r->first; step < steps && status == MGEN_OK; step++) {
        mgen_report *report;
        status = mgi_report_create(ctx, &report);
        if (status == MGEN_OK)
            status = kind->step(run, step, report);
        if (step == (r->late ? steps - 1 : r->first) && status == MGEN_OK) {
            mgi_stage_state state;
            kind->state(run, &state);
            r->text_size = mgi_module_size(state.module[0]);
            r->gradients = gather(run, kind, true, &r->size);
        }
        if (step == r->first && status == MGEN_OK)
            r->loss = mgen_report_value(report, 1);
        if (status == MGEN_OK) {
            r->last_loss = mgen_report_value(report, 1);
            r->held_loss = reported_or(report, "val_loss", r->held_loss);
        }
        mgen_report_destroy(report);
    }
    if (status == MGEN_OK)
        r->weights = gather(run, kind, false, &r->size);
    if (status == MGEN_OK && r->to)
        status = mgi_checkpoint_save(ctx, kind, run, r->to);
    if (status == MGEN_OK && r->save)
        status = kind->save(run);
    kind->destroy(run);
    return status;
}

static mgen_status train_over_mesh(rank *r, mgen_context *ctx, mgi_comm *world)
{
    mgi_mesh mesh;
    MGI_TRY(mgi_mesh_create(world, r->shape, &mesh));
    mgen_status status = train(r, ctx, mesh.group[MGI_AXIS_DP], &mesh);
    mesh.group[MGI_AXIS_WORLD] = NULL; /* the caller's */
    mgi_mesh_destroy(&mesh);
    return status;
}

static mgen_status rank_trains(void *user, mgen_context *ctx, mgi_comm *comm)
{
    rank *r = user;
    return r->shape.dp ? train_over_mesh(r, ctx, comm) : train(r, ctx, comm, NULL);
}

static void *rank_main(void *arg)
{
    rank *r = arg;
    const mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    r->status = run_as_rank(params, r->group, r->index, rank_trains, r, r->error, sizeof r->error);
    return NULL;
}

/* Ranks whose stage, shape and more are set, to their ends. */
static void run_all(rank *ranks, int count)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *owner;
    mgi_comm_group *group = NULL;
    params.threads = 1;
    assert_int_equal(mgi_context_init(&owner, &params), MGEN_OK);
    if (count > 1 || ranks->shape.dp)
        assert_int_equal(mgi_comm_group_create(owner, count, 120000, &group), MGEN_OK);
    for (int i = 0; i < count; i++) {
        ranks[i].group = group;
        ranks[i].index = i;
    }
    run_threads(rank_main, ranks, sizeof *ranks, count);
    mgi_comm_group_release(group);
    mgi_context_free(owner);
}

static inline void run_mesh(const mgi_stage *stage, int count, mgi_mesh_shape shape, bool save,
                            rank *ranks)
{
    for (int i = 0; i < count; i++)
        ranks[i] =
            (rank){.stage = stage, .shape = shape, .save = save && i == 0, .late = shape.dp > 0};
    run_all(ranks, count);
}

static void run_ranks(const mgi_stage *stage, int count, bool save, rank *ranks)
{
    run_mesh(stage, count, (mgi_mesh_shape){0, 0, 0}, save, ranks);
}

static void ranks_free(rank *ranks, int count)
{
    for (int i = 0; i < count; i++) {
        free(ranks[i].gradients);
        free(ranks[i].weights);
    }
}

/* Root of the sum of squares of a - b, relative to that of a. */
static double distance(const float *a, const float *b, int64_t n)
{
    double apart = 0.0, size = 0.0;
    for (int64_t i = 0; i < n; i++) {
        apart += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)a[i] * (double)a[i];
    }
    return sqrt(apart / size);
}

/* The same on all ranks, bit for bit; as one rank's with the whole batch, to rounding. */
static inline void assert_as_one(const rank *one, const mgi_stage *stage, int count)
{
    rank many[RANKS_MAX];
    run_ranks(stage, count, false, many);
    for (int i = 0; i < count; i++) {
        assert_string_equal(many[i].error, "");
        assert_memory_equal(many[i].gradients, many[0].gradients,
                            (size_t)one->size * sizeof(float));
        assert_memory_equal(many[i].weights, many[0].weights, (size_t)one->size * sizeof(float));
        assert_true(many[i].loss == many[0].loss);
    }
    assert_true(fabs(many[0].loss - one->loss) <= 1e-5 * fabs(one->loss));
    assert_true(distance(one->gradients, many[0].gradients, one->size) < 1e-5);
    ranks_free(many, count);
}

/* A batch shared by ranks, taken in several passes, and both. */
static inline void compare(const mgi_stage *stage)
{
    rank one;
    mgi_stage parts = *stage;
    run_ranks(stage, 1, stage->kind == MGI_STAGE_AUTOENCODER, &one);
    assert_string_equal(one.error, "");
    for (int count = 2; count <= RANKS_MAX; count *= 2)
        assert_as_one(&one, stage, count);
    for (int passes = 2; passes <= 4; passes *= 2) {
        parts.accumulate = passes;
        parts.batch = stage->batch / passes;
        parts.image_batch = stage->image_batch / passes;
        assert_as_one(&one, &parts, passes == 2 ? 2 : 1);
    }
    ranks_free(&one, 1);
}

#endif
