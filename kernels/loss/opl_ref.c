/* SPDX-License-Identifier: MIT
 * The definition of the outlier penalty loss and its gradient. */
#include "kernels/loss/opl.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/common/real.h"

#include <math.h>

static bool common_check(const mgk_opl_args *a, const char **why)
{
    MGK_RULE(MGK_EXTENTS_OK(a->frames, a->positions, a->c), "frames, positions, c out of range");
    MGK_RULE(a->r >= 0, "r must not be negative");
    MGK_RULE(mgk_is_real_of(a->x, a->frames * a->positions * a->c), "x: f32 or bf16");
    return true;
}

bool mgk_opl_check(const void *args, const char **why)
{
    const mgk_opl_args *a = args;
    if (!common_check(a, why))
        return false;
    MGK_RULE(mgk_is_f32_of(a->out, a->frames * a->positions * a->c), "out: f32");
    return true;
}

bool mgk_opl_grad_check(const void *args, const char **why)
{
    const mgk_opl_args *a = args;
    if (!common_check(a, why))
        return false;
    int64_t n = a->frames * a->positions * a->c;
    MGK_RULE(mgk_is_f32_of(a->upstream, n), "upstream: f32");
    MGK_RULE(mgk_is_real_of(a->dx, n) && a->dx.dtype == a->x.dtype, "dx: the dtype of x");
    return true;
}

/* A sum for each frame; for each thread two doubles of each channel. */
static size_t workspace(const mgk_opl_args *a, int threads)
{
    return sizeof(double) * (size_t)(mgk_pad16(a->frames) + 2 * (int64_t)threads * mgk_pad16(a->c));
}

size_t mgk_opl_workspace(const void *args, int threads)
{
    return workspace(args, threads);
}

size_t mgk_opl_grad_workspace(const void *args, int threads)
{
    return workspace(args, threads);
}

typedef struct frame {
    const mgk_opl_args *a;
    int64_t first;         /* element */
    double *mean, *others; /* of the channels; sums of the outliers' directions */
    double std, outliers;  /* |Std|; how many */
} frame;

static double deviation(const frame *f, int64_t p, int64_t channel)
{
    return mgk_real_at(f->a->x, f->first + p * f->a->c + channel) - f->mean[channel];
}

static double distance(const frame *f, int64_t p)
{
    double sum = 0;
    for (int64_t j = 0; j < f->a->c; j++)
        sum += deviation(f, p, j) * deviation(f, p, j);
    return sqrt(sum);
}

static frame frame_begin(const mgk_opl_args *a, int64_t index, mgk_exec *x)
{
    frame f = {.a = a, .first = index * a->positions * a->c, .mean = x->workspace};
    const double positions = (double)a->positions;
    f.others = f.mean + a->c;
    for (int64_t j = 0; j < a->c; j++) {
        f.mean[j] = f.others[j] = 0;
        for (int64_t p = 0; p < a->positions; p++)
            f.mean[j] += mgk_real_at(a->x, f.first + p * a->c + j) / positions;
    }
    for (int64_t p = 0; p < a->positions; p++)
        f.std += distance(&f, p) * distance(&f, p) / positions;
    f.std = sqrt(f.std);
    for (int64_t p = 0; p < a->positions; p++) {
        double far = distance(&f, p);
        bool outlier = far > a->r * f.std;
        f.outliers += outlier;
        for (int64_t j = 0; j < a->c && outlier; j++)
            f.others[j] += deviation(&f, p, j) / far;
    }
    return f;
}

void mgk_opl_ref(const void *args, mgk_exec *x)
{
    const mgk_opl_args *a = args;
    double sum = 0;
    if (a->frames * a->positions * a->c == 0)
        return;
    for (int64_t i = 0; i < a->frames; i++) {
        frame f = frame_begin(a, i, x);
        for (int64_t p = 0; p < a->positions; p++)
            sum += fmax(distance(&f, p) - a->r * f.std, 0);
    }
    MGK_F(a->out)[0] += (float)(a->weight * sum / (double)a->frames / (double)a->positions);
}

/* The derivative of the frame's sum of penalties by one of its values. */
static double slope(const frame *f, int64_t p, int64_t channel)
{
    double own = distance(f, p), d = deviation(f, p, channel);
    double sum = own > f->a->r * f->std ? d / own : 0;
    if (f->a->through && f->outliers > 0)
        sum -= (f->others[channel] + f->a->r * f->outliers * d / f->std) / (double)f->a->positions;
    return sum;
}

void mgk_opl_grad_ref(const void *args, mgk_exec *x)
{
    const mgk_opl_args *a = args;
    if (a->frames * a->positions * a->c == 0)
        return;
    double factor =
        (double)MGK_F(a->upstream)[0] * a->weight / (double)a->frames / (double)a->positions;
    for (int64_t i = 0; i < a->frames; i++) {
        frame f = frame_begin(a, i, x);
        for (int64_t p = 0; p < a->positions; p++)
            for (int64_t j = 0; j < a->c; j++) {
                int64_t at = f.first + p * a->c + j;
                double g = factor * slope(&f, p, j);
                mgk_real_set(a->dx, at, a->accumulate ? mgk_real_at(a->dx, at) + g : g);
            }
    }
}
