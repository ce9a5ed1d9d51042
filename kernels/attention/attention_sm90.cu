/* SPDX-License-Identifier: MIT
 * attention by warpgroups (sm_90a): tiles of 128 or 192 queries, along which tiles of keys and values pass.
 *
 * Each warpgroup begins the scores of the next tile of keys before it waits for the weights of the last one to be
 * multiplied by the values, and computes the new weights meanwhile; the warpgroups begin their products
 * by turns, so that one computes weights while another multiplies. Blocks stay, and take every so-manieth tile. */
#include "kernels/attention/attention_sm90.h"

namespace
{

struct forward_maps {
    mgk_tensor_map q, k, v;
};

template <int GROUPS> struct forward_registers;
template <> struct forward_registers<2> : mgk_register_shares<2, 24, 240> {
};
template <> struct forward_registers<3> : mgk_register_shares<3, 32, 160> {
};

/* D columns (head_dim or more), N keys a tile. */
template <int D_, int GROUPS_, int N_, int STAGES_> struct forward_shape {
    typedef forward_registers<GROUPS_> registers;
    enum {
        D = D_,
        GROUPS = GROUPS_,
        N = N_,
        STAGES = STAGES_,
        ROWS = GROUPS * MGK_WGMMA_ROWS,
        KEPT = 1, /* tiles: q */
        THREADS = (GROUPS + 1) * MGK_WARPGROUP,
        WORDS = (N + 31) / 32, /* of bits for keys */
        Q = 0,                 /* where in shared memory */
        KEYS = Q + ROWS * D * 2,
        KEY_BYTES = N * D * 2,
        VALUES = KEYS + STAGES * KEY_BYTES,
        BARRIERS = VALUES + STAGES * KEY_BYTES,
        Q_FULL = BARRIERS,
        Q_EMPTY = Q_FULL + MGK_BARRIER_BYTES,
        K_FULL = Q_EMPTY + MGK_BARRIER_BYTES,
        K_EMPTY = K_FULL + STAGES * MGK_BARRIER_BYTES,
        V_FULL = K_EMPTY + STAGES * MGK_BARRIER_BYTES,
        V_EMPTY = V_FULL + STAGES * MGK_BARRIER_BYTES,
        BITS = V_EMPTY + STAGES * MGK_BARRIER_BYTES,
        BYTES = BITS + STAGES * WORDS * 4 + MGK_PANEL_ALIGN
    };
};

template <typename S> struct forward_work : passing_keys<S> {
    using passing_keys<S>::passing_keys;

    __device__ __forceinline__ void copy(const forward_maps &maps) const
    {
        this->copy_all({&maps.q}, &maps.k, &maps.v);
    }
};

template <typename S> struct forward_group {
    const forward_work<S> &w;
    const mgk_place_in_group me;
    const float scale; /* for powers of two */
    float o[S::D / 2], s[S::N / 2], top[2], total[2], shrink[2];
    uint32_t weights[S::N / MGK_WGMMA_DEPTH][4];

    __device__ __forceinline__ forward_group(const forward_work<S> &work)
        : w(work), scale(work.p.a.scale * LOG2_E)
    {
    }

    __device__ __forceinline__ void begin_scores(uint32_t stage)
    {
        mgk_wgmma_hold(s);
        mgk_wgmma_fence();
        begin_dots<S::D, S::N>(s, w.begin + S::Q, S::ROWS, me.group * MGK_WGMMA_ROWS,
                               w.keys(stage));
        mgk_wgmma_commit();
    }

    __device__ __forceinline__ void begin_values(uint32_t stage)
    {
        mgk_wgmma_hold(o);
        mgk_wgmma_hold(weights);
        mgk_wgmma_fence();
        begin_sums<S::D, S::N>(o, weights, w.values(stage));
        mgk_wgmma_commit();
    }

    /* Scores to weights relative to the running maximum of their row, which four threads share. */
    __device__ __forceinline__ void soften()
    {
        float highest[2] = {top[0], top[1]}, base[2];
#pragma unroll
        for (int i = 0; i < S::N / 2; i++)
            highest[i / 2 % 2] = fmaxf(highest[i / 2 % 2], s[i]);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            highest[h] = fmaxf(highest[h], __shfl_xor_sync(0xffffffffu, highest[h], 1));
            highest[h] = fmaxf(highest[h], __shfl_xor_sync(0xffffffffu, highest[h], 2));
            base[h] = highest[h] == -INFINITY ? 0.0f : highest[h] * scale; /* no key yet */
            shrink[h] = mgk_power_of_two(top[h] * scale - base[h]);
            top[h] = highest[h];
            total[h] *= shrink[h];
        }
#pragma unroll
        for (int i = 0; i < S::N / 2; i++) {
            s[i] = mgk_power_of_two(fmaf(s[i], scale, -base[i / 2 % 2]));
            total[i / 2 % 2] += s[i];
        }
    }

    /* The scores of a stage are there. */
    __device__ __forceinline__ void take_scores(uint32_t stage, int64_t j)
    {
        mgk_wgmma_hold(s);
        if (w.p.a.mask.p || (j + 1) * S::N > w.p.a.sk)
            leave_out<S::N>(s, w.bits + stage * S::WORDS, me.thread);
        me.arrive(w.barrier(S::K_EMPTY, stage));
        soften();
    }

    __device__ __forceinline__ void take_values(uint32_t stage)
    {
        mgk_wgmma_wait<0>();
        mgk_wgmma_hold(o);
        me.arrive(w.barrier(S::V_EMPTY, stage));
    }

