/* SPDX-License-Identifier: MIT
 * CLIP's image tower: against a plain reference, gradients, the frames it is given, files. */
#include "kernels/pointwise/pointwise.h"
#include "model/clip_vision.h"
#include "task/film_features.h"

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

enum { N = 3, IMAGE = 12, PATCH = 4, DIM = 24, HEADS = 3, HEAD = 8, FF = 40, OUT = 7 };
enum { SIDE = IMAGE / PATCH, S = SIDE * SIDE + 1, PIXELS = PATCH * PATCH * 3 };

#include "clip_reference.h"

static const mgi_clip_vision_config small = {.image = IMAGE,
                                             .patch = PATCH,
                                             .dim = DIM,
                                             .layers = 2,
                                             .heads = HEADS,
                                             .ff_dim = FF,
                                             .projection = OUT,
                                             .activation = MGK_UNARY_GELU_ERF,
                                             .mean = {0.5f, 0.4f, 0.25f},
                                             .deviation = {0.25f, 0.3f, 0.5f},
                                             .eps = 1e-5f};

static void make_clip(mgi_clip_vision *clip, mgen_context *ctx,
                      const mgi_clip_vision_config *config)
{
    assert_int_equal(mgi_clip_vision_init(clip, ctx, config), MGEN_OK);
    make_values(&clip->module);
}

/* -- the reference ---------------------------------------------------------------------------------- */

/* Of one picture (IMAGE,IMAGE,3), behind so many layers. */
static void ref_tower(const mgi_clip_vision *clip, const float *picture, int64_t layers,
                      double x[S][DIM])
{
    double pixels[PIXELS], n[DIM];
    for (int s = 0; s < S; s++) {
        int top = s ? (s - 1) / SIDE * PATCH : 0, left = s ? (s - 1) % SIDE * PATCH : 0;
        for (int i = 0; i < PIXELS; i++)
            pixels[i] =
                (double)picture[((top + i / (3 * PATCH)) * IMAGE + left) * 3 + i % (3 * PATCH)];
        ref_linear(pixels, clip->patch, NULL, DIM, PIXELS, n);
        for (int i = 0; i < DIM; i++)
            n[i] = (s ? n[i] : (double)values(clip->first)[i]) +
                   (double)values(clip->position)[s * DIM + i];
        ref_norm(n, clip->pre, clip->pre_bias, x[s]);
    }
    for (int64_t k = 0; k < layers; k++)
        ref_layer(REF_PARAMS(&clip->layer[k]), false,
                  clip->config.activation == MGK_UNARY_QUICK_GELU, S, x);
}

/* Its vector; out has room for DIM. */
static void reference(const mgi_clip_vision *clip, const float *picture, double *out)
{
    double x[S][DIM], n[DIM];
    ref_tower(clip, picture, clip->config.layers, x);
    ref_norm(x[0], clip->norm, clip->norm_bias, n);
    if (clip->projection)
        ref_linear(n, clip->projection, NULL, OUT, DIM, out);
    else
        memcpy(out, n, sizeof n);
}

/* -- the network ------------------------------------------------------------------------------------ */

static void compare(const mgi_clip_vision_config *config, int32_t dtype, double most)
{
    mgen_context *ctx = make_context();
    mgi_clip_vision clip;
    mgi_run run;
    double worst = 0.0, want[DIM];
    int64_t width = mgi_clip_vision_width(config);
    make_clip(&clip, ctx, config);
    assert_int_equal(mgi_module_compute(&clip.module, dtype), MGEN_OK);
    mgi_run_init(&run, ctx, false);
    T *x = random_tensor(&run, 1, MGI_DIMS(N, IMAGE, IMAGE, 3)),
      *y = mgi_cast(&run, mgi_clip_vision_forward(&run, &clip, x), MGK_F32);
    if (!y)
        fail_msg("status %s", mgen_status_name(run.status));
    assert_int_equal(y->count, N * width);
    for (int64_t b = 0; b < N; b++) {
        reference(&clip, mgi_f32(x) + b * IMAGE * IMAGE * 3, want);
        for (int64_t i = 0; i < width; i++)
            worst = fmax(worst, fabs(want[i] - (double)mgi_f32(y)[b * width + i]));
    }
    print_message("%s, %s: %.3g from the reference\n",
                  config->activation == MGK_UNARY_QUICK_GELU ? "quick GELU" : "GELU",
                  dtype == MGK_F32 ? "f32" : "bf16", worst);
    assert_true(worst < most);
    assert_true(worst > 0.0);
    mgi_run_finish(&run);
    mgi_clip_vision_finish(&clip);
    mgen_context_destroy(ctx);
}

