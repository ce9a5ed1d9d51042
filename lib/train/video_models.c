/* SPDX-License-Identifier: MIT
 * The models of a stage that trains a video transformer: opened, checked against each other, saved. */
#include "core/hash.h"
#include "core/quiet.h"
#include "dist/sharding_plan.h"
#include "train/adapting.h"
#include "train/video_stage.h"

#include <stdio.h>
#include <string.h>

static const char video_kind[] = "video-transformer";

static bool has_text(const struct mgi_stage_run *r, int role)
{
    return r->stage.text[role].name[0] != '\0';
}

mgi_networks mgi_video_networks(const struct mgi_stage_run *r)
{
    mgi_networks n = {.tae = &r->tae, .video = &r->video};
    n.upsampler = mgi_trains_upsampler(r) ? &r->stage.upsampler : NULL;
    n.editor = mgi_trains_editor(r) ? &r->stage.editor : NULL;
    n.personalizer = mgi_trains_personalizer(r) ? &r->stage.personalizer : NULL;
    n.vision = mgi_trains_personalizer(r) ? &r->vision : NULL;
    for (int i = 0; i < MGI_ROLES; i++)
        n.text[i] = has_text(r, i) ? &r->text[i] : NULL;
    return n;
}

/* The clip that the pipeline makes: of the first bucket. */
static mgi_clip_shape clip_shape(const struct mgi_stage_run *r, int64_t bucket)
{
    const mgi_bucket_data *d = &r->buckets.list[bucket];
    return (mgi_clip_shape){d->bucket.width, d->bucket.height, d->bucket.frames, mgi_bucket_fps(d)};
}

/* What the stage trains, with its article: "an editor". */
typedef struct title {
    char text[32];
} title;

static title title_of(const struct mgi_stage_run *r)
{
    title t;
    const int32_t kind = r->stage.kind;
    snprintf(t.text, sizeof t.text, "%s %s", mgi_stage_kind_article(kind),
             mgi_stage_kind_name[kind]);
    return t;
}

/* The folder's pipeline, to which an upsampler, an editor or a personalizer is added. */
static mgen_status read_pipeline(const struct mgi_stage_run *r, mgi_pipeline_file *out)
{
    mgen_status status = mgi_pipeline_file_read(r->ctx, r->dir, "pipeline", out);
    return status != MGEN_E_NOT_FOUND
               ? status
               : mgi_fail(r->ctx, MGEN_E_STATE,
                          "stage \"%s\" adds %s to the models that pipeline.json names, and "
                          "\"%s\" has no such file; train the video model first",
                          r->stage.name, title_of(r).text, r->dir);
}

/* All of them are given the text of the pipeline's encoders; an editor and a personalizer work in the latents of its
 * autoencoder. */
static mgen_status check_pipeline(const struct mgi_stage_run *r)
{
    mgi_pipeline_file p;
    MGI_TRY(read_pipeline(r, &p));
    for (int i = 0; i < MGI_ROLES; i++)
        if (has_text(r, i) && strcmp(p.text[i], r->stage.text[i].name))
            return mgi_fail(
                r->ctx, MGEN_E_STATE,
                "stage \"%s\" has the text encoder \"%s\" of role %s, but pipeline.json "
                "names \"%s\"; take the same, or leave the role out",
                r->stage.name, r->stage.text[i].name, mgi_role_title[i], p.text[i]);
    return mgi_trains_upsampler(r) || !strcmp(p.tae, r->stage.tae_name)
               ? MGEN_OK
               : mgi_fail(
                     r->ctx, MGEN_E_STATE,
                     "stage \"%s\" has the autoencoder \"%s\", but pipeline.json names \"%s\"; "
                     "%s takes the same",
                     r->stage.name, r->stage.tae_name, p.tae, title_of(r).text);
}

/* The editor that makes films makes them as long and as large as this one's. */
static mgen_status check_back(const struct mgi_stage_run *r, mgi_clip_shape clip)
{
    mgi_networks n = r->back.networks;
    n.clip = clip;
    mgen_status status = mgi_networks_check(r->ctx, &n);
    return status == MGEN_OK
               ? status
               : mgi_fail_context(r->ctx, status, "the editor \"%s\"", r->stage.back_from);
}

