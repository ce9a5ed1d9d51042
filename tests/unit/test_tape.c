/* SPDX-License-Identifier: MIT
 * Each op's gradient against finite differences: reference and fastest kernels.
 *
 * For a function y(x...) and random weights r, the tape's gradient of sum r y is compared with
 * (sum r y(x + e d) - sum r y(x - e d)) / 2e, summed in double, along random directions d of each input.
 */
#include "core/philox.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/glu/glu.h"
#include "kernels/loss/loss.h"
#include "kernels/norm/norm.h"
#include "kernels/pointwise/pointwise.h"
#include "tensor/ops.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { INPUTS = 5, DIRECTIONS = 4 };

typedef struct problem {
    const char *name;
    T *(*function)(mgi_run *run,
                   T **in); /* also gets the fixed inputs after the differentiable ones */
    int inputs;
    int rank[INPUTS];
    int64_t dims[INPUTS][MGI_RANK_MAX];
    float scale[INPUTS]; /* of the random values; 0 = 1 */
} problem;

/* -- functions ---------------------------------------------------------------------------------- */

static T *f_linear(mgi_run *run, T **in)
{
    return mgi_linear(run, in[0], in[1], in[2]);
}

static T *f_conv(mgi_run *run, T **in)
{
    return mgi_conv2d(run, in[0], in[1], in[2],
                      (mgi_conv_options){.stride_h = 1,
                                         .stride_w = 1,
                                         .pad_top = 1,
                                         .pad_bottom = 1,
                                         .pad_left = 1,
                                         .pad_right = 1});
}

static T *f_conv_stride(mgi_run *run, T **in)
{
    return mgi_conv2d(
        run, in[0], in[1], in[2],
        (mgi_conv_options){.stride_h = 2, .stride_w = 2, .pad_bottom = 1, .pad_right = 1});
}

static T *f_conv_time(mgi_run *run, T **in)
{
    return mgi_conv2d(run, in[0], in[1], in[2],
                      (mgi_conv_options){.stride_h = 2,
                                         .stride_w = 1,
                                         .pad_top = 1,
                                         .pad_bottom = 1,
                                         .pad_mode = MGK_PAD_REPLICATE});
}

static T *f_resize(mgi_run *run, T **in)
{
    return mgi_resize_nearest(run, in[0], 2, 3);
}

static T *f_channels(mgi_run *run, T **in)
{
    T *scale = mgi_new(run, MGK_F32, MGI_DIMS(5)), *shift = mgi_new(run, MGK_F32, MGI_DIMS(5));
    for (int i = 0; scale && shift && i < 5; i++) {
        mgi_f32(scale)[i] = 0.5f * (float)i - 1.0f;
        mgi_f32(shift)[i] = (float)i;
    }
    return mgi_add(run, in[0], mgi_channel_affine(run, in[0], scale, shift));
}

static T *f_permute(mgi_run *run, T **in)
{
    return mgi_permute(run, in[0], (const int32_t[]){2, 0, 3, 1});
}

static T *some_mask(mgi_run *run, int64_t b, int64_t s)
{
    T *mask = mgi_new(run, MGK_U8, MGI_DIMS(b, s));
    for (int64_t i = 0; mask && i < b * s; i++)
        ((uint8_t *)mgi_data(mask))[i] = i % s == 0 || i % 3 != 1;
    return mask;
}

static T *f_self_attention(mgi_run *run, T **in)
{
    return mgi_self_attention(run, in[0], some_mask(run, in[0]->dims[0], in[0]->dims[1]), in[1],
                              0.7f);
}

static T *f_cross_attention(mgi_run *run, T **in)
{
    return mgi_cross_attention(run, in[0], in[1], some_mask(run, in[1]->dims[0], in[1]->dims[1]),
                               0.5f);
}

static T *f_rms_modulated(mgi_run *run, T **in)
{
    return mgi_norm(run, in[0],
                    (mgi_norm_options){.kind = MGK_NORM_RMS,
                                       .eps = 1e-5f,
                                       .weight = in[1],
                                       .mod = in[2],
                                       .scale = 1,
                                       .shift = 2});
}

