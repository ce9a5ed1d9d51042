/* SPDX-License-Identifier: MIT
 * The world is the same everywhere, keeps its promises about what is in a scene, and says what it shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/hash.h"
#include "data/world_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int views[][2] = {{64, 64}, {80, 48}, {48, 80}, {64, 48}, {48, 64}};
enum { VIEWS = sizeof views / sizeof views[0] };

/* ---- scenes ------------------------------------------------------------------------------------- */

/* Each attribute comes about equally often, and the shares are the promised ones. */
static void test_shares(void **state)
{
    (void)state;
    enum { N = 4000 };
    int shapes[MGI_WORLD_SHAPES] = {0}, colours[MGI_WORLD_COLOURS] = {0}, fps[3] = {0};
    int backgrounds[MGI_WORLD_BACKGROUNDS] = {0}, cameras[MGI_WORLD_CAMERAS] = {0};
    int motions[MGI_WORLD_MOTIONS] = {0}, counts[4] = {0}, sizes[3] = {0}, signs[5] = {0}, all = 0;
    for (uint64_t i = 0; i < N; i++) {
        mgi_world_scene s;
        mgi_world_scene_random(&s, 11, i, NULL);
        assert_true(s.width == 64 && s.height == 64 && s.frames == 32);
        counts[s.count]++;
        backgrounds[s.background]++;
        cameras[s.camera]++;
        fps[s.fps / 8 - 1]++;
        signs[strlen(s.sign)]++;
        for (int k = 0; k < s.count; k++, all++) {
            shapes[s.objects[k].shape]++;
            colours[s.objects[k].colour]++;
            sizes[s.objects[k].size]++;
            motions[s.objects[k].motion]++;
        }
    }
    for (int k = 0; k < MGI_WORLD_SHAPES; k++)
        assert_in_range(shapes[k], all / 9, all / 4);
    for (int k = 0; k < MGI_WORLD_COLOURS; k++)
        assert_in_range(colours[k], all / 10, all / 6);
    for (int k = 0; k < MGI_WORLD_BACKGROUNDS; k++)
        assert_in_range(backgrounds[k], N / 7, N / 5);
    for (int k = 0; k < MGI_WORLD_MOTIONS; k++)
        assert_in_range(motions[k], all / 16, all / 5);
    for (int k = 0; k < MGI_WORLD_SIZES; k++)
        assert_in_range(sizes[k], all / 6, all / 2);
    for (int k = 0; k < MGI_WORLD_CAMERAS; k++)
        if (k != MGI_WORLD_STATIC)
            assert_in_range(cameras[k], N / 50, N / 20);
    assert_in_range(cameras[MGI_WORLD_STATIC], N * 47 / 100, N * 57 / 100);
    assert_in_range(counts[1], N * 47 / 100, N * 54 / 100);
    assert_in_range(counts[2], N * 32 / 100, N * 42 / 100);
    assert_in_range(signs[0], N * 72 / 100, N * 78 / 100);
    assert_in_range(fps[1], N * 57 / 100, N * 63 / 100);
    assert_true(signs[1] > 0 && signs[4] > 0 && fps[0] > 0 && fps[2] > 0);
}

/* In every bucket: objects of a scene differ in colour, begin whole within the view, stay within it, keep
 * apart, and at 16 frames a second nothing that the camera leaves in peace moves by more than 4 units. */
static void test_layout(void **state)
{
    (void)state;
    int crowded = 0, all = 0;
    for (uint64_t i = 0; i < 1500; i++) {
        mgi_world_options o = {.width = views[i % VIEWS][0],
                               .height = views[i % VIEWS][1],
                               .frames = 16 + 8 * (int)(i / VIEWS % 3)};
        mgi_world_scene s;
        mgi_world_scene_random(&s, 12, i, &o);
        for (int k = 0; k < s.count; k++)
            for (int j = 0; j < k; j++)
                assert_int_not_equal(s.objects[k].colour, s.objects[j].colour);
        for (int f = 0; f < s.frames; f++) {
            mgi_world_pose p[MGI_WORLD_OBJECTS], next;
            float r[MGI_WORLD_OBJECTS];
            for (int k = 0; k < s.count; k++, all++) {
                mgi_world_object_at(&s, k, (float)f / (float)s.fps, &p[k]);
                r[k] = s.objects[k].radius * p[k].scale * mgi_world_shape_top(s.objects[k].shape);
                float in = f ? 0.3f * r[k] : 0.85f * r[k];
                crowded += p[k].x < in || p[k].x > (float)s.width - in || p[k].y < in ||
                           p[k].y > (float)s.height - in;
                for (int j = 0; j < k; j++)
                    crowded += hypotf(p[k].x - p[j].x, p[k].y - p[j].y) < 0.97f * (r[k] + r[j]);
                mgi_world_object_at(&s, k, (float)f / (float)s.fps + 0.0625f, &next);
                if (s.camera == MGI_WORLD_STATIC)
                    assert_true(hypotf(next.x - p[k].x, next.y - p[k].y) <= 4.0f);
            }
        }
    }
    assert_true(all > 30000 && crowded < all / 200);
}

