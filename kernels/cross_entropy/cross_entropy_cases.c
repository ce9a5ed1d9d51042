/* SPDX-License-Identifier: MIT
 * Test cases of cross_entropy and cross_entropy_grad. */
#include "kernels/common/case_tools.h"
#include "kernels/cross_entropy/cross_entropy.h"

#include <string.h>

/* The last ones: a vocabulary; many rows, more than a block of them. */
static const int64_t shapes[][2] = {{0, 5},    {3, 0},     {1, 1},    {1, 2},    {4, 7},
                                    {16, 16},  {9, 33},    {5, 2047}, {3, 2050}, {40, 258},
                                    {2, 9001}, {3, 50000}, {3000, 6}};
/* OUTSIDE: some targets lie one behind the last class; LEFT_OUT: every second one is negative; NONE: all are; LARGE: logits
 * whose exponentials do not fit a float. */
enum { OUTSIDE, LEFT_OUT, NONE, LARGE, TARGETS };
enum {
    FORMS = 3,
    SHAPES = sizeof shapes / sizeof shapes[0],
    LEGAL = SHAPES * FORMS * TARGETS * 2,
    ILLEGAL = 11
};

static void targets(mgk_case *c, mgk_cross_entropy_args *a, int kind)
{
    int32_t *given = (void *)c->more;
    _Static_assert(sizeof c->more >= 3000 * sizeof(int32_t), "room for the targets of a case");
    if (kind == OUTSIDE || kind == LARGE) {
        int64_t limit = a->classes + (kind == OUTSIDE);
        mgk_case_add(c, &a->target, MGK_CASE_IN, MGK_FILL_IDS, MGK_I32, a->rows,
                     limit > 0 ? limit : 1, 1);
        return;
    }
    for (int64_t r = 0; r < a->rows; r++)
        given[r] = kind == NONE || r % 2 == 1 ? -1 - (int32_t)(r % 3)
                   : a->classes > 0           ? (int32_t)(r * 37 % a->classes)
                                              : 0;
    mgk_case_given(c, &a->target, MGK_I32, a->rows, given);
}

static void add_buffers(mgk_case *c, mgk_cross_entropy_args *a, int form, int kind)
{
    mgk_case_in(c, &a->x, a->rows * a->classes, kind == LARGE ? 300 : 1);
    targets(c, a, kind);
    if (form == 0) {
        mgk_case_out_f32(c, &a->lse, a->rows);
        mgk_case_out_f32(c, &a->share, 1);
        mgk_case_out_f32(c, &a->out, 1);
        return;
    }
    mgk_case_in_f32(c, &a->lse, a->rows, 1);
    mgk_case_add(c, &a->share, MGK_CASE_IN, MGK_FILL_POSITIVE, MGK_F32, 1, 0, 1);
    mgk_case_in_f32(c, &a->upstream, 1, 1);
    mgk_case_out_or_both(c, &a->dx, a->rows * a->classes, form == 2);
}

static bool illegal(mgk_case *c, mgk_cross_entropy_args *a, int bad)
{
    static const char *const what[ILLEGAL] = {
        "rows negative", "classes negative", "too large", "more classes than i32",
        "no target",     "no lse",           "no share",  "no out",
        "no upstream",   "dx f32, x bf16",   "lse bf16"};
    if (bad >= ILLEGAL)
        return false;
    bool grad = bad >= 8;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_cross_entropy_grad : MGK_OP_cross_entropy, "illegal: %s",
                   what[bad]);
    c->illegal = true;
    c->real = MGK_BF16;
    a->rows = 2;
    a->classes = 4;
    add_buffers(c, a, grad, OUTSIDE);
    a->rows = bad == 0 ? -1 : bad == 2 ? INT64_MAX / 8 : bad == 3 ? 0 : 2;
    a->classes = bad == 1 ? -4 : bad == 3 ? (int64_t)INT32_MAX + 1 : 4;
    mgk_buf *const without[ILLEGAL] = {
        [4] = &a->target, [5] = &a->lse, [6] = &a->share, [7] = &a->out, [8] = &a->upstream};
    for (int i = 0; i < c->buf_count; i++) {
        mgk_case_buf *b = &c->bufs[i];
        if (bad == 9 && b->slot == &a->dx)
            b->dtype = MGK_F32;
        if (bad == 10 && b->slot == &a->lse)
            b->dtype = MGK_BF16;
        if (b->slot == without[bad])
            b->slot = (mgk_buf *)(void *)c->more; /* the op does not get it */
    }
    return true;
}

/* Forms: the loss; its gradient, accumulating or not. */
MGK_CASES(cross_entropy)
{
    static const char *const names[TARGETS] = {"outside", "left out", "none", "large"};
    mgk_cross_entropy_args *a = (void *)&c->args;
    (void)seed;
    if (index >= LEGAL)
        return illegal(c, a, index - LEGAL);
    const int64_t *shape = shapes[mgk_case_take(&index, SHAPES)];
    int form = mgk_case_take(&index, FORMS), kind = mgk_case_take(&index, TARGETS);
    a->rows = shape[0];
    a->classes = shape[1];
    /* The sums that the gradient gets belong to small logits; of few rows each may be sure of its class, and what is
     * left of the loss is below the rounding of the sum. */
    if (kind == LARGE && (form > 0 || a->rows < 3))
        kind = OUTSIDE;
    a->weight = 0.7f;
    a->accumulate = form == 2;
    c->real = index ? MGK_BF16 : MGK_F32;
    MGK_CASE_BEGIN(c, form ? MGK_OP_cross_entropy_grad : MGK_OP_cross_entropy,
                   "%ldx%ld targets %s form %d %s", (long)a->rows, (long)a->classes, names[kind],
                   form, index ? "bf16" : "f32");
    add_buffers(c, a, form, kind);
    return true;
}
