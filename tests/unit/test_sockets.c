/* SPDX-License-Identifier: MIT
 * Ranks that are processes without MPI: all that test_mpi asks, over sockets; the ways in which they meet, and in which
 * they fail to; peers that send what they should not. MOVIEGEN_DIST=1 runs what takes its time, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/hash.h"
#include "dist/sockets.h"
#include "free_port.h"
#include "peer_frame.h"
#include "rank_cases.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>

static char folder[] = "/tmp/moviegen-sockets-XXXXXX";
static char address[128];

/* ---- processes ---- */

/* "--rank WHAT RANK SIZE ADDRESS" */
static int rank_main(char **argv)
{
    mgen_context *ctx = make_context();
    mgi_comm *comm = NULL;
    const mgi_comm_meeting how = {.rank = atoi(argv[3]), .size = atoi(argv[4]), .address = argv[5]};
    if (!ctx)
        return 1;
    uint64_t before = atomic_load(&ctx->heap->now);
    mgen_status status = mgi_comm_sockets_create(ctx, &how, patience_for(argv[2]), &comm);
    return rank_work(ctx, comm, status, before, argv[2]);
}

static pid_t start_rank(const char *what, int rank, int size, int out)
{
    char self[4096], numbers[2][16];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(length > 0);
    self[length] = 0;
    snprintf(numbers[0], 16, "%d", rank);
    snprintf(numbers[1], 16, "%d", size);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out, 1);
        close(out);
        execl(self, self, "--rank", what, numbers[0], numbers[1], address, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

/* Run this program as ranks; 0: one, by itself. */
static void launch(int ranks, const char *what)
{
    int pipes[2], count = ranks ? ranks : 1, status;
    pid_t pids[RANKS];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    for (int r = 0; r < count; r++)
        pids[r] = start_rank(what, r, count, pipes[1]);
    close(pipes[1]);
    hear_all(pipes[0]);
    for (int r = 0; r < count; r++)
        waitpid(pids[r], &status, 0);
}

static uint16_t use_port(void)
{
    uint16_t port = free_port();
    snprintf(address, sizeof address, "tcp://localhost:%u", port);
    return port;
}

static void use_file(void)
{
    snprintf(address, sizeof address, "file://%s/meeting", folder);
}

static void test_cases(void **state)
{
    (void)state;
    use_port();
    expect_cases(launch);
    use_file();
    expect_cases(launch);
    assert_int_not_equal(access(address + 7, F_OK), 0);
}

static void test_desync(void **state)
{
    (void)state;
    use_port();
    expect_desync(launch);
}

static void test_lost(void **state)
{
    (void)state;
    use_file();
    expect_lost(launch);
    launch(RANKS, "cut off"); /* its process lives, as that of another machine might */
    for (int r = 0; r < 3; r++)
        assert_said(r, "rank 3 has left, its connection has ended");
}

/* ---- threads that meet ---- */

typedef struct member {
    pthread_t thread;
    mgi_comm_meeting how;
    int64_t timeout_ms, late_ms;
    mgen_status status;
    char said[1024];
    int sum;
    double took;
} member;

static void *member_main(void *arg)
{
    member *m = arg;
    mgen_context *ctx = make_context();
    mgi_comm *comm = NULL;
    uint64_t before = atomic_load(&ctx->heap->now);
    float x = (float)(1 << m->how.rank);
    sleep_ms(m->late_ms);
    double begun = seconds();
    m->status = mgi_comm_sockets_create(ctx, &m->how, m->timeout_ms, &comm);
    m->took = seconds() - begun;
    if (m->status == MGEN_OK)
        m->status = mgi_comm_all_reduce(comm, MGK_F32, &x, &x, 1, NULL);
    m->sum = (int)x;
    snprintf(m->said, sizeof m->said, "%s", m->status == MGEN_OK ? "" : ctx->error_text);
    mgi_comm_destroy(comm);
    if (atomic_load(&ctx->heap->now) != before)
        snprintf(m->said, sizeof m->said, "memory is left");
    mgi_context_free(ctx);
    return NULL;
}

static void start_members(member *m, int count)
{
    for (int i = 0; i < count; i++) {
        m[i].how.address = m[i].how.exchange ? NULL : m[i].how.address ? m[i].how.address : address;
        m[i].timeout_ms = m[i].timeout_ms ? m[i].timeout_ms : 20000;
        assert_int_equal(pthread_create(&m[i].thread, NULL, member_main, &m[i]), 0);
    }
}

static void end_members(const member *m, int count)
{
    for (int i = 0; i < count; i++)
        pthread_join(m[i].thread, NULL);
}

static void run_members(member *m, int count)
{
    start_members(m, count);
    end_members(m, count);
}

static void assert_ends(const member *m, mgen_status status, const char *part)
{
    if (m->status != status || !strstr(m->said, part))
        fail_msg("rank %d ends with %s: \"%s\"; expected %s: \"...%s...\"", m->how.rank,
                 mgen_status_name(m->status), m->said, mgen_status_name(status), part);
}

static void assert_met(const member *m, int count)
{
    for (int i = 0; i < count; i++) {
        assert_ends(&m[i], MGEN_OK, "");
        assert_string_equal(m[i].said, "");
        assert_int_equal(m[i].sum, (1 << count) - 1);
    }
}

static void test_meeting(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        kind ? use_file() : (void)use_port();
        member five[5] = {{.how = {2, 5}},
                          {.how = {1, 5}, .late_ms = 60},
                          {.how = {0, 5}, .late_ms = 30},
                          {.how = {4, 5}},
                          {.how = {3, 5}}};
        run_members(five, 5);
        assert_met(five, 5);
    }
    member all[2] = {{.how = {0, 2}}, {.how = {1, 2}}}; /* at every interface */
    snprintf(address, sizeof address, "tcp://0.0.0.0:%u", free_port());
    run_members(all, 2);
    assert_met(all, 2);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *address, *says;
        mgen_status status;
        int rank, size;
    } wrong[] = {
        {"tcp://localhost", "no address to meet at", MGEN_E_INVALID, 0, 2},
        {"tcp://localhost:0", "no address to meet at", MGEN_E_INVALID, 1, 2},
        {"tcp://localhost:65536", "no address to meet at", MGEN_E_INVALID, 1, 2},
        {"tcp://:80", "no address to meet at", MGEN_E_INVALID, 1, 2},
        {"tcp://h:80x", "no address to meet at", MGEN_E_INVALID, 1, 2},
        {"http://h:80", "tcp://host:port, or file:///path", MGEN_E_INVALID, 1, 2},
        {"file://here", "tcp://host:port, or file:///path", MGEN_E_INVALID, 1, 2},
        {"tcp://no.such.host.invalid:80", "was not found", MGEN_E_NOT_FOUND, 1, 2},
        {"file:///nonexistent/x", "/nonexistent", MGEN_E_NOT_FOUND, 0, 2},
        {"tcp://localhost:80", "rank 2 of 2", MGEN_E_INVALID, 2, 2},
        {"tcp://localhost:80", "rank 0 of 0", MGEN_E_INVALID, 0, 0},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        member one = {
            .how = {.rank = wrong[i].rank, .size = wrong[i].size, .address = wrong[i].address},
            .timeout_ms = 1000};
        run_members(&one, 1);
        assert_ends(&one, wrong[i].status, wrong[i].says);
    }
    mgi_comm *comm;
    mgen_context *ctx = make_context();
    const mgi_comm_meeting two = {.rank = 0, .size = 2, .address = "tcp://localhost:80"};
    assert_int_equal(mgi_comm_sockets_create(ctx, &two, 0, &comm), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "a timeout of 0 ms"));
    assert_null(comm);
    assert_int_equal(mgi_comm_mpi_create(ctx, 0, &comm), MGEN_E_INVALID); /* before MPI is begun */
    assert_non_null(strstr(mgen_last_error(ctx), "a timeout of 0 ms"));
    mgi_context_free(ctx);
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* the port is another's */
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(use_port())};
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    member one = {.how = {0, 2}, .timeout_ms = 50};
    run_members(&one, 1);
    assert_ends(&one, MGEN_E_IO, "choose another");
    close(fd);
}

