/* SPDX-License-Identifier: MIT
 * conv2d_grad_input on CUDA devices: a product of (pixels of x) x (kh, kw, cout) with the
 * weights, which gathers for each pixel the gradients of those it was read for. A pixel at an edge that stands
 * for padding collects those of the padding as well. With strides, most of what is multiplied is zero. */
#include "kernels/conv2d/conv2d_cuda.h"
#include "kernels/conv2d/conv2d_direct_cuda.h"

struct task {
    mgk_conv2d_args g;
    divider cout, kw, h, w, stride_h, stride_w;
    int64_t pixels; /* of x */
    int k;          /* kh * kw * cout */
    bool x_fours;
};

/* First and last row (column) of the padded picture that row i of the picture stands for. */
struct range {
    int first, last;
};

MGK_DEVICE range padded(int i, int64_t size, int64_t before, int64_t after, bool edge)
{
    const int at = i + (int)before;
    return {edge && i == 0 ? 0 : at, edge && i == size - 1 ? at + (int)after : at};
}

/* What the pixels of x from `first` on find in dy. Chunks lie along the channels. */
template <typename T, int ROWS, int V> struct found : mgk_gemm_chunks<ROWS, V> {
    typedef mgk_gemm_chunks<ROWS, V> chunks;
    const task &s;
    const T *image[chunks::COUNT];
    int i[chunks::COUNT], j[chunks::COUNT]; /* in x */
    unsigned rows_in;
    int at; /* in k */

    __device__ __forceinline__ found(const task &s_, int64_t first)
        : chunks(true), s(s_), rows_in(0), at(this->k)
    {
        const int64_t row0 = first / s.g.w, b0 = row0 / s.g.h;
        const int i0 = (int)(row0 % s.g.h), j0 = (int)(first % s.g.w);
#pragma unroll
        for (int n = 0; n < chunks::COUNT; n++) {
            const int steps = this->row + n * this->row_step;
            const pixel to = pixel_behind(i0, j0, steps, s.h, s.w);
            image[n] = (const T *)s.g.y.p + (b0 + to.image) * s.g.ho * s.g.wo * s.g.cout;
            i[n] = to.i;
            j[n] = to.j;
            if (!this->idle && first + steps < s.pixels)
                rows_in |= 1u << n;
        }
    }

    /* v += dy of the pixel whose kernel begins at (u, t) of the padded picture, if there is one */
    __device__ __forceinline__ void add(const T *dy, int u, int t, float *v) const
    {
        if (u < 0 || t < 0)
            return;
        const int y = divide(u, s.stride_h), x = divide(t, s.stride_w);
        if (y * (int)s.g.stride_h != u || x * (int)s.g.stride_w != t || y >= s.g.ho || x >= s.g.wo)
            return;
        float more[V];
        load_some<V>(dy + ((int64_t)y * s.g.wo + x) * s.g.cout, more);
#pragma unroll
        for (int e = 0; e < V; e++)
            v[e] += more[e];
    }

    __device__ __forceinline__ void fetch(float *v)
    {
        const int place = divide(at, s.cout), o = at - place * (int)s.g.cout;
        const int p = divide(place, s.kw), q = place - p * (int)s.g.kw;
        const bool edge = s.g.pad_mode == MGK_PAD_REPLICATE;
#pragma unroll
        for (int n = 0; n < chunks::COUNT; n++) {
#pragma unroll
            for (int e = 0; e < V; e++)
                v[V * n + e] = 0;
            if (!(rows_in >> n & 1) || at >= s.k)
                continue;
            const range rows = padded(i[n], s.g.h, s.g.pad_top, s.g.pad_bottom, edge);
            const range columns = padded(j[n], s.g.w, s.g.pad_left, s.g.pad_right, edge);
#pragma unroll 1
            for (int u = rows.first; u <= rows.last; u++)
#pragma unroll 1
                for (int t = columns.first; t <= columns.last; t++)
                    add(image[n] + o, u - p, t - q, v + V * n);
        }
        at += MGK_GEMM_K;
    }
};

