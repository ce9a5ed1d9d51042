/* SPDX-License-Identifier: MIT
 * Training an upsampler: the pairs that it learns from, what it is saved as, what it starts from, what is refused. */
#include "core/alloc.h"
#include "data/resize.h"
#include "train/latents.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kept_latents.h"
#include "stage_runs.h"

static int make_models(void **state)
{
    if (make_context_and_folder(state) != 0)
        return -1;
    save_new(tiny_autoencoder(1, 2));
    mgi_stage video = tiny_text_to_video(1, 2);
    save_new(video);
    strcpy(video.save_as, "set");
    save_new(video);
    strcpy(video.save_as, "");
    save_new(video); /* the folder's pipeline has its plain names again */
    return 0;
}

static void assert_refused(const mgi_stage *stage, mgen_status status, const char *said)
{
    struct mgi_stage_run *run = NULL;
    mgen_status got = create_on(stage, NULL, &run);
    if (got == MGEN_OK)
        mgi_stage_kind_of(stage)->destroy(run);
    if (got != status || !strstr(mgen_last_error(ctx), said))
        fail_msg("%s: '%s' does not say '%s'", mgen_status_name(got), mgen_last_error(ctx), said);
}

/* ---- pairs -------------------------------------------------------------------------------------------- */

enum { FRAMES = 5, WIDTH = 64, HEIGHT = 48, CLIPS = 9, HELD = 4 };

static int64_t encoded; /* clips, as was told last */

static int32_t count_clips(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user, (void)what, (void)total;
    encoded = (int64_t)done;
    return 0;
}

typedef struct models {
    mgi_tae tae, other; /* the second one spoils */
    mgi_dataset *data;
    mgi_pairs pairs;
} models;

static void open_models(models *m)
{
    mgi_world_options world = tiny_world;
    const mgi_tae_config config = tiny_autoencoder(1, 1).tae;
    world.width = WIDTH;
    world.height = HEIGHT;
    OK(mgi_dataset_world(ctx, 3, &world, &m->data));
    OK(mgi_tae_init(&m->tae, ctx, &config));
    OK(mgi_module_random(&m->tae.module, 1));
    OK(mgi_tae_init(&m->other, ctx, &config));
    OK(mgi_module_random(&m->other.module, 2));
    m->pairs = (mgi_pairs){.factor = 2, .artifacts = &m->other, .artifacts_hash = 7, .share = 0.5};
}

static void close_models(models *m)
{
    mgi_tae_finish(&m->tae);
    mgi_tae_finish(&m->other);
    mgi_dataset_release(m->data);
}

static mgi_latents_request request_of(const models *m)
{
    return (mgi_latents_request){.tae = &m->tae,
                                 .tae_hash = 1,
                                 .dataset = m->data,
                                 .seed = 3,
                                 .first = 2,
                                 .frames = FRAMES,
                                 .clips = CLIPS,
                                 .held = HELD,
                                 .pairs = &m->pairs};
}

/* Frames of a clip, encoded each as an image. */
static void assert_encoded(const models *m, const uint8_t *clip, const float *latents, int64_t size)
{
    enum { PIXELS = WIDTH * HEIGHT * 3 };
    float *rgb = malloc(PIXELS * sizeof *rgb), *one = malloc((size_t)size * sizeof *one);
    int64_t each = size / FRAMES;
    mgi_run run;
    assert_true(rgb && one);
    for (int64_t t = 0; t < FRAMES; t++) {
        for (int64_t i = 0; i < PIXELS; i++)
            rgb[i] = (float)clip[t * PIXELS + i] * (1.0f / 127.5f) - 1.0f;
        mgi_run_init(&run, ctx, false);
        T *x = mgi_new(&run, MGK_F32, MGI_DIMS(1, 1, HEIGHT, WIDTH, 3));
        mgi_tensor_write(x, 0, rgb, x->count);
        T *z = mgi_posterior(&run, mgi_tae_encode(&run, &m->tae, x), NULL, 0.0f, NULL);
        OK(run.status);
        OK(mgi_tae_normalised(&m->tae, z, one));
        mgi_run_finish(&run);
        for (int64_t i = 0; i < each; i++)
            assert_true(fabs((double)one[i] - (double)latents[t * each + i]) < 1e-4);
    }
    free(rgb);
    free(one);
}

