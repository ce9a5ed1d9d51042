/* SPDX-License-Identifier: MIT
 * matmul: test cases. */
#include "kernels/cases.h"
#include "kernels/matmul/matmul.h"

#include <stdio.h>

enum { TA = 1, TB = 2, ACC = 4, BIAS = 8, SILU = 16, GELU = 32, RELU = 64 };
enum { WIDE = 128 /* rows longer than needed */, SHARED_B = 256, SHARED_A = 512, HEADS = 1024 };

typedef struct {
    int m, n, k, batch;
    float alpha;
    int flags;
} shape;

static const shape shapes[] = {
    /* empty and single */
    {0, 5, 3, 1, 1, 0},
    {5, 0, 3, 1, 1, 0},
    {5, 7, 3, 0, 1, 0},
    {5, 7, 0, 1, 1, 0},
    {5, 7, 0, 2, 2, BIAS | SILU},
    {5, 7, 0, 1, 1, ACC},
    {1, 1, 1, 1, 1, 0},
    {1, 1, 1, 1, -2, TA | TB | ACC},
    {1, 33, 70, 1, 1, TB | BIAS},
    {40, 1, 9, 1, 1, TA},
    /* around the tiles: 6 and 14 rows, 8, 16 and 32 columns */
    {5, 7, 4, 1, 1, 0},
    {6, 8, 5, 1, 1, TB},
    {7, 9, 6, 1, 1, TA},
    {13, 15, 7, 1, 1, TA | TB},
    {14, 16, 8, 1, 1, BIAS},
    {15, 17, 9, 1, 0.5f, BIAS | RELU},
    {27, 31, 10, 1, 1, TB | BIAS | SILU},
    {28, 32, 11, 1, 1, TB | BIAS | GELU},
    {29, 33, 12, 1, -1, TA | ACC},
    {30, 47, 13, 1, 1, WIDE},
    {31, 49, 14, 1, 1, WIDE | TA | TB},
    {43, 65, 21, 1, 3, WIDE | TA | ACC},
    {61, 96, 35, 1, 1, WIDE | TB | GELU},
    /* copied A, several blocks of k, of rows and of columns */
    {70, 100, 319, 1, 1, 0},
    {70, 100, 320, 1, 1, TB | BIAS},
    {70, 100, 321, 1, 1, TA},
    {65, 130, 700, 1, 0.25f, TA | TB | BIAS | SILU},
    {65, 130, 700, 1, 0.25f, ACC | WIDE},
    {230, 70, 330, 1, 1, TB | BIAS | GELU},
    {450, 97, 65, 1, 1, BIAS | RELU},
    {20, 1600, 330, 1, 1, 0},
    {33, 33, 2000, 1, 1, TA | ACC},
    {192, 192, 512, 1, 1, TA},
    {64, 192, 1152, 1, 1, TB | BIAS | SILU},
    /* batches */
    {17, 19, 23, 3, 1, 0},
    {17, 19, 23, 3, 1, TA | TB | WIDE},
    {17, 19, 23, 3, 1, SHARED_B | BIAS},
    {17, 19, 23, 3, 1, SHARED_B | TA | ACC},
    {17, 19, 23, 3, 1, SHARED_B | WIDE},
    {17, 19, 23, 3, 1, SHARED_A | TB},
    {33, 20, 64, 4, 0.125f, HEADS | TB},
    {20, 70, 340, 3, 1, ACC},
    {150, 140, 130, 3, 1, BIAS | SILU},
};

static const char *const illegal[] = {"lda",  "ldb",     "ldc",       "m",    "trans", "act",
                                      "bias", "acc+act", "C overlap", "no A", "dtype"};

