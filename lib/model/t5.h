/* SPDX-License-Identifier: MIT
 * T5 encoder (RMS norm before each part, relative position bias shared by all layers, no biases), the architecture of
 * UL2's and ByT5's encoders too. Tier 5. */
#ifndef MGI_MODEL_T5_H
#define MGI_MODEL_T5_H

#include "dist/mesh.h"
#include "nn/module.h"

#define MGI_T5_LAYERS_MAX 256

/* Between the two linear layers: a gate with GELU (its tanh form), as T5 1.1 and ByT5 have it; one with SiLU, as UL2;
 * or, without a gate, ReLU, as the first T5. In files: "gated-gelu", "gated-silu", "relu". */
enum { MGI_T5_GATED_GELU, MGI_T5_GATED_SILU, MGI_T5_RELU, MGI_T5_FFNS };
extern const char *const mgi_t5_ffn[MGI_T5_FFNS];

typedef struct mgi_t5_config {
    int64_t vocab, dim, layers, heads, head_dim, ff_dim;
    int64_t buckets, max_distance; /* relative positions */
    int64_t tokens_max;            /* longest input, in tokens */
    int32_t ffn;                   /* MGI_T5_* */
    float eps;                     /* of the norms */
} mgi_t5_config;

typedef struct mgi_t5_layer {
    mgi_param *norm1, *qkv, *out, *norm2, *wi, *wo;
} mgi_t5_layer;

typedef struct mgi_t5 {
    mgi_module module;
    mgi_t5_config config;
    mgi_param *embedding, *relative, *norm;
    mgi_t5_layer *layer;
} mgi_t5;

/* "tokenizer" is for text_encoder.c. */
mgen_status mgi_t5_config_read(mgen_context *ctx, const mgi_json *json, mgi_t5_config *out);
/* T5's rule for positions: one part in `share` of the buckets, 4 where tokens see both ways, else 2, has a position each, the
 * others divide the rest. CORRUPT. */
mgen_status mgi_t5_check_buckets(mgen_context *ctx, const mgi_t5_config *config, int64_t share);
void mgi_t5_config_write(mgi_json_writer *w, const mgi_t5_config *config);
/* The same of a decoder too, all but "vocab"; unknown keys are the caller's matter. */
mgen_status mgi_t5_sizes_read(mgen_context *ctx, const mgi_json *json, mgi_t5_config *out);
void mgi_t5_sizes_write(mgi_json_writer *w, const mgi_t5_config *config);

/* mesh: over which the parameters are sharded (nn/fsdp.h), which must stay; NULL: every rank has them. */
mgen_status mgi_t5_init(mgi_t5 *t5, mgen_context *ctx, const mgi_t5_config *config,
                        const mgi_mesh *mesh);
void mgi_t5_finish(mgi_t5 *t5);

/* ids (B,S) i32, mask (B,S) u8, 1 = token -> (B,S,D). */
T *mgi_t5_encode(mgi_run *run, const mgi_t5 *t5, T *ids, T *mask);

/* What stands between the two linear layers. */
T *mgi_t5_activate(mgi_run *run, const mgi_t5_config *config, T *h);

#endif
