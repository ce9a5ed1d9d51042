/* SPDX-License-Identifier: MIT
 * What curation sees in a frame, or in two that follow each other. Tier 6.
 *
 * Pure functions of pixels. Frames are looked at reduced, by whole factors, so that what a number means does not depend
 * on the film's size; rows have no gaps. */
#ifndef MGI_DATA_CURATE_LOOK_H
#define MGI_DATA_CURATE_LOOK_H

#include <stddef.h>
#include <stdint.h>

enum {
    MGI_LOOK_SMALL = 128, /* pixels of the longer side, at most, where motion is looked for */
    MGI_LOOK_BLOCK = 8,   /* a block's side, of which motion is */
    MGI_LOOK_BLOCKS = (MGI_LOOK_SMALL / MGI_LOOK_BLOCK) * (MGI_LOOK_SMALL / MGI_LOOK_BLOCK),
    MGI_LOOK_FINE = 384,    /* and where text and borders are */
    MGI_LOOK_VECTORS = 256, /* a side of this many pixels is what lengths of motion are of */
    MGI_LIKE_GRID =
        12, /* a frame's cells along each side, of which a description has two numbers */
    MGI_LIKE_FRAMES = 4, /* of a clip that are described */
    MGI_LIKE_SIZE = MGI_LIKE_FRAMES * MGI_LIKE_GRID * MGI_LIKE_GRID * 2,
    MGI_THEME_SIZE = 3 * 4 * 4 + 27
};

/* The factor by which a frame is reduced so that its longer side is at most `most`; the means over squares of that side.
 * Rows and columns that fill no square are left out. */
int64_t mgi_look_factor(int64_t width, int64_t height, int64_t most);
void mgi_look_reduce(const uint8_t *rgb, int64_t width, int64_t height, int64_t factor,
                     uint8_t *out);
/* Rec. 601 luma of `pixels` pixels. */
void mgi_look_grey(const uint8_t *rgb, int64_t pixels, uint8_t *grey);

/* The mean over pixels of the difference of two frames, grey levels. */
double mgi_look_difference(const uint8_t *a, const uint8_t *b, int64_t pixels);

/* VMAF's motion feature is the mean difference of frames blurred by this filter of 5 x 5. `rows`: width x height of the
 * caller's; edges are mirrored. */
void mgi_look_blur(const uint8_t *grey, int64_t width, int64_t height, float *rows, float *out);
double mgi_look_blurred_difference(const float *a, const float *b, int64_t pixels);

typedef struct mgi_look_motion {
    double
        length; /* mean of the blocks' vectors, in pixels of a frame whose longer side has MGI_LOOK_VECTORS */
    double x, y;    /* the whole frame's: medians */
    double unknown; /* share of blocks that are nowhere in the frame before */
} mgi_look_motion;
/* Blocks of 8 x 8 of `now`, looked for up to 7 pixels around in `before`. A frame smaller than a block: 0. */
void mgi_look_motion_of(const uint8_t *before, const uint8_t *now, int64_t width, int64_t height,
                        mgi_look_motion *out);

/* Which blocks of `now`, row by row, are nowhere in `before`: neither around where they are nor around where they would be if the view has
 * moved by (dx, dy) pixels. */
void mgi_look_new_blocks(const uint8_t *before, const uint8_t *now, int64_t width, int64_t height,
                         int dx, int dy, uint8_t *is_new);

/* The share of the frame that lines of text cover, seen in one plane of it: grey, or a colour in which text stands out. A
 * line of text is a band of rows with runs in which dark and bright take turns at least 8 times, alike from row to row, at
 * distances of 0.07 to 0.5 of the band's height; and if they do so less than 20 times, in two colours. */
double mgi_look_text(const uint8_t *plane, int64_t width, int64_t height);

/* How many rows or columns of one colour lie along the edges, where a straight line ends them: left, right, top,
 * bottom. */
void mgi_look_borders(const uint8_t *grey, int64_t width, int64_t height, int64_t out[4]);

/* A frame for comparing clips: what of its cells differs from the cells around, in brightness and in colour; the same
 * for a frame that is larger, brighter or of more contrast. Of length 1, or all 0 for a frame of one colour.
 * MGI_LIKE_SIZE / MGI_LIKE_FRAMES numbers. */
void mgi_look_like(const uint8_t *rgb, int64_t width, int64_t height, float *out);
/* A frame for finding clips of one kind: colours, and where they are. */
void mgi_look_theme(const uint8_t *rgb, int64_t width, int64_t height, float out[MGI_THEME_SIZE]);

#endif
