/* SPDX-License-Identifier: MIT */
#include "api/args.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "data/toybox.h"
#include "media/media.h"

#include <string.h>

enum { SIDE_MAX = 65536 };

mgen_status mgi_clip_make(mgen_context *ctx, int64_t width, int64_t height, int64_t frames,
                          int64_t fps, mgen_clip **out)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    info.width = (uint32_t)width;
    info.height = (uint32_t)height;
    info.frames = (uint32_t)frames;
    info.fps_num = (uint32_t)fps;
    info.fps_den = 1;
    return mgen_clip_create(ctx, &info, out);
}

mgen_status mgen_clip_create(mgen_context *ctx, const mgen_clip_info *info, mgen_clip **out)
{
    mgen_clip_info in;
    mgen_clip *clip;
    int64_t bytes;
    if (!ctx || !out)
        return MGEN_E_INVALID;
    *out = NULL;
    MGI_TRY(mgi_struct_in(ctx, &in, sizeof in, sizeof in, info, "clip info"));
    if (!in.width || !in.height || !in.frames || in.width > SIDE_MAX || in.height > SIDE_MAX ||
        in.frames > SIDE_MAX || !in.fps_num || !in.fps_den)
        return mgi_fail(
            ctx, MGEN_E_INVALID,
            "clip: %u x %u x %u frames at %u/%u per second; sizes are 1..%d, rates not 0", in.width,
            in.height, in.frames, in.fps_num, in.fps_den, SIDE_MAX);
    if (!mgi_dims_count((int64_t[]){in.width, in.height, in.frames, 3}, 4, &bytes))
        return mgi_fail(ctx, MGEN_E_NO_MEMORY, "clip: too large");
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof *clip, &clip));
    clip->ctx = ctx;
    clip->info = in;
    clip->info.struct_size = sizeof in;
    mgen_status status = mgi_alloc_zero(ctx, (size_t)bytes, 1, &clip->pixels);
    if (status != MGEN_OK)
        mgi_free(ctx, clip);
    else
        *out = clip;
    return status;
}

void mgen_clip_destroy(mgen_clip *clip)
{
    if (!clip)
        return;
    mgi_free(clip->ctx, clip->pixels);
    mgi_free(clip->ctx, clip);
}

mgen_status mgen_clip_get_info(const mgen_clip *clip, mgen_clip_info *info)
{
    if (!clip || !info || info->struct_size < sizeof *info)
        return MGEN_E_INVALID;
    uint32_t size = info->struct_size;
    *info = clip->info;
    info->struct_size = size;
    return MGEN_OK;
}

uint8_t *mgen_clip_pixels(mgen_clip *clip)
{
    return clip ? clip->pixels : NULL;
}

mgen_status mgen_clip_write(mgen_context *ctx, const mgen_clip *clip, const char *path)
{
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    if (!clip)
        return mgi_fail(ctx, MGEN_E_INVALID, "clip is NULL");
    MGI_TRY(mgi_check_text(ctx, path, "the output path", MGI_PATH_MAX));
    mgi_frames f = {clip->pixels,      clip->info.width,   clip->info.height,
                    clip->info.frames, clip->info.fps_num, clip->info.fps_den};
    return mgi_frames_write(ctx, path, &f);
}

mgen_status mgen_toybox_render(mgen_context *ctx, uint64_t seed, uint64_t index, mgen_clip **out)
{
    mgi_toybox_scene scene;
    if (!ctx || !out)
        return MGEN_E_INVALID;
    *out = NULL;
    MGI_TRY(mgi_clip_make(ctx, MGI_TOYBOX_WIDTH, MGI_TOYBOX_HEIGHT, MGI_TOYBOX_FRAMES,
                          MGI_TOYBOX_FPS, out));
    mgi_toybox_scene_random(&scene, seed, index);
    mgi_toybox_draw(&scene, 0, MGI_TOYBOX_FRAMES, (*out)->pixels);
    return MGEN_OK;
}
