/* SPDX-License-Identifier: MIT
 * The network, top to bottom; `d` dilations, `s` strides:
 *
 *   encoder  conv 7; per level: a residual unit for each d, snake, conv of 2 s taps and stride s;
 *            snake, conv 3 to the hidden width; 1x1 to 2C channels
 *   decoder  1x1 from C channels to the hidden width; conv 7; per level from the lowest rate: snake, transposed conv of
 *            2 s taps and stride s, a residual unit for each d; snake, conv 7 to one channel, tanh
 *   unit     x + conv 1(snake(conv 7 of dilation d(snake(x))))
 *
 * Time is the columns of mgi_conv2d(): views are (B,1,T,C), of a dilated convolution (B,d,T/d,C), d rows of every d-th
 * sample. A transposed convolution is one of two taps whose s C channels are s samples.
 */
#include "model/audio_codec.h"

#include "core/alloc.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/pointwise/pointwise.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Sound is quiet, 0.1 or so: what the first snake sees is near 1. */
#define QUIET 5.0f

/* Of latents, to begin with: what is decoded is not drowned in noise, which would teach the decoder to do without. */
#define LOG_VARIANCE -4.0f

/* Learning rate of the snakes' frequencies, to that of the rest: one that comes near 0 has a snake that grows as the
 * square of what it is given, and the network diverges. */
#define ALPHA_RATE 0.1f

enum { ENCODER, DECODER }; /* units */

/* -- what follows from the configuration -------------------------------------------------------- */

int64_t mgi_audio_codec_hop(const mgi_audio_codec_config *c)
{
    int64_t hop = 1;
    for (int k = 0; k < c->levels; k++)
        hop *= c->strides[k];
    return hop;
}

int64_t mgi_audio_codec_width(const mgi_audio_codec_config *c, bool encoder, int level)
{
    int64_t width = encoder ? c->dim << level : c->decoder_dim >> (c->levels - level);
    return c->widest && width > c->widest ? c->widest : width;
}

int64_t mgi_audio_codec_hidden(const mgi_audio_codec_config *c)
{
    return c->hidden ? c->hidden : mgi_audio_codec_width(c, true, c->levels);
}

/* Places beyond both ends of what a level's residual units make. */
static int64_t units_reach(const mgi_audio_codec_config *c)
{
    int64_t reach = 0;
    for (int i = 0; i < c->dilations; i++)
        reach += 3 * c->dilation[i];
    return reach;
}

/* Of a decoder: places before a stride that what reaches so far behind it looks at. */
static int64_t reach_below(int64_t reach, int64_t stride)
{
    return (reach + stride - 1) / stride + 1;
}

int64_t mgi_audio_codec_reach(const mgi_audio_codec_config *c, bool encoder)
{
    const int64_t hop = mgi_audio_codec_hop(c);
    int64_t reach = encoder ? 1 : 3; /* of the convolution that comes last */
    for (int k = c->levels - 1; encoder && k >= 0; k--)
        reach = reach * c->strides[k] + (c->strides[k] + 1) / 2 + units_reach(c);
    for (int k = 0; !encoder && k < c->levels; k++)
        reach = reach_below(reach + units_reach(c), c->strides[k]);
    return encoder ? (reach + 3 + hop - 1) / hop : reach + 3;
}

/* -- configuration ------------------------------------------------------------------------------ */

mgen_status mgi_audio_codec_config_check(mgen_context *ctx, const mgi_audio_codec_config *c)
{
    if (c->decoder_dim >> c->levels == 0 ||
        (c->decoder_dim >> c->levels) << c->levels != c->decoder_dim)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"decoder_dim\" is %lld; it is halved at each of %d strides and must be a "
                        "multiple of %d",
                        (long long)c->decoder_dim, c->levels, 1 << c->levels);
    if (mgi_audio_codec_hop(c) > 1 << 20)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"strides\" make %lld samples one latent; %d is the most",
                        (long long)mgi_audio_codec_hop(c), 1 << 20);
    return MGEN_OK;
}

