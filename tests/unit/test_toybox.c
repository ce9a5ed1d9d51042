/* SPDX-License-Identifier: MIT
 * The toybox is the same everywhere, says what it shows, and the checker reads it back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/hash.h"
#include "core/philox.h"
#include "data/toybox.h"
#include "eval/toybox_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { W = MGI_TOYBOX_WIDTH, H = MGI_TOYBOX_HEIGHT, FRAMES = MGI_TOYBOX_FRAMES };
enum { FRAME_BYTES = 3 * W * H, CLIP_BYTES = FRAMES * FRAME_BYTES };

static mgen_context *ctx;
static uint8_t *clip;

static int setup(void **state)
{
    (void)state;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 1;
    clip = malloc(CLIP_BYTES);
    return clip && mgi_context_init(&ctx, &params) == MGEN_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mgi_context_free(ctx);
    free(clip);
    return 0;
}

/* How many scenes the rates are measured on: MGEN_TEST_SCENES, else few enough for every day. */
static int scene_count(void)
{
    const char *text = getenv("MGEN_TEST_SCENES");
    int n = text ? atoi(text) : 0;
    return n > 0 ? n : 120;
}

/* ---- the world ------------------------------------------------------------------------------ */

/* Pinned: a change here means that trained models no longer fit the world. */
static void test_pixels_are_pinned(void **state)
{
    (void)state;
    static const uint64_t pinned[] = {0xa27195cc5973c94fu, 0xb83f85ddff298a8du, 0x27c43cf952dbf304u,
                                      0x81c792e64f5943bau};
    for (size_t i = 0; i < sizeof(pinned) / sizeof(pinned[0]); i++) {
        mgi_toybox_scene scene;
        mgi_toybox_scene_random(&scene, 2024, i);
        mgi_toybox_draw(&scene, 0, FRAMES, clip);
        uint64_t hash = mgi_hash64(clip, CLIP_BYTES, 0);
        if (hash != pinned[i])
            fail_msg("scene %zu has hash 0x%016llx, not 0x%016llx", i, (unsigned long long)hash,
                     (unsigned long long)pinned[i]);
    }
}

static void test_parts_of_a_clip(void **state)
{
    (void)state;
    uint8_t part[3 * FRAME_BYTES];
    for (uint64_t i = 0; i < 6; i++) {
        mgi_toybox_scene scene;
        mgi_toybox_scene_random(&scene, 3, i);
        mgi_toybox_draw(&scene, 0, FRAMES, clip);
        mgi_toybox_draw(&scene, 17, 3, part);
        assert_memory_equal(part, clip + 17 * FRAME_BYTES, sizeof(part));
    }
}

/* Each attribute comes equally often, and the rest stays within its limits. */
static void test_scenes(void **state)
{
    (void)state;
    enum { N = 6000 };
    int shapes[3] = {0}, colours[4] = {0}, backgrounds[2] = {0}, motions[3] = {0}, plain = 0;
    for (uint64_t i = 0; i < N; i++) {
        mgi_toybox_scene s;
        mgi_toybox_scene_random(&s, 11, i);
        shapes[s.shape]++;
        colours[s.colour]++;
        backgrounds[s.background]++;
        motions[s.motion]++;
        plain += s.wording == 0;
        assert_true(s.radius > 10.0f && s.radius < 15.0f && s.light > 0.92f && s.light < 1.06f);
        assert_true(s.speed > 0.6f && s.speed < 1.2f);
        float half = mgi_toybox_half_width(s.shape, s.radius), last = s.x, most = 0.0f;
        if (s.motion != MGI_TOYBOX_BOUNCE)
            last += (s.motion == MGI_TOYBOX_ROLL_LEFT ? -31.0f : 31.0f) * s.speed;
        assert_true(s.x - half > -4.01f && s.x + half < 68.01f);
        assert_true(last - half > -4.01f && last + half < 68.01f);
        for (int f = 1; f < FRAMES; f++) {
            float step = fabsf(mgi_toybox_height_at(&s, f) - mgi_toybox_height_at(&s, f - 1));
            most = step > most ? step : most;
        }
        assert_true(most <= 4.0f);
        float top = s.y + mgi_toybox_height_at(&s, 0) - mgi_toybox_half_height(s.shape, s.radius);
        assert_true(top - (s.motion == MGI_TOYBOX_BOUNCE ? s.amplitude : 0.0f) > 0.0f);
    }
    for (int k = 0; k < 3; k++) {
        assert_in_range(shapes[k], N / 3 - 200, N / 3 + 200);
        assert_in_range(motions[k], N / 3 - 200, N / 3 + 200);
    }
    for (int k = 0; k < 4; k++)
        assert_in_range(colours[k], N / 4 - 200, N / 4 + 200);
    assert_in_range(backgrounds[0], N / 2 - 200, N / 2 + 200);
    assert_in_range(plain, N / 2 - 200, N / 2 + 200);
}

