/* SPDX-License-Identifier: MIT
 * The pipeline: a struct of handles. */
#include "api/args.h"

#include "kernels/mgk.h"
#include "task/ranks.h"
#include "train/average.h"
#include "train/convert.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What a pipeline had in its first headers. */
#define PIPELINE_LEAST offsetof(mgen_pipeline, upsampler)

/* A shorter struct of a host has no room for them. */
static mgen_upsampler **upsampler_of(mgen_pipeline *p)
{
    return p->struct_size > PIPELINE_LEAST ? &p->upsampler : NULL;
}

static mgen_editor **editor_of(mgen_pipeline *p)
{
    return p->struct_size > offsetof(mgen_pipeline, editor) ? &p->editor : NULL;
}

static mgen_audio_model **audio_of(mgen_pipeline *p)
{
    return p->struct_size > offsetof(mgen_pipeline, audio) ? &p->audio : NULL;
}

static mgen_personalizer **personalizer_of(mgen_pipeline *p)
{
    return p->struct_size > offsetof(mgen_pipeline, personalizer) ? &p->personalizer : NULL;
}

static mgen_rewriter **rewriter_of(mgen_pipeline *p)
{
    return p->struct_size > offsetof(mgen_pipeline, rewriter) ? &p->rewriter : NULL;
}

static mgen_status check_precision(mgen_context *ctx, const mgen_pipeline *p)
{
    return p->precision <= MGEN_PRECISION_FP8
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_INVALID,
                          "pipeline: precision is %u; it must be one of MGEN_PRECISION_DEFAULT (0) "
                          "to MGEN_PRECISION_FP8 (%d)",
                          p->precision, MGEN_PRECISION_FP8);
}

mgen_status mgi_pipeline_in(mgen_context *ctx, const mgen_pipeline *theirs, mgen_pipeline *ours)
{
    mgen_pipeline p; /* ours holds nothing until all is well: its owner releases what it holds */
    MGI_TRY(mgi_struct_in(ctx, &p, sizeof p, PIPELINE_LEAST, theirs, "pipeline"));
    MGI_TRY(check_precision(ctx, &p));
    p.struct_size = sizeof p;
    mgen_tae_retain(p.tae);
    mgen_video_model_retain(p.video);
    mgen_upsampler_retain(p.upsampler);
    mgen_editor_retain(p.editor);
    mgen_audio_model_retain(p.audio);
    mgen_personalizer_retain(p.personalizer);
    mgen_rewriter_retain(p.rewriter);
    for (int i = 0; i < 3; i++)
        mgen_text_encoder_retain(p.text[i]);
    *ours = p;
    return MGEN_OK;
}

mgen_mesh *mgi_pipeline_mesh(mgen_context *ctx, const mgen_pipeline *theirs)
{
    bool whole = theirs && theirs->struct_size >= PIPELINE_LEAST;
    return whole && mgi_mesh_in(ctx, theirs->mesh) == MGEN_OK ? theirs->mesh : NULL;
}

static bool size_given(const mgen_pipeline *p)
{
    return p->width && p->height && p->frames && p->fps && p->width <= 65536 &&
           p->height <= 65536 && p->frames <= 65536 && p->fps <= 65536;
}

/* -- models that the mesh cannot share ----------------------------------------------------------- */

enum { HANDLES = 2 + MGI_ROLES + MGI_OTHERS };

static const char *const other_name[MGI_OTHERS] = {"upsampler", "editor", "audio model",
                                                   "personalizer"};
static const char *const other_page[MGI_OTHERS] = {"upsampler", "editor", "audio-model",
                                                   "personalizer"};

