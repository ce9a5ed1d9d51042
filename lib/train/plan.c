/* SPDX-License-Identifier: MIT */
#include "train/plan.h"

#include "dist/collective.h"
#include "dist/sharding_plan.h"
#include "nn/partial.h"
#include "train/data_parallel.h"
#include "train/optimizer.h"

#include "kernels/loss/loss.h"

/* A training step under way. */
typedef struct step {
    mgi_text_encoder text[MGI_ROLES]; /* that are frozen, and known */
    mgi_clip_vision vision;           /* that is known */
    mgi_vt before, vt;                /* before: where a model learns preferences */
    mgi_adapter adapter;              /* or nothing */
    mgi_module *module[2];            /* that learn */
    int modules;
    mgi_optimizer optimizer;
    mgi_data_parallel parallel;
    mgi_run run;
} step;

/* `n` tokens of a role: what its encoder makes of them, or what is given. An encoder has no more than it takes. */
static T *make_role(step *s, const mgi_plan_request *r, int role, int64_t n)
{
    mgi_run *run = &s->run;
    const mgi_text_encoder *e = &s->text[role];
    if (!r->text[role])
        return mgi_new(run, r->dtype, MGI_DIMS(r->batch, n, r->config.text[role]));
    const int64_t most = mgi_text_tokens_max(e), tokens = n < most ? n : most;
    T *ids = mgi_new(run, MGK_I32, MGI_DIMS(r->batch, tokens));
    T *mask = mgi_new(run, MGK_U8, MGI_DIMS(r->batch, tokens));
    return run->status == MGEN_OK ? mgi_text_encoder_forward(run, e, ids, mask) : NULL;
}

/* Of the tokens UL2 has two shares and the others one each, of those encoders that are there: with all three half is UL2's. The
 * first of them has what is left over, too. */
static void make_text(step *s, const mgi_plan_request *r, mgi_vt_text *text)
{
    int64_t shares = 0, left = r->text_tokens;
    *text = (mgi_vt_text){{NULL}, {NULL}};
    for (int i = 0; i < MGI_ROLES; i++)
        if (r->config.text[i])
            shares += i == MGI_ROLE_UL2 ? 2 : 1;
    for (int64_t i = MGI_ROLES - 1, before = shares; i >= 0; i--) {
        if (!r->config.text[i])
            continue;
        before -= i == MGI_ROLE_UL2 ? 2 : 1;
        int64_t n = before ? r->text_tokens / shares : left;
        left -= n;
        if (n)
            text->x[i] = make_role(s, r, (int)i, n);
    }
}

/* Tokens of a photo each. */
static T *make_photos(step *s, const mgi_plan_request *r)
{
    mgi_run *run = &s->run;
    if (!r->vision)
        return mgi_new(run, r->dtype, MGI_DIMS(r->batch, r->reference_tokens, r->config.reference));
    const int64_t side = r->vision->image;
    T *photos = mgi_new(run, MGK_U8, MGI_DIMS(r->batch, side, side, 3));
    photos = mgi_clip_vision_frames(run, &s->vision, photos);
    return mgi_clip_vision_tokens(run, &s->vision, photos);
}

static void at(const mgi_plan_walk *w, mgi_run *run, int moment)
{
    if (w->moment)
        w->moment(w->user, run, moment);
}

static mgen_status check_ranks(mgen_context *ctx, const mgi_mesh *mesh)
{
    return !mesh || (mesh->shape.tp <= 1 && mesh->shape.shard <= 1)
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_INVALID,
                          "adapters are trained on meshes of dp and cp alone, with \"tp\" 1 and "
                          "\"shard\" 1");
}

/* As a stage makes them (train/video_models.c). */
static mgen_status make_encoder(step *s, mgen_context *ctx, const mgi_plan_request *r,
                                const mgi_mesh *mesh, int role)
{
    const bool divided = mgi_divided_by((mgi_component)role, MGI_BY_FSDP);
    const int before = mgi_device_hold(ctx->device, r->hold[role]);
    mgen_status status =
        mgi_text_encoder_network(&s->text[role], ctx, r->text[role], divided ? mesh : NULL);
    mgi_device_hold(ctx->device, before);
    MGI_TRY(status);
    return r->hold[role] == MGI_HOLD_F32
               ? mgi_module_compute(mgi_text_module(&s->text[role]), r->dtype)
               : MGEN_OK;
}

