/* SPDX-License-Identifier: MIT
 * The network, top to bottom:
 *
 *   encoder  conv in; per level: residual blocks, then (but for the last) a conv of stride 2; middle;
 *            act, conv out to 2C channels
 *   decoder  conv in; middle; per level from the smallest: residual blocks, then (but for the last)
 *            nearest x2 and a conv (in one where no gradient is asked for: tae_up.h); act, conv out to 3 channels
 *   block    x + conv(act(conv(act(x)))), the second conv starting small; latent diffusion's first one of a
 *            level changes the width, with a 1x1 around it, which here the convs between levels do
 *   act      SiLU, after a group norm if there is one, over each frame
 *   conv     3x3 in space, then (temporal) 3 in time with replicated edge frames, which starts as the
 *            identity and carries the stride in time
 *   mix      if configured: a 1x1 conv behind the encoder, one before the decoder, over their latents' channels
 *   middle   nothing or, with attention: block, attention in space, (temporal) in time, block
 *
 * The toybox's model has no group norm: flat colour lives in the mean that it removes.
 */
#include "model/tae.h"

#include "core/alloc.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/pointwise/pointwise.h"
#include "model/tae_up.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NORM_EPS 1e-6f
enum {
    HEAD_MAX = 256,
    SCORES_MAX = 1 << 22 /* of a head wider than that, held at a time */
};

static void conv_make(mgi_module *m, const mgi_tae_config *c, mgi_tae_conv *conv, int64_t cin,
                      int64_t cout, float gain, const char *name)
{
    float scale = gain / sqrtf(9.0f * (float)cin);
    conv->stride = conv->time_stride = 1;
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

static void norm_make(mgi_module *m, mgi_tae_norm *norm, int64_t channels, int64_t groups,
                      const char *name)
{
    norm->groups = groups;
    norm->w = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ONE}, MGI_DIMS(channels),
                            "%s.weight", name);
    norm->b = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO}, MGI_DIMS(channels),
                            "%s.bias", name);
}

static void block_make(mgi_module *m, const mgi_tae_config *c, mgi_tae_block *block, int64_t cin,
                       int64_t channels, const char *place)
{
    char name[64];
    for (int i = 0; i < 2; i++) {
        int64_t from = i ? channels : cin;
        if (c->groups) {
            snprintf(name, sizeof name, "%s.norm%d", place, i + 1);
            norm_make(m, &block->norm[i], from, c->groups, name);
        }
        snprintf(name, sizeof name, "%s.conv%d", place, i + 1);
        conv_make(m, c, i ? &block->second : &block->first, from, channels, i ? 0.1f : 1.4f, name);
    }
    if (cin == channels)
        return;
    const mgi_param_spec spec = {
        .init = MGI_INIT_NORMAL, .scale = 1.0f / sqrtf((float)cin), .decay = 1.0f, .operand = true};
    block->around_w = mgi_param_add(m, spec, MGI_DIMS(channels, cin), "%s.around.weight", place);
    block->around_b = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO}, MGI_DIMS(channels),
                                    "%s.around.bias", place);
}

/* Heads as few as the kernel's widest allows. */
static int64_t head_count(int64_t channels)
{
    int64_t heads = (channels + HEAD_MAX - 1) / HEAD_MAX;
    while (channels % heads)
        heads++;
    return heads;
}

static void attention_make(mgi_module *m, const mgi_tae_config *c, mgi_tae_attention *a,
                           int64_t channels, int64_t heads, float gain, const char *place)
{
    mgi_param_spec spec = {.init = MGI_INIT_NORMAL, .decay = 1.0f, .operand = true};
    char name[64];
    spec.scale = 1.0f / sqrtf((float)channels);
    a->heads = heads;
    snprintf(name, sizeof name, "%s.norm", place);
    norm_make(m, &a->norm, channels, c->groups ? c->groups : 1, name);
    a->qkv_w = mgi_param_add(m, spec, MGI_DIMS(3 * channels, channels), "%s.qkv.weight", place);
    a->qkv_b = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO}, MGI_DIMS(3 * channels),
                             "%s.qkv.bias", place);
    spec.scale *= gain;
    a->out_w = mgi_param_add(m, spec, MGI_DIMS(channels, channels), "%s.out.weight", place);
    a->out_b = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO}, MGI_DIMS(channels),
                             "%s.out.bias", place);
}

