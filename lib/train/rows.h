/* SPDX-License-Identifier: MIT
 * Room for rows of f32, more than memory holds if need be: in memory, in a scratch file, or in a file that grows. Tier 7. */
#ifndef MGI_TRAIN_ROWS_H
#define MGI_TRAIN_ROWS_H

#include "io/scratch.h"
#include "train/row_file.h"

typedef struct mgi_rows {
    int64_t size;         /* values of a row */
    float *values;        /* in memory, */
    mgi_scratch *scratch; /* or here, */
    mgi_row_file file;    /* or here, if it is open: who made this may open it */
} mgi_rows;

/* For `count` rows, with any values: of `scratch_from` bytes or more in a scratch file in `dir`, which is made if it is missing; NULL:
 * in memory, as where that fails, which is told in the log. */
mgen_status mgi_rows_make(mgen_context *ctx, const char *dir, uint64_t scratch_from, int64_t count,
                          int64_t size, mgi_rows *out);
/* n rows from row i on; those of a file come one after the other. NO_SPACE, IO. */
mgen_status mgi_rows_put(mgen_context *ctx, mgi_rows *rows, int64_t i, const float *values,
                         int64_t n);
/* n values of row i, from its value `at` on. IO. Any thread, with a context of its own. */
mgen_status mgi_rows_read(mgen_context *ctx, const mgi_rows *rows, int64_t i, int64_t at,
                          float *out, int64_t n);
/* A file that grows stays. Twice is nothing. */
void mgi_rows_free(mgen_context *ctx, mgi_rows *rows);

#endif
