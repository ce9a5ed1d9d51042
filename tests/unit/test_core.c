/* SPDX-License-Identifier: MIT
 * Context, memory, thread pool, random numbers, hashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/cpu.h"
#include "core/hash.h"
#include "core/philox.h"
#include "core/pool.h"
#include "core/thread.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An allocator that counts, checks sizes, gives badly aligned memory, and fails when told to. */
typedef struct counting {
    _Atomic int64_t blocks, bytes;
    _Atomic int calls;
    int fail_at; /* this call and all later ones fail; 0 = none */
} counting;

static void *counting_alloc(void *user, size_t size)
{
    counting *c = user;
    int call = atomic_fetch_add(&c->calls, 1) + 1;
    if (c->fail_at && call >= c->fail_at)
        return NULL;
    char *p = malloc(size + 32);
    if (!p)
        return NULL;
    p += 16; /* aligned to 16, seldom to more */
    memcpy(p - 16, &size, sizeof(size));
    atomic_fetch_add(&c->blocks, 1);
    atomic_fetch_add(&c->bytes, (int64_t)size);
    return p;
}

static void counting_free(void *user, void *ptr, size_t size)
{
    counting *c = user;
    size_t asked;
    memcpy(&asked, (char *)ptr - 16, sizeof(asked));
    assert_int_equal(asked, size);
    atomic_fetch_sub(&c->blocks, 1);
    atomic_fetch_sub(&c->bytes, (int64_t)size);
    free((char *)ptr - 16);
}

typedef struct log_lines {
    int count, level;
    char last[1024];
} log_lines;

static void keep_line(void *user, int32_t level, const char *text)
{
    log_lines *lines = user;
    lines->count++;
    lines->level = level;
    snprintf(lines->last, sizeof(lines->last), "%s", text);
}

static mgen_context *make(int threads, uint64_t limit, counting *c, log_lines *lines)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    params.threads = (uint32_t)threads;
    params.host_memory_max = limit;
    if (c)
        params.allocator = (mgen_allocator){counting_alloc, counting_free, c};
    if (lines) {
        params.log = keep_line;
        params.log_user = lines;
    }
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    return ctx;
}

static void assert_error(const mgen_context *ctx, mgen_status status, mgen_status code,
                         const char *part)
{
    assert_string_equal(mgen_status_name(status), mgen_status_name(code));
    assert_int_equal(ctx->error_set, 1);
    assert_int_equal(ctx->error_code, code);
    if (!strstr(ctx->error_text, part))
        fail_msg("'%s' does not say '%s'", ctx->error_text, part);
}

static void test_names(void **state)
{
    (void)state;
#define SAME(code) assert_string_equal(mgen_status_name(code), #code)
    SAME(MGEN_OK);
    SAME(MGEN_E_INVALID);
    SAME(MGEN_E_STATE);
    SAME(MGEN_E_UNSUPPORTED);
    SAME(MGEN_E_VERSION);
    SAME(MGEN_E_NO_MEMORY);
    SAME(MGEN_E_LIMIT);
    SAME(MGEN_E_NOT_FOUND);
    SAME(MGEN_E_IO);
    SAME(MGEN_E_CORRUPT);
    SAME(MGEN_E_NO_SPACE);
    SAME(MGEN_E_DEVICE);
    SAME(MGEN_E_DEVICE_LOST);
    SAME(MGEN_E_NUMERIC);
    SAME(MGEN_E_PEER_LOST);
    SAME(MGEN_E_TIMEOUT);
    SAME(MGEN_E_DESYNC);
    SAME(MGEN_E_CANCELLED);
    SAME(MGEN_E_AGAIN);
    SAME(MGEN_E_INTERNAL);
#undef SAME
    assert_non_null(mgen_status_name(12345));
    char version[32];
    snprintf(version, sizeof(version), "%d.%d.%d", MGEN_VERSION_MAJOR, MGEN_VERSION_MINOR,
             MGEN_VERSION_PATCH);
    assert_string_equal(mgen_version(), version);
}

