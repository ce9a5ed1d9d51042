/* SPDX-License-Identifier: MIT
 * Test cases of loss and loss_grad. */
#include "kernels/common/case_tools.h"
#include "kernels/loss/loss.h"

static const int64_t counts[] = {0, 1, 7, 16, 100, 1025, 16384, 50001};
enum { COUNTS = sizeof counts / sizeof counts[0], LEGAL = COUNTS * 2 * 3, ILLEGAL = 4 };

MGK_CASES(loss)
{
    mgk_loss_args *a = (void *)&c->args;
    (void)seed;
    if (index >= LEGAL + ILLEGAL)
        return false;
    int bad = index - LEGAL;
    int64_t n = bad < 0 ? counts[mgk_case_take(&index, COUNTS)] : 8;
    a->kind = bad < 0 ? mgk_case_take(&index, 2) : bad == 1 ? 5 : 0;
    int form = bad < 0 ? index : bad == 2 ? 1 : 0; /* 0: loss, 1: gradient, 2: it accumulates */
    a->count = bad == 0 ? -8 : n;
    a->weight = 0.3f;
    a->accumulate = form == 2;
    MGK_CASE_BEGIN(c, form ? MGK_OP_loss_grad : MGK_OP_loss, "count %ld kind %d form %d",
                   (long)a->count, a->kind, form);
    c->illegal = bad >= 0;
    mgk_case_in(c, &a->x, n, 1);
    if (bad != 3)
        mgk_case_in(c, &a->target, n, 1);
    if (form == 0)
        mgk_case_both(c, &a->out, 1);
    else
        mgk_case_out_or_both(c, &a->dx, n, form == 2);
    if (form && bad < 0)
        mgk_case_in(c, &a->upstream, 1, 1);
    return true;
}
