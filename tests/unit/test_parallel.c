/* SPDX-License-Identifier: MIT
 * Data-parallel training and gradient accumulation: ranks that share each batch, and passes that divide it, train
 * as one rank with one pass does. */
#include "core/alloc.h"
#include "tensor/device.h"
#include "test_folder.h"
#include "tiny_stages.h"
#include "train/stage.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { RANKS_MAX = 4, STEPS = 2 };

static const char *folders[RANKS_MAX] = {folder, folder, folder, folder}; /* of each rank */

/* What one rank saw. */
typedef struct rank {
    const mgi_stage *stage;
    mgi_comm_group *group; /* NULL: alone */
    mgi_mesh_shape shape;  /* dp 0: all ranks share batches */
    int index;
    bool save;
    mgen_status status;
    char error[256];
    int64_t size, text_size;    /* of all modules, and of the first one */
    float *gradients, *weights; /* after the first (late: the last) and after the last step */
    bool late;
    double loss, last_loss; /* of the first and the last step */
    double held_loss;       /* of a validation after it, or 0 */
} rank;

static float *gather(struct mgi_stage_run *run, const struct mgi_stage_kind *kind, bool gradients,
                     int64_t *size)
{
    mgi_stage_state state;
    kind->state(run, &state);
    mgi_module **list = state.module;
    int count = state.modules;
    *size = 0;
    for (int i = 0; i < count; i++)
        *size += mgi_module_size(list[i]);
    float *all = calloc((size_t)*size, sizeof *all), *at = all;
    for (int i = 0; i < count && all; i++) {
        for (int64_t k = 0; k < list[i]->count; k++) {
            const mgi_param *p = list[i]->params[k];
            const mgi_tensor *t = !gradients ? p->value : p->frozen ? NULL : p->value->var->grad;
            if (t)
                mgi_tensor_read(t, 0, at, p->value->count);
            at += p->value->count;
        }
    }
    return all;
}

static mgen_status train(rank *r, mgen_context *ctx, mgi_comm *comm, const mgi_mesh *mesh)
{
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(r->stage);
    struct mgi_stage_run *run;
    MGI_TRY(kind->create(ctx,
                         &(mgi_stage_params){.stage = r->stage,
                                             .dir = folders[r->index],
                                             .seed = 5,
                                             .cache_dir = folders[r->index],
                                             .comm = comm,
                                             .mesh = mesh},
                         &run));
    mgen_status status = MGEN_OK;
    const int64_t steps = r->stage->steps;
    for (int64_t step = 0; step < steps && status == MGEN_OK; step++) {
        mgen_report *report;
        status = mgi_report_create(ctx, &report);
        if (status == MGEN_OK)
            status = kind->step(run, step, report);
        if (step == (r->late ? steps - 1 : 0) && status == MGEN_OK) {
            mgi_stage_state state;
            kind->state(run, &state);
            r->text_size = mgi_module_size(state.module[0]);
            r->gradients = gather(run, kind, true, &r->size);
        }
        if (step == 0 && status == MGEN_OK) {
            r->loss = mgen_report_value(report, 1);
        }
        if (status == MGEN_OK)
            r->last_loss = mgen_report_value(report, 1);
        for (uint32_t i = 0; status == MGEN_OK && i < mgen_report_count(report); i++)
            if (!strcmp(mgen_report_name(report, i), "val_loss"))
                r->held_loss = mgen_report_value(report, i);
        mgen_report_destroy(report);
    }
    if (status == MGEN_OK)
        r->weights = gather(run, kind, false, &r->size);
    if (status == MGEN_OK && r->save)
        status = kind->save(run);
    kind->destroy(run);
    return status;
}

static mgen_status train_over_mesh(rank *r, mgen_context *ctx, mgi_comm *world)
{
    mgi_mesh mesh;
    MGI_TRY(mgi_mesh_create(world, r->shape, &mesh));
    mgen_status status = train(r, ctx, mesh.group[MGI_AXIS_DP], &mesh);
    mesh.group[MGI_AXIS_WORLD] = NULL; /* the caller's */
    mgi_mesh_destroy(&mesh);
    return status;
}

