/* SPDX-License-Identifier: MIT
 * Until the fast form is there: the reference. */
#include "kernels/attention/attention.h"

void mgk_attention_ref(const void *args, mgk_exec *x);
void mgk_attention_avx512(const void *args, mgk_exec *x);

void mgk_attention_avx512(const void *args, mgk_exec *x)
{
    mgk_attention_ref(args, x);
}

void mgk_attention_grad_ref(const void *args, mgk_exec *x);
void mgk_attention_grad_avx512(const void *args, mgk_exec *x);

void mgk_attention_grad_avx512(const void *args, mgk_exec *x)
{
    mgk_attention_grad_ref(args, x);
}
