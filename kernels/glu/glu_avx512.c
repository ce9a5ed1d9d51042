/* SPDX-License-Identifier: MIT
 * Until the fast form is there: the reference. */
#include "kernels/glu/glu.h"

void mgk_glu_ref(const void *args, mgk_exec *x);
void mgk_glu_avx512(const void *args, mgk_exec *x);

void mgk_glu_avx512(const void *args, mgk_exec *x)
{
    mgk_glu_ref(args, x);
}

void mgk_glu_grad_ref(const void *args, mgk_exec *x);
void mgk_glu_grad_avx512(const void *args, mgk_exec *x);

void mgk_glu_grad_avx512(const void *args, mgk_exec *x)
{
    mgk_glu_grad_ref(args, x);
}
