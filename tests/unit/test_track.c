/* SPDX-License-Identifier: MIT
 * Sound from and to files: what was written comes back, in time; another rate is the same sound; a damaged file is refused with
 * what and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "core/philox.h"
#include "find_plugin.h"
#include "media_folder.h"
#include "media/film_read.h"
#include "media/resample.h"
#include "media/track.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double pi = 3.14159265358979323846;
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
    char command[300];
    (void)state;
    mgi_context_free(ctx);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static mgi_track make(int64_t count, uint32_t rate, uint32_t channels)
{
    mgi_track t;
    assert_int_equal(mgi_track_make(ctx, count, rate, channels, &t), MGEN_OK);
    return t;
}

static void release(mgi_track *t)
{
    mgi_free(ctx, t->samples);
    t->samples = NULL;
}

static mgi_track read_track(const char *name)
{
    mgi_track t;
    if (mgi_track_read(ctx, in_dir(name), &t) != MGEN_OK)
        fail_msg("%s", ctx->error_text);
    return t;
}

static void write_track(const char *name, const mgi_track *t)
{
    if (mgi_track_write(ctx, in_dir(name), t) != MGEN_OK)
        fail_msg("%s", ctx->error_text);
}

static void assert_refused(const char *name, mgen_status status, const char *said)
{
    mgi_track t;
    mgen_status got = mgi_track_read(ctx, in_dir(name), &t);
    assert_null(t.samples);
    if (got != status || !strstr(ctx->error_text, said))
        fail_msg("%s '%s', wanted %s '%s'", mgen_status_name(got), ctx->error_text,
                 mgen_status_name(status), said);
    assert_int_equal(ctx->heap->now, empty_bytes); /* nothing is left behind */
}

/* ---- .wav ----------------------------------------------------------------------------------------- */

static void test_wav(void **state)
{
    (void)state;
    for (uint32_t channels = 1; channels <= 8; channels++) {
        mgi_track t = make(1001, 44100, channels);
        for (int64_t i = 0; i < 1001 * channels; i++)
            t.samples[i] = (float)(int16_t)mgi_random_u32(1, 2, (uint64_t)i) / 32768.0f;
        write_track("a.wav", &t);
        mgi_track back = read_track("a.wav");
        assert_int_equal(back.count, 1001);
        assert_int_equal(back.rate, 44100);
        assert_int_equal(back.channels, channels);
        assert_memory_equal(back.samples, t.samples, 1001 * channels * sizeof(float));
        release(&back);
        release(&t);
    }
    /* What is between two steps is rounded, what is louder than they go is clipped. */
    mgi_track t = make(4, 8000, 1);
    memcpy(t.samples, (float[]){0.4f / 32768.0f, -1.6f / 32768.0f, 1.5f, -2.0f}, 4 * sizeof(float));
    write_track("a.wav", &t);
    mgi_track back = read_track("a.wav");
    assert_memory_equal(back.samples,
                        ((float[]){0.0f, -2.0f / 32768.0f, 32767.0f / 32768.0f, -1.0f}),
                        4 * sizeof(float));
    release(&back);
    t.samples[2] = NAN;
    assert_int_equal(mgi_track_write(ctx, in_dir("a.wav"), &t), MGEN_E_INVALID);
    assert_non_null(strstr(ctx->error_text, "sample 2 of the sound"));
    release(&t);
}

static size_t put(uint8_t *out, const char *name, uint32_t size, const void *data, size_t bytes)
{
    memcpy(out, name, 4);
    for (int i = 0; i < 4; i++)
        out[4 + i] = (uint8_t)(size >> (8 * i));
    if (bytes)
        memcpy(out + 8, data, bytes);
    return 8 + bytes;
}

static const uint8_t guid[14] = {0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71};

/* A "fmt " of one or more channels at 8000 samples a second. */
static size_t put_format(uint8_t *out, bool extensible, int format, int channels, int bits)
{
    uint8_t f[40] = {(uint8_t)format, 0, (uint8_t)channels, 0, 0x40, 0x1F, 0, 0};
    f[12] = (uint8_t)(channels * bits / 8);
    f[14] = (uint8_t)bits;
    if (extensible) {
        f[0] = 0xFE;
        f[1] = 0xFF;
        f[16] = 22;
        f[18] = (uint8_t)bits;
        f[24] = (uint8_t)format;
        memcpy(f + 26, guid, sizeof(guid));
    }
    return put(out, "fmt ", extensible ? 40 : 16, f, extensible ? 40 : 16);
}

