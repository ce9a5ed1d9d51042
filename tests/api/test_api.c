/* SPDX-License-Identifier: MIT
 * The public interface from outside, on a tiny model that the test trains for itself. */
#include "tiny.h"

static void train_stage(mgen_context *ctx, const char *stage, double *last_loss)
{
    mgen_trainer *trainer = NULL;
    mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
    p.recipe = recipe;
    p.stage = stage;
    p.dir = dir;
    p.seed = 7;
    if (mgen_trainer_create(ctx, &p, &trainer) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    for (uint64_t i = 0; i < mgen_trainer_steps(trainer); i++) {
        mgen_report *report = NULL;
        assert_int_equal(mgen_trainer_step(trainer, &report), MGEN_OK);
        assert_string_equal(mgen_report_name(report, 0), "step");
        assert_true(mgen_report_value(report, 0) == (double)i);
        assert_string_equal(mgen_report_name(report, 1), "loss");
        *last_loss = mgen_report_value(report, 1);
        assert_true(*last_loss > 0.0);
        assert_null(mgen_report_name(report, mgen_report_count(report)));
        mgen_report_destroy(report);
    }
    assert_int_equal(mgen_trainer_step(trainer, NULL), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "over"));
    assert_int_equal(mgen_trainer_save(trainer), MGEN_OK);
    mgen_trainer_destroy(trainer);
}

/* -- training: first, the others use what it leaves ------------------------------------------------ */

static void test_train(void **state)
{
    (void)state;
    double loss[2], unused;
    mgen_context *ctx = make_context(2);
    mgen_trainer *trainer = NULL;
    mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
    p.recipe = recipe;
    p.dir = dir;
    p.stage = "video"; /* before its TAE is there */
    assert_int_equal(mgen_trainer_create(ctx, &p, &trainer), MGEN_E_STATE);
    assert_null(trainer);
    assert_non_null(strstr(mgen_last_error(ctx), "tae.json"));
    p.stage = "vidoe";
    assert_int_equal(mgen_trainer_create(ctx, &p, &trainer), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "\"video\""));
    p.stage = "tae";
    p.recipe = "/nonexistent/recipe.json";
    assert_int_equal(mgen_trainer_create(ctx, &p, &trainer), MGEN_E_NOT_FOUND);
    p.reserved0 = 1;
    assert_int_equal(mgen_trainer_create(ctx, &p, &trainer), MGEN_E_INVALID);
    train_stage(ctx, "image", &unused);
    train_stage(ctx, "tae", &unused);
    train_stage(ctx, "video", &loss[0]);
    mgen_context_destroy(ctx);
    ctx = make_context(1); /* one thread, the same numbers */
    train_stage(ctx, "video", &loss[1]);
    assert_true(loss[0] == loss[1]);
    mgen_context_destroy(ctx);
}

/* -- contexts --------------------------------------------------------------------------------------- */

static void test_context(void **state)
{
    (void)state;
    mgen_context *ctx = (mgen_context *)1;
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    assert_int_equal(mgen_context_create(&p, NULL), MGEN_E_INVALID);
    p.struct_size = 4;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_E_INVALID);
    assert_null(ctx);
    struct {
        mgen_context_params p;
        uint64_t tail;
    } longer = {MGEN_CONTEXT_PARAMS_INIT, 0};
    longer.p.struct_size = sizeof longer;
    assert_int_equal(mgen_context_create(&longer.p, &ctx), MGEN_OK);
    mgen_context_destroy(ctx);
    longer.tail = 1;
    assert_int_equal(mgen_context_create(&longer.p, &ctx), MGEN_E_VERSION);
    p = (mgen_context_params)MGEN_CONTEXT_PARAMS_INIT;
    p.threads = 257;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_E_INVALID);
    p.threads = 1;
    p.autotune = 2;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_E_INVALID);
    p.autotune = 0;
    p.reserved0 = 1;
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_E_INVALID);
    p.struct_size = offsetof(mgen_context_params, autotune); /* as it was at first */
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    mgen_context_destroy(ctx);
    p = (mgen_context_params)MGEN_CONTEXT_PARAMS_INIT;
    p.threads = p.autotune = 1; /* on the CPU it means nothing */
    p.device = "cpu";
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    mgen_context_destroy(ctx);
    p.kernels = "avx3";
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_E_INVALID);
    p.kernels = "ref";
    assert_int_equal(mgen_context_create(&p, &ctx), MGEN_OK);
    assert_non_null(strstr(mgen_context_kernels(ctx), "matmul ref"));
    assert_string_equal(mgen_last_error(ctx), "");
    mgen_context_destroy(ctx);
    mgen_context_destroy(NULL);
    assert_string_equal(mgen_status_name(MGEN_E_CORRUPT), "MGEN_E_CORRUPT");
    assert_string_equal(mgen_last_error(NULL), "");
    assert_non_null(strchr(mgen_version(), '.'));
}

