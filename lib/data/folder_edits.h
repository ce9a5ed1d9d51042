/* SPDX-License-Identifier: MIT
 * Films of a folder as edits: beside a film, <name>.edited and any ending of films, what it is to become, and
 * <name>.edit.txt, the instruction, one line that may begin with the name of a task and a colon. Tier 6. */
#ifndef MGI_DATA_FOLDER_EDITS_H
#define MGI_DATA_FOLDER_EDITS_H

#include "data/dataset_edits.h"
#include "io/path.h"

/* Whether file `name` of these is a film of its own: not one after the edit of another; or, of `pictures`, one that is no photo of
 * who is in a film. */
bool mgi_folder_is_sample(const char *name, bool pictures, const mgi_dir_file *files,
                          int64_t count);
/* What lies beside a film among these files, into `film` and the hash. CORRUPT: the instruction is none; INVALID: there are
 * two films after its edit. */
mgen_status mgi_folder_take_edit(mgen_context *ctx, const char *dir, mgi_dataset_film *film,
                                 const mgi_dir_file *files, int64_t count, uint64_t *hash);
/* Whether any film is meant to be an edit: something of it is there. */
bool mgi_folder_has_edits(const mgi_dataset *ds);
/* INVALID unless all are edits and, if `captions`, have one: the first film that is not, and its file that is missing. */
mgen_status mgi_folder_check_edits(mgen_context *ctx, const mgi_dataset *ds, bool captions);
/* As the calls of dataset_edits.h, of a sample that there is. Both films are cut at the same frames and scaled alike: INVALID if
 * their rates or the relations of their sides are others. */
mgen_status mgi_folder_read_edit(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                                 int64_t first, int64_t frames, uint8_t *before, uint8_t *after);
mgen_status mgi_folder_edit_words(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                                  mgi_edit_words *words);

#endif
