/* SPDX-License-Identifier: MIT
 * Communicators: argument checks and counting, common to all engines; the engine of one rank. */
#include "dist/comm_engine.h"

#include "core/alloc.h"
#include "core/checked.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

const char *mgi_comm_op_name(mgi_comm_op op)
{
    static const char *const names[MGI_COMM_OPS] = {
        "all_reduce", "all_gather", "reduce_scatter", "broadcast", "all_to_all",
        "send",       "recv",       "barrier",        "split",
    };
    return op >= 0 && op < MGI_COMM_OPS ? names[op] : "unknown";
}

const char *mgi_comm_describe(const mgi_comm_call *call, char *buffer, size_t size)
{
    const char *name = mgi_comm_op_name(call->op);
    if (call->op == MGI_COMM_BARRIER || call->op == MGI_COMM_SPLIT)
        snprintf(buffer, size, "%s", name);
    else if (call->peer >= 0)
        snprintf(buffer, size, "%s(count %lld, %zu-byte elements, %s %d)", name,
                 (long long)call->count, call->element_bytes,
                 call->op == MGI_COMM_BROADCAST ? "root" : "peer", call->peer);
    else
        snprintf(buffer, size, "%s(count %lld, %zu-byte elements)", name, (long long)call->count,
                 call->element_bytes);
    return buffer;
}

void mgi_comm_deadline(int64_t timeout_ms, struct timespec *end)
{
    clock_gettime(CLOCK_MONOTONIC, end);
    /* A time_t of 32 bits, and a limit of centuries, must not wrap. */
    int64_t seconds = timeout_ms / 1000;
    end->tv_sec += (time_t)(seconds < 1000000000 ? seconds : 1000000000);
    end->tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (end->tv_nsec >= 1000000000) {
        end->tv_nsec -= 1000000000;
        end->tv_sec++;
    }
}

bool mgi_comm_calls_agree(const mgi_comm_call *a, const mgi_comm_call *b)
{
    return a->op == b->op &&
           (a->op == MGI_COMM_SPLIT ||
            (a->count == b->count && a->peer == b->peer && a->element_bytes == b->element_bytes));
}

mgen_status mgi_comm_alloc(mgen_context *ctx, const mgi_comm_engine *engine, int rank, int size,
                           mgi_comm **out)
{
    mgi_comm *comm;
    *out = NULL;
    if (size < 1 || size > MGI_COMM_RANKS_MAX || rank < 0 || rank >= size)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "communicator: rank %d of %d; sizes are 1 to %d, ranks 0 to size - 1", rank,
                        size, MGI_COMM_RANKS_MAX);
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof(*comm), &comm));
    comm->engine = engine;
    comm->ctx = ctx;
    comm->rank = rank;
    comm->size = size;
    *out = comm;
    return MGEN_OK;
}

void mgi_comm_destroy(mgi_comm *comm)
{
    if (!comm)
        return;
    comm->engine->leave(comm);
    mgi_free(comm->ctx, comm);
}

void mgi_comm_abort(mgi_comm *comm)
{
    comm->engine->interrupt(comm);
}

int mgi_comm_rank(const mgi_comm *comm)
{
    return comm->rank;
}

int mgi_comm_size(const mgi_comm *comm)
{
    return comm->size;
}

mgi_comm_count mgi_comm_counted(const mgi_comm *comm, mgi_comm_op op)
{
    return comm->counted[op];
}

/* ---- argument checks ---- */

/* Elements of the two buffers of a call, in units of `count`. */
static void buffer_blocks(mgi_comm_op op, int size, int *send, int *recv)
{
    *send = op == MGI_COMM_REDUCE_SCATTER || op == MGI_COMM_ALL_TO_ALL ? size : 1;
    *recv = op == MGI_COMM_ALL_GATHER || op == MGI_COMM_ALL_TO_ALL ? size : 1;
}

