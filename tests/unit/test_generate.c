/* SPDX-License-Identifier: MIT
 * A request from prompt to frames, and each network by itself: windows, callbacks, memory, sizes. */
#include "core/alloc.h"
#include "core/philox.h"
#include "flow/windows.h"
#include "host_frames.h"
#include "random_values.h"
#include "task/generate.h"
#include "tiny_networks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shipped_model.h"

static const mgi_tae_config tae_config = {TINY_TAE};
static const mgi_text_config text_config = {.t5 = {TINY_T5, .tokens_max = 40}};
static const mgi_vt_config vt_config = {TINY_VT, .frames_max = 4, .rows_max = 3, .columns_max = 2};

/* A pipeline of small random networks for clips of 32 x 16 x 32 frames. */
typedef struct world {
    mgen_context *ctx;
    mgi_tae tae;
    mgi_text_encoder text;
    mgi_vt video;
    mgi_networks n;
} world;

static void world_make(world *w, bool still)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 2;
    assert_int_equal(mgen_context_create(&params, &w->ctx), MGEN_OK);
    assert_int_equal(mgi_tae_init(&w->tae, w->ctx, &tae_config), MGEN_OK);
    assert_int_equal(mgi_text_encoder_init(&w->text, w->ctx, NULL, &text_config, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&w->video, w->ctx, &vt_config), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->tae.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->text.t5.module, 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&w->video, 1), MGEN_OK); /* its head is 0: nothing moves */
    randomise(&w->tae.module, 0.05f);
    if (!still)
        randomise(&w->video.module, 0.1f);
    w->n = (mgi_networks){&w->tae, {&w->text}, &w->video, {32, 16, 32, 16}};
    assert_int_equal(mgi_networks_check(w->ctx, &w->n), MGEN_OK);
}

static void world_free(world *w)
{
    mgi_tae_finish(&w->tae);
    mgi_text_encoder_finish(&w->text);
    mgi_vt_finish(&w->video);
    mgen_context_destroy(w->ctx);
}

/* What the callbacks saw. */
typedef struct seen {
    int64_t frames, pieces, frame_size, most_a_piece;
    float *rgb; /* all frames, or NULL */
    int steps, previews, stop_progress, stop_preview;
    bool shares; /* DOPRI5: numbers come again or are left out */
    mgen_status answer;
    float *latents; /* of the last preview */
    int64_t dims[4];
} seen;

static mgen_status take(void *user, const mgi_frames_box *box, float *rgb)
{
    seen *s = user;
    int64_t first = box->first, count = box->count;
    assert_int_equal(first, s->frames);
    assert_true(box->last && box->top == 0 && box->left == 0);
    assert_true(count > 0);
    if (s->rgb)
        memcpy(s->rgb + first * s->frame_size, rgb,
               (size_t)(count * s->frame_size) * sizeof(float));
    s->frames += count;
    s->pieces++;
    s->most_a_piece = count > s->most_a_piece ? count : s->most_a_piece;
    return s->answer;
}

static bool progress(void *user, int done, int total)
{
    seen *s = user;
    assert_true(s->shares ? done >= 1 && done >= s->steps : done == s->steps + 1);
    assert_true(done <= total);
    s->steps = done;
    return s->stop_progress == done;
}

static bool preview(void *user, int done, const float *latents, const int64_t dims[4])
{
    seen *s = user;
    size_t bytes = (size_t)(dims[0] * dims[1] * dims[2] * dims[3]) * sizeof(float);
    assert_true(s->shares ? done >= s->previews : done == s->previews + 1);
    s->previews = done;
    if (!s->latents)
        s->latents = test_malloc(bytes);
    memcpy(s->latents, latents, bytes);
    memcpy(s->dims, dims, sizeof s->dims);
    return s->stop_preview == done;
}

static const char *const one_prompt[] = {"a red ball"};
static const uint64_t one_seed[] = {7};

