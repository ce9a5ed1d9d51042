/* SPDX-License-Identifier: MIT
 * Ranks that are processes, whatever carries their messages: what each does, and what is to come of it. */
#ifndef RANK_CASES_H
#define RANK_CASES_H

#include "clock.h"
#include "comm_cases.h"
#include "core/alloc.h"
#include "dist/mesh.h"
#include "rank_output.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RANKS = 4, TIMEOUT_MS = 400 };

static mgen_context *make_context(void)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    params.threads = 1;
    return mgi_context_init(&ctx, &params) == MGEN_OK ? ctx : NULL;
}

/* ---- one rank --------------------------------------------------------------------------------------- */

/* All that an engine must do, in the world and in a group of it; the groups of a mesh. */
static mgen_status rank_cases(mgen_context *ctx, mgi_comm *comm)
{
    mgi_comm *pair = NULL;
    mgi_mesh mesh;
    const char *wrong = comm_cases(comm);
    if (!wrong && mgi_comm_size(comm) > 1 &&
        mgi_comm_split(comm, mgi_comm_rank(comm) / 2, 0, &pair) == MGEN_OK) {
        wrong = comm_cases(pair);
        mgi_comm_destroy(pair);
    }
    if (wrong)
        return mgi_fail(ctx, MGEN_E_INTERNAL, "%s", wrong);
    mgi_mesh_shape shape = {mgi_comm_size(comm) / 2, 1, 2};
    if (mgi_comm_size(comm) < 2)
        return MGEN_OK;
    MGI_TRY(mgi_mesh_create(comm, shape, &mesh));
    float x = 1.0f;
    MGI_TRY(mgi_comm_all_reduce(mesh.group[MGI_AXIS_TP], MGK_F32, &x, &x, 1, NULL));
    MGI_TRY(mgi_comm_all_reduce(mesh.group[MGI_AXIS_DP], MGK_F32, &x, &x, 1, NULL));
    mesh.group[MGI_AXIS_WORLD] = NULL; /* the caller's */
    mgi_mesh_destroy(&mesh);
    return x == (float)mgi_comm_size(comm) ? MGEN_OK
                                           : mgi_fail(ctx, MGEN_E_INTERNAL, "sums over a mesh");
}

/* Like calls for different ends. */
static mgen_status rank_order(mgi_comm *comm)
{
    float x[2] = {0};
    for (int i = 0; i < 2; i++) {
        mgi_comm_note(comm, "keys of block", mgi_comm_rank(comm) == 2 ? 1 - i : i);
        MGI_TRY(mgi_comm_all_reduce(comm, MGK_F32, x, x, 2, NULL));
    }
    return MGEN_OK;
}

/* Rows and columns of a square, in different order: nobody is absent, and nobody comes. */
static mgen_status rank_crossed(mgi_comm *comm)
{
    mgi_comm *row = NULL, *column = NULL;
    int me = mgi_comm_rank(comm);
    MGI_TRY(mgi_comm_split(comm, me / 2, 0, &row));
    MGI_TRY(mgi_comm_split(comm, me % 2, 0, &column));
    mgen_status status = mgi_comm_barrier(me == 0 || me == 3 ? row : column);
    mgi_comm_destroy(row);
    mgi_comm_destroy(column);
    return status;
}

/* Rank 3 is lost in `way`. 0 waits for 1 in a row, which waits for 3 in a column, later; 2 waits for 3, later. */
static mgen_status rank_lost(mgi_comm *comm, const char *way, double *took)
{
    mgi_comm *row = NULL, *column = NULL;
    int me = mgi_comm_rank(comm);
    int32_t pid = (int32_t)getpid(), pids[RANKS];
    MGI_TRY(mgi_comm_all_gather(comm, MGK_I32, &pid, pids, 1, NULL));
    MGI_TRY(mgi_comm_split(comm, me / 2, 0, &row));
    MGI_TRY(mgi_comm_split(comm, me % 2, 0, &column));
    double begun = seconds();
    if (me == 3 && !strcmp(way, "killed"))
        kill(pid, SIGKILL);
    if (me == 3 && !strcmp(way, "stopped"))
        kill(pid, SIGSTOP);
    if (me == 3 && !strcmp(way, "silent"))
        sleep_ms(TIMEOUT_MS + 1500);
    if (me == 3 && !strcmp(way, "cut off")) {
        for (int fd = 3; fd < 64; fd++)
            (void)shutdown(fd, SHUT_RDWR); /* of what is a socket */
        sleep_ms(TIMEOUT_MS + 500);
    }
    if (me == 3 && (!strcmp(way, "leaves") || !strcmp(way, "cut off"))) {
        mgi_comm_destroy(row);
        mgi_comm_destroy(column);
        return MGEN_E_PEER_LOST;
    }
    if (me == 1 || me == 2)
        sleep_ms(50);
    mgen_status status = mgi_comm_barrier(me == 1 ? column : row);
    *took = seconds() - begun;
    if (me == 0 && !strcmp(way, "stopped"))
        kill(pids[3], SIGKILL);
    mgi_comm_destroy(row);
    mgi_comm_destroy(column);
    return status;
}

