/* SPDX-License-Identifier: MIT
 * Pictures and films: read back byte by byte, refused cleanly, never left half written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "data/world.h"
#include "find_plugin.h"
#include "media/film_read.h"
#include "media/media.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

typedef struct fixture {
    mgen_context *ctx;
    char dir[256];   /* empty at the start of each test */
    char path[512];  /* last result of in_dir() */
    uint8_t *pixels; /* a toybox clip */
    mgi_frames clip;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgi_world_scene scene;
    const char *tmp = getenv("TMPDIR");
    params.threads = 1;
    if (!f || mgi_context_init(&f->ctx, &params) != MGEN_OK)
        return -1;
    snprintf(f->dir, sizeof(f->dir), "%s/mgen_media_XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(f->dir))
        return -1;
    f->clip = (mgi_frames){NULL, 64, 64, 32, 16, 1};
    f->pixels = malloc((size_t)3 * 64 * 64 * 32);
    if (!f->pixels)
        return -1;
    f->clip.pixels = f->pixels;
    mgi_world_scene_random(&scene, 1, 1, NULL);
    mgi_world_draw(&scene, 64, 64, 0, 32, f->pixels);
    *state = f;
    return 0;
}

/* Calls `visit` on each entry of the folder; returns how many there were. */
static int each_file(fixture *f, void (*visit)(const char *path))
{
    int count = 0;
    DIR *dir = opendir(f->dir);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        char path[600];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", f->dir, e->d_name);
        if (visit)
            visit(path);
        count++;
    }
    closedir(dir);
    return count;
}

static void delete_entry(const char *path)
{
    if (unlink(path) != 0)
        rmdir(path);
}

static int teardown(void **state)
{
    fixture *f = *state;
    uint64_t now = 0;
    each_file(f, delete_entry);
    rmdir(f->dir);
    now = atomic_load(&f->ctx->heap->now);
    mgi_context_free(f->ctx);
    free(f->pixels);
    free(f);
    return now > 65536 ? -1 : 0; /* only the context's own things may be left */
}

static const char *in_dir(fixture *f, const char *name)
{
    snprintf(f->path, sizeof(f->path), "%s/%s", f->dir, name);
    return f->path;
}

static uint8_t *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

static void assert_message(fixture *f, const char *part)
{
    if (!strstr(f->ctx->error_text, part))
        fail_msg("'%s' does not say '%s'", f->ctx->error_text, part);
}

/* ---- PNG ------------------------------------------------------------------------------------ */

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint8_t predict(int filter, int a, int b, int c)
{
    int p = a + b - c, pa = abs(p - a), pb = abs(p - b), pc = abs(p - c);
    switch (filter) {
    case 0:
        return 0;
    case 1:
        return (uint8_t)a;
    case 2:
        return (uint8_t)b;
    case 3:
        return (uint8_t)((a + b) / 2);
    default:
        return (uint8_t)(pa <= pb && pa <= pc ? a : pb <= pc ? b : c);
    }
}

/* An own reader, straight from the specification; returns the pixels. */
static uint8_t *read_png(const char *path, int64_t width, int64_t height)
{
    size_t size, packed_size = 0, at = 8, row = 3 * (size_t)width;
    uint8_t *file = read_whole(path, &size), *packed = malloc(size);
    uLongf raw_size = (uLongf)((row + 1) * (size_t)height);
    uint8_t *raw = malloc(raw_size), *out = calloc(row, (size_t)height + 1);
    assert_memory_equal(file, "\x89PNG\r\n\x1a\n", 8);
    for (int done = 0; !done;) {
        assert_true(at + 12 <= size);
        uint32_t length = get_u32(file + at);
        const uint8_t *type = file + at + 4, *data = type + 4;
        assert_true(length <= size - at - 12);
        assert_int_equal(get_u32(data + length), crc32(0, type, length + 4));
        if (memcmp(type, "IHDR", 4) == 0) {
            assert_int_equal(at, 8);
            assert_int_equal(get_u32(data), width);
            assert_int_equal(get_u32(data + 4), height);
            assert_memory_equal(data + 8, "\x08\x02\0\0\0", 5);
        } else if (memcmp(type, "IDAT", 4) == 0) {
            memcpy(packed + packed_size, data, length);
            packed_size += length;
        }
        done = memcmp(type, "IEND", 4) == 0;
        at += 12 + length;
    }
    assert_int_equal(at, size);
    assert_int_equal(uncompress(raw, &raw_size, packed, packed_size), Z_OK);
    assert_int_equal(raw_size, (row + 1) * (size_t)height);
    for (size_t y = 0; y < (size_t)height; y++) {
        uint8_t *line = out + (y + 1) * row, *up = line - row; /* row 0 of out is all zero */
        const uint8_t *from = raw + y * (row + 1);
        assert_in_range(from[0], 0, 4);
        for (size_t i = 0; i < row; i++)
            line[i] = (uint8_t)(from[1 + i] + predict(from[0], i >= 3 ? line[i - 3] : 0, up[i],
                                                      i >= 3 ? up[i - 3] : 0));
    }
    memmove(out, out + row, row * (size_t)height);
    free(file);
    free(packed);
    free(raw);
    return out;
}

