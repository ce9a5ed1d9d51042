/* SPDX-License-Identifier: MIT
 * The audio codec: its network against a definition in plain loops, its gradients, sounds in pieces, its files. */
#include "core/philox.h"
#include "kernels/loss/loss.h"
#include "task/audio_codec_run.h"

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
#include "test_folder.h"

/* Odd and even strides, and dilations that no level's length is a multiple of. */
static const mgi_audio_codec_config config = {.levels = 3,
                                              .strides = {2, 3, 1},
                                              .dim = 2,
                                              .decoder_dim = 16,
                                              .widest = 7,
                                              .latent_channels = 3,
                                              .dilations = 2,
                                              .dilation = {1, 4},
                                              .hidden = 5,
                                              .rate = 48000};
enum { HOP = 6 };

static void make_codec(mgi_audio_codec *codec, mgen_context *ctx)
{
    assert_int_equal(mgi_audio_codec_init(codec, ctx, &config), MGEN_OK);
    assert_int_equal(mgi_module_random(&codec->module, 2), MGEN_OK);
    randomise(&codec->module, 0.1f);
}

/* -- the definition ----------------------------------------------------------------------------- */

/* A sound of so many places and channels, which its user frees. */
typedef struct sound {
    int64_t n, c;
    double *v;
} sound;

static sound sound_make(int64_t n, int64_t c)
{
    sound s = {n, c, calloc((size_t)(n * c), sizeof *s.v)};
    assert_non_null(s.v);
    return s;
}

static const float *values(const mgi_param *p)
{
    return mgi_f32(p->value);
}

/* Each takes x. */
static sound snake(const mgi_param *alpha, sound x)
{
    for (int64_t i = 0; i < x.n * x.c; i++) {
        double a = (double)values(alpha)[i % x.c], s = sin(a * x.v[i]);
        x.v[i] += s * s / (a + 1e-9);
    }
    return x;
}

static sound conv(const mgi_audio_conv *c, sound x, int64_t taps, int64_t stride, int64_t dilation,
                  int64_t front, int64_t n)
{
    sound y = sound_make(n, c->w->dims[0]);
    for (int64_t i = 0; i < n; i++)
        for (int64_t o = 0; o < y.c; o++) {
            double sum = (double)values(c->b)[o];
            for (int64_t k = 0; k < taps; k++) {
                int64_t at = i * stride + k * dilation - front;
                for (int64_t j = 0; j < x.c && at >= 0 && at < x.n; j++)
                    sum += x.v[at * x.c + j] * (double)values(c->w)[(o * taps + k) * x.c + j];
            }
            y.v[i * y.c + o] = sum;
        }
    free(x.v);
    return y;
}

/* Each place adds 2 stride samples, half of which are its neighbour's too; the first ones are cut. */
static sound transposed(const mgi_audio_conv *c, sound x, int64_t stride)
{
    sound y = sound_make(x.n * stride, c->w->dims[0] / stride);
    int64_t cut = (stride + 1) / 2;
    for (int64_t i = 0; i < y.n; i++)
        for (int64_t o = 0; o < y.c; o++)
            y.v[i * y.c + o] = (double)values(c->b)[(i + cut) % stride * y.c + o];
    for (int64_t i = 0; i < x.n; i++)
        for (int64_t k = 0; k < 2 * stride; k++) {
            int64_t at = i * stride + k - cut;
            for (int64_t o = 0; o < y.c && at >= 0 && at < y.n; o++) {
                const float *w = values(c->w) + ((k % stride * y.c + o) * 2 + (k < stride)) * x.c;
                for (int64_t j = 0; j < x.c; j++)
                    y.v[at * y.c + o] += x.v[i * x.c + j] * (double)w[j];
            }
        }
    free(x.v);
    return y;
}

static sound unit(const mgi_audio_unit *u, sound x, int64_t d)
{
    sound h = sound_make(x.n, x.c);
    memcpy(h.v, x.v, (size_t)(x.n * x.c) * sizeof *h.v);
    h = conv(&u->first, snake(u->alpha[0], h), 7, 1, d, 3 * d, x.n);
    h = conv(&u->second, snake(u->alpha[1], h), 1, 1, 1, 0, x.n);
    for (int64_t i = 0; i < x.n * x.c; i++)
        h.v[i] += x.v[i];
    free(x.v);
    return h;
}

