/* SPDX-License-Identifier: MIT
 * Features of frames, by which an audio model sees a film: added to the frames' tokens through a gate. Over ranks:
 * test_mesh.c. */
#include "kernels/loss/loss.h"
#include "model/audio.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "networks.h"

enum { N = 2, FRAMES = 5, C = 3, F = 4, D = 24, TEXT = 3, WIDTH = 12 };

static const mgi_vt_config seeing = {.layers = 2,
                                     .dim = D,
                                     .heads = 2,
                                     .ff_dim = 40,
                                     .channels = C,
                                     .features = F,
                                     .patch_t = 1,
                                     .patch_h = 1,
                                     .patch_w = 1,
                                     .frames_max = FRAMES + 1,
                                     .rows_max = 1,
                                     .columns_max = 1,
                                     .text = {WIDTH},
                                     .time_dim = 16,
                                     .block = MGI_VT_DIT};

static void make(mgi_vt *vt, mgen_context *ctx, const mgi_vt_config *config)
{
    assert_int_equal(mgi_vt_init(vt, ctx, config), MGEN_OK);
    assert_int_equal(mgi_vt_random(vt, 1), MGEN_OK);
    randomise(&vt->module, 0.1f);
}

static T *answer(mgi_run *run, const mgi_vt *vt, T *features, T *condition)
{
    T *t = mgi_new(run, MGK_F32, MGI_DIMS(N));
    mgi_f32(t)[0] = 0.2f;
    mgi_f32(t)[1] = 0.7f;
    const mgi_vt_text text = {.x = {random_tensor(run, 3, MGI_DIMS(N, TEXT, WIDTH))},
                              .features = features,
                              .condition = condition};
    return mgi_vt_forward(run, vt, random_tensor(run, 1, MGI_DIMS(N, FRAMES, 1, 1, C)), t, &text);
}

static T *features_of(mgi_run *run)
{
    return random_tensor(run, 2, MGI_DIMS(N, FRAMES, F));
}

/* sigmoid(W1 f) W2 f of one frame. */
static void gated(const mgi_vt *vt, const float *f, float out[D])
{
    const float *w = mgi_f32(vt->feature->value);
    for (int i = 0; i < D; i++) {
        double gate = 0.0, value = 0.0;
        for (int k = 0; k < F; k++) {
            gate += (double)w[i * F + k] * (double)f[k];
            value += (double)w[(D + i) * F + k] * (double)f[k];
        }
        out[i] = (float)(value / (1.0 + exp(-gate)));
    }
}

/* As a model that sees what they add as a condition of as many channels as it is wide. */
static void test_definition(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt vt, plain;
    mgi_run run;
    mgi_vt_config c = seeing;
    (void)state;
    make(&vt, ctx, &seeing);
    c.features = 0;
    c.condition = D;
    make(&plain, ctx, &c);
    for (int64_t k = 0; k < plain.module.count; k++)
        for (int64_t j = 0; j < vt.module.count; j++)
            if (!strcmp(plain.module.params[k]->name, vt.module.params[j]->name))
                assert_int_equal(
                    mgi_tensor_copy(plain.module.params[k]->value, vt.module.params[j]->value),
                    MGEN_OK);
    for (int i = 0; i < D * D; i++)
        mgi_f32(plain.patch_condition->value)[i] = i % (D + 1) ? 0.0f : 1.0f;
    mgi_run_init(&run, ctx, false);
    T *f = features_of(&run), *added = mgi_new(&run, MGK_F32, MGI_DIMS(N, FRAMES, 1, 1, D));
    for (int i = 0; i < N * FRAMES; i++)
        gated(&vt, mgi_f32(f) + i * F, mgi_f32(added) + i * D);
    T *got = answer(&run, &vt, f, NULL), *want = answer(&run, &plain, NULL, added);
    assert_non_null(got);
    assert_non_null(want);
    for (int64_t i = 0; i < got->count; i++)
        assert_true(fabsf(mgi_f32(got)[i] - mgi_f32(want)[i]) < 2e-6f);
    mgi_fill(&run, f, 0.0f); /* of no film: nothing, whatever the weights */
    mgi_fill(&run, added, 0.0f);
    got = answer(&run, &vt, f, NULL);
    want = answer(&run, &plain, NULL, added);
    assert_memory_equal(mgi_f32(got), mgi_f32(want), (size_t)got->count * sizeof(float));
    mgi_run_finish(&run);
    mgi_vt_finish(&vt);
    mgi_vt_finish(&plain);
    mgen_context_destroy(ctx);
}

