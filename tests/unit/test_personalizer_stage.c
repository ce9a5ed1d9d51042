/* SPDX-License-Identifier: MIT
 * Training a personalizer: whose photos its clips are shown beside, what is left out; that it learns, what of it and how
 * fast; what it is saved as and starts from; what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "begun_models.h"
#include "core/philox.h"
#include "media/media.h"

enum { PICTURE = 16, BYTES = PICTURE * PICTURE * 3, TOKENS = 5, WIDE = 12 };

/* -- photos ----------------------------------------------------------------------------------------- */

static mgi_stage images_only(int64_t steps, int64_t batch)
{
    mgi_stage stage = tiny_personalizer(steps, batch);
    stage.bucket_count = 1;
    stage.bucket[0].frames = 1;
    return stage;
}

/* Of row i of the step that has been made: which clip, and the lots of its photo. */
static int64_t clip_of(const struct mgi_stage_run *run, int64_t i, uint32_t lots[2])
{
    uint32_t pick[4];
    const mgi_latents *l = &run->now.bucket->latents;
    mgi_philox(run->seed, MGI_STREAM_SAMPLE, (UINT64_C(1) << 40) + run->now.first + (uint64_t)i,
               pick);
    int64_t clip = (int64_t)(((uint64_t)pick[0] * (uint64_t)l->clips) >> 32);
    assert_memory_equal(run->now.latents + i * l->size, l->rows.values + clip * l->step,
                        (size_t)l->size * sizeof(float));
    lots[0] = pick[2];
    lots[1] = pick[3];
    return clip;
}

/* Each row's photo is of its clip's person, of its share's kind, another one whenever the clip is taken. The text, the photo
 * or both are left out of their shares of the rows. */
static void test_photos(void **state)
{
    enum { ROWS = 400 };
    static const double shares[3][2] = {{1.0, 0.0}, {0.0, 1.0}, {1.0, 3.0}};
    uint8_t want[BYTES], first[8][BYTES];
    (void)state;
    for (int k = 0; k < 3; k++) {
        mgi_stage stage = images_only(2, ROWS);
        memcpy(stage.photos, shares[k], sizeof stage.photos);
        stage.drop = 0.1;
        stage.drop_source = 0.2;
        stage.drop_both = 0.3;
        struct mgi_stage_run *run = begin(&stage);
        int left[2][2] = {{0}}, crossed = 0, again = 0, other = 0;
        bool seen[8] = {false};
        OK(mgi_stage_text_to_video.step(run, 0, NULL));
        assert_int_equal(run->now.rows, ROWS);
        for (int64_t i = 0; i < ROWS; i++) {
            uint32_t lots[2];
            const mgi_bucket_data *b = run->now.bucket;
            int64_t clip = clip_of(run, i, lots);
            const uint8_t *photo = run->photos + i * BYTES;
            bool cross = k == 1 || (k == 2 && lots[1] >= UINT32_C(1) << 30);
            OK(mgi_dataset_photo(ctx, b->dataset, b->first + (uint64_t)clip, lots[0], cross,
                                 PICTURE, want));
            assert_memory_equal(photo, want, BYTES);
            crossed += cross;
            if (seen[clip] && memcmp(first[clip], photo, BYTES))
                other++;
            again += seen[clip];
            if (!seen[clip])
                memcpy(first[clip], photo, BYTES);
            seen[clip] = true;
            assert_true(run->references[i] == TOKENS || run->references[i] == 0);
            left[!*run->prompts[i]][!run->references[i]]++;
        }
        assert_in_range(left[0][0], ROWS * 33 / 100, ROWS * 47 / 100);
        assert_in_range(left[1][0], ROWS * 6 / 100, ROWS * 14 / 100);
        assert_in_range(left[0][1], ROWS * 14 / 100, ROWS * 26 / 100);
        assert_in_range(left[1][1], ROWS * 23 / 100, ROWS * 37 / 100);
        assert_in_range(crossed,
                        k == 0   ? 0
                        : k == 1 ? ROWS
                                 : ROWS * 68 / 100,
                        k == 0   ? 0
                        : k == 1 ? ROWS
                                 : ROWS * 82 / 100);
        print_message("%d of %d photos are not those of the time before\n", other, again);
        if (k)
            assert_true(again - other < ROWS / 10);
        end(run);
    }
}

