/* SPDX-License-Identifier: MIT
 * Samples of a dataset that are edits: a clip, what it is to become, and the instruction. Tier 6.
 *
 * Films of a folder are what data/folder_edits.h says: the film after an edit and its instruction lie beside them. What the host
 * reads is so where it says it. The world's edits are drawn (data/world_edit.h). */
#ifndef MGI_DATA_DATASET_EDITS_H
#define MGI_DATA_DATASET_EDITS_H

#include "data/dataset.h"
#include "text/edit_task.h"

/* Whether its samples are edits; of a folder, whether one of its films is meant to be. Not the world's. */
bool mgi_dataset_has_edits(const mgi_dataset *ds);
/* Of a dataset that has edits: INVALID, with the film's name and the file's that is missing, if a sample is none. `captions`:
 * also if one has no caption. Or if the film after an edit is too short, as mgi_dataset_check_frames() says it of the one before.
 * What the host's are is known when they are read. */
mgen_status mgi_dataset_check_edits(mgen_context *ctx, const mgi_dataset *ds, bool captions);
/* The same, whatever the lengths. */
mgen_status mgi_dataset_check_edits_there(mgen_context *ctx, const mgi_dataset *ds, bool captions);
/* Of a dataset that has edits: whether its clips before edits have captions, all of a folder, or the first of a host, which is
 * read. */
mgen_status mgi_dataset_edits_told(mgen_context *ctx, mgi_dataset *ds, bool *told);

/* What is said of a sample. */
typedef struct mgi_edit_words {
    char caption[MGI_CAPTION_SIZE]; /* of the clip before; "": none */
    char instruction[MGI_CAPTION_SIZE];
    int32_t task; /* MGI_EDIT_* */
} mgi_edit_words;

/* Frames first .. first + frames - 1 of sample `index`, before and after (which may be NULL) the edit, and its words. INVALID
 * if there is none, or if it is no edit. Held-out pieces are samples, too (mgi_dataset_held_first). */
mgen_status mgi_dataset_edit(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                             int64_t frames, uint8_t *before, uint8_t *after,
                             mgi_edit_words *words);
/* Its words alone; of the host's samples they are not known without reading them: INVALID. */
mgen_status mgi_dataset_edit_words(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                                   mgi_edit_words *words);

/* For mgi_dataset_ask_host(): room for an edit, if samples are edits, offered to the callback; and whether what that has made
 * of it is one. */
mgen_status mgi_host_edit_offer(mgen_context *ctx, const mgi_dataset *ds, mgi_host_edit *edit,
                                mgen_sample *sample);
mgen_status mgi_host_edit_check(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                                const mgen_sample *sample, mgi_host_edit *edit);

#endif
