/* SPDX-License-Identifier: MIT
 * The resizing ops on vectors; included once a variant. */
#include "kernels/common/real_simd.h"
#include "kernels/resize/resize.h"
#include "kernels/resize/resize_workspace.h"

/* --- whole factors: a task is one input line (n, h) --- */

/* Builds the first of the fh output lines, then copies it. */
static void enlarge_line(void *arg, int64_t line, int thread)
{
    const mgk_resize_args *a = arg;
    (void)thread;
    int64_t size = mgk_real_size(a->x.dtype), pixel = a->c * size, wide = a->w * a->fw * pixel;
    const char *in = (const char *)a->x.p + line * a->w * pixel;
    char *first = (char *)a->y.p + line * a->fh * wide, *out = first;
    for (int64_t j = 0; j < a->w; j++, in += pixel)
        for (int64_t f = 0; f < a->fw; f++, out += pixel)
            v_copy(out, in, pixel);
    for (int64_t f = 1; f < a->fh; f++, out += wide)
        memcpy(out, first, (size_t)wide);
}

MGK_LAUNCH(resize_nearest)
{
    const mgk_resize_args *a = args;
    int64_t values = a->w * a->fw * a->c * a->fh;
    if (values > 0)
        mgk_for(x, a->n * a->h, a->n * a->h * values, enlarge_line, (void *)args);
}

MGK_INLINE void reduce_pixels(const mgk_resize_args *a, int64_t line, int32_t dtype)
{
    const int64_t wide = a->w * a->fw * a->c;
    const bool add = a->accumulate;
    for (int64_t j = 0; j < a->w; j++) {
        const v_real dy = v_from(a->y, line * a->fh * wide + j * a->fw * a->c, dtype);
        const v_real dx = v_from(a->x, (line * a->w + j) * a->c, dtype);
        MGK_EACH_VECTOR(i, a->c, {
            vf sum = add ? v_get(dx, i) : v_set(0);
            for (int64_t u = 0; u < a->fh; u++)
                for (int64_t v = 0; v < a->fw; v++)
                    sum += v_get(dy, u * wide + v * a->c + i);
            v_put(dx, i, sum);
        });
    }
}

static void reduce_line(void *arg, int64_t line, int thread)
{
    const mgk_resize_args *a = arg;
    (void)thread;
    V_BY_DTYPE(a->x.dtype, reduce_pixels, a, line);
}

MGK_LAUNCH(resize_nearest_grad)
{
    const mgk_resize_args *a = args;
    int64_t values = a->w * a->fw * a->c * a->fh;
    if (values > 0)
        mgk_for(x, a->n * a->h, a->n * a->h * values, reduce_line, (void *)args);
}

/* --- bilinear: lines are blended first, over their whole width, then pixels --- */

typedef struct bilinear_job {
    const mgk_resize_args *a;
    mgk_resize_place *places; /* of the output pixels of a line */
    int64_t *first;           /* see mgk_resize_first; w + 1 of them */
    float *lines;
    int64_t line; /* floats between the threads' lines */
} bilinear_job;

static bilinear_job bilinear_begin(const mgk_resize_args *a, void *workspace, int64_t pixels)
{
    bilinear_job job = {.a = a, .places = workspace, .line = mgk_resize_line(pixels, a)};
    job.first = (int64_t *)(job.places + a->ow);
    job.lines = (float *)((char *)workspace + mgk_resize_table_bytes(a));
    int64_t next = 0;
    for (int64_t j = 0; j < a->ow; j++) {
        job.places[j] = mgk_resize_at(j, a->w, a->ow);
        while (next <= job.places[j].low)
            job.first[next++] = j;
    }
    while (next <= a->w)
        job.first[next++] = a->ow;
    return job;
}

/* Pixels of three colours, which would fill no vector: one value at a time. (For bf16 the
 * conversions of vectors win.) */
static void colours(const bilinear_job *job, const float *blend, float *y)
{
    const mgk_resize_place *place = job->places;
    for (int64_t j = 0; j < job->a->ow; j++) {
        const float *left = blend + 3 * place[j].low, *right = blend + 3 * place[j].high;
        const float f = (float)place[j].part;
        for (int k = 0; k < 3; k++)
            y[3 * j + k] = left[k] + f * (right[k] - left[k]);
    }
}

