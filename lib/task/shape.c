/* SPDX-License-Identifier: MIT */
#include "task/shape.h"

#include "task/source.h"

enum { FRAMES_MOST = 1 << 30 };

/* Something must be left to attend to. */
static mgen_status check_streams(mgen_context *ctx, const mgi_vt_config *v, uint32_t drop)
{
    for (int i = 0; i < MGI_ROLES; i++)
        if (v->text[i] && !(drop >> i & 1))
            return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "all streams of text that the model has would be left out; one must stay");
}

/* An upsampler and an editor make one film of a given one, which any other model may begin with. */
static mgen_status check_source(mgen_context *ctx, const mgi_networks *n,
                                const mgi_generate_request *r)
{
    const bool sees = n->upsampler || n->editor;
    const bool begins = r->source && !sees && r->skip > 0.0f && r->skip < 1.0f;
    if (!n->video->config.condition == !sees && !n->video->config.tasks == !n->editor &&
        !r->source == !(sees || begins) && (begins || r->skip == 0.0f) &&
        (!n->editor || (r->task >= 0 && r->task < MGI_EDIT_TASKS)) &&
        (!r->source || (r->count == 1 && r->width > 0 && r->height > 0)))
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID,
                    sees || !n->video->config.condition
                        ? "an upsampler, an editor, or a video model that begins with a film makes "
                          "one film of a given one"
                        : "the model sees another film: it is that of an upsampler or an editor");
}

/* A personalizer sees a photo of each clip, or none. */
static mgen_status check_photos(mgen_context *ctx, const mgi_networks *n,
                                const mgi_generate_request *r)
{
    const bool sees = n->personalizer && n->vision;
    if (!n->video->config.reference == !sees && (!r->photos || (sees && !r->source)))
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID,
                    n->video->config.reference && !sees
                        ? "the model sees photos: it is that of a personalizer"
                        : "photos are seen by a personalizer, which begins with noise");
}

mgen_status mgi_request_shape_of(mgen_context *ctx, const mgi_networks *n,
                                 const mgi_generate_request *r, mgi_request_shape *s)
{
    const mgi_vt_config *v = &n->video->config;
    const mgi_tae_config *a = &n->tae->config;
    const mgi_clip_shape *own = &n->clip;
    int64_t f = mgi_tae_factor(a), column = f * v->patch_w, row = f * v->patch_h;
    int64_t width = r->width ? r->width : own->width, height = r->height ? r->height : own->height;
    s->frames = r->frames ? r->frames : own->frames;
    MGI_TRY(check_source(ctx, n, r));
    MGI_TRY(check_photos(ctx, n, r));
    if (r->source)
        mgi_source_sides(n, &width, &height);
    if (r->count < 1 || r->steps < 1 || s->frames < 1 || s->frames > FRAMES_MOST)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "%lld clips of %lld frames in %d steps: each must be 1 or more, frames at "
                        "most %d",
                        (long long)r->count, (long long)s->frames, r->steps, FRAMES_MOST);
    if (!a->temporal && !n->upsampler && own->frames == 1 && s->frames > 1)
        return mgi_fail(
            ctx, MGEN_E_UNSUPPORTED,
            "this model makes pictures, as its autoencoder codes each frame by itself: frames must "
            "be 1 or 0, not %lld",
            (long long)s->frames);
    if (r->source && (width / column > v->columns_max || height / row > v->rows_max))
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "this model makes films of up to %lld x %lld pixels, not %lld x %lld; "
                        "give a smaller width and height",
                        (long long)(column * v->columns_max), (long long)(row * v->rows_max),
                        (long long)r->width, (long long)r->height);
    if (width < 1 || height < 1 || width % column || height % row ||
        width / column > v->columns_max || height / row > v->rows_max)
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "this model makes clips whose width is a multiple of %lld up to %lld and "
                        "whose height is a multiple of %lld up to %lld, at its best %lld x %lld; "
                        "not %lld x %lld",
                        (long long)column, (long long)(column * v->columns_max), (long long)row,
                        (long long)(row * v->rows_max), (long long)own->width,
                        (long long)own->height, (long long)width, (long long)height);
    int64_t t = mgi_networks_latents(n, s->frames), overlap;
    int64_t window = mgi_networks_window(n, &overlap);
    t = (t + v->patch_t - 1) / v->patch_t * v->patch_t;
    const int64_t dims[5] = {r->count, t, height / f, width / f, v->channels};
    for (int i = 0; i < 5; i++)
        s->dims[i] = dims[i];
    s->windows = mgi_windows_make(t, window, overlap);
    int64_t tokens =
        s->windows.length / v->patch_t * (dims[2] / v->patch_h) * (dims[3] / v->patch_w);
    MGI_TRY(mgi_vt_check_tokens(ctx, n->video, tokens));
    return check_streams(ctx, v, r->drop_text);
}
