/* SPDX-License-Identifier: MIT
 * The shapes that are timed: those of the toybox models, products as large models have them, and
 * streams of 64 million elements, which no cache holds. Each in f32 and, where the op takes it, bf16. */
#include "bench.h"
#include "gpu.h"

#include "kernels/attention/attention.h"
#include "kernels/common/case_tools.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/fp8/matmul_fp8.h"
#include "kernels/fp8/quantize_fp8.h"
#include "kernels/glu/glu.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/norm.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pointwise/pointwise.h"
#include "kernels/snake/snake.h"

#include <math.h>
#include <string.h>

static const char *dtype_name(int32_t dtype)
{
    return dtype == MGK_BF16 ? "bf16" : "f32";
}

/* ---- products ---- */

static const struct {
    int m, n, k, trans_a, trans_b, gated;
} products[] = {
    {1024, 4096, 1024, 0, 0, 0},  {1024, 4096, 1024, 0, 1, 0},  {1024, 4096, 1024, 1, 0, 0},
    {1024, 4096, 1024, 1, 1, 0},  {4096, 576, 192, 0, 1, 0}, /* toybox: queries, keys and values of 64 clips of 64 tokens */
    {4096, 192, 192, 0, 1, 0},    {4096, 1024, 192, 0, 1, 0},  /* its feed-forward layers */
    {4096, 192, 512, 0, 1, 0},    {4096, 192, 1024, 0, 0, 0},  /* gradient of an input */
    {1024, 192, 4096, 1, 0, 0},                                /* gradient of a weight */
    {4096, 192, 1024, 0, 1, 1},   {4096, 1024, 1024, 0, 1, 1}, /* ends of a residual branch */
    {8192, 18432, 6144, 0, 1, 0}, {8192, 6144, 6144, 0, 1, 1}, /* large: a layer of the 30B model */
    {8192, 32768, 6144, 0, 1, 0}, {8192, 6144, 16384, 0, 1, 1},
};
enum { LARGE_PRODUCTS = 4, PRODUCTS = sizeof products / sizeof products[0] - LARGE_PRODUCTS };

static void product(mgk_case *c, int i)
{
    mgk_matmul_args *a = (void *)&c->args;
    a->m = products[i].m, a->n = products[i].n, a->k = products[i].k;
    a->batch = 1;
    a->trans_a = products[i].trans_a, a->trans_b = products[i].trans_b;
    a->lda = a->trans_a ? a->m : a->k;
    a->ldb = a->trans_b ? a->k : a->n;
    a->ldc = a->n;
    a->stride_a = a->m * a->k, a->stride_b = a->k * a->n, a->stride_c = a->m * a->n;
    a->alpha = 1;
    MGK_CASE_BEGIN(c, MGK_OP_matmul, "%ldx%ldx%ld %s%s %s%s", (long)a->m, (long)a->n, (long)a->k,
                   a->trans_a ? "A'" : "A", a->trans_b ? "B'" : "B", dtype_name(c->real),
                   products[i].gated ? " gated" : "");
    mgk_case_in(c, &a->a, a->m * a->k, 1);
    mgk_case_in(c, &a->b, a->k * a->n, 1);
    mgk_case_out(c, &a->c, a->m * a->n);
    if (products[i].gated) {
        a->rows_per_sample = 64;
        a->gate_stride = a->n;
        mgk_case_in(c, &a->residual, a->m * a->n, 1);
        mgk_case_in_f32(c, &a->gate, a->m / a->rows_per_sample * a->n, 1);
    }
}

/* ---- convolutions: 3x3, one pixel of padding, batch 16 ---- */

static const int pictures[][2] = {/* size, channels */
                                  {64, 16}, {64, 64}, {32, 32}, {32, 128}, {16, 64}, {16, 128}};
enum { PICTURES = sizeof pictures / sizeof pictures[0], BATCH = 16 };

