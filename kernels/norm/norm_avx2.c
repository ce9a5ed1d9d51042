/* SPDX-License-Identifier: MIT
 * Until the fast form is there: the reference. */
#include "kernels/norm/norm.h"

void mgk_norm_ref(const void *args, mgk_exec *x);
void mgk_norm_avx2(const void *args, mgk_exec *x);

void mgk_norm_avx2(const void *args, mgk_exec *x)
{
    mgk_norm_ref(args, x);
}

void mgk_norm_grad_ref(const void *args, mgk_exec *x);
void mgk_norm_grad_avx2(const void *args, mgk_exec *x);

void mgk_norm_grad_avx2(const void *args, mgk_exec *x)
{
    mgk_norm_grad_ref(args, x);
}
