/* SPDX-License-Identifier: MIT
 * The world's sounds are the same everywhere, any piece is that piece of the whole, moments are those that are seen,
 * and captions say what is heard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/hash.h"
#include "data/dataset_sound.h"
#include "data/world_sound.h"
#include "text/audio_caption.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RATE = MGI_WORLD_SOUND_RATE };

static void scene_at(uint64_t i, mgi_world_scene *s, mgi_world_sound *sound)
{
    mgi_world_scene_random(s, 21, i, NULL);
    mgi_world_sound_random(sound, s, 21, i);
}

/* Without objects. */
static mgi_world_scene quiet_scene(int background)
{
    return (mgi_world_scene){.width = 64,
                             .height = 64,
                             .frames = 32,
                             .fps = 16,
                             .background = background,
                             .camera_pace = 1.0f};
}

static const mgi_world_sound plain = {.quality = 8.0f, .loudness = 1.0f, .seed = 77};

static double energy(const float *x, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i] * x[i];
    return sum / (double)count;
}

/* ---- captions ----------------------------------------------------------------------------------- */

static void test_form(void **state)
{
    (void)state;
    char out[512], full[512];
    const mgi_audio_words words = {.quality = 8.0f,
                                   .description = "a \"red\" ball\xc3\xa9",
                                   .music = 0.9f,
                                   .music_description = "calm"};
    mgi_audio_caption(&words, full, sizeof full);
    assert_string_equal(
        full,
        "This audio has quality: 8.0. This audio does not contain speech. This audio does not "
        "contain vocal singing. This audio has a description: \"a 'red' ball\xc3\xa9\". This audio "
        "contains music with a 0.90 likelihood. This audio has a music description (if "
        "applicable): \"calm\".");
    for (size_t size = 1; size <= strlen(full) + 1;
         size++) { /* cut, but never within the accented letter */
        memset(out, 'x', sizeof out);
        mgi_audio_caption(&words, out, size);
        size_t n = strlen(out), accent = (size_t)(strchr(full, '\xc3') - full);
        assert_int_equal(n, size - 1 - (size - 1 == accent + 1));
        assert_memory_equal(out, full, n);
        assert_true(out[size] == 'x');
    }
    const mgi_audio_words other = {.quality = 12.0f, .speech = true, .singing = true, .music = NAN};
    mgi_audio_caption(&other, out, sizeof out);
    assert_string_equal(
        out, "This audio has quality: 10.0. This audio contains speech. This audio contains "
             "vocal singing. This audio has a description: \"\". This audio contains music "
             "with a 0.00 likelihood. This audio has a music description (if applicable): "
             "\"\".");
}

/* What can be heard of an object, as captions tell it. */
static bool hears(const mgi_world_object *o, int *motion)
{
    *motion = o->motion == MGI_WORLD_ROLL_RIGHT ? MGI_WORLD_ROLL_LEFT : o->motion;
    return o->motion != MGI_WORLD_STILL;
}

static void test_captions(void **state)
{
    (void)state;
    enum { N = 1500 };
    int moods[MGI_WORLD_MOODS] = {0}, plain_ones = 0;
    for (uint64_t i = 0; i < N; i++) {
        mgi_world_scene s;
        mgi_world_sound sound;
        mgi_world_heard heard;
        char caption[MGI_WORLD_SOUND_CAPTION_MAX];
        scene_at(i, &s, &sound);
        moods[sound.mood]++;
        plain_ones += sound.wording == 0;
        for (int wording = 0; wording < MGI_WORLD_SOUND_WORDINGS; wording++) {
            int n = 0, motion;
            mgi_world_sound_caption(&s, &sound, wording, caption);
            mgi_world_sound_parse(caption, &heard);
            for (int k = 0; k < s.count; k++)
                if (hears(&s.objects[k], &motion)) {
                    if (n >= heard.count || heard.objects[n].shape != s.objects[k].shape ||
                        heard.objects[n].size != s.objects[k].size ||
                        heard.objects[n].motion != motion)
                        fail_msg("%s", caption);
                    n++;
                }
            assert_int_equal(heard.count, n);
            assert_int_equal(heard.background, s.background);
            assert_int_equal(heard.mood, sound.mood);
            if (sound.mood && (wording == 0 || wording == 3))
                assert_int_equal((int)heard.tempo, (int)(sound.tempo + 0.5f));
            else
                assert_true(heard.tempo == 0.0f);
            assert_true(fabsf(heard.quality - sound.quality) < 0.001f);
            assert_true(fabsf(heard.music - sound.music) < 0.006f);
        }
    }
    assert_in_range(moods[MGI_WORLD_NO_MUSIC], N * 62 / 100, N * 71 / 100);
    for (int k = 1; k < MGI_WORLD_MOODS; k++)
        assert_in_range(moods[k], N * 6 / 100, N * 11 / 100);
    assert_in_range(plain_ones, N * 36 / 100, N * 44 / 100);
}

