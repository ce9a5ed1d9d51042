/* SPDX-License-Identifier: MIT
 * What a training step needs on a mesh of GPUs: the step of one rank, walked on the meta device with communicators that
 * count; and which mesh is best. Tier 7. */
#ifndef MGI_TRAIN_PLAN_MESH_H
#define MGI_TRAIN_PLAN_MESH_H

#include "train/plan.h"
#include "train/plan_clock.h"

typedef struct mgi_mesh_request {
    mgi_plan_request step; /* batch: samples of a dp rank in one pass */
    mgi_gpu gpu;
    int gpus;
    mgi_mesh_shape mesh;  /* dp 0: the best */
    int64_t global_batch; /* 0: one pass of every dp rank; else as many passes as it takes */
    bool any_recompute;   /* the first of none, selective, full that fits; else step.recompute */
    bool any_cp;          /* the faster of the two modes; else step.cp */
    bool timeline;        /* keep the events of a block */
} mgi_mesh_request;

/* Memory of a rank, at the moment when it needs the most. */
typedef enum mgi_plan_memory {
    MGI_PLAN_WEIGHTS,     /* its share of the masters */
    MGI_PLAN_COMPUTE,     /* of their copies */
    MGI_PLAN_GRADIENTS,   /* of the gradients */
    MGI_PLAN_MOMENTS,     /* of both moments and the average */
    MGI_PLAN_GATHERED,    /* whole units, and their gradients */
    MGI_PLAN_ACTIVATIONS, /* kept for the gradient, or in use */
    MGI_PLAN_FLOW,        /* gradients of activations */
    MGI_PLAN_WORKSPACE,   /* of kernels */
    MGI_PLAN_ALLOCATOR,   /* that blocks are rounded up, and kept when they are free */
    MGI_PLAN_RESERVE,
    MGI_PLAN_MEMORIES
} mgi_plan_memory;

typedef struct mgi_mesh_plan {
    mgi_mesh_shape mesh;
    int recompute, cp;
    int64_t samples, passes, global_batch;
    double memory[MGI_PLAN_MEMORIES], memory_bytes;
    bool fits;
    double model_flops; /* of the whole step on all ranks, without what is computed again */
    double rank_flops;  /* that a rank does, with it */
    double seconds, mfu;
    double busy[MGI_CLOCK_KINDS], exposed[MGI_AXES], exposed_seconds;
    double bytes[MGI_COMM_OPS][MGI_LINKS]; /* that a rank sends in a step */
    int near[MGI_AXES];
    int64_t unknown; /* launches without a time: 0 */
    mgi_clock_event *events;
    int64_t event_count;
} mgi_mesh_plan;

typedef struct mgi_mesh_plans {
    mgi_mesh_plan *list; /* from the best on: those that fit by MFU, then the others by memory */
    int64_t count;
    int64_t parameters, tokens;
} mgi_mesh_plans;

/* Of the request's mesh, or of all that are legal. INVALID, with what is legal, where none is. */
mgen_status mgi_mesh_plan_make(mgen_context *ctx, const mgi_mesh_request *request,
                               mgi_mesh_plans *out);
void mgi_mesh_plans_free(mgen_context *ctx, mgi_mesh_plans *plans);

/* A context whose device is the meta device; kernels are the references, whose workspace is the same on every machine. */
mgen_status mgi_plan_meta(mgen_context *ctx, mgen_context **meta);
/* The memory of a rank that had `base` before the step, and at its end those counts. */
void mgi_plan_fill_memory(mgi_mesh_plan *p, const uint64_t base[MGI_MEM_KINDS],
                          const mgi_device_counts *end, const mgi_gpu *gpu);

#endif
