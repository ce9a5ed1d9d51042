/* SPDX-License-Identifier: MIT
 * The calls of the CUDA runtime that the library makes, played by the host, for tests only.
 *
 * The memory of this "GPU" cannot be touched by the host except inside a kernel or a copy: what reads a tensor
 * behind the device's back ends with a segmentation fault here. Work is done some time after it was put onto its
 * stream (stream_emulated.h), unless the stream is being captured: then it becomes part of a graph, with its arguments as
 * they are, and whatever a GPU refuses while a thread captures is refused here too, and spoils the capture. */
#ifndef MGK_CUDA_RUNTIME_EMULATED_H
#define MGK_CUDA_RUNTIME_EMULATED_H

#include "kernels/emulated/stream_emulated.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorInvalidDevice = 101,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchOutOfResources = 701,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureUnmatched = 903,
    cudaErrorStreamCaptureWrongThread = 908
} cudaError_t;

typedef struct mgk_emulated_stream *cudaStream_t;
typedef mgk_queue_event *cudaEvent_t;
typedef struct mgk_emulated_graph *cudaGraph_t, *cudaGraphExec_t;

enum { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
enum { cudaStreamCaptureModeThreadLocal = 1 };
enum { cudaDevAttrMultiProcessorCount = 16, cudaDevAttrComputeCapabilityMajor = 75 };

struct cudaDeviceProp { /* what the library asks for of it */
    char name[256];
    int major, minor, multiProcessorCount;
};

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int index);
cudaError_t cudaSetDevice(int index);
cudaError_t cudaDeviceGetAttribute(int *value, int attribute, int index);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *ptr);
cudaError_t cudaMallocHost(void **out, size_t bytes);
cudaError_t cudaFreeHost(void *ptr);
cudaError_t cudaMemGetInfo(size_t *available, size_t *total);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, int direction,
                            cudaStream_t stream);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out);
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t graph,
                                          unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
const char *cudaGetErrorString(cudaError_t error);
const char *cudaGetErrorName(cudaError_t error);

/* ---- for tests ---- */

/* The calling thread's next launch, of a kernel or a graph, fails with `error`. */
void mgk_emulated_fail(cudaError_t error);
/* So does its `number`-th wait for a stream from now on. */
void mgk_emulated_fail_wait(cudaError_t error, int number);
/* The next graph is not instantiated. */
void mgk_emulated_fail_graph(cudaError_t error);
/* Graphs that are not destroyed. */
int mgk_emulated_graphs(void);
/* GPUs, 0: there is no driver; and their compute capability. */
void mgk_emulated_machine(int gpus, int major);
/* The file of the cuDNN that contexts open, NULL: none is installed; and that file. */
void mgk_emulated_set_cudnn(const char *file);
const char *mgk_emulated_cudnn(void);
/* The same of cuBLASLt; contexts of an emulated GPU do without, and say nothing, if there is none. */
void mgk_emulated_set_cublaslt(const char *file);
const char *mgk_emulated_cublaslt(void);
/* Of GPUs, "Emulated GPU" at first. */
void mgk_emulated_name(const char *name);
/* What is put onto a stream now takes so long, of which events tell. */
void mgk_emulated_spend(double milliseconds);
/* Bytes that the GPU has, at most 16 GiB; the default is all of them. */
void mgk_emulated_memory(size_t bytes);
/* The GPU's memory that is in use. */
size_t mgk_emulated_used(void);
/* From open to close the host may touch the GPU's memory. */
void mgk_emulated_open(void);
void mgk_emulated_close(void);
/* Whether this launch may run; if not, the error is kept. */
int mgk_emulated_may_launch(void);
/* Of mgk_queue_keep: onto the stream, or into the graph that it is captured into; NULL: done at once. */
void mgk_emulated_put(void *stream, void *kept);

#ifdef __cplusplus
}
#endif

#endif
