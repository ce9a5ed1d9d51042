/* SPDX-License-Identifier: MIT
 * moviegen upsample: a film becomes a larger one. */
#include "cli.h"

typedef struct upsample_options {
    const char *input, *model, *prompt, *negative, *out, *device;
    uint64_t seed, first;
    uint32_t steps, frames, width, height, threads;
    bool autotune;
    double guidance;
    cli_sampling sampling;
    bool json, quiet;
} upsample_options;

static void print_json(const cli_session *s, const upsample_options *o,
                       const mgen_generate_params *params, const mgen_clip *clip,
                       const film_files *files, double seconds)
{
    mgen_model_info model = MGEN_MODEL_INFO_INIT;
    mgen_upsampler_get_info(s->pipe.upsampler, &model);
    printf("{\"n\":1,\"seed\":%llu,\"model_hash\":\"%016llx\",\"input\":",
           (unsigned long long)o->seed, (unsigned long long)mgen_pipeline_hash(&s->pipe));
    json_string(stdout, o->input);
    printf(",\"prompt\":");
    json_string(stdout, o->prompt);
    if (params->steps)
        printf(",\"steps\":%u", params->steps);
    printf(",\"guidance\":");
    json_number(stdout, params->guidance > 0 ? params->guidance : model.guidance);
    json_film(stdout, files, clip, seconds);
}

static int enlarge(cli_session *s, const upsample_options *o, const mgen_generate_params *params,
                   const mgen_clip *clip, film_files *files)
{
    mgen_clip *larger;
    double start = seconds_now();
    int result = film_upsample(s, clip, params, o->quiet, &larger);
    if (result == STATUS_DONE)
        result = film_write(s, larger, files);
    if (result == STATUS_DONE && o->json)
        print_json(s, o, params, larger, files, seconds_now() - start);
    else if (result == STATUS_DONE && !o->quiet)
        film_tell(files, larger, seconds_now() - start);
    film_files_free(files);
    mgen_clip_destroy(larger);
    return result;
}

static int upsample(cli_session *s, const upsample_options *o)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_clip *clip;
    film_files files;
    if (!sampling_numbers(s, &o->sampling, &params.solver, &params.schedule, &params.drop_text))
        return STATUS_USAGE;
    int result = film_check(s, o->out, o->quiet, &files);
    if (result != STATUS_DONE)
        return result;
    mgen_status status = mgen_clip_read(s->ctx, o->input, o->first, o->frames, &clip);
    if (status != MGEN_OK)
        return complain_library(s, status);
    params.prompt = o->prompt;
    params.negative_prompt = o->negative;
    params.seed = o->seed;
    params.steps = o->steps;
    params.width = o->width;
    params.height = o->height;
    params.guidance = (float)o->guidance;
    params.guidance_from = (float)o->sampling.guidance_from;
    params.guidance_to = (float)o->sampling.guidance_to;
    result = session_load(s, o->model) ? enlarge(s, o, &params, clip, &files) : STATUS_ERROR;
    mgen_clip_destroy(clip);
    return result;
}

static int run(const cli_command *self, int argc, char **argv)
{
    upsample_options o = {.prompt = "", .out = "upsampled.mp4", .seed = DEFAULT_SEED};
    const cli_option table[] = {
        {"--out", "-o", OPTION_TEXT, &o.out, 0, 0, "FILE",
         "where the film goes (default: upsampled.mp4)"},
        {"--prompt", "-p", OPTION_TEXT, &o.prompt, 0, 0, "TEXT",
         "what the film shows, in UTF-8 (default: nothing is said)"},
        OPTION_MODEL(&o.model),
        {"--width", "-W", OPTION_U32, &o.width, 1, 65536, "N",
         "pixels (default: the film's, times the upsampler's factor)"},
        {"--height", "-H", OPTION_U32, &o.height, 1, 65536, "N", "pixels (default: likewise)"},
        {"--first", NULL, OPTION_U64, &o.first, 0, 0, "N",
         "the first frame that is taken; they count from 0 (default: 0)"},
        {"--frames", NULL, OPTION_U32, &o.frames, 1, 65536, "N",
         "frames that are taken (default: all)"},
        OPTION_SEED(&o.seed),
        {"--steps", NULL, OPTION_U32, &o.steps, 1, 1000, "N",
         "solver steps (default: the upsampler's)"},
        OPTION_GUIDANCE(&o.guidance),
        OPTIONS_SAMPLING(&o.sampling),
        OPTION_NEGATIVE(&o.negative),
        OPTION_THREADS(&o.threads),
        OPTION_DEVICE(&o.device),
        OPTION_AUTOTUNE(&o.autotune),
        OPTION_JSON(&o.json),
        OPTION_QUIET(&o.quiet),
        OPTION_END,
    };
    int words;
    int result = options_parse(self, table, argc, argv, &o.input, 1, &words);
    if (result != OPTIONS_OK)
        return result;
    if (!words) {
        complain(self, "no film given; usage: moviegen upsample %s", self->usage);
        return STATUS_USAGE;
    }
    cli_session s;
    interrupt_catch();
    result =
        session_open(&s, self, o.threads, o.device, o.autotune) ? upsample(&s, &o) : STATUS_ERROR;
    session_close(&s);
    return result;
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
