/* SPDX-License-Identifier: MIT
 * The caller's frames and latents: checked views of them. */
#include "api/args.h"

#include "core/checked.h"

_Static_assert((int)MGI_PIXELS_RGB8 == MGEN_FORMAT_RGB8 &&
                   (int)MGI_PIXELS_RGBF32 == MGEN_FORMAT_RGBF32 &&
                   (int)MGI_PIXELS_YUV420 == MGEN_FORMAT_YUV420,
               "the formats inside are those of the header");

/* Strides that are 0 become those of rows and frames without gaps. */
static mgen_status fill_strides(mgen_context *ctx, const mgen_frames *f, mgi_pixels *out)
{
    for (int i = 0; i < mgi_pixels_planes(out->format); i++) {
        int64_t row = mgi_pixels_row_bytes(out->format, i, out->width), frame;
        if (f->row_stride[i] > INT64_MAX / 2 || f->frame_stride[i] > INT64_MAX / 2)
            return mgi_fail(ctx, MGEN_E_INVALID, "frames: a stride of plane %d is too large", i);
        out->row[i] = f->row_stride[i] ? (int64_t)f->row_stride[i] : row;
        if (!mgi_dims_count((int64_t[]){out->row[i], mgi_pixels_rows(out->format, i, out->height)},
                            2, &frame))
            return mgi_fail(ctx, MGEN_E_INVALID, "frames: a stride of plane %d is too large", i);
        out->frame[i] = f->frame_stride[i] ? (int64_t)f->frame_stride[i] : frame;
        out->plane[i] = f->plane[i];
    }
    return MGEN_OK;
}

mgen_status mgi_frames_in(mgen_context *ctx, const mgen_frames *theirs, mgi_pixels *out)
{
    mgen_frames f;
    MGI_TRY(mgi_struct_in(ctx, &f, sizeof f, sizeof f, theirs, "frames"));
    if (f.reserved0)
        return mgi_fail(ctx, MGEN_E_INVALID, "frames: reserved0 must be 0");
    if (f.format > MGEN_FORMAT_YUV420)
        return mgi_fail(ctx, MGEN_E_INVALID, "frames: format is %u; it must be a MGEN_FORMAT_*",
                        f.format);
    *out = (mgi_pixels){
        .format = (int)f.format, .width = f.width, .height = f.height, .frames = f.count};
    if (f.width > MGI_SIDE_MAX || f.height > MGI_SIDE_MAX || f.count > MGI_SIDE_MAX)
        return mgi_pixels_check(ctx, out);
    MGI_TRY(fill_strides(ctx, &f, out));
    return mgi_pixels_check(ctx, out);
}

void mgi_frames_view(const mgi_pixels *p, mgen_frames *out)
{
    *out = (mgen_frames)MGEN_FRAMES_INIT;
    out->format = (uint32_t)p->format;
    out->width = (uint32_t)p->width;
    out->height = (uint32_t)p->height;
    out->count = (uint32_t)p->frames;
    for (int i = 0; i < mgi_pixels_planes(p->format); i++) {
        out->plane[i] = p->plane[i];
        out->row_stride[i] = (uint64_t)p->row[i];
        out->frame_stride[i] = (uint64_t)p->frame[i];
    }
}

mgen_status mgi_latents_in(mgen_context *ctx, const mgen_latents *theirs, const char *name,
                           mgen_latents *ours)
{
    int64_t count;
    MGI_TRY(mgi_struct_in(ctx, ours, sizeof *ours, sizeof *ours, theirs, name));
    if (ours->reserved0 || !ours->data || !ours->frames || !ours->height || !ours->width ||
        !ours->channels || ours->frames > MGI_SIDE_MAX || ours->height > MGI_SIDE_MAX ||
        ours->width > MGI_SIDE_MAX || ours->channels > MGI_SIDE_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "%s: frames, height, width and channels are 1..%d, data is not NULL, and "
                        "reserved0 is 0; they are %u, %u, %u, %u",
                        name, MGI_SIDE_MAX, ours->frames, ours->height, ours->width,
                        ours->channels);
    if ((uintptr_t)ours->data % sizeof(float))
        return mgi_fail(ctx, MGEN_E_INVALID, "%s: data is not aligned to %zu bytes", name,
                        sizeof(float));
    if (!mgi_dims_count((int64_t[]){ours->frames, ours->height, ours->width, ours->channels}, 4,
                        &count) ||
        count > PTRDIFF_MAX / (int64_t)sizeof(float))
        return mgi_fail(ctx, MGEN_E_INVALID, "%s: more values than there can be", name);
    return MGEN_OK;
}
