/* SPDX-License-Identifier: MIT
 * What an audio codec is trained by: spectra against their definition, discriminators, the stage. */
#include "core/philox.h"
#include "kernels/loss/loss.h"
#include "model/audio_codec.h"
#include "train/sound_loss.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "stage_runs.h"

/* -- spectra ------------------------------------------------------------------------------------ */

enum { WINDOW = 32, HOP = 8, RATE = 48000, SOUND = 100 };

static double sample(const T *x, int64_t i)
{
    return i < 0 || i >= SOUND / HOP * HOP ? 0.0 : (double)mgi_f32(x)[i];
}

/* Real and imaginary part of bin k of frame f. */
static void plain_bin(const T *x, int64_t f, int64_t k, double out[2])
{
    const double turn = 2.0 * acos(-1.0);
    out[0] = out[1] = 0.0;
    for (int64_t i = 0; i < WINDOW; i++) {
        double hann = 0.5 - 0.5 * cos(turn * ((double)i + 0.5) / WINDOW);
        double v = 4.0 / WINDOW * hann * sample(x, (f - 1) * HOP + i);
        out[0] += v * cos(turn * (double)(k * i) / WINDOW);
        out[1] -= v * sin(turn * (double)(k * i) / WINDOW);
    }
}

static T *sound_of(mgi_run *run, double amplitude, double cycles)
{
    T *x = mgi_new(run, MGK_F32, MGI_DIMS(1, SOUND, 1));
    assert_non_null(x);
    for (int64_t i = 0; i < SOUND; i++)
        mgi_f32(x)[i] = (float)(amplitude * cos(2.0 * acos(-1.0) * cycles * (double)i / WINDOW));
    return x;
}

static void test_spectrum(void **state)
{
    (void)state;
    mgi_spectrum s;
    mgi_run run;
    OK(mgi_spectrum_init(&s, ctx, WINDOW, RATE, RATE, 5, 1e-6));
    assert_int_equal(s.bins, WINDOW / 2 + 1);
    mgi_run_init(&run, ctx, false);
    T *x = sound_of(&run, 0.3, 5.0), *y = mgi_spectrum_of(&run, &s, x);
    assert_int_equal(run.status, MGEN_OK);
    assert_int_equal(y->dims[1], SOUND / HOP);
    for (int64_t f = 0; f < y->dims[1]; f++)
        for (int64_t k = 0; k < s.bins; k++) {
            double want[2];
            plain_bin(x, f, k, want);
            for (int i = 0; i < 2; i++)
                assert_float_equal(mgi_f32(y)[(f * s.bins + k) * 2 + i], want[i], 1e-6);
        }
    const float *bin = mgi_f32(y) + (5 * s.bins + 5) * 2;
    assert_float_equal(hypotf(bin[0], bin[1]), 0.3f, 1e-4f);

    /* a band's value is the mean power of its bins; no band is empty, and silence is 0 */
    T *mel = mgi_spectrum_mel(&run, &s, x);
    for (int64_t f = 0; f < y->dims[1]; f++)
        for (int64_t b = 0; b < s.bands; b++) {
            double power = 0.0, weights = 0.0;
            for (int64_t k = 0; k < s.bins; k++) {
                double w = (double)mgi_f32(s.mel)[(b * s.bins + k) * 2], bin_of[2];
                plain_bin(x, f, k, bin_of);
                power += w * (bin_of[0] * bin_of[0] + bin_of[1] * bin_of[1]);
                weights += w;
            }
            assert_float_equal(weights, 1e6, 1.0);
            assert_float_equal(mgi_f32(mel)[f * s.bands + b], log(1.0 + power), 1e-3);
        }
    mel = mgi_spectrum_mel(&run, &s, sound_of(&run, 0.0, 1.0));
    for (int64_t i = 0; i < mel->count; i++)
        assert_float_equal(mgi_f32(mel)[i], 0.0f, 0.0f);
    mgi_run_finish(&run);
    mgi_spectrum_finish(&s);
}

/* -- the stage ---------------------------------------------------------------------------------- */

static const char *const judged[] = {"val_mel", "val_snr"};

