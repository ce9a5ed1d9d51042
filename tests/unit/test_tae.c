/* SPDX-License-Identifier: MIT
 * The autoencoder's configurations: norms, attention, strides in time, tiles. */
#include "core/philox.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/loss/loss.h"
#include "model/tae_tiles.h"
#include "model/tae_up.h"

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

static const mgi_tae_config full_config = {.levels = 4,
                                           .channels = {4, 8, 8, 12},
                                           .latent_channels = 3,
                                           .blocks = 1,
                                           .temporal = true,
                                           .groups = 2,
                                           .attention = true};

/* Values that leave nothing at 0 or at the identity. */
static void make_tae(mgi_tae *tae, mgen_context *ctx, const mgi_tae_config *config, float scale)
{
    assert_int_equal(mgi_tae_init(tae, ctx, config), MGEN_OK);
    assert_int_equal(mgi_module_random(&tae->module, 2), MGEN_OK);
    for (int64_t k = 0; k < tae->module.count; k++) {
        T *p = tae->module.params[k]->value;
        for (int64_t i = 0; i < p->count; i++)
            mgi_f32(p)[i] += scale * mgi_random_normal(8, 100 + (uint64_t)k, (uint64_t)i);
    }
}

static float largest_difference(const T *a, const T *b)
{
    float most = 0.0f;
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++)
        most = fmaxf(most, fabsf(mgi_f32(a)[i] - mgi_f32(b)[i]));
    return most;
}

/* -- configuration ------------------------------------------------------------------------------ */

static mgen_status read_config(mgen_context *ctx, const char *members, mgi_tae_config *out)
{
    char text[512];
    mgi_json *json;
    snprintf(text, sizeof text, "{\"channels\":[8,16,16],\"latent_channels\":4,\"blocks\":1%s%s}",
             *members ? "," : "", members);
    assert_int_equal(mgi_json_parse(ctx, "text", text, strlen(text), &json), MGEN_OK);
    mgen_status status = mgi_tae_config_read(ctx, json, out);
    mgi_json_free(ctx, json);
    return status;
}

/* What is written reads as what writes the same. */
static void assert_written_as_read(mgen_context *ctx, const mgi_tae_config *config)
{
    char before[512] = "";
    mgi_tae_config c = *config;
    for (int i = 0; i < 2; i++) {
        mgi_json_writer w;
        mgi_json *json;
        const char *text;
        size_t size;
        mgi_json_writer_init(&w, ctx, 0);
        mgi_json_open(&w, NULL, '{');
        mgi_tae_config_write(&w, &c);
        mgi_json_close(&w, '}');
        assert_int_equal(mgi_json_text(&w, &text, &size), MGEN_OK);
        assert_true(size < sizeof before);
        if (i)
            assert_string_equal(text, before);
        memcpy(before, text, size + 1);
        assert_int_equal(mgi_json_parse(ctx, "text", text, size, &json), MGEN_OK);
        assert_int_equal(mgi_tae_config_read(ctx, json, &c), MGEN_OK);
        mgi_json_free(ctx, json);
        mgi_json_writer_free(&w);
    }
    assert_true(c.groups == config->groups && c.attention == config->attention &&
                c.ldm == config->ldm && c.mixes == config->mixes &&
                c.tile_frames == config->tile_frames && c.tile_overlap == config->tile_overlap &&
                !memcmp(c.decoder_channels, config->decoder_channels, sizeof c.decoder_channels) &&
                mgi_tae_time_factor(&c) == mgi_tae_time_factor(config));
}

