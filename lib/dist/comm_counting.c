/* SPDX-License-Identifier: MIT
 * The engine that only counts, for the meta device; and what each call costs.
 *
 * `sent` is what one rank of n puts on the wire, for buffers of `count` elements of e bytes:
 *   all_reduce      2 (n - 1) count e / n, rounded down: a ring's reduce-scatter and all-gather
 *   all_gather      (n - 1) count e
 *   reduce_scatter  (n - 1) count e
 *   all_to_all      (n - 1) count e
 *   broadcast       count e; 0 for the rank before the root, the end of a chain that starts there
 *   send            count e
 *   recv, barrier   0
 */
#include "dist/comm_engine.h"

int64_t mgi_comm_call_payload(const mgi_comm_call *call, int size)
{
    int64_t bytes = (int64_t)mgi_comm_bytes(call);
    bool blocks = call->op == MGI_COMM_ALL_GATHER || call->op == MGI_COMM_REDUCE_SCATTER ||
                  call->op == MGI_COMM_ALL_TO_ALL;
    return blocks ? bytes * size : bytes;
}

int64_t mgi_comm_call_sent(const mgi_comm_call *call, int rank, int size)
{
    int64_t bytes = (int64_t)mgi_comm_bytes(call);
    switch (call->op) {
    case MGI_COMM_ALL_REDUCE:
        return 2 * (int64_t)(size - 1) * bytes / size;
    case MGI_COMM_ALL_GATHER:
    case MGI_COMM_REDUCE_SCATTER:
    case MGI_COMM_ALL_TO_ALL:
        return (size - 1) * bytes;
    case MGI_COMM_BROADCAST:
        return (rank + 1) % size == call->peer ? 0 : bytes;
    case MGI_COMM_SEND:
        return bytes;
    default:
        return 0;
    }
}

/* comm->state is the watch. */
static void tell(mgi_comm *comm, const mgi_comm_work *work, bool waited)
{
    const mgi_comm_watch *watch = comm->state;
    if (watch)
        watch->call(watch->user, comm, work, work->call.op,
                    mgi_comm_call_sent(&work->call, comm->rank, comm->size), waited);
}

static mgen_status counting_start(mgi_comm *comm, mgi_comm_work *work)
{
    MGI_TRY(mgi_comm_check_aborted(comm));
    tell(comm, work, false);
    return MGEN_OK;
}

static mgen_status counting_wait(mgi_comm *comm, mgi_comm_work *work)
{
    tell(comm, work, true);
    return MGEN_OK;
}

static mgen_status counting_create(mgen_context *ctx, int rank, int size, void *watch,
                                   mgi_comm **out);

static mgen_status counting_split(mgi_comm *comm, int color, int key, mgi_comm **out)
{
    (void)key;
    MGI_TRY(mgi_comm_check_aborted(comm));
    if (color < 0)
        return MGEN_OK;
    if (comm->size > 1)
        return mgi_fail(comm->ctx, MGEN_E_UNSUPPORTED,
                        "split: a counting communicator does not know the colours of its %d peers; "
                        "give them as a function, with mgi_comm_split_by",
                        comm->size - 1);
    return counting_create(comm->ctx, 0, 1, comm->state, out);
}

static mgen_status counting_split_by(mgi_comm *comm, mgi_comm_place_fn *place, void *user,
                                     mgi_comm **out)
{
    int my_color = -1, my_key = 0, rank = 0, size = 0;
    MGI_TRY(mgi_comm_check_aborted(comm));
    place(user, comm->rank, &my_color, &my_key);
    if (my_color < 0)
        return MGEN_OK;
    for (int r = 0; r < comm->size; r++) {
        int color = -1, key = 0;
        place(user, r, &color, &key);
        if (color != my_color)
            continue;
        size++;
        rank += key < my_key || (key == my_key && r < comm->rank);
    }
    return counting_create(comm->ctx, rank, size, comm->state, out);
}

static const mgi_comm_engine counting_engine = {
    .start = counting_start,
    .wait = counting_wait,
    .check = mgi_comm_check_aborted,
    .split = counting_split,
    .split_by = counting_split_by,
    .interrupt = mgi_comm_set_aborted,
    .leave = mgi_comm_leave_nothing,
};

static mgen_status counting_create(mgen_context *ctx, int rank, int size, void *watch,
                                   mgi_comm **out)
{
    MGI_TRY(mgi_comm_alloc(ctx, &counting_engine, rank, size, out));
    (*out)->state = watch;
    return MGEN_OK;
}

mgen_status mgi_comm_counting_create(mgen_context *ctx, int rank, int size, mgi_comm **out)
{
    return counting_create(ctx, rank, size, NULL, out);
}

void mgi_comm_counting_watch(mgi_comm *comm, const mgi_comm_watch *watch)
{
    comm->state = (void *)(uintptr_t)watch;
}
