/* SPDX-License-Identifier: MIT
 * The configuration of the TAE: as JSON, and what follows from it. */
#include "model/tae.h"

#include <string.h>

static const char ldm_structure[] = "latent-diffusion";

int64_t mgi_tae_width(const mgi_tae_config *c, bool encoder, int level)
{
    int64_t own = encoder ? 0 : c->decoder_channels[level];
    return own ? own : c->channels[level];
}

int mgi_tae_blocks(const mgi_tae_config *c, bool encoder)
{
    return c->blocks + (c->ldm && !encoder);
}

int64_t mgi_tae_factor(const mgi_tae_config *c)
{
    return (int64_t)1 << (c->levels - 1);
}

int64_t mgi_tae_time_factor(const mgi_tae_config *c)
{
    int64_t factor = 1;
    for (int k = 0; c->temporal && k < c->levels - 1; k++)
        factor *= c->keeps_time[k] ? 1 : 2;
    return factor;
}

int64_t mgi_tae_latent_frames(const mgi_tae_config *c, int64_t frames)
{
    int64_t factor = mgi_tae_time_factor(c);
    return (frames + factor - 1) / factor;
}

static mgen_status read_decoder(mgen_context *ctx, const mgi_json *json, mgi_tae_config *c)
{
    int count;
    if (!mgi_json_find(json, "decoder_channels"))
        return MGEN_OK;
    MGI_TRY(mgi_json_get_ints(ctx, json, "decoder_channels", MGI_TAE_LEVELS_MAX, 1, 65536,
                              c->decoder_channels, &count));
    if (count != c->levels)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"decoder_channels\" has %d entries; \"channels\" has %d", count,
                        c->levels);
    if (!memcmp(c->decoder_channels, c->channels, sizeof c->channels))
        memset(c->decoder_channels, 0, sizeof c->decoder_channels);
    return MGEN_OK;
}

static mgen_status read_time_strides(mgen_context *ctx, const mgi_json *json, mgi_tae_config *c)
{
    int64_t stride[MGI_TAE_LEVELS_MAX];
    int count;
    if (!mgi_json_find(json, "time_strides"))
        return MGEN_OK;
    MGI_TRY(mgi_json_get_ints(ctx, json, "time_strides", MGI_TAE_LEVELS_MAX, 1, 2, stride, &count));
    if (count != c->levels - 1)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"time_strides\" has %d entries; between %d levels there are %d", count,
                        c->levels, c->levels - 1);
    for (int k = 0; k < count; k++)
        c->keeps_time[k] = stride[k] == 1;
    return MGEN_OK;
}

static mgen_status read_norm(mgen_context *ctx, const mgi_json *json, mgi_tae_config *c)
{
    const char *norm = "none";
    MGI_TRY(mgi_json_get_string(ctx, json, "norm", false, &norm));
    if (strcmp(norm, "none") && strcmp(norm, "group"))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"norm\" is \"%.40s\"; known are \"none\" and \"group\"", norm);
    if (!strcmp(norm, "none"))
        return mgi_json_find(json, "groups")
                   ? mgi_fail(ctx, MGEN_E_CORRUPT, "\"groups\" needs \"norm\": \"group\"")
                   : MGEN_OK;
    c->groups = 32;
    MGI_TRY(mgi_json_get_int(ctx, json, "groups", false, 1, 65536, &c->groups));
    for (int k = 0; k < 2 * c->levels; k++) {
        bool encoder = k < c->levels;
        int64_t width = mgi_tae_width(c, encoder, k % c->levels);
        if (width % c->groups)
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "\"%schannels\" has %lld, which %lld \"groups\" do not divide",
                            encoder ? "" : "decoder_", (long long)width, (long long)c->groups);
    }
    return MGEN_OK;
}

static mgen_status read_tiles(mgen_context *ctx, const mgi_json *json, mgi_tae_config *c)
{
    static const char *const keys[] = {"frames", "overlap", NULL};
    const mgi_json *tiles = mgi_json_find(json, "tiles");
    int64_t factor = mgi_tae_time_factor(c);
    if (!tiles)
        return MGEN_OK;
    if (tiles->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"tiles\" must be an object");
    MGI_TRY(mgi_json_only_keys(ctx, tiles, keys));
    MGI_TRY(mgi_json_get_int(ctx, tiles, "frames", true, 1, 65536, &c->tile_frames));
    MGI_TRY(mgi_json_get_int(ctx, tiles, "overlap", true, 0, 65536, &c->tile_overlap));
    if (c->tile_frames % factor || c->tile_overlap % factor || c->tile_overlap >= c->tile_frames)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"tiles\" of %lld frames that overlap by %lld: both must be multiples of "
                        "%lld, and the overlap less",
                        (long long)c->tile_frames, (long long)c->tile_overlap, (long long)factor);
    return MGEN_OK;
}

