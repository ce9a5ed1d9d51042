/* SPDX-License-Identifier: MIT
 * What a request needs, by walking through it on the meta device. */
#include "core/alloc.h"
#include "model/tae_stream.h"
#include "task/generate.h"
#include "task/sound.h"

typedef struct shadow {
    mgi_tae tae;
    mgi_text_encoder text[MGI_ROLES];
    mgi_mesh mesh; /* counting */
    mgi_vt video;
    mgi_clip_vision vision;
} shadow;

/* After init on a device that holds weights as they are held there. */
static mgen_status same_dtype(mgi_module *m, const mgi_module *as)
{
    return as->dtype == m->dtype ? MGEN_OK : mgi_module_compute(m, as->dtype);
}

/* This rank's place in a mesh like `as`, without the others. */
static mgen_status same_mesh(mgen_context *meta, const mgi_mesh *as, mgi_mesh *out)
{
    const mgi_comm *world = as->group[MGI_AXIS_WORLD];
    mgi_comm *own;
    MGI_TRY(mgi_comm_counting_create(meta, mgi_comm_rank(world), mgi_comm_size(world), &own));
    mgen_status status = mgi_mesh_create(own, as->shape, out);
    if (status != MGEN_OK)
        mgi_comm_destroy(own);
    return status;
}

static mgen_status make_vision(mgen_context *meta, const mgi_clip_vision *as, mgi_clip_vision *out)
{
    meta->device->hold = as->module.hold;
    MGI_TRY(mgi_clip_vision_init(out, meta, &as->config));
    return same_dtype(&out->module, &as->module);
}

/* The networks without their values. What was made is to be finished, also after a failure. */
static mgen_status make(mgen_context *meta, const mgi_networks *n, shadow *s)
{
    meta->device->hold = n->tae->module.hold;
    MGI_TRY(mgi_tae_init(&s->tae, meta, &n->tae->config));
    if (n->video->mesh)
        MGI_TRY(same_mesh(meta, n->video->mesh, &s->mesh));
    meta->device->hold = n->video->module.hold;
    MGI_TRY(mgi_vt_init_mesh(&s->video, meta, &n->video->config, n->video->mesh ? &s->mesh : NULL));
    s->video.form = n->video->form;
    s->video.cp = n->video->cp;
    MGI_TRY(same_dtype(&s->tae.module, &n->tae->module));
    for (int i = 0; i < MGI_ROLES; i++)
        if (n->text[i])
            MGI_TRY(mgi_text_encoder_shadow(&s->text[i], meta, n->text[i]));
    if (n->vision)
        MGI_TRY(make_vision(meta, n->vision, &s->vision));
    return same_dtype(&s->video.module, &n->video->module);
}

static void finish(shadow *s)
{
    mgi_tae_finish(&s->tae);
    for (int i = 0; i < MGI_ROLES; i++)
        mgi_text_encoder_finish(&s->text[i]);
    mgi_vt_finish(&s->video);
    mgi_clip_vision_finish(&s->vision);
    mgi_mesh_destroy(&s->mesh);
}

/* What is counted on the meta device, from a moment on. */
typedef struct meter {
    uint64_t host, held;
    double flops;
} meter;

/* Tensors' memory is only counted; their handles and all else are really there. What lies idle, left by the making of
 * networks, would serve the request uncounted. */
static meter meter_start(mgen_context *meta)
{
    mgi_device_counts *c = &meta->device->counts;
    mgi_device_trim(meta->device);
    meter m = {atomic_load(&meta->heap->now), c->held, c->flops};
    atomic_store(&meta->heap->peak, m.host);
    c->held_peak = m.held;
    return m;
}

static void meter_read(const meter *m, mgen_context *meta, bool gpu, mgi_generate_needs *out)
{
    const mgi_device_counts *c = &meta->device->counts;
    out->host_bytes = atomic_load(&meta->heap->peak) - m->host;
    *(gpu ? &out->device_bytes : &out->host_bytes) += c->held_peak - m->held;
    out->flops = c->flops - m->flops;
}

