/* SPDX-License-Identifier: MIT
 * The autoencoder in spatial tiles: what whole frames give, to rounding, in less memory. */
#include "core/alloc.h"
#include "core/philox.h"
#include "host_frames.h"
#include "model/tae_spatial.h"
#include "task/generate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mgen_context *make_context(void)
{
    mgen_context *ctx;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 2;
    params.device = "cpu";
    assert_int_equal(mgen_context_create(&params, &ctx), MGEN_OK);
    return ctx;
}

static void make_tae(mgi_tae *tae, mgen_context *ctx, const mgi_tae_config *config, int32_t dtype)
{
    assert_int_equal(mgi_tae_init(tae, ctx, config), MGEN_OK);
    for (int64_t k = 0; k < tae->module.count; k++) {
        T *p = tae->module.params[k]->value;
        /* about the deviation that keeps activations near 1 */
        float scale = p->rank > 1 ? 1.4f * sqrtf((float)p->dims[0] / (float)p->count) : 0.3f;
        for (int64_t i = 0; i < p->count; i++)
            mgi_f32(p)[i] = scale * mgi_random_normal(8, 100 + (uint64_t)k, (uint64_t)i);
    }
    for (int64_t i = 0; i < config->latent_channels; i++)
        mgi_f32(tae->latent_scale->value)[i] = 1.0f;
    assert_int_equal(mgi_module_compute(&tae->module, dtype), MGEN_OK);
    mgi_module_refresh(&tae->module);
}

static T *random_film(mgi_run *run, int64_t frames, int64_t h, int64_t w, int64_t channels)
{
    T *t = mgi_new(run, MGK_F32, MGI_DIMS(1, frames, h, w, channels));
    assert_non_null(t);
    for (int64_t i = 0; i < t->count; i++)
        mgi_f32(t)[i] = mgi_random_normal(3, 1, (uint64_t)i);
    return t;
}

/* The largest difference, relative to the deviation of b. */
static double difference(const T *a, const T *b)
{
    double most = 0, square = 0;
    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        most = fmax(most, fabs((double)mgi_f32(a)[i] - mgi_f32(b)[i]));
        square += (double)mgi_f32(b)[i] * mgi_f32(b)[i];
    }
    return most / sqrt(square / (double)a->count);
}

typedef struct sizes {
    int64_t latents, h, w, side;
} sizes;

static void compare(const mgi_tae *tae, mgen_context *ctx, const sizes *z, double most)
{
    mgi_run run;
    const mgi_tae_config *c = &tae->config;
    int64_t f = mgi_tae_factor(c), step = mgi_tae_time_factor(c);
    mgi_run_init(&run, ctx, false);
    T *x = random_film(&run, z->latents, z->h, z->w, c->latent_channels);
    T *whole = mgi_tae_decode(&run, tae, x);
    T *tiled = mgi_tae_in_space(&run, tae, MGI_TAE_DECODES, x, z->side);
    assert_non_null(tiled);
    double decoded = difference(tiled, whole);
    x = random_film(&run, z->latents * step - step / 2, z->h * f, z->w * f, 3);
    whole = mgi_tae_encode(&run, tae, x);
    tiled = mgi_tae_in_space(&run, tae, MGI_TAE_ENCODES, x, z->side);
    assert_non_null(tiled);
    double encoded = difference(tiled, whole);
    if (!(decoded <= most && encoded <= most))
        fail_msg("%lld latents of %lld x %lld, tiles of %lld: %g decoded, %g encoded",
                 (long long)z->latents, (long long)z->h, (long long)z->w, (long long)z->side,
                 decoded, encoded);
    mgi_run_finish(&run);
}

static const mgi_tae_config plain = {
    .levels = 4, .channels = {4, 6, 8, 12}, .latent_channels = 3, .blocks = 1, .temporal = true};

static const int64_t wider[] = {8, 10, 8, 18}; /* the decoder's, in some */

