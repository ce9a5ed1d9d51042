/* SPDX-License-Identifier: MIT
 * Channels of a condition: the video transformer that sees them is the one that takes all channels together, of a wider
 * patch matrix; with weights of zero it is the one that sees none; and what it is refused with. Over ranks: test_mesh.c. */
#include "core/hash.h"
#include "kernels/loss/loss.h"
#include "model/video_transformer.h"
#include "tensor/weights.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "failing_memory.h"
#include "networks.h"

/* Two samples of two frames of 4 x 4 latents, and a text. */
enum { N = 2, FRAMES = 2, SIDE = 4, C = 3, K = 2, TEXT = 3, WIDTH = 12 };
enum { PLACES = N * FRAMES * SIDE * SIDE };

static const mgi_vt_config seeing = {.layers = 2,
                                     .dim = 24,
                                     .heads = 2,
                                     .ff_dim = 40,
                                     .channels = C,
                                     .condition = K,
                                     .patch_t = 1,
                                     .patch_h = 2,
                                     .patch_w = 2,
                                     .frames_max = FRAMES,
                                     .rows_max = SIDE,
                                     .columns_max = SIDE,
                                     .text = {WIDTH},
                                     .time_dim = 16};

/* A model, and how it is run. */
typedef struct way {
    int32_t block, dtype;
    int64_t patch; /* of rows and columns */
    int form;
} way;
static const way ways[] = {{MGI_VT_LLAMA, MGK_F32, 2, MGI_BLOCK_COMPOSITE},
                           {MGI_VT_LLAMA, MGK_F32, 1, MGI_BLOCK_COMPOSITE},
                           {MGI_VT_LLAMA, MGK_F32, 2, MGI_BLOCK_CHAINED},
                           {MGI_VT_LLAMA, MGK_BF16, 2, MGI_BLOCK_COMPOSITE},
                           {MGI_VT_LLAMA, MGK_BF16, 1, MGI_BLOCK_CHAINED},
                           {MGI_VT_DIT, MGK_F32, 2, MGI_BLOCK_CHAINED},
                           {MGI_VT_DIT, MGK_F32, 1, MGI_BLOCK_CHAINED}};
enum { WAYS = sizeof ways / sizeof ways[0] };

static mgi_vt_config config_of(const way *w, int64_t channels, int64_t condition)
{
    mgi_vt_config c = seeing;
    c.block = w->block;
    c.patch_h = c.patch_w = w->patch;
    c.channels = channels;
    c.condition = condition;
    return c;
}

/* Values by name: parameters that two models share have the same in both. */
static void fill(mgi_vt *vt)
{
    mgi_module *m = &vt->module;
    assert_int_equal(mgi_vt_random(vt, 1), MGEN_OK);
    for (int64_t k = 0; k < m->count; k++) {
        mgi_param *p = m->params[k];
        uint64_t stream = mgi_hash64(p->name, strlen(p->name), 7);
        for (int64_t i = 0; i < p->value->count; i++)
            mgi_f32(p->value)[i] += 0.1f * mgi_random_normal(5, stream, (uint64_t)i);
    }
}

static void make(mgi_vt *vt, mgen_context *ctx, mgi_vt_config config)
{
    assert_int_equal(mgi_vt_init(vt, ctx, &config), MGEN_OK);
    fill(vt);
}

/* What fill() does is done: from now on it trains, and computes so. */
static void ready(mgi_vt *vt, const way *w)
{
    vt->form = w->form;
    assert_int_equal(mgi_module_train(&vt->module), MGEN_OK);
    assert_int_equal(mgi_module_compute(&vt->module, w->dtype), MGEN_OK);
    mgi_module_refresh(&vt->module);
}

static T *latents(mgi_run *run, uint64_t stream, int64_t channels)
{
    return random_tensor(run, stream, MGI_DIMS(N, FRAMES, SIDE, SIDE, channels));
}

