/* SPDX-License-Identifier: MIT
 * Edits that are refused, end early or have too little memory; and what their estimates say. */
#include "edit_bench.h"

#include <inttypes.h>
#include <math.h>

/* -- what is refused -------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    (void)state;
    bench b = bench_on(make_context(1));
    mgen_clip *clip = b.clip;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_job *job;
    char long_text[4098];
    mgen_generate_params p = request();
    assert_int_equal(mgen_edit_start(NULL, &b.pipe, clip, &p, &job), MGEN_E_INVALID);
    assert_int_equal(mgen_edit_start(b.ctx, &b.pipe, clip, &p, NULL), MGEN_E_INVALID);
    assert_int_equal(mgen_edit_start(b.ctx, NULL, clip, &p, &job), MGEN_E_INVALID);
    assert_int_equal(mgen_edit_estimate(NULL, &b.pipe, clip, &p, &e), MGEN_E_INVALID);
    assert_int_equal(mgen_edit_estimate(b.ctx, &b.pipe, clip, &p, NULL), MGEN_E_INVALID);
    b.clip = NULL;
    refused(&b, &p, MGEN_E_INVALID, "the clip is NULL");
    b.clip = clip;
    refused(&b, NULL, MGEN_E_INVALID, "NULL");
    p.prompt = NULL;
    refused(&b, &p, MGEN_E_INVALID, "the prompt, which is what to edit, is missing or empty");
    p.prompt = "";
    refused(&b, &p, MGEN_E_INVALID, "the prompt, which is what to edit, is missing or empty");
    p.prompt = "  ";
    refused(&b, &p, MGEN_E_INVALID, "the prompt, which is what to edit, is nothing but spaces");
    p.prompt = "\xff";
    refused(&b, &p, MGEN_E_INVALID, "the prompt");
    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    p.prompt = long_text;
    refused(&b, &p, MGEN_E_INVALID, "4096");
    p = request();
    p.frames = FRAMES + 1;
    refused(&b, &p, MGEN_E_INVALID, "frames is 10, but the clip has 9");
    p = request();
    p.steps = 1001;
    refused(&b, &p, MGEN_E_INVALID, "steps is 1001");
    p = request();
    p.width = 65537;
    refused(&b, &p, MGEN_E_INVALID, "65537 x 16");
    p.width = 65;
    refused(&b, &p, MGEN_E_UNSUPPORTED, "up to 64 x 64 pixels, not 65 x 16");
    p.prompt = "a ball";
    p.strength = 0.5f;
    refused(&b, &p, MGEN_E_UNSUPPORTED, "up to 64 x 64 pixels, not 65 x 16");
    p = request();
    p.drop_text = 1;
    refused(&b, &p, MGEN_E_INVALID, "one must stay");
    struct {
        mgen_generate_params ours;
        uint64_t tail;
    } longer = {MGEN_GENERATE_PARAMS_INIT, 1};
    longer.ours.struct_size = sizeof longer;
    refused(&b, &longer.ours, MGEN_E_VERSION, "");
    bench_close(&b);
}

/* Fields that only edits have: out of range, of both ways at once, or of a request that is none. */
static void test_refused_fields(void **state)
{
    static const char only[] = "edit_task, source_guidance and strength are of edits";
    static const float wrong[] = {-0.5f, 100.5f, INFINITY, NAN};
    (void)state;
    bench b = bench_on(make_context(1));
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_generate_params p = request();
    p.edit_task = MGEN_EDIT_SEGMENTATION + 1;
    refused(&b, &p, MGEN_E_INVALID, "edit_task is 8; it must be a MGEN_EDIT_*");
    p = request();
    p.noise_scale = 2.5f;
    refused(&b, &p, MGEN_E_INVALID, "noise_scale is 2.5; it must be 0 (the model's) to 2");
    p = begun();
    p.noise_scale = 1.0f;
    refused(&b, &p, MGEN_E_INVALID, "noise_scale must be 0");
    for (int i = 0; i < 4; i++) {
        p = request();
        p.source_guidance = wrong[i];
        refused(&b, &p, MGEN_E_INVALID, "it must be 0 (the editor's) to 100");
        p = begun();
        p.strength = wrong[i];
        refused(&b, &p, MGEN_E_INVALID, "it must be 0 (by the editor) or more, and below 1");
    }
    p = begun();
    p.strength = 1.0f;
    refused(&b, &p, MGEN_E_INVALID, "strength is 1;");
    for (int i = 0; i < 2; i++) {
        p = begun();
        p.edit_task = i ? 0 : MGEN_EDIT_LOCAL;
        p.source_guidance = i ? 1.5f : 0.0f;
        refused(&b, &p, MGEN_E_INVALID, "with a strength the video model edits");
    }
    for (int i = 0; i < 3; i++) {
        p = film_request(1);
        p.edit_task = i == 0;
        p.source_guidance = i == 1 ? 1.5f : 0.0f;
        p.strength = i == 2 ? 0.5f : 0.0f;
        assert_int_equal(mgen_generate_estimate(b.ctx, &b.pipe, &p, &e), MGEN_E_INVALID);
        assert_non_null(strstr(mgen_last_error(b.ctx), only));
        p.frames = 0;
        assert_int_equal(mgen_upsample_estimate(b.ctx, &b.pipe, b.clip, &p, &e), MGEN_E_INVALID);
        assert_non_null(strstr(mgen_last_error(b.ctx), only));
    }
    bench_close(&b);
}

