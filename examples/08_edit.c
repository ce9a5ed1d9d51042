/* SPDX-License-Identifier: MIT
 * A film is edited by an instruction, by an editor or, where the model has none, by its video model alone.
 *
 *     cc 08_edit.c $(pkg-config --cflags --libs moviegen) -o 08_edit
 *     ./08_edit MODEL INPUT "make the red ball blue" OUTPUT
 *
 * MODEL is a folder whose pipeline.json names an editor; without one the text says what the edited film shows instead.
 * Endings choose the formats: .y4m and .png always, .mp4 and others with the FFmpeg plug-in. */
#include <moviegen.h>

#include <stdio.h>

static int32_t show_progress(void *user, uint32_t done, uint32_t total)
{
    (void)user;
    printf("step %u of %u\n", done, total);
    return 0; /* go on */
}

static mgen_status edit(mgen_context *ctx, const mgen_pipeline *pipe, const mgen_clip *clip,
                        const char *text, mgen_clip **edited)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT; /* steps, guidance: the editor's */
    mgen_estimate needs = MGEN_ESTIMATE_INIT;
    mgen_job *job = NULL;
    params.prompt = text;
    params.seed = 1;
    params.on_progress = show_progress;
    if (pipe->editor) {
        params.edit_task = MGEN_EDIT_AUTO; /* the text's words tell what kind of edit it is */
    } else {
        params.strength = 0.6f; /* the last 60% of the steps, from the noised film on */
        params.schedule = MGEN_SCHEDULE_LINEAR; /* these are then 60% of the way, too */
        printf("without an editor\n");
    }

    mgen_status status = mgen_edit_estimate(ctx, pipe, clip, &params, &needs);
    if (status != MGEN_OK)
        return status;
    printf("%u frames of %u x %u pixels will need up to %.1f MB\n", needs.frames, needs.width,
           needs.height, (double)(needs.host_bytes + needs.device_bytes) / 1e6);
    status = mgen_edit_start(ctx, pipe, clip, &params, &job);
    if (status == MGEN_OK)
        status = mgen_job_wait(job, -1); /* until then the clip must stay */
    if (status == MGEN_OK)
        status = mgen_job_take_clip(job, edited);
    mgen_job_destroy(job);
    return status;
}

static mgen_status work(mgen_context *ctx, char **arguments)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_clip *clip = NULL, *edited = NULL;

    mgen_status status = mgen_pipeline_open(ctx, arguments[0], &pipe);
    if (status == MGEN_OK)
        status = mgen_clip_read(ctx, arguments[1], 0, 0, &clip);
    if (status == MGEN_OK)
        status = edit(ctx, &pipe, clip, arguments[2], &edited);
    if (status == MGEN_OK)
        status = mgen_clip_write(ctx, edited, arguments[3]);
    if (status == MGEN_OK)
        printf("%s was written\n", arguments[3]);

    mgen_clip_destroy(edited); /* all of these accept NULL */
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
