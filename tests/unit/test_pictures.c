/* SPDX-License-Identifier: MIT
 * Models of pictures: stages on an image autoencoder, begun as a video model of other latents; requests that make no sense;
 * what is measured of a picture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "eval/alignment.h"
#include "eval/evaluate.h"
#include "eval/films.h"
#include "eval/world_check.h"
#include "eval/world_tally.h"
#include "stage_runs.h"
#include "train/video_stage.h"

#include <math.h>

enum { CHANNELS = 6 }; /* of the pictures' latents; the video model's are 4 */

static mgi_stage image_autoencoder(void)
{
    mgi_stage s = tiny_autoencoder(1, 2);
    strcpy(s.name, "image");
    s.tae.temporal = false;
    s.tae.latent_channels = CHANNELS;
    s.frames = 1;
    s.image_every = 0;
    return s;
}

/* On the set "video", whose text encoder stays. */
static mgi_stage pictures(int64_t steps)
{
    mgi_stage s = tiny_text_to_video(steps, 2);
    strcpy(s.name, "pictures");
    strcpy(s.save_as, "pictures");
    strcpy(s.tae_name, "image");
    strcpy(s.start_from, "video");
    strcpy(s.text[0].name, "video_text_encoder");
    strcpy(s.text[0].from, "video_text_encoder");
    s.text[0].frozen = true;
    s.video.channels = CHANNELS;
    s.bucket_count = 1;
    s.bucket[0] = (mgi_bucket){.width = 64, .height = 48, .frames = 1, .weight = 1.0};
    s.images = -1.0;
    return s;
}

/* The video model and its parts, and the image autoencoder. */
static int make_models(void **state)
{
    if (make_context_and_folder(state) != 0)
        return -1;
    mgi_stage video = tiny_text_to_video(1, 2);
    strcpy(video.save_as, "video");
    save_new(tiny_autoencoder(1, 2));
    save_new(image_autoencoder());
    save_new(video);
    video.save_as[0] = '\0'; /* the models of the folder's own pipeline */
    save_new(video);
    return 0;
}

static void refuse(const mgi_stage *stage, mgen_status status, const char *said)
{
    struct mgi_stage_run *run;
    assert_int_equal(create_on(stage, NULL, &run), status);
    if (!strstr(mgen_last_error(ctx), said))
        fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), said);
}

/* ---- training --------------------------------------------------------------------------------- */

static const mgi_param *param_of(const mgi_vt *vt, const char *name)
{
    for (int64_t k = 0; k < vt->module.count; k++)
        if (!strcmp(vt->module.params[k]->name, name))
            return vt->module.params[k];
    fail_msg("no parameter %s", name);
    return NULL;
}

/* All but the first and the last layer are the video model's; the former is as random as in a new model, the latter predicts
 * nothing yet. */
static void test_begins_as_video(void **state)
{
    const mgi_stage stage = pictures(1);
    struct mgi_stage_run *run = begin(&stage);
    mgi_vt video;
    uint64_t hash;
    double square = 0.0;
    (void)state;
    OK(mgi_vt_open(ctx, folder, "video_video_model", &video, &hash));
    const mgi_vt *vt = &run->video;
    for (int64_t k = 0; k < vt->module.count; k++) {
        const mgi_param *p = vt->module.params[k];
        const float *values = mgi_f32(p->value);
        if (p == vt->patch || p == vt->head)
            continue;
        const mgi_param *before = param_of(&video, p->name);
        assert_int_equal(before->value->count, p->value->count);
        assert_memory_equal(values, mgi_f32(before->value),
                            (size_t)p->value->count * sizeof(float));
    }
    assert_int_equal(vt->patch->dims[1], 4 * CHANNELS);
    for (int64_t i = 0; i < vt->patch->value->count; i++)
        square += pow((double)mgi_f32(vt->patch->value)[i], 2.0);
    const double deviation = sqrt(square / (double)vt->patch->value->count) * sqrt(4.0 * CHANNELS);
    assert_true(deviation > 0.9 && deviation < 1.1);
    for (int64_t i = 0; i < vt->head->value->count; i++)
        assert_true(mgi_f32(vt->head->value)[i] == 0.0f);
    mgi_vt_finish(&video);
    mgi_stage_text_to_video.destroy(run);
}

