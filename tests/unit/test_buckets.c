/* SPDX-License-Identifier: MIT
 * Buckets: how steps and clips are divided among them, and what trains on them. */
#include "core/philox.h"
#include "core/report.h"
#include "reported.h"
#include "tensor/device.h"
#include "train/buckets.h"
#include "train/video_stage.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "folder_context.h"

enum { STEPS = 8, DRAWS = 20000 };

/* Videos of two lengths and images. */
static mgi_stage stage_of(double images)
{
    mgi_stage s = tiny_text_to_video(STEPS, 2);
    s.clips = 100;
    s.bucket_count = 3;
    s.bucket[0] = (mgi_bucket){.width = 64, .height = 64, .frames = 32, .weight = 1.0};
    s.bucket[1] = (mgi_bucket){.width = 64, .height = 64, .frames = 9, .batch = 4, .weight = 3.0};
    s.bucket[2] = (mgi_bucket){.width = 64, .height = 64, .frames = 1, .batch = 6, .weight = 1.0};
    s.images = images;
    return s;
}

static void assert_near(double a, double b, double most)
{
    if (!(fabs(a - b) <= most))
        fail_msg("%.9g, not %.9g", a, b);
}

static mgi_buckets buckets_of(const mgi_stage *stage, mgi_dataset *ds, int64_t held)
{
    mgi_buckets b;
    if (mgi_buckets_init(ctx, stage, ds, held, &b) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    return b;
}

static void test_shares(void **state)
{
    static const double shares[2][3] = {{0.2, 0.6, 0.2}, {0.225, 0.675, 0.1}};
    mgi_dataset *ds;
    (void)state;
    assert_int_equal(mgi_dataset_world(ctx, 1, &(mgi_world_options){0}, &ds), MGEN_OK);
    for (int k = 0; k < 2; k++) {
        const mgi_stage stage = stage_of(k ? 0.1 : -1.0);
        mgi_buckets b = buckets_of(&stage, ds, 64);
        int64_t taken[3] = {0};
        double samples = 0.0;
        assert_int_equal(b.batch, 6);
        for (int64_t step = 0; step < DRAWS; step++) {
            const mgi_bucket_data *d = mgi_buckets_draw(&b, 5, step);
            assert_ptr_equal(d, mgi_buckets_draw(&b, 5, step));
            taken[d - b.list]++;
        }
        for (int i = 0; i < 3; i++)
            samples += shares[k][i] * (double)b.list[i].bucket.batch;
        for (int i = 0; i < 3; i++) {
            assert_near(b.list[i].share, shares[k][i], 1e-12);
            assert_near((double)taken[i] / DRAWS, shares[k][i], 0.02);
            assert_int_equal(b.list[i].held, 22);
            assert_near((double)b.list[i].clips,
                        100.0 * shares[k][i] * (double)b.list[i].bucket.batch / samples, 1.0);
            if (i) /* none is in two of them */
                assert_int_equal(b.list[i].first,
                                 b.list[i - 1].first + (uint64_t)b.list[i - 1].clips);
        }
        mgi_buckets_free(ctx, &b);
    }
    mgi_dataset_release(ds);
}

/* Without a list there is one: the dataset's samples. */
static void test_one(void **state)
{
    static const int rates[][2] = {{0, 16}, {8, 8}, {24, 24}}; /* of the world, of what is saved */
    mgi_stage stage = tiny_text_to_video(STEPS, 2);
    mgi_dataset *ds;
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mgi_dataset_world(ctx, 1, &(mgi_world_options){.fps = rates[i][0]}, &ds),
                         MGEN_OK);
        mgi_buckets one = buckets_of(&stage, ds, 64);
        assert_int_equal(mgi_bucket_fps(&one.list[0]), rates[i][1]);
        mgi_buckets_free(ctx, &one);
        mgi_dataset_release(ds);
    }
    assert_int_equal(mgi_dataset_world(ctx, 1, &(mgi_world_options){0}, &ds), MGEN_OK);
    mgi_buckets b = buckets_of(&stage, ds, 64);
    assert_int_equal(b.count, 1);
    assert_int_equal(b.list[0].bucket.frames, 32);
    assert_int_equal(b.list[0].bucket.batch, 2);
    assert_int_equal(b.list[0].clips, stage.clips);
    assert_int_equal(b.list[0].held, 64);
    mgi_buckets_free(ctx, &b);
    mgi_dataset_release(ds);
}

