/* SPDX-License-Identifier: MIT
 * The autoencoder on frames that are too large to be held by all layers at once, in spatial tiles. Tier 5.
 *
 * Each tile is computed from all that it depends on: what comes out is what whole frames give, to rounding, without
 * blending. A tile runs through the whole film (tae_stream.h) before the next one begins, so that nothing is kept
 * of others. The surroundings of a tile are computed again for it.
 *
 * Group norm has statistics of whole frames. They are found first, norm by norm from the network's beginning: a pass
 * over all tiles up to that norm, in which they add up. Only the table of them is kept between passes. A network of
 * N norms takes N + 1 passes, most of them short.
 *
 * Attention in space sees whole frames: the smallest level, where it is, is then not tiled, and held for the whole
 * film. Models with attention take films in pieces (tae_tiles.h).
 */
#ifndef MGI_MODEL_TAE_SPATIAL_H
#define MGI_MODEL_TAE_SPATIAL_H

#include "model/tae_stream.h"

/* Part of some frames: count from `first` on, rows from `top` on, columns from `left` on; y (1,count,rows,columns,C)
 * in f32. Tile by tile, of each the frames in order. Another answer than OK ends the run with it. */
typedef struct mgi_tae_box {
    int64_t first, top, left;
    T *y;
} mgi_tae_box;
typedef mgen_status mgi_tae_box_sink(void *user, mgi_run *run, const mgi_tae_box *box);

/* A film to be read more than once: whole frames first .. first + count - 1, (1,count,height,width,C), into the
 * scope; NULL ends the run, whose status says why. */
typedef struct mgi_tae_film {
    int64_t frames, height, width;
    T *(*read)(void *user, mgi_run *run, int64_t first, int64_t count);
    void *user;
} mgi_tae_film;

/* In tiles of `side` x `side` latents, or less at the edges. Returns run->status. */
mgen_status mgi_tae_spatial(mgi_run *run, const mgi_tae *tae, int direction,
                            const mgi_tae_film *film, int64_t side, mgi_tae_box_sink *sink,
                            void *user);
/* The same with all of it in memory: x and the result as those of mgi_tae_encode() and mgi_tae_decode(), B = 1. */
T *mgi_tae_in_space(mgi_run *run, const mgi_tae *tae, int direction, T *x, int64_t side);

#endif
