/* SPDX-License-Identifier: MIT
 * embedding: y[r] = table[ids[r]], and its gradient; the sinusoidal time embedding; the buckets
 * of T5's relative positions.
 *
 *   embedding           ids (rows) i32 within 0..vocab-1 (others read row 0), table (vocab, dim),
 *                       y (rows, dim)
 *   embedding_grad      table (= d_table) += scatter of y (= dy), in row order
 *   timestep_embed      y[r] = [cos(1000 t f_i) | sin(1000 t f_i)], f_i = 10000^(-i / (dim/2));
 *                       t (rows) f32 in `time`; dim even
 *   relative_bias       y (heads, sq + sk - 1): y[h, d + sq - 1] = table[bucket(d), h],
 *                       d = key - query; T5's bidirectional buckets: vocab buckets, half of them
 *                       for d > 0; distances below vocab/4 each their own, then logarithmic up to
 *                       max_distance
 *   relative_bias_grad  table (= d_table) += the same, transposed, from y (= dy)
 * Dtypes: table and y of `embedding` are real, each its own; y of embedding_grad and timestep_embed
 * is T; d_table, time and all of relative_bias are f32.
 */
#ifndef MGK_EMBEDDING_H
#define MGK_EMBEDDING_H

#include "kernels/mgk.h"

typedef struct mgk_embedding_args {
    mgk_buf ids, table, y, time;
    int64_t rows, dim, vocab;
    int64_t heads, sq, sk, max_distance; /* relative_bias */
} mgk_embedding_args;

MGK_DECLARE(embedding);
MGK_DECLARE(embedding_grad);
MGK_DECLARE(timestep_embed);
MGK_DECLARE(relative_bias);
MGK_DECLARE(relative_bias_grad);

#endif