static void test_png_reads_back(void **state)
{
    fixture *f = *state;
    static const int64_t sizes[][2] = {{64, 64}, {1, 1}, {1, 100}, {63, 65}, {64, 2048}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int64_t w = sizes[i][0], h = sizes[i][1];
        assert_int_equal(mgi_png_write(f->ctx, in_dir(f, "a.png"), f->pixels, w, h), MGEN_OK);
        uint8_t *back = read_png(f->path, w, h);
        assert_memory_equal(back, f->pixels, (size_t)(3 * w * h));
        free(back);
    }
    assert_int_equal(each_file(f, NULL), 1);
}

/* Incompressible pixels make several IDAT chunks. */
static void test_png_noise(void **state)
{
    fixture *f = *state;
    uint32_t x = 1;
    for (size_t i = 0; i < (size_t)3 * 256 * 256; i++) {
        x = x * 1664525u + 1013904223u;
        f->pixels[i] = (uint8_t)(x >> 24);
    }
    assert_int_equal(mgi_png_write(f->ctx, in_dir(f, "n.png"), f->pixels, 256, 256), MGEN_OK);
    uint8_t *back = read_png(f->path, 256, 256);
    assert_memory_equal(back, f->pixels, (size_t)3 * 256 * 256);
    free(back);
}

static void test_png_refuses(void **state)
{
    fixture *f = *state;
    const char *path = in_dir(f, "a.png");
    assert_int_equal(mgi_png_write(f->ctx, path, f->pixels, 0, 4), MGEN_E_INVALID);
    assert_int_equal(mgi_png_write(f->ctx, path, f->pixels, 4, -1), MGEN_E_INVALID);
    assert_int_equal(mgi_png_write(f->ctx, path, NULL, 4, 4), MGEN_E_INVALID);
    assert_int_equal(mgi_png_write(f->ctx, path, f->pixels, INT64_MAX / 2, 4), MGEN_E_INVALID);
    assert_int_equal(each_file(f, NULL), 0);
}

static void test_strip(void **state)
{
    fixture *f = *state;
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "strip.PNG"), &f->clip), MGEN_OK);
    uint8_t *back = read_png(f->path, 512, 64);
    for (size_t k = 0; k < 8; k++)
        for (size_t y = 0; y < 64; y++)
            assert_memory_equal(back + (y * 512 + k * 64) * 3,
                                f->pixels + ((k * 31 / 7) * 64 * 64 + y * 64) * 3, 64 * 3);
    free(back);
    f->clip.frames = 3;
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "three.png"), &f->clip), MGEN_OK);
    free(read_png(f->path, 192, 64));
    f->clip.frames = 1;
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "one.png"), &f->clip), MGEN_OK);
    free(read_png(f->path, 64, 64));
}

static void test_numbered_names(void **state)
{
    fixture *f = *state;
    f->clip.frames = 11;
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "f%03d.png"), &f->clip), MGEN_OK);
    assert_int_equal(each_file(f, NULL), 11);
    uint8_t *back = read_png(in_dir(f, "f010.png"), 64, 64);
    assert_memory_equal(back, f->pixels + 10 * 64 * 64 * 3, 64 * 64 * 3);
    free(back);
    f->clip.frames = 1;
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "%d.png"), &f->clip), MGEN_OK);
    free(read_png(in_dir(f, "0.png"), 64, 64));
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "%d-%02d.png"), &f->clip), MGEN_E_INVALID);
    /* What is no pattern is part of the name, and never reaches printf. */
    static const char *const plain[] = {"100%.png", "%s%n%x.png", "%5d.png",
                                        "%0d.png",  "%099d.png",  "%-3d.png"};
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, plain[i]), &f->clip), MGEN_OK);
        assert_int_equal(access(f->path, F_OK), 0);
    }
    char deep[600];
    assert_int_equal(mkdir(in_dir(f, "%d%d"), 0700), 0);
    snprintf(deep, sizeof(deep), "%s/x.png", f->path);
    assert_int_equal(mgi_frames_write(f->ctx, deep, &f->clip), MGEN_OK);
    assert_int_equal(unlink(deep), 0);
}

