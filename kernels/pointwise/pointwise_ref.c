/* SPDX-License-Identifier: MIT
 * The definition of the pointwise ops. */
#include "kernels/pointwise/pointwise.h"
#include "kernels/common/activation.h"
#include "kernels/common/check.h"
#include "kernels/common/real.h"
#include "kernels/pointwise/pointwise_blocks.h"

/* Real buffers of one dtype, that of `type`. */
static bool is_of(mgk_buf b, int64_t count, mgk_buf type)
{
    return mgk_is_real_of(b, count) && b.dtype == type.dtype;
}

static bool kind_ok(const mgk_pointwise_args *a)
{
    return a->kind >= MGK_UNARY_SILU && a->kind <= MGK_UNARY_TANH;
}

static bool offset_ok(const mgk_pointwise_args *a)
{
    return a->row_offset >= 0 && a->row_offset <= INT64_MAX / 64;
}

bool mgk_unary_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(kind_ok(a), "unknown kind");
    MGK_RULE(is_of(a->x, a->count, a->x) && is_of(a->y, a->count, a->x),
             "x, y: f32 or bf16, both the same");
    return true;
}

bool mgk_unary_grad_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(kind_ok(a), "unknown kind");
    MGK_RULE(is_of(a->x, a->count, a->x) && is_of(a->dy, a->count, a->x) &&
                 is_of(a->dx, a->count, a->x),
             "x, dy, dx: f32 or bf16, all the same");
    return true;
}

bool mgk_axpby_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(mgk_is_real_of(a->x, a->count) && mgk_is_real_of(a->y, a->count), "x, y: f32 or bf16");
    return true;
}

bool mgk_add_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(is_of(a->x, a->count, a->x) && is_of(a->h, a->count, a->x) &&
                 is_of(a->y, a->count, a->x),
             "x, h, y: f32 or bf16, all the same");
    return true;
}

/* The values of all samples can be addressed. */
static bool stride_ok(const mgk_pointwise_args *a, int64_t stride)
{
    return MGK_EXTENTS_OK((a->rows + a->row_offset) / a->rows_per_sample + 1, stride);
}

static bool gate_check(const mgk_pointwise_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    MGK_RULE(a->rows_per_sample > 0, "rows_per_sample must be positive");
    MGK_RULE(offset_ok(a), "row_offset out of range");
    MGK_RULE(stride_ok(a, a->gate_stride), "gate_stride out of range");
    MGK_RULE(mgk_is_f32_of(a->gate, a->rows * a->dim), "gate: f32");
    return true;
}

bool mgk_gated_residual_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    if (!gate_check(a, why))
        return false;
    int64_t n = a->rows * a->dim;
    MGK_RULE(is_of(a->x, n, a->x) && is_of(a->h, n, a->x) && is_of(a->y, n, a->x),
             "x, h, y: f32 or bf16, all the same");
    return true;
}

bool mgk_gated_residual_grad_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    if (!gate_check(a, why))
        return false;
    int64_t n = a->rows * a->dim;
    MGK_RULE(is_of(a->dy, n, a->dy) && is_of(a->h, n, a->dy), "dy, h: f32 or bf16, both the same");
    MGK_RULE(!a->dh.p || a->dh.dtype == a->dy.dtype, "dh: as dy");
    MGK_RULE(mgk_is_f32_or_null(a->d_gate), "d_gate: f32");
    MGK_RULE(!a->d_gate.p || stride_ok(a, a->d_gate_stride), "d_gate_stride out of range");
    MGK_RULE(!a->d_gate.p || a->row_offset % a->rows_per_sample + a->rows <= a->rows_per_sample ||
                 a->d_gate_stride >= a->dim,
             "d_gate_stride: samples overlap");
    return true;
}

bool mgk_channel_affine_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    int64_t n = a->rows * a->dim;
    MGK_RULE(is_of(a->x, n, a->x) && is_of(a->y, n, a->x), "x, y: f32 or bf16, both the same");
    MGK_RULE(mgk_is_f32_of(a->scale, n) && mgk_is_f32_of(a->shift, n), "scale, shift: f32");
    return true;
}

