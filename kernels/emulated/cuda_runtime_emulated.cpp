/* SPDX-License-Identifier: MIT
 * One large range of addresses is the GPU's memory: blocks are cut from it, first fit. */
#include "cuda_runtime_emulated.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A graph, captured or instantiated, or launched and not done: always the same work under another owner. */
struct mgk_emulated_graph {
    void **kept;
    size_t count;
    int owners;
};

struct mgk_emulated_stream {
    mgk_queue *queue;
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
const char no_cudnn[] = "a cuDNN for the emulated GPU", *cudnn = no_cudnn, *cublaslt;
const char *name = "Emulated GPU";
const double UNTIMED = -1; /* of an event */
double now;                /* milliseconds that all work takes which was put onto streams so far */
thread_local cudaError_t last, planned, planned_graph, planned_wait;
thread_local int waits;              /* until the one that was planned */
thread_local cudaStream_t capturing; /* by this thread */
thread_local int device;

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
    pthread_mutex_lock(&lock);
    bool used = !graph || --graph->owners > 0;
    graphs -= !used;
    pthread_mutex_unlock(&lock);
    if (used)
        return;
    for (size_t i = 0; i < graph->count; i++)
        mgk_queue_drop(graph->kept[i]);
    free(graph->kept);
    free(graph);
}

struct copy {
    void *to;
    const void *from;
    size_t bytes;
};

bool run_copy(void *what)
{
    const copy *c = (const copy *)what;
    mgk_emulated_open();
    memcpy(c->to, c->from, c->bytes);
    mgk_emulated_close();
    return true;
}

bool run_graph(void *what)
{
    mgk_emulated_graph *graph = *(mgk_emulated_graph **)what;
    for (size_t i = 0; i < graph->count; i++)
        mgk_queue_call(graph->kept[i]);
    release(graph);
    return true;
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

void mgk_emulated_fail_wait(cudaError_t error, int number)
{
    planned_wait = error;
    waits = number;
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

void mgk_emulated_set_cudnn(const char *file)
{
    cudnn = file ? file : no_cudnn;
}

const char *mgk_emulated_cudnn(void)
{
    return cudnn;
}

void mgk_emulated_set_cublaslt(const char *file)
{
    cublaslt = file;
}

const char *mgk_emulated_cublaslt(void)
{
    return cublaslt;
}

void mgk_emulated_name(const char *name_)
{
    name = name_;
}

void mgk_emulated_spend(double milliseconds)
{
    pthread_mutex_lock(&lock);
    now += milliseconds;
    pthread_mutex_unlock(&lock);
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
    mgk_queue_wait_device(device);
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
    copy *c = (copy *)mgk_queue_keep(run_copy, sizeof *c);
    *c = copy{to, from, bytes};
    mgk_emulated_put(stream, c);
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

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int index)
{
    if (index < 0 || index >= gpus)
        return fail(cudaErrorInvalidDevice);
    memset(out, 0, sizeof *out);
    strncpy(out->name, name, sizeof out->name - 1);
    out->major = major;
    out->multiProcessorCount = 132;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int index)
{
    device = index;
    return index >= 0 && index < gpus ? cudaSuccess : fail(cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetAttribute(int *value, int attribute, int)
{
    *value = attribute == cudaDevAttrMultiProcessorCount ? 132 : major;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned, int)
{
    *out = (cudaStream_t)calloc(1, sizeof **out);
    if (*out)
        (*out)->queue = mgk_queue_new(device);
    return *out && (*out)->queue ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    return cudaStreamCreateWithPriority(out, flags, 0);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    if (stream == capturing && forbidden())
        return last;
    mgk_queue_wait(stream->queue);
    return waits > 0 && --waits == 0 ? fail(planned_wait) : cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    if (stream == capturing && forbidden())
        return last;
    return mgk_queue_done(stream->queue) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    mgk_queue_follow(stream->queue, event);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    mgk_queue_free(stream->queue);
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
    stream->graph->owners = 1;
    stream->spoilt = false;
    capturing = stream;
    pthread_mutex_lock(&lock);
    graphs++;
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

void mgk_emulated_put(void *to, void *kept)
{
    cudaStream_t stream = (cudaStream_t)to;
    if (!stream) {
        mgk_queue_call(kept);
        mgk_queue_drop(kept);
        return;
    }
    mgk_emulated_graph *g = stream->graph;
    if (!g) {
        mgk_queue_put(stream->queue, kept);
        return;
    }
    g->kept = (void **)realloc(g->kept, (g->count + 1) * sizeof *g->kept);
    if (!g->kept)
        abort();
    g->kept[g->count++] = kept;
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
    pthread_mutex_lock(&lock);
    graph->owners++;
    pthread_mutex_unlock(&lock);
    *out = graph;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
    if (!mgk_emulated_may_launch())
        return last;
    mgk_emulated_graph **kept = (mgk_emulated_graph **)mgk_queue_keep(run_graph, sizeof graph);
    pthread_mutex_lock(&lock);
    graph->owners++;
    pthread_mutex_unlock(&lock);
    *kept = graph;
    mgk_emulated_put(stream, kept);
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

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    *out = mgk_queue_event_new();
    if (!*out)
        return fail(cudaErrorMemoryAllocation);
    if (flags & cudaEventDisableTiming)
        *mgk_queue_event_time(*out) = UNTIMED;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    double *time = mgk_queue_event_time(event);
    pthread_mutex_lock(&lock);
    if (*time != UNTIMED)
        *time = now;
    pthread_mutex_unlock(&lock);
    mgk_queue_record(stream->queue, event);
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to)
{
    const double begin = *mgk_queue_event_time(from), end = *mgk_queue_event_time(to);
    if (begin == UNTIMED || end == UNTIMED)
        return fail(cudaErrorInvalidResourceHandle);
    if (!mgk_queue_event_done(from) || !mgk_queue_event_done(to))
        return fail(cudaErrorNotReady);
    *milliseconds = (float)(end - begin);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return mgk_queue_event_done(event) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    mgk_queue_event_wait(event);
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    mgk_queue_event_free(event);
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