static void test_captions(void **state)
{
    (void)state;
    char text[MGI_TOYBOX_CAPTION_MAX];
    mgi_toybox_scene s = {0};
    s.motion = MGI_TOYBOX_ROLL_LEFT;
    mgi_toybox_caption(&s, text);
    assert_string_equal(text, "a red ball rolls left on grass");
    s = (mgi_toybox_scene){.shape = MGI_TOYBOX_CUBE,
                           .colour = MGI_TOYBOX_BLUE,
                           .background = MGI_TOYBOX_SNOW,
                           .motion = MGI_TOYBOX_BOUNCE};
    mgi_toybox_caption(&s, text);
    assert_string_equal(text, "a blue cube bounces on snow");

    char seen[6][MGI_TOYBOX_CAPTION_MAX];
    for (int i = 0; i < 3 * 4 * 2 * 3 * 6; i++) {
        s.shape = i % 3;
        s.colour = i / 3 % 4;
        s.background = i / 12 % 2;
        s.motion = i / 24 % 3;
        s.wording = i / 72;
        mgi_toybox_caption(&s, text);
        assert_true(strlen(text) <= 60);
        assert_non_null(strstr(text, mgi_toybox_shape_name(s.shape)));
        assert_non_null(strstr(text, mgi_toybox_colour_name(s.colour)));
        assert_non_null(strstr(text, mgi_toybox_background_name(s.background)));
        static const char *const roots[] = {"left", "right", "bounc"};
        for (int k = 0; k < 3; k++)
            assert_int_equal(strstr(text, roots[k]) != NULL, k == s.motion);
        for (const char *p = text; *p; p++)
            assert_true((*p >= 'a' && *p <= 'z') || *p == ' ' || *p == ',');
        if (i % 72 == 0) {
            memcpy(seen[s.wording], text, sizeof(text));
            for (int k = 0; k < s.wording; k++)
                assert_string_not_equal(text, seen[k]);
        }
    }
    assert_string_equal(mgi_toybox_colour_name(-1), "unknown");
    assert_string_equal(mgi_toybox_motion_name(MGI_TOYBOX_MOTIONS), "unknown");
}

/* ---- spoiled pictures ----------------------------------------------------------------------- */

static uint8_t to_byte(float x)
{
    return x > 0.0f ? x < 255.0f ? (uint8_t)(x + 0.5f) : 255 : 0;
}

