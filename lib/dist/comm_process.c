/* SPDX-License-Identifier: MIT
 * The engine whose ranks are processes: calls over a transport of messages.
 *
 * Each call begins with heads, in which the members of the group tell each other what they call: so
 * a disagreement is seen before any data moves, and who has not come is known by name. Then blocks
 * go straight to where they belong, and sums are made in rank order, to the same bits as between
 * threads. The calls of a group move one after the other; there is no thread of our own: work is
 * carried on, for all groups, while the rank is inside some call.
 */
#include "dist/comm_process.h"

#include "core/alloc.h"

#include <stdio.h>
#include <string.h>

enum { HEAD_IN, HEAD_OUT, DATA_IN, DATA_OUT, REQUESTS };

/* ---- messages ---- */

static bool is_pair(int op)
{
    return op == MGI_COMM_SEND || op == MGI_COMM_RECV;
}

static bool takes_part(const mgi_process_group *g, const mgi_process_work *pw, int member)
{
    return member != g->comm->rank && (!is_pair(pw->mine.op) || member == pw->mine.peer);
}

static int64_t *request_of(const mgi_process_work *pw, int member, int which)
{
    return &pw->requests[member * REQUESTS + which];
}

static void begin_send(mgi_process_group *g, const mgi_process_work *pw, int member, int which,
                       int tag, const void *data, size_t bytes)
{
    char error[256] = "";
    mgi_process_world *w = g->world;
    if (w->broken == MGEN_OK && bytes > 0)
        (void)mgi_process_check(w,
                                w->transport->send(w->carrier, data, (int64_t)bytes,
                                                   g->members[member], mgi_process_tag(g, tag),
                                                   request_of(pw, member, which), error,
                                                   sizeof(error)),
                                error);
}

static void begin_receive(mgi_process_group *g, const mgi_process_work *pw, int member, int which,
                          int tag, void *data, size_t bytes)
{
    char error[256] = "";
    mgi_process_world *w = g->world;
    if (w->broken == MGEN_OK && bytes > 0)
        (void)mgi_process_check(w,
                                w->transport->receive(w->carrier, data, (int64_t)bytes,
                                                      g->members[member], mgi_process_tag(g, tag),
                                                      request_of(pw, member, which), error,
                                                      sizeof(error)),
                                error);
}

/* Is the message through? */
static bool through(mgi_process_group *g, const mgi_process_work *pw, int member, int which)
{
    char error[256] = "";
    int64_t *request = request_of(pw, member, which);
    mgi_process_world *w = g->world;
    if (*request)
        (void)mgi_process_check(w, w->transport->test(w->carrier, request, error, sizeof(error)),
                                error);
    return *request == 0;
}

static bool all_through(mgi_process_group *g, const mgi_process_work *pw, int first, int last)
{
    bool all = true;
    for (int m = 0; m < g->comm->size; m++)
        for (int which = first; takes_part(g, pw, m) && which <= last; which++)
            all &= through(g, pw, m, which);
    return all;
}

bool mgi_process_misses(const mgi_process_group *g, const mgi_process_work *pw, int member)
{
    if (!takes_part(g, pw, member))
        return false;
    return *request_of(pw, member, HEAD_IN) || *request_of(pw, member, DATA_IN) ||
           *request_of(pw, member, DATA_OUT);
}

/* ---- heads ---- */

static void write_head(const mgi_comm_call *call, mgi_process_head *head)
{
    memset(head, 0, sizeof(*head));
    head->op = (int32_t)call->op;
    head->dtype = call->dtype;
    head->peer = call->peer;
    head->count = call->count;
    head->index = call->index;
    snprintf(head->what, sizeof(head->what), "%s", call->what ? call->what : "");
}

/* As a call without buffers; what comes from outside is held to its range. */
static mgi_comm_call read_head(const mgi_process_group *g, const mgi_process_head *head)
{
    int size = g->comm->size;
    bool op = head->op >= 0 && head->op < MGI_COMM_OPS;
    bool dtype = head->dtype >= MGK_F32 && head->dtype <= MGK_U64;
    bool peer = head->peer >= 0 && head->peer < size;
    return (mgi_comm_call){.op = op ? (mgi_comm_op)head->op : MGI_COMM_BARRIER,
                           .dtype = dtype ? head->dtype : MGK_U8,
                           .peer = peer ? head->peer : -1,
                           .count = head->count,
                           .what = head->what[0] ? head->what : NULL,
                           .index = head->index};
}

