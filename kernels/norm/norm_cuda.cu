/* SPDX-License-Identifier: MIT
 * norm, residual_norm and their gradients: a team of threads a row, each with MGK_VECTOR of its values, which
 * stay in registers between the statistics and what is made of them. Rows that are too long for that
 * (WIDE) are read again; the next one of a team whose rows are short is read while one is computed (EARLY). */
#include "kernels/common/cuda_columns.h"
#include "kernels/norm/norm.h"

namespace
{

enum {
    FORWARD_THREADS = 1024,
    FORWARD_BLOCKS = 1024,
    GRAD_THREADS = 768 /* which leaves 80 registers each */
};

enum { PLAIN, WIDE, EARLY };

struct norm_plan {
    int lanes, teams; /* threads a row, rows of a block at once */
    bool wide, layer;
    bool whole, whole_vectors; /* rows, and what is read with them, can be taken as vectors */
    int64_t rows;              /* a block, forward */
};

/* Up to a warp a team is a power of two; larger ones are whole warps. */
norm_plan plan_of(const mgk_norm_args *a, int most, int wanted)
{
    norm_plan p = {};
    int64_t vectors = mgk_cuda_div_up(a->dim, MGK_VECTOR);
    p.wide = vectors > most;
    if (vectors <= MGK_WARP)
        p.lanes = mgk_power_of_two(vectors, MGK_WARP);
    else
        p.lanes = p.wide ? most : (int)mgk_cuda_div_up(vectors, MGK_WARP) * MGK_WARP;
    p.teams = 1;
    while (2 * p.teams * p.lanes <= wanted)
        p.teams *= 2;
    p.layer = a->kind == MGK_NORM_LAYER;
    p.whole = a->dim % MGK_VECTOR == 0;
    p.whole_vectors = p.whole && mgk_is_aligned(a->weight) && mgk_is_aligned(a->bias) &&
                      mgk_is_aligned(a->scale) && mgk_is_aligned(a->shift) &&
                      mgk_is_aligned(a->gate) && a->mod_stride % 4 == 0 && a->gate_stride % 4 == 0;
    return p;
}

/* f32 would take the registers of too many threads. */
bool is_early(const norm_plan &p, int dtype)
{
    return dtype == MGK_BF16 && p.whole && p.whole_vectors && p.lanes * p.teams <= MGK_BLOCK;
}

/* A thread's place. All threads of a block sum together. */
struct team {
    int lanes, lane, number, turn;
    float (*scratch)[2 * MGK_WARP]; /* two, which take turns, so that one barrier a sum is enough */

    __device__ __forceinline__ team(int lanes_, float (*scratch_)[2 * MGK_WARP])
        : lanes(lanes_), lane((int)threadIdx.x % lanes_), number((int)threadIdx.x / lanes_),
          turn(0), scratch(scratch_)
    {
    }

    /* The sums of two values over each team. */
    __device__ __forceinline__ void sum(float *a, float *b)
    {
        int most = lanes < MGK_WARP ? lanes : (int)MGK_WARP;
        for (int step = most / 2; step > 0; step /= 2) {
            *a += __shfl_xor_sync(0xffffffffu, *a, step);
            *b += __shfl_xor_sync(0xffffffffu, *b, step);
        }
        if (lanes <= MGK_WARP)
            return;
        float *room = scratch[turn];
        int warps = lanes / MGK_WARP, in_warp = (int)threadIdx.x % MGK_WARP;
        if (in_warp == 0) {
            room[threadIdx.x / MGK_WARP] = *a;
            room[MGK_WARP + threadIdx.x / MGK_WARP] = *b;
        }
        __syncthreads();
        turn = 1 - turn;
        *a = mgk_warp_sum(in_warp < warps ? room[number * warps + in_warp] : 0.0f);
        *b = mgk_warp_sum(in_warp < warps ? room[MGK_WARP + number * warps + in_warp] : 0.0f);
    }

