/* SPDX-License-Identifier: MIT
 * Until the fast form is there: the reference. */
#include "kernels/loss/loss.h"

void mgk_loss_ref(const void *args, mgk_exec *x);
void mgk_loss_avx2(const void *args, mgk_exec *x);

void mgk_loss_avx2(const void *args, mgk_exec *x)
{
    mgk_loss_ref(args, x);
}

void mgk_loss_grad_ref(const void *args, mgk_exec *x);
void mgk_loss_grad_avx2(const void *args, mgk_exec *x);

void mgk_loss_grad_avx2(const void *args, mgk_exec *x)
{
    mgk_loss_grad_ref(args, x);
}