/* Each clip, frame by frame, and behind it its condition; held-out ones with the validation's numbers. */
static void test_pairs(void **state)
{
    enum { BYTES = FRAMES * WIDTH * HEIGHT * 3 };
    models m;
    mgi_latents l;
    uint8_t *clip = malloc(BYTES), *condition = malloc(BYTES);
    int64_t near = 0;
    (void)state;
    assert_true(clip && condition);
    open_models(&m);
    mgi_latents_request q = request_of(&m);
    OK(mgi_latents_make(ctx, &q, &l));
    assert_int_equal(l.clips, CLIPS);
    assert_int_equal(l.held, HELD);
    assert_int_equal(l.dims[0], FRAMES);
    assert_int_equal(l.size, FRAMES * (HEIGHT / 8) * (WIDTH / 8) * 4);
    assert_int_equal(l.step, 2 * l.size);
    for (int64_t i = 0; i < CLIPS + HELD; i++) {
        bool held = i >= CLIPS;
        uint64_t element = held ? (uint64_t)(i - CLIPS) : q.first + (uint64_t)i;
        if (held)
            OK(mgi_dataset_held(ctx, m.data, i - CLIPS, FRAMES, clip, NULL));
        else
            OK(mgi_dataset_clips(ctx, m.data, q.seed, element, 1, FRAMES, clip));
        OK(mgi_pairs_make(ctx, &m.pairs, held ? MGI_VALIDATION_SEED : q.seed, element, clip, FRAMES,
                          WIDTH, HEIGHT, condition));
        assert_encoded(&m, clip, l.rows.values + i * l.step, l.size);
        assert_encoded(&m, condition, l.rows.values + i * l.step + l.size, l.size);
        near += memcmp(clip, condition, BYTES) == 0;
    }
    assert_int_equal(near, 0);
    mgi_latents_free(ctx, &l);
    close_models(&m);
    free(clip);
    free(condition);
}

/* About the share of the clips goes through the autoencoder, the same ones each time. */
static void test_share(void **state)
{
    enum { BYTES = FRAMES * WIDTH * HEIGHT * 3, MANY = 200 };
    models m;
    uint8_t *clip = malloc(BYTES), *recoded = malloc(BYTES), *out = malloc(BYTES);
    int through[3] = {0}, other = 0;
    (void)state;
    assert_true(clip && recoded && out);
    open_models(&m);
    OK(mgi_dataset_clips(ctx, m.data, 3, 0, 1, FRAMES, clip));
    m.pairs.share = 1.0;
    OK(mgi_pairs_make(ctx, &m.pairs, 3, 0, clip, FRAMES, WIDTH, HEIGHT, recoded));
    for (int k = 0; k < 3; k++) {
        m.pairs.share = 0.5 * k;
        for (uint64_t i = 0; i < MANY; i++) {
            OK(mgi_pairs_make(ctx, &m.pairs, 3, i, clip, FRAMES, WIDTH, HEIGHT, out));
            through[k] += memcmp(out, recoded, BYTES) == 0;
            if (k != 1 || i >= 16)
                continue;
            OK(mgi_pairs_make(ctx, &m.pairs, 4, i, clip, FRAMES, WIDTH, HEIGHT, out));
            other += (memcmp(out, recoded, BYTES) == 0) << i;
        }
    }
    assert_int_equal(through[0], 0);
    assert_in_range(through[1], MANY * 4 / 10, MANY * 6 / 10);
    assert_int_equal(through[2], MANY);
    assert_true(other != 0 && other != 0xFFFF);
    close_models(&m);
    free(clip);
    free(recoded);
    free(out);
}

/* The small clip is that of data/degrade.h, enlarged as films are; or, through an autoencoder, the same whether that takes
 * frames whole or in tiles. */
