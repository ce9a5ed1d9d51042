/* SPDX-License-Identifier: MIT
 * The part of cuBLASLt that products of FP8 codes use, declared here so that no header of it is needed: a device has it at
 * the beginning of what mgk_cublaslt_open fills. A test compares values and sizes with cublasLt.h where there is one. */
#ifndef MGK_CUBLASLT_API_H
#define MGK_CUBLASLT_API_H

#include <stddef.h>
#include <stdint.h>

/* Vectors of scales came with 12.9. */
enum { MGK_CUBLASLT_OUTER_SCALES = 120900 };

enum {
    MGK_CUBLASLT_F32 = 0, /* types */
    MGK_CUBLASLT_BF16 = 14,
    MGK_CUBLASLT_E4M3 = 28,
    MGK_CUBLASLT_COMPUTE_F32 = 68,
    MGK_CUBLASLT_TRANSPOSE = 1,
    MGK_CUBLASLT_SCALE_OUTER = 3,
    /* attributes of a product */
    MGK_CUBLASLT_TRANS_A = 3,
    MGK_CUBLASLT_A_SCALE = 17,
    MGK_CUBLASLT_B_SCALE = 18,
    MGK_CUBLASLT_A_SCALE_MODE = 31,
    MGK_CUBLASLT_B_SCALE_MODE = 32,
    /* of what is wanted */
    MGK_CUBLASLT_WORKSPACE = 1,
    MGK_CUBLASLT_ALIGNMENT_A = 5 /* B, C and D follow */
};

typedef struct mgk_cublaslt_words {
    uint64_t data[8];
} mgk_cublaslt_words; /* a layout, what is wanted, an algorithm */

typedef struct mgk_cublaslt_product {
    uint64_t data[32];
} mgk_cublaslt_product;

typedef struct mgk_cublaslt_found {
    mgk_cublaslt_words algorithm;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} mgk_cublaslt_found;

/* What the algorithm of a product of codes depends on. */
typedef struct mgk_cublaslt_codes {
    int64_t m, n, k, lda, ldb, ldc;
    int32_t out, asked; /* 0: there is nothing here */
} mgk_cublaslt_codes;

typedef struct mgk_cublaslt_kept {
    mgk_cublaslt_codes of;
    mgk_cublaslt_words algorithm;
    int32_t good; /* 0: cuBLASLt has none */
} mgk_cublaslt_kept;

enum { MGK_CUBLASLT_KEPT = 256 };

/* All but version answer 0 for success. */
typedef struct mgk_cublaslt_api {
    void *handle;
    size_t (*version)(void); /* NULL: too old to say */
    int (*product_init)(void *product, size_t bytes, int compute, int scale);
    int (*product_set)(void *product, int attribute, const void *value, size_t bytes);
    int (*layout_init)(void *layout, size_t bytes, int type, uint64_t rows, uint64_t columns,
                       int64_t ld);
    int (*wish_init)(void *wish, size_t bytes);
    int (*wish_set)(void *wish, int attribute, const void *value, size_t bytes);
    int (*heuristic)(void *handle, void *product, void *a, void *b, void *c, void *d, void *wish,
                     int most, mgk_cublaslt_found *found, int *count);
    int (*matmul)(void *handle, void *product, const void *alpha, const void *a, void *a_layout,
                  const void *b, void *b_layout, const void *beta, const void *c, void *c_layout,
                  void *d, void *d_layout, const mgk_cublaslt_words *algorithm, void *workspace,
                  size_t workspace_bytes, void *stream);
    mgk_cublaslt_kept kept[MGK_CUBLASLT_KEPT];
} mgk_cublaslt_api;

/* Where what is kept for a shape lies among `places`. */
static inline size_t mgk_cublaslt_place(const void *shape, size_t bytes, size_t places)
{
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ ((const unsigned char *)shape)[i]) * 1099511628211u;
    return hash % places;
}

#endif