static void test_reference(void **state)
{
    mgi_clip_vision_config config = small;
    (void)state;
    for (int quick = 0; quick < 2; quick++) {
        config.activation = quick ? MGK_UNARY_QUICK_GELU : MGK_UNARY_GELU_ERF;
        compare(&config, MGK_F32, 2e-5);
        compare(&config, MGK_BF16,
                0.1); /* values of about 1 to 3, rounded to 8 bits at each step */
    }
    config.projection = 0;
    compare(&config, MGK_F32, 2e-5);
}

/* Tokens are what the last layer would be given; it and what is behind it does not learn from them. */
static void test_tokens(void **state)
{
    mgen_context *ctx = make_context();
    mgi_clip_vision_config config = small;
    (void)state;
    for (config.layers = 1; config.layers < 4; config.layers++) {
        mgi_clip_vision clip;
        mgi_run run;
        double worst = 0.0, want[S][DIM];
        make_clip(&clip, ctx, &config);
        mgi_clip_vision_train_tokens(&clip);
        assert_int_equal(mgi_module_train(&clip.module), MGEN_OK);
        mgi_run_init(&run, ctx, true);
        T *x = random_tensor(&run, 1, MGI_DIMS(N, IMAGE, IMAGE, 3)),
          *y = mgi_clip_vision_tokens(&run, &clip, x);
        assert_non_null(y);
        assert_true(y->rank == 3 && y->dims[0] == N && y->dims[2] == DIM);
        assert_int_equal(y->dims[1], mgi_clip_vision_token_count(&config));
        for (int64_t b = 0; b < N; b++) {
            ref_tower(&clip, mgi_f32(x) + b * IMAGE * IMAGE * 3, config.layers - 1, want);
            for (int64_t i = 0; i < S * DIM; i++)
                worst =
                    fmax(worst, fabs(want[i / DIM][i % DIM] - (double)mgi_f32(y)[b * S * DIM + i]));
        }
        assert_true(worst > 0.0 && worst < 2e-5);
        T *target = mgi_new(&run, MGK_F32, 3, y->dims);
        mgi_fill(&run, target, 0.5f);
        assert_int_equal(mgi_backward(&run, mgi_loss(&run, 0, 1.0f, y, target)), MGEN_OK);
        for (int64_t k = 0; k < clip.module.count; k++) {
            const mgi_param *p = clip.module.params[k];
            double sum = 0.0;
            for (int64_t i = 0; !p->frozen && i < p->value->count; i++)
                sum += fabs((double)mgi_f32(p->value->var->grad)[i]);
            bool last = p->unit >= config.layers; /* its last layer, norm and projection */
            if (p->frozen != last || (sum > 0.0) == last)
                fail_msg("%s of %d layers: %s, gradient %g", p->name, (int)config.layers,
                         p->frozen ? "frozen" : "learns", sum);
        }
        mgi_run_finish(&run);
        mgi_clip_vision_finish(&clip);
    }
    mgen_context_destroy(ctx);
}

/* A picture's vector is the same bits whatever is beside it; pictures of another size are refused. */
static void test_batch(void **state)
{
    mgen_context *ctx = make_context();
    mgi_clip_vision clip;
    mgi_run run, other;
    (void)state;
    make_clip(&clip, ctx, &small);
    mgi_run_init(&run, ctx, false);
    T *x = random_tensor(&run, 1, MGI_DIMS(N, IMAGE, IMAGE, 3)),
      *all = mgi_clip_vision_forward(&run, &clip, x);
    for (int64_t b = 0; b < N; b++) {
        T *one = mgi_clip_vision_forward(&run, &clip, mgi_slice(&run, x, 0, b, 1));
        assert_non_null(one);
        assert_memory_equal(mgi_f32(one), mgi_f32(all) + b * OUT, OUT * sizeof(float));
    }
    T *large = random_tensor(&run, 1, MGI_DIMS(1, IMAGE, IMAGE + PATCH, 3));
    mgi_run_init(&other, ctx, false);
    assert_null(mgi_clip_vision_forward(&other, &clip, large));
    assert_int_not_equal(other.status, MGEN_OK);
    mgi_run_finish(&other);
    mgi_run_finish(&run);
    mgi_clip_vision_finish(&clip);
    mgen_context_destroy(ctx);
}