static void test_plain(void **state)
{
    /* Odd numbers of tiles and latents, tiles of one latent, a single tile; pictures. */
    static const sizes all[] = {{1, 5, 3, 1}, {1, 7, 9, 4}, {3, 9, 13, 5}, {2, 6, 5, 8}};
    (void)state;
    mgen_context *ctx = make_context();
    for (int i = 0; i < 3; i++) {
        mgi_tae tae;
        mgi_tae_config c = plain;
        c.blocks = 1 + (i == 1);
        c.temporal = i != 2;
        c.ldm = c.mixes = i > 0;
        if (i == 1)
            memcpy(c.decoder_channels, wider, sizeof wider);
        make_tae(&tae, ctx, &c, MGK_F32);
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
            compare(&tae, ctx, &all[k], 1e-5);
        mgi_tae_finish(&tae);
    }
    mgen_context_destroy(ctx);
}

/* Statistics of whole frames, in space, in time, with attention. */
static void test_norms(void **state)
{
    static const sizes all[] = {{1, 5, 3, 2}, {2, 7, 6, 4}, {1, 4, 4, 8}};
    (void)state;
    mgen_context *ctx = make_context();
    for (int i = 0; i < 4; i++) {
        mgi_tae tae;
        mgi_tae_config c = plain;
        c.groups = 2;
        c.temporal = i != 2;
        c.keeps_time[1] = i == 1;
        c.attention = i > 1;
        c.ldm = c.mixes = i > 1;
        if (i == 0 || i == 3)
            memcpy(c.decoder_channels, wider, sizeof wider);
        make_tae(&tae, ctx, &c, MGK_F32);
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
            compare(&tae, ctx, &all[k], 1e-4);
        mgi_tae_finish(&tae);
    }
    mgen_context_destroy(ctx);
}