static void test_small(void **state)
{
    enum { BYTES = FRAMES * WIDTH * HEIGHT * 3, LOW = BYTES / 4 };
    models m;
    mgi_resize up;
    uint8_t *clip = malloc(BYTES), *low = malloc(LOW), *ours = malloc(BYTES), *out = malloc(BYTES);
    (void)state;
    assert_true(clip && low && ours && out);
    open_models(&m);
    OK(mgi_dataset_clips(ctx, m.data, 3, 0, 1, FRAMES, clip));
    m.pairs.share = 0.0;
    m.pairs.degrade.clean = -1.0f;
    OK(mgi_pairs_make(ctx, &m.pairs, 3, 8, clip, FRAMES, WIDTH, HEIGHT, out));
    OK(mgi_degrade_clip(ctx, &m.pairs.degrade, 3, 8, clip, FRAMES, WIDTH, HEIGHT, WIDTH / 2,
                        HEIGHT / 2, low));
    OK(mgi_resize_init(&up, ctx, WIDTH / 2, HEIGHT / 2, WIDTH, HEIGHT));
    for (int i = 0; i < FRAMES; i++)
        mgi_resize_frame(&up, low + i * (LOW / FRAMES), ours + i * (BYTES / FRAMES));
    mgi_resize_finish(&up);
    assert_memory_equal(out, ours, BYTES);

    m.pairs.share = 1.0;
    OK(mgi_pairs_make(ctx, &m.pairs, 3, 8, clip, FRAMES, WIDTH, HEIGHT, ours));
    m.other.config.space_tile = 16;
    OK(mgi_pairs_make(ctx, &m.pairs, 3, 8, clip, FRAMES, WIDTH, HEIGHT, out));
    for (int64_t i = 0; i < BYTES; i++)
        assert_in_range(out[i], ours[i] > 1 ? ours[i] - 1 : 0, ours[i] + 1);
    close_models(&m);
    free(clip);
    free(low);
    free(ours);
    free(out);
}

/* Found again, and not taken for those of other pairs, or of none. */
static void test_cache(void **state)
{
    models m;
    mgi_latents l, again;
    (void)state;
    open_models(&m);
    mgi_latents_request q = request_of(&m);
    q.cache_dir = folder;
    ctx->progress = count_clips;
    OK(mgi_latents_make(ctx, &q, &l));
    for (int i = 0; i < 9; i++) {
        mgi_pairs pairs = m.pairs;
        mgi_latents_request other = q;
        bool found = i == 0 || i == 8;
        other.pairs = i == 1 ? NULL : &pairs;
        pairs.factor -= i == 2;
        pairs.artifacts_hash += i == 3;
        pairs.share += 0.25 * (i == 4);
        pairs.artifacts = i == 5 ? NULL : pairs.artifacts;
        other.tae_hash += i == 6;
        if (i == 7)
            pairs.degrade.pass[1].quality = (mgi_degrade_range){60.0f, 70.0f};
        encoded = 0;
        OK(mgi_latents_make(ctx, &other, &again));
        assert_int_equal(encoded, found ? 0 : CLIPS + HELD);
        if (found)
            assert_true(same_latents(ctx, &l, &again));
        mgi_latents_free(ctx, &again);
    }
    ctx->progress = NULL;
    mgi_latents_free(ctx, &l);
    close_models(&m);
}

/* ---- training ----------------------------------------------------------------------------------------- */

static void assert_names(const char *upsampler)
{
    mgi_pipeline_file p;
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    assert_string_equal(p.upsampler, upsampler);
    assert_string_equal(p.tae, "tae");
    assert_string_equal(p.video, "video_model");
    assert_string_equal(p.text[0], "text_encoder");
    assert_int_equal(p.clip.width, 48);
    assert_int_equal(p.clip.frames, 16);
}

