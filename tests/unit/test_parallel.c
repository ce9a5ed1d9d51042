/* SPDX-License-Identifier: MIT
 * Data-parallel training and gradient accumulation: ranks that share each batch, and passes that divide it, train
 * as one rank with one pass does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "parallel_runs.h"

static void test_autoencoder(void **state)
{
    (void)state;
    const mgi_stage stage = tiny_autoencoder(STEPS, 4);
    compare(&stage);
}

/* The weight of the discriminator is that of the whole batch, too. */
static void test_discriminator(void **state)
{
    rank one;
    (void)state;
    mgi_stage stage = tiny_autoencoder(STEPS, 4);
    stage.frames = 1;
    stage.gan = 0.5;
    stage.gan_channels = 4;
    stage.gan_optimizer = tiny_optimizer;
    run_ranks(&stage, 1, false, &one);
    assert_string_equal(one.error, "");
    assert_as_one(&one, &stage, 2);
    ranks_free(&one, 1);
}

/* With and without discriminators. */
static void test_audio_codec(void **state)
{
    (void)state;
    mgi_stage stage = tiny_audio_codec(STEPS, 4);
    for (stage.gan_start = 0; stage.gan_start <= STEPS; stage.gan_start += STEPS) {
        rank one;
        run_ranks(&stage, 1, false, &one);
        assert_string_equal(one.error, "");
        assert_as_one(&one, &stage, 2);
        ranks_free(&one, 1);
    }
}

/* Captions are told from those of all ranks: any number of them trains as one does with the whole batch, the scale too. Passes
 * that accumulate are told apart by themselves, on two ranks as on one. */
static void test_clip(void **state)
{
    static const int32_t learns[] = {MGI_LEARN_ALL, MGI_LEARN_TEXT};
    (void)state;
    for (int i = 0; i < 2; i++) {
        mgi_stage stage = tiny_clip(STEPS, 8);
        rank one;
        stage.learn = learns[i];
        run_ranks(&stage, 1, false, &one);
        assert_string_equal(one.error, "");
        for (int count = 2; count <= RANKS_MAX; count *= 2)
            assert_as_one(&one, &stage, count);
        ranks_free(&one, 1);
        stage.batch = 4;
        stage.accumulate = 2;
        run_ranks(&stage, 1, false, &one);
        assert_string_equal(one.error, "");
        assert_as_one(&one, &stage, 2);
        ranks_free(&one, 1);
    }
    /* a caption and a frame on each */
    rank one;
    mgi_stage least = tiny_clip(STEPS, RANKS_MAX);
    run_ranks(&least, 1, false, &one);
    assert_as_one(&one, &least, RANKS_MAX);
    ranks_free(&one, 1);
}

/* After the autoencoder, whose model it needs. */
static void test_video(void **state)
{
    (void)state;
    const mgi_stage stage = tiny_text_to_video(STEPS, 8);
    compare(&stage);
}

/* Losses over meshes are those of one rank, as those of held-out clips are. */
static void compare_meshes(mgi_stage stage)
{
    static const mgi_mesh_shape shapes[] = {{1, 2, 1}, {1, 1, 2}, {2, 1, 2, 2}};
    rank one, many[RANKS_MAX];
    stage.optimizer.lr = 0.1; /* the head is 0 at first, and what sees the condition */
    stage.optimizer.eps = 1e-2;
    stage.validate_every = 3;
    stage.validate_clips = 12;
    run_mesh(&stage, 1, (mgi_mesh_shape){1, 1, 1}, false, &one);
    assert_string_equal(one.error, "");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int count = shapes[i].dp * shapes[i].cp * shapes[i].tp;
        run_mesh(&stage, count, shapes[i], false, many);
        for (int k = 0; k < count; k++) {
            assert_string_equal(many[k].error, "");
            assert_true(fabs(many[k].last_loss - one.last_loss) <= 2e-5 * one.last_loss);
            assert_true(fabs(many[k].held_loss - one.held_loss) <= 2e-5 * one.held_loss);
            if (stage.kind == MGI_STAGE_PERSONALIZER)
                assert_true(distance(one.gradients, many[k].gradients, one.text_size) < 1e-4);
        }
        ranks_free(many, count);
    }
    ranks_free(&one, 1);
}

/* After both, whose models it needs: pairs and their noise are where they are with one rank. */
static void test_upsampler(void **state)
{
    rank one;
    (void)state;
    mgi_stage stage = tiny_text_to_video(1, 2);
    run_ranks(&stage, 1, true, &one);
    assert_string_equal(one.error, "");
    ranks_free(&one, 1);
    stage = tiny_upsampler(STEPS, 8);
    compare(&stage);

    compare_meshes(tiny_upsampler(3, 4));
}

