/* SPDX-License-Identifier: MIT
 * What of a prompt is seen in the film. Tier 7. */
#ifndef MGI_EVAL_ALIGNMENT_H
#define MGI_EVAL_ALIGNMENT_H

#include "data/world.h"
#include "eval/evaluate.h"

/* Prompt i: the plain caption of a scene whose objects' combinations are held out; one object where i is even, else
 * two. Sizes are those of the clip that the pipeline makes. */
void mgi_alignment_prompt(const mgi_clip_shape *clip, int64_t i, mgi_world_scene *scene,
                          char out[MGI_WORLD_CAPTION_MAX]);
/* The first MGI_ALIGNMENT_PROMPTS of them for clips of 64 x 64 pixels and 32 frames. */
#define MGI_ALIGNMENT_PROMPTS 36
const char *mgi_alignment_constant(int i);

/* STATE, in the protocol's name, unless the checker can read clips of that shape. */
mgen_status mgi_alignment_check(mgen_context *ctx, const mgi_clip_shape *clip,
                                const char *protocol);

/* What the checker sees in clips made for prompts 0 .. n - 1 with seeds seed, seed + 1, ...; with the prefix
 * "ceiling_", in the TAE's reconstruction of true clips of the same scenes; with "control_", the films against a
 * wrong prompt: the one after next, but for the count, which those two have in common, the next. */
mgen_status mgi_eval_alignment(mgen_context *ctx, const mgi_networks *n,
                               const mgi_eval_request *request, mgen_report *report);

#endif
