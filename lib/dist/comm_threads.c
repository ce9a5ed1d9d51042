/* SPDX-License-Identifier: MIT
 * The engine whose ranks are threads of one process.
 *
 * A collective has three parts. Arrive: each rank posts its call and waits for the others; the
 * calls are compared as they come. Move: without the lock, each rank reads its peers' buffers.
 * Leave: no rank returns before all have moved, for its buffers may still be read. Only the first
 * part can wait for long, so only it ends on a time limit, an abort or a broken group.
 */
#include "dist/comm_engine.h"

#include "core/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

typedef enum slot_state { SLOT_IDLE, SLOT_ARRIVED, SLOT_PAIR, SLOT_MOVING, SLOT_DONE } slot_state;

/* What one rank is doing. The call may be read without the lock while the rank cannot return. */
typedef struct slot {
    slot_state state; /* ARRIVED: in a collective; PAIR: waits for the other end of send or recv */
    bool joined, left;
    mgi_comm_call call;    /* split: count is the colour, peer the key, recv the new handle */
    mgi_comm_group *child; /* split: the group made for this rank */
    int child_rank, child_size;
} slot;

struct mgi_comm_group {
    mgen_context *owner;
    int size;
    int64_t timeout_ms;
    _Atomic int refs;                            /* handles, children, and the creator's hold */
    mgi_comm_group *parent, *children, *sibling; /* the two lists: under the parent's lock */
    pthread_mutex_t lock;                        /* taken parent first */
    pthread_cond_t changed;
    int arrived, done;
    uint64_t ready_rounds, ended_rounds;
    mgen_status split_status;
    mgen_status broken; /* MGEN_OK: it is not */
    char why[512];
    slot slots[];
};

/* ---- groups ---- */

