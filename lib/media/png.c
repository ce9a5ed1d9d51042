/* SPDX-License-Identifier: MIT
 * PNG (RFC 2083): 8-bit RGB, compressed row by row, so that a large picture needs little memory. */
#include "media/media.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "io/path.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { BPP = 3, CHUNK = 1 << 16, FILTERS = 5, LEVEL = 6 };

typedef struct png {
    mgen_context *ctx;
    mgi_writer writer;
    z_stream stream;
    size_t row;      /* bytes of a row of pixels */
    uint8_t *before; /* the row above, zero at first */
    uint8_t *lines;  /* two filtered rows, each behind its filter's number: the best and a trial */
    uint8_t *chunk;  /* compressed bytes, CHUNK of them */
    mgen_status memory; /* why zlib got no memory */
} png;

static void put_u32(uint8_t *out, uint32_t x)
{
    out[0] = (uint8_t)(x >> 24);
    out[1] = (uint8_t)(x >> 16);
    out[2] = (uint8_t)(x >> 8);
    out[3] = (uint8_t)x;
}

static mgen_status write_chunk(png *p, const char type[5], const uint8_t *data, uint32_t size)
{
    uint8_t head[8], tail[4];
    put_u32(head, size);
    memcpy(head + 4, type, 4);
    uLong crc = crc32(crc32(0, NULL, 0), head + 4, 4);
    if (size > 0)
        crc = crc32(crc, data, size);
    put_u32(tail, (uint32_t)crc);
    MGI_TRY(mgi_writer_write(&p->writer, head, sizeof(head)));
    MGI_TRY(mgi_writer_write(&p->writer, data, size));
    return mgi_writer_write(&p->writer, tail, sizeof(tail));
}

static mgen_status write_header(png *p, int64_t width, int64_t height)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    uint8_t header[13] = {0};
    static const uint8_t srgb[1] = {0}; /* perceptual */
    put_u32(header, (uint32_t)width);
    put_u32(header + 4, (uint32_t)height);
    header[8] = 8; /* bits */
    header[9] = 2; /* RGB */
    MGI_TRY(mgi_writer_write(&p->writer, signature, sizeof(signature)));
    MGI_TRY(write_chunk(p, "IHDR", header, sizeof(header)));
    return write_chunk(p, "sRGB", srgb, sizeof(srgb));
}

static int paeth(int left, int up, int corner)
{
    int by_left = abs(up - corner), by_up = abs(left - corner);
    int by_corner = abs(left + up - 2 * corner);
    if (by_left <= by_up && by_left <= by_corner)
        return left;
    return by_up <= by_corner ? up : corner;
}

/* Filter a row into out[1..]; the sum of the absolute differences tells how well it may compress. */
static uint64_t filter_row(int filter, const uint8_t *row, const uint8_t *before, size_t size,
                           uint8_t *out)
{
    uint64_t cost = 0;
    *out++ = (uint8_t)filter;
    for (size_t i = 0; i < size; i++) {
        int left = i >= BPP ? row[i - BPP] : 0, up = before[i];
        int corner = i >= BPP ? before[i - BPP] : 0;
        int guess = filter == 0   ? 0
                    : filter == 1 ? left
                    : filter == 2 ? up
                    : filter == 3 ? (left + up) / 2
                                  : paeth(left, up, corner);
        uint8_t rest = (uint8_t)(row[i] - guess);
        cost += rest < 128 ? rest : 256u - rest;
        out[i] = rest;
    }
    return cost;
}

/* Give zlib what it has and write whole chunks; at the end, the rest too. */
static mgen_status deflate_more(png *p, int flush)
{
    int rc;
    do {
        rc = deflate(&p->stream, flush);
        if (rc == Z_STREAM_ERROR)
            return mgi_fail(p->ctx, MGEN_E_INTERNAL, "zlib refused a picture's row");
        if (p->stream.avail_out == 0 || rc == Z_STREAM_END) {
            MGI_TRY(write_chunk(p, "IDAT", p->chunk, CHUNK - p->stream.avail_out));
            p->stream.next_out = p->chunk;
            p->stream.avail_out = CHUNK;
        }
    } while (p->stream.avail_in > 0 || (flush == Z_FINISH && rc != Z_STREAM_END));
    return MGEN_OK;
}

