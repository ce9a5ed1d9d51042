/* SPDX-License-Identifier: MIT
 * A film of the person in a photo.
 *
 *     cc 10_personalize.c $(pkg-config --cflags --libs moviegen) -o 10_personalize
 *     ./10_personalize MODEL PHOTO "a smiling person in a red shirt walks left on snow" OUTPUT
 *
 * MODEL is a folder whose pipeline.json names a personalizer. PHOTO shows the face, best with all else grey (128).
 * Endings choose the formats: .y4m and .png always, .mp4, .jpg and others with the FFmpeg plug-in. */
#include <moviegen.h>

#include <stdio.h>

static int32_t show_progress(void *user, uint32_t done, uint32_t total)
{
    (void)user;
    printf("step %u of %u\n", done, total);
    return 0; /* go on */
}

static mgen_status personalize(mgen_context *ctx, const mgen_pipeline *pipe, const mgen_clip *photo,
                               const char *prompt, mgen_clip **film)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT; /* steps, guidance: the model's */
    mgen_estimate needs = MGEN_ESTIMATE_INIT;
    mgen_job *job = NULL;
    params.prompt = prompt; /* what the person does; who it is, the photo tells */
    params.seed = 1;
    params.source_guidance = 0; /* how much the photo counts; 0: as the model's file says */
    params.on_progress = show_progress;

    mgen_status status = mgen_personalize_estimate(ctx, pipe, photo, &params, &needs);
    if (status != MGEN_OK)
        return status;
    printf("%u frames of %u x %u pixels will need up to %.1f MB\n", needs.frames, needs.width,
           needs.height, (double)(needs.host_bytes + needs.device_bytes) / 1e6);
    status = mgen_personalize_start(ctx, pipe, photo, &params, &job);
    if (status == MGEN_OK)
        status = mgen_job_wait(job, -1); /* until then the photo must stay */
    if (status == MGEN_OK)
        status = mgen_job_take_clip(job, film);
    mgen_job_destroy(job);
    return status;
}

static mgen_status work(mgen_context *ctx, char **arguments)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_clip *photo = NULL, *film = NULL;

    mgen_status status = mgen_pipeline_open(ctx, arguments[0], &pipe);
    if (status == MGEN_OK)
        status = mgen_clip_read(ctx, arguments[1], 0, 1, &photo); /* one frame */
    if (status == MGEN_OK)
        status = personalize(ctx, &pipe, photo, arguments[2], &film);
    if (status == MGEN_OK)
        status = mgen_clip_write(ctx, film, arguments[3]);
    if (status == MGEN_OK)
        printf("%s was written\n", arguments[3]);

    mgen_clip_destroy(film); /* all of these accept NULL */
    mgen_clip_destroy(photo);
    mgen_pipeline_close(&pipe);
    return status;
}

int main(int argc, char **argv)
{
    mgen_context *ctx;
    if (argc != 5) {
        fprintf(stderr, "usage: %s MODEL PHOTO PROMPT OUTPUT\n", argv[0]);
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