/* Of tensors of `a` and `b` channels that of both. */
static T *joined(mgi_run *run, const T *x, const T *y, int64_t a, int64_t b)
{
    T *z = mgi_new(run, MGK_F32, MGI_DIMS(N, FRAMES, SIDE, SIDE, a + b));
    assert_non_null(z);
    for (int64_t i = 0; i < PLACES; i++) {
        memcpy(mgi_f32(z) + i * (a + b), mgi_f32(x) + i * a, (size_t)a * sizeof(float));
        memcpy(mgi_f32(z) + i * (a + b) + a, mgi_f32(y) + i * b, (size_t)b * sizeof(float));
    }
    return z;
}

static void want_gradient(mgi_run *run, T *t)
{
    if (run->record)
        assert_int_equal(mgi_var_create(run->dev, MGK_F32, t->count, false, &t->var), MGEN_OK);
}

/* A step of a model: its answer in the first C channels, the loss of these, and the gradients of its two inputs. */
typedef struct seen {
    float answer[PLACES * C], loss, dx[PLACES * C], dcondition[PLACES * K];
} seen;

/* The model has its condition beside, behind the latents in one tensor, or none. */
enum { BESIDE, BEHIND, NONE };

static void keep_gradients(int kind, const T *x, const T *condition, seen *out)
{
    const float *dx = mgi_f32(x->var->grad);
    int64_t row = kind == BEHIND ? C + K : C;
    for (int64_t i = 0; i < PLACES; i++) {
        memcpy(out->dx + i * C, dx + i * row, C * sizeof *dx);
        if (kind == BEHIND)
            memcpy(out->dcondition + i * K, dx + i * row + C, K * sizeof *dx);
    }
    if (kind == BESIDE)
        memcpy(out->dcondition, mgi_f32(condition->var->grad), sizeof out->dcondition);
}

static void step(mgen_context *ctx, mgi_vt *vt, int kind, bool record, seen *out)
{
    mgi_run run;
    mgi_run_init(&run, ctx, record);
    if (record)
        mgi_module_zero_grad(&vt->module, &run);
    T *x = latents(&run, 1, C), *condition = latents(&run, 2, K);
    T *t = mgi_new(&run, MGK_F32, MGI_DIMS(N));
    if (kind == BEHIND)
        x = joined(&run, x, condition, C, K);
    mgi_f32(t)[0] = 0.2f;
    mgi_f32(t)[1] = 0.7f;
    want_gradient(&run, x);
    want_gradient(&run, condition);
    const mgi_vt_text text = {.x = {random_tensor(&run, 3, MGI_DIMS(N, TEXT, WIDTH))},
                              .condition = kind == BESIDE ? condition : NULL};
    T *u = mgi_vt_forward(&run, vt, x, t, &text);
    if (!u)
        fail_msg("%s", mgen_last_error(ctx));
    if (kind == BEHIND)
        u = mgi_slice(&run, u, 4, 0, C);
    assert_int_equal(u->count, PLACES * C);
    memcpy(out->answer, mgi_f32(u), sizeof out->answer);
    if (record) {
        T *loss = mgi_loss(&run, MGK_LOSS_MSE, 1.0f, u, latents(&run, 4, C));
        assert_int_equal(mgi_backward(&run, loss), MGEN_OK);
        out->loss = mgi_f32(loss)[0];
        keep_gradients(kind, x, condition, out);
    }
    mgi_run_finish(&run);
}

static mgi_param *param(const mgi_vt *vt, const char *name)
{
    for (int64_t k = 0; k < vt->module.count; k++)
        if (!strcmp(vt->module.params[k]->name, name))
            return vt->module.params[k];
    fail_msg("no parameter %s", name);
    return NULL;
}

/* The largest difference, relative to the largest value. */
static double apart(const float *a, const float *b, int64_t count)
{
    double most = 0.0, largest = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)b[i]));
    }
    return most / largest;
}

/* -- weights of zero ------------------------------------------------------------------------------ */

