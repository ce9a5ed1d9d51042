/* SPDX-License-Identifier: MIT
 * matmul on the AVX-512 BF16 panel engine; f32 on the AVX-512 one. */
#include "kernels/matmul/matmul_plan.h"

void mgk_matmul_avx512bf16(const void *args, mgk_exec *x)
{
    const mgk_matmul_args *g = args;
    const bool narrow = g->k > 0 && g->a.dtype == MGK_BF16;
    mgk_matmul_run(g, x, narrow ? &mgk_panel_avx512bf16 : &mgk_panel_avx512);
}
