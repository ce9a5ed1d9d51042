/* SPDX-License-Identifier: MIT
 * Editing a film, and beginning with one: against their definitions, made of the networks by themselves; sides that are no
 * multiple of the grid; memory; ends. */
#include "core/alloc.h"
#include "core/philox.h"
#include "flow/windows.h"
#include "random_values.h"
#include "task/source.h"
#include "tiny_networks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "given_film.h"

enum { STEPS = 4, CHANNELS = 3, W = 64, H = 48, WINDOW_FRAMES = 16, TASK = MGI_EDIT_TEXTURE };
#define SOURCE_GUIDANCE 1.5f
#define GUIDANCE        3.0f

static const mgi_tae_config tae_config = {TINY_TAE};
static const mgi_text_config text_config = {.t5 = {TINY_T5, .tokens_max = 40}};
/* An editor; without condition and tasks a video model. */
static const mgi_editor_config config = {.video = {TINY_VT, .condition = CHANNELS,
                                                   .tasks = MGI_EDIT_TASKS, .task_dim = 6,
                                                   .frames_max = 2, .rows_max = 3, .columns_max = 4,
                                                   .guidance = GUIDANCE, .fps_prefix = true},
                                         .source_guidance = SOURCE_GUIDANCE,
                                         .steps = STEPS};
static const char *const instruction[1] = {"give the ball stripes"};
static const char *const negative[1] = {"a cube"};
static const uint64_t one_seed[1] = {5};

typedef struct world {
    mgen_context *ctx;
    mgi_tae tae;
    mgi_text_encoder text;
    mgi_vt video;
    mgi_networks n;
} world;

static void world_make_on(world *w, bool editor, const char *device)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgi_vt_config video = config.video;
    params.threads = 2;
    params.device = device;
    if (!editor)
        video.condition = video.tasks = video.task_dim = 0;
    assert_int_equal(mgen_context_create(&params, &w->ctx), MGEN_OK);
    assert_int_equal(mgi_tae_init(&w->tae, w->ctx, &tae_config), MGEN_OK);
    assert_int_equal(mgi_text_encoder_init(&w->text, w->ctx, NULL, &text_config, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&w->video, w->ctx, &video), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->tae.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->text.t5.module, 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&w->video, 1), MGEN_OK);
    if (!w->ctx->device->cuda) {
        randomise(&w->tae.module, 0.05f);
        randomise(&w->video.module, 0.1f);
    }
    w->n = (mgi_networks){.tae = &w->tae,
                          .text = {&w->text},
                          .video = &w->video,
                          .editor = editor ? &config : NULL,
                          .clip = {W, H, WINDOW_FRAMES, 8}};
    assert_int_equal(mgi_networks_check(w->ctx, &w->n), MGEN_OK);
}

static void world_make(world *w, bool editor)
{
    world_make_on(w, editor, "cpu");
}

static void world_free(world *w)
{
    mgi_tae_finish(&w->tae);
    mgi_text_encoder_finish(&w->text);
    mgi_vt_finish(&w->video);
    mgen_context_destroy(w->ctx);
}

static mgi_generate_request request(film *f)
{
    return (mgi_generate_request){.prompts = instruction,
                                  .count = 1,
                                  .seeds = one_seed,
                                  .steps = STEPS,
                                  .schedule = MGI_SCHEDULE_LINEAR,
                                  .width = f->width,
                                  .height = f->height,
                                  .frames = f->frames,
                                  .source = source,
                                  .task = TASK,
                                  .progress = count_step,
                                  .stop = stop,
                                  .sink = take_frames,
                                  .user = f};
}

static void make_film(world *w, film *f, const mgi_generate_request *r)
{
    f->came = f->steps = f->asked = 0;
    if (mgi_generate(w->ctx, &w->n, r) != MGEN_OK)
        fail_msg("%s", mgen_last_error(w->ctx));
    assert_int_equal(f->came, f->frames);
}

/* -- the definition --------------------------------------------------------------------------------- */

static mgen_status read_film(void *user, int64_t first, int64_t count, float *rgb)
{
    for (int64_t i = 0; i < count; i++)
        MGI_TRY(source(user, first + i, 1, rgb + i * H * W * 3));
    return MGEN_OK;
}

