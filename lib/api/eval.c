/* SPDX-License-Identifier: MIT */
#include "api/args.h"

#include "eval/alignment.h"
#include "eval/clips_eval.h"
#include "eval/curate_eval.h"
#include "eval/edit_eval.h"
#include "eval/frechet_eval.h"
#include "eval/personalize_eval.h"
#include "eval/rewrite_eval.h"
#include "eval/sound_eval.h"
#include "eval/tae_eval.h"
#include "eval/upsample_eval.h"
#include "flow/schedule.h"

#include <string.h>

static bool forward_progress(void *user, int done, int total)
{
    const mgen_eval_params *p = user;
    return p->on_progress && p->on_progress(p->user, (uint32_t)done, (uint32_t)total) != 0;
}

typedef enum protocol {
    TAE,
    ALIGNMENT,
    FRECHET,
    UPSAMPLE,
    EDIT,
    SOUND,
    PERSONALIZE,
    REWRITE,
    CURATE,
    PROTOCOLS
} protocol;

/* PROTOCOLS: none of that name. */
static protocol find_protocol(const char *name)
{
    static const char *const names[PROTOCOLS] = {"tae",         "alignment", "frechet",
                                                 "upsample",    "edit",      "sound",
                                                 "personalize", "rewrite",   "curate"};
    protocol found = TAE;
    while (found < PROTOCOLS && strcmp(name, names[found]) != 0)
        found++;
    return found;
}

static void tell_flow(mgen_report *report, const mgi_vt_config *c, const mgi_eval_request *r)
{
    mgi_report_add(report, "guidance", (double)mgi_vt_guidance(c, r->guidance));
    mgi_report_add(report, "noise_scale", (double)mgi_vt_noise_scale(c, r->noise_scale));
}

/* Whatever frame rate the scenes have. */
static mgen_status run_upsample(mgen_context *ctx, const mgen_pipeline *pipe, mgi_eval_request *r,
                                mgen_report *report)
{
    const mgen_clip_info any_rate = {.fps_num = 1, .fps_den = 1};
    const mgi_clip_shape clip = {pipe->width, pipe->height, pipe->frames, pipe->fps};
    mgi_networks upsampler;
    MGI_TRY(mgi_pipeline_upsampler(ctx, pipe, &any_rate, &upsampler));
    if (!pipe->tae)
        return mgi_fail(ctx, MGEN_E_STATE,
                        "the pipeline lacks its TAE, through which the films to upsample go");
    r->steps = r->steps ? r->steps : (int)upsampler.upsampler->steps;
    r->guidance = mgi_vt_guidance(&upsampler.video->config, r->guidance);
    mgi_report_add(report, "steps", (double)r->steps);
    tell_flow(report, &upsampler.video->config, r);
    return mgi_eval_upsample(ctx, &pipe->tae->net, &upsampler, &clip, r, report);
}

/* Beside the pipeline's video model, if it has one. */
static mgen_status run_edit(mgen_context *ctx, const mgen_pipeline *pipe, mgi_eval_request *r,
                            mgen_report *report)
{
    const mgen_clip_info any_rate = {.fps_num = 1, .fps_den = 1};
    mgi_networks editor, plain;
    MGI_TRY(mgi_pipeline_editor(ctx, pipe, &any_rate, &editor));
    if (pipe->video)
        MGI_TRY(mgi_pipeline_begins(ctx, pipe, &any_rate, &plain));
    r->steps = r->steps ? r->steps : (int)editor.editor->steps;
    mgi_report_add(report, "steps", (double)r->steps);
    tell_flow(report, &editor.video->config, r);
    mgi_report_add(report, "source_guidance", (double)editor.editor->source_guidance);
    return mgi_eval_edit(ctx, &editor, pipe->video ? &plain : NULL, r, report);
}

static mgen_status run_personalize(mgen_context *ctx, const mgen_pipeline *pipe,
                                   mgi_eval_request *r, mgen_report *report)
{
    mgi_networks n;
    MGI_TRY(mgi_pipeline_personalizer(ctx, pipe, &n));
    r->steps = r->steps ? r->steps : (int)n.personalizer->steps;
    mgi_report_add(report, "steps", (double)r->steps);
    tell_flow(report, &n.video->config, r);
    mgi_report_add(report, "source_guidance", (double)n.personalizer->source_guidance);
    return mgi_eval_personalize(ctx, &n, r, report);
}

static mgen_status run_sound(mgen_context *ctx, const mgen_pipeline *pipe, mgi_eval_request *r,
                             mgen_report *report)
{
    const mgi_clip_shape clip = {pipe->width, pipe->height, pipe->frames, pipe->fps};
    MGI_TRY(mgi_pipeline_audio(ctx, pipe));
    const mgi_audio *audio = &pipe->audio->net;
    r->schedule = MGI_SCHEDULE_LINEAR; /* as requests for sound have it */
    r->steps = r->steps ? r->steps : (int)audio->config.steps;
    mgi_report_add(report, "steps", (double)r->steps);
    tell_flow(report, &audio->config.transformer, r);
    return mgi_eval_sound(ctx, audio, &clip, r, report);
}

static mgen_status run_alignment(mgen_context *ctx, const mgen_pipeline *pipe, mgi_eval_request *r,
                                 mgen_report *report)
{
    mgi_networks networks;
    MGI_TRY(mgi_pipeline_networks(ctx, pipe, &networks));
    r->steps = r->steps ? r->steps : 50;
    r->guidance = mgi_vt_guidance(&networks.video->config, r->guidance);
    tell_flow(report, &networks.video->config, r);
    return mgi_eval_alignment(ctx, &networks, r, report);
}

