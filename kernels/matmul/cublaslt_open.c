/* SPDX-License-Identifier: MIT
 * cuBLASLt, found when the program runs. */
#include "kernels/matmul/matmul_cublaslt.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef struct library {
    mgk_cublaslt_api api; /* products find it there */
    void *file;
    int (*create)(void **handle);
    int (*destroy)(void *handle);
} library;

_Static_assert(offsetof(library, api) == 0, "products find it there");

static bool find(void *file, const char *name, void *out, size_t size)
{
    void *p = dlsym(file, name);
    memcpy(out, &p, size);
    return p != NULL;
}

static bool find_all(library *l)
{
    mgk_cublaslt_api *a = &l->api;
    find(l->file, "cublasLtGetVersion", &a->version, sizeof a->version);
    return find(l->file, "cublasLtCreate", &l->create, sizeof l->create) &&
           find(l->file, "cublasLtDestroy", &l->destroy, sizeof l->destroy) &&
           find(l->file, "cublasLtMatmulDescInit_internal", &a->product_init,
                sizeof a->product_init) &&
           find(l->file, "cublasLtMatmulDescSetAttribute", &a->product_set,
                sizeof a->product_set) &&
           find(l->file, "cublasLtMatrixLayoutInit_internal", &a->layout_init,
                sizeof a->layout_init) &&
           find(l->file, "cublasLtMatrixLayoutSetAttribute", &a->layout_set,
                sizeof a->layout_set) &&
           find(l->file, "cublasLtMatmulPreferenceInit_internal", &a->wish_init,
                sizeof a->wish_init) &&
           find(l->file, "cublasLtMatmulPreferenceSetAttribute", &a->wish_set,
                sizeof a->wish_set) &&
           find(l->file, "cublasLtMatmulAlgoGetHeuristic", &a->heuristic, sizeof a->heuristic) &&
           find(l->file, "cublasLtMatmulAlgoCheck", &a->check, sizeof a->check) &&
           find(l->file, "cublasLtMatmul", &a->matmul, sizeof a->matmul);
}

size_t mgk_cublaslt_bytes(void)
{
    return sizeof(library);
}

int mgk_cublaslt_open(void *memory, const char *file, char *why, size_t size)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
    library *l = memory;
    const char *const *name = file ? &file : names;
    const size_t count = file ? 1 : sizeof names / sizeof names[0];
    for (size_t i = 0; i < count && !l->file; i++)
        l->file = dlopen(name[i], RTLD_NOW | RTLD_LOCAL);
    if (!l->file)
        snprintf(why, size, "cuBLASLt was not found: %.200s", dlerror());
    else if (!find_all(l) || l->create(&l->api.handle) != 0)
        snprintf(why, size, "cuBLASLt was found but does not start");
    else
        return 1;
    l->api.handle = NULL;
    mgk_cublaslt_close(memory);
    return 0;
}

void mgk_cublaslt_close(void *memory)
{
    library *l = memory;
    if (l->api.handle)
        l->destroy(l->api.handle);
    if (l->file)
        dlclose(l->file);
    l->api.handle = NULL;
    l->file = NULL;
}