/* A folder or the host has samples of one size: pieces of them in time, and nothing else. */
static mgen_status read_sample(void *user, uint64_t index, mgen_sample *sample)
{
    (void)user;
    memset(sample->pixels, (int)index, (size_t)sample->width * sample->height * sample->frames * 3);
    return MGEN_OK;
}

static void test_finite(void **state)
{
    mgen_dataset_params params = MGEN_DATASET_PARAMS_INIT;
    mgi_stage stage = stage_of(-1.0);
    mgi_dataset *ds;
    mgi_buckets b;
    (void)state;
    params.width = params.height = 64;
    params.frames = 32;
    params.count = 40;
    params.read = read_sample;
    assert_int_equal(mgi_dataset_host(ctx, &params, &ds), MGEN_OK);
    b = buckets_of(&stage, ds, 64);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(b.list[i].first, 0);
        assert_int_equal(b.list[i].clips, 100);
    }
    mgi_buckets_free(ctx, &b);
    static const int64_t bad[][3] = {{72, 64, 32}, {64, 56, 32}, {64, 64, 33}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        stage.bucket[1].width = bad[i][0];
        stage.bucket[1].height = bad[i][1];
        stage.bucket[1].frames = bad[i][2];
        assert_int_equal(mgi_buckets_init(ctx, &stage, ds, 64, &b), MGEN_E_INVALID);
        assert_non_null(strstr(mgen_last_error(ctx), "bucket 2 of stage \"video\""));
    }
    mgi_dataset_release(ds);
}

