/* SPDX-License-Identifier: MIT
 * In which order tiles of a result are worked on, as functions that GPUs, their emulation and the unit tests share. */
#ifndef MGK_COMMON_TILES_H
#define MGK_COMMON_TILES_H

#include <stdint.h>

#ifdef __CUDACC__
#define MGK_PURE static __host__ __device__ __forceinline__
#else
#define MGK_PURE __attribute__((unused)) static inline
#endif

MGK_PURE int64_t mgk_tiles_of(int64_t count, int64_t rows)
{
    return (count + rows - 1) / rows;
}

/* Tiles of a kernel whose blocks each take every so-manieth: all tiles of a head follow one another, so that the blocks
 * at work at a time share what the head's tiles all read. */
typedef struct mgk_tile_place {
    int64_t tile, head, batch;
} mgk_tile_place;

MGK_PURE mgk_tile_place mgk_tile_place_of(int64_t task, int64_t tiles, int64_t heads)
{
    mgk_tile_place p;
    p.tile = task % tiles;
    p.head = task / tiles % heads;
    p.batch = task / tiles / heads;
    return p;
}

/* Row and column of tile `at` of a matrix of m x n tiles: eight rows of tiles at a time, column after column, so that
 * neighbours in this order read few rows and few columns, which stay in the cache. */
enum { MGK_TILE_ROWS = 8 };

typedef struct mgk_matrix_place {
    int64_t i, j;
} mgk_matrix_place;

MGK_PURE mgk_matrix_place mgk_matrix_place_of(int64_t at, int64_t m, int64_t n)
{
    const int64_t group = MGK_TILE_ROWS, first = at / (group * n) * group;
    const int64_t rows = m - first < group ? m - first : group;
    mgk_matrix_place p;
    p.i = first + (at - first * n) % rows;
    p.j = (at - first * n) / rows;
    return p;
}

#endif