/* Every allocation of opening a pipeline fails once: NO_MEMORY (or, where a second try was possible, success),
 * nothing leaked, and the next try works. */
static void test_failing_memory(void **state)
{
    (void)state;
    counter c = {0};
    mgen_context_params p = MGEN_CONTEXT_PARAMS_INIT;
    int failures = 0;
    p.threads = 1;
    p.allocator = (mgen_allocator){count_alloc, count_free, &c};
    for (int64_t k = 1;; k++) {
        mgen_context *ctx = NULL;
        mgen_pipeline pipe = MGEN_PIPELINE_INIT;
        atomic_store(&c.made, 0);
        atomic_store(&c.fail_at, k);
        mgen_status status = mgen_context_create(&p, &ctx);
        if (status == MGEN_OK) {
            status = mgen_pipeline_open(ctx, dir, &pipe);
            if (status != MGEN_OK) {
                assert_int_equal(status, MGEN_E_NO_MEMORY);
                assert_null(pipe.tae);
                assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
            }
        }
        bool over = atomic_load(&c.made) < k;
        assert_true(status == MGEN_OK || status == MGEN_E_NO_MEMORY);
        failures += status != MGEN_OK;
        mgen_pipeline_close(&pipe);
        mgen_context_destroy(ctx);
        assert_int_equal(atomic_load(&c.blocks), 0);
        assert_int_equal(atomic_load(&c.bytes), 0);
        if (over)
            break;
    }
    assert_true(failures > 50);
}

/* -- generating -------------------------------------------------------------------------------------- */

static void test_generate(void **state)
{
    (void)state;
    size_t bytes = 32 * 64 * 64 * 3;
    uint8_t *first = test_malloc(bytes);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        mgen_context *ctx = make_context(threads);
        mgen_pipeline pipe = MGEN_PIPELINE_INIT;
        mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
        mgen_clip *clip, *other;
        mgen_clip_info info = MGEN_CLIP_INFO_INIT;
        assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
        assert_true(mgen_pipeline_hash(&pipe) != 0);
        p.prompt = "a red ball rolls left on grass";
        p.steps = 3;
        p.seed = 5;
        assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_OK);
        assert_int_equal(mgen_clip_get_info(clip, &info), MGEN_OK);
        assert_int_equal(info.width, 64);
        assert_int_equal(info.frames, 32);
        assert_int_equal(info.fps_num, 16);
        if (threads == 1)
            memcpy(first, mgen_clip_pixels(clip), bytes);
        /* the same seed, whatever the threads: the same bits; another seed: another film */
        assert_memory_equal(first, mgen_clip_pixels(clip), bytes);
        p.seed = 6;
        assert_int_equal(generate(ctx, &pipe, &p, &other), MGEN_OK);
        assert_true(memcmp(mgen_clip_pixels(clip), mgen_clip_pixels(other), bytes) != 0);
        mgen_clip_destroy(clip);
        mgen_clip_destroy(other);
        mgen_pipeline_close(&pipe);
        mgen_context_destroy(ctx);
    }
    test_free(first);
}

