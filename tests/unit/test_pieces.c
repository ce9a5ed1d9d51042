/* SPDX-License-Identifier: MIT
 * The autoencoder piece by piece: the bits of the whole film, in memory that stays flat. */
#include "core/philox.h"
#include "model/tae_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mgen_context *make_context_of(uint32_t threads, const char *kernels)
{
    mgen_context *ctx;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = threads;
    params.kernels = kernels;
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    return ctx;
}

static mgen_context *make_context(uint32_t threads)
{
    return make_context_of(threads, NULL);
}

static void fill_tae(mgi_tae *tae, mgen_context *ctx, const mgi_tae_config *config, int32_t dtype)
{
    assert_int_equal(mgi_tae_init(tae, ctx, config), MGEN_OK);
    for (int64_t k = 0; k < tae->module.count; k++) {
        T *p = tae->module.params[k]->value;
        for (int64_t i = 0; i < p->count; i++)
            mgi_f32(p)[i] = 0.2f * mgi_random_normal(8, 100 + (uint64_t)k, (uint64_t)i);
    }
    assert_int_equal(mgi_module_compute(&tae->module, dtype), MGEN_OK);
    mgi_module_refresh(&tae->module);
}

static void make_tae(mgi_tae *tae, mgen_context *ctx, bool temporal, int blocks, int32_t dtype)
{
    fill_tae(tae, ctx,
             &(mgi_tae_config){.levels = 4,
                               .channels = {4, 6, 8, 20},
                               .latent_channels = 3,
                               .blocks = blocks,
                               .temporal = temporal},
             dtype);
}

static T *random_film(mgi_run *run, int64_t frames, int64_t h, int64_t w, int64_t channels)
{
    T *t = mgi_new(run, MGK_F32, MGI_DIMS(1, frames, h, w, channels));
    assert_non_null(t);
    for (int64_t i = 0; i < t->count; i++)
        mgi_f32(t)[i] = mgi_random_normal(3, 1, (uint64_t)i);
    return t;
}

typedef struct film {
    float *values;
    int64_t count, most, calls;
    mgen_status answer;
} film;

static mgen_status collect(void *user, mgi_run *run, T *frames)
{
    film *f = user;
    (void)run;
    assert_int_equal(frames->dtype, MGK_F32);
    assert_int_equal(frames->rank, 5);
    assert_true(frames->dims[1] > 0);
    assert_true(f->count + frames->count <= f->most);
    memcpy(f->values + f->count, mgi_f32(frames), (size_t)frames->count * sizeof(float));
    f->count += frames->count;
    f->calls++;
    return f->answer;
}

/* Push x cut into pieces of `size` frames; the result must be `want`. */
static void same_in_pieces(mgi_run *run, const mgi_tae *tae, int direction, T *x, const T *want,
                           int64_t size)
{
    mgi_tae_stream s;
    film f = {.most = want->count};
    f.values = test_malloc((size_t)want->count * sizeof(float));
    mgi_tae_stream_init(&s, run, tae, direction, collect, &f);
    int64_t frames = x->dims[1];
    for (int64_t at = 0; at < frames; at += size) {
        int64_t mark = mgi_scope_push(run), n = frames - at < size ? frames - at : size;
        T *piece = mgi_slice(run, x, 1, at, n);
        assert_int_equal(mgi_tae_stream_push(&s, piece, at + n == frames), MGEN_OK);
        mgi_scope_pop(run, mark, NULL);
    }
    assert_int_equal(f.count, want->count);
    assert_memory_equal(f.values, mgi_f32(want), (size_t)f.count * sizeof(float));
    mgi_tae_stream_finish(&s);
    test_free(f.values);
}