/* The loss with `by` added to feature `i`; and where *slopes is wanted, its gradient. */
static double loss_at(mgen_context *ctx, mgi_vt *vt, int64_t i, float by, float *slopes)
{
    mgi_run run;
    mgi_run_init(&run, ctx, slopes != NULL);
    if (slopes)
        mgi_module_zero_grad(&vt->module, &run);
    T *f = features_of(&run);
    mgi_f32(f)[i] += by;
    if (slopes)
        assert_int_equal(mgi_var_create(run.dev, MGK_F32, f->count, false, &f->var), MGEN_OK);
    T *u = answer(&run, vt, f, NULL);
    T *loss = mgi_loss(&run, MGK_LOSS_MSE, 1.0f, u, random_tensor(&run, 9, u->rank, u->dims));
    double value = (double)mgi_f32(loss)[0];
    if (slopes) {
        assert_int_equal(mgi_backward(&run, loss), MGEN_OK);
        memcpy(slopes, mgi_f32(f->var->grad), (size_t)f->count * sizeof *slopes);
    }
    mgi_run_finish(&run);
    return value;
}

static void test_gradients(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt vt;
    float slopes[N * FRAMES * F];
    (void)state;
    make(&vt, ctx, &seeing);
    assert_int_equal(mgi_module_train(&vt.module), MGEN_OK);
    loss_at(ctx, &vt, 0, 0.0f, slopes);
    for (int64_t i = 0; i < N * FRAMES * F; i++) {
        double want =
            (loss_at(ctx, &vt, i, 0.02f, NULL) - loss_at(ctx, &vt, i, -0.02f, NULL)) / 0.04;
        if (!(fabs((double)slopes[i] - want) < 2e-4 + 0.02 * fabs(want)))
            fail_msg("feature %d: gradient %g, by differences %g", (int)i, (double)slopes[i], want);
    }
    const mgi_tensor *w = vt.feature->value;
    for (int64_t i = 0; i < w->count; i += 5) {
        float *x = mgi_f32(w) + i, before = *x, slope = mgi_f32(w->var->grad)[i];
        *x = before + 0.02f;
        double up = loss_at(ctx, &vt, 0, 0.0f, NULL);
        *x = before - 0.02f;
        double want = (up - loss_at(ctx, &vt, 0, 0.0f, NULL)) / 0.04;
        *x = before;
        if (!(fabs((double)slope - want) < 2e-4 + 0.02 * fabs(want)))
            fail_msg("weight %d: gradient %g, by differences %g", (int)i, (double)slope, want);
    }
    mgi_vt_finish(&vt);
    mgen_context_destroy(ctx);
}

static void test_refused(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt vt, plain;
    mgi_vt_config c = seeing;
    (void)state;
    make(&vt, ctx, &seeing);
    c.features = 0;
    make(&plain, ctx, &c);
    for (int i = 0; i < 3; i++) {
        mgi_run run;
        mgi_run_init(&run, ctx, false);
        T *f = i == 0   ? NULL
               : i == 1 ? features_of(&run)
                        : random_tensor(&run, 2, MGI_DIMS(N, FRAMES - 1, F));
        assert_null(answer(&run, i == 1 ? &plain : &vt, f, NULL));
        assert_non_null(strstr(mgen_last_error(ctx),
                               i == 2 ? "not one vector for each token"
                                      : "features of frames and gets none, or the other way"));
        mgi_run_finish(&run);
    }
    mgi_vt_finish(&vt);
    mgi_vt_finish(&plain);
    mgen_context_destroy(ctx);
}

