/* SPDX-License-Identifier: MIT
 * The FFmpeg plug-in: RGB frames into any container and codec that FFmpeg writes.
 *
 * FFmpeg's log level and callback are the host's: they are left alone. Our objects are silenced one
 * by one, by log_level_offset, and x264 by its own option. */
#include "plugins/ffmpeg.h"

#include "moviegen.h"
#include "plugins/ffmpeg_read.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Added to the level of each message: beyond any level a host may ask for, below 256, where FFmpeg's
 * levels end. */
enum { QUIET = 128 };

typedef struct film {
    const char *name; /* the final name, for messages and for its ending */
    const uint8_t *rgb;
    int width, height; /* of the frames given */
    AVRational rate;
    AVFormatContext *format;
    AVCodecContext *codec;
    AVStream *stream; /* owned by format */
    struct SwsContext *scaler;
    AVFrame *padded, *frame; /* RGB with even sides, and what the encoder takes */
    AVPacket *packet;
    char *error;
    size_t error_size;
} film;

static int32_t fail(film *f, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int32_t fail(film *f, int32_t status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(f->error, f->error_size, format, args);
    va_end(args);
    return status;
}

/* An FFmpeg error while doing `what`. */
static int32_t fail_av(film *f, int code, const char *what)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(code, text, sizeof(text));
    int32_t status = code == AVERROR(ENOMEM)   ? MGEN_E_NO_MEMORY
                     : code == AVERROR(ENOSPC) ? MGEN_E_NO_SPACE
                     : code == AVERROR(ENOENT) ? MGEN_E_NOT_FOUND
                                               : MGEN_E_IO;
    return fail(f, status, "%s: %s", what, text);
}

/* ---- codec --------------------------------------------------------------------------------- */

static const AVCodec *choose_encoder(const AVOutputFormat *container)
{
    const AVCodec *encoder = NULL;
    if (container->video_codec == AV_CODEC_ID_H264)
        encoder = avcodec_find_encoder_by_name("libx264");
    if (!encoder)
        encoder = avcodec_find_encoder(container->video_codec);
    /* A build without any H.264: the older codec that .mp4 and its relatives hold as well. */
    if (!encoder && avformat_query_codec(container, AV_CODEC_ID_MPEG4, FF_COMPLIANCE_NORMAL) == 1)
        encoder = avcodec_find_encoder(AV_CODEC_ID_MPEG4);
    return encoder;
}

/* The pixel formats an encoder takes, ended by NONE; NULL = it does not say. */
static const enum AVPixelFormat *pixels_of(const AVCodec *encoder)
{
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(61, 13, 100)
    const void *list = NULL;
    if (avcodec_get_supported_config(NULL, encoder, AV_CODEC_CONFIG_PIX_FORMAT, 0, &list, NULL) < 0)
        return NULL;
    return list;
#else
    return encoder->pix_fmts;
#endif
}

static enum AVPixelFormat choose_pixels(const AVCodec *encoder)
{
    const enum AVPixelFormat *list = pixels_of(encoder);
    if (!list)
        return AV_PIX_FMT_YUV420P;
    for (int i = 0; list[i] != AV_PIX_FMT_NONE; i++)
        if (list[i] == AV_PIX_FMT_YUV420P)
            return AV_PIX_FMT_YUV420P;
    return avcodec_find_best_pix_fmt_of_list(list, AV_PIX_FMT_RGB24, 0, NULL);
}

static int is_yuv(enum AVPixelFormat format)
{
    const AVPixFmtDescriptor *about = av_pix_fmt_desc_get(format);
    return about && !(about->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) &&
           about->nb_components >= 3;
}

/* Good quality by each encoder's own means; options that it does not know are left unused. */
static void set_quality(film *f, const AVCodec *encoder, AVDictionary **options)
{
    f->codec->bit_rate = 0;
    if (strcmp(encoder->name, "libx264") == 0) {
        av_dict_set(options, "crf", "16", 0);
        av_dict_set(options, "preset", "medium", 0);
        /* x264's macroblock tree reads unset memory in its AVX-512 form (164.3095): without it the
         * same frames give the same file. */
        av_dict_set(options, "x264-params", "log=-1:mbtree=0", 0);
    } else if (strncmp(encoder->name, "libvpx", 6) == 0) {
        av_dict_set(options, "crf", "20", 0);
        av_dict_set(options, "b", "0", 0);
        av_dict_set(options, "row-mt", "1", 0);
    } else {
        f->codec->flags |= AV_CODEC_FLAG_QSCALE;
        f->codec->global_quality = 3 * FF_QP2LAMBDA;
    }
}