/* Of a struct that has room for all; returns how many there are. */
static int handles_of(const mgen_pipeline *p, mgi_handle *out[HANDLES])
{
    int n = 0;
    mgi_handle *all[] = {p->tae ? &p->tae->handle : NULL,
                         p->video ? &p->video->handle : NULL,
                         p->text[0] ? &p->text[0]->handle : NULL,
                         p->text[1] ? &p->text[1]->handle : NULL,
                         p->text[2] ? &p->text[2]->handle : NULL,
                         p->upsampler ? &p->upsampler->handle : NULL,
                         p->editor ? &p->editor->handle : NULL,
                         p->audio ? &p->audio->handle : NULL,
                         p->personalizer ? &p->personalizer->handle : NULL};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i])
            out[n++] = all[i];
    return n;
}

/* Why the pipeline, opened over this mesh, has no such model though its folder has one; false: that is not why. */
static bool why_left_out(const mgen_pipeline *p, int other, char why[MGI_VT_WHY])
{
    const mgi_mesh *mesh = mgi_mesh_split(p->mesh);
    mgi_handle *handles[HANDLES];
    const int n = mesh ? handles_of(p, handles) : 0;
    for (int i = 0; i < n; i++) {
        const mgi_undivided *u = &handles[i]->left_out[other];
        if (u->heads)
            return mgi_vt_undivided(u->heads, u->ff_dim, mesh->shape.tp, why);
    }
    return false;
}

static mgen_status lacks_other(mgen_context *ctx, const mgen_pipeline *p, int other)
{
    char why[MGI_VT_WHY];
    if (!why_left_out(p, other, why))
        return mgi_fail(ctx, MGEN_E_STATE,
                        "the pipeline lacks its %s: take a model that has one, or train one "
                        "(docs/recipes.md#%s)",
                        other_name[other], other_page[other]);
    return mgi_fail(ctx, MGEN_E_STATE,
                    "the pipeline lacks its %s, which its mesh cannot share: %s; open it over such "
                    "a mesh, or on one rank",
                    other_name[other], why);
}

/* After opening: what was left out is known to what was not. With no other model there is nothing that could be asked for:
 * INVALID, as for that one alone. */
static mgen_status leave_out(mgen_context *ctx, const char *dir, const char *const name[MGI_OTHERS],
                             const mgi_undivided left_out[MGI_OTHERS], const mgen_pipeline *p)
{
    mgi_handle *handles[HANDLES];
    char why[MGI_VT_WHY], axes[64];
    const mgi_mesh *mesh = mgi_mesh_split(p->mesh);
    const bool any = p->tae || p->video || p->upsampler || p->editor || p->audio || p->personalizer;
    const int n = handles_of(p, handles);
    for (int i = 0; i < n; i++)
        memcpy(handles[i]->left_out, left_out, sizeof handles[i]->left_out);
    for (int k = 0; mesh && k < MGI_OTHERS; k++) {
        const mgi_undivided *u = &left_out[k];
        if (!u->heads || !mgi_vt_undivided(u->heads, u->ff_dim, mesh->shape.tp, why))
            continue;
        if (!any)
            return mgi_fail(ctx, MGEN_E_INVALID, "%s: the %s \"%s\": %s", dir, other_name[k],
                            name[k], why);
        if (mgen_mesh_rank(p->mesh) == 0)
            mgi_log(ctx, MGEN_LOG_WARN,
                    "%s: the %s \"%s\" is left out, which the mesh %s cannot share: %s", dir,
                    other_name[k], name[k], mgi_mesh_text(mesh->shape, axes, sizeof axes), why);
    }
    return MGEN_OK;
}

/* -- networks of requests --------------------------------------------------------------------------- */

/* What a request needs but the pipeline lacks, or NULL. */
static const char *missing(const mgen_pipeline *p)
{
    static const char *const encoder[MGI_ROLES] = {
        "text encoder (role UL2)", "text encoder (role ByT5)", "text encoder (role MetaCLIP)"};
    if (!p->tae || !p->video)
        return p->tae ? "video model" : "TAE";
    for (int i = 0; i < MGI_ROLES; i++)
        if (p->video->net.config.text[i] && !p->text[i] &&
            mgi_runs_text(mgi_mesh_split(p->mesh), i))
            return encoder[i];
    return NULL;
}

