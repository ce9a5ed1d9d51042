/* SPDX-License-Identifier: MIT
 * CLIP's text tower against a reference in double precision; what a token may see; files. */
#include "core/philox.h"
#include "model/clip_text.h"
#include "model/model_file.h"

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

enum { VOCAB = 40, DIM = 24, HEADS = 3, HEAD = DIM / HEADS, FF = 40, POSITIONS = 160, OUT = 12 };
enum { B = 2, S = 150, CHANGED = 100 };

#include "clip_reference.h"

static const mgi_clip_text_config small = {.vocab = VOCAB,
                                           .dim = DIM,
                                           .layers = 3,
                                           .heads = HEADS,
                                           .ff_dim = FF,
                                           .tokens_max = POSITIONS,
                                           .projection = OUT,
                                           .eps = 1e-5f};
static const int64_t lengths[B] = {S, 70}; /* tokens that count */

static void make_clip(mgi_clip_text *clip, mgen_context *ctx, const mgi_clip_text_config *config)
{
    assert_int_equal(mgi_clip_text_init(clip, ctx, config, NULL), MGEN_OK);
    make_values(&clip->module);
}

static int32_t id_at(int64_t b, int64_t s)
{
    return (int32_t)((7 * b + 11 * s + s * s) % VOCAB);
}

/* -- the reference ---------------------------------------------------------------------------------- */

static void reference(const mgi_clip_text *clip, int64_t b, int tokens, double out[S][DIM],
                      double *pooled)
{
    double x[S][DIM];
    for (int s = 0; s < tokens; s++)
        for (int i = 0; i < DIM; i++)
            x[s][i] = (double)values(clip->embedding)[id_at(b, s) * DIM + i] +
                      (double)values(clip->position)[s * DIM + i];
    for (int64_t k = 0; k < clip->config.layers; k++)
        ref_layer(REF_PARAMS(&clip->layer[k]), true, clip->config.quick_gelu, tokens, x);
    for (int s = 0; s < tokens; s++)
        ref_norm(x[s], clip->norm, clip->norm_bias, out[s]);
    ref_linear(out[tokens - 1], clip->projection, NULL, OUT, DIM, pooled);
}

/* -- the network ------------------------------------------------------------------------------------ */

/* ids as above; past its length a text holds other ids, which do not count. */
static T *encode(mgi_run *run, const mgi_clip_text *clip, int64_t tokens, T **pooled)
{
    T *ids = mgi_new(run, MGK_I32, MGI_DIMS(B, tokens)),
      *mask = mgi_new(run, MGK_U8, MGI_DIMS(B, tokens)), *last = mgi_new(run, MGK_I32, MGI_DIMS(B));
    assert_true(ids && mask && last);
    for (int64_t b = 0; b < B; b++) {
        for (int64_t s = 0; s < tokens; s++) {
            bool counts = s < lengths[b];
            ((int32_t *)mgi_data(ids))[b * tokens + s] = counts ? id_at(b, s) : (int32_t)s + 5;
            ((uint8_t *)mgi_data(mask))[b * tokens + s] = counts;
        }
        ((int32_t *)mgi_data(last))[b] = (int32_t)(b * tokens + lengths[b] - 1);
    }
    T *x = mgi_clip_text_encode(run, clip, ids, mask);
    *pooled = mgi_cast(run, mgi_clip_text_pool(run, clip, x, last), MGK_F32);
    x = mgi_cast(run, x, MGK_F32);
    if (!x || !*pooled)
        fail_msg("status %s", mgen_status_name(run->status));
    assert_int_equal(x->count, B * tokens * DIM);
    assert_int_equal((*pooled)->count, B * OUT);
    return x;
}

static void compare(bool quick, int32_t dtype, double most)
{
    mgen_context *ctx = make_context();
    mgi_clip_text clip;
    mgi_clip_text_config config = small;
    mgi_run run;
    double worst = 0.0;
    config.quick_gelu = quick;
    make_clip(&clip, ctx, &config);
    assert_int_equal(mgi_module_compute(&clip.module, dtype), MGEN_OK);
    mgi_run_init(&run, ctx, false);
    T *pooled, *x = encode(&run, &clip, S, &pooled);
    for (int64_t b = 0; b < B; b++) {
        double want[S][DIM], vector[OUT];
        reference(&clip, b, (int)lengths[b], want, vector);
        for (int64_t s = 0; s < lengths[b]; s++)
            for (int i = 0; i < DIM; i++)
                worst = fmax(worst, fabs(want[s][i] - (double)mgi_f32(x)[(b * S + s) * DIM + i]));
        for (int i = 0; i < OUT; i++)
            worst = fmax(worst, fabs(vector[i] - (double)mgi_f32(pooled)[b * OUT + i]));
    }
    print_message("%s, %s: %.3g from the reference\n", quick ? "quick GELU" : "GELU",
                  dtype == MGK_F32 ? "f32" : "bf16", worst);
    assert_true(worst < most);
    assert_true(worst > 0.0);
    mgi_run_finish(&run);
    mgi_clip_text_finish(&clip);
    mgen_context_destroy(ctx);
}

