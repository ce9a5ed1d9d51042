/* SPDX-License-Identifier: MIT
 * Test cases of the flow ops. */
#include "kernels/common/case_tools.h"
#include "kernels/flow/flow.h"

static const int64_t shapes[][2] = {{0, 4},   {3, 0},     {1, 1},    {5, 33},
                                    {64, 15}, {3, 16385}, {700, 48}, {1, 65536}};
/* EULER_F32: an f32 x, steps of the case's dtype. The kinds of diffusion follow. */
enum { PATH, GUIDE, EULER, EULER_F32, DIFFUSION, FORMS = DIFFUSION + MGK_DIFFUSION_KINDS };
enum { SHAPES = sizeof shapes / sizeof shapes[0], LEGAL = SHAPES * FORMS * 2, ILLEGAL = 13 };

static int op_of(int form)
{
    static const int ops[] = {MGK_OP_flow_path, MGK_OP_cfg_combine, MGK_OP_euler_step,
                              MGK_OP_euler_step};
    return form < DIFFUSION ? ops[form] : MGK_OP_diffusion;
}

static void add_buffers(mgk_case *c, mgk_flow_args *a, int form, int64_t batch, int64_t n)
{
    if (form == PATH) {
        mgk_case_in(c, &a->x0, n, 1);
        mgk_case_in(c, &a->x1, n, 1);
        mgk_case_add(c, &a->time, MGK_CASE_IN, MGK_FILL_POSITIVE, MGK_F32, batch, 0, 0.9f);
        mgk_case_out(c, &a->xt, n);
        mgk_case_out(c, &a->v, n);
    } else if (form == GUIDE) {
        mgk_case_in(c, &a->cond, n, 1);
        mgk_case_in(c, &a->uncond, n, 1);
        mgk_case_in_f32(c, &a->guidance, 1, 5);
        mgk_case_out(c, &a->v, n);
    } else if (form >= DIFFUSION) {
        a->kind = form - DIFFUSION;
        if (a->kind != MGK_DIFFUSION_SCALED)
            mgk_case_in(c, &a->x0, n, 1);
        mgk_case_in(c, &a->x1, n, 1);
        mgk_case_add(c, &a->time, MGK_CASE_IN, MGK_FILL_POSITIVE, MGK_F32, batch, 0, 0.9f);
        mgk_case_out(c, &a->xt, n);
    } else {
        mgk_case_in(c, &a->v, n, 1);
        if (form == EULER)
            mgk_case_both(c, &a->xt, n);
        else
            mgk_case_both_f32(c, &a->xt, n);
        mgk_case_in_f32(c, &a->dt, 1, 0.1f);
    }
}

static bool illegal(mgk_case *c, mgk_flow_args *a, int bad)
{
    static const struct {
        int form;
        const char *what;
    } rules[ILLEGAL] = {
        {PATH, "batch negative"},      {GUIDE, "dim too large"}, {EULER, "no dt"},
        {PATH, "x1 of another dtype"}, {PATH, "no time"},        {PATH, "v of i32"},
        {GUIDE, "v of another dtype"}, {GUIDE, "no guidance"},   {EULER, "v of i32"},
        {DIFFUSION, "no x0"},          {DIFFUSION, "no time"},   {DIFFUSION, "no such kind"},
        {DIFFUSION, "x0 is not used"}};
    if (bad >= ILLEGAL)
        return false;
    MGK_CASE_BEGIN(c, op_of(rules[bad].form), "illegal: %s", rules[bad].what);
    c->illegal = true;
    a->batch = bad == 0 ? -1 : 2;
    a->dim = bad == 1 ? INT64_MAX / 4 : 4;
    c->real = MGK_BF16;
    add_buffers(c, a, rules[bad].form, 2, 8);
    for (int i = 0; i < c->buf_count; i++) {
        mgk_case_buf *b = &c->bufs[i];
        if ((bad == 3 && b->slot == &a->x1) || (bad == 6 && b->slot == &a->v))
            b->dtype = MGK_F32;
        if ((bad == 5 || bad == 8) && b->slot == &a->v)
            b->dtype = MGK_I32;
        if ((bad == 2 && b->slot == &a->dt) || (bad == 4 && b->slot == &a->time) ||
            (bad == 7 && b->slot == &a->guidance) || (bad == 9 && b->slot == &a->x0) ||
            (bad == 10 && b->slot == &a->time))
            b->slot = (mgk_buf *)(void *)c->more; /* the op does not get it */
    }
    if (bad == 11)
        a->kind = MGK_DIFFUSION_KINDS;
    if (bad == 12)
        a->kind = MGK_DIFFUSION_SCALED;
    return true;
}

MGK_CASES(flow)
{
    mgk_flow_args *a = (void *)&c->args;
    (void)seed;
    if (index >= LEGAL)
        return illegal(c, a, index - LEGAL);
    const int64_t *shape = shapes[mgk_case_take(&index, SHAPES)];
    int form = mgk_case_take(&index, FORMS);
    a->batch = shape[0];
    a->dim = shape[1];
    a->sigma = 1e-5f;
    c->real = index ? MGK_BF16 : MGK_F32;
    MGK_CASE_BEGIN(c, op_of(form), "batch %ld dim %ld form %d %s", (long)a->batch, (long)a->dim,
                   form, index ? "bf16" : "f32");
    add_buffers(c, a, form, a->batch, a->batch * a->dim);
    return true;
}
