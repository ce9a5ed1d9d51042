/* SPDX-License-Identifier: MIT
 * A rank whose peer is none: this program meets it as rank 1 would, byte by byte, and then says what no rank says,
 * nothing, half of something, or the same without end. The rank's call ends in time, in bounded memory, and names it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "clock.h"
#include "core/alloc.h"
#include "core/hash.h"
#include "dist/comm.h"
#include "free_port.h"
#include "kernels/mgk.h"
#include "peer_frame.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TIMEOUT_MS = 1000 /* meeting takes a few, of a busy machine many */ };

static char address[80];
static uint16_t port;

/* ---- the rank ------------------------------------------------------------------------------------- */

typedef struct rank {
    pthread_t thread;
    int rank, size;
    bool together; /* its call: how others' work ended */
    _Atomic bool over;
    mgen_status status;
    char said[1024];
    double took;
    uint64_t peak;
} rank;

static void *rank_main(void *arg)
{
    rank *k = arg;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    const mgi_comm_meeting how = {.rank = k->rank, .size = k->size, .address = address};
    mgen_context *ctx;
    mgi_comm *comm = NULL;
    float x = 1.0f;
    params.threads = 1;
    if (mgi_context_init(&ctx, &params) != MGEN_OK)
        return NULL;
    const uint64_t before = atomic_load(&ctx->heap->now);
    const double begun = seconds();
    k->status = mgi_comm_sockets_create(ctx, &how, TIMEOUT_MS, &comm);
    if (k->status == MGEN_OK)
        k->status = k->together ? mgi_comm_together(comm, MGEN_OK)
                                : mgi_comm_all_reduce(comm, MGK_F32, &x, &x, 1, NULL);
    k->took = seconds() - begun;
    snprintf(k->said, sizeof k->said, "%s", k->status == MGEN_OK ? "" : ctx->error_text);
    mgi_comm_destroy(comm);
    if (atomic_load(&ctx->heap->now) != before)
        snprintf(k->said, sizeof k->said, "memory is left");
    k->peak = atomic_load(&ctx->heap->peak) - before;
    mgi_context_free(ctx);
    atomic_store(&k->over, true);
    return NULL;
}

static void choose_port(void)
{
    port = free_port();
    snprintf(address, sizeof address, "tcp://localhost:%u", port);
}

static void run_rank(rank *k)
{
    k->status = MGEN_E_INTERNAL;
    assert_int_equal(pthread_create(&k->thread, NULL, rank_main, k), 0);
}

static void start_rank(rank *k, int size)
{
    choose_port();
    *k = (rank){.size = size};
    run_rank(k);
}

static void end_rank(rank *k, mgen_status status, const char *part)
{
    pthread_join(k->thread, NULL);
    if (k->status != status || !strstr(k->said, part))
        fail_msg("the rank ends with %s: \"%s\"; expected %s: \"...%s...\"",
                 mgen_status_name(k->status), k->said, mgen_status_name(status), part);
    assert_true(k->took < 10.0);
    assert_true(k->peak < UINT64_C(80)
                              << 20); /* what of a peer's is kept at the most, and a little */
}

/* ---- its peer ------------------------------------------------------------------------------------- */

static int come(void)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (connect(fd, (struct sockaddr *)&at, sizeof at))
        sleep_ms(5);
    return fd;
}

/* Until the other end has gone: then false. */
static bool say(int fd, const void *data, size_t bytes)
{
    return send(fd, data, bytes, MSG_NOSIGNAL) == (ssize_t)bytes;
}

static bool hear(int fd, void *data, size_t bytes)
{
    return recv(fd, data, bytes, MSG_WAITALL) == (ssize_t)bytes;
}