static void test_config(void **state)
{
    static const struct {
        const char *members, *said;
    } refused[] = {
        {"\"norm\":\"layer\"", "known are \"none\" and \"group\""},
        {"\"groups\":4", "\"groups\" needs \"norm\": \"group\""},
        {"\"norm\":\"group\"", "\"channels\" has 8, which 32 \"groups\" do not divide"},
        {"\"norm\":\"group\",\"groups\":0", "\"groups\""},
        {"\"attention\":1", "\"attention\""},
        {"\"structure\":\"unet\"", "known are \"plain\" and \"latent-diffusion\""},
        {"\"decoder_channels\":[8,16]", "\"decoder_channels\" has 2 entries; \"channels\" has 3"},
        {"\"decoder_channels\":[8,0,16]", "\"decoder_channels\" has an entry that is not 1.."},
        {"\"decoder_channels\":8", "\"decoder_channels\" must be a list"},
        {"\"norm\":\"group\",\"groups\":4,\"decoder_channels\":[8,16,18]",
         "\"decoder_channels\" has 18, which 4 \"groups\" do not divide"},
        {"\"time_strides\":[1]", "between 3 levels there are 2"},
        {"\"time_strides\":[1,3]", "\"time_strides\" has an entry that is not 1..2"},
        {"\"time_strides\":2", "\"time_strides\" must be a list"},
        {"\"tiles\":32", "\"tiles\" must be an object"},
        {"\"tiles\":{\"frames\":32}", "\"overlap\""},
        {"\"tiles\":{\"frames\":30,\"overlap\":16}", "multiples of 4"},
        {"\"tiles\":{\"frames\":16,\"overlap\":16}", "the overlap less"},
    };
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae_config c;
    memset(&c, 0, sizeof c);
    assert_int_equal(read_config(ctx, "", &c), MGEN_OK);
    assert_int_equal(mgi_tae_factor(&c), 4);
    assert_int_equal(mgi_tae_time_factor(&c), 4);
    assert_true(!c.groups && !c.attention && !c.tile_frames);
    assert_written_as_read(ctx, &c);
    assert_int_equal(read_config(ctx,
                                 "\"norm\":\"group\",\"groups\":4,\"attention\":true,"
                                 "\"structure\":\"latent-diffusion\",\"mixes\":true,"
                                 "\"time_strides\":[1,2],\"tiles\":{\"frames\":32,\"overlap\":8}",
                                 &c),
                     MGEN_OK);
    assert_int_equal(c.groups, 4);
    assert_true(c.mixes && mgi_tae_blocks(&c, true) == 1 && mgi_tae_blocks(&c, false) == 2);
    assert_int_equal(mgi_tae_factor(&c), 4);
    assert_int_equal(mgi_tae_time_factor(&c), 2);
    assert_int_equal(mgi_tae_latent_frames(&c, 5), 3);
    assert_written_as_read(ctx, &c);
    assert_int_equal(read_config(ctx, "\"decoder_channels\":[12,16,20]", &c), MGEN_OK);
    assert_true(mgi_tae_width(&c, true, 2) == 16 && mgi_tae_width(&c, false, 2) == 20);
    assert_written_as_read(ctx, &c);
    assert_int_equal(read_config(ctx, "\"decoder_channels\":[8,16,16]", &c), MGEN_OK);
    assert_int_equal(c.decoder_channels[0], 0); /* what says nothing is not kept */
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(read_config(ctx, refused[i].members, &c), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), refused[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), refused[i].said);
    }
    mgen_context_destroy(ctx);
}

