/* SPDX-License-Identifier: MIT */
#include "train/adapting.h"

#include "core/quiet.h"

#include <stdio.h>
#include <string.h>

int mgi_adapting_of(const mgi_stage *s)
{
    switch (s->kind) {
    case MGI_STAGE_UPSAMPLER:
        return MGI_ADAPTED_UPSAMPLER;
    case MGI_STAGE_EDITOR:
        return MGI_ADAPTED_EDITOR;
    case MGI_STAGE_AUDIO:
        return MGI_ADAPTED_AUDIO;
    case MGI_STAGE_PERSONALIZER:
        return MGI_ADAPTED_PERSONALIZER;
    default:
        return MGI_ADAPTED_VIDEO;
    }
}

mgen_status mgi_adapting_named(mgen_context *ctx, const char *dir, const char *name,
                               char model[MGI_NAME_MAX + 1], mgi_adapters *with, int *kind)
{
    mgi_adapter_config config = {.rank = 0};
    mgi_model_file f;
    mgen_status status = MGEN_OK;
    MGI_TRY(mgi_model_file_open(ctx, dir, name, NULL, &f));
    const char *is = mgi_json_find(f.root, "kind")->s;
    for (*kind = 0; *kind < MGI_ADAPTED_KINDS; ++*kind)
        if (!strcmp(is, mgi_adapted[*kind].model) || !strcmp(is, mgi_adapted[*kind].adapter))
            break;
    with->count = *kind < MGI_ADAPTED_KINDS && !strcmp(is, mgi_adapted[*kind].adapter);
    if (with->count) {
        with->list[0].scale = 1.0;
        mgi_model_name(with->list[0].name, "", name);
        status = mgi_adapter_config_read(ctx, f.config, &config);
    }
    if (status == MGEN_OK && with->count && !config.base[0])
        status =
            mgi_fail(ctx, MGEN_E_CORRUPT,
                     "%s does not say beside which model it was trained (\"base\")", f.json_name);
    if (with->count)
        strcpy(model, config.base);
    else
        mgi_model_name(model, "", name);
    mgi_model_file_close(ctx, &f);
    return status;
}

/* Under its set's name, or else that of its kind; a video model's under neither. */
static void name_of(const mgi_stage *s, char out[MGI_NAME_MAX + 1])
{
    const int kind = mgi_adapting_of(s);
    const char *set =
        s->save_as[0] || kind == MGI_ADAPTED_VIDEO ? s->save_as : mgi_adapted[kind].name;
    mgi_model_name(out, set, "adapter");
}

static mgen_status check_ranks(mgen_context *ctx, const mgi_stage *s, const mgi_mesh *mesh)
{
    return !mesh || (mesh->shape.tp <= 1 && mesh->shape.shard <= 1)
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                          "stage \"%s\" trains an adapter, of which every rank has all, as of its "
                          "model; use a mesh of dp and cp alone, without \"tp\" and \"shard\"",
                          s->name);
}

/* Whether a pipeline has its name for an adapter of other models, of which *kind receives one. */
static bool is_taken(const mgi_stage *s, const mgi_pipeline_file *p, const char *name, int *kind)
{
    for (int i = 0; i < MGI_ADAPTED_KINDS; i++)
        for (int64_t k = 0; k < p->adapters[i].count && i != mgi_adapting_of(s); k++)
            if (!strcmp(p->adapters[i].list[k].name, name)) {
                *kind = i;
                return true;
            }
    return false;
}

mgen_status mgi_adapting_check(mgen_context *ctx, const mgi_stage *s, const char *dir,
                               const mgi_mesh *mesh)
{
    mgi_pipeline_file p;
    mgi_message before;
    char name[MGI_NAME_MAX + 1];
    int kind = 0;
    if (!mgi_adapts(s))
        return MGEN_OK;
    MGI_TRY(check_ranks(ctx, s, mesh));
    mgi_quiet_begin(ctx, &before);
    const bool any = mgi_pipeline_file_read(ctx, dir, "pipeline", &p) == MGEN_OK;
    mgi_quiet_end(ctx, &before, true); /* who needs one says what is wrong with it */
    name_of(s, name);
    return !any || !is_taken(s, &p, name, &kind)
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_STATE,
                          "stage \"%s\" would save its adapter as \"%s\", which \"%s\" of "
                          "pipeline.json names; give it another \"save_as\"",
                          s->name, name, mgi_adapted[kind].list);
}

mgen_status mgi_adapting_part(mgen_context *ctx, const mgi_stage *s, const char *name,
                              const char *what, char ours[64], const char *theirs)
{
    if (!ours[0])
        snprintf(ours, 64, "%.63s", theirs);
    return !strcmp(ours, theirs)
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_STATE,
                          "stage \"%s\" has %s \"%s\", but \"%s\", of which it trains an adapter, "
                          "has \"%s\"; take the same",
                          s->name, what, ours, name, theirs);
}

void mgi_adapting_write(mgi_json_writer *w, const void *config)
{
    mgi_vt_config_write(w, config);
}

/* It is used beside the weights that are in the file: they do not grow. */
mgen_status mgi_adapting_load(mgen_context *ctx, const mgi_stage *s, const char *name,
                              const mgi_model_file *file, const mgi_vt_config *theirs, mgi_vt *to,
                              mgi_adapter_config *out)
{
    const mgi_vt_config *ours = &to->config;
    mgi_vt_config same = *theirs;
    same.guidance = ours->guidance;
    same.noise_scale = ours->noise_scale;
    same.precision = ours->precision;
    MGI_TRY(mgi_stage_same_model(ctx, s, name, mgi_adapting_write, &same, ours));
    *out = (mgi_adapter_config){
        .rank = s->adapter.rank, .alpha = s->adapter.alpha, .base_hash = file->hash};
    strcpy(out->base, name);
    return mgi_module_load(&to->module, &file->weights, file->weights_name, false);
}

mgen_status mgi_adapting_save(mgen_context *ctx, const mgi_stage *s, const char *dir,
                              mgi_adapter *adapter, char name[MGI_NAME_MAX + 1])
{
    name_of(s, name);
    return mgi_model_file_save(ctx, dir, name, mgi_adapted[mgi_adapting_of(s)].adapter,
                               mgi_adapter_config_write, &adapter->config, &adapter->module,
                               MGI_ST_F32);
}
