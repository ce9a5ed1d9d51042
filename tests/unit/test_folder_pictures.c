/* SPDX-License-Identifier: MIT
 * JPEGs in a folder that is trained on: photos of faces beside films, and pictures that are samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "data/dataset.h"
#include "data/folder.h"
#include "find_plugin.h"
#include "folder_context.h"
#include "jpeg_bytes.h"
#include "media/media.h"

#include "ok.h"
#include "pair_films.h"

enum { SIDE = 16 };

/* White above and black below, as it is stored. */
static uint8_t halves(int component, int x, int y)
{
    (void)x;
    return component ? 128 : y < 2 ? 255 : 0;
}

/* 32 x 32 pixels. */
static void put_jpeg(const char *name, int orientation)
{
    const jpeg_made made = {
        .width = 32, .height = 32, .components = 3, .orientation = orientation, .value = halves};
    size_t size;
    uint8_t *data = jpeg_make(&made, &size);
    put_bytes(name, (const char *)data, size);
    free(data);
}

static void put_png(const char *name, uint8_t grey)
{
    uint8_t rgb[32 * 32 * 3];
    memset(rgb, grey, sizeof rgb);
    OK(mgi_png_write(ctx, in_films(name), rgb, 32, 32));
}

static mgen_status open_at(int64_t frames, mgi_dataset **ds)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = p.height = SIDE;
    p.frames = (uint32_t)frames;
    return mgi_dataset_folder(ctx, films, &p, ds);
}

static mgi_dataset *open_folder(int64_t frames)
{
    mgi_dataset *ds;
    OK(open_at(frames, &ds));
    return ds;
}

/* The corners of a picture, as it is seen: 1 for white. */
static void assert_corners(const uint8_t *rgb, int left_above, int right_above, int left_below)
{
    const int at[3] = {0, SIDE - 1, (SIDE - 1) * SIDE},
              want[3] = {left_above, right_above, left_below};
    for (int i = 0; i < 3; i++)
        if (abs(rgb[3 * at[i]] - 255 * want[i]) > 8)
            fail_msg("corner %d is %d", i, rgb[3 * at[i]]);
}

