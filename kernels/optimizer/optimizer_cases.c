/* SPDX-License-Identifier: MIT
 * Test cases of the optimizer ops. */
#include "kernels/common/case_tools.h"
#include "kernels/optimizer/optimizer.h"

#include <stddef.h>
#include <string.h>

enum { MAX_ITEMS = 5, MANY = 150 };

/* Lies in mgk_case.more. The runner sets the pointers of the buffers, finish() those of the items: each has
 * its own buffers, but many are slices of the first one's. */
typedef struct more {
    mgk_optimizer_item items[MANY];
    mgk_buf bufs[MAX_ITEMS][6];
    int64_t slice; /* elements; 0: own buffers */
} more;

static const int64_t sizes[][MAX_ITEMS] = {{0},
                                           {1},
                                           {5, 0, 17},
                                           {16384, 1, 16385, 3, 100},
                                           {40000, 33, 15, 64, 7},
                                           {200, 300, 0, 1, 2},
                                           {5 * MANY}};
enum { NORM, NORM_BF16, ADAMW, ADAMW_BF16, ADAMW_EMA, EMA, FORMS };
enum {
    SIZES = sizeof sizes / sizeof sizes[0],
    OPTIONS = 4,
    LEGAL = SIZES * FORMS * OPTIONS,
    CONTROL = 8
};

static void *slice(mgk_buf b, int64_t at)
{
    return b.p ? (uint8_t *)b.p + at * (b.dtype == MGK_BF16 ? 2 : 4) : NULL;
}

static void finish(mgk_case *c)
{
    mgk_optimizer_args *a = (void *)&c->args;
    more *m = (void *)c->more;
    for (int i = 0; i < (m->slice ? MANY : MAX_ITEMS); i++) {
        mgk_optimizer_item *item = &m->items[i];
        const mgk_buf *b = m->bufs[m->slice ? 0 : i];
        int64_t at = i * m->slice;
        item->weight = slice(b[0], at);
        item->grad = slice(b[1], at);
        item->m = slice(b[2], at);
        item->v = slice(b[3], at);
        item->ema = slice(b[4], at);
        item->compute = slice(b[5], at);
        if (!c->illegal)
            item->grad_dtype = b[1].dtype;
        item->compute_f32 = b[5].dtype == MGK_F32;
    }
    a->items = m->items;
}

/* SCALE and STEP come out of normal numbers scaled down to 0, or of positive ones. */
static void add_control(mgk_case *c, mgk_optimizer_args *a, int fill, float scale)
{
    mgk_case_add(c, &a->control, MGK_CASE_INOUT, fill, MGK_F32, MGK_CONTROL_COUNT, 0, scale);
}

/* Changed by a sum of values of the size of 1, each of which is rounded: little may be left. */
static void changed(mgk_case *c, mgk_buf *b, int64_t n)
{
    mgk_case_both(c, b, n);
    mgk_case_besides(c, 0x1p-22f, 0);
}

/* In the bf16 forms every other gradient is bf16. */
static void add_item(mgk_case *c, mgk_buf *b, int64_t n, int form, int i)
{
    c->real = (form == NORM_BF16 || form == ADAMW_BF16) && i % 2 == 0 ? MGK_BF16 : MGK_F32;
    if (form == EMA)
        mgk_case_in_f32(c, &b[0], n, 1);
    else
        mgk_case_in(c, &b[1], n, 1);
    c->real = MGK_F32;
    if (form == ADAMW || form == ADAMW_BF16 || form == ADAMW_EMA) {
        changed(c, &b[0], n);
        changed(c, &b[2], n);
        mgk_case_add(c, &b[3], MGK_CASE_INOUT, MGK_FILL_POSITIVE, MGK_F32, n, 0, 1);
    }
    if (form == EMA || (form == ADAMW_EMA && i != 1)) /* a weight without average among others */
        changed(c, &b[4], n);
    if (form == ADAMW_BF16 || (form == ADAMW_EMA && i > 0)) {
        c->real = form == ADAMW_BF16 ? MGK_BF16 : MGK_F32;
        changed(c, &b[5], n);
    }
}

