/* SPDX-License-Identifier: MIT
 * Upsampling from outside: what the header promises of the handle, the pipeline's field, the job and its estimate. */
#include "clip_bench.h"

enum { WIDTH = 24, HEIGHT = 16, FRAMES = 9, LARGE = FRAMES * 2 * WIDTH * 2 * HEIGHT * 3 };

static bench bench_on(mgen_context *ctx)
{
    return bench_of(ctx, (maker){mgen_upsample_start, mgen_upsample_estimate}, WIDTH, HEIGHT,
                    FRAMES);
}

static mgen_generate_params request(void)
{
    return (mgen_generate_params)MGEN_GENERATE_PARAMS_INIT;
}

/* -- the handle ------------------------------------------------------------------------------------- */

static void test_handle(void **state)
{
    (void)state;
    bench b = bench_on(make_context(1));
    mgen_upsampler *u;
    mgen_model_info info = MGEN_MODEL_INFO_INIT, other = MGEN_MODEL_INFO_INIT;
    assert_non_null(b.pipe.upsampler);
    assert_int_equal(mgen_upsampler_open(b.ctx, dir, "upsampler", &u), MGEN_OK);
    assert_ptr_equal(mgen_upsampler_retain(u), u);
    mgen_upsampler_release(u);
    assert_int_equal(mgen_upsampler_get_info(u, &info), MGEN_OK);
    assert_int_equal(mgen_upsampler_get_info(b.pipe.upsampler, &other), MGEN_OK);
    assert_memory_equal(&info, &other, sizeof info);
    assert_true(info.channels == 4 && info.spatial_factor == 8 && info.temporal_factor == 1);
    assert_true(info.upsampling == 2 && info.text_width == 16 && info.guidance == 2.0f);
    assert_true(info.parameters > 1000 && info.bytes >= 4 * info.parameters && info.hash != 0);
    assert_int_equal(mgen_video_model_get_info(b.pipe.video, &other), MGEN_OK);
    assert_true(other.upsampling == 0 && other.hash != info.hash);
    assert_int_equal(mgen_upsampler_get_info(NULL, &info), MGEN_E_INVALID);
    assert_int_equal(mgen_upsampler_get_info(u, NULL), MGEN_E_INVALID);
    other.struct_size = 4;
    assert_int_equal(mgen_upsampler_get_info(u, &other), MGEN_E_INVALID);
    /* as it was before the factor was told */
    memset(&other, 0x5A, sizeof other);
    other.struct_size = offsetof(mgen_model_info, upsampling);
    assert_int_equal(mgen_upsampler_get_info(u, &other), MGEN_OK);
    assert_true(other.hash == info.hash && other.upsampling == 0x5A5A5A5A);
    mgen_upsampler_release(u);
    mgen_upsampler_release(NULL);
    assert_null(mgen_upsampler_retain(NULL));
    assert_int_equal(mgen_upsampler_open(b.ctx, dir, "video_model", &u), MGEN_E_CORRUPT);
    assert_null(u);
    assert_int_equal(mgen_upsampler_open(b.ctx, dir, "../upsampler", &u), MGEN_E_INVALID);
    assert_int_equal(mgen_upsampler_open(b.ctx, dir, "upsampler", NULL), MGEN_E_INVALID);
    bench_close(&b);
}

