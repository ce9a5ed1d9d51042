/* SPDX-License-Identifier: MIT
 * Networks: shapes, the inflated autoencoder, masks, schedules, files. */
#include "core/philox.h"
#include "eval/image_quality.h"
#include "flow/schedule.h"
#include "model/model_file.h"
#include "model/t5.h"
#include "model/tae.h"
#include "model/video_transformer.h"
#include "task/generate.h"
#include "task/pipeline.h"
#include "text/byte_tokenizer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "networks.h"
#include "tiny_networks.h"

static const mgi_tae_config small_tae = {TINY_TAE};
static const mgi_text_config small_text = {.t5 = {TINY_T5, .tokens_max = 64}};
static const mgi_vt_config small_vt = {TINY_VT, .frames_max = 4, .rows_max = 4, .columns_max = 4};

/* -- TAE ------------------------------------------------------------------------------------------ */

static void test_tae_shapes(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae tae;
    assert_int_equal(mgi_tae_init(&tae, ctx, &small_tae), MGEN_OK);
    assert_int_equal(mgi_module_random(&tae.module, 1), MGEN_OK);
    for (int64_t frames = 1; frames <= 17; frames++) {
        mgi_run run;
        mgi_run_init(&run, ctx, false);
        T *x = random_tensor(&run, 1, MGI_DIMS(1, frames, 16, 24, 3));
        T *h = mgi_tae_encode(&run, &tae, x);
        assert_non_null(h);
        assert_int_equal(h->dims[1], mgi_tae_latent_frames(&small_tae, frames));
        assert_int_equal(h->dims[1], (frames + 7) / 8);
        assert_int_equal(h->dims[2], 2);
        assert_int_equal(h->dims[3], 3);
        assert_int_equal(h->dims[4], 6);
        T *y = mgi_tae_decode(&run, &tae, mgi_posterior(&run, h, NULL, 0.0f, NULL));
        assert_non_null(y);
        assert_int_equal(y->dims[1], 8 * h->dims[1]);
        assert_int_equal(y->dims[2], 16);
        assert_int_equal(y->dims[3], 24);
        mgi_run_finish(&run);
    }
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

static float largest_difference(const float *a, const float *b, int64_t n)
{
    float most = 0.0f;
    for (int64_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

/* On images the inflated autoencoder equals the 2D one that it was made from. */
static void test_inflation(void **state)
{
    char dir[] = "/tmp/mgen-inflate-XXXXXX", path[256];
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae flat, tae;
    mgi_tae_config config = small_tae;
    mgi_st_file st;
    mgi_run run;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/flat.safetensors", dir);
    config.temporal = false;
    assert_int_equal(mgi_tae_init(&flat, ctx, &config), MGEN_OK);
    assert_int_equal(mgi_module_random(&flat.module, 2), MGEN_OK);
    randomise(&flat.module, 0.05f);
    assert_int_equal(mgi_module_save(&flat.module, path, false, MGI_ST_F32), MGEN_OK);
    assert_int_equal(mgi_tae_init(&tae, ctx, &small_tae), MGEN_OK);
    assert_int_equal(mgi_module_random(&tae.module, 99), MGEN_OK);
    assert_int_equal(mgi_st_open(ctx, dir, "flat.safetensors", &st), MGEN_OK);
    assert_int_equal(mgi_module_load(&tae.module, &st, "flat", false), MGEN_E_CORRUPT);
    assert_int_equal(mgi_module_load(&tae.module, &st, "flat", true), MGEN_OK);
    mgi_st_close(ctx, &st);
    mgi_run_init(&run, ctx, false);
    T *x = random_tensor(&run, 4, MGI_DIMS(3, 1, 16, 16, 3));
    T *a = mgi_tae_encode(&run, &flat, x), *b = mgi_tae_encode(&run, &tae, x);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->count, b->count);
    assert_true(largest_difference(mgi_f32(a), mgi_f32(b), a->count) < 1e-5f);
    T *z = mgi_posterior(&run, a, NULL, 0.0f, NULL);
    T *p = mgi_tae_decode(&run, &flat, z),
      *q = mgi_slice(&run, mgi_tae_decode(&run, &tae, z), 1, 0, 1);
    assert_non_null(q);
    assert_int_equal(p->count, q->count);
    assert_true(largest_difference(mgi_f32(p), mgi_f32(q), p->count) < 1e-5f);
    mgi_run_finish(&run);
    mgi_tae_finish(&flat);
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
    unlink(path);
    rmdir(dir);
}

/* -- video transformer ---------------------------------------------------------------------------- */

/* Velocity for one text, padded to as many tokens as `beside` has. */
static void velocity(mgen_context *ctx, const mgi_text_encoder *t5, const mgi_vt *vt,
                     const char *text, const char *beside, float *out)
{
    mgi_run run;
    int64_t tokens[2];
    mgi_run_init(&run, ctx, false);
    T *x = random_tensor(&run, 6, MGI_DIMS(1, 2, 4, 4, 3)),
      *t = mgi_new(&run, MGK_F32, MGI_DIMS(1)), *first;
    T *both = mgi_text_batch(&run, t5, (const char *const[]){text, beside}, 2, tokens);
    mgi_fill(&run, t, 0.3f);
    assert_non_null(both);
    assert_int_equal(mgi_tensor_rows(both, 0, 1, &first), MGEN_OK);
    const mgi_vt_text p = {{mgi_scope_add(&run, first)}, {tokens}};
    T *u = mgi_vt_forward(&run, vt, x, t, &p);
    assert_non_null(u);
    assert_int_equal(u->count, x->count);
    memcpy(out, mgi_f32(u), (size_t)u->count * sizeof *out);
    mgi_run_finish(&run);
}

static void test_transformer(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_text_encoder t5;
    mgi_vt vt;
    enum { N = 2 * 4 * 4 * 3 };
    float a[N], b[N], c[N], sum = 0.0f;
    assert_int_equal(mgi_text_encoder_init(&t5, ctx, NULL, &small_text, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&vt, ctx, &small_vt), MGEN_OK);
    assert_int_equal(mgi_module_random(&t5.t5.module, 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&vt, 1), MGEN_OK);
    /* a zero head answers zero */
    velocity(ctx, &t5, &vt, "a red ball", "", a);
    for (int i = 0; i < N; i++)
        sum += fabsf(a[i]);
    assert_true(sum == 0.0f);
    randomise(&vt.module, 0.1f);
    velocity(ctx, &t5, &vt, "a red ball", "", a);
    /* padding is masked everywhere, to the bit */
    velocity(ctx, &t5, &vt, "a red ball", "a red ball that rolls to the left", b);
    velocity(ctx, &t5, &vt, "a red cube", "", c);
    assert_memory_equal(a, b, sizeof a);
    assert_true(largest_difference(a, c, N) > 1e-3f);
    mgi_vt_finish(&vt);
    mgi_text_encoder_finish(&t5);
    mgen_context_destroy(ctx);
}

/* Every parameter of the transformer and the text encoder gets a gradient from one step's loss. */
static void test_gradients_reach_everything(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_text_encoder t5;
    mgi_vt vt;
    mgi_run run;
    assert_int_equal(mgi_text_encoder_init(&t5, ctx, NULL, &small_text, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&vt, ctx, &small_vt), MGEN_OK);
    assert_int_equal(mgi_module_random(&t5.t5.module, 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&vt, 1), MGEN_OK);
    randomise(&vt.module, 0.1f);
    assert_int_equal(mgi_module_train(&t5.t5.module), MGEN_OK);
    assert_int_equal(mgi_module_train(&vt.module), MGEN_OK);
    mgi_run_init(&run, ctx, true);
    T *x = random_tensor(&run, 6, MGI_DIMS(2, 2, 4, 4, 3)),
      *v = random_tensor(&run, 7, MGI_DIMS(2, 2, 4, 4, 3));
    T *t = mgi_new(&run, MGK_F32, MGI_DIMS(2));
    int64_t tokens[2];
    mgi_fill(&run, t, 0.4f);
    const mgi_vt_text text = {
        {mgi_text_batch(&run, &t5, (const char *const[]){"a blue cube bounces", ""}, 2, tokens)},
        {tokens}};
    T *u = mgi_vt_forward(&run, &vt, x, t, &text);
    assert_int_equal(mgi_backward(&run, mgi_loss(&run, 0, 1.0f, u, v)), MGEN_OK);
    mgi_module *modules[] = {&t5.t5.module, &vt.module};
    for (int m = 0; m < 2; m++) {
        for (int64_t k = 0; k < modules[m]->count; k++) {
            const mgi_param *p = modules[m]->params[k];
            double sum = 0.0;
            for (int64_t i = 0; i < p->value->count; i++)
                sum += fabs((double)mgi_f32(p->value->var->grad)[i]);
            if (!(sum > 0.0) || !isfinite(sum))
                fail_msg("%s has gradient %g", p->name, sum);
        }
    }
    mgi_run_finish(&run);
    mgi_vt_finish(&vt);
    mgi_text_encoder_finish(&t5);
    mgen_context_destroy(ctx);
}

/* One recorded forward and backward; bytes that the tape held in between. */
static uint64_t one_step(mgen_context *ctx, mgi_text_encoder *t5, mgi_vt *vt, float *loss)
{
    mgi_run run;
    const uint64_t *now = &ctx->device->counts.now[MGI_MEM_ACTIVATION];
    const int64_t dims[5] = {3, 4, 8, 8, 3};
    mgi_run_init(&run, ctx, true);
    mgi_module_zero_grad(&t5->t5.module, &run);
    mgi_module_zero_grad(&vt->module, &run);
    T *x = random_tensor(&run, 6, 5, dims), *v = random_tensor(&run, 7, 5, dims);
    T *t = mgi_new(&run, MGK_F32, MGI_DIMS(3));
    int64_t tokens[3];
    mgi_fill(&run, t, 0.4f);
    const mgi_vt_text text = {
        {mgi_text_batch(&run, t5, (const char *const[]){"a blue cube", "", "a red ball"}, 3,
                        tokens)},
        {tokens}};
    uint64_t before = *now;
    T *u = mgi_vt_forward(&run, vt, x, t, &text);
    uint64_t after = *now;
    T *l = mgi_loss(&run, 0, 1.0f, u, v);
    assert_int_equal(mgi_backward(&run, l), MGEN_OK);
    *loss = mgi_f32(l)[0];
    mgi_run_finish(&run);
    return after - before;
}

/* Both networks, small, with gradients. */
typedef struct slice {
    mgi_text_encoder t5;
    mgi_vt vt;
    mgi_module *modules[2];
    int64_t size;
} slice;

static void slice_make(slice *s, mgen_context *ctx, int32_t dtype)
{
    mgi_vt_config config = small_vt;
    config.layers = 6;
    assert_int_equal(mgi_text_encoder_init(&s->t5, ctx, NULL, &small_text, NULL), MGEN_OK);
    assert_int_equal(mgi_vt_init(&s->vt, ctx, &config), MGEN_OK);
    assert_int_equal(mgi_module_random(&s->t5.t5.module, 1), MGEN_OK);
    assert_int_equal(mgi_vt_random(&s->vt, 1), MGEN_OK);
    randomise(&s->vt.module, 0.1f);
    s->modules[0] = &s->vt.module;
    s->modules[1] = &s->t5.t5.module;
    for (int m = 0; m < 2; m++) {
        assert_int_equal(mgi_module_train(s->modules[m]), MGEN_OK);
        assert_int_equal(mgi_module_compute(s->modules[m], dtype), MGEN_OK);
    }
    s->size = mgi_module_size(s->modules[0]) + mgi_module_size(s->modules[1]);
}

static void slice_free(slice *s)
{
    mgi_vt_finish(&s->vt);
    mgi_text_encoder_finish(&s->t5);
}

/* All gradients, one behind the other. */
static float *slice_gradients(const slice *s)
{
    float *all = test_malloc((size_t)s->size * sizeof *all), *at = all;
    for (int m = 0; m < 2; m++) {
        for (int64_t k = 0; k < s->modules[m]->count; k++) {
            const T *p = s->modules[m]->params[k]->value;
            memcpy(at, mgi_f32(p->var->grad), (size_t)p->count * sizeof *at);
            at += p->count;
        }
    }
    return all;
}

/* Largest difference of two parameters' gradients, relative to the larger one's largest value. */
static double slice_distance(const slice *s, const float *a, const float *b)
{
    double worst = 0.0;
    for (int m = 0; m < 2; m++) {
        for (int64_t k = 0; k < s->modules[m]->count; k++) {
            double apart = 0.0, largest = 1e-30;
            for (int64_t i = 0; i < s->modules[m]->params[k]->value->count; i++, a++, b++) {
                apart = fmax(apart, fabs((double)*a - (double)*b));
                largest = fmax(largest, fmax(fabs((double)*a), fabs((double)*b)));
            }
            worst = fmax(worst, apart / largest);
        }
    }
    return worst;
}

enum { TWO_SAMPLES = 2 * 4 * 4 * 4 }; /* tokens; of the three that one_step has */

/* Checkpointed blocks: the same loss and gradients, bit for bit, and no more memory than the save list. */
static void test_recompute(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    static const struct {
        int form;
        int64_t part_tokens;
    } ways[] = {
        {MGI_BLOCK_COMPOSITE, 0}, {MGI_BLOCK_COMPOSITE, TWO_SAMPLES}, {MGI_BLOCK_CHAINED, 0}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        slice s;
        float loss[3], *first = NULL;
        uint64_t held[3];
        slice_make(&s, ctx, MGK_F32);
        s.vt.form = ways[i].form;
        s.vt.part_tokens = ways[i].part_tokens;
        for (int mode = MGI_RECOMPUTE_NONE; mode <= MGI_RECOMPUTE_FULL; mode++) {
            s.vt.recompute = mode;
            held[mode] = one_step(ctx, &s.t5, &s.vt, &loss[mode]);
            float *g = slice_gradients(&s);
            if (first)
                assert_memory_equal(first, g, (size_t)s.size * sizeof *g);
            assert_true(loss[mode] == loss[0]);
            if (first)
                test_free(g);
            else
                first = g;
        }
        /* Selective keeps, a block, the self-attention's output (B,S,D) and log-sum-exp (B,H,S) more than full. */
        uint64_t tokens = 3 * 4 * 4 * 4, listed = 6 * 4 * (tokens * 24 + tokens * 2);
        assert_int_equal(held[MGI_RECOMPUTE_SELECTIVE] - held[MGI_RECOMPUTE_FULL], listed);
        /* and full keeps the inputs of the blocks and little else */
        assert_true((double)held[MGI_RECOMPUTE_FULL] < 0.25 * (double)held[MGI_RECOMPUTE_NONE]);
        test_free(first);
        slice_free(&s);
    }
    mgen_context_destroy(ctx);
}

/* The block written by hand is the chain of single ops: to rounding in f32, whole or in parts. In bf16 both are as
 * far from the f32 gradients, the hand-written one at most three times as far. */
static void test_composite(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    float loss[5], *g[5];
    slice s;
    for (int i = 0; i < 5; i++) {
        slice_make(&s, ctx, i % 4 < 2 ? MGK_F32 : MGK_BF16);
        s.vt.form = i % 2 || i == 4 ? MGI_BLOCK_COMPOSITE : MGI_BLOCK_CHAINED;
        s.vt.part_tokens = i == 4 ? TWO_SAMPLES : 0;
        one_step(ctx, &s.t5, &s.vt, &loss[i]);
        g[i] = slice_gradients(&s);
        if (i < 4)
            slice_free(&s);
    }
    assert_true(fabsf(loss[1] - loss[0]) <= 1e-5f * loss[0]);
    assert_true(slice_distance(&s, g[0], g[1]) < 2e-5);
    assert_true(loss[4] == loss[1]);
    assert_true(slice_distance(&s, g[1], g[4]) < 2e-6);
    double chained = slice_distance(&s, g[0], g[2]), composite = slice_distance(&s, g[0], g[3]);
    print_message("bf16 gradients: chained %.3g, composite %.3g from f32\n", chained, composite);
    assert_true(chained > 1e-4 && composite <= 3.0 * chained && chained < 0.1);
    assert_true(fabsf(loss[3] - loss[0]) <= 0.02f * loss[0]);
    for (int i = 0; i < 5; i++)
        test_free(g[i]);
    slice_free(&s);
    mgen_context_destroy(ctx);
}

/* -- text and schedules --------------------------------------------------------------------------- */

static void test_bytes(void **state)
{
    mgi_tokenizer t;
    mgi_tokens list = {0};
    int32_t ids[6];
    uint8_t mask[6];
    size_t bad = 99;
    (void)state;
    mgen_context *ctx = make_context();
    assert_int_equal(
        mgi_tokenizer_open(ctx, MGI_TOKENIZER_BYTES, NULL, &(mgi_tokenizer_files){{{0}}}, &t),
        MGEN_OK);
    assert_int_equal(t.vocab, 259);
    assert_int_equal(mgi_tokenizer_encode(ctx, &t, "ab", &list), MGEN_OK);
    assert_int_equal(mgi_tokens_row(&list, t.frame, 6, ids, mask), 3);
    const int32_t want[6] = {'a' + 3, 'b' + 3, 1, 0, 0, 0};
    assert_memory_equal(ids, want, sizeof want);
    assert_memory_equal(mask, ((uint8_t[]){1, 1, 1, 0, 0, 0}), 6);
    assert_int_equal(mgi_tokenizer_length(&t, &list, 6), 3);
    assert_int_equal(mgi_tokenizer_encode(ctx, &t, "cdef\xc3\xa4", &list), MGEN_OK);
    assert_int_equal(list.ids[6], 0xc3 + 3);
    assert_int_equal(mgi_tokens_row(&list, t.frame, 6, ids, mask), 6); /* cut, the end stays */
    assert_int_equal(ids[5], MGI_BYTE_EOS);
    assert_int_equal(mgi_tokenizer_length(&t, &list, 6), 6);
    mgi_tokens_free(ctx, &list);
    mgi_tokenizer_finish(ctx, &t);
    mgen_context_destroy(ctx);
    assert_true(mgi_utf8_valid("h\xc3\xa4 \xe2\x82\xac \xf0\x9f\x8e\xac", 12, &bad));
    assert_false(mgi_utf8_valid("ab\xff", 3, &bad));
    assert_int_equal(bad, 2);
    assert_false(mgi_utf8_valid("\xc0\xaf", 2, &bad));     /* overlong */
    assert_false(mgi_utf8_valid("\xed\xa0\x80", 3, &bad)); /* surrogate */
    assert_false(mgi_utf8_valid("\xe2\x82", 2, &bad));     /* cut off */
    assert_false(mgi_utf8_valid("\xf4\x90\x80\x80", 4, &bad));
}

/* The report's 50 steps that emulate 250. */
static void test_schedule(void **state)
{
    float t[51], line[5];
    (void)state;
    mgi_schedule_linear_quadratic(50, 250, t);
    assert_true(t[0] == 0.0f && t[50] == 1.0f);
    const int at[] = {1, 25, 26, 30, 35, 40, 45, 49};
    const double want[] = {.004, .1, .10528, .152, .268, .448, .692, .93328};
    for (int i = 0; i < 8; i++)
        assert_true(fabs((double)t[at[i]] - want[i]) < 1e-6);
    for (int i = 0; i < 50; i++)
        assert_true(t[i + 1] > t[i]);
    mgi_schedule(MGI_SCHEDULE_LINEAR_QUADRATIC, 50, t);
    assert_true(fabs((double)t[25] - .1) < 1e-6 && t[50] == 1.0f);
    mgi_schedule(MGI_SCHEDULE_LINEAR_QUADRATIC_1000, 50, t); /* the other: 50 that emulate 1000 */
    assert_true(t[0] == 0.0f && t[50] == 1.0f);
    assert_true(fabs((double)t[1] - .001) < 1e-7 && fabs((double)t[25] - .025) < 1e-7);
    for (int i = 1; i < 50; i++)
        assert_true(t[i + 1] > t[i]);
    mgi_schedule_linear(4, line);
    assert_true(line[1] == 0.25f && line[4] == 1.0f);
    for (int steps = 1; steps < 40; steps++) {
        mgi_schedule_linear_quadratic(steps, 5 * steps, t);
        assert_true(fabsf(t[steps] - 1.0f) < 1e-6f);
    }
}

static void test_image_quality(void **state)
{
    enum { N = 2 * 16 * 16 * 3 };
    uint8_t a[N], b[N];
    (void)state;
    for (int i = 0; i < N; i++) {
        a[i] = (uint8_t)(i * 7);
        b[i] = (uint8_t)(a[i] ^ 1);
    }
    assert_true(mgi_psnr(a, a, N) == 100.0);
    assert_true(fabs(mgi_psnr(a, b, N) - 48.1308) < 1e-3); /* 20 log10(255) */
    assert_true(fabs(mgi_ssim_clip(a, a, 2, 16, 16) - 1.0) < 1e-12);
    memset(b, 128, N);
    assert_true(mgi_ssim_clip(a, b, 2, 16, 16) < 0.2);
}

/* -- files ---------------------------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to, long cut)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(out);
    for (long i = 0; cut < 0 || i < cut; i++) {
        int c = fgetc(in);
        if (c == EOF)
            break;
        fputc(c, out);
    }
    fclose(in);
    fclose(out);
}

/* A model comes back as it was written; damaged files are refused with the file's name. */
static void test_model_file(void **state)
{
    char dir[] = "/tmp/mgen-model-XXXXXX", a[300], b[300];
    (void)state;
    mgen_context *ctx = make_context();
    mgi_text_encoder t5, back;
    uint64_t hash = 0, again = 0;
    uint64_t before, after;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(mgi_text_encoder_init(&t5, ctx, NULL, &small_text, NULL), MGEN_OK);
    assert_int_equal(mgi_module_random(&t5.t5.module, 5), MGEN_OK);
    assert_int_equal(mgi_text_encoder_save(&t5, dir, "text", MGI_ST_F32), MGEN_OK);
    assert_int_equal(mgi_text_encoder_open(ctx, dir, "text", &back, &hash), MGEN_OK);
    for (int64_t k = 0; k < t5.t5.module.count; k++) {
        const T *x = t5.t5.module.params[k]->value, *y = back.t5.module.params[k]->value;
        assert_memory_equal(mgi_f32(x), mgi_f32(y), (size_t)x->count * sizeof(float));
    }
    mgi_text_encoder_finish(&back);
    assert_int_equal(mgi_text_encoder_open(ctx, dir, "text", &back, &again), MGEN_OK);
    assert_true(hash == again && hash != 0);
    mgi_text_encoder_finish(&back);
    mgi_device_trim(ctx->device);
    mgen_context_memory(ctx, &before, NULL);

    assert_int_equal(mgi_text_encoder_open(ctx, dir, "absent", &back, &hash), MGEN_E_NOT_FOUND);
    assert_non_null(strstr(mgen_last_error(ctx), "absent.json"));
    uint64_t unused;
    mgi_vt vt;
    assert_int_equal(mgi_vt_open(ctx, dir, "text", &vt, &unused), MGEN_E_CORRUPT); /* wrong kind */
    assert_non_null(strstr(mgen_last_error(ctx), "kind"));
    snprintf(a, sizeof a, "%s/text.safetensors", dir);
    snprintf(b, sizeof b, "%s/cut.safetensors", dir);
    copy_file(a, b, 5000);
    snprintf(a, sizeof a, "%s/text.json", dir);
    snprintf(b, sizeof b, "%s/cut.json", dir);
    copy_file(a, b, -1);
    assert_int_equal(mgi_text_encoder_open(ctx, dir, "cut", &back, &hash), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "cut.safetensors"));
    copy_file(a, b, 40);
    assert_int_equal(mgi_text_encoder_open(ctx, dir, "cut", &back, &hash), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "cut.json"));
    mgi_device_trim(ctx->device);
    mgen_context_memory(ctx, &after, NULL);
    assert_int_equal(before, after);
    mgi_text_encoder_finish(&t5);
    mgen_context_destroy(ctx);
    const char *const names[] = {"text.safetensors", "text.json", "cut.safetensors", "cut.json"};
    for (int i = 0; i < 4; i++) {
        snprintf(a, sizeof a, "%s/%s", dir, names[i]);
        unlink(a);
    }
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tae_shapes),    cmocka_unit_test(test_inflation),
        cmocka_unit_test(test_transformer),   cmocka_unit_test(test_gradients_reach_everything),
        cmocka_unit_test(test_recompute),     cmocka_unit_test(test_composite),
        cmocka_unit_test(test_bytes),         cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_image_quality), cmocka_unit_test(test_model_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
