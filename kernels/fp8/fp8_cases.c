/* SPDX-License-Identifier: MIT
 * Test cases of quantize_fp8 and matmul_fp8. */
#include "kernels/common/bf16.h"
#include "kernels/common/case_tools.h"
#include "kernels/fp8/e4m3.h"
#include "kernels/fp8/matmul_fp8.h"
#include "kernels/fp8/quantize_fp8.h"

#include <math.h>

/* ---- quantize_fp8 ---- */

enum { GAP_X = 1, GAP_CODES = 2 }; /* rows longer than needed */

static const struct {
    int rows, cols, gaps;
    float scale;
} rows[] = {{0, 8, 0, 1},         {3, 0, 0, 1},
            {1, 1, 0, 1},         {5, 7, GAP_X, 1},
            {9, 16, 0, 1e-3f},    {4, 33, GAP_CODES, 1e5f},
            {70, 48, 0, 448},     {33, 100, GAP_X | GAP_CODES, 1},
            {6, 3000, GAP_X, 1},  {3, 2048, 0, 1e30f},
            {2, 6144, 0, 1e-30f}, {17, 512, 0, 1}};

static void quantize_buffers(mgk_case *c, mgk_quantize_fp8_args *a, float scale)
{
    mgk_case_in(c, &a->x, a->rows * a->ldx, scale);
    a->codes.dtype = MGK_U8;
    mgk_case_add(c, &a->codes, a->ldc > a->cols ? MGK_CASE_INOUT : MGK_CASE_OUT, MGK_FILL_IDS,
                 MGK_U8, a->rows * a->ldc, 256, 1);
    mgk_case_out_f32(c, &a->scale, a->rows);
}

static void quantize_case(mgk_case *c, int index)
{
    mgk_quantize_fp8_args *a = (void *)&c->args;
    const int i = index / 2;
    c->real = index % 2 ? MGK_BF16 : MGK_F32;
    a->rows = rows[i].rows, a->cols = rows[i].cols;
    a->ldx = a->cols + (rows[i].gaps & GAP_X ? 3 : 0);
    a->ldc = a->cols + (rows[i].gaps & GAP_CODES ? 5 : 0);
    MGK_CASE_BEGIN(c, MGK_OP_quantize_fp8, "%s %ldx%ld scale %g gaps %d",
                   c->real == MGK_BF16 ? "bf16" : "f32", (long)a->rows, (long)a->cols,
                   (double)rows[i].scale, rows[i].gaps);
    c->tolerance = 0;
    quantize_buffers(c, a, rows[i].scale);
}

/* A row each: what no random number is. */
enum { ODD_ROWS = 14, ODD_COLS = 40 };

static float odd_value(int row, int col)
{
    const float steps = (float)(col - 20);
    switch (row) {
    case 0: /* no number but zeros, of both signs */
        return col % 2 ? 0.0f : -0.0f;
    case 1: /* no finite one */
        return col % 3 == 0 ? NAN : col % 3 == 1 ? INFINITY : -INFINITY;
    case 2: /* among others */
        return col == 5 ? NAN : col == 21 ? -INFINITY : steps;
    case 3: /* the largest of f32: beyond the largest scale */
        return col % 2 ? -0x1.fep127f : 0x1p108f * steps;
    case 4: /* the largest that a scale reaches, and ties */
        return 0x1p100f * steps * 22.4f;
    case 5: /* below the smallest scale's steps */
        return steps * 0x1p-126f;
    case 6: /* no normal numbers */
        return steps * 0x1p-130f;
    case 7: /* around the smallest scale */
        return steps * 0x1p-100f;
    case 8: /* exactly 448, and its halves: ties of the steps of 2^-9 */
        return col == 0 ? 448.0f : steps * 0x1p-10f;
    case 9: /* just above 448 */
        return col == 0 ? 450.0f : steps * 0x1p-10f;
    case 10: /* ties of normal codes */
        return col == 0 ? 448.0f : 1.0f + steps * 0x1p-4f;
    case 11: /* around the first normal code */
        return col == 0 ? 448.0f : 0x1p-6f + steps * 0x1p-11f;
    case 12: /* between 448 and what would be 480 */
        return col == 0 ? -447.0f : 440.0f + steps / 3;
    default: /* one value */
        return col == 39 ? -3.0f : 0.0f;
    }
}