/* A host whose header had no upsampler: its struct ends before that field. */
static void test_old_struct(void **state)
{
    (void)state;
    counter c = {0};
    mgen_context *ctx = counted_context(&c);
    mgen_pipeline now = MGEN_PIPELINE_INIT, old = MGEN_PIPELINE_INIT;
    mgen_upsampler *const mark = (mgen_upsampler *)&c;
    mgen_generate_params p = film_request(1);
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_clip *clip = source(ctx, WIDTH, HEIGHT, 1);
    mgen_job *job = NULL;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &now), MGEN_OK);
    old.struct_size = offsetof(mgen_pipeline, upsampler);
    old.upsampler = mark;
    assert_int_equal(run_job(ctx, &now, &p), MGEN_OK); /* what a context keeps for the next one */
    assert_int_equal(mgen_upsample_estimate(ctx, &now, clip, &p, &e), MGEN_OK);
    mgen_context_trim(ctx);
    int64_t blocks = atomic_load(&c.blocks);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &old), MGEN_OK);
    assert_ptr_equal(old.upsampler, mark);
    assert_int_equal(old.struct_size, offsetof(mgen_pipeline, upsampler));
    mgen_pipeline bare = now;
    bare.upsampler = NULL;
    assert_true(mgen_pipeline_hash(&old) == mgen_pipeline_hash(&bare));
    assert_true(mgen_pipeline_hash(&old) != mgen_pipeline_hash(&now));
    assert_int_equal(run_job(ctx, &old, &p), MGEN_OK);
    assert_int_equal(mgen_upsample_estimate(ctx, &old, clip, &p, &e), MGEN_E_STATE);
    assert_int_equal(mgen_upsample_start(ctx, &old, clip, &p, &job), MGEN_E_STATE);
    assert_ptr_equal(old.upsampler, mark);
    mgen_pipeline_close(&old);
    assert_true(!old.tae && !old.video && !old.text[0]);
    assert_ptr_equal(old.upsampler, mark);
    mgen_context_trim(ctx);
    assert_int_equal(atomic_load(&c.blocks), blocks);
    mgen_pipeline_close(&now);
    assert_null(now.upsampler);
    mgen_pipeline_close(&now);
    mgen_clip_destroy(clip);
    mgen_context_destroy(ctx);
    assert_int_equal(atomic_load(&c.blocks), 0);
}

/* -- what is made ----------------------------------------------------------------------------------- */

static void test_clip(void **state)
{
    (void)state;
    bench b = bench_on(make_context(2));
    mgen_generate_params p = request();
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_clip *plain = film(&b, &p);
    assert_shape(plain, 2 * WIDTH, 2 * HEIGHT, FRAMES);
    assert_int_equal(mgen_upsample_estimate(b.ctx, &b.pipe, b.clip, &p, &e), MGEN_OK);
    assert_true(e.width == 2 * WIDTH && e.height == 2 * HEIGHT && e.frames == FRAMES);
    assert_true(e.device_bytes == 0 && e.flops > 0.0);
    p.prompt = "";
    assert_true(gives(&b, &p, plain));
    p.prompt = p.negative_prompt = " \t";
    assert_true(gives(&b, &p, plain));
    p.negative_prompt = NULL;
    p.steps = 3;
    p.guidance = 2.0f;
    p.width = 2 * WIDTH;
    p.height = 2 * HEIGHT;
    p.frames = FRAMES;
    assert_true(gives(&b, &p, plain));
    p.prompt = "a red ball";
    assert_false(gives(&b, &p, plain));
    p = request();
    p.seed = 1;
    assert_false(gives(&b, &p, plain));
    p = request();
    p.steps = 2;
    assert_false(gives(&b, &p, plain));
    /* the networks that it needs, by themselves */
    mgen_pipeline parts = MGEN_PIPELINE_INIT, whole = b.pipe;
    parts.text[0] = b.pipe.text[0];
    parts.upsampler = b.pipe.upsampler;
    p = request();
    b.pipe = parts;
    assert_true(gives(&b, &p, plain));
    b.pipe = whole;
    mgen_clip_destroy(plain);
    bench_close(&b);
}

typedef struct taken {
    uint64_t next, stop_at;
    uint8_t bytes[LARGE];
} taken;

static int32_t take(void *user, uint64_t first, const mgen_frames *frames)
{
    taken *t = user;
    const size_t row = 2 * WIDTH * 3;
    assert_int_equal(first, t->next);
    assert_true(frames->width == 2 * WIDTH && frames->height == 2 * HEIGHT);
    for (uint32_t i = 0; i < frames->count; i++, t->next++)
        for (uint32_t y = 0; y < frames->height; y++)
            memcpy(t->bytes + (t->next * frames->height + y) * row,
                   (const uint8_t *)frames->plane[0] + i * frames->frame_stride[0] +
                       y * frames->row_stride[0],
                   row);
    return t->stop_at && t->next >= t->stop_at;
}

