/* SPDX-License-Identifier: MIT
 * The networks that the audio codec is trained against (complex multi-scale STFT discriminators): one for each window
 * length, on pictures of the sound's spectrum, whose columns are frequencies and whose two channels are the real and
 * the imaginary part. Tier 5.
 *
 *   conv 3x9, act; three times conv 3x9 of stride 2 in frequency, act; conv 3x3, act; conv 3x3 to one number for each
 *   place, above 0 for "real"; act: SiLU
 */
#ifndef MGI_MODEL_SOUND_DISCRIMINATOR_H
#define MGI_MODEL_SOUND_DISCRIMINATOR_H

#include "model/sound_spectrum.h"
#include "nn/module.h"

enum { MGI_SOUND_SCALES_MAX = 5, MGI_SOUND_DISCRIMINATOR_LAYERS = 6 };

typedef struct mgi_sound_discriminator {
    mgi_module module;
    int scales;
    struct mgi_sound_scale {
        mgi_spectrum spectrum;
        mgi_param *w[MGI_SOUND_DISCRIMINATOR_LAYERS], *b[MGI_SOUND_DISCRIMINATOR_LAYERS];
    } scale[MGI_SOUND_SCALES_MAX];
} mgi_sound_discriminator;

/* A scale for each of `count` windows of samples. channels: of every layer but the last. */
mgen_status mgi_sound_discriminator_init(mgi_sound_discriminator *d, mgen_context *ctx,
                                         const int64_t *windows, int count, int64_t channels);
void mgi_sound_discriminator_finish(mgi_sound_discriminator *d);

/* x (B,N,1) in [-1,1], N no less than a quarter of the window -> what comes out of each layer of one scale, in the
 * module's dtype; the last is the verdict. learns: its parameters get gradients. */
void mgi_sound_discriminate(mgi_run *run, const mgi_sound_discriminator *d, int scale, T *x,
                            bool learns, T *out[MGI_SOUND_DISCRIMINATOR_LAYERS]);

#endif
