/* SPDX-License-Identifier: MIT */
#include "train/plan_clock.h"

#include "core/alloc.h"
#include "kernels/attention/attention.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/flops.h"
#include "kernels/matmul/matmul.h"
#include "kernels/traffic.h"

#include <math.h>
#include <string.h>

static void record(mgi_clock *c, mgi_clock_event e)
{
    if (c->recorded < 0 || c->unit != c->recorded || c->status != MGEN_OK)
        return;
    if (c->count == c->capacity) {
        int64_t capacity = c->capacity ? 2 * c->capacity : 128;
        c->status = mgi_realloc(c->ctx, &c->events, (size_t)capacity, sizeof *c->events);
        if (c->status != MGEN_OK)
            return;
        c->capacity = capacity;
    }
    e.unit = c->unit;
    e.backward = c->backward;
    c->events[c->count++] = e;
}

static bool of_optimizer(int op)
{
    return op == MGK_OP_adamw || op == MGK_OP_grad_norm || op == MGK_OP_step_control;
}

/* The time of a launch, without what launching takes. */
static double compute_seconds(const mgi_gpu *gpu, int op, const void *args, double flops,
                              mgi_clock_kind *kind)
{
    const mgk_matmul_args *m = args;
    const mgk_conv2d_args *v = args;
    const mgk_attention_args *a = args;
    switch (op) {
    case MGK_OP_matmul:
        *kind = MGI_CLOCK_PRODUCTS;
        return mgi_gpu_product(gpu, m->a.dtype, flops, gpu->products);
    case MGK_OP_conv2d:
    case MGK_OP_conv2d_grad_input:
    case MGK_OP_conv2d_grad_weight: /* of the operands that are multiplied */
        *kind = MGI_CLOCK_PRODUCTS;
        return mgi_gpu_product(gpu, op == MGK_OP_conv2d_grad_input ? v->y.dtype : v->x.dtype, flops,
                               gpu->convolutions);
    case MGK_OP_attention:
        *kind = MGI_CLOCK_ATTENTION;
        return mgi_gpu_product(gpu, a->q.dtype, flops, gpu->attention);
    case MGK_OP_attention_grad:
        *kind = MGI_CLOCK_ATTENTION;
        return mgi_gpu_product(gpu, a->q.dtype, flops, gpu->attention_grad);
    default:
        *kind = of_optimizer(op) ? MGI_CLOCK_OPTIMIZER : MGI_CLOCK_MEMORY;
        return 0.0;
    }
}

static void on_launch(void *user, int op, const void *args)
{
    mgi_clock *c = user;
    mgi_clock_kind kind;
    double flops = mgk_flops(op, args), bytes = mgk_traffic(op, args), begin = c->now;
    double compute = compute_seconds(c->gpu, op, args, flops, &kind);
    c->unknown += bytes < 0.0;
    double seconds = fmax(compute, mgi_gpu_traffic(c->gpu, fmax(bytes, 0.0)));
    seconds += 1e-6 * c->gpu->launch_us;
    c->now += seconds;
    c->busy[kind] += seconds;
    mgi_clock_event e = {.begin = begin,
                         .end = c->now,
                         .op = op,
                         .flops = flops > 0.0,
                         .size = flops > 0.0 ? flops : bytes};
    if (op == MGK_OP_matmul) {
        const mgk_matmul_args *m = args;
        e.m = m->m;
        e.n = m->n;
        e.k = m->k;
    }
    record(c, e);
}

static mgi_axis axis_of(const mgi_clock *c, const mgi_comm *group)
{
    int axis = 0;
    while (axis < MGI_AXIS_WORLD && c->mesh->group[axis] != group)
        axis++;
    return (mgi_axis)axis;
}

/* The place of a work, or a free one for NULL; NULL: there is none. */
static int place_of(const mgi_clock *c, const mgi_comm_work *work)
{
    for (int i = 0; i < MGI_CLOCK_PENDING; i++)
        if (c->pending[i].work == work)
            return i;
    return -1;
}

