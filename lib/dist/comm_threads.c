/* SPDX-License-Identifier: MIT
 * The engine whose ranks are threads of one process.
 *
 * A collective is a round of its group: each rank posts its call, which is compared with those
 * posted before. The last one completes the round, whose data then moves, in a part for each rank,
 * by whoever is there: the last one, and those that wait. Only a round that is not complete can be
 * waited for in vain, so only that ends on a time limit, an abort or a broken world.
 *
 * All groups split from one, their world, share a lock, a failure, and a note for each rank of what
 * it is blocked in: so circles of ranks that wait for each other are seen at once, and a time limit
 * names those at the ends of the chains.
 */
#include "dist/comm_engine.h"

#include "core/alloc.h"
#include "kernels/mgk.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { THREADS_MAX = 1024 };

enum { PAIR_FREE, PAIR_POSTED, PAIR_MOVING, PAIR_DONE };

/* A send or recv, at its work's place. The call may be read without the lock while it moves. */
typedef struct pair {
    int state;
    uint64_t order;
    mgi_comm_call call;
} pair;

/* A member of a group. */
typedef struct slot {
    int rank; /* in the world */
    bool joined, left;
    uint64_t posted;                       /* rounds */
    mgi_comm_call calls[MGI_COMM_PENDING]; /* of the last ones; split: count is the colour, peer the
                                              key, recv the new handle */
    uint64_t pairs_posted;
    pair pairs[MGI_COMM_PENDING];
    mgi_comm_group *child; /* split: the group made for this rank */
    int child_rank, child_size;
    mgen_status split_status;
} slot;

typedef struct round {
    uint64_t number;
    int posted, parts_taken, parts_done;
} round;

/* What a rank waits for; no group: nothing. */
typedef struct blocked {
    mgi_comm_group *group;
    int member;
    bool pair;
    int index;       /* of the pair */
    uint64_t number; /* of the round */
} blocked;

typedef struct world {
    mgen_context *owner;
    int size, groups;
    int64_t timeout_ms;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    mgen_status broken; /* MGEN_OK: it is not */
    char why[512];
    int *stack; /* for search() */
    bool *seen;
    blocked blocked[];
} world;

struct mgi_comm_group {
    world *world;
    int size, refs; /* handles and the creator's hold */
    int *members;   /* ranks in the world */
    round rounds[MGI_COMM_PENDING];
    slot slots[];
};

/* ---- making and freeing ---- */

static mgen_status group_make(world *w, int size, int refs, mgi_comm_group **out)
{
    mgi_comm_group *g;
    size_t slots = (size_t)size * sizeof(slot);
    MGI_TRY(mgi_alloc_zero(w->owner, 1, sizeof(*g) + slots + (size_t)size * sizeof(int), &g));
    g->world = w;
    g->size = size;
    g->refs = refs;
    g->members = (int *)((char *)g->slots + slots);
    for (uint64_t i = 0; i < MGI_COMM_PENDING; i++)
        g->rounds[i].number = i;
    *out = g;
    return MGEN_OK;
}

static void set_member(mgi_comm_group *g, int member, int rank)
{
    g->members[member] = g->slots[member].rank = rank;
}

static void world_free(world *w)
{
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    mgi_free(w->owner, w);
}