const char *mgi_process_describe(const mgi_process_group *g, const mgi_process_head *head,
                                 char *buffer, size_t size)
{
    mgi_comm_call call = read_head(g, head);
    return mgi_comm_describe(&call, g->members, buffer, size);
}

static void compare(mgi_process_group *g, mgi_process_work *pw, int member)
{
    char a[160], b[160];
    mgi_process_head *head = &pw->theirs[member];
    head->what[sizeof(head->what) - 1] = 0;
    mgi_comm_call mine = read_head(g, &pw->mine), theirs = read_head(g, head);
    if (is_pair(mine.op) ? mgi_comm_ends_agree(&mine, &theirs)
                         : mgi_comm_calls_agree(&mine, &theirs))
        return;
    int me = g->members[g->comm->rank], other = g->members[member];
    mgi_comm_describe(&mine, g->members, a, sizeof(a));
    mgi_comm_describe(&theirs, g->members, b, sizeof(b));
    (void)mgi_process_break(
        g->world, MGEN_E_DESYNC, "ranks disagree: rank %d calls %s, rank %d calls %s",
        me < other ? me : other, me < other ? a : b, me < other ? other : me, me < other ? b : a);
}

/* ---- data ---- */

/* Of an all_reduce: the elements that a member adds up. */
static int64_t share_of(const mgi_process_group *g, const mgi_comm_call *call, int member,
                        int64_t *first)
{
    int64_t share = call->count / g->comm->size, rest = call->count % g->comm->size;
    *first = member * share + (member < rest ? member : rest);
    return share + (member < rest);
}

static mgen_status blocks_make(mgi_process_group *g, mgi_process_work *pw, size_t bytes)
{
    return mgi_alloc_zero(g->comm->ctx, (size_t)g->comm->size, bytes ? bytes : 1, &pw->blocks);
}

/* All calls agree: the blocks go out. */
static void begin_data(mgi_process_group *g, mgi_process_work *pw)
{
    const mgi_comm_call *call = &pw->work->call;
    int me = g->comm->rank;
    size_t bytes = mgi_comm_bytes(call);
    size_t element = mgi_dtype_size(call->dtype);
    const char *send = call->send;
    char *recv = call->recv;
    int64_t first, own_first, own = share_of(g, call, me, &own_first);
    bool sums = call->op == MGI_COMM_ALL_REDUCE || call->op == MGI_COMM_REDUCE_SCATTER;
    size_t block = call->op == MGI_COMM_ALL_REDUCE ? (size_t)own * element : bytes;
    if (sums && bytes > 0 && blocks_make(g, pw, block) != MGEN_OK) {
        (void)mgi_process_break(g->world, MGEN_E_NO_MEMORY, "rank %d has no memory for %s",
                                g->members[me], mgi_comm_op_name(call->op));
        return;
    }
    for (int m = 0; m < g->comm->size && bytes > 0; m++) {
        if (!takes_part(g, pw, m))
            continue;
        size_t at = (size_t)m * bytes;
        switch (call->op) {
        case MGI_COMM_ALL_REDUCE: {
            size_t part = (size_t)share_of(g, call, m, &first) * element;
            begin_receive(g, pw, m, DATA_IN, MGI_TAG_DATA, pw->blocks + (size_t)m * block, block);
            begin_send(g, pw, m, DATA_OUT, MGI_TAG_DATA, send + (size_t)first * element, part);
            break;
        }
        case MGI_COMM_REDUCE_SCATTER:
            begin_receive(g, pw, m, DATA_IN, MGI_TAG_DATA, pw->blocks + (size_t)m * block, block);
            begin_send(g, pw, m, DATA_OUT, MGI_TAG_DATA, send + at, bytes);
            break;
        case MGI_COMM_ALL_GATHER:
        case MGI_COMM_SPLIT:
            begin_receive(g, pw, m, DATA_IN, MGI_TAG_DATA, recv + at, bytes);
            begin_send(g, pw, m, DATA_OUT, MGI_TAG_DATA, send, bytes);
            break;
        case MGI_COMM_ALL_TO_ALL:
            begin_receive(g, pw, m, DATA_IN, MGI_TAG_DATA, recv + at, bytes);
            begin_send(g, pw, m, DATA_OUT, MGI_TAG_DATA, send + at, bytes);
            break;
        case MGI_COMM_BROADCAST:
            if (me == call->peer)
                begin_send(g, pw, m, DATA_OUT, MGI_TAG_DATA, send, bytes);
            else if (m == call->peer)
                begin_receive(g, pw, m, DATA_IN, MGI_TAG_DATA, recv, bytes);
            break;
        case MGI_COMM_SEND:
            begin_send(g, pw, m, DATA_OUT, MGI_TAG_PAIR, send, bytes);
            break;
        case MGI_COMM_RECV:
            begin_receive(g, pw, m, DATA_IN, MGI_TAG_PAIR, recv, bytes);
            break;
        default:
            break;
        }
    }
    bool exchanges = call->op == MGI_COMM_ALL_TO_ALL;
    if (bytes > 0 && (exchanges || call->op == MGI_COMM_ALL_GATHER || call->op == MGI_COMM_SPLIT)) {
        const char *from = send + (exchanges ? (size_t)me * bytes : 0);
        if (recv + (size_t)me * bytes != from)
            memcpy(recv + (size_t)me * bytes, from, bytes);
    }
}

