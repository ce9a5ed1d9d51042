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
#include "kernels/group_norm/silu_slope_simd.h"

/* The columns of a sample, each of whole cache lines: d TIMES + BIAS, d = x - MEAN, goes through the activation, and dx = p
 * TIMES - MEAN_P - d MEAN_PH. For bf16 all that is linear in x is put together, x TIMES + PLUS, and MEAN_P is with x in the place
 * of d. Where a mean is far from 0 that loses no more than x has lost before. */
enum { MEAN, RSTD, BIAS, MEAN_P, MEAN_PH, TIMES, PLUS };
enum {
    COLUMNS_A_TASK = 256,
    TILE = MGK_WIDTH == 16 ? 4 : 1, /* pairs of vectors whose sums fit into registers */
    STRIP = 8192,      /* elements whose sums do not go to memory in between, or more */
    STRIP_LEAST = 4,   /* rows */
    NEAR_BYTES = 4096, /* how far ahead sums fetch, out of cache on a Zen 5: measured */
    FAR = 4096         /* elements, of all but plain sums on a Zen 4, into the second-level cache */
};

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

MGK_INLINE v_two column_two(const float *p)
{
    return (v_two){v_load(p), v_load(p + MGK_WIDTH)};
}

MGK_INLINE void set_column_two(float *p, v_two v)
{
    v_store(p, v.a);
    v_store(p + MGK_WIDTH, v.b);
}

MGK_INLINE void add_column_two(float *p, v_two v)
{
    const v_two before = column_two(p);
    set_column_two(p, (v_two){before.a + v.a, before.b + v.b});
}

/* How many rows are summed in registers before they go to memory. Out of cache rows too wide for the registers are taken
 * singly, in the order of memory: a Zen 4 fetches nothing else ahead. */
static int64_t strip_rows(const job *j)
{
    const int64_t c = j->a->c;
    const bool large = j->a->n * j->a->rows * c * mgk_real_size(j->a->x.dtype) >= MGK_STREAM_BYTES;
    return c > 2 * MGK_WIDTH * TILE && large ? 1 : mgk_max(STRIP_LEAST, STRIP / c);
}

/* How many elements ahead is fetched, 0: none, and into which cache. */
typedef struct fetching {
    int64_t ahead;
    bool near;
} fetching;

/* On a Zen 4, but not with AVX2, where arithmetic takes longer. */
MGK_INLINE bool far_on_zen4(void)
{
    return MGK_WIDTH == 16 && v_zen4();
}

/* For sums over rows. What they read is not read again. */
MGK_INLINE fetching sums_fetching(const job *j, bool gradient, int32_t type)
{
    fetching f = {0, true};
    if (!mgk_streams(j->a->x, j->a->n * j->a->rows, j->a->c))
        return f;
    f.near = !gradient || !far_on_zen4();
    if (f.near)
        f.ahead = v_zen5() ? NEAR_BYTES / mgk_real_size(type) : v_far(true);
    else if (j->a->c <= 2 * MGK_WIDTH * TILE)
        f.ahead = FAR;
    return f;
}

/* Of `pairs` pairs of vectors. */
MGK_INLINE void fetch_pairs(v_real b, int64_t at, int pairs, fetching f)
{
    if (!f.ahead)
        return;
    for (int k = 0; k < pairs; k++) {
        if (f.near)
            v_prefetch_two(b, at + f.ahead + 2 * MGK_WIDTH * k, true);
        else
            v_prefetch_two(b, at + f.ahead + 2 * MGK_WIDTH * k, false);
    }
}

/* A column of sums of bf16 to its plain order. */
static void plain_column(float *column, int64_t c)
{
    for (int64_t i = 0; i + 2 * MGK_WIDTH <= c; i += 2 * MGK_WIDTH)
        set_column_two(column + i, v_two_plain(column_two(column + i)));
}

/* body(args...) for tiles of channels as long as there are pairs of vectors: the first channel of each is `done`, `pairs` a
 * constant. */
