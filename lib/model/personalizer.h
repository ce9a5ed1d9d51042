/* SPDX-License-Identifier: MIT
 * The personalizer of the report (PT2V): what it is beside its transformer. Tier 5.
 *
 * A video transformer in the latents of the pipeline's autoencoder, which is given a text, and beside it tokens of the photo
 * of a face: those of an image encoder in front of its last layer, the face alone being seen. */
#ifndef MGI_MODEL_PERSONALIZER_H
#define MGI_MODEL_PERSONALIZER_H

#include "model/model_file.h"
#include "model/video_transformer.h"

#define MGI_PERSONALIZER_KIND "personalizer"

typedef struct mgi_personalizer_config {
    mgi_vt_config video;           /* its guidance: from the photo alone to the text beside it */
    char vision[MGI_NAME_MAX + 1]; /* the image encoder, a model of the same folder */
    float source_guidance;         /* from neither to the photo alone; 1: none */
    int64_t steps;                 /* of requests that ask for none */
} mgi_personalizer_config;

mgen_status mgi_personalizer_config_read(mgen_context *ctx, const mgi_json *json,
                                         mgi_personalizer_config *out);
/* The same without the name of the image encoder, which stands elsewhere: the one that *out has stays. */
mgen_status mgi_personalizer_config_read_with(mgen_context *ctx, const mgi_json *json,
                                              mgi_personalizer_config *out);
/* CORRUPT unless the transformer sees photos, and nothing else. */
mgen_status mgi_personalizer_config_check(mgen_context *ctx, const mgi_personalizer_config *config);
void mgi_personalizer_config_write(mgi_json_writer *w, const mgi_personalizer_config *config);

#endif
