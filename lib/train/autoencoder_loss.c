/* SPDX-License-Identifier: MIT */
#include "train/autoencoder_loss.h"

#include "dist/collective.h"
#include "kernels/loss/loss.h"

#include <string.h>

/* Of the ratio of two gradients, as latent diffusion has it. */
#define RATIO_MAX 1e4f

static mgen_status make_discriminator(mgi_ae_loss *l, const mgi_stage_params *params)
{
    MGI_TRY(mgi_discriminator_init(&l->discriminator, l->ctx, l->stage->gan_channels));
    return mgi_adversary_init(&l->adversary, l->ctx, params, l->stage, &l->discriminator.module);
}

mgen_status mgi_ae_loss_sides(const mgi_ae_loss *l, int64_t height, int64_t width)
{
    int64_t least = l->stage->gan > 0.0 ? MGI_DISCRIMINATOR_SIDE : 1;
    int64_t factor = l->stage->perceptual > 0.0 ? (int64_t)1 << (l->perceptual.stages - 1) : 1;
    if (height < least || width < least)
        return mgi_fail(l->ctx, MGEN_E_INVALID,
                        "stage \"%s\" has a discriminator, which needs frames of %lld x %lld or "
                        "more; the dataset's are %lld x %lld",
                        l->stage->name, (long long)least, (long long)least, (long long)width,
                        (long long)height);
    if (height % factor || width % factor)
        return mgi_fail(l->ctx, MGEN_E_INVALID,
                        "stage \"%s\" has a perceptual loss, which needs sides that are multiples "
                        "of %lld; the dataset's are %lld x %lld",
                        l->stage->name, (long long)factor, (long long)width, (long long)height);
    return MGEN_OK;
}

mgen_status mgi_ae_loss_init(mgi_ae_loss *l, const mgi_stage_params *params, const mgi_stage *stage,
                             mgen_context *ctx)
{
    mgen_status status = MGEN_OK;
    memset(l, 0, sizeof *l);
    l->ctx = ctx;
    l->stage = stage;
    if (stage->perceptual > 0.0) {
        MGI_TRY_GOTO(status,
                     mgi_perceptual_init(&l->perceptual, ctx, params->dir, stage->perceptual_file),
                     failed);
        MGI_TRY_GOTO(status, mgi_module_compute(&l->perceptual.module, stage->dtype), failed);
    }
    if (stage->gan > 0.0)
        MGI_TRY_GOTO(status, make_discriminator(l, params), failed);
    return MGEN_OK;
failed:
    mgi_ae_loss_finish(l);
    return status;
}

void mgi_ae_loss_finish(mgi_ae_loss *l)
{
    mgi_adversary_finish(&l->adversary);
    mgi_discriminator_finish(&l->discriminator);
    mgi_perceptual_finish(&l->perceptual);
}

/* (B,T,...) as (B T,...), of pictures or latents. */
static T *frames_of(mgi_run *run, T *x)
{
    return x ? mgi_reshape(run, x,
                           MGI_DIMS(x->dims[0] * x->dims[1], x->dims[2], x->dims[3], x->dims[4]))
             : NULL;
}

/* What y differs from x by. */
static T *compare(const mgi_ae_loss *l, mgi_run *run, float weight, T *y, T *x, T *sums)
{
    const mgi_stage *s = l->stage;
    T *part[3] = {mgi_loss(run, MGK_LOSS_L1, weight * (float)s->l1, y, x),
                  mgi_loss(run, MGK_LOSS_MSE, weight * (float)s->mse, y, x)};
    T *sum = mgi_add(run, part[0], part[1]);
    if (s->perceptual > 0.0) {
        part[2] = mgi_perceptual_loss(run, &l->perceptual, weight * (float)s->perceptual,
                                      frames_of(run, y), frames_of(run, x));
        sum = mgi_add(run, sum, part[2]);
        mgi_stage_sum(run, &part[2], 1, sums, MGI_LOSS_PERCEPTUAL);
    }
    mgi_stage_sum(run, part, 2, sums, MGI_LOSS_L1);
    return sum;
}

/* Mean square over all ranks, times their number. */
static T *norm2(mgi_ae_loss *l, mgi_run *run, T *grad)
{
    T *zero = grad ? mgi_new(run, MGK_F32, 1, &grad->count) : NULL;
    mgi_fill(run, zero, 0.0f);
    T *value = zero ? mgi_loss(run, MGK_LOSS_MSE, 1.0f, grad, zero) : NULL;
    if (value)
        mgi_sum_ranks(run, l->adversary.parallel.comm, value);
    return value;
}

/* The same with the generator's term, whose weight needs the gradients of both: they are taken here, and what is
 * on the tape is their sum. */