static void test_bad_requests(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1), *second = make_context(1);
    mgen_pipeline pipe = MGEN_PIPELINE_INIT, part;
    mgen_generate_params good = MGEN_GENERATE_PARAMS_INIT, p;
    mgen_clip *clip;
    char *longest = test_malloc(4100);
    assert_int_equal(mgen_pipeline_open(ctx, "/nonexistent/model", &pipe), MGEN_E_NOT_FOUND);
    assert_non_null(strstr(mgen_last_error(ctx), "/nonexistent/model"));
    assert_int_equal(mgen_pipeline_open(ctx, "", &pipe), MGEN_E_INVALID);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_E_INVALID); /* it holds handles */
    good.prompt = "a blue cube bounces on snow";
    good.steps = 1;

    p = good;
    p.prompt = NULL;
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_E_INVALID);
    p.prompt = "";
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "the prompt is missing or empty"));
    p.prompt = " \t\n\xe3\x80\x80"; /* the last is how a space is typed in Japanese */
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "the prompt is nothing but spaces"));
    p.prompt = "a \xff ball";
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "byte 2"));
    memset(longest, 'a', 4099);
    longest[4099] = '\0';
    p.prompt = longest;
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_E_INVALID);
    longest[4096] = '\0'; /* the longest that is legal: cut to what the encoder takes */
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_OK);
    mgen_clip_destroy(clip);
    test_free(longest);

    p = good;
    p.steps = 1001;
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_E_INVALID);
    p = good;
    p.guidance = -1.0f;
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_E_INVALID);
    p.guidance = 0.0f / 0.0f;
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_E_INVALID);
    p = good;
    p.width = 128;
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_E_UNSUPPORTED);
    p = good;
    p.struct_size = 8;
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_E_INVALID);
    part = pipe;
    part.video = NULL;
    assert_int_equal(generate(ctx, &part, &good, &clip), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "video model"));
    assert_int_equal(generate(second, &pipe, &good, &clip),
                     MGEN_OK); /* another context's handles */
    mgen_clip_destroy(clip);
    good.guidance = 1.0f;
    assert_int_equal(generate(ctx, &pipe, &good, &clip), MGEN_OK);
    mgen_clip_destroy(clip);
    mgen_pipeline_close(&pipe);
    mgen_pipeline_close(NULL);
    mgen_context_destroy(second);
    mgen_context_destroy(ctx);
}

static int32_t stop_at_two(void *user, uint32_t done, uint32_t total)
{
    (void)user;
    (void)total;
    return done == 2;
}

/* Cancelled from outside, by the callback, and by destroy; busy meanwhile; bit-equal afterwards. */
static void test_cancel(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe = MGEN_PIPELINE_INIT, second = MGEN_PIPELINE_INIT;
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    mgen_job *job, *other;
    mgen_clip *before, *after;
    mgen_job_info info = MGEN_JOB_INFO_INIT;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    p.prompt = "a red ball rolls left on grass";
    p.steps = 4;
    assert_int_equal(generate(ctx, &pipe, &p, &before), MGEN_OK);
    p.steps = 1000;
    assert_int_equal(mgen_generate_start(ctx, &pipe, &p, &job), MGEN_OK);
    assert_int_equal(mgen_job_poll(job), MGEN_E_AGAIN);
    assert_int_equal(mgen_job_wait(job, 0), MGEN_E_TIMEOUT);
    assert_int_equal(mgen_job_wait(job, 1), MGEN_E_TIMEOUT);
    assert_int_equal(mgen_generate_start(ctx, &pipe, &p, &other), MGEN_E_STATE);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &second), MGEN_E_STATE);
    mgen_job_cancel(job);
    assert_int_equal(mgen_job_wait(job, -1), MGEN_E_CANCELLED);
    assert_int_equal(mgen_job_get_info(job, &info), MGEN_OK);
    assert_true(info.total == 1000 && info.done < 1000);
    assert_int_equal(mgen_job_take_clip(job, &after), MGEN_E_STATE);
    mgen_job_destroy(job);
    p.on_progress = stop_at_two;
    assert_int_equal(mgen_generate_start(ctx, &pipe, &p, &job), MGEN_OK);
    assert_int_equal(mgen_job_wait(job, -1), MGEN_E_CANCELLED);
    assert_int_equal(mgen_job_get_info(job, &info), MGEN_OK);
    assert_int_equal(info.done, 2);
    mgen_job_destroy(job);
    p.on_progress = NULL;
    assert_int_equal(mgen_generate_start(ctx, &pipe, &p, &job), MGEN_OK);
    mgen_pipeline_close(&pipe); /* the job keeps its own */
    mgen_job_destroy(job);
    mgen_job_destroy(NULL);
    mgen_job_cancel(NULL);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    p.steps = 4;
    assert_int_equal(generate(ctx, &pipe, &p, &after), MGEN_OK);
    assert_memory_equal(mgen_clip_pixels(before), mgen_clip_pixels(after), 32 * 64 * 64 * 3);
    mgen_clip_destroy(before);
    mgen_clip_destroy(after);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* -- failing memory while working ---------------------------------------------------------------- */

