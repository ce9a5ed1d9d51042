/* SPDX-License-Identifier: MIT
 * Messages over stream sockets, one connection to each peer.
 *
 * A message goes in frames, each a head and some bytes. A small one is one frame, and is kept by who receives it
 * until it is wanted. A large one is offered first; when the peer wants it, it accepts, and the bytes come in pieces,
 * straight to where they belong, with small messages between them. So memory for what nobody has asked for yet is
 * bounded, and a message that says what is wrong never waits behind data. What comes from a peer is checked before it
 * is used: a peer that breaks the rules is cut off, and calls that need it say why.
 *
 * No thread: bytes move while the rank is inside a call of the table.
 */
#include "dist/sockets.h"

#include "core/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    MAGIC = 0x6e65676d, /* "mgen", as the bytes of a little-endian machine */
    SMALL = 8192,       /* bytes of the largest message that is sent unasked */
    PIECE = 1 << 20,    /* bytes of a frame of a large one, at most */
    INPUT = 32768,      /* more than a frame of a small one */
    BURST = 8 << 20,    /* bytes of one peer before others have their turn */
    KEPT = 64 << 20,    /* bytes of messages of one peer that nobody has asked for, at most */
    PARTING_MS = 250    /* for what is on its way when all is over */
};

/* END: a large one is complete, and was not given up on the way. */
enum { FRAME_SMALL = 1, FRAME_OFFER, FRAME_ACCEPT, FRAME_DATA, FRAME_END };

typedef struct frame {
    uint32_t magic, kind;
    int32_t tag;
    uint32_t bytes; /* that follow */
    uint64_t id;    /* of the sender's message; not of a small one */
    int64_t total;  /* of the message */
} frame;
_Static_assert(sizeof(frame) == 32, "a frame has no padding");

typedef struct request {
    struct request *next; /* in the one list that it is in */
    char *data;           /* what is sent, and not written to; or where it goes */
    int64_t bytes, moved;
    uint64_t id;
    int32_t peer, tag;
    bool sends, done;
    bool dropped; /* nobody waits: what still comes for it goes nowhere */
} request;

typedef struct queue {
    request *first, **end;
} queue;

/* A message that came before anyone asked for it; offered: without its bytes. */
typedef struct kept {
    struct kept *next;
    int32_t tag;
    bool offered;
    uint64_t id;
    int64_t bytes;
    char data[];
} kept;

typedef struct peer {
    int fd; /* -1: nothing comes any more */
    bool bad;
    char why[128];
    /* out */
    queue soon;    /* small messages, offers, and receives whose offer is accepted, in order */
    queue offered; /* waiting for the peer to accept */
    queue large;   /* accepted: the first is being sent */
    frame head;    /* of the frame under way */
    size_t head_left;
    const char *body; /* NULL: of a large message that was dropped */
    size_t body_left;
    bool writing;
    request *written; /* the frame's; NULL: dropped */
    uint64_t next_id;
    char rest[SMALL]; /* of a small one that was dropped */
    /* in */
    queue wanted;   /* receives without a message */
    queue incoming; /* accepted: bytes come */
    kept *kept, **kept_end;
    size_t kept_bytes;
    char *input;
    size_t from, to;  /* of input: not looked at yet */
    request *reading; /* whose bytes come */
    size_t left;      /* of the frame */
} peer;

struct mgi_sockets {
    mgen_context *ctx;
    int rank, size;
    peer *peers;
    struct pollfd *polled;
    request *anyone; /* a receive from whoever comes first */
    request *spare;
    bool told; /* anyone's failed because of a bad peer */
};

/* ---- lists ---- */

static void queue_init(queue *q)
{
    q->first = NULL;
    q->end = &q->first;
}

static void push(queue *q, request *r)
{
    r->next = NULL;
    *q->end = r;
    q->end = &r->next;
}

static request *pop(queue *q)
{
    request *r = q->first;
    q->first = r->next;
    if (!q->first)
        q->end = &q->first;
    return r;
}

static bool take_out(queue *q, request *r)
{
    request **at = &q->first;
    while (*at && *at != r)
        at = &(*at)->next;
    if (!*at)
        return false;
    *at = r->next;
    if (!r->next)
        q->end = at;
    return true;
}

