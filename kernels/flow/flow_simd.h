/* SPDX-License-Identifier: MIT
 * The flow ops on vectors; included once a variant. A task is a range of elements. Of two products that are added the first
 * is not rounded, by v_fma(), whatever the compiler would make of them. */
#include "kernels/common/real_simd.h"
#include "kernels/flow/diffusion_factors.h"

static void run_elements(mgk_exec *x, const mgk_flow_args *a, mgi_pool_fn *fn)
{
    int64_t n = a->batch * a->dim;
    mgk_for(x, mgk_div_up(n, MGK_BLOCK_ELEMENTS), n, fn, (void *)a);
}

static int64_t block_end(const mgk_flow_args *a, int64_t block)
{
    return mgk_min(a->batch * a->dim, (block + 1) * MGK_BLOCK_ELEMENTS);
}

/* Elements first .. end - 1, all of batch item b. */
MGK_INLINE void path_loop(const mgk_flow_args *a, int64_t b, int64_t first, int64_t end,
                          int32_t dtype)
{
    double keep = 1 - (double)a->sigma, time = MGK_F(a->time)[b];
    const float t = (float)time, rest = (float)(1 - keep * time), k = (float)keep;
    const v_real x0 = v_from(a->x0, first, dtype), x1 = v_from(a->x1, first, dtype);
    const v_real xt = v_from(a->xt, first, dtype), v = v_from(a->v, first, dtype);
    MGK_EACH_VECTOR(i, end - first, {
        vf noise = v_get(x0, i), data = v_get(x1, i);
        v_put(xt, i, v_fma(v_set(t), data, rest * noise));
        v_put(v, i, v_fma(v_set(-k), noise, data));
    });
}

typedef void item_loop(const mgk_flow_args *a, int64_t b, int64_t first, int64_t end);

/* A task, in pieces of one batch item each. */
static void by_items(const mgk_flow_args *a, int64_t block, item_loop *loop)
{
    int64_t end = block_end(a, block);
    for (int64_t i = block * MGK_BLOCK_ELEMENTS; i < end;) {
        int64_t b = i / a->dim, stop = mgk_min(end, (b + 1) * a->dim);
        loop(a, b, i, stop);
        i = stop;
    }
}

static void path_piece(const mgk_flow_args *a, int64_t b, int64_t first, int64_t end)
{
    V_BY_DTYPE(a->x0.dtype, path_loop, a, b, first, end);
}

static void path_block(void *arg, int64_t block, int thread)
{
    (void)thread;
    by_items(arg, block, path_piece);
}

MGK_LAUNCH(flow_path)
{
    run_elements(x, args, path_block);
}

MGK_INLINE void guide_loop(const mgk_flow_args *a, int64_t first, int64_t end, int32_t dtype)
{
    const float guidance = MGK_F(a->guidance)[0];
    const v_real cond = v_from(a->cond, first, dtype), uncond = v_from(a->uncond, first, dtype);
    const v_real v = v_from(a->v, first, dtype);
    MGK_EACH_VECTOR(i, end - first, {
        vf without = v_get(uncond, i);
        v_put(v, i, v_fma(v_set(guidance), v_get(cond, i) - without, without));
    });
}

static void guide_block(void *arg, int64_t block, int thread)
{
    const mgk_flow_args *a = arg;
    (void)thread;
    V_BY_DTYPE(a->v.dtype, guide_loop, a, block * MGK_BLOCK_ELEMENTS, block_end(a, block));
}

MGK_LAUNCH(cfg_combine)
{
    run_elements(x, args, guide_block);
}

MGK_INLINE void euler_loop(const mgk_flow_args *a, int64_t first, int64_t end, int32_t x_dtype,
                           int32_t dtype)
{
    const float dt = MGK_F(a->dt)[0];
    const v_real x = v_from(a->xt, first, x_dtype), u = v_from(a->v, first, dtype);
    MGK_EACH_VECTOR(i, end - first, { v_put(x, i, v_fma(v_set(dt), v_get(u, i), v_get(x, i))); });
}

static void euler_block(void *arg, int64_t block, int thread)
{
    const mgk_flow_args *a = arg;
    int64_t first = block * MGK_BLOCK_ELEMENTS, end = block_end(a, block);
    (void)thread;
    if (a->xt.dtype == MGK_BF16)
        V_BY_DTYPE(a->v.dtype, euler_loop, a, first, end, MGK_BF16);
    else
        V_BY_DTYPE(a->v.dtype, euler_loop, a, first, end, MGK_F32);
}

MGK_LAUNCH(euler_step)
{
    run_elements(x, args, euler_block);
}

MGK_INLINE void diffusion_loop(const mgk_flow_args *a, int64_t b, int64_t first, int64_t end,
                               int32_t dtype)
{
    double f1, f0;
    mgk_diffusion_factors(a->kind, MGK_F(a->time)[b], &f1, &f0);
    const float k1 = (float)f1, k0 = (float)f0;
    const v_real x1 = v_from(a->x1, first, dtype), xt = v_from(a->xt, first, dtype);
    if (!a->x0.p) {
        MGK_EACH_VECTOR(i, end - first, { v_put(xt, i, k1 * v_get(x1, i)); });
        return;
    }
    const v_real x0 = v_from(a->x0, first, dtype);
    MGK_EACH_VECTOR(i, end - first,
                    { v_put(xt, i, v_fma(v_set(k1), v_get(x1, i), k0 * v_get(x0, i))); });
}

static void diffusion_piece(const mgk_flow_args *a, int64_t b, int64_t first, int64_t end)
{
    V_BY_DTYPE(a->x1.dtype, diffusion_loop, a, b, first, end);
}

static void diffusion_block(void *arg, int64_t block, int thread)
{
    (void)thread;
    by_items(arg, block, diffusion_piece);
}

MGK_LAUNCH(diffusion)
{
    run_elements(x, args, diffusion_block);
}
