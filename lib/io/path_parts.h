/* SPDX-License-Identifier: MIT
 * What path.c does for its neighbours in this folder. Tier 1. */
#ifndef MGI_IO_PATH_PARTS_H
#define MGI_IO_PATH_PARTS_H

#include "io/path.h"

#define MGI_CHUNK_MAX ((size_t)1 << 30) /* bytes a system call is asked to move */

/* By errno: "cannot WHAT 'PATH': why", and what helps. Leaves errno alone. */
mgen_status mgi_path_fail(mgen_context *ctx, const char *what, const char *path);
/* A regular file, open to be read. */
typedef struct mgi_opened {
    int fd; /* the caller closes it; -1 after a failure */
    uint64_t size;
    uint64_t is[5]; /* which file it is, and of when: device, inode, size, seconds, nanoseconds */
    char path[MGI_PATH_MAX + MGI_NAME_MAX + 2]; /* what messages call it */
} mgi_opened;
/* As mgi_file_open() and mgi_file_open_in(). */
mgen_status mgi_path_open(mgen_context *ctx, const char *path, mgi_opened *out);
mgen_status mgi_path_open_in(mgen_context *ctx, const char *dir, const char *name, mgi_opened *out);
/* A file without a name, of `size` bytes that the disk has room for; the caller closes it. */
mgen_status mgi_path_scratch(mgen_context *ctx, const char *dir, uint64_t size, int *out);
/* `size` bytes from byte `at` on, whatever calls that takes. IO; `path`: for the message. */
mgen_status mgi_path_read_at(mgen_context *ctx, int fd, const char *path, uint64_t at, void *out,
                             size_t size);
/* The host's own folder, to be listed; the caller closes it. NOT_FOUND, IO, INVALID. */
mgen_status mgi_dir_open(mgen_context *ctx, const char *path, int *out);

#endif