/* As many channels: all of it stays. */
static void test_same_channels(void **state)
{
    mgi_stage tae = image_autoencoder(), stage = pictures(1);
    struct mgi_stage_run *run;
    mgi_vt video;
    uint64_t hash;
    (void)state;
    strcpy(tae.name, "image4");
    tae.tae.latent_channels = 4;
    save_new(tae);
    strcpy(stage.tae_name, "image4");
    stage.video.channels = 4;
    run = begin(&stage);
    OK(mgi_vt_open(ctx, folder, "video_video_model", &video, &hash));
    assert_memory_equal(mgi_f32(run->video.patch->value), mgi_f32(video.patch->value),
                        (size_t)video.patch->value->count * sizeof(float));
    assert_memory_equal(mgi_f32(run->video.head->value), mgi_f32(video.head->value),
                        (size_t)video.head->value->count * sizeof(float));
    mgi_vt_finish(&video);
    mgi_stage_text_to_video.destroy(run);
}

/* A start may be a set or the model itself; latents have one frame; two steps of it learn. */
static void test_trains(void **state)
{
    static const char *const starts[] = {"video", "video_model", "video_video_model"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        mgi_stage stage = pictures(8);
        double first, last;
        strcpy(stage.start_from, starts[i]);
        stage.optimizer.lr = 0.01;
        stage.validate_every = 4;
        struct mgi_stage_run *run = begin(&stage);
        assert_int_equal(run->buckets.list[0].latents.dims[0], 1);
        assert_int_equal(run->buckets.list[0].latents.dims[3], CHANNELS);
        steps_of(&stage, run, &first, &last);
        assert_true(last < first);
        OK(mgi_stage_text_to_video.save(run));
        mgi_stage_text_to_video.destroy(run);
    }
    mgi_pipeline_file p;
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    assert_string_equal(p.tae, "image");
    assert_string_equal(p.video, "pictures_video_model");
    assert_true(p.clip.frames == 1 && p.clip.width == 64 && p.clip.height == 48);
}

static void test_refused(void **state)
{
    mgi_stage stage = pictures(1);
    (void)state;
    stage.bucket_count = 2;
    stage.bucket[1] = (mgi_bucket){.width = 64, .height = 48, .frames = 9, .weight = 1.0};
    refuse(
        &stage, MGEN_E_STATE,
        "bucket 2 of stage \"pictures\" has clips of 9 frames; inflate it first, or make pictures");
    stage = pictures(1);
    stage.video.channels = 4;
    refuse(&stage, MGEN_E_CORRUPT, "the TAE has 6 latent channels, but the video model takes 4");
    stage = pictures(1);
    strcpy(stage.start_from, "nobody");
    refuse(&stage, MGEN_E_STATE, "nobody_video_model");
    strcpy(stage.start_from, "image"); /* an autoencoder is none */
    refuse(&stage, MGEN_E_CORRUPT, "image.json");
    stage = pictures(1);
    stage.video.dim = 48;
    refuse(&stage, MGEN_E_STATE, "\"dim\": 24 and 48");
}

/* A model that sees another film has two inputs of its latents; it does not change them. */
static void test_condition_keeps_channels(void **state)
{
    mgi_stage upsampler = tiny_upsampler(1, 1);
    (void)state;
    strcpy(upsampler.text[0].name, "text_encoder");
    mgi_stage video = tiny_text_to_video(1, 2);
    save_new(video); /* its pipeline again */
    save_new(upsampler);
    strcpy(upsampler.tae_name, "image");
    strcpy(upsampler.start_from, "upsampler");
    upsampler.video.channels = upsampler.video.condition = CHANNELS;
    refuse(&upsampler, MGEN_E_STATE, "\"channels\": 4 and 6");
}

