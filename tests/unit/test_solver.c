/* SPDX-License-Identifier: MIT
 * Solvers against velocities whose flow is known. */
#include "flow/schedule.h"
#include "flow/solver.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 3 };

/* x' = rate * cos(rate * t) * x, from 1: x = exp(sin(rate * t)). */
typedef struct problem {
    mgi_run *run;
    double rate;
    int64_t evaluations, told, refused;
    int done, stop_at;
    float time, bad_from; /* not-a-number from here on, unless 0 */
} problem;

static T *velocity(void *user, T *x, float time)
{
    problem *p = user;
    T *u = mgi_new(p->run, MGK_F32, x->rank, x->dims);
    assert_non_null(u);
    for (int64_t i = 0; i < x->count; i++)
        mgi_f32(u)[i] = (float)(p->rate * cos(p->rate * (double)time) * (double)mgi_f32(x)[i]);
    if (p->bad_from > 0.0f && time >= p->bad_from)
        mgi_f32(u)[0] = NAN;
    p->evaluations++;
    return u;
}

static mgen_status stepped(void *user, const mgi_solver_step *k)
{
    problem *p = user;
    p->told++;
    p->refused += !k->u;
    assert_true(k->done >= 1 && k->done >= p->done && k->time >= p->time);
    assert_true(k->u ? k->time > p->time : k->time == p->time);
    p->done = k->done;
    p->time = k->time;
    return p->told == p->stop_at ? mgi_fail(p->run->ctx, MGEN_E_CANCELLED, "stopped") : MGEN_OK;
}

/* Solves the problem; *end receives where it leads. */
static mgen_status solve(problem *p, mgi_solver s, float *times, double *end)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    mgi_run run;
    params.threads = 1;
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    mgi_run_init(&run, ctx, false);
    p->run = &run;
    T *x = mgi_new(&run, MGK_F32, MGI_DIMS(N));
    mgi_fill(&run, x, 1.0f);
    s.times = times;
    s.velocity = velocity;
    s.stepped = stepped;
    s.user = p;
    mgen_status status = mgi_solve(&run, x, &s);
    *end = (double)mgi_f32(x)[0];
    assert_true(p->evaluations <= mgi_solver_evaluations(&s));
    if (status == MGEN_OK) {
        for (int i = 1; i < N; i++)
            assert_true(mgi_f32(x)[i] == mgi_f32(x)[0]);
        assert_true(p->time == 1.0f && p->done == s.steps);
    }
    mgi_run_finish(&run);
    mgen_context_destroy(ctx);
    return status;
}

static double error_of(mgi_solver s, double rate)
{
    float times[1001];
    double end;
    problem p = {.rate = rate};
    mgi_schedule_linear(s.steps, times);
    assert_int_equal(solve(&p, s, times, &end), MGEN_OK);
    if (s.kind != MGI_SOLVER_DOPRI5)
        assert_true(p.evaluations == mgi_solver_evaluations(&s) && p.told == s.steps);
    return fabs(end - exp(sin(rate)));
}

/* Half the step: half the error, a quarter of it. */
static void test_order(void **state)
{
    (void)state;
    for (int order = 1; order <= 2; order++) {
        mgi_solver s = {.kind = order == 1 ? MGI_SOLVER_EULER : MGI_SOLVER_MIDPOINT};
        s.steps = 50;
        double coarse = error_of(s, 2.0);
        s.steps = 100;
        double found = log2(coarse / error_of(s, 2.0));
        if (fabs(found - order) > 0.2)
            fail_msg("order %d, found %g", order, found);
    }
}

/* One step of any error: half the rate is half the step, and a 2^6 of what one step of order 5 errs. */
static void test_order_of_dopri5(void **state)
{
    (void)state;
    mgi_solver s = {.kind = MGI_SOLVER_DOPRI5, .steps = 1, .rtol = 1e6f};
    double found = log2(error_of(s, 0.8) / error_of(s, 0.4));
    if (fabs(found - 6.0) > 0.5)
        fail_msg("a step's error is of order %g, not 6", found);
}