mgen_status mgi_audio_codec_config_read(mgen_context *ctx, const mgi_json *json,
                                        mgi_audio_codec_config *out)
{
    static const char *const keys[] = {
        "strides",   "dim",    "decoder_dim", "widest", "latent_channels",
        "dilations", "hidden", "rate",        NULL};
    mgi_audio_codec_config c = {.rate = 48000};
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    MGI_TRY(
        mgi_json_get_ints(ctx, json, "strides", MGI_AUDIO_LEVELS_MAX, 1, 64, c.strides, &c.levels));
    MGI_TRY(mgi_json_get_ints(ctx, json, "dilations", MGI_AUDIO_UNITS_MAX, 1, 4096, c.dilation,
                              &c.dilations));
    MGI_TRY(mgi_json_get_int(ctx, json, "dim", true, 1, 4096, &c.dim));
    MGI_TRY(mgi_json_get_int(ctx, json, "decoder_dim", true, 1, 65536, &c.decoder_dim));
    MGI_TRY(mgi_json_get_int(ctx, json, "widest", false, 0, 65536, &c.widest));
    MGI_TRY(mgi_json_get_int(ctx, json, "latent_channels", true, 1, 4096, &c.latent_channels));
    MGI_TRY(mgi_json_get_int(ctx, json, "hidden", false, 0, 65536, &c.hidden));
    MGI_TRY(mgi_json_get_int(ctx, json, "rate", false, 1, 768000, &c.rate));
    MGI_TRY(mgi_audio_codec_config_check(ctx, &c));
    *out = c;
    return MGEN_OK;
}

static void write_list(mgi_json_writer *w, const char *key, const int64_t *list, int count)
{
    mgi_json_open(w, key, '[');
    for (int i = 0; i < count; i++)
        mgi_json_put_int(w, NULL, list[i]);
    mgi_json_close(w, ']');
}

void mgi_audio_codec_config_write(mgi_json_writer *w, const mgi_audio_codec_config *c)
{
    write_list(w, "strides", c->strides, c->levels);
    mgi_json_put_int(w, "dim", c->dim);
    mgi_json_put_int(w, "decoder_dim", c->decoder_dim);
    if (c->widest)
        mgi_json_put_int(w, "widest", c->widest);
    mgi_json_put_int(w, "latent_channels", c->latent_channels);
    write_list(w, "dilations", c->dilation, c->dilations);
    if (c->hidden)
        mgi_json_put_int(w, "hidden", c->hidden);
    mgi_json_put_int(w, "rate", c->rate);
}

/* -- life --------------------------------------------------------------------------------------- */

/* `to` channels of `taps` x `from` values. */
static void conv_make(mgi_module *m, mgi_audio_conv *conv, int64_t to, int64_t taps, int64_t from,
                      float gain, const char *name)
{
    const mgi_param_spec spec = {.init = MGI_INIT_NORMAL,
                                 .scale = gain / sqrtf((float)(taps * from)),
                                 .decay = 1.0f,
                                 .operand = true};
    conv->w = mgi_param_add(m, spec, MGI_DIMS(to, 1, taps, from), "%s.weight", name);
    conv->b =
        mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO}, MGI_DIMS(to), "%s.bias", name);
}

/* Of a transposed convolution: `stride` samples of `to` channels, each with its own taps and bias. */
static void up_make(mgi_module *m, mgi_audio_conv *conv, int64_t to, int64_t stride, int64_t from,
                    const char *name)
{
    conv_make(m, conv, stride * to, 2, from, 1.0f, name);
}

static mgi_param *alpha_make(mgi_module *m, int64_t channels, const char *name)
{
    mgi_param *p = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ONE}, MGI_DIMS(channels),
                                 "%s.alpha", name);
    if (p)
        p->lr_scale = ALPHA_RATE;
    return p;
}

static void unit_make(mgi_module *m, mgi_audio_unit *u, int64_t channels, const char *place, int i)
{
    char name[64];
    for (int k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "%s.unit%d.snake%d", place, i, k + 1);
        u->alpha[k] = alpha_make(m, channels, name);
        snprintf(name, sizeof name, "%s.unit%d.conv%d", place, i, k + 1);
        conv_make(m, k ? &u->second : &u->first, channels, k ? 1 : 7, channels, k ? 0.1f : 1.0f,
                  name);
    }
}

