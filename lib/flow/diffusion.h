/* SPDX-License-Identifier: MIT
 * Diffusion with zero terminal SNR, by which models that predict v are trained. Tier 5.
 *
 * Of data x1 and noise x0 the point z = a x1 + s x0, a^2 + s^2 = 1, has v = a x0 - s x1. The flow's straight path
 * x = t x1 + (1 - t) x0 has the same ratio of data and noise at t = a / (a + s), and z = x / r there, with
 * r = sqrt(t^2 + (1 - t)^2): so noise levels are given as times of the flow, and x and a prediction of v give the
 * path's velocity, (2 t - 1) / r^2 x - v / r. Solvers, schedules, guidance and windows are those of flow matching;
 * Euler's method is DDIM.
 *
 * 1000 levels: betas from 1e-4 to 0.02, evenly; the square roots of their cumulated alphas are moved and stretched so
 * that the last is 0 (Lin et al. 2023). */
#ifndef MGI_FLOW_DIFFUSION_H
#define MGI_FLOW_DIFFUSION_H

#include "tensor/ops.h"

enum { MGI_DIFFUSION_LEVELS = 1000 };

/* times[0..LEVELS], rising: 0, of pure noise, is the last level; the one before the end is the first level; then 1,
 * of data. */
void mgi_diffusion_times(float times[MGI_DIFFUSION_LEVELS + 1]);

/* times[0..steps] of a kind (flow/schedule.h) over the levels: "linear" takes evenly spaced ones, from the last on. */
void mgi_diffusion_schedule(int kind, int steps, float *times);

/* Tensors (B, ...) f32 and B times, f32; no gradient. z and v of data and noise: */
T *mgi_diffusion_point(mgi_run *run, T *x1, T *x0, T *t);
T *mgi_diffusion_v(mgi_run *run, T *x1, T *x0, T *t);
/* z of the path's point x; the path's velocity of its point and v. */
T *mgi_diffusion_scaled(mgi_run *run, T *x, T *t);
T *mgi_diffusion_velocity(mgi_run *run, T *x, T *v, T *t);

#endif
