/* SPDX-License-Identifier: MIT
 * What autoencoders are trained by: outlier penalty, perceptual loss, discriminator. */
#include "core/philox.h"
#include "kernels/loss/loss.h"
#include "tiny_stages.h"
#include "train/autoencoder_loss.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/mgi-losses-XXXXXX";
static mgen_context *ctx;

/* n x h x w x c values with a variable, beyond any run. */
static T *variable(uint64_t stream, int64_t n, int64_t h, int64_t w, int64_t c)
{
    T *t;
    assert_int_equal(mgi_tensor_create(ctx->device, MGK_F32, 4, (const int64_t[]){n, h, w, c}, &t),
                     MGEN_OK);
    assert_int_equal(mgi_var_create(ctx->device, MGK_F32, t->count, false, &t->var), MGEN_OK);
    for (int64_t i = 0; i < t->count; i++)
        mgi_f32(t)[i] = 0.5f * mgi_random_normal(3, stream, (uint64_t)i);
    return t;
}

/* The function's gradient with respect to x along a random direction, against finite differences. */
typedef T *loss_fn(mgi_run *run, const void *of, T *x);

static double value_at(loss_fn *fn, const void *of, T *x)
{
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    T *loss = fn(&run, of, x);
    if (!loss)
        fail_msg("%s", mgen_last_error(ctx));
    double value = mgi_f32(loss)[0];
    mgi_run_finish(&run);
    return value;
}

static void check_gradient(const char *name, loss_fn *fn, const void *of, T *x, double e,
                           double tolerance)
{
    mgi_run run;
    mgi_run_init(&run, ctx, true);
    assert_int_equal(mgi_backward(&run, fn(&run, of, x)), MGEN_OK);
    mgi_run_finish(&run);
    assert_non_null(x->var->grad);
    for (uint64_t d = 0; d < 3; d++) {
        double slope = 0.0, value[2], size = 0.0;
        for (int64_t i = 0; i < x->count; i++) {
            double part = (double)mgi_random_normal(9, d, (uint64_t)i) * mgi_f32(x->var->grad)[i];
            slope += part;
            size += part * part;
        }
        for (int side = 0; side < 2; side++) {
            for (int64_t i = 0; i < x->count; i++)
                mgi_f32(x)[i] +=
                    (float)((side ? -2 : 1) * e) * mgi_random_normal(9, d, (uint64_t)i);
            value[side] = value_at(fn, of, x);
        }
        for (int64_t i = 0; i < x->count; i++)
            mgi_f32(x)[i] += (float)e * mgi_random_normal(9, d, (uint64_t)i);
        double found = (value[0] - value[1]) / (2.0 * e);
        if (fabs(found - slope) > tolerance * sqrt(size))
            fail_msg("%s: tape %.7g, differences %.7g (size %.3g)", name, slope, found, sqrt(size));
    }
    mgi_tensor_release(x->var->grad);
    x->var->grad = NULL;
}

/* -- the outlier penalty ------------------------------------------------------------------------ */

static T *opl(mgi_run *run, const void *of, T *x)
{
    return mgi_opl(run, 1.5f, *(const float *)of, x);
}

/* As the report has it, per frame; its gradient takes mean and deviation as they are. */
static void test_opl(void **state)
{
    const float weight = 10.0f;
    (void)state;
    T *x = variable(1, 2, 4, 4, 3);
    mgi_f32(x)[7] = 9.0f;
    mgi_f32(x)[3 * 16 + 20] = -6.0f;
    mgi_run run;
    mgi_run_init(&run, ctx, true);
    T *loss = opl(&run, &weight, x);
    assert_int_equal(mgi_backward(&run, loss), MGEN_OK);
    double sum = 0.0;
    for (int f = 0; f < 2; f++) {
        const float *v = mgi_f32(x) + 48 * f, *g = mgi_f32(x->var->grad) + 48 * f;
        double mean[3] = {0}, spread = 0.0;
        for (int i = 0; i < 48; i++)
            mean[i % 3] += v[i] / 16.0;
        for (int i = 0; i < 48; i++)
            spread += (v[i] - mean[i % 3]) * (v[i] - mean[i % 3]) / 16.0;
        for (int p = 0; p < 16; p++) {
            double d2 = 0.0;
            for (int c = 0; c < 3; c++)
                d2 += (v[3 * p + c] - mean[c]) * (v[3 * p + c] - mean[c]);
            double over = sqrt(d2) - 1.5 * sqrt(spread);
            sum += fmax(over, 0.0) / 32.0;
            for (int c = 0; c < 3; c++)
                assert_float_equal(
                    g[3 * p + c],
                    over > 0.0 ? weight / 32.0 * (v[3 * p + c] - mean[c]) / sqrt(d2) : 0.0, 1e-5);
        }
    }
    assert_true(sum > 0.1);
    assert_float_equal(mgi_f32(loss)[0], weight * sum, 1e-4);
    mgi_run_finish(&run);
    mgi_tensor_release(x);
}

