/* SPDX-License-Identifier: MIT
 * The editor of the report (Movie Gen Edit): what it is beside its transformer. Tier 5.
 *
 * A video transformer in the latents of the pipeline's autoencoder. It sees those of the film to be edited beside those
 * that it makes, is given the instruction as text, and is told what kind of edit that is (text/edit_task.h). */
#ifndef MGI_MODEL_EDITOR_H
#define MGI_MODEL_EDITOR_H

#include "model/model_file.h"
#include "model/video_transformer.h"
#include "text/edit_task.h"

#define MGI_EDITOR_KIND "editor"

typedef struct mgi_editor_config {
    mgi_vt_config video; /* its guidance: from no instruction to the one that is given */
    float
        source_guidance; /* from a black film to the one that is given, both without an instruction; 1: none */
    int64_t steps; /* of requests that ask for none */
} mgi_editor_config;

mgen_status mgi_editor_config_read(mgen_context *ctx, const mgi_json *json, mgi_editor_config *out);
/* CORRUPT unless condition and tasks are those of an editor. */
mgen_status mgi_editor_config_check(mgen_context *ctx, const mgi_editor_config *config);
void mgi_editor_config_write(mgi_json_writer *w, const mgi_editor_config *config);

#endif
