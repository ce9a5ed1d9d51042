/* SPDX-License-Identifier: MIT
 * Sound from and to files, alone or as the track of a film. Tier 6.
 *
 * .wav is read, strictly, and written here; every other name goes to the FFmpeg plug-in. */
#ifndef MGI_MEDIA_TRACK_H
#define MGI_MEDIA_TRACK_H

#include "media/media.h"

#define MGI_TRACK_RATE_MAX     768000 /* samples a second */
#define MGI_TRACK_CHANNELS_MAX 8
#define MGI_TRACK_COUNT_MAX    INT32_MAX /* samples of a channel */

typedef struct mgi_track {
    float *samples; /* count x channels */
    int64_t count;
    uint32_t rate, channels;
} mgi_track;

/* INVALID unless the sizes are within the limits and each sample is a number. */
mgen_status mgi_track_check(mgen_context *ctx, const mgi_track *track);
/* Silence of such a size, which is checked. */
mgen_status mgi_track_make(mgen_context *ctx, int64_t count, uint32_t rate, uint32_t channels,
                           mgi_track *out);

/* The sound of a file as it is stored; the caller frees the samples. NOT_FOUND, IO, INVALID (no regular file, or longer than
 * MGI_TRACK_COUNT_MAX), CORRUPT (what and where), UNSUPPORTED (a kind that is not read, no sound in it, no plug-in). */
mgen_status mgi_track_read(mgen_context *ctx, const char *path, mgi_track *out);
/* Whether the sound of a file begins that is no .wav: as mgi_track_read(), of which nothing but the first samples are decoded. */
mgen_status mgi_track_there(mgen_context *ctx, const char *path);
/* How many samples it has at another rate; INVALID: too many. */
mgen_status mgi_track_converted(mgen_context *ctx, const mgi_track *track, uint32_t rate,
                                int64_t *count);
/* To another rate and number of channels, 0 = as it is. To fewer channels, those that come to stand on one are averaged; to
 * more, they are repeated. */
mgen_status mgi_track_convert(mgen_context *ctx, mgi_track *track, uint32_t rate,
                              uint32_t channels);

/* Chooses by the ending, as mgen_sound_write() documents. */
mgen_status mgi_track_write(mgen_context *ctx, const char *path, const mgi_track *track);
/* Frames with a sound of their length, by the plug-in. */
mgen_status mgi_movie_write(mgen_context *ctx, const char *path, const mgi_frames *frames,
                            const mgi_track *track);

/* RIFF/WAVE: whole numbers of 8 to 32 bits and floats are read; 16 bits are written. */
mgen_status mgi_wav_read(mgen_context *ctx, const char *path, mgi_track *out);
mgen_status mgi_wav_write(mgen_context *ctx, const char *path, const mgi_track *track);

#endif
