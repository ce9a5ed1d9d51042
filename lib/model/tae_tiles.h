/* SPDX-License-Identifier: MIT
 * The report's way through long films (section 3.1.3): tiles of 32 frames, each as if it were all, the
 * decoded ones overlapping by 16 frames in which one fades into the next. Tier 5.
 *
 * An approximation, as what a tile shows depends on where it was cut; for models whose attention in time
 * lets no frame be known before the last one is seen, and to compare with. */
#ifndef MGI_MODEL_TAE_TILES_H
#define MGI_MODEL_TAE_TILES_H

#include "model/tae_stream.h"

enum { MGI_TAE_TILE_FRAMES = 32, MGI_TAE_TILE_OVERLAP = 16 };

/* From now on s, to which nothing was pushed yet, runs in tiles of so many frames. Both are multiples of the
 * factor of time, the overlap (of what is decoded; what is encoded has none) less than the tile. */
void mgi_tae_stream_tile(mgi_tae_stream *s, int64_t frames, int64_t overlap);

/* The next frames or latents of such a stream, (T,H,W,C). */
void mgi_tae_tiles_push(mgi_tae_stream *s, T *x, bool last);

#endif