/* Trains and saves; the first and the last of what is `judged`. */
static void train_judged(const mgi_stage *stage, double first[2], double last[2])
{
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(stage);
    struct mgi_stage_run *run = begin(stage);
    first[0] = first[1] = last[0] = last[1] = NAN;
    for (int64_t i = 0; i < stage->steps; i++) {
        mgen_report *report;
        OK(mgi_report_create(ctx, &report));
        OK(kind->step(run, i, report));
        for (int j = 0; j < 2; j++) {
            last[j] = reported_or(report, judged[j], last[j]);
            first[j] = isnan(first[j]) ? last[j] : first[j];
        }
        mgen_report_destroy(report);
    }
    OK(kind->save(run));
    kind->destroy(run);
}

/* It learns, alone and against discriminators, and saves latents that have the mean 0 and the deviation 1. */
static void test_stage(void **state)
{
    (void)state;
    for (int adversarial = 0; adversarial < 2; adversarial++) {
        mgi_stage stage = tiny_audio_codec(80, 2);
        mgi_audio_codec codec;
        double first[2], last[2];
        uint64_t hash;
        stage.validate_every = 20;
        stage.optimizer.lr = 0.005;
        stage.l1 = 30.0;
        if (!adversarial)
            stage.gan = 0.0;
        else
            stage.sound.mel_squares = 0.5;
        train_judged(&stage, first, last);
        if (!(last[0] < 0.9 * first[0] && last[1] > first[1]))
            fail_msg("mel %g -> %g, snr %g -> %g", first[0], last[0], first[1], last[1]);
        OK(mgi_audio_codec_open(ctx, folder, stage.name, &codec, &hash));
        const int64_t c = codec.config.latent_channels;
        float scale = 0.0f;
        for (int64_t i = 0; i < c; i++)
            scale = fmaxf(scale, fabsf(mgi_f32(codec.latent_scale->value)[i] - 1.0f));
        assert_true(scale > 0.01f);
        mgi_audio_codec_finish(&codec);
    }
}

/* Features of what is alike are alike; of all scales and layers the discriminators' gradients are not 0. */
static void test_discriminators(void **state)
{
    static const int64_t windows[] = {64, 256};
    (void)state;
    mgi_sound_discriminator d;
    mgi_run run;
    OK(mgi_sound_discriminator_init(&d, ctx, windows, 2, 4));
    OK(mgi_module_random(&d.module, 3));
    OK(mgi_module_train(&d.module));
    mgi_run_init(&run, ctx, true);
    T *x = mgi_new(&run, MGK_F32, MGI_DIMS(2, 512, 1)), *sum = NULL;
    for (int64_t i = 0; i < x->count; i++)
        mgi_f32(x)[i] = 0.1f * mgi_random_normal(3, 1, (uint64_t)i);
    for (int i = 0; i < 2; i++) {
        T *out[MGI_SOUND_DISCRIMINATOR_LAYERS];
        mgi_sound_discriminate(&run, &d, i, x, true, out);
        assert_int_equal(run.status, MGEN_OK);
        T *verdict = out[MGI_SOUND_DISCRIMINATOR_LAYERS - 1];
        assert_int_equal(verdict->dims[1], 512 * 4 / windows[i]);
        assert_int_equal(verdict->dims[2], windows[i] / 16 + 1);
        assert_int_equal(verdict->dims[3], 1);
        T *loss = mgi_loss(&run, MGK_LOSS_HINGE_REAL, 1.0f, verdict, NULL);
        sum = sum ? mgi_add(&run, sum, loss) : loss;
    }
    assert_int_equal(mgi_backward(&run, sum), MGEN_OK);
    mgi_run_finish(&run);
    for (int64_t k = 0; k < d.module.count; k++) {
        const T *grad = d.module.params[k]->value->var->grad;
        double size = 0.0;
        for (int64_t i = 0; i < grad->count; i++)
            size += (double)mgi_f32(grad)[i] * (double)mgi_f32(grad)[i];
        assert_true(size > 0.0);
    }
    mgi_sound_discriminator_finish(&d);
}

/* -- recipes ------------------------------------------------------------------------------------ */

static mgen_status read_recipe(const char *members, mgi_stage *out)
{
    char path[256];
    snprintf(path, sizeof path, "%s/recipe.json", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "{\"format\":\"moviegen-recipe\",\"version\":1,\"stages\":[{\"name\":\"codec\","
            "\"kind\":\"audio_codec\",\"steps\":5,\"batch\":2,\"optimizer\":{\"lr\":0.001},"
            "\"codec\":{\"strides\":[8,8],\"dim\":4,\"decoder_dim\":16,\"latent_channels\":3,"
            "\"dilations\":[1]}%s}]}",
            members);
    fclose(f);
    return mgi_recipe_stage(ctx, path, "codec", out);
}

