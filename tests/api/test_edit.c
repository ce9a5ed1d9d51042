/* SPDX-License-Identifier: MIT
 * Editing from outside: what the header promises of the handle, the pipeline's field and what is made, by an editor and by
 * a video model that begins with the clip. */
#include "edit_bench.h"

#include <math.h>

/* -- the handle ------------------------------------------------------------------------------------- */

static void test_handle(void **state)
{
    (void)state;
    bench b = bench_on(make_context(1));
    mgen_editor *e;
    mgen_model_info info = MGEN_MODEL_INFO_INIT, other = MGEN_MODEL_INFO_INIT;
    assert_non_null(b.pipe.editor);
    assert_int_equal(mgen_editor_open(b.ctx, dir, "editor", &e), MGEN_OK);
    assert_ptr_equal(mgen_editor_retain(e), e);
    mgen_editor_release(e);
    assert_int_equal(mgen_editor_get_info(e, &info), MGEN_OK);
    assert_int_equal(mgen_editor_get_info(b.pipe.editor, &other), MGEN_OK);
    assert_memory_equal(&info, &other, sizeof info);
    assert_true(info.channels == 4 && info.text_width == 16 && info.tasks == MGI_EDIT_TASKS);
    assert_true(info.guidance == 2.0f && info.source_guidance == 1.5f && info.upsampling == 0);
    assert_true(info.parameters > 1000 && info.bytes >= 4 * info.parameters && info.hash != 0);
    assert_int_equal(mgen_video_model_get_info(b.pipe.video, &other), MGEN_OK);
    assert_true(other.tasks == 0 && other.source_guidance == 0.0f && other.hash != info.hash);
    assert_int_equal(mgen_editor_get_info(NULL, &info), MGEN_E_INVALID);
    assert_int_equal(mgen_editor_get_info(e, NULL), MGEN_E_INVALID);
    other.struct_size = 4;
    assert_int_equal(mgen_editor_get_info(e, &other), MGEN_E_INVALID);
    /* as it was before editors */
    memset(&other, 0x5A, sizeof other);
    other.struct_size = offsetof(mgen_model_info, tasks);
    assert_int_equal(mgen_editor_get_info(e, &other), MGEN_OK);
    assert_true(other.hash == info.hash && other.tasks == 0x5A5A5A5A);
    mgen_editor_release(e);
    mgen_editor_release(NULL);
    assert_null(mgen_editor_retain(NULL));
    assert_int_equal(mgen_editor_open(b.ctx, dir, "video_model", &e), MGEN_E_CORRUPT);
    assert_null(e);
    assert_int_equal(mgen_editor_open(b.ctx, dir, "none", &e), MGEN_E_NOT_FOUND);
    assert_int_equal(mgen_editor_open(b.ctx, dir, "../editor", &e), MGEN_E_INVALID);
    assert_int_equal(mgen_editor_open(b.ctx, dir, "editor", NULL), MGEN_E_INVALID);
    assert_int_equal(mgen_editor_open(NULL, dir, "editor", &e), MGEN_E_INVALID);
    bench_close(&b);
}

/* Hosts whose header had no editor, or not an upsampler either: their structs end before those fields. */
static void check_old_pipeline(mgen_context *ctx, const mgen_pipeline *now, uint32_t size)
{
    mgen_pipeline old = MGEN_PIPELINE_INIT, bare = *now;
    mgen_editor *const mark = (mgen_editor *)&old;
    mgen_generate_params p = film_request(1), q = request();
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_clip *clip = source(ctx, WIDTH, HEIGHT, 1);
    mgen_job *job = NULL;
    old.struct_size = size;
    old.editor = mark;
    assert_int_equal(mgen_pipeline_open(ctx, dir, &old), MGEN_OK);
    assert_ptr_equal(old.editor, mark);
    assert_int_equal(old.struct_size, size);
    bare.editor = NULL;
    assert_true(mgen_pipeline_hash(&old) == mgen_pipeline_hash(&bare));
    assert_true(mgen_pipeline_hash(&old) != mgen_pipeline_hash(now));
    assert_int_equal(run_job(ctx, &old, &p), MGEN_OK);
    assert_int_equal(mgen_edit_estimate(ctx, &old, clip, &q, &e), MGEN_E_STATE);
    assert_int_equal(mgen_edit_start(ctx, &old, clip, &q, &job), MGEN_E_STATE);
    assert_ptr_equal(old.editor, mark);
    mgen_pipeline_close(&old);
    assert_true(!old.tae && !old.video && !old.text[0]);
    assert_ptr_equal(old.editor, mark);
    mgen_clip_destroy(clip);
}

