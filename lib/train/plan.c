/* SPDX-License-Identifier: MIT */
#include "train/plan.h"

#include "train/optimizer.h"

#include "kernels/loss/loss.h"

/* Half of the tokens are UL2's, the rest is divided between the others. */
static void make_text(mgi_run *run, const mgi_plan_request *r, mgi_vt_text *text)
{
    *text = (mgi_vt_text){{NULL}, {NULL}};
    for (int i = 0; i < MGI_ROLES; i++) {
        int64_t part = r->text_tokens / 4, n = i ? part : r->text_tokens - 2 * part;
        if (n)
            text->x[i] = mgi_new(run, r->dtype, MGI_DIMS(r->batch, n, r->config.text[i]));
    }
}

static void walk(mgen_context *ctx, const mgi_plan_request *r, mgi_vt *vt, mgi_optimizer *optimizer,
                 mgi_run *run, mgi_plan *out)
{
    const mgi_device_counts *counts = &ctx->device->counts;
    out->start = *counts;
    mgi_module_zero_grad(&vt->module, run);
    const int64_t dims[5] = {r->batch, r->latent_frames, r->latent_height, r->latent_width,
                             r->config.channels};
    T *x = mgi_new(run, MGK_F32, 5, dims), *v = mgi_new(run, MGK_F32, 5, dims);
    T *t = mgi_new(run, MGK_F32, MGI_DIMS(r->batch));
    mgi_vt_text text;
    make_text(run, r, &text);
    T *u = mgi_vt_forward(run, vt, x, t, &text);
    out->forward = *counts;
    mgi_backward(run, mgi_loss(run, MGK_LOSS_MSE, 1.0f, u, v));
    mgi_optimizer_step(optimizer, run, 0);
    out->end = *counts;
}

static mgen_status plan(mgen_context *ctx, const mgi_plan_request *r, mgi_plan *out)
{
    static const mgi_optimizer_recipe recipe = {
        .lr = 1e-4, .beta1 = 0.9, .beta2 = 0.95, .clip = 1.0};
    mgi_vt vt;
    mgi_optimizer optimizer = {0};
    mgi_run run;
    MGI_TRY(mgi_vt_init(&vt, ctx, &r->config));
    mgi_module *module = &vt.module;
    vt.recompute = r->recompute;
    mgen_status status = mgi_module_train(module);
    if (status == MGEN_OK)
        status = mgi_module_compute(module, r->dtype);
    if (status == MGEN_OK)
        status = mgi_optimizer_init(&optimizer, ctx, &recipe, 1, &module, 1);
    if (status == MGEN_OK) {
        mgi_run_init(&run, ctx, true);
        walk(ctx, r, &vt, &optimizer, &run, out);
        status = run.status;
        mgi_run_finish(&run);
    }
    out->parameters = mgi_module_size(module);
    out->tokens = r->latent_frames / r->config.patch_t * (r->latent_height / r->config.patch_h) *
                  (r->latent_width / r->config.patch_w);
    out->forward_flops = out->forward.flops - out->start.flops;
    out->step_flops = out->end.flops - out->start.flops;
    out->launches = out->end.launches - out->start.launches;
    mgi_optimizer_finish(&optimizer);
    mgi_vt_finish(&vt);
    return status;
}

mgen_status mgi_plan_step(mgen_context *ctx, const mgi_plan_request *r, mgi_plan *out)
{
    const mgi_vt_config *c = &r->config;
    mgen_context *meta;
    *out = (mgi_plan){0};
    if (r->latent_frames % c->patch_t || r->latent_height % c->patch_h ||
        r->latent_width % c->patch_w || r->latent_frames / c->patch_t > c->frames_max ||
        r->latent_height / c->patch_h > c->rows_max ||
        r->latent_width / c->patch_w > c->columns_max)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "the model takes latents of at most %lld x %lld x %lld (frames, rows, columns), "
            "in multiples of %lld x %lld x %lld; these are %lld x %lld x %lld",
            (long long)(c->frames_max * c->patch_t), (long long)(c->rows_max * c->patch_h),
            (long long)(c->columns_max * c->patch_w), (long long)c->patch_t, (long long)c->patch_h,
            (long long)c->patch_w, (long long)r->latent_frames, (long long)r->latent_height,
            (long long)r->latent_width);
    MGI_TRY(mgi_context_private(ctx, &meta));
    mgen_status status = mgi_device_create_meta(meta, ctx->device);
    if (status == MGEN_OK)
        status = plan(meta, r, out);
    if (status != MGEN_OK)
        mgi_fail_from(ctx, status, meta);
    mgi_context_free(meta);
    return status;
}
