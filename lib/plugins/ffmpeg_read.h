/* SPDX-License-Identifier: MIT
 * The reading half of the plug-in's table: frames, pictures and sound. Tier 6. */
#ifndef MGI_PLUGINS_FFMPEG_READ_H
#define MGI_PLUGINS_FFMPEG_READ_H

#include "plugins/ffmpeg.h"

int32_t mgi_ffmpeg_open(const mgi_ffmpeg_bytes *bytes, int64_t pixels_max, void **film,
                        mgi_ffmpeg_info *info, char *error, size_t error_size);
int32_t mgi_ffmpeg_told(const mgi_ffmpeg_bytes *bytes, int64_t even, mgi_ffmpeg_info *info,
                        char *error, size_t error_size);
int32_t mgi_ffmpeg_next(void *film, uint8_t *rgb, int32_t *end, char *error, size_t error_size);
void mgi_ffmpeg_close(void *film);
void mgi_ffmpeg_known_of(void *film, mgi_ffmpeg_known *known);
int32_t mgi_ffmpeg_uneven(void *film);
int32_t mgi_ffmpeg_bears_out(const mgi_ffmpeg_bytes *bytes, const mgi_ffmpeg_known *known);
int32_t mgi_ffmpeg_jump(void *film, const mgi_ffmpeg_known *known, int64_t frame, int64_t *at,
                        char *error, size_t error_size);
int32_t mgi_ffmpeg_read_picture(const mgi_ffmpeg_picture *picture, uint8_t *rgb, char *error,
                                size_t error_size);

int32_t mgi_ffmpeg_hear_open(const mgi_ffmpeg_bytes *bytes, void **sound, mgi_ffmpeg_hearing *info,
                             char *error, size_t error_size);
int32_t mgi_ffmpeg_hear_next(void *sound, const float **samples, int64_t *count, char *error,
                             size_t error_size);
void mgi_ffmpeg_hear_close(void *sound);

#endif