static void odd_case(mgk_case *c, int32_t real)
{
    mgk_quantize_fp8_args *a = (void *)&c->args;
    c->real = real;
    a->rows = ODD_ROWS, a->cols = a->ldx = a->ldc = ODD_COLS;
    MGK_CASE_BEGIN(c, MGK_OP_quantize_fp8, "%s ties, limits, no numbers",
                   real == MGK_BF16 ? "bf16" : "f32");
    c->tolerance = 0;
    for (int i = 0; i < ODD_ROWS * ODD_COLS; i++) {
        const float v = odd_value(i / ODD_COLS, i % ODD_COLS);
        if (real == MGK_BF16)
            ((uint16_t *)(void *)c->more)[i] = mgk_to_bf16(v);
        else
            ((float *)(void *)c->more)[i] = v;
    }
    mgk_case_given(c, &a->x, real, ODD_ROWS * ODD_COLS, c->more);
    a->codes.dtype = MGK_U8;
    mgk_case_add(c, &a->codes, MGK_CASE_OUT, MGK_FILL_ZERO, MGK_U8, ODD_ROWS * ODD_COLS, 0, 1);
    mgk_case_out_f32(c, &a->scale, ODD_ROWS);
}

enum { QUANTIZE_ILLEGAL = 7 };

static void illegal_quantize(mgk_case *c, int bad)
{
    static const char *const names[QUANTIZE_ILLEGAL] = {
        "ldx", "ldc", "rows", "codes bf16", "scale bf16", "x u8", "no scale"};
    mgk_quantize_fp8_args *a = (void *)&c->args;
    c->real = MGK_F32;
    a->rows = 4, a->cols = 6;
    a->ldx = bad == 0 ? 5 : 6, a->ldc = bad == 1 ? 5 : 6;
    MGK_CASE_BEGIN(c, MGK_OP_quantize_fp8, "illegal: %s", names[bad]);
    c->illegal = true;
    quantize_buffers(c, a, 1);
    a->rows = bad == 2 ? -1 : 4;
    if (bad >= 3 && bad < 6)
        c->bufs[bad == 3 ? 1 : bad == 4 ? 2 : 0].dtype = bad == 5 ? MGK_U8 : MGK_BF16;
    if (bad == 6)
        c->buf_count = 2;
}

/* ---- matmul_fp8 ---- */

enum { BIAS = 1, RESIDUAL = 2, GATE = 4 | RESIDUAL, BEFORE = 8 | RESIDUAL, WIDE = 16 };

static const struct {
    int m, n, k, act, flags;
    float
        size; /* of the codes: 0.01 for many below the normal ones, 300 for many of 448; 0: of one sign */
} shapes[] = {
    {0, 5, 3, MGK_ACT_NONE, 0, 1},
    {5, 0, 3, MGK_ACT_NONE, 0, 1},
    {5, 7, 0, MGK_ACT_SILU, BIAS, 1},
    {5, 7, 0, MGK_ACT_NONE, GATE | BIAS, 1},
    {1, 1, 1, MGK_ACT_NONE, 0, 1},
    {1, 33, 70, MGK_ACT_NONE, BIAS, 100},
    {40, 1, 9, MGK_ACT_NONE, 0, 100},
    {13, 15, 7, MGK_ACT_RELU, BIAS, 0.01f},
    {29, 47, 33, MGK_ACT_GELU_TANH, BIAS | WIDE, 1},
    {31, 49, 130, MGK_ACT_NONE, WIDE, 300},
    {28, 64, 64, MGK_ACT_QUICK_GELU, RESIDUAL, 1},
    {20, 45, 48, MGK_ACT_GELU_ERF, GATE | BIAS, 30},
    {30, 96, 50, MGK_ACT_NONE, GATE | BEFORE, 30},
    {33, 65, 600, MGK_ACT_SILU, BIAS | GATE | BEFORE | WIDE, 30},
    {17, 24, 2048, MGK_ACT_NONE, BIAS, 100},
    {16, 40, 1152, MGK_ACT_SILU, BIAS, 100},
    /* tiles of 128 rows and up to 256 columns, blocks of 128 values of k */
    {128, 128, 128, MGK_ACT_NONE, 0, 100},
    {136, 264, 208, MGK_ACT_NONE, GATE | BEFORE | BIAS, 30},
    {200, 144, 144, MGK_ACT_GELU_TANH, BIAS, 30},
    {264, 264, 144, MGK_ACT_NONE, RESIDUAL, 100},
    {136, 144, 656, MGK_ACT_NONE, BIAS, 100},
    {128, 128, 1008, MGK_ACT_NONE, 0, 0},
    {388, 392, 144, MGK_ACT_NONE, GATE | BIAS, 30}, /* several wide tiles a block */
};
enum { SHAPES = sizeof shapes / sizeof shapes[0], SCALES_LOG2 = 3, SAMPLE_ROWS = 7 };

