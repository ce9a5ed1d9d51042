/* SPDX-License-Identifier: MIT
 * Tiles of convolutions by warpgroups (kernels/conv2d/conv2d_sm90.h): each pixel of the result in one row of one tile, and
 * what a tile reads against what the convolution's definition says. */
#include "kernels/conv2d/conv2d_sm90.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mgk_conv2d_args picture(int64_t n, int64_t h, int64_t w, int64_t cin, int64_t cout,
                               int64_t k, int64_t stride)
{
    mgk_conv2d_args g = {.n = n, .h = h, .w = w, .cin = cin, .cout = cout, .kh = k, .kw = k};
    static char memory[16];
    g.x = g.y = g.weight = (mgk_buf){memory, MGK_BF16};
    g.stride_h = g.stride_w = stride;
    g.pad_top = g.pad_bottom = g.pad_left = g.pad_right = k / 2;
    g.ho = (h + k / 2 * 2 - k) / stride + 1;
    g.wo = (w + k / 2 * 2 - k) / stride + 1;
    return g;
}

/* Frames as rows, all places of a frame in one. */
static mgk_conv2d_args in_time(int64_t n, int64_t frames, int64_t places, int64_t channels,
                               int64_t before, int64_t after)
{
    mgk_conv2d_args g = picture(n, frames, places, channels, channels, 3, 1);
    g.kw = 1;
    g.pad_left = g.pad_right = 0;
    g.pad_top = before;
    g.pad_bottom = after;
    g.ho = frames + before + after - 2;
    g.wo = places;
    g.pad_mode = MGK_PAD_REPLICATE;
    return g;
}

static void each_pixel_once(const mgk_conv_form *f, int log_rows)
{
    const mgk_conv_patches p = mgk_conv_patches_of(f, log_rows);
    static int seen[20000];
    const int64_t pixels = f->images * f->out_h * f->out_w;
    assert_true(p.count > 0 && p.log_w + p.log_h + p.log_n == log_rows && pixels <= 20000);
    assert_true(f->step_w << p.log_w <= MGK_BOX_ROWS_MAX &&
                f->step_h << p.log_h <= MGK_BOX_ROWS_MAX);
    memset(seen, 0, sizeof seen);
    mgk_conv_pixel next = {0, 0, 0};
    for (int32_t at = 0; at < p.count + 3; at++, mgk_conv_next_patch(&p, &next)) {
        const mgk_conv_pixel first = mgk_conv_patch(&p, at);
        assert_memory_equal(&first, &next, sizeof first);
        for (int row = 0; row < 1 << log_rows; row++) {
            const mgk_conv_pixel to = mgk_conv_pixel_of(&p, first, row);
            assert_true(!f->edges || to.i == first.i);
            if (to.image >= f->images || to.i >= f->out_h || to.j >= f->out_w)
                continue;
            assert_true(at < p.count);
            seen[(to.image * f->out_h + to.i) * f->out_w + to.j]++;
        }
    }
    for (int64_t i = 0; i < pixels; i++)
        assert_int_equal(seen[i], 1);
}

static void test_patches(void **state)
{
    (void)state;
    mgk_conv_form f = {0};
    for (int64_t n = 1; n < 6; n += 2)
        for (int64_t h = 1; h < 40; h += 7)
            for (int64_t w = 1; w < 70; w += 11)
                for (int64_t stride = 1; stride < 3; stride++) {
                    mgk_conv2d_args g = picture(n, h, w, 64, 64, 3, stride);
                    assert_true(mgk_conv_form_of(&f, &g, false));
                    each_pixel_once(&f, 6);
                    each_pixel_once(&f, 7);
                    each_pixel_once(&f, 8);
                    g = in_time(n, h, w, 64, 1, 1);
                    assert_true(mgk_conv_form_of(&f, &g, true));
                    each_pixel_once(&f, 8);
                }
}

/* The row of a tile in shared memory is that of its box: columns, then rows, then pictures. */
static void test_rows_are_boxes(void **state)
{
    (void)state;
    mgk_conv_form f = {0};
    const mgk_conv2d_args g = picture(9, 5, 6, 64, 64, 3, 1);
    assert_true(mgk_conv_form_of(&f, &g, false));
    const mgk_conv_patches p = mgk_conv_patches_of(&f, 7);
    const mgk_conv_pixel first = {0, 0, 0};
    int row = 0;
    for (int b = 0; b < 1 << p.log_n; b++)
        for (int i = 0; i < 1 << p.log_h; i++)
            for (int j = 0; j < 1 << p.log_w; j++, row++) {
                const mgk_conv_pixel to = mgk_conv_pixel_of(&p, first, row);
                assert_true(to.image == b && to.i == i && to.j == j);
            }
    assert_int_equal(row, 128);
}

