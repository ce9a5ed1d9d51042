/* SPDX-License-Identifier: MIT
 * Values that cost much to make, kept in the folder of a cache: matrices of f32 in a file whose name says what they are of, and
 * whose metadata has their hash. Tier 7.
 *
 * All of it is told in a context of its own, so that what cannot be read or written costs time, and a line in the log. */
#ifndef MGI_TRAIN_KEPT_H
#define MGI_TRAIN_KEPT_H

#include "io/safetensors.h"

enum { MGI_KEPT_PARTS_MAX = 3 };

/* Of the file. Parts have their names and dims; dims[0] -1: as many rows as there are, which it receives. found[i]: the matrix of
 * part i. CORRUPT if it is not such a file, whole and undamaged: `what` (plural) names what it should have. */
mgen_status mgi_kept_open(mgen_context *ctx, const char *path, const char *what,
                          mgi_st_source *parts, int count, mgi_st_file *file,
                          const mgi_st_entry *found[MGI_KEPT_PARTS_MAX]);
/* `dir` is made if it is missing; format: in the metadata; read: NULL, or what the parts' data is read by, twice. */
mgen_status mgi_kept_write(mgen_context *ctx, const char *dir, const char *path, const char *format,
                           const mgi_st_source *parts, int count, mgi_st_reader *read);
/* Of what is made by `ranks`, of which this is `rank`: of the file that is kept, and of this rank's rows (row_file.h) until then. */
mgen_status mgi_kept_paths(mgen_context *ctx, const char *dir, const char *kind, uint64_t key,
                           int rank, int ranks, char path[MGI_PATH_MAX + 1],
                           char rows[MGI_PATH_MAX + 1]);
/* Removes rows of what has been kept, of any number of ranks, that nobody has: `rows` is one's path. */
void mgi_kept_discard_rows(mgen_context *ctx, const char *dir, const char *rows);
/* Whether they are there, by what reading them in the context `cache` answered; anything but that they are not is told in `ctx`. */
bool mgi_kept_there(mgen_context *ctx, const mgen_context *cache, mgen_status status);

#endif
