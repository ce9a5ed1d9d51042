/* SPDX-License-Identifier: MIT
 * The parts of a request, for hosts that build their own loops. */
#include "api/args.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "flow/schedule.h"
#include "kernels/random/random.h"
#include "core/philox.h"
#include "model/tae_stream.h"
#include "task/generate.h"

#include <math.h>
#include <string.h>

enum { STEPS_MAX = 1000 };

/* -- text ------------------------------------------------------------------------------------------ */

static mgen_status text_in(mgen_context *ctx, const mgen_text *theirs, mgen_text *ours)
{
    MGI_TRY(mgi_struct_in(ctx, ours, sizeof *ours, sizeof *ours, theirs, "text"));
    if (ours->reserved0 || !ours->data || (uintptr_t)ours->data % sizeof(float) || !ours->tokens ||
        ours->tokens > MGI_SIDE_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "text: tokens is 1..%d, data is floats and not NULL, reserved0 is 0",
                        MGI_SIDE_MAX);
    return MGEN_OK;
}

mgen_status mgen_text_encode(mgen_context *ctx, const mgen_text_encoder *encoder,
                             const char *prompt, mgen_text *text)
{
    mgen_text in;
    int64_t tokens;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    if (!encoder || !prompt)
        return mgi_fail(ctx, MGEN_E_INVALID, "the %s is NULL", encoder ? "prompt" : "encoder");
    MGI_TRY(mgi_check_prompt(ctx, prompt, "the prompt"));
    MGI_TRY(text_in(ctx, text, &in));
    const mgi_text_encoder *e = &encoder->net;
    MGI_TRY(mgi_text_tokens(ctx, e, prompt, &tokens));
    if (in.width != mgi_text_width(e) || in.tokens < tokens)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "text: there is room for %u tokens of %u values; the prompt has %lld of %lld",
            in.tokens, in.width, (long long)tokens, (long long)mgi_text_width(e));
    mgen_status status = mgi_text_encode(ctx, e, prompt, tokens, in.data);
    if (status == MGEN_OK)
        text->tokens = (uint32_t)tokens;
    return status;
}

/* -- frames and latents ------------------------------------------------------------------------------ */

static mgen_status read_frames(void *user, int64_t first, int64_t count, float *rgb)
{
    const mgi_pixels *p = user;
    for (int64_t i = 0; i < count; i++)
        mgi_pixels_get_floats(p, first + i, rgb + i * p->width * p->height * 3);
    return MGEN_OK;
}

static mgen_status write_frames(void *user, const mgi_frames_box *box, float *rgb)
{
    const mgi_pixels p = mgi_pixels_part(user, box->top, box->left, box->height, box->width);
    for (int64_t i = 0; i < box->count; i++)
        mgi_pixels_put_floats(&p, box->first + i, rgb + i * p.width * p.height * 3);
    return MGEN_OK;
}

/* Frames and latents of the caller, checked, and that they belong to each other; latents that are only read
 * may hold more frames. */
static mgen_status film_in(mgen_context *ctx, const mgen_tae *tae, const mgen_frames *frames,
                           const mgen_latents *latents, bool more, mgi_pixels *pixels,
                           mgen_latents *z)
{
    int64_t want[4];
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    if (!tae)
        return mgi_fail(ctx, MGEN_E_INVALID, "the TAE is NULL");
    MGI_TRY(mgi_frames_in(ctx, frames, pixels));
    MGI_TRY(mgi_latents_in(ctx, latents, "latents", z));
    const int64_t film[3] = {pixels->frames, pixels->height, pixels->width};
    MGI_TRY(mgi_latent_dims(ctx, &tae->net, film, want));
    if ((z->frames == want[0] || (more && z->frames > want[0])) && z->height == want[1] &&
        z->width == want[2] && z->channels == want[3])
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "the latents of %lld frames of %lld x %lld are %lld x %lld x %lld x %lld "
                    "(frames, height, width, channels), not %u x %u x %u x %u",
                    (long long)film[0], (long long)film[2], (long long)film[1], (long long)want[0],
                    (long long)want[1], (long long)want[2], (long long)want[3], z->frames,
                    z->height, z->width, z->channels);
}

mgen_status mgen_tae_encode(mgen_context *ctx, const mgen_tae *tae, const mgen_frames *frames,
                            const mgen_latents *latents)
{
    mgi_pixels p;
    mgen_latents z;
    int64_t tile;
    MGI_TRY(film_in(ctx, tae, frames, latents, false, &p, &z));
    const int64_t film[3] = {p.frames, p.height, p.width};
    MGI_TRY(mgi_tae_tile(ctx, &tae->net, film, MGI_TAE_ENCODES, &tile));
    const int64_t dims[4] = {z.frames, z.height, z.width, z.channels};
    int64_t count;
    float *all; /* a small part of the film: the caller's stay as they are unless all went well */
    if (!mgi_dims_count(dims, 4, &count))
        return mgi_fail(ctx, MGEN_E_INVALID, "the latents of this film are too many");
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof *all, &all));
    mgen_status status = mgi_encode_film(ctx, &tae->net, film, tile, read_frames, &p, all);
    if (status == MGEN_OK)
        memcpy(z.data, all, (size_t)count * sizeof *all);
    mgi_free(ctx, all);
    return status;
}