/* Blur by a Gaussian of `sigma` pixels, then add noise with deviation `noise`. */
static void spoil(uint8_t *frames, int count, float sigma, float noise, uint64_t seed)
{
    static float across[FRAME_BYTES];
    enum { R = 6 };
    float kernel[2 * R + 1], sum = 0.0f;
    for (int k = -R; k <= R; k++)
        sum += kernel[k + R] = expf(-(float)(k * k) / (2.0f * sigma * sigma));
    for (int f = 0; f < count; f++) {
        uint8_t *p = frames + (size_t)f * FRAME_BYTES;
        for (int i = 0; i < FRAME_BYTES; i++) {
            int c = i % 3, x = i / 3 % W, y = i / 3 / W;
            across[i] = 0.0f;
            for (int k = -R; k <= R; k++) {
                int at = x + k < 0 ? 0 : x + k >= W ? W - 1 : x + k;
                across[i] += kernel[k + R] / sum * (float)p[(y * W + at) * 3 + c];
            }
        }
        for (int i = 0; i < FRAME_BYTES; i++) {
            int c = i % 3, x = i / 3 % W, y = i / 3 / W;
            float v = 0.0f, u = -2.0f;
            for (int k = -R; k <= R; k++) {
                int at = y + k < 0 ? 0 : y + k >= H ? H - 1 : y + k;
                v += kernel[k + R] / sum * across[(at * W + x) * 3 + c];
            }
            uint32_t r[4]; /* four uniforms: their sum is near enough to a normal number */
            mgi_philox(seed, 99, (uint64_t)f * FRAME_BYTES + (uint64_t)i, r);
            for (int k = 0; k < 4; k++)
                u += mgi_u32_to_unit(r[k]);
            p[i] = to_byte(v + noise * 1.732f * u);
        }
    }
}

/* ---- the checker ---------------------------------------------------------------------------- */

typedef struct rates {
    int n, shape, colour, background, motion, all;
} rates;

static void add(rates *r, const mgi_toybox_reading *got, const mgi_toybox_scene *s)
{
    int shape = got->shape == s->shape, colour = got->colour == s->colour;
    int background = got->background == s->background, motion = got->motion == s->motion;
    r->n++;
    r->shape += shape;
    r->colour += colour;
    r->background += background;
    r->motion += motion;
    r->all += shape && colour && background && motion;
}

static void print_rates(const char *what, const rates *r)
{
    double n = r->n;
    print_message("%-28s %4d scenes: shape %.3f colour %.3f background %.3f motion %.3f all %.3f\n",
                  what, r->n, r->shape / n, r->colour / n, r->background / n, r->motion / n,
                  r->all / n);
}

static void measure(const char *what, float sigma, float noise, double least)
{
    rates r = {0};
    for (int i = 0; i < scene_count(); i++) {
        mgi_toybox_scene s;
        mgi_toybox_reading got;
        mgi_toybox_scene_random(&s, 99, (uint64_t)i);
        mgi_toybox_draw(&s, 0, FRAMES, clip);
        if (sigma > 0.0f)
            spoil(clip, FRAMES, sigma, noise, (uint64_t)i);
        assert_int_equal(mgi_toybox_check(ctx, clip, FRAMES, &got), MGEN_OK);
        add(&r, &got, &s);
    }
    print_rates(what, &r);
    assert_true(r.all >= least * r.n);
}

static void test_reads_truth(void **state)
{
    (void)state;
    measure("truth", 0.0f, 0.0f, 0.99);
}

static void test_reads_blurred_truth(void **state)
{
    (void)state;
    measure("blur 1 px, noise 5", 1.0f, 5.0f, 0.97);
}

static void test_reads_badly_blurred_truth(void **state)
{
    (void)state;
    measure("blur 2 px, noise 5", 2.0f, 5.0f, 0.90);
}

/* Fewer frames, as an earlier model may make. */
static void test_reads_short_clips(void **state)
{
    (void)state;
    rates r = {0};
    for (int i = 0; i < 60; i++) {
        mgi_toybox_scene s;
        mgi_toybox_reading got;
        mgi_toybox_scene_random(&s, 98, (uint64_t)i);
        mgi_toybox_draw(&s, 0, 16, clip);
        assert_int_equal(mgi_toybox_check(ctx, clip, 16, &got), MGEN_OK);
        add(&r, &got, &s);
    }
    print_rates("16 frames", &r);
    assert_true(r.shape >= 59 && r.colour >= 59 && r.background == 60);
}

