/* SPDX-License-Identifier: MIT
 * The parts of a request put together by hand: noise, text, velocity, guidance, decoder.
 *
 *     cc 04_own_sampling_loop.c $(pkg-config --cflags --libs moviegen) -lm -o 04_own_sampling_loop
 *     ./04_own_sampling_loop MODEL "FPS-16 a red ball rolls left on grass"
 * The prompt is as the model's captions were, with the frame rate (mgen_model_info.fps_prefix), and quotes nothing.
 * As it is, the film is that of mgen_generate_start(), and it says whether they are equal; another solver goes into sample(). */
#include <math.h>
#include <moviegen.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 64, FRAMES = 32, STEPS = 50, SEED = 1, BYTES = FRAMES * SIDE * SIDE * 3 };

static void check(const mgen_context *ctx, mgen_status status)
{
    if (status != MGEN_OK) {
        fprintf(stderr, "%s: %s\n", mgen_status_name(status), mgen_last_error(ctx));
        exit(1);
    }
}

static void *memory(size_t count, size_t size)
{
    void *out = calloc(count, size);
    return out ? out : (exit(1), NULL);
}

/* For each role that the model has. */
static void encode(mgen_context *ctx, const mgen_pipeline *p, const char *prompt, mgen_text text[3],
                   const mgen_text *roles[3])
{
    mgen_model_info m = MGEN_MODEL_INFO_INIT;
    for (int i = 0; i < 3; i++)
        if (p->text[i]) { /* room for as many tokens as can be; ByT5 gets what is quoted */
            check(ctx, mgen_text_encoder_get_info(p->text[i], &m));
            text[i] = (mgen_text){sizeof *text, m.text_tokens, m.text_width, 0,
                                  memory((size_t)m.text_tokens * m.text_width, sizeof(float))};
            check(ctx, mgen_text_encode(ctx, p->text[i], i == 1 ? "" : prompt, &text[i]));
            roles[i] = &text[i];
        }
}

/* From noise to data: at each time two velocities, and a step along what guidance makes of them.
 * fmaf() rounds once, as the fast kernels do: without it single pixels are one step brighter or darker. */
static void sample(mgen_context *ctx, const mgen_pipeline *p, const char *prompt, mgen_latents *x)
{
    float times[STEPS + 1];
    mgen_text text[2][3] = {0};
    const mgen_text *with[3] = {NULL}, *without[3] = {NULL};
    mgen_model_info info = MGEN_MODEL_INFO_INIT;
    size_t count = (size_t)x->frames * x->height * x->width * x->channels;
    mgen_latents u = *x, v = *x;
    check(ctx, mgen_video_model_get_info(p->video, &info));
    encode(ctx, p, prompt, text[0], with);
    encode(ctx, p, "", text[1], without);
    u.data = memory(2 * count, sizeof(float)); /* of both */
    v.data = u.data + count;
    check(ctx, mgen_noise(ctx, SEED, x));
    for (size_t i = 0; i < count; i++)
        x->data[i] *= info.noise_scale;
    check(ctx, mgen_schedule(MGEN_SCHEDULE_LINEAR_QUADRATIC, STEPS, times));
    for (int k = 0; k < STEPS; k++) {
        check(ctx, mgen_video_velocity(ctx, p->video, x, times[k], without, &u));
        check(ctx, mgen_video_velocity(ctx, p->video, x, times[k], with, &v));
        for (size_t i = 0; i < count; i++)
            x->data[i] = fmaf(times[k + 1] - times[k],
                              fmaf(info.guidance, v.data[i] - u.data[i], u.data[i]), x->data[i]);
    }
    for (int i = 0; i < 6; i++)
        free(text[i / 3][i % 3].data);
    free(u.data);
}

static void compare(mgen_context *ctx, const mgen_pipeline *p, const char *prompt,
                    const uint8_t *mine)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_job *job;
    mgen_clip *clip;
    int differ = 0, most = 0;
    params.prompt = prompt, params.seed = SEED;
    check(ctx, mgen_generate_start(ctx, p, &params, &job));
    check(ctx, mgen_job_wait(job, -1));
    check(ctx, mgen_job_take_clip(job, &clip));
    for (int i = 0; i < BYTES; i++) {
        int d = abs(mine[i] - mgen_clip_pixels(clip)[i]);
        differ += d != 0;
        most = d > most ? d : most;
    }
    printf("%d of %d bytes differ, by up to %d: %sequal\n", differ, BYTES, most,
           most ? "not " : "");
    mgen_clip_destroy(clip);
    mgen_job_destroy(job);
}

int main(int argc, char **argv)
{
    mgen_context *ctx = NULL;
    mgen_pipeline p = MGEN_PIPELINE_INIT;
    mgen_model_info tae = MGEN_MODEL_INFO_INIT;
    mgen_frames frames = {sizeof frames, MGEN_FORMAT_RGB8, SIDE, SIDE, FRAMES, 0, {0}, {0}, {0}};
    if (argc != 3)
        return fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]), 2;
    check(ctx, mgen_context_create(NULL, &ctx));
    check(ctx, mgen_pipeline_open(ctx, argv[1], &p));
    check(ctx, mgen_tae_get_info(p.tae, &tae));
    uint32_t side = SIDE / tae.spatial_factor, length = FRAMES / tae.temporal_factor;
    mgen_latents x = {sizeof x, length, side, side, tae.channels, 0, NULL};
    x.data = memory((size_t)length * side * side * tae.channels, sizeof(float));
    frames.plane[0] = memory(BYTES, 1);
    sample(ctx, &p, argv[2], &x);
    check(ctx, mgen_tae_decode(ctx, p.tae, &x, &frames));
    compare(ctx, &p, argv[2], frames.plane[0]);
    free(frames.plane[0]);
    free(x.data);
    mgen_pipeline_close(&p);
    mgen_context_destroy(ctx);
}
