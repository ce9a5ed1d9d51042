/* SPDX-License-Identifier: MIT
 * Frame rates in the captions of a folder's films: each film's own, or a bucket's, of every kind of stage that has prompts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "begun_models.h"
#include "pair_films.h"
#include "task/pipeline.h"

enum { FILMS = 12, HELD = 1, FRAMES = 9 };

/* Of film i, in hundredths; what a prompt tells of it. Most have 25. */
static const int hundredths[FILMS] = {2500, 2398, 2500, 5000,  2997, 2500,
                                      30,   2500, 2450, 90000, 2449, 2500};
static const int told[FILMS] = {25, 24, 25, 50, 30, 25, 1, 25, 25, 240, 24, 25};
enum {
    MOST = 25,
    SILENT = 3,
    TOLD = 5
}; /* a film without a caption; one whose caption has a rate */

static void put_films(void)
{
    uint8_t face[16 * 16 * 3];
    char name[32], text[64];
    memset(face, 100, sizeof face);
    for (int i = 0; i < FILMS; i++) {
        const mgi_frames photo = {face, 16, 16, 1, 1, 1};
        snprintf(name, sizeof name, "%02d.y4m", i);
        put_film_of(name, PAIR_SIDE, PAIR_SIDE, PAIR_FRAMES, (uint32_t)hundredths[i], 20);
        snprintf(name, sizeof name, "%02d.face.png", i);
        OK(mgi_frames_write(ctx, in_films(name), &photo));
        snprintf(name, sizeof name, "%02d.txt", i);
        snprintf(text, sizeof text, "%sa square", i == TOLD ? "FPS-9 " : "");
        if (i != SILENT)
            put_text(name, text);
    }
}

/* What is told of a film: `fps` of the bucket, 0: the film's own, -1: nothing. */
static void assert_told(const char *caption, uint64_t film, int fps)
{
    char want[64];
    if (film == SILENT)
        want[0] = '\0';
    else if (film == TOLD)
        strcpy(want, "FPS-9 a square");
    else if (fps < 0)
        strcpy(want, "a square");
    else
        snprintf(want, sizeof want, "FPS-%d a square", fps ? fps : told[film]);
    assert_string_equal(caption, want);
}

static mgi_stage stage_of(int kind)
{
    mgi_stage s = kind == MGI_STAGE_UPSAMPLER      ? tiny_upsampler(1, 2)
                  : kind == MGI_STAGE_PERSONALIZER ? tiny_personalizer(1, 2)
                                                   : tiny_text_to_video(1, 2);
    s.bucket_count = 3;
    for (int i = 0; i < 3; i++)
        s.bucket[i] = (mgi_bucket){.width = PAIR_SIDE,
                                   .height = PAIR_SIDE,
                                   .frames = i == 2                        ? 1
                                             : kind == MGI_STAGE_UPSAMPLER ? 4
                                                                           : FRAMES,
                                   .fps = i == 1 ? 12 : 0,
                                   .weight = 1.0};
    s.images = -1.0;
    s.clips = FILMS;
    return s;
}

static int64_t encoded; /* clips, as was told last */

static int32_t count_clips(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user, (void)total;
    if (!strcmp(what, "encoding clips"))
        encoded = (int64_t)done;
    return 0;
}

static mgen_status create_kept(const mgi_stage *stage, mgi_dataset *ds, struct mgi_stage_run **run)
{
    const mgi_stage_params p = {
        .stage = stage, .dir = folder, .seed = 5, .dataset = ds, .cache_dir = films};
    encoded = 0;
    return mgi_stage_text_to_video.create(ctx, &p, run);
}

static void check_captions(const struct mgi_stage_run *run, mgi_dataset *ds, bool prefix)
{
    static const int fps[] = {0, 12, -1};
    for (int b = 0; b < 3; b++) {
        const mgi_latents *l = &run->buckets.list[b].latents;
        assert_int_equal(l->clips, FILMS - HELD);
        assert_int_equal(l->held, HELD);
        for (int64_t i = 0; i < FILMS; i++)
            assert_told(l->captions[i],
                        i < FILMS - HELD ? mgi_dataset_element(ds, 5, (uint64_t)i) : FILMS - 1,
                        prefix ? fps[b] : -1);
    }
}

