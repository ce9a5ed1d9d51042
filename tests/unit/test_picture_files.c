/* SPDX-License-Identifier: MIT
 * JPEG and WebP: how they are held, their colours, and what is refused; with the plug-in and without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "core/philox.h"
#include "find_plugin.h"
#include "jpeg_bytes.h"
#include "media_folder.h"
#include "media/film_read.h"
#include "media/media.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[300];

static void call(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", dir, name);
}

/* A file, which calls are then of. */
static void put(const char *name, const void *data, size_t size)
{
    call(name);
    store(name, data, size);
}

static int set_up(void **state)
{
    (void)state;
    return open_media_folder();
}

static int tear_down(void **state)
{
    static const char *const names[] = {"a.jpg", "A.JPEG", "a.webp", "a.png", "a.heic", "stderr"};
    (void)state;
    mgi_context_free(ctx);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        call(names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static void store_jpeg(const char *name, const jpeg_made *made)
{
    size_t size;
    uint8_t *data = jpeg_make(made, &size);
    put(name, data, size);
    free(data);
}

static uint8_t *read_picture(mgi_film_info *info)
{
    uint8_t *pixels;
    if (mgi_film_read(ctx, path, 0, 0, &pixels, info) != MGEN_OK)
        fail_msg("%s", ctx->error_text);
    assert_int_equal(info->frames, 1);
    return pixels;
}

/* Read, or told alone; refused, whatever is left behind. */
static void assert_refused(mgen_status status, const char *said)
{
    const uint64_t before = ctx->heap->now;
    uint8_t *pixels;
    mgi_film_info info;
    for (int told = 0; told < 2; told++) {
        mgen_status got =
            told ? mgi_film_tell(ctx, path, &info) : mgi_film_read(ctx, path, 0, 0, &pixels, &info);
        if (got != status || !strstr(ctx->error_text, said) || !strstr(ctx->error_text, path))
            fail_msg("%s '%s', wanted %s '%s'", mgen_status_name(got),
                     got == MGEN_OK ? "" : ctx->error_text, mgen_status_name(status), said);
    }
    assert_int_equal(ctx->heap->now, before);
}

/* ---- colours -------------------------------------------------------------------------------------- */

/* Of each component and block another value, the ends of the range among them. */
static uint8_t value_of(int component, int x, int y)
{
    static const uint8_t luma[2][3] = {{0, 60, 120}, {255, 180, 90}};
    static const uint8_t colour[2][2][3] = {{{128, 90, 200}, {100, 128, 150}},
                                            {{128, 170, 60}, {140, 110, 128}}};
    return component ? colour[component - 1][y % 2][x % 3] : luma[y % 2][x % 3];
}

/* Of JFIF's definition. */
static void rgb_of(double y, double cb, double cr, double rgb[3])
{
    rgb[0] = y + 1.402 * (cr - 128);
    rgb[1] = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128);
    rgb[2] = y + 1.772 * (cb - 128);
    for (int k = 0; k < 3; k++)
        rgb[k] = rgb[k] < 0 ? 0 : rgb[k] > 255 ? 255 : rgb[k];
}

static void assert_pixel(const uint8_t *got, const jpeg_made *m, int x, int y, const char *what)
{
    const int across = m->across ? m->across : 1, down = m->down ? m->down : 1;
    const bool grey = m->components == 1;
    double want[3];
    rgb_of(m->value(0, x / 8, y / 8), grey ? 128 : m->value(1, x / (8 * across), y / (8 * down)),
           grey ? 128 : m->value(2, x / (8 * across), y / (8 * down)), want);
    for (int k = 0; k < 3; k++)
        if (fabs(got[k] - want[k]) > 1.01)
            fail_msg("%s, (%d, %d): %d %d %d, wanted %g %g %g", what, x, y, got[0], got[1], got[2],
                     want[0], want[1], want[2]);
}

static uint8_t of_one_colour(int component, int x, int y)
{
    (void)x;
    (void)y;
    static const uint8_t all[3] = {76, 85, 255}; /* red, which no limited range holds */
    return all[component];
}

/* Each kind, cut within blocks: where colours are as fine as luma, each pixel; else one colour. */
static void test_colours(void **state)
{
    static const jpeg_made kinds[] = {
        {.width = 21, .height = 13, .components = 3, .value = value_of},
        {.width = 21, .height = 13, .components = 1, .value = value_of},
        {.width = 24, .height = 16, .components = 3, .progressive = true, .value = value_of},
        {.width = 37,
         .height = 19,
         .components = 3,
         .across = 2,
         .down = 2,
         .value = of_one_colour},
        {.width = 37,
         .height = 19,
         .components = 3,
         .across = 2,
         .down = 1,
         .value = of_one_colour},
        {.width = 1, .height = 1, .components = 3, .across = 2, .down = 2, .value = of_one_colour},
    };
    (void)state;
    if (!find_plugin(ctx))
        skip();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char what[32];
        mgi_film_info info;
        snprintf(what, sizeof(what), "kind %zu", i);
        store_jpeg(i % 2 ? "A.JPEG" : "a.jpg", &kinds[i]);
        uint8_t *pixels = read_picture(&info);
        assert_int_equal(info.width, kinds[i].width);
        assert_int_equal(info.height, kinds[i].height);
        for (int y = 0; y < kinds[i].height; y++)
            for (int x = 0; x < kinds[i].width; x++)
                assert_pixel(pixels + 3 * (y * info.width + x), &kinds[i], x, y, what);
        mgi_free(ctx, pixels);
    }
}

