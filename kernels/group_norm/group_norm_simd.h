/* SPDX-License-Identifier: MIT
 * group_norm on vectors; included once a variant.
 *
 * A block is a chunk of the rows of one sample, small enough for the second-level cache. Channels
 * are summed each by itself over the rows of a block; groups are put together from the channels'
 * sums, blocks are combined in order, both in double precision. What differs from channel to
 * channel (mean, rstd, weight, ...) is laid out once a sample as columns of c values.
 */
#include "kernels/common/real_simd.h"
#include "kernels/common/simd_math.h"
#include "kernels/group_norm/group_norm.h"

enum { MEAN, RSTD, WEIGHT, BIAS, MEAN_P, MEAN_PH }; /* the columns of a sample */
enum { COLUMNS_A_TASK = 256, ROWS = 4 /* that are summed before they go to memory */ };

typedef struct job {
    const mgk_group_norm_args *a;
    mgk_row_split split; /* of one sample */
    int64_t column, wide;
    float *parts;   /* two columns a block */
    float *columns; /* MGK_GROUP_NORM_COLUMNS a sample */
} job;

static job job_of(const mgk_group_norm_args *a, mgk_exec *x, bool parts)
{
    job j = {.a = a, .column = mgk_pad16(a->c), .wide = a->c / a->groups};
    j.split = mgk_split_rows(a->rows, a->rows, a->c);
    j.parts = x->workspace;
    j.columns = j.parts + (parts ? 2 * a->n * j.split.chunks * j.column : 0);
    return j;
}

static bool is_empty(const mgk_group_norm_args *a)
{
    return a->n == 0 || a->rows == 0 || a->c == 0;
}

/* The rows of a block and where its first element is. */
static int64_t block_rows(const job *j, int64_t block, int64_t *at)
{
    int64_t first = block % j->split.chunks * j->split.chunk;
    *at = (block / j->split.chunks * j->a->rows + first) * j->a->c;
    return mgk_min(j->split.chunk, j->a->rows - first);
}

/* -- stats ------------------------------------------------------------------------------------ */

/* For each channel the sums of d and d^2 over the rows, d = x - the first row's x: the shift keeps the
 * difference of squares exact where values are far from 0. */
MGK_INLINE void channel_sums(const job *j, int64_t at, int64_t rows, float *sum, float *square,
                             int32_t type)
{
    const int64_t c = j->a->c;
    v_real x = v_from(j->a->x, at, type);
    memset(sum, 0, sizeof(float) * (size_t)c);
    memset(square, 0, sizeof(float) * (size_t)c);
    int64_t r = 1;
    for (; r + ROWS <= rows; r += ROWS) {
        MGK_EACH_VECTOR(i, c, {
            vf first = v_get(x, i);
            vf s = v_set(0);
            vf q = v_set(0);
            MGK_UNROLL
            for (int k = 0; k < ROWS; k++) {
                vf d = v_get(x, (r + k) * c + i) - first;
                s += d;
                q += d * d;
            }
            v_out(sum + i, v_in(sum + i) + s);
            v_out(square + i, v_in(square + i) + q);
        });
    }
    for (; r < rows; r++) {
        MGK_EACH_VECTOR(i, c, {
            vf d = v_get(x, r * c + i) - v_get(x, i);
            v_out(sum + i, v_in(sum + i) + d);
            v_out(square + i, v_in(square + i) + d * d);
        });
    }
}

/* The groups' sums of squared distances and their means, from those of the channels. */
MGK_INLINE void group_sums(const job *j, int64_t at, int64_t rows, float *sum, float *square,
                           int32_t type)
{
    v_real x = v_from(j->a->x, at, type);
    const double share = 1.0 / (double)rows;
    for (int64_t g = 0; g < j->a->groups; g++) {
        double mean = 0, all = 0;
        for (int64_t c = g * j->wide; c < (g + 1) * j->wide; c++) {
            double off = sum[c] * share;
            all += square[c] - sum[c] * off; /* distances from the channel's own mean */
            sum[c] = (float)(v_read(x, c, 1)[0] + off);
            mean += sum[c];
        }
        mean /= (double)j->wide;
        for (int64_t c = g * j->wide; c < (g + 1) * j->wide; c++)
            all += (sum[c] - mean) * (sum[c] - mean) * (double)rows;
        square[g] = (float)all; /* of channels that have been read */
        sum[g] = (float)mean;
    }
}

MGK_INLINE void stats_rows(const job *j, int64_t at, int64_t rows, float *sum, float *square,
                           int32_t type)
{
    channel_sums(j, at, rows, sum, square, type);
    group_sums(j, at, rows, sum, square, type);
}

