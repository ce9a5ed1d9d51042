/* SPDX-License-Identifier: MIT
 * The engine whose ranks have a GPU each: NCCL, opened by dlopen on first use. Tier 3.
 *
 * Buffers are the GPU's memory. Calls go onto the context's stream, in order with its kernels; a wait ends
 * when the stream has done them. Sums are in NCCL's order, the same in every run on the same machines.
 *
 * Every handle stands on one of another engine, `host`, over which ranks meet and watch each other: its
 * failure breaks this one, and it says who is lost. The first calls of a handle are compared over it, too:
 * a training step makes the same calls again and again. What is split off is split there, too.
 */
#ifndef MGI_DIST_COMM_NCCL_H
#define MGI_DIST_COMM_NCCL_H

#include "dist/comm.h"

typedef struct mgi_nccl_options {
    const char *file; /* NULL: libnccl.so.2, wherever the system finds it */
    void *stream;
    /* Is all that was put onto the stream done? */
    bool (*done)(void *user);
    void *user;
} mgi_nccl_options;

/* Collective over `host`, which the handle owns if it is made. For the GPU of host's context. UNSUPPORTED:
 * no GPU, no NCCL, or one that is too old; DESYNC: ranks have different ones. timeout_ms as in comm.h. */
mgen_status mgi_comm_nccl_create(mgi_comm *host, int64_t timeout_ms, mgi_comm **out);

/* The same with the stream of something else than the context's GPU. */
mgen_status mgi_comm_nccl_create_with(mgi_comm *host, const mgi_nccl_options *options,
                                      int64_t timeout_ms, mgi_comm **out);

#endif
