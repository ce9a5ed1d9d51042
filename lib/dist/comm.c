/* SPDX-License-Identifier: MIT
 * Communicators: argument checks and counting, common to all engines; the engine of one rank. */
#include "dist/comm_engine.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "kernels/common/bf16.h"
#include "kernels/mgk.h"
#include "tensor/device.h"

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

static const char *const dtype_names[] = {"f32", "bf16", "i32", "u8", "u64"};
_Static_assert(MGK_U64 == 4, "names and sizes are listed in this order");

const char *mgi_comm_describe(const mgi_comm_call *call, const int *members, char *buffer,
                              size_t size)
{
    char note[64] = "", peer[32] = "";
    if (call->what)
        snprintf(note, sizeof(note), " for %s %lld", call->what, (long long)call->index);
    if (call->peer >= 0)
        snprintf(peer, sizeof(peer), ", %s %d", call->op == MGI_COMM_BROADCAST ? "root" : "peer",
                 members ? members[call->peer] : call->peer);
    if (call->op == MGI_COMM_BARRIER || call->op == MGI_COMM_SPLIT)
        snprintf(buffer, size, "%s%s", mgi_comm_op_name(call->op), note);
    else
        snprintf(buffer, size, "%s(%lld x %s%s)%s", mgi_comm_op_name(call->op),
                 (long long)call->count, dtype_names[call->dtype], peer, note);
    return buffer;
}

