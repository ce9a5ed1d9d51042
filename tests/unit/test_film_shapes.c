/* SPDX-License-Identifier: MIT
 * Films as they are meant to be seen: turned as the camera was held, with square pixels; and nothing printed on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "find_plugin.h"
#include "media_folder.h"
#include "media/film_read.h"
#include "media/media.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WIDTH = 48, HEIGHT = 32, FRAMES = 3, ONE = 1 << 16 };

static char path[300];

static int set_up(void **state)
{
    (void)state;
    return open_media_folder();
}

static int tear_down(void **state)
{
    (void)state;
    mgi_context_free(ctx);
    return rmdir(dir);
}

/* Four fields of other colours. */
static const uint8_t fields[2][2][3] = {{{200, 40, 40}, {40, 200, 40}},
                                        {{40, 40, 200}, {200, 200, 200}}};

static void write_fields(const char *name)
{
    static uint8_t rgb[FRAMES][HEIGHT][WIDTH][3];
    for (int f = 0; f < FRAMES; f++)
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++)
                memcpy(rgb[f][y][x], fields[2 * y / HEIGHT][2 * x / WIDTH], 3);
    const mgi_frames frames = {&rgb[0][0][0][0], WIDTH, HEIGHT, FRAMES, 16, 1};
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (mgi_frames_write(ctx, path, &frames) != MGEN_OK)
        fail_msg("%s", ctx->error_text);
}

static void put(const uint8_t *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

/* A display matrix into the track's header of a .mp4: x' = a x + c y, y' = b x + d y. */
static void set_matrix(int32_t a, int32_t b, int32_t c, int32_t d)
{
    const int32_t matrix[9] = {a, b, 0, c, d, 0, 0, 0, 0x40000000};
    size_t size;
    uint8_t *file = load(path, &size), *header = memmem(file, size, "tkhd", 4);
    assert_non_null(header);
    assert_int_equal(header[4], 0); /* version 0: times of 32 bits */
    for (int i = 0; i < 36; i++)
        header[44 + i] = (uint8_t)((uint32_t)matrix[i / 4] >> (24 - 8 * (i % 4)));
    put(file, size);
    free(file);
}

/* The shape of pixels that a .mp4 tells. */
static void set_aspect(uint8_t across, uint8_t down)
{
    size_t size;
    uint8_t *file = load(path, &size), *box = memmem(file, size, "pasp", 4);
    assert_non_null(box);
    box[7] = across;
    box[11] = down;
    put(file, size);
    free(file);
}

static void assert_colour(const uint8_t *got, const uint8_t *want, const char *what)
{
    for (int i = 0; i < 3; i++)
        if (abs(got[i] - want[i]) > 30)
            fail_msg("%s: (%d, %d, %d), wanted (%d, %d, %d)", what, got[0], got[1], got[2], want[0],
                     want[1], want[2]);
}

/* All eight ways to hold a camera and to mirror its picture. */
static void test_turned(void **state)
{
    static const int32_t ways[8][4] = {{1, 0, 0, 1}, {-1, 0, 0, 1}, {1, 0, 0, -1}, {-1, 0, 0, -1},
                                       {0, 1, 1, 0}, {0, 1, -1, 0}, {0, -1, 1, 0}, {0, -1, -1, 0}};
    (void)state;
    if (!find_plugin(ctx))
        skip();
    write_fields("a.mp4");
    for (int i = 0; i < 8; i++) {
        const int32_t *m = ways[i];
        const int64_t w = m[0] ? WIDTH : HEIGHT, h = m[0] ? HEIGHT : WIDTH;
        uint8_t *pixels;
        mgi_film_info info, told;
        char what[80];
        set_matrix(ONE * m[0], ONE * m[1], ONE * m[2], ONE * m[3]);
        assert_int_equal(mgi_film_read(ctx, path, 1, 1, &pixels, &info), MGEN_OK);
        assert_int_equal(mgi_film_tell(ctx, path, &told), MGEN_OK);
        assert_int_equal(info.width, w);
        assert_int_equal(info.height, h);
        assert_int_equal(told.width, w);
        assert_int_equal(told.height, h);
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 2; x++) { /* where the field (x, y) is seen, from the middle */
                const int px = 2 * x - 1, py = 2 * y - 1;
                const int64_t seen_x = w / 2 + (m[0] * px + m[2] * py) * w / 4;
                const int64_t seen_y = h / 2 + (m[1] * px + m[3] * py) * h / 4;
                snprintf(what, sizeof(what), "way %d, field %d of row %d", i, x, y);
                assert_colour(pixels + 3 * (seen_y * w + seen_x), fields[y][x], what);
            }
        mgi_free(ctx, pixels);
    }
    unlink(path);
}

/* Pixels half as wide again as high make as many more columns, also where the picture is turned; high ones make rows, and what is nearly
 * a square, or cannot be meant, changes nothing. */