static struct mgi_stage_run *begin(const struct mgi_stage_kind *kind, const mgi_stage *stage)
{
    struct mgi_stage_run *run;
    const mgi_stage_params params = {.stage = stage, .dir = folder, .seed = 5, .cache_dir = folder};
    if (kind->create(ctx, &params, &run) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    return run;
}

/* Each step takes a batch of the bucket that was drawn and says so; validation has both kinds in it. */
static void test_stage(void **state)
{
    mgi_stage tae = tiny_autoencoder(1, 2), stage = stage_of(0.4);
    static const int64_t sizes[3][4] = {{64, 48, 17, 8}, {48, 96, 9, 24}, {96, 48, 1, 0}};
    const struct mgi_stage_kind *kind = &mgi_stage_text_to_video;
    mgi_dataset *ds;
    (void)state;
    struct mgi_stage_run *run = begin(&mgi_stage_autoencoder, &tae);
    assert_int_equal(mgi_stage_autoencoder.save(run), MGEN_OK);
    mgi_stage_autoencoder.destroy(run);

    for (int i = 0; i < 3; i++) {
        stage.bucket[i].width = sizes[i][0];
        stage.bucket[i].height = sizes[i][1];
        stage.bucket[i].frames = sizes[i][2];
        stage.bucket[i].fps = sizes[i][3];
    }
    assert_int_equal(mgi_dataset_world(ctx, 5, &stage.world, &ds), MGEN_OK);
    mgi_buckets b = buckets_of(&stage, ds, 64);
    run = begin(kind, &stage);
    for (int64_t step = 0; step < STEPS; step++) {
        const mgi_bucket *drawn = &mgi_buckets_draw(&b, 5, step)->bucket;
        mgen_report *report;
        assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
        assert_int_equal(kind->step(run, step, report), MGEN_OK);
        assert_int_equal((int64_t)reported(report, "width"), drawn->width);
        assert_int_equal((int64_t)reported(report, "height"), drawn->height);
        assert_int_equal((int64_t)reported(report, "frames"), drawn->frames);
        assert_int_equal((int64_t)reported(report, "batch"), drawn->batch);
        mgen_report_destroy(report);
    }
    for (int64_t i = 0; i < run->buckets.count; i++)
        assert_int_equal(run->buckets.list[i].latents.held, 1); /* it never validates */
    kind->destroy(run);

    stage.validate_every = 1;
    stage.validate_clips = 2 * stage.bucket_count - 1;
    run = begin(kind, &stage);
    for (int64_t i = 0; i < run->buckets.count; i++)
        assert_int_equal(run->buckets.list[i].latents.held, 2);
    mgen_report *report;
    assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
    assert_int_equal(kind->step(run, 0, report), MGEN_OK);
    double all = reported(report, "val_loss"), images = reported(report, "val_loss_images"),
           videos = reported(report, "val_loss_videos");
    assert_near(all, 0.4 * images + 0.6 * videos, 1e-9);
    assert_true(images > 0.0 && videos > 0.0 && images != videos);
    mgen_report_destroy(report);
    kind->destroy(run);
    mgi_buckets_free(ctx, &b);
    mgi_dataset_release(ds);
}

/* By the sample's number: nothing is said, a rate is, or none. */
static const char *const said[] = {"", "FPS-9 a wall", "a wall"};

static mgen_status read_said(void *user, uint64_t index, mgen_sample *sample)
{
    strcpy(sample->caption, said[index % 3]);
    return read_sample(user, index, sample);
}

/* Films of the host are told with their rate, or a bucket's, where the model's prompts are. */
static void test_rates(void **state)
{
    static const char *const told[3] = {"FPS-24 a wall", "FPS-12 a wall", "a wall"};
    const mgi_stage tae = tiny_autoencoder(1, 2);
    mgen_dataset_params params = MGEN_DATASET_PARAMS_INIT;
    mgi_dataset *ds;
    (void)state;
    struct mgi_stage_run *run = begin(&mgi_stage_autoencoder, &tae);
    assert_int_equal(mgi_stage_autoencoder.save(run), MGEN_OK);
    mgi_stage_autoencoder.destroy(run);
    params.width = params.height = 64;
    params.frames = 32;
    params.count = 6;
    params.read = read_said;
    params.fps = 24;
    assert_int_equal(mgi_dataset_host(ctx, &params, &ds), MGEN_OK);
    for (int prefix = 0; prefix < 2; prefix++) {
        mgi_stage stage = stage_of(-1.0);
        const mgi_stage_params p = {.stage = &stage, .dir = folder, .seed = 5, .dataset = ds};
        stage.bucket[1].fps = 12;
        stage.video.fps_prefix = prefix == 1;
        assert_int_equal(mgi_stage_text_to_video.create(ctx, &p, &run), MGEN_OK);
        for (int b = 0; b < 3; b++) {
            const mgi_bucket_data *d = &run->buckets.list[b];
            assert_int_equal(d->latents.clips + d->latents.held, 6); /* the last is held out */
            for (uint64_t i = 0; i < 6; i++) {
                const uint64_t k = i < 5 ? mgi_dataset_element(ds, 5, i) % 3 : 2;
                const char *want = k == 2 && prefix ? told[b] : said[k];
                assert_string_equal(d->latents.captions[i], want);
            }
        }
        mgi_stage_text_to_video.destroy(run);
    }
    mgi_dataset_release(ds);
}

/* An autoencoder learns from all of them, validates on all, and refuses sides that its network does not divide. */
static void test_autoencoder(void **state)
{
    static const int64_t sizes[3][3] = {{64, 48, 17}, {48, 96, 9}, {96, 48, 1}};
    mgi_stage stage = tiny_autoencoder(STEPS, 2);
    const struct mgi_stage_kind *kind = &mgi_stage_autoencoder;
    double psnr[2];
    int64_t seen = 0;
    (void)state;
    strcpy(stage.name, "in_buckets");
    stage.frames = 1;
    stage.image_every = stage.image_batch = 0;
    stage.images = 0.25;
    stage.bucket_count = 3;
    for (int i = 0; i < 3; i++)
        stage.bucket[i] = (mgi_bucket){.width = sizes[i][0],
                                       .height = sizes[i][1],
                                       .frames = sizes[i][2],
                                       .batch = i == 2 ? 4 : 0,
                                       .weight = 1.0};
    struct mgi_stage_run *run = begin(kind, &stage);
    for (int64_t step = 0; step < STEPS; step++) {
        mgen_report *report;
        int i = 0;
        assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
        assert_int_equal(kind->step(run, step, report), MGEN_OK);
        while (i < 3 && (int64_t)reported(report, "frames") != sizes[i][2])
            i++;
        assert_in_range(i, 0, 2);
        assert_int_equal((int64_t)reported(report, "width"), sizes[i][0]);
        assert_int_equal((int64_t)reported(report, "height"), sizes[i][1]);
        assert_int_equal((int64_t)reported(report, "batch"), i == 2 ? 4 : 2);
        seen |= 1 << i;
        mgen_report_destroy(report);
    }
    assert_int_equal(seen, 7);
    assert_int_equal(kind->save(run), MGEN_OK);
    kind->destroy(run);

    stage.validate_every = 1;
    for (int i = 0; i < 2; i++) { /* without the images it is another figure */
        mgen_report *report;
        stage.bucket_count = 3 - i;
        stage.images = i ? -1.0 : stage.images;
        run = begin(kind, &stage);
        assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
        assert_int_equal(kind->step(run, 0, report), MGEN_OK);
        psnr[i] = reported(report, "val_psnr");
        mgen_report_destroy(report);
        kind->destroy(run);
    }
    assert_true(psnr[0] > 0.0 && psnr[1] > 0.0 && psnr[0] != psnr[1]);

    const mgi_stage_params params = {.stage = &stage, .dir = folder, .seed = 5};
    stage.bucket[1].width = 52;
    assert_int_equal(kind->create(ctx, &params, &run), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "multiples of 8; the dataset's are 52 x 96"));
}

