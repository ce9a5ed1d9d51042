/* SPDX-License-Identifier: MIT
 * Requests of every form, and the parts that a host can put together by itself. */
#include "tiny.h"

#include <math.h>

static mgen_context *open_tiny(mgen_pipeline *pipe)
{
    mgen_context *ctx = make_context(2);
    assert_int_equal(mgen_pipeline_open(ctx, dir, pipe), MGEN_OK);
    return ctx;
}

/* -- where frames go --------------------------------------------------------------------------------- */

typedef struct seen {
    uint64_t next;      /* frame */
    uint32_t pieces;    /* so far */
    uint32_t format;    /* expected */
    uint64_t stop_at;   /* frame; 0 = never */
    uint8_t *data;      /* of all frames, as they came, without gaps */
    size_t frame_bytes; /* of them */
} seen;

static size_t copy_plane(const mgen_frames *f, int plane, uint32_t frame, size_t row_bytes,
                         uint32_t rows, uint8_t *to)
{
    const uint8_t *from = (const uint8_t *)f->plane[plane] + frame * f->frame_stride[plane];
    for (uint32_t y = 0; y < rows; y++)
        memcpy(to + y * row_bytes, from + y * f->row_stride[plane], row_bytes);
    return rows * row_bytes;
}

static int32_t see(void *user, uint64_t first, const mgen_frames *f)
{
    seen *s = user;
    assert_int_equal(first, s->next);
    assert_int_equal(f->format, s->format);
    assert_true(f->count >= 1 && f->width == 64 && f->height == 64);
    for (uint32_t i = 0; i < f->count; i++) {
        uint8_t *to = s->data + (first + i) * s->frame_bytes;
        if (f->format == MGEN_FORMAT_YUV420) {
            to += copy_plane(f, 0, i, 64, 64, to);
            to += copy_plane(f, 1, i, 32, 32, to);
            copy_plane(f, 2, i, 32, 32, to);
        } else {
            size_t each = f->format == MGEN_FORMAT_RGB8 ? 3 : 3 * sizeof(float);
            copy_plane(f, 0, i, 64 * each, 64, to);
        }
    }
    s->next += f->count;
    s->pieces++;
    return s->stop_at && s->next > s->stop_at;
}

/* The same film as a clip, streamed in each format, and written to the caller's memory. */
static void check_frames(mgen_context *ctx, const mgen_pipeline *pipe, uint32_t frames)
{
    static const size_t bytes[] = {64 * 64 * 3, 64 * 64 * 3 * sizeof(float), 64 * 64 * 3 / 2};
    mgen_generate_params p = film_request(frames);
    mgen_clip *clip;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    if (generate(ctx, pipe, &p, &clip) != MGEN_OK)
        fail_msg("%u frames: %s", frames, mgen_last_error(ctx));
    assert_int_equal(mgen_clip_get_info(clip, &info), MGEN_OK);
    assert_int_equal(info.frames, frames);
    const uint8_t *want = mgen_clip_pixels(clip);
    for (uint32_t format = 0; format < 3; format++) {
        seen s = {.format = format, .frame_bytes = bytes[format]};
        s.data = test_malloc(frames * bytes[format]);
        p.frames_format = format;
        p.on_frames = see;
        p.user = &s;
        assert_int_equal(run_job(ctx, pipe, &p), MGEN_OK);
        assert_int_equal(s.next, frames);
        assert_true(frames < 32 || s.pieces > 1);
        for (size_t i = 0; format == MGEN_FORMAT_RGB8 && i < frames * bytes[0]; i++)
            assert_int_equal(s.data[i], want[i]);
        for (size_t i = 0; format == MGEN_FORMAT_RGBF32 && i < frames * bytes[0]; i++) {
            float v = ((const float *)(const void *)s.data)[i];
            assert_true(v >= 0.0f && v <= 1.0f && fabsf(v * 255.0f - want[i]) < 0.51f);
        }
        for (size_t i = 0; format == MGEN_FORMAT_YUV420 && i < frames * (size_t)(64 * 64); i++) {
            size_t frame = i / (64 * 64), at = i % (64 * 64);
            const uint8_t *rgb = want + 3 * i;
            double y = 16 + (65.481 * rgb[0] + 128.553 * rgb[1] + 24.966 * rgb[2]) / 255;
            assert_true(fabs(s.data[frame * bytes[2] + at] - y) < 1.6);
        }
        test_free(s.data);
    }
    /* into the caller's memory, with gaps, which stay as they are */
    enum { ROW = 64 * 3 + 5, FRAME = 64 * ROW + 7 };
    mgen_frames into = MGEN_FRAMES_INIT;
    uint8_t *memory = test_malloc((size_t)frames * FRAME);
    memset(memory, 0xA5, (size_t)frames * FRAME);
    into.width = into.height = 64;
    into.count = frames;
    into.plane[0] = memory;
    into.row_stride[0] = ROW;
    into.frame_stride[0] = FRAME;
    p = film_request(frames);
    p.into = &into;
    assert_int_equal(run_job(ctx, pipe, &p), MGEN_OK);
    for (uint32_t f = 0; f < frames; f++)
        for (uint32_t y = 0; y < 64; y++) {
            const uint8_t *row = memory + (size_t)f * FRAME + y * ROW;
            assert_memory_equal(row, want + (f * 64 + y) * 64 * 3, 64 * 3);
            for (int k = 64 * 3; k < ROW; k++)
                assert_int_equal(row[k], 0xA5);
        }
    test_free(memory);
    mgen_clip_destroy(clip);
}