/* A model that was trained without a film begins with one, as it was. */
static void test_grown(void **state)
{
    static char path[] = "/tmp/moviegen-features-XXXXXX";
    mgen_context *ctx = make_context();
    mgi_vt vt, plain;
    mgi_vt_config c = seeing;
    mgi_st_source sources[64];
    mgi_st_file st;
    mgi_run run;
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    close(fd);
    c.features = 0;
    make(&plain, ctx, &c);
    make(&vt, ctx, &seeing);
    for (int64_t k = 0; k < plain.module.count; k++) {
        const mgi_param *p = plain.module.params[k];
        sources[k] = (mgi_st_source){p->name, MGI_ST_F32, p->rank, {0}, mgi_f32(p->value)};
        memcpy(sources[k].dims, p->dims, (size_t)p->rank * sizeof *p->dims);
    }
    assert_int_equal(mgi_st_write(ctx, path, sources, plain.module.count, NULL, 0), MGEN_OK);
    assert_int_equal(mgi_st_open(ctx, NULL, path, &st), MGEN_OK);
    assert_int_equal(mgi_vt_load_grown(&vt, &plain.config, &st, "file"), MGEN_OK);
    mgi_st_close(ctx, &st);
    mgi_run_init(&run, ctx, false);
    T *got = answer(&run, &vt, features_of(&run), NULL), *want = answer(&run, &plain, NULL, NULL);
    assert_memory_equal(mgi_f32(got), mgi_f32(want), (size_t)got->count * sizeof(float));
    mgi_run_finish(&run);
    mgi_vt_finish(&vt);
    mgi_vt_finish(&plain);
    unlink(path);
    mgen_context_destroy(ctx);
}

/* -- what an audio model's file says ------------------------------------------------------------- */

#define TRANSFORMER(more)                                                                          \
    "\"transformer\": {\"layers\": 1, \"dim\": 8, \"heads\": 2, \"ff_dim\": 8, \"channels\": 4, "  \
    "\"condition_channels\": 4, \"patch\": [1, 1, 1], \"frames_max\": 60, \"rows_max\": 1, "       \
    "\"columns_max\": 1, \"block\": \"dit\"" more "}"
#define NAMES   "\"codec\": \"c\", \"text\": \"t\", "
#define TEXT_OF ", \"text\": {\"ul2\": 8}"
#define SEES    ", \"frame_features\": 6"

static mgen_status parse(mgen_context *ctx, const char *text, mgi_audio_config *out)
{
    mgi_json *root;
    assert_int_equal(mgi_json_parse(ctx, "text", text, strlen(text), &root), MGEN_OK);
    mgen_status status = mgi_audio_config_read(ctx, root, out);
    mgi_json_free(ctx, root);
    return status;
}

static void test_config(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{" NAMES TRANSFORMER(TEXT_OF SEES) "}", "need each other"},
        {"{" NAMES "\"vision\": \"v\", " TRANSFORMER(TEXT_OF) "}", "need each other"},
        {"{" NAMES "\"vision\": \"../v\", " TRANSFORMER(TEXT_OF SEES) "}", "same folder"},
        {"{\"text\": \"t\", " TRANSFORMER(TEXT_OF) "}", "\"codec\""},
        {"{" NAMES "\"window\": 61, " TRANSFORMER(TEXT_OF) "}", "does not fit"},
        {"{" NAMES "\"window\": 60, \"overlap\": 31, " TRANSFORMER(TEXT_OF) "}", "half is"},
        {"{" NAMES TRANSFORMER(", \"text\": {\"metaclip\": 8}") "}", "\"ul2\""},
        {"{" NAMES TRANSFORMER(TEXT_OF ", \"tasks\": 2") "}", "no \"tasks\""},
        {"{" NAMES "\"stpes\": 3, " TRANSFORMER(TEXT_OF) "}", "stpes"},
        {"{" NAMES "\"transformer\": 3}", "must be an object"},
    };
    mgen_context *ctx = make_context();
    mgi_audio_config c;
    (void)state;
    assert_int_equal(parse(ctx, "{" NAMES "\"vision\": \"v\", " TRANSFORMER(TEXT_OF SEES) "}", &c),
                     MGEN_OK);
    assert_int_equal(c.window, 60);
    assert_int_equal(c.overlap, 20);
    assert_int_equal(c.steps, 64);
    assert_true(c.transformer.guidance == 3.0f && c.transformer.features == 6);
    assert_string_equal(c.vision, "v");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse(ctx, bad[i].text, &c), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), bad[i].says))
            fail_msg("%s", mgen_last_error(ctx));
    }
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition), cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_grown),
        cmocka_unit_test(test_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
