/* SPDX-License-Identifier: MIT */
#include "train/codec_step.h"

#include "core/philox.h"
#include "kernels/random/random.h"

#include <string.h>

mgen_status mgi_codec_step_init(mgi_codec_step *s, mgen_context *ctx,
                                const mgi_stage_params *params, const mgi_codec_parts *of)
{
    const mgi_stage *stage = of->stage;
    mgi_module *m = of->module;
    *s = (mgi_codec_step){.ctx = ctx, .of = *of, .seed = params->seed};
    mgi_graph_init(&s->graph, ctx->device);
    MGI_TRY(mgi_tensor_create(ctx->device, MGK_F32, MGI_DIMS(of->terms), &s->sums));
    if (stage->freeze_encoder)
        mgi_stage_freeze_encoder(m);
    MGI_TRY(mgi_module_train(m));
    MGI_TRY(mgi_module_compute(m, stage->dtype));
    MGI_TRY(mgi_optimizer_init(&s->optimizer, ctx, &stage->optimizer, stage->steps, &m, 1));
    mgi_dp_init(&s->parallel, params->comm, &m, 1);
    return MGEN_OK;
}

void mgi_codec_step_finish(mgi_codec_step *s)
{
    mgi_optimizer_finish(&s->optimizer);
    mgi_tensor_release(s->sums);
    mgi_graph_finish(&s->graph);
}

static void clear_sums(mgi_run *run, mgi_codec_step *s, int64_t index)
{
    mgi_module_zero_grad(s->of.module, run);
    mgi_fill(run, s->sums, 0.0f);
    mgi_adversary_clear(s->of.adversary, run, index);
}

static void apply(mgi_run *run, mgi_codec_step *s, int64_t index)
{
    mgi_optimizer_apply(&s->optimizer, run);
    mgi_adversary_apply(s->of.adversary, run, index);
}

/* One rank's pass begins the step with the first one and ends it with the last one. */
typedef struct pass_work {
    mgi_codec_step *s;
    mgi_codec_pass p;
    bool begins, ends;
} pass_work;

static void learn(mgi_run *run, void *user)
{
    const pass_work *w = user;
    const mgi_codec_parts *of = &w->s->of;
    if (w->begins)
        clear_sums(run, w->s, w->p.index);
    of->kind->learn(run, of->r, &w->p);
    if (w->ends)
        apply(run, w->s, w->p.index);
}

/* What a captured pass depends on besides its inputs. */
static uint64_t pass_key(const pass_work *w)
{
    uint64_t kind = mgi_adversary_acts(w->s->of.adversary, w->p.index);
    uint32_t bits;
    memcpy(&bits, &w->p.weight, sizeof bits);
    kind = kind << 2 | (uint64_t)w->begins << 1 | (uint64_t)w->ends;
    return mgi_graph_key(mgi_graph_key(kind << 32 | bits, w->p.x), w->p.noise);
}

/* Of the latents of x, whose first sample is number `row` of the step's. */
static mgi_tensor *posterior_noise(mgi_run *run, const mgi_codec_step *s, int64_t index,
                                   int64_t row, const mgi_tensor *x)
{
    const int64_t each = s->of.kind->latents(s->of.r, x);
    return mgi_random(run, MGK_RANDOM_NORMAL, s->seed, MGI_STREAM_POSTERIOR,
                      ((uint64_t)index << 32) + (uint64_t)(row * each), 1.0f, 0.0f,
                      MGI_DIMS(x->dims[0] * each));
}

/* The gradients of pass `i` of the step, whose losses count `weight` in it and are added to the sums. */
static void pass(mgi_run *run, mgi_codec_step *s, int64_t index, int64_t i, float weight, bool last)
{
    bool alone = !s->parallel.comm;
    pass_work w = {.s = s,
                   .p = {.index = index, .weight = weight, .last = last},
                   .begins = alone && i == 0,
                   .ends = alone && last};
    int64_t row = 0;
    if (alone)
        mgi_graph_enter(&s->graph);
    w.p.x = s->of.kind->take(run, s->of.r, index, i, &row);
    w.p.noise = w.p.x ? posterior_noise(run, s, index, row, w.p.x) : NULL;
    if (alone && run->status == MGEN_OK)
        mgi_graph_run(&s->graph, run, pass_key(&w), learn, &w);
    else
        learn(run, &w);
    mgi_graph_leave(&s->graph);
}

static mgen_status update(mgi_codec_step *s, int64_t index)
{
    const int64_t passes = s->of.stage->accumulate;
    const double flops = s->ctx->device->counts.flops;
    mgi_run run;
    mgi_run_init(&run, s->ctx, true);
    mgi_optimizer_begin(&s->optimizer, &run, index);
    mgi_adversary_begin(s->of.adversary, &run, index);
    if (s->parallel.comm)
        clear_sums(&run, s, index);
    for (int64_t i = 0; i < passes; i++) {
        int64_t mark = mgi_scope_push(&run);
        bool last = i == passes - 1;
        if (last)
            mgi_dp_begin(&s->parallel, &run, true);
        pass(&run, s, index, i, mgi_dp_weight(&s->parallel) / (float)passes, last);
        mgi_scope_pop(&run, mark, NULL);
    }
    if (s->parallel.comm) {
        mgi_dp_end(&s->parallel, &run, s->sums);
        mgi_adversary_end(s->of.adversary, &run, index);
        apply(&run, s, index);
    }
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    if (status == MGEN_OK) {
        s->updated = index + 1;
        s->flops = s->ctx->device->counts.flops - flops;
    }
    mgi_run_finish(&run);
    return status;
}

mgen_status mgi_codec_step_take(mgi_codec_step *s, int64_t index, float *sums)
{
    if (s->updated <= index)
        MGI_TRY(update(s, index));
    mgi_tensor_read(s->sums, 0, sums, s->of.terms);
    return MGEN_OK;
}

void mgi_codec_step_state(mgi_codec_step *s, int data, mgi_stage_state *out)
{
    mgi_adversary *a = s->of.adversary;
    *out = (mgi_stage_state){.stage = s->of.stage,
                             .seed = s->seed,
                             .data = data,
                             .module = {s->of.module, a->module},
                             .modules = a->module ? 2 : 1,
                             .optimizer = &s->optimizer,
                             .second = a->module ? &a->optimizer : NULL,
                             .position = &s->updated};
    mgi_stage_ranks(out, NULL, s->parallel.comm);
}

mgen_status mgi_codec_averaged(mgi_codec_step *s, mgi_codec_work *work, void *user)
{
    mgi_run run;
    mgi_run_init(&run, s->ctx, false);
    mgi_module_swap_ema(s->of.module);
    work(&run, s->of.r, user);
    mgi_module_swap_ema(s->of.module);
    mgi_ok(&run, mgi_device_wait(run.dev));
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

mgen_status mgi_codec_normalise(mgi_codec_step *s, mgi_codec_work *add, mgi_tensor *shift,
                                mgi_tensor *scale)
{
    mgi_comm *comm = s->parallel.comm;
    mgi_moments m;
    mgen_status status = mgi_moments_init(s->ctx, shift->count, &m);
    if (status == MGEN_OK)
        status = mgi_codec_averaged(s, add, &m);
    status = mgi_comm_together(comm, status);
    if (status == MGEN_OK) {
        status = mgi_moments_share(comm, &m);
        if (status == MGEN_OK)
            status = mgi_moments_write(s->ctx, &m, shift, scale);
        status = mgi_comm_together(comm, status);
    }
    mgi_moments_free(s->ctx, &m);
    return status;
}
