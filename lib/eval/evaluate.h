/* SPDX-License-Identifier: MIT
 * Protocols that measure a pipeline in the toybox. Tier 7. */
#ifndef MGI_EVAL_EVALUATE_H
#define MGI_EVAL_EVALUATE_H

#include "core/report.h"
#include "task/generate.h"

/* The grid of the alignment protocol: every shape x colour x motion, backgrounds in turn. */
#define MGI_EVAL_PROMPTS 36

typedef struct mgi_eval_request {
    int64_t n; /* clips */
    uint64_t seed;
    int steps;
    float guidance;
    int schedule, solver; /* MGI_SCHEDULE_*, MGI_SOLVER_* */
    float guidance_from, guidance_to;
    uint32_t drop_text;                                /* as in mgi_generate_request */
    bool (*progress)(void *user, int done, int total); /* true = stop; or NULL */
    void *user;
} mgi_eval_request;

/* Prompt i of the grid, with its scene's attributes. */
const char *mgi_eval_prompt(int i);

/* Reconstruction of held-out clips: psnr, ssim, and what the checker reads in the result (the ceiling of
 * every alignment rate). */
mgen_status mgi_eval_tae(mgen_context *ctx, const mgi_tae *tae, const mgi_eval_request *request,
                         mgen_report *report);
/* What the checker reads in clips made for the grid's prompts, in turn, with seeds seed, seed + 1, ...;
 * and, as a control, how often another prompt's attributes would have been found. */
mgen_status mgi_eval_alignment(mgen_context *ctx, const mgi_networks *n,
                               const mgi_eval_request *request, mgen_report *report);

#endif
