/* SPDX-License-Identifier: MIT
 * Each network by itself, from host memory to host memory: frames to latents and back, text to vectors,
 * latents to velocity. Tier 7.
 *
 * Frames are RGB floats in [-1,1]; latents (T,H,W,C) are normalised to zero mean and unit deviation, as the
 * video model takes them. Films of any length pass in pieces: only the latents grow with it. Frames of any size pass in
 * tiles, where a caller or the autoencoder's configuration says so. */
#ifndef MGI_TASK_CODEC_H
#define MGI_TASK_CODEC_H

#include "model/tae_rows.h"
#include "model/text_encoder.h"
#include "model/video_transformer.h"

/* Frames first .. first + count - 1, of which rows top .. top + height - 1 and columns left .. left + width - 1. */
typedef struct mgi_frames_box {
    int64_t first, count, top, left, height, width;
    bool last; /* nothing of these frames follows */
} mgi_frames_box;

/* Takes count x height x width x 3 values: whole frames in order or, where the film is decoded in tiles, one tile of
 * all frames after the other, which it may change. Another answer than OK ends the work with it. */
typedef mgen_status mgi_frames_sink(void *user, const mgi_frames_box *box, float *rgb);
/* Fills whole frames first .. first + count - 1, perhaps more than once. */
typedef mgen_status mgi_frames_source(void *user, int64_t first, int64_t count, float *rgb);

/* Frames, height, width of a film -> T, H, W, C of its latents. INVALID unless the sizes are 1 or more and
 * height and width multiples of the autoencoder's factor. */
mgen_status mgi_latent_dims(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                            int64_t dims[4]);

/* film: frames, height, width. latents: as mgi_latent_dims says; the posterior's means. tile: pixels; larger frames
 * are handled in tiles of that side (0: as the model is configured). On the meta device source and latents are not
 * looked at. */
mgen_status mgi_encode_film(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                            int64_t tile, mgi_frames_source *source, void *user, float *latents);
/* The same by all ranks of rows->ranks, each of its own rows; it calls its source for whole frames, all of them the same.
 * latents: of these rows. Collective. */
mgen_status mgi_encode_rows(mgen_context *ctx, const mgi_tae *tae, const mgi_tae_rows *rows,
                            const int64_t film[3], mgi_frames_source *source, void *user,
                            float *latents);
/* The first `frames` of the film that latents of `dims` stand for (0: all). */
mgen_status mgi_decode_film(mgen_context *ctx, const mgi_tae *tae, const float *latents,
                            const int64_t dims[4], int64_t frames, int64_t tile,
                            mgi_frames_sink *sink, void *user);
/* The same inside a run: z (1,T,H,W,C); the first frame has number `first`. sink NULL: frames are
 * dropped. */
mgen_status mgi_decode_run(mgi_run *run, const mgi_tae *tae, T *z, int64_t frames, int64_t first,
                           int64_t tile, mgi_frames_sink *sink, void *user);
/* The same by all ranks of rows->ranks, each of which gets its own rows of the frames, as if they were all, in the same
 * pieces. z is whole. Collective. */
mgen_status mgi_decode_rows(mgi_run *run, const mgi_tae *tae, T *z, const mgi_tae_rows *rows,
                            int64_t frames, int64_t first, mgi_frames_sink *sink, void *user);
/* Each frame by itself, as an upsampler's are coded: latents have a frame for each of the film's. Frames first .. end - 1 of
 * `film`, to their places in `latents`; on the meta device one stands for all. */
mgen_status mgi_encode_each(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                            int64_t tile, mgi_frames_source *source, void *user, int64_t first,
                            int64_t end, float *latents);
/* Frames first .. end - 1 of z (1,T,H,W,C). */
mgen_status mgi_decode_each(mgi_run *run, const mgi_tae *tae, T *z, int64_t first, int64_t end,
                            int64_t tile, mgi_frames_sink *sink, void *user);
