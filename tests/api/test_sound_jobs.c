/* SPDX-License-Identifier: MIT
 * Requests for sound, by a tiny audio model: of films and of texts, what a request says, what is heard before, cancelling,
 * limits; and every status that the header promises for them. */
#include "tiny_audio.h"

#include <math.h>
#include <sys/resource.h>
#include <sys/stat.h>

static mgen_context *ctx;
static mgen_pipeline pipe_;
static mgen_clip *clip;

enum { WIDTH = 24, HEIGHT = 16, FRAMES = 8, FPS = 25 }; /* 0.32 s */

static int begin(void **state)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    if (setup_audio(state))
        return 1;
    ctx = make_context(2);
    pipe_ = (mgen_pipeline)MGEN_PIPELINE_INIT;
    if (mgen_pipeline_open(ctx, dir, &pipe_) != MGEN_OK || !pipe_.audio)
        return 1;
    info.width = WIDTH;
    info.height = HEIGHT;
    info.frames = FRAMES;
    info.fps_num = FPS;
    info.fps_den = 1;
    if (mgen_clip_create(ctx, &info, &clip) != MGEN_OK)
        return 1;
    for (int i = 0; i < FRAMES * HEIGHT * WIDTH * 3; i++)
        mgen_clip_pixels(clip)[i] = (uint8_t)(i * 7 + i / 1000 * 31);
    return 0;
}

static int end(void **state)
{
    mgen_clip_destroy(clip);
    mgen_pipeline_close(&pipe_);
    mgen_context_destroy(ctx);
    return teardown(state);
}

static mgen_sound_params request(void)
{
    mgen_sound_params p = MGEN_SOUND_PARAMS_INIT;
    p.prompt = "a ball bounces";
    return p;
}

static mgen_status make_with(mgen_context *c, const mgen_clip *of, const mgen_sound_params *p,
                             mgen_sound **out)
{
    mgen_job *job;
    *out = NULL;
    mgen_status status = mgen_sound_start(c, &pipe_, of, p, &job);
    assert_true((status == MGEN_OK) == (job != NULL));
    if (status == MGEN_OK)
        status = mgen_job_wait(job, -1);
    if (status == MGEN_OK)
        assert_int_equal(mgen_job_take_sound(job, out), MGEN_OK);
    mgen_job_destroy(job);
    return status;
}

