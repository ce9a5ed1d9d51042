/* SPDX-License-Identifier: MIT
 * Upsampling a film: against its definition, made of the networks by themselves; sides that are no multiple of the grid;
 * memory; ends. */
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

enum { FRAMES = 9, WINDOW = 4, OVERLAP = 1, STEPS = 3, CHANNELS = 3, SIDE_MOST = 64 };

static const mgi_tae_config tae_config = {TINY_TAE};
static const mgi_text_config text_config = {.t5 = {TINY_T5, .tokens_max = 40}};
static const mgi_upsampler_config config = {.video = {TINY_VT, .condition = CHANNELS,
                                                      .frames_max = 4, .rows_max = 3,
                                                      .columns_max = 4, .guidance = 1.0f},
                                            .tae = "tae",
                                            .factor = 2,
                                            .frames = WINDOW,
                                            .overlap = OVERLAP,
                                            .steps = STEPS};
static const char *const no_prompt[1] = {""}, *const one_prompt[1] = {"a red ball"};
static const uint64_t one_seed[1] = {5};

typedef struct world {
    mgen_context *ctx;
    mgi_tae tae;
    mgi_text_encoder text;
    mgi_vt video;
    mgi_networks n;
} world;

static void world_make_on(world *w, const char *device)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 2;
    params.device = device;
    assert_int_equal(mgen_context_create(&params, &w->ctx), MGEN_OK);
    assert_int_equal(mgi_tae_init(&w->tae, w->ctx, &tae_config), MGEN_OK);
    assert_int_equal(mgi_text_encoder_init(&w->text, w->ctx, NULL, &text_config, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&w->video, w->ctx, &config.video), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->tae.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->text.t5.module, 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&w->video, 1), MGEN_OK);
    if (!w->ctx->device->cuda) {
        randomise(&w->tae.module, 0.05f);
        randomise(&w->video.module, 0.1f);
    }
    w->n = (mgi_networks){
        .tae = &w->tae, .text = {&w->text}, .video = &w->video, .upsampler = &config};
    w->n.clip = (mgi_clip_shape){64, 48, WINDOW, 16};
    assert_int_equal(mgi_networks_check(w->ctx, &w->n), MGEN_OK);
}

static void world_make(world *w)
{
    world_make_on(w, "cpu");
}

static void world_free(world *w)
{
    mgi_tae_finish(&w->tae);
    mgi_text_encoder_finish(&w->text);
    mgi_vt_finish(&w->video);
    mgen_context_destroy(w->ctx);
}

static mgen_status sink(void *user, const mgi_frames_box *box, float *rgb)
{
    film *f = user;
    assert_true(box->top >= 0 && box->top + box->height <= f->height);
    assert_true(box->left >= 0 && box->left + box->width <= f->width);
    assert_int_equal(box->first, f->came);
    assert_int_equal(box->count, 1);
    for (int64_t y = 0; y < box->height; y++)
        memcpy(f->rgb + ((box->first * f->height + box->top + y) * f->width + box->left) * 3,
               rgb + y * box->width * 3, (size_t)box->width * 3 * sizeof *rgb);
    f->parts++;
    f->came += box->last;
    return MGEN_OK;
}

static bool progress(void *user, int done, int total)
{
    film *f = user;
    assert_int_equal(total, STEPS);
    assert_int_equal(done, ++f->steps);
    return f->stop_step == done;
}

static mgi_generate_request request(film *f)
{
    return (mgi_generate_request){.prompts = no_prompt,
                                  .count = 1,
                                  .seeds = one_seed,
                                  .steps = STEPS,
                                  .schedule = MGI_SCHEDULE_LINEAR,
                                  .width = f->width,
                                  .height = f->height,
                                  .frames = f->frames,
                                  .source = source,
                                  .progress = progress,
                                  .stop = stop,
                                  .sink = sink,
                                  .user = f};
}

static void upsample(world *w, film *f, const mgi_generate_request *r)
{
    mgen_status status = mgi_generate(w->ctx, &w->n, r);
    if (status != MGEN_OK)
        fail_msg("%s", mgen_last_error(w->ctx));
    assert_int_equal(f->came, f->frames);
}

/* -- the definition --------------------------------------------------------------------------------- */

