/* SPDX-License-Identifier: MIT
 * What curation sees: frames reduced, motion, text, borders, likeness; films with a defect each, and its rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/philox.h"
#include "data/curate_look.h"
#include "one_context.h"
#include "raw_films.h"

#include <string.h>

/* ---- frames ------------------------------------------------------------------------------------- */

enum { W = 64, H = 48 };

/* A smooth surface of random hills, of which a frame shows the part at (x, y). */
static uint8_t hill(double x, double y, uint64_t seed)
{
    double sum = 128.0;
    for (uint64_t k = 0; k < 8; k++) {
        const double u = 0.2 + 0.5 * (double)mgi_random_unit(seed, 1, 4 * k);
        const double v = 0.2 + 0.5 * (double)mgi_random_unit(seed, 1, 4 * k + 1);
        sum += 14.0 * sin(u * x + (k & 1 ? v : -v) * y +
                          6.0 * (double)mgi_random_unit(seed, 1, 4 * k + 2));
    }
    return (uint8_t)(sum < 0.0 ? 0.0 : sum > 255.0 ? 255.0 : sum + 0.5);
}

static void hills(uint8_t *grey, double x, double y, uint64_t seed)
{
    for (int j = 0; j < H; j++)
        for (int i = 0; i < W; i++)
            grey[j * W + i] = hill(i + x, j + y, seed);
}

static void test_reduce(void **state)
{
    (void)state;
    uint8_t rgb[4 * 5 * 3], out[2 * 2 * 3], grey[2];
    for (int i = 0; i < 60; i++)
        rgb[i] = (uint8_t)(4 * i);
    assert_int_equal(mgi_look_factor(128, 96, 128), 1);
    assert_int_equal(mgi_look_factor(96, 129, 128), 2);
    assert_int_equal(mgi_look_factor(1920, 1080, 128), 15);
    mgi_look_reduce(rgb, 5, 4, 2, out); /* the fifth column fills no square */
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++)
            for (int k = 0; k < 3; k++) {
                const int at = (2 * y * 5 + 2 * x) * 3 + k;
                const int sum = rgb[at] + rgb[at + 3] + rgb[at + 15] + rgb[at + 18];
                assert_int_equal(out[(y * 2 + x) * 3 + k], (sum + 2) / 4);
            }
    mgi_look_grey((const uint8_t[]){255, 255, 255, 0, 200, 0}, 2, grey);
    assert_int_equal(grey[0], 255);
    assert_int_equal(grey[1], (150 * 200 + 128) >> 8);
    assert_true(mgi_look_difference((const uint8_t[]){1, 5}, (const uint8_t[]){4, 4}, 2) == 2.0);
}

static void test_blur(void **state)
{
    (void)state;
    uint8_t grey[7 * 7];
    float rows[7 * 7], out[7 * 7], other[7 * 7];
    memset(grey, 100, sizeof grey);
    mgi_look_blur(grey, 7, 7, rows, out);
    for (int i = 0; i < 49; i++)
        assert_true(fabsf(out[i] - 100.0f) < 1e-3f);
    grey[3 * 7 + 3] = 200; /* what it adds is spread, and no less of it */
    mgi_look_blur(grey, 7, 7, rows, other);
    assert_true(fabs(mgi_look_blurred_difference(out, other, 49) - 100.0 / 49.0) < 1e-4);
    assert_true(fabsf(other[3 * 7 + 3] - 100.0f - 100.0f * 0.402619947f * 0.402619947f) < 1e-3f);
    assert_true(fabsf(other[1 * 7 + 2] - 100.0f - 100.0f * 0.054488685f * 0.244201342f) < 1e-3f);
}

static void test_motion(void **state)
{
    (void)state;
    const double moves[][2] = {{0, 0}, {3, -2}, {-7, 5}, {0.25, 0}, {0, -0.5}, {1.5, 1.5}};
    uint8_t before[W * H], now[W * H];
    const double unit = (double)MGI_LOOK_VECTORS / W;
    mgi_look_motion m;
    for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
        const double x = moves[i][0], y = moves[i][1];
        hills(before, 0, 0, 5);
        hills(now, -x, -y, 5);
        mgi_look_motion_of(before, now, W, H, &m);
        assert_true(fabs(m.x - unit * x) < 0.1 * unit && fabs(m.y - unit * y) < 0.1 * unit);
        if (i < 1)
            assert_true(m.length == 0.0 && m.unknown == 0.0);
        if (i == 1) /* blocks at the edge come from outside */
            assert_true(m.length > 0.8 * unit * sqrt(13.0) && m.length < 1.2 * unit * sqrt(13.0));
    }
    hills(now, 0, 0, 6);
    mgi_look_motion_of(before, now, W, H, &m);
    assert_true(m.unknown > 0.8);
    memset(before, 90, sizeof before); /* nothing to follow, and brighter by little */
    memset(now, 92, sizeof now);
    mgi_look_motion_of(before, now, W, H, &m);
    assert_true(m.length == 0.0 && m.unknown == 0.0);
    mgi_look_motion_of(before, now, 7, H, &m);
    assert_true(m.length == 0.0 && m.unknown == 0.0);
}

