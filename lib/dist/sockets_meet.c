/* SPDX-License-Identifier: MIT
 * How processes find each other and connect, each with each.
 *
 * At an address rank 0 listens; the others come, say who they are and where they listen themselves, and when all are
 * there rank 0 tells everyone where the others are. In a file rank 0 writes where it listens, under a number of its
 * own: who reads what an earlier run left finds nobody there, or somebody with another number, and reads again. Or the
 * host exchanges what is told. Then every rank connects to those before it and is connected to by those behind it.
 *
 * Whoever else connects is heard until it says something wrong, or nothing for a while; it is not waited for.
 */
#include "dist/sockets_meet.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "dist/comm_engine.h"
#include "io/path.h"

#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    VERSION = 1,
    ORDER = 0x01020304, /* of bytes */
    GUESTS = 64,        /* that are heard at the same time */
    PATIENCE_MS = 5000, /* with each */
    AGAIN_MS = 20,
    ASKED_MS = 100, /* from one call of the host's callback to the next, at least */
    GRACE_MS = 500  /* for rank 0's reasons, when the time is over */
};

static const char magic[8] = {'m', 'g', 'e', 'n', 'm', 'e', 'e', 't'};

enum { KIND_JOIN, KIND_PAIR };

typedef struct greeting {
    char magic[8];
    uint32_t version, order;
    int32_t from, to, size, kind;
    uint64_t run;    /* a hash of its name */
    uint64_t number; /* rank 0's, of this meeting; 0: not known yet */
    mgi_card card;
} greeting;

typedef struct reply {
    char magic[8];
    uint32_t version;
    int32_t status; /* MGEN_E_AGAIN: not this meeting */
    uint64_t number;
    char text[232];
} reply;

/* One rank's meeting. */
typedef struct meeting {
    mgen_context *ctx;
    const mgi_comm_meeting *how;
    int64_t timeout_ms, end; /* end: ms */
    int64_t asked;           /* when the host's callback was called */
    greeting mine;
    bool local;
    bool found; /* rank 0 */
    int listener;
    mgi_card *cards; /* of all ranks */
    int *fds;
} meeting;

typedef struct guest {
    int fd;
    size_t got;
    int64_t since;
    greeting says;
} guest;

/* Where others come in. */
typedef struct door {
    meeting *m;
    int kind;
    int count;
    guest guests[GUESTS];
    struct pollfd *polled; /* the listener, guests, ranks */
} door;

static const char *run_of(const meeting *m)
{
    return m->how->run ? m->how->run : "";
}

static greeting greet(const meeting *m, int to, int kind)
{
    greeting g = m->mine;
    g.to = to;
    g.kind = kind;
    return g;
}

/* Those that have not come, by number. */
static mgen_status missing(meeting *m, int first)
{
    char names[256] = "";
    size_t used = 0;
    for (int r = first; r < m->how->size && used < sizeof(names) - 16; r++)
        if (m->fds[r] < 0 && r != m->how->rank)
            used +=
                (size_t)snprintf(names + used, sizeof(names) - used, "%s%d", used ? ", " : "", r);
    return mgi_fail(m->ctx, MGEN_E_TIMEOUT, "start: rank(s) %s%s did not arrive within %lld ms",
                    names, used >= sizeof(names) - 16 ? ", ..." : "", (long long)m->timeout_ms);
}

/* While others are waited for: whether the host wants to. */
static mgen_status go_on(meeting *m)
{
    const mgen_context *ctx = m->ctx;
    const int64_t now = mgi_meet_now();
    uint64_t here = 1;
    if (!ctx->progress || now < m->asked + ASKED_MS)
        return MGEN_OK;
    m->asked = now;
    for (int r = 0; r < m->how->size; r++)
        here += m->fds[r] >= 0;
    if (ctx->progress(ctx->progress_user, "waiting for ranks", here, (uint64_t)m->how->size) == 0)
        return MGEN_OK;
    return mgi_fail(m->ctx, MGEN_E_CANCELLED,
                    "start: rank %d no longer waits for the others: its progress callback "
                    "cancelled",
                    m->how->rank);
}