static void middle_make(mgi_module *m, const mgi_tae_config *c, mgi_tae_middle *middle,
                        int64_t channels, const char *side)
{
    char place[64];
    snprintf(place, sizeof place, "%s.middle.block0", side);
    block_make(m, c, &middle->first, channels, channels, place);
    snprintf(place, sizeof place, "%s.middle.attention", side);
    attention_make(m, c, &middle->space, channels, c->ldm ? 1 : head_count(channels), 0.1f, place);
    if (c->temporal) {
        snprintf(place, sizeof place, "%s.middle.attention.time", side);
        attention_make(m, c, &middle->time, channels, head_count(channels), 0.0f, place);
    }
    snprintf(place, sizeof place, "%s.middle.block1", side);
    block_make(m, c, &middle->second, channels, channels, place);
}

static void side_make(mgi_module *m, const mgi_tae_config *c, mgi_tae_side *side, bool encoder)
{
    const char *name = encoder ? "encoder" : "decoder";
    char text[64];
    int last = c->levels - 1;
    int64_t first_in = encoder ? 3 : c->latent_channels;
    int64_t final_out = encoder ? 2 * c->latent_channels : 3;
    int64_t width[MGI_TAE_LEVELS_MAX] = {0};
    for (int k = 0; k <= last; k++)
        width[k] = mgi_tae_width(c, encoder, k);
    int64_t before = width[encoder ? 0 : last];
    snprintf(text, sizeof text, "%s.in", name);
    conv_make(m, c, &side->in, first_in, before, 1.0f, text);
    if (c->attention && !encoder)
        middle_make(m, c, &side->middle, width[last], name);
    for (int k = 0; k <= last; k++) {
        int level = encoder ? k : last - k;
        for (int i = 0; i < mgi_tae_blocks(c, encoder); i++) {
            snprintf(text, sizeof text, "%s.level%d.block%d", name, level, i);
            block_make(m, c, &side->block[level][i], i ? width[level] : before, width[level], text);
        }
        if (k == last)
            break;
        int to = encoder ? level + 1 : level - 1;
        before = width[c->ldm ? level : to]; /* what the next level begins with */
        snprintf(text, sizeof text, "%s.level%d.%s", name, level, encoder ? "down" : "up");
        conv_make(m, c, &side->change[level], width[level], before, 1.0f, text);
        bool times = c->temporal && !c->keeps_time[encoder ? level : to];
        side->change[level].stride = encoder ? 2 : 1;
        side->change[level].time_stride = encoder && times ? 2 : 1;
        side->change[level].up = !encoder;
        side->change[level].time_up = !encoder && times;
    }
    if (c->attention && encoder)
        middle_make(m, c, &side->middle, width[last], name);
    if (c->groups) {
        snprintf(text, sizeof text, "%s.norm_out", name);
        norm_make(m, &side->norm_out, width[encoder ? last : 0], c->groups, text);
    }
    snprintf(text, sizeof text, "%s.out", name);
    conv_make(m, c, &side->out, width[encoder ? last : 0], final_out, 1.0f, text);
    if (!c->mixes)
        return;
    int64_t mixed = encoder ? final_out : first_in;
    const mgi_param_spec spec = {.init = MGI_INIT_NORMAL,
                                 .scale = 1.0f / sqrtf((float)mixed),
                                 .decay = 1.0f,
                                 .operand = true};
    side->mix_w = mgi_param_add(m, spec, MGI_DIMS(mixed, mixed), "%s.mix.weight", name);
    side->mix_b = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO}, MGI_DIMS(mixed),
                                "%s.mix.bias", name);
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

mgen_status mgi_tae_fits(mgen_context *shapes, const void *config, const void *model)
{
    const mgi_model_file *file = model;
    mgi_tae network;
    MGI_TRY(mgi_tae_init(&network, shapes, config));
    mgen_status status = mgi_module_fits(&network.module, &file->weights, file->weights_name);
    mgi_tae_finish(&network);
    return status;
}

/* -- forward ---------------------------------------------------------------------------------- */