static void test_absent(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        kind ? use_file() : (void)use_port();
        member some[2] = {{.how = {0, 4}, .timeout_ms = 200}, {.how = {2, 4}, .timeout_ms = 200}};
        run_members(some, 2);
        for (int i = 0; i < 2; i++)
            assert_ends(&some[i], MGEN_E_TIMEOUT, "rank(s) 1, 3 did not arrive within 200 ms");
        member lonely = {.how = {1, 2}, .timeout_ms = 100};
        run_members(&lonely, 1);
        assert_ends(&lonely, MGEN_E_TIMEOUT, "rank(s) 0 did not arrive at '");
        assert_true(lonely.took < 1.0);
    }
}

static void test_disagreement(void **state)
{
    (void)state;
    use_port();
    member sizes[2] = {{.how = {0, 4}}, {.how = {2, 3}}};
    run_members(sizes, 2);
    for (int i = 0; i < 2; i++)
        assert_ends(&sizes[i], MGEN_E_DESYNC, "rank 0 has 4, rank 2 has 3");
    use_file();
    member twice[3] = {{.how = {0, 3}}, {.how = {1, 3}}, {.how = {1, 3}}};
    run_members(twice, 3);
    for (int i = 0; i < 3; i++)
        assert_ends(&twice[i], MGEN_E_DESYNC, "rank 1 came twice");
    use_port();
    member runs[3] = {{.how = {0, 2, .run = "a"}},
                      {.how = {1, 2, .run = "a"}, .late_ms = 100},
                      {.how = {1, 2, .run = "b"}}};
    run_members(runs, 3); /* who is not of this run does not end it */
    assert_ends(&runs[2], MGEN_E_DESYNC, "rank 0 has 'a'");
    runs[0].sum += runs[1].sum;
    assert_ends(&runs[0], MGEN_OK, "");
    assert_ends(&runs[1], MGEN_OK, "");
}