/* Of the report's autoencoder at 768 x 768, some frames: `large`. In time: frames, places, kernel 3x1. */
static const int large_pictures[][5] =
    {/* pictures, rows, columns, channels, columns of the kernel */
     {2, 768, 768, 128, 3},     {8, 384, 384, 256, 3},     {8, 192, 192, 512, 3},
     {32, 96, 96, 512, 3},      {1, 4, 768 * 768, 128, 1}, {1, 8, 384 * 384, 256, 1},
     {1, 16, 192 * 192, 512, 1}};
enum { LARGE_PICTURES = sizeof large_pictures / sizeof large_pictures[0] };

/* which: 0 forward, 1 the gradient of x, 2 that of the weights */
static void convolution_of(mgk_case *c, int which, int64_t count, int64_t h, int64_t w,
                           int64_t channels, int64_t kw)
{
    static const int ops[] = {MGK_OP_conv2d, MGK_OP_conv2d_grad_input, MGK_OP_conv2d_grad_weight};
    static const char *const names[] = {"forward", "input", "weight"};
    mgk_conv2d_args *a = (void *)&c->args;
    *a = (mgk_conv2d_args){.n = count, .h = h, .w = w, .cin = channels};
    a->ho = h, a->wo = w, a->cout = channels;
    a->kh = 3, a->kw = kw, a->stride_h = a->stride_w = 1;
    a->pad_top = a->pad_bottom = 1;
    a->pad_left = a->pad_right = kw / 2;
    a->pad_mode = kw > 1 ? MGK_PAD_ZERO : MGK_PAD_REPLICATE;
    MGK_CASE_BEGIN(c, ops[which], "%ldx%ldx%ldx%ld%s %s %s", (long)count, (long)h, (long)w,
                   (long)channels, kw > 1 ? "" : " in time", names[which], dtype_name(c->real));
    int64_t n = count * h * w * channels, weights = 3 * kw * channels * channels;
    if (which == 1)
        mgk_case_out(c, &a->x, n);
    else
        mgk_case_in(c, &a->x, n, 1);
    if (which == 2)
        mgk_case_out_f32(c, &a->weight, weights);
    else
        mgk_case_in(c, &a->weight, weights, 1);
    if (which == 0) {
        mgk_case_in_f32(c, &a->bias, channels, 1);
        mgk_case_out(c, &a->y, n);
    } else {
        mgk_case_in(c, &a->y, n, 1);
    }
}

static void convolution(mgk_case *c, int i)
{
    const int *p = pictures[i / 3];
    convolution_of(c, i % 3, BATCH, p[0], p[0], p[1], 3);
}

static void large_convolution(mgk_case *c, int i)
{
    const int *p = large_pictures[i / 3];
    convolution_of(c, i % 3, p[0], p[1], p[2], p[3], p[4]);
}

/* ---- attention ---- */

static const int heads[][5] = {/* batch, heads, head_dim, sq, sk */
                               {1, 8, 128, 1024, 1024},
                               {64, 6, 32, 64, 64}, /* short clips, then captions */
                               {64, 6, 32, 64, 96},
                               {48, 8, 32, 256, 256}, /* toybox, likewise */
                               {48, 8, 32, 256, 32},
                               {1, 48, 128, 8192, 8192}}; /* large: the 30B model */
enum { LARGE_HEADS = 1, HEADS = sizeof heads / sizeof heads[0] - LARGE_HEADS };

