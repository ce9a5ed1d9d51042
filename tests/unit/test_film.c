/* SPDX-License-Identifier: MIT
 * Reading films and pictures: what was written comes back; a damaged file is refused with what and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "core/philox.h"
#include "data/world.h"
#include "find_plugin.h"
#include "media_folder.h"
#include "media/film_read.h"
#include "media/media.h"
#include "media/pixels.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static uint64_t empty_bytes;

static int set_up(void **state)
{
    (void)state;
    if (open_media_folder())
        return -1;
    empty_bytes = ctx->heap->now;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"a.y4m",  "a.png", "a.mp4", "a.mkv",
                                        "a.webm", "a.avi", "a.gif"};
    (void)state;
    mgi_context_free(ctx);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(in_dir(names[i]));
    return rmdir(dir);
}

/* Read a whole file and forget it. */
static mgen_status read_status(const char *name)
{
    uint8_t *pixels;
    mgi_film_info info;
    mgen_status status = mgi_film_read(ctx, in_dir(name), 0, 0, &pixels, &info);
    if (status == MGEN_OK)
        mgi_free(ctx, pixels);
    else
        assert_null(pixels);
    assert_int_equal(ctx->heap->now, empty_bytes); /* nothing is left behind */
    return status;
}

static void assert_refused(const char *name, mgen_status status, const char *said)
{
    mgen_status got = read_status(name);
    if (got != status || !strstr(ctx->error_text, said))
        fail_msg("%s '%s', wanted %s '%s'", mgen_status_name(got), ctx->error_text,
                 mgen_status_name(status), said);
}

static uint8_t *read_all(const char *name, uint64_t first, uint64_t count, mgi_film_info *info)
{
    uint8_t *pixels;
    if (mgi_film_read(ctx, in_dir(name), first, count, &pixels, info) != MGEN_OK)
        fail_msg("%s", ctx->error_text);
    return pixels;
}

/* Smooth frames with every kind of colour. */
static uint8_t *make_frames(int64_t width, int64_t height, int64_t frames)
{
    uint8_t *rgb = malloc((size_t)(3 * width * height * frames)), *p = rgb;
    assert_non_null(rgb);
    for (int64_t f = 0; f < frames; f++)
        for (int64_t y = 0; y < height; y++)
            for (int64_t x = 0; x < width; x++) {
                *p++ = (uint8_t)(x * 255 / width);
                *p++ = (uint8_t)(y * 255 / height);
                *p++ = (uint8_t)(40 * f + 3 * x);
            }
    return rgb;
}

/* ---- y4m ------------------------------------------------------------------------------------------ */

static void test_y4m(void **state)
{
    (void)state;
    for (int odd = 0; odd < 2; odd++) {
        int64_t w = 22 + odd, h = 14 + odd, n = 5, frame = 3 * w * h;
        uint8_t *rgb = make_frames(w, h, n), *want = malloc((size_t)frame), *planes;
        mgi_frames frames = {rgb, w, h, n, 30000, 1001};
        mgi_pixels yuv = {MGI_PIXELS_YUV420, w, h, 1};
        mgi_film_info info;
        assert_int_equal(mgi_y4m_write(ctx, in_dir("a.y4m"), &frames), MGEN_OK);
        uint8_t *got = read_all("a.y4m", 0, 0, &info);
        assert_int_equal(info.width, w);
        assert_int_equal(info.height, h);
        assert_int_equal(info.frames, n);
        assert_int_equal(info.fps_num, 30000);
        assert_int_equal(info.fps_den, 1001);
        planes = malloc((size_t)mgi_pixels_frame_bytes(&yuv));
        mgi_pixels_pack(&yuv, planes);
        for (int64_t i = 0; i < n; i++) {
            mgi_pixels_put_bytes(&yuv, 0, rgb + i * frame);
            mgi_pixels_get_bytes(&yuv, 0, want);
            assert_memory_equal(got + i * frame, want, (size_t)frame);
        }
        uint8_t *part = read_all("a.y4m", 2, 2, &info);
        assert_int_equal(info.frames, 2);
        assert_memory_equal(part, got + 2 * frame, (size_t)(2 * frame));
        mgi_free(ctx, part);
        part = read_all("a.y4m", 4, 9, &info); /* it ends earlier */
        assert_int_equal(info.frames, 1);
        mgi_free(ctx, part);
        mgi_free(ctx, got);
        assert_int_equal(mgi_film_read(ctx, in_dir("a.y4m"), 5, 1, &part, &info), MGEN_E_INVALID);
        assert_non_null(strstr(ctx->error_text, "no frame 5"));
        free(rgb);
        free(want);
        free(planes);
    }
}