/* What an earlier run left: no file of this kind, one whose rank 0 is gone, one whose port another listens at. */
static void test_left_over(void **state)
{
    (void)state;
    char path[160], saved[4096];
    use_file();
    snprintf(path, sizeof path, "%s", address + 7);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "no meeting\n");
    fclose(f);
    for (int kind = 0; kind < 2; kind++) {
        member two[2] = {{.how = {0, 2}, .late_ms = 80}, {.how = {1, 2}}};
        run_members(two, 2);
        assert_met(two, 2);
        if (kind)
            break;
        member dead = {.how = {0, 2}, .timeout_ms = 150}; /* as it was while this one waited */
        start_members(&dead, 1);
        sleep_ms(60);
        f = fopen(path, "r");
        assert_non_null(f);
        size_t n = fread(saved, 1, sizeof saved, f);
        fclose(f);
        end_members(&dead, 1);
        f = fopen(path, "w");
        assert_int_equal(fwrite(saved, 1, n, f), n);
        fclose(f);
    }
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    while (connect(fd, (struct sockaddr *)&at, sizeof at))
        sleep_ms(5);
    return fd;
}

/* Rank 1's greeting, but for the number of addresses, which are at most 8. */
static void greet_badly(int fd)
{
    char text[224] = "mgenmeet";
    const uint32_t head[6] = {1, 0x01020304, 1, 0, 2, 0}; /* version, order, from, to, size, kind */
    const uint64_t run = mgi_hash64("", 0, 0);
    const uint16_t count = 65535;
    memcpy(text + 8, head, sizeof head);
    memcpy(text + 32, &run, sizeof run);
    memcpy(text + 58, &count, sizeof count);
    assert_int_equal(send(fd, text, sizeof text, MSG_NOSIGNAL), sizeof text);
}

/* Whoever else comes to the port is no rank, and holds nobody up. */
static void test_strangers(void **state)
{
    (void)state;
    char noise[5000];
    int fds[80];
    uint16_t port = use_port();
    member two[2] = {{.how = {0, 2}}, {.how = {1, 2}, .late_ms = 400}};
    memset(noise, 'x', sizeof noise);
    start_members(two, 2);
    for (int i = 0; i < 80;
         i++) /* silent, more than are heard at once; half a greeting; noise; gone at once */
        fds[i] = connect_to(port);
    assert_int_equal(write(fds[0], "mgenmeet\1\0\0\0", 12), 12);
    assert_true(send(fds[1], noise, sizeof noise, MSG_NOSIGNAL) > 0);
    assert_true(send(fds[2], "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) > 0);
    close(connect_to(port));
    greet_badly(fds[3]);
    end_members(two, 2);
    assert_met(two, 2);
    assert_true(two[1].took < 3.0); /* less than strangers are heard */
    for (int i = 0; i < 80; i++)
        close(fds[i]);
}

/* Where rank 0 should be is something else. */
static void test_wrong_server(void **state)
{
    (void)state;
    char noise[300];
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(use_port()), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 4), 0);
    member one = {.how = {1, 2}, .timeout_ms = 300};
    start_members(&one, 1);
    int fd = accept(listener, NULL, NULL);
    memset(noise, 'x', sizeof noise);
    assert_int_equal(write(fd, noise, sizeof noise), sizeof noise);
    end_members(&one, 1);
    assert_ends(&one, MGEN_E_DESYNC, "something else answers");
    close(fd);
    one = (member){.how = {1, 2}, .timeout_ms = 100}; /* it says nothing */
    run_members(&one, 1);
    assert_ends(&one, MGEN_E_TIMEOUT, "has not said within 100 ms where the others are");
    close(listener);
}

