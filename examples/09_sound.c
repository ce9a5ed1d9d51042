/* SPDX-License-Identifier: MIT
 * A film gets its sound, or a text becomes one.
 *
 *     cc 09_sound.c $(pkg-config --cflags --libs moviegen) -o 09_sound
 *     ./09_sound MODEL INPUT "a ball bounces" OUTPUT
 *
 * MODEL is a folder whose pipeline.json names an audio model. Of an INPUT "-" there is no film, and two seconds of sound are
 * made of the text alone. OUTPUT is a film with sound (.mp4 and others, by the FFmpeg plug-in) or, with an INPUT "-" or
 * where its name ends in .wav, the sound alone. */
#include <moviegen.h>

#include <stdio.h>
#include <string.h>

static int32_t show_progress(void *user, uint32_t done, uint32_t total)
{
    (void)user;
    printf("step %u of %u\n", done, total);
    return 0; /* go on */
}

/* clip NULL: of the text alone. */
static mgen_status hear(mgen_context *ctx, const mgen_pipeline *pipe, const mgen_clip *clip,
                        const char *text, mgen_sound **sound)
{
    mgen_sound_params params = MGEN_SOUND_PARAMS_INIT; /* steps, guidance: the audio model's */
    mgen_estimate needs = MGEN_ESTIMATE_INIT;
    mgen_job *job = NULL;
    params.prompt = text;
    params.music = NULL; /* none is wanted; "" would be any, "calm piano" that */
    params.seed = 1;
    params.seconds = clip ? 0 : 2; /* 0: as long as the clip */
    params.solver = MGEN_SOLVER_MIDPOINT;
    params.on_progress = show_progress;

    mgen_status status = mgen_sound_estimate(ctx, pipe, clip, &params, &needs);
    if (status != MGEN_OK)
        return status;
    printf("this will need up to %.1f MB\n", (double)(needs.host_bytes + needs.device_bytes) / 1e6);
    status = mgen_sound_start(ctx, pipe, clip, &params, &job);
    if (status == MGEN_OK)
        status = mgen_job_wait(job, -1); /* until then the clip must stay */
    if (status == MGEN_OK)
        status = mgen_job_take_sound(job, sound);
    mgen_job_destroy(job);
    return status;
}

static void tell_loudest(mgen_sound *sound)
{
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    const float *samples = mgen_sound_samples(sound);
    uint64_t loudest = 0;
    mgen_sound_get_info(sound, &info);
    for (uint64_t i = 1; i < info.samples * info.channels; i++)
        if (samples[i] * samples[i] > samples[loudest] * samples[loudest])
            loudest = i;
    printf("%.2f s of sound, the loudest at %.2f s\n", (double)info.samples / info.rate,
           (double)(loudest / info.channels) / info.rate);
}

static mgen_status work(mgen_context *ctx, char **arguments)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_clip *clip = NULL;
    mgen_sound *sound = NULL;
    const char *output = arguments[3], *ending = strrchr(output, '.');

    mgen_status status = mgen_pipeline_open(ctx, arguments[0], &pipe);
    if (status == MGEN_OK && strcmp(arguments[1], "-") != 0)
        status = mgen_clip_read(ctx, arguments[1], 0, 0, &clip);
    if (status == MGEN_OK)
        status = hear(ctx, &pipe, clip, arguments[2], &sound);
    if (status == MGEN_OK)
        tell_loudest(sound);
    if (status == MGEN_OK && clip && ending && strcmp(ending, ".wav") != 0)
        status = mgen_movie_write(ctx, clip, sound, output);
    else if (status == MGEN_OK)
        status = mgen_sound_write(ctx, sound, output);
    if (status == MGEN_OK)
        printf("%s was written\n", output);

    mgen_sound_destroy(sound); /* all of these accept NULL */
    mgen_clip_destroy(clip);
    mgen_pipeline_close(&pipe);
    return status;
}

int main(int argc, char **argv)
{
    mgen_context *ctx;
    if (argc != 5) {
        fprintf(stderr, "usage: %s MODEL INPUT TEXT OUTPUT\n", argv[0]);
        return 2;
    }
    mgen_status status = mgen_context_create(NULL, &ctx);
    if (status != MGEN_OK) {
        fprintf(stderr, "%s\n", mgen_status_name(status));
        return 1;
    }
    status = work(ctx, argv + 1);
    if (status != MGEN_OK)
        fprintf(stderr, "%s: %s\n", mgen_status_name(status), mgen_last_error(ctx));
    mgen_context_destroy(ctx);
    return status != MGEN_OK;
}
