/* SPDX-License-Identifier: MIT
 * The arithmetic behind kernels for sm_90a, as functions that the GPU, its emulation and the unit tests share: where
 * values lie in shared memory, in descriptors and in registers, and which stage of a pipeline comes when. Nothing here
 * needs CUDA.
 *
 * A tile of `rows` rows of bf16 lies in shared memory as panels of 64 columns, one of 8-bit codes as panels of 128: rows
 * of 128 bytes, whose pieces of 16 bytes are exchanged by the 128-byte swizzle, as bulk copies write them and wgmma
 * reads them. Panels begin at multiples of 1024 bytes. */
#ifndef MGK_COMMON_HOPPER_H
#define MGK_COMMON_HOPPER_H

#include "kernels/common/tiles.h"

#include <stdbool.h>

enum {
    MGK_PANEL = 64,          /* columns of bf16 */
    MGK_PANEL_ROW = 128,     /* bytes, and columns of 8-bit codes */
    MGK_PANEL_ALIGN = 1024,  /* bytes; a multiple of 8 rows */
    MGK_WGMMA_ROWS = 64,     /* of a product's left factor and sum */
    MGK_WGMMA_DEPTH = 16,    /* values of bf16 that one instruction multiplies and adds */
    MGK_WGMMA_CODES = 32,    /* 8-bit codes, likewise: as many bytes */
    MGK_WARPGROUP = 128,     /* threads */
    MGK_TENSOR_MAP_DIMS = 4, /* of the maps used here */
    MGK_BOX_ROWS_MAX = 256,
    MGK_BOX_STEP_MAX = 8
};

/* ---- shared memory ---- */

/* Bits 4..6 of an address are exchanged by bits 7..9. */
MGK_PURE uint32_t mgk_swizzle128(uint32_t address)
{
    return address ^ (address >> 3 & 0x70);
}

/* Byte of (row, column) in a tile whose first byte is a multiple of 1024. */
MGK_PURE uint32_t mgk_tile_byte(uint32_t rows, uint32_t row, uint32_t column)
{
    return column / MGK_PANEL * rows * MGK_PANEL_ROW +
           mgk_swizzle128(row * MGK_PANEL_ROW + column % MGK_PANEL * 2);
}

MGK_PURE uint32_t mgk_code_tile_byte(uint32_t rows, uint32_t row, uint32_t column)
{
    return column / MGK_PANEL_ROW * rows * MGK_PANEL_ROW +
           mgk_swizzle128(row * MGK_PANEL_ROW + column % MGK_PANEL_ROW);
}

MGK_PURE uint32_t mgk_tile_bytes(uint32_t rows, uint32_t columns)
{
    return rows * columns * 2;
}

/* ---- descriptors of factors in shared memory ---- */

/* Where a factor begins, and two distances in bytes, all in units of 16 bytes; layout 1: 128-byte swizzle. */
MGK_PURE uint64_t mgk_wgmma_factor(uint32_t address, uint32_t leading, uint32_t stride)
{
    return (uint64_t)(address >> 4 & 0x3fff) | (uint64_t)(leading >> 4 & 0x3fff) << 16 |
           (uint64_t)(stride >> 4 & 0x3fff) << 32 | (uint64_t)1 << 62;
}

MGK_PURE uint32_t mgk_factor_address(uint64_t factor)
{
    return (uint32_t)(factor & 0x3fff) << 4;
}

MGK_PURE uint32_t mgk_factor_leading(uint64_t factor)
{
    return (uint32_t)(factor >> 16 & 0x3fff) << 4;
}

MGK_PURE uint32_t mgk_factor_stride(uint64_t factor)
{
    return (uint32_t)(factor >> 32 & 0x3fff) << 4;
}

/* The address that wgmma reads value `k` of row or column `mn` of a factor from. By rows ("K-major") k goes along
 * the 128 bytes; else mn does, 64 of them, and the next 64 are `leading` further on. Groups of 8 rows of 128 bytes are
 * `stride` apart. */
MGK_PURE uint32_t mgk_wgmma_address(uint64_t factor, bool by_rows, uint32_t mn, uint32_t k)
{
    uint32_t along = by_rows ? k : mn, across = by_rows ? mn : k;
    uint32_t offset =
        across / 8 * mgk_factor_stride(factor) + across % 8 * MGK_PANEL_ROW + along % MGK_PANEL * 2;
    if (!by_rows)
        offset += along / MGK_PANEL * mgk_factor_leading(factor);
    return mgk_swizzle128(mgk_factor_address(factor) + offset);
}

