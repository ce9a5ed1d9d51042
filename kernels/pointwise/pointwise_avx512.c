/* SPDX-License-Identifier: MIT
 * Until the fast form is there: the reference. */
#include "kernels/pointwise/pointwise.h"

void mgk_unary_ref(const void *args, mgk_exec *x);
void mgk_unary_avx512(const void *args, mgk_exec *x);

void mgk_unary_avx512(const void *args, mgk_exec *x)
{
    mgk_unary_ref(args, x);
}

void mgk_unary_grad_ref(const void *args, mgk_exec *x);
void mgk_unary_grad_avx512(const void *args, mgk_exec *x);

void mgk_unary_grad_avx512(const void *args, mgk_exec *x)
{
    mgk_unary_grad_ref(args, x);
}

void mgk_axpby_ref(const void *args, mgk_exec *x);
void mgk_axpby_avx512(const void *args, mgk_exec *x);

void mgk_axpby_avx512(const void *args, mgk_exec *x)
{
    mgk_axpby_ref(args, x);
}

void mgk_add_ref(const void *args, mgk_exec *x);
void mgk_add_avx512(const void *args, mgk_exec *x);

void mgk_add_avx512(const void *args, mgk_exec *x)
{
    mgk_add_ref(args, x);
}

void mgk_gated_residual_ref(const void *args, mgk_exec *x);
void mgk_gated_residual_avx512(const void *args, mgk_exec *x);

void mgk_gated_residual_avx512(const void *args, mgk_exec *x)
{
    mgk_gated_residual_ref(args, x);
}

void mgk_gated_residual_grad_ref(const void *args, mgk_exec *x);
void mgk_gated_residual_grad_avx512(const void *args, mgk_exec *x);

void mgk_gated_residual_grad_avx512(const void *args, mgk_exec *x)
{
    mgk_gated_residual_grad_ref(args, x);
}

void mgk_channel_affine_ref(const void *args, mgk_exec *x);
void mgk_channel_affine_avx512(const void *args, mgk_exec *x);

void mgk_channel_affine_avx512(const void *args, mgk_exec *x)
{
    mgk_channel_affine_ref(args, x);
}

void mgk_add_rows_ref(const void *args, mgk_exec *x);
void mgk_add_rows_avx512(const void *args, mgk_exec *x);

void mgk_add_rows_avx512(const void *args, mgk_exec *x)
{
    mgk_add_rows_ref(args, x);
}

void mgk_reduce_rows_ref(const void *args, mgk_exec *x);
void mgk_reduce_rows_avx512(const void *args, mgk_exec *x);

void mgk_reduce_rows_avx512(const void *args, mgk_exec *x)
{
    mgk_reduce_rows_ref(args, x);
}

void mgk_convert_ref(const void *args, mgk_exec *x);
void mgk_convert_avx512(const void *args, mgk_exec *x);

void mgk_convert_avx512(const void *args, mgk_exec *x)
{
    mgk_convert_ref(args, x);
}

void mgk_fill_ref(const void *args, mgk_exec *x);
void mgk_fill_avx512(const void *args, mgk_exec *x);

void mgk_fill_avx512(const void *args, mgk_exec *x)
{
    mgk_fill_ref(args, x);
}
