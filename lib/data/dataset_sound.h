/* SPDX-License-Identifier: MIT
 * The sound of a dataset's clips, at 48,000 samples a second, one channel. Tier 6.
 *
 * Samples of the world have one. What the host reads has none: its callback gives pictures alone. */
#ifndef MGI_DATA_DATASET_SOUND_H
#define MGI_DATA_DATASET_SOUND_H

#include "data/dataset.h"

/* Whether its clips have a sound. Those that have none answer INVALID to the calls below, and "" for a caption. */
bool mgi_dataset_sounds(const mgi_dataset *ds);

/* Frames a second of a clip, and how many samples it lasts: those of its frames, rounded. */
int mgi_dataset_sound_fps(const mgi_dataset *ds, uint64_t index);
int64_t mgi_dataset_sound_length(const mgi_dataset *ds, uint64_t index);
/* Samples first .. first + count - 1 of sample `index` (dataset.h), counted from the beginning of its film. A film of the
 * world goes on being heard after its last frame. */
mgen_status mgi_dataset_hear(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                             int64_t count, float *samples);
/* What the audio model is told of it, in a wording as `pick` says: half of all are the plain one. */
void mgi_dataset_sound_caption(const mgi_dataset *ds, uint64_t index, uint32_t pick,
                               char caption[MGI_CAPTION_SIZE]);

/* The same of what is held out, by number. */
int mgi_dataset_held_sound_fps(const mgi_dataset *ds, int64_t i);
mgen_status mgi_dataset_held_hear(mgen_context *ctx, mgi_dataset *ds, int64_t i, int64_t first,
                                  int64_t count, float *samples);
void mgi_dataset_held_sound_caption(const mgi_dataset *ds, int64_t i,
                                    char caption[MGI_CAPTION_SIZE]);

#endif
