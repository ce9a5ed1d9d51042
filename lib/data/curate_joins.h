/* SPDX-License-Identifier: MIT
 * Scenes that pass into each other gradually: dissolves, and fades to and from one colour. Tier 6.
 *
 * While one scene dissolves into another, frames lie on the straight way, pixel by pixel, from the first to the last: what moves
 * does not. So half a second of frames, or a second, is compared with the way from its first frame to its last: a join is where they keep to it, one
 * after the other, and much of the last frame is nowhere in the first, as it is or as far moved as the view has since. A fade is a join with a frame of one colour.
 * In two seconds much moves beside a slow join: there blocks are held to the way one by one. */
#ifndef MGI_DATA_CURATE_JOINS_H
#define MGI_DATA_CURATE_JOINS_H

#include "core/context.h"
#include "data/curate_look.h"
#include "data/curate_rules.h"

typedef struct mgi_curate_joins mgi_curate_joins;

/* Of frames of this size, reduced, grey and blurred. */
mgen_status mgi_curate_joins_begin(mgen_context *ctx, const mgi_curate_rules *rules, int64_t width,
                                   int64_t height, double fps, mgi_curate_joins **out);
void mgi_curate_joins_free(mgi_curate_joins *joins); /* NULL is fine */

/* Frame `at`, the next one, with its motion since the one before; `cut`: it seems to be the first of a scene. true: frames *first to *end - 1 join two scenes; where *end
 * is at + 1, that goes on. The same join is told again, while it is within the second that is looked at. */
bool mgi_curate_joins_frame(mgi_curate_joins *joins, int64_t at, const float *blurred,
                            const mgi_look_motion *motion, bool cut, int64_t *first, int64_t *end);

#endif