/* The same of an 8-bit code, by rows, which is the only way for them. */
MGK_PURE uint32_t mgk_wgmma_code_address(uint64_t factor, uint32_t mn, uint32_t k)
{
    return mgk_swizzle128(mgk_factor_address(factor) + mn / 8 * mgk_factor_stride(factor) +
                          mn % 8 * MGK_PANEL_ROW + k % MGK_PANEL_ROW);
}

/* Factor whose rows are those of a tile from `row` on (a multiple of 8): its columns from 16 step on (codes: 32 step) are
 * added up. */
MGK_PURE uint64_t mgk_factor_by_rows(uint32_t tile, uint32_t rows, uint32_t row, uint32_t step)
{
    uint32_t offset = (step / 4 * rows + row) * MGK_PANEL_ROW + step % 4 * 32;
    return mgk_wgmma_factor(tile, 16, 8 * MGK_PANEL_ROW) + offset / 16;
}

/* Factor whose columns are those of a tile: its rows from 16 step on are added up. */
MGK_PURE uint64_t mgk_factor_by_columns(uint32_t tile, uint32_t rows, uint32_t step)
{
    uint32_t offset = step * MGK_WGMMA_DEPTH * MGK_PANEL_ROW;
    return mgk_wgmma_factor(tile, rows * MGK_PANEL_ROW, 8 * MGK_PANEL_ROW) + offset / 16;
}

/* ---- registers ---- */

/* Row and column of sum `i` of a thread of the warpgroup; there are n / 2 of each thread. */
MGK_PURE int mgk_sum_row(int thread, int i)
{
    return thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
}

MGK_PURE int mgk_sum_column(int thread, int i)
{
    return i / 4 * 8 + thread % 4 * 2 + i % 2;
}

/* Of value `i` of the 8 of a left factor in registers, two a register, the lower half first: sums 8 step + i are value
 * i of the factor of columns 16 step on. */
MGK_PURE int mgk_left_row(int thread, int i)
{
    return thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
}

MGK_PURE int mgk_left_column(int thread, int i)
{
    return i / 4 * 8 + thread % 4 * 2 + i % 2;
}

/* ---- pipelines ---- */

/* Which stage, and the parity of the phase in which it is filled: the consumer waits for that one to end; the producer
 * for the one before, whose parity is the other, and which counts as ended at the start. */
typedef struct mgk_stage {
    uint32_t index, parity;
} mgk_stage;

MGK_PURE void mgk_stage_next(mgk_stage *s, uint32_t stages)
{
    if (++s->index == stages) {
        s->index = 0;
        s->parity ^= 1;
    }
}

/* ---- bulk copies ---- */

/* What a tensor map says: 4 dimensions, the first of them dense; distances in bytes of the others. A box takes so many
 * of each dimension, every `step`-th. */
typedef struct mgk_tensor_layout {
    uint64_t dims[MGK_TENSOR_MAP_DIMS], strides[MGK_TENSOR_MAP_DIMS - 1];
    uint32_t box[MGK_TENSOR_MAP_DIMS], step[MGK_TENSOR_MAP_DIMS];
    uint32_t value; /* bytes of one: 2, bf16; 1, a code */
} mgk_tensor_layout;

/* Values of so many bytes in boxes of one panel of `rows` of the third dimension. Distances in values, of the three outer
 * dimensions. */
MGK_PURE void mgk_panel_boxes(mgk_tensor_layout *t, uint32_t value,
                              const int64_t dims[MGK_TENSOR_MAP_DIMS],
                              const int64_t apart[MGK_TENSOR_MAP_DIMS - 1], uint32_t rows)
{
    for (int i = 0; i < MGK_TENSOR_MAP_DIMS; i++) {
        t->dims[i] = (uint64_t)dims[i];
        t->box[i] = t->step[i] = 1;
    }
    for (int i = 0; i < MGK_TENSOR_MAP_DIMS - 1; i++)
        t->strides[i] = (uint64_t)apart[i] * value;
    t->box[0] = MGK_PANEL_ROW / value;
    t->box[2] = rows;
    t->value = value;
}

