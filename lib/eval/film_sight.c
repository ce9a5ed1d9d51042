/* SPDX-License-Identifier: MIT */
#include "eval/film_sight.h"

#include "core/alloc.h"
#include "tensor/device.h"

#include <math.h>
#include <string.h>

/* Pictures at a time, by their pixels; what sides are cut to multiples of; the weights. */
enum { PIXELS = 1 << 16, SIDE = 8, SEED = 1 };

mgen_status mgi_film_sight_init(mgen_context *ctx, mgi_film_sight *out)
{
    out->dims = 0;
    MGI_TRY(mgi_perceptual_init(&out->net, ctx, "", ""));
    for (int i = 0; i < out->net.stages; i++)
        out->dims += out->net.conv[i][out->net.convs[i] - 1].w->dims[0];
    mgen_status status = mgi_module_random(&out->net.module, SEED);
    if (status != MGEN_OK)
        mgi_film_sight_finish(out);
    return status;
}

void mgi_film_sight_finish(mgi_film_sight *sight)
{
    mgi_perceptual_finish(&sight->net);
}

mgen_status mgi_film_set_init(mgen_context *ctx, const mgi_film_sight *sight, mgi_film_set *out)
{
    memset(out, 0, sizeof *out);
    MGI_TRY(mgi_gaussian_init(ctx, sight->dims, &out->frames));
    mgen_status status = mgi_gaussian_init(ctx, 2 * sight->dims, &out->films);
    if (status != MGEN_OK)
        mgi_film_set_finish(ctx, out);
    return status;
}

void mgi_film_set_finish(mgen_context *ctx, mgi_film_set *set)
{
    mgi_gaussian_finish(ctx, &set->frames);
    mgi_gaussian_finish(ctx, &set->films);
}

typedef struct look {
    const mgi_film_sight *sight;
    const uint8_t *pixels;
    int64_t frames, frame, width; /* how many; values of one; its width */
    int64_t rows, columns;        /* what is seen of one */
    bool differs;                 /* pictures are differences to the frame before */
    float *values;                /* of pictures, and of what a stage makes of them */
    double *vectors;              /* of all pictures of the film */
} look;

/* Frame t in [-1,1], or half its difference to the one before, likewise. */
static void put_picture(const look *l, int64_t t, float *to)
{
    for (int64_t y = 0; y < l->rows; y++) {
        const uint8_t *row = l->pixels + t * l->frame + y * l->width * 3;
        const uint8_t *before = l->differs ? row - l->frame : row;
        for (int64_t k = 0; k < l->columns * 3; k++)
            *to++ =
                l->differs ? (float)(row[k] - before[k]) / 255.0f : (float)row[k] / 127.5f - 1.0f;
    }
}

/* Means over the positions of y (count,h,w,C), as C values of each of the vectors from `to` on. */
static void put_means(const look *l, T *y, double *to)
{
    const int64_t places = y->dims[1] * y->dims[2], channels = y->dims[3];
    const float *x = l->values;
    mgi_tensor_read(y, 0, l->values, y->count);
    for (int64_t i = 0; i < y->dims[0]; i++, to += l->sight->dims) {
        for (int64_t c = 0; c < channels; c++)
            to[c] = 0.0;
        for (int64_t p = 0; p < places; p++, x += channels)
            for (int64_t c = 0; c < channels; c++)
                to[c] += x[c];
        for (int64_t c = 0; c < channels; c++)
            to[c] /= (double)places;
    }
}

/* The vectors of pictures t .. t + count - 1. */
static void see(mgi_run *run, const look *l, int64_t t, int64_t count)
{
    const mgi_perceptual *net = &l->sight->net;
    double *to = l->vectors + (t - l->differs) * l->sight->dims;
    int64_t mark = mgi_scope_push(run);
    for (int64_t i = 0; i < count; i++)
        put_picture(l, t + i, l->values + i * l->rows * l->columns * 3);
    T *x = mgi_new(run, MGK_F32, MGI_DIMS(count, l->rows, l->columns, 3));
    if (x)
        mgi_tensor_write(x, 0, l->values, x->count);
    x = mgi_perceptual_normal(run, net, x);
    for (int i = 0; i < net->stages; i++) {
        x = mgi_perceptual_stage(run, net, i, x);
        if (run->status != MGEN_OK)
            break;
        put_means(l, x, to);
        to += x->dims[3];
    }
    mgi_scope_pop(run, mark, NULL);
}

/* All pictures, `piece` of them at a time. */
static mgen_status see_all(mgen_context *ctx, const look *l, int64_t piece)
{
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    for (int64_t t = l->differs; t < l->frames && run.status == MGEN_OK; t += piece)
        see(&run, l, t, l->frames - t < piece ? l->frames - t : piece);
    if (run.status == MGEN_OK)
        mgi_ok(&run, mgi_device_wait(run.dev));
    const mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

/* Mean and deviation over `count` vectors, one behind the other. */
static void put_motion(const double *vectors, int64_t count, int64_t dims, double *out)
{
    double *mean = out, *deviation = out + dims;
    for (int64_t k = 0; k < dims; k++) {
        mean[k] = deviation[k] = 0.0;
        for (int64_t i = 0; i < count; i++)
            mean[k] += vectors[i * dims + k] / (double)count;
        for (int64_t i = 0; i < count; i++) {
            const double off = vectors[i * dims + k] - mean[k];
            deviation[k] += off * off / (double)count;
        }
        deviation[k] = sqrt(deviation[k]);
    }
}

/* The most values of a picture's pixel that are there at once. */
static int64_t values_of(const mgi_perceptual *net)
{
    int64_t most = 3;
    for (int i = 0; i < net->stages; i++) {
        const int64_t channels = net->conv[i][net->convs[i] - 1].w->dims[0] >> (2 * i);
        most = channels > most ? channels : most;
    }
    return most;
}

static mgen_status add(mgen_context *ctx, look *l, mgi_film_set *set)
{
    const int64_t dims = l->sight->dims, seen = l->rows * l->columns;
    const int64_t piece = seen < PIXELS ? PIXELS / seen : 1;
    const int64_t values = piece * seen * values_of(&l->sight->net);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)values, sizeof *l->values, &l->values));
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)((l->frames + 2) * dims), sizeof *l->vectors, &l->vectors));
    MGI_TRY(see_all(ctx, l, piece));
    for (int64_t t = 0; t < l->frames; t++)
        mgi_gaussian_add(&set->frames, l->vectors + t * dims);
    if (l->frames == 1)
        return MGEN_OK;
    double *motion = l->vectors + l->frames * dims;
    l->differs = true;
    MGI_TRY(see_all(ctx, l, piece));
    put_motion(l->vectors, l->frames - 1, dims, motion);
    mgi_gaussian_add(&set->films, motion);
    return MGEN_OK;
}

mgen_status mgi_film_sight_add(mgen_context *ctx, const mgi_film_sight *sight,
                               const int64_t film[3], const uint8_t *pixels, mgi_film_set *set)
{
    look l = {.sight = sight,
              .pixels = pixels,
              .frames = film[0],
              .frame = film[1] * film[2] * 3,
              .width = film[2],
              .rows = film[1] / SIDE * SIDE,
              .columns = film[2] / SIDE * SIDE};
    if (l.frames < 1 || l.rows < 1 || l.columns < 1)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "%lld frames of %lld x %lld cannot be told from others: there must be a frame, of "
            "sides of %d or more",
            (long long)film[0], (long long)film[2], (long long)film[1], SIDE);
    const mgen_status status = add(ctx, &l, set);
    mgi_free(ctx, l.vectors);
    mgi_free(ctx, l.values);
    return status;
}
