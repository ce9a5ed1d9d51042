/* SPDX-License-Identifier: MIT
 * Until the fast form is there: the reference. */
#include "kernels/resize/resize.h"

void mgk_resize_nearest_ref(const void *args, mgk_exec *x);
void mgk_resize_nearest_avx2(const void *args, mgk_exec *x);

void mgk_resize_nearest_avx2(const void *args, mgk_exec *x)
{
    mgk_resize_nearest_ref(args, x);
}

void mgk_resize_nearest_grad_ref(const void *args, mgk_exec *x);
void mgk_resize_nearest_grad_avx2(const void *args, mgk_exec *x);

void mgk_resize_nearest_grad_avx2(const void *args, mgk_exec *x)
{
    mgk_resize_nearest_grad_ref(args, x);
}
