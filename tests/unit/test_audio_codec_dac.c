/* SPDX-License-Identifier: MIT
 * Descript Audio Codecs in folders of transformers: against what transformers makes of the same folder (the fixtures of
 * dac/make_dac.py), trained on, and damaged. */
#include "model/audio_codec_dac.h"
#include "train/stage.h"

#include <math.h>
#include <moviegen.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tiny_stages.h"

#include "golden_folder.h"

static int set_up(void **state)
{
    (void)state;
    return begin_golden("dac");
}

static T *golden_tensor(mgi_run *run, const char *name)
{
    const mgi_st_entry *e = mgi_st_find(&golden, name);
    assert_non_null(e);
    T *t = mgi_new(run, MGK_F32, MGI_DIMS(1, e->dims[0], e->dims[1]));
    assert_non_null(t);
    OK(mgi_st_read_f32(ctx, e, mgi_f32(t), t->count));
    return t;
}

static void assert_near(const T *a, const T *b)
{
    double most = 0.0, size = 0.0;
    assert_non_null(a);
    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        most = fmax(most, fabs((double)mgi_f32(a)[i] - (double)mgi_f32(b)[i]));
        size = fmax(size, fabs((double)mgi_f32(b)[i]));
    }
    if (!(most < 1e-5 * size))
        fail_msg("differs by %g, of %g", most, size);
}

/* The 1x1 convolutions, which are not theirs, pass on what they are given: moments are their hidden channels, and latents
 * the first half of what their decoder is given. */
static void identities(mgi_audio_codec *codec)
{
    int64_t c = codec->config.latent_channels;
    float *in = mgi_f32(codec->encoder.mix.w->value), *out = mgi_f32(codec->decoder.mix.w->value);
    for (int64_t i = 0; i < 2 * c; i++)
        for (int64_t j = 0; j < 2 * c; j++)
            in[i * 2 * c + j] = i == j;
    for (int64_t i = 0; i < 2 * c; i++)
        for (int64_t j = 0; j < c; j++)
            out[i * c + j] = i == j;
}

static void test_golden(void **state)
{
    (void)state;
    mgi_audio_codec_dac d;
    mgi_audio_codec codec;
    mgi_run run;
    OK(mgi_audio_codec_dac_open(ctx, folder, "dac", &d));
    const mgi_audio_codec_config *c = &d.config;
    assert_true(c->levels == 2 && c->strides[0] == 2 && c->strides[1] == 4 && c->hidden == 6);
    assert_true(c->dim == 2 && c->decoder_dim == 12 && c->rate == 44100 && d.hash != 0);
    d.config.latent_channels = 3;
    OK(mgi_audio_codec_init(&codec, ctx, &d.config));
    OK(mgi_audio_codec_random(&codec, 1));
    OK(mgi_audio_codec_dac_load(&codec, &d));
    mgi_audio_codec_dac_close(ctx, &d);
    identities(&codec);
    for (int64_t i = 3; i < 6; i++)
        mgi_f32(codec.encoder.mix.b->value)[i] = 0.0f;
    mgi_run_init(&run, ctx, false);
    assert_near(mgi_audio_codec_encode(&run, &codec, golden_tensor(&run, "x")),
                golden_tensor(&run, "h"));
    /* The other half of their input comes as what the 1x1 adds, which is alike at all places: so is their z. */
    T *z = golden_tensor(&run, "z"), *half = mgi_slice(&run, z, 2, 0, 3);
    for (int64_t i = 3; i < 6; i++)
        mgi_f32(codec.decoder.mix.b->value)[i] = mgi_f32(z)[i];
    assert_near(mgi_audio_codec_decode(&run, &codec, half), golden_tensor(&run, "y"));
    assert_int_equal(run.status, MGEN_OK);
    mgi_run_finish(&run);
    mgi_audio_codec_finish(&codec);
}

static mgi_stage dac_stage(void)
{
    static const mgi_audio_codec_config config = {.levels = 2,
                                                  .strides = {2, 4},
                                                  .dim = 2,
                                                  .decoder_dim = 12,
                                                  .latent_channels = 5,
                                                  .dilations = 3,
                                                  .dilation = {1, 3, 9},
                                                  .hidden = 6,
                                                  .rate = 48000};
    mgi_stage stage = tiny_audio_codec(2, 2);
    stage.sound.codec = config;
    stage.frames = 100;
    stage.gan = 0.0;
    strcpy(stage.start_from, "dac");
    return stage;
}

static mgen_status begin(const mgi_stage *stage, struct mgi_stage_run **run)
{
    const mgi_stage_params params = {.stage = stage, .dir = folder, .seed = 5};
    return mgi_stage_kind_of(stage)->create(ctx, &params, run);
}

/* A stage begins with its weights, and trains. */
static void test_training(void **state)
{
    (void)state;
    mgi_stage stage = dac_stage();
    struct mgi_stage_run *run;
    mgi_stage_state s;
    const mgi_st_entry *e;
    mgi_audio_codec_dac d;
    float theirs[14];
    OK(begin(&stage, &run));
    mgi_stage_kind_of(&stage)->state(run, &s);
    OK(mgi_audio_codec_dac_open(ctx, folder, "dac", &d));
    e = mgi_st_set_find(&d.weights, "encoder.conv1.weight"); /* of one channel: as here */
    assert_non_null(e);
    OK(mgi_st_read_f32(ctx, e, theirs, 14));
    assert_string_equal(s.module[0]->params[0]->name, "encoder.in.weight");
    assert_memory_equal(mgi_f32(s.module[0]->params[0]->value), theirs, sizeof theirs);
    mgi_audio_codec_dac_close(ctx, &d);
    for (int64_t i = 0; i < stage.steps; i++)
        OK(mgi_stage_kind_of(&stage)->step(run, i, NULL));
    mgi_stage_kind_of(&stage)->destroy(run);
    stage.sound.codec.dim = 3;
    assert_said(begin(&stage, &run), MGEN_E_STATE, "\"dim\"");
}

static void test_refused(void **state)
{
    static const struct {
        const char *file, *old, *new, *said;
        mgen_status status;
    } damage[] = {
        {"dac/config.json", "\"model_type\": \"dac\"", "\"model_type\": \"mimi\"",
         "of audio codecs \"dac\" is read", MGEN_E_UNSUPPORTED},
        {"dac/config.json", "    4,\n    2\n", "    2,\n    4\n", "\"upsampling_ratios\" are not",
         MGEN_E_UNSUPPORTED},
        {"dac/config.json", "\"decoder_hidden_size\": 12", "\"decoder_hidden_size\": 16",
         "config.json asks for", MGEN_E_CORRUPT},
        {"dac/config.json", "\"decoder_hidden_size\": 12", "\"decoder_hidden_size\": 10",
         "must be a multiple of 4", MGEN_E_CORRUPT},
        {"dac/config.json", "\"hidden_size\": 6", "\"hidden_size\": 0", "\"hidden_size\"",
         MGEN_E_CORRUPT},
        {"dac/model.safetensors", "\"decoder.snake1.alpha\"", "\"decoder.snake7.alpha\"",
         "tensor \"decoder.snake1.alpha\" is missing", MGEN_E_CORRUPT},
        {"dac/model.safetensors", "\"quantizer.", "\"quantised.", "is no part of the audio codec",
         MGEN_E_CORRUPT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        mgi_audio_codec_dac d;
        edit(damage[i].file, damage[i].old, damage[i].new);
        assert_said(mgi_audio_codec_dac_open(ctx, folder, "dac", &d), damage[i].status,
                    damage[i].said);
        fresh_folders();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, set_up, end_golden);
}
