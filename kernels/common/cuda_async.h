/* SPDX-License-Identifier: MIT
 * Copies from device to shared memory that go on while a thread computes (cp.async, from sm_80 on). Emulated, they are
 * done at once. */
#ifndef MGK_COMMON_CUDA_ASYNC_H
#define MGK_COMMON_CUDA_ASYNC_H

#include "kernels/common/cuda.h"

/* 16 bytes to shared memory, both aligned: those at `from`, or zeros. Others of the block may read them after
 * mgk_async_wait by this thread and a barrier. */
MGK_DEVICE void mgk_async_copy16(void *to, const void *from, bool there)
{
#ifdef MGK_CUDA_EMULATED
    if (there)
        memcpy(to, from, 16);
    else
        memset(to, 0, 16);
#else
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     (uint32_t)__cvta_generic_to_shared(to)),
                 "l"(from), "r"(there ? 16 : 0)
                 : "memory");
#endif
}

/* Ends a group of copies; there may be none in it. */
MGK_DEVICE void mgk_async_commit(void)
{
#ifndef MGK_CUDA_EMULATED
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* Waits until all groups of this thread's copies but the last MOST are done. */
template <int MOST> MGK_DEVICE void mgk_async_wait(void)
{
#ifndef MGK_CUDA_EMULATED
    asm volatile("cp.async.wait_group %0;" ::"n"(MOST) : "memory");
#endif
}

#endif