/* The weights as (kh, kw, cout) x cin, columns from `first` on. Chunks lie along cin. */
template <typename T, int ROWS, int V> struct turned : mgk_gemm_chunks<ROWS, V> {
    typedef mgk_gemm_chunks<ROWS, V> chunks;
    const task &s;
    const T *base;
    int at; /* in k */
    bool in;

    __device__ __forceinline__ turned(const task &s_, int64_t first)
        : chunks(false), s(s_), base((const T *)s_.g.weight.p + first + this->row), at(this->k),
          in(!this->idle && first + this->row < s_.g.cin)
    {
    }

    __device__ __forceinline__ void fetch(float *v)
    {
#pragma unroll
        for (int n = 0; n < chunks::COUNT; n++) {
            const int k = at + n * this->k_step;
            if (in && k < s.k) {
                const int place = divide(k, s.cout), o = k - place * (int)s.g.cout;
                load_some<V>(base + (o * s.g.kh * s.g.kw + place) * s.g.cin, v + V * n);
            } else {
#pragma unroll
                for (int e = 0; e < V; e++)
                    v[V * n + e] = 0;
            }
        }
        at += MGK_GEMM_K;
    }
};

template <typename T> struct taker {
    const task &s;
    int64_t i0, j0;

    __device__ __forceinline__ void operator()(int row, int column, float *v) const
    {
        const int64_t i = i0 + row, c = j0 + column;
        if (i >= s.pixels || c >= s.g.cin)
            return;
        T *x = (T *)s.g.x.p + i * s.g.cin + c;
        if (s.x_fours) {
            float before[4] = {0, 0, 0, 0};
            if (s.g.accumulate)
                mgk_load_vector<4>(x, before);
#pragma unroll
            for (int e = 0; e < 4; e++)
                v[e] += before[e];
            mgk_store_vector<4>(x, v);
        } else {
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (c + e < s.g.cin)
                    mgk_store(x + e, s.g.accumulate ? mgk_load(x[e]) + v[e] : v[e]);
        }
    }
};

template <typename Tile, typename T, int V>
__launch_bounds__(MGK_GEMM_THREADS, 2) MGK_KERNEL conv2d_grad_input_kernel(const task s)
{
    __shared__ __align__(32) float shared[mgk_gemm_shared<Tile>::FLOATS];
    const int64_t columns = (s.g.cin + Tile::N - 1) / Tile::N;
    const int64_t i0 = blockIdx.x / columns * Tile::M, j0 = blockIdx.x % columns * Tile::N;
    found<T, Tile::M, V> a(s, i0);
    turned<T, Tile::N, V> b(s, j0);
    mgk_gemm_sums<Tile> c;
    mgk_gemm<Tile>(c, a, b, (s.k + MGK_GEMM_K - 1) / MGK_GEMM_K, shared);
    mgk_gemm_each<Tile>(c, shared, taker<T>{s, i0, j0});
}

template <typename Tile, typename T> static void launch(const task &s, mgk_exec *x)
{
    const int64_t blocks = (s.pixels + Tile::M - 1) / Tile::M * ((s.g.cin + Tile::N - 1) / Tile::N);
    if (in_fours(s.g.y, s.g.cout) && in_fours(s.g.weight, s.g.cin))
        MGK_LAUNCH(x, (conv2d_grad_input_kernel<Tile, T, 4>), (unsigned)blocks, MGK_GEMM_THREADS, 0,
                   s);
    else
        MGK_LAUNCH(x, (conv2d_grad_input_kernel<Tile, T, 1>), (unsigned)blocks, MGK_GEMM_THREADS, 0,
                   s);
}

static task make_task(const void *args)
{
    task s;
    s.g = *(const mgk_conv2d_args *)args;
    s.cout = make_divider(s.g.cout);
    s.kw = make_divider(s.g.kw);
    s.h = make_divider(s.g.h);
    s.w = make_divider(s.g.w);
    s.stride_h = make_divider(s.g.stride_h);
    s.stride_w = make_divider(s.g.stride_w);
    s.pixels = s.g.n * s.g.h * s.g.w;
    s.k = (int)(s.g.kh * s.g.kw * s.g.cout);
    s.x_fours = in_fours(s.g.x, s.g.cin);
    return s;
}

MGK_CUDA_LAUNCHER(conv2d_grad_input)
{
    const task s = make_task(args);
    if (s.pixels > 0)
        MGK_WITH_REAL(s.g.x.dtype, WITH_TILE(mgk_tile, s.pixels, s.g.cin, launch<Tile, T>(s, x)));
}

MGK_LAUNCHER(conv2d_grad_input, sm80)
{
    const task s = make_task(args);
    if (s.g.x.dtype != MGK_BF16)
        mgk_conv2d_grad_input_cuda(args, x);
    else if (s.pixels > 0 && !mgk_conv2d_direct(&s.g, true, x))
        WITH_TILE(mgk_wmma, s.pixels, s.g.cin, launch<Tile, mgk_bf16>(s, x));
}