static int32_t open_codec(film *f)
{
    const AVCodec *encoder = choose_encoder(f->format->oformat);
    if (!encoder)
        return fail(f, MGEN_E_UNSUPPORTED,
                    "this FFmpeg has no video encoder for the format '%s'; try .mkv or .avi",
                    f->format->oformat->name);
    f->codec = avcodec_alloc_context3(encoder);
    f->stream = avformat_new_stream(f->format, NULL);
    if (!f->codec || !f->stream)
        return fail_av(f, AVERROR(ENOMEM), "no memory for the encoder");

    AVCodecContext *c = f->codec;
    c->log_level_offset = QUIET;
    c->pix_fmt = choose_pixels(encoder);
    c->width = f->width;
    c->height = f->height;
    if (is_yuv(c->pix_fmt)) { /* pairs of pixels share their colour: sides must be even */
        c->width += c->width & 1;
        c->height += c->height & 1;
        c->color_range = AVCOL_RANGE_MPEG;
        c->colorspace = AVCOL_SPC_SMPTE170M;
        c->color_primaries = AVCOL_PRI_BT709;
        c->color_trc = AVCOL_TRC_BT709;
    }
    c->time_base = av_inv_q(f->rate);
    c->framerate = f->rate;
    c->sample_aspect_ratio = (AVRational){1, 1};
    c->flags |= AV_CODEC_FLAG_BITEXACT; /* the same frames give the same file */
    if (f->format->oformat->flags & AVFMT_GLOBALHEADER)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;

    AVDictionary *options = NULL;
    set_quality(f, encoder, &options);
    int code = avcodec_open2(c, encoder, &options);
    av_dict_free(&options);
    if (code < 0) {
        char what[160];
        snprintf(what, sizeof(what),
                 "the encoder %s refuses %d x %d pixels at %d/%d frames a second", encoder->name,
                 c->width, c->height, f->rate.num, f->rate.den);
        int32_t status = fail_av(f, code, what);
        return status == MGEN_E_IO ? MGEN_E_UNSUPPORTED : status;
    }
    f->stream->time_base = c->time_base;
    f->stream->avg_frame_rate = f->rate;
    f->stream->r_frame_rate = f->rate;
    f->stream->sample_aspect_ratio = c->sample_aspect_ratio;
    code = avcodec_parameters_from_context(f->stream->codecpar, c);
    return code < 0 ? fail_av(f, code, "the encoder's settings do not fit the container") : 0;
}

/* ---- frames -------------------------------------------------------------------------------- */

static int32_t make_frame(film *f, enum AVPixelFormat format, AVFrame **out)
{
    AVFrame *frame = *out = av_frame_alloc();
    if (frame) {
        frame->format = format;
        frame->width = f->codec->width;
        frame->height = f->codec->height;
        frame->color_range = f->codec->color_range;
        frame->colorspace = f->codec->colorspace;
    }
    int code = frame ? av_frame_get_buffer(frame, 0) : AVERROR(ENOMEM);
    return code < 0 ? fail_av(f, code, "no memory for a frame") : 0;
}

static int32_t open_scaler(film *f)
{
    AVCodecContext *c = f->codec;
    int32_t status = make_frame(f, AV_PIX_FMT_RGB24, &f->padded);
    if (status == 0)
        status = make_frame(f, c->pix_fmt, &f->frame);
    if (status != 0)
        return status;
    f->scaler =
        sws_getContext(c->width, c->height, AV_PIX_FMT_RGB24, c->width, c->height, c->pix_fmt,
                       SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP, NULL, NULL, NULL);
    return f->scaler ? 0 : fail(f, MGEN_E_UNSUPPORTED, "this FFmpeg cannot convert RGB frames");
}

/* Copy frame `index`, its last column and row twice where a side is odd, and convert it. */
static int32_t load_frame(film *f, int64_t index)
{
    int code = av_frame_make_writable(f->frame);
    if (code < 0)
        return fail_av(f, code, "no memory for a frame");
    AVFrame *to = f->padded;
    size_t row = 3 * (size_t)f->width;
    const uint8_t *from = f->rgb + (size_t)index * row * (size_t)f->height;
    for (int y = 0; y < to->height; y++) {
        uint8_t *line = to->data[0] + (ptrdiff_t)y * to->linesize[0];
        memcpy(line, from + (size_t)(y < f->height ? y : f->height - 1) * row, row);
        if (to->width > f->width)
            memcpy(line + row, line + row - 3, 3);
    }
    sws_scale(f->scaler, (const uint8_t *const *)to->data, to->linesize, 0, to->height,
              f->frame->data, f->frame->linesize);
    f->frame->pts = index;
    f->frame->pict_type = AV_PICTURE_TYPE_NONE;
    f->frame->quality = f->codec->global_quality;
    return 0;
}

/* Give the encoder a frame (NULL: there are no more) and write what it has ready. */
static int32_t encode(film *f, const AVFrame *frame)
{
    int code = avcodec_send_frame(f->codec, frame);
    if (code < 0)
        return fail_av(f, code, "the encoder fails");
    while ((code = avcodec_receive_packet(f->codec, f->packet)) >= 0) {
        if (f->packet->duration == 0)
            f->packet->duration = 1;
        av_packet_rescale_ts(f->packet, f->codec->time_base, f->stream->time_base);
        f->packet->stream_index = f->stream->index;
        code = av_interleaved_write_frame(f->format, f->packet);
        if (code < 0)
            return fail_av(f, code, "writing fails");
    }
    return code == AVERROR(EAGAIN) || code == AVERROR_EOF ? 0
                                                          : fail_av(f, code, "the encoder fails");
}