static T *f_layer_norm(mgi_run *run, T **in)
{
    return mgi_norm(
        run, in[0],
        (mgi_norm_options){.kind = MGK_NORM_LAYER, .eps = 1e-5f, .weight = in[1], .bias = in[2]});
}

static T *f_group_norm(mgi_run *run, T **in)
{
    return mgi_group_norm(run, in[0], 3, 1e-5f, in[1], in[2], false);
}

static T *f_group_norm_silu(mgi_run *run, T **in)
{
    return mgi_group_norm(run, in[0], 2, 1e-5f, in[1], in[2], true);
}

/* one input used twice: its gradients add up */
static T *f_group_norm_plain(mgi_run *run, T **in)
{
    return mgi_add(run, in[0], mgi_group_norm(run, in[0], 1, 1e-3f, NULL, NULL, true));
}

static T *f_gated_residual(mgi_run *run, T **in)
{
    return mgi_gated_residual(run, in[0], in[1], in[2], 1);
}

static T *f_swiglu(mgi_run *run, T **in)
{
    return mgi_glu(run, in[0], MGK_GLU_SILU);
}

static T *f_geglu(mgi_run *run, T **in)
{
    return mgi_glu(run, in[0], MGK_GLU_GELU_TANH);
}

static T *f_silu(mgi_run *run, T **in)
{
    return mgi_unary(run, in[0], MGK_UNARY_SILU);
}

static T *f_gelu(mgi_run *run, T **in)
{
    return mgi_unary(run, in[0], MGK_UNARY_GELU_TANH);
}

static T *f_relu(mgi_run *run, T **in)
{
    return mgi_unary(run, in[0], MGK_UNARY_RELU);
}

static T *f_square(mgi_run *run, T **in)
{
    return mgi_unary(run, in[0], MGK_UNARY_SQUARE);
}

static T *f_log1p(mgi_run *run, T **in)
{
    return mgi_unary(run, mgi_unary(run, in[0], MGK_UNARY_SQUARE), MGK_UNARY_LOG1P);
}

static T *f_tanh(mgi_run *run, T **in)
{
    return mgi_unary(run, in[0], MGK_UNARY_TANH);
}

static T *f_snake(mgi_run *run, T **in)
{
    return mgi_snake(run, in[0], in[1]);
}

/* The input's gradient is added to another one. */
static T *f_snake_residual(mgi_run *run, T **in)
{
    return mgi_add(run, in[0], mgi_snake(run, in[0], in[1]));
}

/* one input used twice: its gradients add up */
static T *f_add(mgi_run *run, T **in)
{
    return mgi_add(run, mgi_add(run, in[0], in[1]), in[0]);
}

static T *f_add_rows(mgi_run *run, T **in)
{
    return mgi_add_rows(run, in[0], in[1]);
}

static T *f_slice(mgi_run *run, T **in)
{
    return mgi_slice(run, in[0], 1, 1, 2);
}

static T *f_embedding(mgi_run *run, T **in)
{
    T *ids = mgi_new(run, MGK_I32, MGI_DIMS(2, 4));
    for (int i = 0; ids && i < 8; i++)
        ((int32_t *)mgi_data(ids))[i] = (i * 3) % 5;
    return mgi_embedding(run, ids, in[0]);
}

static T *f_relative_bias(mgi_run *run, T **in)
{
    return mgi_relative_bias(run, in[0], 40, 32);
}

static T *f_patchify(mgi_run *run, T **in)
{
    return mgi_patchify(run, in[0], 1, 2, 2);
}

static T *f_unpatchify(mgi_run *run, T **in)
{
    return mgi_unpatchify(run, in[0], (int64_t[]){1, 2, 4, 6, 3}, 1, 2, 2);
}

