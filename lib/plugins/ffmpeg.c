/* SPDX-License-Identifier: MIT
 * The FFmpeg plug-in: RGB frames and sound into any container and codec that FFmpeg writes.
 *
 * FFmpeg's log level and callback are the host's: they are left alone. Our objects are silenced one
 * by one, by log_level_offset, and x264 by its own option. */
#include "plugins/ffmpeg.h"

#include "plugins/ffmpeg_common.h"
#include "plugins/ffmpeg_read.h"

#include <libavutil/avstring.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

typedef struct film {
    const char *name;          /* the final name, for messages and for its ending */
    const mgi_ffmpeg_film *of; /* NULL: sound alone */
    int width, height;         /* of the frames given */
    AVRational rate;
    AVFormatContext *format;
    AVClass quiet;
    AVCodecContext *codec;
    AVStream *stream; /* owned by format */
    mgi_voice voice;  /* codec NULL: silent */
    struct SwsContext *scaler;
    AVFrame *padded, *frame; /* RGB with even sides, and what the encoder takes */
    AVPacket *packet;
    mgi_told told;
} film;

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
        return mgi_told_fail(
            &f->told, MGEN_E_UNSUPPORTED,
            "this FFmpeg has no video encoder for the format '%s'; try .mkv or .avi",
            f->format->oformat->name);
    f->codec = avcodec_alloc_context3(encoder);
    f->stream = avformat_new_stream(f->format, NULL);
    if (!f->codec || !f->stream)
        return mgi_told_av(&f->told, AVERROR(ENOMEM), "no memory for the encoder");

    AVCodecContext *c = f->codec;
    c->log_level_offset = MGI_FFMPEG_QUIET;
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
        int32_t status = mgi_told_av(&f->told, code, what);
        return status == MGEN_E_IO ? MGEN_E_UNSUPPORTED : status;
    }
    f->stream->time_base = c->time_base;
    f->stream->avg_frame_rate = f->rate;
    f->stream->r_frame_rate = f->rate;
    f->stream->sample_aspect_ratio = c->sample_aspect_ratio;
    code = avcodec_parameters_from_context(f->stream->codecpar, c);
    return code < 0 ? mgi_told_av(&f->told, code, "the encoder's settings do not fit the container")
                    : 0;
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
    return code < 0 ? mgi_told_av(&f->told, code, "no memory for a frame") : 0;
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
    return f->scaler ? 0
                     : mgi_told_fail(&f->told, MGEN_E_UNSUPPORTED,
                                     "this FFmpeg cannot convert RGB frames");
}

/* Copy frame `index`, its last column and row twice where a side is odd, and convert it. */
static int32_t load_frame(film *f, int64_t index)
{
    int code = av_frame_make_writable(f->frame);
    if (code < 0)
        return mgi_told_av(&f->told, code, "no memory for a frame");
    AVFrame *to = f->padded;
    size_t row = 3 * (size_t)f->width;
    const uint8_t *from = f->of->rgb + (size_t)index * row * (size_t)f->height;
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
        return mgi_told_av(&f->told, code, "the encoder fails");
    return mgi_drain(f->codec, f->format, f->stream, f->packet, &f->told);
}

/* ---- file ---------------------------------------------------------------------------------- */

static int32_t open_file(film *f, const char *path)
{
    const AVOutputFormat *any = av_guess_format(NULL, f->name, NULL);
    const AVOutputFormat *container = mgi_container_of(f->name);
    const char *slash = strrchr(f->name, '/'), *dot = strrchr(slash ? slash : f->name, '.');
    const char *ending = dot ? dot : "";
    if (!any || !(f->of ? mgi_holds_film(any) : any->audio_codec != AV_CODEC_ID_NONE))
        return mgi_told_fail(&f->told, MGEN_E_INVALID,
                             "FFmpeg knows no %s format with the ending '%s'; use %s",
                             f->of ? "film" : "sound", ending,
                             f->of ? ".mp4, .mkv or .webm" : ".wav, .m4a or .flac");
    if (!container)
        return mgi_told_fail(&f->told, MGEN_E_INVALID,
                             "'%s' is no film format; use .png for pictures and .mp4 for films",
                             ending);
    char *url = av_asprintf("file:%s", path); /* a name such as "rtp:x" is a file, too */
    if (!url)
        return mgi_told_av(&f->told, AVERROR(ENOMEM), "no memory");
    int code = avformat_alloc_output_context2(&f->format, container, NULL, url);
    if (code >= 0) {
        mgi_silence(f->format, &f->quiet);
        f->format->flags |= AVFMT_FLAG_BITEXACT;
        code = avio_open(&f->format->pb, url, AVIO_FLAG_WRITE);
    }
    av_free(url);
    return code < 0 ? mgi_told_av(&f->told, code, "the file does not open") : 0;
}

