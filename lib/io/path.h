/* SPDX-License-Identifier: MIT
 * The only place that opens files; what reads them is in read.h. Tier 1.
 *
 * Model folders are data from outside: names inside them are single components, links are refused,
 * and what is opened is checked to be a regular file after opening.
 */
#ifndef MGI_IO_PATH_H
#define MGI_IO_PATH_H

#include "io/read.h"

#define MGI_PATH_MAX (4096) /* bytes of a path that the host gives */
#define MGI_NAME_MAX (255)  /* bytes of a name inside a model folder */

/* One component of [A-Za-z0-9._-], not starting with '.'. */
bool mgi_name_ok(const char *name);
/* Which files those are that these names open now; another number when a save has replaced one. What is opened between two
 * calls that answer the same is what stood there at one moment, of one save. */
uint64_t mgi_files_stamp(const char *dir, const char *const *names, int count);
#define MGI_READ_TRIES 20 /* how often one begins again because of a save */
/* Whether reading may have ended so because of a save. */
static inline bool mgi_may_be_replaced(mgen_status status)
{
    return status != MGEN_E_NO_MEMORY && status != MGEN_E_LIMIT && status != MGEN_E_CANCELLED;
}
/* Joins the two; `name` must be such a component and a folder, not a link to one. NOT_FOUND, IO, CORRUPT. */
mgen_status mgi_folder_in(mgen_context *ctx, const char *dir, const char *name, char *out,
                          size_t out_size);

/* Writing: into "<path>.tmp.<pid>", flushed, renamed, folder flushed. A path that is a link is
 * written where it leads; one that is a device or a folder is INVALID. A failed write closes and
 * removes the file, and commit then fails. If only the last flush, of the folder, fails, commit
 * reports it although the new file has its name already. */
typedef struct mgi_writer {
    mgen_context *ctx;
    int fd;
    char path[MGI_PATH_MAX + 1], temp[MGI_PATH_MAX + 64];
    uint64_t written;
} mgi_writer;
mgen_status mgi_writer_open(mgen_context *ctx, const char *path, mgi_writer *out);
mgen_status mgi_writer_write(mgi_writer *w, const void *data,
                             size_t size);    /* EINTR, short writes */
mgen_status mgi_writer_commit(mgi_writer *w); /* NO_SPACE, IO; on failure nothing is published */
void mgi_writer_abort(mgi_writer *w);         /* after commit or abort: nothing */

/* A file that grows while others may not write it: what is in it stays, mgi_writer_write() adds to its end, at once and under its own
 * name, and it may be torn there after a crash. out->written: its bytes. INVALID if it is a link or no regular file, STATE if another
 * process or context has it, NOT_FOUND, NO_SPACE, IO, also where a file system has no locks. */
mgen_status mgi_writer_append(mgen_context *ctx, const char *path, mgi_writer *out);
/* Bytes of such a file, which stay there for who has it although its name be removed. Any thread, with a context of its own. IO. */
mgen_status mgi_writer_read(mgen_context *ctx, const mgi_writer *w, uint64_t at, void *out,
                            size_t size);
mgen_status mgi_writer_cut(mgi_writer *w, uint64_t size); /* of such a file, to its first bytes */
void mgi_writer_leave(mgi_writer *w, bool remove);        /* twice is nothing */
void mgi_writer_discard(
    const char *path); /* of such a file, unless another process or context has it */

mgen_status mgi_dir_make(mgen_context *ctx,
                         const char *path); /* existing is fine; parents not made */
mgen_status mgi_path_join(mgen_context *ctx, const char *dir, const char *name, char *out,
                          size_t out_size);

/* Files of a folder that are published together. They are written into `staging`, a folder inside of `dir`; renaming
 * that to ".save" is the moment when they replace what was there: from then on mgi_file_open_in finds them, there or, one
 * after the other, moved to their places. After a crash at any point all of them are the new ones or none is; what it
 * left is finished, or removed, by the next save. Names are those that mgi_name_ok allows. */
typedef struct mgi_save {
    mgen_context *ctx;
    int folder; /* descriptor of staging, locked: nobody else removes it */
    char dir[MGI_PATH_MAX + 1];
    char staging[MGI_PATH_MAX + 64];
} mgi_save;
/* Makes `dir` if it is missing. */
mgen_status mgi_save_begin(mgen_context *ctx, const char *dir, mgi_save *out);
/* `status`: how writing went; if not well, nothing is published. Once for each that began; returns the first failure. */
mgen_status mgi_save_end(mgi_save *save, mgen_status status);

/* Remove temporary files of `path` that processes left which were killed while they wrote it. What cannot be removed
 * stays. */
void mgi_path_tidy(mgen_context *ctx, const char *path);

/* Whether a process is writing this temporary file of mgi_writer_open. */
bool mgi_path_locked(const char *temp);

/* Whether the host's own path leads to a folder. */
bool mgi_dir_is(const char *path);

/* The regular files of a folder of the host's own, by name in the order of their bytes; links are followed,
 * names that begin with a dot are left out. NOT_FOUND, IO, INVALID (no folder, or more than so many). */
#define MGI_DIR_FILES_MAX 1000000
typedef struct mgi_dir_file {
    char *name;
    uint64_t size;   /* bytes */
    int64_t changed; /* nanoseconds since 1970 */
} mgi_dir_file;
mgen_status mgi_dir_list(mgen_context *ctx, const char *path, mgi_dir_file **out, int64_t *count);
void mgi_dir_free(mgen_context *ctx, mgi_dir_file *files, int64_t count);

/* For encoders that write files themselves: the temporary name first, then publish or discard. The
 * first makes an empty file to reserve the name; publish discards it on failure. */
mgen_status mgi_path_temp(mgen_context *ctx, const char *path, char *out, size_t out_size);
mgen_status mgi_path_publish(mgen_context *ctx, const char *temp, const char *path);
void mgi_path_discard(const char *temp);

#endif
