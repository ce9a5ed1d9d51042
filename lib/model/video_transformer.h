/* SPDX-License-Identifier: MIT
 * The video transformer, report section 3.1.3 and figure 8. Tier 5. */
#ifndef MGI_MODEL_VIDEO_TRANSFORMER_H
#define MGI_MODEL_VIDEO_TRANSFORMER_H

#include "dist/mesh.h"
#include "nn/module.h"
#include "text/prompt.h"

#define MGI_VT_LAYERS_MAX 256

typedef struct mgi_vt_config {
    int64_t layers, dim, heads, ff_dim;
    int64_t channels;  /* of the latents */
    int64_t condition; /* of latents that it sees beside them: to be upsampled, edited; 0: none */
    int64_t
        features; /* of each frame, that are seen beside it; 0: none. Frames are one patch then */
    int64_t tasks,
        task_dim; /* that it is told (text/edit_task.h), and the width of their vectors; 0: none */
    int64_t
        reference; /* width of a photo's tokens, that are attended to beside a text's; 0: none */
    int64_t patch_t, patch_h, patch_w;         /* 1, 2, 2 */
    int64_t frames_max, rows_max, columns_max; /* sizes of the position tables, in patches */
    int64_t text[MGI_ROLES];                   /* widths of the text encoders; 0: no such stream */
    int64_t time_dim;                          /* of the sinusoid */
    bool fps_prefix;           /* captions of videos begin with the frame rate: "FPS-16 " (3.1.3) */
    int32_t block, activation; /* MGI_VT_*; the activation is DiT's */
    int32_t objective;         /* MGI_VT_FLOW or MGI_VT_V_PREDICTION: what the head means */
    float guidance;            /* of requests that ask for none; 0: MGI_VT_GUIDANCE */
    float noise_scale;         /* deviation of the noise, likewise; 0: 1 */
    int32_t precision; /* MGI_HOLD_*: how it is held for requests, unless the host says so */
} mgi_vt_config;
#define MGI_VT_GUIDANCE        7.5f /* the report's */
#define MGI_VT_NOISE_SCALE_MAX 2.0f

/* The scale of a request that asks for `guidance`; 0: the model's own. */
static inline float mgi_vt_guidance(const mgi_vt_config *c, float guidance)
{
    return guidance > 0.0f ? guidance : c->guidance > 0.0f ? c->guidance : MGI_VT_GUIDANCE;
}

/* Of a request that asks for `noise_scale`; 0: the model's own. */
static inline float mgi_vt_noise_scale(const mgi_vt_config *c, float noise_scale)
{
    return noise_scale > 0.0f ? noise_scale : c->noise_scale > 0.0f ? c->noise_scale : 1.0f;
}

/* The kind of block: the report's, as in LLaMa (RMSNorm, SwiGLU, no biases); or the one that it compares with, as in
 * DiT (LayerNorm without weights, two linear layers with an activation between them, biases). */
enum { MGI_VT_LLAMA, MGI_VT_DIT };
enum { MGI_VT_GELU, MGI_VT_SILU };
/* What the network answers: the velocity of the flow at its point; or v of variance-preserving diffusion at that
 * point scaled to variance 1 (flow/diffusion.h). */
enum { MGI_VT_FLOW, MGI_VT_V_PREDICTION };

typedef struct mgi_vt_block {
    mgi_param *mod;           /* (1,6,D): added to the shared modulation */
    mgi_param *norm1, *norm2; /* NULL with DiT */
    mgi_param *qkv, *out, *cross_q, *cross_kv, *cross_out;
    mgi_param *up, *down; /* up: of the gate and what it weighs, or without a gate */
    mgi_param *qkv_b, *out_b, *cross_q_b, *cross_kv_b, *cross_out_b; /* DiT's, else NULL */
    mgi_param *up_b, *down_b;
} mgi_vt_block;

/* A task is told by so many vectors beside those of the text, and by one beside that of the time (the report's Movie Gen Edit). */
enum { MGI_VT_TASK_TOKENS = 4 };

/* How a text encoder's vectors become what is attended to. */
typedef struct mgi_vt_stream {
    mgi_param *proj, *norm_w, *norm_b; /* NULL: no such stream */
} mgi_vt_stream;

