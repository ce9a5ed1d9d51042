/* SPDX-License-Identifier: MIT
 * What an engine of communicators provides, and the handle that all engines share. Tier 3.
 *
 * comm.c checks the arguments and fills a work, the record of a call; the engine starts it and
 * waits for its end.
 */
#ifndef MGI_DIST_COMM_ENGINE_H
#define MGI_DIST_COMM_ENGINE_H

#include "dist/comm.h"
#include "tensor/tensor.h"

#include <time.h>

/* Already checked: count >= 0, and every buffer's bytes fit in an int64_t. */
typedef struct mgi_comm_call {
    mgi_comm_op op;
    int32_t dtype;
    int peer; /* root of a broadcast, other end of send and recv; else -1 */
    int64_t count;
    const void *send;
    void *recv;
    const char *what; /* mgi_comm_note; NULL: nothing */
    int64_t index;
} mgi_comm_call;

struct mgi_comm_work {
    mgi_comm *comm; /* NULL: free */
    mgi_comm_call call;
    uint64_t round; /* the engine's own */
};

typedef struct mgi_comm_engine {
    bool moves_data; /* false: pointers may be NULL */
    bool on_gpu;     /* buffers are a GPU's memory */
    mgen_status (*start)(mgi_comm *comm, mgi_comm_work *work);
    mgen_status (*wait)(mgi_comm *comm, mgi_comm_work *work); /* also after a failure */
    mgen_status (*check)(mgi_comm *comm);
    mgen_status (*split)(mgi_comm *comm, int color, int key, mgi_comm **out);
    /* NULL: as split, with this rank's place */
    mgen_status (*split_by)(mgi_comm *comm, mgi_comm_place_fn *place, void *user, mgi_comm **out);
    mgi_comm *(*host)(mgi_comm *comm); /* NULL: itself */
    void (*interrupt)(mgi_comm *comm);
    void (*give_up)(mgi_comm *comm, const char *why); /* NULL: as interrupt */
    void (*leave)(mgi_comm *comm); /* before the handle is freed; no work is under way */
} mgi_comm_engine;

struct mgi_comm {
    const mgi_comm_engine *engine;
    mgen_context *ctx;
    int rank, size;
    mgi_comm_group *group; /* threads */
    void *state;           /* of other engines */
    _Atomic bool aborted;  /* the engines without a group */
    const char *what;      /* of the next call */
    int64_t index;
    mgi_comm_count counted[MGI_COMM_OPS];
    mgi_comm_work works[MGI_COMM_PENDING];
};

/* A handle without a group yet. */
mgen_status mgi_comm_alloc(mgen_context *ctx, const mgi_comm_engine *engine, int rank, int size,
                           mgi_comm **out);

/* Bytes of `count` elements. */
static inline size_t mgi_comm_bytes(const mgi_comm_call *call)
{
    return (size_t)call->count * mgi_dtype_size(call->dtype);
}

/* Bytes of the larger of the two buffers of a call. */
int64_t mgi_comm_call_payload(const mgi_comm_call *call, int size);
/* Bytes that rank `rank` of `size` sends for a call. */
int64_t mgi_comm_call_sent(const mgi_comm_call *call, int rank, int size);

/* The call in words, for messages; returns buffer. members: world ranks of the group's, or NULL. */
const char *mgi_comm_describe(const mgi_comm_call *call, const int *members, char *buffer,
                              size_t size);

/* What another process says is its status: a failure by its number, PEER_LOST for any other number. */
mgen_status mgi_comm_failure(int32_t status);

/* May these be one collective? Colours and keys of a split may differ. */
bool mgi_comm_calls_agree(const mgi_comm_call *a, const mgi_comm_call *b);
/* May these be the two ends of one transfer? */
bool mgi_comm_ends_agree(const mgi_comm_call *a, const mgi_comm_call *b);

/* y[i] (+)= x[i], y f32 and x of the dtype; and y in the dtype, rounded. */
void mgi_comm_add(float *y, const void *x, int32_t dtype, int64_t first, int64_t count, bool add);
void mgi_comm_round(void *y, int32_t dtype, int64_t first, const float *x, int64_t count);

/* The moment timeout_ms from now, on the monotonic clock. */
void mgi_comm_deadline(int64_t timeout_ms, struct timespec *end);

/* For the engines without a group. */
mgen_status mgi_comm_check_aborted(mgi_comm *comm);
void mgi_comm_set_aborted(mgi_comm *comm);
void mgi_comm_leave_nothing(mgi_comm *comm);
mgen_status mgi_comm_wait_nothing(mgi_comm *comm, mgi_comm_work *work);

#endif
