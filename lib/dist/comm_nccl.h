/* SPDX-License-Identifier: MIT
 * The engine whose ranks have a GPU each: NCCL, opened by dlopen on first use. Tier 3.
 *
 * Buffers are the GPU's memory. Each handle has a stream: a call begins there when the GPU has computed what the context
 * launched before it, and what is launched after its wait begins when the call is done. The host waits for neither, and a
 * failure is told by a later call of any handle, or of the context when it waits for the GPU, which it does not longer
 * than timeout_ms without a call that ends. Then NCCL is aborted, which ends what is under way. Sums are in NCCL's order,
 * the same in every run on the same machines.
 *
 * Every handle stands on one of another engine, `host`, over which ranks meet and watch each other: its
 * failure breaks this one, and it says who is lost. The first calls of a handle are compared over it, too: a
 * training step makes the same calls again and again. What is split off is split there, too.
 *
 * Calls of several handles run at once on a GPU and must not wait for each other in a circle. So ranks make the calls
 * of all handles that they share in one order: then no call waits for one that is made later, be it on the host.
 * While calls are compared, ranks meet in that order on the host, and another one is refused there (DESYNC, TIMEOUT).
 * And the blocks of a communicator are limited so that those of a mesh all fit on a GPU beside each other: then none
 * that has begun keeps another from beginning. Sends and recvs begin when one of them is waited for, all that were made
 * before together, so that it does not matter which comes first.
 */
#ifndef MGI_DIST_COMM_NCCL_H
#define MGI_DIST_COMM_NCCL_H

#include "dist/comm.h"
#include "tensor/device_cuda.h"

/* The GPU as NCCL meets it; a context's own, or what a test plays. As mgi_cuda_side_* (tensor/device_cuda.h). */
typedef struct mgi_nccl_options {
    const char *file; /* NULL: libnccl.so.2, wherever the system finds it */
    int blocks;       /* of a communicator, at most; 0: as NCCL likes */
    mgen_status (*make)(void *gpu, void **side);
    void (*drop)(void *side);
    void *(*stream)(void *side);
    mgen_status (*begin)(void *side);
    void (*mark)(void *side, uint64_t n);
    void (*join)(void *side, uint64_t n);
    bool (*passed)(void *side, uint64_t n);
    void (*watch)(void *gpu, mgi_cuda_watch *watch, bool on);
    void *gpu;
} mgi_nccl_options;

/* Collective over `host`, which the handle owns if it is made. For the GPU of host's context. UNSUPPORTED:
 * no GPU, no NCCL, or one that is too old; DESYNC: ranks have different ones. timeout_ms as in comm.h. */
mgen_status mgi_comm_nccl_create(mgi_comm *host, int64_t timeout_ms, mgi_comm **out);

/* A context's GPU. */
mgi_nccl_options mgi_nccl_gpu(mgi_cuda *cuda);

/* The same with another NCCL or GPU. */
mgen_status mgi_comm_nccl_create_with(mgi_comm *host, const mgi_nccl_options *options,
                                      int64_t timeout_ms, mgi_comm **out);

#endif
