/* SPDX-License-Identifier: MIT
 * Test cases of the embedding ops. */
#include "kernels/common/case_tools.h"
#include "kernels/embedding/embedding.h"

static const int64_t shapes[][3] = {{0, 8, 5},      {4, 0, 3},     {1, 2, 1},
                                    {7, 34, 4},     {300, 64, 9},  {90, 400, 11},
                                    {40, 1100, 30}, {1300, 12, 20}}; /* rows, dim, vocab */
static const int64_t many[3] = {33000, 2, 300};
static const int64_t spans[][4] = {
    {1, 1, 1, 128}, {6, 64, 64, 128}, {2, 3, 9, 20}, {4, 300, 5, 128}}; /* heads, sq, sk, max */
enum {
    SHAPES = sizeof shapes / sizeof shapes[0],
    SPANS = sizeof spans / sizeof spans[0],
    LOOKUPS = 3 * 4
};

/* Forms: f32; bf16; a table of one dtype and y of the other. */
static void lookup(mgk_case *c, mgk_embedding_args *a, const int64_t *shape, int op, int form)
{
    static const int ops[] = {MGK_OP_embedding, MGK_OP_embedding_grad, MGK_OP_timestep_embed};
    a->rows = shape[0];
    a->dim = shape[1];
    a->vocab = shape[2];
    int64_t n = a->rows * a->dim;
    MGK_CASE_BEGIN(c, ops[op], "rows %ld dim %ld vocab %ld form %d", (long)a->rows, (long)a->dim,
                   (long)a->vocab, form);
    if (op == 2)
        mgk_case_add(c, &a->time, MGK_CASE_IN, MGK_FILL_POSITIVE, MGK_F32, a->rows, 0, 1);
    else /* some ids lie outside of the table */
        mgk_case_add(c, &a->ids, MGK_CASE_IN, MGK_FILL_IDS, MGK_I32, a->rows, a->vocab + 1, 1);
    c->real = form == 1 || form == 2 ? MGK_BF16 : MGK_F32;
    if (op == 0)
        mgk_case_in(c, &a->table, a->vocab * a->dim, 1);
    c->real = form == 1 || form == 3 ? MGK_BF16 : MGK_F32;
    if (op == 1) {
        mgk_case_both_f32(c, &a->table, a->vocab * a->dim);
        mgk_case_in(c, &a->y, n, 1);
    } else {
        mgk_case_out(c, &a->y, n);
    }
}

static void bias(mgk_case *c, mgk_embedding_args *a, int index)
{
    const int64_t *span = spans[mgk_case_take(&index, SPANS)];
    bool grad = index;
    a->vocab = 32;
    a->heads = span[0];
    a->sq = span[1];
    a->sk = span[2];
    a->max_distance = span[3];
    int64_t n = a->heads * (a->sq + a->sk - 1);
    MGK_CASE_BEGIN(c, grad ? MGK_OP_relative_bias_grad : MGK_OP_relative_bias,
                   "heads %ld sq %ld sk %ld", (long)a->heads, (long)a->sq, (long)a->sk);
    if (grad) {
        mgk_case_both(c, &a->table, a->vocab * a->heads);
        mgk_case_in(c, &a->y, n, 1);
    } else {
        mgk_case_in(c, &a->table, a->vocab * a->heads, 1);
        mgk_case_out(c, &a->y, n);
    }
}

static bool illegal(mgk_case *c, mgk_embedding_args *a, int index)
{
    static const struct {
        int op;
        const char *what;
    } rules[] = {{MGK_OP_embedding, "rows negative"},
                 {MGK_OP_embedding_grad, "no vocab"},
                 {MGK_OP_timestep_embed, "dim odd"},
                 {MGK_OP_relative_bias, "vocab 30"},
                 {MGK_OP_relative_bias, "max_distance small"},
                 {MGK_OP_embedding_grad, "d_table bf16"},
                 {MGK_OP_embedding, "no ids"},
                 {MGK_OP_timestep_embed, "time bf16"},
                 {MGK_OP_relative_bias_grad, "y bf16"},
                 {MGK_OP_relative_bias, "sq 0"},
                 {MGK_OP_embedding, "dim too large"}};
    if (index >= (int)(sizeof rules / sizeof rules[0]))
        return false;
    MGK_CASE_BEGIN(c, rules[index].op, "illegal: %s", rules[index].what);
    c->illegal = true;
    a->rows = index == 0 ? -2 : 2;
    a->dim = index == 2 ? 7 : index == 10 ? INT64_MAX / 8 : 8;
    a->vocab = index == 1 ? 0 : index == 3 ? 30 : 8;
    a->heads = a->sq = a->sk = 2;
    a->sq = index == 9 ? 0 : 2;
    a->max_distance = index == 4 ? 2 : 20;
    if (index != 6)
        mgk_case_add(c, &a->ids, MGK_CASE_IN, MGK_FILL_IDS, MGK_I32, 2, 2, 1);
    c->real = index == 7 ? MGK_BF16 : MGK_F32;
    mgk_case_in(c, &a->time, 2, 1);
    c->real = index == 5 ? MGK_BF16 : MGK_F32;
    mgk_case_both(c, &a->table, 64);
    c->real = index == 8 ? MGK_BF16 : MGK_F32;
    mgk_case_both(c, &a->y, 16);
    return true;
}

MGK_CASES(embedding)
{
    mgk_embedding_args *a = (void *)&c->args;
    (void)seed;
    if (index < SHAPES * LOOKUPS) {
        const int64_t *shape = shapes[mgk_case_take(&index, SHAPES)];
        int op = mgk_case_take(&index, 3);
        lookup(c, a, shape, op, index);
    } else if ((index -= SHAPES * LOOKUPS) < SPANS * 2) {
        bias(c, a, index);
    } else if ((index -= SPANS * 2) == 0) {
        lookup(c, a, many, 1, 0);
    } else {
        return illegal(c, a, index - 1);
    }
    return true;
}
