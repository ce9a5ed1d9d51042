/* SPDX-License-Identifier: MIT
 * moviegen generate: a prompt becomes a film, perhaps with sound. */
#include "cli.h"

typedef struct generate_options {
    const char *model, *prompt, *negative, *out, *sound, *music;
    uint64_t seed;
    uint32_t steps, width, height, frames;
    cli_place place;
    double guidance;
    cli_sampling sampling;
    bool rewrite, upsample, json, quiet;
} generate_options;

int generate_clip(cli_session *s, const mgen_generate_params *params, progress *p, mgen_clip **out)
{
    mgen_job *job;
    mgen_status status = mgen_generate_start(s->ctx, &s->pipe, params, &job);
    *out = NULL;
    return status == MGEN_OK ? film_finish(s, job, p, out) : complain_library(s, status);
}

/* `prompt`: of the film, by the options or rewritten. */
static void print_json(const cli_session *s, const generate_options *o, const char *prompt,
                       const mgen_clip *clip, const film_files *files, double seconds)
{
    mgen_model_info model = MGEN_MODEL_INFO_INIT;
    mgen_video_model_get_info(s->pipe.video, &model);
    printf("{\"n\":1,\"seed\":%llu,\"model_hash\":\"%016llx\",\"prompt\":",
           (unsigned long long)o->seed, (unsigned long long)mgen_pipeline_hash(&s->pipe));
    json_string(stdout, o->prompt);
    if (o->rewrite) {
        printf(",\"rewritten\":");
        json_string(stdout, prompt);
    }
    printf(",\"steps\":%u,\"guidance\":", o->steps);
    json_number(stdout, o->guidance > 0 ? o->guidance : (double)model.guidance);
    printf(",\"noise_scale\":");
    json_number(stdout,
                o->sampling.noise_scale > 0 ? o->sampling.noise_scale : (double)model.noise_scale);
    if (o->sound) {
        printf(",\"sound\":");
        json_string(stdout, o->sound);
    }
    if (o->music) {
        printf(",\"music\":");
        json_string(stdout, o->music);
    }
    json_film(stdout, files, clip, seconds);
}

/* The film, which is the first rank's, is replaced by a larger one, made with the upsampler's own steps and guidance. */
static int enlarge(cli_session *s, const generate_options *o, const char *prompt, mgen_clip **clip)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_clip *larger;
    params.prompt = prompt;
    params.negative_prompt = o->negative;
    params.seed = o->seed;
    int result = film_upsample(s, *clip, &params, o->quiet, &larger);
    if (result == STATUS_DONE) {
        mgen_clip_destroy(*clip);
        *clip = larger;
    }
    return result;
}

static bool heard(const generate_options *o)
{
    return o->sound || o->music;
}

/* What is heard in the film, which is the first rank's, made with the audio model's own steps and guidance. */
static int hear(cli_session *s, const generate_options *o, const mgen_clip *clip, mgen_sound **out)
{
    mgen_sound_params params = MGEN_SOUND_PARAMS_INIT;
    params.prompt = o->sound;
    params.music = o->music;
    params.seed = o->seed;
    params.solver = MGEN_SOLVER_MIDPOINT;
    return sound_make(s, clip, &params, o->quiet, out);
}

/* Whether the ranks can divide a sound of the film's length. */
static int check_sound(const cli_session *s, const generate_options *o)
{
    mgen_sound_params params = MGEN_SOUND_PARAMS_INIT;
    mgen_estimate estimate = MGEN_ESTIMATE_INIT;
    if (!s->pipe.audio && session_alone(s))
        return sound_no_model(s);
    params.seconds = (double)(o->frames ? o->frames : s->pipe.frames) / s->pipe.fps;
    mgen_status status = mgen_sound_estimate(s->ctx, &s->pipe, NULL, &params, &estimate);
    return status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
}

/* Whether the upsampler takes a film of the size that there will be, and the ranks can divide it. */
static int check_upsampler(const cli_session *s, const generate_options *o)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_estimate estimate = MGEN_ESTIMATE_INIT;
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *black;
    if (!s->pipe.upsampler && session_alone(s))
        return film_no_upsampler(s);
    info.width = o->width ? o->width : s->pipe.width;
    info.height = o->height ? o->height : s->pipe.height;
    info.frames = o->frames ? o->frames : s->pipe.frames;
    info.fps_num = s->pipe.fps;
    info.fps_den = 1;
    mgen_status status = mgen_clip_create(s->ctx, &info, &black);
    if (status != MGEN_OK)
        return complain_library(s, status);
    status = mgen_upsample_estimate(s->ctx, &s->pipe, black, &params, &estimate);
    mgen_clip_destroy(black);
    return status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
}

/* Before minutes of work. */
static int check_more(const cli_session *s, const generate_options *o)
{
    int result = o->upsample ? check_upsampler(s, o) : STATUS_DONE;
    if (result != STATUS_DONE)
        return result;
    return heard(o) ? check_sound(s, o) : STATUS_DONE;
}

/* What the film is made of: the prompt, or what it became, the same on all ranks. */
static int find_prompt(cli_session *s, const generate_options *o, char rewritten[REWRITTEN_SIZE],
                       const char **prompt)
{
    *prompt = o->prompt;
    if (!o->rewrite)
        return STATUS_DONE;
    int result = prompt_rewrite(s, o->prompt, rewritten);
    *prompt = rewritten;
    if (result == STATUS_DONE && s->rank == 0 && !o->quiet)
        complain(s->command, "rewritten: %s", rewritten);
    return result;
}