static mgen_status make_vision(step *s, mgen_context *ctx, const mgi_plan_request *r)
{
    mgi_module *m = &s->vision.module;
    const int hold = r->vision_learns ? MGI_HOLD_F32 : r->vision_hold;
    const int before = mgi_device_hold(ctx->device, hold);
    mgen_status status = mgi_clip_vision_init(&s->vision, ctx, r->vision);
    mgi_device_hold(ctx->device, before);
    if (status == MGEN_OK && r->vision_learns) {
        mgi_clip_vision_train_tokens(&s->vision);
        status = mgi_module_train(m);
        s->module[s->modules++] = m;
    }
    return status == MGEN_OK && hold == MGI_HOLD_F32 ? mgi_module_compute(m, r->dtype) : status;
}

static mgen_status step_make(step *s, mgen_context *ctx, const mgi_plan_request *r,
                             const mgi_plan_walk *w)
{
    static const mgi_optimizer_recipe recipe = {
        .lr = 1e-4, .beta1 = 0.9, .beta2 = 0.95, .clip = 1.0};
    mgi_comm *dp = w->mesh ? w->mesh->group[MGI_AXIS_DP] : NULL;
    mgi_module *all[MGI_ROLES + 2];
    int count = 0;
    for (int i = 0; i < MGI_ROLES; i++) {
        if (!r->text[i])
            continue;
        MGI_TRY(make_encoder(s, ctx, r, w->mesh, i));
        all[count++] = mgi_text_module(&s->text[i]);
    }
    if (r->vision)
        MGI_TRY(make_vision(s, ctx, r));
    if (r->prefer && !r->adapter) {
        MGI_TRY(mgi_vt_init_mesh(&s->before, ctx, &r->config, w->mesh));
        s->before.cp = r->cp;
        MGI_TRY(mgi_module_compute(&s->before.module, r->dtype));
        mgi_module_settle(&s->before.module);
        all[count++] = &s->before.module;
    }
    MGI_TRY(r->adapter ? mgi_adapter_base(ctx, &r->config, w->mesh, r->dtype, &s->vt)
                       : mgi_vt_init_mesh(&s->vt, ctx, &r->config, w->mesh));
    s->vt.recompute = r->recompute;
    s->vt.cp = r->cp;
    if (r->adapter) {
        const mgi_adapter_config config = {.rank = r->adapter, .alpha = 1.0};
        MGI_TRY(check_ranks(ctx, w->mesh));
        MGI_TRY(mgi_adapter_init(&s->adapter, &s->vt, &config, r->dtype, 0));
        s->module[s->modules++] = &s->adapter.module;
        s->run.left = &s->adapter.hook;
    } else {
        s->module[s->modules++] = &s->vt.module;
        MGI_TRY(mgi_module_train(&s->vt.module));
        MGI_TRY(mgi_module_compute(&s->vt.module, r->dtype));
    }
    MGI_TRY(mgi_optimizer_init(&s->optimizer, ctx, &recipe, 1, s->module, s->modules));
    mgi_optimizer_split(&s->optimizer, w->mesh);
    at(w, &s->run, MGI_PLAN_MADE);
    mgi_dp_init(&s->parallel, dp, s->module, s->modules);
    all[count++] = &s->vt.module;
    if (w->mesh && w->mesh->shape.shard > 1)
        MGI_TRY(mgi_fsdp_create(ctx, w->mesh, all, count, &s->parallel.fsdp));
    return MGEN_OK;
}

static void step_finish(step *s)
{
    mgi_run_finish(&s->run);
    mgi_fsdp_destroy(s->parallel.fsdp);
    mgi_optimizer_finish(&s->optimizer);
    mgi_adapter_finish(&s->adapter);
    mgi_vt_finish(&s->vt);
    mgi_vt_finish(&s->before);
    mgi_clip_vision_finish(&s->vision);
    for (int i = 0; i < MGI_ROLES; i++)
        mgi_text_encoder_finish(&s->text[i]);
}

