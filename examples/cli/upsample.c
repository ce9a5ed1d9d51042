/* SPDX-License-Identifier: MIT
 * moviegen upsample: a film becomes a larger one. */
#include "cli.h"

static void model_of(const cli_session *s, const mgen_generate_params *params, mgen_model_info *out)
{
    (void)params;
    mgen_upsampler_get_info(s->pipe.upsampler, out);
}

static int run(const cli_command *self, int argc, char **argv)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    cli_remake r = {.out = "upsampled.mp4",
                    .seed = DEFAULT_SEED,
                    .place = {.rank = RANK_UNTOLD},
                    .make = film_upsample,
                    .model_of = model_of};
    params.prompt = "";
    const cli_option table[] = {
        {"--out", "-o", OPTION_TEXT, &r.out, 0, 0, "FILE",
         "where the film goes (default: upsampled.mp4)"},
        {"--prompt", "-p", OPTION_TEXT, &params.prompt, 0, 0, "TEXT",
         "what the film shows, in UTF-8 (default: nothing is said)"},
        OPTION_MODEL(&r.model),
        {"--width", "-W", OPTION_U32, &r.width, 1, 65536, "N",
         "pixels (default: the film's, times the upsampler's factor)"},
        {"--height", "-H", OPTION_U32, &r.height, 1, 65536, "N", "pixels (default: likewise)"},
        OPTIONS_FRAMES(&r),
        OPTION_SEED(&r.seed),
        {"--steps", NULL, OPTION_U32, &r.steps, 1, 1000, "N",
         "solver steps (default: the upsampler's)"},
        OPTIONS_REMAKE(&r),
        OPTION_END,
    };
    int words;
    int result = options_parse(self, table, argc, argv, &r.input, 1, &words);
    if (result != OPTIONS_OK)
        return result;
    if (!words) {
        complain(self, "no film given; usage: moviegen upsample %s", self->usage);
        return STATUS_USAGE;
    }
    return remake_run(self, &r, &params);
}

const cli_command command_upsample = {
    "upsample", "enlarge a film", "INPUT [options]",
    "INPUT and FILE are films or pictures; the ending of a name is its format: .y4m and .png "
    "always\n"
    "work, others need the FFmpeg plug-in, without which FILE becomes a .y4m and a .png file. "
    "Where "
    "--width and\n"
    "--height make another aspect, the middle of the film is taken. The film's sound is not kept.\n"
    "Ctrl-C cancels.",
    run};