static void test_recipe(void **state)
{
    static const struct {
        const char *members, *said;
    } refused[] = {
        {",\"freeze_encoder\":true", "\"freeze_encoder\" needs \"start_from\""},
        {",\"mel\":{\"weight\":1,\"windows\":[30]}", "no multiple of 4 from 16 to 16384"},
        {",\"mel\":{\"weight\":1,\"windows\":[]}", "\"windows\" must be a list of 1 to 8"},
        {",\"frames\":4,\"mel\":{\"weight\":1}", "more than 4 times the 256 samples of a piece"},
        {",\"discriminator\":{\"weight\":1,\"start\":0}", "\"optimizer\""},
        {",\"tae\":{}", "\"tae\""},
    };
    (void)state;
    mgi_stage s;
    OK(read_recipe(
        ",\"mel\":{\"weight\":3,\"squares\":4},\"discriminator\":{\"weight\":1,\"features\":2,"
        "\"start\":9,\"windows\":[512],\"optimizer\":{\"lr\":0.002}}",
        &s));
    assert_int_equal(s.kind, MGI_STAGE_AUDIO_CODEC);
    assert_int_equal(s.frames, 24);
    assert_int_equal(s.sound.mel_windows, 6);
    assert_int_equal(s.sound.mel_bands, 320);
    assert_int_equal(s.sound.mel_window[0], 2048);
    assert_true(s.sound.mel == 3.0 && s.sound.mel_squares == 4.0 && s.sound.features == 2.0 &&
                s.gan == 1.0);
    assert_true(s.sound.gan_windows == 1 && s.sound.gan_window[0] == 512 && s.gan_start == 9);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(read_recipe(refused[i].members, &s), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), refused[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), refused[i].said);
    }
    /* sounds have one rate */
    struct mgi_stage_run *run;
    s = tiny_audio_codec(1, 1);
    s.sound.codec.rate = 16000;
    assert_int_equal(create_on(&s, NULL, &run), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "48000 samples a second"));
    s = tiny_audio_codec(1, 1);
    strcpy(s.start_from, "nothing");
    assert_int_equal(create_on(&s, NULL, &run), MGEN_E_STATE);
}

/* A decoder that learns alone; and a start from another network is refused with what differs. */
static void test_start(void **state)
{
    (void)state;
    mgi_stage stage = tiny_audio_codec(2, 2);
    mgi_audio_codec before, after;
    uint64_t hash;
    double first[2], last[2];
    stage.gan = 0.0;
    strcpy(stage.name, "first");
    train_judged(&stage, first, last);
    strcpy(stage.start_from, "first");
    strcpy(stage.name, "second");
    stage.freeze_encoder = true;
    train_judged(&stage, first, last);
    OK(mgi_audio_codec_open(ctx, folder, "first", &before, &hash));
    OK(mgi_audio_codec_open(ctx, folder, "second", &after, &hash));
    int64_t moved = 0;
    for (int64_t k = 0; k < before.module.count; k++) {
        const mgi_param *a = before.module.params[k], *b = after.module.params[k];
        bool same =
            !memcmp(mgi_f32(a->value), mgi_f32(b->value), (size_t)a->value->count * sizeof(float));
        if (!same && strncmp(a->name, "decoder.", 8))
            fail_msg("%s has changed", a->name);
        moved += !same;
    }
    assert_true(moved > 0);
    mgi_audio_codec_finish(&before);
    mgi_audio_codec_finish(&after);
    struct mgi_stage_run *run;
    stage.sound.codec.hidden = 9;
    assert_int_equal(create_on(&stage, NULL, &run), MGEN_E_STATE);
    assert_non_null(strstr(mgen_last_error(ctx), "hidden"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spectrum), cmocka_unit_test(test_discriminators),
        cmocka_unit_test(test_stage),    cmocka_unit_test(test_recipe),
        cmocka_unit_test(test_start),
    };
    return cmocka_run_group_tests(tests, make_context_and_folder, free_context_and_folder);
}
