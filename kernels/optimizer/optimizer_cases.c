/* SPDX-License-Identifier: MIT
 * Test cases of the optimizer ops. */
#include "kernels/common/case_tools.h"
#include "kernels/optimizer/optimizer.h"

#include <stddef.h>
#include <string.h>

enum { MAX_ITEMS = 5 };

/* Lies in mgk_case.more. The runner sets the pointers of the buffers, finish() those of the items.
 */
typedef struct more {
    mgk_optimizer_item items[MAX_ITEMS];
    mgk_buf bufs[MAX_ITEMS][5];
} more;

static const int64_t sizes[][MAX_ITEMS] = {
    {0}, {1}, {5, 0, 17}, {16384, 1, 16385, 3, 100}, {40000, 33, 15, 64, 7}, {200, 300, 0, 1, 2}};
enum {
    SIZES = sizeof sizes / sizeof sizes[0],
    OPTIONS = 4,
    LEGAL = SIZES * 3 * OPTIONS,
    CONTROL = 8
};

static void finish(mgk_case *c)
{
    mgk_optimizer_args *a = (void *)&c->args;
    more *m = (void *)c->more;
    for (int i = 0; i < MAX_ITEMS; i++) {
        m->items[i].weight = m->bufs[i][0].p;
        m->items[i].grad = m->bufs[i][1].p;
        m->items[i].m = m->bufs[i][2].p;
        m->items[i].v = m->bufs[i][3].p;
        m->items[i].ema = m->bufs[i][4].p;
    }
    a->items = m->items;
}

/* SCALE and STEP come out of normal numbers scaled down to 0, or of positive ones. */
static void add_control(mgk_case *c, mgk_optimizer_args *a, int fill, float scale)
{
    mgk_case_add(c, &a->control, MGK_CASE_INOUT, fill, MGK_F32, MGK_CONTROL_COUNT, 0, scale);
}

static void build(mgk_case *c, mgk_optimizer_args *a, int index)
{
    more *m = (void *)c->more;
    _Static_assert(sizeof(more) <= sizeof c->more, "items must fit into mgk_case.more");
    int set = mgk_case_take(&index, SIZES), op = mgk_case_take(&index, 3), option = index;
    static const int ops[] = {MGK_OP_grad_norm, MGK_OP_adamw, MGK_OP_ema};
    MGK_CASE_BEGIN(c, ops[op], "set %d option %d", set, option);
    a->item_count = set == 0 ? 0 : MAX_ITEMS;
    a->beta1 = 0.9f;
    a->beta2 = 0.95f;
    a->eps = 1e-8f;
    a->decay = option & 1 ? 0.1f : 0;
    a->ema_decay = option & 1 ? 0.99f : 0.05f;
    c->finish = finish;
    add_control(c, a, option == 3 ? MGK_FILL_ZERO : MGK_FILL_POSITIVE, option == 2 ? 30 : 1);
    for (int i = 0; i < a->item_count; i++) {
        mgk_buf *b = m->bufs[i];
        int64_t n = sizes[set][i];
        m->items[i].count = n;
        m->items[i].decay = (float)(i % 2);
        m->items[i].lr_scale = i == 2 ? 0.5f : 1;
        if (op == 0) {
            mgk_case_in(c, &b[1], n, 1);
        } else if (op == 1) {
            mgk_case_both(c, &b[0], n);
            mgk_case_in(c, &b[1], n, 1);
            mgk_case_both(c, &b[2], n);
            mgk_case_add(c, &b[3], MGK_CASE_INOUT, MGK_FILL_POSITIVE, MGK_F32, n, 0, 1);
        } else {
            mgk_case_in(c, &b[0], n, 1);
            mgk_case_both(c, &b[4], n);
        }
    }
}

static bool control_case(mgk_case *c, mgk_optimizer_args *a, int index)
{
    if (index >= CONTROL)
        return false;
    MGK_CASE_BEGIN(c, MGK_OP_step_control, "option %d", index);
    a->clip = index & 1 ? 0.5f : 0;
    a->skip_factor = index & 2 ? 0.25f : 0;
    add_control(c, a, MGK_FILL_POSITIVE, index & 4 ? 200 : 1);
    return true;
}

static bool illegal(mgk_case *c, mgk_optimizer_args *a, int index)
{
    static const int ops[] = {MGK_OP_grad_norm, MGK_OP_adamw, MGK_OP_adamw,
                              MGK_OP_adamw,     MGK_OP_ema,   MGK_OP_step_control};
    more *m = (void *)c->more;
    if (index >= (int)(sizeof ops / sizeof ops[0]))
        return false;
    MGK_CASE_BEGIN(c, ops[index], "illegal %d", index);
    c->illegal = true;
    a->item_count = 1;
    a->beta1 = index == 1 ? 1 : 0.9f;
    a->beta2 = 0.9f;
    a->clip = -1; /* step_control */
    m->items[0].count = index == 2 ? -1 : 8;
    c->finish = finish;
    add_control(c, a, MGK_FILL_POSITIVE, 1);
    mgk_case_both(c, &m->bufs[0][0], 8);
    if (index != 0)
        mgk_case_both(c, &m->bufs[0][1], 8);
    if (index != 3) /* adamw without its moments */
        mgk_case_both(c, &m->bufs[0][2], 8);
    mgk_case_both(c, &m->bufs[0][3], 8);
    return true; /* ema: no ema */
}

MGK_CASES(optimizer)
{
    mgk_optimizer_args *a = (void *)&c->args;
    (void)seed;
    if (index < LEGAL)
        build(c, a, index);
    else if (index < LEGAL + CONTROL)
        control_case(c, a, index - LEGAL);
    else
        return illegal(c, a, index - LEGAL - CONTROL);
    return true;
}