static void pass(step *s, const mgi_plan_request *r, const mgi_plan_walk *w, bool last,
                 mgi_plan *out)
{
    mgi_run *run = &s->run;
    const int64_t dims[5] = {r->batch, r->latent_frames, r->latent_height, r->latent_width,
                             r->config.channels};
    int64_t mark = mgi_scope_push(run);
    mgi_dp_begin(&s->parallel, run, last);
    at(w, run, MGI_PLAN_BEGUN);
    T *x = mgi_new(run, MGK_F32, 5, dims), *v = mgi_new(run, MGK_F32, 5, dims);
    T *t = mgi_new(run, MGK_F32, MGI_DIMS(r->batch));
    mgi_vt_text text;
    make_text(s, r, &text);
    if (r->config.condition)
        text.condition = mgi_new(run, MGK_F32,
                                 MGI_DIMS(dims[0], dims[1], dims[2], dims[3], r->config.condition));
    if (r->config.features)
        text.features = mgi_new(run, MGK_F32,
                                MGI_DIMS(dims[0], dims[1] / r->config.patch_t, r->config.features));
    if (r->config.tasks)
        text.task = mgi_new(run, MGK_I32, MGI_DIMS(dims[0]));
    if (r->config.reference)
        text.reference = make_photos(s, r);
    out->start_forward = run->dev->counts.flops;
    if (r->prefer) {
        run->record = false;
        mgi_adapter_aside(&s->adapter, true);
        v = mgi_vt_forward(run, r->adapter ? &s->vt : &s->before, x, t, &text);
        mgi_adapter_aside(&s->adapter, false);
        run->record = true;
        out->start_forward = run->dev->counts.flops;
    }
    T *u = mgi_vt_forward(run, &s->vt, x, t, &text);
    out->forward = run->dev->counts;
    at(w, run, MGI_PLAN_FORWARD);
    mgi_backward(run, mgi_loss(run, MGK_LOSS_MSE, 1.0f, u, v));
    mgi_scope_pop(run, mark, NULL);
    if (!last)
        at(w, run, MGI_PLAN_PASS);
}

/* As a stage does (train/text_to_video.c). */
static void sum_model(mgi_run *run, const step *s, mgi_module *m, const mgi_mesh *mesh)
{
    if (m->shard_size > 1)
        return;
    if (m == &s->vt.module) {
        mgi_module_sum_partial(run, m, mesh);
        return;
    }
    for (int64_t u = 0; u < m->units; u++)
        if (m->unit_grad[u])
            mgi_sum_ranks(run, mesh->group[MGI_AXIS_MODEL], m->unit_grad[u]);
}

static void walk(step *s, const mgi_plan_request *r, const mgi_plan_walk *w, mgi_plan *out)
{
    mgi_run *run = &s->run;
    out->start = run->dev->counts;
    for (int i = 0; i < s->modules; i++)
        mgi_module_zero_grad(s->module[i], run);
    mgi_adapter_begin(&s->adapter, run);
    if (w->passes)
        pass(s, r, w, false, out);
    pass(s, r, w, true, out);
    mgi_dp_end(&s->parallel, run, NULL);
    for (int i = 0; w->mesh && i < s->modules; i++)
        sum_model(run, s, s->module[i], w->mesh);
    at(w, run, MGI_PLAN_BACKWARD);
    mgi_optimizer_step(&s->optimizer, run, 0);
    out->end = run->dev->counts;
    at(w, run, MGI_PLAN_OPTIMIZER);
}

mgen_status mgi_plan_walk_step(mgen_context *ctx, const mgi_plan_request *r, const mgi_plan_walk *w,
                               mgi_plan *out)
{
    step s = {.modules = 0};
    *out = (mgi_plan){0};
    mgi_run_init(&s.run, ctx, true);
    mgen_status status = step_make(&s, ctx, r, w);
    if (status == MGEN_OK) {
        walk(&s, r, w, out);
        status = s.run.status;
        out->parameters = mgi_module_size(&s.vt.module);
    }
    out->tokens = r->latent_frames / r->config.patch_t * (r->latent_height / r->config.patch_h) *
                  (r->latent_width / r->config.patch_w);
    out->forward_flops = out->forward.flops - out->start_forward;
    out->step_flops = out->end.flops - out->start.flops;
    out->launches = out->end.launches - out->start.launches;
    step_finish(&s);
    return status;
}

mgen_status mgi_plan_check(mgen_context *ctx, const mgi_plan_request *r)
{
    const mgi_vt_config *c = &r->config;
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
    return MGEN_OK;
}

mgen_status mgi_plan_step(mgen_context *ctx, const mgi_plan_request *r, mgi_plan *out)
{
    mgen_context *meta;
    *out = (mgi_plan){0};
    MGI_TRY(mgi_plan_check(ctx, r));
    MGI_TRY(mgi_context_private(ctx, &meta));
    mgen_status status = mgi_device_create_meta(meta, ctx->device);
    if (status == MGEN_OK)
        status = mgi_plan_walk_step(meta, r, &(mgi_plan_walk){0}, out);
    if (status != MGEN_OK)
        mgi_fail_from(ctx, status, meta);
    mgi_context_free(meta);
    return status;
}
