/* SPDX-License-Identifier: MIT */
#include "tensor/device_cuda.h"

#include "core/alloc.h"
#include "kernels/mgk.h"

#include <stdio.h>
#include <string.h>

#ifdef MGI_HAVE_CUDA

#include "kernels/attention/attention_cudnn.h"
#include "tensor/device_blas.h"
#ifdef MGK_CUDA_EMULATED
#include "kernels/emulated/cuda_runtime_emulated.h"
#else
#include <cuda_runtime_api.h>
#endif

/* Values on their way to the GPU lie in one half of the staging memory while the other is copied. */
enum { STAGE_BYTES = 8 << 20, STAGES = 2, OLDEST_MAJOR = 8, HOPPER_MAJOR = 9 };

struct mgi_cuda {
    mgen_context *ctx;
    int index, major; /* of the compute capability */
    int processors;
    cudaStream_t stream;
    unsigned char *stage[STAGES]; /* pinned; NULL until first used */
    cudaEvent_t copied[STAGES];
    int next;
    mgi_blas *blas; /* NULL: not there */
    void *dnn;      /* likewise */
    bool dnn_asked;
    cudaError_t error; /* the first that was not told yet, or that lasts */
    bool capturing;
    const char *refused; /* what was asked for and cannot be captured; NULL: nothing */
    mgi_cuda_watch *watches;
    const mgi_cuda_watch *failed; /* has ended its work, which was not told yet */
};

static void note(mgi_cuda *cuda, cudaError_t error)
{
    if (error != cudaSuccess) {
        cudaGetLastError(); /* it is kept here from now on */
        if (cuda->error == cudaSuccess)
            cuda->error = error;
    }
}

/* Until the event, NULL: all of the stream, is done and, with `beside`, what runs beside it. */
static void await(mgi_cuda *cuda, cudaEvent_t event, bool beside)
{
    bool whole = cuda->error == cudaSuccess, waits = true;
    for (int times = 0; cuda->watches && whole && waits; times++) {
        bool busy = false;
        waits =
            (event ? cudaEventQuery(event) : cudaStreamQuery(cuda->stream)) == cudaErrorNotReady;
        for (mgi_cuda_watch *w = cuda->watches; w && whole && (waits || beside); w = w->next)
            if (!w->poll(w->user, times, &busy)) {
                cuda->failed = w;
                whole = false;
            }
        waits = waits || (beside && busy);
    }
    if (cuda->error == cudaSuccess)
        note(cuda, event ? cudaEventSynchronize(event) : cudaStreamSynchronize(cuda->stream));
}

int mgi_cuda_count(char *why, size_t size)
{
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count > 0)
        return count;
    cudaGetLastError();
    if (why && size)
        snprintf(why, size, "%s",
                 error == cudaErrorInsufficientDriver ? "no NVIDIA driver, or one that is too old"
                 : error == cudaSuccess               ? "the driver finds no GPU"
                                                      : cudaGetErrorString(error));
    return 0;
}

bool mgi_cuda_open_dnn(mgi_cuda *cuda)
{
#ifdef MGK_CUDA_EMULATED
    const mgk_cudnn_options options = {mgk_emulated_cudnn(), NULL};
#else
    const mgk_cudnn_options options = {NULL, NULL};
#endif
    char why[256] = "no memory for it";
    if (cuda->dnn_asked)
        return cuda->dnn != NULL;
    cuda->dnn_asked = true;
    cudaSetDevice(cuda->index);
    if (mgi_alloc_zero(cuda->ctx, 1, mgk_cudnn_bytes(), &cuda->dnn) == MGEN_OK &&
        mgk_cudnn_open(cuda->dnn, &options, why, sizeof why))
        return true;
    mgi_log(cuda->ctx, MGEN_LOG_WARN,
            "cuda:%d: %s; attention uses the library's own kernels, which are slower here",
            cuda->index, why);
    mgi_free(cuda->ctx, cuda->dnn);
    cuda->dnn = NULL;
    return false;
}

