/* SPDX-License-Identifier: MIT
 * What the parts of the world's checker share. Tier 7. */
#ifndef MGI_EVAL_WORLD_LOOK_H
#define MGI_EVAL_WORLD_LOOK_H

#include "data/world_parts.h"

enum { MGI_LOOK_FRAMES = 64 };

/* An object of one colour in every frame. */
typedef struct mgi_look_object {
    int colour;
    bool seen[MGI_LOOK_FRAMES], whole[MGI_LOOK_FRAMES]; /* whole: no edge of the frame cuts it */
    float x[MGI_LOOK_FRAMES], y[MGI_LOOK_FRAMES], area[MGI_LOOK_FRAMES]; /* pixels */
    int shape;
    float radius, score;          /* in the first frames; correlation */
    float angle[MGI_LOOK_FRAMES]; /* turns, modulo the shape's symmetry */
    float mark_x[MGI_LOOK_FRAMES],
        mark_y[MGI_LOOK_FRAMES]; /* of what is round: see world_look_shape.c */
} mgi_look_object;

typedef struct mgi_look {
    const uint8_t *frames;
    int width, height, count, pixels;
    mgi_world_place place;
    float gain;        /* brightness of the scene */
    float *background; /* count x height x width x 3, times the gain */
    int8_t *label;     /* count x height x width: a colour, or -1 */
    mgi_world_camera path[MGI_LOOK_FRAMES];
    float rate; /* seconds a frame that the camera's path tells; 0 = nothing */
    int objects;
    mgi_look_object object[MGI_WORLD_OBJECTS];
} mgi_look;

/* Which place and how bright, from the first frame. -1 = none. */
int mgi_look_background(mgi_look *look);
/* The class, with path and rate. */
int mgi_look_camera(mgi_look *look);
/* How much of pixel (x, y) object o covers, 0..1; below 0 = it cannot be known there. */
float mgi_look_cover(const mgi_look *look, const mgi_look_object *o, int frame, int x, int y);
/* Shape, radius and angles of an object. */
void mgi_look_shape(const mgi_look *look, mgi_look_object *o);
/* Motions of all objects and frames a second; may find that a camera that seemed to truck is tracking. */
void mgi_look_motion(mgi_look *look, int *camera, int motions[MGI_WORLD_OBJECTS], int *fps);
void mgi_look_sign(const mgi_look *look, char sign[MGI_WORLD_SIGN + 1]);

#endif