/* ---- y4m ------------------------------------------------------------------------------------ */

static void test_y4m_planes(void **state)
{
    fixture *f = *state;
    /* 3 x 3: red, green / white, black corners and so on; odd sides. */
    static const uint8_t rgb[] = {255, 0, 0, 255, 0, 0, 255, 255, 255, 255, 0, 0,   255, 0,
                                  0,   0, 0, 0,   0, 0, 255, 0,   0,   255, 0, 255, 0};
    mgi_frames frames = {rgb, 3, 3, 1, 30000, 1001};
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "a.y4m"), &frames), MGEN_OK);
    static const char head[] =
        "YUV4MPEG2 W3 H3 F30000:1001 Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\nFRAME\n";
    size_t size;
    uint8_t *data = read_whole(f->path, &size);
    assert_int_equal(size, sizeof(head) - 1 + 9 + 4 + 4);
    assert_memory_equal(data, head, sizeof(head) - 1);
    const uint8_t *y = data + sizeof(head) - 1, *cb = y + 9, *cr = cb + 4;
    static const uint8_t luma[9] = {81, 81, 235, 81, 81, 16, 41, 41, 145};
    assert_memory_equal(y, luma, 9);
    /* Blocks: four red; white and black in one column; a blue row; green alone. */
    static const uint8_t blue_difference[4] = {90, 128, 240, 54};
    static const uint8_t red_difference[4] = {240, 128, 110, 34};
    assert_memory_equal(cb, blue_difference, 4);
    assert_memory_equal(cr, red_difference, 4);
    free(data);

    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "b.y4m"), &f->clip), MGEN_OK);
    data = read_whole(f->path, &size);
    size_t line = (size_t)((uint8_t *)memchr(data, '\n', size) - data) + 1;
    assert_int_equal(size, line + 32 * (6 + 64 * 64 * 3 / 2));
    for (size_t i = 0; i < 32; i++)
        assert_memory_equal(data + line + i * (6 + 64 * 64 * 3 / 2), "FRAME\n", 6);
    free(data);
}

/* Every grey must stay without colour, and the extremes within range. */
static void test_y4m_range(void **state)
{
    fixture *f = *state;
    uint8_t rgb[256 * 3];
    for (int i = 0; i < 256; i++)
        memset(rgb + 3 * i, i, 3);
    mgi_frames frames = {rgb, 256, 1, 1, 16, 1};
    assert_int_equal(mgi_y4m_write(f->ctx, in_dir(f, "g.y4m"), &frames), MGEN_OK);
    size_t size;
    uint8_t *data = read_whole(f->path, &size);
    const uint8_t *y = data + size - 256 - 256;
    for (int i = 0; i < 256; i++) {
        assert_int_equal(y[i], (int)(16.0 + 219.0 * i / 255.0 + 0.5));
        assert_int_equal(y[256 + i], 128);
    }
    free(data);
}

/* ---- what is refused ------------------------------------------------------------------------ */

static void test_bad_arguments(void **state)
{
    fixture *f = *state;
    static const char *const names[] = {"film", "film.", ".mp4", ".png"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, names[i]), &f->clip), MGEN_E_INVALID);
    assert_int_equal(mgi_frames_write(f->ctx, NULL, &f->clip), MGEN_E_INVALID);
    assert_int_equal(mgi_frames_write(f->ctx, "", &f->clip), MGEN_E_INVALID);
    mgi_frames bad = f->clip;
    bad.fps_den = 0;
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "a.y4m"), &bad), MGEN_E_INVALID);
    bad = f->clip;
    bad.width = 65537;
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "a.png"), &bad), MGEN_E_INVALID);
    bad = f->clip;
    bad.frames = 0;
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "a.mp4"), &bad), MGEN_E_INVALID);
    assert_int_equal(each_file(f, NULL), 0);
}

static void test_missing_folder(void **state)
{
    fixture *f = *state;
    static const char *const names[] = {"none/a.png", "none/a.y4m", "none/f%d.png"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, names[i]), &f->clip), MGEN_E_NOT_FOUND);
        assert_message(f, "none/");
    }
    assert_int_equal(each_file(f, NULL), 0);
}

