/* SPDX-License-Identifier: MIT
 * matmul: test cases. */
#include "kernels/common/case_tools.h"
#include "kernels/matmul/matmul.h"

enum { TA = 1, TB = 2, ACC = 4, BIAS = 8, SILU = 16, GELU = 32, RELU = 64 };
enum { WIDE = 128 /* rows longer than needed */, SHARED_B = 256, SHARED_A = 512, HEADS = 1024 };
enum { ERF = 2048, QUICK = 4096, RESIDUAL = 8192, GATE = 16384 | RESIDUAL };
enum { BEFORE = 32768 | RESIDUAL, LONG = 65536 /* samples of 64 rows instead of 7 */ };

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
    /* A copied while the first panel is multiplied: tiles of all rows, of fewer, columns that end with A */
    {61, 96, 1040, 1, 1, 0},
    {70, 80, 1088, 1, 1, TB | WIDE},
    {260, 100, 1031, 1, 1, TA},
    {66, 70, 37, 1, 1, TA | BIAS},
    {64, 192, 1152, 1, 1, TB | BIAS | SILU},
    /* few rows of a large B */
    {100, 523, 1100, 1, 1, TA | ACC},
    {60, 400, 700, 1, 0.5f, TB | BIAS | GATE | SILU},
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
    /* every activation, gated residuals (7 rows a sample), several blocks of k with them */
    {16, 64, 33, 1, 1, BIAS | ERF},
    {17, 33, 31, 1, 0.5f, TB | QUICK | WIDE},
    {15, 32, 16, 1, 1, RESIDUAL},
    {20, 45, 1, 1, 2, GATE},
    {29, 96, 67, 1, 1, TB | BIAS | GATE | SILU},
    {28, 64, 1030, 1, 1, BIAS | GATE},
    {40, 70, 1100, 1, 1, TA | RESIDUAL | QUICK | WIDE},
    {17, 19, 23, 3, 1, SHARED_B | BIAS | GATE},
    {9, 16, 8, 3, 1, SHARED_B | RESIDUAL},
    {33, 20, 64, 4, 1, HEADS | GATE},
    {5, 7, 0, 1, 1, GATE | BIAS},
    {40, 1200, 520, 1, 1, TB},
    {28, 64, 48, 1, 1, TB | BEFORE},
    {128, 16, 32, 1, 0.3f, TB | BIAS | GATE | LONG},
    {130, 64, 32, 1, 1, TB | GATE | BEFORE | LONG},
    {30, 96, 50, 1, 1, TB | GATE | BEFORE},
    {15, 45, 20, 1, 2, BIAS | GATE | SILU | BEFORE},
    {28, 40, 1030, 2, 1, GATE | BEFORE | WIDE},
    /* tiles of 128 or 256 columns, 128 rows each, two of them together or one; all ways to store A and B */
    {136, 136, 72, 2, 1, 0},
    {200, 144, 136, 1, 1, TA | BIAS | GELU},
    {136, 264, 200, 1, 0.5f, TB | BIAS | GATE | BEFORE | LONG},
    {264, 72, 144, 1, 1, TA | TB | ACC},
    {72, 236, 520, 1, 1, TB | RESIDUAL},
    {388, 392, 136, 1, 1, TB | BIAS | GATE | LONG},
    {456, 448, 24, 1, 1, 0},
    {432, 456, 40, 1, 1, TA | RESIDUAL | BIAS | SILU},
    {424, 448, 40, 1, 1, TA | TB | ACC},
    /* so large a C that it is written past the caches, in both ways that a tile ends */
    {4101, 2048, 3, 1, 1, TB | BIAS},
    {4101, 2048, 2, 1, 1, RELU},
};

static const char *const illegal[] = {
    "lda",           "ldb",         "ldc",          "m",         "trans",        "act",
    "bias, adds",    "act, adds",   "C overlap",    "no A",      "dtype",        "f32 C of mixed",
    "bf16 C of f32", "f32 to bf16", "residual f32", "gate only", "gate of none", "residual, adds",
    "gate bf16",     "before only", "before f32"};

static void break_rule(mgk_case *c, mgk_matmul_args *g, int index)
{
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
        mgk_case_in_f32(c, &g->bias, 5, 1);
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
    case 10:
        c->bufs[1].dtype = MGK_I32;
        break;
    case 11:
        c->bufs[1].dtype = MGK_BF16;
        break;
    case 12:
        c->bufs[2].dtype = MGK_BF16;
        break;
    case 13:
        c->bufs[0].dtype = c->bufs[2].dtype = MGK_BF16;
        break;
    case 14:
        c->bufs[0].dtype = c->bufs[1].dtype = c->bufs[2].dtype = MGK_BF16;
        mgk_case_in_f32(c, &g->residual, 40, 1);
        break;
    case 15:
        g->rows_per_sample = 4;
        mgk_case_in_f32(c, &g->gate, 5, 1);
        break;
    case 16:
        mgk_case_in_f32(c, &g->residual, 40, 1);
        mgk_case_in_f32(c, &g->gate, 5, 1);
        break;
    case 17:
        g->accumulate = 1;
        mgk_case_in_f32(c, &g->residual, 40, 1);
        break;
    case 18:
        g->rows_per_sample = 4;
        mgk_case_in_f32(c, &g->residual, 40, 1);
        mgk_case_in_f32(c, &g->gate, 5, 1);
        c->bufs[4].dtype = MGK_BF16;
        break;
    case 19:
        mgk_case_both(c, &g->before, 40);
        break;
    case 20:
        c->bufs[0].dtype = c->bufs[1].dtype = c->bufs[2].dtype = MGK_BF16;
        mgk_case_in(c, &g->residual, 40, 1);
        c->bufs[3].dtype = MGK_BF16;
        mgk_case_both(c, &g->before, 40);
        break;
    }
}