static mgen_status world_make(mgen_context *owner, int size, int64_t timeout_ms, world **out)
{
    world *w;
    pthread_condattr_t attr;
    size_t n = (size_t)size, ranks = n * sizeof(blocked);
    MGI_TRY(mgi_alloc_zero(owner, 1, sizeof(*w) + ranks + n * (sizeof(int) + sizeof(bool)), &w));
    w->owner = owner;
    w->size = size;
    w->timeout_ms = timeout_ms;
    w->stack = (int *)((char *)w->blocked + ranks);
    w->seen = (bool *)(w->stack + size);
    int error = pthread_mutex_init(&w->lock, NULL);
    if (error)
        goto no_lock;
    error = pthread_condattr_init(&attr);
    if (error)
        goto no_attr;
    error = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (!error)
        error = pthread_cond_init(&w->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (error)
        goto no_attr;
    *out = w;
    return MGEN_OK;
no_attr:
    pthread_mutex_destroy(&w->lock);
no_lock:
    mgi_free(owner, w);
    return mgi_fail(owner, MGEN_E_NO_MEMORY, "the system has no lock for a group of %d ranks",
                    size);
}

mgen_status mgi_comm_group_create(mgen_context *owner, int size, int64_t timeout_ms,
                                  mgi_comm_group **out)
{
    world *w = NULL;
    *out = NULL;
    if (size < 1 || size > THREADS_MAX || timeout_ms == 0)
        return mgi_fail(owner, MGEN_E_INVALID,
                        "group of %d ranks, timeout %lld ms: 1 to %d ranks are legal, and any "
                        "timeout but 0",
                        size, (long long)timeout_ms, THREADS_MAX);
    MGI_TRY(world_make(owner, size, timeout_ms, &w));
    mgen_status status = group_make(w, size, 1, out);
    if (status != MGEN_OK) {
        world_free(w);
        return status;
    }
    w->groups = 1;
    for (int r = 0; r < size; r++)
        set_member(*out, r, r);
    return MGEN_OK;
}

void mgi_comm_group_release(mgi_comm_group *g)
{
    if (!g)
        return;
    world *w = g->world;
    mgen_context *owner = w->owner;
    pthread_mutex_lock(&w->lock);
    bool last = --g->refs == 0;
    bool last_group = last && --w->groups == 0;
    pthread_mutex_unlock(&w->lock); /* others may free the world from now on */
    if (last)
        mgi_free(owner, g);
    if (last_group)
        world_free(w);
}

/* ---- failing; all with the lock ---- */

/* The first reason stays. */
static void __attribute__((format(printf, 3, 4)))
break_world(world *w, mgen_status code, const char *format, ...)
{
    if (w->broken != MGEN_OK)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(w->why, sizeof(w->why), format, args);
    va_end(args);
    w->broken = code;
    pthread_cond_broadcast(&w->changed);
}

/* For a call that was waiting when the world broke. */
static mgen_status broken_status(mgi_comm *comm)
{
    const world *w = comm->group->world;
    return mgi_fail(comm->ctx, w->broken, "%s", w->why);
}

/* For a call that comes later. */
static mgen_status check_world(mgi_comm *comm)
{
    const world *w = comm->group->world;
    if (w->broken == MGEN_OK)
        return MGEN_OK;
    return mgi_fail(comm->ctx, w->broken == MGEN_E_DESYNC ? MGEN_E_DESYNC : MGEN_E_PEER_LOST,
                    "the group is broken: %s", w->why);
}

static void break_desync(world *w, int rank, const char *call, int other, const char *other_call)
{
    bool first = rank < other;
    break_world(w, MGEN_E_DESYNC, "ranks disagree: rank %d calls %s, rank %d calls %s",
                first ? rank : other, first ? call : other_call, first ? other : rank,
                first ? other_call : call);
}

static mgen_status desync(mgi_comm *comm, const mgi_comm_call *call, int member,
                          const mgi_comm_call *theirs)
{
    char a[160], b[160];
    const mgi_comm_group *g = comm->group;
    mgi_comm_describe(call, g->members, a, sizeof(a));
    mgi_comm_describe(theirs, g->members, b, sizeof(b));
    break_desync(g->world, g->members[comm->rank], a, g->members[member], b);
    return broken_status(comm);
}

static mgen_status peer_left(mgi_comm *comm, const mgi_comm_call *call, int member)
{
    break_world(comm->group->world, MGEN_E_PEER_LOST, "%s: rank %d has left",
                mgi_comm_op_name(call->op), comm->group->members[member]);
    return broken_status(comm);
}

/* ---- who waits for whom; all with the lock ---- */

static round *round_of(mgi_comm_group *g, uint64_t number)
{
    return &g->rounds[number % MGI_COMM_PENDING];
}

static bool round_complete(mgi_comm_group *g, uint64_t number)
{
    const round *r = round_of(g, number);
    return r->number > number || r->posted == g->size;
}

static bool waits(const blocked *b)
{
    if (!b->group)
        return false;
    return b->pair ? b->group->slots[b->member].pairs[b->index].state == PAIR_POSTED
                   : !round_complete(b->group, b->number);
}

static bool waits_for(const blocked *b, int member)
{
    if (b->pair)
        return member == b->group->slots[b->member].pairs[b->index].call.peer;
    return b->group->slots[member].posted <= b->number;
}

static const mgi_comm_call *waiting_call(const blocked *b)
{
    const slot *s = &b->group->slots[b->member];
    return b->pair ? &s->pairs[b->index].call : &s->calls[b->number % MGI_COMM_PENDING];
}

/* Everyone for whom rank `start` waits, directly or not: seen[]. True if it waits for itself so, by
 * way of rank *via. */
static bool search(world *w, int start, int *via)
{
    int top = 0;
    memset(w->seen, 0, (size_t)w->size * sizeof(*w->seen));
    w->stack[top++] = start;
    while (top) {
        int rank = w->stack[--top];
        const blocked *b = &w->blocked[rank];
        for (int m = 0; waits(b) && m < b->group->size; m++) {
            int next = b->group->members[m];
            if (!waits_for(b, m) || w->seen[next])
                continue;
            if (next == start) {
                *via = rank;
                return true;
            }
            w->seen[next] = true;
            w->stack[top++] = next;
        }
    }
    return false;
}

static void break_circle(world *w, int rank, int via)
{
    char a[160], b[160];
    const blocked *one = &w->blocked[rank], *other = &w->blocked[via];
    mgi_comm_describe(waiting_call(one), one->group->members, a, sizeof(a));
    mgi_comm_describe(waiting_call(other), other->group->members, b, sizeof(b));
    break_desync(w, rank, a, via, b);
}

static void break_late(world *w, int rank)
{
    char names[256] = "", what[160];
    size_t used = 0;
    const blocked *me = &w->blocked[rank];
    int via;
    (void)search(w, rank, &via);
    for (int r = 0; r < w->size && used < sizeof(names) - 16; r++)
        if (w->seen[r] && !waits(&w->blocked[r]))
            used +=
                (size_t)snprintf(names + used, sizeof(names) - used, "%s%d", used ? ", " : "", r);
    break_world(w, MGEN_E_TIMEOUT, "rank %d in %s: rank(s) %s%s did not arrive within %lld ms",
                rank, mgi_comm_describe(waiting_call(me), me->group->members, what, sizeof(what)),
                names, used >= sizeof(names) - 16 ? ", ..." : "", (long long)w->timeout_ms);
}

/* Until what `b` waits for has come, or the world is broken. */
static void block(world *w, int rank, const blocked *b)
{
    struct timespec end;
    int via;
    if (!waits(b))
        return;
    w->blocked[rank] = *b;
    if (w->broken == MGEN_OK && search(w, rank, &via))
        break_circle(w, rank, via);
    mgi_comm_deadline(w->timeout_ms, &end);
    while (waits(b) && w->broken == MGEN_OK) {
        if (w->timeout_ms < 0)
            pthread_cond_wait(&w->changed, &w->lock);
        else if (pthread_cond_timedwait(&w->changed, &w->lock, &end) == ETIMEDOUT && waits(b))
            break_late(w, rank);
    }
    w->blocked[rank].group = NULL;
}

/* ---- moving data, without the lock ---- */

/* Elements [first, first + count) of the ranks' sum to recv of `to`, from its `at` on, or of all. */
static void sum_ranks(const mgi_comm_call *const *calls, int size, int64_t first, int64_t count,
                      int to)
{
    float sum[1024];
    int32_t dtype = calls[0]->dtype;
    for (int64_t done = 0; done < count; done += 1024) {
        int64_t at = first + done, n = count - done < 1024 ? count - done : 1024;
        for (int r = 0; r < size; r++)
            mgi_comm_add(sum, calls[r]->send, dtype, at, n, r > 0);
        for (int r = 0; r < size; r++)
            if (to < 0 || to == r)
                mgi_comm_round(calls[r]->recv, dtype, to < 0 ? at : done, sum, n);
    }
}

static void copy_block(char *to, const char *from, size_t bytes)
{
    if (to != from)
        memcpy(to, from, bytes);
}

/* What rank `part` receives; of an all_reduce, a range of the elements, for all: in place is safe. */
static void move(mgi_comm_group *g, uint64_t number, int part)
{
    const mgi_comm_call *calls[THREADS_MAX];
    for (int r = 0; r < g->size; r++)
        calls[r] = &g->slots[r].calls[number % MGI_COMM_PENDING];
    const mgi_comm_call *mine = calls[part];
    size_t bytes = mgi_comm_bytes(mine);
    char *recv = mine->recv;
    switch (mine->op) {
    case MGI_COMM_ALL_REDUCE: {
        int64_t share = mine->count / g->size, rest = mine->count % g->size;
        int64_t first = part * share + (part < rest ? part : rest);
        sum_ranks(calls, g->size, first, share + (part < rest), -1);
        break;
    }
    case MGI_COMM_REDUCE_SCATTER:
        sum_ranks(calls, g->size, part * mine->count, mine->count, part);
        break;
    case MGI_COMM_ALL_GATHER:
        for (int r = 0; r < g->size; r++)
            copy_block(recv + (size_t)r * bytes, calls[r]->send, bytes);
        break;
    case MGI_COMM_BROADCAST:
        copy_block(recv, calls[mine->peer]->send, bytes);
        break;
    case MGI_COMM_ALL_TO_ALL:
        for (int r = 0; r < g->size; r++)
            copy_block(recv + (size_t)r * bytes,
                       (const char *)calls[r]->send + (size_t)part * bytes, bytes);
        break;
    default:
        break;
    }
}

/* ---- collectives; with the lock ---- */

/* All ranks have posted their colours: make the groups, all or none. */
static void make_children(mgi_comm_group *g, uint64_t number)
{
    mgen_status status = MGEN_OK;
    const int at = (int)(number % MGI_COMM_PENDING);
    for (int r = 0; r < g->size; r++) {
        g->slots[r].child = NULL;
        if (!g->slots[r].calls[at].recv)
            status = MGEN_E_NO_MEMORY; /* that rank has no room for its handle */
    }
    for (int r = 0; r < g->size && status == MGEN_OK; r++) {
        int64_t color = g->slots[r].calls[at].count;
        int members = 0;
        mgi_comm_group *child;
        if (color < 0 || g->slots[r].child)
            continue;
        for (int m = r; m < g->size; m++)
            members += g->slots[m].calls[at].count == color;
        status = group_make(g->world, members, members, &child);
        if (status != MGEN_OK)
            break;
        g->world->groups++;
        for (int m = r; m < g->size; m++) {
            slot *s = &g->slots[m];
            if (s->calls[at].count != color)
                continue;
            s->child = child;
            s->child_size = members;
            s->child_rank = 0;
            for (int o = r; o < g->size; o++) {
                const mgi_comm_call *c = &g->slots[o].calls[at], *mine = &s->calls[at];
                if (c->count == color)
                    s->child_rank += c->peer < mine->peer || (c->peer == mine->peer && o < m);
            }
            child->slots[s->child_rank].joined = true;
            set_member(child, s->child_rank, s->rank);
        }
    }
    for (int r = 0; r < g->size; r++) {
        mgi_comm_group *child = g->slots[r].child;
        g->slots[r].split_status = status;
        if (status == MGEN_OK || !child)
            continue;
        for (int m = r; m < g->size; m++)
            if (g->slots[m].child == child)
                g->slots[m].child = NULL;
        mgi_free(g->world->owner, child);
        g->world->groups--; /* not the last: this rank has a handle */
    }
}

/* Move a part of a complete round, if there is one that nobody has taken; else wait for the others.
 * Until the round is done, whatever else happens. */
static void finish_round(mgi_comm_group *g, uint64_t number)
{
    world *w = g->world;
    round *r = round_of(g, number);
    while (r->number == number && r->parts_done < g->size) {
        if (r->parts_taken == g->size) {
            pthread_cond_wait(&w->changed, &w->lock);
            continue;
        }
        int part = r->parts_taken++;
        pthread_mutex_unlock(&w->lock);
        move(g, number, part);
        pthread_mutex_lock(&w->lock);
        if (++r->parts_done == g->size)
            pthread_cond_broadcast(&w->changed);
    }
}

static mgen_status post_round(mgi_comm *comm, mgi_comm_work *work)
{
    mgi_comm_group *g = comm->group;
    slot *me = &g->slots[comm->rank];
    uint64_t number = work->round = me->posted;
    const mgi_comm_call *call = &work->call;
    round *r = round_of(g, number);
    while (r->number != number) { /* that one is complete, but perhaps not done */
        finish_round(g, r->number);
        if (r->parts_done == g->size && r->number != number)
            *r = (round){.number = number};
    }
    MGI_TRY(check_world(comm));
    for (int m = 0; m < g->size; m++) {
        const slot *s = &g->slots[m];
        const mgi_comm_call *theirs = &s->calls[number % MGI_COMM_PENDING];
        if (s->posted <= number && s->left)
            return peer_left(comm, call, m);
        if (s->posted > number && !mgi_comm_calls_agree(call, theirs))
            return desync(comm, call, m, theirs);
    }
    me->calls[number % MGI_COMM_PENDING] = *call;
    me->posted++;
    if (++r->posted < g->size)
        return MGEN_OK;
    if (call->op == MGI_COMM_SPLIT)
        make_children(g, number);
    if (call->op == MGI_COMM_SPLIT || call->op == MGI_COMM_BARRIER || call->count == 0)
        r->parts_taken = r->parts_done = g->size;
    pthread_cond_broadcast(&g->world->changed);
    finish_round(g, number);
    return MGEN_OK;
}

static mgen_status wait_round(mgi_comm *comm, const mgi_comm_work *work)
{
    mgi_comm_group *g = comm->group;
    const blocked b = {.group = g, .member = comm->rank, .number = work->round};
    block(g->world, g->members[comm->rank], &b);
    if (waits(&b))
        return broken_status(comm);
    finish_round(g, work->round);
    return MGEN_OK;
}

/* ---- send and recv; with the lock ---- */

/* The other end of `call`, posted before; the first one. */
static pair *find_end(slot *other, const mgi_comm_call *call, int rank)
{
    pair *found = NULL;
    for (int i = 0; i < MGI_COMM_PENDING; i++) {
        pair *p = &other->pairs[i];
        if (p->state == PAIR_POSTED && p->call.peer == rank && p->call.op != call->op &&
            (!found || p->order < found->order))
            found = p;
    }
    return found;
}

static mgen_status post_pair(mgi_comm *comm, mgi_comm_work *work)
{
    mgi_comm_group *g = comm->group;
    const mgi_comm_call *call = &work->call;
    slot *me = &g->slots[comm->rank], *other = &g->slots[call->peer];
    pair *mine = &me->pairs[work - comm->works], *theirs = find_end(other, call, comm->rank);
    MGI_TRY(check_world(comm));
    if (theirs && !mgi_comm_ends_agree(call, &theirs->call))
        return desync(comm, call, call->peer, &theirs->call);
    if (!theirs && other->left)
        return peer_left(comm, call, call->peer);
    *mine = (pair){theirs ? PAIR_MOVING : PAIR_POSTED, me->pairs_posted++, *call};
    if (!theirs)
        return MGEN_OK;
    theirs->state = PAIR_MOVING;
    const mgi_comm_call *to = call->op == MGI_COMM_RECV ? call : &theirs->call;
    const mgi_comm_call *from = call->op == MGI_COMM_RECV ? &theirs->call : call;
    pthread_mutex_unlock(&g->world->lock);
    if (call->count > 0)
        memcpy(to->recv, from->send, mgi_comm_bytes(call));
    pthread_mutex_lock(&g->world->lock);
    mine->state = theirs->state = PAIR_DONE;
    pthread_cond_broadcast(&g->world->changed);
    return MGEN_OK;
}

static mgen_status wait_pair(mgi_comm *comm, const mgi_comm_work *work)
{
    mgi_comm_group *g = comm->group;
    int index = (int)(work - comm->works);
    pair *mine = &g->slots[comm->rank].pairs[index];
    const blocked b = {.group = g, .member = comm->rank, .pair = true, .index = index};
    block(g->world, g->members[comm->rank], &b);
    while (mine->state == PAIR_MOVING)
        pthread_cond_wait(&g->world->changed, &g->world->lock);
    bool done = mine->state == PAIR_DONE;
    mine->state = PAIR_FREE;
    return done ? MGEN_OK : broken_status(comm);
}

/* ---- the engine ---- */

static bool is_pair(const mgi_comm_work *work)
{
    return work->call.op == MGI_COMM_SEND || work->call.op == MGI_COMM_RECV;
}

static mgen_status threads_start(mgi_comm *comm, mgi_comm_work *work)
{
    world *w = comm->group->world;
    pthread_mutex_lock(&w->lock);
    mgen_status status = is_pair(work) ? post_pair(comm, work) : post_round(comm, work);
    pthread_mutex_unlock(&w->lock);
    return status;
}

static mgen_status threads_wait(mgi_comm *comm, mgi_comm_work *work)
{
    world *w = comm->group->world;
    pthread_mutex_lock(&w->lock);
    mgen_status status = is_pair(work) ? wait_pair(comm, work) : wait_round(comm, work);
    pthread_mutex_unlock(&w->lock);
    return status;
}

static mgen_status threads_check(mgi_comm *comm)
{
    world *w = comm->group->world;
    pthread_mutex_lock(&w->lock);
    mgen_status status = check_world(comm);
    pthread_mutex_unlock(&w->lock);
    return status;
}

static const mgi_comm_engine threads_engine;

static mgen_status threads_split(mgi_comm *comm, int color, int key, mgi_comm **out)
{
    mgi_comm *made;
    const slot *mine =
        &comm->group->slots[comm->rank]; /* its last part changes in this rank's calls */
    (void)mgi_comm_alloc(comm->ctx, &threads_engine, 0, 1, &made); /* NULL: all ranks are told */
    mgi_comm_work work = {
        comm, {MGI_COMM_SPLIT, MGK_U8, key, color, NULL, made, comm->what, comm->index}, 0};
    mgi_comm_note(comm, NULL, 0);
    mgen_status status = threads_start(comm, &work);
    if (status == MGEN_OK)
        status = threads_wait(comm, &work);
    if (status == MGEN_OK && mine->split_status != MGEN_OK)
        status =
            mgi_fail(comm->ctx, mine->split_status, "split: not enough memory for the new groups");
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

static void threads_abort(mgi_comm *comm)
{
    mgi_comm_group *g = comm->group;
    pthread_mutex_lock(&g->world->lock);
    break_world(g->world, MGEN_E_PEER_LOST, "rank %d aborted the group", g->members[comm->rank]);
    pthread_mutex_unlock(&g->world->lock);
}

static void threads_give_up(mgi_comm *comm, const char *why)
{
    mgi_comm_group *g = comm->group;
    pthread_mutex_lock(&g->world->lock);
    break_world(g->world, MGEN_E_PEER_LOST, "rank %d gave up: %s", g->members[comm->rank], why);
    pthread_mutex_unlock(&g->world->lock);
}

static void threads_leave(mgi_comm *comm)
{
    mgi_comm_group *g = comm->group;
    slot *me = &g->slots[comm->rank];
    bool needed = false;
    pthread_mutex_lock(&g->world->lock);
    me->left = true;
    for (int m = 0; m < g->size; m++) {
        needed |= g->slots[m].posted > me->posted;
        for (int i = 0; i < MGI_COMM_PENDING; i++) {
            const pair *p = &g->slots[m].pairs[i];
            needed |= p->state == PAIR_POSTED && p->call.peer == comm->rank;
        }
    }
    if (needed)
        break_world(g->world, MGEN_E_PEER_LOST, "rank %d left while others waited for it",
                    me->rank);
    pthread_mutex_unlock(&g->world->lock);
    mgi_comm_group_release(g);
}

static const mgi_comm_engine threads_engine = {
    .moves_data = true,
    .start = threads_start,
    .wait = threads_wait,
    .check = threads_check,
    .split = threads_split,
    .interrupt = threads_abort,
    .give_up = threads_give_up,
    .leave = threads_leave,
};

mgen_status mgi_comm_join(mgi_comm_group *group, int rank, mgen_context *ctx, mgi_comm **out)
{
    mgi_comm *comm;
    *out = NULL;
    MGI_TRY(mgi_comm_alloc(ctx, &threads_engine, rank, group->size, &comm));
    pthread_mutex_lock(&group->world->lock);
    bool taken = group->slots[rank].joined;
    group->slots[rank].joined = true;
    group->refs += !taken;
    pthread_mutex_unlock(&group->world->lock);
    if (taken) {
        mgi_free(ctx, comm);
        return mgi_fail(ctx, MGEN_E_STATE, "rank %d of the group was taken before", rank);
    }
    comm->group = group;
    *out = comm;
    return MGEN_OK;
}
