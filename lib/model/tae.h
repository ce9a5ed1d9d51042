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

#include "nn/module.h"

#define MGI_TAE_LEVELS_MAX 6
#define MGI_TAE_BLOCKS_MAX 8

typedef struct mgi_tae_config {
    int levels;                           /* levels - 1 halvings of height, width and time */
    int64_t channels[MGI_TAE_LEVELS_MAX]; /* full resolution first */
    int64_t latent_channels;
    int blocks;    /* residual blocks a level and side */
    bool temporal; /* false: 2D */
} mgi_tae_config;

/* A 3x3 convolution and the convolution in time after it (NULL in the 2D model). */
typedef struct mgi_tae_conv {
    mgi_param *w, *b, *tw, *tb;
    int64_t stride; /* 2: halves space, and time if temporal */
    bool up;        /* doubles space, and time, before convolving */
} mgi_tae_conv;

typedef struct mgi_tae_block {
    mgi_tae_conv first, second;
} mgi_tae_block;

typedef struct mgi_tae_side {
    mgi_tae_conv in, out;
    mgi_tae_block block[MGI_TAE_LEVELS_MAX][MGI_TAE_BLOCKS_MAX];
    mgi_tae_conv change[MGI_TAE_LEVELS_MAX]; /* between levels */
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

int64_t mgi_tae_factor(const mgi_tae_config *config); /* 8 with four levels */
int64_t mgi_tae_latent_frames(const mgi_tae_config *config, int64_t frames); /* ceil(frames / 8) */

/* x (B,T,H,W,3) in [-1,1] -> (B,ceil(T/8),H/8,W/8,2C): mean and log variance. H and W: multiples of 8.
 * Results are f32, whatever the module computes in. */
T *mgi_tae_encode(mgi_run *run, const mgi_tae *tae, T *x);
/* z (B,T,H,W,C) -> (B,8T,8H,8W,3). */
T *mgi_tae_decode(mgi_run *run, const mgi_tae *tae, T *z);

/* The two halves of a convolution, for tae_stream.c: in space (frames,H,W,C); in time (B,T,HW,C), with
 * so many copies of the first and the last frame around it (after the enlargement in time, if any). */
T *mgi_tae_space(mgi_run *run, const mgi_tae_conv *c, T *x);
T *mgi_tae_time(mgi_run *run, const mgi_tae_conv *c, T *x, int64_t before, int64_t after);

#endif
