/* SPDX-License-Identifier: MIT
 * Convolutions by warpgroups: which take part, what a tile of pixels is, and what each tile reads. Pure functions. Inside
 * kernels/conv2d only. */
#ifndef MGK_CONV2D_SM90_H
#define MGK_CONV2D_SM90_H

#include "kernels/common/hopper.h"
#include "kernels/conv2d/conv2d.h"

/* A convolution of pictures `in` to pictures `out`: at row i and place p of the kernel it reads row
 * i * step_h + p - top, in columns likewise. The gradient of the input is one as well, of dy, with the places of the
 * kernel in the other order. */
typedef struct mgk_conv_form {
    int64_t images, in_h, in_w, in_channels, out_h, out_w, out_channels;
    int kh, kw, step_h, step_w, top, left;
    int above, below; /* rows of padding */
    bool gradient;
    bool edges; /* padded by the first and the last row */
} mgk_conv_form;

/* false: not by warpgroups. */
MGK_PURE bool mgk_conv_form_of(mgk_conv_form *f, const mgk_conv2d_args *g, bool gradient)
{
    const int64_t most = (int64_t)1 << 26, places = 1 << 10;
    const bool padded = g->pad_top || g->pad_bottom || g->pad_left || g->pad_right;
    f->edges = padded && g->pad_mode == MGK_PAD_REPLICATE;
    if (g->x.dtype != MGK_BF16 || g->cin % 8 || g->cout % 8 || g->n < 1 || g->n > most ||
        g->h > most || g->w > most || g->ho > most || g->wo > most || g->cin > most ||
        g->cout > most || g->kh > places || g->kw > places || g->stride_h > MGK_BOX_STEP_MAX ||
        g->stride_w > MGK_BOX_STEP_MAX || (f->edges && (g->pad_left || g->pad_right)) ||
        (gradient && (g->stride_h > 1 || g->stride_w > 1)))
        return false;
    f->gradient = gradient;
    f->images = g->n;
    f->in_h = gradient ? g->ho : g->h;
    f->in_w = gradient ? g->wo : g->w;
    f->in_channels = gradient ? g->cout : g->cin;
    f->out_h = gradient ? g->h : g->ho;
    f->out_w = gradient ? g->w : g->wo;
    f->out_channels = gradient ? g->cin : g->cout;
    f->kh = (int)g->kh;
    f->kw = (int)g->kw;
    f->step_h = (int)g->stride_h;
    f->step_w = (int)g->stride_w;
    f->above = (int)g->pad_top;
    f->below = (int)g->pad_bottom;
    f->top = (int)(gradient ? g->kh - 1 - g->pad_top : g->pad_top);
    f->left = (int)(gradient ? g->kw - 1 - g->pad_left : g->pad_left);
    return true;
}

/* ---- tiles ---- */

/* Tiles of pixels: patches of 2^log_w x 2^log_h of 2^log_n pictures, numbered by columns, then rows, then pictures. A
 * row of a tile is a pixel of the patch, in the same order. */
typedef struct mgk_conv_patches {
    int32_t log_w, log_h, log_n, across, down;
    int64_t count;
} mgk_conv_patches;

typedef struct mgk_conv_pixel {
    int32_t image, i, j;
} mgk_conv_pixel;

/* Few patches, then little beside them that is read as well. One row each where rows stand for padding. */
MGK_PURE mgk_conv_patches mgk_conv_patches_of(const mgk_conv_form *f, int log_rows)
{
    mgk_conv_patches best = {0, 0, 0, 0, 0, 0};
    int64_t least = 0;
    for (int log_w = log_rows; log_w >= 0; log_w--)
        for (int log_h = 0; log_h <= (f->edges ? 0 : log_rows - log_w); log_h++) {
            const int log_n = log_rows - log_w - log_h;
            mgk_conv_patches p = {log_w, log_h, log_n, 0, 0, 0};
            p.across = (int32_t)mgk_tiles_of(f->out_w, (int64_t)1 << log_w);
            p.down = (int32_t)mgk_tiles_of(f->out_h, (int64_t)1 << log_h);
            p.count = (int64_t)p.across * p.down * mgk_tiles_of(f->images, (int64_t)1 << log_n);
            const int64_t seen = (((int64_t)f->step_w << log_w) + f->kw - 1) *
                                     (((int64_t)f->step_h << log_h) + f->kh - 1)
                                 << log_n;
            if (f->step_w << log_w > MGK_BOX_ROWS_MAX || f->step_h << log_h > MGK_BOX_ROWS_MAX)
                continue;
            if (!best.count || p.count < best.count || (p.count == best.count && seen < least)) {
                best = p;
                least = seen;
            }
        }
    return best;
}

/* The first pixel of patch `at`; behind the last patch there are pictures that do not exist. */
MGK_PURE mgk_conv_pixel mgk_conv_patch(const mgk_conv_patches *p, int32_t at)
{
    mgk_conv_pixel first;
    first.j = at % p->across << p->log_w;
    first.i = at / p->across % p->down << p->log_h;
    first.image = at / p->across / p->down << p->log_n;
    return first;
}

/* The first pixel of the patch behind that which begins there. */
MGK_PURE void mgk_conv_next_patch(const mgk_conv_patches *p, mgk_conv_pixel *first)
{
    first->j += 1 << p->log_w;
    if (first->j < p->across << p->log_w)
        return;
    first->j = 0;
    first->i += 1 << p->log_h;
    if (first->i < p->down << p->log_h)
        return;
    first->i = 0;
    first->image += 1 << p->log_n;
}