static mgi_dataset *open_films(const char *dir)
{
    mgen_dataset_params params = MGEN_DATASET_PARAMS_INIT;
    mgi_dataset *ds;
    params.width = params.height = 48;
    params.frames = 16;
    OK(mgi_dataset_folder(ctx, dir, &params, &ds));
    return ds;
}

/* A folder of three films, the last of which is held out, of two photos each: of one grey that says of whom and which. */
static mgi_dataset *make_films(const char *dir)
{
    enum { SIDE = 48, FRAMES = 16, FRAME = SIDE * SIDE * 3 };
    static uint8_t film[FRAMES * FRAME];
    const mgi_frames frames = {film, SIDE, SIDE, FRAMES, 16, 1};
    uint8_t photo[BYTES];
    char path[160];
    assert_int_equal(mkdir(dir, 0700), 0);
    for (int i = 0; i < 6; i++) {
        memset(film, 40 * i + 20, sizeof film);
        memset(photo, 10 * i, sizeof photo);
        snprintf(path, sizeof path, "%s/%d.face%s.png", dir, i / 2, i % 2 ? "2" : "");
        OK(mgi_png_write(ctx, path, photo, PICTURE, PICTURE));
        snprintf(path, sizeof path, "%s/%d.y4m", dir, i / 2);
        OK(mgi_y4m_write(ctx, path, &frames));
    }
    return open_films(dir);
}

/* Films of a folder are shown beside the photos that lie beside them. */
static void test_folder_photos(void **state)
{
    enum { ROWS = 64 };
    char dir[128], path[160];
    struct mgi_stage_run *run;
    int seen[6] = {0};
    (void)state;
    mgi_stage stage = images_only(2, ROWS);
    stage.drop = stage.drop_source = stage.drop_both = 0.0;
    snprintf(dir, sizeof dir, "%s/films", folder);
    mgi_dataset *ds = make_films(dir);
    OK(create_on(&stage, ds, &run));
    for (int64_t step = 0; step < 2; step++) {
        OK(mgi_stage_text_to_video.step(run, step, NULL));
        for (int64_t i = 0; i < ROWS; i++) {
            uint32_t lots[2];
            const mgi_bucket_data *b = run->now.bucket;
            int64_t clip = clip_of(run, i, lots);
            uint64_t film = mgi_dataset_element(ds, run->seed, b->first + (uint64_t)clip);
            uint8_t want[BYTES];
            assert_true(film < 2 && run->references[i] == TOKENS);
            memset(want, (int)(20 * film + 10 * (lots[0] % 2)), BYTES);
            assert_memory_equal(run->photos + i * BYTES, want, BYTES);
            seen[2 * film + lots[0] % 2]++;
        }
    }
    for (int i = 0; i < 4; i++)
        assert_true(seen[i] > 0);
    mgi_photos_hold(run, run->now.bucket, 0, 0);
    assert_true(run->failed == MGEN_OK && run->photos[0] == 40);
    end(run);
    mgi_dataset_release(ds);
    snprintf(path, sizeof path, "%s/1.face.png", dir);
    assert_int_equal(unlink(path), 0);
    ds = open_films(dir);
    assert_refused_on(&stage, ds, MGEN_E_INVALID, "stage \"personalizer\": the film '1.y4m' in '");
    assert_refused_on(&stage, ds, MGEN_E_INVALID, "'1.face.png' is missing");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(dir), 0);
}

/* -- learning --------------------------------------------------------------------------------------- */

static double far(const mgi_param *a, const mgi_param *b)
{
    const float *x = mgi_f32(a->value), *y = mgi_f32(b->value);
    double most = 0.0;
    for (int64_t i = 0; i < a->value->count; i++)
        most = fmax(most, fabs((double)x[i] - (double)y[i]));
    return most;
}

