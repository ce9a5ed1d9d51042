/* SPDX-License-Identifier: MIT */
#include "flow/schedule.h"

enum { EMULATE = 5, EMULATE_MORE = 20 };

void mgi_schedule_linear(int steps, float *times)
{
    for (int i = 0; i <= steps; i++)
        times[i] = (float)((double)i / steps);
}

void mgi_schedule_linear_quadratic(int steps, int emulated, float *times)
{
    int linear = steps / 2, quadratic = steps - linear;
    double tau = (double)linear / emulated;
    double curve = 1.0 - tau - (double)quadratic / emulated;
    for (int i = 0; i <= linear; i++)
        times[i] = (float)((double)i / emulated);
    for (int k = 1; k <= quadratic; k++) {
        double x = (double)k / quadratic;
        times[linear + k] = (float)(tau + (double)k / emulated + curve * x * x);
    }
}

void mgi_schedule(int kind, int steps, float *times)
{
    if (kind == MGI_SCHEDULE_LINEAR)
        mgi_schedule_linear(steps, times);
    else
        mgi_schedule_linear_quadratic(
            steps, (kind == MGI_SCHEDULE_LINEAR_QUADRATIC_1000 ? EMULATE_MORE : EMULATE) * steps,
            times);
}
