/* SPDX-License-Identifier: MIT */
#include "train/plan_mesh.h"

#include "core/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one mesh ---- */

typedef struct walker {
    mgi_clock clock;
    mgi_unit_hook hook;
    const mgi_unit_hook *inner;                      /* the run's own */
    uint64_t base[MGI_MEM_KINDS];                    /* what the rank has before the step */
    double pass_seconds, pass_busy[MGI_CLOCK_KINDS]; /* of a pass that is not the last */
    double pass_exposed[MGI_AXES], pass_bytes[MGI_COMM_OPS][MGI_LINKS];
} walker;

static void on_unit(mgi_run *run, void *user, void *module, int64_t unit, int moment)
{
    walker *w = user;
    w->clock.unit = unit;
    w->clock.backward = moment == MGI_ENTER_BACKWARD || moment == MGI_EXIT_BACKWARD;
    if (w->inner)
        w->inner->call(run, w->inner->user, module, unit, moment);
    if (moment == MGI_EXIT_FORWARD || moment == MGI_EXIT_BACKWARD)
        w->clock.unit = -1;
}

/* Making the model was no part of the step. */
static void made(walker *w, mgi_run *run)
{
    memcpy(w->base, run->dev->counts.now, sizeof w->base);
    mgi_clock_restart(&w->clock);
}

static void begun(walker *w, mgi_run *run)
{
    w->inner = run->hook;
    run->hook = &w->hook;
}

static void on_moment(void *user, mgi_run *run, int moment)
{
    walker *w = user;
    const mgi_clock *c = &w->clock;
    if (moment == MGI_PLAN_MADE)
        made(w, run);
    else if (moment == MGI_PLAN_BEGUN)
        begun(w, run);
    if (moment != MGI_PLAN_PASS)
        return;
    w->pass_seconds = c->now;
    memcpy(w->pass_busy, c->busy, sizeof w->pass_busy);
    memcpy(w->pass_exposed, c->exposed, sizeof w->pass_exposed);
    memcpy(w->pass_bytes, c->bytes, sizeof w->pass_bytes);
}

/* Of `all`, what one or two passes and the optimizer's step took, the pass that is not the last as often as it takes. */
static double repeated(double pass, double all, int64_t passes)
{
    return passes > 2 ? all + (double)(passes - 2) * pass : all;
}

static void fill_times(mgi_mesh_plan *p, const walker *w, const mgi_mesh_request *r)
{
    const mgi_clock *c = &w->clock;
    p->seconds = repeated(w->pass_seconds, c->now, p->passes);
    for (int i = 0; i < MGI_CLOCK_KINDS; i++)
        p->busy[i] = repeated(w->pass_busy[i], c->busy[i], p->passes);
    for (int i = 0; i < MGI_AXES; i++) {
        p->exposed[i] = repeated(w->pass_exposed[i], c->exposed[i], p->passes);
        p->exposed_seconds += p->exposed[i];
    }
    for (int i = 0; i < MGI_COMM_OPS; i++)
        for (int k = 0; k < MGI_LINKS; k++)
            p->bytes[i][k] = repeated(w->pass_bytes[i][k], c->bytes[i][k], p->passes);
    double peak = (r->step.dtype == MGK_BF16 ? r->gpu.tflops : r->gpu.tflops_f32) * 1e12;
    p->mfu = p->model_flops / (p->seconds * peak * r->gpus);
    p->unknown = c->unknown;
}