/* -- cross entropy ------------------------------------------------------------------------------ */

/* The definition, in double; slopes of the logits of counted rows. */
static double cross_entropy_is(const float *x, const int32_t *target, int rows, int classes,
                               double *slope)
{
    double sum = 0.0, counted = 0.0;
    for (int r = 0; r < rows; r++)
        counted += target[r] >= 0 && target[r] < classes;
    for (int r = 0; r < rows; r++) {
        double all = 0.0;
        const bool counts = target[r] >= 0 && target[r] < classes;
        for (int c = 0; c < classes; c++)
            all += exp(x[r * classes + c]);
        for (int c = 0; c < classes; c++)
            slope[r * classes + c] =
                counts ? (exp(x[r * classes + c]) / all - (c == target[r])) / counted : 0.0;
        sum += counts ? log(all) - x[r * classes + target[r]] : 0.0;
    }
    return counted > 0.0 ? sum / counted : 0.0;
}

/* Values and gradients, in f32 and bf16; rows left out, or all of them; what does not fit is refused. */
static void test_cross_entropy(void **state)
{
    enum { ROWS = 6, CLASSES = 11 };
    static const int32_t targets[2][ROWS] = {{3, -1, 10, 0, CLASSES, 3}, {-1, -2, -1, -1, -5, -1}};
    double slope[ROWS * CLASSES];
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        const bool none = kind / 2, half = kind % 2;
        T *x = variable(40, 2, 3, 1, CLASSES);
        const double want = cross_entropy_is(mgi_f32(x), targets[none], ROWS, CLASSES, slope);
        mgi_run run;
        mgi_run_init(&run, ctx, true);
        T *target = mgi_new(&run, MGK_I32, MGI_DIMS(2, 3)),
          *logits = half ? mgi_cast(&run, x, MGK_BF16) : x;
        assert_non_null(target);
        memcpy(mgi_data(target), targets[none], sizeof targets[none]);
        T *loss = mgi_cross_entropy(&run, 2.0f, logits, target);
        assert_int_equal(mgi_backward(&run, loss), MGEN_OK);
        assert_float_equal(mgi_f32(loss)[0], 2.0 * want, half ? 1e-2 : 1e-6);
        for (int i = 0; i < ROWS * CLASSES; i++)
            assert_float_equal(mgi_f32(x->var->grad)[i], 2.0 * slope[i], half ? 4e-3 : 1e-6);
        mgi_run_finish(&run);
        mgi_tensor_release(x);
    }
    T *x = variable(40, 2, 3, 1, CLASSES);
    for (int bad = 0; bad < 3; bad++) {
        mgi_run run;
        mgi_run_init(&run, ctx, true);
        T *target =
            bad == 0 ? NULL
                     : mgi_new(&run, bad == 1 ? MGK_F32 : MGK_I32, MGI_DIMS(bad == 2 ? 5 : ROWS));
        assert_null(mgi_cross_entropy(&run, 1.0f, x, target));
        assert_int_not_equal(run.status, MGEN_OK);
        mgi_run_finish(&run);
    }
    mgi_tensor_release(x);
}

/* -- the perceptual loss ------------------------------------------------------------------------ */

enum { CONVS = 3, C0 = 4, C1 = 6 };

/* Two stages, of two convolutions and one: 3 -> 4 -> 4, pool, 4 -> 6. */
typedef struct tiny_net {
    float weight[CONVS][C1 * C1 * 9], bias[CONVS][C1], lin[2][C1];
} tiny_net;

static const int net_in[CONVS] = {3, C0, C0}, net_out[CONVS] = {C0, C0, C1};

static void make_net(tiny_net *n)
{
    for (int k = 0; k < CONVS; k++) {
        for (int i = 0; i < net_out[k] * net_in[k] * 9; i++)
            n->weight[k][i] = 0.3f * mgi_random_normal(4, (uint64_t)k, (uint64_t)i);
        for (int i = 0; i < net_out[k]; i++)
            n->bias[k][i] = 0.2f * mgi_random_normal(4, 10 + (uint64_t)k, (uint64_t)i);
    }
    for (int i = 0; i < 2 * C1; i++)
        n->lin[i / C1][i % C1] = fabsf(mgi_random_normal(4, 20, (uint64_t)i));
}

