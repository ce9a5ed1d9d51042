/* SPDX-License-Identifier: MIT
 * Films of the person in a photo, from outside: what the header promises of the handle, the pipeline's field, what is made,
 * refused and estimated. */
#include "../unit/reported.h"
#include "tiny_personalizer.h"

#include "clip_bench.h"

#include <inttypes.h>
#include <math.h>

enum { WIDTH = 32, HEIGHT = 16, FRAMES = 9, BYTES = FRAMES * WIDTH * HEIGHT * 3 };

/* Its clip is the photo. */
static bench bench_on(mgen_context *ctx)
{
    return bench_of(ctx, (maker){mgen_personalize_start, mgen_personalize_estimate}, 20, 24, 1);
}

static mgen_generate_params request(void)
{
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    p.prompt = "a smiling person walks left";
    p.width = WIDTH;
    p.height = HEIGHT;
    p.frames = FRAMES;
    return p;
}

/* -- the handle ------------------------------------------------------------------------------------- */

static void test_handle(void **state)
{
    (void)state;
    bench b = bench_on(make_context(1));
    mgen_personalizer *p;
    mgen_model_info info = MGEN_MODEL_INFO_INIT, other = MGEN_MODEL_INFO_INIT;
    assert_non_null(b.pipe.personalizer);
    assert_int_equal(mgen_personalizer_open(b.ctx, dir, "personalizer", &p), MGEN_OK);
    assert_ptr_equal(mgen_personalizer_retain(p), p);
    mgen_personalizer_release(p);
    assert_int_equal(mgen_personalizer_get_info(p, &info), MGEN_OK);
    assert_int_equal(mgen_personalizer_get_info(b.pipe.personalizer, &other), MGEN_OK);
    assert_memory_equal(&info, &other, sizeof info);
    assert_true(info.channels == 4 && info.text_width == 16 && info.tasks == 0);
    assert_true(info.guidance == 2.0f && info.source_guidance == 1.5f);
    /* the image encoder's weights are no parameters, but take memory */
    assert_true(info.parameters > 1000 && info.bytes > 4 * info.parameters && info.hash != 0);
    assert_int_equal(mgen_video_model_get_info(b.pipe.video, &other), MGEN_OK);
    assert_true(other.hash != info.hash);
    assert_int_equal(mgen_personalizer_get_info(NULL, &info), MGEN_E_INVALID);
    assert_int_equal(mgen_personalizer_get_info(p, NULL), MGEN_E_INVALID);
    mgen_personalizer_release(p);
    mgen_personalizer_release(NULL);
    assert_null(mgen_personalizer_retain(NULL));
    assert_int_equal(mgen_personalizer_open(b.ctx, dir, "video_model", &p), MGEN_E_CORRUPT);
    assert_null(p);
    assert_int_equal(mgen_personalizer_open(b.ctx, dir, "none", &p), MGEN_E_NOT_FOUND);
    assert_int_equal(mgen_personalizer_open(b.ctx, dir, "../a", &p), MGEN_E_INVALID);
    assert_int_equal(mgen_personalizer_open(b.ctx, dir, "personalizer", NULL), MGEN_E_INVALID);
    assert_int_equal(mgen_personalizer_open(NULL, dir, "personalizer", &p), MGEN_E_INVALID);
    bench_close(&b);
}

/* A host whose header had no personalizer: its struct ends before that field. */
static void test_old_pipeline(void **state)
{
    (void)state;
    bench b = bench_on(make_context(1));
    mgen_pipeline old = MGEN_PIPELINE_INIT, bare = b.pipe;
    mgen_personalizer *const mark = (mgen_personalizer *)&old;
    mgen_generate_params p = request();
    mgen_job *job = NULL;
    old.struct_size = offsetof(mgen_pipeline, personalizer);
    old.personalizer = mark;
    assert_int_equal(mgen_pipeline_open(b.ctx, dir, &old), MGEN_OK);
    bare.personalizer = NULL;
    assert_true(mgen_pipeline_hash(&old) == mgen_pipeline_hash(&bare));
    assert_true(mgen_pipeline_hash(&old) != mgen_pipeline_hash(&b.pipe));
    p.steps = 1;
    assert_int_equal(run_job(b.ctx, &old, &p), MGEN_OK);
    assert_int_equal(mgen_personalize_start(b.ctx, &old, b.clip, &p, &job), MGEN_E_STATE);
    mgen_pipeline_close(&old);
    assert_ptr_equal(old.personalizer, mark);
    bench_close(&b);
    assert_null(b.pipe.personalizer);
}

