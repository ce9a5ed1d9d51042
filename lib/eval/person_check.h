/* SPDX-License-Identifier: MIT
 * Who is seen in a film of the world, and what that person looks like and does. Tier 7.
 *
 * Read by drawing: of the background and the camera that world_check.h finds, the person that explains the pixels
 * in front of them best, in each frame; place, size and view of the head first, then attribute by attribute. What each
 * value of an attribute costs, the others being the best, is what tells people apart. */
#ifndef MGI_EVAL_PERSON_CHECK_H
#define MGI_EVAL_PERSON_CHECK_H

#include "core/context.h"
#include "data/world_person.h"

enum { MGI_PERSON_FRAMES = 64, MGI_PERSON_VALUES = 8 };

/* Squares of what each value leaves unexplained, a mean over values of pixels around the head. */
typedef struct mgi_person_costs {
    float of[MGI_PERSON_ATTRIBUTES][MGI_PERSON_VALUES], expression[MGI_FACES];
} mgi_person_costs;

typedef struct mgi_person_seen {
    int frames;            /* looked at: the first ones */
    bool person;           /* there is one in most of them; if not, what follows tells nothing */
    mgi_person_costs film; /* means over the frames with a person */
    mgi_world_identity identity;
    int expression, shirt, motion, background; /* -1 = cannot be told */
    bool seen[MGI_PERSON_FRAMES]; /* a person, by far better than the empty background */
    mgi_person_costs frame[MGI_PERSON_FRAMES];
} mgi_person_seen;

/* frames x height x width x 3 RGB8 of a view of one pixel a unit, as mgi_world_check takes them; fps: frames a second.
 * NO_MEMORY, LIMIT. */
mgen_status mgi_person_check(mgen_context *ctx, const uint8_t *frames, int width, int height,
                             int count, int fps, mgi_person_seen *out);

/* Who the costs say it is. */
void mgi_person_identity(const mgi_person_costs *costs, mgi_world_identity *out);
/* How far what was seen is from a person: what its attributes cost more than the best. */
float mgi_person_distance(const mgi_person_costs *costs, uint32_t number);
/* Share of the attributes that are a person's, 0..1. */
float mgi_person_similarity(const mgi_person_costs *costs, uint32_t number);

/* A gallery of people among whom `number` is to be found: itself, first, and others of all that there are, drawn by
 * `seed`; whether none of them is as near as it. */
enum { MGI_PERSON_GALLERY = 256 };
void mgi_person_gallery(uint32_t number, uint64_t seed, uint32_t out[MGI_PERSON_GALLERY]);
bool mgi_person_first(const mgi_person_costs *costs, const uint32_t gallery[MGI_PERSON_GALLERY]);

#endif
