/* SPDX-License-Identifier: MIT
 * The definition of attention and attention_grad. */
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_blocks.h"
#include "kernels/common/bf16.h"
#include "kernels/common/check.h"

#include <math.h>
#include <string.h>

enum { MAX_HEAD_DIM = 256 };

/* A buffer of the call's dtype of `count` values. */
static bool is_real_of(mgk_buf b, int32_t dtype, int64_t count)
{
    return b.p ? b.dtype == dtype : count == 0;
}

static bool bias_check(const mgk_attention_args *a, const char **why)
{
    MGK_RULE(mgk_is_f32_or_null(a->bias), "bias: f32");
    MGK_RULE(a->q_offset >= 0 && a->q_offset <= INT64_MAX / 64 && a->k_offset >= 0 &&
                 a->k_offset <= INT64_MAX / 64,
             "offsets out of range");
    if (!a->bias.p && !a->d_bias.p)
        return true;
    MGK_RULE(a->bias_span || (!a->q_offset && !a->k_offset), "bias with offsets needs a bias_span");
    MGK_RULE(a->bias_span == 0 || (a->bias_span % 2 == 1 && a->bias_span > 0 &&
                                   MGK_EXTENTS_OK(a->heads, a->bias_span)),
             "bias_span must be odd");
    int64_t zero = mgk_attention_bias_zero(a), span = mgk_attention_span(a);
    MGK_RULE(a->sq == 0 || a->sk == 0 || (zero - (a->sq - 1) >= 0 && zero + (a->sk - 1) < span),
             "bias_span: a distance lies outside the table");
    return true;
}

static bool blocks_check(const mgk_attention_args *a, const char **why)
{
    MGK_RULE(!a->block_start.p || a->block_start.dtype == MGK_I32, "block_start: i32");
    MGK_RULE(!a->block_index.p || a->block_index.dtype == MGK_I32, "block_index: i32");
    if (!a->block_start.p)
        return true;
    MGK_RULE(a->block_q > 0 && a->block_k > 0 && a->block_q <= INT64_MAX / 64 &&
                 a->block_k <= INT64_MAX / 64,
             "block_q and block_k must be positive");
    MGK_RULE(a->block_count == 0 || (a->block_count > 0 && a->block_index.p),
             "block_index is missing");
    return true;
}

static bool common_check(const mgk_attention_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->batch, a->heads, a->sq, a->head_dim) &&
                 MGK_EXTENTS_OK(a->batch, a->heads, a->sk, a->head_dim),
             "batch, heads, sq, sk, head_dim out of range");
    MGK_RULE(a->head_dim > 0 && a->head_dim <= MAX_HEAD_DIM, "head_dim must be 1..256");
    MGK_RULE(a->kv_heads >= 0 && a->kv_heads <= a->heads &&
                 (a->kv_heads == 0 || a->heads % a->kv_heads == 0),
             "heads must be a multiple of kv_heads");
    int64_t width = a->heads * a->head_dim, kv_width = mgk_attention_kv_heads(a) * a->head_dim;
    MGK_RULE(a->q_row >= width && a->o_row >= width, "q and o rows must cover heads * head_dim");
    MGK_RULE(a->k_row >= kv_width && a->v_row >= kv_width,
             "k and v rows must cover kv_heads * head_dim");
    MGK_RULE(MGK_EXTENTS_OK(a->batch, a->q_batch) && MGK_EXTENTS_OK(a->sq, a->q_row) &&
                 MGK_EXTENTS_OK(a->batch, a->k_batch) && MGK_EXTENTS_OK(a->sk, a->k_row) &&
                 MGK_EXTENTS_OK(a->batch, a->v_batch) && MGK_EXTENTS_OK(a->sk, a->v_row) &&
                 MGK_EXTENTS_OK(a->batch, a->o_batch) && MGK_EXTENTS_OK(a->sq, a->o_row),
             "strides out of range");
    MGK_RULE(a->q_batch >= 0 && a->k_batch >= 0 && a->v_batch >= 0 && a->o_batch >= 0,
             "batch strides out of range");
    int64_t nq = a->batch * width * a->sq, nk = a->batch * kv_width * a->sk;
    int32_t dtype = a->q.dtype;
    MGK_RULE(dtype == MGK_F32 || dtype == MGK_BF16, "q: f32 or bf16");
    MGK_RULE(is_real_of(a->q, dtype, nq) && is_real_of(a->o, dtype, nq), "q, o: one dtype");
    MGK_RULE(is_real_of(a->k, dtype, nk) && is_real_of(a->v, dtype, nk), "k, v: the dtype of q");
    MGK_RULE(!a->mask.p || a->mask.dtype == MGK_U8, "mask: u8");
    return bias_check(a, why) && blocks_check(a, why);
}