static void test_unwritable_folder(void **state)
{
    fixture *f = *state;
    if (geteuid() == 0) { /* root may write everywhere but where there is nothing to write to */
        assert_int_not_equal(mgi_frames_write(f->ctx, "/proc/a.png", &f->clip), MGEN_OK);
        assert_int_not_equal(mgi_frames_write(f->ctx, "/proc/a.y4m", &f->clip), MGEN_OK);
        return;
    }
    assert_int_equal(chmod(f->dir, 0500), 0);
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "a.png"), &f->clip), MGEN_E_IO);
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "a.y4m"), &f->clip), MGEN_E_IO);
    assert_int_equal(chmod(f->dir, 0700), 0);
    assert_int_equal(each_file(f, NULL), 0);
}

/* An allocation that fails at any place leaves neither memory nor files behind. */
static void test_no_memory(void **state)
{
    fixture *f = *state;
    uint64_t before = atomic_load(&f->ctx->heap->now);
    static const char *const names[] = {"a.png", "a.y4m"};
    for (size_t i = 0; i < 2; i++)
        for (uint64_t room = 0;; room += 20000) {
            assert_true(room < 4000000);
            f->ctx->heap->max = before + room + 1;
            mgen_status status = mgi_frames_write(f->ctx, in_dir(f, names[i]), &f->clip);
            assert_int_equal(atomic_load(&f->ctx->heap->now), before);
            if (status == MGEN_OK)
                break;
            assert_int_equal(status, MGEN_E_LIMIT);
            assert_int_equal(each_file(f, NULL), (int)i);
        }
}

/* ---- the FFmpeg plug-in --------------------------------------------------------------------- */

static void set_plugin_dir(fixture *f, const char *dir)
{
    mgi_free(f->ctx, f->ctx->plugin_dir);
    assert_int_equal(mgi_strdup(f->ctx, dir, &f->ctx->plugin_dir), MGEN_OK);
}

static void test_plugin_absent(void **state)
{
    fixture *f = *state;
    set_plugin_dir(f, f->dir);
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "a.mp4"), &f->clip), MGEN_E_UNSUPPORTED);
    assert_message(f, "a.mp4");
    assert_message(f, "mgen_ffmpeg.so");
    assert_message(f, "-Dffmpeg=enabled");
    assert_message(f, "libavformat-dev");
    assert_message(f, ".y4m, .png or .wav");
    assert_int_equal(each_file(f, NULL), 0);
}

static void test_plugin_broken(void **state)
{
    fixture *f = *state;
    FILE *file = fopen(in_dir(f, "mgen_ffmpeg.so"), "wb");
    assert_non_null(file);
    fputs("not a library", file);
    fclose(file);
    set_plugin_dir(f, f->dir);
    assert_int_equal(mgi_frames_write(f->ctx, in_dir(f, "a.mp4"), &f->clip), MGEN_E_UNSUPPORTED);
    assert_message(f, "does not load");
    assert_int_equal(each_file(f, NULL), 1);
}

static const uint8_t *find(const uint8_t *data, size_t size, const char *what)
{
    return memmem(data, size, what, strlen(what));
}

/* Writes, or reads where there are no frames, with standard error going to a file; fails if anything was printed. */
static mgen_status write_quietly(fixture *f, const char *name, const mgi_frames *frames)
{
    char log[600];
    struct stat st;
    mgi_film_info info;
    uint8_t *pixels = NULL;
    snprintf(log, sizeof(log), "%s/stderr", f->dir);
    fflush(stderr);
    int saved = dup(2);
    assert_non_null(freopen(log, "w", stderr));
    mgen_status status = frames ? mgi_frames_write(f->ctx, in_dir(f, name), frames)
                                : mgi_film_read(f->ctx, in_dir(f, name), 0, 0, &pixels, &info);
    mgi_free(f->ctx, pixels);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    assert_int_equal(stat(log, &st), 0);
    unlink(log);
    if (st.st_size != 0)
        fail_msg("%s %s printed %lld bytes", frames ? "writing" : "reading", name,
                 (long long)st.st_size);
    return status;
}