/* ---- moments ------------------------------------------------------------------------------------ */

/* Bouncing objects are seen to touch the ground at the moments of their events, and nowhere else. */
static void test_moments(void **state)
{
    (void)state;
    int touches = 0, ends = 0;
    for (uint64_t i = 0; i < 120; i++) {
        mgi_world_scene s;
        mgi_world_sound sound;
        mgi_world_event e[64], piece[64];
        scene_at(i, &s, &sound);
        s.camera = MGI_WORLD_STATIC;
        int n = mgi_world_sound_events(&s, 0.0, 8.0, e, 64), m = 0;
        assert_in_range(n, 0, 64);
        for (double from = 0.0; from < 8.0; from += 0.5) /* pieces are of the whole */
            m += mgi_world_sound_events(&s, from, from + 0.5, piece + m, 64 - m);
        assert_int_equal(n, m);
        assert_memory_equal(e, piece, (size_t)n * sizeof *e);
        for (int k = 0; k < n; k++) {
            const mgi_world_object *o = &s.objects[e[k].object];
            mgi_world_pose at, before, after;
            mgi_world_object_at(&s, e[k].object, e[k].seconds, &at);
            mgi_world_object_at(&s, e[k].object, e[k].seconds - 0.03f, &before);
            mgi_world_object_at(&s, e[k].object, e[k].seconds + 0.03f, &after);
            float foot = mgi_world_shape_foot(o->shape) * o->radius,
                  above = at.ground - foot - at.y;
            assert_true(k == 0 || e[k].seconds >= e[k - 1].seconds);
            if (e[k].kind == MGI_WORLD_TOUCHES) {
                assert_true(above < 0.02f && before.y < at.y - 0.5f && after.y < at.y - 0.5f);
                touches++;
            } else if (e[k].kind == MGI_WORLD_LANDS) {
                assert_true(above < 0.02f && before.y < at.y - 0.1f &&
                            fabsf(after.y - at.y) < 0.01f);
                ends++;
            } else if (e[k].kind == MGI_WORLD_STOPS) {
                assert_true(before.y > at.y + 0.1f && fabsf(after.y - at.y) < 0.01f);
                ends++;
            } else if (e[k].kind == MGI_WORLD_WHOOSHES) {
                assert_true(before.y < at.y + 0.001f && after.y < at.y + 0.001f);
            }
        }
    }
    assert_true(touches > 100 && ends > 20);
}

/* ---- samples ------------------------------------------------------------------------------------ */

static void test_pinned(void **state)
{
    (void)state;
    static const uint64_t pinned[] = {0x68853c8ffd0e3b34, 0xf51b90bb78feaba8, 0x95e07f4b2d620d8d,
                                      0x8b4feba2a79b87fd, 0xdc2c8d1bf9d00742, 0xe8d839adfb0147c7};
    enum { COUNT = RATE };
    static float whole[COUNT], piece[COUNT];
    for (uint64_t i = 0; i < sizeof pinned / sizeof pinned[0]; i++) {
        mgi_world_scene s;
        mgi_world_sound sound;
        scene_at(i, &s, &sound);
        mgi_world_sound_draw(&s, &sound, 0, COUNT, whole);
        int64_t n;
        for (int64_t at = 0; at < COUNT; at += n) {
            n = 1 + at * 7 % 6001;
            n = n < COUNT - at ? n : COUNT - at;
            mgi_world_sound_draw(&s, &sound, at, n, piece + at);
        }
        assert_memory_equal(whole, piece, sizeof whole);
        uint64_t hash = mgi_hash64(whole, sizeof whole, 0);
        if (hash != pinned[i])
            fail_msg("sound %llu has hash 0x%016llx, not 0x%016llx", (unsigned long long)i,
                     (unsigned long long)hash, (unsigned long long)pinned[i]);
    }
}