/* It learns, and what is saved is a personalizer with its image encoder, beside the models that the folder's pipeline had.
 * The encoder learns too, but for its last layer. */
static void test_learns(void **state)
{
    mgi_personalizer p;
    mgi_clip_vision begun;
    mgi_pipeline_file file;
    uint64_t hash;
    double first, last;
    (void)state;
    mgi_stage stage = tiny_personalizer(100, 8);
    stage.clips = 32;
    stage.validate_every = 20;
    stage.optimizer.lr = 0.02;
    train(&stage, &first, &last);
    if (!(last < 0.95 * first))
        fail_msg("%g after %g", last, first);
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &file));
    assert_string_equal(file.personalizer, "personalizer");
    assert_string_equal(file.video, "video_model");
    OK(mgi_personalizer_open(ctx, folder, "personalizer", &p, &hash));
    assert_int_equal(p.config.steps, 3);
    assert_true(p.config.source_guidance == 1.5f);
    assert_string_equal(p.config.vision, "personalizer_vision");
    OK(mgi_clip_vision_init(&begun, ctx, &stage.vision.config));
    OK(mgi_module_random(&begun.module, 5));
    for (int64_t k = 0; k < begun.module.count; k++) { /* saved as bf16 */
        double moved = far(begun.module.params[k], p.vision.module.params[k]);
        bool still = begun.module.params[k]->unit >= stage.vision.config.layers;
        if (still ? moved > 0.004 : moved < 0.01)
            fail_msg("%s moved by %g", begun.module.params[k]->name, moved);
    }
    mgi_clip_vision_finish(&begun);
    mgi_personalizer_finish(&p);
}

/* How far the encoder and the transformer's stream are from where they began, after a step. */
static void moved(mgi_stage stage, double *vision, double *stream)
{
    struct mgi_stage_run *run = begin(&stage), *same = begin(&stage);
    OK(mgi_stage_text_to_video.step(run, 0, NULL));
    *vision = far(run->vision.patch, same->vision.patch);
    *stream = far(run->video.reference.proj, same->video.reference.proj);
    end(run);
    end(same);
}

/* The first step of Adam is as long as the rate. */
static void test_rate(void **state)
{
    double vision[3], stream[3];
    (void)state;
    mgi_stage stage = images_only(1, 8);
    strcpy(stage.start_from, "set"); /* whose head is not zero any more */
    for (int i = 0; i < 3; i++) {
        stage.vision.lr_scale = i ? 0.25 : 1.0;
        if (i == 2) {
            strcpy(stage.vision.from, "personalizer_vision");
            stage.vision.frozen = true;
        }
        moved(stage, &vision[i], &stream[i]);
        assert_true(fabs(stream[i] - stage.optimizer.lr) < 0.02 * stage.optimizer.lr);
    }
    assert_true(fabs(vision[0] - stage.optimizer.lr) < 0.02 * stage.optimizer.lr);
    assert_true(fabs(vision[1] - 0.25 * stage.optimizer.lr) < 0.02 * stage.optimizer.lr);
    assert_true(vision[2] == 0.0);
}

/* -- starting --------------------------------------------------------------------------------------- */

