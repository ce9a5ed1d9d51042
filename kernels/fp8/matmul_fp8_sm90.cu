/* SPDX-License-Identifier: MIT
 * matmul_fp8 by warpgroups (sm_90a): products of codes, whose sums of 128 values of k are added up in f32, because the
 * tensor cores' own keep few bits. The scales are applied when a tile is written.
 *
 * A warpgroup multiplies 128 columns at a time, and adds their sums up while the other one's products run: they begin
 * products by turns. */
#include "kernels/fp8/decoded.h"
#include "kernels/matmul/matmul_warpgroups.h"

namespace
{

enum { COLUMNS = 128, COLUMN_SUMS = COLUMNS / 2 /* of a thread, of a product */ };

template <int N, int CLUSTER, int STAGES>
using codes_shape = mgk_product_shape<N, CLUSTER, STAGES, false, true, 1, 1>;

template <typename S> struct codes_group : product_group<S> {
    typedef product_group<S> group;
    using group::me;
    using group::w;

    __device__ __forceinline__ codes_group(const product_work<S> &work) : group(work)
    {
    }

    __device__ __forceinline__ void multiply(float (&part)[COLUMN_SUMS], uint32_t stage,
                                             int columns) const
    {
        mgk_wgmma_hold(part);
        mgk_wgmma_fence();
#pragma unroll
        for (int step = 0; step < S::K / MGK_WGMMA_CODES; step++)
            mgk_wgmma_codes<COLUMNS>::run(
                part, mgk_factor_by_rows(w.a(stage), S::M, me.group * MGK_WGMMA_ROWS, step),
                mgk_factor_by_rows(w.b(stage), S::N, columns, step), step > 0);
        mgk_wgmma_commit();
    }

    __device__ __forceinline__ void walk(mgk_stage *stage)
    {
        float *sums = this->sums[0];
#pragma unroll
        for (int i = 0; i < S::N / 2; i++)
            sums[i] = 0;
        for (int64_t step = 0; step < w.p.steps; step++, mgk_stage_next(stage, S::STAGES)) {
            mgk_barrier_wait(w.barrier(S::FULL, stage->index), stage->parity);
#pragma unroll
            for (int p = 0; p < S::N / COLUMNS; p++) {
                float part[COLUMN_SUMS];
                me.wait_for_turn();
                multiply(part, stage->index, p * COLUMNS);
                me.pass_turn(S::GROUPS);
                mgk_wgmma_wait<0>();
                mgk_wgmma_hold(part);
                if (p == S::N / COLUMNS - 1)
                    this->give_back(stage->index);
#pragma unroll
                for (int i = 0; i < COLUMN_SUMS; i++)
                    sums[p * COLUMN_SUMS + i] += part[i];
            }
        }
    }

    __device__ __forceinline__ void run()
    {
        mgk_stage stage = {0, 0};
        if (me.group == S::GROUPS - 1)
            me.pass_turn(S::GROUPS);
        for (int64_t task = w.first_task(); task < w.p.tiles.tasks; task += w.task_step()) {
            walk(&stage);
            me.forget();
            this->finish_tile(w.begin_of(task));
        }
        if (me.group == 0)
            me.wait_for_turn();
    }
};

} // namespace

extern "C" void mgk_matmul_fp8_cuda(const void *args, mgk_exec *x);
extern "C" size_t mgk_matmul_fp8_cuda_workspace(const void *args, int threads);

/* false: another variant must do it. x NULL: it is only asked. */
extern "C" bool mgk_matmul_fp8_by_warpgroups(const mgk_matmul_fp8_args *g, mgk_exec *x)
{
    typedef codes_shape<256, 2, 4> wide;
    typedef codes_shape<128, 1, 6> narrow;
    mgk_matmul_args of_codes = mgk_fp8_product(g, g->a.p);
    product p;
    of_codes.a = g->a;
    of_codes.b = g->b;
    of_codes.k = g->k;
    of_codes.lda = g->lda;
    of_codes.ldb = g->ldb;
    if (!make_product(&p, of_codes))
        return false;
    p.a_scale = (const float *)g->a_scale.p;
    p.b_scale = (const float *)g->b_scale.p;
    return p.tiles.cluster == 2 ? start_product<wide, codes_group<wide>>(&p, x)
                                : start_product<narrow, codes_group<narrow>>(&p, x);
}

MGK_LAUNCHER(matmul_fp8, sm90)
{
    const mgk_matmul_fp8_args *g = (const mgk_matmul_fp8_args *)args;
    if (!mgk_matmul_fp8_by_warpgroups(g, x))
        mgk_matmul_fp8_cuda(args, x);
}

/* What is decoded takes gigabytes: only where it is. */
MGK_WORKSPACE(matmul_fp8, sm90)
{
    const mgk_matmul_fp8_args *g = (const mgk_matmul_fp8_args *)args;
    return mgk_matmul_fp8_by_warpgroups(g, NULL) ? 0 : mgk_matmul_fp8_cuda_workspace(args, threads);
}