/* One attribute of the expectation changed: never a hit. */
static void test_wrong_attribute(void **state)
{
    (void)state;
    int hits = 0;
    for (int i = 0; i < 120; i++) {
        mgi_toybox_scene s;
        mgi_toybox_reading got;
        mgi_toybox_scene_random(&s, 97, (uint64_t)i);
        mgi_toybox_draw(&s, 0, FRAMES, clip);
        assert_int_equal(mgi_toybox_check(ctx, clip, FRAMES, &got), MGEN_OK);
        rates r = {0};
        mgi_toybox_scene wrong = s;
        switch (i % 4) {
        case 0:
            wrong.shape = (s.shape + 1 + i / 4 % 2) % 3;
            break;
        case 1:
            wrong.colour = (s.colour + 1 + i / 4 % 3) % 4;
            break;
        case 2:
            wrong.background = 1 - s.background;
            break;
        default:
            wrong.motion = (s.motion + 1 + i / 4 % 2) % 3;
            break;
        }
        add(&r, &got, &wrong);
        hits += r.all;
    }
    assert_int_equal(hits, 0);
}

static void assert_nothing_seen(const char *what, int background)
{
    mgi_toybox_reading got;
    assert_int_equal(mgi_toybox_check(ctx, clip, FRAMES, &got), MGEN_OK);
    if (got.shape != -1 || got.colour != -1 || got.motion != -1 || got.background != background)
        fail_msg("%s: read shape %d colour %d background %d motion %d", what, got.shape, got.colour,
                 got.background, got.motion);
}

static void fill_background(int background)
{
    float empty[FRAME_BYTES];
    mgi_toybox_background(background, empty);
    for (int f = 0; f < FRAMES; f++)
        for (int i = 0; i < FRAME_BYTES; i++)
            clip[f * FRAME_BYTES + i] = to_byte(empty[i]);
}

static void test_nothing_there(void **state)
{
    (void)state;
    for (int k = 0; k < MGI_TOYBOX_BACKGROUNDS; k++) {
        fill_background(k);
        assert_nothing_seen("background", k);
        spoil(clip, FRAMES, 1.0f, 8.0f, 1);
        assert_nothing_seen("blurred background", k);
    }
    for (int level = 0; level < 256; level += 51) {
        memset(clip, level, CLIP_BYTES);
        mgi_toybox_reading got;
        assert_int_equal(mgi_toybox_check(ctx, clip, FRAMES, &got), MGEN_OK);
        assert_true(got.shape == -1 && got.colour == -1 && got.motion == -1);
    }
    memset(clip, 0, CLIP_BYTES);
    assert_nothing_seen("black", -1);
    for (int i = 0; i < CLIP_BYTES; i++)
        clip[i] = (uint8_t)mgi_random_u32(5, 99, (uint64_t)i);
    assert_nothing_seen("noise", -1);
}

/* ---- objects that the world does not have ---------------------------------------------------- */

/* Paint a figure that `cover` describes, at (x, y) in each frame. */
typedef float cover_fn(const void *arg, float x, float y);

static void paint(int background, const float rgb[3], cover_fn *cover, const void *arg, float dx,
                  float dy)
{
    fill_background(background);
    for (int f = 0; f < FRAMES; f++)
        for (int i = 0; i < W * H; i++) {
            float t = (float)f - 15.5f;
            float a = cover(arg, (float)(i % W) - 32.0f - dx * t, (float)(i / W) - 36.0f - dy * t);
            uint8_t *p = clip + f * FRAME_BYTES + 3 * i;
            for (int k = 0; k < 3; k++)
                p[k] = to_byte((float)p[k] * (1.0f - a) + rgb[k] * a);
        }
}

typedef struct blob {
    float x[3], y[3], radius[3];
} blob;

static float cover_blob(const void *arg, float x, float y)
{
    const blob *b = arg;
    float most = 0.0f;
    for (int k = 0; k < 3; k++) {
        float a = mgi_toybox_cover(MGI_TOYBOX_BALL, b->radius[k], x - b->x[k], y - b->y[k]);
        most = a > most ? a : most;
    }
    return most;
}

