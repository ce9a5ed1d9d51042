/* SPDX-License-Identifier: MIT */
#include "kernels/common/cuda_columns.h"
#include "kernels/snake/snake.h"

namespace
{

/* Sine and cosine of the angle less the whole half turns in it, on whose number what is computed here does not depend: without
 * the branch and the local memory that sinf has for angles of any size. pi is subtracted in three parts, for up to 2^16 half turns;
 * beyond, results are within +-1 but otherwise meaningless. The polynomials are minimax fits. */
MGK_DEVICE float half_turn(float a)
{
    const float n = rintf(a * 0.318309886f);
    const float r = fmaf(n, -1.50995799e-7f, fmaf(n, -9.67502594e-4f, fmaf(n, -3.140625f, a)));
    return r > 1.5715f ? 1.5715f : r < -1.5715f ? -1.5715f : r;
}

MGK_DEVICE float sine(float r)
{
    const float u = r * r;
    float p = fmaf(u, 2.60879339e-6f, -1.98110554e-4f);
    p = fmaf(p, u, 0.00833308747f);
    p = fmaf(p, u, -0.166666604f);
    return fmaf(p * u, r, r);
}

MGK_DEVICE float cosine(float r)
{
    const float u = r * r;
    float p = fmaf(u, -2.60757036e-7f, 2.47618108e-5f);
    p = fmaf(p, u, -0.00138884021f);
    p = fmaf(p, u, 0.0416666406f);
    p = fmaf(p, u, -0.499999995f);
    return fmaf(p, u, 1.0f);
}

template <typename T> struct snake_of {
    const T *x;
    const float *alpha;
    T *y;
    int64_t dim;

    template <int N> __device__ __forceinline__ void run(int64_t i) const
    {
        float v[N], a[N];
        mgk_load_vector<N>(x + i, v);
        mgk_load_vector<N>(alpha + i % dim, a);
        for (int n = 0; n < N; n++) {
            const float s = sine(half_turn(a[n] * v[n]));
            v[n] = fmaf(s * s, 1.0f / (a[n] + MGK_SNAKE_EPS), v[n]);
        }
        mgk_store_vector<N>(y + i, v);
    }
};

/* Rows in chunks, as gated_residual_grad has those of one sample. */
struct snake_chunks {
    mgk_tiling t;
    mgk_row_chunks k;
};

snake_chunks chunks_of(const mgk_snake_args *a)
{
    snake_chunks s;
    s.t = mgk_tiles_of(a->dim, a->rows);
    s.k = mgk_chunk_rows(a->rows, 0, 0, MGK_BLOCK / s.t.lanes, s.t.tiles);
    return s;
}

/* A block: a chunk's rows of a tile. parts NULL: there is one chunk. */
template <typename T>
MGK_KERNEL snake_grad_kernel(mgk_snake_args a, snake_chunks s, bool whole, bool whole_alpha,
                             float *parts)
{
    __shared__ float scratch[MGK_VECTOR * MGK_BLOCK];
    const int lane = (int)threadIdx.x % s.t.lanes, group = (int)threadIdx.x / s.t.lanes;
    const T *x = (const T *)a.x.p, *dy = (const T *)a.dy.p;
    T *dx = (T *)a.dx.p;
    float *d_alpha = (float *)a.d_alpha.p;
    for (int64_t b = blockIdx.x; b < s.k.chunks * s.t.tiles; b += gridDim.x) {
        int64_t part = b / s.t.tiles, r, end;
        int64_t c = (b % s.t.tiles * s.t.lanes + lane) * MGK_VECTOR, count = a.dim - c;
        float sum[MGK_VECTOR] = {0}, alpha[MGK_VECTOR], times[MGK_VECTOR];
        float v[MGK_VECTOR], d[MGK_VECTOR], old[MGK_VECTOR] = {0};
        s.k.range(part, &r, &end);
        if (count > 0)
            mgk_load_part(MGK_F(a.alpha) + c, alpha, whole_alpha, count);
        for (int i = 0; i < MGK_VECTOR && count > 0; i++)
            times[i] = 1.0f / (alpha[i] + MGK_SNAKE_EPS);
        for (r += group; r < end && count > 0; r += MGK_BLOCK / s.t.lanes) {
            const int64_t at = r * a.dim + c;
            mgk_load_part(x + at, v, whole, count);
            mgk_load_part(dy + at, d, whole, count);
            if (a.accumulate)
                mgk_load_part(dx + at, old, whole, count);
            for (int i = 0; i < MGK_VECTOR; i++) {
                const float turn = half_turn(alpha[i] * v[i]), sn = sine(turn);
                const float two = 2.0f * sn * cosine(turn);
                const float to_alpha = fmaf(v[i], two, -(sn * sn * times[i])) * times[i];
                sum[i] = fmaf(to_alpha, d[i], sum[i]);
                d[i] = fmaf(fmaf(two, alpha[i] * times[i], 1.0f), d[i], old[i]);
            }
            mgk_store_part(dx + at, d, whole, count);
        }
        if (!d_alpha)
            continue;
        mgk_group_columns<mgk_plus>(sum, scratch, s.t.lanes);
        if (group > 0 || count <= 0)
            continue;
        for (int i = 0; i < MGK_VECTOR && i < count; i++) {
            if (parts)
                parts[part * a.dim + c + i] = sum[i];
            else
                d_alpha[c + i] += sum[i];
        }
    }
}

MGK_KERNEL snake_total_kernel(mgk_snake_args a, int64_t chunks, const float *parts)
{
    __shared__ double scratch[MGK_TOTAL_MOST];
    for (int64_t b = blockIdx.x; b * MGK_WARP < a.dim; b += gridDim.x) {
        int64_t c = b * MGK_WARP + threadIdx.x % MGK_WARP;
        double sum = mgk_column_total<mgk_plus>(parts + c, chunks, a.dim, c >= a.dim, scratch);
        if (threadIdx.x < MGK_WARP && c < a.dim)
            MGK_F(a.d_alpha)[c] += (float)sum;
    }
}

} // namespace

