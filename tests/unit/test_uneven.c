/* SPDX-License-Identifier: MIT
 * Films whose frames do not stand evenly in time are told from those that only round their times; curation counts and names them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "data/curate.h"
#include "find_plugin.h"
#include "folder_context.h"
#include "media/film_read.h"
#include "media/media.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != MGEN_OK)                                                                     \
            fail_msg("%s", mgen_last_error(ctx));                                                  \
    } while (0)

#include "films_folder.h"

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

static uint8_t *load(const char *name, size_t *size)
{
    FILE *f = fopen(in_films(name), "rb");
    uint8_t *data = malloc(1 << 22);
    if (!f || !data)
        fail_msg("no %s", name);
    *size = fread(data, 1, 1 << 22, f);
    fclose(f);
    return data;
}

/* Whether it is, once `frames` frames were read, by one who begins with frame 0. */
static bool is_uneven(const char *name, int64_t frames)
{
    mgi_film *film;
    bool end = false;
    OK(mgi_film_open(ctx, in_films(name), &film));
    for (int64_t i = 0; i < frames && !end; i++)
        OK(mgi_film_next(film, NULL, &end));
    assert_int_equal(mgi_film_at(film), frames < COUNT ? frames : COUNT);
    const bool uneven = mgi_film_is_uneven(film);
    mgi_film_close(film);
    return uneven;
}

/* ---- times that are written into a file --------------------------------------------------------- */

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void set_u32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Frame i of a .mp4 lasts percent[i] of what it did. The muxer left room behind the index. */
static void set_durations(const char *name, const uint32_t percent[COUNT])
{
    static const char *const boxes[] = {"moov", "trak", "mdia", "minf", "stbl", "stts"};
    const uint32_t more = 8 * (COUNT - 1);
    size_t size;
    uint8_t *file = load(name, &size), *moov = memmem(file, size, "moov", 4);
    uint8_t *edits = memmem(file, size, "edts", 4);
    assert_non_null(moov);
    if (edits) /* they say how long all of it lasts */
        memcpy(edits, "free", 4);
    uint8_t *space = moov - 4 + get_u32(moov - 4), *times = memmem(moov, size - 64, "stts", 4);
    assert_memory_equal(space + 4, "free", 4);
    const uint32_t room = get_u32(space);
    assert_true(room > more + 8 && times && get_u32(times + 8) == 1);
    const uint32_t each = get_u32(times + 16);
    memmove(times + 20 + more, times + 20, (size_t)(space - (times + 20)));
    for (int i = 0; i < 6; i++) {
        uint8_t *box = memmem(moov, (size_t)(space - moov), boxes[i], 4);
        set_u32(box - 4, get_u32(box - 4) + more);
    }
    set_u32(times + 8, COUNT);
    for (int i = 0; i < COUNT; i++) {
        set_u32(times + 12 + 8 * i, 1);
        set_u32(times + 16 + 8 * i, each * percent[i] / 100);
    }
    set_u32(space + more, room - more);
    memcpy(space + more + 4, "free", 4);
    put_bytes(name, (const char *)file, size);
    free(file);
}

