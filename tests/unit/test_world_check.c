/* SPDX-License-Identifier: MIT
 * The checker reads back what the world shows, also when it is blurred, and does not see what is not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/philox.h"
#include "data/world_parts.h"
#include "eval/world_check.h"
#include "eval/alignment.h"
#include "eval/world_tally.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES = 32, PIXELS_MAX = 80 * 48 > 64 * 64 ? 80 * 48 : 64 * 64 };

static mgen_context *ctx;
static uint8_t *clip;

static int setup(void **state)
{
    (void)state;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 1;
    clip = malloc((size_t)FRAMES * PIXELS_MAX * 3);
    return clip && mgi_context_init(&ctx, &params) == MGEN_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mgi_context_free(ctx);
    free(clip);
    return 0;
}

/* How many scenes each rate is measured on: MGEN_TEST_SCENES, else few enough for every day. */
static int scene_count(int otherwise)
{
    const char *text = getenv("MGEN_TEST_SCENES");
    int n = text ? atoi(text) : 0;
    return n > 0 ? n : otherwise;
}

/* [1 4 6 4 1] / 16 both ways: a blur of 1 pixel. */
static void blur(uint8_t *frame, int w, int h)
{
    static const int kernel[5] = {1, 4, 6, 4, 1};
    static uint8_t copy[PIXELS_MAX * 3];
    for (int pass = 0; pass < 2; pass++) {
        memcpy(copy, frame, (size_t)(3 * w * h));
        for (int i = 0; i < 3 * w * h; i++) {
            int x = i / 3 % w, y = i / 3 / w, sum = 8;
            for (int k = -2; k <= 2; k++) {
                int to = pass ? (y + k < 0       ? 0
                                 : y + k > h - 1 ? h - 1
                                                 : y + k) *
                                        3 * w +
                                    3 * x
                              : 3 * w * y + 3 * (x + k < 0       ? 0
                                                 : x + k > w - 1 ? w - 1
                                                                 : x + k);
                sum += kernel[k + 2] * copy[to + i % 3];
            }
            frame[i] = (uint8_t)(sum / 16);
        }
    }
}

typedef struct rates {
    int objects, shape, colour, size, motion; /* of objects */
    int scenes, count, background, camera, sign, moving, fps, all;
} rates;

static void compare(rates *r, const mgi_world_scene *s, const mgi_world_said *got)
{
    bool all = got->count == s->count && got->background == s->background &&
               (s->frames == 1 || got->camera == s->camera) && !strcmp(got->sign, s->sign);
    bool moving = s->camera != MGI_WORLD_STATIC;
    for (int i = 0; i < s->count; i++) {
        const mgi_world_object *o = &s->objects[i];
        moving = moving || o->motion != MGI_WORLD_STILL;
        r->objects++;
        int k = 0;
        while (k < got->count && got->objects[k].colour != o->colour)
            k++;
        if (k == got->count) {
            all = false;
            continue;
        }
        bool motion = s->frames == 1 || got->objects[k].motion == o->motion;
        r->colour++;
        r->shape += got->objects[k].shape == o->shape;
        r->size += got->objects[k].size == o->size;
        r->motion += motion;
        all = all && got->objects[k].shape == o->shape && got->objects[k].size == o->size && motion;
    }
    moving = moving && s->frames > 1;
    r->scenes++;
    r->count += got->count == s->count;
    r->background += got->background == s->background;
    r->camera += s->frames == 1 || got->camera == s->camera;
    r->sign += !strcmp(got->sign, s->sign);
    r->moving += moving;
    r->fps += moving && got->fps == s->fps;
    r->all += all && (!moving || got->fps == s->fps);
}

