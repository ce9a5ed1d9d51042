/* SPDX-License-Identifier: MIT
 * What the convolutions on CUDA devices share: products (cuda_gemm.h) whose operands find their values in
 * pictures. Sides of pictures and the length of a kernel are below 2^31; the count of pixels may be above.
 * Inside kernels/conv2d only. */
#ifndef MGK_CONV2D_CUDA_H
#define MGK_CONV2D_CUDA_H

#include "kernels/common/cuda_divide.h"
#include "kernels/common/cuda_gemm.h"
#include "kernels/conv2d/conv2d.h"

/* Division of a number below 2^31 by one that is known at the launch. */
typedef mgk_divisor<uint32_t> divider;

static inline divider make_divider(int64_t by)
{
    divider d;
    mgk_divisor_set(&d, by);
    return d;
}

MGK_DEVICE int divide(int a, const divider &d)
{
    uint32_t n = (uint32_t)a;
    return (int)mgk_divide(&n, d);
}

/* A pixel of a stack of pictures; `image` counts from that of a first pixel. */
struct pixel {
    int image, i, j;
};

/* The pixel `steps` behind (0, i, j). */
MGK_DEVICE pixel pixel_behind(int i, int j, int steps, const divider &height, const divider &width)
{
    const int columns = j + steps, down = divide(columns, width), rows = i + down;
    const int images = divide(rows, height);
    return {images, rows - images * (int)height.by, columns - down * (int)width.by};
}

/* Whether values whose last dimension is `channels` long can be read in fours. */
static inline bool in_fours(mgk_buf b, int64_t channels)
{
    return channels % 4 == 0 && (uintptr_t)b.p % (b.dtype == MGK_BF16 ? 8 : 16) == 0;
}

template <int V, typename T> MGK_DEVICE void load_some(const T *p, float *v)
{
    if (V == 4)
        mgk_load_vector<4>(p, v);
    else
        v[0] = mgk_load(*p);
}

/* Run the statements with Tile as the tile of a kind (mgk_tile: f32 arithmetic; mgk_wmma: tensor cores) that fits
 * `rows` x `columns`, which may be few. */
#define WITH_TILE(kind, rows, columns, ...)                                                        \
    do {                                                                                           \
        if ((columns) <= 16) {                                                                     \
            typedef kind##_256x16 Tile;                                                            \
            __VA_ARGS__;                                                                           \
        } else if ((columns) <= 32) {                                                              \
            typedef kind##_128x32 Tile;                                                            \
            __VA_ARGS__;                                                                           \
        } else if (((rows) + 127) / 128 * (((columns) + 63) / 64) >= MGK_GEMM_BLOCKS) {            \
            typedef kind##_128x64 Tile;                                                            \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            typedef kind##_64x64 Tile;                                                             \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

#endif
