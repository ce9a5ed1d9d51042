/* SPDX-License-Identifier: MIT
 * People of the world: who they are, what is said of them, photos of them; and that a world without them is as ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/hash.h"
#include "data/dataset.h"
#include "data/world_edit.h"
#include "data/world_person.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 64, PHOTO = 32, PHOTO_BYTES = PHOTO * PHOTO * 3 };

static const mgi_world_options people = {.people = 1.0f};

static void scene_of(mgi_world_scene *s, uint64_t index)
{
    mgi_world_scene_random(s, 31, index, &people);
}

/* ---- who ---------------------------------------------------------------------------------------- */

static void test_identities(void **state)
{
    (void)state;
    uint32_t n = mgi_world_identities(), held = 0;
    int seen[2][MGI_PERSON_ATTRIBUTES][8] = {{{0}}};
    assert_in_range(n, 2000, 100000);
    for (uint32_t i = 0; i < n; i++) {
        mgi_world_identity p;
        bool out = mgi_world_identity_held_out(i);
        mgi_world_identity_of(i, &p);
        assert_int_equal(mgi_world_identity_number(&p), i);
        held += out;
        for (int k = 0; k < MGI_PERSON_ATTRIBUTES; k++) {
            int value = mgi_world_attribute_of(&p, k);
            assert_in_range(value, 0, mgi_world_attribute_values(k) - 1);
            seen[out][k][value]++;
        }
    }
    assert_in_range(held, 256, n / 10);
    for (int out = 0; out < 2; out++)
        for (int k = 0; k < MGI_PERSON_ATTRIBUTES; k++)
            for (int v = 0; v < mgi_world_attribute_values(k); v++)
                assert_true(seen[out][k][v] > 0);
}

/* ---- scenes ------------------------------------------------------------------------------------- */

/* The share asked for, scenes without a person being those of a world without people; each split has its own people. */
static void test_scenes(void **state)
{
    (void)state;
    enum { N = 1200 };
    int shares = 0, motions[MGI_WORLD_MOTIONS] = {0}, faces[MGI_FACES] = {0}, clear = 0;
    for (uint64_t i = 0; i < N; i++) {
        mgi_world_options o = {.people = 0.25f, .frames = 16 + 8 * (int)(i % 3)};
        mgi_world_scene some, none, all;
        mgi_world_scene_random(&some, 3, i, &o);
        o.people = 0.0f;
        mgi_world_scene_random(&none, 3, i, &o);
        assert_int_equal(none.person, 0);
        shares += some.person > 0;
        if (!some.person)
            assert_memory_equal(&some, &none, sizeof some);
        o.people = 1.0f;
        o.split = (int)(i % 2);
        mgi_world_scene_random(&all, 3, i, &o);
        const mgi_world_object *p = &all.objects[0];
        assert_true(all.person > 0 && all.count == 1 && p->shape == MGI_WORLD_PERSON &&
                    !all.sign[0]);
        assert_int_equal(mgi_world_identity_held_out((uint32_t)all.person - 1), o.split);
        assert_int_equal(mgi_world_held_out(p->shape, p->colour, p->motion, all.background),
                         o.split);
        motions[p->motion]++;
        faces[all.expression]++;
        clear += mgi_world_clear(&all);
    }
    assert_in_range(shares, N / 5, N * 3 / 10);
    assert_in_range(clear, N * 98 / 100, N);
    for (int m = 0; m < MGI_WORLD_MOTIONS; m++)
        if (m == MGI_WORLD_RISE || m == MGI_WORLD_FALL || m == MGI_WORLD_ORBIT)
            assert_int_equal(motions[m], 0);
        else
            assert_in_range(motions[m], N / 8, N * 3 / 10);
    for (int k = 0; k < MGI_FACES; k++)
        assert_in_range(faces[k], N / 5, N * 3 / 10);
}