static T *f_mse(mgi_run *run, T **in)
{
    T *target = mgi_new(run, MGK_F32, in[0]->rank, in[0]->dims);
    mgi_fill(run, target, 0.25f);
    return mgi_loss(run, MGK_LOSS_MSE, 3.0f, in[0], target);
}

/* Of the rows (2,3,5), one is left out. */
static T *f_cross_entropy(mgi_run *run, T **in)
{
    static const int32_t right[6] = {4, 0, -1, 2, 2, 1};
    T *target = mgi_new(run, MGK_I32, MGI_DIMS(2, 3));
    if (target)
        memcpy(mgi_data(target), right, sizeof right);
    return mgi_cross_entropy(run, 1.5f, in[0], target);
}

static T *f_l1(mgi_run *run, T **in)
{
    T *target = mgi_new(run, MGK_F32, in[0]->rank, in[0]->dims);
    mgi_fill(run, target, 9.0f); /* away from the kink */
    return mgi_loss(run, MGK_LOSS_L1, 3.0f, in[0], target);
}

/* z and kl both matter: kl is spread over z by add_rows */
static T *f_posterior(mgi_run *run, T **in)
{
    int64_t n = in[0]->count / 2;
    T *kl, *noise = mgi_new(run, MGK_F32, 1, &n);
    mgi_fill(run, noise, 0.6f);
    T *z = mgi_posterior(run, in[0], noise, 2.0f, &kl);
    return mgi_add_rows(run, mgi_reshape(run, z, MGI_DIMS(n, 1)),
                        mgi_reshape(run, kl, MGI_DIMS(1, 1)));
}

static T *f_bilinear(mgi_run *run, T **in)
{
    return mgi_resize_bilinear(run, in[0], 5, 7);
}

static T *f_softmax(mgi_run *run, T **in)
{
    return mgi_softmax(run, in[0]);
}

static T *f_positions(mgi_run *run, T **in)
{
    return mgi_position_add(run, in[0], in[1], in[2], in[3], (const int64_t[3]){2, 3, 2}, 0);
}

static T *f_hinge(mgi_run *run, T **in)
{
    return mgi_add(run, mgi_loss(run, MGK_LOSS_HINGE_REAL, 2.0f, in[0], NULL),
                   mgi_loss(run, MGK_LOSS_HINGE_GENERATOR, 0.5f, in[0], NULL));
}

