/* SPDX-License-Identifier: MIT
 * Communicators: every collective on 1 to 8 thread ranks against plain loops, and what goes wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "dist/comm.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RANKS 8
#define COUNT 2503 /* of no rank count a multiple, and more than one block of sums */

typedef struct world world;
typedef struct rank_state {
    world *world;
    int rank;
    mgen_context *ctx;
    mgi_comm *comm;
    mgen_status status, later;
    float *a, *b;
    const char *wrong; /* what a rank's thread found; only the main thread may fail a test */
} rank_state;
struct world {
    int size;
    void (*body)(rank_state *);
    mgen_context *owner;
    rank_state ranks[RANKS];
};

#define CHECK(expr)                                                                                \
    do {                                                                                           \
        if (!(expr) && !s->wrong)                                                                  \
            s->wrong = #expr;                                                                      \
    } while (0)

static mgen_context *make_context(void)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    params.threads = 1;
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    return ctx;
}

static void *rank_main(void *arg)
{
    rank_state *s = arg;
    s->world->body(s);
    mgi_comm_destroy(s->comm);
    return NULL;
}

/* Run body on `size` ranks; afterwards nothing may be left allocated but the contexts' own. */
static void run_ranks(world *w, int size, int64_t timeout_ms, void (*body)(rank_state *))
{
    pthread_t threads[RANKS];
    mgi_comm_group *group;
    *w = (world){.size = size, .body = body, .owner = make_context()};
    uint64_t owner_before = w->owner->heap->now, before[RANKS];
    assert_int_equal(mgi_comm_group_create(w->owner, size, timeout_ms, &group), MGEN_OK);
    for (int r = 0; r < size; r++) {
        rank_state *s = &w->ranks[r];
        s->world = w;
        s->rank = r;
        s->ctx = make_context();
        before[r] = s->ctx->heap->now;
        s->a = malloc(sizeof(float) * COUNT * RANKS);
        s->b = malloc(sizeof(float) * COUNT * RANKS);
        assert_true(s->a && s->b);
        assert_int_equal(mgi_comm_join(group, r, s->ctx, &s->comm), MGEN_OK);
    }
    mgi_comm_group_release(group);
    for (int r = 0; r < size; r++)
        assert_int_equal(pthread_create(&threads[r], NULL, rank_main, &w->ranks[r]), 0);
    for (int r = 0; r < size; r++)
        pthread_join(threads[r], NULL);
    for (int r = 0; r < size; r++) {
        rank_state *s = &w->ranks[r];
        if (s->wrong)
            fail_msg("rank %d of %d: %s (%s)", r, size, s->wrong, s->ctx->error_text);
        assert_int_equal(s->ctx->heap->now, before[r]);
    }
    assert_int_equal(w->owner->heap->now, owner_before);
}

static void end_ranks(world *w)
{
    for (int r = 0; r < w->size; r++) {
        free(w->ranks[r].a);
        free(w->ranks[r].b);
        mgi_context_free(w->ranks[r].ctx);
    }
    mgi_context_free(w->owner);
}

/* Values whose sum depends on the order of adding. */
static float value(int rank, int64_t i)
{
    return (float)((rank * 7919 + i * 104729) % 1000 - 500) * (rank % 3 ? 1e-3f : 1e4f) / 7.0f;
}

static float sum_at(int size, int64_t i)
{
    float sum = value(0, i);
    for (int r = 1; r < size; r++)
        sum += value(r, i);
    return sum;
}

static void fill(rank_state *s, float *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = value(s->rank, i);
}