/* -- gradients -------------------------------------------------------------------------------------- */

static T *squares(mgi_run *run, const mgi_clip_vision *clip, T *x)
{
    T *y = mgi_cast(run, mgi_clip_vision_forward(run, clip, x), MGK_F32),
      *target = mgi_new(run, MGK_F32, MGI_DIMS(N, OUT));
    assert_true(y && target);
    mgi_fill(run, target, 0.5f);
    return mgi_loss(run, 0, 1.0f, y, target);
}

/* The reference's loss, in double. */
static double ref_squares(const mgi_clip_vision *clip, const float *x)
{
    double sum = 0.0, y[DIM];
    for (int b = 0; b < N; b++) {
        reference(clip, x + b * IMAGE * IMAGE * 3, y);
        for (int i = 0; i < OUT; i++)
            sum += (y[i] - 0.5) * (y[i] - 0.5) / (N * OUT);
    }
    return sum;
}

/* Of every parameter, along a random direction, against differences of the reference. */
static void test_gradients(void **state)
{
    mgi_clip_vision_config config = small;
    (void)state;
    for (int k = 0; k < 4; k++) {
        bool half = k > 1;
        mgen_context *ctx = make_context();
        mgi_clip_vision clip;
        mgi_run run;
        config.activation = k % 2 ? MGK_UNARY_QUICK_GELU : MGK_UNARY_GELU_ERF;
        make_clip(&clip, ctx, &config);
        assert_int_equal(mgi_module_train(&clip.module), MGEN_OK);
        assert_int_equal(mgi_module_compute(&clip.module, half ? MGK_BF16 : MGK_F32), MGEN_OK);
        mgi_run_init(&run, ctx, true);
        T *x = random_tensor(&run, 1, MGI_DIMS(N, IMAGE, IMAGE, 3));
        assert_int_equal(mgi_backward(&run, squares(&run, &clip, x)), MGEN_OK);
        for (int64_t i = 0; i < clip.module.count; i++) {
            const mgi_param *p = clip.module.params[i];
            float *w = mgi_f32(p->value);
            const float *g = mgi_f32(p->value->var->grad);
            double along = 0.0, size = 0.0, loss[2], step = 1e-3;
            for (int64_t j = 0; j < p->value->count; j++) {
                double d = (double)mgi_random_normal(5, (uint64_t)i, (uint64_t)j);
                along += d * (double)g[j];
                size += (double)g[j] * (double)g[j];
            }
            for (int side = 0; side < 2; side++) {
                for (int64_t j = 0; j < p->value->count; j++)
                    w[j] += (float)((side ? -2.0 : 1.0) * step *
                                    (double)mgi_random_normal(5, (uint64_t)i, (uint64_t)j));
                loss[side] = ref_squares(&clip, mgi_f32(x));
            }
            double want = (loss[0] - loss[1]) / (2.0 * step), most = half ? 0.1 : 3e-3;
            if (!(size > 0.0) || !(fabs(want - along) <= most * sqrt(size)))
                fail_msg("%s has gradient %g (length %g) along a direction, differences say %g",
                         p->name, along, sqrt(size), want);
            for (int64_t j = 0; j < p->value->count; j++)
                w[j] += (float)(step * (double)mgi_random_normal(5, (uint64_t)i, (uint64_t)j));
        }
        mgi_run_finish(&run);
        mgi_clip_vision_finish(&clip);
        mgen_context_destroy(ctx);
    }
}

/* -- frames ----------------------------------------------------------------------------------------- */

static const int64_t sizes[][2] = {{IMAGE, IMAGE}, {31, 57}, {40, 24}, {5, 9}, {12, 30}, {1, 3}};

