/* SPDX-License-Identifier: MIT
 * What distances of films are made of: they rise with every flaw that is made worse, and are small between true films. */
#include "core/philox.h"
#include "data/world.h"
#include "eval/film_sight.h"
#include "ok.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static mgen_context *ctx;
static mgi_film_sight sight;

enum { FILMS = 8, SIDE = 48, FRAMES = 8, FRAME = SIDE * SIDE * 3, BYTES = FRAMES * FRAME };
static uint8_t scratch[BYTES];

static int setup(void **state)
{
    (void)state;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 2;
    if (mgen_context_create(&params, &ctx) != MGEN_OK)
        return -1;
    return mgi_film_sight_init(ctx, &sight) == MGEN_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mgi_film_sight_finish(&sight);
    mgen_context_destroy(ctx);
    return 0;
}

/* -- flaws --------------------------------------------------------------------------------------- */

static uint8_t byte_of(double v)
{
    return (uint8_t)(fmin(fmax(v, 0.0), 255.0) + 0.5);
}

typedef void flaw(uint8_t *film, int by, uint64_t seed);

static void no_flaw(uint8_t *film, int by, uint64_t seed)
{
    (void)film, (void)by, (void)seed;
}

/* Each pixel becomes the mean with those beside and above it, and back, `by` times. */
static void blurred(uint8_t *film, int by, uint64_t seed)
{
    (void)seed;
    for (int pass = 0; pass < 2 * by; pass++) {
        memcpy(scratch, film, BYTES);
        for (int i = 0; i < BYTES; i++) {
            const int x = i % (SIDE * 3) / 3, y = i % FRAME / (SIDE * 3);
            const int dx = pass % 2 ? (x + 1 < SIDE) * 3 : -(x > 0) * 3;
            const int dy = pass % 2 ? (y + 1 < SIDE) * SIDE * 3 : -(y > 0) * SIDE * 3;
            film[i] = (uint8_t)((scratch[i] + scratch[i + dx] + scratch[i + dy] +
                                 scratch[i + dx + dy] + 2) /
                                4);
        }
    }
}

static void noisy(uint8_t *film, int by, uint64_t seed)
{
    for (int i = 0; i < BYTES; i++)
        film[i] = byte_of(film[i] + by * (double)mgi_random_normal(seed, 99, (uint64_t)i));
}

static void reddish(uint8_t *film, int by, uint64_t seed)
{
    (void)seed;
    for (int i = 0; i < BYTES; i += 3) {
        film[i] = byte_of(film[i] + by);
        film[i + 2] = byte_of(film[i + 2] - by);
    }
}

static void darker(uint8_t *film, int by, uint64_t seed)
{
    (void)seed;
    for (int i = 0; i < BYTES; i++)
        film[i] = byte_of(film[i] * (1.0 - 0.01 * by));
}

/* Every frame stands for so many. */
static void frozen(uint8_t *film, int by, uint64_t seed)
{
    (void)seed;
    for (int t = 0; t < FRAMES; t++)
        memcpy(film + t * FRAME, film + t / by * by * FRAME, t % by ? FRAME : 0);
}

/* Frames change places with those so far away. */
static void shuffled(uint8_t *film, int by, uint64_t seed)
{
    (void)seed;
    memcpy(scratch, film, BYTES);
    for (int t = 0; t < FRAMES; t++)
        memcpy(film + t * FRAME, scratch + (t ^ by) * FRAME, FRAME);
}

static void flickering(uint8_t *film, int by, uint64_t seed)
{
    for (int t = 0; t < FRAMES; t++) {
        const double d = by * (double)mgi_random_normal(seed, 98, (uint64_t)t);
        for (int i = t * FRAME; i < (t + 1) * FRAME; i++)
            film[i] = byte_of(film[i] + d);
    }
}

