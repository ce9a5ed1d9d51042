/* SPDX-License-Identifier: MIT
 * What an autoencoder is trained by (report section 3.1.1), all of it means over values:
 *
 *   loss = l1 |y - x| + mse (y - x)^2 + kl KL + opl OPL + perceptual LPIPS
 *        + discriminator * ratio * -D(y)
 *
 * The last from step `start` on; ratio = |gradient of the pictures' other terms| / |that of -D(y)|, both with
 * respect to the pixels y. (Latent diffusion takes the gradients of the decoder's last layer.) D learns, by its
 * own optimizer, after each pass, mean (max(0, 1 - D(x)) + max(0, 1 + D(y))) / 2. Tier 7. */
#ifndef MGI_TRAIN_AUTOENCODER_LOSS_H
#define MGI_TRAIN_AUTOENCODER_LOSS_H

#include "model/discriminator.h"
#include "model/perceptual.h"
#include "train/adversary.h"

/* Sums over the passes of a step, on the device. */
enum {
    MGI_LOSS_TOTAL,
    MGI_LOSS_L1,
    MGI_LOSS_MSE,
    MGI_LOSS_KL,
    MGI_LOSS_OPL,
    MGI_LOSS_PERCEPTUAL,
    MGI_LOSS_GENERATOR,     /* -D(y) */
    MGI_LOSS_RATIO,         /* the mean of the passes' */
    MGI_LOSS_DISCRIMINATOR, /* what D learns by */
    MGI_LOSS_TERMS
};

typedef struct mgi_ae_loss {
    mgen_context *ctx;
    const mgi_stage *stage;
    mgi_perceptual perceptual;
    mgi_discriminator discriminator;
    mgi_adversary adversary;
} mgi_ae_loss;

/* What reading the perceptual network answers. `stage` must outlive it. */
mgen_status mgi_ae_loss_init(mgi_ae_loss *l, const mgi_stage_params *params, const mgi_stage *stage,
                             mgen_context *ctx);
/* INVALID if pictures of this size do not suit a term. */
mgen_status mgi_ae_loss_sides(const mgi_ae_loss *l, int64_t height, int64_t width);
void mgi_ae_loss_finish(mgi_ae_loss *l);

/* Of a pass: pictures x, what became of them y (B,T,H,W,3), latents z (B,T,H,W,C), their KL. Goes back through
 * the tape, then trains the discriminator; what counts `weight` in the step is added to sums. last: the
 * discriminator's gradients are complete then. */
void mgi_ae_loss_pass(mgi_ae_loss *l, mgi_run *run, int64_t index, float weight, bool last, T *x,
                      T *y, T *z, T *kl, T *sums);

/* The terms that the recipe has. */
void mgi_ae_loss_report(const mgi_ae_loss *l, int64_t index, const float sums[MGI_LOSS_TERMS],
                        mgen_report *report);

#endif