static bool table_check(const mgk_pointwise_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->rows, a->dim), "rows, dim out of range");
    MGK_RULE(a->period > 0 && MGK_EXTENTS_OK(a->period, a->dim), "period out of range");
    MGK_RULE(offset_ok(a), "row_offset out of range");
    MGK_RULE(mgk_is_f32_of(a->table, a->rows * a->dim), "table: f32");
    return true;
}

bool mgk_add_rows_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    if (!table_check(a, why))
        return false;
    int64_t n = a->rows * a->dim;
    MGK_RULE(is_of(a->x, n, a->x) && is_of(a->y, n, a->x), "x, y: f32 or bf16, both the same");
    return true;
}

bool mgk_reduce_rows_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    if (!table_check(a, why))
        return false;
    MGK_RULE(a->kind >= MGK_REDUCE_SUM && a->kind <= MGK_REDUCE_MAX, "unknown kind");
    MGK_RULE(mgk_is_real_of(a->x, a->rows * a->dim), "x: f32 or bf16");
    return true;
}

bool mgk_convert_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE((a->x.dtype == MGK_U8 || mgk_is_real_of(a->x, 0)) &&
                 (a->y.dtype == MGK_U8 || mgk_is_real_of(a->y, 0)),
             "x, y: f32, bf16 or u8");
    MGK_RULE(a->count == 0 || (a->x.p && a->y.p), "x, y: NULL");
    return true;
}

bool mgk_fill_check(const void *args, const char **why)
{
    const mgk_pointwise_args *a = args;
    MGK_RULE(MGK_EXTENTS_OK(a->count), "count out of range");
    MGK_RULE(mgk_is_real_of(a->y, a->count), "y: f32 or bf16");
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
    mgk_row_split s = mgk_split_rows_from(a->rows, a->row_offset, a->rows_per_sample, a->dim);
    const int64_t room = threads * GATE_COLUMNS * mgk_gate_column(a->dim);
    const int64_t parts = s.chunks > 1 && a->d_gate.p ? s.blocks * mgk_pad16(a->dim) : 0;
    return sizeof(float) * (size_t)(room + parts);
}

size_t mgk_reduce_rows_workspace(const void *args, int threads)
{
    (void)threads;
    mgk_reduce_plan p = mgk_plan_reduce(args);
    return p.row_blocks > 1 ? sizeof(float) * (size_t)(p.row_blocks * p.width) : 0;
}

static double activation(int kind, double v)
{
    switch (kind) {
    case MGK_UNARY_SILU:
        return mgk_silu(v);
    case MGK_UNARY_GELU_TANH:
        return mgk_gelu(v);
    case MGK_UNARY_GELU_ERF:
        return mgk_gelu_erf(v);
    case MGK_UNARY_QUICK_GELU:
        return mgk_quick_gelu(v);
    case MGK_UNARY_SQUARE:
        return v * v;
    case MGK_UNARY_LOG1P:
        return v < 0 ? 0 : log1p(v);
    case MGK_UNARY_TANH:
        return tanh(v);
    default:
        return v < 0 ? 0 : v;
    }
}

static double activation_slope(int kind, double v)
{
    switch (kind) {
    case MGK_UNARY_SILU:
        return mgk_silu_grad(v);
    case MGK_UNARY_GELU_TANH:
        return mgk_gelu_grad(v);
    case MGK_UNARY_GELU_ERF:
        return mgk_gelu_erf_grad(v);
    case MGK_UNARY_QUICK_GELU:
        return mgk_quick_gelu_grad(v);
    case MGK_UNARY_SQUARE:
        return 2 * v;
    case MGK_UNARY_LOG1P:
        return v < 0 ? 0 : 1 / (1 + v);
    case MGK_UNARY_TANH:
        return 1 / (cosh(v) * cosh(v));
    default:
        return v > 0;
    }
}

void mgk_unary_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++)
        mgk_real_set(a->y, i, activation(a->kind, mgk_real_at(a->x, i)));
}

