/* SPDX-License-Identifier: MIT
 * Tile sizes of attention and the layout of its workspace. */
#ifndef MGK_ATTENTION_BLOCKS_H
#define MGK_ATTENTION_BLOCKS_H

#include "kernels/attention/attention.h"
#include "kernels/common/parallel.h"

enum { MGK_ATT_TILE = 64 }; /* queries a task, and keys a step */

/* Floats of one thread's tiles in the forward pass: o, k transposed, v; scores; row maxima, row sums
 * and the key mask. */
static inline int64_t mgk_attention_scratch(const mgk_attention_args *a)
{
    int64_t wide = MGK_ATT_TILE * mgk_pad16(a->head_dim);
    return 3 * wide + MGK_ATT_TILE * MGK_ATT_TILE + 3 * MGK_ATT_TILE;
}

/* Backward: q, d_o, dq, k, k transposed, v transposed, dk, dv; p, ds; the key mask; lse of the tile and d_o . o
 * of all queries. */
static inline int64_t mgk_attention_grad_scratch(const mgk_attention_args *a)
{
    int64_t wide = MGK_ATT_TILE * mgk_pad16(a->head_dim);
    return 8 * wide + 2 * MGK_ATT_TILE * MGK_ATT_TILE + 2 * MGK_ATT_TILE + mgk_pad16(a->sq);
}

/* Floats of one (batch, head)'s sums for d_bias. */
static inline int64_t mgk_attention_bias_part(const mgk_attention_args *a)
{
    return a->d_bias.p ? mgk_pad16(a->sq + a->sk) : 0;
}

#endif