/* What each way needs of the pipeline. */
static void test_lacks(void **state)
{
    (void)state;
    bench b = bench_on(make_context(1));
    mgen_pipeline whole = b.pipe;
    mgen_generate_params p = request(), q = begun();
    b.pipe.editor = NULL;
    refused(&b, &p, MGEN_E_STATE, "lacks its editor");
    b.pipe = whole;
    b.pipe.tae = NULL;
    refused(&b, &p, MGEN_E_STATE, "lacks its TAE");
    refused(&b, &q, MGEN_E_STATE, "lacks its TAE");
    b.pipe = whole;
    b.pipe.text[0] = NULL;
    refused(&b, &p, MGEN_E_STATE, "lacks its text encoder of role UL2");
    refused(&b, &q, MGEN_E_STATE, "lacks its text encoder (role UL2)");
    b.pipe = whole;
    b.pipe.video = NULL;
    refused(&b, &q, MGEN_E_STATE, "lacks its video model");
    b.pipe = whole;
    b.pipe.fps = 0;
    refused(&b, &p, MGEN_E_INVALID, "width, height, frames and fps");
    b.pipe = whole;
    b.pipe.frames = 40;
    refused(&b, &p, MGEN_E_STATE, "40 frames do not fit");
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
    p = begun();
    p.on_progress = stop_at_two;
    assert_int_equal(make(&b, &p, &none), MGEN_E_CANCELLED);
    p = request();
    t->stop_at = 1;
    p.on_frames = take;
    p.user = t;
    assert_int_equal(make(&b, &p, &none), MGEN_E_CANCELLED);
    assert_true(t->next >= 1);
    p = request();
    assert_stops(&b, p);
    assert_true(gives(&b, &p, plain));
    test_free(t);
    mgen_clip_destroy(plain);
    bench_close(&b);
}

/* What is held with all open, and the estimate; with a limit, how the job ends. */
static mgen_status under(const mgen_generate_params *p, uint64_t limit, uint64_t *held,
                         uint64_t *need, uint64_t *peak)
{
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_context *ctx = NULL;
    mgen_clip *edited;
    cp.threads = 1;
    cp.host_memory_max = limit;
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    bench b = bench_on(ctx);
    mgen_context_trim(ctx);
    mgen_context_memory(ctx, held, NULL);
    assert_int_equal(mgen_edit_estimate(ctx, &b.pipe, b.clip, p, &e), MGEN_OK);
    *need = e.host_bytes;
    mgen_context_memory(ctx, peak, NULL);
    assert_true(*peak == *held); /* nothing stays of an estimate */
    mgen_status status = make(&b, p, &edited);
    if (status != MGEN_OK)
        assert_non_null(strstr(mgen_last_error(ctx), "host_memory_max"));
    mgen_clip_destroy(edited);
    mgen_context_memory(ctx, NULL, peak);
    bench_close(&b);
    return status;
}

static void test_estimate(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        const mgen_generate_params p = way ? begun() : request();
        uint64_t held, need, peak, again[3];
        assert_int_equal(under(&p, 0, &held, &need, &peak), MGEN_OK);
        assert_true(peak <= held + need);
        assert_int_equal(under(&p, held + need, &again[0], &again[1], &again[2]), MGEN_OK);
        assert_true(again[0] == held && again[1] == need && again[2] <= held + need);
        assert_int_equal(under(&p, held + need - 1, &again[0], &again[1], &again[2]), MGEN_E_LIMIT);
        assert_true(again[0] == held && again[1] == need);
    }
}

