/* SPDX-License-Identifier: MIT
 * The definition of the pointwise ops. */
#include "kernels/pointwise/pointwise.h"
#include "kernels/common/activation.h"
#include "kernels/common/bf16.h"
#include "kernels/common/check.h"
#include "kernels/pointwise/pointwise_blocks.h"

static bool kind_ok(const mgk_pointwise_args *a)
{
    return a->kind >= MGK_UNARY_SILU && a->kind <= MGK_UNARY_RELU;
}

bool mgk_unary_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(kind_ok(a), "unknown kind");
    MGK_RULE(mgk_is_f32_of(a->x, a->count) && mgk_is_f32_of(a->y, a->count), "x, y: f32");
    return true;
}

bool mgk_unary_grad_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(kind_ok(a), "unknown kind");
    MGK_RULE(mgk_is_f32_of(a->x, a->count) && mgk_is_f32_of(a->dy, a->count) &&
                 mgk_is_f32_of(a->dx, a->count),
             "x, dy, dx: f32");
    return true;
}

bool mgk_axpby_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(mgk_is_f32_of(a->x, a->count) && mgk_is_f32_of(a->y, a->count), "x, y: f32");
    return true;
}

bool mgk_add_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(mgk_is_f32_of(a->x, a->count) && mgk_is_f32_of(a->h, a->count) &&
                 mgk_is_f32_of(a->y, a->count),
             "x, h, y: f32");
    return true;
}

bool mgk_gated_residual_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    MGK_RULE(a->rows_per_sample > 0, "rows_per_sample must be positive");
    MGK_RULE(a->gate_stride >= 0, "gate_stride out of range");
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_f32_of(a->x, n) && mgk_is_f32_of(a->h, n) && mgk_is_f32_of(a->gate, n) &&
                 mgk_is_f32_of(a->y, n),
             "x, h, gate, y: f32");
    return true;
}

bool mgk_gated_residual_grad_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    MGK_RULE(a->rows_per_sample > 0, "rows_per_sample must be positive");
    MGK_RULE(a->gate_stride >= 0, "gate_stride out of range");
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_f32_of(a->dy, n) && mgk_is_f32_of(a->h, n) && mgk_is_f32_of(a->gate, n),
             "dy, h, gate: f32");
    MGK_RULE(mgk_is_f32_or_null(a->dh) && mgk_is_f32_or_null(a->d_gate), "dh, d_gate: f32");
    MGK_RULE(!a->d_gate.p || a->rows <= a->rows_per_sample || a->d_gate_stride >= a->dim,
             "d_gate_stride: samples overlap");
    return true;
}

bool mgk_channel_affine_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_f32_of(a->x, n) && mgk_is_f32_of(a->y, n), "x, y: f32");
    MGK_RULE(mgk_is_f32_of(a->scale, n) && mgk_is_f32_of(a->shift, n), "scale, shift: f32");
    return true;
}

bool mgk_add_rows_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    MGK_RULE(a->period > 0 && MGK_EXTENTS_OK(a->period, a->dim), "period out of range");
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_f32_of(a->x, n) && mgk_is_f32_of(a->y, n) && mgk_is_f32_of(a->table, n),
             "x, y, table: f32");
    return true;
}

bool mgk_reduce_rows_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    MGK_RULE(a->period > 0 && MGK_EXTENTS_OK(a->period, a->dim), "period out of range");
    int64_t n = a->rows * a->dim;
    MGK_RULE(mgk_is_f32_of(a->x, n) && mgk_is_f32_of(a->table, n), "x, table: f32");
    return true;
}

bool mgk_convert_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    int x = a->x.dtype, y = a->y.dtype;
    MGK_RULE((x == MGK_U8 && y == MGK_F32) || (x == MGK_F32 && y == MGK_U8) ||
                 (x == MGK_BF16 && y == MGK_F32) || (x == MGK_F32 && y == MGK_BF16),
             "no conversion between these dtypes");
    MGK_RULE(a->count == 0 || (a->x.p && a->y.p), "x, y: NULL");
    return true;
}

bool mgk_fill_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(mgk_is_f32_of(a->y, a->count), "y: f32");
    return true;
}

#define NO_WORKSPACE(op)                                                                           \
    size_t mgk_##op##_workspace(const void *args, int threads)                                     \
    {                                                                                              \
        (void)args;                                                                                \
        (void)threads;                                                                             \
        return 0;                                                                                  \
    }
NO_WORKSPACE(unary)
NO_WORKSPACE(unary_grad)
NO_WORKSPACE(axpby)
NO_WORKSPACE(add)
NO_WORKSPACE(gated_residual)
NO_WORKSPACE(channel_affine)
NO_WORKSPACE(add_rows)
NO_WORKSPACE(convert)
NO_WORKSPACE(fill)

