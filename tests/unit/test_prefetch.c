/* SPDX-License-Identifier: MIT
 * Clips made ahead are those that were asked for, whatever was guessed. */
#include "train/prefetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SEED = 5, BYTES = 4 * 8 * 64 * 64 * 3 };

static void walk(mgen_context *ctx, mgi_dataset *ds, bool ahead)
{
    const mgi_prefetch_clips asked[] = {
        {ds, 0, 2, 4}, {ds, 2, 2, 4}, {ds, 4, 4, 8}, {ds, 8, 1, 1}, {ds, 9, 2, 4}};
    enum { ASKED = sizeof asked / sizeof asked[0] };
    static uint8_t want[BYTES];
    mgi_prefetch *p;
    assert_int_equal(mgi_prefetch_create(ctx, SEED, ahead, &p), MGEN_OK);
    for (int i = 0; i < ASKED; i++) {
        const mgi_prefetch_clips *c = &asked[i];
        mgi_prefetch_clips next = asked[(i + 1) % ASKED];
        const uint8_t *pixels;
        next.first += i == 2; /* a wrong guess */
        assert_int_equal(mgi_prefetch_take(p, *c, next, &pixels), MGEN_OK);
        mgi_prefetch_rest(p); /* the pool is used below */
        assert_int_equal(mgi_dataset_clips(ctx, ds, SEED, c->first, c->count, c->frames, want),
                         MGEN_OK);
        assert_memory_equal(pixels, want, (size_t)(c->count * c->frames * 64 * 64 * 3));
    }
    mgi_prefetch_destroy(p);
}

static void test_clips(void **state)
{
    (void)state;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    mgi_dataset *ds;
    uint64_t before, after;
    params.threads = 2;
    params.device = "cpu";
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    mgen_context_memory(ctx, &before, NULL);
    assert_int_equal(mgi_dataset_world(ctx, 1, &(mgi_world_options){0}, &ds), MGEN_OK);
    walk(ctx, ds, false);
    walk(ctx, ds, true);
    mgi_dataset_release(ds);
    mgen_context_memory(ctx, &after, NULL);
    assert_int_equal(before, after);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clips)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
