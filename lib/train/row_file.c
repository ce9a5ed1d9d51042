/* SPDX-License-Identifier: MIT */
#include "train/row_file.h"

#include "core/alloc.h"
#include "core/hash.h"

#include <stdio.h>
#include <string.h>

/* The file's beginning; behind it rows, each with its hash. Numbers are as the machine has them; `order` tells that of another. */
typedef struct head {
    char magic[8];
    uint32_t format, order;
    uint64_t key, size;
} head;
_Static_assert(sizeof(head) == 32, "no padding in a file");

static head head_of(const mgi_row_file *f)
{
    return (head){{'M', 'G', 'E', 'N', 'R', 'O', 'W', 'S'},
                  1,
                  UINT32_C(0x01020304),
                  f->key,
                  (uint64_t)f->size};
}

static size_t row_bytes(const mgi_row_file *f)
{
    return (size_t)f->size * sizeof(float);
}

static uint64_t place_of(const mgi_row_file *f, int64_t i)
{
    return sizeof(head) + (uint64_t)i * (row_bytes(f) + sizeof(uint64_t));
}

static uint64_t hash_of(const mgi_row_file *f, int64_t i, const void *values)
{
    return mgi_hash64(values, row_bytes(f), f->key + (uint64_t)i);
}

/* How many rows are as they were written: the first ones, at most `most`. */
static mgen_status count_rows(mgen_context *ctx, mgi_row_file *f, int64_t most)
{
    const size_t bytes = row_bytes(f) + sizeof(uint64_t);
    const uint64_t size = f->file.written;
    const uint64_t there = size > sizeof(head) ? (size - sizeof(head)) / bytes : 0;
    const int64_t rows = there < (uint64_t)most ? (int64_t)there : most;
    mgen_status status = MGEN_OK;
    uint8_t *row;
    uint64_t hash;
    MGI_TRY(mgi_alloc(ctx, bytes, &row));
    for (f->rows = 0; f->rows < rows; f->rows++) {
        status = mgi_writer_read(ctx, &f->file, place_of(f, f->rows), row, bytes);
        memcpy(&hash, row + row_bytes(f), sizeof hash);
        if (status != MGEN_OK || hash != hash_of(f, f->rows, row))
            break;
    }
    mgi_free(ctx, row);
    return status;
}

/* What is there already; what is not, or is torn, is cut off. */
static mgen_status read_file(mgen_context *ctx, mgi_row_file *f, int64_t most)
{
    const head ours = head_of(f);
    head found = {.key = 0};
    if (f->file.written >= sizeof found)
        MGI_TRY(mgi_writer_read(ctx, &f->file, 0, &found, sizeof found));
    if (!memcmp(&found, &ours, sizeof ours)) {
        MGI_TRY(count_rows(ctx, f, most));
        return mgi_row_file_cut(ctx, f, f->rows);
    }
    MGI_TRY(mgi_writer_cut(&f->file, 0));
    return mgi_writer_write(&f->file, &ours, sizeof ours);
}

void mgi_row_file_warn(mgen_context *ctx, const mgen_context *own, const char *what)
{
    mgi_log(ctx, MGEN_LOG_WARN, "if this is ended before all %s, that will begin anew: %.700s",
            what, own->error_text);
}

mgen_status mgi_row_file_open(mgen_context *ctx, mgen_context *own, const char *dir,
                              const char *path, uint64_t key, int64_t size, int64_t most,
                              const char *what, mgi_row_file *out)
{
    *out = (mgi_row_file){.file.fd = -1, .key = key, .size = size};
    mgen_status status = mgi_dir_make(own, dir);
    if (status == MGEN_OK)
        status = mgi_writer_append(own, path, &out->file);
    if (status == MGEN_OK)
        status = read_file(own, out, most);
    out->open = status == MGEN_OK;
    if (status == MGEN_OK)
        return MGEN_OK;
    mgi_row_file_close(out, false);
    if (status == MGEN_E_NO_MEMORY || status == MGEN_E_LIMIT)
        return mgi_fail_from(ctx, status, own);
    mgi_row_file_warn(ctx, own, what);
    return MGEN_OK;
}

mgen_status mgi_row_file_cut(mgen_context *ctx, mgi_row_file *f, int64_t rows)
{
    f->file.ctx = ctx;
    MGI_TRY(mgi_writer_cut(&f->file, place_of(f, rows)));
    f->rows = rows;
    return MGEN_OK;
}

mgen_status mgi_row_file_add(mgen_context *ctx, mgi_row_file *f, const float *values, int64_t n)
{
    const int64_t before = f->rows;
    mgen_status status = MGEN_OK;
    f->file.ctx = ctx;
    for (int64_t i = 0; i < n && status == MGEN_OK; i++) {
        const float *row = values + i * f->size;
        const uint64_t hash = hash_of(f, before + i, row);
        status = mgi_writer_write(&f->file, row, row_bytes(f));
        if (status == MGEN_OK)
            status = mgi_writer_write(&f->file, &hash, sizeof hash);
    }
    if (status == MGEN_OK)
        f->rows += n;
    else
        mgi_writer_cut(&f->file, place_of(f, before));
    return status;
}

mgen_status mgi_row_file_read(mgen_context *ctx, const mgi_row_file *f, int64_t i, int64_t at,
                              float *out, int64_t n)
{
    return mgi_writer_read(ctx, &f->file, place_of(f, i) + (uint64_t)at * sizeof *out, out,
                           (size_t)n * sizeof *out);
}

void mgi_row_file_close(mgi_row_file *f, bool remove)
{
    mgi_writer_leave(&f->file, remove);
    f->open = false;
}