static void close_dnn(mgi_cuda *cuda)
{
    if (cuda->dnn)
        mgk_cudnn_close(cuda->dnn);
    mgi_free(cuda->ctx, cuda->dnn);
}

static mgen_status make(mgi_cuda *cuda)
{
    note(cuda, cudaSetDevice(cuda->index));
    note(cuda,
         cudaDeviceGetAttribute(&cuda->major, cudaDevAttrComputeCapabilityMajor, cuda->index));
    note(cuda,
         cudaDeviceGetAttribute(&cuda->processors, cudaDevAttrMultiProcessorCount, cuda->index));
    if (cuda->error == cudaSuccess && cuda->major < OLDEST_MAJOR)
        return mgi_fail(cuda->ctx, MGEN_E_UNSUPPORTED,
                        "device cuda:%d has compute capability %d; 8.0 (A100) or later is needed",
                        cuda->index, cuda->major);
    note(cuda, cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking));
    for (int i = 0; i < STAGES; i++)
        note(cuda, cudaEventCreateWithFlags(&cuda->copied[i], cudaEventDisableTiming));
    MGI_TRY(mgi_cuda_status(cuda));
    MGI_TRY(mgi_blas_open(cuda->ctx, cuda, &cuda->blas));
    return mgi_cuda_status(cuda);
}

mgen_status mgi_cuda_open(mgen_context *ctx, int index, mgi_cuda **out)
{
    char why[128];
    int count = mgi_cuda_count(why, sizeof why);
    mgi_cuda *cuda;
    *out = NULL;
    if (count == 0)
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED, "device cuda:%d: %s; \"cpu\" always works", index,
                        why);
    if (index < 0 || index >= count)
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "device cuda:%d does not exist; this machine has cuda:0 to cuda:%d", index,
                        count - 1);
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *cuda, &cuda));
    cuda->ctx = ctx;
    cuda->index = index;
    mgen_status status = make(cuda);
    if (status != MGEN_OK)
        mgi_cuda_close(cuda);
    else
        *out = cuda;
    return status;
}

void mgi_cuda_close(mgi_cuda *cuda)
{
    if (!cuda)
        return;
    cudaSetDevice(cuda->index);
    if (cuda->stream)
        cudaStreamSynchronize(cuda->stream);
    close_dnn(cuda);
    mgi_blas_close(cuda->blas);
    for (int i = 0; i < STAGES; i++) {
        if (cuda->stage[i])
            cudaFreeHost(cuda->stage[i]);
        if (cuda->copied[i])
            cudaEventDestroy(cuda->copied[i]);
    }
    if (cuda->stream)
        cudaStreamDestroy(cuda->stream);
    cudaGetLastError();
    mgi_free(cuda->ctx, cuda);
}

int mgi_cuda_index(const mgi_cuda *cuda)
{
    return cuda->index;
}

uint32_t mgi_cuda_features(const mgi_cuda *cuda)
{
    return MGK_NEEDS_CUDA | (cuda->major == HOPPER_MAJOR ? MGK_NEEDS_SM90 : 0) |
           (cuda->dnn ? MGK_NEEDS_CUDNN : 0);
}

mgen_status mgi_cuda_alloc(mgi_cuda *cuda, size_t bytes, bool tells, void **out)
{
    size_t available = 0, total = 0;
    cudaSetDevice(cuda->index);
    cudaError_t error = cudaMalloc(out, bytes);
    if (error == cudaSuccess)
        return MGEN_OK;
    cudaGetLastError();
    *out = NULL;
    if (error != cudaErrorMemoryAllocation) {
        note(cuda, error);
        return mgi_cuda_status(cuda);
    }
    if (cudaMemGetInfo(&available, &total) != cudaSuccess)
        cudaGetLastError();
    return mgi_fail(tells ? cuda->ctx : NULL, MGEN_E_NO_MEMORY,
                    "no memory for %zu bytes on cuda:%d; %zu of its %zu are free", bytes,
                    cuda->index, available, total);
}

