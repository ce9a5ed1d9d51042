/* SPDX-License-Identifier: MIT
 * conv2d and its gradients: test cases. Each shape is run by all three ops. */
#include "kernels/cases.h"
#include "kernels/conv2d/conv2d.h"

#include <stdio.h>

typedef struct {
    int n, h, w, cin, cout, kh, kw, sh, sw;
    int top, bottom, left, right;
    int replicate, accumulate, bias;
} shape;

static const shape shapes[] = {
    /* single values, no picture at all */
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0},
    {1, 1, 1, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 1, 1, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {0, 4, 4, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {0, 4, 4, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    /* 1x1 */
    {1, 5, 7, 8, 17, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1},
    {2, 9, 8, 16, 32, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1},
    {3, 30, 31, 32, 3, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0},
    {2, 9, 8, 17, 5, 1, 1, 2, 2, 0, 0, 0, 0, 0, 0, 1},
    {1, 4, 5, 3, 8, 1, 1, 2, 3, 0, 0, 1, 2, 0, 1, 1},
    /* 3x3, same size */
    {1, 5, 6, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {2, 8, 8, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {3, 8, 8, 32, 32, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {3, 7, 15, 17, 33, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 0},
    {1, 16, 16, 3, 17, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {2, 16, 17, 17, 3, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {2, 16, 16, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 1},
    {1, 9, 9, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {1, 6, 70, 8, 16, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 20, 150, 3, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 1},
    /* several blocks of k: long rows of the kernel, many rows of the kernel */
    {1, 8, 8, 130, 40, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 6, 6, 33, 140, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 1},
    {1, 9, 9, 16, 8, 5, 5, 1, 1, 2, 2, 2, 2, 0, 0, 1},
    {1, 13, 12, 32, 32, 7, 7, 1, 1, 3, 3, 3, 3, 1, 0, 1},
    /* few output channels */
    {2, 9, 10, 16, 1, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {2, 9, 10, 16, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 0},
    {1, 12, 80, 8, 4, 5, 5, 1, 1, 2, 2, 2, 2, 0, 0, 1},
    {1, 12, 13, 8, 3, 5, 4, 1, 1, 0, 3, 0, 5, 0, 0, 1},
    /* no padding, uneven padding, padding wider than the kernel */
    {2, 8, 9, 8, 16, 3, 3, 1, 1, 0, 0, 0, 0, 0, 0, 1},
    {2, 8, 9, 8, 16, 2, 4, 1, 1, 0, 1, 3, 0, 0, 0, 1},
    {1, 3, 4, 3, 8, 2, 2, 1, 1, 3, 2, 4, 3, 0, 0, 1},
    {1, 3, 4, 3, 8, 2, 2, 1, 1, 3, 2, 4, 3, 1, 0, 1},
    {1, 2, 2, 1, 3, 3, 3, 1, 1, 4, 4, 4, 4, 1, 1, 1},
    /* stride 2 */
    {2, 8, 8, 16, 32, 3, 3, 2, 2, 0, 1, 0, 1, 0, 0, 1},
    {2, 16, 16, 8, 17, 3, 3, 2, 2, 0, 1, 0, 1, 0, 1, 1},
    {2, 9, 10, 17, 16, 3, 3, 2, 2, 1, 1, 1, 1, 0, 0, 1},
    {1, 9, 10, 3, 8, 3, 3, 2, 2, 1, 1, 1, 1, 1, 0, 1},
    {1, 8, 8, 32, 16, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {3, 12, 12, 32, 3, 3, 3, 2, 2, 0, 0, 0, 0, 0, 0, 1},
    {1, 11, 11, 3, 5, 2, 2, 3, 3, 0, 0, 0, 0, 0, 0, 1},
    {1, 11, 13, 3, 5, 3, 5, 3, 2, 1, 2, 3, 0, 1, 0, 1},
    /* in time: rows are moments, columns are places */
    {1, 4, 64, 16, 16, 3, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {2, 5, 100, 8, 32, 3, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1},
    {2, 16, 64, 17, 16, 3, 1, 1, 1, 2, 0, 0, 0, 1, 1, 1},
    {1, 1, 30, 3, 8, 3, 1, 1, 1, 2, 0, 0, 0, 1, 0, 1},
    {1, 16, 300, 32, 32, 3, 1, 1, 1, 2, 0, 0, 0, 0, 0, 1},
    {2, 8, 36, 16, 3, 3, 1, 2, 1, 1, 1, 0, 0, 1, 0, 1},
    {2, 1, 50, 8, 8, 1, 3, 1, 1, 0, 0, 1, 1, 1, 0, 1},
    /* several slabs and partial sums */
    {2, 40, 40, 3, 16, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 66, 65, 16, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {20, 16, 16, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {40, 8, 8, 16, 8, 3, 3, 2, 2, 0, 1, 0, 1, 0, 0, 1},
};

static const int ops[] = {MGK_OP_conv2d, MGK_OP_conv2d_grad_input, MGK_OP_conv2d_grad_weight};
static const char *const op_names[] = {"forward", "grad_input", "grad_weight"};

static void add_buffers(mgk_case *c, int which, mgk_conv2d_args *g, bool bias)
{
    const int out = g->accumulate ? MGK_CASE_INOUT : MGK_CASE_OUT, in = MGK_CASE_IN;
    mgk_case_add(c, &g->x, which == 1 ? out : in, MGK_FILL_NORMAL, MGK_F32,
                 g->n * g->h * g->w * g->cin, 0, 1);
    mgk_case_add(c, &g->weight, which == 2 ? out : in, MGK_FILL_NORMAL, MGK_F32,
                 g->cout * g->kh * g->kw * g->cin, 0, 1);
    mgk_case_add(c, &g->y, which == 0 ? out : in, MGK_FILL_NORMAL, MGK_F32,
                 g->n * g->ho * g->wo * g->cout, 0, 1);
    if (bias && which != 1)
        mgk_case_add(c, &g->bias, which == 2 ? out : in, MGK_FILL_NORMAL, MGK_F32, g->cout, 0, 1);
}

static const char *const illegal[] = {
    "ho",       "wo",          "kernel too large", "negative padding",
    "stride 0", "no channels", "pad mode",         "forward accumulates",
    "dtype",    "no weight"};

static bool illegal_case(mgk_case *c, int index)
{
    const int count = (int)(sizeof illegal / sizeof illegal[0]), which = index / count;
    if (which >= 3)
        return false;
    index %= count;
    mgk_conv2d_args *g = (mgk_conv2d_args *)c->args.bytes;
    *g = (mgk_conv2d_args){.n = 1,
                           .h = 5,
                           .w = 6,
                           .cin = 3,
                           .ho = 5,
                           .wo = 6,
                           .cout = 4,
                           .kh = 3,
                           .kw = 3,
                           .stride_h = 1,
                           .stride_w = 1,
                           .pad_top = 1,
                           .pad_bottom = 1,
                           .pad_left = 1,
                           .pad_right = 1};
    c->op = ops[which];
    c->illegal = true;
    snprintf(c->label, sizeof c->label, "%s, illegal: %s", op_names[which], illegal[index]);
    add_buffers(c, which, g, true);
    switch (index) {
    case 0:
        g->ho = 4;
        break;
    case 1:
        g->wo = 7;
        break;
    case 2:
        g->kh = 8;
        g->ho = 0;
        break;
    case 3:
        g->pad_top = -1;
        g->ho = 3;
        break;
    case 4:
        g->stride_w = 0;
        break;
    case 5:
        g->cin = 0;
        break;
    case 6:
        g->pad_mode = 2;
        break;
    case 7:
        g->accumulate = which == 0 ? 1 : 2;
        break;
    case 8:
        c->bufs[0].dtype = MGK_BF16;
        break;
    default:
        c->bufs[1] = c->bufs[2];
        c->buf_count = 2;
        break;
    }
    return true;
}

bool mgk_conv2d_cases(mgk_case *c, int index, uint64_t seed)
{
    const int count = (int)(sizeof shapes / sizeof shapes[0]), which = index / count;
    (void)seed;
    if (which >= 3)
        return illegal_case(c, index - 3 * count);
    const shape *s = &shapes[index % count];
    mgk_conv2d_args *g = (mgk_conv2d_args *)c->args.bytes;
    *g = (mgk_conv2d_args){.n = s->n,
                           .h = s->h,
                           .w = s->w,
                           .cin = s->cin,
                           .ho = (s->h + s->top + s->bottom - s->kh) / s->sh + 1,
                           .wo = (s->w + s->left + s->right - s->kw) / s->sw + 1,
                           .cout = s->cout,
                           .kh = s->kh,
                           .kw = s->kw,
                           .stride_h = s->sh,
                           .stride_w = s->sw,
                           .pad_top = s->top,
                           .pad_bottom = s->bottom,
                           .pad_left = s->left,
                           .pad_right = s->right,
                           .pad_mode = s->replicate ? MGK_PAD_REPLICATE : MGK_PAD_ZERO,
                           .accumulate = which > 0 && s->accumulate};
    c->op = ops[which];
    snprintf(c->label, sizeof c->label, "%s %dx%dx%dx%d -> %d, %dx%d/%d,%d pad %d %d %d %d%s%s",
             op_names[which], s->n, s->h, s->w, s->cin, s->cout, s->kh, s->kw, s->sh, s->sw, s->top,
             s->bottom, s->left, s->right, s->replicate ? " replicate" : "",
             g->accumulate ? " +=" : "");
    add_buffers(c, which, g, s->bias);
    return true;
}
