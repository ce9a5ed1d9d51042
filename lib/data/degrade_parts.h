/* SPDX-License-Identifier: MIT
 * What spoils one frame: low-passes, noise, compression. Frames are RGB in floats, levels 0 to 255. Tier 6. */
#ifndef MGI_DATA_DEGRADE_PARTS_H
#define MGI_DATA_DEGRADE_PARTS_H

#include "data/degrade.h"

enum {
    MGI_DEGRADE_RADIUS_MAX = 24, /* pixels: three times the largest sigma */
    MGI_DEGRADE_KERNEL_MAX = (2 * MGI_DEGRADE_RADIUS_MAX + 1) * (2 * MGI_DEGRADE_RADIUS_MAX + 1),
    MGI_DEGRADE_MARGIN = 16 /* pixels */
};

typedef struct mgi_degrade_kernel {
    int radius; /* 0: nothing is to be done */
    float weight[MGI_DEGRADE_KERNEL_MAX];
} mgi_degrade_kernel;

/* A Gaussian of two deviations in pixels, the first along an axis turned by `angle`, up to three of the larger. */
void mgi_degrade_blur(mgi_degrade_kernel *k, const float sigma[2], float angle);
/* A sharp low-pass: cutoff as in mgi_degrade_options. */
void mgi_degrade_ringing(mgi_degrade_kernel *k, float cutoff);
/* The frame's edges are repeated outward, in `around`, which holds 3 * (w + 2 * radius + MGI_DEGRADE_MARGIN) *
 * (h + 2 * radius) floats. */
void mgi_degrade_convolve(const mgi_degrade_kernel *k, const float *from, int64_t w, int64_t h,
                          float *around, float *to);

/* Deviation, photons and grey are the step's. first: of the counters of `key` those from here on are this
 * frame's and pass's. */
void mgi_degrade_noise(const mgi_degrade_step *s, uint64_t key, uint64_t first, float *rgb,
                       int64_t pixels);

typedef struct mgi_degrade_jpeg {
    float waves[64];   /* orthonormal 8 x 8 cosines, a frequency a row */
    float turned[64];  /* a frequency a column */
    float step[2][64]; /* of brightness; of colours */
} mgi_degrade_jpeg;

void mgi_degrade_jpeg_init(mgi_degrade_jpeg *j, int quality);
/* Levels are rounded first, as those of a file would be. halved: one colour for 2 x 2 pixels. planes: 3 * (w + 15) *
 * (h + 15) floats. */
void mgi_degrade_compress(const mgi_degrade_jpeg *j, bool halved, float *rgb, int64_t w, int64_t h,
                          float *planes);

#endif
