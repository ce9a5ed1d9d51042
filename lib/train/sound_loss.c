/* SPDX-License-Identifier: MIT */
#include "train/sound_loss.h"

#include "dist/collective.h"
#include "kernels/loss/loss.h"

#include <string.h>

enum { LAYERS = MGI_SOUND_DISCRIMINATOR_LAYERS, VERDICT = LAYERS - 1 };

/* Mel bands of a window. */
static int64_t bands_of(const mgi_audio_codec_recipe *s, int64_t window)
{
    int64_t bands = window * s->mel_bands / MGI_MEL_WINDOW;
    return bands < 2 ? 2 : bands;
}

static mgen_status make_mel(mgi_sound_loss *l)
{
    const mgi_audio_codec_recipe *s = &l->stage->sound;
    for (; s->mel > 0.0 && l->mels < s->mel_windows; l->mels++)
        MGI_TRY(mgi_spectrum_init(&l->mel[l->mels], l->ctx, s->mel_window[l->mels],
                                  (double)s->codec.rate, s->mel_highest,
                                  bands_of(s, s->mel_window[l->mels]), s->mel_floor));
    return MGEN_OK;
}

static mgen_status make_discriminator(mgi_sound_loss *l, const mgi_stage_params *params)
{
    const mgi_stage *s = l->stage;
    MGI_TRY(mgi_sound_discriminator_init(&l->discriminator, l->ctx, s->sound.gan_window,
                                         s->sound.gan_windows, s->gan_channels));
    return mgi_adversary_init(&l->adversary, l->ctx, params, s, &l->discriminator.module);
}

mgen_status mgi_sound_loss_init(mgi_sound_loss *l, const mgi_stage_params *params,
                                const mgi_stage *stage, mgen_context *ctx)
{
    memset(l, 0, sizeof *l);
    l->ctx = ctx;
    l->stage = stage;
    mgen_status status = make_mel(l);
    if (status == MGEN_OK && stage->gan > 0.0)
        status = make_discriminator(l, params);
    if (status != MGEN_OK)
        mgi_sound_loss_finish(l);
    return status;
}

void mgi_sound_loss_finish(mgi_sound_loss *l)
{
    for (int i = 0; i < l->mels; i++)
        mgi_spectrum_finish(&l->mel[i]);
    l->mels = 0;
    mgi_adversary_finish(&l->adversary);
    mgi_sound_discriminator_finish(&l->discriminator);
}

/* a + b, of which either may be missing. */
static T *plus(mgi_run *run, T *a, T *b)
{
    return a && b ? mgi_add(run, a, b) : a ? a : b;
}

T *mgi_sound_loss_mel(const mgi_sound_loss *l, mgi_run *run, float weight, float squares, T *y,
                      T *x)
{
    const float each = 1.0f / (float)l->mels;
    T *sum = NULL;
    for (int i = 0; i < l->mels; i++) {
        T *made = mgi_spectrum_mel(run, &l->mel[i], y),
          *real = mgi_spectrum_mel(run, &l->mel[i], x);
        sum = plus(run, sum, mgi_loss(run, MGK_LOSS_L1, each * weight, made, real));
        if (squares > 0.0f)
            sum = plus(run, sum, mgi_loss(run, MGK_LOSS_MSE, each * squares, made, real));
    }
    return run->status == MGEN_OK ? sum : NULL;
}

/* What y differs from x by. */
static T *compare(const mgi_sound_loss *l, mgi_run *run, float weight, T *y, T *x, T *sums)
{
    const mgi_stage *s = l->stage;
    T *part[] = {mgi_loss(run, MGK_LOSS_L1, weight * (float)s->l1, y, x),
                 mgi_loss(run, MGK_LOSS_MSE, weight * (float)s->mse, y, x),
                 mgi_sound_loss_mel(l, run, weight * (float)s->sound.mel,
                                    weight * (float)s->sound.mel_squares, y, x)};
    mgi_stage_sum(run, part, l->mels ? 3 : 2, sums, MGI_SOUND_LOSS_L1);
    return plus(run, mgi_add(run, part[0], part[1]), part[2]);
}