/* In every bucket and at every rate the face stays in the view. */
static void test_places(void **state)
{
    (void)state;
    static const int views[][2] = {{64, 64}, {80, 48}, {48, 80}};
    for (uint64_t i = 0; i < 300; i++) {
        const mgi_world_options o = {.width = views[i % 3][0],
                                     .height = views[i % 3][1],
                                     .fps = 8 * (1 + (int)(i / 3 % 3)),
                                     .people = 1.0f};
        mgi_world_scene s;
        mgi_world_scene_random(&s, 4, i, &o);
        for (int f = 0; f < s.frames && mgi_world_clear(&s); f++) {
            mgi_world_pose p;
            mgi_world_object_at(&s, 0, (float)f / (float)s.fps, &p);
            float half = 0.75f * s.objects[0].radius * p.scale;
            assert_true(p.x > half && p.x < (float)s.width - half);
            assert_true(p.y > half && p.y < (float)s.height - half);
        }
    }
}

/* ---- captions ----------------------------------------------------------------------------------- */

static void test_captions(void **state)
{
    (void)state;
    static const char *const want[MGI_WORLD_WORDINGS] = {
        "FPS-16 a smiling person in an orange shirt walks left on the moon",
        "FPS-16 static shot. on the moon, a smiling person in an orange shirt walks left",
        "FPS-16 a smiling person in an orange shirt walking left on the moon",
        "FPS-16 a smiling person in a shirt that is orange walks left on the moon",
        "FPS-16 the smiling person in the orange shirt walks left; the background is the moon",
        "FPS-16 static shot. There is somebody on the moon: a smiling person in an orange shirt. "
        "The person walks left.",
        "FPS-16 static shot. The background is the moon. A smiling person in an orange shirt can "
        "be "
        "seen. The person walks left."};
    mgi_world_scene s = {.frames = 32,
                         .fps = 16,
                         .count = 1,
                         .background = MGI_WORLD_MOON,
                         .camera = MGI_WORLD_STATIC,
                         .person = 1,
                         .expression = MGI_FACE_SMILING};
    char text[MGI_WORLD_CAPTION_MAX];
    s.objects[0] = (mgi_world_object){
        .shape = MGI_WORLD_PERSON, .colour = MGI_WORLD_ORANGE, .motion = MGI_WORLD_ROLL_LEFT};
    for (int w = 0; w < MGI_WORLD_WORDINGS; w++) {
        mgi_world_caption(&s, w, text);
        assert_string_equal(text, want[w]);
    }
    s.frames = 1;
    mgi_world_caption(&s, 0, text);
    assert_string_equal(text, "a smiling person in an orange shirt on the moon");
    mgi_world_caption(&s, 5, text);
    assert_string_equal(text,
                        "There is somebody on the moon: a smiling person in an orange shirt.");
}

/* What is said is understood, and nothing of who it is is said. */
static void test_parse_back(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 400; i++) {
        mgi_world_scene s, other;
        mgi_world_said said;
        char text[MGI_WORLD_CAPTION_MAX], same[MGI_WORLD_CAPTION_MAX];
        scene_of(&s, i);
        int wording = (int)(i % MGI_WORLD_WORDINGS);
        mgi_world_caption(&s, wording, text);
        other = s;
        other.person = 1 + s.person % (int)mgi_world_identities();
        mgi_world_caption(&other, wording, same);
        assert_string_equal(text, same);
        mgi_world_parse(text, &said);
        if (said.count != 1 || said.objects[0].shape != MGI_WORLD_PERSON ||
            said.objects[0].colour != s.objects[0].colour ||
            said.objects[0].motion != s.objects[0].motion || said.background != s.background ||
            said.expression != 1 + s.expression || said.fps != s.fps)
            fail_msg("not understood: %s", text);
    }
    mgi_world_said said;
    mgi_world_parse("FPS-16 a red ball bounces on sand", &said);
    assert_true(said.expression == 0 && said.objects[0].shape == MGI_WORLD_BALL);
}

/* ---- pixels ------------------------------------------------------------------------------------- */

/* Frames and photos of many people. */
static void test_pixels_are_pinned(void **state)
{
    (void)state;
    static const uint64_t pinned[3] = {0x495ab9be4d91ab74u, 0x328c8ef07c3f3de8u,
                                       0x42278cb6c4096851u};
    static uint8_t frame[SIDE * SIDE * 3], photo[PHOTO_BYTES];
    uint64_t hash[3] = {0};
    mgi_world_scene s;
    for (uint64_t i = 0; i < 24; i++) {
        scene_of(&s, i);
        mgi_world_draw(&s, SIDE, SIDE, (int)i, 1, frame);
        hash[0] = mgi_hash64(frame, sizeof frame, hash[0]);
        for (int cross = 0; cross < 2; cross++) {
            mgi_world_photo(&s, i, cross, PHOTO, photo);
            hash[1 + cross] = mgi_hash64(photo, sizeof photo, hash[1 + cross]);
        }
    }
    for (int k = 0; k < 3; k++)
        if (hash[k] != pinned[k])
            fail_msg("the hashes are 0x%016llx, 0x%016llx, 0x%016llx", (unsigned long long)hash[0],
                     (unsigned long long)hash[1], (unsigned long long)hash[2]);
}