static void test_old_pipelines(void **state)
{
    (void)state;
    counter c = {0};
    mgen_context *ctx = counted_context(&c);
    mgen_pipeline now = MGEN_PIPELINE_INIT;
    mgen_generate_params p = film_request(1), q = request();
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_clip *clip = source(ctx, WIDTH, HEIGHT, 1);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &now), MGEN_OK);
    assert_int_equal(run_job(ctx, &now, &p), MGEN_OK); /* what a context keeps for the next one */
    assert_int_equal(mgen_edit_estimate(ctx, &now, clip, &q, &e), MGEN_OK);
    mgen_context_trim(ctx);
    int64_t blocks = atomic_load(&c.blocks);
    check_old_pipeline(ctx, &now, offsetof(mgen_pipeline, editor));
    check_old_pipeline(ctx, &now, offsetof(mgen_pipeline, upsampler));
    mgen_context_trim(ctx);
    assert_int_equal(atomic_load(&c.blocks), blocks);
    mgen_pipeline_close(&now);
    assert_null(now.editor);
    mgen_pipeline_close(&now);
    mgen_clip_destroy(clip);
    mgen_context_destroy(ctx);
    assert_int_equal(atomic_load(&c.blocks), 0);
}

/* Requests as they were before edits: what is behind them is not looked at, and 0. */
static void test_old_request(void **state)
{
    (void)state;
    bench b = bench_on(make_context(1));
    mgen_generate_params p = request();
    mgen_clip *plain = film(&b, &p);
    p.struct_size = offsetof(mgen_generate_params, edit_task);
    p.edit_task = 100;
    p.source_guidance = -1.0f;
    p.strength = 7.0f;
    p.noise_scale = -1.0f;
    assert_true(gives(&b, &p, plain));
    mgen_generate_params q = film_request(1);
    q.struct_size = offsetof(mgen_generate_params, edit_task);
    q.edit_task = 100;
    assert_int_equal(run_job(b.ctx, &b.pipe, &q), MGEN_OK);
    q.struct_size--;
    assert_int_equal(run_job(b.ctx, &b.pipe, &q), MGEN_E_INVALID);
    mgen_clip_destroy(plain);
    bench_close(&b);
}

/* -- what is made ----------------------------------------------------------------------------------- */

static void test_clip(void **state)
{
    (void)state;
    bench b = bench_on(make_context(2));
    mgen_generate_params p = request();
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_clip *plain = film(&b, &p);
    assert_shape(plain, WIDTH, HEIGHT, FRAMES);
    assert_int_equal(mgen_edit_estimate(b.ctx, &b.pipe, b.clip, &p, &e), MGEN_OK);
    assert_true(e.width == WIDTH && e.height == HEIGHT && e.frames == FRAMES);
    assert_true(e.device_bytes == 0 && e.flops > 0.0);
    p.steps = 3;
    p.guidance = 2.0f;
    p.source_guidance = 1.5f;
    p.width = WIDTH;
    p.height = HEIGHT;
    p.frames = FRAMES;
    p.edit_task = MGEN_EDIT_LOCAL;
    assert_true(gives(&b, &p, plain));
    /* each of them counts */
    for (int i = 0; i < 6; i++) {
        p = request();
        p.seed = i == 0;
        p.steps = i == 1 ? 2 : 0;
        p.guidance = i == 2 ? 4.0f : 0.0f;
        p.source_guidance = i == 3 ? 1.0f : 0.0f;
        p.edit_task = i == 4 ? MGEN_EDIT_STYLE : MGEN_EDIT_AUTO;
        p.prompt = i == 5 ? "make the ball red" : p.prompt;
        if (gives(&b, &p, plain))
            fail_msg("setting %d changes nothing", i);
    }
    p = request();
    memset(mgen_clip_pixels(b.clip), 0, BYTES / 2);
    assert_false(gives(&b, &p, plain));
    mgen_clip_destroy(plain);
    bench_close(&b);
}