mgi_tae_place mgi_tae_whole(int64_t height, int64_t width)
{
    return (mgi_tae_place){{{0, height, height}, {0, width, width}}};
}

/* Stride 2 pads right and below only, as latent diffusion's autoencoder does. */
static int64_t pad_before(const mgi_tae_conv *c, const struct mgi_tae_span *s)
{
    return c->stride == 1 && s->first == 0;
}

static int64_t pad_after(const struct mgi_tae_span *s)
{
    return s->first + s->count == s->all;
}

mgi_tae_place mgi_tae_after(const mgi_tae_conv *c, mgi_tae_place place)
{
    for (int i = 0; i < 2; i++) {
        struct mgi_tae_span s = place.side[i];
        int64_t scale = c->up ? 2 : 1, before = pad_before(c, &s), after = pad_after(&s);
        s.count = (scale * s.count + before + after - 3) / c->stride + 1;
        s.first = (scale * s.first + (c->stride == 1) - before) / c->stride;
        s.all = scale * s.all / c->stride;
        place.side[i] = s;
    }
    return place;
}

mgi_tae_place mgi_tae_before(const mgi_tae_conv *c, mgi_tae_place place)
{
    for (int i = 0; i < 2; i++) {
        struct mgi_tae_span *s = &place.side[i];
        int64_t scale = c->up ? 2 : 1, all = s->all * c->stride;
        int64_t first = s->first * c->stride - (c->stride == 1);
        int64_t end = (s->first + s->count) * c->stride + 1;
        first = (first < 0 ? 0 : first) / scale;
        end = ((end < all ? end : all) + scale - 1) / scale;
        *s = (struct mgi_tae_span){first, end - first, all / scale};
    }
    return place;
}

/* As mgi_tae_space, without the outermost pixels where the frame goes on. */
static T *enlarged(mgi_run *run, const mgi_tae_conv *c, T *to, T *x, const mgi_tae_place *place)
{
    int64_t first[2], more[2];
    for (int i = 0; i < 2; i++) {
        first[i] = !pad_before(c, &place->side[i]);
        more[i] = first[i] + !pad_after(&place->side[i]);
    }
    bool whole = more[0] == 0 && more[1] == 0;
    T *y = mgi_tae_up_space(run, whole ? to : NULL, x, c->w->value, mgi_value(c->b));
    for (int i = 0; i < 2 && y; i++) {
        T *all = y;
        if (!more[i])
            continue;
        y = mgi_slice(run, all, 1 + i, first[i], all->dims[1 + i] - more[i]);
        mgi_drop(run, all);
    }
    if (!to || whole || !y)
        return y;
    mgi_copy(run, to, 0, y, 0, y->count);
    mgi_drop(run, y);
    return to;
}

T *mgi_tae_space(mgi_run *run, const mgi_tae_conv *c, T *to, T *x, const mgi_tae_place *place)
{
    const struct mgi_tae_span *rows = &place->side[0], *columns = &place->side[1];
    const mgi_conv_options o = {.stride_h = c->stride,
                                .stride_w = c->stride,
                                .pad_top = pad_before(c, rows),
                                .pad_bottom = pad_after(rows),
                                .pad_left = pad_before(c, columns),
                                .pad_right = pad_after(columns),
                                .pad_mode = MGK_PAD_ZERO};
    if (c->up && !run->record)
        return enlarged(run, c, to, x, place);
    if (to)
        return mgi_conv2d_to(run, to, x, mgi_value(c->w), mgi_value(c->b), o);
    if (c->up)
        x = mgi_resize_nearest(run, x, 2, 2);
    return mgi_conv2d(run, x, mgi_value(c->w), mgi_value(c->b), o);
}

static T *conv_time(mgi_run *run, const mgi_tae_conv *c, T *x, int64_t before, int64_t after)
{
    return mgi_conv2d(run, x, mgi_value(c->tw), mgi_value(c->tb),
                      (mgi_conv_options){.stride_h = c->time_stride,
                                         .stride_w = 1,
                                         .pad_top = before,
                                         .pad_bottom = after,
                                         .pad_mode = MGK_PAD_REPLICATE});
}

