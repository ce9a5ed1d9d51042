/* SPDX-License-Identifier: MIT
 * The pointwise ops whose rows have something of their own, on vectors; a part of pointwise_simd.h. */

/* -- gated residual --------------------------------------------------------------------------- */

/* Two vectors of a gate, from plain order to that of v_read_two. */
MGK_INLINE v_two gate_two(const float *gate, int32_t type)
{
    v_two v = {v_load(gate), v_load(gate + MGK_WIDTH)};
    return type == MGK_BF16 ? v_two_order(v) : v;
}

MGK_INLINE void gated_rows(const mgk_pointwise_args *a, int64_t first, int64_t end, int32_t type)
{
    const int32_t stream = mgk_streams(a->y, a->rows, a->dim);
    const int64_t far = v_far(stream);
    for (int64_t r = first; r < end; r++) {
        int64_t sample = (r + a->row_offset) / a->rows_per_sample;
        const float *gate = MGK_F(a->gate) + sample * a->gate_stride;
        v_real in = v_from(a->x, r * a->dim, type), h = v_from(a->h, r * a->dim, type);
        v_real out = v_from(a->y, r * a->dim, type);
        out.stream = stream;
        int64_t done = 0;
        for (; done + 2 * MGK_WIDTH <= a->dim; done += 2 * MGK_WIDTH) {
            v_two v = v_read_two(in, done), w = v_read_two(h, done);
            v_two g = gate_two(gate + done, type);
            v_fetch_two(in, done, far);
            v_fetch_two(h, done, far);
            v_write_two(out, done, (v_two){v_fma(g.a, w.a, v.a), v_fma(g.b, w.b, v.b)});
        }
        MGK_EACH_VECTOR_FROM(done, i, a->dim,
                             { v_put(out, i, v_fma(v_in(gate + i), v_get(h, i), v_get(in, i))); });
    }
    v_stream_end(stream);
}

static void gated_block(void *arg, int64_t block, int thread)
{
    const mgk_pointwise_args *a = arg;
    (void)thread;
    int64_t rows = mgk_rows_a_block(a->dim), end = mgk_min(a->rows, (block + 1) * rows);
    V_BY_DTYPE(a->x.dtype, gated_rows, a, block * rows, end);
}

MGK_LAUNCH(gated_residual)
{
    const mgk_pointwise_args *a = args;
    if (a->dim > 0)
        mgk_for(x, mgk_div_up(a->rows, mgk_rows_a_block(a->dim)), a->rows * a->dim, gated_block,
                (void *)args);
}

/* Column sums go to d_gate itself if a block holds whole samples, else to the block's part of the
 * workspace, and are combined afterwards. */
typedef struct gate_job {
    const mgk_pointwise_args *a;
    mgk_row_split split;
    float *room; /* GATE_COLUMNS columns a thread */
    float *parts;
    int64_t part, column;
} gate_job;

/* `count` rows of one sample, 1 or GATE_ROWS: their products are summed before they go to memory. Rows of
 * f32 are taken singly: measured faster, with rows of 4096 bytes; and so are those that are fetched far ahead as all of bf16
 * past the caches on a Zen 5. */
enum { GATE_ROWS = 2, GATE_FETCHED = 2048 };

/* So many rows of bf16 and one sample pay for bringing its gate and sum in the order of v_read_two. */
enum { ORDERED_ROWS = 4 };

