/* SPDX-License-Identifier: MIT
 * What a request needs, by walking through it on the meta device. */
#include "core/alloc.h"
#include "task/generate.h"

typedef struct shadow {
    mgi_tae tae;
    mgi_text_encoder text[MGI_ROLES];
    mgi_vt video;
} shadow;

static mgen_status same_dtype(mgi_module *m, const mgi_module *as)
{
    return as->dtype == m->dtype ? MGEN_OK : mgi_module_compute(m, as->dtype);
}

/* The networks without their values. What was made is to be finished, also after a failure. */
static mgen_status make(mgen_context *meta, const mgi_networks *n, shadow *s)
{
    MGI_TRY(mgi_tae_init(&s->tae, meta, &n->tae->config));
    MGI_TRY(mgi_vt_init(&s->video, meta, &n->video->config));
    s->video.form = n->video->form;
    MGI_TRY(same_dtype(&s->tae.module, &n->tae->module));
    for (int i = 0; i < MGI_ROLES; i++)
        if (n->text[i])
            MGI_TRY(mgi_text_encoder_shadow(&s->text[i], meta, n->text[i]));
    return same_dtype(&s->video.module, &n->video->module);
}

static void finish(shadow *s)
{
    mgi_tae_finish(&s->tae);
    for (int i = 0; i < MGI_ROLES; i++)
        mgi_text_encoder_finish(&s->text[i]);
    mgi_vt_finish(&s->video);
}

static mgen_status walk(mgen_context *meta, bool gpu, const mgi_networks *n,
                        const mgi_generate_request *r, mgi_generate_needs *out)
{
    shadow s = {0};
    mgi_device_counts *c = &meta->device->counts;
    mgen_status status = make(meta, n, &s);
    if (status == MGEN_OK) {
        mgi_networks networks = {.tae = &s.tae, .video = &s.video, .clip = n->clip};
        for (int i = 0; i < MGI_ROLES; i++)
            networks.text[i] = n->text[i] ? &s.text[i] : NULL;
        /* Tensors' memory is only counted; their handles and all else are really there. */
        uint64_t host = atomic_load(&meta->heap->now), held = c->held;
        double before = c->flops;
        atomic_store(&meta->heap->peak, host);
        c->held_peak = held;
        status = mgi_generate(meta, &networks, r);
        out->host_bytes = atomic_load(&meta->heap->peak) - host;
        *(gpu ? &out->device_bytes : &out->host_bytes) += c->held_peak - held;
        out->flops = c->flops - before;
    }
    finish(&s);
    return status;
}

mgen_status mgi_generate_estimate(mgen_context *ctx, const mgi_networks *n,
                                  const mgi_generate_request *r, mgi_generate_needs *out)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *meta;
    *out = (mgi_generate_needs){0};
    params.threads = 1;
    params.allocator = ctx->heap->allocator;
    mgen_status status = mgi_context_init(&meta, &params);
    if (status != MGEN_OK)
        return mgi_fail(ctx, status, "no memory for the estimate");
    status = mgi_device_create_meta(meta, ctx->device);
    if (status == MGEN_OK)
        status = walk(meta, ctx->device->cuda != NULL, n, r, out);
    if (status != MGEN_OK)
        mgi_fail_from(ctx, status, meta);
    mgi_context_free(meta);
    return status;
}