static void codes_in(mgk_case *c, mgk_buf *slot, int64_t count, float size)
{
    slot->dtype = MGK_U8;
    mgk_case_add(c, slot, MGK_CASE_IN, size > 0 ? MGK_FILL_E4M3 : MGK_FILL_IDS, MGK_U8, count,
                 MGK_E4M3_NAN, size);
}

static void scales_in(mgk_case *c, mgk_buf *slot, int64_t count)
{
    slot->dtype = MGK_F32;
    mgk_case_add(c, slot, MGK_CASE_IN, MGK_FILL_POWER_OF_TWO, MGK_F32, count, SCALES_LOG2, 1);
}

/* Inside GPUs, sums of codes have about 14 bits: 2^-13 of the largest value a step of 32 values of k. What is cut off adds
 * up where all products have one sign. */
static void allow_short_sums(mgk_case *c, bool one_sign)
{
    c->loose = one_sign ? 4e-3f : 2e-3f;
    c->loose_variants = "sm90,cublaslt";
}

static void product_buffers(mgk_case *c, mgk_matmul_fp8_args *g, int flags, float size)
{
    const int64_t count = g->m * g->ldc;
    const bool wide = flags & WIDE; /* the gaps keep their values: so C goes in as well */
    codes_in(c, &g->a, g->m * g->lda, size);
    scales_in(c, &g->a_scale, g->m);
    codes_in(c, &g->b, g->n * g->ldb, size);
    scales_in(c, &g->b_scale, g->n);
    mgk_case_out_or_both(c, &g->c, count, wide);
    if (flags & BIAS)
        mgk_case_in_f32(c, &g->bias, g->n, size);
    if (flags & RESIDUAL)
        mgk_case_in(c, &g->residual, count, size);
    if ((flags & BEFORE) == BEFORE)
        mgk_case_out_or_both(c, &g->before, count, wide);
    if ((flags & GATE) == GATE) {
        g->rows_per_sample = SAMPLE_ROWS;
        g->gate_stride = g->n + 2;
        mgk_case_in_f32(c, &g->gate, (g->m / SAMPLE_ROWS + 1) * g->gate_stride, 1);
    }
}

static void product_case(mgk_case *c, int index)
{
    mgk_matmul_fp8_args *g = (void *)&c->args;
    const int i = index % SHAPES, f = shapes[i].flags, more = f & WIDE ? 3 : 0;
    c->real = index / SHAPES ? MGK_BF16 : MGK_F32;
    g->m = shapes[i].m, g->n = shapes[i].n, g->k = shapes[i].k;
    g->act = shapes[i].act;
    g->lda = g->k + more, g->ldb = g->k + 2 * more, g->ldc = g->n + more;
    MGK_CASE_BEGIN(c, MGK_OP_matmul_fp8, "%s %ldx%ldx%ld%s%s%s act %d codes of %g%s",
                   c->real == MGK_BF16 ? "bf16" : "f32", (long)g->m, (long)g->n, (long)g->k,
                   f & BIAS ? " bias" : "",
                   (f & GATE) == GATE ? " gate"
                   : f & RESIDUAL     ? " residual"
                                      : "",
                   (f & BEFORE) == BEFORE ? " before" : "", g->act, (double)shapes[i].size,
                   more ? " wide" : "");
    allow_short_sums(c, shapes[i].size == 0);
    product_buffers(c, g, f, shapes[i].size);
}

/* Each code times 1, scaled to a size of 1 to 2, alone in its row of 16. */
enum { CODES = 256, CODE_K = 16 };

static void codes_case(mgk_case *c, int32_t real)
{
    static const uint8_t ones[2 * CODE_K] = {[0] = 0x38, [CODE_K] = 0xb8}; /* 1 and -1 */
    static const float b_scale[2] = {1, 2};
    mgk_matmul_fp8_args *g = (void *)&c->args;
    uint8_t *codes = c->more;
    float *scales = (float *)(void *)(c->more + CODES * CODE_K);
    c->real = real;
    g->m = CODES, g->n = 2, g->k = g->lda = g->ldb = CODE_K;
    g->ldc = 2;
    MGK_CASE_BEGIN(c, MGK_OP_matmul_fp8, "%s every code", real == MGK_BF16 ? "bf16" : "f32");
    for (int i = 0; i < CODES; i++) {
        const float v = fabsf(mgk_from_e4m3((uint8_t)i));
        memset(codes + i * CODE_K, 0, CODE_K);
        codes[i * CODE_K] = (uint8_t)i;
        scales[i] = v > 0 ? mgk_power_of_two(-ilogbf(v)) : 1;
    }
    c->tolerance = 0;
    mgk_case_given(c, &g->a, MGK_U8, CODES * CODE_K, codes);
    mgk_case_given(c, &g->a_scale, MGK_F32, CODES, scales);
    mgk_case_given(c, &g->b, MGK_U8, 2 * CODE_K, ones);
    mgk_case_given(c, &g->b_scale, MGK_F32, 2, b_scale);
    mgk_case_out(c, &g->c, CODES * 2);
}

