/* SPDX-License-Identifier: MIT */
#include "io/read.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "core/pool.h"
#include "io/path_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* Bytes at a time: smaller pieces take the system longer to copy, larger ones more than a small job needs beside its models. */
enum { HASHED = 1 << 17 };
_Static_assert(HASHED % MGI_HASH_ROW == 0, "a hash takes them piece by piece");

struct mgi_reader {
    int fd; /* -1: it rests */
    uint64_t size, is[5];
    const char *path;       /* for messages; behind this struct, as are: */
    const char *dir, *name; /* what it was opened by; dir NULL: the host's own path */
};

mgen_status mgi_path_read_at(mgen_context *ctx, int fd, const char *path, uint64_t at, void *out,
                             size_t size)
{
    uint8_t *to = out;
    for (size_t done = 0; done < size;) {
        size_t chunk = size - done < MGI_CHUNK_MAX ? size - done : MGI_CHUNK_MAX;
        ssize_t n = pread(fd, to + done, chunk, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mgi_path_fail(ctx, "read", path);
        if (n == 0)
            return mgi_fail(ctx, MGEN_E_IO, "'%s' became shorter while it was read", path);
        done += (size_t)n;
    }
    return MGEN_OK;
}

/* ---- whole files ------------------------------------------------------------------------------ */

/* Takes over what is open. `refusal` is the status of a file that is too large. */
static mgen_status read_whole(mgen_context *ctx, const mgi_opened *from, uint64_t most,
                              mgen_status refusal, mgi_file *out)
{
    mgen_status status = MGEN_OK;
    uint8_t *copy = NULL;
    if (from->size > most || from->size > SIZE_MAX / 2)
        status = mgi_fail(ctx, refusal, "'%s' is larger than %" PRIu64 " bytes", from->path, most);
    if (status == MGEN_OK)
        status = mgi_alloc(ctx, (size_t)from->size, &copy);
    if (status == MGEN_OK)
        status = mgi_path_read_at(ctx, from->fd, from->path, 0, copy, (size_t)from->size);
    close(from->fd);
    if (status == MGEN_OK)
        *out = (mgi_file){copy, (size_t)from->size};
    else
        mgi_free(ctx, copy);
    return status;
}

static mgen_status open_whole(mgen_context *ctx, const char *path, uint64_t most, mgi_file *out)
{
    mgi_opened from;
    *out = (mgi_file){NULL, 0};
    MGI_TRY(mgi_path_open(ctx, path, &from));
    return read_whole(ctx, &from, most, MGEN_E_INVALID, out);
}

mgen_status mgi_file_open(mgen_context *ctx, const char *path, mgi_file *out)
{
    return open_whole(ctx, path, MGI_WHOLE_MAX, out);
}

mgen_status mgi_file_open_large(mgen_context *ctx, const char *path, mgi_file *out)
{
    return open_whole(ctx, path, MGI_LARGE_MAX, out);
}

mgen_status mgi_file_open_in(mgen_context *ctx, const char *dir, const char *name, mgi_file *out)
{
    mgi_opened from;
    *out = (mgi_file){NULL, 0};
    MGI_TRY(mgi_path_open_in(ctx, dir, name, &from));
    return read_whole(ctx, &from, MGI_WHOLE_MAX, MGEN_E_CORRUPT, out);
}

void mgi_file_close(mgen_context *ctx, mgi_file *file)
{
    mgi_free(ctx, (void *)(uintptr_t)file->data);
    *file = (mgi_file){NULL, 0};
}

mgen_status mgi_file_size(mgen_context *ctx, const char *dir, const char *name, uint64_t *size)
{
    mgi_opened from;
    MGI_TRY(mgi_path_open_in(ctx, dir, name, &from));
    *size = from.size;
    close(from.fd);
    return MGEN_OK;
}

/* ---- piece by piece --------------------------------------------------------------------------- */

static mgen_status open_by(mgen_context *ctx, const char *dir, const char *name, mgi_opened *out)
{
    return dir ? mgi_path_open_in(ctx, dir, name, out) : mgi_path_open(ctx, name, out);
}

/* A copy of the text at *to, which then is behind it. */
static const char *put_text(char **to, const char *text)
{
    const size_t size = strlen(text) + 1;
    const char *copy = memcpy(*to, text, size);
    *to += size;
    return copy;
}

mgen_status mgi_reader_open(mgen_context *ctx, const char *dir, const char *name, mgi_reader **out)
{
    mgi_opened from;
    mgi_reader *r;
    *out = NULL;
    MGI_TRY(open_by(ctx, dir, name, &from));
    const size_t texts = strlen(from.path) + strlen(name) + (dir ? strlen(dir) : 0) + 3;
    const mgen_status status = mgi_alloc(ctx, sizeof *r + texts, &r);
    if (status != MGEN_OK) {
        close(from.fd);
        return status;
    }
    char *to = (char *)(r + 1);
    *r = (mgi_reader){.fd = from.fd, .size = from.size};
    memcpy(r->is, from.is, sizeof r->is);
    r->path = put_text(&to, from.path);
    r->name = put_text(&to, name);
    r->dir = dir ? put_text(&to, dir) : NULL;
    *out = r;
    return MGEN_OK;
}

void mgi_reader_rest(mgi_reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

static mgen_status read_resting(mgen_context *ctx, const mgi_reader *r, uint64_t at, void *out,
                                size_t size)
{
    mgi_opened now;
    mgen_status status = open_by(ctx, r->dir, r->name, &now);
    const bool other = status == MGEN_OK && memcmp(now.is, r->is, sizeof now.is) != 0;
    if (status == MGEN_OK && !other)
        status = mgi_path_read_at(ctx, now.fd, r->path, at, out, size);
    if (now.fd >= 0)
        close(now.fd);
    return other || status == MGEN_E_NOT_FOUND
               ? mgi_fail(ctx, MGEN_E_IO, "'%s' was replaced or changed while it was read", r->path)
               : status;
}

uint64_t mgi_reader_size(const mgi_reader *r)
{
    return r->size;
}

mgen_status mgi_reader_read(mgen_context *ctx, const mgi_reader *r, uint64_t at, void *out,
                            size_t size)
{
    if (at > r->size || size > r->size - at)
        return mgi_fail(ctx, MGEN_E_INTERNAL, "'%s' is read behind its end", r->path);
    return r->fd >= 0 ? mgi_path_read_at(ctx, r->fd, r->path, at, out, size)
                      : read_resting(ctx, r, at, out, size);
}

/* A piece is read while the one before it is hashed. */
typedef struct hashing {
    mgen_context *ctx;
    const mgi_reader *r;
    uint8_t *piece[2];
    size_t size[2]; /* bytes of each; 0: none */
    uint64_t at;    /* of the one that is read */
    int reads;
    mgen_status status;
    mgi_large h;
} hashing;

static void hash_or_read(void *arg, int64_t block, int thread)
{
    hashing *w = arg;
    const int k = block == 0 ? !w->reads : w->reads;
    (void)thread;
    if (w->size[k] == 0)
        return;
    if (block == 0)
        mgi_large_piece(&w->h, w->piece[k], w->size[k]);
    else
        w->status = mgi_reader_read(w->ctx, w->r, w->at, w->piece[k], w->size[k]);
}

mgen_status mgi_reader_hash(mgen_context *ctx, const mgi_reader *r, uint64_t seed, uint64_t *hash)
{
    const size_t most = r->size < HASHED ? (size_t)r->size : HASHED;
    const int pieces = r->size > most ? 2 : 1;
    hashing w = {.ctx = ctx, .r = r};
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)pieces, most, &w.piece[0]));
    w.piece[1] = w.piece[0] + (pieces - 1) * most;
    mgi_large_begin(&w.h, seed);
    do {
        w.size[w.reads] = r->size - w.at < most ? (size_t)(r->size - w.at) : most;
        mgi_pool_run(ctx->pool, 2, hash_or_read, &w);
        w.at += w.size[w.reads];
        w.reads = !w.reads;
    } while (w.size[!w.reads] && w.status == MGEN_OK);
    mgi_free(ctx, w.piece[0]);
    *hash = mgi_large_end(&w.h);
    return w.status;
}

void mgi_reader_close(mgen_context *ctx, mgi_reader *r)
{
    if (r)
        mgi_reader_rest(r);
    mgi_free(ctx, r);
}
