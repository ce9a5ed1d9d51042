/* SPDX-License-Identifier: MIT
 * Diffusion by v-prediction: noise levels, DDIM as Euler's method along the flow, and a stage that trains by it. */
#include "core/report.h"
#include "flow/diffusion.h"
#include "flow/schedule.h"
#include "flow/solver.h"
#include "reported.h"
#include "tensor/device.h"
#include "train/stage.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "folder_context.h"

static void signal_noise(double t, double *a, double *s)
{
    double r = sqrt(t * t + (1 - t) * (1 - t));
    *a = t / r;
    *s = (1 - t) / r;
}

/* Cumulated alphas by the published formulas; level n is place 999 - n. In Python:
 *   s = numpy.sqrt(numpy.cumprod(1 - numpy.linspace(1e-4, 0.02, 1000)))
 *   s = (s - s[-1]) * s[0] / (s[0] - s[-1]); (s**2)[[0, 1, 250, 500, 750, 998, 999]] */
static void test_levels(void **state)
{
    static const int level[] = {0, 1, 250, 500, 750, 998, 999};
    static const double want[] = {0.9999,
                                  0.9997793254331531,
                                  0.5188605367916812,
                                  0.07524621570432667,
                                  0.002644105922212105,
                                  4.213262465088072e-09,
                                  0.0};
    float times[MGI_DIFFUSION_LEVELS + 1], even[11], all[1001];
    (void)state;
    mgi_diffusion_times(times);
    for (int i = 0; i < 7; i++) {
        double a, s;
        signal_noise((double)times[999 - level[i]], &a, &s);
        assert_true(fabs(a * a - want[i]) <= 2e-6 * want[i]);
    }
    assert_true(times[0] == 0.0f && times[1000] == 1.0f);
    for (int i = 0; i < 1000; i++)
        assert_true(times[i] < times[i + 1]);
    mgi_diffusion_schedule(MGI_SCHEDULE_LINEAR, 10, even);
    for (int i = 0; i <= 10; i++)
        assert_true(even[i] == times[100 * i]);
    for (int kind = MGI_SCHEDULE_LINEAR_QUADRATIC; kind <= MGI_SCHEDULE_LINEAR_QUADRATIC_1000;
         kind++)
        for (int steps = 1; steps <= 1000; steps += 111) {
            mgi_diffusion_schedule(kind, steps, all);
            assert_true(all[0] == 0.0f && all[steps] == 1.0f);
            for (int i = 0; i < steps; i++)
                assert_true(all[i] < all[i + 1]);
        }
}

typedef struct toy {
    mgi_run run;
    T *x;
    double z[10][2]; /* after each step */
} toy;

/* v of a point z, by a formula. */
static T *toy_velocity(void *user, T *x, float time)
{
    toy *m = user;
    double a, s;
    T *t = mgi_new(&m->run, MGK_F32, MGI_DIMS(1)), *v = mgi_new(&m->run, MGK_F32, 2, x->dims);
    mgi_fill(&m->run, t, time);
    T *z = mgi_diffusion_scaled(&m->run, x, t);
    assert_true(z && v);
    signal_noise((double)time, &a, &s);
    double z0 = (double)mgi_f32(z)[0], z1 = (double)mgi_f32(z)[1];
    mgi_f32(v)[0] = (float)(0.3 * z0 - 0.2 * z1 + 0.5 * a);
    mgi_f32(v)[1] = (float)(sin(z1) - 0.1 * z0);
    return mgi_diffusion_velocity(&m->run, x, v, t);
}

static mgen_status toy_stepped(void *user, const mgi_solver_step *k)
{
    toy *m = user;
    T *t = mgi_new(&m->run, MGK_F32, MGI_DIMS(1));
    mgi_fill(&m->run, t, k->time);
    T *z = mgi_diffusion_scaled(&m->run, m->x, t);
    for (int i = 0; i < 2; i++)
        m->z[k->done - 1][i] = (double)mgi_f32(z)[i];
    return MGEN_OK;
}