static void level_make(mgi_module *m, const mgi_audio_codec_config *c, mgi_audio_level *l,
                       bool encoder, int k)
{
    const int64_t fine = mgi_audio_codec_width(c, encoder, k), stride = c->strides[k],
                  coarse = mgi_audio_codec_width(c, encoder, k + 1);
    char place[48], name[64];
    snprintf(place, sizeof place, "%s.level%d", encoder ? "encoder" : "decoder", k);
    for (int i = 0; i < c->dilations && encoder; i++)
        unit_make(m, &l->unit[i], fine, place, i);
    snprintf(name, sizeof name, "%s.snake", place);
    l->alpha = alpha_make(m, encoder ? fine : coarse, name);
    snprintf(name, sizeof name, "%s.%s", place, encoder ? "down" : "up");
    if (encoder)
        conv_make(m, &l->change, coarse, 2 * stride, fine, 1.0f, name);
    else
        up_make(m, &l->change, fine, stride, coarse, name);
    for (int i = 0; i < c->dilations && !encoder; i++)
        unit_make(m, &l->unit[i], fine, place, i);
}

static void encoder_make(mgi_module *m, const mgi_audio_codec_config *c, mgi_audio_side *side)
{
    const int64_t hidden = mgi_audio_codec_hidden(c);
    conv_make(m, &side->in, mgi_audio_codec_width(c, true, 0), 7, 1, QUIET, "encoder.in");
    for (int k = 0; k < c->levels; k++)
        level_make(m, c, &side->level[k], true, k);
    side->alpha = alpha_make(m, mgi_audio_codec_width(c, true, c->levels), "encoder.snake");
    conv_make(m, &side->out, hidden, 3, mgi_audio_codec_width(c, true, c->levels), 1.0f,
              "encoder.out");
    conv_make(m, &side->mix, 2 * c->latent_channels, 1, hidden, 1.0f, "encoder.mix");
}

static void decoder_make(mgi_module *m, const mgi_audio_codec_config *c, mgi_audio_side *side)
{
    const int64_t hidden = mgi_audio_codec_hidden(c);
    conv_make(m, &side->mix, hidden, 1, c->latent_channels, 1.0f, "decoder.mix");
    conv_make(m, &side->in, mgi_audio_codec_width(c, false, c->levels), 7, hidden, 1.0f,
              "decoder.in");
    for (int k = c->levels - 1; k >= 0; k--)
        level_make(m, c, &side->level[k], false, k);
    side->alpha = alpha_make(m, mgi_audio_codec_width(c, false, 0), "decoder.snake");
    conv_make(m, &side->out, 1, 7, mgi_audio_codec_width(c, false, 0), 0.5f / QUIET, "decoder.out");
}

mgen_status mgi_audio_codec_init(mgi_audio_codec *codec, mgen_context *ctx,
                                 const mgi_audio_codec_config *config)
{
    mgi_module *m = &codec->module;
    memset(codec, 0, sizeof *codec);
    mgi_module_init(m, ctx);
    codec->config = *config;
    encoder_make(m, config, &codec->encoder);
    mgi_module_unit(m);
    decoder_make(m, config, &codec->decoder);
    const int64_t c = config->latent_channels;
    codec->latent_scale = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ONE, .frozen = true},
                                        1, &c, "latent.scale");
    codec->latent_shift = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO, .frozen = true},
                                        1, &c, "latent.shift");
    mgen_status status = m->status;
    if (status != MGEN_OK)
        mgi_audio_codec_finish(codec);
    return status;
}

mgen_status mgi_audio_codec_random(mgi_audio_codec *codec, uint64_t seed)
{
    const int64_t c = codec->config.latent_channels;
    T *bias = codec->encoder.mix.b->value;
    MGI_TRY(mgi_module_random(&codec->module, seed));
    for (int64_t i = c; i < 2 * c; i++)
        mgi_tensor_write(bias, i, &(float){LOG_VARIANCE}, 1);
    return MGEN_OK;
}

void mgi_audio_codec_finish(mgi_audio_codec *codec)
{
    mgi_module_finish(&codec->module);
}

static mgen_status codec_fits(mgen_context *shapes, const void *config, const void *model)
{
    const mgi_model_file *file = model;
    mgi_audio_codec network;
    MGI_TRY(mgi_audio_codec_init(&network, shapes, config));
    mgen_status status = mgi_module_fits(&network.module, &file->weights, file->weights_name);
    mgi_audio_codec_finish(&network);
    return status;
}

