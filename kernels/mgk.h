/* SPDX-License-Identifier: MIT
 * What every kernel shares: buffers, the execution environment, the launcher's form.
 *
 * An op is one folder: <op>.h (arguments, shape rules), <op>_ref.c (the definition),
 * <op>_<variant>.c (faster forms) and <op>_cases.c (test shapes). ops.def lists ops and variants
 * once.
 *
 * Dtypes: the real buffers of a call share one dtype T, f32 or bf16, as the op's header says. What the
 * header calls f32 is f32 always: vectors (norm weights, biases, modulation, gates), tables,
 * statistics, losses, gradients of parameters. Products may write f32 from bf16 operands. Inside,
 * all sums are f32 at least, and what is bf16 is rounded once, when it is written.
 *
 * Variants for a CUDA device put their work on the stream and return: buffers and workspace are memory of
 * that device, and only what the argument struct itself holds can be read by the launcher.
 *
 * Launchers check nothing (mgk_<op>_check did), never allocate, never print. Results do not depend
 * on the number of threads: reductions use fixed blocks, combined in order. Buffers of one call do
 * not overlap unless the header of the op says that they may be the same.
 */
#ifndef MGK_MGK_H
#define MGK_MGK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus /* a .cu file */
extern "C" {
typedef struct mgi_pool mgi_pool;
#else
#include "core/pool.h"
#ifdef __cplusplus
}
#endif

#endif

/* Beside the MGI_CPU_* bits of a variant's needs: it runs on a CUDA device, on memory of that device. */
#define MGK_NEEDS_CUDA  (1u << 30)
#define MGK_NEEDS_SM90  (1u << 29) /* of compute capability 9.0 */
#define MGK_NEEDS_CUDNN (1u << 28) /* which can be opened */

enum { MGK_F32 = 0, MGK_BF16 = 1, MGK_I32 = 2, MGK_U8 = 3, MGK_U64 = 4 };

/* A typed pointer. p NULL = not given, where the op allows it. */
typedef struct mgk_buf {
    void *p;
    int32_t dtype;
} mgk_buf;

#define MGK_F(b) ((float *)(b).p)
#define MGK_I(b) ((int32_t *)(b).p)
#define MGK_B(b) ((uint8_t *)(b).p)
#define MGK_H(b) ((uint16_t *)(b).p) /* bf16 */

typedef struct mgk_exec {
    mgi_pool *pool;  /* NULL = serial */
    void *workspace; /* at least mgk_<op>_workspace() bytes, 64-byte aligned */
    size_t workspace_bytes;
    /* for variants that need CUDA */
    void *stream; /* cudaStream_t */
    void *blas;   /* see matmul_cublaslt.h; NULL: cuBLASLt is not there */
    void *dnn;    /* see attention_cudnn.h; NULL: cuDNN is not open */
} mgk_exec;

typedef bool mgk_check_fn(const void *args,
                          const char **why); /* false: illegal; why names the rule */
typedef size_t mgk_workspace_fn(const void *args, int threads);
typedef void mgk_launch_fn(const void *args, mgk_exec *x);

typedef struct mgk_op_info {
    const char *name, *folder;
    mgk_check_fn *check;
    mgk_workspace_fn *workspace;
} mgk_op_info;

typedef struct mgk_variant_info {
    int op;
    const char *name;            /* "ref", "avx2", ... */
    uint32_t needs;              /* MGI_CPU_* bits; without MGI_CPU_BF16_DOTS it runs, if named */
    mgk_launch_fn *launch;       /* NULL: not built for this machine */
    mgk_workspace_fn *workspace; /* NULL: the op's */
} mgk_variant_info;

/* One constant an op: MGK_OP_matmul, ... */
enum {
#define MGK_OP(name, folder) MGK_OP_##name,
#define MGK_VARIANT(name, variant, needs)
#define MGK_CUDA_VARIANT(name, variant)
#include "kernels/ops.def"
#undef MGK_OP
#undef MGK_VARIANT
    MGK_OP_COUNT
};

extern const mgk_op_info mgk_ops[MGK_OP_COUNT];
extern const mgk_variant_info mgk_variants[]; /* in the order of ops.def */
extern const int mgk_variant_count;

/* Declares the functions of one op; used in the op's header. */
#define MGK_DECLARE(op)                                                                            \
    bool mgk_##op##_check(const void *args, const char **why);                                     \
    size_t mgk_##op##_workspace(const void *args, int threads)

/* for check functions */
#define MGK_RULE(cond, text)                                                                       \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            *why = (text);                                                                         \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

static inline bool mgk_is_f32(mgk_buf b)
{
    return b.p && b.dtype == MGK_F32;
}
static inline bool mgk_is_real(mgk_buf b)
{
    return b.p && (b.dtype == MGK_F32 || b.dtype == MGK_BF16);
}
static inline bool mgk_is_f32_or_null(mgk_buf b)
{
    return !b.p || b.dtype == MGK_F32;
}

#ifdef __cplusplus
}
#endif

#endif
