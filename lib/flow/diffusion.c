/* SPDX-License-Identifier: MIT */
#include "flow/diffusion.h"

#include "flow/schedule.h"
#include "kernels/flow/flow.h"

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

static T *mix(mgi_run *run, int32_t kind, T *x1, T *x0, T *t)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x1 && t && (x0 || kind == MGK_DIFFUSION_SCALED),
                     "diffusion: an input is missing") ||
        !mgi_require(run, t->count == x1->dims[0] && (!x0 || x0->count == x1->count),
                     "diffusion: the shapes differ"))
        return NULL;
    T *y = mgi_new(run, x1->dtype, x1->rank, x1->dims);
    if (!y)
        return NULL;
    const mgk_flow_args a = {.x0 = mgi_buf(x0),
                             .x1 = mgi_buf(x1),
                             .xt = mgi_buf(y),
                             .time = mgi_buf(t),
                             .batch = t->count,
                             .dim = t->count ? x1->count / t->count : 0,
                             .kind = kind};
    mgi_run_launch(run, MGK_OP_diffusion, &a);
    return run->status == MGEN_OK ? y : NULL;
}

T *mgi_diffusion_point(mgi_run *run, T *x1, T *x0, T *t)
{
    return mix(run, MGK_DIFFUSION_POINT, x1, x0, t);
}

T *mgi_diffusion_v(mgi_run *run, T *x1, T *x0, T *t)
{
    return mix(run, MGK_DIFFUSION_V, x1, x0, t);
}

T *mgi_diffusion_scaled(mgi_run *run, T *x, T *t)
{
    return mix(run, MGK_DIFFUSION_SCALED, x, NULL, t);
}

T *mgi_diffusion_velocity(mgi_run *run, T *x, T *v, T *t)
{
    return mix(run, MGK_DIFFUSION_VELOCITY, x, v, t);
}