mgen_status mgi_audio_codec_open(mgen_context *ctx, const char *dir, const char *name,
                                 mgi_audio_codec *out, uint64_t *hash)
{
    mgi_model_file f;
    mgi_audio_codec_config config;
    memset(out, 0, sizeof *out);
    MGI_TRY(mgi_model_file_open(ctx, dir, name, "audio-codec", &f));
    mgen_status status = mgi_audio_codec_config_read(ctx, f.config, &config);
    if (status != MGEN_OK)
        status = mgi_fail_context(ctx, status, "%s/%s", dir, f.json_name);
    else if ((status = mgi_model_file_fits(ctx, codec_fits, &config, &f)) == MGEN_OK &&
             (status = mgi_audio_codec_init(out, ctx, &config)) == MGEN_OK)
        status = mgi_module_load(&out->module, &f.weights, f.weights_name, false);
    *hash = f.hash;
    if (status != MGEN_OK)
        mgi_audio_codec_finish(out);
    mgi_model_file_close(ctx, &f);
    return status;
}

/* -- forward ------------------------------------------------------------------------------------ */

/* x (B,1,T,C) -> (B,1,T',C'); zeros: so many in front and behind. */
static T *conv(mgi_run *run, const mgi_audio_conv *c, T *x, int64_t stride, int64_t front,
               int64_t behind)
{
    return mgi_conv2d(run, x, mgi_value(c->w), mgi_value(c->b),
                      (mgi_conv_options){.stride_h = 1,
                                         .stride_w = stride,
                                         .pad_left = front,
                                         .pad_right = behind,
                                         .pad_mode = MGK_PAD_ZERO});
}

/* The same of one tap, which is a product of matrices. */
static T *mix(mgi_run *run, const mgi_audio_conv *c, T *x)
{
    return conv(run, c, x, 1, 0, 0);
}

static T *snake(mgi_run *run, const mgi_param *alpha, T *x)
{
    return mgi_snake(run, x, mgi_value(alpha));
}

/* x (B,1,T,C) with zeros behind, so that `multiple` divides T. */
static T *padded(mgi_run *run, T *x, int64_t multiple)
{
    int64_t b = x->dims[0], t = x->dims[2], c = x->dims[3];
    int64_t more = (multiple - t % multiple) % multiple;
    T **part = NULL, *zeros = NULL, *y = NULL;
    if (more == 0)
        return x;
    if (!mgi_ok(run, mgi_alloc(run->ctx, 2 * (size_t)b * sizeof(T *), &part)))
        return NULL;
    zeros = mgi_new(run, x->dtype, MGI_DIMS(more, c));
    mgi_fill(run, zeros, 0.0f);
    for (int64_t i = 0; i < b && run->status == MGEN_OK; i++) {
        T *one = mgi_slice(run, x, 0, i, 1);
        part[2 * i] = one ? mgi_reshape(run, one, MGI_DIMS(t, c)) : NULL;
        part[2 * i + 1] = zeros;
    }
    if (run->status == MGEN_OK)
        y = mgi_concat(run, part, (int)(2 * b));
    mgi_free(run->ctx, part);
    return y ? mgi_reshape(run, y, MGI_DIMS(b, 1, t + more, c)) : NULL;
}

/* Seven taps, d apart, of x (B,1,T,C). */
static T *dilated(mgi_run *run, const mgi_audio_conv *c, T *x, int64_t d)
{
    static const int32_t swap[] = {0, 2, 1, 3};
    if (!x || d == 1)
        return conv(run, c, x, 1, 3, 3);
    int64_t b = x->dims[0], t = x->dims[2], ch = x->dims[3];
    T *y = padded(run, x, d);
    int64_t all = y ? y->dims[2] : 0;
    y = y ? mgi_permute(run, mgi_reshape(run, y, MGI_DIMS(b, all / d, d, ch)), swap) : NULL;
    y = mgi_permute(run, conv(run, c, y, 1, 3, 3), swap);
    y = y ? mgi_reshape(run, y, MGI_DIMS(b, 1, all, ch)) : NULL;
    return y && all > t ? mgi_slice(run, y, 2, 0, t) : y;
}