static const problem problems[] = {
    {"linear", f_linear, 3, {3, 2, 1}, {{2, 5, 7}, {6, 7}, {6}}, {0}},
    {"linear, no bias", f_linear, 2, {2, 2}, {{33, 40}, {17, 40}}, {0}},
    {"conv2d 3x3", f_conv, 3, {4, 4, 1}, {{2, 5, 6, 3}, {4, 3, 3, 3}, {4}}, {0}},
    {"conv2d 3x3, wide", f_conv, 3, {4, 4, 1}, {{1, 8, 8, 16}, {32, 3, 3, 16}, {32}}, {0}},
    {"conv2d stride 2", f_conv_stride, 3, {4, 4, 1}, {{2, 6, 8, 4}, {5, 3, 3, 4}, {5}}, {0}},
    {"conv2d in time", f_conv_time, 3, {4, 4, 1}, {{2, 5, 3, 4}, {4, 3, 1, 4}, {4}}, {0}},
    {"conv2d in time, one frame",
     f_conv_time,
     3,
     {4, 4, 1},
     {{2, 1, 3, 4}, {4, 3, 1, 4}, {4}},
     {0}},
    {"resize_nearest", f_resize, 1, {4}, {{2, 3, 2, 5}}, {0}},
    {"channel affine", f_channels, 1, {3}, {{2, 3, 5}}, {0}},
    {"permute", f_permute, 1, {4}, {{2, 3, 4, 5}}, {0}},
    {"self attention", f_self_attention, 2, {5, 2}, {{2, 5, 3, 2, 4}, {2, 9}}, {0}},
    {"self attention, long", f_self_attention, 2, {5, 2}, {{1, 70, 3, 2, 8}, {2, 139}}, {0}},
    {"cross attention", f_cross_attention, 2, {4, 5}, {{2, 4, 2, 8}, {2, 6, 2, 2, 8}}, {0}},
    {"rms norm, modulated", f_rms_modulated, 3, {3, 1, 3}, {{2, 3, 9}, {9}, {2, 3, 9}}, {0}},
    {"layer norm", f_layer_norm, 3, {2, 1, 1}, {{5, 12}, {12}, {12}}, {0}},
    {"group norm", f_group_norm, 3, {4, 1, 1}, {{2, 3, 2, 12}, {12}, {12}}, {0}},
    {"group norm, silu", f_group_norm_silu, 3, {5, 1, 1}, {{2, 3, 4, 5, 6}, {6}, {6}}, {0}},
    {"group norm, no weight", f_group_norm_plain, 1, {3}, {{3, 4, 7}}, {0}},
    {"gated residual", f_gated_residual, 3, {3, 3, 3}, {{2, 3, 9}, {2, 3, 9}, {2, 2, 9}}, {0}},
    {"swiglu", f_swiglu, 1, {2}, {{4, 14}}, {0}},
    {"geglu", f_geglu, 1, {2}, {{4, 14}}, {0}},
    {"resize_bilinear", f_bilinear, 1, {4}, {{2, 3, 4, 5}}, {0}},
    {"softmax", f_softmax, 1, {2}, {{3, 11}}, {2}},
    {"positions", f_positions, 4, {3, 2, 2, 2}, {{3, 12, 5}, {4, 5}, {3, 5}, {2, 5}}, {0}},
    {"hinge", f_hinge, 1, {2}, {{4, 9}}, {0}},
    {"silu", f_silu, 1, {2}, {{3, 11}}, {3}},
    {"gelu", f_gelu, 1, {2}, {{3, 11}}, {2}},
    {"relu", f_relu, 1, {2}, {{3, 11}}, {50}},
    {"square", f_square, 1, {2}, {{3, 11}}, {2}},
    {"log1p", f_log1p, 1, {2}, {{3, 11}}, {2}},
    {"tanh", f_tanh, 1, {2}, {{3, 11}}, {1}},
    {"snake", f_snake, 2, {3, 1}, {{2, 5, 7}, {7}}, {0}},
    {"snake, residual", f_snake_residual, 2, {2, 1}, {{70, 80}, {80}}, {0}},
    {"add, used twice", f_add, 2, {2, 2}, {{3, 5}, {3, 5}}, {0}},
    {"add_rows", f_add_rows, 2, {3, 2}, {{2, 4, 5}, {4, 5}}, {0}},
    {"slice", f_slice, 1, {3}, {{2, 4, 3}}, {0}},
    {"embedding", f_embedding, 1, {2}, {{5, 3}}, {0}},
    {"relative_bias", f_relative_bias, 1, {2}, {{16, 3}}, {0}},
    {"patchify", f_patchify, 1, {5}, {{1, 2, 4, 6, 3}}, {0}},
    {"unpatchify", f_unpatchify, 1, {3}, {{1, 12, 12}}, {0}},
    {"mse", f_mse, 1, {2}, {{4, 5}}, {0}},
    {"cross entropy", f_cross_entropy, 1, {3}, {{2, 3, 5}}, {2}},
    {"l1", f_l1, 1, {2}, {{4, 5}}, {0}},
    {"posterior", f_posterior, 1, {2}, {{4, 6}}, {0}},
};

/* -- the comparison ----------------------------------------------------------------------------- */

static float weight_of(int64_t i)
{
    return mgi_random_normal(77, 1, (uint64_t)i);
}

static double value(mgen_context *ctx, const problem *p, T **in)
{
    mgi_run run;
    double sum = 0.0;
    mgi_run_init(&run, ctx, false);
    T *y = p->function(&run, in);
    assert_non_null(y);
    for (int64_t i = 0; i < y->count; i++)
        sum += (double)weight_of(i) * (double)mgi_f32(y)[i];
    mgi_run_finish(&run);
    return sum;
}