static mgen_sound *make(const mgen_clip *of, const mgen_sound_params *p)
{
    mgen_sound *sound;
    if (make_with(ctx, of, p, &sound) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    return sound;
}

static uint64_t length_of(const mgen_sound *sound)
{
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    assert_int_equal(mgen_sound_get_info(sound, &info), MGEN_OK);
    assert_true(info.rate == TINY_RATE && info.channels == 1);
    return info.samples;
}

static bool same(mgen_sound *a, mgen_sound *b)
{
    const uint64_t n = length_of(a);
    return n == length_of(b) &&
           !memcmp(mgen_sound_samples(a), mgen_sound_samples(b), n * sizeof(float));
}

static void test_model(void **state)
{
    (void)state;
    mgen_model_info info = MGEN_MODEL_INFO_INIT;
    mgen_audio_model *alone;
    mgen_pipeline without = pipe_;
    assert_int_equal(mgen_audio_model_get_info(pipe_.audio, &info), MGEN_OK);
    assert_true(info.rate == TINY_RATE && info.sees_clips == 1 && info.guidance == 3.0f);
    assert_true(info.channels == 4 && info.text_width == 16 && info.parameters > 1000);
    uint64_t hash = info.hash;
    assert_int_equal(mgen_audio_model_open(ctx, dir, "audio", &alone), MGEN_OK);
    assert_int_equal(mgen_audio_model_get_info(alone, &info), MGEN_OK);
    assert_true(info.hash == hash);
    assert_true(mgen_audio_model_retain(alone) == alone);
    mgen_audio_model_release(alone);
    mgen_audio_model_release(alone);
    assert_null(mgen_audio_model_retain(NULL));
    mgen_audio_model_release(NULL);
    assert_int_equal(mgen_audio_model_get_info(NULL, &info), MGEN_E_INVALID);
    without.audio = NULL;
    assert_true(mgen_pipeline_hash(&without) != mgen_pipeline_hash(&pipe_));
    assert_int_equal(mgen_tae_get_info(pipe_.tae, &info), MGEN_OK);
    assert_true(info.rate == 0 && info.sees_clips == 0);
}

/* What a request says is heard; what it leaves out is as if it said the default. */
static void test_requests(void **state)
{
    (void)state;
    mgen_sound_params plain = request(), p;
    mgen_sound *first = make(clip, &plain), *other;
    assert_int_equal(length_of(first), TINY_RATE * FRAMES / FPS);
    for (int i = 0; i < 6; i++) { /* the same in other words */
        p = request();
        p.steps = i == 0 ? 3 : 0;
        p.guidance = i == 1 ? 3.0f : 0.0f;
        p.quality = i == 2 ? 7.0f : 0.0f;
        p.seconds = i == 3 ? 0.32 : 0.0;
        p.candidates = i == 4;
        p.extension = i == 5 ? MGEN_SOUND_ONE_BY_ONE : MGEN_SOUND_BLENDED; /* one window */
        other = make(clip, &p);
        if (!same(first, other))
            fail_msg("request %d makes another sound", i);
        mgen_sound_destroy(other);
    }
    for (int i = 0; i < 10; i++) {
        p = request();
        p.steps = i == 0 ? 2 : 0;
        p.guidance = i == 1 ? 1.0f : 0.0f;
        p.quality = i == 2 ? 5.0f : 0.0f;
        p.prompt = i == 3 ? "surf" : i == 4 ? NULL : p.prompt;
        p.music = i == 5 ? "" : i == 6 ? "sad" : NULL;
        p.negative = i == 7 ? "hiss" : NULL;
        p.seed = i == 8;
        p.solver = i == 9 ? MGEN_SOLVER_MIDPOINT : MGEN_SOLVER_EULER;
        other = make(clip, &p);
        if (same(first, other))
            fail_msg("request %d makes the same sound", i);
        mgen_sound_destroy(other);
    }
    for (int i = 0; i < 3; i++) { /* white space alone says nothing, too */
        p = request();
        p.prompt = i == 0 ? "" : p.prompt;
        p.music = i == 1 ? "" : NULL;
        p.negative = i == 2 ? "" : NULL;
        mgen_sound *nothing = make(clip, &p);
        p.prompt = i == 0 ? " \n" : p.prompt;
        p.music = i == 1 ? "  " : NULL;
        p.negative = i == 2 ? "\t" : NULL;
        other = make(clip, &p);
        if (!same(nothing, other))
            fail_msg("spaces for \"\" make another sound: %d", i);
        mgen_sound_destroy(nothing);
        mgen_sound_destroy(other);
    }
    plain.seconds = 0.32;
    other = make(NULL, &plain); /* of the text alone */
    assert_true(length_of(other) == length_of(first) && !same(first, other));
    mgen_sound_destroy(other);
    mgen_sound_destroy(first);
}

/* Longer than a window, both ways, of several candidates, and going on with what was heard. */
static void test_long(void **state)
{
    (void)state;
    mgen_sound_params p = request();
    p.seconds = 1.3;
    mgen_sound *blended = make(NULL, &p);
    assert_int_equal(length_of(blended), 62400);
    p.extension = MGEN_SOUND_ONE_BY_ONE;
    p.candidates = 2;
    mgen_sound *single = make(NULL, &p), *next, *again;
    assert_true(length_of(single) == 62400 && !same(blended, single));
    p.solver = MGEN_SOLVER_DOPRI5;
    assert_int_equal(make_with(ctx, NULL, &p, &next), MGEN_E_INVALID);
    p = request();
    p.seconds = 0.2;
    again = make(NULL, &p);
    p.context = blended;
    next = make(NULL, &p);
    assert_true(length_of(next) == 9600 && length_of(again) == 9600 && !same(next, again));
    mgen_sound_destroy(again);
    /* Of another rate and with two channels, it is heard all the same. */
    char path[300];
    mgen_sound *stereo;
    snprintf(path, sizeof path, "%.200s/before.wav", dir);
    assert_int_equal(mgen_sound_write(ctx, blended, path), MGEN_OK);
    assert_int_equal(mgen_sound_read(ctx, path, 24000, 2, &stereo), MGEN_OK);
    p.context = stereo;
    again = make(NULL, &p);
    assert_int_equal(length_of(again), 9600);
    mgen_sound_samples(stereo)[5] = NAN;
    mgen_sound *none;
    assert_int_equal(make_with(ctx, NULL, &p, &none), MGEN_E_INVALID);
    mgen_sound_destroy(stereo);
    mgen_sound_destroy(again);
    mgen_sound_destroy(next);
    mgen_sound_destroy(single);
    mgen_sound_destroy(blended);
}

/* Neither more than was estimated, nor wildly less. */
static void test_estimate(void **state)
{
    (void)state;
    mgen_sound_params p = request();
    mgen_estimate e = MGEN_ESTIMATE_INIT, longer = MGEN_ESTIMATE_INIT;
    mgen_sound *before = NULL;
    for (int i = 0; i < 3; i++) {
        mgen_context *own = make_context(1);
        mgen_sound *sound;
        uint64_t now, peak;
        p.seconds = i == 1 ? 1.3 : 0.0;
        p.context = i == 2 ? before : NULL;
        const mgen_clip *of = i == 1 ? NULL : clip;
        assert_int_equal(mgen_sound_estimate(own, &pipe_, of, &p, &e), MGEN_OK);
        assert_true(e.host_bytes > 0 && e.flops > 0 && e.width == 0 && e.frames == 0);
        mgen_context_memory(own, &now, NULL);
        assert_int_equal(make_with(own, of, &p, &sound), MGEN_OK);
        mgen_context_memory(own, NULL, &peak);
        if (peak - now > e.host_bytes)
            fail_msg("case %d: estimated %llu bytes, took %llu", i,
                     (unsigned long long)e.host_bytes, (unsigned long long)(peak - now));
        if (i == 0)
            assert_int_equal(mgen_sound_read(own, "/nonexistent.wav", 0, 0, &before),
                             MGEN_E_NOT_FOUND);
        if (i == 0) {
            mgen_sound_info info = MGEN_SOUND_INFO_INIT;
            info.rate = 44100;
            info.channels = 2;
            info.samples = 44100;
            assert_int_equal(mgen_sound_create(ctx, &info, &before), MGEN_OK);
        }
        mgen_sound_destroy(sound);
        mgen_context_destroy(own);
    }
    p = request();
    p.seconds = 10;
    assert_int_equal(mgen_sound_estimate(ctx, &pipe_, NULL, &p, &longer), MGEN_OK);
    assert_true(longer.flops > 5 * e.flops && longer.host_bytes > e.host_bytes);
    mgen_sound_destroy(before);
}

static int32_t stop_at(void *user, uint32_t done, uint32_t total)
{
    assert_true(total == 3 && done >= 1 && done <= 3);
    *(uint32_t *)user = done;
    return done == 2;
}

static void test_jobs(void **state)
{
    (void)state;
    uint32_t seen = 0;
    mgen_job_info info = MGEN_JOB_INFO_INIT;
    mgen_sound_params p = request();
    mgen_sound *sound;
    mgen_clip *none;
    mgen_job *job;
    p.on_progress = stop_at;
    p.user = &seen;
    assert_int_equal(make_with(ctx, clip, &p, &sound), MGEN_E_CANCELLED);
    assert_int_equal(seen, 2);
    p.on_progress = NULL;
    p.steps = 1000;
    assert_int_equal(mgen_sound_start(ctx, &pipe_, clip, &p, &job), MGEN_OK);
    assert_int_equal(mgen_job_take_sound(job, &sound), MGEN_E_STATE); /* not waited for */
    assert_int_equal(mgen_sound_start(ctx, &pipe_, clip, &p, &(mgen_job *){NULL}), MGEN_E_STATE);
    assert_int_equal(mgen_sound_estimate(ctx, &pipe_, clip, &p, &(mgen_estimate)MGEN_ESTIMATE_INIT),
                     MGEN_E_STATE);
    assert_int_equal(mgen_audio_model_open(ctx, dir, "audio", &(mgen_audio_model *){NULL}),
                     MGEN_E_STATE);
    mgen_job_cancel(job);
    assert_int_equal(mgen_job_wait(job, -1), MGEN_E_CANCELLED);
    assert_int_equal(mgen_job_take_sound(job, &sound), MGEN_E_STATE);
    mgen_job_destroy(job);
    p.steps = 0;
    assert_int_equal(mgen_sound_start(ctx, &pipe_, clip, &p, &job), MGEN_OK);
    assert_int_equal(mgen_job_wait(job, -1), MGEN_OK);
    assert_int_equal(mgen_job_get_info(job, &info), MGEN_OK);
    assert_true(info.done == 3 && info.total == 3 && info.width == 0 && info.frames == 0);
    assert_int_equal(mgen_job_take_clip(job, &none), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "made no clip"));
    assert_int_equal(mgen_job_take_sound(job, &sound), MGEN_OK);
    mgen_sound_destroy(sound);
    assert_int_equal(mgen_job_take_sound(job, &sound), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "gave its sound away"));
    assert_int_equal(mgen_job_take_sound(NULL, &sound), MGEN_E_INVALID);
    mgen_job_destroy(job);
    mgen_generate_params g = MGEN_GENERATE_PARAMS_INIT;
    g.prompt = "a red ball";
    g.steps = 1;
    assert_int_equal(mgen_generate_start(ctx, &pipe_, &g, &job), MGEN_OK);
    assert_int_equal(mgen_job_wait(job, -1), MGEN_OK);
    assert_int_equal(mgen_job_take_sound(job, &sound), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "made no sound"));
    mgen_job_destroy(job);
}

