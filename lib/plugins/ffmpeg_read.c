/* SPDX-License-Identifier: MIT
 * Frames out of films, one after the other.
 *
 * Only containers that keep frames apart are opened, and without probing and parsing: those parts of
 * FFmpeg print what they find, through objects that nobody outside can silence. For the same reason the file
 * does not tell its size. Bytes come from memory, so that no other file and no network is reached from within
 * a film. One thread: the host decides on threads. */
#include "plugins/ffmpeg_read.h"

#include "plugins/ffmpeg_common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTAINERS "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif"

enum { SIDE_MAX = 1 << 20 /* longer ones are refused anyway */ };

/* How frames stand in time, beside even ones of the rate that is taken for the film's. */
typedef struct standing {
    double each;         /* frames to a unit of time; 0: not known, or given up */
    bool timed;          /* a frame had a time */
    int64_t first, last; /* when the first and the last one stand */
    double early, late;  /* by so many frames others are before and behind even ones */
} standing;

typedef struct film {
    mgi_input in;
    mgi_rgb rgb;
    AVRational rate; /* told, or by the times of its first frames; 0/0: neither */
    int coded_width, coded_height;
    int64_t taken;   /* frames given out */
    int ready, over; /* in.frame holds one; the decoder was told of the end */
    mgi_ffmpeg_known known;
    bool unsure; /* a packet holds what frames behind a later keyframe may need */
    bool jumped; /* else it is decoded from its beginning */
    standing stands;
} film;

#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
#define DURATION duration
#else
#define DURATION pkt_duration
#endif

static int is_rate(AVRational rate)
{
    return rate.num > 0 && rate.den > 0;
}

/* 0/0: the container tells none. */
static AVRational told_rate(const AVStream *s)
{
    const AVRational rate = is_rate(s->avg_frame_rate) ? s->avg_frame_rate : s->r_frame_rate;
    return is_rate(rate) ? rate : (AVRational){0, 0};
}

/* Where no times tell, as of .gif, that of the first frame, which is decoded. */
static AVRational rate_of(const film *f, const AVStream *s)
{
    AVRational rate = f->rate;
    if (!is_rate(rate) && f->in.frame->DURATION > 0 && f->in.frame->DURATION <= INT32_MAX) {
        rate = av_mul_q((AVRational){(int)f->in.frame->DURATION, 1}, s->time_base);
        rate = (AVRational){rate.den, rate.num};
    }
    return is_rate(rate) ? rate : (AVRational){25, 1};
}

/* ---- shape -------------------------------------------------------------------------------------- */

