/* SPDX-License-Identifier: MIT
 * What the autoencoder makes of clips that somebody brings. Tier 7. */
#ifndef MGI_EVAL_CLIPS_EVAL_H
#define MGI_EVAL_CLIPS_EVAL_H

#include "data/dataset.h"
#include "eval/evaluate.h"

/* Reconstruction of the first n samples of a dataset, or of all if there are fewer: n, psnr and ssim, and those of the
 * worst sample. */
mgen_status mgi_eval_tae_clips(mgen_context *ctx, const mgi_tae *tae, mgi_dataset *ds,
                               const mgi_eval_request *request, mgen_report *report);

#endif