static T *compare_adversarial(mgi_ae_loss *l, mgi_run *run, float weight, T *y, T *x, T *sums)
{
    mgi_run side;
    T *grad = NULL, *known = NULL;
    mgi_run_init(&side, run->ctx, true);
    T *own = mgi_cut(&side, y), *judged = mgi_cut(&side, y);
    T *plain = compare(l, &side, weight, own, x, sums);
    mgi_backward(&side, plain);
    T *verdict = mgi_discriminate(&side, &l->discriminator, frames_of(&side, judged), false);
    T *fooled =
        mgi_loss(&side, MGK_LOSS_HINGE_GENERATOR, weight, mgi_cast(&side, verdict, MGK_F32), NULL);
    mgi_backward(&side, fooled);
    if (side.status == MGEN_OK) {
        const float gan = (float)l->stage->gan;
        T *a = norm2(l, &side, own->var->grad), *b = norm2(l, &side, judged->var->grad);
        T *ratio = mgi_loss_balance(&side, 1.0f, RATIO_MAX, a, b);
        T *share = mgi_convert(&side, ratio, MGK_F32, gan, 0.0f);
        mgi_euler_step(&side, own->var->grad, judged->var->grad, share);
        mgi_euler_step(&side, plain, fooled, share);
        T *part[] = {fooled, mgi_convert(&side, ratio, MGK_F32, weight, 0.0f)};
        mgi_stage_sum(&side, part, 2, sums, MGI_LOSS_GENERATOR);
        grad = own->var->grad;
    }
    if (mgi_ok(run, side.status))
        known = mgi_loss_known(run, y, plain, grad);
    mgi_run_finish(&side);
    return known;
}

/* The discriminator's own gradients. */
static void discriminate(mgi_ae_loss *l, mgi_run *run, float weight, bool last, T *x, T *y, T *sums)
{
    mgi_run side;
    T *made = NULL;
    if (run->status != MGEN_OK || !mgi_ok(run, mgi_tensor_rows(y, 0, y->dims[0], &made)))
        return;
    mgi_run_init(&side, run->ctx, true);
    if (last)
        mgi_dp_begin(&l->adversary.parallel, &side, true);
    made = mgi_scope_add(&side, made);
    T *loss[2];
    for (int i = 0; i < 2; i++) {
        T *verdict =
            mgi_discriminate(&side, &l->discriminator, frames_of(&side, i ? made : x), true);
        loss[i] = mgi_loss(&side, i ? MGK_LOSS_HINGE_FAKE : MGK_LOSS_HINGE_REAL, 0.5f * weight,
                           mgi_cast(&side, verdict, MGK_F32), NULL);
    }
    T *sum = mgi_add(&side, loss[0], loss[1]);
    mgi_backward(&side, sum);
    mgi_stage_sum(&side, &sum, 1, sums, MGI_LOSS_DISCRIMINATOR);
    mgi_ok(run, side.status);
    mgi_run_finish(&side);
}

void mgi_ae_loss_pass(mgi_ae_loss *l, mgi_run *run, int64_t index, float weight, bool last, T *x,
                      T *y, T *z, T *kl, T *sums)
{
    const mgi_stage *s = l->stage;
    bool adversarial = mgi_adversary_acts(&l->adversary, index);
    T *total = !y            ? NULL
               : adversarial ? compare_adversarial(l, run, weight, y, x, sums)
                             : compare(l, run, weight, y, x, sums);
    total = mgi_add(run, total, kl);
    if (s->opl > 0.0) {
        T *opl = mgi_opl(run, (float)s->opl_r, weight * (float)s->opl, frames_of(run, z));
        total = mgi_add(run, total, opl);
        mgi_stage_sum(run, &opl, 1, sums, MGI_LOSS_OPL);
    }
    mgi_backward(run, total);
    mgi_stage_sum(run, &total, 1, sums, MGI_LOSS_TOTAL);
    mgi_stage_sum(run, &kl, 1, sums, MGI_LOSS_KL);
    if (adversarial)
        discriminate(l, run, weight, last, x, y, sums);
}

void mgi_ae_loss_report(const mgi_ae_loss *l, int64_t index, const float sums[MGI_LOSS_TERMS],
                        mgen_report *report)
{
    const mgi_stage *s = l->stage;
    mgi_report_add(report, "l1", sums[MGI_LOSS_L1]);
    mgi_report_add(report, "mse", sums[MGI_LOSS_MSE]);
    mgi_report_add(report, "kl", sums[MGI_LOSS_KL]);
    if (s->opl > 0.0)
        mgi_report_add(report, "opl", sums[MGI_LOSS_OPL]);
    if (s->perceptual > 0.0)
        mgi_report_add(report, "perceptual", sums[MGI_LOSS_PERCEPTUAL]);
    if (mgi_adversary_acts(&l->adversary, index)) {
        mgi_report_add(report, "generator", sums[MGI_LOSS_GENERATOR]);
        mgi_report_add(report, "discriminator", sums[MGI_LOSS_DISCRIMINATOR]);
        mgi_report_add(report, "ratio", sums[MGI_LOSS_RATIO]);
    }
}