static sound encode(const mgi_audio_codec *codec, sound x)
{
    const mgi_audio_codec_config *c = &codec->config;
    const mgi_audio_side *s = &codec->encoder;
    x = conv(&s->in, x, 7, 1, 1, 3, x.n);
    for (int k = 0; k < c->levels; k++) {
        const mgi_audio_level *l = &s->level[k];
        int64_t stride = c->strides[k];
        for (int i = 0; i < c->dilations; i++)
            x = unit(&l->unit[i], x, c->dilation[i]);
        x = snake(l->alpha, x);
        x = conv(&l->change, x, 2 * stride, stride, 1, (stride + 1) / 2, x.n / stride);
    }
    x = conv(&s->out, snake(s->alpha, x), 3, 1, 1, 1, x.n);
    return conv(&s->mix, x, 1, 1, 1, 0, x.n);
}

static sound decode(const mgi_audio_codec *codec, sound x)
{
    const mgi_audio_codec_config *c = &codec->config;
    const mgi_audio_side *s = &codec->decoder;
    x = conv(&s->mix, x, 1, 1, 1, 0, x.n);
    x = conv(&s->in, x, 7, 1, 1, 3, x.n);
    for (int k = c->levels - 1; k >= 0; k--) {
        const mgi_audio_level *l = &s->level[k];
        x = transposed(&l->change, snake(l->alpha, x), c->strides[k]);
        for (int i = 0; i < c->dilations; i++)
            x = unit(&l->unit[i], x, c->dilation[i]);
    }
    x = conv(&s->out, snake(s->alpha, x), 7, 1, 1, 3, x.n);
    for (int64_t i = 0; i < x.n; i++)
        x.v[i] = tanh(x.v[i]);
    return x;
}

/* Element b of a batch (B,n,c). */
static sound of_batch(const T *x, int64_t b)
{
    sound s = sound_make(x->dims[1], x->dims[2]);
    for (int64_t i = 0; i < s.n * s.c; i++)
        s.v[i] = (double)mgi_f32(x)[b * s.n * s.c + i];
    return s;
}

static void assert_batch(const T *x, int64_t b, sound s)
{
    double error = 0.0, size = 0.0;
    assert_non_null(x);
    assert_int_equal(x->dims[1], s.n);
    assert_int_equal(x->dims[2], s.c);
    for (int64_t i = 0; i < s.n * s.c; i++) {
        error = fmax(error, fabs((double)mgi_f32(x)[b * s.n * s.c + i] - s.v[i]));
        size = fmax(size, fabs(s.v[i]));
    }
    if (error > 1e-5 * size)
        fail_msg("differs by %g, of %g", error, size);
    free(s.v);
}

static void test_definition(void **state)
{
    enum { BATCH = 2, FRAMES = 5 };
    (void)state;
    mgen_context *ctx = make_context();
    mgi_audio_codec codec;
    mgi_run run;
    make_codec(&codec, ctx);
    assert_int_equal(mgi_audio_codec_hop(&config), HOP);
    mgi_run_init(&run, ctx, false);
    T *x = random_tensor(&run, 1, MGI_DIMS(BATCH, FRAMES * HOP, 1));
    T *z = random_tensor(&run, 2, MGI_DIMS(BATCH, FRAMES, config.latent_channels));
    T *h = mgi_audio_codec_encode(&run, &codec, x), *y = mgi_audio_codec_decode(&run, &codec, z);
    assert_int_equal(run.status, MGEN_OK);
    assert_int_equal(h->dims[2], 2 * config.latent_channels);
    for (int64_t b = 0; b < BATCH; b++) {
        assert_batch(h, b, encode(&codec, of_batch(x, b)));
        assert_batch(y, b, decode(&codec, of_batch(z, b)));
    }
    mgi_run_finish(&run);
    mgi_audio_codec_finish(&codec);
    mgen_context_destroy(ctx);
}

/* -- gradients ---------------------------------------------------------------------------------- */

static double loss_of(mgen_context *ctx, const mgi_audio_codec *codec, bool backward)
{
    mgi_run run;
    mgi_run_init(&run, ctx, backward);
    T *x = random_tensor(&run, 1, MGI_DIMS(2, 4 * HOP, 1));
    T *kl, *noise = random_tensor(&run, 2, MGI_DIMS(2 * 4 * config.latent_channels));
    T *h = mgi_audio_codec_encode(&run, codec, x);
    T *y = mgi_audio_codec_decode(&run, codec, mgi_posterior(&run, h, noise, 0.1f, &kl));
    T *loss = mgi_add(&run, mgi_loss(&run, MGK_LOSS_MSE, 1.0f, y, x), kl);
    assert_int_equal(run.status, MGEN_OK);
    double value = (double)mgi_f32(loss)[0];
    if (backward)
        assert_int_equal(mgi_backward(&run, loss), MGEN_OK);
    mgi_run_finish(&run);
    return value;
}

