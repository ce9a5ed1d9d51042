/* SPDX-License-Identifier: MIT */
#include "model/tae_diffusers.h"

#include "core/alloc.h"
#include "kernels/pointwise/pointwise.h"

#include <stdio.h>
#include <string.h>

static const char config_name[] = "config.json", stem[] = "diffusion_pytorch_model";

/* -- configuration ---------------------------------------------------------------------------- */

/* A list of names that must all be `want`. */
static mgen_status check_types(mgen_context *ctx, const mgi_json *root, const char *key,
                               const char *want, int64_t count)
{
    const mgi_json *list = mgi_json_find(root, key);
    if (!list || list->kind != MGI_JSON_ARRAY || list->i != count)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" must be a list of %lld names", key,
                        (long long)count);
    for (const mgi_json *e = list->child; e; e = e->next)
        if (e->kind != MGI_JSON_STRING || strcmp(e->s, want))
            return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                            "\"%s\" has an entry that is not \"%s\", the only kind that is read",
                            key, want);
    return MGEN_OK;
}

static mgen_status read_channels(mgen_context *ctx, const mgi_json *root, mgi_tae_config *c)
{
    const mgi_json *list = mgi_json_find(root, "block_out_channels");
    if (!list || list->kind != MGI_JSON_ARRAY || list->i < 1 || list->i > MGI_TAE_LEVELS_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"block_out_channels\" must be a list of 1 to %d numbers",
                        MGI_TAE_LEVELS_MAX);
    for (const mgi_json *e = list->child; e; e = e->next) {
        if (e->kind != MGI_JSON_INT || e->i < 1 || e->i > 65536 || e->i % c->groups)
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "\"block_out_channels\" has an entry that is not 1..65536, or that "
                            "%lld \"norm_num_groups\" do not divide",
                            (long long)c->groups);
        c->channels[c->levels++] = e->i;
    }
    return MGEN_OK;
}

/* Convolutions around the latents, which diffusers has unless it says otherwise. */
static mgen_status read_mixes(mgen_context *ctx, const mgi_json *root, mgi_tae_config *c)
{
    bool before = true, after = true;
    MGI_TRY(mgi_json_get_bool(ctx, root, "use_post_quant_conv", false, &before));
    MGI_TRY(mgi_json_get_bool(ctx, root, "use_quant_conv", false, &after));
    c->mixes = before;
    return before == after
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                          "\"use_quant_conv\" is %s and \"use_post_quant_conv\" %s; only "
                          "both or none are read",
                          after ? "true" : "false", before ? "true" : "false");
}

/* A number, or null where there is none. */
static mgen_status read_number(mgen_context *ctx, const mgi_json *root, const char *key, float *out)
{
    const mgi_json *e = mgi_json_find(root, key);
    double value = (double)*out;
    if (e && e->kind == MGI_JSON_NULL)
        return MGEN_OK;
    MGI_TRY(mgi_json_get_real(ctx, root, key, false, -1e6, 1e6, &value));
    *out = (float)value;
    return MGEN_OK;
}

static mgen_status check_null(mgen_context *ctx, const mgi_json *root, const char *key)
{
    const mgi_json *e = mgi_json_find(root, key);
    return !e || e->kind == MGI_JSON_NULL
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                          "\"%s\": statistics of single channels are not read", key);
}