static void test_options(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 300; i++) {
        mgi_world_scene s;
        mgi_world_options o = {.fps = 24,
                               .objects_min = 2,
                               .objects_max = 2,
                               .camera = MGI_WORLD_NEVER,
                               .sign = MGI_WORLD_ALWAYS,
                               .sizes = MGI_WORLD_NEVER};
        mgi_world_scene_random(&s, 13, i, &o);
        assert_true(s.fps == 24 && s.count == 2 && s.camera == MGI_WORLD_STATIC && s.sign[0]);
        assert_true(s.objects[0].size == MGI_WORLD_MEDIUM && s.objects[1].size == MGI_WORLD_MEDIUM);
        mgi_world_scene_random(&s, 13, i, &(mgi_world_options){.frames = 1});
        assert_true(s.frames == 1 && s.camera == MGI_WORLD_STATIC);
        for (int k = 0; k < s.count; k++)
            assert_int_equal(s.objects[k].motion, MGI_WORLD_STILL);
    }
}

/* Training never meets what is held out, and evaluation nothing else; one in eleven of all is, and every two
 * values of two attributes still meet in training. */
static void test_split(void **state)
{
    (void)state;
    int held = 0, all = 0, pairs[4][4][8][8] = {0};
    for (int i = 0; i < 6 * 8 * 8 * 6; i++, all++) {
        const int v[4] = {i % 6, i / 6 % 8, i / 48 % 8, i / 384};
        if (mgi_world_held_out(v[0], v[1], v[2], v[3])) {
            held++;
            continue;
        }
        for (int a = 0; a < 4; a++)
            for (int b = 0; b < 4; b++)
                pairs[a][b][v[a]][v[b]]++;
    }
    assert_in_range(held, all * 8 / 100, all * 11 / 100);
    static const int sizes[4] = {6, 8, 8, 6};
    for (int a = 0; a < 4; a++)
        for (int b = 0; b < a; b++)
            for (int x = 0; x < sizes[a]; x++)
                for (int y = 0; y < sizes[b]; y++)
                    assert_true(pairs[a][b][x][y] > 20);
    for (int split = MGI_WORLD_TRAIN; split <= MGI_WORLD_HELD_OUT; split++)
        for (uint64_t i = 0; i < 2000; i++) {
            mgi_world_scene s;
            mgi_world_options o = {
                .width = views[i % VIEWS][0], .height = views[i % VIEWS][1], .split = split};
            mgi_world_scene_random(&s, 14, i, &o);
            for (int k = 0; k < s.count; k++) {
                const mgi_world_object *b = &s.objects[k];
                assert_int_equal(mgi_world_held_out(b->shape, b->colour, b->motion, s.background),
                                 split == MGI_WORLD_HELD_OUT);
            }
        }
}

/* ---- captions ----------------------------------------------------------------------------------- */

