/* SPDX-License-Identifier: MIT
 * norm_grad and residual_norm_grad on vectors; a part of norm_simd.h.
 *
 * The gradients of weight, bias, scale and shift all follow from two column sums over the rows of
 * one sample, A = sum(dy n) and B = sum(dy):
 *   d_scale += weight A + bias B   d_shift += B   d_weight += (1 + scale) A   d_bias += (1 + scale) B
 * and that of a gate is a third one, G = sum(dx h). A block of rows holds whole samples, or a chunk of
 * one; chunks leave A, B and G in the workspace, where they are combined in order.
 */
enum { PART_DW, PART_DB, PART_A, PART_B, PART_G }; /* columns of a block; G only for gates */
enum { COLUMNS_A_TASK = 256, GRAD_ROWS = 2 /* a group; more would crowd one set of the cache */ };

typedef struct grad_job {
    const mgk_norm_args *a;
    mgk_row_split split;
    float *parts; /* NULL: no column sums are wanted */
    int64_t column, columns;
    bool residual, sums; /* sums: A and B are wanted */
} grad_job;

/* Of a group of rows: what the gradient of a row needs, and where its buffers begin. */
typedef struct grad_rows {
    v_real in, dy;
    const float *weight, *scale;
    float mean[GRAD_ROWS], rstd[GRAD_ROWS], mean_g[GRAD_ROWS], mean_gn[GRAD_ROWS];
} grad_rows;

/* dy * (1 + scale) * weight is what arrives at n. */
MGK_INLINE vf factor_of(const grad_rows *g, int64_t i, int64_t lanes)
{
    vf m = g->weight ? v_load_lanes(g->weight + i, lanes) : v_set(1);
    return g->scale ? m + m * v_load_lanes(g->scale + i, lanes) : m;
}

/* Adds to A and B, and finds the rows' means of g and g n. */
MGK_INLINE void grad_sums(const grad_job *job, grad_rows *g, int count, float *part)
{
    const int64_t dim = job->a->dim;
    float *sum_a = part ? part + PART_A * job->column : NULL;
    const bool shifted =
        job->a->d_bias.p || job->a->d_shift.p || (job->a->d_scale.p && job->a->bias.p);
    const bool layer = job->a->kind == MGK_NORM_LAYER;
    float *sum_b = part && shifted ? part + PART_B * job->column : NULL;
    vf sum_g[GRAD_ROWS], sum_gn[GRAD_ROWS];
    for (int k = 0; k < count; k++)
        sum_g[k] = sum_gn[k] = v_set(0);
    MGK_EACH_VECTOR(i, dim, {
        vf factor = factor_of(g, i, v_lanes);
        vf more_a = {0};
        vf more_b = {0};
        MGK_UNROLL
        for (int k = 0; k < count; k++) {
            vf n = (v_get(g->in, k * dim + i) - g->mean[k]) * g->rstd[k];
            vf d = v_get(g->dy, k * dim + i);
            more_a += d * n;
            if (sum_b)
                more_b += d;
            d *= factor; /* lanes past the end are 0 */
            if (layer)
                sum_g[k] += d;
            sum_gn[k] += d * n;
        }
        if (part)
            v_out(sum_a + i, v_in(sum_a + i) + more_a);
        if (sum_b)
            v_out(sum_b + i, v_in(sum_b + i) + more_b);
    });
    for (int k = 0; k < count; k++) {
        g->mean_g[k] = layer ? v_sum(sum_g[k]) / (float)dim : 0;
        g->mean_gn[k] = v_sum(sum_gn[k]) / (float)dim;
    }
}

MGK_INLINE vf grad_of(const grad_rows *g, int k, int64_t at, vf factor, int64_t lanes)
{
    vf n = (v_read(g->in, at, lanes) - g->mean[k]) * g->rstd[k];
    vf d = v_read(g->dy, at, lanes) * factor;
    return (d - g->mean_g[k] - n * g->mean_gn[k]) * g->rstd[k];
}

/* dx of a norm. */
MGK_INLINE void grad_write(const mgk_norm_args *a, const grad_rows *g, int64_t r, int count,
                           int32_t type)
{
    const int64_t dim = a->dim;
    const bool add = a->accumulate_dx;
    v_real dx = v_from(a->dx, r * dim, type);
    dx.stream = !add && mgk_streams(a->dx, a->rows, dim);
    MGK_EACH_VECTOR(i, dim, {
        vf factor = factor_of(g, i, v_lanes);
        MGK_UNROLL
        for (int k = 0; k < count; k++) {
            vf d = grad_of(g, k, k * dim + i, factor, v_lanes);
            v_prefetch(g->in, (count + k) * dim + i);
            v_prefetch(g->dy, (count + k) * dim + i);
            if (add)
                d += v_get(dx, k * dim + i);
            v_put(dx, k * dim + i, d);
        }
    });
    v_stream_end(dx.stream);
}

