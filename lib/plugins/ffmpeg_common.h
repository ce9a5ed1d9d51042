/* SPDX-License-Identifier: MIT
 * What the plug-in's parts share: failures, bytes that the library reads as a file, and what differs between versions of FFmpeg. Tier 6. */
#ifndef MGI_PLUGINS_FFMPEG_COMMON_H
#define MGI_PLUGINS_FFMPEG_COMMON_H

#include "plugins/ffmpeg.h"

#include "moviegen.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <stdbool.h>

/* Added to the level of each message: beyond any level a host may ask for, 56 and less, and below 256, where FFmpeg's levels
 * begin anew, also for what its parsers look at, whose messages have 127 more of their own. FFmpeg's log level and callback are
 * the host's and left alone; our objects are silenced one by one, by log_level_offset. */
enum { MGI_FFMPEG_QUIET = 64 };

/* Where a failure is told, and what FFmpeg's errors are that have no status of their own. */
typedef struct mgi_told {
    char *error;
    size_t size;
    int32_t otherwise;
} mgi_told;

int32_t mgi_told_fail(const mgi_told *t, int32_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* An FFmpeg error while doing `what`. */
int32_t mgi_told_av(const mgi_told *t, int code, const char *what);

/* ---- reading ---- */

/* Let a format's messages go nowhere: its own class has no level to set, so that it is given another, which must stay. */
void mgi_silence(AVFormatContext *format, AVClass *quiet);

/* A container. */
typedef struct mgi_input {
    const mgi_ffmpeg_bytes *bytes;
    int64_t at;
    AVIOContext *io;
    AVFormatContext *format;
    AVClass quiet;
    AVCodecContext *codec;
    int stream; /* the one that is read */
    AVPacket *packet;
    AVFrame *frame;
} mgi_input;

/* Open one of these containers, and a decoder of its first stream of a type; `what` names that in messages. */
int32_t mgi_input_open(mgi_input *in, const mgi_ffmpeg_bytes *bytes, const char *containers,
                       enum AVMediaType type, const char *what, const mgi_told *t);
/* Start the decoder, once its own settings are made. */
int32_t mgi_input_start(mgi_input *in, const char *what, const mgi_told *t);
/* The next packet of the stream, in `packet`; *end: there was none. */
int mgi_input_packet(mgi_input *in, int *end);
void mgi_input_close(mgi_input *in);

/* How frames are meant to be seen: cameras write them as the sensor lies, and say how it was held; and pixels need not be
 * squares. */
typedef struct mgi_shape {
    int width, height; /* with square pixels, before they are turned */
    int across, right,
        upwards; /* columns become rows; what is left is seen right; what is above, below */
} mgi_shape;

/* Frames of one size to RGB8. */
typedef struct mgi_rgb {
    mgi_shape shape;
    bool over_black; /* what is transparent; else opacity is left aside */
    AVFrame *frame;  /* with room for what fast code writes behind its rows */
    AVFrame *deep;   /* of a high dynamic range, before it is mapped to that of a screen */
    int hdr_kind;    /* 0: none */
    struct mgi_hdr *hdr;
    struct SwsContext *scaler;
    enum AVPixelFormat pixels; /* that the scaler takes */
} mgi_rgb;

/* A frame as it is seen, into rows without gaps. */
int32_t mgi_rgb_take(mgi_rgb *r, const AVFrame *frame, uint8_t *rgb, const mgi_told *t);
void mgi_rgb_close(mgi_rgb *r);

/* ---- writing ---- */

/* The sound of a file that is written. */
typedef struct mgi_voice {
    const mgi_ffmpeg_sound *from;
    int64_t length, at; /* samples in all, and taken */
    AVCodecContext *codec;
    AVStream *stream; /* owned by the format */
    AVFrame *frame;
    int size; /* samples of a frame */
} mgi_voice;

/* The container that a name asks for; NULL: none. */
const AVOutputFormat *mgi_container_of(const char *name);
/* Whether it is one of films: pictures beside sound may be covers. */
bool mgi_holds_film(const AVOutputFormat *container);
/* `length` samples are written. */
int32_t mgi_voice_open(mgi_voice *v, AVFormatContext *format, const mgi_ffmpeg_sound *from,
                       int64_t length, const mgi_told *t);
/* Encode up to sample `until`, or a frame further; at the length, all. */
int32_t mgi_voice_write(mgi_voice *v, AVFormatContext *format, AVPacket *packet, int64_t until,
                        const mgi_told *t);
void mgi_voice_close(mgi_voice *v);
/* The packets of it, about. */
int64_t mgi_voice_packets(const mgi_voice *v);
int32_t mgi_ffmpeg_sound_rate(const char *format_name_hint, int32_t with_film, uint32_t *rate,
                              char *error, size_t error_size);

/* Write what an encoder has ready, after it was given something. */
int32_t mgi_drain(AVCodecContext *codec, AVFormatContext *format, AVStream *stream,
                  AVPacket *packet, const mgi_told *t);

/* ---- versions ---- */

#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(59, 24, 100)
#define MGI_CHANNELS(x)        ((x)->ch_layout.nb_channels)
#define MGI_SET_CHANNELS(x, n) av_channel_layout_default(&(x)->ch_layout, (n))
#else
#define MGI_CHANNELS(x) ((x)->channels)
#define MGI_SET_CHANNELS(x, n)                                                                     \
    ((x)->channels = (n), (x)->channel_layout = (uint64_t)av_get_default_channel_layout(n))
#endif

#endif
