/* SPDX-License-Identifier: MIT
 * conv2d_grad_weight on CUDA devices: a product of dy, transposed, with what its pixels
 * saw of x, and with a column of ones for the bias. The sum over the pixels is divided among blocks; a
 * second kernel adds up their sums in order. */
#include "kernels/common/cuda_columns.h"
#include "kernels/conv2d/conv2d_cuda.h"
#include "kernels/conv2d/conv2d_grad_weight_direct.h"
#include "kernels/conv2d/conv2d_grad_weight_sm90.h"

struct task {
    mgk_conv2d_args g;
    divider ho, wo;
    int64_t pixels, k, columns; /* of y; kh * kw * cin; with that of the bias */
    mgk_gemm_split split;
};

/* Columns of the product: places of the kernel, from `column0` on, for the pixels of y from `first` to `end`.
 * Chunks lie along the channels of x. */
template <typename T, int ROWS, int V> struct places : mgk_gemm_chunks<ROWS, V> {
    typedef mgk_gemm_chunks<ROWS, V> chunks;
    const task &s;
    const T *base; /* of the first pixel's picture, at the channel */
    int i0, j0, p, q;
    int at, count; /* pixels behind the first */
    enum { NOTHING, VALUES, ONES } kind;

    __device__ __forceinline__ places(const task &s_, int64_t column0, int64_t first, int64_t end)
        : chunks(false), s(s_), at(this->k), count((int)(end - first))
    {
        const int64_t column = column0 + this->row, place = column / s.g.cin;
        const int64_t row0 = first / s.g.wo, b0 = row0 / s.g.ho;
        kind = this->idle || column >= s.columns ? NOTHING : column < s.k ? VALUES : ONES;
        i0 = (int)(row0 % s.g.ho);
        j0 = (int)(first % s.g.wo);
        p = (int)(place / s.g.kw - s.g.pad_top);
        q = (int)(place % s.g.kw - s.g.pad_left);
        base = (const T *)s.g.x.p + b0 * s.g.h * s.g.w * s.g.cin + column % s.g.cin;
    }

    __device__ __forceinline__ void fetch(float *v)
    {
        const int h = (int)s.g.h, w = (int)s.g.w;
#pragma unroll
        for (int n = 0; n < chunks::COUNT; n++) {
            const int steps = at + n * this->k_step;
            const pixel to = pixel_behind(i0, j0, steps, s.ho, s.wo);
            int y = to.i * (int)s.g.stride_h + p, x = to.j * (int)s.g.stride_w + q;
            bool in = steps < count && kind == VALUES;
            if (s.g.pad_mode == MGK_PAD_REPLICATE) {
                y = y < 0 ? 0 : y >= h ? h - 1 : y;
                x = x < 0 ? 0 : x >= w ? w - 1 : x;
            } else {
                in = in && y >= 0 && y < h && x >= 0 && x < w;
            }
            if (in) {
                load_some<V>(base + (((int64_t)to.image * h + y) * w + x) * s.g.cin, v + V * n);
            } else {
#pragma unroll
                for (int e = 0; e < V; e++)
                    v[V * n + e] = e == 0 && kind == ONES ? 1.0f : 0.0f;
            }
        }
        at += MGK_GEMM_K;
    }
};

MGK_DEVICE void finish(const mgk_conv2d_args &g, int64_t k, int64_t o, int64_t column, float sum)
{
    float *to = column < k ? (float *)g.weight.p + o * k + column : (float *)g.bias.p + o;
    *to = g.accumulate ? *to + sum : sum;
}

struct taker {
    const task &s;
    float *parts; /* of this part of the pixels */
    int64_t i0, j0;

    __device__ __forceinline__ void operator()(int row, int column, float *v) const
    {
        const int64_t o = i0 + row, j = j0 + column;
        if (o >= s.g.cout)
            return;
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (j + e < s.columns) {
                if (s.split.count > 1)
                    parts[o * s.columns + j + e] = v[e];
                else
                    finish(s.g, s.k, o, j + e, v[e]);
            }
    }
};

template <typename Tile, typename T, int V>
__launch_bounds__(MGK_GEMM_THREADS, 2) MGK_KERNEL
    conv2d_grad_weight_kernel(const task s, float *parts)
{
    __shared__ __align__(32) float shared[mgk_gemm_shared<Tile>::FLOATS];
    const int64_t columns = (s.columns + Tile::N - 1) / Tile::N, part = blockIdx.x % s.split.count;
    const int64_t tile = blockIdx.x / s.split.count;
    const int64_t i0 = tile / columns * Tile::M, j0 = tile % columns * Tile::N;
    const int64_t k0 = part * s.split.k;
    const int64_t k1 = k0 + s.split.k < s.pixels ? k0 + s.split.k : s.pixels;
    mgk_gemm_matrix<T, Tile::M, V> a((const T *)s.g.y.p, false, s.g.cout, i0, s.g.cout, k0, k1);
    places<T, Tile::N, V> b(s, j0, k0, k1);
    mgk_gemm_sums<Tile> c;
    mgk_gemm<Tile>(c, a, b, (k1 - k0 + MGK_GEMM_K - 1) / MGK_GEMM_K, shared);
    mgk_gemm_each<Tile>(c, shared, taker{s, parts + part * s.g.cout * s.columns, i0, j0});
}

/* A block adds up 32 columns. */
MGK_KERNEL conv2d_grad_weight_parts_kernel(const task s, const float *parts)
{
    __shared__ double scratch[MGK_TOTAL_MOST];
    const int64_t size = s.g.cout * s.columns;
    const int64_t at = (int64_t)blockIdx.x * MGK_WARP + threadIdx.x % MGK_WARP;
    const double sum =
        mgk_column_total<mgk_plus>(parts + at, s.split.count, size, at >= size, scratch);
    if (threadIdx.x < MGK_WARP && at < size)
        finish(s.g, s.k, at / s.columns, at % s.columns, (float)sum);
}

