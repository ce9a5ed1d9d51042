/* SPDX-License-Identifier: MIT
 * How ranks meet without MPI and without threads that know each other: at an address, in a file, by the host's own
 * exchange. Each rank has a context of its own; that they are threads here, nothing of it knows. */
#include "../unit/run_threads.h"
#include "tiny.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RANKS = 3 };

typedef struct rank {
    mgen_mesh_params how;
    uint64_t enough; /* it cancels when `watched`, or itself, has seen so many ranks; 0: never */
    struct rank *watched;
    _Atomic uint64_t seen;
    uint64_t all;
    mgen_status made, waited;
    uint32_t index, size;
    uint32_t late_ms; /* when it comes */
    char error[512];
} rank;

static int32_t on_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    rank *r = user;
    r->all = strcmp(what, "waiting for ranks") ? 0 : total;
    atomic_store(&r->seen, done);
    return r->enough && atomic_load(r->watched ? &r->watched->seen : &r->seen) >= r->enough;
}

static void *rank_main(void *arg)
{
    rank *r = arg;
    mgen_context *ctx = NULL;
    mgen_mesh *mesh = NULL;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.threads = 1;
    p.plugin_dir = "/nonexistent"; /* no MPI */
    p.progress = on_progress;
    p.progress_user = r;
    r->made = mgen_context_create(&p, &ctx);
    usleep(r->late_ms * 1000);
    if (r->made == MGEN_OK)
        r->made = mgen_mesh_create(ctx, &r->how, &mesh);
    if (r->made == MGEN_OK)
        r->waited = mgen_mesh_barrier(mesh);
    r->index = mgen_mesh_rank(mesh);
    r->size = mgen_mesh_size(mesh);
    snprintf(r->error, sizeof r->error, "%s", mgen_last_error(ctx));
    mgen_mesh_destroy(mesh);
    mgen_context_destroy(ctx);
    return NULL;
}

static void run(rank *ranks, int count)
{
    run_threads(rank_main, ranks, sizeof *ranks, count);
}

static rank rank_of(uint32_t index, uint32_t size, const char *meet)
{
    rank r = {.how = MGEN_MESH_PARAMS_INIT};
    r.how.rank = index;
    r.how.size = size;
    r.how.meet = meet;
    r.how.timeout_ms = 20000;
    return r;
}

static void assert_met(const rank *ranks)
{
    for (uint32_t i = 0; i < RANKS; i++) {
        if (ranks[i].made != MGEN_OK || ranks[i].waited != MGEN_OK)
            fail_msg("rank %u: %s", i, ranks[i].error);
        assert_int_equal(ranks[i].index, i);
        assert_int_equal(ranks[i].size, RANKS);
    }
}

static void assert_made(const rank *r, mgen_status status, const char *part)
{
    if (r->made != status || !strstr(r->error, part))
        fail_msg("rank %u: %s: \"%s\"; expected %s: \"...%s...\"", r->how.rank,
                 mgen_status_name(r->made), r->error, mgen_status_name(status), part);
}

static void expect(rank r, mgen_status status, const char *part)
{
    run(&r, 1);
    assert_made(&r, status, part);
}

/* A port that is free; held: and somebody else's. */
static uint16_t port_of(int *held)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, length), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &length), 0);
    if (held)
        *held = fd;
    else
        close(fd);
    return ntohs(at.sin_port);
}

static void test_addresses(void **state)
{
    (void)state;
    char meet[2][400];
    snprintf(meet[0], sizeof meet[0], "tcp://127.0.0.1:%u", port_of(NULL));
    snprintf(meet[1], sizeof meet[1], "file://%s/meeting", dir);
    for (int i = 0; i < 2; i++) {
        rank ranks[RANKS];
        for (uint32_t r = 0; r < RANKS; r++) {
            ranks[r] = rank_of(r, RANKS, meet[i]);
            ranks[r].how.axes = "dp=3";
            ranks[r].how.run = "this one";
        }
        run(ranks, RANKS);
        assert_met(ranks);
    }
    rank alone = rank_of(0, 1, meet[0]);
    run(&alone, 1);
    assert_int_equal(alone.made, MGEN_OK);
    assert_int_equal(alone.size, 1);
}

typedef struct table {
    pthread_barrier_t all;
    char bytes[RANKS][1024];
} table;
typedef struct seat {
    table *table;
    uint32_t rank;
} seat;

static int32_t exchange(void *user, const void *mine, void *all, uint64_t bytes)
{
    const seat *s = user;
    memcpy(s->table->bytes[s->rank], mine, bytes);
    pthread_barrier_wait(&s->table->all);
    for (uint32_t r = 0; r < RANKS; r++)
        memcpy((char *)all + r * bytes, s->table->bytes[r], bytes);
    return 0;
}

static int32_t no_exchange(void *user, const void *mine, void *all, uint64_t bytes)
{
    (void)user, (void)mine, (void)all, (void)bytes;
    return 1;
}

static void test_exchange(void **state)
{
    (void)state;
    table t;
    seat seats[RANKS];
    rank ranks[RANKS];
    pthread_barrier_init(&t.all, NULL, RANKS);
    for (uint32_t r = 0; r < RANKS; r++) {
        seats[r] = (seat){&t, r};
        ranks[r] = rank_of(r, RANKS, NULL);
        ranks[r].how.exchange = exchange;
        ranks[r].how.user = &seats[r];
    }
    run(ranks, RANKS);
    assert_met(ranks);
    pthread_barrier_destroy(&t.all);
    rank r = rank_of(0, 2, NULL);
    r.how.exchange = no_exchange;
    expect(r, MGEN_E_CANCELLED, "exchange answered 1");
}