static void attention(mgk_case *c, int i)
{
    const int *s = heads[i / 2];
    bool grad = i % 2;
    mgk_attention_args *a = (void *)&c->args;
    a->batch = s[0], a->heads = s[1], a->head_dim = s[2], a->sq = s[3], a->sk = s[4];
    a->q_row = a->k_row = a->v_row = a->o_row = a->heads * a->head_dim;
    a->q_batch = a->o_batch = a->sq * a->q_row;
    a->k_batch = a->v_batch = a->sk * a->k_row;
    a->scale = 1 / sqrtf((float)a->head_dim);
    int64_t nq = a->batch * a->q_batch, nk = a->batch * a->k_batch;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_attention_grad : MGK_OP_attention,
                   "%ldx%ldx%ld sq %ld sk %ld %s", (long)a->batch, (long)a->heads,
                   (long)a->head_dim, (long)a->sq, (long)a->sk, dtype_name(c->real));
    mgk_case_in(c, &a->q, nq, 1);
    mgk_case_in(c, &a->k, nk, 1);
    mgk_case_in(c, &a->v, nk, 1);
    int64_t rows = a->batch * a->heads * a->sq;
    if (!grad) {
        mgk_case_out(c, &a->o, nq);
        mgk_case_out_f32(c, &a->lse, rows);
        return;
    }
    mgk_case_in(c, &a->o, nq, 1);
    mgk_case_in(c, &a->d_o, nq, 1);
    a->lse.dtype = MGK_F32;
    mgk_case_add(c, &a->lse, MGK_CASE_IN, MGK_FILL_POSITIVE, MGK_F32, rows, 0, 8);
    mgk_case_out(c, &a->dq, nq);
    mgk_case_out(c, &a->dk, nk);
    mgk_case_out(c, &a->dv, nk);
}

/* ---- streams ---- */

enum { ROWS = 65536, DIM = 1024, SAMPLE_ROWS = 8192 };
enum {
    NORM,
    NORM_GRAD,
    UNARY,
    UNARY_GRAD,
    GLU,
    GLU_GRAD,
    GATED,
    GATED_GRAD,
    ADD,
    RESIDUAL_NORM,
    RESIDUAL_NORM_GRAD,
    STREAMS
};

static void norm_stream(mgk_case *c, bool grad)
{
    mgk_norm_args *a = (void *)&c->args;
    int64_t n = (int64_t)ROWS * DIM;
    a->rows = ROWS, a->dim = DIM, a->rows_per_sample = SAMPLE_ROWS;
    a->mod_stride = a->d_mod_stride = DIM;
    a->kind = MGK_NORM_RMS;
    a->eps = 1e-5f;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_norm_grad : MGK_OP_norm, "RMS, weight %dx%d %s", ROWS, DIM,
                   dtype_name(c->real));
    mgk_case_in(c, &a->x, n, 1);
    mgk_case_in_f32(c, &a->weight, DIM, 1);
    a->rstd.dtype = MGK_F32;
    mgk_case_add(c, &a->rstd, grad ? MGK_CASE_IN : MGK_CASE_OUT, MGK_FILL_POSITIVE, MGK_F32, ROWS,
                 0, 1);
    if (!grad) {
        mgk_case_out(c, &a->y, n);
        return;
    }
    mgk_case_in(c, &a->dy, n, 1);
    mgk_case_out(c, &a->dx, n);
    mgk_case_both_f32(c, &a->d_weight, DIM);
}

/* With a gate a sample; the gradient with one that arrives from elsewhere. */
static void residual_norm_stream(mgk_case *c, bool grad)
{
    mgk_norm_args *a = (void *)&c->args;
    int64_t n = (int64_t)ROWS * DIM, gates = ROWS / SAMPLE_ROWS * DIM;
    a->rows = ROWS, a->dim = DIM, a->rows_per_sample = SAMPLE_ROWS;
    a->gate_stride = a->d_gate_stride = DIM;
    a->kind = MGK_NORM_RMS;
    a->eps = 1e-5f;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_residual_norm_grad : MGK_OP_residual_norm,
                   "RMS, weight, gate %dx%d %s", ROWS, DIM, dtype_name(c->real));
    mgk_case_in(c, &a->h, n, 1);
    mgk_case_in_f32(c, &a->gate, gates, 1);
    mgk_case_in_f32(c, &a->weight, DIM, 1);
    a->rstd.dtype = MGK_F32;
    mgk_case_add(c, &a->rstd, grad ? MGK_CASE_IN : MGK_CASE_OUT, MGK_FILL_POSITIVE, MGK_F32, ROWS,
                 0, 1);
    if (!grad) {
        mgk_case_in(c, &a->x, n, 1);
        mgk_case_out(c, &a->r, n);
        mgk_case_out(c, &a->y, n);
        return;
    }
    mgk_case_in(c, &a->r, n, 1);
    mgk_case_in(c, &a->dy, n, 1);
    mgk_case_in(c, &a->dr, n, 1);
    mgk_case_out(c, &a->dx, n);
    mgk_case_out(c, &a->dh, n);
    mgk_case_both_f32(c, &a->d_gate, gates);
    mgk_case_both_f32(c, &a->d_weight, DIM);
}

