/* SPDX-License-Identifier: MIT */
#include "api/enlarge.h"

#include "core/alloc.h"

int64_t mgi_enlarge_bytes(const mgen_clip *clip, int64_t width, int64_t height)
{
    return mgi_resize_bytes(clip->info.width, clip->info.height, width, height) +
           width * height * 3;
}

mgen_status mgi_enlarge_init(mgi_enlarge *e, mgen_context *ctx, const mgen_clip *clip,
                             int64_t width, int64_t height)
{
    *e = (mgi_enlarge){.ctx = ctx, .clip = clip, .size = width * height * 3};
    mgen_status status =
        mgi_resize_init(&e->resize, ctx, clip->info.width, clip->info.height, width, height);
    if (status == MGEN_OK)
        status = mgi_alloc(ctx, (size_t)e->size, &e->frame);
    if (status != MGEN_OK)
        mgi_enlarge_finish(e);
    return status;
}

void mgi_enlarge_finish(mgi_enlarge *e)
{
    mgi_resize_finish(&e->resize);
    if (e->ctx)
        mgi_free(e->ctx, e->frame);
    *e = (mgi_enlarge){.ctx = NULL};
}

void mgi_enlarge_read(mgi_enlarge *e, int64_t index, float *rgb)
{
    const mgen_clip_info *i = &e->clip->info;
    mgi_resize_frame(&e->resize, e->clip->pixels + index * i->width * i->height * 3, e->frame);
    mgi_floats_from_bytes(rgb, e->frame, e->size);
}
