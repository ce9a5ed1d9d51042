/* SPDX-License-Identifier: MIT
 * The stages of a model, and an audio codec, trained on clips with sound of the host, with breaks.
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

/* A square that moves and hums: a sample is always the same, so training can go on after breaks. */
static mgen_status draw(void *user, uint64_t index, mgen_sample *s)
{
    static const char *const colours[] = {"red", "green", "blue"}, *const ways[] = {"left",
                                                                                    "right"};
    uint32_t colour = index % 3, right = index / 3 % 2, row = index / 6 % 8 * s->height / 12;
    (void)user;
    for (uint32_t i = 0; i < s->frames * s->height * s->width * 3; i++) {
        uint32_t f = i / 3 / s->width / s->height, y = i / 3 / s->width % s->height - row;
        uint32_t x = i / 3 % s->width - (right ? f : s->frames - 1 - f) * s->width / s->frames;
        int outside = x >= s->width / 3 || y >= s->height / 3; /* huge if below 0 */
        s->pixels[i] = outside ? 180 : i % 3 == colour ? 220 : 30;
    }
    for (uint64_t i = 0; i < s->sound_samples; i++) /* of 480, 240 or 160 Hz */
        s->sound[i] = (float)(i * (3 - colour) % 300) / 300.0f - 0.5f;
    snprintf(s->caption, s->caption_size, "a %s square moves %s", colours[colour], ways[right]);
    snprintf(s->sound_caption, s->caption_size, "a hum of %u Hz", 160 * (3 - colour));
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

static void train(mgen_context *ctx, const char *stage, mgen_trainer_params params)
{
    char checkpoint[4096];
    mgen_trainer *trainer;
    params.user = (void *)stage;
    params.stage = stage;
    check(ctx, mgen_trainer_create(ctx, &params, &trainer));
    check(ctx, mgen_trainer_run(trainer, mgen_trainer_steps(trainer) / 2));
    snprintf(checkpoint, sizeof checkpoint, "%s/%s.checkpoint", params.dir, stage);
    check(ctx, mgen_trainer_checkpoint(trainer, checkpoint));
    mgen_trainer_destroy(trainer); /* as if the program ended here */
    params.resume = checkpoint;
    check(ctx, mgen_trainer_create(ctx, &params, &trainer));
    unsigned long long done = mgen_trainer_position(trainer), all = mgen_trainer_steps(trainer);
    printf("%s: resumed after %llu of %llu steps\n", stage, done, all);
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
    data.sound_samples = 48000; /* a second, as 16 frames are */
    data.count = 48;
    data.read = draw;
    data.released = released;
    data.user = argv[2];
    check(ctx, mgen_context_create(NULL, &ctx));
    check(ctx, mgen_dataset_create(ctx, &data, &params.dataset));
    params.recipe = argv[1];
    params.dir = argv[2];
    params.on_step = on_step;
    for (int i = 0; i < 4; i++)
        train(ctx, stages[i], params);
    mgen_dataset_release(params.dataset); /* the trainers that kept it are gone */
    make_film(ctx, argv[2], argv[3]);
    mgen_context_destroy(ctx);
    return 0;
}
