/* SPDX-License-Identifier: MIT
 * attention: softmax(scale * Q K^T + bias, over unmasked keys) V, and its gradient. Never holds
 * sq x sk scores of a whole head in memory.
 *
 *   q, o   (batch, sq, heads, head_dim): token stride *_row, batch stride *_batch (elements);
 *          head h starts at h * head_dim
 *   k, v   (batch, sk, heads, head_dim) likewise
 *   mask   (batch, sk) u8, 1 = key counts, 0 = not; NULL = all count. A row whose keys are all
 *          masked gives o = 0, lse = -inf
 *   bias   (heads, sq + sk - 1) f32: query i and key j add bias[h, j - i + sq - 1]; NULL = none
 *   lse    (batch, heads, sq) f32: log of the sum of exponentials
 *   attention_grad: from d_o, q, k, v, o, lse writes dq, dk, dv (strides of q, k, v; overwritten)
 *          and, if d_bias is given, adds to d_bias (heads, sq + sk - 1).
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
} mgk_attention_args;

MGK_DECLARE(attention);
MGK_DECLARE(attention_grad);

#endif
