/* SPDX-License-Identifier: MIT
 * Runs: scopes, failures, units and their hooks, memory in stream order, the meta device. */
#include "tensor/ops.h"

#include "kernels/pointwise/pointwise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_scopes(void **state)
{
    (void)state;
    mgen_context *ctx;
    mgi_run run;
    uint64_t before, after;
    assert_int_equal(mgen_context_create(NULL, &ctx), MGEN_OK);
    mgi_device_trim(ctx->device);
    mgen_context_memory(ctx, &before, NULL);
    mgi_run_init(&run, ctx, false);
    int64_t mark = mgi_scope_push(&run);
    T *a = mgi_new(&run, MGK_F32, MGI_DIMS(100));
    T *b = mgi_new(&run, MGK_F32, MGI_DIMS(100));
    mgi_fill(&run, b, 2.0f);
    mgi_drop(&run, a);
    T *kept = mgi_scope_pop(&run, mark, b);
    assert_ptr_equal(kept, b);
    assert_true(mgi_f32(kept)[99] == 2.0f);
    assert_int_equal(run.scope_count, 1);
    mgi_run_finish(&run);
    mgi_device_trim(ctx->device);
    mgen_context_memory(ctx, &after, NULL);
    assert_int_equal(before, after);
    mgen_context_destroy(ctx);
}

/* The first failure stays; later ops do nothing and return NULL. */
static void test_sticky_error(void **state)
{
    (void)state;
    mgen_context *ctx;
    mgi_run run;
    assert_int_equal(mgen_context_create(NULL, &ctx), MGEN_OK);
    mgi_run_init(&run, ctx, true);
    T *x = mgi_new(&run, MGK_F32, MGI_DIMS(2, 3)), *w = mgi_new(&run, MGK_F32, MGI_DIMS(4, 5));
    assert_null(mgi_linear(&run, x, w, NULL));
    assert_int_equal(run.status, MGEN_E_INTERNAL);
    assert_non_null(strstr(mgen_last_error(ctx), "linear"));
    assert_null(mgi_add(&run, x, x));
    assert_null(mgi_new(&run, MGK_F32, MGI_DIMS(1)));
    mgi_run_finish(&run);
    mgen_context_destroy(ctx);
}

/* What the limit forbids is refused with LIMIT and leaves the context usable. */
static void test_memory_limit(void **state)
{
    (void)state;
    mgen_context *ctx;
    mgi_run run;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.host_memory_max = 4 << 20;
    params.threads = 1;
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    mgi_run_init(&run, ctx, false);
    assert_null(mgi_new(&run, MGK_F32, MGI_DIMS(2 << 20)));
    assert_int_equal(run.status, MGEN_E_LIMIT);
    mgi_run_finish(&run);
    mgi_run_init(&run, ctx, false);
    assert_non_null(mgi_new(&run, MGK_F32, MGI_DIMS(1 << 16)));
    mgi_run_finish(&run);
    mgen_context_destroy(ctx);
}

/* -- units -------------------------------------------------------------------------------------- */

typedef struct diary {
    char text[256];
    int module; /* whose address stands for it */
} diary;

static void write_down(mgi_run *run, void *user, void *module, int64_t unit, int moment)
{
    diary *d = user;
    size_t used = strlen(d->text);
    (void)run;
    assert_ptr_equal(module, &d->module);
    snprintf(d->text + used, sizeof d->text - used, "%c%d ", "(){}"[moment], (int)unit);
}

static T *squared_silu(mgi_run *run, const void *user, T *const *in)
{
    (void)user;
    return mgi_unary(run, mgi_unary(run, in[0], MGK_UNARY_SILU), MGK_UNARY_RELU);
}

/* Units are entered and left once in each direction, in mirrored order, and what runs again inside a
 * checkpointed block does not count. */
static void test_units(void **state)
{
    (void)state;
    mgen_context *ctx;
    mgi_run run;
    diary d = {{0}, 0};
    const mgi_unit_hook hook = {write_down, &d};
    assert_int_equal(mgen_context_create(NULL, &ctx), MGEN_OK);
    for (int record = 0; record < 2; record++) {
        d.text[0] = '\0';
        mgi_run_init(&run, ctx, record);
        run.hook = &hook;
        T *x = mgi_new(&run, MGK_F32, MGI_DIMS(4)), *y = x,
          *target = mgi_new(&run, MGK_F32, MGI_DIMS(4));
        assert_non_null(target);
        mgi_fill(&run, x, 1.0f);
        mgi_fill(&run, target, 3.0f);
        assert_int_equal(mgi_var_create(ctx->device, MGK_F32, 4, false, &x->var), MGEN_OK);
        for (int unit = 0; unit < 3; unit++) {
            mgi_unit_enter(&run, &d.module, unit);
            y = mgi_checkpoint(&run, squared_silu, NULL, 0, &y, 1, 0);
            mgi_unit_exit(&run, &d.module, unit);
        }
        if (record)
            assert_int_equal(mgi_backward(&run, mgi_loss(&run, 0, 1.0f, y, target)), MGEN_OK);
        assert_string_equal(d.text,
                            record ? "(0 )0 (1 )1 (2 )2 {2 }2 {1 }1 {0 }0 " : "(0 )0 (1 )1 (2 )2 ");
        mgi_run_finish(&run);
    }
    mgen_context_destroy(ctx);
}

