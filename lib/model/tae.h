/* SPDX-License-Identifier: MIT
 * The temporal autoencoder (TAE), report section 3.1.1: a 2D image autoencoder inflated by a 1D
 * convolution in time after every 3x3 convolution. Tier 5.
 *
 * Without `temporal` it is that image autoencoder: frames are coded one by one, by the same code and
 * the same parameter names, so that inflating is loading the image model's file: temporal
 * convolutions start as the identity, and the inflated model equals the 2D one on images.
 */
#ifndef MGI_MODEL_TAE_H
#define MGI_MODEL_TAE_H

#include "model/model_file.h"

#define MGI_TAE_LEVELS_MAX 6
#define MGI_TAE_BLOCKS_MAX 8 /* of a level of one side */

typedef struct mgi_tae_config {
    int levels;                           /* levels - 1 halvings of height, width and time */
    int64_t channels[MGI_TAE_LEVELS_MAX]; /* full resolution first */
    int64_t decoder_channels[MGI_TAE_LEVELS_MAX]; /* the decoder's; 0: as `channels` */
    int64_t latent_channels;
    int blocks; /* residual blocks a level and side */
    /* Latent diffusion's structure: a level's first block changes the width, decoders have a block more. */
    bool ldm;
    bool temporal;                       /* false: 2D */
    bool keeps_time[MGI_TAE_LEVELS_MAX]; /* what follows level k halves space only */
    int64_t groups;                      /* of the group norm before each activation; 0: none */
    bool mixes;     /* 1x1 convolutions behind the encoder and before the decoder */
    bool attention; /* in the middle of each side, between two blocks: in space, then in time */
    int64_t tile_frames,
        tile_overlap; /* films longer than a tile run in tiles; 0: piece by piece (tae_stream.h) */
    int64_t space_tile; /* pixels: larger frames run in tiles (tae_spatial.h); 0: whole */
} mgi_tae_config;

/* A 3x3 convolution and the convolution in time after it (NULL in the 2D model). */
typedef struct mgi_tae_conv {
    mgi_param *w, *b, *tw, *tb;
    int64_t stride, time_stride; /* 2: halves it */
    bool up, time_up;            /* doubles it before convolving */
} mgi_tae_conv;

typedef struct mgi_tae_norm {
    mgi_param *w, *b; /* NULL: no norm */
    int64_t groups;
} mgi_tae_norm;

typedef struct mgi_tae_block {
    mgi_tae_norm norm[2];
    mgi_tae_conv first, second;
    mgi_param *around_w, *around_b; /* 1x1, of what it is added to; NULL: it keeps the width */
} mgi_tae_block;

/* x + out(attention(qkv(norm(x)))). In time it starts as the identity. */
typedef struct mgi_tae_attention {
    mgi_tae_norm norm;
    int64_t heads;
    mgi_param *qkv_w, *qkv_b, *out_w, *out_b; /* NULL: no attention */
} mgi_tae_attention;

typedef struct mgi_tae_middle {
    mgi_tae_block first, second;
    mgi_tae_attention space, time;
} mgi_tae_middle;

typedef struct mgi_tae_side {
    mgi_tae_conv in, out;
    mgi_tae_norm norm_out;
    mgi_tae_block block[MGI_TAE_LEVELS_MAX][MGI_TAE_BLOCKS_MAX];
    mgi_tae_conv change[MGI_TAE_LEVELS_MAX]; /* between levels */
    mgi_tae_middle middle;                   /* at the smallest level, if config.attention */
    mgi_param *mix_w, *mix_b;                /* if config.mixes */
} mgi_tae_side;

typedef struct mgi_tae {
    mgi_module module;
    mgi_tae_config config;
    mgi_tae_side encoder, decoder;
    mgi_param *latent_scale, *latent_shift; /* (C): normalised = (z - shift) * scale; not trained */
} mgi_tae;

mgen_status mgi_tae_config_read(mgen_context *ctx, const mgi_json *json, mgi_tae_config *out);
void mgi_tae_config_write(mgi_json_writer *w, const mgi_tae_config *config);

mgen_status mgi_tae_init(mgi_tae *tae, mgen_context *ctx, const mgi_tae_config *config);
void mgi_tae_finish(mgi_tae *tae);