/* (batch, tokens, heads, head_dim) of bf16 in boxes of one panel of `rows` tokens of a head. Strides in values.
 * Columns from head_dim on are zeros. false: bulk copies cannot read it. */
MGK_PURE bool mgk_heads_layout(mgk_tensor_layout *t, int64_t batch, int64_t tokens, int64_t heads,
                               int64_t head_dim, int64_t row, int64_t batch_stride, uint32_t rows)
{
    const int64_t most = (int64_t)1 << 31;
    if (batch == 1)
        batch_stride = tokens * row;
    if (batch < 1 || tokens < 1 || heads < 1 || batch >= most || tokens >= most || heads >= most ||
        head_dim % 8 || head_dim < 1 || row % 8 || batch_stride % 8 || row < 1 ||
        batch_stride < 1 || row >= (int64_t)1 << 38 || batch_stride >= (int64_t)1 << 38 ||
        rows < 1 || rows > MGK_BOX_ROWS_MAX)
        return false;
    const int64_t dims[] = {head_dim, heads, tokens, batch},
                  apart[] = {head_dim, row, batch_stride};
    mgk_panel_boxes(t, 2, dims, apart, rows);
    return true;
}

/* (items, rows, columns) of values of so many bytes in boxes of one panel of `box` rows; `row` and `item` values apart.
 * false: bulk copies cannot read it. */
MGK_PURE bool mgk_matrix_layout(mgk_tensor_layout *t, uint32_t value, int64_t items, int64_t rows,
                                int64_t columns, int64_t row, int64_t item, uint32_t box)
{
    const int64_t most = (int64_t)1 << 31, piece = 16 / value;
    if (items == 1)
        item = piece; /* not used */
    if (items < 1 || rows < 1 || columns < 1 || items >= most || rows >= most || columns >= most ||
        row % piece || item % piece || row < columns || item < 1 || row >= (int64_t)1 << 38 ||
        item >= (int64_t)1 << 38 || box < 1 || box > MGK_BOX_ROWS_MAX)
        return false;
    const int64_t dims[] = {columns, 1, rows, items}, apart[] = {piece /* not used */, row, item};
    mgk_panel_boxes(t, value, dims, apart, box);
    return true;
}

/* Pictures (images, h, w, channels) of bf16 in boxes of one panel of box[0] columns and box[1] rows of box[2] images;
 * columns and rows are step[0] and step[1] apart. false: bulk copies cannot read it. */
MGK_PURE bool mgk_pictures_layout(mgk_tensor_layout *t, int64_t images, int64_t h, int64_t w,
                                  int64_t channels, const int box[3], const int step[2])
{
    const int64_t most = (int64_t)1 << 30;
    if (images < 1 || h < 1 || w < 1 || channels < 8 || channels % 8 || images >= most ||
        h >= most || w >= most || channels >= most || w * channels >= (int64_t)1 << 38 ||
        h >= ((int64_t)1 << 38) / (w * channels))
        return false;
    const int64_t dims[] = {channels, w, h, images},
                  apart[] = {channels, w * channels, h * w * channels};
    mgk_panel_boxes(t, 2, dims, apart, 1);
    for (int i = 0; i < 3; i++) {
        if (i < 2)
            t->step[1 + i] = (uint32_t)step[i];
        t->box[1 + i] = (uint32_t)box[i];
        if (box[i] < 1 || t->step[1 + i] < 1 || t->step[1 + i] > MGK_BOX_STEP_MAX ||
            t->box[1 + i] > MGK_BOX_ROWS_MAX / t->step[1 + i])
            return false;
    }
    return true;
}

/* ---- tiles ---- */

/* Of products, by two warpgroups. */
enum { MGK_PRODUCT_ROWS = 128, MGK_PRODUCT_DEPTH = 64 /* values of k a stage */ };

/* Rows of a tile of queries: 192 unless that leaves much more of the last tile unused than 128 does. More rows share
 * each key and value that is read. */
MGK_PURE int mgk_query_rows(int64_t sq)
{
    int64_t unused_192 = mgk_tiles_of(sq, 192) * 192 - sq;
    int64_t unused_128 = mgk_tiles_of(sq, 128) * 128 - sq;
    return unused_192 <= unused_128 + sq / 64 ? 192 : 128;
}

#endif