/* `count` elements, from `first` on in this rank's send, and in the others' blocks: to recv from `to` on. */
static void add_blocks(const mgi_process_group *g, const mgi_process_work *pw, int64_t first,
                       int64_t count, int64_t to)
{
    float sum[1024];
    const mgi_comm_call *call = &pw->work->call;
    size_t block = (size_t)count * mgi_dtype_size(call->dtype);
    for (int64_t at = 0; at < count; at += 1024) {
        int64_t n = count - at < 1024 ? count - at : 1024;
        for (int m = 0; m < g->comm->size; m++) {
            bool own = m == g->comm->rank;
            const void *from = own ? call->send : pw->blocks + (size_t)m * block;
            mgi_comm_add(sum, from, call->dtype, own ? first + at : at, n, m > 0);
        }
        mgi_comm_round(call->recv, call->dtype, to + at, sum, n);
    }
}

/* The blocks have come. True: so have all that the call needs. */
static bool end_data(mgi_process_group *g, mgi_process_work *pw)
{
    const mgi_comm_call *call = &pw->work->call;
    int me = g->comm->rank;
    int64_t first, count;
    if (!pw->blocks)
        return true;
    if (call->op == MGI_COMM_REDUCE_SCATTER) {
        add_blocks(g, pw, me * call->count, call->count, 0);
        return true;
    }
    size_t element = mgi_dtype_size(call->dtype);
    count = share_of(g, call, me, &first);
    add_blocks(g, pw, first, count, first);
    char *recv = call->recv, *own = recv + (size_t)first * element;
    for (int m = 0; m < g->comm->size; m++) {
        if (!takes_part(g, pw, m))
            continue;
        size_t bytes = (size_t)share_of(g, call, m, &first) * element;
        begin_receive(g, pw, m, DATA_IN, MGI_TAG_MORE, recv + (size_t)first * element, bytes);
        begin_send(g, pw, m, DATA_OUT, MGI_TAG_MORE, own, (size_t)count * element);
    }
    return false;
}

/* ---- progress ---- */

/* A call goes on when those before it in its group, of its kind and with its peer, are done. */
static bool has_turn(const mgi_process_group *g, const mgi_process_work *pw)
{
    for (int i = 0; i <= MGI_COMM_PENDING; i++) {
        const mgi_process_work *other = &g->works[i];
        if (other->stage == MGI_STAGE_FREE || other->stage == MGI_STAGE_DONE ||
            other->order >= pw->order || is_pair(other->mine.op) != is_pair(pw->mine.op))
            continue;
        if (!is_pair(pw->mine.op) ||
            (other->mine.op == pw->mine.op && other->mine.peer == pw->mine.peer))
            return false;
    }
    return true;
}