T *mgi_tae_time(mgi_run *run, const mgi_tae_conv *c, T *x, int64_t before, int64_t after)
{
    return c->time_up ? mgi_tae_up_time(run, x, c->tw->value, mgi_value(c->tb), before, after)
                      : conv_time(run, c, x, before, after);
}

/* Of all frames, x (B,T,HW,C). */
static T *whole_time(mgi_run *run, const mgi_tae_conv *c, T *x)
{
    if (!c->time_up)
        return conv_time(run, c, x, 1, 1);
    if (run->record && x) {
        int64_t b = x->dims[0], t = x->dims[1], pixels = x->dims[2], ch = x->dims[3];
        x = mgi_resize_nearest(run, mgi_reshape(run, x, MGI_DIMS(b, t, 1, pixels * ch)), 2, 1);
        return conv_time(run, c, mgi_reshape(run, x, MGI_DIMS(b, 2 * t, pixels, ch)), 1, 1);
    }
    T *y = mgi_tae_time(run, c, x, 1, 1);
    return y ? mgi_slice(run, y, 1, 1, y->dims[1] - 2) : NULL;
}

/* (B,T,H,W,C) as (B T,H,W,C). */
static T *as_frames(mgi_run *run, T *x)
{
    return x ? mgi_reshape(run, x,
                           MGI_DIMS(x->dims[0] * x->dims[1], x->dims[2], x->dims[3], x->dims[4]))
             : NULL;
}

/* x (B,T,H,W,C): space first, frame by frame; then time, pixel by pixel. */
static T *conv(mgi_run *run, const mgi_tae_conv *c, T *x)
{
    if (!x)
        return NULL;
    int64_t b = x->dims[0], t = x->dims[1];
    const mgi_tae_place place = mgi_tae_whole(x->dims[2], x->dims[3]);
    T *y = mgi_tae_space(run, c, NULL, as_frames(run, x), &place);
    if (!y)
        return NULL;
    int64_t h = y->dims[1], w = y->dims[2], ch = y->dims[3];
    if (c->tw) {
        y = whole_time(run, c, mgi_reshape(run, y, MGI_DIMS(b, t, h * w, ch)));
        if (!y)
            return NULL;
        t = y->dims[1];
    }
    return mgi_reshape(run, y, MGI_DIMS(b, t, h, w, ch));
}

T *mgi_tae_activate(mgi_run *run, const mgi_tae_norm *n, T *x)
{
    return n->w ? mgi_group_norm(run, x, n->groups, NORM_EPS, n->w->value, n->b->value, true)
                : mgi_unary(run, x, MGK_UNARY_SILU);
}

T *mgi_tae_activate_part(mgi_run *run, const mgi_tae_norm *n, T *x, const mgi_norm_table *table,
                         int64_t first)
{
    return mgi_group_norm_shared(run, x, table, first, NORM_EPS, n->w->value, n->b->value, true);
}

static T *act(mgi_run *run, const mgi_tae_norm *n, T *x)
{
    T *y = mgi_tae_activate(run, n, as_frames(run, x));
    return y ? mgi_reshape(run, y, 5, x->dims) : NULL;
}

T *mgi_tae_mix(mgi_run *run, const mgi_tae_side *s, T *x)
{
    return s->mix_w && x ? mgi_linear(run, x, mgi_value(s->mix_w), mgi_value(s->mix_b)) : x;
}

T *mgi_tae_around(mgi_run *run, const mgi_tae_block *b, T *x)
{
    return b->around_w && x ? mgi_linear(run, x, mgi_value(b->around_w), mgi_value(b->around_b))
                            : x;
}

static T *block(mgi_run *run, const mgi_tae_block *b, T *x)
{
    int64_t mark = mgi_scope_push(run);
    T *h = conv(run, &b->first, act(run, &b->norm[0], x));
    h = conv(run, &b->second, act(run, &b->norm[1], h));
    return mgi_scope_pop(run, mark, mgi_add(run, mgi_tae_around(run, b, x), h));
}

/* Rows first .. first + count - 1 of softmax(q k^T) v, with q, k (S,C) and the columns of v (C,S): as many at a time as
 * have some room for their scores. */