/* -- what is made ----------------------------------------------------------------------------------- */

static void test_clip(void **state)
{
    (void)state;
    bench b = bench_on(make_context(2));
    mgen_generate_params p = request();
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *plain = film(&b, &p), *own;
    assert_int_equal(mgen_clip_get_info(plain, &info), MGEN_OK);
    assert_true(info.width == WIDTH && info.height == HEIGHT && info.frames == FRAMES);
    assert_true(info.fps_num == b.pipe.fps && info.fps_den == 1); /* not the photo's */
    assert_int_equal(mgen_personalize_estimate(b.ctx, &b.pipe, b.clip, &p, &e), MGEN_OK);
    assert_true(e.width == WIDTH && e.height == HEIGHT && e.frames == FRAMES);
    assert_true(e.device_bytes == 0 && e.flops > 0.0);
    p.steps = 3;
    p.guidance = 2.0f;
    p.source_guidance = 1.5f;
    assert_true(gives(&b, &p, plain));
    /* each of them counts */
    for (int i = 0; i < 6; i++) {
        p = request();
        p.seed = i == 0;
        p.steps = i == 1 ? 2 : 0;
        p.guidance = i == 2 ? 4.0f : 0.0f;
        p.source_guidance = i == 3 ? 1.0f : 0.0f;
        p.negative_prompt = i == 4 ? "a cube" : NULL;
        p.prompt = i == 5 ? "a person jumps" : p.prompt;
        if (gives(&b, &p, plain))
            fail_msg("setting %d changes nothing", i);
    }
    p = request();
    own = b.clip;
    b.clip = source(b.ctx, 20, 24, 2); /* whose first frame is the same */
    assert_true(gives(&b, &p, plain));
    memset(mgen_clip_pixels(b.clip), 128, 20 * 24 * 3);
    assert_false(gives(&b, &p, plain));
    mgen_clip_destroy(b.clip);
    b.clip = own;
    p.width = p.height = p.frames = 0; /* the pipeline's */
    p.steps = 1;
    own = film(&b, &p);
    assert_int_equal(mgen_clip_get_info(own, &info), MGEN_OK);
    assert_true(info.width == b.pipe.width && info.height == b.pipe.height &&
                info.frames == b.pipe.frames);
    mgen_clip_destroy(own);
    mgen_clip_destroy(plain);
    bench_close(&b);
}

/* The networks that it needs, by themselves; on any number of threads; in windows; a picture; other photos' sizes. */
static void test_parts(void **state)
{
    (void)state;
    static const uint32_t sides[][2] = {{1, 1}, {64, 3}, {300, 200}};
    bench b = bench_on(make_context(2));
    mgen_pipeline parts = MGEN_PIPELINE_INIT, whole = b.pipe;
    mgen_generate_params p = request();
    mgen_clip *plain = film(&b, &p);
    parts.width = whole.width;
    parts.height = whole.height;
    parts.frames = whole.frames;
    parts.fps = whole.fps;
    parts.text[0] = whole.text[0];
    parts.tae = whole.tae;
    parts.personalizer = whole.personalizer;
    b.pipe = parts;
    assert_true(gives(&b, &p, plain));
    b.pipe = whole;
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
        bench other = bench_on(make_context(threads));
        assert_true(gives(&other, &p, plain));
        bench_close(&other);
    }
    p.steps = 1;
    for (int i = 0; i < 3; i++) {
        mgen_clip_destroy(b.clip);
        b.clip = source(b.ctx, sides[i][0], sides[i][1], 1);
        p.frames = i == 0 ? 1 : i == 1 ? 40 : FRAMES;
        mgen_clip_destroy(film(&b, &p));
    }
    mgen_clip_destroy(plain);
    bench_close(&b);
}