static mgi_generate_request request(seen *s, int64_t frames)
{
    return (mgi_generate_request){.prompts = one_prompt,
                                  .count = 1,
                                  .seeds = one_seed,
                                  .steps = 3,
                                  .guidance = 4.0f,
                                  .frames = frames,
                                  .progress = progress,
                                  .preview = preview,
                                  .sink = take,
                                  .user = s};
}

/* -- the request ------------------------------------------------------------------------------- */

/* All frames in order; the last preview is what is decoded. */
static void test_frames(void **state)
{
    static const int64_t lengths[] = {1, 8, 9, 32, 33, 100};
    (void)state;
    world w;
    world_make(&w, false);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        int64_t size = 32 * 16 * 3;
        seen s = {.frame_size = size}, d = {.frame_size = size};
        size_t bytes = (size_t)(lengths[i] * size) * sizeof(float);
        s.rgb = test_malloc(bytes);
        d.rgb = test_malloc(bytes);
        mgi_generate_request r = request(&s, lengths[i]);
        assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_OK);
        assert_int_equal(s.frames, lengths[i]);
        assert_int_equal(s.steps, 3);
        assert_int_equal(s.previews, 3);
        assert_int_equal(s.dims[0], (lengths[i] + 7) / 8);
        assert_true(s.dims[1] == 2 && s.dims[2] == 4 && s.dims[3] == 3);
        assert_true(s.most_a_piece <= 8);
        assert_int_equal(mgi_decode_film(w.ctx, &w.tae, s.latents, s.dims, lengths[i], 0, take, &d),
                         MGEN_OK);
        assert_int_equal(d.frames, lengths[i]);
        assert_memory_equal(s.rgb, d.rgb, bytes);
        test_free(s.rgb);
        test_free(d.rgb);
        test_free(s.latents);
    }
    world_free(&w);
}

/* Each frame's noise is the same however long the clip is. */
static void test_noise(void **state)
{
    (void)state;
    world w;
    world_make(&w, true);
    seen a = {0}, b = {0};
    mgi_generate_request r = request(&a, 32);
    assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_OK);
    r = request(&b, 250);
    assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_OK);
    int64_t frame = 2 * 4 * 3;
    assert_int_equal(b.dims[0], 32);
    assert_memory_equal(a.latents, b.latents, (size_t)(4 * frame) * sizeof(float));
    assert_memory_not_equal(b.latents, b.latents + 4 * frame, (size_t)frame * sizeof(float));
    test_free(a.latents);
    test_free(b.latents);
    world_free(&w);
}

/* One step from noise: noise plus the windows' velocities, each by its share. */
static void test_windows(void **state)
{
    (void)state;
    enum { LATENTS = 9, FRAME = 2 * 4 * 3, TOKENS = 11 };
    world w;
    float text[TOKENS * 24], want[LATENTS * FRAME], u[4 * FRAME];
    int64_t tokens;
    const int64_t dims[4] = {4, 2, 4, 3};
    world_make(&w, true);
    seen noise = {0}, moved = {0};
    mgi_generate_request r = request(&noise, 8 * LATENTS);
    r.steps = 1;
    assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_OK);
    world_free(&w);
    world_make(&w, false);
    r = request(&moved, 8 * LATENTS);
    r.steps = 1;
    r.guidance = 1.0f;
    assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_OK);

    assert_int_equal(mgi_text_tokens(w.ctx, &w.text, one_prompt[0], &tokens), MGEN_OK);
    assert_int_equal(tokens, TOKENS);
    assert_int_equal(mgi_text_encode(w.ctx, &w.text, one_prompt[0], TOKENS, text), MGEN_OK);
    memcpy(want, noise.latents, sizeof want);
    mgi_windows windows = mgi_windows_make(LATENTS, 4, 2);
    assert_int_equal(windows.count, 4);
    for (int64_t k = 0; k < windows.count; k++) {
        int64_t first = mgi_window_first(&windows, k);
        assert_int_equal(mgi_velocity(w.ctx, &w.video, noise.latents + first * FRAME, dims, 0.0f,
                                      (mgi_host_text[3]){{text, TOKENS}}, u),
                         MGEN_OK);
        for (int64_t i = 0; i < 4 * FRAME; i++)
            want[first * FRAME + i] += mgi_window_share(&windows, k, first + i / FRAME) * u[i];
    }
    float apart = 0.0f, far = 0.0f;
    for (int i = 0; i < LATENTS * FRAME; i++) {
        apart = fmaxf(apart, fabsf(moved.latents[i] - want[i]));
        far = fmaxf(far, fabsf(moved.latents[i] - noise.latents[i]));
    }
    assert_true(far > 0.1f);
    assert_true(apart < 1e-5f);
    test_free(noise.latents);
    test_free(moved.latents);
    world_free(&w);
}