static void test_pixels_that_are_no_squares(void **state)
{
    uint8_t *pixels;
    mgi_film_info info, told;
    (void)state;
    if (!find_plugin(ctx))
        skip();
    write_fields("a.mp4");
    for (int turned = 0; turned < 2; turned++) {
        const int64_t w = turned ? HEIGHT : 3 * WIDTH / 2, h = turned ? 3 * WIDTH / 2 : HEIGHT;
        set_aspect(3, 2);
        if (turned)
            set_matrix(0, ONE, -ONE, 0);
        assert_int_equal(mgi_film_read(ctx, path, 0, 0, &pixels, &info), MGEN_OK);
        assert_int_equal(mgi_film_tell(ctx, path, &told), MGEN_OK);
        assert_int_equal(told.width, info.width);
        assert_int_equal(told.height, info.height);
        assert_int_equal(info.frames, FRAMES);
        assert_int_equal(info.width, w);
        assert_int_equal(info.height, h);
        assert_colour(pixels + 3 * (h / 4 * w + w / 4), fields[turned][0], "above, left");
        assert_colour(pixels + 3 * (h / 4 * w + 3 * w / 4), fields[0][!turned], "above, right");
        mgi_free(ctx, pixels);
    }
    static const uint8_t others[][4] = {
        {1, 2, WIDTH, 2 * HEIGHT}, {200, 199, WIDTH, HEIGHT}, {9, 2, WIDTH, HEIGHT}};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        set_matrix(ONE, 0, 0, ONE);
        set_aspect(others[i][0], others[i][1]);
        assert_int_equal(mgi_film_read(ctx, path, 0, 1, &pixels, &info), MGEN_OK);
        assert_int_equal(info.width, others[i][2]);
        assert_int_equal(info.height, others[i][3]);
        mgi_free(ctx, pixels);
    }
    unlink(path);
}

/* Motion JPEG, as many cameras write it: grey 60 of the full range of values, of which FFmpeg's scaler would print a warning. Made by
 * `ffmpeg -f lavfi -i color=c=0x3c3c3c:s=16x16:r=8 -frames:v 2 -vf scale=out_range=pc,format=yuvj420p -c:v mjpeg` and +bitexact. */
static void test_full_range_is_silent(void **state)
{
    const char *source = getenv("MOVIEGEN_SOURCE");
    uint8_t *pixels;
    mgi_film_info info;
    struct stat printed;
    (void)state;
    if (!find_plugin(ctx))
        skip();
    snprintf(path, sizeof(path), "%s/stderr", dir);
    fflush(stderr);
    const int saved = dup(2);
    assert_non_null(freopen(path, "w", stderr));
    char film[4200];
    snprintf(film, sizeof(film), "%s/tests/unit/media/full_range.mov", source ? source : ".");
    const mgen_status status = mgi_film_read(ctx, film, 0, 0, &pixels, &info);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    assert_int_equal(stat(path, &printed), 0);
    unlink(path);
    if (status != MGEN_OK)
        fail_msg("%s", ctx->error_text);
    assert_int_equal(printed.st_size, 0);
    assert_int_equal(info.frames, 2);
    for (int64_t i = 0; i < info.frames * info.width * info.height * 3; i++)
        if (abs(pixels[i] - 60) > 2)
            fail_msg("value %lld is %d", (long long)i, pixels[i]);
    mgi_free(ctx, pixels);
}

/* ---- a high dynamic range --------------------------------------------------------------------------- */

/* Signals of R, G and B, of blocks of 8 pixels from left to right, 16 high. hlg.mkv and pq.mkv have them as Y, Cb and Cr of BT.2020 in 10
 * bits, 64 + 876 y and 512 + 896 c, made by `ffmpeg -f rawvideo -pix_fmt yuv420p10le -s 96x16 -i ... -c:v ffv1 -g 1 -slices 4
 * -color_primaries bt2020 -colorspace bt2020nc -color_range tv -color_trc arib-std-b67` (smpte2084) and +bitexact. */
static const double signals[][3] = {{0, 0, 0},      {.25, .25, .25}, {.5, .5, .5}, {.75, .75, .75},
                                    {1, 1, 1},      {.6, .2, .2},    {.2, .6, .2}, {.2, .2, .6},
                                    {.7, .65, .55}, {.9, .5, .3},    {.1, .1, .1}, {.58, .58, .58}};
enum { BLOCKS = sizeof signals / sizeof signals[0] };

/* Rec. ITU-R BT.2100, tables 4 and 5: cd/m2 of a PQ signal, the scene's light of an HLG signal. */
static double pq(double e)
{
    const double m1 = 0.1593017578125, m2 = 78.84375, c1 = 0.8359375, c2 = 18.8515625, c3 = 18.6875;
    const double p = pow(e, 1.0 / m2);
    return 10000.0 * pow(fmax(p - c1, 0.0) / (c2 - c3 * p), 1.0 / m1);
}

static double hlg(double e)
{
    return e <= 0.5 ? e * e / 3.0 : (exp((e - 0.55991073) / 0.17883277) + 0.28466892) / 12.0;
}

