/* SPDX-License-Identifier: MIT
 * NCCL played by the host, for tests of the engine that uses it: ranks are threads of one process, the GPU's
 * memory is the host's, and calls are done when the last rank has made them. */
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
    fake_stream *stream;
} call;

typedef struct group {
    char id[128];
    int size, joined, left;
    bool gone[RANKS]; /* these have left, their streams and buffers with them: never touched */
    call calls[RANKS][OPEN];
    long posted[RANKS], done;
    call pairs[RANKS][RANKS][OPEN]; /* sends from one to the other, and the recvs */
    long sent[RANKS][RANKS], received[RANKS][RANKS];
    call recvs[RANKS][RANKS][OPEN];
    long moved[RANKS][RANKS];
    struct group *next;
} group;

struct mgi_nccl_comm {
    group *g;
    int rank, polls, error;
};

EXPORT fake_nccl fake_nccl_state;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static group *groups;
static long ids;

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

/* All ranks have made call number `at`. */
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
    for (int r = 0; r < g->size; r++)
        atomic_fetch_sub(&calls[r]->stream->pending, 1);
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

static int post(mgi_nccl_comm *c, call made)
{
    group *g = c->g;
    int status = taken(c);
    pthread_mutex_lock(&lock);
    atomic_fetch_add(&made.stream->pending, 1);
    g->calls[c->rank][g->posted[c->rank]++ % OPEN] = made;
    bool all = true;
    for (int r = 0; r < g->size; r++)
        all &= g->posted[r] > g->done && !g->gone[r];
    if (all)
        run(g, g->done++);
    pthread_mutex_unlock(&lock);
    return status;
}

static int post_pair(mgi_nccl_comm *c, call made, int from, int to)
{
    group *g = c->g;
    int status = taken(c);
    pthread_mutex_lock(&lock);
    atomic_fetch_add(&made.stream->pending, 1);
    if (made.op == SEND)
        g->pairs[from][to][g->sent[from][to]++ % OPEN] = made;
    else
        g->recvs[from][to][g->received[from][to]++ % OPEN] = made;
    while (!g->gone[from] && !g->gone[to] && g->sent[from][to] > g->moved[from][to] &&
           g->received[from][to] > g->moved[from][to]) {
        call *s = &g->pairs[from][to][g->moved[from][to] % OPEN];
        call *r = &g->recvs[from][to][g->moved[from][to]++ % OPEN];
        memcpy(r->recv, s->send, s->count * size_of(s->dtype));
        atomic_fetch_sub(&s->stream->pending, 1);
        atomic_fetch_sub(&r->stream->pending, 1);
    }
    pthread_mutex_unlock(&lock);
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
    group *g = c->g, **at = &groups;
    g->gone[c->rank] = true;
    if (++g->left == g->size) {
        while (*at != g)
            at = &(*at)->next;
        *at = g->next;
        free(g);
    }
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
    return op != MGI_NCCL_SUM ? 4 : post(c, (call){REDUCE, 0, count, dtype, send, recv, stream});
}

int ncclReduceScatter(const void *send, void *recv, size_t count, int dtype, int op,
                      mgi_nccl_comm *c, void *stream)
{
    return op != MGI_NCCL_SUM ? 4 : post(c, (call){SCATTER, 0, count, dtype, send, recv, stream});
}

int ncclAllGather(const void *send, void *recv, size_t count, int dtype, mgi_nccl_comm *c,
                  void *stream)
{
    return post(c, (call){GATHER, 0, count, dtype, send, recv, stream});
}

int ncclBroadcast(const void *send, void *recv, size_t count, int dtype, int root, mgi_nccl_comm *c,
                  void *stream)
{
    return post(c, (call){BROADCAST, root, count, dtype, send, recv, stream});
}

int ncclSend(const void *data, size_t count, int dtype, int peer, mgi_nccl_comm *c, void *stream)
{
    return post_pair(c, (call){SEND, 0, count, dtype, data, NULL, stream}, c->rank, peer);
}

int ncclRecv(void *data, size_t count, int dtype, int peer, mgi_nccl_comm *c, void *stream)
{
    return post_pair(c, (call){RECV, 0, count, dtype, NULL, data, stream}, peer, c->rank);
}

int ncclGroupStart(void)
{
    return MGI_NCCL_OK;
}

int ncclGroupEnd(void)
{
    return MGI_NCCL_OK;
}
