/* SPDX-License-Identifier: MIT
 * conv2d: block sizes and workspace, pure functions of the arguments. */
#include "kernels/conv2d/conv2d_plan.h"

enum {
    SLAB = 96 << 10, /* floats that a slab reads and writes: three eighths of 1 MiB */
    SLAB_MIN = 64,   /* pixels of a slab */
    SLAB_MAX = 2048,
    NARROW = 64,           /* pictures up to this width are not cut into columns */
    WIDE_ROWS = 8,         /* rows of a slab of wider pictures, so that kernel rows share loads */
    KC = 1152,             /* values of k a block, f32: 147 KB of weights a panel */
    KC_BF16 = 2304,        /* the same for bf16 */
    SPREAD_CIN = 8,        /* fewer input channels are not worth two passes */
    SLIDING = 32,          /* pixels of a row that is worth a segment of its own */
    SLIDING_CIN = 16,      /* channels that take longer to arrange than that costs */
    UNITS = 16,            /* units of work to aim for */
    GROUP_PIXELS = 1024,   /* pixels that a partial sum of grad_weight is worth */
    PARTIALS_MAX = 8 << 20 /* floats of all partial sums */
};

/* Join what the kernel never looks across into longer rows, then rows into fewer pictures. */
static mgk_conv2d_args joined(const mgk_conv2d_args *args)
{
    mgk_conv2d_args g = *args;
    g.y_pixel = mgk_conv2d_y_pixel(args);
    g.y_row = mgk_conv2d_y_row(args);
    const bool rows_apart = g.kh == 1 && g.stride_h == 1 && g.pad_top == 0 && g.pad_bottom == 0;
    const bool cols_apart = g.kw == 1 && g.stride_w == 1 && g.pad_left == 0 && g.pad_right == 0;
    if (g.n == 0)
        return g;
    if (rows_apart) {
        g.h = g.ho = g.n * g.h;
        g.n = 1;
    }
    if (rows_apart && cols_apart && g.y_row == g.wo * g.y_pixel) {
        g.w = g.wo = g.h * g.w;
        g.h = g.ho = 1;
        g.y_row = g.wo * g.y_pixel;
    }
    return g;
}

/* a * b * c and slack, in whole cache lines; what no memory holds is cut off. */
static int64_t floats(int64_t a, int64_t b, int64_t c, int64_t slack)
{
    const double all = (double)a * (double)b * (double)c;
    return all < 0x1p56 ? mgk_round_up(a * b * c + slack, 16) : (int64_t)1 << 56;
}

static int64_t even(int64_t size, int64_t most)
{
    return size <= most ? size : mgk_ceil_div(size, mgk_ceil_div(size, most));
}

/* Cut n pictures of h x w output pixels, each worth `each` floats of cache. */
static void cut(mgk_conv2d_plan *p, int64_t h, int64_t w, int64_t each, bool join_pictures)
{
    const double all = (double)p->g.n * (double)h * (double)w;
    int64_t pixels = mgk_min64(mgk_max64(SLAB / each, SLAB_MIN), SLAB_MAX);
    if (all / UNITS < (double)pixels)
        pixels = mgk_max64((int64_t)(all / UNITS), SLAB_MIN);
    const int64_t rows_first = mgk_min64(h, WIDE_ROWS);
    p->cols = w <= NARROW ? w : even(w, mgk_max64(pixels / rows_first, NARROW));
    p->rows = even(h, mgk_max64(pixels / p->cols, 1));
    p->pictures = 1;
    if (join_pictures && p->rows == h && p->cols == w)
        p->pictures = even(mgk_max64(p->g.n, 1), mgk_max64(pixels / (h * w), 1));
    p->picture_slabs = mgk_ceil_div(p->g.n, p->pictures);
    p->row_slabs = mgk_ceil_div(h, p->rows);
    p->col_slabs = mgk_ceil_div(w, p->cols);
    p->slabs = p->picture_slabs * p->row_slabs * p->col_slabs;
}

static bool narrow(const mgk_conv2d_args *g)
{
    return g->n > 0 && g->x.dtype == MGK_BF16;
}

/* Blocks of k: whole segments, or parts of a long one. pixels: of a slab. */
static void cut_k(mgk_conv2d_plan *p, int64_t segs, int64_t len, int64_t pixels)
{
    const int64_t kc = narrow(&p->g) ? KC_BF16 : KC;
    p->block_segs = mgk_max64(even(segs, mgk_max64(kc / len, 1)), 1);
    p->sub_len = len <= kc ? len : mgk_round_up(even(len, kc), 4);
    if (narrow(&p->g) && (p->block_segs < segs || p->sub_len < len))
        p->sums_floats = pixels * MGK_PANEL_NR_MAX;
}

/* Results with few channels: pixels are columns of panels. */
static void spread(mgk_conv2d_plan *p, int64_t few, int64_t depth)
{
    const mgk_conv2d_args *g = &p->g;
    if (few > 4 || g->kw < 2 || g->kw > MGK_CONV2D_SPREAD_TAPS ||
        g->kh * g->kw > MGK_CONV2D_SPREAD_TAPS || g->stride_h != 1 || g->stride_w != 1 ||
        depth < SPREAD_CIN)
        return;
    p->spread = mgk_round_up(mgk_round_up(p->src_cols - g->kw + 1, MGK_PANEL_NR_MAX) + g->kw, 16);
    p->spread_floats = floats(g->kh * depth + 4, p->spread, 1, 0);
    p->out_floats += p->spread_floats;
    p->sums_floats = floats(p->src_cols, few, 1, 4);
}