/* Entries of its file: weight and bias of each convolution, then the factors. */
static int list_net(const tiny_net *n, mgi_st_source out[8])
{
    static const char *const names[8] = {
        "stage0.conv0.weight", "stage0.conv0.bias", "stage0.conv1.weight", "stage0.conv1.bias",
        "stage1.conv0.weight", "stage1.conv0.bias", "stage0.lin.weight",   "stage1.lin.weight"};
    for (int i = 0; i < 8; i++) {
        int k = i / 2;
        out[i] = (mgi_st_source){.name = names[i], .store = MGI_ST_F32, .rank = 1};
        out[i].dims[0] = i < 6 ? net_out[k] : i == 6 ? C0 : C1;
        out[i].data = i < 6 ? n->bias[k] : n->lin[i - 6];
        if (i < 6 && i % 2 == 0) {
            out[i].rank = 4;
            out[i].dims[1] = net_in[k];
            out[i].dims[2] = out[i].dims[3] = 3;
            out[i].data = n->weight[k];
        }
    }
    return 8;
}

static void write_net(const mgi_st_source *list, int count)
{
    char path[64];
    snprintf(path, sizeof path, "%s/net.safetensors", folder);
    assert_int_equal(mgi_st_write(ctx, path, list, count, NULL, 0), MGEN_OK);
}

enum { SIDE = 8 };
typedef double plane[SIDE][SIDE];

/* One convolution and ReLU in double. */
static void reference_conv(const tiny_net *n, int k, int side, plane *x, plane *y)
{
    for (int o = 0; o < net_out[k]; o++)
        for (int i = 0; i < side; i++)
            for (int j = 0; j < side; j++) {
                double sum = n->bias[k][o];
                for (int c = 0; c < net_in[k]; c++)
                    for (int p = 0; p < 9; p++) {
                        int r = i + p / 3 - 1, s = j + p % 3 - 1;
                        if (r >= 0 && r < side && s >= 0 && s < side)
                            sum += n->weight[k][(o * net_in[k] + c) * 9 + p] * x[c][r][s];
                    }
                y[o][i][j] = fmax(sum, 0.0);
            }
}

static double unit_distance(const float *lin, int channels, int side, plane *a, plane *b)
{
    double sum = 0.0;
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++) {
            double na = 0.0, nb = 0.0;
            for (int c = 0; c < channels; c++) {
                na += a[c][i][j] * a[c][i][j];
                nb += b[c][i][j] * b[c][i][j];
            }
            for (int c = 0; c < channels; c++) {
                double d = a[c][i][j] / (sqrt(na) + 1e-10) - b[c][i][j] / (sqrt(nb) + 1e-10);
                sum += lin[c] * d * d / (side * side);
            }
        }
    return sum;
}

static double reference_loss(const tiny_net *n, const float *x, const float *y)
{
    static const double shift[3] = {-0.030, -0.088, -0.188}, scale[3] = {0.458, 0.448, 0.450};
    static plane at[2][2][C1], small[2][C1];
    const float *pictures[2] = {x, y};
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < SIDE * SIDE * 3; i++)
            at[k][0][i % 3][i / 3 / SIDE][i / 3 % SIDE] =
                (pictures[k][i] - shift[i % 3]) / scale[i % 3];
        reference_conv(n, 0, SIDE, at[k][0], at[k][1]);
        reference_conv(n, 1, SIDE, at[k][1], at[k][0]);
    }
    double sum = unit_distance(n->lin[0], C0, SIDE, at[0][0], at[1][0]);
    for (int k = 0; k < 2; k++) {
        for (int c = 0; c < C0; c++)
            for (int i = 0; i < SIDE * SIDE / 4; i++) {
                int r = i / (SIDE / 2), s = i % (SIDE / 2);
                double most = 0.0;
                for (int q = 0; q < 4; q++)
                    most = fmax(most, at[k][0][c][2 * r + q / 2][2 * s + q % 2]);
                at[k][1][c][r][s] = most;
            }
        reference_conv(n, 2, SIDE / 2, at[k][1], small[k]);
    }
    return sum + unit_distance(n->lin[1], C1, SIDE / 2, small[0], small[1]);
}

