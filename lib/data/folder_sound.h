/* SPDX-License-Identifier: MIT
 * The sound of the films of a folder: <name>.wav beside a film, else the film's own track. Tier 6.
 *
 * A track becomes one channel, which is the mean of its channels, of 48,000 samples a second. */
#ifndef MGI_DATA_FOLDER_SOUND_H
#define MGI_DATA_FOLDER_SOUND_H

#include "data/kept_sounds.h"

/* What a film that may have a track of its own is: any but .y4m and .png. */
bool mgi_folder_has_track(const char *film);

/* All of the sound of film `index` (kept_sounds.h). INVALID, with the film's name, if it has none; what reading a track
 * answers. */
mgen_status mgi_folder_read_sound(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                  mgi_read_sound *out);

/* Whether all films have one: what mgi_folder_read_sound() answers for the first one without, of whose track no more than the
 * beginning is decoded. A .wav beside a film is taken to hold it. */
mgen_status mgi_folder_check_sounds(mgen_context *ctx, const mgi_dataset *ds);

/* <name>.sound.txt as it is; else what mgi_dataset_sound_words() makes of the film's caption. */
void mgi_folder_sound_caption(const mgi_dataset *ds, uint64_t index,
                              char caption[MGI_CAPTION_SIZE]);

#endif
