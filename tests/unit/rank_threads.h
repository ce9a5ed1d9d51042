/* SPDX-License-Identifier: MIT
 * Tests with ranks that are threads. */
#ifndef RANK_THREADS_H
#define RANK_THREADS_H

#include "core/alloc.h"
#include "dist/comm.h"
#include "run_threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANKS 8
#define COUNT 2503

typedef struct world world;
typedef struct rank_state {
    world *world;
    int rank;
    mgen_context *ctx;
    mgi_comm *comm;
    mgen_status status, later; /* of what failed, and of a call after it */
    char said[1024];           /* then */
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

/* After a failure: what it said; and a call more, if there is a communicator left. */
static void call_again(rank_state *s)
{
    if (!*s->said)
        snprintf(s->said, sizeof s->said, "%s", s->ctx->error_text);
    if (s->comm)
        s->later = mgi_comm_barrier(s->comm);
}

static void *rank_main(void *arg)
{
    rank_state *s = arg;
    s->world->body(s);
    if (s->status != MGEN_OK)
        call_again(s);
    mgi_comm_destroy(s->comm);
    return NULL;
}

/* Run body on `size` ranks; afterwards nothing may be left allocated but the contexts' own. */
static void run_ranks(world *w, int size, int64_t timeout_ms, void (*body)(rank_state *))
{
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
    run_threads(rank_main, w->ranks, sizeof *w->ranks, size);
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

static void assert_says(const rank_state *s, const char *part)
{
    if (!strstr(s->said, part))
        fail_msg("rank %d: '%s' does not say '%s'", s->rank, s->said, part);
}

#endif
