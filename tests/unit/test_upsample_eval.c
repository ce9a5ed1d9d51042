/* SPDX-License-Identifier: MIT
 * The protocol of upsamplers: one whose velocity is 0, so that its films are decoded noise, against films made here from
 * the networks by themselves; scenes; ends. */
#include "core/alloc.h"
#include "eval/films.h"
#include "eval/image_quality.h"
#include "eval/upsample_eval.h"
#include "eval/world_check.h"
#include "failing_calls.h"
#include "random_values.h"
#include "tensor/device.h"
#include "tiny_networks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CHANNELS = 3, CLIPS = 2, FRAMES = 6, STEPS = 2, SEED = 3 };

static const mgi_tae_config tae_config = {TINY_TAE};
static const mgi_upsampler_config plain = {.video = {TINY_VT, .condition = CHANNELS,
                                                     .frames_max = 4, .rows_max = 9,
                                                     .columns_max = 11, .guidance = 1.0f},
                                           .tae = "tae",
                                           .factor = 2,
                                           .frames = 4,
                                           .overlap = 1,
                                           .steps = STEPS};
static const mgi_text_config text_config = {.t5 = {TINY_T5, .tokens_max = 200}};

typedef struct world {
    failing memory;
    mgen_context *ctx;
    mgi_tae tae, frame_tae;
    mgi_text_encoder text;
    mgi_vt video;
    mgi_upsampler_config config;
    mgi_networks n;
    mgi_clip_shape clip;
} world;

static void world_make(world *w, int64_t width, int64_t height, int64_t factor)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    *w = (world){.clip = {width, height, FRAMES, 16}, .config = plain};
    w->config.factor = factor;
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &w->memory};
    assert_int_equal(mgen_context_create(&params, &w->ctx), MGEN_OK);
    assert_int_equal(mgi_tae_init(&w->tae, w->ctx, &tae_config), MGEN_OK);
    assert_int_equal(mgi_tae_init(&w->frame_tae, w->ctx, &tae_config), MGEN_OK);
    assert_int_equal(mgi_text_encoder_init(&w->text, w->ctx, NULL, &text_config, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&w->video, w->ctx, &w->config.video), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->tae.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->frame_tae.module, 2), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->text.t5.module, 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&w->video, 1), MGEN_OK); /* its head is 0 */
    randomise(&w->tae.module, 0.1f);
    randomise(&w->frame_tae.module, 0.1f);
    w->n = (mgi_networks){
        .tae = &w->frame_tae, .text = {&w->text}, .video = &w->video, .upsampler = &w->config};
    w->n.clip = (mgi_clip_shape){176, 144, w->config.frames, 16};
    assert_int_equal(mgi_networks_check(w->ctx, &w->n), MGEN_OK);
}

static void world_free(world *w)
{
    mgi_tae_finish(&w->tae);
    mgi_tae_finish(&w->frame_tae);
    mgi_text_encoder_finish(&w->text);
    mgi_vt_finish(&w->video);
    mgen_context_destroy(w->ctx);
    assert_int_equal(w->memory.blocks, 0);
}

static mgi_eval_request request(void)
{
    return (mgi_eval_request){.n = CLIPS, .seed = SEED, .steps = STEPS, .guidance = 1.0f};
}

static double entry(const mgen_report *r, const char *name)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (!strcmp(r->entry[i].name, name))
            return r->entry[i].value;
    fail_msg("the report has no %s", name);
    return 0.0;
}

static mgen_report *measured(world *w)
{
    mgi_eval_request r = request();
    mgen_report *report;
    assert_int_equal(mgi_report_create(w->ctx, &report), MGEN_OK);
    if (mgi_eval_upsample(w->ctx, &w->tae, &w->n, &w->clip, &r, report) != MGEN_OK)
        fail_msg("%s", mgen_last_error(w->ctx));
    return report;
}

/* -- the same films, made here ------------------------------------------------------------------ */

typedef struct size {
    int64_t width, height;
} size;

/* Value (y, x, c) of a frame whose edge repeats. */
static double at(const uint8_t *frame, size s, int64_t y, int64_t x, int64_t c)
{
    y = y < 0 ? 0 : y >= s.height ? s.height - 1 : y;
    x = x < 0 ? 0 : x >= s.width ? s.width - 1 : x;
    return frame[(y * s.width + x) * 3 + c];
}