mgk_conv2d_plan mgk_conv2d_make_plan(const mgk_conv2d_args *args)
{
    mgk_conv2d_plan p = {.g = joined(args)};
    const mgk_conv2d_args *g = &p.g;
    cut(&p, g->ho, g->wo, g->cin * g->stride_h * g->stride_w + g->cout, false);
    cut_k(&p, g->kh, g->kw * g->cin, p.rows * p.cols);
    p.src_rows = (p.rows - 1) * g->stride_h + g->kh;
    p.src_cols = (p.cols - 1) * g->stride_w + g->kw;
    p.copy_floats = floats(p.src_rows, p.src_cols, g->cin, MGK_PANEL_SLACK);
    p.tables = p.src_rows;
    p.n_pad = mgk_round_up(g->cout, MGK_PANEL_NR_MAX);
    p.k = g->kh * g->kw * g->cin;
    if (g->y_pixel != g->cout)
        return p;
    spread(&p, g->cout, g->cin);
    p.three = g->cin == 3 && g->cout == 3 && g->kw == 1 && g->stride_w == 1 && g->pad_left == 0 &&
              g->pad_right == 0;
    return p;
}

mgk_conv2d_plan mgk_conv2d_grad_input_make_plan(const mgk_conv2d_args *args)
{
    mgk_conv2d_plan p = {.g = joined(args)};
    const mgk_conv2d_args *g = &p.g;
    const bool edge = g->pad_mode == MGK_PAD_REPLICATE;
    cut(&p, g->h, g->w, g->cin + mgk_ceil_div(g->cout, g->stride_h * g->stride_w), false);
    const int64_t taps_h = mgk_ceil_div(g->kh, g->stride_h);
    const int64_t taps_w = mgk_ceil_div(g->kw, g->stride_w);
    const int64_t rows = p.rows + (edge ? g->pad_top + g->pad_bottom : 0);
    const int64_t cols = p.cols + (edge ? g->pad_left + g->pad_right : 0);
    cut_k(&p, taps_h, taps_w * g->cout, rows * cols);
    p.src_rows = (rows - 1) / g->stride_h + 1 + taps_h;
    p.src_cols = (cols - 1) / g->stride_w + 1 + taps_w;
    p.copy_floats = floats(p.src_rows, p.src_cols, g->cout, MGK_PANEL_SLACK);
    if (edge || (g->cin <= 4 && g->accumulate))
        p.out_floats = floats(rows, cols, g->cin, 4);
    spread(&p, g->cin, g->cout);
    p.tables = p.src_rows;
    p.n_pad = mgk_round_up(g->cin, MGK_PANEL_NR_MAX);
    p.k = g->kh * g->kw * g->cout;
    return p;
}

mgk_conv2d_plan mgk_conv2d_grad_weight_make_plan(const mgk_conv2d_args *args)
{
    mgk_conv2d_plan p = {.g = joined(args)};
    const mgk_conv2d_args *g = &p.g;
    cut(&p, g->ho, g->wo, g->cin * g->stride_h * g->stride_w + g->cout, true);
    p.src_rows = p.pictures * ((p.rows - 1) * g->stride_h + g->kh);
    p.src_cols = (p.cols - 1) * g->stride_w + g->kw;
    p.copy_floats = floats(p.src_rows, p.src_cols, g->cin, MGK_PANEL_SLACK);
    p.tables = p.src_rows + p.pictures * p.rows * (g->kh + 1);
    if (narrow(g)) {
        const int64_t pairs = (p.cols + 1) / 2;
        p.copy_floats += floats(p.pictures * p.rows, p.cols, g->cout, 0);
        p.out_floats = floats(p.src_rows, pairs, g->kw * g->cin, MGK_PANEL_SLACK);
        p.out_floats += floats(p.pictures * p.rows, pairs, g->cout, 0);
    }
    p.sliding = g->kw >= 3 && g->stride_w == 1 && g->cin <= SLIDING_CIN && p.cols >= SLIDING;
    p.by_input = g->cout % 16 == 0 && g->kw * g->cin % 16 != 0;
    p.partial_floats = mgk_round_up(g->cout * (g->kh * g->kw * g->cin + 1), 16);
    int64_t groups =
        mgk_min64((int64_t)((double)g->n * (double)g->ho * (double)g->wo / GROUP_PIXELS), UNITS);
    groups = mgk_min64(groups, PARTIALS_MAX / p.partial_floats);
    p.groups = mgk_max64(mgk_min64(groups, p.slabs), 1);
    p.taps_a_unit = p.groups < UNITS && !narrow(g) ? 1 : g->kh;
    return p;
}

static size_t bytes(const mgk_conv2d_plan *p, int64_t shared, int threads)
{
    const int64_t one = mgk_conv2d_thread_floats(p);
    if (((double)one * threads + (double)shared) * 4 > 0x1p62)
        return SIZE_MAX;
    return (size_t)(one * threads + shared) * sizeof(float);
}
size_t mgk_conv2d_workspace(const void *args, int threads)
{
    const mgk_conv2d_plan p = mgk_conv2d_make_plan(args);
    return bytes(&p, p.k * p.n_pad, threads);
}
size_t mgk_conv2d_grad_input_workspace(const void *args, int threads)
{
    const mgk_conv2d_plan p = mgk_conv2d_grad_input_make_plan(args);
    return bytes(&p, p.k * p.n_pad, threads);
}
size_t mgk_conv2d_grad_weight_workspace(const void *args, int threads)
{
    const mgk_conv2d_plan p = mgk_conv2d_grad_weight_make_plan(args);
    return bytes(&p, p.groups * p.partial_floats, threads);
}
