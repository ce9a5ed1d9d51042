/* SPDX-License-Identifier: MIT
 * NCCL played by the host, for tests of the engine that uses it: ranks are threads of one process, and a call is done
 * when it has come to the front of each rank's stream. */
#include "fake_nccl.h"

#include "dist/nccl_api.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { RANKS = 8, OPEN = 64 };
enum { REDUCE, SCATTER, GATHER, BROADCAST, SEND, RECV };

typedef struct call {
    int op, root;
    size_t count;
    int dtype;
    const void *send;
    void *recv;
} call;

/* One way between two ranks: sends, and the recvs that they meet. */
typedef struct way {
    call sends[OPEN], recvs[OPEN];
    long sent, received;   /* that streams have come to */
    long posted[2], moved; /* recvs: 1 */
} way;

typedef struct group {
    char id[128];
    int size, joined, left, under_way;
    bool gone[RANKS]; /* these have left, their streams and buffers with them: never touched */
    call calls[RANKS][OPEN];
    long posted[RANKS], come[RANKS], done;
    way ways[RANKS][RANKS];
    struct group *next;
} group;

struct mgi_nccl_comm {
    group *g;
    int rank, polls, error;
};

/* What lies on a stream: a call of all ranks, or sends and recvs that run together. */
typedef struct part {
    way *on; /* NULL: of all ranks */
    bool come;
    long number;
    call made;
} part;

typedef struct launch {
    group *g;
    int rank, count;
    part parts[2 * RANKS];
} launch;

EXPORT fake_nccl fake_nccl_state;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static group *groups;
static long ids;
static _Thread_local launch grouped; /* between GroupStart and GroupEnd */
static _Thread_local int depth;
static _Thread_local void *grouped_stream;

EXPORT int ncclGetVersion(int *version);
EXPORT int ncclGetUniqueId(mgi_nccl_id *id);
EXPORT int ncclCommInitRankConfig(mgi_nccl_comm **out, int size, mgi_nccl_id id, int rank,
                                  mgi_nccl_config *config);
EXPORT int ncclCommGetAsyncError(mgi_nccl_comm *c, int *error);
EXPORT int ncclCommFinalize(mgi_nccl_comm *c);
EXPORT int ncclCommDestroy(mgi_nccl_comm *c);
EXPORT int ncclCommAbort(mgi_nccl_comm *c);
EXPORT const char *ncclGetErrorString(int error);
EXPORT const char *ncclGetLastError(mgi_nccl_comm *c);
EXPORT int ncclAllReduce(const void *send, void *recv, size_t count, int dtype, int op,
                         mgi_nccl_comm *c, void *stream);
EXPORT int ncclReduceScatter(const void *send, void *recv, size_t count, int dtype, int op,
                             mgi_nccl_comm *c, void *stream);
EXPORT int ncclAllGather(const void *send, void *recv, size_t count, int dtype, mgi_nccl_comm *c,
                         void *stream);
EXPORT int ncclBroadcast(const void *send, void *recv, size_t count, int dtype, int root,
                         mgi_nccl_comm *c, void *stream);
EXPORT int ncclSend(const void *data, size_t count, int dtype, int peer, mgi_nccl_comm *c,
                    void *stream);
EXPORT int ncclRecv(void *data, size_t count, int dtype, int peer, mgi_nccl_comm *c, void *stream);
EXPORT int ncclGroupStart(void);
EXPORT int ncclGroupEnd(void);

static size_t size_of(int dtype)
{
    return dtype == MGI_NCCL_BF16 ? 2 : dtype == MGI_NCCL_U8 ? 1 : dtype == MGI_NCCL_U64 ? 8 : 4;
}