void mgi_plan_fill_memory(mgi_mesh_plan *p, const uint64_t base[MGI_MEM_KINDS],
                          const mgi_device_counts *end, const mgi_gpu *gpu)
{
    const uint64_t *at = end->at_peak;
    double *m = p->memory;
    m[MGI_PLAN_WEIGHTS] = (double)base[MGI_MEM_PARAMETER];
    m[MGI_PLAN_COMPUTE] = (double)base[MGI_MEM_COMPUTE];
    m[MGI_PLAN_GRADIENTS] = (double)base[MGI_MEM_GRADIENT];
    m[MGI_PLAN_MOMENTS] = (double)base[MGI_MEM_OPTIMIZER];
    m[MGI_PLAN_GATHERED] = (double)(at[MGI_MEM_COMPUTE] - base[MGI_MEM_COMPUTE]) +
                           (double)(at[MGI_MEM_GRADIENT] - base[MGI_MEM_GRADIENT]);
    m[MGI_PLAN_ACTIVATIONS] = (double)at[MGI_MEM_ACTIVATION];
    m[MGI_PLAN_FLOW] = (double)at[MGI_MEM_FLOW];
    m[MGI_PLAN_WORKSPACE] = (double)at[MGI_MEM_WORKSPACE];
    m[MGI_PLAN_ALLOCATOR] = (double)(end->held_peak - end->total_peak);
    m[MGI_PLAN_RESERVE] = gpu->reserve_gb * 1e9;
    for (int i = 0; i < MGI_PLAN_MEMORIES; i++)
        p->memory_bytes += m[i];
    p->fits = p->memory_bytes <= gpu->gb * 1e9;
}

static mgen_status walk(mgen_context *meta, const mgi_mesh_request *r, const mgi_plan_request *step,
                        mgi_mesh_plan *p)
{
    walker w = {.inner = NULL};
    mgi_comm *world;
    mgi_mesh mesh;
    mgi_plan walked;
    MGI_TRY(mgi_comm_counting_create(meta, 0, r->gpus, &world));
    mgen_status status = mgi_mesh_create(world, p->mesh, &mesh);
    if (status != MGEN_OK) {
        mgi_comm_destroy(world);
        return status;
    }
    w.hook = (mgi_unit_hook){on_unit, &w};
    mgi_clock_init(&w.clock, meta, &r->gpu, &mesh, r->timeline ? 1 + step->config.layers / 2 : -1);
    const mgi_plan_walk plan = {
        .mesh = &mesh, .passes = p->passes > 1, .moment = on_moment, .user = &w};
    status = mgi_plan_walk_step(meta, step, &plan, &walked);
    if (status == MGEN_OK)
        status = w.clock.status;
    if (status == MGEN_OK) {
        p->rank_flops = walked.step_flops * (double)p->passes / (plan.passes ? 2.0 : 1.0);
        memcpy(p->near, w.clock.near, sizeof p->near);
        fill_times(p, &w, r);
        mgi_plan_fill_memory(p, w.base, &walked.end, &r->gpu);
        p->events = w.clock.events;
        p->event_count = w.clock.count;
        w.clock.events = NULL;
    }
    mgi_clock_finish(&w.clock);
    mgi_mesh_destroy(&mesh);
    return status;
}

mgen_status mgi_plan_meta(mgen_context *ctx, mgen_context **meta)
{
    MGI_TRY(mgi_context_private(ctx, meta));
    mgen_status status = mgi_device_create(*meta, "ref");
    if (status != MGEN_OK) {
        mgi_fail_from(ctx, status, *meta);
        mgi_context_free(*meta);
        return status;
    }
    mgi_device_make_meta((*meta)->device);
    return MGEN_OK;
}

static mgen_status plan_mesh(mgen_context *ctx, const mgi_mesh_request *r,
                             const mgi_plan_request *step, mgi_mesh_plan *p)
{
    mgen_context *meta;
    MGI_TRY(mgi_plan_meta(ctx, &meta));
    mgen_status status = walk(meta, r, step, p);
    if (status != MGEN_OK)
        mgi_fail_from(ctx, status, meta);
    mgi_context_free(meta);
    return status;
}

