/* SPDX-License-Identifier: MIT
 * Rows of f32 that cost much to make, kept one by one while they are made: a file that grows. Tier 7.
 *
 * What a process that was ended has made, the next one finds, and goes on from there. Each row has a hash: what is torn, or did not
 * reach the disk before a power cut, and all behind it, is made again. While one process or context has it, others may not. */
#ifndef MGI_TRAIN_ROW_FILE_H
#define MGI_TRAIN_ROW_FILE_H

#include "io/path.h"

typedef struct mgi_row_file {
    mgi_writer file;
    bool open;
    uint64_t key;
    int64_t size, rows; /* values of a row; so many there are */
} mgi_row_file;

/* `dir` is made if it is missing. key: what rows are of; a file of other ones, or of another size, begins anew. out->rows: of at
 * most `most`, which can be read. `own`: a context for failures, such as that another process or context has it, or that a disk is full: they are told
 * in the log of ctx, and out->open is false. NO_MEMORY, LIMIT. `what`: "clips are encoded". */
mgen_status mgi_row_file_open(mgen_context *ctx, mgen_context *own, const char *dir,
                              const char *path, uint64_t key, int64_t size, int64_t most,
                              const char *what, mgi_row_file *out);
/* In the log of ctx: what failed on `own` costs those that have been made if this process is ended. */
void mgi_row_file_warn(mgen_context *ctx, const mgen_context *own, const char *what);
mgen_status mgi_row_file_cut(mgen_context *ctx, mgi_row_file *f, int64_t rows); /* to the first */
/* n rows more. After a failure there are those that there were. */
mgen_status mgi_row_file_add(mgen_context *ctx, mgi_row_file *f, const float *values, int64_t n);
/* n values of row i, from its value `at` on, even if others have removed the file. Any thread, with a context of its own. IO. */
mgen_status mgi_row_file_read(mgen_context *ctx, const mgi_row_file *f, int64_t i, int64_t at,
                              float *out, int64_t n);
void mgi_row_file_close(mgi_row_file *f, bool remove); /* twice is nothing */

#endif
