/* SPDX-License-Identifier: MIT
 * Sound out of films and of files of sound, piece by piece.
 *
 * Containers are opened as in ffmpeg_read.c, without their parsing. Of those that do not keep packets apart, .flac and .mp3, the
 * packets are found here, by a parser that prints through our decoder, which is silent. */
#include "plugins/ffmpeg_read.h"

#include "plugins/ffmpeg_common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTAINERS "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,ogg,flac,mp3,aac"

enum { SILENCE = 4096 /* samples of it at a time */ };

typedef struct hearing {
    mgi_input in;
    AVCodecParserContext *parser; /* NULL: packets come apart */
    uint8_t *raw;                 /* what the parser has not taken, inside in.packet */
    int raw_size;
    int over, flushed; /* no more packets; the parser and the decoder were told */
    int rate, channels;
    int64_t given, most; /* samples so far; as many as the file says, INT64_MAX: it does not */
    int64_t skip;        /* samples before the first that is meant, still to come */
    int64_t silence;     /* samples that a film lasts before its sound begins, still to come */
    float *samples;
    unsigned room; /* bytes */
    int ready;     /* in.frame holds some */
} hearing;

/* ---- packets ------------------------------------------------------------------------------------ */

static int32_t fail_at(const hearing *h, int code, const mgi_told *t)
{
    char what[64];
    snprintf(what, sizeof(what), "behind sample %lld", (long long)h->given - 1);
    return mgi_told_av(t, code, what);
}

static int send(hearing *h, const AVPacket *packet)
{
    int code = avcodec_send_packet(h->in.codec, packet);
    return code == AVERROR_EOF ? 0 : code;
}

/* What the parser finds in the next bytes, to the decoder. */
static int feed_parsed(hearing *h)
{
    uint8_t *found = NULL;
    int size = 0;
    if (h->raw_size == 0 && !h->over) {
        av_packet_unref(h->in.packet);
        int code = mgi_input_packet(&h->in, &h->over);
        if (code < 0)
            return code;
        h->raw = h->over ? NULL : h->in.packet->data;
        h->raw_size = h->over ? 0 : h->in.packet->size;
    }
    int used = av_parser_parse2(h->parser, h->in.codec, &found, &size, h->raw, h->raw_size,
                                AV_NOPTS_VALUE, AV_NOPTS_VALUE, 0);
    if (used < 0)
        return used;
    if (h->raw)
        h->raw += used;
    h->raw_size -= used;
    if (size > 0) {
        AVPacket *packet = av_packet_alloc();
        int code = packet ? av_new_packet(packet, size) : AVERROR(ENOMEM);
        if (code >= 0) {
            memcpy(packet->data, found, (size_t)size);
            code = send(h, packet);
        }
        av_packet_free(&packet);
        return code;
    }
    if (!h->over)
        return 0;
    h->flushed = 1;
    return send(h, NULL);
}

/* A packet to the decoder, or word that there are no more. */
static int feed(hearing *h)
{
    if (h->parser)
        return feed_parsed(h);
    int code = mgi_input_packet(&h->in, &h->over);
    if (code >= 0)
        code = send(h, h->over ? NULL : h->in.packet);
    h->flushed = h->over;
    av_packet_unref(h->in.packet);
    return code;
}

/* Decode until in.frame holds samples; ready stays 0 at the end. */
static int32_t decode(hearing *h, const mgi_told *t)
{
    while (!h->ready) {
        int code = avcodec_receive_frame(h->in.codec, h->in.frame);
        if (code == AVERROR_EOF)
            return 0;
        if (code == AVERROR(EAGAIN) && !h->flushed) {
            code = feed(h);
            if (code < 0)
                return fail_at(h, code, t);
            continue;
        }
        if (code < 0)
            return fail_at(h, code, t);
        h->ready = h->in.frame->nb_samples > 0;
    }
    return 0;
}

/* ---- samples ------------------------------------------------------------------------------------ */

