/* SPDX-License-Identifier: MIT
 * One large range of addresses is the GPU's memory: blocks are cut from it, first fit. */
#include "cuda_runtime_emulated.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

namespace
{

const size_t RANGE = (size_t)16 << 30, STEP = 4096;

struct block {
    size_t at, bytes;
    block *next;
};

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
unsigned char *range;
block *blocks; /* in use, in rising order */
size_t limit = RANGE, used, top;
int opened;
thread_local cudaError_t last, planned;

void protect(int how)
{
    if (range && top > 0)
        mprotect(range, top, how);
}

cudaError_t fail(cudaError_t error)
{
    last = error;
    return error;
}

/* Where `bytes` fit. */
bool place(size_t bytes, block **made)
{
    block **link = &blocks;
    size_t at = 0;
    for (; *link && (*link)->at - at < bytes; link = &(*link)->next)
        at = (*link)->at + (*link)->bytes;
    if (at + bytes > RANGE || used + bytes > limit)
        return false;
    block *b = (block *)malloc(sizeof *b);
    if (!b)
        return false;
    b->at = at;
    b->bytes = bytes;
    b->next = *link;
    *link = b;
    *made = b;
    return true;
}

} // namespace

void mgk_emulated_open(void)
{
    pthread_mutex_lock(&lock);
    if (opened++ == 0)
        protect(PROT_READ | PROT_WRITE);
    pthread_mutex_unlock(&lock);
}

void mgk_emulated_close(void)
{
    pthread_mutex_lock(&lock);
    if (--opened == 0)
        protect(PROT_NONE);
    pthread_mutex_unlock(&lock);
}

void mgk_emulated_fail(cudaError_t error)
{
    planned = error;
}

void mgk_emulated_memory(size_t bytes)
{
    limit = bytes < RANGE ? bytes : RANGE;
}

size_t mgk_emulated_used(void)
{
    return used;
}

int mgk_emulated_may_launch(void)
{
    cudaError_t error = planned;
    planned = cudaSuccess;
    if (error != cudaSuccess)
        last = error;
    return error == cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    block *b;
    bytes = (bytes + STEP - 1) / STEP * STEP + (bytes == 0) * STEP;
    pthread_mutex_lock(&lock);
    if (!range) {
        void *p = mmap(NULL, RANGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        range = p == MAP_FAILED ? NULL : (unsigned char *)p;
    }
    bool good = range && place(bytes, &b);
    if (good) {
        used += bytes;
        *out = range + b->at;
        mprotect(range + b->at, bytes, PROT_READ | PROT_WRITE);
        memset(range + b->at, 0xff, bytes); /* as floats: not-a-number */
        if (opened == 0)
            mprotect(range + b->at, bytes, PROT_NONE);
        top = b->at + bytes > top ? b->at + bytes : top;
    }
    pthread_mutex_unlock(&lock);
    return good ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void *ptr)
{
    if (!ptr)
        return cudaSuccess;
    pthread_mutex_lock(&lock);
    size_t at = (size_t)((unsigned char *)ptr - range);
    block **link = &blocks;
    while (*link && (*link)->at != at)
        link = &(*link)->next;
    block *b = *link;
    if (b) {
        *link = b->next;
        used -= b->bytes;
        madvise(range + b->at, b->bytes, MADV_DONTNEED);
        free(b);
    }
    pthread_mutex_unlock(&lock);
    return b ? cudaSuccess : fail(cudaErrorInvalidValue);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, int, cudaStream_t)
{
    mgk_emulated_open();
    memcpy(to, from, bytes);
    mgk_emulated_close();
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    *available = limit - used;
    *total = limit;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    *out = malloc(bytes);
    return *out ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void *ptr)
{
    free(ptr);
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int index)
{
    return index == 0 ? cudaSuccess : fail(cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetAttribute(int *value, int, int)
{
    *value = 9;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    *out = (cudaStream_t)malloc(1);
    return *out ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = (cudaEvent_t)malloc(1);
    return *out ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last;
    last = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last;
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaErrorMemoryAllocation ? "out of memory" : "an emulated error";
}

const char *cudaGetErrorName(cudaError_t error)
{
    return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaErrorEmulated";
}