mgen_status mgi_tae_diffusers_config_read(mgen_context *ctx, const mgi_json *root,
                                          mgi_tae_diffusers *d)
{
    mgi_tae_config *c = &d->config;
    const char *class = "", *act = "silu";
    int64_t blocks = 1, in = 3, out = 3;
    bool attends = true;
    *c = (mgi_tae_config){.ldm = true, .attention = true, .latent_channels = 4, .groups = 32};
    d->latent_scale = 0.18215f;
    d->latent_shift = 0.0f;
    if (root->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "is not a JSON object");
    MGI_TRY(mgi_json_get_string(ctx, root, "_class_name", true, &class));
    if (strcmp(class, "AutoencoderKL"))
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "\"_class_name\" is \"%.40s\"; of autoencoders \"AutoencoderKL\" is read",
                        class);
    MGI_TRY(mgi_json_get_int(ctx, root, "norm_num_groups", false, 1, 65536, &c->groups));
    MGI_TRY(read_channels(ctx, root, c));
    MGI_TRY(
        mgi_json_get_int(ctx, root, "layers_per_block", false, 1, MGI_TAE_BLOCKS_MAX - 1, &blocks));
    MGI_TRY(mgi_json_get_int(ctx, root, "latent_channels", false, 1, 4096, &c->latent_channels));
    MGI_TRY(mgi_json_get_int(ctx, root, "in_channels", false, 1, 65536, &in));
    MGI_TRY(mgi_json_get_int(ctx, root, "out_channels", false, 1, 65536, &out));
    MGI_TRY(mgi_json_get_string(ctx, root, "act_fn", false, &act));
    if (in != 3 || out != 3 || (strcmp(act, "silu") && strcmp(act, "swish")))
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "\"in_channels\", \"out_channels\" and \"act_fn\" must be 3, 3 and "
                        "\"silu\"; they are %lld, %lld and \"%.40s\"",
                        (long long)in, (long long)out, act);
    MGI_TRY(check_types(ctx, root, "down_block_types", "DownEncoderBlock2D", c->levels));
    MGI_TRY(check_types(ctx, root, "up_block_types", "UpDecoderBlock2D", c->levels));
    MGI_TRY(mgi_json_get_bool(ctx, root, "mid_block_add_attention", false, &attends));
    if (!attends)
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "\"mid_block_add_attention\" is false; only autoencoders with attention "
                        "are read");
    MGI_TRY(read_mixes(ctx, root, c));
    MGI_TRY(check_null(ctx, root, "latents_mean"));
    MGI_TRY(check_null(ctx, root, "latents_std"));
    MGI_TRY(read_number(ctx, root, "scaling_factor", &d->latent_scale));
    MGI_TRY(read_number(ctx, root, "shift_factor", &d->latent_shift));
    if (d->latent_scale == 0.0f)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"scaling_factor\" is 0");
    c->blocks = (int)blocks;
    return MGEN_OK;
}

static mgen_status read_config_file(mgen_context *ctx, const char *folder, mgi_tae_diffusers *d)
{
    mgi_json *root;
    MGI_TRY(mgi_model_json(ctx, folder, config_name, &root, &d->hash));
    mgen_status status = mgi_tae_diffusers_config_read(ctx, root, d);
    mgi_json_free(ctx, root);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s", config_name);
}

/* -- weights ---------------------------------------------------------------------------------- */

/* The first failure stays; after it nothing is done. */
typedef struct reader {
    mgen_context *ctx;
    const mgi_tae *tae;
    const mgi_st_set *set;
    bool check;    /* that all is there, without reading it */
    uint8_t *used; /* of each entry */
    int64_t done;
    mgen_status status;
} reader;

/* Weights (O,I,3,3) as (O,3,3,I). */
static void reorder(float *to, const float *from, const mgi_param *p)
{
    int64_t out = p->dims[0], in = p->dims[3], taps = p->dims[1] * p->dims[2];
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++)
            for (int64_t t = 0; t < taps; t++)
                to[(o * taps + t) * in + i] = from[(o * in + i) * taps + t];
}

/* Whether an entry has so many rows of the parameter; 1x1 convolutions are matrices here. */
static bool has_shape(const mgi_st_entry *e, const mgi_param *p, int64_t rows)
{
    int64_t want[4] = {rows, 1, 1, 1};
    if (p->rank == 2)
        want[1] = p->dims[1];
    if (p->rank == 4) {
        want[1] = p->dims[3];
        want[2] = p->dims[1];
        want[3] = p->dims[2];
    }
    bool same = e->rank == p->rank || (p->rank == 2 && e->rank == 4);
    return same && !memcmp(e->dims, want, (size_t)e->rank * sizeof *want);
}