/* Euler is the sum of its steps, to the bit. */
static void test_euler(void **state)
{
    (void)state;
    enum { STEPS = 7 };
    float times[STEPS + 1], x = 1.0f;
    double end;
    problem p = {.rate = 0.5};
    mgi_schedule_linear_quadratic(STEPS, 5 * STEPS, times);
    mgi_solver s = {.kind = MGI_SOLVER_EULER, .steps = STEPS};
    assert_int_equal(solve(&p, s, times, &end), MGEN_OK);
    for (int i = 0; i < STEPS; i++) {
        float u = (float)(0.5 * cos(0.5 * (double)times[i]) * (double)x);
        x = (float)((double)x + (double)(times[i + 1] - times[i]) * (double)u);
    }
    assert_float_equal((float)end, x, 1e-6f);
}

/* A tighter tolerance: more evaluations, a smaller error, which is near what is allowed. */
static void test_tolerance(void **state)
{
    static const float tolerances[] = {1e-2f, 1e-3f, 1e-4f, 1e-5f};
    float times[401];
    double end, truth = exp(sin(9.0));
    int64_t evaluations = 0;
    (void)state;
    mgi_schedule_linear(400, times);
    for (int i = 0; i < 4; i++) {
        mgi_solver s = {
            .kind = MGI_SOLVER_DOPRI5, .steps = 400, .rtol = tolerances[i], .atol = tolerances[i]};
        problem p = {.rate = 9.0};
        assert_int_equal(solve(&p, s, times, &end), MGEN_OK);
        assert_true(fabs(end - truth) < 10.0 * (double)tolerances[i]);
        assert_true(p.evaluations > evaluations);
        assert_int_equal(p.evaluations, 1 + 6 * p.told); /* the last velocity is the next first */
        evaluations = p.evaluations;
        mgi_solver unset = {.kind = MGI_SOLVER_DOPRI5, .steps = 400};
        problem q = {.rate = 9.0};
        double other;
        assert_int_equal(solve(&q, unset, times, &other), MGEN_OK);
        assert_true((other == end) == (i == 1)); /* 1e-3 is the default */
    }
}

/* A first step that is too long is refused, and x stays. */
static void test_refusal(void **state)
{
    float times[] = {0.0f, 0.5f, 1.0f};
    double end;
    problem p = {.rate = 9.0};
    (void)state;
    mgi_solver s = {.kind = MGI_SOLVER_DOPRI5, .steps = 50, .rtol = 1e-5f, .atol = 1e-5f};
    assert_int_equal(solve(&p, s, times, &end), MGEN_OK);
    assert_true(p.refused >= 1 && p.refused < p.told);
    assert_true(fabs(end - exp(sin(9.0))) < 1e-4);
}

static void test_limits(void **state)
{
    float times[] = {0.0f, 0.004f, 1.0f};
    double end;
    (void)state;
    mgi_solver s = {.kind = MGI_SOLVER_DOPRI5, .steps = 2, .rtol = 1e-5f, .atol = 1e-5f};
    problem p = {.rate = 9.0};
    assert_int_equal(solve(&p, s, times, &end), MGEN_E_NUMERIC);
    assert_int_equal(p.evaluations, mgi_solver_evaluations(&s));
    assert_int_equal(p.evaluations, 13);
    s.steps = 100;
    problem bad = {.rate = 9.0, .bad_from = 0.5f};
    assert_int_equal(solve(&bad, s, times, &end), MGEN_E_NUMERIC);
    assert_true(bad.time < 0.5f);
}

static void test_stopping(void **state)
{
    float times[11];
    (void)state;
    mgi_schedule_linear(10, times);
    for (int kind = MGI_SOLVER_EULER; kind <= MGI_SOLVER_DOPRI5; kind++) {
        double end;
        problem p = {.rate = 1.0, .stop_at = 2};
        mgi_solver s = {.kind = kind, .steps = 10};
        assert_int_equal(solve(&p, s, times, &end), MGEN_E_CANCELLED);
        assert_int_equal(p.told, 2);
        assert_int_equal(p.evaluations, kind == MGI_SOLVER_DOPRI5 ? 13 : 2 + 2 * kind);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),    cmocka_unit_test(test_order_of_dopri5),
        cmocka_unit_test(test_euler),    cmocka_unit_test(test_tolerance),
        cmocka_unit_test(test_refusal),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_stopping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