static void test_checked(void **state)
{
    (void)state;
    size_t s = 7;
    int64_t i = 7;
    assert_false(mgi_size_mul(SIZE_MAX / 2 + 1, 2, &s));
    assert_false(mgi_size_add(SIZE_MAX, 1, &s));
    assert_false(mgi_size_align(SIZE_MAX - 3, 8, &s));
    assert_int_equal(s, 7);
    assert_true(mgi_size_mul(SIZE_MAX, 1, &s) && s == SIZE_MAX);
    assert_true(mgi_size_align(9, 8, &s) && s == 16);
    assert_true(mgi_size_align(16, 8, &s) && s == 16);
    assert_false(mgi_i64_mul(INT64_MAX, 2, &i));
    assert_false(mgi_i64_mul(-1, 2, &i));
    assert_false(mgi_i64_add(INT64_MAX, 1, &i));
    assert_false(mgi_i64_add(1, -1, &i));
    int64_t dims[] = {3, 4, -1, (int64_t)1 << 62};
    assert_false(mgi_dims_count(dims, 3, &i));
    assert_int_equal(i, 7);
    assert_true(mgi_dims_count(dims, 2, &i) && i == 12);
    assert_true(mgi_dims_count(dims, 0, &i) && i == 1);
    dims[2] = (int64_t)1 << 62;
    assert_false(mgi_dims_count(dims, 4, &i));
}

static void test_errors(void **state)
{
    (void)state;
    log_lines lines = {0};
    mgen_context *ctx = make(1, 0, NULL, &lines);
    assert_int_equal(ctx->error_set, 0);
    assert_error(ctx, mgi_fail(ctx, MGEN_E_INVALID, "width is %d", 3), MGEN_E_INVALID,
                 "width is 3");
    assert_int_equal(lines.count, 1);
    assert_int_equal(lines.level, MGEN_LOG_ERROR);
    assert_string_equal(lines.last, "width is 3");
    assert_null(strstr(ctx->error_text, "test_core"));

    assert_error(ctx, mgi_fail_context(ctx, MGEN_E_CORRUPT, "file %s", "a"), MGEN_E_CORRUPT, "");
    assert_string_equal(ctx->error_text, "file a: width is 3");

    /* the arguments may be the old message */
    mgi_fail(ctx, MGEN_E_IO, "again: %s", ctx->error_text);
    assert_string_equal(ctx->error_text, "again: file a: width is 3");

    assert_error(ctx, mgi_fail(ctx, MGEN_E_INTERNAL, "oops"), MGEN_E_INTERNAL, "test_core.c:");
    mgi_fail(ctx, MGEN_E_IO, "a\nb\tc\x7f");
    assert_string_equal(ctx->error_text, "a?b?c?");

    /* a long message is cut between characters */
    for (int shift = 0; shift < 4; shift++) {
        char text[2000];
        memset(text, 'x', sizeof(text));
        for (size_t at = (size_t)shift; at + 3 < sizeof(text); at += 3)
            memcpy(text + at, "\xe2\x82\xac", 3);
        text[sizeof(text) - 1] = '\0';
        mgi_fail(ctx, MGEN_E_IO, "%s", text);
        size_t length = strlen(ctx->error_text);
        assert_true(length < sizeof(ctx->error_text) && length > sizeof(ctx->error_text) - 8);
        assert_string_equal(ctx->error_text + length - 3, "...");
        assert_int_equal((length - 3 - (size_t)shift) % 3, 0);
        mgi_fail_context(ctx, MGEN_E_IO, "%s", text);
        mgi_fail(ctx, MGEN_E_INTERNAL, "%s", text);
    }
    assert_int_equal(mgi_fail(NULL, MGEN_E_IO, "nobody listens"), MGEN_E_IO);
    assert_int_equal(mgi_fail_context(NULL, MGEN_E_IO, "nobody listens"), MGEN_E_IO);
    mgi_log(NULL, MGEN_LOG_INFO, "nobody listens");
    mgi_log(ctx, MGEN_LOG_INFO, "line %d", 2);
    assert_string_equal(lines.last, "line 2");
    mgi_context_free(ctx);
    mgi_context_free(NULL);
}

static void test_errno_text(void **state)
{
    (void)state;
    char buffer[128];
    assert_string_not_equal(mgi_errno_text(ENOENT, buffer, sizeof(buffer)), "");
    assert_string_not_equal(mgi_errno_text(123456, buffer, sizeof(buffer)), "");
}