/* paired: gate and sum have the order of v_read_two; else all goes by single vectors. */
MGK_INLINE void gate_grad_rows(const mgk_pointwise_args *a, int64_t r, int count, const float *gate,
                               float *sum, int64_t far, bool paired, int32_t type)
{
    const int64_t dim = a->dim;
    const v_real dy = v_from(a->dy, r * dim, type), h = v_from(a->h, r * dim, type);
    const bool want_dh = a->dh.p != NULL;
    v_real dh = v_from(want_dh ? a->dh : a->dy, r * dim, type);
    dh.stream = want_dh && mgk_streams(a->dh, a->rows, dim);
    const int64_t ahead = far ? far : count * dim;
    int64_t done = 0;
    for (; paired && done + 2 * MGK_WIDTH <= dim; done += 2 * MGK_WIDTH) {
        v_two d[GATE_ROWS], total = {v_set(0), v_set(0)};
        if (sum)
            total = (v_two){v_load(sum + done), v_load(sum + done + MGK_WIDTH)};
        MGK_UNROLL
        for (int k = 0; k < count; k++) {
            d[k] = v_read_two(dy, k * dim + done);
            if (far || type == MGK_BF16) { /* without far, f32 is read faster without */
                v_prefetch_two(dy, ahead + k * dim + done, false);
                v_prefetch_two(h, ahead + k * dim + done, false);
            }
            if (sum) {
                v_two w = v_read_two(h, k * dim + done);
                total = (v_two){v_fma(d[k].a, w.a, total.a), v_fma(d[k].b, w.b, total.b)};
            }
        }
        if (sum) {
            v_store(sum + done, total.a);
            v_store(sum + done + MGK_WIDTH, total.b);
        }
        const v_two g = {v_load(gate + done), v_load(gate + done + MGK_WIDTH)};
        MGK_UNROLL
        for (int k = 0; k < count && want_dh; k++)
            v_write_two(dh, k * dim + done, (v_two){d[k].a * g.a, d[k].b * g.b});
    }
    MGK_EACH_VECTOR_FROM(done, i, dim, {
        for (int k = 0; k < count; k++) {
            vf d = v_get(dy, k * dim + i);
            if (sum)
                v_out(sum + i, v_fma(d, v_get(h, k * dim + i), v_in(sum + i)));
            if (want_dh)
                v_put(dh, k * dim + i, d * v_in(gate + i));
        }
    });
}

/* Rows of one sample. room: two columns, for gate and sum in the order of v_read_two. */
MGK_INLINE void gate_grad_sample(const mgk_pointwise_args *a, int64_t r, int64_t end, float *sum,
                                 float *room, int64_t column, int32_t type)
{
    const int64_t dim = a->dim, pairs = dim / (2 * MGK_WIDTH) * 2 * MGK_WIDTH;
    const float *gate = MGK_F(a->gate) + (r + a->row_offset) / a->rows_per_sample * a->gate_stride;
    const int32_t stream = a->dh.p && mgk_streams(a->dh, a->rows, dim);
    const bool single = type == MGK_BF16 && stream && v_zen5();
    const int64_t far = single ? GATE_FETCHED : v_far(stream);
    const bool ordered = type == MGK_BF16 && end - r >= ORDERED_ROWS;
    if (ordered) {
        float *own = sum ? room + column : NULL;
        for (int64_t i = 0; i < pairs; i += 2 * MGK_WIDTH) {
            const v_two g = gate_two(gate + i, type);
            v_store(room + i, g.a);
            v_store(room + i + MGK_WIDTH, g.b);
        }
        MGK_EACH_VECTOR_FROM(pairs, i, dim, { v_out(room + i, v_in(gate + i)); });
        if (own)
            memset(own, 0, sizeof *own * (size_t)dim);
        for (; !far && r + GATE_ROWS <= end; r += GATE_ROWS)
            gate_grad_rows(a, r, GATE_ROWS, room, own, 0, true, type);
        for (; r < end; r++)
            gate_grad_rows(a, r, 1, room, own, far, true, type);
        for (int64_t i = 0; own && i < pairs; i += 2 * MGK_WIDTH) {
            const v_two t = v_two_plain((v_two){v_load(own + i), v_load(own + i + MGK_WIDTH)});
            v_store(sum + i, v_load(sum + i) + t.a);
            v_store(sum + i + MGK_WIDTH, v_load(sum + i + MGK_WIDTH) + t.b);
        }
        if (own)
            MGK_EACH_VECTOR_FROM(pairs, i, dim, { v_out(sum + i, v_in(sum + i) + v_in(own + i)); });
    }
    for (; r < end; r++)
        gate_grad_rows(a, r, 1, gate, sum, far, type == MGK_F32, type);
    v_stream_end(stream); /* after each row it would wait */
}

static void gate_grad_block(void *arg, int64_t block, int thread)
{
    const gate_job *job = arg;
    const mgk_pointwise_args *a = job->a;
    const mgk_row_split *s = &job->split;
    int64_t r, end;
    mgk_split_range(s, block, &r, &end);
    float *part = job->parts ? job->parts + block * job->part : NULL;
    float *room = job->room + thread * GATE_COLUMNS * job->column;
    if (part)
        memset(part, 0, sizeof(float) * (size_t)a->dim);
    while (r < end) {
        int64_t sample = (r + s->skip) / s->sample, last = (sample + 1) * s->sample - s->skip;
        float *sum = part;
        last = mgk_min(end, last);
        if (!part && a->d_gate.p)
            sum = MGK_F(a->d_gate) + (s->first_sample + sample) * a->d_gate_stride;
        V_BY_DTYPE(a->dy.dtype, gate_grad_sample, a, r, last, sum, room, job->column);
        r = last;
    }
}

