/* SPDX-License-Identifier: MIT
 * Clips encoded by ranks, each its part: the bits of one rank, its captions and its failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "latents_ranks.h"

/* Drawn; read from the host, with captions; in tiles, one by one; edits, and in tiles; both of the host's. */
static void test_shared(void **state)
{
    (void)state;
    static const way ways[] = {{false, 0, -1, -1},       {true, 0, -1, -1},
                               {false, 8, -1, -1},       {false, 0, -1, -1, true},
                               {false, 8, -1, -1, true}, {true, 0, -1, -1, true},
                               {true, 8, -1, -1, true}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        world all;
        run_way(ways[i], 1, &all);
        assert_int_equal(all.ranks[0].status, MGEN_OK);
        end_ranks(&all);
        int64_t total = truth.clips + truth.held;
        assert_int_equal(encoded[0], total);
        for (int size = 2; size <= 4; size += 2) {
            run_way(ways[i], size, &all);
            for (int r = 0; r < size; r++) {
                assert_int_equal(all.ranks[r].status, MGEN_OK);
                assert_in_range(encoded[r], 1, total * 2 / size);
            }
            end_ranks(&all);
            assert_int_equal(sum_encoded(size), total);
        }
        forget();
    }
}

/* The first rank keeps them; whoever has them sends them to the others. */
static void test_cache(void **state)
{
    (void)state;
    world all;
    static const int has[] = {RANKS, RANKS, 2, 0};
    for (int edits = 0; edits < 2; edits++) {
        run_way((way){false, 0, -1, -1, edits}, 1, &all);
        end_ranks(&all);
        for (size_t i = 0; i < sizeof has / sizeof has[0]; i++) {
            run_way((way){false, 0, has[i], -1, edits}, 4, &all);
            for (int r = 0; r < 4; r++)
                assert_int_equal(all.ranks[r].status, MGEN_OK);
            end_ranks(&all);
            assert_int_equal(sum_encoded(4), i ? 0 : truth.clips + truth.held);
        }
        forget();
    }
}

/* Who has them reads them for the others, until that fails: all are told, and are good for more. */
static void test_send_fails(void **state)
{
    (void)state;
    world all;
    const way w = {false, 0, 1, -1};
    run_way((way){false, 0, -1, -1}, 1, &all);
    end_ranks(&all);
    run_way((way){false, 0, 0, -1}, 1, &all); /* keeps them */
    end_ranks(&all);
    run_way(w, 3, &all);
    end_ranks(&all);
    const int most = read_most;
    for (fails = most; fails > most - 10; fails -= 9) {
        run_way(w, 3, &all);
        for (int r = 0; r < 3; r++) {
            assert_int_equal(all.ranks[r].status, MGEN_E_IO);
            assert_int_equal(all.ranks[r].later, MGEN_OK);
            assert_says(&all.ranks[r], "cannot read");
        }
        end_ranks(&all);
    }
    fails = 0;
    forget();
}

/* What is kept is read from its file; what others sent, or what the host reads, stays in scratch; both are the bits that
 * lie in memory without a folder. */
static void test_where(void **state)
{
    (void)state;
    static const struct {
        way way;
        int ranks;
        bool encoded;
    } steps[] = {{{false, 0, -1, -1, false, MANY, true, "m"}, 1, true},
                 {{false, 0, 0, -1, false, MANY, false, "k"}, 1, true},
                 {{false, 0, 0, -1, false, MANY, true, "k"}, 1, false},
                 {{false, 0, 0, -1, false, MANY, true, "km"}, 2, false},
                 {{false, 0, RANKS, -1, false, MANY, true, "kk"}, 2, false},
                 {{false, 8, RANKS, -1, false, MANY, true, "ks"}, 2, true},
                 {{true, 0, RANKS, -1, false, MANY, false, "mm"}, 2, true},
                 {{true, 0, RANKS, -1, false, MANY, true, "ss"}, 2, true}};
    world all;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (steps[i].ranks > 1 && steps[i].encoded) {
            way alone = steps[i].way;
            alone.has_cache = -1;
            strcpy(alone.where, "m");
            run_way(alone, 1, &all);
            end_ranks(&all);
        }
        run_way(steps[i].way, steps[i].ranks, &all);
        for (int r = 0; r < steps[i].ranks; r++)
            assert_int_equal(all.ranks[r].status, MGEN_OK);
        end_ranks(&all);
        assert_int_equal(sum_encoded(steps[i].ranks) > 0, steps[i].encoded);
        assert_only_kept();
    }
}

/* Where no scratch file can be made, clips lie in memory. */
static void test_no_scratch(void **state)
{
    (void)state;
    const struct rlimit small = {4096, RLIM_INFINITY};
    struct rlimit before;
    char nowhere[200];
    world all;
    run_way((way){false, 0, -1, -1, false, 60, true, "m"}, 1, &all);
    end_ranks(&all);
    snprintf(nowhere, sizeof nowhere, "%s/none/cache", folder);
    cache_dir = nowhere;
    run_way((way){false, 0, RANKS, -1, false, 60, true, "mm"}, 2, &all);
    for (int r = 0; r < 2; r++)
        assert_int_equal(all.ranks[r].status, MGEN_OK);
    end_ranks(&all);
    cache_dir = folder;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    run_way((way){false, 0, RANKS, -1, false, 60, true, "mm"}, 2, &all);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    for (int r = 0; r < 2; r++)
        assert_int_equal(all.ranks[r].status, MGEN_OK);
    end_ranks(&all);
    run_way((way){false, 0, RANKS, -1, false, 60, true, "ks"}, 2,
            &all); /* what is left of that goes */
    end_ranks(&all);
    assert_only_kept();
    forget();
}

/* One that is stopped stops all, and they are good for more. */
static void test_stopped(void **state)
{
    (void)state;
    world all;
    run_way((way){false, 0, -1, 1}, 3, &all);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(all.ranks[r].status, MGEN_E_CANCELLED);
        assert_int_equal(all.ranks[r].later, MGEN_OK);
        if (r != 1)
            assert_says(&all.ranks[r], "rank 1: ");
    }
    end_ranks(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared),     cmocka_unit_test(test_cache),
        cmocka_unit_test(test_where),      cmocka_unit_test(test_no_scratch),
        cmocka_unit_test(test_send_fails), cmocka_unit_test(test_stopped)};
    return cmocka_run_group_tests_name("latents", tests, make_folder, remove_folder);
}