static void test_alloc(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        counting c = {0};
        mgen_context *ctx = make(1, 0, own ? &c : NULL, NULL);
        uint64_t before = ctx->heap->now;
        int64_t blocks_before = c.blocks;
        float *blocks[64];
        for (size_t i = 0; i < 64; i++) {
            assert_int_equal(mgi_alloc(ctx, i * 37, &blocks[i]), MGEN_OK);
            assert_non_null(blocks[i]);
            assert_int_equal((uintptr_t)blocks[i] % MGI_ALIGN, 0);
            memset(blocks[i], 0xA5, i * 37);
        }
        assert_true(ctx->heap->now > before && ctx->heap->peak >= ctx->heap->now);
        uint64_t peak = ctx->heap->peak;
        for (size_t i = 0; i < 64; i++)
            mgi_free(ctx, blocks[i]);
        mgi_free(ctx, NULL);
        assert_int_equal(ctx->heap->now, before);
        assert_int_equal(ctx->heap->peak, peak);

        int32_t *array = NULL;
        for (size_t n = 1; n < 3000; n = n * 3 + 1) {
            assert_int_equal(mgi_realloc(ctx, &array, n, sizeof(*array)), MGEN_OK);
            array[n - 1] = (int32_t)n;
            assert_int_equal(array[0], 1);
        }
        assert_int_equal(mgi_realloc(ctx, &array, 1, sizeof(*array)), MGEN_OK);
        assert_int_equal(array[0], 1);
        mgi_free(ctx, array);

        uint8_t *zero;
        assert_int_equal(mgi_alloc_zero(ctx, 100, 3, &zero), MGEN_OK);
        for (int i = 0; i < 300; i++)
            assert_int_equal(zero[i], 0);
        mgi_free(ctx, zero);
        uint8_t *large; /* ours begins on a huge page, behind its header */
        assert_int_equal(mgi_alloc(ctx, 5 << 20, &large), MGEN_OK);
        assert_int_equal((uintptr_t)large % MGI_ALIGN, 0);
        if (!own)
            assert_int_equal((uintptr_t)large % (2 << 20), MGI_ALIGN);
        memset(large, 1, 5 << 20);
        mgi_free(ctx, large);
        char *text;
        assert_int_equal(mgi_strdup(ctx, "t\xc3\xa4xt", &text), MGEN_OK);
        assert_string_equal(text, "t\xc3\xa4xt");
        mgi_free(ctx, text);
        assert_int_equal(ctx->heap->now, before);
        assert_int_equal(c.blocks, blocks_before);
        mgi_context_free(ctx);
        assert_int_equal(c.blocks, 0);
        assert_int_equal(c.bytes, 0);
    }
}

static void test_alloc_refused(void **state)
{
    (void)state;
    mgen_context *ctx = make(1, 100000, NULL, NULL);
    uint64_t before = ctx->heap->now;
    char *a, *b = (char *)&a;
    assert_int_equal(mgi_alloc(ctx, 60000, &a), MGEN_OK);
    assert_error(ctx, mgi_alloc(ctx, 60000, &b), MGEN_E_LIMIT, "60000 bytes");
    assert_null(b);
    a[0] = 'a';
    char *same = a;
    assert_error(ctx, mgi_realloc(ctx, &a, 90000, 1), MGEN_E_LIMIT, "90000");
    assert_ptr_equal(a, same);
    assert_int_equal(a[0], 'a');
    mgi_free(ctx, a);
    assert_int_equal(mgi_alloc(ctx, 60000, &b), MGEN_OK);
    mgi_free(ctx, b);

    assert_error(ctx, mgi_alloc(ctx, SIZE_MAX, &b), MGEN_E_NO_MEMORY, "bytes");
    assert_null(b);
    assert_error(ctx, mgi_alloc_zero(ctx, SIZE_MAX / 2, 3, &b), MGEN_E_NO_MEMORY, " x 3 bytes");
    assert_null(b);
    assert_error(ctx, mgi_realloc(ctx, &b, SIZE_MAX / 2, 3), MGEN_E_NO_MEMORY, " x 3 bytes");
    assert_int_equal(ctx->heap->now, before);
    mgi_context_free(ctx);

    counting c = {0};
    ctx = make(1, 0, &c, NULL);
    before = ctx->heap->now;
    c.fail_at = c.calls + 1;
    assert_error(ctx, mgi_alloc(ctx, 10, &b), MGEN_E_NO_MEMORY, "10 bytes");
    assert_error(ctx, mgi_alloc_zero(ctx, 2, 5, &b), MGEN_E_NO_MEMORY, "10 bytes");
    assert_error(ctx, mgi_strdup(ctx, "x", &b), MGEN_E_NO_MEMORY, "2 bytes");
    assert_int_equal(ctx->heap->now, before);
    mgi_context_free(ctx);
    assert_int_equal(c.blocks, 0);
}

