/* SPDX-License-Identifier: MIT
 * Solvers of the flow's differential equation dx/dt = velocity(x, t), report section 3.4.2. Tier 5.
 *
 * All of a step happens on the device: points are combined by euler_step, whose constants lie in device
 * memory. Only DOPRI5 reads something back, once an attempted step: three mean squares, for its error. */
#ifndef MGI_FLOW_SOLVER_H
#define MGI_FLOW_SOLVER_H

#include "tensor/ops.h"

enum {
    MGI_SOLVER_EULER,    /* x += dt * velocity(x, t); order 1, one evaluation a step */
    MGI_SOLVER_MIDPOINT, /* with the velocity half a step on; order 2, two evaluations */
    MGI_SOLVER_DOPRI5    /* Dormand and Prince's 5(4), its steps as long as the error allows */
};

/* What is known after a step. */
typedef struct mgi_solver_step {
    T *u; /* the velocity that goes on from here; NULL: the attempt was refused, x is as before */
    float time; /* that x has reached */
    int done; /* of solver.steps, 1 or more; DOPRI5: the share of them that the time has reached */
} mgi_solver_step;

typedef struct mgi_solver {
    int kind;
    int steps;
    const float
        *times; /* steps + 1 of them, from 0 or later to 1; of DOPRI5 only the first step counts */
    /* The velocity at x, an f32 tensor of the run's innermost scope or one that lives longer; x is not to
     * be changed. NULL after a failure. */
    T *(*velocity)(void *user, T *x, float time);
    /* After each step, and after each attempt of DOPRI5: a failure ends the work. NULL: nothing. */
    mgen_status (*stepped)(void *user, const mgi_solver_step *step);
    /* DOPRI5: what the length of steps depends on, which may be replaced. NULL: nothing. */
    mgen_status (*norms)(void *user, float *norms, int count);
    void *user;
    /* DOPRI5: the step's error, as a root mean square, may be atol + rtol times that of x. 0: 1e-3. */
    float rtol, atol;
} mgi_solver;

/* Velocities that are evaluated; for DOPRI5 at most: each of its attempts takes six, and there are no more
 * than solver.steps. */
int64_t mgi_solver_evaluations(const mgi_solver *solver);

/* Carry x (f32) from the first time to 1. NUMERIC if DOPRI5 is not there after solver.steps attempts, or its error
 * is no number; else what `stepped` or the run answers. On the meta device DOPRI5 makes every attempt. */
mgen_status mgi_solve(mgi_run *run, T *x, const mgi_solver *solver);

#endif
