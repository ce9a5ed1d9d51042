/* SPDX-License-Identifier: MIT
 * Ranks that save and load what is no training, but has all that a checkpoint holds of one: parameters whole and split in
 * every way, with values that are a function of the save's number and of the element of the whole. */
#ifndef SHARD_RANKS_H
#define SHARD_RANKS_H

#include "core/alloc.h"
#include "core/hash.h"
#include "faulty_comm.h"
#include "nn/layout.h"
#include "tensor/device.h"
#include "tiny_stages.h"
#include "train/checkpoint.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SHARD_RANKS_MAX = 8, SHARD_STEPS = 1000000 };

struct mgi_stage_run {
    mgi_stage stage;
    mgi_module module[2];
    mgi_optimizer optimizer;
    int64_t updated;
    mgi_comm *world;
    mgi_mesh_shape shape;
};

static void fake_state(struct mgi_stage_run *r, mgi_stage_state *out)
{
    *out = (mgi_stage_state){.stage = &r->stage,
                             .seed = 7,
                             .parent = 11,
                             .module = {&r->module[0], &r->module[1]},
                             .modules = 2,
                             .optimizer = &r->optimizer,
                             .position = &r->updated,
                             .world = r->world,
                             .shape = r->shape};
}

static const struct mgi_stage_kind fake_kind = {.state = fake_state};

static int fake_params = 8; /* in each module; the last one is larger than what is read at a time */

static void add_params(mgi_module *m, int count)
{
    static const struct {
        int rank, tp, parts;
        bool frozen;
        int64_t dims[2];
    } params[] = {
        {2, MGI_TP_COLUMN, 3, false, {24, 5}},   {1, MGI_TP_COLUMN, 3, false, {24}},
        {2, MGI_TP_ROW, 0, false, {7, 16}},      {1, MGI_TP_REPLICATED, 0, false, {13}},
        {2, MGI_TP_REPLICATED, 0, true, {3, 5}}, {2, MGI_TP_ROW, 2, false, {5, 32}},
        {1, MGI_TP_REPLICATED, 0, false, {1}},   {2, MGI_TP_COLUMN, 1, false, {680, 100}}};
    for (int i = 0; i < count; i++) {
        if (i % 3 == 2)
            mgi_module_unit(m);
        mgi_param_add(m,
                      (mgi_param_spec){.tp = params[i].tp,
                                       .parts = params[i].parts,
                                       .frozen = params[i].frozen,
                                       .codes = params[i].rank == 2},
                      params[i].rank, params[i].dims, "layer.%d.weight", i);
    }
}

static void fake_free(struct mgi_stage_run *r)
{
    mgi_optimizer_finish(&r->optimizer);
    for (int i = 0; i < 2; i++)
        mgi_module_finish(&r->module[i]);
}

static mgen_status fake_make(mgen_context *ctx, mgi_comm *world, const mgi_mesh *mesh,
                             struct mgi_stage_run *r)
{
    memset(r, 0, sizeof *r);
    r->stage = tiny_text_to_video(SHARD_STEPS, 1);
    r->stage.optimizer.schedule = MGI_LR_PLATEAU;
    r->world = world;
    r->shape = mesh ? mesh->shape : (mgi_mesh_shape){1, 1, 1};
    for (int i = 0; i < 2; i++) {
        mgi_module *m = &r->module[i];
        mgi_module_init(m, ctx);
        if (mesh && i == 0) { /* the other is whole on every rank */
            m->tp_rank = mesh->at.tp;
            m->tp_size = mesh->shape.tp;
        }
        if (mesh) {
            m->shard_rank = mesh->at.shard;
            m->shard_size = mesh->shape.shard;
        }
        add_params(m, i && fake_params == 8 ? 7 : fake_params);
        MGI_TRY(mgi_module_divide(m));
        MGI_TRY(mgi_module_train(m));
    }
    return mgi_optimizer_init(&r->optimizer, ctx, &r->stage.optimizer, r->stage.steps,
                              (mgi_module *[]){&r->module[0], &r->module[1]}, 2);
}

/* Any bits, minus zero among them; of parameters and averages, which models are, no infinities or NaN. */
static uint32_t value_of(uint64_t seed, int64_t element, bool finite)
{
    uint64_t mixed = (seed + (uint64_t)element) * 0x9E3779B97F4A7C15u;
    uint32_t bits = element % 7 == 3 ? 0x80000000u : (uint32_t)(mixed >> 32);
    return finite && (bits & 0x7f800000u) == 0x7f800000u ? bits ^ 0x800000u : bits;
}

/* Own elements of a tensor: set, or how many are not those of the save. */
static int64_t visit_tensor(mgi_tensor *t, const mgi_layout *own, int64_t save, const char *name,
                            int kind, bool set)
{
    const int64_t key[2] = {save, kind};
    uint64_t seed = mgi_hash64(key, sizeof key, mgi_hash64(name, strlen(name), 0));
    int64_t wrong = 0;
    uint32_t *bits = malloc((size_t)own->elements * sizeof *bits + 1), *at = bits;
    if (!set && own->elements)
        mgi_tensor_read(t, 0, bits, own->elements);
    for (int64_t i = 0; i < own->ranges; i++) {
        const mgi_layout_range *r = &own->range[i];
        for (int64_t k = 0; k < r->times * r->count; k++, at++) {
            uint32_t is =
                value_of(seed, r->whole + k / r->count * r->stride + k % r->count, kind % 3 == 0);
            wrong += *at != is;
            if (set)
                *at = is;
        }
    }
    if (set && own->elements)
        mgi_tensor_write(t, 0, bits, own->elements);
    free(bits);
    return set ? 0 : wrong;
}

