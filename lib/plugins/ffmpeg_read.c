/* SPDX-License-Identifier: MIT
 * Frames out of films, one after the other.
 *
 * Only containers that keep frames apart are opened, and without probing and parsing: those parts of
 * FFmpeg print what they find, through objects that nobody outside can silence. For the same reason the file
 * does not tell its size. Bytes come from memory, so that no other file and no network is reached from within
 * a film. One thread: the host decides on threads. */
#include "plugins/ffmpeg_read.h"

#include "moviegen.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libswscale/swscale.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* As in ffmpeg.c. */
enum { QUIET = 128 };
enum { BUFFER = 1 << 16 };

#define CONTAINERS "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif"

typedef struct film {
    const uint8_t *data;
    int64_t size, at;
    AVIOContext *io;
    AVFormatContext *format;
    AVClass quiet; /* of `format`, whose own class has no level to set */
    AVCodecContext *codec;
    int stream;
    AVPacket *packet;
    AVFrame *frame, *rgb; /* rgb has room for what fast code writes behind its rows */
    struct SwsContext *scaler;
    enum AVPixelFormat pixels; /* that the scaler takes */
    int width, height;
    int64_t taken;   /* frames given out */
    int ready, over; /* `frame` holds one; the decoder was told of the end */
} film;

/* Where a failure is told. */
typedef struct told {
    char *error;
    size_t size;
} told;

static int32_t fail(const told *t, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int32_t fail(const told *t, int32_t status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->error, t->size, format, args);
    va_end(args);
    return status;
}

static int32_t fail_av(const told *t, int code, const char *what)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(code, text, sizeof(text));
    int32_t status = code == AVERROR(ENOMEM)             ? MGEN_E_NO_MEMORY
                     : code == AVERROR(ENOENT)           ? MGEN_E_NOT_FOUND
                     : code == AVERROR(EIO)              ? MGEN_E_IO
                     : code == AVERROR_DECODER_NOT_FOUND ? MGEN_E_UNSUPPORTED
                     : code == AVERROR_PATCHWELCOME      ? MGEN_E_UNSUPPORTED
                     : code == AVERROR(ENOSYS)           ? MGEN_E_UNSUPPORTED
                                                         : MGEN_E_CORRUPT;
    return fail(t, status, "%s: %s", what, text);
}

/* ---- opening ------------------------------------------------------------------------------------ */

static int read_bytes(void *self, uint8_t *out, int size)
{
    film *f = self;
    int64_t left = f->size - f->at;
    int n = left < size ? (int)left : size;
    if (n <= 0)
        return AVERROR_EOF;
    memcpy(out, f->data + f->at, (size_t)n);
    f->at += n;
    return n;
}

static int64_t seek(void *self, int64_t offset, int whence)
{
    film *f = self;
    whence &= ~AVSEEK_FORCE;
    if (whence != SEEK_SET && whence != SEEK_CUR)
        return AVERROR(ENOSYS);
    if (whence == SEEK_CUR && __builtin_add_overflow(offset, f->at, &offset))
        return AVERROR(EINVAL);
    if (offset < 0 || offset > f->size)
        return AVERROR(EINVAL);
    return f->at = offset;
}

static int32_t open_container(film *f, const told *t)
{
    AVDictionary *options = NULL;
    uint8_t *buffer = av_malloc(BUFFER);
    f->format = avformat_alloc_context();
    f->io = buffer ? avio_alloc_context(buffer, BUFFER, 0, f, read_bytes, NULL, seek) : NULL;
    if (!f->io)
        av_free(buffer);
    if (!f->io || !f->format)
        return fail_av(t, AVERROR(ENOMEM), "no memory");
    f->quiet = *f->format->av_class;
    f->quiet.log_level_offset_offset = offsetof(AVFormatContext, opaque);
    int level = QUIET;
    memcpy(&f->format->opaque, &level, sizeof(level));
    f->format->av_class = &f->quiet;
    f->format->pb = f->io;
    f->format->flags |= AVFMT_FLAG_NOPARSE | AVFMT_FLAG_NOFILLIN;
    av_dict_set(&options, "format_whitelist", CONTAINERS, 0);
    av_dict_set(&options, "protocol_whitelist", "none", 0);
    int code = avformat_open_input(&f->format, "", NULL, &options);
    av_dict_free(&options);
    if (code == AVERROR_INVALIDDATA)
        return fail(t, MGEN_E_UNSUPPORTED,
                    "it is none of the films that are read (" CONTAINERS "), or damaged");
    return code < 0 ? fail_av(t, code, "the file does not open") : 0;
}

