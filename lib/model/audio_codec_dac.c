/* SPDX-License-Identifier: MIT */
#include "model/audio_codec_dac.h"

#include "io/path.h"
#include "model/hf_weights.h"

#include <stdio.h>
#include <string.h>

static const char config_name[] = "config.json";

/* -- config.json -------------------------------------------------------------------------------- */

/* A list of strides; *count: how many, or how many there must be. */
static mgen_status read_ratios(mgen_context *ctx, const mgi_json *root, const char *key,
                               int64_t out[MGI_AUDIO_LEVELS_MAX], int *count)
{
    return mgi_json_find(root, key)
               ? mgi_json_get_ints(ctx, root, key, MGI_AUDIO_LEVELS_MAX, 1, 64, out, count)
               : MGEN_OK;
}

mgen_status mgi_audio_codec_dac_config_read(mgen_context *ctx, const mgi_json *root,
                                            mgi_audio_codec_config *out)
{
    mgi_audio_codec_config c = {.levels = 4,
                                .strides = {2, 4, 8, 8},
                                .dim = 64,
                                .decoder_dim = 1536,
                                .latent_channels = 1,
                                .dilations = 3,
                                .dilation = {1, 3, 9},
                                .hidden = 1024,
                                .rate = 16000};
    int64_t up[MGI_AUDIO_LEVELS_MAX] = {8, 8, 4, 2};
    const char *type = "";
    int levels = 4;
    if (root->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "is not a JSON object");
    MGI_TRY(mgi_json_get_string(ctx, root, "model_type", true, &type));
    if (strcmp(type, "dac"))
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "\"model_type\" is \"%.40s\"; of audio codecs \"dac\" is read", type);
    MGI_TRY(read_ratios(ctx, root, "downsampling_ratios", c.strides, &c.levels));
    MGI_TRY(read_ratios(ctx, root, "upsampling_ratios", up, &levels));
    MGI_TRY(mgi_json_get_int(ctx, root, "encoder_hidden_size", false, 1, 4096, &c.dim));
    MGI_TRY(mgi_json_get_int(ctx, root, "decoder_hidden_size", false, 1, 65536, &c.decoder_dim));
    MGI_TRY(mgi_json_get_int(ctx, root, "hidden_size", false, 1, 65536, &c.hidden));
    MGI_TRY(mgi_json_get_int(ctx, root, "sampling_rate", false, 1, 768000, &c.rate));
    bool mirrored = levels == c.levels;
    for (int k = 0; k < levels && mirrored; k++)
        mirrored = up[k] == c.strides[levels - 1 - k];
    if (!mirrored)
        return mgi_fail(
            ctx, MGEN_E_UNSUPPORTED,
            "\"upsampling_ratios\" are not \"downsampling_ratios\" from the last to the "
            "first");
    MGI_TRY(mgi_audio_codec_config_check(ctx, &c));
    if (c.hidden == mgi_audio_codec_width(&c, true, c.levels))
        c.hidden = 0;
    *out = c;
    return MGEN_OK;
}

static mgen_status read_config_file(mgen_context *ctx, const char *folder, mgi_audio_codec_dac *d)
{
    mgi_json *root;
    MGI_TRY(mgi_model_json(ctx, folder, config_name, &root, &d->hash));
    mgen_status status = mgi_audio_codec_dac_config_read(ctx, root, &d->config);
    mgi_json_free(ctx, root);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s", config_name);
}

/* -- weights ------------------------------------------------------------------------------------ */

/* (1,C,1). */
static void take_alpha(mgi_hf_weights *r, mgi_param *alpha, const char *place, const char *which)
{
    const int64_t c = alpha->dims[0], dims[] = {1, c, 1};
    char name[128];
    snprintf(name, sizeof name, "%s.%s.alpha", place, which);
    mgi_hf_take_turned(r, alpha, 3, dims, c, 1, name);
}

/* (out,in,taps). */
static void take_conv(mgi_hf_weights *r, const mgi_audio_conv *c, const char *place,
                      const char *which)
{
    const int64_t taps = c->w->dims[2], in = c->w->dims[3], dims[] = {c->w->dims[0], in, taps};
    char name[128];
    snprintf(name, sizeof name, "%s.%s.weight", place, which);
    mgi_hf_take_turned(r, c->w, 3, dims, in, taps, name);
    mgi_hf_take(r, c->b, 0, 1, "%s.%s.bias", place, which);
}

/* Of a transposed convolution: (in,out,2 stride), where here are (stride out,1,2,in), the tap of the place before first;
 * and (out), where here are (stride out). */
typedef struct up_dims {
    int64_t out, stride, in;
} up_dims;