static mgen_status read_black(void *user, int64_t first, int64_t count, float *rgb)
{
    (void)user;
    (void)first;
    for (int64_t i = 0; i < count * H * W * 3; i++)
        rgb[i] = -1.0f;
    return MGEN_OK;
}

/* A velocity of one window. seen NULL: of a video model. */
static void window_velocity(world *w, const float *x, const float *seen, int64_t frames, float time,
                            const char *prompt, float *out)
{
    mgi_run run;
    int64_t tokens[MGI_ROLES];
    const int32_t task = TASK;
    mgi_vt_text text;
    mgi_run_init(&run, w->ctx, false);
    T *z = mgi_new(&run, MGK_F32, MGI_DIMS(1, frames, H / 8, W / 8, CHANNELS));
    T *t = mgi_new(&run, MGK_F32, MGI_DIMS(1));
    mgi_tensor_write(z, 0, x, z->count);
    mgi_tensor_write(t, 0, &time, 1);
    mgi_text_streams(&run, w->n.text, 0, &prompt, 1, tokens, &text);
    if (seen) {
        text.condition = mgi_new(&run, MGK_F32, 5, z->dims);
        text.task = mgi_new(&run, MGK_I32, MGI_DIMS(1));
        mgi_tensor_write(text.condition, 0, seen, z->count);
        mgi_tensor_write(text.task, 0, &task, 1);
    }
    T *u = mgi_vt_velocity(&run, &w->video, z, t, &text);
    if (!u)
        fail_msg("%s", mgen_last_error(w->ctx));
    mgi_tensor_read(u, 0, out, u->count);
    mgi_run_finish(&run);
}

/* What guidance there is. */
typedef struct scales {
    float text, source;
    const char *negative;
} scales;

/* The report's flow from noise, or, for a video model, from the noised film after `skipped` steps. */
static void define(world *w, int64_t frames, scales g, int skipped, float *rgb)
{
    const int64_t film_dims[3] = {frames, H, W}, latents = (frames + 7) / 8;
    const int64_t size = (H / 8) * (W / 8) * CHANNELS, count = latents * size;
    const bool editor = w->n.editor != NULL;
    film f = film_of(W, H, frames);
    float *room = test_malloc((size_t)(8 * count) * sizeof *room);
    float *x = room, *y = x + count, *seen = y + count, *black = seen + count, *u = black + count;
    float *none = u + count, *nothing = none + count;
    char prompt[64], away[64];
    snprintf(prompt, sizeof prompt, frames > 1 ? "FPS-8 %s" : "%s", instruction[0]);
    snprintf(away, sizeof away, frames > 1 && g.negative ? "FPS-8 %s" : "%s",
             g.negative ? g.negative : "");
    assert_int_equal(mgi_encode_film(w->ctx, &w->tae, film_dims, 0, read_film, &f, seen), MGEN_OK);
    assert_int_equal(mgi_encode_film(w->ctx, &w->tae, film_dims, 0, read_black, &f, black),
                     MGEN_OK);
    float start = (float)skipped / STEPS;
    for (int64_t i = 0; i < count; i++) {
        float noise = mgi_random_normal(one_seed[0], MGI_STREAM_NOISE, (uint64_t)i);
        x[i] =
            editor ? noise : start * seen[i] + (1.0f - (1.0f - MGI_FLOW_SIGMA_MIN) * start) * noise;
    }
    mgi_windows windows = mgi_windows_make(latents, WINDOW_FRAMES / 8, WINDOW_FRAMES / 16);
    for (int k = skipped; k < STEPS; k++) {
        memset(y, 0, (size_t)count * sizeof *y);
        for (int64_t j = 0; j < windows.count; j++) {
            int64_t first = mgi_window_first(&windows, j) * size, n = windows.length;
            float time = (float)k / STEPS;
            const float *beside = editor ? seen + first : NULL;
            window_velocity(w, x + first, beside, n, time, prompt, u);
            if (g.text != 1.0f || g.source != 1.0f)
                window_velocity(w, x + first, beside, n, time, away, none);
            if (g.source != 1.0f)
                window_velocity(w, x + first, black + first, n, time, "", nothing);
            for (int64_t i = 0; i < n * size; i++) {
                float v = u[i];
                if (g.source != 1.0f)
                    v = nothing[i] + g.source * (none[i] - nothing[i]) + g.text * (u[i] - none[i]);
                else if (g.text != 1.0f)
                    v = none[i] + g.text * (u[i] - none[i]);
                y[first + i] += mgi_window_share(&windows, j, (first + i) / size) * v;
            }
        }
        for (int64_t i = 0; i < count; i++)
            x[i] += y[i] / STEPS;
    }
    film made = film_of(W, H, frames);
    assert_int_equal(mgi_decode_film(w->ctx, &w->tae, x,
                                     (int64_t[]){latents, H / 8, W / 8, CHANNELS}, frames, 0,
                                     take_frames, &made),
                     MGEN_OK);
    memcpy(rgb, made.rgb, (size_t)(frames * H * W * 3) * sizeof *rgb);
    test_free(made.rgb);
    test_free(f.rgb);
    test_free(room);
}