/* `line` counts over n and oh. */
MGK_INLINE void interpolate(const bilinear_job *job, int64_t line, float *blend, int32_t dtype)
{
    const mgk_resize_args *a = job->a;
    const int64_t c = a->c, row = a->w * c, b = line / a->oh * a->h;
    const mgk_resize_place at = mgk_resize_at(line % a->oh, a->h, a->oh);
    const v_real low = v_from(a->x, (b + at.low) * row, dtype);
    const v_real high = v_from(a->x, (b + at.high) * row, dtype);
    const float part = (float)at.part;
    MGK_EACH_VECTOR(i, row, {
        vf upper = v_get(low, i);
        v_out(blend + i, upper + part * (v_get(high, i) - upper));
    });
    if (c == 3 && dtype == MGK_F32) {
        colours(job, blend, MGK_F(a->y) + line * a->ow * c);
        return;
    }
    for (int64_t j = 0; j < a->ow; j++) {
        const float *left = blend + job->places[j].low * c,
                    *right = blend + job->places[j].high * c;
        const float f = (float)job->places[j].part;
        const v_real y = v_from(a->y, (line * a->ow + j) * c, dtype);
        MGK_EACH_VECTOR(i, c, {
            vf v = v_in(left + i);
            v_put(y, i, v + f * (v_in(right + i) - v));
        });
    }
}

static void interpolate_line(void *arg, int64_t line, int thread)
{
    const bilinear_job *job = arg;
    V_BY_DTYPE(job->a->x.dtype, interpolate, job, line, job->lines + thread * job->line);
}

MGK_LAUNCH(resize_bilinear)
{
    const mgk_resize_args *a = args;
    if (a->n * a->oh * a->ow * a->c == 0)
        return;
    bilinear_job job = bilinear_begin(a, x->workspace, a->w);
    mgk_for(x, a->n * a->oh, a->n * a->oh * (a->ow + a->w) * a->c, interpolate_line, &job);
}

/* What the lines of y give to input line i of item b: their sum, weighed. */
MGK_INLINE void gather_lines(const mgk_resize_args *a, int64_t b, int64_t i, float *sum,
                             int32_t dtype)
{
    const int64_t row = a->ow * a->c;
    const int64_t first = mgk_resize_first(i - 1, a->h, a->oh);
    const int64_t end = mgk_resize_first(i + 1, a->h, a->oh);
    memset(sum, 0, sizeof(float) * (size_t)row);
    for (int64_t u = first; u < end; u++) {
        const mgk_resize_place p = mgk_resize_at(u, a->h, a->oh);
        const float share = (float)(p.low == i ? 1 - p.part : p.part);
        const v_real dy = v_from(a->y, (b * a->oh + u) * row, dtype);
        MGK_EACH_VECTOR(k, row, { v_out(sum + k, v_in(sum + k) + share * v_get(dy, k)); });
    }
}

/* `line` counts over n and h. */
MGK_INLINE void spread_back(const bilinear_job *job, int64_t line, float *sum, int32_t dtype)
{
    const mgk_resize_args *a = job->a;
    const int64_t c = a->c;
    const bool add = a->accumulate;
    gather_lines(a, line / a->h, line % a->h, sum, dtype);
    for (int64_t j = 0; j < a->w; j++) {
        const v_real dx = v_from(a->x, (line * a->w + j) * c, dtype);
        const int64_t first = j ? job->first[j - 1] : 0, end = job->first[j + 1];
        MGK_EACH_VECTOR(i, c, {
            vf s = add ? v_get(dx, i) : v_set(0);
            for (int64_t v = first; v < end; v++) {
                const mgk_resize_place *p = &job->places[v];
                s += (float)(p->low == j ? 1 - p->part : p->part) * v_in(sum + v * c + i);
            }
            v_put(dx, i, s);
        });
    }
}

static void spread_line(void *arg, int64_t line, int thread)
{
    const bilinear_job *job = arg;
    V_BY_DTYPE(job->a->x.dtype, spread_back, job, line, job->lines + thread * job->line);
}

MGK_LAUNCH(resize_bilinear_grad)
{
    const mgk_resize_args *a = args;
    if (a->n * a->h * a->w * a->c == 0)
        return;
    bilinear_job job = bilinear_begin(a, x->workspace, a->ow);
    mgk_for(x, a->n * a->h, a->n * (a->h * a->w + 2 * a->oh * a->ow) * a->c, spread_line, &job);
}