static void assert_blind(mgen_context *ctx, const way *w)
{
    mgi_vt vt, plain;
    seen a, b;
    make(&vt, ctx, config_of(w, C, K));
    make(&plain, ctx, config_of(w, C, 0));
    assert_int_equal(vt.module.count, plain.module.count + 1);
    assert_null(plain.patch_condition);
    mgi_tensor *weights = vt.patch_condition->value;
    memset(mgi_f32(weights), 0, (size_t)weights->count * sizeof(float));
    ready(&vt, w);
    ready(&plain, w);
    step(ctx, &vt, BESIDE, true, &a);
    step(ctx, &plain, NONE, true, &b);
    assert_memory_equal(a.answer, b.answer, sizeof a.answer);
    assert_memory_equal(a.dx, b.dx, sizeof a.dx);
    assert_true(a.loss == b.loss && a.loss > 0.0f);
    for (int64_t k = 0; k < plain.module.count; k++) {
        const mgi_param *p = plain.module.params[k], *q = param(&vt, p->name);
        if (memcmp(mgi_f32(p->value->var->grad), mgi_f32(q->value->var->grad),
                   (size_t)p->value->count * sizeof(float)))
            fail_msg("the gradient of %s is another", p->name);
    }
    /* and they are learned: no place of the patch, no channel is left out */
    const float *learned = mgi_f32(weights->var->grad);
    for (int64_t i = 0; i < weights->count; i++)
        if (learned[i] == 0.0f)
            fail_msg("weight %lld of the condition has no gradient", (long long)i);
    for (int i = 0; i < PLACES * K; i++)
        assert_true(a.dcondition[i] == 0.0f);
    mgi_vt_finish(&vt);
    mgi_vt_finish(&plain);
}

/* As the model without a condition, to the bit, in its answer, its loss and all gradients. */
static void test_blind(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt vt;
    (void)state;
    for (int i = 0; i < WAYS; i++)
        assert_blind(ctx, &ways[i]);
    /* which is how a new model begins */
    assert_int_equal(mgi_vt_init(&vt, ctx, &seeing), MGEN_OK);
    assert_int_equal(mgi_vt_random(&vt, 1), MGEN_OK);
    for (int64_t i = 0; i < vt.patch_condition->value->count; i++)
        assert_true(mgi_f32(vt.patch_condition->value)[i] == 0.0f);
    mgi_vt_finish(&vt);
    mgen_context_destroy(ctx);
}

/* -- all channels together ------------------------------------------------------------------------ */

/* Rows of `inner` values each, of a matrix whose columns, or rows, are a patch's places times C + K channels: parts of C and
 * of K. Where `back`, they are read from it. */
static void part(float *all, float *c, float *k, int64_t outer, int64_t inner, bool back)
{
    for (int64_t o = 0; o < outer; o++, all += (C + K) * inner) {
        size_t first = (size_t)(C * inner) * sizeof *all, rest = (size_t)(K * inner) * sizeof *all;
        if (back) {
            memcpy(c + o * C * inner, all, first);
            memcpy(k + o * K * inner, all + C * inner, rest);
        } else {
            memcpy(all, c + o * C * inner, first);
            memcpy(all + C * inner, k + o * K * inner, rest);
        }
    }
}

/* The model of all channels: a patch matrix of both, place by place, and a head for the first. */
static void concatenate(const mgi_vt *vt, mgi_vt *all)
{
    const int64_t places = vt->config.patch_h * vt->config.patch_w, d = vt->config.dim;
    float none[4 * K * 24] = {0};
    for (int64_t k = 0; k < all->module.count; k++) {
        mgi_param *p = all->module.params[k];
        mgi_tensor *from = param(vt, p->name)->value;
        if (p == all->patch)
            part(mgi_f32(p->value), mgi_f32(from), mgi_f32(vt->patch_condition->value), d * places,
                 1, false);
        else if (p == all->head)
            part(mgi_f32(p->value), mgi_f32(from), none, places, d, false);
        else if (p == all->head_b)
            part(mgi_f32(p->value), mgi_f32(from), none, places, 1, false);
        else
            memcpy(mgi_f32(p->value), mgi_f32(from), (size_t)from->count * sizeof(float));
    }
}

static void note(double *worst, const char *name, double distance, double most)
{
    if (!(distance <= most))
        fail_msg("%s: %g apart", name, distance);
    *worst = fmax(*worst, distance);
}

