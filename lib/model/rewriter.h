/* SPDX-License-Identifier: MIT
 * The prompt rewriter of the report (3.4.1): what users type becomes what the captions are like that the models were trained
 * on. There a language model of 8 billion parameters, here a T5, of this library or from Hugging Face. Tier 5. */
#ifndef MGI_MODEL_REWRITER_H
#define MGI_MODEL_REWRITER_H

#include "model/model_file.h"
#include "model/t5_decoder.h"
#include "model/text_encoder.h"

#define MGI_REWRITER_KIND            "rewriter"
#define MGI_REWRITER_INSTRUCTION_MAX 255

typedef struct mgi_rewriter_config {
    mgi_text_config text; /* the encoder, a T5, and the tokenizer of both sides */
    mgi_t5_decoder_config decoder;
    char instruction[MGI_REWRITER_INSTRUCTION_MAX + 1]; /* stands before prompts; "" = nothing */
} mgi_rewriter_config;

typedef struct mgi_rewriter {
    mgi_rewriter_config config;
    mgi_text_encoder text;
    mgi_t5_decoder decoder;
} mgi_rewriter;

mgen_status mgi_rewriter_config_read(mgen_context *ctx, const mgi_json *json,
                                     mgi_rewriter_config *out);
void mgi_rewriter_config_write(mgi_json_writer *w, const mgi_rewriter_config *config);
/* CORRUPT unless the parts can be a rewriter's. */
mgen_status mgi_rewriter_config_check(mgen_context *ctx, const mgi_rewriter_config *config);

/* Without values, with the tokenizer of files in `dir`. CORRUPT if the parts do not fit. */
mgen_status mgi_rewriter_init(mgi_rewriter *r, mgen_context *ctx, const char *dir,
                              const mgi_rewriter_config *config);
/* <name>.json, <name>.safetensors and the tokenizer's files in `dir`, or the folder `name` there, a
 * T5ForConditionalGeneration of Hugging Face. */
mgen_status mgi_rewriter_open(mgen_context *ctx, const char *dir, const char *name,
                              mgi_rewriter *out, uint64_t *hash);
mgen_status mgi_rewriter_save(mgi_rewriter *r, const char *dir, const char *name,
                              mgi_st_dtype store);
void mgi_rewriter_finish(mgi_rewriter *r);

/* The decoder's first token, and the one that ends a text. */
int32_t mgi_rewriter_begin(const mgi_rewriter *r);
int32_t mgi_rewriter_end(const mgi_rewriter *r);

/* A prompt as rows of the encoder have it: the instruction, the prompt, the end. Too long: INVALID. */
mgen_status mgi_rewriter_read(mgen_context *ctx, const mgi_rewriter *r, const char *prompt,
                              mgi_tokens *out);

/* ids (B,Se) i32, mask (B,Se) u8: prompts; told (B,S) i32: the first token and what follows, shorter ones filled up with any
 * -> (B,S,vocab), f32: logits of what comes behind each of told's. */
T *mgi_rewriter_logits(mgi_run *run, const mgi_rewriter *r, T *ids, T *mask, T *told);

#endif