static int64_t visit_module(mgi_module *m, int64_t save, bool set)
{
    int64_t wrong = 0;
    for (int64_t k = 0; k < m->count; k++) {
        const mgi_param *p = m->params[k];
        mgi_tensor *const tensors[] = {p->value, p->m, p->v, p->ema};
        mgi_layout own;
        if (mgi_layout_init(&own, m->ctx, m, p, 0) != MGEN_OK)
            return 1;
        for (int j = 0; j < 4; j++)
            if (tensors[j] && (j == 0 || !p->frozen))
                wrong += visit_tensor(tensors[j], &own, save, p->name, j, set);
        mgi_layout_free(&own, m->ctx);
    }
    return wrong;
}

/* Make it that of save number `save`, or count what is not. */
static int64_t fake_visit(struct mgi_stage_run *r, int64_t save, bool set)
{
    const mgi_layout words = {.range =
                                  &(mgi_layout_range){0, MGK_CONTROL_COUNT, MGK_CONTROL_COUNT, 1},
                              .ranges = 1,
                              .elements = MGK_CONTROL_COUNT};
    int64_t wrong = visit_module(&r->module[0], save, set) +
                    visit_module(&r->module[1], save + SHARD_STEPS, set);
    wrong += visit_tensor(r->optimizer.control, &words, save, "control", 0, set);
    for (int i = 0; i < MGI_PLATEAU_COUNT; i++) {
        float is = (float)(save * MGI_PLATEAU_COUNT + i);
        wrong += !set && r->optimizer.plateau[i] != is;
        if (set)
            r->optimizer.plateau[i] = is;
    }
    wrong += !set && r->updated != save;
    if (set)
        r->updated = save;
    return wrong;
}

static mgen_context *shard_context(void)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    params.threads = 1;
    if (mgi_context_init(&ctx, &params) != MGEN_OK || mgi_device_create(ctx, NULL) != MGEN_OK)
        return NULL;
    return ctx;
}

/* What ranks do. */
typedef struct shard_rank shard_rank;
typedef struct shard_job {
    mgi_mesh_shape shape;
    int64_t timeout_ms;
    mgen_status (*body)(shard_rank *);
    const char *from, *to; /* loaded from; then saved to */
    int64_t save;          /* number */
    fault *fault;          /* of rank `faulty`; its `at` counts calls of the body */
    int faulty;
    const void *user;
} shard_job;
struct shard_rank {
    const shard_job *job;
    mgi_comm_group *group;
    int index;
    mgen_context *ctx;
    mgi_mesh mesh;
    struct mgi_stage_run run;
    mgen_status status;
    char said[512];
    int64_t wrong;
    uint64_t hash; /* what the body found */
};

static mgen_status shard_begin(shard_rank *r)
{
    mgi_comm *world;
    r->ctx = shard_context();
    if (!r->ctx)
        return MGEN_E_INTERNAL;
    MGI_TRY(mgi_comm_join(r->group, r->index, r->ctx, &world));
    if (r->job->fault && r->job->faulty == r->index)
        MGI_TRY(faulty_create(world, r->job->fault, &world));
    mgen_status status = mgi_mesh_create(world, r->job->shape, &r->mesh);
    if (status != MGEN_OK) {
        mgi_comm_destroy(world);
        return status;
    }
    return fake_make(r->ctx, world, &r->mesh, &r->run);
}

static void *shard_main(void *arg)
{
    shard_rank *r = arg;
    fault *f = r->job->faulty == r->index ? r->job->fault : NULL;
    int64_t at = f ? f->at : 0;
    if (f)
        f->at = INT64_MAX; /* not yet */
    r->status = shard_begin(r);
    if (f)
        f->at = at + f->calls;
    if (r->status == MGEN_OK)
        r->status = r->job->body(r);
    if (r->status != MGEN_OK && r->ctx)
        snprintf(r->said, sizeof r->said, "%.500s", mgen_last_error(r->ctx));
    fake_free(&r->run);
    mgi_mesh_destroy(&r->mesh);
    if (r->ctx)
        mgi_context_free(r->ctx);
    return NULL;
}

static int shard_count(const shard_job *job)
{
    return job->shape.dp * job->shape.cp * job->shape.tp;
}

/* Every rank in a thread. */
static void shard_run(const shard_job *job, shard_rank *ranks)
{
    pthread_t threads[SHARD_RANKS_MAX];
    mgen_context *owner = shard_context();
    mgi_comm_group *group = NULL;
    int count = shard_count(job);
    if (!owner || mgi_comm_group_create(owner, count, job->timeout_ms ? job->timeout_ms : 60000,
                                        &group) != MGEN_OK)
        abort();
    for (int i = 0; i < count; i++) {
        ranks[i] = (shard_rank){.job = job, .group = group, .index = i};
        if (pthread_create(&threads[i], NULL, shard_main, &ranks[i]))
            abort();
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    mgi_comm_group_release(group);
    mgi_context_free(owner);
}

/* Set, or load and look; then save. */
static mgen_status shard_pass_on(shard_rank *r)
{
    const shard_job *job = r->job;
    if (job->from) {
        MGI_TRY(mgi_checkpoint_load(r->ctx, &fake_kind, &r->run, job->from));
        r->wrong = fake_visit(&r->run, job->save, false);
    } else {
        fake_visit(&r->run, job->save, true);
    }
    return job->to ? mgi_checkpoint_save(r->ctx, &fake_kind, &r->run, job->to) : MGEN_OK;
}

#endif