/* An upsampler has clips with an image autoencoder, too: of each frame a latent of its own. */
static void test_upsampler(void **state)
{
    mgi_stage stage = tiny_upsampler(8, 2);
    mgi_upsampler upsampler;
    uint64_t hash;
    double first, last;
    (void)state;
    strcpy(stage.text[0].name, "text_encoder");
    strcpy(stage.save_as, "of_images");
    strcpy(stage.tae_name, "image");
    stage.video.channels = stage.video.condition = CHANNELS;
    stage.optimizer.lr = 0.01;
    stage.validate_every = 4;
    struct mgi_stage_run *run = begin(&stage);
    assert_int_equal(run->buckets.list[0].bucket.frames, 4);
    assert_int_equal(run->buckets.list[0].latents.dims[0], 4);
    assert_int_equal(run->buckets.list[0].latents.dims[3], CHANNELS);
    steps_of(&stage, run, &first, &last);
    assert_true(last < first);
    OK(mgi_stage_text_to_video.save(run));
    mgi_stage_text_to_video.destroy(run);
    OK(mgi_upsampler_open(ctx, folder, "of_images_upsampler", &upsampler, &hash));
    assert_false(upsampler.tae.config.temporal);
    mgi_upsampler_finish(&upsampler);
}

/* ---- requests --------------------------------------------------------------------------------- */

typedef struct opened {
    mgi_tae tae;
    mgi_text_encoder text;
    mgi_vt video;
    mgi_networks n;
} opened;

static void open_pictures(opened *o)
{
    uint64_t hash;
    const mgi_stage stage = pictures(1);
    save_new(stage);
    OK(mgi_tae_open(ctx, folder, "image", &o->tae, &hash));
    OK(mgi_text_encoder_open(ctx, folder, "video_text_encoder", &o->text, &hash));
    OK(mgi_vt_open(ctx, folder, "pictures_video_model", &o->video, &hash));
    o->n = (mgi_networks){.tae = &o->tae,
                          .text = {&o->text},
                          .video = &o->video,
                          .clip = {.width = 64, .height = 48, .frames = 1, .fps = 16}};
    OK(mgi_networks_check(ctx, &o->n));
}

static void close_pictures(opened *o)
{
    mgi_tae_finish(&o->tae);
    mgi_text_encoder_finish(&o->text);
    mgi_vt_finish(&o->video);
}

static mgen_status count_frames(void *user, const mgi_frames_box *box, float *rgb)
{
    (void)rgb;
    *(int64_t *)user += box->count;
    return MGEN_OK;
}

static void test_one_frame_only(void **state)
{
    static const char *const prompts[] = {"a red ball"};
    const uint64_t seed = 1;
    int64_t frames = 0;
    opened o;
    (void)state;
    open_pictures(&o);
    mgi_generate_request r = {.prompts = prompts,
                              .count = 1,
                              .seeds = &seed,
                              .steps = 2,
                              .sink = count_frames,
                              .user = &frames};
    OK(mgi_generate(ctx, &o.n, &r));
    assert_int_equal(frames, 1);
    r.frames = 1;
    r.width = 48; /* another size goes */
    OK(mgi_generate(ctx, &o.n, &r));
    assert_int_equal(frames, 2);
    for (r.frames = 2; r.frames <= 16; r.frames *= 8) {
        assert_int_equal(mgi_generate(ctx, &o.n, &r), MGEN_E_UNSUPPORTED);
        assert_non_null(strstr(mgen_last_error(ctx), "makes pictures"));
    }
    assert_int_equal(frames, 2);
    close_pictures(&o);
}

/* ---- what is measured ------------------------------------------------------------------------- */