static mgi_networks networks_of(const mgen_pipeline *p)
{
    mgi_networks n = {.tae = &p->tae->net,
                      .video = &p->video->net,
                      .clip = {p->width, p->height, p->frames, p->fps}};
    for (int i = 0; i < MGI_ROLES; i++)
        n.text[i] = p->text[i] ? &p->text[i]->net : NULL;
    return n;
}

/* Do they fit together? */
static mgen_status check_networks(mgen_context *ctx, const mgi_networks *n)
{
    mgen_status status = mgi_networks_check(ctx, n);
    return status == MGEN_E_CORRUPT ? mgi_fail_context(ctx, MGEN_E_STATE, "the pipeline") : status;
}

static mgen_status check_size(mgen_context *ctx, const mgen_pipeline *p)
{
    return size_given(p)
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_INVALID,
                          "pipeline: width, height, frames and fps are the clip that the model was "
                          "trained on, each 1..65536; they are %u, %u, %u, %u",
                          p->width, p->height, p->frames, p->fps);
}

/* `net`: the transformer that the request runs, or NULL. Its mesh may be gone: it is not looked at. */
static mgen_status check_mesh(mgen_context *ctx, const mgen_pipeline *p, const mgi_vt *net,
                              const char *what)
{
    MGI_TRY(mgi_mesh_in(ctx, p->mesh));
    return !net || net->mesh == mgi_mesh_split(p->mesh)
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_INVALID,
                          "the pipeline's mesh is another than its %s was opened with", what);
}

mgen_status mgi_pipeline_networks(mgen_context *ctx, const mgen_pipeline *p, mgi_networks *out)
{
    MGI_TRY(check_mesh(ctx, p, p->video ? &p->video->net : NULL, "video model"));
    const char *what = missing(p);
    if (what)
        return mgi_fail(ctx, MGEN_E_STATE, "the pipeline lacks its %s", what);
    MGI_TRY(check_size(ctx, p));
    *out = networks_of(p);
    return check_networks(ctx, out);
}

/* What guides a model beside the video model: of its own roles, the pipeline's encoders, those that this rank runs. */
static mgen_status own_texts(mgen_context *ctx, const mgen_pipeline *p, mgi_networks *n)
{
    for (int i = 0; i < MGI_ROLES; i++) {
        bool reads = n->video->config.text[i] > 0;
        if (reads && !p->text[i] && mgi_runs_text(mgi_mesh_split(p->mesh), i))
            return mgi_fail(ctx, MGEN_E_STATE, "the pipeline lacks its text encoder of role %s",
                            mgi_role_title[i]);
        n->text[i] = reads && p->text[i] ? &p->text[i]->net : NULL;
    }
    return MGEN_OK;
}

/* Frames per second of a clip, of which prompts tell a whole number. */
static int64_t rate_of(const mgen_clip_info *clip)
{
    int64_t fps = (clip->fps_num + clip->fps_den / 2) / clip->fps_den;
    return fps > 0 ? fps : 1;
}

mgen_status mgi_pipeline_upsampler(mgen_context *ctx, const mgen_pipeline *p,
                                   const mgen_clip_info *clip, mgi_networks *out)
{
    MGI_TRY(check_mesh(ctx, p, p->upsampler ? &p->upsampler->net.video : NULL, "upsampler"));
    if (!p->upsampler)
        return lacks_other(ctx, p, MGI_UPSAMPLER);
    const mgi_upsampler *u = &p->upsampler->net;
    const mgi_vt_config *v = &u->config.video;
    const int64_t f = mgi_tae_factor(&u->tae.config);
    mgi_networks n = {.tae = &u->tae, .video = &u->video, .upsampler = &u->config};
    n.clip = (mgi_clip_shape){v->columns_max * v->patch_w * f, v->rows_max * v->patch_h * f,
                              u->config.frames, rate_of(clip)};
    MGI_TRY(own_texts(ctx, p, &n));
    *out = n;
    return check_networks(ctx, out);
}