void mgi_cuda_free(mgi_cuda *cuda, void *ptr)
{
    cudaSetDevice(cuda->index);
    if (cuda->watches && !cuda->capturing)
        await(cuda, NULL, true);
    note(cuda, cudaFree(ptr)); /* waits for all that the GPU does */
}

void mgi_cuda_write(mgi_cuda *cuda, void *to, const void *from, size_t bytes)
{
    if (cuda->capturing) {
        mgi_cuda_refuse(cuda, "copying from the host");
        return;
    }
    cudaSetDevice(cuda->index);
    for (size_t done = 0; done < bytes && cuda->error == cudaSuccess;) {
        int i = cuda->next;
        size_t part = bytes - done < STAGE_BYTES ? bytes - done : STAGE_BYTES;
        if (!cuda->stage[i])
            note(cuda, cudaMallocHost((void **)&cuda->stage[i], STAGE_BYTES));
        await(cuda, cuda->copied[i], false); /* done at once if never recorded */
        if (cuda->error != cudaSuccess)
            return;
        memcpy(cuda->stage[i], (const char *)from + done, part);
        note(cuda, cudaMemcpyAsync((char *)to + done, cuda->stage[i], part, cudaMemcpyHostToDevice,
                                   cuda->stream));
        note(cuda, cudaEventRecord(cuda->copied[i], cuda->stream));
        cuda->next = (i + 1) % STAGES;
        done += part;
    }
}

void mgi_cuda_read(mgi_cuda *cuda, void *to, const void *from, size_t bytes)
{
    if (cuda->capturing) {
        mgi_cuda_refuse(cuda, "copying to the host");
        memset(to, 0, bytes);
        return;
    }
    cudaSetDevice(cuda->index);
    if (cuda->error == cudaSuccess && bytes > 0)
        note(cuda, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, cuda->stream));
    mgi_cuda_wait(cuda);
    if (cuda->error != cudaSuccess || cuda->failed)
        memset(to, 0, bytes);
}

void mgi_cuda_wait(mgi_cuda *cuda)
{
    if (cuda->capturing) {
        mgi_cuda_refuse(cuda, "waiting for the GPU");
        return;
    }
    cudaSetDevice(cuda->index);
    await(cuda, NULL, false);
}

/* Whether the GPU takes more work from this process after the error. */
static bool survives(cudaError_t error)
{
    return error == cudaErrorMemoryAllocation || error == cudaErrorInvalidValue ||
           error == cudaErrorInvalidConfiguration || error == cudaErrorLaunchOutOfResources ||
           error == cudaErrorNoKernelImageForDevice ||
           (error >= cudaErrorStreamCaptureUnsupported &&
            error <= cudaErrorStreamCaptureWrongThread);
}

mgen_status mgi_cuda_status(mgi_cuda *cuda)
{
    note(cuda, cudaPeekAtLastError());
    cudaError_t error = cuda->error;
    if (error == cudaSuccess && cuda->refused)
        return mgi_cuda_refuse(cuda, cuda->refused);
    if (error == cudaSuccess && cuda->failed) {
        const mgi_cuda_watch *failed = cuda->failed;
        cuda->failed = NULL;
        return failed->check(failed->user);
    }
    if (error == cudaSuccess)
        return MGEN_OK;
    if (survives(error)) {
        cuda->error = cudaSuccess;
        return mgi_fail(cuda->ctx, MGEN_E_DEVICE, "cuda:%d: %s (%s)", cuda->index,
                        cudaGetErrorString(error), cudaGetErrorName(error));
    }
    return mgi_fail(cuda->ctx, MGEN_E_DEVICE_LOST,
                    "cuda:%d: %s (%s); this process can use the device no more", cuda->index,
                    cudaGetErrorString(error), cudaGetErrorName(error));
}

