/* SPDX-License-Identifier: MIT */
#include "io/scratch.h"

#include "core/alloc.h"
#include "io/path_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct mgi_scratch {
    int fd;
    char path[]; /* what messages call it */
};

mgen_status mgi_scratch_open(mgen_context *ctx, const char *dir, uint64_t size, mgi_scratch **out)
{
    static const char name[] = "/a scratch file";
    const size_t length = strlen(dir) + sizeof name;
    mgi_scratch *s;
    *out = NULL;
    MGI_TRY(mgi_alloc(ctx, sizeof *s + length, &s));
    snprintf(s->path, length, "%s%s", dir, name);
    const mgen_status status = mgi_path_scratch(ctx, dir, size, &s->fd);
    if (status == MGEN_OK)
        *out = s;
    else
        mgi_free(ctx, s);
    return status;
}

mgen_status mgi_scratch_write(mgen_context *ctx, const mgi_scratch *s, uint64_t at,
                              const void *data, size_t size)
{
    const char *from = data;
    for (size_t done = 0; done < size;) {
        const size_t chunk = size - done < MGI_CHUNK_MAX ? size - done : MGI_CHUNK_MAX;
        const ssize_t n = pwrite(s->fd, from + done, chunk, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO;
        if (n <= 0)
            return mgi_path_fail(ctx, "write", s->path);
        done += (size_t)n;
    }
    return MGEN_OK;
}

mgen_status mgi_scratch_read(mgen_context *ctx, const mgi_scratch *s, uint64_t at, void *out,
                             size_t size)
{
    return mgi_path_read_at(ctx, s->fd, s->path, at, out, size);
}

void mgi_scratch_close(mgen_context *ctx, mgi_scratch *s)
{
    if (s)
        close(s->fd);
    mgi_free(ctx, s);
}