/* Far into a film its pieces still are those of the whole. */
static void test_late(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    const int64_t late = INT64_C(600) * RATE;
    static float a[COUNT], b[COUNT];
    mgi_world_scene s;
    mgi_world_sound sound;
    scene_at(3, &s, &sound);
    mgi_world_sound_draw(&s, &sound, late, COUNT, a);
    mgi_world_sound_draw(&s, &sound, late - 1234, COUNT, b);
    assert_memory_equal(a, b + 1234, (COUNT - 1234) * sizeof *a);
    assert_true(energy(a, COUNT) > 1e-5);
}

/* An impact is heard from its moment on: before, nothing differs from the scene without it. */
static void test_impact(void **state)
{
    (void)state;
    enum { COUNT = RATE };
    static float with[COUNT], without[COUNT];
    for (int background = 0; background < MGI_WORLD_BACKGROUNDS; background++)
        for (int shape = 0; shape < MGI_WORLD_SHAPES; shape++) {
            mgi_world_scene s = quiet_scene(background);
            mgi_world_event e;
            mgi_world_sound_draw(&s, &plain, 0, COUNT, without);
            s.count = 1;
            s.objects[0] = (mgi_world_object){.shape = shape,
                                              .size = shape % 3,
                                              .motion = MGI_WORLD_BOUNCE,
                                              .radius = 11.0f,
                                              .x = 32.0f,
                                              .base = 55.0f,
                                              .phase = 0.7f,
                                              .pace = 1.0f};
            assert_int_equal(mgi_world_sound_events(&s, 0.0, 1.0, &e, 1), 1);
            int64_t at = (int64_t)(e.seconds * (float)RATE + 0.5f);
            mgi_world_sound_draw(&s, &plain, 0, COUNT, with);
            assert_memory_equal(with, without, (size_t)at * sizeof *with);
            for (int64_t i = 0; i < COUNT; i++)
                with[i] -= without[i];
            double start = energy(with + at, RATE / 50),
                   later = energy(with + at + RATE / 5, RATE / 50);
            assert_true(start > 2e-3 && later < 0.6 * start);
            assert_true(start > 4.0 * energy(without, COUNT)); /* it stands out */
            s.objects[0].motion = MGI_WORLD_STILL;
            mgi_world_sound_draw(&s, &plain, 0, COUNT, with);
            assert_memory_equal(with, without, sizeof with);
        }
}

/* What goes on is heard; music is; less quality is hiss. */
static void test_layers(void **state)
{
    (void)state;
    enum { COUNT = 2 * RATE };
    static float with[COUNT], without[COUNT];
    mgi_world_scene empty = quiet_scene(MGI_WORLD_STONE);
    mgi_world_sound_draw(&empty, &plain, 0, COUNT, without);
    for (int motion = 0; motion < MGI_WORLD_STILL; motion++) {
        mgi_world_scene s = empty;
        s.count = 1;
        s.objects[0] = (mgi_world_object){.shape = MGI_WORLD_BALL,
                                          .size = MGI_WORLD_MEDIUM,
                                          .motion = motion,
                                          .radius = 11.0f,
                                          .x = 32.0f,
                                          .base = 55.0f,
                                          .height = 8.0f,
                                          .turn = 1.0f,
                                          .pace = 1.0f};
        mgi_world_sound_draw(&s, &plain, 0, COUNT, with);
        for (int64_t i = 0; i < COUNT; i++)
            with[i] -= without[i];
        assert_true(energy(with, COUNT) > 2e-4);
    }
    for (int mood = 1; mood < MGI_WORLD_MOODS; mood++) {
        mgi_world_sound sound = plain;
        float least, most;
        mgi_world_mood_tempo(mood, &least, &most);
        sound.mood = mood;
        sound.tempo = 0.5f * (least + most);
        mgi_world_sound_draw(&empty, &sound, 0, COUNT, with);
        for (int64_t i = 0; i < COUNT; i++)
            with[i] -= without[i];
        assert_true(energy(with, COUNT) > 4e-4 && energy(with, COUNT) < 4e-3);
    }
    mgi_world_sound poor = plain;
    poor.quality = 5.0f;
    empty = quiet_scene(MGI_WORLD_MOON);
    mgi_world_sound_draw(&empty, &plain, 0, COUNT, without);
    mgi_world_sound_draw(&empty, &poor, 0, COUNT, with);
    double rough[2] = {0.0, 0.0};
    for (int64_t i = 1; i < COUNT; i++) {
        rough[0] += fabs((double)with[i] - with[i - 1]);
        rough[1] += fabs((double)without[i] - without[i - 1]);
    }
    assert_true(rough[0] > 2.0 * rough[1]);
}

