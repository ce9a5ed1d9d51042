/* SPDX-License-Identifier: MIT
 * Until the fast form is there: the reference. */
#include "kernels/optimizer/optimizer.h"

void mgk_grad_norm_ref(const void *args, mgk_exec *x);
void mgk_grad_norm_portable(const void *args, mgk_exec *x);

void mgk_grad_norm_portable(const void *args, mgk_exec *x)
{
    mgk_grad_norm_ref(args, x);
}

void mgk_adamw_ref(const void *args, mgk_exec *x);
void mgk_adamw_portable(const void *args, mgk_exec *x);

void mgk_adamw_portable(const void *args, mgk_exec *x)
{
    mgk_adamw_ref(args, x);
}

void mgk_ema_ref(const void *args, mgk_exec *x);
void mgk_ema_portable(const void *args, mgk_exec *x);

void mgk_ema_portable(const void *args, mgk_exec *x)
{
    mgk_ema_ref(args, x);
}
