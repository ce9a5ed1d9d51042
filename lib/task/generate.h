/* SPDX-License-Identifier: MIT
 * Text to video: prompt, text encoder, flow, video transformer, TAE, frames. Tier 7. */
#ifndef MGI_TASK_GENERATE_H
#define MGI_TASK_GENERATE_H

#include "task/pipeline.h"

typedef struct mgi_generate_request {
    const char *const *prompts; /* checked UTF-8 */
    int64_t count;              /* clips made together, one a prompt */
    const uint64_t *seeds;      /* one a clip */
    int steps;
    float guidance;                                    /* 1: no guidance */
    bool (*progress)(void *user, int done, int total); /* after each step; true = stop; or NULL */
    void *user;
} mgi_generate_request;

/* frames: count x clip.frames x height x width x 3. CANCELLED when progress asks to stop; NUMERIC if the
 * latents are not finite. */
mgen_status mgi_generate(mgen_context *ctx, const mgi_networks *n,
                         const mgi_generate_request *request, uint8_t *frames);

/* Prompts (count) -> ids and mask, padded to a common length, at most text.tokens_max. */
void mgi_text_batch(mgi_run *run, const mgi_t5 *t5, const char *const *prompts, int64_t count,
                    T **ids, T **mask);

/* Normalised latents (B,T,H,W,C) -> pixels in [-1,1]; frames beyond `frames` are cut. */
T *mgi_latents_to_pixels(mgi_run *run, const mgi_tae *tae, T *z, int64_t frames);

#endif