/* Shares that the data decides on become the stage's, as if the recipe said them: so checkpoints tell trainings apart by what
 * they learn from. */
static mgen_status fit_edits(struct mgi_stage_run *r)
{
    MGI_TRY(mgi_edits_fit(r->ctx, &r->edits, r->dataset, r->buckets.divided));
    for (int64_t i = 0; i < r->stage.bucket_count; i++) {
        const int32_t kind = r->stage.bucket[i].edits - 1;
        if (kind >= 0 && r->edits.share[kind] == 0.0)
            return mgi_fail(
                r->ctx, MGEN_E_INVALID,
                "bucket %lld of stage \"%s\" is of \"%s\", of which the dataset has nothing",
                (long long)i + 1, r->stage.name, mgi_edits_kind_name[kind]);
    }
    memcpy(r->stage.edits, r->edits.share, sizeof r->stage.edits);
    return MGEN_OK;
}

/* With an image autoencoder pictures are made, and nothing else. */
static mgen_status check_pictures(const struct mgi_stage_run *r)
{
    if (r->tae.config.temporal || mgi_trains_upsampler(r))
        return MGEN_OK;
    for (int64_t i = 0; i < r->buckets.count; i++)
        if (r->buckets.list[i].bucket.frames > 1)
            return mgi_fail(
                r->ctx, MGEN_E_STATE,
                "model \"%s\" is an image autoencoder, and bucket %lld of stage \"%s\" has "
                "clips of %lld frames; inflate it first, or make pictures: buckets of "
                "\"frames\" 1",
                r->stage.tae_name, (long long)r->buckets.list[i].number, r->stage.name,
                (long long)r->buckets.list[i].bucket.frames);
    return MGEN_OK;
}

/* The parts must fit each other as they will in the pipeline. */
static mgen_status check_parts(struct mgi_stage_run *r)
{
    mgi_networks n = mgi_video_networks(r);
    mgen_status status = mgi_trains_more(r) ? check_pipeline(r) : MGEN_OK;
    if (status == MGEN_OK && mgi_trains_editor(r))
        status = fit_edits(r);
    if (status == MGEN_OK && mgi_trains_personalizer(r))
        status = mgi_photos_check(r);
    MGI_TRY(status);
    MGI_TRY(check_pictures(r));
    for (int64_t i = 0; i < r->buckets.count && status == MGEN_OK; i++) {
        n.clip = clip_shape(r, i);
        status = mgi_networks_check(r->ctx, &n);
        if (status == MGEN_OK && r->edits.back)
            status = check_back(r, n.clip);
        if (status == MGEN_OK && mgi_trains_upsampler(r))
            status = mgi_pairs_check(r->ctx, &r->pairs, n.clip.width, n.clip.height);
    }
    return status == MGEN_OK || mgi_dataset_drawn(r->dataset)
               ? status
               : mgi_fail_context(r->ctx, MGEN_E_INVALID,
                                  "the dataset's clips or the networks of stage \"%s\"",
                                  r->stage.name);
}

static void write_text(mgi_json_writer *w, const void *config)
{
    mgi_text_config_write(w, config);
}

static void write_upsampler(mgi_json_writer *w, const void *config)
{
    mgi_upsampler_config_write(w, config);
}

static void write_editor(mgi_json_writer *w, const void *config)
{
    mgi_editor_config_write(w, config);
}

static void write_personalizer(mgi_json_writer *w, const void *config)
{
    mgi_personalizer_config_write(w, config);
}

static void write_vision(mgi_json_writer *w, const void *config)
{
    mgi_clip_vision_config_write(w, config);
}

