/* SPDX-License-Identifier: MIT
 * Enlargement by two and the convolution behind it, in one: what is not recorded takes this way.
 *
 * In an enlarged row every pixel stands twice, so that of three taps two read the same one:
 *   even outputs  y[2i]     = w0 x[i-1] + (w1 + w2) x[i]
 *   odd ones      y[2i + 1] = (w0 + w1) x[i] + w2 x[i+1]
 * With the weights added up beforehand two products are left of three, in space four of nine, and nothing is enlarged
 * before. */
#include "model/tae_up.h"

#include "kernels/conv2d/conv2d.h"
#include "kernels/layout/layout.h"
#include "kernels/layout/permute.h"

/* x (rows, 3, dim), taps in one direction -> y (2, rows, 2, dim): those for odd and for even outputs. */
static void add_taps(mgi_run *run, T *y, T *x, int64_t rows, int64_t dim)
{
    static const struct {
        int64_t even, to, from;
        int32_t more;
    } step[] = {{0, 0, 0, 0}, {0, 0, 1, 1}, {0, 1, 2, 0}, {1, 0, 0, 0}, {1, 1, 1, 0}, {1, 1, 2, 1}};
    for (int i = 0; i < 6 && run->status == MGEN_OK; i++) {
        const mgk_layout_args a = {
            .x = {mgi_f32(x) + step[i].from * dim, MGK_F32},
            .y = {mgi_f32(y) + (step[i].even * rows * 2 + step[i].to) * dim, MGK_F32},
            .rows = rows,
            .dim = dim,
            .x_stride = 3 * dim,
            .y_stride = 2 * dim,
            .accumulate = step[i].more};
        mgi_run_launch(run, MGK_OP_copy_rows, &a);
    }
}

/* w (Cout,3,3,Cin) -> (column, row, Cout, 2, 2, Cin), column and row: odd, then even ones. */
static T *four_kernels(mgi_run *run, T *w, int32_t dtype)
{
    int64_t cout = w->dims[0], cin = w->dims[3], mark = mgi_scope_push(run);
    w = mgi_cast(run, w, MGK_F32);
    T *rows = mgi_new(run, MGK_F32, MGI_DIMS(2, cout, 2, 3, cin));
    T *both = mgi_new(run, MGK_F32, MGI_DIMS(4, cout, 2, 2, cin));
    if (both) {
        add_taps(run, rows, w, cout, 3 * cin);
        add_taps(run, both, rows, 4 * cout, cin);
    }
    return mgi_scope_pop(run, mark, mgi_cast(run, both, dtype));
}

/* (column, row, N, H, W, C) into (N, H, row, W, column, C), with n = N H. */
static void interleave(mgi_run *run, T *to, T *parts, int64_t n, int64_t width, int64_t channels)
{
    const mgk_permute_args a = {.x = mgi_buf(parts),
                                .y = mgi_buf(to),
                                .extent = {2, 2, n, width, channels},
                                .axis = {2, 1, 3, 0, 4},
                                .rank = 5};
    mgi_run_launch(run, MGK_OP_permute, &a);
}

/* Whether convolutions write right where their results belong. On GPUs, whose fastest ones write all pixels side by side, these
 * are moved there. */
static bool in_place(const mgi_run *run)
{
    return !(run->dev->kernel[MGK_OP_conv2d]->needs & MGK_NEEDS_CUDA);
}

/* The four convolutions of x, into y (N,2H,2W,Cout), or `parts` (column, row, N, H, W, Cout). */
static void convolve_four(mgi_run *run, T *y, T *parts, T *x, T *kernels, T *b)
{
    int64_t n = x->dims[0], h = x->dims[1], width = x->dims[2], cout = kernels->dims[1];
    if (!mgi_require(run, (y ? y : parts)->count == 4 * n * h * width * cout,
                     "tae up: the result has another size"))
        return;
    for (int i = 0; i < 4; i++) { /* even ones first */
        int64_t row = i & 1, column = i >> 1;
        mgk_conv2d_args a = {.x = mgi_buf(x),
                             .bias = mgi_buf(b),
                             .n = n,
                             .h = h,
                             .w = width,
                             .cin = x->dims[3],
                             .ho = h,
                             .wo = width,
                             .cout = cout,
                             .kh = 2,
                             .kw = 2,
                             .stride_h = 1,
                             .stride_w = 1,
                             .pad_top = !row,
                             .pad_bottom = row,
                             .pad_left = !column,
                             .pad_right = column,
                             .pad_mode = MGK_PAD_ZERO};
        a.weight = mgi_buf_from(mgi_buf(kernels), (3 - i) * (kernels->count / 4));
        if (y) {
            a.y = mgi_buf_from(mgi_buf(y), (2 * row * width + column) * cout);
            a.y_pixel = 2 * cout;
            a.y_row = 4 * width * cout;
        } else {
            a.y = mgi_buf_from(mgi_buf(parts), i * (parts->count / 4));
        }
        mgi_run_launch(run, MGK_OP_conv2d, &a);
    }
}

