/* SPDX-License-Identifier: MIT */
#include "task/generate.h"

#include "core/alloc.h"
#include "core/philox.h"
#include "flow/schedule.h"
#include "kernels/random/random.h"
#include "text/byte_tokenizer.h"

#include <math.h>
#include <string.h>

/* Steps emulated by each step of the linear-quadratic schedule: 50 steps follow 250. */
enum { EMULATE = 5 };

void mgi_text_batch(mgi_run *run, const mgi_t5 *t5, const char *const *prompts, int64_t count,
                    T **ids, T **mask)
{
    int64_t tokens = 1;
    for (int64_t i = 0; i < count; i++) {
        int64_t length = mgi_byte_length(strlen(prompts[i]));
        tokens = length > tokens ? length : tokens;
    }
    tokens = tokens < t5->config.tokens_max ? tokens : t5->config.tokens_max;
    *ids = mgi_new(run, MGK_I32, MGI_DIMS(count, tokens));
    *mask = mgi_new(run, MGK_U8, MGI_DIMS(count, tokens));
    if (run->status != MGEN_OK)
        return;
    for (int64_t i = 0; i < count; i++)
        mgi_byte_encode(prompts[i], strlen(prompts[i]), tokens,
                        (int32_t *)mgi_data(*ids) + i * tokens,
                        (uint8_t *)mgi_data(*mask) + i * tokens);
}

T *mgi_latents_to_pixels(mgi_run *run, const mgi_tae *tae, T *z, int64_t frames)
{
    int64_t mark = mgi_scope_push(run), c = tae->config.latent_channels;
    /* back from zero mean and unit deviation: z / scale + shift */
    T *inverse = mgi_new(run, MGK_F32, 1, &c);
    for (int64_t i = 0; inverse && i < c; i++)
        mgi_f32(inverse)[i] = 1.0f / mgi_f32(tae->latent_scale->value)[i];
    z = mgi_channel_affine(run, z, inverse, tae->latent_shift->value);
    T *x = mgi_tae_decode(run, tae, z);
    if (x && x->dims[1] > frames)
        x = mgi_slice(run, x, 1, 0, frames);
    return mgi_scope_pop(run, mark, x);
}

/* Noise of each clip from its own seed: the same whatever is made beside it. */
static T *initial_noise(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r)
{
    int64_t f = mgi_tae_factor(&n->tae->config), c = n->video->config.channels;
    int64_t t = mgi_tae_latent_frames(&n->tae->config, n->clip.frames);
    T *x = mgi_new(run, MGK_F32, MGI_DIMS(r->count, t, n->clip.height / f, n->clip.width / f, c));
    for (int64_t i = 0; x && i < r->count; i++) {
        int64_t mark = mgi_scope_push(run), each = x->count / r->count;
        T *one = mgi_random(run, MGK_RANDOM_NORMAL, r->seeds[i], MGI_STREAM_NOISE, 0, 1.0f, 0.0f, 1,
                            &each);
        if (one)
            memcpy(mgi_f32(x) + i * each, mgi_f32(one), (size_t)each * sizeof(float));
        mgi_scope_pop(run, mark, NULL);
    }
    return x;
}

/* Velocity with classifier-free guidance: both halves in one batch, the prompts first. */
static T *guided(mgi_run *run, const mgi_networks *n, T *x, T *twice, T *t, T *text, T *mask,
                 T *guidance)
{
    if (!guidance)
        return mgi_vt_forward(run, n->video, x, t, text, mask);
    size_t bytes = (size_t)x->count * sizeof(float);
    memcpy(mgi_f32(twice), mgi_f32(x), bytes);
    memcpy(mgi_f32(twice) + x->count, mgi_f32(x), bytes);
    T *u = mgi_vt_forward(run, n->video, twice, t, text, mask);
    int64_t half = x->dims[0];
    return mgi_cfg_combine(run, mgi_slice(run, u, 0, 0, half), mgi_slice(run, u, 0, half, half),
                           guidance);
}

