/* SPDX-License-Identifier: MIT
 * The world as a dataset: sizes, captions, what is held out, its options in a recipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "data/dataset.h"
#include "data/world_options.h"
#include "one_context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mgi_dataset *open_world(mgi_world_options options)
{
    mgi_dataset *ds;
    OK(mgi_dataset_world(ctx, 5, &options, &ds));
    return ds;
}

/* Element i is scene i: as a sample, among clips, told; shorter clips are a part of it. */
static void test_samples(void **state)
{
    (void)state;
    enum { FRAME = 48 * 32 * 3, N = 3 };
    mgi_world_options o = {.width = 64, .height = 96, .frames = 6, .fps = 24, .scale = 0.5f};
    mgi_dataset *ds = open_world(o);
    static uint8_t drawn[N * 6 * FRAME], clips[N * 6 * FRAME], sample[6 * FRAME];
    char caption[MGI_CAPTION_SIZE], told[MGI_CAPTION_SIZE], own[MGI_WORLD_CAPTION_MAX];
    assert_true(ds->width == 32 && ds->height == 48 && ds->frames == 6);
    assert_true(mgi_dataset_drawn(ds) && mgi_dataset_train_count(ds) == UINT64_MAX);
    for (uint64_t i = 0; i < N; i++) {
        mgi_world_scene s;
        mgi_world_scene_random(&s, 5, 70 + i, &o);
        assert_int_equal(mgi_dataset_element(ds, 9, 70 + i), 70 + i);
        mgi_world_draw(&s, 32, 48, 0, 6, drawn + i * 6 * FRAME);
        OK(mgi_dataset_sample(ctx, ds, 70 + i, sample, caption));
        assert_memory_equal(sample, drawn + i * 6 * FRAME, sizeof sample);
        mgi_world_caption(&s, s.wording, own);
        assert_string_equal(caption, own);
        mgi_dataset_told(ds, 70 + i, 1, told);
        mgi_world_caption(&s, 0, own);
        assert_string_equal(told, own);
        mgi_dataset_told(ds, 70 + i, 2 * MGI_WORLD_DENSE, told);
        mgi_world_caption(&s, MGI_WORLD_DENSE, own);
        assert_string_equal(told, own);
    }
    OK(mgi_dataset_clips(ctx, ds, 9, 70, N, 6, clips));
    assert_memory_equal(clips, drawn, sizeof clips);
    OK(mgi_dataset_clips(ctx, ds, 9, 70, N, 2, clips));
    for (int i = 0; i < N; i++) {
        int found = 0;
        for (int first = 0; first <= 4; first++)
            found += !memcmp(clips + i * 2 * FRAME, drawn + (i * 6 + first) * FRAME, 2 * FRAME);
        assert_true(found > 0);
    }
    OK(mgi_dataset_piece(ctx, ds, 71, 3, 2, sample, NULL));
    assert_memory_equal(sample, drawn + (6 + 3) * FRAME, 2 * FRAME);
    mgi_dataset_release(ds);
}

/* Validation scenes are not those of training, and have the plain caption. */
static void test_held(void **state)
{
    (void)state;
    static uint8_t held[2 * 64 * 64 * 3], drawn[2 * 64 * 64 * 3];
    char caption[MGI_CAPTION_SIZE], plain[MGI_WORLD_CAPTION_MAX];
    mgi_world_options o = {.frames = 2, .camera = MGI_WORLD_NEVER};
    mgi_world_scene s;
    mgi_dataset *ds = open_world(o);
    assert_int_equal(mgi_dataset_held_count(ds, 40), 40);
    OK(mgi_dataset_held(ctx, ds, 7, 2, held, caption));
    mgi_world_scene_random(&s, MGI_VALIDATION_SEED, 7, &o);
    mgi_world_draw(&s, 64, 64, 0, 2, drawn);
    mgi_world_caption(&s, 0, plain);
    assert_memory_equal(held, drawn, sizeof held);
    assert_string_equal(caption, plain);
    mgi_dataset_release(ds);
}

static mgen_status no_sample(void *user, uint64_t index, mgen_sample *sample)
{
    (void)user;
    (void)index;
    (void)sample;
    return MGEN_E_IO;
}

static void test_sizes(void **state)
{
    (void)state;
    mgi_dataset *ds = open_world((mgi_world_options){.sign = MGI_WORLD_ALWAYS}), *other;
    static uint8_t pixels[48 * 80 * 3];
    char caption[MGI_CAPTION_SIZE];
    OK(mgi_dataset_sized(ctx, ds, 80, 48, 1, 8, &other));
    assert_true(other->width == 80 && other->height == 48 && other->frames == 1);
    assert_true(other->identity != ds->identity && other->world.fps == 8);
    OK(mgi_dataset_sample(ctx, other, 3, pixels, caption));
    assert_true(!strstr(caption, "FPS") && strchr(caption, '"'));
    mgi_dataset_release(other);
    OK(mgi_dataset_sized(ctx, ds, 48, 64, 24, 8, &other));
    mgi_dataset_caption(other, 3, caption);
    assert_int_equal(strncmp(caption, "FPS-8 ", 6), 0);
    mgi_dataset_release(other);
    assert_int_equal(mgi_dataset_sized(ctx, ds, 40, 64, 24, 0, &other), MGEN_E_INVALID);
    assert_null(other);
    assert_int_equal(mgi_dataset_sized(ctx, ds, 64, 64, 0, 0, &other), MGEN_E_INVALID);
    assert_int_equal(mgi_dataset_sized(ctx, ds, 64, 64, 32, 12, &other), MGEN_E_INVALID);
    mgi_dataset_release(ds);
    /* what has one size */
    mgen_dataset_params host = MGEN_DATASET_PARAMS_INIT;
    host.width = host.height = 64;
    host.frames = 32;
    host.count = 1;
    host.read = no_sample;
    OK(mgi_dataset_host(ctx, &host, &ds));
    OK(mgi_dataset_sized(ctx, ds, 64, 64, 8, 16, &other));
    assert_ptr_equal(other, ds);
    mgi_dataset_release(other);
    assert_int_equal(mgi_dataset_sized(ctx, ds, 64, 48, 8, 0, &other), MGEN_E_INVALID);
    assert_int_equal(mgi_dataset_sized(ctx, ds, 64, 64, 33, 0, &other), MGEN_E_INVALID);
    mgi_dataset_release(ds);
}