static double direction(int64_t k, int64_t i)
{
    return (double)mgi_random_normal(5, 100 + (uint64_t)k, (uint64_t)i);
}

/* Each parameter's gradient along a random direction, against differences. */
static void test_gradients(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_audio_codec codec;
    make_codec(&codec, ctx);
    mgi_module *m = &codec.module;
    assert_int_equal(mgi_module_train(m), MGEN_OK);
    loss_of(ctx, &codec, true);
    for (int64_t k = 0; k < m->count; k++) {
        const mgi_param *p = m->params[k];
        float *v = mgi_f32(p->value);
        double slope = 0.0, size = 0.0, at[2];
        if (p->frozen)
            continue;
        const float *grad = mgi_f32(p->value->var->grad);
        for (int64_t i = 0; i < p->value->count; i++) {
            slope += (double)grad[i] * direction(k, i);
            size += (double)grad[i] * (double)grad[i];
        }
        assert_true(size > 0.0);
        const double e = 1e-3;
        for (int side = 0; side < 2; side++) {
            for (int64_t i = 0; i < p->value->count; i++)
                v[i] += (float)((side ? -2.0 : 1.0) * e * direction(k, i));
            at[side] = loss_of(ctx, &codec, false);
        }
        for (int64_t i = 0; i < p->value->count; i++)
            v[i] += (float)(e * direction(k, i));
        double found = (at[0] - at[1]) / (2.0 * e);
        if (fabs(found - slope) > 0.02 * sqrt(size) + 2e-3 * fabs(slope) + 1e-4)
            fail_msg("%s: tape %.7g, differences %.7g (size %.3g)", p->name, slope, found,
                     sqrt(size));
    }
    mgi_audio_codec_finish(&codec);
    mgen_context_destroy(ctx);
}

/* -- pieces ------------------------------------------------------------------------------------- */

typedef struct host_sound {
    float *v;
    int64_t count, next; /* samples; of those that came, in order */
    int calls, most;     /* before it refuses */
} host_sound;

static mgen_status give(void *user, int64_t first, int64_t count, float *out)
{
    host_sound *s = user;
    assert_true(first >= 0 && count > 0 && first + count <= s->count);
    memcpy(out, s->v + first, (size_t)count * sizeof *out);
    return s->calls++ < s->most ? MGEN_OK : MGEN_E_CANCELLED;
}

static mgen_status take(void *user, int64_t first, int64_t count, const float *in)
{
    host_sound *s = user;
    assert_int_equal(first, s->next);
    assert_true(count > 0 && first + count <= s->count);
    memcpy(s->v + first, in, (size_t)count * sizeof *in);
    s->next += count;
    return s->calls++ < s->most ? MGEN_OK : MGEN_E_CANCELLED;
}

/* In pieces of 192 latents, the last of which is cut short, and as a whole. */
static void compare_pieces(mgen_context *ctx, const mgi_audio_codec *codec, int64_t samples)
{
    const int64_t frames = mgi_audio_frames(codec, samples), c = config.latent_channels;
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    T *x = random_tensor(&run, 7, MGI_DIMS(1, frames * HOP, 1));
    for (int64_t i = samples; i < frames * HOP; i++)
        mgi_f32(x)[i] = 0.0f;
    host_sound in = {mgi_f32(x), samples, 0, 0, 100};
    float *latents = calloc((size_t)(frames * c), sizeof *latents);
    float *whole = calloc((size_t)(frames * c), sizeof *whole);
    assert_non_null(latents);
    assert_non_null(whole);
    assert_int_equal(mgi_audio_encode_sound(ctx, codec, samples, give, &in, latents), MGEN_OK);
    T *z = mgi_posterior(&run, mgi_audio_codec_encode(&run, codec, x), NULL, 0.0f, NULL);
    assert_int_equal(mgi_audio_codec_normalised(codec, z, whole), MGEN_OK);
    assert_memory_equal(latents, whole, (size_t)(frames * c) * sizeof *whole);
    assert_int_equal(in.calls, (frames + 191) / 192);

    host_sound out = {calloc((size_t)(frames * HOP), sizeof(float)), frames * HOP, 0, 0, 100};
    assert_int_equal(mgi_audio_decode_sound(ctx, codec, latents, frames, take, &out), MGEN_OK);
    assert_int_equal(out.next, frames * HOP);
    T *y =
        mgi_audio_codec_decode(&run, codec, mgi_audio_codec_latents(&run, codec, latents, frames));
    assert_int_equal(run.status, MGEN_OK);
    assert_memory_equal(out.v, mgi_f32(y), (size_t)(frames * HOP) * sizeof(float));
    free(out.v);
    free(whole);
    free(latents);
    mgi_run_finish(&run);
}