/* ---- of a dataset ------------------------------------------------------------------------------- */

static mgen_status no_read(void *user, uint64_t index, mgen_sample *sample)
{
    (void)user;
    (void)index;
    (void)sample;
    return MGEN_E_INVALID;
}

static void test_dataset(void **state)
{
    (void)state;
    enum { COUNT = 4000 };
    int64_t length;
    float samples[COUNT], own[COUNT];
    char caption[MGI_CAPTION_SIZE], told[MGI_WORLD_SOUND_CAPTION_MAX];
    mgen_context *ctx;
    mgi_dataset *ds;
    mgi_world_scene s;
    mgi_world_sound sound;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgi_world_options o = {.frames = 48, .fps = 24};
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    assert_int_equal(mgi_dataset_world(ctx, 21, &o, &ds), MGEN_OK);
    assert_true(mgi_dataset_sounds(ds));
    assert_int_equal(mgi_dataset_sound_fps(ds, 4), 24);
    assert_int_equal(mgi_dataset_sound_length(ctx, ds, 4, &length), MGEN_OK);
    assert_int_equal(length, 2 * RATE);
    for (int held = 0; held < 2; held++) {
        const uint64_t seed = held ? MGI_VALIDATION_SEED : 21;
        mgi_world_scene_random(&s, seed, 4, &o);
        mgi_world_sound_random(&sound, &s, seed, 4);
        mgi_world_sound_draw(&s, &sound, 1000, COUNT, own);
        if (held) {
            assert_int_equal(mgi_dataset_held_hear(ctx, ds, 4, 1000, COUNT, samples), MGEN_OK);
            mgi_dataset_held_sound_caption(ds, 4, caption);
            assert_int_equal(mgi_dataset_held_sound_fps(ds, 4), 24);
        } else {
            assert_int_equal(mgi_dataset_hear(ctx, ds, 4, 1000, COUNT, samples), MGEN_OK);
            mgi_dataset_sound_caption(ds, 4, 1, caption);
        }
        mgi_world_sound_caption(&s, &sound, 0, told);
        assert_memory_equal(samples, own, sizeof own);
        assert_string_equal(caption, told);
    }
    mgi_world_scene_random(&s, 21, 4, &o);
    mgi_world_sound_random(&sound, &s, 21, 4);
    mgi_dataset_sound_caption(ds, 4, 2 * 3, caption);
    mgi_world_sound_caption(&s, &sound, 3, told);
    assert_string_equal(caption, told);
    assert_int_equal(mgi_dataset_hear(ctx, ds, 4, -1, COUNT, samples), MGEN_E_INVALID);
    assert_int_equal(mgi_dataset_hear(ctx, ds, 4, INT64_MAX - 5, COUNT, samples), MGEN_E_INVALID);
    mgi_dataset_release(ds);
    mgen_dataset_params host = MGEN_DATASET_PARAMS_INIT;
    host.width = host.height = 32;
    host.frames = 4;
    host.count = 3;
    host.read = no_read;
    assert_int_equal(mgi_dataset_host(ctx, &host, &ds), MGEN_OK);
    assert_false(mgi_dataset_sounds(ds));
    assert_int_equal(mgi_dataset_hear(ctx, ds, 0, 0, COUNT, samples), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "no sound"));
    mgi_dataset_sound_caption(ds, 0, 0, caption);
    assert_string_equal(caption, "");
    mgi_dataset_release(ds);
    mgi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),    cmocka_unit_test(test_captions),
        cmocka_unit_test(test_moments), cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_late),    cmocka_unit_test(test_impact),
        cmocka_unit_test(test_layers),  cmocka_unit_test(test_dataset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
