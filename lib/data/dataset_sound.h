/* SPDX-License-Identifier: MIT
 * The sound of a dataset's clips, at 48,000 samples a second, one channel. Tier 6.
 *
 * Samples of the world have one. Films of a folder have what data/folder_sound.h says: the .wav beside them, or their own track.
 * What the host reads has what its callback gives, if sound_samples says that it gives any.
 *
 * A clip's sound begins with its first frame, and both go on by the clock: films of a folder and clips of the host have rates of
 * their own, so who wants what is seen while a sound is heard asks mgi_dataset_watch() for it, not mgi_dataset_piece(). */
#ifndef MGI_DATA_DATASET_SOUND_H
#define MGI_DATA_DATASET_SOUND_H

#include "data/dataset.h"

/* Whether its clips have a sound; of a folder, whether one of its films may have. A dataset without answers INVALID to the
 * calls below, and "" for a caption; a single film without is INVALID or UNSUPPORTED, by its name, when it is heard. */
bool mgi_dataset_sounds(const mgi_dataset *ds);

/* Whether all samples have one, as far as is known without hearing them: of a folder, the error that hearing the first film without
 * would give. */
mgen_status mgi_dataset_check_sounds(mgen_context *ctx, const mgi_dataset *ds);

/* Frames a second of a clip of the world; what the host says of its clips; what others are taken to have. */
int mgi_dataset_sound_fps(const mgi_dataset *ds, uint64_t index);
/* How many samples it lasts: as long as a clip of the world is seen, rounded; else the whole sound. */
mgen_status mgi_dataset_sound_length(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                     int64_t *length);
/* Samples first .. first + count - 1 of sample `index` (dataset.h), counted from the beginning of its film. A film of the
 * world goes on being heard after its last frame; any other is silent when its sound has ended. */
mgen_status mgi_dataset_hear(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                             int64_t count, float *samples);
/* As mgi_dataset_sized(), for who watches `frames` at that rate: samples of the host need only last as long as these. */
mgen_status mgi_dataset_sound_sized(mgen_context *ctx, mgi_dataset *ds, int64_t frames, int64_t fps,
                                    mgi_dataset **out);
/* What is seen at the middles of the first `frames` times of 1/fps seconds, RGB8, at most a folder's or world's frames: of another rate
 * than a clip's, frames are left out or come again. Clips of the world are as they are: their rate is the one they were made
 * for. INVALID if a clip is shorter. */
mgen_status mgi_dataset_watch(mgen_context *ctx, mgi_dataset *ds, uint64_t index, double fps,
                              int64_t frames, uint8_t *pixels);
/* Whether all samples have what that reads, as far as is known without reading them: as mgi_dataset_check_frames(). */
mgen_status mgi_dataset_check_watched(mgen_context *ctx, const mgi_dataset *ds, double fps,
                                      int64_t frames);
/* What the audio model is told of it, in a wording as `pick` says: half of all are the plain one. A folder's
 * has one wording. Of the host's samples it is not known without reading them: "". */
void mgi_dataset_sound_caption(const mgi_dataset *ds, uint64_t index, uint32_t pick,
                               char caption[MGI_CAPTION_SIZE]);
/* Whether that is so; and then what the host says of the sound or, of its caption, mgi_dataset_sound_words(). */
bool mgi_dataset_sound_unknown(const mgi_dataset *ds);
mgen_status mgi_dataset_sound_told(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                   char caption[MGI_CAPTION_SIZE]);

/* The same of what is held out, by number. */
int mgi_dataset_held_sound_fps(const mgi_dataset *ds, int64_t i);
mgen_status mgi_dataset_held_hear(mgen_context *ctx, mgi_dataset *ds, int64_t i, int64_t first,
                                  int64_t count, float *samples);
mgen_status mgi_dataset_held_watch(mgen_context *ctx, mgi_dataset *ds, int64_t i, double fps,
                                   int64_t frames, uint8_t *pixels);
void mgi_dataset_held_sound_caption(const mgi_dataset *ds, int64_t i,
                                    char caption[MGI_CAPTION_SIZE]);
mgen_status mgi_dataset_held_sound_told(mgen_context *ctx, mgi_dataset *ds, int64_t i,
                                        char caption[MGI_CAPTION_SIZE]);

/* The form that audio models are told, with what is seen, cut where it is too long for it, as the description. */
void mgi_dataset_sound_words(const char *seen, char caption[MGI_CAPTION_SIZE]);
/* Which frame of a clip of num/den frames a second is seen at the middle of time i of 1/fps seconds. */
int64_t mgi_dataset_frame_seen(int64_t i, int64_t num, int64_t den, double fps);

#endif