/* Frames of one colour keep it; floats are as the bytes that they stand for; each frame is by itself. */
static void test_frames(void **state)
{
    static const uint8_t colour[3] = {255, 17, 128};
    mgen_context *ctx = make_context();
    mgi_clip_vision clip;
    (void)state;
    make_clip(&clip, ctx, &small);
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        int64_t h = sizes[k][0], w = sizes[k][1], count = 2 * h * w * 3;
        mgi_run run;
        mgi_run_init(&run, ctx, false);
        T *bytes = mgi_new(&run, MGK_U8, MGI_DIMS(2, h, w, 3)),
          *floats = mgi_new(&run, MGK_F32, MGI_DIMS(2, h, w, 3));
        for (int64_t i = 0; i < count; i++) {
            uint8_t v = i < count / 2 ? colour[i % 3] : (uint8_t)(7 * i + i * i / 5);
            ((uint8_t *)mgi_data(bytes))[i] = v;
            mgi_f32(floats)[i] = (float)v / 127.5f - 1.0f;
        }
        T *x = mgi_clip_vision_frames(&run, &clip, bytes),
          *y = mgi_clip_vision_frames(&run, &clip, floats);
        assert_true(x && y && x->count == 2 * IMAGE * IMAGE * 3);
        assert_memory_equal(mgi_f32(x), mgi_f32(y), (size_t)x->count * sizeof(float));
        for (int64_t i = 0; i < IMAGE * IMAGE * 3; i++) {
            int c = (int)(i % 3);
            double want =
                ((double)colour[c] / 255.0 - (double)small.mean[c]) / (double)small.deviation[c];
            assert_true(fabs((double)mgi_f32(x)[i] - want) < 1e-5);
        }
        T *one = mgi_clip_vision_frames(&run, &clip, mgi_slice(&run, bytes, 0, 1, 1));
        assert_memory_equal(mgi_f32(one), mgi_f32(x) + IMAGE * IMAGE * 3,
                            IMAGE * IMAGE * 3 * sizeof(float));
        mgi_run_finish(&run);
    }
    mgi_clip_vision_finish(&clip);
    mgen_context_destroy(ctx);
}

/* -- films ------------------------------------------------------------------------------------------ */

enum { FRAMES = 19, HIGH = 20, WIDE = 26 };

typedef struct filmed {
    int64_t next;    /* frame that must be asked for */
    int64_t fail_at; /* the frame that cannot be read; -1: none */
} filmed;

static uint8_t byte_at(int64_t frame, int64_t i)
{
    return (uint8_t)(11 * frame + 7 * i + i * i / 9);
}

static mgen_status give(void *user, int64_t first, int64_t count, float *rgb)
{
    filmed *f = user;
    assert_true(first == f->next && count > 0 && first + count <= FRAMES);
    if (f->fail_at >= first && f->fail_at < first + count)
        return MGEN_E_IO;
    f->next += count;
    for (int64_t i = 0; i < count * HIGH * WIDE * 3; i++) {
        int64_t frame = HIGH * WIDE * 3;
        rgb[i] = (float)byte_at(first + i / frame, i % frame) / 127.5f - 1.0f;
    }
    return MGEN_OK;
}

/* Each frame's vector is what the network makes of that frame alone; what the source says ends it. */
static void test_film(void **state)
{
    static const int64_t film[3] = {FRAMES, HIGH, WIDE};
    mgen_context *ctx = make_context();
    mgi_clip_vision clip;
    (void)state;
    make_clip(&clip, ctx, &small);
    for (int half = 0; half < 2; half++) {
        float features[FRAMES][OUT];
        mgi_run run;
        assert_int_equal(mgi_module_compute(&clip.module, half ? MGK_BF16 : MGK_F32), MGEN_OK);
        assert_int_equal(mgi_film_features(ctx, &clip, film, give, &(filmed){0, -1}, features[0]),
                         MGEN_OK);
        mgi_run_init(&run, ctx, false);
        for (int64_t n = 0; n < FRAMES; n++) {
            T *frame = mgi_new(&run, MGK_U8, MGI_DIMS(1, HIGH, WIDE, 3));
            for (int64_t i = 0; i < frame->count; i++)
                ((uint8_t *)mgi_data(frame))[i] = byte_at(n, i);
            T *y = mgi_clip_vision_forward(&run, &clip, mgi_clip_vision_frames(&run, &clip, frame));
            y = mgi_cast(&run, y, MGK_F32);
            assert_non_null(y);
            assert_memory_equal(features[n], mgi_f32(y), sizeof features[n]);
        }
        mgi_run_finish(&run);
        assert_int_equal(
            mgi_film_features(ctx, &clip, film, give, &(filmed){0, FRAMES - 1}, features[0]),
            MGEN_E_IO);
    }
    for (int k = 0; k < 3; k++) {
        int64_t bad[3] = {FRAMES, HIGH, WIDE};
        bad[k] = 0;
        assert_int_equal(mgi_film_features(ctx, &clip, bad, give, NULL, NULL), MGEN_E_INVALID);
    }
    assert_int_equal(
        mgi_film_features(ctx, &clip, (int64_t[]){1, INT64_MAX / 2, 9}, give, NULL, NULL),
        MGEN_E_INVALID);
    mgi_clip_vision_finish(&clip);
    mgen_context_destroy(ctx);
}