/* The largest and the smallest scales, whose products are numbers again. */
static void limits_case(mgk_case *c, int32_t real)
{
    enum { M = 4, N = 3, K = 32 };
    static const float a_scale[M] = {0x1p-100f, 0x1p100f, 0x1p-100f, 0x1p100f};
    static const float b_scale[N] = {0x1p-10f, 1, 0x1p4f};
    mgk_matmul_fp8_args *g = (void *)&c->args;
    c->real = real;
    g->m = M, g->n = g->ldc = N, g->k = g->lda = g->ldb = K;
    MGK_CASE_BEGIN(c, MGK_OP_matmul_fp8, "%s scales at their limits",
                   real == MGK_BF16 ? "bf16" : "f32");
    allow_short_sums(c, false);
    codes_in(c, &g->a, M * K, 1);
    mgk_case_given(c, &g->a_scale, MGK_F32, M, a_scale);
    codes_in(c, &g->b, N * K, 1);
    mgk_case_given(c, &g->b_scale, MGK_F32, N, b_scale);
    mgk_case_out(c, &g->c, M * N);
}

enum { PRODUCT_ILLEGAL = 13 };

static void illegal_product(mgk_case *c, int bad)
{
    static const char *const names[PRODUCT_ILLEGAL] = {"lda",
                                                       "ldb",
                                                       "ldc",
                                                       "k",
                                                       "act",
                                                       "A bf16",
                                                       "B i32",
                                                       "a_scale bf16",
                                                       "b_scale bf16",
                                                       "no b_scale",
                                                       "gate without residual",
                                                       "before without residual",
                                                       "residual of another dtype"};
    enum { A, A_SCALE, B, B_SCALE };
    static const int whose[] = {A, B, A_SCALE, B_SCALE};
    mgk_matmul_fp8_args *g = (void *)&c->args;
    c->real = MGK_F32;
    g->m = 4, g->n = 5, g->k = 6;
    g->lda = g->ldb = 6, g->ldc = 5;
    MGK_CASE_BEGIN(c, MGK_OP_matmul_fp8, "illegal: %s", names[bad]);
    c->illegal = true;
    product_buffers(c, g, bad == 12 ? RESIDUAL : 0, 1);
    g->lda -= bad == 0;
    g->ldb -= bad == 1;
    g->ldc -= bad == 2;
    g->k = bad == 3 ? -1 : 6;
    g->act = bad == 4 ? MGK_ACT_QUICK_GELU + 1 : MGK_ACT_NONE;
    if (bad >= 5 && bad < 9)
        c->bufs[whose[bad - 5]].dtype = bad == 6 ? MGK_I32 : MGK_BF16;
    if (bad == 9)
        c->bufs[B_SCALE] = c->bufs[--c->buf_count];
    if (bad == 10) {
        g->rows_per_sample = 2;
        mgk_case_in_f32(c, &g->gate, 15, 1);
    }
    if (bad == 11)
        mgk_case_out(c, &g->before, 20);
    if (bad == 12)
        c->bufs[c->buf_count - 1].dtype = MGK_BF16;
}

/* ---- all of them ---- */

MGK_CASES(fp8)
{
    enum { QUANTIZE = 2 * sizeof rows / sizeof rows[0], EITHER = 2 };
    (void)seed;
    if (index < QUANTIZE)
        quantize_case(c, index);
    else if ((index -= QUANTIZE) < EITHER)
        odd_case(c, index ? MGK_BF16 : MGK_F32);
    else if ((index -= EITHER) < QUANTIZE_ILLEGAL)
        illegal_quantize(c, index);
    else if ((index -= QUANTIZE_ILLEGAL) < 2 * SHAPES)
        product_case(c, index);
    else if ((index -= 2 * SHAPES) < EITHER)
        codes_case(c, index ? MGK_BF16 : MGK_F32);
    else if ((index -= EITHER) < EITHER)
        limits_case(c, index ? MGK_BF16 : MGK_F32);
    else if ((index -= EITHER) < PRODUCT_ILLEGAL)
        illegal_product(c, index);
    else
        return false;
    return true;
}