static void advance(mgi_process_group *g, mgi_process_work *pw)
{
    mgi_process_world *w = g->world;
    if (pw->stage == MGI_STAGE_HEAD) {
        bool all = all_through(g, pw, HEAD_IN, HEAD_OUT);
        if (!all || !has_turn(g, pw))
            return;
        for (int m = 0; m < g->comm->size && w->broken == MGEN_OK; m++)
            if (takes_part(g, pw, m))
                compare(g, pw, m);
        pw->stage = MGI_STAGE_DATA;
        if (w->broken == MGEN_OK)
            begin_data(g, pw);
    }
    if (w->broken == MGEN_OK && pw->stage == MGI_STAGE_DATA &&
        all_through(g, pw, DATA_IN, DATA_OUT) && w->broken == MGEN_OK)
        pw->stage = end_data(g, pw) ? MGI_STAGE_DONE : MGI_STAGE_MORE;
    if (w->broken == MGEN_OK && pw->stage == MGI_STAGE_MORE &&
        all_through(g, pw, DATA_IN, DATA_OUT) && w->broken == MGEN_OK)
        pw->stage = MGI_STAGE_DONE;
}

/* The call of a group that was posted next after number `after`. */
static mgi_process_work *next_work(mgi_process_group *g, uint64_t after)
{
    mgi_process_work *found = NULL;
    for (int i = 0; i <= MGI_COMM_PENDING; i++) {
        mgi_process_work *pw = &g->works[i];
        if (pw->stage != MGI_STAGE_FREE && pw->order > after &&
            (!found || pw->order < found->order))
            found = pw;
    }
    return found;
}

void mgi_process_progress(mgi_process_world *w)
{
    mgi_process_listen(w);
    if (atomic_load(&w->aborted))
        (void)mgi_process_break(w, MGEN_E_PEER_LOST, "rank %d aborted the group", w->rank);
    for (mgi_process_group *g = w->groups; g && w->broken == MGEN_OK; g = g->next)
        for (mgi_process_work *pw = next_work(g, 0); pw; pw = next_work(g, pw->order))
            if (pw->stage != MGI_STAGE_DONE)
                advance(g, pw);
}

/* ---- calls ---- */

static mgen_status prepare(mgi_process_group *g, mgi_process_work *pw)
{
    size_t n = (size_t)g->comm->size;
    if (!pw->theirs)
        MGI_TRY(mgi_alloc_zero(g->comm->ctx, n, sizeof(*pw->theirs), &pw->theirs));
    if (!pw->requests)
        MGI_TRY(mgi_alloc_zero(g->comm->ctx, n * REQUESTS, sizeof(*pw->requests), &pw->requests));
    return MGEN_OK;
}

static mgen_status start(mgi_process_group *g, mgi_process_work *pw, mgi_comm_work *work)
{
    mgi_process_world *w = g->world;
    mgi_comm *comm = g->comm;
    const mgi_comm_call *call = &work->call;
    mgi_process_progress(w);
    if (w->broken != MGEN_OK)
        return mgi_process_broken(w, true);
    MGI_TRY(prepare(g, pw));
    write_head(call, &pw->mine);
    pw->work = work;
    pw->stage = MGI_STAGE_HEAD;
    pw->order = ++g->posted;
    int out = call->op == MGI_COMM_SEND   ? MGI_TAG_SEND_HEAD
              : call->op == MGI_COMM_RECV ? MGI_TAG_RECV_HEAD
                                          : MGI_TAG_HEAD;
    int in = call->op == MGI_COMM_SEND   ? MGI_TAG_RECV_HEAD
             : call->op == MGI_COMM_RECV ? MGI_TAG_SEND_HEAD
                                         : MGI_TAG_HEAD;
    for (int m = 0; m < comm->size; m++) {
        if (!takes_part(g, pw, m))
            continue;
        begin_receive(g, pw, m, HEAD_IN, in, &pw->theirs[m], sizeof(pw->theirs[m]));
        begin_send(g, pw, m, HEAD_OUT, out, &pw->mine, sizeof(pw->mine));
    }
    mgi_process_progress(w);
    return MGEN_OK;
}

/* What is still on its way is left to itself. */
static void end_work(mgi_process_group *g, mgi_process_work *pw)
{
    for (int i = 0; i < g->comm->size * REQUESTS; i++)
        if (pw->requests[i])
            g->world->transport->drop(g->world->carrier, &pw->requests[i]);
    mgi_free(g->comm->ctx, pw->blocks);
    pw->blocks = NULL;
    pw->stage = MGI_STAGE_FREE;
}

