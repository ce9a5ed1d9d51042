/* SPDX-License-Identifier: MIT */
#include "train/plan_recipe.h"

#include "core/quiet.h"
#include "train/plan_stage.h"

#include <stdio.h>
#include <string.h>

/* Where a recipe is silent, as docs/planning.md says: the report's autoencoder, its image encoder at 224 pixels. */
enum {
    SPATIAL = 8,
    TEMPORAL = 8,
    LATENTS_A_SECOND = 25,
    PHOTO_TOKENS = 257,
    TEXT_TOKENS = 1024,
    SOUND_TOKENS = 512,
    FEATURE_BYTES = 4
};

/* A kind of samples of a stage: what is planned of it, and how often it is drawn. */
typedef struct shape {
    int64_t frames, rows, columns; /* of latents */
    int64_t batch;                 /* samples of a step */
    double share;                  /* of the steps */
    double bytes;                  /* that a clip takes, encoded */
} shape;
enum {
    SHAPES_MAX = MGI_BUCKETS_MAX > MGI_AUDIO_LENGTHS_MAX ? MGI_BUCKETS_MAX : MGI_AUDIO_LENGTHS_MAX
};

typedef struct shapes {
    shape list[SHAPES_MAX];
    int64_t count;
} shapes;

static mgen_status why(mgen_context *ctx, mgen_status status, mgi_stage_plan *out)
{
    if (status == MGEN_OK || status == MGEN_E_NO_MEMORY || status == MGEN_E_LIMIT)
        return status;
    snprintf(out->why, sizeof out->why, "%.255s", ctx->error_text);
    return MGEN_OK;
}

/* ---- what is trained on --------------------------------------------------------------------------- */

/* Another stage of the recipe, if it has one of that name and kind. */
static mgen_status earlier(mgen_context *ctx, const char *recipe, const char *name, int32_t kind,
                           mgi_stage *out, bool *found)
{
    char names[MGI_RECIPE_STAGES_MAX][64];
    int64_t count;
    *found = false;
    MGI_TRY(mgi_recipe_names(ctx, recipe, names, &count));
    for (int64_t i = 0; i < count && !*found; i++)
        *found = !strcmp(names[i], name);
    if (*found)
        MGI_TRY(mgi_recipe_stage(ctx, recipe, name, out));
    *found = *found && out->kind == kind;
    return MGEN_OK;
}

/* Videos and images have their shares of the steps as in training (train/buckets.c). */
static void divide(const mgi_stage *s, shapes *all)
{
    double sum[2] = {0.0};
    for (int64_t i = 0; i < all->count; i++)
        sum[s->bucket[i].frames == 1] += s->bucket[i].weight;
    for (int64_t i = 0; i < all->count; i++) {
        const bool image = s->bucket[i].frames == 1;
        const double group = s->images < 0.0 ? sum[image] / (sum[0] + sum[1])
                             : image         ? s->images
                                             : 1.0 - s->images;
        all->list[i].share = group * s->bucket[i].weight / sum[image];
    }
}

static mgen_status take_buckets(mgen_context *ctx, const char *recipe, const mgi_stage *s,
                                shapes *all)
{
    const bool each = s->kind == MGI_STAGE_UPSAMPLER; /* frames are coded by themselves */
    int64_t side = SPATIAL, time = TEMPORAL;
    mgi_stage tae;
    bool found;
    MGI_TRY(earlier(ctx, recipe, s->tae_name, MGI_STAGE_AUTOENCODER, &tae, &found));
    if (found) {
        side = mgi_tae_factor(&tae.tae);
        time = mgi_tae_time_factor(&tae.tae);
    }
    if (!s->bucket_count)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "it has no \"buckets\": its samples are the dataset's, which is not known");
    all->count = s->bucket_count;
    for (int64_t i = 0; i < all->count; i++) {
        const mgi_bucket *b = &s->bucket[i];
        const double films =
            s->kind == MGI_STAGE_UPSAMPLER || s->kind == MGI_STAGE_EDITOR ? 2.0 : 1.0;
        shape *to = &all->list[i];
        *to = (shape){.frames = each ? b->frames : (b->frames + time - 1) / time,
                      .rows = b->height / side,
                      .columns = b->width / side,
                      .batch = (b->batch ? b->batch : s->batch) * s->accumulate};
        to->bytes = films * FEATURE_BYTES * (double)(to->frames * to->rows * to->columns) *
                    (double)s->video.channels;
    }
    divide(s, all);
    return MGEN_OK;
}