static mgen_status read_space_tile(mgen_context *ctx, const mgi_json *json, mgi_tae_config *c)
{
    int64_t f = mgi_tae_factor(c),
            step = f > 1 ? f : 2; /* even, for formats with half the chroma */
    MGI_TRY(mgi_json_get_int(ctx, json, "space_tile", false, 1, 65536, &c->space_tile));
    if (c->space_tile % step)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"space_tile\" is %lld pixels; it must be a multiple of %lld",
                        (long long)c->space_tile, (long long)step);
    return MGEN_OK;
}

static mgen_status read_structure(mgen_context *ctx, const mgi_json *json, mgi_tae_config *c)
{
    const char *structure = "plain";
    MGI_TRY(mgi_json_get_string(ctx, json, "structure", false, &structure));
    c->ldm = !strcmp(structure, ldm_structure);
    if (!c->ldm && strcmp(structure, "plain"))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"structure\" is \"%.40s\"; known are \"plain\" and \"%s\"", structure,
                        ldm_structure);
    return MGEN_OK;
}

mgen_status mgi_tae_config_read(mgen_context *ctx, const mgi_json *json, mgi_tae_config *out)
{
    static const char *const keys[] = {"channels",
                                       "decoder_channels",
                                       "latent_channels",
                                       "blocks",
                                       "temporal",
                                       "time_strides",
                                       "norm",
                                       "groups",
                                       "attention",
                                       "tiles",
                                       "space_tile",
                                       "structure",
                                       "mixes",
                                       NULL};
    mgi_tae_config c = {.temporal = true};
    int64_t blocks = 0;
    MGI_TRY(mgi_json_only_keys(ctx, json, keys));
    MGI_TRY(mgi_json_get_ints(ctx, json, "channels", MGI_TAE_LEVELS_MAX, 1, 65536, c.channels,
                              &c.levels));
    MGI_TRY(read_decoder(ctx, json, &c));
    MGI_TRY(mgi_json_get_int(ctx, json, "latent_channels", true, 1, 4096, &c.latent_channels));
    MGI_TRY(read_structure(ctx, json, &c));
    MGI_TRY(mgi_json_get_int(ctx, json, "blocks", true, 1, MGI_TAE_BLOCKS_MAX - c.ldm, &blocks));
    MGI_TRY(mgi_json_get_bool(ctx, json, "temporal", false, &c.temporal));
    MGI_TRY(read_time_strides(ctx, json, &c));
    MGI_TRY(read_norm(ctx, json, &c));
    MGI_TRY(mgi_json_get_bool(ctx, json, "mixes", false, &c.mixes));
    MGI_TRY(mgi_json_get_bool(ctx, json, "attention", false, &c.attention));
    MGI_TRY(read_tiles(ctx, json, &c));
    MGI_TRY(read_space_tile(ctx, json, &c));
    c.blocks = (int)blocks;
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

/* What is as it was before there was a choice is left out. */
void mgi_tae_config_write(mgi_json_writer *w, const mgi_tae_config *c)
{
    bool keeps = false;
    write_list(w, "channels", c->channels, c->levels);
    if (c->decoder_channels[0])
        write_list(w, "decoder_channels", c->decoder_channels, c->levels);
    mgi_json_put_int(w, "latent_channels", c->latent_channels);
    mgi_json_put_int(w, "blocks", c->blocks);
    if (c->ldm)
        mgi_json_put_string(w, "structure", ldm_structure);
    mgi_json_put_bool(w, "temporal", c->temporal);
    for (int k = 0; k < c->levels - 1; k++)
        keeps = keeps || c->keeps_time[k];
    if (keeps) {
        mgi_json_open(w, "time_strides", '[');
        for (int k = 0; k < c->levels - 1; k++)
            mgi_json_put_int(w, NULL, c->keeps_time[k] ? 1 : 2);
        mgi_json_close(w, ']');
    }
    if (c->groups) {
        mgi_json_put_string(w, "norm", "group");
        mgi_json_put_int(w, "groups", c->groups);
    }
    if (c->mixes)
        mgi_json_put_bool(w, "mixes", true);
    if (c->attention)
        mgi_json_put_bool(w, "attention", true);
    if (c->tile_frames) {
        mgi_json_open(w, "tiles", '{');
        mgi_json_put_int(w, "frames", c->tile_frames);
        mgi_json_put_int(w, "overlap", c->tile_overlap);
        mgi_json_close(w, '}');
    }
    if (c->space_tile)
        mgi_json_put_int(w, "space_tile", c->space_tile);
}
