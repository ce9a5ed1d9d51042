/* SPDX-License-Identifier: MIT
 * What is read in films of people: who it is, how the person looks, what it does; and that nobody is seen where nobody is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/context.h"
#include "eval/person_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 64, FRAMES = 12 };

static mgen_context *ctx;
static uint8_t *film;
static mgi_person_seen seen;

static int setup(void **state)
{
    (void)state;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 1;
    film = malloc((size_t)FRAMES * SIDE * SIDE * 3);
    return film && mgi_context_init(&ctx, &params) == MGEN_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mgi_context_free(ctx);
    free(film);
    return 0;
}

/* How many films rates are measured on: MGEN_TEST_SCENES, else few enough for every day. */
static int scene_count(int otherwise)
{
    const char *text = getenv("MGEN_TEST_SCENES");
    int n = text ? atoi(text) : 0;
    return n > 0 ? n : otherwise;
}

static void look(const mgi_world_scene *s, int frames)
{
    mgi_world_draw(s, SIDE, SIDE, 0, frames, film);
    if (mgi_person_check(ctx, film, SIDE, SIDE, frames, s->fps, &seen) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
}

/* Of each of these, at most one film in 25 may be read wrong. */
static void test_films(void **state)
{
    (void)state;
    int n = scene_count(3), first = 0, attributes = 0, expression = 0, shirt = 0, motion = 0;
    int background = 0, persons = 0;
    for (int i = 0; i < n; i++) {
        const mgi_world_options o = {
            .people = 1.0f, .frames = FRAMES, .fps = 8, .split = MGI_WORLD_HELD_OUT};
        uint32_t gallery[MGI_PERSON_GALLERY];
        mgi_world_scene s;
        mgi_world_scene_random(&s, 41, (uint64_t)i, &o);
        uint32_t number = (uint32_t)s.person - 1;
        look(&s, FRAMES);
        mgi_person_gallery(number, (uint64_t)i, gallery);
        assert_int_equal(seen.frames, FRAMES);
        persons += seen.person;
        first += mgi_person_first(&seen.film, gallery);
        attributes += mgi_person_similarity(&seen.film, number) == 1.0f;
        expression += seen.expression == s.expression;
        shirt += seen.shirt == s.objects[0].colour;
        motion += seen.motion == s.objects[0].motion;
        background += seen.background == s.background;
    }
    print_message("%d films: person %.3f first of %d %.3f all attributes %.3f expression %.3f "
                  "shirt %.3f motion %.3f background %.3f\n",
                  n, (double)persons / n, MGI_PERSON_GALLERY, (double)first / n,
                  (double)attributes / n, (double)expression / n, (double)shirt / n,
                  (double)motion / n, (double)background / n);
    int wrong = n / 25;
    assert_true(n - persons <= wrong && n - first <= wrong && n - attributes <= wrong);
    assert_true(n - expression <= wrong && n - shirt <= wrong);
    assert_true(n - motion <= wrong && n - background <= wrong);
}

/* A film in which objects move, or nothing, shows nobody; neither does noise. */
static void test_nobody(void **state)
{
    (void)state;
    enum { SHORT = 2 };
    mgi_world_scene s;
    for (uint64_t i = 0; i < 3; i++) {
        mgi_world_scene_random(&s, 42, i, &(mgi_world_options){.camera = MGI_WORLD_NEVER});
        if (i == 0)
            s.count = 0;
        look(&s, SHORT);
        assert_false(seen.person);
        assert_int_equal(seen.background, s.background);
        assert_int_equal(seen.expression, -1);
        assert_int_equal(seen.motion, -1);
    }
    for (int i = 0; i < SHORT * SIDE * SIDE * 3; i++)
        film[i] = (uint8_t)(i * 2654435761u >> 24);
    assert_int_equal(mgi_person_check(ctx, film, SIDE, SIDE, SHORT, 16, &seen), MGEN_OK);
    assert_false(seen.person);
}

/* A person who is another one from the middle of the film on is not the same in all frames. */
static void test_change(void **state)
{
    (void)state;
    enum { SHORT = 8, FRAME = SIDE * SIDE * 3 };
    mgi_world_scene s;
    mgi_world_identity p, now;
    mgi_world_scene_random(&s, 43, 1,
                           &(mgi_world_options){.people = 1.0f, .camera = MGI_WORLD_NEVER});
    s.objects[0].motion = MGI_WORLD_STILL;
    mgi_world_identity_of((uint32_t)s.person - 1, &p);
    mgi_world_draw(&s, SIDE, SIDE, 0, SHORT, film);
    mgi_world_scene other = s;
    now = p;
    now.hair = (p.hair + 3) % MGI_PERSON_HAIRS;
    other.person = 1 + (int)mgi_world_identity_number(&now);
    mgi_world_draw(&other, SIDE, SIDE, SHORT / 2, SHORT / 2, film + SHORT / 2 * FRAME);
    assert_int_equal(mgi_person_check(ctx, film, SIDE, SIDE, SHORT, s.fps, &seen), MGEN_OK);
    mgi_person_identity(&seen.frame[0], &now);
    assert_int_equal(now.hair, p.hair);
    mgi_person_identity(&seen.frame[SHORT - 1], &now);
    assert_int_equal(now.hair, (p.hair + 3) % MGI_PERSON_HAIRS);
}

/* ---- who is nearest ----------------------------------------------------------------------------- */

static void test_distance(void **state)
{
    (void)state;
    mgi_person_costs c;
    mgi_world_identity p = {2, 5, 1, 0, 3}, q = p;
    for (int a = 0; a < MGI_PERSON_ATTRIBUTES; a++)
        for (int v = 0; v < MGI_PERSON_VALUES; v++)
            c.of[a][v] = 10.0f + fabsf((float)(v - mgi_world_attribute_of(&p, a)));
    uint32_t number = mgi_world_identity_number(&p);
    assert_true(mgi_person_distance(&c, number) == 0.0f);
    assert_true(mgi_person_similarity(&c, number) == 1.0f);
    q.hair = 7;
    q.eyes = 1;
    assert_true(mgi_person_distance(&c, mgi_world_identity_number(&q)) == 3.0f);
    assert_true(fabsf(mgi_person_similarity(&c, mgi_world_identity_number(&q)) - 0.6f) < 1e-6f);
    mgi_person_identity(&c, &q);
    assert_int_equal(mgi_world_identity_number(&q), number);
}

/* All different, the same for one seed; the one it is about is found, and lost where another is as near. */
static void test_gallery(void **state)
{
    (void)state;
    uint32_t gallery[MGI_PERSON_GALLERY], again[MGI_PERSON_GALLERY];
    mgi_person_costs c = {.expression = {0}};
    mgi_world_identity p;
    mgi_person_gallery(77, 3, gallery);
    mgi_person_gallery(77, 3, again);
    assert_memory_equal(gallery, again, sizeof gallery);
    mgi_person_gallery(77, 4, again);
    assert_memory_not_equal(gallery, again, sizeof gallery);
    assert_int_equal(gallery[0], 77);
    for (int i = 0; i < MGI_PERSON_GALLERY; i++) {
        assert_true(gallery[i] < mgi_world_identities());
        for (int k = 0; k < i; k++)
            assert_int_not_equal(gallery[i], gallery[k]);
    }
    mgi_world_identity_of(77, &p);
    assert_false(mgi_person_first(&c, gallery)); /* all alike */
    for (int a = 0; a < MGI_PERSON_ATTRIBUTES; a++)
        for (int v = 0; v < MGI_PERSON_VALUES; v++)
            c.of[a][v] = v == mgi_world_attribute_of(&p, a) ? 0.0f : 1.0f;
    assert_true(mgi_person_first(&c, gallery));
    mgi_world_identity_of(gallery[9], &p);
    for (int a = 0; a < MGI_PERSON_ATTRIBUTES; a++)
        c.of[a][mgi_world_attribute_of(&p, a)] = 0.0f;
    assert_false(mgi_person_first(&c, gallery));
}

static void test_refused(void **state)
{
    (void)state;
    assert_int_equal(mgi_person_check(ctx, film, 47, 64, 1, 16, &seen), MGEN_E_INVALID);
    assert_int_equal(mgi_person_check(ctx, film, 64, 64, 0, 16, &seen), MGEN_E_INVALID);
    assert_int_equal(mgi_person_check(ctx, film, 256, 64, 1, 16, &seen), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "at least 48 x 48"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_films),   cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_change),  cmocka_unit_test(test_distance),
        cmocka_unit_test(test_gallery), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