/* The networks that it needs, by themselves. */
static void test_parts(void **state)
{
    (void)state;
    bench b = bench_on(make_context(2));
    mgen_pipeline parts = MGEN_PIPELINE_INIT, whole = b.pipe;
    mgen_generate_params p = request(), q = begun();
    mgen_clip *edited = film(&b, &p), *started = film(&b, &q);
    parts.width = whole.width;
    parts.height = whole.height;
    parts.frames = whole.frames;
    parts.fps = whole.fps;
    parts.text[0] = whole.text[0];
    parts.tae = whole.tae;
    parts.editor = whole.editor;
    b.pipe = parts;
    assert_true(gives(&b, &p, edited));
    parts.editor = NULL;
    parts.video = whole.video;
    b.pipe = parts;
    assert_true(gives(&b, &q, started));
    b.pipe = whole;
    mgen_clip_destroy(edited);
    mgen_clip_destroy(started);
    bench_close(&b);
}

/* What an instruction is about is found by its words, unless the request says it. */
static void test_tasks(void **state)
{
    static const struct {
        const char *instruction;
        uint32_t task;
    } of[] = {{"make the ball blue", MGEN_EDIT_LOCAL},
              {"remove the ball", MGEN_EDIT_REMOVAL},
              {"add a red ball", MGEN_EDIT_ADDITION},
              {"change the background to grass", MGEN_EDIT_BACKGROUND}};
    (void)state;
    bench b = bench_on(make_context(2));
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        mgen_generate_params p = request();
        p.prompt = of[i].instruction;
        p.steps = 1;
        mgen_clip *found = film(&b, &p);
        for (p.edit_task = 1; p.edit_task <= MGEN_EDIT_SEGMENTATION; p.edit_task++)
            if (gives(&b, &p, found) != (p.edit_task == of[i].task))
                fail_msg("\"%s\" and task %u", p.prompt, p.edit_task);
        mgen_clip_destroy(found);
    }
    bench_close(&b);
}

typedef struct steps_seen {
    uint32_t steps, total, previews, last_preview;
} steps_seen;

static int32_t see_step(void *user, uint32_t done, uint32_t total)
{
    steps_seen *s = user;
    s->steps++;
    assert_int_equal(done, s->steps);
    s->total = total;
    return 0;
}

static int32_t see_preview(void *user, uint32_t step, const mgen_latents *latents)
{
    steps_seen *s = user;
    assert_int_equal(step, s->previews++);
    assert_true(latents->frames == 2 && latents->height == 2 && latents->width == 4 &&
                latents->channels == 4);
    for (int i = 0; i < 2 * 2 * 4 * 4; i++)
        assert_true(isfinite(latents->data[i]));
    return 0;
}

/* With a strength the video model takes the last steps, from the clip on. */
static void test_strength(void **state)
{
    static const struct {
        float strength;
        uint32_t steps, taken;
    } of[] = {{0.6f, 5, 3},    {0.25f, 8, 2},   {0.001f, 4, 1}, {1e-30f, 1000, 1},
              {0.99f, 10, 10}, {0.9999f, 3, 3}, {0.5f, 1, 1}};
    (void)state;
    bench b = bench_on(make_context(2));
    mgen_generate_params p = begun(), q = request();
    mgen_clip *plain = film(&b, &p);
    assert_shape(plain, WIDTH, HEIGHT, FRAMES);
    assert_true(gives(&b, &p, plain));
    assert_false(gives(&b, &q, plain));
    p.strength = 0.2f;
    assert_false(gives(&b, &p, plain));
    p = begun();
    memset(mgen_clip_pixels(b.clip), 0, BYTES / 2);
    assert_false(gives(&b, &p, plain));
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        steps_seen seen = {0};
        mgen_job_info info = MGEN_JOB_INFO_INIT;
        mgen_job *job;
        p = begun();
        p.strength = of[i].strength;
        p.steps = of[i].steps;
        p.on_progress = see_step;
        p.on_preview = see_preview;
        p.user = &seen;
        assert_int_equal(mgen_edit_start(b.ctx, &b.pipe, b.clip, &p, &job), MGEN_OK);
        assert_int_equal(mgen_job_get_info(job, &info), MGEN_OK);
        assert_int_equal(info.total, of[i].taken); /* before the first step, too */
        assert_int_equal(mgen_job_wait(job, -1), MGEN_OK);
        mgen_job_destroy(job);
        if (seen.steps != of[i].taken || seen.total != of[i].taken || seen.previews != of[i].taken)
            fail_msg("strength %g of %u steps: %u of %u, %u previews", (double)of[i].strength,
                     of[i].steps, seen.steps, seen.total, seen.previews);
    }
    mgen_clip_destroy(plain);
    bench_close(&b);
}