    __device__ __forceinline__ float sum(float a)
    {
        float none = 0;
        sum(&a, &none);
        return a;
    }
};

/* MGK_VECTOR values from `at` on of a vector that may not be there. */
MGK_DEVICE void load_or(mgk_buf b, int64_t at, float otherwise, float *out, bool whole,
                        int64_t count)
{
    if (b.p)
        mgk_load_part(MGK_F(b) + at, out, whole, count);
    else
        for (int i = 0; i < MGK_VECTOR; i++)
            out[i] = otherwise;
}

/* (1 + scale) * weight from column c on */
MGK_DEVICE void load_factor(const mgk_norm_args &a, int64_t sample, int64_t c, bool whole,
                            float *factor)
{
    float scale[MGK_VECTOR];
    load_or(a.weight, c, 1, factor, whole, a.dim - c);
    load_or(a.scale, sample * a.mod_stride + c, 0, scale, whole, a.dim - c);
    for (int i = 0; i < MGK_VECTOR; i++)
        factor[i] = fmaf(factor[i], scale[i], factor[i]);
}

/* y = n * times + plus */
MGK_DEVICE void load_affine(const mgk_norm_args &a, int64_t sample, int64_t c, bool whole,
                            float *times, float *plus)
{
    float scale[MGK_VECTOR], shift[MGK_VECTOR];
    load_factor(a, sample, c, whole, times);
    load_or(a.bias, c, 0, plus, whole, a.dim - c);
    load_or(a.scale, sample * a.mod_stride + c, 0, scale, whole, a.dim - c);
    load_or(a.shift, sample * a.mod_stride + c, 0, shift, whole, a.dim - c);
    for (int i = 0; i < MGK_VECTOR; i++)
        plus[i] = fmaf(plus[i], scale[i], plus[i]) + shift[i];
}

/* A thread's next column: it has one only where rows are WIDE, which the compiler should know. */
template <int HOW> MGK_DEVICE int64_t after(int64_t column, int64_t stride)
{
    return HOW == WIDE ? column + stride : INT64_MAX;
}

template <typename T, int HOW, bool RESIDUAL>
MGK_KERNEL __launch_bounds__(HOW == EARLY ? (int)MGK_BLOCK : (int)FORWARD_THREADS,
                             HOW == EARLY ? (RESIDUAL ? 3 : 4) : 1)
    norm_kernel(mgk_norm_args a, norm_plan p)
{
    __shared__ float scratch[2][2 * MGK_WARP];
    team team(p.lanes, scratch);
    const bool whole = HOW == EARLY || p.whole, vectors = HOW == EARLY || p.whole_vectors;
    const int64_t dim = a.dim, stride = (int64_t)p.lanes * MGK_VECTOR;
    const T *in = RESIDUAL ? (const T *)a.r.p : (const T *)a.x.p, *h = (const T *)a.h.p;
    const bool modulated = a.scale.p || a.shift.p || (RESIDUAL && a.gate.p);
    int64_t known = -1, begin = blockIdx.x * p.rows; /* known: sample whose vectors are loaded */
    int64_t end = begin + p.rows < a.rows ? begin + p.rows : a.rows;
    float v[MGK_VECTOR], times[MGK_VECTOR], plus[MGK_VECTOR], gate[MGK_VECTOR];
    const bool there = team.lane * MGK_VECTOR < dim;
    mgk_ahead next_x, next_h;
    auto begin_row = [&](int64_t r) {
        if (HOW != EARLY || !there || r >= end)
            return;
        next_x.begin((const T *)a.x.p + r * dim + team.lane * MGK_VECTOR);
        if (RESIDUAL && h)
            next_h.begin(h + r * dim + team.lane * MGK_VECTOR);
    };
    begin_row(begin + team.number);
    for (int64_t first = begin; first < end; first += p.teams) {
        int64_t r = first + team.number, from = r < end ? team.lane * MGK_VECTOR : dim;
        int64_t sample = modulated ? (r + a.row_offset) / a.rows_per_sample : 0;
        float sum = 0, mean = 0;
        for (int64_t c = from; c < dim; c = after<HOW>(c, stride)) {
            if (HOW == WIDE || sample != known) {
                if (HOW != WIDE)
                    load_affine(a, sample, c, vectors, times, plus);
                if (RESIDUAL)
                    load_or(a.gate, sample * a.gate_stride + c, 1, gate, vectors, dim - c);
            }
            float more[MGK_VECTOR];
            if (HOW == EARLY) {
                next_x.take(v);
                if (RESIDUAL && h)
                    next_h.take(more);
                begin_row(r + p.teams);
            } else {
                mgk_load_part((const T *)a.x.p + r * dim + c, v, whole, dim - c);
                if (RESIDUAL && h)
                    mgk_load_part(h + r * dim + c, more, whole, dim - c);
            }
            if (RESIDUAL && h) {
                for (int i = 0; i < MGK_VECTOR; i++)
                    v[i] = mgk_round<T>(fmaf(gate[i], more[i], v[i]));
            }
            if (RESIDUAL)
                mgk_store_part((T *)a.r.p + r * dim + c, v, whole, dim - c);
            if (p.layer)
                for (int i = 0; i < MGK_VECTOR; i++)
                    sum += v[i];
            else
                for (int i = 0; i < MGK_VECTOR; i++)
                    sum = fmaf(v[i], v[i], sum);
        }
        known = sample;
        sum = team.sum(sum);
        if (p.layer) {
            mean = sum / (float)dim;
            sum = 0;
            for (int64_t c = from; c < dim; c = after<HOW>(c, stride)) {
                if (HOW == WIDE)
                    mgk_load_part(in + r * dim + c, v, whole, dim - c);
                const int left = dim - c < MGK_VECTOR ? (int)(dim - c) : (int)MGK_VECTOR;
                for (int i = 0; i < MGK_VECTOR; i++)
                    sum += i < left ? (v[i] - mean) * (v[i] - mean) : 0;
            }
            sum = team.sum(sum);
        }
        float rstd = 1 / sqrtf(sum / (float)dim + a.eps);
        for (int64_t c = from; c < dim; c = after<HOW>(c, stride)) {
            if (HOW == WIDE) {
                mgk_load_part(in + r * dim + c, v, whole, dim - c);
                load_affine(a, sample, c, vectors, times, plus);
            }
            for (int i = 0; i < MGK_VECTOR; i++)
                v[i] = fmaf((v[i] - mean) * rstd, times[i], plus[i]);
            mgk_store_part((T *)a.y.p + r * dim + c, v, whole, dim - c);
        }
        if (r < end && team.lane == 0 && a.rstd.p)
            MGK_F(a.rstd)[r] = rstd;
        if (r < end && team.lane == 0 && a.mean.p && p.layer)
            MGK_F(a.mean)[r] = mean;
    }
}

template <bool RESIDUAL> void run_norm(const mgk_norm_args *a, mgk_exec *x)
{
    if (a->rows == 0 || a->dim == 0)
        return;
    norm_plan p = plan_of(a, FORWARD_THREADS, MGK_BLOCK);
    p.whole = p.whole && mgk_is_aligned(a->x) && mgk_is_aligned(a->y) &&
              (!RESIDUAL || (mgk_is_aligned(a->r) && mgk_is_aligned(a->h)));
    /* Few enough rows a block to occupy a large GPU, more of them to load their vectors less often: those of a short row
     * are six times its own bytes. */
    int64_t steps = a->rows / (FORWARD_BLOCKS * (int64_t)p.teams);
    p.rows = p.teams * (steps < 1 ? 1 : steps > 16 ? 16 : steps);
    int64_t blocks = mgk_cuda_div_up(a->rows, p.rows);
    if (p.wide)
        MGK_WITH_REAL(a->x.dtype, MGK_LAUNCH(x, (norm_kernel<T, WIDE, RESIDUAL>), (int)blocks,
                                             p.lanes * p.teams, 0, *a, p));
    else if (is_early(p, a->x.dtype))
        MGK_LAUNCH(x, (norm_kernel<mgk_bf16, EARLY, RESIDUAL>), (int)blocks, p.lanes * p.teams, 0,
                   *a, p);
    else
        MGK_WITH_REAL(a->x.dtype, MGK_LAUNCH(x, (norm_kernel<T, PLAIN, RESIDUAL>), (int)blocks,
                                             p.lanes * p.teams, 0, *a, p));
}

/* ---- gradients ----
 * Those of weight, bias, scale and shift all follow from two column sums over the rows of one sample,
 * A = sum(dy n) and B = sum(dy):
 *   d_scale += weight A + bias B   d_shift += B   d_weight += (1 + scale) A   d_bias += (1 + scale) B
 * and that of a gate is a third one, G = sum(dx h). Each chunk of rows leaves A, B and G in the workspace. */

enum { PART_A, PART_B, PART_G, PARTS };

bool wants_sums(const mgk_norm_args *a, bool residual)
{
    return a->d_weight.p || a->d_bias.p || a->d_scale.p || a->d_shift.p ||
           (residual && a->d_gate.p);
}

mgk_row_chunks chunks_of(const mgk_norm_args *a, const norm_plan &p, bool residual)
{
    bool samples =
        a->scale.p || a->d_scale.p || a->d_shift.p || (residual && (a->gate.p || a->d_gate.p));
    return mgk_chunk_rows(a->rows, a->row_offset, samples ? a->rows_per_sample : 0, p.teams,
                          mgk_cuda_div_up(p.lanes * p.teams, MGK_BLOCK / 2));
}

norm_plan grad_plan(const mgk_norm_args *a)
{
    return plan_of(a, GRAD_THREADS,
                   MGK_BLOCK); /* three blocks a multiprocessor, of these registers */
}

/* n, from the values of a row, and g = dy * (1 + scale) * weight, of d = dy. */
MGK_DEVICE void take_grad(float mean, float rstd, const float *factor, float *n, float *g,
                          const float *d)
{
    for (int i = 0; i < MGK_VECTOR; i++) {
        n[i] = (n[i] - mean) * rstd;
        g[i] = d[i] * factor[i];
    }
}

template <typename T>
MGK_DEVICE void load_grad(const T *in, const T *dy, float mean, float rstd, const float *factor,
                          bool whole, int64_t count, float *n, float *g, float *d)
{
    mgk_load_part(in, n, whole, count);
    mgk_load_part(dy, d, whole, count);
    take_grad(mean, rstd, factor, n, g, d);
}

/* Adds to what a chunk has left in the workspace; its columns from c on belong to this thread. */
MGK_DEVICE void add_part(float *part, const float *more, int64_t count)
{
    for (int i = 0; i < MGK_VECTOR; i++)
        if (i < count)
            part[i] += more[i];
}

/* A block: a chunk of rows. parts NULL: no sums are wanted. */
template <typename T, int HOW, bool RESIDUAL>
MGK_KERNEL __launch_bounds__(HOW == EARLY ? (int)MGK_BLOCK : (int)GRAD_THREADS,
                             HOW == EARLY ? (RESIDUAL ? 2 : 3) : 1)
    norm_grad_kernel(mgk_norm_args a, mgk_row_chunks k, norm_plan p, float *parts)
{
    __shared__ float scratch[2][2 * MGK_WARP], columns[MGK_VECTOR * 2 * MGK_BLOCK];
    team team(p.lanes, scratch);
    const bool whole = HOW == EARLY || p.whole, vectors = HOW == EARLY || p.whole_vectors;
    const int64_t dim = a.dim, stride = (int64_t)p.lanes * MGK_VECTOR;
    const T *in = RESIDUAL ? (const T *)a.r.p : (const T *)a.x.p, *dy = (const T *)a.dy.p;
    const T *add = RESIDUAL ? (const T *)a.dr.p : a.accumulate_dx ? (const T *)a.dx.p : NULL;
    const T *h = RESIDUAL && a.d_gate.p ? (const T *)a.h.p : NULL;
    T *dx = (T *)a.dx.p, *dh = RESIDUAL ? (T *)a.dh.p : NULL;
    int64_t begin, end, sample = k.first_sample + blockIdx.x / k.chunks;
    float n[MGK_VECTOR], g[MGK_VECTOR], d[MGK_VECTOR], factor[MGK_VECTOR];
    float sum_a[MGK_VECTOR] = {0}, sum_b[MGK_VECTOR] = {0}, sum_h[MGK_VECTOR] = {0};
    k.range(blockIdx.x, &begin, &end);
    float *part = parts ? parts + (int64_t)blockIdx.x * PARTS * dim : NULL;
    for (int64_t c = team.lane * MGK_VECTOR; c < dim; c = after<HOW>(c, stride)) {
        load_factor(a, sample, c, vectors, factor);
        for (int i = 0; HOW == WIDE && part && i < PARTS * MGK_VECTOR; i++)
            if (c + i % MGK_VECTOR < dim)
                part[i / MGK_VECTOR * dim + c + i % MGK_VECTOR] = 0;
    }
    const bool there = team.lane * MGK_VECTOR < dim;
    mgk_ahead next_in, next_dy, added;
    float next_mean = 0, next_rstd = 0;
    auto begin_row = [&](int64_t r) {
        if (r >= end)
            return;
        next_mean = p.layer ? MGK_F(a.mean)[r] : 0;
        next_rstd = MGK_F(a.rstd)[r];
        if (HOW != EARLY || !there)
            return;
        next_in.begin(in + r * dim + team.lane * MGK_VECTOR);
        next_dy.begin(dy + r * dim + team.lane * MGK_VECTOR);
    };
    begin_row(begin + team.number);
    for (int64_t first = begin; first < end; first += p.teams) {
        int64_t r = first + team.number, from = r < end ? team.lane * MGK_VECTOR : dim;
        const float mean = next_mean, rstd = next_rstd;
        float mean_g = 0, mean_gn = 0;
        if (HOW == EARLY && there && r < end) {
            next_in.take(n);
            next_dy.take(d);
            if (add)
                added.begin(add + r * dim + team.lane * MGK_VECTOR);
        }
        begin_row(r + p.teams);
        for (int64_t c = from; c < dim; c = after<HOW>(c, stride)) {
            if (HOW == WIDE)
                load_factor(a, sample, c, vectors, factor);
            if (HOW == EARLY)
                take_grad(mean, rstd, factor, n, g, d);
            else
                load_grad(in + r * dim + c, dy + r * dim + c, mean, rstd, factor, whole, dim - c, n,
                          g, d);
            for (int i = 0; i < MGK_VECTOR; i++) {
                mean_g += g[i];
                mean_gn = fmaf(g[i], n[i], mean_gn);
                sum_a[i] = HOW == WIDE ? d[i] * n[i] : fmaf(d[i], n[i], sum_a[i]);
                sum_b[i] = HOW == WIDE ? d[i] : sum_b[i] + d[i];
            }
            if (HOW == WIDE && part) {
                add_part(part + PART_A * dim + c, sum_a, dim - c);
                add_part(part + PART_B * dim + c, sum_b, dim - c);
            }
        }
        if (!dx)
            continue;
        team.sum(&mean_g, &mean_gn);
        mean_g = p.layer ? mean_g / (float)dim : 0;
        mean_gn /= (float)dim;
        for (int64_t c = from; c < dim; c = after<HOW>(c, stride)) {
            if (HOW == WIDE) {
                load_factor(a, sample, c, vectors, factor);
                load_grad(in + r * dim + c, dy + r * dim + c, mean, rstd, factor, whole, dim - c, n,
                          g, d);
            }
            for (int i = 0; i < MGK_VECTOR; i++)
                g[i] = (g[i] - mean_g - n[i] * mean_gn) * rstd;
            if (add) {
                float more[MGK_VECTOR];
                if (HOW == EARLY)
                    added.take(more);
                else
                    mgk_load_part(add + r * dim + c, more, whole, dim - c);
                for (int i = 0; i < MGK_VECTOR; i++)
                    g[i] += more[i];
            }
            mgk_store_part(dx + r * dim + c, g, whole, dim - c);
            for (int i = 0; i < MGK_VECTOR; i++)
                g[i] = mgk_round<T>(g[i]);
            if (h) {
                mgk_load_part(h + r * dim + c, n, whole, dim - c);
                for (int i = 0; i < MGK_VECTOR; i++)
                    sum_h[i] = fmaf(g[i], n[i], HOW == WIDE ? 0 : sum_h[i]);
            }
            if (dh) {
                load_or(a.gate, sample * a.gate_stride + c, 1, n, vectors, dim - c);
                for (int i = 0; i < MGK_VECTOR; i++)
                    g[i] *= n[i];
                mgk_store_part(dh + r * dim + c, g, whole, dim - c);
            }
            if (HOW == WIDE && h)
                add_part(part + PART_G * dim + c, sum_h, dim - c);
        }
    }
    if (HOW == WIDE || !part)
        return;
    mgk_group_columns<mgk_plus>(sum_a, columns, p.lanes);
    mgk_group_columns<mgk_plus>(sum_b, columns, p.lanes);
    if (h)
        mgk_group_columns<mgk_plus>(sum_h, columns, p.lanes);
    int64_t c = team.lane * MGK_VECTOR;
    if (team.number > 0 || c >= dim)
        return;
    const bool all = dim % MGK_VECTOR == 0;
    mgk_store_part(part + PART_A * dim + c, sum_a, all, dim - c);
    mgk_store_part(part + PART_B * dim + c, sum_b, all, dim - c);
    if (h)
        mgk_store_part(part + PART_G * dim + c, sum_h, all, dim - c);
}

/* A block: 32 columns of a sample. Its (1 + scale) A and B take the place of its first chunk's. */
MGK_KERNEL sample_total_kernel(mgk_norm_args a, mgk_row_chunks k, bool gates, float *parts)
{
    __shared__ double scratch[MGK_TOTAL_MOST];
    const int64_t dim = a.dim, tiles = (dim + MGK_WARP - 1) / MGK_WARP;
    for (int64_t b = blockIdx.x; b < k.samples * tiles; b += gridDim.x) {
        int64_t s = b / tiles, c = b % tiles * MGK_WARP + threadIdx.x % MGK_WARP;
        int64_t sample = k.first_sample + s;
        float *part = parts + s * k.chunks * PARTS * dim + c;
        bool none = c >= dim;
        double total_a =
            mgk_column_total<mgk_plus>(part + PART_A * dim, k.chunks, PARTS * dim, none, scratch);
        double total_b =
            mgk_column_total<mgk_plus>(part + PART_B * dim, k.chunks, PARTS * dim, none, scratch);
        double total_h = 0;
        if (gates)
            total_h = mgk_column_total<mgk_plus>(part + PART_G * dim, k.chunks, PARTS * dim, none,
                                                 scratch);
        if (threadIdx.x >= MGK_WARP || none)
            continue;
        if (a.d_shift.p)
            MGK_F(a.d_shift)[sample * a.d_mod_stride + c] += (float)total_b;
        if (a.d_scale.p)
            MGK_F(a.d_scale)
        [sample * a.d_mod_stride + c] += (float)(total_a * (a.weight.p ? MGK_F(a.weight)[c] : 1) +
                                                 total_b * (a.bias.p ? MGK_F(a.bias)[c] : 0));
        if (gates)
            MGK_F(a.d_gate)[sample * a.d_gate_stride + c] += (float)total_h;
        double times = 1 + (a.scale.p ? (double)MGK_F(a.scale)[sample * a.mod_stride + c] : 0);
        part[PART_A * dim] = (float)(times * total_a);
        part[PART_B * dim] = (float)(times * total_b);
    }
}

/* A block: 32 columns of all samples. */
MGK_KERNEL weight_total_kernel(mgk_norm_args a, mgk_row_chunks k, const float *parts)
{
    __shared__ double scratch[MGK_TOTAL_MOST];
    const int64_t dim = a.dim, c = (int64_t)blockIdx.x * MGK_WARP + threadIdx.x % MGK_WARP;
    const int64_t stride = k.chunks * PARTS * dim;
    double total_a =
        mgk_column_total<mgk_plus>(parts + PART_A * dim + c, k.samples, stride, c >= dim, scratch);
    double total_b =
        mgk_column_total<mgk_plus>(parts + PART_B * dim + c, k.samples, stride, c >= dim, scratch);
    if (threadIdx.x >= MGK_WARP || c >= dim)
        return;
    if (a.d_weight.p)
        MGK_F(a.d_weight)[c] += (float)total_a;
    if (a.d_bias.p)
        MGK_F(a.d_bias)[c] += (float)total_b;
}

template <bool RESIDUAL> void run_grad(const mgk_norm_args *a, mgk_exec *x)
{
    if (a->rows == 0 || a->dim == 0)
        return;
    norm_plan p = grad_plan(a);
    mgk_row_chunks k = chunks_of(a, p, RESIDUAL);
    float *parts = wants_sums(a, RESIDUAL) ? (float *)x->workspace : NULL;
    p.whole = p.whole && mgk_is_aligned(a->dy) && mgk_is_aligned(a->dx);
    if (RESIDUAL)
        p.whole = p.whole && mgk_is_aligned(a->r) && mgk_is_aligned(a->dr) &&
                  mgk_is_aligned(a->dh) && mgk_is_aligned(a->h);
    else
        p.whole = p.whole && mgk_is_aligned(a->x);
    if (p.wide)
        MGK_WITH_REAL(a->dy.dtype,
                      MGK_LAUNCH(x, (norm_grad_kernel<T, WIDE, RESIDUAL>), (int)k.count(),
                                 p.lanes * p.teams, 0, *a, k, p, parts));
    else if (is_early(p, a->dy.dtype))
        MGK_LAUNCH(x, (norm_grad_kernel<mgk_bf16, EARLY, RESIDUAL>), (int)k.count(),
                   p.lanes * p.teams, 0, *a, k, p, parts);
    else
        MGK_WITH_REAL(a->dy.dtype,
                      MGK_LAUNCH(x, (norm_grad_kernel<T, PLAIN, RESIDUAL>), (int)k.count(),
                                 p.lanes * p.teams, 0, *a, k, p, parts));
    if (!parts)
        return;
    int64_t tiles = mgk_cuda_div_up(a->dim, MGK_WARP);
    MGK_LAUNCH(x, sample_total_kernel, mgk_grid(k.samples * tiles, 1), mgk_total_block(k.chunks), 0,
               *a, k, RESIDUAL && a->d_gate.p, parts);
    if (a->d_weight.p || a->d_bias.p)
        MGK_LAUNCH(x, weight_total_kernel, (int)tiles, mgk_total_block(k.samples), 0, *a, k, parts);
}

size_t grad_workspace(const mgk_norm_args *a, bool residual)
{
    if (a->rows == 0 || a->dim == 0 || !wants_sums(a, residual))
        return 0;
    mgk_row_chunks k = chunks_of(a, grad_plan(a), residual);
    return sizeof(float) * (size_t)(k.count() * PARTS * a->dim);
}

} // namespace

MGK_CUDA_LAUNCHER(norm)
{
    run_norm<false>((const mgk_norm_args *)args, x);
}

MGK_CUDA_LAUNCHER(residual_norm)
{
    run_norm<true>((const mgk_norm_args *)args, x);
}

MGK_CUDA_WORKSPACE(norm_grad)
{
    (void)threads;
    return grad_workspace((const mgk_norm_args *)args, false);
}

MGK_CUDA_LAUNCHER(norm_grad)
{
    run_grad<false>((const mgk_norm_args *)args, x);
}

MGK_CUDA_WORKSPACE(residual_norm_grad)
{
    (void)threads;
    return grad_workspace((const mgk_norm_args *)args, true);
}

MGK_CUDA_LAUNCHER(residual_norm_grad)
{
    run_grad<true>((const mgk_norm_args *)args, x);
}