/* -- what is refused -------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    static const float wrong[] = {-0.5f, 100.5f, INFINITY, NAN};
    (void)state;
    bench b = bench_on(make_context(1));
    mgen_clip *photo = b.clip;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_job *job;
    mgen_generate_params p = request();
    assert_int_equal(mgen_personalize_start(NULL, &b.pipe, photo, &p, &job), MGEN_E_INVALID);
    assert_int_equal(mgen_personalize_start(b.ctx, &b.pipe, photo, &p, NULL), MGEN_E_INVALID);
    assert_int_equal(mgen_personalize_start(b.ctx, NULL, photo, &p, &job), MGEN_E_INVALID);
    assert_int_equal(mgen_personalize_estimate(NULL, &b.pipe, photo, &p, &e), MGEN_E_INVALID);
    assert_int_equal(mgen_personalize_estimate(b.ctx, &b.pipe, photo, &p, NULL), MGEN_E_INVALID);
    b.clip = NULL;
    refused(&b, &p, MGEN_E_INVALID, "the photo is NULL");
    b.clip = photo;
    refused(&b, NULL, MGEN_E_INVALID, "NULL");
    p.prompt = "";
    refused(&b, &p, MGEN_E_INVALID, "the prompt is missing or empty");
    p.prompt = " ";
    refused(&b, &p, MGEN_E_INVALID, "the prompt is nothing but spaces");
    p = request();
    p.width = 65537;
    refused(&b, &p, MGEN_E_UNSUPPORTED, "65537 x 16");
    p.width = 80;
    refused(&b, &p, MGEN_E_UNSUPPORTED, "a multiple of 16 up to 64");
    p = request();
    p.drop_text = 1;
    refused(&b, &p, MGEN_E_INVALID, "one must stay");
    for (int i = 0; i < 4; i++) {
        p = request();
        p.source_guidance = wrong[i];
        refused(&b, &p, MGEN_E_INVALID, "it must be 0 (the personalizer's) to 100");
    }
    for (int i = 0; i < 2; i++) {
        p = request();
        p.edit_task = i ? MGEN_EDIT_AUTO : MGEN_EDIT_LOCAL;
        p.strength = i ? 0.5f : 0.0f;
        refused(&b, &p, MGEN_E_INVALID, "edit_task and strength are of edits");
    }
    struct {
        mgen_generate_params ours;
        uint64_t tail;
    } longer = {MGEN_GENERATE_PARAMS_INIT, 1};
    longer.ours.struct_size = sizeof longer;
    refused(&b, &longer.ours, MGEN_E_VERSION, "");
    bench_close(&b);
}

static void test_lacks(void **state)
{
    (void)state;
    bench b = bench_on(make_context(1));
    mgen_pipeline whole = b.pipe;
    mgen_generate_params p = request();
    b.pipe.personalizer = NULL;
    refused(&b, &p, MGEN_E_STATE, "lacks its personalizer");
    b.pipe = whole;
    b.pipe.tae = NULL;
    refused(&b, &p, MGEN_E_STATE, "lacks its TAE");
    b.pipe = whole;
    b.pipe.text[0] = NULL;
    refused(&b, &p, MGEN_E_STATE, "lacks its text encoder of role UL2");
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
    p.on_progress = stop_at_two;
    assert_int_equal(make(&b, &p, &none), MGEN_E_CANCELLED);
    p = request();
    assert_stops(&b, p);
    assert_true(gives(&b, &p, plain));
    mgen_clip_destroy(plain);
    bench_close(&b);
}

/* What is held with all open, and the estimate; with a limit, how the job ends. */
static mgen_status under(uint64_t limit, uint32_t side, uint64_t *held, uint64_t *need,
                         uint64_t *peak)
{
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_generate_params p = request();
    mgen_context *ctx = NULL;
    mgen_clip *made;
    cp.threads = 1;
    cp.host_memory_max = limit;
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    bench b = bench_on(ctx);
    mgen_clip_destroy(b.clip);
    b.clip = source(ctx, side, side / 2, 1);
    mgen_context_trim(ctx);
    mgen_context_memory(ctx, held, NULL);
    assert_int_equal(mgen_personalize_estimate(ctx, &b.pipe, b.clip, &p, &e), MGEN_OK);
    *need = e.host_bytes;
    mgen_context_memory(ctx, peak, NULL);
    assert_true(*peak == *held); /* nothing stays of an estimate */
    mgen_status status = make(&b, &p, &made);
    if (status != MGEN_OK)
        assert_non_null(strstr(mgen_last_error(ctx), "host_memory_max"));
    mgen_clip_destroy(made);
    mgen_context_memory(ctx, NULL, peak);
    bench_close(&b);
    return status;
}

