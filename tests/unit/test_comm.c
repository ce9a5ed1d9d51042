/* SPDX-License-Identifier: MIT
 * Communicators: every collective on 1 to 8 thread ranks against plain loops, started and waited for at once and
 * later, in f32 and bf16; and what goes wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "comm_cases.h"
#include "dist/mesh.h"
#include "faulty_comm.h"
#include "rank_threads.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void cases(rank_state *s)
{
    const char *wrong = comm_cases(s->comm);
    if (wrong)
        s->wrong = wrong;
}

static void test_cases(void **state)
{
    (void)state;
    const int sizes[] = {1, 2, 3, 4, 8};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        world w;
        run_ranks(&w, sizes[i], 60000, cases);
        end_ranks(&w);
    }
    mgen_context *ctx = make_context(); /* the engine of one rank does the same */
    mgi_comm *c;
    assert_int_equal(mgi_comm_single_create(ctx, &c), MGEN_OK);
    const char *wrong = comm_cases(c);
    if (wrong)
        fail_msg("one rank: %s", wrong);
    mgi_comm_abort(c);
    assert_int_equal(mgi_comm_barrier(c), MGEN_E_PEER_LOST);
    mgi_comm_destroy(c);
    mgi_context_free(ctx);
}

static void fill(rank_state *s, float *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = comm_value(s->rank, i);
}