/* The two columns begin with the groups' sums of squared distances and their means afterwards. */
static void stats_block(void *arg, int64_t block, int thread)
{
    const job *j = arg;
    int64_t at, rows = block_rows(j, block, &at);
    float *square = j->parts + block * 2 * j->column, *sum = square + j->column;
    (void)thread;
    V_BY_DTYPE(j->a->x.dtype, stats_rows, j, at, rows, sum, square);
}

static void stats_combine(void *arg, int64_t sample, int thread)
{
    const job *j = arg;
    const mgk_group_norm_args *a = j->a;
    float *out_mean = MGK_F(a->mean) + sample * a->groups;
    float *out_var = MGK_F(a->var) + sample * a->groups;
    (void)thread;
    for (int64_t g = 0; g < a->groups; g++) {
        double count = (double)a->count, mean = 0, square = 0;
        if (a->count > 0) {
            mean = out_mean[g];
            square = out_var[g] * count;
        }
        for (int64_t k = 0; k < j->split.chunks; k++) {
            int64_t at, block = sample * j->split.chunks + k;
            double more = (double)(block_rows(j, block, &at) * j->wide);
            const float *part = j->parts + block * 2 * j->column + g;
            double d = part[j->column] - mean, share = more / (count + more);
            square += part[0] + d * d * count * share;
            mean += d * share;
            count += more;
        }
        out_mean[g] = (float)mean;
        out_var[g] = (float)(square / count);
    }
}

MGK_LAUNCH(group_norm_stats)
{
    const mgk_group_norm_args *a = args;
    if (is_empty(a)) {
        for (int64_t i = 0; i < a->n * a->groups && a->count == 0; i++)
            MGK_F(a->mean)[i] = MGK_F(a->var)[i] = 0;
        return;
    }
    job j = job_of(a, x, true);
    mgk_for(x, a->n * j.split.chunks, a->n * a->rows * a->c, stats_block, &j);
    mgk_for(x, a->n, a->n * j.split.chunks * a->groups, stats_combine, &j);
}

/* -- apply ------------------------------------------------------------------------------------ */

static void fill_columns(void *arg, int64_t sample, int thread)
{
    const job *j = arg;
    const mgk_group_norm_args *a = j->a;
    float *to = j->columns + sample * MGK_GROUP_NORM_COLUMNS * j->column;
    (void)thread;
    for (int64_t g = 0; g < a->groups; g++) {
        int64_t at = sample * a->groups + g;
        float mean = MGK_F(a->mean)[at], rstd = 1 / sqrtf(MGK_F(a->var)[at] + a->eps);
        float p = 0, ph = 0;
        if (a->sums.p && a->count > 0) {
            p = MGK_F(a->sums)[2 * at] / (float)a->count;
            ph = MGK_F(a->sums)[2 * at + 1] / (float)a->count;
        }
        for (int64_t c = g * j->wide; c < (g + 1) * j->wide; c++) {
            to[MEAN * j->column + c] = mean;
            to[RSTD * j->column + c] = rstd;
            to[WEIGHT * j->column + c] = a->weight.p ? MGK_F(a->weight)[c] : 1;
            to[BIAS * j->column + c] = a->bias.p ? MGK_F(a->bias)[c] : 0;
            to[MEAN_P * j->column + c] = p;
            to[MEAN_PH * j->column + c] = ph;
        }
    }
}

static const float *columns_of(const job *j, int64_t block)
{
    return j->columns + block / j->split.chunks * MGK_GROUP_NORM_COLUMNS * j->column;
}

/* FOR_FORM(job, body, args...): body(args..., silu, dtype), compiled once for each. */
#define FOR_FORM(j, body, ...)                                                                     \
    do {                                                                                           \
        if ((j)->a->silu)                                                                          \
            V_BY_DTYPE((j)->a->x.dtype, body, __VA_ARGS__, true);                                  \
        else                                                                                       \
            V_BY_DTYPE((j)->a->x.dtype, body, __VA_ARGS__, false);                                 \
    } while (0)

MGK_INLINE void apply_rows(const job *j, int64_t block, bool silu, int32_t type)
{
    int64_t at, rows = block_rows(j, block, &at), column = j->column;
    const int64_t c = j->a->c;
    const float *k = columns_of(j, block);
    v_real in = v_from(j->a->x, at, type), out = v_from(j->a->y, at, type);
    out.stream = mgk_streams(j->a->y, j->a->n * j->a->rows, c);
    for (int64_t r = 0; r < rows; r++) {
        MGK_EACH_VECTOR(i, c, {
            vf h = (v_get(in, r * c + i) - v_in(k + i)) * v_in(k + RSTD * column + i);
            h = h * v_in(k + WEIGHT * column + i) + v_in(k + BIAS * column + i);
            v_put(out, r * c + i, silu ? v_silu(h, type == MGK_BF16) : h);
        });
    }
    v_stream_end(out.stream);
}