/* The stream's display matrix; NULL: it has none. */
static const int32_t *matrix_of(const AVStream *s)
{
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 102)
    const AVPacketSideData *data = av_packet_side_data_get(
        s->codecpar->coded_side_data, s->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return data && data->size >= 9 * sizeof(int32_t) ? (const int32_t *)data->data : NULL;
#else
    size_t size = 0;
    const uint8_t *data = av_stream_get_side_data(s, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return data && size >= 9 * sizeof(int32_t) ? (const int32_t *)data : NULL;
#endif
}

/* By the next quarter of a turn; cameras tell no other. */
static void turn(mgi_shape *out, const int32_t m[9])
{
    const int64_t along = llabs((int64_t)m[0]) + llabs((int64_t)m[4]);
    out->across = llabs((int64_t)m[1]) + llabs((int64_t)m[3]) > along;
    out->right = (out->across ? m[3] : m[0]) < 0;
    out->upwards = (out->across ? m[1] : m[4]) < 0;
}

/* How frames of that size are seen; frame NULL: as far as the container tells. Pixels are made squares by making more of them; ratios
 * that are next to 1 come of rounding, far ones of errors. */
static mgi_shape shape_of(const film *f, AVFrame *frame, int width, int height)
{
    AVStream *s = f->in.format->streams[f->in.stream];
    const AVRational aspect = av_guess_sample_aspect_ratio(f->in.format, s, frame);
    const int sane = is_rate(aspect) && width <= SIDE_MAX && height <= SIDE_MAX;
    const double ratio = sane ? av_q2d(aspect) : 1.0;
    const int32_t *matrix = matrix_of(s);
    mgi_shape out = {.width = width, .height = height};
    if (ratio > 1.01 && ratio <= 4.0)
        out.width = (int)lrint(width * ratio);
    else if (ratio < 0.99 && ratio >= 0.25)
        out.height = (int)lrint(height / ratio);
    if (matrix)
        turn(&out, matrix);
    return out;
}

static void tell(const film *f, mgi_ffmpeg_info *info)
{
    const AVStream *s = f->in.format->streams[f->in.stream];
    const AVRational rate = rate_of(f, s);
    *info =
        (mgi_ffmpeg_info){.width = f->rgb.shape.across ? f->rgb.shape.height : f->rgb.shape.width,
                          .height = f->rgb.shape.across ? f->rgb.shape.width : f->rgb.shape.height,
                          .frames = s->nb_frames > 0 ? s->nb_frames : 0,
                          .fps_num = (uint32_t)rate.num,
                          .fps_den = (uint32_t)rate.den};
}

/* As many frames as its length has room for, of a rate that is known; else 0. */
static int64_t frames_by_length(const film *f)
{
    const AVFormatContext *format = f->in.format;
    const AVStream *s = format->streams[f->in.stream];
    const AVRational rate = f->rate;
    int64_t frames = 0;
    if (rate.num > 0 && s->duration > 0 && s->time_base.num > 0 && s->time_base.den > 0)
        frames = av_rescale_q_rnd(s->duration, s->time_base, av_inv_q(rate), AV_ROUND_NEAR_INF);
    else if (rate.num > 0 && format->duration > 0)
        frames =
            av_rescale_q_rnd(format->duration, AV_TIME_BASE_Q, av_inv_q(rate), AV_ROUND_NEAR_INF);
    return frames > 0 ? frames : 0;
}

/* ---- frames ------------------------------------------------------------------------------------- */

/* Times that can be added up; AV_NOPTS_VALUE is none. */
static bool is_time(int64_t time)
{
    const int64_t most = (int64_t)1 << 48;
    return time > -most && time < most;
}

/* When frame `i` stands, if the first one stands at `base`, a time; else AV_NOPTS_VALUE. */
static int64_t time_of(const film *f, int64_t base, int64_t i)
{
    const AVStream *s = f->in.format->streams[f->in.stream];
    const int64_t far = av_rescale_q_rnd(i, av_inv_q(f->rate), s->time_base, AV_ROUND_NEAR_INF);
    return is_time(base) && is_time(far) ? base + far : AV_NOPTS_VALUE;
}

static double frames_a_unit(const film *f, const mgi_ffmpeg_info *info)
{
    const AVRational unit = f->in.format->streams[f->in.stream]->time_base;
    return is_rate(unit) ? av_q2d(unit) * info->fps_num / info->fps_den : 0.0;
}

/* Frame i. Times that do not rise are those of packets, in another order than frames, as .avi has them: they tell nothing. */
static void stand(standing *s, int64_t i, int64_t time)
{
    if (!is_time(time) || s->each <= 0.0)
        return;
    if (s->timed && time <= s->last) {
        *s = (standing){.each = 0.0};
        return;
    }
    s->first = s->timed ? s->first : time;
    s->last = time;
    const double off = (double)(time - s->first) * s->each - (double)i;
    s->early = s->timed ? fmin(s->early, off) : off;
    s->late = s->timed ? fmax(s->late, off) : off;
    s->timed = true;
}

static bool is_uneven(const standing *s)
{
    const double rounding = 1e-6; /* of sums that are even */
    return s->timed && s->late - s->early > 1.0 + rounding;
}

/* Which frame is nearest to a time, if the first one stands at `base`. */
static int64_t number_of(const film *f, int64_t base, int64_t time)
{
    const AVStream *s = f->in.format->streams[f->in.stream];
    return av_rescale_q_rnd(time - base, s->time_base, av_inv_q(f->rate), AV_ROUND_NEAR_INF);
}

/* Frames that can be told by their times: of a rate, which the first one agrees with. */
static bool can_know(const film *f)
{
    const AVStream *s = f->in.format->streams[f->in.stream];
    return is_rate(f->rate) && is_rate(s->time_base);
}

/* What a packet is. */
typedef struct looked {
    bool fresh; /* decoding may begin at it as if nothing was before, by its own bytes */
    bool
        unsure; /* what it holds forbids that later on; or that is not known of its kind, or not tested */
    bool shown; /* a frame comes of it */
} looked;

/* The units of an H.264 packet as .mp4 and .mkv have them, behind their lengths: whether it begins with an IDR picture, before
 * which no frame is needed; and whether there are settings in it, which later frames might go by. Other forms are unsure. */
static void look_h264(const AVCodecContext *c, const AVPacket *p, looked *out)
{
    const bool lengths = c->extradata_size >= 7 && c->extradata[0] == 1;
    const int64_t bytes = lengths ? (c->extradata[4] & 3) + 1 : 0;
    out->unsure = !lengths;
    for (int64_t at = 0; lengths && at < p->size;) {
        int64_t size = 0;
        for (int64_t i = 0; i < bytes && at + i < p->size; i++)
            size = size << 8 | p->data[at + i];
        at += bytes;
        if (size < 1 || size > p->size - at) {
            out->unsure = true;
            return;
        }
        const int kind = p->data[at] & 31;
        if (kind == 7 || kind == 8 || kind == 13 || kind == 15)
            out->unsure = true;
        if (kind >= 1 && kind <= 5 && !out->shown) {
            out->shown = true;
            out->fresh = kind == 5;
        }
        at += size;
    }
}

/* Of profiles 0 to 2: a key frame that is not one shown again. Frames that are not shown come before one that is, in a packet with
 * an index behind them. */
static void look_vp9(const AVPacket *p, looked *out)
{
    const uint8_t head = p->size > 0 ? p->data[0] : 0;
    if ((head >> 6) != 2 || (head & 0x30) == 0x30)
        return;
    out->fresh = !(head & 0x0C);
    out->shown = (head & 0x0A) || (p->data[p->size - 1] & 0xE0) == 0xC0;
}

static looked look_at_packet(const film *f)
{
    const AVCodecContext *c = f->in.codec;
    const AVPacket *p = f->in.packet;
    looked out = {.fresh = false};
    if (c->codec_id == AV_CODEC_ID_H264)
        look_h264(c, p, &out);
    else if (c->codec_id == AV_CODEC_ID_VP9)
        look_vp9(p, &out);
    else
        out.unsure = out.shown = true;
    if (av_packet_get_side_data(p, AV_PKT_DATA_NEW_EXTRADATA, NULL) ||
        av_packet_get_side_data(p, AV_PKT_DATA_PARAM_CHANGE, NULL))
        out.unsure = true;
    out.fresh = out.fresh && (p->flags & AV_PKT_FLAG_KEY);
    return out;
}

enum {
    BEHIND = 32, /* packets by which a frame may be written later than it is seen */
    TIMES_MAX = 1 << 16
};

static int by_time(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* When the first `count` frames stand, as packets tell: how many do; none if not all of them do. */
static int64_t first_times(film *f, int64_t count, int64_t *times)
{
    const AVPacket *p = f->in.packet;
    int64_t n = 0;
    int over = 0;
    while (n < count + BEHIND && mgi_input_packet(&f->in, &over) >= 0 && !over) {
        if ((p->flags & AV_PKT_FLAG_DISCARD) || !look_at_packet(f).shown)
            continue;
        if (!is_time(p->pts))
            return 0;
        times[n++] = p->pts;
    }
    qsort(times, (size_t)n, sizeof *times, by_time);
    return n < count ? n : count;
}

/* The rate of `n` frames at these times, which may be rounded to whole units: one that films have, if it gives them. */
static AVRational rate_of_times(AVRational unit, const int64_t *times, int64_t n)
{
    static const int usual[] = {24, 25, 30, 50, 60, 48, 16, 15, 12, 10, 20, 100, 120};
    enum { USUAL = sizeof usual / sizeof usual[0] };
    AVRational best = {0, 0};
    double least = 1.0; /* units: half of one at either end */
    if (n < 2 || times[n - 1] <= times[0] || !is_rate(unit))
        return best;
    const double span = (double)(times[n - 1] - times[0]), second = 1.0 / av_q2d(unit);
    for (int i = 0; i < 2 * USUAL && !(i == USUAL && is_rate(best)); i++) {
        const AVRational rate =
            i < USUAL ? (AVRational){usual[i], 1} : (AVRational){1000 * usual[i - USUAL], 1001};
        const double off = fabs((double)(n - 1) * second / av_q2d(rate) - span);
        if (off > least)
            continue;
        least = off;
        best = rate;
    }
    if (!is_rate(best) && times[n - 1] - times[0] <= INT64_MAX / unit.num)
        av_reduce(&best.num, &best.den, (n - 1) * unit.den, (times[n - 1] - times[0]) * unit.num,
                  1 << 24);
    return best;
}

/* A container may tell no rate, as .webm that a browser wrote. */
static void settle_rate(film *f, const mgi_ffmpeg_bytes *bytes)
{
    enum { FRAMES = 256 };
    int64_t times[FRAMES + BEHIND];
    char error[256];
    const mgi_told t = {error, sizeof(error), MGEN_E_CORRUPT};
    const AVStream *s = f->in.format->streams[f->in.stream];
    film other = {.taken = 0};
    f->rate = told_rate(s);
    if (is_rate(f->rate))
        return;
    if (mgi_input_open(&other.in, bytes, CONTAINERS, AVMEDIA_TYPE_VIDEO, "video", &t) == 0)
        f->rate = rate_of_times(s->time_base, times, first_times(&other, FRAMES, times));
    mgi_input_close(&other.in);
}

/* Whether the first `count` frames are uneven, by their packets. */
static bool stand_uneven(film *f, int64_t count, const mgi_ffmpeg_info *info)
{
    standing s = {.each = frames_a_unit(f, info)};
    count = count < TIMES_MAX ? count : TIMES_MAX;
    int64_t *times = count > 1 ? av_malloc_array((size_t)(count + BEHIND), sizeof *times) : NULL;
    const int64_t n = times ? first_times(f, count, times) : 0;
    for (int64_t i = 0; i < n; i++)
        stand(&s, i, times[i]);
    av_free(times);
    return is_uneven(&s);
}

int32_t mgi_ffmpeg_told(const mgi_ffmpeg_bytes *bytes, int64_t even, mgi_ffmpeg_info *info,
                        char *error, size_t error_size)
{
    const mgi_told t = {error, error_size, MGEN_E_CORRUPT};
    film f = {.taken = 0};
    int32_t status = mgi_input_open(&f.in, bytes, CONTAINERS, AVMEDIA_TYPE_VIDEO, "video", &t);
    if (status == 0) {
        const AVCodecParameters *p = f.in.format->streams[f.in.stream]->codecpar;
        f.rgb.shape = shape_of(&f, NULL, p->width, p->height);
        settle_rate(&f, bytes);
        tell(&f, info);
        if (info->frames == 0)
            info->frames = frames_by_length(&f);
        info->uneven = stand_uneven(&f, even, info);
    }
    mgi_input_close(&f.in);
    return status;
}

/* Whether the index behind the frames of a packet of VP9, if there is one, tells what is there. Of one that does not FFmpeg prints,
 * through an object that nobody can silence, and takes nothing of the packet. */
static bool index_fits(const AVPacket *p)
{
    const int mark = p->size > 0 ? p->data[p->size - 1] : 0, frames = 1 + (mark & 7),
              bytes = 1 + (mark >> 3 & 3);
    int64_t left = p->size - 2 - frames * bytes;
    if ((mark & 0xE0) != 0xC0 || left < 0 || p->data[left] != mark)
        return true;
    const uint8_t *at = p->data + left + 1;
    for (int i = 0; i < frames; i++) {
        int64_t size = 0;
        for (int k = 0; k < bytes; k++)
            size |= (int64_t)*at++ << 8 * k;
        left -= size;
        if (size < 1 || left < 0)
            return false;
    }
    return true;
}

/* The packet, or word that there are no more, to the decoder. */
static int send(film *f)
{
    if (!f->over && f->in.codec->codec_id == AV_CODEC_ID_VP9 && !index_fits(f->in.packet))
        return AVERROR_INVALIDDATA;
    return avcodec_send_packet(f->in.codec, f->over ? NULL : f->in.packet);
}

/* A packet of our stream to the decoder, or word that there are no more. */
static int32_t feed(film *f, const mgi_told *t)
{
    char what[64];
    int code = mgi_input_packet(&f->in, &f->over);
    snprintf(what, sizeof(what), "behind frame %lld", (long long)f->taken - 1);
    if (code < 0)
        return mgi_told_av(t, code, what);
    if (!f->over && !f->unsure)
        f->unsure = look_at_packet(f).unsure;
    code = send(f);
    av_packet_unref(f->in.packet);
    return code < 0 ? mgi_told_av(t, code, what) : 0;
}

/* Decode until `frame` holds the next one; ready stays 0 at the end. */
static int32_t decode(film *f, const mgi_told *t)
{
    while (!f->ready) {
        int code = avcodec_receive_frame(f->in.codec, f->in.frame);
        if (code == AVERROR_EOF)
            return 0;
        if (code == AVERROR(EAGAIN) && !f->over) {
            int32_t status = feed(f, t);
            if (status)
                return status;
            continue;
        }
        if (code < 0)
            return mgi_told_av(t, code, "its video is damaged");
        f->ready = 1;
    }
    return 0;
}

/* Whether the next frame is as it was known before a jump; or, without one, one more that is known. */
static bool as_known(film *f)
{
    const int64_t pts = f->in.frame->pts;
    if (f->jumped)
        return f->ready && f->taken < f->known.frames && !f->unsure && is_time(pts) &&
               pts == time_of(f, f->known.base, f->taken);
    if (!f->ready || !is_time(pts) || f->known.frames != f->taken || f->unsure || !can_know(f))
        return true;
    if (f->taken == 0)
        f->known.base = pts;
    f->known.frames += pts == time_of(f, f->known.base, f->taken);
    return true;
}

static int32_t next_frame(film *f, uint8_t *rgb, int32_t *end, const mgi_told *t)
{
    int32_t status = decode(f, t);
    *end = status == 0 && !f->ready;
    if (status == 0 && !as_known(f))
        return mgi_told_fail(t, MGEN_E_AGAIN, "frame %lld is not where it was",
                             (long long)f->taken);
    if (status || *end)
        return status;
    if (f->in.frame->width != f->coded_width || f->in.frame->height != f->coded_height)
        return mgi_told_fail(t, MGEN_E_UNSUPPORTED,
                             "frame %lld has %d x %d pixels, those before %d x %d",
                             (long long)f->taken, f->in.frame->width, f->in.frame->height,
                             f->coded_width, f->coded_height);
    if (rgb) {
        status = mgi_rgb_take(&f->rgb, f->in.frame, rgb, t);
        if (status)
            return status;
    }
    if (!f->jumped)
        stand(&f->stands, f->taken, f->in.frame->pts);
    av_frame_unref(f->in.frame);
    f->ready = 0;
    f->taken++;
    return 0;
}

int32_t mgi_ffmpeg_next(void *self, uint8_t *rgb, int32_t *end, char *error, size_t error_size)
{
    const mgi_told t = {error, error_size, MGEN_E_CORRUPT};
    film *f = self;
    int32_t status = next_frame(f, rgb, end, &t);
    /* What fails behind a jump is said by decoding from the beginning, too, or it is none. */
    return status && f->jumped && status != MGEN_E_NO_MEMORY ? MGEN_E_AGAIN : status;
}

void mgi_ffmpeg_known_of(void *self, mgi_ffmpeg_known *known)
{
    const film *f = self;
    *known = f->jumped ? (mgi_ffmpeg_known){0, 0} : f->known;
}

int32_t mgi_ffmpeg_uneven(void *self)
{
    const film *f = self;
    return is_uneven(&f->stands);
}

/* The packet of a keyframe at or before `frame`, in in.packet, and its number; false: none. Containers seek by other times than
 * those at which frames are seen. */
static bool find_key(film *f, const mgi_ffmpeg_known *known, int64_t frame, int64_t *number)
{
    enum { TRIES = 4 };
    int64_t time = time_of(f, known->base, frame);
    for (int i = 0; i < TRIES; i++) {
        const AVPacket *p = f->in.packet;
        int over;
        if (!is_time(time) ||
            av_seek_frame(f->in.format, f->in.stream, time, AVSEEK_FLAG_BACKWARD) < 0 ||
            mgi_input_packet(&f->in, &over) < 0 || over || !is_time(p->pts))
            return false;
        const looked look = look_at_packet(f);
        *number = number_of(f, known->base, p->pts);
        if (!look.fresh || look.unsure || *number < 1)
            return false;
        if (*number <= frame)
            return p->pts == time_of(f, known->base, *number);
        time = is_time(p->dts) && p->dts < time ? p->dts - 1 : time - 1;
    }
    return false;
}

/* Packet by packet, in the order of decoding, from the film's beginning: each holds a frame that stands at a time of its own, and
 * before each one at which decoding may begin there are as many as its time tells, all of which are seen before it. */
static bool bears_out(film *f, const mgi_ffmpeg_known *known)
{
    const AVPacket *p = f->in.packet;
    int64_t begin = 0, last = -1;
    for (int64_t i = 0; i < known->frames; i++) {
        int over;
        if (mgi_input_packet(&f->in, &over) < 0 || over || !is_time(p->pts) ||
            (p->flags & (AV_PKT_FLAG_CORRUPT | AV_PKT_FLAG_DISCARD)))
            return false;
        const looked look = look_at_packet(f);
        const int64_t number = number_of(f, known->base, p->pts);
        if (look.fresh && (number != i || last >= i))
            return false;
        begin = look.fresh ? i : begin;
        if (look.unsure || !look.shown || (i == 0 && !look.fresh) || number < begin ||
            p->pts != time_of(f, known->base, number))
            return false;
        last = number > last ? number : last;
    }
    return true;
}

int32_t mgi_ffmpeg_bears_out(const mgi_ffmpeg_bytes *bytes, const mgi_ffmpeg_known *known)
{
    char error[256];
    const mgi_told t = {error, sizeof(error), MGEN_E_CORRUPT};
    film f = {.taken = 0};
    bool out = is_time(known->base) &&
               mgi_input_open(&f.in, bytes, CONTAINERS, AVMEDIA_TYPE_VIDEO, "video", &t) == 0;
    if (out) {
        settle_rate(&f, bytes);
        out = can_know(&f) && bears_out(&f, known);
    }
    mgi_input_close(&f.in);
    return out;
}

int32_t mgi_ffmpeg_jump(void *self, const mgi_ffmpeg_known *known, int64_t frame, int64_t *at,
                        char *error, size_t error_size)
{
    const mgi_told t = {error, error_size, MGEN_E_CORRUPT};
    film *f = self;
    int64_t number = 0;
    const bool right = can_know(f) && is_time(known->base) && frame < known->frames && f->ready &&
                       f->taken == 0 && f->in.frame->pts == known->base && !f->unsure;
    if (right) {
        av_frame_unref(f->in.frame);
        f->ready = f->over = 0;
        avcodec_flush_buffers(f->in.codec);
    }
    if (!right || !find_key(f, known, frame, &number) || send(f) < 0) {
        av_packet_unref(f->in.packet);
        return mgi_told_fail(&t, MGEN_E_AGAIN, "no keyframe to go on at");
    }
    av_packet_unref(f->in.packet);
    f->known = *known;
    f->jumped = true;
    *at = f->taken = number;
    return 0;
}

void mgi_ffmpeg_close(void *self)
{
    film *f = self;
    mgi_rgb_close(&f->rgb);
    mgi_input_close(&f->in);
    av_free(f);
}

/* A size that the container tells and no picture can have is none: of one FFmpeg prints that it is ignored, through an object that
 * nobody can silence. */
static void forget_size(AVCodecContext *c, int64_t pixels_max)
{
    const int64_t width = c->width, height = c->height;
    if (width < 1 || height < 1 || width > SIDE_MAX || height > SIDE_MAX ||
        width * height > pixels_max || (8 * width + 1024) * (height + 128) >= INT32_MAX)
        c->width = c->height = c->coded_width = c->coded_height = 0;
}

int32_t mgi_ffmpeg_open(const mgi_ffmpeg_bytes *bytes, int64_t pixels_max, void **out,
                        mgi_ffmpeg_info *info, char *error, size_t error_size)
{
    const mgi_told t = {error, error_size, MGEN_E_CORRUPT};
    film *f = av_mallocz(sizeof(*f));
    if (!f)
        return mgi_told_av(&t, AVERROR(ENOMEM), "no memory");
    int32_t status = mgi_input_open(&f->in, bytes, CONTAINERS, AVMEDIA_TYPE_VIDEO, "video", &t);
    if (status == 0) {
        f->in.codec->max_pixels = pixels_max;
        forget_size(f->in.codec, pixels_max);
        settle_rate(f, bytes);
        status = mgi_input_start(&f->in, "video", &t);
    }
    if (status == 0)
        status = decode(f, &t);
    if (status == 0 && !f->ready)
        status = mgi_told_fail(&t, MGEN_E_CORRUPT, "its video has no frames");
    if (status != 0) {
        mgi_ffmpeg_close(f);
        return status;
    }
    f->coded_width = f->in.frame->width;
    f->coded_height = f->in.frame->height;
    f->rgb.shape = shape_of(f, f->in.frame, f->coded_width, f->coded_height);
    tell(f, info);
    f->stands.each = frames_a_unit(f, info);
    *out = f;
    return 0;
}
