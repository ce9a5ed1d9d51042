/* SPDX-License-Identifier: MIT
 * Model handles: immutable once loaded, counted, usable by any context and thread at once. */
#include "api/args.h"

#include "core/alloc.h"

#include <string.h>

static void owners_add(mgi_handle *h)
{
    atomic_fetch_add_explicit(&h->owners, 1, memory_order_relaxed);
}

/* True when the last owner is gone. */
static bool owners_remove(mgi_handle *h)
{
    return atomic_fetch_sub_explicit(&h->owners, 1, memory_order_acq_rel) == 1;
}

/* -- opening -------------------------------------------------------------------------------------- */

enum { TAE, TEXT_ENCODER, VIDEO_MODEL, UPSAMPLER, EDITOR, AUDIO_MODEL, PERSONALIZER, REWRITER };

static const size_t handle_size[] = {sizeof(mgen_tae),          sizeof(mgen_text_encoder),
                                     sizeof(mgen_video_model),  sizeof(mgen_upsampler),
                                     sizeof(mgen_editor),       sizeof(mgen_audio_model),
                                     sizeof(mgen_personalizer), sizeof(mgen_rewriter)};

static mgen_status home_make(mgen_context *ctx, mgen_context **home)
{
    MGI_TRY(mgi_context_private(ctx, home));
    mgen_status status = mgi_device_create_like(*home, ctx->device);
    if (status != MGEN_OK) {
        mgi_fail_from(ctx, status, *home);
        mgi_context_free(*home);
        *home = NULL;
    }
    return status;
}

static mgen_status load(mgen_context *home, int kind, const char *dir, const char *name,
                        const mgi_adapters *adapters, const mgi_mesh *mesh, mgi_handle *h)
{
    switch (kind) {
    case TAE:
        return mgi_tae_open(home, dir, name, &((mgen_tae *)h)->net, &h->hash);
    case TEXT_ENCODER:
        return mgi_text_encoder_open(home, dir, name, &((mgen_text_encoder *)h)->net, &h->hash);
    case UPSAMPLER:
        return mgi_upsampler_open_mesh(home, dir, name, adapters, mesh, &((mgen_upsampler *)h)->net,
                                       &h->hash);
    case EDITOR:
        return mgi_editor_open_mesh(home, dir, name, adapters, mesh, &((mgen_editor *)h)->net,
                                    &h->hash);
    case AUDIO_MODEL:
        return mgi_audio_open(home, dir, name, adapters, mesh, &((mgen_audio_model *)h)->net,
                              &h->hash);
    case PERSONALIZER:
        return mgi_personalizer_open_mesh(home, dir, name, adapters, mesh,
                                          &((mgen_personalizer *)h)->net, &h->hash);
    case REWRITER:
        return mgi_rewriter_open(home, dir, name, &((mgen_rewriter *)h)->net, &h->hash);
    default:
        return mgi_vt_open_mesh(home, dir, name, adapters, mesh, &((mgen_video_model *)h)->net,
                                &h->hash);
    }
}

/* MGI_HOLD_* of a MGEN_PRECISION_*: only the files of transformers of video say how they are held. */
static int hold_of(int kind, uint32_t precision)
{
    switch (precision) {
    case MGEN_PRECISION_BF16:
        return MGI_HOLD_BF16;
    case MGEN_PRECISION_FP8:
        return MGI_HOLD_FP8;
    case MGEN_PRECISION_F32:
        return MGI_HOLD_F32;
    default:
        return kind == TAE || kind == TEXT_ENCODER || kind == REWRITER ? MGI_HOLD_F32
                                                                       : MGI_HOLD_AS_FILE;
    }
}

/* The transformer of a model whose file was read; else one of nothing. NULL: the kind has none that may be left out. */
static const mgi_vt_config *other_transformer(int kind, const mgi_handle *h)
{
    switch (kind) {
    case UPSAMPLER:
        return &((const mgen_upsampler *)h)->net.config.video;
    case EDITOR:
        return &((const mgen_editor *)h)->net.config.video;
    case AUDIO_MODEL:
        return &((const mgen_audio_model *)h)->net.config.transformer;
    case PERSONALIZER:
        return &((const mgen_personalizer *)h)->net.config.video;
    default:
        return NULL;
    }
}

