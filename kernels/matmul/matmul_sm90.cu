/* SPDX-License-Identifier: MIT
 * matmul by warpgroups (sm_90a): bf16, sums in f32. */
#include "kernels/matmul/matmul_warpgroups.h"

namespace
{

template <typename S> struct bf16_group : product_group<S> {
    __device__ __forceinline__ bf16_group(const product_work<S> &work) : product_group<S>(work)
    {
    }

    __device__ __forceinline__ void run()
    {
        const product_work<S> &w = this->w;
        mgk_stage stage = {0, 0};
        for (int64_t task = w.first_task(); task < w.p.tiles.tasks; task += w.task_step()) {
            this->walk(&stage, w.p.steps);
            this->finish_tile(w.begin_of(task));
        }
    }
};

template <bool TA, bool TB> bool start_tiles(product *p, mgk_exec *x)
{
    typedef mgk_product_shape<256, 2, 4, TA, TB> wide;
    typedef mgk_product_shape<128, 1, 6, TA, TB> narrow;
    return p->tiles.cluster == 2 ? start_product<wide, bf16_group<wide>>(p, x)
                                 : start_product<narrow, bf16_group<narrow>>(p, x);
}

} // namespace

extern "C" void mgk_matmul_sm80(const void *args, mgk_exec *x);
extern "C" size_t mgk_matmul_sm80_workspace(const void *args, int threads);

/* false: another variant must do it. */
extern "C" bool mgk_matmul_by_warpgroups(const mgk_matmul_args *g, mgk_exec *x)
{
    product p;
    if (g->a.dtype != MGK_BF16 || !make_product(&p, *g))
        return false;
    return g->trans_a
               ? g->trans_b ? start_tiles<true, true>(&p, x) : start_tiles<true, false>(&p, x)
           : g->trans_b ? start_tiles<false, true>(&p, x)
                        : start_tiles<false, false>(&p, x);
}

MGK_LAUNCHER(matmul, sm90)
{
    const mgk_matmul_args *g = (const mgk_matmul_args *)args;
    if (!mgk_matmul_by_warpgroups(g, x))
        mgk_matmul_sm80(args, x);
}

MGK_WORKSPACE(matmul, sm90)
{
    return mgk_matmul_sm80_workspace(args, threads);
}
