/* SPDX-License-Identifier: MIT
 * Films of the person in a photo: against their definition, made of the networks by themselves; photos that are not square;
 * without one; memory; what is refused. */
#include "core/alloc.h"
#include "core/philox.h"
#include "flow/windows.h"
#include "kernels/pointwise/pointwise.h"
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

#include "given_film.h"

enum { STEPS = 3, CHANNELS = 3, W = 32, H = 32, WINDOW_FRAMES = 16, SIDE = 24, SEEN = 12 };
enum { TOKENS = 5 }; /* of a photo: 2 x 2 patches, and the one before them */
#define SOURCE_GUIDANCE 1.5f
#define GUIDANCE        3.0f

static const mgi_tae_config tae_config = {TINY_TAE};
static const mgi_text_config text_config = {.t5 = {TINY_T5, .tokens_max = 40}};
static const mgi_clip_vision_config vision_config = {TINY_VISION};
static const mgi_personalizer_config config = {
    .video = {TINY_VT, .reference = SEEN, .frames_max = 2, .rows_max = 2, .columns_max = 2,
              .guidance = GUIDANCE, .fps_prefix = true},
    .vision = "vision",
    .source_guidance = SOURCE_GUIDANCE,
    .steps = STEPS};
static const char *const prompts[2] = {"a smiling person walks left", "a person jumps"};
static const char *const negatives[2] = {"a cube", ""};
static const uint64_t seeds[2] = {5, 6};

typedef struct world {
    mgen_context *ctx;
    mgi_tae tae;
    mgi_text_encoder text;
    mgi_vt video;
    mgi_clip_vision vision;
    mgi_networks n;
} world;

static void world_make_on(world *w, const mgi_vt_config *video, const char *device)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 2;
    params.device = device;
    assert_int_equal(mgen_context_create(&params, &w->ctx), MGEN_OK);
    assert_int_equal(mgi_tae_init(&w->tae, w->ctx, &tae_config), MGEN_OK);
    assert_int_equal(mgi_text_encoder_init(&w->text, w->ctx, NULL, &text_config, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&w->video, w->ctx, video), MGEN_OK);
    assert_int_equal(mgi_clip_vision_init(&w->vision, w->ctx, &vision_config), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->tae.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->text.t5.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_random(&w->vision.module, 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&w->video, 1), MGEN_OK);
    if (!w->ctx->device->cuda) {
        randomise(&w->tae.module, 0.05f);
        randomise(&w->video.module, 0.1f);
        randomise(&w->vision.module, 0.2f);
    }
    w->n = (mgi_networks){
        .tae = &w->tae, .text = {&w->text}, .video = &w->video, .clip = {W, H, WINDOW_FRAMES, 8}};
    if (video->reference) {
        w->n.personalizer = &config;
        w->n.vision = &w->vision;
    }
    assert_int_equal(mgi_networks_check(w->ctx, &w->n), MGEN_OK);
}

static void world_make(world *w)
{
    world_make_on(w, &config.video, "cpu");
}

static void world_free(world *w)
{
    mgi_tae_finish(&w->tae);
    mgi_text_encoder_finish(&w->text);
    mgi_vt_finish(&w->video);
    mgi_clip_vision_finish(&w->vision);
    mgen_context_destroy(w->ctx);
}

/* Two faces, SIDE x SIDE. */
static uint8_t face[2][SIDE * SIDE * 3];
static mgi_photo photos[2];

static int draw_faces(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < SIDE * SIDE * 3; i++)
            face[k][i] = (uint8_t)(128.0f + 100.0f * sinf(0.05f * (float)i * (float)(k + 1)));
        photos[k] = (mgi_photo){face[k], SIDE, SIDE};
    }
    return 0;
}

static mgi_generate_request request(film *f, int64_t count)
{
    return (mgi_generate_request){.prompts = prompts,
                                  .count = count,
                                  .seeds = seeds,
                                  .steps = STEPS,
                                  .schedule = MGI_SCHEDULE_LINEAR,
                                  .width = f->width,
                                  .height = f->height,
                                  .frames = f->frames / count,
                                  .photos = photos,
                                  .progress = count_step,
                                  .sink = take_frames,
                                  .user = f};
}

