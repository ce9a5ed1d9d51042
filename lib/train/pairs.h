/* SPDX-License-Identifier: MIT
 * What an upsampler learns from, of the report's spatial upsampling: a clip beside what it is to be made of, the same at a part of its
 * size, spoiled, and enlarged again as films are. Tier 7.
 *
 * Small clips are spoiled by an autoencoder, encoded and decoded, as those that are made by a video model are; or as
 * data/degrade.h does. Which of the two is a function of (seed, element). */
#ifndef MGI_TRAIN_PAIRS_H
#define MGI_TRAIN_PAIRS_H

#include "data/degrade.h"
#include "model/tae.h"

typedef struct mgi_pairs {
    int64_t factor;           /* of the sides */
    const mgi_tae *artifacts; /* NULL: none */
    uint64_t artifacts_hash;  /* of its weights */
    double share;             /* of the clips that go through it; the others are degraded */
    mgi_degrade_options degrade;
} mgi_pairs;

/* INVALID if clips of this size cannot become smaller so. */
mgen_status mgi_pairs_check(mgen_context *ctx, const mgi_pairs *p, int64_t width, int64_t height);

/* RGB8 frames of a clip -> as many of the same size. Outside of a run. */
mgen_status mgi_pairs_make(mgen_context *ctx, const mgi_pairs *p, uint64_t seed, uint64_t element,
                           const uint8_t *clip, int64_t frames, int64_t width, int64_t height,
                           uint8_t *out);

/* Of all that decides on what is made. */
uint64_t mgi_pairs_hash(const mgi_pairs *p, uint64_t seed);

#endif