/* The allocator's call number k fails, once or with all that follow (`lasting`), for growing k, until the work
 * gets through untouched: each time the status is NO_MEMORY or the work succeeds by itself; afterwards the same
 * object does the same work with the same result, bit for bit. */
/* The first ones all, then a sample; all of them with MGEN_TEST_EVERY set. */
static int64_t stride(int64_t k)
{
    return k > 20 && !getenv("MGEN_TEST_EVERY") ? k / 4 : 0;
}

static void test_failing_generate(void **state)
{
    (void)state;
    for (int lasting = 0; lasting < 2; lasting++) {
        counter c = {0};
        mgen_context *ctx = counted_context(&c);
        mgen_pipeline pipe = MGEN_PIPELINE_INIT;
        mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
        mgen_clip *good, *clip;
        enum { SIDE = 32 };
        size_t bytes = 32 * SIDE * SIDE * 3;
        int failures = 0;
        assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
        p.prompt = "a red ball rolls left on grass";
        p.steps = 1;
        p.width = p.height = SIDE;
        assert_int_equal(generate(ctx, &pipe, &p, &good), MGEN_OK);
        for (int64_t k = 1;; k++) {
            set_failure(&c, k, lasting);
            mgen_status status = generate(ctx, &pipe, &p, &clip);
            bool over = atomic_load(&c.made) < k;
            set_failure(&c, 0, false);
            if (status != MGEN_OK) {
                assert_int_equal(status, MGEN_E_NO_MEMORY);
                failures++;
                assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_OK);
            }
            assert_memory_equal(mgen_clip_pixels(good), mgen_clip_pixels(clip), bytes);
            mgen_clip_destroy(clip);
            if (over)
                break;
            k += stride(k);
        }
        assert_true(failures > 20);
        mgen_clip_destroy(good);
        mgen_pipeline_close(&pipe);
        mgen_context_destroy(ctx);
        assert_int_equal(atomic_load(&c.blocks), 0);
    }
}