static void test_film(void **state)
{
    fixture *f = *state;
    if (!find_plugin(f->ctx))
        skip();
    assert_int_equal(write_quietly(f, "a.mp4", &f->clip), MGEN_OK);
    assert_int_equal(each_file(f, NULL), 1);
    size_t size, again;
    uint8_t *data = read_whole(f->path, &size);
    print_message("a.mp4: %zu bytes\n", size);
    assert_memory_equal(data + 4, "ftyp", 4);
    const uint8_t *moov = find(data, size, "moov"), *mdat = find(data, size, "mdat");
    assert_non_null(moov);
    assert_non_null(mdat);
    assert_true(moov < mdat); /* plays while it loads */
    const uint8_t *times = find(data, size, "stts"), *media = find(data, size, "mdhd");
    assert_non_null(times);
    assert_int_equal(get_u32(times + 8), 1); /* all frames last the same */
    assert_int_equal(get_u32(times + 12), 32);
    assert_non_null(media);
    assert_int_equal(get_u32(times + 16) * 16, get_u32(media + 16)); /* 1/16 s each */

    /* The same frames give the same file; no date, no version. */
    assert_int_equal(write_quietly(f, "b.mp4", &f->clip), MGEN_OK);
    uint8_t *data2 = read_whole(f->path, &again);
    assert_int_equal(size, again);
    assert_memory_equal(data, data2, size);
    free(data);
    free(data2);
}

static void test_film_containers(void **state)
{
    fixture *f = *state;
    if (!find_plugin(f->ctx))
        skip();
    static const char *const names[] = {"a.mkv", "a.mov", "a.avi", "a.gif", "a.webm"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        mgen_status status = write_quietly(f, names[i], &f->clip);
        if (status == MGEN_E_UNSUPPORTED)
            print_message("%s: %s\n", names[i], f->ctx->error_text);
        else
            assert_int_equal(status, MGEN_OK);
    }
}

static void test_film_sizes(void **state)
{
    fixture *f = *state;
    if (!find_plugin(f->ctx))
        skip();
    static const int64_t sizes[][2] = {{63, 61}, {17, 64}, {1, 1}, {65, 2}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        mgi_frames odd = {f->pixels, sizes[i][0], sizes[i][1], 5, 30000, 1001};
        mgen_status status = write_quietly(f, "odd.mp4", &odd);
        if (status != MGEN_OK)
            print_message("%s\n", f->ctx->error_text);
        assert_true(status == MGEN_OK || (status == MGEN_E_UNSUPPORTED && sizes[i][0] < 16));
    }
}

/* The container tells a size that none of its frames has, or can have. */
static void test_film_told_sizes(void **state)
{
    static const uint8_t sizes[][4] = {{0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 5}, {0, 5, 0, 0}};
    static const char *const kinds[] = {"avc1", "mp4v"};
    fixture *f = *state;
    if (!find_plugin(f->ctx))
        skip();
    assert_int_equal(write_quietly(f, "a.mp4", &f->clip), MGEN_OK);
    size_t size;
    uint8_t *data = read_whole(f->path, &size);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
            const uint8_t *moov = find(data, size, "stsd"),
                          *at = find(moov, size - (size_t)(moov - data), kinds[k]);
            if (!at)
                continue;
            memcpy(data + (at - data) + 28, sizes[i], sizeof(sizes[i]));
            FILE *file = fopen(in_dir(f, "lies.mp4"), "wb");
            assert_true(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
            assert_int_equal(write_quietly(f, "lies.mp4", NULL), MGEN_OK);
        }
    free(data);
}

static void test_film_refuses(void **state)
{
    fixture *f = *state;
    if (!find_plugin(f->ctx))
        skip();
    assert_int_equal(write_quietly(f, "a.xyzzy", &f->clip), MGEN_E_INVALID);
    assert_message(f, "'.xyzzy'; use .mp4");
    assert_int_equal(write_quietly(f, "a.jpg", &f->clip), MGEN_E_INVALID);
    assert_int_equal(write_quietly(f, "a.wav", &f->clip), MGEN_E_INVALID);
    assert_int_equal(write_quietly(f, "none/a.mp4", &f->clip), MGEN_E_NOT_FOUND);
    assert_int_equal(each_file(f, NULL), 0);
}

#define MEDIA_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEDIA_TEST(test_png_reads_back),  MEDIA_TEST(test_png_noise),
        MEDIA_TEST(test_png_refuses),     MEDIA_TEST(test_strip),
        MEDIA_TEST(test_numbered_names),  MEDIA_TEST(test_y4m_planes),
        MEDIA_TEST(test_y4m_range),       MEDIA_TEST(test_bad_arguments),
        MEDIA_TEST(test_missing_folder),  MEDIA_TEST(test_unwritable_folder),
        MEDIA_TEST(test_no_memory),       MEDIA_TEST(test_plugin_absent),
        MEDIA_TEST(test_plugin_broken),   MEDIA_TEST(test_film),
        MEDIA_TEST(test_film_containers), MEDIA_TEST(test_film_sizes),
        MEDIA_TEST(test_film_told_sizes), MEDIA_TEST(test_film_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
