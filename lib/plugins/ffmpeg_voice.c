/* SPDX-License-Identifier: MIT
 * The sound of a file that is written. */
#include "plugins/ffmpeg_common.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { FRAME = 1024 /* samples of a frame, where the encoder takes any number */ };
enum { BITS_A_CHANNEL = 96000 /* a second */ };

/* ---- encoders ----------------------------------------------------------------------------------- */

/* One that is no experiment. */
static const AVCodec *encoder_of(enum AVCodecID id)
{
    const AVCodec *encoder = avcodec_find_encoder(id);
    return encoder && !(encoder->capabilities & AV_CODEC_CAP_EXPERIMENTAL) ? encoder : NULL;
}

/* The container's own codec; else one of those that most of them hold. */
static const AVCodec *choose_encoder(const AVOutputFormat *container)
{
    static const enum AVCodecID others[] = {AV_CODEC_ID_AAC, AV_CODEC_ID_OPUS, AV_CODEC_ID_FLAC,
                                            AV_CODEC_ID_PCM_S16LE};
    const AVCodec *encoder = encoder_of(container->audio_codec);
    for (size_t i = 0; !encoder && i < sizeof(others) / sizeof(others[0]); i++)
        if (avformat_query_codec(container, others[i], FF_COMPLIANCE_NORMAL) == 1)
            encoder = encoder_of(others[i]);
    return encoder;
}

/* The rates an encoder takes, ended by 0, and its sample formats, ended by NONE; NULL = any. */
static const int *rates_of(const AVCodec *encoder)
{
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(61, 13, 100)
    const void *list = NULL;
    if (avcodec_get_supported_config(NULL, encoder, AV_CODEC_CONFIG_SAMPLE_RATE, 0, &list, NULL) <
        0)
        return NULL;
    return list;
#else
    return encoder->supported_samplerates;
#endif
}

static const enum AVSampleFormat *formats_of(const AVCodec *encoder)
{
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(61, 13, 100)
    const void *list = NULL;
    if (avcodec_get_supported_config(NULL, encoder, AV_CODEC_CONFIG_SAMPLE_FORMAT, 0, &list, NULL) <
        0)
        return NULL;
    return list;
#else
    return encoder->sample_fmts;
#endif
}

static enum AVSampleFormat choose_format(const AVCodec *encoder)
{
    static const enum AVSampleFormat wanted[] = {AV_SAMPLE_FMT_FLTP, AV_SAMPLE_FMT_FLT,
                                                 AV_SAMPLE_FMT_S16P, AV_SAMPLE_FMT_S16,
                                                 AV_SAMPLE_FMT_S32P, AV_SAMPLE_FMT_S32};
    const enum AVSampleFormat *list = formats_of(encoder);
    for (size_t i = 0; list && i < sizeof(wanted) / sizeof(wanted[0]); i++)
        for (int k = 0; list[k] != AV_SAMPLE_FMT_NONE; k++)
            if (list[k] == wanted[i])
                return wanted[i];
    return list ? AV_SAMPLE_FMT_NONE : AV_SAMPLE_FMT_S16;
}

static int32_t no_encoder(const mgi_told *t, const AVOutputFormat *container)
{
    return mgi_told_fail(t, MGEN_E_UNSUPPORTED,
                         "this FFmpeg has no sound encoder for the format '%s'; try .wav, .m4a or "
                         ".flac",
                         container->name);
}