/* Buffers may meet only as the call's in-place form says. */
static bool overlap_allowed(const mgi_comm *comm, const mgi_comm_call *call, size_t block)
{
    uintptr_t s = (uintptr_t)call->send, r = (uintptr_t)call->recv;
    int send_blocks, recv_blocks;
    buffer_blocks(call->op, comm->size, &send_blocks, &recv_blocks);
    if (!s || !r || s + block * (size_t)send_blocks <= r || r + block * (size_t)recv_blocks <= s)
        return true;
    switch (call->op) {
    case MGI_COMM_ALL_REDUCE:
    case MGI_COMM_BROADCAST:
        return s == r;
    case MGI_COMM_ALL_GATHER:
        return s == r + block * (size_t)comm->rank;
    case MGI_COMM_REDUCE_SCATTER:
        return r == s + block * (size_t)comm->rank;
    default:
        return false;
    }
}

static mgen_status run(mgi_comm *comm, const mgi_comm_call *call)
{
    const char *name = mgi_comm_op_name(call->op);
    bool sends = call->op != MGI_COMM_RECV && call->op != MGI_COMM_BARRIER;
    bool receives = call->op != MGI_COMM_SEND && call->op != MGI_COMM_BARRIER;
    int64_t bytes;
    if (call->count < 0)
        return mgi_fail(comm->ctx, MGEN_E_INVALID, "%s: count %lld is negative", name,
                        (long long)call->count);
    if (call->element_bytes == 0 || call->element_bytes > 4096)
        return mgi_fail(comm->ctx, MGEN_E_INVALID, "%s: elements of %zu bytes; 1 to 4096 are legal",
                        name, call->element_bytes);
    /* The ring formulas need twice a buffer of `size` blocks. */
    if (!mgi_i64_mul(call->count, (int64_t)call->element_bytes, &bytes) ||
        !mgi_i64_mul(bytes, 2 * (int64_t)comm->size, &bytes))
        return mgi_fail(comm->ctx, MGEN_E_INVALID,
                        "%s: %lld elements of %zu bytes for %d ranks are too many", name,
                        (long long)call->count, call->element_bytes, comm->size);
    if (comm->engine->moves_data && call->count > 0) {
        if ((sends && !call->send) || (receives && !call->recv))
            return mgi_fail(comm->ctx, MGEN_E_INVALID, "%s: the buffer is NULL", name);
        if (!overlap_allowed(comm, call, (size_t)call->count * call->element_bytes))
            return mgi_fail(comm->ctx, MGEN_E_INVALID,
                            "%s: the buffers overlap, and not as its in-place form does", name);
    }
    MGI_TRY(comm->engine->run(comm, call));
    mgi_comm_count *c = &comm->counted[call->op];
    int64_t payload = mgi_comm_call_payload(call, comm->size);
    c->calls++;
    c->payload += payload;
    c->sent += mgi_comm_call_sent(call, comm->rank, comm->size);
    return MGEN_OK;
}

static mgen_status check_peer(mgi_comm *comm, mgi_comm_op op, int peer, bool may_be_self)
{
    if (peer < 0 || peer >= comm->size || (peer == comm->rank && !may_be_self))
        return mgi_fail(comm->ctx, MGEN_E_INVALID, "%s: rank %d is not %s of %d rank(s)",
                        mgi_comm_op_name(op), peer, may_be_self ? "one" : "another", comm->size);
    return MGEN_OK;
}

/* ---- the calls ---- */

mgen_status mgi_comm_all_reduce(mgi_comm *comm, const float *send, float *recv, int64_t count)
{
    return run(comm, &(mgi_comm_call){MGI_COMM_ALL_REDUCE, -1, count, sizeof(float), send, recv});
}

mgen_status mgi_comm_all_gather(mgi_comm *comm, const void *send, void *recv, int64_t count,
                                size_t element_bytes)
{
    return run(comm, &(mgi_comm_call){MGI_COMM_ALL_GATHER, -1, count, element_bytes, send, recv});
}

mgen_status mgi_comm_reduce_scatter(mgi_comm *comm, const float *send, float *recv, int64_t count)
{
    return run(comm,
               &(mgi_comm_call){MGI_COMM_REDUCE_SCATTER, -1, count, sizeof(float), send, recv});
}

