/* SPDX-License-Identifier: MIT
 * Frames to another size: the middle part of the aspect asked for, linear between pixels, and averaged
 * where the frame shrinks. Tier 6. */
#ifndef MGI_DATA_RESIZE_H
#define MGI_DATA_RESIZE_H

#include "core/context.h"

/* Along one side: output i is the sum over k of weight[i * taps + k] x input[first[i] + k]. */
typedef struct mgi_resize_side {
    int64_t from, to, taps;
    int32_t *first;
    float *weight;
} mgi_resize_side;

typedef struct mgi_resize {
    mgen_context *ctx;
    mgi_resize_side x, y;
    float *rows; /* `from` rows of the new width */
} mgi_resize;

/* Sides of at least 1, at most 65536. */
mgen_status mgi_resize_init(mgi_resize *r, mgen_context *ctx, int64_t from_width,
                            int64_t from_height, int64_t width, int64_t height);
/* RGB8, rows without gaps. The same size: the same bytes. */
void mgi_resize_frame(mgi_resize *r, const uint8_t *from, uint8_t *to);
void mgi_resize_finish(mgi_resize *r);

#endif
