/* SPDX-License-Identifier: MIT
 * A frame that becomes a film moves smoothly, and two frames alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/hash.h"
#include "data/animate.h"
#include "data/world_edit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 64, LENGTH = 32, STILL = SIDE * SIDE * 3 };

static double difference(const uint8_t *a, const uint8_t *b, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += (double)(a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum / n);
}

/* A ramp both ways through the middle: colours tell to an eighth of a pixel where it comes from. */
static void make_ramp(uint8_t *frame)
{
    for (int i = 0; i < SIDE * SIDE; i++) {
        int x = 8 * (i % SIDE - 16), y = 8 * (i / SIDE - 16);
        frame[3 * i] = (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x);
        frame[3 * i + 1] = (uint8_t)(y < 0 ? 0 : y > 255 ? 255 : y);
        frame[3 * i + 2] = 77;
    }
}

/* From the frame itself on, every frame is a little further: by at most the shift of a step, times what turns and factors
 * have made of it. Speed and direction change slowly: by much less from step to step than they are. */
static void test_animate(void **state)
{
    static uint8_t frame[STILL], film[STILL * LENGTH];
    double way = 0.0, fast2 = 0.0, change2 = 0.0;
    (void)state;
    make_ramp(frame);
    for (uint64_t element = 0; element < 40; element++) {
        double at[2] = {15.5, 15.5}, speed[2] = {0.0, 0.0};
        mgi_animate(frame, SIDE, SIDE, LENGTH, 3, element, film);
        assert_memory_equal(film, frame, STILL);
        for (int f = 0; f < LENGTH; f++)
            for (int axis = 0; axis < 2; axis++) {
                double sum = 0.0;
                for (int k = 0; k < 8 * 8; k++)
                    sum += film[STILL * f + 3 * (SIDE * (28 + k / 8) + 28 + k % 8) + axis];
                double now = sum / (8 * 64), fast = now - at[axis];
                assert_true(fabs(fast) < (f ? 0.55 + 0.125 : 1e-9));
                fast2 += f ? fast * fast : 0.0;
                change2 += f > 1 ? (fast - speed[axis]) * (fast - speed[axis]) : 0.0;
                way += f == LENGTH - 1 ? fabs(now - 15.5) : 0.0;
                speed[axis] = fast;
                at[axis] = now;
            }
        for (int i = 2; i < STILL * LENGTH; i += 3)
            assert_int_equal(film[i], 77);
    }
    assert_true(way / 80.0 > 0.8);
    assert_true(change2 < 0.25 * fast2); /* of steps without memory: twice */
}

/* Two frames move alike: where they are equal so are the films, but for what comes from where they differ. */
static void test_animate_pair(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 6; i++) {
        static uint8_t a[STILL], b[STILL], film[STILL * LENGTH], other[STILL * LENGTH];
        static uint8_t mask[STILL], moved[STILL * LENGTH];
        mgi_world_edit e;
        mgi_world_edit_random(&e, 16, i, MGI_EDIT_LOCAL, &(mgi_world_options){.frames = 1});
        mgi_world_edit_draw(&e, false, SIDE, SIDE, 0, 1, a);
        mgi_world_edit_draw(&e, true, SIDE, SIDE, 0, 1, b);
        for (int k = 0; k < STILL; k++)
            mask[k] = a[k] == b[k] ? 0 : 255;
        mgi_animate(a, SIDE, SIDE, LENGTH, 4, i, film);
        mgi_animate(b, SIDE, SIDE, LENGTH, 4, i, other);
        mgi_animate(mask, SIDE, SIDE, LENGTH, 4, i, moved);
        int differ = 0;
        for (int k = 0; k < STILL * LENGTH; k++) {
            if (moved[k] == 0)
                assert_true(abs(film[k] - other[k]) <= 1); /* a weight too small for the mask */
            differ += film[k] != other[k];
        }
        assert_true(differ > 1000 && differ < STILL * LENGTH / 2);
        mgi_animate(a, SIDE, SIDE, LENGTH, 4, i, other);
        assert_memory_equal(film, other, sizeof film);
        mgi_animate(a, SIDE, SIDE, LENGTH, 5, i, other);
        assert_true(difference(film + STILL * 8, other + STILL * 8, STILL) > 0.5);
        mgi_animate(a, SIDE, SIDE, LENGTH, 4, i + 1000, other);
        assert_true(difference(film + STILL * 8, other + STILL * 8, STILL) > 0.5);
    }
}

/* Pinned, as the world is; and frames of one pixel have only that. */
static void test_animate_is_pinned(void **state)
{
    static uint8_t frame[80 * 48 * 3], film[80 * 48 * 3 * LENGTH];
    const uint8_t pixel[3] = {1, 2, 3};
    uint8_t few[9];
    mgi_world_scene s;
    (void)state;
    mgi_world_scene_random(&s, 17, 0, &(mgi_world_options){.width = 80, .height = 48});
    mgi_world_draw(&s, 80, 48, 0, 1, frame);
    mgi_animate(frame, 80, 48, LENGTH, 6, 7, film);
    uint64_t hash = mgi_hash64(film, sizeof film, 0);
    if (hash != 0x9286f6d09d458ecbu)
        fail_msg("the film has hash 0x%016llx", (unsigned long long)hash);
    mgi_animate(pixel, 1, 1, 3, 6, 7, few);
    for (int i = 0; i < 9; i++)
        assert_int_equal(few[i], pixel[i % 3]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_animate),
                                       cmocka_unit_test(test_animate_pair),
                                       cmocka_unit_test(test_animate_is_pinned)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