/* Such a file with chunks before its samples that nobody needs, one of them odd. */
static size_t make_wav(uint8_t *out, bool extensible, int format, int channels, int bits,
                       const void *data, size_t bytes)
{
    memcpy(out, "RIFF\xff\xff\xff\xffWAVE", 12);
    size_t at = 12 + put(out + 12, "LIST", 3, "abc\0", 4);
    at += put_format(out + at, extensible, format, channels, bits);
    at += put(out + at, "fact", 4, "abcd", 4);
    return at + put(out + at, "data", (uint32_t)bytes, data, bytes);
}

static void test_wav_kinds(void **state)
{
    (void)state;
    static const float want[4] = {0.5f, -0.5f, -1.0f, 0.25f};
    const double doubles[4] = {0.5, -0.5, -1.0, 0.25};
    const struct {
        int format, bits;
        const void *data;
    } kinds[] = {{1, 8, (uint8_t[]){192, 64, 0, 160}},
                 {1, 16, (int16_t[]){16384, -16384, -32768, 8192}},
                 {1, 24, (uint8_t[]){0, 0, 0x40, 0, 0, 0xC0, 0, 0, 0x80, 0, 0, 0x20}},
                 {1, 32, (int32_t[]){1 << 30, -(1 << 30), INT32_MIN, 1 << 29}},
                 {3, 32, want},
                 {3, 64, doubles}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        for (int how = 0; how < 4; how++) { /* extensible or not, one channel or two */
            uint8_t file[256];
            int channels = 1 + (how & 1);
            size_t size = make_wav(file, how & 2, kinds[i].format, channels, kinds[i].bits,
                                   kinds[i].data, (size_t)kinds[i].bits / 2);
            store("a.wav", file, size);
            mgi_track t = read_track("a.wav");
            assert_int_equal(t.count, 4 / channels);
            assert_int_equal(t.channels, channels);
            assert_int_equal(t.rate, 8000);
            assert_memory_equal(t.samples, want, sizeof(want));
            release(&t);
        }
    /* Written into a pipe: up to the end. And what stands behind the samples is not looked at. */
    uint8_t file[256];
    size_t size = make_wav(file, false, 1, 1, 8, "abcd", 4);
    memset(file + size - 8, 0xFF, 4);
    store("a.WAV", file, size);
    mgi_track t = read_track("a.WAV");
    assert_int_equal(t.count, 4);
    release(&t);
    size = make_wav(file, false, 1, 1, 8, "abcd", 4);
    memset(file + size, 'x', 9);
    store("a.wav", file, size + 9);
    t = read_track("a.wav");
    assert_int_equal(t.count, 4);
    release(&t);
}

/* A good file of one channel of 16 bits (format at byte 28, samples at 64) with a byte changed. */
static void refuse_with(size_t at, uint8_t value, size_t cut, mgen_status status, const char *said)
{
    uint8_t file[256];
    size_t size = make_wav(file, false, 1, 1, 16, "abcdef", 6);
    file[at] = value;
    store("a.wav", file, cut ? cut : size);
    assert_refused("a.wav", status, said);
}

static void test_wav_refuses(void **state)
{
    (void)state;
    uint8_t file[256];
    empty_bytes = ctx->heap->now;
    store("a.wav", "", 0);
    assert_refused("a.wav", MGEN_E_CORRUPT, "no 'RIFF' and 'WAVE'");
    refuse_with(0, 'L', 0, MGEN_E_CORRUPT, "at byte 0");
    refuse_with(8, 'V', 0, MGEN_E_CORRUPT, "at byte 0");
    store("a.wav", "RF64\xff\xff\xff\xffWAVE", 12);
    assert_refused("a.wav", MGEN_E_UNSUPPORTED, "RF64");
    refuse_with(12, 'L', 20, MGEN_E_CORRUPT, "longer than the file at byte 12");
    refuse_with(12, 'L', 24, MGEN_E_CORRUPT, "no 'fmt ' at byte 24");
    refuse_with(12, 'L', 60, MGEN_E_CORRUPT, "no 'data' at byte 60");
    refuse_with(28, 15, 0, MGEN_E_CORRUPT, "too short at byte 32");
    refuse_with(32, 2, 0, MGEN_E_UNSUPPORTED, "format 2 with 16 bits");
    refuse_with(46, 12, 0, MGEN_E_UNSUPPORTED, "format 1 with 12 bits");
    refuse_with(32, 3, 0, MGEN_E_UNSUPPORTED, "format 3 with 16 bits");
    refuse_with(34, 0, 0, MGEN_E_CORRUPT, "no channels");
    refuse_with(34, 9, 0, MGEN_E_UNSUPPORTED, "9 channels");
    refuse_with(34, 2, 0, MGEN_E_CORRUPT, "at byte 44");
    refuse_with(39, 1, 0, MGEN_E_CORRUPT, "impossible rate");
    refuse_with(64, 7, 0, MGEN_E_CORRUPT, "ends within its samples");
    refuse_with(64, 5, 0, MGEN_E_CORRUPT, "end within a block");
    refuse_with(64, 0, 0, MGEN_E_CORRUPT, "no samples");
    size_t at = 12;
    memcpy(file, "RIFF....WAVE", 12);
    at += put(file + at, "data", 2, "ab", 2);
    at += put_format(file + at, false, 1, 1, 16);
    store("a.wav", file, at);
    assert_refused("a.wav", MGEN_E_CORRUPT, "'data' before 'fmt ' at byte 12");
    at = 12 + put_format(file + 12, false, 1, 1, 16);
    at += put_format(file + at, false, 1, 1, 16);
    store("a.wav", file, at);
    assert_refused("a.wav", MGEN_E_CORRUPT, "a second 'fmt ' at byte 36");
    at = make_wav(file, true, 1, 1, 16, "ab", 2);
    for (int what = 0; what < 3; what++) { /* valid bits, the name, its length */
        uint8_t copy[256];
        memcpy(copy, file, at);
        copy[what == 0 ? 50 : what == 1 ? 60 : 48] ^= what ? 31 : 1;
        store("a.wav", copy, at);
        assert_refused("a.wav", what == 1 ? MGEN_E_UNSUPPORTED : MGEN_E_CORRUPT,
                       what == 0   ? "valid bits"
                       : what == 1 ? "of a kind that is not read"
                                   : "extensible format that is too short");
    }
    store("a.wav", file, make_wav(file, false, 3, 1, 32, (float[]){0.0f, INFINITY}, 8));
    assert_refused("a.wav", MGEN_E_CORRUPT, "no number at byte 72");
    assert_refused("nothing.wav", MGEN_E_NOT_FOUND, "nothing.wav");
    assert_int_equal(mgi_track_read(ctx, "", &(mgi_track){NULL}), MGEN_E_INVALID);
}

/* ---- another rate --------------------------------------------------------------------------------- */

static double level(const float *x, int64_t from, int64_t to) /* dB of a sine of 1 */
{
    double sum = 0.0;
    for (int64_t i = from; i < to; i++)
        sum += (double)x[i] * (double)x[i];
    return 10.0 * log10(2.0 * sum / (double)(to - from) + 1e-30);
}

static void test_rates(void **state)
{
    (void)state;
    static const struct {
        uint32_t from, to;
        double tone; /* Hz */
    } cases[] = {{44100, 48000, 1000}, {48000, 44100, 19800},  {48000, 16000, 7100},
                 {8000, 48000, 3590},  {12345, 48000, 5000},   {96000, 48000, 21500},
                 {48000, 47999, 9000}, {192000, 8000, 3500.5}, {11025, 8000, 10}};
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        const double from = cases[k].from, to = cases[k].to, tone = cases[k].tone;
        mgi_track t = make((int64_t)from / 5, cases[k].from, 1);
        for (int64_t i = 0; i < t.count; i++)
            t.samples[i] = (float)sin(2.0 * pi * tone * (double)i / from);
        int64_t count = mgi_resample_count(t.count, cases[k].from, cases[k].to);
        assert_int_equal(count, (int64_t)ceil((double)t.count * to / from - 1e-9));
        assert_int_equal(mgi_track_convert(ctx, &t, cases[k].to, 0), MGEN_OK);
        assert_int_equal(t.count, count);
        assert_int_equal(t.rate, cases[k].to);
        double worst = 0.0; /* away from both ends, where silence begins */
        const int64_t edge = (int64_t)(40.0 * fmax(1.0, to / from));
        for (int64_t i = edge; i < count - edge; i++)
            worst = fmax(worst, fabs((double)t.samples[i] - sin(2.0 * pi * tone * (double)i / to)));
        if (worst > 1.2e-4) /* 0.001 dB */
            fail_msg("%g Hz from %g to %g: off by %g", tone, from, to, worst);
        release(&t);
    }
}

