/* SPDX-License-Identifier: MIT
 * conv2d and its gradients: the shape rules and the definitions. */
#include "kernels/common/bf16.h"
#include "kernels/conv2d/conv2d.h"

static bool product_fits(const int64_t *v, int count)
{
    int64_t p = 1;
    for (int i = 0; i < count; i++)
        if (__builtin_mul_overflow(p, v[i], &p) || p >= INT64_C(1) << 56)
            return false;
    return true;
}

/* weights: their gradient is f32 whatever x and y are. */
static bool check(const mgk_conv2d_args *g, bool weights, const char **why)
{
    const int64_t most = INT64_C(1) << 40;
    MGK_RULE(g->n >= 0 && g->h > 0 && g->w > 0 && g->cin > 0 && g->cout > 0,
             "a size is not positive");
    MGK_RULE(g->kh > 0 && g->kw > 0 && g->stride_h > 0 && g->stride_w > 0,
             "kernel and stride must be positive");
    MGK_RULE(g->pad_top >= 0 && g->pad_bottom >= 0 && g->pad_left >= 0 && g->pad_right >= 0,
             "a padding is negative");
    MGK_RULE(g->h < most && g->w < most && g->kh < most && g->kw < most && g->pad_top < most &&
                 g->pad_bottom < most && g->pad_left < most && g->pad_right < most,
             "a size overflows");
    const int64_t h = g->h + g->pad_top + g->pad_bottom, w = g->w + g->pad_left + g->pad_right;
    MGK_RULE(h >= g->kh && w >= g->kw, "the kernel is larger than the padded picture");
    MGK_RULE(g->ho == (h - g->kh) / g->stride_h + 1 && g->wo == (w - g->kw) / g->stride_w + 1,
             "ho or wo does not fit sizes, kernel, stride and padding");
    MGK_RULE(product_fits((int64_t[]){h, w, g->cin, g->n ? g->n : 1}, 4) &&
                 product_fits((int64_t[]){g->ho, g->wo, g->cout, g->n ? g->n : 1}, 4) &&
                 product_fits((int64_t[]){g->kh, g->kw, g->cin, g->cout}, 4) &&
                 product_fits((int64_t[]){g->stride_h, g->stride_w, g->cin}, 3),
             "a size overflows");
    MGK_RULE(g->pad_mode == MGK_PAD_ZERO || g->pad_mode == MGK_PAD_REPLICATE, "unknown padding");
    MGK_RULE((g->accumulate | 1) == 1, "accumulate must be 0 or 1");
    MGK_RULE(g->n == 0 || (mgk_is_real(g->x) && mgk_is_real(g->y) && g->x.dtype == g->y.dtype),
             "x and y must be both f32 or both bf16");
    MGK_RULE(weights ? mgk_is_f32(g->weight)
                     : mgk_is_real(g->weight) && (g->n == 0 || g->weight.dtype == g->x.dtype),
             "weight must be as x is, its gradient f32");
    MGK_RULE(mgk_is_f32_or_null(g->bias), "bias must be f32");
    return true;
}

bool mgk_conv2d_check(const void *args, const char **why)
{
    const mgk_conv2d_args *g = args;
    MGK_RULE(!g->accumulate, "accumulate is for the gradients");
    if (!check(g, false, why))
        return false;
    int64_t row;
    MGK_RULE((g->y_pixel == 0) == (g->y_row == 0), "y_pixel and y_row: both or neither");
    MGK_RULE(g->y_pixel == 0 || g->y_pixel >= g->cout, "pixels of y overlap");
    MGK_RULE(!__builtin_mul_overflow(g->wo - 1, g->y_pixel, &row) && row < INT64_C(1) << 56,
             "a size overflows");
    MGK_RULE(g->y_row == 0 || g->y_row >= row + g->cout, "rows of y overlap");
    MGK_RULE(product_fits((int64_t[]){g->ho, g->y_row, g->n ? g->n : 1}, 3), "a size overflows");
    return true;
}

static bool gradient_check(const mgk_conv2d_args *g, bool weights, const char **why)
{
    MGK_RULE(g->y_pixel == 0 && g->y_row == 0, "y_pixel and y_row are not for the gradients");
    return check(g, weights, why);
}
bool mgk_conv2d_grad_input_check(const void *args, const char **why)
{
    return gradient_check(args, false, why);
}
bool mgk_conv2d_grad_weight_check(const void *args, const char **why)
{
    return gradient_check(args, true, why);
}

static int64_t clamp(int64_t i, int64_t size)
{
    return i < 0 ? 0 : i >= size ? size - 1 : i;
}

static double value_at(mgk_buf b, int64_t at)
{
    return (double)(b.dtype == MGK_BF16 ? mgk_from_bf16(MGK_H(b)[at]) : MGK_F(b)[at]);
}

static void put(mgk_buf b, int64_t at, double v)
{
    if (b.dtype == MGK_BF16)
        MGK_H(b)[at] = mgk_to_bf16((float)v);
    else
        MGK_F(b)[at] = (float)v;
}