void mgk_unary_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++) {
        double dx = activation_slope(a->kind, mgk_real_at(a->x, i)) * mgk_real_at(a->dy, i);
        mgk_real_set(a->dx, i, a->accumulate ? mgk_real_at(a->dx, i) + dx : dx);
    }
}

void mgk_axpby_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++) {
        double v = (double)a->alpha * mgk_real_at(a->x, i);
        if (a->beta != 0)
            v += (double)a->beta * mgk_real_at(a->y, i);
        mgk_real_set(a->y, i, v);
    }
}

void mgk_add_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++)
        mgk_real_set(a->y, i, mgk_real_at(a->x, i) + mgk_real_at(a->h, i));
}

void mgk_gated_residual_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++) {
        int64_t sample = (r + a->row_offset) / a->rows_per_sample;
        const float *gate = MGK_F(a->gate) + sample * a->gate_stride;
        for (int64_t j = 0; j < a->dim; j++) {
            int64_t i = r * a->dim + j;
            mgk_real_set(a->y, i, mgk_real_at(a->x, i) + gate[j] * mgk_real_at(a->h, i));
        }
    }
}

void mgk_gated_residual_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t first = 0, end; first < a->rows; first = end) {
        int64_t s = (first + a->row_offset) / a->rows_per_sample;
        end = mgk_min(a->rows, (s + 1) * a->rows_per_sample - a->row_offset);
        for (int64_t j = 0; j < a->dim; j++) {
            double sum = 0, gate = MGK_F(a->gate)[s * a->gate_stride + j];
            for (int64_t r = first; r < end; r++) {
                int64_t i = r * a->dim + j;
                sum += mgk_real_at(a->dy, i) * mgk_real_at(a->h, i);
                if (a->dh.p)
                    mgk_real_set(a->dh, i, gate * mgk_real_at(a->dy, i));
            }
            if (a->d_gate.p)
                MGK_F(a->d_gate)[s * a->d_gate_stride + j] += (float)sum;
        }
    }
}

void mgk_channel_affine_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    const float *scale = MGK_F(a->scale), *shift = MGK_F(a->shift);
    (void)x;
    for (int64_t i = 0; i < a->rows * a->dim; i++)
        mgk_real_set(a->y, i, mgk_real_at(a->x, i) * scale[i % a->dim] + shift[i % a->dim]);
}

void mgk_add_rows_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t r = 0; r < a->rows; r++) {
        const float *row = MGK_F(a->table) + (r + a->row_offset) % a->period * a->dim;
        for (int64_t j = 0; j < a->dim; j++)
            mgk_real_set(a->y, r * a->dim + j, mgk_real_at(a->x, r * a->dim + j) + row[j]);
    }
}

void mgk_reduce_rows_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->period * a->dim && a->rows > 0; i++) {
        int64_t p = i / a->dim, r = (p - a->row_offset % a->period + a->period) % a->period;
        float *to = MGK_F(a->table) + i;
        double sum = 0, count = 0, largest = *to;
        for (; r < a->rows; r += a->period, count++) {
            double v = mgk_real_at(a->x, r * a->dim + i % a->dim);
            sum += v;
            largest = isnan(v) || v > largest ? v : largest;
        }
        if (a->kind == MGK_REDUCE_MAX)
            *to = (float)largest;
        else if (count > 0)
            *to += (float)(a->kind == MGK_REDUCE_MEAN ? sum / count : sum);
    }
}

void mgk_convert_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++) {
        double v = a->x.dtype == MGK_U8 ? MGK_B(a->x)[i] : mgk_real_at(a->x, i);
        v = v * a->alpha + a->beta;
        if (a->y.dtype == MGK_U8)
            MGK_B(a->y)[i] = (uint8_t)(v >= 255 ? 255 : v > 0 ? rint(v) : 0);
        else
            mgk_real_set(a->y, i, v);
    }
}

void mgk_fill_ref(const void *args, mgk_exec *x)
{
    const mgk_pointwise_args *a = args;
    (void)x;
    for (int64_t i = 0; i < a->count; i++)
        mgk_real_set(a->y, i, a->alpha);
}