/* Where time is not halved it is not doubled either. */
static void test_time_strides(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae_config config = full_config;
    mgi_tae tae;
    mgi_run run;
    config.keeps_time[0] = true;
    make_tae(&tae, ctx, &config, 0.05f);
    assert_true(tae.encoder.change[0].time_stride == 1 && !tae.decoder.change[1].time_up);
    assert_true(tae.encoder.change[1].time_stride == 2 && tae.decoder.change[2].time_up);
    for (int64_t frames = 1; frames <= 9; frames++) {
        mgi_run_init(&run, ctx, false);
        T *h = mgi_tae_encode(&run, &tae, random_tensor(&run, 1, MGI_DIMS(1, frames, 8, 16, 3)));
        assert_non_null(h);
        assert_int_equal(h->dims[1], (frames + 3) / 4);
        assert_int_equal(h->dims[2], 1);
        assert_int_equal(h->dims[3], 2);
        T *y = mgi_tae_decode(&run, &tae, mgi_posterior(&run, h, NULL, 0.0f, NULL));
        assert_non_null(y);
        assert_int_equal(y->dims[1], 4 * h->dims[1]);
        assert_int_equal(y->dims[3], 16);
        mgi_run_finish(&run);
    }
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

/* Enlarging and convolving in one is enlarging, then convolving: in space with zeros around; in time with copies of the
 * edge frames, or without, where one frame more comes out for each copy. */
static void test_up(void **state)
{
    static const int64_t sizes[][5] = {{1, 1, 1, 1, 1}, {2, 3, 5, 4, 6}, {1, 8, 2, 17, 16}};
    (void)state;
    mgen_context *ctx = make_context();
    for (int i = 0; i < 6; i++) {
        const int64_t *s = sizes[i / 2], n = s[0], h = s[1], w = s[2], cin = s[3], cout = s[4];
        bool half = i % 2;
        mgi_run run;
        mgi_run_init(&run, ctx, false);
        T *x = random_tensor(&run, 1, MGI_DIMS(n, h, w, cin)),
          *b = random_tensor(&run, 2, MGI_DIMS(cout)),
          *space = random_tensor(&run, 3, MGI_DIMS(cout, 3, 3, cin)),
          *time = random_tensor(&run, 4, MGI_DIMS(cout, 3, 1, cin)),
          *given = mgi_cast(&run, x, half ? MGK_BF16 : MGK_F32);
        float bound = (half ? 0.06f : 1e-5f) * sqrtf((float)cin);
        mgi_conv_options o = {.stride_h = 1, .stride_w = 1};
        o.pad_top = o.pad_bottom = o.pad_left = o.pad_right = 1;
        T *want = mgi_conv2d(&run, mgi_resize_nearest(&run, x, 2, 2), space, b, o);
        T *y = mgi_tae_up_space(&run, NULL, given, space, b);
        assert_int_equal(y->dims[1], 2 * h);
        assert_int_equal(y->dims[2], 2 * w);
        assert_true(largest_difference(mgi_cast(&run, y, MGK_F32), want) < bound);

        o.pad_left = o.pad_right = 0;
        o.pad_mode = MGK_PAD_REPLICATE;
        want = mgi_conv2d(&run, mgi_resize_nearest(&run, x, 2, 1), time, b, o);
        for (int pads = 0; pads < 4; pads++) {
            int64_t before = pads & 1, after = pads >> 1, pairs = h + before + after - 1;
            if (pairs < 1)
                continue;
            y = mgi_cast(&run, mgi_tae_up_time(&run, given, time, b, before, after), MGK_F32);
            assert_int_equal(y->dims[1], 2 * pairs);
            int64_t first = before ? 0 : 1, frames = 2 * pairs - before - after;
            assert_true(largest_difference(mgi_slice(&run, y, 1, before, frames),
                                           mgi_slice(&run, want, 1, first, frames)) < bound);
        }
        mgi_run_finish(&run);
    }
    mgen_context_destroy(ctx);
}

/* On images the inflated autoencoder equals the 2D one, with norms and attention too; latent diffusion's if there is a
 * state. */
static void test_inflation(void **state)
{
    char path[] = "/tmp/mgi-tae-XXXXXX";
    mgen_context *ctx = make_context();
    mgi_tae flat, tae;
    mgi_tae_config config = full_config;
    mgi_st_file st;
    mgi_run run;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    config.ldm = config.mixes = *state != NULL;
    const mgi_tae_config inflated = config;
    config.temporal = false;
    make_tae(&flat, ctx, &config, 0.05f);
    assert_int_equal(mgi_module_save(&flat.module, path, false, MGI_ST_F32), MGEN_OK);
    assert_int_equal(mgi_tae_init(&tae, ctx, &inflated), MGEN_OK);
    assert_int_equal(mgi_module_random(&tae.module, 99), MGEN_OK);
    assert_int_equal(mgi_st_open(ctx, NULL, path, &st), MGEN_OK);
    assert_int_equal(mgi_module_load(&tae.module, &st, "flat", true), MGEN_OK);
    mgi_st_close(ctx, &st);
    mgi_run_init(&run, ctx, false);
    T *x = random_tensor(&run, 4, MGI_DIMS(2, 1, 16, 16, 3));
    T *a = mgi_tae_encode(&run, &flat, x), *b = mgi_tae_encode(&run, &tae, x);
    assert_true(largest_difference(a, b) < 1e-5f);
    T *z = mgi_posterior(&run, a, NULL, 0.0f, NULL);
    T *p = mgi_tae_decode(&run, &flat, z), *q = mgi_tae_decode(&run, &tae, z);
    assert_true(largest_difference(p, mgi_slice(&run, q, 1, 0, 1)) < 1e-5f);
    /* a film at rest is one image */
    for (int64_t i = 1; i < q->dims[1]; i++)
        assert_true(largest_difference(p, mgi_slice(&run, q, 1, i, 1)) < 1e-5f);
    mgi_run_finish(&run);
    mgi_tae_finish(&flat);
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
    unlink(path);
}

/* The weights of `from` into a network whose decoder may be wider. */
static mgen_status load_widened(mgen_context *ctx, mgi_tae *from, mgi_tae *to)
{
    char path[] = "/tmp/mgi-tae-XXXXXX";
    mgi_model_file file = {.weights_name = "narrow"};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(mgi_module_save(&from->module, path, false, MGI_ST_F32), MGEN_OK);
    assert_int_equal(mgi_st_open(ctx, NULL, path, &file.weights), MGEN_OK);
    mgen_status status = mgi_tae_load_widened(to, &from->config, &file);
    mgi_st_close(ctx, &file.weights);
    unlink(path);
    return status;
}

/* A wider decoder begins as the narrower one; its new channels are not the same, and all weights learn. */
static void test_widening(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    for (int i = 0; i < 4; i++) {
        mgi_tae narrow, wide;
        mgi_run run;
        mgi_tae_config config = full_config;
        config.groups = 0;
        config.attention = i == 2;
        config.temporal = i != 1;
        config.blocks = 1 + (i == 1);
        make_tae(&narrow, ctx, &config, 0.05f);
        const mgi_tae_config from = config;
        memcpy(config.decoder_channels, (int64_t[]){9, 8, 11, i == 2 ? 12 : 21},
               4 * sizeof(int64_t));
        config.temporal = true; /* inflated too, where it was not */
        assert_true(mgi_tae_widens(&from, &config));
        assert_false(mgi_tae_widens(&config, &from));
        assert_false(mgi_tae_widens(&from, &from));
        assert_int_equal(mgi_tae_init(&wide, ctx, &config), MGEN_OK);
        assert_int_equal(mgi_module_random(&wide.module, 5), MGEN_OK);
        assert_int_equal(load_widened(ctx, &narrow, &wide), MGEN_OK);
        assert_int_equal(mgi_module_train(&wide.module), MGEN_OK);
        mgi_run_init(&run, ctx, true);
        T *x = random_tensor(&run, 4, MGI_DIMS(1, from.temporal ? 9 : 1, 16, 24, 3));
        T *h = mgi_tae_encode(&run, &wide, x);
        assert_true(largest_difference(mgi_tae_encode(&run, &narrow, x), h) < 1e-6f);
        T *z = mgi_posterior(&run, h, NULL, 0.0f, NULL);
        T *y = mgi_tae_decode(&run, &wide, z), *want = mgi_tae_decode(&run, &narrow, z);
        assert_true(largest_difference(want, mgi_slice(&run, y, 1, 0, want->dims[1])) < 1e-5f);
        T *zero = mgi_new(&run, MGK_F32, 5, y->dims);
        mgi_fill(&run, zero, 0.0f);
        assert_int_equal(mgi_backward(&run, mgi_loss(&run, MGK_LOSS_MSE, 1.0f, y, zero)), MGEN_OK);
        /* weights of new channels into old ones are 0, and not where they lead */
        const mgi_param *out = wide.decoder.out.w;
        const float *weight = mgi_f32(out->value), *slope = mgi_f32(out->value->var->grad);
        float kept = 0.0f, learns = 0.0f;
        for (int64_t k = 0; k < out->value->count; k++) {
            if (k % 9 < 4) {
                kept += fabsf(weight[k]);
            } else {
                assert_true(weight[k] == 0.0f);
                learns += fabsf(slope[k]);
            }
        }
        assert_true(kept > 0.0f && learns > 0.0f);
        mgi_run_finish(&run);
        mgi_tae_finish(&narrow);
        mgi_tae_finish(&wide);
    }
    mgen_context_destroy(ctx);
}

/* What has no wider form that does the same. */
static void test_widening_refused(void **state)
{
    static const char *const said[] = {
        "\"norm\": \"group\" cannot be widened", "the last of \"decoder_channels\" must stay 12",
        "has another shape", "\"latent-diffusion\" cannot be widened"};
    (void)state;
    mgen_context *ctx = make_context();
    for (int i = 0; i < 4; i++) {
        mgi_tae narrow, wide;
        mgi_tae_config config = full_config;
        config.groups = i == 0 ? 2 : 0;
        config.attention = i == 1;
        config.ldm = i == 3;
        make_tae(&narrow, ctx, &config, 0.05f);
        memcpy(config.decoder_channels, (int64_t[]){8, 8, 12, 16}, 4 * sizeof(int64_t));
        assert_int_equal(mgi_tae_init(&wide, ctx, &config), MGEN_OK);
        if (i == 2) /* a file of another network than it says */
            narrow.config.channels[0] = narrow.config.decoder_channels[0] = 6;
        assert_int_equal(load_widened(ctx, &narrow, &wide), i == 2 ? MGEN_E_CORRUPT : MGEN_E_STATE);
        if (!strstr(mgen_last_error(ctx), said[i]))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), said[i]);
        mgi_tae_finish(&narrow);
        mgi_tae_finish(&wide);
    }
    mgen_context_destroy(ctx);
}

