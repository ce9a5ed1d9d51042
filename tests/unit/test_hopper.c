/* SPDX-License-Identifier: MIT
 * The arithmetic of the kernels for sm_90a (kernels/common/hopper.h), all values of it: against what the instruction
 * set says of descriptors, fragments and swizzles, and against simple counting. */
#include "kernels/common/hopper.h"
#include "kernels/matmul/matmul_sm90.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A bulk copy puts piece c (16 bytes) of row r at piece c ^ r % 8. */
static void test_swizzle(void **state)
{
    (void)state;
    bool seen[8192] = {false};
    for (uint32_t address = 0; address < 8192; address++) {
        uint32_t row = address / 128, piece = address / 16 % 8;
        uint32_t to = mgk_swizzle128(address);
        assert_int_equal(to, row * 128 + (piece ^ row % 8) * 16 + address % 16);
        assert_false(seen[to]);
        seen[to] = true;
        assert_int_equal(mgk_swizzle128(to), address);
    }
}

static void test_tile_is_dense(void **state)
{
    (void)state;
    static bool seen[256 * 128 * 2];
    for (uint32_t rows = 8; rows <= 256; rows += 8)
        for (uint32_t columns = 64; columns <= 128; columns += 64) {
            memset(seen, 0, sizeof seen);
            for (uint32_t r = 0; r < rows; r++)
                for (uint32_t c = 0; c < columns; c++) {
                    uint32_t at = mgk_tile_byte(rows, r, c);
                    assert_true(at % 2 == 0 && at + 2 <= mgk_tile_bytes(rows, columns));
                    assert_false(seen[at]);
                    seen[at] = true;
                }
        }
}

/* The bits that other users of the instruction write for 128-byte swizzle by rows. */
static void test_descriptor_bits(void **state)
{
    (void)state;
    assert_true(mgk_wgmma_factor(0, 16, 1024) == 0x4000004000010000u);
    assert_true(mgk_wgmma_factor(0x2c400, 8192, 1024) == 0x4000004002002c40u);
    for (uint32_t address = 0; address < 1 << 18; address += 16) {
        uint64_t f = mgk_wgmma_factor(address, 262128 - address, address);
        assert_int_equal(mgk_factor_address(f), address);
        assert_int_equal(mgk_factor_leading(f), 262128 - address);
        assert_int_equal(mgk_factor_stride(f), address);
    }
}

/* Every value that a product reads through a descriptor is the one that a bulk copy put there. */
static void test_factors_meet_tiles(void **state)
{
    (void)state;
    static const uint32_t tiles[] = {1024, 34816, 196608};
    for (int t = 0; t < 3; t++)
        for (uint32_t rows = 64; rows <= 192; rows += 16)
            for (uint32_t step = 0; step < 8; step++) {
                for (uint32_t row = 0; row + 64 <= rows; row += 64)
                    for (uint32_t mn = 0; mn < 64; mn++)
                        for (uint32_t k = 0; k < 16; k++)
                            assert_int_equal(
                                mgk_wgmma_address(mgk_factor_by_rows(tiles[t], rows, row, step),
                                                  true, mn, k),
                                tiles[t] + mgk_tile_byte(rows, row + mn, 16 * step + k));
                for (uint32_t mn = 0; mn < 128 && 16 * step < rows; mn++)
                    for (uint32_t k = 0; k < 16; k++)
                        assert_int_equal(
                            mgk_wgmma_address(mgk_factor_by_columns(tiles[t], rows, step), false,
                                              mn, k),
                            tiles[t] + mgk_tile_byte(rows, 16 * step + k, mn));
            }
}

/* The same of 8-bit codes: a tile of panels of 128 of them is dense, and its factors read what lies there. */
static void test_factors_of_codes(void **state)
{
    (void)state;
    enum { TILE = 5 * 1024, ROWS = 256, COLUMNS = 256 };
    static bool seen[ROWS * COLUMNS];
    memset(seen, 0, sizeof seen);
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t column = 0; column < COLUMNS; column++) {
            const uint32_t at = mgk_code_tile_byte(ROWS, row, column);
            const uint64_t factor = mgk_factor_by_rows(TILE, ROWS, row / 8 * 8, column / 32);
            assert_in_range(at, 0, ROWS * COLUMNS - 1);
            assert_false(seen[at]);
            seen[at] = true;
            assert_int_equal(mgk_wgmma_code_address(factor, row % 8, column % 32), TILE + at);
        }
    for (uint32_t row = 0; row + 128 <= ROWS; row += 64)
        for (uint32_t mn = 0; mn < 128; mn++)
            for (uint32_t k = 0; k < 32; k++)
                assert_int_equal(
                    mgk_wgmma_code_address(mgk_factor_by_rows(TILE, ROWS, row, 3), mn, k),
                    TILE + mgk_code_tile_byte(ROWS, row + mn, 96 + k));
}