static void test_pictures_layout(void **state)
{
    (void)state;
    mgk_tensor_layout t;
    const int box[] = {16, 8, 2}, step[] = {2, 1}, wide[] = {256, 1, 1};
    assert_true(mgk_pictures_layout(&t, 3, 50, 40, 72, box, step));
    assert_true(t.dims[0] == 72 && t.dims[1] == 40 && t.dims[2] == 50 && t.dims[3] == 3);
    assert_true(t.strides[0] == 144 && t.strides[1] == 5760 && t.strides[2] == 288000);
    assert_true(t.box[0] == 64 && t.box[1] == 16 && t.box[2] == 8 && t.box[3] == 2);
    assert_true(t.step[0] == 1 && t.step[1] == 2 && t.step[2] == 1 && t.step[3] == 1);
    assert_false(mgk_pictures_layout(&t, 3, 50, 40, 72, wide, step)); /* 512 columns of x */
    assert_false(mgk_pictures_layout(&t, 3, 50, 40, 76, box, step));
    assert_false(mgk_pictures_layout(&t, 0, 50, 40, 72, box, step));
    assert_false(mgk_pictures_layout(&t, 3, (int64_t)1 << 29, 40, 72, box, step));
}

/* Whether row `from` of what is read counts for row `i` of the result at place p, by the definitions of conv2d.h. */
static bool by_definition(const mgk_conv2d_args *g, bool gradient, int64_t i, int64_t from,
                          int64_t p)
{
    const bool edge = g->pad_mode == MGK_PAD_REPLICATE;
    const int64_t y = gradient ? from : i, x = gradient ? i : from;
    int64_t row = y * g->stride_h + p - g->pad_top;
    if (edge)
        row = row < 0 ? 0 : row >= g->h ? g->h - 1 : row;
    return row == x;
}

static void check_rows(const mgk_conv2d_args *g, bool gradient)
{
    mgk_conv_form f = {0};
    assert_true(mgk_conv_form_of(&f, g, gradient));
    for (int32_t i = 0; i < f.out_h; i++) {
        const mgk_conv_rows rows = mgk_conv_rows_of(&f, i);
        int found[64][8] = {{0}};
        for (int row = 0; row < rows.count; row++)
            for (int p = 0; p < f.kh; p++) {
                const int32_t from = mgk_conv_row(&f, rows.first + row + p);
                if (from >= 0 && from < f.in_h) /* else zeros */
                    found[from][gradient ? f.kh - 1 - p : p]++;
            }
        for (int from = 0; from < f.in_h; from++)
            for (int p = 0; p < f.kh; p++)
                assert_int_equal(found[from][p], by_definition(g, gradient, i, from, p));
    }
}

static void test_rows(void **state)
{
    (void)state;
    for (int64_t frames = 1; frames < 7; frames++)
        for (int64_t before = 0; before < 4; before++)
            for (int64_t after = 0; after < 3; after++) {
                mgk_conv2d_args g = in_time(1, frames, 8, 64, before, after);
                if (g.ho < 1)
                    continue;
                check_rows(&g, false);
                check_rows(&g, true);
                g.pad_mode = MGK_PAD_ZERO;
                check_rows(&g, false);
                check_rows(&g, true);
                g.pad_mode = MGK_PAD_REPLICATE;
                g.stride_h = 2;
                g.ho = (frames + before + after - 3) / 2 + 1;
                check_rows(&g, false);
            }
}

static bool taken(const mgk_conv2d_args *g, bool gradient, int columns)
{
    mgk_conv_form f = {0};
    if (!mgk_conv_form_of(&f, g, gradient))
        return false;
    const mgk_conv_tiles t = mgk_conv_tiles_of(&f);
    assert_true(t.m * t.cluster >= t.patches.count && (t.m - 1) * t.cluster < t.patches.count);
    assert_true(t.n * t.columns >= f.out_channels && (t.n - 1) * t.columns < f.out_channels);
    return mgk_conv_by_warpgroups(&f, &t) && (!columns || t.columns == columns);
}

