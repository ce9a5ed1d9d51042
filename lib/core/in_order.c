/* SPDX-License-Identifier: MIT */
#include "core/in_order.h"

#include "core/alloc.h"

#include <pthread.h>

enum { PLACES = 4 /* for each thread: so many items may be ahead of a long one */ };

struct mgi_in_order {
    const mgi_in_order_calls *calls;
    int64_t count, places;
    pthread_t caller;
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t changed;
    int64_t next, delivered; /* items */
    bool stopped;
    bool *ready; /* of each place */
};

int64_t mgi_in_order_places(const mgi_pool *pool)
{
    return PLACES * (int64_t)mgi_pool_threads(pool);
}

/* What is ready and whose turn it is. The mutex is held, but not while it is delivered. */
static void deliver_ready(mgi_in_order *run)
{
    while (!run->stopped && run->delivered < run->next &&
           run->ready[run->delivered % run->places]) {
        const int64_t item = run->delivered, place = item % run->places;
        pthread_mutex_unlock(&run->mutex);
        const bool more = run->calls->deliver(run->calls->user, item, place);
        pthread_mutex_lock(&run->mutex);
        run->ready[place] = false;
        run->delivered++;
        run->stopped = !more;
        pthread_cond_broadcast(&run->changed);
    }
}

static void take_items(void *arg, int64_t block, int thread)
{
    mgi_in_order *run = arg;
    const bool delivers = pthread_equal(pthread_self(), run->caller);
    (void)block;
    (void)thread;
    pthread_mutex_lock(&run->mutex);
    for (;;) {
        if (delivers)
            deliver_ready(run);
        if (run->stopped || (delivers ? run->delivered : run->next) == run->count)
            break;
        if (run->next == run->count || run->next == run->delivered + run->places) {
            pthread_cond_wait(&run->changed, &run->mutex);
            continue;
        }
        const int64_t item = run->next++;
        pthread_mutex_unlock(&run->mutex);
        run->calls->work(run->calls->user, run, item, item % run->places);
        pthread_mutex_lock(&run->mutex);
        run->ready[item % run->places] = true;
        pthread_cond_broadcast(&run->changed);
    }
    pthread_mutex_unlock(&run->mutex);
}

bool mgi_in_order_goes_on(mgi_in_order *run)
{
    pthread_mutex_lock(&run->mutex);
    if (pthread_equal(pthread_self(), run->caller))
        deliver_ready(run);
    const bool goes_on = !run->stopped;
    pthread_mutex_unlock(&run->mutex);
    return goes_on;
}

mgen_status mgi_in_order_run(mgen_context *ctx, const mgi_in_order_calls *calls, int64_t first,
                             int64_t count, bool alone)
{
    mgi_in_order run = {.calls = calls,
                        .count = count,
                        .places = mgi_in_order_places(ctx->pool),
                        .caller = pthread_self(),
                        .next = first,
                        .delivered = first};
    if (first >= count)
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)run.places, sizeof *run.ready, &run.ready));
    pthread_mutex_init(&run.mutex, NULL); /* with default attributes these cannot fail on Linux */
    pthread_cond_init(&run.changed, NULL);
    if (alone) { /* the pool stays free for what the work has to share out */
        take_items(&run, 0, 0);
    } else {
        mgi_pool_run(ctx->pool, mgi_pool_threads(ctx->pool), take_items, &run);
        take_items(&run, 0, 0); /* the workers may have been faster than the caller */
    }
    pthread_cond_destroy(&run.changed);
    pthread_mutex_destroy(&run.mutex);
    mgi_free(ctx, run.ready);
    return MGEN_OK;
}
