/* SPDX-License-Identifier: MIT
 * Frames as CLIP's image tower takes them. Along each side an output pixel is a weighted sum of input pixels: a
 * product with a matrix of weights, most of them 0. */
#include "model/clip_vision.h"

#include "core/alloc.h"

#include <math.h>

/* A side of a frame that becomes `whole` pixels, of which `to` are kept, from `skip` on. */
typedef struct side {
    int64_t from, whole, skip, to;
} side;

/* The cubic through four points, a = -1/2. */
static double cubic(double x)
{
    x = fabs(x);
    if (x < 1.0)
        return (1.5 * x - 2.5) * x * x + 1.0;
    return x < 2.0 ? ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 : 0.0;
}

/* w (to,from): output i lies at (i + 1/2) scale; inputs that are two or less of the coarser pixels away have weight. */
static void make_weights(const side *s, float *w)
{
    double scale = (double)s->from / (double)s->whole, wide = scale > 1.0 ? scale : 1.0;
    for (int64_t i = 0; i < s->to; i++, w += s->from) {
        double centre = ((double)(i + s->skip) + 0.5) * scale, sum = 0.0;
        int64_t first = (int64_t)(centre - 2.0 * wide + 0.5),
                end = (int64_t)(centre + 2.0 * wide + 0.5);
        first = first > 0 ? first : 0;
        end = end < s->from ? end : s->from;
        for (int64_t k = first; k < end; k++)
            sum += cubic(((double)k - centre + 0.5) / wide);
        for (int64_t k = first; k < end; k++)
            w[k] = (float)(cubic(((double)k - centre + 0.5) / wide) / sum);
    }
}

/* What is added before rounding to the nearest byte, which takes halves to even ones: they go up, also if the sums of f32
 * are a little less. More would move other values. */
static const float halves_up = 1.0f / 32768.0f;

/* x (...,from) u8 -> (...,to) u8, rounded. */
static T *resize_side(mgi_run *run, T *x, const side *s)
{
    float *weights;
    if (!x || !mgi_ok(run, mgi_alloc_zero(run->ctx, (size_t)(s->to * s->from), sizeof *weights,
                                          &weights)))
        return NULL;
    T *w = mgi_new(run, MGK_F32, MGI_DIMS(s->to, s->from));
    if (w) {
        make_weights(s, weights);
        mgi_tensor_write(w, 0, weights, w->count);
    }
    mgi_free(run->ctx, weights);
    x = mgi_linear(run, mgi_convert(run, x, MGK_F32, 1.0f, 0.0f), w, NULL);
    return mgi_convert(run, x, MGK_U8, 1.0f, halves_up);
}

/* (N,H,W,3) bytes -> (N,image,image,3) bytes. */
static T *resize(mgi_run *run, T *x, int64_t image)
{
    static const int32_t rows[] = {0, 3, 1, 2}, columns[] = {0, 1, 3, 2}, pixels[] = {0, 3, 2, 1};
    int64_t h = x->dims[1], w = x->dims[2], shorter = h < w ? h : w;
    side down = {.from = h, .whole = image * h / shorter, .to = image},
         across = {.from = w, .whole = image * w / shorter, .to = image};
    down.skip = (down.whole - image) / 2;
    across.skip = (across.whole - image) / 2;
    if (h == image && w == image)
        return x;
    x = resize_side(run, mgi_permute(run, x, rows), &across);  /* (N,3,H,image) */
    x = resize_side(run, mgi_permute(run, x, columns), &down); /* (N,3,image,image), turned */
    return mgi_permute(run, x, pixels);
}

/* Bytes as the network takes them. */
static T *normalise(mgi_run *run, const mgi_clip_vision_config *c, T *x)
{
    float scale[3], shift[3];
    T *by = mgi_new(run, MGK_F32, MGI_DIMS(3)), *plus = mgi_new(run, MGK_F32, MGI_DIMS(3));
    if (!by || !plus)
        return NULL;
    for (int i = 0; i < 3; i++) {
        scale[i] = 1.0f / (255.0f * c->deviation[i]);
        shift[i] = -c->mean[i] / c->deviation[i];
    }
    mgi_tensor_write(by, 0, scale, 3);
    mgi_tensor_write(plus, 0, shift, 3);
    return mgi_channel_affine(run, mgi_convert(run, x, MGK_F32, 1.0f, 0.0f), by, plus);
}

T *mgi_clip_vision_frames(mgi_run *run, const mgi_clip_vision *clip, T *frames)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run,
                     frames && frames->rank == 4 && frames->count > 0 && frames->dims[3] == 3 &&
                         (frames->dtype == MGK_U8 || frames->dtype == MGK_F32),
                     "clip_vision: frames are not (N,H,W,3) of u8 or f32"))
        return NULL;
    int64_t mark = mgi_scope_push(run);
    T *x = frames->dtype == MGK_U8 ? frames : mgi_convert(run, frames, MGK_U8, 127.5f, 127.5f);
    x = x ? resize(run, x, clip->config.image) : NULL;
    return mgi_scope_pop(run, mark, normalise(run, &clip->config, x));
}
