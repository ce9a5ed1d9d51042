/* SPDX-License-Identifier: MIT
 * The only place that opens files. */
#include "io/path.h"

#include "core/hash.h"
#include "io/path_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMP_MAX 100         /* left-over temporary files of one name that we step over */
#define SAVED    ".save"     /* in a folder: files that replace those of the folder */
#define STAGING  ".save.tmp" /* and what is to become that */

/* Record what failed on which path, why, and what helps. Leaves errno alone. */
mgen_status mgi_path_fail(mgen_context *ctx, const char *what, const char *path)
{
    int error = errno;
    mgen_status code = MGEN_E_IO;
    const char *help = "";
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        code = MGEN_E_NOT_FOUND;
        break;
    case ENOSPC:
        code = MGEN_E_NO_SPACE;
        help = "; free some space or choose another folder";
        break;
    case EDQUOT:
        code = MGEN_E_NO_SPACE;
        help = "; the user's quota is used up";
        break;
    case EFBIG:
        code = MGEN_E_NO_SPACE;
        help = "; the process or the file system limits the size of files";
        break;
    case ENOMEM:
        code = MGEN_E_NO_MEMORY;
        break;
    case ENAMETOOLONG:
    case ELOOP:
        code = MGEN_E_INVALID;
        break;
    case EACCES:
    case EPERM:
    case EROFS:
        help = "; check the permissions of the file and its folder";
        break;
    case EMFILE:
    case ENFILE:
        help = "; too many files are open";
        break;
    default:
        break;
    }
    char text[128];
    mgi_fail(ctx, code, "cannot %s '%s': %s%s", what, path,
             mgi_errno_text(error, text, sizeof(text)), help);
    errno = error;
    return code;
}

static mgen_status check_path(mgen_context *ctx, const char *path)
{
    if (!path || !*path)
        return mgi_fail(ctx, MGEN_E_INVALID, "the path is %s", path ? "empty" : "NULL");
    if (strnlen(path, MGI_PATH_MAX + 1) > MGI_PATH_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "the path '%.40s...' is longer than %d bytes", path,
                        MGI_PATH_MAX);
    return MGEN_OK;
}

