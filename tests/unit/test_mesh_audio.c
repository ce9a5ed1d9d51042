/* SPDX-License-Identifier: MIT
 * Training an audio model over meshes: losses, gradients and weights are one rank's; a checkpoint of any mesh is gone on from by
 * one rank. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "audio_stages.h"
#include "parallel_runs.h"

static const mgi_mesh_shape shapes[] = {{2, 1, 1},    {1, 2, 1},    {1, 1, 2},
                                        {2, 1, 1, 2}, {2, 1, 2},    {1, 2, 2},
                                        {1, 2, 1, 2}, {2, 1, 2, 2}, {4, 1, 1, 2}};
enum { SHAPES = sizeof shapes / sizeof shapes[0], FEW = 4 };

/* How many of them: all that differ by what is split; the rest takes its time. */
static size_t shape_count(void)
{
    return getenv("MOVIEGEN_DIST") ? SHAPES : FEW;
}

static int make_codec(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    if (make_folder(state) != 0)
        return -1;
    params.threads = 1;
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    save_stage_codec(ctx, folder);
    mgi_context_free(ctx);
    return 0;
}

/* Steps after which all parts have learned: the head is 0 at first, and what sees the condition. */
static mgi_stage some_steps(int64_t steps)
{
    mgi_stage s = tiny_audio_stage(steps, 4);
    s.optimizer.clip = 0.01;
    s.optimizer.eps = 1e-2; /* else the size of gradients hardly matters */
    s.optimizer.lr = 0.1;
    s.drop = s.drop_film = s.drop_text = 0.25;
    s.validate_every = steps;
    s.validate_clips = 12;
    return s;
}

/* The encoders, which learn along, are whole on each rank unless they are sharded, and so are their gradients. */
static void compare_meshes(mgi_stage stage)
{
    rank one, many[RANKS_MAX];
    run_mesh(&stage, 1, (mgi_mesh_shape){1, 1, 1}, false, &one);
    assert_string_equal(one.error, "");
    assert_true(one.last_loss != one.loss && one.held_loss != one.last_loss);
    for (size_t i = 0; i < shape_count(); i++) {
        const mgi_mesh_shape w = shapes[i];
        const int count = w.dp * w.cp * w.tp;
        run_mesh(&stage, count, w, false, many);
        for (int k = 0; k < count; k++) {
            const rank *r = &many[k];
            assert_string_equal(r->error, "");
            assert_true(fabs(r->loss - one.loss) <= 1e-5 * one.loss);
            assert_true(fabs(r->last_loss - one.last_loss) <= 2e-5 * one.last_loss);
            assert_true(fabs(r->held_loss - one.held_loss) <= 2e-5 * one.held_loss);
            if (w.shard > 1) {
                assert_true(r->size < one.size);
                continue;
            }
            if (!stage.text[0].frozen)
                assert_true(distance(one.gradients, r->gradients, one.text_size) < 1e-4);
            if (w.tp > 1)
                continue;
            assert_true(distance(one.gradients, r->gradients, one.size) < 1e-5);
            assert_true(distance(one.weights, r->weights, one.size) < 1e-5);
        }
        ranks_free(many, count);
    }
    ranks_free(&one, 1);
}

static void test_meshes(void **state)
{
    (void)state;
    compare_meshes(some_steps(4));
}

/* In several passes a step, with blocks that are computed twice. */
static void test_passes(void **state)
{
    (void)state;
    mgi_stage s = some_steps(3);
    s.accumulate = 2;
    s.recompute = MGI_RECOMPUTE_FULL;
    compare_meshes(s);
}

/* Of encoders that do not learn, held in bf16, features are kept; and a model that sees no films. */
static void test_kinds(void **state)
{
    rank one;
    (void)state;
    mgi_stage s = some_steps(1);
    run_ranks(&s, 1, true, &one); /* whose encoders the next ones take */
    assert_string_equal(one.error, "");
    ranks_free(&one, 1);
    s = some_steps(3);
    strcpy(s.text[0].from, "audio_text");
    strcpy(s.vision.from, "audio_vision");
    s.text[0].frozen = s.vision.frozen = true;
    s.text[0].hold = s.vision.hold = MGI_HOLD_BF16; /* sharded, too */
    compare_meshes(s);
    s = some_steps(3);
    s.audio.vision[0] = '\0';
    s.audio.transformer.features = 0;
    compare_meshes(s);
}

/* Ranks that share batches alone: the same bits on all of them, and passes that divide one. */
static void test_shared(void **state)
{
    (void)state;
    const mgi_stage s = tiny_audio_stage(STEPS, 8);
    compare(&s);
}

/* What a mesh left is what one rank has after so many steps, and goes on as that does. */
static void test_resumed(void **state)
{
    enum { BEFORE = 3, ALL = 5 };
    const mgi_mesh_shape alone = {1, 1, 1};
    const mgi_stage stage = some_steps(ALL);
    char path[512];
    rank straight[2] = {{.stage = &stage, .shape = alone, .end = BEFORE},
                        {.stage = &stage, .shape = alone}};
    (void)state;
    for (int k = 0; k < 2; k++) {
        run_all(&straight[k], 1);
        assert_string_equal(straight[k].error, "");
    }
    for (size_t i = 0; i < shape_count(); i++) {
        const int count = shapes[i].dp * shapes[i].cp * shapes[i].tp;
        rank many[RANKS_MAX], resumed[2];
        snprintf(path, sizeof path, "%s/checkpoint-%zu", folder, i);
        for (int k = 0; k < count; k++)
            many[k] = (rank){.stage = &stage, .shape = shapes[i], .end = BEFORE, .to = path};
        run_all(many, count);
        for (int k = 0; k < count; k++)
            assert_string_equal(many[k].error, "");
        for (int k = 0; k < 2; k++) { /* no step; the rest of them */
            resumed[k] = (rank){.stage = &stage,
                                .shape = alone,
                                .from = path,
                                .first = BEFORE,
                                .end = straight[k].end};
            run_all(&resumed[k], 1);
            assert_string_equal(resumed[k].error, "");
            assert_true(distance(straight[k].weights, resumed[k].weights, straight[k].size) < 1e-5);
        }
        assert_true(fabs(resumed[1].last_loss - straight[1].last_loss) <=
                    2e-5 * straight[1].last_loss);
        remove_all(path);
        ranks_free(resumed, 2);
        ranks_free(many, count);
    }
    ranks_free(straight, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_meshes), cmocka_unit_test(test_passes),
                                       cmocka_unit_test(test_kinds), cmocka_unit_test(test_shared),
                                       cmocka_unit_test(test_resumed)};
    return cmocka_run_group_tests_name("mesh audio", tests, make_codec, remove_folder);
}