/* Of a mesh: the modes of recomputation and of context parallelism that are asked for. */
static mgen_status best_of_mesh(mgen_context *ctx, const mgi_mesh_request *r, mgi_mesh_plan *p)
{
    const mgi_mesh_plan empty = *p;
    mgi_plan_request step = r->step;
    bool exchanges =
        r->any_cp && p->mesh.cp > 1 && step.config.heads / p->mesh.tp % p->mesh.cp == 0;
    int first = r->any_recompute ? MGI_RECOMPUTE_NONE : step.recompute;
    int last = r->any_recompute ? MGI_RECOMPUTE_FULL : step.recompute;
    p->fits = false;
    for (step.recompute = first; step.recompute <= last && !p->fits; step.recompute++) {
        for (int mode = 0; mode <= exchanges; mode++) {
            mgi_mesh_plan next = empty;
            if (exchanges)
                step.cp = mode ? MGI_CP_EXCHANGE : MGI_CP_GATHER;
            next.recompute = step.recompute;
            next.cp = step.cp;
            mgen_status status = plan_mesh(ctx, r, &step, &next);
            bool better = !mode || (next.fits && (!p->fits || next.seconds < p->seconds));
            mgi_free(ctx, better ? p->events : next.events);
            if (better)
                *p = next;
            if (status != MGEN_OK)
                return status;
        }
    }
    return MGEN_OK;
}

/* ---- all meshes ---- */

static bool legal(const mgi_mesh_request *r, int64_t tokens, mgi_mesh_shape s)
{
    const mgi_vt_config *c = &r->step.config;
    int64_t samples = r->step.batch * s.dp;
    if (r->step.adapter && s.tp > 1)
        return false;
    return c->heads % s.tp == 0 && c->ff_dim % s.tp == 0 && tokens % ((int64_t)s.cp * s.tp) == 0 &&
           (!r->global_batch || r->global_batch % samples == 0);
}

/* A mesh that is given: a sentence for what is wrong with it. */
static mgen_status check_mesh(mgen_context *ctx, const mgi_mesh_request *r, int64_t tokens)
{
    mgi_mesh_shape s = r->mesh;
    char text[64], tps[96] = "";
    size_t used = 0;
    const mgi_vt_config *c = &r->step.config;
    mgi_mesh_text(s, text, sizeof text);
    if ((int64_t)s.dp * s.cp * s.tp != r->gpus)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "a mesh of %s has %lld places for %d GPUs; its sizes must multiply to that",
                        text, (long long)s.dp * s.cp * s.tp, r->gpus);
    for (int tp = 1; tp <= c->heads && used < sizeof tps - 8; tp++)
        if (c->heads % tp == 0 && c->ff_dim % tp == 0)
            used += (size_t)snprintf(tps + used, sizeof tps - used, "%s%d", used ? ", " : "", tp);
    if (c->heads % s.tp || c->ff_dim % s.tp)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "mesh %s: %lld heads and an FFN of %lld cannot be split over tp=%d; legal "
                        "are %s",
                        text, (long long)c->heads, (long long)c->ff_dim, s.tp, tps);
    if (tokens % ((int64_t)s.cp * s.tp))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "mesh %s: %lld tokens cannot be split over cp=%d x tp=%d; cp x tp must "
                        "divide them",
                        text, (long long)tokens, s.cp, s.tp);
    if (s.shard && (s.dp * s.cp) % s.shard)
        return mgi_fail(ctx, MGEN_E_INVALID, "mesh %s: shard must divide dp x cp = %d", text,
                        s.dp * s.cp);
    if (r->step.adapter && (s.tp > 1 || s.shard > 1))
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "mesh %s: adapters are trained by ranks that have all of the model; take tp=1 "
            "and shard=1",
            text);
    if (!legal(r, tokens, s))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "mesh %s: a global batch of %lld is not a multiple of dp=%d x %lld samples",
                        text, (long long)r->global_batch, s.dp, (long long)r->step.batch);
    return MGEN_OK;
}

static int better_first(const void *left, const void *right)
{
    const mgi_mesh_plan *a = left, *b = right;
    if (a->fits != b->fits)
        return a->fits ? -1 : 1;
    double x = a->fits ? b->mfu : a->memory_bytes, y = a->fits ? a->mfu : b->memory_bytes;
    return x < y ? -1 : x > y;
}