/* The largest distance of the gradients; each is at most `most`. */
static double gradients_apart(const mgi_vt *vt, const mgi_vt *all, double most)
{
    const int64_t places = vt->config.patch_h * vt->config.patch_w, d = vt->config.dim;
    float of_c[4 * C * 24], of_k[4 * K * 24];
    double worst = 0.0;
    for (int64_t k = 0; k < vt->module.count; k++) {
        const mgi_param *p = vt->module.params[k];
        const bool patch = p == vt->patch || p == vt->patch_condition;
        const bool head = p == vt->head || p == vt->head_b;
        float *theirs = mgi_f32(
            param(all, p == vt->patch_condition ? "patch.weight" : p->name)->value->var->grad);
        if (patch || head)
            part(theirs, of_c, of_k, patch ? d * places : places, p == vt->head ? d : 1, true);
        const float *want = p == vt->patch_condition ? of_k : patch || head ? of_c : theirs;
        note(&worst, p->name, apart(mgi_f32(p->value->var->grad), want, p->value->count), most);
    }
    return worst;
}

static double step_apart(const seen *a, const seen *b, double most)
{
    double worst = 0.0;
    note(&worst, "the answer", apart(a->answer, b->answer, PLACES * C), most);
    note(&worst, "the loss", apart(&a->loss, &b->loss, 1), most);
    note(&worst, "the latents' gradient", apart(a->dx, b->dx, PLACES * C), most);
    note(&worst, "the condition's gradient", apart(a->dcondition, b->dcondition, PLACES * K), most);
    return worst;
}

#define ROUGH 0.1 /* bf16, three digits, through two blocks and back */

/* In bf16 both are about as far from the model that computes in f32. */
static double assert_both_rounded(mgen_context *ctx, const way *w, mgi_vt *vt, mgi_vt *all)
{
    way exact = *w;
    mgi_vt truth;
    seen a, b, c;
    exact.dtype = MGK_F32;
    make(&truth, ctx, all->config);
    concatenate(vt, &truth);
    ready(&truth, &exact);
    step(ctx, &truth, BEHIND, true, &c);
    step(ctx, vt, BESIDE, true, &a);
    step(ctx, all, BEHIND, true, &b);
    double ours = step_apart(&a, &c, ROUGH), theirs = step_apart(&b, &c, ROUGH);
    double gradients = gradients_apart(vt, &truth, ROUGH);
    print_message("bf16, patch %lld: %.3g from f32, gradients %.3g; all channels together %.3g\n",
                  (long long)w->patch, ours, gradients, theirs);
    assert_true(theirs > 1e-3 && ours < 3.0 * theirs && gradients > 1e-3);
    mgi_vt_finish(&truth);
    return step_apart(&a, &b, ROUGH);
}

static double assert_concatenated(mgen_context *ctx, const way *w)
{
    mgi_vt vt, all;
    seen a, b;
    double worst;
    make(&vt, ctx, config_of(w, C, K));
    make(&all, ctx, config_of(w, C + K, 0));
    concatenate(&vt, &all);
    ready(&vt, w);
    ready(&all, w);
    if (w->dtype == MGK_BF16) {
        worst = assert_both_rounded(ctx, w, &vt, &all);
    } else {
        step(ctx, &vt, BESIDE, true, &a);
        step(ctx, &all, BEHIND, true, &b);
        worst = fmax(step_apart(&a, &b, 2e-5), gradients_apart(&vt, &all, 2e-5));
    }
    mgi_vt_finish(&vt);
    mgi_vt_finish(&all);
    return worst;
}

/* The report's latents "concatenated along the channel dimension": answer, loss and all gradients, those of both inputs, too. */
static void test_concatenated(void **state)
{
    mgen_context *ctx = make_context();
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        double worst = assert_concatenated(ctx, &ways[i]);
        print_message("%s, %s, patch %lld, %s: %.2g apart\n", ways[i].block ? "dit" : "llama",
                      ways[i].dtype == MGK_BF16 ? "bf16" : "f32", (long long)ways[i].patch,
                      ways[i].form == MGI_BLOCK_CHAINED ? "chained" : "composite", worst);
    }
    mgen_context_destroy(ctx);
}