static T *unit(mgi_run *run, const mgi_audio_unit *u, T *x, int64_t d)
{
    int64_t mark = mgi_scope_push(run);
    T *h = dilated(run, &u->first, snake(run, u->alpha[0], x), d);
    h = mix(run, &u->second, snake(run, u->alpha[1], h));
    return mgi_scope_pop(run, mark, mgi_add(run, x, h));
}

/* Each takes x. */
static T *units(mgi_run *run, const mgi_audio_codec_config *c, const mgi_audio_level *l, T *x)
{
    for (int i = 0; i < c->dilations; i++) {
        T *y = unit(run, &l->unit[i], x, c->dilation[i]);
        mgi_drop(run, x);
        x = y;
    }
    return x;
}

static T *down(mgi_run *run, const mgi_audio_level *l, T *x, int64_t stride)
{
    int64_t mark = mgi_scope_push(run), front = (stride + 1) / 2;
    T *y = conv(run, &l->change, snake(run, l->alpha, x), stride, front, stride - front);
    y = mgi_scope_pop(run, mark, y);
    mgi_drop(run, x);
    return y;
}

/* The places from..to - 1 of all that x becomes; *to too large: up to the end. */
static T *up(mgi_run *run, const mgi_audio_level *l, T *x, int64_t stride, int64_t from, int64_t to)
{
    int64_t mark = mgi_scope_push(run);
    T *y = conv(run, &l->change, snake(run, l->alpha, x), 1, 1, 1);
    if (y) {
        int64_t b = y->dims[0], t = y->dims[2] * stride, ch = y->dims[3] / stride;
        int64_t last = to < t - stride ? to : t - stride;
        y = mgi_slice(run, mgi_reshape(run, y, MGI_DIMS(b, 1, t, ch)), 2, (stride + 1) / 2 + from,
                      last - from);
    }
    y = mgi_scope_pop(run, mark, y);
    mgi_drop(run, x);
    return y;
}

/* The last of both sides, and the first: each takes x. */
static T *end(mgi_run *run, const mgi_audio_side *s, T *x, int64_t taps)
{
    int64_t mark = mgi_scope_push(run);
    T *y = conv(run, &s->out, snake(run, s->alpha, x), 1, taps / 2, taps / 2);
    y = mgi_scope_pop(run, mark, y);
    mgi_drop(run, x);
    return y;
}

static T *encoded(mgi_run *run, const mgi_audio_codec *codec, T *x)
{
    const mgi_audio_codec_config *c = &codec->config;
    const mgi_audio_side *s = &codec->encoder;
    x = conv(run, &s->in, mgi_cast(run, x, codec->module.dtype), 1, 3, 3);
    for (int k = 0; k < c->levels; k++)
        x = down(run, &s->level[k], units(run, c, &s->level[k], x), c->strides[k]);
    return mgi_cast(run, mix(run, &s->mix, end(run, s, x, 3)), MGK_F32);
}

/* Of every level only what the samples of latents first..first + count - 1 look at. */
static T *decoded(mgi_run *run, const mgi_audio_codec *codec, T *z, int64_t first, int64_t count)
{
    const mgi_audio_codec_config *c = &codec->config;
    const mgi_audio_side *s = &codec->decoder;
    int64_t looks[MGI_AUDIO_LEVELS_MAX], reach = 3, begin = 0, rate = 1;
    for (int k = 0; k < c->levels; k++) {
        looks[k] = reach + units_reach(c);
        reach = reach_below(looks[k], c->strides[k]);
    }
    T *x = conv(run, &s->in, mix(run, &s->mix, mgi_cast(run, z, codec->module.dtype)), 1, 3, 3);
    for (int k = c->levels - 1; k >= 0; k--) {
        begin *= c->strides[k];
        rate *= c->strides[k];
        int64_t from = first * rate - looks[k] - begin,
                to = (first + count) * rate + looks[k] - begin;
        from = from > 0 ? from : 0;
        x = units(run, c, &s->level[k], up(run, &s->level[k], x, c->strides[k], from, to));
        begin += from;
    }
    x = end(run, s, x, 7);
    if (x && x->dims[2] != count * rate)
        x = mgi_slice(run, x, 2, first * rate - begin, count * rate);
    return mgi_unary(run, mgi_cast(run, x, MGK_F32), MGK_UNARY_TANH);
}

