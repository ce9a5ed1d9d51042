/* SPDX-License-Identifier: MIT
 * The protocol of audio models: what it reports against sounds made here, and counted here, from the networks by themselves; what
 * it is refused; its ends. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "eval/sound_check.h"
#include "eval/sound_eval.h"
#include "failing_memory.h"
#include "reported.h"
#include "tiny_audio.h"

enum { HOP = 1920, LATENTS = 26, COUNT = LATENTS * HOP, FPS = 8, FRAMES = 9, SIDE = 48, N = 2 };

static failing memory;
static mgen_context *ctx;
static mgi_audio audio;

static const mgi_clip_shape clip = {.width = SIDE, .height = SIDE, .frames = 5, .fps = FPS};

static int setup(void **state)
{
    (void)state;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
    if (mgen_context_create(&params, &ctx) != MGEN_OK)
        return -1;
    make_audio(&audio, ctx);
    /* A codec of the checker's rate, and windows of a little more than a second. */
    mgi_audio_codec_config codec = tiny_codec;
    codec.levels = 2;
    codec.strides[0] = 40;
    codec.strides[1] = 48;
    codec.rate = MGI_WORLD_SOUND_RATE;
    mgi_audio_codec_finish(&audio.codec);
    if (mgi_audio_codec_init(&audio.codec, ctx, &codec) != MGEN_OK ||
        mgi_module_random(&audio.codec.module, 2) != MGEN_OK)
        return -1;
    audio.config.window = LATENTS;
    mgi_vt_config transformer = tiny_audio.transformer;
    transformer.frames_max = LATENTS;
    mgi_vt_finish(&audio.transformer);
    if (mgi_vt_init(&audio.transformer, ctx, &transformer) != MGEN_OK ||
        mgi_vt_random(&audio.transformer, 1) != MGEN_OK)
        return -1;
    randomise(&audio.transformer.module, 0.1f);
    audio.config.transformer = transformer;
    return mgi_audio_check(ctx, &audio) == MGEN_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mgi_audio_finish(&audio);
    mgen_context_destroy(ctx);
    return memory.blocks == 0 ? 0 : -1;
}

static bool count_up(void *user, int done, int total)
{
    int *calls = user;
    assert_int_equal(total, N);
    return ++*calls == 0 || done < 0;
}

static bool stop(void *user, int done, int total)
{
    (void)user;
    (void)total;
    return done == 1;
}

static mgi_eval_request request(void)
{
    return (mgi_eval_request){.n = N, .seed = 5, .steps = 2, .schedule = MGI_SCHEDULE_LINEAR};
}

/* ---- by hand ------------------------------------------------------------------------------------ */

typedef struct sounds {
    float truth[COUNT], made[COUNT], latents[LATENTS * 3];
    uint8_t film[FRAMES * SIDE * SIDE * 3];
} sounds;

static mgen_status give(void *user, int64_t first, int64_t count, float *samples)
{
    memcpy(samples, ((sounds *)user)->truth + first, (size_t)count * sizeof *samples);
    return MGEN_OK;
}

static mgen_status take(void *user, int64_t first, int64_t count, const float *samples)
{
    memcpy(((sounds *)user)->made + first, samples, (size_t)count * sizeof *samples);
    return MGEN_OK;
}

static mgen_status frames(void *user, int64_t first, int64_t count, float *rgb)
{
    mgi_film_bytes film = {((sounds *)user)->film, NULL, SIDE, SIDE};
    return mgi_film_give(&film, first, count, rgb);
}

static void make(sounds *s, const mgi_eval_request *r, int64_t i, const char *caption, bool seen)
{
    const mgi_sound_request g = {.caption = caption,
                                 .seed = r->seed + (uint64_t)i,
                                 .steps = r->steps,
                                 .schedule = r->schedule,
                                 .samples = COUNT,
                                 .source = seen ? frames : NULL,
                                 .film = {FRAMES, SIDE, SIDE},
                                 .fps = FPS,
                                 .sink = take,
                                 .user = s};
    assert_int_equal(mgi_sound_make(ctx, &audio, &g), MGEN_OK);
}