/* What `comm`, if it was made, is for; prints it, and ends. */
static int rank_work(mgen_context *ctx, mgi_comm *comm, mgen_status status, uint64_t before,
                     const char *what)
{
    double took = 0.0;
    int rank = comm ? mgi_comm_rank(comm) : -1;
    if (status == MGEN_OK)
        status = !strcmp(what, "cases")     ? rank_cases(ctx, comm)
                 : !strcmp(what, "order")   ? rank_order(comm)
                 : !strcmp(what, "crossed") ? rank_crossed(comm)
                                            : rank_lost(comm, what, &took);
    mgen_status later = status != MGEN_OK && comm ? mgi_comm_barrier(comm) : MGEN_OK;
    mgi_comm_destroy(comm);
    printf("rank %d: %s then %s, %.2f s, left %d: %s\n", rank, mgen_status_name(status),
           mgen_status_name(later), took, (int)(atomic_load(&ctx->heap->now) - before),
           status == MGEN_OK ? "" : ctx->error_text);
    fflush(stdout);
    mgi_context_free(ctx);
    return 0;
}

static int64_t patience_for(const char *what)
{
    return strcmp(what, "cases") ? TIMEOUT_MS : 30000;
}

typedef void launch_fn(int ranks, const char *what);

static void expect_cases(launch_fn *start)
{
    start(0, "cases"); /* one process, by itself */
    assert_said(0, "MGEN_OK then MGEN_OK");
    start(RANKS, "cases");
    for (int r = 0; r < RANKS; r++)
        assert_said(r, "MGEN_OK then MGEN_OK, 0.00 s, left 0");
}

static void expect_desync(launch_fn *start)
{
    start(RANKS, "order");
    for (int r = 0; r < RANKS; r++) {
        assert_said(r, "MGEN_E_DESYNC then MGEN_E_DESYNC");
        assert_said(r, "rank 2 calls all_reduce(2 x f32) for keys of block 1");
        assert_said(r, "calls all_reduce(2 x f32) for keys of block 0");
    }
    if (!getenv("MOVIEGEN_DIST"))
        return;
    start(RANKS, "crossed");
    for (int r = 0; r < RANKS; r++) {
        assert_said(r, "MGEN_E_DESYNC then MGEN_E_DESYNC");
        assert_said(r, "wait for each other: rank ");
    }
}

static void expect_lost(launch_fn *start)
{
    static const struct {
        const char *way, *status, *says;
        double at_most;
    } ways[] = {
        {"silent", "MGEN_E_TIMEOUT", "rank(s) 3 did not arrive within", TIMEOUT_MS * 1e-3 + 1.0},
        {"killed", "MGEN_E_PEER_LOST", "rank 3 has left, its process has ended", TIMEOUT_MS * 1e-3},
        {"leaves", "MGEN_E_PEER_LOST", "rank 3 has left", TIMEOUT_MS * 1e-3},
        {"stopped", "MGEN_E_TIMEOUT", "rank(s) 3 did not arrive within", TIMEOUT_MS * 1e-3 + 1.0},
    };
    for (size_t i = getenv("MOVIEGEN_DIST") ? 0 : 1; i < sizeof ways / sizeof ways[0]; i++) {
        start(RANKS, ways[i].way);
        for (int r = 0; r < 3; r++) {
            const char *took = strchr(said(r), ',');
            assert_said(r, ways[i].status);
            assert_said(r, ways[i].says);
            assert_true(took && atof(took + 1) < ways[i].at_most + 0.5 /* a busy machine */);
        }
    }
}

#endif
