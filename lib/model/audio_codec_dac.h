/* SPDX-License-Identifier: MIT
 * Descript Audio Codecs in folders as Hugging Face's transformers writes them (DacModel): the audio codec's network but
 * for what stands at the latents, where theirs has a quantiser. Training starts from one. Tier 5. */
#ifndef MGI_MODEL_AUDIO_CODEC_DAC_H
#define MGI_MODEL_AUDIO_CODEC_DAC_H

#include "io/safetensors_set.h"
#include "model/audio_codec.h"

typedef struct mgi_audio_codec_dac {
    mgi_audio_codec_config config; /* latent_channels: 1, as there are none */
    mgi_st_set weights;
    uint64_t hash;
} mgi_audio_codec_dac;

/* config.json. CORRUPT names the field; UNSUPPORTED: another network. */
mgen_status mgi_audio_codec_dac_config_read(mgen_context *ctx, const mgi_json *root,
                                            mgi_audio_codec_config *out);

/* config.json and model.safetensors (or several that an index names) of the folder `dir`/`name`. Every tensor must be
 * there, and no other but the quantiser's, which are not looked at: else CORRUPT, with its name. */
mgen_status mgi_audio_codec_dac_open(mgen_context *ctx, const char *dir, const char *name,
                                     mgi_audio_codec_dac *out);
void mgi_audio_codec_dac_close(mgen_context *ctx, mgi_audio_codec_dac *d);

/* The weights into a network of that configuration with any latent_channels, whose 1x1 convolutions stay as they are. */
mgen_status mgi_audio_codec_dac_load(mgi_audio_codec *codec, const mgi_audio_codec_dac *d);

#endif