/* What is shown: 203 cd/m2 are 1 before the shoulder, which goes from 1/2 to 1 at 1000 cd/m2. */
static void show(bool is_pq, bool p3, const double signal[3], double rgb[3])
{
    static const double matrices[2][3][3] = {
        {{1.6605, -0.5876, -0.0728}, {-0.1246, 1.1329, -0.0083}, {-0.0182, -0.1006, 1.1187}},
        {{1.2249, -0.2249, 0}, {-0.0420, 1.0420, 0}, {-0.0197, -0.0786, 1.0979}}};
    const double peak = 1000.0 / 203.0;
    double in[3], most = 0.0, by = 1.0;
    for (int k = 0; k < 3; k++)
        in[k] = is_pq ? pq(signal[k]) / 203.0 : hlg(signal[k]);
    const double y = 0.2627 * in[0] + 0.6780 * in[1] + 0.0593 * in[2];
    for (int k = 0; k < 3; k++) {
        const double *m = matrices[p3][k];
        rgb[k] = m[0] * in[0] + m[1] * in[1] + m[2] * in[2];
        rgb[k] = fmax(is_pq ? rgb[k] : rgb[k] * peak * pow(y, 0.2), 0.0);
        most = fmax(most, rgb[k]);
    }
    if (most > 0.5) { /* as steep as before where it begins */
        const double t = fmin((most - 0.5) / (peak - 0.5), 1.0), s = (peak - 0.5) / 0.5;
        by = (0.5 + 0.5 * s * t / (1.0 + (s - 1.0) * t)) / most;
    }
    for (int k = 0; k < 3; k++)
        rgb[k] = 255.0 * pow(rgb[k] * by, 1.0 / 2.4);
}

/* The film of the folder with another byte as the value of one of its colour elements. */
static void copy_film(const char *name, uint8_t element, uint8_t value)
{
    const char *source = getenv("MOVIEGEN_SOURCE");
    uint8_t bytes[4096];
    char from[4200];
    int changed = 0;
    snprintf(from, sizeof from, "%s/tests/unit/media/%s", source ? source : ".", name);
    FILE *f = fopen(from, "rb");
    assert_non_null(f);
    const size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    for (size_t i = 0; element && i + 3 < size; i++)
        if (bytes[i] == 0x55 && bytes[i + 1] == element && bytes[i + 2] == 0x81) {
            bytes[i + 3] = value;
            changed++;
        }
    assert_int_equal(changed, element != 0);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* HLG, PQ, HLG of P3's colours, those that do not say what is BT.2020's, and what is not said to be of such a range, which is left as it is. */
static void test_high_dynamic_range(void **state)
{
    enum { MATRIX = 0xB1, TRANSFER = 0xBA, PRIMARIES = 0xBB, UNKNOWN = 2, P3 = 12, BT2020_10 = 14 };
    static const struct {
        const char *name;
        uint8_t element, value;
        bool pq, p3, mapped;
    } films[] = {{"hlg.mkv", 0, 0, false, false, true},
                 {"pq.mkv", 0, 0, true, false, true},
                 {"hlg.mkv", PRIMARIES, P3, false, true, true},
                 {"hlg.mkv", MATRIX, UNKNOWN, false, false, true},
                 {"pq.mkv", PRIMARIES, UNKNOWN, true, false, true},
                 {"hlg.mkv", TRANSFER, BT2020_10, false, false, false}};
    (void)state;
    if (!find_plugin(ctx))
        skip();
    for (size_t i = 0; i < sizeof films / sizeof films[0]; i++) {
        uint8_t *pixels;
        mgi_film_info info;
        copy_film(films[i].name, films[i].element, films[i].value);
        if (mgi_film_read(ctx, path, 0, 0, &pixels, &info) != MGEN_OK)
            fail_msg("%s", ctx->error_text);
        assert_true(info.frames == 2 && info.width == 8 * BLOCKS && info.height == 16);
        for (int b = 0; b < BLOCKS; b++) {
            const uint8_t *seen = pixels + 3 * ((16 + 8) * info.width + 8 * b + 4);
            double rgb[3];
            show(films[i].pq, films[i].p3, signals[b], rgb);
            for (int k = 0; k < 3; k++) {
                const double want = films[i].mapped ? rgb[k] : 255.0 * signals[b][k];
                if (fabs(seen[k] - want) > 2.5)
                    fail_msg("film %d, block %d: %d %d %d, not %.1f %.1f %.1f", (int)i, b, seen[0],
                             seen[1], seen[2], rgb[0], rgb[1], rgb[2]);
            }
        }
        mgi_free(ctx, pixels);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turned), cmocka_unit_test(test_pixels_that_are_no_squares),
        cmocka_unit_test(test_full_range_is_silent), cmocka_unit_test(test_high_dynamic_range)};
    return cmocka_run_group_tests_name("film shapes", tests, set_up, tear_down);
}