/* -- graphs ----------------------------------------------------------------------------------- */

mgen_status mgi_cuda_capture_begin(mgi_cuda *cuda)
{
    cudaSetDevice(cuda->index);
    /* other threads go on with contexts of their own */
    note(cuda, cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal));
    cuda->capturing = cuda->error == cudaSuccess;
    return mgi_cuda_status(cuda);
}

/* Also ends a capture of which nothing will come. */
mgen_status mgi_cuda_capture_end(mgi_cuda *cuda, void **graph)
{
    cudaGraph_t captured = NULL;
    cudaGraphExec_t exec = NULL;
    *graph = NULL;
    cudaSetDevice(cuda->index);
    note(cuda, cudaStreamEndCapture(cuda->stream, &captured));
    mgen_status status = mgi_cuda_status(cuda);
    cuda->capturing = false;
    cuda->refused = NULL;
    if (status == MGEN_OK) {
        note(cuda, cudaGraphInstantiateWithFlags(&exec, captured, 0));
        status = mgi_cuda_status(cuda);
    }
    if (captured)
        cudaGraphDestroy(captured);
    if (status == MGEN_OK)
        *graph = exec;
    return status;
}

bool mgi_cuda_capturing(const mgi_cuda *cuda)
{
    return cuda->capturing;
}

mgen_status mgi_cuda_refuse(mgi_cuda *cuda, const char *what)
{
    if (!cuda->refused)
        cuda->refused = what;
    return mgi_fail(cuda->ctx, MGEN_E_UNSUPPORTED, "cuda:%d: %s cannot be part of a CUDA graph",
                    cuda->index, cuda->refused);
}

mgen_status mgi_cuda_graph_launch(mgi_cuda *cuda, void *graph)
{
    cudaSetDevice(cuda->index);
    if (cuda->error == cudaSuccess)
        note(cuda, cudaGraphLaunch((cudaGraphExec_t)graph, cuda->stream));
    return mgi_cuda_status(cuda);
}

void mgi_cuda_graph_free(mgi_cuda *cuda, void *graph)
{
    mgi_cuda_wait(cuda); /* it may be running */
    note(cuda, cudaGraphExecDestroy((cudaGraphExec_t)graph));
}

/* -- beside it -------------------------------------------------------------------------------- */

struct mgi_cuda_side {
    mgi_cuda *cuda;
    cudaStream_t stream;
    cudaEvent_t ready, marks[MGI_CUDA_MARKS];
};

mgen_status mgi_cuda_side_open(mgi_cuda *cuda, mgi_cuda_side **out)
{
    mgi_cuda_side *side;
    int least = 0, first = 0;
    MGI_TRY(mgi_alloc_zero(cuda->ctx, 1, sizeof *side, &side));
    side->cuda = cuda;
    cudaSetDevice(cuda->index);
    note(cuda, cudaDeviceGetStreamPriorityRange(&least, &first));
    note(cuda, cudaStreamCreateWithPriority(&side->stream, cudaStreamNonBlocking, first));
    note(cuda, cudaEventCreateWithFlags(&side->ready, cudaEventDisableTiming));
    for (int i = 0; i < MGI_CUDA_MARKS; i++)
        note(cuda, cudaEventCreateWithFlags(&side->marks[i], cudaEventDisableTiming));
    mgen_status status = mgi_cuda_status(cuda);
    if (status != MGEN_OK) {
        mgi_cuda_side_close(side);
        side = NULL;
    }
    *out = side;
    return status;
}

void mgi_cuda_side_close(mgi_cuda_side *side)
{
    if (!side)
        return;
    cudaSetDevice(side->cuda->index);
    for (int i = 0; i < MGI_CUDA_MARKS; i++)
        if (side->marks[i])
            cudaEventDestroy(side->marks[i]);
    if (side->ready)
        cudaEventDestroy(side->ready);
    if (side->stream)
        cudaStreamDestroy(side->stream);
    cudaGetLastError();
    mgi_free(side->cuda->ctx, side);
}