static void apply_block(void *arg, int64_t block, int thread)
{
    const job *j = arg;
    (void)thread;
    FOR_FORM(j, apply_rows, j, block);
}

MGK_LAUNCH(group_norm_apply)
{
    const mgk_group_norm_args *a = args;
    if (is_empty(a))
        return;
    job j = job_of(a, x, false);
    mgk_for(x, a->n, a->n * a->c, fill_columns, &j);
    mgk_for(x, a->n * j.split.chunks, a->n * a->rows * a->c, apply_block, &j);
}

/* -- gradients -------------------------------------------------------------------------------- */

/* The gradient before the activation. */
MGK_INLINE vf before_grad(vf dy, vf h, vf weight, vf bias, bool silu, bool brief)
{
    vf y;
    return silu ? dy * v_silu_grad(h * weight + bias, &y, brief) : dy;
}

/* `count` rows to the columns of a block: sums of p and of p h. */
MGK_INLINE void grad_sum_rows(const job *j, const float *k, int64_t at, int count, float *out,
                              bool silu, int32_t type)
{
    const int64_t c = j->a->c, column = j->column;
    v_real x = v_from(j->a->x, at, type), dy = v_from(j->a->dy, at, type);
    MGK_EACH_VECTOR(i, c, {
        vf mean = v_in(k + i);
        vf rstd = v_in(k + RSTD * column + i);
        vf weight = v_in(k + WEIGHT * column + i);
        vf bias = v_in(k + BIAS * column + i);
        vf sum = v_in(out + i);
        vf sum_h = v_in(out + column + i);
        MGK_UNROLL
        for (int r = 0; r < count; r++) {
            vf h = (v_get(x, r * c + i) - mean) * rstd;
            vf p = before_grad(v_get(dy, r * c + i), h, weight, bias, silu, false);
            sum += p;
            sum_h += p * h;
        }
        v_out(out + i, sum);
        v_out(out + column + i, sum_h);
    });
}

MGK_INLINE void grad_sums(const job *j, int64_t block, bool silu, int32_t type)
{
    int64_t at, rows = block_rows(j, block, &at), r = 0;
    const float *k = columns_of(j, block);
    float *out = j->parts + block * 2 * j->column;
    memset(out, 0, sizeof(float) * (size_t)(2 * j->column));
    for (; r + ROWS <= rows; r += ROWS)
        grad_sum_rows(j, k, at + r * j->a->c, ROWS, out, silu, type);
    for (; r < rows; r++)
        grad_sum_rows(j, k, at + r * j->a->c, 1, out, silu, type);
}

static void grad_stats_block(void *arg, int64_t block, int thread)
{
    const job *j = arg;
    (void)thread;
    FOR_FORM(j, grad_sums, j, block);
}

/* Sums `count` pairs of columns, `stride` floats apart, from channel c on. */
static int64_t add_columns(const job *j, const float *part, int64_t stride, int64_t count,
                           int64_t c, double sum[2][COLUMNS_A_TASK])
{
    int64_t n = mgk_min(COLUMNS_A_TASK, j->a->c - c);
    memset(sum, 0, 2 * sizeof *sum);
    for (part += c; count > 0; count--, part += stride)
        for (int64_t i = 0; i < n; i++) {
            sum[0][i] += part[i];
            sum[1][i] += part[j->column + i];
        }
    return n;
}

/* The columns of all blocks of a sample into those of its first. */
static void sample_combine(void *arg, int64_t task, int thread)
{
    const job *j = arg;
    int64_t tasks = mgk_div_up(j->a->c, COLUMNS_A_TASK), c = task % tasks * COLUMNS_A_TASK;
    float *part = j->parts + task / tasks * j->split.chunks * 2 * j->column;
    double sum[2][COLUMNS_A_TASK];
    (void)thread;
    int64_t n = add_columns(j, part, 2 * j->column, j->split.chunks, c, sum);
    for (int64_t i = 0; i < n; i++) {
        part[c + i] = (float)sum[0][i];
        part[j->column + c + i] = (float)sum[1][i];
    }
}

