/* SPDX-License-Identifier: MIT */
#include "api/args.h"

#include "core/alloc.h"

#include <string.h>

/* -- handles ---------------------------------------------------------------------------------- */

static void tae_release(mgen_tae *h)
{
    if (!h || --h->refs > 0)
        return;
    mgi_tae_finish(&h->net);
    mgi_free(h->ctx, h);
}

static void text_release(mgen_text_encoder *h)
{
    if (!h || --h->refs > 0)
        return;
    mgi_t5_finish(&h->net);
    mgi_free(h->ctx, h);
}

static void video_release(mgen_video_model *h)
{
    if (!h || --h->refs > 0)
        return;
    mgi_vt_finish(&h->net);
    mgi_free(h->ctx, h);
}

static mgen_status tae_load(mgen_context *ctx, const char *dir, const mgi_pipeline_file *file,
                            mgen_tae **out)
{
    mgen_tae *h;
    if (!file->tae[0])
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *h, &h));
    h->ctx = ctx;
    h->refs = 1;
    h->clip = file->clip;
    mgen_status status = mgi_tae_open(ctx, dir, file->tae, &h->net, &h->hash);
    if (status != MGEN_OK)
        mgi_free(ctx, h);
    else
        *out = h;
    return status;
}

static mgen_status text_load(mgen_context *ctx, const char *dir, const char *name,
                             mgen_text_encoder **out)
{
    mgen_text_encoder *h;
    if (!name[0])
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *h, &h));
    h->ctx = ctx;
    h->refs = 1;
    mgen_status status = mgi_t5_open(ctx, dir, name, &h->net, &h->hash);
    if (status != MGEN_OK)
        mgi_free(ctx, h);
    else
        *out = h;
    return status;
}

static mgen_status video_load(mgen_context *ctx, const char *dir, const mgi_pipeline_file *file,
                              mgen_video_model **out)
{
    mgen_video_model *h;
    if (!file->video[0])
        return MGEN_OK;
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *h, &h));
    h->ctx = ctx;
    h->refs = 1;
    h->clip = file->clip;
    mgen_status status = mgi_vt_open(ctx, dir, file->video, &h->net, &h->hash);
    if (status != MGEN_OK)
        mgi_free(ctx, h);
    else
        *out = h;
    return status;
}

/* -- the struct ------------------------------------------------------------------------------- */

mgen_status mgi_pipeline_in(mgen_context *ctx, const mgen_pipeline *theirs, mgen_pipeline *ours)
{
    mgen_pipeline p; /* ours holds nothing until all is well: its owner releases what it holds */
    MGI_TRY(mgi_struct_in(ctx, &p, sizeof p, sizeof p, theirs, "pipeline"));
    if (p.reserved0)
        return mgi_fail(ctx, MGEN_E_INVALID, "pipeline: reserved0 must be 0");
    bool foreign = (p.tae && p.tae->ctx != ctx) || (p.video && p.video->ctx != ctx);
    for (int i = 0; i < 3; i++)
        foreign = foreign || (p.text[i] && p.text[i]->ctx != ctx);
    if (foreign)
        return mgi_fail(ctx, MGEN_E_INVALID, "pipeline: a handle belongs to another context");
    if (p.tae)
        p.tae->refs++;
    if (p.video)
        p.video->refs++;
    for (int i = 0; i < 3; i++)
        if (p.text[i])
            p.text[i]->refs++;
    *ours = p;
    return MGEN_OK;
}

mgen_status mgi_pipeline_networks(mgen_context *ctx, const mgen_pipeline *p, mgi_networks *out)
{
    if (!p->tae || !p->text[0] || !p->video)
        return mgi_fail(ctx, MGEN_E_STATE, "the pipeline lacks its %s",
                        !p->tae       ? "TAE"
                        : !p->text[0] ? "text encoder (role UL2)"
                                      : "video model");
    *out = (mgi_networks){&p->tae->net, &p->text[0]->net, &p->video->net, p->video->clip};
    return mgi_networks_check(ctx, out);
}

mgen_status mgen_pipeline_open(mgen_context *ctx, const char *dir, mgen_pipeline *pipe)
{
    mgi_pipeline_file file;
    mgen_pipeline p = MGEN_PIPELINE_INIT;
    mgi_networks networks;
    mgen_status status;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_check_text(ctx, dir, "the model folder", MGI_PATH_MAX));
    if (!pipe || pipe->struct_size != sizeof *pipe || pipe->tae || pipe->video)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "the pipeline must be initialised with MGEN_PIPELINE_INIT and hold nothing");
    MGI_TRY(mgi_pipeline_file_read(ctx, dir, &file));
    MGI_TRY_GOTO(status, tae_load(ctx, dir, &file, &p.tae), failed);
    for (int i = 0; i < 3; i++)
        MGI_TRY_GOTO(status, text_load(ctx, dir, file.text[i], &p.text[i]), failed);
    MGI_TRY_GOTO(status, video_load(ctx, dir, &file, &p.video), failed);
    if (p.tae && p.text[0] && p.video) {
        status = mgi_pipeline_networks(ctx, &p, &networks);
        if (status != MGEN_OK) {
            status = mgi_fail_context(ctx, status, "%s", dir);
            goto failed;
        }
    }
    *pipe = p;
    return MGEN_OK;
failed:
    mgen_pipeline_close(&p);
    return status;
}

void mgen_pipeline_close(mgen_pipeline *pipe)
{
    if (!pipe)
        return;
    tae_release(pipe->tae);
    video_release(pipe->video);
    for (int i = 0; i < 3; i++)
        text_release(pipe->text[i]);
    pipe->tae = NULL;
    pipe->video = NULL;
    memset(pipe->text, 0, sizeof pipe->text);
}

uint64_t mgen_pipeline_hash(const mgen_pipeline *pipe)
{
    uint64_t h = 0;
    if (!pipe)
        return 0;
    h = pipe->tae ? pipe->tae->hash : 0;
    for (int i = 0; i < 3; i++)
        h = h * 0x9E3779B97F4A7C15u + (pipe->text[i] ? pipe->text[i]->hash : 0);
    return h * 0x9E3779B97F4A7C15u + (pipe->video ? pipe->video->hash : 0);
}