static mgen_status wait(mgi_process_group *g, mgi_process_work *pw)
{
    mgi_process_world *w = g->world;
    int64_t end = w->timeout_ms < 0 ? INT64_MAX : mgi_process_now() + w->timeout_ms;
    w->waits = pw;
    w->waits_in = g;
    for (int times = 0; pw->stage != MGI_STAGE_DONE && w->broken == MGEN_OK; times++) {
        mgi_process_progress(w);
        if (pw->stage == MGI_STAGE_DONE || w->broken != MGEN_OK)
            break;
        mgi_process_look(w, g, pw);
        if (mgi_process_now() >= end)
            mgi_process_late(w, g, pw);
        mgi_process_idle(w, times);
    }
    w->waits = NULL;
    bool done = pw->stage == MGI_STAGE_DONE;
    end_work(g, pw);
    return done ? MGEN_OK : mgi_process_broken(w, false);
}

static mgen_status process_start(mgi_comm *comm, mgi_comm_work *work)
{
    mgi_process_group *g = comm->state;
    return start(g, &g->works[work - comm->works], work);
}

static mgen_status process_wait(mgi_comm *comm, mgi_comm_work *work)
{
    mgi_process_group *g = comm->state;
    return wait(g, &g->works[work - comm->works]);
}

static mgen_status process_check(mgi_comm *comm)
{
    mgi_process_world *w = ((mgi_process_group *)comm->state)->world;
    mgi_process_progress(w);
    return w->broken == MGEN_OK ? MGEN_OK : mgi_process_broken(w, true);
}

static void process_abort(mgi_comm *comm)
{
    atomic_store(&((mgi_process_group *)comm->state)->world->aborted, true);
}

static void process_give_up(mgi_comm *comm, const char *why)
{
    mgi_process_world *w = ((mgi_process_group *)comm->state)->world;
    (void)mgi_process_break(w, MGEN_E_PEER_LOST, "rank %d gave up: %s", w->rank, why);
}

/* ---- groups ---- */

static const mgi_comm_engine process_engine;

static void group_free(mgen_context *ctx, mgi_process_group *g)
{
    for (int i = 0; g && i <= MGI_COMM_PENDING; i++) {
        mgi_free(ctx, g->works[i].theirs);
        mgi_free(ctx, g->works[i].requests);
    }
    mgi_free(ctx, g);
}

/* A handle with its group, of up to `most` members; not in the world's list yet. */
static mgen_status handle_make(mgi_process_world *w, mgen_context *ctx, int most, mgi_comm **out)
{
    mgi_process_group *g;
    size_t n = (size_t)most;
    MGI_TRY(mgi_comm_alloc(ctx, &process_engine, 0, 1, out));
    mgen_status status =
        mgi_alloc_zero(ctx, 1, sizeof(*g) + n * (sizeof(*g->left) + sizeof(*g->members)), &g);
    if (status != MGEN_OK) {
        mgi_free(ctx, *out);
        *out = NULL;
        return status;
    }
    g->world = w;
    g->comm = *out;
    g->left = (int64_t *)(g + 1);
    g->members = (int *)(g->left + most);
    (*out)->state = g;
    return MGEN_OK;
}

static void handle_discard(mgi_comm *made)
{
    if (made) {
        group_free(made->ctx, made->state);
        mgi_free(made->ctx, made);
    }
}

static void list_group(mgi_process_world *w, mgi_process_group *g)
{
    g->next = w->groups;
    w->groups = g;
}

typedef struct place {
    int32_t color, key, next_id, has_memory;
} place;
enum { PLACE = sizeof(place) / sizeof(int32_t) };

/* Everyone has told its place. */
static mgen_status fill_group(mgi_comm *comm, const place *all, mgi_comm *made)
{
    mgi_process_group *parent = comm->state, *g = made ? made->state : NULL;
    mgi_process_world *w = parent->world;
    const place *mine = &all[comm->rank];
    bool memory = true;
    int id = 0;
    for (int r = 0; r < comm->size; r++) {
        memory &= all[r].has_memory;
        id = all[r].next_id > id ? all[r].next_id : id;
    }
    if (!memory)
        return mgi_fail(comm->ctx, MGEN_E_NO_MEMORY, "split: not enough memory for the new groups");
    if (id >= w->tag_max / MGI_PROCESS_TAGS - 1)
        return mgi_fail(comm->ctx, MGEN_E_LIMIT, "split: there are no tags for more than %d groups",
                        w->tag_max / MGI_PROCESS_TAGS - 2);
    w->next_id = id + 1;
    if (!g || mine->color < 0)
        return MGEN_OK;
    made->size = 0;
    for (int r = 0; r < comm->size; r++) {
        if (all[r].color != mine->color)
            continue;
        int at = 0;
        for (int o = 0; o < comm->size; o++)
            at += all[o].color == mine->color &&
                  (all[o].key < all[r].key || (all[o].key == all[r].key && o < r));
        g->members[at] = parent->members[r];
        made->rank = r == comm->rank ? at : made->rank;
        made->size++;
    }
    g->id = id;
    return MGEN_OK;
}

