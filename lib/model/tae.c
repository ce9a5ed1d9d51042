/* SPDX-License-Identifier: MIT
 * The network, top to bottom:
 *
 *   encoder  conv in; per level: residual blocks, then (but for the last) a conv of stride 2;
 *            SiLU, conv out to 2C channels
 *   decoder  conv in; per level from the smallest: residual blocks, then (but for the last) nearest
 *            x2 and a conv; SiLU, conv out to 3 channels
 *   block    x + conv(SiLU(conv(SiLU(x)))), the second conv starting small
 *   conv     3x3 in space, then (temporal) 3 in time with replicated edge frames, which starts as the
 *            identity and carries the stride in time
 *
 * There is no group norm: at this size it made training worse (flat colour lives in the mean that it
 * removes).
 */
#include "model/tae.h"

#include "kernels/conv2d/conv2d.h"
#include "kernels/pointwise/pointwise.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void conv_make(mgi_module *m, const mgi_tae_config *c, mgi_tae_conv *conv, int64_t cin,
                      int64_t cout, float gain, const char *name)
{
    float scale = gain / sqrtf(9.0f * (float)cin);
    conv->stride = 1;
    conv->w = mgi_param_add(
        m,
        (mgi_param_spec){.init = MGI_INIT_NORMAL, .scale = scale, .decay = 1.0f, .operand = true},
        MGI_DIMS(cout, 3, 3, cin), "%s.weight", name);
    conv->b =
        mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO}, MGI_DIMS(cout), "%s.bias", name);
    if (!c->temporal)
        return;
    conv->tw = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_IDENTITY_TIME, .operand = true},
                             MGI_DIMS(cout, 3, 1, cout), "%s.time.weight", name);
    conv->tb = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO}, MGI_DIMS(cout),
                             "%s.time.bias", name);
}

static void block_make(mgi_module *m, const mgi_tae_config *c, mgi_tae_block *block,
                       int64_t channels, const char *side, int level, int index)
{
    char name[64];
    snprintf(name, sizeof name, "%s.level%d.block%d.conv1", side, level, index);
    conv_make(m, c, &block->first, channels, channels, 1.4f, name);
    snprintf(name, sizeof name, "%s.level%d.block%d.conv2", side, level, index);
    conv_make(m, c, &block->second, channels, channels, 0.1f, name);
}

static void side_make(mgi_module *m, const mgi_tae_config *c, mgi_tae_side *side, bool encoder)
{
    const char *name = encoder ? "encoder" : "decoder";
    char text[64];
    int last = c->levels - 1;
    int64_t first_in = encoder ? 3 : c->latent_channels;
    int64_t final_out = encoder ? 2 * c->latent_channels : 3;
    snprintf(text, sizeof text, "%s.in", name);
    conv_make(m, c, &side->in, first_in, c->channels[encoder ? 0 : last], 1.0f, text);
    for (int k = 0; k <= last; k++) {
        int level = encoder ? k : last - k;
        for (int i = 0; i < c->blocks; i++)
            block_make(m, c, &side->block[level][i], c->channels[level], name, level, i);
        if (k == last)
            break;
        int to = encoder ? level + 1 : level - 1;
        snprintf(text, sizeof text, "%s.level%d.%s", name, level, encoder ? "down" : "up");
        conv_make(m, c, &side->change[level], c->channels[level], c->channels[to], 1.0f, text);
        side->change[level].stride = encoder ? 2 : 1;
        side->change[level].up = !encoder;
    }
    snprintf(text, sizeof text, "%s.out", name);
    conv_make(m, c, &side->out, c->channels[encoder ? last : 0], final_out, 1.0f, text);
}

