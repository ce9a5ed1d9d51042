/* SPDX-License-Identifier: MIT
 * The part of cuBLASLt that products use, declared here so that no header of it is needed; how the algorithm of a shape
 * is chosen, and what a device keeps of that. A test compares values and sizes with cublasLt.h where there is one.
 *
 * cuBLASLt counts columns first: C = A B of ours is C^T = B^T A^T of its. Here all is its: A is our B. */
#ifndef MGK_CUBLASLT_API_H
#define MGK_CUBLASLT_API_H

#include <stdbool.h>
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
    MGK_CUBLASLT_TRANS_B = 4,
    MGK_CUBLASLT_A_SCALE = 17,
    MGK_CUBLASLT_B_SCALE = 18,
    MGK_CUBLASLT_A_SCALE_MODE = 31,
    MGK_CUBLASLT_B_SCALE_MODE = 32,
    /* of a layout */
    MGK_CUBLASLT_BATCH = 5,
    MGK_CUBLASLT_STRIDE = 6,
    /* of what is wanted */
    MGK_CUBLASLT_WORKSPACE = 1,
    MGK_CUBLASLT_REDUCTIONS = 3,
    MGK_CUBLASLT_ALIGNMENT_A = 5, /* B, C and D follow */
    /* How parts of k are added up, bits: all of these add in an order of their own, whatever the timing. In f32, in the
     * workspace; or (1, 4) in the type of C, which is rounded more than once where that is bf16. */
    MGK_CUBLASLT_REDUCE_F32 = 2,
    MGK_CUBLASLT_REDUCE_ANY = 7
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

enum { MGK_CUBLASLT_ROOM = 32 << 20 /* of the workspace */, MGK_CUBLASLT_CANDIDATES = 8 };

/* What the algorithm of a product depends on; rows first, as callers of the library have them. */
typedef struct mgk_cublaslt_shape {
    int64_t m, n, k, batch, lda, ldb, ldc, stride_a, stride_b, stride_c;
    int32_t trans_a, trans_b, in, out;  /* of types above */
    uint32_t align_a, align_b, align_c; /* bytes */
    uint32_t used;                      /* 0: there is nothing here */
} mgk_cublaslt_shape;

/* A product, described and with its operands. */
typedef struct mgk_cublaslt_call {
    mgk_cublaslt_product product;
    mgk_cublaslt_words layout_a, layout_b, layout_c;
    const void *a, *b;
    void *c;
    float alpha, beta;
    void *workspace; /* MGK_CUBLASLT_ROOM */
    void *stream;
} mgk_cublaslt_call;

/* How products are timed, where the host asked for it. */
typedef struct mgk_cublaslt_timer {
    void *user;
    bool (*ready)(void *user); /* false: not now, what is launched becomes part of a graph */
    void (*start)(void *user);
    /* What was launched since took so long. Waits for it. False: it failed, or (good is false) some launch had. */
    bool (*stop)(void *user, bool good, float *milliseconds);
    void *(*take)(void *user,
                  size_t bytes); /* the GPU's memory, for a moment; NULL: there is none */
    void (*give)(void *user, void *memory);
} mgk_cublaslt_timer;

enum {
    MGK_CUBLASLT_NEW,
    MGK_CUBLASLT_NONE,  /* cuBLASLt has no algorithm */
    MGK_CUBLASLT_FIRST, /* that which its heuristic offered first */
    MGK_CUBLASLT_LATER, /* the same, because it could not be timed then */
    MGK_CUBLASLT_TOLD,  /* by mgk_cublaslt_learn, to be checked */
    MGK_CUBLASLT_BEST   /* of some that were timed, here or by who told */
};

typedef struct mgk_cublaslt_kept {
    mgk_cublaslt_shape of;
    mgk_cublaslt_words algorithm;
    int64_t state;
} mgk_cublaslt_kept;

enum { MGK_CUBLASLT_KEPT = 4096 };

/* All but version answer 0 for success. */
typedef struct mgk_cublaslt_api {
    void *handle;
    size_t (*version)(void); /* NULL: too old to say */
    int (*product_init)(void *product, size_t bytes, int compute, int scale);
    int (*product_set)(void *product, int attribute, const void *value, size_t bytes);
    int (*layout_init)(void *layout, size_t bytes, int type, uint64_t rows, uint64_t columns,
                       int64_t ld);
    int (*layout_set)(void *layout, int attribute, const void *value, size_t bytes);
    int (*wish_init)(void *wish, size_t bytes);
    int (*wish_set)(void *wish, int attribute, const void *value, size_t bytes);
    int (*heuristic)(void *handle, void *product, void *a, void *b, void *c, void *d, void *wish,
                     int most, mgk_cublaslt_found *found, int *count);
    int (*check)(void *handle, void *product, void *a, void *b, void *c, void *d,
                 const mgk_cublaslt_words *algorithm, mgk_cublaslt_found *found);
    int (*matmul)(void *handle, void *product, const void *alpha, const void *a, void *a_layout,
                  const void *b, void *b_layout, const void *beta, const void *c, void *c_layout,
                  void *d, void *d_layout, const mgk_cublaslt_words *algorithm, void *workspace,
                  size_t workspace_bytes, void *stream);
    const mgk_cublaslt_timer *timer; /* NULL: nothing is timed */
    uint64_t chosen;                 /* how often the best of some was found */
    mgk_cublaslt_kept kept[MGK_CUBLASLT_KEPT];
} mgk_cublaslt_api;

/* The product by the algorithm of its shape, which is chosen when that is new. False: nothing was done, as cuBLASLt has
 * none or refuses. */
bool mgk_cublaslt_multiply(mgk_cublaslt_api *l, const mgk_cublaslt_shape *shape,
                           const mgk_cublaslt_call *call);

#endif
