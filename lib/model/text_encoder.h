/* SPDX-License-Identifier: MIT
 * A text encoder: one of the networks with the tokenizer that it was trained with. Tier 5. */
#ifndef MGI_MODEL_TEXT_ENCODER_H
#define MGI_MODEL_TEXT_ENCODER_H

#include "model/clip_text.h"
#include "model/t5.h"
#include "text/tokenizer.h"

/* By their names in files: "t5-bytes", "t5-sentencepiece", "clip-bpe". */
enum { MGI_TEXT_T5_BYTES, MGI_TEXT_T5_SENTENCEPIECE, MGI_TEXT_CLIP_BPE, MGI_TEXT_KINDS };

typedef struct mgi_text_config {
    int kind; /* MGI_TEXT_* */
    mgi_tokenizer_files files;
    mgi_t5_config t5; /* of the kind's network */
    mgi_clip_text_config clip;
} mgi_text_config;

typedef struct mgi_text_encoder {
    mgi_text_config config;
    const mgi_tokenizer *tokenizer;
    mgi_tokenizer *own; /* the same, or NULL if another encoder's is used */
    mgi_t5 t5;          /* of the kind's network */
    mgi_clip_text clip;
} mgi_text_encoder;

/* {"kind": ..., "config": ...}, of a model's file or a recipe; `config` holds the network's configuration and,
 * under "tokenizer", the names of the tokenizer's files. */
mgen_status mgi_text_config_read(mgen_context *ctx, const mgi_json *object, mgi_text_config *out);
void mgi_text_config_write(mgi_json_writer *w, const mgi_text_config *config);
const char *mgi_text_kind(const mgi_text_config *config);

/* Without values, with the tokenizer of files in `dir`. CORRUPT if the two do not fit. mesh: over which the network's
 * parameters are sharded, which must stay, or NULL. */
mgen_status mgi_text_encoder_init(mgi_text_encoder *e, mgen_context *ctx, const char *dir,
                                  const mgi_text_config *config, const mgi_mesh *mesh);
/* The network alone, without values and tokenizer. */
mgen_status mgi_text_encoder_network(mgi_text_encoder *e, mgen_context *ctx,
                                     const mgi_text_config *config, const mgi_mesh *mesh);
/* The configuration of one that a folder has, of which weights and tokenizer need not be there. NOT_FOUND. */
mgen_status mgi_text_encoder_config(mgen_context *ctx, const char *dir, const char *name,
                                    mgi_text_config *out);
/* Such a network again, without values, on another context; the tokenizer stays that of `of`. */
mgen_status mgi_text_encoder_shadow(mgi_text_encoder *e, mgen_context *ctx,
                                    const mgi_text_encoder *of);
/* <name>.json, <name>.safetensors and the tokenizer's files in `dir`, or the folder `name` there, as Hugging Face has
 * them (text_encoder_hf.h); *hash receives the identity of all. */
mgen_status mgi_text_encoder_open(mgen_context *ctx, const char *dir, const char *name,
                                  mgi_text_encoder *out, uint64_t *hash);
/* The same, sharded over a mesh. */
mgen_status mgi_text_encoder_open_mesh(mgen_context *ctx, const char *dir, const char *name,
                                       const mgi_mesh *mesh, mgi_text_encoder *out, uint64_t *hash);
/* The same, not sharded, of the kind "clip-bpe" alone, else INVALID; with the projection of the vectors of texts that a folder
 * of Hugging Face has for comparing them with pictures', which the others leave out. */
mgen_status mgi_text_encoder_open_pooled(mgen_context *ctx, const char *dir, const char *name,
                                         mgi_text_encoder *out, uint64_t *hash);
mgen_status mgi_text_encoder_save(mgi_text_encoder *e, const char *dir, const char *name,
                                  mgi_st_dtype store);
void mgi_text_encoder_finish(mgi_text_encoder *e);

mgi_module *mgi_text_module(mgi_text_encoder *e);
int64_t mgi_text_width(const mgi_text_encoder *e);      /* of a token's vector */
int64_t mgi_text_tokens_max(const mgi_text_encoder *e); /* longest input */

/* ids (B,S) i32, mask (B,S) u8 -> (B,S,width). */
T *mgi_text_encoder_forward(mgi_run *run, const mgi_text_encoder *e, T *ids, T *mask);

#endif
