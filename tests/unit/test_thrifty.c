/* SPDX-License-Identifier: MIT
 * A device that keeps few free blocks: how many, which are given away, which are made do with; and that training on clips of
 * many sizes comes to the same bits in less memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "stage_runs.h"

enum { KB = 1 << 10, HELD_MOST = 64 };

typedef struct block {
    mgi_held held;
    size_t bytes;
    uint8_t mark;
} block;

static mgi_device *device_of(bool thrifty)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *own;
    params.threads = 1;
    assert_int_equal(mgi_context_init(&own, &params), MGEN_OK);
    assert_int_equal(mgi_device_create(own, NULL), MGEN_OK);
    if (thrifty)
        mgi_device_thrifty(own->device);
    return own->device;
}

static block take(mgi_device *dev, size_t bytes)
{
    static uint8_t marks;
    block b = {.bytes = bytes, .mark = ++marks};
    assert_int_equal(mgi_device_alloc(dev, bytes, &b.held), MGEN_OK);
    assert_true(b.held.bytes >= bytes);
    memset(b.held.ptr, b.mark, bytes);
    return b;
}

/* It is as it was left: nobody else was given any of it. */
static void give_back(mgi_device *dev, block *b)
{
    const uint8_t *bytes = b->held.ptr;
    mgi_held *held;
    for (size_t i = 0; i < b->bytes; i++)
        assert_int_equal(bytes[i], b->mark);
    assert_int_equal(mgi_alloc(dev->ctx, sizeof *held, &held), MGEN_OK);
    *held = b->held;
    mgi_device_release(dev, held);
}

static void assert_few(const mgi_device *dev)
{
    assert_true(dev->counts.held <= dev->busy_peak + dev->busy_peak / 2);
}

/* `count` blocks at a time, of `kb` KB each. */
static void step(mgi_device *dev, int count, size_t kb)
{
    block b[HELD_MOST];
    for (int i = 0; i < count; i++)
        b[i] = take(dev, kb * KB);
    for (int i = 0; i < count; i++)
        give_back(dev, &b[i]);
}

/* Steps of five sizes, 1 MB each: without thrift there are 5 MB in the end. */
static void test_few_are_kept(void **state)
{
    static const struct {
        int count;
        size_t kb;
    } sizes[] = {{1, 1024}, {2, 512}, {4, 256}, {8, 128}, {16, 64}};
    (void)state;
    for (int thrifty = 0; thrifty < 2; thrifty++) {
        mgi_device *dev = device_of(thrifty);
        for (int turn = 0; turn < 20; turn++) {
            step(dev, sizes[turn * 3 % 5].count, sizes[turn * 3 % 5].kb);
            if (thrifty)
                assert_few(dev);
        }
        assert_int_equal(dev->busy, 0);
        assert_true(thrifty ? dev->counts.held_peak < 1700 * KB
                            : dev->counts.held_peak > 5000 * KB);
        mgen_context_destroy(dev->ctx);
    }
}

/* What is asked for again and again is there: nothing is given away, nothing is new. */
static void test_steps_that_are_alike(void **state)
{
    mgi_device *dev = device_of(true);
    (void)state;
    for (int turn = 0; turn < 10; turn++) {
        block a = take(dev, 900 * KB), b = take(dev, 100 * KB);
        give_back(dev, &a);
        block c = take(dev, 300 * KB);
        give_back(dev, &b);
        give_back(dev, &c);
        assert_true(turn == 0 || dev->counts.held == dev->counts.held_peak);
        assert_few(dev);
    }
    const uint64_t held = dev->counts.held;
    for (int i = 0; i < 4; i++)
        step(dev, 1, 900);
    assert_int_equal(dev->counts.held, held);
    mgen_context_destroy(dev->ctx);
}

/* Where a new block would be one too many, a free one of up to twice the size is taken, whole; else others go, those first that
 * nobody has asked for for the longest time. */
static void test_what_is_made_do_with(void **state)
{
    mgi_device *dev = device_of(true);
    (void)state;
    block a = take(dev, 1024 * KB), b = take(dev, 768 * KB);
    void *first = a.held.ptr, *second = b.held.ptr;
    give_back(dev, &a);
    give_back(dev, &b);
    /* room for a half more than was in use: a new one */
    block c = take(dev, 600 * KB);
    assert_true(c.held.ptr != first && c.held.ptr != second && c.held.bytes < 768 * KB);
    /* and no room: the smaller one that is large enough */
    block d = take(dev, 700 * KB);
    assert_ptr_equal(d.held.ptr, second);
    assert_int_equal(d.held.bytes, 768 * KB);
    give_back(dev, &d);
    give_back(dev, &c);
    /* more than twice as large is not: what was asked for the longest ago goes, as much as it takes */
    step(dev, 1, 1024);
    const uint64_t before = dev->counts.held;
    block e = take(dev, 300 * KB);
    assert_true(e.held.bytes < 400 * KB || e.held.bytes >= 600 * KB);
    assert_true(dev->counts.held <= before);
    assert_few(dev);
    give_back(dev, &e);
    block f = take(dev, 1024 * KB); /* which was used last, and is there */
    assert_ptr_equal(f.held.ptr, first);
    give_back(dev, &f);
    assert_int_equal(dev->busy, 0);
    mgen_context_destroy(dev->ctx);
}

