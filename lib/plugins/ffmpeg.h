/* SPDX-License-Identifier: MIT
 * What the FFmpeg plug-in exports: one table, found by dlsym("mgi_ffmpeg_plugin"). The plug-in
 * links FFmpeg; the library does not. Tier 6. */
#ifndef MGI_PLUGINS_FFMPEG_H
#define MGI_PLUGINS_FFMPEG_H

#include <stddef.h>
#include <stdint.h>

#define MGI_FFMPEG_PLUGIN_VERSION 2

/* What a film says of itself and, of its size, what its first frame is. */
typedef struct mgi_ffmpeg_info {
    int64_t width, height;
    int64_t frames; /* as the file tells, which may be wrong; 0 = it does not */
    uint32_t fps_num, fps_den;
} mgi_ffmpeg_info;

/* Calls answer 0, or a negative mgen_status with a sentence in error[0..error_size). */
typedef struct mgi_ffmpeg_table {
    uint32_t version; /* MGI_FFMPEG_PLUGIN_VERSION; the library refuses another */
    /* Encode RGB8 frames into `path` with the container guessed from `format_name_hint` (a file
     * name). */
    int32_t (*write)(const char *path, const char *format_name_hint, const uint8_t *rgb,
                     int64_t width, int64_t height, int64_t frames, uint32_t fps_num,
                     uint32_t fps_den, char *error, size_t error_size);
    /* Open the first video of a file's bytes, which stay as they are until it is closed, with frames
     * of at most so many pixels. */
    int32_t (*read_open)(const uint8_t *data, size_t size, int64_t pixels_max, void **film,
                         mgi_ffmpeg_info *info, char *error, size_t error_size);
    /* The next frame into height x width x 3 bytes; NULL skips it. *end = 1 after the last one. */
    int32_t (*read_next)(void *film, uint8_t *rgb, int32_t *end, char *error, size_t error_size);
    void (*read_close)(void *film);
} mgi_ffmpeg_table;

#endif
