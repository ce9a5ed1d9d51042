/* SPDX-License-Identifier: MIT
 * A folder's films of several aspects and lengths: which bucket has which, and what is trained on them. */
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
#include "data/dataset_edits.h"
#include "failing_memory.h"
#include "find_plugin.h"
#include "logged.h"
#include "media/film_read.h"
#include "pair_films.h"
#include "rank_context.h"
#include "run_threads.h"
#include "train/checkpoint.h"

enum { STEPS = 6 };

static void put(const char *name, int64_t width, int64_t height, int64_t frames)
{
    put_film_of(name, width, height, frames, 1600, 20);
}

static mgi_dataset *open_folder(mgen_context *of, const char *dir, int64_t frames)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgi_dataset *ds = NULL;
    p.width = p.height = PAIR_SIDE;
    p.frames = (uint32_t)frames;
    if (mgi_dataset_folder(of, dir, &p, &ds) != MGEN_OK)
        print_message("%s\n", mgen_last_error(of));
    return ds;
}

static mgi_bucket bucket(int64_t width, int64_t height, int64_t frames)
{
    return (mgi_bucket){.width = width, .height = height, .frames = frames, .weight = 1.0};
}

static mgi_stage stage_of(const mgi_bucket *list, int64_t count)
{
    mgi_stage s = tiny_text_to_video(STEPS, 2);
    s.bucket_count = count;
    memcpy(s.bucket, list, (size_t)count * sizeof *list);
    s.images = -1.0;
    s.clips = 32;
    return s;
}

static mgi_buckets divided(const mgi_stage *stage, mgi_dataset *ds)
{
    mgi_buckets b;
    OK(mgi_buckets_init(ctx, stage, ds, 64, &b));
    return b;
}

/* The films of a bucket by their names, without endings, in their order. */
static void assert_films_are(const mgi_buckets *b, int64_t i, const char *names)
{
    char is[400] = "";
    assert_true(i < b->count);
    const mgi_dataset *ds = b->list[i].dataset;
    for (uint64_t k = 0; k < ds->count; k++) {
        const char *name = ds->films[k].name;
        snprintf(is + strlen(is), sizeof is - strlen(is), "%s%.*s", k ? " " : "",
                 (int)(strchr(name, '.') - name), name);
    }
    if (strcmp(is, names) != 0)
        fail_msg("bucket %d has '%s', not '%s'", (int)i, is, names);
    assert_true(ds->width == b->list[i].bucket.width && ds->height == b->list[i].bucket.height &&
                ds->frames >= b->list[i].bucket.frames);
}

/* ---- which films ---------------------------------------------------------------------------------- */

/* Each in the nearest aspect that has a bucket which it fills, there in the longest; a picture's bucket by aspect alone. */
static void test_assignment(void **state)
{
    const mgi_bucket list[] = {bucket(64, 32, 24), bucket(64, 32, 9), bucket(48, 48, 16),
                               bucket(32, 64, 9),  bucket(64, 32, 1), bucket(48, 48, 1)};
    const mgi_stage stage = stage_of(list, 6);
    static const char *const films_of[] = {"a b", "c d", "e", "f g", "a b c", "d e f g"};
    (void)state;
    make_films(folder, "assigned");
    put("a.y4m", 96, 48, 30);
    put("b.y4m", 64, 34, 24); /* nearly 2:1 */
    put("c.y4m", 128, 64, 23);
    put("d.y4m", 48, 48,
        15); /* too short for its aspect: 2:1 and 1:2 are as far, of the same length */
    put("e.y4m", 32, 40, 40);
    put("f.y4m", 16, 64, 9);
    put("g.y4m", 32, 40, 10);                        /* likewise, but upright is nearer */
    for (int frames = 1; frames <= 9; frames += 8) { /* whatever the folder was opened with */
        mgi_dataset *ds = open_folder(ctx, films, frames);
        mgi_buckets b = divided(&stage, ds);
        assert_true(b.divided && b.count == 6 && b.mixed);
        for (int64_t i = 0; i < 6; i++) {
            assert_int_equal(b.list[i].number, i + 1);
            assert_films_are(&b, i, films_of[i]);
        }
        mgi_buckets_free(ctx, &b);
        mgi_dataset_release(ds);
    }
    assert_int_equal(remove_all(films), 0);
}