/* Sizes at random: what is in use is nobody else's, and never is there too much. */
static void test_at_random(void **state)
{
    mgi_device *dev = device_of(true);
    block b[HELD_MOST];
    uint32_t x = 7;
    int count = 0;
    (void)state;
    for (int turn = 0; turn < 3000; turn++) {
        x = x * 1664525 + 1013904223;
        if (count < HELD_MOST && (count == 0 || x >> 31)) {
            b[count++] = take(dev, (size_t)1 << (x >> 8) % 17);
            b[count - 1].bytes = b[count - 1].bytes > 9 ? b[count - 1].bytes - 9 : 1;
        } else {
            const int i = (int)((x >> 8) % (uint32_t)count);
            give_back(dev, &b[i]);
            b[i] = b[--count];
        }
        assert_true(dev->counts.held <= dev->busy_peak + dev->busy_peak / 2 ||
                    dev->counts.held < 64 * 64 * KB); /* small ones are not worth it */
    }
    while (count)
        give_back(dev, &b[--count]);
    assert_int_equal(dev->busy, 0);
    mgi_device_trim(dev);
    assert_int_equal(dev->counts.held, 0);
    mgen_context_destroy(dev->ctx);
}

/* The meta device counts what a machine without thrift would keep. */
static void test_meta(void **state)
{
    mgi_device *dev = device_of(false);
    (void)state;
    mgi_device_make_meta(dev);
    mgi_device_thrifty(dev);
    assert_false(dev->thrifty);
    mgen_context_destroy(dev->ctx);
}

/* Bytes of this process that are in memory. */
static uint64_t resident(void)
{
    unsigned long long all = 0, here = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%llu %llu", &all, &here), 2);
    fclose(f);
    return here * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A large block that goes is the system's again, whatever lies beside it; and begins where a huge page may. */
static void test_large_blocks_go_back(void **state)
{
    enum { COUNT = 24, LARGE = 5 << 20, SMALL = 300 << 10 };
    void *large[COUNT], *small[COUNT], *first;
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* which keep what is freed */
#endif
    OK(mgi_alloc(ctx, 20 << 20, &first)); /* from now on the C library keeps blocks of this size */
    mgi_free(ctx, first);
    for (int i = 0; i < COUNT; i++) {
        OK(mgi_alloc(ctx, LARGE, &large[i]));
        OK(mgi_alloc(ctx, SMALL, &small[i]));
        memset(large[i], i, LARGE);
        memset(small[i], i, SMALL);
        assert_int_equal((uintptr_t)large[i] % 64, 0);
    }
    const uint64_t before = resident();
    for (int i = 0; i < COUNT; i++) {
        assert_true(((uint8_t *)large[i])[LARGE - 1] == i && ((uint8_t *)small[i])[0] == i);
        mgi_free(ctx, large[i]);
    }
    const uint64_t after = resident();
    if (before - after < (uint64_t)COUNT * LARGE * 9 / 10)
        fail_msg("%llu bytes of %llu went", (unsigned long long)(before - after),
                 (unsigned long long)COUNT * LARGE);
    for (int i = 0; i < COUNT; i++)
        mgi_free(ctx, small[i]);
}

/* ---- training ---- */

static float *trained(const mgi_stage *s, bool thrifty, int64_t *size, mgi_device_counts *counts)
{
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(s);
    mgen_context *kept = ctx;
    mgi_device *dev = device_of(thrifty);
    mgi_stage_state state;
    ctx = dev->ctx;
    struct mgi_stage_run *run = begin(s);
    for (int64_t i = 0; i < s->steps; i++)
        OK(kind->step(run, i, NULL));
    kind->state(run, &state);
    mgi_module *m = state.module[0];
    float *weights = malloc((size_t)mgi_module_size(m) * sizeof *weights);
    assert_non_null(weights);
    *size = 0;
    for (int64_t k = 0; k < m->count; k++) {
        const T *v = m->params[k]->value;
        memcpy(weights + *size, mgi_f32(v), (size_t)v->count * sizeof *weights);
        *size += v->count;
    }
    *counts = dev->counts;
    if (thrifty)
        assert_few(dev);
    kind->destroy(run);
    mgen_context_destroy(ctx);
    ctx = kept;
    return weights;
}

static void test_training(void **state)
{
    static const int64_t sizes[][3] = {{64, 64, 9}, {96, 64, 8},  {64, 96, 16}, {48, 48, 16},
                                       {80, 80, 8}, {56, 72, 16}, {96, 96, 1},  {112, 48, 8}};
    mgi_stage s = tiny_autoencoder(16, 2);
    mgi_device_counts few, all;
    int64_t size, same;
    (void)state;
    s.image_every = s.image_batch = 0;
    s.images = -1.0;
    for (s.bucket_count = 0; s.bucket_count < 8; s.bucket_count++)
        s.bucket[s.bucket_count] = (mgi_bucket){.width = sizes[s.bucket_count][0],
                                                .height = sizes[s.bucket_count][1],
                                                .frames = sizes[s.bucket_count][2],
                                                .weight = 1.0};
    float *a = trained(&s, true, &size, &few), *b = trained(&s, false, &same, &all);
    assert_int_equal(size, same);
    assert_memory_equal(a, b, (size_t)size * sizeof *a);
    assert_int_equal(few.total_peak, all.total_peak);
    if (!(few.held_peak < 2 * few.total_peak && 3 * few.held_peak < 2 * all.held_peak))
        fail_msg("%llu bytes are held, without thrift %llu, of %llu in use",
                 (unsigned long long)few.held_peak, (unsigned long long)all.held_peak,
                 (unsigned long long)few.total_peak);
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_few_are_kept),
                                       cmocka_unit_test(test_steps_that_are_alike),
                                       cmocka_unit_test(test_what_is_made_do_with),
                                       cmocka_unit_test(test_at_random),
                                       cmocka_unit_test(test_large_blocks_go_back),
                                       cmocka_unit_test(test_meta),
                                       cmocka_unit_test(test_training)};
    return cmocka_run_group_tests(tests, make_context_and_folder, free_context_and_folder);
}