/* An image autoencoder learns from the frames of clips, each by itself. */
static void test_image_autoencoder(void **state)
{
    const struct mgi_stage_kind *kind = &mgi_stage_autoencoder;
    mgi_stage stage = tiny_autoencoder(STEPS, 2);
    double last = 0.0;
    bool clips = false;
    (void)state;
    strcpy(stage.name, "image_in_buckets");
    stage.tae.temporal = false;
    stage.frames = 1;
    stage.image_every = stage.image_batch = 0;
    stage.validate_every = STEPS;
    stage.bucket_count = 2;
    stage.bucket[0] = (mgi_bucket){.width = 64, .height = 48, .frames = 9, .weight = 1.0};
    stage.bucket[1] = (mgi_bucket){.width = 64, .height = 48, .frames = 1, .weight = 1.0};
    struct mgi_stage_run *run = begin(kind, &stage);
    for (int64_t step = 0; step < STEPS; step++) {
        mgen_report *report;
        assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
        assert_int_equal(kind->step(run, step, report), MGEN_OK);
        clips = clips || reported(report, "frames") == 9.0;
        last = reported(report, "loss");
        if (step == STEPS - 1)
            assert_true(reported(report, "val_psnr") > 0.0);
        mgen_report_destroy(report);
    }
    assert_true(clips && last > 0.0 && isfinite(last));
    assert_int_equal(kind->save(run), MGEN_OK);
    kind->destroy(run);
    mgi_tae tae;
    uint64_t hash;
    assert_int_equal(mgi_tae_open(ctx, folder, "image_in_buckets", &tae, &hash), MGEN_OK);
    assert_false(tae.config.temporal);
    assert_int_equal(mgi_tae_latent_frames(&tae.config, 9), 9);
    mgi_tae_finish(&tae);
}

static void assert_refused(const mgi_stage_params *params, const char *where, const char *why)
{
    struct mgi_stage_run *run;
    assert_int_equal(mgi_stage_kind_of(params->stage)->create(ctx, params, &run), MGEN_E_STATE);
    if (!strstr(mgen_last_error(ctx), where) || !strstr(mgen_last_error(ctx), why))
        fail_msg("'%s' does not say '%s' and '%s'", mgen_last_error(ctx), where, why);
}

