/* SPDX-License-Identifier: MIT
 * The toybox: a procedural captioned world, drawn in C, the same on every machine. Tier 6.
 *
 * This subset: one object (3 shapes, 4 colours) that moves in one of 3 ways over one of 2
 * backgrounds, 64 x 64 pixels, 32 frames at 16 frames per second. A scene is a pure function of
 * (seed, index).
 */
#ifndef MGI_DATA_TOYBOX_H
#define MGI_DATA_TOYBOX_H

#include <stddef.h>
#include <stdint.h>

enum { MGI_TOYBOX_BALL, MGI_TOYBOX_CUBE, MGI_TOYBOX_TRIANGLE, MGI_TOYBOX_SHAPES };
enum { MGI_TOYBOX_RED, MGI_TOYBOX_YELLOW, MGI_TOYBOX_BLUE, MGI_TOYBOX_PURPLE, MGI_TOYBOX_COLOURS };
enum { MGI_TOYBOX_GRASS, MGI_TOYBOX_SNOW, MGI_TOYBOX_BACKGROUNDS };
enum { MGI_TOYBOX_ROLL_LEFT, MGI_TOYBOX_ROLL_RIGHT, MGI_TOYBOX_BOUNCE, MGI_TOYBOX_MOTIONS };

enum {
    MGI_TOYBOX_WIDTH = 64,
    MGI_TOYBOX_HEIGHT = 64,
    MGI_TOYBOX_FRAMES = 32,
    MGI_TOYBOX_FPS = 16,
    MGI_TOYBOX_CAPTION_MAX = 96 /* bytes with the NUL */
};

/* What is said (attributes) and what is left to chance (the rest; pixels, pixels per frame). */
typedef struct mgi_toybox_scene {
    int shape, colour, background, motion;
    float radius;    /* 10..15 */
    float x, y;      /* centre in frame 0 */
    float speed;     /* roll: |dx| a frame */
    float amplitude; /* bounce: height in pixels; never faster than 4 pixels a frame */
    float period;    /* bounce: frames */
    float phase;     /* bounce: 0..1 */
    float light;     /* brightness of the scene, around 1 */
    int wording;     /* which caption template */
} mgi_toybox_scene;

/* Names as captions use them: "ball", "red", "grass", "rolls left". */
const char *mgi_toybox_shape_name(int shape);
const char *mgi_toybox_colour_name(int colour);
const char *mgi_toybox_background_name(int background);
const char *mgi_toybox_motion_name(int motion);

/* Draw the scene `index` of world `seed`: all of it at random. */
void mgi_toybox_scene_random(mgi_toybox_scene *scene, uint64_t seed, uint64_t index);
/* The caption; wording 0 is the plain one: "a red ball rolls left on grass". */
void mgi_toybox_caption(const mgi_toybox_scene *scene, char out[MGI_TOYBOX_CAPTION_MAX]);

/* Frames [first, first + count) into out, count x height x width x 3 RGB8. Anti-aliased, softly
 * shaded, with a shadow on the ground. */
void mgi_toybox_draw(const mgi_toybox_scene *scene, int first, int count, uint8_t *out);

/* Parts of the drawing, for the checker: an empty background (64 x 64 x 3, light 1); a colour of
 * the palette; how much of the pixel at (x, y) from the centre a shape covers, 0..1. */
void mgi_toybox_background(int background, float *out);
void mgi_toybox_colour_rgb(int colour, float rgb[3]);
float mgi_toybox_cover(int shape, float radius, float x, float y);
/* Half of a shape's bounding box; how far a bouncing object is above the ground. Pixels. */
float mgi_toybox_half_width(int shape, float radius);
float mgi_toybox_half_height(int shape, float radius);
float mgi_toybox_height_at(const mgi_toybox_scene *scene, int frame);

#endif
