/* SPDX-License-Identifier: MIT
 * conv2d on CUDA devices: a product of (pixels of y) x (kh, kw, cin) with the weights. */
#include "kernels/conv2d/conv2d_cuda.h"
#include "kernels/conv2d/conv2d_direct_cuda.h"

struct task {
    mgk_conv2d_args g;
    divider cin, kw, ho, wo;
    int64_t pixels; /* of y */
    int k;          /* kh * kw * cin */
    bool y_fours;
};

/* What the pixels of y from `first` on see of x. Chunks lie along the channels. */
template <typename T, int ROWS, int V> struct seen : mgk_gemm_chunks<ROWS, V> {
    typedef mgk_gemm_chunks<ROWS, V> chunks;
    const task &s;
    const T *image[chunks::COUNT];
    int i[chunks::COUNT], j[chunks::COUNT]; /* in x, of the kernel's first place */
    unsigned rows_in;
    int at; /* in k */

    __device__ __forceinline__ seen(const task &s_, int64_t first)
        : chunks(true), s(s_), rows_in(0), at(this->k)
    {
        const int64_t row0 = first / s.g.wo, b0 = row0 / s.g.ho;
        const int i0 = (int)(row0 % s.g.ho), j0 = (int)(first % s.g.wo);
#pragma unroll
        for (int n = 0; n < chunks::COUNT; n++) {
            const int steps = this->row + n * this->row_step;
            const pixel to = pixel_behind(i0, j0, steps, s.ho, s.wo);
            image[n] = (const T *)s.g.x.p + (b0 + to.image) * s.g.h * s.g.w * s.g.cin;
            i[n] = to.i * (int)s.g.stride_h - (int)s.g.pad_top;
            j[n] = to.j * (int)s.g.stride_w - (int)s.g.pad_left;
            if (!this->idle && first + steps < s.pixels)
                rows_in |= 1u << n;
        }
    }

    __device__ __forceinline__ void fetch(float *v)
    {
        const int h = (int)s.g.h, w = (int)s.g.w;
        const int place = divide(at, s.cin), c = at - place * (int)s.g.cin;
        const int p = divide(place, s.kw), q = place - p * (int)s.g.kw;
#pragma unroll
        for (int n = 0; n < chunks::COUNT; n++) {
            int y = i[n] + p, x = j[n] + q;
            bool in = rows_in >> n & 1 && at < s.k;
            if (s.g.pad_mode == MGK_PAD_REPLICATE) {
                y = y < 0 ? 0 : y >= h ? h - 1 : y;
                x = x < 0 ? 0 : x >= w ? w - 1 : x;
            } else {
                in = in && y >= 0 && y < h && x >= 0 && x < w;
            }
            if (in)
                load_some<V>(image[n] + ((int64_t)y * w + x) * s.g.cin + c, v + V * n);
            else
#pragma unroll
                for (int e = 0; e < V; e++)
                    v[V * n + e] = 0;
        }
        at += MGK_GEMM_K;
    }
};

template <typename T> struct taker {
    const task &s;
    int64_t i0, j0;

    __device__ __forceinline__ void operator()(int row, int column, float *v) const
    {
        const int64_t i = i0 + row, o = j0 + column;
        if (i >= s.pixels || o >= s.g.cout)
            return;
        T *y = (T *)s.g.y.p + i * s.g.cout + o;
        if (s.g.bias.p)
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (o + e < s.g.cout)
                    v[e] += ((const float *)s.g.bias.p)[o + e];
        if (s.y_fours) {
            mgk_store_vector<4>(y, v);
        } else {
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (o + e < s.g.cout)
                    mgk_store(y + e, v[e]);
        }
    }
};

template <typename Tile, typename T, int V>
__launch_bounds__(MGK_GEMM_THREADS, 2) MGK_KERNEL conv2d_kernel(const task s)
{
    __shared__ __align__(32) float shared[mgk_gemm_shared<Tile>::FLOATS];
    const int64_t columns = (s.g.cout + Tile::N - 1) / Tile::N;
    const int64_t i0 = blockIdx.x / columns * Tile::M, j0 = blockIdx.x % columns * Tile::N;
    seen<T, Tile::M, V> a(s, i0);
    mgk_gemm_matrix<T, Tile::N, V> b((const T *)s.g.weight.p, true, s.k, j0, s.g.cout, 0, s.k);
    mgk_gemm_sums<Tile> c;
    mgk_gemm<Tile>(c, a, b, (s.k + MGK_GEMM_K - 1) / MGK_GEMM_K, shared);
    mgk_gemm_each<Tile>(c, shared, taker<T>{s, i0, j0});
}

