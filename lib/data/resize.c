/* SPDX-License-Identifier: MIT */
#include "data/resize.h"

#include "core/alloc.h"
#include "core/checked.h"

#include <math.h>
#include <string.h>

/* Of an input pixel whose centre is `far` from that of an output pixel, which is `scale` wide: how much of
 * it is covered; or the height of a triangle. */
static double weight_at(mgi_resize_kind kind, double far, double scale, double reach)
{
    double covered = reach - far, most = scale < 1.0 ? scale : 1.0;
    if (kind == MGI_RESIZE_LINEAR)
        return far < reach ? 1.0 - far / reach : 0.0;
    return covered < 0.0 ? 0.0 : covered < most ? covered : most;
}

/* Outputs cover the inputs [begin, begin + span). */
static mgen_status side_init(mgi_resize_side *s, mgen_context *ctx, int64_t from, int64_t to,
                             double begin, double span, mgi_resize_kind kind)
{
    double scale = span / (double)to, reach = scale > 1.0 ? scale : 1.0;
    int64_t count;
    if (kind == MGI_RESIZE_AREA)
        reach = 0.5 + 0.5 * scale;
    s->from = from;
    s->to = to;
    s->taps = (int64_t)(2.0 * reach) + 2;
    s->taps = s->taps < from ? s->taps : from;
    if (!mgi_i64_mul(to, s->taps, &count))
        return mgi_fail(ctx, MGEN_E_INVALID, "frames of %lld pixels cannot become %lld",
                        (long long)from, (long long)to);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)to, sizeof(*s->first), &s->first));
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof(*s->weight), &s->weight));
    for (int64_t i = 0; i < to; i++) {
        double centre = begin + ((double)i + 0.5) * scale - 0.5, sum = 0.0;
        int64_t first = (int64_t)ceil(centre - reach);
        first = first < 0 ? 0 : first;
        first = first > from - s->taps ? from - s->taps : first;
        float *w = s->weight + i * s->taps;
        for (int64_t k = 0; k < s->taps; k++) {
            w[k] = (float)weight_at(kind, fabs((double)(first + k) - centre), scale, reach);
            sum += w[k];
        }
        for (int64_t k = 0; k < s->taps; k++)
            w[k] = (float)(w[k] / sum);
        s->first[i] = (int32_t)first;
    }
    return MGEN_OK;
}

mgen_status mgi_resize_side_init(mgi_resize_side *s, mgen_context *ctx, int64_t from, int64_t to,
                                 mgi_resize_kind kind)
{
    *s = (mgi_resize_side){.first = NULL};
    mgen_status status = side_init(s, ctx, from, to, 0.0, (double)from, kind);
    if (status != MGEN_OK)
        mgi_resize_side_finish(s, ctx);
    return status;
}

void mgi_resize_side_finish(mgi_resize_side *s, mgen_context *ctx)
{
    mgi_free(ctx, s->first);
    mgi_free(ctx, s->weight);
    *s = (mgi_resize_side){.first = NULL};
}

/* Outputs cover w x h pixels in the middle. */
static mgen_status init(mgi_resize *r, mgen_context *ctx, int64_t from_width, int64_t from_height,
                        double w, double h, int64_t width, int64_t height)
{
    const int64_t dims[] = {from_height, width, 3};
    int64_t count = 0;
    *r = (mgi_resize){.ctx = ctx};
    mgen_status status = side_init(&r->x, ctx, from_width, width, 0.5 * ((double)from_width - w), w,
                                   MGI_RESIZE_LINEAR);
    if (status == MGEN_OK)
        status = side_init(&r->y, ctx, from_height, height, 0.5 * ((double)from_height - h), h,
                           MGI_RESIZE_LINEAR);
    if (status == MGEN_OK && !mgi_dims_count(dims, 3, &count))
        status = mgi_fail(ctx, MGEN_E_INVALID, "frames of %lld rows are too large",
                          (long long)from_height);
    if (status == MGEN_OK)
        status = mgi_alloc_zero(ctx, (size_t)count, sizeof(*r->rows), &r->rows);
    if (status != MGEN_OK)
        mgi_resize_finish(r);
    return status;
}