/* ---- how it is held --------------------------------------------------------------------------------- */

/* Where the stored row and column are seen, by EXIF's words for them. */
static void seen_at(int orientation, int w, int h, int column, int row, int *x, int *y)
{
    /* row 0 is seen: top, top, bottom, bottom, left, right, right, left;
     * column 0:      left, right, right, left, top, top, bottom, bottom */
    static const char rows[] = "ttbblrrl", columns[] = "lrrlttbb";
    const char r = rows[orientation - 1], c = columns[orientation - 1];
    *x = c == 'l' ? column : c == 'r' ? w - 1 - column : r == 'l' ? row : h - 1 - row;
    *y = r == 't' ? row : r == 'b' ? h - 1 - row : c == 't' ? column : w - 1 - column;
}

static void assert_held(int orientation, const jpeg_made *m, const uint8_t *pixels,
                        const mgi_film_info *info)
{
    char what[32];
    snprintf(what, sizeof(what), "orientation %d", orientation);
    assert_int_equal(info->width, orientation < 5 ? m->width : m->height);
    assert_int_equal(info->height, orientation < 5 ? m->height : m->width);
    for (int row = 0; row < m->height; row++)
        for (int column = 0; column < m->width; column++) {
            int x, y;
            seen_at(orientation, m->width, m->height, column, row, &x, &y);
            assert_pixel(pixels + 3 * (y * info->width + x), m, column, row, what);
        }
}

static void test_held(void **state)
{
    (void)state;
    if (!find_plugin(ctx))
        skip();
    for (int i = 0; i < 16; i++) {
        const int orientation = i / 2 + 1;
        const jpeg_made made = {.width = 24,
                                .height = 13,
                                .components = 3,
                                .orientation = orientation,
                                .little = i % 2,
                                .value = value_of};
        mgi_film_info info, told;
        store_jpeg("a.jpg", &made);
        uint8_t *pixels = read_picture(&info);
        assert_held(orientation, &made, pixels, &info);
        mgi_free(ctx, pixels);
        assert_int_equal(mgi_film_tell(ctx, path, &told), MGEN_OK);
        assert_int_equal(told.width, info.width);
        assert_int_equal(told.height, info.height);
        assert_int_equal(told.frames, 1);
    }
}