/* So are edits, what is left out of them, and the places of images. */
static void test_editor(void **state)
{
    (void)state;
    mgi_stage stage = tiny_editor(STEPS, 8);
    compare(&stage);
    for (int images = 0; images < 2; images++) {
        stage = tiny_editor(3, 4);
        stage.bucket_count = 1;
        stage.bucket[0] = (mgi_bucket){.width = 64, .height = 64, .frames = 9, .weight = 1.0};
        if (images)
            stage.bucket[0].frames = 1;
        compare_meshes(stage);
    }
}

/* So are photos. The image encoder, which is trained along, is whole on each rank, and so is its gradient. */
static void test_personalizer(void **state)
{
    (void)state;
    mgi_stage stage = tiny_personalizer(STEPS, 4);
    stage.bucket_count = 1;
    stage.bucket[0].frames = 1;
    compare(&stage);
    stage = tiny_personalizer(3, 4);
    stage.bucket_count = 1;
    stage.bucket[0] = (mgi_bucket){.width = 64, .height = 64, .frames = 9, .weight = 1.0};
    compare_meshes(stage);
}

/* Clips that are smaller than the largest: the step that is looked at takes the second bucket. */
static void test_small_bucket(void **state)
{
    rank one;
    (void)state;
    mgi_stage stage = tiny_text_to_video(STEPS, 8);
    stage.bucket_count = 2;
    stage.images = -1.0;
    stage.bucket[0] = (mgi_bucket){.width = 64, .height = 64, .frames = 32, .weight = 1e-6};
    stage.bucket[1] = (mgi_bucket){.width = 64, .height = 64, .frames = 9, .weight = 1.0};
    run_ranks(&stage, 1, false, &one);
    assert_string_equal(one.error, "");
    assert_as_one(&one, &stage, 2);
    ranks_free(&one, 1);
}

/* The text encoder learns along. Losses, the last one and that of a validation after updates, are one rank's; so are
 * gradients of the last step, where no parameter is split or sharded. */
static void test_mesh(void **state)
{
    static const mgi_mesh_shape shapes[] = {{1, 2, 1},    {1, 1, 2},    {2, 1, 2},   {1, 2, 2},
                                            {2, 1, 2, 2}, {4, 1, 1, 2}, {1, 4, 1, 4}};
    rank one, many[RANKS_MAX];
    (void)state;
    mgi_stage stage = tiny_text_to_video(3, 4);
    stage.images = -1.0;
    stage.bucket_count = 1;
    stage.bucket[0] = (mgi_bucket){.width = 64, .height = 64, .frames = 9, .weight = 1.0};
    stage.optimizer.clip = 0.01;
    stage.optimizer.eps = 1e-2; /* else the size of gradients hardly matters */
    stage.optimizer.lr = 0.1;   /* the head is 0 at first: then there are gradients behind it */
    stage.validate_every = 3;
    stage.validate_clips = 12;
    run_mesh(&stage, 1, (mgi_mesh_shape){1, 1, 1}, false, &one);
    assert_string_equal(one.error, "");
    assert_true(one.last_loss != one.loss && one.held_loss != one.last_loss);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int count = shapes[i].dp * shapes[i].cp * shapes[i].tp;
        run_mesh(&stage, count, shapes[i], false, many);
        for (int k = 0; k < count; k++) {
            assert_string_equal(many[k].error, "");
            assert_true(fabs(many[k].loss - one.loss) <= 1e-5 * one.loss);
            assert_true(fabs(many[k].last_loss - one.last_loss) <= 2e-5 * one.last_loss);
            assert_true(fabs(many[k].held_loss - one.held_loss) <= 2e-5 * one.held_loss);
            if (shapes[i].shard > 1) {
                assert_true(many[k].size < one.size);
                continue;
            }
            assert_true(distance(one.gradients, many[k].gradients, one.text_size) < 1e-4);
            if (shapes[i].tp == 1)
                assert_true(distance(one.gradients, many[k].gradients, one.size) < 1e-5);
        }
        ranks_free(many, count);
    }
    ranks_free(&one, 1);
}