static mgen_status read_options(const char *text, mgi_world_options *out)
{
    mgi_json *root;
    OK(mgi_json_parse(ctx, "options", text, strlen(text), &root));
    mgen_status status = mgi_world_options_read(ctx, root, out);
    mgi_json_free(ctx, root);
    return status;
}

static void test_options(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"[]", "must be an object"},
        {"{\"hight\": 64}", "hight"},
        {"{\"width\": 40}", "the width of the view is 40; it must be 48 to 1024"},
        {"{\"height\": 1100}", "the height of the view is 1100"},
        {"{\"frames\": 5000}", "frames"},
        {"{\"fps\": 12}", "fps is 12; it must be 8, 16 or 24"},
        {"{\"objects_min\": 3, \"objects_max\": 2}", "objects_min is 3; it must be 1 to 2"},
        {"{\"objects_max\": 4}", "objects_max is 4; it must be 1 to 3"},
        {"{\"camera\": \"seldom\"}",
         "\"camera\" is \"seldom\"; known are \"sometimes\", \"never\" and \"always\""},
        {"{\"sizes\": \"always\"}",
         "\"sizes\" is \"always\"; known are \"sometimes\" and \"never\""},
        {"{\"scale\": 9.5}", "scale"},
        {"{\"split\": 1}", "split"},
        {"{\"motion_weights\": [3]}", "\"motion_weights\" must be an object"},
        {"{\"motion_weights\": {\"jumps\": 3}}", "jumps"},
        {"{\"motion_weights\": {\"spins\": -1}}", "spins"},
        {"{\"motion_weights\": {\"bounces\": 0, \"rolls left\": 0, \"rolls right\": 0, "
         "\"rises\": 0, \"falls\": 0, \"orbits\": 0, \"spins\": 0, \"stays still\": 0}}",
         "leaves no motion"},
    };
    mgi_world_options o;
    OK(read_options("{}", &o));
    assert_true(o.width == 64 && o.height == 64 && o.frames == 32 && o.fps == 0 &&
                o.objects_min == 1 && o.objects_max == 3 && o.scale == 1.0f &&
                o.split == MGI_WORLD_TRAIN && o.camera == MGI_WORLD_SOMETIMES);
    OK(read_options("{\"width\": 80, \"height\": 48, \"scale\": 1.5, \"frames\": 16, \"fps\": 24, "
                    "\"objects_min\": 2, \"objects_max\": 2, \"camera\": \"never\", "
                    "\"sign\": \"always\", \"sizes\": \"never\", \"split\": \"all\"}",
                    &o));
    assert_true(o.width == 80 && o.height == 48 && o.frames == 16 && o.fps == 24 &&
                o.objects_min == 2 && o.objects_max == 2 && o.scale == 1.5f &&
                o.split == MGI_WORLD_ALL && o.camera == MGI_WORLD_NEVER &&
                o.sign == MGI_WORLD_ALWAYS && o.sizes == MGI_WORLD_NEVER);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (read_options(bad[i].text, &o) != MGEN_E_CORRUPT ||
            !strstr(mgen_last_error(ctx), bad[i].said))
            fail_msg("%s: %s", bad[i].text, mgen_last_error(ctx));
    mgi_dataset *ds;
    o = (mgi_world_options){.width = 50, .scale = 0.25f};
    assert_int_equal(mgi_dataset_world(ctx, 1, &o, &ds), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "no whole number of pixels"));
}

/* What weighs more is drawn more often, what weighs nothing never; the dataset is another one. */
static void test_motion_weights(void **state)
{
    (void)state;
    enum { SCENES = 300 };
    int seen[2][MGI_WORLD_MOTIONS] = {{0}};
    mgi_world_options o[2];
    OK(read_options("{\"objects_max\": 1}", &o[0]));
    OK(read_options("{\"objects_max\": 1, \"motion_weights\": {\"spins\": 4, \"rises\": 0}}",
                    &o[1]));
    mgi_dataset *plain = open_world(o[0]), *weighted = open_world(o[1]);
    assert_true(plain->identity != weighted->identity);
    mgi_dataset_release(plain);
    mgi_dataset_release(weighted);
    for (int k = 0; k < 2; k++)
        for (uint64_t i = 0; i < SCENES; i++) {
            mgi_world_scene s;
            mgi_world_scene_random(&s, 5, i, &o[k]);
            seen[k][s.objects[0].motion]++;
        }
    assert_true(seen[0][MGI_WORLD_RISE] > 0 && seen[1][MGI_WORLD_RISE] == 0);
    assert_true(seen[1][MGI_WORLD_SPIN] > 2 * seen[0][MGI_WORLD_SPIN]);
    for (int m = 0; m < MGI_WORLD_MOTIONS; m++)
        assert_true(m == MGI_WORLD_RISE || seen[1][m] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),        cmocka_unit_test(test_held),
        cmocka_unit_test(test_sizes),          cmocka_unit_test(test_options),
        cmocka_unit_test(test_motion_weights),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
