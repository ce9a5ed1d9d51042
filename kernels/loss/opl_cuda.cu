/* SPDX-License-Identifier: MIT
 * The outlier penalty loss. A block has a frame, which it walks through with some neighbouring threads on the
 * channels of a position; distances, means and the sums of the outliers' directions lie in the workspace. */
#include "kernels/common/cuda_sums.h"
#include "kernels/loss/opl.h"

enum { BLOCK = 512, FINISH_BLOCK = 1024 };

/* Of one frame, in the workspace. */
struct frame {
    const mgk_opl_args *a;
    int64_t first;        /* element */
    float *square;        /* of the distance, a position */
    float *mean, *others; /* a channel */
    double std;           /* |Std| */
    float limit;          /* r |Std| */
};

static size_t workspace(const mgk_opl_args *a)
{
    return sizeof(double) * (size_t)a->frames +
           sizeof(float) * (size_t)(a->frames * (a->positions + 2 * a->c));
}

/* The threads on a position, or with `most` = BLOCK, on the channels of a sum over positions: a power of two. */
MGK_DEVICE int width_of(int64_t c, int most)
{
    int width = 1;
    while (width < most && width < c)
        width *= 2;
    return width;
}

/* Each channel's sum over positions of what `term` gives; by all threads. */
template <typename Term>
MGK_DEVICE void channel_sums(const frame &f, float *out, double factor, const Term &term)
{
    __shared__ double part[BLOCK];
    const int width = width_of(f.a->c, BLOCK), t = (int)threadIdx.x;
    for (int64_t base = 0; base < f.a->c; base += width) {
        const int64_t j = base + t % width;
        double sum = 0;
        for (int64_t p = t / width; p < f.a->positions && j < f.a->c; p += BLOCK / width)
            sum += term(p, j);
        part[t] = sum;
        for (int half = BLOCK / 2; half >= width; half /= 2) {
            __syncthreads();
            if (t < half)
                part[t] += part[t + half];
        }
        if (t < width && j < f.a->c)
            out[j] = (float)(factor * part[t]);
        __syncthreads();
    }
}

template <typename T> MGK_DEVICE float deviation(const frame &f, int64_t p, int64_t j)
{
    return mgk_load(((const T *)f.a->x.p)[f.first + p * f.a->c + j]) - f.mean[j];
}

/* Fills in all of the frame but `others`. */
template <typename T> MGK_DEVICE frame frame_begin(const mgk_opl_args &a, double *sums)
{
    __shared__ double scratch[MGK_WARP];
    const int64_t index = blockIdx.x;
    frame f = {&a, index * a.positions * a.c, 0, 0, 0, 0, 0};
    f.square = (float *)(sums + a.frames) + index * (a.positions + 2 * a.c);
    f.mean = f.square + a.positions;
    f.others = f.mean + a.c;
    channel_sums(f, f.mean, 1.0 / (double)a.positions, [&f](int64_t p, int64_t j) {
        return mgk_load(((const T *)f.a->x.p)[f.first + p * f.a->c + j]);
    });

    const int width = width_of(a.c, MGK_WARP), lane = (int)threadIdx.x % width;
    double squares = 0;
    for (int64_t base = 0; base < a.positions; base += BLOCK / width) {
        const int64_t p = base + (int)threadIdx.x / width;
        float square = 0;
        for (int64_t j = lane; j < a.c && p < a.positions; j += width) {
            float d = deviation<T>(f, p, j);
            square = fmaf(d, d, square);
        }
        for (int step = width / 2; step > 0; step /= 2)
            square += __shfl_xor_sync(0xffffffffu, square, step);
        if (lane == 0 && p < a.positions) {
            f.square[p] = square;
            squares += (double)square;
        }
    }
    f.std = sqrt(mgk_block_sum(squares, scratch) / (double)a.positions);
    f.limit = (float)((double)a.r * f.std);
    return f;
}