typedef struct compared {
    const mgi_perceptual *net;
    T *target;
} compared;

static T *perceptual(mgi_run *run, const void *of, T *x)
{
    const compared *c = of;
    return mgi_perceptual_loss(run, c->net, 1.0f, x, c->target);
}

static void test_perceptual_file(void **state)
{
    static tiny_net net;
    mgi_st_source list[8];
    mgi_perceptual p;
    (void)state;
    make_net(&net);
    write_net(list, list_net(&net, list));
    assert_int_equal(mgi_perceptual_init(&p, ctx, folder, "net.safetensors"), MGEN_OK);
    assert_int_equal(p.stages, 2);
    assert_true(p.hash != 0);
    T *x = variable(1, 1, SIDE, SIDE, 3), *y = variable(2, 1, SIDE, SIDE, 3);
    double want = reference_loss(&net, mgi_f32(x), mgi_f32(y));
    assert_true(want > 0.01);
    assert_float_equal(value_at(perceptual, &(compared){&p, y}, x), want, 1e-5 * (1.0 + want));
    assert_float_equal(value_at(perceptual, &(compared){&p, x}, x), 0.0, 1e-12);
    check_gradient("perceptual", perceptual, &(compared){&p, y}, x, 1e-3, 0.03);
    mgi_tensor_release(x);
    mgi_tensor_release(y);
    mgi_perceptual_finish(&p);
}

static void test_perceptual_random(void **state)
{
    mgi_perceptual p, again;
    (void)state;
    assert_int_equal(mgi_perceptual_init(&p, ctx, folder, ""), MGEN_OK);
    assert_int_equal(mgi_perceptual_init(&again, ctx, folder, ""), MGEN_OK);
    assert_int_equal(p.hash, 0);
    T *x = variable(1, 2, 16, 16, 3), *y = variable(2, 2, 16, 16, 3);
    double far = value_at(perceptual, &(compared){&p, y}, x);
    assert_float_equal(far, value_at(perceptual, &(compared){&again, y}, x), 0.0);
    for (int64_t i = 0; i < y->count; i++)
        mgi_f32(y)[i] = 0.9f * mgi_f32(x)[i] + 0.1f * mgi_f32(y)[i];
    double near = value_at(perceptual, &(compared){&p, y}, x);
    assert_true(near > 0.0 && near < 0.2 * far);
    check_gradient("random features", perceptual, &(compared){&p, y}, x, 3e-4, 0.1);
    mgi_tensor_release(x);
    mgi_tensor_release(y);
    mgi_perceptual_finish(&p);
    mgi_perceptual_finish(&again);
}

static void assert_bad_net(const mgi_st_source *list, int count, const char *said)
{
    mgi_perceptual p;
    write_net(list, count);
    assert_int_equal(mgi_perceptual_init(&p, ctx, folder, "net.safetensors"), MGEN_E_CORRUPT);
    if (!strstr(mgen_last_error(ctx), said))
        fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), said);
}

static void test_perceptual_bad_file(void **state)
{
    static tiny_net net;
    mgi_st_source list[8], bad[9];
    mgi_perceptual p;
    (void)state;
    make_net(&net);
    list_net(&net, list);
    assert_int_equal(mgi_perceptual_init(&p, ctx, folder, "none.safetensors"), MGEN_E_NOT_FOUND);
    assert_bad_net(list, 1, "\"stage0.conv0\" needs a \"weight\"");
    assert_bad_net(list + 1, 7, "is no network");
    memcpy(bad, list, sizeof list);
    bad[2].dims[1] = 3; /* takes another number of channels than there are */
    assert_bad_net(bad, 8, "\"stage0.conv1\" needs a \"weight\" of (C,4,3,3)");
    memcpy(bad, list, sizeof list);
    bad[4].dims[2] = 1;
    assert_bad_net(bad, 8, "\"stage1.conv0\" needs");
    memcpy(bad, list, sizeof list);
    bad[5].dims[0] = 1;
    assert_bad_net(bad, 8, "\"stage1.conv0\" needs");
    assert_bad_net(list, 7, "for all stages or none");
    memcpy(bad, list, sizeof list);
    bad[7].dims[0] = 2;
    assert_bad_net(bad, 8, "\"stage1.lin.weight\" is not of (6)");
    memcpy(bad, list, sizeof list);
    bad[8] = bad[1];
    bad[8].name = "stage3.conv0.bias";
    assert_bad_net(bad, 9, "has more than that");
    net.lin[1][3] = -1.0f;
    assert_bad_net(list, 8, "\"stage1.lin.weight\" has a value below 0");
}

