/* SPDX-License-Identifier: MIT
 * Decoded frames as they are meant to be seen: RGB8, scaled, turned and mirrored, over black. */
#include "plugins/ffmpeg_hdr.h"

#include <libavutil/pixdesc.h>
#include <string.h>

/* Formats that mean the full range of values are the same as others; their names alone make FFmpeg print. */
static enum AVPixelFormat without_range(enum AVPixelFormat pixels)
{
    switch (pixels) {
    case AV_PIX_FMT_YUVJ411P:
        return AV_PIX_FMT_YUV411P;
    case AV_PIX_FMT_YUVJ420P:
        return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P:
        return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ440P:
        return AV_PIX_FMT_YUV440P;
    case AV_PIX_FMT_YUVJ444P:
        return AV_PIX_FMT_YUV444P;
    default:
        return pixels;
    }
}

static bool has_opacity(enum AVPixelFormat pixels)
{
    const AVPixFmtDescriptor *about = av_pix_fmt_desc_get(pixels);
    return about && (about->flags & AV_PIX_FMT_FLAG_ALPHA);
}

static int32_t make_room(const mgi_rgb *r, enum AVPixelFormat pixels, AVFrame **out,
                         const mgi_told *t)
{
    if (*out && (*out)->format == pixels)
        return 0;
    av_frame_free(out);
    *out = av_frame_alloc();
    if (*out) {
        (*out)->format = pixels;
        (*out)->width = r->shape.width;
        (*out)->height = r->shape.height;
    }
    int code = *out ? av_frame_get_buffer(*out, 0) : AVERROR(ENOMEM);
    return code < 0 ? mgi_told_av(t, code, "no memory for a frame") : 0;
}

/* What frames of a high dynamic range are mapped by, which come in `deep`. */
static int32_t make_hdr(mgi_rgb *r, int kind, const mgi_told *t)
{
    if (kind && (!r->hdr || r->hdr_kind != kind)) {
        mgi_hdr_destroy(r->hdr);
        r->hdr = mgi_hdr_create(kind);
        if (!r->hdr)
            return mgi_told_av(t, AVERROR(ENOMEM), "no memory for a frame");
    }
    return kind ? make_room(r, AV_PIX_FMT_RGB48, &r->deep, t) : 0;
}

static int32_t open_scaler(mgi_rgb *r, const AVFrame *x, const mgi_told *t)
{
    const enum AVPixelFormat from = (enum AVPixelFormat)x->format, plain = without_range(from);
    const int hdr = mgi_hdr_kind(x);
    const enum AVPixelFormat seen =
        r->over_black && has_opacity(from) && !hdr ? AV_PIX_FMT_RGBA : AV_PIX_FMT_RGB24;
    int32_t status = make_room(r, seen, &r->frame, t);
    if (status == 0)
        status = make_hdr(r, hdr, t);
    if (status || (r->scaler && r->pixels == from && r->hdr_kind == hdr))
        return status;
    sws_freeContext(r->scaler);
    r->pixels = from;
    r->hdr_kind = hdr;
    r->scaler = sws_getContext(
        x->width, x->height, plain, r->shape.width, r->shape.height, hdr ? AV_PIX_FMT_RGB48 : seen,
        SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
    if (!r->scaler)
        return mgi_told_fail(t, MGEN_E_UNSUPPORTED, "this FFmpeg cannot convert its frames to RGB");
    const int matrix = x->colorspace != AVCOL_SPC_UNSPECIFIED ? (int)x->colorspace
                       : hdr                                  ? SWS_CS_BT2020
                                                              : SWS_CS_DEFAULT;
    sws_setColorspaceDetails(r->scaler, sws_getCoefficients(matrix),
                             x->color_range == AVCOL_RANGE_JPEG || plain != from,
                             sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
    return 0;
}

/* RGBA over black, and without its opacity. */
static void put(uint8_t *to, const uint8_t *from, int64_t bytes)
{
    if (bytes == 3) {
        memcpy(to, from, 3);
        return;
    }
    for (int k = 0; k < 3; k++)
        to[k] = (uint8_t)((from[k] * from[3] + 127) / 255);
}

/* Turned and mirrored into rows without gaps. */
static void give(const mgi_rgb *r, uint8_t *rgb)
{
    const mgi_shape *s = &r->shape;
    const int64_t bytes = r->frame->format == AV_PIX_FMT_RGBA ? 4 : 3;
    const int64_t width = s->across ? s->height : s->width;
    const int64_t height = s->across ? s->width : s->height;
    const int64_t down = r->frame->linesize[0];
    const int64_t row = s->across ? bytes : down, step = s->across ? down : bytes;
    for (int64_t y = 0; y < height; y++) {
        const uint8_t *from = r->frame->data[0] + (s->upwards ? height - 1 - y : y) * row;
        if (step == 3 && !s->right)
            memcpy(rgb, from, 3 * (size_t)width);
        else
            for (int64_t x = 0; x < width; x++)
                put(rgb + 3 * x, from + (s->right ? width - 1 - x : x) * step, bytes);
        rgb += 3 * width;
    }
}

int32_t mgi_rgb_take(mgi_rgb *r, const AVFrame *frame, uint8_t *rgb, const mgi_told *t)
{
    int32_t status = open_scaler(r, frame, t);
    if (status)
        return status;
    AVFrame *to = r->hdr_kind ? r->deep : r->frame;
    sws_scale(r->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height,
              to->data, to->linesize);
    if (r->hdr_kind)
        mgi_hdr_map(r->hdr, to, r->frame);
    give(r, rgb);
    return 0;
}

void mgi_rgb_close(mgi_rgb *r)
{
    av_frame_free(&r->frame);
    av_frame_free(&r->deep);
    mgi_hdr_destroy(r->hdr);
    r->hdr = NULL;
    sws_freeContext(r->scaler);
    r->scaler = NULL;
}
