/* SPDX-License-Identifier: MIT
 * Thread pool: one loop at a time, blocks handed out by an atomic counter.
 *
 * The gate. `gate` holds (loop number << 17) | open << 16 | workers inside. The caller fills in the
 * loop and opens the gate; a worker enters by adding 1 while it is open, takes blocks until none is
 * left, and leaves by subtracting 1. When the caller finds no block left it closes the gate and
 * waits only for the workers that are inside: one that slept through a short loop costs nothing.
 * The loop's fields change only while the gate is closed and nobody is inside.
 *
 * Sleeping. Whoever goes to sleep announces it (sleepers, caller_waits) and looks at the gate once
 * more; whoever changes the gate looks at the announcement afterwards. Both orders are sequentially
 * consistent, so one of the two sees the other.
 */
#include "core/pool.h"

#include "core/alloc.h"
#include "core/cpu.h"
#include "core/thread.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define GATE_OPEN   ((uint64_t)1 << 16)
#define GATE_INSIDE (GATE_OPEN - 1)
#define GATE_LOOP   17    /* shift of the loop number */
#define SPIN_NS     30000 /* nanoseconds: about what waking a thread costs */

typedef struct worker {
    mgi_pool *pool;
    pthread_t thread;
    int index;
} worker;

struct mgi_pool {
    /* the loop under way */
    _Atomic uint64_t gate;
    mgi_pool_fn *fn;
    void *arg;
    int64_t blocks;
    char pad0[64]; /* `next` is hammered by all: a cache line of its own */
    _Atomic int64_t next;
    char pad1[64];
    _Atomic int sleepers, caller_waits, stop;
    int64_t spin_ns;
    pthread_mutex_t mutex;
    pthread_cond_t wake, idle;
    int threads, started; /* callers and workers; workers alone */
    worker workers[];
};

/* The loop that this thread is inside of, to notice loops within loops. */
static _Thread_local const mgi_pool *current_pool;
static _Thread_local int current_index;

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* True if there is a loop to enter that is not loop number `seen`, or it is time to end. */
static bool worker_called(mgi_pool *pool, uint64_t seen)
{
    uint64_t gate = atomic_load(&pool->gate);
    return ((gate & GATE_OPEN) && gate >> GATE_LOOP != seen) || atomic_load(&pool->stop);
}

static bool nobody_inside(mgi_pool *pool, uint64_t unused)
{
    (void)unused;
    return (atomic_load(&pool->gate) & GATE_INSIDE) == 0;
}

static bool spin(mgi_pool *pool, bool (*ready)(mgi_pool *, uint64_t), uint64_t seen)
{
    if (ready(pool, seen))
        return true;
    if (pool->spin_ns == 0)
        return false;
    int64_t end = now_ns() + pool->spin_ns;
    do {
        for (int i = 0; i < 16; i++) {
            relax();
            if (ready(pool, seen))
                return true;
        }
    } while (now_ns() < end);
    return false;
}

static void take_blocks(mgi_pool *pool, int thread)
{
    const mgi_pool *outer_pool = current_pool;
    int outer_index = current_index;
    current_pool = pool;
    current_index = thread;
    int64_t block, blocks = pool->blocks;
    while ((block = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed)) < blocks)
        pool->fn(pool->arg, block, thread);
    current_pool = outer_pool;
    current_index = outer_index;
}

static void *worker_main(void *arg)
{
    worker *self = arg;
    mgi_pool *pool = self->pool;
    uint64_t seen = 0; /* loop numbers begin at 1 */
    for (;;) {
        if (!spin(pool, worker_called, seen)) {
            pthread_mutex_lock(&pool->mutex);
            atomic_fetch_add(&pool->sleepers, 1);
            while (!worker_called(pool, seen))
                pthread_cond_wait(&pool->wake, &pool->mutex);
            atomic_fetch_sub(&pool->sleepers, 1);
            pthread_mutex_unlock(&pool->mutex);
        }
        if (atomic_load(&pool->stop))
            return NULL;
        uint64_t gate = atomic_load(&pool->gate);
        if (!(gate & GATE_OPEN) || gate >> GATE_LOOP == seen ||
            !atomic_compare_exchange_strong(&pool->gate, &gate, gate + 1))
            continue; /* closed meanwhile, or another worker was faster: look again */
        seen = gate >> GATE_LOOP;
        take_blocks(pool, self->index);
        atomic_fetch_sub(&pool->gate, 1);
        if (atomic_load(&pool->caller_waits) && nobody_inside(pool, 0)) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->idle);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
}

