/* SPDX-License-Identifier: MIT
 * Autoencoders of images in folders as Hugging Face's diffusers writes them (AutoencoderKL), such as those of Stable
 * Diffusion and Flux: 2D TAEs of latent diffusion's structure. Tier 5. */
#ifndef MGI_MODEL_TAE_DIFFUSERS_H
#define MGI_MODEL_TAE_DIFFUSERS_H

#include "io/safetensors_set.h"
#include "model/tae.h"

typedef struct mgi_tae_diffusers {
    mgi_tae_config config;
    float latent_scale, latent_shift; /* of all channels: normalised = (z - shift) * scale */
    mgi_st_set weights;
    uint64_t hash;
} mgi_tae_diffusers;

/* config.json: the configuration and the latents' scale and shift. CORRUPT names the field; UNSUPPORTED: another network. */
mgen_status mgi_tae_diffusers_config_read(mgen_context *ctx, const mgi_json *root,
                                          mgi_tae_diffusers *out);

/* config.json and the weights (diffusion_pytorch_model.safetensors, or several that an index names) of the folder
 * `dir`/`name`; what config.json leaves out is as diffusers has it. Every tensor must be there, and no other: else
 * CORRUPT, with its name. */
mgen_status mgi_tae_diffusers_open(mgen_context *ctx, const char *dir, const char *name,
                                   mgi_tae_diffusers *out);
void mgi_tae_diffusers_close(mgen_context *ctx, mgi_tae_diffusers *d);

/* The weights into a network of that configuration or its inflated form, whose parameters in time stay as they are. */
mgen_status mgi_tae_diffusers_load(mgi_tae *tae, const mgi_tae_diffusers *d);

/* One that can be run: as mgi_tae_open() (task/pipeline.h), which calls this. */
mgen_status mgi_tae_diffusers_network(mgen_context *ctx, const char *dir, const char *name,
                                      mgi_tae *out, uint64_t *hash);

#endif
