/* SPDX-License-Identifier: MIT
 * pad and pad_grad in vectors; included once a variant. A task is a line of y, or of x. */
#include "kernels/common/real_simd.h"
#include "kernels/layout/layout_types.h"
#include "kernels/layout/pad.h"

/* Bytes that repeat one pixel. */
static void repeat_pixel(char *to, const char *pixel, int64_t times, int64_t bytes)
{
    for (int64_t i = 0; i < times; i++)
        v_copy(to + i * bytes, pixel, bytes);
}

/* `line` counts over n, t' and h'. */
static void pad_line(void *arg, int64_t line, int thread)
{
    const mgk_pad_args *a = arg;
    const int64_t tall = a->before[1] + a->h + a->after[1],
                  pixel = a->c * mgk_move_size(a->x.dtype);
    const int64_t deep = a->before[0] + a->t + a->after[0];
    const int64_t wide = a->before[2] + a->w + a->after[2], left = a->before[2] * pixel;
    const bool replicate = a->mode == MGK_BORDER_REPLICATE;
    int64_t h = line % tall - a->before[1], t = line / tall % deep - a->before[0];
    char *y = (char *)a->y.p + line * wide * pixel;
    (void)thread;
    if (replicate) {
        h = mgk_max(0, mgk_min(h, a->h - 1));
        t = mgk_max(0, mgk_min(t, a->t - 1));
    } else if (h < 0 || h >= a->h || t < 0 || t >= a->t) {
        memset(y, 0, (size_t)(wide * pixel));
        return;
    }
    const int64_t inside = a->w * pixel;
    const char *x = (const char *)a->x.p + ((line / tall / deep * a->t + t) * a->h + h) * inside;
    if (replicate) {
        repeat_pixel(y, x, a->before[2], pixel);
        repeat_pixel(y + left + inside, x + inside - pixel, a->after[2], pixel);
    } else {
        memset(y, 0, (size_t)left);
        memset(y + left + inside, 0, (size_t)(a->after[2] * pixel));
    }
    if (inside > 0)
        v_copy(y + left, x, inside);
}

MGK_LAUNCH(pad)
{
    const mgk_pad_args *a = args;
    int64_t lines =
        a->n * (a->before[0] + a->t + a->after[0]) * (a->before[1] + a->h + a->after[1]);
    int64_t values = (a->before[2] + a->w + a->after[2]) * a->c;
    if (values > 0)
        mgk_for(x, lines, lines * values, pad_line, (void *)args);
}

/* Where an index of x stands in y: more than once only at an edge that is replicated. */
typedef struct range {
    int64_t first, end;
} range;

static range places(const mgk_pad_args *a, int axis, int64_t at, int64_t extent)
{
    const bool replicate = a->mode == MGK_BORDER_REPLICATE;
    range r = {a->before[axis] + at, a->before[axis] + at + 1};
    if (replicate && at == 0)
        r.first = 0;
    if (replicate && at == extent - 1)
        r.end += a->after[axis];
    return r;
}

typedef struct source {
    range t, h;
    int64_t item, deep, tall, wide; /* extents of y */
} source;

/* Pixels first .. end - 1 of the line, each from the columns `left` pixels before it .. `right`
 * behind. */
MGK_INLINE void sum_pixels(const mgk_pad_args *a, const source *s, v_real dx, int64_t first,
                           int64_t end, int64_t left, int64_t right, int32_t dtype)
{
    const bool add = a->accumulate;
    const int64_t c = a->c;
    MGK_EACH_VECTOR(i, (end - first) * c, {
        vf sum = add ? v_get(dx, first * c + i) : v_set(0);
        for (int64_t t = s->t.first; t < s->t.end; t++)
            for (int64_t h = s->h.first; h < s->h.end; h++) {
                int64_t line = (s->item * s->deep + t) * s->tall + h;
                int64_t at = (line * s->wide + a->before[2] + first) * c + i;
                const v_real dy = v_from(a->y, 0, dtype);
                for (int64_t k = -left; k <= right; k++)
                    sum += v_get(dy, at + k * c);
            }
        v_put(dx, first * c + i, sum);
    });
}

/* `line` counts over n, t and h. */
MGK_INLINE void grad_line(const mgk_pad_args *a, int64_t line, int32_t dtype)
{
    const int64_t w = a->w;
    const source s = {.t = places(a, 0, line / a->h % a->t, a->t),
                      .h = places(a, 1, line % a->h, a->h),
                      .item = line / a->h / a->t,
                      .deep = a->before[0] + a->t + a->after[0],
                      .tall = a->before[1] + a->h + a->after[1],
                      .wide = a->before[2] + w + a->after[2]};
    const v_real dx = v_from(a->x, line * w * a->c, dtype);
    const bool replicate = a->mode == MGK_BORDER_REPLICATE;
    const int64_t left = replicate ? a->before[2] : 0, right = replicate ? a->after[2] : 0;
    if (w == 1) {
        sum_pixels(a, &s, dx, 0, 1, left, right, dtype);
        return;
    }
    sum_pixels(a, &s, dx, 0, 1, left, 0, dtype);
    sum_pixels(a, &s, dx, 1, w - 1, 0, 0, dtype);
    sum_pixels(a, &s, dx, w - 1, w, 0, right, dtype);
}

static void grad_block(void *arg, int64_t line, int thread)
{
    const mgk_pad_args *a = arg;
    (void)thread;
    V_BY_DTYPE(a->x.dtype, grad_line, a, line);
}

MGK_LAUNCH(pad_grad)
{
    const mgk_pad_args *a = args;
    int64_t lines = a->n * a->t * a->h;
    if (a->w * a->c > 0)
        mgk_for(x, lines, lines * a->w * a->c, grad_block, (void *)args);
}