/* Of aspects that are as far: the longest that it fills, then the first. Buckets of one aspect and length have the same films. */
static void test_ties(void **state)
{
    const mgi_bucket list[] = {bucket(64, 32, 8), bucket(32, 64, 8), bucket(32, 16, 8)};
    mgi_stage stage = stage_of(list, 3);
    (void)state;
    make_films(folder, "ties");
    put("square.y4m", 48, 48, 20);
    put("tall.y4m", 24, 48, 20);
    mgi_dataset *ds = open_folder(ctx, films, 8);
    mgi_buckets b = divided(&stage, ds);
    assert_films_are(&b, 0, "square");
    assert_films_are(&b, 1, "tall");
    assert_films_are(&b, 2, "square");
    assert_true(b.list[0].dataset->identity != b.list[2].dataset->identity); /* of other sizes */
    mgi_buckets_free(ctx, &b);
    stage.bucket[1].frames = 16; /* longer: both */
    stage.bucket[2].frames = 16; /* and as far from a square as the second */
    b = divided(&stage, ds);
    assert_int_equal(b.count, 1);
    assert_int_equal(b.list[0].number, 2);
    assert_films_are(&b, 0, "square tall");
    mgi_buckets_free(ctx, &b);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* Where buckets do not differ in this all have all films, as the folder has them; and samples of a host have one size. */
static void test_undivided(void **state)
{
    const mgi_bucket list[] = {bucket(48, 48, 8), bucket(32, 32, 8), bucket(48, 48, 1)};
    mgi_stage stage = stage_of(list, 3);
    (void)state;
    make_films(folder, "undivided");
    for (int i = 0; i < 12; i++) {
        char name[32];
        snprintf(name, sizeof name, "%02d.y4m", i);
        put(name, i % 2 ? 64 : 32, 48, 20);
    }
    mgi_dataset *ds = open_folder(ctx, films, 16), *sized;
    mgi_buckets b = divided(&stage, ds);
    assert_true(!b.divided && b.count == 3);
    assert_ptr_equal(b.list[0].dataset, ds);
    assert_ptr_equal(b.list[2].dataset, ds);
    OK(mgi_dataset_sized(ctx, ds, 32, 32, 8, 0, &sized));
    assert_true(b.list[1].dataset->identity == sized->identity);
    mgi_dataset_release(sized);
    mgi_buckets_free(ctx, &b);
    /* divided, but one has all films, which have what the folder's samples have: it is the folder */
    stage.bucket[1] = bucket(48, 48, 24);
    b = divided(&stage, ds);
    assert_true(b.divided && b.count == 2);
    assert_ptr_equal(b.list[0].dataset, ds);
    assert_ptr_equal(b.list[1].dataset, ds);
    mgi_buckets_free(ctx, &b);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* How much of samples there is beyond a bucket's clips, of which an autoencoder takes any: what all of its films have. */
static void test_sample_frames(void **state)
{
    const mgi_bucket list[] = {bucket(64, 32, 8), bucket(32, 64, 8), bucket(48, 48, 1)};
    const mgi_stage stage = stage_of(list, 3);
    static uint8_t rgb[20 * 64 * 32 * 3];
    (void)state;
    make_films(folder, "frames");
    put("a.y4m", 96, 48, 30);
    put("b.y4m", 48, 96, 30);
    put("c.y4m", 48, 96, 13);
    put("d.y4m", 96, 48, 20);
    mgi_dataset *ds = open_folder(ctx, films, 20);
    mgi_buckets b = divided(&stage, ds);
    assert_films_are(&b, 0, "a d");
    assert_films_are(&b, 1, "b c");
    assert_films_are(&b, 2, "a b c d");
    assert_int_equal(b.list[0].dataset->frames, 20);
    assert_int_equal(b.list[1].dataset->frames, 13);
    assert_int_equal(b.list[2].dataset->frames, 13);
    for (int64_t i = 0; i < 3; i++)
        for (uint64_t k = 0; k < b.list[i].dataset->count; k++)
            OK(mgi_dataset_sample(ctx, b.list[i].dataset, k, rgb, NULL));
    mgi_buckets_free(ctx, &b);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* ---- lists of clips ------------------------------------------------------------------------------- */

/* Clips of one film go by their own lengths; weights count within a bucket, and so is held out. */
static void test_clips(void **state)
{
    const mgi_bucket list[] = {bucket(48, 48, 8), bucket(48, 48, 16), bucket(48, 48, 1)};
    const mgi_stage stage = stage_of(list, 3);
    char text[8000] = "", caption[MGI_CAPTION_SIZE];
    (void)state;
    make_films(folder, "clips");
    put("a.y4m", 64, 64, 60);
    for (int i = 0; i < 40; i++) /* every second is long; each weighs 0, 1 or 2 */
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "{\"file\": \"a.y4m\", \"first\": %d, \"frames\": %d, \"weight\": %d, "
                 "\"caption\": \"%d\"}\n",
                 i, i % 2 ? 20 : 8 + i % 8, i % 3, i);
    put_text("clips.jsonl", text);
    mgi_dataset *ds = open_folder(ctx, films, 8);
    mgi_buckets b = divided(&stage, ds);
    assert_int_equal(b.count, 3);
    for (int64_t k = 0; k < 2; k++) { /* 20 clips each, the last two held out */
        const mgi_dataset *of = b.list[k].dataset;
        int met[40] = {0}, walks = 0;
        assert_true(of->count == 20 && mgi_dataset_train_count(of) == 18);
        for (uint64_t i = 0; i < of->count; i++) {
            const int64_t clip = 2 * (int64_t)i + k;
            mgi_dataset_caption(of, i, caption);
            assert_int_equal(atoi(caption), clip);
            assert_int_equal(of->films[i].first, clip);
            walks += i < 18 ? (int)(clip % 3) : 0;
        }
        assert_int_equal(of->walks, walks);
        for (int i = 0; i < walks; i++)
            met[mgi_dataset_element(of, 3, (uint64_t)i)]++;
        for (int i = 0; i < 20; i++)
            assert_int_equal(met[i], i < 18 ? (2 * i + k) % 3 : 0);
    }
    assert_ptr_equal(b.list[2].dataset, ds); /* all of them, as often as in the folder */
    mgi_buckets_free(ctx, &b);
    mgi_dataset_release(ds);
    /* clips that are never met leave their bucket without one; a clip behind its film's end is told as ever */
    put_text("clips.jsonl", "{\"file\": \"a.y4m\", \"frames\": 20, \"weight\": 0}\n"
                            "{\"file\": \"a.y4m\", \"frames\": 9}\n"
                            "{\"file\": \"a.y4m\", \"frames\": 10}\n");
    ds = open_folder(ctx, films, 8);
    b = divided(&stage, ds);
    assert_int_equal(b.count, 2);
    assert_int_equal(b.list[0].dataset->count, 2);
    assert_int_equal(b.list[1].bucket.frames, 1);
    mgi_buckets_free(ctx, &b);
    mgi_dataset_release(ds);
    put_text("clips.jsonl", "{\"file\": \"a.y4m\", \"frames\": 20}\n"
                            "{\"file\": \"a.y4m\", \"first\": 55, \"frames\": 8}\n");
    ds = open_folder(ctx, films, 8);
    assert_said(mgi_buckets_init(ctx, &stage, ds, 64, &b), MGEN_E_INVALID,
                "a.y4m' has 60 frames, but 'clips.jsonl' keeps a clip of it that needs 63");
    mgi_dataset_release(ds);
    put_text("clips.jsonl", "{\"file\": \"a.y4m\", \"first\": 2, \"frames\": 7}\n");
    ds = open_folder(ctx, films, 1);
    assert_said(mgi_buckets_init(ctx, &stage, ds, 64, &b), MGEN_E_INVALID,
                "a.y4m' ends at frame 9, before the 10 that are needed");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* ---- what is refused ------------------------------------------------------------------------------ */

/* A film that fills none is told; a bucket without films gives its share to the others. */
static void test_short(void **state)
{
    const mgi_bucket list[] = {bucket(64, 32, 9), bucket(48, 48, 16), bucket(32, 64, 9),
                               bucket(48, 48, 1)};
    mgi_stage stage = stage_of(list, 4);
    mgi_buckets b;
    (void)state;
    make_films(folder, "short");
    put("a.y4m", 64, 32, 20);
    put("b.y4m", 48, 48, 16);
    put("c.y4m", 48, 48, 8);
    mgi_dataset *ds = open_folder(ctx, films, 1);
    assert_said(mgi_buckets_init(ctx, &stage, ds, 64, &b), MGEN_E_INVALID,
                "c.y4m' has 8 frames, fewer than the 9 of a sample");
    assert_said(mgi_buckets_init(ctx, &stage, ds, 64, &b), MGEN_E_INVALID, "stage \"video\"");
    put_text("c.y4m", "no film");
    assert_said(mgi_buckets_init(ctx, &stage, ds, 64, &b), MGEN_E_CORRUPT, "c.y4m");
    mgi_dataset_release(ds);
    assert_int_equal(unlink(in_films("c.y4m")), 0);
    stage.images = 0.25;
    ctx->log = keep_log;
    ds = open_folder(ctx, films, 1);
    b = divided(&stage, ds);
    ctx->log = NULL;
    assert_int_equal(b.count, 3);
    assert_true(b.list[0].share == 0.375 && b.list[1].share == 0.375 && b.list[2].share == 0.25);
    assert_true(b.list[0].number == 1 && b.list[1].number == 2 && b.list[2].number == 4);
    if (!strstr(logged, "bucket 3 of stage \"video\", 32 x 64 x 9 frames: 0 of the folder's films; "
                        "its share goes to the others") ||
        !strstr(logged,
                "bucket 4 of stage \"video\", 48 x 48 x 1 frames: 2 of the folder's films\n"))
        fail_msg("%s", logged);
    for (int64_t step = 0; step < 200; step++)
        assert_true(mgi_buckets_draw(&b, 5, step)->dataset);
    mgi_buckets_free(ctx, &b);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* A picture is in buckets of pictures alone, and there must be one. */
static void test_pictures(void **state)
{
    const mgi_bucket list[] = {bucket(48, 48, 8), bucket(48, 48, 16), bucket(48, 48, 1)};
    mgi_stage stage = stage_of(list, 3);
    static uint8_t rgb[48 * 48 * 3];
    const mgi_frames f = {rgb, 48, 48, 1, 1, 1};
    mgi_buckets b;
    (void)state;
    make_films(folder, "pictures");
    OK(mgi_frames_write(ctx, in_films("p.png"), &f));
    mgi_dataset *ds = open_folder(ctx, films, 1);
    assert_said(mgi_buckets_init(ctx, &stage, ds, 64, &b), MGEN_E_INVALID,
                "has no film to train on in its buckets of more than one frame");
    mgi_dataset_release(ds);
    put("a.y4m", 48, 48, 9);
    ds = open_folder(ctx, films, 1);
    b = divided(&stage, ds);
    assert_int_equal(b.count, 2);
    assert_films_are(&b, 0, "a");
    assert_films_are(&b, 1, "a p");
    mgi_buckets_free(ctx, &b);
    stage.bucket[1] = stage.bucket[2];
    stage.bucket_count = 2; /* one of films and one of pictures */
    b = divided(&stage, ds);
    assert_films_are(&b, 0, "a");
    assert_films_are(&b, 1, "a p");
    mgi_buckets_free(ctx, &b);
    stage.bucket[1] = list[1];
    assert_said(mgi_buckets_init(ctx, &stage, ds, 64, &b), MGEN_E_INVALID,
                "p.png' has 1 frames, fewer than the 8");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* Where edits are learned, the film after one counts, too. */
static void test_edits(void **state)
{
    const mgi_bucket list[] = {bucket(48, 48, 8), bucket(48, 48, 16)};
    mgi_stage stage = stage_of(list, 2);
    mgi_buckets b;
    (void)state;
    make_films(folder, "edits");
    put_pairs(3);
    put("01.edited.y4m", PAIR_SIDE, PAIR_SIDE, 15);
    mgi_dataset *ds = open_folder(ctx, films, 8);
    b = divided(&stage, ds);
    assert_int_equal(b.count, 1); /* nobody looks at them */
    mgi_buckets_free(ctx, &b);
    stage.kind = MGI_STAGE_EDITOR;
    b = divided(&stage, ds);
    assert_films_are(&b, 0, "01");
    assert_films_are(&b, 1, "00 02");
    OK(mgi_dataset_check_edits(ctx, b.list[1].dataset, true));
    assert_string_equal(b.list[1].dataset->films[1].instruction, "light");
    mgi_buckets_free(ctx, &b);
    put("01.edited.y4m", PAIR_SIDE, PAIR_SIDE, 7);
    assert_said(mgi_buckets_init(ctx, &stage, ds, 64, &b), MGEN_E_INVALID,
                "01.edited.y4m' has 7 frames, fewer than the 8");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* An editor learns of pairs of several lengths. */
static void test_editor(void **state)
{
    mgi_stage stage = tiny_editor(1, 2);
    struct mgi_stage_run *run;
    (void)state;
    make_films(folder, "editor");
    put_pairs(4);
    put("01.y4m", PAIR_SIDE, PAIR_SIDE, 9);
    put("02.edited.y4m", PAIR_SIDE, PAIR_SIDE, 9);
    stage.bucket_count = 2;
    stage.bucket[0] = bucket(48, 48, 9);
    stage.bucket[1] = bucket(48, 48, 17);
    stage.images = -1.0;
    stage.clips = 8;
    memset(stage.edits, 0, sizeof stage.edits);
    stage.edits[MGI_EDITS_PAIRS] = 1.0;
    mgi_dataset *ds = open_folder(ctx, films, 20); /* which not all of them have */
    OK(create_on(&stage, ds, &run));
    assert_films_are(&run->buckets, 0, "01 02");
    assert_films_are(&run->buckets, 1, "00 03");
    assert_int_equal(run->buckets.list[1].latents.clips, 1);
    OK(mgi_stage_kind_of(&stage)->step(run, 0, NULL));
    end(run);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

static int32_t stop_at(void *user, const char *what, uint64_t done, uint64_t total)
{
    assert_string_equal(what, "looking at films");
    assert_int_equal(total, 300);
    *(uint64_t *)user = done;
    return 1;
}

static void test_cancel(void **state)
{
    const mgi_bucket list[] = {bucket(48, 48, 1), bucket(64, 32, 1)};
    const mgi_stage stage = stage_of(list, 2);
    mgi_buckets b;
    uint64_t done = 0;
    (void)state;
    make_films(folder, "cancel");
    for (int i = 0; i < 300; i++) {
        char name[32];
        snprintf(name, sizeof name, "%03d.y4m", i);
        put(name, 16, 16, 1);
    }
    mgi_dataset *ds = open_folder(ctx, films, 1);
    ctx->progress = stop_at;
    ctx->progress_user = &done;
    assert_said(mgi_buckets_init(ctx, &stage, ds, 64, &b), MGEN_E_CANCELLED, "looking at films");
    assert_int_equal(done, 256);
    ctx->progress = NULL;
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* ---- by the plug-in ------------------------------------------------------------------------------- */

/* A file that says how long it is, and one that says too little, whose frames are counted. */
static void test_plugin(void **state)
{
    const mgi_bucket list[] = {bucket(64, 32, 8), bucket(64, 32, 16), bucket(32, 64, 8)};
    const mgi_stage stage = stage_of(list, 3);
    static uint8_t rgb[20 * 64 * 32 * 3];
    mgi_frames f = {rgb, 64, 32, 20, 16, 1};
    mgi_file file;
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films(folder, "plugin");
    memset(rgb, 90, sizeof rgb);
    const mgen_status status = mgi_frames_write(ctx, in_films("a.avi"), &f);
    if (status == MGEN_E_UNSUPPORTED)
        skip();
    OK(status);
    f.frames = 9;
    OK(mgi_frames_write(ctx, in_films("b.avi"), &f));
    f.width = 32;
    f.height = 64;
    OK(mgi_frames_write(ctx, in_films("c.avi"), &f));
    mgi_film_info info;
    OK(mgi_film_tell(ctx, in_films("c.avi"), &info));
    assert_true(info.width == 32 && info.height == 64);
    OK(mgi_file_open(ctx, in_films("a.avi"), &file));
    uint8_t *bytes = malloc(file.size), *header = NULL;
    assert_non_null(bytes);
    memcpy(bytes, file.data, file.size);
    const size_t size = file.size;
    mgi_file_close(ctx, &file);
    for (size_t i = 0; i + 48 < size && !header; i++)
        header = memcmp(bytes + i, "strh", 4) ? NULL : bytes + i + 8;
    assert_non_null(header);
    for (int said = 3; said <= 20; said += 17) {
        header[32] = (uint8_t)said; /* dwLength */
        put_bytes("a.avi", (const char *)bytes, size);
        mgi_dataset *ds = open_folder(ctx, films, 8);
        mgi_buckets b = divided(&stage, ds);
        assert_films_are(&b, 0, "b");
        assert_films_are(&b, 1, "a");
        assert_films_are(&b, 2, "c");
        mgi_buckets_free(ctx, &b);
        mgi_dataset_release(ds);
    }
    free(bytes);
    assert_int_equal(remove_all(films), 0);
}

/* ---- training ------------------------------------------------------------------------------------- */

static void put_mixed(void)
{
    for (int i = 0; i < 12; i++) {
        char name[32];
        snprintf(name, sizeof name, "%02d.y4m", i);
        put_film_of(name, i % 3 ? 48 : 64, i % 3 ? 48 : 32, i % 2 ? 20 : 10, 1600, 10 + 5 * i);
    }
}

/* 2:1 of both lengths, 1:1 of both, and images. */
static mgi_stage mixed_stage(void)
{
    const mgi_bucket list[] = {bucket(48, 48, 17), bucket(48, 48, 9), bucket(64, 32, 17),
                               bucket(64, 32, 9), bucket(48, 48, 1)};
    mgi_stage s = stage_of(list, 5);
    s.images = 0.2;
    s.validate_every = STEPS;
    return s;
}

static int64_t encoded;

static int32_t count_clips(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user, (void)total;
    encoded += !strcmp(what, "encoding clips") && done;
    return 0;
}

static float *weights_of(struct mgi_stage_run *run, size_t *bytes)
{
    const mgi_module *m = &run->video.module;
    float *all = malloc((size_t)mgi_module_size(m) * sizeof *all);
    int64_t at = 0;
    assert_non_null(all);
    for (int64_t k = 0; k < m->count; k++) {
        mgi_tensor_read(m->params[k]->value, 0, all + at, m->params[k]->value->count);
        at += m->params[k]->value->count;
    }
    *bytes = (size_t)at * sizeof *all;
    return all;
}

/* The stage from step `from` on, beginning with a checkpoint there, and with one left at `leave`. */
static float *train_from(int64_t from, int64_t leave, size_t *bytes)
{
    const mgi_stage stage = mixed_stage();
    const struct mgi_stage_kind *kind = &mgi_stage_text_to_video;
    mgi_dataset *ds = open_folder(ctx, films, 9);
    const mgi_stage_params p = {
        .stage = &stage, .dir = folder, .seed = 5, .dataset = ds, .cache_dir = films};
    char path[400];
    struct mgi_stage_run *run;
    snprintf(path, sizeof path, "%s/checkpoint", folder);
    OK(kind->create(ctx, &p, &run));
    if (from)
        OK(mgi_checkpoint_load(ctx, kind, run, path));
    for (int64_t i = from; i < STEPS; i++) {
        if (leave && i == leave)
            OK(mgi_checkpoint_save(ctx, kind, run, path));
        OK(kind->step(run, i, NULL));
    }
    float *weights = weights_of(run, bytes);
    end(run);
    mgi_dataset_release(ds);
    return weights;
}

/* Going on gives the same bits, and what was encoded is found again; with a film more it is others. */
static void test_training(void **state)
{
    size_t bytes;
    (void)state;
    make_films(folder, "training");
    put_mixed();
    ctx->progress = count_clips;
    encoded = 0;
    float *whole = train_from(0, 3, &bytes);
    assert_true(encoded > 0);
    encoded = 0;
    float *again = train_from(3, 0, &bytes);
    assert_int_equal(encoded, 0);
    assert_memory_equal(whole, again, bytes);
    free(whole);
    free(again);
    put("12.y4m", 48, 48, 20);
    again = train_from(0, 0, &bytes);
    assert_true(encoded > 0);
    free(again);
    ctx->progress = NULL;
    assert_int_equal(remove_all(films), 0);
}

/* Parts of as many films are told apart, as what is encoded of them is. */
static void test_parts(void **state)
{
    static const uint64_t some[2][3] = {{0, 2, 4}, {0, 2, 5}};
    mgi_dataset *parts[3], *none;
    (void)state;
    make_films(folder, "parts");
    put_mixed();
    put_text("05.txt", "the last one");
    mgi_dataset *ds = open_folder(ctx, films, 9);
    for (int i = 0; i < 3; i++)
        OK(mgi_dataset_part(ctx, ds, 48, 48, 9, some[i > 0], 3, &parts[i]));
    mgi_dataset_release(ds);
    assert_true(parts[0]->identity && parts[0]->identity != parts[1]->identity);
    assert_true(parts[1]->identity == parts[2]->identity);
    assert_string_equal(parts[1]->films[2].name, "05.y4m");
    assert_string_equal(parts[1]->films[2].caption, "the last one");
    ds = open_folder(ctx, films, 9);
    assert_true(parts[0]->identity != ds->identity);
    assert_int_equal(mgi_dataset_part(ctx, ds, 44, 48, 9, some[1], 3, &none), MGEN_E_INVALID);
    assert_null(none);
    mgi_dataset_release(ds);
    for (int i = 0; i < 3; i++)
        mgi_dataset_release(parts[i]);
    assert_int_equal(remove_all(films), 0);
}

/* An autoencoder, from any frame of them. */
static void test_autoencoder(void **state)
{
    mgi_stage stage = tiny_autoencoder(STEPS, 2);
    const mgi_stage mixed = mixed_stage();
    const struct mgi_stage_kind *kind = &mgi_stage_autoencoder;
    struct mgi_stage_run *run;
    (void)state;
    make_films(folder, "autoencoder");
    put_mixed();
    strcpy(stage.name, "mixed");
    stage.frames = 1;
    stage.image_every = stage.image_batch = 0;
    stage.images = 0.2;
    stage.validate_every = STEPS;
    stage.bucket_count = mixed.bucket_count;
    memcpy(stage.bucket, mixed.bucket, sizeof stage.bucket);
    mgi_dataset *ds = open_folder(ctx, films, 20);
    OK(create_on(&stage, ds, &run));
    for (int64_t i = 0; i < STEPS; i++)
        OK(kind->step(run, i, NULL));
    OK(kind->save(run));
    kind->destroy(run);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* ---- memory --------------------------------------------------------------------------------------- */

static mgen_status divide(mgen_context *of)
{
    const mgi_stage stage = mixed_stage();
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgi_dataset *ds;
    mgi_buckets b;
    p.width = p.height = 32;
    p.frames = 9;
    MGI_TRY(mgi_dataset_folder(of, films, &p, &ds));
    mgen_status status = mgi_buckets_init(of, &stage, ds, 64, &b);
    if (status == MGEN_OK)
        mgi_buckets_free(of, &b);
    mgi_dataset_release(ds);
    return status;
}

/* Whichever allocation fails, all comes back. */
static void test_memory(void **state)
{
    (void)state;
    make_films(folder, "memory");
    put_mixed();
    put_text("03.txt", "a square");
    for (int fail_at = 1;; fail_at++) {
        failing memory = {.alone = true};
        mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
        mgen_context *of;
        params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
        params.threads = 1;
        assert_int_equal(mgi_context_init(&of, &params), MGEN_OK);
        memory.fail_at = fail_at;
        memory.calls = 0;
        const mgen_status status = divide(of);
        const bool failed = memory.calls >= fail_at;
        assert_int_equal(status, failed ? MGEN_E_NO_MEMORY : MGEN_OK);
        mgi_context_free(of);
        assert_int_equal(memory.blocks, 0);
        if (!failed) {
            assert_true(fail_at > 100);
            break;
        }
    }
    assert_int_equal(remove_all(films), 0);
}

/* ---- ranks ---------------------------------------------------------------------------------------- */

typedef struct rank {
    mgi_comm_group *group;
    int index;
    const char *films;
    mgen_status status;
    char said[1000];
    float loss, weight;
} rank;

static mgen_status train_rank(void *user, mgen_context *of, mgi_comm *comm)
{
    rank *r = user;
    const mgi_stage stage = mixed_stage();
    const struct mgi_stage_kind *kind = &mgi_stage_text_to_video;
    struct mgi_stage_run *run;
    mgi_dataset *ds = open_folder(of, r->films, 9);
    const mgi_stage_params p = {
        .stage = &stage, .dir = folder, .seed = 5, .dataset = ds, .comm = comm};
    mgen_status status = ds ? kind->create(of, &p, &run) : MGEN_E_NOT_FOUND;
    mgi_dataset_release(ds);
    MGI_TRY(status);
    for (int64_t i = 0; i < 2 && status == MGEN_OK; i++)
        status = kind->step(run, i, NULL);
    r->loss = mgi_stage_value(run->loss);
    mgi_tensor_read(run->video.module.params[0]->value, 0, &r->weight, 1);
    end(run);
    return status;
}

static void *rank_main(void *arg)
{
    rank *r = arg;
    const mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    r->status = run_as_rank(params, r->group, r->index, train_rank, r, r->said, sizeof r->said);
    return NULL;
}

static void train_two(const char *first, const char *second, rank ranks[2])
{
    mgi_comm_group *group;
    OK(mgi_comm_group_create(ctx, 2, 60000, &group));
    for (int i = 0; i < 2; i++)
        ranks[i] = (rank){.group = group, .index = i, .films = i ? second : first};
    run_threads(rank_main, ranks, sizeof *ranks, 2);
    mgi_comm_group_release(group);
}

/* Two that have the same films learn the same, as one does with the whole batch; with others they do not begin. */
static void test_ranks(void **state)
{
    char others[300];
    rank ranks[2], one = {.films = films};
    (void)state;
    make_films(folder, "others");
    put_mixed();
    put("11.y4m", 48, 48, 10); /* shorter */
    strcpy(others, films);
    make_films(folder, "ranks");
    put_mixed();
    train_two(films, others, ranks);
    for (int i = 0; i < 2; i++)
        if (ranks[i].status != MGEN_E_DESYNC || !strstr(ranks[i].said, "films of each bucket"))
            fail_msg("%s: %s", mgen_status_name(ranks[i].status), ranks[i].said);
    train_two(films, films, ranks);
    rank_main(&one);
    for (int i = 0; i < 2; i++)
        if (ranks[i].status != MGEN_OK || one.status != MGEN_OK)
            fail_msg("%s, %s", ranks[i].said, one.said);
    assert_true(ranks[0].loss == ranks[1].loss && ranks[0].weight == ranks[1].weight);
    if (!(fabsf(ranks[0].loss - one.loss) < 1e-5f * one.loss))
        fail_msg("%g and %g", (double)ranks[0].loss, (double)one.loss);
    assert_int_equal(remove_all(others), 0);
    assert_int_equal(remove_all(films), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assignment), cmocka_unit_test(test_ties),
        cmocka_unit_test(test_undivided),  cmocka_unit_test(test_sample_frames),
        cmocka_unit_test(test_clips),      cmocka_unit_test(test_short),
        cmocka_unit_test(test_pictures),   cmocka_unit_test(test_edits),
        cmocka_unit_test(test_editor),     cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_plugin),     cmocka_unit_test(test_training),
        cmocka_unit_test(test_parts),      cmocka_unit_test(test_autoencoder),
        cmocka_unit_test(test_memory),     cmocka_unit_test(test_ranks)};
    return cmocka_run_group_tests_name("bucket_films", tests, make_models, free_context_and_folder);
}