/* Whether a model failed to load because the mesh cannot share it, and for nothing else. */
static bool left_out(int kind, const mgi_handle *h, mgen_status status, const mgi_mesh *mesh,
                     mgi_undivided *out)
{
    char why[MGI_VT_WHY];
    const mgi_vt_config *c = h ? other_transformer(kind, h) : NULL;
    if (!out || !c || !mesh || status != MGEN_E_INVALID ||
        !mgi_vt_undivided(c->heads, c->ff_dim, mesh->shape.tp, why))
        return false;
    *out = (mgi_undivided){c->heads, c->ff_dim};
    return true;
}

/* `adapters`: of a transformer, or NULL. */
static mgen_status open_handle(mgen_context *ctx, int kind, const char *dir, const char *name,
                               const mgi_adapters *adapters, uint32_t precision,
                               const mgi_mesh *mesh, mgi_undivided *undivided, void **out)
{
    mgen_context *home;
    mgi_handle *h = NULL;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_check_text(ctx, dir, "the model folder", MGI_PATH_MAX));
    MGI_TRY(mgi_check_text(ctx, name, "the model's name", MGI_NAME_MAX - 16));
    if (!mgi_name_ok(name))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the model's name is \"%.40s\"; it has letters, digits and . _ - only, and "
                        "does not begin with a dot",
                        name);
    MGI_TRY(home_make(ctx, &home));
    home->device->hold = hold_of(kind, precision);
    home->progress = ctx->progress;
    home->progress_user = ctx->progress_user;
    home->log = ctx->log; /* but of failures, which `ctx` tells */
    home->log_user = ctx->log_user;
    atomic_fetch_add(&home->quiet, 1);
    mgen_status status = mgi_alloc_zero(home, 1, handle_size[kind], &h);
    if (status == MGEN_OK)
        status = load(home, kind, dir, name, adapters, mesh, h);
    if (status == MGEN_OK)
        status = mgi_device_wait(home->device);
    home->progress = NULL; /* the handle may outlive what the host gave */
    home->log = NULL;
    atomic_fetch_sub(&home->quiet, 1);
    mgi_device_trim(home->device); /* what it took to load it */
    mgi_device_drop_workspace(home->device);
    if (status != MGEN_OK) {
        if (left_out(kind, h, status, mesh, undivided))
            status = MGEN_OK;
        else
            mgi_fail_from(ctx, status, home);
        mgi_free(home, h);
        mgi_context_free(home);
        return status;
    }
    const mgi_device_counts *c = &home->device->counts;
    h->home = home;
    h->bytes = c->now[MGI_MEM_PARAMETER] + c->now[MGI_MEM_COMPUTE];
    atomic_init(&h->owners, 1);
    *out = h;
    return MGEN_OK;
}

mgen_status mgen_tae_open(mgen_context *ctx, const char *dir, const char *name, mgen_tae **out)
{
    return mgi_tae_handle_open(ctx, dir, name, MGEN_PRECISION_DEFAULT, out);
}

mgen_status mgi_tae_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                uint32_t precision, mgen_tae **out)
{
    return open_handle(ctx, TAE, dir, name, NULL, precision, NULL, NULL, (void **)out);
}

mgen_status mgen_text_encoder_open(mgen_context *ctx, const char *dir, const char *name,
                                   mgen_text_encoder **out)
{
    return mgi_text_encoder_handle_open(ctx, dir, name, MGEN_PRECISION_DEFAULT, out);
}

mgen_status mgi_text_encoder_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                         uint32_t precision, mgen_text_encoder **out)
{
    return open_handle(ctx, TEXT_ENCODER, dir, name, NULL, precision, NULL, NULL, (void **)out);
}

mgen_status mgen_video_model_open(mgen_context *ctx, const char *dir, const char *name,
                                  mgen_video_model **out)
{
    return mgi_video_model_handle_open(ctx, dir, name, NULL, MGEN_PRECISION_DEFAULT, NULL, out);
}

