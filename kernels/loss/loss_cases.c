/* SPDX-License-Identifier: MIT
 * Test cases of the folder: loss, loss_grad and loss_balance here, then those of opl. */
#include "kernels/common/case_tools.h"
#include "kernels/loss/loss.h"
#include "kernels/loss/opl_cases.h"

static const int64_t counts[] = {0, 1, 7, 16, 100, 1025, 16384, 50001};
enum { F32, BF16, MIXED, DTYPES }; /* mixed: x bf16, target f32 */
enum {
    COUNTS = sizeof counts / sizeof counts[0],
    LEGAL = COUNTS * MGK_LOSS_KINDS * DTYPES * 3,
    ILLEGAL = 9,
    BALANCES = 4
};

static void add_buffers(mgk_case *c, mgk_loss_args *a, int form, int dtypes, int64_t n)
{
    c->real = dtypes == F32 ? MGK_F32 : MGK_BF16;
    mgk_case_in(c, &a->x, n, 1);
    if (dtypes == MIXED)
        mgk_case_in_f32(c, &a->target, n, 1);
    else if (a->kind <= MGK_LOSS_L1)
        mgk_case_in(c, &a->target, n, 1);
    if (form == 0) {
        mgk_case_both_f32(c, &a->out, 1);
    } else {
        mgk_case_in_f32(c, &a->upstream, 1, 1);
        mgk_case_out_or_both(c, &a->dx, n, form == 2);
    }
}

static bool illegal(mgk_case *c, mgk_loss_args *a, int bad)
{
    static const struct {
        bool grad;
        const char *what;
    } rules[ILLEGAL] = {{0, "count negative"},     {0, "unknown kind"}, {1, "no upstream"},
                        {0, "no target"},          {0, "out bf16"},     {1, "dx f32, x bf16"},
                        {0, "x f32, target bf16"}, {0, "no x"},         {1, "kind negative"}};
    if (bad >= ILLEGAL)
        return false;
    MGK_CASE_BEGIN(c, rules[bad].grad ? MGK_OP_loss_grad : MGK_OP_loss, "illegal: %s",
                   rules[bad].what);
    c->illegal = true;
    a->count = bad == 0 ? -8 : 8;
    add_buffers(c, a, rules[bad].grad, BF16, 8);
    a->kind = bad == 1 ? MGK_LOSS_KINDS : bad == 8 ? -1 : MGK_LOSS_L1;
    for (int i = 0; i < c->buf_count; i++) {
        mgk_case_buf *b = &c->bufs[i];
        if ((bad == 2 && b->slot == &a->upstream) || (bad == 3 && b->slot == &a->target) ||
            (bad == 7 && b->slot == &a->x))
            b->slot = (mgk_buf *)(void *)c->more; /* the op does not get it */
        if ((bad == 5 && b->slot == &a->dx) || (bad == 6 && b->slot == &a->x))
            b->dtype = MGK_F32;
        if (bad == 4 && b->slot == &a->out)
            b->dtype = MGK_BF16;
    }
    return true;
}

/* Of usual norms; of a second one that is 0, or so small that the limit counts; and without it. */
static bool balance(mgk_case *c, mgk_loss_args *a, int form)
{
    static const char *const what[BALANCES] = {"usual", "second 0", "limit", "illegal: no second"};
    MGK_CASE_BEGIN(c, MGK_OP_loss_balance, "%s", what[form]);
    c->illegal = form == 3;
    a->weight = 0.3f;
    a->most = form == 2 ? 0.01f : 1e4f;
    mgk_case_add(c, &a->x, MGK_CASE_IN, MGK_FILL_POSITIVE, MGK_F32, 1, 0, 2.0f);
    if (form < 3)
        mgk_case_add(c, &a->target, MGK_CASE_IN, MGK_FILL_POSITIVE, MGK_F32, 1, 0,
                     form == 1 ? 0.0f : 1.0f);
    mgk_case_add(c, &a->out, MGK_CASE_OUT, MGK_FILL_NORMAL, MGK_F32, 1, 0, 1.0f);
    return true;
}

MGK_CASES(loss)
{
    mgk_loss_args *a = (void *)&c->args;
    (void)seed;
    if (index >= LEGAL + ILLEGAL + BALANCES)
        return mgk_opl_case(c, index - LEGAL - ILLEGAL - BALANCES);
    if (index >= LEGAL + ILLEGAL)
        return balance(c, a, index - LEGAL - ILLEGAL);
    if (index >= LEGAL)
        return illegal(c, a, index - LEGAL);
    a->count = counts[mgk_case_take(&index, COUNTS)];
    a->kind = mgk_case_take(&index, MGK_LOSS_KINDS);
    int dtypes = mgk_case_take(&index, DTYPES), form = index; /* loss, gradient, accumulating */
    if (dtypes == MIXED && a->kind > MGK_LOSS_L1)
        dtypes = BF16; /* no target */
    a->weight = 0.3f;
    a->accumulate = form == 2;
    MGK_CASE_BEGIN(c, form ? MGK_OP_loss_grad : MGK_OP_loss, "count %ld kind %d form %d dtypes %d",
                   (long)a->count, a->kind, form, dtypes);
    add_buffers(c, a, form, dtypes, a->count);
    return true;
}
