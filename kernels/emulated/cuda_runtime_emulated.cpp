/* SPDX-License-Identifier: MIT
 * One large range of addresses is the GPU's memory: blocks are cut from it, first fit. */
#include "cuda_runtime_emulated.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct node {
    node *next;
    void (*replay)(const void *);
    alignas(MGK_EMULATED_ALIGN) unsigned char what[];
};

/* A graph, captured or instantiated: the latter is the same nodes under another owner. */
struct mgk_emulated_graph {
    node *first, **end;
    int owners;
};

struct mgk_emulated_stream {
    mgk_emulated_graph *graph; /* being captured */
    bool spoilt;
};

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
int opened, graphs, gpus = 1, major = 9;
thread_local cudaError_t last, planned, planned_graph;
thread_local cudaStream_t capturing; /* by this thread */

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

/* A call that may not be made by a thread that captures. */
bool forbidden()
{
    if (capturing) {
        capturing->spoilt = true;
        last = cudaErrorStreamCaptureUnsupported;
    }
    return capturing != NULL;
}

void release(mgk_emulated_graph *graph)
{
    if (!graph || --graph->owners > 0)
        return;
    for (node *n = graph->first; n;) {
        node *next = n->next;
        free(n);
        n = next;
    }
    free(graph);
    graphs--;
}

struct copy {
    void *to;
    const void *from;
    size_t bytes;
};

void run_copy(const void *what)
{
    const copy *c = (const copy *)what;
    memcpy(c->to, c->from, c->bytes);
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

void mgk_emulated_fail_graph(cudaError_t error)
{
    planned_graph = error;
}

int mgk_emulated_graphs(void)
{
    return graphs;
}

void mgk_emulated_machine(int gpus_, int major_)
{
    gpus = gpus_;
    major = major_;
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
    if (forbidden())
        return last;
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
    if (forbidden())
        return last;
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

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, int, cudaStream_t stream)
{
    const copy c = {to, from, bytes};
    void *kept = mgk_emulated_captured(stream, run_copy, sizeof c);
    if (kept) {
        memcpy(kept, &c, sizeof c);
        return cudaSuccess;
    }
    mgk_emulated_open();
    run_copy(&c);
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
    *count = gpus;
    return gpus > 0 ? cudaSuccess : fail(cudaErrorInsufficientDriver);
}

cudaError_t cudaSetDevice(int index)
{
    return index >= 0 && index < gpus ? cudaSuccess : fail(cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetAttribute(int *value, int, int)
{
    *value = major;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    *out = (cudaStream_t)calloc(1, sizeof **out);
    return *out ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return stream && stream == capturing && forbidden() ? last : cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    return cudaStreamSynchronize(stream);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int)
{
    if (capturing || stream->graph)
        return fail(cudaErrorStreamCaptureUnsupported);
    stream->graph = (cudaGraph_t)calloc(1, sizeof *stream->graph);
    if (!stream->graph)
        return fail(cudaErrorMemoryAllocation);
    stream->graph->end = &stream->graph->first;
    stream->graph->owners = 1;
    stream->spoilt = false;
    capturing = stream;
    graphs++;
    return cudaSuccess;
}

void *mgk_emulated_captured(cudaStream_t stream, void (*replay)(const void *), size_t bytes)
{
    if (!stream || !stream->graph)
        return NULL;
    const size_t a = MGK_EMULATED_ALIGN;
    node *n = (node *)aligned_alloc(a, (sizeof *n + bytes + a - 1) / a * a);
    if (!n)
        abort();
    n->next = NULL;
    n->replay = replay;
    *stream->graph->end = n;
    stream->graph->end = &n->next;
    return n->what;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    *out = NULL;
    if (!stream->graph)
        return fail(cudaErrorStreamCaptureUnmatched);
    if (capturing != stream)
        return fail(cudaErrorStreamCaptureWrongThread);
    capturing = NULL;
    if (stream->spoilt)
        release(stream->graph);
    else
        *out = stream->graph;
    stream->graph = NULL;
    return *out ? cudaSuccess : fail(cudaErrorStreamCaptureInvalidated);
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t graph,
                                          unsigned long long)
{
    cudaError_t error = planned_graph;
    planned_graph = cudaSuccess;
    if (error != cudaSuccess)
        return fail(error);
    graph->owners++;
    *out = graph;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t)
{
    if (!mgk_emulated_may_launch())
        return last;
    mgk_emulated_open();
    for (node *n = graph->first; n; n = n->next)
        n->replay(n->what);
    mgk_emulated_close();
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    release(graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    release(graph);
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
