/* SPDX-License-Identifier: MIT
 * opl: the outlier penalty loss of the temporal autoencoder (report section 3.1.1). Latent
 * positions of very large norm, seen as spots in the decoded picture, are pulled towards the
 * others.
 *
 *   x (frames, positions, c): the latents of each frame, height and width taken together. With d
 *   the distance from the frame's mean, per channel, |.| the norm over channels, and Std the
 *   channels' standard deviations over the positions (divided by their number, so that
 *   |Std|^2 = mean |d|^2):
 *   opl       out[0] += weight * mean over frames and positions of max(|d| - r |Std|, 0)
 *   opl_grad  dx (+)= upstream[0] * weight / (frames * positions) * s,
 *             s = d / |d| where |d| > r |Std|, else 0;
 *             through = 1 adds what flows through mean and Std:
 *             - mean over positions of s - r (share of outliers) d / |Std|
 * The report gives the value only. through = 0, mean and Std held constant, is the default here:
 * else the loss also falls by widening the spread of the whole frame, which is not what it is for.
 * Dtypes: x, dx are T; out, upstream f32.
 */
#ifndef MGK_OPL_H
#define MGK_OPL_H

#include "kernels/mgk.h"

typedef struct mgk_opl_args {
    mgk_buf x, out, upstream, dx;
    int64_t frames, positions, c;
    float r, weight; /* the report: r = 3 */
    int32_t accumulate, through;
} mgk_opl_args;

MGK_DECLARE(opl);
MGK_DECLARE(opl_grad);

#endif