static void test_reference(void **state)
{
    (void)state;
    for (int quick = 0; quick < 2; quick++) {
        compare(quick, MGK_F32, 2e-5);
        compare(quick, MGK_BF16,
                0.1); /* values of about 1 to 3 whose every step is rounded to 8 bits */
    }
}

/* A later token changes not a bit of an earlier one. */
static void test_causal(void **state)
{
    (void)state;
    for (int half = 0; half < 2; half++) {
        mgen_context *ctx = make_context();
        mgi_clip_text clip;
        mgi_run run;
        T *x[2];
        make_clip(&clip, ctx, &small);
        assert_int_equal(mgi_module_compute(&clip.module, half ? MGK_BF16 : MGK_F32), MGEN_OK);
        mgi_run_init(&run, ctx, false);
        for (int k = 0; k < 2; k++) {
            T *ids = mgi_new(&run, MGK_I32, MGI_DIMS(1, S));
            for (int s = 0; s < S; s++)
                ((int32_t *)mgi_data(ids))[s] = id_at(0, s) + (s == CHANGED ? k : 0);
            x[k] = mgi_cast(&run, mgi_clip_text_encode(&run, &clip, ids, NULL), MGK_F32);
            assert_non_null(x[k]);
        }
        assert_memory_equal(mgi_f32(x[0]), mgi_f32(x[1]), CHANGED * DIM * sizeof(float));
        for (int s = CHANGED; s < S; s++)
            assert_memory_not_equal(mgi_f32(x[0]) + s * DIM, mgi_f32(x[1]) + s * DIM,
                                    DIM * sizeof(float));
        mgi_run_finish(&run);
        mgi_clip_text_finish(&clip);
        mgen_context_destroy(ctx);
    }
}

/* Padding changes nothing; too many tokens are refused. */
static void test_padding(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_clip_text clip;
    mgi_run run, other;
    make_clip(&clip, ctx, &small);
    mgi_run_init(&run, ctx, false);
    T *pooled, *a = encode(&run, &clip, S, &pooled), *b = encode(&run, &clip, POSITIONS, &pooled);
    for (int64_t text = 0; text < B; text++)
        for (int64_t i = 0; i < lengths[text] * DIM; i++)
            assert_true(fabsf(mgi_f32(a)[text * S * DIM + i] -
                              mgi_f32(b)[text * POSITIONS * DIM + i]) < 2e-5f);
    T *many = mgi_new(&run, MGK_I32, MGI_DIMS(1, POSITIONS + 1));
    mgi_run_init(&other, ctx, false);
    assert_null(mgi_clip_text_encode(&other, &clip, many, NULL));
    assert_int_not_equal(other.status, MGEN_OK);
    mgi_run_finish(&other);
    mgi_run_finish(&run);
    mgi_clip_text_finish(&clip);
    mgen_context_destroy(ctx);
}

/* Every parameter gets a gradient. */
static void test_gradients(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        mgen_context *ctx = make_context();
        mgi_clip_text clip;
        mgi_run run;
        make_clip(&clip, ctx, &small);
        assert_int_equal(mgi_module_train(&clip.module), MGEN_OK);
        assert_int_equal(mgi_module_compute(&clip.module, k ? MGK_BF16 : MGK_F32), MGEN_OK);
        mgi_run_init(&run, ctx, true);
        T *pooled;
        encode(&run, &clip, S, &pooled);
        T *target = mgi_new(&run, MGK_F32, MGI_DIMS(B, OUT));
        mgi_fill(&run, target, 0.5f);
        assert_int_equal(mgi_backward(&run, mgi_loss(&run, 0, 1.0f, pooled, target)), MGEN_OK);
        for (int64_t i = 0; i < clip.module.count; i++) {
            const mgi_param *p = clip.module.params[i];
            double sum = 0.0;
            for (int64_t j = 0; j < p->value->count; j++)
                sum += fabs((double)mgi_f32(p->value->var->grad)[j]);
            if (!(sum > 0.0) || !isfinite(sum))
                fail_msg("%s has gradient %g", p->name, sum);
        }
        mgi_run_finish(&run);
        mgi_clip_text_finish(&clip);
        mgen_context_destroy(ctx);
    }
}