static void *rank_main(void *arg)
{
    rank *r = arg;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    mgi_comm *comm = NULL;
    params.threads = 1;
    r->status = mgi_context_init(&ctx, &params);
    if (r->status != MGEN_OK)
        return NULL;
    r->status = mgi_device_create(ctx, NULL);
    if (r->status == MGEN_OK && r->group)
        r->status = mgi_comm_join(r->group, r->index, ctx, &comm);
    if (r->status == MGEN_OK && r->shape.dp)
        r->status = train_over_mesh(r, ctx, comm);
    else if (r->status == MGEN_OK)
        r->status = train(r, ctx, comm, NULL);
    if (r->status != MGEN_OK)
        snprintf(r->error, sizeof r->error, "%s", mgen_last_error(ctx));
    mgi_comm_destroy(comm);
    mgi_context_free(ctx);
    return NULL;
}

static void run_mesh(const mgi_stage *stage, int count, mgi_mesh_shape shape, bool save,
                     rank *ranks)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *owner;
    mgi_comm_group *group = NULL;
    pthread_t threads[RANKS_MAX];
    params.threads = 1;
    assert_int_equal(mgi_context_init(&owner, &params), MGEN_OK);
    if (count > 1 || shape.dp)
        assert_int_equal(mgi_comm_group_create(owner, count, 120000, &group), MGEN_OK);
    for (int i = 0; i < count; i++) {
        ranks[i] = (rank){.stage = stage,
                          .group = group,
                          .shape = shape,
                          .index = i,
                          .save = save && i == 0,
                          .late = shape.dp > 0};
        assert_int_equal(pthread_create(&threads[i], NULL, rank_main, &ranks[i]), 0);
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    mgi_comm_group_release(group);
    mgi_context_free(owner);
}

static void run_ranks(const mgi_stage *stage, int count, bool save, rank *ranks)
{
    run_mesh(stage, count, (mgi_mesh_shape){0, 0, 0}, save, ranks);
}

static void ranks_free(rank *ranks, int count)
{
    for (int i = 0; i < count; i++) {
        free(ranks[i].gradients);
        free(ranks[i].weights);
    }
}

/* Root of the sum of squares of a - b, relative to that of a. */
static double distance(const float *a, const float *b, int64_t n)
{
    double apart = 0.0, size = 0.0;
    for (int64_t i = 0; i < n; i++) {
        apart += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)a[i] * (double)a[i];
    }
    return sqrt(apart / size);
}

/* The same on all ranks, bit for bit; as one rank's with the whole batch, to rounding. */
static void assert_as_one(const rank *one, const mgi_stage *stage, int count)
{
    rank many[RANKS_MAX];
    run_ranks(stage, count, false, many);
    for (int i = 0; i < count; i++) {
        assert_string_equal(many[i].error, "");
        assert_memory_equal(many[i].gradients, many[0].gradients,
                            (size_t)one->size * sizeof(float));
        assert_memory_equal(many[i].weights, many[0].weights, (size_t)one->size * sizeof(float));
        assert_true(many[i].loss == many[0].loss);
    }
    assert_true(fabs(many[0].loss - one->loss) <= 1e-5 * fabs(one->loss));
    assert_true(distance(one->gradients, many[0].gradients, one->size) < 1e-5);
    ranks_free(many, count);
}

/* A batch shared by ranks, taken in several passes, and both. */
static void compare(const mgi_stage *stage)
{
    rank one;
    mgi_stage parts = *stage;
    run_ranks(stage, 1, stage->kind == MGI_STAGE_AUTOENCODER, &one);
    assert_string_equal(one.error, "");
    for (int count = 2; count <= RANKS_MAX; count *= 2)
        assert_as_one(&one, stage, count);
    for (int passes = 2; passes <= 4; passes *= 2) {
        parts.accumulate = passes;
        parts.batch = stage->batch / passes;
        parts.image_batch = stage->image_batch / passes;
        assert_as_one(&one, &parts, passes == 2 ? 2 : 1);
    }
    ranks_free(&one, 1);
}

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
        cmocka_unit_test(test_audio_codec),  cmocka_unit_test(test_video),
        cmocka_unit_test(test_upsampler),    cmocka_unit_test(test_editor),
        cmocka_unit_test(test_personalizer), cmocka_unit_test(test_small_bucket),
        cmocka_unit_test(test_mesh),         cmocka_unit_test(test_share),
        cmocka_unit_test(test_other_start),  cmocka_unit_test(test_grown)};
    return cmocka_run_group_tests_name("parallel", tests, make_folder, remove_folder);
}
