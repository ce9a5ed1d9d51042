/* SPDX-License-Identifier: MIT
 * How far sets of films are apart: those that are made from true ones. Tier 7. */
#ifndef MGI_EVAL_FRECHET_EVAL_H
#define MGI_EVAL_FRECHET_EVAL_H

#include "data/dataset.h"
#include "eval/evaluate.h"

/* Films made for the alignment protocol's prompts 0 .. n - 1, against true films of as many other scenes of that kind;
 * behind "floor_" the true films of the prompts instead, behind "ceiling_" what the autoencoder makes of these. Of a dataset
 * (NULL: none), in the clip's size, the captions of samples 0, 2, 4, ... are the prompts, and 1, 3, 5, ... the others: n is
 * at most half of its count. Adds n and dims, those of what is seen (film_sight.h), and distances of frames and, unless the
 * model's clips are single frames, of films. Warns where films are fewer than their dims. */
mgen_status mgi_eval_frechet(mgen_context *ctx, const mgi_networks *n, mgi_dataset *dataset,
                             const mgi_eval_request *request, mgen_report *report);

#endif