/* What the lower rate cannot have is gone; what never changes stays as it is. */
static void test_aliases(void **state)
{
    (void)state;
    for (int tone = 8800; tone < 24000; tone += 3000) {
        mgi_track t = make(9600, 48000, 1);
        for (int64_t i = 0; i < t.count; i++)
            t.samples[i] = (float)sin(2.0 * pi * tone * (double)i / 48000.0);
        assert_int_equal(mgi_track_convert(ctx, &t, 16000, 1), MGEN_OK);
        double db = level(t.samples, 40, t.count - 40);
        if (db > -95.0)
            fail_msg("%d Hz at 16000 a second: %.1f dB", tone, db);
        release(&t);
    }
    mgi_track t = make(4000, 22050, 2);
    for (int64_t i = 0; i < t.count; i++) {
        t.samples[2 * i] = 0.3f;
        t.samples[2 * i + 1] = -0.7f;
    }
    assert_int_equal(mgi_track_convert(ctx, &t, 48000, 0), MGEN_OK);
    for (int64_t i = 80; i < t.count - 80; i++)
        assert_true(fabsf(t.samples[2 * i] - 0.3f) < 1e-6f &&
                    fabsf(t.samples[2 * i + 1] + 0.7f) < 1e-6f);
    release(&t);
}

