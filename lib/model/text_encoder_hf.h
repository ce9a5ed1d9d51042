/* SPDX-License-Identifier: MIT
 * Text encoders in folders as Hugging Face's transformers write them: T5 (with UL2 and ByT5, which are T5s) and CLIP.
 * For text_encoder.c. Tier 5. */
#ifndef MGI_MODEL_TEXT_ENCODER_HF_H
#define MGI_MODEL_TEXT_ENCODER_HF_H

#include "model/text_encoder.h"

/* config.json; what it leaves out is as transformers has it. Files of the tokenizer get their usual names. `bytes`:
 * ByT5's tokenizer, which has none. CORRUPT names the field; UNSUPPORTED: another network. */
mgen_status mgi_hf_text_config_read(mgen_context *ctx, const mgi_json *root, bool bytes,
                                    mgi_text_config *out);

/* Of the folder `dir`/`name`: config.json alone, with what tells ByT5 from T5. */
mgen_status mgi_hf_text_encoder_config(mgen_context *ctx, const char *dir, const char *name,
                                       mgi_text_config *out);
/* config.json, the weights (io/safetensors_set.h) and the tokenizer's files of the folder `dir`/`name`. Decoders and
 * towers for pictures are passed over; every other tensor must be the encoder's. Saved, its tokenizer's files get
 * `name` before theirs. pooled: with CLIP's projection of the vectors of texts, where there is one. */
mgen_status mgi_hf_text_encoder_open(mgen_context *ctx, const char *dir, const char *name,
                                     const mgi_mesh *mesh, bool pooled, mgi_text_encoder *out,
                                     uint64_t *hash);

#endif
