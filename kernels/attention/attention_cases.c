/* SPDX-License-Identifier: MIT
 * Test cases of attention and its gradient. */
#include "kernels/attention/attention.h"
#include "kernels/common/case_tools.h"

#include <math.h>

static const struct {
    int64_t batch, heads, dim, sq, sk;
} shapes[] = {{0, 2, 8, 3, 3},     {2, 1, 8, 0, 5},    {2, 2, 8, 3, 0},     {1, 1, 1, 1, 1},
              {2, 3, 5, 3, 7},     {2, 2, 32, 64, 64}, {1, 2, 16, 65, 63},  {3, 1, 33, 17, 130},
              {1, 1, 80, 100, 20}, {1, 2, 64, 70, 90}, {1, 1, 256, 66, 66}, {2, 6, 32, 150, 200}};
enum { SHAPES = sizeof shapes / sizeof shapes[0], OPTIONS = 5 };

/* Options: 0 separate tensors, 1 fused qkv, 2 mask, 3 bias, 4 mask, bias and padded strides. */
static void build(mgk_case *c, mgk_attention_args *a, int index)
{
    int shape = mgk_case_take(&index, SHAPES), option = mgk_case_take(&index, OPTIONS);
    bool grad = mgk_case_take(&index, 2);
    a->batch = shapes[shape].batch;
    a->heads = shapes[shape].heads;
    a->head_dim = shapes[shape].dim;
    a->sq = shapes[shape].sq;
    a->sk = shapes[shape].sk;
    a->scale = 1 / sqrtf((float)a->head_dim);
    bool masked = option == 2 || option == 4, biased = option >= 3;
    int64_t width = a->heads * a->head_dim, pad = option == 4 ? 3 : option == 1 ? 2 * width : 0;
    a->q_row = a->k_row = a->v_row = width + pad;
    a->o_row = width + (option == 4 ? 1 : 0);
    a->q_batch = a->sq * a->q_row;
    a->k_batch = a->v_batch = a->sk * a->k_row;
    a->o_batch = a->sq * a->o_row + (option == 4 ? 5 : 0);
    int64_t nq = a->batch * a->q_batch, nk = a->batch * a->k_batch, no = a->batch * a->o_batch;
    int64_t distances = a->sq + a->sk > 0 ? a->heads * (a->sq + a->sk - 1) : 0;
    int64_t rows = a->batch * a->heads * a->sq;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_attention_grad : MGK_OP_attention,
                   "batch %ld heads %ld dim %ld sq %ld sk %ld option %d", (long)a->batch,
                   (long)a->heads, (long)a->head_dim, (long)a->sq, (long)a->sk, option);
    mgk_case_in(c, &a->q, nq, 1.5f);
    mgk_case_in(c, &a->k, nk, 1.5f);
    mgk_case_in(c, &a->v, nk, 1);
    if (masked) /* some batch items may have no key at all */
        mgk_case_add(c, &a->mask, MGK_CASE_IN, MGK_FILL_MASK, MGK_U8, a->batch * a->sk,
                     a->sk > 0 ? 2 * a->sk : 1, 1);
    if (biased)
        mgk_case_in(c, &a->bias, distances, 1);
    if (!grad) { /* gaps between rows keep what they hold */
        mgk_case_both(c, &a->o, no);
        mgk_case_out(c, &a->lse, rows);
        return;
    }
    mgk_case_in(c, &a->d_o, no, 1);
    mgk_case_in(c, &a->o, no, 1);
    /* About the true size, so that the probabilities are neither all 0 nor huge. */
    mgk_case_add(c, &a->lse, MGK_CASE_IN, MGK_FILL_POSITIVE, MGK_F32, rows, 0, 8);
    mgk_case_both(c, &a->dq, nq);
    mgk_case_both(c, &a->dk, nk);
    mgk_case_both(c, &a->dv, nk);
    if (biased)
        mgk_case_both(c, &a->d_bias, distances);
}

static bool illegal(mgk_case *c, mgk_attention_args *a, int index)
{
    if (index >= 6)
        return false;
    MGK_CASE_BEGIN(c, index == 5 ? MGK_OP_attention_grad : MGK_OP_attention, "illegal %d", index);
    c->illegal = true;
    a->batch = 1;
    a->heads = index == 0 ? -1 : 2;
    a->head_dim = index == 1 ? 257 : index == 2 ? 0 : 4;
    a->sq = a->sk = 3;
    a->q_row = index == 3 ? 7 : 514;
    a->k_row = a->v_row = a->o_row = 514;
    a->q_batch = a->k_batch = a->v_batch = a->o_batch = 3 * 514;
    mgk_case_in(c, &a->q, 1542, 1);
    if (index != 4)
        mgk_case_in(c, &a->k, 1542, 1);
    mgk_case_in(c, &a->v, 1542, 1);
    mgk_case_both(c, &a->o, 1542); /* 5: the gradient lacks its own buffers */
    return true;
}

MGK_CASES(attention)
{
    mgk_attention_args *a = (void *)&c->args;
    (void)seed;
    enum { LEGAL = SHAPES * OPTIONS * 2 };
    if (index >= LEGAL)
        return illegal(c, a, index - LEGAL);
    build(c, a, index);
    return true;
}
