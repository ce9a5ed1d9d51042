/* SPDX-License-Identifier: MIT
 * Clips that look the same, by the index and by all pairs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/proc.h"
#include "core/philox.h"
#include "data/curate.h"
#include "data/curate_groups.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EACH = MGI_LIKE_SIZE / MGI_LIKE_FRAMES, CLIPS = SANITIZED ? 600 : 1500 };

static mgi_curate_view views[CLIPS];
static mgi_curate_clip clips[CLIPS];

static double draw(uint64_t what)
{
    return (double)mgi_random_unit(9, 1, what);
}

/* Of length 1, and orthogonal to `of` (NULL: to nothing). */
static void direction(uint64_t number, const float *of, float *out)
{
    double squares = 0.0, dot = 0.0;
    for (int i = 0; i < EACH; i++) {
        out[i] = mgi_random_normal(9, 2, number * EACH + (uint64_t)i);
        dot += of ? (double)out[i] * (double)of[i] : 0.0;
    }
    for (int i = 0; i < EACH; i++) {
        out[i] -= of ? (float)dot * of[i] : 0.0f;
        squares += (double)out[i] * (double)out[i];
    }
    for (int i = 0; i < EACH; i++)
        out[i] /= (float)sqrt(squares);
}

/* As like another as `cosine` (NULL: one of its own). */
static void make_view(uint64_t number, const mgi_curate_view *other, double cosine,
                      mgi_curate_view *out)
{
    const float a = (float)cosine, b = (float)sqrt(1.0 - cosine * cosine);
    for (uint64_t k = 0; k < MGI_LIKE_FRAMES; k++) {
        float *o = out->like + k * EACH;
        const float *of = other ? other->like + k * EACH : NULL;
        direction(number * MGI_LIKE_FRAMES + k, of, o);
        for (int i = 0; of && i < EACH; i++)
            o[i] = a * of[i] + b * o[i];
    }
}

/* A third are like an earlier one, which may be like another; a few show nothing. */
static void make_views(void)
{
    for (uint64_t i = 0; i < CLIPS; i++) {
        const uint64_t of = (uint64_t)(draw(4 * i) * (double)i);
        const bool copy = i > 10 && draw(4 * i + 1) < 1.0 / 3.0;
        make_view(i, copy ? &views[of] : NULL, 0.85 + 0.15 * draw(4 * i + 2), &views[i]);
        if (i % 100 == 50)
            memset(views[i].like, 0, (i % 200 == 50 ? 1 : MGI_LIKE_FRAMES) * EACH * sizeof(float));
    }
}

/* How many are kept; same[i] of each. */
static int64_t find(uint32_t threads, double least, double pairs, int64_t *same)
{
    static mgi_curate_film film;
    static mgi_curate_member members[CLIPS];
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    mgi_curate_rules rules;
    int64_t count = CLIPS;
    mgi_curate_rules_report(&rules);
    rules.duplicate_min = least;
    rules.duplicate_pairs = pairs;
    params.threads = threads;
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    for (int64_t i = 0; i < CLIPS; i++) {
        clips[i] = (mgi_curate_clip){.same = -1, .view = &views[i]};
        members[i] = (mgi_curate_member){&film, &clips[i], i};
    }
    assert_int_equal(mgi_curate_find_duplicates(ctx, &rules, members, &count), MGEN_OK);
    int64_t kept = 0;
    for (int64_t i = 0; i < CLIPS; i++) {
        same[i] = clips[i].same;
        assert_true(!clips[i].fails == (same[i] < 0) && same[i] < i);
        if (same[i] < 0)
            assert_int_equal(members[kept++].order, i);
        else
            assert_true(mgi_curate_alike(&views[same[i]], &views[i]) >= least && same[same[i]] < 0);
    }
    assert_int_equal(kept, count);
    mgi_context_free(ctx);
    return kept;
}

/* One after the other, as the rule says it. */
static void by_hand(double least, int64_t *same)
{
    for (int64_t i = 0; i < CLIPS; i++) {
        same[i] = -1;
        for (int64_t k = 0; k < i && same[i] < 0; k++)
            if (same[k] < 0 && mgi_curate_alike(&views[k], &views[i]) >= least)
                same[i] = k;
    }
}

/* The index says what all pairs say; neither depends on the number of threads. */
static void test_same(void **state)
{
    (void)state;
    static int64_t want[CLIPS], same[CLIPS];
    static const double least[] = {0.9, 0.97, 0.75, 0.3, 1.5};
    make_views();
    for (size_t i = 0; i < sizeof least / sizeof least[0]; i++) {
        by_hand(least[i], want);
        for (uint32_t threads = 1; threads <= 3; threads += 2)
            for (int index = 0; index < 2; index++) {
                const int64_t kept = find(threads, least[i], index ? 0.0 : 1e12, same);
                assert_memory_equal(same, want, sizeof same);
                assert_true(least[i] < 1.0 ? kept < CLIPS - CLIPS / 30 : kept == CLIPS);
            }
    }
}

/* Pairs that are just alike are found, too. */
static void test_edge(void **state)
{
    (void)state;
    static int64_t same[CLIPS];
    for (uint64_t i = 0; i < CLIPS; i++)
        make_view(10000 + i, i % 2 ? &views[i - 1] : NULL, 0.9001, &views[i]);
    assert_int_equal(find(2, 0.9, 0.0, same), CLIPS / 2);
    for (uint64_t i = 1; i < CLIPS; i += 2)
        make_view(20000 + i, &views[i - 1], 0.8999, &views[i]);
    assert_int_equal(find(2, 0.9, 0.0, same), CLIPS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_edge)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
