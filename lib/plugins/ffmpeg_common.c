/* SPDX-License-Identifier: MIT
 * What the plug-in's parts share: failures, and bytes that the library reads as a file. */
#include "plugins/ffmpeg_common.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BUFFER = 1 << 16 };

int32_t mgi_told_fail(const mgi_told *t, int32_t status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->error, t->size, format, args);
    va_end(args);
    return status;
}

int32_t mgi_told_av(const mgi_told *t, int code, const char *what)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(code, text, sizeof(text));
    int32_t status = code == AVERROR(ENOMEM)             ? MGEN_E_NO_MEMORY
                     : code == AVERROR(ENOSPC)           ? MGEN_E_NO_SPACE
                     : code == AVERROR(ENOENT)           ? MGEN_E_NOT_FOUND
                     : code == AVERROR(EIO)              ? MGEN_E_IO
                     : code == AVERROR_DECODER_NOT_FOUND ? MGEN_E_UNSUPPORTED
                     : code == AVERROR_PATCHWELCOME      ? MGEN_E_UNSUPPORTED
                     : code == AVERROR(ENOSYS)           ? MGEN_E_UNSUPPORTED
                                                         : t->otherwise;
    return mgi_told_fail(t, status, "%s: %s", what, text);
}

void mgi_silence(AVFormatContext *format, AVClass *quiet)
{
    const int level = MGI_FFMPEG_QUIET;
    *quiet = *format->av_class;
    quiet->log_level_offset_offset = offsetof(AVFormatContext, opaque);
    memcpy(&format->opaque, &level, sizeof(level));
    format->av_class = quiet;
}

/* ---- reading ------------------------------------------------------------------------------------ */

static int read_bytes(void *self, uint8_t *out, int size)
{
    mgi_input *in = self;
    int64_t left = (int64_t)in->bytes->size - in->at;
    int n = left < size ? (int)left : size;
    if (n <= 0)
        return AVERROR_EOF;
    if (in->bytes->read(in->bytes->self, (uint64_t)in->at, out, (size_t)n))
        return AVERROR(EIO);
    in->at += n;
    return n;
}

static int64_t seek(void *self, int64_t offset, int whence)
{
    mgi_input *in = self;
    whence &= ~AVSEEK_FORCE;
    if (whence != SEEK_SET && whence != SEEK_CUR)
        return AVERROR(ENOSYS);
    if (whence == SEEK_CUR && __builtin_add_overflow(offset, in->at, &offset))
        return AVERROR(EINVAL);
    if (offset < 0 || offset > (int64_t)in->bytes->size)
        return AVERROR(EINVAL);
    return in->at = offset;
}

static int32_t open_container(mgi_input *in, const char *containers, const mgi_told *t)
{
    AVDictionary *options = NULL;
    if (in->bytes->size == 0) /* as a download leaves it that never began */
        return mgi_told_fail(t, MGEN_E_UNSUPPORTED, "it is empty");
    uint8_t *buffer = av_malloc(BUFFER);
    in->format = avformat_alloc_context();
    in->io = buffer ? avio_alloc_context(buffer, BUFFER, 0, in, read_bytes, NULL, seek) : NULL;
    if (!in->io)
        av_free(buffer);
    if (!in->io || !in->format)
        return mgi_told_av(t, AVERROR(ENOMEM), "no memory");
    mgi_silence(in->format, &in->quiet);
    in->format->pb = in->io;
    in->format->flags |= AVFMT_FLAG_NOPARSE | AVFMT_FLAG_NOFILLIN;
    av_dict_set(&options, "format_whitelist", containers, 0);
    av_dict_set(&options, "protocol_whitelist", "none", 0);
    int code = avformat_open_input(&in->format, "", NULL, &options);
    av_dict_free(&options);
    if (code == AVERROR_INVALIDDATA ||
        code == AVERROR(EINVAL)) /* no kind it knows, or one not listed */
        return mgi_told_fail(
            t, MGEN_E_UNSUPPORTED,
            "it is none of the kinds that are read (%s), or damaged; of others the "
            "ffmpeg program makes .mkv, .wav or .png",
            containers);
    return code < 0 ? mgi_told_av(t, code, "the file does not open") : 0;
}

/* The best stream of a type; without parsing some say nothing of themselves, by which one could be better than another. */
static int find_stream(AVFormatContext *format, enum AVMediaType type, const AVCodec **decoder)
{
    int best = av_find_best_stream(format, type, -1, -1, decoder, 0);
    for (unsigned i = 0; best == AVERROR_STREAM_NOT_FOUND && i < format->nb_streams; i++)
        if (format->streams[i]->codecpar->codec_type == type) {
            *decoder = avcodec_find_decoder(format->streams[i]->codecpar->codec_id);
            best = (int)i;
        }
    return best;
}

