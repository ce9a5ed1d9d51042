/* SPDX-License-Identifier: MIT
 * Which reader or writer of sound a file name asks for, the plug-in's, and another rate or number of channels. */
#include "media/track.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "io/path.h"
#include "media/plugin.h"
#include "media/resample.h"

#include <math.h>
#include <string.h>
#include <strings.h>

static mgen_status check_size(mgen_context *ctx, int64_t count, uint32_t rate, uint32_t channels)
{
    if (count >= 1 && count <= MGI_TRACK_COUNT_MAX && rate >= 1 && rate <= MGI_TRACK_RATE_MAX &&
        channels >= 1 && channels <= MGI_TRACK_CHANNELS_MAX)
        return MGEN_OK;
    return mgi_fail(
        ctx, MGEN_E_INVALID,
        "a sound of %lld samples of %u channels, %u a second; there are 1..%d of 1..%d, "
        "1..%d a second",
        (long long)count, channels, rate, MGI_TRACK_COUNT_MAX, MGI_TRACK_CHANNELS_MAX,
        MGI_TRACK_RATE_MAX);
}

mgen_status mgi_track_check(mgen_context *ctx, const mgi_track *t)
{
    MGI_TRY(check_size(ctx, t->count, t->rate, t->channels));
    for (int64_t i = 0; i < t->count * t->channels; i++)
        if (!isfinite(t->samples[i]))
            return mgi_fail(ctx, MGEN_E_INVALID, "sample %lld of the sound is no number",
                            (long long)(i / t->channels));
    return MGEN_OK;
}

mgen_status mgi_track_make(mgen_context *ctx, int64_t count, uint32_t rate, uint32_t channels,
                           mgi_track *out)
{
    int64_t values;
    *out = (mgi_track){NULL, count, rate, channels};
    MGI_TRY(check_size(ctx, count, rate, channels));
    if (!mgi_dims_count((int64_t[]){count, channels}, 2, &values))
        return mgi_fail(ctx, MGEN_E_INTERNAL, "a sound's size was not checked");
    return mgi_alloc_zero(ctx, (size_t)values, sizeof(float), &out->samples);
}

/* ---- reading -------------------------------------------------------------------------------------- */

static bool ends_with(const char *path, const char *ending)
{
    size_t length = strlen(path), tail = strlen(ending);
    return length > tail && strcasecmp(path + length - tail, ending) == 0;
}

static mgen_status check_path(mgen_context *ctx, const char *path)
{
    if (!path || !*path)
        return mgi_fail(ctx, MGEN_E_INVALID, "the path is %s", path ? "empty" : "NULL");
    if (strnlen(path, MGI_PATH_MAX + 1) > MGI_PATH_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID, "the path '%.40s...' is longer than %d bytes", path,
                        MGI_PATH_MAX);
    return MGEN_OK;
}

/* What the plug-in's sound is gathered in. */
typedef struct gathered {
    mgen_context *ctx;
    float *samples;
    int64_t count, room; /* of each channel */
    uint32_t channels;
} gathered;

static mgen_status make_room(gathered *g, int64_t count)
{
    int64_t size;
    if (count > MGI_TRACK_COUNT_MAX)
        return mgi_fail(g->ctx, MGEN_E_INVALID, "it has more than the %d samples that are read",
                        MGI_TRACK_COUNT_MAX);
    if (!mgi_dims_count((int64_t[]){g->channels, sizeof(float)}, 2, &size))
        return mgi_fail(g->ctx, MGEN_E_INTERNAL, "a sound's channels were not checked");
    MGI_TRY(mgi_realloc(g->ctx, &g->samples, (size_t)count, (size_t)size));
    g->room = count;
    return MGEN_OK;
}

static mgen_status gather(gathered *g, const mgi_plugin_file *file, const mgi_ffmpeg_table *ffmpeg,
                          void *sound)
{
    char error[512] = "";
    for (;;) {
        const float *samples;
        int64_t count;
        mgen_status status = ffmpeg->hear_next(sound, &samples, &count, error, sizeof(error));
        MGI_TRY(mgi_plugin_said(file, status, error));
        if (count == 0)
            return g->count ? make_room(g, g->count)
                            : mgi_fail(g->ctx, MGEN_E_CORRUPT, "its sound has no samples");
        if (g->room - g->count < count)
            MGI_TRY(make_room(g, g->count + count > 2 * g->room ? g->count + count : 2 * g->room));
        for (int64_t i = 0; i < count * g->channels; i++)
            if (!isfinite(samples[i]))
                return mgi_fail(g->ctx, MGEN_E_CORRUPT, "sample %lld is no number",
                                (long long)(g->count + i / g->channels));
        memcpy(g->samples + g->count * g->channels, samples,
               (size_t)(count * g->channels) * sizeof(float));
        g->count += count;
    }
}