/* ---- the host's own exchange ---- */

typedef struct table {
    pthread_barrier_t all;
    int size, wrong; /* wrong: what this exchange does otherwise than it should */
    char bytes[8][1024];
} table;
typedef struct seat {
    table *table;
    int rank;
} seat;

static int32_t exchange(void *user, const void *mine, void *all, uint64_t bytes)
{
    const seat *s = user;
    table *t = s->table;
    memcpy(t->bytes[s->rank], mine, bytes);
    pthread_barrier_wait(&t->all);
    for (int r = 0; r < t->size; r++)
        memcpy((char *)all + (uint64_t)r * bytes, t->bytes[t->wrong == 1 ? t->size - 1 - r : r],
               bytes);
    if (t->wrong == 2)
        memset(all, 'x', bytes);
    return t->wrong == 3 ? 7 : 0;
}

static void exchange_with(int wrong, member *m, int count)
{
    table t = {.size = count, .wrong = wrong};
    seat seats[4];
    pthread_barrier_init(&t.all, NULL, (unsigned)count);
    for (int r = 0; r < count; r++) {
        seats[r] = (seat){&t, r};
        m[r].how.rank = r;
        m[r].how.size = m[r].how.size ? m[r].how.size : count;
        m[r].how.exchange = exchange;
        m[r].how.user = &seats[r];
    }
    run_members(m, count);
    pthread_barrier_destroy(&t.all);
}

static void test_exchange(void **state)
{
    (void)state;
    member good[4] = {{.late_ms = 0}};
    exchange_with(0, good, 4);
    assert_met(good, 4);
    static const char *const says[] = {"no bytes of rank 0 in its place",
                                       "no bytes of rank 0 in its place", "exchange answered 7"};
    for (int wrong = 1; wrong <= 3; wrong++) {
        member m[2] = {{.late_ms = 0}};
        exchange_with(wrong, m, 2);
        assert_ends(&m[0], wrong == 3 ? MGEN_E_CANCELLED : MGEN_E_DESYNC, says[wrong - 1]);
    }
    member sizes[2] = {{.how = {.size = 2}}, {.how = {.size = 3}}};
    sizes[1].timeout_ms = sizes[0].timeout_ms = 300;
    exchange_with(0, sizes, 2);
    assert_ends(&sizes[0], MGEN_E_DESYNC, "rank 0 has 2, rank 1 has 3");
    member runs[2] = {{.how = {.run = "a"}}, {.how = {.run = "b"}}};
    exchange_with(0, runs, 2);
    assert_ends(&runs[0], MGEN_E_DESYNC, "name of the run");
}

/* ---- what a peer may send ---- */

typedef struct pair {
    mgen_context *ctx;
    uint64_t before;
    mgi_sockets *s;
    int other; /* the peer's end */
    char error[256];
} pair;

static const mgi_transport *const t = &mgi_sockets_transport;

static void open_pair(pair *p)
{
    int ends[2];
    p->ctx = make_context();
    p->before = atomic_load(&p->ctx->heap->now);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(mgi_sockets_create(p->ctx, 0, 2, (int[]){-1, ends[0]}, &p->s), MGEN_OK);
    p->other = ends[1];
    p->error[0] = 0;
}

static void close_pair(pair *p)
{
    close(p->other);
    t->end(p->s, 1);
    assert_int_equal(atomic_load(&p->ctx->heap->now) - p->before, 0);
    mgi_context_free(p->ctx);
}

static void send_frame(const pair *p, uint32_t kind, int32_t tag, uint32_t bytes, uint64_t id,
                       int64_t total)
{
    const peer_frame f = {PEER_MAGIC, kind, tag, bytes, id, total};
    assert_int_equal(send(p->other, &f, sizeof f, MSG_NOSIGNAL), sizeof f);
}