/* A stage that starts from another's models has their weights. */
static void test_start_from(void **state)
{
    mgi_stage first = stage_of(0.4), second = tiny_text_to_video(STEPS, 2);
    const struct mgi_stage_kind *kind = &mgi_stage_text_to_video;
    mgi_stage_state before, after;
    struct mgi_stage_run *run;
    (void)state;
    strcpy(first.save_as, "first");
    run = begin(kind, &first);
    assert_int_equal(kind->step(run, 0, NULL), MGEN_OK);
    assert_int_equal(kind->save(run), MGEN_OK);

    strcpy(second.start_from, "first");
    second.video.guidance = 2.0f; /* may be another */
    struct mgi_stage_run *next = begin(kind, &second);
    kind->state(run, &before);
    kind->state(next, &after);
    for (int i = 0; i < before.modules; i++) {
        for (int64_t k = 0; k < before.module[i]->count; k++) {
            const mgi_tensor *ema = before.module[i]->params[k]->ema,
                             *value = after.module[i]->params[k]->value;
            for (int64_t j = 0; j < value->count; j++) /* saved in bf16 */
                assert_near(mgi_f32(value)[j], mgi_f32(ema)[j], fabs(mgi_f32(ema)[j]) / 256.0);
        }
    }
    kind->destroy(next);
    kind->destroy(run);

    const mgi_stage_params params = {
        .stage = &second, .dir = folder, .seed = 5, .cache_dir = folder};
    /* another configuration is refused with the field and both values */
    second.video.frames_max = 7; /* shorter than before */
    assert_refused(&params, "first_video_model.json is another", "\"frames_max\": 8 and 7");
    second.video.frames_max = 8;
    second.video.heads = 3; /* of the same shapes */
    assert_refused(&params, "first_video_model.json is another", "\"heads\": 2 and 3");
    second.video.heads = 2;
    second.video.patch_t = 2;
    assert_refused(&params, "first_video_model.json", "\"patch\": [1, 2, 2] and [2, 2, 2]");
    second.video.patch_t = 1;
    second.video.objective = MGI_VT_V_PREDICTION;
    assert_refused(&params, "first_video_model.json", "\"objective\": absent and \"v_prediction\"");
    second.video.objective = MGI_VT_FLOW;
    second.text[0].config.t5.buckets = 16;
    assert_refused(&params, "first_text_encoder.json", "\"buckets\": 8 and 16");
    second.text[0].config.t5.buckets = 8;
    strcpy(second.start_from, "nowhere");
    assert_int_equal(kind->create(ctx, &params, &run), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "needs the model of an earlier stage"));
}

/* So with autoencoders; but inflation, of an image autoencoder, is what it is for. */
static void test_start_autoencoder(void **state)
{
    mgi_stage image = tiny_autoencoder(STEPS, 1), second = tiny_autoencoder(STEPS, 1);
    const struct mgi_stage_kind *kind = &mgi_stage_autoencoder;
    const mgi_stage_params params = {.stage = &second, .dir = folder, .seed = 5};
    (void)state;
    strcpy(image.name, "image");
    image.tae.temporal = false;
    image.frames = 1;
    struct mgi_stage_run *run = begin(kind, &image);
    assert_int_equal(kind->save(run), MGEN_OK);
    kind->destroy(run);
    strcpy(second.start_from, "image");
    kind->destroy(begin(kind, &second));
    second.tae.channels[1] = 8;
    assert_refused(&params, "image.json is another", "\"channels\": [4, 6, 8, 8] and [4, 8, 8, 8]");
    second.tae.channels[1] = 6;
    second.tae.latent_channels = 6;
    assert_refused(&params, "image.json is another", "\"latent_channels\": 4 and 6");
    second.tae.latent_channels = 4;
    /* a decoder may be wider than it was, not narrower */
    memcpy(second.tae.decoder_channels, (int64_t[]){8, 6, 8, 12}, 4 * sizeof(int64_t));
    kind->destroy(begin(kind, &second));
    second.tae.decoder_channels[1] = 4;
    assert_refused(&params, "image.json is another",
                   "\"decoder_channels\": absent and [8, 4, 8, 12]");
    second.tae.decoder_channels[1] = 6;
    second.tae.latent_channels = 6;
    assert_refused(&params, "image.json is another", "\"latent_channels\": 4 and 6");
}

static const mgi_tensor *find_value(struct mgi_stage_run *run, const char *name)
{
    mgi_stage_state state;
    mgi_stage_text_to_video.state(run, &state);
    for (int i = 0; i < state.modules; i++)
        for (int64_t k = 0; k < state.module[i]->count; k++)
            if (!strcmp(state.module[i]->params[k]->name, name))
                return state.module[i]->params[k]->value;
    fail_msg("there is no %s", name);
    return NULL;
}

/* Of a table that is `times` as long: each old row stands for as many new ones, whose middles lie between the middles
 * of old rows; beyond the outermost ones nothing changes. */
static void assert_stretched(const mgi_tensor *from, const mgi_tensor *to, int64_t times)
{
    static const double shares[4][3] = {[2] = {-0.25, 0.25}, [3] = {-1.0 / 3.0, 0.0, 1.0 / 3.0}};
    int64_t n = from->dims[0], d = from->dims[1];
    assert_int_equal(to->dims[0], times * n);
    for (int64_t i = 0; i < times * n; i++) {
        double share = shares[times][i % times];
        int64_t row = i / times, other = share < 0.0 ? row - 1 : row + 1;
        if (other < 0 || other == n)
            other = row;
        for (int64_t k = 0; k < d; k++) {
            double x = (double)mgi_f32(from)[row * d + k], y = (double)mgi_f32(from)[other * d + k];
            assert_near(mgi_f32(to)[i * d + k], x + fabs(share) * (y - x), 1e-6);
        }
    }
}