/* From a video model, the image encoder new or another's; from a personalizer, with its own or another's. */
static void test_start(void **state)
{
    static const char *const names[] = {"video_model", "deep", "set_video_model", "p_personalizer"};
    double first, last;
    mgi_clip_vision kept;
    mgi_personalizer p;
    uint64_t hash;
    (void)state;
    mgi_stage stage = images_only(1, 4);
    strcpy(stage.save_as, "p");
    strcpy(stage.personalizer.vision, "p_personalizer_vision");
    train(&stage, &first, &last);
    stage.save_as[0] = '\0';
    strcpy(stage.personalizer.vision, "personalizer_vision");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        strcpy(stage.start_from, names[i]);
        train(&stage, &first, &last);
    }
    OK(mgi_clip_vision_open(ctx, folder, "p_personalizer_vision", &kept, &hash));
    struct mgi_stage_run *run = begin(&stage); /* from p_personalizer */
    assert_true(far(kept.patch, run->vision.patch) == 0.0);
    end(run);
    strcpy(stage.start_from, "set");
    run = begin(&stage);
    assert_true(far(kept.patch, run->vision.patch) > 0.0);
    end(run);
    strcpy(stage.vision.from, "p_personalizer_vision");
    stage.vision.config = (mgi_clip_vision_config){.image = 0};
    run = begin(&stage);
    assert_true(far(kept.patch, run->vision.patch) == 0.0);
    end(run);
    mgi_clip_vision_finish(&kept);
    stage.vision.frozen = true; /* then it stays under its name */
    strcpy(stage.personalizer.vision, stage.vision.from);
    train(&stage, &first, &last);
    OK(mgi_personalizer_open(ctx, folder, "personalizer", &p, &hash));
    assert_string_equal(p.config.vision, "p_personalizer_vision");
    mgi_personalizer_finish(&p);
}

/* A folder of averages has none, and its pipeline names none. */
static void test_average(void **state)
{
    const char *const dirs[] = {folder, folder};
    mgi_pipeline_file p;
    char out[128];
    (void)state;
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    assert_string_equal(p.personalizer, "personalizer");
    snprintf(out, sizeof out, "%s/average", folder);
    OK(mgi_average_folders(ctx, dirs, (const double[]){1.0, 1.0}, 2, out));
    OK(mgi_pipeline_file_read(ctx, out, "pipeline", &p));
    assert_string_equal(p.personalizer, "");
    assert_int_equal(remove_all(out), 0);
}

static void test_refused(void **state)
{
    char path[128];
    mgi_pipeline_file p;
    (void)state;
    mgi_stage stage = images_only(1, 4);
    stage.world.people = 0.5f;
    assert_refused(&stage, MGEN_E_INVALID, "needs photos of who is in its clips");
    stage = images_only(1, 4);
    stage.video.reference = WIDE + 1;
    assert_refused(&stage, MGEN_E_CORRUPT, "is 12 wide (\"dim\"), but the transformer takes 13");
    stage = images_only(1, 4);
    strcpy(stage.start_from, "tae");
    assert_refused(&stage, MGEN_E_STATE, "as a personalizer, and tae.json is a tae");
    strcpy(stage.start_from, "maker_editor");
    assert_refused(&stage, MGEN_E_STATE, "maker_editor.json is a editor");
    strcpy(stage.start_from, "nobody");
    assert_refused(&stage, MGEN_E_STATE, "needs the model of an earlier stage");
    strcpy(stage.start_from, "p_personalizer");
    stage.vision.config.ff_dim++;
    assert_refused(&stage, MGEN_E_STATE, "the image encoder: stage \"personalizer\" cannot start");
    stage.vision.config.ff_dim--;
    stage.video.layers = 3; /* it has two */
    assert_refused(&stage, MGEN_E_STATE, "\"layers\"");
    stage = images_only(1, 4);
    strcpy(stage.vision.from, "nobody");
    assert_refused(&stage, MGEN_E_STATE, "the image encoder: ");
    stage = images_only(1, 4);
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    snprintf(path, sizeof path, "%s/pipeline.json", folder);
    assert_int_equal(unlink(path), 0);
    assert_refused(&stage, MGEN_E_STATE, "adds a personalizer to the models");
    mgi_pipeline_file other = p;
    strcpy(other.tae, "third");
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &other));
    assert_refused(&stage, MGEN_E_STATE, "a personalizer takes the same");
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &p));
    stage = tiny_text_to_video(1, 4); /* which has no photos */
    stage.video.reference = WIDE;
    assert_refused(&stage, MGEN_E_CORRUPT, "it is that of a personalizer");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_photos), cmocka_unit_test(test_folder_photos),
        cmocka_unit_test(test_learns), cmocka_unit_test(test_rate),
        cmocka_unit_test(test_start),  cmocka_unit_test(test_average),
        cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests_name("personalizer_stage", tests, make_models,
                                       free_context_and_folder);
}