static bool illegal_case(mgk_case *c, int index)
{
    if (index >= (int)(sizeof illegal / sizeof illegal[0]))
        return false;
    mgk_matmul_args *g = (mgk_matmul_args *)c->args.bytes;
    *g = (mgk_matmul_args){
        .m = 4, .n = 5, .k = 6, .batch = 1, .lda = 6, .ldb = 5, .ldc = 5, .alpha = 1};
    c->illegal = true;
    snprintf(c->label, sizeof c->label, "illegal: %s", illegal[index]);
    mgk_case_add(c, &g->a, MGK_CASE_IN, MGK_FILL_NORMAL, MGK_F32, 48, 0, 1);
    mgk_case_add(c, &g->b, MGK_CASE_IN, MGK_FILL_NORMAL, MGK_F32, 60, 0, 1);
    mgk_case_add(c, &g->c, MGK_CASE_INOUT, MGK_FILL_NORMAL, MGK_F32, 40, 0, 1);
    switch (index) {
    case 0:
        g->lda = 5;
        break;
    case 1:
        g->trans_b = 1;
        break;
    case 2:
        g->ldc = 4;
        break;
    case 3:
        g->m = -1;
        break;
    case 4:
        g->trans_a = 2;
        g->lda = 8;
        break;
    case 5:
        g->act = 9;
        break;
    case 6:
        g->accumulate = 1;
        mgk_case_add(c, &g->bias, MGK_CASE_IN, MGK_FILL_NORMAL, MGK_F32, 5, 0, 1);
        break;
    case 7:
        g->accumulate = 1;
        g->act = MGK_ACT_SILU;
        break;
    case 8:
        g->batch = 2;
        g->stride_c = 19;
        break;
    case 9:
        c->bufs[0] = c->bufs[2];
        c->buf_count = 2;
        break;
    default:
        c->bufs[1].dtype = MGK_I32;
        break;
    }
    return true;
}

bool mgk_matmul_cases(mgk_case *c, int index, uint64_t seed)
{
    const int count = (int)(sizeof shapes / sizeof shapes[0]);
    (void)seed;
    c->op = MGK_OP_matmul;
    if (index >= count)
        return illegal_case(c, index - count);
    const shape *s = &shapes[index];
    const int f = s->flags, more = f & WIDE ? 3 : 0;
    mgk_matmul_args *g = (mgk_matmul_args *)c->args.bytes;
    *g = (mgk_matmul_args){.m = s->m, .n = s->n, .k = s->k, .batch = s->batch, .alpha = s->alpha};
    g->trans_a = (f & TA) != 0;
    g->trans_b = (f & TB) != 0;
    g->accumulate = (f & ACC) != 0;
    g->act = f & SILU   ? MGK_ACT_SILU
             : f & GELU ? MGK_ACT_GELU_TANH
             : f & RELU ? MGK_ACT_RELU
                        : MGK_ACT_NONE;
    g->lda = (f & TA ? s->m : s->k) + more;
    g->ldb = (f & TB ? s->k : s->n) + more;
    g->ldc = s->n + more;
    g->stride_a = f & SHARED_A ? 0 : (f & TA ? s->k : s->m) * g->lda + more;
    g->stride_b = f & SHARED_B ? 0 : (f & TB ? s->n : s->k) * g->ldb + more;
    g->stride_c = s->m * g->ldc + more;
    int64_t c_count = s->batch * g->stride_c;
    if (f & HEADS) {
        g->stride_c = s->n;
        g->ldc = s->n * s->batch;
        c_count = s->m * g->ldc;
    }
    snprintf(c->label, sizeof c->label, "%dx%dx%d batch %d%s%s%s%s act %d alpha %g%s", s->m, s->n,
             s->k, s->batch, f & TA ? " A'" : "", f & TB ? " B'" : "", f & ACC ? " +=" : "",
             f & BIAS ? " bias" : "", g->act, (double)s->alpha, more ? " wide" : "");
    const int64_t a_count = f & SHARED_A ? (f & TA ? s->k : s->m) * g->lda : s->batch * g->stride_a;
    const int64_t b_count = f & SHARED_B ? (f & TB ? s->n : s->k) * g->ldb : s->batch * g->stride_b;
    mgk_case_add(c, &g->a, MGK_CASE_IN, MGK_FILL_NORMAL, MGK_F32, a_count, 0, 1);
    mgk_case_add(c, &g->b, MGK_CASE_IN, MGK_FILL_NORMAL, MGK_F32, b_count, 0, 1);
    /* the gaps of a wide C keep their values: so C goes in as well */
    mgk_case_add(c, &g->c, f & ACC || more ? MGK_CASE_INOUT : MGK_CASE_OUT, MGK_FILL_NORMAL,
                 MGK_F32, c_count, 0, 1);
    if (f & BIAS)
        mgk_case_add(c, &g->bias, MGK_CASE_IN, MGK_FILL_NORMAL, MGK_F32, s->n, 0, 1);
    return true;
}