static request *by_id(const queue *q, uint64_t id)
{
    request *r = q->first;
    while (r && r->id != id)
        r = r->next;
    return r;
}

static void spare_it(mgi_sockets *s, request *r)
{
    r->next = s->spare;
    s->spare = r;
}

static void finish(mgi_sockets *s, request *r)
{
    if (r->dropped)
        spare_it(s, r);
    else
        r->done = true;
}

/* ---- peers that go ---- */

/* Small messages to it are as good as sent. */
static void lose(mgi_sockets *s, peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    if (p->writing && p->written && p->head.kind == FRAME_SMALL)
        finish(s, p->written);
    else if (p->writing && p->written && p->head.kind < FRAME_DATA)
        push(p->written->sends ? &p->offered : &p->incoming, p->written);
    p->writing = false;
    p->written = NULL;
    while (p->soon.first) {
        request *r = pop(&p->soon);
        if (r->sends && r->bytes <= SMALL)
            finish(s, r);
        else
            push(r->sends ? &p->offered : &p->incoming, r);
    }
}

static void __attribute__((format(printf, 3, 4)))
refuse(mgi_sockets *s, peer *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(p->why, sizeof(p->why), format, args);
    va_end(args);
    p->bad = true;
    lose(s, p);
}

/* ---- out ---- */

static void begin_frame(peer *p)
{
    request *r = p->soon.first ? pop(&p->soon) : p->large.first;
    bool small = r->sends && r->bytes <= SMALL, large = r == p->large.first;
    int64_t left = r->bytes - r->moved;
    p->head = (frame){.magic = MAGIC, .tag = r->tag, .id = r->id, .total = r->bytes};
    p->head.kind = large      ? left ? FRAME_DATA : FRAME_END
                   : small    ? FRAME_SMALL
                   : r->sends ? FRAME_OFFER
                              : FRAME_ACCEPT;
    if (large)
        p->head.bytes = left < PIECE ? (uint32_t)left : PIECE;
    else
        p->head.bytes = small ? (uint32_t)r->bytes : 0;
    p->body = r->data ? r->data + r->moved : NULL;
    p->head_left = sizeof(p->head);
    p->body_left = p->head.bytes;
    p->written = r;
    p->writing = true;
}

static void end_frame(mgi_sockets *s, peer *p)
{
    request *r = p->written;
    p->writing = false;
    p->written = NULL;
    if (!r)
        return;
    if (p->head.kind == FRAME_SMALL) {
        finish(s, r);
    } else if (p->head.kind == FRAME_OFFER) {
        push(&p->offered, r);
    } else if (p->head.kind == FRAME_ACCEPT) {
        push(&p->incoming, r);
    } else if (p->head.kind == FRAME_DATA) {
        r->moved += p->head.bytes;
    } else {
        finish(s, pop(&p->large));
    }
}

static bool has_output(const peer *p)
{
    return p->fd >= 0 && (p->writing || p->soon.first || p->large.first);
}

