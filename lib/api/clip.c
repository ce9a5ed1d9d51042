/* SPDX-License-Identifier: MIT */
#include "api/args.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "media/film_read.h"
#include "media/media.h"

#include <string.h>

mgen_status mgi_clip_make(mgen_context *ctx, int64_t width, int64_t height, int64_t frames,
                          uint32_t fps_num, uint32_t fps_den, mgen_clip **out)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    info.width = (uint32_t)width;
    info.height = (uint32_t)height;
    info.frames = (uint32_t)frames;
    info.fps_num = fps_num;
    info.fps_den = fps_den;
    return mgen_clip_create(ctx, &info, out);
}

/* A clip without pixels. */
static mgen_status make_empty(mgen_context *ctx, const mgen_clip_info *info, mgen_clip **out)
{
    mgen_clip *clip;
    if (!info->width || !info->height || !info->frames || info->width > MGI_SIDE_MAX ||
        info->height > MGI_SIDE_MAX || info->frames > MGI_SIDE_MAX || !info->fps_num ||
        !info->fps_den)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "clip: %u x %u x %u frames at %u/%u per second; sizes are 1..%d, rates not 0",
            info->width, info->height, info->frames, info->fps_num, info->fps_den, MGI_SIDE_MAX);
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *clip, &clip));
    clip->heap = mgi_heap_retain(ctx->heap);
    clip->info = *info;
    clip->info.struct_size = sizeof *info;
    *out = clip;
    return MGEN_OK;
}

mgen_status mgen_clip_create(mgen_context *ctx, const mgen_clip_info *info, mgen_clip **out)
{
    mgen_clip_info in;
    mgen_clip *clip;
    int64_t bytes;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_struct_in(ctx, &in, sizeof in, sizeof in, info, "clip info"));
    MGI_TRY(make_empty(ctx, &in, &clip));
    mgen_status status;
    if (!mgi_dims_count((int64_t[]){in.width, in.height, in.frames, 3}, 4, &bytes))
        status = mgi_fail(ctx, MGEN_E_NO_MEMORY, "clip: too large");
    else
        status = mgi_alloc_zero(ctx, (size_t)bytes, 1, &clip->pixels);
    if (status != MGEN_OK)
        mgen_clip_destroy(clip);
    else
        *out = clip;
    return status;
}

mgen_status mgen_clip_read(mgen_context *ctx, const char *path, uint64_t first, uint64_t count,
                           mgen_clip **out)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgi_film_info film;
    uint8_t *pixels;
    mgi_message before;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_check_text(ctx, path, "the input path", MGI_PATH_MAX));
    mgi_quiet_begin(ctx, &before);
    MGI_TRY(mgi_quiet_told(ctx, &before, mgi_film_read(ctx, path, first, count, &pixels, &film)));
    info.width = (uint32_t)film.width;
    info.height = (uint32_t)film.height;
    info.frames = (uint32_t)film.frames;
    info.fps_num = film.fps_num;
    info.fps_den = film.fps_den;
    mgen_status status = make_empty(ctx, &info, out);
    if (status == MGEN_OK)
        (*out)->pixels = pixels;
    else
        mgi_free(ctx, pixels);
    return status;
}

void mgen_clip_destroy(mgen_clip *clip)
{
    if (!clip)
        return;
    mgi_heap *heap = clip->heap;
    mgi_heap_free(heap, clip->pixels);
    mgi_heap_free(heap, clip);
    mgi_heap_release(heap);
}

mgen_status mgen_clip_get_info(const mgen_clip *clip, mgen_clip_info *info)
{
    return clip ? mgi_struct_out(info, &clip->info, sizeof clip->info, sizeof clip->info)
                : MGEN_E_INVALID;
}

uint8_t *mgen_clip_pixels(mgen_clip *clip)
{
    return clip ? clip->pixels : NULL;
}

mgen_status mgen_clip_write(mgen_context *ctx, const mgen_clip *clip, const char *path)
{
    mgi_message before;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    if (!clip)
        return mgi_fail(ctx, MGEN_E_INVALID, "clip is NULL");
    MGI_TRY(mgi_check_text(ctx, path, "the output path", MGI_PATH_MAX));
    mgi_frames f = {clip->pixels,      clip->info.width,   clip->info.height,
                    clip->info.frames, clip->info.fps_num, clip->info.fps_den};
    mgi_quiet_begin(ctx, &before);
    return mgi_quiet_told(ctx, &before, mgi_frames_write(ctx, path, &f));
}
