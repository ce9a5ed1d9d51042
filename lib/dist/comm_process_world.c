/* SPDX-License-Identifier: MIT
 * The processes of a run beside their calls: how they meet, and what becomes of them when one is
 * lost. A rank that sees the first failure tells all others. When the time of a call is over, its
 * rank asks those that it waits for whom they wait for, and so on: ranks that are blocked in a call
 * answer, and those that do not are named. Where a peer is on the same machine, or connected by a
 * socket, the end of its process is seen at once.
 */
#include "dist/comm_process.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "dist/sockets.h"
#include "io/plugin.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    GRACE_MS = 250 /* for messages that are on their way */,
    LOOK_MS = 20,
    SPIN = 5,
    WAIT_US = 1000,
    HEARD = 256, /* control messages in a row: a peer that sends them without end holds nobody up */
    VERSION = 1
};

struct mgi_process_out {
    mgi_process_out *next;
    int64_t request;
    int to;
    mgi_process_control what;
};

/* What ranks tell each other first. */
typedef struct hello {
    int32_t version, pid;
    uint64_t machine; /* a hash of its name and of the space of process ids */
} hello;

int64_t mgi_process_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + 1; /* never 0 */
}

void mgi_process_idle(const mgi_process_world *w, int times)
{
    if (w->transport->wait)
        w->transport->wait(w->carrier, times < SPIN ? 0 : WAIT_US);
    else if (times < 20)
        sched_yield();
    else
        nanosleep(&(struct timespec){0, times < 2000 ? 50000 : 500000}, NULL);
}

/* ---- telling ---- */

void mgi_process_tell(mgi_process_world *w, int rank, const mgi_process_control *what)
{
    char error[256];
    mgi_process_out *out;
    if (mgi_alloc_zero(w->ctx, 1, sizeof(*out), &out) != MGEN_OK)
        return; /* that rank will find out by itself */
    out->what = *what;
    out->to = rank;
    if (w->transport->send(w->carrier, &out->what, sizeof(out->what), rank, MGI_TAG_CONTROL,
                           &out->request, error, sizeof(error))) {
        mgi_free(w->ctx, out);
        return;
    }
    out->next = w->out;
    w->out = out;
}

/* Forget what has been sent; `all`: what is being sent, too. */
static void reap(mgi_process_world *w, bool all)
{
    char error[256];
    for (mgi_process_out **at = &w->out; *at;) {
        mgi_process_out *out = *at;
        if (w->transport->test(w->carrier, &out->request, error, sizeof(error)))
            out->request = 0;
        if (out->request && all)
            w->transport->drop(w->carrier, &out->request);
        if (out->request) {
            at = &out->next;
            continue;
        }
        *at = out->next;
        mgi_free(w->ctx, out);
    }
}

mgen_status mgi_process_break(mgi_process_world *w, mgen_status code, const char *format, ...)
{
    mgi_process_control what = {.kind = MGI_CONTROL_BROKEN, .from = w->rank, .code = code};
    if (w->broken != MGEN_OK)
        return w->broken;
    va_list args;
    va_start(args, format);
    vsnprintf(w->why, sizeof(w->why), format, args);
    va_end(args);
    w->broken = code;
    snprintf(what.text, sizeof(what.text), "%s", w->why);
    for (int r = 0; r < w->size; r++)
        if (r != w->rank)
            mgi_process_tell(w, r, &what);
    return code;
}

mgen_status mgi_process_broken(mgi_process_world *w, bool later)
{
    if (!later)
        return mgi_fail(w->ctx, w->broken, "%s", w->why);
    return mgi_fail(w->ctx, w->broken == MGEN_E_DESYNC ? MGEN_E_DESYNC : MGEN_E_PEER_LOST,
                    "the group is broken: %s", w->why);
}

mgen_status mgi_process_check(mgi_process_world *w, int32_t status, const char *error)
{
    return status ? mgi_process_break(w, status, "rank %d: %s", w->rank, error) : MGEN_OK;
}

/* ---- listening ---- */

static void listen_again(mgi_process_world *w)
{
    char error[256] = "";
    (void)mgi_process_check(w,
                            w->transport->receive(w->carrier, &w->in, sizeof(w->in), -1,
                                                  MGI_TAG_CONTROL, &w->in_request, error,
                                                  sizeof(error)),
                            error);
}

