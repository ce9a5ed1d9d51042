/* SPDX-License-Identifier: MIT */
#include "task/photo.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"
#include "data/folder_photos.h"

/* (1,side,side,3) bytes, the photo in their middle. */
static T *square(mgi_run *run, const mgi_photo *photo)
{
    const int64_t h = photo->height, w = photo->width, side = h > w ? h : w;
    int64_t bytes = 0;
    uint8_t *rgb;
    if (!mgi_require(run, h > 0 && w > 0 && mgi_dims_count((int64_t[]){side, side, 3}, 3, &bytes),
                     "a photo has no pixels, or too many"))
        return NULL;
    if (!mgi_ok(run, mgi_alloc(run->ctx, (size_t)bytes, &rgb)))
        return NULL;
    T *x = mgi_new(run, MGK_U8, MGI_DIMS(1, side, side, 3));
    if (x && !run->dev->meta) {
        mgi_photo_square(photo->rgb, h, w, side, rgb);
        mgi_tensor_write(x, 0, rgb, bytes);
    }
    mgi_free(run->ctx, rgb);
    return x;
}

T *mgi_photo_tokens(mgi_run *run, const mgi_clip_vision *vision, const mgi_photo *photos,
                    int64_t count)
{
    const int64_t tokens = mgi_clip_vision_token_count(&vision->config), dim = vision->config.dim;
    T *all = mgi_new(run, MGK_F32, MGI_DIMS(count, tokens, dim));
    for (int64_t i = 0; i < count && run->status == MGEN_OK; i++) {
        int64_t mark = mgi_scope_push(run);
        T *x = square(run, &photos[i]);
        x = x ? mgi_clip_vision_tokens(run, vision, mgi_clip_vision_frames(run, vision, x)) : NULL;
        mgi_copy(run, all, i * tokens * dim, mgi_cast(run, x, MGK_F32), 0, tokens * dim);
        mgi_scope_pop(run, mark, NULL);
    }
    return run->status == MGEN_OK ? all : NULL;
}

uint64_t mgi_photos_hash(const mgi_photo *photos, int64_t count)
{
    uint64_t hash = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t size[3] = {photos[i].height, photos[i].width, 3};
        int64_t bytes = 0;
        hash = mgi_hash64(size, sizeof size, hash);
        if (size[0] > 0 && size[1] > 0 && mgi_dims_count(size, 3, &bytes)) /* else it is refused */
            hash = mgi_hash_large(photos[i].rgb, (size_t)bytes, hash);
    }
    return hash;
}
