/* SPDX-License-Identifier: MIT
 * What random calls (test_random_calls.c) found, each by itself: memory of who calls, not of who opened the model; whose message is
 * the last error; output handles where there is no context. */
#include "tiny_rewriter.h"

#include "tiny_audio.h"

static int begin(void **state)
{
    int failed = setup_audio(state);
    if (!failed)
        save_rewriter(dir);
    return failed;
}

/* Work on one context with models of another: what each allocated goes back to its own allocator. */
static void test_models_of_another(void **state)
{
    (void)state;
    counter home = {0}, own = {0};
    mgen_context *opens = counted_context(&home), *calls = counted_context(&own);
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_sound_params p = MGEN_SOUND_PARAMS_INIT;
    mgen_job *job;
    char text[4097];
    assert_int_equal(mgen_pipeline_open(opens, dir, &pipe), MGEN_OK);
    const int64_t before = atomic_load(&home.bytes);
    p.prompt = "a ball";
    p.seconds = 0.5;
    p.steps = 1;
    assert_int_equal(mgen_sound_start(calls, &pipe, NULL, &p, &job), MGEN_OK);
    assert_int_equal(mgen_job_wait(job, -1), MGEN_OK);
    mgen_job_destroy(job);
    assert_int_equal(mgen_rewrite(calls, &pipe, "a ball", text, sizeof text), MGEN_OK);
    assert_int_equal(atomic_load(&home.bytes), before);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(calls);
    mgen_context_destroy(opens);
    assert_int_equal(atomic_load(&own.blocks), 0);
    assert_int_equal(atomic_load(&home.blocks), 0);
}

/* Each allocation fails once: a call that fails has a message, and one that finds another way leaves the last one alone. */
static void test_messages(void **state)
{
    (void)state;
    static uint8_t pixels[TINY_BYTES];
    static float values[4 * 8 * 8 * 4];
    counter c = {0};
    mgen_context *opens = make_context(1), *ctx = counted_context(&c);
    mgen_tae *tae;
    mgen_frames f = MGEN_FRAMES_INIT;
    mgen_latents x = MGEN_LATENTS_INIT;
    int failed = 0, went_on = 0;
    f.width = f.height = 64;
    f.count = 32;
    f.plane[0] = pixels;
    x.frames = x.channels = 4;
    x.height = x.width = 8;
    x.data = values;
    assert_int_equal(mgen_tae_open(opens, dir, "tae", &tae), MGEN_OK);
    bool over = false;
    for (int64_t k = 1; !over; k++) {
        assert_int_equal(mgen_noise(ctx, 1, NULL), MGEN_E_INVALID); /* the last error */
        set_failure(&c, k, false);
        mgen_status status = mgen_tae_encode(ctx, tae, &f, &x);
        over = atomic_load(&c.made) < k;
        set_failure(&c, 0, false);
        assert_true(status == MGEN_OK || status == MGEN_E_NO_MEMORY);
        assert_int_equal(mgen_last_status(ctx), status == MGEN_OK ? MGEN_E_INVALID : status);
        failed += status != MGEN_OK;
        went_on += status == MGEN_OK && !over;
    }
    mgen_context_trim(ctx);
    assert_int_equal(mgen_tae_encode(ctx, tae, &f, &x),
                     MGEN_OK); /* which keeps memory for the next */
    for (int64_t k = 1; k < 40; k++) {
        f.count = 32 - 8 * (uint32_t)(k % 4); /* of other sizes: kept blocks are given back */
        x.frames = f.count / 8;
        assert_int_equal(mgen_noise(ctx, 1, NULL), MGEN_E_INVALID);
        set_failure(&c, k, false);
        mgen_status status = mgen_tae_encode(ctx, tae, &f, &x);
        const bool hit = atomic_load(&c.made) >= k;
        set_failure(&c, 0, false);
        assert_int_equal(mgen_last_status(ctx), status == MGEN_OK ? MGEN_E_INVALID : status);
        went_on += status == MGEN_OK && hit;
    }
    assert_true(failed > 0 && went_on > 0);
    mgen_tae_release(tae);
    mgen_context_destroy(ctx);
    mgen_context_destroy(opens);
}