/* Who asks again and again, and reads no answer, gets one: what is kept for it is bounded. */
static bool answers(const mgi_process_world *w, int asker)
{
    const mgi_process_out *out = w->out;
    while (out && (out->to != asker || out->what.kind != MGI_CONTROL_ANSWER))
        out = out->next;
    return out != NULL;
}

static void answer(mgi_process_world *w, int asker)
{
    mgi_process_control what = {.kind = MGI_CONTROL_ANSWER, .from = w->rank};
    if (!w->waits || answers(w, asker))
        return;
    mgi_process_describe(w->waits_in, &w->waits->mine, what.text, sizeof(what.text));
    for (int m = 0; m < w->waits_in->comm->size && what.count < MGI_PROCESS_NAMED; m++)
        if (mgi_process_misses(w->waits_in, w->waits, m))
            what.rank[what.count++] = w->waits_in->members[m];
    mgi_process_tell(w, asker, &what);
}

static void ask(mgi_process_world *w, int rank)
{
    const mgi_process_control what = {.kind = MGI_CONTROL_ASK, .from = w->rank};
    if (rank == w->rank || w->asked[rank])
        return;
    w->asked[rank] = true;
    mgi_process_tell(w, rank, &what);
}

static void hear(mgi_process_world *w, mgi_process_control *what)
{
    if (what->from < 0 || what->from >= w->size)
        return;
    what->text[sizeof(what->text) - 1] = 0;
    switch (what->kind) {
    case MGI_CONTROL_BROKEN:
        if (w->broken == MGEN_OK) {
            w->broken = mgi_comm_failure(what->code);
            snprintf(w->why, sizeof(w->why), "%s", what->text);
        }
        break;
    case MGI_CONTROL_LEFT:
        for (mgi_process_group *g = w->groups; g; g = g->next)
            for (int m = 0; g->id == what->group && m < g->comm->size; m++)
                if (g->members[m] == what->from)
                    g->left[m] = mgi_process_now();
        break;
    case MGI_CONTROL_ASK:
        answer(w, what->from);
        break;
    case MGI_CONTROL_ANSWER:
        w->answered[what->from] = true;
        snprintf(w->answer, sizeof(w->answer), "rank %d calls %.160s", what->from, what->text);
        for (int i = 0; i < what->count && i < MGI_PROCESS_NAMED; i++)
            if (what->rank[i] >= 0 && what->rank[i] < w->size)
                ask(w, what->rank[i]);
        break;
    default:
        break;
    }
}

void mgi_process_listen(mgi_process_world *w)
{
    char error[256] = "";
    reap(w, false);
    for (int i = 0; w->in_request && i < HEARD; i++) {
        int32_t status = w->transport->test(w->carrier, &w->in_request, error, sizeof(error));
        if (mgi_process_check(w, status, error) != MGEN_OK || w->in_request)
            return;
        mgi_process_control what = w->in;
        listen_again(w);
        hear(w, &what);
    }
}

/* ---- who is lost ---- */

void mgi_process_look(mgi_process_world *w, const mgi_process_group *g, const mgi_process_work *pw)
{
    int64_t now = mgi_process_now();
    if (now - w->looked < LOOK_MS)
        return;
    w->looked = now;
    for (int m = 0; m < g->comm->size; m++) {
        int r = g->members[m];
        struct pollfd end = {w->process[r], POLLIN, 0};
        if (!mgi_process_misses(g, pw, m))
            continue;
        bool ended = end.fd >= 0 && poll(&end, 1, 0) == 1;
        bool parted = !ended && w->transport->ended && w->transport->ended(w->carrier, r);
        if (!g->left[m] && (ended || parted))
            g->left[m] = now; /* what it sent before may still come */
        if (g->left[m] && now - g->left[m] > GRACE_MS)
            (void)mgi_process_break(w, MGEN_E_PEER_LOST, "%s: rank %d has left%s",
                                    mgi_comm_op_name((mgi_comm_op)pw->mine.op), r,
                                    ended    ? ", its process has ended"
                                    : parted ? ", its connection has ended"
                                             : "");
    }
}