/* Latent diffusion's widths: what a step of training takes, on the meta device. */
static void test_large_preset(void **state)
{
    static const mgi_tae_config preset = {.levels = 4,
                                          .channels = {128, 256, 512, 512},
                                          .latent_channels = 16,
                                          .blocks = 2,
                                          .temporal = true,
                                          .groups = 32,
                                          .attention = true};
    (void)state;
    mgen_context *ctx = make_context();
    mgi_device_make_meta(ctx->device);
    mgi_tae tae;
    mgi_run run;
    T *kl;
    assert_int_equal(mgi_tae_init(&tae, ctx, &preset), MGEN_OK);
    assert_int_equal(mgi_module_train(&tae.module), MGEN_OK);
    assert_int_equal(mgi_module_compute(&tae.module, MGK_BF16), MGEN_OK);
    assert_in_range(mgi_module_size(&tae.module), 80000000, 140000000);
    mgi_run_init(&run, ctx, true);
    T *x = mgi_new(&run, MGK_F32, MGI_DIMS(1, 32, 256, 256, 3));
    T *h = mgi_tae_encode(&run, &tae, x);
    assert_non_null(h);
    assert_int_equal(h->dims[1], 4);
    assert_int_equal(h->dims[2], 32);
    assert_int_equal(h->dims[4], 32);
    T *y = mgi_tae_decode(&run, &tae, mgi_posterior(&run, h, NULL, 1e-6f, &kl));
    assert_int_equal(mgi_backward(&run, mgi_add(&run, mgi_loss(&run, MGK_LOSS_L1, 1.0f, y, x), kl)),
                     MGEN_OK);
    assert_true(ctx->device->counts.flops > 1e13);
    mgi_run_finish(&run);
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

/* -- attention ---------------------------------------------------------------------------------- */

enum { WIDE = 260, PLACES = 6, PICTURES = 3 };

static double product_of(const mgi_param *w, const mgi_param *b, int64_t row, const double *x)
{
    const float *values = mgi_f32(w->value) + row * WIDE;
    double sum = mgi_f32(b->value)[row];
    for (int k = 0; k < WIDE; k++)
        sum += values[k] * x[k];
    return sum;
}

/* Place `at` of x + out(softmax(q k^T / sqrt(WIDE)) v) of one picture, from q, k and v (places,3,WIDE). */
static void attend_plainly(const mgi_tae_attention *a, const double *qkv, int places, int at,
                           const float *x, double *out)
{
    const double *q = qkv + (ptrdiff_t)at * 3 * WIDE;
    double row[WIDE] = {0}, sum = 0.0;
    for (int j = 0; j < places; j++) {
        const double *k = qkv + ((ptrdiff_t)j * 3 + 1) * WIDE;
        double score = 0.0;
        for (int c = 0; c < WIDE; c++)
            score += q[c] * k[c];
        double p = exp(score / sqrt((double)WIDE));
        sum += p;
        for (int c = 0; c < WIDE; c++)
            row[c] += p * k[WIDE + c];
    }
    for (int c = 0; c < WIDE; c++)
        row[c] /= sum;
    for (int c = 0; c < WIDE; c++)
        out[c] = x[(ptrdiff_t)at * WIDE + c] + product_of(a->out_w, a->out_b, c, row);
}

/* Of `count` pictures of 2 x columns places, each step-th place. */
static void check_attention(mgen_context *ctx, const mgi_tae_attention *a, int count, int columns,
                            int step)
{
    mgi_run run;
    int places = 2 * columns;
    double *qkv = test_malloc((size_t)places * 3 * WIDE * sizeof *qkv), row[WIDE];
    mgi_run_init(&run, ctx, false);
    T *x = random_tensor(&run, 4, MGI_DIMS(count, 2, columns, WIDE));
    T *n = mgi_group_norm(&run, x, 4, 1e-6f, a->norm.w->value, a->norm.b->value, false);
    T *y = mgi_tae_attend(&run, a, x);
    assert_non_null(y);
    for (int i = 0; i < count; i++) {
        ptrdiff_t first = (ptrdiff_t)i * places * WIDE;
        for (int k = 0; k < places; k++) {
            for (int c = 0; c < WIDE; c++)
                row[c] = mgi_f32(n)[first + k * WIDE + c];
            for (int c = 0; c < 3 * WIDE; c++)
                qkv[(ptrdiff_t)k * 3 * WIDE + c] = product_of(a->qkv_w, a->qkv_b, c, row);
        }
        for (int k = 0; k < places; k += step) {
            attend_plainly(a, qkv, places, k, mgi_f32(x) + first, row);
            for (int c = 0; c < WIDE; c++)
                assert_float_equal(mgi_f32(y)[first + k * WIDE + c], row[c], 1e-4);
        }
    }
    mgi_run_finish(&run);
    test_free(qkv);
}

static double attention_loss(mgi_run *run, const mgi_tae_attention *a)
{
    T *x = random_tensor(run, 4, MGI_DIMS(PICTURES, 2, PLACES / 2, WIDE));
    T *to = random_tensor(run, 5, MGI_DIMS(PICTURES, 2, PLACES / 2, WIDE));
    T *loss = mgi_loss(run, MGK_LOSS_MSE, 1.0f, mgi_tae_attend(run, a, x), to);
    assert_non_null(loss);
    if (run->record)
        assert_int_equal(mgi_backward(run, loss), MGEN_OK);
    return mgi_f32(loss)[0];
}

/* Latent diffusion's attention has one head, which may be wider than the kernel's: the same by products. */
static void test_wide_head(void **state)
{
    const mgi_tae_config config = {.levels = 1,
                                   .channels = {WIDE},
                                   .latent_channels = 3,
                                   .blocks = 1,
                                   .ldm = true,
                                   .groups = 4,
                                   .attention = true};
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae tae;
    mgi_run run;
    make_tae(&tae, ctx, &config, 0.05f);
    const mgi_tae_attention *a = &tae.encoder.middle.space;
    check_attention(ctx, a, PICTURES, PLACES / 2, 1);
    check_attention(ctx, a, 1, 1030, 257); /* more scores than are held at a time */

    assert_int_equal(mgi_module_train(&tae.module), MGEN_OK);
    mgi_run_init(&run, ctx, true);
    mgi_module_zero_grad(&tae.module, &run);
    attention_loss(&run, a);
    mgi_run_finish(&run);
    const mgi_param *params[] = {a->norm.w, a->norm.b, a->qkv_w, a->qkv_b, a->out_w, a->out_b};
    for (uint64_t k = 0; k < sizeof params / sizeof *params; k++) {
        T *p = params[k]->value;
        double slope = 0.0, sum[2], e = 1e-3;
        for (int64_t i = 0; i < p->count; i++)
            slope += (double)mgi_random_normal(5, k, (uint64_t)i) * mgi_f32(p->var->grad)[i];
        for (int side = 0; side < 2; side++) {
            for (int64_t i = 0; i < p->count; i++)
                mgi_f32(p)[i] += (float)(side ? -2 * e : e) * mgi_random_normal(5, k, (uint64_t)i);
            mgi_run_init(&run, ctx, false);
            sum[side] = attention_loss(&run, a);
            mgi_run_finish(&run);
        }
        for (int64_t i = 0; i < p->count; i++)
            mgi_f32(p)[i] += (float)e * mgi_random_normal(5, k, (uint64_t)i);
        double measured = (sum[0] - sum[1]) / (2 * e);
        if (fabs(measured - slope) > 1e-3 + 0.02 * fabs(slope))
            fail_msg("%s: %g, but by differences %g", params[k]->name, slope, measured);
    }
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

/* -- gradients ---------------------------------------------------------------------------------- */

static double loss_of(mgi_run *run, const mgi_tae *tae, T *x)
{
    T *y =
        mgi_tae_decode(run, tae, mgi_posterior(run, mgi_tae_encode(run, tae, x), NULL, 0.0f, NULL));
    T *loss = mgi_loss(run, MGK_LOSS_MSE, 1.0f, y, mgi_slice(run, x, 1, 0, y->dims[1]));
    assert_non_null(loss);
    if (run->record)
        assert_int_equal(mgi_backward(run, loss), MGEN_OK);
    return mgi_f32(loss)[0];
}

/* Every parameter's gradient along a random direction, against finite differences; latent diffusion's if there is a
 * state. */
static void test_gradients(void **state)
{
    mgen_context *ctx = make_context();
    mgi_tae tae;
    mgi_run run;
    mgi_tae_config config = full_config;
    config.ldm = config.mixes = *state != NULL;
    make_tae(&tae, ctx, &config, 0.1f);
    assert_int_equal(mgi_module_train(&tae.module), MGEN_OK);
    mgi_run_init(&run, ctx, true);
    mgi_module_zero_grad(&tae.module, &run);
    loss_of(&run, &tae, random_tensor(&run, 4, MGI_DIMS(1, 16, 16, 16, 3)));
    mgi_run_finish(&run);
    for (int64_t k = 0; k < tae.module.count; k++) {
        const mgi_param *p = tae.module.params[k];
        double slope = 0.0, sum[2], e = 5e-4;
        if (p->frozen)
            continue;
        for (int64_t i = 0; i < p->value->count; i++)
            slope += (double)mgi_random_normal(5, (uint64_t)k, (uint64_t)i) *
                     mgi_f32(p->value->var->grad)[i];
        for (int side = 0; side < 2; side++) {
            double by = side ? -2 * e : e;
            for (int64_t i = 0; i < p->value->count; i++)
                mgi_f32(p->value)[i] += (float)by * mgi_random_normal(5, (uint64_t)k, (uint64_t)i);
            mgi_run_init(&run, ctx, false);
            sum[side] = loss_of(&run, &tae, random_tensor(&run, 4, MGI_DIMS(1, 16, 16, 16, 3)));
            mgi_run_finish(&run);
        }
        for (int64_t i = 0; i < p->value->count; i++)
            mgi_f32(p->value)[i] += (float)e * mgi_random_normal(5, (uint64_t)k, (uint64_t)i);
        double measured = (sum[0] - sum[1]) / (2 * e);
        if (fabs(measured - slope) > 2e-3 + 0.03 * fabs(slope))
            fail_msg("%s: %g, but by differences %g", p->name, slope, measured);
    }
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

/* -- tiles -------------------------------------------------------------------------------------- */

typedef struct film {
    float values[128 * 8 * 8 * 3];
    int64_t count, most; /* frames' values; frames at once */
} film;

static mgen_status collect(void *user, mgi_run *run, T *frames)
{
    film *f = user;
    (void)run;
    assert_true(f->count + frames->count <= (int64_t)(sizeof f->values / sizeof(float)));
    memcpy(f->values + f->count, mgi_f32(frames), (size_t)frames->count * sizeof(float));
    f->count += frames->count;
    f->most = frames->dims[1] > f->most ? frames->dims[1] : f->most;
    return MGEN_OK;
}

/* x pushed `size` frames at a time. */
static void push(mgi_run *run, const mgi_tae *tae, int direction, T *x, int64_t size, film *f)
{
    mgi_tae_stream s;
    f->count = f->most = 0;
    mgi_tae_stream_init(&s, run, tae, direction, collect, f);
    for (int64_t at = 0; at < x->dims[1]; at += size) {
        int64_t mark = mgi_scope_push(run), n = x->dims[1] - at < size ? x->dims[1] - at : size;
        T *part = mgi_slice(run, x, 1, at, n);
        assert_int_equal(mgi_tae_stream_push(&s, part, at + n == x->dims[1]), MGEN_OK);
        mgi_scope_pop(run, mark, NULL);
    }
    mgi_tae_stream_finish(&s);
}

/* Latents of a film of 15: tiles of 4 that move on by 2, the last of them 3 long. */
static void test_decode_tiles(void **state)
{
    static film f;
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae tae;
    mgi_run run;
    make_tae(&tae, ctx, &full_config, 0.1f);
    for (int64_t size = 1; size <= 16; size += 5) {
        mgi_run_init(&run, ctx, false);
        T *z = random_tensor(&run, 1, MGI_DIMS(1, 15, 1, 1, 3)), *tile[7];
        push(&run, &tae, MGI_TAE_DECODES, z, size, &f);
        assert_int_equal(f.count, 15 * 8 * 8 * 8 * 3);
        assert_true(f.most <= 32);
        for (int64_t i = 0; i < 7; i++)
            tile[i] = mgi_tae_decode(&run, &tae, mgi_slice(&run, z, 1, 2 * i, i < 6 ? 4 : 3));
        assert_non_null(tile[6]);
        for (int64_t frame = 0; frame < 120; frame++) {
            int64_t i = frame / 16 < 6 ? frame / 16 : 6, j = frame - 16 * i;
            /* the share of the tile that began last, in the frames that the one before has too */
            float share = i > 0 && j < 16 ? (float)j / 16.0f : 1.0f;
            for (int64_t k = 0; k < 192; k++) {
                float want = share * mgi_f32(tile[i])[j * 192 + k];
                if (share < 1.0f)
                    want += (1.0f - share) * mgi_f32(tile[i - 1])[(j + 16) * 192 + k];
                assert_float_equal(f.values[frame * 192 + k], want, 1e-5);
            }
        }
        mgi_run_finish(&run);
    }
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

static void test_encode_tiles(void **state)
{
    static film f;
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae tae;
    mgi_run run;
    make_tae(&tae, ctx, &full_config, 0.1f);
    for (int64_t frames = 30; frames <= 70; frames += 20) {
        mgi_run_init(&run, ctx, false);
        T *x = random_tensor(&run, 2, MGI_DIMS(1, frames, 8, 8, 3));
        push(&run, &tae, MGI_TAE_ENCODES, x, 7, &f);
        int64_t at = 0;
        for (int64_t first = 0; first < frames; first += 32) {
            int64_t n = frames - first < 32 ? frames - first : 32;
            T *h = mgi_tae_encode(&run, &tae, mgi_slice(&run, x, 1, first, n));
            assert_non_null(h);
            assert_memory_equal(f.values + at, mgi_f32(h), (size_t)h->count * sizeof(float));
            at += h->count;
        }
        assert_int_equal(f.count, at);
        assert_int_equal(at, mgi_tae_latent_frames(&full_config, frames) * 6);
        mgi_run_finish(&run);
    }
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

static uint64_t peak_of(mgen_context *ctx, const mgi_tae *tae, int64_t latents)
{
    static film f;
    mgi_run run;
    mgi_tae_stream s;
    mgi_device_counts *c = &ctx->device->counts;
    uint64_t before = c->now[MGI_MEM_ACTIVATION];
    c->peak[MGI_MEM_ACTIVATION] = before;
    mgi_run_init(&run, ctx, false);
    mgi_tae_stream_init(&s, &run, tae, MGI_TAE_DECODES, collect, &f);
    for (int64_t i = 0; i < latents; i++) {
        int64_t mark = mgi_scope_push(&run);
        T *z = random_tensor(&run, 2, MGI_DIMS(1, 1, 1, 1, 3));
        f.count = 0;
        assert_int_equal(mgi_tae_stream_push(&s, z, i == latents - 1), MGEN_OK);
        mgi_scope_pop(&run, mark, NULL);
    }
    mgi_tae_stream_finish(&s);
    mgi_run_finish(&run);
    assert_int_equal(c->now[MGI_MEM_ACTIVATION], before);
    return c->peak[MGI_MEM_ACTIVATION] - before;
}

static void test_tiles_memory(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_tae tae;
    make_tae(&tae, ctx, &full_config, 0.1f);
    assert_int_equal(peak_of(ctx, &tae, 14), peak_of(ctx, &tae, 60));
    mgi_tae_finish(&tae);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_time_strides),
        cmocka_unit_test(test_inflation),
        {"test_inflation_ldm", test_inflation, NULL, NULL, (void *)&full_config},
        cmocka_unit_test(test_large_preset),
        cmocka_unit_test(test_wide_head),
        cmocka_unit_test(test_gradients),
        {"test_gradients_ldm", test_gradients, NULL, NULL, (void *)&full_config},
        cmocka_unit_test(test_decode_tiles),
        cmocka_unit_test(test_encode_tiles),
        cmocka_unit_test(test_tiles_memory),
        cmocka_unit_test(test_up),
        cmocka_unit_test(test_widening),
        cmocka_unit_test(test_widening_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