static void glu_stream(mgk_case *c, bool grad)
{
    mgk_glu_args *a = (void *)&c->args;
    int64_t n = (int64_t)ROWS / 2 * DIM;
    a->rows = ROWS / 2, a->dim = DIM;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_glu_grad : MGK_OP_glu, "SiLU %dx%d %s", ROWS / 2, DIM,
                   dtype_name(c->real));
    mgk_case_in(c, &a->x, 2 * n, 1);
    if (grad)
        mgk_case_in(c, &a->dy, n, 1);
    mgk_case_out(c, grad ? &a->dx : &a->y, grad ? 2 * n : n);
}

static void pointwise_stream(mgk_case *c, int which)
{
    static const int ops[] = {MGK_OP_unary,          MGK_OP_unary_grad,          0,         0,
                              MGK_OP_gated_residual, MGK_OP_gated_residual_grad, MGK_OP_add};
    mgk_pointwise_args *a = (void *)&c->args;
    int64_t n = (int64_t)ROWS * DIM, gates = ROWS / SAMPLE_ROWS * DIM;
    bool rows = which == GATED || which == GATED_GRAD;
    if (rows) {
        a->rows = ROWS, a->dim = DIM, a->rows_per_sample = SAMPLE_ROWS;
        a->gate_stride = a->d_gate_stride = DIM;
    } else {
        a->count = n;
        a->kind = which == ADD ? 0 : MGK_UNARY_GELU_TANH;
    }
    MGK_CASE_BEGIN(c, ops[which - UNARY], "%s%dx%d %s",
                   which == UNARY || which == UNARY_GRAD ? "GELU " : "", ROWS, DIM,
                   dtype_name(c->real));
    if (which != GATED_GRAD)
        mgk_case_in(c, &a->x, n, 1);
    if (which == GATED || which == GATED_GRAD || which == ADD)
        mgk_case_in(c, &a->h, n, 1);
    if (rows)
        mgk_case_in_f32(c, &a->gate, gates, 1);
    if (which == UNARY_GRAD || which == GATED_GRAD)
        mgk_case_in(c, &a->dy, n, 1);
    if (which == GATED_GRAD)
        mgk_case_both_f32(c, &a->d_gate, gates);
    mgk_case_out(c, which == UNARY_GRAD ? &a->dx : which == GATED_GRAD ? &a->dh : &a->y, n);
}

static void stream(mgk_case *c, int which)
{
    if (which == NORM || which == NORM_GRAD)
        norm_stream(c, which == NORM_GRAD);
    else if (which == RESIDUAL_NORM || which == RESIDUAL_NORM_GRAD)
        residual_norm_stream(c, which == RESIDUAL_NORM_GRAD);
    else if (which == GLU || which == GLU_GRAD)
        glu_stream(c, which == GLU_GRAD);
    else
        pointwise_stream(c, which);
}

/* ---- group norm with SiLU, as autoencoders have it: a sample is a frame of 256 x 512 pixels ---- */

enum { FRAMES = 4, PIXELS = 256 * 512, CHANNELS = 128, GROUPS = 32 };
static const int group_norm_ops[] = {MGK_OP_group_norm_stats, MGK_OP_group_norm_apply,
                                     MGK_OP_group_norm_grad_stats, MGK_OP_group_norm_grad_apply};
enum { GROUP_NORMS = sizeof group_norm_ops / sizeof group_norm_ops[0] };