void *mgi_cuda_side_stream(const mgi_cuda_side *side)
{
    cudaSetDevice(side->cuda->index);
    return side->stream;
}

mgen_status mgi_cuda_side_begin(mgi_cuda_side *side)
{
    mgi_cuda *cuda = side->cuda;
    if (cuda->capturing)
        return mgi_cuda_refuse(cuda, "a collective");
    cudaSetDevice(cuda->index);
    note(cuda, cudaEventRecord(side->ready, cuda->stream));
    note(cuda, cudaStreamWaitEvent(side->stream, side->ready, 0));
    return MGEN_OK;
}

void mgi_cuda_side_mark(mgi_cuda_side *side, uint64_t n)
{
    note(side->cuda, cudaEventRecord(side->marks[n % MGI_CUDA_MARKS], side->stream));
}

void mgi_cuda_side_join(mgi_cuda_side *side, uint64_t n)
{
    cudaSetDevice(side->cuda->index);
    note(side->cuda, cudaStreamWaitEvent(side->cuda->stream, side->marks[n % MGI_CUDA_MARKS], 0));
}

bool mgi_cuda_side_passed(mgi_cuda_side *side, uint64_t n)
{
    cudaSetDevice(side->cuda->index);
    cudaError_t error = cudaEventQuery(side->marks[n % MGI_CUDA_MARKS]);
    if (error == cudaErrorNotReady)
        return false;
    note(side->cuda, error);
    return true;
}

void mgi_cuda_watch_add(mgi_cuda *cuda, mgi_cuda_watch *watch)
{
    watch->next = cuda->watches;
    cuda->watches = watch;
}

void mgi_cuda_watch_remove(mgi_cuda *cuda, mgi_cuda_watch *watch)
{
    mgi_cuda_watch **at = &cuda->watches;
    while (*at != watch)
        at = &(*at)->next;
    *at = watch->next;
    if (cuda->failed == watch)
        cuda->failed = NULL;
}

int mgi_cuda_processors(const mgi_cuda *cuda)
{
    return cuda->processors;
}

/* -- for ops ---------------------------------------------------------------------------------- */

void *mgi_cuda_stream(mgi_cuda *cuda)
{
    cudaSetDevice(cuda->index);
    return (void *)cuda->stream;
}

void *mgi_cuda_blas(const mgi_cuda *cuda)
{
    return mgi_blas_library(cuda->blas);
}

void mgi_cuda_keep_choices(mgi_cuda *cuda)
{
    mgi_blas_keep(cuda->blas);
}

void mgi_cuda_settle(mgi_cuda *cuda)
{
    mgi_blas_settle(cuda->blas);
}

void *mgi_cuda_dnn(const mgi_cuda *cuda)
{
    return cuda->dnn;
}

#else

mgen_status mgi_cuda_capture_begin(mgi_cuda *cuda)
{
    (void)cuda;
    return MGEN_E_UNSUPPORTED;
}

mgen_status mgi_cuda_capture_end(mgi_cuda *cuda, void **graph)
{
    (void)cuda;
    *graph = NULL;
    return MGEN_E_UNSUPPORTED;
}

bool mgi_cuda_capturing(const mgi_cuda *cuda)
{
    (void)cuda;
    return false;
}

mgen_status mgi_cuda_refuse(mgi_cuda *cuda, const char *what)
{
    (void)cuda;
    (void)what;
    return MGEN_E_UNSUPPORTED;
}

mgen_status mgi_cuda_graph_launch(mgi_cuda *cuda, void *graph)
{
    (void)cuda;
    (void)graph;
    return MGEN_E_UNSUPPORTED;
}