#define EACH_TILE(c, body, ...)                                                                    \
    for (int64_t left; (left = ((c)-done) / (2 * MGK_WIDTH)) > 0;                                  \
         done += 2 * MGK_WIDTH * mgk_min(TILE, left)) {                                            \
        if (TILE == 1 || left == 1)                                                                \
            TILE_OF(1, body, __VA_ARGS__);                                                         \
        else if (left == 2)                                                                        \
            TILE_OF(2, body, __VA_ARGS__);                                                         \
        else if (left == 3)                                                                        \
            TILE_OF(3, body, __VA_ARGS__);                                                         \
        else                                                                                       \
            TILE_OF(TILE, body, __VA_ARGS__);                                                      \
    }
#define TILE_OF(count, body, ...)                                                                  \
    do {                                                                                           \
        enum { pairs = TILE < (count) ? TILE : (count) };                                          \
        body(__VA_ARGS__);                                                                         \
    } while (0)

/* -- stats ------------------------------------------------------------------------------------ */

/* `rows` rows from r on to the sums of `pairs` pairs of vectors of channels. */
MGK_INLINE void channel_tile(v_real x, int64_t c, int64_t done, int64_t r, int64_t rows, int pairs,
                             float *sum, float *square, fetching fetch)
{
    v_two first[TILE], s[TILE], q[TILE];
    MGK_UNROLL
    for (int k = 0; k < pairs; k++) {
        first[k] = v_read_two(x, done + 2 * MGK_WIDTH * k);
        s[k] = q[k] = (v_two){v_set(0), v_set(0)};
    }
    for (int64_t at = r * c + done; rows > 0; rows--, at += c) {
        fetch_pairs(x, at, pairs, fetch);
        MGK_UNROLL
        for (int k = 0; k < pairs; k++) {
            const v_two v = v_read_two(x, at + 2 * MGK_WIDTH * k);
            const v_two d = {v.a - first[k].a, v.b - first[k].b};
            s[k] = (v_two){s[k].a + d.a, s[k].b + d.b};
            q[k] = (v_two){v_fma(d.a, d.a, q[k].a), v_fma(d.b, d.b, q[k].b)};
        }
    }
    MGK_UNROLL
    for (int k = 0; k < pairs; k++) {
        add_column_two(sum + done + 2 * MGK_WIDTH * k, s[k]);
        add_column_two(square + done + 2 * MGK_WIDTH * k, q[k]);
    }
}

/* The same of all channels. */
MGK_INLINE void channel_rows(v_real x, int64_t c, int64_t r, int64_t rows, float *sum,
                             float *square, fetching fetch)
{
    int64_t done = 0;
    EACH_TILE(c, channel_tile, x, c, done, r, rows, pairs, sum, square, fetch);
    MGK_EACH_VECTOR_FROM(done, i, c, {
        const vf first = v_get(x, i);
        vf s = v_set(0);
        vf q = v_set(0);
        for (int64_t k = r; k < r + rows; k++) {
            const vf d = v_get(x, k * c + i) - first;
            s += d;
            q = v_fma(d, d, q);
        }
        v_out(sum + i, v_in(sum + i) + s);
        v_out(square + i, v_in(square + i) + q);
    });
}

/* For each channel the sums of d and d^2 over the rows, d = x - the first row's x: the shift keeps the
 * difference of squares exact where values are far from 0. */
MGK_INLINE void channel_sums(const job *j, int64_t at, int64_t rows, float *sum, float *square,
                             int32_t type)
{
    const int64_t c = j->a->c;
    const fetching fetch = sums_fetching(j, false, type);
    const v_real x = v_from(j->a->x, at, type);
    memset(sum, 0, sizeof(float) * (size_t)c);
    memset(square, 0, sizeof(float) * (size_t)c);
    const int64_t strip = strip_rows(j);
    for (int64_t r = 1; r < rows; r += strip)
        channel_rows(x, c, r, mgk_min(strip, rows - r), sum, square, fetch);
    if (type == MGK_BF16) {
        plain_column(sum, c);
        plain_column(square, c);
    }
}

/* Sums of d and d^2 to the channels' means and sums of squared distances from them. */
MGK_INLINE void channel_means(v_real x, int64_t c, int64_t rows, float *sum, float *square)
{
    const vf share = v_set(1.0f / (float)rows);
    MGK_EACH_VECTOR(i, c, {
        const vf s = v_in(sum + i), off = s * share;
        v_out(square + i, v_fma(-s, off, v_in(square + i)));
        v_out(sum + i, v_get(x, i) + off);
    });
}