static void test_context_failing(void **state)
{
    (void)state;
    for (int k = 1;; k++) {
        counting c = {.fail_at = k};
        mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
        mgen_context *ctx = (mgen_context *)&c;
        params.threads = 3;
        params.plugin_dir = "/somewhere";
        params.allocator = (mgen_allocator){counting_alloc, counting_free, &c};
        mgen_status status = mgi_context_init(&ctx, &params);
        if (status == MGEN_OK) {
            assert_true(k > 3);
            assert_string_equal(ctx->plugin_dir, "/somewhere");
            assert_int_equal(mgi_pool_threads(ctx->pool), 3);
            mgi_context_free(ctx);
            assert_int_equal(c.blocks, 0);
            return;
        }
        assert_int_equal(status, MGEN_E_NO_MEMORY);
        assert_null(ctx);
        assert_int_equal(c.blocks, 0);
    }
}

/* ---- pool ------------------------------------------------------------------------------------- */

typedef struct sums {
    mgi_pool *pool;
    int64_t *values;
    _Atomic int64_t total;
    _Atomic int inside[16];
    _Atomic int bad;
} sums;

static void add_block(void *arg, int64_t block, int thread)
{
    sums *s = arg;
    if (thread < 0 || thread >= mgi_pool_threads(s->pool) ||
        atomic_fetch_add(&s->inside[thread], 1) != 0)
        atomic_store(&s->bad, 1); /* two blocks at once under one index */
    s->values[block] += block;
    atomic_fetch_add(&s->total, block);
    atomic_fetch_sub(&s->inside[thread], 1);
}

static void test_pool_sums(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 8; threads++) {
        mgen_context *ctx = make(threads, 0, NULL, NULL);
        assert_int_equal(mgi_pool_threads(ctx->pool), threads);
        sums s = {.pool = ctx->pool};
        enum { BLOCKS = 1000 };
        int64_t values[BLOCKS] = {0};
        s.values = values;
        int64_t expected = 0;
        for (int round = 0; round < 20; round++) {
            int64_t blocks = round < 6 ? round : BLOCKS;
            mgi_pool_run(ctx->pool, blocks, add_block, &s);
            expected += blocks * (blocks - 1) / 2;
        }
        assert_int_equal(s.total, expected);
        assert_int_equal(values[BLOCKS - 1], 14 * (BLOCKS - 1));
        assert_int_equal(s.bad, 0);
        mgi_context_free(ctx);
    }
    sums s = {0};
    int64_t values[4] = {0};
    s.values = values;
    mgi_pool_run(NULL, 4, add_block, &s);
    assert_int_equal(s.total, 6);
    assert_int_equal(mgi_pool_threads(NULL), 1);
}

static void test_pool_tiny(void **state)
{
    (void)state;
    mgen_context *ctx = make(4, 0, NULL, NULL);
    sums s = {.pool = ctx->pool};
    int64_t values[3] = {0};
    s.values = values;
    for (int i = 0; i < 20000; i++)
        mgi_pool_run(ctx->pool, 3, add_block, &s);
    assert_int_equal(s.total, 60000);
    assert_int_equal(values[2], 40000);
    assert_int_equal(s.bad, 0);
    mgi_context_free(ctx);
}

typedef struct nested {
    mgi_pool *pool;
    _Atomic int64_t total;
    _Atomic int bad;
} nested;

typedef struct inner {
    nested *outer;
    pthread_t self;
    int thread;
    int64_t next;
} inner;