/* A batch that the ranks do not divide is refused on each of them. */
static void test_share(void **state)
{
    (void)state;
    mgi_stage stage = tiny_text_to_video(STEPS, 8);
    rank ranks[2];
    stage.batch = 3;
    run_ranks(&stage, 2, false, ranks);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ranks[i].status, MGEN_E_INVALID);
        assert_non_null(strstr(ranks[i].error, "batch of 3"));
    }
    ranks_free(ranks, 2);
}

/* Weights in a folder of their own, after `steps` steps. */
static void begin_with(const char *dir, mgi_stage stage, int steps)
{
    rank one;
    stage.steps = steps;
    folders[0] = dir;
    run_ranks(&stage, 1, true, &one);
    assert_string_equal(one.error, "");
    ranks_free(&one, 1);
    folders[0] = folder;
}

static void assert_start_refused(mgi_stage stage, const char *name, const char *other)
{
    rank ranks[2];
    strcpy(stage.start_from, name);
    for (int same = 1; same >= 0; same--) {
        folders[1] = same ? folder : other;
        run_ranks(&stage, 2, false, ranks);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(ranks[i].status, same ? MGEN_OK : MGEN_E_DESYNC);
            if (!same &&
                !strstr(ranks[i].error, "ranks disagree on the weights to start from (their "
                                        "hash): rank 0 has \""))
                fail_msg("%s", ranks[i].error);
        }
        ranks_free(ranks, 2);
    }
    folders[1] = folder;
}

/* "start_from" names other weights on one rank than on the other: both say so, with both values. */
static void test_other_start(void **state)
{
    char other[] = "/tmp/mgi-parallel-other-XXXXXX";
    (void)state;
    mgi_stage tae = tiny_autoencoder(1, 2), video = tiny_text_to_video(1, 2);
    assert_non_null(mkdtemp(other));
    strcpy(video.save_as, "first");
    for (int i = 0; i < 2; i++) {
        begin_with(i ? other : folder, tae, 1 + i);
        begin_with(i ? other : folder, video, 1 + i);
    }
    assert_start_refused(tae, "tae", other);
    assert_start_refused(video, "first", other);
    assert_int_equal(remove_all(other), 0);
}

/* Position tables that begin as shorter ones, stretched: over a mesh as on one rank. */
static void test_grown(void **state)
{
    static const mgi_mesh_shape shapes[] = {{1, 1, 2}, {2, 1, 1, 2}, {2, 1, 2, 2}};
    rank one, many[RANKS_MAX];
    (void)state;
    mgi_stage tae = tiny_autoencoder(1, 2), stage = tiny_text_to_video(1, 4);
    begin_with(folder, tae, 1);
    stage.images = -1.0;
    stage.bucket_count = 1;
    stage.bucket[0] = (mgi_bucket){.width = 64, .height = 64, .frames = 9, .weight = 1.0};
    stage.optimizer.eps = 1e-2;
    stage.optimizer.lr = 0.1; /* then the tables matter */
    strcpy(stage.save_as, "short");
    begin_with(folder, stage, 3);
    stage.save_as[0] = 0;
    strcpy(stage.start_from, "short");
    run_mesh(&stage, 1, (mgi_mesh_shape){1, 1, 1}, false, &one);
    assert_string_equal(one.error, "");
    double before = one.loss;
    ranks_free(&one, 1);
    stage.video.frames_max += 1;
    stage.video.columns_max += 3;
    run_mesh(&stage, 1, (mgi_mesh_shape){1, 1, 1}, false, &one);
    assert_string_equal(one.error, "");
    assert_true(fabs(one.loss - before) > 1e-4 * before);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int count = shapes[i].dp * shapes[i].cp * shapes[i].tp;
        run_mesh(&stage, count, shapes[i], false, many);
        for (int k = 0; k < count; k++) {
            assert_string_equal(many[k].error, "");
            assert_true(fabs(many[k].loss - one.loss) <= 1e-5 * one.loss);
        }
        ranks_free(many, count);
    }
    ranks_free(&one, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_autoencoder),  cmocka_unit_test(test_discriminator),
        cmocka_unit_test(test_audio_codec),  cmocka_unit_test(test_clip),
        cmocka_unit_test(test_video),        cmocka_unit_test(test_upsampler),
        cmocka_unit_test(test_editor),       cmocka_unit_test(test_personalizer),
        cmocka_unit_test(test_small_bucket), cmocka_unit_test(test_mesh),
        cmocka_unit_test(test_share),        cmocka_unit_test(test_other_start),
        cmocka_unit_test(test_grown)};
    return cmocka_run_group_tests_name("parallel", tests, make_folder, remove_folder);
}
