/* SPDX-License-Identifier: MIT
 * Reading files, which path.c opens. Tier 1.
 *
 * None is mapped: a file may become shorter at any time, and what is mapped behind its new end would end the process, while a read
 * fails: IO, "'FILE' became shorter while it was read". */
#ifndef MGI_IO_READ_H
#define MGI_IO_READ_H

#include "core/context.h"

#define MGI_FILE_MAX  ((uint64_t)1 << 46) /* bytes of a file */
#define MGI_WHOLE_MAX ((uint64_t)1 << 27) /* of one that is read at once, */
#define MGI_LARGE_MAX ((uint64_t)1 << 32) /* and of a large one */

/* A whole file in memory: for what is small, or is taken apart in one go. */
typedef struct mgi_file {
    const uint8_t *data;
    size_t size;
} mgi_file;

/* The host's own path: links are followed as the host meant. NOT_FOUND, IO, INVALID (no regular
 * file, or too large a one), NO_MEMORY, LIMIT. */
mgen_status mgi_file_open(mgen_context *ctx, const char *path, mgi_file *out);
/* The same of a picture, or of a list that the host has reason to make long. */
mgen_status mgi_file_open_large(mgen_context *ctx, const char *path, mgi_file *out);
/* `name` inside folder `dir`: as mgi_name_ok() has it, and no link;
 * CORRUPT if it is otherwise, because names come from files. Hard links are fine. */
mgen_status mgi_file_open_in(mgen_context *ctx, const char *dir, const char *name, mgi_file *out);
void mgi_file_close(mgen_context *ctx, mgi_file *file); /* twice is nothing */
/* Of a file that can be opened so, its bytes; needs no memory. */
mgen_status mgi_file_size(mgen_context *ctx, const char *dir, const char *name, uint64_t *size);

/* A file that stays open, to be read where its bytes are needed; it takes a descriptor and no memory. Several threads may read. What
 * replaces it under its name meanwhile is not seen. */
typedef struct mgi_reader mgi_reader;
/* `dir` NULL: `name` is the host's own path. *out is NULL after a failure. */
mgen_status mgi_reader_open(mgen_context *ctx, const char *dir, const char *name, mgi_reader **out);
uint64_t mgi_reader_size(const mgi_reader *r); /* when it was opened */
/* `size` bytes from byte `at` on, which it must have had. IO. */
mgen_status mgi_reader_read(mgen_context *ctx, const mgi_reader *r, uint64_t at, void *out,
                            size_t size);
/* mgi_hash_large() of all of it. */
mgen_status mgi_reader_hash(mgen_context *ctx, const mgi_reader *r, uint64_t seed, uint64_t *hash);
/* Gives its descriptor back: from then on each read opens the file anew, and is IO if there is another one, or none, or this one was
 * changed. Of many files that are read together all but MGI_READERS_OPEN should rest: descriptors are the host's. */
void mgi_reader_rest(mgi_reader *r);
#define MGI_READERS_OPEN 64
void mgi_reader_close(mgen_context *ctx, mgi_reader *r); /* NULL is fine */

#endif