static void test_captions(void **state)
{
    (void)state;
    static const char *const expected[MGI_WORLD_WORDINGS] = {
        "FPS-16 zoom in. an orange ball rolls left and a small blue cube spins on snow, with a "
        "sign that "
        "reads \"AB3\"",
        "FPS-16 zoom in. on snow, an orange ball rolls left and a small blue cube spins, with a "
        "sign that "
        "reads \"AB3\"",
        "FPS-16 zoom in. an orange ball rolling left and a small blue cube spinning on snow, with "
        "a sign that "
        "reads \"AB3\"",
        "FPS-16 zoom in. a ball that is orange rolls left and a small cube that is blue spins on "
        "snow, with a "
        "sign that reads \"AB3\"",
        "FPS-16 zoom in. the orange ball rolls left and the small blue cube spins; the background "
        "is snow; the "
        "sign reads \"AB3\"",
        "FPS-16 zoom in. There are two objects on snow. An orange ball rolls left. A small blue "
        "cube spins. A "
        "sign reads \"AB3\".",
        "FPS-16 zoom in. The background is snow. The first object is an orange ball. It rolls "
        "left. The second "
        "object is a small blue cube. It spins. There is a sign with the text \"AB3\"."};
    mgi_world_scene s = {.frames = 32,
                         .fps = 16,
                         .background = MGI_WORLD_SNOW,
                         .camera = MGI_WORLD_ZOOM_IN,
                         .count = 2,
                         .sign = "AB3"};
    s.objects[0] =
        (mgi_world_object){MGI_WORLD_BALL, MGI_WORLD_ORANGE, MGI_WORLD_MEDIUM, MGI_WORLD_ROLL_LEFT};
    s.objects[1] =
        (mgi_world_object){MGI_WORLD_CUBE, MGI_WORLD_BLUE, MGI_WORLD_SMALL, MGI_WORLD_SPIN};
    char text[MGI_WORLD_CAPTION_MAX];
    for (int w = 0; w < MGI_WORLD_WORDINGS; w++) {
        mgi_world_caption(&s, w, text);
        assert_string_equal(text, expected[w]);
    }
    s = (mgi_world_scene){.frames = 1, .fps = 16, .background = MGI_WORLD_MOON, .count = 1};
    s.objects[0] = (mgi_world_object){MGI_WORLD_RING, MGI_WORLD_RED, MGI_WORLD_LARGE, 0};
    mgi_world_caption(&s, 0, text);
    assert_string_equal(text, "a large red ring on the moon");
    mgi_world_caption(&s, MGI_WORLD_DENSE, text);
    assert_string_equal(text, "There is one object on the moon. A large red ring is there.");
}

/* What a caption in any wording says is what the scene shows. */
static void test_parse_back(void **state)
{
    (void)state;
    size_t longest = 0;
    for (uint64_t i = 0; i < 1200; i++) {
        mgi_world_scene s;
        mgi_world_said said;
        char text[MGI_WORLD_CAPTION_MAX];
        mgi_world_scene_random(&s, 15, i, &(mgi_world_options){.frames = i % 4 ? 16 : 1});
        for (int w = 0; w < MGI_WORLD_WORDINGS; w++) {
            mgi_world_caption(&s, w, text);
            longest = strlen(text) > longest ? strlen(text) : longest;
            mgi_world_parse(text, &said);
            assert_int_equal(said.count, s.count);
            assert_int_equal(said.background, s.background);
            assert_int_equal(said.fps, s.frames > 1 ? s.fps : 0);
            assert_string_equal(said.sign, s.sign);
            if (said.camera != -1 || s.camera != MGI_WORLD_STATIC)
                assert_int_equal(said.camera, s.camera);
            for (int k = 0; k < s.count; k++) {
                assert_int_equal(said.objects[k].shape, s.objects[k].shape);
                assert_int_equal(said.objects[k].colour, s.objects[k].colour);
                assert_int_equal(said.objects[k].size, s.objects[k].size);
                assert_int_equal(said.objects[k].motion, s.frames > 1 ? s.objects[k].motion : -1);
            }
        }
    }
    assert_in_range(longest, 200, MGI_WORLD_CAPTION_MAX - 100);
}

static void test_parse_other_texts(void **state)
{
    (void)state;
    mgi_world_said said;
    mgi_world_parse("", &said);
    assert_true(said.count == 0 && said.background == -1 && said.camera == -1 && said.fps == 0);
    mgi_world_parse("Ringing reddish starfish, grassy \"TOO LONG\" \"unclosed", &said);
    assert_true(said.count == 0 && said.background == -1 && !said.sign[0]);
    mgi_world_parse(
        "A Small RED Ball; ball ball ball ball red red red red spins spins spins spins \"red\"",
        &said);
    assert_int_equal(said.count, MGI_WORLD_OBJECTS);
    assert_true(said.objects[0].size == MGI_WORLD_SMALL &&
                said.objects[1].size == MGI_WORLD_MEDIUM);
    assert_string_equal(said.sign, "red");
}

/* ---- pixels ------------------------------------------------------------------------------------- */

/* Pinned: a change here means that trained models no longer fit the world. */
static void test_pixels_are_pinned(void **state)
{
    (void)state;
    static const uint64_t pinned[] = {0x3bad1933d98b023bu, 0x630130b9e846b329u, 0x9e5ee2adea97ca49u,
                                      0xf5d964eea12104cfu, 0x7306a85a78cbfe6au};
    uint8_t *clip = malloc(16 * 128 * 128 * 3);
    for (size_t i = 0; i < VIEWS; i++) {
        mgi_world_scene s;
        mgi_world_options o = {.width = views[i][0], .height = views[i][1], .frames = 16};
        int scale = i == 4 ? 2 : 1, w = scale * o.width, h = scale * o.height;
        mgi_world_scene_random(&s, 2024, i, &o);
        mgi_world_draw(&s, w, h, 0, 16, clip);
        uint64_t hash = mgi_hash64(clip, (size_t)(16 * w * h * 3), 0);
        if (hash != pinned[i])
            fail_msg("scene %zu has hash 0x%016llx, not 0x%016llx", i, (unsigned long long)hash,
                     (unsigned long long)pinned[i]);
    }
    free(clip);
}