/* Position tables may grow, in time too: two and three times as long. */
static void test_growth(void **state)
{
    static const char *const tables[] = {"pos.frame", "pos.row", "pos.column"};
    mgi_stage small = tiny_text_to_video(STEPS, 2);
    const struct mgi_stage_kind *kind = &mgi_stage_text_to_video;
    (void)state;
    strcpy(small.save_as, "small");
    struct mgi_stage_run *a = begin(kind, &small);
    assert_int_equal(kind->save(a), MGEN_OK);
    kind->destroy(a);
    strcpy(small.start_from, "small"); /* rounded to bf16 */
    a = begin(kind, &small);
    for (int64_t times = 2; times <= 3; times++) {
        mgi_stage large = small;
        large.video.frames_max *= times;
        large.video.rows_max *= times;
        large.video.columns_max *= times;
        struct mgi_stage_run *b = begin(kind, &large);
        for (int i = 0; i < 3; i++)
            assert_stretched(find_value(a, tables[i]), find_value(b, tables[i]), times);
        const mgi_tensor *same = find_value(a, "block0.attn.qkv.weight");
        assert_memory_equal(mgi_f32(same), mgi_f32(find_value(b, "block0.attn.qkv.weight")),
                            (size_t)same->count * sizeof(float));
        kind->destroy(b);
    }
    /* one of them alone leaves the others as they are */
    mgi_stage longer = small;
    longer.video.frames_max *= 3;
    struct mgi_stage_run *b = begin(kind, &longer);
    assert_stretched(find_value(a, "pos.frame"), find_value(b, "pos.frame"), 3);
    const mgi_tensor *rows = find_value(a, "pos.row");
    assert_memory_equal(mgi_f32(rows), mgi_f32(find_value(b, "pos.row")),
                        (size_t)rows->count * sizeof(float));
    kind->destroy(a);
    kind->destroy(b);
}

/* Smaller patches begin with the sum of what their places weighed, and with the mean of what was predicted for them. */
static void test_finer_patches(void **state)
{
    mgi_stage coarse = tiny_text_to_video(STEPS, 2);
    const struct mgi_stage_kind *kind = &mgi_stage_text_to_video;
    (void)state;
    strcpy(coarse.save_as, "coarse");
    struct mgi_stage_run *a = begin(kind, &coarse);
    for (int64_t i = 0; i < 2; i++) { /* the head begins as zeros */
        mgen_report *report;
        assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
        assert_int_equal(kind->step(a, i, report), MGEN_OK);
        mgen_report_destroy(report);
    }
    assert_int_equal(kind->save(a), MGEN_OK);
    kind->destroy(a);
    strcpy(coarse.start_from, "coarse"); /* rounded to bf16 */
    a = begin(kind, &coarse);
    mgi_stage fine = coarse;
    fine.video.patch_h = 1;
    fine.video.rows_max *= 2;
    struct mgi_stage_run *b = begin(kind, &fine);
    assert_stretched(find_value(a, "pos.row"), find_value(b, "pos.row"), 2);
    const mgi_tensor *in = find_value(a, "patch.weight"), *fine_in = find_value(b, "patch.weight");
    const mgi_tensor *out = find_value(a, "head.weight"), *fine_out = find_value(b, "head.weight");
    const int64_t d = in->dims[0], c = coarse.video.channels, half = 2 * c;
    double largest = 0.0;
    assert_int_equal(fine_in->dims[1], half);
    assert_int_equal(fine_out->dims[0], half);
    for (int64_t i = 0; i < d; i++)
        for (int64_t k = 0; k < half; k++) { /* places of a patch: row, column, channel */
            const float *x = mgi_f32(in) + i * 2 * half;
            assert_near(mgi_f32(fine_in)[i * half + k], x[k] + x[half + k], 1e-6);
            const float upper = mgi_f32(out)[k * d + i], lower = mgi_f32(out)[(half + k) * d + i];
            assert_near(mgi_f32(fine_out)[k * d + i], (upper + lower) / 2, 1e-6);
            largest = fmax(largest, fabs((double)upper));
        }
    assert_true(largest > 1e-4);
    kind->destroy(b);
    kind->destroy(a);
}