/* -- streams ------------------------------------------------------------------------------------ */

/* Memory that work on another stream still uses is not handed out until that work is done. */
static void test_stream_order(void **state)
{
    (void)state;
    mgen_context *ctx;
    mgi_tensor *a, *b;
    const int64_t n = 1000;
    assert_int_equal(mgen_context_create(NULL, &ctx), MGEN_OK);
    mgi_device *dev = ctx->device;
    mgi_stream *comm = &dev->stream[MGI_STREAM_COMM];
    assert_int_equal(mgi_tensor_create(dev, MGK_F32, 1, &n, &a), MGEN_OK);
    void *first = mgi_data(a);
    comm->issued = 7;
    mgi_held_used(dev, &a->storage->held, MGI_STREAM_COMM);
    mgi_tensor_release(a);
    for (int done = 5; done <= 7; done++) {
        atomic_store(&comm->done, (uint64_t)done);
        assert_int_equal(mgi_tensor_create(dev, MGK_F32, 1, &n, &b), MGEN_OK);
        assert_int_equal(mgi_data(b) == first, done == 7);
        mgi_tensor_release(b);
        if (done < 7) /* what was just freed would be handed out again */
            mgi_device_trim(dev);
    }
    /* what still waits when the device goes is freed with it */
    assert_int_equal(mgi_tensor_create(dev, MGK_F32, 1, &n, &a), MGEN_OK);
    comm->issued = 8;
    mgi_held_used(dev, &a->storage->held, MGI_STREAM_COMM);
    mgi_tensor_release(a);
    assert_non_null(dev->waiting);
    mgen_context_destroy(ctx);
}

/* -- counted memory, and the meta device --------------------------------------------------------- */

static T *two_layers(mgi_run *run, T *x)
{
    T *w = mgi_new(run, MGK_F32, MGI_DIMS(6, 4));
    if (w)
        mgi_fill(run, w, 0.5f);
    return mgi_unary(run, mgi_linear(run, x, w, NULL), MGK_UNARY_SILU);
}

/* Both devices count the same bytes, products and launches. */
static void test_counts(void **state)
{
    (void)state;
    mgi_device_counts counts[2];
    for (int meta = 0; meta < 2; meta++) {
        mgen_context *ctx;
        mgi_run run;
        assert_int_equal(mgen_context_create(NULL, &ctx), MGEN_OK);
        if (meta)
            mgi_device_make_meta(ctx->device);
        mgi_run_init(&run, ctx, false);
        T *x = mgi_new(&run, MGK_F32, MGI_DIMS(10, 4));
        assert_non_null(x);
        mgi_fill(&run, x, 1.0f);
        assert_non_null(two_layers(&run, x));
        mgi_run_finish(&run);
        counts[meta] = ctx->device->counts;
        counts[meta].now[MGI_MEM_WORKSPACE] = counts[meta].peak[MGI_MEM_WORKSPACE] = 0;
        mgen_context_destroy(ctx);
    }
    assert_int_equal(counts[0].peak[MGI_MEM_ACTIVATION], 4 * (40 + 24 + 60 + 60));
    assert_int_equal(counts[0].now[MGI_MEM_ACTIVATION], 0);
    assert_true(counts[0].flops == 2.0 * 10 * 6 * 4);
    assert_memory_equal(counts[0].peak, counts[1].peak, sizeof counts[0].peak);
    assert_true(counts[0].flops == counts[1].flops);
    assert_int_equal(counts[0].launches, counts[1].launches);
}

/* Shapes are checked on the meta device too, and 10^15 values are as easy as ten. */
static void test_meta(void **state)
{
    (void)state;
    mgen_context *ctx;
    mgi_run run;
    assert_int_equal(mgen_context_create(NULL, &ctx), MGEN_OK);
    mgi_device_make_meta(ctx->device);
    mgi_run_init(&run, ctx, false);
    T *x = mgi_new(&run, MGK_F32, MGI_DIMS(1 << 30, 1 << 20));
    T *y = mgi_unary(&run, x, MGK_UNARY_SILU);
    assert_non_null(y);
    assert_true(ctx->device->counts.now[MGI_MEM_ACTIVATION] == (uint64_t)8 << 50);
    float read = 1.0f;
    mgi_tensor_read(y, 5, &read, 1);
    assert_true(read == 0.0f);
    assert_null(mgi_add(&run, y, mgi_new(&run, MGK_F32, MGI_DIMS(3))));
    assert_int_equal(run.status, MGEN_E_INTERNAL);
    mgi_run_finish(&run);
    assert_int_equal(ctx->device->counts.now[MGI_MEM_ACTIVATION], 0);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scopes),       cmocka_unit_test(test_sticky_error),
        cmocka_unit_test(test_memory_limit), cmocka_unit_test(test_units),
        cmocka_unit_test(test_stream_order), cmocka_unit_test(test_counts),
        cmocka_unit_test(test_meta),
    };
    return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
