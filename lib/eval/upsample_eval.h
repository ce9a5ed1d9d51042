/* SPDX-License-Identifier: MIT
 * What upsampling makes of the toybox's films, drawn so large that the truth is known. Tier 7. */
#ifndef MGI_EVAL_UPSAMPLE_EVAL_H
#define MGI_EVAL_UPSAMPLE_EVAL_H

#include "data/world.h"
#include "eval/evaluate.h"

/* Scene i of this protocol, laid out for a view of the clip's shape: combinations of objects that are held out. */
void mgi_upsample_scene(const mgi_clip_shape *clip, uint64_t seed, int64_t i,
                        mgi_world_scene *scene);

/* Of scenes drawn at the upsampler's factor times the clip's size, the truth: averaged to the clip's size, through the
 * TAE, as what is generated comes from it, enlarged by a bilinear resize, upsampled. psnr, ssim, sharpness (energy of
 * the gradient relative to the truth's) of that; with "bilinear_" of what was enlarged, as one has it without an
 * upsampler; with "clean_" and "clean_bilinear_" the same two without the TAE; with "ceiling_" of the truth, coded frame
 * by frame by the upsampler's autoencoder. checker: what the pixel checker reads in those films, averaged to the clip's
 * size, of all that it is asked for (world_tally.h); checker_truth: in the truth. It is left out where the checker
 * cannot read clips of that size. Clip i has the noise of seed + i. STATE if scenes cannot have that shape
 * or the upsampler makes no frames that large. */
mgen_status mgi_eval_upsample(mgen_context *ctx, const mgi_tae *tae, const mgi_networks *upsampler,
                              const mgi_clip_shape *clip, const mgi_eval_request *request,
                              mgen_report *report);

#endif
