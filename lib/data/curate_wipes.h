/* SPDX-License-Identifier: MIT
 * Scenes that pass into each other by a wipe: a border travels over the picture, before it the old scene, behind it the new one. Tier 6.
 *
 * A block is new when it is nowhere in the frame a quarter of a second before. While a border travels, blocks become new one after the
 * other, as far as they lie along its way: so their times are compared with those of borders in eight directions and of many speeds. */
#ifndef MGI_DATA_CURATE_WIPES_H
#define MGI_DATA_CURATE_WIPES_H

#include "core/context.h"
#include "data/curate_look.h"
#include "data/curate_rules.h"

typedef struct mgi_curate_wipes mgi_curate_wipes;

/* Of frames of this size, reduced and grey. */
mgen_status mgi_curate_wipes_begin(mgen_context *ctx, const mgi_curate_rules *rules, int64_t width,
                                   int64_t height, double fps, mgi_curate_wipes **out);
void mgi_curate_wipes_free(mgi_curate_wipes *wipes); /* NULL is fine */

/* Frame `at`, the next one, with its motion since the one before. true: in frames *first to *end - 1 a border passes, and has passed. */
bool mgi_curate_wipes_frame(mgi_curate_wipes *wipes, int64_t at, const uint8_t *grey,
                            const mgi_look_motion *motion, int64_t *first, int64_t *end);

#endif
