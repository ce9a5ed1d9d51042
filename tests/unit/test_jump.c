/* SPDX-License-Identifier: MIT
 * Frames behind a jump to a keyframe are the very ones that decoding from the beginning gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "core/philox.h"
#include "data/dataset.h"
#include "find_plugin.h"
#include "folder_context.h"
#include "logged.h"
#include "media/film_read.h"
#include "media/media.h"

#include "film_times.h"
#include "ok.h"
#include "pair_films.h"

enum { W = 48, H = 32, FRAME = W * H * 3, COUNT = 300, SCENE = 45 };

/* Scenes, each with a field that moves over another ground: encoders begin them with keyframes, and have B-frames between. */
static void draw(uint8_t *rgb)
{
    for (int f = 0; f < COUNT; f++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++, rgb += 3) {
                const int scene = f / SCENE, at = (f % SCENE) / 2;
                const bool in = x >= at && x < at + 12 && y >= 8 && y < 24;
                const uint32_t noise = mgi_random_u32(3, (uint64_t)scene, (uint64_t)(y * W + x));
                for (int k = 0; k < 3; k++)
                    rgb[k] = (uint8_t)((in ? 200 : 60) + 25 * ((scene + k) % 3) +
                                       (int)(noise >> 8 * k & 15));
            }
}

static uint8_t *make_film(const char *name, uint32_t fps_num, uint32_t fps_den)
{
    uint8_t *rgb = malloc((size_t)COUNT * FRAME);
    assert_non_null(rgb);
    draw(rgb);
    const mgi_frames f = {rgb, W, H, COUNT, fps_num, fps_den};
    OK(mgi_frames_write(ctx, in_films(name), &f));
    free(rgb);
    mgi_film_info info;
    uint8_t *all;
    OK(mgi_film_read(ctx, in_films(name), 0, 0, &all, &info));
    assert_int_equal(info.frames, COUNT);
    return all;
}

/* What is known of a film once its first `frames` frames were read. */
static mgi_film_known know(const char *name, int64_t frames)
{
    mgi_film *film;
    mgi_film_known known;
    bool end = false;
    OK(mgi_film_open(ctx, in_films(name), &film));
    for (int64_t i = 0; i < frames && !end; i++)
        OK(mgi_film_next(film, NULL, &end));
    mgi_film_what_is_known(film, &known);
    mgi_film_close(film);
    return known;
}

/* From `frame` on to the film's end, past what is known; the frame of the keyframe that it went to. */
static int64_t read_from(const char *name, const mgi_film_known *known, int64_t frame,
                         const uint8_t *all)
{
    mgi_film *film;
    uint8_t *rgb = malloc(FRAME);
    bool end = false;
    assert_non_null(rgb);
    OK(mgi_film_open(ctx, in_films(name), &film));
    OK(mgi_film_jump(film, known, frame));
    const int64_t began = mgi_film_at(film);
    assert_in_range(began, 0, frame);
    for (int64_t i = began; !end; i++) {
        assert_int_equal(mgi_film_at(film), i);
        OK(mgi_film_next(film, i < frame ? NULL : rgb, &end));
        assert_int_equal(end, i == COUNT);
        if (!end && i >= frame && memcmp(rgb, all + i * FRAME, FRAME) != 0)
            fail_msg("%s: frame %d behind a jump to %d for %d", name, (int)i, (int)began,
                     (int)frame);
    }
    mgi_film_close(film);
    free(rgb);
    return began;
}

