/* SPDX-License-Identifier: MIT
 * All stages of a model, and an audio codec, trained on clips with sound that the host makes, with a
 * break half way through each.
 *
 *     ./05_train_from_callback 05_recipe.json MODEL OUTPUT
 *
 * The recipe is so small that it takes seconds, and nothing to look at comes out of it. */
#include <moviegen.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(const mgen_context *ctx, mgen_status status)
{
    if (status == MGEN_OK)
        return;
    fprintf(stderr, "%s: %s\n", mgen_status_name(status), mgen_last_error(ctx));
    exit(1);
}

/* A square that crosses the picture and hums, each colour at its pitch. Sample `index` is made from
 * its number alone: it is the same whenever it is asked for, so that training can go on after a
 * break. */
static mgen_status draw(void *user, uint64_t index, mgen_sample *s)
{
    static const char *const colours[] = {"red", "green", "blue"};
    uint32_t colour = index % 3, right = index / 3 % 2, row = index / 6 % 8 * s->height / 12;
    uint8_t *pixel = s->pixels;
    (void)user;
    for (uint32_t f = 0; f < s->frames; f++) {
        uint32_t left = (right ? f : s->frames - 1 - f) * s->width / s->frames;
        for (uint32_t i = 0; i < s->width * s->height; i++, pixel += 3) {
            uint32_t x = i % s->width - left, y = i / s->width - row; /* huge if below 0 */
            for (uint32_t c = 0; c < 3; c++)
                pixel[c] = x >= s->width / 3 || y >= s->height / 3 ? 180 : c == colour ? 220 : 30;
        }
    }
    snprintf(s->caption, s->caption_size, "a %s square moves %s", colours[colour],
             right ? "right" : "left");
    uint32_t period = 100 + 40 * colour; /* of 1/48000 s */
    for (uint64_t i = 0; i < s->sound_samples; i++)
        s->sound[i] = (float)(i % period) / (float)period - 0.5f;
    snprintf(s->sound_caption, s->caption_size, "a hum of %u Hz", 48000 / period);
    return MGEN_OK;
}

static void released(void *user)
{
    printf("%s: nobody needs the dataset any more\n", (const char *)user);
}

static int32_t on_step(void *user, uint64_t step, const mgen_report *report)
{
    for (uint32_t i = 0; i < mgen_report_count(report); i++)
        if (!strcmp(mgen_report_name(report, i), "loss") && step % 10 == 9)
            printf("%s, step %llu: loss %.4f\n", (const char *)user, (unsigned long long)step + 1,
                   mgen_report_value(report, i));
    return 0;
}

static void train(mgen_context *ctx, mgen_trainer_params *params)
{
    char checkpoint[4096];
    mgen_trainer *trainer;
    params->user = (void *)params->stage;
    params->resume = NULL;
    check(ctx, mgen_trainer_create(ctx, params, &trainer));
    check(ctx, mgen_trainer_run(trainer, mgen_trainer_steps(trainer) / 2));
    snprintf(checkpoint, sizeof checkpoint, "%s/%s.checkpoint", params->dir, params->stage);
    check(ctx, mgen_trainer_checkpoint(trainer, checkpoint));
    mgen_trainer_destroy(trainer); /* as if the program ended here */

    params->resume = checkpoint;
    check(ctx, mgen_trainer_create(ctx, params, &trainer));
    printf("%s: resumed after %llu of %llu steps\n", params->stage,
           (unsigned long long)mgen_trainer_position(trainer),
           (unsigned long long)mgen_trainer_steps(trainer));
    check(ctx, mgen_trainer_run(trainer, 0));
    check(ctx, mgen_trainer_save(trainer));
    mgen_trainer_destroy(trainer);
}

static void make_film(mgen_context *ctx, const char *model, const char *output)
{
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_job *job;
    mgen_clip *clip;
    params.prompt = "a red square moves left";
    check(ctx, mgen_pipeline_open(ctx, model, &pipe));
    check(ctx, mgen_generate_start(ctx, &pipe, &params, &job));
    check(ctx, mgen_job_wait(job, -1));
    check(ctx, mgen_job_take_clip(job, &clip));
    check(ctx, mgen_clip_write(ctx, clip, output));
    printf("%s: %u frames of %u x %u\n", output, pipe.frames, pipe.width, pipe.height);
    mgen_clip_destroy(clip);
    mgen_job_destroy(job);
    mgen_pipeline_close(&pipe);
}

int main(int argc, char **argv)
{
    static const char *const stages[] = {"image", "tae", "video", "codec"};
    mgen_context *ctx = NULL;
    mgen_dataset_params data = MGEN_DATASET_PARAMS_INIT;
    mgen_trainer_params params = MGEN_TRAINER_PARAMS_INIT;
    if (argc != 4)
        return fprintf(stderr, "usage: %s RECIPE MODEL OUTPUT\n", argv[0]), 2;
    data.width = data.height = 32;
    data.frames = 16;
    data.fps = 16;
    data.sound_samples = 48000; /* a second, as the frames */
    data.count = 48;
    data.read = draw;
    data.released = released;
    data.user = argv[2];
    check(ctx, mgen_context_create(NULL, &ctx));
    check(ctx, mgen_dataset_create(ctx, &data, &params.dataset));
    params.recipe = argv[1];
    params.dir = argv[2];
    params.on_step = on_step;
    for (int i = 0; i < 4; i++) {
        params.stage = stages[i];
        train(ctx, &params);
    }
    mgen_dataset_release(params.dataset); /* the trainers that kept it are gone */
    make_film(ctx, argv[2], argv[3]);
    mgen_context_destroy(ctx);
    return 0;
}