static void inner_block(void *arg, int64_t block, int thread)
{
    inner *in = arg;
    if (!pthread_equal(in->self, pthread_self()) || thread != in->thread || block != in->next)
        atomic_store(&in->outer->bad, 1);
    in->next++;
    atomic_fetch_add(&in->outer->total, 1);
}

static void outer_block(void *arg, int64_t block, int thread)
{
    nested *n = arg;
    inner in = {n, pthread_self(), thread, 0};
    mgi_pool_run(n->pool, block % 5, inner_block, &in);
    if (in.next != block % 5)
        atomic_store(&n->bad, 1);
}

static void test_pool_nested(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        mgen_context *ctx = make(threads, 0, NULL, NULL);
        nested n = {.pool = ctx->pool};
        mgi_pool_run(ctx->pool, 1, outer_block, &n);
        mgi_pool_run(ctx->pool, 1000, outer_block, &n);
        assert_int_equal(n.total, 2000);
        assert_int_equal(n.bad, 0);
        mgi_context_free(ctx);
    }
}

static void sleep_block(void *arg, int64_t block, int thread)
{
    (void)thread;
    struct timespec t = {0, 2000000};
    nanosleep(&t, NULL);
    ((int *)arg)[block] = 1;
}

/* Long blocks: the caller has to sleep until the workers are done, and they before. */
static void test_pool_sleeps(void **state)
{
    (void)state;
    mgen_context *ctx = make(3, 0, NULL, NULL);
    for (int round = 0; round < 10; round++) {
        int done[4] = {0};
        mgi_pool_run(ctx->pool, 4, sleep_block, done);
        assert_true(done[0] && done[1] && done[2] && done[3]);
        sleep_block(done, 0, 0);
    }
    mgi_context_free(ctx);
}

typedef struct masks {
    _Atomic int open_signals;
} masks;

static void mask_block(void *arg, int64_t block, int thread)
{
    sigset_t set;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    if (thread > 0 && (!sigismember(&set, SIGINT) || !sigismember(&set, SIGTERM) ||
                       !sigismember(&set, SIGCHLD) || !sigismember(&set, SIGUSR1)))
        atomic_store(&((masks *)arg)->open_signals, 1);
    sleep_block((int[4]){0}, block % 4, 0);
}

static void test_pool_signals(void **state)
{
    (void)state;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    mgen_context *ctx = make(3, 0, NULL, NULL);
    masks m = {0};
    mgi_pool_run(ctx->pool, 9, mask_block, &m);
    assert_int_equal(m.open_signals, 0);
    mgi_context_free(ctx);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int s = 1; s < 32; s++)
        assert_int_equal(sigismember(&before, s), sigismember(&after, s));
}

/* A megabyte of the stack, down to its end; whether no signal is open. */
static void *go_deep(void *arg)
{
    enum { DEPTH = 1 << 20 };
    volatile uint8_t room[DEPTH];
    sigset_t set;
    for (int i = DEPTH - 1; i >= 0; i -= 1024)
        room[i] = 1;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    *(bool *)arg = room[1023] && sigismember(&set, SIGINT) && sigismember(&set, SIGUSR1);
    return NULL;
}

/* Threads of the library have room where those of the host have little. */
static void test_thread_stack(void **state)
{
    bool done = false;
    pthread_t thread;
    (void)state;
#ifdef __GLIBC__
    pthread_attr_t before, small;
    assert_int_equal(pthread_getattr_default_np(&before), 0);
    pthread_attr_init(&small);
    assert_int_equal(pthread_attr_setstacksize(&small, 128 << 10), 0); /* as musl has it */
    assert_int_equal(pthread_setattr_default_np(&small), 0);
#endif
    assert_int_equal(mgi_thread_start(&thread, go_deep, &done), 0);
    pthread_join(thread, NULL);
    assert_true(done);
#ifdef __GLIBC__
    assert_int_equal(pthread_setattr_default_np(&before), 0);
    pthread_attr_destroy(&small);
    pthread_attr_destroy(&before);
#endif
}

