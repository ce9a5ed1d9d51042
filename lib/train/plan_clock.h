/* SPDX-License-Identifier: MIT
 * The clock of a walk on the meta device: when each launch and each collective of one rank would run. Launches run one
 * behind the other; collectives beside them, over each link one behind the other, from when they are posted; waiting
 * for one that is not done is time lost. Tier 7. */
#ifndef MGI_TRAIN_PLAN_CLOCK_H
#define MGI_TRAIN_PLAN_CLOCK_H

#include "dist/mesh.h"
#include "tensor/device.h"
#include "train/plan_gpu.h"

/* What time is spent on. */
typedef enum mgi_clock_kind {
    MGI_CLOCK_PRODUCTS,
    MGI_CLOCK_ATTENTION,
    MGI_CLOCK_MEMORY, /* launches whose time is that of memory, but for the optimizer's */
    MGI_CLOCK_OPTIMIZER,
    MGI_CLOCK_KINDS
} mgi_clock_kind;

/* One line of the timeline. */
typedef struct mgi_clock_event {
    double begin, end;
    int op;           /* MGK_OP_*; -1: a collective or a wait */
    mgi_comm_op comm; /* of a collective */
    mgi_axis axis;    /* its group */
    bool wait;        /* begin..end is lost in waiting for it */
    bool flops; /* size is so many operations; else bytes: of memory, or that the rank sends */
    double size;
    int64_t m, n, k; /* of a product */
    int64_t unit;    /* of the model, and the direction */
    bool backward;
} mgi_clock_event;

enum { MGI_CLOCK_PENDING = MGI_AXES * MGI_COMM_PENDING };

typedef struct mgi_clock {
    mgen_context *ctx;
    const mgi_gpu *gpu;
    const mgi_mesh *mesh;
    int near[MGI_AXES]; /* ranks of a group that are in one node */
    double share;       /* of each launch that is done: 1, but for what is sharded */
    double now, link_free[MGI_LINKS];
    double busy[MGI_CLOCK_KINDS], exposed[MGI_AXES];
    double bytes[MGI_COMM_OPS][MGI_LINKS]; /* that the rank sends */
    struct {
        const mgi_comm_work *work;
        double end;
    } pending[MGI_CLOCK_PENDING];
    int64_t unknown; /* launches that nobody knows the time of */
    int64_t unit;    /* where the walk is */
    bool backward;
    mgi_clock_event *events; /* of the unit that is recorded */
    int64_t recorded, count, capacity;
    mgen_status status;
    mgi_device_watch launches;
    mgi_comm_watch calls;
} mgi_clock;

/* From now on on the device of `ctx`, which is the meta device, and on the mesh's groups, which count. unit: whose events
 * are recorded, or -1. All arguments must stay. */
void mgi_clock_init(mgi_clock *clock, mgen_context *ctx, const mgi_gpu *gpu, const mgi_mesh *mesh,
                    int64_t unit);
void mgi_clock_restart(mgi_clock *clock); /* from 0, with nothing counted */
void mgi_clock_finish(mgi_clock *clock);

#endif
