/* SPDX-License-Identifier: MIT
 * The video transformer of DiT blocks: against its formulas in double, its gradients, its configuration. */
#include "core/philox.h"
#include "model/video_transformer.h"

#include "kernels/loss/loss.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "networks.h"

/* Tokens: 2 frames of 1 x 2; latents of 2 channels in patches of 1 x 1 x 1; 3 text tokens. */
enum { D = 8, HEADS = 2, DH = D / HEADS, FF = 12, S = 4, TEXT = 3, WIDTH = 6, C = 2, TIME = 4 };
static const mgi_vt_config tiny = {.layers = 2,
                                   .dim = D,
                                   .heads = HEADS,
                                   .ff_dim = FF,
                                   .channels = C,
                                   .patch_t = 1,
                                   .patch_h = 1,
                                   .patch_w = 1,
                                   .frames_max = 2,
                                   .rows_max = 1,
                                   .columns_max = 2,
                                   .text = {WIDTH},
                                   .time_dim = TIME,
                                   .block = MGI_VT_DIT};

/* Values of both signs for all parameters. */
static void make(mgi_vt *vt, mgen_context *ctx, const mgi_vt_config *config)
{
    assert_int_equal(mgi_vt_init(vt, ctx, config), MGEN_OK);
    assert_int_equal(mgi_vt_random(vt, 1), MGEN_OK);
    for (int64_t k = 0; k < vt->module.count; k++)
        for (int64_t i = 0; i < vt->module.params[k]->value->count; i++)
            mgi_f32(vt->module.params[k]->value)[i] +=
                0.3f * mgi_random_normal(8, 100 + (uint64_t)k, (uint64_t)i);
}

static T *velocity(mgi_run *run, const mgi_vt *vt, int64_t samples)
{
    T *x = random_tensor(run, 6, MGI_DIMS(samples, 2, 1, 2, C));
    T *t = mgi_new(run, MGK_F32, MGI_DIMS(samples));
    const mgi_vt_text text = {{random_tensor(run, 7, MGI_DIMS(samples, TEXT, WIDTH))}, {NULL}};
    mgi_fill(run, t, 0.3f);
    T *u = mgi_vt_forward(run, vt, x, t, &text);
    assert_non_null(u);
    return u;
}

/* -- the formulas --------------------------------------------------------------------------------- */

static double value(const mgi_vt *vt, const char *name, int64_t i)
{
    for (int64_t k = 0; k < vt->module.count; k++)
        if (!strcmp(vt->module.params[k]->name, name))
            return (double)mgi_f32(vt->module.params[k]->value)[i];
    fail_msg("no parameter %s", name);
    return 0.0;
}

static double block_value(const mgi_vt *vt, int block, const char *name, int64_t i)
{
    char text[128];
    snprintf(text, sizeof text, "block%d.%s", block, name);
    return value(vt, text, i);
}

/* y (out) = W x + b; block < 0: not of a block. */
static void ref_linear(const mgi_vt *vt, int block, const char *name, const double *x, int in,
                       int out, double *y)
{
    char w[96], b[96];
    snprintf(w, sizeof w, "%s.weight", name);
    snprintf(b, sizeof b, "%s.bias", name);
    for (int o = 0; o < out; o++) {
        y[o] = block < 0 ? value(vt, b, o) : block_value(vt, block, b, o);
        for (int i = 0; i < in; i++)
            y[o] += x[i] * (block < 0 ? value(vt, w, (int64_t)o * in + i)
                                      : block_value(vt, block, w, (int64_t)o * in + i));
    }
}

static void ref_layer_norm(const double *x, double eps, double *y)
{
    double mean = 0.0, variance = 0.0;
    for (int i = 0; i < D; i++)
        mean += x[i] / D;
    for (int i = 0; i < D; i++)
        variance += (x[i] - mean) * (x[i] - mean) / D;
    for (int i = 0; i < D; i++)
        y[i] = (x[i] - mean) / sqrt(variance + eps);
}

static double silu(double x)
{
    return x / (1.0 + exp(-x));
}