static mgen_status copy(reader *r, const mgi_param *p, const mgi_st_entry *const *part, int parts)
{
    int64_t count = p->value->count;
    mgi_st_entry own = {.name = p->name, .dtype = MGI_ST_F32, .rank = p->rank};
    float *values;
    MGI_TRY(mgi_alloc(r->ctx, 2 * (size_t)count * sizeof *values, &values));
    mgen_status status = MGEN_OK;
    for (int i = 0; i < parts && status == MGEN_OK; i++)
        status = mgi_st_read_f32(r->ctx, part[i], values + i * (count / parts), count / parts);
    if (p->rank == 4 && status == MGEN_OK)
        reorder(values + count, values, p);
    memcpy(own.dims, p->dims, (size_t)p->rank * sizeof *own.dims);
    own.data = p->rank == 4 ? values + count : values;
    own.bytes = (size_t)count * sizeof *values;
    if (status == MGEN_OK)
        status = mgi_param_load(&r->tae->module, p, &own, 0);
    if (status == MGEN_OK)
        status = mgi_progress(r->ctx, "reading weights", (uint64_t)++r->done,
                              (uint64_t)r->tae->module.count);
    mgi_free(r->ctx, values);
    return status;
}

/* A parameter from the tensors `place`.`name`.`kind` (place NULL: `name`.`kind`), one behind the other. */
static void take(reader *r, const mgi_param *p, const char *place, const char *const *names,
                 int parts, const char *kind)
{
    const mgi_st_entry *part[3];
    for (int i = 0; i < parts && r->status == MGEN_OK; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s%s%s.%s", place ? place : "", place ? "." : "", names[i],
                 kind);
        part[i] = mgi_st_set_find(r->set, name);
        if (!part[i])
            r->status = mgi_fail(r->ctx, MGEN_E_CORRUPT, "tensor \"%s\" is missing", name);
        else if (!has_shape(part[i], p, p->dims[0] / parts))
            r->status =
                mgi_fail(r->ctx, MGEN_E_CORRUPT, "tensor \"%s\" has another shape than %s asks for",
                         name, config_name);
        else
            r->used[part[i] - r->set->entries] = 1;
    }
    if (r->status == MGEN_OK && !r->check)
        r->status = copy(r, p, part, parts);
}

static void take_pair(reader *r, const mgi_param *w, const mgi_param *b, const char *place,
                      const char *name)
{
    take(r, w, place, &name, 1, "weight");
    take(r, b, place, &name, 1, "bias");
}

static void take_block(reader *r, const mgi_tae_block *b, const char *place)
{
    take_pair(r, b->norm[0].w, b->norm[0].b, place, "norm1");
    take_pair(r, b->first.w, b->first.b, place, "conv1");
    take_pair(r, b->norm[1].w, b->norm[1].b, place, "norm2");
    take_pair(r, b->second.w, b->second.b, place, "conv2");
    if (b->around_w)
        take_pair(r, b->around_w, b->around_b, place, "conv_shortcut");
}

/* Folders of early versions have other names here. */
static void take_attention(reader *r, const mgi_tae_attention *a, const char *place)
{
    static const char *const qkv[2][3] = {{"to_q", "to_k", "to_v"}, {"query", "key", "value"}};
    char name[128];
    snprintf(name, sizeof name, "%s.query.weight", place);
    bool early = mgi_st_set_find(r->set, name) != NULL;
    take_pair(r, a->norm.w, a->norm.b, place, "group_norm");
    take(r, a->qkv_w, place, qkv[early], 3, "weight");
    take(r, a->qkv_b, place, qkv[early], 3, "bias");
    take_pair(r, a->out_w, a->out_b, place, early ? "proj_attn" : "to_out.0");
}

static void take_side(reader *r, const mgi_tae_side *side, bool encoder)
{
    const mgi_tae_config *c = &r->tae->config;
    const char *name = encoder ? "encoder" : "decoder";
    char place[96];
    take_pair(r, side->in.w, side->in.b, name, "conv_in");
    for (int k = 0; k < c->levels; k++) {
        int level = encoder ? k : c->levels - 1 - k;
        const char *way = encoder ? "down" : "up";
        for (int i = 0; i < mgi_tae_blocks(c, encoder); i++) {
            snprintf(place, sizeof place, "%s.%s_blocks.%d.resnets.%d", name, way, k, i);
            take_block(r, &side->block[level][i], place);
        }
        snprintf(place, sizeof place, "%s.%s_blocks.%d.%ssamplers.0", name, way, k, way);
        if (k + 1 < c->levels)
            take_pair(r, side->change[level].w, side->change[level].b, place, "conv");
    }
    snprintf(place, sizeof place, "%s.mid_block.resnets.0", name);
    take_block(r, &side->middle.first, place);
    snprintf(place, sizeof place, "%s.mid_block.attentions.0", name);
    take_attention(r, &side->middle.space, place);
    snprintf(place, sizeof place, "%s.mid_block.resnets.1", name);
    take_block(r, &side->middle.second, place);
    take_pair(r, side->norm_out.w, side->norm_out.b, name, "conv_norm_out");
    take_pair(r, side->out.w, side->out.b, name, "conv_out");
    if (side->mix_w) { /* named without a side */
        const char *mix = encoder ? "quant_conv" : "post_quant_conv";
        take(r, side->mix_w, NULL, &mix, 1, "weight");
        take(r, side->mix_b, NULL, &mix, 1, "bias");
    }
}