static void refuse(const mgen_sound_params *p, const mgen_clip *of, const char *said)
{
    mgen_job *job;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    assert_int_equal(mgen_sound_start(ctx, &pipe_, of, p, &job), MGEN_E_INVALID);
    assert_null(job);
    if (!strstr(mgen_last_error(ctx), said))
        fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), said);
    assert_int_equal(mgen_sound_estimate(ctx, &pipe_, of, p, &e), MGEN_E_INVALID);
}

static void test_refuses(void **state)
{
    (void)state;
    static char longest[4098];
    memset(longest, 'a', 4097);
    mgen_sound_params p;
    mgen_job *job;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    for (int i = 0; i < 16; i++) {
        static const char *const said[] = {"steps",     "guidance",    "guidance", "quality",
                                           "quality",   "seconds",     "seconds",  "candidates",
                                           "extension", "noise_scale", "solver",   "prompt",
                                           "music",     "negative",    "seconds",  "prompt"};
        p = request();
        p.steps = i == 0 ? 1001 : 0;
        p.guidance = i == 1 ? -1.0f : i == 2 ? NAN : 0.0f;
        p.quality = i == 3 ? 0.5f : i == 4 ? 11.0f : 0.0f;
        p.seconds = i == 5 ? -1.0 : i == 6 ? 65537.0 : i == 14 ? NAN : 0.0;
        p.candidates = i == 7 ? 65 : 0;
        p.extension = i == 8 ? 2 : 0;
        p.noise_scale = i == 9 ? NAN : 0.0f;
        p.solver = i == 10 ? 3 : 0;
        p.prompt = i == 11 ? longest : i == 15 ? "\xff" : p.prompt;
        p.music = i == 12 ? longest : NULL;
        p.negative = i == 13 ? longest : NULL;
        refuse(&p, clip, said[i]);
    }
    p = request();
    refuse(&p, NULL, "seconds");
    refuse(NULL, clip, "NULL");
    assert_int_equal(mgen_sound_start(NULL, &pipe_, clip, &p, &job), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_start(ctx, &pipe_, clip, &p, NULL), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_start(ctx, NULL, clip, &p, &job), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_estimate(NULL, &pipe_, clip, &p, &e), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_estimate(ctx, &pipe_, clip, &p, NULL), MGEN_E_INVALID);
    mgen_pipeline without = pipe_;
    without.audio = NULL;
    assert_int_equal(mgen_sound_start(ctx, &without, clip, &p, &job), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "lacks its audio model"));
    assert_int_equal(mgen_sound_estimate(ctx, &without, clip, &p, &e), MGEN_E_STATE);
    struct {
        mgen_sound_params p;
        uint64_t more;
    } newer = {p, 1};
    newer.p.struct_size = sizeof newer;
    assert_int_equal(mgen_sound_start(ctx, &pipe_, clip, &newer.p, &job), MGEN_E_VERSION);
    assert_int_equal(mgen_sound_estimate(ctx, &pipe_, clip, &newer.p, &e), MGEN_E_VERSION);
    newer.more = 0;
    assert_int_equal(mgen_sound_estimate(ctx, &pipe_, clip, &newer.p, &e), MGEN_OK);
}