static mgen_status load_video(struct mgi_stage_run *r, mgi_vt *to, const char *name,
                              const mgi_model_file *file, const mgi_vt_config *theirs)
{
    const mgi_vt_config *ours = &r->stage.video;
    mgi_vt_config grown = *theirs;
    mgi_adapter_config base;
    if (mgi_trains_adapter(r)) {
        MGI_TRY(mgi_adapting_load(r->ctx, &r->stage, name, file, theirs, to, &base));
        r->base = to == &r->video ? base : r->base;
        return MGEN_OK;
    }
    grown.frames_max = ours->frames_max < grown.frames_max ? grown.frames_max : ours->frames_max;
    grown.rows_max = ours->rows_max < grown.rows_max ? grown.rows_max : ours->rows_max;
    grown.columns_max =
        ours->columns_max < grown.columns_max ? grown.columns_max : ours->columns_max;
    if (mgi_vt_patch_divides(theirs, ours)) {
        grown.patch_t = ours->patch_t;
        grown.patch_h = ours->patch_h;
        grown.patch_w = ours->patch_w;
    }
    if (!theirs->condition) /* else they would be another condition's, too */
        grown.channels = ours->channels;
    if (!theirs->condition && mgi_trains_more(r))
        grown.condition = ours->condition;
    if (!theirs->tasks && mgi_trains_editor(r)) {
        grown.tasks = ours->tasks;
        grown.task_dim = ours->task_dim;
    }
    if (!theirs->reference && mgi_trains_personalizer(r))
        grown.reference = ours->reference;
    if (theirs->layers > ours->layers && (mgi_trains_editor(r) || mgi_trains_personalizer(r)))
        grown.layers = ours->layers;
    grown.guidance = ours->guidance;
    grown.precision = ours->precision;
    MGI_TRY(mgi_stage_same_model(r->ctx, &r->stage, name, mgi_adapting_write, &grown, ours));
    if (theirs->channels != ours->channels)
        mgi_log(
            r->ctx, MGEN_LOG_INFO,
            "\"%s\" was trained on latents of %lld channels, these have %lld: the first and the "
            "last layer begin anew",
            name, (long long)theirs->channels, (long long)ours->channels);
    return mgi_vt_load_grown(to, theirs, &file->weights, file->weights_name);
}

/* What a model's file says: its transformer, and what an upsampler, an editor or a personalizer has beside it. */
typedef struct begun {
    mgi_vt_config video;
    mgi_upsampler_config upsampler;
    mgi_editor_config editor;
    mgi_personalizer_config personalizer;
} begun;

static mgen_status read_more(struct mgi_stage_run *r, const mgi_json *config, begun *out)
{
    if (mgi_trains_editor(r)) {
        MGI_TRY(mgi_editor_config_read(r->ctx, config, &out->editor));
        out->video = out->editor.video;
    } else if (mgi_trains_personalizer(r)) {
        MGI_TRY(mgi_personalizer_config_read(r->ctx, config, &out->personalizer));
        out->video = out->personalizer.video;
    } else {
        MGI_TRY(mgi_upsampler_config_read(r->ctx, config, &out->upsampler));
        out->video = out->upsampler.video;
    }
    return MGEN_OK;
}

static mgen_status read_config(struct mgi_stage_run *r, const char *name,
                               const mgi_model_file *file, begun *out)
{
    const bool own = mgi_trains_more(r) && mgi_trains_adapter(r); /* which changes such a model */
    const char *kind = mgi_json_find(file->root, "kind")->s;
    memset(out, 0, sizeof *out);
    if (!strcmp(kind, video_kind) && !own)
        return mgi_vt_config_read(r->ctx, file->config, &out->video);
    if (!strcmp(kind, mgi_stage_kind_name[r->stage.kind])) /* which their models' are called, too */
        return read_more(r, file->config, out);
    return mgi_fail(r->ctx, MGEN_E_STATE,
                    "stage \"%s\" cannot start from \"%s\": it %s %s, and %s.json is a %.40s",
                    r->stage.name, r->stage.start_from,
                    own ? "trains an adapter of" : "begins as a video model or as",
                    title_of(r).text, name, kind);
}

static mgen_status open_named(struct mgi_stage_run *r, const char *kind,
                              char name[MGI_NAME_MAX + 1], mgi_model_file *file)
{
    mgi_model_name(name, "", r->stage.start_from);
    return mgi_model_file_open(r->ctx, r->dir, name, kind, file);
}

static mgen_status open_set(struct mgi_stage_run *r, char name[MGI_NAME_MAX + 1],
                            mgi_model_file *file)
{
    mgi_model_name(name, r->stage.start_from, "video_model");
    return mgi_model_file_open(r->ctx, r->dir, name, video_kind, file);
}

/* A set's video model or, where there is none, the video model of that very name; of a stage that adds to a pipeline, before
 * both, any model of that name. */
