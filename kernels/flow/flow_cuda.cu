/* SPDX-License-Identifier: MIT
 * The flow ops. */
#include "kernels/common/cuda_four.h"
#include "kernels/flow/diffusion_factors.h"

enum { BATCH_MAX = 65535 };

/* The grid's second dimension is over batch items, its first over the elements of one. */
template <typename T> MGK_KERNEL path_kernel(const mgk_flow_args a)
{
    const double keep = 1 - (double)a.sigma;
    const float k0 = (float)keep;
    for (int64_t b = blockIdx.y; b < a.batch; b += gridDim.y) {
        const float t = MGK_F(a.time)[b], rest = (float)(1 - keep * (double)t);
        MGK_FOR4(at, a.dim)
        {
            const int64_t i = b * a.dim + at, n = a.dim - at;
            float noise[4], data[4];
            mgk_load4((const T *)a.x0.p + i, n, noise);
            mgk_load4((const T *)a.x1.p + i, n, data);
            float xt[4], v[4];
#pragma unroll
            for (int k = 0; k < 4; k++) {
                xt[k] = fmaf(t, data[k], rest * noise[k]);
                v[k] = fmaf(-k0, noise[k], data[k]);
            }
            mgk_store4((T *)a.xt.p + i, n, xt);
            mgk_store4((T *)a.v.p + i, n, v);
        }
    }
}

static dim3 grid_of(const mgk_flow_args *a)
{
    return dim3((unsigned)mgk_grid4(a->dim, MGK_BLOCK),
                (unsigned)(a->batch < BATCH_MAX ? a->batch : (int64_t)BATCH_MAX));
}

MGK_CUDA_LAUNCHER(flow_path)
{
    const mgk_flow_args *a = (const mgk_flow_args *)args;
    if (a->batch * a->dim == 0)
        return;
    MGK_WITH_REAL(a->x0.dtype, MGK_LAUNCH(x, path_kernel<T>, grid_of(a), MGK_BLOCK, 0, *a));
}

template <typename T>
MGK_KERNEL guide_kernel(const T *cond, const T *uncond, const float *guidance, T *v, int64_t count)
{
    const float g = guidance[0];
    MGK_FOR4(i, count)
    {
        float with[4], without[4];
        mgk_load4(cond + i, count - i, with);
        mgk_load4(uncond + i, count - i, without);
#pragma unroll
        for (int k = 0; k < 4; k++)
            with[k] = fmaf(g, with[k] - without[k], without[k]);
        mgk_store4(v + i, count - i, with);
    }
}

MGK_CUDA_LAUNCHER(cfg_combine)
{
    const mgk_flow_args *a = (const mgk_flow_args *)args;
    int64_t count = a->batch * a->dim;
    if (count == 0)
        return;
    MGK_WITH_REAL(a->v.dtype, MGK_LAUNCH(x, guide_kernel<T>, mgk_grid4(count, MGK_BLOCK), MGK_BLOCK,
                                         0, (const T *)a->cond.p, (const T *)a->uncond.p,
                                         MGK_F(a->guidance), (T *)a->v.p, count));
}

template <typename T> MGK_KERNEL euler_kernel(T *x, mgk_buf u, const float *dt, int64_t count)
{
    const float step = dt[0];
    MGK_FOR4(i, count)
    {
        float point[4], velocity[4];
        mgk_load4(x + i, count - i, point);
        mgk_load4_of(u.p, u.dtype, i, count - i, velocity);
#pragma unroll
        for (int k = 0; k < 4; k++)
            point[k] = fmaf(step, velocity[k], point[k]);
        mgk_store4(x + i, count - i, point);
    }
}

MGK_CUDA_LAUNCHER(euler_step)
{
    const mgk_flow_args *a = (const mgk_flow_args *)args;
    int64_t count = a->batch * a->dim;
    if (count == 0)
        return;
    MGK_WITH_REAL(a->xt.dtype, MGK_LAUNCH(x, euler_kernel<T>, mgk_grid4(count, MGK_BLOCK),
                                          MGK_BLOCK, 0, (T *)a->xt.p, a->v, MGK_F(a->dt), count));
}

template <typename T> MGK_KERNEL diffusion_kernel(const mgk_flow_args a)
{
    for (int64_t b = blockIdx.y; b < a.batch; b += gridDim.y) {
        double f1, f0;
        mgk_diffusion_factors(a.kind, (double)MGK_F(a.time)[b], &f1, &f0);
        const float k1 = (float)f1, k0 = (float)f0;
        MGK_FOR4(at, a.dim)
        {
            const int64_t i = b * a.dim + at, n = a.dim - at;
            float x[4], y[4] = {0, 0, 0, 0};
            mgk_load4((const T *)a.x1.p + i, n, x);
            if (a.x0.p)
                mgk_load4((const T *)a.x0.p + i, n, y);
#pragma unroll
            for (int k = 0; k < 4; k++)
                x[k] = fmaf(k1, x[k], k0 * y[k]);
            mgk_store4((T *)a.xt.p + i, n, x);
        }
    }
}

MGK_CUDA_LAUNCHER(diffusion)
{
    const mgk_flow_args *a = (const mgk_flow_args *)args;
    if (a->batch * a->dim == 0)
        return;
    MGK_WITH_REAL(a->x1.dtype, MGK_LAUNCH(x, diffusion_kernel<T>, grid_of(a), MGK_BLOCK, 0, *a));
}