/* The gradient of the condition's weights is the loss's slope along it. */
static void test_slope(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt vt;
    seen s;
    double along = 0.0, ends[2];
    (void)state;
    make(&vt, ctx, seeing);
    ready(&vt, &ways[0]);
    mgi_tensor *w = vt.patch_condition->value;
    const float *g = mgi_f32(w->var->grad);
    step(ctx, &vt, BESIDE, true, &s);
    for (int64_t i = 0; i < w->count; i++)
        along += (double)g[i] * (i % 3 ? 1 : -2);
    for (int end = 0; end < 2; end++) {
        for (int64_t i = 0; i < w->count; i++)
            mgi_f32(w)[i] += (end ? 2e-3f : -1e-3f) * (i % 3 ? 1 : -2);
        mgi_module_refresh(&vt.module);
        step(ctx, &vt, BESIDE, true, &s);
        ends[end] = (double)s.loss;
    }
    double slope = (ends[1] - ends[0]) / 2e-3;
    if (fabs(slope - along) > 0.02 * fabs(along) || fabs(along) < 0.01)
        fail_msg("slope %g, gradient %g", slope, along);
    mgi_vt_finish(&vt);
    mgen_context_destroy(ctx);
}

/* Recomputed blocks change nothing; without a tape, and with a text that is read once, the answer has the same bits. */
static void test_ways_to_run(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt vt;
    mgi_run run;
    mgi_vt_seen once;
    seen first, other;
    (void)state;
    make(&vt, ctx, seeing);
    ready(&vt, &ways[0]);
    step(ctx, &vt, BESIDE, true, &first);
    for (vt.recompute = MGI_RECOMPUTE_SELECTIVE; vt.recompute <= MGI_RECOMPUTE_FULL;
         vt.recompute++) {
        step(ctx, &vt, BESIDE, true, &other);
        assert_memory_equal(&first, &other, sizeof first);
    }
    step(ctx, &vt, BESIDE, false, &other);
    assert_memory_equal(first.answer, other.answer, sizeof first.answer);
    mgi_run_init(&run, ctx, false);
    mgi_vt_text text = {.x = {random_tensor(&run, 3, MGI_DIMS(N, TEXT, WIDTH))}};
    mgi_vt_see(&run, &vt, &text, N, &once);
    text.seen = &once;
    text.condition = latents(&run, 2, K);
    T *t = mgi_new(&run, MGK_F32, MGI_DIMS(N));
    mgi_f32(t)[0] = 0.2f;
    mgi_f32(t)[1] = 0.7f;
    T *u = mgi_vt_forward(&run, &vt, latents(&run, 1, C), t, &text);
    assert_non_null(u);
    assert_memory_equal(first.answer, mgi_f32(u), sizeof first.answer);
    mgi_run_finish(&run);
    mgi_vt_finish(&vt);
    mgen_context_destroy(ctx);
}

/* -- what is refused ------------------------------------------------------------------------------ */

static void refuse(mgen_context *ctx, const mgi_vt *vt, int rank, const int64_t *dims,
                   const char *said)
{
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    T *condition = rank ? random_tensor(&run, 2, rank, dims) : NULL;
    T *x = latents(&run, 1, C), *t = mgi_new(&run, MGK_F32, MGI_DIMS(N));
    mgi_fill(&run, t, 0.5f);
    const mgi_vt_text text = {.x = {random_tensor(&run, 3, MGI_DIMS(N, TEXT, WIDTH))},
                              .condition = condition};
    assert_null(mgi_vt_forward(&run, vt, x, t, &text));
    assert_int_equal(run.status, MGEN_E_INTERNAL);
    if (!strstr(mgen_last_error(ctx), said))
        fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), said);
    mgi_run_finish(&run);
}

