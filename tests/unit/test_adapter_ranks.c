/* SPDX-License-Identifier: MIT
 * Adapters trained by several ranks, which share batches or tokens, as one rank trains them; and meshes that cannot. */
#include "adapter_stage.h"
#include "parallel_runs.h"
#include "audio_stages.h"

static void save_stage(mgi_stage stage)
{
    rank one;
    run_ranks(&stage, 1, true, &one);
    assert_string_equal(one.error, "");
    ranks_free(&one, 1);
}

static void save_codec(void)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    params.threads = 1;
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    save_stage_codec(ctx, folder);
    mgi_context_free(ctx);
}

static int make_base(void **state)
{
    mgi_stage video = tiny_text_to_video(STEPS, 4), audio = tiny_audio_stage(STEPS, 4);
    if (make_folder(state) != 0)
        return -1;
    save_codec();
    save_stage(tiny_autoencoder(STEPS, 2));
    video.optimizer.lr = audio.optimizer.lr = 0.01;
    save_stage(video);
    save_stage(audio);
    return 0;
}

/* Beside the folder's model of sound, whose encoders it has. */
static mgi_stage audio_stage(void)
{
    mgi_stage s = adapting(tiny_audio_stage(STEPS, 4), "audio");
    strcpy(s.save_as, "sounds");
    memset(&s.audio, 0, sizeof s.audio);
    s.text[0].frozen = s.vision.frozen = true;
    return s;
}

/* Gradients of A are nothing before the second step. */
static void run_late(const mgi_stage *stage, int count, mgi_mesh_shape shape, bool save,
                     rank *ranks)
{
    for (int i = 0; i < count; i++)
        ranks[i] = (rank){.stage = stage, .shape = shape, .save = save, .late = true};
    run_all(ranks, count);
}

static void assert_alike(const mgi_stage *stage, mgi_mesh_shape shape, bool save, const rank *one)
{
    const int count = shape.dp ? shape.dp * shape.cp * shape.tp : 2;
    rank many[RANKS_MAX];
    run_late(stage, count, shape, save, many);
    for (int i = 0; i < count; i++) {
        assert_string_equal(many[i].error, "");
        assert_memory_equal(many[i].weights, many[0].weights, (size_t)one->size * sizeof(float));
        assert_true(fabs(many[i].last_loss / one->last_loss - 1.0) < 1e-5);
        const double apart = distance(one->gradients, many[i].gradients, one->size);
        if (!(apart < 1e-4))
            fail_msg("rank %d: %g apart", i, apart);
    }
    ranks_free(many, count);
}

static void test_ranks(void **state)
{
    const mgi_stage stage = adapter_stage(STEPS, 4);
    rank one;
    (void)state;
    run_late(&stage, 1, (mgi_mesh_shape){0}, true, &one);
    assert_string_equal(one.error, "");
    assert_alike(&stage, (mgi_mesh_shape){0}, true, &one);
    assert_alike(&stage, (mgi_mesh_shape){1, 2, 1, 1}, false, &one);
    assert_alike(&stage, (mgi_mesh_shape){2, 2, 1, 1}, false, &one);
    ranks_free(&one, 1);
}

static void test_audio(void **state)
{
    const mgi_stage stage = audio_stage();
    rank one;
    (void)state;
    run_late(&stage, 1, (mgi_mesh_shape){0}, true, &one);
    assert_string_equal(one.error, "");
    assert_alike(&stage, (mgi_mesh_shape){2, 2, 1, 1}, true, &one);
    ranks_free(&one, 1);
}

static void test_refused(void **state)
{
    static const mgi_mesh_shape shapes[] = {{1, 1, 2, 1}, {2, 1, 1, 2}};
    const mgi_stage stages[] = {adapter_stage(STEPS, 4), audio_stage()};
    (void)state;
    for (int k = 0; k < 4; k++) {
        rank two[2];
        run_mesh(&stages[k / 2], 2, shapes[k % 2], false, two);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(two[i].status, MGEN_E_UNSUPPORTED);
            assert_non_null(strstr(two[i].error, "use a mesh of dp and cp alone"));
        }
        ranks_free(two, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranks), cmocka_unit_test(test_audio),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests_name("adapter_ranks", tests, make_base, remove_folder);
}
