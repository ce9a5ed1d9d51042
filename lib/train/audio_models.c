/* SPDX-License-Identifier: MIT
 * The models of a stage that trains an audio model: opened, checked against each other, saved. */
#include "train/audio_stage.h"

#include "core/hash.h"
#include "core/quiet.h"
#include "data/world_sound.h"
#include "dist/sharding_plan.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char audio_name[] = "audio", text_name[] = "audio_text",
                  vision_name[] = "audio_vision";

static void write_text(mgi_json_writer *w, const void *config)
{
    mgi_text_config_write(w, config);
}

static void write_vision(mgi_json_writer *w, const void *config)
{
    mgi_clip_vision_config_write(w, config);
}

static void write_audio(mgi_json_writer *w, const void *config)
{
    mgi_audio_config_write(w, config);
}

/* The model of a set or, where there is none, the one of that very name. */
static mgen_status find_start(struct mgi_stage_run *r, char name[MGI_NAME_MAX + 1],
                              mgi_model_file *file)
{
    mgi_message before;
    char set[MGI_NAME_MAX + 1];
    mgi_model_name(name, r->stage.start_from, audio_name);
    strcpy(set, name);
    mgi_quiet_begin(r->ctx, &before);
    mgen_status status = mgi_model_file_open(r->ctx, r->dir, name, MGI_AUDIO_KIND, file);
    if (status == MGEN_E_NOT_FOUND) {
        strcpy(name, r->stage.start_from);
        status = mgi_model_file_open(r->ctx, r->dir, name, MGI_AUDIO_KIND, file);
        if (status == MGEN_E_NOT_FOUND)
            mgi_fail_context(r->ctx, status, "\"%s\" is not there, nor is \"%s\"", set, name);
    }
    mgi_quiet_end(r->ctx, &before, status == MGEN_OK);
    return status;
}

/* What the stage starts from. */
static mgen_status open_start(struct mgi_stage_run *r, char name[MGI_NAME_MAX + 1],
                              mgi_model_file *file, mgi_audio_config *theirs)
{
    MGI_TRY(find_start(r, name, file));
    mgen_status status = mgi_audio_config_read(r->ctx, file->config, theirs);
    if (status != MGEN_OK) {
        mgi_model_file_close(r->ctx, file);
        status = mgi_fail_context(r->ctx, status, "%s.json", name);
    }
    return status;
}

/* What the recipe leaves out of the model that an adapter changes is that model's; so must be what it says. */
static mgen_status take_config(struct mgi_stage_run *r, const char *name,
                               const mgi_audio_config *theirs)
{
    mgi_stage *s = &r->stage;
    mgi_text_recipe *text = &s->text[MGI_ROLE_UL2];
    const mgi_vt_config said = s->audio.transformer;
    s->audio = *theirs;
    if (said.layers)
        s->audio.transformer = said;
    MGI_TRY(mgi_adapting_part(r->ctx, s, name, "the codec", s->codec, theirs->codec));
    MGI_TRY(mgi_adapting_part(r->ctx, s, name, "the text encoder", text->from, theirs->text));
    strcpy(text->name, text->from);
    return theirs->vision[0] || s->vision.from[0]
               ? mgi_adapting_part(r->ctx, s, name, "the image encoder", s->vision.from,
                                   theirs->vision)
               : MGEN_OK;
}

static mgen_status take_adapted(struct mgi_stage_run *r)
{
    mgi_model_file file;
    mgi_audio_config theirs;
    char name[MGI_NAME_MAX + 1];
    MGI_TRY(open_start(r, name, &file, &theirs));
    mgi_model_file_close(r->ctx, &file);
    return take_config(r, name, &theirs);
}

mgen_status mgi_audio_open_codec(struct mgi_stage_run *r)
{
    MGI_TRY(mgi_adapting_check(r->ctx, &r->stage, r->dir, r->mesh));
    if (mgi_adapts(&r->stage))
        MGI_TRY(mgi_stage_needs(r->ctx, &r->stage, take_adapted(r)));
    mgen_status status =
        mgi_audio_codec_open(r->ctx, r->dir, r->stage.codec, &r->models.codec, &r->codec_hash);
    MGI_TRY(mgi_stage_needs(r->ctx, &r->stage, status));
    r->parent = r->codec_hash;
    strcpy(r->stage.audio.codec, r->stage.codec);
    if (r->models.codec.config.rate != MGI_WORLD_SOUND_RATE)
        return mgi_fail(r->ctx, MGEN_E_STATE,
                        "stage \"%s\": the codec \"%s\" takes %lld samples a second; datasets give "
                        "%d",
                        r->stage.name, r->stage.codec, (long long)r->models.codec.config.rate,
                        MGI_WORLD_SOUND_RATE);
    return mgi_module_compute(&r->models.codec.module, r->stage.dtype);
}

