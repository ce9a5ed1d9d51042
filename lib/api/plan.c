/* SPDX-License-Identifier: MIT */
#include "api/args.h"

#include "core/alloc.h"
#include "train/plan_recipe.h"
#include "train/plan_text.h"

#include <stdio.h>
#include <string.h>

enum { SPATIAL = 8, TEMPORAL = 8 }; /* of the TAE */

static const char *const recomputes[] = {[MGI_RECOMPUTE_NONE] = "none",
                                         [MGI_RECOMPUTE_SELECTIVE] = "selective",
                                         [MGI_RECOMPUTE_FULL] = "full"};

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
    static const char *const precision[] = {[MGK_F32] = "f32", [MGK_BF16] = "bf16"};
    MGI_TRY(mgi_check_text(ctx, p->preset, "preset", 64));
    MGI_TRY(mgi_vt_preset(ctx, p->preset, &r->config));
    r->recompute = choice(ctx, "recompute", p->recompute, recomputes, 3, MGI_RECOMPUTE_SELECTIVE);
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

/* ---- recipes ---- */

/* "FILE:STAGE" or, of all stages, "FILE:". NULL: a preset. */
static const char *stage_of(const char *preset)
{
    const char *colon = preset ? strrchr(preset, ':') : NULL;
    return colon ? colon + 1 : NULL;
}

static mgen_status machine_of(mgen_context *ctx, const mgen_plan_params *p, mgi_recipe_machine *m)
{
    mgi_mesh_request r = {.gpus = 0};
    if (p->width || p->height || p->frames || p->global_batch || p->precision || p->timeline)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "the preset is a recipe, which says its samples, batches and precision: width, "
            "height, frames, global_batch, precision and timeline must be 0");
    MGI_TRY(mesh_of(ctx, p, &r));
    *m = (mgi_recipe_machine){.gpu = r.gpu,
                              .gpus = r.gpus,
                              .mesh = r.mesh,
                              .samples = p->batch,
                              .text_tokens = p->text_tokens,
                              .recompute = -1};
    if (p->recompute)
        m->recompute = choice(ctx, "recompute", p->recompute, recomputes, 3, -1);
    if (p->recompute && m->recompute < 0)
        return MGEN_E_INVALID;
    if (p->batch > 65536 || p->text_tokens > 65536)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "batch and text_tokens are at most 65536; they are %u, %u", p->batch,
                        p->text_tokens);
    return MGEN_OK;
}

/* Of a mesh what the last of them needs; of all of them that were planned the sums, and whether each fits. */
static void fill_recipe(mgen_report *report, const mgi_stage_plan *list, int64_t count)
{
    const mgi_stage_plan *last = NULL;
    double steps = 0.0, samples = 0.0, days = 0.0, gpu_days = 0.0;
    bool fits = true;
    for (int64_t i = 0; i < count; i++) {
        const mgi_stage_plan *p = &list[i];
        if (!p->planned)
            continue;
        last = p;
        steps += p->steps;
        samples += p->samples;
        days += p->days;
        gpu_days += p->days * p->gpus;
        fits = fits && p->longest.fits;
    }
    if (!last)
        return;
    mgi_report_add(report, "parameters", (double)last->parameters);
    mgi_report_add(report, "tokens", (double)last->tokens);
    mgi_report_add(report, "dp", last->longest.mesh.dp);
    mgi_report_add(report, "cp", last->longest.mesh.cp);
    mgi_report_add(report, "tp", last->longest.mesh.tp);
    mgi_report_add(report, "shard", last->longest.mesh.shard);
    mgi_report_add(report, "global_batch", last->global_batch);
    mgi_report_add(report, "fits", fits);
    mgi_report_add(report, "memory_per_rank_bytes", last->longest.memory_bytes);
    mgi_report_add(report, "step_seconds", last->step_seconds);
    mgi_report_add(report, "mfu", last->mfu);
    mgi_report_add(report, "steps", steps);
    mgi_report_add(report, "samples", samples);
    mgi_report_add(report, "days", days);
    mgi_report_add(report, "gpu_days", gpu_days);
}

/* What cannot be read, or of a single stage planned, is the fault of the recipe, which is the preset. */
static mgen_status of_preset(mgen_context *ctx, mgen_status status)
{
    return status == MGEN_OK || status == MGEN_E_NO_MEMORY || status == MGEN_E_LIMIT
               ? status
               : mgi_fail_context(ctx, MGEN_E_INVALID, "the recipe");
}

static mgen_status plan_stages(mgen_context *ctx, const char *file, const char *stage,
                               const mgi_recipe_machine *m, mgi_stage_plan *list, int64_t *count)
{
    char names[MGI_RECIPE_STAGES_MAX][64];
    if (*stage) {
        *count = 1;
        MGI_TRY(mgi_stage_plan_make(ctx, file, stage, m, list));
        return list->planned
                   ? MGEN_OK
                   : mgi_fail(ctx, MGEN_E_INVALID, "%s: stage \"%s\": %s", file, stage, list->why);
    }
    MGI_TRY(mgi_recipe_names(ctx, file, names, count));
    for (int64_t i = 0; i < *count; i++)
        MGI_TRY(mgi_stage_plan_make(ctx, file, names[i], m, &list[i]));
    return MGEN_OK;
}

static mgen_status plan_recipe(mgen_context *ctx, const mgen_plan_params *p, mgen_report *report)
{
    const char *stage = stage_of(p->preset);
    char file[MGI_PATH_MAX + 1];
    mgi_recipe_machine m;
    mgi_stage_plan *list;
    int64_t count;
    MGI_TRY(mgi_check_text(ctx, p->preset, "preset", MGI_PATH_MAX));
    MGI_TRY(machine_of(ctx, p, &m));
    MGI_TRY(mgi_alloc_zero(ctx, MGI_RECIPE_STAGES_MAX, sizeof *list, &list));
    snprintf(file, sizeof file, "%.*s", (int)(stage - 1 - p->preset), p->preset);
    mgen_status status = of_preset(ctx, plan_stages(ctx, file, stage, &m, list, &count));
    if (status == MGEN_OK)
        fill_recipe(report, list, count);
    if (status == MGEN_OK && p->text == 1)
        status = mgi_recipe_plan_json(ctx, file, &m.gpu, list, count, &report->text);
    else if (status == MGEN_OK && p->text == 2)
        status = mgi_recipe_plan_table(ctx, file, &m.gpu, list, count, &report->text);
    mgi_free(ctx, list);
    return status;
}

static mgen_status plan_preset(mgen_context *ctx, const mgen_plan_params *p, mgen_report *report)
{
    mgi_plan_request request = {.cp = MGI_CP_GATHER};
    MGI_TRY(request_of(ctx, p, &request));
    return p->gpus ? plan_mesh(ctx, p, &request, report) : plan_device(ctx, p, &request, report);
}

mgen_status mgen_plan_training(mgen_context *ctx, const mgen_plan_params *params, mgen_report **out)
{
    mgen_plan_params p;
    mgen_report *report;
    mgi_message before;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(
        mgi_struct_in(ctx, &p, sizeof p, offsetof(mgen_plan_params, gpus), params, "plan params"));
    MGI_TRY(mgi_report_create(ctx, &report));
    mgi_quiet_begin(ctx, &before);
    mgen_status status =
        stage_of(p.preset) ? plan_recipe(ctx, &p, report) : plan_preset(ctx, &p, report);
    status = mgi_quiet_told(ctx, &before, status);
    if (status != MGEN_OK) {
        mgen_report_destroy(report);
        return status;
    }
    *out = report;
    return MGEN_OK;
}