/* A source as user of mgi_film_later: its frame `by` is the first. */
typedef struct mgi_film_shifted {
    mgi_frames_source *source;
    void *user;
    int64_t by;
} mgi_film_shifted;
mgi_frames_source mgi_film_later;
/* Films of RGB8 without gaps, as user of the source and the sink below: where frames come from, and where they go. */
typedef struct mgi_film_bytes {
    const uint8_t *in;
    uint8_t *out;
    int64_t height, width;
} mgi_film_bytes;
mgi_frames_source mgi_film_give;
mgi_frames_sink mgi_film_take;
mgi_frames_source mgi_film_black; /* black frames, of that height and width */

/* Both, encoding and decoding, for frames of RGB8 without gaps: what a film becomes that goes through the autoencoder. out may be in. */
mgen_status mgi_recode_film(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                            const uint8_t *in, uint8_t *out);
/* Whether a sink of mgi_decode_run() then gets parts of frames. */
bool mgi_decodes_parts(const mgi_tae *tae, int64_t height, int64_t width, int64_t tile);

/* Prompts (count) -> vectors (count,S,width), padded to the longest, at most tokens_max; tokens[i] of row i count. */
T *mgi_text_batch(mgi_run *run, const mgi_text_encoder *e, const char *const *prompts,
                  int64_t count, int64_t *tokens);
/* The tokens of `count` prompts for each role; NULL: there is no such encoder, or it is dropped. */
typedef struct mgi_text_rows {
    int64_t count;
    mgi_tokens *rows[MGI_ROLES];
} mgi_text_rows;
/* Of prompts, for all encoders that are there but those in `drop` (bit i: role i), each of what its role gets of a prompt.
 * What *out held is freed. */
mgen_status mgi_text_rows_make(mgen_context *ctx, const mgi_text_encoder *const text[MGI_ROLES],
                               uint32_t drop, const char *const *prompts, int64_t count,
                               mgi_text_rows *out);
void mgi_text_rows_free(mgen_context *ctx, mgi_text_rows *rows);
/* The same on the device: (count,S). */
typedef struct mgi_text_ids {
    T *ids[MGI_ROLES], *mask[MGI_ROLES];
    const int64_t *tokens[MGI_ROLES];
} mgi_text_ids;
/* S is that of the longest, rounded up to a `multiple`, within what an encoder takes, so that the shapes are few where each
 * costs something (tensor/graph.h); 1: as it is. `tokens` has room for MGI_ROLES x count and is kept in *out. First
 * the host's share: tokens, written; then the encoders', which writes nothing. */
void mgi_text_ids_make(mgi_run *run, const mgi_text_encoder *const text[MGI_ROLES],
                       const mgi_text_rows *rows, int64_t multiple, int64_t *tokens,
                       mgi_text_ids *out);
void mgi_text_ids_encode(mgi_run *run, const mgi_text_encoder *const text[MGI_ROLES],
                         const mgi_text_ids *ids, mgi_vt_text *out);
/* All three. */
void mgi_text_streams(mgi_run *run, const mgi_text_encoder *const text[MGI_ROLES], uint32_t drop,
                      const char *const *prompts, int64_t count, int64_t *tokens, mgi_vt_text *out);
/* Tokens of a prompt, those around it included, at most tokens_max. */
mgen_status mgi_text_tokens(mgen_context *ctx, const mgi_text_encoder *e, const char *prompt,
                            int64_t *tokens);
/* A prompt (checked UTF-8) -> vectors (tokens x width). `tokens` is what mgi_text_tokens() says; a longer prompt is
 * cut. */
mgen_status mgi_text_encode(mgen_context *ctx, const mgi_text_encoder *e, const char *prompt,
                            int64_t tokens, float *vectors);

/* Text of one role in host memory: tokens x width. */
typedef struct mgi_host_text {
    const float *vectors; /* NULL: none */
    int64_t tokens;
} mgi_host_text;

/* Velocity of latents of `dims` at flow time `time` (0 noise, 1 data), into out of the same shape. One text at
 * least is there, of roles that the model has. UNSUPPORTED, with what is possible, for sizes that the model cannot
 * take. */
mgen_status mgi_velocity(mgen_context *ctx, const mgi_vt *vt, const float *latents,
                         const int64_t dims[4], float time, const mgi_host_text text[MGI_ROLES],
                         float *out);

#endif