/* A part that learns, or not. `hash`: of what of it comes from outside; 0: nothing. */
static mgen_status take_part(struct mgi_stage_run *r, mgi_module *m, bool frozen, uint64_t hash)
{
    if (hash)
        r->parent = mgi_hash64(&hash, sizeof hash, r->parent);
    if (!frozen) {
        MGI_TRY(mgi_module_train(m));
        r->trained[r->trained_count++] = m;
    }
    return mgi_stage_compute(&r->stage, m);
}

static mgen_status open_text(struct mgi_stage_run *r)
{
    const mgi_stage *s = &r->stage;
    mgi_text_recipe *recipe = &r->stage.text[MGI_ROLE_UL2];
    mgi_text_encoder *e = &r->models.text;
    const mgi_mesh *mesh = mgi_divided_by(MGI_COMPONENT_UL2, MGI_BY_FSDP) ? r->mesh : NULL;
    char name[MGI_NAME_MAX + 1];
    bool starts = s->start_from[0] && !recipe->from[0];
    uint64_t hash = 0;
    if (!starts && !recipe->from[0]) {
        MGI_TRY(mgi_text_encoder_init(e, r->ctx, s->folder[0] ? s->folder : r->dir, &recipe->config,
                                      mesh));
        MGI_TRY(mgi_module_random(mgi_text_module(e), r->seed));
    } else {
        mgi_model_name(name, starts ? s->start_from : "", starts ? text_name : recipe->from);
        MGI_TRY(mgi_stage_needs(
            r->ctx, s, mgi_stage_open_text(r->ctx, r->dir, name, recipe->hold, mesh, e, &hash)));
        if (starts)
            MGI_TRY(mgi_stage_same_model(r->ctx, &r->stage, name, write_text, &e->config,
                                         &recipe->config));
        if (!recipe->frozen)
            r->start = mgi_hash64(&hash, sizeof hash, r->start);
        recipe->config = e->config;
    }
    if (!recipe->frozen)
        hash = mgi_tokenizer_hash(e->tokenizer);
    return take_part(r, mgi_text_module(e), recipe->frozen, hash);
}

/* Whether that has an image encoder. */
static mgen_status start_sees(struct mgi_stage_run *r, bool *sees)
{
    mgi_model_file file;
    mgi_audio_config theirs;
    char name[MGI_NAME_MAX + 1];
    MGI_TRY(open_start(r, name, &file, &theirs));
    *sees = theirs.vision[0] != '\0';
    mgi_model_file_close(r->ctx, &file);
    return MGEN_OK;
}

static mgen_status open_vision(struct mgi_stage_run *r)
{
    const mgi_stage *s = &r->stage;
    mgi_vision_recipe *recipe = &r->stage.vision;
    mgi_clip_vision *v = &r->models.vision;
    char name[MGI_NAME_MAX + 1];
    bool starts = s->start_from[0] && !recipe->from[0];
    uint64_t hash = 0;
    if (starts)
        MGI_TRY(mgi_stage_needs(r->ctx, s, start_sees(r, &starts)));
    if (!starts && !recipe->from[0]) {
        MGI_TRY(mgi_clip_vision_init(v, r->ctx, &recipe->config));
        MGI_TRY(mgi_module_random(&v->module, r->seed));
    } else {
        mgi_model_name(name, starts ? s->start_from : "", starts ? vision_name : recipe->from);
        MGI_TRY(mgi_stage_needs(
            r->ctx, s, mgi_stage_open_vision(r->ctx, r->dir, name, recipe->hold, v, &hash)));
        if (starts)
            MGI_TRY(mgi_stage_same_model(r->ctx, &r->stage, name, write_vision, &v->config,
                                         &recipe->config));
        recipe->config = v->config;
    }
    r->vision_hash = hash;
    if (!recipe->frozen) {
        r->start = hash ? mgi_hash64(&hash, sizeof hash, r->start) : r->start;
        hash = 0;
    }
    return take_part(r, &v->module, recipe->frozen, hash);
}

/* Shorter tables are stretched; who has seen no films begins to. */
static mgen_status load_grown(struct mgi_stage_run *r, const char *name, const mgi_model_file *file,
                              const mgi_vt_config *theirs)
{
    const mgi_vt_config *ours = &r->stage.audio.transformer;
    mgi_vt_config grown = *theirs;
    if (grown.frames_max < ours->frames_max)
        grown.frames_max = ours->frames_max;
    grown.features = grown.features ? grown.features : ours->features;
    grown.guidance = ours->guidance;
    grown.precision = ours->precision;
    MGI_TRY(mgi_stage_same_model(r->ctx, &r->stage, name, mgi_adapting_write, &grown, ours));
    return mgi_vt_load_grown(&r->models.transformer, theirs, &file->weights, file->weights_name);
}