/* Rank 1's, with a card that has no address. */
static void greeting(char text[224], uint32_t size)
{
    const uint32_t head[6] = {1, 0x01020304, 1,
                              0, size,       0}; /* version, order, from, to, size, kind */
    const uint64_t run = mgi_hash64("", 0, 0);
    memset(text, 0, 224);
    memcpy(text, "mgenmeet", 8);
    memcpy(text + 8, head, sizeof head);
    memcpy(text + 32, &run, sizeof run);
}

static int join(void)
{
    char text[224], reply[256], cards[2 * 176];
    int fd = come();
    greeting(text, 2);
    assert_true(say(fd, text, sizeof text));
    assert_true(hear(fd, reply, sizeof reply) && hear(fd, cards, sizeof cards));
    return fd;
}

/* A small message as it travels. */
static bool say_frame(int fd, int32_t tag, const void *data, uint32_t bytes)
{
    struct {
        peer_frame frame;
        char data[1024];
    } message = {{PEER_MAGIC, PEER_SMALL, tag, bytes, 0, bytes}, ""};
    memcpy(message.data, data, bytes);
    return say(fd, &message, sizeof message.frame + bytes);
}

typedef struct hello {
    int32_t version, pid;
    uint64_t machine;
} hello;

/* Of the world: what ranks tell each other beside calls. */
typedef struct control {
    int32_t kind, from, code, group, count, rank[32];
    char text[512];
} control;
enum { CONTROL = 0, HELLO = 1, HEAD = 8 /* tags; the world's group is 1 */ };
enum { BROKEN, LEFT, ASK, ANSWER };

static int join_and_greet(void)
{
    const hello h = {1, -1, 5};
    int fd = join();
    assert_true(say_frame(fd, HELLO, &h, sizeof h));
    return fd;
}

/* ---- what it does --------------------------------------------------------------------------------- */

static void test_hangs(void **state)
{
    (void)state;
    rank k;
    char text[224];
    const hello h = {1, -1, 5}, other = {2, -1, 5};
    start_rank(&k, 2); /* in its greeting */
    int fd = come();
    greeting(text, 2);
    assert_true(say(fd, text, 100));
    end_rank(&k, MGEN_E_TIMEOUT, "start: rank(s) 1 did not arrive within 1000 ms");
    close(fd);
    start_rank(&k, 2); /* behind it */
    fd = join();
    end_rank(&k, MGEN_E_TIMEOUT, "start: rank(s) 1 did not arrive within 1000 ms");
    close(fd);
    start_rank(&k, 2); /* in the first message */
    fd = join();
    assert_true(say(fd, "mgen\1\0\0\0\1\0\0\0\x10\0\0\0", 16));
    end_rank(&k, MGEN_E_TIMEOUT, "start: rank(s) 1 did not arrive within 1000 ms");
    close(fd);
    start_rank(&k, 2); /* behind that */
    fd = join_and_greet();
    end_rank(&k, MGEN_E_TIMEOUT, "rank(s) 1 did not arrive within 1000 ms");
    close(fd);
    start_rank(&k, 2); /* and one that goes */
    close(join());
    end_rank(&k, MGEN_E_PEER_LOST, "start: rank 1 has left");
    start_rank(&k, 2);
    fd = join();
    assert_true(say_frame(fd, HELLO, &other, sizeof other));
    end_rank(&k, MGEN_E_DESYNC, "rank 0 has 1, rank 1 has 2; run the same libmoviegen everywhere");
    close(fd);
    start_rank(&k, 2);
    fd = join();
    assert_true(say_frame(fd, HELLO, &h, sizeof h - 1));
    end_rank(&k, MGEN_E_PEER_LOST, "rank 1 sent 15 bytes where 16 were expected");
    close(fd);
}