mgen_status mgi_video_model_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                        const mgi_adapters *adapters, uint32_t precision,
                                        const mgen_mesh *mesh, mgen_video_model **out)
{
    return open_handle(ctx, VIDEO_MODEL, dir, name, adapters, precision, mgi_mesh_split(mesh), NULL,
                       (void **)out);
}

mgen_status mgen_upsampler_open(mgen_context *ctx, const char *dir, const char *name,
                                mgen_upsampler **out)
{
    return mgi_upsampler_handle_open(ctx, dir, name, NULL, MGEN_PRECISION_DEFAULT, NULL, NULL, out);
}

mgen_status mgi_upsampler_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                      const mgi_adapters *adapters, uint32_t precision,
                                      const mgen_mesh *mesh, mgi_undivided *undivided,
                                      mgen_upsampler **out)
{
    return open_handle(ctx, UPSAMPLER, dir, name, adapters, precision, mgi_mesh_split(mesh),
                       undivided, (void **)out);
}

mgen_status mgen_editor_open(mgen_context *ctx, const char *dir, const char *name,
                             mgen_editor **out)
{
    return mgi_editor_handle_open(ctx, dir, name, NULL, MGEN_PRECISION_DEFAULT, NULL, NULL, out);
}

mgen_status mgi_editor_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                   const mgi_adapters *adapters, uint32_t precision,
                                   const mgen_mesh *mesh, mgi_undivided *undivided,
                                   mgen_editor **out)
{
    return open_handle(ctx, EDITOR, dir, name, adapters, precision, mgi_mesh_split(mesh), undivided,
                       (void **)out);
}

mgen_status mgen_audio_model_open(mgen_context *ctx, const char *dir, const char *name,
                                  mgen_audio_model **out)
{
    return mgi_audio_model_handle_open(ctx, dir, name, NULL, MGEN_PRECISION_DEFAULT, NULL, NULL,
                                       out);
}

mgen_status mgi_audio_model_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                        const mgi_adapters *adapters, uint32_t precision,
                                        const mgen_mesh *mesh, mgi_undivided *undivided,
                                        mgen_audio_model **out)
{
    return open_handle(ctx, AUDIO_MODEL, dir, name, adapters, precision, mgi_mesh_split(mesh),
                       undivided, (void **)out);
}

mgen_status mgen_personalizer_open(mgen_context *ctx, const char *dir, const char *name,
                                   mgen_personalizer **out)
{
    return mgi_personalizer_handle_open(ctx, dir, name, NULL, MGEN_PRECISION_DEFAULT, NULL, NULL,
                                        out);
}

mgen_status mgi_personalizer_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                         const mgi_adapters *adapters, uint32_t precision,
                                         const mgen_mesh *mesh, mgi_undivided *undivided,
                                         mgen_personalizer **out)
{
    return open_handle(ctx, PERSONALIZER, dir, name, adapters, precision, mgi_mesh_split(mesh),
                       undivided, (void **)out);
}

mgen_status mgen_rewriter_open(mgen_context *ctx, const char *dir, const char *name,
                               mgen_rewriter **out)
{
    return mgi_rewriter_handle_open(ctx, dir, name, MGEN_PRECISION_DEFAULT, out);
}

mgen_status mgi_rewriter_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                     uint32_t precision, mgen_rewriter **out)
{
    return open_handle(ctx, REWRITER, dir, name, NULL, precision, NULL, NULL, (void **)out);
}

uint32_t mgi_video_model_precision(const mgen_video_model *model)
{
    static const uint32_t of[] = {[MGI_HOLD_F32] = MGEN_PRECISION_F32,
                                  [MGI_HOLD_BF16] = MGEN_PRECISION_BF16,
                                  [MGI_HOLD_FP8] = MGEN_PRECISION_FP8};
    return of[model->net.module.hold];
}

/* -- owners --------------------------------------------------------------------------------------- */