static void check(bool editor, int64_t frames, scales g, int skipped)
{
    world w;
    film f = film_of(W, H, frames);
    const int64_t count = frames * W * H * 3;
    float *want = test_malloc((size_t)count * sizeof *want);
    world_make(&w, editor);
    mgi_generate_request r = request(&f);
    r.guidance = g.text == GUIDANCE ? 0.0f : g.text; /* 0: the model's own */
    r.source_guidance = g.source == SOURCE_GUIDANCE ? 0.0f : g.source;
    r.skip = (float)skipped / STEPS;
    if (g.negative)
        r.negatives = negative;
    make_film(&w, &f, &r);
    assert_int_equal(f.steps, STEPS - skipped);
    assert_int_equal(f.total, STEPS - skipped);
    define(&w, frames, g, skipped, want);
    float apart = largest(f.rgb, want, count), size = largest(want, NULL, count);
    if (!(apart <= 1e-4f * size) || size < 0.1f)
        fail_msg("%lld frames, guidance %g, of the source %g, %d steps skipped: %g of %g apart",
                 (long long)frames, (double)g.text, (double)g.source, skipped, (double)apart,
                 (double)size);
    test_free(want);
    test_free(f.rgb);
    world_free(&w);
}

static void test_definition(void **state)
{
    (void)state;
    check(true, 1, (scales){GUIDANCE, SOURCE_GUIDANCE, NULL}, 0);
    check(true, 16, (scales){GUIDANCE, SOURCE_GUIDANCE, NULL}, 0);
    check(true, 11, (scales){2.0f, 1.25f, negative[0]}, 0);
    check(true, 16, (scales){2.0f, 1.0f, NULL}, 0);
    check(true, 16, (scales){1.0f, 1.25f, NULL}, 0);
    check(true, 16, (scales){1.0f, 1.0f, NULL}, 0);
    check(true, 33, (scales){GUIDANCE, SOURCE_GUIDANCE, NULL}, 0); /* in windows */
}

static void test_begun(void **state)
{
    (void)state;
    for (int skipped = 1; skipped < STEPS; skipped++)
        check(false, 16, (scales){GUIDANCE, 1.0f, NULL}, skipped);
    check(false, 33, (scales){1.0f, 1.0f, NULL}, 2);
}

/* Where little is left of the flow the film stays; the adaptive solver comes to the same film. */
static void test_begun_late(void **state)
{
    (void)state;
    world w;
    film f[3];
    const int64_t count = 16 * W * H * 3;
    float away[2];
    world_make(&w, false);
    for (int i = 0; i < 3; i++) {
        f[i] = film_of(W, H, 16);
        mgi_generate_request r = request(&f[i]);
        r.guidance = 1.0f;
        r.steps = i ? 200 : 50;
        r.skip = i ? 0.5f : 0.98f;
        if (i == 2) {
            r.solver = MGI_SOLVER_DOPRI5;
            r.progress = NULL;
        }
        make_film(&w, &f[i], &r);
    }
    float *own = test_malloc((size_t)count * sizeof *own);
    uint8_t *bytes = test_malloc((size_t)(2 * count));
    read_film(&f[0], 0, 16, own);
    for (int64_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)lrintf(127.5f * (own[i] + 1.0f));
    assert_int_equal(mgi_recode_film(w.ctx, &w.tae, (int64_t[]){16, H, W}, bytes, bytes + count),
                     MGEN_OK);
    for (int k = 0; k < 2; k++) {
        double sum = 0.0;
        for (int64_t i = 0; i < count; i++) {
            double d = (double)fminf(fmaxf(f[k].rgb[i], -1.0f), 1.0f) -
                       ((double)bytes[count + i] / 127.5 - 1.0);
            sum += d * d / (double)count;
        }
        away[k] = (float)sqrt(sum);
    }
    assert_true(away[0] < 0.3f * away[1]);
    assert_true(largest(f[1].rgb, f[2].rgb, count) < 0.05f * largest(f[1].rgb, NULL, count));
    test_free(own);
    test_free(bytes);
    for (int i = 0; i < 3; i++)
        test_free(f[i].rgb);
    world_free(&w);
}

