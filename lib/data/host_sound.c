/* SPDX-License-Identifier: MIT */
#include "data/host_sound.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "data/dataset_sound.h"
#include "media/track.h"

#include <math.h>
#include <string.h>

mgen_status mgi_host_sound_check_length(mgen_context *ctx, uint64_t samples)
{
    size_t bytes;
    /* what a film's track may have: more than twelve hours, of which stages take pieces of some seconds */
    if (samples <= MGI_TRACK_COUNT_MAX && mgi_size_mul((size_t)samples, sizeof(float), &bytes) &&
        bytes <= SIZE_MAX / 2)
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "dataset params: sound_samples is %llu; at most %llu samples, 12 hours, can be "
                    "heard; make samples shorter",
                    (unsigned long long)samples, (unsigned long long)MGI_TRACK_COUNT_MAX);
}

mgen_status mgi_host_sound_offer(mgen_context *ctx, const mgi_dataset *ds, mgi_host_sound *sound,
                                 mgen_sample *sample)
{
    sound->samples = NULL;
    sound->caption[0] = '\0';
    if (!ds->sound_samples)
        return MGEN_OK;
    MGI_TRY(
        mgi_alloc_zero(ctx, (size_t)ds->sound_samples, sizeof *sound->samples, &sound->samples));
    sample->sound = sound->samples;
    sample->sound_samples = (uint64_t)ds->sound_samples;
    sample->sound_caption = sound->caption;
    return MGEN_OK;
}

mgen_status mgi_host_sound_check(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                                 const mgi_host_sound *sound)
{
    for (int64_t i = 0; i < ds->sound_samples; i++)
        if (!(fabsf(sound->samples[i]) <= 1.0f)) /* what is no number is not */
            return mgi_fail(ctx, MGEN_E_INVALID,
                            "sample %llu: its sound is %g at %lld of %lld; sounds are of -1 to 1",
                            (unsigned long long)index, (double)sound->samples[i], (long long)i,
                            (long long)ds->sound_samples);
    return MGEN_OK;
}

mgen_status mgi_host_read_sound(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                mgi_read_sound *out)
{
    char caption[MGI_CAPTION_SIZE], words[MGI_CAPTION_SIZE];
    mgi_host_sound sound = {.samples = NULL};
    uint8_t *pixels;
    *out = (mgi_read_sound){.count = ds->sound_samples};
    MGI_TRY(mgi_alloc(ctx, (size_t)ds->bytes, &pixels));
    mgen_status status = mgi_dataset_ask_host(ctx, ds, index, pixels, caption, &sound, NULL);
    mgi_free(ctx, pixels);
    if (status == MGEN_OK) {
        mgi_dataset_sound_words(caption, words);
        status = mgi_strdup(ctx, sound.caption[0] ? sound.caption : words, &out->caption);
    }
    if (status == MGEN_OK)
        out->samples = sound.samples;
    else
        mgi_free(ctx, sound.samples);
    return status;
}

mgen_status mgi_host_check_seen(mgen_context *ctx, const mgi_dataset *ds, double fps,
                                int64_t frames)
{
    const int64_t needed = mgi_dataset_frame_seen(frames - 1, ds->fps, 1, fps) + 1;
    if (needed <= ds->frames)
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_INVALID,
                    "the dataset's samples of %lld frames, %lld a second, end before the %lld that "
                    "are seen in %g s; make them longer",
                    (long long)ds->frames, (long long)ds->fps, (long long)needed,
                    (double)frames / fps);
}

mgen_status mgi_host_watch(mgen_context *ctx, mgi_dataset *ds, uint64_t index, double fps,
                           int64_t frames, uint8_t *pixels)
{
    const int64_t each = ds->bytes / ds->frames;
    uint8_t *whole;
    MGI_TRY(mgi_host_check_seen(ctx, ds, fps, frames));
    MGI_TRY(mgi_alloc(ctx, (size_t)ds->bytes, &whole));
    mgen_status status = mgi_dataset_ask_host(ctx, ds, index, whole, NULL, NULL, NULL);
    for (int64_t i = 0; i < frames && status == MGEN_OK; i++)
        memcpy(pixels + i * each, whole + mgi_dataset_frame_seen(i, ds->fps, 1, fps) * each,
               (size_t)each);
    mgi_free(ctx, whole);
    return status;
}
