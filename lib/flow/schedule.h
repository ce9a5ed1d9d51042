/* SPDX-License-Identifier: MIT
 * Time schedules of the sampler, report section 3.4.2. Tier 5. */
#ifndef MGI_FLOW_SCHEDULE_H
#define MGI_FLOW_SCHEDULE_H

#define MGI_FLOW_SIGMA_MIN 1e-5f

enum { MGI_SCHEDULE_LINEAR_QUADRATIC, MGI_SCHEDULE_LINEAR, MGI_SCHEDULE_LINEAR_QUADRATIC_1000 };

/* times[0..steps] of a kind; the linear-quadratic ones emulate five and twenty times as many steps: 50
 * follow 250 or 1000. */
void mgi_schedule(int kind, int steps, float *times);

/* times[0..steps]: from 0 (noise) to 1 (data), evenly. */
void mgi_schedule_linear(int steps, float *times);

/* The linear-quadratic schedule: the first half of the steps are those of a linear schedule of
 * `emulated` steps, the rest grow quadratically up to 1 with the same slope at the joint. The
 * report's best: 50 steps emulating 250. emulated >= steps. */
void mgi_schedule_linear_quadratic(int steps, int emulated, float *times);

#endif
