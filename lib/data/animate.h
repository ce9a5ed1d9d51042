/* SPDX-License-Identifier: MIT
 * A frame becomes a film: the report's animated frame editing. Tier 6.
 *
 * The report moves a frame and what it was edited to by the same random affine transforms, each applied to the last
 * frame. Here the transforms are composed and the first frame is sampled once for each frame of the film, so that
 * nothing blurs from frame to frame. */
#ifndef MGI_DATA_ANIMATE_H
#define MGI_DATA_ANIMATE_H

#include <stdint.h>

/* From one frame to the next, at most: a turn by 0.5 degrees and a factor of 0.995 to 1.005 about the middle, a shift
 * by 0.5 % of each side. How fast each of them goes changes smoothly, over this many frames. */
enum { MGI_ANIMATE_KNOT = 8 };

/* frame (height x width x 3, RGB8) as a film of `count` frames of that size, the first of them the frame itself, which
 * may be there already. What comes in from outside repeats the edges. The motion is a function of (seed, element) alone:
 * frame and edited frame move alike; element is below 2^48. Only + - * / are used, which round the same on every
 * machine. */
void mgi_animate(const uint8_t *frame, int width, int height, int count, uint64_t seed,
                 uint64_t element, uint8_t *out);

#endif
