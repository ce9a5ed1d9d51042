/* SPDX-License-Identifier: MIT
 * Plans of a recipe's stages in words and numbers. */
#include "core/alloc.h"
#include "io/json.h"
#include "train/plan_recipe.h"
#include "train/plan_text.h"

#include <stdio.h>
#include <string.h>

/* 1230000 as "1.23M". */
static const char *short_number(double value, char *buffer, size_t size)
{
    static const char *const units[] = {"", "k", "M", "B"};
    int i = 0;
    while (value >= 1000.0 && i < 3) {
        value /= 1000.0;
        i++;
    }
    snprintf(buffer, size, "%.4g%s", value, units[i]);
    return buffer;
}

static void print_stage(mgi_page *out, const mgi_stage_plan *p)
{
    char mesh[64], steps[32], samples[32];
    const mgi_mesh_plan *l = &p->longest;
    if (!p->planned) {
        mgi_page_print(out, "%-18s %s: %s\n", p->name, mgi_stage_kind_name[p->kind], p->why);
        return;
    }
    snprintf(mesh, sizeof mesh, "dp=%d,cp=%d,tp=%d", l->mesh.dp, l->mesh.cp, l->mesh.tp);
    mgi_page_print(
        out,
        "%-18s %6.2f %7lld %7.4g %6d %-18s %4lld x %-4lld %-9s %6.1f %-4s %8.3f %5.1f%% "
        "%7s %8s %8.1f %6.0f\n",
        p->name, (double)p->parameters * 1e-9, (long long)p->tokens, p->global_batch, p->gpus, mesh,
        (long long)l->samples, (long long)l->passes, mgi_plan_recompute_name(l->recompute),
        l->memory_bytes * 1e-9, l->fits ? "yes" : "NO", p->step_seconds, 100.0 * p->mfu,
        short_number(p->steps, steps, sizeof steps),
        short_number(p->samples, samples, sizeof samples), p->days, p->latent_bytes * 1e-9);
}

typedef struct names {
    const char *list[16]; /* further ones are left out */
    int count;
} names;

static void add_name(names *to, const char *name)
{
    int at = 0;
    while (at < to->count && strcmp(to->list[at], name))
        at++;
    if (*name && at == to->count && at < (int)(sizeof to->list / sizeof to->list[0]))
        to->list[to->count++] = name;
}

static void print_names(mgi_page *out, const char *what, const names *n)
{
    for (int i = 0; i < n->count; i++)
        mgi_page_print(out, "%s%s", i ? ", " : what, n->list[i]);
    mgi_page_add(out, n->count ? "\n" : "");
}

/* Encoders of which the recipe's folder does not tell what they are, each once; and those that learn along with sound. */
static void print_not_counted(mgi_page *out, const mgi_stage_plan *list, int64_t count)
{
    names unknown = {.count = 0}, along = {.count = 0};
    for (int64_t i = 0; i < count; i++) {
        const mgi_stage_plan *p = &list[i];
        for (int k = 0; k < MGI_ROLES && p->planned; k++)
            if (!p->counted[k])
                add_name(&unknown, p->text[k]);
        if (p->planned && !p->vision_counted)
            add_name(p->vision_known ? &along : &unknown, p->vision);
    }
    print_names(out, "\nnot counted, as they are not in the recipe's folder: ", &unknown);
    print_names(out, "\nnot counted, as they learn along with sound: ", &along);
}

mgen_status mgi_recipe_plan_table(mgen_context *ctx, const char *recipe, const mgi_gpu *gpu,
                                  const mgi_stage_plan *list, int64_t count, char **out)
{
    mgi_page p = {.ctx = ctx};
    mgi_page_add(&p, recipe);
    mgi_page_print(
        &p,
        ", on %s; 1e9 parameters, tokens of the longest sample, GB of a GPU's %.0f, days "
        "without a pause,\nGB of latents of a folder's clips, in its cache folder or its "
        "memory\n\n",
        gpu->name, gpu->gb);
    mgi_page_print(&p, "%-18s %6s %7s %7s %6s %-18s %-11s %-9s %6s %-4s %8s %6s %7s %8s %8s %6s\n",
                   "stage", "1e9", "tokens", "batch", "GPUs", "mesh", "a rank", "recompute", "GB",
                   "fits", "s a step", "MFU", "steps", "samples", "days", "clips");
    for (int64_t i = 0; i < count; i++)
        print_stage(&p, &list[i]);
    print_not_counted(&p, list, count);
    if (p.status == MGEN_OK)
        *out = p.text;
    else
        mgi_free(ctx, p.text);
    return p.status;
}

static void put_stage(mgi_json_writer *w, const mgi_stage_plan *p)
{
    const mgi_mesh_plan *l = &p->longest;
    mgi_json_open(w, NULL, '{');
    mgi_json_put_string(w, "stage", p->name);
    mgi_json_put_string(w, "kind", mgi_stage_kind_name[p->kind]);
    mgi_json_put_real(w, "steps", p->steps);
    if (!p->planned) {
        mgi_json_put_string(w, "not_planned", p->why);
        mgi_json_close(w, '}');
        return;
    }
    mgi_json_put_int(w, "parameters", p->parameters);
    mgi_json_put_int(w, "tokens", p->tokens);
    mgi_json_put_real(w, "global_batch", p->global_batch);
    mgi_json_put_int(w, "gpus", p->gpus);
    mgi_json_open(w, "mesh", '{');
    mgi_json_put_int(w, "dp", l->mesh.dp);
    mgi_json_put_int(w, "cp", l->mesh.cp);
    mgi_json_put_int(w, "tp", l->mesh.tp);
    mgi_json_put_int(w, "shard", l->mesh.shard);
    mgi_json_close(w, '}');
    mgi_json_put_int(w, "samples_per_rank", l->samples);
    mgi_json_put_int(w, "passes", l->passes);
    mgi_json_put_string(w, "recompute", mgi_plan_recompute_name(l->recompute));
    mgi_json_put_int(w, "memory_per_rank_bytes", (int64_t)l->memory_bytes);
    mgi_json_put_bool(w, "fits", l->fits);
    mgi_json_put_real(w, "step_seconds", p->step_seconds);
    mgi_json_put_real(w, "mfu", p->mfu);
    mgi_json_put_real(w, "days", p->days);
    mgi_json_put_real(w, "samples", p->samples);
    mgi_json_put_int(w, "latent_bytes", (int64_t)p->latent_bytes);
    mgi_json_open(w, "text_encoders", '{'); /* the frozen ones, and whether they are counted */
    for (int i = 0; i < MGI_ROLES; i++)
        if (p->text[i][0])
            mgi_json_put_bool(w, mgi_role_key[i], p->counted[i]);
    mgi_json_close(w, '}');
    if (p->vision[0])
        mgi_json_put_bool(w, "image_encoder", p->vision_counted);
    mgi_json_close(w, '}');
}

mgen_status mgi_recipe_plan_json(mgen_context *ctx, const char *recipe, const mgi_gpu *gpu,
                                 const mgi_stage_plan *list, int64_t count, char **out)
{
    mgi_json_writer w;
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_open(&w, NULL, '{');
    mgi_json_put_string(&w, "recipe", recipe);
    mgi_json_put_string(&w, "gpu", gpu->name);
    mgi_json_open(&w, "stages", '[');
    for (int64_t i = 0; i < count; i++)
        put_stage(&w, &list[i]);
    mgi_json_close(&w, ']');
    mgi_json_close(&w, '}');
    return mgi_json_take(&w, out);
}