static void make_film(world *w, film *f, const mgi_generate_request *r)
{
    f->came = f->steps = 0;
    if (mgi_generate(w->ctx, &w->n, r) != MGEN_OK)
        fail_msg("%s", mgen_last_error(w->ctx));
    assert_int_equal(f->came, f->frames);
}

/* -- the definition --------------------------------------------------------------------------------- */

/* A velocity of one window; photo NULL: none is seen. */
static void window_velocity(world *w, const float *x, int64_t frames, float time,
                            const uint8_t *photo, const char *prompt, float *out)
{
    mgi_run run;
    int64_t tokens[MGI_ROLES];
    mgi_vt_text text;
    mgi_run_init(&run, w->ctx, false);
    T *z = mgi_new(&run, MGK_F32, MGI_DIMS(1, frames, H / 8, W / 8, CHANNELS));
    T *t = mgi_new(&run, MGK_F32, MGI_DIMS(1));
    mgi_tensor_write(z, 0, x, z->count);
    mgi_tensor_write(t, 0, &time, 1);
    mgi_text_streams(&run, w->n.text, 0, &prompt, 1, tokens, &text);
    if (photo) {
        T *rgb = mgi_new(&run, MGK_U8, MGI_DIMS(1, SIDE, SIDE, 3));
        mgi_tensor_write(rgb, 0, photo, rgb->count);
        text.reference =
            mgi_clip_vision_tokens(&run, &w->vision, mgi_clip_vision_frames(&run, &w->vision, rgb));
        assert_int_equal(text.reference->dims[1], TOKENS);
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
    bool negative;
} scales;

/* The report's flow from noise, of clip k. */
static void define(world *w, int k, int64_t frames, scales g, float *rgb)
{
    const int64_t latents = (frames + 7) / 8, size = (H / 8) * (W / 8) * CHANNELS;
    const int64_t count = latents * size;
    float *room = test_malloc((size_t)(5 * count) * sizeof *room);
    float *x = room, *y = x + count, *u = y + count, *away = u + count, *nothing = away + count;
    char prompt[64], negative[64];
    snprintf(prompt, sizeof prompt, frames > 1 ? "FPS-8 %s" : "%s", prompts[k]);
    snprintf(negative, sizeof negative, g.negative && negatives[k][0] ? "FPS-8 %s" : "%s",
             g.negative ? negatives[k] : "");
    for (int64_t i = 0; i < count; i++)
        x[i] = mgi_random_normal(seeds[k], MGI_STREAM_NOISE, (uint64_t)i);
    mgi_windows windows = mgi_windows_make(latents, WINDOW_FRAMES / 8, WINDOW_FRAMES / 16);
    for (int step = 0; step < STEPS; step++) {
        memset(y, 0, (size_t)count * sizeof *y);
        for (int64_t j = 0; j < windows.count; j++) {
            int64_t first = mgi_window_first(&windows, j) * size, n = windows.length;
            float time = (float)step / STEPS;
            window_velocity(w, x + first, n, time, face[k], prompt, u);
            window_velocity(w, x + first, n, time, face[k], negative, away);
            window_velocity(w, x + first, n, time, NULL, "", nothing);
            for (int64_t i = 0; i < n * size; i++) {
                float v =
                    nothing[i] + g.source * (away[i] - nothing[i]) + g.text * (u[i] - away[i]);
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
    test_free(room);
}

/* Clips made together, each of its own photo. */
static void check(int clips, int64_t frames, scales g)
{
    world w;
    film f = film_of(W, H, clips * frames);
    const int64_t each = frames * W * H * 3;
    float *want = test_malloc((size_t)(clips * each) * sizeof *want);
    world_make(&w);
    mgi_generate_request r = request(&f, clips);
    r.guidance = g.text == GUIDANCE ? 0.0f : g.text; /* 0: the model's own */
    r.source_guidance = g.source == SOURCE_GUIDANCE ? 0.0f : g.source;
    if (g.negative)
        r.negatives = negatives;
    make_film(&w, &f, &r);
    assert_int_equal(f.steps, STEPS);
    for (int k = 0; k < clips; k++)
        define(&w, k, frames, g, want + k * each);
    float apart = largest(f.rgb, want, clips * each), size = largest(want, NULL, clips * each);
    if (!(apart <= 1e-4f * size) || size < 0.1f)
        fail_msg("%lld frames, guidance %g, of the photo %g: %g of %g apart", (long long)frames,
                 (double)g.text, (double)g.source, (double)apart, (double)size);
    test_free(want);
    test_free(f.rgb);
    world_free(&w);
}

static void test_definition(void **state)
{
    (void)state;
    check(1, 1, (scales){GUIDANCE, SOURCE_GUIDANCE, false});
    check(1, 11, (scales){GUIDANCE, 1.25f, true});
    check(2, 16, (scales){2.0f, SOURCE_GUIDANCE, true});
    check(1, 16, (scales){2.0f, 1.0f, false});
    check(2, 16, (scales){1.0f, 1.25f, false});
    check(2, 16, (scales){1.0f, 1.0f, false});
    check(1, 33, (scales){GUIDANCE, SOURCE_GUIDANCE, false}); /* in windows */
}

/* Without a photo, to the bit what a video model of the same values makes. */
static void test_without(void **state)
{
    (void)state;
    world w, plain;
    film f[2] = {film_of(W, H, 16), film_of(W, H, 16)};
    mgi_vt_config video = config.video;
    video.reference = 0;
    world_make(&w);
    world_make_on(&plain, &video, "cpu");
    copy_values(&w.tae.module, &plain.tae.module);
    copy_values(&w.text.t5.module, &plain.text.t5.module);
    for (int64_t i = 0; i < plain.video.module.count; i++) {
        const mgi_param *to = plain.video.module.params[i];
        for (int64_t k = 0; k < w.video.module.count; k++)
            if (!strcmp(w.video.module.params[k]->name, to->name))
                mgi_tensor_write(to->value, 0, mgi_f32(w.video.module.params[k]->value),
                                 to->value->count);
    }
    for (int i = 0; i < 2; i++) {
        mgi_generate_request r = request(&f[i], 1);
        r.photos = NULL;
        make_film(i ? &plain : &w, &f[i], &r);
    }
    assert_memory_equal(f[0].rgb, f[1].rgb, 16 * W * H * 3 * sizeof(float));
    mgi_generate_request r = request(&f[1], 1);
    make_film(&w, &f[1], &r);
    assert_true(largest(f[0].rgb, f[1].rgb, 16 * W * H * 3) > 0.01f);
    for (int i = 0; i < 2; i++)
        test_free(f[i].rgb);
    world_free(&w);
    world_free(&plain);
}

/* A photo that is not square is seen with grey beside it. */
static void test_sides(void **state)
{
    (void)state;
    enum { THIN = 15, BEFORE = (SIDE - THIN) / 2 };
    static uint8_t part[SIDE * THIN * 3], whole[SIDE * SIDE * 3];
    world w;
    world_make(&w);
    for (int wide = 0; wide < 2; wide++) {
        film f[2] = {film_of(W, H, 1), film_of(W, H, 1)};
        const int height = wide ? THIN : SIDE, width = wide ? SIDE : THIN;
        memset(whole, 128, sizeof whole);
        for (int y = 0; y < height; y++) {
            uint8_t *to = whole + ((y + (wide ? BEFORE : 0)) * SIDE + (wide ? 0 : BEFORE)) * 3;
            memcpy(part + y * width * 3, face[0] + y * SIDE * 3, (size_t)width * 3);
            memcpy(to, part + y * width * 3, (size_t)width * 3);
        }
        const mgi_photo seen[2] = {{part, height, width}, {whole, SIDE, SIDE}};
        for (int i = 0; i < 2; i++) {
            mgi_generate_request r = request(&f[i], 1);
            r.photos = &seen[i];
            make_film(&w, &f[i], &r);
        }
        assert_memory_equal(f[0].rgb, f[1].rgb, W * H * 3 * sizeof(float));
        for (int i = 0; i < 2; i++)
            test_free(f[i].rgb);
    }
    world_free(&w);
}

/* On a GPU as on the CPU, to rounding; there captured as not captured, to the bit. */
static void test_gpu(void **state)
{
    (void)state;
    world cpu, gpu;
    film f[3];
    const int64_t count = 33 * W * H * 3;
    if (mgi_cuda_count(NULL, 0) == 0)
        skip();
    world_make(&cpu);
    world_make_on(&gpu, &config.video, "cuda:0");
    copy_values(&cpu.tae.module, &gpu.tae.module);
    copy_values(&cpu.text.t5.module, &gpu.text.t5.module);
    copy_values(&cpu.video.module, &gpu.video.module);
    copy_values(&cpu.vision.module, &gpu.vision.module);
    for (int i = 0; i < 3; i++) {
        f[i] = film_of(W, H, 33);
        mgi_generate_request r = request(&f[i], 1);
        const mgi_photo whole = {face[0], vision_config.image, vision_config.image};
        r.photos = &whole; /* bytes that are not resized, as sums may round to others */
        r.guidance_to = 0.5f;
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

/* -- memory, ends ----------------------------------------------------------------------------------- */

static void check_estimate(int64_t frames, int64_t side)
{
    world w;
    film f = film_of(W, H, frames);
    mgi_generate_needs needs;
    uint8_t *rgb = test_calloc((size_t)(side * side), 3);
    const mgi_photo photo = {rgb, side, side};
    world_make(&w);
    mgi_generate_request r = request(&f, 1);
    r.photos = &photo;
    r.guidance_from = 0.5f; /* at some of the times */
    assert_int_equal(mgi_generate_estimate(w.ctx, &w.n, &r, &needs), MGEN_OK);
    assert_int_equal(f.steps + f.came, 0);
    mgi_device_trim(w.ctx->device);
    uint64_t before = atomic_load(&w.ctx->heap->now);
    double flops = w.ctx->device->counts.flops;
    atomic_store(&w.ctx->heap->peak, before);
    make_film(&w, &f, &r);
    uint64_t real = atomic_load(&w.ctx->heap->peak) - before;
    flops = w.ctx->device->counts.flops - flops;
    if (real > needs.host_bytes || 4 * real < 3 * needs.host_bytes)
        fail_msg("%lld frames, a photo of %lld: %llu bytes estimated, %llu needed",
                 (long long)frames, (long long)side, (unsigned long long)needs.host_bytes,
                 (unsigned long long)real);
    if (!(fabs(flops - needs.flops) < 1e-6 * flops))
        fail_msg("%g flops estimated, %g needed", needs.flops, flops);
    test_free(rgb);
    test_free(f.rgb);
    world_free(&w);
}

static void test_estimate(void **state)
{
    (void)state;
    check_estimate(1, SIDE);
    check_estimate(16, SIDE);
    check_estimate(1, 400); /* the photo is most of it */
}

static void refused(world *w, const mgi_generate_request *r, const char *said)
{
    mgen_status got = mgi_generate(w->ctx, &w->n, r);
    if (got != MGEN_E_INVALID || !strstr(mgen_last_error(w->ctx), said))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(w->ctx),
                 said);
}

static void test_refused(void **state)
{
    (void)state;
    world w;
    film f = film_of(W, H, 1);
    mgi_vt_config video = config.video;
    world_make(&w);
    mgi_generate_request r = request(&f, 1);
    r.source = source;
    r.skip = 0.5f;
    refused(&w, &r, "photos are seen by a personalizer");
    r = request(&f, 1);
    w.n.personalizer = NULL; /* as if its transformer were a video model */
    refused(&w, &r, "it is that of a personalizer");
    assert_int_equal(mgi_networks_check(w.ctx, &w.n), MGEN_E_CORRUPT);
    world_free(&w);
    video.reference = 0;
    world_make_on(&w, &video, "cpu");
    refused(&w, &r, "photos are seen by a personalizer");
    test_free(f.rgb);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition), cmocka_unit_test(test_without),
        cmocka_unit_test(test_sides),      cmocka_unit_test(test_gpu),
        cmocka_unit_test(test_estimate),   cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, draw_faces, NULL);
}