/* As much as the connection takes. */
static void write_peer(mgi_sockets *s, peer *p)
{
    static const char zeros[4096];
    for (size_t sent = 0; has_output(p) && sent < BURST;) {
        if (!p->writing)
            begin_frame(p);
        bool dropped = !p->body && p->body_left > sizeof(zeros);
        struct iovec parts[2] = {{(char *)&p->head + sizeof(p->head) - p->head_left, p->head_left},
                                 {(void *)(uintptr_t)(p->body ? p->body : zeros),
                                  dropped ? sizeof(zeros) : p->body_left}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t n = sendmsg(p->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) { /* what it sent may still be here to be read */
            (void)shutdown(p->fd, SHUT_WR);
            return;
        }
        size_t of_head = (size_t)n < p->head_left ? (size_t)n : p->head_left;
        p->head_left -= of_head;
        p->body_left -= (size_t)n - of_head;
        if (p->body)
            p->body += (size_t)n - of_head;
        sent += (size_t)n;
        if (p->head_left == 0 && p->body_left == 0)
            end_frame(s, p);
    }
}

/* ---- in ---- */

static request *first_wanted(mgi_sockets *s, peer *p, int32_t tag)
{
    for (request *r = p->wanted.first; r; r = r->next)
        if (r->tag == tag)
            return r;
    return s->anyone && s->anyone->tag == tag ? s->anyone : NULL;
}

static void unlist(mgi_sockets *s, peer *p, request *r)
{
    if (r == s->anyone)
        s->anyone = NULL;
    else
        take_out(&p->wanted, r);
}

static bool fits(mgi_sockets *s, peer *p, const request *r, int64_t bytes)
{
    if (r->bytes != bytes)
        refuse(s, p, "rank %d sent %lld bytes where %lld were expected", (int)(p - s->peers),
               (long long)bytes, (long long)r->bytes);
    return r->bytes == bytes;
}

/* A message meets its receive, which is in no list. */
static void meet(mgi_sockets *s, peer *p, request *r, bool offered, uint64_t id, const char *data)
{
    if (offered) {
        r->id = id;
        r->peer = (int32_t)(p - s->peers);
        push(p->fd >= 0 ? &p->soon : &p->incoming, r);
        return;
    }
    if (r->bytes > 0)
        memcpy(r->data, data, (size_t)r->bytes);
    finish(s, r);
}

static void keep(mgi_sockets *s, peer *p, const frame *f, const char *data)
{
    kept *k;
    size_t size = sizeof(*k) + f->bytes;
    if (p->kept_bytes + size > KEPT) {
        refuse(s, p, "rank %d sent %d MB that nobody asked for", (int)(p - s->peers), KEPT >> 20);
        return;
    }
    if (mgi_alloc_zero(s->ctx, 1, size, &k) != MGEN_OK) {
        refuse(s, p, "no memory for a message of rank %d", (int)(p - s->peers));
        return;
    }
    k->tag = f->tag;
    k->offered = f->kind == FRAME_OFFER;
    k->id = f->id;
    k->bytes = f->total;
    memcpy(k->data, data, f->bytes);
    *p->kept_end = k;
    p->kept_end = &k->next;
    p->kept_bytes += size;
}

/* The first message of the tag that was kept, to r. */
static bool take_kept(mgi_sockets *s, peer *p, request *r)
{
    kept **at = &p->kept, *k;
    while (*at && (*at)->tag != r->tag)
        at = &(*at)->next;
    if (!(k = *at) || !fits(s, p, r, k->bytes))
        return false;
    *at = k->next;
    if (!k->next)
        p->kept_end = at;
    p->kept_bytes -= sizeof(*k) + (k->offered ? 0 : (size_t)k->bytes);
    meet(s, p, r, k->offered, k->id, k->data);
    mgi_free(s->ctx, k);
    return true;
}

static bool frame_ok(const frame *f)
{
    if (f->magic != MAGIC || f->tag < 0 || f->total < 0)
        return false;
    switch (f->kind) {
    case FRAME_SMALL:
        return f->bytes <= SMALL && f->total == f->bytes;
    case FRAME_OFFER:
        return f->bytes == 0 && f->total > SMALL;
    case FRAME_ACCEPT:
    case FRAME_END:
        return f->bytes == 0;
    case FRAME_DATA:
        return f->bytes > 0 && f->bytes <= PIECE;
    default:
        return false;
    }
}

/* A frame whose head, and bytes if it is a small message, are here. */
static void take_frame(mgi_sockets *s, peer *p, const frame *f, const char *data)
{
    request *r;
    switch (f->kind) {
    case FRAME_SMALL:
    case FRAME_OFFER:
        r = first_wanted(s, p, f->tag);
        if (!r) {
            keep(s, p, f, data);
        } else if (fits(s, p, r, f->total)) {
            unlist(s, p, r);
            meet(s, p, r, f->kind == FRAME_OFFER, f->id, data);
        }
        return;
    case FRAME_ACCEPT:
        r = by_id(&p->offered, f->id);
        if (r) { /* else it was dropped */
            take_out(&p->offered, r);
            push(&p->large, r);
        }
        return;
    case FRAME_END:
        r = by_id(&p->incoming, f->id);
        if (!r || r->moved < r->bytes) {
            refuse(s, p, "rank %d ended what it had not sent", (int)(p - s->peers));
            return;
        }
        take_out(&p->incoming, r);
        finish(s, r);
        return;
    default:
        r = by_id(&p->incoming, f->id);
        if (!r || f->bytes > r->bytes - r->moved) {
            refuse(s, p, "rank %d sent data that was not asked for", (int)(p - s->peers));
            return;
        }
        p->reading = r;
        p->left = f->bytes;
    }
}

/* n bytes of the frame under way have come. */
static void took(peer *p, size_t n)
{
    p->reading->moved += (int64_t)n;
    p->left -= n;
    if (p->left == 0)
        p->reading = NULL;
}

/* What is in the input buffer, but for the beginning of a frame. */
static void parse(mgi_sockets *s, peer *p)
{
    while (p->fd >= 0 && p->from < p->to) {
        size_t here = p->to - p->from;
        if (p->reading) {
            size_t n = here < p->left ? here : p->left;
            if (!p->reading->dropped)
                memcpy(p->reading->data + p->reading->moved, p->input + p->from, n);
            p->from += n;
            took(p, n);
            continue;
        }
        frame f;
        if (here < sizeof(f))
            return;
        memcpy(&f, p->input + p->from, sizeof(f));
        if (!frame_ok(&f)) {
            refuse(s, p, "rank %d sent what is no message of this library (%08x %u %u)",
                   (int)(p - s->peers), f.magic, f.kind, f.bytes);
            return;
        }
        size_t whole = sizeof(f) + (f.kind == FRAME_SMALL ? f.bytes : 0);
        if (here < whole)
            return;
        p->from += whole;
        take_frame(s, p, &f, p->input + p->from - whole + sizeof(f));
    }
}

/* Read once. False: there is no more now. */
static bool fill(mgi_sockets *s, peer *p, size_t *got)
{
    if (p->from > 0)
        memmove(p->input, p->input + p->from, p->to - p->from);
    p->to -= p->from;
    p->from = 0;
    struct iovec parts[2];
    struct msghdr message = {.msg_iov = parts};
    bool straight = p->reading && !p->reading->dropped;
    if (straight)
        parts[message.msg_iovlen++] = (struct iovec){p->reading->data + p->reading->moved, p->left};
    parts[message.msg_iovlen++] = (struct iovec){p->input + p->to, INPUT - p->to};
    ssize_t n = recvmsg(p->fd, &message, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (n <= 0) {
        lose(s, p);
        return false;
    }
    *got += (size_t)n;
    size_t direct = straight ? (size_t)n < p->left ? (size_t)n : p->left : 0;
    p->to += (size_t)n - direct;
    if (direct > 0)
        took(p, direct);
    return true;
}

static void read_peer(mgi_sockets *s, peer *p)
{
    for (size_t got = 0; p->fd >= 0 && got < BURST;) {
        if (!fill(s, p, &got))
            return;
        parse(s, p);
    }
}

/* Is there something to do, after so long at the most? */
static bool any_ready(mgi_sockets *s, int64_t microseconds)
{
    const struct timespec limit = {microseconds / 1000000, microseconds % 1000000 * 1000};
    for (int r = 0; r < s->size; r++) {
        const peer *p = &s->peers[r];
        s->polled[r] = (struct pollfd){p->fd, has_output(p) ? POLLIN | POLLOUT : POLLIN, 0};
    }
    return ppoll(s->polled, (nfds_t)s->size, &limit, NULL) > 0;
}

/* All that can move. */
static void move_all(mgi_sockets *s, int64_t microseconds)
{
    for (int r = 0; r < s->size; r++)
        write_peer(s, &s->peers[r]);
    if (!any_ready(s, microseconds))
        return;
    for (int r = 0; r < s->size; r++) {
        peer *p = &s->peers[r];
        if (s->polled[r].revents & ~POLLOUT)
            read_peer(s, p);
        write_peer(s, p);
    }
}

/* ---- the table ---- */

static int32_t begin_request(mgi_sockets *s, bool sends, void *data, int64_t bytes, int32_t to,
                             int32_t tag, request **out, int64_t *handle, char *error, size_t size)
{
    request *r = s->spare;
    *handle = 0;
    if (to >= s->size || to == s->rank || (sends && to < 0) || (!sends && to < 0 && s->anyone)) {
        snprintf(error, size, "there is no message to or from rank %d", to);
        return MGEN_E_INTERNAL;
    }
    if (r) {
        s->spare = r->next;
    } else if (mgi_alloc_zero(s->ctx, 1, sizeof(*r), &r) != MGEN_OK) {
        snprintf(error, size, "no memory for a message");
        return MGEN_E_NO_MEMORY;
    }
    *r = (request){.data = data, .bytes = bytes, .peer = to, .tag = tag, .sends = sends};
    *out = r;
    *handle = (int64_t)(intptr_t)r;
    return 0;
}

static int32_t send_message(void *self, const void *data, int64_t bytes, int32_t to, int32_t tag,
                            int64_t *handle, char *error, size_t error_size)
{
    mgi_sockets *s = self;
    request *r;
    int32_t status = begin_request(s, true, (void *)(uintptr_t)data, bytes, to, tag, &r, handle,
                                   error, error_size);
    if (status)
        return status;
    peer *p = &s->peers[to];
    r->id = ++p->next_id;
    push(&p->soon, r);
    if (p->fd < 0)
        lose(s, p);
    write_peer(s, p);
    return 0;
}

static int32_t receive_message(void *self, void *data, int64_t bytes, int32_t from, int32_t tag,
                               int64_t *handle, char *error, size_t error_size)
{
    mgi_sockets *s = self;
    request *r;
    int32_t status = begin_request(s, false, data, bytes, from, tag, &r, handle, error, error_size);
    if (status)
        return status;
    for (int p = 0; from < 0 && p < s->size; p++)
        if (s->peers[p].kept && take_kept(s, &s->peers[p], r))
            return 0;
    if (from < 0) {
        s->anyone = r;
        return 0;
    }
    peer *p = &s->peers[from];
    if (!take_kept(s, p, r))
        push(&p->wanted, r);
    write_peer(s, p);
    return 0;
}

/* Out of all lists, now or when what comes for it is over. */
static void drop_request(mgi_sockets *s, request *r)
{
    if (r == s->anyone) {
        s->anyone = NULL;
        spare_it(s, r);
        return;
    }
    peer *p = r->peer >= 0 ? &s->peers[r->peer] : NULL;
    r->dropped = true;
    if (r->done || !p) {
        spare_it(s, r);
        return;
    }
    bool out = take_out(&p->wanted, r);
    if (r->sends) { /* its memory goes */
        out = take_out(&p->soon, r) || take_out(&p->offered, r) || take_out(&p->large, r);
        if (p->written == r) {
            bool small = p->head.kind == FRAME_SMALL && p->body_left > 0;
            p->written = NULL;
            p->body = small ? memcpy(p->rest, p->body, p->body_left) : NULL;
            out = true;
        }
    }
    if (out)
        spare_it(s, r);
}

static void drop_message(void *self, int64_t *handle)
{
    drop_request(self, (request *)(intptr_t)*handle);
    *handle = 0;
}

static const char *what_is_bad(mgi_sockets *s, const request *r)
{
    if (r->peer >= 0)
        return s->peers[r->peer].bad ? s->peers[r->peer].why : NULL;
    for (int p = 0; p < s->size && !s->told; p++)
        if (s->peers[p].bad) {
            s->told = true;
            return s->peers[p].why;
        }
    return NULL;
}

static int32_t test_message(void *self, int64_t *handle, char *error, size_t error_size)
{
    mgi_sockets *s = self;
    request *r = (request *)(intptr_t)*handle;
    if (!r->done && r->peer < 0) {
        move_all(s, 0);
    } else if (!r->done) {
        write_peer(s, &s->peers[r->peer]);
        read_peer(s, &s->peers[r->peer]);
        write_peer(s, &s->peers[r->peer]); /* what it may send now */
    }
    if (r->done) {
        spare_it(s, r);
        *handle = 0;
        return 0;
    }
    const char *why = what_is_bad(s, r);
    if (!why)
        return 0;
    snprintf(error, error_size, "%s", why);
    drop_message(s, handle);
    return MGEN_E_PEER_LOST;
}

static int32_t peer_ended(void *self, int32_t r)
{
    const mgi_sockets *s = self;
    return r >= 0 && r < s->size && r != s->rank && s->peers[r].fd < 0;
}

static void wait_sockets(void *self, int32_t microseconds)
{
    (void)any_ready(self, microseconds);
}

static void free_queue(mgi_sockets *s, queue *q)
{
    while (q->first)
        mgi_free(s->ctx, pop(q));
}

static void free_all(mgi_sockets *s)
{
    for (int i = 0; i < s->size; i++) {
        peer *p = &s->peers[i];
        if (p->fd >= 0)
            close(p->fd);
        if (p->writing && p->head.kind < FRAME_DATA)
            mgi_free(s->ctx, p->written);
        queue *const queues[] = {&p->soon, &p->offered, &p->large, &p->wanted, &p->incoming};
        for (size_t k = 0; k < sizeof(queues) / sizeof(queues[0]); k++)
            free_queue(s, queues[k]);
        for (kept *k = p->kept, *next; k; k = next) {
            next = k->next;
            mgi_free(s->ctx, k);
        }
        mgi_free(s->ctx, p->input);
    }
    for (request *r = s->spare, *next; r; r = next) {
        next = r->next;
        mgi_free(s->ctx, r);
    }
    mgi_free(s->ctx, s->anyone);
    mgi_free(s->ctx, s->peers);
    mgi_free(s->ctx, s->polled);
    mgi_free(s->ctx, s);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What was sent arrives: a connection that is closed with bytes unread would take back those on their way. So each
 * side says that it has ended, and reads until the other does. */
static void end_sockets(void *self, int32_t orderly)
{
    mgi_sockets *s = self;
    int open = 1;
    (void)orderly;
    for (int64_t end = now_ms() + PARTING_MS; open && now_ms() < end;) {
        open = 0;
        for (int r = 0; r < s->size; r++) {
            peer *p = &s->peers[r];
            if (p->fd >= 0 && !has_output(p))
                (void)shutdown(p->fd, SHUT_WR);
            open += p->fd >= 0;
        }
        if (open)
            move_all(s, 5000);
    }
    free_all(s);
}

const mgi_transport mgi_sockets_transport = {.send = send_message,
                                             .receive = receive_message,
                                             .test = test_message,
                                             .drop = drop_message,
                                             .ended = peer_ended,
                                             .wait = wait_sockets,
                                             .end = end_sockets};

mgen_status mgi_sockets_create(mgen_context *ctx, int rank, int size, const int *fds,
                               mgi_sockets **out)
{
    mgi_sockets *s = NULL;
    *out = NULL;
    mgen_status status = mgi_alloc_zero(ctx, 1, sizeof(*s), &s);
    if (status == MGEN_OK) {
        *s = (mgi_sockets){.ctx = ctx, .rank = rank};
        status = mgi_alloc_zero(ctx, (size_t)size, sizeof(*s->peers), &s->peers);
    }
    if (status == MGEN_OK)
        status = mgi_alloc_zero(ctx, (size_t)size, sizeof(*s->polled), &s->polled);
    for (int r = 0; r < size && status == MGEN_OK; r++) {
        peer *p = &s->peers[r];
        p->fd = -1;
        queue *const queues[] = {&p->soon, &p->offered, &p->large, &p->wanted, &p->incoming};
        for (size_t k = 0; k < sizeof(queues) / sizeof(queues[0]); k++)
            queue_init(queues[k]);
        p->kept_end = &p->kept;
        s->size = r + 1;
        if (r != rank)
            status = mgi_alloc(ctx, INPUT, &p->input);
    }
    for (int r = 0; r < size; r++) {
        if (r == rank)
            continue;
        if (status == MGEN_OK)
            s->peers[r].fd = fds[r];
        else
            close(fds[r]);
    }
    if (status == MGEN_OK)
        *out = s;
    else if (s)
        free_all(s);
    return status;
}