static void collectives(rank_state *s)
{
    mgi_comm *c = s->comm;
    int n = s->world->size, me = s->rank;
    CHECK(mgi_comm_rank(c) == me && mgi_comm_size(c) == n);

    fill(s, s->a, COUNT);
    CHECK(mgi_comm_all_reduce(c, s->a, s->b, COUNT) == MGEN_OK);
    for (int64_t i = 0; i < COUNT; i++)
        CHECK(s->b[i] == sum_at(n, i));
    for (int64_t count = 0; count <= 9; count += 3) { /* in place; fewer elements than ranks */
        fill(s, s->a, 10);
        CHECK(mgi_comm_all_reduce(c, s->a, s->a, count) == MGEN_OK);
        for (int64_t i = 0; i < 10; i++)
            CHECK(s->a[i] == (i < count ? sum_at(n, i) : value(me, i)));
    }
    for (int in_place = 0; in_place < 2; in_place++) {
        float *own = in_place ? s->b + (int64_t)me * COUNT : s->a;
        fill(s, own, COUNT);
        CHECK(mgi_comm_all_gather(c, own, s->b, COUNT, sizeof(float)) == MGEN_OK);
        for (int64_t i = 0; i < (int64_t)n * COUNT; i++)
            CHECK(s->b[i] == value((int)(i / COUNT), i % COUNT));

        fill(s, s->a, (int64_t)n * COUNT);
        own = in_place ? s->a + (int64_t)me * COUNT : s->b;
        CHECK(mgi_comm_reduce_scatter(c, s->a, own, COUNT) == MGEN_OK);
        for (int64_t i = 0; i < COUNT; i++)
            CHECK(own[i] == sum_at(n, (int64_t)me * COUNT + i));
    }
    for (int root = 0; root < n; root++) {
        fill(s, s->a, COUNT);
        CHECK(mgi_comm_broadcast(c, s->a, COUNT, sizeof(float), root) == MGEN_OK);
        for (int64_t i = 0; i < COUNT; i++)
            CHECK(s->a[i] == value(root, i));
    }
    fill(s, s->a, (int64_t)n * COUNT);
    CHECK(mgi_comm_all_to_all(c, s->a, s->b, COUNT, sizeof(float)) == MGEN_OK);
    for (int64_t i = 0; i < (int64_t)n * COUNT; i++)
        CHECK(s->b[i] == value((int)(i / COUNT), (int64_t)me * COUNT + i % COUNT));

    fill(s, s->a, COUNT); /* around the ring */
    for (int from = 0; from < n && n > 1; from++) {
        int to = (from + 1) % n;
        if (me == from)
            CHECK(mgi_comm_send(c, s->a, COUNT, sizeof(float), to) == MGEN_OK);
        if (me == to) {
            CHECK(mgi_comm_recv(c, s->b, COUNT, sizeof(float), from) == MGEN_OK);
            for (int64_t i = 0; i < COUNT; i++)
                CHECK(s->b[i] == value(from, i));
        }
    }
    CHECK(mgi_comm_barrier(c) == MGEN_OK);
    CHECK(mgi_comm_counted(c, MGI_COMM_BARRIER).calls == 1);
    CHECK(mgi_comm_all_reduce(c, s->a, s->a + 1, 5) == MGEN_E_INVALID);
    CHECK(mgi_comm_all_reduce(c, NULL, s->a, 5) == MGEN_E_INVALID);
    CHECK(mgi_comm_all_reduce(c, s->a, s->b, -1) == MGEN_E_INVALID);
    CHECK(mgi_comm_all_reduce(c, s->a, s->b, INT64_MAX / 4) == MGEN_E_INVALID);
    CHECK(mgi_comm_send(c, s->a, 1, 4, me) == MGEN_E_INVALID);
    CHECK(mgi_comm_broadcast(c, s->a, 1, 4, n) == MGEN_E_INVALID);
    CHECK(mgi_comm_barrier(c) == MGEN_OK); /* arguments refused here break nothing */
}

static void test_collectives(void **state)
{
    (void)state;
    const int sizes[] = {1, 2, 3, 4, 8};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        world w;
        run_ranks(&w, sizes[i], 60000, collectives);
        end_ranks(&w);
    }
    world w = {.size = 1}; /* the engine of one rank does the same */
    rank_state *s = &w.ranks[0];
    s->world = &w;
    s->ctx = make_context();
    s->a = malloc(sizeof(float) * COUNT);
    s->b = malloc(sizeof(float) * COUNT);
    assert_int_equal(mgi_comm_single_create(s->ctx, &s->comm), MGEN_OK);
    collectives(s);
    if (s->wrong)
        fail_msg("one rank: %s", s->wrong);
    mgi_comm_abort(s->comm);
    assert_int_equal(mgi_comm_barrier(s->comm), MGEN_E_PEER_LOST);
    mgi_comm_destroy(s->comm);
    free(s->a);
    free(s->b);
    mgi_context_free(s->ctx);
}

