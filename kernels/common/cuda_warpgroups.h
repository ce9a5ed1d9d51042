/* SPDX-License-Identifier: MIT
 * Kernels for sm_90a whose blocks have one warpgroup that copies tiles to shared memory and two or three that compute.
 * Barriers say which tiles are there (full) and which may be overwritten (empty). */
#ifndef MGK_COMMON_CUDA_WARPGROUPS_H
#define MGK_COMMON_CUDA_WARPGROUPS_H

#include "kernels/common/cuda_hopper.h"

enum {
    MGK_COPYING_WARPS = MGK_WARPGROUP / MGK_WARP, /* the first of them copies */
    MGK_BARRIER_BYTES = 8
};

/* Registers of the threads that copy and of those that compute, in so many warpgroups: together no more than a block has
 * when it begins, the same for all its threads and a multiple of 8. What is more than that never comes: a warpgroup
 * that asks for it waits for ever. */
template <int GROUPS_, int COPYING_, int COMPUTING_> struct mgk_register_shares {
    enum {
        GROUPS = GROUPS_,
        COPYING = COPYING_,
        COMPUTING = COMPUTING_,
        AT_FIRST = 65536 / (MGK_WARPGROUP * (GROUPS + 1)) / 8 * 8
    };
    static_assert(COPYING + GROUPS * COMPUTING <= (GROUPS + 1) * AT_FIRST, "too many registers");
    static_assert(COPYING % 8 == 0 && COMPUTING % 8 == 0 && COPYING >= 24 && COMPUTING <= 256,
                  "not what setmaxnreg takes");
};

/* A block's shared memory from the first multiple of 1024 on; what lies where is said in bytes from there. */
struct mgk_block_memory {
    unsigned char *bytes;
    uint32_t begin;

    __device__ __forceinline__ mgk_block_memory(unsigned char *memory)
    {
        const uint32_t address = mgk_shared_address(memory);
        begin = (address + MGK_PANEL_ALIGN - 1) / MGK_PANEL_ALIGN * MGK_PANEL_ALIGN;
        bytes = memory + (begin - address);
    }

    __device__ __forceinline__ uint32_t barrier(int where, uint32_t stage = 0) const
    {
        return begin + where + stage * MGK_BARRIER_BYTES;
    }

    /* By one thread, a row of barriers. */
    __device__ __forceinline__ void make_barriers(int where, int stages, uint32_t count) const
    {
        for (int i = 0; i < stages; i++)
            mgk_barrier_init(barrier(where, i), count);
    }
};

/* A thread of a warpgroup that computes. */
struct mgk_place_in_group {
    int group, thread, lane; /* of those that compute; in its warpgroup; in its warp */

    __device__ __forceinline__ mgk_place_in_group()
        : group((int)threadIdx.x / MGK_WARPGROUP - 1), thread((int)threadIdx.x % MGK_WARPGROUP),
          lane((int)threadIdx.x % MGK_WARP)
    {
    }

    /* Its first row of the block's tile; the other one is 8 further on. */
    __device__ __forceinline__ int row() const
    {
        return group * MGK_WGMMA_ROWS + mgk_sum_row(thread, 0);
    }

    /* Warpgroups that begin products one after the other, over and over: the last one passes the first turn, and the
     * first one waits for that which nobody needs. */
    __device__ __forceinline__ void wait_for_turn() const
    {
        mgk_named_sync(1 + group, 2 * MGK_WARPGROUP);
    }

    __device__ __forceinline__ void pass_turn(int groups) const
    {
        mgk_named_arrive(1 + (group + 1) % groups, 2 * MGK_WARPGROUP);
    }

    /* Addresses that depend on the place are computed anew from here on: the compiler would keep those of a tile's end
     * in registers that its products need. */
    __device__ __forceinline__ void forget()
    {
#ifndef MGK_CUDA_EMULATED
        asm volatile("" : "+r"(thread), "+r"(lane));
#endif
    }

    /* One arrival for each warp, whose threads have read what they need. */
    __device__ __forceinline__ void arrive(uint32_t barrier) const
    {
        __syncwarp();
        if (lane == 0)
            mgk_barrier_arrive(barrier);
    }
};

/* The body of such a kernel of shape S. `work` has make_all_barriers(), by one thread, and copy(maps), by one warp; the
 * warpgroups that compute do so by the run() of a Group. BLOCKS of a cluster begin and end together. */
template <typename S, typename Group, int BLOCKS = 1, typename Work, typename Maps>
MGK_DEVICE void mgk_copy_and_compute(const Work &work, const Maps &maps)
{
    typedef typename S::registers shares;
    const int warp = (int)threadIdx.x / MGK_WARP;
    if (threadIdx.x == 0) {
        work.make_all_barriers();
        mgk_barrier_fence();
    }
    if (BLOCKS > 1)
        mgk_cluster_sync();
    else
        __syncthreads();
    if (warp < MGK_COPYING_WARPS) {
        mgk_registers_fewer<shares::COPYING>();
        if (warp == 0)
            work.copy(maps);
    } else {
        mgk_registers_more<shares::COMPUTING>();
        Group group(work);
        group.run();
    }
    if (BLOCKS > 1)
        mgk_cluster_sync();
}

#endif