/* Stage tae of smaller films. */
static const char small_tae[] =
    "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": ["
    "{\"name\": \"tae\", \"kind\": \"autoencoder\", \"steps\": 2, \"batch\": 1,"
    " \"start_from\": \"image\", \"validate_every\": 2, \"images\": 0.3, \"buckets\":"
    " [{\"width\": 48, \"height\": 48, \"frames\": 9}, {\"width\": 48, \"height\": 48, \"frames\": "
    "1}],"
    " \"tae\": {\"channels\": [2, 4, 4, 8], \"latent_channels\": 4, \"blocks\": 1, \"temporal\": "
    "true},"
    " \"mse\": 10, \"kl\": 0.0003, \"optimizer\": {\"lr\": 0.001}}]}";

/* Two runs of a stage step by step, one of them with every allocation of its last step failing in turn. Clips are encoded by the
 * first run. */
static void failing_step(const char *from, const char *stage, bool lasting)
{
    counter c = {0};
    mgen_context *ctx = NULL;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    char cache[64];
    snprintf(cache, sizeof cache, "%.40s/cache", dir);
    cp.threads = 2;
    cp.allocator = (mgen_allocator){count_alloc, count_free, &c};
    cp.cache_dir = cache;
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    double want[8] = {0};
    uint32_t entries = 0;
    int failures = 0;
    for (int64_t k = 0;; k++) {
        mgen_trainer *trainer = NULL;
        mgen_report *report = NULL;
        mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
        p.recipe = from;
        p.stage = stage;
        p.dir = dir;
        p.seed = 7;
        if (mgen_trainer_create(ctx, &p, &trainer) != MGEN_OK)
            fail_msg("%s", mgen_last_error(ctx));
        uint64_t last = mgen_trainer_steps(trainer) - 1;
        for (uint64_t i = 0; i < last; i++)
            assert_int_equal(mgen_trainer_step(trainer, NULL), MGEN_OK);
        set_failure(&c, k, lasting);
        mgen_status status = mgen_trainer_step(trainer, &report);
        bool over = k > 0 && atomic_load(&c.made) < k;
        set_failure(&c, 0, false);
        if (status != MGEN_OK) {
            assert_int_equal(status, MGEN_E_NO_MEMORY);
            assert_null(report);
            failures++;
            assert_int_equal(mgen_trainer_step(trainer, &report), MGEN_OK);
        }
        for (uint32_t i = 0; i < mgen_report_count(report) && i < 8; i++) {
            if (k == 0)
                want[i] = mgen_report_value(report, i);
            assert_true(want[i] == mgen_report_value(report, i));
            entries = i;
        }
        mgen_report_destroy(report);
        mgen_trainer_destroy(trainer);
        if (over)
            break;
        k += stride(k);
    }
    assert_true(entries >= 4);
    assert_true(failures > 10);
    mgen_context_destroy(ctx);
    assert_int_equal(atomic_load(&c.blocks), 0);
}

static void test_failing_step(void **state)
{
    (void)state;
    char small[256];
    snprintf(small, sizeof small, "%s", write_text("small.json", small_tae));
    failing_step(small, "tae", false);
    failing_step(small, "tae", true);
    failing_step(recipe, "video", true);
}

/* A request over the limit fails with LIMIT; a smaller one works afterwards on a fresh context. */
static void test_memory_limit(void **state)
{
    (void)state;
    mgen_context *ctx;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    mgen_clip *clip;
    uint64_t now, peak;
    cp.threads = 1;
    cp.host_memory_max = 2 << 20;
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    p.prompt = "a red ball";
    p.steps = 1;
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_E_LIMIT);
    assert_non_null(strstr(mgen_last_error(ctx), "host_memory_max"));
    mgen_context_memory(ctx, &now, &peak);
    assert_true(now <= peak && peak <= cp.host_memory_max);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* -- clips and measurement ---------------------------------------------------------------------------- */

static void test_clip(void **state)
{
    char path[300];
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *clip = NULL;
    assert_int_equal(mgen_clip_create(ctx, &info, &clip), MGEN_E_INVALID);
    assert_null(clip);
    info.width = info.height = 33;
    info.frames = 3;
    info.fps_num = 16;
    info.fps_den = 1;
    assert_int_equal(mgen_clip_create(ctx, &info, &clip), MGEN_OK);
    memset(mgen_clip_pixels(clip), 77, 3 * 33 * 33 * 3);
    snprintf(path, sizeof path, "%s/clip.y4m", dir);
    assert_int_equal(mgen_clip_write(ctx, clip, path), MGEN_OK);
    snprintf(path, sizeof path, "%s/clip.png", dir);
    assert_int_equal(mgen_clip_write(ctx, clip, path), MGEN_OK);
    assert_int_equal(access(path, R_OK), 0);
    mgen_clip *back = NULL; /* its first frame of the strip, and two of the three of the film */
    assert_int_equal(mgen_clip_read(ctx, path, 0, 0, &back), MGEN_OK);
    assert_int_equal(mgen_clip_get_info(back, &info), MGEN_OK);
    assert_true(info.frames == 1 && info.width == 3 * 33 && info.height == 33);
    assert_memory_equal(mgen_clip_pixels(back), mgen_clip_pixels(clip), 33 * 3);
    mgen_clip_destroy(back);
    snprintf(path, sizeof path, "%s/clip.y4m", dir);
    assert_int_equal(mgen_clip_read(ctx, path, 1, 0, &back), MGEN_OK);
    assert_int_equal(mgen_clip_get_info(back, &info), MGEN_OK);
    assert_true(info.frames == 2 && info.width == 33 && info.fps_num == 16 * info.fps_den);
    for (int i = 0; i < 2 * 33 * 33 * 3; i++)
        assert_true(abs(mgen_clip_pixels(back)[i] - 77) <= 1);
    mgen_clip_destroy(back);
    assert_int_equal(mgen_clip_read(ctx, path, 3, 1, &back), MGEN_E_INVALID);
    assert_null(back);
    assert_int_equal(truncate(path, 90), 0);
    assert_int_equal(mgen_clip_read(ctx, path, 0, 0, &back), MGEN_E_CORRUPT);
    assert_int_equal(mgen_clip_read(ctx, "/nonexistent/film.y4m", 0, 0, &back), MGEN_E_NOT_FOUND);
    assert_int_equal(mgen_clip_read(ctx, NULL, 0, 0, &back), MGEN_E_INVALID);
    assert_int_equal(mgen_clip_write(ctx, clip, "/nonexistent/clip.png"), MGEN_E_NOT_FOUND);
    assert_int_equal(mgen_clip_write(ctx, clip, "clip"), MGEN_E_INVALID);
    assert_int_equal(mgen_clip_write(ctx, NULL, path), MGEN_E_INVALID);
    assert_int_equal(mgen_clip_write(ctx, clip, NULL), MGEN_E_INVALID);
    mgen_clip_destroy(clip);
    mgen_clip_destroy(NULL);
    for (uint32_t i = 0; i < 36; i++)
        assert_non_null(mgen_toybox_prompt(i));
    assert_null(mgen_toybox_prompt(36));
    mgen_context_destroy(ctx);
}

static int32_t stop_now(void *user, uint32_t done, uint32_t total)
{
    (void)user;
    (void)done;
    (void)total;
    return 1;
}

static void test_evaluate(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    mgen_report *report = NULL;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    p.protocol = "beauty";
    assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_E_INVALID);
    p.protocol = "tae";
    p.n = 2;
    assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_OK);
    assert_string_equal(mgen_report_name(report, 0), "n");
    assert_true(mgen_report_value(report, 0) == 2.0);
    assert_string_equal(mgen_report_name(report, 1), "psnr");
    assert_true(mgen_report_value(report, 1) > 1.0 && mgen_report_value(report, 1) < 60.0);
    mgen_report_destroy(report);
    p.protocol = "alignment";
    p.steps = 1;
    assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_OK);
    mgen_report_destroy(report);
    p.protocol = "frechet";
    assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_OK);
    assert_string_equal(mgen_report_name(report, 0), "steps");
    assert_string_equal(mgen_report_name(report, 3), "n");
    assert_string_equal(mgen_report_name(report, 6), "frechet_frames");
    assert_true(mgen_report_value(report, 3) == 2.0 && mgen_report_value(report, 6) > 0.0);
    mgen_report_destroy(report);
    p.n = 1;
    assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_E_INVALID);
    p.n = 2;
    p.on_progress = stop_now;
    assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_E_CANCELLED);
    assert_null(report);
    mgen_pipeline_close(&pipe);
    p.on_progress = NULL;
    assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_E_STATE);
    mgen_context_destroy(ctx);
}

