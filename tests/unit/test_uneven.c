/* SPDX-License-Identifier: MIT
 * Films whose frames do not stand evenly in time are told from those that only round their times; curation counts and names them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "data/clip_list.h"
#include "data/curate.h"
#include "data/folder.h"
#include "find_plugin.h"
#include "folder_context.h"
#include "logged.h"
#include "media/film_read.h"
#include "media/media.h"

#include "film_times.h"
#include "ok.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { W = 96, H = 64, FRAME = W * H * 3, COUNT = 60, CUT = 30 };

static void make_films(const char *name)
{
    snprintf(films, sizeof films, "%.100s/%.40s", folder, name);
    assert_int_equal(mkdir(films, 0700), 0);
}

/* A block that moves over a checkered ground; `cut`: that becomes darker with frame CUT, which encoders make a keyframe, so that none
 * before it is written after it. */
static void put_film(const char *name, uint32_t fps_num, uint32_t fps_den, bool cut)
{
    uint8_t *rgb = malloc((size_t)COUNT * FRAME), *at = rgb;
    assert_non_null(rgb);
    for (int f = 0; f < COUNT; f++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++, at += 3)
                memset(at,
                       y >= 20 && y < 44 && x >= 8 + f && x < 32 + f
                           ? 230
                           : (cut && f >= CUT ? 10 : 90) + 20 * ((x / 9 + y / 7) % 2),
                       3);
    const mgi_frames frames = {rgb, W, H, COUNT, fps_num, fps_den};
    OK(mgi_frames_write(ctx, in_films(name), &frames));
    free(rgb);
}

static bool out_of_order; /* times do not rise, which packets alone do not tell */

/* Whether it is, once `frames` frames were read, by one who begins with frame 0; as their packets tell before that. */
static bool is_uneven(const char *name, int64_t frames)
{
    mgi_film *film;
    mgi_film_info info;
    bool end = false, told;
    OK(mgi_film_open(ctx, in_films(name), &film));
    for (int64_t i = 0; i < frames && !end; i++)
        OK(mgi_film_next(film, NULL, &end));
    assert_int_equal(mgi_film_at(film), frames < COUNT ? frames : COUNT);
    const bool uneven = mgi_film_is_uneven(film);
    mgi_film_close(film);
    OK(mgi_film_tell_even(ctx, in_films(name), frames, &info, &told));
    if (told != uneven && !out_of_order)
        fail_msg("%s, %d frames: by packets %d, by frames %d", name, (int)frames, told, uneven);
    return uneven;
}

/* ---- films -------------------------------------------------------------------------------------- */

static void test_even(void **state)
{
    static const char *const names[] = {"a.mp4", "a.mov", "a.mkv", "a.webm",
                                        "a.avi", "a.gif", "a.y4m"};
    static const uint32_t rates[][2] = {{24000, 1001}, {25, 1}, {30000, 1001}, {16, 1}, {100, 1}};
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films("even");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (size_t k = 0; k < sizeof rates / sizeof rates[0]; k++) {
            if (!strcmp(names[i], "a.gif") && 100 % rates[k][0]) /* it has hundredths of seconds */
                continue;
            put_film(names[i], rates[k][0], rates[k][1], false);
            if (is_uneven(names[i], COUNT + 1))
                fail_msg("%s of %u/%u", names[i], rates[k][0], rates[k][1]);
        }
    assert_int_equal(remove_all(films), 0);
}

static void test_mp4(void **state)
{
    uint32_t percent[COUNT];
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films("mp4");
    for (int i = 0; i < COUNT; i++) /* the camera was busy */
        percent[i] = i == CUT - 1 ? 600 : 100;
    put_film("a.mp4", 30, 1, true);
    set_durations("a.mp4", percent, COUNT);
    assert_true(is_uneven("a.mp4", COUNT + 1));
    assert_false(is_uneven("a.mp4", 2));
    for (int i = 0; i < COUNT; i++) /* a trembling clock */
        percent[i] = i % 2 ? 125 : 75;
    put_film("a.mp4", 30, 1, false);
    set_durations("a.mp4", percent, COUNT);
    assert_false(is_uneven("a.mp4", COUNT + 1));
    for (int i = 0; i < COUNT; i++) /* the last frame lasts for no time */
        percent[i] = i < COUNT - 1 ? 100 : 1;
    put_film("a.mp4", 30, 1, false);
    set_durations("a.mp4", percent, COUNT);
    assert_false(is_uneven("a.mp4", COUNT + 1));
    assert_int_equal(remove_all(films), 0);
}