static void test_refused(void **state)
{
    static const char other[] = "the condition has another shape than x";
    static const char none[] =
        "it has channels of a condition and gets none, or the other way round";
    mgen_context *ctx = make_context();
    mgi_vt vt, plain;
    (void)state;
    make(&vt, ctx, seeing);
    make(&plain, ctx, config_of(&ways[0], C, 0));
    refuse(ctx, &vt, 0, NULL, none);
    refuse(ctx, &plain, MGI_DIMS(N, FRAMES, SIDE, SIDE, K), none);
    refuse(ctx, &vt, MGI_DIMS(1, FRAMES, SIDE, SIDE, K), other);
    refuse(ctx, &vt, MGI_DIMS(N, 1, SIDE, SIDE, K), other);
    refuse(ctx, &vt, MGI_DIMS(N, FRAMES, SIDE - 2, SIDE, K), other);
    refuse(ctx, &vt, MGI_DIMS(N, FRAMES, SIDE, SIDE - 2, K), other);
    refuse(ctx, &vt, MGI_DIMS(N, FRAMES, SIDE, SIDE, C), other);
    refuse(ctx, &vt, MGI_DIMS(N, FRAMES, SIDE, SIDE * K), other);
    refuse(ctx, &vt, MGI_DIMS(N, FRAMES, SIDE, SIDE, K, 1), other);
    mgi_vt_finish(&vt);
    mgi_vt_finish(&plain);
    mgen_context_destroy(ctx);
}

/* -- models that grow ----------------------------------------------------------------------------- */

static char folder[] = "/tmp/mgi-condition-XXXXXX";

static void save(mgi_vt *vt)
{
    char path[64];
    snprintf(path, sizeof path, "%s/m.safetensors", folder);
    assert_int_equal(mgi_module_save(&vt->module, path, false, MGI_ST_F32), MGEN_OK);
}

static mgen_status grow(mgen_context *ctx, mgi_vt *vt, const mgi_vt_config *theirs)
{
    mgi_st_file st;
    assert_int_equal(mgi_st_open(ctx, folder, "m.safetensors", &st), MGEN_OK);
    mgen_status status = mgi_vt_load_grown(vt, theirs, &st, "m.safetensors");
    mgi_st_close(ctx, &st);
    return status;
}

static void assert_zero(const mgi_param *p)
{
    for (int64_t i = 0; i < p->value->count; i++)
        assert_true(mgi_f32(p->value)[i] == 0.0f);
}

/* From a model that sees none: it goes on as that one, to the bit; not from what was there before. */
static void test_grown_blind(void **state)
{
    mgen_context *ctx = make_context();
    (void)state;
    for (int block = MGI_VT_LLAMA; block <= MGI_VT_DIT; block++) {
        const way w = {block, MGK_F32, 2, MGI_BLOCK_CHAINED};
        mgi_vt vt, plain;
        seen a, b;
        make(&plain, ctx, config_of(&w, C, 0));
        for (int64_t i = 0; i < plain.patch->value->count; i++)
            mgi_f32(plain.patch->value)[i] += 1.0f; /* not what fill() gives */
        save(&plain);
        make(&vt, ctx, config_of(&w, C, K));
        assert_int_equal(grow(ctx, &vt, &plain.config), MGEN_OK);
        assert_zero(vt.patch_condition);
        ready(&vt, &w);
        ready(&plain, &w);
        step(ctx, &vt, BESIDE, true, &a);
        step(ctx, &plain, NONE, true, &b);
        assert_memory_equal(a.answer, b.answer, sizeof a.answer);
        assert_memory_equal(a.dx, b.dx, sizeof a.dx);
        mgi_vt_finish(&vt);
        mgi_vt_finish(&plain);
    }
    mgen_context_destroy(ctx);
}

/* (D, 2 x 2 places, channels) becomes (D, channels): sums over places. */
static void assert_folded(const mgi_param *large, const mgi_param *small, int64_t channels)
{
    for (int64_t i = 0; i < small->value->count; i++) {
        const float *x = mgi_f32(large->value) + i / channels * 4 * channels + i % channels;
        float sum = x[0] + x[channels] + x[2 * channels] + x[3 * channels];
        if (fabsf(mgi_f32(small->value)[i] - sum) > 1e-6f)
            fail_msg("%s, %lld: %g, not %g", small->name, (long long)i,
                     (double)mgi_f32(small->value)[i], (double)sum);
    }
}