static void on_call(void *user, const mgi_comm *group, const mgi_comm_work *work, mgi_comm_op op,
                    int64_t sent, bool waited)
{
    mgi_clock *c = user;
    mgi_axis axis = axis_of(c, group);
    int at = place_of(c, waited ? work : NULL);
    mgi_clock_event e = {.begin = c->now, .op = -1, .comm = op, .axis = axis, .wait = waited};
    e.size = (double)sent;
    if (at < 0)
        return;
    if (waited) {
        e.end = fmax(c->now, c->pending[at].end);
        c->pending[at].work = NULL;
        c->exposed[axis] += e.end - c->now;
        c->now = e.end;
    } else {
        double bytes[MGI_LINKS];
        int size = mgi_comm_size(group);
        mgi_link link = mgi_gpu_link(size, c->near[axis]);
        double seconds = mgi_gpu_collective(c->gpu, op, size, c->near[axis], e.size, bytes);
        e.begin = fmax(c->now, c->link_free[link]);
        e.end = c->link_free[link] = e.begin + seconds;
        c->pending[at].work = work;
        c->pending[at].end = e.end;
        for (int i = 0; i < MGI_LINKS; i++)
            c->bytes[op][i] += bytes[i];
    }
    if (!waited || e.end > e.begin)
        record(c, e);
}

/* Ranks of this rank's group that are in its node. */
static int near_of(const mgi_mesh *mesh, mgi_axis axis, int node)
{
    mgi_mesh_shape s = mesh->shape, me = mesh->at;
    int mine = me.dp * s.cp + me.cp, shards = s.shard ? s.shard : 1, near = 0;
    int first = (mine * s.tp + me.tp) / node * node, all = s.dp * s.cp * s.tp;
    for (int r = first; r < first + node && r < all; r++) {
        int f = r / s.tp, cp = f % s.cp, tp = r % s.tp;
        bool alike[] = {[MGI_AXIS_DP] = cp == me.cp && tp == me.tp,
                        [MGI_AXIS_CP] = f / s.cp == me.dp && tp == me.tp,
                        [MGI_AXIS_TP] = f == mine,
                        [MGI_AXIS_MODEL] = f / s.cp == me.dp,
                        [MGI_AXIS_SHARD] = f / shards == mine / shards && tp == me.tp,
                        [MGI_AXIS_REPLICA] = f % shards == mine % shards && tp == me.tp,
                        [MGI_AXIS_WORLD] = true};
        near += alike[axis];
    }
    return near;
}

void mgi_clock_init(mgi_clock *c, mgen_context *ctx, const mgi_gpu *gpu, const mgi_mesh *mesh,
                    int64_t unit)
{
    *c = (mgi_clock){.ctx = ctx, .gpu = gpu, .mesh = mesh, .unit = -1, .recorded = unit};
    c->launches = (mgi_device_watch){on_launch, c};
    c->calls = (mgi_comm_watch){on_call, c};
    ctx->device->watch = &c->launches;
    for (int axis = 0; axis < MGI_AXES; axis++) {
        c->near[axis] = near_of(mesh, (mgi_axis)axis, (int)gpu->node);
        mgi_comm_counting_watch(mesh->group[axis], &c->calls);
    }
}

void mgi_clock_restart(mgi_clock *c)
{
    c->now = 0.0;
    memset(c->link_free, 0, sizeof c->link_free);
    memset(c->busy, 0, sizeof c->busy);
    memset(c->exposed, 0, sizeof c->exposed);
    memset(c->bytes, 0, sizeof c->bytes);
}

void mgi_clock_finish(mgi_clock *c)
{
    c->ctx->device->watch = NULL;
    for (int axis = 0; axis < MGI_AXES; axis++)
        mgi_comm_counting_watch(c->mesh->group[axis], NULL);
    mgi_free(c->ctx, c->events);
    c->events = NULL;
}
