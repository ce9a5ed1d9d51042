/* SPDX-License-Identifier: MIT
 * What the autoencoder does to the toybox's world, and to films longer than a tile. Tier 7. */
#ifndef MGI_EVAL_TAE_EVAL_H
#define MGI_EVAL_TAE_EVAL_H

#include "eval/evaluate.h"

/* Reconstruction of clips of the world, 64 x 64 pixels and 32 frames each, none of a training seed: psnr,
 * ssim; object_psnr, of the pixels of objects, their shadows and signs: those that differ from the scene without
 * them; checker_*: how often the pixel checker reads an attribute of the scene in what was made of it (as in
 * world_tally.h); checker_accuracy: of all attributes together; checker_truth: the same of the clips themselves; and
 * seams as below. */
mgen_status mgi_eval_tae(mgen_context *ctx, const mgi_tae *tae, const mgi_eval_request *request,
                         mgen_report *report);

/* How much two neighbouring frames differ (mean |difference|) across the borders of tiles, relative to neighbours
 * within tiles; all of them where a latent frame ends, as there frames differ more than elsewhere anyway. */
typedef struct mgi_seam {
    double across, within;
    int64_t borders, others;
} mgi_seam;

/* Add frames (count x size values) with borders at multiples of `tile`, latent frames at those of `latent`. */
void mgi_seam_add(mgi_seam *s, const float *frames, int64_t count, int64_t size, int64_t latent,
                  int64_t tile);
/* across / within; 1 if there is nothing to compare. */
double mgi_seam_ratio(const mgi_seam *s);

#endif