static mgen_status walk(mgen_context *meta, bool gpu, const mgi_networks *n,
                        const mgi_generate_request *r, mgi_generate_needs *out)
{
    shadow s = {0};
    mgen_status status = make(meta, n, &s);
    if (status == MGEN_OK) {
        mgi_networks networks = {.tae = &s.tae,
                                 .video = &s.video,
                                 .clip = n->clip,
                                 .upsampler = n->upsampler,
                                 .editor = n->editor,
                                 .personalizer = n->personalizer,
                                 .vision = n->vision ? &s.vision : NULL};
        for (int i = 0; i < MGI_ROLES; i++)
            networks.text[i] = n->text[i] ? &s.text[i] : NULL;
        const meter m = meter_start(meta);
        status = mgi_generate(meta, &networks, r);
        meter_read(&m, meta, gpu, out);
    }
    finish(&s);
    return status;
}

static mgen_status open_meta(mgen_context *ctx, mgen_context **out)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    params.threads = 1;
    params.allocator = ctx->heap->allocator;
    mgen_status status = mgi_context_init(out, &params);
    if (status != MGEN_OK)
        return mgi_fail(ctx, status, "no memory for the estimate");
    status = mgi_device_create_meta(*out, ctx->device);
    if (status == MGEN_OK)
        return status;
    mgi_fail_from(ctx, status, *out);
    mgi_context_free(*out);
    return status;
}

mgen_status mgi_generate_estimate(mgen_context *ctx, const mgi_networks *n,
                                  const mgi_generate_request *r, mgi_generate_needs *out)
{
    mgen_context *meta;
    *out = (mgi_generate_needs){0};
    MGI_TRY(open_meta(ctx, &meta));
    mgen_status status = walk(meta, ctx->device->cuda != NULL, n, r, out);
    if (status != MGEN_OK)
        mgi_fail_from(ctx, status, meta);
    mgi_context_free(meta);
    return status;
}

/* An audio model without its values, with a place for its mesh. */
static mgen_status make_audio(mgen_context *meta, const mgi_audio *a, mgi_mesh *mesh,
                              mgi_audio *out)
{
    const mgi_vt *as = &a->transformer;
    if (as->mesh)
        MGI_TRY(same_mesh(meta, as->mesh, mesh));
    meta->device->hold = as->module.hold;
    MGI_TRY(mgi_vt_init_mesh(&out->transformer, meta, &as->config, as->mesh ? mesh : NULL));
    out->transformer.form = as->form;
    out->transformer.cp = as->cp;
    MGI_TRY(same_dtype(&out->transformer.module, &a->transformer.module));
    meta->device->hold = a->codec.module.hold;
    MGI_TRY(mgi_audio_codec_init(&out->codec, meta, &a->codec.config));
    MGI_TRY(same_dtype(&out->codec.module, &a->codec.module));
    if (a->config.vision[0])
        MGI_TRY(make_vision(meta, &a->vision, &out->vision));
    return mgi_text_encoder_shadow(&out->text, meta, &a->text);
}

mgen_status mgi_sound_estimate(mgen_context *ctx, const mgi_audio *a, const mgi_sound_request *r,
                               mgi_generate_needs *out)
{
    mgen_context *meta;
    mgi_audio net = {.config = a->config};
    mgi_mesh mesh = {{0}};
    *out = (mgi_generate_needs){0};
    MGI_TRY(open_meta(ctx, &meta));
    mgen_status status = make_audio(meta, a, &mesh, &net);
    if (status == MGEN_OK) {
        const meter m = meter_start(meta);
        status = mgi_sound_make(meta, &net, r);
        meter_read(&m, meta, ctx->device->cuda != NULL, out);
    }
    mgi_audio_finish(&net);
    mgi_mesh_destroy(&mesh);
    if (status != MGEN_OK)
        mgi_fail_from(ctx, status, meta);
    mgi_context_free(meta);
    return status;
}

/* -- limits ----------------------------------------------------------------------------------- */