/* x at (b, i, j, c), where i and j may lie outside. */
static double pixel(const mgk_conv2d_args *g, int64_t b, int64_t i, int64_t j, int64_t c)
{
    if (g->pad_mode == MGK_PAD_ZERO && (i < 0 || j < 0 || i >= g->h || j >= g->w))
        return 0;
    return value_at(g->x, ((b * g->h + clamp(i, g->h)) * g->w + clamp(j, g->w)) * g->cin + c);
}

void mgk_conv2d_ref(const void *args, mgk_exec *x)
{
    const mgk_conv2d_args *g = args;
    const int64_t row = mgk_conv2d_y_row(g), pixel_step = mgk_conv2d_y_pixel(g);
    (void)x;
    for (int64_t b = 0; b < g->n; b++)
        for (int64_t i = 0; i < g->ho; i++)
            for (int64_t j = 0; j < g->wo; j++)
                for (int64_t o = 0; o < g->cout; o++) {
                    double sum = g->bias.p ? (double)MGK_F(g->bias)[o] : 0;
                    int64_t w = o * g->kh * g->kw * g->cin;
                    for (int64_t p = 0; p < g->kh; p++)
                        for (int64_t q = 0; q < g->kw; q++)
                            for (int64_t c = 0; c < g->cin; c++)
                                sum += pixel(g, b, i * g->stride_h + p - g->pad_top,
                                             j * g->stride_w + q - g->pad_left, c) *
                                       value_at(g->weight, w++);
                    put(g->y, (b * g->ho + i) * row + j * pixel_step + o, sum);
                }
}

/* Gradient at (i, j) of the padded picture, where (0, 0) is its first virtual pixel. */
static double padded_gradient(const mgk_conv2d_args *g, int64_t b, int64_t i, int64_t j, int64_t c)
{
    double sum = 0;
    for (int64_t p = 0; p < g->kh; p++)
        for (int64_t q = 0; q < g->kw; q++) {
            const int64_t oi = (i - p) / g->stride_h, oj = (j - q) / g->stride_w;
            if (i < p || j < q || (i - p) % g->stride_h || (j - q) % g->stride_w || oi >= g->ho ||
                oj >= g->wo)
                continue;
            for (int64_t o = 0; o < g->cout; o++)
                sum += value_at(g->y, ((b * g->ho + oi) * g->wo + oj) * g->cout + o) *
                       value_at(g->weight, ((o * g->kh + p) * g->kw + q) * g->cin + c);
        }
    return sum;
}

/* A pixel of dx gets the gradient of every pixel of the padded picture that was read from it. */
void mgk_conv2d_grad_input_ref(const void *args, mgk_exec *x)
{
    const mgk_conv2d_args *g = args;
    const bool edge = g->pad_mode == MGK_PAD_REPLICATE;
    (void)x;
    for (int64_t b = 0; b < g->n; b++)
        for (int64_t i = 0; i < g->h; i++)
            for (int64_t j = 0; j < g->w; j++)
                for (int64_t c = 0; c < g->cin; c++) {
                    const int64_t i0 = edge && i == 0 ? 0 : i + g->pad_top;
                    const int64_t j0 = edge && j == 0 ? 0 : j + g->pad_left;
                    const int64_t i1 = i + g->pad_top + (edge && i == g->h - 1 ? g->pad_bottom : 0);
                    const int64_t j1 = j + g->pad_left + (edge && j == g->w - 1 ? g->pad_right : 0);
                    const int64_t at = ((b * g->h + i) * g->w + j) * g->cin + c;
                    double sum = g->accumulate ? value_at(g->x, at) : 0;
                    for (int64_t u = i0; u <= i1; u++)
                        for (int64_t v = j0; v <= j1; v++)
                            sum += padded_gradient(g, b, u, v, c);
                    put(g->x, at, sum);
                }
}

void mgk_conv2d_grad_weight_ref(const void *args, mgk_exec *x)
{
    const mgk_conv2d_args *g = args;
    const int64_t rows = g->n * g->ho;
    float *dw = MGK_F(g->weight), *db = MGK_F(g->bias);
    (void)x;
    for (int64_t o = 0; o < g->cout; o++) {
        for (int64_t p = 0; p < g->kh; p++)
            for (int64_t q = 0; q < g->kw; q++)
                for (int64_t c = 0; c < g->cin; c++, dw++) {
                    double sum = g->accumulate ? (double)*dw : 0;
                    for (int64_t r = 0; r < rows; r++)
                        for (int64_t j = 0; j < g->wo; j++)
                            sum += pixel(g, r / g->ho, r % g->ho * g->stride_h + p - g->pad_top,
                                         j * g->stride_w + q - g->pad_left, c) *
                                   value_at(g->y, (r * g->wo + j) * g->cout + o);
                    *dw = (float)sum;
                }
        if (!db)
            continue;
        double sum = g->accumulate ? (double)db[o] : 0;
        for (int64_t r = 0; r < rows * g->wo; r++)
            sum += value_at(g->y, r * g->cout + o);
        db[o] = (float)sum;
    }
}
