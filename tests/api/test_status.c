/* SPDX-License-Identifier: MIT
 * Promised statuses that no other test meets: structs of newer headers, wrong sizes, damaged data. */
#include "tiny.h"

#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* A struct of a newer header: a field behind ours, set or not. */
#define LONGER(type, init)                                                                         \
    struct {                                                                                       \
        type ours;                                                                                 \
        uint64_t tail;                                                                             \
    } longer = {init, 0};                                                                          \
    longer.ours.struct_size = sizeof longer

/* With the field unset as if it were not there; set, VERSION; and too short a struct is INVALID. */
#define CHECK_STRUCT(call, as_usual)                                                               \
    do {                                                                                           \
        assert_int_equal((call), (as_usual));                                                      \
        longer.tail = 1;                                                                           \
        assert_int_equal((call), MGEN_E_VERSION);                                                  \
        longer.ours.struct_size = 4;                                                               \
        assert_int_equal((call), MGEN_E_INVALID);                                                  \
    } while (0)

typedef struct things {
    mgen_context *ctx;
    mgen_pipeline pipe;
    mgen_clip *clip;
    mgen_dataset *dataset;
    mgen_trainer *trainer;
    mgen_job *job;
    mgen_report *report;
    float values[4 * 8 * 8 * 4], words[64 * 16];
    uint8_t pixels[TINY_BYTES];
} things;

static things *things_open(void)
{
    things *t = test_calloc(1, sizeof *t);
    t->ctx = make_context(1);
    t->pipe = (mgen_pipeline)MGEN_PIPELINE_INIT;
    assert_int_equal(mgen_pipeline_open(t->ctx, dir, &t->pipe), MGEN_OK);
    return t;
}

static void things_close(things *t)
{
    mgen_job_destroy(t->job);
    mgen_trainer_destroy(t->trainer);
    mgen_dataset_release(t->dataset);
    mgen_clip_destroy(t->clip);
    mgen_report_destroy(t->report);
    mgen_pipeline_close(&t->pipe);
    mgen_context_destroy(t->ctx);
    test_free(t);
}

static mgen_status draw(void *user, uint64_t index, mgen_sample *s)
{
    (void)user;
    memset(s->pixels, (int)index, (size_t)s->frames * s->height * s->width * 3);
    return MGEN_OK;
}