static mgen_status read_one(void *user, int64_t first, int64_t count, float *rgb)
{
    const float *frame = user;
    (void)first;
    assert_int_equal(count, 1);
    memcpy(rgb, frame, SIDE_MOST * 48 * 3 * sizeof *rgb);
    return MGEN_OK;
}

static mgen_status keep_one(void *user, const mgi_frames_box *box, float *rgb)
{
    assert_int_equal(box->count, 1);
    memcpy(user, rgb, (size_t)(box->height * box->width * 3) * sizeof *rgb);
    return MGEN_OK;
}

/* A velocity of one window, guided or not. */
static void window_velocity(world *w, const float *x, const float *seen, int64_t frames,
                            const int64_t grid[2], float time, const char *prompt, float *out)
{
    mgi_run run;
    int64_t tokens[MGI_ROLES];
    mgi_vt_text text;
    mgi_run_init(&run, w->ctx, false);
    T *z = mgi_new(&run, MGK_F32, MGI_DIMS(1, frames, grid[0], grid[1], CHANNELS));
    T *c = mgi_new(&run, MGK_F32, MGI_DIMS(1, frames, grid[0], grid[1], CHANNELS));
    T *t = mgi_new(&run, MGK_F32, MGI_DIMS(1));
    mgi_tensor_write(z, 0, x, z->count);
    mgi_tensor_write(c, 0, seen, c->count);
    mgi_tensor_write(t, 0, &time, 1);
    mgi_text_streams(&run, w->n.text, 0, &prompt, 1, tokens, &text);
    text.condition = c;
    T *u = mgi_vt_velocity(&run, &w->video, z, t, &text);
    assert_non_null(u);
    mgi_tensor_read(u, 0, out, u->count);
    mgi_run_finish(&run);
}

/* MultiDiffusion as the report tells it: every window takes its step, then shared frames are averaged. */
static void define(world *w, int64_t frames, float guidance, const char *prompt, float *rgb)
{
    enum { H = 48, W = SIDE_MOST };
    const int64_t one[3] = {1, H, W}, grid[2] = {H / 8, W / 8}, size = H / 8 * (W / 8) * CHANNELS;
    float *x = test_malloc((size_t)(frames * size) * sizeof *x);
    float *y = test_malloc((size_t)(frames * size) * sizeof *y);
    float *seen = test_malloc((size_t)(frames * size) * sizeof *seen);
    float *u = test_malloc(2 * (size_t)(WINDOW * size) * sizeof *u), *v = u + WINDOW * size;
    float *frame = test_malloc(H * W * 3 * sizeof *frame);
    film f = {.width = W, .height = H, .frames = frames};
    for (int64_t i = 0; i < frames; i++) {
        source(&f, i, 1, frame);
        assert_int_equal(mgi_encode_film(w->ctx, &w->tae, one, 0, read_one, frame, seen + i * size),
                         MGEN_OK);
    }
    for (int64_t i = 0; i < frames * size; i++)
        x[i] = mgi_random_normal(one_seed[0], MGI_STREAM_NOISE, (uint64_t)i);
    mgi_windows windows = mgi_windows_make(frames, WINDOW, OVERLAP);
    for (int k = 0; k < STEPS; k++) {
        memset(y, 0, (size_t)(frames * size) * sizeof *y);
        for (int64_t j = 0; j < windows.count; j++) {
            int64_t first = mgi_window_first(&windows, j) * size;
            float time = (float)k / STEPS;
            window_velocity(w, x + first, seen + first, windows.length, grid, time, prompt, u);
            if (guidance != 1.0f) {
                window_velocity(w, x + first, seen + first, windows.length, grid, time, "", v);
                for (int64_t i = 0; i < windows.length * size; i++)
                    u[i] = v[i] + guidance * (u[i] - v[i]);
            }
            for (int64_t i = 0; i < windows.length * size; i++)
                y[first + i] += mgi_window_share(&windows, j, (first + i) / size) *
                                (x[first + i] + u[i] / STEPS);
        }
        memcpy(x, y, (size_t)(frames * size) * sizeof *x);
    }
    for (int64_t i = 0; i < frames; i++)
        assert_int_equal(mgi_decode_film(w->ctx, &w->tae, x + i * size,
                                         (int64_t[]){1, grid[0], grid[1], CHANNELS}, 1, 0, keep_one,
                                         rgb + i * H * W * 3),
                         MGEN_OK);
    test_free(x);
    test_free(y);
    test_free(seen);
    test_free(u);
    test_free(frame);
}