MGK_CUDA_WORKSPACE(snake)
{
    (void)args;
    (void)threads;
    return 0;
}

MGK_CUDA_LAUNCHER(snake)
{
    const mgk_snake_args *a = (const mgk_snake_args *)args;
    bool aligned = mgk_is_aligned(a->x) && mgk_is_aligned(a->y) && mgk_is_aligned(a->alpha) &&
                   a->dim % MGK_VECTOR == 0;
    MGK_WITH_REAL(a->x.dtype,
                  mgk_each(x, a->rows * a->dim, aligned,
                           snake_of<T>{(const T *)a->x.p, MGK_F(a->alpha), (T *)a->y.p, a->dim}));
}

MGK_CUDA_WORKSPACE(snake_grad)
{
    const mgk_snake_args *a = (const mgk_snake_args *)args;
    (void)threads;
    if (a->rows == 0 || a->dim == 0 || !a->d_alpha.p)
        return 0;
    const int64_t chunks = chunks_of(a).k.chunks;
    return chunks > 1 ? sizeof(float) * (size_t)(chunks * a->dim) : 0;
}

MGK_CUDA_LAUNCHER(snake_grad)
{
    const mgk_snake_args *a = (const mgk_snake_args *)args;
    if (a->rows == 0 || a->dim == 0)
        return;
    const snake_chunks s = chunks_of(a);
    float *parts = a->d_alpha.p && s.k.chunks > 1 ? (float *)x->workspace : NULL;
    bool vectors = a->dim % MGK_VECTOR == 0, whole_alpha = vectors && mgk_is_aligned(a->alpha);
    bool whole = vectors && mgk_is_aligned(a->x) && mgk_is_aligned(a->dy) && mgk_is_aligned(a->dx);
    MGK_WITH_REAL(a->x.dtype,
                  MGK_LAUNCH(x, snake_grad_kernel<T>, mgk_blocks(s.k.chunks * s.t.tiles), MGK_BLOCK,
                             0, *a, s, whole, whole_alpha, parts));
    if (parts)
        MGK_LAUNCH(x, snake_total_kernel, mgk_blocks(mgk_cuda_div_up(a->dim, MGK_WARP)),
                   mgk_total_block(s.k.chunks), 0, *a, s.k.chunks, parts);
}
