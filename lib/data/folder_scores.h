/* SPDX-License-Identifier: MIT
 * How good films of a folder are: beside a film, <name>.score.txt, a number from -1 to 1. Tier 6. */
#ifndef MGI_DATA_FOLDER_SCORES_H
#define MGI_DATA_FOLDER_SCORES_H

#include "data/dataset.h"
#include "io/path.h"

/* What lies beside a film among these files. CORRUPT: it is no such number. */
mgen_status mgi_folder_take_score(mgen_context *ctx, const char *dir, mgi_dataset_film *film,
                                  const mgi_dir_file *files, int64_t count);
/* Of a sample that there is: 0 if it has none, or the dataset none. */
float mgi_dataset_score(const mgi_dataset *ds, uint64_t index);
/* INVALID unless one of the films to train on has one that is not 0. */
mgen_status mgi_dataset_check_scores(mgen_context *ctx, const mgi_dataset *ds);

#endif