static bool illegal_case(mgk_case *c, int index)
{
    if (index >= (int)(sizeof illegal / sizeof illegal[0]))
        return false;
    mgk_matmul_args *g = (mgk_matmul_args *)c->args.bytes;
    *g = (mgk_matmul_args){
        .m = 4, .n = 5, .k = 6, .batch = 1, .lda = 6, .ldb = 5, .ldc = 5, .alpha = 1};
    c->illegal = true;
    snprintf(c->label, sizeof c->label, "illegal: %s", illegal[index]);
    mgk_case_in(c, &g->a, 48, 1);
    mgk_case_in(c, &g->b, 60, 1);
    mgk_case_both(c, &g->c, 40);
    break_rule(c, g, index);
    return true;
}

static int32_t act_of(int flags)
{
    return flags & SILU    ? MGK_ACT_SILU
           : flags & GELU  ? MGK_ACT_GELU_TANH
           : flags & RELU  ? MGK_ACT_RELU
           : flags & ERF   ? MGK_ACT_GELU_ERF
           : flags & QUICK ? MGK_ACT_QUICK_GELU
                           : MGK_ACT_NONE;
}

/* wide_c: C (residual and before) f32 whatever A and B are. */
static void add_buffers(mgk_case *c, const shape *s, mgk_matmul_args *g, bool wide_c)
{
    const int f = s->flags;
    const int32_t real = c->real;
    const int64_t a = (f & TA ? s->k : s->m) * g->lda, b = (f & TB ? s->n : s->k) * g->ldb;
    mgk_case_in(c, &g->a, f & SHARED_A ? a : s->batch * g->stride_a, 1);
    mgk_case_in(c, &g->b, f & SHARED_B ? b : s->batch * g->stride_b, 1);
    if (wide_c)
        c->real = MGK_F32;
    const int64_t count = f & HEADS ? s->m * g->ldc : s->batch * g->stride_c;
    /* the gaps of a wide C keep their values: so C goes in as well */
    mgk_case_out_or_both(c, &g->c, count, f & (ACC | WIDE));
    if (f & RESIDUAL)
        mgk_case_in(c, &g->residual, count, 10);
    if ((f & BEFORE) == BEFORE)
        mgk_case_out_or_both(c, &g->before, count, f & WIDE);
    c->real = real;
    if (f & BIAS)
        mgk_case_in_f32(c, &g->bias, s->n, 1);
    if ((f & GATE) == GATE) {
        g->rows_per_sample = f & LONG ? 64 : 7;
        g->gate_stride = s->n + 2;
        mgk_case_in_f32(c, &g->gate, (s->m / g->rows_per_sample + 1) * g->gate_stride, 1);
    }
}

static bool legal_case(mgk_case *c, int index, int dtypes)
{
    static const char *const names[] = {"f32", "bf16", "bf16 to f32"};
    const shape *s = &shapes[index];
    const int f = s->flags, more = f & WIDE ? 3 : 0;
    mgk_matmul_args *g = (mgk_matmul_args *)c->args.bytes;
    c->real = dtypes == 0 ? MGK_F32 : MGK_BF16;
    *g = (mgk_matmul_args){.m = s->m, .n = s->n, .k = s->k, .batch = s->batch, .alpha = s->alpha};
    g->trans_a = (f & TA) != 0;
    g->trans_b = (f & TB) != 0;
    g->accumulate = (f & ACC) != 0;
    g->act = act_of(f);
    g->lda = (f & TA ? s->m : s->k) + more;
    g->ldb = (f & TB ? s->k : s->n) + more;
    g->ldc = s->n + more;
    g->stride_a = f & SHARED_A ? 0 : (f & TA ? s->k : s->m) * g->lda + more;
    g->stride_b = f & SHARED_B ? 0 : (f & TB ? s->n : s->k) * g->ldb + more;
    g->stride_c = s->m * g->ldc + more;
    if (f & HEADS) {
        g->stride_c = s->n;
        g->ldc = s->n * s->batch;
    }
    snprintf(c->label, sizeof c->label, "%s %dx%dx%d batch %d%s%s%s%s%s%s act %d alpha %g%s",
             names[dtypes], s->m, s->n, s->k, s->batch, f & TA ? " A'" : "", f & TB ? " B'" : "",
             f & ACC ? " +=" : "", f & BIAS ? " bias" : "",
             (f & GATE) == GATE ? " gate"
             : f & RESIDUAL     ? " residual"
                                : "",
             (f & BEFORE) == BEFORE ? " before" : "", g->act, (double)s->alpha,
             more ? " wide" : "");
    add_buffers(c, s, g, dtypes == 2);
    return true;
}

bool mgk_matmul_cases(mgk_case *c, int index, uint64_t seed)
{
    const int count = (int)(sizeof shapes / sizeof shapes[0]);
    (void)seed;
    c->op = MGK_OP_matmul;
    if (index >= 3 * count)
        return illegal_case(c, index - 3 * count);
    return legal_case(c, index % count, index / count);
}