static void group_norm(mgk_case *c, int which)
{
    mgk_group_norm_args *a = (void *)&c->args;
    const int op = group_norm_ops[which];
    const bool stats = op == MGK_OP_group_norm_stats, grad = op >= MGK_OP_group_norm_grad_stats;
    const int64_t n = (int64_t)FRAMES * PIXELS * CHANNELS, groups = (int64_t)FRAMES * GROUPS;
    a->n = FRAMES, a->rows = PIXELS, a->c = CHANNELS, a->groups = GROUPS;
    a->silu = 1;
    a->eps = 1e-5f;
    MGK_CASE_BEGIN(c, op, "SiLU %dx%dx%d, %d groups %s", FRAMES, PIXELS, CHANNELS, GROUPS,
                   dtype_name(c->real));
    mgk_case_in(c, &a->x, n, 1);
    a->mean.dtype = a->var.dtype = MGK_F32;
    const int role = stats ? MGK_CASE_OUT : MGK_CASE_IN;
    mgk_case_add(c, &a->mean, role, MGK_FILL_NORMAL, MGK_F32, groups, 0, 1);
    mgk_case_add(c, &a->var, role, MGK_FILL_POSITIVE, MGK_F32, groups, 0, 1);
    if (stats)
        return;
    mgk_case_in_f32(c, &a->weight, CHANNELS, 1);
    mgk_case_in_f32(c, &a->bias, CHANNELS, 1);
    if (grad)
        mgk_case_in(c, &a->dy, n, 1);
    if (op == MGK_OP_group_norm_apply) {
        mgk_case_out(c, &a->y, n);
    } else if (op == MGK_OP_group_norm_grad_stats) {
        mgk_case_out_f32(c, &a->sums, 2 * groups);
        mgk_case_both_f32(c, &a->d_weight, CHANNELS);
        mgk_case_both_f32(c, &a->d_bias, CHANNELS);
    } else {
        a->count = (int64_t)PIXELS * CHANNELS / GROUPS;
        mgk_case_in_f32(c, &a->sums, 2 * groups, 1);
        mgk_case_out(c, &a->dx, n);
    }
}

/* ---- snake: a second of the toybox's sound, 16 at a time, and a stream ---- */

static const int64_t sounds[][2] = {/* samples, channels */
                                    {16 * 48000, 16},
                                    {16 * 1200, 128},
                                    {ROWS, DIM}};
enum { SOUNDS = sizeof sounds / sizeof sounds[0] };

static void snake(mgk_case *c, int i)
{
    mgk_snake_args *a = (void *)&c->args;
    const bool grad = i >= SOUNDS;
    a->rows = sounds[i % SOUNDS][0], a->dim = sounds[i % SOUNDS][1];
    const int64_t n = a->rows * a->dim;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_snake_grad : MGK_OP_snake, "%ldx%ld %s", (long)a->rows,
                   (long)a->dim, dtype_name(c->real));
    mgk_case_in(c, &a->x, n, 1);
    mgk_case_in_f32(c, &a->alpha, a->dim, 1);
    if (grad) {
        mgk_case_in(c, &a->dy, n, 1);
        mgk_case_both_f32(c, &a->d_alpha, a->dim);
    }
    mgk_case_out(c, grad ? &a->dx : &a->y, n);
}

/* ---- cross entropy: of bytes, and of a vocabulary ---- */

static const int64_t choices[][2] = {/* rows, classes */
                                     {65536, 260},
                                     {1024, 50000}};
enum { CHOICES = sizeof choices / sizeof choices[0] };

