/* SPDX-License-Identifier: MIT
 * Which of a folder's films each bucket has, as in the report: those of its own aspect, length and rate. Tier 7.
 *
 * A film goes into a bucket of more than one frame that it can fill, at its own rate: of these into one whose aspect is the nearest
 * to its own, and of those into the longest. Buckets of one frame have every film, by aspect alone, and pictures are in no others.
 * Of buckets of the same aspect and as many frames a film goes into those whose rate is the nearest to its own, a bucket without one has those of
 * any; of the same rate they have the same films. */
#ifndef MGI_TRAIN_BUCKET_FILMS_H
#define MGI_TRAIN_BUCKET_FILMS_H

#include "train/buckets.h"

/* Whether films are divided: the dataset is a folder, and buckets of one frame, or those of more, are of several aspects,
 * lengths or, of more than one frame, rates; or there are both, and samples have one frame, so that pictures may be among films. Else each has all. */
bool mgi_bucket_films_differ(const mgi_dataset *ds, const mgi_buckets *b);
/* Looks at the films, gives each bucket its dataset, and takes those away that have no film to train on, of which the log says so.
 * INVALID, with its name, for a film that is shorter than all of them; or if no bucket of several frames has one. */
mgen_status mgi_bucket_films_divide(mgen_context *ctx, const mgi_stage *stage, mgi_dataset *ds,
                                    mgi_buckets *b);

#endif