/* An mgi_fit_check of such a configuration and an mgi_model_file. */
mgi_fit_check mgi_tae_fits;

/* Channels of a level of either side, and its residual blocks. */
int64_t mgi_tae_width(const mgi_tae_config *config, bool encoder, int level);
int mgi_tae_blocks(const mgi_tae_config *config, bool encoder);

/* Whether only the decoder of `to` is wider than that of `from` at some level, and narrower at none. The weights of such a model
 * into the network, which has its random ones: what comes out is what came out of it, to rounding. STATE where that
 * cannot be; CORRUPT as mgi_module_load(). An image autoencoder's are inflated. */
bool mgi_tae_widens(const mgi_tae_config *from, const mgi_tae_config *to);
mgen_status mgi_tae_load_widened(mgi_tae *tae, const mgi_tae_config *theirs,
                                 const mgi_model_file *file);

/* Pixels a latent's side, and frames a latent frame: 8 and 8 with four levels that all halve time. */
int64_t mgi_tae_factor(const mgi_tae_config *config);
int64_t mgi_tae_time_factor(const mgi_tae_config *config);
int64_t mgi_tae_latent_frames(const mgi_tae_config *config, int64_t frames); /* rounded up */

/* With factors of 8: x (B,T,H,W,3) in [-1,1] -> (B,ceil(T/8),H/8,W/8,2C): mean and log variance. H and W:
 * multiples of 8. Results are f32, whatever the module computes in. */
T *mgi_tae_encode(mgi_run *run, const mgi_tae *tae, T *x);
/* z (B,T,H,W,C) -> (B,8T,8H,8W,3). */
T *mgi_tae_decode(mgi_run *run, const mgi_tae *tae, T *z);

/* Latents z (...,C) as the host keeps them: (z - shift) * scale. */
mgen_status mgi_tae_normalised(const mgi_tae *tae, const T *z, float *out);

/* Where a part of a frame is: along each side (rows, columns) `count` of `all`, from `first` on. */
typedef struct mgi_tae_place {
    struct mgi_tae_span {
        int64_t first, count, all;
    } side[2];
} mgi_tae_place;

mgi_tae_place mgi_tae_whole(int64_t height, int64_t width);
/* What comes out of a convolution in space: only what needs nothing that is not there, and zeros only where the
 * frame ends. And what has to go in for a part to come out. */
mgi_tae_place mgi_tae_after(const mgi_tae_conv *c, mgi_tae_place place);
mgi_tae_place mgi_tae_before(const mgi_tae_conv *c, mgi_tae_place place);

/* The decoder's beginning, z (B,T,H,W,C) through the first convolution and the middle; the encoder's end, all that
 * follows the last level. Both in the module's dtype. */
T *mgi_tae_head(mgi_run *run, const mgi_tae *tae, T *z);
T *mgi_tae_rest(mgi_run *run, const mgi_tae *tae, T *x);

/* For tae_stream.c, on (frames,H,W,C). The activation, after its norm, if any, over each frame. The two
 * halves of a convolution: in space, into `to` if it is not NULL, where nothing is recorded; in time (B,T,HW,C), with so many copies of the first and the last frame
 * around it; one that doubles time has one frame too many where there are copies (tae_up.h). Attention within each
 * frame. */
T *mgi_tae_activate(mgi_run *run, const mgi_tae_norm *n, T *x);
T *mgi_tae_space(mgi_run *run, const mgi_tae_conv *c, T *to, T *x, const mgi_tae_place *place);
T *mgi_tae_time(mgi_run *run, const mgi_tae_conv *c, T *x, int64_t before, int64_t after);
T *mgi_tae_attend(mgi_run *run, const mgi_tae_attention *a, T *x);
/* Latents before the decoder, or moments behind the encoder: x itself without config.mixes. */
T *mgi_tae_mix(mgi_run *run, const mgi_tae_side *side, T *x);
/* What a block adds to: x itself where it keeps the width. */
T *mgi_tae_around(mgi_run *run, const mgi_tae_block *b, T *x);
/* The activation of a part of each frame, by statistics of the whole: frames `first` and following of the table. */
T *mgi_tae_activate_part(mgi_run *run, const mgi_tae_norm *n, T *x, const mgi_norm_table *table,
                         int64_t first);

#endif