static void test_structs(void **state)
{
    (void)state;
    things *t = things_open();
    assert_int_equal(mgen_last_status(t->ctx), MGEN_OK);
    mgen_generate_params request = MGEN_GENERATE_PARAMS_INIT;
    mgen_estimate estimate = MGEN_ESTIMATE_INIT;
    request.prompt = "a ball";
    request.steps = 1;
    {
        LONGER(mgen_context_params, MGEN_CONTEXT_PARAMS_INIT);
        mgen_context *ctx = NULL;
        CHECK_STRUCT((mgen_context_destroy(ctx), mgen_context_create(&longer.ours, &ctx)), MGEN_OK);
    }
    {
        LONGER(mgen_clip_info, MGEN_CLIP_INFO_INIT);
        longer.ours.width = longer.ours.height = longer.ours.frames = 8;
        longer.ours.fps_num = longer.ours.fps_den = 1;
        CHECK_STRUCT((mgen_clip_destroy(t->clip), mgen_clip_create(t->ctx, &longer.ours, &t->clip)),
                     MGEN_OK);
        mgen_clip_info info = MGEN_CLIP_INFO_INIT;
        info.struct_size = 4;
        assert_null(t->clip); /* of the last one, which failed */
        longer.ours.struct_size = sizeof(mgen_clip_info);
        assert_int_equal(mgen_clip_create(t->ctx, &longer.ours, &t->clip), MGEN_OK);
        assert_int_equal(mgen_clip_get_info(t->clip, &info), MGEN_E_INVALID);
        assert_int_equal(mgen_clip_get_info(NULL, &info), MGEN_E_INVALID);
    }
    {
        LONGER(mgen_generate_params, MGEN_GENERATE_PARAMS_INIT);
        longer.ours.prompt = "a ball";
        CHECK_STRUCT(mgen_generate_estimate(t->ctx, &t->pipe, &longer.ours, &estimate), MGEN_OK);
        longer.ours.struct_size = sizeof longer;
        assert_int_equal(mgen_generate_start(t->ctx, &t->pipe, &longer.ours, &t->job),
                         MGEN_E_VERSION);
        request.width = 60;
        assert_int_equal(mgen_generate_estimate(t->ctx, &t->pipe, &request, &estimate),
                         MGEN_E_UNSUPPORTED);
        request.width = 0;
    }
    {
        LONGER(mgen_pipeline, MGEN_PIPELINE_INIT);
        longer.ours = t->pipe;
        longer.ours.struct_size = sizeof longer;
        CHECK_STRUCT(mgen_generate_estimate(t->ctx, (mgen_pipeline *)&longer, &request, &estimate),
                     MGEN_OK);
        mgen_pipeline handmade = t->pipe;
        handmade.frames = 0;
        assert_int_equal(mgen_generate_start(t->ctx, &handmade, &request, &t->job), MGEN_E_INVALID);
        handmade = t->pipe;
        handmade.precision = MGEN_PRECISION_FP8 + 1;
        assert_int_equal(mgen_generate_start(t->ctx, &handmade, &request, &t->job), MGEN_E_INVALID);
        handmade = (mgen_pipeline)MGEN_PIPELINE_INIT;
        handmade.struct_size = 4;
        assert_int_equal(mgen_pipeline_open(t->ctx, dir, &handmade), MGEN_E_INVALID);
    }
    {
        LONGER(mgen_job_info, MGEN_JOB_INFO_INIT);
        assert_int_equal(mgen_generate_start(t->ctx, &t->pipe, &request, &t->job), MGEN_OK);
        longer.tail = 9;
        assert_int_equal(mgen_job_get_info(t->job, &longer.ours), MGEN_OK);
        assert_int_equal(longer.tail, 0);
        assert_true(longer.ours.frames == 32 && longer.ours.host_bytes > 0);
        longer.ours.struct_size = 4;
        assert_int_equal(mgen_job_get_info(t->job, &longer.ours), MGEN_E_INVALID);
        mgen_status status;
        while ((status = mgen_job_poll(t->job)) == MGEN_E_AGAIN)
            usleep(1000);
        assert_int_equal(status, MGEN_OK);
        assert_int_equal(mgen_job_poll(t->job), MGEN_OK);
    }
    things_close(t);
}

static void test_part_structs(void **state)
{
    (void)state;
    things *t = things_open();
    mgen_text text = MGEN_TEXT_INIT;
    mgen_frames frames = MGEN_FRAMES_INIT;
    mgen_latents x = MGEN_LATENTS_INIT;
    const mgen_text *roles[3] = {&text};
    text.tokens = 64;
    text.width = 16;
    text.data = t->words;
    frames.width = frames.height = 64;
    frames.count = 32;
    frames.plane[0] = t->pixels;
    x.frames = x.channels = 4;
    x.height = x.width = 8;
    x.data = t->values;
    {
        LONGER(mgen_text, MGEN_TEXT_INIT);
        longer.ours = text;
        longer.ours.struct_size = sizeof longer;
        CHECK_STRUCT(mgen_text_encode(t->ctx, t->pipe.text[0], "a ball", &longer.ours), MGEN_OK);
    }
    {
        LONGER(mgen_latents, MGEN_LATENTS_INIT);
        longer.ours = x;
        longer.ours.struct_size = sizeof longer;
        CHECK_STRUCT(mgen_noise(t->ctx, 1, &longer.ours), MGEN_OK);
        longer.ours.struct_size = sizeof longer;
        assert_int_equal(mgen_tae_decode(t->ctx, t->pipe.tae, &longer.ours, &frames),
                         MGEN_E_VERSION);
        assert_int_equal(mgen_video_velocity(t->ctx, t->pipe.video, &longer.ours, 0.5f, roles, &x),
                         MGEN_E_VERSION);
    }
    {
        LONGER(mgen_frames, MGEN_FRAMES_INIT);
        longer.ours = frames;
        longer.ours.struct_size = sizeof longer;
        CHECK_STRUCT(mgen_tae_encode(t->ctx, t->pipe.tae, &longer.ours, &x), MGEN_OK);
        frames.row_stride[0] = 10; /* less than a row */
        assert_int_equal(mgen_tae_encode(t->ctx, t->pipe.tae, &frames, &x), MGEN_E_INVALID);
        frames.row_stride[0] = UINT64_MAX;
        assert_int_equal(mgen_tae_encode(t->ctx, t->pipe.tae, &frames, &x), MGEN_E_INVALID);
        frames.row_stride[0] = 0;
        frames.reserved0 = 1;
        assert_int_equal(mgen_tae_encode(t->ctx, t->pipe.tae, &frames, &x), MGEN_E_INVALID);
    }
    things_close(t);
}