static void test_bad_frames(void **state)
{
    (void)state;
    static const struct {
        uint32_t kind;
        int32_t tag;
        uint32_t bytes;
        uint64_t id;
        int64_t total;
        const char *says;
    } bad[] = {
        {0, 5, 0, 1, 0, "no message of this library"},
        {6, 5, 0, 1, 0, "no message of this library"},
        {PEER_SMALL, -5, 4, 1, 4, "no message of this library"},
        {PEER_SMALL, 5, 8193, 1, 8193, "no message of this library"},
        {PEER_SMALL, 5, UINT32_MAX, 1, -1, "no message of this library"},
        {PEER_SMALL, 5, 4, 1, 5, "no message of this library"},
        {PEER_OFFER, 5, 0, 1, 8192, "no message of this library"}, /* small ones are not offered */
        {PEER_OFFER, 5, 1, 1, 10000, "no message of this library"},
        {PEER_OFFER, 5, 0, 1, INT64_MAX,
         "sent 9223372036854775807 bytes where 10000 were expected"},
        {PEER_OFFER, 5, 0, 1, 10001, "sent 10001 bytes where 10000 were expected"},
        {PEER_SMALL, 5, 0, 1, 0, "sent 0 bytes where 10000 were expected"},
        {PEER_DATA, 5, 0, 1, 0, "no message of this library"},
        {PEER_DATA, 5, 1 << 21, 1, 1 << 21, "no message of this library"},
        {PEER_DATA, 5, 100, 1, 100, "data that was not asked for"},
        {PEER_END, 5, 0, 1, 0, "ended what it had not sent"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pair p;
        int64_t request;
        static char data[10000];
        open_pair(&p);
        assert_int_equal(
            t->receive(p.s, data, sizeof data, 1, 5, &request, p.error, sizeof p.error), 0);
        send_frame(&p, bad[i].kind, bad[i].tag, bad[i].bytes, bad[i].id, bad[i].total);
        assert_int_equal(t->test(p.s, &request, p.error, sizeof p.error), MGEN_E_PEER_LOST);
        if (!strstr(p.error, bad[i].says))
            fail_msg("case %zu: '%s' does not say '%s'", i, p.error, bad[i].says);
        assert_int_equal(request, 0);
        assert_true(t->ended(p.s, 1));
        close_pair(&p);
    }
}

/* An accepted message: more bytes than were offered, an end before them; and cut off in the middle of everything. */
static void test_bad_data(void **state)
{
    (void)state;
    for (int way = 0; way < 5; way++) {
        pair p;
        int64_t request;
        static char data[10000];
        open_pair(&p);
        assert_int_equal(
            t->receive(p.s, data, sizeof data, 1, 5, &request, p.error, sizeof p.error), 0);
        send_frame(&p, PEER_OFFER, 5, 0, 1, 10000);
        assert_int_equal(t->test(p.s, &request, p.error, sizeof p.error), 0);
        assert_true(request != 0);
        if (way == 0)
            send_frame(&p, PEER_DATA, 5, 10001, 1, 10000);
        if (way == 1)
            send_frame(&p, PEER_END, 5, 0, 1, 10000);
        if (way >= 2)
            send_frame(&p, PEER_DATA, 5, 9000, 1, 10000);
        if (way == 3)
            assert_int_equal(send(p.other, data, 500, 0), 500);
        if (way == 4) /* half a head behind it */
            assert_int_equal(send(p.other, data, 9007, 0), 9007);
        if (way >= 2)
            close(p.other);
        int32_t status = t->test(p.s, &request, p.error, sizeof p.error);
        if (way >= 2) {
            assert_int_equal(status, 0); /* it has left: for whom that matters is told by ended() */
            assert_true(request != 0 && t->ended(p.s, 1));
            t->drop(p.s, &request);
            p.other = dup(0);
        } else {
            assert_int_equal(status, MGEN_E_PEER_LOST);
            assert_non_null(strstr(p.error, way ? "ended what it had not sent" : "not asked for"));
        }
        close_pair(&p);
    }
}

/* What nobody asks for is kept up to a limit. */
static void test_unasked(void **state)
{
    (void)state;
    pair p;
    int64_t request;
    char word[8];
    int sent = 0;
    open_pair(&p);
    assert_int_equal(t->receive(p.s, word, 8, -1, 0, &request, p.error, sizeof p.error), 0);
    int32_t status = 0;
    static char small[8192];
    while (!status && sent < 20000) {
        send_frame(&p, PEER_SMALL, 7, sizeof small, 1, sizeof small);
        if (send(p.other, small, sizeof small, MSG_NOSIGNAL) < 0)
            break;
        sent++;
        status = t->test(p.s, &request, p.error, sizeof p.error);
    }
    assert_int_equal(status, MGEN_E_PEER_LOST);
    assert_non_null(strstr(p.error, "64 MB that nobody asked for"));
    assert_in_range(sent, 8000, 8300);
    close_pair(&p);
}

/* Messages of all sizes between two transports: in order by tag, whoever comes first; some dropped on the way. */
static void test_messages(void **state)
{
    (void)state;
    enum { COUNT = 40, MOST = 3 << 20 };
    mgen_context *ctx = make_context();
    uint64_t before = atomic_load(&ctx->heap->now);
    mgi_sockets *s[2];
    int ends[2];
    char error[256] = "";
    int64_t out[COUNT], in[COUNT];
    static const int64_t sizes[] = {1, 100, 8192, 8193, 70000, MOST};
    char *from = malloc(MOST + COUNT), *to[COUNT];
    for (int64_t i = 0; i < MOST + COUNT; i++)
        from[i] = (char)(i * 7 + i / 251);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(mgi_sockets_create(ctx, 0, 2, (int[]){-1, ends[0]}, &s[0]), MGEN_OK);
    assert_int_equal(mgi_sockets_create(ctx, 1, 2, (int[]){ends[1], -1}, &s[1]), MGEN_OK);
    for (int i = 0; i < COUNT; i++) {
        int64_t size = sizes[(size_t)i % 6];
        to[i] = calloc(1, (size_t)size);
        assert_int_equal(t->send(s[0], from + i, size, 1, i % 3, &out[i], error, sizeof error), 0);
        if (i == 20) { /* some come before they are asked for */
            int64_t probe = 0;
            char word;
            assert_int_equal(t->receive(s[1], &word, 1, -1, 99, &probe, error, sizeof error), 0);
            assert_int_equal(t->test(s[1], &probe, error, sizeof error), 0);
            t->drop(s[1], &probe);
        }
    }
    for (int i = COUNT - 1, k = 0; i >= 0; i--, k++) /* by tag in order, tags in another */
        in[i] = 0;
    for (int tag = 2; tag >= 0; tag--)
        for (int i = tag; i < COUNT; i += 3)
            assert_int_equal(
                t->receive(s[1], to[i], sizes[(size_t)i % 6], 0, tag, &in[i], error, sizeof error),
                0);
    t->drop(s[0], &out[35]); /* large, asked for: never complete */
    for (int left = 1, times = 0; left && times < 100000; times++) {
        left = 0;
        for (int i = 0; i < COUNT; i++) {
            if (out[i])
                assert_int_equal(t->test(s[0], &out[i], error, sizeof error), 0);
            if (in[i])
                assert_int_equal(t->test(s[1], &in[i], error, sizeof error), 0);
            left += (out[i] != 0) + (in[i] != 0 && i != 35);
        }
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(out[i], 0);
        assert_int_equal(in[i] != 0, i == 35);
        if (i != 35)
            assert_memory_equal(to[i], from + i, sizes[(size_t)i % 6]);
    }
    t->drop(s[1], &in[35]);
    t->end(s[0], 1);
    t->end(s[1], 1);
    for (int i = 0; i < COUNT; i++)
        free(to[i]);
    free(from);
    assert_int_equal(atomic_load(&ctx->heap->now), before);
    mgi_context_free(ctx);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(folder); /* nothing was left */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_frames),   cmocka_unit_test(test_bad_data),
        cmocka_unit_test(test_unasked),      cmocka_unit_test(test_messages),
        cmocka_unit_test(test_meeting),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_absent),       cmocka_unit_test(test_disagreement),
        cmocka_unit_test(test_left_over),    cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_wrong_server), cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_cases),        cmocka_unit_test(test_desync),
        cmocka_unit_test(test_lost),
    };
    if (argc == 6 && !strcmp(argv[1], "--rank"))
        return rank_main(argv);
    return cmocka_run_group_tests_name("sockets", tests, setup, teardown);
}