/* The points of ten DDIM steps (v_prediction, trailing spacing, the last to pure data), from the same script. */
static void test_ddim(void **state)
{
    static const double want[10][2] = {{0.695120931, -1.289283335}, {0.684237455, -1.265566071},
                                       {0.662345459, -1.218649728}, {0.622589896, -1.136141728},
                                       {0.557432273, -1.008403464}, {0.461145570, -0.836826879},
                                       {0.332779465, -0.640319136}, {0.178007629, -0.451085191},
                                       {0.009070421, -0.298056686}, {-0.163861971, -0.187368806}};
    float times[11];
    toy m;
    (void)state;
    mgi_diffusion_schedule(MGI_SCHEDULE_LINEAR, 10, times);
    const mgi_solver solver = {.kind = MGI_SOLVER_EULER,
                               .steps = 10,
                               .times = times,
                               .velocity = toy_velocity,
                               .stepped = toy_stepped,
                               .user = &m};
    mgi_run_init(&m.run, ctx, false);
    m.x = mgi_new(&m.run, MGK_F32, MGI_DIMS(1, 2));
    mgi_tensor_write(m.x, 0, (const float[]){0.7f, -1.3f}, 2);
    assert_int_equal(mgi_solve(&m.run, m.x, &solver), MGEN_OK);
    for (int i = 0; i < 20; i++)
        assert_true(fabs(m.z[i / 2][i % 2] - want[i / 2][i % 2]) < 3e-6);
    mgi_run_finish(&m.run);
}

/* Where v is what point and velocity say, the path's velocity is data less noise. */
static void test_exact(void **state)
{
    static const float data[4] = {1, -2, 3, 0.5f}, noise[4] = {0.3f, 1, -1, 2},
                       times[2] = {0.7f, 0.0f};
    mgi_run run;
    (void)state;
    mgi_run_init(&run, ctx, false);
    T *x1 = mgi_new(&run, MGK_F32, MGI_DIMS(2, 2)), *x0 = mgi_new(&run, MGK_F32, MGI_DIMS(2, 2));
    mgi_tensor_write(x1, 0, data, 4);
    mgi_tensor_write(x0, 0, noise, 4);
    T *t = mgi_new(&run, MGK_F32, MGI_DIMS(2));
    mgi_tensor_write(t, 0, times, 2);
    T *z = mgi_diffusion_point(&run, x1, x0, t), *v = mgi_diffusion_v(&run, x1, x0, t);
    assert_non_null(v);
    for (int b = 0; b < 2; b++) {
        double at = (double)times[b], r = sqrt(at * at + (1 - at) * (1 - at));
        T *x = mgi_new(&run, MGK_F32, MGI_DIMS(2, 2));
        for (int i = 0; i < 4; i++) {
            mgi_f32(x)[i] = (float)(at * (double)data[i] + (1 - at) * (double)noise[i]);
            if (i / 2 == b)
                assert_true(fabs((double)mgi_f32(z)[i] - (double)mgi_f32(x)[i] / r) < 1e-6);
        }
        T *u = mgi_diffusion_velocity(&run, x, v, t);
        for (int i = 2 * b; i < 2 * b + 2; i++)
            assert_true(fabsf(mgi_f32(u)[i] - (data[i] - noise[i])) < 1e-5f);
    }
    assert_null(mgi_diffusion_velocity(&run, x1, NULL, t));
    mgi_run_finish(&run);
}

static struct mgi_stage_run *begin(const mgi_stage *stage)
{
    struct mgi_stage_run *run;
    const mgi_stage_params params = {.stage = stage, .dir = folder, .seed = 5, .cache_dir = folder};
    if (mgi_stage_kind_of(stage)->create(ctx, &params, &run) != MGEN_OK)
        fail_msg("%s", mgen_last_error(ctx));
    return run;
}

/* A network that answers 0 has the loss of v itself, half of a variance of 1 and the data's; as a flow another. */
static void test_stage(void **state)
{
    mgi_stage tae = tiny_autoencoder(1, 2), stage = tiny_text_to_video(2, 2);
    double losses[2] = {0};
    (void)state;
    struct mgi_stage_run *run = begin(&tae);
    assert_int_equal(mgi_stage_autoencoder.save(run), MGEN_OK);
    mgi_stage_autoencoder.destroy(run);
    stage.validate_every = 1;
    stage.video.objective = MGI_VT_V_PREDICTION;
    run = begin(&stage);
    for (int64_t step = 0; step < 2; step++) {
        mgen_report *report;
        assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
        assert_int_equal(mgi_stage_text_to_video.step(run, step, report), MGEN_OK);
        losses[step] = reported(report, "val_loss");
        assert_true(reported(report, "loss") > 0.0 && losses[step] > 0.0);
        assert_true(reported(report, "val_loss_flow") > losses[step]); /* r below 1 */
        mgen_report_destroy(report);
    }
    assert_true(losses[0] != losses[1]);
    assert_int_equal(mgi_stage_text_to_video.save(run), MGEN_OK);
    mgi_stage_text_to_video.destroy(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels), cmocka_unit_test(test_ddim),
                                       cmocka_unit_test(test_exact), cmocka_unit_test(test_stage)};
    return cmocka_run_group_tests_name("diffusion", tests, make_folder_context,
                                       remove_folder_context);
}
