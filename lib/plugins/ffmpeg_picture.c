/* SPDX-License-Identifier: MIT
 * A picture out of its file's bytes, which are one packet of its decoder.
 *
 * No container of FFmpeg's is opened: what is needed of it, size and orientation, the library has read before
 * (lib/media/picture_read.c), and to that size the decoder is held. */
#include "plugins/ffmpeg_common.h"
#include "plugins/ffmpeg_read.h"

#include <string.h>

/* EXIF's orientations: which side of what is seen the stored first row and first column are. */
static mgi_shape shape_of(const mgi_ffmpeg_picture *p)
{
    static const uint8_t ways[8][3] = {{0, 0, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 1},
                                       {1, 0, 0}, {1, 1, 0}, {1, 1, 1}, {1, 0, 1}};
    const uint8_t *way = ways[p->orientation >= 1 && p->orientation <= 8 ? p->orientation - 1 : 0];
    return (mgi_shape){(int)p->width, (int)p->height, way[0], way[1], way[2]};
}

enum { ALIGNED = 128 /* decoders may ask for so much more */ };

/* Room for a frame of the size that was told, and for no other. (FFmpeg's own limit, max_pixels, prints.) */
static int get_room(AVCodecContext *c, AVFrame *frame, int flags)
{
    const mgi_ffmpeg_picture *p = c->opaque;
    if (frame->width > p->width + ALIGNED || frame->height > p->height + ALIGNED)
        return AVERROR_INVALIDDATA;
    return avcodec_default_get_buffer2(c, frame, flags);
}

static int32_t start(mgi_input *in, const mgi_ffmpeg_picture *p, const mgi_told *t)
{
    const bool jpeg = p->kind == MGI_FFMPEG_JPEG;
    const AVCodec *decoder = avcodec_find_decoder(jpeg ? AV_CODEC_ID_MJPEG : AV_CODEC_ID_WEBP);
    if (!decoder)
        return mgi_told_fail(t, MGEN_E_UNSUPPORTED,
                             "this FFmpeg has no decoder for %s pictures; convert it to PNG",
                             jpeg ? "JPEG" : "WebP");
    in->codec = avcodec_alloc_context3(decoder);
    in->packet = av_packet_alloc();
    in->frame = av_frame_alloc();
    if (!in->codec || !in->packet || !in->frame)
        return mgi_told_av(t, AVERROR(ENOMEM), "no memory for the decoder");
    in->codec->opaque = (void *)(uintptr_t)p;
    in->codec->get_buffer2 = get_room;
    return mgi_input_start(in, "picture", t);
}

/* The bytes, with the room behind them that decoders read into, to the decoder. */
static int32_t decode(mgi_input *in, const mgi_ffmpeg_picture *p, const mgi_told *t)
{
    if (p->size > INT32_MAX / 2)
        return mgi_told_fail(t, MGEN_E_UNSUPPORTED, "a picture of %zu bytes", p->size);
    int code = av_new_packet(in->packet, (int)p->size);
    if (code < 0)
        return mgi_told_av(t, code, "no memory for the picture");
    memcpy(in->packet->data, p->data, p->size);
    code = avcodec_send_packet(in->codec, in->packet);
    av_packet_free(&in->packet);
    if (code >= 0)
        code = avcodec_send_packet(in->codec, NULL);
    if (code >= 0)
        code = avcodec_receive_frame(in->codec, in->frame);
    if (code == AVERROR_EOF || code == AVERROR(EAGAIN))
        code = AVERROR_INVALIDDATA;
    if (code < 0)
        return mgi_told_av(t, code, "its picture is damaged");
    if (in->frame->width != p->width || in->frame->height != p->height)
        return mgi_told_fail(
            t, MGEN_E_CORRUPT, "its picture has %d x %d pixels, but says %lld x %lld",
            in->frame->width, in->frame->height, (long long)p->width, (long long)p->height);
    return 0;
}

int32_t mgi_ffmpeg_read_picture(const mgi_ffmpeg_picture *p, uint8_t *rgb, char *error,
                                size_t error_size)
{
    const mgi_told t = {error, error_size, MGEN_E_CORRUPT};
    mgi_input in = {.bytes = NULL};
    mgi_rgb to = {.shape = shape_of(p), .over_black = !p->opaque};
    int32_t status = start(&in, p, &t);
    if (status == 0)
        status = decode(&in, p, &t);
    if (status == 0) {
        if (p->kind == MGI_FFMPEG_JPEG) /* JFIF: BT.601's colours, all 256 values */
            in.frame->color_range = AVCOL_RANGE_JPEG;
        status = mgi_rgb_take(&to, in.frame, rgb, &t);
    }
    mgi_rgb_close(&to);
    mgi_input_close(&in);
    return status;
}
