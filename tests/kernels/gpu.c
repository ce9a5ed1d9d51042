/* SPDX-License-Identifier: MIT */
#include "gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(MGI_HAVE_CUDA) && !defined(MGK_CUDA_EMULATED)
#include "kernels/attention/attention_cudnn.h"
#include "kernels/matmul/matmul_cublaslt.h"
#include <cuda_runtime_api.h>

/* Timed at most so often, and not more than RUNS_LEAST times if that takes RUNS_MS. */
enum { RUNS = 21, RUNS_LEAST = 3, RUNS_MS = 500, ZONE_BYTES = 512, ZONE_VALUE = 0x5a };

static struct {
    unsigned char *memory; /* of the GPU, one piece */
    size_t bytes, used;
    unsigned char *workspace;
    size_t workspace_bytes;
    void *copy[MGK_CASE_BUFS];
    cudaEvent_t begin, end;
    void *blas, *dnn;
} gpu;

bool gpu_present(void)
{
    static int count = -1;
    if (count < 0 && cudaGetDeviceCount(&count) != cudaSuccess)
        count = 0;
    return count > 0;
}

bool gpu_is_hopper(void)
{
    int major = 0;
    return gpu_present() &&
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess &&
           major == 9;
}

/* With $MOVIEGEN_AUTOTUNE cuBLASLt's algorithms are timed, as a context does that is asked to. */
static struct {
    cudaEvent_t begin, end;
} tuning;

static bool tune_ready(void *user)
{
    (void)user;
    return true;
}

static void tune_start(void *user)
{
    (void)user;
    cudaEventRecord(tuning.begin, NULL);
}

static bool tune_stop(void *user, bool good, float *milliseconds)
{
    (void)user;
    if (!good)
        cudaGetLastError();
    cudaEventRecord(tuning.end, NULL);
    cudaEventSynchronize(tuning.end);
    return cudaEventElapsedTime(milliseconds, tuning.begin, tuning.end) == cudaSuccess && good;
}

static void *tune_take(void *user, size_t bytes)
{
    void *memory = NULL;
    (void)user;
    if (cudaMalloc(&memory, bytes) == cudaSuccess)
        return memory;
    cudaGetLastError();
    return NULL;
}

static void tune_give(void *user, void *memory)
{
    (void)user;
    cudaFree(memory);
}

static void tune(void)
{
    static const mgk_cublaslt_timer timer = {NULL,      tune_ready, tune_start,
                                             tune_stop, tune_take,  tune_give};
    if (getenv("MOVIEGEN_AUTOTUNE") && cudaEventCreate(&tuning.begin) == cudaSuccess &&
        cudaEventCreate(&tuning.end) == cudaSuccess)
        mgk_cublaslt_time_by(gpu.blas, &timer);
}

bool gpu_times(const mgk_variant_info *v)
{
    return tuning.begin && !strcmp(v->name, "cublaslt");
}

static void *open_blas(void)
{
    static bool tried;
    char why[256];
    if (!tried) {
        gpu.blas = calloc(1, mgk_cublaslt_bytes());
        if (gpu.blas && !mgk_cublaslt_open(gpu.blas, NULL, why, sizeof why)) {
            printf("# %s\n", why);
            free(gpu.blas);
            gpu.blas = NULL;
        }
        if (gpu.blas)
            tune();
    }
    tried = true;
    return gpu.blas;
}

void *gpu_dnn(void)
{
    static bool tried;
    const mgk_cudnn_options options = {NULL, NULL};
    char why[256];
    if (!tried) {
        gpu.dnn = calloc(1, mgk_cudnn_bytes());
        if (gpu.dnn && !mgk_cudnn_open(gpu.dnn, &options, why, sizeof why)) {
            printf("# %s\n", why);
            free(gpu.dnn);
            gpu.dnn = NULL;
        }
    }
    tried = true;
    return gpu.dnn;
}

static bool reserve(size_t bytes)
{
    if (bytes <= gpu.bytes)
        return true;
    cudaFree(gpu.memory);
    gpu.memory = NULL;
    gpu.bytes = 0;
    bytes += (size_t)64 << 20;
    if (cudaMalloc((void **)&gpu.memory, bytes) != cudaSuccess)
        return false;
    gpu.bytes = bytes;
    return true;
}

