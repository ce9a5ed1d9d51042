/* SPDX-License-Identifier: MIT
 * Batches of toybox clips, drawn on all threads. Tier 6. */
#ifndef MGI_DATA_LOADER_H
#define MGI_DATA_LOADER_H

#include "core/context.h"
#include "data/toybox.h"

/* Scenes first .. first + count - 1 of world `seed`. `frames` of each from a random start (0 if frames
 * is all of them) into pixels, count x frames x 64 x 64 x 3. */
void mgi_loader_clips(mgen_context *ctx, uint64_t seed, uint64_t first, int64_t count, int frames,
                      uint8_t *pixels);

#endif