static void test_channels(void **state)
{
    (void)state;
    static const struct {
        uint32_t from, to;
        float want[8];
    } cases[] = {{2, 1, {1.5f}},       {1, 2, {1, 1}},         {6, 1, {3.5f}},
                 {6, 2, {3, 4}},       {3, 2, {2, 2}},         {2, 4, {1, 2, 1, 2}},
                 {4, 4, {1, 2, 3, 4}}, {5, 0, {1, 2, 3, 4, 5}}};
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        mgi_track t = make(3, 8000, cases[k].from);
        for (uint32_t i = 0; i < 3 * cases[k].from; i++)
            t.samples[i] = (float)(1 + i % cases[k].from);
        assert_int_equal(mgi_track_convert(ctx, &t, 0, cases[k].to), MGEN_OK);
        uint32_t channels = cases[k].to ? cases[k].to : cases[k].from;
        assert_int_equal(t.channels, channels);
        for (int i = 0; i < 3; i++)
            assert_memory_equal(t.samples + (uint32_t)i * channels, cases[k].want,
                                channels * sizeof(float));
        release(&t);
    }
    mgi_track t = make(3, 8000, 1);
    assert_int_equal(mgi_track_convert(ctx, &t, MGI_TRACK_RATE_MAX + 1, 0), MGEN_E_INVALID);
    assert_int_equal(mgi_track_convert(ctx, &t, 0, 9), MGEN_E_INVALID);
    release(&t);
    assert_int_equal(mgi_track_make(ctx, (int64_t)INT32_MAX + 1, 1, 1, &t), MGEN_E_INVALID);
    assert_int_equal(mgi_track_make(ctx, 0, 1, 1, &t), MGEN_E_INVALID);
}

/* ---- the plug-in ---------------------------------------------------------------------------------- */