mgen_status mgi_pipeline_editor(mgen_context *ctx, const mgen_pipeline *p,
                                const mgen_clip_info *clip, mgi_networks *out)
{
    MGI_TRY(check_mesh(ctx, p, p->editor ? &p->editor->net.video : NULL, "editor"));
    if (!p->editor)
        return lacks_other(ctx, p, MGI_EDITOR);
    if (!p->tae)
        return mgi_fail(ctx, MGEN_E_STATE, "the pipeline lacks its TAE");
    MGI_TRY(check_size(ctx, p));
    const mgi_editor *e = &p->editor->net;
    mgi_networks n = {.tae = &p->tae->net,
                      .video = &e->video,
                      .clip = {p->width, p->height, p->frames, rate_of(clip)},
                      .editor = &e->config};
    MGI_TRY(own_texts(ctx, p, &n));
    *out = n;
    return check_networks(ctx, out);
}

mgen_status mgi_pipeline_personalizer(mgen_context *ctx, const mgen_pipeline *p, mgi_networks *out)
{
    MGI_TRY(
        check_mesh(ctx, p, p->personalizer ? &p->personalizer->net.video : NULL, "personalizer"));
    if (!p->personalizer)
        return lacks_other(ctx, p, MGI_PERSONALIZER);
    if (!p->tae)
        return mgi_fail(ctx, MGEN_E_STATE, "the pipeline lacks its TAE");
    MGI_TRY(check_size(ctx, p));
    const mgi_personalizer *own = &p->personalizer->net;
    mgi_networks n = {.tae = &p->tae->net,
                      .video = &own->video,
                      .clip = {p->width, p->height, p->frames, p->fps},
                      .personalizer = &own->config,
                      .vision = &own->vision};
    MGI_TRY(own_texts(ctx, p, &n));
    *out = n;
    return check_networks(ctx, out);
}

mgen_status mgi_pipeline_begins(mgen_context *ctx, const mgen_pipeline *p,
                                const mgen_clip_info *clip, mgi_networks *out)
{
    MGI_TRY(mgi_pipeline_networks(ctx, p, out));
    out->clip.fps = rate_of(clip);
    return MGEN_OK;
}

mgen_status mgi_pipeline_audio(mgen_context *ctx, const mgen_pipeline *p)
{
    MGI_TRY(mgi_mesh_in(ctx, p->mesh));
    if (!p->audio)
        return lacks_other(ctx, p, MGI_AUDIO_MODEL);
    if (p->audio->net.transformer.mesh != mgi_mesh_split(p->mesh))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the pipeline's mesh is another than its audio model was opened with");
    return MGEN_OK;
}

mgen_status mgi_pipeline_rewriter(mgen_context *ctx, const mgen_pipeline *p)
{
    return p->rewriter
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_STATE,
                          "the pipeline lacks its rewriter: the pipeline.json of its folder "
                          "names none; take a model that has one, or train one "
                          "(docs/rewriting.md)");
}

static bool holds_nothing(const mgen_pipeline *p)
{
    return !p->tae && !p->video && !p->upsampler && !p->editor && !p->audio && !p->personalizer &&
           !p->rewriter && !p->text[0] && !p->text[1] && !p->text[2];
}