static size_t rounded(size_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

bool gpu_lend(mgk_case *c, const arena *a)
{
    size_t at = 0, need = 0;
    for (int i = 0; i < c->buf_count; i++)
        need += rounded(a->bufs[i].map_bytes);
    if (!reserve(need))
        return false;
    for (int i = 0; i < c->buf_count; i++) {
        const guarded *g = &a->bufs[i];
        size_t readable = guarded_readable(g);
        gpu.copy[i] = gpu.memory + at;
        if (cudaMemcpy(gpu.copy[i], g->map, readable, cudaMemcpyHostToDevice) != cudaSuccess)
            return false;
        *c->bufs[i].slot =
            (mgk_buf){(unsigned char *)gpu.copy[i] + (g->data - g->map), c->bufs[i].dtype};
        at += rounded(g->map_bytes);
    }
    if (c->finish)
        c->finish(c);
    return true;
}

static bool good(const mgk_variant_info *v, mgk_case *c, cudaError_t error)
{
    if (error == cudaSuccess)
        return true;
    blame(c, v->name, "%s (%s)", cudaGetErrorString(error), cudaGetErrorName(error));
    cudaGetLastError();
    if (cudaDeviceSynchronize() != cudaSuccess) {
        printf("Bail out! the GPU is lost\n");
        exit(1);
    }
    return false;
}

static bool make_workspace(size_t bytes)
{
    size_t all = bytes + (size_t)2 * ZONE_BYTES;
    if (all > gpu.workspace_bytes) {
        cudaFree(gpu.workspace);
        gpu.workspace_bytes = 0;
        if (cudaMalloc((void **)&gpu.workspace, all) != cudaSuccess)
            return false;
        gpu.workspace_bytes = all;
    }
    return cudaMemset(gpu.workspace, ZONE_VALUE, all) == cudaSuccess &&
           cudaMemset(gpu.workspace + ZONE_BYTES, 0xff, bytes) == cudaSuccess;
}

static bool workspace_intact(size_t bytes)
{
    unsigned char zone[ZONE_BYTES];
    for (int i = 0; i < 2; i++) {
        cudaMemcpy(zone, gpu.workspace + (i ? ZONE_BYTES + bytes : 0), sizeof zone,
                   cudaMemcpyDeviceToHost);
        for (size_t k = 0; k < sizeof zone; k++)
            if (zone[k] != ZONE_VALUE)
                return false;
    }
    return true;
}

bool gpu_launch(const mgk_variant_info *v, mgk_case *c, size_t bytes)
{
    if (!make_workspace(bytes))
        return false;
    mgk_exec x = {.workspace = gpu.workspace + ZONE_BYTES,
                  .workspace_bytes = bytes,
                  .blas = open_blas(),
                  .dnn = v->needs & MGK_NEEDS_CUDNN ? gpu_dnn() : NULL};
    v->launch(c->args.bytes, &x);
    if (!good(v, c, cudaGetLastError()) || !good(v, c, cudaDeviceSynchronize()))
        return false;
    if (workspace_intact(bytes))
        return true;
    blame(c, v->name, "wrote outside its workspace of %zu bytes", bytes);
    return false;
}

void gpu_return(mgk_case *c, arena *a)
{
    for (int i = 0; i < c->buf_count; i++) {
        guarded *g = &a->bufs[i];
        cudaMemcpy(g->map, gpu.copy[i], guarded_readable(g), cudaMemcpyDeviceToHost);
        *c->bufs[i].slot = (mgk_buf){g->data, c->bufs[i].dtype};
    }
    if (c->finish)
        c->finish(c);
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

double gpu_time(const mgk_variant_info *v, mgk_case *c, size_t workspace_bytes)
{
    float ms[RUNS] = {0};
    if (!gpu_launch(v, c, workspace_bytes))
        return 1e30;
    if (!gpu.begin &&
        (cudaEventCreate(&gpu.begin) != cudaSuccess || cudaEventCreate(&gpu.end) != cudaSuccess))
        return 1e30;
    mgk_exec x = {.workspace = gpu.workspace + ZONE_BYTES,
                  .workspace_bytes = workspace_bytes,
                  .blas = open_blas(),
                  .dnn = v->needs & MGK_NEEDS_CUDNN ? gpu_dnn() : NULL};
    int runs = 0;
    for (float sum = 0; runs < RUNS && (runs < RUNS_LEAST || sum < RUNS_MS); sum += ms[runs++]) {
        cudaEventRecord(gpu.begin, NULL);
        v->launch(c->args.bytes, &x);
        cudaEventRecord(gpu.end, NULL);
        cudaEventSynchronize(gpu.end);
        cudaEventElapsedTime(&ms[runs], gpu.begin, gpu.end);
    }
    qsort(ms, (size_t)runs, sizeof *ms, by_size);
    return (double)ms[runs / 2] * 1e-3;
}

#else

bool gpu_present(void)
{
    return false;
}

bool gpu_is_hopper(void)
{
    return false;
}

bool gpu_times(const mgk_variant_info *v)
{
    (void)v;
    return false;
}

void *gpu_dnn(void)
{
    return NULL;
}

bool gpu_lend(mgk_case *c, const arena *a)
{
    (void)c;
    (void)a;
    return false;
}

bool gpu_launch(const mgk_variant_info *v, mgk_case *c, size_t bytes)
{
    (void)v;
    (void)c;
    (void)bytes;
    return false;
}

void gpu_return(mgk_case *c, arena *a)
{
    (void)c;
    (void)a;
}

double gpu_time(const mgk_variant_info *v, mgk_case *c, size_t workspace_bytes)
{
    (void)v;
    (void)c;
    (void)workspace_bytes;
    return 0;
}

#endif
