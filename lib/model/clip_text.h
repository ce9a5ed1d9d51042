/* SPDX-License-Identifier: MIT
 * CLIP's text tower: a transformer whose tokens see only what is before them, with learned positions (77 in CLIP,
 * 256 in the report's Long-prompt MetaCLIP, App. A.1). Tier 5. */
#ifndef MGI_MODEL_CLIP_TEXT_H
#define MGI_MODEL_CLIP_TEXT_H

#include "dist/mesh.h"
#include "nn/module.h"

#define MGI_CLIP_TEXT_LAYERS_MAX 256
/* CLIP's: cosines are multiplied by no more; and what is taken for the least. */
#define MGI_CLIP_SCALE_MAX 100.0
#define MGI_CLIP_SCALE_MIN 0.01

typedef struct mgi_clip_text_config {
    int64_t vocab, dim, layers, heads, ff_dim; /* heads divides dim */
    int64_t tokens_max;                        /* positions */
    int64_t projection;                        /* width of the pooled vector; 0: not projected */
    /* What the cosines of texts' and pictures' vectors were multiplied by, as it was learned; 0: not known. */
    double scale;
    bool quick_gelu; /* x sigmoid(1.702 x), as CLIP was first trained; else GELU */
    float eps;       /* of the norms */
} mgi_clip_text_config;

typedef struct mgi_clip_text_layer {
    mgi_param *norm1, *norm1_bias, *qkv, *qkv_bias, *out, *out_bias;
    mgi_param *norm2, *norm2_bias, *up, *up_bias, *down, *down_bias;
} mgi_clip_text_layer;

typedef struct mgi_clip_text {
    mgi_module module;
    mgi_clip_text_config config;
    mgi_param *embedding, *position, *norm, *norm_bias, *projection; /* projection: or NULL */
    mgi_clip_text_layer *layer;
} mgi_clip_text;

/* "tokenizer" is for text_encoder.c. */
mgen_status mgi_clip_text_config_read(mgen_context *ctx, const mgi_json *json,
                                      mgi_clip_text_config *out);
void mgi_clip_text_config_write(mgi_json_writer *w, const mgi_clip_text_config *config);

/* mesh: as of mgi_t5_init(). */
mgen_status mgi_clip_text_init(mgi_clip_text *clip, mgen_context *ctx,
                               const mgi_clip_text_config *config, const mgi_mesh *mesh);
void mgi_clip_text_finish(mgi_clip_text *clip);

/* Another number of positions, their table stretched; all else stays. Not of one that is trained or divided: INTERNAL. */
mgen_status mgi_clip_text_stretch(mgi_clip_text *clip, int64_t tokens_max);

/* ids (B,S) i32, S <= tokens_max, mask (B,S) u8, 1 = token, or NULL -> (B,S,D), normalised. */
T *mgi_clip_text_encode(mgi_run *run, const mgi_clip_text *clip, T *ids, T *mask);

/* The vector of each text: x (B,S,D) of the above at its end token, projected. last (B) i32: b S + place of the
 * end token of text b. -> (B, projection or D). */
T *mgi_clip_text_pool(mgi_run *run, const mgi_clip_text *clip, T *x, T *last);

#endif