static uint8_t byte_of(double v)
{
    return (uint8_t)(v < 0.0 ? 0.0 : v > 255.0 ? 255.0 : v);
}

static void average(const uint8_t *large, size s, int64_t factor, uint8_t *small)
{
    const size to = {s.width / factor, s.height / factor};
    for (int64_t i = 0; i < to.height * to.width * 3; i++) {
        int64_t y = i / 3 / to.width * factor, x = i / 3 % to.width * factor;
        double sum = 0.0;
        for (int64_t k = 0; k < factor * factor; k++)
            sum += at(large, s, y + k / factor, x + k % factor, i % 3);
        small[i] = byte_of(nearbyint(sum / (double)(factor * factor)));
    }
}

static void bilinear(const uint8_t *small, size s, int64_t factor, uint8_t *large)
{
    const size to = {s.width * factor, s.height * factor};
    for (int64_t i = 0; i < to.height * to.width * 3; i++) {
        double y = ((double)(i / 3 / to.width) + 0.5) / (double)factor - 0.5, fy = floor(y);
        double x = ((double)(i / 3 % to.width) + 0.5) / (double)factor - 0.5, fx = floor(x);
        double sum = 0.0;
        for (int k = 0; k < 4; k++)
            sum += at(small, s, (int64_t)fy + k / 2, (int64_t)fx + k % 2, i % 3) *
                   (k / 2 ? y - fy : 1.0 - (y - fy)) * (k % 2 ? x - fx : 1.0 - (x - fx));
        large[i] = byte_of(floor(sum + 0.5));
    }
}

static mgen_status keep(void *user, const mgi_frames_box *box, float *rgb)
{
    memcpy(user, rgb, (size_t)(box->height * box->width * 3) * sizeof *rgb);
    return MGEN_OK;
}

/* The middle of nothing: frame `index` of noise, decoded; `s` of its `full` pixels. */
static void decoded_noise(world *w, uint64_t seed, int64_t index, size full, size s, uint8_t *out)
{
    const int64_t dims[4] = {1, full.height / 8, full.width / 8, CHANNELS};
    const int64_t each = dims[1] * dims[2] * dims[3];
    float *z = test_malloc((size_t)each * sizeof *z);
    float *rgb = test_malloc((size_t)(full.width * full.height * 3) * sizeof *rgb);
    for (int64_t i = 0; i < each; i++)
        z[i] = mgi_random_normal(seed, MGI_STREAM_NOISE, (uint64_t)(index * each + i));
    assert_int_equal(mgi_decode_film(w->ctx, &w->frame_tae, z, dims, 1, 0, keep, rgb), MGEN_OK);
    for (int64_t i = 0; i < s.height * s.width * 3; i++) {
        int64_t from = (i / 3 / s.width * full.width + i / 3 % s.width) * 3 + i % 3;
        out[i] = byte_of(nearbyint((double)rgb[from] * 127.5 + 127.5));
    }
    test_free(z);
    test_free(rgb);
}

/* A frame by itself through the upsampler's autoencoder. */
static void coded_frame(world *w, size full, size s, const uint8_t *in, uint8_t *out)
{
    uint8_t *frame = test_malloc((size_t)(full.width * full.height * 3));
    for (int64_t i = 0; i < full.width * full.height * 3; i++)
        frame[i] = (uint8_t)at(in, s, i / 3 / full.width, i / 3 % full.width, i % 3);
    assert_int_equal(
        mgi_eval_reconstruct(w->ctx, &w->frame_tae, 1, full.height, full.width, frame, frame),
        MGEN_OK);
    for (int64_t y = 0; y < s.height; y++)
        memcpy(out + y * s.width * 3, frame + y * full.width * 3, (size_t)s.width * 3);
    test_free(frame);
}

static double luma_at(const uint8_t *p)
{
    return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
}

