/* SPDX-License-Identifier: MIT
 * flow: the elementwise steps of flow matching (report section 3.1.2). t = 0 is noise, t = 1 is
 * data. Whatever changes from step to step is read from buffers, never passed by value.
 *
 *   flow_path    from data x1 and noise x0 (batch, dim) and time (batch):
 *                xt = t x1 + (1 - (1 - sigma) t) x0;  v = x1 - (1 - sigma) x0
 *   cfg_combine  u = uncond + guidance[0] * (cond - uncond)
 *   euler_step   x += dt[0] * u        (x in xt, u in v)
 *   diffusion    from x1, x0 (batch, dim) and time (batch), with r = sqrt(t^2 + (1 - t)^2), a = t / r and
 *                s = (1 - t) / r of each item, xt =
 *                POINT     a x1 + s x0                 of data and noise
 *                V         a x0 - s x1                 of data and noise
 *                SCALED    x1 / r                      of the flow's point; x0 is not given
 *                VELOCITY  (2 t - 1) / r^2 x1 - x0 / r    of the flow's point and v
 * Dtypes: x0, x1, xt, v, cond, uncond are T; time, guidance, dt f32. In euler_step x may have
 * another dtype than u: many small steps add up in an f32 x.
 */
#ifndef MGK_FLOW_H
#define MGK_FLOW_H

#include "kernels/mgk.h"

enum {
    MGK_DIFFUSION_POINT,
    MGK_DIFFUSION_V,
    MGK_DIFFUSION_SCALED,
    MGK_DIFFUSION_VELOCITY,
    MGK_DIFFUSION_KINDS
};

typedef struct mgk_flow_args {
    mgk_buf x0, x1, xt, v, time;
    mgk_buf cond, uncond, guidance, dt; /* cfg_combine writes v */
    int64_t batch, dim;                 /* cfg_combine, euler_step: batch * dim elements */
    float sigma;
    int32_t kind; /* diffusion */
} mgk_flow_args;

MGK_DECLARE(flow_path);
MGK_DECLARE(cfg_combine);
MGK_DECLARE(euler_step);
MGK_DECLARE(diffusion);

#endif