/* -- files ------------------------------------------------------------------------------------------ */

static void test_files(void **state)
{
    char dir[] = "/tmp/mgen-vision-XXXXXX", path[256];
    mgen_context *ctx = make_context();
    mgi_clip_vision clip, other;
    mgi_clip_vision_config config = small;
    uint64_t hash = 0;
    (void)state;
    assert_non_null(mkdtemp(dir));
    config.activation = MGK_UNARY_QUICK_GELU;
    config.eps = 1e-3f;
    make_clip(&clip, ctx, &config);
    assert_int_equal(mgi_clip_vision_save(&clip, dir, "vision", MGI_ST_F32), MGEN_OK);
    assert_int_equal(mgi_clip_vision_open(ctx, dir, "vision", &other, &hash), MGEN_OK);
    assert_true(hash != 0);
    assert_memory_equal(&other.config, &config, sizeof config);
    for (int64_t k = 0; k < clip.module.count; k++) {
        const T *a = clip.module.params[k]->value, *b = other.module.params[k]->value;
        assert_int_equal(a->count, b->count);
        assert_memory_equal(mgi_f32(a), mgi_f32(b), (size_t)a->count * sizeof(float));
    }
    mgi_clip_vision_finish(&clip);
    mgi_clip_vision_finish(&other);
    assert_int_equal(mgi_clip_vision_open(ctx, dir, "absent", &other, &hash), MGEN_E_NOT_FOUND);
    for (int k = 0; k < 2; k++) {
        snprintf(path, sizeof path, "%s/vision.%s", dir, k ? "json" : "safetensors");
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
    mgen_context_destroy(ctx);
}

static void test_bad_config(void **state)
{
    static const char good[] = "{\"image\":12,\"patch\":4,\"dim\":24,\"layers\":1,\"heads\":3,"
                               "\"ff_dim\":8,\"projection\":7}";
    static const struct {
        const char *old, *new, *said;
    } all[] = {
        {"}", "}", NULL},
        {"}", ",\"activation\":\"quick_gelu\",\"mean\":[0,0.5,1],\"deviation\":[1,1,2.5]}", NULL},
        {",\"projection\":7", "", NULL},
        {"\"image\":12", "\"image\":13", "\"patch\" (4) does not divide \"image\" (13)"},
        {"\"image\":12", "\"image\":4096", "image"},
        {"\"patch\":4", "\"patch\":0", "patch"},
        {"\"dim\":24", "\"dim\":25", "\"heads\" (3) does not divide \"dim\" (25)"},
        {"\"dim\":24", "\"dim\":3072", "256"},
        {"\"heads\":3,", "", "heads"},
        {"\"layers\":1", "\"layers\":0", "layers"},
        {"7", "-1", "projection"},
        {"}", ",\"activation\":\"relu\"}", "activation"},
        {"}", ",\"mean\":[0,1]}", "mean"},
        {"}", ",\"mean\":[0,1,\"2\"]}", "mean"},
        {"}", ",\"deviation\":[0,1,1]}", "deviation"},
        {"}", ",\"deviation\":1}", "deviation"},
        {"}", ",\"norm_eps\":0}", "norm_eps"},
        {"}", ",\"unknown\":1}", "unknown"},
    };
    mgen_context *ctx = make_context();
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        mgi_clip_vision_config config;
        mgi_json *root;
        char text[512];
        const char *at = strstr(good, all[i].old);
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, all[i].new,
                 at + strlen(all[i].old));
        assert_int_equal(mgi_json_parse(ctx, "config", text, strlen(text), &root), MGEN_OK);
        mgen_status status = mgi_clip_vision_config_read(ctx, root, &config);
        if (!all[i].said)
            assert_int_equal(status, MGEN_OK);
        else if (status != MGEN_E_CORRUPT || !strstr(mgen_last_error(ctx), all[i].said))
            fail_msg("%s: %s, '%s'", text, mgen_status_name(status), mgen_last_error(ctx));
        mgi_json_free(ctx, root);
    }
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference), cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_batch),     cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_frames),    cmocka_unit_test(test_film),
        cmocka_unit_test(test_files),     cmocka_unit_test(test_bad_config),
    };
    return cmocka_run_group_tests_name("clip_vision", tests, NULL, NULL);
}
