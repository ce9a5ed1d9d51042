/* SPDX-License-Identifier: MIT
 * Fibres that play the threads of a block. */
#include "cuda_emulated.h"
#include "cuda_runtime_emulated.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" /* getcontext takes what is not set yet */
#endif

enum {
    THREADS_MAX = 1024,
    BLOCKS_MAX = 8,
    STACK_BYTES = 256 * 1024,
    SHARED_MAX = 227 * 1024,
    VALUE_MAX = 16
};

enum fibre_state { READY, IN_BLOCK_BARRIER, IN_WARP_BARRIER, IN_CONDITION, ENDED };

/* Where a fibre, or the scheduler, goes on. */
struct place {
    ucontext_t context;
    jmp_buf jump;
    bool begun;
};

struct fibre {
    place here;
    unsigned char *stack;
    void *fake_stack; /* AddressSanitizer's */
    mgk_emulated_index index;
    fibre_state state;
    unsigned mask; /* of the warp barrier */
    bool (*done)(const void *);
    const void *what;
    int number; /* of the thread that it plays, in the cluster */
    unsigned char value[VALUE_MAX];
};

/* A cluster of blocks: mostly one. */
struct block_state {
    fibre *fibres; /* THREADS_MAX of them: the first ones are made when they are needed */
    fibre *player[THREADS_MAX]; /* of each thread that has started; `nobody` once it has ended */
    fibre nobody;
    fibre *spare[THREADS_MAX]; /* that play nobody */
    int spare_count, made, threads, started, ended;
    int blocks, block_threads, ended_of[BLOCKS_MAX]; /* of them, threads of each block */
    unsigned char *shared;                           /* that of the first block */
    size_t shared_stride;
    fibre *now;
    place scheduler;
    void *scheduler_fake_stack;
    const void *scheduler_stack;
    size_t scheduler_stack_bytes;
    void (*call)(const void *);
    const void *what;
    dim3 block, first;           /* first: the index of the cluster's first block */
    unsigned order[THREADS_MAX]; /* in which threads start and go on */
};

thread_local mgk_emulated_index *mgk_emulated_now;
thread_local dim3 mgk_emulated_block, mgk_emulated_grid;
thread_local unsigned char *mgk_emulated_shared;
thread_local size_t mgk_emulated_shared_bytes;
static thread_local block_state *state;
static thread_local unsigned launches;

void mgk_emulated_abort(const char *why)
{
    fprintf(stderr, "emulated CUDA: %s\n", why);
    abort();
}

/* ---- changing places ---- */

/* A jump takes no system call, which swapcontext does; sanitizers follow only the latter. */
static void change(place *from, place *to)
{
#if defined(__SANITIZE_ADDRESS__)
    swapcontext(&from->context, &to->context);
#else
    if (_setjmp(from->jump))
        return;
    from->begun = true;
    if (to->begun)
        _longjmp(to->jump, 1);
    setcontext(&to->context);
#endif
}

static void leave_fibre(fibre *f, bool for_ever)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_ever ? NULL : &f->fake_stack, state->scheduler_stack,
                                   state->scheduler_stack_bytes);
#endif
    (void)for_ever;
    change(&f->here, &state->scheduler);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(f->fake_stack, &state->scheduler_stack,
                                    &state->scheduler_stack_bytes);
#endif
}

static void enter_fibre(fibre *f)
{
    state->now = f;
    mgk_emulated_now = &f->index;
    mgk_emulated_shared = state->shared + f->number / state->block_threads * state->shared_stride;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&state->scheduler_fake_stack, f->stack, STACK_BYTES);
#endif
    change(&state->scheduler, &f->here);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(state->scheduler_fake_stack, NULL, NULL);
#endif
}

/* Let the fibre play the next thread of the block; false if all have been played. */
static bool next_thread(fibre *f)
{
    if (state->started == state->threads)
        return false;
    int t = (int)state->order[state->started++], rank = t / state->block_threads;
    unsigned in_block = (unsigned)(t % state->block_threads);
    f->number = t;
    f->index.thread = dim3(in_block % state->block.x, in_block / state->block.x % state->block.y,
                           in_block / (state->block.x * state->block.y));
    f->index.block = state->first;
    f->index.block.x += (unsigned)rank;
    mgk_emulated_shared = state->shared + rank * state->shared_stride;
    f->state = READY;
    state->player[t] = f;
    return true;
}

/* A fibre plays one thread after the other for as long as these do not wait. */
static void fibre_main(void)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, &state->scheduler_stack, &state->scheduler_stack_bytes);
#endif
    fibre *f = state->now;
    for (;;) {
        do {
            state->call(state->what);
            f->state = ENDED;
            state->player[f->number] = &state->nobody; /* f goes on as another thread */
            state->ended++;
            state->ended_of[f->number / state->block_threads]++;
        } while (next_thread(f));
        state->spare[state->spare_count++] = f;
        leave_fibre(f, false);
    }
}