static mgen_status take_lengths(mgen_context *ctx, const char *recipe, const mgi_stage *s,
                                shapes *all)
{
    double rate = LATENTS_A_SECOND, weights = 0.0;
    mgi_stage codec;
    bool found;
    MGI_TRY(earlier(ctx, recipe, s->codec, MGI_STAGE_AUDIO_CODEC, &codec, &found));
    if (found)
        rate = (double)codec.sound.codec.rate / (double)mgi_audio_codec_hop(&codec.sound.codec);
    all->count = s->lengths;
    for (int64_t i = 0; i < all->count; i++)
        weights += s->length[i].weight;
    for (int64_t i = 0; i < all->count; i++) {
        const mgi_audio_length *l = &s->length[i];
        const mgi_vt_config *c = &s->audio.transformer;
        shape *to = &all->list[i];
        *to = (shape){.frames = (int64_t)(l->seconds * rate),
                      .rows = 1,
                      .columns = 1,
                      .batch = s->batch * s->accumulate,
                      .share = l->weight / weights};
        to->bytes = FEATURE_BYTES * ((double)(to->frames * c->channels) +
                                     l->seconds * (double)l->fps * (double)c->features);
    }
    return MGEN_OK;
}

/* ---- one kind of samples -------------------------------------------------------------------------- */

static const mgi_vt_config *transformer(const mgi_stage *s)
{
    return s->kind == MGI_STAGE_AUDIO ? &s->audio.transformer : &s->video;
}

static int64_t photo_tokens(const mgi_stage *s)
{
    const mgi_clip_vision_config *c = &s->vision.config;
    return c->patch ? mgi_clip_vision_token_count(c) : PHOTO_TOKENS;
}

/* A frozen text encoder whose configuration was found. */
static bool known(const mgi_text_recipe *t)
{
    return t->frozen && (t->config.t5.dim || t->config.clip.dim);
}

/* Its configuration, if the recipe's folder has it. */
static mgen_status find_encoder(mgen_context *ctx, const mgi_stage *s, int role, mgi_text_recipe *t)
{
    const int64_t width = transformer(s)->text[role];
    mgi_message before;
    mgi_quiet_begin(ctx, &before);
    mgen_status status =
        mgi_text_encoder_config(ctx, s->folder[0] ? s->folder : ".", t->from, &t->config);
    mgi_quiet_end(ctx, &before, status == MGEN_OK || status == MGEN_E_NOT_FOUND);
    if (status == MGEN_E_NOT_FOUND)
        memset(&t->config, 0, sizeof t->config);
    if (status != MGEN_OK)
        return status == MGEN_E_NOT_FOUND ? MGEN_OK : status;
    const int64_t dim = t->config.t5.dim ? t->config.t5.dim : t->config.clip.dim;
    return !width || dim == width
               ? MGEN_OK
               : mgi_fail(
                     ctx, MGEN_E_INVALID,
                     "the text encoder \"%s\" is %lld wide, the model's stream of role %s %lld",
                     t->from, (long long)dim, mgi_role_title[role], (long long)width);
}

static mgen_status find_encoders(mgen_context *ctx, mgi_stage *s, mgi_stage_plan *out)
{
    for (int i = 0; i < MGI_ROLES; i++) {
        mgi_text_recipe *t = &s->text[i];
        if (!t->frozen)
            continue;
        MGI_TRY(find_encoder(ctx, s, i, t));
        strcpy(out->text[i], t->from);
        out->counted[i] = known(t);
    }
    return MGEN_OK;
}

