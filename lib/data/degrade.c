/* SPDX-License-Identifier: MIT */
#include "data/degrade.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/philox.h"
#include "core/pool.h"
#include "data/degrade_parts.h"
#include "data/resize.h"

#include <math.h>
#include <string.h>

enum {
    SIDE_MAX = 16384,
    COUNT_MAX = 1 << 20, /* frames */
    /* A frame's noise of one pass has 2^34 counters, above those of parameters: more than it takes for
     * 3 x (2 x SIDE_MAX)^2 numbers, four a counter. */
    NOISE_SHIFT = 34
};

/* ---- what is drawn -------------------------------------------------------------------------------- */

static const mgi_degrade_options defaults = {
    .clean = 0.1f,
    .ringing = 0.4f,
    .jpeg_last = 0.5f,
    .cutoff = {0.6f, 1.0f},
    .pass =
        {
            {
                .blur = 0.8f,
                .anisotropic = 0.4f,
                .resize = 0.8f,
                .area = 0.5f,
                .noise = 0.6f,
                .shot = 0.4f,
                .grey = 0.4f,
                .jpeg = 0.7f,
                .halved = 0.5f,
                .sigma = {0.2f, 1.2f},
                .factor = {0.6f, 1.2f},
                .deviation = {1.0f, 8.0f},
                .photons = {400.0f, 4000.0f},
                .quality = {50.0f, 95.0f},
            },
            {
                .blur = 0.5f,
                .anisotropic = 0.4f,
                .resize = 0.8f,
                .area = 0.5f,
                .noise = 0.4f,
                .shot = 0.4f,
                .grey = 0.4f,
                .jpeg = 0.7f,
                .halved = 0.5f,
                .sigma = {0.2f, 0.8f},
                .factor = {0.75f, 1.2f},
                .deviation = {1.0f, 5.0f},
                .photons = {1000.0f, 8000.0f},
                .quality = {55.0f, 95.0f},
            },
        },
};

static mgen_status chance(mgen_context *ctx, const char *name, float *value, float otherwise)
{
    if (*value == 0.0f)
        *value = otherwise;
    if (*value <= 1.0f)
        return MGEN_OK;
    return mgi_fail(
        ctx, MGEN_E_INVALID,
        "degradation: the chance '%s' is %g; it must be at most 1, and is below 0 for never", name,
        (double)*value);
}

static mgen_status range(mgen_context *ctx, const char *name, mgi_degrade_range *r,
                         mgi_degrade_range otherwise, float low, float high)
{
    if (r->low == 0.0f && r->high == 0.0f)
        *r = otherwise;
    if (r->low >= low && r->low <= r->high && r->high <= high)
        return MGEN_OK;
    return mgi_fail(
        ctx, MGEN_E_INVALID,
        "degradation: '%s' is %g to %g; it must lie within %g to %g, the lower end first", name,
        (double)r->low, (double)r->high, (double)low, (double)high);
}

static mgen_status complete(mgen_context *ctx, mgi_degrade_options *o)
{
    const mgi_degrade_options *d = &defaults;
    MGI_TRY(chance(ctx, "clean", &o->clean, d->clean));
    MGI_TRY(chance(ctx, "ringing", &o->ringing, d->ringing));
    MGI_TRY(range(ctx, "cutoff", &o->cutoff, d->cutoff, 0.1f, 1.0f));
    MGI_TRY(chance(ctx, "jpeg_last", &o->jpeg_last, d->jpeg_last));
    for (int i = 0; i < 2; i++) {
        mgi_degrade_pass *p = &o->pass[i];
        const mgi_degrade_pass *q = &d->pass[i];
        MGI_TRY(chance(ctx, "blur", &p->blur, q->blur));
        MGI_TRY(chance(ctx, "anisotropic", &p->anisotropic, q->anisotropic));
        MGI_TRY(range(ctx, "sigma", &p->sigma, q->sigma, 0.05f, 8.0f));
        MGI_TRY(chance(ctx, "resize", &p->resize, q->resize));
        MGI_TRY(range(ctx, "factor", &p->factor, q->factor, 0.1f, 2.0f));
        MGI_TRY(chance(ctx, "area", &p->area, q->area));
        MGI_TRY(chance(ctx, "noise", &p->noise, q->noise));
        MGI_TRY(chance(ctx, "shot", &p->shot, q->shot));
        MGI_TRY(chance(ctx, "grey", &p->grey, q->grey));
        MGI_TRY(range(ctx, "deviation", &p->deviation, q->deviation, 0.0f, 255.0f));
        MGI_TRY(range(ctx, "photons", &p->photons, q->photons, 1.0f, 1e6f));
        MGI_TRY(chance(ctx, "jpeg", &p->jpeg, q->jpeg));
        MGI_TRY(chance(ctx, "halved", &p->halved, q->halved));
        MGI_TRY(range(ctx, "quality", &p->quality, q->quality, 1.0f, 100.0f));
    }
    return MGEN_OK;
}

