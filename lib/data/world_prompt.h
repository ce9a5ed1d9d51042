/* SPDX-License-Identifier: MIT
 * What users would type for a scene of the toybox, and the caption that it should become. Tier 6.
 *
 * A prompt is a pure function of (scene, seed, lot): short, in free order and in words of which captions have few, in upper
 * or lower case, with what people write around it. It names objects in the scene's order. */
#ifndef MGI_DATA_WORLD_PROMPT_H
#define MGI_DATA_WORLD_PROMPT_H

#include "data/world.h"

/* ASCII, and no caption of any scene. A text on a sign stands in quotation marks or, in every other prompt, without.
 * A static camera and a medium size need not be told. One prompt in ten leaves out the background; of films another one
 * in ten what the objects do. */
void mgi_world_prompt(const mgi_world_scene *s, uint64_t seed, uint64_t lot,
                      char out[MGI_WORLD_CAPTION_MAX]);
/* What that prompt determines: -1 is what it leaves out. No rate; of an image no camera and no motions. */
void mgi_world_prompt_says(const mgi_world_scene *s, uint64_t seed, uint64_t lot,
                           mgi_world_said *out);

/* The caption that a rewriter should answer: a wording of mgi_world_caption() without the rate, which requests have. */
void mgi_world_told(const mgi_world_scene *s, char out[MGI_WORLD_CAPTION_MAX]);

#endif
