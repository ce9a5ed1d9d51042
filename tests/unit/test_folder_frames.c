/* SPDX-License-Identifier: MIT
 * Films of a folder that are shorter than samples are found before any is read, as far as they tell how long they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "data/dataset_edits.h"
#include "data/dataset_sound.h"
#include "data/folder.h"
#include "find_plugin.h"
#include "folder_context.h"

#include "logged.h"
#include "ok.h"
#include "pair_films.h"

enum { FRAMES = 20 };

static mgi_dataset *open_frames(int64_t frames)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgi_dataset *ds;
    p.width = p.height = 16;
    p.frames = (uint32_t)frames;
    OK(mgi_dataset_folder(ctx, films, &p, &ds));
    return ds;
}

/* What looking at the films of the folder says, and reading the sample does. */
static void assert_frames(int64_t frames, uint64_t index, mgen_status wanted, const char *part)
{
    static uint8_t pixels[64 * 16 * 16 * 3];
    char said[400];
    mgi_dataset *ds = open_frames(frames);
    mgen_status status = mgi_dataset_check_frames(ctx, ds);
    snprintf(said, sizeof said, "%s", status ? mgen_last_error(ctx) : "");
    mgen_status read = mgi_dataset_sample(ctx, ds, index, pixels, NULL);
    if (status != wanted || !strstr(said, part) || read != wanted ||
        (read && strcmp(said, mgen_last_error(ctx)) != 0))
        fail_msg("%lld frames: looked at, %s: '%s'; read, %s: '%s'", (long long)frames,
                 mgen_status_name(status), said, mgen_status_name(read), mgen_last_error(ctx));
    mgi_dataset_release(ds);
}

static void put_frames(const char *name, int64_t frames, uint32_t fps)
{
    put_film_of(name, 16, 16, frames, 100 * fps, 10);
}

/* ---- without a plug-in ---------------------------------------------------------------------------- */

static void test_y4m(void **state)
{
    (void)state;
    make_films(folder, "y4m");
    put_frames("a.y4m", FRAMES + 1, 16);
    put_frames("b.y4m", FRAMES, 16);
    put_frames("c.Y4M", FRAMES + 2, 25);
    assert_frames(FRAMES, 1, MGEN_OK, "");
    assert_frames(FRAMES + 1, 1, MGEN_E_INVALID,
                  "b.y4m' has 20 frames, fewer than the 21 of a sample; make samples shorter, or "
                  "take it away");
    assert_frames(1, 1, MGEN_OK, "");
    assert_int_equal(remove_all(films), 0);
}

/* ---- what is no film here ------------------------------------------------------------------------- */

/* Films that are not read do not go missing in silence; other files do. */
static void test_passed_over(void **state)
{
    (void)state;
    make_films(folder, "others");
    put_frames("a.y4m", FRAMES, 16);
    put_bytes("notes.doc", "x", 1);
    put_bytes("b.png", "x", 1);
    ctx->log = keep_warnings;
    mgi_dataset_release(open_frames(FRAMES));
    assert_string_equal(logged, "");
    put_bytes("c.MTS", "x", 1);
    put_bytes("d.ogv", "x", 1);
    mgi_dataset_release(open_frames(FRAMES));
    if (!strstr(logged, "2 of the files") || !strstr(logged, "'c.MTS'"))
        fail_msg("'%s'", logged);
    unlink(in_films("c.MTS"));
    unlink(in_films("d.ogv"));
    logged[0] = '\0';
    put_bytes("e.HEIC", "x", 1);
    mgi_dataset_release(open_frames(FRAMES)); /* beside films pictures may lie for other ends */
    assert_string_equal(logged, "");
    mgi_dataset_release(open_frames(1));
    ctx->log = NULL;
    if (!strstr(logged, "1 of the files") || !strstr(logged, "'e.HEIC'"))
        fail_msg("'%s'", logged);
    assert_int_equal(remove_all(films), 0);
}

/* Bytes of a .y4m of `frames` frames whose marks say more. */
static size_t film_with_marks(char *out, const char *mark, int frames)
{
    size_t size = (size_t)sprintf(out, "YUV4MPEG2 W16 H16 F16:1\n");
    for (int i = 0; i < frames; i++) {
        size += (size_t)sprintf(out + size, "%s\n", mark);
        memset(out + size, 100, 384);
        size += 384;
    }
    return size;
}

/* Frames are not looked at: whether they are there is known by the size of the file, and what it does not tell is found as
 * they are read. */