static void test_training_structs(void **state)
{
    (void)state;
    things *t = things_open();
    {
        LONGER(mgen_dataset_params, MGEN_DATASET_PARAMS_INIT);
        longer.ours.width = longer.ours.height = 64;
        longer.ours.frames = 32;
        longer.ours.count = 3;
        longer.ours.read = draw;
        CHECK_STRUCT((mgen_dataset_release(t->dataset),
                      mgen_dataset_create(t->ctx, &longer.ours, &t->dataset)),
                     MGEN_OK);
        longer.ours.struct_size = sizeof longer;
        assert_int_equal(mgen_dataset_open(t->ctx, dir, &longer.ours, &t->dataset), MGEN_E_VERSION);
        longer.tail = 0; /* read and count are not for a folder */
        assert_int_equal(mgen_dataset_open(t->ctx, dir, &longer.ours, &t->dataset), MGEN_E_INVALID);
    }
    {
        LONGER(mgen_trainer_params, MGEN_TRAINER_PARAMS_INIT);
        longer.ours.recipe = recipe;
        longer.ours.stage = "image";
        longer.ours.dir = dir;
        CHECK_STRUCT((mgen_trainer_destroy(t->trainer),
                      mgen_trainer_create(t->ctx, &longer.ours, &t->trainer)),
                     MGEN_OK);
    }
    {
        LONGER(mgen_mesh_params, MGEN_MESH_PARAMS_INIT);
        mgen_mesh *mesh = NULL;
        assert_int_equal(mgen_ranks_create(t->ctx, 1, 0, &longer.ours.ranks), MGEN_OK);
        CHECK_STRUCT((mgen_mesh_destroy(mesh), mgen_mesh_create(t->ctx, &longer.ours, &mesh)),
                     MGEN_OK);
        mgen_ranks_destroy(longer.ours.ranks);
    }
    {
        LONGER(mgen_plan_params, MGEN_PLAN_PARAMS_INIT);
        longer.ours.preset = "1b";
        longer.ours.width = longer.ours.height = 64;
        longer.ours.frames = 8;
        CHECK_STRUCT(
            (mgen_report_destroy(t->report), mgen_plan_training(t->ctx, &longer.ours, &t->report)),
            MGEN_OK);
        mgen_plan_params p = MGEN_PLAN_PARAMS_INIT;
        p.preset = "2b";
        assert_int_equal(mgen_plan_training(t->ctx, &p, &t->report), MGEN_E_INVALID);
        p.preset = "1b";
        p.width = p.height = 64;
        p.frames = 8;
        p.gpu = "h100-80gb"; /* without gpus */
        assert_int_equal(mgen_plan_training(t->ctx, &p, &t->report), MGEN_E_INVALID);
        p.gpus = 2;
        p.text = 1;
        assert_int_equal(mgen_plan_training(t->ctx, &p, &t->report), MGEN_OK);
        assert_non_null(strstr(mgen_report_text(t->report), "\"step_seconds\":"));
        mgen_report_destroy(t->report);
        p.text = 3;
        assert_int_equal(mgen_plan_training(t->ctx, &p, &t->report), MGEN_E_INVALID);
        assert_null(mgen_report_text(t->report));
    }
    {
        LONGER(mgen_eval_params, MGEN_EVAL_PARAMS_INIT);
        longer.ours.protocol = "tae";
        longer.ours.n = 1;
        CHECK_STRUCT((mgen_report_destroy(t->report),
                      mgen_evaluate(t->ctx, &t->pipe, &longer.ours, &t->report)),
                     MGEN_OK);
    }
    things_close(t);
}