/* Films of all kinds, one of windows among them: none takes more than its estimate says. */
static void test_estimates_of_sizes(void **state)
{
    static const uint32_t sizes[][3] = {{1, 1, 1},   {64, 64, 1},  {41, 25, 7},
                                        {64, 33, 9}, {64, 64, 32}, {17, 64, 70}};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        const uint32_t *size = sizes[i / 2];
        mgen_generate_params p = i % 2 ? begun() : request();
        mgen_estimate e = MGEN_ESTIMATE_INIT;
        uint64_t held, peak;
        bench b = bench_on(make_context(2));
        mgen_clip_destroy(b.clip);
        b.clip = source(b.ctx, size[0], size[1], size[2]);
        mgen_context_trim(b.ctx);
        mgen_context_memory(b.ctx, &held, NULL);
        assert_int_equal(mgen_edit_estimate(b.ctx, &b.pipe, b.clip, &p, &e), MGEN_OK);
        mgen_clip_destroy(film(&b, &p));
        mgen_context_memory(b.ctx, NULL, &peak);
        if (peak > held + e.host_bytes)
            fail_msg("%u x %u, %u frames: %" PRIu64 " bytes more", size[0], size[1], size[2],
                     peak - held - e.host_bytes);
        bench_close(&b);
    }
}

/* Under a limit that whole frames would break, they are coded in tiles: the film and what is made of it. Its sides are off
 * the grid. */
static void test_tiles(void **state)
{
    enum { WIDE = 250, HIGH = 121, LONG = 12 };
    (void)state;
    mgi_editor_config config = tiny_editor;
    mgen_generate_params p = request();
    mgen_estimate whole = MGEN_ESTIMATE_INIT, tiled = MGEN_ESTIMATE_INIT;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_clip *made[2];
    uint64_t peak;
    config.video.rows_max = 8;
    config.video.columns_max = 16;
    save_editor_as("wide", &config);
    p.steps = 1;
    cp.threads = 1;
    for (int i = 0; i < 2; i++) {
        mgen_context *ctx;
        assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
        bench b = bench_on(ctx);
        mgen_editor_release(b.pipe.editor);
        assert_int_equal(mgen_editor_open(ctx, dir, "wide", &b.pipe.editor), MGEN_OK);
        mgen_clip_destroy(b.clip);
        b.clip = source(ctx, WIDE, HIGH, LONG);
        mgen_context_trim(ctx);
        mgen_context_memory(ctx, &peak, NULL);
        assert_int_equal(mgen_edit_estimate(ctx, &b.pipe, b.clip, &p, i ? &tiled : &whole),
                         MGEN_OK);
        const uint64_t most = peak + (i ? tiled : whole).host_bytes;
        cp.host_memory_max = i ? cp.host_memory_max : peak + whole.host_bytes * 3 / 4;
        made[i] = film(&b, &p);
        mgen_context_memory(ctx, NULL, &peak);
        assert_true(peak <= most);
        bench_close(&b);
    }
    assert_true(tiled.host_bytes < whole.host_bytes * 3 / 4 && tiled.flops > whole.flops);
    assert_true(peak <= cp.host_memory_max);
    for (int k = 0; k < LONG * HIGH * WIDE * 3; k++)
        assert_true(abs(mgen_clip_pixels(made[0])[k] - mgen_clip_pixels(made[1])[k]) <= 1);
    mgen_clip_destroy(made[0]);
    mgen_clip_destroy(made[1]);
}

/* The estimate of a part of the steps is that of so many steps, up to the clip's encoding. */
static void test_flops(void **state)
{
    (void)state;
    bench b = bench_on(make_context(1));
    mgen_estimate e[3];
    for (int i = 0; i < 3; i++) {
        mgen_generate_params p = begun();
        p.steps = 10 * (i + 1);
        e[i] = (mgen_estimate)MGEN_ESTIMATE_INIT;
        assert_int_equal(mgen_edit_estimate(b.ctx, &b.pipe, b.clip, &p, &e[i]), MGEN_OK);
    }
    assert_true(e[1].flops > e[0].flops);
    assert_true(fabs((e[2].flops - e[1].flops) - (e[1].flops - e[0].flops)) < 1e-6 * e[0].flops);
    bench_close(&b);
}

static void test_failing_memory(void **state)
{
    (void)state;
    counter c = {0};
    bench b = bench_on(counted_context(&c));
    mgen_clip_destroy(b.clip);
    b.clip = source(b.ctx, 8, 8, 2);
    for (int way = 0; way < 4; way++) {
        mgen_generate_params p = way / 2 ? begun() : request();
        p.steps = 1;
        mgen_clip *plain = film(&b, &p);
        fail_each_allocation(&b, &c, &p, plain, way % 2);
        mgen_clip_destroy(plain);
    }
    bench_close(&b);
    assert_int_equal(atomic_load(&c.blocks), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_fields),
        cmocka_unit_test(test_lacks),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_estimates_of_sizes),
        cmocka_unit_test(test_flops),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, setup_editor, teardown);
}