/* The listener of the toybox's protocol needs windows of a second. */
static void test_evaluate(void **state)
{
    (void)state;
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    mgen_pipeline without = pipe_;
    mgen_report *report;
    p.protocol = "sound";
    p.n = 1;
    assert_int_equal(mgen_evaluate(ctx, &pipe_, &p, &report), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "windows of a second"));
    without.audio = NULL;
    assert_int_equal(mgen_evaluate(ctx, &without, &p, &report), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "lacks its audio model"));
    assert_null(report);
}

/* A model that sees no films has sound for texts only. */
static void test_blind(void **state)
{
    (void)state;
    mgen_model_info info = MGEN_MODEL_INFO_INIT;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_sound_params p = request();
    mgen_pipeline blind = pipe_;
    mgen_sound *sound;
    mgen_job *job;
    assert_int_equal(mgen_audio_model_open(ctx, dir, "blind_audio", &blind.audio), MGEN_OK);
    assert_int_equal(mgen_audio_model_get_info(blind.audio, &info), MGEN_OK);
    assert_true(info.sees_clips == 0 && info.rate == TINY_RATE);
    assert_int_equal(mgen_sound_start(ctx, &blind, clip, &p, &job), MGEN_E_UNSUPPORTED);
    assert_int_equal(mgen_sound_estimate(ctx, &blind, clip, &p, &e), MGEN_E_UNSUPPORTED);
    p.seconds = 0.1;
    assert_int_equal(mgen_sound_start(ctx, &blind, NULL, &p, &job), MGEN_OK);
    mgen_audio_model_release(blind.audio); /* the job has its own */
    assert_int_equal(mgen_job_wait(job, -1), MGEN_OK);
    assert_int_equal(mgen_job_take_sound(job, &sound), MGEN_OK);
    assert_int_equal(length_of(sound), 4800);
    mgen_sound_destroy(sound);
    mgen_job_destroy(job);
}

