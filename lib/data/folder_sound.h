/* SPDX-License-Identifier: MIT
 * The sound of the films of a folder: <name>.wav beside a film, else the film's own track. Tier 6.
 *
 * A track is read whole, at 48,000 samples a second and as one channel, which is the mean of its channels. Those heard last are
 * kept, as far as they fit (folder_sound.c says how many), so that pieces of one film do not read it again and again. Any
 * thread. */
#ifndef MGI_DATA_FOLDER_SOUND_H
#define MGI_DATA_FOLDER_SOUND_H

#include "data/dataset.h"

/* What a film that may have a track of its own is: any but .y4m. */
bool mgi_folder_has_track(const char *film);

/* Room for what is kept, and its end. */
mgen_status mgi_folder_sounds_create(mgen_context *ctx, uint64_t films,
                                     struct mgi_folder_sounds **out);
void mgi_folder_sounds_destroy(struct mgi_heap *heap,
                               struct mgi_folder_sounds *sounds); /* NULL is fine */

/* Samples of film `index`, and `count` of them from `first` on, silence behind the end. INVALID, with the film's name, if it
 * has no sound; what reading a track answers. */
mgen_status mgi_folder_sound_length(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                    int64_t *length);
mgen_status mgi_folder_hear(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                            int64_t count, float *samples);

/* <name>.sound.txt as it is; else the form that audio models are told, with the film's caption, cut where it is too long for
 * it, as the description. */
void mgi_folder_sound_caption(const mgi_dataset *ds, uint64_t index,
                              char caption[MGI_CAPTION_SIZE]);

#endif