static double gradient(const uint8_t *film, size s)
{
    double sum = 0.0;
    for (int64_t t = 0; t < FRAMES; t++)
        for (int64_t y = 1; y < s.height; y++)
            for (int64_t x = 1; x < s.width; x++) {
                const uint8_t *p = film + ((t * s.height + y) * s.width + x) * 3;
                const uint8_t *corner = p - (s.width + 1) * 3;
                sum += pow(luma_at(p - s.width * 3) - luma_at(corner), 2.0) +
                       pow(luma_at(p - 3) - luma_at(corner), 2.0);
            }
    return sum;
}

typedef struct sums {
    double psnr, ssim, gradient;
} sums;

static void add(sums *q, const uint8_t *truth, const uint8_t *film, size s)
{
    double error = 0.0, count = (double)(FRAMES * s.width * s.height * 3);
    for (int64_t i = 0; i < FRAMES * s.width * s.height * 3; i++)
        error += pow((double)truth[i] - film[i], 2.0) / count;
    q->psnr += 10.0 * log10(255.0 * 255.0 / error) / CLIPS;
    q->ssim += mgi_ssim_clip(truth, film, FRAMES, s.height, s.width) / CLIPS;
    q->gradient += gradient(film, s);
}

static void check(const mgen_report *report, const char *prefix, const sums *want, double truth)
{
    char name[3][64];
    snprintf(name[0], 64, "%spsnr", prefix);
    snprintf(name[1], 64, "%sssim", prefix);
    snprintf(name[2], 64, "%ssharpness", prefix);
    /* halves may be rounded either way */
    assert_float_equal(entry(report, name[0]), want->psnr, 0.02);
    assert_float_equal(entry(report, name[1]), want->ssim, 0.002);
    assert_float_equal(entry(report, name[2]) * truth / want->gradient, 1.0, 0.01);
}

static void check_protocol(int64_t width, int64_t height, int64_t factor)
{
    enum { NOISE, RESIZED, CLEAN, CODED, WAYS };
    world w;
    sums q[WAYS] = {{0}};
    double truth_gradient = 0.0;
    world_make(&w, width, height, factor);
    mgen_report *report = measured(&w);
    const size small = {width, height}, s = {width * factor, height * factor};
    const size full = {(s.width + 15) / 16 * 16, (s.height + 15) / 16 * 16};
    const int64_t frame = s.width * s.height * 3, tiny = width * height * 3;
    uint8_t *truth = test_malloc((size_t)(FRAMES * frame));
    uint8_t *made = test_malloc((size_t)(WAYS * FRAMES * frame));
    uint8_t *film = test_malloc((size_t)(FRAMES * tiny)), *way[WAYS];
    for (int k = 0; k < WAYS; k++)
        way[k] = made + k * FRAMES * frame;
    for (int64_t i = 0; i < CLIPS; i++) {
        mgi_world_scene scene;
        mgi_upsample_scene(&w.clip, SEED, i, &scene);
        mgi_world_draw(&scene, (int)s.width, (int)s.height, 0, FRAMES, truth);
        for (int64_t t = 0; t < FRAMES; t++) {
            average(truth + t * frame, s, factor, film + t * tiny);
            bilinear(film + t * tiny, small, factor, way[CLEAN] + t * frame);
            decoded_noise(&w, (uint64_t)(SEED + i), t, full, s, way[NOISE] + t * frame);
            coded_frame(&w, full, s, truth + t * frame, way[CODED] + t * frame);
        }
        assert_int_equal(mgi_eval_reconstruct(w.ctx, &w.tae, FRAMES, height, width, film, film),
                         MGEN_OK);
        for (int64_t t = 0; t < FRAMES; t++)
            bilinear(film + t * tiny, small, factor, way[RESIZED] + t * frame);
        for (int k = 0; k < WAYS; k++)
            add(&q[k], truth, way[k], s);
        truth_gradient += gradient(truth, s);
    }
    check(report, "", &q[NOISE], truth_gradient);
    check(report, "clean_", &q[NOISE], truth_gradient);
    check(report, "bilinear_", &q[RESIZED], truth_gradient);
    check(report, "clean_bilinear_", &q[CLEAN], truth_gradient);
    check(report, "ceiling_", &q[CODED], truth_gradient);
    assert_true(entry(report, "clean_bilinear_psnr") > entry(report, "bilinear_psnr") + 1.0);
    assert_true(entry(report, "clean_bilinear_sharpness") < 1.0);
    assert_true(entry(report, "checker_truth") > 0.7);
    assert_true(entry(report, "clean_bilinear_checker") > 0.6);
    assert_true(entry(report, "checker") < 0.5); /* noise */
    mgen_report_destroy(report);
    test_free(truth);
    test_free(made);
    test_free(film);
    world_free(&w);
}

