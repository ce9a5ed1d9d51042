/* SPDX-License-Identifier: MIT
 * What kernels/common/cuda_hopper.h does, played by the host, for tests only.
 *
 * Shared memory is read and written at the byte that the instructions' descriptors, tensor maps and swizzles say, so a
 * wrong one gives wrong results. What goes on beside the threads is done now at the earliest moment at which the GPU
 * could do it, now at the latest (and copies in another order), from launch to launch: products when they are
 * committed or when they are waited for, copies when they are started or when all threads wait. What is used
 * before it is there, or overwritten before it has been used, then gives wrong results. Threads that wait for ever,
 * barriers that are used before they are made or that too many arrive at, and warps of a warpgroup that multiply
 * different things end the program with a message, as does what reaches into a block of the cluster that has ended. */
#ifndef MGK_HOPPER_EMULATED_H
#define MGK_HOPPER_EMULATED_H

#include "kernels/common/hopper.h"
#include "kernels/emulated/cuda_emulated.h"

struct mgk_emulated_map {
    const uint8_t *base;
    mgk_tensor_layout layout;
};

/* Shared memory begins at some address that is a multiple of 64 only. An address in the calling thread's block; what
 * block `rank` of the cluster has at it. */
uint32_t mgk_emulated_shared_address(const void *p);
uint32_t mgk_emulated_address_of(uint32_t address, uint32_t rank);
/* All threads of the cluster. */
void mgk_emulated_cluster_sync(void);

void mgk_emulated_barrier_init(uint32_t barrier, uint32_t count);
void mgk_emulated_barrier_arrive(uint32_t barrier, uint32_t bytes);
void mgk_emulated_barrier_wait(uint32_t barrier, uint32_t parity);
/* To the same place in each block of the cluster whose bit is set in `blocks`, each with a barrier of its own; 0: to the
 * thread's own block. */
void mgk_emulated_tma_load(uint32_t to, const mgk_emulated_map *map, uint32_t barrier,
                           const int32_t *at, uint32_t blocks);

void mgk_emulated_named_barrier(int id, int threads, bool wait);

void mgk_emulated_wgmma_fence(void);
/* left NULL: `a` is the left factor's descriptor. The arrays are the calling thread's and stay where they are. */
void mgk_emulated_wgmma(float *sums, int n, uint64_t a, bool a_by_rows, const uint32_t *left,
                        uint64_t b, bool b_by_rows, bool add);
/* Of 8-bit floats (E4M3) by rows, with the bits that a tensor core keeps. */
void mgk_emulated_wgmma_codes(float *sums, int n, uint64_t a, uint64_t b, bool add);
void mgk_emulated_wgmma_commit(void);
void mgk_emulated_wgmma_wait(int most);

#endif
