/* SPDX-License-Identifier: MIT */
#include "api/args.h"

#include "core/alloc.h"
#include "train/plan_text.h"

#include <string.h>

enum { SPATIAL = 8, TEMPORAL = 8 }; /* of the TAE */

/* Which of `count` names is `text`; NULL text: `otherwise`. -1 and an error for none. */
static int choice(mgen_context *ctx, const char *field, const char *text, const char *const *names,
                  int count, int otherwise)
{
    if (!text)
        return otherwise;
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], text))
            return i;
    mgi_fail(ctx, MGEN_E_INVALID, "%s is \"%.40s\"; known are %s, %s%s%s", field, text, names[0],
             names[1], count > 2 ? ", " : "", count > 2 ? names[2] : "");
    return -1;
}

/* A sample of the presets that make videos. */
static mgen_status video_of(mgen_context *ctx, const mgen_plan_params *p, mgi_plan_request *r)
{
    if (!p->width || !p->height || p->width % SPATIAL || p->height % SPATIAL)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "width and height must be multiples of 16; they are %u x %u", p->width,
                        p->height);
    /* Of these presets only the upsampler sees a condition; its autoencoder codes each frame by itself. */
    r->latent_frames = r->config.condition ? p->frames : (p->frames + TEMPORAL - 1) / TEMPORAL;
    r->latent_height = p->height / SPATIAL;
    r->latent_width = p->width / SPATIAL;
    r->text_tokens = p->text_tokens ? p->text_tokens : 1024;
    return MGEN_OK;
}

/* Of the one that makes sound, as it alone sees features of frames: T5-base has the report's 512 tokens. */
static mgen_status sound_of(mgen_context *ctx, const mgen_plan_params *p, mgi_plan_request *r)
{
    if (p->width || p->height)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "preset \"%s\" makes sound: frames are its latents, 25 a second, and "
                        "width and height must be 0; they are %u x %u",
                        p->preset, p->width, p->height);
    r->latent_frames = p->frames;
    r->latent_height = r->latent_width = 1;
    r->text_tokens = p->text_tokens ? p->text_tokens : 512;
    return MGEN_OK;
}

static mgen_status request_of(mgen_context *ctx, const mgen_plan_params *p, mgi_plan_request *r)
{
    static const char *const recompute[] = {[MGI_RECOMPUTE_NONE] = "none",
                                            [MGI_RECOMPUTE_SELECTIVE] = "selective",
                                            [MGI_RECOMPUTE_FULL] = "full"};
    static const char *const precision[] = {[MGK_F32] = "f32", [MGK_BF16] = "bf16"};
    MGI_TRY(mgi_check_text(ctx, p->preset, "preset", 64));
    MGI_TRY(mgi_vt_preset(ctx, p->preset, &r->config));
    r->recompute = choice(ctx, "recompute", p->recompute, recompute, 3, MGI_RECOMPUTE_SELECTIVE);
    r->dtype = choice(ctx, "precision", p->precision, precision, 2, MGK_BF16);
    if (r->recompute < 0 || r->dtype < 0)
        return MGEN_E_INVALID;
    if (!p->frames || p->width > 65536 || p->height > 65536 || p->frames > 65536 ||
        p->batch > 65536 || p->text_tokens > 65536)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "frames is 1..65536, width, height, batch and text_tokens at most 65536; "
                        "they are %u, %u, %u, %u, %u",
                        p->frames, p->width, p->height, p->batch, p->text_tokens);
    r->batch = p->batch ? p->batch : 1;
    return r->config.features ? sound_of(ctx, p, r) : video_of(ctx, p, r);
}

static void fill(mgen_report *report, const mgi_plan *p)
{
    const uint64_t *start = p->start.now, *peak = p->end.peak;
    mgi_report_add(report, "parameters", (double)p->parameters);
    mgi_report_add(report, "tokens", (double)p->tokens);
    mgi_report_add(report, "forward_flops", p->forward_flops);
    mgi_report_add(report, "step_flops", p->step_flops);
    mgi_report_add(report, "master_bytes", (double)start[MGI_MEM_PARAMETER]);
    mgi_report_add(report, "compute_bytes", (double)start[MGI_MEM_COMPUTE]);
    mgi_report_add(report, "gradient_bytes", (double)start[MGI_MEM_GRADIENT]);
    mgi_report_add(report, "optimizer_bytes", (double)start[MGI_MEM_OPTIMIZER]);
    mgi_report_add(report, "activation_bytes", (double)peak[MGI_MEM_ACTIVATION]);
    mgi_report_add(report, "flow_bytes", (double)peak[MGI_MEM_FLOW]);
    mgi_report_add(report, "peak_bytes", (double)p->end.total_peak);
}