static void cross_entropy(mgk_case *c, int i)
{
    mgk_cross_entropy_args *a = (void *)&c->args;
    const bool grad = i >= CHOICES;
    a->rows = choices[i % CHOICES][0], a->classes = choices[i % CHOICES][1];
    a->weight = 1;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_cross_entropy_grad : MGK_OP_cross_entropy, "%ldx%ld %s",
                   (long)a->rows, (long)a->classes, dtype_name(c->real));
    a->target.dtype = MGK_I32;
    mgk_case_in(c, &a->x, a->rows * a->classes, 1);
    mgk_case_add(c, &a->target, MGK_CASE_IN, MGK_FILL_IDS, MGK_I32, a->rows, a->classes, 1);
    if (grad) {
        mgk_case_in_f32(c, &a->lse, a->rows, 1);
        mgk_case_in_f32(c, &a->share, 1, 1);
        mgk_case_in_f32(c, &a->upstream, 1, 1);
        mgk_case_out(c, &a->dx, a->rows * a->classes);
    } else {
        mgk_case_out_f32(c, &a->lse, a->rows);
        mgk_case_out_f32(c, &a->share, 1);
        mgk_case_out_f32(c, &a->out, 1);
    }
}

/* ---- ops with dtypes of their own ---- */

static void conversion(mgk_case *c, int to_bf16)
{
    mgk_pointwise_args *a = (void *)&c->args;
    a->count = (int64_t)ROWS * DIM;
    a->alpha = 1;
    MGK_CASE_BEGIN(c, MGK_OP_convert, "%s %dx%d", to_bf16 ? "f32 to bf16" : "bf16 to f32", ROWS,
                   DIM);
    c->real = to_bf16 ? MGK_F32 : MGK_BF16;
    mgk_case_in(c, &a->x, a->count, 1);
    c->real = to_bf16 ? MGK_BF16 : MGK_F32;
    mgk_case_out(c, &a->y, a->count);
}

typedef struct optimizer_more {
    mgk_optimizer_item item;
    mgk_buf bufs[4];
} optimizer_more;

static void finish_adamw(mgk_case *c)
{
    mgk_optimizer_args *a = (void *)&c->args;
    optimizer_more *m = (void *)c->more;
    m->item.weight = m->bufs[0].p;
    m->item.grad = m->bufs[1].p;
    m->item.m = m->bufs[2].p;
    m->item.v = m->bufs[3].p;
    a->items = &m->item;
}

static void adamw(mgk_case *c)
{
    mgk_optimizer_args *a = (void *)&c->args;
    optimizer_more *m = (void *)c->more;
    int64_t n = (int64_t)ROWS * DIM;
    a->item_count = 1;
    a->beta1 = 0.9f, a->beta2 = 0.95f, a->eps = 1e-8f, a->decay = 0.01f;
    m->item = (mgk_optimizer_item){.count = n, .decay = 1, .lr_scale = 1};
    c->finish = finish_adamw;
    MGK_CASE_BEGIN(c, MGK_OP_adamw, "%dx%d f32", ROWS, DIM);
    a->control.dtype = MGK_F32;
    mgk_case_add(c, &a->control, MGK_CASE_INOUT, MGK_FILL_POSITIVE, MGK_F32, MGK_CONTROL_COUNT, 0,
                 1);
    mgk_case_both_f32(c, &m->bufs[0], n);
    mgk_case_in_f32(c, &m->bufs[1], n, 1);
    mgk_case_both_f32(c, &m->bufs[2], n);
    mgk_case_add(c, &m->bufs[3], MGK_CASE_INOUT, MGK_FILL_POSITIVE, MGK_F32, n, 0, 1);
}

static void quantization(mgk_case *c)
{
    mgk_quantize_fp8_args *a = (void *)&c->args;
    a->rows = ROWS, a->cols = a->ldx = a->ldc = DIM;
    MGK_CASE_BEGIN(c, MGK_OP_quantize_fp8, "%dx%d %s", ROWS, DIM, dtype_name(c->real));
    mgk_case_in(c, &a->x, (int64_t)ROWS * DIM, 1);
    a->codes.dtype = MGK_U8;
    mgk_case_add(c, &a->codes, MGK_CASE_OUT, MGK_FILL_ZERO, MGK_U8, (int64_t)ROWS * DIM, 0, 1);
    mgk_case_out_f32(c, &a->scale, ROWS);
}