static void test_text(void **state)
{
    (void)state;
    uint8_t plane[W * H];
    memset(plane, 60, sizeof plane);
    assert_true(mgi_look_text(plane, W, H) == 0.0);
    for (int y = 20; y < 27; y++) /* strokes two pixels wide, four apart */
        for (int x = 8; x < 48; x++)
            plane[y * W + x] = x % 4 < 2 ? 220 : 60;
    const double share = mgi_look_text(plane, W, H);
    assert_true(share > 0.8 * 40 * 7 / (W * H) && share < 1.1 * 40 * 7 / (W * H));
    for (int y = 0; y < H; y++) /* a pattern all over is none */
        for (int x = 0; x < W; x++)
            plane[y * W + x] = x % 4 < 2 ? 220 : 60;
    assert_true(mgi_look_text(plane, W, H) == 0.0);
    memset(plane, 60, sizeof plane);
    for (int y = 20; y < 25; y++) /* windows: as wide as high, and apart */
        for (int x = 0; x < W; x++)
            plane[y * W + x] = x % 10 < 5 ? 220 : 60;
    assert_true(mgi_look_text(plane, W, H) == 0.0);
    memset(plane, 60, sizeof plane);
    for (int y = 20; y < 23; y++) /* too low to be read */
        for (int x = 8; x < 48; x++)
            plane[y * W + x] = x % 2 ? 220 : 60;
    assert_true(mgi_look_text(plane, W, H) == 0.0);
}

/* Bands as filmed pictures have them: levels all over between dark and bright, or letters of one. */
static void test_text_filmed(void **state)
{
    (void)state;
    enum { WIDE = 192, HIGH = 144 };
    static uint8_t plane[WIDE * HIGH];
    const int first = 40, rows = 12;
    for (int i = 0; i < WIDE * HIGH; i++)
        plane[i] = hill(0.2 * (i % WIDE), 0.2 * (double)(i / WIDE), 3);
    assert_true(mgi_look_text(plane, WIDE, HIGH) == 0.0);
    for (int y = first; y < first + rows; y++) /* a facade: panes of any brightness, in rows */
        for (int x = 20; x < 90; x++) {
            const double level = (double)mgi_random_unit(9, 2, (uint64_t)(x / 3 + y / 6 * 64));
            plane[y * WIDE + x] = (uint8_t)(20.0 + 220.0 * level);
        }
    assert_true(mgi_look_text(plane, WIDE, HIGH) == 0.0);
    for (int y = first; y < first + rows; y++) /* letters over the hills: strokes of two widths */
        for (int x = 20; x < 150; x++) {
            const uint64_t letter = (uint64_t)(x / 5);
            const int stroke = mgi_random_unit(9, 3, letter) < 0.5f ? 2 : 3;
            plane[y * WIDE + x] = x % 5 < stroke ? 250 : hill(0.2 * x, 0.2 * y, 3);
        }
    const double share = mgi_look_text(plane, WIDE, HIGH), band = 130.0 * rows / (WIDE * HIGH);
    assert_true(share > 0.8 * band && share < 1.2 * band);
    for (int y = 10; y < 130; y++) /* the same strokes all over: cloth, a fence */
        memcpy(plane + y * WIDE, plane + first * WIDE, WIDE);
    assert_true(mgi_look_text(plane, WIDE, HIGH) == 0.0);
}

static void test_borders(void **state)
{
    (void)state;
    uint8_t grey[W * H];
    int64_t bars[4];
    hills(grey, 0, 0, 5);
    mgi_look_borders(grey, W, H, bars);
    assert_true(!bars[0] && !bars[1] && !bars[2] && !bars[3]);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            if (x < 3 || y < 5 || y >= H - 7)
                grey[y * W + x] = (uint8_t)(16 + (x + y) % 3); /* noise of coding */
    mgi_look_borders(grey, W, H, bars);
    assert_int_equal(bars[0], 3);
    assert_int_equal(bars[1], 0);
    assert_int_equal(bars[2], 5);
    assert_int_equal(bars[3], 7);
    memset(grey, 0, sizeof grey); /* night is no border */
    mgi_look_borders(grey, W, H, bars);
    assert_true(!bars[0] && !bars[1] && !bars[2] && !bars[3]);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) /* nor is a sky above hills */
            grey[y * W + x] = y < 10 + (x * 7) % 13 ? 200 : 60;
    mgi_look_borders(grey, W, H, bars);
    assert_int_equal(bars[2], 0);
}