static mgen_status all_finite(mgen_context *ctx, const T *x)
{
    for (int64_t i = 0; i < x->count; i++)
        if (!isfinite(mgi_f32(x)[i]))
            return mgi_fail(
                ctx, MGEN_E_NUMERIC,
                "the latents became infinite or not-a-number; the weights may be damaged");
    return MGEN_OK;
}

static mgen_status sample(mgi_run *run, const mgi_networks *n, const mgi_generate_request *r,
                          const float *times, T *x)
{
    bool guide = r->guidance != 1.0f;
    int64_t rows = guide ? 2 * r->count : r->count;
    const char **prompts;
    T *ids, *mask, *twice = NULL, *guidance = NULL;
    MGI_TRY(mgi_alloc_zero(run->ctx, (size_t)rows, sizeof *prompts, &prompts));
    for (int64_t i = 0; i < rows; i++)
        prompts[i] = i < r->count ? r->prompts[i] : "";
    mgi_text_batch(run, n->text, prompts, rows, &ids, &mask);
    mgi_free(run->ctx, (void *)prompts);
    T *text = mgi_t5_encode(run, n->text, ids, mask);
    T *t = mgi_new(run, MGK_F32, 1, &rows), *dt = mgi_new(run, MGK_F32, MGI_DIMS(1));
    if (guide && x) {
        twice =
            mgi_new(run, MGK_F32, MGI_DIMS(rows, x->dims[1], x->dims[2], x->dims[3], x->dims[4]));
        guidance = mgi_new(run, MGK_F32, MGI_DIMS(1));
        mgi_fill(run, guidance, r->guidance);
    }
    for (int step = 0; step < r->steps && run->status == MGEN_OK; step++) {
        int64_t mark = mgi_scope_push(run);
        for (int64_t i = 0; i < rows; i++)
            mgi_f32(t)[i] = times[step];
        mgi_f32(dt)[0] = times[step + 1] - times[step];
        mgi_euler_step(run, x, guided(run, n, x, twice, t, text, mask, guidance), dt);
        mgi_scope_pop(run, mark, NULL);
        if (r->progress && run->status == MGEN_OK && r->progress(r->user, step + 1, r->steps))
            return mgi_fail(run->ctx, MGEN_E_CANCELLED, "cancelled after step %d of %d", step + 1,
                            r->steps);
    }
    return run->status == MGEN_OK ? all_finite(run->ctx, x) : run->status;
}

/* One clip at a time: the decoder's full-size activations are the peak of memory. */
static mgen_status decode(mgi_run *run, const mgi_networks *n, T *x, uint8_t *frames)
{
    for (int64_t i = 0; i < x->dims[0]; i++) {
        T *one;
        int64_t mark = mgi_scope_push(run);
        MGI_TRY(mgi_tensor_rows(x, i, 1, &one));
        T *y = mgi_latents_to_pixels(run, n->tae, mgi_scope_add(run, one), n->clip.frames);
        y = mgi_convert(run, y, MGK_U8, 127.5f, 127.5f);
        if (y)
            memcpy(frames + i * y->count, mgi_data(y), (size_t)y->count);
        mgi_scope_pop(run, mark, NULL);
        MGI_TRY(run->status);
    }
    return MGEN_OK;
}

mgen_status mgi_generate(mgen_context *ctx, const mgi_networks *n, const mgi_generate_request *r,
                         uint8_t *frames)
{
    mgi_run run;
    float *times;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)r->steps + 1, sizeof *times, &times));
    mgi_schedule_linear_quadratic(r->steps, EMULATE * r->steps, times);
    mgi_run_init(&run, ctx, false);
    T *x = initial_noise(&run, n, r);
    mgen_status status = run.status;
    if (status == MGEN_OK)
        status = sample(&run, n, r, times, x);
    if (status == MGEN_OK)
        status = decode(&run, n, x, frames);
    mgi_run_finish(&run);
    mgi_free(ctx, times);
    return status;
}