/* x (B,n,C) -> (B,m,C'), m and C' as they come out; of a decoder's latents `count`, from `first` on. */
static T *side(mgi_run *run, const mgi_audio_codec *codec, int64_t which, T *x, int64_t first,
               int64_t count)
{
    void *module = (void *)&codec->module;
    int64_t mark = mgi_scope_push(run);
    mgi_unit_enter(run, module, which);
    x = mgi_reshape(run, x, MGI_DIMS(x->dims[0], 1, x->dims[1], x->dims[2]));
    T *y = which == ENCODER ? encoded(run, codec, x) : decoded(run, codec, x, first, count);
    y = y ? mgi_reshape(run, y, MGI_DIMS(y->dims[0], y->dims[2], y->dims[3])) : NULL;
    mgi_unit_exit(run, module, which);
    return mgi_scope_pop(run, mark, y);
}

T *mgi_audio_codec_encode(mgi_run *run, const mgi_audio_codec *codec, T *x)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->rank == 3 && x->dims[2] == 1 && x->dtype == MGK_F32,
                     "audio codec: x is not (B,N,1) f32") ||
        !mgi_require(run, x->dims[1] > 0 && x->dims[1] % mgi_audio_codec_hop(&codec->config) == 0,
                     "audio codec: samples must be a multiple of the hop"))
        return NULL;
    return side(run, codec, ENCODER, x, 0, 0);
}

T *mgi_audio_codec_decode(mgi_run *run, const mgi_audio_codec *codec, T *z)
{
    return mgi_audio_codec_decode_part(run, codec, z, 0, z && z->rank == 3 ? z->dims[1] : 0);
}

T *mgi_audio_codec_decode_part(mgi_run *run, const mgi_audio_codec *codec, T *z, int64_t first,
                               int64_t count)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, z && z->rank == 3 && z->dims[2] == codec->config.latent_channels,
                     "audio codec: z is not (B,T,C)") ||
        !mgi_require(run, first >= 0 && count > 0 && count <= z->dims[1] - first,
                     "audio codec: z has no such part"))
        return NULL;
    return side(run, codec, DECODER, z, first, count);
}

/* -- the host's numbers ------------------------------------------------------------------------- */

/* scale, then shift, in memory of who runs the codec, whose it may not be. */
static mgen_status read_scale(mgen_context *ctx, const mgi_audio_codec *codec, float **out)
{
    const int64_t c = codec->config.latent_channels;
    MGI_TRY(mgi_alloc(ctx, 2 * (size_t)c * sizeof **out, out));
    mgi_tensor_read(codec->latent_scale->value, 0, *out, c);
    mgi_tensor_read(codec->latent_shift->value, 0, *out + c, c);
    return MGEN_OK;
}

mgen_status mgi_audio_codec_normalised(const mgi_audio_codec *codec, const T *z, float *out)
{
    const int64_t c = codec->config.latent_channels;
    mgen_context *ctx = z->storage->dev->ctx;
    float *scale;
    MGI_TRY(read_scale(ctx, codec, &scale));
    mgi_tensor_read(z, 0, out, z->count);
    for (int64_t i = 0; i < z->count; i++)
        out[i] = (out[i] - scale[c + i % c]) * scale[i % c];
    mgi_free(ctx, scale);
    return mgi_device_wait(z->storage->dev);
}

T *mgi_audio_codec_latents(mgi_run *run, const mgi_audio_codec *codec, const float *latents,
                           int64_t frames)
{
    const int64_t c = codec->config.latent_channels, count = frames * c;
    float *scale, *values;
    T *z = mgi_new(run, MGK_F32, MGI_DIMS(1, frames, c));
    if (!z || run->dev->meta)
        return z;
    if (!mgi_ok(run, read_scale(run->ctx, codec, &scale)))
        return NULL;
    if (mgi_ok(run, mgi_alloc(run->ctx, (size_t)count * sizeof *values, &values))) {
        for (int64_t i = 0; i < count; i++)
            values[i] = latents[i] / scale[i % c] + scale[c + i % c];
        mgi_tensor_write(z, 0, values, count);
        mgi_free(run->ctx, values);
    }
    mgi_free(run->ctx, scale);
    return run->status == MGEN_OK ? z : NULL;
}
