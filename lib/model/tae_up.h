/* SPDX-License-Identifier: MIT
 * The decoder's enlargement and convolution in one, not recorded. Tier 5.
 *
 * What comes out differs from the two, one after the other, by the rounding of weights that are added up first. */
#ifndef MGI_MODEL_TAE_UP_H
#define MGI_MODEL_TAE_UP_H

#include "tensor/ops.h"

/* conv2d(resize_nearest(x, 2, 2), w, b) with zeros around it: x (N,H,W,Cin), w (Cout,3,3,Cin), b (Cout) ->
 * (N,2H,2W,Cout); a new tensor if `to` is NULL. */
T *mgi_tae_up_space(mgi_run *run, T *to, T *x, T *w, T *b);

/* The same in time, of frames that need not be all: x (B,T,P,Cin), w (Cout,3,1,Cin), b (Cout), and so many copies
 * of the first and the last frame around x. Of neighbours x[t-1], x[t] come y[2t-1] and y[2t]: (B,2(T-1+before+after),
 * P,Cout). The first of them lies before the film where it begins with x, the last behind it where it ends. */
T *mgi_tae_up_time(mgi_run *run, T *x, T *w, T *b, int64_t before, int64_t after);

#endif