/* The pixel of row `row` of the tile that begins there. */
MGK_PURE mgk_conv_pixel mgk_conv_pixel_of(const mgk_conv_patches *p, mgk_conv_pixel first, int row)
{
    first.j += row & ((1 << p->log_w) - 1);
    first.i += row >> p->log_w & ((1 << p->log_h) - 1);
    first.image += row >> (p->log_w + p->log_h);
    return first;
}

/* As tiles of a product: clusters of patches m, blocks of channels n.
 *
 *   channels  pixels  blocks  multiply-adds a byte from L2   for
 *   256       128     2       64                             more than 128 channels, unless 128 fit better
 *   128       256     2       51                             others
 *   64        128     1       21                             64 at most */
typedef struct mgk_conv_tiles {
    mgk_conv_patches patches;
    int columns, cluster;
    int64_t m, n;
} mgk_conv_tiles;

MGK_PURE mgk_conv_tiles mgk_conv_tiles_of(const mgk_conv_form *f)
{
    mgk_conv_tiles t;
    const int64_t of_128 = mgk_tiles_of(f->out_channels, 128);
    t.columns = f->out_channels <= 64 ? 64 : of_128 % 2 ? 128 : 256;
    t.cluster = t.columns == 64 ? 1 : 2;
    t.patches = mgk_conv_patches_of(f, t.columns == 128 ? 8 : 7);
    t.m = mgk_tiles_of(t.patches.count, t.cluster);
    t.n = mgk_tiles_of(f->out_channels, t.columns);
    return t;
}

/* Two thirds at least of what tiles multiply must be channels that exist: else "sm80", whose tiles are smaller. */
MGK_PURE bool mgk_conv_by_warpgroups(const mgk_conv_form *f, const mgk_conv_tiles *t)
{
    const int64_t in = mgk_tiles_of(f->in_channels, MGK_PANEL) * MGK_PANEL;
    return t->patches.count < (int64_t)1 << 30 &&
           f->in_channels * f->out_channels * 3 >= in * t->n * t->columns * 2;
}

/* ---- what a tile reads ---- */

/* For each of `count` rows from `first` on (- its own place in the kernel), all places of the kernel. */
typedef struct mgk_conv_rows {
    int32_t first;
    int count;
} mgk_conv_rows;

/* Of a tile that begins with row i. The gradient of a row that stands for padding is that of all the rows that it
 * stands for. */
MGK_PURE mgk_conv_rows mgk_conv_rows_of(const mgk_conv_form *f, int32_t i)
{
    mgk_conv_rows r = {i * f->step_h - f->top, 1};
    if (f->gradient && f->edges) {
        if (i == 0) {
            r.first -= f->above;
            r.count += f->above;
        }
        if (i == f->out_h - 1)
            r.count += f->below;
    }
    return r;
}

/* The row that is read for row `i` of the padded picture. Elsewhere zeros are, where there is none. */
MGK_PURE int32_t mgk_conv_row(const mgk_conv_form *f, int32_t i)
{
    if (f->gradient || !f->edges)
        return i;
    return i < 0 ? 0 : i >= f->in_h ? (int32_t)f->in_h - 1 : i;
}

/* ---- the gradient of the weights ---- */

/* As products of channels of y x channels of x, a place of the kernel each, over patches of 64 pixels, in parts: from the
 * sizes only, so many that all multiprocessors have several tiles.
 *
 *   channels of y  of x  blocks  multiply-adds a byte from L2   for
 *   128            256   2       64                             more than 128 of x, pairs of 128 of y
 *   128            128   1       32                             others */
typedef struct mgk_conv_weight_tiles {
    mgk_conv_patches patches;
    int columns, cluster;
    int64_t m, n, count; /* clusters of tiles; of all places */
    int64_t parts, patches_a_part;
} mgk_conv_weight_tiles;

enum { MGK_CONV_WEIGHT_BLOCKS = 4 * 132, MGK_CONV_LOG_PATCH = 6 };

MGK_PURE mgk_conv_weight_tiles mgk_conv_weight_tiles_of(const mgk_conv_form *f)
{
    mgk_conv_weight_tiles t;
    const int64_t of_128 = mgk_tiles_of(f->out_channels, MGK_PRODUCT_ROWS);
    const bool pairs = of_128 % 2 == 0 && f->in_channels > 128;
    t.columns = pairs ? 256 : 128;
    t.cluster = pairs ? 2 : 1;
    t.m = of_128 / t.cluster;
    t.n = mgk_tiles_of(f->in_channels, t.columns);
    t.count = t.m * t.n * f->kh * f->kw;
    t.patches = mgk_conv_patches_of(f, MGK_CONV_LOG_PATCH);
    int64_t parts = MGK_CONV_WEIGHT_BLOCKS / (t.count * t.cluster);
    if (parts > t.patches.count / 2)
        parts = t.patches.count / 2;
    t.patches_a_part = mgk_tiles_of(t.patches.count, parts > 0 ? parts : 1);
    t.parts = mgk_tiles_of(t.patches.count, t.patches_a_part);
    return t;
}

MGK_PURE bool mgk_conv_weights_by_warpgroups(const mgk_conv_form *f, const mgk_conv_weight_tiles *t)
{
    const int64_t out = t->m * t->cluster * MGK_PRODUCT_ROWS;
    return t->patches.count < (int64_t)1 << 30 && t->count * t->parts < (int64_t)1 << 30 &&
           f->in_channels * f->out_channels * 3 >= out * t->n * t->columns * 2;
}

#endif