static float value(const void *p, size_t i, int dtype)
{
    uint32_t bits = dtype == MGI_NCCL_BF16 ? (uint32_t)((const uint16_t *)p)[i] << 16 : 0;
    float f;
    if (dtype != MGI_NCCL_BF16)
        return ((const float *)p)[i];
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void put(void *p, size_t i, int dtype, float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof f);
    if (dtype == MGI_NCCL_BF16)
        ((uint16_t *)p)[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    else
        ((float *)p)[i] = f;
}

/* All ranks have come to call number `at`. */
static void run(group *g, long at)
{
    call *calls[RANKS];
    for (int r = 0; r < g->size; r++)
        calls[r] = &g->calls[r][at % OPEN];
    const call *c = calls[0];
    size_t n = c->count * (c->op == SCATTER ? (size_t)g->size : 1),
           bytes = c->count * size_of(c->dtype);
    float *sums = calloc(n ? n : 1, sizeof *sums);
    for (int r = 0; (c->op == REDUCE || c->op == SCATTER) && r < g->size; r++)
        for (size_t i = 0; i < n; i++)
            sums[i] += value(calls[r]->send, i, c->dtype);
    for (int r = 0; r < g->size; r++) {
        for (size_t i = 0; (c->op == REDUCE || c->op == SCATTER) && i < c->count; i++)
            put(calls[r]->recv, i, c->dtype,
                sums[i + (c->op == SCATTER ? (size_t)r * c->count : 0)]);
        for (int s = 0; c->op == GATHER && s < g->size; s++)
            memmove((char *)calls[r]->recv + (size_t)s * bytes, calls[s]->send, bytes);
        if (c->op == BROADCAST)
            memmove(calls[r]->recv, calls[c->root]->send, bytes);
    }
    free(sums);
}

static void group_free(group *g)
{
    group **at = &groups;
    if (g->left < g->size || g->under_way > 0)
        return;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    free(g);
}

/* Of two that both came, the one copies. */
static bool move(const group *g, way *w, int from, int to, long number)
{
    while (!g->gone[from] && !g->gone[to] && w->sent > w->moved && w->received > w->moved) {
        const call *s = &w->sends[w->moved % OPEN], *r = &w->recvs[w->moved++ % OPEN];
        memcpy(r->recv, s->send, s->count * size_of(s->dtype));
    }
    return w->moved > number;
}

static bool part_done(group *g, int rank, part *p)
{
    bool first = !p->come, all = true;
    p->come = true;
    if (p->on) {
        way *w = p->on;
        int place = (int)(w - &g->ways[0][0]);
        if (first && p->made.op == SEND)
            w->sends[w->sent++ % OPEN] = p->made;
        else if (first)
            w->recvs[w->received++ % OPEN] = p->made;
        return move(g, w, place / RANKS, place % RANKS, p->number);
    }
    if (first)
        g->calls[rank][g->come[rank]++ % OPEN] = p->made;
    for (int r = 0; r < g->size; r++)
        all &= g->come[r] > g->done && !g->gone[r];
    if (all)
        run(g, g->done++);
    return g->done > p->number;
}

/* A mgk_queue_fn. What was aborted is over. */
static bool get_on(void *what)
{
    launch *l = what;
    group *g = l->g;
    if (fake_nccl_state.open)
        fake_nccl_state.open();
    pthread_mutex_lock(&lock);
    bool done = true;
    for (int i = 0; i < l->count && !g->gone[l->rank]; i++)
        done &= part_done(g, l->rank, &l->parts[i]);
    if (done) {
        g->under_way--;
        group_free(g);
    }
    pthread_mutex_unlock(&lock);
    if (fake_nccl_state.close)
        fake_nccl_state.close();
    return done;
}

static void put_launch(const launch *l, void *stream)
{
    launch *kept = fake_nccl_state.keep(get_on, sizeof *kept);
    *kept = *l;
    pthread_mutex_lock(&lock);
    l->g->under_way++;
    pthread_mutex_unlock(&lock);
    fake_nccl_state.put(stream, kept);
}

/* What every call does first: the status that it answers. */
static int taken(mgi_nccl_comm *c)
{
    c->polls = atomic_load(&fake_nccl_state.polls);
    int number = atomic_fetch_add(&fake_nccl_state.calls, 1) + 1;
    if (number == atomic_load(&fake_nccl_state.fails_at))
        c->error = MGI_NCCL_REMOTE;
    return c->polls ? MGI_NCCL_IN_PROGRESS : MGI_NCCL_OK;
}

static int post(mgi_nccl_comm *c, call made, void *stream)
{
    group *g = c->g;
    int status = taken(c);
    pthread_mutex_lock(&lock);
    launch l = {.g = g, .rank = c->rank, .count = 1};
    l.parts[0] = (part){.number = g->posted[c->rank]++, .made = made};
    pthread_mutex_unlock(&lock);
    put_launch(&l, stream);
    return status;
}

static int post_pair(mgi_nccl_comm *c, call made, int from, int to, void *stream)
{
    int status = taken(c);
    pthread_mutex_lock(&lock);
    way *w = &c->g->ways[from][to];
    part p = {.on = w, .number = w->posted[made.op == RECV]++, .made = made};
    pthread_mutex_unlock(&lock);
    launch alone = {0}, *l = depth ? &grouped : &alone;
    l->g = c->g;
    l->rank = c->rank;
    l->parts[l->count++] = p;
    grouped_stream = stream;
    if (!depth)
        put_launch(l, stream);
    return status;
}

int ncclGetVersion(int *version)
{
    int told = atomic_load(&fake_nccl_state.version);
    *version = told ? told : 22800;
    return MGI_NCCL_OK;
}

int ncclGetUniqueId(mgi_nccl_id *id)
{
    if (atomic_load(&fake_nccl_state.no_id))
        return MGI_NCCL_SYSTEM;
    memset(id, 0, sizeof *id);
    pthread_mutex_lock(&lock);
    long number = ++ids;
    pthread_mutex_unlock(&lock);
    memcpy(id->bytes, &number, sizeof number);
    return MGI_NCCL_OK;
}

int ncclCommInitRankConfig(mgi_nccl_comm **out, int size, mgi_nccl_id id, int rank,
                           mgi_nccl_config *config)
{
    *out = NULL;
    if (config->size != sizeof *config || config->magic != 0xcafebeef || config->blocking != 0)
        return 4;
    if (atomic_load(&fake_nccl_state.no_start) == rank + 1)
        return 1;
    atomic_store(&fake_nccl_state.blocks, config->max_ctas > 0 ? config->max_ctas : 0);
    pthread_mutex_lock(&lock);
    group *g = groups;
    while (g && memcmp(g->id, id.bytes, sizeof g->id))
        g = g->next;
    if (!g && (g = calloc(1, sizeof *g))) {
        memcpy(g->id, id.bytes, sizeof g->id);
        g->size = size;
        g->next = groups;
        groups = g;
    }
    g->joined++;
    pthread_mutex_unlock(&lock);
    mgi_nccl_comm *c = calloc(1, sizeof *c);
    c->g = g;
    c->rank = rank;
    c->polls = atomic_load(&fake_nccl_state.polls);
    *out = c;
    atomic_fetch_add(&fake_nccl_state.alive, 1);
    return MGI_NCCL_IN_PROGRESS;
}

int ncclCommGetAsyncError(mgi_nccl_comm *c, int *error)
{
    pthread_mutex_lock(&lock);
    bool waits = c->g->joined < c->g->size;
    pthread_mutex_unlock(&lock);
    *error = waits || c->polls > 0 ? MGI_NCCL_IN_PROGRESS : c->error;
    c->polls -= c->polls > 0;
    return MGI_NCCL_OK;
}

static void leave(mgi_nccl_comm *c)
{
    pthread_mutex_lock(&lock);
    group *g = c->g;
    g->gone[c->rank] = true;
    g->left++;
    group_free(g);
    pthread_mutex_unlock(&lock);
    free(c);
    atomic_fetch_sub(&fake_nccl_state.alive, 1);
}

int ncclCommFinalize(mgi_nccl_comm *c)
{
    c->polls = atomic_load(&fake_nccl_state.polls);
    return MGI_NCCL_IN_PROGRESS;
}

int ncclCommDestroy(mgi_nccl_comm *c)
{
    leave(c);
    return MGI_NCCL_OK;
}

int ncclCommAbort(mgi_nccl_comm *c)
{
    leave(c);
    return MGI_NCCL_OK;
}

const char *ncclGetErrorString(int error)
{
    return error == MGI_NCCL_REMOTE ? "remote process exited" : "unhandled error";
}

const char *ncclGetLastError(mgi_nccl_comm *c)
{
    (void)c;
    return "as the test asked";
}

int ncclAllReduce(const void *send, void *recv, size_t count, int dtype, int op, mgi_nccl_comm *c,
                  void *stream)
{
    return op != MGI_NCCL_SUM ? 4 : post(c, (call){REDUCE, 0, count, dtype, send, recv}, stream);
}

int ncclReduceScatter(const void *send, void *recv, size_t count, int dtype, int op,
                      mgi_nccl_comm *c, void *stream)
{
    return op != MGI_NCCL_SUM ? 4 : post(c, (call){SCATTER, 0, count, dtype, send, recv}, stream);
}

int ncclAllGather(const void *send, void *recv, size_t count, int dtype, mgi_nccl_comm *c,
                  void *stream)
{
    return post(c, (call){GATHER, 0, count, dtype, send, recv}, stream);
}

int ncclBroadcast(const void *send, void *recv, size_t count, int dtype, int root, mgi_nccl_comm *c,
                  void *stream)
{
    return post(c, (call){BROADCAST, root, count, dtype, send, recv}, stream);
}

int ncclSend(const void *data, size_t count, int dtype, int peer, mgi_nccl_comm *c, void *stream)
{
    return post_pair(c, (call){SEND, 0, count, dtype, data, NULL}, c->rank, peer, stream);
}

int ncclRecv(void *data, size_t count, int dtype, int peer, mgi_nccl_comm *c, void *stream)
{
    return post_pair(c, (call){RECV, 0, count, dtype, NULL, data}, peer, c->rank, stream);
}

int ncclGroupStart(void)
{
    if (depth++ == 0)
        grouped.count = 0;
    return MGI_NCCL_OK;
}

int ncclGroupEnd(void)
{
    if (--depth == 0 && grouped.count > 0)
        put_launch(&grouped, grouped_stream);
    return MGI_NCCL_OK;
}