static float sample_of(const uint8_t *from, enum AVSampleFormat packed, int64_t i)
{
    switch (packed) {
    case AV_SAMPLE_FMT_U8:
        return (float)((int)from[i] - 128) / 128.0f;
    case AV_SAMPLE_FMT_S16:
        return (float)((const int16_t *)from)[i] / 32768.0f;
    case AV_SAMPLE_FMT_S32:
        return (float)((const int32_t *)from)[i] / 2147483648.0f;
    case AV_SAMPLE_FMT_S64:
        return (float)((const int64_t *)from)[i] / 9223372036854775808.0f;
    case AV_SAMPLE_FMT_DBL:
        return (float)((const double *)from)[i];
    default:
        return ((const float *)from)[i];
    }
}

static int32_t make_room(hearing *h, int64_t n, const mgi_told *t)
{
    av_fast_malloc(&h->samples, &h->room, sizeof(float) * (size_t)n * (size_t)h->channels);
    return h->samples ? 0 : mgi_told_av(t, AVERROR(ENOMEM), "no memory for samples");
}

static int32_t give_silence(hearing *h, const float **samples, int64_t *count, const mgi_told *t)
{
    const int64_t n = h->silence < SILENCE ? h->silence : SILENCE;
    int32_t status = make_room(h, n, t);
    if (status)
        return status;
    for (int64_t i = 0; i < n * h->channels; i++)
        h->samples[i] = 0.0f;
    h->silence -= n;
    *samples = h->samples;
    *count = n;
    return 0;
}

int32_t mgi_ffmpeg_hear_next(void *self, const float **samples, int64_t *count, char *error,
                             size_t error_size)
{
    const mgi_told t = {error, error_size, MGEN_E_CORRUPT};
    hearing *h = self;
    *samples = NULL;
    *count = 0;
    if (h->silence)
        return give_silence(h, samples, count, &t);
    if (h->given >= h->most)
        return 0;
    int32_t status = decode(h, &t);
    while (status == 0 && h->ready && h->in.frame->nb_samples <= h->skip) {
        h->skip -= h->in.frame->nb_samples;
        av_frame_unref(h->in.frame);
        h->ready = 0;
        status = decode(h, &t);
    }
    if (status || !h->ready)
        return status;
    const AVFrame *f = h->in.frame;
    if (f->sample_rate != h->rate || MGI_CHANNELS(f) != h->channels)
        return mgi_told_fail(
            &t, MGEN_E_UNSUPPORTED,
            "from sample %lld on it has %d channels of %d samples a second, before "
            "%d of %d",
            (long long)h->given, MGI_CHANNELS(f), f->sample_rate, h->channels, h->rate);
    const int64_t from = h->skip;
    int64_t n = f->nb_samples - from;
    n = n < h->most - h->given ? n : h->most - h->given;
    status = make_room(h, n, &t);
    if (status)
        return status;
    const enum AVSampleFormat packed = av_get_packed_sample_fmt((enum AVSampleFormat)f->format);
    const int planar = av_sample_fmt_is_planar((enum AVSampleFormat)f->format);
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < h->channels; k++)
            h->samples[i * h->channels + k] =
                sample_of(f->extended_data[planar ? k : 0], packed,
                          planar ? from + i : (from + i) * h->channels + k);
    av_frame_unref(h->in.frame);
    h->ready = 0;
    h->skip = 0;
    h->given += n;
    *samples = h->samples;
    *count = n;
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------------ */

/* Encoders work in whole frames: .mp4 and its relatives say how much of the last one is meant. */
static int64_t told_length(const hearing *h)
{
    const AVStream *s = h->in.format->streams[h->in.stream];
    if (!strstr(h->in.format->iformat->name, "mp4") || s->duration <= 0)
        return INT64_MAX;
    return av_rescale_q(s->duration, s->time_base, (AVRational){1, h->rate});
}

/* The delay of encoder and decoder, where a .mp3 tells it; other demuxers and decoders take it away themselves. */
static int64_t told_delay(const hearing *h)
{
    const AVStream *s = h->in.format->streams[h->in.stream];
    if (strcmp(h->in.format->iformat->name, "mp3") || s->start_time <= 0)
        return 0;
    const int64_t delay = av_rescale_q(s->start_time, s->time_base, (AVRational){1, h->rate});
    return delay > 0 ? delay : 0; /* out of range: INT64_MIN */
}