static void group_combine(void *arg, int64_t sample, int thread)
{
    const job *j = arg;
    const mgk_group_norm_args *a = j->a;
    const float *part = j->parts + sample * j->split.chunks * 2 * j->column;
    const float *weight = j->columns + (sample * MGK_GROUP_NORM_COLUMNS + WEIGHT) * j->column;
    (void)thread;
    for (int64_t g = 0; g < a->groups; g++) {
        float *to = MGK_F(a->sums) + 2 * (sample * a->groups + g);
        double sum = a->accumulate ? to[0] : 0, sum_h = a->accumulate ? to[1] : 0;
        for (int64_t c = g * j->wide; c < (g + 1) * j->wide; c++) {
            sum += (double)weight[c] * part[c];
            sum_h += (double)weight[c] * part[j->column + c];
        }
        to[0] = (float)sum;
        to[1] = (float)sum_h;
    }
}

static void weight_combine(void *arg, int64_t task, int thread)
{
    const job *j = arg;
    const mgk_group_norm_args *a = j->a;
    int64_t c = task * COLUMNS_A_TASK;
    double sum[2][COLUMNS_A_TASK];
    (void)thread;
    int64_t n = add_columns(j, j->parts, 2 * j->column * j->split.chunks, a->n, c, sum);
    for (int64_t i = 0; i < n && a->d_bias.p; i++)
        MGK_F(a->d_bias)[c + i] += (float)sum[0][i];
    for (int64_t i = 0; i < n && a->d_weight.p; i++)
        MGK_F(a->d_weight)[c + i] += (float)sum[1][i];
}

MGK_LAUNCH(group_norm_grad_stats)
{
    const mgk_group_norm_args *a = args;
    if (is_empty(a)) {
        for (int64_t i = 0; i < 2 * a->n * a->groups && !a->accumulate; i++)
            MGK_F(a->sums)[i] = 0;
        return;
    }
    job j = job_of(a, x, true);
    int64_t blocks = a->n * j.split.chunks, tasks = mgk_div_up(a->c, COLUMNS_A_TASK);
    j.columns = (float *)x->workspace + 2 * blocks * j.column;
    mgk_group_norm_args no_sums = *a; /* they are what is being made */
    no_sums.sums.p = NULL;
    job fill = j;
    fill.a = &no_sums;
    mgk_for(x, a->n, a->n * a->c, fill_columns, &fill);
    mgk_for(x, blocks, 2 * a->n * a->rows * a->c, grad_stats_block, &j);
    mgk_for(x, a->n * tasks, blocks * a->c, sample_combine, &j);
    mgk_for(x, a->n, a->n * a->c, group_combine, &j);
    if (a->d_weight.p || a->d_bias.p)
        mgk_for(x, tasks, a->n * a->c, weight_combine, &j);
}

MGK_INLINE void grad_rows(const job *j, int64_t block, bool silu, int32_t type)
{
    int64_t at, rows = block_rows(j, block, &at), column = j->column;
    const int64_t c = j->a->c;
    const float *k = columns_of(j, block);
    const bool add = j->a->accumulate;
    v_real in = v_from(j->a->x, at, type), dy = v_from(j->a->dy, at, type);
    v_real dx = v_from(j->a->dx, at, type);
    dx.stream = !add && mgk_streams(j->a->dx, j->a->n * j->a->rows, c);
    for (int64_t r = 0; r < rows; r++) {
        MGK_EACH_VECTOR(i, c, {
            vf rstd = v_in(k + RSTD * column + i);
            vf weight = v_in(k + WEIGHT * column + i);
            vf bias = v_in(k + BIAS * column + i);
            vf h = (v_get(in, r * c + i) - v_in(k + i)) * rstd;
            vf p = before_grad(v_get(dy, r * c + i), h, weight, bias, silu, type == MGK_BF16);
            p = p * weight - v_in(k + MEAN_P * column + i) - h * v_in(k + MEAN_PH * column + i);
            p *= rstd;
            if (add)
                p += v_get(dx, r * c + i);
            v_put(dx, r * c + i, p);
        });
    }
    v_stream_end(dx.stream);
}

static void grad_apply_block(void *arg, int64_t block, int thread)
{
    const job *j = arg;
    (void)thread;
    FOR_FORM(j, grad_rows, j, block);
}

MGK_LAUNCH(group_norm_grad_apply)
{
    const mgk_group_norm_args *a = args;
    if (is_empty(a))
        return;
    job j = job_of(a, x, false);
    mgk_for(x, a->n, a->n * a->c, fill_columns, &j);
    mgk_for(x, a->n * j.split.chunks, 2 * a->n * a->rows * a->c, grad_apply_block, &j);
}