    /* All tiles of keys; q is there. */
    __device__ __forceinline__ void walk(mgk_stage *stage)
    {
        mgk_stage last = *stage; /* whose values are not added yet */
        top[0] = top[1] = -INFINITY;
        total[0] = total[1] = 0;
        mgk_barrier_wait(w.barrier(S::K_FULL, stage->index), stage->parity);
        me.wait_for_turn();
        begin_scores(stage->index);
        me.pass_turn(S::GROUPS);
        mgk_wgmma_wait<0>();
        take_scores(stage->index, 0);
        to_weights<S::N>(weights, s);
#pragma unroll
        for (int i = 0; i < S::D / 2; i++)
            o[i] = 0;
        mgk_stage_next(stage, S::STAGES);
        for (int64_t j = 1; j < w.key_tiles; j++) {
            mgk_barrier_wait(w.barrier(S::K_FULL, stage->index), stage->parity);
            me.wait_for_turn();
            begin_scores(stage->index);
            mgk_barrier_wait(w.barrier(S::V_FULL, last.index), last.parity);
            begin_values(last.index);
            me.pass_turn(S::GROUPS);
            mgk_wgmma_wait<1>();
            take_scores(stage->index, j);
            take_values(last.index);
            mgk_wgmma_hold(s);
#pragma unroll
            for (int i = 0; i < S::D / 2; i++)
                o[i] *= shrink[i / 2 % 2];
            to_weights<S::N>(weights, s);
            last = *stage;
            mgk_stage_next(stage, S::STAGES);
        }
        me.arrive(w.barrier(S::Q_EMPTY));
        mgk_barrier_wait(w.barrier(S::V_FULL, last.index), last.parity);
        begin_values(last.index);
        take_values(last.index);
    }

    __device__ __forceinline__ void finish(const mgk_tile_place &t)
    {
        const mgk_attention_args &a = w.p.a;
        const int64_t first = t.tile * S::ROWS + me.row();
        float factor[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            total[h] += __shfl_xor_sync(0xffffffffu, total[h], 1);
            total[h] += __shfl_xor_sync(0xffffffffu, total[h], 2);
            factor[h] = total[h] == 0 ? 0 : 1 / total[h];
            if (a.lse.p && me.lane % 4 == 0 && first + 8 * h < a.sq)
                MGK_F(a.lse)
            [(t.batch * a.heads + t.head) * a.sq + first + 8 * h] =
                (top[h] * scale + log2f(total[h])) * LN_2;
        }
        put_rows<S::D>((mgk_bf16 *)a.o.p + t.batch * a.o_batch + first * a.o_row +
                           t.head * a.head_dim,
                       a.o_row, a.sq - first, (int)a.head_dim, o, factor, me.lane);
    }

    __device__ __forceinline__ void run()
    {
        mgk_stage stage = {0, 0};
        uint32_t parity = 0;
        if (me.group == S::GROUPS - 1) /* the first one's turn */
            me.pass_turn(S::GROUPS);
        for (int64_t task = blockIdx.x; task < w.tasks(); task += gridDim.x, parity ^= 1) {
            mgk_barrier_wait(w.barrier(S::Q_FULL), parity);
            walk(&stage);
            finish(mgk_tile_place_of(task, w.tiles, w.p.a.heads));
        }
        if (me.group == 0) /* the turn that nobody needs */
            me.wait_for_turn();
    }
};

template <typename S>
MGK_KERNEL __launch_bounds__(S::THREADS, 1)
    forward_kernel(const __grid_constant__ forward_maps maps, const __grid_constant__ problem p)
{
#if MGK_HOPPER
    MGK_DYNAMIC_SHARED(unsigned char, memory);
    const forward_work<S> w(p, memory);
    mgk_copy_and_compute<S, forward_group<S>>(w, maps);
#endif
}

template <typename S> bool start(const problem &p, mgk_exec *x)
{
    forward_maps maps;
    if (!mgk_has_hopper_code(forward_kernel<S>) ||
        !map_queries(&maps.q, p.a, p.a.q, false, S::ROWS) || !map_keys(&maps.k, p, S::N) ||
        !map_values(&maps.v, p, S::N))
        return false;
    const int64_t tasks = mgk_tiles_of(p.a.sq, S::ROWS) * p.a.heads * p.a.batch;
    const int64_t blocks = mgk_multiprocessors();
    const int bytes = S::BYTES;
    MGK_ALLOW_SHARED(forward_kernel<S>, bytes);
    MGK_LAUNCH(x, forward_kernel<S>, (unsigned)(tasks < blocks ? tasks : blocks), S::THREADS, bytes,
               maps, p);
    return true;
}

bool start_tiles(const problem &p, mgk_exec *x)
{
    const bool wide = mgk_query_rows(p.a.sq) == 192;
    if (p.a.head_dim <= 64)
        return wide ? start<forward_shape<64, 3, 128, 3>>(p, x)
                    : start<forward_shape<64, 2, 128, 3>>(p, x);
    return wide ? start<forward_shape<128, 3, 80, 4>>(p, x)
                : start<forward_shape<128, 2, 128, 2>>(p, x);
}

} // namespace

extern "C" void mgk_attention_sm80(const void *args, mgk_exec *x);

MGK_LAUNCHER(attention, sm90)
{
    const problem p = problem_of((const mgk_attention_args *)args);
    if (!sm90_takes(p) || !in_pairs(p.a.o, p.a.o_row, p.a.o_batch) || !start_tiles(p, x))
        mgk_attention_sm80(args, x);
}
