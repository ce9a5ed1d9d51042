/* SPDX-License-Identifier: MIT
 * ops.def as tables. */
#include "kernels/mgk.h"
#include "core/cpu.h"

#ifdef MGK_CUDA_EMULATED
__attribute__((weak)) void mgk_matmul_cublaslt(const void *args, mgk_exec *x);
#endif

/* Variants that were not compiled for this machine (AVX elsewhere than on x86, or where a build leaves them out) become
 * NULL. Those that need nothing are named for good: the linker takes nothing out of an archive for a weak name. */
#define MGK_OP(name, folder)                                                                       \
    bool mgk_##name##_check(const void *args, const char **why);                                   \
    size_t mgk_##name##_workspace(const void *args, int threads);
#if defined(__x86_64__) && !defined(MGK_PORTABLE)
#define PERHAPS
#else
#define PERHAPS __attribute__((weak))
#endif
#define NAME_ref
#define NAME_packed
#define NAME_portable
#define NAME_avx2       PERHAPS
#define NAME_avx512     PERHAPS
#define NAME_avx512bf16 PERHAPS
#define MGK_VARIANT(name, variant, needs)                                                          \
    NAME_##variant void mgk_##name##_##variant(const void *args, mgk_exec *x);
/* Those for CUDA are NULL in a build without it, and what is no kernel of ours where it is emulated; most need no
 * workspace. */
#if defined(MGI_HAVE_CUDA)
#define MGK_LINKED
#else
#define MGK_LINKED __attribute__((weak))
#endif
#define MGK_CUDA_VARIANT(name, variant)                                                            \
    MGK_LINKED void mgk_##name##_##variant(const void *args, mgk_exec *x);                         \
    __attribute__((weak)) size_t mgk_##name##_##variant##_workspace(const void *args, int threads) \
    {                                                                                              \
        (void)args;                                                                                \
        (void)threads;                                                                             \
        return 0;                                                                                  \
    }
#include "kernels/ops.def"
#undef MGK_OP
#undef MGK_VARIANT

const mgk_op_info mgk_ops[MGK_OP_COUNT] = {
#define MGK_OP(name, folder) {#name, #folder, mgk_##name##_check, mgk_##name##_workspace},
#define MGK_VARIANT(name, variant, needs)
#define MGK_CUDA_VARIANT(name, variant)
#include "kernels/ops.def"
#undef MGK_OP
#undef MGK_VARIANT
};

const mgk_variant_info mgk_variants[] = {
#define MGK_OP(name, folder)
#define MGK_VARIANT(name, variant, needs)                                                          \
    {MGK_OP_##name, #variant, needs, mgk_##name##_##variant, NULL},
#define MGK_CUDA_VARIANT(name, variant)  CUDA_ROW(name, variant, MGK_NEEDS_CUDA)
#define MGK_SM90_VARIANT(name, variant)  CUDA_ROW(name, variant, MGK_NEEDS_CUDA | MGK_NEEDS_SM90)
#define MGK_CUDNN_VARIANT(name, variant) CUDA_ROW(name, variant, MGK_NEEDS_CUDA | MGK_NEEDS_CUDNN)
#define CUDA_ROW(name, variant, needs)                                                             \
    {MGK_OP_##name, #variant, needs, mgk_##name##_##variant, mgk_##name##_##variant##_workspace},
#include "kernels/ops.def"
#undef MGK_OP
#undef MGK_VARIANT
};

const int mgk_variant_count = (int)(sizeof mgk_variants / sizeof mgk_variants[0]);
