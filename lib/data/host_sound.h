/* SPDX-License-Identifier: MIT
 * Samples that the host reads, heard and seen in step. Tier 6.
 *
 * A sample's sound comes with its pictures: its callback fills in both. */
#ifndef MGI_DATA_HOST_SOUND_H
#define MGI_DATA_HOST_SOUND_H

#include "data/kept_sounds.h"

/* INVALID for a sound that is longer than any use takes. 0: there is none. */
mgen_status mgi_host_sound_check_length(mgen_context *ctx, uint64_t samples);

/* Silence that the callback is to fill in, if samples have a sound; and whether what it filled in is one. */
mgen_status mgi_host_sound_offer(mgen_context *ctx, const mgi_dataset *ds, mgi_host_sound *sound,
                                 mgen_sample *sample);
mgen_status mgi_host_sound_check(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                                 const mgi_host_sound *sound);

/* The sound of sample `index` and what is told of it (kept_sounds.h). */
mgen_status mgi_host_read_sound(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                mgi_read_sound *out);

/* INVALID if samples end before what is seen in the first `frames` times of 1/fps seconds. */
mgen_status mgi_host_check_seen(mgen_context *ctx, const mgi_dataset *ds, double fps,
                                int64_t frames);
/* As mgi_folder_watch(), by the dataset's rate. */
mgen_status mgi_host_watch(mgen_context *ctx, mgi_dataset *ds, uint64_t index, double fps,
                           int64_t frames, uint8_t *pixels);

#endif