/* The network is finished by now. */
static void handle_free(mgi_handle *h)
{
    mgen_context *home = h->home;
    mgi_free(home, h);
    mgi_context_free(home);
}

mgen_tae *mgen_tae_retain(mgen_tae *tae)
{
    if (tae)
        owners_add(&tae->handle);
    return tae;
}

void mgen_tae_release(mgen_tae *tae)
{
    if (!tae || !owners_remove(&tae->handle))
        return;
    mgi_tae_finish(&tae->net);
    handle_free(&tae->handle);
}

mgen_text_encoder *mgen_text_encoder_retain(mgen_text_encoder *encoder)
{
    if (encoder)
        owners_add(&encoder->handle);
    return encoder;
}

void mgen_text_encoder_release(mgen_text_encoder *encoder)
{
    if (!encoder || !owners_remove(&encoder->handle))
        return;
    mgi_text_encoder_finish(&encoder->net);
    handle_free(&encoder->handle);
}

mgen_video_model *mgen_video_model_retain(mgen_video_model *model)
{
    if (model)
        owners_add(&model->handle);
    return model;
}

void mgen_video_model_release(mgen_video_model *model)
{
    if (!model || !owners_remove(&model->handle))
        return;
    mgi_vt_finish(&model->net);
    handle_free(&model->handle);
}

mgen_upsampler *mgen_upsampler_retain(mgen_upsampler *upsampler)
{
    if (upsampler)
        owners_add(&upsampler->handle);
    return upsampler;
}

void mgen_upsampler_release(mgen_upsampler *upsampler)
{
    if (!upsampler || !owners_remove(&upsampler->handle))
        return;
    mgi_upsampler_finish(&upsampler->net);
    handle_free(&upsampler->handle);
}

mgen_editor *mgen_editor_retain(mgen_editor *editor)
{
    if (editor)
        owners_add(&editor->handle);
    return editor;
}

void mgen_editor_release(mgen_editor *editor)
{
    if (!editor || !owners_remove(&editor->handle))
        return;
    mgi_editor_finish(&editor->net);
    handle_free(&editor->handle);
}

mgen_audio_model *mgen_audio_model_retain(mgen_audio_model *model)
{
    if (model)
        owners_add(&model->handle);
    return model;
}

void mgen_audio_model_release(mgen_audio_model *model)
{
    if (!model || !owners_remove(&model->handle))
        return;
    mgi_audio_finish(&model->net);
    handle_free(&model->handle);
}

mgen_personalizer *mgen_personalizer_retain(mgen_personalizer *personalizer)
{
    if (personalizer)
        owners_add(&personalizer->handle);
    return personalizer;
}

void mgen_personalizer_release(mgen_personalizer *personalizer)
{
    if (!personalizer || !owners_remove(&personalizer->handle))
        return;
    mgi_personalizer_finish(&personalizer->net);
    handle_free(&personalizer->handle);
}

mgen_rewriter *mgen_rewriter_retain(mgen_rewriter *rewriter)
{
    if (rewriter)
        owners_add(&rewriter->handle);
    return rewriter;
}

void mgen_rewriter_release(mgen_rewriter *rewriter)
{
    if (!rewriter || !owners_remove(&rewriter->handle))
        return;
    mgi_rewriter_finish(&rewriter->net);
    handle_free(&rewriter->handle);
}

/* -- what they are -------------------------------------------------------------------------------- */

/* `ours` counts parameters of other networks than `m`. */
static mgen_status info_out(const mgi_handle *h, const mgi_module *m, mgen_model_info *ours,
                            mgen_model_info *theirs)
{
    ours->parameters += (uint64_t)mgi_module_size(m);
    ours->bytes = h->bytes;
    ours->hash = h->hash;
    return mgi_struct_out(theirs, ours, sizeof *ours, offsetof(mgen_model_info, guidance));
}

mgen_status mgen_tae_get_info(const mgen_tae *tae, mgen_model_info *info)
{
    if (!tae)
        return MGEN_E_INVALID;
    const mgi_tae_config *c = &tae->net.config;
    mgen_model_info ours = {
        .channels = (uint32_t)c->latent_channels,
        .spatial_factor = (uint32_t)mgi_tae_factor(c),
        .temporal_factor = (uint32_t)mgi_tae_time_factor(c),
    };
    return info_out(&tae->handle, &tae->net.module, &ours, info);
}