void mgi_pool_destroy(mgen_context *ctx, mgi_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->stop, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < pool->started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    mgi_free(ctx, pool);
}

mgen_status mgi_pool_create(mgen_context *ctx, int threads, mgi_pool **out)
{
    *out = NULL;
    if (threads < 1 || (uint64_t)threads >= GATE_OPEN)
        return mgi_fail(ctx, MGEN_E_INVALID, "a pool of %d threads: 1 to %d are possible", threads,
                        (int)GATE_OPEN - 1);
    mgi_pool *pool;
    size_t workers = (size_t)threads - 1;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof(*pool) + workers * sizeof(worker), &pool));
    pool->threads = threads;
    pool->spin_ns = threads <= mgi_cpu_count() ? SPIN_NS : 0; /* too many: spinning only steals */
    pthread_mutex_init(&pool->mutex, NULL); /* with default attributes these cannot fail on Linux */
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->idle, NULL);

    int error = 0;
    while (!error && pool->started < threads - 1) {
        worker *w = &pool->workers[pool->started];
        w->pool = pool;
        w->index = pool->started + 1;
        error = mgi_thread_start(&w->thread, worker_main, w);
        if (!error)
            pool->started++;
    }
    if (error) {
        char text[128];
        mgi_fail(ctx, MGEN_E_NO_MEMORY, "cannot start thread %d of %d: %s; ask for fewer threads",
                 pool->started + 2, threads, mgi_errno_text(error, text, sizeof(text)));
        mgi_pool_destroy(ctx, pool);
        return MGEN_E_NO_MEMORY;
    }
    *out = pool;
    return MGEN_OK;
}

int mgi_pool_threads(const mgi_pool *pool)
{
    return pool ? pool->threads : 1;
}

static void run_serially(const mgi_pool *pool, int64_t blocks, mgi_pool_fn *fn, void *arg,
                         int thread)
{
    const mgi_pool *outer_pool = current_pool;
    int outer_index = current_index;
    current_pool = pool;
    current_index = thread;
    for (int64_t block = 0; block < blocks; block++)
        fn(arg, block, thread);
    current_pool = outer_pool;
    current_index = outer_index;
}

static void wake_workers(mgi_pool *pool, int64_t wanted)
{
    if (atomic_load(&pool->sleepers) == 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    int64_t asleep = atomic_load(&pool->sleepers);
    if (wanted >= asleep)
        pthread_cond_broadcast(&pool->wake);
    else
        for (int64_t i = 0; i < wanted; i++)
            pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

void mgi_pool_run(mgi_pool *pool, int64_t blocks, mgi_pool_fn *fn, void *arg)
{
    if (!pool) {
        for (int64_t block = 0; block < blocks; block++)
            fn(arg, block, 0);
        return;
    }
    if (current_pool == pool) {
        run_serially(pool, blocks, fn, arg, current_index);
        return;
    }
    if (pool->threads == 1 || blocks <= 1) {
        run_serially(pool, blocks, fn, arg, 0);
        return;
    }

    pool->fn = fn;
    pool->arg = arg;
    pool->blocks = blocks;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    uint64_t loop = (atomic_load_explicit(&pool->gate, memory_order_relaxed) >> GATE_LOOP) + 1;
    atomic_store(&pool->gate, loop << GATE_LOOP | GATE_OPEN);
    wake_workers(pool, blocks - 1);

    take_blocks(pool, 0);

    atomic_fetch_sub(&pool->gate, GATE_OPEN); /* closed: nobody enters any more */
    if (spin(pool, nobody_inside, 0))
        return;
    atomic_store(&pool->caller_waits, 1);
    pthread_mutex_lock(&pool->mutex);
    while (!nobody_inside(pool, 0))
        pthread_cond_wait(&pool->idle, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    atomic_store(&pool->caller_waits, 0);
}