static void test_same_frames(void **state)
{
    static const struct {
        const char *name;
        uint32_t num, den;
        bool jumps;
    } kinds[] = {{"a.mp4", 25, 1, true},  {"a.mov", 30000, 1001, true},
                 {"a.mkv", 24, 1, true},  {"b.mkv", 30000, 1001, true},
                 {"a.webm", 16, 1, true}, {"a.avi", 25, 1, false}};
    static const int places[] = {1,   16,  44,  45,  46,  89,  90,  100, 134, 150,
                                 179, 181, 224, 226, 250, 269, 271, 290, 298, 299};
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films(folder, "jumps");
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        uint8_t *all = make_film(kinds[k].name, kinds[k].num, kinds[k].den);
        const mgi_film_known known = know(kinds[k].name, COUNT), part = know(kinds[k].name, 200);
        int64_t saved = 0, most = 0;
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
            const int64_t began = read_from(kinds[k].name, &known, places[i], all);
            saved += began;
            most += places[i];
        }
        for (int at = 150; at < 210; at += 29) /* and on, to what is not known */
            assert_true(read_from(kinds[k].name, &part, at, all) == 0 || at < 200);
        print_message("%s: %d of %d frames known, %d of %d not decoded\n", kinds[k].name,
                      (int)known.frames, COUNT, (int)saved, (int)most);
        if (known.frames) /* else this FFmpeg writes another codec, and all is decoded */
            assert_true(kinds[k].jumps && known.frames == COUNT && 4 * saved > most);
        else
            assert_int_equal(saved, 0);
        mgi_free(ctx, all);
    }
    assert_int_equal(remove_all(films), 0);
}

/* What is said to be known and is not: the frames are the same, decoded from the beginning. */
static void test_wrong(void **state)
{
    static const mgi_film_known wrong[] = {{1, COUNT},      {512, COUNT},     {-512, COUNT},
                                           {0, 10 * COUNT}, {1 << 20, COUNT}, {INT32_MIN, COUNT}};
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films(folder, "wrong");
    uint8_t *all = make_film("a.mp4", 25, 1), *other = make_film("b.mp4", 30, 1);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        read_from("a.mp4", &wrong[i], 200, all);
    const mgi_film_known known = know("a.mp4", COUNT);
    read_from("b.mp4", &known, 200, other); /* another file in its place */
    mgi_free(ctx, all);
    mgi_free(ctx, other);
    assert_int_equal(remove_all(films), 0);
}

/* Clips of a list, read again and again. */
static void test_clips(void **state)
{
    enum { FRAMES = 16 };
    static uint8_t first[3][FRAMES * 16 * 16 * 3], again[FRAMES * 16 * 16 * 3];
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgi_dataset *ds;
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films(folder, "clips");
    mgi_free(ctx, make_film("a.mp4", 25, 1));
    put_text("clips.jsonl", "{\"file\": \"a.mp4\", \"first\": 0, \"frames\": 45}\n"
                            "{\"file\": \"a.mp4\", \"first\": 225, \"frames\": 45}\n"
                            "{\"file\": \"a.mp4\", \"first\": 100, \"frames\": 30}\n");
    p.width = p.height = 16;
    p.frames = FRAMES;
    OK(mgi_dataset_folder(ctx, films, &p, &ds));
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 3; i++) {
            OK(mgi_dataset_sample(ctx, ds, (uint64_t)i, round ? again : first[i], NULL));
            if (round)
                assert_memory_equal(again, first[i], sizeof again);
        }
    for (int i = 0; i < 3; i++)
        assert_true(atomic_load(&ds->films[i].known_frames) >= 225 + FRAMES);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* ---- what a list says of films ------------------------------------------------------------------ */

enum { PIECE = 16, SMALL = PIECE * 16 * 16 * 3, CLIPS = 3 };
static const int begins[CLIPS] = {230, 150, 95};
/* A list of clips of a film, which says that; NULL: nothing. */
static mgi_dataset *open_list(const char *name, const mgi_film_known *said)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    char text[CLIPS * 160], more[80] = "";
    size_t used = 0;
    mgi_dataset *ds;
    if (said)
        snprintf(more, sizeof more, ", \"even\": %d, \"even_from\": %d", (int)said->frames,
                 (int)said->base);
    for (int i = 0; i < CLIPS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "{\"file\": \"%s\", \"first\": %d, \"frames\": %d%s}\n", name,
                                 begins[i], PIECE, more);
    put_text("clips.jsonl", text);
    p.width = p.height = 16;
    p.frames = PIECE;
    OK(mgi_dataset_folder(ctx, films, &p, &ds));
    return ds;
}