/* Random numbers of a clip by what they decide, and of its second pass PASS_LOTS later. */
enum {
    LOT_BLUR,
    LOT_ANISOTROPIC,
    LOT_SIGMA,
    LOT_SIGMA_ACROSS,
    LOT_ANGLE,
    LOT_RESIZE,
    LOT_FACTOR,
    LOT_AREA,
    LOT_NOISE,
    LOT_SHOT,
    LOT_GREY,
    LOT_DEVIATION,
    LOT_PHOTONS,
    LOT_JPEG,
    LOT_HALVED,
    LOT_QUALITY,
    PASS_LOTS,
    LOT_CLEAN = 2 * PASS_LOTS,
    LOT_RINGING,
    LOT_CUTOFF,
    LOT_JPEG_LAST,
    LOT_LOW_AREA
};

static double unit(uint64_t key, int lot)
{
    return (double)mgi_random_unit(key, MGI_STREAM_DEGRADE, (uint64_t)lot);
}

static double between(uint64_t key, int lot, mgi_degrade_range r)
{
    return (double)r.low + unit(key, lot) * ((double)r.high - (double)r.low);
}

/* Of ratios: twice as much is as likely as half as much. */
static double between_ratios(uint64_t key, int lot, mgi_degrade_range r)
{
    return (double)r.low * pow((double)r.high / (double)r.low, unit(key, lot));
}

static int64_t scaled(int64_t side, double factor)
{
    int64_t n = (int64_t)floor(factor * (double)side + 0.5);
    return n < 1 ? 1 : n;
}

static void draw_pass(const mgi_degrade_pass *p, uint64_t key, int lots, int64_t width,
                      int64_t height, mgi_degrade_step *out)
{
    if (unit(key, lots + LOT_BLUR) < p->blur) {
        out->sigma[0] = out->sigma[1] = (float)between(key, lots + LOT_SIGMA, p->sigma);
        if (unit(key, lots + LOT_ANISOTROPIC) < p->anisotropic) {
            out->sigma[1] = (float)between(key, lots + LOT_SIGMA_ACROSS, p->sigma);
            out->angle = (float)(3.14159265358979 * unit(key, lots + LOT_ANGLE));
        }
    }
    if (unit(key, lots + LOT_RESIZE) < p->resize) {
        double factor = between_ratios(key, lots + LOT_FACTOR, p->factor);
        out->width = scaled(width, factor);
        out->height = scaled(height, factor);
    }
    out->area = unit(key, lots + LOT_AREA) < p->area;
    if (unit(key, lots + LOT_NOISE) < p->noise) {
        if (unit(key, lots + LOT_SHOT) < p->shot)
            out->photons = (float)between_ratios(key, lots + LOT_PHOTONS, p->photons);
        else
            out->deviation = (float)between(key, lots + LOT_DEVIATION, p->deviation);
        out->grey = unit(key, lots + LOT_GREY) < p->grey;
    }
    if (unit(key, lots + LOT_JPEG) < p->jpeg) {
        out->quality = (int)floor(between(key, lots + LOT_QUALITY, p->quality) + 0.5);
        out->halved = unit(key, lots + LOT_HALVED) < p->halved;
    }
}