static void compare(const mgi_tae *tae, mgen_context *ctx, int64_t latents, int64_t h, int64_t w)
{
    static const int64_t sizes[] = {1, 2, 3, 5, 7, 64};
    mgi_run run;
    int64_t f = mgi_tae_factor(&tae->config), step = mgi_tae_time_factor(&tae->config);
    mgi_run_init(&run, ctx, false);
    T *z = random_film(&run, latents, h, w, 3);
    T *pixels = mgi_tae_decode(&run, tae, z);
    assert_non_null(pixels);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        same_in_pieces(&run, tae, MGI_TAE_DECODES, z, pixels, sizes[i]);
    /* lengths that are no multiple of the factor too */
    for (int64_t cut = 0; cut < step; cut += 3) {
        T *x = random_film(&run, latents * step - cut, h * f, w * f, 3);
        T *whole = mgi_tae_encode(&run, tae, x);
        assert_non_null(whole);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            same_in_pieces(&run, tae, MGI_TAE_ENCODES, x, whole, sizes[i]);
    }
    mgi_run_finish(&run);
}

static void test_bits(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
        mgen_context *ctx = make_context(threads);
        for (int blocks = 1; blocks <= 2; blocks++) {
            mgi_tae tae;
            make_tae(&tae, ctx, true, blocks, MGK_F32);
            for (int64_t latents = 1; latents <= 11; latents += latents < 4 ? 1 : 7)
                compare(&tae, ctx, latents, 2, 3);
            mgi_tae_finish(&tae);
        }
        mgen_context_destroy(ctx);
    }
}

/* No variant's results may depend on how many rows it is given. */
static void test_every_variant(void **state)
{
    static const char *const kernels[] = {"ref",  "portable", "packed",
                                          "avx2", "avx512",   "avx512bf16"};
    (void)state;
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        mgen_context *ctx = make_context_of(2, kernels[i]);
        mgi_tae tae;
        make_tae(&tae, ctx, true, 1, MGK_F32);
        compare(&tae, ctx, 3, 1, 2);
        mgi_tae_finish(&tae);
        mgen_context_destroy(ctx);
    }
}

