/* SPDX-License-Identifier: MIT
 * A loss that compares what a fixed network sees in two pictures (LPIPS): after each stage of 3x3
 * convolutions and ReLUs, features are brought to unit length at each position, and the mean over positions
 * of their squared distance is added up over the stages. Tier 5.
 *
 * The network is that of a file, or one of random weights, always the same, when there is none: what it
 * compares are edges and textures at random, which is less than what a network trained on pictures knows.
 *
 * In a file, "stage<i>.conv<k>.weight" (Cout,Cin,3,3) and ".bias" (Cout), i = 0..4, k = 0..3, in order; and for
 * all stages or none "stage<i>.lin.weight" (C), factors (0 or more) on the squared distances of the channels.
 * Between stages the largest of 2 x 2 pixels is taken.
 */
#ifndef MGI_MODEL_PERCEPTUAL_H
#define MGI_MODEL_PERCEPTUAL_H

#include "nn/module.h"

enum { MGI_PERCEPTUAL_STAGES = 5, MGI_PERCEPTUAL_CONVS = 4 };

typedef struct mgi_perceptual {
    mgi_module module;
    int stages, convs[MGI_PERCEPTUAL_STAGES];
    struct {
        mgi_param *w, *b;
    } conv[MGI_PERCEPTUAL_STAGES][MGI_PERCEPTUAL_CONVS];
    mgi_param *lin[MGI_PERCEPTUAL_STAGES]; /* square roots of the factors; NULL: 1 */
    T *scale, *shift; /* (3): what pictures in [-1,1] become before the first stage */
    uint64_t hash;    /* of the file; 0: random */
} mgi_perceptual;

/* The network in file `name` of folder `dir`; "" = the random one. CORRUPT if it is not as above. On the meta device a file
 * that is not there has the sizes of LPIPS' VGG-16. */
mgen_status mgi_perceptual_init(mgi_perceptual *p, mgen_context *ctx, const char *dir,
                                const char *name);
void mgi_perceptual_finish(mgi_perceptual *p);

/* x (N,H,W,3) in [-1,1] as the first stage takes it; what stage i makes of that, or of stage i - 1 -> (N,h,w,C), with half
 * the sides from the second stage on, which are even. */
T *mgi_perceptual_normal(mgi_run *run, const mgi_perceptual *p, T *x);
T *mgi_perceptual_stage(mgi_run *run, const mgi_perceptual *p, int i, T *x);

/* weight * the loss of x against target, both (frames,H,W,3) in [-1,1], H and W multiples of
 * 2^(stages - 1) -> (1). target gets no gradient. */
T *mgi_perceptual_loss(mgi_run *run, const mgi_perceptual *p, float weight, T *x, T *target);

#endif
