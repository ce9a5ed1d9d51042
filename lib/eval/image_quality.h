/* SPDX-License-Identifier: MIT
 * How far a picture is from the truth. Tier 7. */
#ifndef MGI_EVAL_IMAGE_QUALITY_H
#define MGI_EVAL_IMAGE_QUALITY_H

#include <stddef.h>
#include <stdint.h>

/* Peak signal-to-noise ratio in dB over all values, peak 255; at most 100. */
double mgi_psnr(const uint8_t *a, const uint8_t *b, size_t count);

/* Mean structural similarity (Wang et al. 2004) of the luma of RGB8 frames, 8 x 8 windows, mean over frames. */
double mgi_ssim_clip(const uint8_t *a, const uint8_t *b, int64_t frames, int64_t height,
                     int64_t width);

/* Mean squared difference of the luma of RGB8 frames, 0..255, from the pixels to the right and below. Sides of at
 * least 2. */
double mgi_gradient_energy(const uint8_t *rgb, int64_t frames, int64_t height, int64_t width);

#endif