/* What makes no sense says nothing, and is not read beyond its end: each is as large as its memory. */
static void test_exif(void **state)
{
    jpeg_writer w = {.data = malloc(6 + JPEG_TIFF)};
    (void)state;
    assert_non_null(w.data);
    jpeg_put(&w, "Exif\0\0", 6);
    jpeg_put_tiff(&w, 6, true);
    assert_int_equal(w.size, 6 + JPEG_TIFF);
    assert_int_equal(mgi_exif_orientation(w.data, w.size), 6);
    assert_int_equal(mgi_exif_orientation(w.data + 6, w.size - 6), 6);
    for (size_t size = 0; size <= w.size; size++) { /* cut: the field is whole or it is not there */
        uint8_t *cut = malloc(size ? size : 1);
        assert_non_null(cut);
        memcpy(cut, w.data, size);
        assert_int_equal(mgi_exif_orientation(cut, size), size >= 6 + 8 + 2 + 24 ? 6 : 1);
        free(cut);
    }
    static const struct {
        size_t at;
        uint8_t byte;
    } bad[] = {{6, 'X'}, {8, 43}, {10, 0}, {10, 255}, {13, 255}, {14, 0},   {14, 1},
               {30, 4},  {32, 2}, {36, 0}, {36, 9},   {37, 1},   {28, 0x13}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const uint8_t was = w.data[bad[i].at];
        w.data[bad[i].at] = bad[i].byte;
        if (mgi_exif_orientation(w.data, w.size) != 1)
            fail_msg("byte %zu made %d", bad[i].at, bad[i].byte);
        w.data[bad[i].at] = was;
    }
    for (uint64_t i = 0; i < 20000; i++) {
        uint8_t *random = malloc(w.size);
        assert_non_null(random);
        memcpy(random, w.data, w.size);
        for (uint64_t k = 0; k < 3; k++)
            random[6 + mgi_random_u32(1, i, 2 * k) % JPEG_TIFF] =
                (uint8_t)mgi_random_u32(1, i, 2 * k + 1);
        const int32_t got = mgi_exif_orientation(random, w.size);
        assert_true(got >= 1 && got <= 8);
        free(random);
    }
    free(w.data);
}

/* ---- refused ------------------------------------------------------------------------------------------ */

static const jpeg_made small = {
    .width = 16, .height = 8, .components = 3, .orientation = 6, .value = value_of};

/* Cut anywhere: refused by its bytes, without the decoder. What lies behind the end is left aside. */
static void test_cut(void **state)
{
    size_t size;
    uint8_t *data = jpeg_make(&small, &size), *more = calloc(1, size + 100);
    mgi_film_info info;
    (void)state;
    assert_non_null(more);
    for (size_t n = 3; n < size; n++) {
        put("a.jpg", data, n);
        assert_refused(MGEN_E_CORRUPT, "byte");
    }
    memcpy(more, data, size);
    more[size + 50] = 0xFF;
    put("a.jpg", more, size + 100);
    assert_int_equal(mgi_film_tell(ctx, path, &info), MGEN_OK);
    assert_int_equal(info.width, 8);
    assert_int_equal(info.height, 16);
    if (find_plugin(ctx))
        mgi_free(ctx, read_picture(&info));
    free(data);
    free(more);
}

static size_t find_bytes(const uint8_t *data, size_t size, const char *bytes)
{
    const uint8_t *found = memmem(data, size, bytes, strlen(bytes));
    assert_non_null(found);
    return (size_t)(found - data);
}

/* One byte of the file changed, or two. */
static void assert_changed(size_t at, int high, int low, mgen_status status, const char *said)
{
    size_t size;
    uint8_t *data = jpeg_make(&small, &size);
    data[at] = (uint8_t)high;
    if (low >= 0)
        data[at + 1] = (uint8_t)low;
    put("a.jpg", data, size);
    assert_refused(status, said);
    free(data);
}

