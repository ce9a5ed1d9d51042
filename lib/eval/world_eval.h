/* SPDX-License-Identifier: MIT
 * What of a prompt is seen in the film, in the whole world. Tier 7. */
#ifndef MGI_EVAL_WORLD_EVAL_H
#define MGI_EVAL_WORLD_EVAL_H

#include "data/world.h"
#include "eval/evaluate.h"

/* How often what was asked for was seen. */
typedef struct mgi_world_tally {
    int64_t clips, count, background, camera, signs, text, rates, fps;
    int64_t objects, colour, shape, size, motion;
    int64_t ones, all_one, twos,
        all_two; /* clips of one and of two objects with everything but camera, rate, text */
} mgi_world_tally;

/* Objects are compared with those seen in the same colour. The rate counts only where something should move. */
void mgi_world_tally_add(mgi_world_tally *t, const mgi_world_said *asked,
                         const mgi_world_said *seen);
/* As colour, background, motion, count, shape, size, all_one, all_two, camera, fps and text, behind no prefix,
 * "ceiling_" or "control_". What was never asked for is left out. */
enum { MGI_TALLY_FILMS, MGI_TALLY_CEILING, MGI_TALLY_CONTROL };
void mgi_world_tally_report(const mgi_world_tally *t, int kind, mgen_report *report);

/* Prompt i: the plain caption of a scene whose objects' combinations are held out; one object where i is even, else
 * two. Sizes are those of the clip that the pipeline makes. */
void mgi_world_prompt(const mgi_clip_shape *clip, int64_t i, mgi_world_scene *scene,
                      char out[MGI_WORLD_CAPTION_MAX]);
/* What the checker sees in clips made for prompts 0 .. n - 1 with seeds seed, seed + 1, ...; with the prefix
 * "ceiling_", in the TAE's reconstruction of true clips of the same scenes; with "control_", the films against the
 * prompt after next, which has as many objects. */
mgen_status mgi_eval_alignment_world(mgen_context *ctx, const mgi_networks *n,
                                     const mgi_eval_request *request, mgen_report *report);

#endif