static double gelu(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

/* One query against keys and values, which lie in rows of kv. */
static void ref_attention(const double *q, const double *kv, int keys, int row, int k_at, int v_at,
                          double *y)
{
    for (int h = 0; h < HEADS; h++) {
        double p[S], sum = 0.0;
        for (int k = 0; k < keys; k++) {
            double score = 0.0;
            for (int i = h * DH; i < (h + 1) * DH; i++)
                score += q[i] * kv[k * row + k_at + i] / sqrt(DH);
            sum += p[k] = exp(score);
        }
        for (int i = h * DH; i < (h + 1) * DH; i++) {
            y[i] = 0.0;
            for (int k = 0; k < keys; k++)
                y[i] += p[k] / sum * kv[k * row + v_at + i];
        }
    }
}

static void ref_modulated(const double *x, const double *mod, int scale, int shift, double *y)
{
    ref_layer_norm(x, 1e-6, y);
    for (int i = 0; i < D; i++)
        y[i] = y[i] * (1.0 + mod[scale * D + i]) + mod[shift * D + i];
}

static void ref_block(const mgi_vt *vt, int b, double x[S][D], const double shared[6 * D],
                      double text[TEXT][D])
{
    double mod[6 * D], qkv[S][3 * D], kv[TEXT][2 * D], h[D], f[FF], y[D];
    for (int i = 0; i < 6 * D; i++)
        mod[i] = shared[i] + block_value(vt, b, "mod", i);
    for (int s = 0; s < S; s++) {
        for (int i = 0; i < D; i++)
            x[s][i] += value(vt, "pos.frame", s / 2 * D + i) + value(vt, "pos.row", i) +
                       value(vt, "pos.column", s % 2 * D + i);
        ref_modulated(x[s], mod, 0, 1, h);
        ref_linear(vt, b, "attn.qkv", h, D, 3 * D, qkv[s]);
    }
    for (int k = 0; k < TEXT; k++)
        ref_linear(vt, b, "cross.kv", text[k], D, 2 * D, kv[k]);
    for (int s = 0; s < S; s++) {
        ref_attention(qkv[s], qkv[0], S, 3 * D, D, 2 * D, h);
        ref_linear(vt, b, "attn.out", h, D, D, y);
        for (int i = 0; i < D; i++)
            x[s][i] += mod[2 * D + i] * y[i];
        ref_linear(vt, b, "cross.q", x[s], D, D, y);
        ref_attention(y, kv[0], TEXT, 2 * D, 0, D, h);
        ref_linear(vt, b, "cross.out", h, D, D, y);
        for (int i = 0; i < D; i++)
            x[s][i] += y[i];
        ref_modulated(x[s], mod, 3, 4, h);
        ref_linear(vt, b, "ffn.up", h, D, FF, f);
        for (int i = 0; i < FF; i++)
            f[i] = vt->config.activation == MGI_VT_SILU ? silu(f[i]) : gelu(f[i]);
        ref_linear(vt, b, "ffn.down", f, FF, D, y);
        for (int i = 0; i < D; i++)
            x[s][i] += mod[5 * D + i] * y[i];
    }
}

static void ref_text(const mgi_vt *vt, const float *in, double text[TEXT][D])
{
    double y[D];
    for (int k = 0; k < TEXT; k++) {
        for (int o = 0; o < D; o++) {
            y[o] = 0.0;
            for (int i = 0; i < WIDTH; i++)
                y[o] += (double)in[k * WIDTH + i] * value(vt, "text.proj.weight", o * WIDTH + i);
        }
        ref_layer_norm(y, 1e-5, text[k]);
        for (int i = 0; i < D; i++)
            text[k][i] =
                text[k][i] * value(vt, "text.norm.weight", i) + value(vt, "text.norm.bias", i);
    }
}

static void ref_velocity(const mgi_vt *vt, const float *latents, const float *text_in, double time,
                         double u[S][C])
{
    double x[S][D], text[TEXT][D], e[D], y[D], shared[6 * D], head[2 * D], wave[TIME], in[C];
    for (int i = 0; i < TIME / 2; i++) {
        double angle = 1000.0 * time * exp(-log(10000.0) * i / (TIME / 2));
        wave[i] = cos(angle);
        wave[TIME / 2 + i] = sin(angle);
    }
    ref_linear(vt, -1, "time.in", wave, TIME, D, y);
    for (int i = 0; i < D; i++)
        y[i] = silu(y[i]);
    ref_linear(vt, -1, "time.out", y, D, D, e);
    for (int i = 0; i < D; i++)
        e[i] = silu(e[i]);
    ref_linear(vt, -1, "time.mod", e, D, 6 * D, shared);
    ref_linear(vt, -1, "head.mod", e, D, 2 * D, head);
    ref_text(vt, text_in, text);
    for (int s = 0; s < S; s++) {
        for (int i = 0; i < C; i++)
            in[i] = (double)latents[s * C + i];
        ref_linear(vt, -1, "patch", in, C, D, x[s]);
    }
    for (int b = 0; b < vt->config.layers; b++)
        ref_block(vt, b, x, shared, text);
    for (int s = 0; s < S; s++) {
        ref_modulated(x[s], head, 0, 1, y);
        ref_linear(vt, -1, "head", y, D, C, u[s]);
    }
}

static void test_formulas(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    for (int activation = MGI_VT_GELU; activation <= MGI_VT_SILU; activation++) {
        mgi_vt_config config = tiny;
        mgi_vt vt;
        mgi_run run;
        double want[S][C];
        config.activation = activation;
        make(&vt, ctx, &config);
        mgi_run_init(&run, ctx, false);
        T *u = velocity(&run, &vt, 1);
        ref_velocity(&vt, mgi_f32(random_tensor(&run, 6, MGI_DIMS(S, C))),
                     mgi_f32(random_tensor(&run, 7, MGI_DIMS(TEXT, WIDTH))), (double)0.3f, want);
        for (int i = 0; i < S * C; i++)
            if (fabs((double)mgi_f32(u)[i] - want[i / C][i % C]) > 2e-4)
                fail_msg("activation %d, element %d: %g, not %g", activation, i,
                         (double)mgi_f32(u)[i], want[i / C][i % C]);
        mgi_run_finish(&run);
        mgi_vt_finish(&vt);
    }
    mgen_context_destroy(ctx);
}

/* -- training ------------------------------------------------------------------------------------- */

static double step(mgen_context *ctx, mgi_vt *vt)
{
    mgi_run run;
    mgi_run_init(&run, ctx, true);
    mgi_module_zero_grad(&vt->module, &run);
    T *target = random_tensor(&run, 9, MGI_DIMS(3, 2, 1, 2, C));
    T *loss = mgi_loss(&run, MGK_LOSS_MSE, 1.0f, velocity(&run, vt, 3), target);
    assert_int_equal(mgi_backward(&run, loss), MGEN_OK);
    double value = (double)mgi_f32(loss)[0];
    mgi_run_finish(&run);
    return value;
}

/* Each parameter's gradient is the loss's slope along it; the form asked for changes nothing, as there is one; and
 * recomputed blocks give the same bits. */
static void test_gradients(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_vt vt;
    make(&vt, ctx, &tiny);
    assert_int_equal(mgi_module_train(&vt.module), MGEN_OK);
    double loss = step(ctx, &vt);
    for (int64_t k = 0; k < vt.module.count; k++) {
        mgi_tensor *p = vt.module.params[k]->value;
        float *w = mgi_f32(p), before[1024], gradient[1024];
        double along = 0.0, ends[2];
        assert_true(p->count <= 1024);
        assert_true(step(ctx, &vt) == loss);
        memcpy(before, w, (size_t)p->count * sizeof *w);
        memcpy(gradient, mgi_f32(p->var->grad), (size_t)p->count * sizeof *w);
        for (int64_t i = 0; i < p->count; i++)
            along += (double)gradient[i] * (i % 3 ? 1 : -2);
        for (int end = 0; end < 2; end++) {
            for (int64_t i = 0; i < p->count; i++)
                w[i] = before[i] + (end ? 1e-3f : -1e-3f) * (i % 3 ? 1 : -2);
            ends[end] = step(ctx, &vt);
        }
        memcpy(w, before, (size_t)p->count * sizeof *w);
        double slope = (ends[1] - ends[0]) / 2e-3;
        if (fabs(slope - along) > 0.02 * fabs(along) + 0.01)
            fail_msg("%s: slope %g, gradient %g", vt.module.params[k]->name, slope, along);
    }
    step(ctx, &vt);
    float want = mgi_f32(vt.block[0].up_b->value->var->grad)[1];
    for (vt.recompute = MGI_RECOMPUTE_SELECTIVE; vt.recompute <= MGI_RECOMPUTE_FULL;
         vt.recompute++) {
        assert_true(step(ctx, &vt) == loss);
        assert_true(mgi_f32(vt.block[0].up_b->value->var->grad)[1] == want);
    }
    vt.form = MGI_BLOCK_CHAINED;
    assert_true(step(ctx, &vt) == loss);
    assert_int_equal(mgi_module_compute(&vt.module, MGK_BF16), MGEN_OK);
    assert_true(fabs(step(ctx, &vt) - loss) < 0.05 * loss);
    mgi_vt_finish(&vt);
    mgen_context_destroy(ctx);
}

/* -- configuration -------------------------------------------------------------------------------- */

static mgen_status read(mgen_context *ctx, const char *more, mgi_vt_config *out)
{
    char text[512];
    mgi_json *json;
    snprintf(text, sizeof text,
             "{\"layers\": 2, \"dim\": 8, \"heads\": 2, \"ff_dim\": 12, \"channels\": 2, "
             "\"patch\": [1, 1, 1], \"frames_max\": 2, \"rows_max\": 1, \"columns_max\": 2, "
             "\"text\": {\"ul2\": 6}, \"time_dim\": 4%s}",
             more);
    assert_int_equal(mgi_json_parse(ctx, "test", text, strlen(text), &json), MGEN_OK);
    mgen_status status = mgi_vt_config_read(ctx, json, out);
    mgi_json_free(ctx, json);
    return status;
}

static void assert_written(mgen_context *ctx, const mgi_vt_config *config, const char *part,
                           bool there)
{
    mgi_json_writer w;
    const char *text;
    size_t size;
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_open(&w, NULL, '{');
    mgi_vt_config_write(&w, config);
    mgi_json_close(&w, '}');
    assert_int_equal(mgi_json_text(&w, &text, &size), MGEN_OK);
    assert_int_equal(strstr(text, part) != NULL, there);
    mgi_json_writer_free(&w);
}

static void test_configuration(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_vt_config c;
    assert_int_equal(read(ctx, "", &c), MGEN_OK);
    assert_int_equal(c.block, MGI_VT_LLAMA);
    assert_written(ctx, &c, "block", false);
    assert_int_equal(read(ctx, ", \"block\": \"llama\"", &c), MGEN_OK);
    assert_int_equal(read(ctx, ", \"block\": \"dit\"", &c), MGEN_OK);
    assert_int_equal(c.block, MGI_VT_DIT);
    assert_int_equal(c.activation, MGI_VT_GELU);
    assert_int_equal(read(ctx, ", \"block\": \"dit\", \"activation\": \"silu\"", &c), MGEN_OK);
    assert_int_equal(c.activation, MGI_VT_SILU);
    assert_written(ctx, &c, "\"block\": \"dit\", \"activation\": \"silu\"", true);
    assert_int_equal(read(ctx, ", \"block\": \"unet\"", &c), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "\"block\" is \"unet\""));
    assert_int_equal(read(ctx, ", \"activation\": \"silu\"", &c), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "\"activation\" needs"));
    assert_int_equal(read(ctx, ", \"objective\": \"v_prediction\"", &c), MGEN_OK);
    assert_int_equal(c.objective, MGI_VT_V_PREDICTION);
    assert_written(ctx, &c, "\"objective\": \"v_prediction\"", true);
    assert_true(c.guidance == 7.5f);
    assert_written(ctx, &c, "guidance", false);
    assert_int_equal(read(ctx, ", \"guidance\": 3", &c), MGEN_OK);
    assert_true(c.guidance == 3.0f);
    assert_written(ctx, &c, "\"guidance\": 3", true);
    assert_int_equal(read(ctx, ", \"guidance\": 0", &c), MGEN_E_CORRUPT);
    assert_true(mgi_vt_noise_scale(&c, 0.0f) == 1.0f);
    assert_written(ctx, &c, "noise_scale", false);
    assert_int_equal(read(ctx, ", \"noise_scale\": 0.5", &c), MGEN_OK);
    assert_true(mgi_vt_noise_scale(&c, 0.0f) == 0.5f && mgi_vt_noise_scale(&c, 0.7f) == 0.7f);
    assert_written(ctx, &c, "\"noise_scale\": 0.5", true);
    assert_int_equal(read(ctx, ", \"noise_scale\": 3", &c), MGEN_E_CORRUPT);
    assert_int_equal(read(ctx, ", \"objective\": \"score\"", &c), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "\"objective\" is \"score\""));
    mgen_context_destroy(ctx);
}