static mgen_status start_transformer(struct mgi_stage_run *r)
{
    mgi_vt *vt = &r->models.transformer;
    mgi_model_file file;
    mgi_audio_config theirs;
    char name[MGI_NAME_MAX + 1];
    MGI_TRY(open_start(r, name, &file, &theirs));
    mgen_status status =
        mgi_adapts(&r->stage)
            ? mgi_adapting_load(r->ctx, &r->stage, name, &file, &theirs.transformer, vt, &r->base)
            : load_grown(r, name, &file, &theirs.transformer);
    r->start = mgi_hash64(&file.hash, sizeof file.hash, r->start);
    mgi_model_file_close(r->ctx, &file);
    return status;
}

/* Of the sharded modules in the order in which they run. */
static mgen_status make_fsdp(struct mgi_stage_run *r)
{
    mgi_module *all[] = {mgi_text_module(&r->models.text), &r->models.transformer.module};
    return r->mesh && r->mesh->shape.shard > 1 ? mgi_fsdp_create(r->ctx, r->mesh, all, 2, &r->fsdp)
                                               : MGEN_OK;
}

/* What learns, ready for steps: the transformer, or an adapter beside it, which changes what that starts from. */
static mgen_status train_transformer(struct mgi_stage_run *r)
{
    mgi_vt *vt = &r->models.transformer;
    if (!mgi_adapts(&r->stage))
        return take_part(r, &vt->module, false, 0);
    r->parent = mgi_hash64(&r->start, sizeof r->start, r->parent);
    MGI_TRY(mgi_adapter_init(&r->adapter, vt, &r->base, r->stage.dtype, r->seed));
    r->trained[r->trained_count++] = &r->adapter.module;
    return MGEN_OK;
}

mgen_status mgi_audio_open_models(struct mgi_stage_run *r, const mgi_stage_params *params)
{
    const mgi_stage *s = &r->stage;
    mgi_vt *vt = &r->models.transformer;
    mgen_status status = open_text(r);
    if (status != MGEN_OK)
        return mgi_fail_context(r->ctx, status, "the text encoder");
    if (s->audio.vision[0])
        status = open_vision(r);
    if (status != MGEN_OK)
        return mgi_fail_context(r->ctx, status, "the image encoder");
    MGI_TRY(mgi_adapts(s) ? mgi_adapter_base(r->ctx, &s->audio.transformer, r->mesh, s->dtype, vt)
                          : mgi_vt_init_mesh(vt, r->ctx, &s->audio.transformer, r->mesh));
    vt->recompute = s->recompute;
    r->models.config = s->audio;
    status = mgi_audio_check(r->ctx, &r->models);
    if (status != MGEN_OK)
        return mgi_fail_context(r->ctx, MGEN_E_INVALID, "the networks of stage \"%s\"", s->name);
    if (!mgi_adapts(s))
        MGI_TRY(mgi_vt_random(vt, r->seed));
    if (s->start_from[0])
        MGI_TRY(mgi_stage_needs(r->ctx, s, start_transformer(r)));
    MGI_TRY(mgi_stage_agree(params, r->start));
    MGI_TRY(train_transformer(r));
    MGI_TRY(mgi_optimizer_init(&r->optimizer, r->ctx, &s->optimizer, s->steps, r->trained,
                               r->trained_count));
    mgi_optimizer_split(&r->optimizer, r->mesh);
    return make_fsdp(r);
}

/* -- saving ------------------------------------------------------------------------------------- */

static mgen_status write_models(struct mgi_stage_run *r, const char *dir)
{
    const mgi_stage *s = &r->stage;
    const mgi_text_recipe *text = &s->text[MGI_ROLE_UL2];
    mgi_audio_config config = s->audio;
    char name[MGI_NAME_MAX + 1];
    if (mgi_adapts(s)) {
        MGI_TRY(mgi_adapting_save(r->ctx, s, dir, &r->adapter, name));
        return mgi_stage_name_model(r->ctx, r->dir, dir, offsetof(mgi_pipeline_file, audio),
                                    r->base.base, name);
    }
    mgi_model_name(name, s->save_as, audio_name);
    mgi_model_name(config.text, text->frozen ? "" : s->save_as, text->name);
    if (!text->frozen)
        MGI_TRY(mgi_text_encoder_save(&r->models.text, dir, config.text, MGI_ST_BF16));
    if (mgi_audio_looks(r)) {
        mgi_model_name(config.vision, s->save_as, vision_name);
        MGI_TRY(mgi_clip_vision_save(&r->models.vision, dir, config.vision, MGI_ST_BF16));
    }
    MGI_TRY(mgi_model_file_save(r->ctx, dir, name, MGI_AUDIO_KIND, write_audio, &config,
                                &r->models.transformer.module, mgi_stage_store(s)));
    return mgi_stage_name_model(r->ctx, r->dir, dir, offsetof(mgi_pipeline_file, audio), name,
                                NULL);
}

void mgi_audio_stage_state(struct mgi_stage_run *r, mgi_stage_state *out)
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

mgen_status mgi_audio_stage_save(struct mgi_stage_run *r)
{
    mgi_stage_state s;
    mgi_audio_stage_state(r, &s);
    return mgi_stage_save(r->ctx, &s, r->dir, write_models, r);
}