static void test_ways(void **state)
{
    (void)state;
    bench b = bench_on(make_context(2));
    mgen_generate_params p = request();
    mgen_clip *plain = film(&b, &p), *none;
    taken *t = test_calloc(1, sizeof *t);
    p.on_frames = take;
    p.user = t;
    assert_int_equal(make(&b, &p, &none), MGEN_OK);
    assert_int_equal(t->next, FRAMES);
    assert_memory_equal(t->bytes, mgen_clip_pixels(plain), LARGE);
    mgen_frames into = MGEN_FRAMES_INIT;
    into.width = 2 * WIDTH;
    into.height = 2 * HEIGHT;
    into.count = FRAMES;
    into.plane[0] = t->bytes;
    memset(t->bytes, 0, LARGE);
    p = request();
    p.into = &into;
    assert_int_equal(make(&b, &p, &none), MGEN_OK);
    assert_memory_equal(t->bytes, mgen_clip_pixels(plain), LARGE);
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
        bench other = bench_on(make_context(threads));
        p = request();
        assert_true(gives(&other, &p, plain));
        bench_close(&other);
    }
    test_free(t);
    mgen_clip_destroy(plain);
    bench_close(&b);
}

static void test_sides(void **state)
{
    static const uint32_t sides[][4] = {
        {41, 25, 0, 0}, {1, 1, 0, 0}, {64, 64, 0, 0}, {41, 25, 33, 31}, {24, 16, 128, 1}};
    (void)state;
    bench b = bench_on(make_context(2));
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        const uint32_t *s = sides[i];
        mgen_generate_params p = request();
        p.steps = 1;
        p.width = s[2];
        p.height = s[3];
        mgen_clip_destroy(b.clip);
        b.clip = source(b.ctx, s[0], s[1], 2);
        mgen_clip *large = film(&b, &p);
        assert_shape(large, s[2] ? s[2] : 2 * s[0], s[3] ? s[3] : 2 * s[1], 2);
        mgen_clip_destroy(large);
    }
    bench_close(&b);
}

/* -- what is refused -------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    (void)state;
    bench b = bench_on(make_context(1));
    mgen_clip *clip = b.clip;
    mgen_pipeline whole = b.pipe;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_job *job;
    mgen_generate_params p = request();
    assert_int_equal(mgen_upsample_start(NULL, &b.pipe, clip, &p, &job), MGEN_E_INVALID);
    assert_int_equal(mgen_upsample_start(b.ctx, &b.pipe, clip, &p, NULL), MGEN_E_INVALID);
    assert_int_equal(mgen_upsample_estimate(NULL, &b.pipe, clip, &p, &e), MGEN_E_INVALID);
    assert_int_equal(mgen_upsample_estimate(b.ctx, &b.pipe, clip, &p, NULL), MGEN_E_INVALID);
    b.clip = NULL;
    refused(&b, &p, MGEN_E_INVALID, "the clip is NULL");
    b.clip = clip;
    refused(&b, NULL, MGEN_E_INVALID, "NULL");
    p.frames = FRAMES + 1;
    refused(&b, &p, MGEN_E_INVALID, "frames is 10, but the clip has 9");
    p = request();
    p.steps = 1001;
    refused(&b, &p, MGEN_E_INVALID, "steps is 1001");
    p = request();
    p.prompt = "\xff";
    refused(&b, &p, MGEN_E_INVALID, "the prompt");
    p = request();
    p.width = 65537;
    refused(&b, &p, MGEN_E_INVALID, "65537 x 32");
    p.width = 129;
    refused(&b, &p, MGEN_E_UNSUPPORTED, "up to 128 x 128 pixels, not 129 x 32");
    p = request();
    p.drop_text = 1;
    refused(&b, &p, MGEN_E_INVALID, "one must stay");
    struct {
        mgen_generate_params ours;
        uint64_t tail;
    } longer = {MGEN_GENERATE_PARAMS_INIT, 1};
    longer.ours.struct_size = sizeof longer;
    refused(&b, &longer.ours, MGEN_E_VERSION, "");
    p = request();
    b.pipe.upsampler = NULL;
    refused(&b, &p, MGEN_E_STATE, "lacks its upsampler");
    b.pipe = whole;
    b.pipe.text[0] = NULL;
    refused(&b, &p, MGEN_E_STATE, "lacks its text encoder of role UL2");
    b.pipe = whole;
    bench_close(&b);
}

/* -- ends ------------------------------------------------------------------------------------------- */