/* A model whose captions begin with the frame rate gets it before a prompt that does not say it, but not for a
 * picture. */
static void test_rate(void **state)
{
    static const char *const plain[1] = {"a red ball"}, *const said[1] = {"FPS-16 a red ball"};
    world w;
    seen s[4] = {{0}};
    (void)state;
    world_make(&w, false);
    w.video.config.fps_prefix = true;
    for (int i = 0; i < 4; i++) {
        mgi_generate_request r = request(&s[i], i < 2 ? 8 : 1);
        r.prompts = i % 2 ? said : plain;
        assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_OK);
    }
    const size_t size = 2 * 4 * 3 * sizeof(float);
    assert_memory_equal(s[0].latents, s[1].latents, size);
    assert_memory_not_equal(s[2].latents, s[3].latents, size);
    for (int i = 0; i < 4; i++)
        test_free(s[i].latents);
    world_free(&w);
}

static void test_negative_prompt(void **state)
{
    (void)state;
    world w;
    seen s[4] = {{0}};
    static const char *const negatives[4][1] = {{NULL}, {NULL}, {""}, {"a cube"}};
    world_make(&w, false);
    for (int i = 0; i < 4; i++) {
        mgi_generate_request r = request(&s[i], 8);
        r.negatives = i ? negatives[i] : NULL;
        assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_OK);
    }
    size_t bytes = 2 * 4 * 3 * sizeof(float);
    assert_memory_equal(s[0].latents, s[1].latents, bytes);
    assert_memory_equal(s[0].latents, s[2].latents, bytes);
    assert_memory_not_equal(s[0].latents, s[3].latents, bytes);
    seen linear = {0};
    mgi_generate_request r = request(&linear, 8);
    r.schedule = MGI_SCHEDULE_LINEAR;
    assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_OK);
    assert_memory_not_equal(s[0].latents, linear.latents, bytes);
    for (int i = 0; i < 4; i++)
        test_free(s[i].latents);
    test_free(linear.latents);
    world_free(&w);
}

/* Two clips together are the two made apart, one behind the other. */
static void test_batch(void **state)
{
    (void)state;
    enum { SIZE = 32 * 16 * 3, FRAMES = 40 };
    static const char *const prompts[] = {"a red ball", "a blue b"};
    static const uint64_t seeds[] = {7, 8};
    world w;
    world_make(&w, false);
    float *all = test_malloc(2 * FRAMES * SIZE * sizeof(float));
    float *one = test_malloc(FRAMES * SIZE * sizeof(float));
    seen s = {.frame_size = SIZE, .rgb = all};
    mgi_generate_request r = request(&s, FRAMES);
    r.prompts = prompts;
    r.seeds = seeds;
    r.count = 2;
    assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_OK);
    assert_int_equal(s.frames, 2 * FRAMES);
    for (int i = 0; i < 2; i++) {
        seen t = {.frame_size = SIZE, .rgb = one};
        r = request(&t, FRAMES);
        r.prompts = prompts + i;
        r.seeds = seeds + i;
        assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_OK);
        for (int k = 0; k < FRAMES * SIZE; k++) /* padding is masked: the same but for rounding */
            assert_float_equal(one[k], all[i * FRAMES * SIZE + k], 1e-3f);
        test_free(t.latents);
    }
    test_free(s.latents);
    test_free(all);
    test_free(one);
    world_free(&w);
}

