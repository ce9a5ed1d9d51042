/* SPDX-License-Identifier: MIT
 * Random calls on trainers, left in the middle or not, and plans and measurements. */
#ifndef TESTS_API_RANDOM_TRAINING_H
#define TESTS_API_RANDOM_TRAINING_H

#include "../unit/reported.h"
#include "random_media.h"

typedef struct stage {
    const char *name, *recipe;
    int loss; /* of one that reads no model: the losses of its first steps are known */
} stage;

static const stage all_stages[] = {
    {"image", "recipe.json", 0},       {"codec", "audio_recipe.json", 1},
    {"tae", "recipe.json", -1},        {"video", "recipe.json", -1},
    {"upsampler", "recipe.json", -1},  {"blind", "audio_recipe.json", -1},
    {"audio", "audio_recipe.json", -1}};
enum { STAGES = sizeof all_stages / sizeof *all_stages };

/* Steps of stages that read no model: what the first trainer said. */
static double known_loss[2][LOSSES];

static int32_t on_step(void *user, uint64_t step, const mgen_report *report)
{
    const trainer *t = user;
    return mgen_report_count(report) == 0 || (t->stop_at && step + 1 >= t->stop_at);
}

static void drop_trainer(driver *d, trainer *t)
{
    if (t->trainer)
        TOLD(d, mgen_trainer_destroy, t->trainer);
    *t = (trainer){.loss = -1};
}

static void make_trainer(driver *d)
{
    mgen_trainer *made = POISON(mgen_trainer), **out;
    mgen_trainer_params p = MGEN_TRAINER_PARAMS_INIT;
    mgen_context *ctx = context_of(d);
    seat *s = d->at;
    const stage *of = &all_stages[below(d, chance(d, 2) ? 2 : STAGES)];
    trainer spare = {.loss = -1}, *t = s ? &s->trainers[below(d, TRAINERS)] : &spare;
    for (int i = 0; s && i < TRAINERS; i++)
        t = s->trainers[i].trainer ? t : &s->trainers[i];
    p.recipe = path_of(d, chance(d, 16) ? "list.jsonl" : of->recipe);
    p.stage = odd_text(d, of->name);
    p.dir = path_of(d, chance(d, 16) ? "made" : ".");
    p.seed = 7;
    p.reserved0 = reserved(d);
    d->unsure = d->unsure || of->loss < 0 || !p.recipe || strstr(p.recipe, "list");
    if (chance(d, 4)) {
        p.dataset = pointer_of(find(d, DATASET, 0));
        d->unsure = d->reads = true;
    }
    if (chance(d, 4)) {
        p.resume = path_of(d, "at.safetensors");
        d->unsure = true;
    }
    if (chance(d, 2))
        p.on_step = on_step;
    p.user = t;
    p.mesh = s && !s->lost && chance(d, 2) ? s->mesh : NULL;
    out = or_null(d, &made);
    const bool known = of->loss >= 0 && !p.dataset && !p.resume && !d->unsure;
    const mgen_status status = CALL(d, mgen_trainer_create, ctx, SIZED(d, p, sizeof p), out);
    if (out)
        check_out(d, status, made);
    if (status != MGEN_OK)
        return;
    drop_trainer(d, t);
    *t = (trainer){.trainer = made,
                   .loss = known ? of->loss : -1,
                   .mesh = p.mesh != NULL,
                   .reads = p.dataset != NULL};
}

static void check_loss(driver *d, const trainer *t, uint64_t step, const mgen_report *r)
{
    if (t->loss < 0 || step >= LOSSES)
        return;
    const double was = known_loss[t->loss][step], is = reported_or(r, "loss", was);
    if (is != was)
        complain(d, "step %llu of stage %s has the loss %.17g, not %.17g", (unsigned long long)step,
                 all_stages[t->loss].name, is, was);
}

static void step_trainer(driver *d, seat *s, trainer *t)
{
    mgen_report *report = POISON(mgen_report), **out = chance(d, 3) ? NULL : &report;
    const uint64_t step = mgen_trainer_position(t->trainer);
    const mgen_status status = CALL(d, mgen_trainer_step, t->trainer, out);
    if (out)
        check_out(d, status, report);
    if (out && status == MGEN_OK) {
        check_loss(d, t, step, report);
        add(d, REPORT, report);
    }
    if (mgen_trainer_position(t->trainer) != step + (status == MGEN_OK))
        complain(d, "%s, and the position is another", mgen_status_name(status));
    (void)s;
}