/* As clips are encoded, and as they are found again; the second time of films that nobody has opened. */
static void test_kinds(void **state)
{
    static const int kinds[] = {MGI_STAGE_TEXT_TO_VIDEO, MGI_STAGE_UPSAMPLER,
                                MGI_STAGE_PERSONALIZER};
    (void)state;
    make_films(folder, "kinds");
    put_films();
    ctx->progress = count_clips;
    for (int k = 0; k < 3; k++)
        for (int again = 0; again < 2; again++)
            for (int prefix = 1; prefix >= 0; prefix--) {
                mgi_dataset *ds = open_films();
                mgi_stage stage = stage_of(kinds[k]);
                struct mgi_stage_run *run;
                stage.video.fps_prefix = prefix == 1;
                OK(create_kept(&stage, ds, &run));
                /* the other captions are of the same clips; a personalizer's are a video model's */
                assert_int_equal(encoded, again || !prefix || k == 2 ? 0 : FILMS);
                check_captions(run, ds, prefix == 1);
                end(run);
                mgi_dataset_release(ds);
            }
    ctx->progress = NULL;
    assert_int_equal(remove_all(films), 0);
}

/* The pipeline makes films of the rate that most of the first bucket were told to have. */
static void test_pipeline(void **state)
{
    (void)state;
    make_films(folder, "pipeline");
    put_films();
    mgi_dataset *ds = open_films();
    for (int k = 0; k < 3; k++) {
        mgi_stage stage = stage_of(MGI_STAGE_TEXT_TO_VIDEO);
        mgi_pipeline_file p;
        struct mgi_stage_run *run;
        strcpy(stage.save_as, "rated");
        stage.video.fps_prefix = k != 1;
        stage.bucket[0].fps = k == 2 ? 12 : 0;
        OK(create_on(&stage, ds, &run));
        OK(mgi_stage_text_to_video.save(run));
        OK(mgi_pipeline_file_read(ctx, folder, "rated_pipeline", &p));
        assert_int_equal(p.clip.fps, k == 0 ? MOST : k == 1 ? MGI_DATASET_FPS : 12);
        end(run);
    }
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* A film that is gone when its rate is asked for, though its clip is kept. */
static void test_gone(void **state)
{
    struct mgi_stage_run *run;
    (void)state;
    make_films(folder, "gone");
    put_films();
    mgi_stage stage = stage_of(MGI_STAGE_TEXT_TO_VIDEO);
    mgi_dataset *ds = open_films();
    OK(create_kept(&stage, ds, &run));
    end(run);
    mgi_dataset_release(ds);
    ds = open_films();
    assert_int_equal(unlink(in_films("04.y4m")), 0);
    OK(create_kept(&stage, ds, &run)); /* nobody asks */
    end(run);
    stage.video.fps_prefix = true;
    assert_int_equal(create_kept(&stage, ds, &run), MGEN_E_NOT_FOUND);
    assert_non_null(strstr(mgen_last_error(ctx), "04.y4m"));
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* Frames are the film's, one by one, whatever a bucket says. */
static void test_frames(void **state)
{
    static uint8_t rgb[FRAMES * PAIR_FRAME];
    mgi_dataset *sized;
    int64_t fps;
    (void)state;
    make_films(folder, "frames");
    put_films();
    mgi_dataset *ds = open_films();
    OK(mgi_dataset_sized(ctx, ds, PAIR_SIDE, PAIR_SIDE, FRAMES, 12, &sized));
    OK(mgi_dataset_piece(ctx, sized, 3, 2, FRAMES, rgb, NULL));
    assert_film(rgb, FRAMES, 2, 20);
    for (uint64_t i = 0; i < FILMS; i++) {
        OK(mgi_dataset_rate(ctx, sized, i, &fps));
        assert_int_equal(fps, told[i]);
    }
    mgi_dataset_release(sized);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* Buckets of other sizes have the same films, the middle of each scaled; in the order of before, so that what is held out is the
 * same. */
static void test_sizes(void **state)
{
    enum { WIDTH = 32, HEIGHT = 24 };
    static uint8_t rgb[FRAMES * WIDTH * HEIGHT * 3], whole[FRAMES * PAIR_FRAME];
    char caption[MGI_CAPTION_SIZE], other[MGI_CAPTION_SIZE];
    mgi_dataset *sized;
    (void)state;
    make_films(folder, "sizes");
    put_films();
    mgi_dataset *ds = open_films();
    OK(mgi_dataset_sized(ctx, ds, WIDTH, HEIGHT, FRAMES, 0, &sized));
    assert_true(sized->width == WIDTH && sized->height == HEIGHT && sized->count == ds->count);
    assert_int_equal(mgi_dataset_held_first(sized), mgi_dataset_held_first(ds));
    for (uint64_t i = 0; i < FILMS; i++) {
        mgi_dataset_caption(ds, i, caption);
        mgi_dataset_caption(sized, i, other);
        assert_string_equal(caption, other);
    }
    OK(mgi_dataset_piece(ctx, ds, 3, 2, FRAMES, whole, NULL));
    OK(mgi_dataset_piece(ctx, sized, 3, 2, FRAMES, rgb, NULL));
    for (int i = 0; i < FRAMES; i++) { /* the square is the middle half, the ground at its left */
        const uint8_t *frame = rgb + i * WIDTH * HEIGHT * 3, *from = whole + i * PAIR_FRAME;
        const int row = HEIGHT / 2 * WIDTH, of = PAIR_SIDE / 2 * PAIR_SIDE;
        assert_int_equal(frame[(row + WIDTH / 2) * 3], from[(of + PAIR_SIDE / 2) * 3]);
        assert_int_equal(frame[row * 3], from[of * 3]);
        assert_true(frame[(row + WIDTH / 2) * 3] > frame[row * 3] + 50);
    }
    mgi_dataset_release(sized);
    assert_int_equal(mgi_dataset_sized(ctx, ds, 30, HEIGHT, FRAMES, 0, &sized), MGEN_E_INVALID);
    assert_int_equal(mgi_dataset_sized(ctx, ds, WIDTH, HEIGHT, PAIR_FRAMES + 1, 0, &sized),
                     MGEN_E_INVALID);
    put_film("99.y4m", 20);
    assert_int_equal(mgi_dataset_sized(ctx, ds, WIDTH, HEIGHT, FRAMES, 0, &sized), MGEN_E_STATE);
    assert_null(sized);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* Samples of one frame may be pictures, too: all but photos of who is in a film, and what an edit makes of another. */
static void test_pictures(void **state)
{
    static const char *const names[] = {"01.png", "face.png", "wide.png", "00.face3.png",
                                        "a.edited.png"};
    static uint8_t rgb[64 * 32 * 3];
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    char caption[MGI_CAPTION_SIZE];
    mgi_dataset *ds;
    (void)state;
    make_films(folder, "pictures");
    put_film("00.y4m", 20);
    for (int i = 0; i < 5; i++) {
        memset(rgb, 50 + 10 * i, sizeof rgb);
        const mgi_frames f = {rgb, i == 2 ? 64 : 32, i == 2 ? 32 : 32, 1, 1, 1};
        OK(mgi_frames_write(ctx, in_films(names[i]), &f));
    }
    put_text("face.txt", "a face");
    p.width = p.height = 16;
    p.frames = 1;
    OK(mgi_dataset_folder(ctx, films, &p, &ds));
    assert_int_equal(ds->count, 4);           /* the film and the first three */
    assert_int_equal(ds->films[0].photos, 0); /* photos are counted from the first one on */
    assert_false(ds->heard);
    for (uint64_t i = 1; i < 4; i++) {
        assert_string_equal(ds->films[i].name, names[i - 1]);
        OK(mgi_dataset_sample(ctx, ds, i, rgb, caption));
        assert_int_equal(rgb[0], 50 + 10 * (i - 1));
        assert_int_equal(rgb[16 * 16 * 3 - 1], 50 + 10 * (i - 1));
        assert_string_equal(caption, i == 2 ? "a face" : "");
    }
    OK(mgi_dataset_check_frames(ctx, ds));
    mgi_dataset_release(ds);
    p.frames = 2; /* else they are no samples */
    OK(mgi_dataset_folder(ctx, films, &p, &ds));
    assert_int_equal(ds->count, 1);
    mgi_dataset_release(ds);
    assert_int_equal(unlink(in_films("00.y4m")), 0);
    assert_int_equal(mgi_dataset_folder(ctx, films, &p, &ds), MGEN_E_NOT_FOUND);
    assert_non_null(strstr(mgen_last_error(ctx), "or, for samples of one frame, in .png"));
    assert_int_equal(remove_all(films), 0);
}

/* A stage learns from them in its buckets' sizes, all from all, if these have one aspect. */
static void test_stage_of_sizes(void **state)
{
    (void)state;
    make_films(folder, "stage_sizes");
    put_films();
    mgi_dataset *ds = open_films();
    mgi_stage stage = tiny_text_to_video(1, 2);
    struct mgi_stage_run *run;
    stage.bucket_count = 2;
    stage.bucket[0] = (mgi_bucket){.width = 64, .height = 32, .frames = 8, .weight = 1.0};
    stage.bucket[1] = (mgi_bucket){.width = 32, .height = 16, .frames = 8, .weight = 1.0};
    stage.images = -1.0;
    OK(create_kept(&stage, ds, &run));
    assert_int_equal(run->buckets.list[0].latents.clips, run->buckets.list[1].latents.clips);
    assert_int_equal(run->buckets.list[1].latents.dims[1], 2);
    assert_int_equal(run->buckets.list[1].latents.dims[2], 4);
    OK(mgi_stage_kind_of(&stage)->step(run, 0, NULL));
    end(run);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),   cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_pictures), cmocka_unit_test(test_stage_of_sizes),
        cmocka_unit_test(test_kinds),    cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_gone)};
    return cmocka_run_group_tests_name("told_rates", tests, make_models, free_context_and_folder);
}