mgen_status mgi_degrade_draw_clip(mgen_context *ctx, const mgi_degrade_options *options,
                                  uint64_t seed, uint64_t element, const mgi_degrade_sizes *s,
                                  mgi_degrade_draw *out)
{
    mgi_degrade_options o = options ? *options : defaults;
    uint32_t r[4];
    MGI_TRY(complete(ctx, &o));
    if (s->low_width < 1 || s->low_height < 1 || s->width > SIDE_MAX || s->height > SIDE_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "degradation of %lld x %lld pixels to %lld x %lld: sides must be 1 to %d",
                        (long long)s->width, (long long)s->height, (long long)s->low_width,
                        (long long)s->low_height, SIDE_MAX);
    if (s->low_width > s->width || s->low_height > s->height)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "degradation of %lld x %lld pixels to %lld x %lld: it cannot enlarge a clip",
            (long long)s->width, (long long)s->height, (long long)s->low_width,
            (long long)s->low_height);
    mgi_philox(seed, MGI_STREAM_DEGRADE, element, r);
    uint64_t key = (uint64_t)r[1] << 32 | r[0];
    *out = (mgi_degrade_draw){.area = true, .noise = key};
    out->pass[0].width = out->pass[1].width = s->width;
    out->pass[0].height = out->pass[1].height = s->height;
    if (unit(key, LOT_CLEAN) < o.clean)
        return MGEN_OK;
    draw_pass(&o.pass[0], key, 0, s->width, s->height, &out->pass[0]);
    out->pass[1].width = out->pass[0].width;
    out->pass[1].height = out->pass[0].height;
    draw_pass(&o.pass[1], key, PASS_LOTS, s->low_width, s->low_height, &out->pass[1]);
    out->area = unit(key, LOT_LOW_AREA) < o.pass[1].area;
    if (unit(key, LOT_RINGING) < o.ringing)
        out->cutoff = (float)between(key, LOT_CUTOFF, o.cutoff);
    out->jpeg_last = unit(key, LOT_JPEG_LAST) < o.jpeg_last;
    return MGEN_OK;
}

/* ---- a clip --------------------------------------------------------------------------------------- */

typedef struct work {
    mgi_degrade_draw draw;
    mgi_degrade_kernel blur[2], ringing;
    mgi_degrade_jpeg jpeg[2];
    int64_t width[4], height[4]; /* at first, after each pass, in the end */
    mgi_resize_side x[3], y[3];  /* to the next of these, where it differs */
    const uint8_t *frames;
    uint8_t *low;
    float *scratch;
    int64_t each; /* floats of a buffer: a thread has three */
} work;

static void swap(float **a, float **b)
{
    float *t = *a;
    *a = *b;
    *b = t;
}

/* From size i to the next. */
static void resize(const work *w, int i, float **now, float **next, float *rows)
{
    if (!w->x[i].first)
        return;
    mgi_resize_floats(&w->x[i], &w->y[i], *now, rows, *next);
    swap(now, next);
}

static void degrade_frame(void *arg, int64_t frame, int thread)
{
    const work *w = arg;
    const mgi_degrade_draw *d = &w->draw;
    float *now = w->scratch + 3 * w->each * thread, *next = now + w->each, *aside = next + w->each;
    int64_t count = 3 * w->width[0] * w->height[0], low = 3 * w->width[3] * w->height[3];
    for (int64_t i = 0; i < count; i++)
        now[i] = (float)w->frames[frame * count + i];
    for (int i = 0; i < 2; i++) {
        const mgi_degrade_step *s = &d->pass[i];
        if (w->blur[i].radius) {
            mgi_degrade_convolve(&w->blur[i], now, w->width[i], w->height[i], aside, next);
            swap(&now, &next);
        }
        resize(w, i, &now, &next, aside);
        if (s->deviation > 0.0f || s->photons > 0.0f)
            mgi_degrade_noise(s, d->noise, (uint64_t)(1 + 2 * frame + i) << NOISE_SHIFT, now,
                              s->width * s->height);
        if (s->quality && !(i == 1 && d->jpeg_last))
            mgi_degrade_compress(&w->jpeg[i], s->halved, now, s->width, s->height, aside);
    }
    resize(w, 2, &now, &next, aside);
    if (w->ringing.radius) {
        mgi_degrade_convolve(&w->ringing, now, w->width[3], w->height[3], aside, next);
        swap(&now, &next);
    }
    if (d->pass[1].quality && d->jpeg_last)
        mgi_degrade_compress(&w->jpeg[1], d->pass[1].halved, now, w->width[3], w->height[3], aside);
    for (int64_t i = 0; i < low; i++)
        w->low[frame * low + i] = (uint8_t)(now[i] + 0.5f);
}