static void check_definition(int64_t frames, float guidance, const char *const *prompts)
{
    world w;
    film f = film_of(SIDE_MOST, 48, frames);
    const int64_t count = frames * f.width * f.height * 3;
    float *want = test_malloc((size_t)count * sizeof *want);
    world_make(&w);
    mgi_generate_request r = request(&f);
    r.prompts = prompts;
    r.guidance = guidance;
    upsample(&w, &f, &r);
    define(&w, frames, guidance, prompts[0], want);
    float apart = largest(f.rgb, want, count), size = largest(want, NULL, count);
    if (!(apart <= 1e-4f * size) || size < 0.1f)
        fail_msg("%lld frames, guidance %g: %g of %g apart", (long long)frames, (double)guidance,
                 (double)apart, (double)size);
    test_free(want);
    test_free(f.rgb);
    world_free(&w);
}

static void test_definition(void **state)
{
    (void)state;
    check_definition(1, 1.0f, no_prompt);
    check_definition(WINDOW, 1.0f, one_prompt);
    check_definition(FRAMES, 1.0f, no_prompt);
    check_definition(FRAMES, 2.0f, one_prompt);
}

/* What it sees changes what it makes, in the frames in whose windows it is. */
static void test_sees(void **state)
{
    (void)state;
    world w;
    film f[2] = {film_of(32, 32, FRAMES), film_of(32, 32, FRAMES)};
    world_make(&w);
    f[1].edge_width = 8; /* another film */
    for (int i = 0; i < 2; i++) {
        mgi_generate_request r = request(&f[i]);
        upsample(&w, &f[i], &r);
    }
    assert_true(largest(f[0].rgb, f[1].rgb, FRAMES * 32 * 32 * 3) > 0.01f);
    test_free(f[0].rgb);
    test_free(f[1].rgb);
    world_free(&w);
}

/* On a GPU as on the CPU, to rounding; there captured as not captured, to the bit. */
static void test_gpu(void **state)
{
    (void)state;
    world cpu, gpu;
    film f[3];
    if (mgi_cuda_count(NULL, 0) == 0)
        skip();
    world_make(&cpu);
    world_make_on(&gpu, "cuda:0");
    copy_values(&cpu.tae.module, &gpu.tae.module);
    copy_values(&cpu.text.t5.module, &gpu.text.t5.module);
    copy_values(&cpu.video.module, &gpu.video.module);
    const int64_t count = FRAMES * 49 * 40 * 3;
    for (int i = 0; i < 3; i++) {
        f[i] = film_of(49, 40, FRAMES);
        mgi_generate_request r = request(&f[i]);
        r.prompts = one_prompt;
        r.guidance = 2.0f;
        gpu.ctx->device->graphs_off = i == 2;
        upsample(i ? &gpu : &cpu, &f[i], &r);
    }
    float size = largest(f[0].rgb, NULL, count);
    assert_true(size > 0.1f && largest(f[0].rgb, f[1].rgb, count) < 1e-3f * size);
    assert_memory_equal(f[1].rgb, f[2].rgb, (size_t)count * sizeof(float));
    for (int i = 0; i < 3; i++)
        test_free(f[i].rgb);
    world_free(&cpu);
    world_free(&gpu);
}

/* -- sides ------------------------------------------------------------------------------------------ */

/* The film is what is left of one whose edge repeats up to the grid: to the bit. */
static void test_sides(void **state)
{
    static const int64_t sides[][2] = {{33, 32}, {47, 17}, {1, 1}, {50, 48}, {64, 31}};
    (void)state;
    world w;
    world_make(&w);
    for (size_t k = 0; k < sizeof sides / sizeof sides[0]; k++) {
        int64_t width = sides[k][0], height = sides[k][1];
        int64_t full_width = (width + 15) / 16 * 16, full_height = (height + 15) / 16 * 16;
        film part = film_of(width, height, 3), whole = film_of(full_width, full_height, 3);
        whole.edge_width = width;
        whole.edge_height = height;
        mgi_generate_request r = request(&part), all = request(&whole);
        upsample(&w, &part, &r);
        upsample(&w, &whole, &all);
        for (int64_t i = 0; i < 3 * height; i++) {
            int64_t from = i / height * full_height + i % height;
            assert_memory_equal(part.rgb + i * width * 3, whole.rgb + from * full_width * 3,
                                (size_t)width * 3 * sizeof *part.rgb);
        }
        test_free(part.rgb);
        test_free(whole.rgb);
    }
    world_free(&w);
}