static void test_matroska(void **state)
{
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films("mkv");
    put_film("a.mkv", 24000, 1001, true);
    set_times("a.mkv", 100, COUNT, 0, COUNT); /* all of it later */
    assert_false(is_uneven("a.mkv", COUNT + 1));
    set_times("a.mkv", 0, CUT, 35, COUNT);
    assert_false(is_uneven("a.mkv", COUNT + 1));
    set_times("a.mkv", 0, CUT, 15, COUNT);
    assert_true(is_uneven("a.mkv", COUNT + 1));
    assert_false(is_uneven("a.mkv", CUT));
    set_times("a.mkv", 0, CUT, -200, COUNT); /* not the times at which they are seen */
    out_of_order = true;
    assert_false(is_uneven("a.mkv", COUNT + 1));
    out_of_order = false;
    assert_int_equal(remove_all(films), 0);
}

/* Films that tell no rate have that of their frames' times. */
static void test_untold(void **state)
{
    static const char *const names[] = {"a.mkv", "a.webm"};
    static const uint32_t rates[][2] = {{24000, 1001}, {25, 1}, {30000, 1001}, {30, 1},
                                        {16, 1},       {60, 1}, {60000, 1001}, {18, 1}};
    mgi_film_info info;
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films("untold");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (size_t k = 0; k < sizeof rates / sizeof rates[0]; k++) {
            put_film(names[i], rates[k][0], rates[k][1], false);
            take_rate(names[i]);
            OK(mgi_film_tell(ctx, in_films(names[i]), &info));
            const double rate = (double)rates[k][0] / rates[k][1], told = mgi_film_rate(&info);
            /* in a second or two, times in milliseconds do not tell 24 from 23.976 */
            if (fabs(told / rate - 1.0) > 0.0011 || is_uneven(names[i], COUNT + 1))
                fail_msg("%s of %u/%u seems to be of %g", names[i], rates[k][0], rates[k][1], told);
        }
    put_film("a.mkv", 30, 1, true);
    take_rate("a.mkv");
    set_times("a.mkv", 0, CUT, 400, COUNT);
    assert_true(is_uneven("a.mkv", COUNT + 1)); /* of a mean rate */
    assert_int_equal(remove_all(films), 0);
}

/* ---- curation ----------------------------------------------------------------------------------- */

static bool stop_at(void *user, int64_t done, int64_t total)
{
    (void)total;
    return done == *(int64_t *)user;
}

static mgen_status curate(int64_t stop, mgi_curate_funnel *funnel)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *own;
    char list[320];
    params.threads = 1;
    params.log = keep_log;
    logged[0] = '\0';
    assert_int_equal(mgi_context_init(&own, &params), MGEN_OK);
    assert_true(find_plugin(own));
    snprintf(list, sizeof list, "%s/list.jsonl", films);
    mgen_status status = mgi_curate_folder(own, films, "toybox", list, stop_at, &stop, funnel);
    mgi_context_free(own);
    return status;
}

/* How many frames of a film the list says are where they should be; 0 if nothing. */
static int64_t listed_even(const char *name)
{
    mgi_clip_line *lines;
    int64_t count, even = -1;
    size_t size;
    uint8_t *text = load_film("list.jsonl", &size);
    OK(mgi_clip_list_read(ctx, "list", (const char *)text, size, &lines, &count));
    for (int64_t i = 0; i < count; i++)
        if (!strcmp(lines[i].file, name))
            even = lines[i].even;
    mgi_clip_list_free(ctx, lines, count);
    free(text);
    return even;
}

/* As many as decoding all of it tells, up to the end of its clip. */
static int64_t known_frames(const char *name)
{
    mgi_film *film;
    mgi_film_known known;
    bool end = false;
    OK(mgi_film_open(ctx, in_films(name), &film));
    while (!end)
        OK(mgi_film_next(film, NULL, &end));
    mgi_film_what_is_known(film, &known);
    mgi_film_close(film);
    return known.frames;
}

static void test_curation(void **state)
{
    uint32_t percent[COUNT];
    mgi_curate_funnel funnel;
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films("curation");
    put_film("a.mkv", 24000, 1001, false);
    put_film("d.y4m", 16, 1, false);
    assert_int_equal(curate(0, &funnel), MGEN_OK);
    assert_true(funnel.all_films == 2 && funnel.uneven == 0);
    assert_int_equal(listed_even("a.mkv"), known_frames("a.mkv"));
    assert_null(strstr(logged, "variable"));
    for (int i = 0; i < COUNT; i++)
        percent[i] = i == CUT - 1 ? 600 : 100;
    put_film("b.mp4", 30, 1, true);
    set_durations("b.mp4", percent, COUNT);
    assert_int_equal(curate(0, &funnel), MGEN_OK);
    assert_true(funnel.all_films == 3 && funnel.uneven == 1);
    assert_non_null(
        strstr(logged, "1 film of a variable frame rate is taken as even, the first is 'b.mp4'"));
    put_film("c.mp4", 30, 1, true);
    set_durations("c.mp4", percent, COUNT);
    assert_int_equal(curate(2, &funnel),
                     MGEN_E_CANCELLED); /* what was seen is known the next time */
    assert_int_equal(curate(0, &funnel), MGEN_OK);
    assert_true(funnel.all_films == 4 && funnel.before == 2 && funnel.uneven == 2);
    assert_int_equal(listed_even("a.mkv"), known_frames("a.mkv")); /* remembered, too */
    assert_non_null(
        strstr(logged, "2 films of a variable frame rate are taken as even, the first is 'b.mp4'"));
    assert_non_null(strstr(logged, "-vf fps=30 NAME.mkv"));
    assert_int_equal(remove_all(films), 0);
}