static T *rows_attended(mgi_run *run, T *q, T *k, T *v, int64_t first, int64_t count)
{
    int64_t mark = mgi_scope_push(run), half = count / 2;
    if (count > 1 && count * k->dims[0] > SCORES_MAX) {
        T *const parts[] = {rows_attended(run, q, k, v, first, half),
                            rows_attended(run, q, k, v, first + half, count - half)};
        return mgi_scope_pop(run, mark, mgi_concat(run, parts, 2));
    }
    T *p = mgi_linear_as(run, mgi_slice(run, q, 0, first, count), k, NULL, MGK_F32);
    p = mgi_cast(run, mgi_softmax(run, p), q->dtype);
    return mgi_scope_pop(run, mark, mgi_linear(run, p, v, NULL));
}

/* Attention with one head, wider than the kernel's, of sequences first .. first + count - 1 of qkv (N,S,3C):
 * (count,S,C). */
static T *wide_attended(mgi_run *run, T *qkv, int64_t first, int64_t count)
{
    static const int32_t swap[] = {0, 2, 1};
    int64_t mark = mgi_scope_push(run), half = count / 2, s = qkv->dims[1], c = qkv->dims[2] / 3;
    if (count > 1) {
        T *const parts[] = {wide_attended(run, qkv, first, half),
                            wide_attended(run, qkv, first + half, count - half)};
        return mgi_scope_pop(run, mark, mgi_concat(run, parts, 2));
    }
    T *part[3], *one = mgi_slice(run, qkv, 0, first, 1), *scale = mgi_new(run, MGK_F32, 1, &c);
    T *zero = mgi_new(run, MGK_F32, 1, &c), *y = NULL;
    if (run->status != MGEN_OK)
        return NULL;
    mgi_fill(run, scale, 1.0f / sqrtf((float)c));
    mgi_fill(run, zero, 0.0f);
    for (int i = 0; i < 3; i++)
        part[i] = mgi_slice(run, one, 2, i * c, c);
    part[0] = mgi_channel_affine(run, part[0], scale, zero);
    part[2] = mgi_permute(run, part[2], swap);
    for (int i = 0; i < 3 && part[i]; i++)
        part[i] = mgi_reshape(run, part[i], MGI_DIMS(i < 2 ? s : c, i < 2 ? c : s));
    if (run->status == MGEN_OK)
        y = rows_attended(run, part[0], part[1], part[2], 0, s);
    return mgi_scope_pop(run, mark, y ? mgi_reshape(run, y, MGI_DIMS(1, s, c)) : NULL);
}

/* What attention adds, from normalised sequences (N,S,C). */
static T *attended(mgi_run *run, const mgi_tae_attention *a, T *x)
{
    T *qkv = mgi_linear(run, x, mgi_value(a->qkv_w), mgi_value(a->qkv_b));
    if (!qkv)
        return NULL;
    int64_t c = x->dims[2], heads = a->heads, width = c / heads;
    if (width > HEAD_MAX)
        return mgi_linear(run, wide_attended(run, qkv, 0, x->dims[0]), mgi_value(a->out_w),
                          mgi_value(a->out_b));
    qkv = mgi_reshape(run, qkv, MGI_DIMS(x->dims[0], x->dims[1], 3, heads, width));
    T *y = mgi_self_attention(run, qkv, NULL, NULL, 1.0f / sqrtf((float)width));
    return mgi_linear(run, y, mgi_value(a->out_w), mgi_value(a->out_b));
}

static T *normed(mgi_run *run, const mgi_tae_norm *n, T *x)
{
    return mgi_group_norm(run, x, n->groups, NORM_EPS, n->w->value, n->b->value, false);
}

T *mgi_tae_attend(mgi_run *run, const mgi_tae_attention *a, T *x)
{
    if (!x)
        return NULL;
    int64_t mark = mgi_scope_push(run);
    T *h = normed(run, &a->norm, x);
    if (h)
        h = mgi_reshape(run, h, MGI_DIMS(x->dims[0], x->dims[1] * x->dims[2], x->dims[3]));
    h = attended(run, a, h);
    return mgi_scope_pop(run, mark, h ? mgi_add(run, x, mgi_reshape(run, h, 4, x->dims)) : NULL);
}

