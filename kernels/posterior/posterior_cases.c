/* SPDX-License-Identifier: MIT
 * Test cases of posterior and its gradient. */
#include "kernels/common/case_tools.h"
#include "kernels/posterior/posterior.h"

static const int64_t shapes[][2] = {{0, 4},  {3, 0},   {1, 1},     {5, 7},   {400, 16},
                                    {90, 8}, {33, 35}, {2100, 16}, {2, 5000}};
enum { SHAPES = sizeof shapes / sizeof shapes[0], LEGAL = SHAPES * 16, ILLEGAL = 9 };

static void add_buffers(mgk_case *c, mgk_posterior_args *a, bool grad, bool noise, bool kl,
                        int64_t n)
{
    mgk_case_in(c, &a->h, 2 * n, 2);
    if (noise)
        mgk_case_in(c, &a->noise, n, 1);
    if (!grad) {
        mgk_case_out(c, &a->z, n);
        if (kl)
            mgk_case_both_f32(c, &a->kl, 1);
        return;
    }
    if (noise)
        mgk_case_in(c, &a->dz, n, 1);
    if (kl)
        mgk_case_in_f32(c, &a->kl_upstream, 1, 1);
    mgk_case_out(c, &a->dh, 2 * n);
}

static bool illegal(mgk_case *c, mgk_posterior_args *a, int bad)
{
    static const struct {
        bool grad;
        const char *what;
    } rules[ILLEGAL] = {{0, "rows negative"},  {0, "dim too large"},    {0, "no h"},
                        {0, "z f32, h bf16"},  {0, "kl bf16"},          {1, "no dh"},
                        {1, "dz f32, h bf16"}, {1, "kl_upstream bf16"}, {1, "noise of i32"}};
    if (bad >= ILLEGAL)
        return false;
    MGK_CASE_BEGIN(c, rules[bad].grad ? MGK_OP_posterior_grad : MGK_OP_posterior, "illegal: %s",
                   rules[bad].what);
    c->illegal = true;
    a->rows = bad == 0 ? -2 : 2;
    a->dim = bad == 1 ? INT64_MAX / 16 : 4;
    c->real = MGK_BF16;
    add_buffers(c, a, rules[bad].grad, true, true, 8);
    for (int i = 0; i < c->buf_count; i++) {
        mgk_case_buf *b = &c->bufs[i];
        if ((bad == 2 && b->slot == &a->h) || (bad == 5 && b->slot == &a->dh))
            b->slot = (mgk_buf *)(void *)c->more; /* the op does not get it */
        if ((bad == 3 && b->slot == &a->z) || (bad == 6 && b->slot == &a->dz))
            b->dtype = MGK_F32;
        if ((bad == 4 && b->slot == &a->kl) || (bad == 7 && b->slot == &a->kl_upstream))
            b->dtype = MGK_BF16;
        if (bad == 8 && b->slot == &a->noise)
            b->dtype = MGK_I32;
    }
    return true;
}

MGK_CASES(posterior)
{
    mgk_posterior_args *a = (void *)&c->args;
    (void)seed;
    if (index >= LEGAL)
        return illegal(c, a, index - LEGAL);
    const int64_t *shape = shapes[mgk_case_take(&index, SHAPES)];
    bool grad = mgk_case_take(&index, 2), noise = mgk_case_take(&index, 2);
    bool kl = mgk_case_take(&index, 2);
    a->rows = shape[0];
    a->dim = shape[1];
    a->weight = 0.7f;
    c->real = index ? MGK_BF16 : MGK_F32;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_posterior_grad : MGK_OP_posterior,
                   "rows %ld dim %ld noise %d kl %d %s", (long)a->rows, (long)a->dim, noise, kl,
                   index ? "bf16" : "f32");
    add_buffers(c, a, grad, noise, kl, a->rows * a->dim);
    if (shape[0] == 90)
        c->bufs[0].scale = 12; /* logvar past its bounds */
    return true;
}
