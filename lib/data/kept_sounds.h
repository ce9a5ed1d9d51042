/* SPDX-License-Identifier: MIT
 * Sounds of a dataset's samples that were heard last. Tier 6.
 *
 * A sound is read whole. Those heard last are kept, as far as they fit (kept_sounds.c says how many), so that pieces of one
 * sample do not read it again and again. Any thread. */
#ifndef MGI_DATA_KEPT_SOUNDS_H
#define MGI_DATA_KEPT_SOUNDS_H

#include "data/dataset.h"

/* In memory of the context that reads it. */
typedef struct mgi_read_sound {
    float *samples; /* at 48,000 a second, one channel */
    int64_t count;
    char *caption; /* what is told of it, where that is known only when it is read; else NULL */
} mgi_read_sound;

/* Reads the sound of sample `index`. */
typedef mgen_status mgi_sound_reader(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                     mgi_read_sound *out);

/* Room for what is kept of a dataset of so many samples, and its end. */
mgen_status mgi_kept_sounds_create(mgen_context *ctx, uint64_t samples, mgi_sound_reader *read,
                                   struct mgi_kept_sounds **out);
void mgi_kept_sounds_destroy(struct mgi_heap *heap,
                             struct mgi_kept_sounds *sounds); /* NULL is fine */

/* Of sample `index` of a dataset that has such room: how many samples its sound has; `count` of them from `first` on, silence
 * behind the end; what its reader said of it, or "". What reading it answers. */
mgen_status mgi_kept_sound_length(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                  int64_t *length);
mgen_status mgi_kept_sound_hear(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                                int64_t count, float *samples);
mgen_status mgi_kept_sound_caption(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                   char caption[MGI_CAPTION_SIZE]);

#endif