/* Gradients of sum r y into the inputs' variables: a squared distance to y - r has slope r at y. */
static void gradients(mgen_context *ctx, const problem *p, T **in)
{
    mgi_run run;
    mgi_run_init(&run, ctx, true);
    T *y = p->function(&run, in);
    assert_non_null(y);
    T *target = mgi_new(&run, MGK_F32, y->rank, y->dims);
    assert_non_null(target);
    for (int64_t i = 0; i < y->count; i++)
        mgi_f32(target)[i] = mgi_f32(y)[i] - weight_of(i);
    T *loss = mgi_loss(&run, MGK_LOSS_MSE, 0.5f * (float)y->count, y, target);
    if (mgi_backward(&run, loss) != MGEN_OK)
        fail_msg("%s: %s", p->name, mgen_last_error(ctx));
    mgi_run_finish(&run);
}

static void check_problem(mgen_context *ctx, const problem *p)
{
    T *in[INPUTS] = {0};
    for (int k = 0; k < p->inputs; k++) {
        float scale = p->scale[k] > 0.0f ? p->scale[k] : 1.0f;
        assert_int_equal(mgi_tensor_create(ctx->device, MGK_F32, p->rank[k], p->dims[k], &in[k]),
                         0);
        assert_int_equal(
            mgi_var_create(ctx->device, in[k]->dtype, in[k]->count, false, &in[k]->var), 0);
        for (int64_t i = 0; i < in[k]->count; i++)
            mgi_f32(in[k])[i] = scale * mgi_random_normal(5, (uint64_t)k, (uint64_t)i);
    }
    gradients(ctx, p, in);
    for (int k = 0; k < p->inputs; k++) {
        float *x = mgi_f32(in[k]);
        assert_non_null(in[k]->var->grad);
        const float *g = mgi_f32(in[k]->var->grad);
        for (int d = 0; d < DIRECTIONS; d++) {
            const float e = 1e-2f;
            double slope = 0.0, size = 0.0;
            float *kept = test_malloc((size_t)in[k]->count * sizeof *kept);
            memcpy(kept, x, (size_t)in[k]->count * sizeof *kept);
            double v[2];
            for (int side = 0; side < 2; side++) {
                for (int64_t i = 0; i < in[k]->count; i++)
                    x[i] =
                        kept[i] + (side ? -e : e) * mgi_random_normal(9, (uint64_t)d, (uint64_t)i);
                v[side] = value(ctx, p, in);
            }
            for (int64_t i = 0; i < in[k]->count; i++) {
                double part = (double)g[i] * (double)mgi_random_normal(9, (uint64_t)d, (uint64_t)i);
                slope += part;
                size += fabs(part);
            }
            memcpy(x, kept, (size_t)in[k]->count * sizeof *kept);
            test_free(kept);
            double found = (v[0] - v[1]) / (2.0 * (double)e);
            if (fabs(found - slope) > 2e-3 * (size + 1e-3))
                fail_msg("%s, input %d, direction %d: tape %.7g, differences %.7g", p->name, k, d,
                         slope, found);
        }
    }
    for (int k = 0; k < p->inputs; k++)
        mgi_tensor_release(in[k]);
}

static void check_all(const char *kernels)
{
    mgen_context *ctx;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 2;
    params.kernels = kernels;
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++)
        check_problem(ctx, &problems[i]);
    mgen_context_destroy(ctx);
}

static void test_reference(void **state)
{
    (void)state;
    check_all("ref");
}

static void test_portable(void **state)
{
    (void)state;
    check_all("portable,packed");
}

static void test_avx2(void **state)
{
    (void)state;
    check_all("avx2");
}

static void test_best(void **state)
{
    (void)state;
    check_all(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_portable),
        cmocka_unit_test(test_avx2),
        cmocka_unit_test(test_best),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
