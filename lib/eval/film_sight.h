/* SPDX-License-Identifier: MIT
 * What a fixed network sees in a film, for distances of sets of films. Tier 7.
 *
 * The network is the perceptual loss' of random weights, with weights of its own: the same for every model, so that
 * numbers compare, and trained on nothing, so that nothing it looks at was made for it. A picture's vector
 * are the means of each channel over the picture, behind each stage; a film's, of the pictures that are the differences of a
 * frame and the next, means and deviations over the film: what moves, how much, and how evenly. */
#ifndef MGI_EVAL_FILM_SIGHT_H
#define MGI_EVAL_FILM_SIGHT_H

#include "eval/frechet.h"
#include "model/perceptual.h"

typedef struct mgi_film_sight {
    mgi_perceptual net;
    int64_t dims; /* of a picture; of a film twice as many */
} mgi_film_sight;

/* The vectors of films: of each frame, and of each film, unless it is a single frame. */
typedef struct mgi_film_set {
    mgi_gaussian frames, films;
} mgi_film_set;

mgen_status mgi_film_sight_init(mgen_context *ctx, mgi_film_sight *out);
void mgi_film_sight_finish(mgi_film_sight *sight);
mgen_status mgi_film_set_init(mgen_context *ctx, const mgi_film_sight *sight, mgi_film_set *out);
void mgi_film_set_finish(mgen_context *ctx, mgi_film_set *set);

/* A film (frames x height x width x 3, RGB8) more; sides are cut to multiples of 8, and are 8 or more. */
mgen_status mgi_film_sight_add(mgen_context *ctx, const mgi_film_sight *sight,
                               const int64_t film[3], const uint8_t *pixels, mgi_film_set *set);

#endif