/* -- the discriminator -------------------------------------------------------------------------- */

static T *fooled(mgi_run *run, const void *of, T *x)
{
    T *verdict = mgi_discriminate(run, of, x, false);
    return mgi_loss(run, MGK_LOSS_HINGE_GENERATOR, 1.0f, verdict, NULL);
}

static void test_discriminator(void **state)
{
    mgi_discriminator d;
    mgi_run run;
    (void)state;
    assert_int_equal(mgi_discriminator_init(&d, ctx, 4), MGEN_OK);
    assert_int_equal(mgi_module_random(&d.module, 1), MGEN_OK);
    assert_int_equal(mgi_module_train(&d.module), MGEN_OK);
    T *x = variable(1, 2, 32, 24, 3);
    check_gradient("discriminator", fooled, &d, x, 1e-3, 0.03);
    for (int learns = 0; learns < 2; learns++) {
        mgi_run_init(&run, ctx, true);
        mgi_module_zero_grad(&d.module, &run);
        T *verdict = mgi_discriminate(&run, &d, x, learns);
        assert_non_null(verdict);
        assert_int_equal(verdict->dims[0], 2);
        assert_int_equal(verdict->dims[1], 2);
        assert_int_equal(verdict->dims[2], 1);
        assert_int_equal(verdict->dims[3], 1);
        mgi_backward(&run, mgi_loss(&run, MGK_LOSS_HINGE_FAKE, 1.0f, verdict, NULL));
        assert_int_equal(run.status, MGEN_OK);
        for (int64_t k = 0; k < d.module.count; k++) {
            const T *value = d.module.params[k]->value;
            double size = 0.0;
            for (int64_t i = 0; i < value->count; i++)
                size += fabs(mgi_f32(value->var->grad)[i]);
            assert_true(learns ? size > 0.0 : size == 0.0);
        }
        mgi_run_finish(&run);
    }
    mgi_tensor_release(x);
    mgi_discriminator_finish(&d);
}

/* -- all together ------------------------------------------------------------------------------- */

static mgi_stage full_stage(void)
{
    mgi_stage s = tiny_autoencoder(4, 1);
    s.image_batch = 1;
    s.frames = 1;
    s.opl = 0.1;
    s.opl_r = 3.0;
    s.perceptual = 0.1;
    s.gan = 0.5;
    s.gan_start = 1;
    s.gan_channels = 4;
    s.gan_optimizer = tiny_optimizer;
    return s;
}

/* The gradient of the pictures is that of what compares them plus, as long, the share of the discriminator's. */
static void test_ratio(void **state)
{
    mgi_stage s = full_stage();
    mgi_stage_params params = {.stage = &s, .dir = folder, .seed = 3};
    mgi_ae_loss l;
    float sums[MGI_LOSS_TERMS] = {0}, plain_sums[MGI_LOSS_TERMS] = {0};
    T *grad[2];
    (void)state;
    s.opl = 0.0;
    for (int adversarial = 0; adversarial < 2; adversarial++) {
        mgi_run run;
        assert_int_equal(mgi_ae_loss_init(&l, &params, &s, ctx), MGEN_OK);
        mgi_run_init(&run, ctx, true);
        T *x = mgi_new(&run, MGK_F32, MGI_DIMS(1, 2, 32, 32, 3)),
          *y = mgi_new(&run, MGK_F32, MGI_DIMS(1, 2, 32, 32, 3)),
          *kl = mgi_new(&run, MGK_F32, MGI_DIMS(1)),
          *terms = mgi_new(&run, MGK_F32, MGI_DIMS(MGI_LOSS_TERMS));
        assert_non_null(terms);
        mgi_fill(&run, kl, 0.0f);
        mgi_fill(&run, terms, 0.0f);
        for (int64_t i = 0; i < x->count; i++) {
            mgi_f32(x)[i] = 0.3f * mgi_random_normal(3, 1, (uint64_t)i);
            mgi_f32(y)[i] = 0.3f * mgi_random_normal(3, 2, (uint64_t)i);
        }
        assert_int_equal(mgi_var_create(ctx->device, MGK_F32, y->count, false, &y->var), MGEN_OK);
        assert_int_equal(mgi_adversary_acts(&l.adversary, adversarial), adversarial);
        mgi_adversary_begin(&l.adversary, &run, adversarial);
        mgi_ae_loss_pass(&l, &run, adversarial, 1.0f, true, x, y, y, kl, terms);
        mgi_adversary_end(&l.adversary, &run, adversarial);
        assert_int_equal(run.status, MGEN_OK);
        mgi_tensor_read(terms, 0, adversarial ? sums : plain_sums, MGI_LOSS_TERMS);
        grad[adversarial] = mgi_tensor_retain(y->var->grad);
        mgi_run_finish(&run);
        mgi_ae_loss_finish(&l);
    }
    double plain = 0.0, added = 0.0;
    for (int64_t i = 0; i < grad[0]->count; i++) {
        double a = mgi_f32(grad[0])[i], b = mgi_f32(grad[1])[i] - a;
        plain += a * a;
        added += b * b;
    }
    assert_true(plain > 0.0);
    assert_float_equal(sqrt(added / plain), s.gan, 1e-3);
    assert_float_equal(sums[MGI_LOSS_L1], plain_sums[MGI_LOSS_L1], 1e-6);
    assert_true(sums[MGI_LOSS_PERCEPTUAL] > 0.0f && sums[MGI_LOSS_RATIO] > 0.0f);
    assert_float_equal(
        sums[MGI_LOSS_TOTAL],
        plain_sums[MGI_LOSS_TOTAL] + s.gan * sums[MGI_LOSS_RATIO] * sums[MGI_LOSS_GENERATOR], 1e-4);
    assert_true(sums[MGI_LOSS_DISCRIMINATOR] > 0.0f && plain_sums[MGI_LOSS_DISCRIMINATOR] == 0.0f);
    mgi_tensor_release(grad[0]);
    mgi_tensor_release(grad[1]);
}