/* The sound of a file by the plug-in, all of it; or only whether it begins. */
static mgen_status read_by_plugin(mgen_context *ctx, const char *path, bool all, mgi_track *out)
{
    mgi_plugin_file file;
    mgi_plugin plugin = {NULL, NULL};
    mgi_ffmpeg_hearing info;
    gathered g = {.ctx = ctx};
    char error[512] = "";
    void *sound = NULL;
    mgen_status status;
    MGI_TRY(mgi_plugin_file_open(ctx, path, &file));
    MGI_TRY_GOTO(status, mgi_plugin_load(ctx, &plugin), close);
    status = plugin.table->hear_open(&file.bytes, &sound, &info, error, sizeof(error));
    const bool open = status == MGEN_OK;
    status = mgi_plugin_said(&file, status, error);
    if (!open)
        goto unload;
    g.channels = info.channels;
    if (status == MGEN_OK && (info.channels < 1 || info.channels > MGI_TRACK_CHANNELS_MAX ||
                              info.rate < 1 || info.rate > MGI_TRACK_RATE_MAX))
        status = mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                          "its sound has %u channels of %u samples a second; 1..%d of 1..%d are "
                          "read",
                          info.channels, info.rate, MGI_TRACK_CHANNELS_MAX, MGI_TRACK_RATE_MAX);
    if (status == MGEN_OK && all)
        status = gather(&g, &file, plugin.table, sound);
    plugin.table->hear_close(sound);
    *out = (mgi_track){g.samples, g.count, info.rate, info.channels};
unload:
    mgi_plugin_unload(&plugin);
close:
    mgi_plugin_file_close(&file);
    if (status != MGEN_OK)
        mgi_free(ctx, g.samples);
    return status;
}

static mgen_status read_any(mgen_context *ctx, const char *path, bool all, mgi_track *out)
{
    mgi_track track;
    mgen_status status = read_by_plugin(ctx, path, all, &track);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "cannot read the sound of '%s'", path);
    *out = track;
    return MGEN_OK;
}

mgen_status mgi_track_there(mgen_context *ctx, const char *path)
{
    mgi_track none;
    MGI_TRY(check_path(ctx, path));
    return read_any(ctx, path, false, &none);
}

mgen_status mgi_track_read(mgen_context *ctx, const char *path, mgi_track *out)
{
    *out = (mgi_track){.samples = NULL};
    MGI_TRY(check_path(ctx, path));
    if (ends_with(path, ".wav"))
        return mgi_wav_read(ctx, path, out);
    return read_any(ctx, path, true, out);
}

/* ---- converting ----------------------------------------------------------------------------------- */

static void mix(const mgi_track *from, mgi_track *to)
{
    const uint32_t n = from->channels, m = to->channels;
    for (int64_t i = 0; i < from->count; i++)
        for (uint32_t c = 0; c < m; c++) {
            double sum = 0.0;
            int count = 0;
            for (uint32_t k = c % n; k < n; k += m, count++)
                sum += (double)from->samples[i * n + k];
            to->samples[i * m + c] = (float)(sum / count);
        }
}

/* The new one takes the place of the old. */
static void replace(mgen_context *ctx, mgi_track *track, const mgi_track *by)
{
    mgi_free(ctx, track->samples);
    *track = *by;
}

mgen_status mgi_track_converted(mgen_context *ctx, const mgi_track *track, uint32_t rate,
                                int64_t *count)
{
    *count = mgi_resample_count(track->count, track->rate, rate);
    return check_size(ctx, *count, rate, track->channels);
}

