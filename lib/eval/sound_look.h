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

/* What is measured of each frame of MGI_LOOK_HOP samples, of which the middle of frame f is f hops from the beginning: powers of
 * bands long before, before, there, after and long after it; and in three ranges how loud it is, how much louder than before, with
 * what is much louder counting as a little, and how many of its bins are. frames x MGI_LOOK_ONSET_FEATURES, to be freed. */
enum {
    MGI_LOOK_HOP = 240,
    MGI_LOOK_ONSET_BANDS = 14,
    MGI_LOOK_ONSET_RANGES = 3,
    MGI_LOOK_ONSET_FEATURES = 5 * MGI_LOOK_ONSET_BANDS + 4 * MGI_LOOK_ONSET_RANGES
};
mgen_status mgi_look_onset_features(mgen_context *ctx, const float *samples, int64_t count,
                                    float **features, int64_t *frames);
/* Impacts: seconds, in order. */
mgen_status mgi_look_onsets(mgen_context *ctx, const float *samples, int64_t count,
                            float onsets[MGI_LOOK_ONSETS], int *found);

/* Of a sound with these onsets, which are no music. tempo: the best of each mood's, beats a minute; [0] is none. */
mgen_status mgi_look_features(mgen_context *ctx, const float *samples, int64_t count,
                              const float *onsets, int onset_count,
                              float features[MGI_LOOK_FEATURES], float tempo[MGI_WORLD_MOODS]);

#endif
