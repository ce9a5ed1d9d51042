/* SPDX-License-Identifier: MIT */
#include "flow/solver.h"

#include "kernels/flow/flow.h"
#include "kernels/loss/loss.h"

#include <math.h>

enum { STAGES = 7, NORMS = 3 };
static const float tolerance = 1e-3f; /* unless another is given */

/* Dormand and Prince (1980): row i leads to the point of stage i + 1. The last row is the result of order 5,
 * whose velocity is the next step's first. */
static const double weights[STAGES - 1][STAGES - 1] = {
    {1.0 / 5},
    {3.0 / 40, 9.0 / 40},
    {44.0 / 45, -56.0 / 15, 32.0 / 9},
    {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
    {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
    {35.0 / 384, 0.0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}};
static const double nodes[STAGES] = {0.0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1.0, 1.0};
/* The result of order 5 less that of order 4. */
static const double error_weights[STAGES] = {
    71.0 / 57600, 0.0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40};

int64_t mgi_solver_evaluations(const mgi_solver *s)
{
    if (s->kind == MGI_SOLVER_DOPRI5)
        return 1 + (int64_t)(STAGES - 1) * s->steps;
    return s->kind == MGI_SOLVER_MIDPOINT ? 2 * (int64_t)s->steps : s->steps;
}

/* x += constant `index` of `constants` * u */
static void advance(mgi_run *run, T *x, T *u, T *constants, int64_t index)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && u && x->count == u->count, "solver: the velocity has another shape"))
        return;
    mgk_flow_args a = {.xt = mgi_buf(x),
                       .v = mgi_buf(u),
                       .dt = {mgi_f32(constants) + index, MGK_F32},
                       .batch = 1,
                       .dim = x->count};
    mgi_run_launch(run, MGK_OP_euler_step, &a);
}

static mgen_status tell(mgi_run *run, const mgi_solver *s, T *u, float time, int done)
{
    MGI_TRY(run->status);
    if (!s->stepped)
        return MGEN_OK;
    return s->stepped(s->user, &(mgi_solver_step){u, time, done});
}

/* -- fixed steps ------------------------------------------------------------------------------ */

/* y = x + dt[0] / 2 * velocity(x, time) */
static void half_step(mgi_run *run, const mgi_solver *s, T *x, float time, T *dt, T *y)
{
    int64_t mark = mgi_scope_push(run);
    T *u = s->velocity(s->user, x, time);
    mgi_copy(run, y, 0, x, 0, x->count);
    advance(run, y, u, dt, 1);
    mgi_scope_pop(run, mark, NULL);
}

static mgen_status fixed_step(mgi_run *run, const mgi_solver *s, T *x, T *dt, T *y, int index)
{
    float from = s->times[index], to = s->times[index + 1], middle = from + 0.5f * (to - from);
    const float lengths[2] = {to - from, 0.5f * (to - from)};
    mgi_tensor_write(dt, 0, lengths, 2);
    if (y)
        half_step(run, s, x, from, dt, y);
    T *u = y ? s->velocity(s->user, y, middle) : s->velocity(s->user, x, from);
    advance(run, x, u, dt, 0);
    return tell(run, s, u, to, index + 1);
}

static mgen_status fixed(mgi_run *run, T *x, const mgi_solver *s)
{
    T *dt = mgi_new(run, MGK_F32, MGI_DIMS(2));
    T *y = s->kind == MGI_SOLVER_MIDPOINT ? mgi_new(run, MGK_F32, x->rank, x->dims) : NULL;
    for (int i = 0; i < s->steps && run->status == MGEN_OK; i++) {
        int64_t mark = mgi_scope_push(run);
        MGI_TRY(fixed_step(run, s, x, dt, y, i));
        mgi_scope_pop(run, mark, NULL);
    }
    return run->status;
}

/* -- Dormand-Prince --------------------------------------------------------------------------- */

typedef struct dopri5 {
    mgi_run *run;
    const mgi_solver *s;
    T *x, *y;     /* where the step begins; the point of the next stage */
    T *k[STAGES]; /* velocities */
    T *error, *zero;
    T *constants; /* of the step: the rows above times its length, behind one another */
    T *squares;   /* mean squares of error, x and y */
} dopri5;

static void make(dopri5 *d)
{
    mgi_run *run = d->run;
    T **like_x[] = {&d->y, &d->error, &d->zero};
    for (int i = 0; i < 3; i++)
        *like_x[i] = mgi_new(run, MGK_F32, d->x->rank, d->x->dims);
    for (int i = 0; i < STAGES; i++)
        d->k[i] = mgi_new(run, MGK_F32, d->x->rank, d->x->dims);
    d->constants = mgi_new(run, MGK_F32, MGI_DIMS(STAGES * STAGES));
    d->squares = mgi_new(run, MGK_F32, MGI_DIMS(NORMS));
    mgi_fill(run, d->zero, 0.0f);
}

static void evaluate(dopri5 *d, int stage, T *at, double time)
{
    int64_t mark = mgi_scope_push(d->run);
    T *u = d->s->velocity(d->s->user, at, (float)time);
    mgi_copy(d->run, d->k[stage], 0, u, 0, at->count);
    mgi_scope_pop(d->run, mark, NULL);
}