/* Frames are those that a list gives which says nothing; whether it was believed, else a warning said so, once. */
static bool reads_same(const char *name, const mgi_film_known *said)
{
    static uint8_t rgb[SMALL], want[CLIPS][SMALL];
    mgi_dataset *ds;
    for (int i = 0; i < CLIPS; i++) { /* each by decoding all before it */
        ds = open_list(name, NULL);
        OK(mgi_dataset_sample(ctx, ds, (uint64_t)i, want[i], NULL));
        mgi_dataset_release(ds);
    }
    logged[0] = '\0';
    ds = open_list(name, said);
    for (int i = 0; i < CLIPS; i++) {
        OK(mgi_dataset_sample(ctx, ds, (uint64_t)i, rgb, NULL));
        if (memcmp(rgb, want[i], SMALL) != 0)
            fail_msg("%s, %d even from %d: other frames of clip %d", name, (int)said->frames,
                     (int)said->base, i);
    }
    const bool believed = atomic_load(&ds->films[1].said_frames) != 0;
    if (believed) /* by decoding, as many would be known as were read */
        assert_int_equal(atomic_load(&ds->films[1].known_frames), said->frames);
    const char *warning = strstr(logged, "is not as 'clips.jsonl' has it");
    assert_int_equal(!warning, believed);
    assert_true(!warning || !strstr(warning + 1, "is not as"));
    mgi_dataset_release(ds);
    return believed;
}

/* Frames of a .mp4 at other times: frame 60 lasts twice as long, and 200 and 201 half, so that its rate is the same. */
static void put_gap(const char *name)
{
    uint32_t percent[COUNT];
    for (int i = 0; i < COUNT; i++)
        percent[i] = i == 60 ? 200 : i == 200 || i == 201 ? 50 : 100;
    set_durations(name, percent, COUNT);
}

static void test_said(void **state)
{
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films(folder, "said");
    ctx->log = keep_log;
    mgi_free(ctx, make_film("a.mp4", 25, 1));
    mgi_free(ctx, make_film("b.mp4", 30, 1));
    mgi_free(ctx, make_film("c.mkv", 30000, 1001));
    const mgi_film_known a = know("a.mp4", COUNT), c = know("c.mkv", COUNT);
    mgi_film_known said = {a.base, begins[0] + PIECE};
    const bool known = a.frames == COUNT && c.frames == COUNT; /* else encoders are others */
    assert_true(!known || (reads_same("a.mp4", &said) && reads_same("c.mkv", &c)));
    const mgi_film_known wrong[] = {
        {a.base, COUNT + 1},   {a.base, INT32_MAX},   {a.base + 1, COUNT},
        {a.base + 512, COUNT}, {a.base - 512, COUNT}, {MGI_FILM_TIME_MAX / (1 << 18), COUNT},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(reads_same("a.mp4", &wrong[i]));
    reads_same("b.mp4", &a); /* another film, whose frames perhaps stand alike */
    reads_same("c.mkv", &a);
    put_gap("a.mp4");
    const mgi_film_known gap = know("a.mp4", COUNT);
    assert_true(!known || (gap.frames > 0 && gap.frames < 100));
    assert_false(reads_same("a.mp4", &(mgi_film_known){gap.base, COUNT}));
    ctx->log = NULL;
    assert_int_equal(remove_all(films), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_frames),
                                       cmocka_unit_test(test_wrong), cmocka_unit_test(test_clips),
                                       cmocka_unit_test(test_said)};
    return cmocka_run_group_tests_name("jumps", tests, make_folder_context, remove_folder_context);
}