/* -- data that is damaged ------------------------------------------------------------------------------ */

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%.200s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void test_folder_damage(void **state)
{
    (void)state;
    things *t = things_open();
    mgen_context *poor = NULL;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgen_clip *clip;
    char folder[100], path[200];
    snprintf(folder, sizeof folder, "%.60s/damaged", dir);
    assert_int_equal(mkdir(folder, 0700), 0);
    write_file(folder, "a.mp4", "no film");
    p.width = p.height = 64;
    p.frames = 32;
    cp.plugin_dir = dir; /* where there is no plug-in */
    assert_int_equal(mgen_context_create(&cp, &poor), MGEN_OK);
    assert_int_equal(mgen_dataset_open(poor, folder, &p, &t->dataset), MGEN_OK);
    assert_int_equal(mgen_dataset_read(poor, t->dataset, 0, NULL, 0, &clip), MGEN_E_UNSUPPORTED);
    snprintf(path, sizeof path, "%s/a.mp4", folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mgen_dataset_read(poor, t->dataset, 0, NULL, 0, &clip), MGEN_E_NOT_FOUND);
    mgen_dataset_release(t->dataset);
    write_file(folder, "a.mp4", "no film");
    write_file(folder, "a.txt", "\xff\xfe");
    assert_int_equal(mgen_dataset_open(poor, folder, &p, &t->dataset), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(poor), "a.txt"));
    mgen_context_destroy(poor);
    things_close(t);
}

/* The first weights of a file become no numbers. */
static void spoil(const char *name)
{
    char path[200];
    uint64_t header;
    snprintf(path, sizeof path, "%.60s/%s", dir, name);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fread(&header, sizeof header, 1, f), 1);
    assert_int_equal(fseek(f, (long)(8 + header), SEEK_SET), 0);
    for (int i = 0; i < 16; i++)
        fputc(0xFF, f);
    assert_int_equal(fclose(f), 0);
}

static int32_t refuse(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user;
    (void)what;
    (void)done;
    (void)total;
    return 1;
}

static void test_trainer_damage(void **state)
{
    (void)state;
    things *t = things_open();
    mgen_context *ctx = NULL;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
    char path[200], gone[100], inside[120];
    p.recipe = recipe;
    p.dir = dir;
    p.stage = "video";
    cp.progress = refuse;
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    assert_int_equal(mgen_trainer_create(ctx, &p, &t->trainer), MGEN_E_CANCELLED);
    mgen_context_destroy(ctx);
    /* saving where the folder went away */
    snprintf(gone, sizeof gone, "%.60s/gone", dir);
    snprintf(inside, sizeof inside, "%s/model", gone);
    assert_int_equal(mkdir(gone, 0700), 0);
    p.stage = "image";
    p.dir = inside;
    assert_int_equal(mgen_trainer_create(t->ctx, &p, &t->trainer), MGEN_OK);
    assert_int_equal(mgen_trainer_run(t->trainer, 1), MGEN_OK);
    assert_int_equal(rmdir(inside), 0);
    assert_int_equal(rmdir(gone), 0);
    assert_int_equal(mgen_trainer_save(t->trainer), MGEN_E_NOT_FOUND);
    mgen_trainer_destroy(t->trainer);
    p.dir = dir;
    /* the image stage's weights are what the next one starts from */
    spoil("image.safetensors");
    p.stage = "tae";
    assert_int_equal(mgen_trainer_create(t->ctx, &p, &t->trainer), MGEN_OK);
    assert_int_equal(mgen_trainer_step(t->trainer, NULL), MGEN_E_NUMERIC);
    assert_int_equal(mgen_trainer_run(t->trainer, 0), MGEN_E_NUMERIC);
    mgen_trainer_destroy(t->trainer);
    t->trainer = NULL;
    /* a type of tensor that is not read */
    snprintf(path, sizeof path, "%.60s/image.safetensors", dir);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *data = test_malloc(1 << 20);
    size_t size = fread(data, 1, 1 << 20, f), at = 8;
    assert_int_equal(fclose(f), 0);
    while (at + 4 < size && memcmp(data + at, "BF16", 4))
        at++;
    memcpy(data + at, "XX16", 4);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    test_free(data);
    assert_int_equal(mgen_trainer_create(t->ctx, &p, &t->trainer), MGEN_E_UNSUPPORTED);
    things_close(t);
}