static void test_frames(void **state)
{
    (void)state;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context *ctx = open_tiny(&pipe);
    check_frames(ctx, &pipe, 32);
    check_frames(ctx, &pipe, 1);
    check_frames(ctx, &pipe, 13);
    check_frames(ctx, &pipe, 75);
    /* a stop in the middle, and what excludes each other */
    seen s = {.frame_bytes = 64 * 64 * 3, .stop_at = 9};
    mgen_generate_params p = film_request(40);
    mgen_frames into = MGEN_FRAMES_INIT;
    mgen_job *job = NULL;
    mgen_clip *clip;
    s.data = test_malloc(40 * s.frame_bytes);
    p.on_frames = see;
    p.user = &s;
    assert_int_equal(mgen_generate_start(ctx, &pipe, &p, &job), MGEN_OK);
    assert_int_equal(mgen_job_wait(job, -1), MGEN_E_CANCELLED);
    assert_int_equal(mgen_last_status(ctx), MGEN_E_CANCELLED);
    assert_int_equal(mgen_job_take_clip(job, &clip), MGEN_E_STATE);
    mgen_job_destroy(job);
    assert_true(s.next >= 9 && s.next < 40);
    s.next = 0;
    s.stop_at = 0;
    assert_int_equal(mgen_generate_start(ctx, &pipe, &p, &job), MGEN_OK);
    assert_int_equal(mgen_job_wait(job, -1), MGEN_OK);
    assert_int_equal(mgen_job_take_clip(job, &clip), MGEN_E_STATE);
    mgen_job_destroy(job);
    p.into = &into;
    assert_int_equal(run_job(ctx, &pipe, &p), MGEN_E_INVALID);
    p.on_frames = NULL;
    assert_int_equal(run_job(ctx, &pipe, &p), MGEN_E_INVALID);
    into.width = into.height = 64;
    into.count = 39;
    into.plane[0] = s.data;
    assert_int_equal(run_job(ctx, &pipe, &p), MGEN_E_INVALID); /* one too few */
    assert_non_null(strstr(mgen_last_error(ctx), "39"));
    p.into = NULL;
    p.frames = 65537;
    assert_int_equal(run_job(ctx, &pipe, &p), MGEN_E_INVALID);
    p.frames = 8;
    p.schedule = 3;
    assert_int_equal(run_job(ctx, &pipe, &p), MGEN_E_INVALID);
    p.schedule = 0;
    p.frames_format = 3;
    assert_int_equal(run_job(ctx, &pipe, &p), MGEN_E_INVALID);
    p.frames_format = 0;
    p.negative_prompt = "\xc0";
    assert_int_equal(run_job(ctx, &pipe, &p), MGEN_E_INVALID);
    test_free(s.data);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

static void test_variations(void **state)
{
    (void)state;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context *ctx = open_tiny(&pipe);
    mgen_clip *clip[5];
    for (int i = 0; i < 5; i++) {
        mgen_generate_params p = film_request(8);
        p.negative_prompt = i == 1 ? "a blue cube" : i == 2 ? "" : i == 4 ? "  " : NULL;
        p.schedule = i == 3 ? MGEN_SCHEDULE_LINEAR : MGEN_SCHEDULE_LINEAR_QUADRATIC;
        assert_int_equal(generate(ctx, &pipe, &p, &clip[i]), MGEN_OK);
    }
    size_t bytes = 8 * 64 * 64 * 3;
    assert_memory_equal(mgen_clip_pixels(clip[0]), mgen_clip_pixels(clip[2]), bytes);
    assert_memory_not_equal(mgen_clip_pixels(clip[0]), mgen_clip_pixels(clip[1]), bytes);
    assert_memory_not_equal(mgen_clip_pixels(clip[0]), mgen_clip_pixels(clip[3]), bytes);
    assert_memory_equal(mgen_clip_pixels(clip[0]), mgen_clip_pixels(clip[4]), bytes);
    for (int i = 0; i < 5; i++)
        mgen_clip_destroy(clip[i]);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* -- solvers and the interval of guidance ------------------------------------------------------------ */

/* Every field has its effect, and its 0 is what was before there was such a field. */
static void test_sampling(void **state)
{
    static const struct {
        uint32_t schedule, solver;
        float from, to;
    } how[] = {{0, 0, 0.0f, 0.0f},
               {0, 0, 0.0f, 1.0f},
               {MGEN_SCHEDULE_LINEAR_QUADRATIC_1000, 0, 0.0f, 0.0f},
               {0, MGEN_SOLVER_MIDPOINT, 0.0f, 0.0f},
               {0, MGEN_SOLVER_DOPRI5, 0.0f, 0.0f},
               {0, 0, 0.0f, 0.05f},
               {0, 0, 0.05f, 0.0f}};
    enum { HOW = sizeof how / sizeof how[0] };
    (void)state;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context *ctx = open_tiny(&pipe);
    mgen_clip *clip[HOW];
    double flops[HOW];
    size_t bytes = 8 * 64 * 64 * 3;
    for (int i = 0; i < HOW; i++) {
        mgen_generate_params p = film_request(8);
        mgen_estimate e = MGEN_ESTIMATE_INIT;
        p.steps = 30;
        p.schedule = how[i].schedule;
        p.solver = how[i].solver;
        p.guidance_from = how[i].from;
        p.guidance_to = how[i].to;
        assert_int_equal(mgen_generate_estimate(ctx, &pipe, &p, &e), MGEN_OK);
        flops[i] = e.flops;
        if (generate(ctx, &pipe, &p, &clip[i]) != MGEN_OK)
            fail_msg("%d: %s", i, mgen_last_error(ctx));
        if (i == 1)
            assert_memory_equal(mgen_clip_pixels(clip[0]), mgen_clip_pixels(clip[1]), bytes);
        else if (i)
            assert_memory_not_equal(mgen_clip_pixels(clip[0]), mgen_clip_pixels(clip[i]), bytes);
    }
    assert_true(flops[1] == flops[0] && flops[2] == flops[0]);
    double euler = flops[3] - flops[0]; /* as much again as Euler's evaluations of the model */
    assert_true(euler > 0.0);
    assert_true(fabs((flops[4] - flops[0]) / euler - (181.0 - 30.0) / 30.0) < 1e-3);
    assert_true(flops[5] < flops[0] && flops[6] < flops[0]);
    for (int i = 0; i < HOW; i++)
        mgen_clip_destroy(clip[i]);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

static void test_sampling_mistakes(void **state)
{
    static const struct {
        uint32_t solver, drop_text;
        float from, to;
        const char *said;
    } wrong[] = {{3, 0, 0.0f, 0.0f, "solver is 3"},   {0, 8, 0.0f, 0.0f, "drop_text is 8"},
                 {0, 1, 0.0f, 0.0f, "one must stay"}, {0, 0, -0.1f, 0.0f, "guidance_from"},
                 {0, 0, 1.1f, 0.0f, "guidance_from"}, {0, 0, 0.0f, 1.1f, "guidance_to"},
                 {0, 0, 0.0f, -0.1f, "guidance_to"},  {0, 0, 0.6f, 0.5f, "0.6"},
                 {0, 0, NAN, 0.0f, "guidance_from"},  {0, 0, 0.0f, NAN, "guidance_to"}};
    (void)state;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context *ctx = open_tiny(&pipe);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        mgen_generate_params p = film_request(8);
        mgen_eval_params v = MGEN_EVAL_PARAMS_INIT;
        mgen_report *report;
        p.solver = wrong[i].solver;
        p.drop_text = wrong[i].drop_text;
        p.guidance_from = wrong[i].from;
        p.guidance_to = wrong[i].to;
        assert_int_equal(run_job(ctx, &pipe, &p), MGEN_E_INVALID);
        assert_non_null(strstr(mgen_last_error(ctx), wrong[i].said));
        v.protocol = "alignment";
        v.solver = wrong[i].solver;
        v.drop_text = wrong[i].drop_text;
        v.guidance_from = wrong[i].from;
        v.guidance_to = wrong[i].to;
        assert_int_equal(mgen_evaluate(ctx, &pipe, &v, &report), MGEN_E_INVALID);
        assert_non_null(strstr(mgen_last_error(ctx), wrong[i].said));
    }
    mgen_generate_params p = film_request(8);
    mgen_eval_params v = MGEN_EVAL_PARAMS_INIT;
    mgen_report *report;
    v.protocol = "alignment";
    v.schedule = 3;
    assert_int_equal(mgen_evaluate(ctx, &pipe, &v, &report), MGEN_E_INVALID);
    p.solver = MGEN_SOLVER_DOPRI5;
    p.steps = 2;
    assert_int_equal(run_job(ctx, &pipe, &p), MGEN_E_NUMERIC);
    assert_non_null(strstr(mgen_last_error(ctx), "DOPRI5"));
    p.solver = MGEN_SOLVER_EULER;
    assert_int_equal(run_job(ctx, &pipe, &p), MGEN_OK);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* -- estimates --------------------------------------------------------------------------------------- */

static void test_estimate(void **state)
{
    static const uint32_t lengths[] = {1, 32, 100, 300};
    (void)state;
    uint64_t bytes[4];
    for (int i = 0; i < 4; i++) {
        mgen_pipeline pipe = MGEN_PIPELINE_INIT;
        mgen_context *ctx = open_tiny(&pipe); /* a fresh one: nothing is kept from before */
        mgen_generate_params p = film_request(lengths[i]);
        mgen_estimate e = MGEN_ESTIMATE_INIT;
        seen s = {.frame_bytes = 64 * 64 * 3};
        uint64_t before, peak;
        s.data = test_malloc(lengths[i] * s.frame_bytes);
        p.on_frames = see;
        p.user = &s;
        assert_int_equal(mgen_generate_estimate(ctx, &pipe, &p, &e), MGEN_OK);
        assert_int_equal(e.frames, lengths[i]);
        assert_int_equal(e.width, 64);
        assert_true(e.flops > 0.0 && e.device_bytes == 0);
        mgen_context_trim(ctx);
        mgen_context_memory(ctx, &before, NULL);
        assert_int_equal(run_job(ctx, &pipe, &p), MGEN_OK);
        mgen_context_memory(ctx, NULL, &peak);
        if (peak - before > e.host_bytes || e.host_bytes > 2 * (peak - before) + (1 << 18))
            fail_msg("%u frames: estimated %llu bytes, used %llu", lengths[i],
                     (unsigned long long)e.host_bytes, (unsigned long long)(peak - before));
        bytes[i] = e.host_bytes;
        test_free(s.data);
        mgen_pipeline_close(&pipe);
        mgen_context_destroy(ctx);
    }
    assert_true(bytes[3] < bytes[2] + bytes[2] / 4); /* flat but for the latents */
}

/* A request over the limit is refused by its estimate: nothing of its size was allocated. */
static void test_limit(void **state)
{
    (void)state;
    mgen_context *ctx;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_estimate e = MGEN_ESTIMATE_INIT;
    mgen_generate_params p = film_request(300);
    seen s = {.frame_bytes = 64 * 64 * 3};
    uint64_t before, peak;
    cp.threads = 1;
    cp.host_memory_max = 24 << 20;
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    assert_int_equal(mgen_generate_estimate(ctx, &pipe, &p, &e), MGEN_OK);
    p.frames = 4000; /* 49 MB as a clip */
    mgen_context_memory(ctx, &before, NULL);
    assert_int_equal(run_job(ctx, &pipe, &p), MGEN_E_LIMIT);
    assert_non_null(strstr(mgen_last_error(ctx), "on_frames"));
    mgen_context_memory(ctx, NULL, &peak);
    assert_true(peak < before + (4 << 20));
    p.frames =
        300; /* streamed, it fits; twice: what the first left does not count against the second */
    s.data = test_malloc(300 * s.frame_bytes);
    p.on_frames = see;
    p.user = &s;
    for (int i = 0; i < 2; i++) {
        s.next = 0;
        if (run_job(ctx, &pipe, &p) != MGEN_OK)
            fail_msg("%s", mgen_last_error(ctx));
    }
    mgen_context_memory(ctx, NULL, &peak);
    assert_true(peak <= cp.host_memory_max);
    test_free(s.data);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* The tiny model with room for frames of 128 x 256, whose decoding is what takes the memory. */
static void make_wide(const char *wide)
{
    static const char *const from = "\"rows_max\": 4, \"columns_max\": 4";
    static const char *const to = "\"rows_max\": 8, \"columns_max\": 16";
    char command[1000], path[400];
    const char *place = strstr(recipe_text, from);
    mgen_trainer *trainer;
    mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
    assert_non_null(place);
    snprintf(command, sizeof command, "mkdir %s && cp %s/tae.* %s", wide, dir, wide);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/recipe.json", wide);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%.*s%s%s", (int)(place - recipe_text), recipe_text, to, place + strlen(from));
    assert_int_equal(fclose(f), 0);
    mgen_context *ctx = make_context(2);
    p.recipe = path;
    p.stage = "video";
    p.dir = wide;
    assert_int_equal(mgen_trainer_create(ctx, &p, &trainer), MGEN_OK);
    assert_int_equal(mgen_trainer_run(trainer, 1), MGEN_OK);
    assert_int_equal(mgen_trainer_save(trainer), MGEN_OK);
    mgen_trainer_destroy(trainer);
    mgen_context_destroy(ctx);
}

enum { WIDE_FRAME = 128 * 256 * 3, WIDE_FRAMES = 20, WIDE_BYTES = WIDE_FRAMES * WIDE_FRAME };

static int32_t see_wide(void *user, uint64_t first, const mgen_frames *f)
{
    seen *s = user;
    assert_int_equal(first, s->next);
    assert_true(f->width == 256 && f->height == 128);
    for (uint32_t i = 0; i < f->count; i++)
        copy_plane(f, 0, i, 256 * 3, 128, s->data + (first + i) * WIDE_FRAME);
    s->next += f->count;
    return 0;
}

static void compare_pixels(const uint8_t *a, const uint8_t *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_true(abs(a[i] - b[i]) <= 1);
}

/* Under a limit that whole frames would break, frames are decoded in tiles, at a price that the estimate tells. */
static void test_tiles(void **state)
{
    (void)state;
    char wide[300];
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_estimate whole = MGEN_ESTIMATE_INIT, tiled = MGEN_ESTIMATE_INIT;
    mgen_generate_params p = film_request(WIDE_FRAMES);
    mgen_context *ctx = make_context(1);
    mgen_frames into = MGEN_FRAMES_INIT;
    uint64_t now, peak;
    seen s = {.data = test_malloc(3 * (size_t)WIDE_BYTES)};
    snprintf(wide, sizeof wide, "%s/wide", dir);
    make_wide(wide);
    assert_int_equal(mgen_pipeline_open(ctx, wide, &pipe), MGEN_OK);
    p.width = into.width = 256;
    p.height = into.height = 128;
    into.count = WIDE_FRAMES;
    into.row_stride[0] = 256 * 3;
    into.frame_stride[0] = WIDE_FRAME;
    into.plane[0] = s.data;
    p.into = &into;
    assert_int_equal(mgen_generate_estimate(ctx, &pipe, &p, &whole), MGEN_OK);
    mgen_context_memory(ctx, &now, NULL);
    assert_int_equal(run_job(ctx, &pipe, &p), MGEN_OK);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    cp.threads = 1;
    cp.host_memory_max = now + whole.host_bytes * 3 / 4;
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    assert_int_equal(mgen_pipeline_open(ctx, wide, &pipe), MGEN_OK);
    for (int way = 0; way < 2;
         way++) { /* into the caller's memory; shown in order when the last tile is done */
        p.into = way ? NULL : &into;
        p.on_frames = way ? see_wide : NULL;
        p.user = &s;
        into.plane[0] = s.data + WIDE_BYTES;
        s.data += way * 2 * (size_t)WIDE_BYTES;
        assert_int_equal(mgen_generate_estimate(ctx, &pipe, &p, &tiled), MGEN_OK);
        assert_true(tiled.host_bytes < whole.host_bytes * 3 / 4 && tiled.flops > whole.flops);
        if (run_job(ctx, &pipe, &p) != MGEN_OK)
            fail_msg("%s", mgen_last_error(ctx));
        s.data -= way * 2 * (size_t)WIDE_BYTES;
        compare_pixels(s.data, s.data + (way + 1) * (size_t)WIDE_BYTES, WIDE_BYTES);
    }
    mgen_context_memory(ctx, NULL, &peak);
    assert_true(s.next == WIDE_FRAMES && peak <= cp.host_memory_max);
    test_free(s.data);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* -- own loops --------------------------------------------------------------------------------------- */

static mgen_latents make_latents(uint32_t frames, uint32_t height, uint32_t width,
                                 uint32_t channels)
{
    mgen_latents z = MGEN_LATENTS_INIT;
    z.frames = frames;
    z.height = height;
    z.width = width;
    z.channels = channels;
    z.data = test_malloc(sizeof(float) * frames * height * width * channels);
    return z;
}

static mgen_text make_text(uint32_t tokens, uint32_t width)
{
    mgen_text t = MGEN_TEXT_INIT;
    t.tokens = tokens;
    t.width = width;
    t.data = test_malloc(sizeof(float) * tokens * width);
    return t;
}

typedef struct previews {
    uint32_t count;
    float last[4 * 8 * 8 * 4];
} previews;

static int32_t preview(void *user, uint32_t step, const mgen_latents *z)
{
    previews *p = user;
    assert_int_equal(step, p->count);
    assert_int_equal(z->frames * z->height * z->width * z->channels, 4 * 8 * 8 * 4);
    memcpy(p->last, z->data, sizeof p->last);
    p->count++;
    return 0;
}

/* Noise, schedule, text, velocity and decoder, put together by hand, give the film of a request. */
static void test_own_loop(void **state)
{
    (void)state;
    enum { STEPS = 3 };
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context *ctx = open_tiny(&pipe);
    mgen_generate_params p = film_request(32);
    mgen_clip *clip;
    previews seen_latents = {0};
    float times[STEPS + 1];
    p.steps = STEPS;
    p.guidance = 3.0f;
    p.noise_scale = 0.5f;
    p.on_preview = preview;
    p.user = &seen_latents;
    assert_int_equal(generate(ctx, &pipe, &p, &clip), MGEN_OK);
    assert_int_equal(seen_latents.count, STEPS);

    mgen_model_info tae = MGEN_MODEL_INFO_INIT, text = MGEN_MODEL_INFO_INIT;
    assert_int_equal(mgen_tae_get_info(pipe.tae, &tae), MGEN_OK);
    assert_int_equal(mgen_text_encoder_get_info(pipe.text[0], &text), MGEN_OK);
    assert_int_equal(tae.spatial_factor, 8);
    assert_int_equal(tae.temporal_factor, 8);
    assert_true(text.text_width == 16 && text.text_tokens == 64);
    mgen_text said = make_text(64, 16), nothing = make_text(64, 16);
    assert_int_equal(mgen_text_encode(ctx, pipe.text[0], p.prompt, &said), MGEN_OK);
    assert_int_equal(said.tokens, strlen(p.prompt) + 1);
    assert_int_equal(mgen_text_encode(ctx, pipe.text[0], "", &nothing), MGEN_OK);
    assert_int_equal(nothing.tokens, 1);

    mgen_latents x = make_latents(4, 8, 8, tae.channels), u = make_latents(4, 8, 8, tae.channels),
                 v = make_latents(4, 8, 8, tae.channels);
    size_t count = 4 * 8 * 8 * tae.channels;
    assert_int_equal(mgen_noise(ctx, p.seed, &x), MGEN_OK);
    assert_int_equal(mgen_schedule(MGEN_SCHEDULE_LINEAR_QUADRATIC, STEPS, times), MGEN_OK);
    assert_true(times[0] == 0.0f && times[STEPS] == 1.0f);
    for (size_t i = 0; i < count; i++)
        x.data[i] *= p.noise_scale;
    const mgen_text *with[3] = {&said}, *without[3] = {&nothing};
    for (int step = 0; step < STEPS; step++) {
        assert_int_equal(mgen_video_velocity(ctx, pipe.video, &x, times[step], with, &u), MGEN_OK);
        assert_int_equal(mgen_video_velocity(ctx, pipe.video, &x, times[step], without, &v),
                         MGEN_OK);
        for (size_t i = 0; i < count; i++)
            x.data[i] += (times[step + 1] - times[step]) *
                         (v.data[i] + p.guidance * (u.data[i] - v.data[i]));
    }
    for (size_t i = 0; i < count; i++)
        assert_true(fabsf(x.data[i] - seen_latents.last[i]) < 1e-3f);
    mgen_frames frames = MGEN_FRAMES_INIT;
    uint8_t *pixels = test_malloc(TINY_BYTES);
    frames.width = frames.height = 64;
    frames.count = 32;
    frames.plane[0] = pixels;
    assert_int_equal(mgen_tae_decode(ctx, pipe.tae, &x, &frames), MGEN_OK);
    for (int i = 0; i < TINY_BYTES; i++)
        assert_true(abs(pixels[i] - mgen_clip_pixels(clip)[i]) <= 1);
    test_free(pixels);
    test_free(x.data);
    test_free(u.data);
    test_free(v.data);
    test_free(said.data);
    test_free(nothing.data);
    mgen_clip_destroy(clip);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* Encoding frames of any format gives the same latents; lengths need not be multiples of 8. */
static void test_codec(void **state)
{
    (void)state;
    enum { FRAMES = 21, PIXELS = FRAMES * 64 * 64 * 3 };
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context *ctx = open_tiny(&pipe);
    mgen_frames bytes = MGEN_FRAMES_INIT, floats = MGEN_FRAMES_INIT;
    mgen_latents a = make_latents(3, 8, 8, 4), b = make_latents(3, 8, 8, 4);
    uint8_t *u8 = test_malloc(PIXELS);
    float *f32 = test_malloc(PIXELS * sizeof(float));
    for (int i = 0; i < PIXELS; i++) {
        u8[i] = (uint8_t)(i * 7 + i / 64);
        f32[i] = (float)u8[i] / 255.0f;
    }
    bytes.width = bytes.height = 64;
    bytes.count = FRAMES;
    floats = bytes;
    bytes.plane[0] = u8;
    floats.plane[0] = f32;
    floats.format = MGEN_FORMAT_RGBF32;
    assert_int_equal(mgen_tae_encode(ctx, pipe.tae, &bytes, &a), MGEN_OK);
    assert_int_equal(mgen_tae_encode(ctx, pipe.tae, &floats, &b), MGEN_OK);
    for (int i = 0; i < 3 * 8 * 8 * 4; i++)
        assert_true(isfinite(a.data[i]) && fabsf(a.data[i] - b.data[i]) < 1e-3f);
    assert_int_equal(mgen_tae_decode(ctx, pipe.tae, &a, &bytes), MGEN_OK);
    uint8_t *few = test_malloc(2 * 64 * 64 * 3); /* the first frames of what was decoded */
    floats = bytes;
    floats.count = 2;
    floats.plane[0] = few;
    assert_int_equal(mgen_tae_decode(ctx, pipe.tae, &a, &floats), MGEN_OK);
    assert_memory_equal(few, u8, 2 * 64 * 64 * 3);
    test_free(few);
    bytes.count = 25; /* more than 3 latent frames hold */
    assert_int_equal(mgen_tae_encode(ctx, pipe.tae, &bytes, &a), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "4"));
    assert_int_equal(mgen_tae_decode(ctx, pipe.tae, &a, &bytes), MGEN_E_INVALID);
    bytes.count = FRAMES;
    bytes.width = 60;
    assert_int_equal(mgen_tae_encode(ctx, pipe.tae, &bytes, &a), MGEN_E_INVALID);
    bytes.width = 64;
    bytes.plane[0] = NULL;
    assert_int_equal(mgen_tae_encode(ctx, pipe.tae, &bytes, &a), MGEN_E_INVALID);
    test_free(a.data);
    test_free(b.data);
    test_free(u8);
    test_free(f32);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

/* A film that fails after its first pieces: the caller's latents are what they were. */
static void test_encode_fails(void **state)
{
    (void)state;
    enum { FRAMES = 200, VALUES = FRAMES / 8 * 8 * 8 * 4 };
    counter c = {0};
    mgen_context *ctx = counted_context(&c);
    mgen_tae *tae;
    mgen_frames film = MGEN_FRAMES_INIT;
    mgen_latents x = make_latents(FRAMES / 8, 8, 8, 4);
    assert_int_equal(mgen_tae_open(ctx, dir, "tae", &tae), MGEN_OK);
    film.width = film.height = 64;
    film.count = FRAMES;
    film.plane[0] = test_malloc(FRAMES * 64 * 64 * 3);
    memset(film.plane[0], 60, FRAMES * 64 * 64 * 3);
    mgen_context_trim(ctx);
    set_failure(&c, 0, false);
    assert_int_equal(mgen_tae_encode(ctx, tae, &film, &x), MGEN_OK);
    const int64_t made = atomic_load(&c.made);
    for (int64_t k = made / 2; k < made; k += made / 8) {
        for (int i = 0; i < VALUES; i++)
            x.data[i] = -77.0f;
        mgen_context_trim(ctx);
        set_failure(&c, k, true);
        assert_int_equal(mgen_tae_encode(ctx, tae, &film, &x), MGEN_E_NO_MEMORY);
        set_failure(&c, 0, false);
        for (int i = 0; i < VALUES; i++)
            assert_true(x.data[i] == -77.0f);
    }
    test_free(film.plane[0]);
    test_free(x.data);
    mgen_tae_release(tae);
    mgen_context_destroy(ctx);
    assert_int_equal(atomic_load(&c.blocks), 0);
}

static void test_parts_refuse(void **state)
{
    (void)state;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_context *ctx = open_tiny(&pipe);
    mgen_text text = make_text(64, 16);
    mgen_latents x = make_latents(4, 8, 8, 4), y = make_latents(4, 8, 8, 4);
    const mgen_text *roles[3] = {&text}, *none[3] = {NULL};
    float times[4];
    text.tokens = 3;
    assert_int_equal(mgen_text_encode(ctx, pipe.text[0], "a ball", &text), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "7"));
    text.tokens = 64;
    text.width = 15;
    assert_int_equal(mgen_text_encode(ctx, pipe.text[0], "a ball", &text), MGEN_E_INVALID);
    text.width = 16;
    assert_int_equal(mgen_text_encode(ctx, pipe.text[0], "\xff", &text), MGEN_E_INVALID);
    assert_int_equal(mgen_text_encode(ctx, NULL, "a", &text), MGEN_E_INVALID);
    assert_int_equal(mgen_text_encode(ctx, pipe.text[0], NULL, &text), MGEN_E_INVALID);
    assert_int_equal(mgen_text_encode(ctx, pipe.text[0], "a ball", &text), MGEN_OK);
    assert_int_equal(mgen_noise(ctx, 1, &x), MGEN_OK);
    assert_int_equal(mgen_video_velocity(ctx, pipe.video, &x, 0.5f, roles, &y), MGEN_OK);
    assert_int_equal(mgen_video_velocity(ctx, pipe.video, &x, 0.5f, roles, &x), MGEN_OK);
    assert_memory_equal(x.data, y.data, 4 * 8 * 8 * 4 * sizeof(float)); /* in place */
    assert_int_equal(mgen_video_velocity(ctx, pipe.video, &x, 1.5f, roles, &y), MGEN_E_INVALID);
    assert_int_equal(mgen_video_velocity(ctx, pipe.video, &x, 0.5f, none, &y), MGEN_E_INVALID);
    y.height = 6;
    assert_int_equal(mgen_video_velocity(ctx, pipe.video, &x, 0.5f, roles, &y), MGEN_E_INVALID);
    x.height = y.height = 7; /* not a multiple of the patch */
    assert_int_equal(mgen_video_velocity(ctx, pipe.video, &x, 0.5f, roles, &y), MGEN_E_UNSUPPORTED);
    x.height = y.height = 8;
    x.channels = y.channels = 2;
    assert_int_equal(mgen_video_velocity(ctx, pipe.video, &x, 0.5f, roles, &y), MGEN_E_INVALID);
    x.channels = 0;
    assert_int_equal(mgen_noise(ctx, 1, &x), MGEN_E_INVALID);
    assert_int_equal(mgen_schedule(0, 0, times), MGEN_E_INVALID);
    assert_int_equal(mgen_schedule(3, 3, times), MGEN_E_INVALID);
    assert_int_equal(mgen_schedule(1, 3, NULL), MGEN_E_INVALID);
    assert_int_equal(mgen_schedule(MGEN_SCHEDULE_LINEAR, 3, times), MGEN_OK);
    assert_true(fabsf(times[1] - 1.0f / 3.0f) < 1e-6f);
    test_free(text.data);
    test_free(x.data);
    test_free(y.data);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),       cmocka_unit_test(test_variations),
        cmocka_unit_test(test_sampling),     cmocka_unit_test(test_sampling_mistakes),
        cmocka_unit_test(test_estimate),     cmocka_unit_test(test_limit),
        cmocka_unit_test(test_tiles),        cmocka_unit_test(test_own_loop),
        cmocka_unit_test(test_codec),        cmocka_unit_test(test_encode_fails),
        cmocka_unit_test(test_parts_refuse),
    };
    return cmocka_run_group_tests(tests, setup_trained, teardown);
}
