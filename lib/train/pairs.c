/* SPDX-License-Identifier: MIT */
#include "train/pairs.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"
#include "core/philox.h"
#include "data/resize.h"
#include "media/pixels.h"
#include "task/codec.h"

#include <string.h>

mgen_status mgi_pairs_check(mgen_context *ctx, const mgi_pairs *p, int64_t width, int64_t height)
{
    int64_t f = p->factor * (p->artifacts ? mgi_tae_factor(&p->artifacts->config) : 1);
    if (width % f == 0 && height % f == 0)
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "clips of %lld x %lld at 1/%lld of their size are no clips of %s; take sides "
                    "that are multiples of %lld",
                    (long long)width, (long long)height, (long long)p->factor,
                    p->artifacts ? "the autoencoder of the \"artifacts\"" : "whole pixels",
                    (long long)f);
}

/* Frames of w x h, one after the other, to another size. */
static mgen_status resize(mgen_context *ctx, const uint8_t *from, int64_t frames, int64_t w,
                          int64_t h, int64_t to_w, int64_t to_h, uint8_t *to)
{
    mgi_resize r;
    MGI_TRY(mgi_resize_init(&r, ctx, w, h, to_w, to_h));
    for (int64_t i = 0; i < frames; i++)
        mgi_resize_frame(&r, from + i * w * h * 3, to + i * to_w * to_h * 3);
    mgi_resize_finish(&r);
    return MGEN_OK;
}

/* ---- through an autoencoder ------------------------------------------------------------------------ */

typedef struct film {
    uint8_t *data;
    int64_t height, width;
} film;

static mgen_status read_film(void *user, int64_t first, int64_t count, float *rgb)
{
    const film *f = user;
    int64_t frame = f->height * f->width * 3;
    mgi_floats_from_bytes(rgb, f->data + first * frame, count * frame);
    return MGEN_OK;
}

static mgen_status write_film(void *user, const mgi_frames_box *box, const float *rgb)
{
    const film *f = user;
    int64_t row = box->width * 3;
    for (int64_t i = 0; i < box->count * box->height; i++) {
        int64_t y = (box->first + i / box->height) * f->height + box->top + i % box->height;
        mgi_bytes_from_floats(f->data + (y * f->width + box->left) * 3, rgb + i * row, row);
    }
    return MGEN_OK;
}

/* A whole film, encoded and decoded, in its place. */
static mgen_status recode(mgen_context *ctx, const mgi_tae *tae, film *f, int64_t frames)
{
    const int64_t size[3] = {frames, f->height, f->width};
    int64_t dims[4], count;
    float *latents;
    MGI_TRY(mgi_latent_dims(ctx, tae, size, dims));
    if (!mgi_dims_count(dims, 4, &count))
        return mgi_fail(ctx, MGEN_E_INVALID, "films of %lld frames are too long",
                        (long long)frames);
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)count, sizeof *latents, &latents));
    mgen_status status = mgi_encode_film(ctx, tae, size, 0, read_film, f, latents);
    if (status == MGEN_OK)
        status = mgi_decode_film(ctx, tae, latents, dims, frames, 0, write_film, f);
    mgi_free(ctx, latents);
    return status;
}

/* ---- all of it -------------------------------------------------------------------------------------- */

mgen_status mgi_pairs_make(mgen_context *ctx, const mgi_pairs *p, uint64_t seed, uint64_t element,
                           const uint8_t *clip, int64_t frames, int64_t width, int64_t height,
                           uint8_t *out)
{
    film low = {NULL, height / p->factor, width / p->factor};
    int64_t bytes;
    if (!mgi_dims_count((const int64_t[]){frames, low.height, low.width, 3}, 4, &bytes))
        return mgi_fail(ctx, MGEN_E_INVALID, "clips of %lld frames are too large",
                        (long long)frames);
    bool recoded =
        p->artifacts && mgi_random_unit(seed, MGI_STREAM_ARTIFACTS, element) < (float)p->share;
    MGI_TRY(mgi_alloc(ctx, (size_t)bytes, &low.data));
    mgen_status status =
        recoded ? resize(ctx, clip, frames, width, height, low.width, low.height, low.data)
                : mgi_degrade_clip(ctx, &p->degrade, seed, element, clip, frames, width, height,
                                   low.width, low.height, low.data);
    if (status == MGEN_OK && recoded)
        status = recode(ctx, p->artifacts, &low, frames);
    if (status == MGEN_OK)
        status = resize(ctx, low.data, frames, low.width, low.height, width, height, out);
    mgi_free(ctx, low.data);
    return status;
}

uint64_t mgi_pairs_hash(const mgi_pairs *p, uint64_t seed)
{
    uint64_t numbers[4] = {(uint64_t)p->factor, p->artifacts != NULL};
    if (p->artifacts) {
        numbers[2] = p->artifacts_hash;
        memcpy(&numbers[3], &p->share, sizeof p->share);
    }
    seed = mgi_hash64(&p->degrade, sizeof p->degrade, seed); /* floats without gaps */
    return mgi_hash64(numbers, sizeof numbers, seed);
}