/* A byte at a time; and a rank that goes on speaking before it is answered, which none does. */
static void test_slow_and_hasty(void **state)
{
    (void)state;
    rank k;
    char text[224];
    start_rank(&k, 2);
    int fd = come();
    greeting(text, 2);
    for (size_t i = 0; i < sizeof text && !atomic_load(&k.over); i++) {
        sleep_ms(20);
        (void)say(fd, text + i, 1);
    }
    end_rank(&k, MGEN_E_TIMEOUT, "start: rank(s) 1 did not arrive within 1000 ms");
    close(fd);
    char twice[448];
    start_rank(&k, 3);
    fd = come();
    greeting(twice, 3);
    greeting(twice + 224, 3);
    assert_true(say(fd, twice, sizeof twice));
    end_rank(&k, MGEN_E_TIMEOUT, "start: rank(s) 1, 2 did not arrive within 1000 ms");
    close(fd);
}

static void test_control(void **state)
{
    (void)state;
    rank k;
    control c = {.kind = BROKEN, .from = 1, .code = -12345};
    memset(c.text, '\x1b', sizeof c.text); /* no end, and nothing that belongs into a message */
    start_rank(&k, 2);
    int fd = join_and_greet();
    sleep_ms(100); /* it waits in its call */
    assert_true(say_frame(fd, CONTROL, &c, sizeof c));
    end_rank(&k, MGEN_E_PEER_LOST, "???????");
    close(fd);
    static const int32_t others[][3] = {{BROKEN, -1, MGEN_E_IO}, {BROKEN, 2, MGEN_E_IO},
                                        {LEFT, 1, 77},           {99, 1, 0},
                                        {ANSWER, 0, 0},          {INT32_MIN, INT32_MAX, 0}};
    start_rank(&k, 2); /* what says nothing to it */
    fd = join_and_greet();
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        c = (control){.kind = others[i][0],
                      .from = others[i][1],
                      .code = others[i][2],
                      .group = others[i][2],
                      .count = INT32_MAX};
        for (int j = 0; j < 32; j++)
            c.rank[j] = j % 2 ? INT32_MIN : INT32_MAX;
        assert_true(say_frame(fd, CONTROL, &c, sizeof c));
    }
    end_rank(&k, MGEN_E_TIMEOUT, "rank(s) 1 did not arrive within 1000 ms");
    close(fd);
    start_rank(&k, 2);
    fd = join_and_greet();
    assert_true(say_frame(fd, CONTROL, &c, sizeof c - 1));
    end_rank(&k, MGEN_E_PEER_LOST, "where 660 were expected");
    close(fd);
}

/* A head of a call that there is not: told as it is, without what does not belong into a message. */
static void test_heads(void **state)
{
    (void)state;
    struct {
        int32_t op, dtype, peer, unused;
        int64_t count, index;
        char what[40];
    } head = {INT32_MAX, INT32_MIN, INT32_MAX, 0, INT64_MIN, INT64_MAX, ""};
    rank k;
    memset(head.what, '\n', sizeof head.what);
    start_rank(&k, 2);
    int fd = join_and_greet();
    assert_true(say_frame(fd, HEAD, &head, sizeof head));
    end_rank(&k, MGEN_E_DESYNC, "rank 1 calls barrier for ???");
    close(fd);
}

/* How its work ended: by no known status, in a text without an end. */
static void test_outcome(void **state)
{
    (void)state;
    peer_frame frame;
    struct {
        int32_t status;
        char said[252];
    } outcome = {.status = -12345};
    char head[128], x[252];
    rank k = {.size = 2, .together = true};
    choose_port();
    run_rank(&k);
    int fd = join_and_greet();
    do /* its head is given back: the calls agree */
        assert_true(hear(fd, &frame, sizeof frame) && frame.bytes <= sizeof head &&
                    hear(fd, head, frame.bytes));
    while (frame.tag != HEAD);
    memset(outcome.said, 'x', sizeof outcome.said);
    memset(x, 'x', sizeof x - 1);
    x[sizeof x - 1] = 0;
    assert_true(say_frame(fd, HEAD, head, frame.bytes));
    assert_true(say_frame(fd, HEAD + 1, &outcome, sizeof outcome));
    end_rank(&k, MGEN_E_PEER_LOST, x);
    assert_int_equal(strlen(k.said), strlen("rank 1: ") + strlen(x));
    close(fd);
}