static void test_stopping(void **state)
{
    (void)state;
    world w;
    world_make(&w, false);
    uint64_t before = w.ctx->device->counts.now[MGI_MEM_ACTIVATION];
    seen s = {.stop_progress = 2};
    mgi_generate_request r = request(&s, 16);
    assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_E_CANCELLED);
    assert_true(s.steps == 2 && s.frames == 0);
    assert_non_null(strstr(mgen_last_error(w.ctx), "step 2 of 3"));
    test_free(s.latents);
    s = (seen){.stop_preview = 1};
    assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_E_CANCELLED);
    assert_true(s.steps == 0 && s.previews == 1 && s.frames == 0);
    test_free(s.latents);
    s = (seen){.answer = MGEN_E_IO};
    r = request(&s, 200);
    assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_E_IO);
    assert_true(s.pieces == 1 && s.frames < 16);
    test_free(s.latents);
    assert_int_equal(w.ctx->device->counts.now[MGI_MEM_ACTIVATION], before);
    /* damaged weights are noticed */
    mgi_f32(w.video.head->value)[0] = NAN;
    s = (seen){0};
    r = request(&s, 16);
    assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_E_NUMERIC);
    assert_int_equal(s.frames, 0);
    test_free(s.latents);
    world_free(&w);
}

static void test_sizes(void **state)
{
    static const struct {
        int64_t width, height, frames;
        mgen_status status;
    } cases[] = {{0, 0, 0, MGEN_OK},
                 {16, 48, 8, MGEN_OK},
                 {32, 32, 70, MGEN_OK},
                 {48, 16, 8, MGEN_E_UNSUPPORTED},
                 {16, 64, 8, MGEN_E_UNSUPPORTED},
                 {24, 16, 8, MGEN_E_UNSUPPORTED},
                 {-16, 16, 8, MGEN_E_UNSUPPORTED},
                 {16, 16, -1, MGEN_E_INVALID},
                 {16, 16, INT64_MAX, MGEN_E_INVALID}};
    (void)state;
    world w;
    world_make(&w, false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        seen s = {0};
        mgi_generate_request r = request(&s, cases[i].frames);
        r.width = cases[i].width;
        r.height = cases[i].height;
        assert_int_equal(mgi_generate(w.ctx, &w.n, &r), cases[i].status);
        if (cases[i].status == MGEN_OK)
            assert_int_equal(s.frames, cases[i].frames ? cases[i].frames : 32);
        if (cases[i].status == MGEN_E_UNSUPPORTED)
            assert_non_null(strstr(mgen_last_error(w.ctx), "a multiple of 16 up to 48"));
        test_free(s.latents);
    }
    world_free(&w);
}

/* -- solvers and the interval of guidance ------------------------------------------------------ */

/* The latents that a small model makes, and the work that it took. */
static float *solved(world *w, mgi_generate_request how, seen *s, double *flops)
{
    *s = (seen){.shares = how.solver == MGI_SOLVER_DOPRI5};
    mgi_generate_request r = request(s, 8);
    r.steps = how.steps;
    r.schedule = MGI_SCHEDULE_LINEAR;
    r.solver = how.solver;
    double before = w->ctx->device->counts.flops;
    assert_int_equal(mgi_generate(w->ctx, &w->n, &r), MGEN_OK);
    *flops = w->ctx->device->counts.flops - before;
    return s->latents;
}

static double distance(const float *a, const float *b, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    return sqrt(sum / (double)n);
}

/* All lead to where 1000 steps of midpoint do: with twice the steps Euler is twice as near and midpoint at least four times
 * (as what it is compared with is no nearer), which is nearer at the same price. A small model without training is steep:
 * DOPRI5 is as near as its tolerance lets it be, 1e-3 a step. */