static fibre *make_fibre(void)
{
    fibre *f = &state->fibres[state->made++];
    f->stack = (unsigned char *)malloc(STACK_BYTES);
    if (!f->stack)
        mgk_emulated_abort("no memory for a fibre");
    ucontext_t *c = &f->here.context;
    getcontext(c);
    c->uc_stack.ss_sp = f->stack;
    c->uc_stack.ss_size = STACK_BYTES;
    c->uc_link = NULL;
    makecontext(c, fibre_main, 0);
    return f;
}

/* ---- waiting for each other ---- */

static void wait_as(fibre_state why, unsigned mask)
{
    fibre *f = state->now;
    f->state = why;
    f->mask = mask;
    leave_fibre(f, false);
}

void __syncthreads(void)
{
    wait_as(IN_BLOCK_BARRIER, 0);
}

void mgk_emulated_syncwarp(unsigned mask)
{
    wait_as(IN_WARP_BARRIER, mask);
}

int mgk_emulated_lane(void)
{
    return state->now->number % 32;
}

int mgk_emulated_thread(void)
{
    return state->now->number;
}

int mgk_emulated_rank(void)
{
    return state->now->number / state->block_threads;
}

int mgk_emulated_blocks(void)
{
    return state->blocks;
}

unsigned char *mgk_emulated_shared_of(int rank)
{
    if (rank >= state->blocks)
        mgk_emulated_abort("a block that its cluster has not");
    return state->ended_of[rank] == state->block_threads
               ? NULL
               : state->shared + rank * state->shared_stride;
}

unsigned mgk_emulated_launches(void)
{
    return launches;
}

void mgk_emulated_wait_until(bool (*done)(const void *), const void *what)
{
    state->now->done = done;
    state->now->what = what;
    wait_as(IN_CONDITION, 0);
}

void mgk_emulated_exchange(unsigned mask, const void *value, void *out, size_t bytes, int from)
{
    fibre *f = state->now;
    int thread = f->number / 32 * 32 + from;
    if (bytes > VALUE_MAX)
        mgk_emulated_abort("a shuffled value is too large");
    memcpy(f->value, value, bytes);
    mgk_emulated_syncwarp(mask);
    bool there = from >= 0 && from < 32 && (mask >> from & 1) && thread < state->threads;
    memcpy(out, there ? state->player[thread]->value : value, bytes);
    mgk_emulated_syncwarp(mask);
}

unsigned __ballot_sync(unsigned mask, int predicate)
{
    fibre *f = state->now;
    unsigned votes = 0;
    f->value[0] = predicate != 0;
    mgk_emulated_syncwarp(mask);
    for (int i = 0; i < 32; i++) {
        int thread = f->number / 32 * 32 + i;
        if ((mask >> i & 1) && thread < state->threads)
            votes |= (unsigned)state->player[thread]->value[0] << i;
    }
    mgk_emulated_syncwarp(mask);
    return votes;
}

/* Free the threads of a block if all wait at its barrier; false if not. (As on a GPU, those that ended count as having
 * come.) */
static bool release_block(int rank)
{
    fibre **of = state->player + rank * state->block_threads;
    bool any = false;
    for (int t = 0; t < state->block_threads; t++)
        if (of[t]->state != IN_BLOCK_BARRIER && of[t]->state != ENDED)
            return false;
    for (int t = 0; t < state->block_threads; t++)
        if (of[t]->state == IN_BLOCK_BARRIER) {
            of[t]->state = READY;
            any = true;
        }
    return any;
}

static bool warp_barrier_done(int warp, unsigned mask)
{
    for (int i = 0; i < 32; i++) {
        int t = warp * 32 + i;
        if (!(mask >> i & 1) || t >= state->threads)
            continue;
        fibre *f = state->player[t];
        if (f->state == ENDED)
            mgk_emulated_abort("a warp waits for a thread that has ended");
        if (f->state != IN_WARP_BARRIER || f->mask != mask)
            return false;
    }
    return true;
}

/* Free the threads whose barriers are complete; false if there is none. */
static bool release(void)
{
    bool any = false;
    for (int t = 0; t < state->threads; t++) {
        fibre *f = state->player[t];
        if (f->state == IN_CONDITION && f->done(f->what)) {
            f->state = READY;
            any = true;
        }
        if (f->state != IN_WARP_BARRIER || !warp_barrier_done(t / 32, f->mask))
            continue;
        unsigned mask = f->mask;
        for (int i = 0; i < 32; i++)
            if ((mask >> i & 1) && t / 32 * 32 + i < state->threads)
                state->player[t / 32 * 32 + i]->state = READY;
        any = true;
    }
    for (int rank = 0; !any && rank < state->blocks; rank++)
        any = release_block(rank);
    return any || mgk_emulated_hopper_idle();
}