static mgen_status open_others(mgen_context *ctx, const char *dir, const mgi_pipeline_file *file,
                               uint32_t precision, mgi_undivided left_out[MGI_OTHERS],
                               mgen_pipeline *p)
{
    if (file->upsampler[0] && upsampler_of(p))
        MGI_TRY(mgi_upsampler_handle_open(ctx, dir, file->upsampler,
                                          &file->adapters[MGI_ADAPTED_UPSAMPLER], precision,
                                          p->mesh, &left_out[MGI_UPSAMPLER], &p->upsampler));
    if (file->editor[0] && editor_of(p))
        MGI_TRY(mgi_editor_handle_open(ctx, dir, file->editor, &file->adapters[MGI_ADAPTED_EDITOR],
                                       precision, p->mesh, &left_out[MGI_EDITOR], &p->editor));
    if (file->audio[0] && audio_of(p))
        MGI_TRY(mgi_audio_model_handle_open(ctx, dir, file->audio,
                                            &file->adapters[MGI_ADAPTED_AUDIO], precision, p->mesh,
                                            &left_out[MGI_AUDIO_MODEL], &p->audio));
    if (file->personalizer[0] && personalizer_of(p))
        MGI_TRY(mgi_personalizer_handle_open(
            ctx, dir, file->personalizer, &file->adapters[MGI_ADAPTED_PERSONALIZER], precision,
            p->mesh, &left_out[MGI_PERSONALIZER], &p->personalizer));
    return MGEN_OK;
}

static mgen_status open_parts(mgen_context *ctx, const char *dir, const mgi_pipeline_file *file,
                              mgi_undivided left_out[MGI_OTHERS], mgen_pipeline *p)
{
    mgi_networks networks;
    uint32_t precision = p->precision;
    p->width = (uint32_t)file->clip.width;
    p->height = (uint32_t)file->clip.height;
    p->frames = (uint32_t)file->clip.frames;
    p->fps = (uint32_t)file->clip.fps;
    if (file->video[0]) { /* first: its file may say how all are held */
        MGI_TRY(mgi_video_model_handle_open(ctx, dir, file->video,
                                            &file->adapters[MGI_ADAPTED_VIDEO], precision, p->mesh,
                                            &p->video));
        precision = mgi_video_model_precision(p->video);
    }
    if (file->tae[0])
        MGI_TRY(mgi_tae_handle_open(ctx, dir, file->tae, precision, &p->tae));
    for (int i = 0; i < 3; i++)
        if (file->text[i][0] && mgi_runs_text(mgi_mesh_split(p->mesh), i))
            MGI_TRY(mgi_text_encoder_handle_open(ctx, dir, file->text[i], precision, &p->text[i]));
    MGI_TRY(open_others(ctx, dir, file, precision, left_out, p));
    if (file->rewriter[0] && rewriter_of(p)) /* whole on every rank, which rewrites by itself */
        MGI_TRY(mgi_rewriter_handle_open(ctx, dir, file->rewriter, precision, &p->rewriter));
    if (missing(p))
        return MGEN_OK;
    networks = networks_of(p);
    mgen_status status = mgi_networks_check(ctx, &networks);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s", dir);
}

/* All of one save; AGAIN if another is published meanwhile. */
static mgen_status open_once(mgen_context *ctx, const char *dir, mgen_pipeline *p)
{
    mgi_pipeline_file file, again;
    mgi_undivided left_out[MGI_OTHERS] = {{0}};
    const char *const others[] = {file.upsampler, file.editor, file.audio, file.personalizer};
    MGI_TRY(mgi_pipeline_file_read(ctx, dir, "pipeline", &file));
    uint64_t stamp = mgi_pipeline_stamp(dir, "pipeline", &file);
    mgen_status status = mgi_pipeline_file_read(ctx, dir, "pipeline", &again);
    bool same = status == MGEN_OK && !memcmp(&file, &again, sizeof file);
    if (same)
        status = open_parts(ctx, dir, &file, left_out, p);
    if (!mgi_may_be_replaced(status) ||
        (same && stamp == mgi_pipeline_stamp(dir, "pipeline", &file)))
        return status == MGEN_OK ? leave_out(ctx, dir, others, left_out, p) : status;
    return mgi_fail(ctx, MGEN_E_AGAIN, "%s: the models were replaced while they were opened", dir);
}

