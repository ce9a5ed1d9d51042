/* SPDX-License-Identifier: MIT
 * What protocols that measure a pipeline in the toybox are asked. Tier 7. */
#ifndef MGI_EVAL_EVALUATE_H
#define MGI_EVAL_EVALUATE_H

#include "core/report.h"
#include "task/generate.h"

typedef struct mgi_eval_request {
    int64_t n; /* clips */
    uint64_t seed;
    int steps;
    float guidance, noise_scale;
    int schedule, solver; /* MGI_SCHEDULE_*, MGI_SOLVER_* */
    float guidance_from, guidance_to;
    uint32_t drop_text;                                /* as in mgi_generate_request */
    bool (*progress)(void *user, int done, int total); /* true = stop; or NULL */
    void *user;
} mgi_eval_request;

#endif