/* ---- films that are trained on as they are ------------------------------------------------------ */

static int count_warnings(void)
{
    int n = 0;
    for (const char *at = logged; (at = strstr(at, "of a variable frame rate")); at++)
        n++;
    return n;
}

/* Opened, and looked at twice, as a stage does before it begins; each film is told of once, with frames that are asked for. */
static void look_at(mgen_context *own, uint32_t frames, int told, const char *part)
{
    const mgi_folder_lengths lengths = {.most = COUNT, .least = 1, .least_picture = 1};
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgi_folder_measure films_are[8];
    mgi_dataset *ds;
    logged[0] = '\0';
    p.width = p.height = 16;
    p.frames = frames;
    if (mgi_dataset_folder(own, films, &p, &ds) != MGEN_OK)
        fail_msg("%s", mgen_last_error(own));
    assert_int_equal(mgi_dataset_check_frames(own, ds), MGEN_OK);
    assert_int_equal(mgi_dataset_check_frames(own, ds), MGEN_OK);
    assert_int_equal(count_warnings(), told);
    assert_true(!told || strstr(logged, part));
    assert_true(ds->count <= 8);
    assert_int_equal(mgi_folder_measure_films(own, ds, &lengths, films_are), MGEN_OK);
    mgi_dataset_release(ds);
}

static void test_folder(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    uint32_t percent[COUNT];
    mgen_context *own;
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films("folder");
    params.threads = 1;
    params.log = keep_log;
    assert_int_equal(mgi_context_init(&own, &params), MGEN_OK);
    assert_true(find_plugin(own));
    put_film("a.mkv", 24000, 1001, false);
    put_film("d.y4m", 16, 1, false);
    look_at(own, COUNT, 0, "");
    assert_int_equal(count_warnings(), 0);
    for (int i = 0; i < COUNT; i++) /* as fast as is told on average, late in the end */
        percent[i] = i == CUT + 9 ? 400 : i > CUT + 9 && i < CUT + 14 ? 25 : 100;
    put_film("b.mp4", 30, 1, true);
    set_durations("b.mp4", percent, COUNT);
    put_film("c.mp4", 30, 1, true);
    set_durations("c.mp4", percent, COUNT);
    look_at(own, COUNT, 1,
            "2 films of a variable frame rate are taken as even, the first is 'b.mp4'");
    assert_non_null(strstr(logged, "-vf fps=30 NAME.mkv"));
    assert_int_equal(count_warnings(), 1);
    look_at(own, CUT, 0, "");              /* frames that are not asked for do no harm */
    assert_int_equal(count_warnings(), 1); /* by a stage that asks for longer ones */
    put_text("clips.jsonl", "{\"file\": \"b.mp4\", \"first\": 0, \"frames\": 60}\n");
    look_at(own, COUNT, 0, ""); /* curation has told */
    assert_int_equal(count_warnings(), 0);
    mgi_context_free(own);
    assert_int_equal(remove_all(films), 0);
}

/* What is passed over is told when a folder is opened, not for each size that its films are scaled to. */
static void test_passed_over(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    static const char told[] = "1 of the files in '";
    mgen_context *own;
    mgi_dataset *ds, *sized;
    (void)state;
    make_films("folder");
    params.threads = 1;
    params.log = keep_log;
    assert_int_equal(mgi_context_init(&own, &params), MGEN_OK);
    put_film("d.y4m", 16, 1, false);
    put_text("e.mts", "of a camera");
    logged[0] = '\0';
    p.width = p.height = p.frames = 16;
    assert_int_equal(mgi_dataset_folder(own, films, &p, &ds), MGEN_OK);
    assert_non_null(strstr(logged, told));
    logged[0] = '\0';
    assert_int_equal(mgi_dataset_sized(own, ds, 24, 24, 16, 0, &sized), MGEN_OK);
    assert_null(strstr(logged, told));
    mgi_dataset_release(sized);
    mgi_dataset_release(ds);
    mgi_context_free(own);
    assert_int_equal(remove_all(films), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_even),       cmocka_unit_test(test_mp4),
        cmocka_unit_test(test_matroska),   cmocka_unit_test(test_curation),
        cmocka_unit_test(test_folder),     cmocka_unit_test(test_untold),
        cmocka_unit_test(test_passed_over)};
    return cmocka_run_group_tests_name("uneven", tests, make_folder_context, remove_folder_context);
}
