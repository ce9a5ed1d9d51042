/* SPDX-License-Identifier: MIT
 * The networks that a request runs through, loaded from a model folder. Tier 7. */
#ifndef MGI_TASK_PIPELINE_H
#define MGI_TASK_PIPELINE_H

#include "model/adapter.h"
#include "model/audio.h"
#include "model/audio_codec.h"
#include "model/clip_vision.h"
#include "model/editor.h"
#include "model/model_file.h"
#include "model/personalizer.h"
#include "model/tae.h"
#include "model/text_encoder.h"
#include "model/upsampler.h"
#include "model/video_transformer.h"

/* The clip that the model makes by default. */
typedef struct mgi_clip_shape {
    int64_t width, height, frames, fps;
} mgi_clip_shape;

typedef struct mgi_networks {
    const mgi_tae *tae;
    const mgi_text_encoder *text[MGI_ROLES]; /* NULL where the video model has no such stream, or on
                                                a rank that does not run it (mgi_runs_text) */
    const mgi_vt *video; /* over a mesh: what runs it is run by all ranks alike (generate.h) */
    mgi_clip_shape clip;
    /* Of an upsampler, which `video` then is: the TAE codes each frame by itself. NULL: of a video model. */
    const mgi_upsampler_config *upsampler;
    const mgi_editor_config *editor; /* of an editor, which `video` then is; else NULL */
    /* Of a personalizer, which `video` then is, with the encoder of its photos; else NULL, both. */
    const mgi_personalizer_config *personalizer;
    const mgi_clip_vision *vision;
} mgi_networks;

/* Latent frames of so many frames; of a window, and of them those that the next one shares. */
int64_t mgi_networks_latents(const mgi_networks *n, int64_t frames);
int64_t mgi_networks_window(const mgi_networks *n, int64_t *overlap);

/* <name>.json, that of the folder being "pipeline": names of the parts ("" = none) and the clip's shape. */
typedef struct mgi_pipeline_file {
    char tae[MGI_NAME_MAX + 1], text[MGI_ROLES][MGI_NAME_MAX + 1], video[MGI_NAME_MAX + 1];
    char upsampler[MGI_NAME_MAX + 1], editor[MGI_NAME_MAX + 1], audio[MGI_NAME_MAX + 1];
    char personalizer[MGI_NAME_MAX + 1], rewriter[MGI_NAME_MAX + 1];
    mgi_adapters adapters[MGI_ADAPTED_KINDS]; /* of each of the models, in their order */
    mgi_clip_shape clip;
} mgi_pipeline_file;
mgen_status mgi_pipeline_file_read(mgen_context *ctx, const char *dir, const char *name,
                                   mgi_pipeline_file *out);
mgen_status mgi_pipeline_file_write(mgen_context *ctx, const char *dir, const char *name,
                                    const mgi_pipeline_file *file);

/* The name of its model of a kind, in *file. That becomes the one of another model, whose only adapter is named too (NULL: it has
 * none): those before were the other's. */
char *mgi_pipeline_model(mgi_pipeline_file *file, int adapted);
void mgi_pipeline_put(mgi_pipeline_file *file, int adapted, const char *name, const char *adapter);

/* mgi_files_stamp of the file and of all models that it names. */
uint64_t mgi_pipeline_stamp(const char *dir, const char *name, const mgi_pipeline_file *file);

/* Load one network from dir, as mgi_text_encoder_open() does; *hash receives its identity. */
mgen_status mgi_tae_open(mgen_context *ctx, const char *dir, const char *name, mgi_tae *out,
                         uint64_t *hash);
mgen_status mgi_vt_open(mgen_context *ctx, const char *dir, const char *name, mgi_vt *out,
                        uint64_t *hash);
/* The same split over a mesh, as mgi_vt_init_mesh() does: of the file a rank reads its share. UNSUPPORTED where it has
 * shards. Held as the device says, MGI_HOLD_AS_FILE: as the configuration. With adapters of the same folder, or without
 * (NULL). */
