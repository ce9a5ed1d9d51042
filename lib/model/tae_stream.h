/* SPDX-License-Identifier: MIT
 * The autoencoder on a film of any length, in memory that does not grow with it. Tier 5.
 *
 * A convolution in time looks one frame back and one ahead, so each keeps the last frames that it was
 * given and answers one frame late; replicated frames stand at the two ends of the film only. What comes
 * out has the very bits that mgi_tae_encode() and mgi_tae_decode() give for the whole film, however it is
 * cut. Norms and attention within a frame change nothing in that; with attention in time, every frame looks
 * at all others, and there is no such stream. (tae_tiles.h has the report's way, which is an approximation.)
 */
#ifndef MGI_MODEL_TAE_STREAM_H
#define MGI_MODEL_TAE_STREAM_H

#include "model/tae_rows.h"

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

/* A part of each frame instead of the whole (tae_spatial.h). */
typedef struct mgi_tae_part {
    mgi_tae_place in;   /* what is pushed: all that is needed */
    mgi_tae_place core; /* what is wanted, in latents */
    bool bare;          /* without what mgi_tae_head() or mgi_tae_rest() do */
    /* Statistics of whole frames, and the number of the norm that they are to be found for: what follows it is left
     * out. The tables of norms before it are known. */
    int norms, collect;
    const mgi_tae_norm *const *norm;
    const mgi_norm_table *table;
    int64_t *frames; /* that this part has passed of each norm */
    int64_t merged;  /* latents of earlier parts, which are in the table already */
} mgi_tae_part;

typedef struct mgi_tae_stream {
    mgi_run *run;
    const mgi_tae *tae;
    int direction;
    mgi_tae_sink *sink;
    void *user;
    const mgi_tae_part *part; /* NULL: whole frames */
    const mgi_tae_rows *rows; /* of each frame, this rank's; NULL: all */
    bool halted;              /* at the norm whose statistics are collected */
    mgi_tae_memory in, out, change[MGI_TAE_LEVELS_MAX];
    mgi_tae_block_memory middle[2];
    int64_t tile, tile_step,
        fade; /* 0: no tiles; else what is pushed at once and how far it moves on; frames */
    int64_t space_tile; /* latents: frames of a tile run in parts of so many a side; 0: whole */
    T *kept, *faded;    /* pushed, and still needed; the frames of a tile that are faded out */
    mgi_tae_block_memory block[MGI_TAE_LEVELS_MAX][MGI_TAE_BLOCKS_MAX];
} mgi_tae_stream;

/* With tiles where the configuration asks for them, or the model cannot do without. */
void mgi_tae_stream_init(mgi_tae_stream *s, mgi_run *run, const mgi_tae *tae, int direction,
                         mgi_tae_sink *sink, void *user);
void mgi_tae_stream_finish(mgi_tae_stream *s); /* also after a failure; before the run's end */

/* The next frames or latents (1,T,H,W,C); `last`: they end the film, and what is late comes out. Pieces of
 * any size; large ones are cut. Returns run->status. */
mgen_status mgi_tae_stream_push(mgi_tae_stream *s, T *x, bool last);

/* A film in parts, each of which is a film of its own: a part of latents, from a multiple of `unit` up to another or the
 * end, comes out with the very bits of the whole film if so many latents before and after it go in too, as far as
 * there are any. (Encoding, the frames that they stand for.) */
typedef struct mgi_tae_reach {
    int64_t unit, before, after;
} mgi_tae_reach;
mgi_tae_reach mgi_tae_reach_of(const mgi_tae *tae, int direction);

/* For tae_tiles.c and tae_spatial.c, on (T,H,W,C), NULL for no frames. Joined: a then b; takes both. Keep: a copy of the frames
 * from `first` on beyond all scopes; recall: back into the scope. Emit: in f32, to the sink. */
T *mgi_tae_joined(mgi_run *run, T *a, T *b);
T *mgi_tae_frames(mgi_run *run, T *x, int64_t first, int64_t frames);
void mgi_tae_keep(mgi_run *run, T **kept, T *x, int64_t first);
T *mgi_tae_recall(mgi_run *run, T **kept);
/* The part `to` of x, which is at `from`; x itself if that is all. */
T *mgi_tae_crop(mgi_run *run, T *x, const mgi_tae_place *from, const mgi_tae_place *to);
void mgi_tae_emit(mgi_tae_stream *s, T *x);

/* Frames of height x width pixels that are worth handling at once: 1 to 4. */
int64_t mgi_tae_piece(int64_t height, int64_t width);

#endif
