/* SPDX-License-Identifier: MIT
 * The audio codec by itself, from host memory to host memory. Tier 7.
 *
 * Sound is one channel of floats in [-1,1]; latents (frames,C) are normalised to zero mean and unit deviation. Sounds of
 * any length pass in pieces, with as much around each as the network looks at: the result is that of the whole, and
 * memory does not grow with it. */
#ifndef MGI_TASK_AUDIO_CODEC_RUN_H
#define MGI_TASK_AUDIO_CODEC_RUN_H

#include "model/audio_codec.h"

/* Fills samples first .. first + count - 1, some perhaps more than once. Another answer than OK ends the work with it. */
typedef mgen_status mgi_sound_source(void *user, int64_t first, int64_t count, float *samples);
/* Takes them, in order, each once. */
typedef mgen_status mgi_sound_sink(void *user, int64_t first, int64_t count, const float *samples);

/* Latents of so many samples: rounded up; what is missing in the last one is silence. */
int64_t mgi_audio_frames(const mgi_audio_codec *codec, int64_t samples);

/* Pieces in which so many latents are encoded and decoded: so often a sink is called. */
int64_t mgi_audio_pieces(const mgi_audio_codec *codec, int64_t frames);

/* latents: mgi_audio_frames() x C; the posterior's means. INVALID for less than one sample. On the meta device neither
 * source nor latents are looked at. */
mgen_status mgi_audio_encode_sound(mgen_context *ctx, const mgi_audio_codec *codec, int64_t samples,
                                   mgi_sound_source *source, void *user, float *latents);
/* frames x hop samples. */
mgen_status mgi_audio_decode_sound(mgen_context *ctx, const mgi_audio_codec *codec,
                                   const float *latents, int64_t frames, mgi_sound_sink *sink,
                                   void *user);

#endif