/* The same of a photo's tokens, or of what a film's frames are. */
static mgen_status check_width(mgen_context *ctx, const mgi_stage *s, const mgi_stage_plan *out)
{
    const mgi_clip_vision_config *c = &s->vision.config;
    const mgi_vt_config *model = transformer(s);
    const int64_t wanted = model->reference ? model->reference : model->features;
    return c->dim == wanted || (!model->reference && mgi_clip_vision_width(c) == wanted)
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_INVALID,
                          "the image encoder \"%s\" is %lld wide, what the model sees %lld",
                          out->vision, (long long)c->dim, (long long)wanted);
}

/* That of a personalizer or of sound: new, by the recipe's own configuration, or a model or a folder beside it. One that learns along
 * with sound is not counted: how many pictures it looks at depends on what is heard. */
static mgen_status find_vision(mgen_context *ctx, mgi_stage *s, mgi_stage_plan *out)
{
    mgi_vision_recipe *v = &s->vision;
    const bool sees = transformer(s)->reference || transformer(s)->features;
    mgen_status status = MGEN_OK;
    mgi_message before;
    if (!sees || (s->kind != MGI_STAGE_PERSONALIZER && s->kind != MGI_STAGE_AUDIO))
        return MGEN_OK;
    strcpy(out->vision, v->from[0] ? v->from : "image encoder");
    if (v->from[0]) {
        mgi_quiet_begin(ctx, &before);
        status =
            mgi_clip_vision_config_of(ctx, s->folder[0] ? s->folder : ".", v->from, &v->config);
        mgi_quiet_end(ctx, &before, status == MGEN_OK || status == MGEN_E_NOT_FOUND);
    }
    if (status == MGEN_E_NOT_FOUND)
        memset(&v->config, 0, sizeof v->config);
    else if (status != MGEN_OK)
        return status;
    out->vision_known = v->config.patch > 0;
    out->vision_counted = out->vision_known && (v->frozen || s->kind == MGI_STAGE_PERSONALIZER);
    return out->vision_known ? check_width(ctx, s, out) : MGEN_OK;
}

static mgi_mesh_request request_of(const mgi_stage *s, const mgi_recipe_machine *m,
                                   const mgi_stage_plan *out, const shape *x)
{
    const bool sound = s->kind == MGI_STAGE_AUDIO;
    mgi_mesh_request r = {.step = {.config = *transformer(s),
                                   .latent_frames = x->frames,
                                   .latent_height = x->rows,
                                   .latent_width = x->columns,
                                   .text_tokens = m->text_tokens ? m->text_tokens
                                                  : sound        ? SOUND_TOKENS
                                                                 : TEXT_TOKENS,
                                   .reference_tokens = photo_tokens(s),
                                   .recompute = m->recompute < 0 ? s->recompute : m->recompute,
                                   .dtype = s->dtype,
                                   .adapter = s->adapter.rank,
                                   .prefer = s->prefer.on},
                          .gpu = m->gpu,
                          .gpus = out->gpus,
                          .global_batch = x->batch,
                          .any_cp = true};
    if (out->vision_counted)
        r.step.vision = &s->vision.config;
    r.step.vision_hold = s->vision.hold;
    r.step.vision_learns = !s->vision.frozen;
    for (int i = 0; i < MGI_ROLES; i++) {
        r.step.text[i] = known(&s->text[i]) ? &s->text[i].config : NULL;
        r.step.hold[i] = s->text[i].hold;
    }
    return r;
}

/* The samples of a pass: as many as are asked for, at the most, that the batch is a multiple of. */
static int64_t samples_of(const shape *x, int64_t dp, int64_t most)
{
    while (most > 1 && x->batch % (dp * most))
        most--;
    return most;
}

/* Of a mesh or of the best, with what is computed again as asked for or, if that may be more, as much as it takes to fit. The
 * first of the list is in *plan. */
static mgen_status plan_shape(mgen_context *ctx, mgi_mesh_request *r, bool more,
                              mgi_stage_plan *out, mgi_mesh_plan *plan)
{
    mgi_mesh_plans plans;
    for (bool again = true; again; r->step.recompute += again) {
        MGI_TRY(mgi_mesh_plan_make(ctx, r, &plans));
        *plan = plans.list[0];
        plan->events = NULL;
        out->parameters = plans.parameters;
        out->tokens = plans.tokens > out->tokens ? plans.tokens : out->tokens;
        mgi_mesh_plans_free(ctx, &plans);
        again = more && !plan->fits && r->step.recompute < MGI_RECOMPUTE_FULL;
    }
    return MGEN_OK;
}