static float cover_ball(const void *arg, float x, float y)
{
    return mgi_toybox_cover(MGI_TOYBOX_BALL, *(const float *)arg, x, y);
}

/* Lumps: the union of three random discs. Their colour and motion are clear, their shape is not. */
static void test_blobs_have_no_shape(void **state)
{
    (void)state;
    int n = scene_count(), definite = 0, colours = 0, motions = 0;
    for (int i = 0; i < n; i++) {
        blob b;
        float rgb[3], u[9];
        for (int k = 0; k < 9; k++)
            u[k] = mgi_random_unit(6, 99, (uint64_t)(i * 9 + k));
        for (int k = 0; k < 3; k++) {
            b.x[k] = 20.0f * (u[k] - 0.5f);
            b.y[k] = 20.0f * (u[k + 3] - 0.5f);
            b.radius[k] = 5.0f + 6.0f * u[k + 6];
        }
        mgi_toybox_reading got;
        mgi_toybox_colour_rgb(i % 4, rgb);
        paint(i / 4 % 2, rgb, cover_blob, &b, 0.7f, 0.0f);
        assert_int_equal(mgi_toybox_check(ctx, clip, FRAMES, &got), MGEN_OK);
        definite += got.shape >= 0;
        colours += got.colour == i % 4;
        motions += got.motion == MGI_TOYBOX_ROLL_RIGHT;
    }
    print_message("random blobs                 %4d scenes: a shape is read in %.3f, colour %.3f, "
                  "motion %.3f\n",
                  n, (double)definite / n, (double)colours / n, (double)motions / n);
    assert_true(definite < 0.25 * n);
    assert_true(colours > 0.95 * n && motions > 0.95 * n);
}

static void test_other_colours(void **state)
{
    (void)state;
    static const float others[][3] = {{40, 200, 60}, {20, 200, 200}, {128, 128, 128}, {10, 10, 10}};
    float radius = 12.0f;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        for (int k = 0; k < MGI_TOYBOX_BACKGROUNDS; k++) {
            mgi_toybox_reading got;
            paint(k, others[i], cover_ball, &radius, 0.7f, 0.0f);
            assert_int_equal(mgi_toybox_check(ctx, clip, FRAMES, &got), MGEN_OK);
            assert_int_equal(got.colour, -1);
            assert_int_equal(got.shape, -1);
        }
}

static void test_other_motions(void **state)
{
    (void)state;
    static const float moves[][2] = {{0, 0}, {0, 0.5f}, {0, -0.5f}, {0.6f, 0.5f}, {0.1f, 0}};
    float radius = 12.0f, rgb[3];
    mgi_toybox_colour_rgb(MGI_TOYBOX_RED, rgb);
    for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
        mgi_toybox_reading got;
        paint(MGI_TOYBOX_GRASS, rgb, cover_ball, &radius, moves[i][0], moves[i][1]);
        assert_int_equal(mgi_toybox_check(ctx, clip, FRAMES, &got), MGEN_OK);
        assert_int_equal(got.motion, -1);
        assert_int_equal(got.shape, MGI_TOYBOX_BALL);
        assert_int_equal(got.colour, MGI_TOYBOX_RED);
        assert_true(fabsf(got.track_x - 31.0f * moves[i][0]) < 1.0f);
        assert_true(fabsf(got.track_y - 31.0f * moves[i][1]) < 1.0f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pixels_are_pinned),
        cmocka_unit_test(test_parts_of_a_clip),
        cmocka_unit_test(test_scenes),
        cmocka_unit_test(test_captions),
        cmocka_unit_test(test_reads_truth),
        cmocka_unit_test(test_reads_blurred_truth),
        cmocka_unit_test(test_reads_badly_blurred_truth),
        cmocka_unit_test(test_reads_short_clips),
        cmocka_unit_test(test_wrong_attribute),
        cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_blobs_have_no_shape),
        cmocka_unit_test(test_other_colours),
        cmocka_unit_test(test_other_motions),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