static void gate_combine_block(void *arg, int64_t sample, int thread)
{
    const gate_job *job = arg;
    const mgk_row_split *s = &job->split;
    (void)thread;
    float *sum = MGK_F(job->a->d_gate) + (s->first_sample + sample) * job->a->d_gate_stride;
    for (int64_t c = 0; c < s->chunks; c++) {
        const float *part = job->parts + (sample * s->chunks + c) * job->part;
        MGK_EACH_VECTOR(i, job->a->dim, { v_out(sum + i, v_in(sum + i) + v_in(part + i)); });
    }
}

MGK_LAUNCH(gated_residual_grad)
{
    gate_job job = {.a = args};
    const mgk_pointwise_args *a = args;
    if (a->rows == 0 || a->dim == 0)
        return;
    job.split = mgk_split_rows_from(a->rows, a->row_offset, a->rows_per_sample, a->dim);
    job.part = mgk_pad16(a->dim);
    job.column = mgk_gate_column(a->dim);
    job.room = x->workspace;
    if (job.split.chunks > 1 && a->d_gate.p)
        job.parts = job.room + mgi_pool_threads(x->pool) * GATE_COLUMNS * job.column;
    mgk_for(x, job.split.blocks, a->rows * a->dim, gate_grad_block, &job);
    if (job.parts)
        mgk_for(x, job.split.blocks / job.split.chunks, job.split.blocks * a->dim,
                gate_combine_block, &job);
}

/* -- channel_affine and add_rows -------------------------------------------------------------- */

/* y[i] = x[i] * scale[j] + shift[j], j = (i + skip) % width. Short patterns are repeated 16 times, so
 * that vectors fit. */
enum { SHORT_PATTERN = 64 };

typedef struct pattern_job {
    const mgk_pointwise_args *a;
    const float *scale, *shift; /* scale NULL: 1 */
    int64_t width, skip, count;
    int32_t stream;
    float room[2][16 * SHORT_PATTERN];
} pattern_job;

MGK_INLINE void pattern_loop(const pattern_job *job, int64_t at, int64_t end, int32_t type)
{
    while (at < end) {
        int64_t column = (at + job->skip) % job->width;
        int64_t n = mgk_min(job->width - column, end - at);
        const float *shift = job->shift + column;
        v_real in = v_from(job->a->x, at, type), out = v_from(job->a->y, at, type);
        out.stream = job->stream;
        if (job->scale) {
            const float *scale = job->scale + column;
            MGK_EACH_VECTOR(
                i, n, { v_put(out, i, v_fma(v_get(in, i), v_in(scale + i), v_in(shift + i))); });
        } else {
            MGK_EACH_VECTOR(i, n, { v_put(out, i, v_get(in, i) + v_in(shift + i)); });
        }
        at += n;
    }
    v_stream_end(job->stream);
}

static void pattern_block(void *arg, int64_t block, int thread)
{
    const pattern_job *job = arg;
    (void)thread;
    int64_t end = block_end(job->count, block);
    V_BY_DTYPE(job->a->x.dtype, pattern_loop, job, block * MGK_BLOCK_ELEMENTS, end);
}

static void run_pattern(mgk_exec *x, const mgk_pointwise_args *a, const float *scale,
                        const float *shift, int64_t width, int64_t skip)
{
    pattern_job job;
    job.a = a;
    job.scale = scale;
    job.shift = shift;
    job.width = width;
    job.skip = skip;
    job.count = a->rows * a->dim;
    if (job.count == 0)
        return;
    if (width < SHORT_PATTERN) {
        for (int64_t i = 0; i < 16 * width; i++) {
            job.room[0][i] = scale ? scale[i % width] : 1;
            job.room[1][i] = shift[i % width];
        }
        job.scale = scale ? job.room[0] : NULL;
        job.shift = job.room[1];
        job.width = 16 * width;
    }
    /* Runs of the pattern begin on cache lines if it is made of rows that do. */
    job.stream = mgk_streams(a->y, a->rows, a->dim);
    mgk_for(x, mgk_div_up(job.count, MGK_BLOCK_ELEMENTS), job.count, pattern_block, &job);
}

MGK_LAUNCH(channel_affine)
{
    const mgk_pointwise_args *a = args;
    run_pattern(x, a, MGK_F(a->scale), MGK_F(a->shift), a->dim, 0);
}

MGK_LAUNCH(add_rows)
{
    const mgk_pointwise_args *a = args;
    run_pattern(x, a, NULL, MGK_F(a->table), a->period * a->dim,
                a->row_offset % a->period * a->dim);
}