static mgen_status group_make(mgen_context *owner, int size, int64_t timeout_ms, int refs,
                              mgi_comm_group **out)
{
    mgi_comm_group *g;
    pthread_condattr_t attr;
    MGI_TRY(mgi_alloc_zero(owner, 1, sizeof(*g) + (size_t)size * sizeof(slot), &g));
    g->owner = owner;
    g->size = size;
    g->timeout_ms = timeout_ms;
    atomic_init(&g->refs, refs);
    int error = pthread_mutex_init(&g->lock, NULL);
    if (error)
        goto no_lock;
    error = pthread_condattr_init(&attr);
    if (error)
        goto no_attr;
    error = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (!error)
        error = pthread_cond_init(&g->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (error)
        goto no_attr;
    *out = g;
    return MGEN_OK;
no_attr:
    pthread_mutex_destroy(&g->lock);
no_lock:
    mgi_free(owner, g);
    return mgi_fail(owner, MGEN_E_NO_MEMORY, "the system has no lock for a group of %d ranks",
                    size);
}

static void group_free(mgi_comm_group *g)
{
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
    mgi_free(g->owner, g);
}

/* With the parent's lock. */
static void unlink_child(mgi_comm_group *parent, mgi_comm_group *child)
{
    mgi_comm_group **at = &parent->children;
    while (*at != child)
        at = &(*at)->sibling;
    *at = child->sibling;
}

void mgi_comm_group_release(mgi_comm_group *group)
{
    while (group && atomic_fetch_sub(&group->refs, 1) == 1) {
        mgi_comm_group *parent = group->parent;
        if (parent) {
            pthread_mutex_lock(&parent->lock);
            unlink_child(parent, group);
            pthread_mutex_unlock(&parent->lock);
        }
        group_free(group);
        group = parent;
    }
}

mgen_status mgi_comm_group_create(mgen_context *owner, int size, int64_t timeout_ms,
                                  mgi_comm_group **out)
{
    *out = NULL;
    if (size < 1 || size > MGI_COMM_RANKS_MAX || timeout_ms == 0)
        return mgi_fail(owner, MGEN_E_INVALID,
                        "group of %d ranks, timeout %lld ms: 1 to %d ranks are legal, and any "
                        "timeout but 0",
                        size, (long long)timeout_ms, MGI_COMM_RANKS_MAX);
    return group_make(owner, size, timeout_ms, 1, out);
}

/* ---- failing and waiting; all with the group's lock ---- */

/* The first reason stays. */
static void __attribute__((format(printf, 3, 4)))
break_group(mgi_comm_group *g, mgen_status code, const char *format, ...)
{
    if (g->broken != MGEN_OK)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(g->why, sizeof(g->why), format, args);
    va_end(args);
    g->broken = code;
    pthread_cond_broadcast(&g->changed);
}

/* For a call that was waiting when the group broke. */
static mgen_status broken_status(mgi_comm *comm)
{
    return mgi_fail(comm->ctx, comm->group->broken, "%s", comm->group->why);
}

/* For a call that comes later. */
static mgen_status check_group(mgi_comm *comm)
{
    const mgi_comm_group *g = comm->group;
    if (g->broken == MGEN_OK)
        return MGEN_OK;
    return mgi_fail(comm->ctx, g->broken == MGEN_E_DESYNC ? MGEN_E_DESYNC : MGEN_E_PEER_LOST,
                    "the group is broken: %s", g->why);
}

static mgen_status desync(mgi_comm *comm, const mgi_comm_call *call, int other)
{
    char mine[128], theirs[128];
    mgi_comm_group *g = comm->group;
    mgi_comm_describe(call, mine, sizeof(mine));
    mgi_comm_describe(&g->slots[other].call, theirs, sizeof(theirs));
    bool first = comm->rank < other;
    break_group(g, MGEN_E_DESYNC, "ranks disagree: rank %d calls %s, rank %d calls %s",
                first ? comm->rank : other, first ? mine : theirs, first ? other : comm->rank,
                first ? theirs : mine);
    return broken_status(comm);
}

/* False: the time is over. */
static bool wait_change(mgi_comm_group *g, const struct timespec *end)
{
    if (g->timeout_ms < 0)
        return pthread_cond_wait(&g->changed, &g->lock) == 0;
    return pthread_cond_timedwait(&g->changed, &g->lock, end) != ETIMEDOUT;
}

static void break_missing(mgi_comm_group *g, const mgi_comm_call *call)
{
    char names[256] = "", what[128];
    size_t used = 0;
    for (int r = 0; r < g->size && used < sizeof(names) - 16; r++)
        if (g->slots[r].state != SLOT_ARRIVED)
            used +=
                (size_t)snprintf(names + used, sizeof(names) - used, "%s%d", used ? ", " : "", r);
    break_group(g, MGEN_E_TIMEOUT, "%s: rank(s) %s%s did not arrive within %lld ms",
                mgi_comm_describe(call, what, sizeof(what)), names,
                used >= sizeof(names) - 16 ? ", ..." : "", (long long)g->timeout_ms);
}

/* ---- moving data, without the lock ---- */

/* out(s) = sum over ranks of their send[first ..]; to every rank's recv, or to recv of `to`. */
static void sum_ranks(mgi_comm_group *g, int64_t first, int64_t count, int to)
{
    float sum[1024];
    for (int64_t at = first, end = first + count; at < end;) {
        int64_t n = end - at < 1024 ? end - at : 1024;
        memcpy(sum, (const float *)g->slots[0].call.send + at, (size_t)n * sizeof(float));
        for (int r = 1; r < g->size; r++) {
            const float *more = (const float *)g->slots[r].call.send + at;
            for (int64_t i = 0; i < n; i++)
                sum[i] += more[i];
        }
        if (to >= 0)
            memcpy((float *)g->slots[to].call.recv + (at - first), sum, (size_t)n * sizeof(float));
        else
            for (int r = 0; r < g->size; r++)
                memcpy((float *)g->slots[r].call.recv + at, sum, (size_t)n * sizeof(float));
        at += n;
    }
}

static void copy_block(char *to, const char *from, size_t bytes)
{
    if (to != from)
        memcpy(to, from, bytes);
}

static void move(mgi_comm_group *g, int rank, const mgi_comm_call *call)
{
    size_t block = (size_t)call->count * call->element_bytes;
    char *recv = call->recv;
    if (call->op == MGI_COMM_SPLIT || call->count == 0)
        return;
    switch (call->op) {
    case MGI_COMM_ALL_REDUCE: { /* each rank sums its part, for all: in place is safe */
        int64_t part = call->count / g->size, rest = call->count % g->size;
        int64_t first = rank * part + (rank < rest ? rank : rest);
        sum_ranks(g, first, part + (rank < rest), -1);
        break;
    }
    case MGI_COMM_REDUCE_SCATTER:
        sum_ranks(g, rank * call->count, call->count, rank);
        break;
    case MGI_COMM_ALL_GATHER:
        for (int r = 0; r < g->size; r++)
            copy_block(recv + (size_t)r * block, g->slots[r].call.send, block);
        break;
    case MGI_COMM_BROADCAST:
        copy_block(recv, g->slots[call->peer].call.send, block);
        break;
    case MGI_COMM_ALL_TO_ALL:
        for (int r = 0; r < g->size; r++)
            copy_block(recv + (size_t)r * block,
                       (const char *)g->slots[r].call.send + (size_t)rank * block, block);
        break;
    default:
        break;
    }
}

/* ---- collectives ---- */

/* All ranks have posted their colours: make the groups, all or none. With the lock. */
static mgen_status make_children(mgi_comm_group *g)
{
    mgen_status status = MGEN_OK;
    for (int r = 0; r < g->size; r++) {
        g->slots[r].child = NULL;
        if (!g->slots[r].call.recv)
            status = MGEN_E_NO_MEMORY; /* that rank has no room for its handle */
    }
    for (int r = 0; r < g->size && status == MGEN_OK; r++) {
        int64_t color = g->slots[r].call.count;
        int members = 0;
        mgi_comm_group *child;
        if (color < 0 || g->slots[r].child)
            continue;
        for (int m = r; m < g->size; m++)
            members += g->slots[m].call.count == color;
        status = group_make(g->owner, members, g->timeout_ms, members, &child);
        if (status != MGEN_OK)
            break;
        child->parent = g;
        child->sibling = g->children;
        g->children = child;
        atomic_fetch_add(&g->refs, 1);
        for (int m = r; m < g->size; m++) {
            slot *s = &g->slots[m];
            if (s->call.count != color)
                continue;
            s->child = child;
            s->child_size = members;
            s->child_rank = 0;
            for (int o = r; o < g->size; o++) {
                const mgi_comm_call *c = &g->slots[o].call;
                if (c->count == color)
                    s->child_rank += c->peer < s->call.peer || (c->peer == s->call.peer && o < m);
            }
            child->slots[s->child_rank].joined = true;
        }
    }
    for (int r = 0; r < g->size && status != MGEN_OK; r++) {
        mgi_comm_group *child = g->slots[r].child;
        if (!child)
            continue;
        for (int m = r; m < g->size; m++)
            if (g->slots[m].child == child)
                g->slots[m].child = NULL;
        unlink_child(g, child);
        group_free(child);
        atomic_fetch_sub(&g->refs, 1); /* never the last: this rank has a handle */
    }
    return status;
}

/* With the lock. */
static mgen_status arrive(mgi_comm *comm, const mgi_comm_call *call)
{
    mgi_comm_group *g = comm->group;
    for (int r = 0; r < g->size; r++) {
        const slot *s = &g->slots[r];
        if (s->left) {
            break_group(g, MGEN_E_PEER_LOST, "%s: rank %d has left", mgi_comm_op_name(call->op), r);
            return broken_status(comm);
        }
        if (s->state == SLOT_PAIR && s->call.peer == comm->rank)
            return desync(comm, call, r);
        if (s->state == SLOT_ARRIVED && !mgi_comm_calls_agree(call, &s->call))
            return desync(comm, call, r);
    }
    uint64_t round = g->ready_rounds;
    struct timespec end;
    slot *me = &g->slots[comm->rank];
    me->call = *call;
    me->state = SLOT_ARRIVED;
    if (++g->arrived == g->size) {
        g->split_status = call->op == MGI_COMM_SPLIT ? make_children(g) : MGEN_OK;
        g->arrived = 0;
        g->ready_rounds++;
        pthread_cond_broadcast(&g->changed);
        return MGEN_OK;
    }
    mgi_comm_deadline(g->timeout_ms, &end);
    while (g->ready_rounds == round && g->broken == MGEN_OK)
        if (!wait_change(g, &end) && g->ready_rounds == round)
            break_missing(g, call);
    return g->ready_rounds == round ? broken_status(comm) : MGEN_OK;
}

/* With the lock. */
static void leave_round(mgi_comm_group *g)
{
    uint64_t round = g->ended_rounds;
    if (++g->done == g->size) {
        for (int r = 0; r < g->size; r++)
            g->slots[r].state = SLOT_IDLE;
        g->done = 0;
        g->ended_rounds++;
        pthread_cond_broadcast(&g->changed);
    }
    while (g->ended_rounds == round)
        pthread_cond_wait(&g->changed, &g->lock);
}

/* ---- send and recv ---- */

/* With the lock, which is let go while data moves: by the one who comes second. */
static mgen_status pair(mgi_comm *comm, const mgi_comm_call *call)
{
    mgi_comm_group *g = comm->group;
    slot *me = &g->slots[comm->rank], *other = &g->slots[call->peer];
    struct timespec end;
    if (other->left) {
        break_group(g, MGEN_E_PEER_LOST, "%s: rank %d has left", mgi_comm_op_name(call->op),
                    call->peer);
        return broken_status(comm);
    }
    if (other->state == SLOT_ARRIVED)
        return desync(comm, call, call->peer);
    if (other->state == SLOT_PAIR && other->call.peer == comm->rank) {
        const mgi_comm_call *theirs = &other->call;
        if (theirs->op == call->op || theirs->count != call->count ||
            theirs->element_bytes != call->element_bytes)
            return desync(comm, call, call->peer);
        other->state = SLOT_MOVING;
        pthread_mutex_unlock(&g->lock);
        if (call->count > 0)
            memcpy(call->op == MGI_COMM_RECV ? call->recv : theirs->recv,
                   call->op == MGI_COMM_RECV ? theirs->send : call->send,
                   (size_t)call->count * call->element_bytes);
        pthread_mutex_lock(&g->lock);
        other->state = SLOT_DONE;
        pthread_cond_broadcast(&g->changed);
        return MGEN_OK;
    }
    me->call = *call;
    me->state = SLOT_PAIR;
    mgi_comm_deadline(g->timeout_ms, &end);
    while (me->state == SLOT_MOVING || (me->state == SLOT_PAIR && g->broken == MGEN_OK)) {
        if (me->state == SLOT_MOVING)
            pthread_cond_wait(&g->changed, &g->lock);
        else if (!wait_change(g, &end) && me->state == SLOT_PAIR)
            break_group(g, MGEN_E_TIMEOUT, "%s from rank %d: rank %d did not arrive within %lld ms",
                        mgi_comm_op_name(call->op), comm->rank, call->peer,
                        (long long)g->timeout_ms);
    }
    bool done = me->state == SLOT_DONE;
    me->state = SLOT_IDLE;
    return done ? MGEN_OK : broken_status(comm);
}

/* ---- the engine ---- */

static mgen_status threads_run(mgi_comm *comm, const mgi_comm_call *call)
{
    mgi_comm_group *g = comm->group;
    pthread_mutex_lock(&g->lock);
    mgen_status status = check_group(comm);
    if (status == MGEN_OK && (call->op == MGI_COMM_SEND || call->op == MGI_COMM_RECV)) {
        status = pair(comm, call);
    } else if (status == MGEN_OK) {
        status = arrive(comm, call);
        if (status == MGEN_OK) {
            pthread_mutex_unlock(&g->lock);
            move(g, comm->rank, call);
            pthread_mutex_lock(&g->lock);
            if (g->split_status != MGEN_OK)
                status = mgi_fail(comm->ctx, g->split_status,
                                  "split: not enough memory for the new groups");
            leave_round(g);
        }
    }
    pthread_mutex_unlock(&g->lock);
    return status;
}

static const mgi_comm_engine threads_engine;

static mgen_status threads_split(mgi_comm *comm, int color, int key, mgi_comm **out)
{
    mgi_comm *made;
    (void)mgi_comm_alloc(comm->ctx, &threads_engine, 0, 1, &made); /* NULL: all ranks are told */
    mgi_comm_call call = {MGI_COMM_SPLIT, key, color, 1, NULL, made};
    mgen_status status = threads_run(comm, &call);
    const slot *mine =
        &comm->group->slots[comm->rank]; /* this part only this rank's calls change */
    if (status != MGEN_OK || color < 0) {
        mgi_free(comm->ctx, made);
        return status;
    }
    made->rank = mine->child_rank;
    made->size = mine->child_size;
    made->group = mine->child;
    *out = made;
    return MGEN_OK;
}

static void abort_group(mgi_comm_group *g, int rank)
{
    pthread_mutex_lock(&g->lock);
    break_group(g, MGEN_E_PEER_LOST, "rank %d aborted the group", rank);
    for (mgi_comm_group *child = g->children; child; child = child->sibling)
        abort_group(child, rank);
    pthread_mutex_unlock(&g->lock);
}

static void threads_abort(mgi_comm *comm)
{
    abort_group(comm->group, comm->rank);
}

static void threads_leave(mgi_comm *comm)
{
    mgi_comm_group *g = comm->group;
    pthread_mutex_lock(&g->lock);
    g->slots[comm->rank].left = true;
    bool needed = g->arrived > 0;
    for (int r = 0; r < g->size; r++)
        needed |= g->slots[r].state == SLOT_PAIR && g->slots[r].call.peer == comm->rank;
    if (needed)
        break_group(g, MGEN_E_PEER_LOST, "rank %d left while others waited for it", comm->rank);
    pthread_mutex_unlock(&g->lock);
    mgi_comm_group_release(g);
}

static const mgi_comm_engine threads_engine = {
    .moves_data = true,
    .run = threads_run,
    .split = threads_split,
    .interrupt = threads_abort,
    .leave = threads_leave,
};

mgen_status mgi_comm_join(mgi_comm_group *group, int rank, mgen_context *ctx, mgi_comm **out)
{
    mgi_comm *comm;
    *out = NULL;
    MGI_TRY(mgi_comm_alloc(ctx, &threads_engine, rank, group->size, &comm));
    pthread_mutex_lock(&group->lock);
    bool taken = group->slots[rank].joined;
    group->slots[rank].joined = true;
    pthread_mutex_unlock(&group->lock);
    if (taken) {
        mgi_free(ctx, comm);
        return mgi_fail(ctx, MGEN_E_STATE, "rank %d of the group was taken before", rank);
    }
    comm->group = group;
    atomic_fetch_add(&group->refs, 1);
    *out = comm;
    return MGEN_OK;
}
