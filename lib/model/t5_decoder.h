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

/* All but t5.vocab and told_dim, which are the encoder's matter and stay as they are. */
mgen_status mgi_t5_decoder_config_read(mgen_context *ctx, const mgi_json *json,
                                       mgi_t5_decoder_config *out);
void mgi_t5_decoder_config_write(mgi_json_writer *w, const mgi_t5_decoder_config *config);

mgen_status mgi_t5_decoder_init(mgi_t5_decoder *d, mgen_context *ctx,
                                const mgi_t5_decoder_config *config);
void mgi_t5_decoder_finish(mgi_t5_decoder *d);

/* ids (B,S) i32, what was written so far, of which each token sees itself and those before; told (B,Se,told_dim), the
 * encoder's, of which mask (B,Se) u8 counts -> logits of the next token (B,S,vocab), f32. */
T *mgi_t5_decode(mgi_run *run, const mgi_t5_decoder *d, T *ids, T *told, T *mask);

/* The same of one text, token after token: keys and values of what was written, and of what is told, are kept. Nothing is
 * recorded. */
typedef struct mgi_t5_writing {
    const mgi_t5_decoder *decoder;
    mgen_context *ctx;            /* whose memory this is: of who writes, not the decoder's */
    mgi_tensor **written, **told; /* of each layer: (1,room,2,H,Dh), (1,Se,2,H,Dh) */
    mgi_tensor *mask, *bias;      /* (1,Se), (H, 2 tokens_max - 1) */
    int64_t count, room;          /* tokens written, and for how many there is room */
} mgi_t5_writing;

/* told (1,Se,told_dim), mask (1,Se). A failure is the run's; what there is ends with mgi_t5_write_end(). */
void mgi_t5_write_begin(mgi_run *run, mgi_t5_writing *w, const mgi_t5_decoder *d, T *told, T *mask);
/* One token more, id (1,1) i32, of tokens_max in all -> logits of the next (1,1,vocab), f32. */
T *mgi_t5_write(mgi_run *run, mgi_t5_writing *w, T *id);
void mgi_t5_write_end(mgi_t5_writing *w);

#endif