/* A 4 x 2 film of one frame with the given tags: all luma `y`, chroma `b` and `r`; its first pixel. */
static void one_colour(const char *tags, size_t chroma, int y, int b, int r, uint8_t rgb[3])
{
    char text[256];
    mgi_film_info info;
    int n = snprintf(text, sizeof(text), "YUV4MPEG2 W4 H2 F16:1%s\nFRAME\n", tags);
    memset(text + n, y, 8);
    memset(text + n + 8, b, chroma);
    memset(text + n + 8 + chroma, r, chroma);
    store("a.y4m", text, (size_t)n + 8 + 2 * chroma);
    uint8_t *got = read_all("a.y4m", 0, 0, &info);
    assert_int_equal(info.frames, 1);
    memcpy(rgb, got, 3);
    for (int i = 0; i < 8; i++)
        assert_memory_equal(got + 3 * i, rgb, 3);
    mgi_free(ctx, got);
}

static void assert_near(const uint8_t rgb[3], int r, int g, int b)
{
    if (abs(rgb[0] - r) > 1 || abs(rgb[1] - g) > 1 || abs(rgb[2] - b) > 1)
        fail_msg("(%d, %d, %d), wanted (%d, %d, %d)", rgb[0], rgb[1], rgb[2], r, g, b);
}

/* The colours of BT.601 by their formula, in each layout. */
static void test_y4m_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *tags;
        size_t chroma;
    } kinds[] = {{"", 2},
                 {" C420", 2},
                 {" Ip A1:1 C420jpeg", 2},
                 {" C420mpeg2 XYSCSS=420MPEG2", 2},
                 {" I? C420paldv", 2},
                 {" C422", 4},
                 {" C444", 8}};
    uint8_t rgb[3];
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char full[64];
        one_colour(kinds[i].tags, kinds[i].chroma, 81, 90, 240, rgb);
        assert_near(rgb, 255, 0, 0);
        snprintf(full, sizeof(full), "%s XCOLORRANGE=FULL", kinds[i].tags);
        one_colour(full, kinds[i].chroma, 76, 85, 255, rgb);
        assert_near(rgb, 254, 0, 0);
    }
    one_colour(" Cmono", 0, 235, 0, 0, rgb);
    assert_near(rgb, 255, 255, 255);
    one_colour(" Cmono XCOLORRANGE=FULL", 0, 77, 0, 0, rgb);
    assert_near(rgb, 77, 77, 77);
}