static void reduce_often(rank_state *s)
{
    for (int i = 0; i < 50; i++) {
        if ((s->rank + i) % 4 == 0) /* other arrival orders each time */
            nanosleep(&(struct timespec){0, 200000}, NULL);
        fill(s, s->a, COUNT);
        CHECK(mgi_comm_all_reduce(s->comm, s->a, i == 0 ? s->b : s->a, COUNT) == MGEN_OK);
        CHECK(i == 0 || memcmp(s->a, s->b, sizeof(float) * COUNT) == 0);
    }
}

static void test_determinism(void **state)
{
    (void)state;
    world w, again;
    run_ranks(&w, 8, 60000, reduce_often);
    run_ranks(&again, 8, 60000, reduce_often);
    for (int r = 0; r < 8; r++) {
        assert_memory_equal(w.ranks[r].b, w.ranks[0].b, sizeof(float) * COUNT);
        assert_memory_equal(again.ranks[r].b, w.ranks[0].b, sizeof(float) * COUNT);
    }
    end_ranks(&w);
    end_ranks(&again);
}

/* 2 rows of 4 columns. */
static void by_row(void *user, int rank, int *color, int *key)
{
    (void)user;
    *color = rank / 4;
    *key = rank % 4;
}

static void rows_and_columns(rank_state *s)
{
    mgi_comm *row = NULL, *column = NULL, *none = NULL;
    int me = s->rank;
    CHECK(mgi_comm_split_by(s->comm, by_row, NULL, &row) == MGEN_OK);
    CHECK(mgi_comm_split(s->comm, me % 4, -me, &column) == MGEN_OK); /* in reverse order */
    CHECK(mgi_comm_split(s->comm, me == 3 ? -1 : 5, 0, &none) == MGEN_OK);
    CHECK((none == NULL) == (me == 3));
    CHECK(!none || (mgi_comm_size(none) == 7 && mgi_comm_rank(none) == me - (me > 3)));
    mgi_comm_destroy(none);
    if (!row || !column)
        return;
    CHECK(mgi_comm_size(row) == 4 && mgi_comm_rank(row) == me % 4);
    CHECK(mgi_comm_size(column) == 2 && mgi_comm_rank(column) == 1 - me / 4);
    mgi_comm_destroy(s->comm); /* the parent may go first */
    s->comm = NULL;
    for (int i = 0; i < 20; i++) {
        float mine = (float)me, sum;
        CHECK(mgi_comm_all_reduce(row, &mine, &sum, 1) == MGEN_OK);
        CHECK(sum == (float)(me / 4 * 16 + 6));
        CHECK(mgi_comm_all_reduce(column, &mine, &sum, 1) == MGEN_OK);
        CHECK(sum == (float)(me % 4 * 2 + 4));
    }
    mgi_comm_destroy(row);
    mgi_comm_destroy(column);
}

static void test_split(void **state)
{
    (void)state;
    world w;
    run_ranks(&w, 8, 60000, rows_and_columns);
    end_ranks(&w);
}

static void assert_says(const rank_state *s, const char *part)
{
    if (!strstr(s->ctx->error_text, part))
        fail_msg("rank %d: '%s' does not say '%s'", s->rank, s->ctx->error_text, part);
}

static void other_count(rank_state *s)
{
    memset(s->a, 0, sizeof(float) * COUNT);
    s->status = mgi_comm_all_reduce(s->comm, s->a, s->b, s->rank == 0 ? 5 : 6);
    s->later = mgi_comm_barrier(s->comm);
}

static void other_op(rank_state *s)
{
    s->status = s->rank == 0 ? mgi_comm_barrier(s->comm)
                             : mgi_comm_broadcast(s->comm, s->a, 3, s->rank == 1 ? 4 : 8, 1);
    s->later = mgi_comm_barrier(s->comm);
}

static void both_send(rank_state *s)
{
    s->status = mgi_comm_send(s->comm, s->a, 7, 4, 1 - s->rank);
    s->later = mgi_comm_barrier(s->comm);
}