/* -- files ------------------------------------------------------------------------------------------ */

static void write_config(mgi_json_writer *w, const void *config)
{
    mgi_clip_text_config_write(w, config);
}

static void test_files(void **state)
{
    char dir[] = "/tmp/mgen-clip-XXXXXX", path[256];
    (void)state;
    mgen_context *ctx = make_context();
    mgi_clip_text clip, other;
    mgi_clip_text_config config = small;
    mgi_model_file file;
    assert_non_null(mkdtemp(dir));
    config.quick_gelu = true;
    make_clip(&clip, ctx, &config);
    assert_int_equal(mgi_model_file_save(ctx, dir, "text", "clip-text", write_config, &config,
                                         &clip.module, MGI_ST_F32),
                     MGEN_OK);
    assert_int_equal(mgi_model_file_open(ctx, dir, "text", "t5", &file), MGEN_E_CORRUPT);
    assert_int_equal(mgi_model_file_open(ctx, dir, "text", "clip-text", &file), MGEN_OK);
    memset(&config, 0, sizeof config);
    assert_int_equal(mgi_clip_text_config_read(ctx, file.config, &config), MGEN_OK);
    assert_true(config.quick_gelu);
    assert_int_equal(mgi_clip_text_init(&other, ctx, &config, NULL), MGEN_OK);
    assert_int_equal(mgi_module_load(&other.module, &file.weights, "text", false), MGEN_OK);
    for (int64_t k = 0; k < clip.module.count; k++) {
        const T *a = clip.module.params[k]->value, *b = other.module.params[k]->value;
        assert_int_equal(a->count, b->count);
        assert_memory_equal(mgi_f32(a), mgi_f32(b), (size_t)a->count * sizeof(float));
    }
    mgi_model_file_close(ctx, &file);
    mgi_clip_text_finish(&clip);
    mgi_clip_text_finish(&other);
    mgen_context_destroy(ctx);
    for (int k = 0; k < 2; k++) {
        snprintf(path, sizeof path, "%s/text.%s", dir, k ? "json" : "safetensors");
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

static void test_bad_config(void **state)
{
    (void)state;
    static const char good[] = "{\"vocab\":40,\"dim\":24,\"layers\":1,\"heads\":3,\"ff_dim\":8,"
                               "\"tokens_max\":256%s}";
    static const struct {
        const char *more;
        mgen_status status;
    } all[] = {
        {"", MGEN_OK},
        {",\"activation\":\"quick_gelu\",\"projection\":7", MGEN_OK},
        {",\"activation\":\"relu\"", MGEN_E_CORRUPT},
        {",\"projection\":-1", MGEN_E_CORRUPT},
        {",\"unknown\":1", MGEN_E_CORRUPT},
    };
    mgen_context *ctx = make_context();
    mgi_clip_text_config config;
    mgi_json *root;
    char text[512];
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        snprintf(text, sizeof text, good, all[i].more);
        assert_int_equal(mgi_json_parse(ctx, "config", text, strlen(text), &root), MGEN_OK);
        assert_int_equal(mgi_clip_text_config_read(ctx, root, &config), all[i].status);
        mgi_json_free(ctx, root);
    }
    static const char odd[] = "{\"vocab\":40,\"dim\":25,\"layers\":1,\"heads\":3,\"ff_dim\":8,"
                              "\"tokens_max\":256}";
    assert_int_equal(mgi_json_parse(ctx, "config", odd, sizeof odd - 1, &root), MGEN_OK);
    assert_int_equal(mgi_clip_text_config_read(ctx, root, &config), MGEN_E_CORRUPT);
    mgi_json_free(ctx, root);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference), cmocka_unit_test(test_causal),
        cmocka_unit_test(test_padding),   cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_files),     cmocka_unit_test(test_bad_config),
    };
    return cmocka_run_group_tests_name("clip_text", tests, NULL, NULL);
}