static mgen_status run_frechet(mgen_context *ctx, const mgen_pipeline *pipe, mgi_dataset *dataset,
                               mgi_eval_request *r, mgen_report *report)
{
    mgi_networks networks;
    MGI_TRY(mgi_pipeline_networks(ctx, pipe, &networks));
    r->steps = r->steps ? r->steps : 50;
    r->guidance = mgi_vt_guidance(&networks.video->config, r->guidance);
    mgi_report_add(report, "steps", (double)r->steps);
    tell_flow(report, &networks.video->config, r);
    return mgi_eval_frechet(ctx, &networks, dataset, r, report);
}

static mgen_status run_rewrite(mgen_context *ctx, const mgen_pipeline *pipe, mgi_eval_request *r,
                               mgen_report *report)
{
    mgi_networks networks;
    MGI_TRY(mgi_pipeline_rewriter(ctx, pipe));
    MGI_TRY(mgi_pipeline_networks(ctx, pipe, &networks));
    r->steps = r->steps ? r->steps : 50;
    r->guidance = mgi_vt_guidance(&networks.video->config, r->guidance);
    mgi_report_add(report, "steps", (double)r->steps);
    tell_flow(report, &networks.video->config, r);
    return mgi_eval_rewrite(ctx, &networks, &pipe->rewriter->net, r, report);
}

static mgen_status run_protocol(mgen_context *ctx, const mgen_pipeline *pipe, mgen_eval_params *p,
                                mgen_report *report)
{
    static const int64_t own_number[PROTOCOLS] = {64, 2 * MGI_ALIGNMENT_PROMPTS, 500, 8, 28, 16,
                                                  32, 2 * MGI_ALIGNMENT_PROMPTS, 120};
    const protocol which = find_protocol(p->protocol);
    if (which == PROTOCOLS)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "protocol is \"%.40s\"; known are \"tae\", \"alignment\", \"frechet\", \"upsample\", "
            "\"edit\", \"sound\", \"personalize\", \"rewrite\" and \"curate\"",
            p->protocol);
    if (p->n > 1000000 || p->steps > 1000 || !(p->guidance >= 0.0f && p->guidance <= 100.0f))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "n is at most 1000000, steps at most 1000, guidance 0..100");
    MGI_TRY(mgi_check_sampling(ctx, p->schedule, p->solver, p->guidance_from, p->guidance_to,
                               p->drop_text));
    MGI_TRY(mgi_check_noise_scale(ctx, p->noise_scale));
    mgi_eval_request r = {.n = p->n ? p->n : own_number[which],
                          .seed = p->seed,
                          .steps = (int)p->steps,
                          .guidance = p->guidance,
                          .noise_scale = p->noise_scale,
                          .schedule = (int)p->schedule,
                          .solver = (int)p->solver,
                          .guidance_from = p->guidance_from,
                          .guidance_to = p->guidance_to,
                          .drop_text = p->drop_text,
                          .progress = forward_progress,
                          .user = p};
    if (mgi_mesh_split(pipe->mesh))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "a pipeline of several ranks is not measured; open it on one of them");
    if (p->dataset && which != TAE && which != FRECHET)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "a dataset can be measured by protocol \"tae\" or \"frechet\" only");
    if (which == TAE && !pipe->tae)
        return mgi_fail(ctx, MGEN_E_STATE, "the pipeline lacks its TAE");
    if (p->dataset) {
        bool endless = p->dataset->count == UINT64_MAX;
        r.n = p->n || endless ? r.n : INT64_MAX;
    }
    if (which == FRECHET)
        return run_frechet(ctx, pipe, p->dataset, &r, report);
    if (p->dataset)
        return mgi_eval_tae_clips(ctx, &pipe->tae->net, p->dataset, &r, report);
    mgi_report_add(report, "n", (double)r.n);
    if (which == TAE)
        return mgi_eval_tae(ctx, &pipe->tae->net, &r, report);
    if (which == CURATE)
        return mgi_eval_curate(ctx, &r, report);
    if (which == EDIT)
        return run_edit(ctx, pipe, &r, report);
    if (which == PERSONALIZE)
        return run_personalize(ctx, pipe, &r, report);
    if (which == REWRITE)
        return run_rewrite(ctx, pipe, &r, report);
    if (which == SOUND)
        return run_sound(ctx, pipe, &r, report);
    return which == ALIGNMENT ? run_alignment(ctx, pipe, &r, report)
                              : run_upsample(ctx, pipe, &r, report);
}

mgen_status mgen_evaluate(mgen_context *ctx, const mgen_pipeline *pipeline,
                          const mgen_eval_params *params, mgen_report **out)
{
    mgen_eval_params p;
    mgen_pipeline pipe;
    mgen_report *report;
    mgi_message before;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_struct_in(ctx, &p, sizeof p, sizeof p, params, "eval params"));
    MGI_TRY(mgi_check_text(ctx, p.protocol, "protocol", 64));
    MGI_TRY(mgi_report_create(ctx, &report));
    mgen_status status = mgi_pipeline_in(ctx, pipeline, &pipe);
    if (status == MGEN_OK) {
        mgi_quiet_begin(ctx, &before);
        status = mgi_quiet_told(ctx, &before, run_protocol(ctx, &pipe, &p, report));
        mgen_pipeline_close(&pipe);
    }
    if (status != MGEN_OK)
        mgen_report_destroy(report);
    else
        *out = report;
    return status;
}

const char *mgen_toybox_prompt(uint32_t i)
{
    return i < MGI_ALIGNMENT_PROMPTS ? mgi_alignment_constant((int)i) : NULL;
}