void mgi_cuda_graph_free(mgi_cuda *cuda, void *graph)
{
    (void)cuda;
    (void)graph;
}

int mgi_cuda_count(char *why, size_t size)
{
    if (why && size)
        snprintf(why, size, "this library was built without CUDA");
    return 0;
}

mgen_status mgi_cuda_open(mgen_context *ctx, int index, mgi_cuda **out)
{
    *out = NULL;
    return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                    "device cuda:%d: this library was built without CUDA; \"cpu\" always works",
                    index);
}

void mgi_cuda_close(mgi_cuda *cuda)
{
    (void)cuda;
}

int mgi_cuda_index(const mgi_cuda *cuda)
{
    (void)cuda;
    return -1;
}

uint32_t mgi_cuda_features(const mgi_cuda *cuda)
{
    (void)cuda;
    return 0;
}

mgen_status mgi_cuda_alloc(mgi_cuda *cuda, size_t bytes, bool tells, void **out)
{
    (void)cuda;
    (void)bytes;
    (void)tells;
    *out = NULL;
    return MGEN_E_UNSUPPORTED;
}

void mgi_cuda_free(mgi_cuda *cuda, void *ptr)
{
    (void)cuda;
    (void)ptr;
}

void mgi_cuda_write(mgi_cuda *cuda, void *to, const void *from, size_t bytes)
{
    (void)cuda;
    (void)to;
    (void)from;
    (void)bytes;
}

void mgi_cuda_read(mgi_cuda *cuda, void *to, const void *from, size_t bytes)
{
    (void)cuda;
    (void)from;
    (void)to;
    (void)bytes;
}

void mgi_cuda_wait(mgi_cuda *cuda)
{
    (void)cuda;
}

mgen_status mgi_cuda_status(mgi_cuda *cuda)
{
    (void)cuda;
    return MGEN_OK;
}

void *mgi_cuda_stream(mgi_cuda *cuda)
{
    (void)cuda;
    return NULL;
}

void *mgi_cuda_blas(const mgi_cuda *cuda)
{
    (void)cuda;
    return NULL;
}

mgen_status mgi_cuda_side_open(mgi_cuda *cuda, mgi_cuda_side **out)
{
    (void)cuda;
    *out = NULL;
    return MGEN_E_UNSUPPORTED;
}

void mgi_cuda_side_close(mgi_cuda_side *side)
{
    (void)side;
}

void *mgi_cuda_side_stream(const mgi_cuda_side *side)
{
    (void)side;
    return NULL;
}

mgen_status mgi_cuda_side_begin(mgi_cuda_side *side)
{
    (void)side;
    return MGEN_E_UNSUPPORTED;
}

void mgi_cuda_side_mark(mgi_cuda_side *side, uint64_t n)
{
    (void)side;
    (void)n;
}

void mgi_cuda_side_join(mgi_cuda_side *side, uint64_t n)
{
    (void)side;
    (void)n;
}

bool mgi_cuda_side_passed(mgi_cuda_side *side, uint64_t n)
{
    (void)side;
    (void)n;
    return true;
}

void mgi_cuda_watch_add(mgi_cuda *cuda, mgi_cuda_watch *watch)
{
    (void)cuda;
    (void)watch;
}

void mgi_cuda_watch_remove(mgi_cuda *cuda, mgi_cuda_watch *watch)
{
    (void)cuda;
    (void)watch;
}

int mgi_cuda_processors(const mgi_cuda *cuda)
{
    (void)cuda;
    return 0;
}

void *mgi_cuda_dnn(const mgi_cuda *cuda)
{
    (void)cuda;
    return NULL;
}

void mgi_cuda_keep_choices(mgi_cuda *cuda)
{
    (void)cuda;
}

void mgi_cuda_settle(mgi_cuda *cuda)
{
    (void)cuda;
}

bool mgi_cuda_open_dnn(mgi_cuda *cuda)
{
    (void)cuda;
    return false;
}

#endif