static void test_likeness(void **state)
{
    (void)state;
    enum { N = MGI_LIKE_SIZE / MGI_LIKE_FRAMES };
    static uint8_t rgb[2 * W * 2 * H * 3], brighter[W * H * 3], larger[2 * W * 2 * H * 3];
    float a[N], b[N];
    double dot = 0.0, length = 0.0, other = 0.0;
    for (int i = 0; i < W * H * 3; i++)
        rgb[i] = hill(i / 3 % W, i / 3 / W + 40 * (i % 3), 5);
    for (int i = 0; i < W * H * 3; i++)
        brighter[i] = (uint8_t)(0.8 * rgb[i] + 30.0);
    for (int y = 0; y < 2 * H; y++)
        for (int x = 0; x < 2 * W; x++)
            memcpy(larger + (y * 2 * W + x) * 3, rgb + (y / 2 * W + x / 2) * 3, 3);
    mgi_look_like(rgb, W, H, a);
    mgi_look_like(brighter, W, H, b);
    for (int i = 0; i < N; i++) {
        dot += (double)a[i] * (double)b[i];
        length += (double)a[i] * (double)a[i];
    }
    assert_true(fabs(length - 1.0) < 1e-3 && dot > 0.99);
    mgi_look_like(larger, 2 * W, 2 * H, b);
    for (int i = 0; i < N; i++)
        other += (double)a[i] * (double)b[i];
    assert_true(other > 0.99);
    memset(rgb, 77, sizeof rgb);
    mgi_look_like(rgb, W, H, b);
    for (int i = 0; i < N; i++)
        assert_true(b[i] == 0.0f);
}

/* ---- films -------------------------------------------------------------------------------------- */

/* The step that a kind of film should fail, or MGI_CURATE_STEPS. */
static int due(int kind)
{
    switch (kind) {
    case MGI_RAW_SHORT:
        return MGI_CURATE_DURATION;
    case MGI_RAW_TEXT:
        return MGI_CURATE_TEXT;
    case MGI_RAW_LETTERBOX:
    case MGI_RAW_PILLARBOX:
        return MGI_CURATE_BORDER;
    case MGI_RAW_STILL:
    case MGI_RAW_SLIDES:
    case MGI_RAW_FROZEN:
        return MGI_CURATE_STILL;
    case MGI_RAW_SLOW:
    case MGI_RAW_FAST:
    case MGI_RAW_SHAKE:
        return MGI_CURATE_MOTION;
    case MGI_RAW_CUTS:
        return MGI_CURATE_SCENE;
    default:
        return MGI_CURATE_STEPS; /* of a small film the curator knows before it is watched */
    }
}

static void test_films(void **state)
{
    (void)state;
    mgi_curate_rules rules;
    mgi_world_raw raw;
    mgi_curate_film film;
    mgi_curate_rules_toybox(&rules);
    for (uint64_t i = 0; i < MGI_RAW_KINDS; i++) {
        mgi_world_raw_random(&raw, 7, i);
        assert_int_equal(raw.kind, (int)i);
        OK(watch_raw(ctx, &rules, &raw, &film));
        assert_int_equal(film.info.frames, raw.frames);
        if (due(raw.kind) == MGI_CURATE_DURATION || due(raw.kind) == MGI_CURATE_SCENE)
            assert_true(film.fails >> due(raw.kind) & 1);
        else
            assert_true(film.count == raw.scenes && film.fails == 0);
        for (int64_t k = 0; k < film.count; k++) {
            const uint32_t fails = film.clips[k].fails;
            assert_true(film.clips[k].first >= raw.first[k] &&
                        film.clips[k].first + film.clips[k].frames <= raw.first[k + 1]);
            if (due(raw.kind) == MGI_CURATE_STEPS && fails)
                fail_msg("%s: fails %x", mgi_raw_kind_name(raw.kind), fails);
            if (due(raw.kind) < MGI_CURATE_STEPS && !(fails >> due(raw.kind) & 1))
                fail_msg("%s: fails %x", mgi_raw_kind_name(raw.kind), fails);
        }
        for (int k = 1; raw.kind != MGI_RAW_CUTS && k < raw.scenes; k++)
            assert_int_equal(film.cuts[k - 1], raw.first[k]);
        mgi_curate_film_free(ctx, &film);
    }
}

