/* SPDX-License-Identifier: MIT
 * What products keep of weights that stay, and blocks that run on some samples at a time. */
#include "tensor/weights.h"

#include "model/video_transformer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "networks.h"
#include "tiny_networks.h"

static T *product_of(mgi_run *run, T *x, T *w, int32_t dtype)
{
    T *y = mgi_linear(run, mgi_cast(run, x, dtype), w, NULL);
    assert_int_equal(run->status, MGEN_OK);
    return mgi_cast(run, y, MGK_F32);
}

static void same(const T *a, const T *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(mgi_f32(a), mgi_f32(b), (size_t)a->count * sizeof(float));
}

/* The same bits from what was kept, whatever the number of rows; gone after the end. */
static void kept_in(const char *kernels, int32_t dtype)
{
    mgen_context *ctx;
    mgi_run run;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 2;
    params.kernels = kernels;
    uint64_t before, after;
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    mgen_context_memory(ctx, &before, NULL);
    mgi_run_init(&run, ctx, false);
    T *x = random_tensor(&run, 1, MGI_DIMS(50, 601)), *z = random_tensor(&run, 2, MGI_DIMS(3, 601));
    T *w = mgi_cast(&run, random_tensor(&run, 3, MGI_DIMS(75, 601)), dtype);
    T *many = random_tensor(&run, 4, MGI_DIMS(MGI_WEIGHTS_ROWS + 1, 601));
    T *x0 = product_of(&run, x, w, dtype), *z0 = product_of(&run, z, w, dtype);
    mgi_weights_begin(&run);
    product_of(&run, many, w, dtype);
    assert_null(run.weights);
    same(product_of(&run, x, w, dtype), x0);
    assert_non_null(run.weights);
    mgi_weights_begin(&run);
    mgi_weights_end(&run);
    same(product_of(&run, z, w, dtype), z0);
    same(product_of(&run, x, w, dtype), x0);
    /* Which shows who reads w itself: with "ref" all do. */
    memset(mgi_data(w), 0, (size_t)w->count * mgi_dtype_size(dtype));
    T *old = product_of(&run, x, w, dtype);
    if (!kernels || strcmp(kernels, "ref"))
        same(old, x0);
    mgi_weights_end(&run);
    assert_null(run.weights);
    T *now = product_of(&run, x, w, dtype);
    for (int64_t i = 0; i < now->count; i++)
        assert_true(mgi_f32(now)[i] == 0.0f);
    mgi_run_finish(&run);
    mgi_device_trim(ctx->device);
    mgi_device_drop_workspace(ctx->device);
    mgen_context_memory(ctx, &after, NULL);
    assert_int_equal(before, after);
    mgen_context_destroy(ctx);
}

static void test_kept(void **state)
{
    (void)state;
    static const char *const kernels[] = {NULL, "ref", "packed", "avx2", "avx512", "avx512bf16"};
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        kept_in(kernels[i], MGK_F32);
        kept_in(kernels[i], MGK_BF16);
    }
}

/* Two matrices take turns; a run that is left in the middle lets go of both. */
static void test_turns(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    T *x = random_tensor(&run, 1, MGI_DIMS(5, 40)), *v = random_tensor(&run, 2, MGI_DIMS(40, 40));
    T *w = random_tensor(&run, 3, MGI_DIMS(40, 40));
    T *xv = product_of(&run, x, v, MGK_F32), *xw = product_of(&run, x, w, MGK_F32);
    mgi_weights_begin(&run);
    for (int i = 0; i < 3; i++) {
        same(product_of(&run, x, v, MGK_F32), xv);
        same(product_of(&run, x, w, MGK_F32), xw);
        same(product_of(&run, x, w, MGK_F32), xw);
    }
    mgi_run_finish(&run);
    assert_null(run.weights);
    mgen_context_destroy(ctx);
}

