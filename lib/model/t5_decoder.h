/* SPDX-License-Identifier: MIT
 * T5's decoder: the encoder's layers with tokens that see only what is before them, and between the two parts of each
 * layer attention to what the encoder made. Tier 5. */
#ifndef MGI_MODEL_T5_DECODER_H
#define MGI_MODEL_T5_DECODER_H

#include "model/t5.h"

typedef struct mgi_t5_decoder_config {
    mgi_t5_config t5; /* tokens_max: the longest output */
    int64_t told_dim; /* width of the encoder's vectors */
    bool
        tied; /* logits by the embedding, x / sqrt(dim), as the first T5; else by a matrix of their own */
} mgi_t5_decoder_config;

typedef struct mgi_t5_decoder_layer {
    mgi_param *norm1, *qkv, *out;          /* of the tokens before */
    mgi_param *norm2, *q, *kv, *cross_out; /* of the encoder's */
    mgi_param *norm3, *wi, *wo;
} mgi_t5_decoder_layer;

typedef struct mgi_t5_decoder {
    mgi_module module;
    mgi_t5_decoder_config config;
    mgi_param *embedding, *relative, *norm, *head; /* head: NULL if tied */
    mgi_t5_decoder_layer *layer;
} mgi_t5_decoder;

mgen_status mgi_t5_decoder_config_read(mgen_context *ctx, const mgi_json *json,
                                       mgi_t5_decoder_config *out);
void mgi_t5_decoder_config_write(mgi_json_writer *w, const mgi_t5_decoder_config *config);

mgen_status mgi_t5_decoder_init(mgi_t5_decoder *d, mgen_context *ctx,
                                const mgi_t5_decoder_config *config);
void mgi_t5_decoder_finish(mgi_t5_decoder *d);

/* ids (B,S) i32, what was written so far, of which each token sees itself and those before; told (B,Se,told_dim), the
 * encoder's, of which mask (B,Se) u8 counts -> logits of the next token (B,S,vocab), f32. */
T *mgi_t5_decode(mgi_run *run, const mgi_t5_decoder *d, T *ids, T *told, T *mask);

#endif
