/* SPDX-License-Identifier: MIT
 * Sounds of a host: made, written, read, with a film; and every status that the header promises for them. */
#include "tiny.h"

#include <math.h>
#include <sys/resource.h>

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

static char plugins[4096]; /* where the fake one lies: beside this program */

static void find_plugins(void)
{
    ssize_t length = readlink("/proc/self/exe", plugins, sizeof plugins - 1);
    assert_true(length > 0);
    plugins[length] = '\0';
    *strrchr(plugins, '/') = '\0';
}

/* With the fake plug-in, and at most so many bytes more than it takes itself. */
static mgen_context *make_limited(uint64_t more)
{
    mgen_context *ctx;
    uint64_t now = 0;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    p.threads = 1;
    p.plugin_dir = plugins;
    p.allocator = (mgen_allocator){alloc, release, NULL};
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    mgen_context_memory(ctx, &now, NULL);
    mgen_context_destroy(ctx);
    p.host_memory_max = more ? now + more : 0;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    return ctx;
}

static mgen_sound_info about(uint64_t samples, uint32_t rate, uint32_t channels)
{
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    info.samples = samples;
    info.rate = rate;
    info.channels = channels;
    return info;
}

static mgen_sound *make_sound(mgen_context *ctx, uint64_t samples, uint32_t rate, uint32_t channels)
{
    mgen_sound_info info = about(samples, rate, channels);
    mgen_sound *sound = NULL;
    if (mgen_sound_create(ctx, &info, &sound) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    for (uint64_t i = 0; i < samples * channels; i++)
        assert_true(mgen_sound_samples(sound)[i] == 0.0f);
    return sound;
}

static mgen_clip *make_clip(mgen_context *ctx)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *clip = NULL;
    info.width = info.height = info.frames = 4;
    info.fps_num = info.fps_den = 1;
    assert_int_equal(mgen_clip_create(ctx, &info, &clip), MGEN_OK);
    return clip;
}

static const char *in_dir(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%.200s/%s", dir, name);
    return path;
}

static void assert_text(const char *name, const char *want)
{
    char text[200] = "";
    FILE *f = fopen(in_dir(name), "r");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    assert_int_equal(fclose(f), 0);
    assert_string_equal(text, want);
}

