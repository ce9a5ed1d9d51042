/* SPDX-License-Identifier: MIT
 * T5's decoder against a reference in double precision; its gradients; what a token may see; token by token. */
#include "kernels/loss/loss.h"
#include "model/t5_decoder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing_memory.h"
#include "networks.h"

enum { VOCAB = 40, DIM = 20, HEADS = 3, HEAD = 4, INNER = HEADS * HEAD, FF = 24, TOLD = 14 };
enum { BUCKETS = 8, MOST = 20, LAYERS = 2, B = 2, S = 100, SE = 9, CHANGED = 70, LONGEST = 150 };

static const int64_t told_count[B] = {SE, 5};

static mgi_t5_decoder_config small(int32_t ffn, bool tied)
{
    return (mgi_t5_decoder_config){.t5 = {.vocab = VOCAB,
                                          .dim = DIM,
                                          .layers = LAYERS,
                                          .heads = HEADS,
                                          .head_dim = HEAD,
                                          .ff_dim = FF,
                                          .buckets = BUCKETS,
                                          .max_distance = MOST,
                                          .tokens_max = LONGEST,
                                          .ffn = ffn,
                                          .eps = 1e-6f},
                                   .told_dim = TOLD,
                                   .tied = tied};
}

static void make(mgi_t5_decoder *d, mgen_context *ctx, const mgi_t5_decoder_config *config)
{
    assert_int_equal(mgi_t5_decoder_init(d, ctx, config), MGEN_OK);
    assert_int_equal(mgi_module_random(&d->module, 1), MGEN_OK);
    randomise(&d->module, 0.2f);
}

static int32_t id_at(int64_t b, int64_t s)
{
    return (int32_t)((7 * b + 11 * s + s * s) % VOCAB);
}

static float told_at(int64_t b, int64_t i)
{
    return mgi_random_normal(5, (uint64_t)b, (uint64_t)i);
}

/* The inputs of `tokens` tokens of texts first .. first + count - 1. */
static void inputs(mgi_run *run, int64_t first, int64_t count, int64_t tokens, T **ids, T **told,
                   T **mask)
{
    *ids = mgi_new(run, MGK_I32, MGI_DIMS(count, tokens));
    *told = mgi_new(run, MGK_F32, MGI_DIMS(count, SE, TOLD));
    *mask = mgi_new(run, MGK_U8, MGI_DIMS(count, SE));
    assert_true(*ids && *told && *mask);
    for (int64_t b = 0; b < count; b++) {
        for (int64_t s = 0; s < tokens; s++)
            ((int32_t *)mgi_data(*ids))[b * tokens + s] = id_at(first + b, s);
        for (int64_t i = 0; i < SE * TOLD; i++)
            mgi_f32(*told)[b * SE * TOLD + i] = told_at(first + b, i);
        for (int64_t k = 0; k < SE; k++)
            ((uint8_t *)mgi_data(*mask))[b * SE + k] = k < told_count[first + b];
    }
}

/* -- the reference ----------------------------------------------------------------------------- */

static double at(const mgi_param *p, int64_t i)
{
    return (double)mgi_f32(p->value)[i];
}

/* Rows first .. first + out - 1 of a matrix. */
static void ref_linear(const double *x, const mgi_param *w, int first, int out, int in, double *y)
{
    for (int n = 0; n < out; n++) {
        y[n] = 0.0;
        for (int k = 0; k < in; k++)
            y[n] += x[k] * at(w, (first + n) * in + k);
    }
}

static void ref_norm(const double *x, const mgi_param *w, double *y)
{
    double square = 0.0;
    for (int i = 0; i < DIM; i++)
        square += x[i] * x[i] / DIM;
    for (int i = 0; i < DIM; i++)
        y[i] = x[i] / sqrt(square + 1e-6) * at(w, i);
}