/* What the discriminators say of y, and how differently they see it. */
static T *fool(const mgi_sound_loss *l, mgi_run *run, float weight, T *y, T *x, T *sums)
{
    const mgi_stage *s = l->stage;
    const int scales = l->discriminator.scales;
    T *fooled = NULL, *seen = NULL;
    for (int i = 0; i < scales; i++) {
        T *real[LAYERS], *made[LAYERS];
        float share = weight / (float)scales, each = share / (float)VERDICT;
        mgi_sound_discriminate(run, &l->discriminator, i, x, false, real);
        mgi_sound_discriminate(run, &l->discriminator, i, y, false, made);
        fooled = plus(run, fooled,
                      mgi_loss(run, MGK_LOSS_HINGE_GENERATOR, share * (float)s->gan,
                               mgi_cast(run, made[VERDICT], MGK_F32), NULL));
        for (int k = 0; k < VERDICT && s->sound.features > 0.0; k++)
            seen = plus(run, seen,
                        mgi_loss(run, MGK_LOSS_L1, each * (float)s->sound.features,
                                 mgi_cast(run, made[k], MGK_F32), mgi_cast(run, real[k], MGK_F32)));
    }
    mgi_stage_sum(run, &fooled, 1, sums, MGI_SOUND_LOSS_GENERATOR);
    if (seen)
        mgi_stage_sum(run, &seen, 1, sums, MGI_SOUND_LOSS_FEATURES);
    return plus(run, fooled, seen);
}

/* The discriminators' own gradients. */
static void discriminate(mgi_sound_loss *l, mgi_run *run, float weight, bool last, T *x, T *y,
                         T *sums)
{
    const int scales = l->discriminator.scales;
    mgi_run side;
    T *made = NULL, *sum = NULL;
    if (run->status != MGEN_OK || !mgi_ok(run, mgi_tensor_rows(y, 0, y->dims[0], &made)))
        return;
    mgi_run_init(&side, run->ctx, true);
    if (last)
        mgi_dp_begin(&l->adversary.parallel, &side, true);
    made = mgi_scope_add(&side, made);
    for (int i = 0; i < 2 * scales; i++) {
        T *out[LAYERS];
        bool real = i % 2 == 0;
        mgi_sound_discriminate(&side, &l->discriminator, i / 2, real ? x : made, true, out);
        sum = plus(&side, sum,
                   mgi_loss(&side, real ? MGK_LOSS_HINGE_REAL : MGK_LOSS_HINGE_FAKE,
                            0.5f * weight / (float)scales, mgi_cast(&side, out[VERDICT], MGK_F32),
                            NULL));
    }
    mgi_backward(&side, sum);
    mgi_stage_sum(&side, &sum, 1, sums, MGI_SOUND_LOSS_DISCRIMINATOR);
    mgi_ok(run, side.status);
    mgi_run_finish(&side);
}

void mgi_sound_loss_pass(mgi_sound_loss *l, mgi_run *run, int64_t index, float weight, bool last,
                         T *x, T *y, T *kl, T *sums)
{
    const bool adversarial = mgi_adversary_acts(&l->adversary, index);
    T *total = y ? compare(l, run, weight, y, x, sums) : NULL;
    if (adversarial && total)
        total = plus(run, total, fool(l, run, weight, y, x, sums));
    total = mgi_add(run, total, kl);
    mgi_backward(run, total);
    mgi_stage_sum(run, &total, 1, sums, MGI_SOUND_LOSS_TOTAL);
    mgi_stage_sum(run, &kl, 1, sums, MGI_SOUND_LOSS_KL);
    if (adversarial)
        discriminate(l, run, weight, last, x, y, sums);
}

void mgi_sound_loss_report(const mgi_sound_loss *l, int64_t index,
                           const float sums[MGI_SOUND_LOSS_TERMS], mgen_report *report)
{
    mgi_report_add(report, "l1", sums[MGI_SOUND_LOSS_L1]);
    mgi_report_add(report, "mse", sums[MGI_SOUND_LOSS_MSE]);
    if (l->mels)
        mgi_report_add(report, "mel", sums[MGI_SOUND_LOSS_MEL]);
    mgi_report_add(report, "kl", sums[MGI_SOUND_LOSS_KL]);
    if (mgi_adversary_acts(&l->adversary, index)) {
        mgi_report_add(report, "generator", sums[MGI_SOUND_LOSS_GENERATOR]);
        mgi_report_add(report, "features", sums[MGI_SOUND_LOSS_FEATURES]);
        mgi_report_add(report, "discriminator", sums[MGI_SOUND_LOSS_DISCRIMINATOR]);
    }
}