int32_t mgi_ffmpeg_sound_rate(const char *format_name_hint, int32_t with_film, uint32_t *rate,
                              char *error, size_t error_size)
{
    const mgi_told t = {error, error_size, MGEN_E_IO};
    const AVOutputFormat *container = mgi_container_of(format_name_hint);
    const char *dot = strrchr(format_name_hint, '.');
    if (!container || container->audio_codec == AV_CODEC_ID_NONE ||
        (with_film && !mgi_holds_film(container)))
        return mgi_told_fail(&t, MGEN_E_INVALID,
                             "FFmpeg knows no format of %s with the ending '%s'; use %s",
                             with_film ? "films with sound" : "sound", dot ? dot : "",
                             with_film ? ".mp4, .mkv or .webm" : ".wav, .m4a or .flac");
    const AVCodec *encoder = choose_encoder(container);
    if (!encoder)
        return no_encoder(&t, container);
    const int *list = rates_of(encoder);
    int64_t best = 0, asked = *rate;
    for (int i = 0; list && list[i]; i++) { /* the lowest that loses nothing, else the highest */
        const int64_t r = list[i];
        if (!best || (best < asked ? r > best : r >= asked && r < best))
            best = r;
    }
    *rate = best ? (uint32_t)best : *rate;
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------------ */

static int32_t make_frame(mgi_voice *v, const mgi_told *t)
{
    AVCodecContext *c = v->codec;
    v->size = c->frame_size > 0 ? c->frame_size : FRAME;
    v->frame = av_frame_alloc();
    if (!v->frame)
        return mgi_told_av(t, AVERROR(ENOMEM), "no memory for a frame of sound");
    v->frame->format = c->sample_fmt;
    v->frame->sample_rate = c->sample_rate;
    v->frame->nb_samples = v->size;
    MGI_SET_CHANNELS(v->frame, (int)v->from->channels);
    int code = av_frame_get_buffer(v->frame, 0);
    return code < 0 ? mgi_told_av(t, code, "no memory for a frame of sound") : 0;
}

int32_t mgi_voice_open(mgi_voice *v, AVFormatContext *format, const mgi_ffmpeg_sound *from,
                       int64_t length, const mgi_told *t)
{
    const AVCodec *encoder = choose_encoder(format->oformat);
    if (!encoder)
        return no_encoder(t, format->oformat);
    v->from = from;
    v->length = length > 0 ? length : 1;
    AVCodecContext *c = v->codec = avcodec_alloc_context3(encoder);
    v->stream = avformat_new_stream(format, NULL);
    if (!c || !v->stream)
        return mgi_told_av(t, AVERROR(ENOMEM), "no memory for the encoder of sound");
    c->log_level_offset = MGI_FFMPEG_QUIET;
    c->thread_count = 1;
    c->sample_fmt = choose_format(encoder);
    c->sample_rate = (int)from->rate;
    MGI_SET_CHANNELS(c, (int)from->channels);
    c->time_base = (AVRational){1, c->sample_rate};
    c->flags |= AV_CODEC_FLAG_BITEXACT; /* the same samples give the same file */
    if (strcmp(encoder->name, "libvorbis") == 0) {
        c->flags |= AV_CODEC_FLAG_QSCALE;
        c->global_quality = 6 * FF_QP2LAMBDA;
    } else {
        c->bit_rate = (int64_t)BITS_A_CHANNEL * from->channels;
    }
    if (format->oformat->flags & AVFMT_GLOBALHEADER)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    int code = avcodec_open2(c, encoder, NULL);
    if (code < 0) {
        char what[160];
        snprintf(what, sizeof(what), "the encoder %s refuses %u channels of %u samples a second",
                 encoder->name, from->channels, from->rate);
        int32_t status = mgi_told_av(t, code, what);
        return status == t->otherwise ? MGEN_E_UNSUPPORTED : status;
    }
    v->stream->time_base = c->time_base;
    code = avcodec_parameters_from_context(v->stream->codecpar, c);
    if (code < 0)
        return mgi_told_av(t, code, "the settings of the sound's encoder do not fit the container");
    return make_frame(v, t);
}

/* ---- samples ------------------------------------------------------------------------------------ */

static int32_t clipped(float x, double scale)
{
    double y = rint((double)x * scale);
    return (int32_t)(y < -scale ? -scale : y > scale - 1 ? scale - 1 : y);
}

/* Value `i` of the frame's first plane or, of planar formats, of plane `plane`. */
static void put(const mgi_voice *v, int plane, int64_t i, float x)
{
    uint8_t *to = v->frame->extended_data[plane];
    switch (av_get_packed_sample_fmt(v->codec->sample_fmt)) {
    case AV_SAMPLE_FMT_FLT:
        ((float *)to)[i] = x;
        break;
    case AV_SAMPLE_FMT_S32:
        ((int32_t *)to)[i] = clipped(x, 2147483648.0);
        break;
    default:
        ((int16_t *)to)[i] = (int16_t)clipped(x, 32768.0);
    }
}

/* The frame from sample `at` on; behind the last one there is silence. */
static int32_t load_frame(mgi_voice *v, const mgi_told *t)
{
    const int channels = (int)v->from->channels;
    const bool planar = av_sample_fmt_is_planar(v->codec->sample_fmt) != 0;
    const int caps = v->codec->codec->capabilities;
    const int64_t left = v->length - v->at;
    bool may_be_short = caps & (AV_CODEC_CAP_SMALL_LAST_FRAME | AV_CODEC_CAP_VARIABLE_FRAME_SIZE);
    v->frame->nb_samples = v->size;
    int code = av_frame_make_writable(v->frame);
    if (code < 0)
        return mgi_told_av(t, code, "no memory for a frame of sound");
    if (left < v->size && may_be_short)
        v->frame->nb_samples = (int)left;
    for (int i = 0; i < v->frame->nb_samples; i++)
        for (int k = 0; k < channels; k++) {
            const int64_t at = v->at + i;
            float x = i < left && at < v->from->count ? v->from->samples[at * channels + k] : 0.0f;
            put(v, planar ? k : 0, planar ? i : (int64_t)i * channels + k, x);
        }
    v->frame->pts = v->at;
    return 0;
}

int32_t mgi_voice_write(mgi_voice *v, AVFormatContext *format, AVPacket *packet, int64_t until,
                        const mgi_told *t)
{
    const bool all = until >= v->length;
    while (v->at < v->length && v->at < until) {
        int32_t status = load_frame(v, t);
        if (status)
            return status;
        int code = avcodec_send_frame(v->codec, v->frame);
        if (code < 0)
            return mgi_told_av(t, code, "the encoder of sound fails");
        v->at += v->size;
        status = mgi_drain(v->codec, format, v->stream, packet, t);
        if (status)
            return status;
    }
    if (!all)
        return 0;
    int code = avcodec_send_frame(v->codec, NULL);
    if (code < 0)
        return mgi_told_av(t, code, "the encoder of sound fails");
    return mgi_drain(v->codec, format, v->stream, packet, t);
}

void mgi_voice_close(mgi_voice *v)
{
    av_frame_free(&v->frame);
    avcodec_free_context(&v->codec);
}

int64_t mgi_voice_packets(const mgi_voice *v)
{
    return v->codec ? v->length / v->size + 4 : 0;
}