static mgen_status find_start(struct mgi_stage_run *r, char name[MGI_NAME_MAX + 1],
                              mgi_model_file *file)
{
    char first[MGI_NAME_MAX + 1];
    const bool more = mgi_trains_more(r);
    mgen_status status = more ? open_named(r, NULL, name, file) : open_set(r, name, file);
    if (status != MGEN_E_NOT_FOUND)
        return status;
    strcpy(first, name);
    status = more ? open_set(r, name, file) : open_named(r, video_kind, name, file);
    return status == MGEN_E_NOT_FOUND
               ? mgi_fail_context(r->ctx, status, "\"%s\" is not there, nor is \"%s\"", first, name)
               : status;
}

static mgen_status open_start(struct mgi_stage_run *r, char name[MGI_NAME_MAX + 1],
                              mgi_model_file *file)
{
    mgi_message before;
    mgi_quiet_begin(r->ctx, &before);
    mgen_status status = find_start(r, name, file);
    mgi_quiet_end(r->ctx, &before, status == MGEN_OK);
    return status;
}

/* Into the model that learns, or the one that stays as it was. */
static mgen_status start_video(struct mgi_stage_run *r, mgi_vt *to)
{
    mgi_model_file file;
    begun theirs;
    char name[MGI_NAME_MAX + 1];
    MGI_TRY(open_start(r, name, &file));
    mgen_status status = read_config(r, name, &file, &theirs);
    if (status == MGEN_OK)
        status = load_video(r, to, name, &file, &theirs.video);
    if (to == &r->video)
        r->start = mgi_hash64(&file.hash, sizeof file.hash, r->start);
    mgi_model_file_close(r->ctx, &file);
    return status;
}

/* What the recipe leaves out of the model that an adapter changes is that model's; so must be what it says. */
static mgen_status take_config(struct mgi_stage_run *r, const char *name, const begun *theirs)
{
    mgi_stage *s = &r->stage;
    mgen_status status = MGEN_OK;
    if (!s->video.layers) {
        s->video = theirs->video;
        s->upsampler = theirs->upsampler;
        s->editor = theirs->editor;
        status = mgi_trains_more(r) ? MGEN_OK : mgi_recipe_video_ok(r->ctx, s);
        if (mgi_trains_personalizer(r))
            s->personalizer = theirs->personalizer;
    }
    if (status != MGEN_OK)
        return mgi_fail_context(r->ctx, status, "stage \"%s\", with the \"video_model\" of \"%s\"",
                                s->name, name);
    if (mgi_trains_upsampler(r))
        MGI_TRY(mgi_adapting_part(r->ctx, s, name, "the autoencoder", s->tae_name,
                                  theirs->upsampler.tae));
    if (mgi_trains_upsampler(r) && s->upsampler.factor != theirs->upsampler.factor)
        return mgi_fail(
            r->ctx, MGEN_E_STATE,
            "stage \"%s\" enlarges by %lld (\"factor\"), but \"%s\", of which it trains "
            "an adapter, by %lld; take the same",
            s->name, (long long)s->upsampler.factor, name, (long long)theirs->upsampler.factor);
    if (!mgi_trains_personalizer(r))
        return MGEN_OK;
    MGI_TRY(mgi_adapting_part(r->ctx, s, name, "the image encoder", s->vision.from,
                              theirs->personalizer.vision));
    strcpy(s->personalizer.vision, s->vision.from);
    return MGEN_OK;
}

static mgen_status take_adapted(struct mgi_stage_run *r)
{
    mgi_model_file file;
    begun theirs;
    char name[MGI_NAME_MAX + 1];
    MGI_TRY(open_start(r, name, &file));
    mgen_status status = read_config(r, name, &file, &theirs);
    if (status == MGEN_OK)
        status = take_config(r, name, &theirs);
    mgi_model_file_close(r->ctx, &file);
    return status;
}

/* -- text encoders ---------------------------------------------------------------------------- */

_Static_assert((int)MGI_COMPONENT_UL2 == MGI_ROLE_UL2 &&
                   (int)MGI_COMPONENT_METACLIP == MGI_ROLE_METACLIP,
               "roles of text encoders are the first components of the plan");

/* A model that is there already, or a new one. *hash: of its tokenizer and, if it is frozen, its values and how
 * they are held. */