/* Film, task and instruction change what is made. */
static void test_sees(void **state)
{
    (void)state;
    static const char *const other[1] = {"remove the ball"};
    world w;
    film f[4];
    world_make(&w, true);
    for (int i = 0; i < 4; i++) {
        f[i] = film_of(32, 32, 16);
        f[i].edge_width = i == 1 ? 8 : 0;
        mgi_generate_request r = request(&f[i]);
        r.task = i == 2 ? MGI_EDIT_STYLE : TASK;
        r.prompts = i == 3 ? other : instruction;
        make_film(&w, &f[i], &r);
        if (i)
            assert_true(largest(f[0].rgb, f[i].rgb, 16 * 32 * 32 * 3) > 0.001f);
    }
    for (int i = 0; i < 4; i++)
        test_free(f[i].rgb);
    world_free(&w);
}

/* On a GPU as on the CPU, to rounding; there captured as not captured, to the bit. */
static void check_gpu(bool editor)
{
    world cpu, gpu;
    film f[3];
    world_make(&cpu, editor);
    world_make_on(&gpu, editor, "cuda:0");
    copy_values(&cpu.tae.module, &gpu.tae.module);
    copy_values(&cpu.text.t5.module, &gpu.text.t5.module);
    copy_values(&cpu.video.module, &gpu.video.module);
    const int64_t count = 17 * 49 * 40 * 3;
    for (int i = 0; i < 3; i++) {
        f[i] = film_of(49, 40, 17);
        mgi_generate_request r = request(&f[i]);
        r.skip = editor ? 0.0f : 0.5f;
        gpu.ctx->device->graphs_off = i == 2;
        make_film(i ? &gpu : &cpu, &f[i], &r);
    }
    float size = largest(f[0].rgb, NULL, count);
    assert_true(size > 0.1f && largest(f[0].rgb, f[1].rgb, count) < 1e-3f * size);
    assert_memory_equal(f[1].rgb, f[2].rgb, (size_t)count * sizeof(float));
    for (int i = 0; i < 3; i++)
        test_free(f[i].rgb);
    world_free(&cpu);
    world_free(&gpu);
}

static void test_gpu(void **state)
{
    (void)state;
    if (mgi_cuda_count(NULL, 0) == 0)
        skip();
    check_gpu(true);
    check_gpu(false);
}

/* -- sides, memory, ends ---------------------------------------------------------------------------- */

/* The film is what is left of one whose edge repeats up to the grid: to the bit. */
static void test_sides(void **state)
{
    static const int64_t sides[][2] = {{33, 32}, {47, 17}, {1, 1}, {64, 31}};
    (void)state;
    for (int editor = 0; editor < 2; editor++)
        for (size_t k = 0; k < sizeof sides / sizeof sides[0]; k++) {
            world w;
            world_make(&w, editor);
            int64_t width = sides[k][0], height = sides[k][1], frames = 11;
            int64_t full_width = (width + 15) / 16 * 16, full_height = (height + 15) / 16 * 16;
            film part = film_of(width, height, frames);
            film whole = film_of(full_width, full_height, frames);
            whole.edge_width = width;
            whole.edge_height = height;
            mgi_generate_request r = request(&part), all = request(&whole);
            r.skip = all.skip = editor ? 0.0f : 0.5f;
            make_film(&w, &part, &r);
            make_film(&w, &whole, &all);
            for (int64_t i = 0; i < frames * height; i++) {
                int64_t from = i / height * full_height + i % height;
                assert_memory_equal(part.rgb + i * width * 3, whole.rgb + from * full_width * 3,
                                    (size_t)width * 3 * sizeof *part.rgb);
            }
            test_free(part.rgb);
            test_free(whole.rgb);
            world_free(&w);
        }
}

