/* SPDX-License-Identifier: MIT
 * What the parts of the checker of sounds share. Tier 7. */
#ifndef MGI_EVAL_SOUND_LOOK_H
#define MGI_EVAL_SOUND_LOOK_H

#include "data/world_sound.h"
#include "eval/sound_spectrum.h"

enum {
    MGI_LOOK_ONSETS = 512,
    MGI_LOOK_BANDS = 26,
    /* Of each band: its power in the softest tenth of the frames, half of them, the loudest tenth; how much of it is
     * one tone. Then how well each mood's tempos fit. */
    MGI_LOOK_FEATURES = 4 * MGI_LOOK_BANDS + MGI_WORLD_MOODS - 1
};

/* Impacts: seconds, in order; returns how many. */
mgen_status mgi_look_onsets(mgen_context *ctx, const float *samples, int64_t count,
                            float onsets[MGI_LOOK_ONSETS], int *found);

/* Of a sound with these onsets, which are no music. tempo: the best of each mood's, beats a minute; [0] is none. */
mgen_status mgi_look_features(mgen_context *ctx, const float *samples, int64_t count,
                              const float *onsets, int onset_count,
                              float features[MGI_LOOK_FEATURES], float tempo[MGI_WORLD_MOODS]);

#endif
