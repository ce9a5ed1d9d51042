/* SPDX-License-Identifier: MIT
 * A film becomes a larger one.
 *
 *     cc 07_upsample.c $(pkg-config --cflags --libs moviegen) -o 07_upsample
 *     ./07_upsample MODEL INPUT OUTPUT       MODEL: a folder whose pipeline.json names an upsampler
 *
 * Endings choose the formats: .y4m and .png always, .mp4 and others with the FFmpeg plug-in. */
#include <moviegen.h>

#include <stdio.h>

static int32_t show_progress(void *user, uint32_t done, uint32_t total)
{
    (void)user;
    printf("step %u of %u\n", done, total);
    return 0; /* go on */
}

/* The clip, as many times larger as the upsampler was trained for. */
static mgen_status enlarge(mgen_context *ctx, const mgen_pipeline *pipe, const mgen_clip *clip,
                           mgen_clip **larger)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT; /* steps, guidance: the upsampler's */
    mgen_estimate needs = MGEN_ESTIMATE_INIT;
    mgen_job *job = NULL;
    params.prompt = NULL; /* what the film shows, if that is known */
    params.seed = 1;
    params.on_progress = show_progress;

    mgen_status status = mgen_upsample_estimate(ctx, pipe, clip, &params, &needs);
    if (status != MGEN_OK)
        return status;
    printf("%u x %u pixels will need up to %.1f MB\n", needs.width, needs.height,
           (double)(needs.host_bytes + needs.device_bytes) / 1e6);
    status = mgen_upsample_start(ctx, pipe, clip, &params, &job);
    if (status == MGEN_OK)
        status = mgen_job_wait(job, -1); /* until then the clip must stay */
    if (status == MGEN_OK)
        status = mgen_job_take_clip(job, larger);
    mgen_job_destroy(job);
    return status;
}

static mgen_status work(mgen_context *ctx, const char *model, const char *input, const char *output)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *clip = NULL, *larger = NULL;

    mgen_status status = mgen_pipeline_open(ctx, model, &pipe);
    if (status == MGEN_OK)
        status = mgen_clip_read(ctx, input, 0, 0, &clip);
    if (status == MGEN_OK)
        status = enlarge(ctx, &pipe, clip, &larger);
    if (status == MGEN_OK)
        status = mgen_clip_write(ctx, larger, output);
    if (status == MGEN_OK && mgen_clip_get_info(larger, &info) == MGEN_OK)
        printf("%s: %u frames of %u x %u\n", output, info.frames, info.width, info.height);

    mgen_clip_destroy(larger); /* all of these accept NULL */
    mgen_clip_destroy(clip);
    mgen_pipeline_close(&pipe);
    return status;
}

int main(int argc, char **argv)
{
    mgen_context *ctx;
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL INPUT OUTPUT\n", argv[0]);
        return 2;
    }
    mgen_status status = mgen_context_create(NULL, &ctx);
    if (status != MGEN_OK) {
        fprintf(stderr, "%s\n", mgen_status_name(status));
        return 1;
    }
    status = work(ctx, argv[1], argv[2], argv[3]);
    if (status != MGEN_OK)
        fprintf(stderr, "%s: %s\n", mgen_status_name(status), mgen_last_error(ctx));
    mgen_context_destroy(ctx);
    return status != MGEN_OK;
}
