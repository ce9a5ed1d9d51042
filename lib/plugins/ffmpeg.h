/* SPDX-License-Identifier: MIT
 * What the FFmpeg plug-in exports: one table, found by dlsym("mgi_ffmpeg_plugin"). The plug-in
 * links FFmpeg; the library does not. Tier 6. */
#ifndef MGI_PLUGINS_FFMPEG_H
#define MGI_PLUGINS_FFMPEG_H

#include <stddef.h>
#include <stdint.h>

#define MGI_FFMPEG_PLUGIN_VERSION 10

/* A file's bytes, which the library reads: 0; else it knows why not, and nothing counts that is made of the file afterwards. */
typedef struct mgi_ffmpeg_bytes {
    void *self;
    uint64_t size;
    int32_t (*read)(void *self, uint64_t at, void *out, size_t size);
} mgi_ffmpeg_bytes;

/* What a film says of itself and, of its size, what its first frame is. */
typedef struct mgi_ffmpeg_info {
    int64_t width, height;
    int64_t frames; /* as the file tells, which may be wrong; 0 = it does not */
    uint32_t fps_num, fps_den;
    int32_t uneven; /* of read_told: the frames that were asked for, as read_uneven has it */
} mgi_ffmpeg_info;

/* What is written: RGB8 frames, and samples x channels floats. */
typedef struct mgi_ffmpeg_film {
    const uint8_t *rgb;
    int64_t width, height, frames;
    uint32_t fps_num, fps_den;
} mgi_ffmpeg_film;

typedef struct mgi_ffmpeg_sound {
    const float *samples;
    int64_t count;
    uint32_t rate, channels;
} mgi_ffmpeg_sound;

/* What a sound that is read is. */
typedef struct mgi_ffmpeg_hearing {
    uint32_t rate, channels;
} mgi_ffmpeg_hearing;

/* What was seen of a film that was decoded from its beginning: its first `frames` frames stand at `base` and on by its rate, none
 * is missing, and keyframes need nothing of what lies before them. 0: nothing was. */
typedef struct mgi_ffmpeg_known {
    int64_t base, frames;
} mgi_ffmpeg_known;

/* A picture that is read: the bytes of its kind alone, and what was found in them. */
enum { MGI_FFMPEG_JPEG = 1, MGI_FFMPEG_WEBP };
typedef struct mgi_ffmpeg_picture {
    const uint8_t *data;
    size_t size;
    int64_t width, height; /* as it is stored */
    int32_t kind;          /* MGI_FFMPEG_* */
    int32_t orientation;   /* EXIF's, 1..8: how it is seen */
    int32_t opaque;        /* what it may say of opacity is not meant; else it is laid over black */
} mgi_ffmpeg_picture;

/* Calls answer 0, or a negative mgen_status with a sentence in error[0..error_size). */
typedef struct mgi_ffmpeg_table {
    uint32_t version; /* MGI_FFMPEG_PLUGIN_VERSION; the library refuses another */
    /* Encode a film, a sound, or a film with a sound that is cut to its length or goes on in silence (NULL: it has none),
     * into `path` with the container guessed from `format_name_hint` (a file name). */
    int32_t (*write)(const char *path, const char *format_name_hint, const mgi_ffmpeg_film *film,
                     const mgi_ffmpeg_sound *sound, char *error, size_t error_size);
    /* Make *rate the nearest that such a file can have. */
    int32_t (*sound_rate)(const char *format_name_hint, int32_t with_film, uint32_t *rate,
                          char *error, size_t error_size);
    /* Open the first video of a file's bytes, which stay until it is closed, with frames
     * of at most so many pixels. */
    int32_t (*read_open)(const mgi_ffmpeg_bytes *bytes, int64_t pixels_max, void **film,
                         mgi_ffmpeg_info *info, char *error, size_t error_size);
    /* The next frame into height x width x 3 bytes; NULL skips it. *end = 1 after the last one. */
    int32_t (*read_next)(void *film, uint8_t *rgb, int32_t *end, char *error, size_t error_size);
    void (*read_close)(void *film);
    void (*read_known)(void *film, mgi_ffmpeg_known *known);
    /* 1: the frames decoded so far, from the beginning on, are not even: wherever frames of the rate in `info` begin, one of these
     * is more than half a frame away from its own. 0: they are, or have no times of their own. */
    int32_t (*read_uneven)(void *film);
    /* 1: a file's packets bear out what somebody says is known of it, none of them decoded: that of its first `frames` packets each is a
     * frame, and that as many are before each keyframe as its time tells. 0: they do not, or that is not known of its kind. */
    int32_t (*read_bears_out)(const mgi_ffmpeg_bytes *bytes, const mgi_ffmpeg_known *said);
    /* Go on at a keyframe before frame `frame` of those that are known: *at is the frame that comes next. What then turns out to
     * be otherwise than it was is MGEN_E_AGAIN of this call or of read_next: open the film anew and decode it from the beginning. */
    int32_t (*read_jump)(void *film, const mgi_ffmpeg_known *known, int64_t frame, int64_t *at,
                         char *error, size_t error_size);
    /* The first sound of a file's bytes, likewise. */
    int32_t (*hear_open)(const mgi_ffmpeg_bytes *bytes, void **sound, mgi_ffmpeg_hearing *info,
                         char *error, size_t error_size);
    /* The next samples, in memory that is good until the next call; *count = 0 after the last ones. */
    int32_t (*hear_next)(void *sound, const float **samples, int64_t *count, char *error,
                         size_t error_size);
    void (*hear_close)(void *sound);
    /* What a film says of itself, without a frame of it: width and height may be 0, frames follow from its length in seconds where
     * it does not count them. The packets of its first `even` frames say whether these are uneven. */
    int32_t (*read_told)(const mgi_ffmpeg_bytes *bytes, int64_t even, mgi_ffmpeg_info *info,
                         char *error, size_t error_size);
    /* A picture as it is seen, with width and height exchanged where that lies across, each x 3 bytes. */
    int32_t (*read_picture)(const mgi_ffmpeg_picture *picture, uint8_t *rgb, char *error,
                            size_t error_size);
} mgi_ffmpeg_table;

#endif
