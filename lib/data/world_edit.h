/* SPDX-License-Identifier: MIT
 * Edits of the toybox's films: an instruction, and the film before and after it. Tier 6.
 *
 * An edit is two scenes and perhaps a style of the film. What an instruction does not name is the same in both: the
 * places, the laws of motion, the camera and the light, so that two films differ only where they are edited. Where
 * objects hide each other nothing is, as everywhere in this world. */
#ifndef MGI_DATA_WORLD_EDIT_H
#define MGI_DATA_WORLD_EDIT_H

#include "data/world.h"
#include "text/edit_task.h"

/* Of a film as a whole, pixel by pixel. */
enum {
    MGI_WORLD_AS_DRAWN,
    MGI_WORLD_BLACK_AND_WHITE,
    MGI_WORLD_SEPIA,
    MGI_WORLD_NEGATIVE,
    MGI_WORLD_NIGHT, /* dark and blue */
    MGI_WORLD_STYLES
};
/* What of an object a local edit changes. */
enum { MGI_WORLD_EDIT_COLOUR, MGI_WORLD_EDIT_SHAPE, MGI_WORLD_EDIT_SIZE };

enum { MGI_WORLD_EDIT_WORDINGS = 4 }; /* of each instruction */

typedef struct mgi_world_edit {
    int task; /* MGI_EDIT_*, but TEXT_TO_VIDEO */
    mgi_world_scene before, after;
    int style;   /* of the film after */
    int changed; /* of a local edit */
    int object; /* which is edited: of the scene after for additions, else before; -1 = none, or the sign */
    int wording;
} mgi_world_edit;

/* Edit `index` of world `seed`, of scene `index` of that world, by lots of its own; task -1 = one of the six of the
 * report's benchmark (all but marking), each as often as the others. NULL options are {0}. A scene without anything to
 * remove or add is drawn again with two objects or, if they find no place, a sign, whatever the options say.
 * Split: neither film of a training edit has an object of a combination that is held out. With HELD_OUT
 * all objects have one that the edited film shows, and of a removal the removed one: where an edit would make another
 * combination of it, the scene is what the edit leads to. */
void mgi_world_edit_random(mgi_world_edit *edit, uint64_t seed, uint64_t index, int task,
                           const mgi_world_options *options);

/* The instruction, in the edit's wording: "make the red ball blue". */
void mgi_world_edit_text(const mgi_world_edit *edit, char out[MGI_WORLD_CAPTION_MAX]);

/* As mgi_world_draw, of the film before or after. */
void mgi_world_edit_draw(const mgi_world_edit *edit, bool after, int width, int height, int first,
                         int count, uint8_t *out);

/* The edit that undoes this one; itself undone, it is this one again. false: words cannot undo it, since the film after
 * does not tell what was before (styles, marked objects). */
bool mgi_world_edit_reverse(const mgi_world_edit *edit, mgi_world_edit *out);

/* `pixels` pixels, RGB8, become what a style makes of them. */
void mgi_world_style(int style, size_t pixels, uint8_t *rgb);

#endif
