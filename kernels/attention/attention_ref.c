/* SPDX-License-Identifier: MIT
 * The definition of attention and attention_grad. */
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_blocks.h"
#include "kernels/common/check.h"

#include <math.h>
#include <string.h>

enum { MAX_HEAD_DIM = 256 };

static bool common_check(const mgk_attention_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->batch, a->heads, a->sq, a->head_dim) &&
                 MGK_EXTENTS_OK(a->batch, a->heads, a->sk, a->head_dim),
             "batch, heads, sq, sk, head_dim out of range");
    MGK_RULE(a->head_dim > 0 && a->head_dim <= MAX_HEAD_DIM, "head_dim must be 1..256");
    int64_t width = a->heads * a->head_dim;
    MGK_RULE(a->q_row >= width && a->k_row >= width && a->v_row >= width && a->o_row >= width,
             "row strides must cover heads * head_dim");
    MGK_RULE(a->q_batch >= 0 && a->k_batch >= 0 && a->v_batch >= 0 && a->o_batch >= 0,
             "batch strides out of range");
    int64_t nq = a->batch * width * a->sq, nk = a->batch * width * a->sk;
    MGK_RULE(mgk_is_f32_of(a->q, nq) && mgk_is_f32_of(a->o, nq), "q, o: f32");
    MGK_RULE(mgk_is_f32_of(a->k, nk) && mgk_is_f32_of(a->v, nk), "k, v: f32");
    MGK_RULE(!a->mask.p || a->mask.dtype == MGK_U8, "mask: u8");
    MGK_RULE(mgk_is_f32_or_null(a->bias), "bias: f32");
    return true;
}

bool mgk_attention_check(const void *args, const char **why)
{
    const mgk_attention_args *a = args;
    if (!common_check(a, why))
        return false;
    MGK_RULE(mgk_is_f32_or_null(a->lse), "lse: f32");
    MGK_RULE(a->batch <= 1 || a->sq == 0 || a->o_batch >= (a->sq - 1) * a->o_row,
             "o_batch: items overlap");
    return true;
}

bool mgk_attention_grad_check(const void *args, const char **why)
{
    const mgk_attention_args *a = args;
    if (!common_check(a, why))
        return false;
    int64_t width = a->heads * a->head_dim;
    int64_t nq = a->batch * width * a->sq, nk = a->batch * width * a->sk;
    MGK_RULE(mgk_is_f32_of(a->lse, nq), "lse: f32");
    MGK_RULE(mgk_is_f32_of(a->d_o, nq) && mgk_is_f32_of(a->dq, nq), "d_o, dq: f32");
    MGK_RULE(mgk_is_f32_of(a->dk, nk) && mgk_is_f32_of(a->dv, nk), "dk, dv: f32");
    MGK_RULE(mgk_is_f32_or_null(a->d_bias), "d_bias: f32");
    MGK_RULE(a->batch <= 1 || ((a->sq == 0 || a->q_batch >= (a->sq - 1) * a->q_row) &&
                               (a->sk == 0 || (a->k_batch >= (a->sk - 1) * a->k_row &&
                                               a->v_batch >= (a->sk - 1) * a->v_row))),
             "batch strides: items overlap");
    return true;
}

size_t mgk_attention_workspace(const void *args, int threads)
{
    const mgk_attention_args *a = args;
    return sizeof(float) * (size_t)(mgk_attention_scratch(a) * threads);
}

size_t mgk_attention_grad_workspace(const void *args, int threads)
{
    const mgk_attention_args *a = args;
    return sizeof(float) * (size_t)(mgk_attention_grad_scratch(a) * threads +
                                    mgk_attention_bias_part(a) * a->batch * a->heads);
}

/* scale * q_i . k_j + bias, or -inf for a masked key */
static double score(const mgk_attention_args *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
    if (a->mask.p && !MGK_B(a->mask)[b * a->sk + j])
        return -INFINITY;
    const float *q = MGK_F(a->q) + b * a->q_batch + i * a->q_row + h * a->head_dim;
    const float *k = MGK_F(a->k) + b * a->k_batch + j * a->k_row + h * a->head_dim;
    double s = 0;
    for (int64_t d = 0; d < a->head_dim; d++)
        s += (double)q[d] * k[d];
    s *= a->scale;
    return a->bias.p ? s + MGK_F(a->bias)[h * (a->sq + a->sk - 1) + j - i + a->sq - 1] : s;
}

