/* SPDX-License-Identifier: MIT
 * Test cases of the flow ops. */
#include "kernels/common/case_tools.h"
#include "kernels/flow/flow.h"

static const int64_t shapes[][2] = {{0, 4}, {3, 0}, {1, 1}, {5, 33}, {64, 100}};
enum { SHAPES = sizeof shapes / sizeof shapes[0], LEGAL = SHAPES * 3, ILLEGAL = 3 };

MGK_CASES(flow)
{
    mgk_flow_args *a = (void *)&c->args;
    (void)seed;
    if (index >= LEGAL + ILLEGAL)
        return false;
    int bad = index - LEGAL;
    const int64_t *shape = shapes[bad < 0 ? mgk_case_take(&index, SHAPES) : 3];
    int op = bad < 0 ? index : bad;
    static const int ops[] = {MGK_OP_flow_path, MGK_OP_cfg_combine, MGK_OP_euler_step};
    a->batch = bad == 0 ? -1 : shape[0];
    a->dim = bad == 1 ? INT64_MAX / 4 : shape[1];
    a->sigma = 1e-5f;
    int64_t n = shape[0] * shape[1];
    MGK_CASE_BEGIN(c, ops[op], "batch %ld dim %ld", (long)a->batch, (long)a->dim);
    c->illegal = bad >= 0;
    if (op == 0) {
        mgk_case_in(c, &a->x0, n, 1);
        mgk_case_in(c, &a->x1, n, 1);
        mgk_case_add(c, &a->time, MGK_CASE_IN, MGK_FILL_POSITIVE, MGK_F32, shape[0], 0, 0.9f);
        mgk_case_out(c, &a->xt, n);
        mgk_case_out(c, &a->v, n);
    } else if (op == 1) {
        mgk_case_in(c, &a->cond, n, 1);
        mgk_case_in(c, &a->uncond, n, 1);
        mgk_case_in(c, &a->guidance, 1, 5);
        mgk_case_out(c, &a->v, n);
    } else {
        mgk_case_in(c, &a->v, n, 1);
        mgk_case_both(c, &a->xt, n);
        if (bad < 0) /* illegal without */
            mgk_case_in(c, &a->dt, 1, 0.1f);
    }
    return true;
}
