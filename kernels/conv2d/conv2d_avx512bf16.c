/* SPDX-License-Identifier: MIT
 * conv2d and its gradients on the AVX-512 BF16 panel engine; f32 on the AVX-512 one. */
#include "kernels/conv2d/conv2d_plan.h"

static const mgk_panel *engine_of(const mgk_conv2d_args *g)
{
    return g->n > 0 && g->x.dtype == MGK_BF16 ? &mgk_panel_avx512bf16 : &mgk_panel_avx512;
}

void mgk_conv2d_avx512bf16(const void *args, mgk_exec *x)
{
    mgk_conv2d_run(args, x, engine_of(args));
}
void mgk_conv2d_grad_input_avx512bf16(const void *args, mgk_exec *x)
{
    mgk_conv2d_grad_input_run(args, x, engine_of(args));
}
void mgk_conv2d_grad_weight_avx512bf16(const void *args, mgk_exec *x)
{
    mgk_conv2d_grad_weight_run(args, x, engine_of(args));
}