/* Until the other end says something, goes, or `end`. */
static mgen_status await(meeting *m, int fd, int64_t end)
{
    struct pollfd wait = {fd, POLLIN, 0};
    while (mgi_meet_now() < end && poll(&wait, 1, ASKED_MS) <= 0)
        MGI_TRY(go_on(m));
    return MGEN_OK;
}

/* ---- who comes ---- */

static void answer(const meeting *m, int fd, mgen_status status, const char *text)
{
    reply r = {.version = VERSION, .status = status, .number = m->mine.number};
    memcpy(r.magic, magic, sizeof(magic));
    snprintf(r.text, sizeof(r.text), "%s", text);
    (void)mgi_meet_write(fd, &r, sizeof(r), mgi_meet_now() + GRACE_MS);
}

/* A rank that fits is taken in; what makes the run impossible is recorded and returned. The guest is over. */
static mgen_status hear(door *d, guest *g)
{
    meeting *m = d->m;
    const greeting *says = &g->says;
    int size = m->how->size, me = m->how->rank, first = d->kind == KIND_JOIN ? 1 : me + 1,
        fd = g->fd;
    mgen_status status = MGEN_OK;
    bool same = says->version == VERSION && says->order == ORDER;
    g->fd = -1;
    if (memcmp(says->magic, magic, sizeof(magic)) != 0 ||
        (same && says->card.count > MGI_CARD_ADDRESSES)) { /* no rank says that */
        close(fd);
        return MGEN_OK;
    }
    bool anew = says->kind == KIND_JOIN && says->number == 0; /* it cannot know it */
    if (same && (says->kind != d->kind || (!anew && says->number != m->mine.number) ||
                 says->to != me || says->from < first)) {
        answer(m, fd, MGEN_E_AGAIN, "another meeting");
        close(fd);
        return MGEN_OK;
    }
    if (same && says->run != m->mine.run) {
        char text[200];
        snprintf(text, sizeof(text), "ranks disagree on the name of the run: rank %d has '%.80s'",
                 me, run_of(m));
        answer(m, fd, MGEN_E_DESYNC, text);
        close(fd);
        return MGEN_OK;
    }
    if (!same)
        status = mgi_fail(m->ctx, MGEN_E_DESYNC,
                          "ranks disagree on the protocol: rank %d has %d, another %u; run the "
                          "same libmoviegen everywhere",
                          me, VERSION, says->version);
    else if (says->size != size)
        status = mgi_fail(m->ctx, MGEN_E_DESYNC,
                          "ranks disagree on how many there are: rank %d has %d, rank %d has %d",
                          me, size, says->from, says->size);
    else if (says->from >= size || m->fds[says->from] >= 0)
        status = mgi_fail(m->ctx, MGEN_E_DESYNC, "start: rank %d came twice", says->from);
    if (status != MGEN_OK) {
        answer(m, fd, status, m->ctx->error_text);
        close(fd);
        return status;
    }
    m->fds[says->from] = fd;
    if (d->kind == KIND_JOIN) {
        m->cards[says->from] = says->card;
        mgi_meet_add_seen(&m->cards[says->from], fd);
    } else {
        answer(m, fd, MGEN_OK, "");
    }
    return MGEN_OK;
}

static void let_in(door *d)
{
    int64_t now = mgi_meet_now();
    if (d->count == GUESTS) { /* nobody keeps others out for long */
        if (now - d->guests[0].since < PATIENCE_MS / 25)
            return;
        close(d->guests[0].fd);
        memmove(d->guests, d->guests + 1, sizeof(guest) * --d->count);
    }
    int fd = mgi_meet_accept(d->m->listener);
    if (fd >= 0)
        d->guests[d->count++] = (guest){.fd = fd, .since = now};
}