static int32_t open_decoder(film *f, int64_t pixels_max, const told *t)
{
    const AVCodec *decoder = NULL;
    f->stream = av_find_best_stream(f->format, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
    if (f->stream == AVERROR_STREAM_NOT_FOUND)
        return fail(t, MGEN_E_UNSUPPORTED, "there is no video in it");
    if (f->stream < 0 || !decoder)
        return fail(t, MGEN_E_UNSUPPORTED, "this FFmpeg has no decoder for its video");
    for (unsigned i = 0; i < f->format->nb_streams; i++)
        if ((int)i != f->stream)
            f->format->streams[i]->discard = AVDISCARD_ALL;
    AVCodecContext *c = f->codec = avcodec_alloc_context3(decoder);
    f->packet = av_packet_alloc();
    f->frame = av_frame_alloc();
    if (!c || !f->packet || !f->frame)
        return fail_av(t, AVERROR(ENOMEM), "no memory for the decoder");
    int code = avcodec_parameters_to_context(c, f->format->streams[f->stream]->codecpar);
    if (code < 0)
        return fail_av(t, code, "its video's settings make no sense");
    c->log_level_offset = QUIET;
    c->thread_count = 1;
    c->max_pixels = pixels_max;
    c->err_recognition |= AV_EF_EXPLODE; /* what is damaged is not patched up */
    code = avcodec_open2(c, decoder, NULL);
    return code < 0 ? fail_av(t, code, "its video's decoder does not start") : 0;
}

static void tell(const film *f, mgi_ffmpeg_info *info)
{
    const AVStream *s = f->format->streams[f->stream];
    AVRational rate = s->avg_frame_rate;
    if (rate.num <= 0 || rate.den <= 0)
        rate = s->r_frame_rate;
    if (rate.num <= 0 || rate.den <= 0)
        rate = (AVRational){25, 1};
    *info = (mgi_ffmpeg_info){.width = f->width,
                              .height = f->height,
                              .frames = s->nb_frames > 0 ? s->nb_frames : 0,
                              .fps_num = (uint32_t)rate.num,
                              .fps_den = (uint32_t)rate.den};
}

/* ---- frames ------------------------------------------------------------------------------------- */

/* A packet of our stream to the decoder, or word that there are no more. */
static int32_t feed(film *f, const told *t)
{
    char what[64];
    int code;
    do {
        av_packet_unref(f->packet);
        code = av_read_frame(f->format, f->packet);
    } while (code >= 0 && f->packet->stream_index != f->stream);
    snprintf(what, sizeof(what), "behind frame %lld", (long long)f->taken - 1);
    if (code < 0 && code != AVERROR_EOF)
        return fail_av(t, code, what);
    f->over = code == AVERROR_EOF;
    code = avcodec_send_packet(f->codec, f->over ? NULL : f->packet);
    av_packet_unref(f->packet);
    return code < 0 ? fail_av(t, code, what) : 0;
}

/* Decode until `frame` holds the next one; ready stays 0 at the end. */
static int32_t decode(film *f, const told *t)
{
    while (!f->ready) {
        int code = avcodec_receive_frame(f->codec, f->frame);
        if (code == AVERROR_EOF)
            return 0;
        if (code == AVERROR(EAGAIN) && !f->over) {
            int32_t status = feed(f, t);
            if (status)
                return status;
            continue;
        }
        if (code < 0)
            return fail_av(t, code, "its video is damaged");
        f->ready = 1;
    }
    return 0;
}

static int32_t open_scaler(film *f, const told *t)
{
    const AVFrame *x = f->frame;
    if (!f->rgb) {
        f->rgb = av_frame_alloc();
        if (f->rgb) {
            f->rgb->format = AV_PIX_FMT_RGB24;
            f->rgb->width = x->width;
            f->rgb->height = x->height;
        }
        int code = f->rgb ? av_frame_get_buffer(f->rgb, 0) : AVERROR(ENOMEM);
        if (code < 0)
            return fail_av(t, code, "no memory for a frame");
    }
    if (f->scaler && f->pixels == (enum AVPixelFormat)x->format)
        return 0;
    sws_freeContext(f->scaler);
    f->pixels = (enum AVPixelFormat)x->format;
    f->scaler =
        sws_getContext(x->width, x->height, f->pixels, x->width, x->height, AV_PIX_FMT_RGB24,
                       SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, NULL, NULL, NULL);
    if (!f->scaler)
        return fail(t, MGEN_E_UNSUPPORTED, "this FFmpeg cannot convert its frames to RGB");
    int matrix = x->colorspace == AVCOL_SPC_UNSPECIFIED ? SWS_CS_DEFAULT : (int)x->colorspace;
    sws_setColorspaceDetails(f->scaler, sws_getCoefficients(matrix),
                             x->color_range == AVCOL_RANGE_JPEG,
                             sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
    return 0;
}

int32_t mgi_ffmpeg_next(void *self, uint8_t *rgb, int32_t *end, char *error, size_t error_size)
{
    const told t = {error, error_size};
    film *f = self;
    int32_t status = decode(f, &t);
    *end = status == 0 && !f->ready;
    if (status || *end)
        return status;
    if (f->frame->width != f->width || f->frame->height != f->height)
        return fail(&t, MGEN_E_UNSUPPORTED, "frame %lld has %d x %d pixels, those before %d x %d",
                    (long long)f->taken, f->frame->width, f->frame->height, f->width, f->height);
    if (rgb) {
        status = open_scaler(f, &t);
        if (status)
            return status;
        sws_scale(f->scaler, (const uint8_t *const *)f->frame->data, f->frame->linesize, 0,
                  f->height, f->rgb->data, f->rgb->linesize);
        size_t row = 3 * (size_t)f->width;
        for (int y = 0; y < f->height; y++)
            memcpy(rgb + (size_t)y * row, f->rgb->data[0] + (ptrdiff_t)y * f->rgb->linesize[0],
                   row);
    }
    av_frame_unref(f->frame);
    f->ready = 0;
    f->taken++;
    return 0;
}

void mgi_ffmpeg_close(void *self)
{
    film *f = self;
    av_frame_free(&f->frame);
    av_frame_free(&f->rgb);
    av_packet_free(&f->packet);
    sws_freeContext(f->scaler);
    avcodec_free_context(&f->codec);
    if (f->format)
        f->format->opaque = NULL;
    avformat_close_input(&f->format);
    if (f->io)
        av_freep(&f->io->buffer);
    avio_context_free(&f->io);
    av_free(f);
}

int32_t mgi_ffmpeg_open(const uint8_t *data, size_t size, int64_t pixels_max, void **out,
                        mgi_ffmpeg_info *info, char *error, size_t error_size)
{
    const told t = {error, error_size};
    film *f = av_mallocz(sizeof(*f));
    if (!f)
        return fail_av(&t, AVERROR(ENOMEM), "no memory");
    f->data = data;
    f->size = (int64_t)size;
    int32_t status = open_container(f, &t);
    if (status == 0)
        status = open_decoder(f, pixels_max, &t);
    if (status == 0)
        status = decode(f, &t);
    if (status == 0 && !f->ready)
        status = fail(&t, MGEN_E_CORRUPT, "its video has no frames");
    if (status != 0) {
        mgi_ffmpeg_close(f);
        return status;
    }
    f->width = f->frame->width;
    f->height = f->frame->height;
    tell(f, info);
    *out = f;
    return 0;
}