/* dx, dh and G of a residual. */
MGK_INLINE void residual_write(const mgk_norm_args *a, const grad_rows *g, int64_t r, int count,
                               float *sum_h, int32_t type)
{
    const int64_t dim = a->dim;
    const bool add = a->dr.p != NULL, want_dh = a->dh.p != NULL;
    const float *gate = AT(a->gate, sample_of(a, r) * a->gate_stride);
    v_real dx = v_from(a->dx, r * dim, type), dr = v_from(add ? a->dr : a->dx, r * dim, type);
    v_real dh = v_from(want_dh ? a->dh : a->dx, r * dim, type);
    v_real h = v_from(sum_h ? a->h : a->dx, r * dim, type);
    dx.stream = mgk_streams(a->dx, a->rows, dim);
    dh.stream = want_dh && mgk_streams(a->dh, a->rows, dim);
    MGK_EACH_VECTOR(i, dim, {
        vf factor = factor_of(g, i, v_lanes);
        vf times = gate ? v_in(gate + i) : v_set(1);
        vf total = {0};
        for (int k = 0; k < count; k++) {
            vf d = grad_of(g, k, k * dim + i, factor, v_lanes);
            v_prefetch(g->in, (count + k) * dim + i);
            v_prefetch(g->dy, (count + k) * dim + i);
            if (add)
                d += v_get(dr, k * dim + i);
            d = v_rounded(d, type);
            v_put(dx, k * dim + i, d);
            if (want_dh)
                v_put(dh, k * dim + i, d * times);
            if (sum_h)
                total += d * v_get(h, k * dim + i);
        }
        if (sum_h)
            v_out(sum_h + i, v_in(sum_h + i) + total);
    });
    v_stream_end(dx.stream | dh.stream);
}

/* `count` rows of one sample, 1 or GRAD_ROWS. */
MGK_INLINE void grad_group(const grad_job *job, int64_t r, int count, float *part, bool residual,
                           int32_t type)
{
    const mgk_norm_args *a = job->a;
    grad_rows g = {.in = v_from(residual ? a->r : a->x, r * a->dim, type),
                   .dy = v_from(a->dy, r * a->dim, type),
                   .weight = MGK_F(a->weight),
                   .scale = AT(a->scale, sample_of(a, r) * a->mod_stride)};
    for (int k = 0; k < count; k++) {
        g.mean[k] = a->kind == MGK_NORM_LAYER ? MGK_F(a->mean)[r + k] : 0;
        g.rstd[k] = MGK_F(a->rstd)[r + k];
    }
    grad_sums(job, &g, count, job->sums ? part : NULL);
    if (residual)
        residual_write(a, &g, r, count, a->d_gate.p ? part + PART_G * job->column : NULL, type);
    else if (a->dx.p)
        grad_write(a, &g, r, count, type);
}

MGK_INLINE void grad_range(const grad_job *job, int64_t r, int64_t end, float *part, bool residual,
                           int32_t type)
{
    for (; r + GRAD_ROWS <= end; r += GRAD_ROWS)
        grad_group(job, r, GRAD_ROWS, part, residual, type);
    for (; r < end; r++)
        grad_group(job, r, 1, part, residual, type);
}

/* After a sample's rows of a block: A and B to d_weight, d_bias of the block. */
static void add_sample(const grad_job *job, int64_t sample, float *part)
{
    const mgk_norm_args *a = job->a;
    const float *scale = AT(a->scale, sample * a->mod_stride);
    float *dw = part + PART_DW * job->column, *db = part + PART_DB * job->column;
    const float *sum_a = part + PART_A * job->column, *sum_b = part + PART_B * job->column;
    MGK_EACH_VECTOR(i, a->dim, {
        vf va = v_in(sum_a + i);
        vf vb = v_in(sum_b + i);
        if (scale) {
            va += va * v_in(scale + i);
            vb += vb * v_in(scale + i);
        }
        v_out(dw + i, v_in(dw + i) + va);
        v_out(db + i, v_in(db + i) + vb);
    });
}

/* A, B and G, which begin at sum_a, to d_scale, d_shift and d_gate of a sample. */
static void add_modulation(const grad_job *job, int64_t sample, const float *sum_a)
{
    const mgk_norm_args *a = job->a;
    const float *sum_b = sum_a + job->column, *sum_g = sum_b + job->column;
    float *d_scale = AT(a->d_scale, sample * a->d_mod_stride);
    float *d_shift = AT(a->d_shift, sample * a->d_mod_stride);
    float *d_gate = job->residual ? AT(a->d_gate, sample * a->d_gate_stride) : NULL;
    const float *weight = MGK_F(a->weight), *bias = MGK_F(a->bias);
    MGK_EACH_VECTOR(i, a->dim, {
        vf va = v_in(sum_a + i);
        vf vb = v_in(sum_b + i);
        if (d_shift)
            v_out(d_shift + i, v_in(d_shift + i) + vb);
        if (weight)
            va *= v_in(weight + i);
        if (bias)
            va += vb * v_in(bias + i);
        if (d_scale)
            v_out(d_scale + i, v_in(d_scale + i) + va);
        if (d_gate)
            v_out(d_gate + i, v_in(d_gate + i) + v_in(sum_g + i));
    });
}