/* What the blocks read of a text, which is the same at every step of a sampler. Tensors of the run's scope. */
typedef struct mgi_vt_seen {
    T *p, *mask;              /* the streams, projected and put together */
    T *kv[MGI_VT_LAYERS_MAX]; /* keys and values */
} mgi_vt_seen;

/* Encoded prompts, by role; and what else a point is seen beside. */
typedef struct mgi_vt_text {
    T *x[MGI_ROLES];                  /* (B,S,width); NULL: the stream is not there, or left out */
    const int64_t *tokens[MGI_ROLES]; /* of each sample, 1..S: the rest is padding; NULL: all S */
    /* (B,N,config.reference): tokens of photos; NULL: nobody has one. Who has none gets what a model without them gives of
     * the same text. */
    T *reference;
    const int64_t *references; /* of each sample, 0..N of them, the first ones; NULL: all N */
    int64_t reference_rows;    /* N, where places are made before the tokens are there; else 0 */
    T *task;                   /* (B) i32, below config.tasks; NULL without tasks */
    T *mask, *places;          /* of mgi_vt_text_places; NULL: forward makes them */
    const mgi_vt_seen *seen;   /* of mgi_vt_see, of this text; NULL: made anew */
    T *condition; /* (B,T,H,W,config.condition), normalised latents; NULL without such channels */
    T *features;  /* (B,T / patch_t,config.features) f32; NULL without such */
    int64_t first_frame; /* the place in time of the first frame of patches */
    T *counts; /* (B,tokens) u8, 1: others attend to it; NULL: to all. Never with a tape: of tokens that are there for ranks to
                  divide, behind the true ones */
} mgi_vt_text;

/* How a block runs: as one node with a gradient written by hand, or as a chain of single ops, which is its
 * definition and the only form of DiT's. */
enum { MGI_BLOCK_COMPOSITE, MGI_BLOCK_CHAINED };

/* What training keeps of a block for the gradient: everything; its input and the result of self-attention;
 * its input only. The rest is computed again. */
enum { MGI_RECOMPUTE_NONE, MGI_RECOMPUTE_SELECTIVE, MGI_RECOMPUTE_FULL };

/* How the ranks of a CP group, with a part of the tokens each, attend to all of them: the keys and values are gathered;
 * or tokens are exchanged for heads, of which each has a share then. */
enum { MGI_CP_GATHER, MGI_CP_EXCHANGE };

typedef struct mgi_vt {
    mgi_module module;
    mgi_vt_config config;
    const mgi_mesh *mesh;                               /* NULL: one rank */
    mgi_param *patch, *patch_b, *pos_t, *pos_h, *pos_w; /* biases: DiT, else NULL */
    mgi_param *patch_condition; /* its weights for those channels, zero at first; or NULL */
    mgi_param *feature;         /* (2 dim, features): the gate, and what it weighs; or NULL */
    mgi_vt_stream stream[MGI_ROLES], reference;
    mgi_param *task, *task_text,
        *task_time; /* vectors (tasks, task_dim), what they become; or NULL */
    mgi_param *time1_w, *time1_b, *time2_w, *time2_b, *mod_w, *mod_b;
    mgi_param *head_norm, *head_mod_w, *head_mod_b, *head, *head_b; /* head_norm: NULL with DiT */
    mgi_vt_block *block;
    int recompute, form, cp; /* MGI_RECOMPUTE_*, MGI_BLOCK_*, MGI_CP_*; no part of the model */
    int64_t
        part_tokens; /* tokens that a block with a tape computes at a time, on a CPU; 0: as measured */
} mgi_vt;

/* The report's sizes: "1b", "5b", "30b", with its three text encoders, "7b", its upsampler, which sees a condition, and "13b",
 * the transformer of its audio model, which sees features of frames; and "toybox". INVALID, with a list, for another name. */
mgen_status mgi_vt_preset(mgen_context *ctx, const char *name, mgi_vt_config *out);

mgen_status mgi_vt_config_read(mgen_context *ctx, const mgi_json *json, mgi_vt_config *out);
void mgi_vt_config_write(mgi_json_writer *w, const mgi_vt_config *config);