static int open_retry(int folder, const char *path, int flags, mode_t mode)
{
    int fd;
    do
        fd = openat(folder, path, flags | O_CLOEXEC | O_NOCTTY, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static mgen_status not_regular(mgen_context *ctx, mgen_status code, const char *path, mode_t mode)
{
    const char *kind = S_ISDIR(mode)    ? "a folder"
                       : S_ISLNK(mode)  ? "a symbolic link"
                       : S_ISFIFO(mode) ? "a named pipe"
                       : S_ISSOCK(mode) ? "a socket"
                                        : "a device";
    return mgi_fail(ctx, code, "'%s' is %s, not a regular file", path, kind);
}

/* ---- to be read ------------------------------------------------------------------------------- */

/* Which file it is, and of when. */
static void tell_apart(const struct stat *st, uint64_t is[5])
{
    const uint64_t file[5] = {(uint64_t)st->st_dev, (uint64_t)st->st_ino, (uint64_t)st->st_size,
                              (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec};
    memcpy(is, file, sizeof(file));
}

/* Take over fd. `refusal` is the status for what is not a regular file of a sane size. */
static mgen_status take_file(mgen_context *ctx, int fd, mgen_status refusal, mgi_opened *out)
{
    mgen_status status = MGEN_OK;
    struct stat st;
    if (fstat(fd, &st) != 0)
        status = mgi_path_fail(ctx, "look at", out->path);
    else if (!S_ISREG(st.st_mode))
        status = not_regular(ctx, refusal, out->path, st.st_mode);
    else if (st.st_size < 0 || (uint64_t)st.st_size > MGI_FILE_MAX ||
             (uint64_t)st.st_size > SIZE_MAX / 2)
        status = mgi_fail(ctx, refusal, "'%s' is larger than %" PRIu64 " bytes", out->path,
                          (uint64_t)MGI_FILE_MAX);
    if (status != MGEN_OK) {
        close(fd);
        return status;
    }
    out->fd = fd;
    out->size = (uint64_t)st.st_size;
    tell_apart(&st, out->is);
    return MGEN_OK;
}

mgen_status mgi_path_open(mgen_context *ctx, const char *path, mgi_opened *out)
{
    out->fd = -1;
    MGI_TRY(check_path(ctx, path));
    memcpy(out->path, path, strlen(path) + 1);
    /* O_NONBLOCK: a named pipe opens at once and is then refused. */
    int fd = open_retry(AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0 && errno == ENXIO)
        return not_regular(ctx, MGEN_E_INVALID, path, S_IFSOCK);
    if (fd < 0)
        return mgi_path_fail(ctx, "open", path);
    return take_file(ctx, fd, MGEN_E_INVALID, out);
}

bool mgi_name_ok(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "._-";
    return name[0] && name[0] != '.' && !name[strspn(name, allowed)];
}

static mgen_status check_name(mgen_context *ctx, const char *dir, const char *name)
{
    if (!name || !*name)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "an empty file name inside '%s'", dir);
    size_t length = strnlen(name, MGI_NAME_MAX + 1);
    if (length > MGI_NAME_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "the file name '%.40s...' inside '%s' is longer than %d bytes", name, dir,
                        MGI_NAME_MAX);
    if (!mgi_name_ok(name))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "the file name '%s' inside '%s' is not allowed: letters, digits and . _ - "
                        "only, not starting with a dot",
                        name, dir);
    return MGEN_OK;
}

/* A file that was saved but not yet moved to its place goes before the one in its place. */
static int open_saved(int folder, const char *name)
{
    const int flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW;
    int saved = open_retry(folder, SAVED, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (saved >= 0) {
        int fd = open_retry(saved, name, flags, 0), error = errno;
        close(saved);
        errno = error;
        if (fd >= 0 || error != ENOENT)
            return fd;
    }
    return open_retry(folder, name, flags, 0);
}

mgen_status mgi_path_open_in(mgen_context *ctx, const char *dir, const char *name, mgi_opened *out)
{
    out->fd = -1;
    MGI_TRY(check_path(ctx, dir));
    MGI_TRY(check_name(ctx, dir, name));
    /* for messages: the name is opened in the folder */
    MGI_TRY(mgi_path_join(ctx, dir, name, out->path, sizeof(out->path)));

    int folder = open_retry(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
    if (folder < 0)
        return mgi_path_fail(ctx, "open the folder", dir);
    int fd = open_saved(folder, name);
    int error = errno;
    close(folder);
    if (fd >= 0)
        return take_file(ctx, fd, MGEN_E_CORRUPT, out);
    if (error == ELOOP || error == ENXIO)
        return not_regular(ctx, MGEN_E_CORRUPT, out->path, error == ELOOP ? S_IFLNK : S_IFSOCK);
    errno = error;
    return mgi_path_fail(ctx, "open", out->path);
}

uint64_t mgi_files_stamp(const char *dir, const char *const *names, int count)
{
    uint64_t hash = 0;
    int folder = open_retry(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
    for (int i = 0; folder >= 0 && i < count; i++) {
        struct stat st;
        int fd = open_saved(folder, names[i]);
        uint64_t is[5] = {0};
        if (fd >= 0 && fstat(fd, &st) == 0)
            tell_apart(&st, is);
        if (fd >= 0)
            close(fd);
        hash = mgi_hash64(is, sizeof(is), hash);
    }
    if (folder >= 0)
        close(folder);
    return hash;
}

mgen_status mgi_folder_in(mgen_context *ctx, const char *dir, const char *name, char *out,
                          size_t out_size)
{
    struct stat st;
    MGI_TRY(check_path(ctx, dir));
    MGI_TRY(check_name(ctx, dir, name));
    MGI_TRY(mgi_path_join(ctx, dir, name, out, out_size));
    if (lstat(out, &st) != 0)
        return mgi_path_fail(ctx, "open the folder", out);
    return S_ISDIR(st.st_mode) ? MGEN_OK
                               : mgi_fail(ctx, MGEN_E_CORRUPT, "'%s' is %s, not a folder", out,
                                          S_ISLNK(st.st_mode) ? "a symbolic link" : "a file");
}

/* ---- scratch ---------------------------------------------------------------------------------- */

mgen_status mgi_path_scratch(mgen_context *ctx, const char *dir, uint64_t size, int *out)
{
    char path[MGI_PATH_MAX + 64];
    MGI_TRY(check_path(ctx, dir));
    snprintf(path, sizeof(path), "%s/.scratch.XXXXXX", dir);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return mgi_path_fail(ctx, "make a scratch file in", dir);
    unlink(path);
    while ((errno = posix_fallocate(fd, 0, (off_t)size)) == EINTR)
        ;
    if (errno) {
        const mgen_status status = mgi_path_fail(ctx, "make room for a scratch file in", dir);
        close(fd);
        return status;
    }
    *out = fd;
    return MGEN_OK;
}

/* ---- writing ---------------------------------------------------------------------------------- */

/* Where a file written to `path` ends up: behind a link, and never in place of a device or folder,
 * which renaming over it would replace. */
static mgen_status resolve_target(mgen_context *ctx, const char *path, char out[MGI_PATH_MAX + 1])
{
    _Static_assert(MGI_PATH_MAX + 1 >= PATH_MAX, "realpath() writes up to PATH_MAX bytes");
    MGI_TRY(check_path(ctx, path));
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
        if (!realpath(path, out))
            return mgi_path_fail(ctx, "follow the link", path);
    } else
        memcpy(out, path, strlen(path) + 1);
    if (lstat(out, &st) != 0)
        return errno == ENOENT ? MGEN_OK : mgi_path_fail(ctx, "write", path);
    return S_ISREG(st.st_mode) ? MGEN_OK : not_regular(ctx, MGEN_E_INVALID, path, st.st_mode);
}

/* Hold what was just made: a lock, which ends with the process, tells others that it is in use. Where a file system has
 * no locks, nothing is ever tidied away. False if somebody removed it in between. */
static bool keep(int fd)
{
    struct stat st;
    int failed;
    do
        failed = flock(fd, LOCK_EX);
    while (failed && errno == EINTR);
    return fstat(fd, &st) != 0 || st.st_nlink > 0;
}

/* Make a file of our own beside `path`, which must be resolved, and open it. */
static mgen_status create_temp(mgen_context *ctx, const char *path, char *temp, size_t size,
                               int *out)
{
    for (int i = 0; i < TEMP_MAX; i++) {
        char tail[48];
        if (i == 0)
            snprintf(tail, sizeof(tail), ".tmp.%ld", (long)getpid());
        else
            snprintf(tail, sizeof(tail), ".tmp.%ld.%d", (long)getpid(), i);
        int length = snprintf(temp, size, "%s%s", path, tail);
        if (length < 0 || (size_t)length >= size)
            return mgi_fail(ctx, MGEN_E_INVALID, "the path '%.40s...' is too long", path);
        *out = open_retry(AT_FDCWD, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0666);
        if (*out >= 0 && keep(*out))
            return MGEN_OK;
        if (*out >= 0) { /* tidied away before it was locked */
            close(*out);
            continue;
        }
        if (errno == ENOENT)
            return mgi_fail(ctx, MGEN_E_NOT_FOUND,
                            "cannot write '%s': its folder does not exist; make it first", path);
        if (errno != EEXIST)
            return mgi_path_fail(ctx, "write", path);
    }
    return mgi_fail(ctx, MGEN_E_IO, "cannot write '%s': remove the old files '%s.tmp.*'", path,
                    path);
}

/* False if what was written may not last through a power cut. */
static bool flush(int fd)
{
    int failed;
    do
        failed = fsync(fd);
    while (failed && errno == EINTR);
    return !failed || errno == EINVAL || errno == ENOTSUP || errno == EROFS;
}

/* Make a rename inside the folder of `path` last through a power cut. */
static mgen_status sync_folder(mgen_context *ctx, const char *path)
{
    char folder[MGI_PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (!slash)
        memcpy(folder, ".", 2);
    else {
        if (length == 0) /* the root folder */
            length = 1;
        memcpy(folder, path, length);
        folder[length] = '\0';
    }
    int fd = open_retry(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) /* a folder may be writable but not readable: then the system decides when */
        return errno == EACCES ? MGEN_OK : mgi_path_fail(ctx, "open the folder", folder);
    mgen_status status = flush(fd) ? MGEN_OK : mgi_path_fail(ctx, "flush the folder", folder);
    close(fd);
    return status;
}

/* Flush and close fd, give the file its name. Removes the temporary file on failure. */
static mgen_status publish(mgen_context *ctx, int fd, const char *temp, const char *path)
{
    mgen_status status = flush(fd) ? MGEN_OK : mgi_path_fail(ctx, "flush", path);
    if (close(fd) != 0 && errno != EINTR && status == MGEN_OK)
        status = mgi_path_fail(ctx, "close", path); /* network file systems report here */
    if (status == MGEN_OK && rename(temp, path) != 0)
        status = mgi_path_fail(ctx, "rename the finished file to", path);
    if (status != MGEN_OK) {
        unlink(temp);
        return status;
    }
    return sync_folder(ctx, path);
}

mgen_status mgi_writer_open(mgen_context *ctx, const char *path, mgi_writer *out)
{
    out->ctx = ctx;
    out->fd = -1;
    out->path[0] = out->temp[0] = '\0';
    out->written = 0;
    MGI_TRY(resolve_target(ctx, path, out->path));
    return create_temp(ctx, out->path, out->temp, sizeof(out->temp), &out->fd);
}

mgen_status mgi_writer_write(mgi_writer *w, const void *data, size_t size)
{
    if (w->fd < 0)
        return mgi_fail(w->ctx, MGEN_E_STATE, "'%s' is not open for writing", w->path);
    const uint8_t *from = data;
    while (size > 0) {
        ssize_t n = write(w->fd, from, size < MGI_CHUNK_MAX ? size : MGI_CHUNK_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = EIO;
            mgen_status status = mgi_path_fail(w->ctx, "write", w->path);
            mgi_writer_abort(w); /* a file with a piece missing must never be published */
            return status;
        }
        from += n;
        size -= (size_t)n;
        w->written += (uint64_t)n;
    }
    return MGEN_OK;
}

mgen_status mgi_writer_commit(mgi_writer *w)
{
    if (w->fd < 0)
        return mgi_fail(w->ctx, MGEN_E_STATE,
                        "'%s' cannot be finished: it is not open, or a write failed", w->path);
    int fd = w->fd;
    w->fd = -1;
    return publish(w->ctx, fd, w->temp, w->path);
}

void mgi_writer_abort(mgi_writer *w)
{
    if (w->fd < 0 || !w->temp[0]) /* finished, or never opened */
        return;
    close(w->fd);
    unlink(w->temp);
    w->fd = -1;
}

mgen_status mgi_path_temp(mgen_context *ctx, const char *path, char *out, size_t out_size)
{
    char target[MGI_PATH_MAX + 1];
    int fd;
    MGI_TRY(resolve_target(ctx, path, target));
    MGI_TRY(create_temp(ctx, target, out, out_size, &fd));
    close(fd);
    return MGEN_OK;
}

mgen_status mgi_path_publish(mgen_context *ctx, const char *temp, const char *path)
{
    char target[MGI_PATH_MAX + 1];
    mgen_status status = resolve_target(ctx, path, target);
    if (status == MGEN_OK) {
        int fd = open_retry(AT_FDCWD, temp, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0);
        if (fd >= 0)
            return publish(ctx, fd, temp, target);
        status = mgi_path_fail(ctx, "open", temp);
    }
    mgi_path_discard(temp);
    return status;
}

void mgi_path_discard(const char *temp)
{
    if (temp && *temp)
        unlink(temp);
}

/* ---- files that grow ---------------------------------------------------------------------------- */

/* *there: nobody has removed it before it was locked; *size: its bytes. */
static mgen_status take_alone(mgen_context *ctx, int fd, const char *path, bool *there,
                              uint64_t *size)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return mgi_path_fail(ctx, "look at", path);
    if (!S_ISREG(st.st_mode))
        return not_regular(ctx, MGEN_E_INVALID, path, st.st_mode);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        const int error = errno;
        char text[128];
        if (error == EWOULDBLOCK)
            return mgi_fail(ctx, MGEN_E_STATE, "'%s' is in use by another process or context",
                            path);
        if (st.st_size == 0) /* as it was just made */
            unlink(path);
        return mgi_fail(ctx, MGEN_E_IO,
                        "cannot lock '%s', so that no other process writes it, too: %s; choose a "
                        "folder of another file system",
                        path, mgi_errno_text(error, text, sizeof(text)));
    }
    *there = fstat(fd, &st) == 0 && st.st_nlink > 0;
    *size = (uint64_t)st.st_size;
    return MGEN_OK;
}

mgen_status mgi_writer_append(mgen_context *ctx, const char *path, mgi_writer *out)
{
    *out = (mgi_writer){.ctx = ctx, .fd = -1};
    MGI_TRY(check_path(ctx, path));
    snprintf(out->path, sizeof(out->path), "%s", path);
    for (int i = 0; i < TEMP_MAX; i++) {
        const int flags = O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK | O_NOFOLLOW;
        int fd = open_retry(AT_FDCWD, path, flags, 0666);
        bool there = false;
        if (fd < 0 && (errno == ELOOP || errno == ENXIO))
            return not_regular(ctx, MGEN_E_INVALID, path, errno == ELOOP ? S_IFLNK : S_IFIFO);
        if (fd < 0)
            return mgi_path_fail(ctx, "write", path);
        mgen_status status = take_alone(ctx, fd, path, &there, &out->written);
        if (there) {
            out->fd = fd;
            return MGEN_OK;
        }
        close(fd);
        MGI_TRY(status);
    }
    return mgi_fail(ctx, MGEN_E_IO, "'%s' vanishes each time that it is made", path);
}

mgen_status mgi_writer_cut(mgi_writer *w, uint64_t size)
{
    int failed;
    do
        failed = ftruncate(w->fd, (off_t)size);
    while (failed && errno == EINTR);
    if (failed)
        return mgi_path_fail(w->ctx, "shorten", w->path);
    w->written = size;
    return MGEN_OK;
}

mgen_status mgi_writer_read(mgen_context *ctx, const mgi_writer *w, uint64_t at, void *out,
                            size_t size)
{
    return mgi_path_read_at(ctx, w->fd, w->path, at, out, size);
}

void mgi_writer_leave(mgi_writer *w, bool remove)
{
    if (w->fd < 0)
        return;
    if (remove)
        unlink(w->path); /* while it is locked: nobody else has begun to use it */
    close(w->fd);
    w->fd = -1;
}

void mgi_writer_discard(const char *path)
{
    int fd = open_retry(AT_FDCWD, path, O_RDWR | O_NONBLOCK | O_NOFOLLOW, 0);
    if (fd < 0)
        return;
    struct stat st;
    const bool free = flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
    if (free && fstat(fd, &st) == 0 && st.st_nlink > 0) /* it is the one of that name still */
        unlink(path);
    close(fd);
}

/* ---- files published together ----------------------------------------------------------------- */

static DIR *open_list(int folder, const char *name)
{
    int fd = open_retry(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && !list)
        close(fd);
    return list;
}

/* The next entry but "." and ".."; NULL at the end. */
static const char *next_name(DIR *list)
{
    const struct dirent *entry;
    while ((entry = readdir(list)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return entry->d_name;
    return NULL;
}

static mgen_status move_all(mgen_context *ctx, int folder, DIR *saved, const char *path)
{
    const char *name;
    bool moved;
    do { /* a folder that changes while it is listed may leave some out */
        moved = false;
        rewinddir(saved);
        while ((name = next_name(saved))) {
            if (renameat(dirfd(saved), name, folder, name) != 0)
                return mgi_path_fail(ctx, "move a finished file into", path);
            moved = true;
        }
    } while (moved);
    return flush(folder) ? MGEN_OK : mgi_path_fail(ctx, "flush the folder", path);
}

/* Move what was saved to its place, if there is anything; `folder` is locked. */
static mgen_status finish_saved(mgen_context *ctx, int folder, const char *path)
{
    DIR *saved = open_list(folder, SAVED);
    if (!saved && (errno == ENOTDIR || errno == ELOOP))
        return mgi_fail(ctx, MGEN_E_IO, "'" SAVED "' in '%s' is not a folder; remove it", path);
    if (!saved)
        return errno == ENOENT ? MGEN_OK : mgi_path_fail(ctx, "finish what was saved in", path);
    mgen_status status = move_all(ctx, folder, saved, path);
    closedir(saved);
    if (status == MGEN_OK && unlinkat(folder, SAVED, AT_REMOVEDIR) != 0)
        status = mgi_path_fail(ctx, "finish what was saved in", path);
    if (status == MGEN_OK && !flush(folder))
        status = mgi_path_fail(ctx, "flush the folder", path);
    return status;
}

static void remove_staging(int folder, const char *name)
{
    DIR *list = open_list(folder, name);
    const char *inside;
    while (list && (inside = next_name(list)))
        unlinkat(dirfd(list), inside, 0);
    if (list)
        closedir(list);
    unlinkat(folder, name, AT_REMOVEDIR);
}

/* Whether nobody holds the file or folder. */
static bool abandoned(int folder, const char *name)
{
    int fd = open_retry(folder, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0);
    bool free = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (fd >= 0)
        close(fd);
    return free;
}

bool mgi_path_locked(const char *temp)
{
    return !abandoned(AT_FDCWD, temp);
}

/* The folder, locked, with what earlier saves left in it finished or removed. */
static mgen_status open_tidy(mgen_context *ctx, const char *path, int *out)
{
    int folder = open_retry(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (folder < 0)
        return mgi_path_fail(ctx, "open the folder", path);
    keep(folder);
    mgen_status status = finish_saved(ctx, folder, path);
    DIR *list = status == MGEN_OK ? open_list(folder, ".") : NULL;
    const char *name;
    while (list && (name = next_name(list)))
        if (strncmp(name, STAGING, sizeof(STAGING) - 1) == 0 && abandoned(folder, name))
            remove_staging(folder, name);
    if (list)
        closedir(list);
    if (status != MGEN_OK)
        close(folder);
    else
        *out = folder;
    return status;
}

static mgen_status make_staging(mgi_save *s, int folder)
{
    for (int i = 0; i < TEMP_MAX; i++) {
        char name[64];
        snprintf(name, sizeof(name), STAGING ".%ld.%d", (long)getpid(), i);
        MGI_TRY(mgi_path_join(s->ctx, s->dir, name, s->staging, sizeof(s->staging)));
        if (mkdirat(folder, name, 0777) != 0) {
            if (errno == EEXIST)
                continue;
            return mgi_path_fail(s->ctx, "write into the folder", s->dir);
        }
        s->folder = open_retry(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
        if (s->folder < 0)
            return mgi_path_fail(s->ctx, "open the folder", s->staging);
        keep(s->folder);
        return MGEN_OK;
    }
    return mgi_fail(s->ctx, MGEN_E_IO, "cannot write into '%s': remove the old '" STAGING ".*'",
                    s->dir);
}

mgen_status mgi_save_begin(mgen_context *ctx, const char *dir, mgi_save *out)
{
    int folder;
    out->ctx = ctx;
    out->folder = -1;
    MGI_TRY(mgi_dir_make(ctx, dir)); /* checks the path */
    memcpy(out->dir, dir, strlen(dir) + 1);
    MGI_TRY(open_tidy(ctx, dir, &folder));
    mgen_status status = make_staging(out, folder);
    close(folder);
    return status;
}

static mgen_status publish_staging(mgi_save *s)
{
    int folder;
    if (!flush(s->folder))
        return mgi_path_fail(s->ctx, "flush the folder", s->staging);
    MGI_TRY(open_tidy(s->ctx, s->dir, &folder));
    mgen_status status = MGEN_OK;
    if (renameat(AT_FDCWD, s->staging, folder, SAVED) != 0)
        status = mgi_path_fail(s->ctx, "publish", s->staging);
    else if (!flush(folder))
        status = mgi_path_fail(s->ctx, "flush the folder", s->dir);
    else
        status = finish_saved(s->ctx, folder, s->dir);
    close(folder);
    return status;
}

mgen_status mgi_save_end(mgi_save *save, mgen_status status)
{
    if (status == MGEN_OK)
        status = publish_staging(save);
    if (status != MGEN_OK)
        remove_staging(AT_FDCWD, save->staging); /* if it is still there */
    close(save->folder);
    save->folder = -1;
    return status;
}

void mgi_path_tidy(mgen_context *ctx, const char *path)
{
    char target[MGI_PATH_MAX + 1], folder[MGI_PATH_MAX + 1], process[32];
    if (resolve_target(ctx, path, target) != MGEN_OK)
        return; /* writing it will tell */
    const char *slash = strrchr(target, '/'), *name = slash ? slash + 1 : target, *found;
    size_t length = strlen(name);
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - target) + 1 : 1,
             slash ? target : ".");
    DIR *list = open_list(AT_FDCWD, folder);
    while (list && (found = next_name(list))) {
        struct stat st;
        if (strncmp(found, name, length) != 0 || strncmp(found + length, ".tmp.", 5) != 0)
            continue;
        /* Encoders that write files themselves hold no lock. */
        snprintf(process, sizeof(process), "/proc/%.*s",
                 (int)strspn(found + length + 5, "0123456789"), found + length + 5);
        if (stat("/proc/self", &st) == 0 && stat(process, &st) != 0 &&
            abandoned(dirfd(list), found))
            unlinkat(dirfd(list), found, 0);
    }
    if (list)
        closedir(list);
}

/* ---- folders and names ------------------------------------------------------------------------ */

mgen_status mgi_dir_make(mgen_context *ctx, const char *path)
{
    MGI_TRY(check_path(ctx, path));
    if (mkdir(path, 0777) == 0)
        return sync_folder(ctx, path);
    if (errno == ENOENT)
        return mgi_fail(ctx, MGEN_E_NOT_FOUND,
                        "cannot make the folder '%s': make the folder that it is to be in first",
                        path);
    if (errno != EEXIST)
        return mgi_path_fail(ctx, "make the folder", path);
    struct stat st;
    if (stat(path, &st) != 0)
        return mgi_path_fail(ctx, "look at", path);
    if (!S_ISDIR(st.st_mode))
        return mgi_fail(ctx, MGEN_E_INVALID, "'%s' exists and is not a folder", path);
    return MGEN_OK;
}

bool mgi_dir_is(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

mgen_status mgi_dir_open(mgen_context *ctx, const char *path, int *out)
{
    MGI_TRY(check_path(ctx, path));
    *out = open_retry(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    return *out >= 0 ? MGEN_OK : mgi_path_fail(ctx, "open the folder", path);
}

mgen_status mgi_path_join(mgen_context *ctx, const char *dir, const char *name, char *out,
                          size_t out_size)
{
    size_t length = strlen(dir);
    const char *slash = length > 0 && dir[length - 1] == '/' ? "" : "/";
    int n = snprintf(out, out_size, "%s%s%s", dir, slash, name);
    if (n < 0 || (size_t)n >= out_size)
        return mgi_fail(ctx, MGEN_E_INVALID, "the path '%.40s.../%.40s' is longer than %zu bytes",
                        dir, name, out_size - 1);
    return MGEN_OK;
}