/* Frames are functions of their time, also when a frame is drawn in several bands. */
static void test_parts(void **state)
{
    (void)state;
    static uint8_t all[4 * 160 * 160 * 3], one[160 * 160 * 3];
    mgi_world_scene s;
    scene_of(&s, 9);
    mgi_world_draw(&s, 160, 160, 3, 4, all);
    for (int f = 0; f < 4; f++) {
        mgi_world_draw(&s, 160, 160, 3 + f, 1, one);
        assert_memory_equal(one, all + f * (int)sizeof one, sizeof one);
    }
}

/* Every value of every attribute, and every expression, can be told from the others in films and in photos. */
static void test_looks_differ(void **state)
{
    (void)state;
    static uint8_t at[8][SIDE * SIDE * 3];
    mgi_world_scene s;
    mgi_world_identity p;
    for (int k = 0; k <= MGI_PERSON_ATTRIBUTES; k++) {
        int n = k < MGI_PERSON_ATTRIBUTES ? mgi_world_attribute_values(k) : MGI_FACES;
        for (int photo = 0; photo < 2; photo++) {
            for (int v = 0; v < n; v++) {
                scene_of(&s, 40);
                mgi_world_identity_of((uint32_t)s.person - 1, &p);
                p.extra = MGI_PERSON_NOTHING;
                if (k < MGI_PERSON_ATTRIBUTES)
                    mgi_world_attribute_set(&p, k, v);
                else
                    s.expression = v;
                s.person = 1 + (int)mgi_world_identity_number(&p);
                if (photo)
                    mgi_world_photo(&s, 5, false, SIDE, at[v]);
                else
                    mgi_world_draw(&s, SIDE, SIDE, 0, 1, at[v]);
            }
            for (int v = 0; v < n; v++)
                for (int w = 0; w < v; w++) {
                    int differ = 0;
                    for (int i = 0; i < SIDE * SIDE * 3; i++)
                        differ += abs(at[v][i] - at[w][i]) > 40;
                    if (differ < 40)
                        fail_msg("attribute %d: %d and %d differ in %d values", k, w, v, differ);
                }
        }
    }
}

/* ---- photos ------------------------------------------------------------------------------------- */

static int greys(const uint8_t *photo)
{
    int n = 0;
    for (int i = 0; i < PHOTO_BYTES; i += 3)
        n += photo[i] == 128 && photo[i + 1] == 128 && photo[i + 2] == 128;
    return n;
}

/* A face with grey around it, at the corners of the photo and not in its middle; shirt and background do not show. */
static void test_photos(void **state)
{
    (void)state;
    static uint8_t photo[PHOTO_BYTES], other[PHOTO_BYTES];
    int changed[2] = {0, 0};
    for (uint64_t i = 0; i < 60; i++) {
        mgi_world_scene s;
        scene_of(&s, i);
        for (int cross = 0; cross < 2; cross++) {
            mgi_world_scene t = s;
            mgi_world_photo(&s, i, cross, PHOTO, photo);
            assert_in_range(greys(photo), PHOTO * PHOTO / 6, PHOTO * PHOTO * 3 / 4);
            for (int k = 0; k < 4; k++) {
                int at = ((k & 1) * (PHOTO - 1) + (k >> 1) * (PHOTO - 1) * PHOTO) * 3;
                assert_int_equal(photo[at], 128);
            }
            t.background = (s.background + 1) % MGI_WORLD_BACKGROUNDS;
            t.objects[0].colour = (s.objects[0].colour + 1) % MGI_WORLD_COLOURS;
            mgi_world_photo(&t, i, cross, PHOTO, other);
            assert_memory_equal(photo, other, sizeof photo);
            mgi_world_photo(&s, i + 1000, cross, PHOTO, other);
            changed[cross] += memcmp(photo, other, sizeof photo) != 0;
        }
    }
    assert_int_equal(changed[1], 60);
    assert_in_range(changed[0], 1, 60);
}