/* ---- a stage -------------------------------------------------------------------------------------- */

static const shape *longest_of(const shapes *all)
{
    const shape *x = all->list;
    for (int64_t i = 1; i < all->count; i++) {
        const shape *y = &all->list[i];
        if (y->frames * y->rows * y->columns > x->frames * x->rows * x->columns)
            x = y;
    }
    return x;
}

/* Two that differ in how they lie only take the same. */
static bool alike(const shape *a, const shape *b)
{
    return a->frames == b->frames && a->rows * a->columns == b->rows * b->columns &&
           a->batch == b->batch;
}

/* The mesh of all buckets: what is given; on the GPUs of the stage's "plan", that; else the best for the longest, with as many
 * samples in a pass as there, or half of them, and so on, until it fits. */
static mgen_status find_mesh(mgen_context *ctx, const mgi_stage *s, const mgi_recipe_machine *m,
                             const shape *longest, mgi_stage_plan *out)
{
    const mgi_plan_recipe *said = &s->plan;
    const int64_t dp = said->gpus ? said->gpus / (said->cp * said->tp) : 1;
    const int64_t meant = said->gpus ? longest->batch / (dp * s->accumulate) : 1;
    int64_t samples = m->samples ? m->samples : meant > 1 ? meant : 1;
    mgi_mesh_request r = request_of(s, m, out, longest);
    r.mesh = m->mesh;
    if (!r.mesh.dp && said->gpus == out->gpus)
        r.mesh = (mgi_mesh_shape){(int)dp, (int)said->cp, (int)said->tp, 0};
    for (;; samples /= 2) {
        samples = samples_of(longest, r.mesh.dp ? r.mesh.dp : 1, samples);
        r.step.batch = samples;
        MGI_TRY(plan_shape(ctx, &r, m->recompute < 0, out, &out->longest));
        if (out->longest.fits || r.mesh.dp || m->samples || samples == 1)
            return MGEN_OK;
        r.step.recompute = m->recompute < 0 ? s->recompute : m->recompute;
    }
}

static void add_shape(const mgi_mesh_plan *p, const shape *x, double share, double *flops,
                      mgi_stage_plan *out)
{
    mgi_mesh_plan *most = &out->longest;
    out->step_seconds += share * p->seconds;
    out->global_batch += share * (double)x->batch;
    *flops += share * p->model_flops;
    if (p->memory_bytes <= most->memory_bytes)
        return;
    most->memory_bytes = p->memory_bytes;
    most->fits = p->fits;
    most->recompute = p->recompute;
}

/* The samples of a pass of other buckets: all take as many passes as the longest, which a stage's "accumulate" is. */
static int64_t samples_in(const shape *x, const mgi_mesh_plan *longest)
{
    const int64_t share = (int64_t)longest->mesh.dp * longest->passes;
    return x->batch % share ? samples_of(x, longest->mesh.dp, longest->samples) : x->batch / share;
}

static mgen_status plan_shapes(mgen_context *ctx, const mgi_stage *s, const mgi_recipe_machine *m,
                               const shapes *all, mgi_stage_plan *out)
{
    const shape *longest = longest_of(all);
    double flops = 0.0;
    bool done[SHAPES_MAX] = {false};
    MGI_TRY(find_mesh(ctx, s, m, longest, out));
    for (int64_t i = 0; i < all->count; i++) {
        const shape *x = &all->list[i];
        double share = 0.0;
        mgi_mesh_plan p = out->longest;
        for (int64_t k = i; k < all->count && !done[i]; k++)
            if (!done[k] && alike(x, &all->list[k])) {
                share += all->list[k].share;
                done[k] = k > i;
            }
        if (share == 0.0)
            continue;
        if (!alike(x, longest)) {
            mgi_mesh_request r = request_of(s, m, out, x);
            r.mesh = out->longest.mesh;
            r.step.batch = samples_in(x, &out->longest);
            MGI_TRY(plan_shape(ctx, &r, m->recompute < 0, out, &p));
        }
        add_shape(&p, x, share, &flops, out);
    }
    const double tflops = s->dtype == MGK_BF16 ? m->gpu.tflops : m->gpu.tflops_f32;
    out->mfu = flops / (out->step_seconds * tflops * 1e12 * out->gpus);
    return MGEN_OK;
}