static void test_numbers(void **state)
{
    (void)state;
    mgi_eval_request r = request();
    static sounds s;
    static mgi_sound_found found;
    mgi_sound_tally t[MGI_SOUND_TALLIES] = {{0}};
    mgen_report *report, *expected;
    double signal = 0.0, noise = 0.0, seconds = (double)COUNT / MGI_WORLD_SOUND_RATE;
    int calls = 0;
    r.progress = count_up;
    r.user = &calls;
    const mgi_clip_shape whole = {.width = SIDE, .height = SIDE, .frames = FRAMES, .fps = FPS};
    for (int64_t i = 0; i < N; i++) {
        mgi_world_scene scene, other;
        mgi_world_sound sound, others;
        char caption[MGI_WORLD_SOUND_CAPTION_MAX];
        mgi_sound_case(&whole, r.seed, i, &scene, &sound);
        mgi_sound_case(&whole, r.seed, i + 1, &other, &others);
        assert_true(scene.frames == FRAMES && scene.fps == FPS && scene.width == SIDE);
        for (int k = 0; k < scene.count; k++)
            assert_true(mgi_world_held_out(scene.objects[k].shape, scene.objects[k].colour,
                                           scene.objects[k].motion, scene.background));
        mgi_world_sound_caption(&scene, &sound, 0, caption);
        mgi_world_draw(&scene, SIDE, SIDE, 0, FRAMES, s.film);
        mgi_world_sound_draw(&scene, &sound, 0, COUNT, s.truth);
        make(&s, &r, i, caption, true);
        assert_int_equal(mgi_sound_check(ctx, s.made, COUNT, &found), MGEN_OK);
        mgi_sound_tally_add(&t[MGI_SOUND_TALLY_MADE], &scene, &sound, seconds, &found);
        mgi_sound_tally_add(&t[MGI_SOUND_TALLY_CONTROL], &other, &others, seconds, &found);
        make(&s, &r, i, caption, false);
        assert_int_equal(mgi_sound_check(ctx, s.made, COUNT, &found), MGEN_OK);
        mgi_sound_tally_add(&t[MGI_SOUND_TALLY_UNSEEN], &scene, &sound, seconds, &found);
        assert_int_equal(mgi_audio_encode_sound(ctx, &audio.codec, COUNT, give, &s, s.latents),
                         MGEN_OK);
        assert_int_equal(mgi_audio_decode_sound(ctx, &audio.codec, s.latents, LATENTS, take, &s),
                         MGEN_OK);
        assert_int_equal(mgi_sound_check(ctx, s.made, COUNT, &found), MGEN_OK);
        mgi_sound_tally_add(&t[MGI_SOUND_TALLY_CEILING], &scene, &sound, seconds, &found);
        for (int k = 0; k < COUNT; k++) {
            signal += (double)s.truth[k] * s.truth[k];
            noise += ((double)s.made[k] - s.truth[k]) * ((double)s.made[k] - s.truth[k]);
        }
    }
    assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
    assert_int_equal(mgi_report_create(ctx, &expected), MGEN_OK);
    if (mgi_eval_sound(ctx, &audio, &clip, &r, report) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    assert_int_equal(calls, N);
    for (int way = 0; way < MGI_SOUND_TALLIES; way++)
        mgi_sound_tally_report(&t[way], way, expected);
    assert_int_equal(mgen_report_count(report), mgen_report_count(expected) + 1);
    for (uint32_t i = 0; i < mgen_report_count(expected); i++) {
        assert_string_equal(mgen_report_name(report, i), mgen_report_name(expected, i));
        assert_true(mgen_report_value(report, i) == mgen_report_value(expected, i));
    }
    assert_true(fabs(reported(report, "ceiling_snr") - 10.0 * log10(signal / noise)) < 1e-9);
    assert_true(reported(report, "place") >= 0.0 && reported(report, "unseen_mood") >= 0.0);
    mgen_report_destroy(expected);
    mgen_report_destroy(report);
}

static void refused(const mgi_clip_shape *shape, const mgi_audio *model, const char *words)
{
    mgi_eval_request r = request();
    mgen_report *report;
    assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
    assert_int_equal(mgi_eval_sound(ctx, model, shape, &r, report), MGEN_E_STATE);
    if (!strstr(mgen_last_error(ctx), words))
        fail_msg("%s", mgen_last_error(ctx));
    assert_int_equal(mgen_report_count(report), 0);
    mgen_report_destroy(report);
}

static void test_refused(void **state)
{
    (void)state;
    const mgi_clip_shape odd = {50, 49, 8, 16}, small = {32, 48, 8, 16}, rate = {64, 64, 8, 30};
    mgi_audio short_one = audio, slow = audio;
    refused(&odd, &audio, "even sides");
    refused(&small, &audio, "even sides");
    refused(&rate, &audio, "24 frames a second");
    short_one.config.window = 24;
    refused(&clip, &short_one, "a second or more");
    slow.codec.config.rate = 24000;
    refused(&clip, &slow, "at 24000");
}

/* It ends when it is told to, and when there is no memory, with none kept. */
static void test_ends(void **state)
{
    (void)state;
    mgi_eval_request r = request();
    mgen_report *report;
    assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
    r.progress = stop;
    assert_int_equal(mgi_eval_sound(ctx, &audio, &clip, &r, report), MGEN_E_CANCELLED);
    r.n = 1;
    for (int at = 1; at < 8; at++) {
        const int64_t before = memory.blocks;
        memory.calls = 0;
        memory.fail_at = at;
        assert_int_equal(mgi_eval_sound(ctx, &audio, &clip, &r, report), MGEN_E_NO_MEMORY);
        memory.fail_at = 0;
        assert_int_equal(memory.blocks, before);
    }
    assert_int_equal(mgen_report_count(report), 0);
    mgen_report_destroy(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_ends)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