/* Text encoders are known on all ranks, and the rest is the same. */
static mgen_status share_hashes(mgen_context *ctx, const mgen_pipeline *p)
{
    const mgi_mesh *mesh = mgi_mesh_split(p->mesh);
    mgen_pipeline all = *p;
    uint64_t hash[MGI_ROLES];
    char text[64];
    if (!mesh)
        return MGEN_OK;
    for (int i = 0; i < MGI_ROLES; i++) {
        hash[i] = p->text[i] ? p->text[i]->handle.hash : 0;
        MGI_TRY(
            mgi_ranks_share(ctx, mgi_ranks_of(mesh), MGK_U64, &hash[i], 1, mgi_text_rank(mesh, i)));
    }
    if (p->video)
        memcpy(p->video->text_hash, hash, sizeof hash);
    else /* nobody holds those of the others */
        memset(all.text, 0, sizeof all.text);
    snprintf(text, sizeof text, "%016" PRIx64 ", precision %u", mgen_pipeline_hash(&all),
             p->video ? mgi_video_model_precision(p->video) : p->precision);
    return mgi_comm_agree(p->mesh->world, "weights (their hash)", text);
}

mgen_status mgen_pipeline_open(mgen_context *ctx, const char *dir, mgen_pipeline *pipe)
{
    mgen_pipeline in, p = MGEN_PIPELINE_INIT;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_check_text(ctx, dir, "the model folder", MGI_PATH_MAX));
    MGI_TRY(mgi_struct_in(ctx, &in, sizeof in, PIPELINE_LEAST, pipe, "pipeline"));
    if (!holds_nothing(&in))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "the pipeline holds models already; close it, or begin with "
                        "MGEN_PIPELINE_INIT");
    MGI_TRY(mgi_mesh_in(ctx, in.mesh));
    MGI_TRY(check_precision(ctx, &in));
    p.struct_size = in.struct_size;
    p.mesh = in.mesh;
    p.precision = in.precision;
    mgen_status status = MGEN_E_AGAIN;
    mgi_message before;
    mgi_quiet_begin(ctx, &before); /* earlier tries are nobody's business */
    for (int i = 0; i < MGI_READ_TRIES && status == MGEN_E_AGAIN; i++) {
        mgen_pipeline_close(&p);
        status = open_once(ctx, dir, &p);
    }
    if (status == MGEN_E_AGAIN)
        status = mgi_fail_context(ctx, MGEN_E_IO, "others keep saving to it");
    mgi_quiet_end(ctx, &before, status == MGEN_OK);
    status = mgi_mesh_together(p.mesh, status);
    if (status == MGEN_OK)
        status = share_hashes(ctx, &p);
    if (status == MGEN_OK)
        status = mgi_struct_out(pipe, &p, sizeof p, PIPELINE_LEAST);
    if (status != MGEN_OK)
        mgen_pipeline_close(&p);
    return status;
}

void mgen_pipeline_close(mgen_pipeline *pipe)
{
    if (!pipe)
        return;
    mgen_tae_release(pipe->tae);
    mgen_video_model_release(pipe->video);
    mgen_upsampler **upsampler = upsampler_of(pipe);
    mgen_upsampler_release(upsampler ? *upsampler : NULL);
    if (upsampler)
        *upsampler = NULL;
    mgen_editor **editor = editor_of(pipe);
    mgen_editor_release(editor ? *editor : NULL);
    if (editor)
        *editor = NULL;
    mgen_audio_model **audio = audio_of(pipe);
    mgen_audio_model_release(audio ? *audio : NULL);
    if (audio)
        *audio = NULL;
    mgen_personalizer **personalizer = personalizer_of(pipe);
    mgen_personalizer_release(personalizer ? *personalizer : NULL);
    if (personalizer)
        *personalizer = NULL;
    mgen_rewriter **rewriter = rewriter_of(pipe);
    mgen_rewriter_release(rewriter ? *rewriter : NULL);
    if (rewriter)
        *rewriter = NULL;
    for (int i = 0; i < 3; i++)
        mgen_text_encoder_release(pipe->text[i]);
    pipe->tae = NULL;
    pipe->video = NULL;
    memset(pipe->text, 0, sizeof pipe->text);
}