static bool of_samples(const grad_job *job)
{
    const mgk_norm_args *a = job->a;
    return a->d_scale.p || a->d_shift.p || (job->residual && a->d_gate.p);
}

static void grad_block(void *arg, int64_t block, int thread)
{
    const grad_job *job = arg;
    const mgk_norm_args *a = job->a;
    const mgk_row_split *s = &job->split;
    (void)thread;
    int64_t r, end, size = job->columns * job->column;
    float *part = job->parts ? job->parts + block * size : NULL;
    mgk_split_range(s, block, &r, &end);
    if (part)
        memset(part, 0, sizeof(float) * (size_t)size);
    while (r < end) {
        int64_t sample = (r + s->skip) / s->sample;
        int64_t last = mgk_min(end, (sample + 1) * s->sample - s->skip);
        if (job->residual)
            V_BY_DTYPE(a->dy.dtype, grad_range, job, r, last, part, true);
        else
            V_BY_DTYPE(a->dy.dtype, grad_range, job, r, last, part, false);
        r = last;
        if (!part)
            continue;
        if (a->d_weight.p || a->d_bias.p)
            add_sample(job, s->first_sample + sample, part);
        if (s->chunks > 1)
            continue; /* one sample in this block: the sums stay for sample_combine */
        if (of_samples(job))
            add_modulation(job, s->first_sample + sample, part + PART_A * job->column);
        memset(part + PART_A * job->column, 0,
               sizeof(float) * (size_t)((job->columns - PART_A) * job->column));
    }
}

static void weight_combine(void *arg, int64_t task, int thread)
{
    const grad_job *job = arg;
    const mgk_norm_args *a = job->a;
    (void)thread;
    int64_t c = task * COLUMNS_A_TASK, n = mgk_min(COLUMNS_A_TASK, a->dim - c);
    double dw[COLUMNS_A_TASK] = {0}, db[COLUMNS_A_TASK] = {0};
    for (int64_t b = 0; b < job->split.blocks; b++) {
        const float *part = job->parts + b * job->columns * job->column + c;
        for (int64_t i = 0; i < n; i++) {
            dw[i] += part[i];
            db[i] += part[job->column + i];
        }
    }
    for (int64_t i = 0; i < n && a->d_weight.p; i++)
        MGK_F(a->d_weight)[c + i] += (float)dw[i];
    for (int64_t i = 0; i < n && a->d_bias.p; i++)
        MGK_F(a->d_bias)[c + i] += (float)db[i];
}

/* Adds the chunks' A, B and G of one sample to those of its first chunk. */
static void sample_combine(void *arg, int64_t sample, int thread)
{
    const grad_job *job = arg;
    const mgk_row_split *s = &job->split;
    (void)thread;
    int64_t size = job->columns * job->column, n = size - PART_A * job->column;
    float *sum = job->parts + sample * s->chunks * size + PART_A * job->column;
    for (int64_t c = 1; c < s->chunks; c++) {
        const float *more = sum + c * size;
        MGK_EACH_VECTOR(i, n, { v_out(sum + i, v_in(sum + i) + v_in(more + i)); });
    }
    add_modulation(job, s->first_sample + sample, sum);
}

static void run_grad(const mgk_norm_args *a, mgk_exec *x, bool residual)
{
    grad_job job = {
        .a = a, .column = mgk_norm_column(a->dim), .columns = PART_G, .residual = residual};
    if (a->rows == 0 || a->dim == 0)
        return;
    job.split = mgk_split_rows_from(a->rows, a->row_offset, a->rows_per_sample, a->dim);
    job.sums = a->d_weight.p || a->d_bias.p || a->d_scale.p || a->d_shift.p;
    job.columns += residual && a->d_gate.p;
    if (job.sums || job.columns > PART_G)
        job.parts = x->workspace;
    mgk_for(x, job.split.blocks, 2 * a->rows * a->dim, grad_block, &job);
    int64_t work = job.split.blocks * a->dim;
    if (a->d_weight.p || a->d_bias.p)
        mgk_for(x, mgk_div_up(a->dim, COLUMNS_A_TASK), work, weight_combine, &job);
    if (of_samples(&job) && job.split.chunks > 1)
        mgk_for(x, job.split.blocks / job.split.chunks, work, sample_combine, &job);
}

MGK_LAUNCH(norm_grad)
{
    run_grad(args, x, false);
}

MGK_LAUNCH(residual_norm_grad)
{
    run_grad(args, x, true);
}