/* A chirp that fades in and out: of two places of it, no two sound alike. */
static mgi_track make_chirp(int64_t count, uint32_t rate, uint32_t channels)
{
    mgi_track t = make(count, rate, channels);
    for (int64_t i = 0; i < count; i++)
        for (uint32_t c = 0; c < channels; c++) {
            double s = (double)i / rate, whole = (double)count / rate;
            t.samples[i * channels + c] =
                (float)(0.5 * sin(pi * s / whole) * sin(2.0 * pi * (300.0 + 700.0 * s) * s + c));
        }
    return t;
}

/* dB of the difference to the first samples, below those of the sound itself. */
static double difference(const mgi_track *got, const mgi_track *want)
{
    double off = 0.0, all = 0.0;
    for (int64_t i = 0; i < want->count * want->channels; i++) {
        double w = (double)want->samples[i];
        double g = i < got->count * got->channels ? (double)got->samples[i] : 0.0;
        off += (g - w) * (g - w);
        all += w * w;
    }
    return 10.0 * log10(all / (off + 1e-30));
}

static void test_sounds(void **state)
{
    static const struct {
        const char *name;
        uint32_t rate;       /* that it has then */
        int64_t fewer, more; /* samples at its end that may be gone, or added */
        double db;
    } kinds[] = {
        {"a.m4a", 44100, 0, 0, 25},     {"a.mp4", 44100, 0, 0, 25},  {"a.flac", 44100, 0, 0, 80},
        {"a.ogg", 44100, 128, 0, 25},   {"a.opus", 48000, 0, 0, 25}, {"a.webm", 48000, 0, 0, 25},
        {"a.mkv", 44100, 128, 128, 25}, {"a.mov", 44100, 0, 0, 25},  {"a.mp3", 44100, 0, 2304, 20}};
    (void)state;
    if (!find_plugin(ctx))
        return;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
        for (uint32_t channels = 1; channels <= 2; channels++) {
            mgi_track t = make_chirp(20000, 44100, channels);
            mgen_status status = mgi_track_write(ctx, in_dir(kinds[k].name), &t);
            if (status == MGEN_E_UNSUPPORTED) { /* a build of FFmpeg without that encoder */
                print_message("skipped: %s\n", ctx->error_text);
                release(&t);
                continue;
            }
            if (status != MGEN_OK)
                fail_msg("%s", ctx->error_text);
            mgi_track back = read_track(kinds[k].name);
            assert_int_equal(back.rate, kinds[k].rate);
            assert_int_equal(back.channels, channels);
            assert_int_equal(mgi_track_convert(ctx, &t, back.rate, 0), MGEN_OK);
            double db = difference(&back, &t);
            if (back.count < t.count - kinds[k].fewer || back.count > t.count + kinds[k].more ||
                db < kinds[k].db)
                fail_msg("%s, %u channels: %d samples became %d, %.1f dB", kinds[k].name, channels,
                         (int)t.count, (int)back.count, db);
            release(&back);
            release(&t);
        }
}

static void test_movies(void **state)
{
    static const char *const names[] = {"b.mp4", "b.mov", "b.mkv", "b.webm", "b.avi"};
    enum { SIDE = 32, FRAMES = 20 };
    (void)state;
    if (!find_plugin(ctx))
        return;
    uint8_t *rgb = calloc(FRAMES, 3 * SIDE * SIDE);
    assert_non_null(rgb);
    mgi_frames frames = {rgb, SIDE, SIDE, FRAMES, 16, 1}; /* 1.25 s */
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
        for (int longer = 0; longer < 2; longer++) {
            mgi_track t = make_chirp(longer ? 90000 : 30000, 48000, 1), back;
            mgi_film_info info;
            uint8_t *pixels;
            mgen_status status = mgi_movie_write(ctx, in_dir(names[k]), &frames, &t);
            if (status == MGEN_E_UNSUPPORTED) {
                print_message("skipped: %s\n", ctx->error_text);
                release(&t);
                continue;
            }
            if (status != MGEN_OK)
                fail_msg("%s", ctx->error_text);
            assert_int_equal(mgi_film_read(ctx, in_dir(names[k]), 0, 0, &pixels, &info), MGEN_OK);
            assert_int_equal(info.frames, FRAMES);
            mgi_free(ctx, pixels);
            back = read_track(names[k]);
            if (back.count < 60000 || back.count > 62400)
                fail_msg("%s: %d samples for 1.25 s", names[k], (int)back.count);
            t.count = longer ? 59000 : t.count;
            double db = difference(&back, &t), rest = level(back.samples, 33000, 59000);
            if (strcmp(names[k], "b.avi") && (db < 15.0 || (!longer && rest > -60.0)))
                fail_msg("%s: %.1f dB, then %.1f", names[k], db, rest);
            release(&back);
            release(&t);
        }
    free(rgb);
}