static void test_choice(void **state)
{
    (void)state;
    static const int64_t widths[][3] = {/* in, out, columns of a tile */
                                        {128, 128, 128}, {128, 256, 256}, {256, 256, 256},
                                        {512, 512, 256}, {512, 384, 128}, {64, 64, 64},
                                        {120, 248, 256}, {56, 64, 64},    {512, 320, 128}};
    for (int i = 0; i < 9; i++) {
        const mgk_conv2d_args g = picture(2, 32, 32, widths[i][0], widths[i][1], 3, 1);
        assert_true(taken(&g, false, (int)widths[i][2]));
    }
    static const int64_t others[][2] = {{3, 128}, {128, 3}, {16, 16},
                                        {48, 48}, {96, 96}, {130, 128}};
    for (int i = 0; i < 6; i++) {
        const mgk_conv2d_args g = picture(2, 32, 32, others[i][0], others[i][1], 3, 1);
        assert_false(taken(&g, false, 0));
    }
    mgk_conv2d_args g = picture(2, 32, 32, 128, 256, 3, 1);
    assert_true(taken(&g, true, 128));
    g.pad_mode = MGK_PAD_REPLICATE; /* columns, too, stand for padding */
    assert_false(taken(&g, false, 0));
    g = picture(2, 32, 32, 128, 256, 3, 2);
    assert_true(taken(&g, false, 256));
    assert_false(taken(&g, true, 0));
    g.x.dtype = MGK_F32;
    assert_false(taken(&g, false, 0));
    g = in_time(1, 32, 768 * 768, 128, 1, 1);
    assert_true(taken(&g, false, 128) && taken(&g, true, 128));
}

/* All channels and patches are in some tile and part; parts are many where tiles are few. */
static void test_weights(void **state)
{
    (void)state;
    static const int64_t cases[][5] = {
        /* in, out, side, columns of a tile, taken */
        {128, 128, 768, 128, 1}, {256, 256, 384, 256, 1}, {512, 512, 192, 256, 1},
        {256, 384, 64, 128, 1},  {120, 128, 5, 128, 1},   {200, 248, 8, 256, 1},
        {64, 128, 64, 128, 0},   {96, 96, 64, 128, 0},    {128, 16, 768, 128, 0}};
    for (int i = 0; i < 9; i++) {
        const int64_t *k = cases[i];
        const mgk_conv2d_args g = picture(8, k[2], k[2], k[0], k[1], 3, 1);
        mgk_conv_form f = {0};
        assert_true(mgk_conv_form_of(&f, &g, false));
        const mgk_conv_weight_tiles t = mgk_conv_weight_tiles_of(&f);
        assert_int_equal(mgk_conv_weights_by_warpgroups(&f, &t), k[4]);
        assert_int_equal(t.columns, k[3]);
        assert_true(t.m * t.cluster * 128 >= k[1] && t.n * t.columns >= k[0]);
        assert_int_equal(t.count, t.m * t.n * 9);
        assert_true(t.parts * t.patches_a_part >= t.patches.count &&
                    (t.parts - 1) * t.patches_a_part < t.patches.count);
        assert_true(k[2] < 64 || t.parts * t.count * t.cluster > 3 * 132);
    }
}

/* No pixel of a tile is wasted at the sizes of a TAE for 768 x 768. */
static void test_full_tiles(void **state)
{
    (void)state;
    static const int64_t levels[][2] = {{768, 128}, {384, 256}, {192, 512}, {96, 512}};
    for (int i = 0; i < 4; i++) {
        const int64_t side = levels[i][0], channels = levels[i][1];
        const mgk_conv2d_args g[] = {picture(32, side, side, channels, channels, 3, 1),
                                     in_time(1, 32, side * side, channels, 1, 1)};
        for (int k = 0; k < 2; k++) {
            mgk_conv_form f = {0};
            assert_true(mgk_conv_form_of(&f, &g[k], false));
            const mgk_conv_tiles t = mgk_conv_tiles_of(&f);
            const int rows = 1 << (t.patches.log_w + t.patches.log_h + t.patches.log_n);
            assert_int_equal(t.patches.count * rows, 32 * side * side);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patches),         cmocka_unit_test(test_rows_are_boxes),
        cmocka_unit_test(test_pictures_layout), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_choice),          cmocka_unit_test(test_full_tiles),
        cmocka_unit_test(test_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