/* A pipeline of a host whose header knows no audio model opens without one. */
static void test_older_pipeline(void **state)
{
    (void)state;
    struct {
        mgen_pipeline p;
        uint64_t behind;
    } older = {MGEN_PIPELINE_INIT, 77};
    older.p.struct_size = offsetof(mgen_pipeline, audio);
    older.p.audio = (mgen_audio_model *)(uintptr_t)8; /* somebody else's memory */
    assert_int_equal(mgen_pipeline_open(ctx, dir, &older.p), MGEN_OK);
    assert_true(older.p.audio == (mgen_audio_model *)(uintptr_t)8 && older.behind == 77);
    assert_true(mgen_pipeline_hash(&older.p) != mgen_pipeline_hash(&pipe_));
    mgen_pipeline_close(&older.p);
    assert_true(older.p.audio == (mgen_audio_model *)(uintptr_t)8);
}

/* An allocator that gives nothing while `empty`. */
static bool empty;

static void *alloc(void *user, size_t size)
{
    (void)user;
    return empty ? NULL : aligned_alloc(64, (size + 63) & ~(size_t)63);
}

static void release(void *user, void *ptr, size_t size)
{
    (void)user;
    (void)size;
    free(ptr);
}

static void test_memory(void **state)
{
    (void)state;
    mgen_context *own;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_sound_params p = request();
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_audio_model *model;
    mgen_job *job;
    cp.threads = 1;
    cp.allocator = (mgen_allocator){alloc, release, NULL};
    assert_int_equal(mgen_context_create(&cp, &own), MGEN_OK);
    empty = true;
    mgen_status started = mgen_sound_start(own, &pipe_, clip, &p, &job);
    mgen_status estimated = mgen_sound_estimate(own, &pipe_, clip, &p, &e);
    mgen_status opened = mgen_audio_model_open(own, dir, "audio", &model);
    empty = false;
    assert_int_equal(started, MGEN_E_NO_MEMORY);
    assert_int_equal(estimated, MGEN_E_NO_MEMORY);
    assert_int_equal(opened, MGEN_E_NO_MEMORY);
    assert_int_equal(mgen_sound_estimate(own, &pipe_, clip, &p, &e), MGEN_OK);
    uint64_t now;
    mgen_context_memory(own, &now, NULL);
    mgen_context_destroy(own);
    for (int enough = 0; enough < 2; enough++) {
        mgen_sound *sound;
        cp.host_memory_max = now + e.host_bytes * (enough ? 2 : 1) / (enough ? 1 : 2);
        assert_int_equal(mgen_context_create(&cp, &own), MGEN_OK);
        assert_int_equal(make_with(own, clip, &p, &sound), enough ? MGEN_OK : MGEN_E_LIMIT);
        mgen_sound_destroy(sound);
        mgen_context_destroy(own);
    }
    cp.host_memory_max = now + 2000;
    assert_int_equal(mgen_context_create(&cp, &own), MGEN_OK);
    assert_int_equal(mgen_audio_model_open(own, dir, "audio", &model), MGEN_E_LIMIT);
    assert_null(model);
    mgen_context_destroy(own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),  cmocka_unit_test(test_requests),
        cmocka_unit_test(test_long),   cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_jobs),   cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_memory), cmocka_unit_test(test_older_pipeline),
        cmocka_unit_test(test_blind),  cmocka_unit_test(test_evaluate),
    };
    return cmocka_run_group_tests_name("sound jobs", tests, begin, end);
}