/* The frames of a .mkv with one cluster begin at `begin` ms, and those from number `from` on are `later` ms later. */
static void set_times(const char *name, uint8_t begin, int from, int later)
{
    static const uint8_t cluster[] = {0x1F, 0x43, 0xB6, 0x75};
    size_t size;
    uint8_t *file = load(name, &size), *end = file + size;
    uint8_t *at = memmem(file, size, cluster, 4);
    assert_true(at && !memmem(at + 4, size - (size_t)(at + 4 - file), cluster, 4));
    at += 4 + 1;
    at += __builtin_clz((uint32_t)at[-1] << 24 | 1);
    at += at[0] == 0xBF ? 6 : 0;                 /* a checksum, which nobody looks at */
    assert_true(at[0] == 0xE7 && at[1] == 0x81); /* its own time, of one byte */
    at[2] = begin;
    at += 3;
    int frames = 0;
    while (at < end && (at[0] == 0xA3 || at[0] == 0xA0)) {
        const int bytes = __builtin_clz((uint32_t)at[1] << 24 | 1) + 1;
        uint64_t length = at[1] & (0xFFU >> bytes);
        for (int i = 1; i < bytes; i++)
            length = length << 8 | at[1 + i];
        uint8_t *block = at + 1 + bytes;
        if (at[0] == 0xA0) { /* a group, with the block in it */
            assert_int_equal(block[0], 0xA1);
            block += 2 + __builtin_clz((uint32_t)block[1] << 24 | 1);
        }
        const int time = block[1] << 8 | block[2], moved = time + (frames++ >= from ? later : 0);
        block[1] = (uint8_t)(moved >> 8);
        block[2] = (uint8_t)moved;
        at += 1 + bytes + length;
    }
    assert_int_equal(frames, COUNT);
    put_bytes(name, (const char *)file, size);
    free(file);
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
    set_durations("a.mp4", percent);
    assert_true(is_uneven("a.mp4", COUNT + 1));
    assert_false(is_uneven("a.mp4", 2));
    for (int i = 0; i < COUNT; i++) /* a trembling clock */
        percent[i] = i % 2 ? 125 : 75;
    put_film("a.mp4", 30, 1, false);
    set_durations("a.mp4", percent);
    assert_false(is_uneven("a.mp4", COUNT + 1));
    for (int i = 0; i < COUNT; i++) /* the last frame lasts for no time */
        percent[i] = i < COUNT - 1 ? 100 : 1;
    put_film("a.mp4", 30, 1, false);
    set_durations("a.mp4", percent);
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
    set_times("a.mkv", 100, COUNT, 0); /* all of it later */
    assert_false(is_uneven("a.mkv", COUNT + 1));
    set_times("a.mkv", 0, CUT, 35);
    assert_false(is_uneven("a.mkv", COUNT + 1));
    set_times("a.mkv", 0, CUT, 15);
    assert_true(is_uneven("a.mkv", COUNT + 1));
    assert_false(is_uneven("a.mkv", CUT));
    set_times("a.mkv", 0, CUT, -200); /* not the times at which they are seen */
    assert_false(is_uneven("a.mkv", COUNT + 1));
    assert_int_equal(remove_all(films), 0);
}

/* ---- curation ----------------------------------------------------------------------------------- */

static char logged[8192];

static void keep_log(void *user, int32_t level, const char *text)
{
    const size_t used = strlen(logged);
    (void)user;
    snprintf(logged + used, sizeof logged - used, "%d %s\n", level, text);
}

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
    assert_null(strstr(logged, "variable"));
    for (int i = 0; i < COUNT; i++)
        percent[i] = i == CUT - 1 ? 600 : 100;
    put_film("b.mp4", 30, 1, true);
    set_durations("b.mp4", percent);
    assert_int_equal(curate(0, &funnel), MGEN_OK);
    assert_true(funnel.all_films == 3 && funnel.uneven == 1);
    assert_non_null(
        strstr(logged, "1 film of a variable frame rate is taken as even, the first is 'b.mp4'"));
    put_film("c.mp4", 30, 1, true);
    set_durations("c.mp4", percent);
    assert_int_equal(curate(2, &funnel),
                     MGEN_E_CANCELLED); /* what was seen is known the next time */
    assert_int_equal(curate(0, &funnel), MGEN_OK);
    assert_true(funnel.all_films == 4 && funnel.before == 2 && funnel.uneven == 2);
    assert_non_null(
        strstr(logged, "2 films of a variable frame rate are taken as even, the first is 'b.mp4'"));
    assert_non_null(strstr(logged, "-vf fps=30 NAME.mkv"));
    assert_int_equal(remove_all(films), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_even), cmocka_unit_test(test_mp4),
                                       cmocka_unit_test(test_matroska),
                                       cmocka_unit_test(test_curation)};
    return cmocka_run_group_tests_name("uneven", tests, make_folder_context, remove_folder_context);
}
