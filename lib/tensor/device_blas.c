/* SPDX-License-Identifier: MIT */
#ifdef MGI_HAVE_CUDA

#include "tensor/device_blas.h"

#include "core/alloc.h"
#include "kernels/matmul/matmul_cublaslt.h"
#include "tensor/device.h"
#include "tensor/tuned.h"

#ifdef MGK_CUDA_EMULATED
#include "kernels/emulated/cuda_runtime_emulated.h"
#else
#include <cuda_runtime_api.h>
#endif

#include <stdio.h>
#include <string.h>

struct mgi_blas {
    mgen_context *ctx;
    mgi_cuda *cuda;
    void *library; /* of mgk_cublaslt_open */
    mgk_cublaslt_timer timer;
    cudaEvent_t begun, ended; /* NULL: nothing is timed */
    uint64_t kept;            /* of mgk_cublaslt_chosen */
    bool keeps;               /* in the cache folder */
    char machine[MGI_TUNED_MACHINE], path[MGI_PATH_MAX + 1];
};

/* -- timing ----------------------------------------------------------------------------------- */

static bool ready(void *user)
{
    return !mgi_cuda_capturing(((mgi_blas *)user)->cuda);
}

static void start(void *user)
{
    mgi_blas *b = user;
    cudaEventRecord(b->begun, (cudaStream_t)mgi_cuda_stream(b->cuda));
}

static bool stop(void *user, bool good, float *milliseconds)
{
    mgi_blas *b = user;
    if (!good)
        cudaGetLastError(); /* of a launch that is made up for: an algorithm that does not work is left out */
    cudaEventRecord(b->ended, (cudaStream_t)mgi_cuda_stream(b->cuda));
    mgi_cuda_wait(b->cuda);
    if (cudaEventElapsedTime(milliseconds, b->begun, b->ended) == cudaSuccess)
        return good;
    cudaGetLastError();
    return false;
}

/* Nothing fails for want of this: so no error is told, and no memory that is kept is given back for it. */
static void *take(void *user, size_t bytes)
{
    mgi_blas *b = user;
    const mgi_device *dev = b->ctx->device;
    void *memory = NULL;
    if (dev && dev->memory_max && bytes + dev->counts.held > dev->memory_max)
        return NULL;
    mgi_cuda_stream(b->cuda);
    if (cudaMalloc(&memory, bytes) == cudaSuccess)
        return memory;
    cudaGetLastError();
    return NULL;
}

static void give(void *user, void *memory)
{
    mgi_cuda_free(((mgi_blas *)user)->cuda, memory);
}

/* -- keeping ---------------------------------------------------------------------------------- */

static void learn(void *user, const void *row)
{
    mgk_cublaslt_learn(((mgi_blas *)user)->library, row);
}