/* ---- file ---------------------------------------------------------------------------------- */

static int32_t open_file(film *f, const char *path)
{
    const AVOutputFormat *container = av_guess_format(NULL, f->name, NULL);
    const char *slash = strrchr(f->name, '/');
    const char *dot = strrchr(slash ? slash : f->name, '.');
    if (!container || container->video_codec == AV_CODEC_ID_NONE)
        return fail(f, MGEN_E_INVALID, "FFmpeg knows no film format with the ending '%s'",
                    dot ? dot : "");
    if (container->flags & (AVFMT_NOFILE | AVFMT_NEEDNUMBER))
        return fail(f, MGEN_E_INVALID,
                    "'%s' is no film format; use .png for pictures and .mp4 for films",
                    dot ? dot : "");
    char *url = av_asprintf("file:%s", path); /* a name such as "rtp:x" is a file, too */
    if (!url)
        return fail_av(f, AVERROR(ENOMEM), "no memory");
    int code = avformat_alloc_output_context2(&f->format, container, NULL, url);
    if (code >= 0) {
        f->format->flags |= AVFMT_FLAG_BITEXACT;
        code = avio_open(&f->format->pb, url, AVIO_FLAG_WRITE);
    }
    av_free(url);
    return code < 0 ? fail_av(f, code, "the file does not open") : 0;
}

static int32_t write_header(film *f, int64_t frames)
{
    AVDictionary *options = NULL;
    /* .mp4, .mov: the index goes first, so that the film plays while it loads. The room for it is
     * an upper limit: at most 45 bytes a frame. (+faststart would move it, but prints that it does.) */
    av_dict_set_int(&options, "moov_size", 4096 + 48 * frames, 0);
    int code = avformat_write_header(f->format, &options);
    av_dict_free(&options);
    if (code < 0)
        return fail_av(f, code, "the container does not take this film");
    return 0;
}

static int32_t write_all(film *f, const char *path, int64_t frames)
{
    int32_t status = open_file(f, path);
    if (status == 0)
        status = open_codec(f);
    if (status == 0)
        status = open_scaler(f);
    if (status == 0 && !(f->packet = av_packet_alloc()))
        status = fail_av(f, AVERROR(ENOMEM), "no memory for a packet");
    if (status == 0)
        status = write_header(f, frames);
    for (int64_t i = 0; i < frames && status == 0; i++) {
        status = load_frame(f, i);
        if (status == 0)
            status = encode(f, f->frame);
    }
    if (status == 0)
        status = encode(f, NULL);
    if (status == 0) {
        int code = av_write_trailer(f->format);
        if (code < 0)
            status = fail_av(f, code, "finishing the file fails");
    }
    return status;
}

static int32_t write_film(const char *path, const char *format_name_hint, const uint8_t *rgb,
                          int64_t width, int64_t height, int64_t frames, uint32_t fps_num,
                          uint32_t fps_den, char *error, size_t error_size)
{
    film f = {.name = format_name_hint, .rgb = rgb, .error = error, .error_size = error_size};
    if (width < 1 || height < 1 || frames < 1 || width > 65536 || height > 65536)
        return fail(&f, MGEN_E_INVALID, "%lld x %lld pixels is not a film's size", (long long)width,
                    (long long)height);
    if (fps_num == 0 || fps_den == 0 || fps_num > INT_MAX || fps_den > INT_MAX)
        return fail(&f, MGEN_E_INVALID, "%u/%u frames a second is not a rate", (unsigned)fps_num,
                    (unsigned)fps_den);
    f.width = (int)width;
    f.height = (int)height;
    av_reduce(&f.rate.num, &f.rate.den, fps_num, fps_den, INT_MAX);

    int32_t status = write_all(&f, path, frames);
    av_packet_free(&f.packet);
    av_frame_free(&f.frame);
    av_frame_free(&f.padded);
    sws_freeContext(f.scaler);
    avcodec_free_context(&f.codec);
    if (f.format) {
        int code =
            f.format->pb ? avio_closep(&f.format->pb) : 0; /* flushes: the disk may be full */
        if (code < 0 && status == 0)
            status = fail_av(&f, code, "closing the file fails");
        avformat_free_context(f.format);
    }
    return status;
}

extern const mgi_ffmpeg_table mgi_ffmpeg_plugin;
MGEN_API const mgi_ffmpeg_table mgi_ffmpeg_plugin = {
    MGI_FFMPEG_PLUGIN_VERSION, write_film, mgi_ffmpeg_open, mgi_ffmpeg_next, mgi_ffmpeg_close};
