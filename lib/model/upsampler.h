/* SPDX-License-Identifier: MIT
 * The spatial upsampler of the report: what it is beside its transformer. Tier 5.
 *
 * A video transformer in the latents of an autoencoder that codes each frame by itself. It sees the latents of the film
 * enlarged beside those that it makes: its condition has as many channels. */
#ifndef MGI_MODEL_UPSAMPLER_H
#define MGI_MODEL_UPSAMPLER_H

#include "model/model_file.h"
#include "model/video_transformer.h"

#define MGI_UPSAMPLER_KIND "upsampler"

typedef struct mgi_upsampler_config {
    mgi_vt_config video;
    char tae[MGI_NAME_MAX + 1]; /* name of the autoencoder's model in the same folder */
    int64_t factor;             /* of the sides, as trained */
    int64_t frames, overlap;    /* of a window; of them, shared with the next one */
    int64_t steps;              /* of requests that ask for none */
} mgi_upsampler_config;

mgen_status mgi_upsampler_config_read(mgen_context *ctx, const mgi_json *json,
                                      mgi_upsampler_config *out);
/* The same without "tae", which stands elsewhere. */
mgen_status mgi_upsampler_config_read_with(mgen_context *ctx, const mgi_json *json, const char *tae,
                                           mgi_upsampler_config *out);
/* CORRUPT unless windows and condition fit the transformer. */
mgen_status mgi_upsampler_config_check(mgen_context *ctx, const mgi_upsampler_config *config,
                                       mgi_upsampler_config *out);
void mgi_upsampler_config_write(mgi_json_writer *w, const mgi_upsampler_config *config);

#endif