/* A sound that begins a quarter of a second after the first picture, and one before it: pictures become light, and sounds loud, after half
 * a second of what is seen. Made by ffmpeg from
 *   V = color=black:s=16x16:r=8:d=1,drawbox=color=white:t=fill:enable='gte(t,0.5)', and with -c:v mpeg4 -q:v 31 -c:a aac -b:a 16k,
 *   -i V -itsoffset 0.25 -i aevalsrc=if(gte(t\,0.25)\,0.5*sin(3000*t)\,0):d=0.75:s=16000 late_sound.mp4
 *   -itsoffset 0.25 -i V -i aevalsrc=if(gte(t\,0.75)\,0.5*sin(3000*t)\,0):d=1.25:s=16000 late_picture.mkv */
static void test_begins_at_another_time(void **state)
{
    static const char *const names[] = {"late_sound.mp4", "late_picture.mkv"};
    const char *source = getenv("MOVIEGEN_SOURCE");
    (void)state;
    if (!find_plugin(ctx))
        return;
    for (int k = 0; k < 2; k++) {
        char path[4200];
        mgi_track t;
        int64_t at = 0;
        snprintf(path, sizeof(path), "%s/tests/unit/media/%s", source ? source : ".", names[k]);
        if (mgi_track_read(ctx, path, &t) != MGEN_OK)
            fail_msg("%s", ctx->error_text);
        while (at < t.count && fabsf(t.samples[at * t.channels]) < 0.1f)
            at++;
        const double loud = (double)at / t.rate, all = (double)t.count / t.rate;
        release(&t);
        if (fabs(loud - 0.5) > 0.005 || fabs(all - 1.0) > 0.07)
            fail_msg("%s: loud after %.3f s of %.3f", names[k], loud, all);
    }
}

static void test_plugin_refuses(void **state)
{
    (void)state;
    uint8_t pixel[3] = {0};
    mgi_frames frames = {pixel, 1, 1, 1, 1, 1};
    mgi_track t = make_chirp(2000, 8000, 1);
    assert_int_equal(mgi_track_write(ctx, in_dir("noending"), &t), MGEN_E_INVALID);
    assert_int_equal(mgi_track_write(ctx, "", &t), MGEN_E_INVALID);
    assert_int_equal(mgi_movie_write(ctx, in_dir("a.png"), &frames, &t), MGEN_E_INVALID);
    assert_int_equal(mgi_movie_write(ctx, in_dir("a.y4m"), &frames, &t), MGEN_E_INVALID);
    assert_int_equal(mgi_movie_write(ctx, in_dir("a.wav"), &frames, &t), MGEN_E_INVALID);
    mgi_free(ctx, ctx->plugin_dir);
    assert_int_equal(mgi_strdup(ctx, dir, &ctx->plugin_dir), MGEN_OK);
    assert_int_equal(mgi_track_write(ctx, in_dir("a.m4a"), &t), MGEN_E_UNSUPPORTED);
    assert_non_null(strstr(ctx->error_text, "a.m4a"));
    if (!find_plugin(ctx))
        return;
    assert_int_equal(mgi_movie_write(ctx, in_dir("a.gif"), &frames, &t), MGEN_E_INVALID);
    assert_ptr_equal(strstr(ctx->error_text, "cannot write"), ctx->error_text);
    assert_non_null(strstr(ctx->error_text, "films with sound"));
    assert_non_null(strstr(ctx->error_text, "use .mp4"));
    assert_int_equal(mgi_movie_write(ctx, in_dir("a.flac"), &frames, &t), MGEN_E_INVALID);
    assert_int_equal(mgi_track_write(ctx, in_dir("a.xyz"), &t), MGEN_E_INVALID);
    assert_non_null(strstr(ctx->error_text, "use .wav"));
    assert_int_equal(mgi_track_write(ctx, "/nonexistent/a.flac", &t), MGEN_E_NOT_FOUND);
    assert_string_equal(ctx->error_text, "cannot write '/nonexistent/a.flac': its folder does not "
                                         "exist; make it first");
    frames = (mgi_frames){calloc(2, 3 * 32 * 32), 32, 32, 2, 16, 1};
    assert_int_equal(mgi_frames_write(ctx, in_dir("silent.mp4"), &frames), MGEN_OK);
    free((void *)frames.pixels);
    release(&t);
    empty_bytes = ctx->heap->now;
    assert_refused("silent.mp4", MGEN_E_UNSUPPORTED, "there is no sound in it");
    assert_refused("nothing.mp3", MGEN_E_NOT_FOUND, "nothing.mp3");
    store("a.mp4", "this is no film, whatever its name says", 39);
    assert_refused("a.mp4", MGEN_E_UNSUPPORTED, "none of the kinds");
    store("a.mp4", "", 0);
    assert_refused("a.mp4", MGEN_E_UNSUPPORTED, "': it is empty");
}