/* The fewer steps are taken, the more of the clip as its autoencoder gives it back is left. */
static void test_strength_keeps(void **state)
{
    (void)state;
    bench b = bench_on(make_context(2));
    double far[2];
    mgen_generate_params p = begun();
    p.steps = 50;
    p.strength = 0.02f;
    mgen_clip *near = film(&b, &p);
    for (int i = 0; i < 2; i++) {
        p.strength = i ? 0.96f : 0.04f;
        mgen_clip *clip = film(&b, &p);
        far[i] = 0.0;
        for (int k = 0; k < BYTES; k++)
            far[i] += abs(mgen_clip_pixels(clip)[k] - mgen_clip_pixels(near)[k]);
        mgen_clip_destroy(clip);
    }
    assert_true(far[0] > 0.0 && far[1] > 4.0 * far[0]);
    mgen_clip_destroy(near);
    bench_close(&b);
}

static void test_ways(void **state)
{
    (void)state;
    bench b = bench_on(make_context(2));
    taken *t = test_calloc(1, sizeof *t);
    for (int way = 0; way < 2; way++) {
        const mgen_generate_params plain = way ? begun() : request();
        mgen_clip *wanted = film(&b, &plain), *none;
        mgen_generate_params p = plain;
        steps_seen seen = {0};
        memset(t, 0, sizeof *t);
        p.on_frames = take;
        p.user = t;
        assert_int_equal(make(&b, &p, &none), MGEN_OK);
        assert_int_equal(t->next, FRAMES);
        assert_memory_equal(t->bytes, mgen_clip_pixels(wanted), BYTES);
        mgen_frames into = MGEN_FRAMES_INIT;
        into.width = WIDTH;
        into.height = HEIGHT;
        into.count = FRAMES;
        into.plane[0] = t->bytes;
        memset(t->bytes, 0, BYTES);
        p = plain;
        p.into = &into;
        assert_int_equal(make(&b, &p, &none), MGEN_OK);
        assert_memory_equal(t->bytes, mgen_clip_pixels(wanted), BYTES);
        p = plain;
        p.on_progress = see_step;
        p.on_preview = see_preview;
        p.user = &seen;
        assert_true(gives(&b, &p, wanted));
        assert_true(seen.steps == 3 && seen.total == 3 && seen.previews == 3);
        for (uint32_t threads = 1; threads <= 3; threads += 2) {
            bench other = bench_on(make_context(threads));
            assert_true(gives(&other, &plain, wanted));
            bench_close(&other);
        }
        mgen_clip_destroy(wanted);
    }
    test_free(t);
    bench_close(&b);
}

static void test_sides(void **state)
{
    /* of the clip, and of the request */
    static const uint32_t sides[][5] = {
        {41, 25, 2, 0, 0},  {1, 1, 1, 0, 0},    {64, 64, 3, 0, 0},    {41, 25, 2, 33, 31},
        {24, 16, 2, 64, 1}, {16, 16, 40, 0, 0}, {200, 100, 2, 64, 32}};
    (void)state;
    bench b = bench_on(make_context(2));
    for (size_t i = 0; i < 2 * sizeof sides / sizeof sides[0]; i++) {
        const uint32_t *s = sides[i / 2];
        mgen_generate_params p = i % 2 ? begun() : request();
        p.steps = 1;
        p.width = s[3];
        p.height = s[4];
        mgen_clip_destroy(b.clip);
        b.clip = source(b.ctx, s[0], s[1], s[2]);
        mgen_clip *edited = film(&b, &p);
        assert_shape(edited, s[3] ? s[3] : s[0], s[4] ? s[4] : s[1], s[2]);
        mgen_clip_destroy(edited);
    }
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handle),      cmocka_unit_test(test_old_pipelines),
        cmocka_unit_test(test_old_request), cmocka_unit_test(test_clip),
        cmocka_unit_test(test_parts),       cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_strength),    cmocka_unit_test(test_strength_keeps),
        cmocka_unit_test(test_ways),        cmocka_unit_test(test_sides),
    };
    return cmocka_run_group_tests(tests, setup_editor, teardown);
}