/* It learns, and what is saved is an upsampler, beside the models that the folder's pipeline had. */
static void test_learns(void **state)
{
    mgi_upsampler up;
    uint64_t hash;
    double first, last, seen = 0.0;
    (void)state;
    mgi_stage stage = tiny_upsampler(120, 8);
    stage.clips = 32;
    stage.validate_every = 20;
    stage.optimizer.lr = 0.01;
    train(&stage, &first, &last);
    assert_true(last < 0.8 * first && last < 1.2);
    assert_names("upsampler");
    OK(mgi_upsampler_open(ctx, folder, "upsampler", &up, &hash));
    assert_int_equal(up.config.factor, 2);
    assert_int_equal(up.config.frames, 4);
    assert_int_equal(up.config.overlap, 2);
    assert_int_equal(up.config.steps, 3);
    assert_string_equal(up.config.tae, "tae");
    const float *w = mgi_f32(up.video.patch_condition->value);
    for (int64_t i = 0; i < up.video.patch_condition->value->count; i++)
        seen += fabs((double)w[i]);
    assert_true(seen > 0.1); /* zero at first */
    mgi_upsampler_finish(&up);
}

/* From a video model, of the same size or smaller, by its own name or its set's; from an upsampler. */
static void test_start(void **state)
{
    static const char *const names[] = {"video_model", "set", "set_video_model", "up_upsampler"};
    double first, last;
    (void)state;
    mgi_stage stage = tiny_upsampler(1, 4);
    stage.validate_every = 1;
    strcpy(stage.save_as, "up");
    train(&stage, &first, &last);
    assert_names("up_upsampler");
    stage.save_as[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        strcpy(stage.start_from, names[i]);
        train(&stage, &first, &last);
        stage.video.columns_max += i == 1; /* grown from then on */
    }
    assert_names("upsampler");
    strcpy(stage.start_from, "tae");
    assert_refused(&stage, MGEN_E_STATE, "tae.json is a tae");
    strcpy(stage.start_from, "nobody");
    assert_refused(&stage, MGEN_E_STATE, "needs the model of an earlier stage");
    strcpy(stage.start_from, "video_model");
    stage.video.layers = 1;
    assert_refused(&stage, MGEN_E_STATE, "\"layers\"");
}

/* A folder of averages has none, and its pipeline names none. */
static void test_average(void **state)
{
    const char *const dirs[] = {folder, folder};
    mgi_pipeline_file p;
    char out[128];
    (void)state;
    assert_names("upsampler");
    snprintf(out, sizeof out, "%s/average", folder);
    OK(mgi_average_folders(ctx, dirs, (const double[]){1.0, 1.0}, 2, out));
    OK(mgi_pipeline_file_read(ctx, out, "pipeline", &p));
    assert_string_equal(p.upsampler, "");
    assert_string_equal(p.video, "video_model");
    assert_int_equal(remove_all(out), 0);
}

static void test_refused(void **state)
{
    mgi_pipeline_file p;
    char path[128];
    (void)state;
    mgi_stage stage = tiny_upsampler(1, 4);
    stage.upsampler.factor = 4; /* 16 x 12 pixels, which the autoencoder does not take */
    assert_refused(&stage, MGEN_E_INVALID, "multiples of 32");
    stage = tiny_upsampler(1, 4);
    stage.video.channels = stage.video.condition = 6;
    assert_refused(&stage, MGEN_E_CORRUPT, "the TAE has 4 latent channels");
    stage = tiny_upsampler(1, 4);
    strcpy(stage.artifacts, "nobody");
    assert_refused(&stage, MGEN_E_STATE, "needs the model of an earlier stage");

    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    mgi_pipeline_file other = p;
    strcpy(other.text[0], "another");
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &other));
    stage = tiny_upsampler(1, 4);
    assert_refused(&stage, MGEN_E_STATE, "names \"another\"");
    snprintf(path, sizeof path, "%s/pipeline.json", folder);
    assert_int_equal(unlink(path), 0);
    assert_refused(&stage, MGEN_E_STATE, "train the video model first");
    OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),   cmocka_unit_test(test_share),  cmocka_unit_test(test_small),
        cmocka_unit_test(test_cache),   cmocka_unit_test(test_learns), cmocka_unit_test(test_start),
        cmocka_unit_test(test_average), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests_name("upsampler_stage", tests, make_models,
                                       free_context_and_folder);
}