static void test_image_model(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgi_tae tae;
    make_tae(&tae, ctx, false, 2, MGK_F32);
    compare(&tae, ctx, 1, 3, 2);
    compare(&tae, ctx, 6, 3, 2);
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

/* Norms are over one frame, strides in time not everywhere; and the image model's attention. */
static void test_norms(void **state)
{
    mgi_tae_config config = {.levels = 4,
                             .channels = {4, 8, 8, 20},
                             .decoder_channels = {8, 12, 8, 24},
                             .latent_channels = 3,
                             .blocks = 1,
                             .temporal = true,
                             .groups = 4};
    (void)state;
    mgen_context *ctx = make_context(2);
    for (int i = 0; i < 3; i++) {
        mgi_tae tae;
        config.keeps_time[1] = config.ldm = config.mixes = i == 1;
        config.temporal = i < 2;
        config.attention = i == 2;
        fill_tae(&tae, ctx, &config, i == 1 ? MGK_BF16 : MGK_F32);
        compare(&tae, ctx, 5, 2, 3);
        mgi_tae_finish(&tae);
    }
    mgen_context_destroy(ctx);
}

static void test_bf16(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgi_tae tae;
    make_tae(&tae, ctx, true, 1, MGK_BF16);
    compare(&tae, ctx, 5, 2, 2);
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

/* Pictures large enough that the stream itself cuts what it is given. */
static void test_large_pictures(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(2);
    mgi_tae tae;
    make_tae(&tae, ctx, true, 1, MGK_F32);
    assert_int_equal(mgi_tae_piece(64, 64), 4);
    assert_int_equal(mgi_tae_piece(160, 200), 2);
    assert_int_equal(mgi_tae_piece(1024, 576), 1);
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    T *z = random_film(&run, 2, 40, 41, 3);
    T *pixels = mgi_tae_decode(&run, &tae, z);
    assert_non_null(pixels);
    same_in_pieces(&run, &tae, MGI_TAE_DECODES, z, pixels, 2);
    mgi_run_finish(&run);
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

static mgen_status count_frames(void *user, mgi_run *run, T *frames)
{
    (void)run;
    *(int64_t *)user += frames->dims[1];
    return MGEN_OK;
}

/* Device bytes at the highest while so many frames are coded eight by eight, or latents one by one. */
static uint64_t peak_of(mgen_context *ctx, const mgi_tae *tae, int direction, int64_t latents)
{
    bool encodes = direction == MGI_TAE_ENCODES;
    mgi_run run;
    mgi_tae_stream s;
    int64_t frames = 0;
    mgi_device_counts *c = &ctx->device->counts;
    uint64_t before = c->now[MGI_MEM_ACTIVATION];
    c->peak[MGI_MEM_ACTIVATION] = before;
    mgi_run_init(&run, ctx, false);
    mgi_tae_stream_init(&s, &run, tae, direction, count_frames, &frames);
    for (int64_t i = 0; i < latents; i++) {
        int64_t mark = mgi_scope_push(&run);
        T *x = encodes ? random_film(&run, 8, 32, 32, 3) : random_film(&run, 1, 4, 4, 3);
        mgi_tae_stream_push(&s, x, i == latents - 1);
        mgi_scope_pop(&run, mark, NULL);
    }
    assert_int_equal(run.status, MGEN_OK);
    assert_int_equal(frames, encodes ? latents : 8 * latents);
    mgi_tae_stream_finish(&s);
    mgi_run_finish(&run);
    assert_int_equal(c->now[MGI_MEM_ACTIVATION], before);
    return c->peak[MGI_MEM_ACTIVATION] - before;
}

static void test_memory_is_flat(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgi_tae tae;
    make_tae(&tae, ctx, true, 1, MGK_F32);
    for (int direction = MGI_TAE_ENCODES; direction <= MGI_TAE_DECODES; direction++) {
        uint64_t some = peak_of(ctx, &tae, direction, 16),
                 many = peak_of(ctx, &tae, direction, 250);
        printf("# %s 2000 frames: %llu bytes at most\n", direction ? "decoding" : "encoding",
               (unsigned long long)many);
        assert_int_equal(some, many);
    }
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

/* The sink's refusal ends the run, and nothing of the stream stays behind. */
static void test_refusal(void **state)
{
    (void)state;
    mgen_context *ctx = make_context(1);
    mgi_tae tae;
    mgi_run run;
    mgi_tae_stream s;
    make_tae(&tae, ctx, true, 1, MGK_F32);
    uint64_t before = ctx->device->counts.total;
    float values[8 * 16 * 16 * 3];
    film f = {.values = values, .most = 8 * 16 * 16 * 3, .answer = MGEN_E_CANCELLED};
    mgi_run_init(&run, ctx, false);
    mgi_tae_stream_init(&s, &run, &tae, MGI_TAE_DECODES, collect, &f);
    assert_int_equal(mgi_tae_stream_push(&s, random_film(&run, 9, 2, 2, 3), false),
                     MGEN_E_CANCELLED);
    assert_int_equal(f.calls, 1);
    assert_int_equal(mgi_tae_stream_push(&s, NULL, true), MGEN_E_CANCELLED);
    mgi_tae_stream_finish(&s);
    mgi_run_finish(&run);
    assert_int_equal(ctx->device->counts.total - ctx->device->counts.now[MGI_MEM_WORKSPACE],
                     before);
    mgi_run_init(&run, ctx, false);
    mgi_tae_stream_init(&s, &run, &tae, MGI_TAE_ENCODES, collect, &f);
    assert_int_equal(mgi_tae_stream_push(&s, random_film(&run, 1, 12, 16, 3), true),
                     MGEN_E_INTERNAL);
    mgi_tae_stream_finish(&s);
    mgi_run_finish(&run);
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),           cmocka_unit_test(test_image_model),
        cmocka_unit_test(test_every_variant),  cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_large_pictures), cmocka_unit_test(test_memory_is_flat),
        cmocka_unit_test(test_refusal),        cmocka_unit_test(test_norms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
