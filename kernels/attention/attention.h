/* SPDX-License-Identifier: MIT
 * attention: softmax(scale * Q K^T + bias, over the keys that count) V, and its gradient. Never holds
 * sq x sk scores of a whole head in memory.
 *
 *   q, o   (batch, sq, heads, head_dim): token stride *_row, batch stride *_batch (elements);
 *          head h starts at h * head_dim
 *   k, v   (batch, sk, kv_heads, head_dim) likewise. kv_heads divides heads: head h attends with
 *          key and value head h / (heads / kv_heads); 0 = as many as heads
 *   mask   (batch, sk) u8, 1 = key counts, 0 = not; NULL = all count. A row without a key that counts
 *          gives o = 0, lse = -inf
 *   bias   added to the scores, by distance; f32; NULL = none.
 *          bias_span 0: (heads, sq + sk - 1): query i and key j add bias[h, j - i + sq - 1]; both
 *          offsets must be 0.
 *          bias_span = 2 S - 1: (heads, bias_span), the table of a whole sequence of S tokens of which q
 *          and k are parts: query i is token q_offset + i and key j token k_offset + j, they add
 *          bias[h, (k_offset + j) - (q_offset + i) + S - 1], which must lie in the table for all i, j.
 *   lse    (batch, heads, sq) f32: log of the sum of exponentials
 *   blocks block_start.p NULL: every query attends to every key. Else queries are cut into tiles of
 *          block_q, keys into tiles of block_k (the last may be shorter), and the queries of tile t attend
 *          to the key tiles block_index[block_start[t] .. block_start[t + 1] - 1], in rising order, for
 *          all heads and batch items alike. block_start: i32, ceil(sq / block_q) + 1 values from 0 to
 *          block_count; block_index: i32, block_count values. They are the device's: who makes them
 *          answers for what they hold, as the check cannot read it.
 *   attention_grad: from d_o, q, k, v, o, lse writes dq, dk, dv (strides of q, k, v; overwritten)
 *          and, if d_bias is given, adds to d_bias (the shape of bias). dk and dv are the sums over all
 *          heads that share them.
 *
 * q, k, v, o, d_o, dq, dk, dv share the dtype T. With bf16, the probabilities and the gradients of the
 * scores are rounded to bf16 before their products with v, d_o, q and k, as the instructions for bf16
 * need them; sums of probabilities, lse and d_bias are of values not rounded. Where each row's
 * probabilities are scaled when they are rounded (o's are divided by their sum afterwards) is left open.
 */
#ifndef MGK_ATTENTION_H
#define MGK_ATTENTION_H

#include "kernels/mgk.h"

typedef struct mgk_attention_args {
    mgk_buf q, k, v, o, lse, mask, bias;
    mgk_buf d_o, dq, dk, dv, d_bias; /* attention_grad only */
    int64_t batch, heads, head_dim, sq, sk;
    int64_t q_row, q_batch, k_row, k_batch, v_row, v_batch, o_row, o_batch;
    float scale;
    int64_t kv_heads, q_offset, k_offset, bias_span;
    mgk_buf block_start, block_index;
    int64_t block_q, block_k, block_count;
} mgk_attention_args;

MGK_DECLARE(attention);
MGK_DECLARE(attention_grad);

#endif