static void test_y4m_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        mgen_status status;
        const char *said;
    } bad[] = {
        {"", MGEN_E_CORRUPT, "no 'YUV4MPEG2' at byte 0"},
        {"YUV4MPEG W2 H2\n", MGEN_E_CORRUPT, "no 'YUV4MPEG2'"},
        {"YUV4MPEG2 W2 H2 F1:1", MGEN_E_CORRUPT, "ends within a line"},
        {"YUV4MPEG2\n", MGEN_E_CORRUPT, "0 x 0 pixels"},
        {"YUV4MPEG2 W2 F1:1\n", MGEN_E_CORRUPT, "2 x 0 pixels"},
        {"YUV4MPEG2 W65537 H1 F1:1\n", MGEN_E_CORRUPT, "65537 x 1 pixels"},
        {"YUV4MPEG2 W65536 H65536 F1:1\n", MGEN_E_CORRUPT, "65536 x 65536 pixels"},
        {"YUV4MPEG2 W99999999999999999999 H2 F1:1\n", MGEN_E_CORRUPT, "at byte 10"},
        {"YUV4MPEG2 W-2 H2 F1:1\n", MGEN_E_CORRUPT, "at byte 10"},
        {"YUV4MPEG2 W2 W2 H2 F1:1\n", MGEN_E_CORRUPT, "there before at byte 13"},
        {"YUV4MPEG2 W2  H2 F1:1\n", MGEN_E_CORRUPT, "single space"},
        {"YUV4MPEG2 W2 H2 F1:1 \n", MGEN_E_CORRUPT, "single space"},
        {"YUV4MPEG2 W2 H2 F1\n", MGEN_E_CORRUPT, "at byte 16"},
        {"YUV4MPEG2 W2 H2 F1:0\n", MGEN_E_CORRUPT, "at byte 16"},
        {"YUV4MPEG2 W2 H2 Q1\n", MGEN_E_CORRUPT, "at byte 16"},
        {"YUV4MPEG2 W2 H2 F1:1 It\n", MGEN_E_UNSUPPORTED, "interlaced"},
        {"YUV4MPEG2 W2 H2 F1:1 C420p10\n", MGEN_E_UNSUPPORTED, "'C420p10'"},
        {"YUV4MPEG2 W2 H2 F1:1\n", MGEN_E_CORRUPT, "no frame at byte 21"},
        {"YUV4MPEG2 W2 H2 F1:1\nFRAMES\nabcdef", MGEN_E_CORRUPT, "no 'FRAME' at byte 21"},
        {"YUV4MPEG2 W2 H2 F1:1\nFRAME\nabcde", MGEN_E_CORRUPT, "byte 32, within frame 0"},
        {"YUV4MPEG2 W2 H2 F1:1\nFRAME\nabcdefFRAME\nabc", MGEN_E_CORRUPT, "within frame 1"},
        {"YUV4MPEG2 W2 H2 F1:1\nFRAME\nabcdefg", MGEN_E_CORRUPT, "where frame 1 begins"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        store("a.y4m", bad[i].text, strlen(bad[i].text));
        assert_refused("a.y4m", bad[i].status, bad[i].said);
        assert_non_null(strstr(ctx->error_text, "a.y4m"));
    }
    store("a.y4m", "YUV4MPEG2 W2 H2 F0:0\nFRAME Ip\nabcdef",
          36); /* an unknown rate is no mistake */
    assert_int_equal(read_status("a.y4m"), MGEN_OK);
    char text[3000] = "YUV4MPEG2 W2 H2 F1:1 X";
    memset(text + 22, 'x', sizeof(text) - 22);
    store("a.y4m", text, sizeof(text));
    assert_refused("a.y4m", MGEN_E_CORRUPT, "a line that does not end");
}

/* ---- png ------------------------------------------------------------------------------------------ */