static void test_cancelled(void **state)
{
    (void)state;
    bench b = bench_on(make_context(2));
    mgen_generate_params p = request();
    mgen_clip *plain = film(&b, &p), *none;
    taken *t = test_calloc(1, sizeof *t);
    p.on_progress = stop_at_two;
    assert_int_equal(make(&b, &p, &none), MGEN_E_CANCELLED);
    p = request();
    t->stop_at = 4;
    p.on_frames = take;
    p.user = t;
    assert_int_equal(make(&b, &p, &none), MGEN_E_CANCELLED);
    assert_true(t->next >= 4 && t->next < FRAMES);
    p = request();
    assert_stops(&b, p);
    assert_true(gives(&b, &p, plain));
    test_free(t);
    mgen_clip_destroy(plain);
    bench_close(&b);
}

/* What is held with all open, and the estimate; with a limit, how the job ends. */
static mgen_status under(uint64_t limit, uint64_t *held, uint64_t *need, uint64_t *peak)
{
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_generate_params p = request();
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_context *ctx = NULL;
    mgen_clip *large;
    cp.threads = 1;
    cp.host_memory_max = limit;
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    bench b = bench_on(ctx);
    mgen_context_trim(ctx);
    mgen_context_memory(ctx, held, NULL);
    assert_int_equal(mgen_upsample_estimate(ctx, &b.pipe, b.clip, &p, &e), MGEN_OK);
    *need = e.host_bytes;
    mgen_context_memory(ctx, peak, NULL);
    assert_true(*peak == *held); /* nothing stays of an estimate */
    mgen_status status = make(&b, &p, &large);
    if (status != MGEN_OK)
        assert_non_null(strstr(mgen_last_error(ctx), "host_memory_max"));
    mgen_clip_destroy(large);
    mgen_context_memory(ctx, NULL, peak);
    bench_close(&b);
    return status;
}

static void test_estimate(void **state)
{
    (void)state;
    uint64_t held, need, peak, again[3];
    assert_int_equal(under(0, &held, &need, &peak), MGEN_OK);
    assert_true(peak <= held + need);
    assert_int_equal(under(held + need, &again[0], &again[1], &again[2]), MGEN_OK);
    assert_true(again[0] == held && again[1] == need && again[2] <= held + need);
    assert_int_equal(under(held + need - 1, &again[0], &again[1], &again[2]), MGEN_E_LIMIT);
    assert_true(again[0] == held && again[1] == need);
}

static void test_failing_memory(void **state)
{
    (void)state;
    counter c = {0};
    bench b = bench_on(counted_context(&c));
    mgen_generate_params p = request();
    mgen_clip_destroy(b.clip);
    b.clip = source(b.ctx, 8, 8, 2);
    p.steps = 1;
    mgen_clip *plain = film(&b, &p);
    for (int lasting = 0; lasting < 2; lasting++)
        fail_each_allocation(&b, &c, &p, plain, lasting);
    mgen_clip_destroy(plain);
    bench_close(&b);
    assert_int_equal(atomic_load(&c.blocks), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handle),         cmocka_unit_test(test_old_struct),
        cmocka_unit_test(test_clip),           cmocka_unit_test(test_ways),
        cmocka_unit_test(test_sides),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_cancelled),      cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, setup_upsampler, teardown);
}