static void query(const mgk_attention_args *a, int64_t b, int64_t h, int64_t i)
{
    double top = -INFINITY, sum = 0, out[MAX_HEAD_DIM] = {0};
    for (int64_t j = 0; j < a->sk; j++)
        top = fmax(top, score(a, b, h, i, j));
    for (int64_t j = 0; j < a->sk && top > -INFINITY; j++) {
        const float *v = MGK_F(a->v) + b * a->v_batch + j * a->v_row + h * a->head_dim;
        double p = exp(score(a, b, h, i, j) - top);
        sum += p;
        for (int64_t d = 0; d < a->head_dim && p != 0; d++)
            out[d] += p * v[d];
    }
    float *o = MGK_F(a->o) + b * a->o_batch + i * a->o_row + h * a->head_dim;
    for (int64_t d = 0; d < a->head_dim; d++)
        o[d] = sum == 0 ? 0 : (float)(out[d] / sum);
    if (a->lse.p)
        MGK_F(a->lse)[(b * a->heads + h) * a->sq + i] = (float)(top + log(sum));
}

void mgk_attention_ref(const void *args, mgk_exec *x)
{
    const mgk_attention_args *a = args;
    (void)x;
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t h = 0; h < a->heads; h++)
            for (int64_t i = 0; i < a->sq; i++)
                query(a, b, h, i);
}

/* p and ds of query i and key j:  p = exp(score - lse),  ds = p (d_o . v_j - d_o . o) */
static double score_grad(const mgk_attention_args *a, int64_t b, int64_t h, int64_t i, int64_t j,
                         double *p)
{
    double lse = MGK_F(a->lse)[(b * a->heads + h) * a->sq + i], s = score(a, b, h, i, j);
    *p = 0;
    if (s == -INFINITY || lse == -INFINITY)
        return 0;
    int64_t at = b * a->o_batch + i * a->o_row + h * a->head_dim;
    const float *d_o = MGK_F(a->d_o) + at, *o = MGK_F(a->o) + at;
    const float *v = MGK_F(a->v) + b * a->v_batch + j * a->v_row + h * a->head_dim;
    double dot = 0;
    for (int64_t d = 0; d < a->head_dim; d++)
        dot += (double)d_o[d] * ((double)v[d] - o[d]);
    *p = exp(s - lse);
    return *p * dot;
}

static void grad_query(const mgk_attention_args *a, int64_t b, int64_t h, int64_t i)
{
    double sum[MAX_HEAD_DIM] = {0}, p;
    for (int64_t j = 0; j < a->sk; j++) {
        const float *k = MGK_F(a->k) + b * a->k_batch + j * a->k_row + h * a->head_dim;
        double ds = score_grad(a, b, h, i, j, &p);
        for (int64_t d = 0; d < a->head_dim && ds != 0; d++)
            sum[d] += a->scale * ds * k[d];
    }
    float *dq = MGK_F(a->dq) + b * a->q_batch + i * a->q_row + h * a->head_dim;
    for (int64_t d = 0; d < a->head_dim; d++)
        dq[d] = (float)sum[d];
}

static void grad_key(const mgk_attention_args *a, int64_t b, int64_t h, int64_t j)
{
    double sum_k[MAX_HEAD_DIM] = {0}, sum_v[MAX_HEAD_DIM] = {0}, p;
    for (int64_t i = 0; i < a->sq; i++) {
        const float *q = MGK_F(a->q) + b * a->q_batch + i * a->q_row + h * a->head_dim;
        const float *d_o = MGK_F(a->d_o) + b * a->o_batch + i * a->o_row + h * a->head_dim;
        double ds = score_grad(a, b, h, i, j, &p);
        for (int64_t d = 0; d < a->head_dim && p != 0; d++) {
            sum_k[d] += a->scale * ds * q[d];
            sum_v[d] += p * d_o[d];
        }
    }
    float *dk = MGK_F(a->dk) + b * a->k_batch + j * a->k_row + h * a->head_dim;
    float *dv = MGK_F(a->dv) + b * a->v_batch + j * a->v_row + h * a->head_dim;
    for (int64_t d = 0; d < a->head_dim; d++) {
        dk[d] = (float)sum_k[d];
        dv[d] = (float)sum_v[d];
    }
}

void mgk_attention_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_attention_args *a = args;
    (void)x;
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t h = 0; h < a->heads; h++) {
            for (int64_t i = 0; i < a->sq; i++)
                grad_query(a, b, h, i);
            for (int64_t j = 0; j < a->sk; j++)
                grad_key(a, b, h, j);
        }
    if (!a->d_bias.p || a->sq == 0 || a->sk == 0)
        return;
    for (int64_t h = 0; h < a->heads; h++)
        for (int64_t at = 0; at < a->sq + a->sk - 1; at++) {
            double sum = 0, p;
            for (int64_t b = 0; b < a->batch; b++)
                for (int64_t i = 0; i < a->sq; i++) {
                    int64_t j = at + i - (a->sq - 1);
                    if (j >= 0 && j < a->sk)
                        sum += score_grad(a, b, h, i, j, &p);
                }
            MGK_F(a->d_bias)[h * (a->sq + a->sk - 1) + at] += (float)sum;
        }
}