/* Of a film in which nobody moves, a photo that belongs to it is the same at every pick but for blinks. */
static void test_paired(void **state)
{
    (void)state;
    static uint8_t photo[PHOTO_BYTES], same[PHOTO_BYTES];
    mgi_world_scene s;
    scene_of(&s, 3);
    s.objects[0].motion = MGI_WORLD_STILL;
    int equal = 0;
    mgi_world_photo(&s, 0, false, PHOTO, same);
    for (uint64_t pick = 1; pick < 30; pick++) {
        mgi_world_photo(&s, pick, false, PHOTO, photo);
        equal += !memcmp(photo, same, sizeof photo);
    }
    assert_in_range(equal, 15, 29);
}

/* ---- datasets ----------------------------------------------------------------------------------- */

static mgi_dataset *dataset(mgen_context *ctx, float share, int split)
{
    const mgi_world_options o = {.people = share, .split = split};
    mgi_dataset *ds;
    assert_int_equal(mgi_dataset_world(ctx, 6, &o, &ds), MGEN_OK);
    return ds;
}

static void test_dataset(void **state)
{
    (void)state;
    static uint8_t photo[PHOTO_BYTES], other[PHOTO_BYTES];
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    params.threads = 1;
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    mgi_dataset *all = dataset(ctx, 1.0f, MGI_WORLD_TRAIN), *half = dataset(ctx, 0.5f, 0);
    mgi_dataset *none = dataset(ctx, 0.0f, 0);
    assert_true(mgi_dataset_has_photos(all));
    assert_false(mgi_dataset_has_photos(half) || mgi_dataset_has_photos(none));
    assert_true(all->identity != half->identity && half->identity != none->identity);
    for (uint64_t i = 0; i < 20; i++) {
        mgi_world_scene s;
        char caption[MGI_CAPTION_SIZE];
        mgi_world_scene_random(&s, 6, i, &people);
        assert_int_equal(mgi_dataset_photo(ctx, all, i, 7, true, PHOTO, photo), MGEN_OK);
        assert_int_equal(mgi_dataset_photo(ctx, all, i, 7, true, PHOTO, other), MGEN_OK);
        assert_memory_equal(photo, other, sizeof photo);
        assert_int_equal(mgi_dataset_photo(ctx, all, i, 8, true, PHOTO, other), MGEN_OK);
        assert_memory_not_equal(photo, other, sizeof photo);
        assert_int_equal(mgi_dataset_held_photo(ctx, all, (int64_t)i, 7, true, PHOTO, other),
                         MGEN_OK);
        assert_memory_not_equal(photo, other, sizeof photo);
        mgi_dataset_caption(all, i, caption);
        assert_non_null(strstr(caption, "person"));
    }
    assert_int_equal(mgi_dataset_photo(ctx, none, 0, 0, true, PHOTO, photo), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "no photo"));
    assert_int_equal(mgi_dataset_photo(ctx, all, 0, 0, true, 4, photo), MGEN_E_INVALID);
    mgi_dataset_release(all);
    mgi_dataset_release(half);
    mgi_dataset_release(none);
    mgi_context_free(ctx);
}

/* Edits are of objects, whatever the share of people. */
static void test_edits(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 50; i++) {
        mgi_world_edit e, same;
        mgi_world_edit_random(&e, 2, i, -1, &people);
        mgi_world_edit_random(&same, 2, i, -1, &(mgi_world_options){0});
        assert_memory_equal(&e, &same, sizeof e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identities), cmocka_unit_test(test_scenes),
        cmocka_unit_test(test_places),     cmocka_unit_test(test_captions),
        cmocka_unit_test(test_parse_back), cmocka_unit_test(test_pixels_are_pinned),
        cmocka_unit_test(test_parts),      cmocka_unit_test(test_looks_differ),
        cmocka_unit_test(test_photos),     cmocka_unit_test(test_paired),
        cmocka_unit_test(test_dataset),    cmocka_unit_test(test_edits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