T *mgi_tae_up_space(mgi_run *run, T *to, T *x, T *w, T *b)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->rank == 4, "tae up: x is not (N,H,W,C)"))
        return NULL;
    int64_t n = x->dims[0], h = x->dims[1], width = x->dims[2], cout = w->dims[0];
    int64_t mark = mgi_scope_push(run);
    T *kernels = four_kernels(run, w, x->dtype), *parts = NULL;
    if (!in_place(run)) {
        parts = mgi_new(run, x->dtype, MGI_DIMS(2, 2, n * h, width, cout));
        if (parts && kernels)
            convolve_four(run, NULL, parts, x, kernels, b);
        mgi_drop(run, kernels);
    }
    T *y = to ? to : mgi_new(run, x->dtype, MGI_DIMS(n, 2 * h, 2 * width, cout));
    if (y && parts) {
        if (mgi_require(run, y->count == parts->count, "tae up: the result has another size"))
            interleave(run, y, parts, n * h, width, cout);
        mgi_drop(run, parts);
    } else if (y && kernels && run->status == MGEN_OK) {
        convolve_four(run, y, NULL, x, kernels, b);
        mgi_drop(run, kernels);
    }
    return mgi_scope_pop(run, mark, run->status == MGEN_OK ? y : NULL);
}

/* Of odd and of even frames, by weights (2,Cout,2,1,Cin), into every second one. */
static T *convolve_two(mgi_run *run, T *x, T *both, T *b, int64_t before, int64_t after)
{
    int64_t batch = x->dims[0], frames = x->dims[1], pixels = x->dims[2], cout = b->count;
    int64_t pairs = frames + before + after - 1;
    T *y = mgi_new(run, x->dtype, MGI_DIMS(batch, 2 * pairs, pixels, cout));
    for (int i = 0; i < 2 && y && both; i++) {
        const mgk_conv2d_args a = {.x = mgi_buf(x),
                                   .weight = mgi_buf_from(mgi_buf(both), i * (both->count / 2)),
                                   .bias = mgi_buf(b),
                                   .y = mgi_buf_from(mgi_buf(y), i * pixels * cout),
                                   .n = batch,
                                   .h = frames,
                                   .w = pixels,
                                   .cin = x->dims[3],
                                   .ho = pairs,
                                   .wo = pixels,
                                   .cout = cout,
                                   .kh = 2,
                                   .kw = 1,
                                   .stride_h = 1,
                                   .stride_w = 1,
                                   .pad_top = before,
                                   .pad_bottom = after,
                                   .pad_mode = MGK_PAD_REPLICATE,
                                   .y_pixel = cout,
                                   .y_row = 2 * pixels * cout};
        mgi_run_launch(run, MGK_OP_conv2d, &a);
    }
    return y;
}

T *mgi_tae_up_time(mgi_run *run, T *x, T *w, T *b, int64_t before, int64_t after)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->rank == 4, "tae up: x is not (B,T,P,C)"))
        return NULL;
    int64_t batch = x->dims[0], pixels = x->dims[2], cout = w->dims[0], cin = w->dims[3];
    int64_t mark = mgi_scope_push(run);
    T *both = mgi_new(run, MGK_F32, MGI_DIMS(2 * cout, 2, 1, cin));
    w = mgi_cast(run, w, MGK_F32);
    if (both)
        add_taps(run, both, w, cout, cin);
    both = mgi_cast(run, both, x->dtype);
    if (in_place(run))
        return mgi_scope_pop(run, mark, convolve_two(run, x, both, b, before, after));
    T *y = mgi_conv2d(run, x, both, mgi_concat(run, (T *[]){b, b}, 2),
                      (mgi_conv_options){.stride_h = 1,
                                         .stride_w = 1,
                                         .pad_top = before,
                                         .pad_bottom = after,
                                         .pad_mode = MGK_PAD_REPLICATE});
    if (!y) {
        mgi_scope_pop(run, mark, NULL);
        return NULL;
    }
    int64_t pairs = y->dims[1];
    y = mgi_reshape(run, y, MGI_DIMS(batch, pairs, pixels, 2, cout));
    y = mgi_permute(run, y, (const int32_t[]){0, 1, 3, 2, 4});
    return mgi_scope_pop(run, mark, mgi_reshape(run, y, MGI_DIMS(batch, 2 * pairs, pixels, cout)));
}