static void test_pool_refused(void **state)
{
    (void)state;
    mgen_context *ctx = make(1, 0, NULL, NULL);
    uint64_t before = ctx->heap->now;
    mgi_pool *pool;
    assert_error(ctx, mgi_pool_create(ctx, 0, &pool), MGEN_E_INVALID, "0 threads");
    assert_null(pool);
    assert_error(ctx, mgi_pool_create(ctx, 1 << 20, &pool), MGEN_E_INVALID, "threads");

    /* stacks that no address space can hold: no thread starts */
    pthread_attr_t usual, huge;
    pthread_attr_init(&huge);
    assert_int_equal(pthread_getattr_default_np(&usual), 0);
    assert_int_equal(pthread_attr_setstacksize(&huge, (size_t)1 << 47), 0);
    assert_int_equal(pthread_setattr_default_np(&huge), 0);
    mgen_status status = mgi_pool_create(ctx, 4, &pool);
    assert_int_equal(pthread_setattr_default_np(&usual), 0);
    pthread_attr_destroy(&huge);
    pthread_attr_destroy(&usual);
    assert_error(ctx, status, MGEN_E_NO_MEMORY, "thread 2 of 4");
    assert_null(pool);
    assert_int_equal(ctx->heap->now, before);
    mgi_pool_destroy(ctx, NULL);
    mgi_context_free(ctx);
}

/* Many threads at the limit: never past it, nothing lost. */
static void race_block(void *arg, int64_t block, int thread)
{
    mgen_context *ctx = arg;
    (void)thread;
    char *p;
    for (int i = 0; i < 50; i++)
        if (mgi_alloc(ctx, 1000 + (size_t)block, &p) == MGEN_OK) {
            p[0] = 1;
            mgi_free(ctx, p);
        }
}

static void test_alloc_race(void **state)
{
    (void)state;
    mgen_context *ctx = make(4, 0, NULL, NULL);
    uint64_t before = ctx->heap->now;
    ctx->heap->max = before + 2500; /* two fit, a third does not */
    mgi_pool_run(ctx->pool, 200, race_block, ctx);
    assert_true(ctx->heap->peak <= ctx->heap->max);
    assert_int_equal(ctx->heap->now, before);
    mgi_context_free(ctx);
}

/* ---- numbers ---------------------------------------------------------------------------------- */

static void test_philox(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed, stream, counter;
        uint32_t out[4];
    } known[] = {
        {0, 0, 0, {0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}},
        {0x299F31D0A4093822u,
         0x0370734413198A2Eu,
         0x85A308D3243F6A88u,
         {0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}},
    };
    uint32_t out[4];
    for (size_t i = 0; i < 3; i++) {
        mgi_philox(known[i].seed, known[i].stream, known[i].counter, out);
        for (int j = 0; j < 4; j++)
            assert_int_equal(out[j], known[i].out[j]);
    }
    for (uint64_t i = 0; i < 8; i++) {
        mgi_philox(5, 6, i / 4, out);
        assert_int_equal(mgi_random_u32(5, 6, i), out[i % 4]);
    }
    assert_true(mgi_u32_to_unit(0) > 0);
    assert_true(mgi_u32_to_unit(UINT32_MAX) < 1);
    assert_true(mgi_u32_to_unit(UINT32_MAX) + mgi_u32_to_unit(0) == 1); /* centred */
}

static void test_normal(void **state)
{
    (void)state;
    enum { N = 200000 };
    double moments[5] = {0}, product = 0, last = 0;
    for (uint64_t i = 0; i < N; i++) {
        double x = (double)mgi_random_normal(1, MGI_STREAM_NOISE, i), power = 1;
        for (int m = 0; m < 5; m++, power *= x)
            moments[m] += power / N;
        product += x * last / N;
        last = x;
    }
    /* tolerances: five standard errors */
    assert_true(fabs(moments[1]) < 0.0112);
    assert_true(fabs(moments[2] - 1) < 0.0159);
    assert_true(fabs(moments[3]) < 0.0434);
    assert_true(fabs(moments[4] - 3) < 0.11);
    assert_true(fabs(product) < 0.0112);

    /* by hand: lanes 2 and 3 of block 1 */
    uint32_t r[4];
    mgi_philox(1, MGI_STREAM_NOISE, 1, r);
    double radius = sqrt(-2 * log((double)mgi_u32_to_unit(r[2])));
    double angle = 2 * acos(-1.0) * (double)mgi_u32_to_unit(r[3]);
    assert_true(fabs((double)mgi_random_normal(1, MGI_STREAM_NOISE, 6) - radius * cos(angle)) <
                1e-6);
    assert_true(fabs((double)mgi_random_normal(1, MGI_STREAM_NOISE, 7) - radius * sin(angle)) <
                1e-6);
}