/* ---- meshes ---- */

static mgen_status mesh_of(mgen_context *ctx, const mgen_plan_params *p, mgi_mesh_request *r)
{
    if (p->gpus > 65536 || p->text > 2 || p->timeline > 1)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "gpus is at most 65536, text 0, 1 or 2, timeline 0 or 1; they are %u, %u, %u", p->gpus,
            p->text, p->timeline);
    MGI_TRY(mgi_check_text(ctx, p->gpu, "gpu", 512));
    MGI_TRY(mgi_gpu_parse(ctx, p->gpu, &r->gpu));
    if (p->mesh) {
        MGI_TRY(mgi_check_text(ctx, p->mesh, "mesh", 64));
        MGI_TRY(mgi_mesh_parse(ctx, p->mesh, &r->mesh));
        if (!strstr(p->mesh, "shard"))
            r->mesh.shard = 0; /* all of dp x cp */
    }
    r->gpus = (int)p->gpus;
    r->global_batch = p->global_batch;
    r->any_recompute = !p->recompute;
    r->any_cp = true;
    r->timeline = p->timeline;
    return MGEN_OK;
}

static void fill_mesh(mgen_report *report, const mgi_mesh_plans *plans)
{
    const mgi_mesh_plan *p = &plans->list[0];
    mgi_report_add(report, "parameters", (double)plans->parameters);
    mgi_report_add(report, "tokens", (double)plans->tokens);
    mgi_report_add(report, "dp", p->mesh.dp);
    mgi_report_add(report, "cp", p->mesh.cp);
    mgi_report_add(report, "tp", p->mesh.tp);
    mgi_report_add(report, "shard", p->mesh.shard);
    mgi_report_add(report, "global_batch", (double)p->global_batch);
    mgi_report_add(report, "fits", p->fits);
    mgi_report_add(report, "memory_per_rank_bytes", p->memory_bytes);
    mgi_report_add(report, "flops_per_step", p->model_flops);
    mgi_report_add(report, "step_seconds", p->seconds);
    mgi_report_add(report, "mfu", p->mfu);
    mgi_report_add(report, "exposed_comm_seconds", p->exposed_seconds);
}

static mgen_status plan_mesh(mgen_context *ctx, const mgen_plan_params *p,
                             const mgi_plan_request *step, mgen_report *report)
{
    mgi_mesh_request r = {.step = *step};
    mgi_mesh_plans plans;
    mgen_status status = MGEN_OK;
    MGI_TRY(mesh_of(ctx, p, &r));
    MGI_TRY(mgi_mesh_plan_make(ctx, &r, &plans));
    fill_mesh(report, &plans);
    if (p->text == 1)
        status = mgi_plan_json(ctx, p->preset, &r, &plans, &report->text);
    else if (p->text == 2)
        status = mgi_plan_tables(ctx, p->preset, &r, &plans, &report->text);
    mgi_mesh_plans_free(ctx, &plans);
    return status;
}

static mgen_status plan_device(mgen_context *ctx, const mgen_plan_params *p,
                               const mgi_plan_request *step, mgen_report *report)
{
    mgi_plan plan;
    if (p->gpu || p->mesh || p->global_batch || p->text || p->timeline)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "gpus is 0: gpu, mesh, global_batch, text and timeline are of a mesh of GPUs");
    MGI_TRY(mgi_plan_step(ctx, step, &plan));
    fill(report, &plan);
    return MGEN_OK;
}

mgen_status mgen_plan_training(mgen_context *ctx, const mgen_plan_params *params, mgen_report **out)
{
    mgen_plan_params p;
    mgi_plan_request request = {.cp = MGI_CP_GATHER};
    mgen_report *report;
    if (!ctx || !out)
        return mgi_fail(ctx, MGEN_E_INVALID, "out is NULL");
    *out = NULL;
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(
        mgi_struct_in(ctx, &p, sizeof p, offsetof(mgen_plan_params, gpus), params, "plan params"));
    MGI_TRY(request_of(ctx, &p, &request));
    MGI_TRY(mgi_report_create(ctx, &report));
    mgen_status status =
        p.gpus ? plan_mesh(ctx, &p, &request, report) : plan_device(ctx, &p, &request, report);
    if (status != MGEN_OK) {
        mgen_report_destroy(report);
        return status;
    }
    *out = report;
    return MGEN_OK;
}
