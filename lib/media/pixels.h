/* SPDX-License-Identifier: MIT
 * Frames in memory that the caller describes, and rows of RGB. Tier 6.
 *
 * RGB values inside are bytes, or floats in [-1,1]. A float becomes a byte as the library's kernels do
 * it: x * 127.5 + 127.5 in one rounding, clamped, to the nearest whole number (halves to even); not-a-number
 * gives 0. YUV is BT.601, limited range (luma 16..235), chroma in the middle of its four pixels; an odd
 * last row or column stands for two. */
#ifndef MGI_MEDIA_PIXELS_H
#define MGI_MEDIA_PIXELS_H

#include "core/context.h"

enum {
    MGI_PIXELS_RGB8,   /* one plane, 3 bytes a pixel */
    MGI_PIXELS_RGBF32, /* one plane, 3 floats a pixel, 0 to 1 */
    MGI_PIXELS_YUV420  /* three planes: luma, Cb, Cr; the latter of half size, rounded up */
};

typedef struct mgi_pixels {
    int format;
    int64_t width, height, frames;
    void *plane[3];
    int64_t row[3], frame[3]; /* bytes from a row to the next, from a frame to the next */
} mgi_pixels;

int mgi_pixels_planes(int format); /* 1 or 3 */
/* Bytes of a plane's row, and its number of rows. */
int64_t mgi_pixels_row_bytes(int format, int plane, int64_t width);
int64_t mgi_pixels_rows(int format, int plane, int64_t height);

/* Bytes of a frame without gaps, the planes one behind the other; and that layout in `memory`. Sizes as
 * mgi_pixels_check allows. */
int64_t mgi_pixels_frame_bytes(const mgi_pixels *p);
void mgi_pixels_pack(mgi_pixels *p, void *memory);

/* INVALID, naming the field, unless format, sizes (1..65536), planes, their alignment and strides make
 * sense; with one frame the frame stride is not looked at. */
mgen_status mgi_pixels_check(mgen_context *ctx, const mgi_pixels *p);

/* Frame `frame`, from or to height x width x 3 values without gaps. What lies between rows is not
 * touched. */
void mgi_pixels_put_bytes(const mgi_pixels *p, int64_t frame, const uint8_t *rgb);
void mgi_pixels_put_floats(const mgi_pixels *p, int64_t frame, const float *rgb);
void mgi_pixels_get_bytes(const mgi_pixels *p, int64_t frame, uint8_t *rgb);
void mgi_pixels_get_floats(const mgi_pixels *p, int64_t frame, float *rgb);
/* The part of p from row `top` and column `left` on; both even, if the format is YUV. */
mgi_pixels mgi_pixels_part(const mgi_pixels *p, int64_t top, int64_t left, int64_t height,
                           int64_t width);

void mgi_bytes_from_floats(uint8_t *to, const float *from, int64_t count);
void mgi_floats_from_bytes(float *to, const uint8_t *from, int64_t count);

#endif
