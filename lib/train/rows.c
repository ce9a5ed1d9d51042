/* SPDX-License-Identifier: MIT */
#include "train/rows.h"

#include "core/alloc.h"
#include "core/checked.h"

#include <string.h>

/* False if it cannot be had, which is told. */
static bool make_scratch(mgen_context *ctx, const char *dir, uint64_t bytes, mgi_scratch **out)
{
    mgen_context *own;
    if (mgi_context_private(ctx, &own) != MGEN_OK)
        return false;
    mgen_status status = mgi_dir_make(own, dir);
    if (status == MGEN_OK)
        status = mgi_scratch_open(own, dir, bytes, out);
    if (status != MGEN_OK)
        mgi_log(ctx, MGEN_LOG_WARN, "%s; clips are encoded into memory", own->error_text);
    mgi_context_free(own);
    return status == MGEN_OK;
}

mgen_status mgi_rows_make(mgen_context *ctx, const char *dir, uint64_t scratch_from, int64_t count,
                          int64_t size, mgi_rows *out)
{
    int64_t values;
    *out = (mgi_rows){.size = size, .file.file.fd = -1};
    if (!mgi_i64_mul(count, size, &values) || values > INT64_MAX / (int64_t)sizeof(float))
        return mgi_fail(ctx, MGEN_E_INVALID, "%lld clips of this size are too many",
                        (long long)count);
    const uint64_t bytes = (uint64_t)values * sizeof(float);
    if (dir && bytes >= scratch_from && make_scratch(ctx, dir, bytes, &out->scratch))
        return MGEN_OK;
    return mgi_alloc_zero(ctx, (size_t)values, sizeof *out->values, &out->values);
}

static uint64_t place_of(const mgi_rows *rows, int64_t i, int64_t at)
{
    return (uint64_t)(i * rows->size + at) * sizeof(float);
}

mgen_status mgi_rows_put(mgen_context *ctx, mgi_rows *rows, int64_t i, const float *values,
                         int64_t n)
{
    const size_t bytes = (size_t)(n * rows->size) * sizeof *values;
    if (rows->file.open)
        return mgi_row_file_add(ctx, &rows->file, values, n);
    if (rows->scratch)
        return mgi_scratch_write(ctx, rows->scratch, place_of(rows, i, 0), values, bytes);
    memcpy(rows->values + i * rows->size, values, bytes);
    return MGEN_OK;
}

mgen_status mgi_rows_read(mgen_context *ctx, const mgi_rows *rows, int64_t i, int64_t at,
                          float *out, int64_t n)
{
    const size_t bytes = (size_t)n * sizeof *out;
    if (rows->file.open)
        return mgi_row_file_read(ctx, &rows->file, i, at, out, n);
    if (rows->scratch)
        return mgi_scratch_read(ctx, rows->scratch, place_of(rows, i, at), out, bytes);
    memcpy(out, rows->values + i * rows->size + at, bytes);
    return MGEN_OK;
}

void mgi_rows_free(mgen_context *ctx, mgi_rows *rows)
{
    if (rows->file.open)
        mgi_row_file_close(&rows->file, false);
    mgi_scratch_close(ctx, rows->scratch);
    mgi_free(ctx, rows->values);
    rows->scratch = NULL;
    rows->values = NULL;
}