static void test_refused(void **state)
{
    size_t size;
    uint8_t *data = jpeg_make(&small, &size);
    const size_t frame = find_bytes(data, size, "\xFF\xC0"),
                 scan = find_bytes(data, size, "\xFF\xDA");
    const size_t tables = find_bytes(data, size, "\xFF\xC4");
    static const uint8_t heif[16] = "\0\0\0\x18"
                                    "ftypheic",
                         none[16] = "no picture";
    (void)state;
    assert_changed(frame + 1, 0xC9, -1, MGEN_E_UNSUPPORTED, "process 9 and 8 bits");
    assert_changed(frame + 1, 0xC3, -1, MGEN_E_UNSUPPORTED, "baseline");
    assert_changed(frame + 4, 12, -1, MGEN_E_UNSUPPORTED, "12 bits");
    assert_changed(frame + 5, 0, 0, MGEN_E_UNSUPPORTED, "its height at its end");
    assert_changed(frame + 7, 0, 0, MGEN_E_CORRUPT, "frames of 0 x 8 pixels");
    assert_changed(frame + 9, 4, -1, MGEN_E_CORRUPT, "a frame's header");
    assert_changed(frame + 2, 0xFF, 0xFF, MGEN_E_CORRUPT, "passes the file's end");
    assert_changed(frame + 2, 0, 1, MGEN_E_CORRUPT, "of no size");
    assert_changed(frame, 0xFF, 0xFE, MGEN_E_CORRUPT, "a scan before");
    assert_changed(frame, 0xFF, 0xD8, MGEN_E_CORRUPT, "a marker that makes no sense");
    assert_changed(frame, 0, -1, MGEN_E_CORRUPT, "no marker");
    assert_changed(tables + 5, 3, -1, MGEN_E_CORRUPT, "a table of codes"); /* 3 of 1 bit */
    assert_changed(tables + 4, 0x24, -1, MGEN_E_CORRUPT, "a table of codes");
    assert_changed(tables + 12, 200, -1, MGEN_E_CORRUPT, "a table of codes");
    assert_changed(scan + 1, 0xFE, -1, MGEN_E_CORRUPT, "no marker");
    assert_changed(scan + 1, 0xC0, -1, MGEN_E_CORRUPT, "a frame's header");
    assert_changed(scan + 1, 0xD9, -1, MGEN_E_CORRUPT, "without a picture");
    /* Sizes: beyond all limits, and more than so few bytes can hold. */
    assert_changed(frame + 5, 0xFF, 0xFF, MGEN_E_CORRUPT, "too few for 16 x 65535");
    data[frame + 5] = data[frame + 7] = 0xFF;
    put("a.jpg", data, size);
    assert_refused(MGEN_E_CORRUPT, "pixels at most are read");
    data[frame + 5] = data[frame + 7] = 0x3F;
    put("a.jpg", data, size);
    assert_refused(MGEN_E_CORRUPT, "bytes are too few for 16144 x 16136 pixels");
    free(data);
    put("a.jpg", heif, sizeof(heif));
    assert_refused(MGEN_E_UNSUPPORTED, "HEIF");
    put("a.jpg", none, sizeof(none));
    assert_refused(MGEN_E_CORRUPT, "no JPEG, WebP or PNG");
    put("a.jpg", none, 0);
    assert_refused(MGEN_E_CORRUPT, "no JPEG, WebP or PNG");
    if (find_plugin(ctx)) {
        put("a.heic", heif, sizeof(heif));
        assert_refused(MGEN_E_UNSUPPORTED, "save it as JPEG or PNG");
    }
}

