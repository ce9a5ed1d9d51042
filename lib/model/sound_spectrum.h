/* SPDX-License-Identifier: MIT
 * Short-time spectra of sound, as products with fixed matrices: differentiable, on any device. Tier 5.
 *
 * A frame every hop samples, of `window` samples under Hann's window; frame i begins so that hop i lies in its middle,
 * with zeros beyond the ends. A sine wave of amplitude a has the magnitude a at its frequency. */
#ifndef MGI_MODEL_SOUND_SPECTRUM_H
#define MGI_MODEL_SOUND_SPECTRUM_H

#include "tensor/ops.h"

typedef struct mgi_spectrum {
    int64_t window, hop; /* a frame is OVERLAP hops */
    int64_t bins;        /* of rate / window Hz each, from 0 on */
    int64_t bands;       /* of `mel`; 0: it has none */
    T *dft;              /* (2 bins, 1, OVERLAP, hop) */
    T *mel;              /* (bands, 2 bins): the mean power of a band, in units of the floor */
} mgi_spectrum;

enum { MGI_SPECTRUM_OVERLAP = 4, MGI_SPECTRUM_WINDOW_MIN = 16, MGI_SPECTRUM_WINDOW_MAX = 16384 };

/* window: a multiple of OVERLAP. highest: Hz of the last bin, cut at half the rate. bands, over the mel scale from 0 to
 * there: 0 or more. floor: power that counts as 1. */
mgen_status mgi_spectrum_init(mgi_spectrum *s, mgen_context *ctx, int64_t window, double rate,
                              double highest, int64_t bands, double floor);
void mgi_spectrum_finish(mgi_spectrum *s);

/* x (B,N,1) f32 -> (B,N/hop,bins,2): real and imaginary part. Samples behind the last whole hop are left out; N is one
 * hop at least. */
T *mgi_spectrum_of(mgi_run *run, const mgi_spectrum *s, T *x);
/* log(1 + power / floor) of the bands: (B,N/hop,bands). */
T *mgi_spectrum_mel(mgi_run *run, const mgi_spectrum *s, T *x);

#endif
