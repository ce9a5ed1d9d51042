/* SPDX-License-Identifier: MIT
 * The autoencoder on a film of any length, in memory that does not grow with it. Tier 5.
 *
 * A convolution in time looks one frame back and one ahead, so each keeps the last frames that it was
 * given and answers one frame late; replicated frames stand at the two ends of the film only. What comes
 * out has the very bits that mgi_tae_encode() and mgi_tae_decode() give for the whole film, however it is
 * cut. (The report decodes overlapping tiles and blends them, an approximation: its networks lag too far
 * for its frames. Carrying the state makes that unneeded in time.)
 */
#ifndef MGI_MODEL_TAE_STREAM_H
#define MGI_MODEL_TAE_STREAM_H

#include "model/tae.h"

enum { MGI_TAE_ENCODES, MGI_TAE_DECODES };

/* Frames that a convolution in time was given and still needs; whether it has answered yet. */
typedef struct mgi_tae_memory {
    T *kept; /* (frames,H,W,C) or NULL */
    bool begun;
} mgi_tae_memory;

typedef struct mgi_tae_block_memory {
    mgi_tae_memory first, second;
    T *waiting; /* inputs whose residuals are still to come */
} mgi_tae_block_memory;

/* Receives (1,T,H,W,C) in f32, T >= 1: the next frames in order, or latents (mean and log variance). Another
 * answer than OK ends the run with it. */
typedef mgen_status mgi_tae_sink(void *user, mgi_run *run, T *frames);

typedef struct mgi_tae_stream {
    mgi_run *run;
    const mgi_tae *tae;
    int direction;
    mgi_tae_sink *sink;
    void *user;
    mgi_tae_memory in, out, change[MGI_TAE_LEVELS_MAX];
    mgi_tae_block_memory block[MGI_TAE_LEVELS_MAX][MGI_TAE_BLOCKS_MAX];
} mgi_tae_stream;

void mgi_tae_stream_init(mgi_tae_stream *s, mgi_run *run, const mgi_tae *tae, int direction,
                         mgi_tae_sink *sink, void *user);
void mgi_tae_stream_finish(mgi_tae_stream *s); /* also after a failure; before the run's end */

/* The next frames or latents (1,T,H,W,C); `last`: they end the film, and what is late comes out. Pieces of
 * any size; large ones are cut. Returns run->status. */
mgen_status mgi_tae_stream_push(mgi_tae_stream *s, T *x, bool last);

/* Frames of height x width pixels that are worth handling at once: 1 to 4. */
int64_t mgi_tae_piece(int64_t height, int64_t width);

#endif
