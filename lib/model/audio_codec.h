/* SPDX-License-Identifier: MIT
 * The audio codec, report section 11 (DAC-VAE): the Descript Audio Codec's network without its quantiser, trained as a
 * variational autoencoder. 48,000 samples a second become 25 vectors a second, and back. Tier 5.
 *
 * All of it is 1D convolutions with zeros beyond the ends, each of which mgi_conv2d() does on a view. */
#ifndef MGI_MODEL_AUDIO_CODEC_H
#define MGI_MODEL_AUDIO_CODEC_H

#include "model/model_file.h"

enum { MGI_AUDIO_LEVELS_MAX = 8, MGI_AUDIO_UNITS_MAX = 4 };

typedef struct mgi_audio_codec_config {
    int levels;                            /* strides that there are */
    int64_t strides[MGI_AUDIO_LEVELS_MAX]; /* of the encoder, full rate first */
    int64_t dim;                           /* channels at the full rate; twice as many a level */
    int64_t decoder_dim; /* of the decoder at the latents' rate; half as many a level */
    int64_t widest;      /* no level of either side has more channels; 0: no limit */
    int64_t latent_channels;
    int dilations; /* residual units a level and side, each with its own: */
    int64_t dilation[MGI_AUDIO_UNITS_MAX];
    int64_t
        hidden; /* channels between either side and its 1x1; 0: as many as the encoder ends with */
    int64_t rate; /* samples a second */
} mgi_audio_codec_config;

/* A convolution; w is (to, 1, taps, from), or (to, taps, 1, from) where it is dilated. */
typedef struct mgi_audio_conv {
    mgi_param *w, *b;
} mgi_audio_conv;

/* x + second(snake(first(snake(x)))): 7 taps, dilated, then 1. */
typedef struct mgi_audio_unit {
    mgi_param *alpha[2];
    mgi_audio_conv first, second;
} mgi_audio_unit;

/* What changes the rate by `stride`, by 2 stride taps behind a snake. */
typedef struct mgi_audio_level {
    mgi_audio_unit unit[MGI_AUDIO_UNITS_MAX];
    mgi_param *alpha;
    mgi_audio_conv change;
} mgi_audio_level;

typedef struct mgi_audio_side {
    mgi_audio_conv in, out, mix;                 /* mix: the 1x1 at the latents */
    mgi_param *alpha;                            /* before out */
    mgi_audio_level level[MGI_AUDIO_LEVELS_MAX]; /* full rate first */
} mgi_audio_side;

typedef struct mgi_audio_codec {
    mgi_module module;
    mgi_audio_codec_config config;
    mgi_audio_side encoder, decoder;
    mgi_param *latent_scale, *latent_shift; /* (C): normalised = (z - shift) * scale; not trained */
} mgi_audio_codec;

mgen_status mgi_audio_codec_config_read(mgen_context *ctx, const mgi_json *json,
                                        mgi_audio_codec_config *out);
/* CORRUPT unless its numbers go together. */
mgen_status mgi_audio_codec_config_check(mgen_context *ctx, const mgi_audio_codec_config *config);
/* A mgi_config_writer, but for the type. */
void mgi_audio_codec_config_write(mgi_json_writer *w, const mgi_audio_codec_config *config);

mgen_status mgi_audio_codec_init(mgi_audio_codec *codec, mgen_context *ctx,
                                 const mgi_audio_codec_config *config);
/* Initial weights, of a module that is whole. */
mgen_status mgi_audio_codec_random(mgi_audio_codec *codec, uint64_t seed);
void mgi_audio_codec_finish(mgi_audio_codec *codec);
/* The model <name>, kind "audio-codec". *hash: of its weights. On failure *out is finished. */
mgen_status mgi_audio_codec_open(mgen_context *ctx, const char *dir, const char *name,
                                 mgi_audio_codec *out, uint64_t *hash);

/* Samples a latent: the product of the strides. */
int64_t mgi_audio_codec_hop(const mgi_audio_codec_config *config);
/* Channels of a level: 0 is the full rate, config->levels that of the latents. */
int64_t mgi_audio_codec_width(const mgi_audio_codec_config *config, bool encoder, int level);
int64_t mgi_audio_codec_hidden(const mgi_audio_codec_config *config);
/* Latents on either side of one that encoding looks at, and that decoding looks at for its samples: rounded up. */
int64_t mgi_audio_codec_reach(const mgi_audio_codec_config *config, bool encoder);

/* x (B,N,1) f32 in [-1,1], N a multiple of the hop -> (B,N/hop,2C) f32: mean and log variance, as mgi_posterior()
 * takes them. */
T *mgi_audio_codec_encode(mgi_run *run, const mgi_audio_codec *codec, T *x);
/* z (B,T,C), not normalised -> (B,T*hop,1) f32. */
T *mgi_audio_codec_decode(mgi_run *run, const mgi_audio_codec *codec, T *z);
/* The samples of latents first..first + count - 1 alone, (B,count*hop,1): the others are gone through only as far as
 * these look at them. */
T *mgi_audio_codec_decode_part(mgi_run *run, const mgi_audio_codec *codec, T *z, int64_t first,
                               int64_t count);

/* Latents z (...,C) as the host keeps them: (z - shift) * scale. And `values` such numbers back, as (1,T,C). */
mgen_status mgi_audio_codec_normalised(const mgi_audio_codec *codec, const T *z, float *out);
T *mgi_audio_codec_latents(mgi_run *run, const mgi_audio_codec *codec, const float *latents,
                           int64_t frames);

#endif