static void draw(uint64_t i, uint8_t *film)
{
    const mgi_world_options o = {.width = SIDE, .height = SIDE, .frames = FRAMES, .fps = 8};
    mgi_world_scene scene;
    mgi_world_scene_random(&scene, 5, i, &o);
    mgi_world_draw(&scene, SIDE, SIDE, 0, FRAMES, film);
}

/* Of all films there are only `by`. */
static void alike(uint8_t *film, int by, uint64_t seed)
{
    draw(seed % (uint64_t)by, film);
}

/* -- sets ---------------------------------------------------------------------------------------- */

static void fill(mgi_film_set *set, uint64_t first, flaw *f, int by)
{
    static uint8_t film[BYTES];
    OK(mgi_film_set_init(ctx, &sight, set));
    for (uint64_t i = first; i < first + FILMS; i++) {
        draw(i, film);
        f(film, by, i);
        OK(mgi_film_sight_add(ctx, &sight, (int64_t[]){FRAMES, SIDE, SIDE}, film, set));
    }
    assert_int_equal(set->frames.count, FILMS * FRAMES);
    assert_int_equal(set->films.count, FILMS);
}

/* Of films 0 .. from the same with a flaw, or from others. */
static void distances(const mgi_film_set *truth, uint64_t first, flaw *f, int by, double out[2])
{
    mgi_film_set set;
    fill(&set, first, f, by);
    OK(mgi_frechet(ctx, &set.frames, &truth->frames, &out[0]));
    OK(mgi_frechet(ctx, &set.films, &truth->films, &out[1]));
    mgi_film_set_finish(ctx, &set);
}

enum { IN_FRAMES = 1, IN_FILMS = 2 };

static void test_flaws(void **state)
{
    static const struct {
        const char *name;
        flaw *make;
        int by[3], seen;
    } flaws[] = {{"blur", blurred, {1, 2, 5}, IN_FRAMES | IN_FILMS},
                 {"noise", noisy, {5, 15, 40}, IN_FRAMES | IN_FILMS},
                 {"colour", reddish, {6, 18, 50}, IN_FRAMES},
                 {"dark", darker, {4, 12, 35}, IN_FRAMES},
                 {"frozen", frozen, {2, 4, FRAMES}, IN_FILMS},
                 {"shuffled", shuffled, {5}, IN_FILMS},
                 {"alike", alike, {4, 2}, IN_FRAMES},
                 {"flicker", flickering, {3, 9, 27}, IN_FILMS}};
    mgi_film_set truth;
    double same[2], others[2], least[2] = {INFINITY, INFINITY};
    (void)state;
    fill(&truth, 0, no_flaw, 0);
    distances(&truth, 0, no_flaw, 0, same);
    distances(&truth, FILMS, no_flaw, 0, others);
    for (size_t k = 0; k < sizeof flaws / sizeof flaws[0]; k++) {
        double last[2] = {same[0], same[1]}, d[2];
        for (int i = 0; i < 3 && flaws[k].by[i]; i++) {
            distances(&truth, 0, flaws[k].make, flaws[k].by[i], d);
            for (int what = 0; what < 2; what++) {
                if (!(flaws[k].seen & (IN_FRAMES << what)))
                    continue;
                if (!(d[what] > 1.1 * last[what] + 1e-4))
                    fail_msg("%s %d: %g, after %g", flaws[k].name, flaws[k].by[i], d[what],
                             last[what]);
                last[what] = d[what];
            }
        }
        for (int what = 0; what < 2; what++)
            if (flaws[k].seen & (IN_FRAMES << what))
                least[what] = fmin(least[what], last[what]);
    }
    assert_true(same[0] < 1e-5 && same[1] < 1e-5);
    assert_true(others[0] < least[0] && others[1] < least[1]);
    distances(&truth, 0, frozen, 2, same); /* every other frame: as much changes, not evenly */
    assert_true(4.0 * others[1] < same[1]);
    mgi_film_set_finish(ctx, &truth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flaws),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
