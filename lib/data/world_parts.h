/* SPDX-License-Identifier: MIT
 * Parts of the world's drawing, for the drawing itself and for the checker. Tier 6.
 *
 * Only + - * / and sqrtf are used, which round the same on every machine. */
#ifndef MGI_DATA_WORLD_PARTS_H
#define MGI_DATA_WORLD_PARTS_H

#include "data/world.h"

enum { MGI_WORLD_NOISE = 64, MGI_WORLD_RIDGE = 1024 };

/* One background, prepared: random numbers on a grid and the outlines of its two distant layers, both of
 * which repeat. */
typedef struct mgi_world_place {
    int background;
    float noise[MGI_WORLD_NOISE * MGI_WORLD_NOISE]; /* -1..1 */
    float ridge[2][MGI_WORLD_RIDGE]; /* heights in units, four a unit: very far; far */
} mgi_world_place;

void mgi_world_place_init(mgi_world_place *place, int background);
/* What the camera sees of it without objects, in a view of view_width x view_height units drawn `width` pixels
 * wide: rows first .. first + rows - 1, rows x width x 3 values of 0..255. */
void mgi_world_background(const mgi_world_place *place, int view_width, int view_height,
                          const mgi_world_camera *camera, int width, int first, int rows,
                          float *out);

void mgi_world_colour_rgb(int colour, float rgb[3]);
/* Signed distance from an upright shape's outline, negative inside, in radii. */
float mgi_world_shape_distance(int shape, float x, float y);
/* How dark the surface of a ball or ring is marked there, 0..1, that its turning can be seen. */
float mgi_world_shape_mark(int shape, float x, float y);
/* How much of a texture's dark part is there, 0..1; (x, y) in radii from the object's middle, in its own frame. */
float mgi_world_texture(int texture, float x, float y);

/* Distance from the nearest stroke of a character, in units; (x, y) from its middle. Strokes are this wide.
 * Characters stand MGI_WORLD_GLYPH_STEP apart. */
#define MGI_WORLD_STROKE     1.7f
#define MGI_WORLD_GLYPH_STEP 8.0f
float mgi_world_glyph_distance(char c, float x, float y);
/* The sign's board, letters and border. */
void mgi_world_sign_rgb(float board[3], float ink[3]);

#endif