bool mgk_attention_check(const void *args, const char **why)
{
    const mgk_attention_args *a = args;
    if (!common_check(a, why))
        return false;
    MGK_RULE(mgk_is_f32_or_null(a->lse), "lse: f32");
    MGK_RULE(a->batch <= 1 || a->sq == 0 ||
                 a->o_batch >= (a->sq - 1) * a->o_row + a->heads * a->head_dim,
             "o_batch: items overlap");
    return true;
}

bool mgk_attention_grad_check(const void *args, const char **why)
{
    const mgk_attention_args *a = args;
    if (!common_check(a, why))
        return false;
    int64_t nq = a->batch * a->heads * a->head_dim * a->sq;
    int64_t nk = a->batch * mgk_attention_kv_heads(a) * a->head_dim * a->sk;
    int32_t dtype = a->q.dtype;
    MGK_RULE(mgk_is_f32_of(a->lse, nq), "lse: f32");
    MGK_RULE(is_real_of(a->d_o, dtype, nq) && is_real_of(a->dq, dtype, nq),
             "d_o, dq: the dtype of q");
    MGK_RULE(is_real_of(a->dk, dtype, nk) && is_real_of(a->dv, dtype, nk),
             "dk, dv: the dtype of q");
    MGK_RULE(mgk_is_f32_or_null(a->d_bias) && (!a->d_bias.p || a->bias.p),
             "d_bias: f32, and only with a bias");
    int64_t width = a->heads * a->head_dim, kv_width = mgk_attention_kv_heads(a) * a->head_dim;
    MGK_RULE(a->batch <= 1 || ((a->sq == 0 || a->q_batch >= (a->sq - 1) * a->q_row + width) &&
                               (a->sk == 0 || (a->k_batch >= (a->sk - 1) * a->k_row + kv_width &&
                                               a->v_batch >= (a->sk - 1) * a->v_row + kv_width))),
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

static double value(mgk_buf b, int64_t at)
{
    return b.dtype == MGK_BF16 ? mgk_from_bf16(MGK_H(b)[at]) : MGK_F(b)[at];
}

static void set(mgk_buf b, int64_t at, double v)
{
    if (b.dtype == MGK_BF16)
        MGK_H(b)[at] = mgk_to_bf16((float)v);
    else
        MGK_F(b)[at] = (float)v;
}

/* As the second product sees it: in bf16 if the call is. */
static double factor(const mgk_attention_args *a, double v)
{
    return a->q.dtype == MGK_BF16 ? mgk_from_bf16(mgk_to_bf16((float)v)) : v;
}

/* Where the vectors of a query and of a key begin. */
static int64_t q_at(const mgk_attention_args *a, int64_t b, int64_t h, int64_t i)
{
    return b * a->q_batch + i * a->q_row + h * a->head_dim;
}

static int64_t o_at(const mgk_attention_args *a, int64_t b, int64_t h, int64_t i)
{
    return b * a->o_batch + i * a->o_row + h * a->head_dim;
}

static int64_t k_at(const mgk_attention_args *a, int64_t b, int64_t h, int64_t j)
{
    return b * a->k_batch + j * a->k_row + mgk_attention_kv_head(a, h) * a->head_dim;
}

static int64_t v_at(const mgk_attention_args *a, int64_t b, int64_t h, int64_t j)
{
    return b * a->v_batch + j * a->v_row + mgk_attention_kv_head(a, h) * a->head_dim;
}

static bool counts(const mgk_attention_args *a, int64_t b, int64_t i, int64_t j)
{
    if (a->mask.p && !MGK_B(a->mask)[b * a->sk + j])
        return false;
    if (!a->block_start.p)
        return true;
    const int32_t *start = MGK_I(a->block_start) + i / a->block_q;
    for (int32_t n = start[0]; n < start[1]; n++)
        if (MGK_I(a->block_index)[n] == j / a->block_k)
            return true;
    return false;
}

static int64_t bias_at(const mgk_attention_args *a, int64_t h, int64_t i, int64_t j)
{
    return h * mgk_attention_span(a) + mgk_attention_bias_zero(a) + j - i;
}

/* scale * q_i . k_j + bias, or -inf for a key that does not count */
static double score(const mgk_attention_args *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
    if (!counts(a, b, i, j))
        return -INFINITY;
    int64_t q = q_at(a, b, h, i), k = k_at(a, b, h, j);
    double s = 0;
    for (int64_t d = 0; d < a->head_dim; d++)
        s += value(a->q, q + d) * value(a->k, k + d);
    s *= a->scale;
    return a->bias.p ? s + MGK_F(a->bias)[bias_at(a, h, i, j)] : s;
}

static void query(const mgk_attention_args *a, int64_t b, int64_t h, int64_t i)
{
    double top = -INFINITY, sum = 0, out[MAX_HEAD_DIM] = {0};
    for (int64_t j = 0; j < a->sk; j++)
        top = fmax(top, score(a, b, h, i, j));
    for (int64_t j = 0; j < a->sk && top > -INFINITY; j++) {
        double p = exp(score(a, b, h, i, j) - top);
        sum += p;
        for (int64_t d = 0; d < a->head_dim && p != 0; d++)
            out[d] += factor(a, p) * value(a->v, v_at(a, b, h, j) + d);
    }
    for (int64_t d = 0; d < a->head_dim; d++)
        set(a->o, o_at(a, b, h, i) + d, sum == 0 ? 0 : out[d] / sum);
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
    int64_t o = o_at(a, b, h, i), v = v_at(a, b, h, j);
    double dot = 0;
    for (int64_t d = 0; d < a->head_dim; d++)
        dot += value(a->d_o, o + d) * (value(a->v, v + d) - value(a->o, o + d));
    *p = exp(s - lse);
    return *p * dot;
}

static void grad_query(const mgk_attention_args *a, int64_t b, int64_t h, int64_t i)
{
    double sum[MAX_HEAD_DIM] = {0}, p;
    for (int64_t j = 0; j < a->sk; j++) {
        double ds = factor(a, score_grad(a, b, h, i, j, &p));
        for (int64_t d = 0; d < a->head_dim && ds != 0; d++)
            sum[d] += a->scale * ds * value(a->k, k_at(a, b, h, j) + d);
    }
    for (int64_t d = 0; d < a->head_dim; d++)
        set(a->dq, q_at(a, b, h, i) + d, sum[d]);
}

/* Key j of a key and value head: the sum over the `group` heads from h on that share it. */
static void grad_key(const mgk_attention_args *a, int64_t b, int64_t h, int64_t group, int64_t j)
{
    double sum_k[MAX_HEAD_DIM] = {0}, sum_v[MAX_HEAD_DIM] = {0}, p;
    for (int64_t n = h; n < h + group; n++)
        for (int64_t i = 0; i < a->sq; i++) {
            double ds = factor(a, score_grad(a, b, n, i, j, &p));
            for (int64_t d = 0; d < a->head_dim && p != 0; d++) {
                sum_k[d] += a->scale * ds * value(a->q, q_at(a, b, n, i) + d);
                sum_v[d] += factor(a, p) * value(a->d_o, o_at(a, b, n, i) + d);
            }
        }
    for (int64_t d = 0; d < a->head_dim; d++) {
        set(a->dk, k_at(a, b, h, j) + d, sum_k[d]);
        set(a->dv, v_at(a, b, h, j) + d, sum_v[d]);
    }
}

static void grad_bias(const mgk_attention_args *a)
{
    double p;
    for (int64_t h = 0; h < a->heads; h++)
        for (int64_t distance = 1 - a->sq; distance < a->sk; distance++) {
            double sum = 0;
            for (int64_t b = 0; b < a->batch; b++)
                for (int64_t i = 0; i < a->sq; i++) {
                    int64_t j = i + distance;
                    if (j >= 0 && j < a->sk)
                        sum += score_grad(a, b, h, i, j, &p);
                }
            MGK_F(a->d_bias)[bias_at(a, h, 0, distance)] += (float)sum;
        }
}

void mgk_attention_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_attention_args *a = args;
    (void)x;
    int64_t group = a->heads > 0 ? a->heads / mgk_attention_kv_heads(a) : 1;
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t h = 0; h < a->heads; h++) {
            for (int64_t i = 0; i < a->sq; i++)
                grad_query(a, b, h, i);
            for (int64_t j = 0; j < a->sk && h % group == 0; j++)
                grad_key(a, b, h, group, j);
        }
    if (a->d_bias.p && a->sq > 0 && a->sk > 0)
        grad_bias(a);
}