mgen_status mgen_text_encoder_get_info(const mgen_text_encoder *encoder, mgen_model_info *info)
{
    if (!encoder)
        return MGEN_E_INVALID;
    const mgi_text_encoder *e = &encoder->net;
    mgen_model_info ours = {.text_width = (uint32_t)mgi_text_width(e),
                            .text_tokens = (uint32_t)mgi_text_tokens_max(e)};
    return info_out(&encoder->handle, mgi_text_module((mgi_text_encoder *)e), &ours, info);
}

/* What all transformers of video tell. */
static mgen_model_info transformer_info(const mgi_vt_config *c)
{
    mgen_model_info info = {.channels = (uint32_t)c->channels,
                            .guidance = mgi_vt_guidance(c, 0.0f),
                            .noise_scale = mgi_vt_noise_scale(c, 0.0f),
                            .fps_prefix = c->fps_prefix};
    for (int i = 0; i < MGI_ROLES; i++)
        if (c->text[i] > info.text_width)
            info.text_width = (uint32_t)c->text[i];
    return info;
}

mgen_status mgen_video_model_get_info(const mgen_video_model *model, mgen_model_info *info)
{
    if (!model)
        return MGEN_E_INVALID;
    mgen_model_info ours = transformer_info(&model->net.config);
    return info_out(&model->handle, &model->net.module, &ours, info);
}

mgen_status mgen_upsampler_get_info(const mgen_upsampler *upsampler, mgen_model_info *info)
{
    if (!upsampler)
        return MGEN_E_INVALID;
    const mgi_upsampler *u = &upsampler->net;
    mgen_model_info ours = transformer_info(&u->config.video);
    ours.spatial_factor = (uint32_t)mgi_tae_factor(&u->tae.config);
    ours.temporal_factor = 1;
    ours.upsampling = (uint32_t)u->config.factor;
    return info_out(&upsampler->handle, &u->video.module, &ours, info);
}

mgen_status mgen_editor_get_info(const mgen_editor *editor, mgen_model_info *info)
{
    if (!editor)
        return MGEN_E_INVALID;
    const mgi_editor *e = &editor->net;
    mgen_model_info ours = transformer_info(&e->config.video);
    ours.tasks = (uint32_t)e->config.video.tasks;
    ours.source_guidance = e->config.source_guidance;
    return info_out(&editor->handle, &e->video.module, &ours, info);
}

mgen_status mgen_audio_model_get_info(const mgen_audio_model *model, mgen_model_info *info)
{
    if (!model)
        return MGEN_E_INVALID;
    const mgi_audio *a = &model->net;
    mgen_model_info ours = transformer_info(&a->config.transformer);
    ours.rate = (uint32_t)a->codec.config.rate;
    ours.sees_clips = a->config.vision[0] != '\0';
    return info_out(&model->handle, &a->transformer.module, &ours, info);
}

mgen_status mgen_personalizer_get_info(const mgen_personalizer *personalizer, mgen_model_info *info)
{
    if (!personalizer)
        return MGEN_E_INVALID;
    const mgi_personalizer *p = &personalizer->net;
    mgen_model_info ours = transformer_info(&p->config.video);
    ours.source_guidance = p->config.source_guidance;
    return info_out(&personalizer->handle, &p->video.module, &ours, info);
}

mgen_status mgen_rewriter_get_info(const mgen_rewriter *rewriter, mgen_model_info *info)
{
    if (!rewriter)
        return MGEN_E_INVALID;
    const mgi_rewriter *r = &rewriter->net;
    const mgi_module *encoder = mgi_text_module((mgi_text_encoder *)&r->text);
    mgen_model_info ours = {.parameters = (uint64_t)mgi_module_size(encoder)};
    return info_out(&rewriter->handle, &r->decoder.module, &ours, info);
}