static void test_without_plugin(void **state)
{
    mgi_film_info info;
    uint8_t *pixels;
    (void)state;
    mgi_free(ctx, ctx->plugin_dir);
    ctx->plugin_dir = NULL;
    assert_int_equal(mgi_strdup(ctx, dir, &ctx->plugin_dir), MGEN_OK);
    store_jpeg("a.jpg", &small);
    assert_int_equal(mgi_film_read(ctx, path, 0, 0, &pixels, &info), MGEN_E_UNSUPPORTED);
    assert_non_null(strstr(ctx->error_text, path));
    assert_non_null(
        strstr(ctx->error_text, "JPEG pictures are read by a plug-in; convert it to PNG, or"));
    assert_non_null(strstr(ctx->error_text, "the FFmpeg plug-in mgen_ffmpeg.so is not in"));
    assert_int_equal(mgi_film_tell(ctx, path, &info), MGEN_OK);
    assert_int_equal(info.width, 8);
    mgi_free(ctx, ctx->plugin_dir);
    ctx->plugin_dir = NULL;
}

/* What the host allows is not passed, by what a picture of the right size claims. */
static void test_memory(void **state)
{
    const jpeg_made large = {.width = 4096, .height = 2048, .components = 3, .value = value_of};
    mgi_film_info info;
    uint8_t *pixels;
    (void)state;
    if (!find_plugin(ctx))
        skip();
    store_jpeg("a.jpg", &large);
    const uint64_t was = ctx->heap->max;
    ctx->heap->max = ctx->heap->now + 16 * 1024 * 1024;
    assert_int_equal(mgi_film_read(ctx, path, 0, 0, &pixels, &info), MGEN_E_LIMIT);
    ctx->heap->max = was;
    mgi_free(ctx, read_picture(&info));
    assert_int_equal(info.width, 4096);
}

/* A PNG that has another's name is read as what it is; the other way round it is named. */
static void test_named_otherwise(void **state)
{
    uint8_t rgb[2 * 3 * 3] = {1, 2, 3, 200, 100, 0};
    const mgi_frames frames = {rgb, 3, 2, 1, 16, 1};
    mgi_film_info info;
    (void)state;
    call("a.png");
    assert_int_equal(mgi_frames_write(ctx, path, &frames), MGEN_OK);
    size_t size;
    uint8_t *data = load(path, &size);
    put("a.jpg", data, size);
    uint8_t *pixels = read_picture(&info);
    assert_memory_equal(pixels, rgb, sizeof(rgb));
    mgi_free(ctx, pixels);
    free(data);
    store_jpeg("a.png", &small);
    assert_refused(MGEN_E_CORRUPT, "it is a JPEG, whatever its name says; name it .jpg");
}

/* ---- damaged by chance -------------------------------------------------------------------------------- */

/* Read, or refused by what it says: nothing else, nothing printed and nothing left. */
static void read_damaged(const char *name, const uint8_t *data, size_t size, uint64_t inputs,
                         bool silent)
{
    uint8_t *copy = malloc(size);
    uint64_t good = 0;
    struct stat printed;
    assert_non_null(copy);
    call("stderr");
    fflush(stderr);
    const int saved = dup(2), file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    dup2(file, 2);
    for (uint64_t i = 0; i < inputs; i++) {
        const uint64_t before = ctx->heap->now;
        uint8_t *pixels;
        mgi_film_info info;
        memcpy(copy, data, size);
        for (uint64_t k = 0; k <= i % 3; k++)
            copy[mgi_random_u32(2, i, 2 * k) % size] = (uint8_t)mgi_random_u32(2, i, 2 * k + 1);
        put(name, copy, size);
        mgen_status status = mgi_film_read(ctx, path, 0, 0, &pixels, &info);
        good += status == MGEN_OK;
        if (status == MGEN_OK)
            mgi_free(ctx, pixels);
        else if (status != MGEN_E_CORRUPT && status != MGEN_E_UNSUPPORTED)
            fail_msg("input %d: %s", (int)i, ctx->error_text);
        assert_int_equal(ctx->heap->now, before);
    }
    dup2(saved, 2);
    close(saved);
    fstat(file, &printed);
    close(file);
    free(copy);
    if (silent)
        assert_int_equal(printed.st_size, 0);
    assert_in_range(good, 1, inputs - 1);
}

