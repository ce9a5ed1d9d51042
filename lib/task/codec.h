/* SPDX-License-Identifier: MIT
 * Each network by itself, from host memory to host memory: frames to latents and back, text to vectors,
 * latents to velocity. Tier 7.
 *
 * Frames are RGB floats in [-1,1]; latents (T,H,W,C) are normalised to zero mean and unit deviation, as the
 * video model takes them. Films of any length pass in pieces: only the latents grow with it. */
#ifndef MGI_TASK_CODEC_H
#define MGI_TASK_CODEC_H

#include "model/t5.h"
#include "model/tae.h"
#include "model/video_transformer.h"

/* Takes frames first .. first + count - 1 of height x width x 3 values, in order. Another answer than OK
 * ends the work with it. */
typedef mgen_status mgi_frames_sink(void *user, int64_t first, int64_t count, const float *rgb);
/* Fills such frames. */
typedef mgen_status mgi_frames_source(void *user, int64_t first, int64_t count, float *rgb);

/* A ready-made source, whose user is this: frames in memory without gaps, floats or else bytes. */
typedef struct mgi_host_frames {
    const float *floats;
    const uint8_t *bytes;
    int64_t size; /* values of a frame */
} mgi_host_frames;
mgen_status mgi_host_frames_read(void *user, int64_t first, int64_t count, float *rgb);

/* Frames, height, width of a film -> T, H, W, C of its latents. INVALID unless the sizes are 1 or more and
 * height and width multiples of the autoencoder's factor. */
mgen_status mgi_latent_dims(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                            int64_t dims[4]);

/* film: frames, height, width. latents: as mgi_latent_dims says; the posterior's means. */
mgen_status mgi_encode_film(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                            mgi_frames_source *source, void *user, float *latents);
/* The first `frames` of the film that latents of `dims` stand for (0: all). */
mgen_status mgi_decode_film(mgen_context *ctx, const mgi_tae *tae, const float *latents,
                            const int64_t dims[4], int64_t frames, mgi_frames_sink *sink,
                            void *user);
/* The same inside a run: z (1,T,H,W,C); the first frame has number `first`. sink NULL: frames are
 * dropped. */
mgen_status mgi_decode_run(mgi_run *run, const mgi_tae *tae, T *z, int64_t frames, int64_t first,
                           mgi_frames_sink *sink, void *user);

/* Prompts (count) -> ids and mask, padded to a common length, at most text.tokens_max. */
void mgi_text_batch(mgi_run *run, const mgi_t5 *t5, const char *const *prompts, int64_t count,
                    T **ids, T **mask);
/* Tokens of a prompt, the end mark included, at most tokens_max. */
int64_t mgi_text_tokens(const mgi_t5 *t5, const char *prompt);
/* A prompt (checked UTF-8) -> vectors (tokens x text.dim) and mask (tokens; 1: a token, 0: padding). tokens
 * is 1..tokens_max; a longer prompt is cut. */
mgen_status mgi_text_encode(mgen_context *ctx, const mgi_t5 *t5, const char *prompt, int64_t tokens,
                            float *vectors, uint8_t *mask);

/* Velocity of latents of `dims` at flow time `time` (0 noise, 1 data), into out of the same shape. text:
 * tokens x text_dim with mask. UNSUPPORTED, with what is possible, for sizes that the model cannot take. */
mgen_status mgi_velocity(mgen_context *ctx, const mgi_vt *vt, const float *latents,
                         const int64_t dims[4], float time, const float *text, const uint8_t *mask,
                         int64_t tokens, float *out);

#endif