static mgen_status read_weights(mgen_context *ctx, const mgi_tae *tae, const mgi_st_set *set,
                                bool check)
{
    reader r = {.ctx = ctx, .tae = tae, .set = set, .check = check};
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)set->count, 1, &r.used));
    take_side(&r, &tae->encoder, true);
    take_side(&r, &tae->decoder, false);
    for (int64_t i = 0; i < set->count && r.status == MGEN_OK; i++)
        if (!r.used[i])
            r.status = mgi_fail(ctx, MGEN_E_CORRUPT,
                                "tensor \"%.100s\" is no part of the autoencoder that %s describes",
                                set->entries[i].name, config_name);
    mgi_free(ctx, r.used);
    return r.status;
}

static mgen_status fits(mgen_context *shapes, const void *config, const void *set)
{
    mgi_tae network;
    MGI_TRY(mgi_tae_init(&network, shapes, config));
    mgen_status status = read_weights(shapes, &network, set, true);
    mgi_tae_finish(&network);
    return status;
}

/* -- the folder ------------------------------------------------------------------------------- */

mgen_status mgi_tae_diffusers_open(mgen_context *ctx, const char *dir, const char *name,
                                   mgi_tae_diffusers *out)
{
    char folder[MGI_PATH_MAX + 1];
    memset(out, 0, sizeof *out);
    MGI_TRY(mgi_folder_in(ctx, dir, name, folder, sizeof folder));
    mgen_status status = read_config_file(ctx, folder, out);
    if (status == MGEN_OK)
        status = mgi_st_set_open(ctx, folder, stem, &out->weights);
    if (status == MGEN_OK)
        status = mgi_model_file_fits(ctx, fits, &out->config, &out->weights);
    for (int64_t i = 0; i < out->weights.file_count && status == MGEN_OK; i++)
        status = mgi_reader_hash(ctx, out->weights.files[i].file, out->hash, &out->hash);
    if (status == MGEN_OK)
        return status;
    status = mgi_fail_context(ctx, status, "%s", folder);
    mgi_tae_diffusers_close(ctx, out);
    return status;
}

void mgi_tae_diffusers_close(mgen_context *ctx, mgi_tae_diffusers *d)
{
    mgi_st_set_close(ctx, &d->weights);
}

static mgen_status fill(const mgi_tae *tae, const mgi_param *p, float value)
{
    const mgk_pointwise_args a = {.y = mgi_buf(p->value), .count = p->value->count, .alpha = value};
    return mgi_launch(tae->module.dev, MGK_OP_fill, &a);
}

mgen_status mgi_tae_diffusers_load(mgi_tae *tae, const mgi_tae_diffusers *d)
{
    MGI_TRY(read_weights(tae->module.ctx, tae, &d->weights, false));
    MGI_TRY(fill(tae, tae->latent_scale, d->latent_scale));
    return fill(tae, tae->latent_shift, d->latent_shift);
}

mgen_status mgi_tae_diffusers_network(mgen_context *ctx, const char *dir, const char *name,
                                      mgi_tae *out, uint64_t *hash)
{
    mgi_tae_diffusers d;
    memset(out, 0, sizeof *out);
    MGI_TRY(mgi_tae_diffusers_open(ctx, dir, name, &d));
    mgen_status status = mgi_tae_init(out, ctx, &d.config);
    if (status == MGEN_OK)
        status = mgi_tae_diffusers_load(out, &d);
    *hash = d.hash;
    if (status != MGEN_OK)
        mgi_tae_finish(out);
    mgi_tae_diffusers_close(ctx, &d);
    return status;
}
