/* SPDX-License-Identifier: MIT
 * How a convolution is cut into blocks: pure functions of its arguments (not of the engine or the
 * number of threads). Inside kernels/conv2d only.
 *
 * A slab is a block of pixels small enough for the second-level cache with all that it reads: rows
 * x columns of one picture, or (grad_weight) several whole small pictures.
 */
#ifndef MGK_CONV2D_PLAN_H
#define MGK_CONV2D_PLAN_H

#include "kernels/common/panel.h"
#include "kernels/conv2d/conv2d.h"

enum { MGK_CONV2D_SPREAD_TAPS = 64 /* most places of the kernel, for results with few channels */ };

typedef struct mgk_conv2d_plan {
    /* Pictures and rows are joined where the kernel does not look across them; y_pixel and y_row are set. */
    mgk_conv2d_args g;
    int64_t pictures, rows, cols;                       /* of a slab */
    int64_t picture_slabs, row_slabs, col_slabs, slabs; /* their counts and the product */
    int64_t src_rows, src_cols;                         /* most of the source that a slab reads */
    int64_t copy_floats;                                /* padded copy of that source, a thread */
    int64_t out_floats; /* results of a slab before they are summed into place, a thread */
    int64_t
        sums_floats;  /* f32 sums of a panel's columns of a slab, if the result is bf16, a thread */
    int64_t tables;   /* row pointers a thread */
    int64_t n_pad, k; /* packed weights are k x n_pad floats */
    int64_t block_segs, sub_len; /* a block of k: this many segments, or this much of one */
    int64_t groups;              /* grad_weight: partial sums */
    int64_t taps_a_unit;         /* grad_weight: rows of the kernel a unit of work, 1 or kh */
    bool sliding; /* grad_weight, engines of pairs: a row's pairs of neighbours follow each other */
    bool by_input; /* grad_weight: partial sums as (kh, kw, cin, cout), A = x */
    int64_t
        spread; /* few channels of the result: see mgk_conv2d_spread; floats from line to line, or 0 */
    int64_t spread_floats;
    bool three; /* three channels to three, one column of the kernel: the engine's own way */
    int64_t partial_floats; /* grad_weight: one partial sum, weights then bias */
} mgk_conv2d_plan;

mgk_conv2d_plan mgk_conv2d_make_plan(const mgk_conv2d_args *g);
mgk_conv2d_plan mgk_conv2d_grad_input_make_plan(const mgk_conv2d_args *g);
mgk_conv2d_plan mgk_conv2d_grad_weight_make_plan(const mgk_conv2d_args *g);

/* Floats of workspace that belong to one thread. */
static inline int64_t mgk_conv2d_thread_floats(const mgk_conv2d_plan *p)
{
    return p->copy_floats + p->out_floats + p->sums_floats +
           mgk_round_up(p->tables * (int64_t)sizeof(void *) / (int64_t)sizeof(float), 16);
}

void mgk_conv2d_run(const mgk_conv2d_args *g, mgk_exec *x, const mgk_panel *engine);
void mgk_conv2d_grad_input_run(const mgk_conv2d_args *g, mgk_exec *x, const mgk_panel *engine);
void mgk_conv2d_grad_weight_run(const mgk_conv2d_args *g, mgk_exec *x, const mgk_panel *engine);

#endif