/* Run the statements with Tile as the one for this many output channels. */
#define WITH_WIDE_TILE(kind, cout, ...)                                                            \
    do {                                                                                           \
        if ((cout) <= 16) {                                                                        \
            typedef kind##_16x256 Tile;                                                            \
            __VA_ARGS__;                                                                           \
        } else if ((cout) <= 32) {                                                                 \
            typedef kind##_32x128 Tile;                                                            \
            __VA_ARGS__;                                                                           \
        } else if ((cout) <= 64) {                                                                 \
            typedef kind##_64x64 Tile;                                                             \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            typedef kind##_128x64 Tile;                                                            \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

template <typename Tile> static int64_t tiles_of(const task &s)
{
    return (s.g.cout + Tile::M - 1) / Tile::M * ((s.columns + Tile::N - 1) / Tile::N);
}

static task make_task(const mgk_conv2d_args *g)
{
    task s;
    s.g = *g;
    s.ho = make_divider(g->ho);
    s.wo = make_divider(g->wo);
    s.pixels = g->n * g->ho * g->wo;
    s.k = g->kh * g->kw * g->cin;
    s.columns = s.k + (g->bias.p ? 1 : 0);
    int64_t tiles = 0;
    WITH_WIDE_TILE(mgk_tile, g->cout, tiles = tiles_of<Tile>(s));
    s.split = mgk_gemm_split_k(tiles, s.pixels, 2 * MGK_GEMM_BLOCKS);
    return s;
}

template <typename Tile, typename T> static void launch(const task &s, mgk_exec *x)
{
    const unsigned blocks = (unsigned)(tiles_of<Tile>(s) * s.split.count);
    float *parts = (float *)x->workspace;
    if (in_fours(s.g.x, s.g.cin) && in_fours(s.g.y, s.g.cout))
        MGK_LAUNCH(x, (conv2d_grad_weight_kernel<Tile, T, 4>), blocks, MGK_GEMM_THREADS, 0, s,
                   parts);
    else
        MGK_LAUNCH(x, (conv2d_grad_weight_kernel<Tile, T, 1>), blocks, MGK_GEMM_THREADS, 0, s,
                   parts);
}

static size_t parts_bytes(const task &s)
{
    return (size_t)(s.split.count * s.g.cout * s.columns) * sizeof(float);
}

MGK_CUDA_WORKSPACE(conv2d_grad_weight)
{
    const task s = make_task((const mgk_conv2d_args *)args);
    (void)threads;
    return s.split.count > 1 ? parts_bytes(s) : 0;
}

static void sum_parts(const task &s, mgk_exec *x)
{
    MGK_LAUNCH(x, conv2d_grad_weight_parts_kernel,
               mgk_blocks(mgk_cuda_div_up(s.g.cout * s.columns, MGK_WARP)),
               mgk_total_block(s.split.count), 0, s, (const float *)x->workspace);
}

static void add_parts(const task &s, mgk_exec *x)
{
    if (s.split.count > 1)
        sum_parts(s, x);
}

MGK_CUDA_LAUNCHER(conv2d_grad_weight)
{
    const task s = make_task((const mgk_conv2d_args *)args);
    MGK_WITH_REAL(s.g.x.dtype, WITH_WIDE_TILE(mgk_tile, s.g.cout, launch<Tile, T>(s, x)));
    add_parts(s, x);
}

/* The parts of the form for few channels, if it fits, are added up like the others. */
static bool takes_direct(task *s)
{
    const int64_t parts = mgk_conv2d_grad_weight_direct_parts(&s->g);
    if (parts > 0)
        s->split.count = parts;
    return parts > 0;
}

/* Tiles are as large as those of f32 arithmetic, and so are the parts. */
MGK_WORKSPACE(conv2d_grad_weight, sm80)
{
    task s = make_task((const mgk_conv2d_args *)args);
    if (takes_direct(&s))
        return parts_bytes(s);
    return mgk_conv2d_grad_weight_cuda_workspace(args, threads);
}

MGK_LAUNCHER(conv2d_grad_weight, sm80)
{
    task s = make_task((const mgk_conv2d_args *)args);
    if (s.g.x.dtype != MGK_BF16) {
        mgk_conv2d_grad_weight_cuda(args, x);
        return;
    }
    if (takes_direct(&s)) {
        mgk_conv2d_grad_weight_direct(&s.g, (float *)x->workspace, x);
        sum_parts(s, x);
        return;
    }
    WITH_WIDE_TILE(mgk_wmma, s.g.cout, launch<Tile, mgk_bf16>(s, x));
    add_parts(s, x);
}

/* Where there is no code for sm_90a, "sm80" takes its place. */
MGK_WORKSPACE(conv2d_grad_weight, sm90)
{
    task s = make_task((const mgk_conv2d_args *)args);
    s.split.count = mgk_conv2d_grad_weight_warpgroups_parts(&s.g);
    const size_t own = parts_bytes(s);
    const size_t others = mgk_conv2d_grad_weight_sm80_workspace(args, threads);
    return own > others ? own : others;
}

MGK_LAUNCHER(conv2d_grad_weight, sm90)
{
    task s = make_task((const mgk_conv2d_args *)args);
    const int64_t parts = mgk_conv2d_grad_weight_warpgroups_parts(&s.g);
    if (parts > 0 && mgk_conv2d_grad_weight_warpgroups(&s.g, (float *)x->workspace, x)) {
        s.split.count = parts;
        sum_parts(s, x);
    } else {
        mgk_conv2d_grad_weight_sm80(args, x);
    }
}