static void use_trainer(driver *d)
{
    seat *s = &d->seats[below(d, SEATS)];
    trainer *t = &s->trainers[below(d, TRAINERS)];
    for (int i = 0; i < SEATS * TRAINERS && !t->trainer && !chance(d, 20); i++) {
        s = &d->seats[i / TRAINERS];
        t = &s->trainers[i % TRAINERS];
    }
    if (!t->trainer) {
        d->illegal = true;
        SILENT(d, mgen_trainer_step, NULL, NULL);
        SILENT(d, mgen_trainer_run, NULL, 1);
        SILENT(d, mgen_trainer_checkpoint, NULL, "x");
        SILENT(d, mgen_trainer_save, NULL);
        TOLD(d, mgen_trainer_stop, NULL);
        TOLD(d, mgen_trainer_destroy, NULL);
        if (TOLD(d, mgen_trainer_steps, NULL) || TOLD(d, mgen_trainer_position, NULL))
            complain(d, "steps of nothing");
        return;
    }
    d->at = s;
    const uint64_t position = TOLD(d, mgen_trainer_position, t->trainer);
    const uint64_t steps = TOLD(d, mgen_trainer_steps, t->trainer);
    if (position > steps)
        complain(d, "step %llu of %llu", (unsigned long long)position, (unsigned long long)steps);
    d->unsure = position == steps || t->loss < 0 || t->mesh;
    d->reads = t->reads;
    const uint64_t what = below(d, 11);
    if (what < 3) {
        step_trainer(d, s, t);
    } else if (what == 3 || what == 8 || what == 9) {
        d->unsure = true; /* stopped, or over */
        t->stop_at = chance(d, 2) ? position + 1 : 0;
        CALL(d, mgen_trainer_run, t->trainer, odd_u64(d, below(d, 3)));
    } else if (what == 4) {
        TOLD(d, mgen_trainer_stop, t->trainer);
    } else if (what == 5 || what == 10) {
        d->unsure = true;
        CALL(d, mgen_trainer_checkpoint, t->trainer, path_of(d, "at.safetensors"));
    } else if (what == 6) {
        d->unsure = true; /* the folder may be gone */
        CALL(d, mgen_trainer_save, t->trainer);
    } else if (chance(d, 2) && !s->running) { /* whose context it is meanwhile */
        drop_trainer(d, t);
    }
}

/* -- plans and measurements ------------------------------------------------------------------------------------- */

static void plan(driver *d)
{
    static const char *const presets[] = {
        "toybox", "1b", "7b", "13b", "2b", "recipe.json:", "recipe.json:video", "missing:x", ":"};
    static const char *const meshes[] = {
        "dp=2", "dp=1,cp=1,tp=1", "tp=2", "cp=2", "tp=3", "dp=", "x"};
    static const char *const gpus[] = {"h100-80gb",   "h100-80gb,attention=0.5",
                                       "h100",        "h100-80gb,attention=nan",
                                       "h100-80gb,=", ""};
    mgen_report *report = POISON(mgen_report), **out;
    mgen_plan_params p = MGEN_PLAN_PARAMS_INIT;
    mgen_context *ctx = context_of(d);
    p.preset = PICK(d, presets);
    if (strchr(p.preset, ':'))
        p.preset = path_of(d, p.preset);
    p.width = p.height = odd_u32(d, 64);
    p.frames = odd_u32(d, 8);
    p.batch = odd_u32(d, (uint32_t)below(d, 3));
    p.recompute = chance(d, 4) ? odd_text(d, "full") : NULL;
    p.precision = chance(d, 4) ? odd_text(d, "f32") : NULL;
    p.text_tokens = odd_u32(d, (uint32_t)below(d, 2) * 100);
    if (chance(d, 2)) {
        p.gpus = chance(d, 8) ? odd_u32(d, 2) : 2;
        p.gpu = PICK(d, gpus);
        p.mesh = chance(d, 2) ? PICK(d, meshes) : NULL;
        p.text = odd_u32(d, (uint32_t)below(d, 3));
        p.timeline = odd_u32(d, (uint32_t)below(d, 2));
        p.global_batch = odd_u32(d, 0);
    }
    out = or_null(d, &report);
    d->unsure = true;
    const mgen_status status =
        CALL(d, mgen_plan_training, ctx, SIZED(d, p, offsetof(mgen_plan_params, gpus)), out);
    if (out)
        check_out(d, status, report);
    if (status == MGEN_OK)
        add(d, REPORT, report);
}

static void evaluate(driver *d)
{
    static const char *const protocols[] = {"tae",     "tae",      "alignment",
                                            "edit",    "sound",    "personalize",
                                            "rewrite", "upsample", "frechet"};
    mgen_report *report = POISON(mgen_report), **out;
    mgen_eval_params p = MGEN_EVAL_PARAMS_INIT;
    thing *t = find(d, PIPELINE, 0);
    mgen_context *ctx = context_of(d);
    stops_after after = {0, 1};
    if (t && t->seat >= 0 && d->at != &d->seats[t->seat])
        return;
    p.protocol = odd_text(d, PICK(d, protocols));
    p.n = odd_u32(d, 1);
    p.n = p.n > 2 && p.n <= 1000000 ? 2 : p.n;
    p.seed = draw(d);
    p.steps = odd_u32(d, 1);
    p.steps = p.steps == 0 || (p.steps > 3 && p.steps <= 1000) ? 2 : p.steps;
    p.guidance = odd_float(d, 0.0f);
    p.schedule = odd_u32(d, 0);
    p.solver = odd_u32(d, 0);
    p.guidance_to = odd_float(d, 0.0f);
    p.drop_text = odd_u32(d, 0);
    p.noise_scale = odd_float(d, 0.0f);
    p.dataset = chance(d, 6) ? pointer_of(find(d, DATASET, 0)) : NULL;
    if (!p.n || p.dataset || chance(d, 4)) {
        p.on_progress = on_films;
        p.user = &after;
    }
    d->reads = p.dataset != NULL;
    d->unsure = true;
    out = or_null(d, &report);
    mgen_pipeline none = MGEN_PIPELINE_INIT, *pipe = t ? &t->pipe : &none;
    const mgen_status status =
        CALL(d, mgen_evaluate, ctx, SIZED(d, *pipe, offsetof(mgen_pipeline, upsampler)),
             SIZED(d, p, sizeof p), out);
    if (out)
        check_out(d, status, report);
    if (status == MGEN_OK)
        add(d, REPORT, report);
}

#endif