static void test_protocol(void **state)
{
    (void)state;
    check_protocol(48, 64, 2);
    check_protocol(56, 48, 3); /* sides that are no multiple of the grid */
}

/* A network that looks at the film makes another one of what the TAE has spoiled. */
static void test_sees(void **state)
{
    (void)state;
    world w;
    world_make(&w, 48, 48, 2);
    randomise(&w.video.module, 0.1f);
    mgen_report *report = measured(&w);
    assert_true(fabs(entry(report, "psnr") - entry(report, "clean_psnr")) > 1e-6);
    mgen_report_destroy(report);
    world_free(&w);
}

static void test_scenes(void **state)
{
    (void)state;
    const mgi_clip_shape clip = {64, 48, FRAMES, 16};
    mgi_world_scene scene, other;
    for (int64_t i = 0; i < 50; i++) {
        mgi_upsample_scene(&clip, SEED, i, &scene);
        assert_int_equal(scene.width, 64);
        assert_int_equal(scene.height, 48);
        assert_int_equal(scene.frames, FRAMES);
        for (int k = 0; k < scene.count; k++)
            assert_true(mgi_world_held_out(scene.objects[k].shape, scene.objects[k].colour,
                                           scene.objects[k].motion, scene.background));
        mgi_upsample_scene(&clip, SEED + 1, i, &other);
        assert_memory_not_equal(&scene, &other, sizeof scene);
    }
}

/* -- ends --------------------------------------------------------------------------------------- */

static bool stop(void *user, int done, int total)
{
    assert_int_equal(total, CLIPS);
    assert_int_equal(done, ++*(int *)user);
    return done == 1;
}

static void test_stops(void **state)
{
    (void)state;
    world w;
    int calls = 0;
    mgi_eval_request r = request();
    world_make(&w, 48, 48, 2);
    r.progress = stop;
    r.user = &calls;
    assert_int_equal(mgi_eval_upsample(w.ctx, &w.tae, &w.n, &w.clip, &r, NULL), MGEN_E_CANCELLED);
    assert_int_equal(calls, 1);
    world_free(&w);
}

static void test_refused(void **state)
{
    static const mgi_clip_shape shapes[] = {{46, 48, 2, 16},   {48, 0, 2, 16},    {49, 48, 2, 16},
                                            {48, 49, 2, 16},   {1026, 48, 2, 16}, {48, 48, 0, 16},
                                            {48, 48, 4097, 16}};
    (void)state;
    world w;
    mgi_eval_request r = request();
    world_make(&w, 48, 48, 2);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        assert_int_equal(mgi_eval_upsample(w.ctx, &w.tae, &w.n, &shapes[i], &r, NULL),
                         MGEN_E_STATE);
        assert_non_null(strstr(mgen_last_error(w.ctx), "even sides of 48 to 1024"));
    }
    w.clip.width = 128;
    assert_int_equal(mgi_eval_upsample(w.ctx, &w.tae, &w.n, &w.clip, &r, NULL), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(w.ctx), "256 x 96; its upsampler makes frames of up to "
                                                   "176 x 144"));
    w.config.factor = 64;
    w.clip.width = 66;
    assert_int_equal(mgi_eval_upsample(w.ctx, &w.tae, &w.n, &w.clip, &r, NULL), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(w.ctx), "48 to 64 pixels"));
    world_free(&w);
}

/* Whatever allocation fails, nothing stays. */
static void test_memory(void **state)
{
    (void)state;
    world w;
    mgi_eval_request r = request();
    world_make(&w, 48, 48, 2);
    w.clip.frames = 1;
    r.n = 1;
    ASSERT_NOTHING_STAYS(w.ctx, w.memory,
                         mgi_eval_upsample(w.ctx, &w.tae, &w.n, &w.clip, &r, NULL));
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protocol), cmocka_unit_test(test_sees),
        cmocka_unit_test(test_scenes),   cmocka_unit_test(test_stops),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