static mgen_status process_split(mgi_comm *comm, int color, int key, mgi_comm **out)
{
    mgi_process_group *parent = comm->state;
    mgi_process_world *w = parent->world;
    mgi_comm *made = NULL;
    place mine = {color, key, w->next_id, 1}, *all;
    MGI_TRY(mgi_alloc_zero(comm->ctx, (size_t)comm->size, sizeof(*all), &all));
    if (color >= 0 && handle_make(w, comm->ctx, comm->size, &made) != MGEN_OK)
        mine.has_memory = 0;
    mgi_comm_work work = {
        comm, {MGI_COMM_SPLIT, MGK_I32, -1, PLACE, &mine, all, comm->what, comm->index}, 0};
    mgi_comm_note(comm, NULL, 0);
    mgen_status status = start(parent, &parent->works[MGI_COMM_PENDING], &work);
    if (status == MGEN_OK)
        status = wait(parent, &parent->works[MGI_COMM_PENDING]);
    if (status == MGEN_OK)
        status = fill_group(comm, all, made);
    mgi_free(comm->ctx, all);
    if (status != MGEN_OK) {
        handle_discard(made);
        return status;
    }
    if (made)
        list_group(w, made->state);
    *out = made;
    return MGEN_OK;
}

static void process_leave(mgi_comm *comm)
{
    mgi_process_group *g = comm->state, **at = &g->world->groups;
    mgi_process_world *w = g->world;
    mgi_process_control left = {.kind = MGI_CONTROL_LEFT, .from = w->rank, .group = g->id};
    if (w->broken == MGEN_OK && atomic_load(&w->aborted))
        mgi_process_progress(w);
    for (int m = 0; m < comm->size && w->broken == MGEN_OK; m++)
        if (m != comm->rank)
            mgi_process_tell(w, g->members[m], &left);
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    group_free(comm->ctx, g);
    if (!w->groups)
        mgi_process_world_close(w);
}

static const mgi_comm_engine process_engine = {
    .moves_data = true,
    .start = process_start,
    .wait = process_wait,
    .check = process_check,
    .split = process_split,
    .interrupt = process_abort,
    .give_up = process_give_up,
    .leave = process_leave,
};

static mgen_status create(mgen_context *ctx, const mgi_comm_meeting *how, int64_t timeout_ms,
                          mgi_comm **out)
{
    mgi_process_world *w;
    *out = NULL;
    if (timeout_ms == 0)
        return mgi_fail(ctx, MGEN_E_INVALID, "a timeout of 0 ms: any but 0 is legal");
    MGI_TRY(mgi_process_world_open(ctx, how, timeout_ms, &w));
    mgen_status status = handle_make(w, ctx, w->size, out);
    if (status != MGEN_OK) {
        mgi_process_world_close(w);
        return status;
    }
    mgi_process_group *g = (*out)->state;
    (*out)->rank = w->rank;
    (*out)->size = w->size;
    for (int r = 0; r < w->size; r++)
        g->members[r] = r;
    g->id = 1;
    list_group(w, g);
    return MGEN_OK;
}

mgen_status mgi_comm_mpi_create(mgen_context *ctx, int64_t timeout_ms, mgi_comm **out)
{
    return create(ctx, NULL, timeout_ms, out);
}

mgen_status mgi_comm_sockets_create(mgen_context *ctx, const mgi_comm_meeting *how,
                                    int64_t timeout_ms, mgi_comm **out)
{
    *out = NULL;
    if (how->size < 1 || how->size > MGI_COMM_RANKS_MAX || how->rank < 0 || how->rank >= how->size)
        return mgi_fail(ctx, MGEN_E_INVALID, "rank %d of %d: there are at most %d, from 0 on",
                        how->rank, how->size, MGI_COMM_RANKS_MAX);
    if (how->size == 1)
        return mgi_comm_single_create(ctx, out);
    return create(ctx, how, timeout_ms, out);
}
