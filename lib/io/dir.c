/* SPDX-License-Identifier: MIT
 * What files a folder has. */
#include "core/alloc.h"
#include "io/path.h"
#include "io/path_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const mgi_dir_file *)a)->name, ((const mgi_dir_file *)b)->name);
}

void mgi_dir_free(mgen_context *ctx, mgi_dir_file *files, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        mgi_free(ctx, files[i].name);
    mgi_free(ctx, files);
}

/* The entry's file behind the others, if it is one. */
static mgen_status add_file(mgen_context *ctx, int folder, const char *path, const char *name,
                            mgi_dir_file **files, int64_t *count, int64_t *room)
{
    struct stat st;
    if (name[0] == '.' || fstatat(folder, name, &st, 0) != 0 || !S_ISREG(st.st_mode))
        return MGEN_OK; /* what vanished meanwhile is not there */
    if (*count == MGI_DIR_FILES_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "the folder '%s' has more than %d files", path,
                        MGI_DIR_FILES_MAX);
    if (*count == *room) {
        int64_t more = *room ? 2 * *room : 64;
        MGI_TRY(mgi_realloc(ctx, files, (size_t)more, sizeof(**files)));
        *room = more;
    }
    mgi_dir_file *f = &(*files)[*count];
    MGI_TRY(mgi_strdup(ctx, name, &f->name));
    f->size = (uint64_t)st.st_size;
    f->changed = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    ++*count;
    return MGEN_OK;
}

mgen_status mgi_dir_list(mgen_context *ctx, const char *path, mgi_dir_file **out, int64_t *count)
{
    mgi_dir_file *files = NULL;
    int64_t n = 0, room = 0;
    int fd;
    mgen_status status = MGEN_OK;
    *out = NULL;
    *count = 0;
    MGI_TRY(mgi_dir_open(ctx, path, &fd));
    DIR *dir = fdopendir(fd);
    if (!dir) {
        status = mgi_path_fail(ctx, "list the folder", path);
        close(fd);
        return status;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry && errno)
            status = mgi_path_fail(ctx, "list the folder", path);
        if (!entry)
            break;
        MGI_TRY_GOTO(status, add_file(ctx, fd, path, entry->d_name, &files, &n, &room), end);
    }
end:
    closedir(dir);
    if (status != MGEN_OK) {
        mgi_dir_free(ctx, files, n);
        return status;
    }
    if (n > 0)
        qsort(files, (size_t)n, sizeof(*files), compare_files);
    *out = files;
    *count = n;
    return MGEN_OK;
}