static void check_estimate(bool editor, int64_t width, int64_t height, int64_t frames)
{
    world w;
    film f = film_of(width, height, frames);
    mgi_generate_needs needs;
    world_make(&w, editor);
    mgi_generate_request r = request(&f);
    r.skip = editor ? 0.0f : 0.5f;
    assert_int_equal(mgi_generate_estimate(w.ctx, &w.n, &r, &needs), MGEN_OK);
    assert_int_equal(f.steps + f.asked + f.came, 0);
    mgi_device_trim(w.ctx->device);
    uint64_t before = atomic_load(&w.ctx->heap->now);
    double flops = w.ctx->device->counts.flops;
    atomic_store(&w.ctx->heap->peak, before);
    make_film(&w, &f, &r);
    uint64_t real = atomic_load(&w.ctx->heap->peak) - before;
    flops = w.ctx->device->counts.flops - flops;
    if (real > needs.host_bytes || 4 * real < 3 * needs.host_bytes)
        fail_msg("%lld frames of %lld x %lld: %llu bytes estimated, %llu needed", (long long)frames,
                 (long long)width, (long long)height, (unsigned long long)needs.host_bytes,
                 (unsigned long long)real);
    if (!(fabs(flops - needs.flops) < 1e-6 * flops))
        fail_msg("%g flops estimated, %g needed", needs.flops, flops);
    test_free(f.rgb);
    world_free(&w);
}

static void test_estimate(void **state)
{
    (void)state;
    for (int editor = 0; editor < 2; editor++) {
        check_estimate(editor, 64, 48, 1);
        check_estimate(editor, 64, 48, 16);
        check_estimate(editor, 49, 33, 50);
    }
}

static void test_stops(void **state)
{
    (void)state;
    world w;
    world_make(&w, true);
    for (int i = 0; i < 2; i++) {
        film f = film_of(32, 32, 11);
        f.stop_asked = i ? 0 : 1;
        f.stop_step = i ? 2 : 0;
        mgi_generate_request r = request(&f);
        assert_int_equal(mgi_generate(w.ctx, &w.n, &r), MGEN_E_CANCELLED);
        assert_int_equal(f.came, 0);
        assert_int_equal(f.steps, i ? 2 : 0);
        test_free(f.rgb);
    }
    world_free(&w);
}

static void refused(world *w, const mgi_generate_request *r, mgen_status want, const char *said)
{
    mgen_status got = mgi_generate(w->ctx, &w->n, r);
    if (got != want || !strstr(mgen_last_error(w->ctx), said))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(w->ctx),
                 said);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const two[2] = {"", ""};
    static const uint64_t seeds[2] = {1, 2};
    world w;
    film f = film_of(32, 32, 2);
    for (int editor = 0; editor < 2; editor++) {
        world_make(&w, editor);
        mgi_generate_request r = request(&f), good = r;
        good.skip = r.skip = editor ? 0.0f : 0.5f;
        r.source = NULL;
        refused(&w, &r, MGEN_E_INVALID, editor ? "one film of a given one" : "one film of a given");
        r = good;
        r.height = 0;
        refused(&w, &r, MGEN_E_INVALID, "one film of a given one");
        r = good;
        r.prompts = two;
        r.seeds = seeds;
        r.count = 2;
        refused(&w, &r, MGEN_E_INVALID, "one film of a given one");
        r = good;
        r.skip = editor ? 0.5f : 0.0f;
        refused(&w, &r, MGEN_E_INVALID, "one film of a given one");
        r = good;
        r.width = 65; /* 80 with the edge */
        refused(&w, &r, MGEN_E_UNSUPPORTED, "up to 64");
        world_free(&w);
    }
    world_make(&w, true);
    mgi_generate_request r = request(&f);
    r.task = MGI_EDIT_TASKS;
    refused(&w, &r, MGEN_E_INVALID, "one film of a given one");
    r = request(&f);
    w.n.editor = NULL; /* as if its transformer were a video model */
    refused(&w, &r, MGEN_E_INVALID, "it is that of an upsampler or an editor");
    assert_int_equal(mgi_networks_check(w.ctx, &w.n), MGEN_E_CORRUPT);
    test_free(f.rgb);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition), cmocka_unit_test(test_begun),
        cmocka_unit_test(test_begun_late), cmocka_unit_test(test_sees),
        cmocka_unit_test(test_sides),      cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_stops),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_gpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