/* ---- stages that are walked themselves ------------------------------------------------------------ */

/* Clips of a stage that has no buckets are those of its own world; images come among them. */
static mgen_status take_clips(mgen_context *ctx, const mgi_stage *s, shapes *all)
{
    mgi_world_options world = s->world;
    MGI_TRY(mgi_world_options_complete(ctx, &world));
    const double images = s->image_every ? 1.0 / (double)s->image_every : 0.0;
    all->list[0] =
        (shape){s->frames ? s->frames : 1, world.height, world.width, s->batch, 1.0 - images, 0.0};
    all->list[1] = (shape){1, world.height, world.width, s->image_batch, images, 0.0};
    all->count = images > 0.0 ? 2 : 1;
    if (images >= 1.0) {
        all->list[0] = all->list[1];
        all->count = 1;
    }
    return MGEN_OK;
}

static void take_clip_buckets(const mgi_stage *s, shapes *all)
{
    all->count = s->bucket_count;
    for (int64_t i = 0; i < all->count; i++) {
        const mgi_bucket *b = &s->bucket[i];
        all->list[i] =
            (shape){b->frames, b->height, b->width, b->batch ? b->batch : s->batch, 0.0, 0.0};
    }
    divide(s, all);
}

/* Latents, or the tokens of a caption and a frame. */
static int64_t tokens_of(const mgi_stage *s, const shape *x)
{
    const mgi_tae_config *c = &s->tae;
    if (s->kind == MGI_STAGE_AUDIO_CODEC)
        return x->frames;
    if (s->kind == MGI_STAGE_CLIP)
        return s->text[MGI_ROLE_METACLIP].config.clip.tokens_max + photo_tokens(s);
    return mgi_tae_latent_frames(c, x->frames) * (x->rows / mgi_tae_factor(c)) *
           (x->columns / mgi_tae_factor(c));
}

/* Samples with or without a discriminator, as many of the steps as `share` says. */
static mgen_status add_walked(mgen_context *ctx, const mgi_stage *s, const mgi_recipe_machine *m,
                              const shape *x, bool adversarial, double share, double *flops,
                              mgi_stage_plan *out)
{
    mgi_stage_samples samples = {.width = x->columns,
                                 .height = x->rows,
                                 .frames = x->frames,
                                 .batch = x->batch,
                                 .passes = s->accumulate,
                                 .adversarial = adversarial};
    mgi_stage_need need;
    if (m->samples && s->kind != MGI_STAGE_CLIP) { /* whose loss depends on it */
        const int64_t all = samples.batch * samples.passes;
        const shape whole = {.batch = all};
        samples.batch = out->gpus * samples_of(&whole, out->gpus, m->samples);
        samples.passes = all / samples.batch;
    }
    if (share <= 0.0)
        return MGEN_OK;
    mgen_status status = mgi_stage_need_make(ctx, s, &samples, &m->gpu, out->gpus, &need);
    if (status == MGEN_E_STATE) /* a file that training would find in its model folder */
        return mgi_fail_context(ctx, status, "what it begins with is not in the recipe's folder");
    MGI_TRY(status);
    const int64_t tokens = tokens_of(s, x);
    if (tokens > out->tokens || !out->longest.seconds) {
        mgi_mesh_plan most = out->longest;
        out->longest = need.plan;
        if (most.memory_bytes > need.plan.memory_bytes) {
            out->longest.memory_bytes = most.memory_bytes;
            out->longest.fits = most.fits;
        }
        out->tokens = tokens;
    }
    out->parameters = need.parameters;
    const shape counted = {.batch = samples.batch * samples.passes};
    add_shape(&need.plan, &counted, share, flops, out);
    return MGEN_OK;
}