static mgen_status make_text(struct mgi_stage_run *r, int role, uint64_t *hash)
{
    const mgi_stage *s = &r->stage;
    mgi_text_recipe *recipe = &r->stage.text[role];
    mgi_text_encoder *e = &r->text[role];
    const mgi_mesh *mesh = mgi_divided_by((mgi_component)role, MGI_BY_FSDP) ? r->mesh : NULL;
    char name[MGI_NAME_MAX + 1];
    bool starts = s->start_from[0] && !recipe->from[0]; /* never an upsampler's or an editor's */
    if (!starts && !recipe->from[0]) {
        MGI_TRY(mgi_text_encoder_init(e, r->ctx, s->folder[0] ? s->folder : r->dir, &recipe->config,
                                      mesh));
        MGI_TRY(mgi_module_random(mgi_text_module(e), r->seed));
    } else {
        mgi_model_name(name, starts ? s->start_from : "", starts ? recipe->name : recipe->from);
        MGI_TRY(mgi_stage_needs(
            r->ctx, s, mgi_stage_open_text(r->ctx, r->dir, name, recipe->hold, mesh, e, hash)));
        if (starts) {
            MGI_TRY(mgi_stage_same_model(r->ctx, &r->stage, name, write_text, &e->config,
                                         &recipe->config));
            r->start = mgi_hash64(hash, sizeof *hash, r->start);
        }
        recipe->config = e->config;
    }
    if (!recipe->frozen)
        *hash = mgi_tokenizer_hash(e->tokenizer);
    if (recipe->hold != MGI_HOLD_F32) /* makes other films of the same words */
        *hash = mgi_hash64(&recipe->hold, sizeof recipe->hold, *hash);
    return MGEN_OK;
}

static mgen_status open_text(struct mgi_stage_run *r, int role)
{
    mgi_text_encoder *e = &r->text[role];
    uint64_t hash = 0;
    MGI_TRY(make_text(r, role, &hash));
    if (hash)
        r->parent = mgi_hash64(&hash, sizeof hash, r->parent);
    if (!r->stage.text[role].frozen) {
        MGI_TRY(mgi_module_train(mgi_text_module(e)));
        r->trained[r->trained_count++] = mgi_text_module(e);
    }
    return mgi_stage_compute(&r->stage, mgi_text_module(e));
}

static mgen_status open_texts(struct mgi_stage_run *r)
{
    for (int i = 0; i < MGI_ROLES; i++) {
        mgen_status status = has_text(r, i) ? open_text(r, i) : MGEN_OK;
        if (status != MGEN_OK)
            return mgi_fail_context(r->ctx, status, "the text encoder of role %s",
                                    mgi_role_title[i]);
    }
    return MGEN_OK;
}

/* -- the image encoder ------------------------------------------------------------------------ */

/* That of the personalizer that the stage starts from; "": there is none. */
static mgen_status vision_of_start(struct mgi_stage_run *r, char vision[MGI_NAME_MAX + 1])
{
    mgi_model_file file;
    begun theirs;
    char name[MGI_NAME_MAX + 1];
    vision[0] = '\0';
    if (!r->stage.start_from[0])
        return MGEN_OK;
    MGI_TRY(open_start(r, name, &file));
    mgen_status status = read_config(r, name, &file, &theirs);
    strcpy(vision, theirs.personalizer.vision);
    mgi_model_file_close(r->ctx, &file);
    return status;
}

/* A new one, or one that is there already: what the recipe names, or else what the stage starts from has. */
static mgen_status make_vision(struct mgi_stage_run *r, uint64_t *hash)
{
    mgi_vision_recipe *recipe = &r->stage.vision;
    char name[MGI_NAME_MAX + 1];
    bool named = recipe->from[0];
    if (named)
        strcpy(name, recipe->from);
    else
        MGI_TRY(vision_of_start(r, name));
    if (!name[0]) {
        MGI_TRY(mgi_clip_vision_init(&r->vision, r->ctx, &recipe->config));
        return mgi_module_random(&r->vision.module, r->seed);
    }
    MGI_TRY(mgi_stage_open_vision(r->ctx, r->dir, name, recipe->hold, &r->vision, hash));
    if (!named)
        MGI_TRY(mgi_stage_same_model(r->ctx, &r->stage, name, write_vision, &r->vision.config,
                                     &recipe->config));
    recipe->config = r->vision.config;
    return MGEN_OK;
}