/* The velocity of the first `frames` of two frames, of whose tokens some may not be attended to. */
static T *counted(mgi_run *run, const mgi_vt *vt, int64_t frames, const uint8_t *counts)
{
    enum { SAMPLES = 2 };
    T *all = random_tensor(run, 6, MGI_DIMS(SAMPLES, 2, 1, 2, C));
    T *t = mgi_new(run, MGK_F32, MGI_DIMS(SAMPLES));
    mgi_vt_text text = {{random_tensor(run, 7, MGI_DIMS(SAMPLES, TEXT, WIDTH))}, {NULL}};
    mgi_fill(run, t, 0.3f);
    if (counts) {
        text.counts = mgi_new(run, MGK_U8, MGI_DIMS(SAMPLES, S));
        mgi_tensor_write(text.counts, 0, counts, SAMPLES * S);
    }
    return mgi_vt_forward(run, vt, mgi_slice(run, all, 1, 0, frames), t, &text);
}

/* Tokens that nobody attends to leave the others as they are without them, in blocks of both kinds. */
static void test_counts(void **state)
{
    static const uint8_t half[] = {1, 1, 0, 0, 1, 1, 0, 0};
    (void)state;
    mgen_context *ctx = make_context();
    for (int kind = 0; kind < 2; kind++) {
        mgi_vt_config config = tiny;
        mgi_vt vt;
        mgi_run run;
        config.block = kind ? MGI_VT_DIT : MGI_VT_LLAMA;
        make(&vt, ctx, &config);
        mgi_run_init(&run, ctx, false);
        const T *one = counted(&run, &vt, 1, NULL), *two = counted(&run, &vt, 2, half);
        const T *plain = counted(&run, &vt, 2, NULL);
        assert_int_equal(run.status, MGEN_OK);
        double far = 0.0;
        for (int64_t i = 0; i < one->count; i++) {
            const int64_t at = i / (2 * C) * (4 * C) + i % (2 * C);
            assert_float_equal(mgi_f32(two)[at], mgi_f32(one)[i], 1e-5);
            far = fmax(far, fabs((double)mgi_f32(plain)[at] - (double)mgi_f32(one)[i]));
        }
        assert_true(far > 1e-3);
        assert_null(counted(&run, &vt, 1, half));
        assert_int_equal(run.status, MGEN_E_INTERNAL);
        mgi_run_finish(&run);
        mgi_run_init(&run, ctx, true);
        assert_null(counted(&run, &vt, 2, half));
        assert_non_null(strstr(mgen_last_error(ctx), "with a tape"));
        mgi_run_finish(&run);
        mgi_vt_finish(&vt);
    }
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas), cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_configuration), cmocka_unit_test(test_counts)};
    return cmocka_run_group_tests_name("dit", tests, NULL, NULL);
}