/* Every rank has the whole model, and its share of each batch. */
static mgen_status plan_walked(mgen_context *ctx, const mgi_stage *s, const mgi_recipe_machine *m,
                               const shapes *all, mgi_stage_plan *out)
{
    const double from = (double)s->gan_start / (double)s->steps;
    const double late = s->gan > 0.0 && from < 1.0 ? 1.0 - from : 0.0;
    double flops = 0.0;
    if (m->mesh.dp && (m->mesh.cp > 1 || m->mesh.tp > 1 || m->mesh.dp != out->gpus))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "its GPUs share batches and nothing else: the mesh must be dp=%d",
                        out->gpus);
    for (int64_t i = 0; i < all->count; i++) {
        const shape *x = &all->list[i];
        MGI_TRY(add_walked(ctx, s, m, x, false, x->share * (1.0 - late), &flops, out));
        MGI_TRY(add_walked(ctx, s, m, x, true, x->share * late, &flops, out));
    }
    const double tflops = s->dtype == MGK_BF16 ? m->gpu.tflops : m->gpu.tflops_f32;
    out->mfu = flops / (out->step_seconds * tflops * 1e12 * out->gpus);
    return MGEN_OK;
}

static bool has_transformer(int32_t kind)
{
    return kind == MGI_STAGE_TEXT_TO_VIDEO || kind == MGI_STAGE_UPSAMPLER ||
           kind == MGI_STAGE_EDITOR || kind == MGI_STAGE_PERSONALIZER || kind == MGI_STAGE_AUDIO;
}

static mgen_status plan_stage(mgen_context *ctx, const char *recipe, mgi_stage *s,
                              const mgi_recipe_machine *m, mgi_stage_plan *out)
{
    shapes all = {.count = 0};
    const bool walked = mgi_stage_is_walked(s->kind);
    if (!walked && !has_transformer(s->kind))
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED, "the planner does not know %ss",
                        mgi_stage_kind_name[s->kind]);
    if (!walked && !transformer(s)->layers)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "its \"%s\" is left out, as its adapter's model has it; the planner reads "
                        "no models: write it",
                        s->kind == MGI_STAGE_TEXT_TO_VIDEO ? "video_model"
                                                           : mgi_stage_kind_name[s->kind]);
    if (!out->gpus)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "it has no \"plan\" that says how many GPUs; give it one, or a number for all "
            "stages (--gpus)");
    if (!walked)
        MGI_TRY(find_encoders(ctx, s, out));
    if (!walked)
        MGI_TRY(find_vision(ctx, s, out));
    if (walked && s->bucket_count)
        take_clip_buckets(s, &all);
    else
        MGI_TRY(walked                       ? take_clips(ctx, s, &all)
                : s->kind == MGI_STAGE_AUDIO ? take_lengths(ctx, recipe, s, &all)
                                             : take_buckets(ctx, recipe, s, &all));
    for (int64_t i = 0; i < all.count; i++)
        out->latent_bytes += (double)s->clips * all.list[i].bytes;
    MGI_TRY(walked ? plan_walked(ctx, s, m, &all, out) : plan_shapes(ctx, s, m, &all, out));
    out->planned = true;
    out->samples = out->steps * out->global_batch;
    out->days = out->steps * out->step_seconds / 86400.0;
    return MGEN_OK;
}

mgen_status mgi_stage_plan_make(mgen_context *ctx, const char *recipe, const char *stage,
                                const mgi_recipe_machine *machine, mgi_stage_plan *out)
{
    mgi_stage s;
    *out = (mgi_stage_plan){.planned = false};
    MGI_TRY(mgi_recipe_stage(ctx, recipe, stage, &s));
    strcpy(out->name, s.name);
    out->kind = s.kind;
    out->steps = (double)s.steps;
    out->gpus = machine->gpus ? machine->gpus : (int)s.plan.gpus;
    return why(ctx, plan_stage(ctx, recipe, &s, machine, out), out);
}