static void test_refused(void **state)
{
    (void)state;
    rank r = rank_of(0, 2, "tcp://localhost:1");
    r.how.exchange = no_exchange;
    expect(r, MGEN_E_INVALID, "choose one");
    r = rank_of(0, 0, "tcp://localhost:1");
    expect(r, MGEN_E_INVALID, "rank 0 of 0");
    r = rank_of(2, 2, "tcp://localhost:1");
    expect(r, MGEN_E_INVALID, "rank 2 of 2");
    r = rank_of(0, 65537, "tcp://localhost:1");
    expect(r, MGEN_E_INVALID, "1..65536");
    r = rank_of(0, 2, NULL);
    expect(r, MGEN_E_INVALID, "go with meet or exchange");
    r = rank_of(0, 2, "tcp://localhost:1");
    r.how.reserved1 = 1;
    expect(r, MGEN_E_INVALID, "reserved");
    expect(rank_of(0, 2, "localhost:1"), MGEN_E_INVALID, "tcp://host:port");
    r = rank_of(0, 2, "tcp://localhost:1");
    r.how.run = "";
    expect(r, MGEN_E_INVALID, "the name of the run");
    r.how.struct_size = (uint32_t)offsetof(mgen_mesh_params, meet); /* of an older header */
    r.how.size = 0;
    expect(r, MGEN_E_UNSUPPORTED, "MPI");
}

static void test_failures(void **state)
{
    (void)state;
    int held;
    char meet[400];
    snprintf(meet, sizeof meet, "tcp://localhost:%u", port_of(&held));
    rank r = rank_of(0, 2, meet);
    r.how.timeout_ms = 50;
    expect(r, MGEN_E_IO, "choose another");
    close(held);
    expect(r, MGEN_E_TIMEOUT, "rank(s) 1 did not arrive within 50 ms");
    expect(rank_of(0, 2, "file:///nonexistent/meeting"), MGEN_E_NOT_FOUND, "/nonexistent");
    rank apart[2] = {rank_of(0, 2, meet), rank_of(1, 3, meet)};
    run(apart, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(apart[i].made, MGEN_E_DESYNC);
        assert_non_null(strstr(apart[i].error, "rank 0 has 2, rank 1 has 3"));
    }
}

/* A timeout of 0 is the usual one, not none: who comes late is waited for, by processes and by threads. */
static void test_usual_timeout(void **state)
{
    char meet[128];
    mgen_context *ctx = make_context(1);
    mgen_ranks *ranks;
    (void)state;
    snprintf(meet, sizeof meet, "file://%.60s/late", dir);
    assert_int_equal(mgen_ranks_create(ctx, 2, 0, &ranks), MGEN_OK);
    for (int threads = 0; threads < 2; threads++) {
        rank both[2] = {rank_of(0, 2, meet), rank_of(1, 2, meet)};
        both[1].late_ms = 300;
        for (int i = 0; i < 2; i++) {
            both[i].how.timeout_ms = 0;
            both[i].how.meet = threads ? NULL : meet;
            both[i].how.size = threads ? 0 : 2;
            both[i].how.ranks = threads ? ranks : NULL;
        }
        run(both, 2);
        for (int i = 0; i < 2; i++)
            if (both[i].made != MGEN_OK || both[i].waited != MGEN_OK || both[i].size != 2)
                fail_msg("rank %d: %s", i, both[i].error);
    }
    mgen_ranks_destroy(ranks);
    mgen_context_destroy(ctx);
}

/* Who waits and is cancelled by its callback: alone; at the door, where those who came are told; and as one who came, without
 * whom the others go on waiting. */
static void test_cancelled(void **state)
{
    (void)state;
    char meet[2][400];
    snprintf(meet[0], sizeof meet[0], "tcp://127.0.0.1:%u", port_of(NULL));
    snprintf(meet[1], sizeof meet[1], "file://%s/cancelled", dir);
    for (int way = 0; way < 2; way++) {
        for (uint32_t index = 0; index < 2; index++) {
            rank alone = rank_of(index, 2, meet[way]);
            alone.enough = 1;
            run(&alone, 1);
            assert_made(&alone, MGEN_E_CANCELLED,
                        index ? "start: rank 1 no longer waits" : "start: rank 0 no longer waits");
            assert_true(alone.seen == 1 && alone.all == 2);
        }
        assert_int_not_equal(access(meet[1] + strlen("file://"), F_OK), 0);
        rank two[2] = {rank_of(0, 3, meet[way]), rank_of(1, 3, meet[way])};
        two[0].enough = 2;
        run(two, 2);
        assert_made(&two[0], MGEN_E_CANCELLED, "start: rank 0 no longer waits");
        assert_made(&two[1], MGEN_E_PEER_LOST, "start: rank 0 no longer waits");
        two[0] = rank_of(0, 3, meet[way]);
        two[1] = rank_of(1, 3, meet[way]);
        two[0].how.timeout_ms = 1500;
        two[1].watched = &two[0];
        two[1].enough = 2;
        run(two, 2);
        assert_made(&two[0], MGEN_E_TIMEOUT, "rank(s) 1, 2 did not arrive");
        assert_made(&two[1], MGEN_E_CANCELLED, "start: rank 1 no longer waits");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),     cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_failures),
        cmocka_unit_test(test_usual_timeout), cmocka_unit_test(test_cancelled)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