static int64_t up_weight(const void *user, int64_t i)
{
    const up_dims *d = user;
    int64_t from = i % d->in, tap = i / d->in % 2, row = i / (2 * d->in);
    int64_t sample = row / d->out + (tap ? 0 : d->stride);
    return (from * d->out + row % d->out) * 2 * d->stride + sample;
}

static int64_t up_bias(const void *user, int64_t i)
{
    const up_dims *d = user;
    return i % d->out;
}

static void take_up(mgi_hf_weights *r, const mgi_audio_conv *c, int64_t stride, const char *place)
{
    const up_dims d = {c->w->dims[0] / stride, stride, c->w->dims[3]};
    char name[128];
    snprintf(name, sizeof name, "%s.conv_t1.weight", place);
    mgi_hf_take_placed(r, c->w, 3, (int64_t[]){d.in, d.out, 2 * stride}, up_weight, &d, name);
    snprintf(name, sizeof name, "%s.conv_t1.bias", place);
    mgi_hf_take_placed(r, c->b, 1, &d.out, up_bias, &d, name);
}

static void take_units(mgi_hf_weights *r, const mgi_audio_codec_config *c, const mgi_audio_level *l,
                       const char *block)
{
    char place[96];
    for (int i = 0; i < c->dilations; i++) {
        snprintf(place, sizeof place, "%s.res_unit%d", block, i + 1);
        take_alpha(r, l->unit[i].alpha[0], place, "snake1");
        take_conv(r, &l->unit[i].first, place, "conv1");
        take_alpha(r, l->unit[i].alpha[1], place, "snake2");
        take_conv(r, &l->unit[i].second, place, "conv2");
    }
}

static void take_side(mgi_hf_weights *r, const mgi_audio_codec_config *c,
                      const mgi_audio_side *side, bool encoder)
{
    const char *name = encoder ? "encoder" : "decoder";
    char block[64];
    take_conv(r, &side->in, name, "conv1");
    for (int i = 0; i < c->levels; i++) {
        int level = encoder ? i : c->levels - 1 - i;
        const mgi_audio_level *l = &side->level[level];
        snprintf(block, sizeof block, "%s.block.%d", name, i);
        take_units(r, c, l, block);
        take_alpha(r, l->alpha, block, "snake1");
        if (encoder)
            take_conv(r, &l->change, block, "conv1");
        else
            take_up(r, &l->change, c->strides[level], block);
    }
    take_alpha(r, side->alpha, name, "snake1");
    take_conv(r, &side->out, name, "conv2");
}

static mgen_status read_weights(mgen_context *ctx, const mgi_audio_codec *codec,
                                const mgi_st_set *set, bool check)
{
    static const char *const passed[] = {"quantizer.", NULL};
    mgi_hf_weights r;
    mgi_hf_weights_init(&r, ctx, &codec->module, set, check);
    take_side(&r, &codec->config, &codec->encoder, true);
    take_side(&r, &codec->config, &codec->decoder, false);
    return mgi_hf_weights_finish(&r, passed, "audio codec");
}

static mgen_status fits(mgen_context *shapes, const void *config, const void *set)
{
    mgi_audio_codec network;
    MGI_TRY(mgi_audio_codec_init(&network, shapes, config));
    mgen_status status = read_weights(shapes, &network, set, true);
    mgi_audio_codec_finish(&network);
    return status;
}

/* -- the folder --------------------------------------------------------------------------------- */

mgen_status mgi_audio_codec_dac_open(mgen_context *ctx, const char *dir, const char *name,
                                     mgi_audio_codec_dac *out)
{
    char folder[MGI_PATH_MAX + 1];
    memset(out, 0, sizeof *out);
    MGI_TRY(mgi_folder_in(ctx, dir, name, folder, sizeof folder));
    mgen_status status = read_config_file(ctx, folder, out);
    if (status == MGEN_OK)
        status = mgi_st_set_open(ctx, folder, "model", &out->weights);
    if (status == MGEN_OK)
        status = mgi_model_file_fits(ctx, fits, &out->config, &out->weights);
    if (status == MGEN_OK)
        status = mgi_hf_hash(ctx, &out->weights, &out->hash);
    if (status == MGEN_OK)
        return status;
    status = mgi_fail_context(ctx, status, "%s", folder);
    mgi_audio_codec_dac_close(ctx, out);
    return status;
}

void mgi_audio_codec_dac_close(mgen_context *ctx, mgi_audio_codec_dac *d)
{
    mgi_st_set_close(ctx, &d->weights);
}

mgen_status mgi_audio_codec_dac_load(mgi_audio_codec *codec, const mgi_audio_codec_dac *d)
{
    return read_weights(codec->module.ctx, codec, &d->weights, false);
}
