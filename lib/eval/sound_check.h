/* SPDX-License-Identifier: MIT
 * The checker of the toybox's sounds: reads from samples when impacts are heard, which place, whether music, which and how
 * fast. Tier 7.
 *
 * It knows the world's sounds, not the scene and not the caption. */
#ifndef MGI_EVAL_SOUND_CHECK_H
#define MGI_EVAL_SOUND_CHECK_H

#include "core/report.h"
#include "data/world_sound.h"

enum { MGI_SOUND_ONSETS = 512 };

typedef struct mgi_sound_found {
    int onsets;
    float onset[MGI_SOUND_ONSETS]; /* seconds, in order */
    int background;                /* the place */
    int mood;                      /* NO_MUSIC if there is none */
    float tempo;                   /* beats a minute; 0 without music */
} mgi_sound_found;

/* `count` samples at MGI_WORLD_SOUND_RATE from a film's beginning on, a second at least; of long ones the first minute is
 * heard. INVALID, NO_MEMORY, LIMIT. */
mgen_status mgi_sound_check(mgen_context *ctx, const float *samples, int64_t count,
                            mgi_sound_found *out);

/* ---- against what is true -------------------------------------------------------------------------- */

/* Impacts nearer to each other than this are heard as one, those nearer to an end not at all; found ones are right within it. */
#define MGI_SOUND_APART     0.05f /* seconds */
#define MGI_SOUND_EDGE      0.05f
#define MGI_SOUND_TOLERANCE 0.1f
/* A tempo is right within this share. */
#define MGI_SOUND_TEMPO 0.04f

typedef struct mgi_sound_tally {
    int64_t impacts, found,
        right;    /* that are true; that were heard; of those, with one of the true ones each */
    double error; /* seconds, of the right ones: the sum of their sizes */
    int64_t sounds, place, music,
        mood; /* all; of them, with the right place; right about whether there is music; and which */
    int64_t tempos, tempo; /* with music that was heard as such; with its tempo */
} mgi_sound_tally;

/* What was found in the first `seconds` of a scene's sound. */
void mgi_sound_tally_add(mgi_sound_tally *t, const mgi_world_scene *scene,
                         const mgi_world_sound *sound, double seconds,
                         const mgi_sound_found *found);

/* onset_precision, onset_recall, onset_error_ms, place, music, mood, tempo, behind no prefix, "ceiling_", "control_" or "unseen_". What
 * was never asked for is left out. */
enum {
    MGI_SOUND_TALLY_MADE,
    MGI_SOUND_TALLY_CEILING,
    MGI_SOUND_TALLY_CONTROL,
    MGI_SOUND_TALLY_UNSEEN,
    MGI_SOUND_TALLIES
};
void mgi_sound_tally_report(const mgi_sound_tally *t, int kind, mgen_report *report);

#endif