static void test_damaged(void **state)
{
    const jpeg_made kinds[2] = {
        {.width = 40,
         .height = 24,
         .components = 3,
         .across = 2,
         .down = 2,
         .orientation = 8,
         .value = value_of},
        {.width = 40, .height = 24, .components = 3, .progressive = true, .value = value_of}};
    (void)state;
    if (!find_plugin(ctx))
        skip();
    for (int i = 0; i < 2; i++) {
        size_t size;
        uint8_t *data = jpeg_make(&kinds[i], &size);
        read_damaged("a.jpg", data, size, 2000, true);
        free(data);
    }
}

/* ---- WebP ----------------------------------------------------------------------------------------------- */

/* Without loss, 5 x 3 pixels of one colour, the code for each of which has no bits: alpha, red, green, blue; made by hand. */
static size_t make_lossless(uint8_t out[64], const uint8_t argb[4], bool transparent)
{
    static const uint8_t begin[] = "RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2F";
    uint64_t bits[4] = {0};
    int n = 0;
    /* the size, opacity, version; no transform, cache or groups; five codes of one symbol each */
    const uint8_t symbols[5] = {argb[2], argb[1], argb[3], argb[0], 0};
    const uint32_t fields[][2] = {{4, 14}, {2, 14}, {transparent, 1}, {0, 3}, {0, 1},
                                  {0, 1},  {0, 1}};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        for (uint32_t k = 0; k < fields[i][1]; k++, n++)
            bits[n / 64] |= (uint64_t)(fields[i][0] >> k & 1) << n % 64;
    for (int i = 0; i < 5; i++) /* simple, one symbol, of 8 bits */
        for (uint32_t k = 0, code = 1u | 0u << 1 | 1u << 2 | (uint32_t)symbols[i] << 3; k < 11;
             k++, n++)
            bits[n / 64] |= (uint64_t)(code >> k & 1) << n % 64;
    const size_t size = 1 + (size_t)(n + 7) / 8, padded = size + size % 2;
    memset(out, 0, 64);
    memcpy(out, begin, sizeof(begin) - 1);
    memcpy(out + 21, bits, size - 1);
    out[16] = (uint8_t)size;
    out[4] = (uint8_t)(12 + padded);
    return 20 + padded;
}

static void test_webp_lossless(void **state)
{
    static const uint8_t argb[4] = {51, 200, 100, 50};
    uint8_t data[64];
    mgi_film_info info;
    (void)state;
    for (int transparent = 0; transparent < 2; transparent++) {
        const size_t size = make_lossless(data, argb, transparent);
        for (size_t n = 12; n < size; n++) {
            put("a.webp", data, n);
            assert_refused(MGEN_E_CORRUPT, "byte");
        }
        put("a.webp", data, size);
        assert_int_equal(mgi_film_tell(ctx, path, &info), MGEN_OK);
        assert_int_equal(info.width, 5);
        assert_int_equal(info.height, 3);
        if (!find_plugin(ctx))
            continue;
        uint8_t *pixels = read_picture(&info);
        for (int i = 0; i < 15 * 3; i++)
            assert_in_range(pixels[i], argb[1 + i % 3] / (transparent ? 5 : 1),
                            argb[1 + i % 3] / (transparent ? 5 : 1));
        mgi_free(ctx, pixels);
        read_damaged("a.webp", data, size, 500,
                     false); /* of its codes FFmpeg complains to nobody */
    }
    /* All that its header can say, of hardly any bytes. */
    size_t size = make_lossless(data, argb, false);
    data[21] = data[22] = data[23] = 0xFF;
    data[24] = 0x0F;
    put("a.webp", data, size);
    assert_refused(MGEN_E_CORRUPT, "too few for 16384 x 16384");
}