int32_t mgi_input_open(mgi_input *in, const mgi_ffmpeg_bytes *bytes, const char *containers,
                       enum AVMediaType type, const char *what, const mgi_told *t)
{
    const AVCodec *decoder = NULL;
    char text[64];
    in->bytes = bytes;
    int32_t status = open_container(in, containers, t);
    if (status)
        return status;
    in->stream = find_stream(in->format, type, &decoder);
    if (in->stream == AVERROR_STREAM_NOT_FOUND)
        return mgi_told_fail(t, MGEN_E_UNSUPPORTED, "there is no %s in it", what);
    if (in->stream < 0 || !decoder)
        return mgi_told_fail(t, MGEN_E_UNSUPPORTED, "this FFmpeg has no decoder for its %s", what);
    for (unsigned i = 0; i < in->format->nb_streams; i++)
        if ((int)i != in->stream)
            in->format->streams[i]->discard = AVDISCARD_ALL;
    AVCodecContext *c = in->codec = avcodec_alloc_context3(decoder);
    in->packet = av_packet_alloc();
    in->frame = av_frame_alloc();
    if (!c || !in->packet || !in->frame)
        return mgi_told_av(t, AVERROR(ENOMEM), "no memory for the decoder");
    snprintf(text, sizeof(text), "the settings of its %s make no sense", what);
    c->pkt_timebase = in->format->streams[in->stream]->time_base;
    int code = avcodec_parameters_to_context(c, in->format->streams[in->stream]->codecpar);
    return code < 0 ? mgi_told_av(t, code, text) : 0;
}

int32_t mgi_input_start(mgi_input *in, const char *what, const mgi_told *t)
{
    char text[64];
    AVCodecContext *c = in->codec;
    c->log_level_offset = MGI_FFMPEG_QUIET;
    c->thread_count = 1;
    c->err_recognition |= AV_EF_EXPLODE; /* what is damaged is not patched up */
    snprintf(text, sizeof(text), "the decoder of its %s does not start", what);
    int code = avcodec_open2(c, c->codec, NULL);
    return code < 0 ? mgi_told_av(t, code, text) : 0;
}

int mgi_input_packet(mgi_input *in, int *end)
{
    int code;
    do {
        av_packet_unref(in->packet);
        code = av_read_frame(in->format, in->packet);
    } while (code >= 0 && in->packet->stream_index != in->stream);
    *end = code == AVERROR_EOF;
    return *end ? 0 : code;
}

void mgi_input_close(mgi_input *in)
{
    av_frame_free(&in->frame);
    av_packet_free(&in->packet);
    avcodec_free_context(&in->codec);
    if (in->format)
        in->format->opaque = NULL;
    avformat_close_input(&in->format);
    if (in->io)
        av_freep(&in->io->buffer);
    avio_context_free(&in->io);
}

/* ---- writing ------------------------------------------------------------------------------------ */

const AVOutputFormat *mgi_container_of(const char *name)
{
    const AVOutputFormat *container = av_guess_format(NULL, name, NULL);
    return container && !(container->flags & (AVFMT_NOFILE | AVFMT_NEEDNUMBER)) ? container : NULL;
}

bool mgi_holds_film(const AVOutputFormat *container)
{
    const enum AVCodecID video = container->video_codec;
    const bool cover = video == AV_CODEC_ID_PNG || video == AV_CODEC_ID_MJPEG;
    return video != AV_CODEC_ID_NONE && !(cover && container->audio_codec != AV_CODEC_ID_NONE);
}

int32_t mgi_drain(AVCodecContext *codec, AVFormatContext *format, AVStream *stream,
                  AVPacket *packet, const mgi_told *t)
{
    int code;
    while ((code = avcodec_receive_packet(codec, packet)) >= 0) {
        if (packet->duration == 0 && codec->codec_type == AVMEDIA_TYPE_VIDEO)
            packet->duration = 1;
        av_packet_rescale_ts(packet, codec->time_base, stream->time_base);
        packet->stream_index = stream->index;
        code = av_interleaved_write_frame(format, packet);
        if (code < 0)
            return mgi_told_av(t, code, "writing fails");
    }
    return code == AVERROR(EAGAIN) || code == AVERROR_EOF
               ? 0
               : mgi_told_av(t, code, "the encoder fails");
}