/* From smaller tables and larger patches: with a condition, whose weights are folded as the latents' are, and without. */
static void test_grown_folded(void **state)
{
    static const way coarse = {MGI_VT_LLAMA, MGK_F32, 2, MGI_BLOCK_COMPOSITE};
    static const way fine = {MGI_VT_LLAMA, MGK_F32, 1, MGI_BLOCK_COMPOSITE};
    mgen_context *ctx = make_context();
    (void)state;
    for (int64_t condition = 0; condition <= K; condition += K) {
        mgi_vt_config theirs = config_of(&coarse, C, condition);
        mgi_vt vt, before;
        seen s;
        theirs.rows_max = theirs.columns_max = SIDE / 2;
        make(&before, ctx, theirs);
        save(&before);
        make(&vt, ctx, config_of(&fine, C, K));
        assert_int_equal(grow(ctx, &vt, &theirs), MGEN_OK);
        assert_folded(before.patch, vt.patch, C);
        if (condition)
            assert_folded(before.patch_condition, vt.patch_condition, K);
        else
            assert_zero(vt.patch_condition);
        /* rows of a table of two, in the middle of their halves of four: at 0.25 of the way between them */
        const float *two = mgi_f32(before.pos_h->value), *four = mgi_f32(vt.pos_h->value);
        for (int k = 0; k < 24; k++)
            assert_true(fabsf(four[24 + k] - (0.75f * two[k] + 0.25f * two[24 + k])) < 1e-6f);
        ready(&vt, &fine);
        step(ctx, &vt, BESIDE, false, &s);
        mgi_vt_finish(&vt);
        mgi_vt_finish(&before);
    }
    mgen_context_destroy(ctx);
}

/* Files that are no such model. */
static void test_grown_refused(void **state)
{
    mgen_context *ctx = make_context();
    mgi_vt_config wider = seeing, none = seeing;
    mgi_vt vt, other, plain;
    (void)state;
    wider.condition = K + 1;
    none.condition = 0;
    make(&vt, ctx, seeing);
    make(&other, ctx, wider);
    make(&plain, ctx, none);
    save(&other);
    assert_int_equal(grow(ctx, &vt, &wider), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "\"patch_condition.weight\" has another shape"));
    assert_int_equal(grow(ctx, &plain, &wider), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "its configuration names only"));
    /* a condition that its configuration does not know of is not taken for one that it has */
    save(&vt);
    assert_int_equal(grow(ctx, &vt, &none), MGEN_E_CORRUPT);
    assert_non_null(
        strstr(mgen_last_error(ctx), "but its configuration no channels of a condition"));
    /* one that is missing is no condition of zeros */
    save(&plain);
    assert_int_equal(grow(ctx, &vt, &seeing), MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "\"patch_condition.weight\" is missing"));
    mgi_vt_finish(&vt);
    mgi_vt_finish(&other);
    mgi_vt_finish(&plain);
    mgen_context_destroy(ctx);
}

/* Every allocation of growing fails, with all after it or alone; nothing is kept, and then it goes as if nothing had been. */
static void fail_grow(const mgi_vt_config *theirs, const mgi_vt_config *ours, bool alone)
{
    failing memory = {0};
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    mgi_vt before, vt;
    mgi_st_file st;
    mgen_status status = MGEN_E_NO_MEMORY;
    int failures = 0;
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    make(&before, ctx, *theirs);
    save(&before);
    make(&vt, ctx, *ours);
    assert_int_equal(mgi_st_open(ctx, folder, "m.safetensors", &st), MGEN_OK);
    for (int k = 1; status == MGEN_E_NO_MEMORY; k++) {
        int64_t blocks = memory.blocks;
        memory = (failing){.blocks = blocks, .fail_at = k, .alone = alone};
        status = mgi_vt_load_grown(&vt, theirs, &st, "m.safetensors");
        failures += status == MGEN_E_NO_MEMORY;
        assert_true(memory.calls >= k || status == MGEN_OK);
        memory.fail_at = 0;
        assert_int_equal(memory.blocks, blocks);
    }
    assert_int_equal(status, MGEN_OK);
    assert_true(failures > 4); /* entries, tables, patches, what is read of them */
    if (theirs->condition)
        assert_folded(before.patch_condition, vt.patch_condition, K);
    else
        assert_zero(vt.patch_condition);
    mgi_st_close(ctx, &st);
    mgi_vt_finish(&vt);
    mgi_vt_finish(&before);
    mgen_context_destroy(ctx);
    assert_int_equal(memory.blocks, 0);
}