/* Polling tells the other ends of a job too. */
static void test_poll_ends(void **state)
{
    (void)state;
    counter c = {0};
    mgen_context *ctx = NULL;
    mgen_context_params cp = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_generate_params p = MGEN_GENERATE_PARAMS_INIT;
    mgen_job *job;
    mgen_status status;
    cp.threads = 1;
    cp.allocator = (mgen_allocator){count_alloc, count_free, &c};
    cp.device = "abacus";
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_E_UNSUPPORTED);
    cp.device = "cpu";
    assert_int_equal(mgen_context_create(&cp, &ctx), MGEN_OK);
    assert_int_equal(mgen_pipeline_open(ctx, dir, &pipe), MGEN_OK);
    p.prompt = "a ball";
    p.steps = 1000;
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        mgen_context_trim(ctx);
        assert_int_equal(mgen_generate_start(ctx, &pipe, &p, &job), MGEN_OK);
        if (cancelled)
            mgen_job_cancel(job);
        else
            set_failure(&c, 1, true);
        while ((status = mgen_job_poll(job)) == MGEN_E_AGAIN)
            usleep(500);
        set_failure(&c, 0, false);
        assert_int_equal(status, cancelled ? MGEN_E_CANCELLED : MGEN_E_NO_MEMORY);
        mgen_job_destroy(job);
    }
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
    assert_int_equal(atomic_load(&c.blocks), 0);
}

/* The sentence is of this call, not of one before. */
#define NOWHERE(call)                                                                              \
    do {                                                                                           \
        assert_int_equal(mgen_clip_read(t->ctx, "", 0, 0, &t->clip), MGEN_E_INVALID);              \
        assert_int_equal((call), MGEN_E_INVALID);                                                  \
        assert_string_equal(mgen_last_error(t->ctx), "out is NULL");                               \
    } while (0)

static void test_no_place_for_output(void **state)
{
    (void)state;
    things *t = things_open();
    mgen_generate_params request = MGEN_GENERATE_PARAMS_INIT;
    mgen_sound_params heard = MGEN_SOUND_PARAMS_INIT;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_sound_info sound = MGEN_SOUND_INFO_INIT;
    mgen_dataset_params dataset = MGEN_DATASET_PARAMS_INIT;
    mgen_trainer_params trainer = MGEN_TRAINER_PARAMS_INIT;
    mgen_plan_params plan = MGEN_PLAN_PARAMS_INIT;
    mgen_curate_params curate = MGEN_CURATE_PARAMS_INIT;
    mgen_eval_params eval = MGEN_EVAL_PARAMS_INIT;
    mgen_mesh_params mesh = MGEN_MESH_PARAMS_INIT;
    request.prompt = "a ball";
    NOWHERE(mgen_generate_start(t->ctx, &t->pipe, &request, NULL));
    NOWHERE(mgen_sound_start(t->ctx, &t->pipe, NULL, &heard, NULL));
    NOWHERE(mgen_clip_create(t->ctx, &info, NULL));
    NOWHERE(mgen_clip_read(t->ctx, "film.y4m", 0, 0, NULL));
    NOWHERE(mgen_sound_create(t->ctx, &sound, NULL));
    NOWHERE(mgen_sound_read(t->ctx, "sound.wav", 0, 0, NULL));
    NOWHERE(mgen_dataset_toybox(t->ctx, 1, NULL));
    NOWHERE(mgen_dataset_create(t->ctx, &dataset, NULL));
    NOWHERE(mgen_dataset_open(t->ctx, dir, &dataset, NULL));
    NOWHERE(mgen_trainer_create(t->ctx, &trainer, NULL));
    NOWHERE(mgen_plan_training(t->ctx, &plan, NULL));
    NOWHERE(mgen_curate(t->ctx, &curate, NULL));
    NOWHERE(mgen_evaluate(t->ctx, &t->pipe, &eval, NULL));
    NOWHERE(mgen_tae_open(t->ctx, dir, "tae", NULL));
    NOWHERE(mgen_ranks_create(t->ctx, 1, 0, NULL));
    NOWHERE(mgen_mesh_create(t->ctx, &mesh, NULL));
    things_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_place_for_output), cmocka_unit_test(test_structs),
        cmocka_unit_test(test_part_structs),        cmocka_unit_test(test_training_structs),
        cmocka_unit_test(test_folder_damage),       cmocka_unit_test(test_poll_ends),
        cmocka_unit_test(test_trainer_damage), /* last */
    };
    return cmocka_run_group_tests(tests, setup_trained, teardown);
}