/* What the choice depends on beside the shape. */
static bool describe(mgi_blas *b)
{
    const mgk_cublaslt_api *l = b->library;
    struct cudaDeviceProp gpu;
    if (!l->version || cudaGetDeviceProperties(&gpu, mgi_cuda_index(b->cuda)) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    snprintf(b->machine, sizeof b->machine, "%.200s, %d.%d, %d multiprocessors, cuBLASLt %zu",
             gpu.name, gpu.major, gpu.minor, gpu.multiProcessorCount, l->version());
    return true;
}

static void tell(mgi_blas *b, const mgen_context *quiet, const char *what)
{
    mgi_log(b->ctx, MGEN_LOG_WARN, "cuda:%d: %s; %s", mgi_cuda_index(b->cuda),
            mgen_last_error(quiet), what);
}

/* What others have kept meanwhile stays. */
static mgen_status write(mgi_blas *b, mgen_context *quiet)
{
    void *rows;
    mgi_tuned_read(quiet, b->path, b->machine, learn, b);
    size_t count = mgk_cublaslt_rows(b->library, NULL);
    MGI_TRY(mgi_alloc_zero(quiet, count, MGK_CUBLASLT_ROW, &rows));
    mgk_cublaslt_rows(b->library, rows);
    mgen_status status = mgi_dir_make(quiet, b->ctx->cache_dir);
    if (status == MGEN_OK)
        status = mgi_tuned_write(quiet, b->path, b->machine, rows, count);
    mgi_free(quiet, rows);
    return status;
}

void mgi_blas_keep(mgi_blas *b)
{
    mgen_context *quiet;
    if (!b || !b->keeps || mgk_cublaslt_chosen(b->library) == b->kept)
        return;
    b->kept = mgk_cublaslt_chosen(b->library);
    if (mgi_context_private(b->ctx, &quiet) != MGEN_OK)
        return;
    if (write(b, quiet) != MGEN_OK) {
        tell(b, quiet, "what was chosen for products is not kept");
        b->keeps = false;
    }
    mgi_context_free(quiet);
}

static mgen_status recall(mgi_blas *b)
{
    mgen_context *quiet;
    if (!b->ctx->cache_dir || !describe(b))
        return MGEN_OK;
    MGI_TRY(mgi_context_private(b->ctx, &quiet));
    mgen_status status = mgi_tuned_path(quiet, b->ctx->cache_dir, b->machine, b->path);
    b->keeps = status == MGEN_OK;
    if (b->keeps)
        status = mgi_tuned_read(quiet, b->path, b->machine, learn, b);
    if (status != MGEN_OK && status != MGEN_E_NOT_FOUND)
        tell(b, quiet, "products are timed again");
    mgi_context_free(quiet);
    return MGEN_OK;
}

/* -- all -------------------------------------------------------------------------------------- */

static mgen_status autotune(mgi_blas *b)
{
    b->timer = (mgk_cublaslt_timer){b, ready, start, stop, take, give};
    if (cudaEventCreateWithFlags(&b->begun, 0) != cudaSuccess ||
        cudaEventCreateWithFlags(&b->ended, 0) != cudaSuccess) {
        cudaGetLastError();
        return mgi_fail(b->ctx, MGEN_E_DEVICE, "cuda:%d: no events to time products by",
                        mgi_cuda_index(b->cuda));
    }
    mgk_cublaslt_time_by(b->library, &b->timer);
    return recall(b);
}

mgen_status mgi_blas_open(mgen_context *ctx, mgi_cuda *cuda, mgi_blas **out)
{
#ifdef MGK_CUDA_EMULATED
    const char *file = mgk_emulated_cublaslt();
    if (!file)
        return MGEN_OK;
#else
    const char *file = NULL;
#endif
    char why[256];
    mgi_blas *b;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *b, &b));
    b->ctx = ctx;
    b->cuda = cuda;
    mgen_status status = mgi_alloc_zero(ctx, 1, mgk_cublaslt_bytes(), &b->library);
    bool there = status == MGEN_OK && mgk_cublaslt_open(b->library, file, why, sizeof why);
    if (status == MGEN_OK && !there)
        mgi_log(ctx, MGEN_LOG_WARN,
                "cuda:%d: %s; products use the library's own kernels, which are slower",
                mgi_cuda_index(cuda), why);
    if (there && ctx->autotune)
        status = autotune(b);
    if (there && status == MGEN_OK) {
        *out = b;
        return MGEN_OK;
    }
    if (!there) {
        mgi_free(ctx, b->library);
        b->library = NULL;
    }
    mgi_blas_close(b);
    return status;
}

void mgi_blas_close(mgi_blas *b)
{
    if (!b)
        return;
    mgi_blas_keep(b);
    if (b->library)
        mgk_cublaslt_close(b->library);
    if (b->begun)
        cudaEventDestroy(b->begun);
    if (b->ended)
        cudaEventDestroy(b->ended);
    mgi_free(b->ctx, b->library);
    mgi_free(b->ctx, b);
}

void *mgi_blas_library(mgi_blas *b)
{
    return b ? b->library : NULL;
}

void mgi_blas_settle(mgi_blas *b)
{
    if (!b || !b->begun)
        return;
    mgi_blas_keep(b);
    mgk_cublaslt_time_by(b->library, NULL);
}

#endif
