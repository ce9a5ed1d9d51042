/* SPDX-License-Identifier: MIT
 * One block of the video transformer, in its two forms. Only for video_transformer*.c. Tier 5. */
#ifndef MGI_MODEL_VIDEO_TRANSFORMER_BLOCK_H
#define MGI_MODEL_VIDEO_TRANSFORMER_BLOCK_H

#include "kernels/norm/norm.h"
#include "model/video_transformer.h"

#define MGI_VT_EPS     1e-5f
#define MGI_VT_EPS_DIT 1e-6f

static inline int32_t mgi_vt_norm_kind(const mgi_vt_config *c)
{
    return c->block == MGI_VT_DIT ? MGK_NORM_LAYER : MGK_NORM_RMS;
}

static inline float mgi_vt_norm_eps(const mgi_vt_config *c)
{
    return c->block == MGI_VT_DIT ? MGI_VT_EPS_DIT : MGI_VT_EPS;
}

/* NULL: one rank. */
static inline mgi_comm *mgi_vt_group(const mgi_vt *vt, mgi_axis axis)
{
    return vt->mesh ? vt->mesh->group[axis] : NULL;
}

static inline bool mgi_vt_exchanges(const mgi_vt *vt)
{
    return vt->cp == MGI_CP_EXCHANGE && vt->mesh && vt->mesh->shape.cp > 1;
}

/* The number of a rank's first token, of `tokens` that it has. */
static inline int64_t mgi_vt_first_token(const mgi_vt *vt, int64_t tokens)
{
    return vt->mesh ? mgi_comm_rank(vt->mesh->group[MGI_AXIS_MODEL]) * tokens : 0;
}

/* The six vectors of the modulation. */
enum {
    MGI_VT_SCALE1,
    MGI_VT_SHIFT1,
    MGI_VT_GATE1,
    MGI_VT_SCALE2,
    MGI_VT_SHIFT2,
    MGI_VT_GATE2,
    MGI_VT_MODS
};

/* Inputs of a block: x (B,S,D), the rank's tokens, the shared modulation (B,6D) f32, the text (B,St,D), its mask (B,St) u8. */
enum { MGI_VT_IN_X, MGI_VT_IN_SHARED, MGI_VT_IN_TEXT, MGI_VT_IN_MASK, MGI_VT_INS };

typedef struct mgi_vt_block_of {
    const mgi_vt *vt;
    const mgi_vt_block *b;
    int64_t grid[3]; /* tokens: frames, rows, columns; */
    int64_t before;  /* of them, those of frames before the first one that is there */
    T *kv;           /* keys and values of the text, if they are there; never with a tape */
    T *counts;       /* as in mgi_vt_text, of all tokens */
} mgi_vt_block_of;

/* A block as vt->form and vt->recompute say. */
T *mgi_vt_block_forward(mgi_run *run, const mgi_vt_block_of *of, T *const in[MGI_VT_INS]);

/* What cross-attention reads of the text: keys and values (B,St,2,heads of this rank,Dh). */
T *mgi_vt_block_kv(mgi_run *run, const mgi_vt *vt, const mgi_vt_block *b, T *text);

/* `samples` rows of t from `first` on; NULL for NULL. */
T *mgi_vt_samples(mgi_run *run, T *t, int64_t first, int64_t samples);

/* mgi_block_fn: one node. */
T *mgi_vt_block_composite(mgi_run *run, const void *user, T *const *in);

/* video_transformer_text.c: the streams' parameters; all of them as (B,S,D), with their mask; what a
 * configuration says of text. */
void mgi_vt_text_init(mgi_vt *vt);
bool mgi_vt_task_fits(mgi_run *run, const mgi_vt *vt, const mgi_vt_text *text, int64_t samples);
/* Through the matrix `w`, what tells the task of each sample: (B, rows of w). */
T *mgi_vt_task(mgi_run *run, const mgi_vt *vt, const mgi_vt_text *text, const mgi_param *w);
T *mgi_vt_text_forward(mgi_run *run, const mgi_vt *vt, const mgi_vt_text *text, int64_t samples,
                       T **mask);
mgen_status mgi_vt_text_read(mgen_context *ctx, const mgi_json *json, mgi_vt_config *out);
void mgi_vt_text_write(mgi_json_writer *w, const mgi_vt_config *config);

#endif