static void test_solvers(void **state)
{
    enum { EULER, EULER_MORE, MIDPOINT, MIDPOINT_MORE, DOPRI5, WAYS };
    static const mgi_generate_request how[WAYS] = {{.steps = 500},
                                                   {.steps = 1000},
                                                   {.steps = 250, .solver = MGI_SOLVER_MIDPOINT},
                                                   {.steps = 500, .solver = MGI_SOLVER_MIDPOINT},
                                                   {.steps = 50, .solver = MGI_SOLVER_DOPRI5}};
    (void)state;
    world w;
    world_make(&w, false);
    seen s;
    double far[WAYS], flops[WAYS], of_true;
    float *z = solved(&w, (mgi_generate_request){.steps = 1000, .solver = MGI_SOLVER_MIDPOINT}, &s,
                      &of_true);
    int64_t count = s.dims[0] * s.dims[1] * s.dims[2] * s.dims[3];
    for (int i = 0; i < WAYS; i++) {
        float *other = solved(&w, how[i], &s, &flops[i]);
        far[i] = distance(z, other, count);
        test_free(other);
    }
    const double euler = far[EULER] / far[EULER_MORE],
                 midpoint = far[MIDPOINT] / far[MIDPOINT_MORE];
    if (!(euler > 1.8 && euler < 2.4 && midpoint > 3.5 && midpoint < 10.0 &&
          far[MIDPOINT] < far[EULER] && far[EULER] < 0.01 && far[DOPRI5] < 0.1))
        fail_msg("from 1000 steps of midpoint: Euler %g, %g, midpoint %g, %g, DOPRI5 %g",
                 far[EULER], far[EULER_MORE], far[MIDPOINT], far[MIDPOINT_MORE], far[DOPRI5]);
    assert_true(fabs(flops[MIDPOINT] / flops[EULER] - 1.0) < 1e-6);
    test_free(z);
    world_free(&w);
}

static void test_stopping_solvers(void **state)
{
    (void)state;
    world w;
    world_make(&w, false);
    uint64_t before = w.ctx->device->counts.now[MGI_MEM_ACTIVATION];
    for (int solver = MGI_SOLVER_EULER; solver <= MGI_SOLVER_DOPRI5; solver++)
        for (int i = 0; i < 2; i++) {
            seen s = {.shares = solver == MGI_SOLVER_DOPRI5};
            s.stop_progress = i ? 0 : 1;
            s.stop_preview = i ? 1 : 0;
            mgi_generate_request r = request(&s, 80);
            r.solver = solver;
            r.steps = 20;
            assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_E_CANCELLED);
            assert_true(s.steps == 1 - i && s.previews == 1 && s.frames == 0);
            assert_int_equal(w.ctx->device->counts.now[MGI_MEM_ACTIVATION], before);
            test_free(s.latents);
        }
    world_free(&w);
}

/* Where a request asks for none it is the model's; where that has none, 7.5. */
static void test_own_guidance(void **state)
{
    static const float own[] = {0.0f, 0.0f, 2.0f, 9.0f}, asked[] = {7.5f, 0.0f, 0.0f, 2.0f};
    (void)state;
    world w;
    seen s[4];
    world_make(&w, false);
    for (int i = 0; i < 4; i++) {
        s[i] = (seen){0};
        mgi_generate_request r = request(&s[i], 8);
        w.video.config.guidance = own[i];
        r.guidance = asked[i];
        assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_OK);
    }
    size_t size = sizeof(float) * 2 * 4 * 3; /* of one latent frame */
    assert_memory_equal(s[0].latents, s[1].latents, size);
    assert_memory_equal(s[2].latents, s[3].latents, size);
    assert_memory_not_equal(s[0].latents, s[2].latents, size);
    for (int i = 0; i < 4; i++)
        test_free(s[i].latents);
    world_free(&w);
}

