/* SPDX-License-Identifier: MIT
 * The FFmpeg plug-in played by the host: writes and hears what tests of the public interface can check, without FFmpeg. Files that
 * are written hold what they were given; what fails, and how, says their ending. */
#include "plugins/ffmpeg.h"

#include "moviegen.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool ends(const char *path, const char *ending)
{
    size_t n = strlen(path), m = strlen(ending);
    return n > m && !strcmp(path + n - m, ending);
}

static int32_t say(char *error, size_t size, int32_t status)
{
    snprintf(error, size, "the fake says %d", status);
    return status;
}

/* "frames width height, samples of channels at rate, the first one" */
static int32_t fake_write(const char *path, const char *hint, const mgi_ffmpeg_film *film,
                          const mgi_ffmpeg_sound *sound, char *error, size_t size)
{
    if (ends(hint, ".io"))
        return say(error, size, MGEN_E_IO);
    if (ends(hint, ".full"))
        return say(error, size, MGEN_E_NO_SPACE);
    FILE *f = fopen(path, "w");
    if (!f)
        return say(error, size, MGEN_E_NOT_FOUND);
    fprintf(f, "%d %d %d, %d of %u at %u, %g", film ? (int)film->frames : 0,
            film ? (int)film->width : 0, film ? (int)film->height : 0,
            sound ? (int)sound->count : 0, sound ? sound->channels : 0, sound ? sound->rate : 0,
            sound ? (double)sound->samples[0] : 0.0);
    return fclose(f) ? say(error, size, MGEN_E_IO) : 0;
}

/* Takes 8000 samples a second only; .mute has no sound. */
static int32_t fake_rate(const char *hint, int32_t with_film, uint32_t *rate, char *error,
                         size_t size)
{
    (void)with_film;
    *rate = 8000;
    return ends(hint, ".mute") ? say(error, size, MGEN_E_INVALID) : 0;
}

/* No films are read. Of sounds, the file's first byte tells the status, or how many pieces of 3 samples of 2 channels. */
static int32_t fake_open(const mgi_ffmpeg_bytes *bytes, int64_t pixels_max, void **film,
                         mgi_ffmpeg_info *info, char *error, size_t error_size)
{
    (void)bytes;
    (void)pixels_max;
    (void)film;
    (void)info;
    return say(error, error_size, MGEN_E_UNSUPPORTED);
}

static int32_t fake_next(void *film, uint8_t *rgb, int32_t *end, char *error, size_t error_size)
{
    (void)film;
    (void)rgb;
    (void)end;
    return say(error, error_size, MGEN_E_INTERNAL);
}

static void fake_close(void *film)
{
    (void)film;
}

static void fake_known(void *film, mgi_ffmpeg_known *known)
{
    (void)film;
    *known = (mgi_ffmpeg_known){0, 0};
}

static int32_t fake_uneven(void *film)
{
    (void)film;
    return 0;
}

static int32_t fake_jump(void *film, const mgi_ffmpeg_known *known, int64_t frame, int64_t *at,
                         char *error, size_t error_size)
{
    (void)film;
    (void)known;
    (void)frame;
    (void)at;
    return say(error, error_size, MGEN_E_AGAIN);
}

static _Thread_local int left; /* pieces of the sound that is open */

static int32_t fake_hear_open(const mgi_ffmpeg_bytes *bytes, void **sound, mgi_ffmpeg_hearing *info,
                              char *error, size_t error_size)
{
    int8_t byte = 0;
    if (bytes->size && bytes->read(bytes->self, 0, &byte, 1))
        return say(error, error_size, MGEN_E_CORRUPT);
    const int first = byte;
    if (first < 0)
        return say(error, error_size, first);
    left = first;
    *sound = &left;
    *info = (mgi_ffmpeg_hearing){16000, 2};
    return 0;
}

static int32_t fake_hear_next(void *sound, const float **samples, int64_t *count, char *error,
                              size_t error_size)
{
    static const float piece[6] = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f};
    int *pieces = sound;
    (void)error;
    (void)error_size;
    *samples = piece;
    *count = *pieces > 0 ? 3 : 0;
    *pieces -= 1;
    return 0;
}

static void fake_hear_close(void *sound)
{
    (void)sound;
}

static int32_t fake_bears_out(const mgi_ffmpeg_bytes *bytes, const mgi_ffmpeg_known *said)
{
    (void)bytes;
    (void)said;
    return 0;
}

static int32_t fake_told(const mgi_ffmpeg_bytes *bytes, int64_t even, mgi_ffmpeg_info *info,
                         char *error, size_t error_size)
{
    (void)bytes;
    (void)even;
    (void)info;
    return say(error, error_size, MGEN_E_UNSUPPORTED);
}

static int32_t fake_picture(const mgi_ffmpeg_picture *picture, uint8_t *rgb, char *error,
                            size_t error_size)
{
    (void)picture;
    (void)rgb;
    return say(error, error_size, MGEN_E_UNSUPPORTED);
}

extern const mgi_ffmpeg_table mgi_ffmpeg_plugin;
MGEN_API const mgi_ffmpeg_table mgi_ffmpeg_plugin = {MGI_FFMPEG_PLUGIN_VERSION,
                                                     fake_write,
                                                     fake_rate,
                                                     fake_open,
                                                     fake_next,
                                                     fake_close,
                                                     fake_known,
                                                     fake_uneven,
                                                     fake_bears_out,
                                                     fake_jump,
                                                     fake_hear_open,
                                                     fake_hear_next,
                                                     fake_hear_close,
                                                     fake_told,
                                                     fake_picture};