static void assert_sha256(const void *data, size_t size, const char *expected)
{
    uint8_t digest[32];
    char text[65];
    mgi_sha256(data, size, digest);
    for (size_t i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, expected);
}

static void test_hash(void **state)
{
    (void)state;
    assert_sha256("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_sha256("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    assert_sha256(million, 1000000,
                  "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);

    assert_int_equal(mgi_hash64("abc", 3, 1), mgi_hash64("abc", 3, 1));
    assert_int_not_equal(mgi_hash64("abc", 3, 1), mgi_hash64("abc", 3, 2));
    assert_int_not_equal(mgi_hash64("abc", 3, 1), mgi_hash64("abd", 3, 1));
    uint64_t pieces = mgi_hash64_piece(mgi_hash64_begin(1), "ab", 2);
    assert_int_equal(mgi_hash64_end(mgi_hash64_piece(pieces, "c", 1)), mgi_hash64("abc", 3, 1));
    int low = 0; /* names that differ in the end differ in all bits */
    for (int i = 0; i < 64; i++) {
        char name[32];
        snprintf(name, sizeof(name), "layer.%d", i);
        low += (int)(mgi_hash64(name, strlen(name), 0) >> 63);
    }
    assert_in_range(low, 16, 48);
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Files that differ in their length, in one bit, or in the signs of two numbers have different hashes. */
static void test_hash_large(void **state)
{
    (void)state;
    enum { BYTES = 600, ALL = BYTES + 8 * BYTES + BYTES / 2 };
    uint8_t file[BYTES] = {0};
    uint64_t *seen = malloc(sizeof *seen * ALL);
    int n = 0;
    assert_non_null(seen);
    for (size_t size = 0; size < BYTES; size++)
        seen[n++] = mgi_hash_large(file, size, 0);
    for (int bit = 0; bit < 8 * BYTES; bit++) {
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
        seen[n++] = mgi_hash_large(file, BYTES, 0);
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    file[1] ^= 0x80;
    for (int i = 1; i < BYTES / 2; i++) {
        file[2 * i + 1] ^= 0x80;
        seen[n++] = mgi_hash_large(file, BYTES, 0);
        file[2 * i + 1] ^= 0x80;
    }
    seen[n++] = mgi_hash_large(file, BYTES, 1);
    assert_int_equal(n, ALL);
    qsort(seen, ALL, sizeof *seen, by_value);
    for (int i = 1; i < ALL; i++)
        assert_true(seen[i] != seen[i - 1]);
    free(seen);
}

static void test_cpu(void **state)
{
    (void)state;
    assert_true(mgi_cpu_count() >= 1);
    uint32_t features = mgi_cpu_features();
    if (features & MGI_CPU_AVX512BF16)
        assert_true(features & MGI_CPU_AVX512);
    if (features & MGI_CPU_AVX512)
        assert_true(features & MGI_CPU_AVX2);
    mgen_context *ctx = make(0, 0, NULL, NULL);
    int expected = mgi_cpu_count() < 256 ? mgi_cpu_count() : 256;
    assert_int_equal(mgi_pool_threads(ctx->pool), expected);
    mgi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),           cmocka_unit_test(test_checked),
        cmocka_unit_test(test_errors),          cmocka_unit_test(test_errno_text),
        cmocka_unit_test(test_alloc),           cmocka_unit_test(test_alloc_refused),
        cmocka_unit_test(test_context_failing), cmocka_unit_test(test_pool_sums),
        cmocka_unit_test(test_pool_tiny),       cmocka_unit_test(test_pool_nested),
        cmocka_unit_test(test_pool_sleeps),     cmocka_unit_test(test_pool_signals),
        cmocka_unit_test(test_thread_stack),    cmocka_unit_test(test_pool_refused),
        cmocka_unit_test(test_alloc_race),      cmocka_unit_test(test_philox),
        cmocka_unit_test(test_normal),          cmocka_unit_test(test_hash),
        cmocka_unit_test(test_hash_large),      cmocka_unit_test(test_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