/* Guidance at all times is what no interval means; at none, nearly what no guidance does. */
static void test_guidance_interval(void **state)
{
    static const struct {
        float guidance, from, to;
    } cases[] = {{4.0f, 0.0f, 0.0f},
                 {4.0f, 0.0f, 1.0f},
                 {1.0f, 0.0f, 0.0f},
                 {4.0f, 0.9f, 0.95f},
                 {4.0f, 0.2f, 0.0f}};
    enum { CASES = sizeof cases / sizeof cases[0] };
    (void)state;
    world w;
    world_make(&w, false);
    for (int frames = 32; frames <= 80; frames += 48)
        for (int solver = MGI_SOLVER_EULER; solver <= MGI_SOLVER_DOPRI5; solver++) {
            seen s[CASES];
            double flops[CASES];
            for (int i = 0; i < CASES; i++) {
                s[i] = (seen){.shares = solver == MGI_SOLVER_DOPRI5};
                mgi_generate_request r = request(&s[i], frames);
                r.schedule = MGI_SCHEDULE_LINEAR;
                r.steps = solver == MGI_SOLVER_DOPRI5 ? 40 : 4;
                r.solver = solver;
                r.guidance = cases[i].guidance;
                r.guidance_from = cases[i].from;
                r.guidance_to = cases[i].to;
                double before = w.ctx->device->counts.flops;
                assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_OK);
                flops[i] = w.ctx->device->counts.flops - before;
            }
            int64_t count = frames / 8 * 2 * 4 * 3;
            assert_memory_equal(s[0].latents, s[1].latents, (size_t)count * sizeof(float));
            assert_true(distance(s[0].latents, s[2].latents, count) > 1e-3);
            if (solver != MGI_SOLVER_DOPRI5) /* the text is padded with the empty one's */
                assert_true(distance(s[2].latents, s[3].latents, count) < 1e-4);
            assert_true(distance(s[4].latents, s[0].latents, count) > 1e-4);
            assert_true(distance(s[4].latents, s[2].latents, count) > 1e-4);
            if (solver != MGI_SOLVER_DOPRI5)
                assert_true(flops[3] < flops[4] && flops[4] < flops[0]);
            for (int i = 0; i < CASES; i++)
                test_free(s[i].latents);
        }
    world_free(&w);
}

/* -- the networks by themselves ---------------------------------------------------------------- */

static void test_codec(void **state)
{
    (void)state;
    enum { FRAMES = 21, H = 16, W = 24, SIZE = H * W * 3, LATENTS = 3 * 2 * 3 * 3 };
    world w;
    world_make(&w, false);
    uint8_t *bytes = test_malloc(FRAMES * SIZE);
    float latents[2][LATENTS], shift[3], scale[3];
    const int64_t film[3] = {FRAMES, H, W};
    int64_t dims[4];
    mgi_run run;
    for (int i = 0; i < FRAMES * SIZE; i++)
        bytes[i] = (uint8_t)(255.99f * mgi_random_unit(1, 2, (uint64_t)i));
    for (int c = 0; c < 3; c++) {
        shift[c] = mgi_f32(w.tae.latent_shift->value)[c] = 0.3f * (float)c;
        scale[c] = mgi_f32(w.tae.latent_scale->value)[c] = 1.5f + (float)c;
    }
    assert_int_equal(mgi_latent_dims(w.ctx, &w.tae, film, dims), MGEN_OK);
    assert_true(dims[0] == 3 && dims[1] == 2 && dims[2] == 3 && dims[3] == 3);
    host_frames frames = {.bytes = bytes, .size = SIZE};
    assert_int_equal(mgi_encode_film(w.ctx, &w.tae, film, 0, host_frames_read, &frames, latents[0]),
                     MGEN_OK);
    /* against the whole film at once */
    mgi_run_init(&run, w.ctx, false);
    T *u8 = mgi_new(&run, MGK_U8, MGI_DIMS(1, FRAMES, H, W, 3));
    memcpy(mgi_data(u8), bytes, FRAMES * SIZE);
    T *x = mgi_convert(&run, u8, MGK_F32, 1.0f / 127.5f, -1.0f);
    T *z = mgi_posterior(&run, mgi_tae_encode(&run, &w.tae, x), NULL, 0.0f, NULL);
    assert_non_null(z);
    assert_int_equal(z->count, LATENTS);
    for (int i = 0; i < LATENTS; i++)
        assert_float_equal(latents[0][i], (mgi_f32(z)[i] - shift[i % 3]) * scale[i % 3], 1e-5f);
    frames = (host_frames){.floats = mgi_f32(x), .size = SIZE};
    assert_int_equal(mgi_encode_film(w.ctx, &w.tae, film, 0, host_frames_read, &frames, latents[1]),
                     MGEN_OK);
    for (int i = 0; i < LATENTS; i++)
        assert_float_equal(latents[0][i], latents[1][i], 1e-5f);
    /* and back */
    seen s = {.frame_size = SIZE};
    s.rgb = test_malloc(24 * SIZE * sizeof(float));
    assert_int_equal(mgi_decode_film(w.ctx, &w.tae, latents[0], dims, 0, 0, take, &s), MGEN_OK);
    assert_int_equal(s.frames, 24);
    T *y = mgi_tae_decode(&run, &w.tae, z);
    for (int i = 0; i < 24 * SIZE; i++)
        assert_float_equal(s.rgb[i], mgi_f32(y)[i], 1e-4f);
    mgi_run_finish(&run);
    /* refusals */
    assert_int_equal(mgi_decode_film(w.ctx, &w.tae, latents[0], dims, 25, 0, take, &s),
                     MGEN_E_INVALID);
    assert_int_equal(mgi_latent_dims(w.ctx, &w.tae, (const int64_t[]){1, 16, 20}, dims),
                     MGEN_E_INVALID);
    assert_int_equal(mgi_latent_dims(w.ctx, &w.tae, (const int64_t[]){0, 16, 24}, dims),
                     MGEN_E_INVALID);
    dims[3] = 4;
    assert_int_equal(mgi_decode_film(w.ctx, &w.tae, latents[0], dims, 0, 0, take, &s),
                     MGEN_E_INVALID);
    test_free(s.rgb);
    test_free(bytes);
    world_free(&w);
}

