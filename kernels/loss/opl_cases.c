/* SPDX-License-Identifier: MIT
 * Test cases of opl and opl_grad; the folder's cases in loss_cases.c hand over to them. */
#include "kernels/loss/opl_cases.h"
#include "kernels/common/case_tools.h"
#include "kernels/loss/opl.h"

/* Distances of many normal numbers hardly spread: an r about 1 finds outliers there. */
static const struct {
    int64_t frames, positions, c;
    float r;
} shapes[] = {{0, 4, 4, 1},     {2, 0, 4, 1},       {2, 4, 0, 1},   {1, 1, 1, 1},
              {2, 35, 3, 1.2f}, {3, 256, 16, 1.1f}, {1, 700, 1, 3}, {2, 300, 33, 1},
              {5, 64, 8, 0},    {1, 5, 600, 1},     {2, 50, 16, 9}}; /* the last: no outliers */
enum {
    SHAPES = sizeof shapes / sizeof shapes[0],
    FORMS = 5,
    LEGAL = SHAPES * FORMS * 2,
    ILLEGAL = 8
};

static void add_buffers(mgk_case *c, mgk_opl_args *a, bool grad, int64_t n)
{
    mgk_case_in(c, &a->x, n, 1);
    if (!grad) {
        mgk_case_both_f32(c, &a->out, 1);
        return;
    }
    mgk_case_in_f32(c, &a->upstream, 1, 1);
    mgk_case_out_or_both(c, &a->dx, n, a->accumulate);
}

static bool illegal(mgk_case *c, mgk_opl_args *a, int bad)
{
    static const char *const what[ILLEGAL] = {"frames negative",     "r negative", "no out",
                                              "positions negative",  "c negative", "no upstream",
                                              "dx of another dtype", "too large"};
    if (bad >= ILLEGAL)
        return false;
    bool grad = bad >= 5;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_opl_grad : MGK_OP_opl, "illegal: %s", what[bad]);
    c->illegal = true;
    a->frames = bad == 0 ? -1 : 2;
    a->positions = bad == 3 ? -2 : bad == 7 ? INT64_MAX / 8 : 2;
    a->c = bad == 4 ? -2 : 2;
    a->r = bad == 1 ? -1 : 3;
    add_buffers(c, a, grad, 8);
    for (int i = 0; i < c->buf_count; i++) {
        if ((bad == 2 && c->bufs[i].slot == &a->out) ||
            (bad == 5 && c->bufs[i].slot == &a->upstream))
            c->bufs[i].slot = (mgk_buf *)(void *)c->more; /* the op does not get it */
        if (bad == 6 && c->bufs[i].slot == &a->dx)
            c->bufs[i].dtype = MGK_BF16;
    }
    return true;
}

/* Forms: the loss; its gradient, accumulating or not, mean and Std constant or not. */
bool mgk_opl_case(mgk_case *c, int index)
{
    mgk_opl_args *a = (void *)&c->args;
    if (index >= LEGAL)
        return illegal(c, a, index - LEGAL);
    int shape = mgk_case_take(&index, SHAPES), form = mgk_case_take(&index, FORMS);
    a->frames = shapes[shape].frames;
    a->positions = shapes[shape].positions;
    a->c = shapes[shape].c;
    a->r = shapes[shape].r;
    a->weight = 0.6f;
    a->accumulate = form == 2 || form == 4;
    a->through = form >= 3;
    c->real = index ? MGK_BF16 : MGK_F32;
    MGK_CASE_BEGIN(c, form ? MGK_OP_opl_grad : MGK_OP_opl, "%ldx%ldx%ld form %d %s",
                   (long)a->frames, (long)a->positions, (long)a->c, form, index ? "bf16" : "f32");
    add_buffers(c, a, form > 0, a->frames * a->positions * a->c);
    return true;
}