void mgi_process_late(mgi_process_world *w, const mgi_process_group *g, const mgi_process_work *pw)
{
    char names[256] = "", what[160];
    size_t used = 0;
    memset(w->asked, 0, (size_t)w->size * sizeof(*w->asked));
    memset(w->answered, 0, (size_t)w->size * sizeof(*w->answered));
    for (int m = 0; m < g->comm->size; m++)
        if (mgi_process_misses(g, pw, m))
            ask(w, g->members[m]);
    int64_t end = mgi_process_now() + 2 * GRACE_MS;
    for (int times = 0; mgi_process_now() < end; times++) {
        mgi_process_progress(w);
        if (w->broken != MGEN_OK || pw->stage == MGI_STAGE_DONE)
            return;
        mgi_process_idle(w, times);
    }
    for (int r = 0; r < w->size && used < sizeof(names) - 16; r++)
        if (w->asked[r] && !w->answered[r])
            used +=
                (size_t)snprintf(names + used, sizeof(names) - used, "%s%d", used ? ", " : "", r);
    mgi_process_describe(g, &pw->mine, what, sizeof(what));
    if (!used)
        (void)mgi_process_break(w, MGEN_E_DESYNC,
                                "ranks disagree and wait for each other: rank %d calls %s, %s",
                                w->rank, what, w->answer);
    (void)mgi_process_break(
        w, MGEN_E_TIMEOUT, "rank %d in %s: rank(s) %s%s did not arrive within %lld ms", w->rank,
        what, names, used >= sizeof(names) - 16 ? ", ..." : "", (long long)w->timeout_ms);
}

/* ---- meeting and parting ---- */

static hello own_hello(void)
{
    char name[256] = "", space[64] = "";
    hello h = {.version = VERSION, .pid = (int32_t)getpid()};
    (void)gethostname(name, sizeof(name) - 1);
    ssize_t length = readlink("/proc/self/ns/pid", space, sizeof(space) - 1);
    h.machine =
        mgi_hash64(name, strlen(name), mgi_hash64(space, length > 0 ? (size_t)length : 0, 0));
    return h;
}

/* Everyone tells everyone; who does not within the time is named. */
static mgen_status meet(mgi_process_world *w, const hello *mine, hello *all, int64_t *requests)
{
    char error[256] = "", names[256] = "";
    size_t used = 0;
    int missing = 1;
    int64_t end = w->timeout_ms < 0 ? INT64_MAX : mgi_process_now() + w->timeout_ms;
    for (int i = 0; i < 2 * w->size; i++) {
        int r = i / 2;
        if (r == w->rank)
            continue;
        int32_t status =
            i % 2 ? w->transport->send(w->carrier, mine, sizeof(*mine), r, MGI_TAG_HELLO,
                                       &requests[i], error, sizeof(error))
                  : w->transport->receive(w->carrier, &all[r], sizeof(*all), r, MGI_TAG_HELLO,
                                          &requests[i], error, sizeof(error));
        if (status)
            return mgi_fail(w->ctx, status, "%s", error);
    }
    for (int times = 0; missing && mgi_process_now() < end; times++) {
        missing = 0;
        for (int i = 0; i < 2 * w->size; i++) {
            int32_t status =
                requests[i] ? w->transport->test(w->carrier, &requests[i], error, sizeof(error))
                            : 0;
            if (status)
                return mgi_fail(w->ctx, status, "%s", error);
            missing += requests[i] != 0;
            if (requests[i] && w->transport->ended && w->transport->ended(w->carrier, i / 2))
                return mgi_fail(w->ctx, MGEN_E_PEER_LOST, "start: rank %d has left", i / 2);
        }
        mgi_process_idle(w, times);
    }
    for (int r = 0; r < w->size && used < sizeof(names) - 16; r++)
        if (requests[2 * r])
            used +=
                (size_t)snprintf(names + used, sizeof(names) - used, "%s%d", used ? ", " : "", r);
    if (missing)
        return mgi_fail(w->ctx, MGEN_E_TIMEOUT, "start: rank(s) %s%s did not arrive within %lld ms",
                        names, used >= sizeof(names) - 16 ? ", ..." : "", (long long)w->timeout_ms);
    for (int r = 0; r < w->size; r++)
        if (r != w->rank && all[r].version != mine->version)
            return mgi_fail(w->ctx, MGEN_E_DESYNC,
                            "ranks disagree on the protocol: rank %d has %d, rank %d has %d; run "
                            "the same libmoviegen everywhere",
                            w->rank, mine->version, r, all[r].version);
    return MGEN_OK;
}