static void test_pieces(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_audio_codec codec;
    make_codec(&codec, ctx);
    for (int64_t i = 0; i < config.latent_channels; i++) {
        mgi_f32(codec.latent_scale->value)[i] = 2.0f + (float)i;
        mgi_f32(codec.latent_shift->value)[i] = 0.5f - (float)i;
    }
    compare_pieces(ctx, &codec, 1);
    compare_pieces(ctx, &codec, 192 * HOP);
    compare_pieces(ctx, &codec, (2 * 192 + 53) * HOP - 2);
    float latents[200 * 3] = {0}, room[200 * HOP] = {0};
    host_sound s = {room, 200 * HOP, 0, 0, 1};
    assert_int_equal(mgi_audio_encode_sound(ctx, &codec, 0, give, &s, latents), MGEN_E_INVALID);
    assert_int_equal(mgi_audio_encode_sound(ctx, &codec, 200 * HOP, give, &s, latents),
                     MGEN_E_CANCELLED);
    s.calls = 0;
    assert_int_equal(mgi_audio_decode_sound(ctx, &codec, latents, 200, take, &s), MGEN_E_CANCELLED);
    assert_int_equal(s.calls, 2);
    mgi_audio_codec_finish(&codec);
    mgen_context_destroy(ctx);
}

/* Of a sound of so many latents: what the device took at most. */
static uint64_t memory_of(int64_t frames)
{
    mgen_context *ctx = make_context();
    mgi_audio_codec codec;
    make_codec(&codec, ctx);
    const int64_t samples = frames * HOP;
    host_sound s = {calloc((size_t)samples, sizeof(float)), samples, 0, 0, 1000};
    float *latents = calloc((size_t)(frames * config.latent_channels), sizeof *latents);
    assert_non_null(s.v);
    assert_non_null(latents);
    assert_int_equal(mgi_audio_encode_sound(ctx, &codec, samples, give, &s, latents), MGEN_OK);
    assert_int_equal(mgi_audio_decode_sound(ctx, &codec, latents, frames, take, &s), MGEN_OK);
    const uint64_t peak = ctx->device->counts.total_peak;
    free(latents);
    free(s.v);
    mgi_audio_codec_finish(&codec);
    mgen_context_destroy(ctx);
    return peak;
}

/* It does not grow with the sound, but for some workspace. */
static void test_memory(void **state)
{
    (void)state;
    const uint64_t of_short = memory_of(200), of_long = memory_of(2000);
    if (of_long > of_short + of_short / 10)
        fail_msg("%llu bytes, and of ten times as long a sound %llu", (unsigned long long)of_short,
                 (unsigned long long)of_long);
}

/* What lies further from a latent than the reach does not count, and the reach is no longer than it must be (a latent
 * more, for rounding up). */
static void test_reach(void **state)
{
    enum { FRAMES = 80, AT = 40 };
    (void)state;
    mgen_context *ctx = make_context();
    mgi_audio_codec codec;
    mgi_run run;
    make_codec(&codec, ctx);
    mgi_run_init(&run, ctx, false);
    T *x = random_tensor(&run, 1, MGI_DIMS(1, FRAMES * HOP, 1)), *was[2], *is[2];
    T *z = random_tensor(&run, 2, MGI_DIMS(1, FRAMES, config.latent_channels));
    for (int changed = 0; changed < 2; changed++) {
        T **to = changed ? is : was;
        to[0] = mgi_audio_codec_encode(&run, &codec, x);
        to[1] = mgi_audio_codec_decode(&run, &codec, z);
        for (int64_t i = 0; i < HOP; i++)
            mgi_f32(x)[AT * HOP + i] += 1.0f;
        for (int64_t i = 0; i < config.latent_channels; i++)
            mgi_f32(z)[AT * config.latent_channels + i] += 1.0f;
    }
    assert_int_equal(run.status, MGEN_OK);
    for (int side = 0; side < 2; side++) {
        int64_t furthest = 0, each = was[side]->count / FRAMES;
        for (int64_t i = 0; i < was[side]->count; i++)
            if (mgi_f32(was[side])[i] != mgi_f32(is[side])[i])
                furthest = llabs(i / each - AT) > furthest ? llabs(i / each - AT) : furthest;
        int64_t reach = mgi_audio_codec_reach(&config, side == 0);
        if (furthest > reach || furthest < reach - 2)
            fail_msg("side %d: %lld latents away, and the reach is %lld", side, (long long)furthest,
                     (long long)reach);
    }
    mgi_run_finish(&run);
    mgi_audio_codec_finish(&codec);
    mgen_context_destroy(ctx);
}

