/* SPDX-License-Identifier: MIT
 * Test cases of attention and its gradient. */
#include "kernels/attention/attention.h"
#include "kernels/common/case_tools.h"

#include <math.h>

/* Edges: empty, one value, odd head_dim (half a pair of bf16), just under and over the tiles of 64 and 128; those of 80,
 * 96, 128 and 192 of the kernels for sm_90a. */
static const struct {
    int64_t batch, heads, dim, sq, sk;
} shapes[] = {
    {0, 2, 8, 3, 3},      {2, 1, 8, 0, 5},       {2, 2, 8, 3, 0},      {1, 1, 1, 1, 1},
    {2, 3, 5, 3, 7},      {1, 2, 32, 64, 64},    {1, 2, 16, 65, 63},   {2, 1, 33, 17, 130},
    {1, 1, 80, 100, 20},  {2, 1, 40, 70, 90},    {1, 1, 256, 34, 66},  {1, 2, 32, 150, 200},
    {2, 2, 64, 1, 130},   {1, 2, 7, 129, 1},     {1, 1, 255, 30, 65},  {1, 1, 31, 128, 128},
    {3, 2, 32, 16, 16},   {1, 1, 24, 257, 65},   {1, 1, 128, 19, 191}, {1, 2, 64, 128, 256},
    {2, 1, 64, 193, 129}, {1, 2, 128, 192, 320}, {1, 1, 128, 129, 81}, {2, 2, 72, 70, 385},
    {4, 4, 8, 290, 130}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static const struct {
    const char *name;
    bool fused, mask, all_masked, bias, padded, grouped, offsets;
    int64_t block_q, block_k; /* 0: no block list */
} options[] = {
    {"separate"},
    {"fused", .fused = true},
    {"mask", .mask = true},
    {"bias", .bias = true},
    {"mask bias padded", .mask = true, .bias = true, .padded = true},
    {"no key counts", .mask = true, .all_masked = true},
    {"grouped mask padded", .grouped = true, .mask = true, .padded = true},
    {"bias offsets grouped", .bias = true, .offsets = true, .grouped = true},
    {"blocks 20x24", .block_q = 20, .block_k = 24},
    {"blocks 64x64 mask bias offsets", .mask = true, .bias = true, .offsets = true, .block_q = 64,
     .block_k = 64},
    {"blocks 130x7 fused grouped", .fused = true, .grouped = true, .block_q = 130, .block_k = 7}};
enum { OPTIONS = sizeof options / sizeof options[0] };

/* Byte address of a value inside a buffer of either dtype. */
static mgk_buf inside(mgk_buf b, int64_t values)
{
    size_t size = b.dtype == MGK_BF16 ? 2 : 4;
    return (mgk_buf){b.p ? (uint8_t *)b.p + (size_t)values * size : NULL, b.dtype};
}

/* q, k and v are parts of one row, as a single product makes them, and so are their gradients. */
static void finish_fused(mgk_case *c)
{
    mgk_attention_args *a = (void *)&c->args;
    int64_t width = a->heads * a->head_dim;
    int64_t kv_width = (a->kv_heads ? a->kv_heads : a->heads) * a->head_dim;
    a->k = inside(a->q, width);
    a->v = inside(a->q, width + kv_width);
    if (c->op != MGK_OP_attention_grad)
        return;
    a->dk = inside(a->dq, width);
    a->dv = inside(a->dq, width + kv_width);
}

/* A list that leaves out some key tiles, all of them for the second tile of queries. */
static void add_blocks(mgk_case *c, mgk_attention_args *a, int64_t block_q, int64_t block_k)
{
    int64_t tiles = (a->sq + block_q - 1) / block_q, key_tiles = (a->sk + block_k - 1) / block_k;
    int32_t *start = (void *)c->more, *index = start + tiles + 1, n = 0;
    for (int64_t t = 0; t < tiles; t++) {
        start[t] = n;
        for (int32_t k = 0; k < key_tiles; k++)
            if (t != 1 && (3 * t + 2 * k) % 5 < 3)
                index[n++] = k;
    }
    start[tiles] = n;
    mgk_case_given(c, &a->block_start, MGK_I32, tiles + 1, start);
    mgk_case_given(c, &a->block_index, MGK_I32, n, index);
    a->block_q = block_q;
    a->block_k = block_k;
    a->block_count = n;
}

static void set_sizes(mgk_attention_args *a, int shape, int option)
{
    a->batch = shapes[shape].batch;
    a->heads = shapes[shape].heads;
    a->head_dim = shapes[shape].dim;
    a->sq = shapes[shape].sq;
    a->sk = shapes[shape].sk;
    a->scale = 1 / sqrtf((float)a->head_dim);
    int64_t kv_heads = a->heads;
    if (options[option].grouped) {
        a->kv_heads = kv_heads;
        a->heads *= 2;
    }
    int64_t width = a->heads * a->head_dim, kv_width = kv_heads * a->head_dim;
    int64_t pad = options[option].padded ? 3 : 0;
    a->q_row = width + pad;
    a->k_row = kv_width + pad;
    a->v_row = kv_width + 2 * pad;
    a->o_row = width + (pad ? 1 : 0);
    if (options[option].fused)
        a->q_row = a->k_row = a->v_row = width + 2 * kv_width;
    a->q_batch = a->sq * a->q_row;
    a->k_batch = a->sk * a->k_row;
    a->v_batch = a->sk * a->v_row;
    if (options[option].fused) /* as many queries as keys, or one is part of the other */
        a->q_batch = a->k_batch = a->v_batch = (a->sq > a->sk ? a->sq : a->sk) * a->q_row;
    a->o_batch = a->sq * a->o_row + (pad ? 5 : 0);
    if (options[option].offsets) {
        a->q_offset = 5;
        a->k_offset = 2;
        a->bias_span = 2 * ((a->sq > a->sk ? a->sq : a->sk) + 5) - 1;
    }
}

/* Each pair of shape and option in one of the dtypes, with another seed in the other. */
static void build(mgk_case *c, mgk_attention_args *a, int index, uint64_t seed)
{
    int shape = mgk_case_take(&index, SHAPES), option = mgk_case_take(&index, OPTIONS);
    bool grad = mgk_case_take(&index, 2), fused = options[option].fused;
    c->real = ((uint64_t)(shape + option) + seed) % 2 ? MGK_BF16 : MGK_F32;
    set_sizes(a, shape, option);
    int64_t nq = a->batch * a->q_batch, nk = a->batch * a->k_batch, nv = a->batch * a->v_batch;
    int64_t no = a->batch * a->o_batch, rows = a->batch * a->heads * a->sq;
    int64_t span = a->bias_span ? a->bias_span : a->sq + a->sk > 0 ? a->sq + a->sk - 1 : 0;
    MGK_CASE_BEGIN(c, grad ? MGK_OP_attention_grad : MGK_OP_attention,
                   "%s batch %ld heads %ld dim %ld sq %ld sk %ld %s",
                   c->real == MGK_BF16 ? "bf16" : "f32", (long)a->batch, (long)a->heads,
                   (long)a->head_dim, (long)a->sq, (long)a->sk, options[option].name);
    if (options[option].block_q)
        add_blocks(c, a, options[option].block_q, options[option].block_k);
    mgk_case_in(c, &a->q, nq, 1.5f);
    if (fused) {
        c->finish = finish_fused;
    } else {
        mgk_case_in(c, &a->k, nk, 1.5f);
        mgk_case_in(c, &a->v, nv, 1);
    }
    if (options[option].mask) /* some batch items may have no key at all */
        mgk_case_add(c, &a->mask, MGK_CASE_IN,
                     options[option].all_masked ? MGK_FILL_ZERO : MGK_FILL_MASK, MGK_U8,
                     a->batch * a->sk, a->sk > 0 ? 2 * a->sk : 1, 1);
    if (options[option].bias)
        mgk_case_in_f32(c, &a->bias, a->heads * span, 1);
    if (!grad) { /* gaps between rows keep what they hold */
        mgk_case_both(c, &a->o, no);
        mgk_case_out_f32(c, &a->lse, rows);
        return;
    }
    mgk_case_in(c, &a->d_o, no, 1);
    mgk_case_in(c, &a->o, no, 1);
    const float added =
        0x1p-22f; /* of what gradients are added to, which may be all but taken away */
    /* About the true size, so that the probabilities are neither all 0 nor huge. */
    mgk_case_add(c, &a->lse, MGK_CASE_IN, MGK_FILL_POSITIVE, MGK_F32, rows, 0, 8);
    mgk_case_both(c, &a->dq, nq);
    mgk_case_besides(c, added, 0);
    if (!fused) {
        mgk_case_both(c, &a->dk, nk);
        mgk_case_besides(c, added, 0);
        mgk_case_both(c, &a->dv, nv);
        mgk_case_besides(c, added, 0);
    }
    if (options[option].bias) {
        mgk_case_both_f32(c, &a->d_bias, a->heads * span);
        mgk_case_besides(c, added, 0);
    }
}

enum { ILLEGAL = 20 };

static void break_a_rule(mgk_case *c, mgk_attention_args *a, int index)
{
    switch (index) {
    case 0:
        a->heads = -1;
        break;
    case 1:
        a->head_dim = 257;
        break;
    case 2:
        a->head_dim = 0;
        break;
    case 3:
        a->q_row = 7;
        break;
    case 4:
        a->k.p = NULL;
        break;
    case 5:
        c->op = MGK_OP_attention_grad;
        break; /* it lacks its own buffers */
    case 6:
        a->kv_heads = 3;
        break;
    case 7:
        a->kv_heads = -1;
        break;
    case 8:
        a->kv_heads = 4;
        break;
    case 9:
        a->k_row = 7;
        break;
    case 10:
        a->q_offset = -1;
        break;
    case 11:
        a->k_offset = 1;
        break; /* a bias, but no bias_span */
    case 12:
        a->bias_span = 6;
        break;
    case 13:
        a->bias_span = 3;
        break; /* distances reach from -2 to 2 */
    case 14:
        a->bias_span = 5, a->q_offset = 1;
        break;
    case 15:
        a->bias_span = 5, a->k_offset = 1;
        break;
    case 16:
        a->block_q = 0;
        break;
    case 17:
        a->block_k = -1;
        break;
    case 18: /* finish_illegal takes block_index away */
    case 19:
        a->block_count = -1;
        break;
    default:
        break;
    }
}

static void finish_illegal(mgk_case *c)
{
    mgk_attention_args *a = (void *)&c->args;
    a->k = a->v = a->q;
    if (c->more[0] == 4)
        a->k.p = NULL;
    if (c->more[0] == 18)
        a->block_index.p = NULL;
}

static bool illegal(mgk_case *c, mgk_attention_args *a, int index)
{
    if (index >= ILLEGAL)
        return false;
    MGK_CASE_BEGIN(c, MGK_OP_attention, "illegal %d", index);
    c->illegal = true;
    c->more[0] = (uint8_t)index;
    c->finish = finish_illegal;
    a->batch = 1;
    a->heads = 2;
    a->head_dim = 4;
    a->sq = a->sk = 3;
    a->q_row = a->k_row = a->v_row = a->o_row = 514;
    a->q_batch = a->k_batch = a->v_batch = a->o_batch = 3 * 514;
    mgk_case_in(c, &a->q, 1542, 1);
    mgk_case_both(c, &a->o, 1542);
    if (index >= 11 && index <= 15)
        mgk_case_in_f32(c, &a->bias, 10, 1);
    if (index >= 16) { /* two tiles of queries and two of keys */
        static const int32_t lists[] = {0, 1, 2, 0, 1};
        mgk_case_given(c, &a->block_start, MGK_I32, 3, lists);
        mgk_case_given(c, &a->block_index, MGK_I32, 2, lists + 3);
        a->block_q = a->block_k = 2;
        a->block_count = 2;
    }
    break_a_rule(c, a, index);
    return true;
}

MGK_CASES(attention)
{
    mgk_attention_args *a = (void *)&c->args;
    enum { LEGAL = SHAPES * OPTIONS * 2 };
    if (index >= LEGAL)
        return illegal(c, a, index - LEGAL);
    build(c, a, index, seed);
    return true;
}