/* <RIFF>, VP8X with such flags and size, EXIF with an orientation, and the picture. From malloc. */
static uint8_t *extend(const uint8_t *webp, size_t size, uint8_t flags, int width, int height,
                       int orientation, size_t *out)
{
    jpeg_writer w = {.data = malloc(size + 200)};
    assert_non_null(w.data);
    jpeg_put(&w, "RIFF\0\0\0\0WEBPVP8X", 16);
    jpeg_put_number(&w, 10, 4, true);
    jpeg_put_number(&w, flags, 4, true);
    jpeg_put_number(&w, (uint32_t)width - 1, 3, true);
    jpeg_put_number(&w, (uint32_t)height - 1, 3, true);
    jpeg_put(&w, webp + 12, size - 12);
    jpeg_put(&w, "EXIF", 4);
    jpeg_put_number(&w, JPEG_TIFF, 4, true);
    jpeg_put_tiff(&w, orientation, false);
    const uint32_t riff = (uint32_t)w.size - 8;
    for (int i = 0; i < 4; i++)
        w.data[4 + i] = (uint8_t)(riff >> 8 * i);
    *out = w.size;
    return w.data;
}

/* With loss, as the plug-in writes them where FFmpeg has the encoder. */
static void test_webp(void **state)
{
    enum { W = 48, H = 32 };
    static const uint8_t fields[2][2][3] = {{{200, 40, 40}, {40, 200, 40}},
                                            {{40, 40, 200}, {200, 200, 200}}};
    static uint8_t rgb[H][W][3];
    const mgi_frames frames = {&rgb[0][0][0], W, H, 1, 16, 1};
    mgi_film_info info;
    size_t size, more;
    (void)state;
    if (!find_plugin(ctx))
        skip();
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            memcpy(rgb[y][x], fields[2 * y / H][2 * x / W], 3);
    call("a.webp");
    if (mgi_frames_write(ctx, path, &frames) != MGEN_OK) {
        print_message("skipped: this FFmpeg writes no WebP: %s\n", ctx->error_text);
        skip();
    }
    uint8_t *webp = load(path, &size);
    for (int way = 1; way <= 8; way++) {
        uint8_t *data = extend(webp, size, 8, W, H, way, &more);
        put("a.webp", data, more);
        uint8_t *pixels = read_picture(&info);
        assert_int_equal(info.width, way < 5 ? W : H);
        for (int i = 0; i < 4; i++) {
            int x, y;
            seen_at(way, W, H, W / 4 + i % 2 * W / 2, H / 4 + i / 2 * H / 2, &x, &y);
            for (int k = 0; k < 3; k++)
                assert_in_range(pixels[3 * (y * info.width + x) + k], fields[i / 2][i % 2][k] - 12,
                                fields[i / 2][i % 2][k] + 12);
        }
        mgi_free(ctx, pixels);
        free(data);
    }
    uint8_t *data = extend(webp, size, 2, W, H, 1, &more);
    put("a.webp", data, more);
    assert_refused(MGEN_E_UNSUPPORTED, "a WebP that moves");
    free(data);
    data = extend(webp, size, 0, W + 1, H, 1, &more);
    put("a.webp", data, more);
    assert_refused(MGEN_E_CORRUPT, "of another size than the file's");
    free(data);
    read_damaged("a.webp", webp, size, 1000, true);
    free(webp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colours), cmocka_unit_test(test_held),
        cmocka_unit_test(test_exif),    cmocka_unit_test(test_cut),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_without_plugin),
        cmocka_unit_test(test_memory),  cmocka_unit_test(test_named_otherwise),
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_webp_lossless),
        cmocka_unit_test(test_webp)};
    return cmocka_run_group_tests_name("picture files", tests, set_up, tear_down);
}