static mgen_status open_vision(struct mgi_stage_run *r)
{
    const mgi_vision_recipe *recipe = &r->stage.vision;
    mgi_module *m = &r->vision.module;
    uint64_t hash = 0, *of = recipe->frozen ? &r->parent : &r->start;
    mgen_status status = mgi_stage_needs(r->ctx, &r->stage, make_vision(r, &hash));
    if (status != MGEN_OK)
        return mgi_fail_context(r->ctx, status, "the image encoder");
    if (hash)
        *of = mgi_hash64(&hash, sizeof hash, *of);
    if (!recipe->frozen) {
        mgi_clip_vision_train_tokens(&r->vision);
        for (int64_t i = 0; i < m->count; i++)
            m->params[i]->lr_scale *= (float)recipe->lr_scale;
        MGI_TRY(mgi_module_train(m));
        r->trained[r->trained_count++] = m;
    }
    return mgi_stage_compute(&r->stage, m);
}

/* Of the sharded modules in the order in which they run. */
static mgen_status make_fsdp(struct mgi_stage_run *r)
{
    mgi_module *all[MGI_ROLES + 2];
    int count = 0;
    if (!r->mesh || r->mesh->shape.shard < 2)
        return MGEN_OK;
    for (int i = 0; i < MGI_ROLES; i++)
        if (has_text(r, i))
            all[count++] = mgi_text_module(&r->text[i]);
    if (r->stage.prefer.on && !mgi_trains_adapter(r))
        all[count++] = &r->before.module;
    all[count++] = &r->video.module;
    return mgi_fsdp_create(r->ctx, r->mesh, all, count, &r->fsdp);
}

static mgen_status open_artifacts(struct mgi_stage_run *r)
{
    const mgi_stage *s = &r->stage;
    mgi_pairs *p = &r->pairs;
    *p = (mgi_pairs){
        .factor = s->upsampler.factor, .share = s->artifacts_share, .degrade = s->degrade};
    if (!s->artifacts[0])
        return MGEN_OK;
    mgen_status status =
        mgi_tae_open(r->ctx, r->dir, s->artifacts, &r->artifacts, &p->artifacts_hash);
    MGI_TRY(mgi_stage_needs(r->ctx, s, status));
    p->artifacts = &r->artifacts;
    r->parent = mgi_hash64(&p->artifacts_hash, sizeof p->artifacts_hash, r->parent);
    return mgi_module_compute(&r->artifacts.module, s->dtype);
}

static mgen_status open_back(struct mgi_stage_run *r)
{
    const mgi_stage *s = &r->stage;
    mgi_pipeline_file p;
    r->edits.fps_prefix = s->video.fps_prefix;
    memcpy(r->edits.share, s->edits, sizeof r->edits.share);
    memcpy(r->edits.unsaid, s->edits_unsaid, sizeof r->edits.unsaid);
    if (!s->back_from[0])
        return MGEN_OK;
    MGI_TRY(read_pipeline(r, &p));
    MGI_TRY(mgi_stage_needs(r->ctx, s, mgi_back_open(r->ctx, r->dir, s, &p, &r->tae, &r->back)));
    r->edits.back = &r->back;
    r->parent = mgi_hash64(&r->back.hash, sizeof r->back.hash, r->parent);
    return MGEN_OK;
}

mgen_status mgi_video_open_taes(struct mgi_stage_run *r)
{
    MGI_TRY(mgi_adapting_check(r->ctx, &r->stage, r->dir, r->mesh));
    if (mgi_trains_adapter(r))
        MGI_TRY(mgi_stage_needs(r->ctx, &r->stage, take_adapted(r)));
    mgen_status status = mgi_tae_open(r->ctx, r->dir, r->stage.tae_name, &r->tae, &r->tae_hash);
    MGI_TRY(mgi_stage_needs(r->ctx, &r->stage, status));
    r->stage.tae = r->tae.config;
    r->parent = r->tae_hash;
    MGI_TRY(mgi_module_compute(&r->tae.module, r->stage.dtype));
    return mgi_trains_upsampler(r) ? open_artifacts(r)
           : mgi_trains_editor(r)  ? open_back(r)
                                   : MGEN_OK;
}