static void test_not_read(void **state)
{
    static char film[64 * 500];
    static uint8_t pixels[64 * 16 * 16 * 3];
    (void)state;
    make_films(folder, "unread");
    const size_t size = film_with_marks(film, "FRAME", FRAMES);
    memcpy(film + 24 + 390, "FRAUD", 5);
    put_bytes("a.y4m", film, size);
    mgi_dataset *ds = open_frames(FRAMES);
    OK(mgi_dataset_check_frames(ctx, ds));
    assert_said(mgi_dataset_sample(ctx, ds, 0, pixels, NULL), MGEN_E_CORRUPT, "no 'FRAME'");
    put_bytes("a.y4m", film, size - 1); /* not even that is enough */
    assert_said(mgi_dataset_check_frames(ctx, ds), MGEN_E_CORRUPT, "no 'FRAME'");
    put_text("a.y4m", "YUV4MPEG2 but no film\n");
    OK(mgi_dataset_check_frames(ctx, ds));
    put_bytes("a.y4m", film, 24);
    OK(mgi_dataset_check_frames(ctx, ds)); /* of no frame, which is no film */
    assert_int_equal(unlink(in_films("a.y4m")), 0);
    OK(mgi_dataset_check_frames(ctx, ds));
    assert_said(mgi_dataset_sample(ctx, ds, 0, pixels, NULL), MGEN_E_NOT_FOUND, "a.y4m");
    /* long marks leave room for fewer */
    put_bytes("a.y4m", film, film_with_marks(film, "FRAME Ip Xabcdefghijklmnopqrstuvwxyz", FRAMES));
    OK(mgi_dataset_check_frames(ctx, ds));
    OK(mgi_dataset_sample(ctx, ds, 0, pixels, NULL));
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* Nothing of it is in the log, or in the last error. */
static void test_silent(void **state)
{
    (void)state;
    make_films(folder, "silent");
    put_text("a.y4m", "no film");
    mgi_free(ctx, ctx->plugin_dir);
    OK(mgi_strdup(ctx, folder, &ctx->plugin_dir)); /* where there is none */
    put_text("b.mp4", "no film, and no plug-in");
    put_text("c.mkv", "no film, and no plug-in");
    mgi_dataset *ds = open_frames(FRAMES);
    mgi_fail(ctx, MGEN_E_STATE, "as before");
    OK(mgi_dataset_check_frames(ctx, ds));
    assert_string_equal(mgen_last_error(ctx), "as before");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* A list's clips end within their films. */
static void test_clips(void **state)
{
    (void)state;
    make_films(folder, "clips");
    put_frames("a.y4m", FRAMES, 16);
    put_text("clips.jsonl", "{\"file\": \"a.y4m\", \"first\": 4, \"frames\": 16}\n"
                            "{\"file\": \"a.y4m\", \"frames\": 20}\n");
    assert_frames(16, 0, MGEN_OK, "");
    put_text("clips.jsonl", "{\"file\": \"a.y4m\", \"frames\": 20}\n"
                            "{\"file\": \"a.y4m\", \"first\": 5, \"frames\": 16}\n");
    assert_frames(16, 1, MGEN_E_INVALID,
                  "a.y4m' has 20 frames, but 'clips.jsonl' keeps a clip of it that needs 21; "
                  "curate again");
    assert_int_equal(remove_all(films), 0);
}

/* Of films whose sound is learned what counts is how long they are, at whatever rate. */
static void test_watched(void **state)
{
    static uint8_t pixels[64 * 16 * 16 * 3];
    (void)state;
    make_films(folder, "watched");
    put_frames("a.y4m", 10, 8);
    put_frames("b.y4m", 20, 16);
    mgi_dataset *ds = open_frames(FRAMES);
    OK(mgi_dataset_check_watched(ctx, ds, 16.0, 20));
    OK(mgi_dataset_watch(ctx, ds, 0, 16.0, 20, pixels));
    put_frames("a.y4m", 9, 8);
    assert_said(mgi_dataset_watch(ctx, ds, 0, 16.0, 20, pixels), MGEN_E_INVALID, "has 9 frames");
    assert_said(mgi_dataset_check_watched(ctx, ds, 16.0, 20), MGEN_E_INVALID,
                "a.y4m' has 9 frames, fewer than the 10");
    OK(mgi_dataset_check_watched(ctx, ds, 16.0, 18));
    mgi_dataset_release(ds);
    put_text("clips.jsonl", "{\"file\": \"b.y4m\", \"frames\": 20}\n");
    ds = open_frames(FRAMES);
    OK(mgi_dataset_check_watched(ctx, ds, 16.0, 20));
    assert_said(mgi_dataset_check_watched(ctx, ds, 12.0, 20), MGEN_E_INVALID,
                "ends at frame 20, before the");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* The film after an edit, too, where edits are learned. */
static void test_edited(void **state)
{
    (void)state;
    make_films(folder, "edited");
    put_frames("a.y4m", FRAMES, 16);
    put_frames("a.edited.y4m", FRAMES - 1, 16);
    put_text("a.edit.txt", "make it dark");
    mgi_dataset *ds = open_frames(FRAMES);
    OK(mgi_dataset_check_frames(ctx, ds));
    assert_said(mgi_dataset_check_edits(ctx, ds, false), MGEN_E_INVALID,
                "a.edited.y4m' has 19 frames, fewer than the 20 of a sample");
    put_frames("a.edited.y4m", FRAMES, 16);
    OK(mgi_dataset_check_edits(ctx, ds, false));
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* Many films: a word now and then, at which it may be stopped. */
static int32_t stop_at(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    assert_int_equal(total, 600);
    *(uint64_t *)user = done;
    return done == 512;
}

static void test_many(void **state)
{
    char name[32];
    uint64_t done = 0;
    (void)state;
    make_films(folder, "many");
    for (int i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "%03d.y4m", i);
        put_frames(name, 1, 16);
    }
    mgi_dataset *ds = open_frames(1);
    ctx->progress = stop_at;
    ctx->progress_user = &done;
    assert_said(mgi_dataset_check_frames(ctx, ds), MGEN_E_CANCELLED, "looking at films");
    assert_int_equal(done, 512);
    ctx->progress = NULL;
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* ---- by the plug-in ------------------------------------------------------------------------------- */

/* The film of that name becomes one of this name and, behind "ftyp", this brand. */
static void name_anew(const char *from, const char *name, const char *brand)
{
    char path[1000];
    snprintf(path, sizeof path, "%s", in_films(from));
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 8, SEEK_SET), 0);
    assert_int_equal(fwrite(brand, 1, 4, f), 4);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(path, in_films(name)), 0);
}

/* Each container tells it in its way: by a number, or by its length in seconds. */
static void test_containers(void **state)
{
    static const struct {
        const char *name, *from, *brand; /* FFmpeg writes `from`; NULL: it writes the name */
    } kinds[] = {{"a.mp4", NULL, NULL},     {"a.mov", NULL, NULL},      {"a.avi", NULL, NULL},
                 {"a.mkv", NULL, NULL},     {"a.webm", NULL, NULL},     {"a.M4V", "a.m4v", "M4V "},
                 {"a.qt", "b.mov", "qt  "}, {"a.3gp", "b.mp4", "3gp5"}, {"a.3g2", "b.mp4", "3g2a"}};
    int written = 0;
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films(folder, "containers");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *name = kinds[i].name, *from = kinds[i].from ? kinds[i].from : name;
        mgi_film_info info;
        uint8_t rgb[FRAMES * 32 * 32 * 3];
        const mgi_frames f = {rgb, 32, 32, FRAMES, 16, 1};
        memset(rgb, 90, sizeof rgb);
        const mgen_status status = mgi_frames_write(ctx, in_films(from), &f);
        if (status == MGEN_E_UNSUPPORTED) { /* this FFmpeg has no encoder for it */
            print_message("%s: %s\n", from, mgen_last_error(ctx));
            continue;
        }
        OK(status);
        written++;
        if (kinds[i].from)
            name_anew(from, name, kinds[i].brand);
        OK(mgi_film_tell(ctx, in_films(name), &info));
        if (info.frames != FRAMES || info.fps_num != 16 * info.fps_den)
            fail_msg("%s: %lld frames, %u/%u a second", name, (long long)info.frames, info.fps_num,
                     info.fps_den);
        assert_frames(FRAMES, 0, MGEN_OK, "");
        assert_frames(FRAMES + 1, 0, MGEN_E_INVALID, "has 20 frames, fewer than the 21");
        assert_int_equal(unlink(in_films(name)), 0);
    }
    assert_true(written > 0);
    assert_int_equal(remove_all(films), 0);
}