/* Who answers in place of rank 0. */
static void test_wrong_host(void **state)
{
    (void)state;
    struct {
        char magic[8];
        uint32_t version;
        int32_t status;
        uint64_t number;
        char text[232];
    } reply = {.magic = {'m', 'g', 'e', 'n', 'm', 'e', 'e', 't'}, .version = 1, .status = -12345};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char text[224], cards[3 * 176];
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    choose_port();
    at.sin_port = htons(port);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 4), 0);
    memset(reply.text, 'x', sizeof reply.text);
    memset(cards, 0xff, sizeof cards); /* of addresses of no kind, more than there can be */
    for (int way = 0; way < 3; way++) {
        rank k = {.rank = 2, .size = 3};
        run_rank(&k);
        int fd = accept(listener, NULL, NULL);
        assert_true(hear(fd, text, sizeof text));
        reply.status = way ? 0 : -12345;
        assert_true(say(fd, &reply, sizeof reply));
        if (way)
            assert_true(say(fd, cards, way == 1 ? 100 : sizeof cards));
        end_rank(&k, way == 2 ? MGEN_E_TIMEOUT : MGEN_E_PEER_LOST,
                 way == 0   ? "xxxxxxxx"
                 : way == 1 ? "start: rank 0 has left"
                            : "start: rank(s) 1 did not arrive within 1000 ms");
        close(fd);
    }
    close(listener);
}

/* A file in place of rank 0's: more addresses than there can be, of no kind; and one that is no file. */
static void test_notice(void **state)
{
    (void)state;
    rank k = {.rank = 1, .size = 2};
    char text[224], path[64] = "/tmp/moviegen-notice-XXXXXX";
    const uint64_t number = 5;
    greeting(text, 2);
    memcpy(text + 40, &number, sizeof number);
    memset(text + 56, 0xff, sizeof text - 56);
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, sizeof text) == sizeof text);
    close(fd);
    snprintf(address, sizeof address, "file://%s", path);
    run_rank(&k);
    end_rank(&k, MGEN_E_TIMEOUT, "start: rank(s) 0 did not arrive at 'file:///tmp/");
    assert_int_equal(remove(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* opened, it would wait for a writer */
    run_rank(&k);
    end_rank(&k, MGEN_E_TIMEOUT, "start: rank(s) 0 did not arrive at 'file:///tmp/");
    assert_int_equal(remove(path), 0);
}

/* Questions without end, the answers to which are not read. */
static void test_flood(void **state)
{
    (void)state;
    rank k;
    const control c = {.kind = ASK, .from = 1};
    start_rank(&k, 2);
    int fd = join_and_greet();
    const double until = seconds() + 15.0;
    while (!atomic_load(&k.over) && seconds() < until && say_frame(fd, CONTROL, &c, sizeof c))
        ;
    shutdown(fd, SHUT_RDWR);
    pthread_join(k.thread, NULL);
    assert_true(k.took < 10.0);
    assert_true(k.peak < UINT64_C(80) << 20);
    if (k.status != MGEN_E_TIMEOUT && k.status != MGEN_E_PEER_LOST)
        fail_msg("%s: %s", mgen_status_name(k.status), k.said);
    assert_non_null(strstr(k.said, "rank 1 sent 64 MB") || strstr(k.said, "did not arrive") ? k.said
                                                                                            : NULL);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hangs),   cmocka_unit_test(test_slow_and_hasty),
        cmocka_unit_test(test_control), cmocka_unit_test(test_heads),
        cmocka_unit_test(test_outcome), cmocka_unit_test(test_wrong_host),
        cmocka_unit_test(test_notice),  cmocka_unit_test(test_flood),
    };
    return cmocka_run_group_tests_name("peers", tests, NULL, NULL);
}
