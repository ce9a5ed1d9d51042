/* SPDX-License-Identifier: MIT */
#include "flow/diffusion.h"

#include "flow/schedule.h"
#include "kernels/pointwise/pointwise.h"

#include <math.h>

enum { LEVELS = MGI_DIFFUSION_LEVELS };
static const double beta_first = 1e-4, beta_last = 0.02;

void mgi_diffusion_times(float times[LEVELS + 1])
{
    double signal[LEVELS], product = 1.0;
    for (int n = 0; n < LEVELS; n++) {
        product *= 1.0 - (beta_first + (beta_last - beta_first) * n / (LEVELS - 1));
        signal[n] = sqrt(product);
    }
    double first = signal[0], last = signal[LEVELS - 1];
    for (int n = 0; n < LEVELS; n++) {
        double a = (signal[n] - last) * first / (first - last), s = sqrt(1.0 - a * a);
        times[LEVELS - 1 - n] = (float)(a / (a + s));
    }
    times[LEVELS] = 1.0f;
}

void mgi_diffusion_schedule(int kind, int steps, float *times)
{
    float level[LEVELS + 1];
    mgi_diffusion_times(level);
    mgi_schedule(kind, steps, times);
    for (int i = 0; i <= steps; i++) {
        double at = (double)times[i] * LEVELS;
        if (fabs(at - round(at)) <
            1e-3) /* times are rounded to float: what should be a level is one */
            at = round(at);
        int low = (int)at < LEVELS ? (int)at : LEVELS - 1;
        times[i] = (float)((double)level[low] +
                           (at - low) * ((double)level[low + 1] - (double)level[low]));
    }
}

/* -- points and velocities -------------------------------------------------------------------- */

/* a and s at a time of the flow. */
static void signal_noise(double t, double *a, double *s)
{
    double r = sqrt(t * t + (1.0 - t) * (1.0 - t));
    *a = t / r;
    *s = (1.0 - t) / r;
}

/* f[0] x + f[1] y of `count` elements from `first` on. */
static void mix(mgi_run *run, T *out, const T *x, const T *y, int64_t first, int64_t count,
                const double f[2])
{
    mgk_pointwise_args p = {.count = count, .alpha = (float)f[0], .beta = 0.0f};
    p.x = (mgk_buf){mgi_f32(x) + first, MGK_F32};
    p.y = (mgk_buf){mgi_f32(out) + first, MGK_F32};
    mgi_run_launch(run, MGK_OP_axpby, &p);
    if (!y)
        return;
    p.x = (mgk_buf){mgi_f32(y) + first, MGK_F32};
    p.alpha = (float)f[1];
    p.beta = 1.0f;
    mgi_run_launch(run, MGK_OP_axpby, &p);
}

static T *result_like(mgi_run *run, const T *x, const T *y)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->dtype == MGK_F32 && (!y || y->count == x->count),
                     "diffusion: the shapes differ"))
        return NULL;
    return mgi_new(run, MGK_F32, x->rank, x->dims);
}

static T *of_data_and_noise(mgi_run *run, T *x1, T *x0, const float *times, bool v)
{
    T *y = x0 && times ? result_like(run, x1, x0) : NULL;
    for (int64_t b = 0; y && b < y->dims[0]; b++) {
        double a, s, each[2];
        signal_noise((double)times[b], &a, &s);
        each[0] = v ? -s : a;
        each[1] = v ? a : s;
        mix(run, y, x1, x0, b * (y->count / y->dims[0]), y->count / y->dims[0], each);
    }
    return y;
}

T *mgi_diffusion_point(mgi_run *run, T *x1, T *x0, const float *times)
{
    return of_data_and_noise(run, x1, x0, times, false);
}

T *mgi_diffusion_v(mgi_run *run, T *x1, T *x0, const float *times)
{
    return of_data_and_noise(run, x1, x0, times, true);
}

T *mgi_diffusion_scaled(mgi_run *run, T *x, float time)
{
    double a, s;
    T *y = result_like(run, x, NULL);
    signal_noise((double)time, &a, &s);
    if (y)
        mix(run, y, x, NULL, 0, y->count, (const double[2]){a + s, 0.0}); /* 1 / r */
    return y;
}

T *mgi_diffusion_velocity(mgi_run *run, T *x, T *v, float time)
{
    double a, s;
    T *y = v ? result_like(run, x, v) : NULL;
    signal_noise((double)time, &a, &s);
    if (y)
        mix(run, y, x, v, 0, y->count, (const double[2]){(a - s) * (a + s), -(a + s)});
    return y;
}
