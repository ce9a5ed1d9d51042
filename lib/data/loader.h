/* SPDX-License-Identifier: MIT
 * Batches of drawn clips, made on all threads. Tier 6. */
#ifndef MGI_DATA_LOADER_H
#define MGI_DATA_LOADER_H

#include "core/context.h"
#include "data/world.h"

/* Scenes first .. first + count - 1 of world `seed`. `frames` of each from a random start (0 if frames is all of
 * them), at most what the options' scenes are laid out for, into pixels, count x frames x height x width x 3, sides
 * being those of the view times the scale. */
void mgi_loader_clips(mgen_context *ctx, const mgi_world_options *options, uint64_t seed,
                      uint64_t first, int64_t count, int frames, uint8_t *pixels);

#endif