template <typename T> MGK_KERNEL opl_kernel(const mgk_opl_args a, double *sums)
{
    __shared__ double scratch[MGK_WARP];
    const frame f = frame_begin<T>(a, sums);
    double sum = 0;
    for (int64_t p = threadIdx.x; p < a.positions; p += BLOCK) {
        float far = sqrtf(f.square[p]);
        sum += (double)(far <= f.limit ? 0.0f : far - f.limit); /* a NaN stays one */
    }
    sum = mgk_block_sum(sum, scratch);
    if (threadIdx.x == 0)
        sums[blockIdx.x] = sum;
}

static double factor_of(const mgk_opl_args *a)
{
    return (double)a->weight / (double)a->frames / (double)a->positions;
}

MGK_CUDA_WORKSPACE(opl)
{
    (void)threads;
    return workspace((const mgk_opl_args *)args);
}

MGK_CUDA_LAUNCHER(opl)
{
    const mgk_opl_args *a = (const mgk_opl_args *)args;
    double *sums = (double *)x->workspace;
    if (a->frames * a->positions * a->c == 0)
        return;
    MGK_WITH_REAL(a->x.dtype,
                  MGK_LAUNCH(x, opl_kernel<T>, (unsigned)a->frames, BLOCK, 0, *a, sums));
    MGK_LAUNCH(x, mgk_add_sums_kernel, 1, FINISH_BLOCK, 0, sums, a->frames, factor_of(a),
               MGK_F(a->out));
}

/* Adds up the directions of the outliers; returns their number. */
template <typename T> MGK_DEVICE double find_others(const frame &f)
{
    __shared__ double scratch[MGK_WARP];
    double outliers = 0;
    for (int64_t p = threadIdx.x; p < f.a->positions; p += BLOCK)
        outliers += sqrtf(f.square[p]) > f.limit ? 1 : 0;
    outliers = mgk_block_sum(outliers, scratch);
    channel_sums(f, f.others, 1, [&f](int64_t p, int64_t j) {
        float far = sqrtf(f.square[p]);
        return far > f.limit ? deviation<T>(f, p, j) / far : 0.0f;
    });
    return outliers;
}

/* dx = near d + away others: near, of the position, has both the outlier's own direction and the way through
 * Std; away is the way through the mean. */
template <typename T>
MGK_KERNEL opl_grad_kernel(const mgk_opl_args a, double *sums, double constant_factor)
{
    const frame f = frame_begin<T>(a, sums);
    const double outliers = a.through ? find_others<T>(f) : 0;
    const float factor = (float)((double)MGK_F(a.upstream)[0] * constant_factor);
    const float away = outliers > 0 ? -factor / (float)a.positions : 0;
    const float spread = outliers > 0 ? (float)((double)a.r * outliers / f.std) * away : 0;
    const int width = width_of(a.c, MGK_WARP);
    T *dx = (T *)a.dx.p + f.first;
    for (int64_t p = (int)threadIdx.x / width; p < a.positions; p += BLOCK / width) {
        const float far = sqrtf(f.square[p]);
        const float near = (far > f.limit ? factor / far : 0) + spread;
        for (int64_t j = (int)threadIdx.x % width; j < a.c; j += width) {
            float g = near * deviation<T>(f, p, j);
            if (outliers > 0)
                g = fmaf(away, f.others[j], g);
            if (a.accumulate)
                g += mgk_load(dx[p * a.c + j]);
            mgk_store(dx + p * a.c + j, g);
        }
    }
}

MGK_CUDA_WORKSPACE(opl_grad)
{
    (void)threads;
    return workspace((const mgk_opl_args *)args);
}

MGK_CUDA_LAUNCHER(opl_grad)
{
    const mgk_opl_args *a = (const mgk_opl_args *)args;
    double *sums = (double *)x->workspace;
    if (a->frames * a->positions * a->c == 0)
        return;
    MGK_WITH_REAL(a->x.dtype, MGK_LAUNCH(x, opl_grad_kernel<T>, (unsigned)a->frames, BLOCK, 0, *a,
                                         sums, factor_of(a)));
}