/* Of each number one, whatever its ending, as it is held. */
static void test_faces(void **state)
{
    uint8_t rgb[SIDE * SIDE * 3];
    mgi_dataset *ds, *part;
    const uint64_t first = 0;
    (void)state;
    make_films(folder, "faces");
    put_film_of("a.y4m", 16, 16, 4, 16, 1);
    put_film_of("b.y4m", 16, 16, 4, 16, 1);
    put_jpeg("a.face.JPG", 6); /* what is stored above is seen right */
    put_png("a.face2.png", 70);
    put_jpeg("a.face3.jpeg", 3);
    put_jpeg("a.face5.jpg", 1); /* behind a gap */
    put_png("b.face.png", 9);
    put_jpeg("a.face.x.jpg", 1); /* of no film here */
    ds = open_folder(4);
    assert_true(mgi_dataset_has_photos(ds));
    assert_int_equal(ds->count, 2);
    assert_int_equal(ds->films[0].photos, 3);
    assert_int_equal(ds->films[1].photos, 1);
    assert_string_equal(ds->films[0].photo_names[0], "a.face.JPG");
    OK(mgi_dataset_part(ctx, ds, SIDE, SIDE, 4, &first, 1, &part));
    for (int k = 0; k < 2; k++) {
        mgi_dataset *of = k ? part : ds;
        OK(mgi_dataset_photo(ctx, of, 0, 1, false, SIDE, rgb));
        assert_int_equal(rgb[0], 70);
        if (!find_plugin(ctx))
            continue;
        OK(mgi_dataset_photo(ctx, of, 0, 0, false, SIDE, rgb));
        assert_corners(rgb, 0, 1, 0);
        OK(mgi_dataset_photo(ctx, of, 0, 5, false, SIDE, rgb));
        assert_corners(rgb, 0, 0, 1);
    }
    const uint64_t was = ds->identity;
    mgi_dataset_release(part);
    mgi_dataset_release(ds);
    unlink(in_films("a.face5.jpg"));
    ds = open_folder(4);
    assert_int_equal(ds->identity, was); /* that one was none of its photos */
    mgi_dataset_release(ds);
    unlink(in_films("a.face3.jpeg"));
    ds = open_folder(4);
    assert_int_not_equal(ds->identity, was);
    mgi_dataset_release(ds);
    put_png("a.face.png", 1);
    assert_said(open_at(4, &ds), MGEN_E_INVALID,
                "has two photos of the same number, 'a.face.JPG' and 'a.face.png'; take one");
    unlink(in_films("a.face.png"));
    unlink(in_films("b.face.png"));
    ds = open_folder(4);
    assert_said(mgi_dataset_check_photos(ctx, ds), MGEN_E_INVALID,
                "'b.face.png' is missing, or one in .jpg, .jpeg or .webp");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* Samples of one frame, in the order of names; photos and edits of others are none. */
static void test_samples(void **state)
{
    static const char *const names[] = {"a.jpg", "b.png", "c.JPEG", "d.webp", "e.y4m"};
    uint8_t rgb[SIDE * SIDE * 3];
    char caption[MGI_CAPTION_SIZE];
    mgi_dataset *ds;
    (void)state;
    make_films(folder, "samples");
    put_jpeg("a.jpg", 1);
    put_text("a.txt", "white over black");
    put_png("b.png", 200);
    put_jpeg("c.JPEG", 8);
    put_jpeg("d.webp", 1); /* whatever it is called */
    put_film_of("e.y4m", 16, 16, 4, 16, 1);
    put_jpeg("x.face.jpg", 1);
    put_jpeg("x.face2.webp", 1);
    put_jpeg("a.edited.jpg", 1);
    ds = open_folder(1);
    assert_int_equal(ds->count, 5);
    for (int i = 0; i < 5; i++)
        assert_string_equal(ds->films[i].name, names[i]);
    OK(mgi_dataset_check_frames(ctx, ds));
    if (find_plugin(ctx)) {
        OK(mgi_dataset_sample(ctx, ds, 0, rgb, caption));
        assert_corners(rgb, 1, 1, 0);
        assert_string_equal(caption, "white over black");
        OK(mgi_dataset_sample(ctx, ds, 2, rgb, caption));
        assert_corners(rgb, 1, 0, 1);
        OK(mgi_dataset_sample(ctx, ds, 3, rgb, caption));
        assert_corners(rgb, 1, 1, 0);
    }
    mgi_free(ctx, ctx->plugin_dir);
    ctx->plugin_dir = NULL;
    OK(mgi_strdup(ctx, films, &ctx->plugin_dir));
    assert_said(mgi_dataset_sample(ctx, ds, 2, rgb, caption), MGEN_E_UNSUPPORTED, "c.JPEG");
    assert_said(mgi_dataset_sample(ctx, ds, 2, rgb, caption), MGEN_E_UNSUPPORTED,
                "convert it to PNG");
    OK(mgi_dataset_sample(ctx, ds, 1, rgb, caption));
    mgi_dataset_release(ds);
    mgi_free(ctx, ctx->plugin_dir);
    ctx->plugin_dir = NULL;
    put_bytes("c.JPEG", "\xFF\xD8\xFF", 3); /* found when it is read, or, measured, before */
    ds = open_folder(1);
    assert_said(mgi_dataset_sample(ctx, ds, 2, rgb, caption), MGEN_E_CORRUPT, "c.JPEG");
    mgi_dataset_release(ds);
    ds = open_folder(4); /* of several frames, films alone */
    assert_int_equal(ds->count, 1);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_faces),
                                       cmocka_unit_test(test_samples)};
    return cmocka_run_group_tests_name("folder pictures", tests, make_folder_context,
                                       remove_folder_context);
}
