/* SPDX-License-Identifier: MIT
 * The audio model of the report (Movie Gen Audio): what it is beside its transformer. Tier 5.
 *
 * A transformer of DiT blocks in the latents of an audio codec, each of which is a frame of one patch. It sees latents of sound
 * that is there already beside those that it makes (its condition: zeros where there is none), features of the film's pictures,
 * and is given a caption as text. */
#ifndef MGI_MODEL_AUDIO_H
#define MGI_MODEL_AUDIO_H

#include "model/model_file.h"
#include "model/video_transformer.h"

#define MGI_AUDIO_KIND "audio"

typedef struct mgi_audio_config {
    mgi_vt_config transformer; /* its guidance: from nothing that is known to all of it */
    char codec[MGI_NAME_MAX + 1], text[MGI_NAME_MAX + 1]; /* names of models in the same folder */
    char vision[MGI_NAME_MAX + 1]; /* of the image encoder whose features it sees; "": none */
    int64_t window, overlap;       /* latents of a window; of them, shared with the next one */
    int64_t steps;                 /* of requests that ask for none */
} mgi_audio_config;

mgen_status mgi_audio_config_read(mgen_context *ctx, const mgi_json *json, mgi_audio_config *out);
/* The same without the names of models, which stand elsewhere: those that *out has stay. */
mgen_status mgi_audio_config_read_with(mgen_context *ctx, const mgi_json *json,
                                       mgi_audio_config *out);
/* CORRUPT unless windows, condition, features and text fit the transformer. */
mgen_status mgi_audio_config_check(mgen_context *ctx, const mgi_audio_config *config);
void mgi_audio_config_write(mgi_json_writer *w, const mgi_audio_config *config);

#endif