static void reduce_often(rank_state *s)
{
    for (int i = 0; i < 50; i++) {
        if ((s->rank + i) % 4 == 0) /* other arrival orders each time */
            nanosleep(&(struct timespec){0, 200000}, NULL);
        fill(s, s->a, COUNT);
        CHECK(mgi_comm_all_reduce(s->comm, MGK_F32, s->a, i == 0 ? s->b : s->a, COUNT, NULL) ==
              MGEN_OK);
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
        CHECK(mgi_comm_all_reduce(row, MGK_F32, &mine, &sum, 1, NULL) == MGEN_OK);
        CHECK(sum == (float)(me / 4 * 16 + 6));
        CHECK(mgi_comm_all_reduce(column, MGK_F32, &mine, &sum, 1, NULL) == MGEN_OK);
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

static void other_count(rank_state *s)
{
    memset(s->a, 0, sizeof(float) * COUNT);
    s->status = mgi_comm_all_reduce(s->comm, MGK_F32, s->a, s->b, s->rank == 0 ? 5 : 6, NULL);
}

static void other_op(rank_state *s)
{
    s->status = s->rank == 0 ? mgi_comm_barrier(s->comm)
                             : mgi_comm_broadcast(s->comm, s->rank == 1 ? MGK_I32 : MGK_U64, s->a,
                                                  3, 1, NULL);
}

/* The same calls, for different ends. */
static void other_order(rank_state *s)
{
    for (int i = 0; i < 2 && s->status == MGEN_OK; i++) {
        mgi_comm_note(s->comm, "keys of block", s->rank ? 1 - i : i);
        s->status = mgi_comm_all_gather(s->comm, MGK_F32, s->a, s->b, 4, NULL);
    }
}

static void both_send(rank_state *s)
{
    s->status = mgi_comm_send(s->comm, MGK_F32, s->a, 7, 1 - s->rank, NULL);
}

static void shorter_recv(rank_state *s)
{
    s->status = s->rank ? mgi_comm_recv(s->comm, MGK_F32, s->b, 6, 0, NULL)
                        : mgi_comm_send(s->comm, MGK_F32, s->a, 7, 1, NULL);
}

static void send_or_barrier(rank_state *s)
{
    s->status =
        s->rank ? mgi_comm_barrier(s->comm) : mgi_comm_send(s->comm, MGK_F32, s->a, 7, 1, NULL);
}

/* Rows and columns of a square, in different order: a circle of four, of which no group sees all. */
static void crossed(rank_state *s)
{
    mgi_comm *row = NULL, *column = NULL;
    CHECK(mgi_comm_split(s->comm, s->rank / 2, 0, &row) == MGEN_OK);
    CHECK(mgi_comm_split(s->comm, s->rank % 2, 0, &column) == MGEN_OK);
    bool row_first = s->rank == 0 || s->rank == 3;
    s->status = mgi_comm_barrier(row_first ? row : column);
    mgi_comm_destroy(row);
    mgi_comm_destroy(column);
}

static void test_desync(void **state)
{
    (void)state;
    const struct {
        int size;
        void (*body)(rank_state *);
        const char *says[2];
    } disagreements[] = {
        {2, other_count, {"rank 0 calls all_reduce(5 x f32", "rank 1 calls all_reduce(6 x f32"}},
        {3, other_op, {"ranks disagree: rank ", "broadcast(3 x "}},
        {2, other_order, {"for keys of block 0", "for keys of block 1"}},
        {2, both_send, {"rank 0 calls send(7 x f32", "rank 1 calls send(7 x f32"}},
        {2, shorter_recv, {"rank 0 calls send(7 x f32", "rank 1 calls recv(6 x f32"}},
        {2, send_or_barrier, {"rank 0 calls send(7 x f32", "rank 1 calls barrier"}},
        {4, crossed, {"ranks disagree: rank ", " calls barrier, rank "}},
    };
    for (size_t i = 0; i < sizeof(disagreements) / sizeof(disagreements[0]); i++) {
        world w;
        run_ranks(&w, disagreements[i].size, -1, disagreements[i].body); /* it would hang */
        for (int r = 0; r < w.size; r++) {
            assert_int_equal(w.ranks[r].status, MGEN_E_DESYNC);
            assert_int_equal(w.ranks[r].later, MGEN_E_DESYNC);
            assert_says(&w.ranks[r], disagreements[i].says[0]);
            assert_says(&w.ranks[r], disagreements[i].says[1]);
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
        assert_says(&w.ranks[r], " in barrier: rank(s) 1, 3 did not arrive within 300 ms");
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
        s->status = s->rank == 0 ? mgi_comm_barrier(s->comm)
                                 : mgi_comm_recv(s->comm, MGK_F32, s->b, 4, 3, NULL);
    }
    mgi_comm_destroy(pair);
}

static void leave_early(rank_state *s)
{
    CHECK(mgi_comm_barrier(s->comm) == MGEN_OK);
    if (s->rank == 2) {
        mgi_comm_destroy(s->comm);
        s->comm = NULL;
        s->status = s->later = MGEN_E_PEER_LOST;
        return;
    }
    s->status = mgi_comm_barrier(s->comm);
}

/* Works that nobody waits for: the rank gives up, and its peers are told. */
static void abandon(rank_state *s)
{
    mgi_comm_work *work = NULL;
    if (s->rank == 1) {
        CHECK(mgi_comm_recv(s->comm, MGK_F32, s->b, 3, 0, &work) == MGEN_OK);
        mgi_comm_destroy(s->comm);
        s->comm = NULL;
        s->status = s->later = MGEN_E_PEER_LOST;
        return;
    }
    s->status = mgi_comm_barrier(s->comm);
}

static void test_lost(void **state)
{
    (void)state;
    void (*const bodies[])(rank_state *) = {abort_others, leave_early, abandon};
    for (int i = 0; i < 3; i++) {
        world w;
        run_ranks(&w, 4, -1, bodies[i]);
        for (int r = 0; r < 4; r++) {
            assert_int_equal(w.ranks[r].status, MGEN_E_PEER_LOST);
            assert_int_equal(w.ranks[r].later, MGEN_E_PEER_LOST);
            if (i == 0)
                assert_says(&w.ranks[r], "rank 3 aborted");
        }
        end_ranks(&w);
    }
}

/* Rank 0 waits for 1 in a row, which waits for 3 in a column: 3 is named to all, and not who waits for it. */
static void chain(rank_state *s)
{
    mgi_comm *row = NULL, *column = NULL;
    CHECK(mgi_comm_split(s->comm, s->rank / 2, 0, &row) == MGEN_OK);
    CHECK(mgi_comm_split(s->comm, s->rank % 2, 0, &column) == MGEN_OK);
    if (s->rank == 1 || s->rank == 2)
        sleep_ms(50); /* rank 0's time is over first */
    if (s->rank == 1)
        s->status = mgi_comm_barrier(column);
    if (s->rank == 0 || s->rank == 2) {
        mgi_comm_work *work = NULL;
        s->status = mgi_comm_all_reduce(row, MGK_F32, s->a, s->b, 3, &work);
        CHECK(s->status == MGEN_OK);
        s->status = mgi_comm_wait(&work);
    }
    if (s->rank != 3)
        returned++;
    while (s->rank == 3 && returned < 3)
        sleep_ms(1);
    mgi_comm_destroy(row);
    mgi_comm_destroy(column);
}

static void test_silent_chain(void **state)
{
    (void)state;
    world w;
    returned = 0;
    memset(&w, 0, sizeof w);
    run_ranks(&w, 4, 200, chain);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(w.ranks[r].status, MGEN_E_TIMEOUT);
        assert_int_equal(w.ranks[r].later, MGEN_E_PEER_LOST);
        assert_says(&w.ranks[r], "rank(s) 3 did not arrive within 200 ms");
    }
    end_ranks(&w);
}

/* ---- faults through the interface ---- */

static fault faults[RANKS];
static _Atomic bool released;

/* A run in small: parameters gathered ahead, sums in two kinds of groups. */
static void small_run(rank_state *s)
{
    mgi_mesh mesh;
    mgi_comm *comm = NULL;
    CHECK(faulty_create(s->comm, &faults[s->rank], &comm) == MGEN_OK);
    s->comm = NULL;
    fill(s, s->a, COUNT);
    s->status = mgi_mesh_create(comm, (mgi_mesh_shape){2, 1, 2}, &mesh);
    bool made = s->status == MGEN_OK;
    for (int step = 0; step < 3 && s->status == MGEN_OK; step++) {
        mgi_comm_work *ahead = NULL;
        s->status =
            mgi_comm_all_gather(mesh.group[MGI_AXIS_DP], MGK_BF16, s->a + 1024, s->b, 100, &ahead);
        if (s->status == MGEN_OK)
            s->status = mgi_comm_all_reduce(mesh.group[MGI_AXIS_TP], MGK_F32, s->a, s->a, 50, NULL);
        mgen_status waited = mgi_comm_wait(&ahead);
        if (s->status == MGEN_OK)
            s->status = waited;
        if (s->status == MGEN_OK)
            s->status = mgi_comm_reduce_scatter(mesh.group[MGI_AXIS_WORLD], MGK_F32, s->a,
                                                s->b + COUNT, 25, NULL);
    }
    if (++returned == 3)
        atomic_store(&released, true);
    if (made)
        mgi_mesh_destroy(&mesh);
    else
        mgi_comm_destroy(comm);
}

static void test_faults(void **state)
{
    (void)state;
    static const int kinds[] = {FAULT_STATUS, FAULT_SILENT, FAULT_COUNT, FAULT_DTYPE};
    int64_t calls = 1;
    for (int k = -1; k < 4; k++) {
        for (int64_t at = 0; at < (k < 0 ? 1 : calls); at++) {
            world w;
            memset(faults, 0, sizeof faults);
            returned = 0;
            atomic_store(&released, false);
            if (k >= 0)
                faults[2] = (fault){
                    .kind = kinds[k], .at = at, .status = MGEN_E_DEVICE, .released = &released};
            run_ranks(&w, 4, k >= 0 && kinds[k] == FAULT_SILENT ? 200 : 20000, small_run);
            calls = faults[0].calls > calls ? faults[0].calls : calls;
            for (int r = 0; r < 4; r++) {
                mgen_status got = w.ranks[r].status;
                if (k < 0) {
                    assert_int_equal(got, MGEN_OK);
                } else if (kinds[k] == FAULT_STATUS) { /* the failed rank leaves */
                    assert_int_equal(got, r == 2 ? MGEN_E_DEVICE : MGEN_E_PEER_LOST);
                    assert_true(r == 2 || strstr(w.ranks[r].said, "rank 2 "));
                } else if (kinds[k] == FAULT_SILENT) {
                    assert_int_equal(got == MGEN_E_TIMEOUT || got == MGEN_E_PEER_LOST, 1);
                    assert_true(r == 2 || strstr(w.ranks[r].said, "rank(s) 2 did not"));
                } else if (got != MGEN_OK || w.ranks[2].status != MGEN_OK) {
                    assert_int_equal(got, MGEN_E_DESYNC); /* unless the call has no elements */
                    assert_says(&w.ranks[r], "rank 2 calls ");
                }
            }
            end_ranks(&w);
        }
    }
    assert_int_equal(calls, 1 + 6 + 9); /* a check of the mesh, its groups, three steps */
}

static void test_mesh(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_mesh_shape shape;
    mgi_mesh mesh;
    mgi_comm *all;
    char text[64];
    assert_int_equal(mgi_mesh_parse(ctx, "tp=4,dp=3", &shape), MGEN_OK);
    assert_string_equal(mgi_mesh_text(shape, text, sizeof text), "dp=3,cp=1,tp=4");
    const char *const bad[] = {"",     "dp",       "dp=0",  "dp=2,", "dp=2,dp=2", "dp=2;tp=2",
                               "xp=2", "dp=99999", "dp= 2", "dp=2x", "shard=",    "dp=4,shard=3"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(mgi_mesh_parse(ctx, bad[i], &shape), MGEN_E_INVALID);
    assert_non_null(strstr(ctx->error_text, "legal are 1, 2, 4"));
    assert_int_equal(mgi_mesh_parse(ctx, "dp=2,shard=4,cp=2", &shape), MGEN_OK);
    assert_string_equal(mgi_mesh_text(shape, text, sizeof text), "dp=2,cp=2,tp=1,shard=4");
    /* Every rank of 3 x 2 x 4: its place is its place in the groups; the numbers of a group's ranks. */
    for (int r = 0; r < 24; r++) {
        assert_int_equal(mgi_comm_counting_create(ctx, r, 24, &all), MGEN_OK);
        assert_int_equal(mgi_mesh_create(all, (mgi_mesh_shape){3, 2, 4, 3}, &mesh), MGEN_OK);
        assert_int_equal(mesh.at.tp, r % 4);
        assert_int_equal(mesh.at.cp, r / 4 % 2);
        assert_int_equal(mesh.at.dp, r / 8);
        assert_int_equal(mesh.at.shard, r / 4 % 3);
        const int expected[MGI_AXES][2] = {
            [MGI_AXIS_DP] = {mesh.at.dp, 3},
            [MGI_AXIS_CP] = {mesh.at.cp, 2},
            [MGI_AXIS_TP] = {mesh.at.tp, 4},
            [MGI_AXIS_MODEL] = {mesh.at.cp * 4 + mesh.at.tp, 8},
            [MGI_AXIS_SHARD] = {(mesh.at.dp * 2 + mesh.at.cp) % 3, 3},
            [MGI_AXIS_REPLICA] = {(mesh.at.dp * 2 + mesh.at.cp) / 3, 2},
            [MGI_AXIS_WORLD] = {r, 24},
        };
        for (int a = 0; a < MGI_AXES; a++) {
            assert_int_equal(mgi_comm_rank(mesh.group[a]), expected[a][0]);
            assert_int_equal(mgi_comm_size(mesh.group[a]), expected[a][1]);
        }
        mgi_mesh_destroy(&mesh);
        mgi_mesh_destroy(&mesh);
    }
    assert_int_equal(mgi_comm_counting_create(ctx, 0, 24, &all), MGEN_OK);
    assert_int_equal(mgi_mesh_create(all, (mgi_mesh_shape){3, 2, 5}, &mesh), MGEN_E_INVALID);
    assert_int_equal(mgi_mesh_create(all, (mgi_mesh_shape){2, 2, 4}, &mesh), MGEN_E_INVALID);
    assert_int_equal(mgi_mesh_create(all, (mgi_mesh_shape){3, 2, 4, 4}, &mesh), MGEN_E_INVALID);
    mgi_comm_destroy(all);
    mgi_context_free(ctx);
}

static void other_mesh(rank_state *s)
{
    mgi_mesh mesh;
    s->status =
        mgi_mesh_create(s->comm, (mgi_mesh_shape){s->rank ? 2 : 1, 1, s->rank ? 1 : 2}, &mesh);
}

static void test_other_mesh(void **state)
{
    (void)state;
    world w;
    run_ranks(&w, 2, 60000, other_mesh);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(w.ranks[r].status, MGEN_E_DESYNC);
        assert_int_equal(w.ranks[r].later, MGEN_OK); /* the world is still good */
        assert_says(&w.ranks[r], "mesh: rank 0 has \"dp=1,cp=1,tp=2\", rank 1 has \"dp=2");
    }
    end_ranks(&w);
}

static void test_counting(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_comm *c, *row, *refused;
    const int64_t big = INT64_C(6000000001); /* 30B parameters' worth: nothing is touched */
    assert_int_equal(mgi_comm_counting_create(ctx, 6, 8, &c), MGEN_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mgi_comm_all_reduce(c, MGK_F32, NULL, NULL, big, NULL), MGEN_OK);
        assert_int_equal(mgi_comm_all_gather(c, MGK_BF16, NULL, NULL, big, NULL), MGEN_OK);
        assert_int_equal(mgi_comm_reduce_scatter(c, MGK_F32, NULL, NULL, big, NULL), MGEN_OK);
        assert_int_equal(mgi_comm_all_to_all(c, MGK_BF16, NULL, NULL, big, NULL), MGEN_OK);
        assert_int_equal(mgi_comm_broadcast(c, MGK_BF16, NULL, big, i == 0 ? 7 : 6, NULL), MGEN_OK);
        assert_int_equal(mgi_comm_send(c, MGK_BF16, NULL, big, 0, NULL), MGEN_OK);
        assert_int_equal(mgi_comm_recv(c, MGK_BF16, NULL, big, 0, NULL), MGEN_OK);
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
        cmocka_unit_test(test_cases),    cmocka_unit_test(test_determinism),
        cmocka_unit_test(test_split),    cmocka_unit_test(test_desync),
        cmocka_unit_test(test_timeout),  cmocka_unit_test(test_silent_chain),
        cmocka_unit_test(test_lost),     cmocka_unit_test(test_faults),
        cmocka_unit_test(test_mesh),     cmocka_unit_test(test_other_mesh),
        cmocka_unit_test(test_counting), cmocka_unit_test(test_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
