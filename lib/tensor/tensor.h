/* SPDX-License-Identifier: MIT
 * Tensors: typed, shaped views of reference-counted device memory. Row-major, contiguous. Tier 2.
 *
 * A tensor belongs to one thread, but for the values of a model that is only read: these may be used,
 * retained and released by any number of runs at once. */
#ifndef MGI_TENSOR_TENSOR_H
#define MGI_TENSOR_TENSOR_H

#include "tensor/device.h"

#define MGI_RANK_MAX 6

typedef struct mgi_storage {
    mgi_held held; /* first: it outlives the storage's last owner */
    mgi_device *dev;
    size_t bytes; /* as asked for */
    int kind;     /* MGI_MEM_* */
    _Atomic int refs;
} mgi_storage;

/* What gradients are kept for: the identity of a value, apart from its data. Reshapes share it, and so
 * does a parameter's copy in the dtype of the products. */
typedef struct mgi_var {
    _Atomic int refs;
    bool leaf;               /* a parameter: its gradient is kept and only added to */
    int32_t dtype;           /* of the gradient: f32 for parameters, else that of the value */
    struct mgi_tensor *grad; /* flat, NULL until something flows in */
    int64_t count;
} mgi_var;

typedef struct mgi_tensor {
    mgi_storage *storage;
    mgi_var *var;             /* NULL: no gradient flows here */
    struct mgi_tensor *scale; /* of E4M3 codes (N,K): (N) f32; else NULL. Owned; no view has it */
    size_t offset;            /* bytes */
    int64_t dims[MGI_RANK_MAX], count;
    int32_t dtype; /* MGK_* */
    int rank;
    _Atomic int refs;
} mgi_tensor;

size_t mgi_dtype_size(int32_t dtype);

/* Uninitialised memory; refs = 1. INVALID for a bad shape. */
mgen_status mgi_tensor_create(mgi_device *dev, int32_t dtype, int rank, const int64_t *dims,
                              mgi_tensor **out);
mgi_tensor *mgi_tensor_retain(mgi_tensor *t);
void mgi_tensor_release(mgi_tensor *t); /* NULL is fine */
/* Another view of the same memory and gradient; the count must agree. refs = 1. */
mgen_status mgi_tensor_view(mgi_tensor *t, int rank, const int64_t *dims, mgi_tensor **out);
/* Rows [first, first + rows) of the outermost dimension; no gradient. refs = 1. */
mgen_status mgi_tensor_rows(mgi_tensor *t, int64_t first, int64_t rows, mgi_tensor **out);

mgen_status mgi_var_create(mgi_device *dev, int32_t dtype, int64_t count, bool leaf, mgi_var **out);
void mgi_var_release(mgi_device *dev, mgi_var *var);

/* Copy host values into a tensor, from element `first` on, or out of one; the device's work so far is
 * waited for. On the meta device nothing happens, and what is read is 0. */
void mgi_tensor_write(mgi_tensor *t, int64_t first, const void *values, int64_t count);
void mgi_tensor_read(const mgi_tensor *t, int64_t first, void *values, int64_t count);

static inline void *mgi_data(const mgi_tensor *t)
{
    return (char *)t->storage->held.ptr + t->offset;
}
static inline float *mgi_f32(const mgi_tensor *t)
{
    return mgi_data(t);
}
/* A kernel's view; NULL gives the absent buffer. */
static inline mgk_buf mgi_buf(const mgi_tensor *t)
{
    return t ? (mgk_buf){mgi_data(t), t->dtype} : (mgk_buf){0, 0};
}
/* The same from element `first` on. */
static inline mgk_buf mgi_buf_from(mgk_buf b, int64_t first)
{
    b.p = (char *)b.p + first * (int64_t)mgi_dtype_size(b.dtype);
    return b;
}

#endif
