/* SPDX-License-Identifier: MIT
 * Pictures and films to files. Tier 6. y4m and PNG are written here; other formats by the FFmpeg
 * plug-in, found as moviegen/mgen_ffmpeg.so beside the library and loaded on first use. */
#ifndef MGI_MEDIA_MEDIA_H
#define MGI_MEDIA_MEDIA_H

#include "core/context.h"

typedef struct mgi_frames {
    const uint8_t *pixels; /* frames x height x width x 3, RGB */
    int64_t width, height, frames;
    uint32_t fps_num, fps_den;
} mgi_frames;

/* INVALID unless the sizes are 1..65536, the rate is above 0 and all pixels fit into memory. */
mgen_status mgi_frames_check(mgen_context *ctx, const mgi_frames *frames);

mgen_status mgi_png_write(mgen_context *ctx, const char *path, const uint8_t *rgb, int64_t width,
                          int64_t height);
mgen_status mgi_y4m_write(mgen_context *ctx, const char *path, const mgi_frames *frames);
/* By the plug-in; container and codecs from the name's ending. UNSUPPORTED without it. */
mgen_status mgi_film_write(mgen_context *ctx, const char *path, const mgi_frames *frames);
/* Chooses by the ending, as mgen_clip_write() documents. A pattern's numbers count from 0. */
mgen_status mgi_frames_write(mgen_context *ctx, const char *path, const mgi_frames *frames);

#endif
