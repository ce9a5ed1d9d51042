/* SPDX-License-Identifier: MIT
 * The network that the autoencoder is trained against (PatchGAN): one number for each overlapping patch of a
 * frame, above 0 for "real". Tier 5.
 *
 *   conv, act, conv, norm act, conv, norm act (stride 2 each), conv, norm act, conv; all of 4 x 4
 *   pixels with a border of 1; act: SiLU; norm: group norm over the frame, four channels a group
 */
#ifndef MGI_MODEL_DISCRIMINATOR_H
#define MGI_MODEL_DISCRIMINATOR_H

#include "nn/module.h"

enum { MGI_DISCRIMINATOR_LAYERS = 5, MGI_DISCRIMINATOR_SIDE = 24 /* of a frame, at least */ };

typedef struct mgi_discriminator {
    mgi_module module;
    struct {
        mgi_param *w, *b, *norm_w, *norm_b;
    } layer[MGI_DISCRIMINATOR_LAYERS];
} mgi_discriminator;

/* channels: of the first layer, a multiple of 4; the next ones have 2, 4 and 8 times as many. */
mgen_status mgi_discriminator_init(mgi_discriminator *d, mgen_context *ctx, int64_t channels);
void mgi_discriminator_finish(mgi_discriminator *d);

/* x (frames,H,W,3) in [-1,1] -> (frames,h,w,1) in the module's dtype. learns: its parameters get gradients. */
T *mgi_discriminate(mgi_run *run, const mgi_discriminator *d, T *x, bool learns);

#endif
