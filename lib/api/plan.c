/* SPDX-License-Identifier: MIT */
#include "api/args.h"

#include "train/plan.h"

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
    if (!p->width || !p->height || !p->frames || p->width > 65536 || p->height > 65536 ||
        p->frames > 65536 || p->batch > 65536 || p->text_tokens > 65536)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "width, height and frames are 1..65536, batch and text_tokens at most 65536; "
            "they are %u, %u, %u, %u, %u",
            p->width, p->height, p->frames, p->batch, p->text_tokens);
    if (p->width % SPATIAL || p->height % SPATIAL)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "width and height must be multiples of 16; they are %u x %u", p->width,
                        p->height);
    r->batch = p->batch ? p->batch : 1;
    r->latent_frames = (p->frames + TEMPORAL - 1) / TEMPORAL;
    r->latent_height = p->height / SPATIAL;
    r->latent_width = p->width / SPATIAL;
    r->text_tokens = p->text_tokens ? p->text_tokens : 1024;
    return MGEN_OK;
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

mgen_status mgen_plan_training(mgen_context *ctx, const mgen_plan_params *params, mgen_report **out)
{
    mgen_plan_params p;
    mgi_plan_request request;
    mgi_plan plan;
    if (!ctx || !out)
        return MGEN_E_INVALID;
    *out = NULL;
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_struct_in(ctx, &p, sizeof p, sizeof p, params, "plan params"));
    MGI_TRY(request_of(ctx, &p, &request));
    MGI_TRY(mgi_plan_step(ctx, &request, &plan));
    MGI_TRY(mgi_report_create(ctx, out));
    fill(*out, &plan);
    return MGEN_OK;
}
