/* SPDX-License-Identifier: MIT
 * Frames to another size: the middle part of the aspect asked for, linear between pixels, and averaged
 * where the frame shrinks. Tier 6. */
#ifndef MGI_DATA_RESIZE_H
#define MGI_DATA_RESIZE_H

#include "core/context.h"

/* How pixels that lie along a side are weighted. */
typedef enum mgi_resize_kind {
    MGI_RESIZE_LINEAR, /* a triangle that ends at the next pixel: of the coarser of both sides */
    MGI_RESIZE_AREA    /* the mean over what an output pixel covers */
} mgi_resize_kind;

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
/* The whole frame, whatever its aspect. */
mgen_status mgi_resize_init_whole(mgi_resize *r, mgen_context *ctx, int64_t from_width,
                                  int64_t from_height, int64_t width, int64_t height);
/* Bytes that it holds: at most so many. */
int64_t mgi_resize_bytes(int64_t from_width, int64_t from_height, int64_t width, int64_t height);
/* RGB8, rows without gaps. The same size: the same bytes. */
void mgi_resize_frame(mgi_resize *r, const uint8_t *from, uint8_t *to);
void mgi_resize_finish(mgi_resize *r);

/* One whole side, nothing cut off; sides as above. On failure there is nothing to finish. */
mgen_status mgi_resize_side_init(mgi_resize_side *s, mgen_context *ctx, int64_t from, int64_t to,
                                 mgi_resize_kind kind);
void mgi_resize_side_finish(mgi_resize_side *s, mgen_context *ctx); /* cleared memory is fine */
/* RGB in floats, not rounded. `rows`: 3 * y->from * x->to floats of the caller's. */
void mgi_resize_floats(const mgi_resize_side *x, const mgi_resize_side *y, const float *from,
                       float *rows, float *to);

#endif