/* Clips longer than the TAE's tiles are encoded as films are: tile by tile. */
static void test_tiles(void **state)
{
    enum { FRAMES = 32, TILE = 16, SIDE = 64 };
    mgi_tae_config config = tiny_autoencoder(1, 1).tae;
    const mgi_world_options options = {
        .width = SIDE, .height = SIDE, .frames = FRAMES, .scale = 1.0f};
    uint8_t *pixels = test_malloc(FRAMES * SIDE * SIDE * 3);
    char caption[MGI_CAPTION_SIZE];
    mgi_latents l, whole;
    double apart = 0.0;
    mgi_dataset *ds;
    mgi_tae tae;
    mgi_run run;
    (void)state;
    assert_int_equal(mgi_dataset_world(ctx, 5, &options, &ds), MGEN_OK);
    assert_int_equal(mgi_tae_init(&tae, ctx, &config), MGEN_OK);
    assert_int_equal(mgi_module_random(&tae.module, 1), MGEN_OK);
    const mgi_latents_request q = {
        .tae = &tae, .dataset = ds, .seed = 3, .frames = FRAMES, .clips = 2, .held = 1};
    for (int64_t k = 0; k < tae.module.count;
         k++) { /* the temporal part begins as if there were none */
        mgi_tensor *t = tae.module.params[k]->value;
        for (int64_t i = 0; i < t->count; i++)
            mgi_f32(t)[i] += 0.05f * mgi_random_normal(8, (uint64_t)k, (uint64_t)i);
    }
    assert_int_equal(mgi_latents_make(ctx, &q, &whole), MGEN_OK);
    tae.config.tile_frames = TILE;
    tae.config.tile_overlap = 8;
    assert_int_equal(mgi_latents_make(ctx, &q, &l), MGEN_OK);
    assert_int_equal(l.size, whole.size);

    assert_int_equal(
        mgi_dataset_piece(ctx, ds, mgi_dataset_element(ds, 3, 1), 0, FRAMES, pixels, caption),
        MGEN_OK);
    float *got = test_malloc((size_t)l.size / 2 * sizeof *got);
    mgi_run_init(&run, ctx, false);
    for (int64_t i = 0; i < FRAMES / TILE; i++) {
        T *u8 = mgi_new(&run, MGK_U8, MGI_DIMS(1, TILE, SIDE, SIDE, 3));
        assert_non_null(u8);
        mgi_tensor_write(u8, 0, pixels + i * u8->count, u8->count);
        T *x = mgi_convert(&run, u8, MGK_F32, 1.0f / 127.5f, -1.0f);
        T *z = mgi_posterior(&run, mgi_tae_encode(&run, &tae, x), NULL, 0.0f, NULL);
        assert_int_equal(z->count, l.size / 2);
        assert_int_equal(mgi_tae_normalised(&tae, z, got), MGEN_OK);
        const float *made = l.rows.values + l.size + i * z->count,
                    *other = whole.rows.values + whole.size + i * z->count;
        for (int64_t k = 0; k < z->count; k++) {
            assert_near((double)made[k], (double)got[k], 1e-4);
            apart = fmax(apart, fabs((double)made[k] - (double)other[k]));
        }
    }
    assert_true(apart > 1e-2); /* what the end of a tile shows depends on it */
    mgi_run_finish(&run);
    test_free(got);
    test_free(pixels);
    mgi_latents_free(ctx, &whole);
    mgi_latents_free(ctx, &l);
    mgi_tae_finish(&tae);
    mgi_dataset_release(ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shares),
                                       cmocka_unit_test(test_one),
                                       cmocka_unit_test(test_finite),
                                       cmocka_unit_test(test_stage),
                                       cmocka_unit_test(test_rates),
                                       cmocka_unit_test(test_autoencoder),
                                       cmocka_unit_test(test_start_from),
                                       cmocka_unit_test(test_start_autoencoder),
                                       cmocka_unit_test(test_image_autoencoder),
                                       cmocka_unit_test(test_growth),
                                       cmocka_unit_test(test_finer_patches),
                                       cmocka_unit_test(test_tiles)};
    return cmocka_run_group_tests_name("buckets", tests, make_folder_context,
                                       remove_folder_context);
}
