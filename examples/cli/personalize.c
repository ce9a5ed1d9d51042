/* SPDX-License-Identifier: MIT
 * moviegen personalize: a film of the person in a photo. */
#include "cli.h"

static void model_of(const cli_session *s, const mgen_generate_params *params, mgen_model_info *out)
{
    (void)params;
    mgen_personalizer_get_info(s->pipe.personalizer, out);
}

static void tell(const mgen_generate_params *params, const mgen_model_info *model)
{
    printf(",\"source_guidance\":");
    json_number(stdout,
                params->source_guidance > 0 ? params->source_guidance : model->source_guidance);
}

static int run(const cli_command *self, int argc, char **argv)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    cli_remake r = {.out = "personalized.mp4",
                    .seed = DEFAULT_SEED,
                    .place = {.rank = RANK_UNTOLD},
                    .frames = 1, /* that are taken of the photo */
                    .make = film_personalize,
                    .model_of = model_of,
                    .tell = tell};
    double source_guidance = 0;
    const cli_option table[] = {
        {"--out", "-o", OPTION_TEXT, &r.out, 0, 0, "FILE",
         "where the film goes (default: personalized.mp4)"},
        OPTION_MODEL(&r.model),
        {"--frames", NULL, OPTION_U32, &params.frames, 1, 65536, "N",
         "frames of the film; 1 is a picture (default: the model's own)"},
        {"--width", "-W", OPTION_U32, &r.width, 1, 65536, "N",
         "pixels of the film (default: the model's own)"},
        {"--height", "-H", OPTION_U32, &r.height, 1, 65536, "N", "pixels (default: likewise)"},
        OPTION_SEED(&r.seed),
        {"--steps", NULL, OPTION_U32, &r.steps, 1, 1000, "N",
         "solver steps (default: the personalizer's)"},
        {"--source-guidance", NULL, OPTION_REAL, &source_guidance, 0.001, 100, "G",
         "guidance scale towards the photo; 1 = off (default: the personalizer's)"},
        OPTIONS_REMAKE(&r),
        OPTION_END,
    };
    const char *words[2] = {NULL, NULL};
    int count;
    int result = options_parse(self, table, argc, argv, words, 2, &count);
    if (result != OPTIONS_OK)
        return result;
    if (count < 2) {
        complain(self, "no %s given; usage: moviegen personalize %s", count ? "prompt" : "photo",
                 self->usage);
        return STATUS_USAGE;
    }
    if (words_swapped(self, words[0], words[1]))
        return STATUS_USAGE;
    r.input = words[0];
    params.prompt = words[1];
    params.source_guidance = (float)source_guidance;
    return remake_run(self, &r, &params);
}

const cli_command command_personalize = {
    "personalize", "generate a film of the person in a photo", "PHOTO \"PROMPT\" [options]",
    "PHOTO is a picture (.png; .jpg and .webp by the FFmpeg plug-in, turned as the phone was "
    "held), or\n"
    "a film whose first frame is taken: the face, best with all else grey. The prompt says what "
    "the\n"
    "person does, not who it is. The ending of FILE chooses the format: .y4m and .png always "
    "work,\n"
    "others need the FFmpeg plug-in, without which a .y4m and a .png file are written. Ctrl-C "
    "cancels.",
    run};