static mgen_status prepare(work *w, mgen_context *ctx, const mgi_degrade_sizes *sizes)
{
    const mgi_degrade_draw *d = &w->draw;
    const int64_t width[] = {sizes->width, d->pass[0].width, d->pass[1].width, sizes->low_width};
    const int64_t height[] = {sizes->height, d->pass[0].height, d->pass[1].height,
                              sizes->low_height};
    int64_t wide = 0, high = 0, margin = MGI_DEGRADE_MARGIN, floats;
    for (int i = 0; i < 2; i++) {
        if (d->pass[i].sigma[0] > 0.0f)
            mgi_degrade_blur(&w->blur[i], d->pass[i].sigma, d->pass[i].angle);
        if (d->pass[i].quality)
            mgi_degrade_jpeg_init(&w->jpeg[i], d->pass[i].quality);
        margin += 2 * w->blur[i].radius;
    }
    if (d->cutoff > 0.0f)
        mgi_degrade_ringing(&w->ringing, d->cutoff);
    margin += 2 * w->ringing.radius;
    for (int i = 0; i < 4; i++) {
        w->width[i] = width[i];
        w->height[i] = height[i];
        wide = width[i] > wide ? width[i] : wide;
        high = height[i] > high ? height[i] : high;
    }
    for (int i = 0; i < 3; i++) {
        bool area = i < 2 ? d->pass[i].area : d->area;
        if (width[i] == width[i + 1] && height[i] == height[i + 1])
            continue;
        /* Means of areas would make squares of pixels where a side grows. */
        mgi_resize_kind x = area && width[i + 1] < width[i] ? MGI_RESIZE_AREA : MGI_RESIZE_LINEAR;
        mgi_resize_kind y = area && height[i + 1] < height[i] ? MGI_RESIZE_AREA : MGI_RESIZE_LINEAR;
        MGI_TRY(mgi_resize_side_init(&w->x[i], ctx, width[i], width[i + 1], x));
        MGI_TRY(mgi_resize_side_init(&w->y[i], ctx, height[i], height[i + 1], y));
    }
    const int64_t dims[] = {3, wide + margin, high + margin, 3, mgi_pool_threads(ctx->pool)};
    if (!mgi_dims_count(dims, 3, &w->each) || !mgi_dims_count(dims, 5, &floats))
        return mgi_fail(ctx, MGEN_E_INVALID, "degradation: frames of %lld x %lld are too large",
                        (long long)sizes->width, (long long)sizes->height);
    return mgi_alloc_zero(ctx, (size_t)floats, sizeof(*w->scratch), &w->scratch);
}

mgen_status mgi_degrade_clip(mgen_context *ctx, const mgi_degrade_options *options, uint64_t seed,
                             uint64_t element, const uint8_t *frames, int64_t count, int64_t width,
                             int64_t height, int64_t low_width, int64_t low_height, uint8_t *low)
{
    const mgi_degrade_sizes sizes = {width, height, low_width, low_height};
    mgi_degrade_draw draw;
    work *w;
    MGI_TRY(mgi_degrade_draw_clip(ctx, options, seed, element, &sizes, &draw));
    if (count < 1 || count > COUNT_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "degradation of %lld frames; it must be 1 to %d",
                        (long long)count, COUNT_MAX);
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof(*w), &w));
    w->draw = draw;
    w->frames = frames;
    w->low = low;
    mgen_status status = prepare(w, ctx, &sizes);
    if (status == MGEN_OK)
        mgi_pool_run(ctx->pool, count, degrade_frame, w);
    for (int i = 0; i < 3; i++) {
        mgi_resize_side_finish(&w->x[i], ctx);
        mgi_resize_side_finish(&w->y[i], ctx);
    }
    mgi_free(ctx, w->scratch);
    mgi_free(ctx, w);
    return status;
}