/* What preferences lead away from; where an adapter learns, that is its model. */
static mgen_status open_before(struct mgi_stage_run *r)
{
    if (!r->stage.prefer.on || mgi_trains_adapter(r))
        return MGEN_OK;
    MGI_TRY(mgi_vt_init_mesh(&r->before, r->ctx, &r->stage.video, r->mesh));
    MGI_TRY(mgi_vt_random(&r->before, r->seed)); /* what of it may begin anew begins alike */
    MGI_TRY(start_video(r, &r->before));
    MGI_TRY(mgi_module_compute(&r->before.module, r->stage.dtype));
    mgi_module_settle(&r->before.module);
    return MGEN_OK;
}

/* What learns, ready for steps: the video model, or an adapter beside it, which changes what that starts from. */
static mgen_status train_video(struct mgi_stage_run *r)
{
    mgi_module *m = &r->video.module;
    if (mgi_trains_adapter(r)) {
        r->parent = mgi_hash64(&r->start, sizeof r->start, r->parent);
        MGI_TRY(mgi_adapter_init(&r->adapter, &r->video, &r->base, r->stage.dtype, r->seed));
        r->trained[r->trained_count++] = &r->adapter.module;
        return MGEN_OK;
    }
    MGI_TRY(mgi_module_train(m));
    MGI_TRY(mgi_module_compute(m, r->stage.dtype));
    r->trained[r->trained_count++] = m;
    return MGEN_OK;
}

/* Without values yet, but random ones. */
static mgen_status make_video(struct mgi_stage_run *r)
{
    const mgi_stage *s = &r->stage;
    if (mgi_trains_adapter(r)) {
        MGI_TRY(mgi_adapter_base(r->ctx, &s->video, r->mesh, s->dtype, &r->video));
        return check_parts(r);
    }
    MGI_TRY(mgi_vt_init_mesh(&r->video, r->ctx, &s->video, r->mesh));
    MGI_TRY(check_parts(r));
    return mgi_vt_random(&r->video, r->seed);
}

mgen_status mgi_video_open_models(struct mgi_stage_run *r, const mgi_stage_params *params)
{
    const mgi_stage *stage = &r->stage;
    MGI_TRY(open_texts(r));
    if (mgi_trains_personalizer(r))
        MGI_TRY(open_vision(r));
    MGI_TRY(make_video(r));
    r->video.recompute = stage->recompute;
    if (stage->start_from[0])
        MGI_TRY(mgi_stage_needs(r->ctx, stage, start_video(r, &r->video)));
    MGI_TRY(open_before(r));
    MGI_TRY(mgi_stage_agree(params, r->start));
    MGI_TRY(train_video(r));
    MGI_TRY(mgi_optimizer_init(&r->optimizer, r->ctx, &stage->optimizer, stage->steps, r->trained,
                               r->trained_count));
    mgi_optimizer_split(&r->optimizer, r->mesh);
    return make_fsdp(r);
}

/* -- saving ----------------------------------------------------------------------------------- */

static mgen_status save_more(struct mgi_stage_run *r, const char *dir, const char *name)
{
    mgi_stage *s = &r->stage;
    const int adapted = mgi_adapting_of(s);
    mgi_config_writer *write = mgi_trains_upsampler(r) ? write_upsampler
                               : mgi_trains_editor(r)  ? write_editor
                                                       : write_personalizer;
    const void *config = mgi_trains_upsampler(r) ? (const void *)&s->upsampler
                         : mgi_trains_editor(r)  ? (const void *)&s->editor
                                                 : &s->personalizer; /* which names the encoder */
    s->upsampler.video = s->editor.video = s->personalizer.video = s->video;
    strcpy(s->upsampler.tae, s->tae_name);
    if (mgi_trains_personalizer(r) && !s->vision.frozen)
        MGI_TRY(mgi_clip_vision_save(&r->vision, dir, s->personalizer.vision, MGI_ST_BF16));
    return mgi_model_file_save(r->ctx, dir, name, mgi_adapted[adapted].model, write, config,
                               &r->video.module, mgi_stage_store(s));
}