enum {
    REORDERED = 32, /* packets among which the first picture is */
    LATEST = 600,   /* seconds between picture and sound; more is an error of the file */
    NEAR = 100      /* parts of a second by which encoders' delays leave times off, unseen */
};

/* When the first picture of a film is seen, in seconds of *base; AV_NOPTS_VALUE: it does not tell, or is no film. */
static int64_t seen_from(const hearing *h, AVRational *base)
{
    char text[256];
    const mgi_told t = {text, sizeof(text), MGEN_E_CORRUPT};
    mgi_input in = {.bytes = NULL};
    int64_t first = AV_NOPTS_VALUE;
    int end = 0;
    if (mgi_input_open(&in, h->in.bytes, CONTAINERS, AVMEDIA_TYPE_VIDEO, "video", &t) == 0) {
        const AVStream *s = in.format->streams[in.stream];
        const int cover = s->disposition & AV_DISPOSITION_ATTACHED_PIC;
        *base = s->time_base;
        for (int i = 0; i < REORDERED && !cover; i++) {
            if (mgi_input_packet(&in, &end) < 0 || end)
                break;
            const int64_t at = in.packet->pts;
            if (at != AV_NOPTS_VALUE && (first == AV_NOPTS_VALUE || at < first))
                first = at;
        }
    }
    mgi_input_close(&in);
    return first;
}

/* A film's sound is given from its first picture on: what is before that is left out; before a later sound it is silent. */
static void align(hearing *h)
{
    const AVStream *s = h->in.format->streams[h->in.stream];
    const AVRational samples = {1, h->rate};
    AVRational base;
    if (h->parser || h->in.frame->pts == AV_NOPTS_VALUE)
        return;
    const int64_t seen = seen_from(h, &base);
    if (seen == AV_NOPTS_VALUE)
        return;
    const int64_t most = (int64_t)LATEST * h->rate;
    int64_t late;
    if (__builtin_sub_overflow(av_rescale_q(h->in.frame->pts, s->time_base, samples),
                               av_rescale_q(seen, base, samples), &late) ||
        late > most || late < -most || llabs(late) < h->rate / NEAR)
        return;
    h->silence = late > 0 ? late : 0;
    h->skip = late < 0 ? -late : 0;
    if (h->most != INT64_MAX)
        h->most = h->most > h->skip ? h->most - h->skip : 0;
}

void mgi_ffmpeg_hear_close(void *self)
{
    hearing *h = self;
    av_parser_close(h->parser);
    av_freep(&h->samples);
    mgi_input_close(&h->in);
    av_free(h);
}

int32_t mgi_ffmpeg_hear_open(const mgi_ffmpeg_bytes *bytes, void **out, mgi_ffmpeg_hearing *info,
                             char *error, size_t error_size)
{
    const mgi_told t = {error, error_size, MGEN_E_CORRUPT};
    hearing *h = av_mallocz(sizeof(*h));
    if (!h)
        return mgi_told_av(&t, AVERROR(ENOMEM), "no memory");
    h->most = INT64_MAX;
    int32_t status = mgi_input_open(&h->in, bytes, CONTAINERS, AVMEDIA_TYPE_AUDIO, "sound", &t);
    if (status == 0) {
        const char *name = h->in.format->iformat->name;
        status = mgi_input_start(&h->in, "sound", &t);
        if (!strcmp(name, "flac") || !strcmp(name, "mp3") || !strcmp(name, "aac"))
            h->parser = av_parser_init((int)h->in.codec->codec_id);
    }
    if (status == 0)
        status = decode(h, &t);
    if (status == 0 && !h->ready)
        status = mgi_told_fail(&t, MGEN_E_CORRUPT, "its sound has no samples");
    if (status != 0) {
        mgi_ffmpeg_hear_close(h);
        return status;
    }
    h->rate = h->in.frame->sample_rate;
    h->channels = MGI_CHANNELS(h->in.frame);
    h->most = told_length(h);
    h->skip = told_delay(h);
    align(h);
    *info = (mgi_ffmpeg_hearing){(uint32_t)h->rate, (uint32_t)h->channels};
    *out = h;
    return 0;
}