/* The step's constants, written at once before it. */
static void write_constants(dopri5 *d, double length)
{
    float c[STAGES * STAGES] = {0};
    for (int i = 0; i < STAGES - 1; i++)
        for (int j = 0; j <= i; j++)
            c[i * STAGES + j] = (float)(length * weights[i][j]);
    for (int j = 0; j < STAGES; j++)
        c[(STAGES - 1) * STAGES + j] = (float)(length * error_weights[j]);
    if (d->run->status == MGEN_OK)
        mgi_tensor_write(d->constants, 0, c, STAGES * STAGES);
}

/* y and the velocities at time + length. */
static void attempt(dopri5 *d, double time, double length)
{
    mgi_run *run = d->run;
    write_constants(d, length);
    for (int i = 0; i < STAGES - 1; i++) {
        mgi_copy(run, d->y, 0, d->x, 0, d->x->count);
        for (int j = 0; j <= i; j++)
            if (weights[i][j] != 0.0)
                advance(run, d->y, d->k[j], d->constants, i * STAGES + j);
        evaluate(d, i + 1, d->y, time + nodes[i + 1] * length);
    }
    mgi_fill(run, d->error, 0.0f);
    for (int j = 0; j < STAGES; j++)
        if (error_weights[j] != 0.0)
            advance(run, d->error, d->k[j], d->constants, (STAGES - 1) * STAGES + j);
}

static void mean_square(dopri5 *d, T *x, int64_t index)
{
    if (d->run->status != MGEN_OK)
        return;
    mgk_loss_args a = {.x = mgi_buf(x),
                       .target = mgi_buf(d->zero),
                       .out = {mgi_f32(d->squares) + index, MGK_F32},
                       .count = x->count,
                       .kind = MGK_LOSS_MSE,
                       .weight = 1.0f};
    mgi_run_launch(d->run, MGK_OP_loss, &a);
}

/* The attempt's error as a share of what is allowed. */
static double share(dopri5 *d)
{
    float squares[NORMS] = {0};
    double rtol = d->s->rtol > 0.0f ? (double)d->s->rtol : (double)tolerance;
    double atol = d->s->atol > 0.0f ? (double)d->s->atol : (double)tolerance;
    mgi_fill(d->run, d->squares, 0.0f);
    mean_square(d, d->error, 0);
    mean_square(d, d->x, 1);
    mean_square(d, d->y, 2);
    if (d->run->status == MGEN_OK)
        mgi_tensor_read(d->squares, 0, squares, NORMS);
    if (d->run->status == MGEN_OK && d->s->norms)
        mgi_ok(d->run, d->s->norms(d->s->user, squares, NORMS));
    /* a NaN here is one in the error too, to which every velocity adds */
    double size = sqrt((double)(squares[1] > squares[2] ? squares[1] : squares[2]));
    return sqrt((double)squares[0]) / (atol + rtol * size);
}

/* By which the next step is longer, from the error of the last one, which is of order 5. */
static double growth(double error, bool refused_before)
{
    double most = refused_before ? 1.0 : 5.0;
    double factor = error > 0.0 ? 0.9 * pow(error, -0.2) : most;
    return factor < 0.2 ? 0.2 : factor < most ? factor : most;
}

/* x = y, and the last velocity is the next first one. */
static void accept(dopri5 *d)
{
    T *first = d->k[0];
    mgi_copy(d->run, d->x, 0, d->y, 0, d->x->count);
    d->k[0] = d->k[STAGES - 1];
    d->k[STAGES - 1] = first;
}

static int steps_done(const mgi_solver *s, double time)
{
    int done = time < 1.0 ? (int)(time * s->steps) : s->steps;
    return done > 1 ? done : 1;
}

static mgen_status adaptive(mgi_run *run, T *x, const mgi_solver *s)
{
    dopri5 d = {.run = run, .s = s, .x = x};
    double time = (double)s->times[0], length = (double)s->times[1] - time;
    bool meta = run->dev->meta, refused = false;
    make(&d);
    if (run->status == MGEN_OK)
        evaluate(&d, 0, x, 0.0);
    for (int i = 0; i < s->steps && time < 1.0; i++) {
        bool last = time + 1.01 * length >= 1.0; /* rather a little longer than another tiny one */
        length = last ? 1.0 - time : length;
        attempt(&d, time, length);
        double error = share(&d);
        MGI_TRY(run->status);
        if (!isfinite(error))
            return mgi_fail(run->ctx, MGEN_E_NUMERIC,
                            "the latents became infinite or not-a-number at time %.3f; the weights "
                            "may be damaged",
                            time);
        if (error <= 1.0) {
            accept(&d);
            time = meta ? 0.0 : last ? 1.0 : time + length;
        }
        MGI_TRY(tell(run, s, error <= 1.0 ? d.k[0] : NULL, (float)time, steps_done(s, time)));
        length *= growth(error, refused);
        refused = error > 1.0;
    }
    if (time < 1.0 && !meta && run->status == MGEN_OK)
        return mgi_fail(run->ctx, MGEN_E_NUMERIC,
                        "DOPRI5 was at time %.3f of 1 after %d steps, all that it may take: allow "
                        "more, or take another solver",
                        time, s->steps);
    return run->status;
}

mgen_status mgi_solve(mgi_run *run, T *x, const mgi_solver *s)
{
    MGI_TRY(run->status);
    return s->kind == MGI_SOLVER_DOPRI5 ? adaptive(run, x, s) : fixed(run, x, s);
}
