/* SPDX-License-Identifier: MIT
 * The pixel checker of the world: reads from frames what a caption could have said. Tier 7.
 *
 * It knows the world's palette, outlines, font, backgrounds, camera paths and laws of motion, not the prompt. */
#ifndef MGI_EVAL_WORLD_CHECK_H
#define MGI_EVAL_WORLD_CHECK_H

#include "core/context.h"
#include "data/world.h"

/* Whether a protocol can have films of this size judged: scenes are laid out for 48 x 48 and more. */
bool mgi_world_checkable(int64_t width, int64_t height, int64_t frames);

/* frames x height x width x 3 RGB8 of a view of one pixel a unit. Objects come in no particular order. What cannot
 * be told is -1; the frame rate of a scene in which nothing moves is 0; of an image (one frame) motions, camera and
 * rate are -1, -1 and 0. Of long clips the first 64 frames are looked at. NO_MEMORY, LIMIT. */
mgen_status mgi_world_check(mgen_context *ctx, const uint8_t *frames, int width, int height,
                            int count, mgi_world_said *out);
/* The same of films that lie one after the other, each read by a thread of the pool. */
mgen_status mgi_world_check_films(mgen_context *ctx, const uint8_t *frames, int64_t films,
                                  int width, int height, int count, mgi_world_said *out);

#endif
