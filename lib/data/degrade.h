/* SPDX-License-Identifier: MIT
 * Clips spoiled and made smaller: what the spatial upsampler learns to undo. Tier 6.
 *
 * After the idea of Real-ESRGAN (Wang et al. 2021), a degradation of second order: blur, a change of size, noise
 * and compression, twice in a row, then the low size, perhaps with the ringing of a sharp low-pass. A film's
 * flaws are steady: a clip gets one draw of all parameters, and only noise differs from frame to frame.
 *
 * The low clip is a function of the options, (seed, element), the frames and the sizes: the same bytes on any
 * number of threads. Sums and products are done in the order that is written, on every machine. exp, log,
 * pow, sin, cos, erfc and j1 are the C library's, in double: their last bits differ between libraries and
 * between processors, and after rounding to bytes hardly a pixel ever does. */
#ifndef MGI_DATA_DEGRADE_H
#define MGI_DATA_DEGRADE_H

#include "core/context.h"

/* What is drawn lies between these. */
typedef struct mgi_degrade_range {
    float low, high;
} mgi_degrade_range;

/* A chance is 0 to 1; 0 = the default, below 0 = never. A range {0, 0} = the default. The defaults of the first
 * and the second pass stand behind each field: they leave a film of 64 x 64 pixels recognizable. */
typedef struct mgi_degrade_pass {
    float blur;        /* chance: 0.8, 0.5 */
    float anisotropic; /* chance that a blur has another sigma across a turned axis: 0.4, 0.4 */
    float resize;      /* chance: 0.8, 0.8 */
    float area;        /* chance that it shrinks by means of areas, not linearly: 0.5, 0.5 */
    float noise;       /* chance: 0.6, 0.4 */
    float shot;        /* chance that noise is that of counted photons, not Gaussian: 0.4, 0.4 */
    float grey;        /* chance that noise is the same in red, green and blue: 0.4, 0.4 */
    float jpeg;        /* chance: 0.7, 0.7 */
    float halved;      /* chance that it halves the sides of the colours: 0.5, 0.5 */
    /* Of the blur, pixels of the frame that it meets; 0.05 to 8: 0.2-1.2, 0.2-0.8. */
    mgi_degrade_range sigma;
    /* Of the sides, of the clip's in the first pass, of the low ones in the second; 0.1 to 2: 0.6-1.2,
     * 0.75-1.2. Twice as much is as likely as half as much. */
    mgi_degrade_range factor;
    /* Of Gaussian noise, levels of 255; 0 to 255: 1-8, 1-5. */
    mgi_degrade_range deviation;
    /* That make a pixel white; 1 to 1e6: 400-4000, 1000-8000. Ratios are as likely as those of sides. A grey level
     * x then has the deviation sqrt(255 x / photons). */
    mgi_degrade_range photons;
    /* Of compression, as libjpeg counts it; 1 to 100: 50-95, 55-95. */
    mgi_degrade_range quality;
} mgi_degrade_pass;

typedef struct mgi_degrade_options {
    float clean;     /* chance that a clip is only made smaller, by means of areas: 0.1 */
    float ringing;   /* chance: 0.4 */
    float jpeg_last; /* chance that the second compression meets the low frames: 0.5 */
    /* Of ringing: parts of the highest frequency that low frames can hold; 0.1 to 1: 0.6-1. */
    mgi_degrade_range cutoff;
    mgi_degrade_pass pass[2];
} mgi_degrade_options;

/* Sides of a clip, and of what becomes of it. */
typedef struct mgi_degrade_sizes {
    int64_t width, height, low_width, low_height;
} mgi_degrade_sizes;

/* What one clip gets in a pass. */
typedef struct mgi_degrade_step {
    float sigma[2];        /* pixels, along an axis and across it; 0 = no blur */
    float angle;           /* of the axis, radians */
    int64_t width, height; /* afterwards */
    bool area;
    float deviation, photons; /* one of them at most; 0 = no such noise */
    bool grey;
    int quality; /* 0 = no compression */
    bool halved;
} mgi_degrade_step;

typedef struct mgi_degrade_draw {
    mgi_degrade_step pass[2];
    bool area;    /* how the low size is reached */
    float cutoff; /* 0 = no ringing */
    bool jpeg_last;
    uint64_t noise; /* key of the clip's noise */
} mgi_degrade_draw;

/* Each parameter has random numbers of its own: another chance or range of one leaves the others as they are.
 * options NULL: all defaults. INVALID for options out of range and sizes that are not 1 to 16384 or grow. */
mgen_status mgi_degrade_draw_clip(mgen_context *ctx, const mgi_degrade_options *options,
                                  uint64_t seed, uint64_t element, const mgi_degrade_sizes *sizes,
                                  mgi_degrade_draw *out);

/* `count` RGB8 frames of width x height, at least one, to `low`, which is memory of its own. Frames are shared out
 * over the context's threads, of which each takes 36 bytes per pixel of the largest frame. INVALID as above,
 * NO_MEMORY or LIMIT. */
mgen_status mgi_degrade_clip(mgen_context *ctx, const mgi_degrade_options *options, uint64_t seed,
                             uint64_t element, const uint8_t *frames, int64_t count, int64_t width,
                             int64_t height, int64_t low_width, int64_t low_height, uint8_t *low);

#endif