/* A job's end is the last error when it is told, whatever failed meanwhile, and whenever it is asked for. */
static void test_end_of_job(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_generate_params p = film_request(0);
    mgen_job *job;
    mgen_clip *clip;
    p.steps = 1000;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    assert_int_equal(mgen_generate_start(ctx, &pipe, &p, &job), MGEN_OK);
    mgen_job_cancel(job);
    for (int i = 0; i < 50; i++) { /* it ends somewhere in between */
        usleep(2000);
        assert_int_equal(mgen_noise(ctx, 1, NULL), MGEN_E_STATE);
    }
    assert_int_equal(mgen_job_wait(job, -1), MGEN_E_CANCELLED);
    assert_int_equal(mgen_last_status(ctx), MGEN_E_CANCELLED);
    assert_int_equal(mgen_job_take_clip(job, &clip), MGEN_E_STATE);
    assert_int_equal(mgen_last_status(ctx), MGEN_E_STATE);
    assert_int_equal(mgen_job_poll(job), MGEN_E_CANCELLED);
    assert_int_equal(mgen_last_status(ctx), MGEN_E_CANCELLED);
    mgen_job_destroy(job);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* What a message quotes may be no UTF-8; the message is. */
static void test_utf8(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_clip *clip;
    assert_int_equal(mgen_clip_read(ctx, "/no\xff\xc3(\xed\xa0\x80/\xc3\xa9t\xf0\x9f\x8e\xac\n.y4m",
                                    0, 0, &clip),
                     MGEN_E_NOT_FOUND);
    assert_non_null(strstr(mgen_last_error(ctx), "/no\?\?(\?\?\?/\xc3\xa9t\xf0\x9f\x8e\xac\?.y4m"));
    mgen_context_destroy(ctx);
}

#define NO_CONTEXT(type, call)                                                                     \
    do {                                                                                           \
        type *out = (type *)(uintptr_t)64;                                                         \
        assert_int_equal((call), MGEN_E_INVALID);                                                  \
        assert_null(out);                                                                          \
    } while (0)

static void test_no_context(void **state)
{
    (void)state;
    NO_CONTEXT(mgen_clip, mgen_clip_create(NULL, NULL, &out));
    NO_CONTEXT(mgen_clip, mgen_clip_read(NULL, "x", 0, 0, &out));
    NO_CONTEXT(mgen_clip, mgen_dataset_read(NULL, NULL, 0, NULL, 0, &out));
    NO_CONTEXT(mgen_clip, mgen_job_take_clip(NULL, &out));
    NO_CONTEXT(mgen_sound, mgen_job_take_sound(NULL, &out));
    NO_CONTEXT(mgen_sound, mgen_sound_create(NULL, NULL, &out));
    NO_CONTEXT(mgen_sound, mgen_sound_read(NULL, "x", 0, 0, &out));
    NO_CONTEXT(mgen_tae, mgen_tae_open(NULL, "x", "tae", &out));
    NO_CONTEXT(mgen_job, mgen_generate_start(NULL, NULL, NULL, &out));
    NO_CONTEXT(mgen_job, mgen_sound_start(NULL, NULL, NULL, NULL, &out));
    NO_CONTEXT(mgen_ranks, mgen_ranks_create(NULL, 1, 0, &out));
    NO_CONTEXT(mgen_mesh, mgen_mesh_create(NULL, NULL, &out));
    NO_CONTEXT(mgen_dataset, mgen_dataset_toybox(NULL, 1, &out));
    NO_CONTEXT(mgen_dataset, mgen_dataset_create(NULL, NULL, &out));
    NO_CONTEXT(mgen_dataset, mgen_dataset_open(NULL, "x", NULL, &out));
    NO_CONTEXT(mgen_trainer, mgen_trainer_create(NULL, NULL, &out));
    NO_CONTEXT(mgen_report, mgen_curate(NULL, NULL, &out));
    NO_CONTEXT(mgen_report, mgen_plan_training(NULL, NULL, &out));
    NO_CONTEXT(mgen_report, mgen_evaluate(NULL, NULL, NULL, &out));
}

/* An estimate says what is over the limit, a long sound that is gone on with included. */
static void test_estimate_of_context(void **state)
{
    (void)state;
    mgen_context *ctx = NULL;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_sound_params p = MGEN_SOUND_PARAMS_INIT;
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_sound *before;
    mgen_job *job;
    cp.threads = 1;
    cp.host_memory_max = 48 << 20;
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    info.rate = 1;
    info.channels = 1;
    info.samples = 2000; /* 384 MB as the model hears them */
    assert_int_equal(mgen_sound_create(ctx, &info, &before), MGEN_OK);
    p.seconds = 0.3;
    p.steps = 1;
    p.context = before;
    assert_int_equal(mgen_sound_estimate(ctx, &pipe, NULL, &p, &e), MGEN_OK);
    assert_true(e.host_bytes > (uint64_t)info.samples * 48000 * 4);
    assert_int_equal(mgen_sound_start(ctx, &pipe, NULL, &p, &job), MGEN_E_LIMIT);
    mgen_sound_destroy(before);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* A struct that ends amid a pointer. */
static void test_half_a_field(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgen_plan_params p = MGEN_PLAN_PARAMS_INIT;
    mgen_report *report;
    p.preset = "toybox";
    p.width = p.height = 64;
    p.frames = 8;
    p.gpus = 2;
    p.gpu = "h100-80gb";
    p.mesh = "tp=2";
    p.struct_size = offsetof(mgen_plan_params, mesh) + 4;
    assert_int_equal(mgen_plan_training(ctx, &p, &report), MGEN_E_INVALID);
    p.struct_size = offsetof(mgen_plan_params, text);
    assert_int_equal(mgen_plan_training(ctx, &p, &report), MGEN_OK);
    mgen_report_destroy(report);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models_of_another),   cmocka_unit_test(test_messages),
        cmocka_unit_test(test_end_of_job),          cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_no_context),          cmocka_unit_test(test_half_a_field),
        cmocka_unit_test(test_estimate_of_context),
    };
    return cmocka_run_group_tests(tests, begin, teardown);
}