/* Each sum belongs to one register; a warp has 16 rows, four threads a row, each two neighbours of eight columns. */
static void test_fragments(void **state)
{
    (void)state;
    for (int n = 8; n <= 256; n += 8) {
        int owner[64][256];
        memset(owner, -1, sizeof owner);
        for (int thread = 0; thread < 128; thread++)
            for (int i = 0; i < n / 2; i++) {
                int row = mgk_sum_row(thread, i), column = mgk_sum_column(thread, i);
                assert_in_range(row, 0, 63);
                assert_in_range(column, 0, n - 1);
                assert_int_equal(owner[row][column], -1);
                owner[row][column] = thread;
            }
        for (int row = 0; row < 64; row++)
            for (int column = 0; column < n; column++)
                assert_int_equal(owner[row][column], row / 16 * 32 + row % 8 * 4 + column % 8 / 2);
    }
    /* Sums as the left factor of the next product: nothing moves between threads. */
    for (int thread = 0; thread < 128; thread++)
        for (int step = 0; step < 16; step++)
            for (int i = 0; i < 8; i++) {
                assert_int_equal(mgk_left_row(thread, i), mgk_sum_row(thread, 8 * step + i));
                assert_int_equal(16 * step + mgk_left_column(thread, i),
                                 mgk_sum_column(thread, 8 * step + i));
            }
}

/* Against a ring in which each slot counts how often it was filled and emptied. */
static void test_stages(void **state)
{
    (void)state;
    for (uint32_t stages = 1; stages <= 5; stages++) {
        mgk_stage s = {0, 0};
        uint32_t filled[5] = {0};
        for (uint32_t n = 0; n < 1000; n++, mgk_stage_next(&s, stages)) {
            assert_int_equal(s.index, n % stages);
            /* Phase `filled` of a barrier has the parity of that number: its end is waited for. */
            assert_int_equal(s.parity, filled[s.index] % 2);
            filled[s.index]++;
        }
    }
}

static void test_layout(void **state)
{
    (void)state;
    mgk_tensor_layout t;
    assert_true(mgk_heads_layout(&t, 2, 100, 3, 128, 1160, 120000, 96));
    assert_true(t.dims[0] == 128 && t.dims[1] == 3 && t.dims[2] == 100 && t.dims[3] == 2);
    assert_true(t.strides[0] == 256 && t.strides[1] == 2320 && t.strides[2] == 240000);
    assert_true(t.box[0] == 64 && t.box[1] == 1 && t.box[2] == 96 && t.box[3] == 1);
    assert_true(mgk_heads_layout(&t, 1, 100, 3, 64, 192, 7, 64)); /* no second item */
    assert_true(t.strides[2] % 16 == 0 && t.strides[2] > 0);
    assert_false(mgk_heads_layout(&t, 2, 100, 3, 64, 192, 7, 64));
    assert_false(mgk_heads_layout(&t, 2, 100, 3, 64, 193, 19300, 64));
    assert_false(mgk_heads_layout(&t, 2, 100, 3, 60, 192, 19200, 64));
    assert_false(mgk_heads_layout(&t, 2, 100, 3, 64, 192, 0, 64));
    assert_false(mgk_heads_layout(&t, 2, 100, 3, 64, 192, 19200, 264));
    assert_false(mgk_heads_layout(&t, 2, 0, 3, 64, 192, 19200, 64));
    assert_false(mgk_heads_layout(&t, 2, (int64_t)1 << 31, 3, 64, 192, 19200, 64));
    assert_false(mgk_heads_layout(&t, 1, 100, 3, 64, (int64_t)1 << 38, 19200, 64));
}

/* Blocks that take every so-manieth task do each tile of each head once, whatever their number. */
static void test_schedule(void **state)
{
    (void)state;
    enum { TILES = 7, HEADS = 3, BATCH = 2, TASKS = TILES * HEADS * BATCH };
    for (int blocks = 1; blocks <= TASKS + 1; blocks++) {
        int done[BATCH][HEADS][TILES] = {0};
        for (int block = 0; block < blocks; block++)
            for (int task = block; task < TASKS; task += blocks) {
                mgk_tile_place p = mgk_tile_place_of(task, TILES, HEADS);
                done[p.batch][p.head][p.tile]++;
            }
        for (int i = 0; i < TASKS; i++)
            assert_int_equal((&done[0][0][0])[i], 1);
    }
}

