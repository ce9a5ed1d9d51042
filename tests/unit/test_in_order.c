/* SPDX-License-Identifier: MIT
 * Items on several threads: each once, delivered in their order on the caller's thread, and no more of them begun than there are places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/context.h"
#include "core/in_order.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum { ITEMS = 200 };

typedef struct tally {
    pthread_t caller;
    int64_t places, stop_at, *value; /* of each place */
    int64_t delivered, first;
    _Atomic int64_t begun, given_up, told;
    _Atomic int worked[ITEMS];
    _Atomic bool wrong; /* cmocka's failures are for the main thread */
} tally;

static void work(void *user, mgi_in_order *run, int64_t item, int64_t place)
{
    tally *t = user;
    atomic_fetch_add(&t->worked[item], 1);
    const int64_t begun = atomic_fetch_add(&t->begun, 1) + 1;
    if (begun - atomic_load(&t->told) > t->places || place != item % t->places)
        t->wrong = true;
    for (int i = 0; i < (int)(item * 7 % 11); i++) {
        sched_yield();
        if (mgi_in_order_goes_on(run))
            continue;
        atomic_fetch_add(&t->given_up, 1);
        return;
    }
    t->value[place] = item * item;
}

static bool deliver(void *user, int64_t item, int64_t place)
{
    tally *t = user;
    if (item != t->first + t->delivered || t->value[place] != item * item ||
        !pthread_equal(pthread_self(), t->caller))
        t->wrong = true;
    t->value[place] = -1;
    t->delivered++;
    atomic_fetch_add(&t->told, 1);
    return item != t->stop_at;
}

static void run_items(mgen_context *ctx, tally *t, int64_t first, int64_t stop_at, bool alone)
{
    const mgi_in_order_calls calls = {work, deliver, t};
    *t = (tally){.caller = pthread_self(), .stop_at = stop_at, .first = first};
    t->places = mgi_in_order_places(ctx->pool);
    t->value = calloc((size_t)t->places, sizeof *t->value);
    assert_non_null(t->value);
    assert_int_equal(mgi_in_order_run(ctx, &calls, first, ITEMS, alone), MGEN_OK);
    free(t->value);
    assert_false(t->wrong);
}

/* Within a loop of the pool's own: items are worked on all the same, by one thread. */
static void within(void *arg, int64_t block, int thread)
{
    mgen_context *ctx = ((void **)arg)[0];
    tally *t = ((void **)arg)[1];
    const mgi_in_order_calls calls = {work, deliver, t};
    (void)thread;
    if (block != 1)
        return;
    t->caller = pthread_self();
    if (mgi_in_order_run(ctx, &calls, 0, ITEMS, false) != MGEN_OK)
        t->wrong = true;
}

static void run_within(mgen_context *ctx)
{
    tally t = {.stop_at = -1, .places = mgi_in_order_places(ctx->pool)};
    t.value = calloc((size_t)t.places, sizeof *t.value);
    assert_non_null(t.value);
    mgi_pool_run(ctx->pool, 3, within, (void *[]){ctx, &t});
    free(t.value);
    assert_true(!t.wrong && t.delivered == ITEMS);
}

static void test_order(void **state)
{
    (void)state;
    static const uint32_t threads[] = {1, 2, 5};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
        mgen_context *ctx;
        tally t;
        params.threads = threads[i];
        assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
        for (int alone = 0; alone < 2; alone++) {
            run_items(ctx, &t, 0, -1, alone);
            assert_int_equal(t.delivered, ITEMS);
            for (int k = 0; k < ITEMS; k++)
                assert_int_equal(t.worked[k], 1);
            run_items(ctx, &t, 150, -1, alone);
            assert_int_equal(t.delivered, ITEMS - 150);
            assert_true(t.worked[149] == 0 && t.worked[150] == 1);
            run_items(ctx, &t, 0, 20, alone);
            assert_int_equal(t.delivered, 21);
            assert_true(t.begun <= 21 + t.places && t.begun - t.given_up >= 21);
            run_items(ctx, &t, ITEMS, -1, alone);
            assert_int_equal(t.delivered + t.begun, 0);
        }
        run_within(ctx);
        mgi_context_free(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