/* One more model of the folder's pipeline, or one of these with an adapter. */
static mgen_status write_more(struct mgi_stage_run *r, const char *dir)
{
    const int adapted = mgi_adapting_of(&r->stage);
    mgi_pipeline_file p;
    char name[MGI_NAME_MAX + 1];
    MGI_TRY(read_pipeline(r, &p));
    if (mgi_trains_adapter(r)) {
        MGI_TRY(mgi_adapting_save(r->ctx, &r->stage, dir, &r->adapter, name));
        mgi_pipeline_put(&p, adapted, r->base.base, name);
    } else {
        mgi_model_name(name, r->stage.save_as, mgi_adapted[adapted].name);
        MGI_TRY(save_more(r, dir, name));
        mgi_pipeline_put(&p, adapted, name, NULL);
    }
    return mgi_pipeline_file_write(r->ctx, dir, "pipeline", &p);
}

/* Whether a pipeline makes films by the networks of another. */
static bool same_pipeline(const mgi_pipeline_file *a, const mgi_pipeline_file *b)
{
    bool same = !strcmp(a->tae, b->tae) && !strcmp(a->video, b->video);
    for (int i = 0; i < MGI_ROLES; i++)
        same = same && !strcmp(a->text[i], b->text[i]);
    return same;
}

/* The adapter, and a pipeline with it alone: the folder's, with its clip and other models, where that makes films by the model
 * that the adapter changes. */
static mgen_status write_adapter(struct mgi_stage_run *r, const char *dir, mgi_pipeline_file *p)
{
    mgi_pipeline_file before;
    mgi_message quiet;
    char name[MGI_NAME_MAX + 1];
    strcpy(p->video, r->base.base);
    mgi_quiet_begin(r->ctx, &quiet);
    mgen_status status = mgi_pipeline_file_read(r->ctx, r->dir, "pipeline", &before);
    mgi_quiet_end(r->ctx, &quiet, true);
    if (status == MGEN_OK && same_pipeline(&before, p))
        *p = before;
    MGI_TRY(mgi_adapting_save(r->ctx, &r->stage, dir, &r->adapter, name));
    mgi_pipeline_put(p, MGI_ADAPTED_VIDEO, r->base.base, name);
    return mgi_stage_save_set(r->ctx, r->dir, dir, r->stage.save_as, p);
}

static mgen_status write_models(struct mgi_stage_run *r, const char *dir)
{
    if (mgi_trains_more(r))
        return write_more(r, dir);
    mgi_pipeline_file p = {.clip = clip_shape(r, 0)};
    strcpy(p.tae, r->stage.tae_name);
    mgi_model_name(p.video, r->stage.save_as, "video_model");
    for (int i = 0; i < MGI_ROLES; i++) {
        const mgi_text_recipe *t = &r->stage.text[i];
        if (!has_text(r, i))
            continue;
        mgi_model_name(p.text[i], t->frozen ? "" : r->stage.save_as, t->name);
        if (!t->frozen)
            MGI_TRY(mgi_text_encoder_save(&r->text[i], dir, p.text[i], MGI_ST_BF16));
    }
    if (mgi_trains_adapter(r))
        return write_adapter(r, dir, &p);
    MGI_TRY(mgi_model_file_save(r->ctx, dir, p.video, video_kind, mgi_adapting_write,
                                &r->stage.video, &r->video.module, mgi_stage_store(&r->stage)));
    return mgi_stage_save_set(r->ctx, r->dir, dir, r->stage.save_as, &p);
}

void mgi_video_state(struct mgi_stage_run *r, mgi_stage_state *out)
{
    *out = (mgi_stage_state){.stage = &r->stage,
                             .seed = r->seed,
                             .data = r->dataset->kind,
                             .parent = r->parent,
                             .modules = r->trained_count,
                             .optimizer = &r->optimizer,
                             .position = &r->updated};
    memcpy(out->module, r->trained, sizeof out->module);
    mgi_stage_ranks(out, r->mesh, r->parallel.comm);
}

mgen_status mgi_video_save(struct mgi_stage_run *r)
{
    mgi_stage_state s;
    mgi_video_state(r, &s);
    return mgi_stage_save(r->ctx, &s, r->dir, write_models, r);
}