/* Attention over the frames of each pixel. */
static T *attend_in_time(mgi_run *run, const mgi_tae_attention *a, T *x)
{
    static const int32_t swap[] = {0, 2, 1, 3};
    if (!x)
        return NULL;
    int64_t mark = mgi_scope_push(run), b = x->dims[0], t = x->dims[1], c = x->dims[4],
            pixels = x->dims[2] * x->dims[3];
    T *h = normed(run, &a->norm, as_frames(run, x));
    h = h ? mgi_permute(run, mgi_reshape(run, h, MGI_DIMS(b, t, pixels, c)), swap) : NULL;
    h = h ? attended(run, a, mgi_reshape(run, h, MGI_DIMS(b * pixels, t, c))) : NULL;
    h = h ? mgi_permute(run, mgi_reshape(run, h, MGI_DIMS(b, pixels, t, c)), swap) : NULL;
    return mgi_scope_pop(run, mark, h ? mgi_add(run, x, mgi_reshape(run, h, 5, x->dims)) : NULL);
}

/* Takes x. */
static T *middle(mgi_run *run, const mgi_tae_middle *m, T *x)
{
    int64_t mark = mgi_scope_push(run);
    T *h = block(run, &m->first, x);
    T *y = mgi_tae_attend(run, &m->space, as_frames(run, h));
    y = y ? mgi_reshape(run, y, 5, h->dims) : NULL;
    if (m->time.qkv_w)
        y = attend_in_time(run, &m->time, y);
    y = mgi_scope_pop(run, mark, block(run, &m->second, y));
    mgi_drop(run, x);
    return y;
}

/* One conv in a scope of its own; drops its input, which nothing else uses. */
static T *step(mgi_run *run, const mgi_tae_conv *c, T *x)
{
    int64_t mark = mgi_scope_push(run);
    return mgi_scope_pop(run, mark, conv(run, c, x));
}

T *mgi_tae_head(mgi_run *run, const mgi_tae *tae, T *z)
{
    T *x = mgi_tae_mix(run, &tae->decoder, mgi_cast(run, z, tae->module.dtype));
    x = step(run, &tae->decoder.in, x);
    return tae->config.attention ? middle(run, &tae->decoder.middle, x) : x;
}

T *mgi_tae_rest(mgi_run *run, const mgi_tae *tae, T *x)
{
    const mgi_tae_side *s = &tae->encoder;
    if (tae->config.attention)
        x = middle(run, &s->middle, x);
    return mgi_tae_mix(run, s, step(run, &s->out, act(run, &s->norm_out, x)));
}

enum { ENCODER, DECODER }; /* units */

static T *side(mgi_run *run, const mgi_tae *tae, const mgi_tae_side *s, bool encoder, T *x)
{
    int last = tae->config.levels - 1;
    int64_t mark = mgi_scope_push(run), unit = encoder ? ENCODER : DECODER;
    mgi_unit_enter(run, (void *)&tae->module, unit);
    x = encoder ? step(run, &s->in, mgi_cast(run, x, tae->module.dtype))
                : mgi_tae_head(run, tae, x);
    for (int k = 0; k <= last; k++) {
        int level = encoder ? k : last - k;
        for (int i = 0; i < mgi_tae_blocks(&tae->config, encoder); i++) {
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
    x = encoder ? mgi_tae_rest(run, tae, x) : step(run, &s->out, act(run, &s->norm_out, x));
    x = mgi_cast(run, x, MGK_F32);
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

mgen_status mgi_tae_normalised(const mgi_tae *tae, const T *z, float *out)
{
    int64_t c = tae->config.latent_channels;
    mgen_context *ctx = z->storage->dev->ctx; /* of who runs it, whose the TAE may not be */
    float *shift, *scale;
    MGI_TRY(mgi_alloc(ctx, 2 * (size_t)c * sizeof *shift, &shift));
    scale = shift + c;
    mgi_tensor_read(tae->latent_shift->value, 0, shift, c);
    mgi_tensor_read(tae->latent_scale->value, 0, scale, c);
    mgi_tensor_read(z, 0, out, z->count);
    for (int64_t i = 0; i < z->count; i++)
        out[i] = (out[i] - shift[i % c]) * scale[i % c];
    mgi_free(ctx, shift);
    return mgi_device_wait(z->storage->dev);
}