static void build(mgk_case *c, mgk_optimizer_args *a, int index)
{
    static const int ops[] = {MGK_OP_grad_norm, MGK_OP_grad_norm, MGK_OP_adamw,
                              MGK_OP_adamw,     MGK_OP_adamw,     MGK_OP_ema};
    more *m = (void *)c->more;
    _Static_assert(sizeof(more) <= sizeof c->more, "items must fit into mgk_case.more");
    int set = mgk_case_take(&index, SIZES), form = mgk_case_take(&index, FORMS), option = index;
    MGK_CASE_BEGIN(c, ops[form], "set %d option %d form %d", set, option, form);
    m->slice = set == SIZES - 1 ? sizes[set][0] / MANY : 0;
    a->item_count = set == 0 ? 0 : m->slice ? MANY : MAX_ITEMS;
    a->beta1 = 0.9f;
    a->beta2 = 0.95f;
    a->eps = 1e-8f;
    a->decay = option & 1 ? 0.1f : 0;
    a->ema_decay = option & 1 ? 0.99f : 0.05f;
    a->fuse_ema = form == ADAMW_EMA;
    c->finish = finish;
    add_control(c, a, option == 3 ? MGK_FILL_ZERO : MGK_FILL_POSITIVE, option == 2 ? 30 : 1);
    for (int i = 0; i < a->item_count; i++) {
        m->items[i].count = m->slice ? m->slice : sizes[set][i];
        m->items[i].decay = (float)(i % 2);
        m->items[i].lr_scale = i == 2 ? 0.5f : 1;
        if (i == 0 || !m->slice)
            add_item(c, m->bufs[i], sizes[set][i], form, i);
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
    static const struct {
        int op, count;
        const char *what;
    } bad[] = {{MGK_OP_grad_norm, 1, "no grad"},
               {MGK_OP_adamw, 1, "beta1 of 1"},
               {MGK_OP_adamw, 1, "negative count"},
               {MGK_OP_adamw, 1, "no moments"},
               {MGK_OP_ema, 1, "no ema"},
               {MGK_OP_step_control, 1, "negative clip"},
               {MGK_OP_grad_norm, 1, "grad of i32"},
               {MGK_OP_adamw, 1, "grad of i32"},
               {MGK_OP_adamw, 1, "fused ema_decay 2"},
               {MGK_OP_adamw, 1, "beta2 negative"},
               {MGK_OP_adamw, 1, "eps negative"},
               {MGK_OP_adamw, 1, "no weight"},
               {MGK_OP_ema, 1, "ema_decay negative"},
               {MGK_OP_adamw, -1, "item_count negative"},
               {MGK_OP_step_control, 1, "skip"}};
    more *m = (void *)c->more;
    mgk_buf *b = m->bufs[0];
    if (index >= (int)(sizeof bad / sizeof bad[0]))
        return false;
    MGK_CASE_BEGIN(c, bad[index].op, "illegal: %s", bad[index].what);
    c->illegal = true;
    a->item_count = bad[index].count;
    a->beta1 = index == 1 ? 1 : 0.9f;
    a->beta2 = index == 9 ? -0.5f : 0.9f;
    a->eps = index == 10 ? -1 : 0;
    a->clip = index == 5 ? -1 : 0;
    a->skip_factor = index == 14 ? -1 : 0;
    a->fuse_ema = index == 8;
    a->ema_decay = index == 8 ? 2 : index == 12 ? -0.1f : 0.9f;
    m->items[0].count = index == 2 ? -1 : 8;
    m->items[0].grad_dtype = index == 6 || index == 7 ? MGK_I32 : MGK_F32;
    c->finish = finish;
    add_control(c, a, MGK_FILL_POSITIVE, 1);
    if (index != 11)
        mgk_case_both_f32(c, &b[0], 8);
    if (index != 0)
        mgk_case_both_f32(c, &b[1], 8);
    if (index != 3)
        mgk_case_both_f32(c, &b[2], 8);
    mgk_case_both_f32(c, &b[3], 8);
    if (index != 4)
        mgk_case_both_f32(c, &b[4], 8);
    return true;
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
