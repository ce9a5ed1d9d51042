/* SPDX-License-Identifier: MIT
 * ops.def as tables. */
#include "kernels/mgk.h"
#include "core/cpu.h"

/* Variants that were not compiled for this machine (AVX elsewhere than on x86) become NULL. */
#define MGK_OP(name, folder)                                                                       \
    bool mgk_##name##_check(const void *args, const char **why);                                   \
    size_t mgk_##name##_workspace(const void *args, int threads);
#if defined(__x86_64__)
#define MGK_VARIANT(name, variant, needs)                                                          \
    void mgk_##name##_##variant(const void *args, mgk_exec *x);
#else
#define MGK_VARIANT(name, variant, needs)                                                          \
    __attribute__((weak)) void mgk_##name##_##variant(const void *args, mgk_exec *x);
#endif
#include "kernels/ops.def"
#undef MGK_OP
#undef MGK_VARIANT

const mgk_op_info mgk_ops[MGK_OP_COUNT] = {
#define MGK_OP(name, folder) {#name, #folder, mgk_##name##_check, mgk_##name##_workspace},
#define MGK_VARIANT(name, variant, needs)
#include "kernels/ops.def"
#undef MGK_OP
#undef MGK_VARIANT
};

const mgk_variant_info mgk_variants[] = {
#define MGK_OP(name, folder)
#define MGK_VARIANT(name, variant, needs) {MGK_OP_##name, #variant, needs, mgk_##name##_##variant},
#include "kernels/ops.def"
#undef MGK_OP
#undef MGK_VARIANT
};

const int mgk_variant_count = (int)(sizeof mgk_variants / sizeof mgk_variants[0]);
