/* SPDX-License-Identifier: MIT
 * Films and pictures from files, frame by frame. Tier 6.
 *
 * .y4m and .png are read here, strictly; of .jpg, .jpeg and .webp what they are, their pixels by the FFmpeg plug-in; every other name
 * goes to that. Frames come as they are seen, never scaled; a picture is a film of one frame. */
#ifndef MGI_MEDIA_FILM_READ_H
#define MGI_MEDIA_FILM_READ_H

#include "core/context.h"

#define MGI_FILM_SIDE_MAX   65536              /* pixels */
#define MGI_FILM_PIXELS_MAX ((int64_t)1 << 28) /* of a frame */
#define MGI_FILM_FRAMES_MAX 65536              /* that are read at once */
#define MGI_FILM_TIME_MAX   ((int64_t)1 << 48)

typedef struct mgi_film_info {
    int64_t width, height;
    int64_t frames; /* 0 = the file does not say; the plug-in's number is only what the file says */
    uint32_t fps_num, fps_den;
} mgi_film_info;

/* Frames a second, as the file says, or the times of its frames; 25 if neither do. */
double mgi_film_rate(const mgi_film_info *info);

typedef struct mgi_film mgi_film;

/* NOT_FOUND, IO, INVALID (no regular file), CORRUPT (what and where), UNSUPPORTED (a kind that is not
 * read, or the plug-in is missing). */
mgen_status mgi_film_open(mgen_context *ctx, const char *path, mgi_film **out);
const mgi_film_info *mgi_film_about(const mgi_film *film);
/* What the beginning of a file says of it, in a time that does not depend on its length, and fails likewise. info->frames is
 * what the file says, of a .y4m as many as its size has room for; 0 = nothing tells. Width and height may be 0. */
mgen_status mgi_film_tell(mgen_context *ctx, const char *path, mgi_film_info *info);
/* And of its first `even` frames what mgi_film_is_uneven() would tell of them once they were read, by their packets alone. */
mgen_status mgi_film_tell_even(mgen_context *ctx, const char *path, int64_t even,
                               mgi_film_info *info, bool *uneven);
/* The next frame into height x width x 3 bytes; NULL skips it. *end: there was none. */
mgen_status mgi_film_next(mgi_film *film, uint8_t *rgb, bool *end);
void mgi_film_close(mgi_film *film); /* NULL is fine */

/* What was seen of a film that was read from its beginning, for who reads it again: of its first `frames` frames at what time each
 * stands, so that they are known by it. 0 where that cannot be, or not surely: by times that are missing or uneven, for kinds whose
 * keyframes may need what lies before, and so on. */
typedef struct mgi_film_known {
    int64_t base, frames; /* base: in units of the file, between -MGI_FILM_TIME_MAX and that */
} mgi_film_known;
void mgi_film_what_is_known(mgi_film *film, mgi_film_known *out);
/* Whether the frames that were read do not stand in time as even ones of the film's rate do: wherever those begin, one is more than half a
 * frame away. Of a rate that varies, or another than is told; not known of a film that jumped, and false then. */
bool mgi_film_is_uneven(mgi_film *film);
/* Whether the file bears out what somebody else says is known of it: each keyframe must have as many packets before it, a frame each, as
 * its time tells. All packets of these frames are looked at, none is decoded. False for kinds of which nothing can be known. What is
 * borne out gives the frames that decoding from the beginning gives, unless what is before them is damaged. */
bool mgi_film_bears_out(mgi_film *film, const mgi_film_known *said);
/* Before the first frame is read: go to a keyframe at or before `frame`, if the same file was read before and that much is known
 * of it. The frames that then come are the very same; if they turn out to be others, all is decoded from the beginning. */
mgen_status mgi_film_jump(mgi_film *film, const mgi_film_known *known, int64_t frame);
int64_t mgi_film_at(const mgi_film *film); /* the number of the frame that comes next */

/* Frames from `first` on, at most `count` (0 = all), as frames x height x width x 3 bytes that the caller
 * frees; info->frames tells how many. INVALID if there is none. */
mgen_status mgi_film_read(mgen_context *ctx, const char *path, uint64_t first, uint64_t count,
                          uint8_t **pixels, mgi_film_info *info);

/* For the readers of each kind: they fill `info`, `self` and the two calls. */
struct mgi_film {
    mgen_context *ctx;
    const char *path; /* behind this struct */
    mgi_film_info info;
    int64_t at; /* the next frame */
    bool
        only_told; /* no frame will be read: info alone is filled, as mgi_film_tell_even() has it, and told_uneven */
    int64_t even;
    bool told_uneven;
    void *self;
    mgen_status (*next)(mgi_film *film, uint8_t *rgb, bool *end);
    void (*close)(mgi_film *film);
    void (*known)(mgi_film *film, mgi_film_known *out);            /* may be NULL */
    bool (*uneven)(mgi_film *film);                                /* may be NULL: it is even */
    bool (*bears_out)(mgi_film *film, const mgi_film_known *said); /* may be NULL */
    mgen_status (*jump)(mgi_film *film, const mgi_film_known *known, int64_t frame);
};
mgen_status mgi_y4m_open(mgi_film *film);
mgen_status mgi_png_open(mgi_film *film);
mgen_status mgi_picture_open(mgi_film *film);
mgen_status mgi_plugin_film_open(mgi_film *film);

/* Whether a picture's name is one by its ending: .png, .jpg, .jpeg, .webp, of small or capital letters. */
bool mgi_is_picture_name(const char *path);
/* Whether it is a HEIF picture, by its first bytes. */
bool mgi_is_heif(const uint8_t *data, size_t size);
/* How EXIF's bytes, with or without "Exif" before them, say that a picture is seen, 1..8; 1 where they make no sense. */
int32_t mgi_exif_orientation(const uint8_t *exif, size_t size);

/* INVALID sizes make CORRUPT files. */
mgen_status mgi_film_check_size(mgi_film *film, int64_t width, int64_t height);

#endif