/* One-sided: half of the buckets hold a distance each. */
static int ref_bucket(int back)
{
    enum { OWN = BUCKETS / 2 };
    if (back < OWN)
        return back;
    int bucket = OWN + (int)(log((double)back / OWN) / log((double)MOST / OWN) * (BUCKETS - OWN));
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* kv[k]: keys, then values. relative NULL: no bias; keys 0 .. count - 1 count. */
static void ref_attention(const double *q, double kv[][2 * INNER], int count, int query,
                          const mgi_param *relative, double *y)
{
    for (int h = 0; h < HEADS; h++) {
        double p[S], sum = 0.0;
        for (int k = 0; k < count; k++) {
            double score =
                relative ? at(relative, (int64_t)ref_bucket(query - k) * HEADS + h) : 0.0;
            for (int i = h * HEAD; i < (h + 1) * HEAD; i++)
                score += q[i] * kv[k][i];
            sum += p[k] = exp(score);
        }
        for (int i = h * HEAD; i < (h + 1) * HEAD; i++) {
            y[i] = 0.0;
            for (int k = 0; k < count; k++)
                y[i] += p[k] / sum * kv[k][INNER + i];
        }
    }
}

static double ref_gate(int32_t ffn, double x)
{
    return ffn == MGI_T5_GATED_SILU
               ? x / (1.0 + exp(-x))
               : 0.5 * x * (1.0 + tanh(sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
}

static void add_linear(double *x, const mgi_param *w, int in, const double *h)
{
    double y[DIM];
    ref_linear(h, w, 0, DIM, in, y);
    for (int i = 0; i < DIM; i++)
        x[i] += y[i];
}

static void ref_feed(const mgi_t5_decoder *d, const mgi_t5_decoder_layer *l, double *x)
{
    int32_t ffn = d->config.t5.ffn;
    double n[DIM], f[FF], gate[FF];
    ref_norm(x, l->norm3, n);
    ref_linear(n, l->wi, 0, FF, DIM, gate);
    if (ffn != MGI_T5_RELU)
        ref_linear(n, l->wi, FF, FF, DIM, f);
    for (int i = 0; i < FF; i++)
        f[i] = ffn == MGI_T5_RELU ? fmax(gate[i], 0.0) : ref_gate(ffn, gate[i]) * f[i];
    add_linear(x, l->wo, FF, f);
}

static void ref_layer(const mgi_t5_decoder *d, const mgi_t5_decoder_layer *l, int64_t b,
                      double x[S][DIM])
{
    static double q[S][INNER], kv[S][2 * INNER], told[SE][2 * INNER];
    double n[DIM], h[INNER], vector[TOLD];
    for (int s = 0; s < S; s++) {
        ref_norm(x[s], l->norm1, n);
        ref_linear(n, l->qkv, 0, INNER, DIM, q[s]);
        ref_linear(n, l->qkv, INNER, 2 * INNER, DIM, kv[s]);
    }
    for (int k = 0; k < SE; k++) {
        for (int i = 0; i < TOLD; i++)
            vector[i] = (double)told_at(b, k * TOLD + i);
        ref_linear(vector, l->kv, 0, 2 * INNER, TOLD, told[k]);
    }
    for (int s = 0; s < S; s++) {
        ref_attention(q[s], kv, s + 1, s, d->relative, h);
        add_linear(x[s], l->out, INNER, h);
        ref_norm(x[s], l->norm2, n);
        ref_linear(n, l->q, 0, INNER, DIM, q[s]);
        ref_attention(q[s], told, (int)told_count[b], 0, NULL, h);
        add_linear(x[s], l->cross_out, INNER, h);
        ref_feed(d, l, x[s]);
    }
}

static void reference(const mgi_t5_decoder *d, int64_t b, double out[S][VOCAB])
{
    double x[S][DIM], n[DIM];
    for (int s = 0; s < S; s++)
        for (int i = 0; i < DIM; i++)
            x[s][i] = at(d->embedding, (int64_t)id_at(b, s) * DIM + i);
    for (int i = 0; i < LAYERS; i++)
        ref_layer(d, &d->layer[i], b, x);
    for (int s = 0; s < S; s++) {
        ref_norm(x[s], d->norm, n);
        for (int i = 0; d->config.tied && i < DIM; i++)
            n[i] /= sqrt(DIM);
        ref_linear(n, d->config.tied ? d->embedding : d->head, 0, VOCAB, DIM, out[s]);
    }
}

static void compare(int32_t ffn, bool tied, int32_t dtype, double most)
{
    static double want[S][VOCAB];
    mgen_context *ctx = make_context();
    mgi_t5_decoder_config config = small(ffn, tied);
    mgi_t5_decoder d;
    mgi_run run;
    T *ids, *told, *mask;
    double worst = 0.0;
    make(&d, ctx, &config);
    assert_int_equal(mgi_module_compute(&d.module, dtype), MGEN_OK);
    mgi_run_init(&run, ctx, false);
    inputs(&run, 0, B, S, &ids, &told, &mask);
    T *y = mgi_t5_decode(&run, &d, ids, told, mask);
    if (!y)
        fail_msg("%s", mgen_last_error(ctx));
    assert_int_equal(y->dtype, MGK_F32);
    assert_true(y->dims[0] == B && y->dims[1] == S && y->dims[2] == VOCAB);
    for (int64_t b = 0; b < B; b++) {
        reference(&d, b, want);
        for (int64_t s = 0; s < S; s++)
            for (int i = 0; i < VOCAB; i++)
                worst = fmax(worst, fabs(want[s][i] - (double)mgi_f32(y)[(b * S + s) * VOCAB + i]));
    }
    print_message("%s, %s, %s: %.3g from the reference\n", mgi_t5_ffn[ffn],
                  tied ? "tied" : "with a head", dtype == MGK_F32 ? "f32" : "bf16", worst);
    assert_true(worst < most);
    assert_true(worst > 0.0);
    mgi_run_finish(&run);
    mgi_t5_decoder_finish(&d);
    mgen_context_destroy(ctx);
}

static void test_reference(void **state)
{
    (void)state;
    for (int32_t ffn = 0; ffn < MGI_T5_FFNS; ffn++)
        for (int tied = 0; tied < 2; tied++) {
            compare(ffn, tied, MGK_F32, 2e-5);
            /* logits of about 1 to 4 whose every step is rounded to 8 bits */
            compare(ffn, tied, MGK_BF16, 0.2);
        }
}

/* -- gradients --------------------------------------------------------------------------------- */

enum { FEW = 30 }; /* tokens: more than there are buckets, past the largest distance */

/* The loss, and with `train` its gradients. */
static double loss_at(mgen_context *ctx, const mgi_t5_decoder *d, bool train, T *told_of)
{
    mgi_run run;
    T *ids, *told, *mask;
    mgi_run_init(&run, ctx, train);
    inputs(&run, 0, B, FEW, &ids, &told, &mask);
    T *target = random_tensor(&run, 9, MGI_DIMS(B, FEW, VOCAB));
    T *y = mgi_t5_decode(&run, d, ids, told_of, mask);
    T *loss = mgi_loss(&run, MGK_LOSS_MSE, 1.0f, y, target);
    if (!loss)
        fail_msg("%s", mgen_last_error(ctx));
    double value = (double)mgi_f32(loss)[0];
    if (train)
        assert_int_equal(mgi_backward(&run, loss), MGEN_OK);
    mgi_run_finish(&run);
    return value;
}

static void check_slopes(mgen_context *ctx, const mgi_t5_decoder *d, T *told, T *w, int64_t step,
                         const char *name)
{
    const float *slopes = mgi_f32(w->var->grad);
    double most = 0.0;
    for (int64_t i = 0; i < w->count; i += step) {
        float *x = mgi_f32(w) + i, before = *x;
        *x = before + 0.01f;
        double up = loss_at(ctx, d, false, told);
        *x = before - 0.01f;
        double want = (up - loss_at(ctx, d, false, told)) / 0.02;
        *x = before;
        most = fmax(most, fabs(want));
        if (!(fabs((double)slopes[i] - want) < 2e-4 + 0.02 * fabs(want)))
            fail_msg("%s[%d]: gradient %g, by differences %g", name, (int)i, (double)slopes[i],
                     want);
    }
    if (!(most > 1e-3)) /* else the comparison says nothing */
        fail_msg("%s: no slope is larger than %g", name, most);
}

static void compare_slopes(bool tied)
{
    mgen_context *ctx = make_context();
    mgi_t5_decoder_config config = small(MGI_T5_GATED_GELU, tied);
    mgi_t5_decoder d;
    mgi_run run;
    T *ids, *told, *mask;
    make(&d, ctx, &config);
    assert_int_equal(mgi_module_train(&d.module), MGEN_OK);
    mgi_run_init(&run, ctx, false);
    inputs(&run, 0, B, 1, &ids, &told, &mask);
    assert_int_equal(mgi_var_create(run.dev, MGK_F32, told->count, false, &told->var), MGEN_OK);
    mgi_module_zero_grad(&d.module, &run);
    loss_at(ctx, &d, true, told);
    for (int64_t k = 0; k < d.module.count; k++) {
        const mgi_param *p = d.module.params[k];
        int64_t step = p == d.relative || p->rank == 1 ? 1 : p->value->count / 7;
        check_slopes(ctx, &d, told, p->value, step, p->name);
    }
    assert_non_null(told->var->grad);
    check_slopes(ctx, &d, told, told, 5, "told");
    mgi_run_finish(&run);
    mgi_t5_decoder_finish(&d);
    mgen_context_destroy(ctx);
}

static void test_gradients(void **state)
{
    (void)state;
    compare_slopes(false);
    compare_slopes(true);
}

/* -- what a token sees ------------------------------------------------------------------------- */

/* Logits of text 0 with the id at CHANGED moved on by `by`, and told's vector `vector` moved. */
static void logits_of(mgen_context *ctx, const mgi_t5_decoder *d, int32_t by, int64_t vector,
                      float out[S * VOCAB])
{
    mgi_run run;
    T *ids, *told, *mask;
    mgi_run_init(&run, ctx, false);
    inputs(&run, 1, 1, S, &ids, &told, &mask);
    int32_t *id = (int32_t *)mgi_data(ids) + CHANGED;
    *id = (*id + by) % VOCAB;
    for (int64_t i = 0; vector >= 0 && i < TOLD; i++)
        mgi_f32(told)[vector * TOLD + i] += 3.0f;
    T *y = mgi_t5_decode(&run, d, ids, told, mask);
    assert_non_null(y);
    memcpy(out, mgi_f32(y), S * VOCAB * sizeof *out);
    mgi_run_finish(&run);
}

static bool row_same(const float *a, const float *b, int64_t s)
{
    return !memcmp(a + s * VOCAB, b + s * VOCAB, VOCAB * sizeof *a);
}

static void test_causal(void **state)
{
    static float plain[S * VOCAB], other[S * VOCAB];
    mgen_context *ctx = make_context();
    mgi_t5_decoder_config config = small(MGI_T5_RELU, true);
    mgi_t5_decoder d;
    (void)state;
    make(&d, ctx, &config);
    logits_of(ctx, &d, 0, -1, plain);
    logits_of(ctx, &d, 1, -1, other);
    for (int64_t s = 0; s < S; s++)
        assert_true(row_same(plain, other, s) == (s < CHANGED));
    logits_of(ctx, &d, 0, told_count[1], other); /* masked */
    assert_memory_equal(plain, other, sizeof plain);
    logits_of(ctx, &d, 0, told_count[1] - 1, other);
    for (int64_t s = 0; s < S; s++)
        assert_false(row_same(plain, other, s));
    mgi_t5_decoder_finish(&d);
    mgen_context_destroy(ctx);
}

/* -- token by token ---------------------------------------------------------------------------- */

/* Writes `tokens` tokens of text b; the worst difference from `want`. */
static double write_all(mgi_run *run, const mgi_t5_decoder *d, int64_t b, int64_t tokens,
                        const float *want)
{
    mgi_t5_writing w;
    T *ids, *told, *mask, *id = mgi_new(run, MGK_I32, MGI_DIMS(1, 1));
    double worst = 0.0;
    inputs(run, b, 1, tokens, &ids, &told, &mask);
    mgi_t5_write_begin(run, &w, d, told, mask);
    for (int64_t s = 0; s < tokens && run->status == MGEN_OK; s++) {
        int64_t mark = mgi_scope_push(run);
        mgi_tensor_write(id, 0, &(int32_t){id_at(b, s)}, 1);
        T *y = mgi_t5_write(run, &w, id);
        assert_true(!y == (run->status != MGEN_OK));
        if (y)
            assert_true(y->rank == 3 && y->dims[2] == VOCAB && y->count == VOCAB);
        for (int i = 0; y && i < VOCAB; i++)
            worst = fmax(worst, fabs((double)(mgi_f32(y)[i] - want[s * VOCAB + i])));
        mgi_scope_pop(run, mark, NULL);
    }
    mgi_t5_write_end(&w);
    return worst;
}

static void compare_written(int32_t dtype, bool tied, double most)
{
    mgen_context *ctx = make_context();
    mgi_t5_decoder_config config = small(MGI_T5_GATED_GELU, tied);
    mgi_t5_decoder d;
    mgi_run run;
    T *ids, *told, *mask;
    make(&d, ctx, &config);
    assert_int_equal(mgi_module_compute(&d.module, dtype), MGEN_OK);
    for (int64_t b = 0; b < B; b++) {
        mgi_run_init(&run, ctx, false);
        inputs(&run, b, 1, LONGEST, &ids, &told, &mask);
        T *y = mgi_t5_decode(&run, &d, ids, told, mask);
        assert_non_null(y);
        double worst = write_all(&run, &d, b, LONGEST, mgi_f32(y));
        assert_int_equal(run.status, MGEN_OK);
        print_message("%s: %.3g from all at once\n", dtype == MGK_F32 ? "f32" : "bf16", worst);
        assert_true(worst < most);
        mgi_run_finish(&run);
    }
    mgi_t5_decoder_finish(&d);
    mgen_context_destroy(ctx);
}

static void test_written(void **state)
{
    (void)state;
    compare_written(MGK_F32, false, 2e-5);
    compare_written(MGK_F32, true, 2e-5);
    compare_written(MGK_BF16, true, 0.2);
}

/* -- failures ---------------------------------------------------------------------------------- */

static void refused(mgen_context *ctx, mgi_run *run, T *y, const char *said)
{
    assert_null(y);
    assert_int_equal(run->status, MGEN_E_INTERNAL);
    assert_non_null(strstr(mgen_last_error(ctx), said));
    mgi_run_rewind(run, 0, 0);
}

static void test_refused(void **state)
{
    mgen_context *ctx = make_context();
    mgi_t5_decoder_config config = small(MGI_T5_RELU, false);
    mgi_t5_decoder d;
    mgi_t5_writing w;
    mgi_run run;
    T *ids, *told, *mask;
    (void)state;
    make(&d, ctx, &config);
    mgi_run_init(&run, ctx, false);
    inputs(&run, 0, 1, LONGEST + 1, &ids, &told, &mask);
    refused(ctx, &run, mgi_t5_decode(&run, &d, ids, told, mask), "more tokens than may be");
    inputs(&run, 0, 1, 3, &ids, &told, &mask);
    refused(ctx, &run, mgi_t5_decode(&run, &d, NULL, told, mask), "ids are not");
    inputs(&run, 0, 2, 3, &ids, &told, &mask);
    told = mgi_slice(&run, told, 0, 0, 1);
    refused(ctx, &run, mgi_t5_decode(&run, &d, ids, told, mask), "what is told");
    inputs(&run, 0, 2, 3, &ids, &told, &mask);
    mask = mgi_slice(&run, mask, 0, 0, 0);
    refused(ctx, &run, mgi_t5_decode(&run, &d, ids, told, mask), "the mask is not");

    inputs(&run, 0, 2, 1, &ids, &told, &mask); /* two texts */
    mgi_t5_write_begin(&run, &w, &d, told, mask);
    refused(ctx, &run, mgi_t5_write(&run, &w, ids), "(1,Se,told_dim)");
    mgi_t5_write_end(&w);
    inputs(&run, 0, 1, 2, &ids, &told, &mask);
    mgi_t5_write_begin(&run, &w, &d, told, mask);
    refused(ctx, &run, mgi_t5_write(&run, &w, ids), "one token");
    mgi_t5_write_end(&w);
    inputs(&run, 0, 1, 1, &ids, &told, &mask);
    mgi_t5_write_begin(&run, &w, &d, told, mask);
    for (int i = 0; i < LONGEST; i++)
        assert_non_null(mgi_t5_write(&run, &w, ids));
    refused(ctx, &run, mgi_t5_write(&run, &w, ids), "more tokens than may be");
    mgi_t5_write_end(&w);
    mgi_run_finish(&run);
    mgi_t5_decoder_finish(&d);
    mgen_context_destroy(ctx);
}

/* Made, run at once and token by token with memory that fails from call k on, or at call k only. */
static mgen_status all_of_it(failing *f, int fail_at, bool alone)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgi_t5_decoder_config config = small(MGI_T5_GATED_GELU, true);
    mgi_t5_decoder d;
    mgi_t5_writing w;
    mgen_context *ctx;
    mgi_run run;
    config.t5.layers = 1;
    params.threads = 1;
    params.allocator = (mgen_allocator){failing_alloc, failing_free, f};
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    f->calls = 0;
    f->alone = alone;
    f->fail_at = fail_at;
    mgen_status status = mgi_t5_decoder_init(&d, ctx, &config);
    mgi_run_init(&run, ctx, false);
    T *ids = NULL, *told = NULL, *mask = NULL;
    if (status == MGEN_OK) {
        status = mgi_module_random(&d.module, 1);
        ids = mgi_new(&run, MGK_I32, MGI_DIMS(1, 1));
        told = mgi_new(&run, MGK_F32, MGI_DIMS(1, SE, TOLD));
        mask = mgi_new(&run, MGK_U8, MGI_DIMS(1, SE));
    }
    if (status == MGEN_OK && run.status == MGEN_OK) {
        mgi_fill(&run, told, 0.5f);
        memset(mgi_data(mask), 1, SE);
        *(int32_t *)mgi_data(ids) = 7;
        mgi_t5_decode(&run, &d, ids, told, mask);
        mgi_t5_write_begin(&run, &w, &d, told, mask);
        for (int i = 0; i < 18 && mgi_t5_write(&run, &w, ids); i++) /* room is made twice */
            ;
        assert_true(run.status != MGEN_OK || w.count == 18);
        mgi_t5_write_end(&w);
    }
    status = status == MGEN_OK ? run.status : status;
    mgi_run_finish(&run);
    if (d.module.ctx)
        mgi_t5_decoder_finish(&d);
    f->fail_at = 0;
    mgen_context_destroy(ctx);
    return status;
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int alone = 0; alone < 2; alone++) {
        int failures = 0;
        for (int k = 1;; k++) {
            failing f = {0};
            mgen_status status = all_of_it(&f, k, alone);
            assert_int_equal(f.blocks, 0);
            if (status == MGEN_OK && f.calls < k)
                break;
            if (status != MGEN_OK)
                assert_int_equal(status, MGEN_E_NO_MEMORY);
            failures += status != MGEN_OK;
        }
        print_message("%d failures\n", failures);
        assert_true(failures > 40);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference), cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_causal),    cmocka_unit_test(test_written),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
