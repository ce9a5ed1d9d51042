/* SPDX-License-Identifier: MIT
 * Rewriters in folders as Hugging Face's transformers write them: T5ForConditionalGeneration. For rewriter.c. Tier 5. */
#ifndef MGI_MODEL_REWRITER_HF_H
#define MGI_MODEL_REWRITER_HF_H

#include "model/rewriter.h"

/* config.json, the weights (io/safetensors_set.h) and the tokenizer's files of the folder `dir`/`name`; the half that
 * text_encoder_hf.h reads is read by it. No instruction: a folder has no place for one. */
mgen_status mgi_hf_rewriter_open(mgen_context *ctx, const char *dir, const char *name,
                                 mgi_rewriter *out, uint64_t *hash);

#endif