static void store(const char *name, const void *data, size_t size)
{
    FILE *f = fopen(in_dir(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void test_sound(void **state)
{
    (void)state;
    mgen_context *ctx = make_limited(0);
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    mgen_sound *sound = make_sound(ctx, 800, 8000, 2), *back = NULL;
    float *x = mgen_sound_samples(sound);
    for (int i = 0; i < 1600; i++)
        x[i] = (float)(i % 400 - 200) / 512.0f;
    assert_int_equal(mgen_sound_write(ctx, sound, in_dir("a.wav")), MGEN_OK);
    assert_int_equal(mgen_sound_read(ctx, in_dir("a.wav"), 0, 0, &back), MGEN_OK);
    assert_int_equal(mgen_sound_get_info(back, &info), MGEN_OK);
    assert_true(info.rate == 8000 && info.channels == 2 && info.samples == 800 && !info.reserved0);
    assert_memory_equal(mgen_sound_samples(back), x, 1600 * sizeof(float));
    mgen_sound_destroy(back);
    assert_int_equal(mgen_sound_read(ctx, in_dir("a.wav"), 48000, 1, &back), MGEN_OK);
    assert_int_equal(mgen_sound_get_info(back, &info), MGEN_OK);
    assert_true(info.rate == 48000 && info.channels == 1 && info.samples == 4800);
    mgen_context_destroy(ctx); /* which a sound outlives */
    assert_true(fabsf(mgen_sound_samples(back)[600] - 0.5f * (x[200] + x[201])) < 0.02f);
    mgen_sound_destroy(back);
    mgen_sound_destroy(sound);
    mgen_sound_destroy(NULL);
    assert_null(mgen_sound_samples(NULL));
    assert_int_equal(mgen_sound_get_info(NULL, &info), MGEN_E_INVALID);
}

/* By the plug-in: what is given to it, and what it gives. */
static void test_plugin(void **state)
{
    (void)state;
    mgen_context *ctx = make_limited(0);
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    mgen_sound *sound = make_sound(ctx, 10, 8000, 3), *fast = make_sound(ctx, 40, 32000, 1), *back;
    mgen_clip *clip = make_clip(ctx);
    mgen_sound_samples(sound)[0] = 0.25f;
    assert_int_equal(mgen_sound_write(ctx, sound, in_dir("a.any")), MGEN_OK);
    assert_text("a.any", "0 0 0, 10 of 3 at 8000, 0.25");
    assert_int_equal(mgen_sound_write(ctx, fast, in_dir("a.any")), MGEN_OK);
    assert_text("a.any", "0 0 0, 10 of 1 at 8000, 0");
    assert_int_equal(mgen_movie_write(ctx, clip, sound, in_dir("a.any")), MGEN_OK);
    assert_text("a.any", "4 4 4, 10 of 3 at 8000, 0.25");
    store("b.any", "\5", 1);
    assert_int_equal(mgen_sound_read(ctx, in_dir("b.any"), 0, 1, &back), MGEN_OK);
    assert_int_equal(mgen_sound_get_info(back, &info), MGEN_OK);
    assert_true(info.rate == 16000 && info.channels == 1 && info.samples == 15);
    assert_true(fabsf(mgen_sound_samples(back)[4] - 0.35f) < 1e-6f);
    mgen_sound_destroy(back);
    mgen_clip_destroy(clip);
    mgen_sound_destroy(fast);
    mgen_sound_destroy(sound);
    mgen_context_destroy(ctx);
}

static void test_invalid(void **state)
{
    (void)state;
    mgen_context *ctx = make_limited(0);
    mgen_sound *sound = make_sound(ctx, 10, 8000, 1), *made = sound;
    mgen_clip *clip = make_clip(ctx);
    const mgen_sound_info bad[] = {about(0, 8000, 1),         about(1, 0, 1),
                                   about(1, 8000, 0),         about(UINT64_C(1) << 31, 8000, 1),
                                   about(1, 8000, 9),         about(1, 768001, 1),
                                   about(UINT64_MAX, 8000, 1)};
    struct {
        mgen_sound_info info;
        uint64_t more;
    } newer = {about(1, 8000, 1), 0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(mgen_sound_create(ctx, &bad[i], &made), MGEN_E_INVALID);
        assert_null(made);
    }
    newer.info.reserved0 = 1;
    assert_int_equal(mgen_sound_create(ctx, &newer.info, &made), MGEN_E_INVALID);
    newer.info.reserved0 = 0;
    newer.info.struct_size = sizeof newer;
    assert_int_equal(mgen_sound_create(ctx, &newer.info, &made), MGEN_OK);
    mgen_sound_destroy(made);
    newer.more = 1;
    assert_int_equal(mgen_sound_create(ctx, &newer.info, &made), MGEN_E_VERSION);
    newer.info.struct_size = 8;
    assert_int_equal(mgen_sound_create(ctx, &newer.info, &made), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_get_info(sound, &newer.info), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_create(ctx, NULL, &made), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_create(NULL, &bad[0], &made), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_read(ctx, NULL, 0, 0, &made), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_read(ctx, "a.wav", 768001, 0, &made), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_read(ctx, "a.wav", 0, 9, &made), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_read(NULL, "a.wav", 0, 0, &made), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_read(ctx, "a.wav", 0, 0, NULL), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_write(ctx, NULL, in_dir("a.wav")), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_write(ctx, sound, ""), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_write(ctx, sound, in_dir("noending")), MGEN_E_INVALID);
    assert_int_equal(mgen_sound_write(NULL, sound, in_dir("a.wav")), MGEN_E_INVALID);
    assert_int_equal(mgen_movie_write(ctx, clip, NULL, in_dir("a.any")), MGEN_E_INVALID);
    assert_int_equal(mgen_movie_write(ctx, NULL, sound, in_dir("a.any")), MGEN_E_INVALID);
    assert_int_equal(mgen_movie_write(NULL, clip, sound, in_dir("a.any")), MGEN_E_INVALID);
    assert_int_equal(mgen_movie_write(ctx, clip, sound, in_dir("a.png")), MGEN_E_INVALID);
    assert_int_equal(mgen_movie_write(ctx, clip, sound, in_dir("a.mute")), MGEN_E_INVALID);
    mgen_sound_samples(sound)[3] = NAN;
    assert_int_equal(mgen_sound_write(ctx, sound, in_dir("a.wav")), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "sample 3"));
    mgen_clip_destroy(clip);
    mgen_sound_destroy(sound);
    mgen_context_destroy(ctx);
}

static void test_files(void **state)
{
    (void)state;
    static const int8_t told[] = {MGEN_E_UNSUPPORTED, MGEN_E_CORRUPT, 0};
    mgen_context *ctx = make_limited(0);
    mgen_sound *sound = make_sound(ctx, 1000, 8000, 1), *made;
    mgen_clip *clip = make_clip(ctx);
    struct rlimit before, none;
    assert_int_equal(mgen_sound_read(ctx, in_dir("nothing.wav"), 0, 0, &made), MGEN_E_NOT_FOUND);
    for (int i = 0; i < 3; i++) {
        store("c.any", &told[i], 1);
        assert_int_equal(mgen_sound_read(ctx, in_dir("c.any"), 0, 0, &made),
                         told[i] ? told[i] : MGEN_E_CORRUPT);
        assert_null(made);
    }
    assert_int_equal(mgen_sound_write(ctx, sound, in_dir("a.wav")), MGEN_OK);
    assert_int_equal(mgen_sound_write(ctx, sound, "/nonexistent/a.wav"), MGEN_E_NOT_FOUND);
    assert_int_equal(mgen_sound_write(ctx, sound, in_dir("a.io")), MGEN_E_IO);
    assert_int_equal(mgen_sound_write(ctx, sound, in_dir("a.full")), MGEN_E_NO_SPACE);
    assert_int_equal(mgen_movie_write(ctx, clip, sound, "/nonexistent/a.any"), MGEN_E_NOT_FOUND);
    assert_int_equal(mgen_movie_write(ctx, clip, sound, in_dir("a.io")), MGEN_E_IO);
    assert_int_equal(mgen_movie_write(ctx, clip, sound, in_dir("a.full")), MGEN_E_NO_SPACE);
    assert_int_equal(access(in_dir("a.full"), F_OK), -1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    mgen_status read = mgen_sound_read(ctx, in_dir("a.wav"), 0, 0, &made);
    mgen_status written = mgen_sound_write(ctx, sound, in_dir("a.wav"));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(read, MGEN_E_IO);
    assert_int_equal(written, MGEN_E_IO);
    mgen_clip_destroy(clip);
    mgen_sound_destroy(sound);
    mgen_context_destroy(ctx);
}

/* Each call with too little memory, of the host's or within its limit. */
static void test_memory(void **state)
{
    (void)state;
    mgen_context *ctx = make_limited(0), *small = make_limited(200000);
    mgen_sound *sound = make_sound(ctx, 1000, 44100, 1), *made;
    mgen_clip *clip = make_clip(ctx);
    const mgen_sound_info large = about(100000, 44100, 1);
    assert_int_equal(mgen_sound_write(ctx, sound, in_dir("a.wav")), MGEN_OK);
    assert_int_equal(mgen_sound_create(small, &large, &made), MGEN_E_LIMIT);
    assert_int_equal(mgen_sound_read(small, in_dir("a.wav"), 48000, 0, &made), MGEN_E_LIMIT);
    assert_int_equal(mgen_sound_write(small, sound, in_dir("a.any")), MGEN_E_LIMIT);
    assert_int_equal(mgen_movie_write(small, clip, sound, in_dir("a.any")), MGEN_E_LIMIT);
    empty = true;
    assert_int_equal(mgen_sound_create(ctx, &large, &made), MGEN_E_NO_MEMORY);
    assert_int_equal(mgen_sound_read(ctx, in_dir("a.wav"), 48000, 0, &made), MGEN_E_NO_MEMORY);
    mgen_status written = mgen_sound_write(ctx, sound, in_dir("a.any"));
    mgen_status movie = mgen_movie_write(ctx, clip, sound, in_dir("a.any"));
    empty = false;
    assert_int_equal(written, MGEN_E_NO_MEMORY);
    assert_int_equal(movie, MGEN_E_NO_MEMORY);
    assert_int_equal(mgen_movie_write(ctx, clip, sound, in_dir("a.any")), MGEN_OK);
    mgen_clip_destroy(clip);
    mgen_sound_destroy(sound);
    mgen_context_destroy(small);
    mgen_context_destroy(ctx);
}

/* Where the plug-in is not; and while a job runs. */
static void test_state(void **state)
{
    (void)state;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    mgen_generate_params request = MGEN_GENERATE_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context *ctx;
    mgen_job *job;
    mgen_sound *made;
    p.threads = 1;
    p.plugin_dir = dir;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    mgen_sound *sound = make_sound(ctx, 10, 8000, 1);
    mgen_clip *clip = make_clip(ctx);
    assert_int_equal(mgen_sound_write(ctx, sound, in_dir("a.m4a")), MGEN_E_UNSUPPORTED);
    assert_int_equal(mgen_movie_write(ctx, clip, sound, in_dir("a.mp4")), MGEN_E_UNSUPPORTED);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    request.prompt = "a red ball";
    request.steps = 1000;
    assert_int_equal(mgen_generate_start(ctx, &pipe, &request, &job), MGEN_OK);
    assert_int_equal(mgen_sound_read(ctx, in_dir("a.wav"), 0, 0, &made), MGEN_E_STATE);
    assert_int_equal(mgen_sound_write(ctx, sound, in_dir("a.wav")), MGEN_E_STATE);
    assert_int_equal(mgen_movie_write(ctx, clip, sound, in_dir("a.mp4")), MGEN_E_STATE);
    mgen_job_destroy(job);
    assert_int_equal(mgen_sound_write(ctx, sound, in_dir("a.wav")), MGEN_OK);
    mgen_pipeline_close(&pipe);
    mgen_clip_destroy(clip);
    mgen_sound_destroy(sound);
    mgen_context_destroy(ctx);
}

static int begin(void **state)
{
    find_plugins();
    return setup_trained(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound), cmocka_unit_test(test_plugin), cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_files), cmocka_unit_test(test_memory), cmocka_unit_test(test_state)};
    return cmocka_run_group_tests_name("sound files", tests, begin, teardown);
}