/* What a guest says, as far as it has come. */
static mgen_status listen_to(door *d, guest *g)
{
    char *at = (char *)&g->says;
    ssize_t n = recv(g->fd, at + g->got, sizeof(g->says) - g->got, MSG_DONTWAIT);
    g->got += n > 0 ? (size_t)n : 0;
    size_t begun = g->got < sizeof(magic) ? g->got : sizeof(magic);
    if (g->got == sizeof(g->says))
        return hear(d, g);
    bool gone = n == 0 || (n < 0 && mgi_meet_now() - g->since > PATIENCE_MS);
    if (gone || memcmp(g->says.magic, magic, begun) != 0) {
        close(g->fd);
        g->fd = -1;
    }
    return MGEN_OK;
}

/* A rank that came and has gone may come again; no rank says more before it is answered. */
static void watch(meeting *m, const struct pollfd *polled)
{
    char byte;
    for (int r = 0; r < m->how->size; r++)
        if (polled[r].revents && recv(m->fds[r], &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) {
            close(m->fds[r]);
            m->fds[r] = -1;
        }
}

static bool complete(const meeting *m, int first)
{
    for (int r = first; r < m->how->size; r++)
        if (m->fds[r] < 0)
            return false;
    return true;
}

static mgen_status open_door_once(door *d)
{
    meeting *m = d->m;
    int size = m->how->size, n = 0;
    int64_t left = m->end - mgi_meet_now();
    d->polled[n++] = (struct pollfd){m->listener, POLLIN, 0};
    for (int i = 0; i < d->count; i++)
        d->polled[n++] = (struct pollfd){d->guests[i].fd, POLLIN, 0};
    for (int r = 0; r < size; r++)
        d->polled[n++] = (struct pollfd){d->kind == KIND_JOIN ? m->fds[r] : -1, POLLIN, 0};
    (void)poll(d->polled, (nfds_t)n, left > 100 ? 100 : left < 0 ? 0 : (int)left);
    watch(m, d->polled + n - size);
    for (int i = 0; i < d->count; i++)
        MGI_TRY(listen_to(d, &d->guests[i]));
    int kept = 0;
    for (int i = 0; i < d->count; i++)
        if (d->guests[i].fd >= 0)
            d->guests[kept++] = d->guests[i];
    d->count = kept;
    if (d->polled[0].revents)
        let_in(d);
    return MGEN_OK;
}

/* Until all from rank `first` on are here. */
static mgen_status keep_door(meeting *m, int kind, int first)
{
    door *d;
    mgen_status status = mgi_alloc_zero(m->ctx, 1, sizeof(*d), &d);
    MGI_TRY(status);
    d->m = m;
    d->kind = kind;
    status =
        mgi_alloc_zero(m->ctx, 1 + GUESTS + (size_t)m->how->size, sizeof(*d->polled), &d->polled);
    while (status == MGEN_OK && !complete(m, first)) {
        status = go_on(m);
        if (status == MGEN_OK)
            status = open_door_once(d);
        if (status == MGEN_OK && mgi_meet_now() >= m->end && !complete(m, first))
            status = missing(m, first);
    }
    for (int i = 0; i < d->count; i++)
        if (d->guests[i].fd >= 0)
            close(d->guests[i].fd);
    mgi_free(m->ctx, d->polled);
    mgi_free(m->ctx, d);
    return status;
}

/* ---- rank 0 and those that come to it ---- */

static mgen_status host_all(meeting *m)
{
    size_t size = (size_t)m->how->size;
    mgen_status status = keep_door(m, KIND_JOIN, 1);
    m->cards[0] = m->mine.card;
    for (int r = 1; r < m->how->size; r++) {
        if (m->fds[r] < 0)
            continue;
        answer(m, m->fds[r], status == MGEN_E_CANCELLED ? MGEN_E_PEER_LOST : status,
               status == MGEN_OK ? "" : m->ctx->error_text);
        if (status == MGEN_OK &&
            !mgi_meet_write(m->fds[r], m->cards, size * sizeof(*m->cards), m->end + GRACE_MS))
            status = mgi_fail(m->ctx, MGEN_E_PEER_LOST, "start: rank %d has left", r);
    }
    return status;
}

/* What a rank that was asked for the others says. *later: it is to be asked again. */
static mgen_status read_reply(meeting *m, int fd, int from, reply *r, bool *later)
{
    MGI_TRY(await(m, fd, m->end + GRACE_MS));
    *later = !mgi_meet_read(fd, r, sizeof(*r), m->end + GRACE_MS);
    if (*later)
        return MGEN_OK;
    if (memcmp(r->magic, magic, sizeof(magic)) != 0 || r->version != VERSION)
        return mgi_fail(m->ctx, MGEN_E_DESYNC,
                        "start: where rank %d should be, something else answers: is the address "
                        "right, and libmoviegen the same everywhere?",
                        from);
    r->text[sizeof(r->text) - 1] = 0;
    *later = r->status == MGEN_E_AGAIN;
    if (*later || r->status == MGEN_OK)
        return MGEN_OK;
    return mgi_fail(m->ctx, mgi_comm_failure(r->status), "%s", r->text);
}

/* Over a connection to rank 0, which began to wait before this moment. */
static mgen_status join_over(meeting *m, int fd, bool *later)
{
    greeting g = greet(m, 0, KIND_JOIN);
    reply r;
    if (!m->found && m->timeout_ms > 0)
        m->end = mgi_meet_now() + m->timeout_ms;
    m->found = true;
    *later = !mgi_meet_write(fd, &g, sizeof(g), m->end);
    if (!*later)
        MGI_TRY(read_reply(m, fd, 0, &r, later));
    if (*later)
        return MGEN_OK;
    m->mine.number = r.number;
    if (!mgi_meet_read(fd, m->cards, (size_t)m->how->size * sizeof(*m->cards), m->end + GRACE_MS))
        return mgi_fail(m->ctx, MGEN_E_PEER_LOST, "start: rank 0 has left");
    m->fds[0] = fd;
    return MGEN_OK;
}

/* A connection to rank 0 at a host, or -1. */
typedef int find_fn(meeting *m, void *where);

static mgen_status join(meeting *m, find_fn *find, void *where)
{
    while (mgi_meet_now() < m->end) {
        bool later = true;
        int fd = find(m, where);
        mgen_status status = fd >= 0 ? join_over(m, fd, &later) : MGEN_OK;
        if (fd >= 0 && (later || status != MGEN_OK))
            close(fd);
        if (status != MGEN_OK || !later)
            return status;
        MGI_TRY(go_on(m));
        mgi_meet_pause(AGAIN_MS);
    }
    return mgi_fail(m->ctx, MGEN_E_TIMEOUT,
                    m->found
                        ? "start: rank 0 is at '%.300s', and has not said within %lld ms where "
                          "the others are"
                        : "start: rank(s) 0 did not arrive at '%.300s' within %lld ms",
                    m->how->address, (long long)m->timeout_ms);
}

static int find_host(meeting *m, void *where)
{
    int fd = -1;
    for (const struct addrinfo *a = where; a && fd < 0; a = a->ai_next)
        fd = mgi_meet_connect(a->ai_addr, a->ai_addrlen, m->end);
    return fd;
}

static mgen_status look_up(meeting *m, const char *host, uint16_t port, struct addrinfo **out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    char service[8];
    int error;
    snprintf(service, sizeof(service), "%u", port);
    while ((error = getaddrinfo(m->local ? "127.0.0.1" : host, service, &hints, out)) ==
               EAI_AGAIN &&
           mgi_meet_now() < m->end) {
        MGI_TRY(go_on(m));
        mgi_meet_pause(AGAIN_MS);
    }
    if (error)
        return mgi_fail(m->ctx, MGEN_E_NOT_FOUND, "the host of '%.300s' was not found: %s",
                        m->how->address, gai_strerror(error));
    return MGEN_OK;
}

static mgen_status listen_at(meeting *m, uint16_t port)
{
    MGI_TRY(mgi_meet_listen(m->ctx, m->local, port, m->end, &m->listener));
    return mgi_meet_card(m->ctx, m->listener, m->local, &m->mine.card);
}

static mgen_status meet_at_host(meeting *m)
{
    char host[MGI_HOST_MAX + 1];
    uint16_t port;
    struct addrinfo *where = NULL;
    MGI_TRY(
        mgi_meet_parse(m->ctx, m->how->address, m->how->address + strlen("tcp://"), host, &port));
    m->local = mgi_meet_host_is_local(host);
    if (m->how->rank == 0) {
        MGI_TRY(listen_at(m, port));
        return host_all(m);
    }
    MGI_TRY(listen_at(m, 0));
    MGI_TRY(look_up(m, host, port, &where));
    mgen_status status = join(m, find_host, where);
    freeaddrinfo(where);
    return status;
}

/* ---- a file ---- */

typedef struct notice {
    const char *path;
    mgen_context *quiet; /* a file that is not there yet is no error */
} notice;

/* What rank 0 wrote; false: nothing, or nothing of this kind. */
static bool read_notice(const notice *n, greeting *out)
{
    mgi_file file;
    if (mgi_file_open(n->quiet, n->path, &file) != MGEN_OK)
        return false;
    bool whole = file.size == sizeof(*out);
    if (whole)
        memcpy(out, file.data, sizeof(*out));
    mgi_file_close(n->quiet, &file);
    return whole && memcmp(out->magic, magic, sizeof(magic)) == 0 && out->version == VERSION &&
           out->order == ORDER && out->number != 0;
}

static int find_noticed(meeting *m, void *where)
{
    greeting from;
    if (!read_notice(where, &from) || from.run != m->mine.run)
        return -1;
    m->mine.number = from.number;
    return mgi_meet_connect_card(&from.card, m->end);
}

static mgen_status write_notice(meeting *m, const notice *n)
{
    mgi_writer w;
    greeting g = greet(m, 0, KIND_JOIN);
    MGI_TRY(mgi_writer_open(m->ctx, n->path, &w));
    mgen_status status = mgi_writer_write(&w, &g, sizeof(g));
    if (status == MGEN_OK)
        return mgi_writer_commit(&w);
    mgi_writer_abort(&w);
    return status;
}

static mgen_status meet_by_file(meeting *m)
{
    notice n = {.path = m->how->address + strlen("file://")};
    greeting last;
    MGI_TRY(listen_at(m, 0));
    MGI_TRY(mgi_context_private(m->ctx, &n.quiet));
    mgen_status status;
    if (m->how->rank == 0) {
        status = write_notice(m, &n);
        if (status == MGEN_OK)
            status = host_all(m);
        if (read_notice(&n, &last) && last.number == m->mine.number)
            mgi_path_discard(n.path); /* unless another run has begun */
    } else {
        status = join(m, find_noticed, &n);
    }
    mgi_context_free(n.quiet);
    return status;
}

/* ---- the host's exchange ---- */

static mgen_status compare(meeting *m, const greeting *all)
{
    for (int r = 0; r < m->how->size; r++) {
        const greeting *g = &all[r];
        if (memcmp(g->magic, magic, sizeof(magic)) != 0 || g->version != VERSION ||
            g->order != ORDER || g->from != r)
            return mgi_fail(m->ctx, MGEN_E_DESYNC,
                            "the exchange gave no bytes of rank %d in its place: they belong in "
                            "the order of ranks, and all need the same libmoviegen",
                            r);
        if (g->size != m->how->size)
            return mgi_fail(m->ctx, MGEN_E_DESYNC,
                            "ranks disagree on how many there are: rank %d has %d, rank %d has %d",
                            m->how->rank, m->how->size, r, g->size);
        if (g->run != m->mine.run)
            return mgi_fail(m->ctx, MGEN_E_DESYNC,
                            "ranks disagree on the name of the run: rank %d has '%.80s', rank %d "
                            "another",
                            m->how->rank, run_of(m), r);
        m->cards[r] = g->card;
    }
    m->mine.number = all[0].number;
    return MGEN_OK;
}

static mgen_status meet_by_exchange(meeting *m)
{
    greeting *all;
    MGI_TRY(listen_at(m, 0));
    MGI_TRY(mgi_alloc_zero(m->ctx, (size_t)m->how->size, sizeof(*all), &all));
    greeting mine = greet(m, 0, KIND_JOIN);
    int32_t failed = m->how->exchange(m->how->user, &mine, all, sizeof(mine));
    mgen_status status =
        failed ? mgi_fail(m->ctx, MGEN_E_CANCELLED, "rank %d: the host's exchange answered %d",
                          m->how->rank, failed)
               : compare(m, all);
    mgi_free(m->ctx, all);
    return status;
}

/* ---- each with each ---- */

static mgen_status connect_to(meeting *m, int peer)
{
    greeting g = greet(m, peer, KIND_PAIR);
    reply r = {.status = MGEN_E_AGAIN};
    do {
        bool later = true;
        int fd = mgi_meet_connect_card(&m->cards[peer], m->end);
        mgen_status status = MGEN_OK;
        if (fd >= 0 && mgi_meet_write(fd, &g, sizeof(g), m->end))
            status = read_reply(m, fd, peer, &r, &later);
        if (!later && status == MGEN_OK) {
            m->fds[peer] = fd;
            return MGEN_OK;
        }
        if (fd >= 0)
            close(fd);
        MGI_TRY(status);
        MGI_TRY(go_on(m));
        mgi_meet_pause(AGAIN_MS);
    } while (mgi_meet_now() < m->end);
    return mgi_fail(m->ctx, MGEN_E_TIMEOUT, "start: rank(s) %d did not arrive within %lld ms", peer,
                    (long long)m->timeout_ms);
}

static mgen_status connect_all(meeting *m)
{
    for (int r = 0; r < m->how->rank; r++)
        if (m->fds[r] < 0)
            MGI_TRY(connect_to(m, r));
    return keep_door(m, KIND_PAIR, m->how->rank + 1);
}

static uint64_t number_now(const void *salt)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    const uint64_t words[] = {(uint64_t)t.tv_sec, (uint64_t)t.tv_nsec, (uint64_t)getpid(),
                              (uint64_t)(uintptr_t)salt};
    return mgi_hash64(words, sizeof(words), 0) | 1; /* never 0 */
}

