/* SPDX-License-Identifier: MIT
 * Plans in words and numbers. Tier 7. */
#ifndef MGI_TRAIN_PLAN_TEXT_H
#define MGI_TRAIN_PLAN_TEXT_H

#include "train/plan_mesh.h"

/* Where a step's time goes: they add up to p->seconds. */
typedef enum mgi_plan_time {
    MGI_PLAN_PEAK,      /* the model's arithmetic at the GPU's peak: the share of it is the MFU */
    MGI_PLAN_KERNELS,   /* that products and attention do not reach the peak */
    MGI_PLAN_RECOMPUTE, /* what is computed again, at the peak */
    MGI_PLAN_MEMORY,    /* launches as fast as memory */
    MGI_PLAN_OPTIMIZER_STEP,
    MGI_PLAN_WAIT_TP,
    MGI_PLAN_WAIT_CP,
    MGI_PLAN_WAIT_SHARDS,
    MGI_PLAN_WAIT_REPLICAS,
    MGI_PLAN_WAIT_OTHERS,
    MGI_PLAN_TIMES
} mgi_plan_time;

void mgi_plan_times(const mgi_mesh_plan *p, const mgi_mesh_request *r, double out[MGI_PLAN_TIMES]);
const char *mgi_plan_time_name(mgi_plan_time time);
const char *mgi_plan_memory_name(mgi_plan_memory memory);
/* What keeps it from being better: "memory" where it does not fit; else what takes the most time, of all but arithmetic
 * and its kernels. */
const char *mgi_plan_limit(const mgi_mesh_plan *p, const mgi_mesh_request *r);

/* A text that grows, on a context; of what fails the status stays. */
typedef struct mgi_page {
    mgen_context *ctx;
    char *text;
    size_t used, room;
    mgen_status status;
} mgi_page;
void mgi_page_add(mgi_page *page, const char *text);
/* A line of at most 511 bytes. */
void mgi_page_print(mgi_page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *mgi_plan_recompute_name(int recompute); /* MGI_RECOMPUTE_* */

/* One line of JSON, or tables; of the first plan in full, of the others in a list. *out: the caller frees. */
mgen_status mgi_plan_json(mgen_context *ctx, const char *preset, const mgi_mesh_request *r,
                          const mgi_mesh_plans *plans, char **out);
mgen_status mgi_plan_tables(mgen_context *ctx, const char *preset, const mgi_mesh_request *r,
                            const mgi_mesh_plans *plans, char **out);

#endif