/* -- configuration and files -------------------------------------------------------------------- */

static mgen_status read_config(mgen_context *ctx, const char *text, mgi_audio_codec_config *out)
{
    mgi_json *json;
    assert_int_equal(mgi_json_parse(ctx, "text", text, strlen(text), &json), MGEN_OK);
    mgen_status status = mgi_audio_codec_config_read(ctx, json, out);
    mgi_json_free(ctx, json);
    return status;
}

static void test_config(void **state)
{
    static const struct {
        const char *members, *said;
    } refused[] = {
        {"\"strides\":[4],\"dim\":4,\"decoder_dim\":8,\"latent_channels\":2",
         "\"dilations\" must be"},
        {"\"strides\":[4,0],\"dim\":4,\"decoder_dim\":8,\"latent_channels\":2,\"dilations\":[1]",
         "\"strides\" has an entry that is not 1..64"},
        {"\"strides\":[4,2],\"dim\":4,\"decoder_dim\":6,\"latent_channels\":2,\"dilations\":[1]",
         "must be a multiple of 4"},
        {"\"strides\":[64,64,64,64],\"dim\":4,\"decoder_dim\":16,\"latent_channels\":2,"
         "\"dilations\":[1]",
         "16777216 samples one latent"},
        {"\"strides\":[4],\"dim\":4,\"decoder_dim\":8,\"latent_channels\":2,\"dilations\":[1],"
         "\"norm\":1",
         "\"norm\""},
    };
    (void)state;
    mgen_context *ctx = make_context();
    mgi_audio_codec_config c;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "{%s}", refused[i].members);
        assert_int_equal(read_config(ctx, text, &c), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), refused[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), refused[i].said);
    }
    /* the published network's sizes (facebookresearch/dacvae) */
    assert_int_equal(read_config(ctx,
                                 "{\"strides\":[2,8,10,12],\"dim\":64,\"decoder_dim\":1536,"
                                 "\"latent_channels\":128,\"dilations\":[1,3,9]}",
                                 &c),
                     MGEN_OK);
    assert_int_equal(mgi_audio_codec_hop(&c), 1920);
    assert_int_equal(mgi_audio_codec_hidden(&c), 1024);
    assert_int_equal(mgi_audio_codec_width(&c, false, 0), 96);
    assert_int_equal(mgi_audio_codec_width(&c, false, 4), 1536);
    mgen_context_destroy(ctx);
}

static void write_config(mgi_json_writer *w, const void *c)
{
    mgi_audio_codec_config_write(w, c);
}

/* A saved codec opens as what it was; not if its file has other weights than the configuration asks for. */
static void test_files(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    mgi_audio_codec codec, opened;
    mgi_audio_codec_config other = config;
    char difference[256];
    uint64_t hash = 0;
    make_codec(&codec, ctx);
    assert_int_equal(mgi_model_file_save(ctx, folder, "codec", "audio-codec", write_config, &config,
                                         &codec.module, MGI_ST_F32),
                     MGEN_OK);
    assert_int_equal(mgi_audio_codec_open(ctx, folder, "codec", &opened, &hash), MGEN_OK);
    assert_true(hash != 0);
    assert_int_equal(mgi_config_difference(ctx, write_config, &config, &opened.config, difference,
                                           sizeof difference),
                     MGEN_OK);
    assert_string_equal(difference, "");
    for (int64_t k = 0; k < codec.module.count; k++) {
        const T *a = codec.module.params[k]->value, *b = opened.module.params[k]->value;
        assert_memory_equal(mgi_f32(a), mgi_f32(b), (size_t)a->count * sizeof(float));
    }
    mgi_audio_codec_finish(&opened);
    other.hidden = 4;
    assert_int_equal(mgi_model_file_save(ctx, folder, "other", "audio-codec", write_config, &other,
                                         &codec.module, MGI_ST_F32),
                     MGEN_OK);
    assert_int_equal(mgi_audio_codec_open(ctx, folder, "other", &opened, &hash), MGEN_E_CORRUPT);
    assert_int_equal(mgi_audio_codec_open(ctx, folder, "none", &opened, &hash), MGEN_E_NOT_FOUND);
    mgi_audio_codec_finish(&codec);
    mgen_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition), cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_pieces),     cmocka_unit_test(test_reach),
        cmocka_unit_test(test_memory),     cmocka_unit_test(test_config),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