/* Each tile of a matrix once; those that a GPU works on at a time read few rows and columns. */
static void test_matrix_order(void **state)
{
    (void)state;
    static bool seen[100 * 100];
    for (int64_t m = 1; m <= 100; m += m < 20 ? 1 : 13)
        for (int64_t n = 1; n <= 100; n += n < 20 ? 1 : 17) {
            memset(seen, 0, sizeof seen);
            for (int64_t at = 0; at < m * n; at++) {
                mgk_matrix_place p = mgk_matrix_place_of(at, m, n);
                assert_true(p.i >= 0 && p.i < m && p.j >= 0 && p.j < n);
                assert_false(seen[p.i * n + p.j]);
                seen[p.i * n + p.j] = true;
            }
        }
    for (int64_t first = 0; first + 66 <= 288 * 24; first++) { /* 73,728 x 6,144 in tiles of 256 */
        bool rows[288] = {false}, columns[24] = {false};
        int sides = 0;
        for (int64_t at = first; at < first + 66; at++) {
            mgk_matrix_place p = mgk_matrix_place_of(at, 288, 24);
            sides += !rows[p.i] + !columns[p.j];
            rows[p.i] = columns[p.j] = true;
        }
        assert_true(sides <= 8 + 24 + 8); /* as the next eight rows begin; 17 else */
        assert_true(sides <= 18 || first % (8 * 24) + 66 > 8 * 24);
    }
}

static void test_matrix_layout(void **state)
{
    (void)state;
    mgk_tensor_layout t;
    assert_true(mgk_matrix_layout(&t, 2, 3, 100, 77, 80, 8000, 128));
    assert_true(t.dims[0] == 77 && t.dims[1] == 1 && t.dims[2] == 100 && t.dims[3] == 3);
    assert_true(t.strides[0] % 16 == 0 && t.strides[1] == 160 && t.strides[2] == 16000);
    assert_true(t.box[0] == 64 && t.box[1] == 1 && t.box[2] == 128 && t.box[3] == 1);
    assert_true(mgk_matrix_layout(&t, 2, 1, 100, 77, 80, 7, 128)); /* no second item */
    assert_true(t.strides[2] % 16 == 0 && t.strides[2] > 0);
    assert_true(mgk_matrix_layout(&t, 1, 1, 100, 77, 80, 0, 64)); /* codes */
    assert_true(t.dims[0] == 77 && t.strides[1] == 80 && t.box[0] == 128 && t.box[2] == 64);
    assert_true(t.strides[0] % 16 == 0 && t.strides[2] % 16 == 0 && t.value == 1);
    assert_false(mgk_matrix_layout(&t, 1, 1, 100, 77, 88, 0, 64));
    assert_false(mgk_matrix_layout(&t, 2, 3, 100, 77, 80, 7, 128));
    assert_false(mgk_matrix_layout(&t, 2, 3, 100, 77, 77, 8000, 128));
    assert_false(mgk_matrix_layout(&t, 2, 3, 100, 88, 80, 8000, 128)); /* rows would overlap */
    assert_false(mgk_matrix_layout(&t, 2, 3, 100, 77, 80, 0, 128));
    assert_false(mgk_matrix_layout(&t, 2, 3, 0, 77, 80, 8000, 128));
    assert_false(mgk_matrix_layout(&t, 2, 3, 100, 77, 80, 8000, 264));
    assert_false(mgk_matrix_layout(&t, 2, 3, 100, 77, (int64_t)1 << 38, 8000, 128));
}

/* The left factor of a product whose A is stored by columns: a panel of 64 of them for each warpgroup. */
static void test_left_by_columns(void **state)
{
    (void)state;
    enum { TILE = 1024, DEPTH = MGK_PRODUCT_DEPTH };
    for (uint32_t group = 0; group < 2; group++)
        for (uint32_t step = 0; step < DEPTH / 16; step++)
            for (uint32_t row = 0; row < 64; row++)
                for (uint32_t k = 0; k < 16; k++)
                    assert_int_equal(
                        mgk_wgmma_address(mgk_factor_by_columns(
                                              TILE + group * DEPTH * MGK_PANEL_ROW, DEPTH, step),
                                          false, row, k),
                        TILE + mgk_tile_byte(DEPTH, 16 * step + k, 64 * group + row));
}

