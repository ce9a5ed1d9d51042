/* SPDX-License-Identifier: MIT
 * What an engine of communicators provides, and the handle that all engines share. Tier 3.
 *
 * comm.c checks the arguments and fills a record of the call; the engine carries it out. The record
 * holds all that a call needs: an engine with asynchronous calls will keep it in a handle until it
 * is waited for.
 */
#ifndef MGI_DIST_COMM_ENGINE_H
#define MGI_DIST_COMM_ENGINE_H

#include "dist/comm.h"

#include <time.h>

#define MGI_COMM_RANKS_MAX 65536

/* Already checked: count >= 0, and every buffer's bytes fit in an int64_t. */
typedef struct mgi_comm_call {
    mgi_comm_op op;
    int peer; /* root of a broadcast, other end of send and recv; else -1 */
    int64_t count;
    size_t element_bytes;
    const void *send;
    void *recv;
} mgi_comm_call;

typedef struct mgi_comm_engine {
    bool moves_data; /* false: pointers may be NULL */
    mgen_status (*run)(mgi_comm *comm, const mgi_comm_call *call);
    mgen_status (*split)(mgi_comm *comm, int color, int key, mgi_comm **out);
    /* NULL: as split, with this rank's place */
    mgen_status (*split_by)(mgi_comm *comm, mgi_comm_place_fn *place, void *user, mgi_comm **out);
    void (*interrupt)(mgi_comm *comm);
    void (*leave)(mgi_comm *comm); /* before the handle is freed */
} mgi_comm_engine;

struct mgi_comm {
    const mgi_comm_engine *engine;
    mgen_context *ctx;
    int rank, size;
    mgi_comm_group *group; /* threads */
    _Atomic bool aborted;  /* the engines without a group */
    mgi_comm_count counted[MGI_COMM_OPS];
};

/* A handle without a group yet. */
mgen_status mgi_comm_alloc(mgen_context *ctx, const mgi_comm_engine *engine, int rank, int size,
                           mgi_comm **out);

/* Bytes of the larger of the two buffers of a call. */
int64_t mgi_comm_call_payload(const mgi_comm_call *call, int size);
/* Bytes that rank `rank` of `size` sends for a call. */
int64_t mgi_comm_call_sent(const mgi_comm_call *call, int rank, int size);

/* The call in words, for messages; returns buffer. */
const char *mgi_comm_describe(const mgi_comm_call *call, char *buffer, size_t size);

/* May these be one collective? Colours and keys of a split may differ. */
bool mgi_comm_calls_agree(const mgi_comm_call *a, const mgi_comm_call *b);
/* The moment timeout_ms from now, on the monotonic clock. */
void mgi_comm_deadline(int64_t timeout_ms, struct timespec *end);

/* For the engines without a group. */
mgen_status mgi_comm_check_aborted(mgi_comm *comm);
void mgi_comm_set_aborted(mgi_comm *comm);
void mgi_comm_leave_nothing(mgi_comm *comm);

#endif
