/* SPDX-License-Identifier: MIT
 * Tile sizes of attention, the layout of its workspace, and how its arguments name keys, tables and blocks. */
#ifndef MGK_ATTENTION_BLOCKS_H
#define MGK_ATTENTION_BLOCKS_H

#include "kernels/attention/attention.h"
#include "kernels/common/parallel.h"

enum {
    MGK_ATT_KEYS = 64,      /* keys of a tile, and of a step of the gradient */
    MGK_ATT_SCORES = 12288, /* held at a time: of 48 queries and four tiles of keys */
    MGK_ATT_GRAD = 64       /* queries a step of the gradient */
};

static inline int64_t mgk_attention_kv_heads(const mgk_attention_args *a)
{
    return a->kv_heads ? a->kv_heads : a->heads;
}

/* Key and value head of query head h. */
static inline int64_t mgk_attention_kv_head(const mgk_attention_args *a, int64_t h)
{
    return a->kv_heads ? h / (a->heads / a->kv_heads) : h;
}

/* Entries a head of the bias table. */
static inline int64_t mgk_attention_span(const mgk_attention_args *a)
{
    return a->bias_span ? a->bias_span : a->sq + a->sk - 1;
}

/* Entry of query 0 and key 0; query i and key j have this + j - i. */
static inline int64_t mgk_attention_bias_zero(const mgk_attention_args *a)
{
    return a->bias_span ? a->k_offset - a->q_offset + a->bias_span / 2 : a->sq - 1;
}

/* Queries in tiles of at most `step`, none of which reaches over the end of a block of the block list. */
typedef struct mgk_attention_tiles {
    int64_t sq, block, step, a_block, count;
} mgk_attention_tiles;

static inline mgk_attention_tiles mgk_attention_query_tiles(const mgk_attention_args *a,
                                                            int64_t step)
{
    int64_t block = a->block_start.p ? mgk_min(a->block_q, a->sq) : a->sq;
    mgk_attention_tiles t = {.sq = a->sq, .block = mgk_max(1, block), .step = step};
    t.a_block = mgk_div_up(t.block, step);
    t.count = mgk_div_up(a->sq, t.block) * t.a_block;
    return t;
}

/* First query of a tile; *n: how many (0: the tile lies behind the end of its block). */
static inline int64_t mgk_attention_query_tile(const mgk_attention_tiles *t, int64_t tile,
                                               int64_t *n)
{
    int64_t block = tile / t->a_block * t->block, first = block + tile % t->a_block * t->step;
    int64_t end = mgk_min(t->sq, block + t->block);
    *n = mgk_max(0, mgk_min(t->step, end - first));
    return first;
}

/* Keys a step of the forward pass, of one, two or four tiles: more of them raise the maxima of rows less often. As many as stay in the
 * caches; one tile where a table of distances is added, or others are passed over. */
static inline int64_t mgk_attention_step(const mgk_attention_args *a)
{
    int64_t most = a->bias.p || a->block_start.p || a->head_dim > 128 ? 1
                   : a->head_dim > 64                                 ? 2
                                                                      : 4;
    while (most > 1 && a->sk <= most / 2 * MGK_ATT_KEYS)
        most /= 2;
    return MGK_ATT_KEYS * most;
}

/* Queries a task of the forward pass, all of which a packed key serves. */
static inline int64_t mgk_attention_queries(const mgk_attention_args *a)
{
    return a->head_dim <= 64 && a->batch * a->heads >= 16 ? 256 : 128;
}

/* Floats of one thread's tiles in the forward pass: q, o; k transposed, v; scores of some queries; row sums (a vector
 * each), row maxima twice; key terms. */
static inline int64_t mgk_attention_scratch(const mgk_attention_args *a)
{
    int64_t wide = mgk_pad16(a->head_dim), step = mgk_attention_step(a);
    int64_t queries = mgk_attention_queries(a);
    return 2 * (queries + step) * wide + MGK_ATT_SCORES + queries * (16 + 2) + step;
}

/* Backward, the keys of a head: k, k transposed, v transposed, dk, dv in f32, each in whole tiles. */
static inline int64_t mgk_attention_grad_keys(const mgk_attention_args *a)
{
    return 5 * mgk_div_up(a->sk, MGK_ATT_KEYS) * MGK_ATT_KEYS * mgk_pad16(a->head_dim);
}

/* The same and the tiles of one thread: q, d_o, as left and as right factors; dq; rows; scores, their
 * gradients in two forms; key terms, lse, d_o . o. */
static inline int64_t mgk_attention_grad_scratch(const mgk_attention_args *a)
{
    int64_t wide = mgk_pad16(a->head_dim);
    return mgk_attention_grad_keys(a) + 5 * MGK_ATT_GRAD * wide + MGK_ATT_KEYS * wide +
           3 * MGK_ATT_GRAD * MGK_ATT_KEYS + MGK_ATT_KEYS + 2 * MGK_ATT_GRAD;
}

/* Floats of one (batch, head)'s sums for d_bias: its distances are those of sq queries and sk keys. */
static inline int64_t mgk_attention_bias_part(const mgk_attention_args *a)
{
    return a->d_bias.p ? mgk_pad16(a->sq + a->sk) : 0;
}

#endif