/* The groups' sums of squared distances and their means, from those of the channels. */
static void group_sums(const job *j, int64_t rows, float *sum, float *square)
{
    const double share = 1.0 / (double)j->wide;
    for (int64_t g = 0; g < j->a->groups; g++) {
        const float *of = sum + g * j->wide, *squares = square + g * j->wide;
        double mean = 0, off = 0, all = 0;
        for (int64_t c = 0; c < j->wide; c++)
            mean += of[c];
        mean *= share;
        for (int64_t c = 0; c < j->wide; c++) {
            off += (of[c] - mean) * (of[c] - mean);
            all += squares[c];
        }
        square[g] = (float)(all + off * (double)rows); /* of channels that have been read */
        sum[g] = (float)mean;
    }
}

MGK_INLINE void stats_rows(const job *j, int64_t at, int64_t rows, float *sum, float *square,
                           int32_t type)
{
    channel_sums(j, at, rows, sum, square, type);
    channel_means(v_from(j->a->x, at, type), j->a->c, rows, sum, square);
    group_sums(j, rows, sum, square);
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
        ph *= rstd * rstd;
        p *= rstd;
        if (a->x.dtype == MGK_BF16)
            p -= mean * ph;
        for (int64_t c = g * j->wide; c < (g + 1) * j->wide; c++) {
            const float weight = a->weight.p ? MGK_F(a->weight)[c] : 1;
            const float bias = a->bias.p ? MGK_F(a->bias)[c] : 0, times = rstd * weight;
            to[MEAN * j->column + c] = mean;
            to[RSTD * j->column + c] = rstd;
            to[BIAS * j->column + c] = bias;
            to[MEAN_P * j->column + c] = p;
            to[MEAN_PH * j->column + c] = ph;
            to[TIMES * j->column + c] = times;
            to[PLUS * j->column + c] = bias - mean * times;
        }
    }
    for (int64_t k = 0; a->x.dtype == MGK_BF16 && k < MGK_GROUP_NORM_COLUMNS; k++) {
        float *column = to + k * j->column;
        for (int64_t i = 0; i + 2 * MGK_WIDTH <= a->c; i += 2 * MGK_WIDTH)
            set_column_two(column + i, v_two_order(column_two(column + i)));
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

/* Whether f32 that is read is fetched FAR ahead; loops are written for either, as tests in them cost more than it gains, and
 * bf16 is bound by arithmetic. */
static bool fetches(const job *j, mgk_buf out)
{
    return far_on_zen4() && mgk_streams(out, j->a->n * j->a->rows, j->a->c);
}

/* Of one vector, whose columns begin at k; before the activation. */
MGK_INLINE vf normalized(vf x, const float *k, int64_t column, int32_t type)
{
    const vf times = v_load(k + TIMES * column);
    return type == MGK_BF16 ? v_fma(x, times, v_load(k + PLUS * column))
                            : v_fma(x - v_load(k), times, v_load(k + BIAS * column));
}

MGK_INLINE void apply_loop(const job *j, int64_t block, int64_t far, bool silu, int32_t type)
{
    int64_t at, rows = block_rows(j, block, &at), column = j->column;
    const int64_t c = j->a->c;
    const float *k = columns_of(j, block);
    const v_real in = v_from(j->a->x, at, type);
    v_real out = v_from(j->a->y, at, type);
    out.stream = mgk_streams(j->a->y, j->a->n * j->a->rows, c);
    for (int64_t r = 0; r < rows; r++) {
        int64_t done = 0;
        for (; done + 2 * MGK_WIDTH <= c; done += 2 * MGK_WIDTH) {
            const v_two x = v_read_two(in, r * c + done);
            v_fetch_two(in, r * c + done, far);
            vf h[2] = {normalized(x.a, k + done, column, type),
                       normalized(x.b, k + done + MGK_WIDTH, column, type)};
            if (silu)
                v_silus(h, 2, type == MGK_BF16);
            v_write_two(out, r * c + done, (v_two){h[0], h[1]});
        }
        MGK_EACH_VECTOR_FROM(done, i, c, {
            const vf h = normalized(v_get(in, r * c + i), k + i, column, type);
            v_put(out, r * c + i, silu ? v_silu(h, type == MGK_BF16) : h);
        });
    }
    v_stream_end(out.stream);
}

MGK_INLINE void apply_rows(const job *j, int64_t block, bool silu, int32_t type)
{
    if (type == MGK_F32 && fetches(j, j->a->y))
        apply_loop(j, block, FAR, silu, type);
    else
        apply_loop(j, block, 0, silu, type);
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

/* The gradient before the activation, through which x times + plus went. */
MGK_INLINE vf before_grad(vf dy, vf x, vf times, vf plus, bool silu, bool brief)
{
    vf y;
    return silu ? dy * v_silu_grad(v_fma(x, times, plus), &y, brief) : dy;
}

/* Adds p and p d, d = x - mean, to the sums of a vector whose columns begin at k. */
MGK_INLINE void grad_step(vf x, vf dy, const float *k, int64_t lanes, int64_t column, vf *sum,
                          vf *sum_d, bool silu, int32_t type)
{
    const vf d = x - v_load_lanes(k, lanes);
    vf p = dy;
    if (silu) {
        const vf h = v_fma(d, v_load_lanes(k + TIMES * column, lanes),
                           v_load_lanes(k + BIAS * column, lanes));
        vf y;
        p *= type == MGK_BF16 ? v_silu_slope_sums(h) : v_silu_grad(h, &y, false);
    }
    *sum += p;
    *sum_d = v_fma(p, d, *sum_d);
}

/* `rows` rows from `at` on to the sums of `pairs` pairs of vectors of channels. */
MGK_INLINE void grad_tile(const job *j, const float *k, int64_t at, int64_t done, int64_t rows,
                          int pairs, float *out, fetching fetch, bool silu, int32_t type)
{
    const int64_t c = j->a->c, column = j->column;
    const v_real x = v_from(j->a->x, at, type), dy = v_from(j->a->dy, at, type);
    v_two sum[TILE], sum_d[TILE];
    MGK_UNROLL
    for (int i = 0; i < pairs; i++)
        sum[i] = sum_d[i] = (v_two){v_set(0), v_set(0)};
    for (int64_t from = done; rows > 0; rows--, from += c) {
        fetch_pairs(x, from, pairs, fetch);
        fetch_pairs(dy, from, pairs, fetch);
        MGK_UNROLL
        for (int i = 0; i < pairs; i++) {
            const int64_t next = from + 2 * MGK_WIDTH * i;
            const float *of = k + done + 2 * MGK_WIDTH * i;
            const v_two v = v_read_two(x, next), d = v_read_two(dy, next);
            grad_step(v.a, d.a, of, MGK_WIDTH, column, &sum[i].a, &sum_d[i].a, silu, type);
            grad_step(v.b, d.b, of + MGK_WIDTH, MGK_WIDTH, column, &sum[i].b, &sum_d[i].b, silu,
                      type);
        }
    }
    MGK_UNROLL
    for (int i = 0; i < pairs; i++) {
        add_column_two(out + done + 2 * MGK_WIDTH * i, sum[i]);
        add_column_two(out + column + done + 2 * MGK_WIDTH * i, sum_d[i]);
    }
}

/* `rows` rows to the columns of a block: sums of p and of p d. */
MGK_INLINE void grad_sum_rows(const job *j, const float *k, int64_t at, int64_t rows, float *out,
                              fetching fetch, bool silu, int32_t type)
{
    const int64_t c = j->a->c, column = j->column;
    int64_t done = 0;
    EACH_TILE(c, grad_tile, j, k, at, done, rows, pairs, out, fetch, silu, type);
    MGK_EACH_VECTOR_FROM(done, i, c, {
        const v_real x = v_from(j->a->x, at, type), dy = v_from(j->a->dy, at, type);
        vf sum = v_in(out + i);
        vf sum_d = v_in(out + column + i);
        for (int64_t r = 0; r < rows; r++)
            grad_step(v_get(x, r * c + i), v_get(dy, r * c + i), k + i, v_lanes, column, &sum,
                      &sum_d, silu, type);
        v_out(out + i, sum);
        v_out(out + column + i, sum_d);
    });
}

MGK_INLINE void grad_sums(const job *j, int64_t block, bool silu, int32_t type)
{
    int64_t at, rows = block_rows(j, block, &at);
    const int64_t c = j->a->c, column = j->column;
    const fetching fetch = sums_fetching(j, true, type);
    const int64_t strip = strip_rows(j);
    const float *k = columns_of(j, block);
    float *out = j->parts + block * 2 * column;
    memset(out, 0, sizeof(float) * (size_t)(2 * column));
    for (int64_t r = 0; r < rows; r += strip)
        grad_sum_rows(j, k, at + r * c, mgk_min(strip, rows - r), out, fetch, silu, type);
    MGK_EACH_VECTOR(
        i, c, { v_out(out + column + i, v_in(out + column + i) * v_in(k + RSTD * column + i)); });
    if (type == MGK_BF16) {
        plain_column(out, c);
        plain_column(out + column, c);
    }
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
    const float *weight = MGK_F(a->weight);
    (void)thread;
    for (int64_t g = 0; g < a->groups; g++) {
        float *to = MGK_F(a->sums) + 2 * (sample * a->groups + g);
        double sum = a->accumulate ? to[0] : 0, sum_h = a->accumulate ? to[1] : 0;
        for (int64_t c = g * j->wide; c < (g + 1) * j->wide; c++) {
            const double times = weight ? weight[c] : 1;
            sum += times * part[c];
            sum_h += times * part[j->column + c];
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

/* Of one vector, whose columns begin at k. */
MGK_INLINE vf grad_of(vf x, vf dy, const float *k, int64_t column, bool silu, int32_t type)
{
    const bool brief = type == MGK_BF16;
    const vf times = v_load(k + TIMES * column), mean_p = v_load(k + MEAN_P * column);
    const vf d = brief ? x : x - v_load(k);
    const vf p = before_grad(dy, d, times, v_load(k + (brief ? PLUS : BIAS) * column), silu, brief);
    return v_fma(p, times, -v_fma(d, v_load(k + MEAN_PH * column), mean_p));
}

MGK_INLINE void grad_loop(const job *j, int64_t block, int64_t far, bool silu, int32_t type)
{
    int64_t at, rows = block_rows(j, block, &at), column = j->column;
    const int64_t c = j->a->c;
    const float *k = columns_of(j, block);
    const bool add = j->a->accumulate;
    const v_real in = v_from(j->a->x, at, type), dy = v_from(j->a->dy, at, type);
    v_real dx = v_from(j->a->dx, at, type);
    dx.stream = !add && mgk_streams(j->a->dx, j->a->n * j->a->rows, c);
    for (int64_t r = 0; r < rows; r++) {
        int64_t done = 0;
        for (; done + 2 * MGK_WIDTH <= c; done += 2 * MGK_WIDTH) {
            const int64_t i = r * c + done;
            const v_two x = v_read_two(in, i), d = v_read_two(dy, i);
            v_fetch_two(in, i, far);
            v_fetch_two(dy, i, far);
            v_two p = {grad_of(x.a, d.a, k + done, column, silu, type),
                       grad_of(x.b, d.b, k + done + MGK_WIDTH, column, silu, type)};
            if (add) {
                const v_two before = v_read_two(dx, i);
                p = (v_two){p.a + before.a, p.b + before.b};
            }
            v_write_two(dx, i, p);
        }
        MGK_EACH_VECTOR_FROM(done, i, c, {
            vf p = grad_of(v_get(in, r * c + i), v_get(dy, r * c + i), k + i, column, silu, type);
            if (add)
                p += v_get(dx, r * c + i);
            v_put(dx, r * c + i, p);
        });
    }
    v_stream_end(dx.stream);
}

MGK_INLINE void grad_rows(const job *j, int64_t block, bool silu, int32_t type)
{
    if (type == MGK_F32 && fetches(j, j->a->dx))
        grad_loop(j, block, FAR, silu, type);
    else
        grad_loop(j, block, 0, silu, type);
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