/* A stage with all of them, twice: the same model; each term is reported, the discriminator's from its start. */
static void test_stage(void **state)
{
    const mgi_stage s = full_stage();
    mgi_stage_params params = {.stage = &s, .dir = folder, .seed = 3};
    double last[2] = {0};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct mgi_stage_run *run;
        assert_int_equal(mgi_stage_autoencoder.create(ctx, &params, &run), MGEN_OK);
        for (int64_t k = 0; k < 3; k++) {
            mgen_report *report;
            bool seen[3] = {0};
            assert_int_equal(mgi_report_create(ctx, &report), MGEN_OK);
            if (mgi_stage_autoencoder.step(run, k, report) != MGEN_OK)
                fail_msg("%s", mgen_last_error(ctx));
            for (uint32_t e = 0; e < report->count; e++) {
                seen[0] = seen[0] || !strcmp(report->entry[e].name, "opl");
                seen[1] = seen[1] || !strcmp(report->entry[e].name, "perceptual");
                seen[2] = seen[2] || !strcmp(report->entry[e].name, "discriminator");
                if (!strcmp(report->entry[e].name, "loss"))
                    last[i] = report->entry[e].value;
            }
            assert_true(seen[0] && seen[1] && seen[2] == (k >= s.gan_start));
            mgen_report_destroy(report);
        }
        mgi_stage_autoencoder.destroy(run);
    }
    assert_float_equal(last[0], last[1], 0.0);
}

static void test_sizes(void **state)
{
    mgi_stage s = full_stage();
    mgi_stage_params params = {.stage = &s, .dir = folder, .seed = 3};
    mgi_ae_loss l;
    (void)state;
    assert_int_equal(mgi_ae_loss_init(&l, &params, &s, ctx), MGEN_OK);
    assert_int_equal(mgi_ae_loss_sides(&l, 16, 64), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "frames of 24 x 24 or more"));
    assert_int_equal(mgi_ae_loss_sides(&l, 64, 28), MGEN_E_INVALID);
    assert_non_null(strstr(mgen_last_error(ctx), "multiples of 8"));
    assert_int_equal(mgi_ae_loss_sides(&l, 24, 64), MGEN_OK);
    mgi_ae_loss_finish(&l);
}

static int set_up(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    (void)state;
    params.threads = 2;
    return mgen_context_create(&params, &ctx) != MGEN_OK || !mkdtemp(folder);
}

static int tear_down(void **state)
{
    (void)state;
    mgen_context_destroy(ctx);
    return remove_all(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opl),
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_perceptual_file),
        cmocka_unit_test(test_perceptual_random),
        cmocka_unit_test(test_perceptual_bad_file),
        cmocka_unit_test(test_discriminator),
        cmocka_unit_test(test_ratio),
        cmocka_unit_test(test_stage),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