static mgen_status find_all(meeting *m)
{
    const char *address = m->how->address;
    if (!address)
        return meet_by_exchange(m);
    if (!strncmp(address, "tcp://", 6))
        return meet_at_host(m);
    if (!strncmp(address, "file:///", 8))
        return meet_by_file(m);
    return mgi_fail(m->ctx, MGEN_E_INVALID,
                    "'%.300s' is no address to meet at: tcp://host:port, or file:///path", address);
}

mgen_status mgi_sockets_meet(mgen_context *ctx, const mgi_comm_meeting *how, int64_t timeout_ms,
                             int *fds)
{
    meeting m = {.ctx = ctx, .how = how, .timeout_ms = timeout_ms, .listener = -1, .fds = fds};
    for (int r = 0; r < how->size; r++)
        fds[r] = -1;
    m.end = timeout_ms < 0 ? INT64_MAX - 2 * GRACE_MS : mgi_meet_now() + timeout_ms;
    m.mine = (greeting){.version = VERSION, .order = ORDER, .from = how->rank, .size = how->size};
    memcpy(m.mine.magic, magic, sizeof(magic));
    m.mine.run = mgi_hash64(run_of(&m), strlen(run_of(&m)), 0);
    if (how->rank == 0)
        m.mine.number = number_now(&m);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)how->size, sizeof(*m.cards), &m.cards));
    mgen_status status = find_all(&m);
    if (status == MGEN_OK)
        status = connect_all(&m);
    if (m.listener >= 0)
        close(m.listener);
    for (int r = 0; r < how->size && status != MGEN_OK; r++)
        if (fds[r] >= 0) {
            close(fds[r]);
            fds[r] = -1;
        }
    mgi_free(ctx, m.cards);
    return status;
}