/* A film that says too little is counted before it is refused. */
static void test_wrong_number(void **state)
{
    uint8_t rgb[FRAMES * 32 * 32 * 3];
    const mgi_frames f = {rgb, 32, 32, FRAMES, 16, 1};
    mgi_film_info info;
    mgi_file file;
    (void)state;
    if (!find_plugin(ctx))
        skip();
    make_films(folder, "wrong");
    memset(rgb, 90, sizeof rgb);
    const mgen_status status = mgi_frames_write(ctx, in_films("a.avi"), &f);
    if (status == MGEN_E_UNSUPPORTED)
        skip();
    OK(status);
    OK(mgi_file_open(ctx, in_films("a.avi"), &file));
    uint8_t *bytes = malloc(file.size), *header = NULL;
    assert_non_null(bytes);
    memcpy(bytes, file.data, file.size);
    for (size_t i = 0; i + 48 < file.size && !header; i++)
        header = memcmp(bytes + i, "strh", 4) ? NULL : bytes + i + 8;
    assert_non_null(header);
    assert_int_equal(header[32], FRAMES); /* dwLength */
    header[32] = 3;
    put_bytes("a.avi", (const char *)bytes, file.size);
    mgi_file_close(ctx, &file);
    free(bytes);
    OK(mgi_film_tell(ctx, in_films("a.avi"), &info));
    assert_int_equal(info.frames, 3);
    assert_frames(FRAMES, 0, MGEN_OK, "");
    assert_frames(FRAMES + 1, 0, MGEN_E_INVALID, "has 20 frames, fewer than the 21");
    assert_int_equal(remove_all(films), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_y4m),          cmocka_unit_test(test_not_read),
        cmocka_unit_test(test_silent),       cmocka_unit_test(test_clips),
        cmocka_unit_test(test_watched),      cmocka_unit_test(test_edited),
        cmocka_unit_test(test_many),         cmocka_unit_test(test_containers),
        cmocka_unit_test(test_wrong_number), cmocka_unit_test(test_passed_over)};
    return cmocka_run_group_tests(tests, make_folder_context, remove_folder_context);
}