/* Also of a photo that is most of it. */
static void test_estimate(void **state)
{
    (void)state;
    for (uint32_t side = 20; side <= 700; side += 680) {
        uint64_t held, need, peak, again[3];
        assert_int_equal(under(0, side, &held, &need, &peak), MGEN_OK);
        if (peak > held + need)
            fail_msg("a photo of %u: %" PRIu64 " bytes more", side, peak - held - need);
        assert_int_equal(under(held + need, side, &again[0], &again[1], &again[2]), MGEN_OK);
        assert_true(again[0] == held && again[1] == need && again[2] <= held + need);
        assert_int_equal(under(held + need - 1, side, &again[0], &again[1], &again[2]),
                         MGEN_E_LIMIT);
    }
}

/* -- measuring -------------------------------------------------------------------------------------- */

static void test_evaluate(void **state)
{
    static const char *const ways[] = {"", "ceiling_", "control_", "unseen_"};
    static const char *const of_person[] = {"identity", "identity_best", "identity_worst",
                                            "similarity"},
                             *const of_prompt[] = {"consistency", "expression", "shirt", "motion",
                                                   "background"};
    (void)state;
    bench b = bench_on(make_context(2));
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    mgen_report *report;
    char name[64];
    p.protocol = "personalize";
    p.n = 1;
    b.pipe.frames = FRAMES;
    assert_int_equal(mgen_evaluate(b.ctx, &b.pipe, &p, &report), MGEN_OK);
    assert_true(reported(report, "n") == 1.0 && reported(report, "steps") == 3.0);
    assert_true(reported(report, "guidance") == 2.0 && reported(report, "source_guidance") == 1.5);
    for (int way = 0; way < 4; way++) {
        for (int i = 0; i < 4; i++) {
            snprintf(name, sizeof name, "%s%s", ways[way], of_person[i]);
            assert_true(reported(report, name) >= 0.0 && reported(report, name) <= 1.0);
        }
        for (int i = 0; way != 2 && i < 5; i++) {
            snprintf(name, sizeof name, "%s%s", ways[way], of_prompt[i]);
            assert_true(reported(report, name) >= 0.0 && reported(report, name) <= 1.0);
        }
    }
    mgen_report_destroy(report);
    mgen_personalizer_release(b.pipe.personalizer);
    b.pipe.personalizer = NULL;
    assert_int_equal(mgen_evaluate(b.ctx, &b.pipe, &p, &report), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(b.ctx), "lacks its personalizer"));
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handle),    cmocka_unit_test(test_old_pipeline),
        cmocka_unit_test(test_clip),      cmocka_unit_test(test_parts),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_lacks),
        cmocka_unit_test(test_cancelled), cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_evaluate),
    };
    return cmocka_run_group_tests(tests, setup_personalizer, teardown);
}