/* Cut and damaged: refused or read, never a crash, and nothing is printed. */
static void test_damaged(void **state)
{
    static const char *const names[] = {"c.m4a", "c.flac", "c.ogg", "c.mp3", "c.mkv"};
    (void)state;
    if (!find_plugin(ctx))
        return;
    mgi_track t = make_chirp(12000, 44100, 1), noise = make_chirp(200000, 44100, 2), back;
    uint32_t bits = 1;
    /* Of noise .flac has all bytes, some as its frames begin: a parser says what is wrong with them, with a level of its own. */
    for (int64_t i = 0; i < 2 * noise.count; i++) {
        bits = bits * 1664525 + 1013904223;
        noise.samples[i] = (float)((int32_t)bits >> 16) / 32768.0f;
    }
    fflush(stderr);
    int kept = dup(2);
    assert_non_null(freopen(in_dir("said"), "w", stderr));
    if (mgi_track_write(ctx, in_dir("n.flac"), &noise) == MGEN_OK) {
        assert_int_equal(mgi_track_read(ctx, in_dir("n.flac"), &back), MGEN_OK);
        release(&back);
    }
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        size_t size;
        if (mgi_track_write(ctx, in_dir(names[k]), &t) != MGEN_OK)
            continue;
        uint8_t *file = load(in_dir(names[k]), &size);
        for (size_t cut = 0; cut < size; cut += 1 + size / 20) {
            store(names[k], file, cut);
            if (mgi_track_read(ctx, in_dir(names[k]), &back) == MGEN_OK)
                release(&back);
        }
        for (size_t at = 0; at < size; at += 1 + size / 60) {
            file[at] ^= 0x55;
            store(names[k], file, size);
            if (mgi_track_read(ctx, in_dir(names[k]), &back) == MGEN_OK)
                release(&back);
            file[at] ^= 0x55;
        }
        free(file);
    }
    fflush(stderr);
    dup2(kept, 2);
    close(kept);
    size_t size;
    uint8_t *said = load(in_dir("said"), &size);
    if (size)
        fail_msg("printed: %.*s", (int)size, (const char *)said);
    free(said);
    release(&t);
    release(&noise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wav),
                                       cmocka_unit_test(test_wav_kinds),
                                       cmocka_unit_test(test_rates),
                                       cmocka_unit_test(test_aliases),
                                       cmocka_unit_test(test_channels),
                                       cmocka_unit_test(test_wav_refuses),
                                       cmocka_unit_test(test_sounds),
                                       cmocka_unit_test(test_movies),
                                       cmocka_unit_test(test_begins_at_another_time),
                                       cmocka_unit_test(test_plugin_refuses),
                                       cmocka_unit_test(test_damaged)};
    return cmocka_run_group_tests_name("track", tests, set_up, tear_down);
}
