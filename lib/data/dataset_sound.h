/* SPDX-License-Identifier: MIT
 * The sound of a dataset's clips, at 48,000 samples a second, one channel. Tier 6.
 *
 * Samples of the world have one. Films of a folder have what data/folder_sound.h says: the .wav beside them, or their own track.
 * What the host reads has none: its callback gives pictures alone.
 *
 * A clip's sound begins with its first frame, and both go on by the clock: films of a folder have rates of their own, so who
 * wants what is seen while a sound is heard asks mgi_dataset_watch() for it, not mgi_dataset_piece(). */
#ifndef MGI_DATA_DATASET_SOUND_H
#define MGI_DATA_DATASET_SOUND_H

#include "data/dataset.h"

/* Whether its clips have a sound; of a folder, whether one of its films may have. A dataset without answers INVALID to the
 * calls below, and "" for a caption; a single film without is INVALID or UNSUPPORTED, by its name, when it is heard. */
bool mgi_dataset_sounds(const mgi_dataset *ds);

/* Frames a second of a clip of the world; what others are taken to have. */
int mgi_dataset_sound_fps(const mgi_dataset *ds, uint64_t index);
/* How many samples it lasts: as long as a clip of the world is seen, rounded; a folder's whole sound. */
mgen_status mgi_dataset_sound_length(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                     int64_t *length);
/* Samples first .. first + count - 1 of sample `index` (dataset.h), counted from the beginning of its film. A film of the
 * world goes on being heard after its last frame; one of a folder is silent when its sound has ended. */
mgen_status mgi_dataset_hear(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                             int64_t count, float *samples);
/* What is seen at the middles of the first `frames` times of 1/fps seconds, RGB8, at most the dataset's frames. Clips that
 * are no folder's are as they are: their rate is the one they were made for. INVALID if a film is shorter. */
mgen_status mgi_dataset_watch(mgen_context *ctx, mgi_dataset *ds, uint64_t index, double fps,
                              int64_t frames, uint8_t *pixels);
/* What the audio model is told of it, in a wording as `pick` says: half of all are the plain one. A folder's
 * has one wording. */
void mgi_dataset_sound_caption(const mgi_dataset *ds, uint64_t index, uint32_t pick,
                               char caption[MGI_CAPTION_SIZE]);

/* The same of what is held out, by number. */
int mgi_dataset_held_sound_fps(const mgi_dataset *ds, int64_t i);
mgen_status mgi_dataset_held_hear(mgen_context *ctx, mgi_dataset *ds, int64_t i, int64_t first,
                                  int64_t count, float *samples);
mgen_status mgi_dataset_held_watch(mgen_context *ctx, mgi_dataset *ds, int64_t i, double fps,
                                   int64_t frames, uint8_t *pixels);
void mgi_dataset_held_sound_caption(const mgi_dataset *ds, int64_t i,
                                    char caption[MGI_CAPTION_SIZE]);

#endif