static void test_parts_of_a_clip(void **state)
{
    (void)state;
    enum { FRAME = 64 * 64 * 3 };
    static uint8_t clip[24 * FRAME], part[3 * FRAME];
    for (uint64_t i = 0; i < 12; i++) {
        mgi_world_scene s;
        mgi_world_scene_random(&s, 3, i, NULL);
        mgi_world_draw(&s, 64, 64, 0, 24, clip);
        mgi_world_draw(&s, 64, 64, 17, 3, part);
        assert_memory_equal(part, clip + 17 * FRAME, sizeof part);
    }
}

/* The same scene at twice the size, averaged, is the scene. */
static void test_scale(void **state)
{
    (void)state;
    static uint8_t small[48 * 80 * 3], big[4 * 48 * 80 * 3];
    for (uint64_t i = 0; i < 12; i++) {
        mgi_world_scene s;
        double error = 0.0;
        mgi_world_scene_random(&s, 4, i, &(mgi_world_options){.width = 80, .height = 48});
        mgi_world_draw(&s, 80, 48, 9, 1, small);
        mgi_world_draw(&s, 160, 96, 9, 1, big);
        for (int k = 0; k < 48 * 80 * 3; k++) {
            int y = k / 240, x = k % 240 / 3, c = k % 3;
            const uint8_t *p = big + (2 * y * 160 + 2 * x) * 3 + c;
            double d = 0.25 * (p[0] + p[3] + p[480] + p[483]) - small[k];
            error += d * d / (48 * 80 * 3);
        }
        assert_true(error < 100.0); /* 28 dB */
    }
}

/* What the layout and the drawing of a shape believe of its extent; marks only on what is round. */
static void test_shapes(void **state)
{
    (void)state;
    for (int k = 0; k < MGI_WORLD_SHAPES; k++) {
        float width = 0.0f, foot = 0.0f, top = 0.0f, marked = 0.0f;
        for (int i = 0; i < 301 * 301; i++) {
            float x = 0.01f * (float)(i % 301 - 150), y = 0.01f * (float)(i / 301 - 150);
            if (mgi_world_shape_distance(k, x, y) > 0.0f)
                continue;
            width = x > width ? x : width;
            foot = y > foot ? y : foot;
            top = -y > top ? -y : top;
            marked += mgi_world_shape_mark(k, x, y);
        }
        assert_true(fabsf(width - mgi_world_shape_width(k)) < 0.02f);
        assert_true(fabsf(foot - mgi_world_shape_foot(k)) < 0.02f);
        assert_true(fabsf(top - mgi_world_shape_top(k)) < 0.03f);
        assert_int_equal(marked > 0.0f, k == MGI_WORLD_BALL || k == MGI_WORLD_RING);
    }
}

/* No two characters look alike: ink over ink, each pair differs by a twelfth of the ink at least. */
static void test_font(void **state)
{
    (void)state;
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    enum { SIDE = 48 };
    static float ink[36][SIDE * SIDE];
    float sum[36] = {0};
    for (int k = 0; k < 36; k++)
        for (int i = 0; i < SIDE * SIDE; i++) {
            float x = 0.25f * (float)(i % SIDE - SIDE / 2),
                  y = 0.25f * (float)(i / SIDE - SIDE / 2);
            ink[k][i] = mgi_world_glyph_distance(all[k], x, y) < 0.5f * MGI_WORLD_STROKE;
            sum[k] += ink[k][i];
            if (ink[k][i] > 0.0f)
                assert_true(fabsf(x) <= 0.5f * MGI_WORLD_GLYPH_STEP && fabsf(y) <= 6.0f);
        }
    for (int k = 0; k < 36; k++)
        for (int j = 0; j < k; j++) {
            float differ = 0.0f;
            for (int i = 0; i < SIDE * SIDE; i++)
                differ += fabsf(ink[k][i] - ink[j][i]);
            if (differ < 0.08f * (sum[k] + sum[j]))
                fail_msg("%c and %c look alike: %.2f", all[k], all[j],
                         (double)(differ / (sum[k] + sum[j])));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_captions),
        cmocka_unit_test(test_parse_back),
        cmocka_unit_test(test_parse_other_texts),
        cmocka_unit_test(test_pixels_are_pinned),
        cmocka_unit_test(test_parts_of_a_clip),
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_font),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