static void shorter_recv(rank_state *s)
{
    s->status =
        s->rank ? mgi_comm_recv(s->comm, s->b, 6, 4, 0) : mgi_comm_send(s->comm, s->a, 7, 4, 1);
    s->later = mgi_comm_barrier(s->comm);
}

static void send_or_barrier(rank_state *s)
{
    s->status = s->rank ? mgi_comm_barrier(s->comm) : mgi_comm_send(s->comm, s->a, 7, 4, 1);
    s->later = mgi_comm_barrier(s->comm);
}

static void test_desync(void **state)
{
    (void)state;
    const struct {
        int size;
        void (*body)(rank_state *);
        const char *says[2];
    } cases[] = {
        {2, other_count, {"rank 0 calls all_reduce(count 5", "rank 1 calls all_reduce(count 6"}},
        {3, other_op, {"ranks disagree: rank ", "broadcast(count 3, "}},
        {2, both_send, {"rank 0 calls send(count 7", "rank 1 calls send(count 7"}},
        {2, shorter_recv, {"rank 0 calls send(count 7", "rank 1 calls recv(count 6"}},
        {2, send_or_barrier, {"rank 0 calls send(count 7", "rank 1 calls barrier"}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        world w;
        run_ranks(&w, cases[i].size, -1, cases[i].body); /* no limit: it would hang */
        for (int r = 0; r < w.size; r++) {
            assert_int_equal(w.ranks[r].status, MGEN_E_DESYNC);
            assert_int_equal(w.ranks[r].later, MGEN_E_DESYNC);
            assert_says(&w.ranks[r], cases[i].says[0]);
            assert_says(&w.ranks[r], cases[i].says[1]);
        }
        end_ranks(&w);
    }
}

static _Atomic int returned;

static void never_arrive(rank_state *s)
{
    if (s->rank == 1 || s->rank == 3) /* late: the others have given up */
        while (returned < 2)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
    s->status = mgi_comm_barrier(s->comm);
    returned++;
    s->later = mgi_comm_barrier(s->comm);
}

static void test_timeout(void **state)
{
    (void)state;
    world w;
    returned = 0;
    run_ranks(&w, 4, 300, never_arrive);
    for (int r = 0; r < 4; r++) {
        assert_int_equal(w.ranks[r].status, r % 2 ? MGEN_E_PEER_LOST : MGEN_E_TIMEOUT);
        assert_int_equal(w.ranks[r].later, MGEN_E_PEER_LOST);
        assert_says(&w.ranks[r], "barrier: rank(s) 1, 3 did not arrive within 300 ms");
    }
    end_ranks(&w);
}

static void abort_others(rank_state *s)
{
    mgi_comm *pair = NULL;
    CHECK(mgi_comm_split(s->comm, s->rank / 2, 0, &pair) == MGEN_OK);
    if (s->rank == 3) {
        nanosleep(&(struct timespec){0, 20000000}, NULL);
        mgi_comm_abort(s->comm);
        s->status = mgi_comm_barrier(s->comm);
    } else if (s->rank == 2) { /* waits in a group below */
        s->status = mgi_comm_barrier(pair);
    } else {
        s->status =
            s->rank == 0 ? mgi_comm_barrier(s->comm) : mgi_comm_recv(s->comm, s->b, 1, 4, 3);
    }
    s->later = mgi_comm_barrier(s->comm);
    mgi_comm_destroy(pair);
}

static void leave_early(rank_state *s)
{
    CHECK(mgi_comm_barrier(s->comm) == MGEN_OK);
    s->status = s->later = MGEN_E_PEER_LOST;
    if (s->rank == 2)
        return; /* its handle is destroyed */
    s->status = mgi_comm_barrier(s->comm);
    s->later = mgi_comm_barrier(s->comm);
}

static void test_lost(void **state)
{
    (void)state;
    for (int leaving = 0; leaving < 2; leaving++) {
        world w;
        run_ranks(&w, 4, -1, leaving ? leave_early : abort_others);
        for (int r = 0; r < 4; r++) {
            assert_int_equal(w.ranks[r].status, MGEN_E_PEER_LOST);
            assert_int_equal(w.ranks[r].later, MGEN_E_PEER_LOST);
            if (!leaving)
                assert_says(&w.ranks[r], "rank 3 aborted");
        }
        end_ranks(&w);
    }
}

static void test_counting(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_comm *c, *row, *refused;
    const int64_t big = INT64_C(6000000001); /* 30B parameters' worth: nothing is touched */
    assert_int_equal(mgi_comm_counting_create(ctx, 6, 8, &c), MGEN_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mgi_comm_all_reduce(c, NULL, NULL, big), MGEN_OK);
        assert_int_equal(mgi_comm_all_gather(c, NULL, NULL, big, 2), MGEN_OK);
        assert_int_equal(mgi_comm_reduce_scatter(c, NULL, NULL, big), MGEN_OK);
        assert_int_equal(mgi_comm_all_to_all(c, NULL, NULL, big, 2), MGEN_OK);
        assert_int_equal(mgi_comm_broadcast(c, NULL, big, 2, i == 0 ? 7 : 6), MGEN_OK);
        assert_int_equal(mgi_comm_send(c, NULL, big, 2, 0), MGEN_OK);
        assert_int_equal(mgi_comm_recv(c, NULL, big, 2, 0), MGEN_OK);
    }
    const struct {
        mgi_comm_op op;
        int64_t payload, sent;
    } expected[] = {
        {MGI_COMM_ALL_REDUCE, 3 * 4 * big, 3 * 7 * big},
        {MGI_COMM_ALL_GATHER, 3 * 8 * 2 * big, 3 * 7 * 2 * big},
        {MGI_COMM_REDUCE_SCATTER, 3 * 8 * 4 * big, 3 * 7 * 4 * big},
        {MGI_COMM_ALL_TO_ALL, 3 * 8 * 2 * big, 3 * 7 * 2 * big},
        {MGI_COMM_BROADCAST, 3 * 2 * big, 2 * 2 * big}, /* once the end of the chain */
        {MGI_COMM_SEND, 3 * 2 * big, 3 * 2 * big},
        {MGI_COMM_RECV, 3 * 2 * big, 0},
    };
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        mgi_comm_count n = mgi_comm_counted(c, expected[i].op);
        assert_int_equal(n.calls, 3);
        assert_true(n.payload == expected[i].payload);
        assert_true(n.sent == expected[i].sent);
    }
    assert_int_equal(mgi_comm_split(c, 0, 0, &refused), MGEN_E_UNSUPPORTED);
    assert_null(refused);
    assert_int_equal(mgi_comm_split_by(c, by_row, NULL, &row), MGEN_OK);
    assert_int_equal(mgi_comm_rank(row), 2);
    assert_int_equal(mgi_comm_size(row), 4);
    assert_int_equal(mgi_comm_counted(row, MGI_COMM_SEND).calls, 0);
    mgi_comm_destroy(row);
    mgi_comm_destroy(c);
    assert_int_equal(mgi_comm_counting_create(ctx, 8, 8, &c), MGEN_E_INVALID);
    mgi_context_free(ctx);
}

