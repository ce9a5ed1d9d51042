/* SPDX-License-Identifier: MIT */
#include "train/pairs.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"
#include "core/philox.h"
#include "data/resize.h"
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

mgen_status mgi_pairs_make(mgen_context *ctx, const mgi_pairs *p, uint64_t seed, uint64_t element,
                           const uint8_t *clip, int64_t frames, int64_t width, int64_t height,
                           uint8_t *out)
{
    const int64_t low[3] = {frames, height / p->factor, width / p->factor};
    uint8_t *small;
    int64_t bytes;
    if (!mgi_dims_count((const int64_t[]){frames, low[1], low[2], 3}, 4, &bytes))
        return mgi_fail(ctx, MGEN_E_INVALID, "clips of %lld frames are too large",
                        (long long)frames);
    bool recoded =
        p->artifacts && mgi_random_unit(seed, MGI_STREAM_ARTIFACTS, element) < (float)p->share;
    MGI_TRY(mgi_alloc(ctx, (size_t)bytes, &small));
    mgen_status status = recoded ? resize(ctx, clip, frames, width, height, low[2], low[1], small)
                                 : mgi_degrade_clip(ctx, &p->degrade, seed, element, clip, frames,
                                                    width, height, low[2], low[1], small);
    if (status == MGEN_OK && recoded)
        status = mgi_recode_film(ctx, p->artifacts, low, small, small);
    if (status == MGEN_OK)
        status = resize(ctx, small, frames, low[2], low[1], width, height, out);
    mgi_free(ctx, small);
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
