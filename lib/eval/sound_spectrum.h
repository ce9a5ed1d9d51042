/* SPDX-License-Identifier: MIT
 * Power spectra of a sound, frame by frame. Tier 7. */
#ifndef MGI_EVAL_SOUND_SPECTRUM_H
#define MGI_EVAL_SOUND_SPECTRUM_H

#include "core/context.h"

/* Frame i looks at samples i hop - width / 2 to i hop + width / 2 through Hann's window, as if the sound went back from
 * both its ends; there are mgi_sound_frames() of them, of mgi_sound_bins() powers each: bin k is k rate / width Hz. A sine
 * of amplitude 1 has power 1 in its bin. */
typedef struct mgi_sound_spectrum {
    int64_t frames, bins;
    float *power; /* frames x bins */
} mgi_sound_spectrum;

/* width: a power of two, 16 to 8192; count at least 1. NO_MEMORY, LIMIT. */
mgen_status mgi_sound_spectrum_make(mgen_context *ctx, const float *samples, int64_t count,
                                    int64_t width, int64_t hop, mgi_sound_spectrum *out);
void mgi_sound_spectrum_free(mgen_context *ctx, mgi_sound_spectrum *spectrum);

#endif
