/* SPDX-License-Identifier: MIT
 * Sounds: samples on the host, and files of them, alone or with a clip. */
#include "api/args.h"

#include "core/alloc.h"
#include "io/path.h"

/* Takes over the samples, or frees them. */
static mgen_status make(mgen_context *ctx, mgi_track *track, mgen_sound **out)
{
    mgen_sound *sound;
    mgen_status status = mgi_alloc_zero(ctx, 1, sizeof *sound, &sound);
    if (status != MGEN_OK) {
        mgi_free(ctx, track->samples);
        return status;
    }
    sound->heap = mgi_heap_retain(ctx->heap);
    sound->track = *track;
    *out = sound;
    return MGEN_OK;
}

mgen_status mgi_sound_new(mgen_context *ctx, int64_t samples, uint32_t rate, uint32_t channels,
                          mgen_sound **out)
{
    mgi_track track;
    MGI_TRY(mgi_track_make(ctx, samples, rate, channels, &track));
    return make(ctx, &track, out);
}

mgen_status mgen_sound_create(mgen_context *ctx, const mgen_sound_info *info, mgen_sound **out)
{
    mgen_sound_info in;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_struct_in(ctx, &in, sizeof in, sizeof in, info, "sound info"));
    if (in.reserved0)
        return mgi_fail(ctx, MGEN_E_INVALID, "sound info: reserved0 is %u; it must be 0",
                        in.reserved0);
    const int64_t samples = in.samples <= INT64_MAX ? (int64_t)in.samples : INT64_MAX;
    return mgi_sound_new(ctx, samples, in.rate, in.channels, out);
}

mgen_status mgen_sound_read(mgen_context *ctx, const char *path, uint32_t rate, uint32_t channels,
                            mgen_sound **out)
{
    mgi_track track;
    mgi_message before;
    MGI_OUT(ctx, out);
    MGI_TRY(mgi_context_idle(ctx));
    MGI_TRY(mgi_check_text(ctx, path, "the input path", MGI_PATH_MAX));
    if (rate > MGI_TRACK_RATE_MAX || channels > MGI_TRACK_CHANNELS_MAX)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "%u samples a second of %u channels; there are up to %d of up to %d, 0 = "
                        "as it is",
                        rate, channels, MGI_TRACK_RATE_MAX, MGI_TRACK_CHANNELS_MAX);
    mgi_quiet_begin(ctx, &before);
    MGI_TRY(mgi_quiet_told(ctx, &before, mgi_track_read(ctx, path, &track)));
    mgen_status status = mgi_track_convert(ctx, &track, rate, channels);
    if (status == MGEN_OK)
        return make(ctx, &track, out);
    mgi_free(ctx, track.samples);
    return status;
}

void mgen_sound_destroy(mgen_sound *sound)
{
    if (!sound)
        return;
    mgi_heap *heap = sound->heap;
    mgi_heap_free(heap, sound->track.samples);
    mgi_heap_free(heap, sound);
    mgi_heap_release(heap);
}

mgen_status mgen_sound_get_info(const mgen_sound *sound, mgen_sound_info *info)
{
    if (!sound)
        return MGEN_E_INVALID;
    const mgi_track *t = &sound->track;
    mgen_sound_info ours = {
        .rate = t->rate, .channels = t->channels, .samples = (uint64_t)t->count};
    return mgi_struct_out(info, &ours, sizeof ours, sizeof ours);
}

float *mgen_sound_samples(mgen_sound *sound)
{
    return sound ? sound->track.samples : NULL;
}

mgen_status mgen_sound_write(mgen_context *ctx, const mgen_sound *sound, const char *path)
{
    mgi_message before;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    if (!sound)
        return mgi_fail(ctx, MGEN_E_INVALID, "sound is NULL");
    MGI_TRY(mgi_check_text(ctx, path, "the output path", MGI_PATH_MAX));
    mgi_quiet_begin(ctx, &before);
    return mgi_quiet_told(ctx, &before, mgi_track_write(ctx, path, &sound->track));
}

mgen_status mgen_movie_write(mgen_context *ctx, const mgen_clip *clip, const mgen_sound *sound,
                             const char *path)
{
    mgi_message before;
    if (!ctx)
        return MGEN_E_INVALID;
    MGI_TRY(mgi_context_idle(ctx));
    if (!clip || !sound)
        return mgi_fail(ctx, MGEN_E_INVALID, "the %s is NULL", clip ? "sound" : "clip");
    MGI_TRY(mgi_check_text(ctx, path, "the output path", MGI_PATH_MAX));
    const mgi_frames frames = {clip->pixels,      clip->info.width,   clip->info.height,
                               clip->info.frames, clip->info.fps_num, clip->info.fps_den};
    mgi_quiet_begin(ctx, &before);
    return mgi_quiet_told(ctx, &before, mgi_movie_write(ctx, path, &frames, &sound->track));
}