static mgen_status grey(void *user, uint64_t index, mgen_sample *sample)
{
    memset(sample->pixels, 100 + (int)index,
           (size_t)sample->frames * sample->height * sample->width * 3);
    return index < *(const uint64_t *)user ? MGEN_OK : MGEN_E_IO;
}

/* Clips that the host brings, instead of the toybox's. */
static void test_evaluate_dataset(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    mgen_dataset_params dp = MGEN_DATASET_PARAMS_INIT;
    mgen_report *report = NULL;
    uint64_t good = 3;
    dp.width = 24;
    dp.height = 16;
    dp.frames = 9;
    dp.count = 3;
    dp.read = grey;
    dp.user = &good;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    assert_int_equal(mgen_dataset_create(ctx, &dp, &p.dataset), MGEN_OK);
    p.protocol = "tae";
    for (p.n = 0; p.n < 9; p.n += 4) { /* all that there are */
        assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_OK);
        assert_string_equal(mgen_report_name(report, 0), "n");
        assert_true(mgen_report_value(report, 0) == 3.0);
        assert_string_equal(mgen_report_name(report, 1), "psnr");
        assert_string_equal(mgen_report_name(report, 3), "psnr_min");
        assert_true(mgen_report_value(report, 3) <= mgen_report_value(report, 1));
        mgen_report_destroy(report);
    }
    good = 1;
    assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_E_IO);
    good = 3;
    p.on_progress = stop_now;
    assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_E_CANCELLED);
    p.protocol = "alignment";
    assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_E_INVALID);
    p.protocol = "frechet"; /* in another size than the pipeline's clips */
    assert_int_equal(mgen_evaluate(ctx, &pipe, &p, &report), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "a dataset of 24 x 16 x 9"));
    mgen_dataset_release(p.dataset);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_failing_memory),
        cmocka_unit_test(test_generate),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_failing_generate),
        cmocka_unit_test(test_failing_step),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_evaluate),
        cmocka_unit_test(test_evaluate_dataset),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
