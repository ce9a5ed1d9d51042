/* SPDX-License-Identifier: MIT
 * conv2d and its gradients: test cases. Each shape is run by all three ops. */
#include "kernels/common/case_tools.h"
#include "kernels/conv2d/conv2d.h"

typedef struct {
    int n, h, w, cin, cout, kh, kw, sh, sw;
    int top, bottom, left, right;
    int replicate, accumulate, bias;
    int pixel_room, row_room; /* values between pixels and rows of y */
} shape;

static const shape shapes[] = {
    /* single values, no picture at all */
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0},
    {1, 1, 1, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 1, 1, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {0, 4, 4, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {0, 4, 4, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {0, 4, 4, 3, 2, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1},
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
    {1, 3, 5, 300, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 1},
    {1, 4, 3, 20, 300, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {1, 3, 4, 400, 8, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 2, 3, 800, 18, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 3, 4, 8, 400, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {1, 2, 3, 18, 800, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    /* few output channels, few input channels */
    {2, 9, 10, 16, 1, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {2, 9, 10, 16, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 0},
    {1, 12, 80, 8, 4, 5, 5, 1, 1, 2, 2, 2, 2, 0, 0, 1},
    {2, 9, 10, 3, 16, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {2, 9, 10, 4, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {1, 12, 13, 8, 3, 5, 4, 1, 1, 0, 3, 0, 5, 0, 0, 1},
    {1, 9, 70, 9, 3, 8, 8, 1, 1, 4, 3, 3, 4, 0, 0, 1},
    {1, 9, 40, 8, 3, 9, 8, 1, 1, 4, 4, 3, 4, 1, 0, 1},
    {2, 1, 1, 16, 3, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 3, 100, 17, 4, 3, 2, 1, 1, 1, 1, 0, 1, 0, 0, 0},
    /* no padding, uneven padding, padding wider than the kernel */
    {2, 8, 9, 8, 16, 3, 3, 1, 1, 0, 0, 0, 0, 0, 0, 1},
    {2, 8, 9, 8, 16, 2, 4, 1, 1, 0, 1, 3, 0, 0, 0, 1},
    {1, 3, 4, 3, 8, 2, 2, 1, 1, 3, 2, 4, 3, 0, 0, 1},
    {1, 3, 4, 3, 8, 2, 2, 1, 1, 3, 2, 4, 3, 1, 0, 1},
    {1, 2, 2, 1, 3, 3, 3, 1, 1, 4, 4, 4, 4, 1, 1, 1},
    /* columns in the padding are left out: pictures of one column, of one row, in several slabs; one pixel of whose kernel
     * all columns, or rows, are outside; more than one such pixel, which are copied */
    {2, 5, 1, 8, 20, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {2, 1, 30, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {1, 3, 2, 8, 33, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 0},
    {1, 16, 150, 8, 12, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 3, 4, 8, 8, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 4, 5, 8, 16, 2, 2, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {1, 2, 5, 8, 8, 2, 3, 1, 1, 3, 3, 1, 1, 0, 0, 1},
    {1, 7, 9, 8, 16, 3, 3, 2, 2, 1, 1, 2, 2, 0, 0, 1},
    {1, 6, 1, 8, 16, 1, 4, 1, 2, 0, 0, 2, 2, 0, 0, 1},
    {1, 5, 6, 8, 16, 3, 3, 1, 1, 2, 2, 2, 2, 0, 0, 1},
    {1, 5, 6, 8, 16, 3, 5, 1, 3, 1, 1, 2, 2, 0, 0, 1},
    /* three taps at once, in tiles of many heights */
    {1, 3, 1, 4, 6, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 2, 3, 4, 6, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {1, 2, 11, 4, 6, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 2, 14, 6, 4, 3, 3, 1, 1, 1, 1, 1, 0, 0, 0, 1},
    {1, 2, 19, 16, 48, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 2, 22, 48, 16, 3, 3, 1, 1, 1, 1, 0, 1, 0, 1, 1},
    {1, 2, 43, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 0, 1},
    {1, 2, 62, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    /* gradient of weights from pairs of neighbours */
    {2, 9, 40, 8, 16, 3, 3, 2, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 5, 45, 16, 33, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {1, 3, 40, 6, 8, 3, 5, 1, 1, 1, 1, 6, 7, 0, 0, 1},
    {1, 3, 3, 16, 16, 3, 3, 1, 1, 1, 1, 40, 1, 0, 0, 1},
    {1, 4, 36, 3, 48, 3, 4, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    /* room between pixels, rows or both: every second pixel and row of pictures, every second row in time */
    {2, 5, 6, 8, 16, 2, 2, 1, 1, 1, 0, 0, 1, 0, 0, 1, 16, 192},
    {1, 9, 70, 16, 20, 2, 2, 1, 1, 0, 1, 1, 0, 0, 0, 1, 20, 2800},
    {2, 6, 40, 16, 48, 2, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1920},
    {2, 4, 33, 48, 33, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1, 7, 5},
    {2, 6, 9, 16, 3, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0},
    {2, 6, 9, 16, 3, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 3},
    {1, 5, 21, 3, 3, 3, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 4},
    {2, 5, 21, 3, 3, 3, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 63},
    {2, 3, 5, 8, 17, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 8},
    {2, 3, 5, 8, 16, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 4, 0},
    {1, 3, 4, 800, 18, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1, 18, 18},
    {2, 3, 15, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1, 64, 1920},
    /* as in an autoencoder */
    {2, 16, 64, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 16, 32, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {1, 16, 16, 96, 96, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 9, 20, 48, 20, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {2, 33, 64, 3, 16, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {2, 16, 32, 16, 3, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {2, 32, 32, 16, 48, 3, 3, 2, 2, 0, 1, 0, 1, 0, 0, 1},
    {1, 17, 19, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 0, 1, 1},
    {1, 9, 64, 16, 16, 3, 1, 2, 1, 1, 1, 0, 0, 0, 0, 1},
    {2, 17, 128, 16, 16, 3, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1},
    {2, 9, 40, 48, 48, 3, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {2, 1, 40, 96, 96, 3, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1},
    {1, 4, 64, 3, 3, 3, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1},
    {1, 9, 64, 32, 16, 3, 1, 1, 1, 2, 0, 0, 0, 1, 1, 1},
    {1, 9, 64, 16, 48, 3, 1, 2, 1, 1, 0, 0, 0, 1, 0, 1},
    {1, 9, 20, 16, 96, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1},
    {2, 16, 32, 48, 16, 2, 2, 1, 1, 1, 0, 0, 1, 0, 0, 1},
    {1, 17, 16, 96, 48, 2, 2, 1, 1, 0, 1, 1, 0, 0, 0, 1},
    {1, 9, 64, 16, 32, 2, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1},
    {2, 5, 40, 48, 96, 2, 1, 1, 1, 0, 0, 0, 0, 1, 0, 1},
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
    /* the same of three channels: fewer places than a vector has lanes, whole vectors and what is left, several slabs */
    {1, 4, 5, 3, 3, 3, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1},
    {2, 5, 37, 3, 3, 3, 1, 1, 1, 2, 0, 0, 0, 1, 1, 0},
    {1, 9, 11, 3, 3, 5, 1, 2, 1, 1, 1, 0, 0, 0, 0, 1},
    {2, 7, 600, 3, 3, 2, 1, 1, 1, 0, 0, 0, 0, 1, 0, 1},
    {1, 6, 23, 3, 3, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1},
    /* several slabs and partial sums */
    {2, 40, 40, 3, 16, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {1, 66, 65, 16, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {20, 16, 16, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 0, 1, 1},
    {40, 8, 8, 16, 8, 3, 3, 2, 2, 0, 1, 0, 1, 0, 0, 1},
    /* channels in several blocks, several pictures */
    {5, 2, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {7, 3, 2, 16, 16, 3, 1, 1, 1, 2, 0, 0, 0, 1, 1, 1},
    {3, 2, 18, 3, 48, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1},
    {3, 2, 3, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {3, 2, 3, 128, 96, 3, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1},
    {3, 3, 2, 48, 33, 3, 3, 2, 2, 1, 1, 1, 1, 0, 1, 0},
    /* by warpgroups: edges of pictures, pictures beside each other in a tile, all widths of tiles */
    {3, 2, 3, 64, 88, 3, 3, 1, 1, 1, 1, 1, 1, 0, 0, 1},
    {2, 3, 15, 64, 56, 3, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {1, 4, 5, 176, 64, 3, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1},
    {1, 7, 9, 64, 64, 3, 3, 2, 2, 0, 1, 0, 1, 0, 0, 1},
    {1, 3, 66, 112, 112, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1},
    {1, 1, 40, 192, 232, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1},
    {1, 3, 5, 112, 112, 3, 1, 2, 1, 1, 1, 0, 0, 1, 1, 1},
};

static const int ops[] = {MGK_OP_conv2d, MGK_OP_conv2d_grad_input, MGK_OP_conv2d_grad_weight};
static const char *const op_names[] = {"forward", "grad_input", "grad_weight"};

/* Of sums of so many products, which are rounded as they grow, little may be left. */
static void sums_of(mgk_case *c, int64_t terms)
{
    mgk_case_besides(c, 0x1p-24f * (float)terms, 0);
}

/* which: 0 forward, 1 the gradient of x, 2 that of the weights, which are f32 always */
static void add_buffers(mgk_case *c, int which, mgk_conv2d_args *g, bool bias)
{
    const bool room = g->y_pixel > 0;
    const int64_t x = g->n * g->h * g->w * g->cin;
    int64_t y = g->n * g->ho * g->wo * g->cout;
    if (room)
        y = (g->n * g->ho - 1) * g->y_row + (g->wo - 1) * g->y_pixel + g->cout;
    const int64_t weights = g->cout * g->kh * g->kw * g->cin;
    const int32_t real = c->real;
    const int64_t places = g->kh * g->kw, pixels = g->n * g->ho * g->wo;
    if (which == 1) {
        mgk_case_out_or_both(c, &g->x, x, g->accumulate);
        sums_of(c, places * g->cout);
    } else {
        mgk_case_in(c, &g->x, x, 1);
    }
    if (which == 2) {
        c->real = MGK_F32;
        mgk_case_out_or_both(c, &g->weight, weights, g->accumulate);
        sums_of(c, pixels);
    } else {
        mgk_case_in(c, &g->weight, weights, 1);
    }
    c->real = real;
    if (which == 0) {
        mgk_case_out_or_both(c, &g->y, y, room);
        sums_of(c, places * g->cin);
    } else {
        mgk_case_in(c, &g->y, y, 1);
    }
    c->real = MGK_F32;
    if (bias && which == 2) {
        mgk_case_out_or_both(c, &g->bias, g->cout, g->accumulate);
        sums_of(c, pixels);
    } else if (bias && which == 0) {
        mgk_case_in(c, &g->bias, g->cout, 1);
    }
    c->real = real;
}

static const char *const illegal[] = {"ho",
                                      "wo",
                                      "kernel too large",
                                      "negative padding",
                                      "stride 0",
                                      "no channels",
                                      "pad mode",
                                      "forward accumulates",
                                      "dtype",
                                      "no weight",
                                      "bf16 weight",
                                      "bf16 y (gradient of weights: all bf16)",
                                      "y_pixel",
                                      "y_row",
                                      "y_pixel alone (gradients: with y_row)",
                                      "bf16 bias"};

static void break_rule(mgk_case *c, mgk_conv2d_args *g, int which, int index)
{
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
    case 9:
        c->bufs[1] = c->bufs[2];
        c->buf_count = 2;
        break;
    case 10:
        c->bufs[1].dtype = MGK_BF16;
        break;
    case 11:
        c->bufs[2].dtype = MGK_BF16;
        if (which == 2)
            c->bufs[0].dtype = c->bufs[1].dtype = MGK_BF16;
        break;
    case 12:
        g->y_pixel = 3;
        g->y_row = 24;
        break;
    case 13:
        g->y_pixel = 5;
        g->y_row = 28;
        break;
    case 14:
        g->y_pixel = 4;
        g->y_row = which == 0 ? 0 : 24;
        break;
    default:
        g->bias = (mgk_buf){0};
        mgk_case_add(c, &g->bias, MGK_CASE_IN, MGK_FILL_NORMAL, MGK_BF16, g->cout, 0, 1);
        break;
    }
}

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
    break_rule(c, g, which, index);
    return true;
}

bool mgk_conv2d_cases(mgk_case *c, int index, uint64_t seed)
{
    const int count = (int)(sizeof shapes / sizeof shapes[0]);
    (void)seed;
    if (index >= 6 * count)
        return illegal_case(c, index - 6 * count);
    const shape *s = &shapes[mgk_case_take(&index, count)];
    const int narrow = mgk_case_take(&index, 2), which = index;
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
    if (which == 0 && s->pixel_room + s->row_room > 0) {
        g->y_pixel = s->cout + s->pixel_room;
        g->y_row = g->wo * g->y_pixel + s->row_room;
    }
    c->op = ops[which];
    c->real = narrow ? MGK_BF16 : MGK_F32;
    snprintf(c->label, sizeof c->label,
             "%s %s %dx%dx%dx%d -> %d, %dx%d/%d,%d pad %d %d %d %d%s%s%s", op_names[which],
             narrow ? "bf16" : "f32", s->n, s->h, s->w, s->cin, s->cout, s->kh, s->kw, s->sh, s->sw,
             s->top, s->bottom, s->left, s->right, s->replicate ? " replicate" : "",
             g->accumulate ? " +=" : "", g->y_pixel ? " apart" : "");
    add_buffers(c, which, g, s->bias);
    return true;
}
