/* SPDX-License-Identifier: MIT
 * Classifier-free guidance: which rows a batch has for it, and what becomes of their velocities. Tier 7.
 *
 * A batch has a part of a row for each clip: what is prompted; then, with guidance, what that leads away from; then, where it
 * is guided from a source, a film or a photo, what has neither that nor a prompt. */
#ifndef MGI_TASK_GUIDANCE_H
#define MGI_TASK_GUIDANCE_H

#include "task/generate.h"

typedef struct mgi_guidance {
    float scale, source_scale; /* 1: none */
    int parts;                 /* 1..3 */
    float from, to;            /* times of the flow with guidance */
    T *scales, *source_scales; /* one value each; NULL where there is no such part */
} mgi_guidance;

/* As the request says, or else the model. */
mgi_guidance mgi_guidance_of(const mgi_networks *n, const mgi_generate_request *r);
void mgi_guidance_make(mgi_run *run, mgi_guidance *guidance);
/* Whether it is for a part of the times only; whether for this one. */
bool mgi_guidance_partial(const mgi_guidance *guidance);
bool mgi_guidance_at(const mgi_guidance *guidance, float time);
/* The velocity of `clips` clips of u, that of the rows of all parts from row `first` on; of one part, its own. */
T *mgi_guided(mgi_run *run, const mgi_guidance *guidance, T *u, int64_t first, int64_t clips,
              int parts);

#endif
