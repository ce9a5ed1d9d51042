/* SPDX-License-Identifier: MIT
 * How often what a caption says of the world is seen in films. Tier 7. */
#ifndef MGI_EVAL_WORLD_TALLY_H
#define MGI_EVAL_WORLD_TALLY_H

#include "core/report.h"
#include "data/world.h"

/* Single attributes; then clips of one, two and three objects with all of these but camera, rate and text right. */
enum {
    MGI_TALLY_COLOUR,
    MGI_TALLY_BACKGROUND,
    MGI_TALLY_MOTION,
    MGI_TALLY_COUNT,
    MGI_TALLY_SHAPE,
    MGI_TALLY_SIZE,
    MGI_TALLY_CAMERA,
    MGI_TALLY_FPS,
    MGI_TALLY_TEXT,
    MGI_TALLY_ALL_ONE,
    MGI_TALLY_ALL_TWO,
    MGI_TALLY_ALL_THREE,
    MGI_TALLY_ENTRIES
};

typedef struct mgi_world_tally {
    int64_t asked[MGI_TALLY_ENTRIES], right[MGI_TALLY_ENTRIES];
    int64_t motion_asked[MGI_WORLD_MOTIONS], motion_right[MGI_WORLD_MOTIONS]; /* of each motion */
} mgi_world_tally;

/* Instead of a background, a motion, a camera or a rate: whatever is seen there is not counted. */
enum { MGI_TALLY_ANY = -2 };
/* A picture has none of the last three. */
void mgi_world_tally_picture(mgi_world_said *asked);

/* Objects are compared with those seen in the same colour. The rate is asked for only where something should move, a
 * text only where there is a sign. */
void mgi_world_tally_add(mgi_world_tally *t, const mgi_world_said *asked,
                         const mgi_world_said *seen);
/* Share of the single attributes that were right, all of them together. */
double mgi_world_tally_share(const mgi_world_tally *t);
/* Rates as colour, background, ..., all_three, behind no prefix, "ceiling_", "control_", "checker_",
 * "plain_" or "told_". What was never
 * asked for is left out. Of films and of what the checker is shown also each motion, as motion_bounces. */
enum {
    MGI_TALLY_FILMS,
    MGI_TALLY_CEILING,
    MGI_TALLY_CONTROL,
    MGI_TALLY_CHECKER,
    MGI_TALLY_PLAIN,
    MGI_TALLY_TOLD
};
void mgi_world_tally_report(const mgi_world_tally *t, int kind, mgen_report *report);

#endif