template <typename Tile, typename T> static void launch(const task &s, mgk_exec *x)
{
    const int64_t blocks =
        (s.pixels + Tile::M - 1) / Tile::M * ((s.g.cout + Tile::N - 1) / Tile::N);
    if (in_fours(s.g.x, s.g.cin) && in_fours(s.g.weight, s.g.cin))
        MGK_LAUNCH(x, (conv2d_kernel<Tile, T, 4>), (unsigned)blocks, MGK_GEMM_THREADS, 0, s);
    else
        MGK_LAUNCH(x, (conv2d_kernel<Tile, T, 1>), (unsigned)blocks, MGK_GEMM_THREADS, 0, s);
}

static task make_task(const void *args)
{
    task s;
    s.g = *(const mgk_conv2d_args *)args;
    s.cin = make_divider(s.g.cin);
    s.kw = make_divider(s.g.kw);
    s.ho = make_divider(s.g.ho);
    s.wo = make_divider(s.g.wo);
    s.pixels = s.g.n * s.g.ho * s.g.wo;
    s.k = (int)(s.g.kh * s.g.kw * s.g.cin);
    s.y_fours = in_fours(s.g.y, s.g.cout);
    return s;
}

/* Value by value, into a result with room between its pixels or rows: nothing on a GPU asks for that but tests, and tiles would
 * take more registers for it. */
template <typename T> MGK_KERNEL apart_kernel(const mgk_conv2d_args g, int64_t count)
{
    MGK_FOR(at, count)
    {
        const int64_t o = at % g.cout, j = at / g.cout % g.wo, row = at / g.cout / g.wo;
        const int64_t i = row % g.ho, b = row / g.ho;
        const T *w = (const T *)g.weight.p + o * g.kh * g.kw * g.cin;
        float sum = 0;
        for (int64_t p = 0; p < g.kh; p++)
            for (int64_t q = 0; q < g.kw; q++, w += g.cin) {
                int64_t y = i * g.stride_h + p - g.pad_top, x = j * g.stride_w + q - g.pad_left;
                if (g.pad_mode == MGK_PAD_REPLICATE) {
                    y = y < 0 ? 0 : y >= g.h ? g.h - 1 : y;
                    x = x < 0 ? 0 : x >= g.w ? g.w - 1 : x;
                } else if (y < 0 || x < 0 || y >= g.h || x >= g.w) {
                    continue;
                }
                const T *from = (const T *)g.x.p + ((b * g.h + y) * g.w + x) * g.cin;
                for (int64_t c = 0; c < g.cin; c++)
                    sum += mgk_load(from[c]) * mgk_load(w[c]);
            }
        if (g.bias.p)
            sum += ((const float *)g.bias.p)[o];
        mgk_store((T *)g.y.p + row * g.y_row + j * g.y_pixel + o, sum);
    }
}

template <typename T> static void launch_apart(const mgk_conv2d_args &g, mgk_exec *x)
{
    const int64_t count = g.n * g.ho * g.wo * g.cout;
    MGK_LAUNCH(x, apart_kernel<T>, mgk_grid(count, MGK_BLOCK), MGK_BLOCK, 0, g, count);
}

MGK_CUDA_LAUNCHER(conv2d)
{
    const task s = make_task(args);
    if (s.pixels > 0 && s.g.y_row)
        MGK_WITH_REAL(s.g.x.dtype, launch_apart<T>(s.g, x));
    else if (s.pixels > 0)
        MGK_WITH_REAL(s.g.x.dtype, WITH_TILE(mgk_tile, s.pixels, s.g.cout, launch<Tile, T>(s, x)));
}

MGK_LAUNCHER(conv2d, sm80)
{
    const task s = make_task(args);
    if (s.g.x.dtype != MGK_BF16 || s.g.y_row)
        mgk_conv2d_cuda(args, x);
    else if (s.pixels > 0 && !mgk_conv2d_direct(&s.g, false, x))
        WITH_TILE(mgk_wmma, s.pixels, s.g.cout, launch<Tile, mgk_bf16>(s, x));
}
