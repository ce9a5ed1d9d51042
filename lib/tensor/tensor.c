/* SPDX-License-Identifier: MIT */
#include "tensor/tensor.h"

#include "core/alloc.h"
#include "core/checked.h"

#include <string.h>

size_t mgi_dtype_size(int32_t dtype)
{
    switch (dtype) {
    case MGK_U8:
        return 1;
    case MGK_BF16:
        return 2;
    case MGK_U64:
        return 8;
    default:
        return 4;
    }
}

static mgen_status shape_count(mgi_device *dev, int rank, const int64_t *dims, int64_t *count)
{
    if (rank < 1 || rank > MGI_RANK_MAX || !mgi_dims_count(dims, rank, count))
        return mgi_fail(dev->ctx, MGEN_E_INVALID, "a tensor of rank %d has an impossible shape",
                        rank);
    return MGEN_OK;
}

static mgen_status handle_create(mgi_device *dev, mgi_storage *storage, int32_t dtype, int rank,
                                 const int64_t *dims, int64_t count, mgi_tensor **out)
{
    mgi_tensor *t;
    MGI_TRY(mgi_alloc_zero(dev->ctx, 1, sizeof *t, &t));
    t->storage = storage;
    storage->refs++;
    t->dtype = dtype;
    t->rank = rank;
    t->count = count;
    t->refs = 1;
    memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    *out = t;
    return MGEN_OK;
}

static void storage_release(mgi_storage *s)
{
    if (--s->refs > 0)
        return;
    mgi_device_count(s->dev, s->kind, s->bytes, false);
    mgi_device_release(s->dev, &s->held);
}

mgen_status mgi_tensor_create(mgi_device *dev, int32_t dtype, int rank, const int64_t *dims,
                              mgi_tensor **out)
{
    int64_t count;
    size_t bytes;
    mgi_storage *s;
    *out = NULL;
    MGI_TRY(shape_count(dev, rank, dims, &count));
    if (!mgi_size_mul((size_t)count, mgi_dtype_size(dtype), &bytes))
        return mgi_fail(dev->ctx, MGEN_E_NO_MEMORY, "a tensor of %lld values is too large",
                        (long long)count);
    MGI_TRY(mgi_alloc_zero(dev->ctx, 1, sizeof *s, &s));
    s->dev = dev;
    s->refs = 1;
    s->kind = dev->kind;
    s->bytes = bytes;
    mgi_device_count(dev, s->kind, bytes, true);
    mgen_status status = mgi_device_alloc(dev, bytes, &s->held);
    if (status == MGEN_OK)
        status = handle_create(dev, s, dtype, rank, dims, count, out);
    storage_release(s); /* the handle, if made, keeps it */
    return status;
}

mgi_tensor *mgi_tensor_retain(mgi_tensor *t)
{
    if (t)
        t->refs++;
    return t;
}

void mgi_tensor_release(mgi_tensor *t)
{
    if (!t || --t->refs > 0)
        return;
    mgi_device *dev = t->storage->dev;
    mgi_var_release(dev, t->var);
    mgi_tensor_release(t->scale);
    storage_release(t->storage);
    mgi_free(dev->ctx, t);
}

mgen_status mgi_tensor_view(mgi_tensor *t, int rank, const int64_t *dims, mgi_tensor **out)
{
    int64_t count;
    mgi_device *dev = t->storage->dev;
    *out = NULL;
    MGI_TRY(shape_count(dev, rank, dims, &count));
    if (count != t->count)
        return mgi_fail(dev->ctx, MGEN_E_INTERNAL,
                        "a view of %lld values was asked of a tensor of %lld", (long long)count,
                        (long long)t->count);
    MGI_TRY(handle_create(dev, t->storage, t->dtype, rank, dims, count, out));
    (*out)->offset = t->offset;
    (*out)->var = t->var;
    if (t->var)
        t->var->refs++;
    return MGEN_OK;
}

mgen_status mgi_tensor_rows(mgi_tensor *t, int64_t first, int64_t rows, mgi_tensor **out)
{
    int64_t dims[MGI_RANK_MAX];
    mgi_device *dev = t->storage->dev;
    *out = NULL;
    if (first < 0 || rows < 0 || first > t->dims[0] - rows)
        return mgi_fail(dev->ctx, MGEN_E_INTERNAL, "rows %lld..%lld of a tensor of %lld rows",
                        (long long)first, (long long)(first + rows), (long long)t->dims[0]);
    int64_t each = t->dims[0] ? t->count / t->dims[0] : 0;
    memcpy(dims, t->dims, sizeof dims);
    dims[0] = rows;
    MGI_TRY(handle_create(dev, t->storage, t->dtype, t->rank, dims, rows * each, out));
    (*out)->offset = t->offset + (size_t)(first * each) * mgi_dtype_size(t->dtype);
    return MGEN_OK;
}

void mgi_tensor_write(mgi_tensor *t, int64_t first, const void *values, int64_t count)
{
    size_t each = mgi_dtype_size(t->dtype);
    mgi_device_write(t->storage->dev, (char *)mgi_data(t) + (size_t)first * each, values,
                     (size_t)count * each);
}

void mgi_tensor_read(const mgi_tensor *t, int64_t first, void *values, int64_t count)
{
    size_t each = mgi_dtype_size(t->dtype);
    mgi_device_read(t->storage->dev, values, (const char *)mgi_data(t) + (size_t)first * each,
                    (size_t)count * each);
}

mgen_status mgi_var_create(mgi_device *dev, int32_t dtype, int64_t count, bool leaf, mgi_var **out)
{
    MGI_TRY(mgi_alloc_zero(dev->ctx, 1, sizeof **out, out));
    (*out)->refs = 1;
    (*out)->leaf = leaf;
    (*out)->dtype = dtype;
    (*out)->count = count;
    return MGEN_OK;
}

void mgi_var_release(mgi_device *dev, mgi_var *var)
{
    if (!var || --var->refs > 0)
        return;
    mgi_tensor_release(var->grad);
    mgi_free(dev->ctx, var);
}