static mgen_status add(mgen_context *ctx, const mgi_mesh_request *r, double sample_flops,
                       mgi_mesh_shape shape, mgi_mesh_plans *out)
{
    if (!shape.shard)
        shape.shard = r->step.adapter ? 1 : shape.dp * shape.cp;
    MGI_TRY(mgi_realloc(ctx, &out->list, (size_t)out->count + 1, sizeof *out->list));
    mgi_mesh_plan *p = &out->list[out->count++];
    int64_t samples = r->step.batch * shape.dp;
    *p = (mgi_mesh_plan){.mesh = shape,
                         .samples = r->step.batch,
                         .passes = r->global_batch ? r->global_batch / samples : 1};
    p->global_batch = samples * p->passes;
    p->model_flops = (r->step.prefer ? 4.0 : 3.0) * sample_flops * (double)p->global_batch;
    return best_of_mesh(ctx, r, p);
}

/* Parameters divided over all ranks of dp x cp, and over those of 1, 8 and 64 nodes. */
static mgen_status add_shards(mgen_context *ctx, const mgi_mesh_request *r, double sample_flops,
                              mgi_mesh_shape shape, mgi_mesh_plans *out)
{
    int all = shape.dp * shape.cp, node = (int)r->gpu.node / shape.tp;
    MGI_TRY(add(ctx, r, sample_flops, shape, out));
    if (r->step.adapter) /* of which every rank has all */
        return MGEN_OK;
    for (int nodes = 1; nodes <= 64; nodes *= 8) {
        shape.shard = node * nodes;
        if (shape.shard > 1 && shape.shard < all && all % shape.shard == 0)
            MGI_TRY(add(ctx, r, sample_flops, shape, out));
    }
    return MGEN_OK;
}

static mgen_status add_all(mgen_context *ctx, const mgi_mesh_request *r, double sample_flops,
                           mgi_mesh_plans *out)
{
    for (int tp = 1; tp <= r->gpus; tp++) {
        for (int cp = 1; cp <= r->gpus / tp && r->gpus % tp == 0; cp++) {
            mgi_mesh_shape shape = {r->gpus / tp / cp, cp, tp, 0};
            if (r->gpus / tp % cp == 0 && legal(r, out->tokens, shape))
                MGI_TRY(add_shards(ctx, r, sample_flops, shape, out));
        }
    }
    if (!out->count)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "no mesh of %d GPUs is legal: tp must divide %lld heads and an FFN of "
                        "%lld, cp x tp %lld tokens, and dp x %lld samples a global batch of %lld",
                        r->gpus, (long long)r->step.config.heads, (long long)r->step.config.ff_dim,
                        (long long)out->tokens, (long long)r->step.batch,
                        (long long)r->global_batch);
    qsort(out->list, (size_t)out->count, sizeof *out->list, better_first);
    return MGEN_OK;
}

mgen_status mgi_mesh_plan_make(mgen_context *ctx, const mgi_mesh_request *r, mgi_mesh_plans *out)
{
    mgi_plan one;
    mgi_plan_request sample = r->step;
    *out = (mgi_mesh_plans){0};
    sample.batch = 1;
    sample.recompute = MGI_RECOMPUTE_NONE;
    MGI_TRY(mgi_plan_step(ctx, &sample, &one));
    out->parameters = one.parameters;
    out->tokens = one.tokens;
    mgen_status status;
    if (r->mesh.dp) {
        status = check_mesh(ctx, r, one.tokens);
        if (status == MGEN_OK)
            status = add(ctx, r, one.forward_flops, r->mesh, out);
    } else {
        status = add_all(ctx, r, one.forward_flops, out);
    }
    if (status != MGEN_OK)
        mgi_mesh_plans_free(ctx, out);
    return status;
}

void mgi_mesh_plans_free(mgen_context *ctx, mgi_mesh_plans *plans)
{
    for (int64_t i = 0; i < plans->count; i++)
        mgi_free(ctx, plans->list[i].events);
    mgi_free(ctx, plans->list);
    *plans = (mgi_mesh_plans){0};
}