/* ---- blocks and grids ---- */

/* Rising, falling, or warps and threads mixed. */
static void choose_order(void)
{
    unsigned n = (unsigned)state->threads, kind = launches % 3;
    for (unsigned i = 0; i < n; i++)
        state->order[i] = kind == 0 ? i : n - 1 - i;
    for (unsigned i = n; kind == 2 && i > 1; i--) {
        unsigned j = (i * 2654435761u + launches * 40503u) % i, other = state->order[j];
        state->order[j] = state->order[i - 1];
        state->order[i - 1] = other;
    }
}

static void run_cluster(dim3 first)
{
    state->started = state->ended = 0;
    memset(state->ended_of, 0, sizeof state->ended_of);
    state->first = first;
    while (state->started < state->threads) {
        fibre *f = state->spare_count ? state->spare[--state->spare_count] : make_fibre();
        if (next_thread(f))
            enter_fibre(f);
    }
    while (state->ended < state->threads) {
        if (!release())
            mgk_emulated_abort("the threads of a block wait for each other at different barriers");
        for (int i = 0; i < state->threads; i++) {
            fibre *f = state->player[state->order[i]];
            if (f->state == READY)
                enter_fibre(f);
        }
    }
    mgk_emulated_hopper_end(state->threads);
}

static block_state *make_state(void)
{
    block_state *s = (block_state *)calloc(1, sizeof *s);
    if (s)
        s->fibres = (fibre *)calloc(THREADS_MAX, sizeof *s->fibres);
    if (!s || !s->fibres)
        mgk_emulated_abort("no memory");
    s->nobody.state = ENDED;
    return s;
}

static void free_state(void)
{
    for (int i = 0; i < state->made; i++)
        free(state->fibres[i].stack);
    free(state->fibres);
    free(state);
    state = NULL;
}

/* What is kept of a launch; `what` lies behind it. */
struct kept_launch {
    dim3 grid, block;
    unsigned cluster;
    size_t shared;
    void (*call)(const void *);
};
enum {
    KEPT_BYTES = (sizeof(kept_launch) + MGK_QUEUE_ALIGN - 1) / MGK_QUEUE_ALIGN * MGK_QUEUE_ALIGN
};

static void run_grid(dim3 grid, unsigned cluster, dim3 block, size_t shared,
                     void (*call)(const void *), const void *what);

static bool run_kept(void *kept)
{
    const kept_launch *k = (const kept_launch *)kept;
    run_grid(k->grid, k->cluster, k->block, k->shared, k->call,
             (const unsigned char *)kept + KEPT_BYTES);
    return true;
}

void mgk_emulated_run(void *stream, dim3 grid, unsigned cluster, dim3 block, size_t shared,
                      void (*call)(const void *), const void *what, size_t bytes)
{
    int threads = (int)(block.x * block.y * block.z);
    if (threads < 1 || threads > THREADS_MAX || !grid.x || !grid.y || !grid.z || grid.y > 65535 ||
        grid.z > 65535 || grid.x > 0x7fffffffu)
        mgk_emulated_abort("a launch with an impossible grid or block");
    if (cluster < 1 || cluster > BLOCKS_MAX || grid.x % cluster ||
        (int)cluster * threads > THREADS_MAX || (cluster > 1 && threads % 32))
        mgk_emulated_abort("a launch with an impossible cluster");
    if (shared > SHARED_MAX)
        mgk_emulated_abort("more shared memory than a block can have");
    if (!mgk_emulated_may_launch())
        return;
    void *kept = mgk_queue_keep(run_kept, KEPT_BYTES + bytes);
    const kept_launch k = {grid, block, cluster, shared, call};
    memcpy(kept, &k, sizeof k);
    memcpy((unsigned char *)kept + KEPT_BYTES, what, bytes);
    mgk_emulated_put(stream, kept);
}

static void run_grid(dim3 grid, unsigned cluster, dim3 block, size_t shared,
                     void (*call)(const void *), const void *what)
{
    mgk_emulated_open();
    state = make_state();
    state->blocks = (int)cluster;
    state->block_threads = (int)(block.x * block.y * block.z);
    state->threads = state->blocks * state->block_threads;
    state->block = block;
    state->call = call;
    state->what = what;
    mgk_emulated_block = block;
    mgk_emulated_grid = grid;
    mgk_emulated_shared_bytes = shared;
    state->shared_stride = (shared + 64) / 64 * 64;
    state->shared = (unsigned char *)aligned_alloc(64, cluster * state->shared_stride);
    launches++;
    choose_order();
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x += cluster) {
                /* as floats: not-a-number */
                memset(state->shared, 0xff, cluster * state->shared_stride);
                run_cluster(dim3(x, y, z));
            }
    free(state->shared);
    free_state();
    mgk_emulated_close();
}
