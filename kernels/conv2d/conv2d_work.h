/* SPDX-License-Identifier: MIT
 * What the convolution and its gradients share on the panel engine. Inside kernels/conv2d only. */
#ifndef MGK_CONV2D_WORK_H
#define MGK_CONV2D_WORK_H

#include "kernels/conv2d/conv2d_plan.h"

typedef struct mgk_conv2d_work {
    const mgk_conv2d_plan *p;
    const mgk_panel *engine;
    float *shared, *own; /* packed weights or partial sums; the threads' parts */
    bool alone;          /* one thread: slabs follow each other */
} mgk_conv2d_work;

typedef struct mgk_conv2d_space {
    float *copy, *out, *sums;
    const void **table;
} mgk_conv2d_space;

mgk_conv2d_space mgk_conv2d_space_of(const mgk_conv2d_work *w, int thread);

/* The pixels of a slab: picture b, rows i0..i1-1, columns j0..j1-1. */
typedef struct mgk_conv2d_block {
    int64_t b, i0, i1, j0, j1;
} mgk_conv2d_block;

/* h, w: the pictures that the plan cut. */
mgk_conv2d_block mgk_conv2d_block_of(const mgk_conv2d_plan *p, int64_t slab, int64_t h, int64_t w);

typedef struct mgk_conv2d_picture {
    mgk_buf data; /* one picture */
    int64_t h, w, ch;
    bool replicate;
} mgk_conv2d_picture;

/* rows[i - i0] = columns j0..j1-1 of row i, for i = i0..i1-1, any of which may lie outside, as the engine
 * reads them. NULL is a row of zeros. Without `copy` rows that lie inside stay where they are (but bf16
 * becomes f32 for engines of floats). Returns the end of the space used. */
float *mgk_conv2d_take_rows(const mgk_panel *engine, const mgk_conv2d_picture *s, int64_t i0,
                            int64_t i1, int64_t j0, int64_t j1, bool copy, const void **rows,
                            float *space);

/* Of the first pixel's kernel row the first `lead` columns lie outside, of the last one's the last `tail`, and of no other's
 * any. They are left out then, and nothing need be copied. */
typedef struct mgk_conv2d_edges {
    bool trimmed;
    int64_t lead, tail;
    int64_t row_bytes; /* of a row as it was taken */
} mgk_conv2d_edges;

/* Kernels of kw columns at first, first + step, ... and last, in rows of w pixels of ch channels, replicated or 0 outside. */
mgk_conv2d_edges mgk_conv2d_edges_of(const mgk_panel *engine, const mgk_conv2d_picture *s,
                                     int64_t kw, int64_t step, int64_t first, int64_t last);

/* What the edges leave out of values sub..sub+len-1 of a kernel row, whose values are `all`. */
static inline void mgk_conv2d_trim(mgk_panel_job *job, const mgk_conv2d_edges *e, int64_t ch,
                                   int64_t all, int64_t sub)
{
    job->lead = mgk_min64(mgk_max64(e->lead * ch - sub, 0), job->len);
    job->tail = mgk_min64(mgk_max64(sub + job->len - (all - e->tail * ch), 0), job->len);
}

/* Whether a job's segments are three taps of neighbouring pixels of ch channels. */
static inline bool mgk_conv2d_taps(const mgk_panel *engine, const mgk_panel_job *job, int64_t ch)
{
    return job->a_row == ch && job->len == 3 * ch && !(engine->pairs && ch % 2);
}

/* Asks for rows that are read soon. Further ones are asked for while the engine runs (`next` of its job): it waits for
 * each line that comes from beyond the second-level cache, since it reads many rows at once. */
static inline void mgk_conv2d_ask(const void *const *rows, int64_t count, int64_t row_bytes)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t at = 0; rows[i] && at < row_bytes; at += 64)
            __builtin_prefetch((const char *)rows[i] + at, 0, 2);
}

/* A block of k: a range of segments (all of their length) or a part of one segment. */
typedef struct mgk_conv2d_k {
    int64_t seg, segs, sub, len;
} mgk_conv2d_k;

bool mgk_conv2d_next_k(const mgk_conv2d_plan *p, int64_t segs, int64_t len, mgk_conv2d_k *b);

/* Where a strip's results go: c; f32 sums of earlier blocks of k stand in a bf16 C's place in `sums`. */
typedef struct mgk_conv2d_target {
    mgk_buf c;
    int64_t ldc;
    bool load; /* add to c */
    float *sums;
} mgk_conv2d_target;

enum { MGK_CONV2D_SUMS = MGK_PANEL_NR_MAX /* floats a pixel of the sums */ };

void mgk_conv2d_aim(mgk_panel_job *job, const mgk_conv2d_target *t, bool first, bool last);

/* Packs the weights, then runs the slabs. */
void mgk_conv2d_with_weights(const mgk_conv2d_plan *p, mgk_exec *x, const mgk_panel *engine,
                             int64_t packs, mgi_pool_fn *pack, mgi_pool_fn *slab);

/* Few channels of the result (p->spread): of the forward convolution or of the input's gradient. */
void mgk_conv2d_spread_run(const mgk_conv2d_plan *p, mgk_exec *x, const mgk_panel *engine,
                           mgi_pool_fn *slab, bool gradient);
/* rows x cols pixels of the result with `few` channels, rows out_row values apart in out. The table of own holds the source's
 * rows, kh - 1 more, each kw - 1 pixels longer but for what the edges leave out, of `depth` channels. */
void mgk_conv2d_spread(const mgk_conv2d_work *w, const mgk_conv2d_space *own,
                       const mgk_conv2d_edges *e, int64_t rows, int64_t cols, int64_t few,
                       int64_t depth, const float *bias, mgk_buf out, int64_t out_row);

/* A value of the weights. */
float mgk_conv2d_weight_at(const mgk_conv2d_args *g, int64_t at);

/* dst[i] += src[i] */
static inline void mgk_conv2d_add(float *dst, const float *src, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] += src[i];
}

#endif