/* Every value of C belongs to one tile; tiles are small only where large ones leave multiprocessors without work. */
static void test_product_tiles(void **state)
{
    (void)state;
    for (int64_t m = 1; m < 3000; m += 61)
        for (int64_t n = 1; n < 3000; n += 67)
            for (int64_t batch = 1; batch < 4; batch++) {
                mgk_product_tiles t = mgk_product_choose(m, n, batch, 132);
                int64_t rows = (int64_t)MGK_PRODUCT_ROWS * t.cluster;
                assert_true(t.m * rows >= m && (t.m - 1) * rows < m);
                assert_true(t.n * t.columns >= n && (t.n - 1) * t.columns < n);
                assert_int_equal(t.tasks, t.m * t.n * batch);
            }
    static const int64_t wide[][2] = {
        {73728, 6144}, {73728, 16384}, {8192, 6144}, {6144, 16384}, {8192, 8192}};
    for (int i = 0; i < 5; i++)
        assert_int_equal(mgk_product_choose(wide[i][0], wide[i][1], 1, 132).columns, 256);
    static const int64_t narrow[][2] = {{512, 512}, {2048, 1024}, {100, 6144}, {4096, 128}};
    for (int i = 0; i < 4; i++)
        assert_int_equal(mgk_product_choose(narrow[i][0], narrow[i][1], 1, 132).columns, 128);
}

/* Every line once, in the last steps; of a short k the last lines only. */
static void test_added_lines(void **state)
{
    (void)state;
    for (int lines = 256; lines <= 1024; lines *= 2)
        for (int steps = 1; steps <= 100; steps++) {
            static int fetched[1024];
            memset(fetched, 0, sizeof fetched);
            for (int left = steps; left > 0; left--)
                for (int thread = 0; thread < 32; thread++) {
                    const int line = mgk_added_line(left, lines, thread);
                    assert_true(line < lines);
                    if (line >= 0)
                        fetched[line]++;
                }
            for (int line = 0; line < lines; line++)
                assert_int_equal(fetched[line], line >= lines - steps * 32);
        }
}

static bool small(int64_t m, int64_t n, int64_t k)
{
    const mgk_matmul_args g = {.m = m, .n = n, .k = k, .batch = 1};
    const mgk_product_tiles t = mgk_product_choose(m, n, 1, 132);
    return mgk_product_is_small(&g, &t, 132);
}

static void test_small_products(void **state)
{
    (void)state;
    assert_true(small(63, 6144, 6144) && small(8192, 63, 6144) && small(100, 100, 64));
    assert_true(small(192, 192, 4096)); /* gradient of a weight: k is divided among blocks */
    assert_false(small(128, 128, 512) || small(4096, 192, 192) || small(6144, 6144, 73728));
}

static void test_product_choice(void **state)
{
    (void)state;
    int value = 0;
    mgk_matmul_args g = {.m = 8192, .n = 6144, .k = 6144, .batch = 1};
    g.a.p = g.b.p = g.c.p = &value;
    g.a.dtype = g.b.dtype = g.c.dtype = MGK_BF16;
    assert_false(mgk_product_by_warpgroups(&g)); /* cuBLASLt's */
    g.residual = g.c;
    assert_true(mgk_product_by_warpgroups(&g));
    g.a.dtype = g.b.dtype = MGK_F32;
    assert_false(mgk_product_by_warpgroups(&g));
    g.a.dtype = g.b.dtype = MGK_BF16;
    g.m = 64;
    assert_false(mgk_product_by_warpgroups(&g));
}

static void test_query_rows(void **state)
{
    (void)state;
    static const int64_t wide[] = {129, 192, 300, 384, 8192, 32768, 73728};
    for (int i = 0; i < 7; i++)
        assert_int_equal(mgk_query_rows(wide[i]), 192);
    assert_int_equal(mgk_query_rows(1), 128);
    assert_int_equal(mgk_query_rows(128), 128);
    assert_int_equal(mgk_query_rows(256), 128);
    for (int64_t sq = 1; sq < 5000; sq++) { /* never much more work than with the other */
        int64_t rows = mgk_query_rows(sq), other = 320 - rows;
        int64_t work = mgk_tiles_of(sq, rows) * rows, least = mgk_tiles_of(sq, other) * other;
        assert_true(work >= sq && work < sq + rows && work <= least + (rows == 192 ? sq / 64 : 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swizzle),          cmocka_unit_test(test_tile_is_dense),
        cmocka_unit_test(test_descriptor_bits),  cmocka_unit_test(test_factors_meet_tiles),
        cmocka_unit_test(test_factors_of_codes), cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_stages),           cmocka_unit_test(test_layout),
        cmocka_unit_test(test_schedule),         cmocka_unit_test(test_query_rows),
        cmocka_unit_test(test_matrix_order),     cmocka_unit_test(test_matrix_layout),
        cmocka_unit_test(test_left_by_columns),  cmocka_unit_test(test_product_tiles),
        cmocka_unit_test(test_product_choice),   cmocka_unit_test(test_small_products),
        cmocka_unit_test(test_added_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
