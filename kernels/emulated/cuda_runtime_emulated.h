/* SPDX-License-Identifier: MIT
 * The calls of the CUDA runtime that the library makes, played by the host, for tests only.
 *
 * The memory of this "GPU" cannot be touched by the host except inside a kernel or a copy: what reads a tensor
 * behind the device's back ends with a segmentation fault here. Work is done when a call returns. */
#ifndef MGK_CUDA_RUNTIME_EMULATED_H
#define MGK_CUDA_RUNTIME_EMULATED_H

#include <stddef.h>

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
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchOutOfResources = 701
} cudaError_t;

typedef struct mgk_emulated_stream *cudaStream_t;
typedef struct mgk_emulated_event *cudaEvent_t;

enum { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
enum { cudaDevAttrComputeCapabilityMajor = 75 };

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int index);
cudaError_t cudaDeviceGetAttribute(int *value, int attribute, int index);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *ptr);
cudaError_t cudaMallocHost(void **out, size_t bytes);
cudaError_t cudaFreeHost(void *ptr);
cudaError_t cudaMemGetInfo(size_t *available, size_t *total);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, int direction,
                            cudaStream_t stream);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
const char *cudaGetErrorString(cudaError_t error);
const char *cudaGetErrorName(cudaError_t error);

/* ---- for tests ---- */

/* The calling thread's next launch fails with `error`. */
void mgk_emulated_fail(cudaError_t error);
/* Bytes that the GPU has, at most 16 GiB; the default is all of them. */
void mgk_emulated_memory(size_t bytes);
/* The GPU's memory that is in use. */
size_t mgk_emulated_used(void);
/* From open to close the host may touch the GPU's memory. */
void mgk_emulated_open(void);
void mgk_emulated_close(void);
/* Whether this launch may run; if not, the error is kept. */
int mgk_emulated_may_launch(void);

#ifdef __cplusplus
}
#endif

#endif