/* In tiles the frames are those of the whole, one after the other. */
static void test_tiles(void **state)
{
    (void)state;
    world w;
    film f[2] = {film_of(63, 47, 3), film_of(63, 47, 3)};
    world_make(&w);
    for (int i = 0; i < 2; i++) {
        mgi_generate_request r = request(&f[i]);
        r.tile = i ? 32 : 0;
        upsample(&w, &f[i], &r);
    }
    assert_int_equal(f[0].parts, 3);
    assert_int_equal(f[1].parts, 3 * 4);
    assert_true(largest(f[0].rgb, f[1].rgb, 3 * 63 * 47 * 3) < 1e-4f);
    test_free(f[0].rgb);
    test_free(f[1].rgb);
    world_free(&w);
}

/* -- memory, ends ----------------------------------------------------------------------------------- */

static void check_estimate(int64_t width, int64_t height, int64_t frames)
{
    world w;
    film f = film_of(width, height, frames);
    mgi_generate_needs needs;
    world_make(&w);
    mgi_generate_request r = request(&f);
    assert_int_equal(mgi_generate_estimate(w.ctx, &w.n, &r, &needs), MGEN_OK);
    assert_int_equal(f.steps + f.asked + f.came, 0);
    mgi_device_trim(w.ctx->device);
    uint64_t before = atomic_load(&w.ctx->heap->now);
    double flops = w.ctx->device->counts.flops;
    atomic_store(&w.ctx->heap->peak, before);
    upsample(&w, &f, &r);
    uint64_t real = atomic_load(&w.ctx->heap->peak) - before;
    flops = w.ctx->device->counts.flops - flops;
    if (real > needs.host_bytes || 4 * real < 3 * needs.host_bytes)
        fail_msg("%lld frames of %lld x %lld: %llu bytes estimated, %llu needed", (long long)frames,
                 (long long)width, (long long)height, (unsigned long long)needs.host_bytes,
                 (unsigned long long)real);
    assert_true(fabs(flops - needs.flops) < 1e-6 * flops);
    test_free(f.rgb);
    world_free(&w);
}

static void test_estimate(void **state)
{
    (void)state;
    check_estimate(64, 48, 1);
    check_estimate(64, 48, FRAMES);
    check_estimate(49, 33, 40);
}

static void test_stops(void **state)
{
    (void)state;
    world w;
    world_make(&w);
    for (int i = 0; i < 2; i++) {
        film f = film_of(32, 32, FRAMES);
        f.stop_asked = i ? 0 : 4;
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
    world w;
    film f = film_of(32, 32, 2);
    static const char *const two[2] = {"", ""};
    static const uint64_t seeds[2] = {1, 2};
    world_make(&w);
    mgi_generate_request r = request(&f);
    r.source = NULL;
    refused(&w, &r, MGEN_E_INVALID, "one film of a given one");
    r = request(&f);
    r.width = 0;
    refused(&w, &r, MGEN_E_INVALID, "one film of a given one");
    r = request(&f);
    r.prompts = two;
    r.seeds = seeds;
    r.count = 2;
    refused(&w, &r, MGEN_E_INVALID, "one film of a given one");
    r = request(&f);
    r.width = 65; /* 80 with the edge */
    refused(&w, &r, MGEN_E_UNSUPPORTED, "up to 64");
    r = request(&f);
    w.n.upsampler = NULL; /* as if its transformer were a video model */
    refused(&w, &r, MGEN_E_INVALID, "it is that of an upsampler");
    assert_int_equal(mgi_networks_check(w.ctx, &w.n), MGEN_E_CORRUPT);
    const int64_t dims[4] = {1, 2, 2, CHANNELS};
    float x[2 * 2 * CHANNELS] = {0};
    assert_int_equal(mgi_velocity(w.ctx, &w.video, x, dims, 0.0f, (mgi_host_text[3]){{x, 1}}, x),
                     MGEN_E_UNSUPPORTED);
    test_free(f.rgb);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition), cmocka_unit_test(test_sees),
        cmocka_unit_test(test_sides),      cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_estimate),   cmocka_unit_test(test_stops),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_gpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