static void test_text_and_velocity(void **state)
{
    (void)state;
    world w;
    world_make(&w, false);
    float text[11 * 24], u[24], x[24] = {0};
    const mgi_host_text said[3] = {{text, 11}};
    assert_int_equal(mgi_text_encode(w.ctx, &w.text, "a red ball", 11, text), MGEN_OK);
    int64_t dims[4] = {1, 2, 4, 3};
    assert_int_equal(mgi_velocity(w.ctx, &w.video, x, dims, 0.5f, said, u), MGEN_OK);
    float sum = 0.0f;
    for (int i = 0; i < 24; i++)
        sum += fabsf(u[i]);
    assert_true(sum > 0.0f);
    dims[0] = 5;
    assert_int_equal(mgi_velocity(w.ctx, &w.video, x, dims, 0.5f, said, u), MGEN_E_UNSUPPORTED);
    assert_non_null(strstr(mgen_last_error(w.ctx), "at most 4 x 6 x 4"));
    dims[0] = 1, dims[3] = 2;
    assert_int_equal(mgi_velocity(w.ctx, &w.video, x, dims, 0.5f, said, u), MGEN_E_INVALID);
    world_free(&w);
}

/* -- memory ------------------------------------------------------------------------------------ */

static void *own_alloc(void *user, size_t size)
{
    (void)user;
    return malloc(size);
}

static void own_free(void *user, void *ptr, size_t size)
{
    (void)user;
    (void)size;
    free(ptr);
}

/* Estimate and truth for the model that is shipped, on a context of its own; `how`: solver and guidance.
 * Returns the truth. */