/* From a text that was seen before: the same bits for fewer operations, also of some of the samples. */
static void seen_once(mgi_run *run, const mgi_vt *vt, T *x, T *t, const mgi_vt_text *text,
                      T *expected)
{
    double *flops = &run->dev->counts.flops, before = *flops, all;
    int64_t mark = mgi_scope_push(run);
    mgi_vt_seen seen, first;
    mgi_vt_text with = *text;
    T *two, *time;
    mgi_vt_forward(run, vt, x, t, text);
    all = *flops - before;
    mgi_vt_see(run, vt, text, x->dims[0], &seen);
    mgi_vt_seen_first(run, vt, &seen, 2, &first);
    with.seen = &seen;
    before = *flops;
    same(mgi_vt_forward(run, vt, x, t, &with), expected);
    assert_true(*flops - before < all);
    assert_int_equal(mgi_tensor_rows(x, 0, 2, &two), MGEN_OK);
    assert_int_equal(mgi_tensor_rows(t, 0, 2, &time), MGEN_OK);
    with.seen = &first;
    T *y = mgi_vt_forward(run, vt, mgi_scope_add(run, two), mgi_scope_add(run, time), &with);
    assert_int_equal(run->status, MGEN_OK);
    assert_memory_equal(mgi_f32(y), mgi_f32(expected), (size_t)y->count * sizeof(float));
    mgi_vt_seen_drop(run, &first);
    mgi_vt_seen_drop(run, &seen);
    assert_null(seen.p);
    mgi_scope_pop(run, mark, NULL);
}

/* A batch of which a block computes some samples at a time gives each sample what it gets alone. */
static void parts_of(const mgi_vt_config *config, int32_t dtype)
{
    enum { SAMPLES = 5, EACH = 8 * 16 * 16 * 3, TEXT = 6 * 24 };
    mgen_context *ctx = make_context();
    mgi_vt vt;
    mgi_run run;
    const int64_t tokens[SAMPLES] = {6, 2, 6, 1, 3};
    assert_int_equal(mgi_vt_init(&vt, ctx, config), MGEN_OK);
    assert_int_equal(mgi_module_random(&vt.module, 1), MGEN_OK);
    randomise(&vt.module, 0.1f);
    assert_int_equal(mgi_module_compute(&vt.module, dtype), MGEN_OK);
    mgi_run_init(&run, ctx, false);
    T *x = random_tensor(&run, 1, MGI_DIMS(SAMPLES, 8, 16, 16, 3));
    T *t = random_tensor(&run, 2, MGI_DIMS(SAMPLES));
    const mgi_vt_text text = {{random_tensor(&run, 3, MGI_DIMS(SAMPLES, 6, 24))}, {tokens}};
    T *all = mgi_vt_forward(&run, &vt, x, t, &text);
    assert_int_equal(run.status, MGEN_OK);
    seen_once(&run, &vt, x, t, &text, all);
    float sum = 0.0f;
    for (int i = 0; i < SAMPLES; i++) {
        T *one = mgi_new(&run, MGK_F32, MGI_DIMS(1, 8, 16, 16, 3)),
          *time = mgi_new(&run, MGK_F32, MGI_DIMS(1)),
          *words = mgi_new(&run, MGK_F32, MGI_DIMS(1, 6, 24));
        mgi_copy(&run, one, 0, x, i * EACH, EACH);
        mgi_copy(&run, time, 0, t, i, 1);
        mgi_copy(&run, words, 0, text.x[0], i * TEXT, TEXT);
        const mgi_vt_text own = {{words}, {tokens + i}};
        T *y = mgi_vt_forward(&run, &vt, one, time, &own);
        assert_int_equal(run.status, MGEN_OK);
        assert_memory_equal(mgi_f32(y), mgi_f32(all) + i * EACH, EACH * sizeof(float));
        sum += mgi_f32(y)[i] * mgi_f32(y)[i];
    }
    assert_true(sum > 0.0f);
    mgi_run_finish(&run);
    mgi_vt_finish(&vt);
    mgen_context_destroy(ctx);
}

static void test_parts(void **state)
{
    (void)state;
    mgi_vt_config config = {TINY_VT, .frames_max = 8, .rows_max = 8, .columns_max = 8};
    parts_of(&config, MGK_F32);
    parts_of(&config, MGK_BF16);
    config.block = MGI_VT_DIT;
    parts_of(&config, MGK_F32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}