/* Frames go to the caller's memory as they are decoded, for nobody else has room for all of them: after a failure the first
 * ones are written. */
mgen_status mgen_tae_decode(mgen_context *ctx, const mgen_tae *tae, const mgen_latents *latents,
                            const mgen_frames *frames)
{
    mgi_pixels p;
    mgen_latents z;
    int64_t tile;
    MGI_TRY(film_in(ctx, tae, frames, latents, true, &p, &z));
    const int64_t film[3] = {p.frames, p.height, p.width};
    MGI_TRY(mgi_tae_tile(ctx, &tae->net, film, MGI_TAE_DECODES, &tile));
    return mgi_decode_film(ctx, &tae->net, z.data,
                           (const int64_t[]){z.frames, z.height, z.width, z.channels}, p.frames,
                           tile, write_frames, &p);
}

/* -- the flow ---------------------------------------------------------------------------------------- */

/* The text of each role, checked; a role that the model has may be left out, but not all of them. */
static mgen_status texts_in(mgen_context *ctx, const mgi_vt_config *c,
                            const mgen_text *const theirs[3], mgi_host_text ours[MGI_ROLES])
{
    int count = 0;
    for (int i = 0; i < MGI_ROLES; i++) {
        mgen_text text;
        ours[i] = (mgi_host_text){NULL, 0};
        if (!theirs[i])
            continue;
        if (!c->text[i])
            return mgi_fail(ctx, MGEN_E_INVALID,
                            "the model has no text of role %s: text[%d] is NULL", mgi_role_title[i],
                            i);
        MGI_TRY(text_in(ctx, theirs[i], &text));
        if (text.width != c->text[i])
            return mgi_fail(ctx, MGEN_E_INVALID, "text has %u values a token; the model takes %lld",
                            text.width, (long long)c->text[i]);
        ours[i] = (mgi_host_text){text.data, text.tokens};
        count++;
    }
    return count ? MGEN_OK
                 : mgi_fail(ctx, MGEN_E_INVALID, "the text of every role is NULL; one is needed");
}

mgen_status mgen_video_velocity(mgen_context *ctx, const mgen_video_model *model,
                                const mgen_latents *x, float time, const mgen_text *const text[3],
                                const mgen_latents *out)
{
    mgen_latents in, to;
    mgi_host_text said[MGI_ROLES];
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    if (!model || !text)
        return mgi_fail(ctx, MGEN_E_INVALID, "the %s is NULL", model ? "text" : "video model");
    MGI_TRY(mgi_latents_in(ctx, x, "x", &in));
    MGI_TRY(mgi_latents_in(ctx, out, "out", &to));
    const mgi_vt_config *c = &model->net.config;
    if (model->net.mesh)
        return mgi_fail(ctx, MGEN_E_INVALID, "a video model of several ranks makes requests only");
    if (in.frames != to.frames || in.height != to.height || in.width != to.width ||
        in.channels != to.channels)
        return mgi_fail(ctx, MGEN_E_INVALID, "out has another shape than x");
    if (in.channels != c->channels)
        return mgi_fail(ctx, MGEN_E_INVALID, "x has %u channels; the model takes %lld", in.channels,
                        (long long)c->channels);
    if (!(time >= 0.0f && time <= 1.0f))
        return mgi_fail(ctx, MGEN_E_INVALID, "time is %g; it must be 0..1", (double)time);
    MGI_TRY(texts_in(ctx, c, text, said));
    return mgi_velocity(ctx, &model->net, in.data,
                        (const int64_t[]){in.frames, in.height, in.width, in.channels}, time, said,
                        to.data);
}

mgen_status mgen_schedule(uint32_t schedule, uint32_t steps, float *times)
{
    if (!times || steps < 1 || steps > STEPS_MAX || schedule > MGEN_SCHEDULE_LINEAR_QUADRATIC_1000)
        return MGEN_E_INVALID;
    mgi_schedule((int)schedule, (int)steps, times);
    return MGEN_OK;
}

mgen_status mgen_noise(mgen_context *ctx, uint64_t seed, const mgen_latents *latents)
{
    mgen_latents z;
    mgi_run run;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_latents_in(ctx, latents, "latents", &z));
    int64_t count = (int64_t)z.frames * z.height * z.width * z.channels; /* checked: it can be */
    mgi_run_init(&run, ctx, false);
    T *x = mgi_random(&run, MGK_RANDOM_NORMAL, seed, MGI_STREAM_NOISE, 0, 1.0f, 0.0f, 1, &count);
    mgi_run_deliver(&run, x, z.data);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}