static void test_grown_no_memory(void **state)
{
    mgi_vt_config theirs = seeing, ours = seeing;
    (void)state;
    theirs.rows_max = theirs.columns_max = SIDE / 2;
    ours.patch_h = ours.patch_w = 1;
    for (int i = 0; i < 4; i++) {
        theirs.condition = i / 2 ? 0 : K;
        fail_grow(&theirs, &ours, i % 2);
    }
}

/* -- configuration -------------------------------------------------------------------------------- */

static mgen_status read_more(mgen_context *ctx, const char *more, mgi_vt_config *out)
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

/* What it says is read back; where there is none, nothing is said. */
static void assert_back(mgen_context *ctx, const mgi_vt_config *config, bool said)
{
    mgi_json_writer w;
    mgi_json *json;
    const char *text;
    size_t size;
    mgi_vt_config back;
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_open(&w, NULL, '{');
    mgi_vt_config_write(&w, config);
    mgi_json_close(&w, '}');
    assert_int_equal(mgi_json_text(&w, &text, &size), MGEN_OK);
    assert_int_equal(strstr(text, "condition") != NULL, said);
    assert_int_equal(mgi_json_parse(ctx, "test", text, size, &json), MGEN_OK);
    assert_int_equal(mgi_vt_config_read(ctx, json, &back), MGEN_OK);
    assert_int_equal(back.condition, config->condition);
    assert_int_equal(back.channels, config->channels);
    mgi_json_free(ctx, json);
    mgi_json_writer_free(&w);
}

static void test_configuration(void **state)
{
    static const struct {
        const char *more, *said;
    } bad[] = {{", \"condition_channels\": -1", "\"condition_channels\" is -1"},
               {", \"condition_channels\": 4097", "\"condition_channels\" is 4097"},
               {", \"condition_channels\": 1.5", "\"condition_channels\" is 1.5"},
               {", \"condition_channels\": \"2\"", "\"condition_channels\" is \"2\""},
               {", \"condition\": 2", "unknown key \"condition\""}};
    mgen_context *ctx = make_context();
    mgi_vt_config c;
    (void)state;
    assert_int_equal(read_more(ctx, "", &c), MGEN_OK);
    assert_int_equal(c.condition, 0);
    assert_back(ctx, &c, false);
    assert_int_equal(read_more(ctx, ", \"condition_channels\": 0", &c), MGEN_OK);
    assert_back(ctx, &c, false);
    assert_int_equal(read_more(ctx, ", \"condition_channels\": 4096", &c), MGEN_OK);
    assert_int_equal(c.condition, 4096);
    assert_back(ctx, &c, true);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_more(ctx, bad[i].more, &c), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), bad[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), bad[i].said);
    }
    mgen_context_destroy(ctx);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char path[64];
    (void)state;
    snprintf(path, sizeof path, "%s/m.safetensors", folder);
    return unlink(path) || rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blind),           cmocka_unit_test(test_concatenated),
        cmocka_unit_test(test_slope),           cmocka_unit_test(test_ways_to_run),
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_grown_blind),
        cmocka_unit_test(test_grown_folded),    cmocka_unit_test(test_grown_refused),
        cmocka_unit_test(test_grown_no_memory), cmocka_unit_test(test_configuration)};
    return cmocka_run_group_tests_name("condition", tests, make_folder, remove_folder);
}