static uint64_t estimated_by(uint32_t threads, int64_t frames, int64_t side, bool own_allocator,
                             int32_t dtype, mgi_generate_request how)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    shipped m;
    mgi_generate_needs needs;
    params.threads = threads;
    if (own_allocator)
        params.allocator = (mgen_allocator){own_alloc, own_free, NULL};
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    open_toybox(ctx, &m);
    assert_int_equal(mgi_module_compute(&m.tae.module, dtype), MGEN_OK);
    assert_int_equal(mgi_module_compute(&m.video.module, dtype), MGEN_OK);
    seen s = {.shares = how.solver == MGI_SOLVER_DOPRI5};
    mgi_generate_request r = request(&s, frames);
    r.steps = how.steps ? how.steps : frames > 32 ? 1 : 2;
    r.width = r.height = side;
    r.solver = how.solver;
    r.guidance_from = how.guidance_from;
    r.guidance_to = how.guidance_to;
    assert_int_equal(mgi_generate_estimate(ctx, &m.n, &r, &needs), MGEN_OK);
    assert_true(s.steps == 0 && s.previews == 0 && s.frames == 0);
    mgi_device_trim(ctx->device);
    uint64_t before = atomic_load(&ctx->heap->now);
    double flops_before = ctx->device->counts.flops;
    atomic_store(&ctx->heap->peak, before);
    assert_int_equal(mgi_generate(ctx, &m.n, &r), MGEN_OK);
    uint64_t real = atomic_load(&ctx->heap->peak) - before;
    double ratio = (double)needs.host_bytes / (double)real;
    if (!(ratio >= 1.0 && ratio <= 1.6))
        fail_msg("%u threads, %lld frames: %llu bytes estimated, %llu needed", threads,
                 (long long)frames, (unsigned long long)needs.host_bytes, (unsigned long long)real);
    double really = ctx->device->counts.flops - flops_before;
    if (how.solver == MGI_SOLVER_DOPRI5)
        assert_true(needs.flops >= really && s.steps == r.steps);
    else
        assert_true(fabs(needs.flops / really - 1.0) < 1e-6);
    test_free(s.latents);
    close_toybox(&m);
    mgen_context_destroy(ctx);
    return real;
}

static uint64_t estimated(uint32_t threads, int64_t frames, int64_t side, bool own_allocator,
                          int32_t dtype)
{
    return estimated_by(threads, frames, side, own_allocator, dtype, (mgi_generate_request){0});
}

static void test_estimate_of_solvers(void **state)
{
    /* at 48 x 48 a preview beside guidance decides the highest of midpoint, from step 2 on only */
    static const int64_t lengths[] = {1, 24, 48}, sides[] = {0, 48, 32};
    static const float from[] = {0.0f, 0.3f, 0.0f, 0.999f}, to[] = {0.0f, 0.7f, 0.5f, 0.0f};
    (void)state;
    for (int solver = MGI_SOLVER_EULER; solver <= MGI_SOLVER_DOPRI5; solver++)
        for (int i = 0; i < 4; i++)
            for (int k = 0; k < (solver == MGI_SOLVER_DOPRI5 ? 2 : 3); k++) /* that is long */
                if (k == 0 || i == solver)
                    estimated_by(
                        2, lengths[k], solver == MGI_SOLVER_DOPRI5 ? 32 : sides[k], false, MGK_F32,
                        (mgi_generate_request){.steps = solver == MGI_SOLVER_DOPRI5 ? 40 : 4,
                                               .solver = solver,
                                               .guidance_from = from[i],
                                               .guidance_to = to[i]});
}

static void test_estimate(void **state)
{
    static const int64_t lengths[] = {1, 32, 45};
    (void)state;
    for (uint32_t threads = 1; threads <= 4; threads *= 2)
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
            estimated(threads, lengths[i], 0, false, MGK_F32);
    estimated(4, 96, 0, false, MGK_F32);
    estimated(2, 40, 128, false, MGK_F32);
    estimated(3, 33, 0, true, MGK_F32);
    estimated(2, 33, 0, false, MGK_BF16);
}

/* Four times the frames, at most a tenth more memory. */
static void test_flat_memory(void **state)
{
    (void)state;
    uint64_t some = estimated(2, 96, 32, false, MGK_F32);
    uint64_t many = estimated(2, 384, 32, false, MGK_F32);
    assert_true((double)many < 1.1 * (double)some);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_negative_prompt),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_codec),
        cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_estimate_of_solvers),
        cmocka_unit_test(test_solvers),
        cmocka_unit_test(test_stopping_solvers),
        cmocka_unit_test(test_own_guidance),
        cmocka_unit_test(test_guidance_interval),
        cmocka_unit_test(test_flat_memory),
        cmocka_unit_test(test_text_and_velocity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
