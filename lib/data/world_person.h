/* SPDX-License-Identifier: MIT
 * People of the world: who they are, and how they are drawn. Tier 6.
 *
 * A person has a large head on a small body. Who it is stands in five attributes, which are numbered together; a
 * caption tells its shirt, its expression and what it does, never who it is. Lengths are radii of the head, from its middle,
 * right and down. Only + - * / and sqrtf are used, which round the same on every machine. */
#ifndef MGI_DATA_WORLD_PERSON_H
#define MGI_DATA_WORLD_PERSON_H

#include "data/world.h"

enum { MGI_PERSON_SKINS = 4, MGI_PERSON_HAIRS = 8, MGI_PERSON_EYES = 3 };
enum {
    MGI_PERSON_SHORT,
    MGI_PERSON_LONG,
    MGI_PERSON_AFRO,
    MGI_PERSON_MOHAWK,
    MGI_PERSON_PIGTAILS,
    MGI_PERSON_BUN,
    MGI_PERSON_STYLES
};
enum {
    MGI_PERSON_NOTHING,
    MGI_PERSON_GLASSES,
    MGI_PERSON_BEARD,
    MGI_PERSON_MOUSTACHE,
    MGI_PERSON_HEADBAND,
    MGI_PERSON_EXTRAS
};
/* What an identity is made of, in the order of its fields. */
enum {
    MGI_PERSON_SKIN,
    MGI_PERSON_HAIR,
    MGI_PERSON_STYLE,
    MGI_PERSON_EYE,
    MGI_PERSON_EXTRA,
    MGI_PERSON_ATTRIBUTES
};

typedef struct mgi_world_identity {
    int skin, hair, style, eyes, extra;
} mgi_world_identity;

/* How many there are; number < mgi_world_identities(). */
uint32_t mgi_world_identities(void);
void mgi_world_identity_of(uint32_t number, mgi_world_identity *out);
uint32_t mgi_world_identity_number(const mgi_world_identity *identity);
/* Whether no training scene shows this person: one in eleven. Every value of every attribute is on both sides. */
bool mgi_world_identity_held_out(uint32_t number);
/* How many values an attribute has, and which one a person has. */
int mgi_world_attribute_values(int attribute);
int mgi_world_attribute_of(const mgi_world_identity *identity, int attribute);
void mgi_world_attribute_set(mgi_world_identity *identity, int attribute, int value);

/* How a person is at a moment. */
typedef struct mgi_world_face {
    mgi_world_identity identity;
    int expression;
    float yaw;   /* of the head, -1 (to the left of the view) to 1 */
    bool closed; /* its eyes */
    float step;  /* of the walk, turns; of who does not walk 0 */
    bool walks;
    int shirt; /* a colour */
} mgi_world_face;

/* Where to draw: rows first .. first + rows - 1 of an image `width` pixels wide, values of 0..255, and where in it the
 * middle of the head is, and its radius, in pixels. */
typedef struct mgi_world_pen {
    float *image;
    int width, first, rows;
    float x, y, unit;
} mgi_world_pen;

void mgi_world_draw_head(const mgi_world_pen *pen, const mgi_world_face *face);
/* The body, and before it. */
void mgi_world_draw_person(const mgi_world_pen *pen, const mgi_world_face *face);

/* Of the person of a scene at a time. */
void mgi_world_face_at(const mgi_world_scene *scene, float seconds, mgi_world_face *out);
/* How far a person that walks is lifted by it, units. */
float mgi_world_person_bob(const mgi_world_object *o, float seconds);

/* How far it reaches, in radii of the head from its middle. */
#define MGI_WORLD_PERSON_WIDTH 0.95f
#define MGI_WORLD_PERSON_FOOT  1.78f
#define MGI_WORLD_PERSON_TOP   1.50f

/* A portrait of the person of a scene, side x side x 3 RGB8, the head and what is on it; all else is grey (128).
 * cross: expression, view, light and place in the photo drawn by `seed`, the expression another one than the scene's. Else
 * the head is as in a frame of the film, which `seed` draws. */
void mgi_world_photo(const mgi_world_scene *scene, uint64_t seed, bool cross, int side,
                     uint8_t *rgb);

#endif