static int32_t write_header(film *f, const mgi_ffmpeg_sound *sound)
{
    AVDictionary *options = NULL;
    int64_t frames = f->of ? f->of->frames : 0;
    /* .mp4, .mov: the index goes first, so that the film plays while it loads. The room for it is
     * an upper limit: at most 45 bytes a frame. (+faststart would move it, but prints that it does.) */
    av_dict_set_int(&options, "moov_size", 8192 + 48 * (frames + mgi_voice_packets(&f->voice)), 0);
    if (sound) /* in which they say, too, where the sound begins and ends */
        av_dict_set_int(&options, "movie_timescale", sound->rate, 0);
    int code = avformat_write_header(f->format, &options);
    av_dict_free(&options);
    if (code < 0)
        return mgi_told_av(&f->told, code, "the container does not take this film");
    return 0;
}

/* Where the sound is when frame `i` begins. */
static int64_t sound_at(const film *f, const mgi_ffmpeg_sound *sound, int64_t i)
{
    return av_rescale(i, (int64_t)sound->rate * f->rate.den, f->rate.num);
}

static int32_t open_parts(film *f, const mgi_ffmpeg_sound *sound)
{
    int32_t status = 0;
    if (f->of)
        status = open_codec(f);
    if (status == 0 && f->of)
        status = open_scaler(f);
    if (status == 0 && sound)
        status = mgi_voice_open(&f->voice, f->format, sound,
                                f->of ? sound_at(f, sound, f->of->frames) : sound->count, &f->told);
    if (status == 0 && !(f->packet = av_packet_alloc()))
        status = mgi_told_av(&f->told, AVERROR(ENOMEM), "no memory for a packet");
    return status;
}

/* Each frame, and the sound as far as it lasts. */
static int32_t write_film(film *f, const mgi_ffmpeg_sound *sound)
{
    int32_t status = 0;
    for (int64_t i = 0; i < f->of->frames && status == 0; i++) {
        status = load_frame(f, i);
        if (status == 0)
            status = encode(f, f->frame);
        if (status == 0 && sound && i + 1 < f->of->frames)
            status = mgi_voice_write(&f->voice, f->format, f->packet, sound_at(f, sound, i + 1),
                                     &f->told);
    }
    return status == 0 ? encode(f, NULL) : status;
}

static int32_t write_all(film *f, const char *path, const mgi_ffmpeg_sound *sound)
{
    int32_t status = open_file(f, path);
    if (status == 0)
        status = open_parts(f, sound);
    if (status == 0)
        status = write_header(f, sound);
    if (status == 0 && f->of)
        status = write_film(f, sound);
    if (status == 0 && sound)
        status = mgi_voice_write(&f->voice, f->format, f->packet, f->voice.length, &f->told);
    if (status == 0) {
        int code = av_write_trailer(f->format);
        if (code < 0)
            status = mgi_told_av(&f->told, code, "finishing the file fails");
    }
    return status;
}

static int32_t check_film(film *f)
{
    const mgi_ffmpeg_film *of = f->of;
    if (of->width < 1 || of->height < 1 || of->frames < 1 || of->width > 65536 ||
        of->height > 65536)
        return mgi_told_fail(&f->told, MGEN_E_INVALID, "%lld x %lld pixels is not a film's size",
                             (long long)of->width, (long long)of->height);
    if (of->fps_num == 0 || of->fps_den == 0 || of->fps_num > INT_MAX || of->fps_den > INT_MAX)
        return mgi_told_fail(&f->told, MGEN_E_INVALID, "%u/%u frames a second is not a rate",
                             (unsigned)of->fps_num, (unsigned)of->fps_den);
    f->width = (int)of->width;
    f->height = (int)of->height;
    av_reduce(&f->rate.num, &f->rate.den, of->fps_num, of->fps_den, INT_MAX);
    return 0;
}

static int32_t write_file(const char *path, const char *format_name_hint, const mgi_ffmpeg_film *of,
                          const mgi_ffmpeg_sound *sound, char *error, size_t error_size)
{
    film f = {.name = format_name_hint, .of = of, .told = {error, error_size, MGEN_E_IO}};
    int32_t status = of ? check_film(&f) : 0;
    if (status == 0)
        status = write_all(&f, path, sound);
    av_packet_free(&f.packet);
    av_frame_free(&f.frame);
    av_frame_free(&f.padded);
    sws_freeContext(f.scaler);
    avcodec_free_context(&f.codec);
    mgi_voice_close(&f.voice);
    if (f.format) {
        int code =
            f.format->pb ? avio_closep(&f.format->pb) : 0; /* flushes: the disk may be full */
        if (code < 0 && status == 0)
            status = mgi_told_av(&f.told, code, "closing the file fails");
        f.format->opaque = NULL;
        avformat_free_context(f.format);
    }
    return status;
}

extern const mgi_ffmpeg_table mgi_ffmpeg_plugin;
MGEN_API const mgi_ffmpeg_table mgi_ffmpeg_plugin = {
    MGI_FFMPEG_PLUGIN_VERSION, write_file,       mgi_ffmpeg_sound_rate,  mgi_ffmpeg_open,
    mgi_ffmpeg_next,           mgi_ffmpeg_close, mgi_ffmpeg_known_of,    mgi_ffmpeg_uneven,
    mgi_ffmpeg_bears_out,      mgi_ffmpeg_jump,  mgi_ffmpeg_hear_open,   mgi_ffmpeg_hear_next,
    mgi_ffmpeg_hear_close,     mgi_ffmpeg_told,  mgi_ffmpeg_read_picture};