mgen_status mgi_vt_open_mesh(mgen_context *ctx, const char *dir, const char *name,
                             const mgi_adapters *adapters, const mgi_mesh *mesh, mgi_vt *out,
                             uint64_t *hash);

/* An upsampler with its autoencoder; of what it is opened on, both are held as that says, MGI_HOLD_AS_FILE: as the
 * transformer's configuration. */
typedef struct mgi_upsampler {
    mgi_upsampler_config config;
    mgi_vt video;
    mgi_tae tae;
} mgi_upsampler;
mgen_status mgi_upsampler_open(mgen_context *ctx, const char *dir, const char *name,
                               mgi_upsampler *out, uint64_t *hash);
/* The transformer with adapters, split over a mesh, as mgi_vt_open_mesh() does; the autoencoder is whole on every rank. */
mgen_status mgi_upsampler_open_mesh(mgen_context *ctx, const char *dir, const char *name,
                                    const mgi_adapters *adapters, const mgi_mesh *mesh,
                                    mgi_upsampler *out, uint64_t *hash);
void mgi_upsampler_finish(mgi_upsampler *upsampler);

/* An editor, held as an upsampler's transformer is; the other networks are the pipeline's. */
typedef struct mgi_editor {
    mgi_editor_config config;
    mgi_vt video;
} mgi_editor;
mgen_status mgi_editor_open(mgen_context *ctx, const char *dir, const char *name, mgi_editor *out,
                            uint64_t *hash);
mgen_status mgi_editor_open_mesh(mgen_context *ctx, const char *dir, const char *name,
                                 const mgi_adapters *adapters, const mgi_mesh *mesh,
                                 mgi_editor *out, uint64_t *hash);
void mgi_editor_finish(mgi_editor *editor);

/* A personalizer with its image encoder, held as an upsampler's autoencoder is; the other networks are the pipeline's. */
typedef struct mgi_personalizer {
    mgi_personalizer_config config;
    mgi_vt video;
    mgi_clip_vision vision;
} mgi_personalizer;
mgen_status mgi_personalizer_open(mgen_context *ctx, const char *dir, const char *name,
                                  mgi_personalizer *out, uint64_t *hash);
/* The image encoder is whole on every rank. */
mgen_status mgi_personalizer_open_mesh(mgen_context *ctx, const char *dir, const char *name,
                                       const mgi_adapters *adapters, const mgi_mesh *mesh,
                                       mgi_personalizer *out, uint64_t *hash);
void mgi_personalizer_finish(mgi_personalizer *personalizer);

/* An audio model with the networks that its file names. */
typedef struct mgi_audio {
    mgi_audio_config config;
    mgi_vt transformer;
    mgi_audio_codec codec;
    mgi_text_encoder text;
    mgi_clip_vision vision; /* unless config.vision is "" */
} mgi_audio;
/* *hash receives the identity of all. Held as an upsampler is; the transformer with adapters, split over a mesh, the rest whole on
 * every rank. */
mgen_status mgi_audio_open(mgen_context *ctx, const char *dir, const char *name,
                           const mgi_adapters *adapters, const mgi_mesh *mesh, mgi_audio *out,
                           uint64_t *hash);
void mgi_audio_finish(mgi_audio *audio);
/* Whether the parts fit together. CORRUPT with what does not. */
mgen_status mgi_audio_check(mgen_context *ctx, const mgi_audio *audio);

/* The rank of a mesh that runs the text encoder of a role and tells the others its vectors: nobody else need load it.
 * Whether that is this one; mesh NULL: one rank. */
int mgi_text_rank(const mgi_mesh *mesh, int role);
bool mgi_runs_text(const mgi_mesh *mesh, int role);

/* Do the parts and the clip fit together? CORRUPT with what does not. */
mgen_status mgi_networks_check(mgen_context *ctx, const mgi_networks *n);

#endif