static size_t put_chunk(uint8_t *out, const char type[5], const void *data, size_t size)
{
    const uint8_t length[4] = {0, 0, (uint8_t)(size >> 8), (uint8_t)size};
    memcpy(out, length, 4);
    memcpy(out + 4, type, 4);
    if (size)
        memcpy(out + 8, data, size);
    uLong crc = crc32(0, out + 4, (uInt)size + 4);
    for (int i = 0; i < 4; i++)
        out[8 + size + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    return size + 12;
}

enum { NO_PALETTE = 1, SPLIT = 2, TOO_LONG = 4, TOO_SHORT = 8 };

/* A PNG of the given rows (filters included). `header` after the sides. */
static void store_png(int width, int height, const uint8_t header[5], const uint8_t *rows,
                      size_t size, int how)
{
    uint8_t file[4096] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'}, packed[2048];
    uint8_t head[13] = {0, 0, 0, (uint8_t)width, 0, 0, 0, (uint8_t)height};
    static const uint8_t palette[] = {1, 2, 3, 40, 50, 60, 200, 210, 220}, opacity[] = {255, 128};
    uLongf packed_size = sizeof(packed);
    size_t at = 8;
    memcpy(head + 8, header, 5);
    at += put_chunk(file + at, "IHDR", head, 13);
    if (header[1] == 3 && !(how & NO_PALETTE)) {
        at += put_chunk(file + at, "PLTE", palette, sizeof(palette));
        at += put_chunk(file + at, "tRNS", opacity, sizeof(opacity));
    }
    at += put_chunk(file + at, "tEXt", "a", 1);
    assert_int_equal(compress(packed, &packed_size, rows, size), Z_OK);
    if (how & TOO_LONG)
        packed[packed_size++] = 7;
    if (how & TOO_SHORT)
        packed_size -= 6;
    at += put_chunk(file + at, "IDAT", packed, packed_size / 2);
    if (how & SPLIT)
        at += put_chunk(file + at, "tEXt", "b", 1);
    at += put_chunk(file + at, "IDAT", packed + packed_size / 2, packed_size - packed_size / 2);
    at += put_chunk(file + at, "IEND", NULL, 0);
    store("a.png", file, at);
}

static void test_png(void **state)
{
    (void)state;
    int64_t w = 37, h = 21;
    uint8_t *rgb = make_frames(w, h, 1);
    mgi_film_info info;
    for (int noise = 0; noise < 2; noise++) { /* all filters */
        for (int64_t i = 0; noise && i < 3 * w * h; i++)
            rgb[i] = (uint8_t)mgi_random_u32(1, 2, (uint64_t)i);
        assert_int_equal(mgi_png_write(ctx, in_dir("a.png"), rgb, w, h), MGEN_OK);
        uint8_t *got = read_all("a.png", 0, 0, &info);
        assert_int_equal(info.width, w);
        assert_int_equal(info.height, h);
        assert_int_equal(info.frames, 1);
        assert_memory_equal(got, rgb, (size_t)(3 * w * h));
        mgi_free(ctx, got);
    }
    free(rgb);
    assert_int_equal(mgi_film_read(ctx, in_dir("a.png"), 1, 1, &rgb, &info), MGEN_E_INVALID);
}

static void assert_pixels(const uint8_t *want, size_t size)
{
    mgi_film_info info;
    uint8_t *got = read_all("a.png", 0, 0, &info);
    assert_memory_equal(got, want, size);
    mgi_free(ctx, got);
}

static void test_png_kinds(void **state)
{
    (void)state;
    static const uint8_t grey[] = {0, 10, 20, 1, 30, 5};
    store_png(2, 2, (uint8_t[]){8, 0, 0, 0, 0}, grey, sizeof(grey), 0);
    assert_pixels((uint8_t[]){10, 10, 10, 20, 20, 20, 30, 30, 30, 35, 35, 35}, 12);
    static const uint8_t index[] = {0, 0, 1, 2, 2, 1};
    store_png(2, 2, (uint8_t[]){8, 3, 0, 0, 0}, index, sizeof(index), 0);
    assert_pixels((uint8_t[]){1, 2, 3, 20, 25, 30, 200, 210, 220, 1, 2, 3}, 9);
    static const uint8_t grey_alpha[] = {0, 100, 255, 100, 51};
    store_png(2, 1, (uint8_t[]){8, 4, 0, 0, 0}, grey_alpha, sizeof(grey_alpha), 0);
    assert_pixels((uint8_t[]){100, 100, 100, 20, 20, 20}, 6);
    static const uint8_t rgba[] = {0, 1, 2, 3, 255, 100, 200, 50, 0};
    store_png(2, 1, (uint8_t[]){8, 6, 0, 0, 0}, rgba, sizeof(rgba), 0);
    assert_pixels((uint8_t[]){1, 2, 3, 0, 0, 0}, 6);
}

static void test_png_refuses(void **state)
{
    (void)state;
    static const uint8_t rows[] = {0, 10, 20, 0, 30, 40}, filter[] = {0, 1, 2, 5, 1, 2},
                         index[] = {0, 0, 1, 0, 3, 1};
    const uint8_t grey[] = {8, 0, 0, 0, 0}, palette[] = {8, 3, 0, 0, 0};
    store_png(2, 2, (uint8_t[]){16, 0, 0, 0, 0}, rows, 6, 0);
    assert_refused("a.png", MGEN_E_UNSUPPORTED, "16 bits");
    store_png(2, 2, (uint8_t[]){8, 0, 0, 0, 1}, rows, 6, 0);
    assert_refused("a.png", MGEN_E_UNSUPPORTED, "interlaced");
    store_png(2, 2, (uint8_t[]){8, 1, 0, 0, 0}, rows, 6, 0);
    assert_refused("a.png", MGEN_E_CORRUPT, "IHDR");
    store_png(0, 2, grey, rows, 6, 0);
    assert_refused("a.png", MGEN_E_CORRUPT, "0 x 2 pixels");
    store_png(2, 2, grey, filter, 6, 0);
    assert_refused("a.png", MGEN_E_CORRUPT, "row 1 has the filter 5");
    store_png(2, 2, palette, index, 6, 0);
    assert_refused("a.png", MGEN_E_CORRUPT, "row 1 has a colour");
    store_png(2, 2, palette, index, 6, NO_PALETTE);
    assert_refused("a.png", MGEN_E_CORRUPT, "no PLTE");
    store_png(2, 2, grey, rows, 6, SPLIT);
    assert_refused("a.png", MGEN_E_CORRUPT, "apart");
    store_png(2, 2, grey, rows, 6, TOO_LONG);
    assert_refused("a.png", MGEN_E_CORRUPT, "behind the compressed rows");
    store_png(2, 2, grey, rows, 6, TOO_SHORT);
    assert_refused("a.png", MGEN_E_CORRUPT, "end too early");
    store_png(2, 2, grey, rows, 5, 0);
    assert_refused("a.png", MGEN_E_CORRUPT, "compressed rows");
    store_png(2, 1, grey, rows, 6, 0);
    assert_refused("a.png", MGEN_E_CORRUPT, "compressed rows");
    store_png(255, 255, grey, rows, 6, 0);
    assert_refused("a.png", MGEN_E_CORRUPT, "too few for 255 x 255");
}

/* A file of chunks, each a letter: good ones, and ones that break a rule. */
static void store_chunks(const char *letters)
{
    static const uint8_t rows[] = {0, 7, 7}, grey[13] = {0, 0, 0, 2, 0, 0, 0, 1, 8},
                         colours[13] = {0, 0, 0, 2, 0, 0, 0, 1, 8, 3}, palette[12] = {0};
    uint8_t file[4096] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'}, packed[64];
    uLongf packed_size = sizeof(packed);
    size_t at = 8;
    assert_int_equal(compress(packed, &packed_size, rows, sizeof(rows)), Z_OK);
    for (const char *c = letters; *c; c++) {
        uint8_t *to = file + at;
        at += *c == 'H'   ? put_chunk(to, "IHDR", grey, 13)
              : *c == 'h' ? put_chunk(to, "IHDR", grey, 12)
              : *c == 'C' ? put_chunk(to, "IHDR", colours, 13)
              : *c == 'P' ? put_chunk(to, "PLTE", palette, 6)
              : *c == 'p' ? put_chunk(to, "PLTE", palette, 7)
              : *c == 'q' ? put_chunk(to, "PLTE", palette, 0)
              : *c == 't' ? put_chunk(to, "tRNS", palette, 3)
              : *c == 'D' ? put_chunk(to, "IDAT", packed, packed_size)
              : *c == 'E' ? put_chunk(to, "IEND", NULL, 0)
              : *c == 'e' ? put_chunk(to, "IEND", palette, 1)
              : *c == 'X' ? put_chunk(to, "ABCD", NULL, 0)
              : *c == 'x' ? put_chunk(to, "aBCD", NULL, 0)
                          : put_chunk(to, "I?AT", NULL, 0);
    }
    store("a.png", file, at);
}

static void test_png_chunks(void **state)
{
    (void)state;
    static const struct {
        const char *letters;
        mgen_status status;
        const char *said;
    } bad[] = {
        {"", MGEN_E_CORRUPT, "the file ends before its last chunk at byte 8"},
        {"h", MGEN_E_CORRUPT, "no IHDR chunk of 13 bytes at byte 8"},
        {"D", MGEN_E_CORRUPT, "no IHDR chunk of 13 bytes"},
        {"H", MGEN_E_CORRUPT, "ends before its last chunk at byte 33"},
        {"HDx", MGEN_E_CORRUPT, "ends before its last chunk"},
        {"H?", MGEN_E_CORRUPT, "a chunk without a name at byte 33"},
        {"HE", MGEN_E_CORRUPT, "no IDAT chunk"},
        {"HDe", MGEN_E_CORRUPT, "an IEND chunk that is not the end"},
        {"HDEx", MGEN_E_CORRUPT, "an IEND chunk that is not the end"},
        {"HXDE", MGEN_E_UNSUPPORTED, "the chunk 'ABCD' is unknown"},
        {"HHDE", MGEN_E_UNSUPPORTED, "the chunk 'IHDR' is unknown"},
        {"HPDE", MGEN_E_CORRUPT, "a PLTE chunk that makes no sense at byte 33"},
        {"CpDE", MGEN_E_CORRUPT, "a PLTE chunk that makes no sense"},
        {"CqDE", MGEN_E_CORRUPT, "a PLTE chunk that makes no sense"},
        {"CPPDE", MGEN_E_CORRUPT, "a PLTE chunk that makes no sense"},
        {"CDPE", MGEN_E_CORRUPT, "a PLTE chunk that makes no sense"},
        {"CPtDE", MGEN_E_CORRUPT, "a tRNS chunk that makes no sense"},
        {"CDE", MGEN_E_CORRUPT, "no PLTE chunk"},
        {"HDxDE", MGEN_E_CORRUPT, "an IDAT chunk apart from the others"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        store_chunks(bad[i].letters);
        assert_refused("a.png", bad[i].status, bad[i].said);
    }
    store_chunks("HxDE");
    assert_int_equal(read_status("a.png"), MGEN_OK);
    size_t size;
    uint8_t *file = load(in_dir("a.png"), &size);
    file[36] = 200; /* the length of the chunk behind the header */
    store("a.png", file, size);
    assert_refused("a.png", MGEN_E_CORRUPT, "a chunk that passes the file's end at byte 33");
    file[33] = 0xFF;
    store("a.png", file, size);
    assert_refused("a.png", MGEN_E_CORRUPT, "a chunk that passes the file's end at byte 33");
    file[33] = file[36] = 0;
    file[41] ^= 1; /* its checksum */
    store("a.png", file, size);
    assert_refused("a.png", MGEN_E_CORRUPT, "a chunk with a wrong checksum at byte 33");
    file[1] = 'J';
    store("a.png", file, size);
    assert_refused("a.png", MGEN_E_CORRUPT, "no signature of a PNG");
    free(file);
}

/* More frames than are read in one piece; one by one they can be. */
static void test_many_frames(void **state)
{
    (void)state;
    enum { FRAMES = MGI_FILM_FRAMES_MAX + 1 };
    static const char head[] = "YUV4MPEG2 W1 H1 F1:1 Cmono\n", frame[] = "FRAME\nx";
    size_t each = sizeof(frame) - 1, at = sizeof(head) - 1;
    char *file = malloc(at + FRAMES * each);
    assert_non_null(file);
    memcpy(file, head, at);
    for (int i = 0; i < FRAMES; i++, at += each)
        memcpy(file + at, frame, each);
    store("a.y4m", file, at);
    assert_refused("a.y4m", MGEN_E_INVALID, "more than the 65536 frames that are read at once");
    mgi_film_info info;
    mgi_free(ctx, read_all("a.y4m", FRAMES - 1, 1, &info));
    assert_int_equal(info.frames, 1);
    store("a.y4m", file, at - each);
    assert_int_equal(read_status("a.y4m"), MGEN_OK);
    memset(file, 'a', 8192);
    file[8191] = '\0';
    mgi_film *film;
    assert_int_equal(mgi_film_open(ctx, file, &film), MGEN_E_INVALID);
    assert_non_null(strstr(ctx->error_text, "longer than"));
    free(file);
}

/* Cut anywhere, or any byte changed: refused, always. */
static void test_png_damaged(void **state)
{
    (void)state;
    size_t size;
    uint8_t *rgb = make_frames(9, 7, 1);
    assert_int_equal(mgi_png_write(ctx, in_dir("a.png"), rgb, 9, 7), MGEN_OK);
    uint8_t *file = load(in_dir("a.png"), &size);
    for (size_t n = 0; n < size; n++) {
        store("a.png", file, n);
        assert_int_equal(read_status("a.png"), MGEN_E_CORRUPT);
    }
    for (size_t at = 0; at < size; at++) {
        file[at] ^= (uint8_t)(1 << at % 8);
        store("a.png", file, size);
        mgen_status got = read_status("a.png");
        if (got != MGEN_E_CORRUPT && got != MGEN_E_UNSUPPORTED)
            fail_msg("byte %zu: %s", at, mgen_status_name(got));
        file[at] ^= (uint8_t)(1 << at % 8);
    }
    free(file);
    free(rgb);
}

/* ---- the plug-in ---------------------------------------------------------------------------------- */

static double psnr(const uint8_t *a, const uint8_t *b, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)(a[i] - b[i]) * (a[i] - b[i]);
    return 10.0 * log10(255.0 * 255.0 * (double)n / (sum > 0.0 ? sum : 1.0));
}

static void write_film(const char *name, const uint8_t *rgb, int64_t w, int64_t h, int64_t n)
{
    mgi_frames frames = {rgb, w, h, n, 16, 1};
    if (mgi_frames_write(ctx, in_dir(name), &frames) != MGEN_OK)
        fail_msg("%s", ctx->error_text);
}

static void test_film(void **state)
{
    static const char *const names[] = {"a.mp4", "a.mkv", "a.webm", "a.avi"};
    int64_t w = 64, h = 64, n = 20, frame = 3 * w * h;
    mgi_world_scene scene;
    (void)state;
    if (!find_plugin(ctx))
        return;
    uint8_t *rgb = malloc((size_t)(frame * n));
    assert_non_null(rgb);
    mgi_world_scene_random(&scene, 1, 1, &(mgi_world_options){.camera = MGI_WORLD_NEVER});
    mgi_world_draw(&scene, (int)w, (int)h, 0, (int)n, rgb);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        mgi_film_info info;
        write_film(names[i], rgb, w, h, n);
        uint8_t *got = read_all(names[i], 0, 0, &info);
        assert_int_equal(info.width, w);
        assert_int_equal(info.height, h);
        assert_int_equal(info.frames, n);
        if (info.fps_num != 16 * info.fps_den)
            fail_msg("%s: %u/%u frames a second", names[i], info.fps_num, info.fps_den);
        for (int64_t k = 0; k < n; k++) /* each in its place: a neighbour would be farther */
            if (psnr(got + k * frame, rgb + k * frame, frame) < 30.0)
                fail_msg("%s: frame %d: %.1f dB", names[i], (int)k,
                         psnr(got + k * frame, rgb + k * frame, frame));
        uint8_t *part = read_all(names[i], 7, 4, &info);
        assert_int_equal(info.frames, 4);
        assert_memory_equal(part, got + 7 * frame, (size_t)(4 * frame));
        mgi_free(ctx, part);
        mgi_free(ctx, got);
    }
    free(rgb);
    empty_bytes = ctx->heap->now;
}