mgen_status mgi_comm_failure(int32_t status)
{
    static const int32_t none = 1; /* no status has this number */
    bool known = status != MGEN_OK && mgen_status_name(status) != mgen_status_name(none);
    return known ? status : MGEN_E_PEER_LOST;
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

static bool notes_agree(const mgi_comm_call *a, const mgi_comm_call *b)
{
    return a->index == b->index && strcmp(a->what ? a->what : "", b->what ? b->what : "") == 0;
}

bool mgi_comm_calls_agree(const mgi_comm_call *a, const mgi_comm_call *b)
{
    return a->op == b->op && notes_agree(a, b) &&
           (a->op == MGI_COMM_SPLIT ||
            (a->count == b->count && a->peer == b->peer && a->dtype == b->dtype));
}

bool mgi_comm_ends_agree(const mgi_comm_call *a, const mgi_comm_call *b)
{
    return a->op != b->op && a->count == b->count && a->dtype == b->dtype && notes_agree(a, b);
}

void mgi_comm_add(float *y, const void *x, int32_t dtype, int64_t first, int64_t count, bool add)
{
    const float *f = (const float *)x + first;
    const uint16_t *h = (const uint16_t *)x + first;
    for (int64_t i = 0; i < count; i++) {
        float value = dtype == MGK_BF16 ? mgk_from_bf16(h[i]) : f[i];
        y[i] = add ? y[i] + value : value;
    }
}

void mgi_comm_round(void *y, int32_t dtype, int64_t first, const float *x, int64_t count)
{
    if (dtype == MGK_F32)
        memcpy((float *)y + first, x, (size_t)count * sizeof(float));
    for (int64_t i = 0; dtype == MGK_BF16 && i < count; i++)
        ((uint16_t *)y)[first + i] = mgk_to_bf16(x[i]);
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
    for (int i = 0; i < MGI_COMM_PENDING; i++)
        if (comm->works[i].comm) {
            comm->engine->interrupt(comm);
            (void)comm->engine->wait(comm, &comm->works[i]);
        }
    comm->engine->leave(comm);
    mgi_free(comm->ctx, comm);
}

void mgi_comm_abort(mgi_comm *comm)
{
    comm->engine->interrupt(comm);
}

void mgi_comm_give_up(mgi_comm *comm, const char *why)
{
    if (comm->engine->give_up)
        comm->engine->give_up(comm, why);
    else
        comm->engine->interrupt(comm);
}

mgen_status mgi_comm_check(mgi_comm *comm)
{
    return comm->engine->check(comm);
}

int mgi_comm_rank(const mgi_comm *comm)
{
    return comm->rank;
}

int mgi_comm_size(const mgi_comm *comm)
{
    return comm->size;
}

bool mgi_comm_on_gpu(const mgi_comm *comm)
{
    return comm->engine->on_gpu;
}

mgi_comm *mgi_comm_host(mgi_comm *comm)
{
    return comm->engine->host ? comm->engine->host(comm) : comm;
}

mgen_context *mgi_comm_context(const mgi_comm *comm)
{
    return comm->ctx;
}

void mgi_comm_note(mgi_comm *comm, const char *what, int64_t index)
{
    comm->what = what;
    comm->index = index;
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

static bool reduces(mgi_comm_op op)
{
    return op == MGI_COMM_ALL_REDUCE || op == MGI_COMM_REDUCE_SCATTER;
}

static mgen_status check_call(mgi_comm *comm, const mgi_comm_call *call)
{
    const char *name = mgi_comm_op_name(call->op);
    bool sends = call->op != MGI_COMM_RECV && call->op != MGI_COMM_BARRIER;
    bool receives = call->op != MGI_COMM_SEND && call->op != MGI_COMM_BARRIER;
    int64_t bytes;
    if (call->count < 0)
        return mgi_fail(comm->ctx, MGEN_E_INVALID, "%s: count %lld is negative", name,
                        (long long)call->count);
    if (call->dtype < 0 || call->dtype > (reduces(call->op) ? MGK_BF16 : MGK_U64))
        return mgi_fail(comm->ctx, MGEN_E_INVALID, "%s: dtype %d is not one of %s", name,
                        call->dtype,
                        reduces(call->op) ? "f32 and bf16" : "f32, bf16, i32, u8 and u64");
    /* The ring formulas need twice a buffer of `size` blocks, of up to 8 bytes an element. */
    if (!mgi_i64_mul(call->count, 16 * (int64_t)comm->size, &bytes))
        return mgi_fail(comm->ctx, MGEN_E_INVALID,
                        "%s: %lld elements of %s for %d ranks are too many", name,
                        (long long)call->count, dtype_names[call->dtype], comm->size);
    if (!comm->engine->moves_data || call->count == 0)
        return MGEN_OK;
    if ((sends && !call->send) || (receives && !call->recv))
        return mgi_fail(comm->ctx, MGEN_E_INVALID, "%s: the buffer is NULL", name);
    if (!overlap_allowed(comm, call, mgi_comm_bytes(call)))
        return mgi_fail(comm->ctx, MGEN_E_INVALID,
                        "%s: the buffers overlap, and not as its in-place form does", name);
    return MGEN_OK;
}

static mgen_status post(mgi_comm *comm, mgi_comm_call call, mgi_comm_work **out)
{
    mgi_comm_work *work = NULL;
    if (out)
        *out = NULL;
    call.what = comm->what;
    call.index = comm->index;
    mgi_comm_note(comm, NULL, 0);
    MGI_TRY(check_call(comm, &call));
    for (int i = 0; i < MGI_COMM_PENDING && !work; i++)
        if (!comm->works[i].comm)
            work = &comm->works[i];
    if (!work)
        return mgi_fail(comm->ctx, MGEN_E_STATE,
                        "%s: %d calls of this handle are under way; wait for one of them",
                        mgi_comm_op_name(call.op), MGI_COMM_PENDING);
    *work = (mgi_comm_work){.comm = comm, .call = call};
    mgen_status status = comm->engine->start(comm, work);
    if (status != MGEN_OK) {
        work->comm = NULL;
        return status;
    }
    if (!out)
        return mgi_comm_wait(&work);
    *out = work;
    return MGEN_OK;
}

mgen_status mgi_comm_wait(mgi_comm_work **handle)
{
    mgi_comm_work *work = *handle;
    *handle = NULL;
    if (!work)
        return MGEN_OK;
    mgi_comm *comm = work->comm;
    mgen_status status = comm->engine->wait(comm, work);
    work->comm = NULL;
    if (status == MGEN_OK) {
        mgi_comm_count *c = &comm->counted[work->call.op];
        c->calls++;
        c->payload += mgi_comm_call_payload(&work->call, comm->size);
        c->sent += mgi_comm_call_sent(&work->call, comm->rank, comm->size);
    }
    return status;
}

static mgen_status check_peer(mgi_comm *comm, mgi_comm_op op, int peer, bool may_be_self)
{
    if (peer < 0 || peer >= comm->size || (peer == comm->rank && !may_be_self))
        return mgi_fail(comm->ctx, MGEN_E_INVALID, "%s: rank %d is not %s of %d rank(s)",
                        mgi_comm_op_name(op), peer, may_be_self ? "one" : "another", comm->size);
    return MGEN_OK;
}

/* ---- the calls ---- */

mgen_status mgi_comm_all_reduce(mgi_comm *comm, int32_t dtype, const void *send, void *recv,
                                int64_t count, mgi_comm_work **work)
{
    return post(comm, (mgi_comm_call){MGI_COMM_ALL_REDUCE, dtype, -1, count, send, recv}, work);
}

mgen_status mgi_comm_all_gather(mgi_comm *comm, int32_t dtype, const void *send, void *recv,
                                int64_t count, mgi_comm_work **work)
{
    return post(comm, (mgi_comm_call){MGI_COMM_ALL_GATHER, dtype, -1, count, send, recv}, work);
}

mgen_status mgi_comm_reduce_scatter(mgi_comm *comm, int32_t dtype, const void *send, void *recv,
                                    int64_t count, mgi_comm_work **work)
{
    return post(comm, (mgi_comm_call){MGI_COMM_REDUCE_SCATTER, dtype, -1, count, send, recv}, work);
}

mgen_status mgi_comm_broadcast(mgi_comm *comm, int32_t dtype, void *data, int64_t count, int root,
                               mgi_comm_work **work)
{
    MGI_TRY(check_peer(comm, MGI_COMM_BROADCAST, root, true));
    return post(comm, (mgi_comm_call){MGI_COMM_BROADCAST, dtype, root, count, data, data}, work);
}

mgen_status mgi_comm_all_to_all(mgi_comm *comm, int32_t dtype, const void *send, void *recv,
                                int64_t count, mgi_comm_work **work)
{
    return post(comm, (mgi_comm_call){MGI_COMM_ALL_TO_ALL, dtype, -1, count, send, recv}, work);
}

mgen_status mgi_comm_send(mgi_comm *comm, int32_t dtype, const void *data, int64_t count, int peer,
                          mgi_comm_work **work)
{
    MGI_TRY(check_peer(comm, MGI_COMM_SEND, peer, false));
    return post(comm, (mgi_comm_call){MGI_COMM_SEND, dtype, peer, count, data, NULL}, work);
}

mgen_status mgi_comm_recv(mgi_comm *comm, int32_t dtype, void *data, int64_t count, int peer,
                          mgi_comm_work **work)
{
    MGI_TRY(check_peer(comm, MGI_COMM_RECV, peer, false));
    return post(comm, (mgi_comm_call){MGI_COMM_RECV, dtype, peer, count, NULL, data}, work);
}

mgen_status mgi_comm_barrier(mgi_comm *comm)
{
    return post(comm, (mgi_comm_call){MGI_COMM_BARRIER, MGK_U8, -1, 0, NULL, NULL}, NULL);
}

/* How a rank's part of the work ended. */
typedef struct outcome {
    mgen_status status;
    char said[252];
} outcome;

mgen_status mgi_comm_together_in(mgen_context *ctx, mgi_comm *comm, mgen_status status,
                                 bool *agreed)
{
    outcome mine = {.status = status}, *all;
    if (agreed)
        *agreed = false;
    if (!comm || comm->size == 1 || !comm->engine->moves_data || (ctx->device && ctx->device->meta))
        return status;
    comm = mgi_comm_host(comm);
    if (status != MGEN_OK)
        snprintf(mine.said, sizeof(mine.said), "%.251s", ctx->error_text);
    mgen_status room = mgi_alloc_zero(ctx, (size_t)comm->size, sizeof(*all), &all);
    if (room != MGEN_OK) {
        mgi_comm_give_up(comm, ctx->error_text);
        return room;
    }
    mgi_comm_note(comm, "outcome", 0);
    status = mgi_comm_all_gather(comm, MGK_U8, &mine, all, sizeof(mine), NULL);
    if (status != MGEN_OK &&
        mine.status != MGEN_OK) /* perhaps the others have left because of it */
        (void)mgi_fail(ctx, mine.status, "%s", mine.said);
    else if (status != MGEN_OK && ctx != comm->ctx)
        (void)mgi_fail_from(ctx, status, comm->ctx);
    if (agreed)
        *agreed = status == MGEN_OK;
    status = status != MGEN_OK && mine.status != MGEN_OK ? mine.status : status;
    for (int r = 0; r < comm->size && status == MGEN_OK; r++) {
        status = all[r].status;
        if (status == MGEN_OK || r == comm->rank)
            continue;
        status = mgi_comm_failure(status);
        (void)mgi_fail(ctx, status, "rank %d: %.251s", r, all[r].said);
    }
    mgi_free(ctx, all);
    return status;
}

mgen_status mgi_comm_together(mgi_comm *comm, mgen_status status)
{
    return mgi_comm_together_in(comm ? comm->ctx : NULL, comm, status, NULL);
}

enum { VALUE = 200 };

mgen_status mgi_comm_agree(mgi_comm *comm, const char *name, const char *value)
{
    char mine[VALUE], *all;
    mgen_status status;
    comm = mgi_comm_host(comm);
    memset(mine, 0, sizeof(mine));
    snprintf(mine, sizeof(mine), "%s", value);
    MGI_TRY(mgi_alloc_zero(comm->ctx, (size_t)comm->size, VALUE, &all));
    mgi_comm_note(comm, name, 0);
    status = mgi_comm_all_gather(comm, MGK_U8, mine, all, VALUE, NULL);
    for (int r = 1; r < comm->size && status == MGEN_OK && comm->engine->moves_data; r++)
        if (memcmp(all, all + (size_t)r * VALUE, VALUE))
            status = mgi_fail(comm->ctx, MGEN_E_DESYNC,
                              "ranks disagree on the %s: rank 0 has \"%.199s\", rank %d has "
                              "\"%.199s\"",
                              name, all, r, all + (size_t)r * VALUE);
    mgi_free(comm->ctx, all);
    return status;
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

mgen_status mgi_comm_wait_nothing(mgi_comm *comm, mgi_comm_work *work)
{
    (void)comm;
    (void)work;
    return MGEN_OK;
}

static mgen_status single_start(mgi_comm *comm, mgi_comm_work *work)
{
    const mgi_comm_call *call = &work->call;
    MGI_TRY(mgi_comm_check_aborted(comm));
    if (call->count > 0 && call->recv != call->send)
        memcpy(call->recv, call->send, mgi_comm_bytes(call));
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
    .start = single_start,
    .wait = mgi_comm_wait_nothing,
    .check = mgi_comm_check_aborted,
    .split = single_split,
    .interrupt = mgi_comm_set_aborted,
    .leave = mgi_comm_leave_nothing,
};

mgen_status mgi_comm_single_create(mgen_context *ctx, mgi_comm **out)
{
    return mgi_comm_alloc(ctx, &single_engine, 0, 1, out);
}