uint64_t mgen_pipeline_hash(const mgen_pipeline *pipe)
{
    const uint64_t mix = 0x9E3779B97F4A7C15u;
    if (!pipe)
        return 0;
    uint64_t h = pipe->tae ? pipe->tae->handle.hash : 0;
    for (int i = 0; i < 3; i++)
        h = h * mix + (pipe->text[i] ? pipe->text[i]->handle.hash
                       : pipe->video ? pipe->video->text_hash[i]
                                     : 0);
    h = h * mix + (pipe->video ? pipe->video->handle.hash : 0);
    const mgen_upsampler *upsampler = pipe->struct_size > PIPELINE_LEAST ? pipe->upsampler : NULL;
    const mgen_editor *editor =
        pipe->struct_size > offsetof(mgen_pipeline, editor) ? pipe->editor : NULL;
    h = upsampler ? h * mix + upsampler->handle.hash : h;
    const mgen_audio_model *audio =
        pipe->struct_size > offsetof(mgen_pipeline, audio) ? pipe->audio : NULL;
    h = editor ? h * mix + editor->handle.hash : h;
    const mgen_personalizer *personalizer =
        pipe->struct_size > offsetof(mgen_pipeline, personalizer) ? pipe->personalizer : NULL;
    h = audio ? h * mix + audio->handle.hash : h;
    const mgen_rewriter *rewriter =
        pipe->struct_size > offsetof(mgen_pipeline, rewriter) ? pipe->rewriter : NULL;
    h = personalizer ? h * mix + personalizer->handle.hash : h;
    return rewriter ? h * mix + rewriter->handle.hash : h;
}

mgen_status mgen_pipeline_average(mgen_context *ctx, const char *const *dirs, const double *weights,
                                  uint32_t count, const char *out)
{
    double shares[MGI_AVERAGE_MAX];
    mgi_message before;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    if (!dirs || count < 1 || count > MGI_AVERAGE_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "%u model folders; 1 to %d are averaged",
                        dirs ? count : 0, MGI_AVERAGE_MAX);
    MGI_TRY(mgi_check_text(ctx, out, "the folder to write", MGI_PATH_MAX - MGI_NAME_MAX - 1));
    for (uint32_t i = 0; i < count; i++) {
        MGI_TRY(mgi_check_text(ctx, dirs[i], "a model folder", MGI_PATH_MAX));
        shares[i] = weights ? weights[i] : 1.0;
        if (!(shares[i] >= 1e-6 && shares[i] <= 1e6))
            return mgi_fail(ctx, MGEN_E_INVALID, "weight %u is %g; it must be 1e-6 to 1e6", i,
                            shares[i]);
    }
    mgi_quiet_begin(ctx, &before);
    return mgi_quiet_told(ctx, &before, mgi_average_folders(ctx, dirs, shares, count, out));
}

mgen_status mgen_pipeline_convert(mgen_context *ctx, const char *dir, uint32_t precision)
{
    mgi_message before;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    if (precision != MGEN_PRECISION_FP8 && precision != MGEN_PRECISION_BF16)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "precision is %u; models are stored in MGEN_PRECISION_BF16 (%d) or "
                        "MGEN_PRECISION_FP8 (%d)",
                        precision, MGEN_PRECISION_BF16, MGEN_PRECISION_FP8);
    MGI_TRY(mgi_check_text(ctx, dir, "a model folder", MGI_PATH_MAX - MGI_NAME_MAX - 1));
    mgi_quiet_begin(ctx, &before);
    return mgi_quiet_told(
        ctx, &before,
        mgi_convert_folder(ctx, dir, precision == MGEN_PRECISION_FP8 ? MGI_ST_F8 : MGI_ST_BF16));
}
