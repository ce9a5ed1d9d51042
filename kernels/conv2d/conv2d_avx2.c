/* SPDX-License-Identifier: MIT
 * conv2d and its gradients on the AVX2 panel engine. */
#include "kernels/conv2d/conv2d_plan.h"

void mgk_conv2d_avx2(const void *args, mgk_exec *x)
{
    mgk_conv2d_run(args, x, &mgk_panel_avx2);
}
void mgk_conv2d_grad_input_avx2(const void *args, mgk_exec *x)
{
    mgk_conv2d_grad_input_run(args, x, &mgk_panel_avx2);
}
void mgk_conv2d_grad_weight_avx2(const void *args, mgk_exec *x)
{
    mgk_conv2d_grad_weight_run(args, x, &mgk_panel_avx2);
}