static int generate(cli_session *s, const void *options)
{
    const generate_options *o = options;
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_clip *clip = NULL;
    mgen_sound *sound = NULL;
    bool first = s->rank == 0; /* who gets the film */
    film_files files = {.count = 0};
    char rewritten[REWRITTEN_SIZE];
    progress p;

    if (!sampling_set(s, &o->sampling, &params))
        return STATUS_USAGE;
    int result = first ? files_check(s, o->out, true, heard(o), o->quiet, &files) : STATUS_DONE;
    if (result == STATUS_DONE)
        result = session_load(s, o->model);
    if (result == STATUS_DONE)
        result = check_more(s, o);
    if (result == STATUS_DONE)
        result = find_prompt(s, o, rewritten, &params.prompt);
    if (result != STATUS_DONE)
        return result;
    params.negative_prompt = o->negative;
    params.seed = o->seed;
    params.steps = o->steps;
    params.width = o->width;
    params.height = o->height;
    params.frames = o->frames;
    params.guidance = (float)o->guidance;
    double start = seconds_now();
    progress_start(&p, "generating", o->quiet || !first);
    result = generate_clip(s, &params, &p, &clip);
    if (result == STATUS_DONE && o->upsample)
        result = enlarge(s, o, params.prompt, &clip);
    if (result == STATUS_DONE && heard(o))
        result = hear(s, o, clip, &sound);
    if (result == STATUS_DONE && first)
        result = files_write(s, clip, sound, &files);
    if (result == STATUS_DONE && first && o->json)
        print_json(s, o, params.prompt, clip, &files, seconds_now() - start);
    else if (result == STATUS_DONE && first && !o->quiet)
        film_tell(&files, clip, seconds_now() - start);
    film_files_free(&files);
    mgen_clip_destroy(clip);
    mgen_sound_destroy(sound);
    return result;
}

static int run(const cli_command *self, int argc, char **argv)
{
    generate_options o = {.place = {.rank = RANK_UNTOLD},
                          .out = "movie.mp4",
                          .seed = DEFAULT_SEED,
                          .steps = DEFAULT_STEPS};
    const cli_option table[] = {
        {"--prompt", "-p", OPTION_TEXT, &o.prompt, 0, 0, "TEXT", "what the film shows, in UTF-8"},
        {"--out", "-o", OPTION_TEXT, &o.out, 0, 0, "FILE",
         "where the film goes (default: movie.mp4)"},
        OPTION_MODEL(&o.model),
        OPTION_SEED(&o.seed),
        OPTION_STEPS(&o.steps),
        {"--width", "-W", OPTION_U32, &o.width, 1, 65536, "N",
         "pixels of the film (default: the model's own)"},
        {"--height", "-H", OPTION_U32, &o.height, 1, 65536, "N", "pixels (default: likewise)"},
        {"--frames", NULL, OPTION_U32, &o.frames, 1, 65536, "N",
         "frames of the film; 1 is a picture (default: the model's own)"},
        OPTION_GUIDANCE(&o.guidance),
        OPTIONS_SAMPLING(&o.sampling),
        OPTION_NEGATIVE(&o.negative),
        {"--rewrite", NULL, OPTION_FLAG, &o.rewrite, 0, 0, NULL,
         "let the model's rewriter put the prompt as its captions are, as 'moviegen rewrite' "
         "shows"},
        {"--upsample", NULL, OPTION_FLAG, &o.upsample, 0, 0, NULL,
         "enlarge the film by the model's upsampler, as 'moviegen upsample' does by itself"},
        {"--sound", NULL, OPTION_TEXT, &o.sound, 0, 0, "TEXT",
         "make its sound, too, in which this is heard, as 'moviegen sound' does (\"\": not said)"},
        {"--music", NULL, OPTION_TEXT, &o.music, 0, 0, "TEXT",
         "the same, with music that is like this (\"\": any)"},
        OPTIONS_PLACE(&o.place),
        OPTION_JSON(&o.json),
        OPTION_QUIET(&o.quiet),
        OPTION_END,
    };
    const char *word;
    int words;
    int result = options_parse(self, table, argc, argv, &word, 1, &words);
    if (result != OPTIONS_OK)
        return result;
    if (words && o.prompt) {
        complain(self, "two prompts, '%s' and '%s'; give one (quote a prompt of several words)",
                 o.prompt, word);
        return STATUS_USAGE;
    }
    if (words)
        o.prompt = word;
    if (!o.prompt) {
        complain(self, "no prompt given; usage: moviegen generate %s", self->usage);
        return STATUS_USAGE;
    }
    return ranks_run(self, &o.place, generate, &o);
}

const cli_command command_generate = {
    "generate", "generate a film from a prompt", "\"PROMPT\" [options]",
    "The ending of FILE chooses the format: .y4m and .png (a strip of frames; with %03d in the "
    "name\n"
    "a file per frame) always work; .mp4, .mkv, .webm and others need the FFmpeg plug-in, and\n"
    "without it a .y4m and a .png file are written instead. Ctrl-C cancels.",
    run};
