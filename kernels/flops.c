/* SPDX-License-Identifier: MIT */
#include "kernels/flops.h"

#include "kernels/attention/attention.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/fp8/matmul_fp8.h"
#include "kernels/matmul/matmul.h"

static double matmul_flops(const mgk_matmul_args *a)
{
    return 2.0 * (double)a->m * (double)a->n * (double)a->k * (double)a->batch;
}

static double matmul_fp8_flops(const mgk_matmul_fp8_args *a)
{
    return 2.0 * (double)a->m * (double)a->n * (double)a->k;
}

static double conv2d_flops(const mgk_conv2d_args *a)
{
    return 2.0 * (double)a->n * (double)a->ho * (double)a->wo * (double)a->cout * (double)a->kh *
           (double)a->kw * (double)a->cin;
}

/* Queries by keys and probabilities by values; backward the gradients of both, for each side. */
static double attention_flops(const mgk_attention_args *a, double products)
{
    return products * 2.0 * (double)a->batch * (double)a->heads * (double)a->sq * (double)a->sk *
           (double)a->head_dim;
}

double mgk_flops(int op, const void *args)
{
    switch (op) {
    case MGK_OP_matmul:
        return matmul_flops(args);
    case MGK_OP_matmul_fp8:
        return matmul_fp8_flops(args);
    case MGK_OP_conv2d:
    case MGK_OP_conv2d_grad_input:
    case MGK_OP_conv2d_grad_weight:
        return conv2d_flops(args);
    case MGK_OP_attention:
        return attention_flops(args, 2.0);
    case MGK_OP_attention_grad:
        return attention_flops(args, 4.0);
    default:
        return 0.0;
    }
}
