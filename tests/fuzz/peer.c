/* SPDX-License-Identifier: MIT
 * What a peer sends over its connection: this rank has receives of all kinds and a large message for it, and then it
 * goes. Nothing but messages that were asked for is written, and what is kept is given back. */
#include "fuzz.h"

#include "../unit/peer_frame.h"
#include "core/alloc.h"
#include "dist/sockets.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const mgi_transport *const t = &mgi_sockets_transport;

enum { ANYONE, SMALL, MIDDLE, LARGE, GIVEN, MESSAGES, TIMES = 4 };
static const struct {
    int64_t bytes;
    int32_t tag;
} messages[MESSAGES] = {[ANYONE] = {660, 0},
                        [SMALL] = {64, 5},
                        [MIDDLE] = {3000, 6},
                        [LARGE] = {8200, 5},
                        [GIVEN] = {9000, 9}};

typedef struct asked {
    uint8_t *data[MESSAGES];
    int64_t request[MESSAGES];
} asked;

/* False: there is no memory for it. */
static bool ask(mgi_sockets *s, int peer, bool turned, asked *a)
{
    char error[256];
    for (int i = 0; i < MESSAGES; i++) {
        bool sends = (i == GIVEN) != turned;
        a->data[i] = calloc(1, (size_t)messages[i].bytes);
        FUZZ_CHECK(a->data[i]);
        int32_t status = sends
                             ? t->send(s, a->data[i], messages[i].bytes, peer, messages[i].tag,
                                       &a->request[i], error, sizeof error)
                             : t->receive(s, a->data[i], messages[i].bytes, i == ANYONE ? -1 : peer,
                                          messages[i].tag, &a->request[i], error, sizeof error);
        if (status) {
            FUZZ_CHECK(status == MGEN_E_NO_MEMORY);
            return false;
        }
    }
    return true;
}

/* How many have come, or gone, whole. */
static int test_all(mgi_sockets *s, asked *a)
{
    int done = 0;
    for (int i = 0; i < MESSAGES; i++) {
        char error[256] = "";
        if (a->request[i]) {
            int32_t status = t->test(s, &a->request[i], error, sizeof error);
            FUZZ_CHECK(status == 0 || (status == MGEN_E_PEER_LOST && !a->request[i] && error[0]));
            done -= status != 0;
        }
        done += a->request[i] == 0;
    }
    return done;
}

static void end(mgi_sockets *s, asked *a)
{
    for (int i = 0; i < MESSAGES; i++)
        if (a->request[i])
            t->drop(s, &a->request[i]);
    t->end(s, 1);
    for (int i = 0; i < MESSAGES; i++)
        free(a->data[i]);
}

static void say(int fd, const uint8_t *data, size_t size)
{
    if (size && send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        FUZZ_CHECK(errno == EPIPE || errno == ECONNRESET); /* it was cut off */
}

/* The first byte: how much of the rest comes at first, and which message nobody waits for then. */
static bool read_peer(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    int ends[2], done = 0;
    mgi_sockets *s;
    asked a = {.request = {0}};
    (void)path;
    if (size < 1)
        return false;
    const size_t rest = size - 1, first = rest * (data[0] & 7u) / 8;
    const int dropped = data[0] >> 3 & 7;
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    if (!fuzz_must(ctx, mgi_sockets_create(ctx, 0, 2, (int[]){-1, ends[0]}, &s))) {
        close(ends[1]);
        return false;
    }
    if (ask(s, 1, false, &a)) {
        say(ends[1], data + 1, first);
        for (int i = 0; i < TIMES; i++)
            done = test_all(s, &a);
        if (dropped < MESSAGES && a.request[dropped])
            t->drop(s, &a.request[dropped]);
        say(ends[1], data + 1 + first, rest - first);
        for (int i = 0; i < TIMES; i++)
            done = test_all(s, &a);
    }
    close(ends[1]);
    test_all(s, &a);
    end(s, &a);
    ctx->error_set = 0; /* of what was not kept for want of memory */
    ctx->error_text[0] = '\0';
    return done == MESSAGES && dropped >= MESSAGES;
}

/* ---- seeds ---------------------------------------------------------------------------------------- */

static void put_frame(int fd, uint32_t kind, int32_t tag, uint64_t id, int64_t total)
{
    const peer_frame f = {PEER_MAGIC, kind, tag, 0, id, total};
    FUZZ_CHECK(write(fd, &f, sizeof f) == sizeof f);
}

/* What the other rank says: it sends what this one receives, and wants what this one gives. */
static uint8_t *make(uint8_t how, size_t *size)
{
    enum { ROOM = 1 << 15 };
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    mgi_sockets *s;
    int ends[2];
    asked a = {.request = {0}};
    uint8_t *data = malloc(ROOM);
    FUZZ_CHECK(data && mgi_context_init(&ctx, &params) == MGEN_OK);
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    FUZZ_CHECK(mgi_sockets_create(ctx, 1, 2, (int[]){ends[0], -1}, &s) == MGEN_OK);
    FUZZ_CHECK(ask(s, 0, true, &a));
    put_frame(ends[1], PEER_ACCEPT, messages[LARGE].tag, 4, messages[LARGE].bytes); /* its fourth */
    put_frame(ends[1], PEER_OFFER, messages[GIVEN].tag, 1, messages[GIVEN].bytes);  /* our first */
    for (int i = 0; i < TIMES; i++)
        test_all(s, &a);
    data[0] = how;
    ssize_t n = recv(ends[1], data + 1, ROOM - 1, MSG_DONTWAIT);
    FUZZ_CHECK(n > 12000);
    *size = (size_t)n + 1;
    close(ends[1]);
    end(s, &a);
    mgi_context_free(ctx);
    return data;
}

static uint8_t *make_at_once(size_t *size)
{
    return make(7 << 3, size);
}

static uint8_t *make_in_two(size_t *size)
{
    return make(7 << 3 | 5, size);
}

static const fuzz_seed talks[] = {{.make = make_at_once}, {.make = make_in_two}};

const fuzz_target fuzz_peer = {
    .name = "peer", .size_max = 16384, FUZZ_SEEDS(talks), .read = read_peer};