static void check(const mgi_world_scene *s, bool blurred, mgi_world_said *got)
{
    mgi_world_draw(s, s->width, s->height, 0, s->frames, clip);
    for (int f = 0; blurred && f < s->frames; f++)
        blur(clip + 3 * f * s->width * s->height, s->width, s->height);
    if (mgi_world_check(ctx, clip, s->width, s->height, s->frames, got) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
}

/* Rates over n scenes of a kind; at most `misses` of each attribute and one in a hundred of many. */
static void measure(const char *what, const mgi_world_options *options, int n, bool blurred)
{
    rates r = {0};
    for (int i = 0; i < n; i++) {
        mgi_world_scene s;
        mgi_world_said got;
        mgi_world_scene_random(&s, 21, (uint64_t)i, options);
        check(&s, blurred, &got);
        compare(&r, &s, &got);
    }
    print_message(
        "%-22s %4d scenes: count %.4f colour %.4f shape %.4f size %.4f motion %.4f background "
        "%.4f camera %.4f fps %.4f text %.4f all %.4f\n",
        what, n, (double)r.count / n, (double)r.colour / r.objects, (double)r.shape / r.objects,
        (double)r.size / r.objects, (double)r.motion / r.objects, (double)r.background / n,
        (double)r.camera / n, (double)r.fps / (r.moving ? r.moving : 1), (double)r.sign / n,
        (double)r.all / n);
    int most = n / 100, some = r.objects / 100;
    if (blurred) {
        most = n / 30 + 1;
        some = r.objects / 30 + 1;
    }
    assert_true(n - r.count <= most && n - r.background <= most && n - r.camera <= most);
    assert_true(n - r.sign <= most && r.moving - r.fps <= most);
    assert_true(r.objects - r.colour <= some && r.objects - r.shape <= some);
    assert_true(r.objects - r.size <= some && r.objects - r.motion <= some);
}

static void test_one_object(void **state)
{
    (void)state;
    const mgi_world_options o = {
        .objects_max = 1, .camera = MGI_WORLD_NEVER, .sign = MGI_WORLD_NEVER};
    measure("one object", &o, scene_count(6), false);
    measure("one object, blurred", &o, scene_count(3), true);
}

static void test_two_objects(void **state)
{
    (void)state;
    const mgi_world_options o = {
        .objects_min = 2, .objects_max = 2, .camera = MGI_WORLD_NEVER, .sign = MGI_WORLD_NEVER};
    measure("two objects", &o, scene_count(4), false);
}

static void test_camera(void **state)
{
    (void)state;
    const mgi_world_options o = {.camera = MGI_WORLD_ALWAYS, .sign = MGI_WORLD_NEVER};
    measure("camera", &o, scene_count(6), false);
    measure("camera, blurred", &o, scene_count(3), true);
}

static void test_sign(void **state)
{
    (void)state;
    const mgi_world_options o = {.sign = MGI_WORLD_ALWAYS};
    measure("sign", &o, scene_count(4), false);
    measure("sign, blurred", &o, scene_count(3), true);
}

/* Other sizes, lengths and images. */
static void test_buckets(void **state)
{
    (void)state;
    measure("80 x 48, 24 frames", &(mgi_world_options){.width = 80, .height = 48, .frames = 24},
            scene_count(2), false);
    measure("48 x 80, 16 frames", &(mgi_world_options){.width = 48, .height = 80, .frames = 16},
            scene_count(2), false);
    measure("images", &(mgi_world_options){.frames = 1}, scene_count(8), false);
}

/* ---- what is not there -------------------------------------------------------------------------- */

static void fill(int background)
{
    static mgi_world_place place;
    static float empty[64 * 64 * 3];
    const mgi_world_camera rest = {.zoom = 1.0f};
    mgi_world_place_init(&place, background);
    mgi_world_background(&place, 64, 64, &rest, 64, 0, 64, empty);
    for (int i = 0; i < FRAMES * 64 * 64 * 3; i++)
        clip[i] = (uint8_t)(empty[i % (64 * 64 * 3)] + 0.5f);
}

static void test_nothing(void **state)
{
    mgi_world_said got;
    (void)state;
    for (int k = 0; k < MGI_WORLD_BACKGROUNDS; k++) {
        fill(k);
        assert_int_equal(mgi_world_check(ctx, clip, 64, 64, 8, &got), MGEN_OK);
        assert_true(got.count == 0 && got.background == k && got.camera == MGI_WORLD_STATIC);
        assert_true(got.fps == 0 && !got.sign[0]);
    }
    for (int i = 0; i < 64 * 64 * 3 * 8; i++)
        clip[i] = (uint8_t)mgi_random_u32(5, 99, (uint64_t)i);
    assert_int_equal(mgi_world_check(ctx, clip, 64, 64, 8, &got), MGEN_OK);
    assert_true(got.count == 0 && got.background == -1 && !got.sign[0]);
    memset(clip, 128, 64 * 64 * 3 * 8);
    assert_int_equal(mgi_world_check(ctx, clip, 64, 64, 8, &got), MGEN_OK);
    assert_true(got.count == 0 && !got.sign[0]);
    assert_int_equal(mgi_world_check(ctx, clip, 8, 64, 8, &got), MGEN_E_INVALID);
}

/* Lumps, unions of three random discs, drift at a speed that is no law's: a colour, no shape and no motion. */
static void test_lumps(void **state)
{
    int n = scene_count(4), shapes = 0, colours = 0, motions = 0;
    (void)state;
    for (int i = 0; i < n; i++) {
        float rgb[3], u[9];
        mgi_world_said got;
        int colour = i % MGI_WORLD_COLOURS;
        for (int k = 0; k < 9; k++)
            u[k] = mgi_random_unit(6, 99, (uint64_t)(i * 9 + k));
        fill(MGI_WORLD_STONE);
        mgi_world_colour_rgb(colour, rgb);
        for (int p = 0; p < FRAMES * 64 * 64; p++) {
            float t = (float)(p / 4096) - 15.5f, cover = 0.0f;
            for (int k = 0; k < 3; k++) {
                float x = (float)(p % 64) - 32.0f - 0.3f * t - 18.0f * (u[k] - 0.5f);
                float y = (float)(p % 4096 / 64) - 40.0f + 0.3f * t - 18.0f * (u[k + 3] - 0.5f);
                float a = 5.0f + 5.0f * u[k + 6] - sqrtf(x * x + y * y);
                cover = a > cover ? a : cover;
            }
            cover = cover > 1.0f ? 1.0f : cover;
            for (int k = 0; k < 3; k++)
                clip[3 * p + k] =
                    (uint8_t)((float)clip[3 * p + k] * (1.0f - cover) + rgb[k] * cover);
        }
        assert_int_equal(mgi_world_check(ctx, clip, 64, 64, FRAMES, &got), MGEN_OK);
        shapes += got.count == 1 && got.objects[0].shape >= 0;
        motions += got.count == 1 && got.objects[0].motion >= 0;
        colours += got.count == 1 && got.objects[0].colour == colour;
    }
    print_message("lumps                  %4d scenes: a shape is read in %.3f, a motion in %.3f, "
                  "the colour in "
                  "%.3f\n",
                  n, (double)shapes / n, (double)motions / n, (double)colours / n);
    assert_true(shapes <= 0.4 * n && motions <= 0.1 * n && colours >= 0.95 * n);
}

/* A shape of another size than the world's, and a letter that is none, are told apart from the nearest. */
static void test_wrong_attribute(void **state)
{
    int hits = 0, n = scene_count(8);
    (void)state;
    for (int i = 0; i < n; i++) {
        mgi_world_scene s, other;
        mgi_world_said got;
        rates r = {0};
        mgi_world_scene_random(&s, 22, (uint64_t)i,
                               &(mgi_world_options){.objects_max = 1, .sign = MGI_WORLD_ALWAYS});
        check(&s, false, &got);
        other = s;
        switch (i % 8) {
        case 0:
            other.objects[0].shape = (s.objects[0].shape + 1) % MGI_WORLD_SHAPES;
            break;
        case 1:
            other.objects[0].colour = (s.objects[0].colour + 1) % MGI_WORLD_COLOURS;
            break;
        case 2:
            other.objects[0].size = (s.objects[0].size + 1) % MGI_WORLD_SIZES;
            break;
        case 3:
            other.objects[0].motion = (s.objects[0].motion + 1) % MGI_WORLD_MOTIONS;
            break;
        case 4:
            other.background = (s.background + 1) % MGI_WORLD_BACKGROUNDS;
            break;
        case 5:
            other.camera = (s.camera + 1) % MGI_WORLD_CAMERAS;
            break;
        case 6:
            other.sign[0] = s.sign[0] == 'A' ? 'B' : 'A';
            break;
        default:
            other.count = 2;
            other.objects[1] = other.objects[0];
            break;
        }
        compare(&r, &other, &got);
        hits += r.all;
    }
    assert_int_equal(hits, 0);
}

/* ---- the protocol ------------------------------------------------------------------------------- */

/* Prompts are told of held-out combinations, of one object and of two in turn; the constants are the first. */
static void test_prompts(void **state)
{
    const mgi_clip_shape shape = {64, 64, 32, 16};
    (void)state;
    for (int i = 0; i < MGI_ALIGNMENT_PROMPTS; i++) {
        char text[MGI_WORLD_CAPTION_MAX];
        mgi_world_scene s;
        mgi_world_said asked;
        mgi_alignment_prompt(&shape, i, &s, text);
        assert_string_equal(mgi_alignment_constant(i), text);
        mgi_world_parse(text, &asked);
        assert_int_equal(asked.count, i % 2 ? 2 : 1);
        for (int k = 0; k < asked.count; k++)
            assert_true(mgi_world_held_out(asked.objects[k].shape, asked.objects[k].colour,
                                           asked.objects[k].motion, asked.background));
    }
    assert_null(mgi_alignment_constant(MGI_ALIGNMENT_PROMPTS));
}

static mgi_world_tally tally_of(const char *asked, const char *seen)
{
    mgi_world_said a, b;
    mgi_world_tally t = {0};
    mgi_world_parse(asked, &a);
    mgi_world_parse(seen, &b);
    mgi_world_tally_add(&t, &a, &b);
    return t;
}

static void assert_tally(const mgi_world_tally *t, const int64_t want[MGI_TALLY_ENTRIES][2])
{
    for (int i = 0; i < MGI_TALLY_ENTRIES; i++)
        if (t->right[i] != want[i][0] || t->asked[i] != want[i][1])
            fail_msg("entry %d: %lld of %lld", i, (long long)t->right[i], (long long)t->asked[i]);
}

/* What is asked for and what is seen are compared by colour. In the order of the entries: right, asked for. */
static void test_tally(void **state)
{
    static const char two[] =
        "FPS-8 a red ball spins and a large blue cube bounces on snow, with a "
        "sign that reads \"K9\"";
    static const int64_t all[][2] = {{2, 2}, {1, 1}, {2, 2}, {1, 1}, {2, 2}, {2, 2},
                                     {1, 1}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, {0, 0}};
    static const int64_t some[][2] = {{1, 2}, {0, 1}, {1, 2}, {1, 1}, {1, 2}, {0, 2},
                                      {0, 1}, {0, 1}, {0, 1}, {0, 0}, {0, 1}, {0, 0}};
    static const int64_t still[][2] = {{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1},
                                       {1, 1}, {0, 0}, {0, 0}, {1, 1}, {0, 0}, {0, 0}};
    (void)state;
    mgi_world_tally t =
        tally_of(two, "FPS-8 static shot. a large blue cube bounces and a red ball spins on snow, "
                      "with a sign that reads \"K9\"");
    assert_tally(&t, all);
    assert_true(mgi_world_tally_share(&t) == 1.0);
    t = tally_of(two, "FPS-16 zoom in. a small blue cube bounces and a green ball spins on sand");
    assert_tally(&t, some);
    assert_true(fabs(mgi_world_tally_share(&t) - 4.0 / 13.0) < 1e-12);
    for (int i = 0; i < MGI_WORLD_MOTIONS; i++) {
        bool bounces = i == MGI_WORLD_BOUNCE;
        assert_int_equal(t.motion_asked[i], bounces || i == MGI_WORLD_SPIN);
        assert_int_equal(t.motion_right[i], bounces);
    }
    t = tally_of("FPS-8 a red ball stays still on snow",
                 "FPS-8 static shot. a red ball stays still on snow");
    assert_tally(&t, still);
    /* what may be anything is not counted, and does not hold up the rest */
    static const int64_t any[][2] = {{1, 1}, {0, 0}, {0, 0}, {1, 1}, {1, 1}, {1, 1},
                                     {1, 1}, {0, 0}, {0, 0}, {1, 1}, {0, 0}, {0, 0}};
    mgi_world_said asked, seen;
    mgi_world_parse("a red ball", &asked);
    mgi_world_parse("FPS-8 static shot. a red ball spins on snow", &seen);
    asked.background = asked.objects[0].motion = asked.fps = MGI_TALLY_ANY;
    mgi_world_tally anything = {0};
    mgi_world_tally_add(&anything, &asked, &seen);
    assert_tally(&anything, any);
    mgen_report *report;
    assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
    mgi_world_tally_report(&t, MGI_TALLY_CHECKER, report);
    assert_string_equal(report->entry[report->count - 1].name, "checker_motion_stays_still");
    assert_true(report->entry[report->count - 1].value == 1.0);
    uint32_t count = report->count;
    mgi_world_tally_report(&t, MGI_TALLY_CONTROL, report);
    assert_string_equal(report->entry[report->count - 1].name, "control_all_one");
    assert_int_equal(report->count, 2 * count - 1);
    mgi_world_tally_report(&t, MGI_TALLY_PLAIN, report);
    assert_string_equal(report->entry[report->count - 1].name, "plain_all_one");
    mgi_world_tally_report(&t, MGI_TALLY_TOLD, report);
    assert_string_equal(report->entry[report->count - 1].name, "told_all_one");
    mgen_report_destroy(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_object), cmocka_unit_test(test_two_objects),
        cmocka_unit_test(test_camera),     cmocka_unit_test(test_sign),
        cmocka_unit_test(test_buckets),    cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_lumps),      cmocka_unit_test(test_wrong_attribute),
        cmocka_unit_test(test_prompts),    cmocka_unit_test(test_tally),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