mgen_status mgi_resize_init(mgi_resize *r, mgen_context *ctx, int64_t from_width,
                            int64_t from_height, int64_t width, int64_t height)
{
    double across = (double)from_width / (double)width, down = (double)from_height / (double)height;
    double scale = across < down ? across : down; /* of the part that is kept */
    return init(r, ctx, from_width, from_height, scale * (double)width, scale * (double)height,
                width, height);
}

mgen_status mgi_resize_init_whole(mgi_resize *r, mgen_context *ctx, int64_t from_width,
                                  int64_t from_height, int64_t width, int64_t height)
{
    return init(r, ctx, from_width, from_height, (double)from_width, (double)from_height, width,
                height);
}

/* A side's weights reach two inputs for each output, or twice the shrinking. */
static int64_t side_bytes(int64_t from, int64_t to)
{
    int64_t taps = 2 * (from / to + 1) + 2;
    return to * ((taps < from ? taps : from) * (int64_t)sizeof(float) + (int64_t)sizeof(int32_t));
}

int64_t mgi_resize_bytes(int64_t from_width, int64_t from_height, int64_t width, int64_t height)
{
    return side_bytes(from_width, width) + side_bytes(from_height, height) +
           from_height * width * 3 * (int64_t)sizeof(float);
}

void mgi_resize_finish(mgi_resize *r)
{
    if (!r->ctx)
        return;
    mgi_resize_side_finish(&r->x, r->ctx);
    mgi_resize_side_finish(&r->y, r->ctx);
    mgi_free(r->ctx, r->rows);
    *r = (mgi_resize){.ctx = NULL};
}

static void across_row(const mgi_resize_side *s, const uint8_t *from, float *to)
{
    for (int64_t i = 0; i < s->to; i++, to += 3) {
        const uint8_t *p = from + 3 * (int64_t)s->first[i];
        const float *w = s->weight + i * s->taps;
        to[0] = to[1] = to[2] = 0.0f;
        for (int64_t k = 0; k < s->taps; k++, p += 3)
            for (int c = 0; c < 3; c++)
                to[c] += w[k] * (float)p[c];
    }
}

void mgi_resize_frame(mgi_resize *r, const uint8_t *from, uint8_t *to)
{
    const mgi_resize_side *s = &r->y;
    int64_t row = 3 * r->x.to;
    if (r->x.from == r->x.to && s->from == s->to) {
        memcpy(to, from, (size_t)(row * s->to));
        return;
    }
    for (int64_t y = 0; y < s->from; y++)
        across_row(&r->x, from + 3 * y * r->x.from, r->rows + y * row);
    for (int64_t y = 0; y < s->to; y++) {
        const float *above = r->rows + (int64_t)s->first[y] * row, *w = s->weight + y * s->taps;
        for (int64_t i = 0; i < row; i++) {
            float sum = 0.5f;
            for (int64_t k = 0; k < s->taps; k++)
                sum += w[k] * above[k * row + i];
            to[y * row + i] = (uint8_t)(sum < 255.0f ? sum : 255.0f);
        }
    }
}

void mgi_resize_floats(const mgi_resize_side *x, const mgi_resize_side *y, const float *from,
                       float *rows, float *to)
{
    int64_t row = 3 * x->to;
    for (int64_t j = 0; j < y->from; j++)
        for (int64_t i = 0; i < x->to; i++) {
            const float *p = from + 3 * (j * x->from + x->first[i]), *w = x->weight + i * x->taps;
            float sum[3] = {0.0f, 0.0f, 0.0f};
            for (int64_t k = 0; k < x->taps; k++, p += 3)
                for (int c = 0; c < 3; c++)
                    sum[c] += w[k] * p[c];
            memcpy(rows + j * row + 3 * i, sum, sizeof(sum));
        }
    for (int64_t j = 0; j < y->to; j++) {
        const float *above = rows + (int64_t)y->first[j] * row, *w = y->weight + j * y->taps;
        for (int64_t i = 0; i < row; i++) {
            float sum = 0.0f;
            for (int64_t k = 0; k < y->taps; k++)
                sum += w[k] * above[k * row + i];
            to[j * row + i] = sum;
        }
    }
}