static mgen_status write_row(png *p, const uint8_t *row)
{
    uint8_t *best = p->lines, *trial = p->lines + 1 + p->row;
    uint64_t least = UINT64_MAX;
    for (int filter = 0; filter < FILTERS; filter++) {
        uint64_t cost = filter_row(filter, row, p->before, p->row, trial);
        if (cost < least) {
            uint8_t *swap = best;
            best = trial;
            trial = swap;
            least = cost;
        }
    }
    memcpy(p->before, row, p->row);
    p->stream.next_in = best;
    p->stream.avail_in = (uInt)(1 + p->row);
    return deflate_more(p, Z_NO_FLUSH);
}

static voidpf zlib_alloc(voidpf user, uInt count, uInt size)
{
    png *p = user;
    void *ptr;
    mgen_status status = mgi_alloc_zero(p->ctx, count, size, &ptr);
    if (status == MGEN_OK)
        return ptr;
    p->memory = status; /* zlib asks for more before it gives up */
    return Z_NULL;
}

static void zlib_free(voidpf user, voidpf ptr)
{
    png *p = user;
    mgi_free(p->ctx, ptr);
}

mgen_status mgi_png_write(mgen_context *ctx, const char *path, const uint8_t *rgb, int64_t width,
                          int64_t height)
{
    int64_t row, all;
    if (!rgb || width < 1 || height < 1 || height > INT32_MAX || !mgi_i64_mul(width, BPP, &row) ||
        row >= INT32_MAX || !mgi_i64_mul(row, height, &all) || (uint64_t)all > SIZE_MAX / 2)
        return mgi_fail(ctx, MGEN_E_INVALID, "a picture of %lld x %lld pixels cannot be a PNG",
                        (long long)width, (long long)height);

    mgen_status status;
    png p = {.ctx = ctx, .row = (size_t)row};
    MGI_TRY(mgi_alloc_zero(ctx, p.row, 1, &p.before));
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, 2, 1 + p.row, &p.lines), free_before);
    MGI_TRY_GOTO(status, mgi_alloc(ctx, CHUNK, &p.chunk), free_lines);
    p.stream.zalloc = zlib_alloc;
    p.stream.zfree = zlib_free;
    p.stream.opaque = &p;
    p.stream.next_out = p.chunk;
    p.stream.avail_out = CHUNK;
    if (deflateInit(&p.stream, LEVEL) != Z_OK) {
        status =
            p.memory != MGEN_OK ? p.memory : mgi_fail(ctx, MGEN_E_INTERNAL, "zlib does not start");
        goto free_chunk;
    }
    MGI_TRY_GOTO(status, mgi_writer_open(ctx, path, &p.writer), end_stream);
    MGI_TRY_GOTO(status, write_header(&p, width, height), abort_writer);
    for (int64_t y = 0; y < height; y++)
        MGI_TRY_GOTO(status, write_row(&p, rgb + (size_t)y * p.row), abort_writer);
    MGI_TRY_GOTO(status, deflate_more(&p, Z_FINISH), abort_writer);
    MGI_TRY_GOTO(status, write_chunk(&p, "IEND", NULL, 0), abort_writer);
    status = mgi_writer_commit(&p.writer);
abort_writer:
    mgi_writer_abort(&p.writer);
end_stream:
    deflateEnd(&p.stream);
free_chunk:
    mgi_free(ctx, p.chunk);
free_lines:
    mgi_free(ctx, p.lines);
free_before:
    mgi_free(ctx, p.before);
    return status;
}