mgen_status mgi_comm_broadcast(mgi_comm *comm, void *data, int64_t count, size_t element_bytes,
                               int root)
{
    MGI_TRY(check_peer(comm, MGI_COMM_BROADCAST, root, true));
    return run(comm, &(mgi_comm_call){MGI_COMM_BROADCAST, root, count, element_bytes, data, data});
}

mgen_status mgi_comm_all_to_all(mgi_comm *comm, const void *send, void *recv, int64_t count,
                                size_t element_bytes)
{
    return run(comm, &(mgi_comm_call){MGI_COMM_ALL_TO_ALL, -1, count, element_bytes, send, recv});
}

mgen_status mgi_comm_send(mgi_comm *comm, const void *data, int64_t count, size_t element_bytes,
                          int peer)
{
    MGI_TRY(check_peer(comm, MGI_COMM_SEND, peer, false));
    return run(comm, &(mgi_comm_call){MGI_COMM_SEND, peer, count, element_bytes, data, NULL});
}

mgen_status mgi_comm_recv(mgi_comm *comm, void *data, int64_t count, size_t element_bytes, int peer)
{
    MGI_TRY(check_peer(comm, MGI_COMM_RECV, peer, false));
    return run(comm, &(mgi_comm_call){MGI_COMM_RECV, peer, count, element_bytes, NULL, data});
}

mgen_status mgi_comm_barrier(mgi_comm *comm)
{
    return run(comm, &(mgi_comm_call){MGI_COMM_BARRIER, -1, 0, 1, NULL, NULL});
}

mgen_status mgi_comm_split(mgi_comm *comm, int color, int key, mgi_comm **out)
{
    *out = NULL;
    MGI_TRY(comm->engine->split(comm, color, key, out));
    comm->counted[MGI_COMM_SPLIT].calls++;
    return MGEN_OK;
}

mgen_status mgi_comm_split_by(mgi_comm *comm, mgi_comm_place_fn *place, void *user, mgi_comm **out)
{
    *out = NULL;
    if (comm->engine->split_by) {
        MGI_TRY(comm->engine->split_by(comm, place, user, out));
        comm->counted[MGI_COMM_SPLIT].calls++;
        return MGEN_OK;
    }
    int color = -1, key = 0;
    place(user, comm->rank, &color, &key);
    return mgi_comm_split(comm, color, key, out);
}

/* ---- engines without a group ---- */

mgen_status mgi_comm_check_aborted(mgi_comm *comm)
{
    if (atomic_load(&comm->aborted))
        return mgi_fail(comm->ctx, MGEN_E_PEER_LOST, "the communicator was aborted");
    return MGEN_OK;
}

void mgi_comm_set_aborted(mgi_comm *comm)
{
    atomic_store(&comm->aborted, true);
}

void mgi_comm_leave_nothing(mgi_comm *comm)
{
    (void)comm;
}

static mgen_status single_run(mgi_comm *comm, const mgi_comm_call *call)
{
    MGI_TRY(mgi_comm_check_aborted(comm));
    if (call->count > 0 && call->recv != call->send)
        memcpy(call->recv, call->send, (size_t)call->count * call->element_bytes);
    return MGEN_OK;
}

static mgen_status single_split(mgi_comm *comm, int color, int key, mgi_comm **out)
{
    (void)key;
    MGI_TRY(mgi_comm_check_aborted(comm));
    return color < 0 ? MGEN_OK : mgi_comm_single_create(comm->ctx, out);
}

static const mgi_comm_engine single_engine = {
    .moves_data = true,
    .run = single_run,
    .split = single_split,
    .interrupt = mgi_comm_set_aborted,
    .leave = mgi_comm_leave_nothing,
};

mgen_status mgi_comm_single_create(mgen_context *ctx, mgi_comm **out)
{
    return mgi_comm_alloc(ctx, &single_engine, 0, 1, out);
}