mgen_status mgi_vt_init(mgi_vt *vt, mgen_context *ctx, const mgi_vt_config *config);
/* The same, split over a mesh, which must stay (NULL: one rank): heads and FFN over its tp, tokens over cp x tp. All
 * ranks of a sample call everything with the same arguments and get the same results; of gradients, those that
 * mgi_module_sum_partial() sums are the rank's part before. INVALID, with those that are legal, for a tp that does
 * not divide the heads and the FFN. */
mgen_status mgi_vt_init_mesh(mgi_vt *vt, mgen_context *ctx, const mgi_vt_config *config,
                             const mgi_mesh *mesh);
/* Whether tp ranks cannot share so many heads and such an FFN; then also why, and which sizes of tp can. */
enum { MGI_VT_WHY = 320 };
bool mgi_vt_undivided(int64_t heads, int64_t ff_dim, int tp, char why[MGI_VT_WHY]);
void mgi_vt_finish(mgi_vt *vt);
/* Whether so many tokens of a sample can be split as the mesh and vt->cp say. INVALID if not. */
mgen_status mgi_vt_check_tokens(mgen_context *ctx, const mgi_vt *vt, int64_t tokens);
/* With as many more behind them as let the mesh's cp x tp divide them. */
int64_t mgi_vt_padded(const mgi_vt *vt, int64_t tokens);
/* Whether patches of one configuration consist of whole ones of the other. */
bool mgi_vt_patch_divides(const mgi_vt_config *large, const mgi_vt_config *small);
/* The values in a file of a model whose configuration, `theirs`, is the same but for shorter position tables, which are
 * stretched, for larger patches, which consist of whole ones of the model's: these begin with sums of their weights, and
 * predict the mean of what they predict, for channels of a condition, which begin unseen, for tasks, which begin without effect,
 * for tokens of photos, which begin weak, for latents of other channels, whose first and last layer begin anew, and for more blocks, of which those are taken that lie evenly. As mgi_module_load(), `vt` split over a mesh or not. */
mgen_status mgi_vt_load_grown(mgi_vt *vt, const mgi_vt_config *theirs, const mgi_st_file *st,
                              const char *file);
/* Initial values, with the gates of every block open. */
mgen_status mgi_vt_random(mgi_vt *vt, uint64_t seed);

/* Rows of padded text: a multiple, but at most `most`, and at least `size`. */
int64_t mgi_text_padded(int64_t size, int64_t multiple, int64_t most);
/* What the host writes for the text of `samples` samples, streams of rows[role] rows each, 0: not there; together padded
 * to a `multiple`; text->task is there already, if there is one, and so are text->reference or text->reference_rows. Forward makes it where text->mask is NULL, with multiple 1; only with it does forward write nothing of
 * its own, so that it can be captured (tensor/graph.h). */
void mgi_vt_text_places(mgi_run *run, mgi_vt_text *text, int64_t samples,
                        const int64_t rows[MGI_ROLES], int64_t multiple);
/* Read the text of `samples` samples once for many calls of forward, without a tape and on one rank. Forward then gives
 * the same bits as without. */
void mgi_vt_see(mgi_run *run, const mgi_vt *vt, const mgi_vt_text *text, int64_t samples,
                mgi_vt_seen *seen);
/* That of its first samples: views. */
void mgi_vt_seen_first(mgi_run *run, const mgi_vt *vt, const mgi_vt_seen *seen, int64_t samples,
                       mgi_vt_seen *first);
void mgi_vt_seen_drop(mgi_run *run, mgi_vt_seen *seen);
/* What the head means, at flow time t (B), of x (B,T,H,W,C), normalised latents. Of the streams of text one must be there. What a
 * sample gets depends neither on the other samples nor on padding. */
T *mgi_vt_forward(mgi_run *run, const mgi_vt *vt, T *x, T *t, const mgi_vt_text *text);
/* The same as the velocity of the flow at its point x, whatever the head means. */
T *mgi_vt_velocity(mgi_run *run, const mgi_vt *vt, T *x, T *t, const mgi_vt_text *text);

#endif