static bool host_has(const mgi_heap *heap, uint64_t bytes)
{
    uint64_t now = atomic_load(&heap->now);
    return !heap->max || (now <= heap->max && bytes <= heap->max - now);
}

static bool device_has(const mgi_device *dev, uint64_t bytes)
{
    uint64_t now = dev->counts.held;
    return !dev->memory_max || (now <= dev->memory_max && bytes <= dev->memory_max - now);
}

bool mgi_fits_host(mgen_context *ctx, uint64_t bytes)
{
    if (!host_has(ctx->heap, bytes))
        mgi_device_trim(ctx->device); /* what earlier requests left counts as in use */
    return host_has(ctx->heap, bytes);
}

bool mgi_fits_device(mgen_context *ctx, uint64_t bytes)
{
    if (!device_has(ctx->device, bytes))
        mgi_device_trim(ctx->device);
    return device_has(ctx->device, bytes);
}

/* -- tiles of large frames -------------------------------------------------------------------- */

enum { TILE_MIN = 4 }; /* latents along a side: the surroundings of less are most of the work */

int64_t mgi_tile_after(const mgi_tae *tae, int64_t height, int64_t width, int64_t tile)
{
    int64_t f = mgi_tae_factor(&tae->config), longest = height > width ? height : width;
    if (!tile)
        for (tile = f; tile < longest; tile *= 2)
            ;
    return tile / 2 < TILE_MIN * f ? 0 : tile / 2;
}

/* On the meta device. A part of a long film stands for all of it. */
static mgen_status walk_film(mgen_context *meta, const mgi_tae *net, const int64_t film[3],
                             int direction, int64_t tile)
{
    const mgi_tae_config *c = &net->config;
    int64_t dims[4], some = (32 + 8 * mgi_tae_blocks(c, false)) * mgi_tae_time_factor(c);
    const int64_t part[3] = {film[0] < some ? film[0] : some, film[1], film[2]};
    if (direction == MGI_TAE_ENCODES)
        return mgi_encode_film(meta, net, part, tile, NULL, NULL, NULL);
    MGI_TRY(mgi_latent_dims(meta, net, part, dims));
    return mgi_decode_film(meta, net, NULL, dims, part[0], tile, NULL, NULL);
}

static mgen_status find_tile(mgen_context *ctx, mgen_context *meta, const mgi_tae *net,
                             const int64_t film[3], int direction, int64_t *tile)
{
    for (int64_t next = 0;;) {
        mgi_generate_needs needs = {0};
        const meter m = meter_start(meta);
        mgen_status status = walk_film(meta, net, film, direction, next);
        meter_read(&m, meta, ctx->device->cuda != NULL, &needs);
        mgi_device_trim(meta->device);
        mgi_device_drop_workspace(meta->device); /* of the larger tile: the next counts its own */
        if (status != MGEN_OK)
            return mgi_fail_from(ctx, status, meta);
        if (mgi_fits_host(ctx, needs.host_bytes) && mgi_fits_device(ctx, needs.device_bytes)) {
            *tile = next;
            return MGEN_OK;
        }
        next = mgi_tile_after(net, film[1], film[2], next);
        if (!next)
            return MGEN_OK;
    }
}

mgen_status mgi_tae_tile(mgen_context *ctx, const mgi_tae *tae, const int64_t film[3],
                         int direction, int64_t *tile)
{
    mgen_context *meta;
    mgi_tae net;
    *tile = 0;
    if (!ctx->heap->max && !ctx->device->memory_max)
        return MGEN_OK;
    MGI_TRY(open_meta(ctx, &meta));
    meta->device->hold = tae->module.hold;
    mgen_status status = mgi_tae_init(&net, meta, &tae->config);
    if (status == MGEN_OK) {
        status = same_dtype(&net.module, &tae->module);
        if (status == MGEN_OK)
            status = find_tile(ctx, meta, &net, film, direction, tile);
        mgi_tae_finish(&net);
    }
    if (status != MGEN_OK)
        mgi_fail_from(ctx, status, meta);
    mgi_context_free(meta);
    return status;
}
