/* SPDX-License-Identifier: MIT
 * The part of a dataset that is a folder of films. Tier 6. */
#ifndef MGI_DATA_FOLDER_H
#define MGI_DATA_FOLDER_H

#include "data/dataset.h"

/* List the films and what is beside them, read the captions; fills dir, films, count, identity and what is for sound. */
mgen_status mgi_folder_open(mgen_context *ctx, mgi_dataset *ds, const char *dir);
/* Frames first .. first + frames - 1 of a film, scaled. */
mgen_status mgi_folder_read(mgen_context *ctx, const mgi_dataset *ds, uint64_t index, int64_t first,
                            int64_t frames, uint8_t *pixels);
/* What of it is seen at the middles of the first `frames` times of 1/fps seconds: of a film of another rate, frames are left
 * out or come again. */
mgen_status mgi_folder_watch(mgen_context *ctx, const mgi_dataset *ds, uint64_t index, double fps,
                             int64_t frames, uint8_t *pixels);

#endif