/* Of drawn pictures: all that can be seen of one is found, and nothing else is asked for. */
static void test_tally_of_pictures(void **state)
{
    enum { SIDE = 64, SCENES = 40 };
    static uint8_t rgb[SIDE * SIDE * 3];
    const mgi_clip_shape shape = {SIDE, SIDE, 1, 16};
    mgi_world_tally t = {0};
    (void)state;
    for (int i = 0; i < SCENES; i++) {
        char text[MGI_WORLD_CAPTION_MAX];
        mgi_world_scene scene;
        mgi_world_said asked, seen;
        mgi_alignment_prompt(&shape, i, &scene, text);
        mgi_world_parse(text, &asked);
        mgi_world_tally_picture(&asked);
        mgi_world_draw(&scene, SIDE, SIDE, 0, 1, rgb);
        OK(mgi_world_check(ctx, rgb, SIDE, SIDE, 1, &seen));
        mgi_world_tally_add(&t, &asked, &seen);
    }
    assert_int_equal(t.asked[MGI_TALLY_CAMERA], 0);
    assert_int_equal(t.asked[MGI_TALLY_MOTION], 0);
    assert_int_equal(t.asked[MGI_TALLY_FPS], 0);
    assert_int_equal(t.asked[MGI_TALLY_BACKGROUND], SCENES);
    assert_int_equal(t.right[MGI_TALLY_BACKGROUND], SCENES);
    static const int seen[] = {MGI_TALLY_COLOUR, MGI_TALLY_COUNT, MGI_TALLY_SHAPE, MGI_TALLY_SIZE,
                               MGI_TALLY_TEXT};
    for (int k = 0; k < 5; k++) {
        const int e = seen[k];
        assert_true(t.asked[e] > 0);
        if (10 * t.right[e] < 9 * t.asked[e])
            fail_msg("entry %d: %d of %d", e, (int)t.right[e], (int)t.asked[e]);
    }
    assert_true(t.right[MGI_TALLY_ALL_ONE] > 0 && t.right[MGI_TALLY_ALL_TWO] > 0);
}

static bool stop_now(void *user, int done, int total)
{
    *(int *)user = done;
    return done < total;
}

static void test_report(void **state)
{
    static const char *const never[] = {"motion", "camera", "fps"};
    static const char *const always[] = {"colour", "background", "count", "shape", "size"};
    mgi_eval_request r = {.n = 4, .seed = 1, .steps = 2};
    mgen_report *report;
    opened o;
    int found = 0;
    (void)state;
    open_pictures(&o);
    OK(mgi_report_create(ctx, &report));
    OK(mgi_eval_alignment(ctx, &o.n, &r, report));
    for (uint32_t i = 0; i < mgen_report_count(report); i++) {
        const char *name = mgen_report_name(report, i);
        for (int k = 0; k < 3; k++)
            if (strstr(name, never[k]))
                fail_msg("a picture has no %s", name);
        for (int k = 0; k < 5; k++)
            found += !strcmp(name, always[k]);
    }
    assert_int_equal(found, 5);
    mgen_report_destroy(report);
    /* stopped after the first batch */
    int done = 0;
    r = (mgi_eval_request){
        .n = MGI_EVAL_BATCH + 1, .seed = 1, .steps = 1, .progress = stop_now, .user = &done};
    OK(mgi_report_create(ctx, &report));
    assert_int_equal(mgi_eval_alignment(ctx, &o.n, &r, report), MGEN_E_CANCELLED);
    assert_int_equal(done, MGI_EVAL_BATCH);
    assert_non_null(strstr(mgen_last_error(ctx), "the measurement was stopped"));
    assert_int_equal(mgen_report_count(report), 0);
    mgen_report_destroy(report);
    close_pictures(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins_as_video), cmocka_unit_test(test_same_channels),
        cmocka_unit_test(test_trains),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_one_frame_only),  cmocka_unit_test(test_tally_of_pictures),
        cmocka_unit_test(test_report),          cmocka_unit_test(test_condition_keeps_channels),
        cmocka_unit_test(test_upsampler),
    };
    return cmocka_run_group_tests_name("pictures", tests, make_models, free_context_and_folder);
}