mgen_status mgi_tae_init(mgi_tae *tae, mgen_context *ctx, const mgi_tae_config *config)
{
    memset(tae, 0, sizeof *tae);
    mgi_module_init(&tae->module, ctx);
    tae->config = *config;
    side_make(&tae->module, config, &tae->encoder, true);
    mgi_module_unit(&tae->module);
    side_make(&tae->module, config, &tae->decoder, false);
    int64_t c = config->latent_channels;
    tae->latent_scale =
        mgi_param_add(&tae->module, (mgi_param_spec){.init = MGI_INIT_ONE, .frozen = true}, 1, &c,
                      "latent.scale");
    tae->latent_shift =
        mgi_param_add(&tae->module, (mgi_param_spec){.init = MGI_INIT_ZERO, .frozen = true}, 1, &c,
                      "latent.shift");
    mgen_status status = tae->module.status;
    if (status != MGEN_OK)
        mgi_tae_finish(tae);
    return status;
}

void mgi_tae_finish(mgi_tae *tae)
{
    mgi_module_finish(&tae->module);
}

int64_t mgi_tae_factor(const mgi_tae_config *config)
{
    return (int64_t)1 << (config->levels - 1);
}

int64_t mgi_tae_latent_frames(const mgi_tae_config *config, int64_t frames)
{
    int64_t factor = config->temporal ? mgi_tae_factor(config) : 1;
    return (frames + factor - 1) / factor;
}

/* -- forward ---------------------------------------------------------------------------------- */

T *mgi_tae_space(mgi_run *run, const mgi_tae_conv *c, T *x)
{
    if (c->up)
        x = mgi_resize_nearest(run, x, 2, 2);
    /* Stride 2 pads right and below only, as latent diffusion's autoencoder does. */
    int64_t before = c->stride == 2 ? 0 : 1;
    return mgi_conv2d(run, x, mgi_value(c->w), mgi_value(c->b),
                      (mgi_conv_options){.stride_h = c->stride,
                                         .stride_w = c->stride,
                                         .pad_top = before,
                                         .pad_bottom = 1,
                                         .pad_left = before,
                                         .pad_right = 1,
                                         .pad_mode = MGK_PAD_ZERO});
}

T *mgi_tae_time(mgi_run *run, const mgi_tae_conv *c, T *x, int64_t before, int64_t after)
{
    return mgi_conv2d(run, x, mgi_value(c->tw), mgi_value(c->tb),
                      (mgi_conv_options){.stride_h = c->stride,
                                         .stride_w = 1,
                                         .pad_top = before,
                                         .pad_bottom = after,
                                         .pad_mode = MGK_PAD_REPLICATE});
}

/* x (B,T,H,W,C): space first, frame by frame; then time, pixel by pixel. */
static T *conv(mgi_run *run, const mgi_tae_conv *c, T *x)
{
    if (!x)
        return NULL;
    int64_t b = x->dims[0], t = x->dims[1];
    T *y = mgi_reshape(run, x, MGI_DIMS(b * t, x->dims[2], x->dims[3], x->dims[4]));
    y = mgi_tae_space(run, c, y);
    if (!y)
        return NULL;
    int64_t h = y->dims[1], w = y->dims[2], ch = y->dims[3];
    if (c->tw) {
        if (c->up && !(y = mgi_resize_nearest(
                           run, mgi_reshape(run, y, MGI_DIMS(b, t, 1, h * w * ch)), 2, 1)))
            return NULL;
        t = c->up ? 2 * t : t;
        y = mgi_tae_time(run, c, mgi_reshape(run, y, MGI_DIMS(b, t, h * w, ch)), 1, 1);
        if (!y)
            return NULL;
        t = y->dims[1];
    }
    return mgi_reshape(run, y, MGI_DIMS(b, t, h, w, ch));
}

static T *silu(mgi_run *run, T *x)
{
    return mgi_unary(run, x, MGK_UNARY_SILU);
}

static T *block(mgi_run *run, const mgi_tae_block *b, T *x)
{
    int64_t mark = mgi_scope_push(run);
    T *h = conv(run, &b->first, silu(run, x));
    h = conv(run, &b->second, silu(run, h));
    return mgi_scope_pop(run, mark, mgi_add(run, x, h));
}

/* One conv in a scope of its own; drops its input, which nothing else uses. */
static T *step(mgi_run *run, const mgi_tae_conv *c, T *x)
{
    int64_t mark = mgi_scope_push(run);
    return mgi_scope_pop(run, mark, conv(run, c, x));
}

