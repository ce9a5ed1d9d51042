/* SPDX-License-Identifier: MIT
 * Test cases of posterior and its gradient. */
#include "kernels/common/case_tools.h"
#include "kernels/posterior/posterior.h"

static const int64_t shapes[][2] = {{0, 4}, {3, 0}, {1, 1}, {5, 7}, {400, 16}};
enum { SHAPES = sizeof shapes / sizeof shapes[0], LEGAL = SHAPES * 8, ILLEGAL = 3 };

MGK_CASES(posterior)
{
    mgk_posterior_args *a = (void *)&c->args;
    (void)seed;
    if (index >= LEGAL + ILLEGAL)
        return false;
    int bad = index - LEGAL;
    const int64_t *shape = shapes[bad < 0 ? mgk_case_take(&index, SHAPES) : 3];
    bool grad = bad < 0 ? mgk_case_take(&index, 2) : bad == 2;
    bool noise = index & 1, kl = index & 2;
    int64_t n = shape[0] * shape[1];
    a->rows = bad == 0 ? -2 : shape[0];
    a->dim = shape[1];
    a->weight = 0.7f;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_posterior_grad : MGK_OP_posterior,
                   "rows %ld dim %ld noise %d kl %d", (long)a->rows, (long)a->dim, noise, kl);
    c->illegal = bad >= 0;
    if (bad != 1)
        mgk_case_in(c, &a->h, 2 * n, 2);
    if (noise)
        mgk_case_in(c, &a->noise, n, 1);
    if (!grad) {
        mgk_case_out(c, &a->z, n);
        if (kl)
            mgk_case_both(c, &a->kl, 1);
    } else if (bad < 0) {
        if (noise)
            mgk_case_in(c, &a->dz, n, 1);
        if (kl)
            mgk_case_in(c, &a->kl_upstream, 1, 1);
        mgk_case_out(c, &a->dh, 2 * n);
    }
    return true;
}