/* A film is over as soon as it is too long; of a long scene its first part is taken. */
static void test_lengths(void **state)
{
    (void)state;
    mgi_curate_rules rules;
    mgi_world_raw raw;
    mgi_curate_film film;
    mgi_curate_rules_toybox(&rules);
    mgi_world_raw_random(&raw, 7, MGI_RAW_LETTERBOX);
    rules.clip_min = 1.0;
    rules.clip_max = 1.5;
    OK(watch_raw(ctx, &rules, &raw, &film));
    assert_true(film.count == 1 && film.clips[0].frames == 24 && film.clips[0].first == 4);
    const double border = (double)(raw.bar[0] + raw.bar[1]) / (double)raw.height;
    assert_true(fabs(film.clips[0].border - border) < 1e-9);
    mgi_curate_film_free(ctx, &film);
    rules.duration_max = 2.0;
    OK(watch_raw(ctx, &rules, &raw, &film));
    assert_int_equal(film.info.frames, 33);
    assert_true(film.fails >> MGI_CURATE_DURATION & 1);
    mgi_curate_film_free(ctx, &film);
}

/* A film is a function of (seed, index), and so is each frame; a duplicate shows what the clean one does. */
static void test_raw(void **state)
{
    (void)state;
    mgi_world_raw a, b, clean;
    for (uint64_t i = 0; i < 3 * MGI_RAW_KINDS; i++) {
        mgi_world_raw_random(&a, 11, i);
        mgi_world_raw_random(&b, 11, i);
        assert_memory_equal(&a, &b, sizeof a);
        assert_int_equal(a.first[a.scenes], a.frames);
        if (a.kind != MGI_RAW_DUPLICATE)
            continue;
        mgi_world_raw_random(&clean, 11, i - MGI_RAW_DUPLICATE);
        assert_true(a.frames == clean.frames && a.copy == (int)(i / MGI_RAW_KINDS));
        assert_memory_equal(a.scene, clean.scene, sizeof a.scene);
    }
}

/* ---- rules -------------------------------------------------------------------------------------- */

static mgen_status read_rules(const char *text, mgi_curate_rules *out)
{
    return mgi_curate_rules_read(ctx, "test", text, strlen(text), out);
}

static void test_rules(void **state)
{
    (void)state;
    mgi_curate_rules rules, report, toybox;
    mgi_curate_rules_report(&report);
    mgi_curate_rules_toybox(&toybox);
    OK(read_rules("{}", &rules));
    assert_memory_equal(&rules, &report, sizeof rules);
    OK(read_rules("{\"base\": \"toybox\"}", &rules));
    assert_memory_equal(&rules, &toybox, sizeof rules);
    OK(read_rules("{\"base\": \"toybox\", \"text_max\": 0.5, \"resample\": \"drop\"}", &rules));
    toybox.text_max = 0.5;
    toybox.resample = MGI_RESAMPLE_DROP;
    assert_memory_equal(&rules, &toybox, sizeof rules);
    const char *const bad[][2] = {
        {"[]", "must be a JSON object"},
        {"{", "test"},
        {"{\"text\": 1}", "text"},
        {"{\"text_max\": \"1\"}", "text_max"},
        {"{\"text_max\": 2}", "text_max"},
        {"{\"base\": \"toy\"}", "\"report\" and \"toybox\""},
        {"{\"resample\": \"no\"}", "\"weight\""},
        {"{\"clip_min\": 20}", "\"clip_min\" is above \"clip_max\""},
        {"{\"duration_min\": 2e3}", "\"duration_min\" is above"},
        {"{\"vector_max\": 0.1}", "\"vector_min\" is above"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_rules(bad[i][0], &rules), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), bad[i][1]))
            fail_msg("%s: %s", bad[i][0], mgen_last_error(ctx));
    }
    assert_int_equal(mgi_curate_rules_open(ctx, "/nowhere/rules.json", &rules), MGEN_E_NOT_FOUND);
    OK(mgi_curate_rules_open(ctx, NULL, &rules));
    assert_memory_equal(&rules, &report, sizeof rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reduce),      cmocka_unit_test(test_blur),
        cmocka_unit_test(test_motion),      cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_filmed), cmocka_unit_test(test_borders),
        cmocka_unit_test(test_likeness),    cmocka_unit_test(test_films),
        cmocka_unit_test(test_lengths),     cmocka_unit_test(test_raw),
        cmocka_unit_test(test_rules),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