enum { ENCODER, DECODER }; /* units */

static T *side(mgi_run *run, const mgi_tae *tae, const mgi_tae_side *s, bool encoder, T *x)
{
    int last = tae->config.levels - 1;
    int64_t mark = mgi_scope_push(run), unit = encoder ? ENCODER : DECODER;
    mgi_unit_enter(run, (void *)&tae->module, unit);
    x = step(run, &s->in, mgi_cast(run, x, tae->module.dtype));
    for (int k = 0; k <= last; k++) {
        int level = encoder ? k : last - k;
        for (int i = 0; i < tae->config.blocks; i++) {
            T *y = block(run, &s->block[level][i], x);
            mgi_drop(run, x);
            x = y;
        }
        if (k < last) {
            T *y = step(run, &s->change[level], x);
            mgi_drop(run, x);
            x = y;
        }
    }
    x = mgi_cast(run, step(run, &s->out, silu(run, x)), MGK_F32);
    mgi_unit_exit(run, (void *)&tae->module, unit);
    return mgi_scope_pop(run, mark, x);
}

T *mgi_tae_encode(mgi_run *run, const mgi_tae *tae, T *x)
{
    int64_t f = mgi_tae_factor(&tae->config);
    if (run->status != MGEN_OK ||
        !mgi_require(run, x && x->rank == 5 && x->dims[4] == 3, "tae: x is not (B,T,H,W,3)") ||
        !mgi_require(run, x->dims[2] % f == 0 && x->dims[3] % f == 0 && x->dims[1] > 0,
                     "tae: height and width must be multiples of the spatial factor"))
        return NULL;
    return side(run, tae, &tae->encoder, true, x);
}

T *mgi_tae_decode(mgi_run *run, const mgi_tae *tae, T *z)
{
    if (run->status != MGEN_OK ||
        !mgi_require(run, z && z->rank == 5 && z->dims[4] == tae->config.latent_channels,
                     "tae: z is not (B,T,H,W,C)"))
        return NULL;
    return side(run, tae, &tae->decoder, false, z);
}

/* -- configuration ---------------------------------------------------------------------------- */

mgen_status mgi_tae_config_read(mgen_context *ctx, const mgi_json *json, mgi_tae_config *out)
{
    static const char *const keys[] = {"channels", "latent_channels", "blocks", "temporal", NULL};
    mgi_tae_config c = {.temporal = true};
    int64_t blocks = 0;
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    const mgi_json *channels = mgi_json_find(json, "channels");
    if (!channels || channels->kind != MGI_JSON_ARRAY || channels->i < 1 ||
        channels->i > MGI_TAE_LEVELS_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"channels\" must be a list of 1 to %d numbers",
                        MGI_TAE_LEVELS_MAX);
    for (const mgi_json *e = channels->child; e; e = e->next) {
        if (e->kind != MGI_JSON_INT || e->i < 1 || e->i > 65536)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"channels\" has an entry that is not 1..65536");
        c.channels[c.levels++] = e->i;
    }
    MGI_TRY(mgi_json_get_int(ctx, json, "latent_channels", true, 1, 4096, &c.latent_channels));
    MGI_TRY(mgi_json_get_int(ctx, json, "blocks", true, 1, MGI_TAE_BLOCKS_MAX, &blocks));
    MGI_TRY(mgi_json_get_bool(ctx, json, "temporal", false, &c.temporal));
    c.blocks = (int)blocks;
    *out = c;
    return MGEN_OK;
}

void mgi_tae_config_write(mgi_json_writer *w, const mgi_tae_config *c)
{
    mgi_json_open(w, "channels", '[');
    for (int i = 0; i < c->levels; i++)
        mgi_json_put_int(w, NULL, c->channels[i]);
    mgi_json_close(w, ']');
    mgi_json_put_int(w, "latent_channels", c->latent_channels);
    mgi_json_put_int(w, "blocks", c->blocks);
    mgi_json_put_bool(w, "temporal", c->temporal);
}