static mgen_status meet_all(mgi_process_world *w)
{
    hello mine = own_hello(), *all;
    int64_t *requests;
    size_t n = (size_t)w->size;
    MGI_TRY(mgi_alloc_zero(w->ctx, n, sizeof(*all) + 2 * sizeof(*requests), &all));
    requests = (int64_t *)(all + n);
    mgen_status status = meet(w, &mine, all, requests);
    for (size_t i = 0; i < 2 * n; i++)
        if (requests[i])
            w->transport->drop(w->carrier, &requests[i]);
    for (int r = 0; r < w->size && status == MGEN_OK; r++)
        if (r != w->rank && all[r].machine == mine.machine)
            w->process[r] = (int)syscall(SYS_pidfd_open, all[r].pid, 0); /* -1 on old kernels */
    mgi_free(w->ctx, all);
    return status;
}

void mgi_process_world_close(mgi_process_world *w)
{
    int64_t end = mgi_process_now() + GRACE_MS;
    for (int times = 0; w->out && mgi_process_now() < end; times++) {
        reap(w, false);
        mgi_process_idle(w, times);
    }
    reap(w, true);
    if (w->in_request)
        w->transport->drop(w->carrier, &w->in_request);
    for (int r = 0; w->process && r < w->size; r++)
        if (w->process[r] >= 0)
            close(w->process[r]);
    w->transport->end(w->carrier, w->broken == MGEN_OK);
    mgi_plugin_close(w->plugin);
    mgi_free(w->ctx, w->process);
    mgi_free(w->ctx, w);
}

static mgen_status start_mpi(mgi_process_world *w)
{
    static const mgi_plugin_kind kind = {
        .name = "MPI",
        .file = "mgen_mpi.so",
        .symbol = "mgi_mpi_plugin",
        .version = MGI_MPI_PLUGIN_VERSION,
        .if_absent = "build libmoviegen with -Dmpi=enabled (Debian: libopenmpi-dev), or let ranks "
                     "meet at an address",
        .if_bad = "install MPI's libraries (Debian: libopenmpi3), or let ranks meet at an address"};
    char error[512] = "";
    const void *found;
    MGI_TRY(mgi_plugin_open(w->ctx, &kind, &w->plugin, &found));
    w->transport = found;
    int32_t status =
        w->transport->begin(&w->carrier, &w->rank, &w->size, &w->tag_max, error, sizeof(error));
    if (!status)
        return MGEN_OK;
    mgi_plugin_close(w->plugin);
    return mgi_fail(w->ctx, status, "%s", error);
}

static mgen_status start_sockets(mgi_process_world *w, const mgi_comm_meeting *how,
                                 int64_t timeout_ms)
{
    int *fds;
    mgi_sockets *sockets;
    MGI_TRY(mgi_alloc_zero(w->ctx, (size_t)how->size, sizeof(*fds), &fds));
    mgen_status status = mgi_sockets_meet(w->ctx, how, timeout_ms, fds);
    if (status == MGEN_OK)
        status = mgi_sockets_create(w->ctx, how->rank, how->size, fds, &sockets);
    mgi_free(w->ctx, fds);
    if (status != MGEN_OK)
        return status;
    w->transport = &mgi_sockets_transport;
    w->carrier = sockets;
    w->rank = how->rank;
    w->size = how->size;
    w->tag_max = INT32_MAX;
    return MGEN_OK;
}

static mgen_status begin(mgi_process_world *w)
{
    size_t n = (size_t)w->size;
    if (w->size > MGI_COMM_RANKS_MAX)
        return mgi_fail(w->ctx, MGEN_E_LIMIT, "%d ranks: at most %d", w->size, MGI_COMM_RANKS_MAX);
    MGI_TRY(mgi_alloc_zero(w->ctx, n, sizeof(*w->process) + 2 * sizeof(bool), &w->process));
    w->asked = (bool *)(w->process + n);
    w->answered = w->asked + n;
    for (int r = 0; r < w->size; r++)
        w->process[r] = -1;
    MGI_TRY(meet_all(w));
    listen_again(w);
    return w->broken == MGEN_OK ? MGEN_OK : mgi_process_broken(w, false);
}

mgen_status mgi_process_world_open(mgen_context *ctx, const mgi_comm_meeting *how,
                                   int64_t timeout_ms, mgi_process_world **out)
{
    mgi_process_world *w;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof(*w), &w));
    w->ctx = ctx;
    w->next_id = 2;
    w->timeout_ms = timeout_ms;
    mgen_status status = how ? start_sockets(w, how, timeout_ms) : start_mpi(w);
    if (status != MGEN_OK) {
        mgi_free(ctx, w);
        return status;
    }
    status = begin(w);
    if (status != MGEN_OK) {
        w->broken = status;
        mgi_process_world_close(w);
        return status;
    }
    *out = w;
    return MGEN_OK;
}
