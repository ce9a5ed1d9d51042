/* SPDX-License-Identifier: MIT
 * What the FFmpeg plug-in exports: one table, found by dlsym("mgi_ffmpeg_plugin"). The plug-in
 * links FFmpeg; the library does not. Tier 6. */
#ifndef MGI_PLUGINS_FFMPEG_H
#define MGI_PLUGINS_FFMPEG_H

#include <stddef.h>
#include <stdint.h>

#define MGI_FFMPEG_PLUGIN_VERSION 1

typedef struct mgi_ffmpeg_table {
    uint32_t version; /* MGI_FFMPEG_PLUGIN_VERSION; the library refuses another */
    /* Encode RGB8 frames into `path` with the container guessed from `format_name_hint` (a file
     * name). 0, or a negative mgen_status with a sentence in error[0..error_size). */
    int32_t (*write)(const char *path, const char *format_name_hint, const uint8_t *rgb,
                     int64_t width, int64_t height, int64_t frames, uint32_t fps_num,
                     uint32_t fps_den, char *error, size_t error_size);
} mgi_ffmpeg_table;

#endif
