/* SPDX-License-Identifier: MIT
 * matmul on the AVX2 panel engine. */
#include "kernels/matmul/matmul_plan.h"

void mgk_matmul_avx2(const void *args, mgk_exec *x)
{
    mgk_matmul_run(args, x, &mgk_panel_avx2);
}
