/* SPDX-License-Identifier: MIT
 * A film of any length goes to a file while it is made, and stops when it is told to.
 *
 *     ./02_stream_frames_and_cancel MODEL PROMPT FRAMES OUTPUT.y4m [STOP_AFTER]
 *
 * Frames come as YUV 4:2:0, and no clip is kept. Ctrl-C, or STOP_AFTER frames, cancel; what was
 * written until then is a whole, shorter film. Then a picture shows that the context is as before. */
#include <moviegen.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

typedef struct writer {
    FILE *file;
    uint64_t written, stop_after; /* frames; stop_after 0 = never */
} writer;

/* Rows may have gaps: each is written by itself. */
static int write_plane(FILE *file, const mgen_frames *f, int plane, uint32_t frame)
{
    uint32_t width = plane ? (f->width + 1) / 2 : f->width;
    uint32_t height = plane ? (f->height + 1) / 2 : f->height;
    const unsigned char *from = (const unsigned char *)f->plane[plane];
    from += frame * f->frame_stride[plane];
    for (uint32_t y = 0; y < height; y++)
        if (fwrite(from + y * f->row_stride[plane], 1, width, file) != width)
            return -1;
    return 0;
}

/* Called on the job's thread. Anything but 0 cancels the job. */
static int32_t on_frames(void *user, uint64_t first, const mgen_frames *f)
{
    writer *w = user;
    if (first == 0)
        fprintf(w->file, "YUV4MPEG2 W%u H%u F16:1 Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\n", f->width,
                f->height);
    for (uint32_t i = 0; i < f->count; i++) {
        if (w->stop_after && w->written == w->stop_after)
            return 1;
        if (fputs("FRAME\n", w->file) < 0 || write_plane(w->file, f, 0, i) ||
            write_plane(w->file, f, 1, i) || write_plane(w->file, f, 2, i))
            return 1;
        w->written++;
    }
    return 0;
}

/* Wait as a program with a loop of its own would: a little at a time. */
static mgen_status run(mgen_context *ctx, const mgen_pipeline *pipe, mgen_generate_params *params)
{
    mgen_job *job;
    mgen_job_info info = MGEN_JOB_INFO_INIT;
    mgen_status status = mgen_generate_start(ctx, pipe, params, &job);
    while (status == MGEN_OK && (status = mgen_job_wait(job, 500)) == MGEN_E_TIMEOUT) {
        if (interrupted)
            mgen_job_cancel(job);
        mgen_job_get_info(job, &info);
        printf("step %u of %u, frame %u of %u\n", info.done, info.total, info.frames_done,
               info.frames);
        status = MGEN_OK;
    }
    mgen_job_destroy(job);
    return status;
}

int main(int argc, char **argv)
{
    mgen_context *ctx;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_generate_params film = MGEN_GENERATE_PARAMS_INIT, picture = MGEN_GENERATE_PARAMS_INIT;
    if (argc < 5)
        return fprintf(stderr, "usage: %s MODEL PROMPT FRAMES OUTPUT.y4m [STOP_AFTER]\n", argv[0]),
               2;
    writer w = {fopen(argv[4], "wb"), 0, argc > 5 ? strtoull(argv[5], NULL, 10) : 0};
    if (!w.file || mgen_context_create(NULL, &ctx) != MGEN_OK)
        return fprintf(stderr, "%s cannot be written, or no memory\n", argv[4]), 1;
    signal(SIGINT, on_interrupt); /* the host's affair: the library touches no signals */
    film.prompt = picture.prompt = argv[2];
    film.seed = 1;
    film.frames = (uint32_t)strtoul(argv[3], NULL, 10);
    film.frames_format = MGEN_FORMAT_YUV420;
    film.on_frames = on_frames;
    film.user = &w;
    mgen_status status = mgen_pipeline_open(ctx, argv[1], &pipe);
    if (status == MGEN_OK)
        status = run(ctx, &pipe, &film);
    if (status == MGEN_E_CANCELLED) {
        printf("%s\n", mgen_last_error(ctx));
        picture.frames = 1;
        interrupted = 0;
        status = run(ctx, &pipe, &picture);
        printf("a picture afterwards: %s\n", mgen_status_name(status));
    }
    if (status != MGEN_OK)
        fprintf(stderr, "%s\n", mgen_last_error(ctx));
    printf("%s: %llu frames\n", argv[4], (unsigned long long)w.written);
    mgen_pipeline_close(&pipe);
    mgen_context_destroy(ctx);
    return fclose(w.file) || status != MGEN_OK;
}