/* A .gif tells no rate, only how long each frame is seen, in hundredths of a second. */
static void test_film_without_rate(void **state)
{
    const int64_t w = 32, h = 32, n = 4;
    mgi_film_info info;
    (void)state;
    if (!find_plugin(ctx))
        return;
    uint8_t *rgb = malloc((size_t)(3 * w * h * n));
    assert_non_null(rgb);
    for (int64_t i = 0; i < 3 * w * h * n; i++)
        rgb[i] = (uint8_t)(i / (3 * w * h) * 60);
    mgi_frames frames = {rgb, w, h, n, 10, 1};
    assert_int_equal(mgi_frames_write(ctx, in_dir("a.gif"), &frames), MGEN_OK);
    mgi_free(ctx, read_all("a.gif", 0, 0, &info));
    assert_int_equal(info.frames, n);
    assert_int_equal(info.fps_num, 10 * info.fps_den);
    free(rgb);
    empty_bytes = ctx->heap->now;
}

/* Nothing that FFmpeg finds wrong is printed. */
static int hide_errors(void)
{
    int kept = dup(2), file = open(in_dir("a.avi"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(file, 2);
    close(file);
    return kept;
}

static void show_errors(int kept)
{
    struct stat st;
    fflush(stderr);
    assert_int_equal(fstat(2, &st), 0);
    dup2(kept, 2);
    close(kept);
    if (st.st_size) {
        size_t size;
        uint8_t *text = load(in_dir("a.avi"), &size);
        fail_msg("printed: %.*s", (int)size, (const char *)text);
    }
}

static void test_film_damaged(void **state)
{
    static const char *const names[] = {"a.mp4", "a.mkv"};
    int64_t w = 34, h = 18, n = 9;
    (void)state;
    if (!find_plugin(ctx))
        return;
    empty_bytes = ctx->heap->now;
    uint8_t *rgb = make_frames(w, h, n);
    for (int i = 0; i < 2; i++) {
        size_t size;
        int seen = 0, all = 0;
        write_film(names[i], rgb, w, h, n);
        uint8_t *file = load(in_dir(names[i]), &size);
        int kept = hide_errors();
        for (size_t cut = 0; cut < size; cut += 1 + size / 50, all++) {
            store(names[i], file, cut);
            seen += read_status(names[i]) != MGEN_OK;
        }
        for (size_t at = 0; at < size; at += 1 + size / 200) {
            file[at] ^= 0x55;
            store(names[i], file, size);
            read_status(names[i]); /* FFmpeg need not see it, but neither crashes nor leaks */
            file[at] ^= 0x55;
        }
        show_errors(kept);
        if (2 * seen < all)
            fail_msg("%s: only %d of %d cuts were seen", names[i], seen, all);
        free(file);
    }
    free(rgb);
}

/* The next block of a .webm with one cluster from `at` on, which moves behind it; NULL: there is none. */
static uint8_t *next_block(uint8_t **at, const uint8_t *end)
{
    while (*at + 16 < end) {
        const uint8_t *e = *at;
        const int id = __builtin_clz((uint32_t)e[0] << 24 | 1) + 1,
                  bytes = __builtin_clz((uint32_t)e[id] << 24 | 1) + 1;
        uint64_t length = e[id] & (0xFFU >> bytes);
        for (int i = 1; i < bytes; i++)
            length = length << 8 | e[id + i];
        uint8_t *inside = *at + id + bytes;
        if (e[0] == 0xA0) { /* a group: what is in it */
            *at = inside;
            continue;
        }
        *at = inside + length;
        if (e[0] == 0xA3 || e[0] == 0xA1)
            return *at <= end ? *at : NULL;
    }
    return NULL;
}

/* An index of VP9's frames that does not fit its packet is refused before FFmpeg prints of it. */
static void test_film_index(void **state)
{
    static const uint8_t cluster[] = {0x1F, 0x43, 0xB6, 0x75};
    static const struct {
        size_t size;
        uint8_t bytes[4];
    } bad[] = {{3, {0xC0, 0, 0xC0}}, {3, {0xC0, 255, 0xC0}}, {4, {0xC8, 255, 255, 0xC8}}};
    int64_t w = 34, h = 18, n = 3;
    size_t size;
    (void)state;
    if (!find_plugin(ctx))
        return;
    uint8_t *rgb = make_frames(w, h, n);
    write_film("a.webm", rgb, w, h, n);
    uint8_t *file = load(in_dir("a.webm"), &size), *at = memmem(file, size, cluster, 4), *end;
    assert_non_null(at);
    at += 4 + __builtin_clz((uint32_t)at[4] << 24 | 1) + 1;
    int blocks = 0;
    int kept = hide_errors();
    while ((end = next_block(&at, file + size)))
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            uint8_t before[4];
            memcpy(before, end - bad[i].size, bad[i].size);
            memcpy(end - bad[i].size, bad[i].bytes, bad[i].size);
            store("a.webm", file, size);
            memcpy(end - bad[i].size, before, bad[i].size);
            blocks += read_status("a.webm") == MGEN_E_CORRUPT;
        }
    show_errors(kept);
    assert_int_equal(blocks, 3 * n);
    free(file);
    free(rgb);
}

static void test_film_refuses(void **state)
{
    (void)state;
    store("a.mp4", "this is no film, whatever its name says", 39);
    mgi_free(ctx, ctx->plugin_dir);
    assert_int_equal(mgi_strdup(ctx, dir, &ctx->plugin_dir), MGEN_OK);
    empty_bytes = ctx->heap->now;
    assert_refused("a.mp4", MGEN_E_UNSUPPORTED, "mgen_ffmpeg.so");
    assert_refused("nothing.mp4", MGEN_E_NOT_FOUND, "nothing.mp4");
    assert_refused("nothing.y4m", MGEN_E_NOT_FOUND, "nothing.y4m");
    assert_refused("nothing.png", MGEN_E_NOT_FOUND, "nothing.png");
    assert_refused("", MGEN_E_INVALID, "folder");
    assert_int_equal(mgi_film_open(ctx, "", &(mgi_film *){NULL}), MGEN_E_INVALID);
    if (!find_plugin(ctx))
        return;
    empty_bytes = ctx->heap->now;
    int kept = hide_errors();
    mgen_status got = read_status("a.mp4");
    store("a.mkv", "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", 31);
    mgen_status playlist = read_status("a.mkv");
    store("a.mkv", "FLV\1\5\0\0\0\11\0\0\0\0",
          13); /* a kind that FFmpeg knows, but is not asked for */
    mgen_status other = read_status("a.mkv");
    show_errors(kept);
    assert_int_equal(got, MGEN_E_UNSUPPORTED);
    assert_int_equal(playlist, MGEN_E_UNSUPPORTED);
    assert_int_equal(other, MGEN_E_UNSUPPORTED);
    assert_non_null(strstr(ctx->error_text, "none of the kinds"));
    assert_non_null(strstr(ctx->error_text, "ffmpeg program makes .mkv, .wav or .png"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_y4m),          cmocka_unit_test(test_y4m_kinds),
        cmocka_unit_test(test_y4m_refuses),  cmocka_unit_test(test_png),
        cmocka_unit_test(test_png_kinds),    cmocka_unit_test(test_png_refuses),
        cmocka_unit_test(test_png_chunks),   cmocka_unit_test(test_many_frames),
        cmocka_unit_test(test_png_damaged),  cmocka_unit_test(test_film),
        cmocka_unit_test(test_film_damaged), cmocka_unit_test(test_film_without_rate),
        cmocka_unit_test(test_film_index),   cmocka_unit_test(test_film_refuses)};
    return cmocka_run_group_tests_name("film", tests, set_up, tear_down);
}