static void test_join(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_comm_group *group;
    mgi_comm *a, *b;
    assert_int_equal(mgi_comm_group_create(ctx, 0, 5, &group), MGEN_E_INVALID);
    assert_int_equal(mgi_comm_group_create(ctx, 2, 0, &group), MGEN_E_INVALID);
    assert_int_equal(mgi_comm_group_create(ctx, 2, 5, &group), MGEN_OK);
    assert_int_equal(mgi_comm_join(group, 0, ctx, &a), MGEN_OK);
    assert_int_equal(mgi_comm_join(group, 0, ctx, &b), MGEN_E_STATE);
    assert_int_equal(mgi_comm_join(group, 2, ctx, &b), MGEN_E_INVALID);
    assert_int_equal(mgi_comm_barrier(a), MGEN_E_TIMEOUT); /* rank 1 never joined */
    mgi_comm_destroy(a);
    mgi_comm_group_release(group);
    mgi_comm_group_release(NULL);
    mgi_comm_destroy(NULL);
    mgi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_collectives), cmocka_unit_test(test_determinism),
        cmocka_unit_test(test_split),       cmocka_unit_test(test_desync),
        cmocka_unit_test(test_timeout),     cmocka_unit_test(test_lost),
        cmocka_unit_test(test_counting),    cmocka_unit_test(test_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