static void test_bf16(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae tae;
    make_tae(&tae, ctx, &plain, MGK_BF16);
    compare(&tae, ctx, &(sizes){2, 6, 5, 3}, 0.1);
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

/* -- films, as tasks handle them ---------------------------------------------------------------- */

enum { FRAMES = 11, H = 40, W = 56, SIZE = H * W * 3 };

static mgen_status put(void *user, const mgi_frames_box *box, float *rgb)
{
    float *film = user;
    for (int64_t i = 0; i < box->count * box->height; i++)
        memcpy(film + ((box->first + i / box->height) * H + box->top + i % box->height) * W * 3 +
                   box->left * 3,
               rgb + i * box->width * 3, (size_t)box->width * 3 * sizeof *rgb);
    return MGEN_OK;
}

static float largest(const float *a, const float *b, int64_t count)
{
    float most = 0;
    for (int64_t i = 0; i < count; i++)
        most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

/* Mean difference of neighbouring pixels along rows: over columns that begin a tile, over others. */
static void across(const float *film, int64_t tile, double out[2])
{
    double sum[2] = {0}, count[2] = {0};
    for (int64_t i = 0; i < (int64_t)FRAMES * SIZE; i++) {
        int64_t column = i % (W * 3) / 3;
        if (column == 0 || column % 8)
            continue; /* where latents end, differences are others anyway */
        bool inside = column % tile != 0;
        sum[inside] += fabs((double)film[i] - film[i - 3]);
        count[inside]++;
    }
    out[0] = sum[0] / count[0];
    out[1] = sum[1] / count[1];
}

static void test_films(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    const int64_t film[3] = {FRAMES, H, W};
    float *values = test_malloc(3 * FRAMES * SIZE * sizeof *values);
    float *whole = values + FRAMES * SIZE, *tiled = whole + FRAMES * SIZE,
          latents[2][2 * 5 * 7 * 3];
    for (int i = 0; i < FRAMES * SIZE; i++)
        values[i] = 2.0f * mgi_random_unit(1, 2, (uint64_t)i) - 1.0f;
    for (int i = 0; i < 4; i++) {
        mgi_tae tae;
        mgi_tae_config c = plain;
        int64_t dims[4], tile = i == 3 ? 0 : 16;
        double seams[2][2];
        host_frames frames = {.floats = values, .size = SIZE};
        c.temporal = i != 1;
        c.attention = i == 1 || i == 2;
        c.groups = i ? 2 : 0;
        make_tae(&tae, ctx, &c, MGK_F32);
        assert_int_equal(mgi_latent_dims(ctx, &tae, film, dims), MGEN_OK);
        if (i == 1) /* frame by frame: too many latents for the room here */
            dims[0] = 2;
        const int64_t part[3] = {i == 1 ? 2 : FRAMES, H, W};
        assert_int_equal(mgi_encode_film(ctx, &tae, part, 0, host_frames_read, &frames, latents[0]),
                         MGEN_OK);
        assert_int_equal(mgi_decode_film(ctx, &tae, latents[0], dims, part[0], 0, put, whole),
                         MGEN_OK);
        tae.config.space_tile = i == 3 ? 16 : 0; /* configured */
        assert_int_equal(mgi_decodes_parts(&tae, H, W, tile), i == 0 || i == 3);
        assert_false(mgi_decodes_parts(&tae, 16, 16, tile));
        assert_int_equal(
            mgi_encode_film(ctx, &tae, part, tile, host_frames_read, &frames, latents[1]), MGEN_OK);
        assert_int_equal(mgi_decode_film(ctx, &tae, latents[0], dims, part[0], tile, put, tiled),
                         MGEN_OK);
        assert_true(largest(latents[0], latents[1], dims[0] * 5 * 7 * 3) < 1e-3f);
        assert_true(largest(whole, tiled, part[0] * SIZE) < 1e-3f);
        if (i == 0) {
            across(whole, 16, seams[0]);
            across(tiled, 16, seams[1]);
            for (int k = 0; k < 2; k++)
                assert_true(fabs(seams[1][k] / seams[0][k] - 1.0) < 1e-4);
        }
        mgi_tae_finish(&tae);
    }
    test_free(values);
    mgen_context_destroy(ctx);
}

/* Without what surrounds it a tile is another: what the rest of this file would not see if halos were missing. */
static void test_control(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae tae;
    mgi_run run;
    make_tae(&tae, ctx, &plain, MGK_F32);
    mgi_run_init(&run, ctx, false);
    T *z = random_film(&run, 1, 8, 8, 3);
    T *whole = mgi_slice(&run, mgi_tae_decode(&run, &tae, z), 2, 0, 32);
    T *alone = mgi_tae_decode(&run, &tae, mgi_slice(&run, z, 2, 0, 4));
    assert_true(difference(alone, whole) > 0.1);
    mgi_run_finish(&run);
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

/* -- memory ------------------------------------------------------------------------------------- */

static mgen_status drop(void *user, const mgi_frames_box *box, float *rgb)
{
    (void)user;
    (void)box;
    (void)rgb;
    return MGEN_OK;
}

static uint64_t peak_of(mgen_context *ctx, const mgi_tae *tae, const int64_t dims[4], int64_t tile)
{
    float *z = test_calloc((size_t)(dims[0] * dims[1] * dims[2] * dims[3]), sizeof *z);
    mgi_device_counts *c = &ctx->device->counts;
    mgi_device_trim(ctx->device);
    uint64_t before = c->held_peak = c->held;
    assert_int_equal(mgi_decode_film(ctx, tae, z, dims, 0, tile, drop, NULL), MGEN_OK);
    test_free(z);
    return c->held_peak - before;
}

/* Frames four times as large take the memory of a tile, however long the film. */
static void test_memory(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae tae;
    make_tae(&tae, ctx, &plain, MGK_F32);
    uint64_t whole = peak_of(ctx, &tae, (const int64_t[]){6, 32, 32, 3}, 0);
    uint64_t tiled = peak_of(ctx, &tae, (const int64_t[]){6, 32, 32, 3}, 64);
    uint64_t longer = peak_of(ctx, &tae, (const int64_t[]){18, 32, 32, 3}, 64);
    printf("# 256 x 256: %llu bytes whole, %llu in tiles of 64, %llu for a longer film\n",
           (unsigned long long)whole, (unsigned long long)tiled, (unsigned long long)longer);
    assert_true(tiled < whole / 3);
    assert_true(longer < tiled + tiled / 8);
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

/* Into less and less memory; how often in tiles. */
static int code_within(mgen_context *ctx, const mgi_tae *tae, int direction, float *z)
{
    static const int64_t film[3] = {16, 256, 256}, dims[4] = {2, 32, 32, 3};
    int64_t tile, before = 256;
    int tiled = 0;
    host_frames frames = {.bytes = test_calloc(16, 256 * 256 * 3), .size = 256 * 256 * 3};
    for (uint64_t left = 64u << 20; left > 1u << 20; left /= 2) {
        mgi_device_trim(ctx->device);
        ctx->heap->max = atomic_load(&ctx->heap->now) + left;
        assert_int_equal(mgi_tae_tile(ctx, tae, film, direction, &tile), MGEN_OK);
        if (!tile && tiled)
            break; /* too little for any */
        assert_true(tile <= before && tile % 8 == 0);
        tiled += tile > 0;
        before = tile ? tile : before;
        assert_int_equal(direction == MGI_TAE_ENCODES
                             ? mgi_encode_film(ctx, tae, film, tile, host_frames_read, &frames, z)
                             : mgi_decode_film(ctx, tae, z, dims, 0, tile, drop, NULL),
                         MGEN_OK);
    }
    test_free((void *)(uintptr_t)frames.bytes);
    return tiled;
}

/* A limit chooses the largest tile with which it holds, and then it does hold. */
static void test_limit(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae tae;
    make_tae(&tae, ctx, &plain, MGK_F32);
    float *z = test_calloc(2 * 32 * 32 * 3, sizeof *z);
    assert_true(code_within(ctx, &tae, MGI_TAE_ENCODES, z) > 0);
    assert_true(code_within(ctx, &tae, MGI_TAE_DECODES, z) > 0);
    ctx->heap->max = 0;
    test_free(z);
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

/* -- what is refused ------------------------------------------------------------------------------ */

static void refused_config(mgen_context *ctx, const char *text, mgen_status want)
{
    mgi_json *json;
    mgi_tae_config c;
    assert_int_equal(mgi_json_parse(ctx, "tae", text, strlen(text), &json), MGEN_OK);
    assert_int_equal(mgi_tae_config_read(ctx, json, &c), want);
    mgi_json_free(ctx, json);
}

static void test_refusals(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae tae;
    mgi_run run;
    refused_config(ctx,
                   "{\"channels\":[4,4,4],\"latent_channels\":3,\"blocks\":1,\"space_tile\":16}",
                   MGEN_OK);
    refused_config(ctx,
                   "{\"channels\":[4,4,4],\"latent_channels\":3,\"blocks\":1,\"space_tile\":2}",
                   MGEN_E_CORRUPT);
    assert_non_null(strstr(mgen_last_error(ctx), "multiple of 4"));
    refused_config(ctx, "{\"channels\":[4],\"latent_channels\":3,\"blocks\":1,\"space_tile\":0}",
                   MGEN_E_CORRUPT);
    make_tae(&tae, ctx, &plain, MGK_F32);
    mgi_run_init(&run, ctx, false);
    T *x = random_film(&run, 1, 2, 2, 3);
    assert_null(mgi_tae_in_space(&run, &tae, MGI_TAE_DECODES, x, 0));
    assert_int_equal(run.status, MGEN_E_INTERNAL);
    mgi_run_finish(&run);
    mgi_run_init(&run, ctx, false);
    x = random_film(&run, 1, 8, 12, 3);
    assert_null(mgi_tae_in_space(&run, &tae, MGI_TAE_ENCODES, x, 1));
    assert_int_equal(run.status, MGEN_E_INTERNAL);
    mgi_run_finish(&run);
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),   cmocka_unit_test(test_norms),
        cmocka_unit_test(test_bf16),    cmocka_unit_test(test_films),
        cmocka_unit_test(test_control), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_limit),   cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
