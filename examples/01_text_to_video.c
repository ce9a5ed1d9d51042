/* SPDX-License-Identifier: MIT
 * From a prompt to a film.
 *
 *     cc 01_text_to_video.c $(pkg-config --cflags --libs moviegen) -o 01_text_to_video
 *     ./01_text_to_video MODEL PROMPT OUTPUT       MODEL: a folder such as models/toybox
 *
 * OUTPUT's ending chooses the format: .y4m and .png always, .mp4 and others with the FFmpeg plug-in. */
#include <moviegen.h>

#include <stdio.h>

static int32_t show_progress(void *user, uint32_t done, uint32_t total)
{
    (void)user;
    if (done == total || done % 10 == 0)
        printf("step %u of %u\n", done, total);
    return 0; /* go on */
}

static mgen_status make_film(mgen_context *ctx, const char *model, const char *prompt,
                             const char *output)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_job *job = NULL;
    mgen_clip *clip = NULL;
    params.prompt = prompt;
    params.seed = 1;
    params.on_progress = show_progress;

    mgen_status status = mgen_pipeline_open(ctx, model, &pipe);
    if (status == MGEN_OK)
        status = mgen_generate_start(ctx, &pipe, &params, &job);
    if (status == MGEN_OK)
        status = mgen_job_wait(job, -1);
    if (status == MGEN_OK)
        status = mgen_job_take_clip(job, &clip);
    if (status == MGEN_OK)
        status = mgen_clip_write(ctx, clip, output);
    if (status == MGEN_OK && mgen_clip_get_info(clip, &info) == MGEN_OK)
        printf("%s: %u frames of %u x %u, %u frames per second\n", output, info.frames, info.width,
               info.height, info.fps_num / info.fps_den);

    mgen_clip_destroy(clip); /* all of these accept NULL */
    mgen_job_destroy(job);
    mgen_pipeline_close(&pipe);
    return status;
}

int main(int argc, char **argv)
{
    char why[256] = "";
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL PROMPT OUTPUT\n", argv[0]);
        return 2;
    }
    params.error_text = why;
    params.error_size = sizeof why;
    if (mgen_context_create(&params, &ctx) != MGEN_OK) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    mgen_status status = make_film(ctx, argv[1], argv[2], argv[3]);
    if (status != MGEN_OK)
        fprintf(stderr, "%s: %s\n", mgen_status_name(status), mgen_last_error(ctx));
    mgen_context_destroy(ctx);
    return status != MGEN_OK;
}
