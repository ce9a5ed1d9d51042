/* SPDX-License-Identifier: MIT
 * What an audio codec is trained by (report section 11, Descript Audio Codec), all of it means over values:
 *
 *   loss = l1 |y - x| + mse (y - x)^2 + kl KL + mel |M(y) - M(x)| + squares (M(y) - M(x))^2
 *        + discriminator * -D(y) + features |F(y) - F(x)|
 *
 * M: log powers of mel bands for several windows (model/sound_spectrum.h), F: what comes out of the discriminators'
 * layers but the last; each a mean over windows, or scales and layers, too. The last line from step `start` on.
 * D learns, by its own optimizer, after each pass, mean (max(0, 1 - D(x)) + max(0, 1 + D(y))) / 2. Tier 7. */
#ifndef MGI_TRAIN_SOUND_LOSS_H
#define MGI_TRAIN_SOUND_LOSS_H

#include "model/sound_discriminator.h"
#include "train/adversary.h"

/* Sums over the passes of a step, on the device. */
enum {
    MGI_SOUND_LOSS_TOTAL,
    MGI_SOUND_LOSS_L1,
    MGI_SOUND_LOSS_MSE,
    MGI_SOUND_LOSS_MEL,
    MGI_SOUND_LOSS_KL,
    MGI_SOUND_LOSS_GENERATOR, /* -D(y) */
    MGI_SOUND_LOSS_FEATURES,
    MGI_SOUND_LOSS_DISCRIMINATOR, /* what D learns by */
    MGI_SOUND_LOSS_TERMS
};

typedef struct mgi_sound_loss {
    mgen_context *ctx;
    const mgi_stage *stage;
    mgi_spectrum mel[MGI_SOUND_WINDOWS_MAX];
    int mels;
    mgi_sound_discriminator discriminator;
    mgi_adversary adversary;
} mgi_sound_loss;

/* `stage` must outlive it. */
mgen_status mgi_sound_loss_init(mgi_sound_loss *l, const mgi_stage_params *params,
                                const mgi_stage *stage, mgen_context *ctx);
void mgi_sound_loss_finish(mgi_sound_loss *l);

/* weight * |M(y) - M(x)| + squares * (M(y) - M(x))^2, of sounds (B,N,1): (1). */
T *mgi_sound_loss_mel(const mgi_sound_loss *l, mgi_run *run, float weight, float squares, T *y,
                      T *x);
/* Of a pass: sounds x, what became of them y, the latents' KL. Goes back through the tape, then trains the
 * discriminators; what counts `weight` in the step is added to sums. last: their gradients are complete then. */
void mgi_sound_loss_pass(mgi_sound_loss *l, mgi_run *run, int64_t index, float weight, bool last,
                         T *x, T *y, T *kl, T *sums);

/* The terms that the recipe has. */
void mgi_sound_loss_report(const mgi_sound_loss *l, int64_t index,
                           const float sums[MGI_SOUND_LOSS_TERMS], mgen_report *report);

#endif
