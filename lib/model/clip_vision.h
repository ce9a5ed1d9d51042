/* SPDX-License-Identifier: MIT
 * CLIP's image tower: a transformer over the patches of a picture, which makes one vector of it. Where the report
 * gives sound the frames of a film, they are such vectors. Tier 5. */
#ifndef MGI_MODEL_CLIP_VISION_H
#define MGI_MODEL_CLIP_VISION_H

#include "nn/module.h"

#define MGI_CLIP_VISION_LAYERS_MAX 256
#define MGI_CLIP_VISION_IMAGE_MAX  2048

typedef struct mgi_clip_vision_config {
    int64_t image, patch;               /* sides in pixels; patch divides image */
    int64_t dim, layers, heads, ff_dim; /* heads divides dim */
    int64_t projection;                 /* width of a picture's vector; 0: not projected, dim */
    int32_t activation; /* MGK_UNARY_GELU_ERF, or MGK_UNARY_QUICK_GELU, as CLIP was first trained */
    float mean[3],
        deviation
            [3]; /* of the channels, in 0..1: what the network takes is (rgb - mean) / deviation */
    float eps;   /* of the norms */
} mgi_clip_vision_config;

typedef struct mgi_clip_vision_layer {
    mgi_param *norm1, *norm1_bias, *qkv, *qkv_bias, *out, *out_bias;
    mgi_param *norm2, *norm2_bias, *up, *up_bias, *down, *down_bias;
} mgi_clip_vision_layer;

typedef struct mgi_clip_vision {
    mgi_module module;
    mgi_clip_vision_config config;
    mgi_param *patch;                             /* (dim, patch patch 3) */
    mgi_param *first, *position;                  /* the token before the patches; of all tokens */
    mgi_param *pre, *pre_bias, *norm, *norm_bias; /* before the layers; behind them */
    mgi_param *projection;                        /* or NULL */
    mgi_clip_vision_layer *layer;
} mgi_clip_vision;

mgen_status mgi_clip_vision_config_read(mgen_context *ctx, const mgi_json *json,
                                        mgi_clip_vision_config *out);
void mgi_clip_vision_config_write(mgi_json_writer *w, const mgi_clip_vision_config *config);
/* What readers of other files share: CORRUPT unless the sizes go together, with the names there of image, patch, dim and
 * heads; and three numbers of `min` or more, or what *out has if there is no such key. */
mgen_status mgi_clip_vision_config_check(mgen_context *ctx, const mgi_clip_vision_config *config,
                                         const char *const names[4]);
mgen_status mgi_clip_vision_channels(mgen_context *ctx, const mgi_json *json, const char *key,
                                     double min, float out[3]);
/* CLIP's own means and deviations of photographs, and eps. */
void mgi_clip_vision_usual(mgi_clip_vision_config *config);
int64_t mgi_clip_vision_width(const mgi_clip_vision_config *config); /* of a picture's vector */
int64_t mgi_clip_vision_token_count(const mgi_clip_vision_config *config); /* of a picture */

/* Without values; mgi_module_random() has them new. */
mgen_status mgi_clip_vision_init(mgi_clip_vision *clip, mgen_context *ctx,
                                 const mgi_clip_vision_config *config);
void mgi_clip_vision_finish(mgi_clip_vision *clip);
/* <name>.json (kind "clip-vision") and <name>.safetensors in `dir`, or the folder `name` there, as Hugging Face has them
 * (clip_vision_hf.h); *hash receives their identity. */
mgen_status mgi_clip_vision_open(mgen_context *ctx, const char *dir, const char *name,
                                 mgi_clip_vision *out, uint64_t *hash);
/* The configuration alone: weights need not be there. */
mgen_status mgi_clip_vision_config_of(mgen_context *ctx, const char *dir, const char *name,
                                      mgi_clip_vision_config *out);
mgen_status mgi_clip_vision_save(mgi_clip_vision *clip, const char *dir, const char *name,
                                 mgi_st_dtype store);

/* x (N,image,image,3) f32, normalised -> (N,width) in the module's dtype. */
T *mgi_clip_vision_forward(mgi_run *run, const mgi_clip_vision *clip, T *x);

/* Of the same: what the last layer would be given, of the token before the patches and of each patch, rows of them from the
 * top (transformers' hidden_states[-2]) -> (N,token count,dim) in the module's dtype. */
T *mgi_clip_vision_tokens(mgi_run *run, const mgi_clip_vision *clip, T *x);
/* What the tokens do not depend on, the last layer and what is behind it, does not train. */
void mgi_clip_vision_train_tokens(mgi_clip_vision *clip);

/* Frames (N,H,W,3) of any size, u8, or f32 in [-1,1], which is rounded to bytes -> (N,image,image,3) f32 as the above
 * takes them: the shorter side becomes `image` and the middle of the longer one is kept. As in CLIP's own preparation
 * by Pillow: bicubic (a = -1/2), over as much wider an area as a frame shrinks, first along rows, then along columns,
 * rounded to bytes after each. No gradient. */
T *mgi_clip_vision_frames(mgi_run *run, const mgi_clip_vision *clip, T *frames);

#endif