mgen_status mgi_track_convert(mgen_context *ctx, mgi_track *track, uint32_t rate, uint32_t channels)
{
    mgi_track made;
    channels = channels ? channels : track->channels;
    rate = rate ? rate : track->rate;
    if (channels != track->channels) {
        MGI_TRY(mgi_track_make(ctx, track->count, track->rate, channels, &made));
        mix(track, &made);
        replace(ctx, track, &made);
    }
    if (rate == track->rate)
        return MGEN_OK;
    MGI_TRY(check_size(ctx, track->count, rate, channels)); /* of which the next line counts */
    MGI_TRY(mgi_track_make(ctx, mgi_resample_count(track->count, track->rate, rate), rate, channels,
                           &made));
    mgen_status status =
        mgi_resample(ctx, track->samples, track->count, channels, track->rate, rate, made.samples);
    if (status == MGEN_OK)
        replace(ctx, track, &made);
    else
        mgi_free(ctx, made.samples);
    return status;
}

/* ---- writing -------------------------------------------------------------------------------------- */

/* The sound at the rate that the format takes: `track` itself, or *made, which the caller frees. */
static mgen_status fit(mgen_context *ctx, const mgi_ffmpeg_table *ffmpeg, const char *path,
                       bool film, const mgi_track *track, mgi_track *made)
{
    char error[512] = "";
    uint32_t rate = track->rate;
    mgen_status status = ffmpeg->sound_rate(path, film, &rate, error, sizeof(error));
    error[sizeof(error) - 1] = '\0';
    if (status != MGEN_OK)
        return mgi_fail(ctx, status, "%s", error);
    *made = *track;
    if (rate == track->rate)
        return MGEN_OK;
    MGI_TRY(mgi_track_make(ctx, mgi_resample_count(track->count, track->rate, rate), rate,
                           track->channels, made));
    return mgi_resample(ctx, track->samples, track->count, track->channels, track->rate, rate,
                        made->samples);
}

/* Each message says which file it is about; those of paths do so by themselves. */
static mgen_status write_by_plugin(mgen_context *ctx, const char *path, const mgi_frames *frames,
                                   const mgi_track *track)
{
    mgi_plugin plugin = {NULL, NULL};
    mgi_track made = *track;
    char temp[MGI_PATH_MAX + 64], error[512] = "";
    mgen_status status = mgi_plugin_load(ctx, &plugin);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "cannot write '%s'", path);
    mgi_path_tidy(ctx, path);
    status = fit(ctx, plugin.table, path, frames != NULL, track, &made);
    if (status != MGEN_OK) {
        mgi_fail_context(ctx, status, "cannot write '%s'", path);
        goto unload;
    }
    MGI_TRY_GOTO(status, mgi_path_temp(ctx, path, temp, sizeof(temp)), unload);
    mgi_ffmpeg_sound sound = {made.samples, made.count, made.rate, made.channels};
    mgi_ffmpeg_film film = {NULL, 0, 0, 0, 0, 0};
    if (frames)
        film = (mgi_ffmpeg_film){frames->pixels, frames->width,   frames->height,
                                 frames->frames, frames->fps_num, frames->fps_den};
    status = plugin.table->write(temp, path, frames ? &film : NULL, &sound, error, sizeof(error));
    if (status != MGEN_OK) {
        mgi_path_discard(temp);
        error[sizeof(error) - 1] = '\0';
        mgi_fail(ctx, status, "cannot write '%s': %s", path, error);
        goto unload;
    }
    status = mgi_path_publish(ctx, temp, path);
unload:
    if (made.samples != track->samples)
        mgi_free(ctx, made.samples);
    mgi_plugin_unload(&plugin);
    return status;
}

static bool has_ending(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    return dot && dot != name && dot[1];
}

mgen_status mgi_track_write(mgen_context *ctx, const char *path, const mgi_track *track)
{
    MGI_TRY(check_path(ctx, path));
    MGI_TRY(mgi_track_check(ctx, track));
    if (!has_ending(path))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "'%s' has no ending that tells its format, such as .wav, .m4a or .flac",
                        path);
    if (ends_with(path, ".wav"))
        return mgi_wav_write(ctx, path, track);
    return write_by_plugin(ctx, path, NULL, track);
}

mgen_status mgi_movie_write(mgen_context *ctx, const char *path, const mgi_frames *frames,
                            const mgi_track *track)
{
    MGI_TRY(check_path(ctx, path));
    MGI_TRY(mgi_frames_check(ctx, frames));
    MGI_TRY(mgi_track_check(ctx, track));
    if (!has_ending(path) || ends_with(path, ".png") || ends_with(path, ".y4m") ||
        ends_with(path, ".wav"))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "'%s' is no film with sound by its ending; .mp4, .mkv and .webm are", path);
    return write_by_plugin(ctx, path, frames, track);
}
