/* SPDX-License-Identifier: MIT
 * Buckets of the same clips at several rates: each of a folder's films is in that of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stage_runs.h"

#include "pair_films.h"
#include "train/buckets.h"

enum { FRAMES = 16 };

static mgi_bucket bucket(int64_t side, int64_t frames, int64_t fps)
{
    return (mgi_bucket){.width = side, .height = side, .frames = frames, .fps = fps, .weight = 1.0};
}

/* A letter for each film of each bucket that has some, in their order, which are told apart by their numbers. */
static void assert_divided(mgi_dataset *ds, const mgi_bucket *list, int64_t count,
                           const char *wanted)
{
    mgi_stage stage = tiny_text_to_video(1, 2);
    char is[200] = "";
    mgi_buckets b;
    stage.bucket_count = count;
    memcpy(stage.bucket, list, (size_t)count * sizeof *list);
    stage.images = -1.0;
    stage.clips = 32;
    OK(mgi_buckets_init(ctx, &stage, ds, 64, &b));
    for (int64_t i = 0; i < b.count; i++) {
        snprintf(is + strlen(is), sizeof is - strlen(is), "%s%d:", i ? " " : "",
                 (int)b.list[i].number);
        for (uint64_t k = 0; k < b.list[i].dataset->count; k++)
            snprintf(is + strlen(is), sizeof is - strlen(is), "%c",
                     b.list[i].dataset->films[k].name[0]);
    }
    mgi_buckets_free(ctx, &b);
    if (strcmp(is, wanted) != 0)
        fail_msg("'%s', not '%s'", is, wanted);
}

static void test_rates(void **state)
{
    (void)state;
    make_films(folder, "films");
    put_film_of("a.y4m", PAIR_SIDE, PAIR_SIDE, FRAMES, 1600, 20);
    put_film_of("b.y4m", PAIR_SIDE, PAIR_SIDE, FRAMES, 1999, 30);
    put_film_of("c.y4m", PAIR_SIDE, PAIR_SIDE, FRAMES, 2398, 40);
    put_film_of("d.y4m", PAIR_SIDE, PAIR_SIDE, FRAMES, 6000, 50);
    put_film_of("e.y4m", PAIR_SIDE, PAIR_SIDE, 9, 2400, 60); /* too short for the others' */
    mgi_dataset *ds;
    OK(open_films_of(PAIR_SIDE, 9, &ds));
    const mgi_bucket two[] = {bucket(48, FRAMES, 16), bucket(48, FRAMES, 24), bucket(48, 9, 30)};
    assert_divided(ds, two, 3, "1:a 2:bcd 3:e"); /* 20 is nearer to 24: 1.2 times */
    const mgi_bucket own[] = {bucket(48, FRAMES, 0), bucket(48, FRAMES, 24), bucket(48, 9, 0)};
    assert_divided(
        ds, own, 3,
        "1:abcd 2:abcd 3:e"); /* the first is of any rate, no other is as near as the second */
    const mgi_bucket sizes[] = {bucket(48, FRAMES, 24), bucket(32, FRAMES, 24),
                                bucket(32, FRAMES, 60), bucket(48, 9, 60)};
    assert_divided(ds, sizes, 4, "1:abc 2:abc 3:d 4:e");
    const mgi_bucket none[] = {bucket(48, FRAMES, 16), bucket(48, FRAMES, 240), bucket(48, 9, 0)};
    assert_divided(ds, none, 3, "1:abcd 3:e"); /* 60 is 3.75 times 16, and a quarter of 240 */
    const mgi_bucket pictures[] = {bucket(48, 1, 16), bucket(32, 1, 24), bucket(48, 9, 0)};
    assert_divided(ds, pictures, 3, "1:abcde 2:abcde 3:abcde");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rates)};
    return cmocka_run_group_tests_name("bucket_rates", tests, make_context_and_folder,
                                       free_context_and_folder);
}