size_t mgk_gated_residual_grad_workspace(const void *args, int threads)
{
    const mgk_pointwise_args *a = args;
    (void)threads;
    mgk_row_split s = mgk_split_rows(a->rows, a->rows_per_sample, a->dim);
    return s.chunks > 1 && a->d_gate.p ? sizeof(float) * (size_t)(s.blocks * mgk_pad16(a->dim)) : 0;
}

size_t mgk_reduce_rows_workspace(const void *args, int threads)
{
    (void)threads;
    mgk_reduce_plan p = mgk_plan_reduce(args);
    return p.row_blocks > 1 ? sizeof(float) * (size_t)(p.row_blocks * p.width) : 0;
}

void mgk_unary_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++) {
        double v = MGK_F(a->x)[i], y = 0;
        if (a->kind == MGK_UNARY_SILU)
            y = mgk_silu(v);
        else if (a->kind == MGK_UNARY_GELU_TANH)
            y = mgk_gelu(v);
        else
            y = v < 0 ? 0 : v;
        MGK_F(a->y)[i] = (float)y;
    }
}

void mgk_unary_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++) {
        double v = MGK_F(a->x)[i], slope = 0;
        if (a->kind == MGK_UNARY_SILU)
            slope = mgk_silu_grad(v);
        else if (a->kind == MGK_UNARY_GELU_TANH)
            slope = mgk_gelu_grad(v);
        else
            slope = v > 0;
        double dx = slope * MGK_F(a->dy)[i];
        MGK_F(a->dx)[i] = (float)(a->accumulate ? MGK_F(a->dx)[i] + dx : dx);
    }
}

void mgk_axpby_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++) {
        double v = (double)a->alpha * MGK_F(a->x)[i];
        if (a->beta != 0)
            v += (double)a->beta * MGK_F(a->y)[i];
        MGK_F(a->y)[i] = (float)v;
    }
}

void mgk_add_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++)
        MGK_F(a->y)[i] = MGK_F(a->x)[i] + MGK_F(a->h)[i];
}

void mgk_gated_residual_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++) {
        const float *gate = MGK_F(a->gate) + r / a->rows_per_sample * a->gate_stride;
        for (int64_t j = 0; j < a->dim; j++) {
            int64_t i = r * a->dim + j;
            MGK_F(a->y)[i] = (float)(MGK_F(a->x)[i] + (double)gate[j] * MGK_F(a->h)[i]);
        }
    }
}

void mgk_gated_residual_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t first = 0; first < a->rows; first += a->rows_per_sample) {
        int64_t s = first / a->rows_per_sample;
        int64_t end = mgk_min(a->rows, first + a->rows_per_sample);
        for (int64_t j = 0; j < a->dim; j++) {
            double sum = 0;
            for (int64_t r = first; r < end; r++) {
                int64_t i = r * a->dim + j;
                if (a->dh.p)
                    MGK_F(a->dh)[i] = MGK_F(a->gate)[s * a->gate_stride + j] * MGK_F(a->dy)[i];
                sum += (double)MGK_F(a->dy)[i] * MGK_F(a->h)[i];
            }
            if (a->d_gate.p)
                MGK_F(a->d_gate)[s * a->d_gate_stride + j] += (float)sum;
        }
    }
}

void mgk_channel_affine_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t c = 0; c < a->dim; c++) {
            int64_t i = r * a->dim + c;
            MGK_F(a->y)
            [i] = (float)((double)MGK_F(a->x)[i] * MGK_F(a->scale)[c] + MGK_F(a->shift)[c]);
        }
}

void mgk_add_rows_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t j = 0; j < a->dim; j++)
            MGK_F(a->y)
    [r * a->dim + j] = MGK_F(a->x)[r * a->dim + j] + MGK_F(a->table)[r % a->period * a->dim + j];
}

void mgk_reduce_rows_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t p = 0; p < mgk_min(a->period, a->rows); p++)
        for (int64_t j = 0; j < a->dim; j++) {
            double sum = 0;
            for (int64_t r = p; r < a->rows; r += a->period)
                sum += MGK_F(a->x)[r * a->dim + j];
            MGK_F(a->table)[p * a->dim + j] += (float)sum;
        }
}

void mgk_convert_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++) {
        double v;
        if (a->x.dtype == MGK_U8)
            v = MGK_B(a->x)[i];
        else if (a->x.dtype == MGK_BF16)
            v = mgk_from_bf16(((uint16_t *)a->x.p)[i]);
        else
            v = MGK_F(a->x)[i];
        v = v * a->alpha + a->beta;
        if (a->y.dtype == MGK_U8)
            MGK_B(a->y)[i] = (uint8_t)(v >= 255 ? 255 : v > 0 ? rint(v) : 0);
        else if (a->y.dtype == MGK_BF16)
            ((uint16_t *)a->y.p)[i] = mgk_to_bf16((float)v);
        else
            MGK_F(a->y)[i] = (float)v;
    }
}

void mgk_fill_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++)
        MGK_F(a->y)[i] = a->alpha;
}