/* Those of the products above whose B is transposed, and small. */
static const int fp8_products[] = {1, 4, 6, 7};
enum { FP8_PRODUCTS = sizeof fp8_products / sizeof fp8_products[0] };

/* Of the numbers of product(). */
static void fp8_product(mgk_case *c, int i)
{
    mgk_matmul_fp8_args *a = (void *)&c->args;
    a->m = products[i].m, a->n = products[i].n, a->k = products[i].k;
    a->lda = a->ldb = a->k;
    a->ldc = a->n;
    a->a.dtype = a->b.dtype = MGK_U8, a->a_scale.dtype = a->b_scale.dtype = MGK_F32;
    MGK_CASE_BEGIN(c, MGK_OP_matmul_fp8, "%ldx%ldx%ld FP8%s", (long)a->m, (long)a->n, (long)a->k,
                   c->real == MGK_F32 ? " to f32" : "");
    mgk_case_add(c, &a->a, MGK_CASE_IN, MGK_FILL_E4M3, MGK_U8, a->m * a->k, 0, 1);
    mgk_case_add(c, &a->a_scale, MGK_CASE_IN, MGK_FILL_POWER_OF_TWO, MGK_F32, a->m, 2, 1);
    mgk_case_add(c, &a->b, MGK_CASE_IN, MGK_FILL_E4M3, MGK_U8, a->n * a->k, 0, 1);
    mgk_case_add(c, &a->b_scale, MGK_CASE_IN, MGK_FILL_POWER_OF_TWO, MGK_F32, a->n, 2, 1);
    mgk_case_out(c, &a->c, a->m * a->n);
}

/* In bf16 and FP8 alone, and where there is a GPU: a processor would take minutes. */
static bool large(mgk_case *c, int i)
{
    c->real = MGK_BF16;
    if (!gpu_present())
        return false;
    if (i < LARGE_PRODUCTS)
        product(c, PRODUCTS + i);
    else if ((i -= LARGE_PRODUCTS) < LARGE_PRODUCTS)
        fp8_product(c, PRODUCTS + i);
    else if ((i -= LARGE_PRODUCTS) < 2 * LARGE_HEADS)
        attention(c, 2 * HEADS + i);
    else if ((i -= 2 * LARGE_HEADS) < 3 * LARGE_PICTURES)
        large_convolution(c, i);
    else
        return false;
    return true;
}

bool bench_case(mgk_case *c, int index)
{
    memset(c, 0, sizeof *c);
    enum {
        CONVOLUTIONS = 3 * PICTURES,
        ATTENTIONS = 2 * HEADS,
        SNAKES = 2 * SOUNDS,
        LOSSES = 2 * CHOICES,
        SMALL = 2 * (PRODUCTS + FP8_PRODUCTS + CONVOLUTIONS + ATTENTIONS + STREAMS + GROUP_NORMS +
                     SNAKES + LOSSES + 2) +
                1
    };
    int i = index / 2;
    if (index >= SMALL)
        return large(c, index - SMALL);
    c->real = index % 2 ? MGK_BF16 : MGK_F32;
    if (i < PRODUCTS)
        product(c, i);
    else if ((i -= PRODUCTS) < FP8_PRODUCTS)
        fp8_product(c, fp8_products[i]);
    else if ((i -= FP8_PRODUCTS) < CONVOLUTIONS)
        convolution(c, i);
    else if ((i -= CONVOLUTIONS) < ATTENTIONS)
        attention(c, i);
    else if ((i -= ATTENTIONS) < STREAMS)
        stream(c, i);
    else if ((i -= STREAMS) < GROUP_NORMS)
        group_norm(c, i);
    else if ((i -= GROUP_NORMS) < SNAKES)
        snake(c, i);
    else if ((i -= SNAKES) < LOSSES)
        cross_entropy(c, i);
    else if ((i -= LOSSES) == 0)
        quantization(c);
    else if (i == 1)
        conversion(c, index % 2);
    else
        adamw(c);
    return true;
}
